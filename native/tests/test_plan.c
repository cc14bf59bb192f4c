/*
 * The plan of an attention call: which kernel, how it is cut up, what it takes, how fast it should be.
 *
 * plan.c and predict.c are linked into this program a second time, since the library does not export them: so the plans
 * of every tier are tested on every machine.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../src/internal.h"
#include "placement.h"
#include "suites.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static const gatun__caches caches = {48 * KIB, 2 * MIB, 32 * MIB};

static gatun__attention_plan make_plan(const gatun_attention_desc *desc, int32_t tier, int32_t block_lanes,
    int32_t threads, const gatun__caches *sizes, const gatun__plan_choices *choices) {
    gatun__attention_plan plan;
    gatun__attention_plan_to(&plan, desc, tier, tier == GATUN_TIER_AVX512, block_lanes, threads, sizes, choices);
    return plan;
}

static gatun_attention_desc shape(
    int64_t batch, int64_t heads, int64_t kv_heads, int64_t seq_q, int64_t seq_k, int64_t dim) {
    const problem p = {.batch = batch,
        .heads = heads,
        .kv_heads = kv_heads,
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = dim,
        .head_dim_v = dim};
    return default_desc(&p);
}

/* The same as [batch, heads, seq, dim]. */
static gatun_attention_desc by_head(gatun_attention_desc desc) {
    desc.q_stride[1] = desc.k_stride[1] = desc.head_dim;
    desc.v_stride[1] = desc.out_stride[1] = desc.head_dim_v;
    desc.q_stride[2] = desc.seq_q * desc.head_dim;
    desc.k_stride[2] = desc.seq_k * desc.head_dim;
    desc.v_stride[2] = desc.seq_k * desc.head_dim_v;
    desc.out_stride[2] = desc.seq_q * desc.head_dim_v;
    return desc;
}

static gatun__attention_plan plan_of(const gatun_attention_desc *desc, int32_t threads) {
    return make_plan(desc, GATUN_TIER_AVX512, 32, threads, &caches, NULL);
}

static int32_t kernel_of(const gatun_attention_desc *desc) {
    return plan_of(desc, 1).kernel;
}

/* ---- the shapes of the benchmarks ---- */

typedef struct example {
    const char *name;
    int64_t batch, heads, kv_heads, seq_q, seq_k, dim;
    int32_t kernel, blocks;
    int64_t tasks;
    int32_t blocks_of_8; /* with 8 threads */
    int64_t tasks_of_8;
    int64_t scratch_bytes;
    int kv_fits_l2;
    int32_t copy;
    double flops;
} example;

/* As avx512 has them, with blocks of 32 lanes, on a core with 2 MiB of L2; [batch, seq, heads, dim]. */
static const example examples[] = {
    {"tiny16", 1, 4, 4, 16, 16, 32, GATUN_KERNEL_TINY, 1, 1, 1, 1, 45696, 1, GATUN_COPY_NONE, 131072},
    {"pre128", 1, 12, 12, 128, 128, 64, GATUN_KERNEL_GENERAL, 4, 12, 1, 48, 104192, 1, GATUN_COPY_NONE, 50331648},
    {"pre512", 1, 12, 12, 512, 512, 64, GATUN_KERNEL_GENERAL, 8, 24, 2, 96, 433472, 1, GATUN_COPY_HEADS, 805306368},
    {"minilm", 32, 12, 12, 128, 128, 32, GATUN_KERNEL_GENERAL, 4, 384, 4, 384, 71424, 1, GATUN_COPY_NONE, 805306368},
    {"pre2048", 1, 16, 16, 2048, 2048, 64, GATUN_KERNEL_GENERAL, 8, 128, 8, 128, 1219904, 1, GATUN_COPY_HEADS,
        17179869184},
    {"pre4096", 1, 8, 8, 4096, 4096, 128, GATUN_KERNEL_GENERAL, 8, 128, 8, 128, 4761920, 0, GATUN_COPY_HEADS,
        68719476736},
    {"gqa1024", 1, 32, 8, 1024, 1024, 128, GATUN_KERNEL_GENERAL, 8, 128, 8, 128, 1350976, 1, GATUN_COPY_HEADS,
        17179869184},
    {"dec4096", 1, 32, 8, 1, 4096, 128, GATUN_KERNEL_DECODE, 1, 8, 1, 16, 103424, 0, GATUN_COPY_NONE, 67108864},
    {"dec2048x16", 16, 32, 8, 1, 2048, 128, GATUN_KERNEL_DECODE, 1, 128, 1, 128, 70272, 0, GATUN_COPY_NONE, 536870912},
};

enum { EXAMPLES = sizeof examples / sizeof *examples };

static gatun_attention_desc shape_of(const example *e) {
    return shape(e->batch, e->heads, e->kv_heads, e->seq_q, e->seq_k, e->dim);
}

