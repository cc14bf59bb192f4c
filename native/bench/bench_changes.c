#include "bench_changes.h"

#include "core_contention.h"
#include "times.h"
#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 4, DIM = 64, BLOCK = 128, MOST_ROUNDS = 198, MOST_CHANGES = 24 };

/* A call, all heads of which are changed alike. */
typedef struct change {
    const char *name;
    gatun_attention_desc d;
    uint8_t *mask, *blocks;
    float *bias, *slopes, *table, *sinks;
    int32_t *segments, *prefix, *positions;
    double pairs; /* useful ones of a head */
    void *workspace;
    int64_t workspace_bytes;
    double time[MOST_ROUNDS];
    unsigned char undisturbed[MOST_ROUNDS];
} change;

static change changes[MOST_CHANGES];
static int change_count;
static float *q, *k, *v, *out;

static int64_t position(const change *c, int64_t row) {
    return c->positions != NULL ? c->positions[row] : row;
}

/* Whether the product of row and key is useful; positions are rows' numbers. */
static int is_useful(const change *c, int64_t row, int64_t key) {
    const gatun_attention_desc *d = &c->d;
    const int64_t p = position(c, row);
    if (d->causal != GATUN_CAUSAL_NONE && key > p && !(c->prefix != NULL && key < c->prefix[0]))
        return 0;
    if ((d->flags & GATUN_ATTENTION_WINDOW) != 0 && key >= d->global_tokens && p >= d->global_tokens) {
        if ((d->window_left >= 0 && key < p - d->window_left) || (d->window_right >= 0 && key > p + d->window_right))
            return 0;
    }
    return (c->segments == NULL || c->segments[row] == c->segments[key]) &&
           (c->blocks == NULL || c->blocks[row / BLOCK * d->block_stride[2] + key / BLOCK] != 0);
}

/* The score of a key that is seen, or -inf. */
static double changed_score(const change *c, int64_t row, int64_t key, double score) {
    const gatun_attention_desc *d = &c->d;
    if (!is_useful(c, row, key) || (c->mask != NULL && c->mask[row * d->mask_stride[2] + key * d->mask_stride[3]] == 0))
        return -(double)INFINITY;
    if (d->softcap > 0)
        score = (double)d->softcap * tanh(score / (double)d->softcap);
    if (c->bias != NULL)
        score += (double)c->bias[row * d->bias_stride[2] + key * d->bias_stride[3]];
    const int64_t distance = key - position(c, row), span = d->relative_span;
    if (c->slopes != NULL)
        score -= (double)c->slopes[0] * fabs((double)distance);
    if (c->table != NULL)
        score += (double)c->table[span + (distance < -span ? -span : distance > span ? span : distance)];
    return score;
}

/* Largest error in some rows of the last head. */
static double error_of(const change *c) {
    const int64_t seq = c->d.seq_q, head = HEADS - 1;
    const float *keys = k + head * seq * DIM, *values = v + head * seq * DIM;
    double worst = 0, *weights = malloc((size_t)seq * sizeof *weights);
    if (weights == NULL)
        return (double)INFINITY;
    for (int64_t sample = 0; sample < 6; sample++) {
        const int64_t row = sample * (seq - 1) / 5, at = (head * seq + row) * DIM;
        double most = c->sinks != NULL ? (double)c->sinks[head] : -(double)INFINITY, sum = 0;
        for (int64_t j = 0; j < seq; j++) {
            double score = 0;
            for (int64_t i = 0; i < DIM; i++)
                score += (double)q[at + i] * (double)keys[j * DIM + i];
            weights[j] = changed_score(c, row, j, score / 8);
            most = weights[j] > most ? weights[j] : most;
        }
        if (c->sinks != NULL)
            sum = exp((double)c->sinks[head] - most);
        for (int64_t j = 0; j < seq; j++)
            sum += weights[j] = isinf(weights[j]) ? 0 : exp(weights[j] - most);
        for (int64_t i = 0; i < DIM; i++) {
            double exact = 0;
            for (int64_t j = 0; j < seq; j++)
                exact += weights[j] * (double)values[j * DIM + i];
            const double error = fabs((sum > 0 ? exact / sum : 0) - (double)out[at + i]);
            worst = error <= worst ? worst : isnan(error) ? (double)INFINITY : error;
        }
    }
    free(weights);
    return worst;
}

