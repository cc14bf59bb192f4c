/* gatun_embedding and gatun_pool against loops in double, on every tier, with rows that end at a page that may not be
 * touched. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "suites.h"

/* ---- embedding ---- */

typedef struct any_table {
    matrix floats;
    guarded numbers; /* uint8_t [entries][dim], where it is quantized */
    bool quantized;
    float scale;
    int32_t zero;
} any_table;

static any_table new_table(int64_t entries, int64_t dim, bool quantized, rng *random) {
    static const int32_t zeros[] = {128, 0, 255, 119};
    any_table t = {.floats = matrix_random("table", entries, dim, 0, GUARD_AFTER, 0, random), .quantized = quantized};
    guarded_create(&t.numbers, "numbers", entries * dim, 0, GUARD_AFTER);
    for (int64_t i = 0; i < entries * dim; i++) {
        t.numbers.data[i] = (uint8_t)rng_below(random, 256);
    }
    t.numbers.data[0] = 0;
    t.numbers.data[entries * dim - 1] = 255;
    if (quantized) {
        t.scale = 0.001f + 0.01f * (float)rng_below(random, 100);
        t.zero = zeros[rng_below(random, 4)];
    }
    guarded_protect(&t.floats.memory, true);
    guarded_protect(&t.numbers, true);
    return t;
}

static void free_table(any_table *t) {
    guarded_destroy(&t->floats.memory);
    guarded_destroy(&t->numbers);
}

static const void *table_data(const any_table *t) {
    return t->quantized ? (const void *)t->numbers.data : t->floats.data;
}

/* A number of a quantized table in double, where it is exact, rounded once. */
static float table_at(const any_table *t, int64_t row, int64_t i) {
    if (!t->quantized) {
        return *at(&t->floats, row, i);
    }
    const int number = t->numbers.data[row * t->floats.dim + i];
    return (float)((double)(number - t->zero) * (double)t->scale);
}

/* quantized: a bit for each table. */
static void check_embedding(int32_t tier, int64_t rows, int64_t dim, int64_t gap, int tables, unsigned with_ids,
    float scale, unsigned quantized) {
    enum { MOST_ENTRIES = 9 };
    char what[128];
    snprintf(what, sizeof what, "%lld x %lld, gap %lld, %d tables, ids %u, scale %g, quantized %u, %s", (long long)rows,
        (long long)dim, (long long)gap, tables, with_ids, (double)scale, quantized, gatun_tier_name(tier));
    test_note("%s", what);
    rng random = rng_make(test_seed(), (uint64_t)(rows * 1009 + dim));
    gatun_embedding_desc desc = embedding_desc(rows, dim);
    desc.out_row = dim + gap;
    desc.scale = scale;
    any_table all[3];
    guarded ids[3];
    const void *tables_given[3] = {NULL};
    const int32_t *ids_given[3] = {NULL};
    for (int t = 0; t < 3; t++) {
        int64_t entries = MOST_ENTRIES - 2 * t;
        all[t] = new_table(entries, dim, (quantized >> t & 1) != 0, &random);
        guarded_create(&ids[t], "ids", rows * (int64_t)sizeof(int32_t), 0, GUARD_AFTER);
        for (int64_t r = 0; r < rows; r++) {
            /* the first and the last entry of each */
            int64_t id = r == 0 ? entries - 1 : r == 1 ? 0 : rng_below(&random, entries);
            ((int32_t *)(void *)ids[t].data)[r] = (int32_t)id;
        }
        guarded_protect(&ids[t], true);
        if (t < tables) {
            desc.table_rows[t] = entries;
            desc.table_dtype[t] = all[t].quantized ? GATUN_DTYPE_U8 : t == 1 ? GATUN_DTYPE_F32 : 0;
            desc.table_scale[t] = all[t].scale;
            desc.table_zero[t] = all[t].zero;
            tables_given[t] = table_data(&all[t]);
            ids_given[t] = (with_ids >> t & 1) != 0 ? (const int32_t *)(const void *)ids[t].data : NULL;
        }
    }
    matrix out = matrix_create("out", rows, dim, gap, GUARD_AFTER);
    float *before = copy_of(&out);
    for (int n = 0; n < 4; n++) {
        matrix_restore(&out, before);
        desc.max_threads = thread_counts[n];
        int32_t status = gatun_embedding(shared_context(tier), &desc, ids_given[0], tables_given[0], ids_given[1],
            tables_given[1], ids_given[2], tables_given[2], out.data);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        CHECK(only_elements_written(&out, before), "%s: more than the elements of out was written", what);
        bool good = true;
        for (int64_t r = 0; r < rows && good; r++) {
            for (int64_t i = 0; i < dim && good; i++) {
                float want = 0;
                for (int t = 0; t < tables; t++) {
                    float part = table_at(&all[t], ids_given[t] != NULL ? ids_given[t][r] : 0, i);
                    want = t == 0 ? (scale == 0 ? part : scale * part) : want + part;
                }
                good = memcmp(&want, at(&out, r, i), sizeof want) == 0;
                CHECK(good, "%s: out[%lld][%lld]: expected %.9g, got %.9g", what, (long long)r, (long long)i,
                    (double)want, (double)*at(&out, r, i));
            }
        }
    }
    free(before);
    guarded_destroy(&out.memory);
    for (int t = 0; t < 3; t++) {
        free_table(&all[t]);
        guarded_destroy(&ids[t]);
    }
}