static void shapes(void) {
    for (int n = 0; n < EXAMPLES; n++) {
        const example *e = &examples[n];
        const gatun_attention_desc desc = shape_of(e);
        const gatun__attention_plan plan = plan_of(&desc, 1), of_8 = plan_of(&desc, 8);
        CHECK(plan.kernel == e->kernel, "%s: kernel %d", e->name, (int)plan.kernel);
        CHECK(plan.blocks == e->blocks && plan.task_lanes == 32 * e->blocks, "%s: %d blocks, %lld lanes", e->name,
            (int)plan.blocks, (long long)plan.task_lanes);
        CHECK(plan.tasks == e->tasks, "%s: %lld tasks", e->name, (long long)plan.tasks);
        CHECK(of_8.blocks == e->blocks_of_8 && of_8.tasks == e->tasks_of_8, "%s, 8 threads: %d blocks, %lld tasks",
            e->name, (int)of_8.blocks, (long long)of_8.tasks);
        CHECK(plan.scratch_bytes == e->scratch_bytes, "%s: %lld bytes", e->name, (long long)plan.scratch_bytes);
        CHECK((plan.kv_fits_l2 != 0) == (e->kv_fits_l2 != 0), "%s: kv_fits_l2 %d", e->name, plan.kv_fits_l2);
        CHECK(plan.copy == e->copy && plan.key_splits == 1 && plan.partial_bytes == 0, "%s: copied %d, key_splits %d",
            e->name, plan.copy, (int)plan.key_splits);
        double flops = gatun__attention_flops(&desc);
        CHECK(flops == e->flops, "%s: %.0f operations", e->name, flops);
    }
}

/* ---- a pure function ---- */

static gatun_attention_desc random_desc(rng *random) {
    static const int64_t dims[] = {1, 16, 32, 33, 64, 96, 128, 256, 512};
    const int64_t kv_heads = 1 + rng_below(random, 8);
    gatun_attention_desc desc = shape(rng_below(random, 5), kv_heads * (1 + rng_below(random, 5)), kv_heads,
        rng_below(random, 3000), rng_below(random, 5000), dims[rng_below(random, sizeof dims / sizeof *dims)]);
    desc.causal = (int32_t)rng_below(random, 3);
    desc.max_threads = (int32_t)rng_below(random, 4);
    if (rng_below(random, 3) == 0)
        desc.flags |= GATUN_ATTENTION_BIASED;
    if (rng_below(random, 3) == 0)
        desc.flags |= GATUN_ATTENTION_BF16;
    return desc;
}

/* Any shape: every lane has a task, blocks and threads are bounded, and a second look gives the same. */
static void invariants(void) {
    static const struct {
        int32_t tier, block_lanes;
    } tiers[] = {{GATUN_TIER_AVX512, 32}, {GATUN_TIER_AVX2, 24}, {GATUN_TIER_NEON, 8}, {GATUN_TIER_PORTABLE, 8}};
    static const int64_t l2[] = {256 * KIB, 512 * KIB, 2 * MIB, 4 * MIB};
    const int cases = test_light() ? 300 : 3000;
    for (int n = 0; n < cases; n++) {
        if (!test_wants_case(n))
            continue;
        rng random = rng_make(test_seed(), (uint64_t)n);
        const gatun_attention_desc desc = random_desc(&random);
        const int i = (int)rng_below(&random, 4);
        const gatun__caches sizes = {32 * KIB, l2[rng_below(&random, 4)], 8 * MIB};
        const int32_t threads = 1 + (int32_t)rng_below(&random, 16), lanes = tiers[i].block_lanes;
        const gatun__attention_plan plan = make_plan(&desc, tiers[i].tier, lanes, threads, &sizes, NULL);
        const gatun__attention_plan again = make_plan(&desc, tiers[i].tier, lanes, threads, &sizes, NULL);
        CHECK(plan.kernel == again.kernel && plan.threads == again.threads && plan.blocks == again.blocks &&
                  plan.task_lanes == again.task_lanes && plan.row_tasks == again.row_tasks &&
                  plan.tasks == again.tasks && plan.kv_fits_l2 == again.kv_fits_l2 && plan.copy == again.copy &&
                  plan.key_splits == again.key_splits && plan.scratch_bytes == again.scratch_bytes &&
                  plan.workspace_bytes == again.workspace_bytes,
            "the same arguments give another plan");

        CHECK(plan.blocks >= 1 && plan.blocks <= GATUN__MAX_BLOCKS, "%d blocks", (int)plan.blocks);
        CHECK(plan.task_lanes == (int64_t)plan.blocks * lanes, "%lld lanes in %d blocks", (long long)plan.task_lanes,
            (int)plan.blocks);
        const int64_t all = desc.seq_q * (desc.heads / desc.kv_heads);
        const int64_t head_tasks = (desc.kv_heads + plan.task_heads - 1) / plan.task_heads;
        CHECK(plan.row_tasks * plan.task_lanes >= all, "%lld tasks of %lld lanes do not cover %lld",
            (long long)plan.row_tasks, (long long)plan.task_lanes, (long long)all);
        CHECK(all == 0 ? plan.row_tasks == 0 : (plan.row_tasks - 1) * plan.task_lanes < all, "a task has no lane");
        CHECK(plan.task_heads >= 1 && (plan.task_heads == 1 || plan.kernel == GATUN_KERNEL_TINY),
            "%lld heads in a task", (long long)plan.task_heads);
        CHECK(plan.head_tasks == head_tasks && plan.tasks == desc.batch * head_tasks * plan.row_tasks * plan.key_splits,
            "%lld tasks of %lld heads each", (long long)plan.tasks, (long long)plan.task_heads);
        const int64_t splits = (desc.seq_k + GATUN__SPLIT_KEYS - 1) / GATUN__SPLIT_KEYS, step = plan.part_splits;
        CHECK(plan.key_splits >= 1 && plan.key_splits * step >= splits &&
                  (plan.key_splits == 1 || (plan.key_splits - 1) * step < splits),
            "%d parts of %lld splits", (int)plan.key_splits, (long long)step);
        CHECK(plan.key_splits == 1 || (plan.kernel == GATUN_KERNEL_DECODE && plan.threads > 1), "%d parts",
            (int)plan.key_splits);
        const int32_t most = desc.max_threads > 0 && desc.max_threads < threads ? desc.max_threads : threads;
        CHECK(plan.threads >= 1 && plan.threads <= most, "%d threads of %d, at most %d", (int)plan.threads,
            (int)threads, (int)desc.max_threads);
        CHECK(plan.scratch_bytes >= 64 && plan.scratch_bytes % 64 == 0, "scratch of %lld bytes",
            (long long)plan.scratch_bytes);
        CHECK(plan.parts_offset == plan.scratch_bytes * plan.threads, "scratch of %lld bytes",
            (long long)plan.parts_offset);
        const int64_t partials = plan.tasks / plan.key_splits * splits * plan.partial_bytes;
        CHECK(plan.key_splits == 1
                  ? plan.workspace_bytes == plan.parts_offset
                  : plan.workspace_bytes >= plan.parts_offset + plan.tasks / plan.key_splits * 4 + partials,
            "a workspace of %lld bytes", (long long)plan.workspace_bytes);
        CHECK(plan.kernel != GATUN_KERNEL_TINY || tiers[i].tier == GATUN_TIER_AVX512, "tier %d has no tiny kernel",
            (int)tiers[i].tier);

        const double share = gatun__attention_predict(&desc, &plan, tiers[i].tier);
        CHECK(plan.kernel != GATUN_KERNEL_BF16 || tiers[i].tier == GATUN_TIER_AVX512, "tier %d has no bf16 kernel",
            (int)tiers[i].tier);
        const bool known =
            tiers[i].tier >= GATUN_TIER_AVX2 && gatun__attention_flops(&desc) > 0 && plan.kernel != GATUN_KERNEL_BF16;
        CHECK(known ? share > 0 && share <= 1 : isnan(share), "the prediction is %g", share);
    }
    test_note("%s", "");
}

