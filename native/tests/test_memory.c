/*
 * Warm calls take no memory: a program of its own, to be run with LD_PRELOAD of libmalloc_counter.so.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "malloc_counter.h"
#include "placement.h"

static void (*counter_start)(int32_t);
static int64_t (*counter_stop)(void);
static const char *(*counter_first)(int64_t *);

static bool find_counter(void) {
    void *start = dlsym(RTLD_DEFAULT, "malloc_counter_start");
    void *stop = dlsym(RTLD_DEFAULT, "malloc_counter_stop");
    void *first = dlsym(RTLD_DEFAULT, "malloc_counter_first");
    /* an object pointer that is a function's: POSIX gives both the same representation */
    memcpy(&counter_start, &start, sizeof start);
    memcpy(&counter_stop, &stop, sizeof stop);
    memcpy(&counter_first, &first, sizeof first);
    CHECK(start != NULL && stop != NULL && first != NULL, "run with LD_PRELOAD=.../libmalloc_counter.so");
    return start != NULL && stop != NULL && first != NULL;
}

static void check_count(int64_t count, int64_t wanted, const char *what) {
    int64_t bytes = 0;
    const char *first = counter_first(&bytes);
    CHECK(count == wanted, "%s: expected %lld calls that take memory, counted %lld, the first %s of %lld bytes", what,
        (long long)wanted, (long long)count, first != NULL ? first : "none", (long long)bytes);
}

/* ---- the counter itself ---- */

static void *volatile kept;

static void take_in_every_way(void) {
    kept = malloc(10);
    kept = realloc(kept, 20);
    free(kept);
    kept = calloc(2, 10);
    free(kept);
    kept = aligned_alloc(64, 64);
    free(kept);
    void *block = NULL;
    if (posix_memalign(&block, 64, 64) == 0) {
        free(block);
    }
    kept = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(kept, 4096);
}

static pthread_barrier_t begin, end;

static void *take_in_thread(void *name) {
    pthread_setname_np(pthread_self(), name);
    pthread_barrier_wait(&begin);
    take_in_every_way();
    pthread_barrier_wait(&end);
    return NULL;
}

static int64_t count_in_thread(int all_threads, char *name) {
    pthread_t thread;
    pthread_barrier_init(&begin, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    pthread_create(&thread, NULL, take_in_thread, name);
    counter_start(all_threads);
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    int64_t count = counter_stop();
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&begin);
    pthread_barrier_destroy(&end);
    return count;
}

static void counter(void) {
    if (!find_counter()) {
        return;
    }
    for (int all = 0; all < 2; all++) {
        counter_start(all);
        check_count(counter_stop(), 0, "nothing");
        counter_start(all);
        take_in_every_way();
        check_count(counter_stop(), 6, "the calling thread");
    }
    static char worker[] = "gatun-7";
    static char other[] = "other-7";
    check_count(count_in_thread(0, worker), 6, "selected threads, one named gatun-7");
    check_count(count_in_thread(0, other), 0, "selected threads, one named other-7");
    check_count(count_in_thread(1, other), 6, "all threads, one named other-7");
    counter_start(1);
    take_in_every_way();
    counter_stop();
    take_in_every_way();
    CHECK(counter_stop() == 6, "calls after malloc_counter_stop are counted");
}

/* ---- attention ---- */

static void warm_calls_of(int32_t tier, const problem *p, int32_t max_threads, const char *what) {
    gatun_context *context = shared_context(tier);
    gatun_attention_desc desc = default_desc(p);
    desc.max_threads = max_threads;
    int64_t bytes;
    void *workspace = new_workspace(context, &desc, &bytes);
    outcome got;
    outcome_create(&got, p);
    int32_t failed = GATUN_OK;
    int64_t again = 0;
    for (int phase = 0; phase < 2; phase++) {
        if (phase == 1) {
            counter_start(1);
        }
        for (int i = 0; i < (phase == 0 ? 20 : 1000); i++) {
            int32_t status = gatun_attention_workspace_size(context, &desc, &again);
            failed = status != GATUN_OK ? status : failed;
            status =
                forward_problem(context, &desc, workspace, bytes, p, p->q, p->k, p->v, got.out, got.lse, NULL, NULL);
            failed = status != GATUN_OK ? status : failed;
            status = gatun_attention_forward_extended(context, &desc, workspace, bytes, p->q, p->k, p->v,
                p->key_lengths, p->query_lengths, got.out, NULL, NULL, NULL, NULL, NULL, NULL, NULL, p->alibi_slopes,
                NULL, NULL, NULL, NULL, p->relative_table, NULL, NULL, NULL);
            failed = status != GATUN_OK ? status : failed;
        }
    }
    check_count(counter_stop(), 0, what);
    CHECK(failed == GATUN_OK, "%s: %s", what, gatun_status_string(failed));
    free(workspace);
    outcome_free(&got);
}