static void embedding(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int tables = 1; tables <= 3; tables++) {
            for (unsigned ids = 0; ids < 8; ids++) {
                static const float scales[] = {0, 1, 22.627417f, -0.1f, -0.0f}; /* sqrt(512) is the third */
                check_embedding(tiers[t], 1 + ids, dims[(ids * 11 + (unsigned)tables) % DIMS], ids % 3, tables, ids,
                    scales[(ids + (unsigned)tables) % 5], 0);
                check_embedding(tiers[t], 1 + ids, dims[(ids * 13 + (unsigned)tables) % DIMS], ids % 3, tables, ids,
                    scales[(ids + (unsigned)tables) % 5], 1 + (ids + (unsigned)tables) % 7);
            }
        }
        for (int n = 0; n < DIMS; n++) {
            check_embedding(tiers[t], 3, dims[n], 1, 3, 7, 0, 7);
        }
        check_embedding(tiers[t], 700, 384, 0, 3, 7, 0, 0);
        check_embedding(tiers[t], 700, 384, 0, 3, 7, 0, 7);
        check_embedding(tiers[t], 700, 384, 0, 2, 3, 19.595918f, 1);
        check_embedding(tiers[t], 0, 5, 0, 2, 3, 0, 0);
    }
    test_note("%s", "");
}