/* Enough tasks for the threads, as long as there are blocks to share among them. */
static void threads(void) {
    for (int32_t n = 1; n <= 64; n *= 2) {
        gatun_attention_desc desc = shape(1, 1, 1, 2048, 2048, 64);
        const gatun__attention_plan plan = plan_of(&desc, n);
        CHECK(plan.blocks == 1 || plan.tasks >= 4 * (int64_t)plan.threads || n == 1, "%d threads: %lld tasks", (int)n,
            (long long)plan.tasks);
        CHECK(plan.threads == n, "%d threads: %d", (int)n, (int)plan.threads);
        desc.max_threads = 3;
        CHECK(plan_of(&desc, n).threads == (n < 3 ? n : 3), "at most 3 of %d threads: %d", (int)n,
            (int)plan_of(&desc, n).threads);
    }
}

/* A thread is not woken for a few microseconds of work. */
static void little_work(void) {
    static const struct {
        int64_t batch, heads, kv_heads, seq_q, seq_k, dim;
        int32_t threads;
    } cases[] = {
        {1, 4, 4, 16, 16, 32, 1},   /* 2,048 cycles of products */
        {1, 12, 12, 64, 64, 32, 4}, /* 98,304 */
        {1, 12, 12, 128, 128, 64, 8},
        {1, 1, 1, 1, 512, 64, 1},  /* 32,768 cycles of reading */
        {1, 8, 8, 1, 128, 128, 6}, /* 131,072 */
        {1, 32, 8, 1, 4096, 128, 8},
        {0, 4, 4, 16, 16, 32, 1},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        const gatun_attention_desc desc =
            shape(cases[n].batch, cases[n].heads, cases[n].kv_heads, cases[n].seq_q, cases[n].seq_k, cases[n].dim);
        CHECK(plan_of(&desc, 8).threads == cases[n].threads, "case %d: %d threads", (int)n,
            (int)plan_of(&desc, 8).threads);
    }
}

static void scratch(void) {
    gatun_attention_desc desc = by_head(shape(1, 8, 8, 512, 2048, 64));
    const int64_t usual = plan_of(&desc, 1).scratch_bytes;
    const gatun_attention_desc same[] = {by_head(shape(64, 8, 8, 512, 2048, 64)),
        by_head(shape(1, 256, 256, 512, 2048, 64)), by_head(shape(1, 8, 8, 1000000, 2048, 64))};
    for (size_t n = 0; n < sizeof same / sizeof *same; n++) {
        CHECK(plan_of(&same[n], 1).scratch_bytes == usual, "shape %d: scratch of %lld bytes, not %lld", (int)n,
            (long long)plan_of(&same[n], 1).scratch_bytes, (long long)usual);
    }
    /* past a split its result is merged in double, whatever comes after it */
    desc.seq_k = GATUN__SPLIT_KEYS + 1;
    const int64_t merged = plan_of(&desc, 1).scratch_bytes;
    CHECK(
        merged == usual + 8 * (32 * 64 * 8 + 32 * 8 + 32 * 4), "merging takes %lld bytes", (long long)(merged - usual));
    desc.seq_k = INT32_MAX;
    CHECK(plan_of(&desc, 1).scratch_bytes == merged, "scratch grows past two splits");
    desc = by_head(shape(1, 8, 8, 512, 2048, 65));
    CHECK(plan_of(&desc, 1).scratch_bytes > usual, "scratch does not grow with the head dimension");
    desc = by_head(shape(1, 8, 8, 512, 2048, 64));
    desc.flags |= GATUN_ATTENTION_BIASED;
    CHECK(plan_of(&desc, 1).scratch_bytes == usual + (256 + 127) * 4 + 4, "biases take %lld bytes",
        (long long)(plan_of(&desc, 1).scratch_bytes - usual));
}

