/* Scores and queries near the end of the range of float: no finite score is lost, and none is taken for a mask. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "placement.h"
#include "suites.h"

enum { DIM = 32, MOST_KEYS = 5000 };

typedef struct extreme {
    float query, scale;
    float first, step; /* key j: first + j * step, in the first dimension; the others are 0 */
} extreme;

static const extreme extremes[] = {
    /* a query whose product with scale * log2(e) is no float, and scores of any size and sign */
    {3e38f, 1, -1e-38f, -1e-38f},
    {3e38f, 1, 1e-38f, 1e-38f},
    {-3e38f, 1, 2e-38f, 1e-39f},
    {3e38f, 1, -1e-10f, -1e-12f},
    {3e38f, 1, 0, 0},
    {1e30f, 1e30f, -1e-37f, -1e-37f},
    {1e30f, -1e30f, -1e-37f, -1e-37f},
    {2e38f, 3e38f, -1e-37f, 0},
    /* scores on both sides of FLT_MAX / log2(e) = 2.3587e38 */
    {1e38f, 1, -2.35f, 0},
    {1e38f, 1, -2.36f, 0},
    {1e38f, 1, -2.36f, -0.01f},
    {1e38f, 1, 2.36f, 0.0001f},
    {1e38f, 0.1f, -33, -0.1f},
    {3e38f, 1, -1, -1},
    /* and beyond any float */
    {2e38f, 1, -3e38f, 0},
    {2e38f, 1, 3e38f, 0},
};

/* bias: of every key, by the table or, as_map, key by key; sink: of every head. NULL: none. */
static void check_extreme(
    const extreme *e, int64_t rows, int64_t keys, int64_t heads, const float *bias, bool as_map, const float *sink) {
    problem p = new_problem(1, heads, heads, rows, keys, DIM, GATUN_CAUSAL_NONE);
    p.scaled = true;
    p.scale = e->scale;
    static double score[MOST_KEYS];
    double most = -(double)INFINITY, sum = 0, want = 0;
    for (int64_t i = 0; i < rows * heads * DIM; i++) {
        p.q[i] = i % DIM == 0 ? e->query : 0;
    }
    for (int64_t j = 0; j < keys; j++) {
        const float key = e->first + (float)j * e->step;
        for (int64_t i = 0; i < heads * DIM; i++) {
            p.k[j * heads * DIM + i] = i % DIM == 0 ? key : 0;
            p.v[j * heads * DIM + i] = (float)(j % 7);
        }
        score[j] = (double)e->query * (double)key * (double)e->scale + (bias == NULL ? 0 : (double)*bias);
        most = fmax(most, score[j]);
    }
    if (sink != NULL) {
        most = fmax(most, (double)*sink);
        sum = exp((double)*sink - most);
    }
    for (int64_t j = 0; j < keys; j++) {
        sum += exp(score[j] - most);
        want += exp(score[j] - most) * (double)(j % 7);
    }
    want /= sum;
    const float lse = (float)(most + log(sum));
    gatun_attention_desc desc = default_desc(&p);
    float *table = test_allocate(heads * (int64_t)sizeof(float));
    for (int64_t h = 0; bias != NULL && h < heads; h++) {
        table[h] = *bias;
    }
    float sinks[4] = {0};
    for (int64_t h = 0; sink != NULL && h < heads; h++) {
        sinks[h] = *sink;
    }
    desc.flags |= sink != NULL ? GATUN_ATTENTION_SINKS : 0;
    desc.flags |= bias == NULL ? 0 : as_map ? GATUN_ATTENTION_MASKED : GATUN_ATTENTION_BIASED;
    desc.bias_dtype = bias != NULL && as_map ? GATUN_DTYPE_F32 : 0;
    outcome got;
    outcome_create(&got, &p);
    int32_t tiers[MAX_TIERS];
    int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        gatun_context *context = shared_context(tiers[t]);
        int64_t bytes;
        void *workspace = new_workspace(context, &desc, &bytes);
        CHECK_STATUS(
            gatun_attention_forward_extended(context, &desc, workspace, bytes, p.q, p.k, p.v, NULL, NULL, got.out,
                got.lse, NULL, NULL, NULL, NULL, NULL, as_map ? bias : NULL, NULL, sink == NULL ? NULL : sinks, NULL,
                NULL, NULL, bias == NULL || as_map ? NULL : table, NULL, NULL, NULL),
            GATUN_OK);
        for (int64_t i = 0; i < rows * heads * DIM; i++) {
            if (!(fabs((double)got.out[i] - want) <= 1e-4)) {
                test_fail(__FILE__, __LINE__, "%s, %lld rows, %lld keys, query %g, scale %g, keys %g: %g, not %g",
                    gatun_tier_name(tiers[t]), (long long)rows, (long long)keys, (double)e->query, (double)e->scale,
                    (double)e->first, (double)got.out[i], want);
                break;
            }
        }
        for (int64_t i = 0; i < rows * heads; i++) {
            const float allowed = reference_of_bf16 ? 0.008f : 1e-5f;
            if (!(got.lse[i] == lse || fabsf(got.lse[i] - lse) <= 1e-5f + allowed * fabsf(lse))) {
                test_fail(__FILE__, __LINE__, "%s, %lld rows, %lld keys, query %g, scale %g, keys %g: lse %g, not %g",
                    gatun_tier_name(tiers[t]), (long long)rows, (long long)keys, (double)e->query, (double)e->scale,
                    (double)e->first, (double)got.lse[i], (double)lse);
                break;
            }
        }
        free(workspace);
    }
    free(table);
    outcome_free(&got);
    problem_free(&p);
}

