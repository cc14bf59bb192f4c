/*
 * Forward attention in float32, for every tier: included once by each attention_f32_<tier>.c after it has defined its
 * vectors (below).
 *
 * Axes: B batch rows, H query heads, G key/value heads (H / G of the query heads share one: a group), S_q query rows, S_k keys,
 * D head_dim, D_v head_dim_v. A lane is a pair (query row, head of the group).
 *   q [S_q][H / G][D], k [S_k][D], v [S_k][D_v], out [S_q][H / G][D_v], lse [S_q][H / G]: of one key/value head, strided
 *   queries [D][LANES], scores and probs [TILE_KEYS][LANES], output [D_v][LANES]: of one block, in scratch
 *
 * Algorithm: lanes of a vector are queries. A block has LANES = QV vectors of VW queries.
 *   Pass 1  begin_block: the block's queries are transposed once, times scale * log2(e), so that scores are base-2 logits. Keys
 *           and values are read where they lie.
 *   Pass 2  score_keys, for each tile of TILE_KEYS keys: scores[key][lane] = sum_d k[key][d] * q[d][lane], a register block of
 *           up to ROWS_FULL keys x QV vectors; each key element is broadcast from memory, each query vector loaded once per
 *           register block.
 *   Pass 3  prob_of_score: the softmax is vertical. Maximum, sum and rescaling factor are vectors over lanes; nothing is ever
 *           reduced across a vector. prob = 2^(score - maximum), of which the largest is exactly 1.
 *   Pass 4  finish: out[c][lane] += sum_key v[key][c] * prob[key][lane], a register block of up to COLUMNS_FULL columns x QV
 *           vectors over a chain of CHAIN_KEYS keys, summed from 0 in registers; the first chain of a tile folds the rescaling
 *           of the old output into its addition. Where INTERLEAVED, pass 3 of the next chain runs between the products of this
 *           one. The last chain of a tile waits for the scores of the next block, so that only the first probs of a task are
 *           made without products to overlap.
 *   Pass 5  merge_split, write_rows: every SPLIT_KEYS keys the float results are merged into doubles; at the end rows are
 *           transposed back, times 1 / sum. Several blocks share each tile while it is in L2.
 * (Online softmax: Milakov and Gimelshein 2018; tiling: Dao et al. 2022.)
 *
 * Every lane goes through the same operations in the same order wherever it stands, since each score is one chain over
 * d and each output one chain over keys: register blocks, block and task boundaries, and neighbors cannot change a
 * bit.
 *
 * Masks. A lane sees the keys below its limit, the end of its key_range. Limits do not fall from lane to lane, so that a vector
 * is skipped for keys at or past the limit of its last lane. Chains of keys that all lanes see are dense; in the others the prob
 * of a masked key is 0 by selection, whatever its score is. A score of -inf has prob 0 as well. 0 * v is harmless unless v
 * is Inf or NaN: so a block whose result is not finite is run again with every key multiplied in by selection
 * (select(key below limit and score > -inf, fma, old)); the other lanes get the same bits again. A row without a finite
 * largest score is then computed in double (attention_wide_f32.h).
 *
 * Biases. A second copy of the tile code, chosen once per tile, adds them to each score before anything else sees it.
 * They depend on row - key and head only, so that one array (gatun__bias_step) serves a tile of keys and all blocks.
 *
 * Changes. A third copy does whatever else a call asks for: it caps scores, adds biases [TILE_KEYS][LANES] and hides what masks, a
 * byte for each lane and key, do not show; rows of both (attention_changes.h) are transposed for the block's lanes. It is chosen
 * for tiles that need it: one whose keys are all seen, without a bias, takes the first copy, one of which no key is seen is left
 * out, and so are chains before the window of the block's first lane. Sinks join the softmax last.
 *
 * Scratch per thread: scores of one tile and a chain, live masks, biases and changes of one tile; per block: queries, output,
 * limits, maxima, sums, and the merged doubles.
 *
 * The including file includes vectors_<tier>.h and defines TIER, QV, ROWS_FULL, ROWS_SINGLE (keys per register block with more
 * than one vector, with one; powers of two), COLUMNS_FULL, COLUMNS_SINGLE (the same for columns) and PEAK_CHAINS.
 */
