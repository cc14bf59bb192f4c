/*
 * NaN and infinities: where they are live they reach exactly the rows that attend to them, where they are masked
 * nobody, and to the bit.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

enum { BATCH = 2, HEADS = 4, KV_HEADS = 2, SEQ_Q = 150, SEQ_K = 300, DIM = 24 };

/* keys at the ends of tiles and vectors, and within them */
static const int64_t positions[] = {0, 1, 31, 32, 100, 127, 128, 150, 151, 255, 256, 299};

static problem base_problem(int32_t causal) {
    return new_problem(BATCH, HEADS, KV_HEADS, SEQ_Q, SEQ_K, DIM, causal);
}

/* Row i of a problem without lengths attends to key j. */
static bool attends(const problem *p, int64_t i, int64_t j) {
    if (p->causal == GATUN_CAUSAL_BOTTOM_RIGHT) {
        return j <= i + p->seq_k - p->seq_q;
    }
    return p->causal == GATUN_CAUSAL_NONE || j <= i;
}

typedef enum effect { UNCHANGED, ROW_IS_NAN, COLUMN_IS_NAN, COLUMN_IS_NOT_FINITE } effect;

typedef struct change {
    int64_t b, j, g, column; /* key j of batch row b and key/value head g, or with query set */
    int64_t i, h;            /* row i of query head h */
    bool query;
    effect effect;
} change;

static effect effect_on(const problem *p, const change *c, int64_t b, int64_t i, int64_t h) {
    if (b != c->b) {
        return UNCHANGED;
    }
    if (c->query) {
        return i == c->i && h == c->h ? c->effect : UNCHANGED;
    }
    return h / (p->heads / p->kv_heads) == c->g && attends(p, i, c->j) ? c->effect : UNCHANGED;
}

/* Compares every row with that of the same call before the change. */
static void check_change(
    const problem *p, const outcome *before, const outcome *after, const change *c, const char *what) {
    for (int64_t row = 0; row < p->batch * p->seq_q * p->heads; row++) {
        int64_t h = row % p->heads;
        int64_t i = row / p->heads % p->seq_q;
        int64_t b = row / p->heads / p->seq_q;
        effect wanted = effect_on(p, c, b, i, h);
        const float *old = before->out + row * p->head_dim_v;
        const float *new = after->out + row * p->head_dim_v;
        bool lse_ok = wanted == ROW_IS_NAN ? isnan(after->lse[row]) : same_bits(&before->lse[row], &after->lse[row], 1);
        bool out_ok = true;
        for (int64_t d = 0; d < p->head_dim_v; d++) {
            if (wanted == ROW_IS_NAN || (wanted == COLUMN_IS_NAN && d == c->column)) {
                out_ok = out_ok && isnan(new[d]);
            } else if (wanted == COLUMN_IS_NOT_FINITE && d == c->column) {
                out_ok = out_ok && !isfinite(new[d]);
            } else {
                out_ok = out_ok && same_bits(&old[d], &new[d], 1);
            }
        }
        if (!out_ok || !lse_ok) {
            test_fail(__FILE__, __LINE__, "%s: row b=%d i=%d h=%d should %s; %s differs from that", what, (int)b,
                (int)i, (int)h,
                wanted == UNCHANGED    ? "be as without it, to the bit"
                : wanted == ROW_IS_NAN ? "be NaN"
                                       : "be as without it but for one column",
                out_ok ? "lse" : "out");
            return;
        }
    }
}

/* Sets *element to value, runs all tiers, compares with the call before, and restores *element. */
static void try_change(problem *p, float *element, float value, const change *c, const char *what) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    float kept = *element;
    outcome before;
    outcome after;
    outcome_create(&before, p);
    outcome_create(&after, p);
    for (int t = 0; t < tier_count; t++) {
        char name[200];
        snprintf(name, sizeof name, "%s, causal %d, %s", what, (int)p->causal, gatun_tier_name(tiers[t]));
        *element = kept;
        if (!run_problem(p, tiers[t], SHARED_THREADS, &before, name)) {
            continue;
        }
        *element = value;
        if (run_problem(p, tiers[t], SHARED_THREADS, &after, name)) {
            check_change(p, &before, &after, c, name);
        }
    }
    *element = kept;
    outcome_free(&before);
    outcome_free(&after);
}

