#include "changed.h"

#include <math.h>

const char *const feature_names[FEATURES] = {"window", "softcap", "sinks", "segments", "prefix", "mask", "bias",
    "blocks", "positions", "alibi", "table", "lengths", "causal"};

/* Strides of a map whose dimensions have these sizes or, where the bit of `broadcast` is set, 1; returns its elements. */
static int64_t map_of(const int64_t size[4], int broadcast, int64_t stride[4]) {
    int64_t elements = 1;
    for (int d = 3; d >= 0; d--) {
        const bool one = (broadcast >> d & 1) != 0;
        stride[d] = one ? 0 : elements;
        elements *= one ? 1 : size[d];
    }
    return elements;
}

static void add_window(problem *p, rng *random) {
    p->windowed = true;
    const int64_t most = p->seq_k < 4 ? 4 : p->seq_k;
    p->window_left = rng_below(random, 5) == 0 ? -1 : rng_below(random, rng_below(random, 2) == 0 ? 20 : most);
    p->window_right = rng_below(random, 3) == 0 ? -1 : rng_below(random, rng_below(random, 2) == 0 ? 20 : most);
    p->global_tokens = rng_below(random, 3) == 0 ? rng_below(random, 12) : 0;
}

static void add_segments(problem *p, rng *random) {
    p->segments_q = test_allocate(p->batch * p->seq_q * (int64_t)sizeof(int32_t));
    p->segments_k = test_allocate(p->batch * p->seq_k * (int64_t)sizeof(int32_t));
    const int64_t kinds = 1 + rng_below(random, 4);
    const bool mixed = rng_below(random, 3) == 0;
    for (int64_t i = 0; i < p->batch * p->seq_q; i++) {
        p->segments_q[i] = (int32_t)(mixed ? rng_below(random, kinds) : i % p->seq_q * kinds / p->seq_q);
    }
    for (int64_t i = 0; i < p->batch * p->seq_k; i++) {
        p->segments_k[i] = (int32_t)(mixed ? rng_below(random, kinds) : i % p->seq_k * kinds / p->seq_k);
    }
}

static void add_maps(problem *p, const bool wanted[FEATURES], rng *random) {
    const int64_t size[4] = {p->batch, p->heads, p->seq_q, p->seq_k};
    if (wanted[MASK]) {
        const int64_t elements = map_of(size, (int)rng_below(random, 16), p->mask_stride);
        p->mask = test_allocate(elements);
        const int64_t share = rng_below(random, 3);
        for (int64_t i = 0; i < elements; i++) {
            /* a few are masked, most, or whole stretches */
            p->mask[i] = share == 0   ? rng_below(random, 8) != 0
                         : share == 1 ? (uint8_t)(rng_below(random, 8) == 0) * 255
                                      : i / 150 % 3 != 1;
        }
    }
    if (wanted[BIAS]) {
        const int64_t elements = map_of(size, (int)rng_below(random, 16), p->bias_stride);
        p->bias = test_allocate(elements * (int64_t)sizeof(float));
        for (int64_t i = 0; i < elements; i++) {
            p->bias[i] = rng_below(random, 20) == 0 ? -INFINITY : 2 * rng_normal(random);
        }
    }
    if (wanted[BLOCKS]) {
        static const int64_t sides[] = {1, 16, 33, 64, 128, 200};
        p->block_q = sides[rng_below(random, 6)];
        p->block_k = sides[rng_below(random, 6)];
        const int64_t blocks[4] = {
            p->batch, p->heads, (p->seq_q + p->block_q - 1) / p->block_q, (p->seq_k + p->block_k - 1) / p->block_k};
        const int64_t elements = map_of(blocks, (int)rng_below(random, 16), p->block_stride);
        p->block_mask = test_allocate(elements);
        for (int64_t i = 0; i < elements; i++) {
            p->block_mask[i] = rng_below(random, 3) != 0;
        }
    }
}

problem changed_problem(const bool wanted[FEATURES], int64_t seq_q, int64_t seq_k, int64_t head_dim, rng *random) {
    const int64_t kv_heads = rng_between(random, 1, 2);
    problem p = {.batch = rng_between(random, 1, 2),
        .kv_heads = kv_heads,
        .heads = kv_heads * rng_between(random, 1, 3),
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = head_dim,
        .head_dim_v = rng_below(random, 4) == 0 ? head_dim + 3 : head_dim};
    if (wanted[RANDOM_CAUSAL] || wanted[PREFIX]) {
        p.causal = (int32_t)rng_between(random, GATUN_CAUSAL_BOTTOM_RIGHT, GATUN_CAUSAL_TOP_LEFT);
    }
    problem_allocate(&p, wanted[LENGTHS] ? LENGTHS_BOTH : LENGTHS_NONE);
    problem_draw(&p, VALUES_NORMAL, random);
    if (wanted[LENGTHS]) {
        problem_poison(&p, random);
    }
    problem_bias(
        &p, (wanted[ALIBI] ? BIAS_ALIBI : 0) | (wanted[TABLE] ? BIAS_TABLE : 0), rng_below(random, 200), random);
    if (wanted[SOFTCAP]) {
        static const float caps[] = {0.5f, 2, 30, 50, 1e-3f, 1e6f};
        p.softcap = caps[rng_below(random, 6)];
    }
    if (wanted[WINDOW]) {
        add_window(&p, random);
    }
    if (wanted[SINKS]) {
        p.sinks = test_allocate(p.heads * (int64_t)sizeof(float));
        for (int64_t h = 0; h < p.heads; h++) {
            p.sinks[h] = rng_below(random, 6) == 0 ? -INFINITY : 4 * rng_normal(random);
        }
    }
    if (wanted[SEGMENTS]) {
        add_segments(&p, random);
    }
    if (wanted[PREFIX]) {
        p.prefix = test_allocate(p.batch * (int64_t)sizeof(int32_t));
        for (int64_t b = 0; b < p.batch; b++) {
            p.prefix[b] = (int32_t)rng_between(random, 0, p.seq_k);
        }
    }
    if (wanted[POSITIONS]) {
        p.positions = test_allocate(p.batch * p.seq_q * (int64_t)sizeof(int32_t));
        for (int64_t i = 0; i < p.batch * p.seq_q; i++) {
            p.positions[i] = (int32_t)rng_between(random, -3, p.seq_k + 3);
        }
    }
    add_maps(&p, wanted, random);
    return p;
}
