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
 *      Where INTERLEAVED, scores of the next chain become weights between the products of this one.
 *   5. Every SPLIT_KEYS keys the float results are merged into doubles; at the end rows are transposed back, times
 *      1 / sum. Several blocks share each tile while it is in L2.
 * (Online softmax: Milakov and Gimelshein 2018; tiling: Dao et al. 2022.)
 *
 * Every lane goes through the same operations in the same order wherever it stands, since each score is one chain over
 * d and each output one chain over keys: register blocks, block and task boundaries, and neighbours cannot change a
 * bit.
 *
 * Masks. A lane sees the keys below its limit. Limits do not fall from lane to lane, so that a vector takes part in keys
 * below the limit of its last lane only. Chains of keys that all lanes see are dense. In the others a key is
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

/*
 * Element of row r of 16: x86 has 16 registers for addresses, and adds 1, 2, 4 or 8 times another to each, so that five of
 * them reach all rows. Others need no such help, and take it without harm.
 */
INLINE const float *row_of_16(const float *const base[5], int64_t row, const int r) {
    static const int from[16] = {0, 0, 0, 1, 0, 1, 2, 1, 0, 2, 3, 1, 3, 2, 3, 4};
    static const int times[16] = {0, 1, 2, 0, 4, 2, 1, 4, 8, 4, 0, 8, 2, 8, 4, 1};
    return (const float *)(const void *)((const char *)base[from[r]] + times[r] * row);
}

#define BASES_OF_16(k, row)                                                                                            \
    { (k), (k) + 3 * (row), (k) + 5 * (row), (k) + 10 * (row), (k) + 14 * (row) }

INLINE void score_rows(const int rows, const int vectors, const int biased, const float *k, int64_t k_row,
    const float *q, int32_t dim, float *scores, const stage *s, int64_t first, const int track, vec maximum[QV]) {
    vec acc[ROWS_SINGLE][QV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            acc[r][x] = v_zero();
    const float *base[5] = BASES_OF_16(k, rows == 16 ? k_row : 0);
    const int64_t row_bytes = k_row * (int64_t)sizeof(float);
    for (int32_t d = 0; d < dim; d++) {
        vec query[QV];
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            query[x] = v_load(q + (ptrdiff_t)d * LANES + x * VW);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec key = v_set1(rows == 16 ? *row_of_16(base, row_bytes, r) : k[r * k_row + d]);
#pragma GCC unroll 4
            for (int x = 0; x < vectors; x++)
                acc[r][x] = v_fma(key, query[x], acc[r][x]);
        }
        for (int i = 0; rows == 16 && i < 5; i++)
            base[i]++;
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

/* Keys first .. first + keys - 1 of the tile, which k and scores begin with; q, scores and s begin with the first of the
 * vectors. */
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

/* ---- exponentials ---- */

/* What the exponential's argument is of a difference of scores: base-2 logits already, if biased. */
INLINE vec logit(const int biased, vec difference, vec factor) {
    return biased ? difference : v_mul(difference, factor);
}

/* Rows that are wanted soon. */
typedef struct region {
    const float *at;
    int64_t row;
    int32_t rows, bytes;
} region;

/* Regions one after the other, a row for every `interval` vectors of weights: what a thread reads next comes from
 * memory while products keep the core busy. */
typedef struct prefetcher {
    region regions[4]; /* the current one, then those to come; rows == 0: none */
    int32_t due, interval;
} prefetcher;

INLINE void prefetch_rows(prefetcher *f, int32_t vectors) {
    region *r = f->regions;
    if (r->rows == 0)
        return;
    for (f->due += vectors; f->due >= f->interval && r->rows > 0; f->due -= f->interval) {
        for (int32_t b = 0; b < r->bytes; b += 64)
            __builtin_prefetch((const char *)r->at + b);
        r->at += r->row;
        if (--r->rows == 0) {
            r[0] = r[1];
            r[1] = r[2];
            r[2] = r[3];
            r[3].rows = 0;
        }
    }
}

typedef struct softmax {
    float reference[LANES]; /* what is subtracted: the maximum, or 0 */
    /* Four sums, of the keys j % 4 each, so that a chain of additions is no longer than a chain of products. In memory:
     * beside FMAs an addition with a memory operand costs nothing, and registers are scarce. */
    float part[4 * LANES];
    vec factor;
    prefetcher *soon;
} softmax;

/* Key j of vector x: a score becomes a weight, in place. */
INLINE void weigh(const int biased, softmax *s, float *scores, int32_t j, int32_t x) {
    float *at = scores + j * LANES + x * VW, *part = s->part + j % 4 * LANES + x * VW;
    vec p = v_exp2(logit(biased, v_sub(v_load(at), v_load(s->reference + x * VW)), s->factor));
    v_store(part, v_add(v_load(part), p));
    v_store(at, p);
}

/* ---- values ---- */

/* The end of a register block of columns. */
INLINE void add_columns(const int columns, const int vectors, vec acc[COLUMNS_SINGLE][QV], float *out,
    const int rescale, const vec alpha[QV]) {
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            float *to = out + c * LANES + x * VW;
            vec old = v_load(to);
            v_store(to, rescale ? v_fma(old, alpha[x], acc[c][x]) : v_add(old, acc[c][x]));
        }
}

/* Key j for the vectors from `from` on. */
INLINE void value_step(const int columns, const int from, const int vectors, const int selecting, const float *v,
    int64_t v_row, const float *p, const vmask *live, int32_t j, vec acc[COLUMNS_SINGLE][QV]) {
    vec weight[QV];
    vmask alive[QV];
#pragma GCC unroll 4
    for (int x = from; x < vectors; x++) {
        weight[x] = v_load(p + j * LANES + x * VW);
        if (selecting)
            alive[x] = live[j * QV + x];
    }
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++) {
        vec value = v_set1(v[j * v_row + c]);
#pragma GCC unroll 4
        for (int x = from; x < vectors; x++)
            acc[c][x] =
                selecting ? v_fma_where(alive[x], value, weight[x], acc[c][x]) : v_fma(value, weight[x], acc[c][x]);
    }
}

