/*
 * Forward attention in float32, for every tier: included once by each attention_f32_<tier>.c after it has defined its
 * vectors (below).
 *
 * Algorithm: lanes are queries. A block holds QV vectors of VW query rows each.
 *   1. The block's queries are transposed once, to [head_dim][lanes], times scale * log2(e): scores are base-2 logits.
 *      Keys and values are read where they lie.
 *   2. For each tile of TILE_KEYS keys: scores[key][lane] = sum_d k[key][d] * q[d][lane], a register block of up to R
 *      keys x QV vectors, each key element broadcast from memory, each query vector loaded once per R keys.
 *   3. Softmax is vertical: maximum, sum and rescaling factor are vectors over lanes; nothing is ever reduced across a
 *      vector. p = 2^(score - maximum), of which the largest is exactly 1.
 *   4. out[c][lane] += sum_key v[key][c] * p[key][lane], a register block of up to C columns x QV vectors over a chain
 *      of CHAIN_KEYS keys, summed from 0 in registers; the first chain of a tile folds the rescaling of the old output
 *      into its addition.
 *      Where INTERLEAVED, scores of the next chain become weights between the products of this one. The last chain of
 *      a tile waits for the scores of the next block, so that only a task's first weights have no products beside them.
 *   5. Every SPLIT_KEYS keys the float results are merged into doubles; at the end rows are transposed back, times
 *      1 / sum. Several blocks share each tile while it is in L2.
 * (Online softmax: Milakov and Gimelshein 2018; tiling: Dao et al. 2022.)
 *
 * Every lane goes through the same operations in the same order wherever it stands, since each score is one chain over
 * d and each output one chain over keys: register blocks, block and task boundaries, and neighbours cannot change a
 * bit.
 *
 * Masks. A lane sees the keys below its limit. Limits do not fall from lane to lane, so that a vector takes part in keys
 * below the limit of its last lane only. Chains of keys that all lanes see are dense; in the others the weight of a
 * masked place is 0 by selection, whatever its score is. A score of -inf has p = 0 as well. 0 * v is harmless unless v
 * is Inf or NaN: so a block whose result is not finite is run again with every key multiplied in by selection
 * (select(key below limit and score > -inf, fma, old)); the other lanes get the same bits again.
 *
 * Biases. A second copy of the tile code, chosen once per tile, adds them to each score before anything else sees it.
 * They depend on row - key and head only, so that one array (gatun__bias_step) serves a tile of keys and all blocks.
 *
 * Scratch per thread: scores of one tile and a chain, live masks and biases of one tile; per block: queries, output,
 * limits, maxima, sums, and the merged doubles.
 *
 * The including file includes vectors_<tier>.h and defines QV, ROWS_FULL, ROWS_SINGLE (keys per register block with more
 * than one vector, with one; powers of two), COLUMNS_FULL, COLUMNS_SINGLE (the same for columns) and PEAK_CHAINS.
 */
#include "../kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define LANES (VW * QV)
/* One copy of the code per number of vectors in use. */
#if QV == 1
#define EACH_VECTORS(code) code(1)
#elif QV == 2
#define EACH_VECTORS(code) code(1) code(2)
#elif QV == 3
#define EACH_VECTORS(code) code(1) code(2) code(3)
#else
#define EACH_VECTORS(code) code(1) code(2) code(3) code(4)
#endif
#define INLINE static inline __attribute__((always_inline))

typedef struct block_state {
    float *q;       /* [head_dim][LANES] */
    float *out;     /* [head_dim_v][LANES] */
    float *maximum; /* [LANES], of scores */
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

/* Whose maximum is taken: that of all scores, or of those that a lane sees. */
enum { OF_ALL, OF_SEEN };

/* limit: keys below it are seen, of the lanes; key: the first one, on its scale. */
INLINE void score_rows(const int rows, const int vectors, const int biased, const float *k, int64_t k_row,
    const float *q, int32_t dim, float *scores, const stage *s, int64_t first, const int of, const int32_t *limit,
    int32_t key, vec *maximum) {
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
            vec element = v_set1(rows == 16 ? *row_of_16(base, row_bytes, r) : k[r * k_row + d]);
#pragma GCC unroll 4
            for (int x = 0; x < vectors; x++)
                acc[r][x] = v_fma(element, query[x], acc[r][x]);
        }
        for (int i = 0; rows == 16 && i < 5; i++)
            base[i]++;
    }
    const vec minus_inf = v_set1(-INFINITY);
    vint left[QV]; /* keys that are seen from the first one on */
    for (int x = 0; of == OF_SEEN && x < vectors; x++)
        left[x] = v_int_minus(v_load_int(limit + x * VW), key);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            if (biased)
                acc[r][x] = v_add(acc[r][x], v_load(s->biases - (first + r) * s->step + x * VW));
            v_store(scores + r * LANES + x * VW, acc[r][x]);
            if (of == OF_SEEN)
                acc[r][x] = v_select(v_int_above(left[x], r), acc[r][x], minus_inf);
            maximum[x] = v_max(maximum[x], acc[r][x]);
        }
}

