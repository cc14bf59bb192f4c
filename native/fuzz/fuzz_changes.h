/* Masks, biases, sinks, segments, prefixes and positions of a case, in guarded memory that nobody may write. */
#ifndef GATUN_FUZZ_CHANGES_H
#define GATUN_FUZZ_CHANGES_H

#include "../tests/guarded.h"
#include "../tests/reference.h"
#include "fuzz_case.h"

/* Bits of fuzz_case.changes; which of them count is for the descriptor to say, which hostile words may have changed. */
enum {
    CHANGE_WINDOW = 1,
    CHANGE_SOFTCAP = 2,
    CHANGE_SINKS = 4,
    CHANGE_SEGMENTS = 8,
    CHANGE_PREFIX = 16,
    CHANGE_MASK = 32,
    CHANGE_BIAS = 64,
    CHANGE_BLOCKS = 128,
    CHANGE_POSITIONS = 256
};

/* Maps are NULL where there is none. */
typedef struct fuzz_arrays {
    guarded mask, block_mask, bias, sinks, segments_q, segments_k, positions, prefix;
    float *bias_floats; /* the same numbers as bias, whatever its type */
} fuzz_arrays;

/* Sets members and flags of the descriptor. */
void fuzz_changes_build(fuzz_case *c, stream *s);

/* Whether maps of an accepted descriptor are small enough for a fuzzer. */
bool fuzz_changes_fit(const gatun_attention_desc *d);

/* What the call of an accepted descriptor needs. */
void fuzz_changes_create(fuzz_arrays *arrays, const fuzz_case *c);
void fuzz_changes_destroy(fuzz_arrays *arrays);

/* Tells the reference. */
void fuzz_changes_describe(problem *p, const fuzz_arrays *arrays, const gatun_attention_desc *d);

#endif
