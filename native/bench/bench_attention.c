/*
 * Share of the FMA peak (with --bf16 of that of bf16 products) that gatun_attention_forward reaches on one core. Each sample is a pair: a window of attention
 * calls between two windows of the FMA loop of the same tier and about the same length; the share is attention / mean
 * of the two. Clocks wander, so only such paired ratios say anything; median and quartiles over the pairs are printed.
 * A pair is undisturbed if nobody else used the core right before its calls and right after them, by the gauge of
 * core_contention.h, which looks at no time of ours; median and quartiles are of the undisturbed pairs if there are
 * enough, and each row says how many there were.
 * Shapes, inputs and flop formula: workload.h. Before a shape is timed its result is compared with a double reference
 * on some rows.
 */
#define _GNU_SOURCE
#include "bench_changes.h"
#include "core_contention.h"
#include "times.h"
#include "workload.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const char *only, *json;
    int pairs, bshd, causal, all, threads, pin, bf16, changes;
    int64_t seq;
    double window, limit;
} options;

static int64_t bytes_of(int64_t elements) {
    return elements > 0 ? elements * 4 : 4;
}

static float *tensor(int64_t elements) {
    float *x = gatun_memory_allocate(bytes_of(elements));
    if (x == NULL) {
        fprintf(stderr, "bench: no memory for %lld floats\n", (long long)elements);
        exit(2);
    }
    return x;
}

/* A sorted sample: median and quartiles. */
typedef struct quartiles {
    double low, mid, high;
    int count;
} quartiles;

static quartiles sorted(double *x, int count) {
    qsort(x, (size_t)count, sizeof *x, by_value);
    return (quartiles){x[count / 4], x[count / 2], x[count - 1 - count / 4], count};
}

static void write_json(FILE *json, const char *name, const char *unit, quartiles s, const char *end) {
    fprintf(json, "\"%s\": {\"unit\": \"%s\", \"median\": %.9g, \"q1\": %.9g, \"q3\": %.9g, \"count\": %d}%s", name,
        unit, s.mid, s.low, s.high, s.count, end);
}

/* The FMA loop is timed as long as the calls, but within bounds. */
static double peak_window(double seconds) {
    return seconds > 0.1 ? 0.1 : seconds;
}

static void measure_peak(gatun_context *ctx, const options *o, double seconds, double *rate) {
    const int64_t nanoseconds = (int64_t)(seconds * 1e9);
    if (o->bf16)
        gatun_packed_linear_peak(ctx, GATUN_WEIGHTS_BF16, nanoseconds, rate);
    else
        gatun_peak_f32(ctx, nanoseconds, rate);
}

