/*
 * Share of the FMA peak that gatun_attention_forward reaches on one core. Each sample is a pair: a window of attention
 * calls between two windows of the FMA loop of the same tier and about the same length; the share is attention / mean
 * of the two. Clocks wander, so only such paired ratios say anything; median and quartiles over the pairs are printed.
 * Flops: 2 * visible (query, key) pairs * (head_dim + head_dim_v) * heads. Before a shape is timed its result is
 * compared with a double reference on some rows.
 */
#define _GNU_SOURCE
#include "gatun.h"

#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct shape {
    const char *name;
    int64_t batch, heads, kv_heads, seq_q, seq_k, dim;
} shape;

static const shape shapes[] = {
    {"s512d64", 1, 1, 1, 512, 512, 64},
    {"s512d128", 1, 1, 1, 512, 512, 128},
    {"s2048d64", 1, 1, 1, 2048, 2048, 64},
    {"s2048d128", 1, 1, 1, 2048, 2048, 128},
    {"s128d64", 1, 1, 1, 128, 128, 64},
    {"s512d32", 1, 1, 1, 512, 512, 32},
    {"tiny16", 1, 4, 4, 16, 16, 32},
    {"pre128", 1, 12, 12, 128, 128, 64},
    {"pre512", 1, 12, 12, 512, 512, 64},
    {"minilm", 32, 12, 12, 128, 128, 32},
    {"pre2048", 1, 16, 16, 2048, 2048, 64},
    {"pre4096", 1, 8, 8, 4096, 4096, 128},
    {"gqa1024", 1, 32, 8, 1024, 1024, 128},
    {"dec4096", 1, 32, 8, 1, 4096, 128},
    {"dec2048x16", 16, 32, 8, 1, 2048, 128},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *random_tensor(int64_t elements, uint64_t *state) {
    float *x = gatun_memory_allocate(elements * 4);
    if (x == NULL) {
        fprintf(stderr, "bench: no memory for %lld floats\n", (long long)elements);
        exit(2);
    }
    for (int64_t i = 0; i < elements; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((double)(*state >> 33) / 1073741824.0 - 1.0);
    }
    return x;
}

static int64_t visible(const gatun_attention_desc *d, int64_t row) {
    int64_t limit = d->causal == GATUN_CAUSAL_NONE       ? d->seq_k
                    : d->causal == GATUN_CAUSAL_TOP_LEFT ? row + 1
                                                         : row + 1 + d->seq_k - d->seq_q;
    return limit < 0 ? 0 : limit > d->seq_k ? d->seq_k : limit;
}

/* Worst error of a few rows of the first and last head, against double arithmetic. */
static double check(const gatun_attention_desc *d, const float *q, const float *k, const float *v, const float *out) {
    double worst = 0, *weight = malloc((size_t)d->seq_k * sizeof *weight);
    for (int64_t sample = 0; sample < 8; sample++) {
        int64_t b = sample % 2 * (d->batch - 1), h = sample % 2 * (d->heads - 1), g = h / (d->heads / d->kv_heads);
        int64_t row = sample * (d->seq_q - 1) / 7, keys = visible(d, row);
        const float *x = q + b * d->q_stride[0] + row * d->q_stride[1] + h * d->q_stride[2];
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < keys; j++) {
            const float *y = k + b * d->k_stride[0] + j * d->k_stride[1] + g * d->k_stride[2];
            weight[j] = 0;
            for (int64_t c = 0; c < d->head_dim; c++)
                weight[j] += (double)x[c] * (double)y[c];
            weight[j] /= sqrt((double)d->head_dim);
            most = weight[j] > most ? weight[j] : most;
        }
        for (int64_t j = 0; j < keys; j++)
            sum += weight[j] = exp(weight[j] - most);
        for (int64_t c = 0; c < d->head_dim_v; c++) {
            double exact = 0;
            for (int64_t j = 0; j < keys; j++)
                exact += weight[j] / sum * (double)v[b * d->v_stride[0] + j * d->v_stride[1] + g * d->v_stride[2] + c];
            double error =
                fabs(exact - (double)out[b * d->out_stride[0] + row * d->out_stride[1] + h * d->out_stride[2] + c]);
            worst = error > worst ? error : worst;
        }
    }
    free(weight);
    return worst;
}

static void strides(int64_t to[3], int bshd, int64_t seq, int64_t heads, int64_t dim) {
    to[0] = seq * heads * dim;
    to[1] = bshd ? heads * dim : dim;
    to[2] = bshd ? dim : seq * dim;
}

typedef struct options {
    const char *only;
    int pairs, bshd, causal, threads;
    double window;
} options;

