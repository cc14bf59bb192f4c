/*
 * Attention with queries, keys, values and outputs of 16-bit floats: results are those of float32 tensors with the same numbers, to
 * the bit, and an output of 16 bits is their rounding. The other suites say what the float32 results are worth.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "half_float.h"
#include "placement.h"
#include "suites.h"

typedef struct dtypes {
    int32_t q, kv, out; /* out as in a descriptor */
} dtypes;

static const dtypes all_dtypes[] = {{GATUN_DTYPE_BF16, GATUN_DTYPE_BF16, GATUN_DTYPE_F32},
    {GATUN_DTYPE_F16, GATUN_DTYPE_F16, GATUN_DTYPE_F32}, {GATUN_DTYPE_BF16, GATUN_DTYPE_BF16, 0},
    {GATUN_DTYPE_F16, GATUN_DTYPE_F16, GATUN_DTYPE_F16}, {GATUN_DTYPE_F32, GATUN_DTYPE_BF16, 0},
    {GATUN_DTYPE_F32, GATUN_DTYPE_F16, GATUN_DTYPE_F32}, {GATUN_DTYPE_F16, GATUN_DTYPE_F32, 0},
    {GATUN_DTYPE_BF16, GATUN_DTYPE_F16, GATUN_DTYPE_BF16}};

/* The tensor in guarded memory, as dtype; its floats become what it holds. */
static void place_tensor(guarded *memory, const char *name, float *x, int64_t count, int32_t dtype) {
    guarded_create(memory, name, count * bytes_of(dtype), 0, GUARD_AFTER);
    for (int64_t i = 0; i < count; i++) {
        store_float(dtype, memory->data + i * bytes_of(dtype), x[i]);
        x[i] = load_float(dtype, memory->data + i * bytes_of(dtype));
    }
}

/* p with these types on a context, of which the floats become what they hold; offsets of ragged sequences or NULL. */
static void compare(problem *p, gatun_context *context, dtypes types, int32_t threads, const int32_t *offsets) {
    char what[100];
    gatun_info info = {.struct_size = sizeof info};
    CHECK_STATUS(gatun_context_info(context, &info), GATUN_OK);
    snprintf(what, sizeof what, "%s, q %d, k and v %d, out %d, %d threads", gatun_tier_name(info.tier), (int)types.q,
        (int)types.kv, (int)types.out, (int)threads);
    const int64_t outs = out_elements(p), lses = lse_elements(p);
    const int32_t out_type = types.out == 0 ? types.q : types.out;
    guarded q, k, v, out;
    place_tensor(&q, "q", p->q, p->batch * p->seq_q * p->heads * p->head_dim, types.q);
    place_tensor(&k, "k", p->k, p->batch * p->seq_k * p->kv_heads * p->head_dim, types.kv);
    place_tensor(&v, "v", p->v, p->batch * p->seq_k * p->kv_heads * p->head_dim_v, types.kv);
    guarded_create(&out, "out", outs * bytes_of(out_type), 0, GUARD_AFTER);
    outcome want, got;
    outcome_create(&want, p);
    outcome_create(&got, p);
    gatun_attention_desc desc = default_desc(p);
    desc.max_threads = threads;
    if (offsets != NULL) {
        desc.flags |= GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K;
        desc.batch = 3;
        desc.q_stride[0] = desc.k_stride[0] = desc.v_stride[0] = desc.out_stride[0] = desc.lse_stride[0] = 0;
    }
    int64_t bytes = 0;
    void *workspace = new_workspace(context, &desc, &bytes);
    CHECK_STATUS(
        forward_problem(context, &desc, workspace, bytes, p, p->q, p->k, p->v, want.out, want.lse, offsets, offsets),
        GATUN_OK);
    free(workspace);
    desc.dtype = types.q;
    desc.kv_dtype = types.kv;
    desc.out_dtype = types.out;
    workspace = new_workspace(context, &desc, &bytes);
    CHECK_STATUS(forward_problem(context, &desc, workspace, bytes, p, (float *)q.data, (float *)k.data, (float *)v.data,
                     (float *)out.data, got.lse, offsets, offsets),
        GATUN_OK);
    free(workspace);
    for (int64_t i = 0; i < outs; i++) {
        const bool is_half = out_type != GATUN_DTYPE_F32;
        const float wanted = is_half ? float_of(out_type, half_of(out_type, want.out[i])) : want.out[i];
        const float is = load_float(out_type, out.data + i * bytes_of(out_type));
        if (!same_number(wanted, is)) {
            test_fail(__FILE__, __LINE__, "%s: out[%lld]: expected %.9g, got %.9g", what, (long long)i, (double)wanted,
                (double)is);
            break;
        }
    }
    for (int64_t i = 0; i < lses; i++) {
        if (!same_number(want.lse[i], got.lse[i])) {
            test_fail(__FILE__, __LINE__, "%s: lse[%lld]: expected %.9g, got %.9g", what, (long long)i,
                (double)want.lse[i], (double)got.lse[i]);
            break;
        }
    }
    guarded_destroy(&q);
    guarded_destroy(&k);
    guarded_destroy(&v);
    guarded_destroy(&out);
    outcome_free(&want);
    outcome_free(&got);
}

