/*
 * Additive attention beside what its hyperbolic tangents cost: gatun_additive_attention on one core, [1][seq][1][dim], in nanoseconds for
 * one tanh, and the share of two bounds (tanh.h): a loop of independent tangents of the same tier, the plain way, and a loop of the
 * kernel's own instructions. Beside it the time of exact attention on the same tensors. Loops and calls alternate; the least time of
 * each counts, of the thread's own time, since others may use the machine. Before a length is timed some rows are compared with the definition in double.
 *
 *     bench_additive [--tier NAME] [--dim D] [--rounds N] [seq ...]
 */
#define _GNU_SOURCE
#include "bench_additive.h"
#include "gatun.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    int32_t tier;
    tanh_loop *tanh, *mix;
} loops[] = {
#define GATUN_TIER(TIER, tier, lanes) {GATUN_TIER_##TIER, gatunbench__tanh_##tier, gatunbench__mix_##tier},
#include "kernels.inc"
};

static float *tensor(int64_t elements, uint64_t *state) {
    float *x = gatun_memory_allocate(elements * 4);
    if (x == NULL) {
        fprintf(stderr, "bench: no memory for %lld floats\n", (long long)elements);
        exit(2);
    }
    for (int64_t i = 0; i < elements; i++) { /* about N(0, 1) */
        double sum = 0;
        for (int n = 0; n < 12; n++) {
            *state = *state * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(*state >> 40) * 0x1p-24;
        }
        x[i] = (float)(sum - 6);
    }
    return x;
}

static void fail(const char *what, int32_t status) {
    fprintf(stderr, "bench: %s: %s\n", what, gatun_status_string(status));
    exit(2);
}

/* Seconds of this thread, which does all the work: others that use the machine take none of them. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds for one tanh of a loop. */
static double loop_seconds(tanh_loop *loop, int64_t rounds) {
    float io[2] = {0, 1};
    const double from = now(), count = loop(rounds, io) * (double)rounds;
    return (now() - from) / count;
}

typedef struct problem {
    int64_t seq, dim;
    float *energy, *q, *k, *v, *out;
} problem;

/* The largest error of some rows, of the largest element. */
static double error_of(const problem *p) {
    double error = 0, most = 0, *scores = malloc((size_t)p->seq * sizeof *scores);
    for (int64_t row = 0; row < p->seq; row += (p->seq + 7) / 8) {
        double largest = -(double)INFINITY, sum = 0;
        for (int64_t j = 0; j < p->seq; j++) {
            scores[j] = 0;
            for (int64_t d = 0; d < p->dim; d++)
                scores[j] += (double)p->energy[d] * tanh((double)p->q[row * p->dim + d] + (double)p->k[j * p->dim + d]);
            largest = fmax(largest, scores[j]);
        }
        for (int64_t j = 0; j < p->seq; j++)
            sum += exp(scores[j] - largest);
        for (int64_t c = 0; c < p->dim; c++) {
            double want = 0;
            for (int64_t j = 0; j < p->seq; j++)
                want += exp(scores[j] - largest) / sum * (double)p->v[j * p->dim + c];
            most = fmax(most, fabs(want));
            error = fmax(error, fabs(want - (double)p->out[row * p->dim + c]));
        }
    }
    free(scores);
    return error / most;
}

