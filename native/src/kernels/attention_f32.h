/*
 * Forward attention in float32, for every tier: included once by each attention_f32_<tier>.c after it has defined its
 * vectors (below).
 *
 * Algorithm: lanes are queries. A block holds QV vectors of VW query rows each.
 *   1. The block's queries are transposed once, to [head_dim][lanes]. Keys and values are read where they lie.
 *   2. For each tile of TILE_KEYS keys: scores[key][lane] = sum_d k[key][d] * q[d][lane], a register block of up to R
 *      keys x QV vectors, each key element broadcast from memory, each query vector loaded once per R keys.
 *   3. Softmax is vertical: maximum, sum and rescaling factor are vectors over lanes; nothing is ever reduced across a
 *      vector. p = 2^((score - maximum) * factor), the difference first, so that the largest is exactly 1 however
 *      large the scores are.
 *   4. out[c][lane] += sum_key v[key][c] * p[key][lane], a register block of up to C columns x QV vectors over a chain
 *      of CHAIN_KEYS keys, summed from 0 in registers; the first chain of a tile folds the rescaling of the old output
 *      into its addition.
 *   5. Every SPLIT_KEYS keys the float results are merged into doubles; at the end rows are transposed back, times
 *      1 / sum. Several blocks share each tile while it is in L2.
 * (Online softmax: Milakov and Gimelshein 2018; tiling: Dao et al. 2022.)
 *
 * Every lane goes through the same operations in the same order wherever it stands, since each score is one chain over
 * d and each output one chain over keys: register blocks, block and task boundaries, and neighbours cannot change a
 * bit.
 *
 * Masks. A lane sees the keys below its limit. Chains of keys that all lanes see are dense. In the others a key is
 * multiplied in by selection (select(live, fma, old)), so what lies in a masked place, NaN included, reaches nobody. A
 * score of -inf counts as masked as well: it has p = 0, and 0 * v is harmless unless v is Inf or NaN. So a block whose
 * result is not finite is run again with every chain selecting on (key below limit and score > -inf); the other lanes
 * get the same bits again.
 *
 * Biases. A second copy of the tile code, chosen once per tile, turns each product into a base-2 logit and adds the
 * bias before anything else sees it: score * factor + bias, one operation; the exponential then has no factor. They
 * depend on row - key and head only, so that one array (gatun__bias_step) serves a tile of keys and all blocks.
 *
 * Scratch per thread: scores, live masks and biases of one tile; per block: queries, output, limits, maxima, sums, and
 * the merged doubles.
 *
 * The including file includes vectors_<tier>.h and defines QV, ROWS_FULL, ROWS_SINGLE (keys per register block with more
 * than one vector, with one; powers of two), COLUMNS_FULL, COLUMNS_SINGLE (the same for columns) and PEAK_CHAINS.
 */
#include "../kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define LANES  (VW * QV)
#define INLINE static inline __attribute__((always_inline))

typedef struct block_state {
    float *q;       /* [head_dim][LANES] */
    float *out;     /* [head_dim_v][LANES] */
    float *maximum; /* [LANES], of raw scores q.k, or of base-2 logits if biased */
    float *sum;     /* [LANES] */
    int32_t *limit; /* [LANES]: keys below it are seen */
    double *merged_out, *merged_sum;
    float *merged_maximum;
    int64_t lane_begin;
    int32_t lanes;       /* of LANES */
    int32_t vectors;     /* that hold a lane */
    int32_t limit_least; /* over the lanes */
    int32_t limit_most;
} block_state;

/* ---- biases ---- */

static int is_biased(const gatun__attention_task *t) {
    return t->slopes != NULL || t->relative != NULL;
}

static int64_t bias_step(const gatun__attention_task *t) {
    return gatun__bias_step(t->group, (int64_t)t->blocks * LANES);
}

/*
 * Base-2 biases of lane lane_begin + x, x < width, and key first_key + j at biases[x + (keys - 1 - j) * step]. In double,
 * rounded once, since distances may have more bits than a float.
 */