/* Under a causal mask, blocks of a task: one where sequences are short and their heads far away. */
static void short_causal(void) {
    static const struct {
        int64_t batch, heads, kv_heads, seq, seq_k, dim;
        int32_t causal, blocks;
    } cases[] = {
        {1, 24, 24, 128, 128, 64, GATUN_CAUSAL_BOTTOM_RIGHT, 1}, /* 1.5 MiB of keys and values */
        {1, 24, 24, 128, 128, 64, GATUN_CAUSAL_TOP_LEFT, 1}, {1, 24, 24, 128, 128, 64, GATUN_CAUSAL_NONE, 4},
        {1, 16, 16, 128, 128, 64, GATUN_CAUSAL_BOTTOM_RIGHT, 4},  /* half of L2 */
        {1, 24, 24, 129, 129, 64, GATUN_CAUSAL_BOTTOM_RIGHT, 4},  /* five blocks of rows */
        {32, 12, 12, 128, 128, 32, GATUN_CAUSAL_BOTTOM_RIGHT, 4}, /* whose state stays in L1 */
        {1, 24, 24, 128, 8192, 64, GATUN_CAUSAL_BOTTOM_RIGHT, 4}, /* after many keys, which all blocks see */
        {8, 96, 24, 32, 32, 64, GATUN_CAUSAL_BOTTOM_RIGHT, 4},    /* heads of a group see the same */
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        gatun_attention_desc desc =
            shape(cases[n].batch, cases[n].heads, cases[n].kv_heads, cases[n].seq, cases[n].seq_k, cases[n].dim);
        desc.causal = cases[n].causal;
        const gatun__attention_plan plan = plan_of(&desc, 1);
        CHECK(plan.blocks == cases[n].blocks, "case %d: %d blocks", (int)n, (int)plan.blocks);
    }
}

/* Rows that compete for a part of the cache: copied as a head, or by tiles of it if that takes much room. */
static void copies(void) {
    static const struct {
        int64_t kv_heads, seq_q, seq_k, dim;
        int32_t copy, causal;
    } cases[] = {
        {16, 2048, 2048, 64, GATUN_COPY_HEADS, GATUN_CAUSAL_NONE}, /* 4 KiB */
        {12, 2048, 2048, 64, GATUN_COPY_HEADS, GATUN_CAUSAL_NONE},
        {8, 2048, 2048, 128, GATUN_COPY_HEADS, GATUN_CAUSAL_NONE},
        {1, 2048, 2048, 64, GATUN_COPY_NONE, GATUN_CAUSAL_NONE},
        {7, 2048, 2048, 16, GATUN_COPY_NONE, GATUN_CAUSAL_NONE}, /* all parts of the cache */
        {8, 4096, 4096, 128, GATUN_COPY_HEADS, GATUN_CAUSAL_NONE},
        {8, 4097, 4097, 128, GATUN_COPY_TILES, GATUN_CAUSAL_NONE}, /* more than 4 MiB */
        {8, 8192, 8192, 16, GATUN_COPY_HEADS, GATUN_CAUSAL_NONE},
        {8, 8192, 8193, 16, GATUN_COPY_TILES, GATUN_CAUSAL_NONE}, /* so long */
        {16, 225, 128, 64, GATUN_COPY_HEADS, GATUN_CAUSAL_NONE},
        {16, 224, 128, 64, GATUN_COPY_NONE, GATUN_CAUSAL_NONE}, /* 7 blocks of queries */
        {16, 225, 127, 64, GATUN_COPY_NONE, GATUN_CAUSAL_NONE}, /* no whole tile */
        {16, 993, 993, 64, GATUN_COPY_HEADS, GATUN_CAUSAL_BOTTOM_RIGHT},
        {16, 992, 992, 64, GATUN_COPY_NONE, GATUN_CAUSAL_BOTTOM_RIGHT},  /* 31 blocks that see half of the keys */
        {16, 225, 226, 64, GATUN_COPY_HEADS, GATUN_CAUSAL_BOTTOM_RIGHT}, /* a cache */
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        gatun_attention_desc desc =
            shape(1, cases[n].kv_heads, cases[n].kv_heads, cases[n].seq_q, cases[n].seq_k, cases[n].dim);
        desc.causal = cases[n].causal;
        const gatun__attention_plan plan = plan_of(&desc, 1);
        CHECK(plan.copy == cases[n].copy, "case %d: copy %d", (int)n, (int)plan.copy);
        const gatun_attention_desc apart = by_head(desc);
        const int64_t more = plan.scratch_bytes - plan_of(&apart, 1).scratch_bytes;
        const int64_t row = 2 * cases[n].dim * 4, tile = GATUN__TILE_KEYS * row;
        if (plan.copy == GATUN_COPY_HEADS)
            CHECK(more == GATUN__COPY_HEADER + cases[n].seq_k * row, "case %d: %lld bytes", (int)n, (long long)more);
        else if (plan.copy == GATUN_COPY_TILES)
            CHECK(more >= tile && more <= tile + (1 << 20) && plan.blocks == 8, "case %d: %lld bytes, %d blocks",
                (int)n, (long long)more, (int)plan.blocks);
    }
}