/* Keys first .. first + keys - 1 of the tile, which k and scores begin with; q, scores, s, limit and maximum begin with the
 * first of the vectors. tile_key: the tile's first on the scale of limits. */
INLINE void score_keys(const int vectors, const int biased, const float *k, int64_t k_row, const float *q, int32_t dim,
    int32_t first, int32_t keys, float *scores, const stage *s, const int of, const int32_t *limit, int32_t tile_key,
    vec *maximum) {
    enum { FULL = ROWS_FULL };
#define ROWS(rows)                                                                                                     \
    score_rows(rows, vectors, biased, k + key * k_row, k_row, q, dim, scores + key * LANES, s, first + key, of, limit, \
        tile_key + first + key, maximum)
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

/* Rows that are wanted soon. */
typedef struct region {
    const float *at;
    int64_t row;
    int32_t rows, bytes;
} region;

/* Regions one after the other, `rows` rows altogether while so many vectors of weights are made: what a thread reads next
 * comes from memory while products keep the core busy. */
typedef struct prefetcher {
    region regions[4]; /* the current one, then those to come; rows == 0: none */
    int32_t rows, weights;
    int64_t due; /* rows times weights */
    int past_l1; /* to L2: rows that collide in L1 would drive each other out */
} prefetcher;

INLINE void prefetch_rows(prefetcher *f, int32_t vectors) {
    region *r = f->regions;
    if (r->rows == 0)
        return;
    for (f->due += (int64_t)vectors * f->rows; f->due >= f->weights && r->rows > 0; f->due -= f->weights) {
        for (int32_t b = 0; b < r->bytes; b += 64) {
            if (f->past_l1)
                __builtin_prefetch((const char *)r->at + b, 0, 2);
            else
                __builtin_prefetch((const char *)r->at + b);
        }
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
    float chain_sum[LANES]; /* of the weights of one chain */
    int32_t limit[LANES];   /* keys below it are seen */
    float sum[LANES];       /* of the chains before */
    prefetcher *soon;
} softmax;

/* A score of key `key` and of vector x becomes a weight, in place. `masked`: 0 unless the lane sees the key, on the limit
 * alone: what -inf * 0 gives must count. */
INLINE vec weigh(const int masked, const softmax *s, float *at, int32_t key, int32_t x) {
    vec p = v_exp2(v_sub(v_load(at), v_load(s->reference + x * VW)));
    if (masked)
        p = v_select(v_int_above(v_load_int(s->limit + x * VW), key), p, v_zero());
    v_store(at, p);
    return p;
}

/* ---- values ---- */

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

/* Weights of a chain of keys, to be multiplied with its values. */
typedef struct chain_of_keys {
    const float *v;
    float *p;           /* [keys][LANES] */
    const vmask *live;  /* the same of a block that is run again */
    int32_t keys;       /* 0: nothing */
    int32_t vectors;    /* of its block */
    int32_t end[QV];    /* vector x has weights for keys below it only; does not fall with x */
    float *out;         /* of its block */
    int first;          /* of the block: there is no output yet */
    int rescale;        /* whether the old output is multiplied by alpha */
    const float *alpha; /* [LANES] */
} chain_of_keys;

/* The end of a register block of columns. */
INLINE void add_columns(
    const int columns, const int vectors, vec (*acc)[QV], const chain_of_keys *chain, int32_t first_column) {
    float *out = chain->out + first_column * LANES;
    if (chain->first) {
#pragma GCC unroll 16
        for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
            for (int x = 0; x < vectors; x++)
                v_store(out + c * LANES + x * VW, acc[c][x]);
        return;
    }
    if (chain->rescale) {
        vec alpha[QV];
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            alpha[x] = v_load(chain->alpha + x * VW);
#pragma GCC unroll 16
        for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
            for (int x = 0; x < vectors; x++)
                v_store(out + c * LANES + x * VW, v_fma(v_load(out + c * LANES + x * VW), alpha[x], acc[c][x]));
        return;
    }
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            v_store(out + c * LANES + x * VW, v_add(v_load(out + c * LANES + x * VW), acc[c][x]));
}

/* out[c] += sum_j v[j][c] * p[j] for columns from c on. */
INLINE void value_columns(const int columns, const int vectors, const int selecting, const chain_of_keys *chain,
    int64_t v_row, int32_t first_column) {
    vec acc[COLUMNS_SINGLE][QV];
    const float *v = chain->v + first_column, *p = chain->p;
    const vmask *live = chain->live;
    const int32_t *end = chain->end;
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            acc[c][x] = v_zero();
    int32_t j = 0;
    for (; j < end[0]; j++)
        value_step(columns, 0, vectors, selecting, v, v_row, p, live, j, acc);
    if (vectors > 1)
        for (; j < end[1]; j++)
            value_step(columns, 1, vectors, selecting, v, v_row, p, live, j, acc);
    if (vectors > 2)
        for (; j < end[2]; j++)
            value_step(columns, 2, vectors, selecting, v, v_row, p, live, j, acc);
    if (vectors > 3)
        for (; j < end[3]; j++)
            value_step(columns, 3, vectors, selecting, v, v_row, p, live, j, acc);
    add_columns(columns, vectors, acc, chain, first_column);
}

/* Columns c .. dim - 1. */
INLINE void value_chain(
    const int vectors, const int selecting, const chain_of_keys *chain, int64_t v_row, int32_t c, int32_t dim) {
    enum { FULL = COLUMNS_FULL };
#define COLUMNS(columns) value_columns(columns, vectors, selecting, chain, v_row, c)
    if (vectors == 1 && !selecting)
        for (; c + COLUMNS_SINGLE <= dim; c += COLUMNS_SINGLE)
            COLUMNS(COLUMNS_SINGLE);
    for (; c + FULL <= dim; c += FULL)
        COLUMNS(FULL);
    if (FULL > 4 && c + 4 <= dim) {
        COLUMNS(4);
        c += 4;
    }
    if (c + 2 <= dim) {
        COLUMNS(2);
        c += 2;
    }
    if (c < dim)
        COLUMNS(1);
#undef COLUMNS
}

#if INTERLEAVED
/*
 * A chain of both vectors, while the scores of another of CHAIN_KEYS keys, the first of them `key`, become weights: a
 * quarter of them beside each of the first four register blocks of columns.
 */
static __attribute__((noinline)) void finish_beside(const chain_of_keys *chain, int64_t v_row, int32_t dim,
    const int masked, softmax *soft, float *scores, int32_t key) {
    enum { PART = GATUN__CHAIN_KEYS / 4, BESIDE = 4 * COLUMNS_FULL };
    _Static_assert(QV == 2 && COLUMNS_FULL == 8 && LANES == 32, "the shape of products_beside");
    _Static_assert(offsetof(softmax, reference) == B_REFERENCE && offsetof(softmax, chain_sum) == B_SUM &&
                       offsetof(softmax, limit) == B_LIMIT,
        "its state");
    const int64_t row_bytes = v_row * (int64_t)sizeof(float);
    /* On the diagonal the first vector sees one half of the keys. */
    const int32_t full = chain->end[0] <= GATUN__CHAIN_KEYS / 2 ? PART / 2 : PART;
    const int32_t how = chain->first ? B_FIRST : chain->rescale ? B_RESCALED : B_ADDED;
    for (int32_t c = 0, done = 0; c < BESIDE; c += COLUMNS_FULL, done += PART) {
        float *at = scores + done * LANES, *out = chain->out + c * LANES;
        if (masked)
            products_beside_masked(
                chain->v + c, row_bytes, chain->p, at, key + done, full, PART - full, soft, out, chain->alpha, how);
        else
            products_beside(
                chain->v + c, row_bytes, chain->p, at, key + done, full, PART - full, soft, out, chain->alpha, how);
        prefetch_rows(soft->soon, PART * QV);
    }
    value_chain(QV, 0, chain, v_row, BESIDE, dim);
}
#endif

#define FINISH(n)                                                                                                      \
    static __attribute__((noinline)) void finish_##n(const chain_of_keys *chain, int64_t v_row, int32_t dim) {         \
        value_chain(n, 0, chain, v_row, 0, dim);                                                                       \
    }                                                                                                                  \
    static                                                                                                             \
        __attribute__((noinline)) void finish_selecting_##n(const chain_of_keys *chain, int64_t v_row, int32_t dim) {  \
        value_chain(n, 1, chain, v_row, 0, dim);                                                                       \
    }
