/*
 * Share of the FMA peak that gatun_linear_attention reaches on its own flops, and its time by length. Flops: 2 * head_dim * features a
 * row of queries and of keys for random features, 2 * features * head_dim_v a key for the sums and a row for the outputs, and in causal
 * calls (rows of a chunk + 1) * (features + head_dim_v) a row for pairs; exponentials do not count. Each sample is a call, as often as
 * fills a window, between two measurements of the peak, each the best of short windows. With one thread the time is that of the thread
 * on its CPU, so that what else runs meanwhile counts as little as it can. The median of the samples counts.
 */
#define _GNU_SOURCE
#include "gatun.h"
#include "times.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 64, WIDE = 256, MOST_FEATURES = 256, CHUNK = 64, MOST_SAMPLES = 99 };

typedef struct bench {
    gatun_context *context;
    int threads, samples;
    int64_t heads, most;
    double window;
    float *q, *k, *v, *out, *projection, *decay, *state;
    void *workspace;
    int64_t workspace_bytes;
} bench;

static void need(int32_t status, const char *what) {
    if (status != GATUN_OK) {
        fprintf(stderr, "bench: %s: %s\n", what, gatun_status_string(status));
        exit(2);
    }
}

static void *memory(int64_t bytes) {
    void *x = gatun_memory_allocate(bytes);
    if (x == NULL) {
        fprintf(stderr, "bench: no memory for %lld bytes\n", (long long)bytes);
        exit(2);
    }
    return x;
}

static uint64_t seed = 1;

static float *filled(int64_t count, float scale) {
    float *x = memory(count * 4);
    for (int64_t i = 0; i < count; i++) {
        float sum = 0; /* nearly normal */
        for (int n = 0; n < 4; n++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(int32_t)(seed >> 32) * 0x1p-31f;
        }
        x[i] = sum * scale;
    }
    return x;
}

typedef struct what {
    const char *name;
    int32_t map;
    uint32_t flags;
    int decays;
    int64_t head_dim; /* of queries and keys */
} what;

static const what all[] = {{"elu", GATUN_FEATURES_ELU, 0, 0, DIM}, {"elu", GATUN_FEATURES_ELU, 0, 0, WIDE},
    {"performer", GATUN_FEATURES_POSITIVE_RANDOM, 0, 0, DIM},
    {"elu causal", GATUN_FEATURES_ELU, GATUN_LINEAR_ATTENTION_CAUSAL, 0, DIM},
    {"performer causal", GATUN_FEATURES_POSITIVE_RANDOM, GATUN_LINEAR_ATTENTION_CAUSAL, 0, DIM},
    {"decays causal", GATUN_FEATURES_NONE, GATUN_LINEAR_ATTENTION_CAUSAL | GATUN_LINEAR_ATTENTION_UNNORMALIZED, 1,
        DIM}};

static gatun_linear_attention_desc desc_of(const bench *b, const what *w, int64_t seq) {
    const int64_t h = b->heads, d = w->head_dim;
    return (gatun_linear_attention_desc){.struct_size = sizeof(gatun_linear_attention_desc),
        .flags = w->flags,
        .feature_map = w->map,
        .batch = 1,
        .heads = h,
        .query_heads = h,
        .key_heads = h,
        .value_heads = h,
        .seq_q = seq,
        .seq_k = seq,
        .head_dim = d,
        .head_dim_v = DIM,
        .features = w->map == GATUN_FEATURES_POSITIVE_RANDOM ? MOST_FEATURES : d,
        .q_stride = {seq * h * d, h * d, d},
        .k_stride = {seq * h * d, h * d, d},
        .v_stride = {seq * h * DIM, h * DIM, DIM},
        .out_stride = {seq * h * DIM, h * DIM, DIM},
        .decay_stride = {seq * h, h, 1}};
}

static double flops_of(const gatun_linear_attention_desc *d) {
    const double n = (double)(d->heads * d->seq_q), m = (double)d->features;
    double a_row = 4 * m * DIM;
    if (d->feature_map == GATUN_FEATURES_POSITIVE_RANDOM)
        a_row += 4 * m * (double)d->head_dim;
    if ((d->flags & GATUN_LINEAR_ATTENTION_CAUSAL) != 0 && d->seq_q > 1)
        a_row += (double)(d->seq_q < CHUNK ? d->seq_q + 1 : CHUNK + 1) * (m + DIM);
    return n * a_row;
}

static void call(const bench *b, const what *w, const gatun_linear_attention_desc *d) {
    need(gatun_linear_attention(b->context, d, b->workspace, b->workspace_bytes, b->q, b->k, b->v,
             w->map == GATUN_FEATURES_POSITIVE_RANDOM ? b->projection : NULL, w->decays ? b->decay : NULL,
             d->seq_q == 1 && (d->flags & GATUN_LINEAR_ATTENTION_CAUSAL) != 0 ? b->state : NULL, NULL, NULL, NULL,
             b->out),
        "gatun_linear_attention");
}

