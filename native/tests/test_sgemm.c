/* gatun_sgemm over a BLAS of the test's own, which records how it is called. */
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "harness.h"
#include "reference.h"
#include "suites.h"

/* ---- cblas_sgemm, row-major, as cblas.h describes it ---- */

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef struct block {
    int64_t offset; /* of its first element within C */
    int m, n, k;
} block;

enum { MAX_BLOCKS = 4096 };

static struct {
    pthread_mutex_t lock;
    const float *c;
    int blocks;
    int bad_arguments;
    block block[MAX_BLOCKS];
} calls = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void test_blas(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a,
    int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    bool good = order == ROW_MAJOR && (transpose_a == NO_TRANSPOSE || transpose_a == TRANSPOSE) &&
                (transpose_b == NO_TRANSPOSE || transpose_b == TRANSPOSE) && m >= 0 && n >= 0 && k >= 0 &&
                lda >= (transpose_a == TRANSPOSE ? m : k) && ldb >= (transpose_b == TRANSPOSE ? k : n) && ldc >= n &&
                lda >= 1 && ldb >= 1 && ldc >= 1;
    pthread_mutex_lock(&calls.lock);
    calls.bad_arguments += !good;
    if (calls.blocks < MAX_BLOCKS) {
        calls.block[calls.blocks++] = (block){(int64_t)(c - calls.c), m, n, k};
    }
    pthread_mutex_unlock(&calls.lock);
    for (int i = 0; good && i < m; i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int x = 0; x < k; x++) {
                float from_a = transpose_a == TRANSPOSE ? a[(int64_t)x * lda + i] : a[(int64_t)i * lda + x];
                float from_b = transpose_b == TRANSPOSE ? b[(int64_t)j * ldb + x] : b[(int64_t)x * ldb + j];
                sum += from_a * from_b;
            }
            float *to = &c[(int64_t)i * ldc + j];
            *to = beta == 0 ? alpha * sum : alpha * sum + beta * *to;
        }
    }
}

static const void *blas(void) {
    return (const void *)(uintptr_t)test_blas;
}

/* ---- products in guarded memory ---- */

typedef struct product {
    gatun_sgemm_desc desc;
    guarded a, b, c;
    float *c_before; /* all of C's memory */
} product;

static int64_t extent(int64_t rows, int64_t columns, int64_t ld) {
    return rows > 0 && columns > 0 ? (rows - 1) * ld + columns : 0;
}

static void fill(guarded *memory, const char *name, int64_t elements, rng *random) {
    guarded_create(memory, name, elements * (int64_t)sizeof(float), 0, GUARD_AFTER);
    for (int64_t i = 0; i < elements; i++) {
        ((float *)memory->data)[i] = rng_normal(random);
    }
}

static void product_create(
    product *p, uint32_t flags, int64_t m, int64_t n, int64_t k, int64_t padding, float alpha, float beta) {
    memset(p, 0, sizeof *p);
    rng random = rng_make(test_seed(), (uint64_t)(m * 1000003 + n * 1009 + k));
    bool ta = (flags & GATUN_SGEMM_TRANSPOSE_A) != 0;
    bool tb = (flags & GATUN_SGEMM_TRANSPOSE_B) != 0;
    p->desc = (gatun_sgemm_desc){.struct_size = sizeof p->desc,
        .flags = flags,
        .m = m,
        .n = n,
        .k = k,
        .lda = (ta ? m : k) + padding,
        .ldb = (tb ? k : n) + padding,
        .ldc = n + padding,
        .alpha = alpha,
        .beta = beta};
    int64_t *const ld[] = {&p->desc.lda, &p->desc.ldb, &p->desc.ldc};
    for (int i = 0; i < 3; i++) {
        *ld[i] = *ld[i] < 1 ? 1 : *ld[i];
    }
    fill(&p->a, "a", extent(ta ? k : m, ta ? m : k, p->desc.lda), &random);
    fill(&p->b, "b", extent(tb ? n : k, tb ? k : n, p->desc.ldb), &random);
    fill(&p->c, "c", extent(m, n, p->desc.ldc), &random);
    if (beta == 0) {
        memset(p->c.data, 0xff, (size_t)p->c.bytes); /* NaN, which may not be read */
    }
    p->c_before = test_allocate(p->c.bytes);
    memcpy(p->c_before, p->c.data, (size_t)p->c.bytes);
    guarded_protect(&p->a, true);
    guarded_protect(&p->b, true);
}

