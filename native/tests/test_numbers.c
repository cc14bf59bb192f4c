/* The promises of gatun.h about finite numbers: masks, empty dimensions, extreme scores, denormals, long sums. */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

/*
 * Who sees whom, read off the output: all scores are 0 and value j is the unit vector j, so that out[i][j] is 1 / n
 * for each of the n keys that row i sees, and 0 for the others. The formulas are gatun.h's, not the reference's.
 */
static void check_visibility(int64_t seq_q, int64_t seq_k, int32_t causal, int32_t query_length, int32_t key_length) {
    problem p = {.batch = 1,
        .heads = 2,
        .kv_heads = 1,
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = 3,
        .head_dim_v = seq_k,
        .causal = causal};
    problem_allocate(&p, LENGTHS_BOTH);
    memset(p.q, 0, (size_t)(seq_q * 2 * 3) * sizeof(float));
    memset(p.k, 0, (size_t)(seq_k * 3) * sizeof(float));
    for (int64_t i = 0; i < seq_k * seq_k; i++) {
        p.v[i] = i % (seq_k + 1) == 0 ? 1 : 0;
    }
    p.query_lengths[0] = query_length;
    p.key_lengths[0] = key_length;
    char what[128];
    snprintf(what, sizeof what, "seq %d x %d, causal %d, lengths %d x %d", (int)seq_q, (int)seq_k, (int)causal,
        (int)query_length, (int)key_length);
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    outcome got;
    outcome_create(&got, &p);
    for (int t = 0; t < tier_count; t++) {
        if (!run_problem(&p, tiers[t], 2, &got, what)) {
            continue;
        }
        for (int64_t row = 0; row < seq_q * 2; row++) {
            int64_t i = row / 2;
            int64_t seen = 0;
            for (int64_t j = 0; j < seq_k; j++) {
                bool sees = i < query_length && j < key_length &&
                            (causal == GATUN_CAUSAL_NONE || (causal == GATUN_CAUSAL_TOP_LEFT && j <= i) ||
                                (causal == GATUN_CAUSAL_BOTTOM_RIGHT && j <= i + key_length - query_length));
                seen += sees;
                float out = got.out[row * seq_k + j];
                CHECK(sees ? out > 0 : out == 0, "%s, %s: row %d %s key %d, out is %g", what, gatun_tier_name(tiers[t]),
                    (int)i, sees ? "sees" : "does not see", (int)j, (double)out);
            }
            float lse = got.lse[row];
            CHECK(
                seen == 0 ? lse == -INFINITY : fabs((double)lse - log((double)seen)) <= 1e-5 + 1e-6 * log((double)seen),
                "%s, %s: row %d sees %d keys, lse is %g", what, gatun_tier_name(tiers[t]), (int)i, (int)seen,
                (double)lse);
        }
    }
    outcome_free(&got);
    problem_free(&p);
}

static void visibility(void) {
    static const int64_t shapes[][2] = {
        {1, 1}, {5, 5}, {3, 9}, {9, 3}, {1, 40}, {40, 1}, {33, 70}, {70, 33}, {130, 131}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int32_t q = (int32_t)shapes[s][0];
        int32_t k = (int32_t)shapes[s][1];
        const int32_t lengths[][2] = {
            {q, k}, {q, k / 2}, {q / 2, k}, {(q + 1) / 2, (k + 1) / 2}, {q, 0}, {0, k}, {q / 3, k / 2}};
        for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
            for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
                check_visibility(q, k, causal, lengths[n][0], lengths[n][1]);
            }
        }
    }
}

static void check_rows_are_empty(const problem *p, const outcome *got, int64_t from, int64_t to, const char *what) {
    for (int64_t i = from; i < to; i++) {
        for (int64_t h = 0; h < p->heads; h++) {
            float lse = got->lse[i * p->heads + h];
            CHECK(lse == -INFINITY, "%s: lse of masked row %d: expected -inf, got %g", what, (int)i, (double)lse);
            for (int64_t d = 0; d < p->head_dim_v; d++) {
                float out = got->out[(i * p->heads + h) * p->head_dim_v + d];
                CHECK(out == 0 && !signbit(out), "%s: out of masked row %d: expected 0, got %g", what, (int)i,
                    (double)out);
            }
        }
    }
}