/* Seconds: of this thread where it is alone. */
static double clock_of(const bench *b) {
    struct timespec t;
    clock_gettime(b->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The best of short windows: of long ones others take a part. */
static double peak_of(const bench *b) {
    double best = 0;
    for (int n = 0; n < 100; n++) {
        double rate;
        need(gatun_peak_f32(b->context, 20000, &rate), "peak");
        best = rate > best ? rate : best;
    }
    return best;
}

static void sample(bench *b, const what *w, int64_t seq) {
    const gatun_linear_attention_desc d = desc_of(b, w, seq);
    need(gatun_linear_attention_workspace_size(b->context, &d, &b->workspace_bytes), "workspace");
    b->workspace = memory(b->workspace_bytes);
    memset(b->state, 0, (size_t)(b->heads * MOST_FEATURES * (DIM + 2) * 4));
    call(b, w, &d);
    double begin = clock_of(b);
    call(b, w, &d);
    const int64_t repeat = (int64_t)(b->window / (clock_of(b) - begin)) + 1;
    double times[MOST_SAMPLES], shares[MOST_SAMPLES], before, after;
    before = peak_of(b);
    for (int n = 0; n < b->samples; n++) {
        begin = clock_of(b);
        for (int64_t i = 0; i < repeat; i++)
            call(b, w, &d);
        times[n] = (clock_of(b) - begin) / (double)repeat;
        after = peak_of(b);
        shares[n] = flops_of(&d) / times[n] / (0.5 * (before + after)) / b->threads;
        before = after;
    }
    qsort(times, (size_t)b->samples, sizeof *times, by_value);
    qsort(shares, (size_t)b->samples, sizeof *shares, by_value);
    printf("%-18s seq %6lld, features %3lld: %11.4f ms (best %11.4f)  %5.1f %% of the peak (best %5.1f)\n", w->name,
        (long long)seq, (long long)d.features, times[b->samples / 2] * 1e3, times[0] * 1e3,
        100 * shares[b->samples / 2], 100 * shares[b->samples - 1]);
    fflush(stdout);
    gatun_memory_free(b->workspace, b->workspace_bytes);
}

static int usage(int status) {
    printf("bench_linear_attention [--seq 1,64,...] [--heads N] [--threads N] [--samples N] [--window SECONDS] [--only "
           "NAME]\n"
           "head_dim_v 64, head_dim 64 or, of as many features, 256; 256 random features; one row of a causal call is "
           "a step over a state. GATUN_ISA "
           "chooses the tier.\n");
    return status;
}

int main(int argc, char **argv) {
    bench b = {.threads = 1, .samples = 9, .heads = 4, .window = 0.01};
    int64_t seq[16] = {1, 64, 512, 2048, 8192, 32768, 65536};
    int count = 7;
    const char *only = NULL;
    static const struct option names[] = {{"seq", 1, 0, 's'}, {"heads", 1, 0, 'h'}, {"threads", 1, 0, 't'},
        {"samples", 1, 0, 'n'}, {"window", 1, 0, 'w'}, {"only", 1, 0, 'o'}, {"help", 0, 0, '?'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 's') {
            count = 0;
            for (char *part = strtok(optarg, ","); part != NULL && count < 16; part = strtok(NULL, ","))
                if (atoll(part) > 0 && atoll(part) <= 1 << 24)
                    seq[count++] = atoll(part);
        } else if (c == 'h')
            b.heads = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 't')
            b.threads = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 'n')
            b.samples = atoi(optarg) > 0 && atoi(optarg) <= MOST_SAMPLES ? atoi(optarg) : 9;
        else if (c == 'w')
            b.window = atof(optarg) > 1e-5 && atof(optarg) < 1 ? atof(optarg) : 0.01;
        else if (c == 'o')
            only = optarg;
        else
            return usage(c == '?' ? 0 : 2);
    }
    gatun_config config = {.struct_size = sizeof config, .threads = b.threads};
    char message[256];
    if (gatun_context_create(&config, &b.context, message, sizeof message) != GATUN_OK) {
        fprintf(stderr, "bench: %s\n", message);
        return 2;
    }
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(b.context, &info);
    printf("libgatun %s, %s, tier %s, %d threads, %lld heads of %d\n", gatun_version(), info.cpu,
        gatun_tier_name(info.tier), b.threads, (long long)b.heads, DIM);
    for (int i = 0; i < count; i++)
        b.most = seq[i] > b.most ? seq[i] : b.most;
    const int64_t floats = b.most * b.heads * DIM;
    b.q = filled(floats / DIM * WIDE, 0.8f);
    b.k = filled(floats / DIM * WIDE, 0.8f);
    b.v = filled(floats, 0.8f);
    b.out = memory(floats * 4);
    b.projection = filled(MOST_FEATURES * DIM, 0.87f);
    b.decay = filled(b.most * b.heads, 0.1f);
    for (int64_t i = 0; i < b.most * b.heads; i++)
        b.decay[i] = -fabsf(b.decay[i]);
    b.state = memory(b.heads * MOST_FEATURES * (DIM + 2) * 4);
    for (size_t w = 0; w < sizeof all / sizeof *all; w++)
        for (int i = 0; i < count && (only == NULL || strcmp(only, all[w].name) == 0); i++)
            sample(&b, &all[w], seq[i]);
    gatun_context_destroy(b.context);
    return 0;
}
