/*
 * gatun_linear_attention against its definition in double, on every tier, in guarded memory: feature maps, forms, decays, states,
 * groups, ragged rows, lengths; bits; what rows do not see; long sums; what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linear_case.h"
#include "suites.h"

/* Of max|expected|: the bar of all forms. Measured: 3e-6 at most, of random features, whose exponents are products in float32. */
#define BOUND 1e-5

enum {
    CAUSAL = GATUN_LINEAR_ATTENTION_CAUSAL,
    UNNORMALIZED = GATUN_LINEAR_ATTENTION_UNNORMALIZED,
    RAGGED = GATUN_LINEAR_ATTENTION_RAGGED,
    SCALE = GATUN_LINEAR_ATTENTION_SCALE
};

static const char *describe(const linear_shape *s, int32_t tier) {
    static char text[240];
    snprintf(text, sizeof text,
        "%s, map %d, form %d, flags %u, batch %lld, heads %lld (%lld, %lld, %lld), %lld rows, %lld keys of %lld, %lld, "
        "features "
        "%lld%s%s%s",
        gatun_tier_name(tier), (int)s->map, (int)s->form, (unsigned)s->flags, (long long)s->batch, (long long)s->heads,
        (long long)s->query_heads, (long long)s->key_heads, (long long)s->value_heads, (long long)s->rows,
        (long long)s->keys, (long long)s->head_dim, (long long)s->head_dim_v, (long long)s->features,
        s->decays ? ", decays" : "", s->state ? ", state" : "", s->lengths ? ", lengths" : "");
    return text;
}

/* Right, and the same bits with any number of threads. */
static void check_shape(const linear_shape *s, int32_t tier, uint64_t number) {
    const char *what = describe(s, tier);
    test_note("%s", what);
    gatun_context *context = shared_context(tier);
    linear_case c = linear_create(s, context, number);
    const int64_t bytes = c.out_memory.bytes;
    float *first = test_allocate(bytes);
    static const int32_t threads[] = {1, 0, 2};
    for (int n = 0; n < (test_light() ? 2 : 3); n++) {
        c.desc.max_threads = threads[n];
        memset(c.workspace, 0xff, (size_t)c.workspace_bytes); /* NaN */
        if (c.state != NULL)
            memset(c.state, 0, (size_t)c.state_memory.bytes);
        CHECK_STATUS(linear_run(&c, context), GATUN_OK);
        if (n == 0) {
            memcpy(first, c.out, (size_t)bytes);
            linear_check(&c, BOUND, what);
        } else {
            CHECK(memcmp(first, c.out, (size_t)bytes) == 0, "%s: other bits with %d threads", what, (int)threads[n]);
        }
    }
    free(first);
    linear_destroy(&c);
    test_note("%s", "");
}

static linear_shape plain(
    int32_t map, int64_t rows, int64_t keys, int64_t head_dim, int64_t head_dim_v, int64_t features) {
    return (linear_shape){.batch = 1,
        .heads = 1,
        .query_heads = 1,
        .key_heads = 1,
        .value_heads = 1,
        .rows = rows,
        .keys = keys,
        .head_dim = head_dim,
        .head_dim_v = head_dim_v,
        .features = map == GATUN_FEATURES_POSITIVE_RANDOM ? features : head_dim,
        .map = map};
}