static int run(gatun_context *ctx, const shape *s, const options *o) {
    uint64_t seed = 42;
    gatun_attention_desc d = {.struct_size = sizeof d,
        .dtype = GATUN_DTYPE_F32,
        .kv_dtype = GATUN_DTYPE_F32,
        .causal = o->causal ? GATUN_CAUSAL_BOTTOM_RIGHT : GATUN_CAUSAL_NONE,
        .batch = s->batch,
        .heads = s->heads,
        .kv_heads = s->kv_heads,
        .seq_q = s->seq_q,
        .seq_k = s->seq_k,
        .head_dim = s->dim,
        .head_dim_v = s->dim};
    strides(d.q_stride, o->bshd, s->seq_q, s->heads, s->dim);
    strides(d.k_stride, o->bshd, s->seq_k, s->kv_heads, s->dim);
    strides(d.v_stride, o->bshd, s->seq_k, s->kv_heads, s->dim);
    strides(d.out_stride, o->bshd, s->seq_q, s->heads, s->dim);
    int64_t query_elements = s->batch * s->seq_q * s->heads * s->dim,
            key_elements = s->batch * s->seq_k * s->kv_heads * s->dim;
    float *q = random_tensor(query_elements, &seed), *k = random_tensor(key_elements, &seed);
    float *v = random_tensor(key_elements, &seed), *out = random_tensor(query_elements, &seed);
    int64_t bytes = 0;
    int32_t status = gatun_attention_workspace_size(ctx, &d, &bytes);
    void *workspace = gatun_memory_allocate(bytes);
    if (status == GATUN_OK)
        status = gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
    if (status != GATUN_OK) {
        fprintf(stderr, "bench: %s: %s\n", s->name, gatun_status_string(status));
        return 1;
    }
    double error = check(&d, q, k, v, out);
    if (!(error < 2e-6)) {
        fprintf(stderr, "bench: %s: wrong result, error %g\n", s->name, error);
        return 1;
    }
    double pairs = 0;
    for (int64_t row = 0; row < s->seq_q; row++)
        pairs += (double)visible(&d, row);
    double flops = 4.0 * pairs * (double)s->dim * (double)(s->heads * s->batch);

    double begin = now();
    gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
    int64_t repeat = (int64_t)(o->window / (now() - begin)) + 1;
    double *share = malloc((size_t)o->pairs * 3 * sizeof *share), *rate = share + o->pairs, *time = rate + o->pairs;
    double before = 0, after = 0;
    gatun_peak_f32(ctx, (int64_t)(o->window * 1e9), &before);
    for (int i = 0; i < o->pairs; i++) {
        begin = now();
        for (int64_t r = 0; r < repeat; r++)
            gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
        time[i] = (now() - begin) / (double)repeat;
        double window = time[i] * (double)repeat;
        gatun_peak_f32(ctx, (int64_t)((window > 0.2 ? 0.2 : window) * 1e9), &after);
        rate[i] = flops / time[i];
        share[i] = rate[i] / (0.5 * (before + after));
        before = after;
    }
    qsort(share, (size_t)o->pairs, sizeof *share, by_value);
    qsort(rate, (size_t)o->pairs, sizeof *rate, by_value);
    qsort(time, (size_t)o->pairs, sizeof *time, by_value);
    int mid = o->pairs / 2, low = o->pairs / 4, high = o->pairs - 1 - low;
    printf("%-11s %-6s %2d thr  %10.2f us  %7.1f GFLOP/s  %5.1f %% of peak (quartiles %.1f .. %.1f)\n", s->name,
        o->causal ? "causal" : "full", o->threads, time[mid] * 1e6, rate[mid] * 1e-9, 100 * share[mid],
        100 * share[low], 100 * share[high]);
    fflush(stdout);
    free(share);
    gatun_memory_free(q, query_elements * 4);
    gatun_memory_free(k, key_elements * 4);
    gatun_memory_free(v, key_elements * 4);
    gatun_memory_free(out, query_elements * 4);
    gatun_memory_free(workspace, bytes);
    return 0;
}

int main(int argc, char **argv) {
    options o = {.pairs = 15, .threads = 1, .window = 0.02};
    static const struct option names[] = {{"only", 1, 0, 'o'}, {"pairs", 1, 0, 'p'}, {"bshd", 0, 0, 'b'},
        {"causal", 0, 0, 'c'}, {"threads", 1, 0, 't'}, {"window", 1, 0, 'w'}, {"help", 0, 0, 'h'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'o')
            o.only = optarg;
        else if (c == 'p')
            o.pairs = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 'b')
            o.bshd = 1;
        else if (c == 'c')
            o.causal = 1;
        else if (c == 't')
            o.threads = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 'w')
            o.window = atof(optarg) > 1e-5 ? atof(optarg) : 0.02;
        else {
            printf(
                "bench_attention [--only NAME-PART] [--pairs N] [--window SECONDS] [--bshd] [--causal] [--threads N]\n"
                "GATUN_ISA chooses the tier. The share with more than one thread is of one core's peak times the "
                "threads.\n");
            return c == 'h' ? 0 : 2;
        }
    }
    gatun_config config = {.struct_size = sizeof config, .threads = o.threads};
    gatun_context *ctx;
    char message[256];
    if (gatun_context_create(&config, &ctx, message, sizeof message) != GATUN_OK) {
        fprintf(stderr, "bench: %s\n", message);
        return 2;
    }
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(ctx, &info);
    printf("libgatun %s, %s, tier %s, %d pairs a row, layout %s\n", gatun_version(), info.cpu,
        gatun_tier_name(info.tier), o.pairs, o.bshd ? "[B,S,H,D]" : "[B,H,S,D]");
    int failed = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (o.only == NULL || strstr(shapes[i].name, o.only) != NULL)
            failed |= run(ctx, &shapes[i], &o);
    gatun_context_destroy(ctx);
    return failed;
}
