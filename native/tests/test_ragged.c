/*
 * Ragged sequences ((GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K)): the bits of the same sequences run one by one, and nothing of a neighbor.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "placement.h"
#include "suites.h"

/* ---- calls ---- */

enum { MOST = 8 };

typedef enum rows_layout {
    ROWS_HEADS, /* [row][heads][dim] each */
    HEADS_ROWS, /* [heads][row][dim] each */
    ONE_BUFFER, /* q, k, v and out side by side in the rows of one buffer; equal offsets of queries and keys */
    LAYOUTS
} rows_layout;

typedef struct ragged {
    gatun_attention_desc desc;
    int32_t offsets_q[MOST + 1], offsets_k[MOST + 1];
    guarded memory[5]; /* q, k, v, out, lse; with ONE_BUFFER the first holds all but lse */
    float *q, *k, *v, *out, *lse;
} ragged;

typedef struct sequences {
    int64_t count;
    int32_t begin_q, begin_k;
    int32_t q[MOST], k[MOST];
    int64_t heads, kv_heads, head_dim, head_dim_v;
    int32_t causal;
} sequences;

static int64_t elements(const guarded *memory) {
    return memory->bytes / (int64_t)sizeof(float);
}

static float *create(ragged *p, int tensor, const char *name, int64_t floats, rng *random) {
    guarded *memory = &p->memory[tensor];
    guarded_create(memory, name, floats * (int64_t)sizeof(float), 0, GUARD_AFTER);
    float *data = (float *)(void *)memory->data;
    for (int64_t i = 0; random != NULL && i < floats; i++) {
        data[i] = rng_normal(random);
    }
    return data;
}

static void strides(int64_t stride[3], rows_layout kind, int64_t rows, int64_t heads, int64_t dim, int64_t width) {
    stride[0] = 0;
    stride[1] = kind == ONE_BUFFER ? width : kind == ROWS_HEADS ? heads * dim : dim;
    stride[2] = kind == HEADS_ROWS ? rows * dim : dim;
}

static ragged ragged_create(const sequences *s, rows_layout kind, uint64_t seed) {
    ragged p = {.desc = {.struct_size = sizeof p.desc,
                    .flags = (GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K),
                    .dtype = GATUN_DTYPE_F32,
                    .kv_dtype = GATUN_DTYPE_F32,
                    .causal = s->causal,
                    .batch = s->count,
                    .heads = s->heads,
                    .kv_heads = s->kv_heads,
                    .head_dim = s->head_dim,
                    .head_dim_v = s->head_dim_v}};
    p.offsets_q[0] = s->begin_q;
    p.offsets_k[0] = s->begin_k;
    for (int64_t b = 0; b < s->count; b++) {
        p.offsets_q[b + 1] = p.offsets_q[b] + s->q[b];
        p.offsets_k[b + 1] = p.offsets_k[b] + s->k[b];
        p.desc.seq_q = s->q[b] > p.desc.seq_q ? s->q[b] : p.desc.seq_q;
        p.desc.seq_k = s->k[b] > p.desc.seq_k ? s->k[b] : p.desc.seq_k;
    }
    int64_t rows = p.offsets_q[s->count];
    int64_t keys = p.offsets_k[s->count];
    int64_t q_width = s->heads * s->head_dim;
    int64_t k_width = s->kv_heads * s->head_dim;
    int64_t v_width = s->kv_heads * s->head_dim_v;
    int64_t out_width = s->heads * s->head_dim_v;
    int64_t width = q_width + k_width + v_width + out_width;
    strides(p.desc.q_stride, kind, rows, s->heads, s->head_dim, width);
    strides(p.desc.k_stride, kind, keys, s->kv_heads, s->head_dim, width);
    strides(p.desc.v_stride, kind, keys, s->kv_heads, s->head_dim_v, width);
    strides(p.desc.out_stride, kind, rows, s->heads, s->head_dim_v, width);
    p.desc.lse_stride[1] = kind == HEADS_ROWS ? 1 : s->heads;
    p.desc.lse_stride[2] = kind == HEADS_ROWS ? rows : 1;
    rng random = rng_make(test_seed(), seed);
    if (kind == ONE_BUFFER) {
        p.q = create(&p, 0, "the fused buffer", rows * width, &random);
        p.k = p.q + q_width;
        p.v = p.k + k_width;
        p.out = p.v + v_width;
    } else {
        p.q = create(&p, 0, "q", rows * q_width, &random);
        p.k = create(&p, 1, "k", keys * k_width, &random);
        p.v = create(&p, 2, "v", keys * v_width, &random);
        p.out = create(&p, 3, "out", rows * out_width, NULL);
    }
    p.lse = create(&p, 4, "lse", rows * s->heads, NULL);
    return p;
}