EACH_VECTORS(FINISH)
#undef FINISH

/* A chain by itself. */
static void finish(const chain_of_keys *chain, int64_t v_row, int32_t dim) {
    typedef void finish_function(const chain_of_keys *chain, int64_t v_row, int32_t dim);
#define FINISH(n)           finish_##n,
#define FINISH_SELECTING(n) finish_selecting_##n,
    static finish_function *const functions[2][QV] = {{EACH_VECTORS(FINISH)}, {EACH_VECTORS(FINISH_SELECTING)}};
#undef FINISH
#undef FINISH_SELECTING
    if (chain->keys > 0)
        functions[chain->live != NULL][chain->vectors - 1](chain, v_row, dim);
}

/* ---- one tile of one block ---- */

enum { SCORE_CHAINS = GATUN__TILE_KEYS / GATUN__CHAIN_KEYS + 1 };

/* What a thread keeps from tile to tile. */
typedef struct tile_room {
    float *scores; /* [SCORE_CHAINS][CHAIN_KEYS][LANES], weights later; a ring of chains */
    int32_t next;  /* chain of the ring that the next tile begins with */
    vmask *live;   /* [TILE_KEYS][QV]: which are neither masked nor -inf */
    float *biases; /* or NULL */
    /* The tile's keys and values, where they lie or in the room for copies, which is NULL unless tiles are copied. */
    const float *k, *v;
    int64_t k_row, v_row;
    float *k_copy, *v_copy;
    chain_of_keys waiting;
    float *alpha[2]; /* [LANES] each: of the waiting chain's tile, and of this one */
    prefetcher soon;
} tile_room;

