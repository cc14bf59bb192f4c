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

/* Weights whose reciprocal is infinite, large ones and others: equal values come out as they are. */
static void divisors(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    static const float queries[] = {0x1p-73f, 0x1p-30f, 0.3f, 1, 7, -3, 0x1p30f, 0x1p40f};
    enum { ROWS = sizeof queries / sizeof *queries, COLUMNS = 21 };
    for (int t = 0; t < tier_count; t++)
        for (uint32_t flags = 0; flags <= CAUSAL; flags++)
            for (int32_t form = 1; form <= (flags == 0 ? 2 : 3); form++) {
                linear_shape s = plain(GATUN_FEATURES_NONE, ROWS, ROWS, 1, COLUMNS, 0);
                s.flags = flags;
                s.form = form;
                gatun_context *context = shared_context(tiers[t]);
                linear_case c = linear_create(&s, context, 31);
                for (int scale = -1; scale <= 1; scale++) {
                    for (int64_t j = 0; j < ROWS; j++) {
                        c.q[j] = queries[j];
                        c.k[j] = scale < 0 ? 0x1p-60f : scale > 0 ? 0x1p60f : 0.7f;
                        for (int64_t v = 0; v < COLUMNS; v++)
                            c.v[j * COLUMNS + v] = 1e5f * (float)(v + 1) / 3;
                    }
                    CHECK_STATUS(linear_run(&c, context), GATUN_OK);
                    for (int64_t i = 0; i < ROWS; i++)
                        for (int64_t v = 0; v < COLUMNS; v++) {
                            const float got = c.out[i * COLUMNS + v], want = c.v[v];
                            CHECK(fabsf(got - want) <= 3e-7f * want,
                                "%s, scale %d: out[%lld][%lld] is %.9g, expected %.9g", describe(&s, tiers[t]), scale,
                                (long long)i, (long long)v, (double)got, (double)want);
                        }
                }
                linear_destroy(&c);
            }
}

/* ---- refused ---- */

/* A status, and nothing written. */
static void check_refused(linear_case *c, int32_t wanted, const char *what) {
    memset(c->out, 0xa5, (size_t)c->out_memory.bytes);
    const int32_t status = linear_run(c, shared_context(GATUN_TIER_PORTABLE));
    CHECK(status == wanted, "%s: expected \"%s\", got \"%s\"", what, gatun_status_string(wanted),
        gatun_status_string(status));
    for (int64_t i = 0; i < c->out_memory.bytes; i++)
        REQUIRE(((const uint8_t *)c->out)[i] == 0xa5, "%s: out was written", what);
}

static linear_case valid_case(uint32_t flags) {
    linear_shape s = plain(GATUN_FEATURES_POSITIVE_RANDOM, 6, 6, 8, 8, 10);
    s.batch = 2;
    s.heads = s.query_heads = s.key_heads = s.value_heads = 4;
    s.flags = flags;
    return linear_create(&s, shared_context(GATUN_TIER_PORTABLE), 29);
}

