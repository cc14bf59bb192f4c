/*
 * The selective scan beside its bound by instructions (scan_bound.h), on one thread: channels 1536, states 16, as Mamba-130M has them, with
 * softplus, d, delta_bias and the gate. Each sample is a pair, a call between two windows of the bound's loop; the share is bound / call
 * for the states of both, its median over the pairs; beside it the best time. Times are those
 * of the thread, not of the clock. The bound by bandwidth, 16 bytes a row and channel, is far
 * above: it is printed as GB/s. Time at 65,536 rows over that at 32,768 is said last.
 */
#define _GNU_SOURCE
#include "gatun.h"
#include "scan_bounds.h"
#include "times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 1536, STATES = 16, MOST_ROWS = 65536, PAIRS = 9 };

typedef struct bench {
    gatun_context *context;
    gatun_selective_scan_desc desc;
    scan_bound *bound;
    float *x, *delta, *z, *y, *b, *c, *a, *d, *bias;
    void *workspace;
    int64_t workspace_bytes;
} bench;

static void *memory(int64_t bytes) {
    void *x = gatun_memory_allocate(bytes);
    if (x == NULL) {
        fprintf(stderr, "bench: no memory for %lld bytes\n", (long long)bytes);
        exit(2);
    }
    return x;
}

static void need(int32_t status, const char *what) {
    if (status != GATUN_OK) {
        fprintf(stderr, "bench: %s: %s\n", what, gatun_status_string(status));
        exit(2);
    }
}

/* Seconds that this thread has run: others who use its core count less. */
static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t seed = 1;

static float *numbers(int64_t count, float shift, float scale) {
    float *x = memory(count * 4);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = shift + scale * (float)(int32_t)(seed >> 32) * 0x1p-31f;
    }
    return x;
}

static void run(const bench *b) {
    need(gatun_selective_scan(b->context, &b->desc, b->workspace, b->workspace_bytes, b->x, b->delta, b->a, b->b, b->c,
             b->d, b->bias, b->z, NULL, NULL, b->y),
        "gatun_selective_scan");
}

/* Of one channel, against double. */
static void check(const bench *b) {
    double h[STATES] = {0};
    const int64_t i = 1234;
    for (int64_t t = 0; t < b->desc.seq; t++) {
        const double x = (double)b->x[t * CHANNELS + i];
        const double step = log1p(exp((double)b->delta[t * CHANNELS + i] + (double)b->bias[i]));
        double y = (double)b->d[i] * x;
        for (int n = 0; n < STATES; n++) {
            h[n] = exp(step * (double)b->a[i * STATES + n]) * h[n] + step * (double)b->b[t * STATES + n] * x;
            y += (double)b->c[t * STATES + n] * h[n];
        }
        const double z = (double)b->z[t * CHANNELS + i], want = y * z / (1 + exp(-z));
        if (!(fabs((double)b->y[t * CHANNELS + i] - want) <= 1e-4 * (1 + fabs(want)))) {
            fprintf(stderr, "bench: y[%lld][%lld]: expected %g, got %g\n", (long long)t, (long long)i, want,
                (double)b->y[t * CHANNELS + i]);
            exit(2);
        }
    }
}

/* Seconds of a state of a channel. */
static double bound_time(const bench *b, double seconds) {
    double states = 0, begin = cpu_now(), time;
    do {
        float io[2] = {1, 1e-3f};
        states += b->bound(20000, io);
        time = cpu_now() - begin;
    } while (time < seconds);
    return time / states;
}

static double measure(bench *b, int64_t rows) {
    b->desc.seq = rows;
    run(b);
    check(b);
    const double states = (double)rows * CHANNELS * STATES;
    double begin = cpu_now(), share[PAIRS], time[PAIRS];
    run(b);
    const int64_t repeat = (int64_t)(0.003 / (cpu_now() - begin)) + 1;
    double before = bound_time(b, 0.003);
    for (int n = 0; n < PAIRS; n++) {
        begin = cpu_now();
        for (int64_t i = 0; i < repeat; i++)
            run(b);
        time[n] = (cpu_now() - begin) / (double)repeat;
        const double after = bound_time(b, 0.003);
        share[n] = fmin(before, after) * states / time[n];
        before = after;
    }
    qsort(time, PAIRS, sizeof *time, by_value);
    qsort(share, PAIRS, sizeof *share, by_value);
    printf("%6lld rows  best %10.4f ms  median %10.4f ms  %6.3f ns a state of 16 channels  %5.1f GB/s  %5.1f %% of the "
           "bound\n",
        (long long)rows, time[0] * 1e3, time[PAIRS / 2] * 1e3, time[0] / states * 16e9,
        16.0 * (double)rows * CHANNELS / time[0] * 1e-9, 100 * share[PAIRS / 2]);
    fflush(stdout);
    return time[0];
}

static scan_bound *bound_of(int32_t tier) {
    switch (tier) {
#if defined(__x86_64__)
    case GATUN_TIER_AVX512:
        return scan_bound_avx512;
    case GATUN_TIER_AVX2:
        return scan_bound_avx2;
#elif defined(__aarch64__)
    case GATUN_TIER_NEON:
        return scan_bound_neon;
#endif
    default:
        return scan_bound_portable;
    }
}

int main(int argc, char **argv) {
    const int64_t most = argc > 1 && atoll(argv[1]) > 0 && atoll(argv[1]) < MOST_ROWS ? atoll(argv[1]) : MOST_ROWS;
    const gatun_config config = {.struct_size = sizeof config, .threads = 1};
    bench b = {.desc = {.struct_size = sizeof(gatun_selective_scan_desc),
                   .flags = GATUN_SCAN_SOFTPLUS,
                   .batch = 1,
                   .seq = most,
                   .channels = CHANNELS,
                   .states = STATES,
                   .x_row = CHANNELS,
                   .delta_row = CHANNELS,
                   .b_row = STATES,
                   .c_row = STATES,
                   .z_row = CHANNELS,
                   .y_row = CHANNELS}};
    need(gatun_context_create(&config, &b.context, NULL, 0), "gatun_context_create");
    gatun_info info = {.struct_size = sizeof info};
    need(gatun_context_info(b.context, &info), "gatun_context_info");
    b.bound = bound_of(info.tier);
    printf("libgatun %s, %s, tier %s; scan_bound: %.3f ns a state of 16 channels\n", gatun_version(), info.cpu,
        gatun_tier_name(info.tier), bound_time(&b, 0.02) * 16e9);
    b.x = numbers(most * CHANNELS, 0, 1);
    b.delta = numbers(most * CHANNELS, -3, 1);
    b.z = numbers(most * CHANNELS, 0, 1);
    b.y = memory(most * CHANNELS * 4);
    b.b = numbers(most * STATES, 0, 1);
    b.c = numbers(most * STATES, 0, 1);
    b.a = numbers(CHANNELS * STATES, -8, 7);
    b.d = numbers(CHANNELS, 1, 0.1f);
    b.bias = numbers(CHANNELS, 0, 0.1f);
    need(gatun_selective_scan_workspace_size(b.context, &b.desc, &b.workspace_bytes), "workspace");
    b.workspace = memory(b.workspace_bytes);
    double before = 0, last = 0;
    for (int64_t rows = 1; rows <= most; rows *= rows < 512 ? 8 : 2) {
        before = last;
        last = measure(&b, rows);
    }
    printf("time of the last over that of half its rows: %.2f\n", last / before);
    need(gatun_context_destroy(b.context), "gatun_context_destroy");
    return 0;
}