/* On all tiers, with all types, in float32 products and those of bf16. */
static void everywhere(problem *p, const int32_t *offsets) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    char text[400];
    problem_describe(p, text, sizeof text);
    for (int t = 0; t < count; t++) {
        for (size_t n = 0; n < sizeof all_dtypes / sizeof *all_dtypes; n++) {
            for (int flag = 0; flag < 2; flag++) {
                test_note("%s, flag %d", text, flag);
                reference_of_bf16 = flag == 1;
                compare(p, shared_context(tiers[t]), all_dtypes[n], 1, offsets);
                compare(p, shared_context(tiers[t]), all_dtypes[n], SHARED_THREADS, offsets);
                reference_of_bf16 = false;
            }
        }
    }
    test_note("%s", "");
}

/* Queries in one block and several, decoding, tiny heads, keys in splits and parts, lengths, biases, heads without vectors. */
static void shapes(void) {
    static const struct {
        int64_t batch, heads, kv_heads, seq_q, seq_k, head_dim, head_dim_v;
        int32_t causal;
        int lengths, biases;
    } cases[] = {
        {2, 4, 2, 70, 300, 40, 40, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE},
        {2, 3, 3, 33, 131, 31, 7, GATUN_CAUSAL_TOP_LEFT, LENGTHS_BOTH, BIAS_NONE},
        {3, 6, 2, 9, 140, 64, 65, GATUN_CAUSAL_NONE, LENGTHS_BOTH, BIAS_BOTH},
        {2, 5, 1, 3, 300, 48, 48, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_KEY, BIAS_NONE},
        {1, 8, 2, 1, 9000, 16, 24, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE},
        {1, 2, 1, 4, 2049, 17, 1, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE},
        {1, 2, 2, 20, 2300, 17, 16, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE},
        {2, 5, 5, 16, 16, 32, 32, GATUN_CAUSAL_NONE, LENGTHS_QUERY, BIAS_NONE},
        {4, 4, 4, 40, 90, 32, 32, GATUN_CAUSAL_NONE, LENGTHS_BOTH, BIAS_NONE},
        {1, 72, 1, 7, 40, 8, 8, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE},
        {1, 1, 1, 300, 300, 64, 64, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE},
        {1, 1, 1, 5, 20, 1, 1, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE},
        {1, 2, 1, 5, 0, 8, 8, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n += test_light() ? 3 : 1) {
        problem p = {.batch = cases[n].batch,
            .heads = cases[n].heads,
            .kv_heads = cases[n].kv_heads,
            .seq_q = cases[n].seq_q,
            .seq_k = cases[n].seq_k,
            .head_dim = cases[n].head_dim,
            .head_dim_v = cases[n].head_dim_v,
            .causal = cases[n].causal};
        rng random = rng_make(test_seed(), n);
        problem_allocate(&p, cases[n].lengths);
        problem_draw(&p, VALUES_NORMAL, &random);
        problem_bias(&p, cases[n].biases, 9, &random);
        problem_poison(&p, &random);
        everywhere(&p, NULL);
        problem_free(&p);
    }
}

/* NaN and Inf that some rows see, scores of -inf, scores beyond the range of float. */
static void special_numbers(void) {
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_BOTTOM_RIGHT; causal++) {
        for (int64_t rows = 3; rows <= 40; rows += 37) {
            problem p = new_problem(1, 4, 2, rows, 70, 24, causal);
            p.v[60 * 48 + 5] = NAN;
            p.v[66 * 48 + 30] = INFINITY;
            p.k[65 * 48 + 3] = NAN;
            p.k[2 * 48 + 3] = -INFINITY;
            p.q[2 * 96 + 50] = NAN;
            everywhere(&p, NULL);
            problem_free(&p);
            p = new_problem(1, 2, 1, rows, 70, 8, causal);
            for (int64_t i = 0; i < rows * 2 * 8; i++) {
                p.q[i] *= 2e38f;
            }
            everywhere(&p, NULL);
            problem_free(&p);
        }
    }
}

static void ragged(void) {
    static const int32_t offsets[] = {0, 3, 40, 77};
    problem p = new_problem(1, 4, 2, 77, 77, 33, GATUN_CAUSAL_BOTTOM_RIGHT);
    everywhere(&p, offsets);
    problem_free(&p);
}

/* Elements that share a byte, although their indices differ. */
static void overlap(void) {
    problem p = new_problem(1, 1, 1, 8, 8, 16, GATUN_CAUSAL_NONE);
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    gatun_attention_desc desc = default_desc(&p);
    desc.dtype = desc.kv_dtype = GATUN_DTYPE_F16;
    int64_t bytes;
    void *workspace = new_workspace(context, &desc, &bytes);
    uint16_t *memory = test_allocate(2048);
    memset(memory, 0, 2048);
    const struct {
        int32_t out_dtype;
        int64_t out; /* in halves, behind three inputs of 128 */
        int32_t status;
    } cases[] = {{0, 384, GATUN_OK}, {0, 383, GATUN_E_OVERLAP}, {GATUN_DTYPE_F32, 384, GATUN_OK},
        {GATUN_DTYPE_F32, 382, GATUN_E_OVERLAP}, {GATUN_DTYPE_F32, 385, GATUN_E_ALIGNMENT}};
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        desc.out_dtype = cases[n].out_dtype;
        CHECK_STATUS(gatun_attention_forward(context, &desc, workspace, bytes, memory, memory + 128, memory + 256, NULL,
                         NULL, memory + cases[n].out, NULL),
            cases[n].status);
    }
    free(memory);
    free(workspace);
    problem_free(&p);
}

const test_case attention_halves_tests[] = {
    {"shapes", shapes}, {"special_numbers", special_numbers}, {"ragged", ragged}, {"overlap", overlap}, {NULL, NULL}};