static void fill_biases(
    const gatun__attention_task *t, int64_t lane_begin, int64_t width, int32_t first_key, int32_t keys, float *biases) {
    const double log2e = 1.4426950408889634;
    const int64_t step = bias_step(t);
    for (int64_t x = 0; x < (step < width ? step : width); x++) {
        int64_t lane = lane_begin + x, head = lane % t->group;
        int64_t count = (width - 1 - x) / step + keys;
        /* position - key of the first element; each step adds 1 */
        int64_t first = lane / t->group + t->first_position - (first_key + keys - 1);
        float *to = biases + x;
        const double slope = t->slopes != NULL ? -(double)t->slopes[head] : 0, start = (double)first;
        if (t->relative == NULL) {
            for (int32_t n = 0; n < (int32_t)count; n++)
                to[n * step] = (float)(slope * fabs(start + n) * log2e);
            continue;
        }
        const int64_t span = t->relative_span;
        const float *middle = t->relative + head * (2 * span + 1) + span;
        for (int64_t n = 0; n < count; n++) {
            int64_t distance = first + n, entry = distance < -span ? span : distance > span ? -span : -distance;
            double bias = (double)middle[entry];
            if (t->slopes != NULL)
                bias += slope * (double)(distance < 0 ? -distance : distance);
            to[n * step] = (float)(bias * log2e);
        }
    }
}

/* ---- scores ---- */

/* What turns a product into a score; without biases nothing does. */
typedef struct stage {
    vec factor;
    const float *biases; /* of the block's first lane and the tile's first key */
    int64_t step;        /* from one key to the one before it */
} stage;

INLINE void score_rows(const int rows, const int vectors, const int biased, const float *k, int64_t k_row,
    const float *q, int32_t dim, float *scores, const stage *s, int64_t first, const int track, vec maximum[QV]) {
    vec acc[ROWS_SINGLE][QV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            acc[r][x] = v_zero();
    for (int32_t d = 0; d < dim; d++) {
        vec query[QV];
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            query[x] = v_load(q + (ptrdiff_t)d * LANES + x * VW);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec key = v_set1(k[r * k_row + d]);
#pragma GCC unroll 4
            for (int x = 0; x < vectors; x++)
                acc[r][x] = v_fma(key, query[x], acc[r][x]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            if (biased)
                acc[r][x] = v_fma(acc[r][x], s->factor, v_load(s->biases - (first + r) * s->step + x * VW));
            v_store(scores + r * LANES + x * VW, acc[r][x]);
            if (track)
                maximum[x] = v_max(maximum[x], acc[r][x]);
        }
}

/* Keys first .. first + keys - 1 of the tile, which k and scores begin with. */
INLINE void score_keys(const int vectors, const int biased, const float *k, int64_t k_row, const float *q, int32_t dim,
    int32_t first, int32_t keys, float *scores, const stage *s, const int track, vec maximum[QV]) {
    enum { FULL = ROWS_FULL };
#define ROWS(rows)                                                                                                     \
    score_rows(                                                                                                        \
        rows, vectors, biased, k + key * k_row, k_row, q, dim, scores + key * LANES, s, first + key, track, maximum)
    int32_t key = 0;
    if (vectors == 1)
        for (; key + ROWS_SINGLE <= keys; key += ROWS_SINGLE)
            ROWS(ROWS_SINGLE);
    for (; key + FULL <= keys; key += FULL)
        ROWS(FULL);
    if (FULL > 4 && key + 4 <= keys) {
        ROWS(4);
        key += 4;
    }
    if (key + 2 <= keys) {
        ROWS(2);
        key += 2;
    }
    if (key < keys)
        ROWS(1);
#undef ROWS
}

/* ---- values ---- */

INLINE void value_columns(const int columns, const int vectors, const int selecting, const float *v, int64_t v_row,
    const float *p, const vmask *live, int32_t keys, float *out, const int rescale, const vec alpha[QV]) {
    vec acc[COLUMNS_SINGLE][QV];
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            acc[c][x] = v_zero();
    for (int32_t j = 0; j < keys; j++) {
        vec weight[QV];
        vmask alive[QV];
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            weight[x] = v_load(p + j * LANES + x * VW);
            if (selecting)
                alive[x] = live[j * QV + x];
        }
#pragma GCC unroll 16
        for (int c = 0; c < columns; c++) {
            vec value = v_set1(v[j * v_row + c]);
#pragma GCC unroll 4
            for (int x = 0; x < vectors; x++)
                acc[c][x] =
                    selecting ? v_fma_where(alive[x], value, weight[x], acc[c][x]) : v_fma(value, weight[x], acc[c][x]);
        }
    }
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            float *to = out + c * LANES + x * VW;
            vec old = v_load(to);
            v_store(to, rescale ? v_fma(old, alpha[x], acc[c][x]) : v_add(old, acc[c][x]));
        }
}