static void ragged_destroy(ragged *p) {
    for (int i = 0; i < 5; i++) {
        guarded_destroy(&p->memory[i]);
    }
}

static int32_t forward(gatun_context *context, const ragged *p, const int32_t *offsets_q, const int32_t *offsets_k) {
    int64_t bytes;
    void *workspace = new_workspace(context, &p->desc, &bytes);
    if (workspace == NULL) {
        return GATUN_E_MEMORY;
    }
    int32_t status =
        gatun_attention_forward_extended(context, &p->desc, workspace, bytes, p->q, p->k, p->v, NULL, NULL, p->out,
            p->lse, offsets_q, offsets_k, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    free(workspace);
    return status;
}

/* Sequence b alone, through gatun_attention_forward, into out and lse in the places that the ragged call uses. */
static void forward_one(gatun_context *context, const ragged *p, int64_t b, float *out, float *lse, const char *what) {
    gatun_attention_desc desc = p->desc;
    desc.flags &= ~(GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K);
    desc.batch = 1;
    desc.seq_q = p->offsets_q[b + 1] - p->offsets_q[b];
    desc.seq_k = p->offsets_k[b + 1] - p->offsets_k[b];
    int64_t row = p->offsets_q[b];
    int64_t key = p->offsets_k[b];
    int64_t bytes;
    void *workspace = new_workspace(context, &desc, &bytes);
    if (workspace == NULL) {
        return;
    }
    int32_t status = gatun_attention_forward(context, &desc, workspace, bytes, p->q + row * desc.q_stride[1],
        p->k + key * desc.k_stride[1], p->v + key * desc.v_stride[1], NULL, NULL, out + row * desc.out_stride[1],
        lse + row * desc.lse_stride[1]);
    CHECK(status == GATUN_OK, "%s: sequence %d alone: %s", what, (int)b, gatun_status_string(status));
    free(workspace);
}

/* Copies of the memory that holds out, and of lse. */
typedef struct results {
    float *out, *lse;
} results;

static const guarded *out_memory(const ragged *p) {
    return p->memory[3].map != NULL ? &p->memory[3] : &p->memory[0];
}

static results keep(const ragged *p) {
    results r = {test_allocate(out_memory(p)->bytes), test_allocate(p->memory[4].bytes)};
    memcpy(r.out, out_memory(p)->data, (size_t)out_memory(p)->bytes);
    memcpy(r.lse, p->memory[4].data, (size_t)p->memory[4].bytes);
    return r;
}

static void put_back(const ragged *p, const results *r) {
    memcpy(out_memory(p)->data, r->out, (size_t)out_memory(p)->bytes);
    memcpy(p->memory[4].data, r->lse, (size_t)p->memory[4].bytes);
}

static void results_free(results *r) {
    free(r->out);
    free(r->lse);
}

static void check_equal(const ragged *p, const results *want, const char *what) {
    for (int64_t i = 0; i < elements(out_memory(p)); i++) {
        if (memcmp(&want->out[i], out_memory(p)->data + 4 * i, 4) != 0) {
            test_fail(__FILE__, __LINE__, "%s: float %lld of out's memory: %.9g alone, %.9g ragged", what, (long long)i,
                (double)want->out[i], (double)((const float *)(const void *)out_memory(p)->data)[i]);
            break;
        }
    }
    for (int64_t i = 0; i < elements(&p->memory[4]); i++) {
        if (memcmp(&want->lse[i], &p->lse[i], 4) != 0) {
            test_fail(__FILE__, __LINE__, "%s: float %lld of lse's memory: %.9g alone, %.9g ragged", what, (long long)i,
                (double)want->lse[i], (double)p->lse[i]);
            break;
        }
    }
    for (int i = 0; i < 5; i++) {
        CHECK(p->memory[i].map == NULL || guarded_intact(&p->memory[i]), "%s: memory beside %s was written", what,
            p->memory[i].name);
    }
}

/* ---- sequences ---- */

static const sequences lists[] = {
    {5, 0, 0, {7, 1, 33, 16, 3}, {7, 1, 33, 16, 3}, 4, 4, 32, 32, GATUN_CAUSAL_NONE},
    /* neither the first nor the last rows are of a sequence's; some are empty; cross-attention */
    {6, 3, 5, {4, 0, 20, 5, 0, 2}, {9, 4, 0, 130, 0, 1}, 6, 2, 17, 24, GATUN_CAUSAL_BOTTOM_RIGHT},
    {4, 0, 0, {70, 5, 129, 64}, {70, 5, 129, 64}, 3, 1, 40, 9, GATUN_CAUSAL_BOTTOM_RIGHT},
    {4, 2, 2, {9, 0, 33, 64}, {9, 0, 33, 64}, 6, 2, 12, 12, GATUN_CAUSAL_BOTTOM_RIGHT},
    {4, 1, 2, {10, 31, 2, 80}, {40, 31, 1, 20}, 4, 2, 24, 24, GATUN_CAUSAL_TOP_LEFT},
    /* beyond what one task takes, and beyond the keys that are summed up in float */
    {3, 0, 0, {300, 2, 140}, {2300, 30, 140}, 2, 2, 16, 16, GATUN_CAUSAL_NONE},
    {3, 0, 0, {1, 1, 1}, {500, 3, 2200}, 8, 2, 64, 64, GATUN_CAUSAL_BOTTOM_RIGHT},
    {3, 0, 0, {0, 0, 0}, {0, 5, 0}, 2, 2, 8, 8, GATUN_CAUSAL_NONE},
    {2, 4, 0, {3, 6}, {0, 0}, 2, 1, 8, 5, GATUN_CAUSAL_NONE},
    {1, 0, 0, {50}, {60}, 2, 1, 33, 33, GATUN_CAUSAL_TOP_LEFT},
    {0, 2, 2, {0}, {0}, 2, 1, 8, 8, GATUN_CAUSAL_NONE},
};

enum { LISTS = sizeof lists / sizeof *lists };

/* Parts of one buffer are told apart where their strides agree. */
static bool fits_one_buffer(const sequences *s, const ragged *p) {
    return memcmp(p->offsets_q, p->offsets_k, sizeof p->offsets_q) == 0 && s->head_dim == s->head_dim_v;
}

/* Calls what with every list in every layout on every tier. */
static void each(void (*what)(const sequences *s, ragged *p, int32_t tier, const char *name)) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int n = 0; n < LISTS; n += test_light() ? 3 : 1) {
            for (int kind = 0; kind < LAYOUTS; kind++) {
                char name[64];
                snprintf(name, sizeof name, "list %d, layout %d, %s", n, kind, gatun_tier_name(tiers[t]));
                test_note("%s", name);
                ragged p = ragged_create(&lists[n], ROWS_HEADS, (uint64_t)n);
                bool possible = kind != ONE_BUFFER || fits_one_buffer(&lists[n], &p);
                if (kind != ROWS_HEADS && possible) {
                    ragged_destroy(&p);
                    p = ragged_create(&lists[n], (rows_layout)kind, (uint64_t)n);
                }
                if (possible) {
                    what(&lists[n], &p, tiers[t], name);
                }
                ragged_destroy(&p);
            }
        }
    }
    test_note("%s", "");
}

