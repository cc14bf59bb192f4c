/*
 * Whether the plan chooses well: every shape of workload.h, in both layouts, full and causal, is timed with the plan's own
 * choice and with others (blocks of a task, copies of keys and values), which take turns, on one thread. The others' time
 * is told as a ratio to the choice's of the same round; its median over the rounds counts: over those in which nobody else
 * used the core before, between and after the two (core_contention.h), if there are enough. Fails if some other choice is
 * faster than the plan's by more than the tolerance.
 */
#include "core_contention.h"
#include "times.h"
#include "workload.h"

#include "../src/internal.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHOICES = 16, MOST_ROUNDS = 198 };

typedef struct options {
    const char *only;
    int rounds, pin;
    double window, tolerance;
} options;

static double median(double *x, int count) {
    qsort(x, (size_t)count, sizeof *x, by_value);
    return x[count / 2];
}

static const char *const copy_names[] = {"none", "tiles", "heads"};

/* The plan's own first, then others that make another plan. */
static int list_choices(
    gatun_context *ctx, const gatun_attention_desc *d, gatun__plan_choices choices[MOST_CHOICES], int64_t *most_bytes) {
    static const int32_t blocks[] = {1, 2, 3, 4, 6, 8};
    ctx->choices = NULL;
    gatun_attention_plan_info plan = {.struct_size = sizeof plan};
    gatun_attention_plan(ctx, d, &plan);
    choices[0] = (gatun__plan_choices){plan.task_blocks, plan.copies};
    *most_bytes = plan.workspace_bytes;
    int count = 1;
    if (plan.kernel != GATUN_KERNEL_GENERAL)
        return count;
    for (int32_t copy = GATUN_COPY_NONE; copy <= GATUN_COPY_HEADS; copy++)
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks && count < MOST_CHOICES; b++) {
            const gatun__plan_choices other = {blocks[b], copy};
            /* Copies by few blocks, and of more than fits, are no alternative. */
            if (copy != GATUN_COPY_NONE && blocks[b] != 4 && blocks[b] != 8)
                continue;
            ctx->choices = &other;
            gatun_attention_plan(ctx, d, &plan);
            ctx->choices = NULL;
            if (plan.task_blocks != blocks[b] || (blocks[b] == choices[0].blocks && copy == choices[0].copy))
                continue;
            *most_bytes = plan.workspace_bytes > *most_bytes ? plan.workspace_bytes : *most_bytes;
            choices[count++] = other;
        }
    return count;
}

static int run(gatun_context *ctx, const workload_shape *s, int bshd, int causal, const options *o) {
    gatun_attention_desc d;
    workload_describe(&d, s, bshd);
    d.causal = causal ? GATUN_CAUSAL_BOTTOM_RIGHT : GATUN_CAUSAL_NONE;
    gatun__plan_choices choices[MOST_CHOICES];
    int64_t bytes = 0;
    const int count = list_choices(ctx, &d, choices, &bytes);
    if (count == 1)
        return 0;
    const int64_t sizes[4] = {s->batch * s->seq_q * s->heads * s->dim * 4,
        s->batch * s->seq_k * s->kv_heads * s->dim * 4, s->batch * s->seq_k * s->kv_heads * s->dim * 4,
        s->batch * s->seq_q * s->heads * s->dim * 4};
    float *tensors[4];
    for (int i = 0; i < 4; i++) {
        tensors[i] = gatun_memory_allocate(sizes[i]);
        if (tensors[i] == NULL)
            return 2;
        if (i < 3)
            workload_fill(tensors[i], (uint64_t)i + 1, s->batch, i == 0 ? s->heads : s->kv_heads,
                i == 0 ? s->seq_q : s->seq_k, s->dim, bshd);
    }
    void *workspace = gatun_memory_allocate(bytes);
    if (workspace == NULL)
        return 2;
    static double time[MOST_CHOICES][MOST_ROUNDS], ratio[MOST_ROUNDS], own[MOST_ROUNDS];
    static unsigned char undisturbed[MOST_CHOICES][MOST_ROUNDS], both[MOST_ROUNDS];
    const double threshold = contention_threshold();
    int64_t repeat = 1;
    int known = 0, rounds = -1, moved = o->pin && contention_settle(CONTENTION_SECONDS);
    for (; rounds < 0 || contention_wants_more(undisturbed[0], rounds, o->rounds); rounds++) {
        double before = contention_instructions_a_cycle(CONTENTION_SECONDS);
        if (o->pin && before < threshold && contention_settle(CONTENTION_SECONDS)) {
            moved = 1;
            before = contention_instructions_a_cycle(CONTENTION_SECONDS);
        }
        for (int c = 0; c < count; c++) {
            ctx->choices = c == 0 ? NULL : &choices[c];
            if (moved) /* warm, not counted */
                gatun_attention_forward(
                    ctx, &d, workspace, bytes, tensors[0], tensors[1], tensors[2], NULL, NULL, tensors[3], NULL);
            moved = 0;
            const double begin = now();
            for (int64_t r = 0; r < repeat; r++)
                if (gatun_attention_forward(ctx, &d, workspace, bytes, tensors[0], tensors[1], tensors[2], NULL, NULL,
                        tensors[3], NULL) != GATUN_OK) {
                    fprintf(stderr, "bench: %s does not run\n", s->name);
                    return 2;
                }
            const double taken = (now() - begin) / (double)repeat,
                         after = contention_instructions_a_cycle(CONTENTION_SECONDS);
            if (rounds >= 0) {
                time[c][rounds] = taken;
                undisturbed[c][rounds] = before >= threshold && after >= threshold;
            } else if (c == count - 1) /* warm by now */
                repeat = (int64_t)(o->window / taken) + 1;
            before = after;
            known = !isnan(after);
        }
    }
    if (o->pin)
        contention_unpin();
    ctx->choices = NULL;
    int best = 0, best_quiet = 0;
    double best_ratio = 1;
    for (int c = 1; c < count; c++) {
        for (int r = 0; r < rounds; r++) {
            ratio[r] = time[c][r] / time[0][r];
            both[r] = undisturbed[0][r] && undisturbed[c][r];
        }
        const double m = median(ratio, contention_select(ratio, both, rounds, o->rounds));
        if (m < best_ratio) {
            best = c;
            best_ratio = m;
            best_quiet = contention_count(both, rounds);
        }
    }
    memcpy(own, time[0], (size_t)rounds * sizeof *own);
    const int quiet = contention_count(undisturbed[0], rounds);
    const double own_time = median(own, contention_select(own, undisturbed[0], rounds, o->rounds));
    const int good = best_ratio >= 1 - o->tolerance;
    printf("%-11s %-9s %-6s %d blocks, copies %-5s %12.3f us", s->name, bshd ? "[B,S,H,D]" : "[B,H,S,D]",
        causal ? "causal" : "full", (int)choices[0].blocks, copy_names[choices[0].copy], 1e6 * own_time);
    if (best == 0)
        printf("  best of %d", count);
    else
        printf("  %.1f %% behind %d blocks, copies %s%s", 100 * (1 / best_ratio - 1), (int)choices[best].blocks,
            copy_names[choices[best].copy], good ? "" : "  TOO FAR");
    if (!known)
        printf("\n");
    else
        printf("  %d of %d rounds undisturbed\n", best == 0 ? quiet : best_quiet, rounds);
    fflush(stdout);
    for (int i = 0; i < 4; i++)
        gatun_memory_free(tensors[i], sizes[i]);
    gatun_memory_free(workspace, bytes);
    return good ? 0 : 1;
}