static void measure(gatun_context *context, size_t tier, int64_t seq, int64_t dim, int rounds) {
    uint64_t state = 1;
    problem p = {seq, dim, tensor(dim, &state), tensor(seq * dim, &state), tensor(seq * dim, &state),
        tensor(seq * dim, &state), tensor(seq * dim, &state)};
    for (int64_t d = 0; d < dim; d++)
        p.energy[d] /= sqrtf((float)dim);
    const int64_t s[3] = {0, dim, dim};
    const gatun_additive_attention_desc desc = {.struct_size = sizeof desc,
        .batch = 1,
        .heads = 1,
        .kv_heads = 1,
        .seq_q = seq,
        .seq_k = seq,
        .head_dim = dim,
        .head_dim_v = dim,
        .q_stride = {s[0], s[1], s[2]},
        .k_stride = {s[0], s[1], s[2]},
        .v_stride = {s[0], s[1], s[2]},
        .out_stride = {s[0], s[1], s[2]}};
    const gatun_attention_desc exact = {.struct_size = sizeof exact,
        .dtype = GATUN_DTYPE_F32,
        .kv_dtype = GATUN_DTYPE_F32,
        .batch = 1,
        .heads = 1,
        .kv_heads = 1,
        .seq_q = seq,
        .seq_k = seq,
        .head_dim = dim,
        .head_dim_v = dim,
        .q_stride = {s[0], s[1], s[2]},
        .k_stride = {s[0], s[1], s[2]},
        .v_stride = {s[0], s[1], s[2]},
        .out_stride = {s[0], s[1], s[2]}};
    int64_t bytes = 0, exact_bytes = 0;
    int32_t status = gatun_additive_attention_workspace_size(context, &desc, &bytes);
    if (status == GATUN_OK)
        status = gatun_attention_workspace_size(context, &exact, &exact_bytes);
    if (status != GATUN_OK)
        fail("workspace size", status);
    const int64_t larger = bytes > exact_bytes ? bytes : exact_bytes;
    void *workspace = gatun_memory_allocate(larger);
    double call = INFINITY, plain = INFINITY, mix = INFINITY, other = INFINITY;
    const double tangents = (double)seq * (double)seq * (double)dim;
    double error = 0;
    for (int r = 0; r < rounds; r++) {
        for (int n = 0; n < 20; n++) {
            plain = fmin(plain, loop_seconds(loops[tier].tanh, 4000));
            mix = fmin(mix, loop_seconds(loops[tier].mix, 4000));
        }
        double from = now();
        status = gatun_attention_forward(context, &exact, workspace, larger, p.q, p.k, p.v, NULL, NULL, p.out, NULL);
        other = fmin(other, now() - from);
        if (status != GATUN_OK)
            fail("gatun_attention_forward", status);
        from = now();
        status = gatun_additive_attention(
            context, &desc, workspace, larger, p.energy, p.q, p.k, p.v, NULL, NULL, NULL, NULL, p.out, NULL);
        call = fmin(call, now() - from);
        if (status != GATUN_OK)
            fail("gatun_additive_attention", status);
        if (r == 0 && (error = error_of(&p)) > 1e-5) {
            fprintf(stderr, "bench: wrong result at seq %lld: %.3g\n", (long long)seq, error);
            exit(1);
        }
    }
    printf("%-9s %6lld %4lld  %9.2f ms  %7.4f ns  %5.1f %%  %5.1f %%  %8.1f x  %8.1e\n",
        gatun_tier_name(loops[tier].tier), (long long)seq, (long long)dim, call * 1e3, call / tangents * 1e9,
        100 * plain * tangents / call, 100 * mix * tangents / call, call / other, error);
    fflush(stdout);
    gatun_memory_free(workspace, larger);
    gatun_memory_free(p.energy, dim * 4);
    float *const rest[] = {p.q, p.k, p.v, p.out};
    for (int i = 0; i < 4; i++)
        gatun_memory_free(rest[i], seq * dim * 4);
}

int main(int argc, char **argv) {
    int64_t seqs[16] = {512, 2048, 8192}, dim = 64;
    int count = 3, rounds = 10;
    const char *only = NULL;
    for (int i = 1, given = 0; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--tier") == 0)
            only = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--dim") == 0)
            dim = atoll(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(argv[++i]);
        else if (given < 16 && atoll(argv[i]) > 0)
            seqs[given++] = atoll(argv[i]), count = given;
        else {
            fprintf(stderr, "usage: bench_additive [--tier NAME] [--dim D] [--rounds N] [seq ...]\n");
            return 2;
        }
    }
    printf("tier         seq  dim          call      a tanh  of tanh  of mix  beside exact     error\n");
    for (size_t t = 0; t < sizeof loops / sizeof loops[0]; t++) {
        if (gatun_tier_available(loops[t].tier) != GATUN_OK ||
            (only != NULL && strcmp(only, gatun_tier_name(loops[t].tier)) != 0))
            continue;
        const gatun_config config = {.struct_size = sizeof config, .threads = 1, .tier = loops[t].tier};
        gatun_context *context;
        const int32_t status = gatun_context_create(&config, &context, NULL, 0);
        if (status != GATUN_OK)
            fail("context", status);
        for (int i = 0; i < count; i++)
            measure(context, t, seqs[i], dim, rounds);
        gatun_context_destroy(context);
    }
    return 0;
}
