/*
 * The bits of a row depend on its own query, its own keys and values in its own range, the number of query rows,
 * head_dim, head_dim_v, scale and the tier, and on nothing else.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

typedef struct shape {
    int64_t batch, heads, kv_heads, seq_q, seq_k, head_dim;
    int32_t causal;
    int lengths;
    int biases;
    int64_t span;
} shape;

/*
 * one task and many, one tile and many, keys beyond what is kept in float, groups that do not divide a vector,
 * decoding, biases; more heads in a group than lanes in a block; a head alone tiny, and not so in its group; few rows, in
 * fours and less, their keys in parts; several tiny heads in a task
 */
static const shape shapes[] = {
    {3, 6, 2, 37, 200, 40, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0},
    {3, 6, 2, 130, 129, 33, GATUN_CAUSAL_TOP_LEFT, LENGTHS_BOTH, BIAS_NONE, 0},
    {2, 5, 1, 70, 517, 64, GATUN_CAUSAL_NONE, LENGTHS_KEY, BIAS_NONE, 0},
    {2, 4, 4, 200, 300, 80, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_QUERY, BIAS_NONE, 0},
    {2, 8, 2, 1, 4500, 64, GATUN_CAUSAL_NONE, LENGTHS_KEY, BIAS_NONE, 0},
    {2, 3, 1, 5, 2200, 17, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0},
    {2, 12, 12, 64, 64, 32, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0},
    {3, 6, 2, 37, 200, 40, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, BIAS_BOTH, 20},
    {2, 5, 1, 70, 517, 64, GATUN_CAUSAL_NONE, LENGTHS_KEY, BIAS_ALIBI, 0},
    {2, 8, 2, 1, 4500, 64, GATUN_CAUSAL_NONE, LENGTHS_KEY, BIAS_TABLE, 300},
    {2, 72, 2, 9, 140, 16, GATUN_CAUSAL_TOP_LEFT, LENGTHS_NONE, BIAS_BOTH, 4},
    {2, 6, 2, 8, 16, 64, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0},
    {2, 6, 2, 12, 16, 32, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0},
    {2, 10, 2, 7, 13, 96, GATUN_CAUSAL_TOP_LEFT, LENGTHS_KEY, BIAS_NONE, 0},
    {2, 14, 2, 4, 300, 72, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, BIAS_NONE, 0},
    {2, 6, 2, 16, 16, 32, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0},
    {2, 6, 2, 16, 16, 64, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0},
    {8, 9, 9, 16, 16, 128, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0},
    {2, 5, 5, 16, 16, 32, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0},
    {2, 4, 4, 16, 16, 64, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, BIAS_NONE, 0},
    {4, 7, 7, 16, 16, 96, GATUN_CAUSAL_TOP_LEFT, LENGTHS_QUERY, BIAS_NONE, 0},
    {2, 5, 1, 3, 9000, 24, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, BIAS_NONE, 0},
};

/* Its arrays are still to be allocated. */
static problem sized(const shape *s) {
    return (problem){.batch = s->batch,
        .heads = s->heads,
        .kv_heads = s->kv_heads,
        .seq_q = s->seq_q,
        .seq_k = s->seq_k,
        .head_dim = s->head_dim,
        .head_dim_v = s->head_dim,
        .causal = s->causal};
}

static problem shaped(const shape *s) {
    problem p = sized(s);
    if (test_light()) {
        p.head_dim = 9;
        p.head_dim_v = 9;
    }
    problem_allocate(&p, s->lengths);
    rng random = rng_make(test_seed(), (uint64_t)(s - shapes));
    problem_draw(&p, VALUES_NORMAL, &random);
    problem_bias(&p, s->biases, s->span, &random);
    return p;
}