static void in_query(void) {
    static const int64_t rows[] = {0, 7, 8, 16, 63, 149};
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal += test_light() ? 2 : 1) {
        problem p = base_problem(causal);
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r += test_light() ? 4 : 1) {
            change c = {.b = 1, .i = rows[r], .h = (int64_t)(r % HEADS), .query = true, .effect = ROW_IS_NAN};
            float *element = p.q + ((SEQ_Q + c.i) * HEADS + c.h) * DIM + DIM - 1;
            char what[64];
            snprintf(what, sizeof what, "NaN in query %d", (int)c.i);
            try_change(&p, element, NAN, &c, what);
            /* an infinite query gives scores of both signs, and +inf makes the row NaN; with one key it may be -inf */
            if (causal != GATUN_CAUSAL_TOP_LEFT || c.i > 60) {
                snprintf(what, sizeof what, "Inf in query %d", (int)c.i);
                try_change(&p, element, INFINITY, &c, what);
            }
        }
        problem_free(&p);
    }
}

static void in_key(void) {
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal += test_light() ? 2 : 1) {
        problem p = base_problem(causal);
        for (int64_t i = 0; i < BATCH * SEQ_Q * HEADS; i++) {
            p.q[i * DIM + 3] =
                fabsf(p.q[i * DIM + 3]) + 0.01f; /* so that +inf in a key's element 3 is a score of +inf */
        }
        for (size_t n = 0; n < sizeof positions / sizeof *positions; n += test_light() ? 7 : 1) {
            change c = {.b = 0, .j = positions[n], .g = (int64_t)(n % KV_HEADS), .effect = ROW_IS_NAN};
            float *element = p.k + (c.j * KV_HEADS + c.g) * DIM + 3;
            char what[64];
            snprintf(what, sizeof what, "NaN in key %d", (int)c.j);
            try_change(&p, element, NAN, &c, what);
            snprintf(what, sizeof what, "score +inf at key %d", (int)c.j);
            try_change(&p, element, INFINITY, &c, what);
        }
        problem_free(&p);
    }
}

static void in_value(void) {
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal += test_light() ? 2 : 1) {
        problem p = base_problem(causal);
        for (size_t n = 0; n < sizeof positions / sizeof *positions; n += test_light() ? 7 : 1) {
            change c = {.b = 1, .j = positions[n], .g = (int64_t)(n % KV_HEADS), .column = (int64_t)(n * 5 % DIM)};
            float *element = p.v + ((SEQ_K + c.j) * KV_HEADS + c.g) * DIM + c.column;
            char what[64];
            snprintf(what, sizeof what, "NaN in value %d", (int)c.j);
            c.effect = COLUMN_IS_NAN;
            try_change(&p, element, NAN, &c, what);
            snprintf(what, sizeof what, "Inf in value %d", (int)c.j);
            c.effect = COLUMN_IS_NOT_FINITE;
            try_change(&p, element, -INFINITY, &c, what);
        }
        problem_free(&p);
    }
}

/* Tasks of several tiny heads: one of them is run again, what the others are doing meanwhile must not suffer. */
static void in_tiny_heads(void) {
    enum { TINY_HEADS = 5, SIZE = 16, WIDE = 32 };
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        problem p = new_problem(BATCH, TINY_HEADS, TINY_HEADS, SIZE, SIZE, WIDE, causal);
        check_problem(&p, NULL, "tiny heads");
        for (int64_t h = 0; h < TINY_HEADS; h++) {
            change c = {.b = 1, .i = 3 * h, .h = h, .query = true, .effect = ROW_IS_NAN};
            char what[64];
            snprintf(what, sizeof what, "NaN in a query of tiny head %d", (int)h);
            try_change(&p, p.q + ((SIZE + c.i) * TINY_HEADS + h) * WIDE + 7, NAN, &c, what);
            c = (change){.b = 0, .j = 15 - 3 * h, .g = h, .effect = ROW_IS_NAN};
            snprintf(what, sizeof what, "NaN in a key of tiny head %d", (int)h);
            try_change(&p, p.k + (c.j * TINY_HEADS + h) * WIDE + 30, NAN, &c, what);
            c = (change){.b = 1, .j = 2 * h + 1, .g = h, .column = 31 - h, .effect = COLUMN_IS_NAN};
            snprintf(what, sizeof what, "NaN in a value of tiny head %d", (int)h);
            try_change(&p, p.v + ((SIZE + c.j) * TINY_HEADS + h) * WIDE + c.column, NAN, &c, what);
        }
        problem_free(&p);
    }
}