/*
 * out[c] += sum_j v[j][c] * p[j]. Vector x has weights for keys below end[x] only, which does not fall with x.
 * `weighing` (of a chain of CHAIN_KEYS keys that all lanes see): so many scores of the next chain, from `weighed` on, are
 * made weights meanwhile.
 */
INLINE void value_columns(const int columns, const int vectors, const int selecting, const int weighing,
    const int biased, const float *v, int64_t v_row, float *p, const vmask *live, const int32_t end[QV], float *out,
    const int rescale, const vec alpha[QV], softmax *soft, int32_t weighed) {
    vec acc[COLUMNS_SINGLE][QV];
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            acc[c][x] = v_zero();
    if (weighing > 0) {
        const int steps = weighing > 0 ? GATUN__CHAIN_KEYS / weighing : 1;
        for (int32_t n = 0; n < weighing; n++) {
#pragma GCC unroll 8
            for (int i = 0; i < steps; i++)
                value_step(columns, 0, vectors, 0, v, v_row, p, NULL, n * steps + i, acc);
            weigh(biased, soft, p + GATUN__CHAIN_KEYS * LANES, (weighed + n) / vectors, (weighed + n) % vectors);
        }
        prefetch_rows(soft->soon, weighing);
    } else {
        int32_t j = 0;
        for (; j < end[0]; j++)
            value_step(columns, 0, vectors, selecting, v, v_row, p, live, j, acc);
        if (selecting && vectors > 1)
            for (; j < end[1]; j++)
                value_step(columns, 1, vectors, selecting, v, v_row, p, live, j, acc);
        if (selecting && vectors > 2)
            for (; j < end[2]; j++)
                value_step(columns, 2, vectors, selecting, v, v_row, p, live, j, acc);
        if (selecting && vectors > 3)
            for (; j < end[3]; j++)
                value_step(columns, 3, vectors, selecting, v, v_row, p, live, j, acc);
    }
    add_columns(columns, vectors, acc, out, rescale, alpha);
}

/* A chain of keys. `weighing`: scores of the next chain that each full register block of columns makes weights, so that
 * the first of them do all. */