/* Calls what for every shape and tier, with the outcome of the plain call on one thread. */
static void each(void (*what)(problem *p, int32_t tier, const outcome *plain)) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s += test_light() ? 5 : 1) {
        problem p = shaped(&shapes[s]);
        char text[400];
        problem_describe(&p, text, sizeof text);
        for (int t = 0; t < tier_count; t++) {
            test_note("%s, %s", text, gatun_tier_name(tiers[t]));
            outcome plain;
            outcome_create(&plain, &p);
            if (run_problem(&p, tiers[t], 1, &plain, "the plain call")) {
                what(&p, tiers[t], &plain);
            }
            outcome_free(&plain);
        }
        problem_free(&p);
    }
    test_note("%s", "");
}

static void run_and_compare(problem *p, int32_t tier, int32_t threads, const outcome *plain, const char *what) {
    outcome got;
    outcome_create(&got, p);
    if (run_problem(p, tier, threads, &got, what)) {
        check_same_bits(p, plain, &got, what);
    }
    outcome_free(&got);
}

/* ---- threads, repetition ---- */

static void over_max_threads(problem *p, int32_t tier, const outcome *plain) {
    for (int32_t threads = 0; threads <= SHARED_THREADS; threads++) {
        char what[32];
        snprintf(what, sizeof what, "max_threads = %d", (int)threads);
        run_and_compare(p, tier, threads, plain, what);
    }
}

static void over_contexts(problem *p, int32_t tier, const outcome *plain) {
    static const int32_t threads[] = {1, 2, 3, 5, 9};
    for (size_t n = 0; n < sizeof threads / sizeof *threads; n++) {
        gatun_context *context = new_context(tier, threads[n]);
        if (context == NULL) {
            return;
        }
        placement place;
        outcome got;
        rng random = rng_make(0, 0);
        char what[48];
        snprintf(what, sizeof what, "a context of %d threads", (int)threads[n]);
        outcome_create(&got, p);
        placement_create(&place, p, LAYOUT_BSHD, GUARD_AFTER, &random);
        if (placement_run(&place, context, 0, &got, what)) {
            check_same_bits(p, plain, &got, what);
        }
        placement_destroy(&place);
        outcome_free(&got);
        CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    }
}

static void repeated(problem *p, int32_t tier, const outcome *plain) {
    placement place;
    outcome got;
    rng random = rng_make(0, 0);
    outcome_create(&got, p);
    placement_create(&place, p, LAYOUT_BSHD, GUARD_AFTER, &random);
    for (int i = 0; i < (test_light() ? 3 : 50) && test_failures() == 0; i++) {
        if (placement_run(&place, shared_context(tier), 0, &got, "repeated run")) {
            check_same_bits(p, plain, &got, "repeated run");
        }
    }
    placement_destroy(&place);
    outcome_free(&got);
}

static void max_threads(void) {
    each(over_max_threads);
}

static void contexts(void) {
    each(over_contexts);
}

static void repetition(void) {
    each(repeated);
}

/* ---- neighbors ---- */

/* The part of p that is batch row b with the query heads from h on and the key/value heads from g on. */
static problem part_of(const problem *p, int64_t b, int64_t h, int64_t heads, int64_t g, int64_t kv_heads) {
    problem part = *p;
    part.batch = 1;
    part.heads = heads;
    part.kv_heads = kv_heads;
    problem_allocate(
        &part, (p->key_lengths != NULL ? LENGTHS_KEY : 0) | (p->query_lengths != NULL ? LENGTHS_QUERY : 0));
    for (int64_t i = 0; i < p->seq_q; i++) {
        memcpy(part.q + i * heads * p->head_dim, p->q + ((b * p->seq_q + i) * p->heads + h) * p->head_dim,
            sizeof(float) * (size_t)(heads * p->head_dim));
    }
    for (int64_t j = 0; j < p->seq_k; j++) {
        int64_t row = (b * p->seq_k + j) * p->kv_heads + g;
        memcpy(part.k + j * kv_heads * p->head_dim, p->k + row * p->head_dim,
            sizeof(float) * (size_t)(kv_heads * p->head_dim));
        memcpy(part.v + j * kv_heads * p->head_dim_v, p->v + row * p->head_dim_v,
            sizeof(float) * (size_t)(kv_heads * p->head_dim_v));
    }
    if (p->alibi_slopes != NULL) {
        part.alibi_slopes = test_allocate(heads * (int64_t)sizeof(float));
        memcpy(part.alibi_slopes, p->alibi_slopes + h, sizeof(float) * (size_t)heads);
    }
    if (p->relative_table != NULL) {
        int64_t entries = 2 * p->relative_span + 1;
        part.relative_span = p->relative_span;
        part.relative_table = test_allocate(heads * entries * (int64_t)sizeof(float));
        memcpy(part.relative_table, p->relative_table + h * entries, sizeof(float) * (size_t)(heads * entries));
    }
    if (p->key_lengths != NULL) {
        part.key_lengths[0] = p->key_lengths[b];
    }
    if (p->query_lengths != NULL) {
        part.query_lengths[0] = p->query_lengths[b];
    }
    return part;
}