/* Parts of the keys are tasks where decoding leaves threads without any: of whole splits, four tasks a thread. */
static void key_parts(void) {
    static const struct {
        int64_t batch, heads, kv_heads, seq_q, seq_k, dim;
        int32_t causal, threads, key_splits;
        int64_t part_splits, tasks, more_bytes; /* than scratch */
    } cases[] = {
        {1, 1, 1, 1, 32768, 128, GATUN_CAUSAL_NONE, 2, 8, 2, 8, 64 + 16 * 576},
        {1, 4, 1, 1, 32768, 128, GATUN_CAUSAL_NONE, 8, 16, 1, 16, 64 + 16 * 2112},
        {1, 4, 1, 4, 32768, 128, GATUN_CAUSAL_BOTTOM_RIGHT, 8, 16, 1, 16, 64 + 16 * 16 * 130 * 4},
        {1, 4, 1, 4, 32768, 128, GATUN_CAUSAL_TOP_LEFT, 8, 1, 16, 1, 0}, /* sees 4 keys */
        {1, 4, 1, 5, 32768, 128, GATUN_CAUSAL_NONE, 8, 1, 16, 1, 0},     /* too many rows for decode */
        {1, 4, 1, 1, 32768, 128, GATUN_CAUSAL_NONE, 1, 1, 16, 1, 0},     /* nobody to share with */
        {1, 4, 1, 1, 2048, 128, GATUN_CAUSAL_NONE, 8, 1, 1, 1, 0},       /* one split */
        {1, 4, 1, 1, 2049, 128, GATUN_CAUSAL_NONE, 8, 2, 1, 2, 64 + 2 * 2112},
        {1, 12, 3, 1, 32768, 128, GATUN_CAUSAL_NONE, 2, 3, 6, 9, 64 + 3 * 16 * 2112},
        {1, 32, 8, 1, 32768, 128, GATUN_CAUSAL_NONE, 2, 1, 16, 8, 0}, /* enough */
        {1, 32, 8, 1, 32768, 128, GATUN_CAUSAL_NONE, 3, 2, 8, 16, 64 + 8 * 16 * 2112},
        {1, 40, 1, 4, 4096, 64, GATUN_CAUSAL_NONE, 8, 2, 1, 10, 64 + 5 * 2 * 32 * 66 * 4}, /* 5 tasks of 32 lanes */
        {1, 8, 1, 4, 2000000, 128, GATUN_CAUSAL_NONE, 8, 32, 31, 32, 64 + 977 * 32 * 130 * 4},
        {1, 8, 1, 4, 3000000, 128, GATUN_CAUSAL_NONE, 8, 1, 1465, 1, 0}, /* results of more than 16 MiB */
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        gatun_attention_desc desc =
            shape(cases[n].batch, cases[n].heads, cases[n].kv_heads, cases[n].seq_q, cases[n].seq_k, cases[n].dim);
        desc.causal = cases[n].causal;
        const gatun__attention_plan plan = plan_of(&desc, cases[n].threads);
        CHECK(plan.key_splits == cases[n].key_splits && plan.part_splits == cases[n].part_splits &&
                  plan.tasks == cases[n].tasks,
            "case %d: %d parts of %lld splits, %lld tasks", (int)n, (int)plan.key_splits, (long long)plan.part_splits,
            (long long)plan.tasks);
        CHECK(plan.workspace_bytes - plan.threads * plan.scratch_bytes == cases[n].more_bytes,
            "case %d: %lld bytes for parts", (int)n,
            (long long)(plan.workspace_bytes - plan.threads * plan.scratch_bytes));
        desc.flags |= GATUN_ATTENTION_BIASED;
        CHECK(plan_of(&desc, cases[n].threads).key_splits == 1, "case %d, with biases: in parts", (int)n);
    }
}

/* ---- the kernel ---- */

static void kernels(void) {
    gatun_attention_desc desc = shape(2, 4, 2, 4, 100, 64);
    CHECK(kernel_of(&desc) == GATUN_KERNEL_DECODE, "4 rows: kernel %d", (int)kernel_of(&desc));
    desc.seq_q = 5;
    CHECK(kernel_of(&desc) == GATUN_KERNEL_GENERAL, "5 rows: kernel %d", (int)kernel_of(&desc));
    desc.seq_q = 4;
    desc.flags |= GATUN_ATTENTION_BIASED;
    CHECK(kernel_of(&desc) == GATUN_KERNEL_GENERAL, "4 rows with biases: kernel %d", (int)kernel_of(&desc));
    /* decode comes first: it decides bits */
    desc = shape(1, 1, 1, 4, 16, 32);
    CHECK(kernel_of(&desc) == GATUN_KERNEL_DECODE, "4 rows and 16 keys: kernel %d", (int)kernel_of(&desc));
    desc = shape(2, 4, 2, 5, 17, 64);
    CHECK(kernel_of(&desc) == GATUN_KERNEL_GENERAL, "5 rows: kernel %d", (int)kernel_of(&desc));
    desc.flags |= GATUN_ATTENTION_BF16;
    CHECK(kernel_of(&desc) == GATUN_KERNEL_BF16, "5 rows in bf16: kernel %d", (int)kernel_of(&desc));
    CHECK(make_plan(&desc, GATUN_TIER_AVX2, 24, 1, &caches, NULL).kernel == GATUN_KERNEL_GENERAL, "bf16 on avx2");
    desc.flags |= GATUN_ATTENTION_BIASED;
    CHECK(kernel_of(&desc) == GATUN_KERNEL_GENERAL, "biases in bf16: kernel %d", (int)kernel_of(&desc));
    desc = shape(2, 4, 2, 5, 16, 64);
    desc.flags |= GATUN_ATTENTION_BF16;
    CHECK(kernel_of(&desc) != GATUN_KERNEL_BF16, "16 keys in bf16");
    desc = shape(2, 4, 2, 4, 17, 64);
    desc.flags |= GATUN_ATTENTION_BF16;
    CHECK(kernel_of(&desc) == GATUN_KERNEL_DECODE, "4 rows in bf16: kernel %d", (int)kernel_of(&desc));

    static const struct {
        int64_t heads, seq_q, seq_k, head_dim, head_dim_v;
        bool tiny;
    } cases[] = {
        {1, 16, 16, 32, 32, true},
        {1, 5, 1, 1, 32, true},
        {1, 16, 17, 32, 32, false},
        {1, 16, 0, 32, 32, false},
        {1, 17, 16, 32, 32, false},
        {2, 8, 16, 32, 32, true}, /* lanes are rows and heads of the group */
        {2, 9, 16, 32, 32, false},
        {1, 16, 16, 128, 32, true},
        {1, 16, 16, 129, 32, false},
        {1, 16, 16, 32, 512, true},
        {1, 16, 16, 32, 48, false},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        desc = shape(3, cases[n].heads, 1, cases[n].seq_q, cases[n].seq_k, cases[n].head_dim);
        desc.head_dim_v = cases[n].head_dim_v;
        const int32_t wanted = cases[n].tiny ? GATUN_KERNEL_TINY : GATUN_KERNEL_GENERAL;
        CHECK(kernel_of(&desc) == wanted, "case %d: expected kernel %d, got %d", (int)n, (int)wanted,
            (int)kernel_of(&desc));
        desc.flags |= GATUN_ATTENTION_BIASED;
        CHECK(
            kernel_of(&desc) == GATUN_KERNEL_GENERAL, "case %d with biases: kernel %d", (int)n, (int)kernel_of(&desc));
        desc.flags = 0;
        CHECK(make_plan(&desc, GATUN_TIER_AVX2, 24, 1, &caches, NULL).kernel == GATUN_KERNEL_GENERAL,
            "case %d: avx2 has a tiny kernel", (int)n);
    }
}

