/*
 * ALiBi slopes and tables of relative positions: against the double reference over shapes, masks, lengths, groups and
 * ragged sequences; NaN and infinities among the biases; what is refused. Equal bits over threads, batch, heads and
 * layouts are test_bits.c's matter, which has biased shapes as well.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

static const char *const bias_names[BIAS_KINDS] = {"none", "slopes", "table", "slopes and table"};

static problem biased_problem(int64_t batch, int64_t heads, int64_t kv_heads, int64_t seq_q, int64_t seq_k,
    int64_t head_dim, int32_t causal, int lengths, int biases, int64_t span, uint64_t seed) {
    problem p = {.batch = batch,
        .heads = heads,
        .kv_heads = kv_heads,
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = head_dim,
        .head_dim_v = head_dim,
        .causal = causal};
    problem_allocate(&p, lengths);
    rng random = rng_make(test_seed(), seed);
    problem_draw(&p, VALUES_NORMAL, &random);
    problem_bias(&p, biases, span, &random);
    return p;
}

static void check(problem *p, const char *what) {
    char text[400];
    problem_describe(p, text, sizeof text);
    test_note("%s", text);
    check_problem(p, NULL, what);
    test_note("%s", "");
}

/* ---- shapes ---- */

/* Each dimension, group, mask, kind of lengths and of biases with each other; sizes pass by in turn. */
static void shapes(void) {
    static const int64_t dims[] = {1, 8, 32, 64, 80, 128};
    static const int64_t groups[] = {1, 2, 8};
    static const int64_t queries[] = {1, 3, 16, 31, 33, 70};
    static const int64_t keys[] = {1, 2, 40, 127, 128, 129, 200, 257, 300};
    static const int64_t spans[] = {0, 1, 5, 33, 128, 1000};
    int64_t number = 0;
    for (int d = 0; d < 6; d++) {
        for (int g = 0; g < 3; g++) {
            for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
                for (int lengths = 0; lengths < LENGTHS_KINDS; lengths++) {
                    for (int kind = BIAS_ALIBI; kind < BIAS_KINDS; kind++, number++) {
                        if (!test_wants_case(number) || (test_light() && number % 10 != 0)) {
                            continue;
                        }
                        rng random = rng_make(test_seed(), 500000 + (uint64_t)number);
                        int64_t kv_heads = groups[g] == 8 ? 1 : rng_between(&random, 1, 2);
                        problem p = biased_problem(rng_between(&random, 1, 2), kv_heads * groups[g], kv_heads,
                            queries[rng_below(&random, 6)], keys[rng_below(&random, 9)], dims[d], causal, lengths, kind,
                            spans[rng_below(&random, 6)], (uint64_t)number);
                        char what[64];
                        snprintf(what, sizeof what, "GATUN_TEST_CASE=%d, %s", (int)number, bias_names[kind]);
                        check(&p, what);
                        problem_free(&p);
                    }
                }
            }
        }
    }
}