static int32_t call(gatun_context *context, const change *c) {
    return gatun_attention_forward_extended(context, &c->d, c->workspace, c->workspace_bytes, q, k, v, NULL, NULL, out,
        NULL, NULL, NULL, NULL, c->mask, c->blocks, c->bias, c->slopes, c->sinks, c->segments, c->segments, c->prefix,
        c->table, c->positions, NULL, NULL);
}

/* ---- the changes ---- */

static void *memory(int64_t bytes) {
    void *to = gatun_memory_allocate(bytes);
    if (to == NULL) {
        fprintf(stderr, "bench: no memory for %lld bytes\n", (long long)bytes);
        exit(2);
    }
    return to;
}

static change *add(const char *name, int64_t seq, uint32_t flags) {
    change *c = &changes[change_count++];
    *c = (change){.name = name};
    const workload_shape shape = {name, 1, HEADS, HEADS, seq, seq, DIM};
    workload_describe(&c->d, &shape, 0);
    c->d.flags = flags;
    return c;
}

static change *add_causal(const char *name, int64_t seq, uint32_t flags) {
    change *c = add(name, seq, flags);
    c->d.causal = GATUN_CAUSAL_BOTTOM_RIGHT;
    return c;
}

static void add_windows(int64_t seq) {
    change *c = add_causal("causal, window of 512", seq, GATUN_ATTENTION_WINDOW);
    c->d.window_left = 512;
    c = add_causal("causal, window of 128", seq, GATUN_ATTENTION_WINDOW);
    c->d.window_left = 128;
    c = add("window of 256 on both sides, 16 global tokens", seq, GATUN_ATTENTION_WINDOW);
    c->d.window_left = c->d.window_right = 256;
    c->d.global_tokens = 16;
}

static void add_maps(int64_t seq) {
    change *c = add("mask, a byte for each key", seq, GATUN_ATTENTION_MASKED);
    c->mask = memory(seq);
    for (int64_t j = 0; j < seq; j++)
        c->mask[j] = j < seq - 1;
    c->d.mask_stride[3] = 1;
    c = add("mask, a byte for each score, one in eight 0", seq, GATUN_ATTENTION_MASKED);
    c->mask = memory(seq * seq);
    for (int64_t i = 0; i < seq * seq; i++)
        c->mask[i] = workload_value(4, (uint64_t)i) > -0.75f;
    c->d.mask_stride[2] = seq;
    c->d.mask_stride[3] = 1;
    c = add("bias, a float for each score", seq, GATUN_ATTENTION_MASKED);
    c->bias = memory(seq * seq * (int64_t)sizeof(float));
    for (int64_t i = 0; i < seq * seq; i++)
        c->bias[i] = workload_value(5, (uint64_t)i);
    c->d.bias_stride[2] = seq;
    c->d.bias_stride[3] = 1;
    c->d.bias_dtype = GATUN_DTYPE_F32;
}

static void add_blocks(const char *name, int64_t seq, int diagonal) {
    change *c = add(name, seq, GATUN_ATTENTION_MASKED);
    const int64_t blocks = (seq + BLOCK - 1) / BLOCK;
    c->blocks = memory(blocks * blocks);
    for (int64_t i = 0; i < blocks; i++)
        for (int64_t j = 0; j < blocks; j++)
            c->blocks[i * blocks + j] = (i * 7 + j * 3) % 10 == 0 || (diagonal && i == j);
    c->d.block_q = c->d.block_k = BLOCK;
    c->d.block_stride[2] = blocks;
    c->d.block_stride[3] = 1;
}