static void masked_rows(void) {
    problem p = new_problem(1, 3, 1, 50, 0, 20, GATUN_CAUSAL_NONE);
    outcome got;
    check_problem(&p, &got, "seq_k = 0");
    check_rows_are_empty(&p, &got, 0, 50, "seq_k = 0");
    outcome_free(&got);
    problem_free(&p);

    p = new_problem(1, 2, 2, 70, 30, 20, GATUN_CAUSAL_BOTTOM_RIGHT);
    check_problem(&p, &got, "bottom-right, more rows than keys");
    check_rows_are_empty(&p, &got, 0, 40, "bottom-right, more rows than keys");
    CHECK(got.lse[80] != -INFINITY, "row 40 sees key 0");
    outcome_free(&got);
    problem_free(&p);

    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        p = new_problem(1, 2, 1, 70, 70, 20, causal);
        int32_t none = 0;
        p.key_lengths = &none;
        check_problem(&p, &got, "key length 0");
        check_rows_are_empty(&p, &got, 0, 70, "key length 0");
        outcome_free(&got);
        int32_t some = 33;
        p.key_lengths = NULL;
        p.query_lengths = &some;
        check_problem(&p, &got, "query length 33");
        check_rows_are_empty(&p, &got, 33, 70, "query length 33");
        outcome_free(&got);
        p.query_lengths = NULL;
        problem_free(&p);
    }
}

/* The outputs have no element and lie on a guard page: writing anything is a crash. */
static void nothing_to_write(void) {
    problem p = new_problem(2, 2, 2, 0, 10, 20, GATUN_CAUSAL_BOTTOM_RIGHT);
    check_problem(&p, NULL, "seq_q = 0");
    problem_free(&p);
    p = new_problem(0, 2, 2, 10, 10, 20, GATUN_CAUSAL_NONE);
    check_problem(&p, NULL, "batch = 0");
    problem_free(&p);
}

/* ---- scores of a given course: one dimension, query 1, scale 1, so that score j is key j ---- */

static problem with_scores(int64_t seq_q, int64_t seq_k, double (*score)(int64_t j, int64_t n)) {
    problem p = new_problem(1, 1, 1, seq_q, seq_k, 1, GATUN_CAUSAL_NONE);
    p.random_values = false;
    p.scaled = true;
    p.scale = 1;
    for (int64_t i = 0; i < seq_q; i++) {
        p.q[i] = 1;
    }
    for (int64_t j = 0; j < seq_k; j++) {
        p.k[j] = (float)score(j, seq_k);
    }
    return p;
}

static double rising(int64_t j, int64_t n) {
    (void)n;
    return 0.1 * (double)j;
}

static double falling(int64_t j, int64_t n) {
    return 0.1 * (double)(n - j);
}

static double rising_steeply(int64_t j, int64_t n) {
    return 40.0 * (double)(j - n);
}

static double falling_steeply(int64_t j, int64_t n) {
    return 40.0 * (double)(n - j);
}

static double offset(int64_t j, int64_t n) {
    (void)n;
    return 30000 + (double)(j % 7);
}

static double negative_offset(int64_t j, int64_t n) {
    return -offset(j, n);
}

static double late_spike(int64_t j, int64_t n) {
    return j == n - 1 ? 90 : 0;
}

static double early_spike(int64_t j, int64_t n) {
    (void)n;
    return j == 0 ? 90 : 0;
}

static double slow_spike(int64_t j, int64_t n) {
    return j == n - 1 ? 8 : 0;
}

static double alternating(int64_t j, int64_t n) {
    (void)n;
    return j % 2 == 0 ? 100 : -100;
}

static double all_huge(int64_t j, int64_t n) {
    (void)j;
    (void)n;
    return 1e30;
}

/* As base-2 logits these are nearly FLT_MAX. */
#define GREATEST_SCORE 0x1.62p127

static double all_most_negative(int64_t j, int64_t n) {
    (void)j;
    (void)n;
    return -GREATEST_SCORE;
}

static double all_greatest(int64_t j, int64_t n) {
    (void)j;
    (void)n;
    return GREATEST_SCORE;
}

/* two keys of 1e30, the first and the last but one; the others alternate between -1e30 and 0 */
static double two_huge(int64_t j, int64_t n) {
    return j == 0 || j == n - 2 ? 1e30 : j % 2 == 0 ? -1e30 : 0;
}

static void courses(void) {
    static double (*const course[])(int64_t, int64_t) = {rising, falling, rising_steeply, falling_steeply, offset,
        negative_offset, late_spike, early_spike, slow_spike, alternating};
    static const int64_t lengths[] = {2, 31, 128, 129, 1000, 2049, 5000};
    for (size_t c = 0; c < sizeof course / sizeof *course; c++) {
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            problem p = with_scores(3, lengths[n], course[c]);
            char what[64];
            snprintf(what, sizeof what, "course %d, %d keys", (int)c, (int)lengths[n]);
            check_problem(&p, NULL, what);
            problem_free(&p);
        }
    }
}

/*
 * Scores so large that the bound on their rounding allows anything. But they are equal or differ by more than exp
 * can tell, without any rounding of a dot product, so the probs are exactly equal or 0: out is the mean of the
 * values at the greatest scores.
 */
