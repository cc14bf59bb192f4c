/* gatun_linear over a BLAS of the test's own: the product that gatun_sgemm gives, with bias and activation. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "harness.h"
#include "reference.h"
#include "suites.h"

/* ---- cblas_sgemm, row-major, as cblas.h describes it ---- */

enum { TRANSPOSE = 112 };

/* Sums in one order for every element, whatever block it is in. */
static void test_blas(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a,
    int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    (void)order;
    int64_t a_row = transpose_a == TRANSPOSE ? 1 : lda;
    int64_t a_step = transpose_a == TRANSPOSE ? lda : 1;
    int64_t b_column = transpose_b == TRANSPOSE ? ldb : 1;
    int64_t b_step = transpose_b == TRANSPOSE ? 1 : ldb;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t x = 0; x < k; x++) {
                sum += a[i * a_row + x * a_step] * b[j * b_column + x * b_step];
            }
            float *to = &c[i * ldc + j];
            *to = beta == 0 ? alpha * sum : alpha * sum + beta * *to;
        }
    }
}

static const void *blas(void) {
    return (const void *)(uintptr_t)test_blas;
}

/* ---- layers in guarded memory ---- */

typedef struct layer {
    gatun_linear_desc desc;
    guarded a, b, c, bias;
    float *c_before; /* all of C's memory */
    bool biased;
} layer;

static int64_t extent(int64_t rows, int64_t columns, int64_t ld) {
    return rows > 0 && columns > 0 ? (rows - 1) * ld + columns : 0;
}

static void fill(guarded *memory, const char *name, int64_t elements, float scale, rng *random) {
    guarded_create(memory, name, elements * (int64_t)sizeof(float), 0, GUARD_AFTER);
    for (int64_t i = 0; i < elements; i++) {
        ((float *)(void *)memory->data)[i] = scale * rng_normal(random);
    }
}

typedef struct shape {
    int64_t m, n, k, padding;
    uint32_t flags;
    int32_t activation;
    float alpha, beta;
    bool biased;
} shape;

static layer layer_create(const shape *s) {
    layer l = {.biased = s->biased};
    rng random = rng_make(test_seed(), (uint64_t)(s->m * 1000003 + s->n * 1009 + s->k));
    bool ta = (s->flags & GATUN_SGEMM_TRANSPOSE_A) != 0;
    bool tb = (s->flags & GATUN_SGEMM_TRANSPOSE_B) != 0;
    l.desc = (gatun_linear_desc){.struct_size = sizeof l.desc,
        .flags = s->flags,
        .m = s->m,
        .n = s->n,
        .k = s->k,
        .lda = (ta ? s->m : s->k) + s->padding,
        .ldb = (tb ? s->k : s->n) + s->padding,
        .ldc = s->n + s->padding,
        .alpha = s->alpha,
        .beta = s->beta,
        .activation = s->activation};
    int64_t *const ld[] = {&l.desc.lda, &l.desc.ldb, &l.desc.ldc};
    for (int i = 0; i < 3; i++) {
        *ld[i] = *ld[i] < 1 ? 1 : *ld[i];
    }
    /* results of about N(0, 1), where activations bend */
    float scale = s->k > 0 ? 1 / sqrtf((float)s->k) : 1;
    fill(&l.a, "a", extent(ta ? s->k : s->m, ta ? s->m : s->k, l.desc.lda), 1, &random);
    fill(&l.b, "b", extent(tb ? s->n : s->k, tb ? s->k : s->n, l.desc.ldb), scale, &random);
    fill(&l.c, "c", extent(s->m, s->n, l.desc.ldc), 1, &random);
    fill(&l.bias, "bias", s->n, 1, &random);
    if (s->beta == 0) {
        memset(l.c.data, 0xff, (size_t)l.c.bytes); /* NaN, which may not be read */
    }
    l.c_before = test_allocate(l.c.bytes);
    memcpy(l.c_before, l.c.data, (size_t)l.c.bytes);
    guarded_protect(&l.a, true);
    guarded_protect(&l.b, true);
    guarded_protect(&l.bias, true);
    return l;
}

static void layer_destroy(layer *l) {
    guarded_destroy(&l->a);
    guarded_destroy(&l->b);
    guarded_destroy(&l->c);
    guarded_destroy(&l->bias);
    free(l->c_before);
}

static int32_t run(layer *l, gatun_context *context, int32_t max_threads) {
    memcpy(l->c.data, l->c_before, (size_t)l->c.bytes);
    l->desc.max_threads = max_threads;
    return gatun_linear(context, &l->desc, blas(), (const float *)(void *)l->a.data, (const float *)(void *)l->b.data,
        l->biased ? (const float *)(void *)l->bias.data : NULL, (float *)(void *)l->c.data);
}