/* Beyond the keys that are summed up in float, beyond the lanes of a block in one group, and the widest heads. */
static void large(void) {
    static const struct {
        int64_t heads, kv_heads, seq_q, seq_k, head_dim, span;
        int32_t causal;
    } cases[] = {
        {1, 1, 1, 2049, 64, 100, GATUN_CAUSAL_NONE},
        {4, 2, 5, 4500, 32, 3000, GATUN_CAUSAL_BOTTOM_RIGHT},
        {2, 2, 40, 2300, 16, 128, GATUN_CAUSAL_BOTTOM_RIGHT},
        {8, 1, 3, 6200, 8, 10000, GATUN_CAUSAL_NONE},
        {2, 1, 2200, 2200, 4, 7, GATUN_CAUSAL_TOP_LEFT},
        {31, 1, 5, 140, 16, 20, GATUN_CAUSAL_BOTTOM_RIGHT},
        {32, 1, 5, 140, 16, 20, GATUN_CAUSAL_BOTTOM_RIGHT},
        {33, 1, 7, 300, 16, 20, GATUN_CAUSAL_TOP_LEFT},
        {100, 1, 3, 150, 8, 70, GATUN_CAUSAL_NONE},
        {44, 2, 6, 260, 8, 70, GATUN_CAUSAL_BOTTOM_RIGHT},
        {20, 1, 2, 2100, 8, 9, GATUN_CAUSAL_NONE},
        {2, 1, 20, 150, 512, 30, GATUN_CAUSAL_BOTTOM_RIGHT},
        {3, 3, 9, 130, 257, 30, GATUN_CAUSAL_NONE},
        {1, 1, 3, 3, 8, GATUN_MAX_RELATIVE_SPAN, GATUN_CAUSAL_NONE},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n += test_light() ? 3 : 1) {
        for (int kind = BIAS_ALIBI; kind < BIAS_KINDS; kind++) {
            problem p = biased_problem(1, cases[n].heads, cases[n].kv_heads, cases[n].seq_q, cases[n].seq_k,
                cases[n].head_dim, cases[n].causal, LENGTHS_NONE, kind, cases[n].span, n);
            p.head_dim_v = cases[n].head_dim == 16 ? 7 : cases[n].head_dim; /* smaller than what is allocated */
            char what[64];
            snprintf(what, sizeof what, "large %d, %s", (int)n, bias_names[kind]);
            check(&p, what);
            problem_free(&p);
        }
    }
}

/* Scales that are 0, negative, and beyond what one float factor can hold. */
static void scales(void) {
    static const float factors[] = {0, -0.0f, -0.3f, 1, 1e-30f, 1e-42f, -1e-36f, 1e25f, 3e38f, 7};
    for (size_t n = 0; n < sizeof factors / sizeof *factors; n++) {
        for (int kind = BIAS_ALIBI; kind < BIAS_KINDS; kind++) {
            problem p =
                biased_problem(1, 4, 2, 20, 150, 24, (int32_t)(n % 3), LENGTHS_NONE, kind, 30, 40 + (uint64_t)n);
            p.scaled = true;
            p.scale = factors[n];
            p.random_values = false;
            for (int64_t i = 0; fabsf(p.scale) > 1e3f && i < p.batch * p.seq_q * p.heads * p.head_dim; i++) {
                p.q[i] /= fabsf(p.scale); /* scores of any size */
            }
            char what[64];
            snprintf(what, sizeof what, "scale %g, %s", (double)factors[n], bias_names[kind]);
            check(&p, what);
            problem_free(&p);
        }
    }
}

/* Slopes that no model has: biases so large that one key alone counts, and so small that they vanish. */
static void slopes(void) {
    static const float factors[] = {0, 1e-30f, 1e-45f, 40, -40, 1e6f, 1e30f};
    for (size_t n = 0; n < sizeof factors / sizeof *factors; n++) {
        problem p =
            biased_problem(2, 4, 2, 33, 140, 16, (int32_t)(n % 3), LENGTHS_BOTH, BIAS_ALIBI, 0, 60 + (uint64_t)n);
        for (int64_t h = 0; h < p.heads; h++) {
            p.alibi_slopes[h] = h % 2 == 0 ? factors[n] : -p.alibi_slopes[h];
        }
        char what[64];
        snprintf(what, sizeof what, "slope %g", (double)factors[n]);
        check(&p, what);
        problem_free(&p);
    }
}

/*
 * Two keys, a query of 0 and a slope: out and lse in closed form. The position is that of the last key for the last
 * query, or under TOP_LEFT the query's own index.
 */