/* The same tasks where batch rows have few rows or none, or no keys. */
static void tiny_heads_of_lengths(void) {
    static const int32_t rows[] = {0, 3, 16, 16, 9, 16}, keys[] = {16, 16, 0, 16, 16, 5};
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        problem p = {.batch = sizeof rows / sizeof *rows,
            .heads = 5,
            .kv_heads = 5,
            .seq_q = 16,
            .seq_k = 16,
            .head_dim = 32,
            .head_dim_v = 64,
            .causal = causal};
        problem_allocate(&p, LENGTHS_BOTH);
        rng random = rng_make(test_seed(), (uint64_t)causal);
        problem_draw(&p, VALUES_NORMAL, &random);
        memcpy(p.query_lengths, rows, sizeof rows);
        memcpy(p.key_lengths, keys, sizeof keys);
        check_problem(&p, NULL, "tiny heads of several lengths");
        problem_free(&p);
    }
}

/* Keys that are masked by a score of -inf are no reason to compute finite rows again, lanes that do not exist included. */
static void masked_once(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int64_t rows = 16; rows <= 37; rows += 7) {
        problem p = new_problem(1, 2, 2, rows, 40, DIM, GATUN_CAUSAL_NONE);
        for (int64_t i = 0; i < rows * p.heads; i++)
            p.q[i * DIM] = 1;
        p.k[3 * p.kv_heads * DIM] = -INFINITY;
        outcome got;
        outcome_create(&got, &p);
        for (int t = 0; t < tier_count; t++) {
            gatun_info before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
            CHECK_STATUS(gatun_context_info(shared_context(tiers[t]), &before), GATUN_OK);
            if (!run_problem(&p, tiers[t], 1, &got, "a key masked by its score"))
                continue;
            CHECK_STATUS(gatun_context_info(shared_context(tiers[t]), &after), GATUN_OK);
            CHECK(after.blocks_redone == before.blocks_redone, "%s: %d rows are computed again",
                gatun_tier_name(tiers[t]), (int)rows);
        }
        outcome_free(&got);
        problem_free(&p);
    }
}

/*
 * An infinite value with probabilities that do not underflow is that infinity; infinities of both signs, or a NaN beside
 * them, are NaN.
 */
static void infinite_values(void) {
    problem p = base_problem(GATUN_CAUSAL_NONE);
    memset(p.q, 0, sizeof(float) * BATCH * SEQ_Q * HEADS * DIM);
    p.v[0] = INFINITY;
    p.v[200 * KV_HEADS * DIM + 1] = -INFINITY;
    p.v[2] = INFINITY;
    p.v[200 * KV_HEADS * DIM + 2] = -INFINITY;
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    outcome got;
    outcome_create(&got, &p);
    for (int t = 0; t < tier_count; t++) {
        if (run_problem(&p, tiers[t], 2, &got, "infinite values")) {
            const char *name = gatun_tier_name(tiers[t]);
            CHECK(got.out[0] == INFINITY, "%s: value +inf: expected inf, got %g", name, (double)got.out[0]);
            CHECK(got.out[1] == -INFINITY, "%s: value -inf: expected -inf, got %g", name, (double)got.out[1]);
            CHECK(isnan(got.out[2]), "%s: values of +inf and -inf: expected NaN, got %g", name, (double)got.out[2]);
            CHECK(isfinite(got.out[3]), "%s: the next column: expected a number, got %g", name, (double)got.out[3]);
        }
    }
    outcome_free(&got);
    problem_free(&p);
}

/*
 * Weights of 0, because a later key's score is far greater, still carry a NaN; the header speaks of rows that
 * attend, not of probabilities.
 */
static void nan_under_prob_zero(void) {
    problem p = base_problem(GATUN_CAUSAL_NONE);
    p.scaled = true;
    p.scale = 1000;
    change c = {.b = 0, .j = 5, .g = 0, .column = 2, .effect = COLUMN_IS_NAN};
    try_change(&p, p.v + 5 * KV_HEADS * DIM + 2, NAN, &c, "NaN in a value of probability 0");
    problem_free(&p);
}