static void huge_scores(void) {
    static double (*const course[])(int64_t, int64_t) = {all_huge, two_huge, all_most_negative, all_greatest};
    static const int64_t lengths[] = {2, 33, 130, 2500};
    for (size_t c = 0; c < sizeof course / sizeof *course; c++) {
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            problem p = with_scores(2, lengths[n], course[c]);
            double greatest = -INFINITY;
            for (int64_t j = 0; j < p.seq_k; j++) {
                greatest = fmax(greatest, (double)p.k[j]);
            }
            double sum = 0;
            double count = 0;
            double largest = 0;
            for (int64_t j = 0; j < p.seq_k; j++) {
                if ((double)p.k[j] == greatest) {
                    sum += (double)p.v[j];
                    count++;
                    largest = fmax(largest, fabs((double)p.v[j]));
                }
            }
            outcome got;
            outcome_create(&got, &p);
            int32_t tiers[MAX_TIERS];
            int tier_count = test_tiers(tiers);
            for (int t = 0; t < tier_count; t++) {
                if (run_problem(&p, tiers[t], 1, &got, "huge scores")) {
                    CHECK(fabs((double)got.out[1] - sum / count) <= 2e-6 * largest,
                        "%s: course %d, %d keys: expected the mean %.9g of %g values, got %.9g",
                        gatun_tier_name(tiers[t]), (int)c, (int)p.seq_k, sum / count, count, (double)got.out[1]);
                    CHECK(fabs((double)got.lse[1] - greatest) <= 1e-6 * fabs(greatest),
                        "%s: course %d, %d keys: expected lse %.9g, got %.9g", gatun_tier_name(tiers[t]), (int)c,
                        (int)p.seq_k, greatest, (double)got.lse[1]);
                }
            }
            outcome_free(&got);
            problem_free(&p);
        }
    }
}

/* ---- values ---- */

/*
 * Equal probs and equal values: an error that every addition makes in the same direction would grow with the
 * number of keys.
 */
static void constant_values(void) {
    static const int64_t lengths[] = {1, 100, 1000, 4096, 16384, 40000};
    static const float constants[] = {0.1f, 1.0f / 3, -0.7f, 1e30f, 1e-30f};
    for (size_t n = 0; n < sizeof lengths / sizeof *lengths - (test_light() ? 2 : 0); n++) {
        for (size_t c = 0; c < sizeof constants / sizeof *constants; c++) {
            problem p = new_problem(1, 2, 1, 3, lengths[n], 8, GATUN_CAUSAL_NONE);
            p.random_values = false;
            memset(p.q, 0, sizeof(float) * 3 * 2 * 8);
            for (int64_t i = 0; i < lengths[n] * 8; i++) {
                p.v[i] = constants[c];
            }
            char what[64];
            snprintf(what, sizeof what, "%d values of %g", (int)lengths[n], (double)constants[c]);
            check_problem(&p, NULL, what);
            problem_free(&p);
        }
    }
}

static void scale_by(float *data, int64_t count, float factor) {
    for (int64_t i = 0; i < count; i++) {
        data[i] *= factor;
    }
}

static void large_and_small_values(void) {
    static const float factors[] = {1e30f, 1e-30f, 1e-37f, 1e-40f};
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
        problem p = new_problem(1, 2, 1, 40, 300, 17, GATUN_CAUSAL_TOP_LEFT);
        scale_by(p.v, 300 * 17, factors[f]);
        check_problem(&p, NULL, "values of 1e30, 1e-30, 1e-37, 1e-40");
        problem_free(&p);
    }
}

/* Row i attends, for all that exp can tell, to key i * 7 mod seq_k only. */
static void one_hot(void) {
    problem p = new_problem(1, 1, 1, 64, 200, 200, GATUN_CAUSAL_NONE);
    p.random_values = false;
    p.scaled = true;
    p.scale = 1;
    memset(p.q, 0, sizeof(float) * 64 * 200);
    memset(p.k, 0, sizeof(float) * 200 * 200);
    for (int64_t i = 0; i < 64; i++) {
        p.q[i * 200 + i * 7 % 200] = 300;
    }
    for (int64_t j = 0; j < 200; j++) {
        p.k[j * 200 + j] = 1;
    }
    outcome got;
    check_problem(&p, &got, "one-hot");
    for (int64_t i = 0; i < 64 && !reference_of_bf16; i++) {
        CHECK(same_bits(got.out + i * 200, p.v + i * 7 % 200 * 200, 200), "row %d is not value %d", (int)i,
            (int)(i * 7 % 200));
    }
    outcome_free(&got);
    problem_free(&p);
}

static void negative_zero(void) {
    problem p = new_problem(1, 2, 2, 20, 40, 9, GATUN_CAUSAL_BOTTOM_RIGHT);
    p.random_values = false;
    for (int64_t i = 0; i < 20 * 2 * 9; i++) {
        p.q[i] = -0.0f;
    }
    for (int64_t i = 0; i < 40 * 2 * 9; i++) {
        p.k[i] = i % 2 == 0 ? -0.0f : 0.0f;
        p.v[i] = -0.0f;
    }
    check_problem(&p, NULL, "zeros of either sign");
    problem_free(&p);
}

