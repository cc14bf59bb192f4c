/*
 * Attention with GATUN_ATTENTION_BF16: the suites of attention once more, with the flag in every descriptor and the error bound that
 * gatun.h gives for it, on all tiers; where products are of bf16 and where they are not; how large errors are.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "suites.h"

/* All tests of a suite. */
static void again(const test_case *tests) {
    reference_of_bf16 = true;
    for (const test_case *test = tests; test->name != NULL; test++) {
        const int before = test_failures();
        test->run();
        CHECK(test_failures() == before, "the failures above are of %s with GATUN_ATTENTION_BF16", test->name);
    }
    reference_of_bf16 = false;
}

static void numbers(void) {
    again(numbers_tests);
}

static void wide(void) {
    again(wide_tests);
}

static void special(void) {
    again(special_tests);
}

static void bits(void) {
    again(bits_tests);
}

static void ragged(void) {
    again(ragged_tests);
}

static void bias(void) {
    again(bias_tests);
}

static void matrix(void) {
    again(matrix_tests);
}

/* ---- where the flag has an effect ---- */

static bool run_with(problem *p, gatun_context *context, bool flag, outcome *result, int32_t *kernel) {
    rng random = rng_make(test_seed(), 3);
    placement place;
    reference_of_bf16 = flag;
    placement_create(&place, p, LAYOUT_BSHD, GUARD_AFTER, &random);
    reference_of_bf16 = false;
    gatun_attention_plan_info plan = {.struct_size = sizeof plan};
    CHECK_STATUS(gatun_attention_plan(context, &place.desc, &plan), GATUN_OK);
    *kernel = plan.kernel;
    CHECK(plan.kernel != GATUN_KERNEL_BF16 || isnan(plan.predicted_share), "a share of %g", plan.predicted_share);
    const bool ran = placement_run(&place, context, 2, result, flag ? "with the flag" : "without the flag");
    placement_destroy(&place);
    return ran;
}

/* Whether the results with the flag are those without it, to the bit, as expected; of batch rows from first_same on they always are. */
static void check_effect(problem p, gatun_context *context, bool effect, int64_t first_same, const char *what) {
    outcome plain, flagged;
    outcome_create(&plain, &p);
    outcome_create(&flagged, &p);
    int32_t kernels[2];
    if (run_with(&p, context, false, &plain, &kernels[0]) && run_with(&p, context, true, &flagged, &kernels[1])) {
        const int64_t row = p.seq_q * p.heads * p.head_dim_v, all = p.batch * row;
        CHECK(same_bits(plain.out, flagged.out, all) == !effect, "%s: expected %s results", what,
            effect ? "other" : "the same");
        CHECK(same_bits(plain.out + first_same * row, flagged.out + first_same * row, all - first_same * row),
            "%s: expected the same results from batch row %d on", what, (int)first_same);
        CHECK(kernels[0] != GATUN_KERNEL_BF16, "%s: kernel %d without the flag", what, (int)kernels[0]);
        CHECK((kernels[1] == GATUN_KERNEL_BF16) == effect, "%s: kernel %d", what, (int)kernels[1]);
    }
    outcome_free(&plain);
    outcome_free(&flagged);
    problem_free(&p);
}

static void effect(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        gatun_context *context = shared_context(tiers[t]);
        gatun_info info = {.struct_size = sizeof info};
        CHECK_STATUS(gatun_context_info(context, &info), GATUN_OK);
        const bool has = (info.features & GATUN_FEATURE_BF16) != 0;
        test_note("%s", gatun_tier_name(tiers[t]));
        check_effect(new_problem(2, 4, 2, 5, 17, 8, GATUN_CAUSAL_NONE), context, has, 2, "5 rows, 17 keys");
        check_effect(
            new_problem(2, 4, 2, 70, 300, 40, GATUN_CAUSAL_BOTTOM_RIGHT), context, has, 2, "70 rows, 300 keys");
        check_effect(new_problem(2, 4, 2, 4, 300, 40, GATUN_CAUSAL_NONE), context, false, 0, "4 rows");
        check_effect(new_problem(2, 4, 2, 70, 16, 40, GATUN_CAUSAL_NONE), context, false, 0, "16 keys");
        check_effect(new_problem(2, 3, 3, 16, 16, 32, GATUN_CAUSAL_NONE), context, false, 0, "tiny heads");
        problem biased = new_problem(2, 4, 2, 70, 300, 40, GATUN_CAUSAL_NONE);
        rng random = rng_make(test_seed(), 4);
        problem_bias(&biased, BIAS_ALIBI, 0, &random);
        check_effect(biased, context, false, 0, "biases");
        problem lengths = {
            .batch = 3, .heads = 4, .kv_heads = 4, .seq_q = 40, .seq_k = 90, .head_dim = 32, .head_dim_v = 32};
        problem_allocate(&lengths, LENGTHS_BOTH);
        problem_draw(&lengths, VALUES_NORMAL, &random);
        const int32_t rows[] = {40, 4, 40}, keys[] = {90, 90, 16};
        memcpy(lengths.query_lengths, rows, sizeof rows);
        memcpy(lengths.key_lengths, keys, sizeof keys);
        check_effect(lengths, context, has, 1, "batch rows of 4 rows, and of 16 keys");
        const gatun_config config = {
            .struct_size = sizeof config, .threads = 2, .tier = tiers[t], .flags = GATUN_CONFIG_TIER_ALONE};
        gatun_context *alone = NULL;
        REQUIRE_STATUS(gatun_context_create(&config, &alone, NULL, 0), GATUN_OK);
        check_effect(new_problem(2, 4, 2, 70, 300, 40, GATUN_CAUSAL_NONE), alone, false, 0, "the tier alone");
        CHECK_STATUS(gatun_context_destroy(alone), GATUN_OK);
    }
    test_note("%s", "");
}

/* What is usual, of N(0, 1): far below the bound, which has the worst case in it. */
static void usual_error(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    problem p = new_problem(1, 2, 2, 96, 500, 64, GATUN_CAUSAL_NONE);
    expected want;
    expected_create(&want, &p);
    outcome got;
    outcome_create(&got, &p);
    for (int t = 0; t < count; t++) {
        int32_t kernel;
        if (!run_with(&p, shared_context(tiers[t]), true, &got, &kernel)) {
            continue;
        }
        double square = 0, sum = 0;
        const int64_t n = out_elements(&p);
        for (int64_t i = 0; i < n; i++) {
            const double error = (double)got.out[i] - want.out[i];
            square += error * error;
            sum += error;
        }
        CHECK(sqrt(square / (double)n) < 4e-4, "%s: root mean square %g", gatun_tier_name(tiers[t]),
            sqrt(square / (double)n));
        CHECK(fabs(sum / (double)n) < 1e-5, "%s: mean %g", gatun_tier_name(tiers[t]), sum / (double)n);
    }
    outcome_free(&got);
    expected_destroy(&want);
    problem_free(&p);
}

const test_case attention_bf16_tests[] = {{"effect", effect}, {"usual_error", usual_error}, {"numbers", numbers},
    {"wide", wide}, {"special", special}, {"bits", bits}, {"ragged", ragged}, {"bias", bias}, {"matrix", matrix},
    {NULL, NULL}};