/* Ids outside their table, in any place: nothing is written. */
static void embedding_ids(void) {
    enum { ROWS = 200, DIM = 500, ENTRIES = 6 };
    static const int32_t bad[] = {-1, ENTRIES, INT32_MIN, INT32_MAX};
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    float *table = test_allocate(ENTRIES * DIM * (int64_t)sizeof(float));
    memset(table, 0, ENTRIES * DIM * sizeof(float));
    matrix out = matrix_create("out", ROWS, DIM, 0, GUARD_AFTER);
    static int32_t ids[3][ROWS];
    gatun_embedding_desc desc = embedding_desc(ROWS, DIM);
    for (int t = 0; t < 3; t++) {
        desc.table_rows[t] = ENTRIES;
    }
    for (int t = 0; t < 3; t++) {
        for (int64_t r = 0; r < ROWS; r += 199) {
            for (int n = 0; n < 4; n++) {
                ids[t][r] = bad[n];
                CHECK_STATUS(gatun_embedding(context, &desc, ids[0], table, ids[1], table, ids[2], table, out.data),
                    GATUN_E_INDEX);
                CHECK(guarded_unwritten(&out.memory), "id %d of table %d in row %d: out was written", (int)bad[n], t,
                    (int)r);
                ids[t][r] = 0;
            }
        }
    }
    for (int t = 0; t < 3; t++) {
        gatun_embedding_desc broken = desc;
        broken.table_rows[t] = 0;
        CHECK_STATUS(
            gatun_embedding(context, &broken, ids[0], table, ids[1], table, ids[2], table, out.data), GATUN_E_INVALID);
        broken.table_rows[t] = -1;
        CHECK_STATUS(
            gatun_embedding(context, &broken, ids[0], table, ids[1], table, ids[2], table, out.data), GATUN_E_INVALID);
        broken.table_rows[t] = INT64_C(0x100000006); /* 6 in its low 32 bits */
        CHECK_STATUS(
            gatun_embedding(context, &broken, ids[0], table, ids[1], table, ids[2], table, out.data), GATUN_E_INVALID);
    }
    CHECK_STATUS(gatun_embedding(context, &desc, ids[0], NULL, NULL, NULL, NULL, NULL, out.data), GATUN_E_NULL);
    CHECK_STATUS(gatun_embedding(context, &desc, ids[0], table, ids[1], NULL, NULL, NULL, out.data), GATUN_E_NULL);
    CHECK_STATUS(gatun_embedding(context, &desc, ids[0], table, NULL, NULL, NULL, NULL, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_embedding(context, &desc, (const int32_t *)(const void *)((const uint8_t *)ids[0] + 2), table,
                     NULL, NULL, NULL, NULL, out.data),
        GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_embedding(context, &desc, NULL, out.data, NULL, NULL, NULL, NULL, out.data), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_embedding(
                     context, &desc, (const int32_t *)(const void *)out.data, table, NULL, NULL, NULL, NULL, out.data),
        GATUN_E_INDEX); /* what out holds is no id, which is looked at first */
    /* Of one of the tables, in turn: types and what belongs to them. */
    static const struct {
        int32_t dtype, zero;
        float scale;
    } bad_types[] = {{GATUN_DTYPE_BF16, 0, 0}, {GATUN_DTYPE_I8, 0, 1}, {-1, 0, 0}, {8, 0, 1}, {0, 0, 0.5f}, {0, 1, 0},
        {GATUN_DTYPE_F32, 0, 0.5f}, {GATUN_DTYPE_F32, 128, 0}, {GATUN_DTYPE_U8, 128, 0}, {GATUN_DTYPE_U8, 128, -0.5f},
        {GATUN_DTYPE_U8, 128, INFINITY}, {GATUN_DTYPE_U8, 128, NAN}, {GATUN_DTYPE_U8, -1, 1}, {GATUN_DTYPE_U8, 256, 1}};
    for (int t = 0; t < 3; t++) {
        for (size_t n = 0; n < sizeof bad_types / sizeof *bad_types; n++) {
            gatun_embedding_desc broken = desc;
            broken.table_dtype[t] = bad_types[n].dtype;
            broken.table_scale[t] = bad_types[n].scale;
            broken.table_zero[t] = bad_types[n].zero;
            CHECK_STATUS(gatun_embedding(context, &broken, ids[0], table, ids[1], table, ids[2], table, out.data),
                GATUN_E_INVALID);
        }
    }
    const void *odd = (const uint8_t *)table + 1;
    CHECK_STATUS(gatun_embedding(context, &desc, ids[0], odd, NULL, NULL, NULL, NULL, out.data), GATUN_E_ALIGNMENT);
    CHECK(guarded_unwritten(&out.memory), "refused embeddings: out was written");
    gatun_embedding_desc bytes = desc;
    bytes.table_dtype[0] = GATUN_DTYPE_U8;
    bytes.table_scale[0] = 1;
    const uint8_t *inside = (const uint8_t *)out.data + 3;
    CHECK_STATUS(gatun_embedding(context, &bytes, NULL, inside, NULL, NULL, NULL, NULL, out.data), GATUN_E_OVERLAP);
    CHECK(guarded_unwritten(&out.memory), "refused embeddings: out was written");
    CHECK_STATUS(gatun_embedding(context, &bytes, ids[0], odd, NULL, NULL, NULL, NULL, out.data), GATUN_OK);
    guarded_destroy(&out.memory);
    free(table);
}

/* ---- pool ---- */

typedef struct pool_kind {
    int32_t kind;
    int32_t skip;
    uint32_t flags;
} pool_kind;

/* Column i of the rows begin .. end - 1 of x as one number, by the definitions: each row has a weight. */
static double pooled(const matrix *x, int64_t begin, int64_t end, int64_t i, pool_kind p) {
    double sum = 0, weights = 0, most = -INFINITY;
    int64_t rows = 0;
    for (int64_t r = begin; r < end; r++) {
        const int64_t place = r - begin;
        const bool counts = p.kind == GATUN_POOL_FIRST  ? place == 0
                            : p.kind == GATUN_POOL_LAST ? r + 1 == end && place >= p.skip
                                                        : place >= p.skip;
        if (counts) {
            const double weight = p.kind == GATUN_POOL_WEIGHTED_MEAN ? (double)(place + 1) : 1;
            const double value = (double)*at(x, r, i);
            sum += weight * value;
            weights += weight;
            most = fmax(most, value);
            rows++;
        }
    }
    if (rows == 0)
        return 0;
    if (p.kind == GATUN_POOL_MAX)
        return most;
    return sum / (p.kind == GATUN_POOL_MEAN_SQRT_LENGTH ? sqrt((double)rows) : weights);
}

static void check_pool(int32_t tier, const int32_t *offsets, int64_t sequences, int64_t dim, int64_t gap, pool_kind p) {
    char what[128];
    snprintf(what, sizeof what, "%lld sequences of dim %lld, gap %lld, kind %d, skip %d, flags %u, %s",
        (long long)sequences, (long long)dim, (long long)gap, (int)p.kind, (int)p.skip, (unsigned)p.flags,
        gatun_tier_name(tier));
    test_note("%s", what);
    rng random = rng_make(test_seed(), (uint64_t)(sequences * 1009 + dim));
    int64_t total = offsets[sequences];
    matrix x = matrix_random("x", total, dim, gap, GUARD_AFTER, 0.5f, &random);
    for (int64_t b = 0; b < sequences; b++) {
        for (int64_t r = offsets[b]; b % 5 == 4 && r < offsets[b + 1]; r++) {
            memset(at(&x, r, 0), 0, (size_t)dim * sizeof(float)); /* a zero vector */
        }
    }
    for (int64_t r = 0; r < offsets[0]; r++) {
        *at(&x, r, 0) = NAN; /* of no sequence */
    }
    guarded_protect(&x.memory, true);
    matrix out = matrix_create("out", sequences, dim, gap * 2, GUARD_AFTER);
    float *before = copy_of(&out);
    matrix first = matrix_create("first result", sequences, dim, 0, GUARD_AFTER);
    double *mean = test_allocate(dim * (int64_t)sizeof(double));
    gatun_pool_desc desc = pool_desc(sequences, dim);
    desc.x_row = x.row;
    desc.out_row = out.row;
    desc.pooling = p.kind;
    desc.skip = p.skip;
    desc.flags = p.flags;
    for (int n = 0; n < 4; n++) {
        matrix_restore(&out, before);
        desc.max_threads = thread_counts[n];
        int32_t status = gatun_pool(shared_context(tier), &desc, x.data, offsets, out.data);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        CHECK(only_elements_written(&out, before), "%s: more than the elements of out was written", what);
        if (n > 0) {
            CHECK(same_elements(&out, &first), "%s: other bits with %d threads", what, (int)thread_counts[n]);
            continue;
        }
        bool good = true;
        for (int64_t b = 0; b < sequences && good; b++) {
            memcpy(at(&first, b, 0), at(&out, b, 0), (size_t)dim * sizeof(float));
            double squares = 0;
            for (int64_t i = 0; i < dim; i++) {
                mean[i] = pooled(&x, offsets[b], offsets[b + 1], i, p);
                squares += mean[i] * mean[i];
            }
            double norm = (p.flags & GATUN_POOL_NORMALIZE) != 0 && squares > 0 ? sqrt(squares) : 1;
            for (int64_t i = 0; i < dim && good; i++) {
                double want = mean[i] / norm;
                /* sums in double: the result is rounded, and once more where it is divided by its norm */
                double bound = ((p.flags & GATUN_POOL_NORMALIZE) != 0 ? 2.01 : 1.01) * 0x1p-24 * fabs(want) + 1e-14;
                good = fabs((double)*at(&out, b, i) - want) <= bound;
                CHECK(good, "%s: out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)b, (long long)i,
                    want, bound, (double)*at(&out, b, i));
            }
        }
    }
    free(mean);
    free(before);
    guarded_destroy(&x.memory);
    guarded_destroy(&out.memory);
    guarded_destroy(&first.memory);
}

static void pool(void) {
    static const int32_t several[] = {2, 9, 9, 10, 42, 45, 45, 46};
    static const int32_t one[] = {0, 1};
    static const int32_t none[] = {0};
    static const int32_t empty[] = {0, 0, 0};
    static int32_t many[301];
    for (int i = 0; i <= 300; i++) {
        many[i] = i * 3 + (i * i) % 3;
    }
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int32_t kind = GATUN_POOL_MEAN; kind <= GATUN_POOL_LAST; kind++) {
            for (uint32_t flags = 0; flags <= GATUN_POOL_NORMALIZE; flags++) {
                const pool_kind all = {kind, 0, flags}, fewer = {kind, 1 + (kind + (int32_t)flags) % 3, flags};
                for (int d = 0; d < DIMS; d += test_light() ? 13 : 1) {
                    check_pool(tiers[t], several, 7, dims[d], d % 4, d % 2 == 0 ? all : fewer);
                }
                check_pool(tiers[t], one, 1, 384, 0, all);
                check_pool(tiers[t], none, 0, 5, 0, all);
                check_pool(tiers[t], empty, 2, 5, 1, all);
                check_pool(tiers[t], many, 300, 130, 0, all);
                check_pool(tiers[t], many, 300, 70, 0, fewer);
            }
        }
    }
    test_note("%s", "");
}

