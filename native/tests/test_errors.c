/*
 * Every input of the attention entry points that is refused: its status, its message, and outputs that are left
 * alone.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

/* ---- a valid call, of which each test breaks one thing ---- */

typedef struct call {
    gatun_attention_desc desc;
    uint8_t *workspace; /* 64-byte aligned */
    int64_t workspace_size;
    const void *q, *k, *v;
    int32_t key_lengths[2], query_lengths[2];
    const int32_t *key_lengths_argument, *query_lengths_argument;
    void *out;
    float *lse;
} call;

static problem p;
static outcome result;
static gatun_context *context;

enum { ROWS = 2 * 6 * 4, DIM = 10 };

static call begin(void) {
    p = new_problem(2, 4, 2, 6, 9, DIM, GATUN_CAUSAL_BOTTOM_RIGHT);
    int32_t tiers[MAX_TIERS];
    context = shared_context(tiers[test_tiers(tiers) - 1]);
    call c = {.desc = default_desc(&p), .q = p.q, .k = p.k, .v = p.v, .key_lengths = {9, 5}, .query_lengths = {6, 0}};
    c.workspace = new_workspace(context, &c.desc, &c.workspace_size);
    outcome_create(&result, &p);
    memset(result.out, 0x5a, sizeof(float) * ROWS * DIM);
    memset(result.lse, 0x5a, sizeof(float) * ROWS);
    c.out = result.out;
    c.lse = result.lse;
    return c;
}

static void end(call *c) {
    free(c->workspace);
    outcome_free(&result);
    problem_free(&p);
}

static int32_t forward(call *c) {
    return gatun_attention_forward(context, &c->desc, c->workspace, c->workspace_size, c->q, c->k, c->v,
        c->key_lengths_argument, c->query_lengths_argument, c->out, c->lse);
}

static bool untouched(void) {
    const uint8_t *out = (const uint8_t *)result.out;
    const uint8_t *lse = (const uint8_t *)result.lse;
    for (size_t i = 0; i < sizeof(float) * ROWS * DIM; i++) {
        if (out[i] != 0x5a) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(float) * ROWS; i++) {
        if (lse[i] != 0x5a) {
            return false;
        }
    }
    return true;
}

static void check_refused(call *c, int32_t wanted, const char *what) {
    int32_t status = forward(c);
    CHECK(status == wanted, "%s: expected \"%s\" (%d), got \"%s\" (%d)", what, gatun_status_string(wanted), (int)wanted,
        gatun_status_string(status), (int)status);
    CHECK(untouched(), "%s: the outputs were written", what);
}

/* ---- members of the descriptor ---- */

typedef struct bad_member {
    const char *name; /* which the message must hold */
    size_t offset;
    size_t size;
    int64_t value;
    int32_t status;
} bad_member;