INLINE void value_chain(const int vectors, const int selecting, const float *v, int64_t v_row, const float *p,
    const vmask *live, int32_t keys, int32_t dim, float *out, const int rescale, const vec alpha[QV]) {
    enum { FULL = COLUMNS_FULL };
    int32_t c = 0;
    if (vectors == 1 && !selecting)
        for (; c + COLUMNS_SINGLE <= dim; c += COLUMNS_SINGLE)
            value_columns(
                COLUMNS_SINGLE, vectors, selecting, v + c, v_row, p, live, keys, out + c * LANES, rescale, alpha);
    for (; c + FULL <= dim; c += FULL)
        value_columns(FULL, vectors, selecting, v + c, v_row, p, live, keys, out + c * LANES, rescale, alpha);
    if (FULL > 4 && c + 4 <= dim) {
        value_columns(4, vectors, selecting, v + c, v_row, p, live, keys, out + c * LANES, rescale, alpha);
        c += 4;
    }
    if (c + 2 <= dim) {
        value_columns(2, vectors, selecting, v + c, v_row, p, live, keys, out + c * LANES, rescale, alpha);
        c += 2;
    }
    if (c < dim)
        value_columns(1, vectors, selecting, v + c, v_row, p, live, keys, out + c * LANES, rescale, alpha);
}

/* ---- one tile of one block ---- */

/* What the exponential's argument is of a difference of scores: base-2 logits already, if biased. */
INLINE vec logit(const int biased, vec difference, vec factor) {
    return biased ? difference : v_mul(difference, factor);
}