static void positions(void) {
    enum { KEYS = 9, QUERIES = 4 };
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
            for (int32_t key_length = 1; key_length <= KEYS; key_length++) {
                for (int32_t query_length = 1; query_length <= QUERIES; query_length++) {
                    problem p = biased_problem(1, 1, 1, QUERIES, KEYS, 1, causal, LENGTHS_BOTH, BIAS_ALIBI, 0, 3);
                    p.key_lengths[0] = key_length;
                    p.query_lengths[0] = query_length;
                    p.alibi_slopes[0] = 0.25f;
                    memset(p.q, 0, QUERIES * sizeof(float));
                    outcome got;
                    outcome_create(&got, &p);
                    bool ran = run_problem(&p, tiers[t], 1, &got, "positions");
                    for (int32_t i = 0; ran && i < query_length; i++) {
                        int32_t position = causal == GATUN_CAUSAL_TOP_LEFT ? i : i + key_length - query_length;
                        int32_t end =
                            causal == GATUN_CAUSAL_NONE || position + 1 > key_length ? key_length : position + 1;
                        double sum = 0;
                        for (int32_t j = 0; j < end; j++) {
                            sum += exp(-0.25 * abs(position - j));
                        }
                        double wanted = sum > 0 ? log(sum) : -HUGE_VAL;
                        CHECK(wanted == (double)got.lse[i] || fabs(wanted - (double)got.lse[i]) < 2e-6,
                            "causal %d, lengths %d x %d, row %d, %s: lse should be %.9g, is %.9g", (int)causal,
                            (int)query_length, (int)key_length, (int)i, gatun_tier_name(tiers[t]), wanted,
                            (double)got.lse[i]);
                    }
                    outcome_free(&got);
                    problem_free(&p);
                }
            }
        }
    }
}

/* ---- biases that are not finite ---- */

enum { HEADS = 6, SEQ_Q = 70, SEQ_K = 150, SPAN = 200 };

static problem table_problem(int32_t causal) {
    return biased_problem(1, HEADS, 2, SEQ_Q, SEQ_K, 24, causal, LENGTHS_NONE, BIAS_BOTH, SPAN, 99);
}

static int64_t distance_of(const problem *p, int64_t i, int64_t j) {
    return j - (p->causal == GATUN_CAUSAL_TOP_LEFT ? i : i + SEQ_K - SEQ_Q);
}

/* Whether row i attends to a key at this distance. */
static bool row_sees(const problem *p, int64_t i, int64_t distance) {
    for (int64_t j = 0; j < SEQ_K; j++) {
        if (distance_of(p, i, j) == distance) {
            return p->causal == GATUN_CAUSAL_NONE || distance <= 0;
        }
    }
    return false;
}

static void run_both(
    problem *p, float *entry, float value, int32_t tier, outcome *before, outcome *after, bool *ran, const char *what) {
    float kept = *entry;
    *ran = run_problem(p, tier, SHARED_THREADS, before, what);
    *entry = value;
    *ran = run_problem(p, tier, SHARED_THREADS, after, what) && *ran;
    *entry = kept;
}

static void check_rows(const problem *p, const outcome *before, const outcome *after, int64_t distance, int64_t head,
    bool whole_head, const char *what) {
    for (int64_t row = 0; row < SEQ_Q * HEADS; row++) {
        int64_t h = row % HEADS;
        bool is_nan = h == head && (whole_head || row_sees(p, row / HEADS, distance));
        bool good = is_nan ? isnan(after->lse[row]) : same_bits(&before->lse[row], &after->lse[row], 1);
        for (int64_t d = 0; d < p->head_dim_v; d++) {
            const float *old = &before->out[row * p->head_dim_v + d];
            const float *new = &after->out[row * p->head_dim_v + d];
            good = good && (is_nan ? isnan(*new) : same_bits(old, new, 1));
        }
        if (!good) {
            test_fail(__FILE__, __LINE__, "%s: row %d of head %d should %s", what, (int)(row / HEADS), (int)h,
                is_nan ? "be NaN" : "be as before, to the bit");
            return;
        }
    }
}