/* Nothing waits any more. */
static void finish_waiting(const gatun__attention_task *t, tile_room *room) {
    finish(&room->waiting, room->v_row, t->head_dim_v);
    room->waiting.keys = 0;
    if (!INTERLEAVED)
        room->next = 0;
}

INLINE void tile_of(const int vectors, const int biased, const gatun__attention_task *t, const block_state *b,
    int32_t first_key, int32_t keys, int select_all, tile_room *room, const float *biases) {
    enum { CHAIN = GATUN__CHAIN_KEYS };
    vmask *live = room->live;
    const float *k = room->k, *v = room->v;
    const int64_t k_row = room->k_row, v_row = room->v_row;
    const vec minus_inf = v_set1(-INFINITY);
    if (keys > b->limit_most - first_key)
        keys = b->limit_most - first_key;
    int32_t dense = b->limit_least - first_key;
    dense = dense < 0 ? 0 : dense > keys ? keys : dense;
    /* Chains before this key see no mask. */
    const int32_t masked_from = select_all ? 0 : dense == keys ? keys : dense / CHAIN * CHAIN;
    /* Keys that some lane of a vector sees: limits do not fall from lane to lane. */
    int32_t seen[QV];
    for (int x = 0; x < vectors; x++) {
        int32_t most = b->limit[(x + 1) * VW - 1] - first_key;
        seen[x] = most < 0 ? 0 : most > keys ? keys : most;
    }
    float *scores[SCORE_CHAINS - 1];
    int32_t chains = 0;
    for (; chains * CHAIN < keys; chains++) {
        scores[chains] = room->scores + room->next * CHAIN * LANES;
        room->next = room->next + 1 == SCORE_CHAINS ? 0 : room->next + 1;
    }

    vec maximum[QV], old_maximum[QV];
    for (int x = 0; x < vectors; x++)
        maximum[x] = old_maximum[x] = v_load(b->maximum + x * VW);
    stage s = {0};
    if (biased) {
        s.biases = biases;
        s.step = bias_step(t);
    }
    for (int32_t n = 0; n < chains; n++) {
        int32_t j = n * CHAIN, chain = keys - j < CHAIN ? keys - j : CHAIN;
        if (j < masked_from) {
            score_keys(vectors, biased, k + j * k_row, k_row, b->q, t->head_dim, j, chain, scores[n], &s, OF_ALL, NULL,
                0, maximum);
            if (vectors == 1) /* memory is the bound: half of what is due */
                prefetch_rows(&room->soon, (chain + 1) / 2);
            continue;
        }
        int32_t key = 0;
#define SCORES(x)                                                                                                      \
    if (vectors > x && key < seen[x] - j && key < chain) {                                                             \
        stage part = {.biases = biased ? s.biases + x * VW : NULL, .step = s.step};                                    \
        int32_t end = seen[x] - j < chain ? seen[x] - j : chain;                                                       \
        score_keys(vectors > x ? vectors - x : 1, biased, k + (j + key) * k_row, k_row, b->q + x * VW, t->head_dim,    \
            j + key, end - key, scores[n] + key * LANES + x * VW, &part, OF_SEEN, b->limit + x * VW, first_key,        \
            maximum + x);                                                                                              \
        key = end;                                                                                                     \
    }
        SCORES(0)
        SCORES(1)
        SCORES(2)
        SCORES(3)
#undef SCORES
        for (int x = 0; select_all && x < vectors; x++) {
            vint limit = v_load_int(b->limit + x * VW);
            for (int32_t i = 0; i < chain && j + i < seen[x]; i++)
                live[(j + i) * QV + x] = v_and_not_equal(
                    v_int_above(limit, first_key + j + i), v_load(scores[n] + i * LANES + x * VW), minus_inf);
        }
    }

    softmax soft __attribute__((aligned(64)));
    memcpy(soft.limit, b->limit, sizeof soft.limit);
    soft.soon = &room->soon;
    /* The waiting chain still needs its own. */
    float *const alpha = room->alpha[room->waiting.alpha == room->alpha[0]];
    for (int x = 0; x < vectors; x++) {
        /* A lane that has seen nothing but -inf keeps the maximum -inf; its scores are then taken against 0, which
         * leaves them -inf. */
        vec reference = v_select(v_equal(maximum[x], minus_inf), v_zero(), maximum[x]);
        vec rescaled = v_exp2(v_sub(old_maximum[x], reference));
        v_store(alpha + x * VW, v_select(v_equal(old_maximum[x], minus_inf), v_zero(), rescaled));
        v_store(soft.reference + x * VW, reference);
        v_store(soft.sum + x * VW, v_zero());
        v_store(soft.chain_sum + x * VW, v_zero());
    }

    for (int32_t n = 0; n < chains; n++) {
        const int32_t j = n * CHAIN, chain = keys - j < CHAIN ? keys - j : CHAIN;
        const int masked = j >= masked_from;
        const int together = INTERLEAVED && vectors == 2 && t->head_dim_v >= 4 * COLUMNS_FULL && !select_all &&
                             chain == CHAIN && room->waiting.keys == CHAIN && room->waiting.vectors == 2 &&
                             room->waiting.end[1] == CHAIN;
        chain_of_keys next = {.v = v + j * v_row,
            .p = scores[n],
            .live = select_all ? live + j * QV : NULL,
            .keys = chain,
            .vectors = vectors,
            .out = b->out,
            .first = first_key == 0 && n == 0,
            .rescale = n == 0,
            .alpha = alpha};
        for (int x = 0; x < vectors; x++)
            next.end[x] = seen[x] < j ? 0 : seen[x] - j < chain ? seen[x] - j : chain;
        if (together) {
#if INTERLEAVED
            finish_beside(&room->waiting, v_row, t->head_dim_v, masked, &soft, scores[n], first_key + j);
#endif
        } else {
            for (int x = 0; x < vectors; x++) {
                vec sum = v_zero();
                float *at = scores[n] + x * VW;
                /* finish_beside multiplies whole halves: what a vector does not see has to be 0. */
                const int32_t end = INTERLEAVED && chain == CHAIN ? CHAIN : next.end[x];
                if (masked)
                    for (int32_t i = 0; i < end; i++, at += LANES)
                        sum = v_add(sum, weigh(1, &soft, at, first_key + j + i, x));
                else
                    for (int32_t i = 0; i < chain; i++, at += LANES)
                        sum = v_add(sum, weigh(0, &soft, at, first_key + j + i, x));
                v_store(soft.chain_sum + x * VW, sum);
            }
            prefetch_rows(soft.soon, vectors == 1 ? chain / 2 : chain * vectors);
            finish(&room->waiting, v_row, t->head_dim_v);
        }
        for (int x = 0; x < vectors; x++) {
            v_store(soft.sum + x * VW, v_add(v_load(soft.sum + x * VW), v_load(soft.chain_sum + x * VW)));
            v_store(soft.chain_sum + x * VW, v_zero());
        }
        room->waiting = next;
        if (!INTERLEAVED || select_all)
            finish_waiting(t, room);
    }

    for (int x = 0; x < vectors; x++) {
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), v_load(alpha + x * VW), v_load(soft.sum + x * VW)));
        v_store(b->maximum + x * VW, maximum[x]);
    }
}