static void product_destroy(product *p) {
    guarded_destroy(&p->a);
    guarded_destroy(&p->b);
    guarded_destroy(&p->c);
    free(p->c_before);
}

/* Runs the product from the same C; the recorded blocks are those of this call. */
static int32_t run(product *p, gatun_context *context, int32_t max_threads) {
    memcpy(p->c.data, p->c_before, (size_t)p->c.bytes);
    p->desc.max_threads = max_threads;
    calls.blocks = 0;
    calls.bad_arguments = 0;
    calls.c = (const float *)p->c.data;
    return gatun_sgemm(
        context, &p->desc, blas(), (const float *)p->a.data, (const float *)p->b.data, (float *)p->c.data);
}

static void check_result(const product *p, const char *what) {
    const gatun_sgemm_desc *d = &p->desc;
    const float *a = (const float *)p->a.data;
    const float *b = (const float *)p->b.data;
    const float *c = (const float *)p->c.data;
    for (int64_t at = 0; at < p->c.bytes / (int64_t)sizeof(float); at++) {
        int64_t i = at / d->ldc;
        int64_t j = at % d->ldc;
        if (j >= d->n) {
            CHECK(memcmp(&c[at], &p->c_before[at], sizeof(float)) == 0,
                "%s: C was written between its rows, element %lld", what, (long long)at);
            continue;
        }
        double magnitude;
        double sum = product_exact(d, a, b, i, j, &magnitude);
        double old = d->beta != 0 ? (double)d->beta * (double)p->c_before[at] : 0;
        double want = (double)d->alpha * sum + old;
        /* a chain of k products and sums in float */
        double bound = ((double)d->k + 4) * 0x1p-24 * (fabs((double)d->alpha) * magnitude + fabs(old));
        if (!(fabs((double)c[at] - want) <= bound)) {
            test_fail(__FILE__, __LINE__, "%s: C[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)i,
                (long long)j, want, bound, (double)c[at]);
            return;
        }
    }
}

/* Blocks cover C once, and each goes through the whole depth. */
static void check_blocks(const product *p, const char *what) {
    const gatun_sgemm_desc *d = &p->desc;
    CHECK(calls.bad_arguments == 0, "%s: %d calls of cblas_sgemm with bad arguments", what, calls.bad_arguments);
    uint8_t *covered = test_allocate(d->m * d->n);
    memset(covered, 0, (size_t)(d->m * d->n));
    for (int n = 0; n < calls.blocks; n++) {
        const block *bl = &calls.block[n];
        CHECK(bl->k == d->k, "%s: a block of depth %d of %lld", what, bl->k, (long long)d->k);
        for (int64_t i = 0; i < bl->m; i++) {
            for (int64_t j = 0; j < bl->n; j++) {
                covered[(bl->offset / d->ldc + i) * d->n + bl->offset % d->ldc + j]++;
            }
        }
    }
    for (int64_t at = 0; at < d->m * d->n; at++) {
        if (covered[at] != 1) {
            test_fail(__FILE__, __LINE__, "%s: %d blocks hold C[%lld][%lld]", what, covered[at], (long long)(at / d->n),
                (long long)(at % d->n));
            break;
        }
    }
    free(covered);
}

