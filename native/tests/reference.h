/* What gatun.h says in double, written from it alone: attention, with the bound on the library's error, products,
 * activations. */
#ifndef GATUN_TESTS_REFERENCE_H
#define GATUN_TESTS_REFERENCE_H

#include "gatun.h"

#include <stdbool.h>
#include <stdint.h>

/* One attention problem in dense arrays: q [batch][seq_q][heads][head_dim], k and v with kv_heads, in that order. */
typedef struct problem {
    int64_t batch, heads, kv_heads, seq_q, seq_k, head_dim, head_dim_v;
    int32_t causal;
    bool scaled; /* by scale, else by 1 / sqrt(head_dim) */
    float scale;
    bool random_values; /* drawn from a distribution: the error bound's smaller constant holds */
    float *q, *k, *v;
    int32_t *key_lengths, *query_lengths; /* [batch] or NULL */
    float *alibi_slopes;                  /* [heads] or NULL */
    float *relative_table;                /* [heads][2 * relative_span + 1] or NULL */
    int64_t relative_span;
    /* Arrays or NULL; maps are [batch][heads][seq_q][seq_k] with these strides, of elements. */
    float softcap;
    bool windowed;
    int64_t window_left, window_right, global_tokens;
    float *sinks; /* [heads] */
    uint8_t *mask, *block_mask;
    float *bias;
    int64_t mask_stride[4], bias_stride[4], block_stride[4], block_q, block_k;
    int32_t *segments_q, *segments_k, *positions, *prefix; /* [batch][seq_q], [batch][seq_k], [batch][seq_q], [batch] */
} problem;

/* Dense results: out [batch][seq_q][heads][head_dim_v], lse [batch][seq_q][heads]. */
typedef struct outcome {
    float *out;
    float *lse;
} outcome;

/* What is exact for one row, and what its error bound needs; maxima over the keys that the row attends to. */
typedef struct row_bound {
    double lse;
    double score;   /* S = |scale| * max over j of sum over d of |q[d] * k[j][d]|, and what biases add to it */
    double product; /* the same without scale, and over keys with a score of -inf; or the largest bias */
    double bias;    /* max of |bias| and |sink| */
    double value;   /* max |v|, infinite values not counted */
    int64_t keys;   /* that the row attends to, those with a score of -inf not counted */
} row_bound;

/* Descriptors of problems have GATUN_ATTENTION_BF16, and bounds are those of products of bf16. */
extern bool reference_of_bf16;

typedef struct expected {
    double *out;
    row_bound *row; /* [batch][seq_q][heads] */
} expected;

void expected_create(expected *want, const problem *p);
void expected_destroy(expected *want);

/* Allowed error of an element of out, and of lse, of this row. */
double bound_out(const problem *p, const row_bound *row);
double bound_lse(const problem *p, const row_bound *row);

/*
 * The product or a sum of the row may overflow in float although it does not in double: gatun.h promises nothing
 * then.
 */
bool row_overflows(const row_bound *row);

/*
 * Records a failure for the first element of got that is not within its bound (lse is not looked at where got->lse
 * is NULL). Returns the greatest error as a part of its bound.
 */
double compare_outcome(const problem *p, const expected *want, const outcome *got, const char *what);

/* Element (i, j) of op(A) op(B), and the sum of its terms' magnitudes. */
double product_exact(
    const gatun_sgemm_desc *desc, const float *a, const float *b, int64_t i, int64_t j, double *magnitude);

double activation_exact(int32_t kind, double x);

#endif
