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

/*
 * The selective state-space layer of Gu and Dao 2023 (Mamba, section 3, algorithm 2) between its products: a depthwise causal
 * convolution, and the recurrence, whose step sizes and projections depend on the input. Tensors are float32 of less than 2^58
 * elements. Rows lie in sequences: `batch` of `seq` rows each, one after the other, or ragged, by cu_seqlens [batch + 1], where
 * sequence i has the rows cu_seqlens[i] .. cu_seqlens[i + 1] - 1, which do not fall (GATUN_E_INDEX), and seq is 0. No sequence sees
 * anything of another.
 */

#define GATUN_SCAN_SOFTPLUS 1u /* flag: step sizes are log(1 + exp(delta + delta_bias)) */

typedef struct gatun_selective_scan_desc {
    uint32_t struct_size;
    uint32_t flags;   /* GATUN_SCAN_* */
    int64_t batch;    /* sequences, 0 .. 2^31 - 1 */
    int64_t seq;      /* rows of each, 0 with cu_seqlens; batch * seq <= 2^31 - 1 */
    int64_t channels; /* 1 .. 2^31 - 1 */
    int64_t states;   /* of a channel, 1 .. 256 */
    /* Elements from row to row, at least channels or, of b and c, states. z_row is read where there is a z. */
    int64_t x_row;
    int64_t delta_row;
    int64_t b_row;
    int64_t c_row;
    int64_t z_row;
    int64_t y_row;
    int64_t state_row;   /* elements from the state of a sequence to the next; read where there is a state */
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[7]; /* 0 */
} gatun_selective_scan_desc;

/** Stores in *bytes the size of the workspace that a call with this descriptor needs: O(threads), at most 40 KiB for each. */
GATUN_API int32_t gatun_selective_scan_workspace_size(
    const gatun_context *context, const gatun_selective_scan_desc *desc, int64_t *bytes);

/**
 * For every sequence, channel i and state n, t the rows of the sequence in their order, h = state or 0 before the first:
 *
 *     delta'[t][i] = delta[t][i] + delta_bias[i], or softplus of it (GATUN_SCAN_SOFTPLUS)
 *     h[i][n]      = exp(delta'[t][i] * a[i][n]) * h[i][n] + delta'[t][i] * b[t][n] * x[t][i]
 *     y[t][i]      = (sum_n c[t][n] * h[i][n] + d[i] * x[t][i]) * silu(z[t][i])
 *
 *   x, delta     [rows][channels]
 *   a            [channels][states], contiguous; below 0 in models, where h decays
 *   b, c         [rows][states]
 *   d            [channels] or NULL = 0
 *   delta_bias   [channels] or NULL = 0
 *   z            [rows][channels] or NULL = no gate
 *   cu_seqlens   [batch + 1] or NULL
 *   state        [batch][channels][states], the last two contiguous: read before, written behind each sequence; or NULL: begins with zeros, and
 *                is lost
 *   y            output [rows][channels]; may be x, delta or z itself (same pointer and stride), and must not overlap other inputs
 *
 * Numbers: where products stay in the range of float, a step adds at most (4e-7 + 7e-7 * |delta' a|) * |h| + 7e-7 * |delta' b x| to the error of h, which
 * decays as h does. A sequence cut into calls that hand on the state has the bits of one call, down to calls of one row. Bits of
 * a sequence do not depend on threads, batch, strides and other sequences. Threads share channels, then sequences.
 */
GATUN_API int32_t gatun_selective_scan(gatun_context *context, const gatun_selective_scan_desc *desc, void *workspace,
    int64_t workspace_size, const float *x, const float *delta, const float *a, const float *b, const float *c,
    const float *d, const float *delta_bias, const float *z, const int32_t *cu_seqlens, float *state, float *y);

typedef struct gatun_causal_convolution_desc {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    int64_t batch;  /* as in gatun_selective_scan_desc */
    int64_t seq;
    int64_t channels;
    int64_t width; /* rows that an output sees, its own the last of them, 1 .. 16 */
    int64_t x_row;
    int64_t out_row;
    int64_t state_row;   /* as in gatun_selective_scan_desc */
    int32_t activation;  /* GATUN_ACTIVATION_* */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t reserved[7]; /* 0 */
} gatun_causal_convolution_desc;

/**
 * out[t][i] = activation(bias[i] + sum_w weight[i][w] * x[t - width + 1 + w][i]), t and the rows of x those of a sequence: each channel by
 * itself. Before the first row x is what state holds, or 0.
 *
 *   x            [rows][channels]
 *   weight       [channels][width], contiguous, as PyTorch has conv1d.weight [channels][1][width]
 *   bias         [channels] or NULL = 0
 *   cu_seqlens   [batch + 1] or NULL
 *   state        [batch][width - 1][channels], the last two contiguous, the oldest row first: read before, and written behind each sequence with
 *                its last width - 1 rows; or NULL: zeros, and lost
 *   out          output [rows][channels], which must not overlap an input
 *
 * Bits are as those of gatun_selective_scan: chunks that hand on the state have the bits of one call. Error before the activation: width + 1
 * roundings of the sum of magnitudes.
 */
GATUN_API int32_t gatun_causal_convolution(gatun_context *context, const gatun_causal_convolution_desc *desc,
    const float *x, const float *weight, const float *bias, const int32_t *cu_seqlens, float *state, float *out);

/* ---- recurrent cells ------------------------------------------------------------------------------------------- */

#ifdef __cplusplus
}
#endif

#endif /* GATUN_RELATIVES_H */