/* Without biases and with. */
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
EACH_VECTORS(TILE)
#undef TILE

#define TILE(n)        tile_##n,
#define BIASED_TILE(n) biased_tile_##n,
static tile_function *const tiles[2][QV] = {{EACH_VECTORS(TILE)}, {EACH_VECTORS(BIASED_TILE)}};
#undef TILE
#undef BIASED_TILE

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

/* Where the rows of lanes first .. first + lanes - 1 are, as offsets in elements. */
INLINE void find_rows(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first, int32_t lanes, int64_t at[VW]) {
    if (t->group == 1 && lanes == VW) {
        at[0] = first * row;
#pragma GCC unroll 16
        for (int32_t i = 1; i < VW; i++)
            at[i] = at[i - 1] + row;
        return;
    }
    place p = place_of(t, first);
    for (int32_t i = 0; i < lanes; i++, step(t, &p))
        at[i] = p.row * row + p.head * head;
}

/* to[d][lane] = q[at[lane] + d] * q_factor * q_power, for VW rows or, where `lanes` says so, for fewer: the others are 0. */
INLINE void transpose_rows(
    const gatun__attention_task *t, const int64_t at[VW], int32_t lanes, float *to, const int32_t stride) {
    const vec factor = v_set1(t->q_factor), power = v_set1(t->q_power);
    const int scaled = t->q_power != 1;
    for (int32_t d = 0; d < t->head_dim; d += VW) {
        int32_t count = t->head_dim - d < VW ? t->head_dim - d : VW;
        vec r[VW];
        if (lanes == VW && count == VW) {
#pragma GCC unroll 16
            for (int32_t i = 0; i < VW; i++)
                r[i] = v_load(t->q + at[i] + d);
            v_transpose(r);
            if (scaled)
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    r[i] = v_mul(r[i], power);
#pragma GCC unroll 16
            for (int32_t i = 0; i < VW; i++)
                v_store(to + (d + i) * stride, v_mul(r[i], factor));
            continue;
        }
        for (int32_t i = 0; i < VW; i++)
            r[i] = i >= lanes    ? v_zero()
                   : count == VW ? v_load(t->q + at[i] + d)
                                 : v_load_some(t->q + at[i] + d, count);
        v_transpose(r);
        for (int32_t i = 0; i < count; i++)
            v_store(to + (d + i) * stride, v_mul(v_mul(r[i], power), factor));
    }
}