static int by_offset(const void *left, const void *right) {
    const block *a = left;
    const block *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void check_product(uint32_t flags, int64_t m, int64_t n, int64_t k, int64_t padding, float alpha, float beta) {
    char what[128];
    snprintf(what, sizeof what, "%lld x %lld x %lld, transposes %u, padding %lld, alpha %g, beta %g", (long long)m,
        (long long)n, (long long)k, (unsigned)flags, (long long)padding, (double)alpha, (double)beta);
    int32_t tiers[MAX_TIERS];
    gatun_context *context = shared_context(tiers[test_tiers(tiers) - 1]);
    product p;
    product_create(&p, flags, m, n, k, padding, alpha, beta);
    static block first[MAX_BLOCKS];
    int first_blocks = 0;
    static const int32_t threads[] = {1, 2, 5, 0};
    float *c = test_allocate(p.c.bytes);
    for (int t = 0; t < 4; t++) {
        int32_t status = run(&p, context, threads[t]);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        qsort(calls.block, (size_t)calls.blocks, sizeof *calls.block, by_offset);
        if (t == 0) {
            check_result(&p, what);
            check_blocks(&p, what);
            first_blocks = calls.blocks;
            memcpy(first, calls.block, sizeof *first * (size_t)calls.blocks);
            memcpy(c, p.c.data, (size_t)p.c.bytes);
        } else {
            CHECK(calls.blocks == first_blocks && memcmp(first, calls.block, sizeof *first * (size_t)first_blocks) == 0,
                "%s: other blocks with %d threads (%d, and %d with one)", what, (int)threads[t], calls.blocks,
                first_blocks);
            CHECK(memcmp(c, p.c.data, (size_t)p.c.bytes) == 0, "%s: other bits with %d threads", what, (int)threads[t]);
        }
    }
    free(c);
    product_destroy(&p);
}

static void shapes(void) {
    static const int64_t sizes[][3] = {{1, 1, 1}, {1, 7, 5}, {7, 1, 3}, {5, 3, 1}, {31, 33, 17}, {64, 64, 64},
        {129, 40, 20}, {3, 700, 9}, {700, 3, 9}, {128, 384, 96}, {257, 129, 65}, {1, 4000, 600}, {300, 260, 50},
        {1, 1, 3000}, {1030, 50, 45}, {530, 1040, 5}};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n += test_light() ? 4 : 1) {
        for (uint32_t flags = 0; flags < 4; flags++) {
            check_product(flags, sizes[n][0], sizes[n][1], sizes[n][2], (int64_t)(n % 3) * 5, 1, 0);
        }
    }
}

static void factors(void) {
    static const float numbers[] = {0, 1, -1, 0.5f, -2.25f};
    for (size_t a = 0; a < sizeof numbers / sizeof *numbers; a++) {
        for (size_t b = 0; b < sizeof numbers / sizeof *numbers; b++) {
            check_product((uint32_t)((a + b) % 4), 150, 33, 20, 3, numbers[a], numbers[b]);
        }
    }
}

/* Large enough that workers help; the counters tell. */
static void helped(void) {
    gatun_context *context = new_context(GATUN_TIER_AUTO, 3);
    REQUIRE(context != NULL, "no context");
    product p;
    product_create(&p, GATUN_SGEMM_TRANSPOSE_B, 600, 200, 200, 0, 1, 0);
    gatun_info info = {.struct_size = sizeof info};
    for (uint64_t n = 1; n <= 50; n++) {
        CHECK_STATUS(run(&p, context, 0), GATUN_OK);
        CHECK_STATUS(gatun_context_info(context, &info), GATUN_OK);
        CHECK(info.calls == n, "calls: expected %d, got %d", (int)n, (int)info.calls);
        if (info.tasks_helped > 0) {
            break;
        }
    }
    CHECK(info.tasks_helped > 0, "no worker has helped with any of %d products", (int)info.calls);
    product_destroy(&p);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
}

/* ---- empty and refused ---- */

static void empty(void) {
    static const int64_t sizes[][3] = {{0, 5, 5}, {5, 0, 5}, {0, 0, 0}};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        product p;
        product_create(&p, 0, sizes[n][0], sizes[n][1], sizes[n][2], 0, 1, 1);
        CHECK_STATUS(run(&p, shared_context(GATUN_TIER_PORTABLE), 0), GATUN_OK);
        product_destroy(&p);
    }
    /* without depth C is scaled */
    check_product(0, 5, 6, 0, 2, 1, 0.5f);
    check_product(3, 5, 6, 0, 2, 1, 0);
}

typedef struct bad_member {
    const char *name;
    size_t offset;
    size_t size;
    int64_t value;
    int32_t status;
} bad_member;