/* The part of got that belongs to that part of p. */
static outcome outcome_of(const problem *p, const outcome *got, int64_t b, int64_t h, int64_t heads) {
    outcome part;
    part.out = test_allocate(p->seq_q * heads * p->head_dim_v * (int64_t)sizeof(float));
    part.lse = test_allocate(p->seq_q * heads * (int64_t)sizeof(float));
    for (int64_t i = 0; i < p->seq_q; i++) {
        int64_t row = (b * p->seq_q + i) * p->heads + h;
        memcpy(part.out + i * heads * p->head_dim_v, got->out + row * p->head_dim_v,
            sizeof(float) * (size_t)(heads * p->head_dim_v));
        memcpy(part.lse + i * heads, got->lse + row, sizeof(float) * (size_t)heads);
    }
    return part;
}

static void check_part(const problem *p, int32_t tier, const outcome *plain, int64_t b, int64_t h, int64_t heads,
    int64_t g, int64_t kv_heads, const char *what) {
    problem part = part_of(p, b, h, heads, g, kv_heads);
    outcome wanted = outcome_of(p, plain, b, h, heads);
    run_and_compare(&part, tier, SHARED_THREADS, &wanted, what);
    outcome_free(&wanted);
    problem_free(&part);
}

static void batch_rows_alone(problem *p, int32_t tier, const outcome *plain) {
    for (int64_t b = 0; b < p->batch; b++) {
        check_part(p, tier, plain, b, 0, p->heads, 0, p->kv_heads, "a batch row alone");
    }
}

static void heads_alone(problem *p, int32_t tier, const outcome *plain) {
    for (int64_t h = 0; h < p->heads; h++) {
        check_part(p, tier, plain, p->batch - 1, h, 1, h / (p->heads / p->kv_heads), 1, "a head alone");
    }
}

/* Every query head with a copy of its keys and values. */
static void groups_repeated(problem *p, int32_t tier, const outcome *plain) {
    problem repeated_heads = *p;
    repeated_heads.kv_heads = p->heads;
    int64_t rows = p->batch * p->seq_k;
    int64_t group = p->heads / p->kv_heads;
    repeated_heads.k = test_allocate(rows * p->heads * p->head_dim * (int64_t)sizeof(float));
    repeated_heads.v = test_allocate(rows * p->heads * p->head_dim_v * (int64_t)sizeof(float));
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t h = 0; h < p->heads; h++) {
            int64_t from = row * p->kv_heads + h / group;
            int64_t to = row * p->heads + h;
            memcpy(repeated_heads.k + to * p->head_dim, p->k + from * p->head_dim, sizeof(float) * (size_t)p->head_dim);
            memcpy(repeated_heads.v + to * p->head_dim_v, p->v + from * p->head_dim_v,
                sizeof(float) * (size_t)p->head_dim_v);
        }
    }
    run_and_compare(&repeated_heads, tier, SHARED_THREADS, plain, "keys and values repeated for each query head");
    free(repeated_heads.k);
    free(repeated_heads.v);
}

static void batch(void) {
    each(batch_rows_alone);
}

static void head(void) {
    each(heads_alone);
}

static void groups(void) {
    each(groups_repeated);
}