static inline void transpose_queries(const gatun__attention_task *t, const block_state *b, const int32_t stride) {
    for (int32_t x = 0; x < b->vectors; x++) {
        int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        int64_t at[VW];
        find_rows(t, t->q_row, t->q_head, b->lane_begin + x * VW, lanes, at);
        transpose_rows(t, at, lanes, b->q + x * VW, stride);
    }
}

/* So many columns of the output are made 0: the first chain of a row does not read what is there. */
static void reset(const block_state *b, int32_t columns) {
    for (int32_t i = 0; i < LANES; i++) {
        b->maximum[i] = -INFINITY;
        b->sum[i] = 0;
    }
    if (columns > 0)
        memset(b->out, 0, (size_t)columns * LANES * sizeof(float));
}

static inline void set_limits(
    const gatun__attention_task *t, const block_state *b, int32_t *limits, const int32_t count) {
    int32_t i = 0;
    if (t->causal_limit >= t->keys) { /* all see all */
        for (; i < count; i++)
            limits[i] = (int32_t)t->keys;
        return;
    }
    const int64_t first = t->causal_limit + b->lane_begin;
    if (t->group == 1 && first > INT32_MIN && first < INT32_MAX - count) {
        const int32_t lanes = b->lanes, keys = (int32_t)t->keys, from = (int32_t)first;
        for (; i < lanes; i++)
            limits[i] = from + i < 0 ? 0 : from + i > keys ? keys : from + i;
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
    reset(b, b->limit_most > 0 ? 0 : t->head_dim_v);
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
        const vec minus_inf = v_set1(-INFINITY);
        vec ours = v_load(b->maximum + x * VW), theirs = v_load(b->merged_maximum + x * VW);
        vec maximum = v_max(theirs, ours);
        vec reference = v_select(v_equal(maximum, minus_inf), v_zero(), maximum);
        float old[VW], fresh[VW];
        v_store(old, v_select(v_equal(theirs, minus_inf), v_zero(), v_exp2(v_sub(theirs, reference))));
        v_store(fresh, v_select(v_equal(ours, minus_inf), v_zero(), v_exp2(v_sub(ours, reference))));
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
        int64_t at[VW];
        find_rows(t, t->out_row, t->out_head, b->lane_begin + x * VW, lanes, at);
        vec sum = v_load(b->sum + x * VW);
        vec inverse = v_select(v_equal(sum, v_zero()), v_zero(), v_div(v_set1(1.0f), sum));
        /* 0, or NaN where a result is not finite; several, so that none waits for the one before. */
        vec check[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int32_t c = 0; c < t->head_dim_v; c += VW) {
            const float *from = b->out + c * LANES + x * VW;
            int32_t count = t->head_dim_v - c < VW ? t->head_dim_v - c : VW;
            vec r[VW];
            if (lanes == VW && count == VW && !canonical_nan) {
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++) {
                    /* + 0 turns -0 into 0: the sign of an exact zero would depend on masked places. */
                    r[i] = v_add(v_mul(v_load(from + i * LANES), inverse), v_zero());
                    check[i % 4] = v_add(check[i % 4], v_sub(r[i], r[i]));
                }
                v_transpose(r);
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    v_store(t->out + at[i] + c, r[i]);
                continue;
            }
            for (int32_t i = 0; i < VW; i++) {
                r[i] = i < count ? v_add(v_mul(v_load(from + i * LANES), inverse), v_zero()) : v_zero();
                check[i % 4] = v_add(check[i % 4], v_sub(r[i], r[i]));
                if (canonical_nan)
                    r[i] = v_select(v_equal(r[i], r[i]), r[i], v_set1(NAN));
            }
            v_transpose(r);
            for (int32_t i = 0; i < lanes; i++) {
                if (count == VW)
                    v_store(t->out + at[i] + c, r[i]);
                else
                    v_store_some(t->out + at[i] + c, r[i], count);
            }
        }
        const vec all = v_add(v_add(check[0], check[1]), v_add(check[2], check[3]));
        if (lanes == VW) {
            bad |= !v_every(v_equal(all, v_zero()));
            continue;
        }
        /* A lane that does not exist may be NaN where no other is: 0 times an infinite key. */
        float checks[VW];
        v_store(checks, all);
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
            *to = (float)((double)b->maximum[i] * GATUN__LOG_2 + log((double)sum));
    }
}

