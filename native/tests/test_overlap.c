/*
 * Sharing of memory between tensors: interleaved in one fused buffer it is legal and right, else it is refused;
 * compared with a search through the addresses of all elements.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

static gatun_context *best_context(void) {
    int32_t tiers[MAX_TIERS];
    return shared_context(tiers[test_tiers(tiers) - 1]);
}

/* One call on tensors that lie in one buffer of floats. */
typedef struct shared_call {
    gatun_attention_desc desc;
    int64_t q, k, v, out; /* first elements within the buffer */
    int64_t lse;          /* or -1: NULL */
} shared_call;

enum { BUFFER = 4096 };

typedef struct marks {
    uint8_t of[BUFFER]; /* bits: read, written */
} marks;

/* Marks the elements of a tensor; returns whether one of them was marked with forbidden before. */
static bool mark(marks *m, int64_t first, const int64_t stride[3], int64_t batch, int64_t seq, int64_t heads,
    int64_t dim, uint8_t bit, uint8_t forbidden) {
    bool met = false;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t i = 0; i < seq; i++) {
            for (int64_t h = 0; h < heads; h++) {
                for (int64_t d = 0; d < dim; d++) {
                    uint8_t *at = &m->of[first + b * stride[0] + i * stride[1] + h * stride[2] + d];
                    met = met || (*at & forbidden) != 0;
                    *at |= bit;
                }
            }
        }
    }
    return met;
}

static bool really_overlaps(const shared_call *c) {
    static marks m;
    memset(&m, 0, sizeof m);
    const gatun_attention_desc *d = &c->desc;
    mark(&m, c->q, d->q_stride, d->batch, d->seq_q, d->heads, d->head_dim, 1, 0);
    mark(&m, c->k, d->k_stride, d->batch, d->seq_k, d->kv_heads, d->head_dim, 1, 0);
    mark(&m, c->v, d->v_stride, d->batch, d->seq_k, d->kv_heads, d->head_dim_v, 1, 0);
    bool met = mark(&m, c->out, d->out_stride, d->batch, d->seq_q, d->heads, d->head_dim_v, 2, 3);
    if (c->lse >= 0) {
        met = mark(&m, c->lse, d->lse_stride, d->batch, d->seq_q, d->heads, 1, 2, 3) || met;
    }
    return met;
}

static void gather(
    float *dense, const float *from, const int64_t stride[3], int64_t batch, int64_t seq, int64_t heads, int64_t dim) {
    for (int64_t row = 0; row < batch * seq * heads; row++) {
        int64_t offset = row / heads / seq * stride[0] + row / heads % seq * stride[1] + row % heads * stride[2];
        memcpy(dense + row * dim, from + offset, sizeof(float) * (size_t)dim);
    }
}

/*
 * Runs the call. If it is refused nothing may have changed; if it is accepted no element may be shared, the result
 * must be right, and all that is no output must be as it was. Returns the status.
 */