/* The plain call first, then the causal one. */
static void list_changes(int64_t seq) {
    enum { SPAN = 128 };
    change_count = 0;
    add("none", seq, 0);
    add_causal("causal", seq, 0);
    add_windows(seq);
    change *c = add_causal("prefix of a quarter", seq, GATUN_ATTENTION_PREFIX);
    c->prefix = memory(sizeof *c->prefix);
    c->prefix[0] = (int32_t)(seq / 4);
    c = add("four segments", seq, GATUN_ATTENTION_MASKED);
    c->segments = memory(seq * (int64_t)sizeof *c->segments);
    for (int64_t i = 0; i < seq; i++)
        c->segments[i] = (int32_t)(i * 4 / seq);
    c = add_causal("causal, positions of rows", seq, GATUN_ATTENTION_MASKED);
    c->positions = memory(seq * (int64_t)sizeof *c->positions);
    for (int64_t i = 0; i < seq; i++)
        c->positions[i] = (int32_t)i;
    c = add("sinks", seq, GATUN_ATTENTION_SINKS);
    c->sinks = memory(HEADS * (int64_t)sizeof(float));
    c = add("softcap of 50", seq, 0);
    c->d.softcap = 50;
    c = add("ALiBi", seq, GATUN_ATTENTION_BIASED);
    c->slopes = memory(HEADS * (int64_t)sizeof(float));
    c = add("table of 257 distances", seq, GATUN_ATTENTION_BIASED);
    c->d.relative_span = SPAN;
    c->table = memory(HEADS * (2 * SPAN + 1) * (int64_t)sizeof(float));
    for (int64_t h = 0; h < HEADS; h++) {
        changes[change_count - 2].slopes[h] = 0.01f;
        for (int64_t i = 0; i <= 2 * SPAN; i++)
            c->table[h * (2 * SPAN + 1) + i] = workload_value(6, (uint64_t)i);
    }
    add_maps(seq);
    add_blocks("blocks of 128, one in ten", seq, 0);
    add_blocks("blocks of 128, one in ten and the diagonal", seq, 1);
}

static void release(const change *c, int64_t seq) {
    gatun_memory_free(c->mask, c->d.mask_stride[2] != 0 ? seq * seq : seq);
    gatun_memory_free(c->bias, seq * seq * (int64_t)sizeof(float));
    gatun_memory_free(c->workspace, c->workspace_bytes);
    const int64_t blocks = (seq + BLOCK - 1) / BLOCK;
    gatun_memory_free(c->blocks, blocks * blocks);
    gatun_memory_free(c->segments, seq * (int64_t)sizeof(int32_t));
    gatun_memory_free(c->positions, seq * (int64_t)sizeof(int32_t));
    gatun_memory_free(c->prefix, sizeof(int32_t));
    gatun_memory_free(c->sinks, HEADS * (int64_t)sizeof(float));
    gatun_memory_free(c->slopes, HEADS * (int64_t)sizeof(float));
    gatun_memory_free(c->table, HEADS * (2 * c->d.relative_span + 1) * (int64_t)sizeof(float));
}

/* Leaves those that are wanted, and the two that others are compared with. */
static void choose(const char *only, int64_t seq) {
    int left = 0;
    for (int i = 0; i < change_count; i++) {
        if (i > 1 && only != NULL && strstr(changes[i].name, only) == NULL)
            release(&changes[i], seq);
        else if (left++ != i)
            changes[left - 1] = changes[i];
    }
    change_count = left;
}

static int prepare(gatun_context *context, change *c) {
    int32_t status = gatun_attention_workspace_size(context, &c->d, &c->workspace_bytes);
    c->workspace = status == GATUN_OK ? memory(c->workspace_bytes) : NULL;
    if (status == GATUN_OK)
        status = call(context, c);
    if (status != GATUN_OK) {
        fprintf(stderr, "bench: %s: %s\n", c->name, gatun_status_string(status));
        return 2;
    }
    const double error = error_of(c);
    if (!(error < WORKLOAD_TOLERANCE)) {
        fprintf(stderr, "bench: %s: wrong result, error %g\n", c->name, error);
        return 1;
    }
    for (int64_t i = 0; i < c->d.seq_q; i++)
        for (int64_t j = 0; j < c->d.seq_k; j++)
            c->pairs += is_useful(c, i, j);
    return 0;
}

/* ---- times ---- */

