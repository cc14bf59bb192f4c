/*
 * Windows, caps, sinks, segments, prefixes, masks, biases key by key, positions: against the double reference, one by one and all
 * in all combinations of up to four, on every tier, with one thread and with several; corner cases; and what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changed.h"
#include "suites.h"

static void check(problem *p, const char *what) {
    char text[500];
    problem_describe(p, text, sizeof text);
    test_note("%s: %s", what, text);
    check_problem(p, NULL, text);
    test_note("%s", "");
}

static void check_combination(const bool wanted[FEATURES], int64_t number) {
    static const int64_t queries[] = {1, 2, 4, 5, 16, 33, 70, 150};
    static const int64_t keys[] = {1, 3, 40, 127, 128, 129, 200, 300, 400};
    static const int64_t dims[] = {1, 8, 16, 33, 64, 80};
    rng random = rng_make(test_seed(), 900000 + (uint64_t)number);
    const int64_t seq_q = queries[rng_below(&random, 8)];
    problem p = changed_problem(wanted, seq_q, keys[rng_below(&random, 9)], dims[rng_below(&random, 6)], &random);
    char what[60];
    snprintf(what, sizeof what, "GATUN_TEST_CASE=%lld", (long long)number);
    check(&p, what);
    problem_free(&p);
}

/* Each alone, each two, three and four of them. */
static void combinations(void) {
    int64_t number = 0;
    for (int set = 1; set < 1 << FEATURES; set++) {
        bool wanted[FEATURES];
        int count = 0;
        for (int i = 0; i < FEATURES; i++) {
            wanted[i] = (set >> i & 1) != 0;
            count += wanted[i];
        }
        if (count > 4 || (wanted[POSITIONS] && wanted[TABLE] && wanted[ALIBI] && count > 3)) {
            continue;
        }
        number++;
        if (!test_wants_case(number) || (test_light() && count > 2 && number % 23 != 0)) {
            continue;
        }
        /* Those alone and in twos at several sizes. */
        const int64_t times = test_light() ? 1 : count == 1 ? 12 : count == 2 ? 4 : 1;
        for (int64_t again = 0; again < times; again++) {
            check_combination(wanted, number + again * 100000);
        }
    }
}

/* More keys than are summed in float: splits, and parts of keys that are tasks of their own. */
static void long_keys(void) {
    static const int64_t sizes[][3] = {{1, 9000, 16}, {4, 6200, 8}, {40, 4500, 8}, {3, 2100, 16}, {300, 2300, 4}};
    for (int feature = 0; feature < FEATURES; feature++) {
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n += test_light() ? 3 : 1) {
            bool wanted[FEATURES] = {false};
            wanted[feature] = true;
            wanted[SINKS] = true;
            wanted[RANDOM_CAUSAL] = n % 2 == 0;
            rng random = rng_make(test_seed(), 800000 + (uint64_t)(feature * 10) + n);
            problem p = changed_problem(wanted, sizes[n][0], sizes[n][1], sizes[n][2], &random);
            check(&p, feature_names[feature]);
            problem_free(&p);
        }
    }
}

/* Bits do not depend on how a bias or a mask lies. */
static void layouts(void) {
    enum { ROWS = 37, KEYS = 300 };
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int64_t rows = 3; rows <= ROWS; rows += ROWS - 3) {
        problem p = new_problem(1, 2, 1, rows, KEYS, 16, GATUN_CAUSAL_NONE);
        rng random = rng_make(test_seed(), 600000);
        float *straight = test_allocate(ROWS * KEYS * (int64_t)sizeof(float)),
              *turned = test_allocate(ROWS * KEYS * (int64_t)sizeof(float));
        uint8_t *mask = test_allocate(ROWS * KEYS), *mask_turned = test_allocate(ROWS * KEYS);
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < KEYS; j++) {
                straight[i * KEYS + j] = turned[j * rows + i] = 3 * rng_normal(&random);
                mask[i * KEYS + j] = mask_turned[j * rows + i] = rng_below(&random, 3) != 0;
            }
        }
        outcome first, other;
        outcome_create(&first, &p);
        outcome_create(&other, &p);
        for (int t = 0; t < count; t++) {
            p.bias = straight;
            p.mask = mask;
            p.bias_stride[2] = p.mask_stride[2] = KEYS;
            p.bias_stride[3] = p.mask_stride[3] = 1;
            (void)run_problem(&p, tiers[t], 1, &first, "rows of maps");
            p.bias = turned;
            p.mask = mask_turned;
            p.bias_stride[2] = p.mask_stride[2] = 1;
            p.bias_stride[3] = p.mask_stride[3] = rows;
            (void)run_problem(&p, tiers[t], 1, &other, "columns of maps");
            check_same_bits(&p, &first, &other, gatun_tier_name(tiers[t]));
        }
        outcome_free(&first);
        outcome_free(&other);
        p.bias = NULL;
        p.mask = NULL;
        problem_free(&p);
        free(straight);
        free(turned);
        free(mask);
        free(mask_turned);
    }
}