static results one_by_one(const ragged *p, gatun_context *context, const char *name) {
    results before = keep(p);
    for (int64_t b = 0; b < p->desc.batch; b++) {
        forward_one(context, p, b, p->out, p->lse, name);
    }
    results want = keep(p);
    put_back(p, &before);
    results_free(&before);
    return want;
}

/* Bits, whatever the threads, and whatever the longest sequence is said to be. */
static void check_like_one_by_one(const sequences *s, ragged *p, int32_t tier, const char *name) {
    (void)s;
    gatun_context *context = shared_context(tier);
    results before = keep(p);
    results want = one_by_one(p, context, name);
    const int64_t seq_q = p->desc.seq_q;
    const int64_t seq_k = p->desc.seq_k;
    static const int32_t threads[] = {1, 2, 5, 0};
    for (int t = 0; t < 4; t++) {
        for (int64_t more = 0; more <= 777; more += 777) {
            put_back(p, &before);
            p->desc.max_threads = threads[t];
            p->desc.seq_q = seq_q + more;
            p->desc.seq_k = seq_k + more * 3;
            CHECK_STATUS(forward(context, p, p->offsets_q, p->offsets_k), GATUN_OK);
            char what[128];
            snprintf(what, sizeof what, "%s, %d threads, seq_q + %d", name, (int)threads[t], (int)more);
            check_equal(p, &want, what);
        }
    }
    results_free(&before);
    results_free(&want);
}

