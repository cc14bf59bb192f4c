/* One call of gatun_linear_attention in guarded memory, and its definition in double. */
#ifndef GATUN_TESTS_LINEAR_CASE_H
#define GATUN_TESTS_LINEAR_CASE_H

#include "guarded.h"
#include "harness.h"

typedef struct linear_shape {
    int64_t batch, heads, query_heads, key_heads, value_heads, rows, keys, head_dim, head_dim_v, features;
    int32_t map, form;
    uint32_t flags;
    bool decays, state, lengths, heads_first;
    float spread; /* standard deviation of q and k; 0: 1 */
    guarded_end end;
} linear_shape;

/* Ragged: the batch's sequences have `rows` rows and `keys` keys at most. */
typedef struct linear_case {
    linear_shape shape;
    gatun_linear_attention_desc desc;
    guarded q_memory, k_memory, v_memory, out_memory, projection_memory, decay_memory, state_memory, work_memory;
    float *q, *k, *v, *out, *projection, *log_decay, *state;
    char *workspace;
    int64_t workspace_bytes;
    int32_t cu_q[8], cu_k[8], lengths[8];
} linear_case;

linear_case linear_create(const linear_shape *shape, gatun_context *context, uint64_t number);
void linear_destroy(linear_case *c);
int32_t linear_run(linear_case *c, gatun_context *context);

/* Rows first .. first + rows - 1 of a causal call that is not ragged, with its state. */
int32_t linear_run_rows(linear_case *c, gatun_context *context, int64_t first, int64_t rows);

/* Sequence b: where its rows and keys begin, and how many there are. */
void linear_span(const linear_case *c, int64_t b, int64_t *row, int64_t *rows, int64_t *key, int64_t *keys);

/* Every element of out against the definition, within `bound` times the largest |expected|. */
void linear_check(const linear_case *c, double bound, const char *what);

float *linear_out(const linear_case *c, int64_t b, int64_t i, int64_t h);
float *linear_k(const linear_case *c, int64_t b, int64_t j, int64_t g);
float *linear_q(const linear_case *c, int64_t b, int64_t i, int64_t g);
float *linear_v(const linear_case *c, int64_t b, int64_t j, int64_t g);

#endif