static int usage(int status) {
    printf("bench_plan [--only NAME-PART] [--rounds N] [--window SECONDS] [--tolerance SHARE] [--no-pin]\n"
           "Kept on the least disturbed of the CPUs that it may use (taskset), unless --no-pin.\n"
           "GATUN_ISA chooses the tier. By default 15 rounds, windows of 0.01 s, and 0.03.\n");
    return status;
}

int main(int argc, char **argv) {
    options o = {.rounds = 15, .pin = 1, .window = 0.01, .tolerance = 0.03};
    static const struct option names[] = {{"only", 1, 0, 'o'}, {"rounds", 1, 0, 'r'}, {"window", 1, 0, 'w'},
        {"tolerance", 1, 0, 't'}, {"no-pin", 0, 0, 'n'}, {"help", 0, 0, 'h'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'o')
            o.only = optarg;
        else if (c == 'r')
            o.rounds = atoi(optarg) < 1 ? 1 : atoi(optarg) > MOST_ROUNDS / 2 ? MOST_ROUNDS / 2 : atoi(optarg);
        else if (c == 'w')
            o.window = atof(optarg) > 1e-5 ? atof(optarg) : 0.01;
        else if (c == 'n')
            o.pin = 0;
        else if (c == 't')
            o.tolerance = atof(optarg);
        else
            return usage(c == 'h' ? 0 : 2);
    }
    gatun_config config = {.struct_size = sizeof config, .threads = 1};
    gatun_context *ctx;
    char message[256];
    if (gatun_context_create(&config, &ctx, message, sizeof message) != GATUN_OK) {
        fprintf(stderr, "bench: %s\n", message);
        return 2;
    }
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(ctx, &info);
    printf("libgatun %s, %s, tier %s, %d rounds, one thread\n", gatun_version(), info.cpu, gatun_tier_name(info.tier),
        o.rounds);
    int rows = 0, behind = 0, failed = 0;
    for (int i = 0; i < workload_shape_count && failed == 0; i++) {
        if (o.only != NULL && strstr(workload_shapes[i].name, o.only) == NULL)
            continue;
        for (int n = 0; n < 4 && failed == 0; n++) {
            const int status = run(ctx, &workload_shapes[i], n / 2, n % 2, &o);
            rows++;
            behind += status == 1;
            failed = status > 1;
        }
    }
    gatun_context_destroy(ctx);
    if (failed)
        return 2;
    printf("%d of %d rows: another choice is more than %g %% faster\n", behind, rows, 100 * o.tolerance);
    return behind > 0;
}