INLINE void tile_of(const int vectors, const int biased, const gatun__attention_task *t, const block_state *b,
    int32_t first_key, int32_t keys, int select_all, float *scores, vmask *live, const float *biases) {
    enum { CHAIN = GATUN__CHAIN_KEYS };
    const float *k = t->k + first_key * t->k_row, *v = t->v + first_key * t->v_row;
    const vec minus_inf = v_set1(-INFINITY), factor = v_set1(t->score_factor);
    if (keys > b->limit_most - first_key)
        keys = b->limit_most - first_key;
    int32_t dense = b->limit_least - first_key;
    dense = dense < 0 ? 0 : dense > keys ? keys : dense;

    vec maximum[QV], old_maximum[QV];
    for (int x = 0; x < vectors; x++)
        maximum[x] = old_maximum[x] = v_load(b->maximum + x * VW);
    stage s = {.factor = factor};
    if (biased) {
        s.biases = biases;
        s.step = bias_step(t);
    }
    score_keys(vectors, biased, k, t->k_row, b->q, t->head_dim, 0, dense, scores, &s, 1, maximum);
    if (dense < keys)
        score_keys(vectors, biased, k + dense * t->k_row, t->k_row, b->q, t->head_dim, dense, keys - dense,
            scores + dense * LANES, &s, 0, maximum);

    /* Chains before this one see no mask. */
    int32_t selecting_from = select_all ? 0 : dense == keys ? keys : dense / CHAIN * CHAIN;
    for (int x = 0; x < vectors; x++) {
        vint limit = v_load_int(b->limit + x * VW);
        for (int32_t j = selecting_from; j < keys; j++) {
            vec score = v_load(scores + j * LANES + x * VW);
            vmask seen = v_int_above(limit, first_key + j);
            maximum[x] = v_max(maximum[x], v_select(seen, score, minus_inf));
            live[j * QV + x] = select_all ? v_and_not_equal(seen, score, minus_inf) : seen;
        }
    }

    vec alpha[QV];
    for (int x = 0; x < vectors; x++) {
        /* A lane that has seen nothing but -inf keeps the maximum -inf; its scores are then taken against 0, which
         * leaves them -inf. */
        vec reference = v_select(v_equal(maximum[x], minus_inf), v_zero(), maximum[x]);
        vec rescaled = v_exp2(logit(biased, v_sub(old_maximum[x], reference), factor));
        alpha[x] = v_select(v_equal(old_maximum[x], minus_inf), v_zero(), rescaled);
        /* Four sums, so that a chain of additions is no longer than a chain of products. */
        vec part[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        float *row = scores + x * VW;
        int32_t j = 0;
        for (; j + 4 <= selecting_from; j += 4)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                vec p = v_exp2(logit(biased, v_sub(v_load(row + (j + i) * LANES), reference), factor));
                part[i] = v_add(part[i], p);
                v_store(row + (j + i) * LANES, p);
            }
        /* The rest by fours as well, so that a key joins the same sum here and above. On the limit alone, not on
           `live`: what -inf * 0 gives must count whether or not this run is selecting. */
        const vint limit = v_load_int(b->limit + x * VW);
        for (; j < keys; j += 4)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                if (j + i < keys) {
                    vec p = v_exp2(logit(biased, v_sub(v_load(row + (j + i) * LANES), reference), factor));
                    p = v_select(v_int_above(limit, first_key + j + i), p, v_zero());
                    part[i] = v_add(part[i], p);
                    v_store(row + (j + i) * LANES, p);
                }
        vec total = v_add(v_add(part[0], part[1]), v_add(part[2], part[3]));
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), alpha[x], total));
        v_store(b->maximum + x * VW, maximum[x]);
    }

    for (int32_t j = 0; j < keys; j += CHAIN) {
        int32_t chain = keys - j < CHAIN ? keys - j : CHAIN;
        const float *p = scores + j * LANES;
        if (j < selecting_from)
            value_chain(vectors, 0, v + j * t->v_row, t->v_row, p, NULL, chain, t->head_dim_v, b->out, j == 0, alpha);
        else
            value_chain(
                vectors, 1, v + j * t->v_row, t->v_row, p, live + j * QV, chain, t->head_dim_v, b->out, j == 0, alpha);
    }
}

/* One copy of the code per number of vectors in use, without biases and with. */
#define TILE(n)                                                                                                        \
    static __attribute__((noinline)) void tile_##n(const gatun__attention_task *t, const block_state *b,               \
        int32_t first_key, int32_t keys, int select_all, float *scores, vmask *live) {                                 \
        tile_of(n, 0, t, b, first_key, keys, select_all, scores, live, NULL);                                          \
    }                                                                                                                  \
    static __attribute__((noinline)) void biased_tile_##n(const gatun__attention_task *t, const block_state *b,        \
        int32_t first_key, int32_t keys, int select_all, float *scores, vmask *live, const float *biases) {            \
        tile_of(n, 1, t, b, first_key, keys, select_all, scores, live, biases);                                        \
    }
TILE(1)
#if QV >= 2
TILE(2)
#endif
#if QV >= 3
TILE(3)
#endif
#if QV >= 4
TILE(4)
#endif
#undef TILE

static void tile(const gatun__attention_task *t, const block_state *b, int32_t first_key, int32_t keys, int select_all,
    float *scores, vmask *live) {
    switch (b->vectors) {
    case 1:
        tile_1(t, b, first_key, keys, select_all, scores, live);
        break;
#if QV >= 2
    case 2:
        tile_2(t, b, first_key, keys, select_all, scores, live);
        break;
#endif
#if QV >= 3
    case 3:
        tile_3(t, b, first_key, keys, select_all, scores, live);
        break;
#endif
#if QV >= 4
    case 4:
        tile_4(t, b, first_key, keys, select_all, scores, live);
        break;
#endif
    }
}