static void like_one_by_one(void) {
    each(check_like_one_by_one);
}

/* Whole neighbors of NaN and Inf, and rows of no sequence: the others keep their bits. */
static void check_neighbors(const sequences *s, ragged *p, int32_t tier, const char *name) {
    gatun_context *context = shared_context(tier);
    results want = one_by_one(p, context, name);
    for (int parity = 0; parity < 2; parity++) {
        static const float poison[] = {NAN, INFINITY, -INFINITY};
        results q_before = {test_allocate(p->memory[0].bytes), test_allocate(4)};
        memcpy(q_before.out, p->q, (size_t)p->memory[0].bytes);
        results k_before = {test_allocate(p->memory[1].bytes), test_allocate(p->memory[2].bytes)};
        memcpy(k_before.out, p->k, (size_t)p->memory[1].bytes);
        memcpy(k_before.lse, p->v, (size_t)p->memory[2].bytes);
        for (int64_t b = -1; b < s->count; b++) {
            if (b >= 0 && b % 2 == parity) {
                continue;
            }
            int64_t rows_begin = b < 0 ? 0 : p->offsets_q[b];
            int64_t keys_begin = b < 0 ? 0 : p->offsets_k[b];
            for (int64_t i = rows_begin; i < p->offsets_q[b + 1]; i++) {
                for (int64_t h = 0; h < s->heads; h++) {
                    p->q[i * p->desc.q_stride[1] + h * p->desc.q_stride[2]] = poison[i % 3];
                }
            }
            for (int64_t j = keys_begin; j < p->offsets_k[b + 1]; j++) {
                for (int64_t h = 0; h < s->kv_heads; h++) {
                    p->k[j * p->desc.k_stride[1] + h * p->desc.k_stride[2]] = poison[j % 3];
                    p->v[j * p->desc.v_stride[1] + h * p->desc.v_stride[2]] = poison[(j + 1) % 3];
                }
            }
        }
        CHECK_STATUS(forward(context, p, p->offsets_q, p->offsets_k), GATUN_OK);
        for (int64_t b = parity; b < s->count; b += 2) {
            for (int64_t i = p->offsets_q[b]; i < p->offsets_q[b + 1]; i++) {
                for (int64_t h = 0; h < s->heads; h++) {
                    int64_t at = i * p->desc.out_stride[1] + h * p->desc.out_stride[2];
                    int64_t lse_at = i * p->desc.lse_stride[1] + h * p->desc.lse_stride[2];
                    if (memcmp(&p->out[at], &want.out[at], (size_t)s->head_dim_v * sizeof(float)) != 0 ||
                        memcmp(&p->lse[lse_at], &want.lse[lse_at], sizeof(float)) != 0) {
                        test_fail(__FILE__, __LINE__, "%s: row %d, head %d of sequence %d changed with its neighbors",
                            name, (int)(i - p->offsets_q[b]), (int)h, (int)b);
                        h = s->heads;
                        i = p->offsets_q[b + 1];
                    }
                }
            }
        }
        memcpy(p->q, q_before.out, (size_t)p->memory[0].bytes);
        memcpy(p->k, k_before.out, (size_t)p->memory[1].bytes);
        memcpy(p->v, k_before.lse, (size_t)p->memory[2].bytes);
        results_free(&q_before);
        results_free(&k_before);
    }
    results_free(&want);
}