/* ---- operations and prediction ---- */

static void flops(void) {
    static const int32_t modes[] = {GATUN_CAUSAL_NONE, GATUN_CAUSAL_BOTTOM_RIGHT, GATUN_CAUSAL_TOP_LEFT};
    for (int64_t rows = 0; rows < 6; rows++) {
        for (int64_t keys = 0; keys < 6; keys++) {
            for (int m = 0; m < 3; m++) {
                gatun_attention_desc desc = shape(3, 4, 2, rows, keys, 7);
                desc.causal = modes[m];
                desc.head_dim_v = 5;
                int64_t pairs = 0;
                for (int64_t i = 0; i < rows; i++) {
                    for (int64_t j = 0; j < keys; j++) {
                        pairs += modes[m] == GATUN_CAUSAL_NONE ||
                                 j <= i + (modes[m] == GATUN_CAUSAL_TOP_LEFT ? 0 : keys - rows);
                    }
                }
                const double wanted = 2.0 * (double)pairs * 3 * 4 * (7 + 5), got = gatun__attention_flops(&desc);
                CHECK(got == wanted, "%lld rows, %lld keys, causal %d: expected %.0f, got %.0f", (long long)rows,
                    (long long)keys, (int)modes[m], wanted, got);
            }
        }
    }
}

/* What key_range.h says of each row, one key after the other; neither end falls from row to row. */
static void key_ranges(void) {
    enum { MANY = 9 };
    for (int32_t causal = GATUN_CAUSAL_NONE; causal <= GATUN_CAUSAL_TOP_LEFT; causal++) {
        for (int64_t rows = 1; rows < MANY; rows++) {
            for (int64_t keys = 0; keys < MANY; keys++) {
                const gatun_attention_desc desc = {.causal = causal};
                const gatun__key_rule rule = gatun__key_rule_of(&desc, rows, keys, 0, 0);
                gatun__keys before = {0, 0};
                int64_t pairs = 0, complete = 0;
                for (int64_t i = 0; i < rows; i++) {
                    const gatun__keys range = gatun__key_range(&rule, i);
                    for (int64_t j = 0; j < keys; j++) {
                        const bool seen =
                            causal == GATUN_CAUSAL_NONE || j <= i + (causal == GATUN_CAUSAL_TOP_LEFT ? 0 : keys - rows);
                        CHECK(seen == (j >= range.first && j < range.end), "causal %d, %lld x %lld: row %lld, key %lld",
                            (int)causal, (long long)rows, (long long)keys, (long long)i, (long long)j);
                        pairs += seen;
                    }
                    CHECK(range.first >= before.first && range.end >= before.end, "a range falls at row %lld",
                        (long long)i);
                    complete += range.end - range.first == keys;
                    before = range;
                }
                CHECK(gatun__visible_pairs(&rule, 0, rows) == (double)pairs,
                    "causal %d, %lld x %lld: %lld pairs, not %g", (int)causal, (long long)rows, (long long)keys,
                    (long long)pairs, gatun__visible_pairs(&rule, 0, rows));
                CHECK((gatun__all_visible(&rule, 0, rows - 1) != 0) == (complete == rows),
                    "causal %d, %lld x %lld: all visible", (int)causal, (long long)rows, (long long)keys);
            }
        }
    }
}

static double predict(int32_t tier, int64_t seq, int64_t dim, int32_t causal, int64_t l2) {
    gatun_attention_desc desc = shape(1, 1, 1, seq, seq, dim);
    desc.causal = causal;
    const gatun__caches sizes = {48 * KIB, l2, 32 * MIB};
    const gatun__attention_plan plan = make_plan(&desc, GATUN_TIER_AVX512, 32, 1, &sizes, NULL);
    return gatun__attention_predict(&desc, &plan, tier);
}

