/* What the bytes of a fuzzer's input become: a descriptor, places for its tensors, lengths and values. */
#ifndef GATUN_FUZZ_CASE_H
#define GATUN_FUZZ_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gatun.h"
#include "target.h"

enum { TENSORS = 5, Q = 0, K, V, OUT, LSE };
enum { MAX_ELEMENTS = 1 << 18, MAX_WORK = 1 << 23 };

typedef struct fuzz_case {
    gatun_attention_desc desc;
    bool lse, aliased;
    bool has_lengths[2]; /* of keys, of queries */
    int32_t lengths[2][8];
    int64_t offset[TENSORS]; /* within one buffer, if aliased; in floats */
    uint32_t changes;        /* CHANGE_* of fuzz_changes.h */
    int32_t prefix[8];       /* where the descriptor says that there are any */
    int biases;              /* 1 slopes, 2 a table, 3 both; where the descriptor says that there are any */
    stream rest;
} fuzz_case;

typedef struct tensor {
    int64_t size[4];
    const int64_t *stride;
} tensor;

void fuzz_build(fuzz_case *c, stream *s);

/* Random values, some of them NaN, infinite, huge or tiny, in the memory of q, k and v, each in its type. */
void fuzz_values(const fuzz_case *c, uint8_t *const data[TENSORS], const int64_t extent[TENSORS]);

/* The same for biases: slopes or a table, -inf among them at times. */
void fuzz_biases(const fuzz_case *c, float *biases, int64_t count, uint64_t number);

tensor tensor_of(const gatun_attention_desc *d, int which);

/* GATUN_DTYPE_* of a tensor. */
int32_t dtype_of(const gatun_attention_desc *d, int which);

/* The first element of a row, counted in the order batch, sequence, head. */
int64_t offset_of(const tensor *t, int64_t row);
int64_t rows_of(const tensor *t);

/*
 * Elements from the first to the last, or -1 if they are too many for a fuzzer; of an accepted descriptor, so that
 * nothing overflows.
 */
int64_t extent_of(const tensor *t);

/* Whether a byte of an output is one of another tensor too, or twice of its own; by marking all of so many. */
bool shares_elements(const fuzz_case *c, int64_t total);

/* Every stride reaches past all that the smaller ones reach: what the library knows to be free of sharing. */
bool nested(const gatun_attention_desc *d, int which);

/* In elements and in bytes: sharing is then found out exactly. */
bool equal_strides(const gatun_attention_desc *d);

#endif