static void separate_neighbors(const sequences *s, ragged *p, int32_t tier, const char *name) {
    if (p->memory[1].map != NULL) {
        check_neighbors(s, p, tier, name);
    }
}

static void neighbors(void) {
    each(separate_neighbors);
}

/* Against the reference, which the comparison with single calls is not. */
static void against_reference(void) {
    for (int n = 0; n < 4; n++) {
        const sequences *s = &lists[n];
        ragged p = ragged_create(s, ROWS_HEADS, (uint64_t)n);
        int32_t tiers[MAX_TIERS];
        CHECK_STATUS(forward(shared_context(tiers[test_tiers(tiers) - 1]), &p, p.offsets_q, p.offsets_k), GATUN_OK);
        for (int64_t b = 0; b < s->count; b++) {
            problem one = {.batch = 1,
                .heads = s->heads,
                .kv_heads = s->kv_heads,
                .seq_q = s->q[b],
                .seq_k = s->k[b],
                .head_dim = s->head_dim,
                .head_dim_v = s->head_dim_v,
                .causal = s->causal,
                .random_values = true,
                .q = p.q + p.offsets_q[b] * p.desc.q_stride[1],
                .k = p.k + p.offsets_k[b] * p.desc.k_stride[1],
                .v = p.v + p.offsets_k[b] * p.desc.v_stride[1]};
            outcome got = {
                p.out + p.offsets_q[b] * p.desc.out_stride[1], p.lse + p.offsets_q[b] * p.desc.lse_stride[1]};
            expected want;
            expected_create(&want, &one);
            compare_outcome(&one, &want, &got, "a ragged sequence");
            expected_destroy(&want);
        }
        ragged_destroy(&p);
    }
}

/* ---- refused ---- */

static void check_refused(
    const ragged *p, const int32_t *offsets_q, const int32_t *offsets_k, int32_t wanted, const char *what) {
    int32_t tiers[MAX_TIERS];
    int32_t status = forward(shared_context(tiers[test_tiers(tiers) - 1]), p, offsets_q, offsets_k);
    CHECK(status == wanted, "%s: expected \"%s\" (%d), got \"%s\" (%d)", what, gatun_status_string(wanted), (int)wanted,
        gatun_status_string(status), (int)status);
    CHECK(guarded_unwritten(&p->memory[3]) && guarded_unwritten(&p->memory[4]), "%s: the outputs were written", what);
}

static const sequences three = {3, 0, 0, {4, 6, 2}, {5, 3, 7}, 2, 2, 8, 8, GATUN_CAUSAL_NONE};