static void biased_tile(const gatun__attention_task *t, const block_state *b, int32_t first_key, int32_t keys,
    int select_all, float *scores, vmask *live, const float *biases) {
    switch (b->vectors) {
    case 1:
        biased_tile_1(t, b, first_key, keys, select_all, scores, live, biases);
        break;
#if QV >= 2
    case 2:
        biased_tile_2(t, b, first_key, keys, select_all, scores, live, biases);
        break;
#endif
#if QV >= 3
    case 3:
        biased_tile_3(t, b, first_key, keys, select_all, scores, live, biases);
        break;
#endif
#if QV >= 4
    case 4:
        biased_tile_4(t, b, first_key, keys, select_all, scores, live, biases);
        break;
#endif
    }
}

/* ---- begin, merge and end of a block ---- */

static const float *query_row(const gatun__attention_task *t, int64_t lane) {
    return t->q + lane / t->group * t->q_row + lane % t->group * t->q_head;
}

/* q[d][lane] = q_factor * query[lane][d]; lanes that do not exist are 0. */
static void transpose_queries(const gatun__attention_task *t, const block_state *b) {
    const vec factor = v_set1(t->q_factor);
    for (int32_t x = 0; x < b->vectors; x++) {
        const float *row[VW];
        int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        for (int32_t i = 0; i < lanes; i++)
            row[i] = query_row(t, b->lane_begin + x * VW + i);
        for (int32_t d = 0; d < t->head_dim; d += VW) {
            int32_t count = t->head_dim - d < VW ? t->head_dim - d : VW;
            vec r[VW];
            for (int32_t i = 0; i < VW; i++)
                r[i] = i >= lanes ? v_zero() : count == VW ? v_load(row[i] + d) : v_load_some(row[i] + d, count);
            v_transpose(r);
            for (int32_t i = 0; i < count; i++)
                v_store(b->q + (d + i) * LANES + x * VW, v_mul(r[i], factor));
        }
    }
}

static void reset(const block_state *b, int32_t head_dim_v) {
    for (int32_t i = 0; i < LANES; i++) {
        b->maximum[i] = -INFINITY;
        b->sum[i] = 0;
    }
    memset(b->out, 0, (size_t)head_dim_v * LANES * sizeof(float));
}

static void begin_block(const gatun__attention_task *t, block_state *b, int64_t lane_begin) {
    int64_t lanes = t->lane_end - lane_begin;
    b->lane_begin = lane_begin;
    b->lanes = lanes < LANES ? (int32_t)lanes : LANES;
    b->vectors = (b->lanes + VW - 1) / VW;
    for (int32_t i = 0; i < LANES; i++) {
        /* A lane that does not exist sees what the last one sees, so that it causes no masking. */
        int64_t lane = lane_begin + (i < b->lanes ? i : b->lanes - 1);
        int64_t limit = t->causal_limit + lane / t->group;
        b->limit[i] = (int32_t)(limit < 0 ? 0 : limit > t->keys ? t->keys : limit);
    }
    b->limit_least = b->limit[0];
    b->limit_most = b->limit[b->lanes - 1];
    transpose_queries(t, b);
    reset(b, t->head_dim_v);
}

/* The float result of one split joins the doubles, and is cleared for the next. For a lane that saw nothing this
 * changes nothing. */
static void merge_split(const gatun__attention_task *t, const block_state *b, int first) {
    double keep[LANES], take[LANES];
    if (first) {
        for (int32_t i = 0; i < LANES; i++) {
            b->merged_maximum[i] = -INFINITY;
            b->merged_sum[i] = 0;
        }
        memset(b->merged_out, 0, (size_t)t->head_dim_v * LANES * sizeof(double));
    }
    for (int32_t x = 0; x < QV; x++) {
        const vec minus_inf = v_set1(-INFINITY), factor = v_set1(is_biased(t) ? 1 : t->score_factor);
        vec ours = v_load(b->maximum + x * VW), theirs = v_load(b->merged_maximum + x * VW);
        vec maximum = v_max(theirs, ours);
        vec reference = v_select(v_equal(maximum, minus_inf), v_zero(), maximum);
        float old[VW], fresh[VW];
        v_store(old, v_select(v_equal(theirs, minus_inf), v_zero(), v_exp2(v_mul(v_sub(theirs, reference), factor))));
        v_store(fresh, v_select(v_equal(ours, minus_inf), v_zero(), v_exp2(v_mul(v_sub(ours, reference), factor))));
        v_store(b->merged_maximum + x * VW, maximum);
        for (int32_t i = 0; i < VW; i++) {
            keep[x * VW + i] = (double)old[i];
            take[x * VW + i] = (double)fresh[i];
        }
    }
    for (int32_t i = 0; i < LANES; i++)
        b->merged_sum[i] = b->merged_sum[i] * keep[i] + (double)b->sum[i] * take[i];
    for (int32_t c = 0; c < t->head_dim_v; c++)
        for (int32_t i = 0; i < LANES; i++)
            b->merged_out[c * LANES + i] =
                b->merged_out[c * LANES + i] * keep[i] + (double)b->out[c * LANES + i] * take[i];
    reset(b, t->head_dim_v);
}

