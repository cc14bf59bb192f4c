/*
 * What is done to the scores of one row and a tile of keys: biases key by key, and masks that are no range of keys; the cap of
 * scores; sinks. For every kernel whose scores may change: attention_f32.h, its doubles, attention_decode_f32.h.
 *
 * Axes: of one row and head, biases [keys], to base 2, and seen [keys], a byte for each, 0 where it is masked. A score that is masked, or
 * whose bias is -inf, becomes -inf by selection, whatever it was. After vectors_<tier>.h.
 */
#ifndef GATUN_ATTENTION_CHANGES_H
#define GATUN_ATTENTION_CHANGES_H

#include "kernels.h"

#include "../../half.h"

#include <math.h>

/* What masks leave of some keys: all; anything; nothing. */
enum { SEES_ALL, SEES_SOME, SEES_NONE };

/* ---- where a row stands ---- */

static int64_t position_of(const gatun__attention_task *t, int64_t row) {
    return t->changes->positions == NULL ? t->first_position + row : gatun__load_index(&t->changes->positions[row]);
}

/* The biases of alibi_slopes and the table, in double, to base e. */
static double distance_bias(const gatun__attention_task *t, int64_t position, int64_t head, int64_t key) {
    const int64_t distance = position - key, span = t->relative_span;
    double bias = 0;
    if (t->relative_position_table != NULL)
        bias = (double)t->relative_position_table[head * (2 * span + 1) + span -
                                                  (distance < -span     ? -span
                                                      : distance > span ? span
                                                                        : distance)];
    if (t->alibi_slopes != NULL)
        bias -= (double)t->alibi_slopes[head] * fabs((double)distance);
    return bias;
}

/* ---- biases of one row ---- */

static int64_t map_element(const gatun__map *map, int64_t row, int64_t head, int64_t key) {
    return row * map->row + head * map->head + key * map->key;
}

static float bias_at(const gatun__score_changes *c, int64_t element) {
    if (c->bias_dtype == GATUN_DTYPE_F32)
        return ((const float *)c->bias.data)[element];
    const uint16_t half = ((const uint16_t *)c->bias.data)[element];
    return c->bias_dtype == GATUN_DTYPE_BF16 ? gatun__float_of((uint32_t)half << 16) : gatun__from_f16(half);
}

/* By distance, from positions of the rows' own. */
static int has_own_distances(const gatun__attention_task *t) {
    return t->changes->positions != NULL && (t->alibi_slopes != NULL || t->relative_position_table != NULL);
}

/* Whether row_biases has something to say. */
static int has_biases(const gatun__attention_task *t) {
    return t->changes->bias.data != NULL || has_own_distances(t);
}

/* All biases that are not in the tile's own array, of one key, in double, to base e. */
static double key_bias(const gatun__attention_task *t, int64_t row, int64_t head, int64_t key) {
    const gatun__score_changes *c = t->changes;
    double bias = 0;
    if (c->bias.data != NULL)
        bias = (double)bias_at(c, map_element(&c->bias, row, head, key));
    if (has_own_distances(t))
        bias += distance_bias(t, position_of(t, row), head, key);
    return bias;
}

/* Times log2(e), whose first 24 bits and the rest are two factors: of all that are finite and do not overflow off by hardly more than
 * half a unit of the last place. */
static vec to_base_2(vec x) {
    const float high = 0x1.715476p+0f, low = 0x1.4ae0c0p-26f;
    return v_fma(x, v_set1(high), v_mul(x, v_set1(low)));
}

/* Whether row_biases is a row of floats times log2(e), and where that is. */
static int biases_lie_in_place(const gatun__attention_task *t) {
    return t->changes->bias_dtype == GATUN_DTYPE_F32 && t->changes->bias.key == 1 && !has_own_distances(t);
}

static const float *biases_of_row(const gatun__attention_task *t, int64_t row, int64_t head, int64_t first_key) {
    return (const float *)t->changes->bias.data + map_element(&t->changes->bias, row, head, first_key);
}

/* Of keys first_key .. first_key + keys - 1, where has_biases; up to a vector more than `keys` are written. */
static void row_biases(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first_key, int32_t keys, float *to) {
    const gatun__score_changes *c = t->changes;
    if (has_own_distances(t)) {
        for (int32_t j = 0; j < keys; j++)
            to[j] = (float)(key_bias(t, row, head, first_key + j) * GATUN__LOG2_E);
        return;
    }
    const int64_t first = map_element(&c->bias, row, head, first_key);
    for (int32_t j = 0; j < keys; j += VW) {
        float some[VW] = {0};
        for (int32_t i = 0; i < VW && j + i < keys; i++)
            some[i] = bias_at(c, first + (j + i) * c->bias.key);
        v_store(to + j, to_base_2(v_load(some)));
    }
}