static void offsets(void) {
    ragged p = ragged_create(&three, ROWS_HEADS, 1);
    static const struct {
        int32_t offsets[4];
        int32_t status_q, status_k;
    } bad[] = {
        {{-1, 2, 3, 4}, GATUN_E_INDEX, GATUN_E_INDEX}, {{INT32_MIN, 0, 1, 2}, GATUN_E_INDEX, GATUN_E_INDEX},
        {{0, 4, 3, 5}, GATUN_E_INDEX, GATUN_E_INDEX}, {{0, 4, 6, 5}, GATUN_E_INDEX, GATUN_E_INDEX},
        {{3, 2, 3, 4}, GATUN_E_INDEX, GATUN_E_INDEX}, {{0, -1, 2, 3}, GATUN_E_INDEX, GATUN_E_INDEX},
        {{0, 4, INT32_MIN, 5}, GATUN_E_INDEX, GATUN_E_INDEX},
        {{0, 1, 9, 10}, GATUN_E_LENGTH, GATUN_E_LENGTH}, /* 8 rows, one more than the longest */
        {{0, 8, 9, 10}, GATUN_E_LENGTH, GATUN_E_LENGTH}, {{0, 1, 2, INT32_MAX}, GATUN_E_LENGTH, GATUN_E_LENGTH},
        {{0, 7, 8, 9}, GATUN_E_LENGTH, GATUN_OK}, /* queries have 6 at most, keys 7 */
    };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        char what[64];
        snprintf(what, sizeof what, "offsets %d, %d, %d, %d", (int)bad[n].offsets[0], (int)bad[n].offsets[1],
            (int)bad[n].offsets[2], (int)bad[n].offsets[3]);
        check_refused(&p, bad[n].offsets, p.offsets_k, bad[n].status_q, what);
        if (bad[n].status_k != GATUN_OK) {
            check_refused(&p, p.offsets_q, bad[n].offsets, bad[n].status_k, what);
        }
    }
    check_refused(&p, NULL, p.offsets_k, GATUN_E_NULL, "no offsets of queries");
    check_refused(&p, p.offsets_q, NULL, GATUN_E_NULL, "no offsets of keys");
    check_refused(&p, NULL, NULL, GATUN_E_NULL, "no offsets");
    const int32_t *off = (const int32_t *)(const void *)((const uint8_t *)p.offsets_q + 2);
    check_refused(&p, off, p.offsets_k, GATUN_E_ALIGNMENT, "offsets that are not aligned");
    check_refused(&p, p.offsets_q, off, GATUN_E_ALIGNMENT, "offsets that are not aligned");
    p.desc.flags = 0;
    p.desc.q_stride[0] = p.desc.out_stride[0] = 12 * 16;
    p.desc.lse_stride[0] = 24;
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_INVALID, "offsets without the flag");
    check_refused(&p, p.offsets_q, NULL, GATUN_E_INVALID, "offsets of queries without the flag");
    check_refused(&p, NULL, p.offsets_k, GATUN_E_INVALID, "offsets of keys without the flag");
    ragged_destroy(&p);
}