/* Measured in percent, one head, hot caches, one thread of an undisturbed core; avx2 without a mask only. */
static void prediction_fits(void) {
    static const struct {
        int32_t tier, causal;
        int64_t seq, dim;
        double percent;
    } measured[] = {
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 512, 32, 94},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 512, 64, 97.3},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 512, 128, 98.3},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 128, 32, 90},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 128, 64, 93.3},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 128, 128, 95},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 2048, 32, 94},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 2048, 64, 96.5},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_NONE, 2048, 128, 97.2},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 2048, 32, 91.8},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 2048, 64, 94.5},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 2048, 128, 94.8},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 512, 32, 86.6},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 512, 64, 90.7},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 512, 128, 91.6},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 128, 32, 72},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 128, 64, 77.5},
        {GATUN_TIER_AVX512, GATUN_CAUSAL_BOTTOM_RIGHT, 128, 128, 80},
        {GATUN_TIER_AVX2, GATUN_CAUSAL_NONE, 512, 32, 80.4},
        {GATUN_TIER_AVX2, GATUN_CAUSAL_NONE, 512, 64, 88.7},
        {GATUN_TIER_AVX2, GATUN_CAUSAL_NONE, 512, 128, 94.4},
        {GATUN_TIER_AVX2, GATUN_CAUSAL_NONE, 2048, 64, 88.9},
        {GATUN_TIER_AVX2, GATUN_CAUSAL_NONE, 2048, 128, 92.8},
    };
    for (size_t n = 0; n < sizeof measured / sizeof *measured; n++) {
        const double percent =
            100 * predict(measured[n].tier, measured[n].seq, measured[n].dim, measured[n].causal, 1 * MIB);
        CHECK(fabs(percent - measured[n].percent) <= 3,
            "%s, seq %lld, dim %lld, causal %d: measured %.1f, predicted %.1f", gatun_tier_name(measured[n].tier),
            (long long)measured[n].seq, (long long)measured[n].dim, (int)measured[n].causal, measured[n].percent,
            percent);
    }
}

static void prediction_grows(void) {
    /* Where keys and values stay in L2. */
    const int64_t all = (int64_t)1 << 40;
    static const int32_t tiers[] = {GATUN_TIER_AVX2, GATUN_TIER_AVX512};
    for (int t = 0; t < 2; t++) {
        for (int32_t causal = 0; causal < 3; causal++) {
            for (int64_t dim = 32; dim <= 512; dim *= 2) {
                double before = 0;
                for (int64_t seq = 64; seq <= 1 << 20; seq *= 2) {
                    const double share = predict(tiers[t], seq, dim, causal, all);
                    CHECK(share > before, "tier %d, causal %d, dim %lld: not more at seq %lld", (int)tiers[t],
                        (int)causal, (long long)dim, (long long)seq);
                    CHECK(predict(tiers[t], seq, 2 * dim, causal, all) > share,
                        "tier %d, causal %d, seq %lld: not more at dim %lld", (int)tiers[t], (int)causal,
                        (long long)seq, (long long)(2 * dim));
                    before = share;
                }
                CHECK(before < 1, "tier %d: %g at last", (int)tiers[t], before);
            }
        }
    }
    CHECK(isnan(predict(GATUN_TIER_NEON, 512, 64, 0, all)), "neon is predicted");
    CHECK(isnan(predict(GATUN_TIER_PORTABLE, 512, 64, 0, all)), "portable is predicted");
    CHECK(isnan(predict(GATUN_TIER_AVX512, 0, 64, 0, all)), "nothing is predicted");
}

/* ---- gatun_attention_plan ---- */

static gatun_context *best_context(void) {
    int32_t tiers[MAX_TIERS];
    return shared_context(tiers[test_tiers(tiers) - 1]);
}

/* Of every tier that runs here: the pure function of what gatun_context_info says. */
static void info_is_the_plan(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        gatun_context *context = shared_context(tiers[t]);
        gatun_info about = {.struct_size = sizeof about};
        REQUIRE_STATUS(gatun_context_info(context, &about), GATUN_OK);
        const gatun__caches sizes = {about.l1d_bytes, about.l2_bytes, about.l3_bytes};
        for (int n = 0; n < EXAMPLES; n++) {
            for (int causal = 0; causal < 3; causal++) {
                gatun_attention_desc desc = shape_of(&examples[n]);
                desc.causal = causal;
                desc.max_threads = n % 3;
                gatun_attention_plan_info info;
                memset(&info, 0xee, sizeof info);
                info.struct_size = sizeof info;
                test_note("%s, %s, causal %d", gatun_tier_name(tiers[t]), examples[n].name, causal);
                REQUIRE_STATUS(gatun_attention_plan(context, &desc, &info), GATUN_OK);
                const gatun__attention_plan plan =
                    make_plan(&desc, tiers[t], info.block_lanes, about.threads, &sizes, NULL);
                CHECK(info.tier == tiers[t] && info.kernel == plan.kernel && info.threads == plan.threads,
                    "tier %d, kernel %d, threads %d", (int)info.tier, (int)info.kernel, (int)info.threads);
                CHECK(info.block_lanes >= 4 && info.block_lanes <= GATUN__MAX_BLOCK_LANES, "block_lanes %d",
                    (int)info.block_lanes);
                CHECK(info.task_blocks == plan.blocks && info.task_lanes == plan.task_lanes &&
                          info.tasks == plan.tasks && info.kv_fits_l2 == plan.kv_fits_l2,
                    "task_blocks %d, task_lanes %lld, tasks %lld, kv_fits_l2 %d", (int)info.task_blocks,
                    (long long)info.task_lanes, (long long)info.tasks, (int)info.kv_fits_l2);
                CHECK(info.tile_keys == 128 && info.chain_keys == 32 && info.split_keys == 2048,
                    "keys: tile %d, chain %d, split %d", (int)info.tile_keys, (int)info.chain_keys,
                    (int)info.split_keys);
                CHECK(info.copies == plan.copy && info.key_splits == plan.key_splits, "copied %d, key_splits %d",
                    (int)info.copies, (int)info.key_splits);
                CHECK(info.scratch_bytes == plan.scratch_bytes, "scratch_bytes %lld", (long long)info.scratch_bytes);
                int64_t bytes = 0;
                CHECK_STATUS(gatun_attention_workspace_size(context, &desc, &bytes), GATUN_OK);
                CHECK(info.workspace_bytes == bytes && bytes == plan.workspace_bytes, "workspace_bytes %lld, not %lld",
                    (long long)info.workspace_bytes, (long long)bytes);
                CHECK(info.flops == gatun__attention_flops(&desc), "flops %g", info.flops);
                const double share = gatun__attention_predict(&desc, &plan, tiers[t]);
                CHECK(info.predicted_share == share || (isnan(share) && isnan(info.predicted_share)),
                    "predicted_share %g, not %g", info.predicted_share, share);
                for (size_t i = 0; i < sizeof info.reserved / sizeof *info.reserved; i++) {
                    CHECK(info.reserved[i] == 0, "reserved[%d] is set", (int)i);
                }
            }
        }
    }
    test_note("%s", "");
}