/* The product of a layer, without its activation. */
static gatun_sgemm_desc product_of(const gatun_linear_desc *d) {
    return (gatun_sgemm_desc){.struct_size = sizeof(gatun_sgemm_desc),
        .flags = d->flags,
        .m = d->m,
        .n = d->n,
        .k = d->k,
        .lda = d->lda,
        .ldb = d->ldb,
        .ldc = d->ldc,
        .alpha = d->alpha,
        .beta = d->beta,
        .max_threads = d->max_threads};
}

static void check_result(const layer *l, const char *what) {
    const gatun_linear_desc *d = &l->desc;
    const float *a = (const float *)(const void *)l->a.data;
    const float *b = (const float *)(const void *)l->b.data;
    const float *c = (const float *)(const void *)l->c.data;
    const float *bias = (const float *)(const void *)l->bias.data;
    for (int64_t at = 0; at < l->c.bytes / (int64_t)sizeof(float); at++) {
        int64_t i = at / d->ldc;
        int64_t j = at % d->ldc;
        if (j >= d->n) {
            CHECK(memcmp(&c[at], &l->c_before[at], sizeof(float)) == 0,
                "%s: C was written between its rows, element %lld", what, (long long)at);
            continue;
        }
        double magnitude;
        const gatun_sgemm_desc product = product_of(d);
        double sum = product_exact(&product, a, b, i, j, &magnitude);
        double old = d->beta != 0 ? (double)d->beta * (double)l->c_before[at] : 0;
        double z = (double)d->alpha * sum + old + (l->biased ? (double)bias[j] : 0);
        double want = activation_exact(d->activation, z);
        magnitude = fabs((double)d->alpha) * magnitude + fabs(old) + (l->biased ? fabs((double)bias[j]) : 0);
        /*
         * A chain of k products and sums in float, and the bias; no activation is steeper than 1.13 (GELU at the square
         * root of 2). Then what the header allows an activation.
         */
        double bound = 1.13 * ((double)d->k + 5) * 0x1p-24 * magnitude +
                       (d->activation > GATUN_ACTIVATION_RELU ? 5e-7 * fmax(1, fabs(z)) : 0);
        if (!(fabs((double)c[at] - want) <= bound)) {
            test_fail(__FILE__, __LINE__, "%s: C[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)i,
                (long long)j, want, bound, (double)c[at]);
            return;
        }
    }
    CHECK(guarded_intact(&l->c), "%s: memory beside C was written", what);
}

/* The same bits as product and activation one after the other. */
static void check_two_steps(layer *l, gatun_context *context, const float *fused, const char *what) {
    const gatun_sgemm_desc product = product_of(&l->desc);
    float *c = (float *)(void *)l->c.data;
    memcpy(c, l->c_before, (size_t)l->c.bytes);
    CHECK_STATUS(
        gatun_sgemm(context, &product, blas(), (const float *)(void *)l->a.data, (const float *)(void *)l->b.data, c),
        GATUN_OK);
    const gatun_activation_desc rows = {.struct_size = sizeof rows,
        .rows = product.m,
        .dim = product.n,
        .x_row = product.ldc,
        .out_row = product.ldc,
        .activation = l->desc.activation};
    CHECK_STATUS(
        gatun_activation(context, &rows, c, l->biased ? (const float *)(void *)l->bias.data : NULL, NULL, c), GATUN_OK);
    CHECK(memcmp(c, fused, (size_t)l->c.bytes) == 0, "%s: other bits than gatun_sgemm and gatun_activation", what);
}

static void check_layer(const shape *s, int32_t tier) {
    char what[192];
    snprintf(what, sizeof what,
        "%lld x %lld x %lld, transposes %u, padding %lld, alpha %g, beta %g, bias %d, activation %d, %s",
        (long long)s->m, (long long)s->n, (long long)s->k, (unsigned)s->flags, (long long)s->padding, (double)s->alpha,
        (double)s->beta, s->biased, (int)s->activation, gatun_tier_name(tier));
    test_note("%s", what);
    gatun_context *context = shared_context(tier);
    layer l = layer_create(s);
    static const int32_t threads[] = {1, 2, 5, 0};
    float *first = test_allocate(l.c.bytes);
    for (int t = 0; t < 4; t++) {
        int32_t status = run(&l, context, threads[t]);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        if (t == 0) {
            check_result(&l, what);
            memcpy(first, l.c.data, (size_t)l.c.bytes);
        }
        CHECK(memcmp(first, l.c.data, (size_t)l.c.bytes) == 0, "%s: other bits with %d threads", what, (int)threads[t]);
    }
    if (s->n > 0) {
        check_two_steps(&l, context, first, what);
    }
    free(first);
    layer_destroy(&l);
    test_note("%s", "");
}