#define BAD(member, value, status)                                                                                     \
    { #member, offsetof(gatun_sgemm_desc, member), sizeof(((gatun_sgemm_desc *)0)->member), value, status }

static void refused(void) {
    static const bad_member bad[] = {BAD(struct_size, 0, GATUN_E_VERSION), BAD(struct_size, 8, GATUN_E_VERSION),
        BAD(flags, 4, GATUN_E_INVALID), BAD(m, -1, GATUN_E_INVALID), BAD(n, -1, GATUN_E_INVALID),
        BAD(k, -1, GATUN_E_INVALID), BAD(m, INT64_C(1) << 31, GATUN_E_INVALID), BAD(n, INT64_MAX, GATUN_E_INVALID),
        BAD(k, INT64_C(0x100000005), GATUN_E_INVALID), BAD(lda, 4, GATUN_E_INVALID), BAD(lda, -5, GATUN_E_INVALID),
        BAD(lda, INT64_C(1) << 31, GATUN_E_INVALID), BAD(ldb, 6, GATUN_E_INVALID),
        BAD(ldb, INT64_C(1) << 31, GATUN_E_INVALID), BAD(ldc, 6, GATUN_E_INVALID), BAD(ldc, 0, GATUN_E_INVALID),
        BAD(ldc, INT64_C(1) << 31, GATUN_E_INVALID), BAD(max_threads, -1, GATUN_E_INVALID),
        BAD(reserved0, 1, GATUN_E_VERSION), BAD(reserved, 1, GATUN_E_VERSION)};
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    product p;
    product_create(&p, 0, 6, 7, 5, 0, 1, 1);
    const gatun_sgemm_desc good = p.desc;
    float *a = (float *)p.a.data;
    float *b = (float *)p.b.data;
    float *c = (float *)p.c.data;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        gatun_sgemm_desc desc = good;
        int32_t narrow = (int32_t)bad[n].value;
        memcpy((uint8_t *)&desc + bad[n].offset, bad[n].size == 4 ? (const void *)&narrow : &bad[n].value,
            bad[n].size == 4 ? 4 : 8);
        int32_t status = gatun_sgemm(context, &desc, blas(), a, b, c);
        CHECK(status == bad[n].status, "%s = %lld: expected %d, got %d", bad[n].name, (long long)bad[n].value,
            (int)bad[n].status, (int)status);
        CHECK(memcmp(c, p.c_before, (size_t)p.c.bytes) == 0, "%s: C was written", bad[n].name);
    }
    CHECK_STATUS(gatun_sgemm(NULL, &good, blas(), a, b, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_sgemm(context, NULL, blas(), a, b, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_sgemm(context, &good, NULL, a, b, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), NULL, b, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), a, NULL, c), GATUN_E_NULL);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), a, b, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), (float *)(void *)(p.a.data + 1), b, c), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), a, (float *)(void *)(p.b.data + 2), c), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), a, b, (float *)(void *)(p.c.data + 3)), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), c, b, c), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), a, c + 1, c), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_sgemm(context, &good, blas(), c + 41, b, c), GATUN_E_OVERLAP);
    CHECK(memcmp(c, p.c_before, (size_t)p.c.bytes) == 0, "refused products: C was written");
    product_destroy(&p);
}

/* A and C side by side in rows of one buffer. */
static void side_by_side(void) {
    enum { M = 6, N = 4, K = 5, LD = N + K };
    float buffer[M * LD];
    float b[K * N];
    rng random = rng_make(test_seed(), 1);
    for (int i = 0; i < M * LD; i++) {
        buffer[i] = rng_normal(&random);
    }
    for (int i = 0; i < K * N; i++) {
        b[i] = rng_normal(&random);
    }
    float want[M][N];
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            want[i][j] = 0;
            for (int x = 0; x < K; x++) {
                want[i][j] += buffer[i * LD + x] * b[x * N + j];
            }
        }
    }
    gatun_sgemm_desc desc = {
        .struct_size = sizeof desc, .m = M, .n = N, .k = K, .lda = LD, .ldb = N, .ldc = LD, .alpha = 1};
    CHECK_STATUS(gatun_sgemm(shared_context(GATUN_TIER_PORTABLE), &desc, blas(), buffer, b, buffer + K), GATUN_OK);
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            CHECK(fabsf(buffer[i * LD + K + j] - want[i][j]) <= 1e-5f, "C[%d][%d]: expected %g, got %g", i, j,
                (double)want[i][j], (double)buffer[i * LD + K + j]);
        }
    }
    CHECK_STATUS(
        gatun_sgemm(shared_context(GATUN_TIER_PORTABLE), &desc, blas(), buffer, b, buffer + K - 1), GATUN_E_OVERLAP);
}

const test_case sgemm_tests[] = {{"shapes", shapes}, {"factors", factors}, {"helped", helped}, {"empty", empty},
    {"refused", refused}, {"side_by_side", side_by_side}, {NULL, NULL}};