/* ---- scale, denormals ---- */

static void scales(void) {
    static const float cases[][3] = {/* scale, factor of q, factor of k */
        {0, 1, 1}, {-0.25f, 1, 1}, {-0.0f, 1, 1}, {1, 1, 1}, {1e30f, 1e-15f, 1e-15f}, {1e-30f, 1e15f, 1e15f},
        {3e38f, 1e-19f, 1e-19f}, {1e-38f, 1e19f, 1e18f}, {1e-44f, 1e10f, 1e10f}, {-1e30f, 1e-20f, 1e-10f},
        {1e-30f, 1e-5f, 1e35f}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        problem p = new_problem(1, 2, 1, 30, 150, 33, GATUN_CAUSAL_BOTTOM_RIGHT);
        p.scaled = true;
        p.scale = cases[c][0];
        scale_by(p.q, 30 * 2 * 33, cases[c][1]);
        scale_by(p.k, 150 * 33, cases[c][2]);
        char what[64];
        snprintf(what, sizeof what, "scale %g, q times %g, k times %g", (double)cases[c][0], (double)cases[c][1],
            (double)cases[c][2]);
        check_problem(&p, NULL, what);
        problem_free(&p);
    }
}

static void denormals(void) {
    static const float cases[][4] = {/* scale, factors of q, k and v */
        {1, 1e-40f, 1e-40f, 1e-40f}, {1, 1e-40f, 1, 1}, {1, 1, 1e-40f, 1}, {1e30f, 1e-40f, 1e10f, 1},
        {3e38f, 1e-38f, 1, 1}, {1e38f, 3e-39f, 10, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        problem p = new_problem(1, 1, 1, 30, 150, 16, GATUN_CAUSAL_NONE);
        p.scaled = true;
        p.scale = cases[c][0];
        scale_by(p.q, 30 * 16, cases[c][1]);
        scale_by(p.k, 150 * 16, cases[c][2]);
        scale_by(p.v, 150 * 16, cases[c][3]);
        p.random_values = false;
        char what[96];
        snprintf(what, sizeof what, "scale %g, q times %g, k times %g, v times %g", (double)cases[c][0],
            (double)cases[c][1], (double)cases[c][2], (double)cases[c][3]);
        check_problem(&p, NULL, what);
        problem_free(&p);
    }
}

#if defined(__x86_64__)
static uint64_t get_control(void) {
    return __builtin_ia32_stmxcsr() & ~0x3fu; /* without the flags of what happened, which any operation sets */
}

static void set_control(uint64_t value) {
    __builtin_ia32_ldmxcsr((unsigned)value);
}

/* default; FTZ and DAZ; rounding down */
static const uint64_t controls[] = {0x1f80, 0x9fc0, 0x3f80};
#elif defined(__aarch64__)
static uint64_t get_control(void) {
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static void set_control(uint64_t value) {
    __asm__ volatile("msr fpcr, %0" : : "r"(value));
}

/* default; FZ; rounding down */
static const uint64_t controls[] = {0, 1u << 24, 2u << 22};
#endif

static void floating_point_control(void) {
#if defined(__x86_64__) || defined(__aarch64__)
    problem p = new_problem(1, 2, 1, 40, 100, 20, GATUN_CAUSAL_BOTTOM_RIGHT);
    scale_by(p.k, 100 * 20, 1e-40f);
    outcome got;
    outcome_create(&got, &p);
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    uint64_t before = get_control();
    for (int t = 0; t < tier_count; t++) {
        for (size_t c = 0; c < sizeof controls / sizeof *controls; c++) {
            shared_context(tiers[t]); /* made before: it starts threads */
            set_control(controls[c]);
            uint64_t set = get_control();
            run_problem(&p, tiers[t], SHARED_THREADS, &got, "control register");
            uint64_t left = get_control();
            set_control(before);
            CHECK(left == set, "%s: the floating-point control register was %llx and is %llx after the call",
                gatun_tier_name(tiers[t]), (unsigned long long)set, (unsigned long long)left);
        }
    }
    outcome_free(&got);
    problem_free(&p);
#endif
}

const test_case numbers_tests[] = {{"visibility", visibility}, {"masked_rows", masked_rows},
    {"nothing_to_write", nothing_to_write}, {"courses", courses}, {"huge_scores", huge_scores},
    {"constant_values", constant_values}, {"large_and_small_values", large_and_small_values}, {"one_hot", one_hot},
    {"negative_zero", negative_zero}, {"scales", scales}, {"denormals", denormals},
    {"floating_point_control", floating_point_control}, {NULL, NULL}};
