#include "fuzz_changes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/half_float.h"
#include "../tests/harness.h"

static void map_size(const gatun_attention_desc *d, bool blocks, int64_t size[4]) {
    size[0] = d->batch;
    size[1] = d->heads;
    size[2] = blocks ? (d->seq_q + d->block_q - 1) / d->block_q : d->seq_q;
    size[3] = blocks ? (d->seq_k + d->block_k - 1) / d->block_k : d->seq_k;
}

/* Elements from the first to the last, 0 if there are none, -1 if they are too many for a fuzzer. */
static int64_t map_extent(const int64_t size[4], const int64_t stride[4]) {
    int64_t last = 1;
    for (int n = 0; n < 4; n++) {
        if (size[n] == 0) {
            return 0;
        }
    }
    for (int n = 0; n < 4; n++) {
        if (size[n] > MAX_ELEMENTS || (size[n] > 1 && stride[n] > MAX_ELEMENTS)) {
            return -1;
        }
        last += size[n] > 1 ? (size[n] - 1) * stride[n] : 0;
        if (last > MAX_ELEMENTS) {
            return -1;
        }
    }
    return last;
}

/* Broadcast, padded, or with queries next to each other. */
static void map_strides(const int64_t size[4], int64_t stride[4], stream *s) {
    const uint64_t kind = take(s, 1);
    int64_t elements = kind & 64 ? 1 + below(s, 3) : 1;
    static const int straight[] = {3, 2, 1, 0}, turned[] = {2, 3, 1, 0};
    for (int n = 0; n < 4; n++) {
        const int dim = (kind & 16 ? turned : straight)[n];
        const bool one = (kind >> dim & 1) != 0;
        stride[dim] = one ? 0 : elements;
        elements *= one || size[dim] == 0 ? 1 : size[dim];
        elements += kind & 32 ? below(s, 8) : 0;
    }
}

static int64_t side(stream *s, int64_t seq) {
    const int64_t kind = below(s, 8);
    return kind == 0 ? -1 : kind == 1 ? INT32_MAX : kind < 6 ? below(s, 40) : below(s, seq + 4);
}

void fuzz_changes_build(fuzz_case *c, stream *s) {
    gatun_attention_desc *d = &c->desc;
    c->changes = (uint32_t)take(s, 2);
    int64_t size[4];
    if (c->changes & CHANGE_WINDOW) {
        d->flags |= GATUN_ATTENTION_WINDOW;
        d->window_left = side(s, d->seq_k);
        d->window_right = side(s, d->seq_k);
        d->global_tokens = below(s, 3) == 0 ? below(s, 20) : 0;
    }
    if (c->changes & CHANGE_SOFTCAP) {
        static const float caps[] = {0.5f, 2, 30, 50, 1e-3f, 1e6f, 0x1p-100f, 0x1p100f};
        d->softcap = caps[below(s, 8)];
    }
    if (c->changes & CHANGE_SINKS) {
        d->flags |= GATUN_ATTENTION_SINKS;
    }
    if (c->changes & CHANGE_PREFIX) {
        d->flags |= GATUN_ATTENTION_PREFIX;
        d->causal = d->causal == GATUN_CAUSAL_NONE ? GATUN_CAUSAL_BOTTOM_RIGHT : d->causal;
        for (int b = 0; b < 8; b++) {
            c->prefix[b] = (int32_t)(take(s, 1) == 0 ? -1 : below(s, d->seq_k + 1));
        }
    }
    if (c->changes & (CHANGE_SEGMENTS | CHANGE_MASK | CHANGE_BIAS | CHANGE_BLOCKS | CHANGE_POSITIONS)) {
        d->flags |= GATUN_ATTENTION_MASKED;
    }
    map_size(d, false, size);
    if (c->changes & CHANGE_MASK) {
        map_strides(size, d->mask_stride, s);
    }
    if (c->changes & CHANGE_BIAS) {
        d->bias_dtype = below(s, 2) == 0 ? GATUN_DTYPE_F32 : d->dtype;
        map_strides(size, d->bias_stride, s);
    }
    if (c->changes & CHANGE_BLOCKS) {
        d->block_q = 1 + below(s, below(s, 2) == 0 ? 8 : 200);
        d->block_k = 1 + below(s, below(s, 2) == 0 ? 8 : 200);
        map_size(d, true, size);
        map_strides(size, d->block_stride, s);
    }
}

