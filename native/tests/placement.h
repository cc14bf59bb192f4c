/* Problems, and the ways in which their tensors lie in guarded memory. */
#ifndef GATUN_TESTS_PLACEMENT_H
#define GATUN_TESTS_PLACEMENT_H

#include "guarded.h"
#include "harness.h"
#include "reference.h"

/* ---- problems ---- */

enum { LENGTHS_NONE, LENGTHS_KEY, LENGTHS_QUERY, LENGTHS_BOTH, LENGTHS_KINDS };

enum { BIAS_NONE, BIAS_ALIBI, BIAS_TABLE, BIAS_BOTH, BIAS_KINDS };

typedef enum distribution {
    VALUES_NORMAL,  /* N(0,1) */
    VALUES_UNIFORM, /* -1 .. 1 */
    VALUES_PEAKED,  /* queries times 16: a few keys win */
    VALUES_KINDS
} distribution;

/* Allocates the arrays of a problem whose sizes are set, and lengths if wanted. */
void problem_allocate(problem *p, int lengths);
void problem_draw(problem *p, distribution kind, rng *random); /* values and lengths */
void problem_free(problem *p);

/* Allocates and draws biases: slopes of 1/2 to 1/256, of either sign now and then, and a table of that span. */
void problem_bias(problem *p, int kind, int64_t span, rng *random);

/*
 * Puts NaN and infinities where no row may look: keys, values and rows past their lengths, keys past the causal
 * limit of all rows.
 */
void problem_poison(problem *p, rng *random);

int64_t problem_cost(const problem *p); /* of a test with the reference, in products */
void problem_describe(const problem *p, char *text, size_t size);

int64_t out_elements(const problem *p);
int64_t lse_elements(const problem *p);
void outcome_create(outcome *result, const problem *p);
void outcome_free(outcome *result);
bool same_bits(const float *a, const float *b, int64_t count);
/* Fails with the first element that differs in its bits. */
void check_same_bits(const problem *p, const outcome *a, const outcome *b, const char *what);

/* ---- placements ---- */

typedef enum layout {
    LAYOUT_BSHD,      /* [batch][seq][heads][dim] */
    LAYOUT_BHSD,      /* [batch][heads][seq][dim] */
    LAYOUT_FUSED,     /* one buffer, rows of q heads, k heads, v heads */
    LAYOUT_FUSED_OUT, /* the same with out behind them in the same rows */
    LAYOUT_PADDED,    /* room between elements of every dimension, filled with NaN */
    LAYOUT_BROADCAST, /* keys and values with a stride of 0 */
    LAYOUT_UNALIGNED, /* BSHD, bases aligned to their element only, lse [batch][seq][heads] */
    LAYOUT_MIXED,     /* another one for each tensor */
    LAYOUT_KINDS
} layout;

const char *layout_name(layout kind);

enum { TENSOR_Q, TENSOR_K, TENSOR_V, TENSOR_OUT, TENSOR_LSE, TENSORS };

typedef struct placement {
    const problem *problem;
    gatun_attention_desc desc;
    guarded memory[TENSORS]; /* map is NULL where the tensor lies in another's memory */
    guarded key_lengths, query_lengths, slopes, table;
    float *data[TENSORS];
    float *fused_copy; /* what a fused buffer held before the call, if out lies in it */
    bool no_lse;       /* pass NULL for lse */
} placement;

/* Strides of the tensors of p, without memory. */
void placement_strides(gatun_attention_desc *desc, const problem *p, layout kind, rng *random);

/*
 * Lays out p in guarded memory. Broadcasting changes p's arrays: they get what the memory holds. With
 * GUARD_AFTER, what lies past the last live row or key is address space that cannot be read.
 */
void placement_create(placement *place, problem *p, layout kind, guarded_end end, rng *random);
void placement_destroy(placement *place);

/*
 * Runs the call, inputs read-only, and stores the results. For the test's main thread only. Checks that it
 * succeeds and that it writes nothing but the elements of out and lse. Returns whether all that was so.
 */
bool placement_run(placement *place, gatun_context *context, int32_t max_threads, outcome *result, const char *what);

/* The common case: p in the default layout, on max_threads of the shared context of tier. */
bool run_problem(problem *p, int32_t tier, int32_t max_threads, outcome *result, const char *what);

/*
 * Runs p on every tier with 1 and with 5 threads, against the reference and for equal bits; stores the last tier's
 * result if wanted.
 */
void check_problem(problem *p, outcome *result, const char *what);

/* A problem of these sizes, values N(0,1), lengths not set. The caller frees it. */
problem new_problem(
    int64_t batch, int64_t heads, int64_t kv_heads, int64_t seq_q, int64_t seq_k, int64_t head_dim, int32_t causal);

/* A descriptor of p in the default layout, of which tests change members. */
gatun_attention_desc default_desc(const problem *p);

/*
 * The call of p with these tensors, by the entry that takes its biases; cu_seqlens_q and cu_seqlens_k or NULL.
 */
int32_t forward_problem(gatun_context *context, const gatun_attention_desc *desc, void *workspace, int64_t bytes,
    const problem *p, const float *q, const float *k, const float *v, float *out, float *lse,
    const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k);

/* A 64-byte aligned workspace for desc, the caller's to free; NULL, and a failure, if the library gives no size. */
void *new_workspace(const gatun_context *context, const gatun_attention_desc *desc, int64_t *bytes);

#endif