/* NaN or +inf at one distance: the rows of that head that attend to a key so far away, and no other bit. */
static void not_finite(void) {
    static const int64_t distances[] = {-149, -128, -80, -31, -1, 0, 1, 5, 69, 149};
    static const float values[] = {NAN, INFINITY};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        problem p = table_problem(causal);
        outcome before;
        outcome after;
        outcome_create(&before, &p);
        outcome_create(&after, &p);
        for (size_t n = 0; n < sizeof distances / sizeof *distances; n += test_light() ? 4 : 1) {
            for (int t = 0; t < tier_count; t++) {
                int64_t head = (int64_t)n % HEADS;
                char what[128];
                snprintf(what, sizeof what, "a bias of %g at distance %d, causal %d, %s", (double)values[n % 2],
                    (int)distances[n], (int)causal, gatun_tier_name(tiers[t]));
                bool ran;
                run_both(&p, &p.relative_table[head * (2 * SPAN + 1) + SPAN + distances[n]], values[n % 2], tiers[t],
                    &before, &after, &ran, what);
                if (ran) {
                    check_rows(&p, &before, &after, distances[n], head, false, what);
                }
                if (n < 2 && causal == GATUN_CAUSAL_BOTTOM_RIGHT) {
                    snprintf(what, sizeof what, "a slope of NaN, %s", gatun_tier_name(tiers[t]));
                    run_both(&p, &p.alibi_slopes[head], NAN, tiers[t], &before, &after, &ran, what);
                    if (ran) {
                        check_rows(&p, &before, &after, 0, head, true, what);
                    }
                }
            }
        }
        outcome_free(&before);
        outcome_free(&after);
        problem_free(&p);
    }
}

static bool all_at_once(int64_t distance) {
    (void)distance;
    return true;
}

static bool a_window(int64_t distance) {
    return distance < -20;
}

static bool a_pattern(int64_t distance) {
    return (distance & 3) == 1;
}

static bool itself(int64_t distance) {
    return distance == 0;
}

/* Biases of -inf mask: within the bound of the reference, and NaN or Inf in values that are masked so reach nobody. */
static void minus_infinity(void) {
    static bool (*const masks[])(int64_t) = {a_window, a_pattern, itself, all_at_once};
    static const float poisons[] = {NAN, INFINITY};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
            problem p = table_problem(causal);
            for (int64_t h = 0; h < HEADS; h++) {
                for (int64_t distance = -SPAN; distance <= SPAN; distance++) {
                    if (masks[m](distance)) {
                        p.relative_table[h * (2 * SPAN + 1) + SPAN + distance] = -INFINITY;
                    }
                }
            }
            char what[128];
            snprintf(what, sizeof what, "biases of -inf, mask %d, causal %d", (int)m, (int)causal);
            check(&p, what);
            /* keys that the last row, of all heads, does not see */
            outcome clean;
            outcome poisoned;
            outcome_create(&clean, &p);
            outcome_create(&poisoned, &p);
            for (int t = 0; t < tier_count; t++) {
                problem copy = p;
                copy.v = test_allocate(SEQ_K * 2 * p.head_dim_v * (int64_t)sizeof(float));
                memcpy(copy.v, p.v, SEQ_K * 2 * (size_t)p.head_dim_v * sizeof(float));
                for (int64_t j = 0; j < SEQ_K; j++) {
                    int64_t distance = distance_of(&p, SEQ_Q - 1, j);
                    bool unseen = masks[m](distance) || (causal != GATUN_CAUSAL_NONE && distance > 0);
                    for (int64_t d = 0; unseen && d < 2 * p.head_dim_v; d++) {
                        copy.v[j * 2 * p.head_dim_v + d] = poisons[j % 2];
                    }
                }
                if (run_problem(&p, tiers[t], 2, &clean, what) && run_problem(&copy, tiers[t], 2, &poisoned, what)) {
                    int64_t row = (SEQ_Q - 1) * HEADS;
                    bool same = same_bits(clean.lse + row, poisoned.lse + row, HEADS) &&
                                same_bits(clean.out + row * p.head_dim_v, poisoned.out + row * p.head_dim_v,
                                    HEADS * p.head_dim_v);
                    CHECK(same, "%s, %s: NaN in values that biases mask reached the last row", what,
                        gatun_tier_name(tiers[t]));
                }
                free(copy.v);
            }
            outcome_free(&clean);
            outcome_free(&poisoned);
            problem_free(&p);
        }
    }
}