#include "gatun.h"
#include "kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "attention_changes.h"
#include "attention_lanes.h"

#include "../vectors/softcap_f32.h"

/* Bytes of an element of keys and values where they lie. */
enum { KV_BYTES = sizeof *((gatun__attention_task *)NULL)->k };

#include "attention_scores_f32.h"
#include "attention_values_f32.h"

#include "attention_tile_f32.h"

#include "attention_block_f32.h"

#include "attention_wide_f32.h"

/* ---- the task ---- */

/* One more score for each lane, last of all, so that it does not matter which keys a block begins with. Returns whether a lane that
 * sees keys has lost all its scores, which cannot be seen afterwards; `own` receives the maxima of keys alone. */
static int add_sinks(const gatun__attention_task *t, const block_state *b, float own[LANES]) {
    float sinks[LANES];
    int lost = 0;
    place p = place_of(t, b->lane_begin);
    for (int32_t i = 0; i < LANES; i++) {
        sinks[i] = i < b->lanes ? sink_of(t, p.head) : sinks[b->lanes - 1];
        step(t, &p);
        own[i] = b->maximum[i];
        lost |= i < b->lanes && b->sum[i] == 0 && b->limit[i] > 0;
    }
    for (int32_t x = 0; x < b->vectors; x++) {
        const vec minus_inf = v_set1(-INFINITY), ours = v_load(b->maximum + x * VW), sink = v_load(sinks + x * VW);
        const vec maximum = v_max(sink, ours), reference = v_select(v_equal(maximum, minus_inf), v_zero(), maximum);
        const vec keep = v_select(v_equal(ours, minus_inf), v_zero(), v_exp2(v_sub(ours, reference)));
        const vec take = v_select(v_equal(sink, minus_inf), v_zero(), v_exp2(v_sub(sink, reference)));
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), keep, take));
        v_store(b->maximum + x * VW, maximum);
        for (int32_t c = 0; c < t->head_dim_v && !v_every(v_equal(keep, v_set1(1))); c++)
            v_store(b->out + c * LANES + x * VW, v_mul(v_load(b->out + c * LANES + x * VW), keep));
    }
    return lost;
}

INLINE region region_of(const float *at, int64_t row, int64_t element_bytes, int32_t rows, int32_t bytes) {
    return (region){(const char *)at, row * element_bytes, rows, bytes};
}

/* Of a map, for rows of lanes lane_begin .. lane_end - 1 and keys first_key .. first_key + keys - 1; nothing where keys are not side by
 * side, or heads of a group have rows of their own. */
static region map_region(const gatun__attention_task *t, const gatun__map *map, int64_t element_bytes,
    int64_t lane_begin, int64_t lane_end, int32_t first_key, int32_t keys) {
    if (map->data == NULL || map->key != 1 || (t->group > 1 && map->head != 0))
        return (region){0};
    const int64_t row = place_of(t, lane_begin).row, end = place_of(t, lane_end - 1).row + 1;
    const char *at = (const char *)map->data + map_element(map, row, 0, first_key) * element_bytes;
    const int64_t bytes = keys * element_bytes, row_bytes = map->row * element_bytes;
    const int64_t apart = ((int64_t)(uintptr_t)at | row_bytes) & 63 ? 63 : 0; /* rows may begin within a line */
    return (region){at, row_bytes, row_bytes == 0 ? 1 : (int32_t)(end - row), (int32_t)(bytes + apart)};
}

/* Rows to prefetch, a portion with each of the `probs` vectors of probs that are made of the tile of keys
 * first_key .. first_key + keys - 1, of `most`: the next tile, or what the next task reads first. */