/* ---- masked places ---- */

/* Runs p as it is, and after its masked places have been filled with something else. */
static void check_poison(problem *p, const char *what) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    outcome clean;
    outcome poisoned;
    outcome_create(&clean, p);
    outcome_create(&poisoned, p);
    for (int t = 0; t < tier_count; t++) {
        problem copy = *p;
        problem_allocate(
            &copy, (p->key_lengths != NULL ? LENGTHS_KEY : 0) | (p->query_lengths != NULL ? LENGTHS_QUERY : 0));
        memcpy(copy.q, p->q, sizeof(float) * (size_t)(p->batch * p->seq_q * p->heads * p->head_dim));
        memcpy(copy.k, p->k, sizeof(float) * (size_t)(p->batch * p->seq_k * p->kv_heads * p->head_dim));
        memcpy(copy.v, p->v, sizeof(float) * (size_t)(p->batch * p->seq_k * p->kv_heads * p->head_dim_v));
        for (int64_t b = 0; b < p->batch; b++) {
            if (p->key_lengths != NULL) {
                copy.key_lengths[b] = p->key_lengths[b];
            }
            if (p->query_lengths != NULL) {
                copy.query_lengths[b] = p->query_lengths[b];
            }
        }
        rng random = rng_make(test_seed(), 5);
        problem_poison(&copy, &random);
        char name[200];
        snprintf(name, sizeof name, "%s, causal %d, %s: masked places finite and poisoned", what, (int)p->causal,
            gatun_tier_name(tiers[t]));
        if (run_problem(p, tiers[t], SHARED_THREADS, &clean, name) &&
            run_problem(&copy, tiers[t], SHARED_THREADS, &poisoned, name)) {
            check_same_bits(p, &clean, &poisoned, name);
        }
        problem_free(&copy);
    }
    outcome_free(&clean);
    outcome_free(&poisoned);
}

static void masked(void) {
    static const int32_t lengths[][2] = {
        {150, 299}, {150, 1}, {149, 300}, {1, 300}, {77, 130}, {33, 256}, {16, 0}, {0, 40}};
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal += test_light() ? 2 : 1) {
        problem p = base_problem(causal);
        check_poison(&p, "no lengths");
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n += test_light() ? 4 : 1) {
            int32_t query_lengths[BATCH] = {lengths[n][0], 150};
            int32_t key_lengths[BATCH] = {lengths[n][1], 131};
            char what[64];
            snprintf(what, sizeof what, "lengths %d x %d", (int)lengths[n][0], (int)lengths[n][1]);
            p.query_lengths = query_lengths;
            p.key_lengths = key_lengths;
            check_poison(&p, what);
            p.query_lengths = NULL;
            check_poison(&p, what);
            p.key_lengths = NULL;
        }
        problem_free(&p);
    }
}

/* ---- scores of -inf ---- */

/* Element 0 of every query is 1, of every key 0, so that -inf there is a score of -inf. */
static problem maskable_problem(int32_t causal, int64_t seq_q) {
    problem p = new_problem(BATCH, HEADS, KV_HEADS, seq_q, SEQ_K, DIM, causal);
    for (int64_t row = 0; row < BATCH * seq_q * HEADS; row++) {
        p.q[row * DIM] = 1;
    }
    for (int64_t row = 0; row < BATCH * SEQ_K * KV_HEADS; row++) {
        p.k[row * DIM] = 0;
    }
    return p;
}

static void mask_keys(problem *p, bool (*is_masked)(int64_t j), float value) {
    for (int64_t row = 0; row < BATCH * SEQ_K * KV_HEADS; row++) {
        if (is_masked(row / KV_HEADS % SEQ_K)) {
            p->k[row * DIM] = -INFINITY;
            for (int64_t d = 0; d < DIM; d++) {
                p->v[row * DIM + d] = value;
            }
        }
    }
}

static bool first_key(int64_t j) {
    return j == 0;
}

static bool every_third_key(int64_t j) {
    return j % 3 == 1;
}

static bool first_tiles(int64_t j) {
    return j < 260;
}

static bool later_keys(int64_t j) {
    return j >= 201;
}