/* Every map, form and flag with shapes drawn: tails of vectors, chunks, tiles, panels. */
static void shapes(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    uint64_t number = 0;
    for (int t = 0; t < tier_count; t++) {
        for (int n = 0; n < (test_light() ? 36 : 360); n++, number++) {
            if (!test_wants_case((int64_t)number))
                continue;
            rng random = rng_make(test_seed(), 1000 + number);
            const int32_t map = n % 3;
            const bool causal = n / 3 % 2 == 1;
            const int64_t lengths[] = {1, 2, 7, 63, 64, 65, 129, 200};
            const int64_t rows = lengths[rng_below(&random, test_light() ? 6 : 8)];
            linear_shape s = plain(map, rows, causal ? rows : lengths[rng_below(&random, test_light() ? 6 : 8)],
                rng_between(&random, 1, 40), rng_between(&random, 1, 40), rng_between(&random, 1, 90));
            const int64_t groups[][4] = {{1, 1, 1, 1}, {2, 2, 1, 1}, {4, 1, 1, 4}, {6, 6, 3, 2}};
            const int64_t *g = groups[rng_below(&random, 4)];
            s.heads = g[0], s.query_heads = g[1], s.key_heads = g[2], s.value_heads = g[3];
            s.batch = rng_between(&random, 1, 3);
            s.form = causal ? n / 6 % 4 : n / 6 % 3;
            s.flags = (causal ? CAUSAL : 0) | (rng_below(&random, 3) == 0 ? UNNORMALIZED : 0) |
                      (rng_below(&random, 3) == 0 ? RAGGED : 0) |
                      (map == GATUN_FEATURES_POSITIVE_RANDOM && rng_below(&random, 2) == 0 ? SCALE : 0);
            s.lengths = !causal && (s.flags & RAGGED) == 0 && rng_below(&random, 2) == 0;
            s.decays = causal && rng_below(&random, 2) == 0;
            s.state = causal && s.form != GATUN_LINEAR_FORM_PARALLEL && rng_below(&random, 2) == 0;
            s.heads_first = rng_below(&random, 2) == 0;
            s.end = rng_below(&random, 5) == 0 ? GUARD_BEFORE : GUARD_AFTER;
            check_shape(&s, tiers[t], number);
        }
    }
}

/* Sizes of models, and of few heads that several threads share. */
static void models(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        linear_shape s =
            plain(GATUN_FEATURES_POSITIVE_RANDOM, test_light() ? 70 : 300, test_light() ? 70 : 300, 64, 64, 256);
        for (s.flags = 0; s.flags <= CAUSAL; s.flags++)
            check_shape(&s, tiers[t], 1);
        s = plain(GATUN_FEATURES_NONE, 130, 130, 128, 64, 0); /* Mamba-2: states of 128, heads of 64 in groups */
        s.heads = s.value_heads = test_light() ? 2 : 8;
        s.flags = CAUSAL | UNNORMALIZED;
        s.decays = s.state = true;
        check_shape(&s, tiers[t], 2);
        s = plain(GATUN_FEATURES_POSITIVE_RANDOM, 65, 65, 24, 40, 300); /* chains over features */
        for (s.form = 1; s.form <= 2; s.form++)
            check_shape(&s, tiers[t], 3);
        s.flags = CAUSAL;
        for (s.form = 1; s.form <= 3; s.form++)
            check_shape(&s, tiers[t], 4);
    }
}

/* The three forms of one call agree. */
static void forms(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++)
        for (int32_t map = 0; map <= GATUN_FEATURES_POSITIVE_RANDOM; map++)
            for (int decays = 0; decays < 2; decays++) {
                linear_shape s = plain(map, test_light() ? 131 : 500, test_light() ? 131 : 500, 32, 32, 128);
                s.flags = CAUSAL;
                s.decays = decays;
                float *first = NULL;
                double largest = 0, most = 0;
                for (s.form = 1; s.form <= 3; s.form++) {
                    linear_case c = linear_create(&s, shared_context(tiers[t]), 7);
                    CHECK_STATUS(linear_run(&c, shared_context(tiers[t])), GATUN_OK);
                    const int64_t count = c.out_memory.bytes / 4;
                    if (first == NULL) {
                        first = test_allocate(count * 4);
                        memcpy(first, c.out, (size_t)count * 4);
                    }
                    for (int64_t i = 0; i < count; i++) {
                        const double off = fabs((double)c.out[i] - (double)first[i]);
                        largest = fmax(largest, fabs((double)first[i]));
                        most = off <= most ? most : off;
                    }
                    linear_destroy(&c);
                }
                CHECK(
                    most <= BOUND * largest, "%s: forms differ by %.3g of %.3g", describe(&s, tiers[t]), most, largest);
                free(first);
            }
}