/* Small products in one block, and such as are cut into blocks of rows, of columns or of both, with smaller last. */
static void shapes(void) {
    static const int64_t sizes[][3] = {{1, 1, 1}, {1, 7, 5}, {7, 1, 3}, {5, 3, 1}, {31, 33, 17}, {64, 64, 64},
        {129, 40, 20}, {3, 700, 9}, {128, 384, 48}, {257, 129, 65}, {1, 2500, 900}, {300, 100, 70}, {128, 257, 64},
        {127, 1000, 16}, {1030, 50, 45}, {530, 1040, 5}};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
            bool large = sizes[n][0] * sizes[n][1] * sizes[n][2] > 1000000;
            for (int32_t kind = 0; kind <= GATUN_ACTIVATION_QUICK_GELU; kind++) {
                if ((large || test_light()) && (kind + (int32_t)n - t) % (test_light() ? 6 : 3) != 0) {
                    continue;
                }
                check_layer(&(shape){.m = sizes[n][0],
                                .n = sizes[n][1],
                                .k = sizes[n][2],
                                .padding = (int64_t)((n + (size_t)kind) % 3) * 5,
                                .flags = ((uint32_t)n + (uint32_t)kind) % 4,
                                .activation = kind,
                                .alpha = 1,
                                .biased = (n + (size_t)kind) % 4 != 3},
                    tiers[t]);
            }
        }
    }
}

/* Bias without activation, activation without bias, neither, with every kind of factor. */
static void factors(void) {
    static const float numbers[] = {0, 1, -1, 0.5f};
    int32_t tiers[MAX_TIERS];
    int32_t tier = tiers[test_tiers(tiers) - 1];
    for (int a = 0; a < 4; a++) {
        for (int b = 0; b < 4; b++) {
            for (int biased = 0; biased < 2; biased++) {
                check_layer(&(shape){.m = 20,
                                .n = 33,
                                .k = 20,
                                .padding = 3,
                                .flags = (uint32_t)((a + b) % 4),
                                .activation = (a + 2 * b) % (GATUN_ACTIVATION_QUICK_GELU + 1),
                                .alpha = numbers[a],
                                .beta = numbers[b],
                                .biased = biased != 0},
                    tier);
            }
        }
    }
    /* without depth every row is the activation of the bias */
    for (int32_t kind = 0; kind <= GATUN_ACTIVATION_QUICK_GELU; kind++) {
        check_layer(&(shape){.m = 5, .n = 21, .padding = 2, .activation = kind, .alpha = 1, .biased = true}, tier);
    }
    check_layer(&(shape){.n = 5, .k = 5, .alpha = 1, .biased = true}, tier);
    check_layer(&(shape){.m = 5, .k = 5, .alpha = 1, .biased = true}, tier);
}

static void refused(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    layer l = layer_create(&(shape){.m = 6, .n = 7, .k = 5, .alpha = 1, .beta = 1, .biased = true});
    const gatun_linear_desc good = l.desc;
    const float *a = (const float *)(void *)l.a.data;
    const float *b = (const float *)(void *)l.b.data;
    const float *bias = (const float *)(void *)l.bias.data;
    float *c = (float *)(void *)l.c.data;
    static const int32_t activations[] = {-1, GATUN_ACTIVATION_QUICK_GELU + 1, INT32_MAX, INT32_MIN};
    for (int n = 0; n < 4; n++) {
        gatun_linear_desc desc = good;
        desc.activation = activations[n];
        CHECK_STATUS(gatun_linear(context, &desc, blas(), a, b, bias, c), GATUN_E_INVALID);
    }
    gatun_linear_desc desc = good;
    desc.struct_size = 8;
    CHECK_STATUS(gatun_linear(context, &desc, blas(), a, b, bias, c), GATUN_E_VERSION);
    desc = good;
    desc.reserved[7] = 1;
    CHECK_STATUS(gatun_linear(context, &desc, blas(), a, b, bias, c), GATUN_E_VERSION);
    desc = good;
    desc.ldc = 6;
    CHECK_STATUS(gatun_linear(context, &desc, blas(), a, b, bias, c), GATUN_E_INVALID);
    CHECK_STATUS(gatun_linear(NULL, &good, blas(), a, b, bias, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_linear(context, NULL, blas(), a, b, bias, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_linear(context, &good, NULL, a, b, bias, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_linear(context, &good, blas(), NULL, b, bias, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_linear(context, &good, blas(), a, NULL, bias, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_linear(context, &good, blas(), a, b, bias, NULL), GATUN_E_NULL);
    CHECK_STATUS(
        gatun_linear(context, &good, blas(), a, b, (const float *)(void *)(l.bias.data + 2), c), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_linear(context, &good, blas(), c, b, bias, c), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_linear(context, &good, blas(), a, b, c, c), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_linear(context, &good, blas(), a, b, c + 41, c), GATUN_E_OVERLAP);
    CHECK(memcmp(c, l.c_before, (size_t)l.c.bytes) == 0, "refused layers: C was written");
    layer_destroy(&l);
}

const test_case linear_tests[] = {{"shapes", shapes}, {"factors", factors}, {"refused", refused}, {NULL, NULL}};