static int run(gatun_context *ctx, const workload_shape *s, const options *o, FILE *json, int first_row) {
    gatun_attention_desc d;
    workload_describe(&d, s, o->bshd);
    d.causal = o->causal ? GATUN_CAUSAL_BOTTOM_RIGHT : GATUN_CAUSAL_NONE;
    d.flags |= o->bf16 ? GATUN_ATTENTION_BF16 : 0;
    int64_t query_elements = s->batch * s->seq_q * s->heads * s->dim,
            key_elements = s->batch * s->seq_k * s->kv_heads * s->dim;
    float *q = tensor(query_elements), *k = tensor(key_elements), *v = tensor(key_elements);
    float *out = tensor(query_elements);
    workload_fill(q, WORKLOAD_SEED_Q, s->batch, s->heads, s->seq_q, s->dim, o->bshd);
    workload_fill(k, WORKLOAD_SEED_K, s->batch, s->kv_heads, s->seq_k, s->dim, o->bshd);
    workload_fill(v, WORKLOAD_SEED_V, s->batch, s->kv_heads, s->seq_k, s->dim, o->bshd);
    int64_t bytes = 0;
    int32_t status = gatun_attention_workspace_size(ctx, &d, &bytes);
    void *workspace = gatun_memory_allocate(bytes);
    if (status == GATUN_OK)
        status = gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
    if (status != GATUN_OK) {
        fprintf(stderr, "bench: %s: %s\n", s->name, gatun_status_string(status));
        return 1;
    }
    double error = workload_error(&d, q, k, v, out);
    if (!(error < (o->bf16 ? WORKLOAD_TOLERANCE_BF16 : WORKLOAD_TOLERANCE))) {
        fprintf(stderr, "bench: %s: wrong result, error %g\n", s->name, error);
        return 1;
    }
    double flops = workload_flops(&d);

    const double threshold = contention_threshold();
    const int most = 2 * o->pairs;
    double *share = malloc((size_t)most * 5 * sizeof *share + (size_t)most);
    if (share == NULL)
        return 1;
    double *rate = share + most, *time = rate + most, *gauges = time + most;
    unsigned char *undisturbed = (unsigned char *)(gauges + 2 * most);

    if (o->pin)
        contention_settle(CONTENTION_SECONDS);
    gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
    /* The second of two calls tells how many make a window. */
    double begin = now();
    gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
    double window = now() - begin;
    int64_t repeat = (int64_t)(o->window / window) + 1;
    double before = 0, after = 0;
    window = peak_window(window * (double)repeat);
    measure_peak(ctx, o, window, &before);
    int pairs = 0, known = 0;
    for (; contention_wants_more(undisturbed, pairs, o->pairs); pairs++) {
        double first = contention_instructions_a_cycle(CONTENTION_SECONDS);
        known = !isnan(first);
        if (o->pin && first < threshold && contention_settle(CONTENTION_SECONDS)) {
            gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL); /* warm, not counted */
            measure_peak(ctx, o, window, &before);
            first = contention_instructions_a_cycle(CONTENTION_SECONDS);
        }
        begin = now();
        for (int64_t r = 0; r < repeat; r++)
            gatun_attention_forward(ctx, &d, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
        time[pairs] = (now() - begin) / (double)repeat;
        const double second = contention_instructions_a_cycle(CONTENTION_SECONDS);
        undisturbed[pairs] = first >= threshold && second >= threshold;
        gauges[2 * pairs] = first;
        gauges[2 * pairs + 1] = second;
        window = peak_window(time[pairs] * (double)repeat);
        measure_peak(ctx, o, window, &after);
        rate[pairs] = flops / time[pairs];
        share[pairs] = rate[pairs] / (0.5 * (before + after));
        time[pairs] *= 1e9;
        before = after;
    }
    if (o->pin)
        contention_unpin();
    const int quiet = contention_count(undisturbed, pairs);
    const int used = contention_select(time, undisturbed, pairs, o->pairs);
    contention_select(rate, undisturbed, pairs, o->pairs);
    contention_select(share, undisturbed, pairs, o->pairs);
    quartiles times = sorted(time, used), rates = sorted(rate, used), shares = sorted(share, used),
              gauge = sorted(gauges, 2 * pairs);
    printf("%-11s %-6s %2d thr  %10.3f us  %7.1f GFLOP/s  %5.1f %% of peak (quartiles %.1f .. %.1f)", s->name,
        o->causal ? "causal" : "full", o->threads, times.mid * 1e-3, rates.mid * 1e-9, 100 * shares.mid,
        100 * shares.low, 100 * shares.high);
    if (known)
        printf("  %d of %d pairs undisturbed%s", quiet, pairs, used == quiet ? "" : " ~");
    printf("\n");
    fflush(stdout);
    if (json != NULL) {
        fprintf(json,
            "%s\n{\"shape\": \"%s\", \"causal\": %s, \"layout\": \"%s\", \"threads\": %d, \"flops\": %.17g, "
            "\"error\": %.3g, \"pairs\": %d, \"callsPerPair\": %lld, ",
            first_row ? "" : ",", s->name, o->causal ? "true" : "false", o->bshd ? "[B,S,H,D]" : "[B,H,S,D]",
            o->threads, flops, error, pairs, (long long)repeat);
        if (known)
            fprintf(json, "\"undisturbed\": %d, \"instructionsPerCycle\": %.3f, ", quiet, gauge.mid);
        write_json(json, "time", "ns", times, ", ");
        write_json(json, "rate", "flop/s", rates, ", ");
        write_json(json, "shareOfPeak", "1", shares, "}");
    }
    free(share);
    gatun_memory_free(q, bytes_of(query_elements));
    gatun_memory_free(k, bytes_of(key_elements));
    gatun_memory_free(v, bytes_of(key_elements));
    gatun_memory_free(out, bytes_of(query_elements));
    gatun_memory_free(workspace, bytes);
    return 0;
}

/* One row sees all keys with and without the mask, and one head lies the same in both layouts. */
static int repeats_another(const workload_shape *s, int bshd, int causal) {
    return (causal && s->seq_q <= 1) || (bshd && s->heads == 1);
}