/* NaN stays one, in whatever row it is, and -inf is no maximum beside numbers. */
static void pool_maximum(void) {
    static const float x[] = {NAN, 1, -INFINITY, -2, 3, NAN, -INFINITY, -1, 2, 2, -INFINITY, -3};
    static const int32_t offsets[] = {0, 3};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        gatun_pool_desc desc = pool_desc(1, 4);
        desc.pooling = GATUN_POOL_MAX;
        float out[4];
        CHECK_STATUS(gatun_pool(shared_context(tiers[t]), &desc, x, offsets, out), GATUN_OK);
        CHECK(isnan(out[0]) && isnan(out[1]), "a NaN first and in the middle: %g, %g", (double)out[0], (double)out[1]);
        CHECK(out[2] == -INFINITY && out[3] == -1, "maxima below 0: %g, %g", (double)out[2], (double)out[3]);
        desc.skip = 2;
        CHECK_STATUS(gatun_pool(shared_context(tiers[t]), &desc, x, offsets, out), GATUN_OK);
        CHECK(out[0] == 2 && out[1] == 2, "NaN that is skipped: %g, %g", (double)out[0], (double)out[1]);
        desc.skip = 3;
        CHECK_STATUS(gatun_pool(shared_context(tiers[t]), &desc, x, offsets, out), GATUN_OK);
        CHECK(out[0] == 0 && out[3] == 0, "all skipped: %g, %g", (double)out[0], (double)out[3]);
    }
}