/* What the table and q.k hold for keys that are masked is as if it were not there. */
static void masked_places(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int32_t causal = GATUN_CAUSAL_BOTTOM_RIGHT; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        for (int64_t group = 1; group <= 40; group = group < 3 ? 3 : group * 3 + 4) {
            problem p = biased_problem(1, group, 1, SEQ_Q, SEQ_K, 24, causal, LENGTHS_NONE, BIAS_TABLE, SPAN, 98);
            outcome clean;
            outcome poisoned;
            outcome_create(&clean, &p);
            outcome_create(&poisoned, &p);
            for (int t = 0; t < tier_count; t++) {
                bool ran = run_problem(&p, tiers[t], SHARED_THREADS, &clean, "masked places");
                float *kept = test_allocate(group * (2 * SPAN + 1) * (int64_t)sizeof(float));
                memcpy(kept, p.relative_table, (size_t)(group * (2 * SPAN + 1)) * sizeof(float));
                for (int64_t h = 0; h < group; h++) {
                    static const float poisons[] = {NAN, INFINITY, -INFINITY, 3e38f};
                    for (int64_t distance = 1; distance <= SPAN; distance++) {
                        p.relative_table[h * (2 * SPAN + 1) + SPAN + distance] = poisons[distance % 4];
                    }
                }
                if (run_problem(&p, tiers[t], SHARED_THREADS, &poisoned, "masked places") && ran) {
                    check_same_bits(&p, &clean, &poisoned, "biases of keys that no row sees");
                }
                memcpy(p.relative_table, kept, (size_t)(group * (2 * SPAN + 1)) * sizeof(float));
                free(kept);
            }
            outcome_free(&clean);
            outcome_free(&poisoned);
            problem_free(&p);
        }
    }
}

/* ---- ragged sequences ---- */

typedef struct sequences {
    int64_t count;
    int32_t q[5], k[5];
    int64_t heads, kv_heads, head_dim;
    int32_t causal;
    int kind;
    int64_t span;
} sequences;

static const sequences lists[] = {
    {5, {7, 1, 33, 16, 3}, {7, 1, 33, 16, 3}, 4, 4, 32, GATUN_CAUSAL_NONE, BIAS_BOTH, 10},
    {5, {4, 0, 20, 5, 2}, {9, 4, 0, 130, 1}, 6, 2, 17, GATUN_CAUSAL_BOTTOM_RIGHT, BIAS_ALIBI, 0},
    {3, {70, 5, 129}, {70, 5, 129}, 3, 1, 40, GATUN_CAUSAL_BOTTOM_RIGHT, BIAS_TABLE, 50},
    {4, {10, 31, 2, 80}, {40, 31, 1, 20}, 8, 1, 24, GATUN_CAUSAL_TOP_LEFT, BIAS_BOTH, 3},
    {2, {30, 2}, {2300, 30}, 2, 2, 16, GATUN_CAUSAL_NONE, BIAS_BOTH, 500},
};