/* As gatun_attention_workspace_size: the same statuses, and nothing is written. */
static void refused(void) {
    gatun_context *context = best_context();
    const gatun_attention_desc good = shape(1, 4, 2, 8, 8, 32);
    gatun_attention_plan_info info, before;
    memset(&info, 0x5a, sizeof info);
    info.struct_size = sizeof info;
    before = info;
    CHECK_STATUS(gatun_attention_plan(context, &good, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_plan(context, NULL, &info), GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_plan(NULL, &good, &info), GATUN_E_NULL);
    gatun_attention_desc bad[10];
    for (int n = 0; n < 10; n++) {
        bad[n] = good;
    }
    bad[0].struct_size = 8;
    bad[1].reserved[12] = 1;
    bad[2].flags = 1u << 31;
    bad[3].dtype = 7;
    bad[4].causal = 3;
    bad[5].max_threads = -1;
    bad[6].kv_heads = 3;
    bad[7].head_dim = GATUN_MAX_HEAD_DIM + 1;
    bad[8].k_stride[1] = -1;
    bad[9].out_stride[1] = 0;
    for (int n = 0; n < 10; n++) {
        int64_t bytes;
        const int32_t wanted = gatun_attention_workspace_size(context, &bad[n], &bytes);
        const int32_t got = gatun_attention_plan(context, &bad[n], &info);
        CHECK(wanted != GATUN_OK && got == wanted, "descriptor %d: expected %d, got %d", n, (int)wanted, (int)got);
    }
    CHECK(memcmp(&info, &before, sizeof info) == 0, "a plan was written");
}

static void struct_sizes(void) {
    gatun_context *context = best_context();
    const gatun_attention_desc desc = shape(1, 4, 2, 8, 8, 32);
    gatun_attention_plan_info whole = {.struct_size = sizeof whole};
    REQUIRE_STATUS(gatun_attention_plan(context, &desc, &whole), GATUN_OK);
    CHECK(whole.struct_size == sizeof whole, "struct_size was changed to %u", (unsigned)whole.struct_size);

    /* an older caller's struct gets what fits, and not a byte more */
    static const size_t sizes[] = {offsetof(gatun_attention_plan_info, threads),
        offsetof(gatun_attention_plan_info, tasks), offsetof(gatun_attention_plan_info, reserved)};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        gatun_attention_plan_info older, wanted;
        memset(&older, 0xee, sizeof older);
        memset(&wanted, 0xee, sizeof wanted);
        memcpy(&wanted, &whole, sizes[n]);
        older.struct_size = wanted.struct_size = (uint32_t)sizes[n];
        CHECK_STATUS(gatun_attention_plan(context, &desc, &older), GATUN_OK);
        CHECK(memcmp(&older, &wanted, sizeof older) == 0, "a struct of %d bytes is filled wrongly", (int)sizes[n]);
    }
    struct {
        gatun_attention_plan_info info;
        uint64_t later[2];
    } newer = {0};
    newer.info.struct_size = sizeof newer;
    CHECK_STATUS(gatun_attention_plan(context, &desc, &newer.info), GATUN_OK);
    CHECK(newer.info.tasks == whole.tasks && newer.later[0] == 0 && newer.later[1] == 0,
        "a larger struct is filled wrongly");
    static const uint32_t small[] = {0, 4, offsetof(gatun_attention_plan_info, threads) - 1};
    for (size_t n = 0; n < sizeof small / sizeof *small; n++) {
        whole.struct_size = small[n];
        CHECK_STATUS(gatun_attention_plan(context, &desc, &whole), GATUN_E_VERSION);
    }
}

const test_case plan_tests[] = {{"shapes", shapes}, {"invariants", invariants}, {"threads", threads},
    {"little_work", little_work}, {"scratch", scratch}, {"short_causal", short_causal}, {"copies", copies},
    {"key_parts", key_parts}, {"kernels", kernels}, {"flops", flops}, {"key_ranges", key_ranges},
    {"prediction_fits", prediction_fits}, {"prediction_grows", prediction_grows},
    {"info_is_the_plan", info_is_the_plan}, {"refused", refused}, {"struct_sizes", struct_sizes}, {NULL, NULL}};