/* ---- the task ---- */

/* What is read after the tile of keys first_key .. first_key + keys - 1, of `most`, to be fetched while
 * `weights` vectors of weights are made of it. */
static void expect_next(
    const gatun__attention_task *t, int32_t first_key, int32_t keys, int32_t most, int32_t weights, prefetcher *soon) {
    const int32_t bytes = t->head_dim * (int32_t)sizeof(float), bytes_v = t->head_dim_v * (int32_t)sizeof(float);
    const int32_t left = most - first_key - keys, next = left < GATUN__TILE_KEYS ? left : GATUN__TILE_KEYS;
    memset(soon, 0, sizeof *soon);
    soon->past_l1 = t->collide;
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
    soon->rows = rows;
    soon->weights = weights < 4 ? 1 : weights - weights / 4; /* the last ones have to arrive, too */
}

static void copy_rows(const float *from, int64_t row, int32_t rows, int32_t dim, float *to) {
    for (int32_t r = 0; r < rows; r++, from += row, to += dim)
        memcpy(to, from, (size_t)dim * sizeof(float));
}

/* Keys first_key .. first_key + keys - 1 are the tile. */
static void take_tile(const gatun__attention_task *t, int32_t first_key, int32_t keys, tile_room *room) {
    room->k = t->k + first_key * t->k_row;
    room->v = t->v + first_key * t->v_row;
    if (room->k_copy == NULL)
        return;
    finish_waiting(t, room); /* its values are where these will be */
    copy_rows(room->k, t->k_row, keys, t->head_dim, room->k_copy);
    copy_rows(room->v, t->v_row, keys, t->head_dim_v, room->v_copy);
    room->k = room->k_copy;
    room->v = room->v_copy;
}