/* Calls of any numbers of rows, single ones included, go on from each other. */
static void steps(void) {
    static const int64_t pieces[] = {1, 1, 3, 64, 1, 65, 2, 1, 1, 30};
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++)
        for (int32_t map = 0; map <= GATUN_FEATURES_POSITIVE_RANDOM; map++)
            for (int32_t form = 0; form <= 3; form += form == 0 ? 2 : 1) {
                linear_shape s = plain(map, 169, 169, 20, 21, 50);
                s.batch = 2, s.heads = s.value_heads = 2, s.query_heads = s.key_heads = 1;
                s.flags = CAUSAL | (form == 3 ? UNNORMALIZED : 0);
                s.form = form;
                s.state = true;
                s.decays = form != 2;
                linear_case c = linear_create(&s, shared_context(tiers[t]), 11);
                int64_t row = 0;
                for (int n = 0; n < 10; row += pieces[n++])
                    CHECK_STATUS(linear_run_rows(&c, shared_context(tiers[t]), row, pieces[n]), GATUN_OK);
                CHECK(row == s.rows, "pieces have %lld rows", (long long)row);
                linear_check(&c, BOUND, describe(&s, tiers[t]));
                linear_destroy(&c);
            }
}

/* ---- what rows do not see ---- */

static void poison(float *x, int64_t count, int n) {
    for (int64_t i = 0; i < count; i++)
        x[i] = n == 0 ? NAN : n == 1 ? INFINITY : -INFINITY;
}

/* Later keys, values, queries and decays change no bit of a row, nor does a key with exponents far above those before. */
static void later(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++)
        for (int32_t map = 0; map <= GATUN_FEATURES_POSITIVE_RANDOM; map++)
            for (int32_t form = 1; form <= 3; form++)
                for (int n = 0; n < 4; n++) {
                    linear_shape s = plain(map, 140, 140, 17, 19, 33);
                    s.flags = CAUSAL;
                    s.form = form;
                    s.decays = n == 1;
                    gatun_context *context = shared_context(tiers[t]);
                    linear_case c = linear_create(&s, context, 13);
                    CHECK_STATUS(linear_run(&c, context), GATUN_OK);
                    float *before = test_allocate(c.out_memory.bytes);
                    memcpy(before, c.out, (size_t)c.out_memory.bytes);
                    const int64_t first = test_light() ? 77 : 65 + 3 * form;
                    if (n == 3) { /* along a row of the projection: exp(hundreds) */
                        for (int64_t d = 0; d < 17; d++)
                            linear_k(&c, 0, first, 0)[d] = map == 2 ? 30 * c.projection[d] : 1e6f;
                    } else {
                        poison(linear_k(&c, 0, first, 0), 17, n);
                        poison(linear_v(&c, 0, first + 1, 0), 19, n);
                        poison(linear_q(&c, 0, first + 2, 0), 17, n);
                        if (s.decays)
                            c.log_decay[first + 3] = NAN;
                    }
                    CHECK_STATUS(linear_run(&c, context), GATUN_OK);
                    CHECK(memcmp(before, c.out, (size_t)(first * 19) * 4) == 0, "%s, poison %d: rows changed",
                        describe(&s, tiers[t]), n);
                    if (n == 0)
                        CHECK(isnan(linear_out(&c, 0, first, 0)[0]) && isnan(linear_out(&c, 0, 139, 0)[18]),
                            "%s: a NaN that is seen is lost", describe(&s, tiers[t]));
                    if (n == 3 && map == 2)
                        linear_check(&c, 1e-3, describe(&s, tiers[t]));
                    free(before);
                    linear_destroy(&c);
                }
}