/* A scale that queries take as a factor and a power of two, where the product is below the normal numbers. */
static void groups_of_tiny_scale(void) {
    problem p = {.batch = 1,
        .heads = 4,
        .kv_heads = 1,
        .seq_q = 5,
        .seq_k = 40,
        .head_dim = 64,
        .head_dim_v = 64,
        .causal = GATUN_CAUSAL_NONE,
        .scaled = true,
        .scale = 0x1p-110f};
    problem_allocate(&p, LENGTHS_NONE);
    rng random = rng_make(test_seed(), 0);
    problem_draw(&p, VALUES_UNIFORM, &random);
    for (int64_t i = 0; i < p.seq_q * p.heads * p.head_dim; i++)
        p.q[i] *= 0x1p-16f;
    for (int64_t i = 0; i < p.seq_k * p.head_dim; i++)
        p.k[i] *= 0x1p125f;
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    outcome plain;
    outcome_create(&plain, &p);
    for (int t = 0; t < tier_count; t++)
        if (run_problem(&p, tiers[t], 1, &plain, "a tiny scale"))
            groups_repeated(&p, tiers[t], &plain);
    outcome_free(&plain);
    problem_free(&p);
}

/* ---- layout ---- */

static void over_layouts(problem *p, int32_t tier, const outcome *plain) {
    for (layout kind = LAYOUT_BSHD; kind < LAYOUT_KINDS; kind++) {
        if (kind == LAYOUT_BROADCAST) {
            continue; /* other values */
        }
        for (guarded_end end = GUARD_AFTER; end <= GUARD_BEFORE; end++) {
            for (int i = 0; i < (kind == LAYOUT_UNALIGNED && !test_light() ? 6 : 1); i++) {
                placement place;
                outcome got;
                rng random = rng_make(test_seed(), (uint64_t)i);
                outcome_create(&got, p);
                placement_create(&place, p, kind, end, &random);
                if (placement_run(&place, shared_context(tier), 2, &got, layout_name(kind))) {
                    check_same_bits(p, plain, &got, layout_name(kind));
                }
                placement_destroy(&place);
                outcome_free(&got);
            }
        }
    }
}

static void layouts(void) {
    each(over_layouts);
}

/* Rows of keys and values that compete for a part of the cache are copied, of a head or tile by tile. */
static void copies(void) {
    static const struct {
        shape shape;
        int32_t copies;
    } cases[] = {
        {{2, 16, 8, 140, 300, 32, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, BIAS_NONE, 0}, GATUN_COPY_HEADS},
        {{1, 32, 16, 130, 129, 40, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_BOTH, 9}, GATUN_COPY_HEADS},
        {{1, 8, 8, 228, 8200, 16, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0}, GATUN_COPY_TILES},
    };
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const shape *s = &cases[c].shape;
        if (test_light() && cases[c].copies == GATUN_COPY_TILES)
            continue;
        problem p = sized(s);
        problem_allocate(&p, s->lengths);
        rng random = rng_make(test_seed(), c);
        problem_draw(&p, VALUES_NORMAL, &random);
        problem_bias(&p, s->biases, s->span, &random);
        check_problem(&p, NULL, "copied keys");
        for (int t = 0; t < tier_count; t++) {
            outcome copied;
            outcome in_place;
            outcome_create(&copied, &p);
            outcome_create(&in_place, &p);
            placement there;
            placement here;
            placement_create(&there, &p, LAYOUT_BSHD, GUARD_AFTER, &random);
            placement_create(&here, &p, LAYOUT_BHSD, GUARD_AFTER, &random);
            gatun_attention_plan_info plan = {.struct_size = sizeof plan};
            CHECK_STATUS(gatun_attention_plan(shared_context(tiers[t]), &there.desc, &plan), GATUN_OK);
            CHECK(plan.copies == (plan.kernel == GATUN_KERNEL_BF16 ? GATUN_COPY_NONE : cases[c].copies),
                "case %d, %s: copies %d", (int)c, gatun_tier_name(tiers[t]), (int)plan.copies);
            CHECK_STATUS(gatun_attention_plan(shared_context(tiers[t]), &here.desc, &plan), GATUN_OK);
            CHECK(plan.copies == GATUN_COPY_NONE, "case %d, %s, in place: copies %d", (int)c, gatun_tier_name(tiers[t]),
                (int)plan.copies);
            for (int32_t threads = 1; threads <= 2; threads++)
                if (placement_run(&there, shared_context(tiers[t]), threads, &copied, "copied") &&
                    placement_run(&here, shared_context(tiers[t]), threads, &in_place, "in place"))
                    check_same_bits(&p, &in_place, &copied, "copied and in place");
            placement_destroy(&there);
            placement_destroy(&here);
            outcome_free(&copied);
            outcome_free(&in_place);
        }
        problem_free(&p);
    }
}