static bool all_keys(int64_t j) {
    (void)j;
    return true;
}

static void minus_infinity_of(int64_t seq_q) {
    static bool (*const masks[])(int64_t) = {first_key, every_third_key, first_tiles, later_keys, all_keys};
    static const float values[] = {0, 1e30f, NAN, INFINITY};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal += test_light() ? 2 : 1) {
        for (size_t m = 0; m < sizeof masks / sizeof *masks; m += test_light() ? 3 : 1) {
            problem p = maskable_problem(causal, seq_q);
            outcome first[MAX_TIERS];
            outcome again;
            outcome_create(&again, &p);
            for (size_t n = 0; n < sizeof values / sizeof *values; n += test_light() ? 2 : 1) {
                mask_keys(&p, masks[m], values[n]);
                expected want;
                expected_create(&want, &p);
                for (int t = 0; t < tier_count; t++) {
                    char what[128];
                    snprintf(what, sizeof what, "%d rows, mask %d by scores of -inf, values there %g, causal %d, %s",
                        (int)seq_q, (int)m, (double)values[n], (int)causal, gatun_tier_name(tiers[t]));
                    if (n == 0) {
                        outcome_create(&first[t], &p);
                    }
                    outcome *got = n == 0 ? &first[t] : &again;
                    if (run_problem(&p, tiers[t], SHARED_THREADS, got, what)) {
                        compare_outcome(&p, &want, got, what);
                        check_same_bits(&p, &first[t], got, what);
                    }
                }
                expected_destroy(&want);
            }
            for (int t = 0; t < tier_count; t++) {
                outcome_free(&first[t]);
            }
            outcome_free(&again);
            problem_free(&p);
        }
    }
}

/* Many rows, and few, for which there is the decode kernel. */
static void minus_infinity(void) {
    minus_infinity_of(SEQ_Q);
    minus_infinity_of(3);
}

/* Masking keys 201 .. 299 by scores gives the bits of masking them by key length 201. */
static void minus_infinity_is_a_mask(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    problem p = maskable_problem(GATUN_CAUSAL_NONE, SEQ_Q);
    outcome by_length;
    outcome by_score;
    outcome_create(&by_length, &p);
    outcome_create(&by_score, &p);
    int32_t lengths[BATCH] = {201, 201};
    for (int t = 0; t < tier_count; t++) {
        p.key_lengths = lengths;
        bool ran = run_problem(&p, tiers[t], 2, &by_length, "key length 201");
        p.key_lengths = NULL;
        problem masked_by_score = maskable_problem(GATUN_CAUSAL_NONE, SEQ_Q);
        mask_keys(&masked_by_score, later_keys, NAN);
        if (ran && run_problem(&masked_by_score, tiers[t], 2, &by_score, "scores of -inf from key 201")) {
            check_same_bits(&p, &by_length, &by_score, "keys masked by length and by scores of -inf");
        }
        problem_free(&masked_by_score);
    }
    outcome_free(&by_length);
    outcome_free(&by_score);
    problem_free(&p);
}

/* Nothing is promised where products overflow, but that nothing else happens. */
static void overflow(void) {
    problem p = base_problem(GATUN_CAUSAL_BOTTOM_RIGHT);
    for (int64_t i = 0; i < BATCH * SEQ_K * KV_HEADS * DIM; i++) {
        p.k[i] *= 1e38f;
        p.v[i] *= 1e38f;
    }
    check_problem(&p, NULL, "products that overflow");
    for (int64_t i = 0; i < BATCH * SEQ_Q * HEADS * DIM; i++) {
        p.q[i] *= 1e30f;
    }
    check_problem(&p, NULL, "products that overflow");
    problem_free(&p);
}

const test_case special_tests[] = {{"in_query", in_query}, {"in_key", in_key}, {"in_value", in_value},
    {"in_tiny_heads", in_tiny_heads}, {"tiny_heads_of_lengths", tiny_heads_of_lengths}, {"masked_once", masked_once},
    {"infinite_values", infinite_values}, {"nan_under_prob_zero", nan_under_prob_zero}, {"masked", masked},
    {"minus_infinity", minus_infinity}, {"minus_infinity_is_a_mask", minus_infinity_is_a_mask}, {"overflow", overflow},
    {NULL, NULL}};
