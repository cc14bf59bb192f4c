/*
 * gatun_relatives.h: the ancestor and the efficient relatives of exact attention. Part of gatun.h, which includes it and whose
 * conventions (statuses, descriptors, strides, threads, memory, overlap) are those of every function here.
 *
 *   additive attention     Bahdanau et al. 2015: scores by a tanh instead of a product
 *   linear attention       Katharopoulos et al. 2020, and with random features Choromanski et al. 2021 (Performer); with decays
 *                          the scalar form of state-space models, Dao and Gu 2024 (Mamba-2)
 *   selective scan         Gu and Dao 2023 (Mamba), with the convolution before it
 *   recurrent cells        LSTM (Hochreiter and Schmidhuber 1997), GRU (Cho et al. 2014): what recurrence costs
 */
#ifndef GATUN_RELATIVES_H
#define GATUN_RELATIVES_H

#include "gatun.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- additive attention ---------------------------------------------------------------------------------------- */

/* ---- linear attention ------------------------------------------------------------------------------------------ */

/* ---- selective scan -------------------------------------------------------------------------------------------- */

/* ---- recurrent cells ------------------------------------------------------------------------------------------- */

#ifdef __cplusplus
}
#endif

#endif /* GATUN_RELATIVES_H */