/* The mean of many rows loses nothing to their number, and small vectors keep their direction. */
static void pool_precision(void) {
    enum { ROWS = 100000 };
    float *x = test_allocate(ROWS * 2 * (int64_t)sizeof(float));
    for (int64_t r = 0; r < ROWS; r++) {
        x[2 * r] = r == 0 ? 1e8f : 1;
        x[2 * r + 1] = 0.1f;
    }
    const int32_t offsets[] = {0, ROWS};
    float out[2];
    gatun_pool_desc desc = pool_desc(1, 2);
    CHECK_STATUS(gatun_pool(shared_context(GATUN_TIER_PORTABLE), &desc, x, offsets, out), GATUN_OK);
    CHECK(out[0] == (float)((1e8 + ROWS - 1) / ROWS), "the mean of 1e8 and 99,999 ones: got %.9g", (double)out[0]);
    CHECK(out[1] == 0.1f, "the mean of 100,000 times 0.1: got %.9g", (double)out[1]);
    static const float scales[] = {1e-30f, 1e30f};
    for (int s = 0; s < 2; s++) {
        float pair[2] = {3 * scales[s], 4 * scales[s]};
        const int32_t single[] = {0, 1};
        desc.flags = GATUN_POOL_NORMALIZE;
        CHECK_STATUS(gatun_pool(shared_context(GATUN_TIER_PORTABLE), &desc, pair, single, out), GATUN_OK);
        CHECK(fabsf(out[0] - 0.6f) < 1e-7f && fabsf(out[1] - 0.8f) < 1e-7f, "3, 4 times %g normalized: %g, %g",
            (double)scales[s], (double)out[0], (double)out[1]);
    }
    free(x);
}