/* The decode, tiny and general kernels; keys in several splits. */
static const int64_t shapes[][3] = {
    {1, 5, 1}, {3, 300, 2}, {1, MOST_KEYS, 1}, {16, 16, 3}, {9, 11, 2}, {40, 150, 2}, {17, 2500, 1}};

static void scores(void) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t e = 0; e < sizeof extremes / sizeof *extremes; e++) {
            check_extreme(&extremes[e], shapes[s][0], shapes[s][1], shapes[s][2], NULL, false, NULL);
        }
    }
}

/* A bias that others use for a mask is a finite number: where all keys have it, it changes nothing. */
static void biases(void) {
    static const extreme ordinary = {1, 1, 1, 0.001f};
    static const float large[] = {-FLT_MAX, -2.4e38f, 2.4e38f};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t n = 0; n < sizeof large / sizeof *large; n++) {
            extreme same = ordinary;
            same.step = 0; /* such biases swallow differences of scores in double as well */
            check_extreme(&same, shapes[s][0], shapes[s][1], shapes[s][2], &large[n], false, NULL);
            check_extreme(&same, shapes[s][0], shapes[s][1], shapes[s][2], &large[n], true, NULL);
        }
    }
}

/* With a sink, which is a score as any. */
static void sinks(void) {
    static const float values[] = {0, -3, 100, -1e30f, 1e30f};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t e = 0; e < sizeof extremes / sizeof *extremes; e++) {
            for (size_t n = 0; n < sizeof values / sizeof *values; n++) {
                if (!test_light() || (s + e + n) % 7 == 0) {
                    check_extreme(&extremes[e], shapes[s][0], shapes[s][1], shapes[s][2], NULL, false, &values[n]);
                }
            }
        }
    }
}

/* Other rows of the block keep their bits. */
static void neighbors(void) {
    problem p = new_problem(1, 2, 1, 40, 200, DIM, GATUN_CAUSAL_BOTTOM_RIGHT);
    p.scaled = true;
    p.scale = 1;
    outcome before, after;
    outcome_create(&before, &p);
    outcome_create(&after, &p);
    int32_t tiers[MAX_TIERS];
    int count = test_tiers(tiers);
    const int64_t row = 2 * DIM;
    float *spoilt = p.q + 7 * row;
    for (int t = 0; t < count; t++) {
        float kept[2 * DIM];
        run_problem(&p, tiers[t], 1, &before, "before");
        for (int64_t i = 0; i < row; i++) {
            kept[i] = spoilt[i];
            spoilt[i] = 3e38f;
        }
        run_problem(&p, tiers[t], 1, &after, "with a query that overflows");
        for (int64_t i = 0; i < row; i++) {
            spoilt[i] = kept[i];
        }
        CHECK(
            same_bits(before.out, after.out, 7 * row) && same_bits(before.out + 8 * row, after.out + 8 * row, 32 * row),
            "%s: other rows have other bits", gatun_tier_name(tiers[t]));
    }
    outcome_free(&before);
    outcome_free(&after);
    problem_free(&p);
}

/* Infinite keys are no overflow: -inf masks. */
static void infinite_keys(void) {
    for (int64_t rows = 1; rows <= 17; rows += 16) {
        problem p = new_problem(1, 1, 1, rows, 40, DIM, GATUN_CAUSAL_NONE);
        for (int64_t i = 0; i < rows * DIM; i++) {
            p.q[i] = 1;
        }
        for (int64_t j = 0; j < 40; j++) {
            p.k[j * DIM + 3] = -INFINITY;
        }
        outcome got;
        outcome_create(&got, &p);
        int32_t tiers[MAX_TIERS];
        int count = test_tiers(tiers);
        for (int t = 0; t < count; t++) {
            run_problem(&p, tiers[t], 1, &got, "keys of -inf");
            CHECK(got.out[0] == 0 && got.lse[0] == -INFINITY, "%s: %g, lse %g", gatun_tier_name(tiers[t]),
                (double)got.out[0], (double)got.lse[0]);
        }
        outcome_free(&got);
        problem_free(&p);
    }
}

const test_case wide_tests[] = {
    {"scores", scores},
    {"biases", biases},
    {"sinks", sinks},
    {"neighbors", neighbors},
    {"infinite_keys", infinite_keys},
    {NULL, NULL},
};