static void plan_prefetch(
    const gatun__attention_task *t, int32_t first_key, int32_t keys, int32_t most, int32_t probs, prefetcher *soon) {
    const int32_t bytes = t->head_dim * KV_BYTES, bytes_v = t->head_dim_v * KV_BYTES;
    const int32_t left = most - first_key - keys, next = left < GATUN__TILE_KEYS ? left : GATUN__TILE_KEYS;
    memset(soon, 0, sizeof *soon);
    soon->past_l1 = t->collide;
    region *to = soon->regions;
    if (next > 0) {
        const int32_t key = first_key + keys;
        if (t->cold) {
            *to++ = region_of(t->k + key * t->k_row, t->k_row, KV_BYTES, next, bytes);
            *to++ = region_of(t->v + key * t->v_row, t->v_row, KV_BYTES, next, bytes_v);
        }
        const region maps[] = {map_region(t, &t->changes->mask, 1, t->lane_begin, t->lane_end, key, next),
            map_region(t, &t->changes->bias, t->changes->bias_dtype == GATUN_DTYPE_F32 ? 4 : 2, t->lane_begin,
                t->lane_end, key, next)};
        for (int i = 0; i < 2; i++)
            if (maps[i].rows > 0)
                *to++ = maps[i];
    } else if (t->next_q != NULL) {
        const int32_t tile = t->next_keys < GATUN__TILE_KEYS ? (int32_t)t->next_keys : GATUN__TILE_KEYS;
        const int32_t next_rows = t->next_rows < GATUN__TILE_KEYS ? (int32_t)t->next_rows : GATUN__TILE_KEYS;
        *to++ = region_of(t->next_q, t->q_row, KV_BYTES, next_rows, bytes);
        *to++ = region_of(t->next_out, t->out_row, KV_BYTES, next_rows, bytes_v);
        if (t->next_k != NULL) {
            *to++ = region_of(t->next_k, t->k_row, KV_BYTES, tile, bytes);
            *to++ = region_of(t->next_v, t->v_row, KV_BYTES, tile, bytes_v);
        }
    }
    for (const region *r = soon->regions; r < to; r++)
        soon->rows += r->rows;
    soon->probs = probs < 4 ? 1 : probs - probs / 4; /* the last rows have to arrive in time, too */
}

static void copy_rows(
    const gatun__attention_task *t, const float *from, int64_t row, int32_t rows, int32_t dim, float *to) {
    if (t->widen != NULL) {
        t->widen(from, row, rows, dim, t->kv_dtype, to);
        return;
    }
    for (int32_t r = 0; r < rows; r++, from += row, to += dim)
        memcpy(to, from, (size_t)dim * sizeof *to);
}

/* Keys first_key .. first_key + keys - 1 are the tile. */
static void take_tile(const gatun__attention_task *t, int32_t first_key, int32_t keys, tile_scratch *tile) {
    tile->k = gatun__row_at(t, t->k, t->k_row, first_key);
    tile->v = gatun__row_at(t, t->v, t->v_row, first_key);
    if (tile->k_copy == NULL)
        return;
    finish_waiting(t, tile); /* its values are where these will be */
    copy_rows(t, tile->k, t->k_row, keys, t->head_dim, tile->k_copy);
    copy_rows(t, tile->v, t->v_row, keys, t->head_dim_v, tile->v_copy);
    tile->k = tile->k_copy;
    tile->v = tile->v_copy;
}

/* Of a map of blocks: -1 if no lane of b sees any of these keys, 0 if every lane sees all, else 1. */
static int blocks_say(const gatun__attention_task *t, const block_state *b, int32_t key, int32_t keys) {
    const gatun__score_changes *c = t->changes;
    const place first = place_of(t, b->lane_begin), last = place_of(t, b->lane_begin + b->lanes - 1);
    const int64_t heads = c->blocks.head == 0 ? 1 : t->group;
    const uint8_t *allowed = c->blocks.data;
    int some = 0, all = 1;
    for (int64_t row = first.row / c->block_q; row <= last.row / c->block_q; row++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t k = key / c->block_k; k * c->block_k < key + keys; k++) {
                const int seen = allowed[map_element(&c->blocks, row, head, k)] != 0;
                some |= seen;
                all &= seen;
            }
    return all ? 0 : some ? 1 : -1;
}