/* ---- refusals ---- */

/* A problem with one feature, of which `spoil` makes something wrong. */
static void refused(int feature, const char *what, int32_t wanted, void (*spoil)(problem *p, gatun_attention_desc *d)) {
    bool has[FEATURES] = {false};
    has[feature] = true;
    rng random = rng_make(test_seed(), 700000 + (uint64_t)feature);
    problem p = changed_problem(has, 9, 40, 8, &random);
    gatun_attention_desc d = default_desc(&p);
    outcome result;
    outcome_create(&result, &p);
    gatun_context *context = shared_context(0);
    int64_t bytes = 0;
    void *workspace = new_workspace(context, &d, &bytes);
    CHECK_STATUS(forward_problem(context, &d, workspace, bytes, &p, p.q, p.k, p.v, result.out, result.lse, NULL, NULL),
        GATUN_OK);
    const int64_t size = out_elements(&p) * (int64_t)sizeof(float);
    memset(result.out, 0x5a, (size_t)size);
    const problem kept = p;
    spoil(&p, &d);
    const int32_t status = gatun_attention_forward_extended(context, &d, workspace, bytes, p.q, p.k, p.v, p.key_lengths,
        p.query_lengths, result.out, result.lse, NULL, NULL, NULL, p.mask, p.block_mask, p.bias, p.alibi_slopes,
        p.sinks, p.segments_q, p.segments_k, p.prefix, p.relative_table, p.positions, NULL, NULL);
    CHECK(status == wanted, "%s: expected \"%s\", got \"%s\"", what, gatun_status_string(wanted),
        gatun_status_string(status));
    bool untouched = true;
    for (int64_t i = 0; i < size; i++) {
        untouched = untouched && ((const uint8_t *)result.out)[i] == 0x5a;
    }
    CHECK(untouched, "%s: out was written", what);
    free(workspace);
    outcome_free(&result);
    p = kept;
    problem_free(&p);
}

static void no_mask(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->mask = NULL;
}
static void no_bias(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->bias = NULL;
}
static void no_blocks(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->block_mask = NULL;
}
static void no_sinks(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->sinks = NULL;
}
static void no_prefix(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->prefix = NULL;
}
static void one_segment(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->segments_k = NULL;
}
static void no_flags(problem *p, gatun_attention_desc *d) {
    (void)p;
    d->flags &= ~(GATUN_ATTENTION_MASKED | GATUN_ATTENTION_SINKS | GATUN_ATTENTION_PREFIX);
    memset(d->mask_stride, 0, sizeof d->mask_stride);
}
static void long_prefix(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->prefix[0] = 41;
}
static void negative_prefix(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->prefix[p->batch - 1] = -1;
}
static void odd_bias(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->bias = (float *)(void *)((char *)(void *)p->bias + 1);
}
static void odd_sinks(problem *p, gatun_attention_desc *d) {
    (void)d;
    p->sinks = (float *)(void *)((char *)(void *)p->sinks + 2);
}

static void refusals(void) {
    refused(MASK, "no mask", GATUN_E_NULL, no_mask);
    refused(BIAS, "no bias", GATUN_E_NULL, no_bias);
    refused(BLOCKS, "no block_mask", GATUN_E_NULL, no_blocks);
    refused(SINKS, "no sinks", GATUN_E_NULL, no_sinks);
    refused(PREFIX, "no prefix_lengths", GATUN_E_NULL, no_prefix);
    refused(SEGMENTS, "no segment_ids_k", GATUN_E_NULL, one_segment);
    refused(MASK, "a mask without its flag", GATUN_E_INVALID, no_flags);
    refused(SINKS, "sinks without their flag", GATUN_E_INVALID, no_flags);
    refused(PREFIX, "prefixes without their flag", GATUN_E_INVALID, no_flags);
    refused(SEGMENTS, "segments without their flag", GATUN_E_INVALID, no_flags);
    refused(POSITIONS, "positions without their flag", GATUN_E_INVALID, no_flags);
    refused(PREFIX, "a prefix of 41 keys", GATUN_E_LENGTH, long_prefix);
    refused(PREFIX, "a prefix of -1", GATUN_E_LENGTH, negative_prefix);
    refused(BIAS, "a bias off its alignment", GATUN_E_ALIGNMENT, odd_bias);
    refused(SINKS, "sinks off their alignment", GATUN_E_ALIGNMENT, odd_sinks);
}