/* Every change once, and again; returns the rounds. */
static int measure(gatun_context *context, const changes_options *o) {
    const double threshold = contention_threshold();
    int64_t repeat[MOST_CHANGES];
    int rounds = -1, moved = o->pin && contention_settle(CONTENTION_SECONDS);
    for (; rounds < 0 || contention_wants_more(changes[0].undisturbed, rounds, o->rounds); rounds++) {
        double before = contention_instructions_a_cycle(CONTENTION_SECONDS);
        for (int i = 0; i < change_count; i++) {
            change *c = &changes[i];
            if (o->pin && before < threshold && contention_settle(CONTENTION_SECONDS)) {
                moved = 1;
                before = contention_instructions_a_cycle(CONTENTION_SECONDS);
            }
            if (moved)
                (void)call(context, c); /* warm, not counted */
            moved = 0;
            const int64_t calls = rounds < 0 ? 1 : repeat[i];
            const double begin = now();
            for (int64_t n = 0; n < calls; n++)
                (void)call(context, c);
            const double taken = (now() - begin) / (double)calls,
                         after = contention_instructions_a_cycle(CONTENTION_SECONDS);
            if (rounds < 0) {
                repeat[i] = (int64_t)(o->window / taken) + 1;
            } else {
                c->time[rounds] = taken;
                c->undisturbed[rounds] = before >= threshold && after >= threshold;
            }
            before = after;
        }
    }
    if (o->pin)
        contention_unpin();
    return rounds;
}

typedef struct spread {
    double low, mid, high;
    int undisturbed;
} spread;

/* Of a change's time over another's in the same round. */
static spread ratios(const change *c, const change *to, int rounds, int wanted) {
    static double ratio[MOST_ROUNDS];
    static unsigned char both[MOST_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        ratio[r] = c->time[r] / to->time[r];
        both[r] = c->undisturbed[r] && to->undisturbed[r];
    }
    const int quiet = contention_count(both, rounds), used = contention_select(ratio, both, rounds, wanted);
    qsort(ratio, (size_t)used, sizeof *ratio, by_value);
    return (spread){ratio[used / 4], ratio[used / 2], ratio[used - 1 - used / 4], quiet};
}

static double median_time(const change *c, int rounds, int wanted) {
    static double time[MOST_ROUNDS];
    memcpy(time, c->time, (size_t)rounds * sizeof *time);
    const int used = contention_select(time, c->undisturbed, rounds, wanted);
    qsort(time, (size_t)used, sizeof *time, by_value);
    return time[used / 2];
}

static void print(const change *c, int rounds, int wanted) {
    const spread to_plain = ratios(c, &changes[0], rounds, wanted), to_causal = ratios(c, &changes[1], rounds, wanted);
    const double useful = changes[0].pairs / c->pairs;
    printf("%-46s %9.3f ms  cost %+6.1f %% (quartiles %+.1f .. %+.1f)  %5.2f times as fast as none, %5.2f as causal  "
           "%d of %d rounds undisturbed\n",
        c->name, 1e3 * median_time(c, rounds, wanted), 100 * (to_plain.mid * useful - 1),
        100 * (to_plain.low * useful - 1), 100 * (to_plain.high * useful - 1), 1 / to_plain.mid, 1 / to_causal.mid,
        to_plain.undisturbed, rounds);
}

int bench_changes(gatun_context *context, const changes_options *options) {
    changes_options o = *options;
    o.rounds = o.rounds > MOST_ROUNDS / 2 ? MOST_ROUNDS / 2 : o.rounds;
    const int64_t floats = HEADS * o.seq * DIM, bytes = floats * (int64_t)sizeof(float);
    float **tensors[] = {&q, &k, &v, &out};
    for (int i = 0; i < 4; i++) {
        *tensors[i] = memory(bytes);
        if (i < 3)
            workload_fill(*tensors[i], (uint64_t)i + 1, 1, HEADS, o.seq, DIM, 0);
    }
    list_changes(o.seq);
    choose(o.only, o.seq);
    printf("%d heads, %lld x %lld, d %d, one thread, %d rounds: cost on the same useful operations\n", HEADS,
        (long long)o.seq, (long long)o.seq, DIM, o.rounds);
    int failed = 0;
    for (int i = 0; i < change_count && failed == 0; i++)
        failed = prepare(context, &changes[i]);
    if (failed == 0) {
        const int rounds = measure(context, &o);
        for (int i = 0; i < change_count; i++)
            print(&changes[i], rounds, o.rounds);
    }
    for (int i = 0; i < change_count; i++)
        release(&changes[i], o.seq);
    for (int i = 0; i < 4; i++)
        gatun_memory_free(*tensors[i], bytes);
    return failed;
}