/* ---- parts of the keys that are tasks of their own ---- */

typedef struct cut {
    shape shape;
    int32_t parts[4]; /* with 1, 2, 3 and 9 threads */
} cut;

/* a head alone; heads that the threads do not divide; rows whose last keys lie on both sides of a split; more lanes than a
 * task has; lengths */
static const cut cuts[] = {
    {{1, 4, 1, 1, 20000, 32, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0}, {1, 5, 10, 10}},
    {{1, 3, 3, 1, 8193, 24, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0}, {1, 3, 3, 5}},
    {{1, 2, 1, 4, 4098, 40, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0}, {1, 3, 3, 3}},
    {{1, 70, 1, 3, 4500, 16, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_NONE, BIAS_NONE, 0}, {0}}, /* by the tier's block */
    {{3, 2, 1, 2, 6200, 48, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, BIAS_NONE, 0}, {1, 2, 4, 4}},
    {{1, 2, 1, 4, 4098, 40, GATUN_CAUSAL_TOP_LEFT, LENGTHS_NONE, BIAS_NONE, 0}, {1, 1, 1, 1}},
};

static void check_cut(problem *p, const cut *c, int32_t tier, const char *what) {
    static const int32_t threads[] = {1, 2, 3, 9};
    outcome plain;
    outcome_create(&plain, p);
    for (int n = 0; n < 4; n++) {
        gatun_context *context = new_context(tier, threads[n]);
        REQUIRE(context != NULL, "no context");
        const gatun_attention_desc desc = default_desc(p);
        gatun_attention_plan_info plan = {.struct_size = sizeof plan};
        CHECK_STATUS(gatun_attention_plan(context, &desc, &plan), GATUN_OK);
        CHECK(c->parts[n] == 0 || plan.key_splits == c->parts[n], "%s, %d threads: %d parts, not %d", what,
            (int)threads[n], (int)plan.key_splits, (int)c->parts[n]);
        placement place;
        outcome got;
        rng random = rng_make(0, 0);
        outcome_create(&got, p);
        placement_create(&place, p, n % 2 == 0 ? LAYOUT_BSHD : LAYOUT_BHSD, GUARD_AFTER, &random);
        if (placement_run(&place, context, 0, n == 0 ? &plain : &got, what) && n > 0)
            check_same_bits(p, &plain, &got, what);
        placement_destroy(&place);
        outcome_free(&got);
        CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    }
    outcome_free(&plain);
}

static void key_parts(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (size_t n = test_light() ? 1 : 0; n < sizeof cuts / sizeof *cuts; n += test_light() ? 3 : 1) {
        const shape *s = &cuts[n].shape;
        problem p = sized(s);
        problem_allocate(&p, s->lengths);
        rng random = rng_make(test_seed(), n);
        problem_draw(&p, VALUES_NORMAL, &random);
        check_problem(&p, NULL, "keys in parts");
        char text[64];
        for (int t = 0; t < tier_count; t++) {
            snprintf(text, sizeof text, "cut %d, %s", (int)n, gatun_tier_name(tiers[t]));
            check_cut(&p, &cuts[n], tiers[t], text);
        }
        /* What some lanes must not see, and all of them see: both are found after the merge only. */
        p.v[(p.seq_k - 1) * p.kv_heads * p.head_dim_v] = INFINITY;
        p.v[2100 * p.kv_heads * p.head_dim_v + 1] = NAN;
        for (int t = 0; t < tier_count; t++) {
            snprintf(text, sizeof text, "cut %d, %s, values that are no numbers", (int)n, gatun_tier_name(tiers[t]));
            check_cut(&p, &cuts[n], tiers[t], text);
        }
        problem_free(&p);
    }
}