INLINE void value_chain(const int vectors, const int selecting, const int weighing, const int biased, const float *v,
    int64_t v_row, float *p, const vmask *live, const int32_t end[QV], int32_t dim, float *out, const int rescale,
    const vec alpha[QV], softmax *soft) {
    enum { FULL = COLUMNS_FULL, ALL = GATUN__CHAIN_KEYS };
    int32_t c = 0, weighed = 0;
#define COLUMNS(columns, weigh)                                                                                        \
    value_columns(columns, vectors, selecting, weigh, biased, v + c, v_row, p, live, end, out + c * LANES, rescale,    \
        alpha, soft, weighed)
    if (vectors == 1 && !selecting) {
        if (weighing > 0)
            for (; weighed < ALL; c += COLUMNS_SINGLE, weighed += weighing)
                COLUMNS(COLUMNS_SINGLE, weighing);
        for (; c + COLUMNS_SINGLE <= dim; c += COLUMNS_SINGLE)
            COLUMNS(COLUMNS_SINGLE, 0);
    } else if (weighing > 0) {
        for (; weighed < ALL * vectors; c += FULL, weighed += weighing)
            COLUMNS(FULL, weighing);
    }
    for (; c + FULL <= dim; c += FULL)
        COLUMNS(FULL, 0);
    if (FULL > 4 && c + 4 <= dim) {
        COLUMNS(4, 0);
        c += 4;
    }
    if (c + 2 <= dim) {
        COLUMNS(2, 0);
        c += 2;
    }
    if (c < dim)
        COLUMNS(1, 0);
#undef COLUMNS
}

/* Scores of the next chain that a register block makes weights: 0 if there are too few register blocks. */
INLINE int32_t weighing_of(const int vectors, int32_t dim) {
    const int32_t columns = vectors == 1 ? COLUMNS_SINGLE : COLUMNS_FULL, scores = GATUN__CHAIN_KEYS * vectors;
    if (!INTERLEAVED)
        return 0;
    return dim / columns * 8 >= scores ? 8 : dim / columns * 16 >= scores ? 16 : 0;
}

/* ---- one tile of one block ---- */

/* What a thread keeps of a tile. */
typedef struct tile_room {
    float *scores; /* [TILE_KEYS][LANES], weights later */
    vmask *live;   /* [TILE_KEYS][QV]: which are neither masked nor -inf */
    float *biases; /* or NULL */
    prefetcher soon;
} tile_room;