static void pool_refused(void) {
    enum { DIM = 6 };
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    float x[10 * DIM] = {0};
    matrix out = matrix_create("out", 3, DIM, 0, GUARD_AFTER);
    gatun_pool_desc desc = pool_desc(3, DIM);
    static const int32_t bad[][4] = {
        {-1, 2, 3, 4}, {0, 3, 2, 4}, {0, 2, 4, 3}, {5, 4, 6, 7}, {0, -1, 2, 3}, {INT32_MIN, 0, 1, 2}};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        CHECK_STATUS(gatun_pool(context, &desc, x, bad[n], out.data), GATUN_E_INDEX);
    }
    static const int32_t good[] = {0, 2, 2, 5};
    CHECK_STATUS(gatun_pool(context, &desc, x, NULL, out.data), GATUN_E_NULL);
    CHECK_STATUS(gatun_pool(context, &desc, NULL, good, out.data), GATUN_E_NULL);
    CHECK_STATUS(gatun_pool(context, &desc, x, good, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_pool(context, &desc, x, (const int32_t *)(const void *)((const uint8_t *)good + 1), out.data),
        GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_pool(context, &desc, out.data, good, out.data + DIM), GATUN_E_OVERLAP);
    CHECK(guarded_unwritten(&out.memory), "refused pools: out was written");
    int32_t own[24] = {0, 2, 2, 5};
    int32_t kept[24];
    memcpy(kept, own, sizeof own);
    CHECK_STATUS(gatun_pool(context, &desc, x, own, (float *)(void *)own), GATUN_E_OVERLAP);
    CHECK(memcmp(kept, own, sizeof own) == 0, "out over cu_seqlens: it was written");
    /* sequences without rows need no x */
    static const int32_t empty[] = {0, 0, 0, 0};
    CHECK_STATUS(gatun_pool(context, &desc, NULL, empty, out.data), GATUN_OK);
    for (int i = 0; i < 3 * DIM; i++) {
        CHECK(out.data[i] == 0, "an empty sequence: out[%d] is %g", i, (double)out.data[i]);
    }
    guarded_destroy(&out.memory);
}

const test_case tables_tests[] = {{"embedding", embedding}, {"embedding_ids", embedding_ids}, {"pool", pool},
    {"pool_maximum", pool_maximum}, {"pool_precision", pool_precision}, {"pool_refused", pool_refused}, {NULL, NULL}};