#define BAD(member, value, status)                                                                                     \
    { #member, offsetof(gatun_attention_desc, member), sizeof(((gatun_attention_desc *)0)->member), value, status }
#define BAD_ITEM(member, index, value, status)                                                                         \
    { #member, offsetof(gatun_attention_desc, member) + 8 * (index), 8, value, status }

static const bad_member bad_members[] = {
    BAD(struct_size, 0, GATUN_E_VERSION),
    BAD(struct_size, 4, GATUN_E_VERSION),
    BAD(struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(flags, 512, GATUN_E_INVALID),
    BAD(flags, INT64_C(0x80000000), GATUN_E_INVALID),
    BAD(causal, -1, GATUN_E_INVALID),
    BAD(causal, 3, GATUN_E_INVALID),
    BAD(max_threads, -1, GATUN_E_INVALID),
    BAD(max_threads, INT32_MIN, GATUN_E_INVALID),
    BAD(out_dtype, GATUN_DTYPE_BF16, GATUN_E_UNSUPPORTED),
    BAD(out_dtype, -1, GATUN_E_UNSUPPORTED),
    BAD(batch, -1, GATUN_E_INVALID),
    BAD(batch, INT64_MIN, GATUN_E_INVALID),
    BAD(batch, INT64_MAX, GATUN_E_INVALID),
    BAD(heads, 0, GATUN_E_INVALID),
    BAD(heads, -4, GATUN_E_INVALID),
    BAD(heads, 3, GATUN_E_INVALID), /* no multiple of kv_heads */
    BAD(heads, 1, GATUN_E_INVALID),
    BAD(heads, INT64_MAX - 1, GATUN_E_INVALID),
    BAD(kv_heads, 0, GATUN_E_INVALID),
    BAD(kv_heads, -2, GATUN_E_INVALID),
    BAD(seq_q, -1, GATUN_E_INVALID),
    BAD(seq_q, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(seq_q, INT64_MAX, GATUN_E_INVALID),
    BAD(seq_k, -1, GATUN_E_INVALID),
    BAD(seq_k, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(head_dim, 0, GATUN_E_INVALID),
    BAD(head_dim, -10, GATUN_E_INVALID),
    BAD(head_dim, GATUN_MAX_HEAD_DIM + 1, GATUN_E_INVALID),
    BAD(head_dim, INT64_C(0x10000000a), GATUN_E_INVALID), /* 10 in its low 32 bits */
    BAD(head_dim_v, 0, GATUN_E_INVALID),
    BAD(head_dim_v, GATUN_MAX_HEAD_DIM + 1, GATUN_E_INVALID),
    BAD_ITEM(q_stride, 0, -1, GATUN_E_INVALID),
    BAD_ITEM(q_stride, 1, -40, GATUN_E_INVALID),
    BAD_ITEM(q_stride, 2, INT64_MIN, GATUN_E_INVALID),
    BAD_ITEM(k_stride, 0, -1, GATUN_E_INVALID),
    BAD_ITEM(k_stride, 1, -1, GATUN_E_INVALID),
    BAD_ITEM(k_stride, 2, -1, GATUN_E_INVALID),
    BAD_ITEM(v_stride, 0, -1, GATUN_E_INVALID),
    BAD_ITEM(v_stride, 1, -1, GATUN_E_INVALID),
    BAD_ITEM(v_stride, 2, -1, GATUN_E_INVALID),
    BAD_ITEM(out_stride, 0, -1, GATUN_E_INVALID),
    BAD_ITEM(out_stride, 1, -1, GATUN_E_INVALID),
    BAD_ITEM(out_stride, 2, -1, GATUN_E_INVALID),
    BAD_ITEM(lse_stride, 0, -1, GATUN_E_INVALID),
    BAD_ITEM(lse_stride, 1, -1, GATUN_E_INVALID),
    BAD_ITEM(lse_stride, 2, -1, GATUN_E_INVALID),
    /* extents that do not fit int64_t, in elements or in bytes */
    BAD_ITEM(q_stride, 0, INT64_MAX, GATUN_E_INVALID),
    BAD_ITEM(k_stride, 1, INT64_MAX / 4, GATUN_E_INVALID),
    BAD_ITEM(v_stride, 2, INT64_MAX / 2, GATUN_E_INVALID),
    BAD_ITEM(out_stride, 0, INT64_C(1) << 61, GATUN_E_INVALID),
    BAD_ITEM(lse_stride, 2, INT64_C(1) << 62, GATUN_E_INVALID),
    /* elements of out that share an address */
    BAD_ITEM(out_stride, 0, 0, GATUN_E_OVERLAP),
    BAD_ITEM(out_stride, 1, 0, GATUN_E_OVERLAP),
    BAD_ITEM(out_stride, 2, 0, GATUN_E_OVERLAP),
    BAD_ITEM(out_stride, 2, DIM - 1, GATUN_E_OVERLAP),
    BAD_ITEM(out_stride, 1, 4 * DIM - 1, GATUN_E_OVERLAP),
    BAD_ITEM(reserved, 0, 1, GATUN_E_VERSION),
    BAD_ITEM(reserved, 12, INT64_MIN, GATUN_E_VERSION),
    BAD(softcap, 1, GATUN_E_INVALID), /* as bits */
    BAD(softcap, INT32_MIN + 1, GATUN_E_INVALID),
    BAD(softcap, 0x7f800000, GATUN_E_INVALID),
    BAD(softcap, 0x7fc00000, GATUN_E_INVALID),
    /* without the flags that they go with */
    BAD(bias_dtype, GATUN_DTYPE_F32, GATUN_E_INVALID),
    BAD(bias_dtype, GATUN_DTYPE_BF16, GATUN_E_UNSUPPORTED),
    BAD(window_left, 1, GATUN_E_INVALID),
    BAD(window_left, -1, GATUN_E_INVALID),
    BAD(window_right, 1, GATUN_E_INVALID),
    BAD(global_tokens, 1, GATUN_E_INVALID),
    BAD_ITEM(mask_stride, 0, 1, GATUN_E_INVALID),
    BAD_ITEM(mask_stride, 3, -1, GATUN_E_INVALID),
    BAD_ITEM(bias_stride, 1, 1, GATUN_E_INVALID),
    BAD_ITEM(block_stride, 2, 1, GATUN_E_INVALID),
    BAD(block_q, 1, GATUN_E_INVALID),
    BAD(block_k, 1, GATUN_E_INVALID),
    BAD(relative_span, 1, GATUN_E_INVALID), /* without GATUN_ATTENTION_BIASED */
    BAD(relative_span, -1, GATUN_E_INVALID),
};

static void store(gatun_attention_desc *desc, const bad_member *bad) {
    int32_t narrow = (int32_t)bad->value;
    memcpy((uint8_t *)desc + bad->offset, bad->size == 8 ? (const void *)&bad->value : &narrow, bad->size);
}

static void check_message(const gatun_attention_desc *desc, int32_t wanted, const char *name, const char *what) {
    char message[256];
    memset(message, 'x', sizeof message);
    int32_t status = gatun_attention_check(context, desc, message, sizeof message);
    CHECK(status == wanted, "%s: gatun_attention_check: expected %d, got %d", what, (int)wanted, (int)status);
    bool ends = memchr(message, '\0', sizeof message) != NULL;
    CHECK(ends, "%s: the message has no end", what);
    if (ends) {
        CHECK(strstr(message, name) != NULL, "%s: the message does not name %s: \"%s\"", what, name, message);
        CHECK(strchr(message, '\n') == NULL, "%s: the message is more than one line: \"%s\"", what, message);
    }
    char shorter[12];
    memset(shorter, 'x', sizeof shorter);
    CHECK(gatun_attention_check(NULL, desc, shorter, 8) == wanted, "%s: without context, another status", what);
    CHECK(memchr(shorter, '\0', 8) != NULL && shorter[8] == 'x', "%s: a message of 8 bytes is longer", what);
    CHECK(gatun_attention_check(context, desc, NULL, 0) == wanted, "%s: without message, another status", what);
}

static void members(void) {
    for (size_t n = 0; n < sizeof bad_members / sizeof *bad_members; n++) {
        const bad_member *bad = &bad_members[n];
        call c = begin();
        char what[96];
        snprintf(what, sizeof what, "%s = %lld", bad->name, (long long)bad->value);
        store(&c.desc, bad);
        check_refused(&c, bad->status, what);
        check_message(&c.desc, bad->status, bad->name, what);
        int64_t bytes = -5;
        CHECK(gatun_attention_workspace_size(context, &c.desc, &bytes) == bad->status,
            "%s: workspace_size says otherwise", what);
        CHECK(bytes == -5, "%s: workspace_size stored %lld", what, (long long)bytes);
        end(&c);
    }
}

/* Names of types and floats have a status of either kind: valid in a later version, or never. */
static void types(void) {
    static const int32_t numbers[] = {0, 4, 5, 6, 7, -1, INT32_MAX};
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        for (int kv = 0; kv < 2; kv++) {
            call c = begin();
            *(kv ? &c.desc.kv_dtype : &c.desc.dtype) = numbers[n];
            int32_t status = forward(&c);
            CHECK(status == GATUN_E_INVALID || status == GATUN_E_UNSUPPORTED, "%s = %d: %s", kv ? "kv_dtype" : "dtype",
                (int)numbers[n], gatun_status_string(status));
            CHECK(untouched(), "dtype: the outputs were written");
            check_message(&c.desc, status, kv ? "kv_dtype" : "dtype", "dtype");
            end(&c);
        }
    }
}

static void scale(void) {
    static const float numbers[] = {NAN, INFINITY, -INFINITY};
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        call c = begin();
        c.desc.scale = numbers[n];
        c.desc.flags = GATUN_ATTENTION_SCALE;
        check_refused(&c, GATUN_E_INVALID, "a scale that is not finite");
        check_message(&c.desc, GATUN_E_INVALID, "scale", "a scale that is not finite");
        c.desc.flags = 0;
        CHECK_STATUS(forward(&c), GATUN_OK); /* scale is not read */
        end(&c);
    }
}

static void struct_sizes(void) {
    struct {
        gatun_attention_desc desc;
        int64_t later[4];
    } newer = {0};
    call c = begin();
    newer.desc = c.desc;
    newer.desc.struct_size = sizeof newer;
    int64_t bytes;
    CHECK_STATUS(gatun_attention_check(context, &newer.desc, NULL, 0), GATUN_OK);
    CHECK_STATUS(gatun_attention_workspace_size(context, &newer.desc, &bytes), GATUN_OK);
    CHECK_STATUS(gatun_attention_forward(
                     context, &newer.desc, c.workspace, c.workspace_size, c.q, c.k, c.v, NULL, NULL, c.out, c.lse),
        GATUN_OK);
    memset(result.out, 0x5a, sizeof(float) * ROWS * DIM);
    memset(result.lse, 0x5a, sizeof(float) * ROWS);
    newer.later[3] = 1;
    CHECK_STATUS(gatun_attention_forward(
                     context, &newer.desc, c.workspace, c.workspace_size, c.q, c.k, c.v, NULL, NULL, c.out, c.lse),
        GATUN_E_VERSION);
    CHECK(untouched(), "a newer struct: the outputs were written");
    check_message(&newer.desc, GATUN_E_VERSION, "gatun_attention_desc", "a newer struct with something in its tail");
    end(&c);
}

/* ---- pointers ---- */

static void null_pointers(void) {
    call c = begin();
    CHECK_STATUS(gatun_attention_check(context, NULL, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_workspace_size(context, &c.desc, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_workspace_size(context, NULL, &c.workspace_size), GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_workspace_size(NULL, &c.desc, &c.workspace_size), GATUN_E_NULL);
    CHECK_STATUS(
        gatun_attention_forward(context, NULL, c.workspace, c.workspace_size, c.q, c.k, c.v, NULL, NULL, c.out, c.lse),
        GATUN_E_NULL);
    CHECK_STATUS(
        gatun_attention_forward(NULL, &c.desc, c.workspace, c.workspace_size, c.q, c.k, c.v, NULL, NULL, c.out, c.lse),
        GATUN_E_NULL);
    call broken = c;
    broken.workspace = NULL;
    check_refused(&broken, GATUN_E_NULL, "workspace = NULL");
    broken = c;
    broken.q = NULL;
    check_refused(&broken, GATUN_E_NULL, "q = NULL");
    broken = c;
    broken.k = NULL;
    check_refused(&broken, GATUN_E_NULL, "k = NULL");
    broken = c;
    broken.v = NULL;
    check_refused(&broken, GATUN_E_NULL, "v = NULL");
    broken = c;
    broken.out = NULL;
    check_refused(&broken, GATUN_E_NULL, "out = NULL");
    broken = c;
    broken.lse = NULL;
    CHECK_STATUS(forward(&broken), GATUN_OK);
    end(&c);
}

/* Tensors without elements may be NULL. */
static void null_without_elements(void) {
    call c = begin();
    c.desc.seq_k = 0;
    c.k = NULL;
    c.v = NULL;
    CHECK_STATUS(forward(&c), GATUN_OK);
    end(&c);
    c = begin();
    c.desc.seq_q = 0;
    c.q = NULL;
    c.out = NULL;
    c.lse = NULL;
    CHECK_STATUS(forward(&c), GATUN_OK);
    end(&c);
    c = begin();
    c.desc.batch = 0;
    c.q = NULL;
    c.k = NULL;
    c.v = NULL;
    c.out = NULL;
    CHECK_STATUS(forward(&c), GATUN_OK);
    CHECK(untouched(), "batch = 0: the outputs were written");
    end(&c);
}

static void alignment(void) {
    for (size_t off = 1; off < 4; off++) {
        call c = begin();
        call broken = c;
        broken.q = (const uint8_t *)c.q + off;
        check_refused(&broken, GATUN_E_ALIGNMENT, "q not aligned");
        broken = c;
        broken.k = (const uint8_t *)c.k + off;
        check_refused(&broken, GATUN_E_ALIGNMENT, "k not aligned");
        broken = c;
        broken.v = (const uint8_t *)c.v + off;
        check_refused(&broken, GATUN_E_ALIGNMENT, "v not aligned");
        broken = c;
        broken.out = (uint8_t *)c.out + off;
        check_refused(&broken, GATUN_E_ALIGNMENT, "out not aligned");
        broken = c;
        broken.lse = (float *)(void *)((uint8_t *)c.lse + off);
        check_refused(&broken, GATUN_E_ALIGNMENT, "lse not aligned");
        broken = c;
        broken.key_lengths_argument = (const int32_t *)(const void *)((const uint8_t *)c.key_lengths + off);
        check_refused(&broken, GATUN_E_ALIGNMENT, "key_lengths not aligned");
        broken = c;
        broken.query_lengths_argument = (const int32_t *)(const void *)((const uint8_t *)c.query_lengths + off);
        check_refused(&broken, GATUN_E_ALIGNMENT, "query_lengths not aligned");
        end(&c);
    }
    for (size_t off = 4; off < 64; off *= 2) {
        call c = begin();
        call broken = c;
        broken.workspace = c.workspace + off;
        broken.workspace_size = c.workspace_size;
        check_refused(&broken, GATUN_E_ALIGNMENT, "workspace not aligned to 64");
        end(&c);
    }
}

static void workspace_size(void) {
    call c = begin();
    const int64_t sizes[] = {c.workspace_size - 1, c.workspace_size / 2, 64, 1, 0, -1, INT64_MIN};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        call broken = c;
        broken.workspace_size = sizes[n];
        if (sizes[n] < c.workspace_size) {
            check_refused(&broken, GATUN_E_WORKSPACE, "a workspace that is too small");
        }
    }
    /* it depends on the context and the descriptor only */
    int64_t again = 0;
    CHECK_STATUS(gatun_attention_workspace_size(context, &c.desc, &again), GATUN_OK);
    CHECK(again == c.workspace_size, "workspace_size: first %lld, then %lld", (long long)c.workspace_size,
        (long long)again);
    end(&c);
}

/* Not more for more sequences, heads and rows, but for a few tiles. */
static void workspace_growth(void) {
    call c = begin();
    int64_t small = 0;
    int64_t large = 0;
    problem shape = {
        .batch = 1, .heads = 8, .kv_heads = 8, .seq_q = 4096, .seq_k = 4096, .head_dim = 64, .head_dim_v = 64};
    gatun_attention_desc desc = default_desc(&shape);
    CHECK_STATUS(gatun_attention_workspace_size(context, &desc, &small), GATUN_OK);
    shape.batch = 64;
    shape.heads = 64;
    shape.kv_heads = 64;
    shape.seq_q = 1000000;
    shape.seq_k = 1000000;
    desc = default_desc(&shape);
    CHECK_STATUS(gatun_attention_workspace_size(context, &desc, &large), GATUN_OK);
    CHECK(large <= 2 * small, "the workspace grows from %lld to %lld bytes", (long long)small, (long long)large);
    CHECK(large <= SHARED_THREADS * (INT64_C(2) << 20), "the workspace has %lld bytes", (long long)large);
    end(&c);
}

static void lengths(void) {
    static const int32_t bad[] = {-1, INT32_MIN, 10, INT32_MAX};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        for (int b = 0; b < 2; b++) {
            call c = begin();
            c.key_lengths_argument = c.key_lengths;
            c.query_lengths_argument = c.query_lengths;
            CHECK_STATUS(forward(&c), GATUN_OK);
            memset(result.out, 0x5a, sizeof(float) * ROWS * DIM);
            memset(result.lse, 0x5a, sizeof(float) * ROWS);
            c.key_lengths[b] = bad[n];
            check_refused(&c, GATUN_E_LENGTH, "a key length out of range");
            c.key_lengths[b] = 9;
            c.query_lengths[b] = bad[n] == 10 ? 7 : bad[n]; /* one more than seq_q */
            check_refused(&c, GATUN_E_LENGTH, "a query length out of range");
            end(&c);
        }
    }
}

/* ---- the extended entry ---- */

enum { EXTENSIONS = 15 };

static int32_t forward_extended(const call *c, const void *const e[EXTENSIONS]) {
    return gatun_attention_forward_extended(context, &c->desc, c->workspace, c->workspace_size, c->q, c->k, c->v, NULL,
        NULL, c->out, c->lse, e[0], e[1], e[2], e[3], e[4], e[5], e[6], e[7], e[8], e[9], e[10], e[11], e[12], e[13],
        e[14]);
}

static void extensions(void) {
    static const char *const names[EXTENSIONS] = {"cu_seqlens_q", "cu_seqlens_k", "page_table", "mask", "block_mask",
        "bias", "alibi_slopes", "sinks", "segment_ids_q", "segment_ids_k", "prefix_lengths", "relative_position_table",
        "query_positions", "k_scales", "v_scales"};
    static const int64_t something[64] = {0};
    for (int n = 0; n < EXTENSIONS; n++) {
        call c = begin();
        const void *extension[EXTENSIONS] = {NULL};
        extension[n] = something;
        int32_t status = forward_extended(&c, extension);
        /* these are built, and belong to flags (see test_ragged.c, test_bias.c, test_changes.c) */
        bool built = n != 2 && n < 13;
        int32_t wanted = built ? GATUN_E_INVALID : GATUN_E_UNSUPPORTED;
        CHECK(status == wanted, "%s: expected \"%s\", got \"%s\"", names[n], gatun_status_string(wanted),
            gatun_status_string(status));
        CHECK(untouched(), "%s: the outputs were written", names[n]);
        extension[n] = NULL;
        CHECK_STATUS(forward_extended(&c, extension), GATUN_OK);
        end(&c);
    }
}

const test_case errors_tests[] = {{"members", members}, {"types", types}, {"scale", scale},
    {"struct_sizes", struct_sizes}, {"null_pointers", null_pointers}, {"null_without_elements", null_without_elements},
    {"alignment", alignment}, {"workspace_size", workspace_size}, {"workspace_growth", workspace_growth},
    {"lengths", lengths}, {"extensions", extensions}, {NULL, NULL}};