static int32_t run_shared(const shared_call *c, const char *what) {
    static float buffer[BUFFER];
    static float before[BUFFER];
    rng random = rng_make(test_seed(), 3);
    for (int64_t i = 0; i < BUFFER; i++) {
        buffer[i] = rng_normal(&random);
    }
    memcpy(before, buffer, sizeof buffer);
    const gatun_attention_desc *d = &c->desc;
    gatun_context *context = best_context();
    int64_t bytes = 0;
    int32_t status = gatun_attention_workspace_size(context, d, &bytes);
    if (status != GATUN_OK) {
        return status; /* out overlaps itself: known from the descriptor alone */
    }
    void *workspace = new_workspace(context, d, &bytes);
    status = gatun_attention_forward(context, d, workspace, bytes, buffer + c->q, buffer + c->k, buffer + c->v, NULL,
        NULL, buffer + c->out, c->lse >= 0 ? buffer + c->lse : NULL);
    free(workspace);
    if (status != GATUN_OK) {
        CHECK(memcmp(buffer, before, sizeof buffer) == 0, "%s: refused (%s), but memory was written", what,
            gatun_status_string(status));
        return status;
    }
    CHECK(!really_overlaps(c), "%s: accepted, though elements share an address", what);
    problem p = {.batch = d->batch,
        .heads = d->heads,
        .kv_heads = d->kv_heads,
        .seq_q = d->seq_q,
        .seq_k = d->seq_k,
        .head_dim = d->head_dim,
        .head_dim_v = d->head_dim_v,
        .causal = d->causal,
        .random_values = true};
    problem_allocate(&p, LENGTHS_NONE);
    gather(p.q, before + c->q, d->q_stride, p.batch, p.seq_q, p.heads, p.head_dim);
    gather(p.k, before + c->k, d->k_stride, p.batch, p.seq_k, p.kv_heads, p.head_dim);
    gather(p.v, before + c->v, d->v_stride, p.batch, p.seq_k, p.kv_heads, p.head_dim_v);
    outcome got;
    outcome_create(&got, &p);
    gather(got.out, buffer + c->out, d->out_stride, p.batch, p.seq_q, p.heads, p.head_dim_v);
    if (c->lse >= 0) {
        gather(got.lse, buffer + c->lse, d->lse_stride, p.batch, p.seq_q, p.heads, 1);
    }
    expected want;
    expected_create(&want, &p);
    outcome looked_at = {got.out, c->lse >= 0 ? got.lse : NULL};
    compare_outcome(&p, &want, &looked_at, what);
    expected_destroy(&want);
    outcome_free(&got);
    problem_free(&p);

    static marks written;
    memset(&written, 0, sizeof written);
    mark(&written, c->out, d->out_stride, d->batch, d->seq_q, d->heads, d->head_dim_v, 1, 0);
    if (c->lse >= 0) {
        mark(&written, c->lse, d->lse_stride, d->batch, d->seq_q, d->heads, 1, 1, 0);
    }
    for (int64_t i = 0; i < BUFFER; i++) {
        if (written.of[i] == 0 && memcmp(&buffer[i], &before[i], sizeof(float)) != 0) {
            test_fail(__FILE__, __LINE__, "%s: element %lld, which is no output, was written", what, (long long)i);
            break;
        }
    }
    return status;
}

/* [batch][seq][slots][heads][dim], with q, k, v and out in slots of their own. */
static shared_call fused(int64_t batch, int64_t seq, int64_t heads, int64_t dim, int64_t slots) {
    problem p = {.batch = batch,
        .heads = heads,
        .kv_heads = heads,
        .seq_q = seq,
        .seq_k = seq,
        .head_dim = dim,
        .head_dim_v = dim};
    shared_call c = {
        .desc = default_desc(&p), .q = 0, .k = heads * dim, .v = 2 * heads * dim, .out = 3 * heads * dim, .lse = -1};
    int64_t *const strides[] = {c.desc.q_stride, c.desc.k_stride, c.desc.v_stride, c.desc.out_stride};
    for (int t = 0; t < 4; t++) {
        strides[t][0] = seq * slots * heads * dim;
        strides[t][1] = slots * heads * dim;
        strides[t][2] = dim;
    }
    return c;
}

static void check_accepted(const shared_call *c, const char *what) {
    int32_t status = run_shared(c, what);
    CHECK(status == GATUN_OK, "%s: expected it to work, got %s", what, gatun_status_string(status));
}

static void check_overlap(const shared_call *c, const char *what) {
    int32_t status = run_shared(c, what);
    CHECK(status == GATUN_E_OVERLAP, "%s: expected GATUN_E_OVERLAP, got %s", what, gatun_status_string(status));
}

static void interleaved(void) {
    shared_call c = fused(2, 5, 3, 8, 4);
    check_accepted(&c, "[batch][seq][4][heads][dim]");
    /* out in any slot */
    for (int64_t slot = 0; slot < 4; slot++) {
        c = fused(2, 5, 3, 8, 4);
        c.out = slot * 24;
        c.q = (slot + 1) % 4 * 24;
        c.k = (slot + 2) % 4 * 24;
        c.v = (slot + 3) % 4 * 24;
        check_accepted(&c, "out in another slot");
    }
    /* every shift of out by less than a row that meets a slot in use is refused */
    for (int64_t shift = 1; shift < 24; shift++) {
        c = fused(2, 5, 3, 8, 4);
        c.out -= shift;
        check_overlap(&c, "out shifted down within the fused buffer");
        c = fused(2, 5, 3, 8, 4);
        c.out += shift;
        check_overlap(&c, "out shifted up within the fused buffer");
    }
    /* a fifth slot gives room for shifts */
    for (int64_t shift = 0; shift <= 24; shift++) {
        c = fused(2, 5, 3, 8, 5);
        c.out += shift;
        check_accepted(&c, "out shifted within two free slots");
    }
    c = fused(2, 5, 3, 8, 4);
    c.desc.kv_heads = 1;
    check_accepted(&c, "fewer key/value heads");
    c = fused(1, 5, 3, 8, 4);
    c.desc.seq_k = 3;
    check_accepted(&c, "fewer keys than rows");
    /* lse in the gaps of equal strides has a dim of 1: one free element for each head */
    c = fused(2, 5, 3, 8, 4);
    c.q += 1;
    c.k += 1;
    c.v += 1;
    c.out += 1;
    c.desc.head_dim = 7;
    c.desc.head_dim_v = 7;
    memcpy(c.desc.lse_stride, c.desc.out_stride, sizeof c.desc.lse_stride);
    c.lse = 3 * 24;
    check_accepted(&c, "lse between the heads of out");
    c.lse += 1;
    check_overlap(&c, "lse on the first element of out");
}