/* The same of segments. */
static int segments_say(const gatun__attention_task *t, const block_state *b, int32_t key, int32_t keys) {
    const gatun__score_changes *c = t->changes;
    const int64_t first = place_of(t, b->lane_begin).row, last = place_of(t, b->lane_begin + b->lanes - 1).row;
    int32_t q_least = INT32_MAX, q_most = INT32_MIN, k_least = INT32_MAX, k_most = INT32_MIN;
    for (int64_t row = first; row <= last; row++) {
        q_least = c->segments_q[row] < q_least ? c->segments_q[row] : q_least;
        q_most = c->segments_q[row] > q_most ? c->segments_q[row] : q_most;
    }
    for (int32_t j = key; j < key + keys; j++) {
        k_least = c->segments_k[j] < k_least ? c->segments_k[j] : k_least;
        k_most = c->segments_k[j] > k_most ? c->segments_k[j] : k_most;
    }
    if (q_most < k_least || k_most < q_least)
        return -1;
    return q_least != q_most || k_least != k_most || q_least != k_least;
}

/* The same of a window beside global tokens, which no range of keys tells; rows with positions of their own may be anywhere. */
static int positions_say(const gatun__attention_task *t, const block_state *b, int32_t key, int32_t keys) {
    const gatun__score_changes *c = t->changes;
    if (c->positions != NULL)
        return 1;
    const int64_t first = position_of(t, place_of(t, b->lane_begin).row),
                  last = position_of(t, place_of(t, b->lane_begin + b->lanes - 1).row), end = key + keys;
    if (key < c->global_tokens || (first < c->global_tokens && last >= 0))
        return 1;
    if ((c->window_left >= 0 && end <= first - c->window_left) ||
        (c->window_right >= 0 && key > last + c->window_right))
        return -1;
    return (c->window_left >= 0 && key < last - c->window_left) ||
           (c->window_right >= 0 && end > first + c->window_right + 1);
}

/* Whether masks are to be looked at key by key, 1, or hide none of these keys, 0, or all of them, -1, as far as is told without a look at
 * each. */
static int masks_say(const gatun__attention_task *t, const block_state *b, int32_t key, int32_t keys) {
    const gatun__score_changes *c = t->changes;
    if (key >= b->limit_most || key + keys <= b->first_least)
        return -1;
    if (!has_masks(t))
        return 0;
    const int blocks = c->blocks.data == NULL ? 0 : blocks_say(t, b, key, keys),
              segments = c->segments_q == NULL ? 0 : segments_say(t, b, key, keys),
              positions = c->positions == NULL && c->global_tokens == 0 ? 0 : positions_say(t, b, key, keys);
    if (blocks < 0 || segments < 0 || positions < 0)
        return -1;
    return blocks > 0 || segments > 0 || positions > 0 || c->mask.data != NULL;
}

/* masks_say of each block; whether the tile is to be read. */
static int look_at_tile(
    const gatun__attention_task *t, const block_state *blocks, int32_t count, int32_t key, int32_t keys, int masks[]) {
    int seen = 0;
    for (int32_t i = 0; i < count; i++) {
        masks[i] = masks_say(t, &blocks[i], key, keys);
        seen |= masks[i] >= 0;
    }
    return seen;
}

/* Keys key .. key + keys - 1 are the next tile of these blocks. */
INLINE void begin_tile(const gatun__attention_task *t, const block_state *blocks, int32_t count, int32_t key,
    int32_t keys, tile_scratch *tile) {
    if (tile->biases != NULL)
        fill_biases(
            t, blocks[0].lane_begin, (count - 1) * LANES + blocks[count - 1].vectors * VW, key, keys, tile->biases);
    take_tile(t, key, keys, tile);
}

