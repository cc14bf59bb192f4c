/* Problems with windows, caps, sinks, segments, prefixes, masks, biases and positions, drawn. */
#ifndef GATUN_TESTS_CHANGED_H
#define GATUN_TESTS_CHANGED_H

#include "placement.h"

enum {
    WINDOW,
    SOFTCAP,
    SINKS,
    SEGMENTS,
    PREFIX,
    MASK,
    BIAS,
    BLOCKS,
    POSITIONS,
    ALIBI,
    TABLE,
    LENGTHS,
    RANDOM_CAUSAL,
    FEATURES
};

extern const char *const feature_names[FEATURES];

/* Of these features; one batch row or two, one key/value head or two with up to three query heads each. The caller frees it. */
problem changed_problem(const bool wanted[FEATURES], int64_t seq_q, int64_t seq_k, int64_t head_dim, rng *random);

#endif
