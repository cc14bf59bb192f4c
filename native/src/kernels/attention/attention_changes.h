/*
 * What is done to the scores of one row and a tile of keys: biases key by key, and masks that are no range of keys; the cap of
 * scores; sinks. For every kernel whose scores may change: attention_f32.h, its doubles, attention_decode_f32.h.
 *
 * Axes: of one row and head, changes [keys]: what is added to a score to base 2, -inf where the key is masked. A score that is
 * masked becomes -inf by selection, whatever it was. After vectors_<tier>.h.
 */
#ifndef GATUN_ATTENTION_CHANGES_H
#define GATUN_ATTENTION_CHANGES_H

#include "kernels.h"

#include "../../half.h"

#include <math.h>

/* What a row's changes of some keys are: all 0; anything; all of them masked. */
enum { CHANGES_NONE, CHANGES_SOME, CHANGES_ALL };

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

/* ---- changes of one row ---- */

static int64_t map_element(const gatun__map *map, int64_t row, int64_t head, int64_t key) {
    return row * map->row + head * map->head + key * map->key;
}

static float bias_at(const gatun__score_changes *c, int64_t element) {
    if (c->bias_dtype == GATUN_DTYPE_F32)
        return ((const float *)c->bias.data)[element];
    const uint16_t half = ((const uint16_t *)c->bias.data)[element];
    return c->bias_dtype == GATUN_DTYPE_BF16 ? gatun__float_of((uint32_t)half << 16) : gatun__from_f16(half);
}

/* All biases that are not in the tile's own array, of one key, in double, to base e. */
static double key_bias(const gatun__attention_task *t, int64_t row, int64_t head, int64_t key) {
    const gatun__score_changes *c = t->changes;
    double bias = 0;
    if (c->bias.data != NULL)
        bias = (double)bias_at(c, map_element(&c->bias, row, head, key));
    if (c->positions != NULL && (t->alibi_slopes != NULL || t->relative_position_table != NULL))
        bias += distance_bias(t, position_of(t, row), head, key);
    return bias;
}

/* Rows of a map are far from each other: no hardware sees that they go on in the next tile. */
static void ask_for(const void *next, int64_t bytes) {
    for (int64_t b = 0; b < bytes; b += 64)
        __builtin_prefetch((const char *)next + b);
}

static int add_biases(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first_key, int32_t keys, float *to) {
    const gatun__score_changes *c = t->changes;
    const int distances = c->positions != NULL && (t->alibi_slopes != NULL || t->relative_position_table != NULL);
    if (c->bias.data == NULL && !distances)
        return CHANGES_NONE;
    if (!distances && c->bias_dtype == GATUN_DTYPE_F32 && c->bias.key == 1) {
        const float *from = (const float *)c->bias.data + map_element(&c->bias, row, head, first_key);
        ask_for(from + keys, keys * (int64_t)sizeof *from);
        for (int32_t j = 0; j < keys; j++)
            to[j] = (float)((double)from[j] * GATUN__LOG2_E);
        return CHANGES_SOME;
    }
    for (int32_t j = 0; j < keys; j++)
        to[j] = (float)(key_bias(t, row, head, first_key + j) * GATUN__LOG2_E);
    return CHANGES_SOME;
}

/* From nothing to zeros. */
static void begin_changes(float *to, int32_t keys, int *state) {
    for (int32_t j = 0; *state == CHANGES_NONE && j < keys; j++)
        to[j] = 0;
    *state = CHANGES_SOME;
}

/* Masks keys begin .. end - 1, of which `kept` and those before it are not. */
static void hide(float *to, int64_t begin, int64_t end, int64_t kept) {
    for (int64_t j = begin < kept ? kept : begin; j < end; j++)
        to[j] = -INFINITY;
}

static int64_t within_tile(int64_t key, int64_t first_key, int32_t keys) {
    return gatun__within(key - first_key, 0, keys);
}