/* Keys past the length, rows between sequences and another column's values reach nobody. */
static void padding(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++)
        for (int32_t map = 0; map <= GATUN_FEATURES_POSITIVE_RANDOM; map++)
            for (int ragged = 0; ragged < 2; ragged++) {
                linear_shape s = plain(map, 9, 70, 17, 19, 33);
                s.batch = 3;
                s.lengths = !ragged;
                s.flags = ragged ? RAGGED : 0;
                gatun_context *context = shared_context(tiers[t]);
                linear_case c = linear_create(&s, context, 17);
                if (ragged) {
                    poison(c.k, c.cu_k[0] * 17, 0);
                    poison(c.v, c.cu_k[0] * 19, 0);
                    poison(c.q, c.cu_q[0] * 17, 0);
                } else {
                    poison(linear_k(&c, 2, c.lengths[2], 0), (70 - c.lengths[2]) * 17, 0);
                    poison(linear_v(&c, 2, c.lengths[2], 0), (70 - c.lengths[2]) * 19, 0);
                    poison(linear_k(&c, 1, 0, 0), 70 * 17, 0);
                }
                CHECK_STATUS(linear_run(&c, context), GATUN_OK);
                linear_check(&c, BOUND, describe(&s, tiers[t]));
                if (!ragged)
                    CHECK(linear_out(&c, 1, 3, 0)[4] == 0, "a row without keys: expected 0, got %g",
                        (double)linear_out(&c, 1, 3, 0)[4]);
                linear_v(&c, 0, 5, 0)[6] = NAN;
                CHECK_STATUS(linear_run(&c, context), GATUN_OK);
                for (int v = 0; v < 19; v++)
                    CHECK(isnan(linear_out(&c, 0, 0, 0)[v]) == (v == 6), "a NaN in column 6 is in %d", v);
                linear_destroy(&c);
            }
}

/* ---- numbers ---- */

/* The bias of a long float sum would show in the fourth digit; one chain of 128 is off by 1.0e-6 here, and no sum of chains by more. */
static void long_sums(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    const int64_t n = test_light() ? 6000 : 65536;
    for (int t = 0; t < tier_count; t++)
        for (int form = 0; form < 3; form++) {
            linear_shape s = plain(GATUN_FEATURES_NONE, form == 0 ? 3 : n, n, 2, 1, 0);
            s.flags = UNNORMALIZED | (form == 0 ? 0 : CAUSAL);
            s.form = form == 2 ? GATUN_LINEAR_FORM_RECURRENT : GATUN_LINEAR_FORM_AUTO;
            gatun_context *context = shared_context(tiers[t]);
            linear_case c = linear_create(&s, context, 19);
            for (int64_t j = 0; j < n; j++) {
                c.k[2 * j] = 0.1f;
                c.k[2 * j + 1] = 0;
                c.v[j] = 1;
            }
            for (int64_t i = 0; i < s.rows; i++)
                c.q[2 * i] = c.q[2 * i + 1] = 1;
            CHECK_STATUS(linear_run(&c, context), GATUN_OK);
            const double want = (double)0.1f * (double)n, got = (double)c.out[s.rows - 1];
            CHECK(fabs(got - want) <= 2e-6 * want, "%s: the sum of %lld times 0.1 is %.9g, expected %.9g",
                describe(&s, tiers[t]), (long long)n, got, want);
            linear_destroy(&c);
        }
}

/* Queries and keys of norms with which exp(w . x') has hundreds of digits. */
static void large(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++)
        for (uint32_t flags = 0; flags <= CAUSAL; flags++)
            for (int32_t form = 1; form <= (flags == 0 ? 2 : 3); form++) {
                linear_shape s = plain(GATUN_FEATURES_POSITIVE_RANDOM, 70, 70, 16, 8, 48);
                s.flags = flags;
                s.form = form;
                s.spread = 6; /* |x'|^2 about 144 */
                gatun_context *context = shared_context(tiers[t]);
                linear_case c = linear_create(&s, context, 23);
                CHECK_STATUS(linear_run(&c, context), GATUN_OK);
                linear_check(&c, 1e-4, describe(&s, tiers[t])); /* exponents of 200 have steps of 2^-16 */
                linear_destroy(&c);
            }
}

const test_case linear_attention_tests[] = {{"shapes", shapes}, {"models", models}, {"forms", forms}, {"steps", steps},
    {"later", later}, {"padding", padding}, {"long_sums", long_sums}, {"large", large}, {NULL, NULL}};