static int usage(int status) {
    printf(
        "bench_attention [--only NAME-PART] [--pairs N] [--window SECONDS] [--max-flops N] [--bshd] [--causal] "
        "[--all] [--bf16] [--threads N] [--no-pin] [--json FILE]\n"
        "bench_attention --changes [--seq N] [--only NAME-PART] [--pairs N] [--window SECONDS] [--no-pin]\n"
        "--all: full and causal, in both layouts. --changes: what masks and changes of scores cost, each in turn with "
        "a call without.\n--bf16: products of bfloat16, share of their peak. With one thread it is kept on the least "
        "disturbed of the CPUs that it may\nuse (taskset), unless --no-pin. ~ after a row: too few undisturbed pairs, "
        "so all count. GATUN_BENCH_UNDISTURBED:\nfrom how many instructions a cycle on a pair is undisturbed. "
        "GATUN_ISA chooses the tier. The share with more than one thread is of one core's peak times the threads.\n");
    return status;
}

int main(int argc, char **argv) {
    options o = {.pairs = 15, .threads = 1, .pin = 1, .seq = 2048, .window = 0.02, .limit = 1e300};
    static const struct option names[] = {{"only", 1, 0, 'o'}, {"pairs", 1, 0, 'p'}, {"bshd", 0, 0, 'b'},
        {"causal", 0, 0, 'c'}, {"all", 0, 0, 'a'}, {"bf16", 0, 0, 'B'}, {"no-pin", 0, 0, 'n'}, {"threads", 1, 0, 't'},
        {"window", 1, 0, 'w'}, {"max-flops", 1, 0, 'm'}, {"json", 1, 0, 'j'}, {"changes", 0, 0, 'C'},
        {"seq", 1, 0, 's'}, {"help", 0, 0, 'h'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'o')
            o.only = optarg;
        else if (c == 'p')
            o.pairs = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 'b')
            o.bshd = 1;
        else if (c == 'c')
            o.causal = 1;
        else if (c == 'a')
            o.all = 1;
        else if (c == 'B')
            o.bf16 = 1;
        else if (c == 'n')
            o.pin = 0;
        else if (c == 't')
            o.threads = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 'w')
            o.window = atof(optarg) > 1e-5 ? atof(optarg) : 0.02;
        else if (c == 'm')
            o.limit = atof(optarg);
        else if (c == 'j')
            o.json = optarg;
        else if (c == 'C')
            o.changes = 1;
        else if (c == 's')
            o.seq = atoll(optarg) > 0 ? atoll(optarg) : 2048;
        else
            return usage(c == 'h' ? 0 : 2);
    }
    o.pin = o.pin && o.threads == 1;
    gatun_config config = {.struct_size = sizeof config, .threads = o.threads};
    gatun_context *ctx;
    char message[256];
    if (gatun_context_create(&config, &ctx, message, sizeof message) != GATUN_OK) {
        fprintf(stderr, "bench: %s\n", message);
        return 2;
    }
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(ctx, &info);
    printf("libgatun %s, %s, tier %s, %d pairs a row, undisturbed from %.1f instructions a cycle%s\n", gatun_version(),
        info.cpu, gatun_tier_name(info.tier), o.pairs, contention_threshold(),
        o.threads == 1 ? "" : " on the CPU of the caller, the others not known");
    if (o.changes) {
        const changes_options changes = {
            .only = o.only, .rounds = o.pairs, .pin = o.pin, .seq = o.seq, .window = o.window};
        const int status = bench_changes(ctx, &changes);
        gatun_context_destroy(ctx);
        return status;
    }
    FILE *json = NULL;
    if (o.json != NULL && (json = fopen(o.json, "w")) == NULL) {
        fprintf(stderr, "bench: cannot write %s\n", o.json);
        return 2;
    }
    if (json != NULL)
        fputs("[", json);
    int failed = 0, rows = 0;
    for (int n = 0; n < (o.all ? 4 : 1); n++) {
        if (o.all) {
            o.bshd = n / 2;
            o.causal = n % 2;
        }
        printf("layout %s, %s\n", o.bshd ? "[B,S,H,D]" : "[B,H,S,D]", o.causal ? "causal" : "full");
        for (int i = 0; i < workload_shape_count; i++) {
            const workload_shape *s = &workload_shapes[i];
            gatun_attention_desc d;
            workload_describe(&d, s, 0);
            if ((o.only != NULL && strstr(s->name, o.only) == NULL) || (o.all && repeats_another(s, o.bshd, o.causal)))
                continue;
            if (workload_flops(&d) <= o.limit)
                failed |= run(ctx, s, &o, json, rows++ == 0);
        }
    }
    if (json != NULL) {
        fputs("\n]\n", json);
        failed |= fclose(json) != 0;
    }
    gatun_context_destroy(ctx);
    return failed;
}