/* Each sequence has the bits that it has alone, and is within the bound of the reference. */
static void check_ragged(const sequences *s, int32_t tier, const char *what) {
    int32_t offsets_q[6] = {0};
    int32_t offsets_k[6] = {0};
    int64_t most_q = 0;
    int64_t most_k = 0;
    for (int64_t b = 0; b < s->count; b++) {
        offsets_q[b + 1] = offsets_q[b] + s->q[b];
        offsets_k[b + 1] = offsets_k[b] + s->k[b];
        most_q = s->q[b] > most_q ? s->q[b] : most_q;
        most_k = s->k[b] > most_k ? s->k[b] : most_k;
    }
    problem all = biased_problem(1, s->heads, s->kv_heads, offsets_q[s->count], offsets_k[s->count], s->head_dim,
        s->causal, LENGTHS_NONE, s->kind, s->span, 7);
    outcome ragged;
    outcome one;
    outcome_create(&ragged, &all);
    outcome_create(&one, &all);
    gatun_attention_desc desc = default_desc(&all);
    desc.flags |= (GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K);
    desc.batch = s->count;
    desc.seq_q = most_q;
    desc.seq_k = most_k;
    desc.q_stride[0] = desc.k_stride[0] = desc.v_stride[0] = desc.out_stride[0] = 0;
    desc.lse_stride[0] = 0;
    desc.lse_stride[1] = s->heads;
    desc.lse_stride[2] = 1;
    gatun_context *context = shared_context(tier);
    static const int32_t threads[] = {1, 0};
    for (int n = 0; n < 2; n++) {
        desc.max_threads = threads[n];
        int64_t bytes;
        void *workspace = new_workspace(context, &desc, &bytes);
        int32_t status = forward_problem(
            context, &desc, workspace, bytes, &all, all.q, all.k, all.v, ragged.out, ragged.lse, offsets_q, offsets_k);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        free(workspace);
        for (int64_t b = 0; b < s->count && status == GATUN_OK; b++) {
            problem part = all;
            part.seq_q = s->q[b];
            part.seq_k = s->k[b];
            part.q += offsets_q[b] * s->heads * s->head_dim;
            part.k += offsets_k[b] * s->kv_heads * s->head_dim;
            part.v += offsets_k[b] * s->kv_heads * s->head_dim;
            outcome got = {ragged.out + offsets_q[b] * s->heads * s->head_dim, ragged.lse + offsets_q[b] * s->heads};
            char name[128];
            snprintf(name, sizeof name, "%s, sequence %d", what, (int)b);
            if (run_problem(&part, tier, 1, &one, name)) {
                check_same_bits(&part, &one, &got, name);
            }
            expected want;
            expected_create(&want, &part);
            compare_outcome(&part, &want, &got, name);
            expected_destroy(&want);
        }
    }
    outcome_free(&ragged);
    outcome_free(&one);
    problem_free(&all);
}

static void ragged(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (size_t n = 0; n < sizeof lists / sizeof *lists; n++) {
            char what[64];
            snprintf(what, sizeof what, "list %d, %s", (int)n, gatun_tier_name(tiers[t]));
            check_ragged(&lists[n], tiers[t], what);
        }
    }
}

/* ---- memory, and what is refused ---- */

/* Between guard pages at either side, in every layout. */
static void memory(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (layout kind = LAYOUT_BSHD; kind < LAYOUT_KINDS; kind++) {
        for (int biases = BIAS_ALIBI; biases < BIAS_KINDS; biases++) {
            for (guarded_end end = GUARD_AFTER; end <= GUARD_BEFORE; end++) {
                problem p = biased_problem(2, 6, 2, 37, 140, 20, GATUN_CAUSAL_BOTTOM_RIGHT, LENGTHS_BOTH, biases,
                    (int64_t)(kind * 20), (uint64_t)kind);
                rng random = rng_make(test_seed(), (uint64_t)kind);
                placement place;
                placement_create(&place, &p, kind, end, &random);
                expected want;
                expected_create(&want, &p);
                outcome got;
                outcome_create(&got, &p);
                for (int t = 0; t < tier_count; t++) {
                    char what[96];
                    snprintf(what, sizeof what, "%s, %s, guard page %s, %s", layout_name(kind), bias_names[biases],
                        end == GUARD_AFTER ? "after" : "before", gatun_tier_name(tiers[t]));
                    test_note("%s", what);
                    if (placement_run(&place, shared_context(tiers[t]), 2, &got, what)) {
                        compare_outcome(&p, &want, &got, what);
                    }
                }
                test_note("%s", "");
                expected_destroy(&want);
                outcome_free(&got);
                placement_destroy(&place);
                problem_free(&p);
            }
        }
    }
}