bool fuzz_changes_fit(const gatun_attention_desc *d) {
    int64_t size[4];
    map_size(d, false, size);
    if (map_extent(size, d->mask_stride) < 0 || map_extent(size, d->bias_stride) < 0) {
        return false;
    }
    if (d->block_q == 0) {
        return true;
    }
    map_size(d, true, size);
    return map_extent(size, d->block_stride) >= 0;
}

/* So many bytes, the last of which stands before a page that may not be touched. */
static uint8_t *bytes_create(guarded *memory, const char *name, int64_t bytes) {
    const int64_t whole = (bytes + 3) / 4 * 4;
    guarded_create(memory, name, whole, 0, GUARD_AFTER);
    memory->data += whole - bytes;
    return memory->data;
}

static void create_bits(guarded *memory, const char *name, int64_t count, rng *random) {
    uint8_t *bits = bytes_create(memory, name, count);
    const int64_t kind = rng_below(random, 4);
    for (int64_t i = 0; i < count; i++) {
        /* few are 0, most, whole stretches, or all */
        bits[i] = kind == 0   ? rng_below(random, 8) != 0
                  : kind == 1 ? (uint8_t)(rng_below(random, 8) == 0) * 255
                  : kind == 2 ? i / 150 % 3 != 1
                              : 0;
    }
    guarded_protect(memory, true);
}

static float special(rng *random) {
    static const float specials[] = {NAN, INFINITY, 3e38f, -3e38f, 1e-40f};
    return specials[rng_below(random, 5)];
}

static void create_bias(fuzz_arrays *arrays, int64_t count, int32_t dtype, rng *random) {
    guarded_create(&arrays->bias, "biases", count * bytes_of(dtype), 0, GUARD_AFTER);
    arrays->bias_floats = test_allocate(count * (int64_t)sizeof(float));
    const bool hostile_values = rng_below(random, 4) == 0;
    for (int64_t i = 0; i < count; i++) {
        const float x = rng_below(random, 20) == 0                     ? -INFINITY
                        : hostile_values && rng_below(random, 50) == 0 ? special(random)
                                                                       : 2 * rng_normal(random);
        uint8_t *at = arrays->bias.data + i * bytes_of(dtype);
        store_float(dtype, at, x);
        arrays->bias_floats[i] = load_float(dtype, at);
    }
    guarded_protect(&arrays->bias, true);
}

static void create_ids(guarded *memory, const char *name, int64_t count, int64_t least, int64_t most, rng *random) {
    guarded_create(memory, name, count * (int64_t)sizeof(int32_t), 0, GUARD_AFTER);
    const bool sorted = rng_below(random, 2) == 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t step = count > 0 ? i * (most - least + 1) / count : 0;
        const int32_t id = (int32_t)(sorted ? least + step : rng_between(random, least, most));
        memcpy(memory->data + i * (int64_t)sizeof id, &id, sizeof id);
    }
}