/* This tile of block number i; `masks` as masks_say has it. Returns whether a lane sees a key of it: nothing is done if not. */
INLINE int run_block(const gatun__attention_task *t, const block_state *b, int32_t i, int32_t key, int32_t keys,
    int masks, int select_all, tile_scratch *tile) {
    if (masks < 0)
        return 0;
    const int biased = tile->biases != NULL;
    const float *biases = biased ? tile->biases + i * LANES + (keys - 1) * bias_step(t) : NULL;
    const int32_t visible = keys < b->limit_most - key ? keys : b->limit_most - key;
    int how = biased ? BIASED : PLAIN;
    tile->masked = 0;
    if (masks > 0) {
        const int state = fill_masks(t, b, key, visible, tile->rows, tile->seen);
        if (state == SEES_NONE)
            return 0;
        tile->masked = state == SEES_SOME;
    }
    if (tile->key_biases != NULL)
        fill_key_biases(t, b, key, visible, tile->rows, tile->key_biases);
    if (tile->masked || tile->key_biases != NULL || t->changes->softcap > 0 || b->first_most > key)
        how = CHANGED;
    tiles[how][b->vectors - 1](t, b, key, keys, select_all, tile, biases);
    return 1;
}

/* Passes 2 to 5 over all keys, for blocks that begin_block or reset has prepared. */
static void run_keys(
    const gatun__attention_task *t, const block_state *blocks, int32_t count, int select_all, tile_scratch *tile) {
    int32_t most = 0, least = INT32_MAX;
    int masks[GATUN__MAX_BLOCKS];
    for (int32_t i = 0; i < count; i++) {
        most = blocks[i].limit_most > most ? blocks[i].limit_most : most;
        least = blocks[i].first_least < least ? blocks[i].first_least : least;
    }
    int merged = most > GATUN__SPLIT_KEYS;
    tile->k_row = tile->k_copy != NULL ? t->head_dim : t->k_row;
    tile->v_row = tile->v_copy != NULL ? t->head_dim_v : t->v_row;
    for (int32_t split = 0; split < most; split += GATUN__SPLIT_KEYS) {
        int32_t end = most - split < GATUN__SPLIT_KEYS ? most : split + GATUN__SPLIT_KEYS;
        for (int32_t key = split; key < end; key += GATUN__TILE_KEYS) {
            int32_t keys = end - key < GATUN__TILE_KEYS ? end - key : GATUN__TILE_KEYS;
            if (key + keys <= least || !look_at_tile(t, blocks, count, key, keys, masks))
                continue;
            begin_tile(t, blocks, count, key, keys, tile);
            if (INTERLEAVED) {
                int32_t probs = 0;
                for (int32_t i = 0; i < count; i++) {
                    int32_t seen = blocks[i].limit_most - key;
                    probs += (seen < 0 ? 0 : seen > keys ? keys : seen) * blocks[i].vectors;
                }
                plan_prefetch(t, key, keys, most, probs, &tile->soon);
            }
            for (int32_t i = 0; i < count; i++)
                (void)run_block(t, &blocks[i], i, key, keys, masks[i], select_all, tile);
        }
        if (merged || end == most)
            finish_waiting(t, tile);
        for (int32_t i = 0; merged && i < count; i++)
            merge_split(t, &blocks[i], split == 0);
    }
    for (int32_t i = 0; merged && i < count; i++)
        take_merged(t, &blocks[i]);
}

static void *carve(char **scratch, size_t bytes) {
    char *part = *scratch;
    *scratch += (bytes + 63) & ~(size_t)63;
    return part;
}

static float *carve_floats(char **scratch, size_t count) {
    return carve(scratch, count * sizeof(float));
}