static void warm_calls(void) {
    if (!find_counter()) {
        return;
    }
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        /* decoding over splits; several blocks under a mask; NaN, so that blocks are run twice; biases */
        problem decode = new_problem(2, 8, 2, 1, 2500, 32, GATUN_CAUSAL_NONE);
        problem prefill = new_problem(1, 4, 4, 100, 100, 32, GATUN_CAUSAL_BOTTOM_RIGHT);
        problem twice = new_problem(1, 4, 4, 60, 60, 32, GATUN_CAUSAL_TOP_LEFT);
        twice.v[30 * 4 * 32] = NAN;
        problem biased = new_problem(2, 4, 2, 70, 150, 32, GATUN_CAUSAL_BOTTOM_RIGHT);
        rng random = rng_make(test_seed(), 1);
        problem_bias(&biased, BIAS_BOTH, 40, &random);
        static const int32_t threads[] = {1, SHARED_THREADS};
        for (int n = 0; n < 2; n++) {
            char what[64];
            snprintf(what, sizeof what, "%s, %d threads", gatun_tier_name(tiers[t]), (int)threads[n]);
            warm_calls_of(tiers[t], &decode, threads[n], what);
            warm_calls_of(tiers[t], &prefill, threads[n], what);
            warm_calls_of(tiers[t], &twice, threads[n], what);
            warm_calls_of(tiers[t], &biased, threads[n], what);
        }
        problem_free(&decode);
        problem_free(&prefill);
        problem_free(&twice);
        problem_free(&biased);
    }
}

static void refused_calls(void) {
    if (!find_counter()) {
        return;
    }
    problem p = new_problem(1, 2, 2, 4, 4, 8, GATUN_CAUSAL_NONE);
    gatun_attention_desc desc = default_desc(&p);
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    desc.heads = 0;
    char message[200];
    counter_start(1);
    for (int i = 0; i < 1000; i++) {
        gatun_attention_forward(context, &desc, NULL, 0, p.q, p.k, p.v, NULL, NULL, NULL, NULL);
        gatun_attention_check(context, &desc, message, sizeof message);
    }
    check_count(counter_stop(), 0, "refused calls and their messages");
    problem_free(&p);
}

/* ---- products ---- */

static void no_blas(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a,
    int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    (void)order, (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda;
    (void)b, (void)ldb, (void)beta;
    c[0] = (float)ldc;
}

static void products(void) {
    if (!find_counter()) {
        return;
    }
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    enum { N = 512 };
    float *matrix = test_allocate(3 * N * N * (int64_t)sizeof(float));
    gatun_sgemm_desc desc = {
        .struct_size = sizeof desc, .m = N, .n = N, .k = N, .lda = N, .ldb = N, .ldc = N, .alpha = 1};
    int32_t failed = GATUN_OK;
    for (int phase = 0; phase < 2; phase++) {
        if (phase == 1) {
            counter_start(1);
        }
        for (int i = 0; i < (phase == 0 ? 20 : 1000); i++) {
            int32_t status = gatun_sgemm(
                context, &desc, (const void *)(uintptr_t)no_blas, matrix, matrix + N * N, matrix + 2 * N * N);
            failed = status != GATUN_OK ? status : failed;
        }
    }
    check_count(counter_stop(), 0, "products");
    CHECK(failed == GATUN_OK, "%s", gatun_status_string(failed));
    free(matrix);
}

/* ---- products with packed weights ---- */

static void packed_products_of(gatun_context *context, int32_t format, const char *what) {
    enum { N = 200 };
    float *matrix = test_allocate(3 * N * N * (int64_t)sizeof(float));
    memset(matrix, 0, 3 * N * N * sizeof(float));
    const gatun_pack_desc pack = {.struct_size = sizeof pack,
        .format = format,
        .dtype = GATUN_DTYPE_F32,
        .in_features = N,
        .out_features = N,
        .in_stride = N,
        .out_stride = 1};
    gatun_packed_linear_desc desc = {.struct_size = sizeof desc,
        .format = format,
        .rows = N,
        .in_features = N,
        .out_features = N,
        .x_row = N,
        .out_row = N};
    int64_t bytes = 0, workspace_bytes = 0;
    CHECK_STATUS(gatun_pack_size(&pack, &bytes, NULL, 0), GATUN_OK);
    CHECK_STATUS(gatun_packed_linear_workspace_size(context, &desc, &workspace_bytes), GATUN_OK);
    char *packed = gatun_memory_allocate(bytes), *workspace = gatun_memory_allocate(workspace_bytes);
    int32_t failed = GATUN_OK;
    for (int phase = 0; phase < 2; phase++) {
        if (phase == 1) {
            counter_start(1);
        }
        for (int i = 0; i < (phase == 0 ? 5 : 50); i++) {
            int32_t status = gatun_pack(context, &pack, matrix, NULL, packed, bytes, NULL, 0);
            failed = status != GATUN_OK ? status : failed;
            desc.activation = i % 6;
            status = gatun_packed_linear(context, &desc, workspace, workspace_bytes, packed, bytes, matrix + N * N,
                NULL, NULL, NULL, matrix + 2 * N * N);
            failed = status != GATUN_OK ? status : failed;
        }
    }
    check_count(counter_stop(), 0, what);
    CHECK(failed == GATUN_OK, "%s: %s", what, gatun_status_string(failed));
    gatun_memory_free(packed, bytes);
    gatun_memory_free(workspace, workspace_bytes);
    free(matrix);
}

static void packed_products(void) {
    if (!find_counter()) {
        return;
    }
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int32_t format = GATUN_WEIGHTS_F32; format <= GATUN_WEIGHTS_Q4_0; format++) {
            char what[64];
            snprintf(what, sizeof what, "packed products, %s, format %d", gatun_tier_name(tiers[t]), (int)format);
            packed_products_of(shared_context(tiers[t]), format, what);
        }
    }
}

int main(int argc, char **argv) {
    static const test_case memory_tests[] = {{"counter", counter}, {"warm_calls", warm_calls},
        {"refused_calls", refused_calls}, {"products", products}, {"packed_products", packed_products}, {NULL, NULL}};
    static const test_suite suites[] = {{"memory", memory_tests}, {NULL, NULL}};
    return test_main(argc, argv, suites);
}