void fuzz_changes_create(fuzz_arrays *arrays, const fuzz_case *c) {
    const gatun_attention_desc *d = &c->desc;
    memset(arrays, 0, sizeof *arrays);
    stream s = c->rest;
    rng random = rng_make(take(&s, 4), 99);
    if ((d->flags & GATUN_ATTENTION_SINKS) != 0) {
        guarded_create(&arrays->sinks, "sinks", d->heads * (int64_t)sizeof(float), 0, GUARD_AFTER);
        for (int64_t h = 0; h < d->heads; h++) {
            const int64_t kind = rng_below(&random, 12);
            const float sink = kind == 0 ? -INFINITY : kind == 1 ? 1e30f : 4 * rng_normal(&random);
            memcpy(arrays->sinks.data + h * (int64_t)sizeof sink, &sink, sizeof sink);
        }
        guarded_protect(&arrays->sinks, true);
    }
    if ((d->flags & GATUN_ATTENTION_PREFIX) != 0) {
        const int64_t bytes = d->batch * (int64_t)sizeof(int32_t);
        guarded_create(&arrays->prefix, "prefix lengths", bytes, 0, GUARD_AFTER);
        memcpy(arrays->prefix.data, c->prefix, (size_t)bytes);
        guarded_protect(&arrays->prefix, true);
    }
    if ((d->flags & GATUN_ATTENTION_MASKED) == 0) {
        return;
    }
    int64_t size[4];
    if (c->changes & CHANGE_SEGMENTS) {
        const int64_t last = rng_below(&random, 4);
        create_ids(&arrays->segments_q, "segments of queries", d->batch * d->seq_q, 0, last, &random);
        create_ids(&arrays->segments_k, "segments of keys", d->batch * d->seq_k, 0, last, &random);
        guarded_protect(&arrays->segments_q, true);
        guarded_protect(&arrays->segments_k, true);
    }
    if (c->changes & CHANGE_POSITIONS) {
        const bool far = rng_below(&random, 8) == 0;
        create_ids(&arrays->positions, "positions", d->batch * d->seq_q, far ? INT32_MIN : -3,
            far ? INT32_MAX : d->seq_k + 3, &random);
        guarded_protect(&arrays->positions, true);
    }
    map_size(d, false, size);
    if (d->bias_dtype != 0) {
        create_bias(arrays, map_extent(size, d->bias_stride), d->bias_dtype, &random);
    }
    if (d->block_q != 0) {
        map_size(d, true, size);
        create_bits(&arrays->block_mask, "a mask of blocks", map_extent(size, d->block_stride), &random);
        map_size(d, false, size);
    }
    const bool other = arrays->segments_q.map != NULL || arrays->positions.map != NULL || arrays->bias.map != NULL ||
                       arrays->block_mask.map != NULL;
    const int64_t strides = d->mask_stride[0] | d->mask_stride[1] | d->mask_stride[2] | d->mask_stride[3];
    if ((c->changes & CHANGE_MASK) != 0 || strides != 0 || !other) {
        create_bits(&arrays->mask, "a mask", map_extent(size, d->mask_stride), &random);
    }
}

void fuzz_changes_destroy(fuzz_arrays *arrays) {
    guarded *const all[] = {&arrays->mask, &arrays->block_mask, &arrays->bias, &arrays->sinks, &arrays->segments_q,
        &arrays->segments_k, &arrays->positions, &arrays->prefix};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        guarded_destroy(all[n]);
    }
    free(arrays->bias_floats);
}

void fuzz_changes_describe(problem *p, const fuzz_arrays *arrays, const gatun_attention_desc *d) {
    p->softcap = d->softcap;
    p->windowed = (d->flags & GATUN_ATTENTION_WINDOW) != 0;
    p->window_left = d->window_left;
    p->window_right = d->window_right;
    p->global_tokens = d->global_tokens;
    p->sinks = (float *)(void *)arrays->sinks.data;
    p->mask = arrays->mask.data;
    p->block_mask = arrays->block_mask.data;
    p->bias = arrays->bias_floats;
    memcpy(p->mask_stride, d->mask_stride, sizeof p->mask_stride);
    memcpy(p->bias_stride, d->bias_stride, sizeof p->bias_stride);
    memcpy(p->block_stride, d->block_stride, sizeof p->block_stride);
    p->block_q = d->block_q;
    p->block_k = d->block_k;
    p->segments_q = (int32_t *)(void *)arrays->segments_q.data;
    p->segments_k = (int32_t *)(void *)arrays->segments_k.data;
    p->positions = (int32_t *)(void *)arrays->positions.data;
    p->prefix = (int32_t *)(void *)arrays->prefix.data;
}