/* Divides the scratch of a task of one head among a tile and the blocks, which begin; returns how many there are. */
INLINE int32_t begin_blocks(const gatun__attention_task *t, tile_scratch *tile, block_state blocks[GATUN__MAX_BLOCKS]) {
    _Static_assert(LANES == KERNEL(block_lanes), "kernels.inc says how many queries a block has");
    _Static_assert(LANES <= GATUN__MAX_BLOCK_LANES, "a block fits the arrays of the plan");
    _Static_assert(LANES * GATUN__TILE_KEYS * sizeof(float) >= GATUN_MAX_HEAD_DIM * sizeof(double), "a row of doubles");
    _Static_assert(QV * sizeof(vmask) <= LANES * sizeof(float), "masks fit the scratch that the plan gives them");
    char *scratch = t->scratch;
    *tile = (tile_scratch){.scores = carve_floats(&scratch, LANES * (GATUN__TILE_KEYS + GATUN__CHAIN_KEYS))};
    for (int i = 0; i < 2; i++)
        tile->alpha[i] = carve_floats(&scratch, LANES);
    tile->live = carve(&scratch, LANES * GATUN__TILE_KEYS * sizeof(float));
    if (is_biased(t))
        tile->biases = carve_floats(&scratch, (size_t)gatun__bias_floats(t->group, (int64_t)t->blocks * LANES));
    if (has_biases(t))
        tile->key_biases = carve_floats(&scratch, LANES * GATUN__TILE_KEYS);
    if (has_masks(t))
        tile->seen = carve_floats(&scratch, LANES * GATUN__TILE_KEYS / 4);
    if (has_biases(t) || has_masks(t))
        tile->rows = carve_floats(&scratch, VW * GATUN__TILE_KEYS);
    if (t->copy_tiles) {
        tile->k_copy = carve(&scratch, GATUN__TILE_KEYS * (size_t)t->head_dim * KV_BYTES);
        tile->v_copy = carve(&scratch, GATUN__TILE_KEYS * (size_t)t->head_dim_v * KV_BYTES);
    }
    const int merged = t->visible.keys > GATUN__SPLIT_KEYS;
    int32_t count = 0;
    int64_t lane = t->lane_begin;
    do {
        block_state *b = &blocks[count++];
        b->q = carve_floats(&scratch, (size_t)t->head_dim * LANES);
        b->out = carve_floats(&scratch, (size_t)t->head_dim_v * LANES);
        b->limit = carve(&scratch, LANES * sizeof(int32_t));
        b->first = t->changes->keys ? carve(&scratch, LANES * sizeof(int32_t)) : NULL;
        b->maximum = carve_floats(&scratch, LANES);
        b->sum = carve_floats(&scratch, LANES);
        if (merged) {
            b->merged_out = carve(&scratch, (size_t)t->head_dim_v * LANES * sizeof(double));
            b->merged_sum = carve(&scratch, LANES * sizeof(double));
            b->merged_maximum = carve_floats(&scratch, LANES);
        }
        begin_block(t, b, lane);
        lane += LANES;
    } while (lane < t->lane_end);
    return count;
}

/* A task of one head. */
static void attention_head(gatun__attention_task *t) {
    tile_scratch tile;
    block_state blocks[GATUN__MAX_BLOCKS];
    const int32_t count = begin_blocks(t, &tile, blocks);
    run_keys(t, blocks, count, 0, &tile);
    for (int32_t i = 0; i < count; i++) {
        float own[LANES];
        const int sinks = t->changes->sinks != NULL, lost = sinks && add_sinks(t, &blocks[i], own);
        const int again = write_rows(t, &blocks[i], 0) | lost;
        if (again) {
            t->redone++;
            reset(&blocks[i], t->head_dim_v);
            run_keys(t, &blocks[i], 1, 1, &tile);
            if (sinks)
                (void)add_sinks(t, &blocks[i], own);
            write_rows(t, &blocks[i], 1);
        }
        if (t->lse != NULL)
            write_lse(t, &blocks[i]);
        if (again)
            wide_rows(t, blocks[i].lane_begin, blocks[i].lanes, sinks ? own : blocks[i].maximum, tile.scores);
    }
}

void KERNEL(attention_f32)(gatun__attention_task *t) {
    if (t->heads == 1)
        attention_head(t);
    else
        for (int64_t head = 0; head < t->heads; head++) {
            gatun__attention_task one = gatun__head_of(t, head);
            attention_head(&one);
            t->redone += one.redone;
        }
}

#if INTERLEAVED
#include "attention_tiny_f32.h"
#endif

#include "../vectors/peak_f32.h"