static void apart(void) {
    problem p = {.batch = 1, .heads = 2, .kv_heads = 2, .seq_q = 4, .seq_k = 6, .head_dim = 8, .head_dim_v = 8};
    shared_call c = {.desc = default_desc(&p), .q = 0, .k = 64, .v = 160, .out = 256, .lse = 320};
    check_accepted(&c, "tensors that touch each other");
    for (int64_t by = 1; by <= 63; by += 31) {
        shared_call moved = c;
        moved.out -= by;
        check_overlap(&moved, "out in the end of v");
    }
    shared_call same = c;
    same.out = same.q;
    check_overlap(&same, "out is q");
    same = c;
    same.out = same.k;
    check_overlap(&same, "out is k");
    same = c;
    same.out = same.v;
    check_overlap(&same, "out is v");
    same = c;
    same.lse = same.q + 63;
    check_overlap(&same, "lse in the last element of q");
    same = c;
    same.lse = same.out + 63;
    check_overlap(&same, "lse in the last element of out");
    same = c;
    same.lse = same.v;
    check_overlap(&same, "lse is v");
    same = c;
    same.k = same.v;
    same.q = same.v;
    check_accepted(&same, "q, k and v are one tensor");
}

/* Where strides differ, extents that meet are refused though no element is shared. */
static void other_strides(void) {
    problem p = {.batch = 1, .heads = 2, .kv_heads = 2, .seq_q = 4, .seq_k = 4, .head_dim = 8, .head_dim_v = 8};
    shared_call c = {.desc = default_desc(&p), .q = 0, .k = 1000, .v = 2000, .out = 16, .lse = -1};
    c.desc.q_stride[1] = 48;
    c.desc.out_stride[1] = 48;
    check_accepted(&c, "out between the rows of q, equal strides");
    c.desc.out_stride[1] = 96;
    check_overlap(&c, "out between the rows of q, other strides");
}

static void own_elements(void) {
    problem p = {.batch = 2, .heads = 2, .kv_heads = 2, .seq_q = 3, .seq_k = 4, .head_dim = 8, .head_dim_v = 8};
    shared_call c = {.desc = default_desc(&p), .q = 0, .k = 1000, .v = 2000, .out = 3000, .lse = 3500};
    check_accepted(&c, "default strides");
    static const int64_t lse_strides[][3] = {{0, 1, 3}, {6, 0, 3}, {6, 1, 0}, {6, 1, 2}, {5, 1, 3}, {1, 1, 1}};
    for (size_t n = 0; n < sizeof lse_strides / sizeof *lse_strides; n++) {
        shared_call broken = c;
        memcpy(broken.desc.lse_stride, lse_strides[n], sizeof lse_strides[n]);
        check_overlap(&broken, "elements of lse that share an address");
        broken.lse = -1;
        check_accepted(&broken, "the same strides without lse");
    }
    static const int64_t out_strides[][3] = {{47, 16, 8}, {48, 15, 8}, {48, 8, 8}, {48, 8, 23}, {0, 16, 8}, {8, 16, 8}};
    for (size_t n = 0; n < sizeof out_strides / sizeof *out_strides; n++) {
        shared_call broken = c;
        memcpy(broken.desc.out_stride, out_strides[n], sizeof out_strides[n]);
        check_overlap(&broken, "elements of out that share an address");
    }
    /* sizes of 1: their strides never count */
    problem one = {.batch = 1, .heads = 1, .kv_heads = 1, .seq_q = 3, .seq_k = 4, .head_dim = 8, .head_dim_v = 8};
    shared_call single = {.desc = default_desc(&one), .q = 0, .k = 1000, .v = 2000, .out = 3000, .lse = 3500};
    single.desc.out_stride[0] = 0;
    single.desc.out_stride[2] = 0;
    single.desc.lse_stride[0] = 0;
    single.desc.lse_stride[2] = 1;
    check_accepted(&single, "stride 0 where there is one element");
}