/* Keys and values of head 0 of batch row 0 for all, by strides of 0 and by copies. */
static void by_broadcast(problem *p, int32_t tier, const outcome *plain) {
    (void)plain;
    for (int64_t row = 0; row < p->batch * p->seq_k * p->kv_heads; row++) {
        int64_t j = row / p->kv_heads % p->seq_k;
        memmove(p->k + row * p->head_dim, p->k + j * p->kv_heads * p->head_dim, sizeof(float) * (size_t)p->head_dim);
        memmove(
            p->v + row * p->head_dim_v, p->v + j * p->kv_heads * p->head_dim_v, sizeof(float) * (size_t)p->head_dim_v);
    }
    outcome copied;
    outcome got;
    outcome_create(&copied, p);
    outcome_create(&got, p);
    placement place;
    rng random = rng_make(0, 0);
    placement_create(&place, p, LAYOUT_BSHD, GUARD_AFTER, &random);
    bool ran = placement_run(&place, shared_context(tier), 2, &copied, "copied keys");
    place.desc.k_stride[0] = 0;
    place.desc.k_stride[2] = 0;
    place.desc.v_stride[0] = 0;
    place.desc.v_stride[2] = 0;
    if (placement_run(&place, shared_context(tier), 2, &got, "broadcast keys") && ran) {
        check_same_bits(p, &copied, &got, "keys broadcast and copied");
    }
    placement_destroy(&place);
    outcome_free(&copied);
    outcome_free(&got);
}

static void broadcast(void) {
    each(by_broadcast);
}

/* ---- range ---- */

/* What lies behind the key length is as if it were not there. */
static void lengths_cut(problem *p, int32_t tier, const outcome *plain) {
    if (p->key_lengths == NULL || p->query_lengths != NULL) {
        return;
    }
    for (int64_t b = 0; b < p->batch; b++) {
        problem part = part_of(p, b, 0, p->heads, 0, p->kv_heads);
        outcome wanted = outcome_of(p, plain, b, 0, p->heads);
        part.seq_k = part.key_lengths[0];
        int32_t *kept = part.key_lengths;
        part.key_lengths = NULL;
        run_and_compare(&part, tier, SHARED_THREADS, &wanted, "keys cut off at the key length");
        part.key_lengths = kept;
        outcome_free(&wanted);
        problem_free(&part);
    }
}

/* A row under a causal mask is a row of a call without mask that has only the keys that it sees. */
static void causal_cut(problem *p, int32_t tier, const outcome *plain) {
    bool biased = p->alibi_slopes != NULL || p->relative_table != NULL; /* other keys, another position */
    if (p->causal == GATUN_CAUSAL_NONE || p->key_lengths != NULL || p->query_lengths != NULL || biased) {
        return;
    }
    for (int64_t i = 0; i < p->seq_q; i += 1 + p->seq_q / 7) {
        int64_t sees = p->causal == GATUN_CAUSAL_TOP_LEFT ? i + 1 : i + 1 + p->seq_k - p->seq_q;
        if (sees <= 0 || sees > p->seq_k) {
            continue;
        }
        problem part = part_of(p, 0, 0, p->heads, 0, p->kv_heads);
        outcome got;
        outcome_create(&got, &part);
        part.causal = GATUN_CAUSAL_NONE;
        part.seq_k = sees;
        if (run_problem(&part, tier, 1, &got, "no mask, fewer keys")) {
            int64_t row = i * p->heads;
            bool same =
                same_bits(got.out + row * p->head_dim_v, plain->out + row * p->head_dim_v, p->heads * p->head_dim_v) &&
                same_bits(got.lse + row, plain->lse + row, p->heads);
            CHECK(same, "row %d under the mask, and without mask over its %d keys, differ in bits", (int)i, (int)sees);
        }
        outcome_free(&got);
        problem_free(&part);
    }
}