INLINE void tile_of(const int vectors, const int biased, const gatun__attention_task *t, const block_state *b,
    int32_t first_key, int32_t keys, int select_all, tile_room *room, const float *biases) {
    enum { CHAIN = GATUN__CHAIN_KEYS };
    float *scores = room->scores;
    vmask *live = room->live;
    const float *k = t->k + first_key * t->k_row, *v = t->v + first_key * t->v_row;
    const vec minus_inf = v_set1(-INFINITY), factor = v_set1(t->score_factor);
    if (keys > b->limit_most - first_key)
        keys = b->limit_most - first_key;
    int32_t dense = b->limit_least - first_key;
    dense = dense < 0 ? 0 : dense > keys ? keys : dense;
    /* Keys that some lane of a vector sees: limits do not fall from lane to lane. */
    int32_t seen[QV];
    for (int x = 0; x < vectors; x++) {
        int32_t most = b->limit[(x + 1) * VW - 1] - first_key;
        seen[x] = most < 0 ? 0 : most > keys ? keys : most;
    }

    vec maximum[QV], old_maximum[QV];
    for (int x = 0; x < vectors; x++)
        maximum[x] = old_maximum[x] = v_load(b->maximum + x * VW);
    stage s = {.factor = factor};
    if (biased) {
        s.biases = biases;
        s.step = bias_step(t);
    }
    score_keys(vectors, biased, k, t->k_row, b->q, t->head_dim, 0, dense, scores, &s, 1, maximum);
    if (dense < keys) {
        int32_t key = dense;
#define SCORES(x)                                                                                                      \
    if (vectors > x && key < seen[x]) {                                                                                \
        stage part = {.factor = factor, .biases = biased ? s.biases + x * VW : NULL, .step = s.step};                  \
        score_keys(vectors > x ? vectors - x : 1, biased, k + key * t->k_row, t->k_row, b->q + x * VW, t->head_dim,    \
            key, seen[x] - key, scores + key * LANES + x * VW, &part, 0, maximum);                                     \
        key = seen[x];                                                                                                 \
    }
        SCORES(0)
        SCORES(1)
        SCORES(2)
        SCORES(3)
#undef SCORES
    }

    /* Chains before this one see no mask. */
    int32_t selecting_from = select_all ? 0 : dense == keys ? keys : dense / CHAIN * CHAIN;
    for (int x = 0; x < vectors; x++) {
        vint limit = v_load_int(b->limit + x * VW);
        for (int32_t j = selecting_from; j < seen[x]; j++) {
            vec score = v_load(scores + j * LANES + x * VW);
            vmask alive = v_int_above(limit, first_key + j);
            maximum[x] = v_max(maximum[x], v_select(alive, score, minus_inf));
            live[j * QV + x] = select_all ? v_and_not_equal(alive, score, minus_inf) : alive;
        }
    }

    softmax soft __attribute__((aligned(64)));
    soft.factor = factor;
    soft.soon = &room->soon;
    vec alpha[QV];
    for (int x = 0; x < vectors; x++) {
        /* A lane that has seen nothing but -inf keeps the maximum -inf; its scores are then taken against 0, which
         * leaves them -inf. */
        vec reference = v_select(v_equal(maximum[x], minus_inf), v_zero(), maximum[x]);
        vec rescaled = v_exp2(logit(biased, v_sub(old_maximum[x], reference), factor));
        alpha[x] = v_select(v_equal(old_maximum[x], minus_inf), v_zero(), rescaled);
        v_store(soft.reference + x * VW, reference);
        for (int i = 0; i < 4; i++)
            v_store(soft.part + i * LANES + x * VW, v_zero());
    }

    const int32_t weighing = weighing_of(vectors, t->head_dim_v);
    int32_t weighed = 0; /* keys whose scores are weights */
    for (int32_t j = 0; j < keys; j += CHAIN) {
        int32_t chain = keys - j < CHAIN ? keys - j : CHAIN, end[QV];
        float *p = scores + j * LANES;
        const float *values = v + j * t->v_row;
        const int selecting = j >= selecting_from;
        for (int x = 0; x < vectors; x++) {
            end[x] = !selecting ? chain : seen[x] < j ? 0 : seen[x] - j < chain ? seen[x] - j : chain;
            if (weighed > j)
                continue;
            if (!selecting) {
                for (int32_t i = 0; i < chain; i++)
                    weigh(biased, &soft, p, i, x);
                continue;
            }
            /* On the limit alone, not on `live`: what -inf * 0 gives must count whether or not this run is selecting. */
            const vint limit = v_load_int(b->limit + x * VW);
            const vec reference = v_load(soft.reference + x * VW);
            for (int32_t i = 0; i < end[x]; i++) {
                float *at = p + i * LANES + x * VW, *part = soft.part + i % 4 * LANES + x * VW;
                vec weight = v_exp2(logit(biased, v_sub(v_load(at), reference), factor));
                weight = v_select(v_int_above(limit, first_key + j + i), weight, v_zero());
                v_store(part, v_add(v_load(part), weight));
                v_store(at, weight);
            }
        }
        weighed = j + chain;
#define CHAIN_OF(selecting, weighing)                                                                                  \
    value_chain(vectors, selecting, weighing, biased, values, t->v_row, p, selecting ? live + j *QV : NULL, end,       \
        t->head_dim_v, b->out, j == 0, alpha, &soft)
        if (selecting) {
            CHAIN_OF(1, 0);
        } else if (INTERLEAVED && weighing > 0 && j + 2 * CHAIN <= selecting_from) {
            if (weighing == 8)
                CHAIN_OF(0, 8);
            else
                CHAIN_OF(0, 16);
            weighed = j + 2 * CHAIN;
        } else {
            CHAIN_OF(0, 0);
        }
#undef CHAIN_OF
    }

    for (int x = 0; x < vectors; x++) {
        const float *part = soft.part + x * VW;
        vec total =
            v_add(v_add(v_load(part), v_load(part + LANES)), v_add(v_load(part + 2 * LANES), v_load(part + 3 * LANES)));
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), alpha[x], total));
        v_store(b->maximum + x * VW, maximum[x]);
    }
}

/* One copy of the code per number of vectors in use, without biases and with. */
typedef void tile_function(const gatun__attention_task *t, const block_state *b, int32_t first_key, int32_t keys,
    int select_all, tile_room *room, const float *biases);