/* All keys for blocks first .. first + count - 1, which begin_block or reset has prepared. */
static void run_keys(
    const gatun__attention_task *t, const block_state *blocks, int32_t count, int select_all, tile_room *room) {
    int32_t most = 0;
    for (int32_t i = 0; i < count; i++)
        most = blocks[i].limit_most > most ? blocks[i].limit_most : most;
    int merged = most > GATUN__SPLIT_KEYS;
    const int biased = room->biases != NULL;
    room->k_row = room->k_copy != NULL ? t->head_dim : t->k_row;
    room->v_row = room->v_copy != NULL ? t->head_dim_v : t->v_row;
    for (int32_t split = 0; split < most; split += GATUN__SPLIT_KEYS) {
        int32_t end = most - split < GATUN__SPLIT_KEYS ? most : split + GATUN__SPLIT_KEYS;
        for (int32_t key = split; key < end; key += GATUN__TILE_KEYS) {
            int32_t keys = end - key < GATUN__TILE_KEYS ? end - key : GATUN__TILE_KEYS;
            if (biased)
                fill_biases(t, blocks[0].lane_begin, (count - 1) * LANES + blocks[count - 1].vectors * VW, key, keys,
                    room->biases);
            take_tile(t, key, keys, room);
            if (INTERLEAVED) {
                int32_t weights = 0;
                for (int32_t i = 0; i < count; i++) {
                    int32_t seen = blocks[i].limit_most - key;
                    weights += (seen < 0 ? 0 : seen > keys ? keys : seen) * blocks[i].vectors;
                }
                expect_next(t, key, keys, most, weights, &room->soon);
            }
            for (int32_t i = 0; i < count; i++)
                if (key < blocks[i].limit_most)
                    tiles[biased][blocks[i].vectors - 1](t, &blocks[i], key, keys, select_all, room,
                        biased ? room->biases + i * LANES + (keys - 1) * bias_step(t) : NULL);
        }
        if (merged || end == most)
            finish_waiting(t, room);
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

/* A task of one head. */
static void attention_head(gatun__attention_task *t) {
    _Static_assert(LANES <= GATUN__MAX_BLOCK_LANES, "a block fits the arrays of the plan");
    _Static_assert(QV * sizeof(vmask) <= LANES * sizeof(float), "masks fit the scratch that the plan gives them");
    char *scratch = t->scratch;
    tile_room room = {.scores = carve(&scratch, LANES * (GATUN__TILE_KEYS + GATUN__CHAIN_KEYS) * sizeof(float))};
    for (int i = 0; i < 2; i++)
        room.alpha[i] = carve(&scratch, LANES * sizeof(float));
    room.live = carve(&scratch, LANES * GATUN__TILE_KEYS * sizeof(float));
    if (is_biased(t))
        room.biases = carve(&scratch, (size_t)gatun__bias_floats(t->group, (int64_t)t->blocks * LANES) * sizeof(float));
    if (t->copy_tiles) {
        room.k_copy = carve(&scratch, GATUN__TILE_KEYS * (size_t)t->head_dim * sizeof(float));
        room.v_copy = carve(&scratch, GATUN__TILE_KEYS * (size_t)t->head_dim_v * sizeof(float));
    }
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

#include "attention_tiny_f32.h"

static void attention_f32(gatun__attention_task *t) {
    if (is_tiny(t))
        attention_tiny(t);
    else if (t->heads == 1)
        attention_head(t);
    else
        for (int64_t head = 0; head < t->heads; head++) {
            gatun__attention_task one = gatun__head_of(t, head);
            attention_head(&one);
            t->redone += one.redone;
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