static void key_range(void) {
    each(lengths_cut);
    each(causal_cut);
}

/* ---- what a call is given besides ---- */

static void without_lse(problem *p, int32_t tier, const outcome *plain) {
    placement place;
    outcome got;
    rng random = rng_make(0, 0);
    outcome_create(&got, p);
    placement_create(&place, p, LAYOUT_BSHD, GUARD_BEFORE, &random);
    place.no_lse = true;
    if (placement_run(&place, shared_context(tier), 2, &got, "lse = NULL")) {
        outcome only_out = {got.out, NULL};
        check_same_bits(p, plain, &only_out, "lse = NULL");
    }
    placement_destroy(&place);
    outcome_free(&got);
}

static void with_workspace(
    problem *p, int32_t tier, const outcome *plain, int fill, int64_t more, bool extended, const char *what) {
    gatun_context *context = shared_context(tier);
    gatun_attention_desc desc = default_desc(p);
    int64_t bytes;
    uint8_t *workspace = new_workspace(context, &desc, &bytes);
    REQUIRE(workspace != NULL, "%s: no workspace", what);
    free(workspace);
    workspace = aligned_alloc(64, (size_t)(bytes + more + 63) / 64 * 64);
    REQUIRE(workspace != NULL, "%s: no memory", what);
    memset(workspace, fill, (size_t)(bytes + more));
    outcome got;
    outcome_create(&got, p);
    /* lse in the order of the problem's outcome */
    desc.lse_stride[0] = p->seq_q * p->heads;
    desc.lse_stride[1] = p->heads;
    desc.lse_stride[2] = 1;
    int32_t status = extended ? gatun_attention_forward_extended(context, &desc, workspace, bytes, p->q, p->k, p->v,
                                    p->key_lengths, p->query_lengths, got.out, got.lse, NULL, NULL, NULL, NULL, NULL,
                                    NULL, p->alibi_slopes, NULL, NULL, NULL, NULL, p->relative_table, NULL, NULL, NULL)
                              : forward_problem(context, &desc, workspace, bytes + more, p, p->q, p->k, p->v, got.out,
                                    got.lse, NULL, NULL);
    CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
    if (status == GATUN_OK) {
        check_same_bits(p, plain, &got, what);
    }
    outcome_free(&got);
    free(workspace);
}

static void over_workspaces(problem *p, int32_t tier, const outcome *plain) {
    with_workspace(p, tier, plain, 0, 0, false, "a workspace of zeros");
    with_workspace(p, tier, plain, 0xff, 0, false, "a workspace of NaNs");
    with_workspace(p, tier, plain, 0x7f, 0, false, "a workspace of huge numbers");
    with_workspace(p, tier, plain, 0xff, 1 << 20, false, "a larger workspace");
}

static void over_entries(problem *p, int32_t tier, const outcome *plain) {
    with_workspace(p, tier, plain, 0xff, 0, true, "gatun_attention_forward_extended");
}

static void lse_absent(void) {
    each(without_lse);
}

static void workspaces(void) {
    each(over_workspaces);
}

static void extended_entry(void) {
    each(over_entries);
}

const test_case bits_tests[] = {{"max_threads", max_threads}, {"contexts", contexts}, {"repetition", repetition},
    {"batch", batch}, {"head", head}, {"groups", groups}, {"groups_of_tiny_scale", groups_of_tiny_scale},
    {"layouts", layouts}, {"copies", copies}, {"key_parts", key_parts}, {"broadcast", broadcast},
    {"key_range", key_range}, {"lse_absent", lse_absent}, {"workspaces", workspaces},
    {"extended_entry", extended_entry}, {NULL, NULL}};