/* Every member of the descriptor, and the message names it. */
static void refused_members(void) {
    linear_case c = valid_case(CAUSAL | SCALE);
    const gatun_linear_attention_desc valid = c.desc;
    gatun_linear_attention_desc *d = &c.desc;
#define REFUSED(member, value, status)                                                                                 \
    do {                                                                                                               \
        d->member = value;                                                                                             \
        check_refused(&c, status, #member " = " #value);                                                               \
        char message[256] = "", name[] = #member;                                                                      \
        name[strcspn(name, "[")] = '\0';                                                                               \
        CHECK_STATUS(gatun_linear_attention_check(NULL, d, message, sizeof message), status);                          \
        CHECK(strstr(message, name) != NULL, "%s is not in the message: %s", name, message);                           \
        c.desc = valid;                                                                                                \
    } while (0)
    REFUSED(struct_size, 8, GATUN_E_VERSION);
    REFUSED(flags, 16, GATUN_E_INVALID);
    REFUSED(feature_map, -1, GATUN_E_INVALID);
    REFUSED(feature_map, 3, GATUN_E_INVALID);
    REFUSED(form, -1, GATUN_E_INVALID);
    REFUSED(form, 4, GATUN_E_INVALID);
    REFUSED(max_threads, -1, GATUN_E_INVALID);
    REFUSED(scale, 0, GATUN_E_INVALID);
    REFUSED(scale, -1, GATUN_E_INVALID);
    REFUSED(scale, NAN, GATUN_E_INVALID);
    REFUSED(batch, -1, GATUN_E_INVALID);
    REFUSED(heads, 0, GATUN_E_INVALID);
    REFUSED(query_heads, 3, GATUN_E_INVALID);
    REFUSED(key_heads, 0, GATUN_E_INVALID);
    REFUSED(value_heads, 8, GATUN_E_INVALID);
    REFUSED(seq_q, -1, GATUN_E_INVALID);
    REFUSED(seq_k, 5, GATUN_E_INVALID);
    REFUSED(head_dim, 0, GATUN_E_INVALID);
    REFUSED(head_dim, GATUN_MAX_HEAD_DIM + 1, GATUN_E_INVALID);
    REFUSED(head_dim_v, 0, GATUN_E_INVALID);
    REFUSED(features, 0, GATUN_E_INVALID);
    REFUSED(features, GATUN_MAX_FEATURES + 1, GATUN_E_INVALID);
    REFUSED(q_stride[1], -1, GATUN_E_INVALID);
    REFUSED(k_stride[0], (int64_t)1 << 60, GATUN_E_INVALID);
    REFUSED(v_stride[2], -1, GATUN_E_INVALID);
    REFUSED(decay_stride[0], -1, GATUN_E_INVALID);
    REFUSED(out_stride[2], 4, GATUN_E_OVERLAP);
    REFUSED(reserved[7], 1, GATUN_E_VERSION);
    d->flags = CAUSAL;
    check_refused(&c, GATUN_E_INVALID, "scale without its flag");
    c.desc = valid;
    d->flags = SCALE;
    d->form = GATUN_LINEAR_FORM_RECURRENT;
    check_refused(&c, GATUN_E_INVALID, "recurrent without causality");
    c.desc = valid;
    d->flags |= RAGGED;
    check_refused(&c, GATUN_E_INVALID, "batch strides of ragged sequences");
#undef REFUSED
    linear_destroy(&c);
}

/* Arguments that are missing, too many, off their alignment, too small, or shared. */
static void refused_arguments(void) {
    linear_case c = valid_case(CAUSAL);
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    float decay[2 * 6 * 4] = {0}, state[1] = {0};
    const int32_t offsets[3] = {0, 3, 6};
    char *workspace = c.workspace;
#define RUN(size, q, k, v, projection, decays, sums, cu_q, cu_k, lengths, out)                                         \
    gatun_linear_attention(                                                                                            \
        context, &c.desc, workspace, size, q, k, v, projection, decays, sums, cu_q, cu_k, lengths, out)
    const int64_t size = c.workspace_bytes;
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_OK);
    CHECK_STATUS(RUN(size - 1, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_WORKSPACE);
    CHECK_STATUS(RUN(size, NULL, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_NULL);
    CHECK_STATUS(RUN(size, c.q, NULL, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_NULL);
    CHECK_STATUS(RUN(size, c.q, c.k, NULL, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_NULL);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, NULL, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_NULL);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, NULL), GATUN_E_NULL);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, offsets, NULL, NULL, c.out), GATUN_E_INVALID);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, offsets, NULL, c.out), GATUN_E_INVALID);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, offsets, c.out), GATUN_E_INVALID);
    CHECK_STATUS(
        RUN(size, (float *)(void *)((char *)c.q + 2), c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out),
        GATUN_E_ALIGNMENT);
    workspace++;
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_ALIGNMENT);
    workspace--;
    decay[47] = 0.001f; /* the last one */
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, decay, NULL, NULL, NULL, NULL, c.out), GATUN_E_INVALID);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.q), GATUN_E_OVERLAP);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.k), GATUN_E_OVERLAP);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.v), GATUN_E_OVERLAP);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, c.out, NULL, NULL, NULL, c.out), GATUN_E_OVERLAP);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, c.projection, NULL, NULL, NULL, c.out), GATUN_E_OVERLAP);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.out, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_OVERLAP);
    c.desc.form = GATUN_LINEAR_FORM_PARALLEL;
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, state, NULL, NULL, NULL, c.out), GATUN_E_INVALID);
    c.desc.form = GATUN_LINEAR_FORM_AUTO;
    c.desc.flags = 0;
    c.desc.max_threads = 1; /* needs less */
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, state, NULL, NULL, NULL, c.out), GATUN_E_INVALID);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, decay, NULL, NULL, NULL, NULL, c.out), GATUN_E_INVALID);
    const int32_t lengths[2] = {6, 7};
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, lengths, c.out), GATUN_E_LENGTH);
    c.desc.flags = CAUSAL | RAGGED;
    c.desc.q_stride[0] = c.desc.k_stride[0] = c.desc.v_stride[0] = c.desc.out_stride[0] = c.desc.decay_stride[0] = 0;
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, NULL, NULL, NULL, c.out), GATUN_E_NULL);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, offsets, NULL, NULL, c.out), GATUN_OK);
    const int32_t falling[3] = {0, 3, 2}, negative[3] = {-1, 3, 6}, far[3] = {0, 7, 7};
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, falling, NULL, NULL, c.out), GATUN_E_INDEX);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, negative, NULL, NULL, c.out), GATUN_E_INDEX);
    CHECK_STATUS(RUN(size, c.q, c.k, c.v, c.projection, NULL, NULL, far, NULL, NULL, c.out), GATUN_E_LENGTH);
#undef RUN
    linear_destroy(&c);
}

const test_case linear_attention_tests[] = {{"shapes", shapes}, {"models", models}, {"forms", forms}, {"steps", steps},
    {"later", later}, {"padding", padding}, {"long_sums", long_sums}, {"large", large}, {"divisors", divisors},
    {"refused_members", refused_members}, {"refused_arguments", refused_arguments}, {NULL, NULL}};