/* ---- corner cases: the table of docs/masks.md ---- */

/* One row of one head of 40 keys, of which a mask leaves some; value[key] is key + 1. */
static void corner(const char *what, void (*change)(problem *p), double lse, double out) {
    problem p = new_problem(1, 1, 1, 6, 40, 8, GATUN_CAUSAL_NONE);
    for (int64_t j = 0; j < 40; j++) {
        for (int64_t c = 0; c < 8; c++) {
            p.k[j * 8 + c] = 0; /* all scores are 0 */
            p.v[j * 8 + c] = (float)(j + 1);
        }
    }
    change(&p);
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        for (int64_t rows = 2; rows <= 6; rows += 4) { /* both kernels */
            p.seq_q = rows;
            outcome result;
            outcome_create(&result, &p);
            if (run_problem(&p, tiers[t], 1, &result, what)) {
                const double got = (double)result.out[8], got_lse = (double)result.lse[1];
                CHECK(isnan(out) ? isnan(got) : fabs(got - out) <= 1e-5 * fabs(out),
                    "%s, %s, %lld rows: out %g, not %g", what, gatun_tier_name(tiers[t]), (long long)rows, got, out);
                CHECK(isnan(lse)   ? isnan(got_lse)
                      : isinf(lse) ? got_lse == lse
                                   : fabs(got_lse - lse) <= 1e-5 + 1e-5 * fabs(lse),
                    "%s, %s, %lld rows: lse %g, not %g", what, gatun_tier_name(tiers[t]), (long long)rows, got_lse,
                    lse);
            }
            outcome_free(&result);
        }
    }
    problem_free(&p);
}

static float *numbers(int64_t count, float value) {
    float *to = test_allocate(count * (int64_t)sizeof *to);
    for (int64_t i = 0; i < count; i++) {
        to[i] = value;
    }
    return to;
}

/* Keys 2 and 3 are left, with NaN and infinities behind the mask. */
static void mask_two(problem *p) {
    p->mask = test_allocate(40);
    memset(p->mask, 0, 40);
    p->mask[2] = 1;
    p->mask[3] = 255;
    p->mask_stride[3] = 1;
    for (int64_t j = 0; j < 40; j++) {
        for (int64_t c = 0; c < 8 && j != 2 && j != 3; c++) {
            p->k[j * 8 + c] = j % 3 == 0 ? NAN : j % 3 == 1 ? INFINITY : 3e38f;
            p->v[j * 8 + c] = j % 2 == 0 ? NAN : -INFINITY;
        }
    }
}
static void mask_all(problem *p) {
    mask_two(p);
    memset(p->mask, 0, 40);
}
static void sink(problem *p, float value) {
    p->sinks = numbers(1, value);
}
static void mask_all_with_sink(problem *p) {
    mask_all(p);
    sink(p, 3);
}
static void mask_two_with_sink(problem *p) {
    mask_two(p);
    sink(p, 0);
}
static void sink_of_minus_inf(problem *p) {
    mask_two(p);
    sink(p, -INFINITY);
}
static void sink_of_inf(problem *p) {
    mask_two(p);
    sink(p, INFINITY);
}
static void sink_of_nan(problem *p) {
    mask_two(p);
    sink(p, NAN);
}
static void bias_two(problem *p, float others) {
    p->bias = numbers(40, others);
    p->bias[2] = p->bias[3] = 0;
    p->bias_stride[3] = 1;
}
static void bias_of_minus_inf(problem *p) {
    mask_two(p);
    bias_two(p, -INFINITY);
    free(p->mask);
    p->mask = NULL;
    p->mask_stride[3] = 0;
}
static void bias_of_inf(problem *p) {
    bias_two(p, INFINITY);
}
static void bias_of_nan(problem *p) {
    bias_two(p, NAN);
}
static void masked_bias_of_nan(problem *p) {
    mask_two(p);
    bias_two(p, NAN);
}
static void masked_bias_of_inf(problem *p) {
    mask_two(p);
    bias_two(p, INFINITY);
}
static void window(problem *p, int64_t left, int64_t right) {
    p->windowed = true;
    p->window_left = left;
    p->window_right = right;
    p->positions = test_allocate(6 * (int64_t)sizeof(int32_t));
}
static void window_of_one(problem *p) {
    window(p, 0, 0);
    for (int i = 0; i < 6; i++) {
        p->positions[i] = 7;
    }
}
static void window_beyond_the_end(problem *p) {
    window(p, 3, 3);
    for (int i = 0; i < 6; i++) {
        p->positions[i] = 41;
    }
}
static void window_far_beyond(problem *p) {
    window(p, 3, 3);
    for (int i = 0; i < 6; i++) {
        p->positions[i] = INT32_MAX;
    }
}
static void window_before_the_beginning(problem *p) {
    window(p, 3, 3);
    for (int i = 0; i < 6; i++) {
        p->positions[i] = INT32_MIN;
    }
}
static void segment_without_keys(problem *p) {
    p->segments_q = test_allocate(6 * (int64_t)sizeof(int32_t));
    p->segments_k = test_allocate(40 * (int64_t)sizeof(int32_t));
    for (int i = 0; i < 40; i++) {
        p->segments_q[i % 6] = 5;
        p->segments_k[i] = i;
    }
    p->segments_k[5] = 4;
}
static void capped_infinity(problem *p) {
    p->softcap = 2;
    for (int64_t i = 0; i < 6 * 8; i++) {
        p->q[i] = 1e30f;
    }
    for (int64_t c = 0; c < 8; c++) {
        p->k[2 * 8 + c] = 1e30f; /* its score is +inf, the others' 0 */
    }
}