static void with_lengths(void) {
    problem p = new_problem(3, 1, 1, 4, 4, 8, GATUN_CAUSAL_NONE);
    gatun_attention_desc desc = default_desc(&p);
    gatun_context *context = best_context();
    int64_t bytes;
    void *workspace = new_workspace(context, &desc, &bytes);
    int32_t memory[128] = {0};
    float *floats = (float *)(void *)memory;
    float apart_lse[12];
    for (int query = 0; query < 2; query++) {
        const int32_t *keys = query ? NULL : memory + 95;
        const int32_t *rows = query ? memory + 95 : NULL;
        CHECK_STATUS(
            gatun_attention_forward(context, &desc, workspace, bytes, p.q, p.k, p.v, keys, rows, floats, apart_lse),
            GATUN_E_OVERLAP);
        CHECK_STATUS(gatun_attention_forward(
                         context, &desc, workspace, bytes, p.q, p.k, p.v, keys, rows, (float *)p.v + 0, floats + 94),
            GATUN_E_OVERLAP);
    }
    for (int i = 0; i < 128; i++) {
        CHECK(memory[i] == 0, "lengths in an output: element %d was written", i);
    }
    CHECK_STATUS(gatun_attention_forward(
                     context, &desc, workspace, bytes, p.q, p.k, p.v, memory + 96, memory + 99, floats, apart_lse),
        GATUN_OK);
    free(workspace);
    problem_free(&p);
}

/* Any placement that is accepted has no shared element; one with equal strides is refused only if it has one. */
static void random_placements(void) {
    int accepted = 0;
    int refused = 0;
    for (int64_t n = 0; n < (test_light() ? 300 : 4000); n++) {
        rng random = rng_make(test_seed(), 90000 + (uint64_t)n);
        int64_t kv = rng_between(&random, 1, 2);
        problem p = {.batch = rng_between(&random, 1, 2),
            .heads = kv * rng_between(&random, 1, 2),
            .kv_heads = kv,
            .seq_q = rng_between(&random, 1, 4),
            .seq_k = rng_between(&random, 1, 4),
            .head_dim = rng_between(&random, 1, 6)};
        p.head_dim_v = rng_below(&random, 2) == 0 ? p.head_dim : rng_between(&random, 1, 6);
        shared_call c = {.desc = default_desc(&p), .lse = -1};
        int64_t head = rng_between(&random, 4, 14);
        int64_t row = head * rng_between(&random, 1, 9);
        int64_t *const strides[] = {c.desc.q_stride, c.desc.k_stride, c.desc.v_stride, c.desc.out_stride};
        bool equal = rng_below(&random, 4) != 0;
        for (int t = 0; t < 4; t++) {
            strides[t][2] = head + (equal ? 0 : rng_below(&random, 2));
            strides[t][1] = row + (equal ? 0 : rng_below(&random, 2));
            strides[t][0] = 4 * row + (equal ? 0 : rng_below(&random, 2));
        }
        c.q = rng_below(&random, 3 * row);
        c.k = rng_below(&random, 3 * row);
        c.v = rng_below(&random, 3 * row);
        c.out = rng_below(&random, 5 * row);
        if (!test_wants_case(n)) {
            continue;
        }
        char what[64];
        snprintf(what, sizeof what, "GATUN_TEST_CASE=%lld", (long long)n);
        int32_t status = run_shared(&c, what);
        CHECK(status == GATUN_OK || status == GATUN_E_OVERLAP, "%s: %s", what, gatun_status_string(status));
        accepted += status == GATUN_OK;
        refused += status == GATUN_E_OVERLAP;
        if (equal && status == GATUN_E_OVERLAP) {
            CHECK(really_overlaps(&c), "%s: strides are equal and no element is shared, yet it was refused", what);
        }
    }
    printf("     %d accepted, %d refused\n", accepted, refused);
}

const test_case overlap_tests[] = {{"interleaved", interleaved}, {"apart", apart}, {"other_strides", other_strides},
    {"own_elements", own_elements}, {"with_lengths", with_lengths}, {"random_placements", random_placements},
    {NULL, NULL}};