static void take_merged(const gatun__attention_task *t, const block_state *b) {
    for (int32_t i = 0; i < LANES; i++) {
        b->maximum[i] = b->merged_maximum[i];
        b->sum[i] = (float)b->merged_sum[i];
    }
    for (int32_t i = 0; i < t->head_dim_v * LANES; i++)
        b->out[i] = (float)b->merged_out[i];
}

/* Rows out[lane][:] / sum. Returns nonzero if a result is not finite. */
static int write_rows(const gatun__attention_task *t, const block_state *b, int canonical_nan) {
    int bad = 0;
    for (int32_t x = 0; x < b->vectors; x++) {
        int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        float *row[VW];
        for (int32_t i = 0; i < lanes; i++) {
            int64_t lane = b->lane_begin + x * VW + i;
            row[i] = t->out + lane / t->group * t->out_row + lane % t->group * t->out_head;
        }
        vec sum = v_load(b->sum + x * VW);
        vec inverse = v_select(v_equal(sum, v_zero()), v_zero(), v_div(v_set1(1.0f), sum));
        vec check = v_zero();
        for (int32_t c = 0; c < t->head_dim_v; c += VW) {
            int32_t count = t->head_dim_v - c < VW ? t->head_dim_v - c : VW;
            vec r[VW];
            for (int32_t i = 0; i < VW; i++) {
                /* + 0 turns -0 into 0: the sign of an exact zero would depend on masked places. */
                r[i] =
                    i < count ? v_add(v_mul(v_load(b->out + (c + i) * LANES + x * VW), inverse), v_zero()) : v_zero();
                check = v_fma(r[i], v_zero(), check);
                if (canonical_nan)
                    r[i] = v_select(v_equal(r[i], r[i]), r[i], v_set1(NAN));
            }
            v_transpose(r);
            for (int32_t i = 0; i < lanes; i++) {
                if (count == VW)
                    v_store(row[i] + c, r[i]);
                else
                    v_store_some(row[i] + c, r[i], count);
            }
        }
        float checks[VW];
        v_store(checks, check);
        for (int32_t i = 0; i < lanes; i++)
            bad |= checks[i] != 0;
    }
    return bad;
}

static void write_lse(const gatun__attention_task *t, const block_state *b) {
    for (int32_t i = 0; i < b->lanes; i++) {
        int64_t lane = b->lane_begin + i;
        float *to = t->lse + lane / t->group * t->lse_row + lane % t->group * t->lse_head;
        float sum = b->sum[i];
        if (sum == 0)
            *to = -INFINITY;
        else if (sum != sum)
            *to = NAN;
        else
            *to = (float)((double)b->maximum[i] * t->score_natural + log((double)sum));
    }
}

/* ---- the task ---- */