/* Masks by position that are not in the key_rule, and its lower end; 1 if a key is left. */
static int mask_by_position(
    const gatun__attention_task *t, int64_t row, int64_t first_key, int32_t keys, float *to, int *state) {
    const gatun__score_changes *c = t->changes;
    int64_t first = 0, end = first_key + keys, global = 0;
    if (c->positions != NULL || c->global_tokens > 0) {
        const int64_t p = position_of(t, row);
        int64_t limit = end;
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
    } else {
        first = gatun__key_range(&t->visible, row).first;
    }
    const int64_t low = within_tile(first, first_key, keys), high = within_tile(end, first_key, keys),
                  kept = within_tile(global, first_key, keys);
    if (low == 0 && high == keys)
        return 1;
    begin_changes(to, keys, state);
    hide(to, 0, low < high ? low : keys, kept);
    hide(to, high, keys, kept);
    return low < high || kept > 0;
}

/* A byte for each key: those that are 0 are masked; 1 if a key is left. */
static int mask_by_bytes(const uint8_t *allowed, int64_t step, int32_t keys, float *to, int *state) {
    int32_t visible = 0, j = 0;
    if (step == 1) {
        const vec minus_inf = v_set1(-INFINITY);
        vec seen = v_zero();
        ask_for(allowed + keys, keys);
        for (; j + VW <= keys; j += VW) {
            const vmask hidden = v_equal(v_load_u8(allowed + j), v_zero());
            v_store(to + j, v_select(hidden, minus_inf, *state == CHANGES_NONE ? v_zero() : v_load(to + j)));
            seen = v_add(seen, v_select(hidden, v_zero(), v_set1(1)));
        }
        float lanes[VW];
        v_store(lanes, seen);
        for (int i = 0; i < VW; i++)
            visible += (int32_t)lanes[i];
    }
    for (; j < keys; j++) {
        const int is_seen = allowed[j * step] != 0;
        visible += is_seen;
        to[j] = !is_seen ? -INFINITY : *state == CHANGES_NONE ? 0 : to[j];
    }
    if (visible < keys)
        *state = CHANGES_SOME;
    return visible > 0;
}

static int mask_by_segment(const int32_t *segments, int32_t own, int32_t keys, float *to, int *state) {
    int32_t visible = 0;
    for (int32_t j = 0; j < keys; j++)
        visible += segments[j] == own;
    if (visible == keys)
        return 1;
    begin_changes(to, keys, state);
    for (int32_t j = 0; j < keys; j++)
        to[j] = segments[j] != own ? -INFINITY : to[j];
    return visible > 0;
}

static int mask_by_blocks(
    const gatun__score_changes *c, int64_t row, int64_t head, int64_t first_key, int32_t keys, float *to, int *state) {
    const uint8_t *allowed = c->blocks.data;
    allowed += map_element(&c->blocks, row / c->block_q, head, 0);
    int visible = 0;
    for (int64_t block = first_key / c->block_k; block * c->block_k < first_key + keys; block++) {
        if (allowed[block * c->blocks.key] != 0) {
            visible = 1;
            continue;
        }
        begin_changes(to, keys, state);
        hide(to, within_tile(block * c->block_k, first_key, keys),
            within_tile((block + 1) * c->block_k, first_key, keys), 0);
    }
    return visible;
}

/* Every mask that is no range of keys, over changes of this state. */
static int add_masks(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first_key, int32_t keys, float *to, int state) {
    const gatun__score_changes *c = t->changes;
    if (c->blocks.data != NULL && !mask_by_blocks(c, row, head, first_key, keys, to, &state))
        return CHANGES_ALL;
    if (!mask_by_position(t, row, first_key, keys, to, &state))
        return CHANGES_ALL;
    if (c->segments_q != NULL && !mask_by_segment(c->segments_k + first_key, c->segments_q[row], keys, to, &state))
        return CHANGES_ALL;
    if (c->mask.data != NULL &&
        !mask_by_bytes(
            (const uint8_t *)c->mask.data + map_element(&c->mask, row, head, first_key), c->mask.key, keys, to, &state))
        return CHANGES_ALL;
    return state;
}

/* Of keys first_key .. first_key + keys - 1, which a row's key_range ends behind or among; `to` is written for CHANGES_SOME alone.
 * Biases come first, as a mask is a mask whatever they are. */
static int row_changes(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first_key, int32_t keys, float *to) {
    const int state = add_biases(t, row, head, first_key, keys, to);
    return add_masks(t, row, head, first_key, keys, to, state);
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