typedef struct refusal {
    problem p;
    gatun_attention_desc desc;
    outcome result;
    void *workspace;
    int64_t bytes;
} refusal;

static int32_t refused_call(refusal *r, gatun_context *context) {
    return gatun_attention_forward_extended(context, &r->desc, r->workspace, r->bytes, r->p.q, r->p.k, r->p.v, NULL,
        NULL, r->result.out, r->result.lse, NULL, NULL, NULL, NULL, NULL, NULL, r->p.alibi_slopes, NULL, NULL, NULL,
        NULL, r->p.relative_table, NULL, NULL, NULL);
}

static void check_refused(const refusal *r, gatun_context *context, int32_t wanted, const char *what) {
    refusal copy = *r;
    size_t out_bytes = (size_t)out_elements(&r->p) * sizeof(float);
    size_t lse_bytes = (size_t)lse_elements(&r->p) * sizeof(float);
    float *out = test_allocate((int64_t)out_bytes);
    float *lse = test_allocate((int64_t)lse_bytes);
    memcpy(out, r->result.out, out_bytes);
    memcpy(lse, r->result.lse, lse_bytes);
    int32_t status = refused_call(&copy, context);
    CHECK(status == wanted, "%s: expected \"%s\" (%d), got \"%s\" (%d)", what, gatun_status_string(wanted), (int)wanted,
        gatun_status_string(status), (int)status);
    CHECK(memcmp(out, r->result.out, out_bytes) == 0 && memcmp(lse, r->result.lse, lse_bytes) == 0,
        "%s: the outputs were written", what);
    free(out);
    free(lse);
}