/* All keys for blocks first .. first + count - 1, which begin_block or reset has prepared. */
static void run_keys(const gatun__attention_task *t, const block_state *blocks, int32_t count, int select_all,
    float *scores, vmask *live, float *biases) {
    int32_t most = 0;
    for (int32_t i = 0; i < count; i++)
        most = blocks[i].limit_most > most ? blocks[i].limit_most : most;
    int merged = most > GATUN__SPLIT_KEYS;
    for (int32_t split = 0; split < most; split += GATUN__SPLIT_KEYS) {
        int32_t end = most - split < GATUN__SPLIT_KEYS ? most : split + GATUN__SPLIT_KEYS;
        for (int32_t key = split; key < end; key += GATUN__TILE_KEYS) {
            int32_t keys = end - key < GATUN__TILE_KEYS ? end - key : GATUN__TILE_KEYS;
            if (biases != NULL)
                fill_biases(
                    t, blocks[0].lane_begin, (count - 1) * LANES + blocks[count - 1].vectors * VW, key, keys, biases);
            for (int32_t i = 0; i < count; i++) {
                if (key >= blocks[i].limit_most)
                    continue;
                if (biases == NULL)
                    tile(t, &blocks[i], key, keys, select_all, scores, live);
                else
                    biased_tile(t, &blocks[i], key, keys, select_all, scores, live,
                        biases + i * LANES + (keys - 1) * bias_step(t));
            }
        }
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

static void attention_f32(gatun__attention_task *t) {
    _Static_assert(LANES <= GATUN__MAX_BLOCK_LANES, "a block fits the arrays of the plan");
    _Static_assert(QV * sizeof(vmask) <= LANES * sizeof(float), "masks fit the scratch that the plan gives them");
    char *scratch = t->scratch;
    float *scores = carve(&scratch, LANES * GATUN__TILE_KEYS * sizeof(float));
    vmask *live = carve(&scratch, LANES * GATUN__TILE_KEYS * sizeof(float));
    float *biases = NULL;
    if (is_biased(t))
        biases = carve(&scratch, (size_t)gatun__bias_floats(t->group, (int64_t)t->blocks * LANES) * sizeof(float));
    block_state blocks[GATUN__MAX_BLOCKS];
    int merged = t->keys > GATUN__SPLIT_KEYS;
    int32_t count = 0;
    for (int64_t lane = t->lane_begin; lane < t->lane_end; lane += LANES, count++) {
        block_state *b = &blocks[count];
        b->q = carve(&scratch, (size_t)t->head_dim * LANES * sizeof(float));
        b->out = carve(&scratch, (size_t)t->head_dim_v * LANES * sizeof(float));
        b->limit = carve(&scratch, LANES * sizeof(int32_t));
        b->maximum = carve(&scratch, LANES * sizeof(float));
        b->sum = carve(&scratch, LANES * sizeof(float));
        if (merged) {
            b->merged_out = carve(&scratch, (size_t)t->head_dim_v * LANES * sizeof(double));
            b->merged_sum = carve(&scratch, LANES * sizeof(double));
            b->merged_maximum = carve(&scratch, LANES * sizeof(float));
        }
        begin_block(t, b, lane);
    }
    run_keys(t, blocks, count, 0, scores, live, biases);
    for (int32_t i = 0; i < count; i++) {
        if (write_rows(t, &blocks[i], 0)) {
            t->redone++;
            reset(&blocks[i], t->head_dim_v);
            run_keys(t, &blocks[i], 1, 1, scores, live, biases);
            write_rows(t, &blocks[i], 1);
        }
        if (t->lse != NULL)
            write_lse(t, &blocks[i]);
    }
}

/* ---- the roof ---- */

/*
 * PEAK_CHAINS independent chains of FMAs: at least latency x throughput of them. io comes in as {1, 0}, which the compiler does not know, so that
 * x <- x * 1 + 0 is computed; io[0] is a result.
 */
static double peak_f32(int64_t steps, float io[2]) {
    vec acc[PEAK_CHAINS];
    const vec one = v_set1(io[0]), zero = v_set1(io[1]);
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = v_set1((float)i);
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 32
        for (int i = 0; i < PEAK_CHAINS; i++) {
            acc[i] = v_fma(acc[i], one, zero);
            v_keep(acc[i]);
        }
    }
    vec total = v_zero();
    for (int i = 0; i < PEAK_CHAINS; i++)
        total = v_add(total, acc[i]);
    float lanes[VW];
    v_store(lanes, total);
    io[0] = lanes[0];
    return 2.0 * VW * PEAK_CHAINS;
}
