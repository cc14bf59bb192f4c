/*
 * What every benchmark computes: shapes, inputs and flop formula. Kept equal to Shape.java and
 * Workload.java in benchmarks/src/main/java/dev/gatun/bench/measure; a unit test compares the two.
 *
 * Inputs: element n, counted in row-major order of [batch][heads][seq][dim] whatever the layout in memory, is the
 * n-th output of splitmix64 (Steele et al. 2014) as a float in [-1, 1): see workload_value. q, k and v have the seeds
 * 1, 2 and 3.
 * Flops: 2 * visible (query, key) pairs * (head_dim + head_dim_v) * heads * batch.
 * Answers are compared with double arithmetic on some rows of the first and the last head (workload_error).
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "gatun.h"

typedef struct workload_shape {
    const char *name;
    int64_t batch, heads, kv_heads, seq_q, seq_k, dim;
} workload_shape;

extern const workload_shape workload_shapes[];
extern const int workload_shape_count;

#define WORKLOAD_SEED_Q    1u
#define WORKLOAD_SEED_K    2u
#define WORKLOAD_SEED_V    3u
#define WORKLOAD_TOLERANCE 2e-6
/* Of products of bf16: the shapes are short of the worst case. */
#define WORKLOAD_TOLERANCE_BF16 0.03

float workload_value(uint64_t seed, uint64_t element);

/* Contiguous [batch][heads][seq][dim], or [batch][seq][heads][dim]; every logical element has the same value. */
void workload_fill(float *x, uint64_t seed, int64_t batch, int64_t heads, int64_t seq, int64_t dim, int bshd);

/* A descriptor without a mask; bshd chooses the layout of all four tensors. */
void workload_describe(gatun_attention_desc *d, const workload_shape *shape, int bshd);

double workload_flops(const gatun_attention_desc *d);

/* Largest error in the rows that are looked at; a NaN counts as infinite. */
double workload_error(const gatun_attention_desc *d, const float *q, const float *k, const float *v, const float *out);

#endif /* WORKLOAD_H */