/* ---- masks of one row ---- */

/* Those that are no range of keys. */
static int has_masks(const gatun__attention_task *t) {
    const gatun__score_changes *c = t->changes;
    return c->mask.data != NULL || c->blocks.data != NULL || c->segments_q != NULL || c->positions != NULL ||
           c->global_tokens > 0;
}

/* Masks keys begin .. end - 1, of which those before `kept` are not. */
static void hide(uint8_t *seen, int64_t begin, int64_t end, int64_t kept) {
    begin = begin < kept ? kept : begin;
    if (begin < end)
        memset(seen + begin, 0, (size_t)(end - begin));
}

static int64_t within_tile(int64_t key, int64_t first_key, int32_t keys) {
    return gatun__within(key - first_key, 0, keys);
}

/* Masks by position that are not in the key_rule. */
static void mask_by_position(
    const gatun__attention_task *t, int64_t row, int64_t first_key, int32_t keys, uint8_t *seen) {
    const gatun__score_changes *c = t->changes;
    const int64_t p = position_of(t, row);
    int64_t first = 0, end = first_key + keys, limit = end, global = 0;
    if (c->causal) {
        limit = p + 1 < t->visible.prefix ? t->visible.prefix : p + 1;
        end = end < limit ? end : limit;
    }
    if (p < 0 || p >= c->global_tokens) {
        global = c->global_tokens < limit ? c->global_tokens : limit;
        if (c->window_left >= 0)
            first = p - c->window_left;
        if (c->window_right >= 0 && p + c->window_right + 1 < end)
            end = p + c->window_right + 1;
    }
    const int64_t low = within_tile(first, first_key, keys), high = within_tile(end, first_key, keys),
                  kept = within_tile(global, first_key, keys);
    hide(seen, 0, low < high ? low : keys, kept);
    hide(seen, high, keys, kept);
}

static void mask_by_blocks(
    const gatun__score_changes *c, int64_t row, int64_t head, int64_t first_key, int32_t keys, uint8_t *seen) {
    const uint8_t *allowed = c->blocks.data;
    allowed += map_element(&c->blocks, row / c->block_q, head, 0);
    for (int64_t block = first_key / c->block_k; block * c->block_k < first_key + keys; block++)
        if (allowed[block * c->blocks.key] == 0)
            hide(seen, within_tile(block * c->block_k, first_key, keys),
                within_tile((block + 1) * c->block_k, first_key, keys), 0);
}

/* Of keys first_key .. first_key + keys - 1, where has_masks: which of them are seen, as far as the row's key_range has them at all. */
static int row_mask(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first_key, int32_t keys, uint8_t *seen) {
    const gatun__score_changes *c = t->changes;
    if (c->mask.data == NULL)
        memset(seen, 1, (size_t)keys);
    else {
        const uint8_t *allowed = (const uint8_t *)c->mask.data + map_element(&c->mask, row, head, first_key);
        const int64_t step = c->mask.key;
        if (step == 1)
            for (int32_t j = 0; j < keys; j++)
                seen[j] = allowed[j] != 0;
        else
            for (int32_t j = 0; j < keys; j++)
                seen[j] = allowed[j * step] != 0;
    }
    if (c->segments_q != NULL) {
        const int32_t *segments = c->segments_k + first_key, own = c->segments_q[row];
        for (int32_t j = 0; j < keys; j++)
            seen[j] = segments[j] == own ? seen[j] : 0;
    }
    if (c->blocks.data != NULL)
        mask_by_blocks(c, row, head, first_key, keys, seen);
    if (c->positions != NULL || c->global_tokens > 0)
        mask_by_position(t, row, first_key, keys, seen);
    uint8_t some = 0, all = 1;
    for (int32_t j = 0; j < keys; j++) {
        some |= seen[j];
        all &= seen[j];
    }
    return all ? SEES_ALL : some ? SEES_SOME : SEES_NONE;
}

/* ---- sinks ---- */

/* Of a head, to base 2: -inf without one, NaN for one that makes rows NaN. */
static float sink_of(const gatun__attention_task *t, int64_t head) {
    if (t->changes->sinks == NULL)
        return -INFINITY;
    const float sink = t->changes->sinks[head] * (float)GATUN__LOG2_E;
    return sink < INFINITY ? sink : NAN;
}

#endif