static void batch_strides(void) {
    ragged p = ragged_create(&three, ROWS_HEADS, 1);
    int64_t *const strides_of[] = {
        p.desc.q_stride, p.desc.k_stride, p.desc.v_stride, p.desc.out_stride, p.desc.lse_stride};
    for (int i = 0; i < 5; i++) {
        strides_of[i][0] = 16;
        char message[200] = "";
        CHECK_STATUS(gatun_attention_check(NULL, &p.desc, message, sizeof message), GATUN_E_INVALID);
        CHECK(strstr(message, "batch stride") != NULL, "tensor %d: \"%s\" does not name the batch strides", i, message);
        int64_t bytes = 1 << 20;
        void *workspace = aligned_alloc(64, (size_t)bytes);
        CHECK_STATUS(gatun_attention_forward_extended(shared_context(GATUN_TIER_PORTABLE), &p.desc, workspace, bytes,
                         p.q, p.k, p.v, NULL, NULL, p.out, p.lse, p.offsets_q, p.offsets_k, NULL, NULL, NULL, NULL,
                         NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            GATUN_E_INVALID);
        free(workspace);
        strides_of[i][0] = 0;
    }
    CHECK(guarded_unwritten(&p.memory[3]) && guarded_unwritten(&p.memory[4]), "the outputs were written");
    ragged_destroy(&p);
}

/* Lengths say the same as offsets: only one of them may. And the plain entry point takes no ragged descriptor. */
static void lengths(void) {
    ragged p = ragged_create(&three, ROWS_HEADS, 1);
    static const int32_t given[] = {1, 1, 1};
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    int64_t bytes;
    void *workspace = new_workspace(context, &p.desc, &bytes);
    for (int n = 1; n < 4; n++) {
        CHECK_STATUS(gatun_attention_forward_extended(context, &p.desc, workspace, bytes, p.q, p.k, p.v,
                         (n & 1) != 0 ? given : NULL, (n & 2) != 0 ? given : NULL, p.out, p.lse, p.offsets_q,
                         p.offsets_k, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            GATUN_E_INVALID);
    }
    CHECK_STATUS(gatun_attention_forward(context, &p.desc, workspace, bytes, p.q, p.k, p.v, NULL, NULL, p.out, p.lse),
        GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_forward_extended(context, &p.desc, workspace, bytes - 1, p.q, p.k, p.v, NULL, NULL,
                     p.out, p.lse, p.offsets_q, p.offsets_k, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                     NULL, NULL, NULL),
        GATUN_E_WORKSPACE);
    free(workspace);
    CHECK(guarded_unwritten(&p.memory[3]) && guarded_unwritten(&p.memory[4]), "the outputs were written");
    ragged_destroy(&p);
}

/* Memory is shared by the rows that the offsets reach, not by those of one sequence. */
static void overlaps(void) {
    ragged p = ragged_create(&three, ROWS_HEADS, 1);
    const ragged good = p;
    int64_t last = 11 * p.desc.out_stride[1];
    p.out = good.q + last; /* beyond the longest sequence */
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_OVERLAP, "out over the last row of q");
    p.out = good.out;
    p.v = good.out + last;
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_OVERLAP, "v over the last row of out");
    p = good;
    p.lse = good.out + last;
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_OVERLAP, "lse over the last row of out");
    p = good;
    /* heads that lie as far apart as the longest sequence is, 6 rows, and not as all 12 */
    p.desc.out_stride[1] = 8;
    p.desc.out_stride[2] = 6 * 8;
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_OVERLAP, "heads of out over each other");
    p = good;
    p.desc.lse_stride[1] = 1;
    p.desc.lse_stride[2] = 6;
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_OVERLAP, "heads of lse over each other");
    p = good;
    ragged_destroy(&p);
    /* sequences of one row, so that the descriptor alone shows no two rows */
    static const sequences ones = {3, 0, 0, {1, 1, 1}, {2, 2, 2}, 2, 2, 8, 8, GATUN_CAUSAL_NONE};
    p = ragged_create(&ones, ROWS_HEADS, 1);
    p.desc.out_stride[1] = 0;
    check_refused(&p, p.offsets_q, p.offsets_k, GATUN_E_OVERLAP, "rows of out over each other");
    ragged_destroy(&p);
    p = ragged_create(&three, ROWS_HEADS, 1);
    int32_t *offsets_inside = (int32_t *)(void *)p.out;
    int32_t kept[4];
    memcpy(kept, offsets_inside, sizeof kept);
    memcpy(offsets_inside, p.offsets_q, sizeof kept);
    CHECK_STATUS(forward(shared_context(GATUN_TIER_PORTABLE), &p, offsets_inside, p.offsets_k), GATUN_E_OVERLAP);
    CHECK(memcmp(offsets_inside, p.offsets_q, sizeof kept) == 0, "offsets in out: they were written");
    ragged_destroy(&p);
}

/* Tensors that no row of a sequence lies in may be NULL. */
static void null_without_rows(void) {
    static const sequences empty = {2, 0, 0, {0, 0}, {0, 0}, 2, 2, 8, 8, GATUN_CAUSAL_NONE};
    ragged p = ragged_create(&empty, ROWS_HEADS, 1);
    p.desc.seq_q = p.desc.seq_k = 9;
    p.q = p.k = p.v = p.out = p.lse = NULL;
    CHECK_STATUS(forward(shared_context(GATUN_TIER_PORTABLE), &p, p.offsets_q, p.offsets_k), GATUN_OK);
    ragged_destroy(&p);
}

const test_case ragged_tests[] = {{"like_one_by_one", like_one_by_one}, {"neighbors", neighbors},
    {"against_reference", against_reference}, {"offsets", offsets}, {"batch_strides", batch_strides},
    {"lengths", lengths}, {"overlaps", overlaps}, {"null_without_rows", null_without_rows}, {NULL, NULL}};