#define TILE(n)                                                                                                        \
    static __attribute__((noinline)) void tile_##n(const gatun__attention_task *t, const block_state *b,               \
        int32_t first_key, int32_t keys, int select_all, tile_room *room, const float *biases) {                       \
        (void)biases;                                                                                                  \
        tile_of(n, 0, t, b, first_key, keys, select_all, room, NULL);                                                  \
    }                                                                                                                  \
    static __attribute__((noinline)) void biased_tile_##n(const gatun__attention_task *t, const block_state *b,        \
        int32_t first_key, int32_t keys, int select_all, tile_room *room, const float *biases) {                       \
        tile_of(n, 1, t, b, first_key, keys, select_all, room, biases);                                                \
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

static tile_function *const tiles[2][QV] = {{
                                                tile_1,
#if QV >= 2
                                                tile_2,
#endif
#if QV >= 3
                                                tile_3,
#endif
#if QV >= 4
                                                tile_4,
#endif
                                            },
    {
        biased_tile_1,
#if QV >= 2
        biased_tile_2,
#endif
#if QV >= 3
        biased_tile_3,
#endif
#if QV >= 4
        biased_tile_4,
#endif
    }};

/* ---- begin, merge and end of a block ---- */

/* Row and head of a lane, and of those after it without a division for each. */
typedef struct place {
    int64_t row, head;
} place;

static inline place place_of(const gatun__attention_task *t, int64_t lane) {
    return t->group == 1 ? (place){lane, 0} : (place){lane / t->group, lane % t->group};
}

static inline void step(const gatun__attention_task *t, place *p) {
    if (++p->head == t->group) {
        p->head = 0;
        p->row++;
    }
}

/* q[d][lane] = q_factor * query[lane][d]; lanes that do not exist are 0. */
static inline void transpose_queries(const gatun__attention_task *t, const block_state *b, const int32_t stride) {
    const vec factor = v_set1(t->q_factor);
    for (int32_t x = 0; x < b->vectors; x++) {
        const float *row[VW];
        int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        place p = place_of(t, b->lane_begin + x * VW);
        for (int32_t i = 0; i < lanes; i++, step(t, &p))
            row[i] = t->q + p.row * t->q_row + p.head * t->q_head;
        for (int32_t d = 0; d < t->head_dim; d += VW) {
            int32_t count = t->head_dim - d < VW ? t->head_dim - d : VW;
            vec r[VW];
            if (lanes == VW && count == VW) {
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    r[i] = v_load(row[i] + d);
                v_transpose(r);
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    v_store(b->q + (d + i) * stride + x * VW, v_mul(r[i], factor));
                continue;
            }
            for (int32_t i = 0; i < VW; i++)
                r[i] = i >= lanes ? v_zero() : count == VW ? v_load(row[i] + d) : v_load_some(row[i] + d, count);
            v_transpose(r);
            for (int32_t i = 0; i < count; i++)
                v_store(b->q + (d + i) * stride + x * VW, v_mul(r[i], factor));
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

static inline void set_limits(
    const gatun__attention_task *t, const block_state *b, int32_t *limits, const int32_t count) {
    int32_t i = 0;
    if (t->causal_limit >= t->keys) { /* all see all */
        for (; i < count; i++)
            limits[i] = (int32_t)t->keys;
        return;
    }
    place p = place_of(t, b->lane_begin);
    for (; i < b->lanes; i++, step(t, &p)) {
        int64_t limit = t->causal_limit + p.row;
        limits[i] = (int32_t)(limit < 0 ? 0 : limit > t->keys ? t->keys : limit);
    }
    /* A lane that does not exist sees what the last one sees, so that it causes no masking. */
    for (; i < count; i++)
        limits[i] = limits[b->lanes - 1];
}

static void begin_block(const gatun__attention_task *t, block_state *b, int64_t lane_begin) {
    int64_t lanes = t->lane_end - lane_begin;
    b->lane_begin = lane_begin;
    b->lanes = lanes < LANES ? (int32_t)lanes : LANES;
    b->vectors = (b->lanes + VW - 1) / VW;
    set_limits(t, b, b->limit, LANES);
    b->limit_least = b->limit[0];
    b->limit_most = b->limit[b->lanes - 1];
    transpose_queries(t, b, LANES);
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
        place p = place_of(t, b->lane_begin + x * VW);
        for (int32_t i = 0; i < lanes; i++, step(t, &p))
            row[i] = t->out + p.row * t->out_row + p.head * t->out_head;
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
    place p = place_of(t, b->lane_begin);
    for (int32_t i = 0; i < b->lanes; i++, step(t, &p)) {
        float *to = t->lse + p.row * t->lse_row + p.head * t->lse_head;
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

/* What is read after the tile of keys first_key .. first_key + keys - 1, of `most`, to be fetched while blocks
 * `count` compute it. */
static void expect_next(
    const gatun__attention_task *t, int32_t first_key, int32_t keys, int32_t most, int32_t count, prefetcher *soon) {
    const int32_t bytes = t->head_dim * (int32_t)sizeof(float), bytes_v = t->head_dim_v * (int32_t)sizeof(float);
    const int32_t left = most - first_key - keys, next = left < GATUN__TILE_KEYS ? left : GATUN__TILE_KEYS;
    memset(soon, 0, sizeof *soon);
    int32_t rows = 0;
    if (next > 0) {
        if (!t->cold)
            return;
        soon->regions[0] = (region){t->k + (first_key + keys) * t->k_row, t->k_row, next, bytes};
        soon->regions[1] = (region){t->v + (first_key + keys) * t->v_row, t->v_row, next, bytes_v};
        rows = 2 * next;
    } else if (t->next_q != NULL) {
        const int32_t tile = t->next_keys < GATUN__TILE_KEYS ? (int32_t)t->next_keys : GATUN__TILE_KEYS;
        const int32_t few = t->next_rows < GATUN__TILE_KEYS ? (int32_t)t->next_rows : GATUN__TILE_KEYS;
        soon->regions[0] = (region){t->next_q, t->q_row, few, bytes};
        soon->regions[1] = (region){t->next_out, t->out_row, few, bytes_v};
        rows = 2 * few;
        if (t->next_k != NULL) {
            soon->regions[2] = (region){t->next_k, t->k_row, tile, bytes};
            soon->regions[3] = (region){t->next_v, t->v_row, tile, bytes_v};
            rows += 2 * tile;
        }
    }
    /* The first chain of each tile is not interleaved. */
    const int32_t weights = (keys - GATUN__CHAIN_KEYS) * count * QV;
    soon->interval = rows > 0 && weights > rows ? weights / rows : 1;
}

/* All keys for blocks first .. first + count - 1, which begin_block or reset has prepared. */
static void run_keys(
    const gatun__attention_task *t, const block_state *blocks, int32_t count, int select_all, tile_room *room) {
    int32_t most = 0;
    for (int32_t i = 0; i < count; i++)
        most = blocks[i].limit_most > most ? blocks[i].limit_most : most;
    int merged = most > GATUN__SPLIT_KEYS;
    const int biased = room->biases != NULL;
    for (int32_t split = 0; split < most; split += GATUN__SPLIT_KEYS) {
        int32_t end = most - split < GATUN__SPLIT_KEYS ? most : split + GATUN__SPLIT_KEYS;
        for (int32_t key = split; key < end; key += GATUN__TILE_KEYS) {
            int32_t keys = end - key < GATUN__TILE_KEYS ? end - key : GATUN__TILE_KEYS;
            if (biased)
                fill_biases(t, blocks[0].lane_begin, (count - 1) * LANES + blocks[count - 1].vectors * VW, key, keys,
                    room->biases);
            if (INTERLEAVED)
                expect_next(t, key, keys, most, count, &room->soon);
            for (int32_t i = 0; i < count; i++)
                if (key < blocks[i].limit_most)
                    tiles[biased][blocks[i].vectors - 1](t, &blocks[i], key, keys, select_all, room,
                        biased ? room->biases + i * LANES + (keys - 1) * bias_step(t) : NULL);
        }
        for (int32_t i = 0; merged && i < count; i++)
            merge_split(t, &blocks[i], split == 0);
    }
    for (int32_t i = 0; merged && i < count; i++)
        take_merged(t, &blocks[i]);
}

#include "attention_tiny_f32.h"

static void *carve(char **scratch, size_t bytes) {
    char *part = *scratch;
    *scratch += (bytes + 63) & ~(size_t)63;
    return part;
}

static void attention_f32(gatun__attention_task *t) {
    _Static_assert(LANES <= GATUN__MAX_BLOCK_LANES, "a block fits the arrays of the plan");
    _Static_assert(QV * sizeof(vmask) <= LANES * sizeof(float), "masks fit the scratch that the plan gives them");
    if (is_tiny(t) && (t->keys == 16 && ROWS_SINGLE == 16 ? tiny_all(t) : tiny_some(t)))
        return;
    char *scratch = t->scratch;
    tile_room room = {.scores = carve(&scratch, LANES * GATUN__TILE_KEYS * sizeof(float))};
    room.live = carve(&scratch, LANES * GATUN__TILE_KEYS * sizeof(float));
    if (is_biased(t))
        room.biases = carve(&scratch, (size_t)gatun__bias_floats(t->group, (int64_t)t->blocks * LANES) * sizeof(float));
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
    run_keys(t, blocks, count, 0, &room);
    for (int32_t i = 0; i < count; i++) {
        if (write_rows(t, &blocks[i], 0)) {
            t->redone++;
            reset(&blocks[i], t->head_dim_v);
            run_keys(t, &blocks[i], 1, 1, &room);
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