static void refused(void) {
    int32_t tiers[MAX_TIERS];
    gatun_context *context = shared_context(tiers[test_tiers(tiers) - 1]);
    refusal good = {.p = biased_problem(2, 4, 2, 6, 9, 10, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_BOTH, 5, 1)};
    good.desc = default_desc(&good.p);
    good.workspace = new_workspace(context, &good.desc, &good.bytes);
    outcome_create(&good.result, &good.p);
    CHECK_STATUS(refused_call(&good, context), GATUN_OK);
    memset(good.result.out, 0x5a, (size_t)out_elements(&good.p) * sizeof(float));
    memset(good.result.lse, 0x5a, (size_t)lse_elements(&good.p) * sizeof(float));

    refusal bad = good;
    bad.desc.flags = 0;
    bad.desc.relative_span = 0;
    check_refused(&bad, context, GATUN_E_INVALID, "biases without the flag");
    bad.p.alibi_slopes = NULL;
    check_refused(&bad, context, GATUN_E_INVALID, "a table without the flag");
    bad = good;
    bad.desc.flags = 0;
    check_refused(&bad, context, GATUN_E_INVALID, "a span without the flag");
    bad = good;
    bad.p.alibi_slopes = NULL;
    bad.p.relative_table = NULL;
    bad.desc.relative_span = 0;
    check_refused(&bad, context, GATUN_E_NULL, "the flag without biases");
    CHECK_STATUS(gatun_attention_forward(context, &bad.desc, bad.workspace, bad.bytes, bad.p.q, bad.p.k, bad.p.v, NULL,
                     NULL, bad.result.out, bad.result.lse),
        GATUN_E_NULL);
    bad = good;
    bad.p.relative_table = NULL;
    check_refused(&bad, context, GATUN_E_INVALID, "a span without a table");
    static const int64_t spans[] = {-1, GATUN_MAX_RELATIVE_SPAN + 1, INT64_MAX, INT64_MIN};
    for (int n = 0; n < 4; n++) {
        bad = good;
        bad.desc.relative_span = spans[n];
        check_refused(&bad, context, GATUN_E_INVALID, "a span out of range");
        char message[200] = "";
        CHECK_STATUS(gatun_attention_check(NULL, &bad.desc, message, sizeof message), GATUN_E_INVALID);
        CHECK(strstr(message, "relative_span") != NULL, "\"%s\" does not name relative_span", message);
    }
    for (int off = 1; off < 4; off++) {
        bad = good;
        bad.p.alibi_slopes = (float *)(void *)((uint8_t *)good.p.alibi_slopes + off);
        check_refused(&bad, context, GATUN_E_ALIGNMENT, "alibi_slopes not aligned");
        bad = good;
        bad.p.relative_table = (float *)(void *)((uint8_t *)good.p.relative_table + off);
        check_refused(&bad, context, GATUN_E_ALIGNMENT, "relative_position_table not aligned");
    }
    bad = good;
    bad.p.alibi_slopes = good.result.out + out_elements(&good.p) - 1;
    check_refused(&bad, context, GATUN_E_OVERLAP, "alibi_slopes in out");
    bad.p.alibi_slopes = good.result.lse;
    check_refused(&bad, context, GATUN_E_OVERLAP, "alibi_slopes in lse");
    bad = good;
    bad.p.relative_table = good.result.lse + lse_elements(&good.p) - 1;
    check_refused(&bad, context, GATUN_E_OVERLAP, "relative_position_table in lse");
    bad.p.relative_table = good.result.out;
    check_refused(&bad, context, GATUN_E_OVERLAP, "relative_position_table in out");
    bad = good;
    bad.bytes--;
    check_refused(&bad, context, GATUN_E_WORKSPACE, "a workspace that is too small");
    /* what a call without biases needs is less */
    int64_t plain = 0;
    bad.desc.flags = 0;
    bad.desc.relative_span = 0;
    CHECK_STATUS(gatun_attention_workspace_size(context, &bad.desc, &plain), GATUN_OK);
    CHECK(plain < good.bytes, "the workspace has %lld bytes without biases, %lld with", (long long)plain,
        (long long)good.bytes);
    /* and no number of heads makes it more than a few tiles */
    problem many = {.batch = 1, .heads = 1 << 20, .kv_heads = 1, .seq_q = 4, .seq_k = 4096, .head_dim = 64};
    many.head_dim_v = 64;
    bad.desc = default_desc(&many);
    bad.desc.flags = GATUN_ATTENTION_BIASED;
    CHECK_STATUS(gatun_attention_workspace_size(context, &bad.desc, &plain), GATUN_OK);
    CHECK(plain < SHARED_THREADS * (INT64_C(2) << 20), "the workspace has %lld bytes", (long long)plain);
    outcome_free(&good.result);
    free(good.workspace);
    problem_free(&good.p);
}

/* Without rows or keys the biases are not looked at, but still belong to the flag. */
static void nothing_to_do(void) {
    static const float slope = 1;
    static const int64_t sizes[][3] = {{0, 3, 4}, {1, 0, 4}, {1, 3, 0}};
    for (int n = 0; n < 3; n++) {
        problem p = biased_problem(
            sizes[n][0], 1, 1, sizes[n][1], sizes[n][2], 4, GATUN_CAUSAL_NONE, LENGTHS_NONE, BIAS_NONE, 0, 1);
        p.alibi_slopes = test_allocate(sizeof slope);
        memcpy(p.alibi_slopes, &slope, sizeof slope);
        check(&p, "nothing to do");
        problem_free(&p);
    }
}

const test_case bias_tests[] = {{"shapes", shapes}, {"large", large}, {"scales", scales}, {"slopes", slopes},
    {"positions", positions}, {"not_finite", not_finite}, {"minus_infinity", minus_infinity},
    {"masked_places", masked_places}, {"ragged", ragged}, {"memory", memory}, {"refused", refused},
    {"nothing_to_do", nothing_to_do}, {NULL, NULL}};