static void corners(void) {
    const double two = log(2), cap = exp(2) + 39;
    corner("two keys", mask_two, two, 3.5);
    corner("no key", mask_all, -(double)INFINITY, 0);
    corner("no key, a sink", mask_all_with_sink, 3, 0);
    corner("two keys, a sink", mask_two_with_sink, log(3), 7.0 / 3);
    corner("a sink of -inf", sink_of_minus_inf, two, 3.5);
    corner("a sink of +inf", sink_of_inf, (double)NAN, (double)NAN);
    corner("a sink of NaN", sink_of_nan, (double)NAN, (double)NAN);
    corner("a bias of -inf", bias_of_minus_inf, two, 3.5);
    corner("a bias of +inf", bias_of_inf, (double)NAN, (double)NAN);
    corner("a bias of NaN", bias_of_nan, (double)NAN, (double)NAN);
    corner("a masked bias of NaN", masked_bias_of_nan, two, 3.5);
    corner("a masked bias of +inf", masked_bias_of_inf, two, 3.5);
    corner("a window of one key", window_of_one, 0, 8);
    corner("a window beyond the end", window_beyond_the_end, two, 39.5);
    corner("a window far beyond the end", window_far_beyond, -(double)INFINITY, 0);
    corner("a window before the beginning", window_before_the_beginning, -(double)INFINITY, 0);
    corner("a segment without keys", segment_without_keys, -(double)INFINITY, 0);
    corner("a capped score of +inf", capped_infinity, log(cap), (3 * exp(2) + 40 * 41 / 2 - 3) / cap);
}

/* Tiles of which global tokens leave all, some or nothing, to the left and to the right of a window. */
static void global_tokens(void) {
    static const int64_t most[] = {1, 20, 140, 290};
    for (int n = 0; n < (test_light() ? 6 : 48); n++) {
        bool wanted[FEATURES] = {false};
        wanted[WINDOW] = true;
        wanted[RANDOM_CAUSAL] = n % 3 == 0;
        rng random = rng_make(test_seed(), 900000 + (uint64_t)n);
        problem p = changed_problem(wanted, 250 + rng_below(&random, 60), 500 + rng_below(&random, 300), 8, &random);
        p.global_tokens = 1 + rng_below(&random, most[n % 4]);
        p.window_left = n % 5 == 0 ? -1 : rng_below(&random, 200);
        p.window_right = n % 7 == 0 ? -1 : rng_below(&random, 200);
        check(&p, "global tokens");
        problem_free(&p);
    }
}

const test_case changes_tests[] = {{"combinations", combinations}, {"long_keys", long_keys},
    {"global_tokens", global_tokens}, {"layouts", layouts}, {"refusals", refusals}, {"corners", corners}, {NULL, NULL}};
