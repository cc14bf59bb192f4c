/*
 * Forward attention in float32 for at most GATUN__DECODE_ROWS query rows, as when decoding, for every tier: included by each
 * attention_f32_<tier>.c after attention_f32.h, whose vectors it uses.
 *
 * Axes: B batch rows, H query heads, G key/value heads (H / G of the query heads share one: a group), S_q query rows, S_k keys,
 * D head_dim, D_v head_dim_v. A lane is a pair (query row, head of the group).
 *   q [queries][D] and out [queries][D_v] in scratch, a query being a lane of the task; k [S_k][D], v [S_k][D_v] where they lie
 *   scores and probs [4][TILE_KEYS]
 *
 * Algorithm: lanes of a vector are elements of a head, since there are too few queries to fill vectors. Up to 4 queries
 * (rows, or heads of a group) share every key and value that is loaded.
 *   Pass 1  decode_scores: scores[query][key] = sum_d k[key][d] * q[query][d], VW of them at a time: VW / queries keys x queries
 *           accumulators along d, then v_sums, which adds up the lanes of each in the same order.
 *   Pass 2  softmax of a tile of TILE_KEYS keys, along keys: prob = 2^(score - maximum).
 *   Pass 3  decode_columns: out[query][c] += sum_key v[key][c] * prob[query][key], a register block of queries x DECODE_COLUMNS
 *           vectors of columns (DECODE_COLUMNS_SINGLE for one query), in chains of CHAIN_KEYS keys from 0.
 *   Pass 4  decode_merge: every SPLIT_KEYS keys the float results are merged into doubles. Where parts of the keys are tasks of
 *           their own they store these results, and whoever ends last merges them as one task would have.
 * Keys and values are read once from where they lie, and prefetched some kilobytes ahead all the time: memory is the bound.
 *
 * How many queries go side by side cannot change a bit: each score and each output is made by the same operations.
 * Masks, NaN and the second run are as in attention_f32.h.
 *
 * The including file defines DECODE_COLUMNS and DECODE_COLUMNS_SINGLE.
 */

/* All queries of a task, one after the other. */
typedef struct decode_state {
    float *q;   /* [queries][head_dim] */
    float *out; /* [queries][head_dim_v] */
    float *maximum, *sum;
    int32_t *first, *limit; /* begin and end of its key_range; they do not fall */
    double *merged_out, *merged_sum;
    float *merged_maximum;
    float *scores; /* [4][TILE_KEYS], probs later */
    float *biases; /* [TILE_KEYS] of one query */
    uint8_t *seen; /* [TILE_KEYS]: which a mask shows */
    uint8_t *live; /* [4][TILE_KEYS]: which are neither masked nor -inf */
} decode_state;

/* How far ahead keys are prefetched: less does not hide memory, more evicts what is still to be used. */
enum { DECODE_AHEAD_BYTES = 8192 };

/* Rows ahead: a power of two, so that a register block's are all in the same tile. */
INLINE int32_t decode_ahead(int32_t dim) {
    int32_t rows = GATUN__TILE_KEYS;
    while (rows > VW && rows * dim * KV_BYTES > DECODE_AHEAD_BYTES)
        rows /= 2;
    return rows;
}

/*
 * Rows to prefetch, line after line in the order of their addresses, whatever the order in which a register block uses its
 * own: memory is half as fast again that way. Addresses may lie past the last row.
 */
typedef struct decode_walk {
    uintptr_t row, row_bytes;
    int32_t at, dim; /* elements */
} decode_walk;

INLINE decode_walk decode_walk_from(const float *rows, int64_t first, int64_t row, int32_t dim) {
    const uintptr_t row_bytes = (uintptr_t)row * KV_BYTES;
    return (decode_walk){(uintptr_t)rows + (uintptr_t)first * row_bytes, row_bytes, 0, dim};
}

INLINE void decode_fetch(decode_walk *w, const int elements) {
    enum { LINE = 64 / KV_BYTES };
#pragma GCC unroll 16
    for (int x = 0; x < elements; x += LINE)
        __builtin_prefetch((const void *)(w->row + (uintptr_t)(w->at + x) * KV_BYTES));
    w->at += elements;
    if (w->at >= w->dim) {
        w->at = 0;
        w->row += w->row_bytes;
    }
}

INLINE void decode_scores(const int queries, const float *k, int64_t k_row, int32_t dim, const float *const q[4],
    int32_t keys, float *scores, const float *coming, int64_t coming_row) {
    enum { MOST = VW };
    const int rows = VW / queries;
    const int32_t ahead = decode_ahead(dim);
    for (int32_t key = 0; key < keys; key += rows) {
        const float *row[MOST];
        vec acc[MOST];
        const int inside = key + ahead + rows <= keys;
        decode_walk soon = inside ? decode_walk_from(k, key + ahead, k_row, dim)
                                  : decode_walk_from(coming, key + ahead - keys, coming_row, dim);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            row[i] = k + (key + i < keys ? key + i : keys - 1) * k_row;
#pragma GCC unroll 16
        for (int i = 0; i < VW; i++)
            acc[i] = v_zero();
        int32_t d = 0;
        for (; d + VW <= dim; d += VW) {
            vec query[4];
            decode_fetch(&soon, rows * VW);
#pragma GCC unroll 4
            for (int x = 0; x < queries; x++)
                query[x] = v_load(q[x] + d);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                vec element = v_load(row[i] + d);
#pragma GCC unroll 4
                for (int x = 0; x < queries; x++)
                    acc[x * rows + i] = v_fma(element, query[x], acc[x * rows + i]);
            }
        }
        if (d < dim) {
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                vec element = v_load_some(row[i] + d, dim - d);
#pragma GCC unroll 4
                for (int x = 0; x < queries; x++)
                    acc[x * rows + i] = v_fma(element, v_load_some(q[x] + d, dim - d), acc[x * rows + i]);
            }
        }
        float sums[VW];
        v_store(sums, v_sums(acc));
#pragma GCC unroll 4
        for (int x = 0; x < queries; x++)
            memcpy(scores + x * GATUN__TILE_KEYS + key, sums + x * rows, (size_t)rows * sizeof(float));
    }
}

/* out[x][c] += sum_j v[j][c] * p[x][j] over the keys of a chain, below end[x]; of the queries `count` are written. */
INLINE void decode_columns(const int queries, const int vectors, const int32_t some, int select_all, const float *v,
    int64_t v_row, decode_walk *soon, const float *p, const uint8_t *live, const int32_t end[4], int32_t count,
    float *const out[4], int rescale, const float alpha[4]) {
    vec acc[4][DECODE_COLUMNS_SINGLE];
    int32_t all = select_all ? 0 : end[0], most = 0;
#pragma GCC unroll 4
    for (int x = 0; x < queries; x++) {
        all = end[x] < all ? end[x] : all;
        most = end[x] > most ? end[x] : most;
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            acc[x][c] = v_zero();
    }
    int32_t j = 0;
    for (; j < all; j++) {
        vec value[DECODE_COLUMNS_SINGLE];
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            value[c] = some > 0 ? v_load_some(v + j * v_row + c * VW, some) : v_load(v + j * v_row + c * VW);
        decode_fetch(soon, vectors * VW);
#pragma GCC unroll 4
        for (int x = 0; x < queries; x++) {
            vec prob = v_set1(p[x * GATUN__TILE_KEYS + j]);
#pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                acc[x][c] = v_fma(value[c], prob, acc[x][c]);
        }
    }
    for (; j < most; j++)
#pragma GCC unroll 4
        for (int x = 0; x < queries; x++) {
            if (j >= end[x] || (select_all && !live[x * GATUN__TILE_KEYS + j]))
                continue;
            vec prob = v_set1(p[x * GATUN__TILE_KEYS + j]);
#pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                acc[x][c] = v_fma(some > 0 ? v_load_some(v + j * v_row + c * VW, some) : v_load(v + j * v_row + c * VW),
                    prob, acc[x][c]);
        }
#pragma GCC unroll 4
    for (int x = 0; x < queries; x++) {
        if (x >= count)
            break;
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) {
            float *to = out[x] + c * VW;
            vec old = some > 0 ? v_load_some(to, some) : v_load(to);
            vec sum = rescale ? v_fma(old, v_set1(alpha[x]), acc[x][c]) : v_add(old, acc[x][c]);
            if (some > 0)
                v_store_some(to, sum, some);
            else
                v_store(to, sum);
        }
    }
}

/* Scores of one query and a tile of keys: capped, with biases, -inf where masked. Up to a vector more than `keys` are written. */
static void decode_change(const gatun__attention_task *t, const decode_state *f, int32_t lane, int32_t first_key,
    int32_t keys, float *scores) {
    const float cap = t->changes->softcap;
    for (int32_t j = 0; cap > 0 && j < keys; j += VW)
        v_store(scores + j, capped(v_load(scores + j), cap));
    const place p = place_of(t, t->lane_begin + lane);
    if (has_biases(t)) {
        row_biases(t, p.row, p.head, first_key, keys, f->biases);
        for (int32_t j = 0; j < keys; j += VW)
            v_store(scores + j, add_bias(v_load(scores + j), v_load(f->biases + j)));
    }
    if (has_masks(t) && row_mask(t, p.row, p.head, first_key, keys, f->seen) != SEES_ALL)
        for (int32_t j = 0; j < keys; j += VW)
            v_store(
                scores + j, v_select(v_equal(v_load_u8(f->seen + j), v_zero()), v_set1(-INFINITY), v_load(scores + j)));
    for (int32_t j = 0; j < keys && first_key + j < f->first[lane]; j++)
        scores[j] = -INFINITY;
}

/* One tile for queries first .. first + count - 1, at most `queries`: the last stands in for those that are not there. */
INLINE void decode_tile(const int queries, const gatun__attention_task *t, const decode_state *f, int32_t first,
    int32_t count, int32_t first_key, int32_t keys, const float *next_k, int select_all) {
    /* FETCHED: elements to prefetch with each vector of probs, so that memory does not wait for exponentials. */
    enum { CHAIN = GATUN__CHAIN_KEYS, TILE = GATUN__TILE_KEYS, FETCHED = 4 * VW };
    const float *k = t->k + first_key * t->k_row, *v = t->v + first_key * t->v_row;
    const float *q[4];
    float *out[4];
    int32_t end[4], most = 0;
    for (int x = 0; x < queries; x++) {
        int32_t lane = first + (x < count ? x : count - 1);
        q[x] = f->q + (int64_t)lane * t->head_dim;
        out[x] = f->out + (int64_t)lane * t->head_dim_v;
        int32_t seen = f->limit[lane] - first_key;
        end[x] = seen < 0 ? 0 : seen > keys ? keys : seen;
        most = end[x] > most ? end[x] : most;
    }
    if (most == 0)
        return;
    decode_scores(queries, k, t->k_row, t->head_dim, q, most, f->scores, v, t->v_row);
    for (int x = 0; t->changes->any && x < queries; x++)
        decode_change(t, f, first + (x < count ? x : count - 1), first_key, end[x], f->scores + x * TILE);

    vec maxima[VW], sums[VW];
    for (int x = 0; x < VW; x++) {
        maxima[x] = v_set1(-INFINITY);
        sums[x] = v_zero();
    }
    for (int x = 0; x < queries; x++) {
        float *s = f->scores + x * TILE;
        for (int32_t j = end[x]; j < (end[x] + VW - 1) / VW * VW; j++)
            s[j] = -INFINITY;
        for (int32_t j = 0; j < end[x]; j += VW)
            maxima[x] = v_max(maxima[x], v_load(s + j));
        for (int32_t j = 0; select_all && j < end[x]; j++)
            f->live[x * TILE + j] = s[j] != -INFINITY;
    }
    float maximum[VW], alpha[VW], reference[VW] = {0}, old[VW] = {0}, sum[VW] = {0};
    v_store(maximum, v_maxima(maxima));
    for (int x = 0; x < queries; x++) {
        old[x] = f->maximum[first + (x < count ? x : count - 1)];
        maximum[x] = maximum[x] > old[x] ? maximum[x] : old[x];
        reference[x] = maximum[x] == -INFINITY ? 0 : maximum[x];
        sum[x] = f->sum[first + (x < count ? x : count - 1)];
    }
    const vec before = v_load(old), rescaled = v_exp2(v_sub(before, v_load(reference)));
    v_store(alpha, v_select(v_equal(before, v_set1(-INFINITY)), v_zero(), rescaled));
    decode_walk values_soon = decode_walk_from(v, decode_ahead(t->head_dim), t->v_row, t->head_dim_v);
    for (int x = 0; x < queries; x++) {
        float *s = f->scores + x * TILE;
        const vec minus = v_set1(reference[x]);
        int32_t j = 0;
        for (; j + VW <= end[x]; j += VW) {
            decode_fetch(&values_soon, FETCHED);
            vec p = v_exp2(v_sub(v_load(s + j), minus));
            sums[x] = v_add(sums[x], p);
            v_store(s + j, p);
        }
        if (j < end[x]) {
            v_store(s + j, v_exp2(v_sub(v_load(s + j), minus)));
            sums[x] = v_add(sums[x], v_load_some(s + j, end[x] - j));
        }
    }
    v_store(sum, v_fma(v_load(sum), v_load(alpha), v_sums(sums)));

    /* At least as many values as all passes over the columns of a chain go through. */
    const int32_t ahead = decode_ahead(t->head_dim_v) < CHAIN ? CHAIN : decode_ahead(t->head_dim_v);
    for (int32_t j = 0; j < most; j += CHAIN) {
        int32_t chain[4];
        for (int x = 0; x < queries; x++)
            chain[x] = end[x] < j ? 0 : end[x] - j < CHAIN ? end[x] - j : CHAIN;
        const float *p = f->scores + j;
        const uint8_t *live = f->live + j;
        const float *values = v + j * t->v_row;
        decode_walk soon = j + ahead + CHAIN <= most
                               ? decode_walk_from(v, j + ahead, t->v_row, t->head_dim_v)
                               : decode_walk_from(next_k, j + ahead - most, t->k_row, t->head_dim);
        int32_t c = 0;
#define COLUMNS(vectors, some)                                                                                         \
    do {                                                                                                               \
        float *const to[4] = {                                                                                         \
            out[0] + c, out[queries > 1 ? 1 : 0] + c, out[queries > 2 ? 2 : 0] + c, out[queries > 2 ? 3 : 0] + c};     \
        decode_columns(queries, vectors, some, select_all, values + c, t->v_row, &soon, p, live, chain, count, to,     \
            j == 0, alpha);                                                                                            \
    } while (0)
        enum { SINGLE = DECODE_COLUMNS_SINGLE, SEVERAL = DECODE_COLUMNS };
        if (queries == 1)
            for (; c + SINGLE * VW <= t->head_dim_v; c += SINGLE * VW)
                COLUMNS(SINGLE, 0);
        for (; c + SEVERAL * VW <= t->head_dim_v; c += SEVERAL * VW)
            COLUMNS(SEVERAL, 0);
        for (; c + VW <= t->head_dim_v; c += VW)
            COLUMNS(1, 0);
        if (c < t->head_dim_v)
            COLUMNS(1, t->head_dim_v - c);
#undef COLUMNS
    }
    for (int x = 0; x < count; x++) {
        f->sum[first + x] = sum[x];
        f->maximum[first + x] = maximum[x];
    }
}

#define DECODE_TILE(n)                                                                                                 \
    static __attribute__((noinline)) void decode_tile_##n(const gatun__attention_task *t, const decode_state *f,       \
        int32_t first, int32_t count, int32_t first_key, int32_t keys, const float *next_k, int select_all) {          \
        decode_tile(n, t, f, first, count, first_key, keys, next_k, select_all);                                       \
    }
DECODE_TILE(1)
DECODE_TILE(2)
DECODE_TILE(4)
#undef DECODE_TILE

static void decode_reset(const gatun__attention_task *t, const decode_state *f, int32_t first, int32_t count) {
    for (int32_t i = first; i < first + count; i++) {
        f->maximum[i] = -INFINITY;
        f->sum[i] = 0;
    }
    memset(f->out + (int64_t)first * t->head_dim_v, 0, (size_t)count * (size_t)t->head_dim_v * sizeof(float));
}

/* As merge_split of attention_block_f32.h. */
static void decode_merge(
    const gatun__attention_task *t, const decode_state *f, int32_t first, int32_t count, int is_first) {
    for (int32_t i = first; i < first + count; i++) {
        double *merged = f->merged_out + (int64_t)i * t->head_dim_v;
        const float *out = f->out + (int64_t)i * t->head_dim_v;
        if (is_first) {
            f->merged_maximum[i] = -INFINITY;
            f->merged_sum[i] = 0;
            memset(merged, 0, (size_t)t->head_dim_v * sizeof *merged);
        }
        float ours = f->maximum[i], theirs = f->merged_maximum[i], maximum = theirs > ours ? theirs : ours;
        float reference = maximum == -INFINITY ? 0 : maximum, factors[VW] = {theirs, ours};
        v_store(factors, v_exp2(v_sub(v_load(factors), v_set1(reference))));
        double keep = theirs == -INFINITY ? 0 : (double)factors[0], take = ours == -INFINITY ? 0 : (double)factors[1];
        f->merged_maximum[i] = maximum;
        f->merged_sum[i] = f->merged_sum[i] * keep + (double)f->sum[i] * take;
        for (int32_t c = 0; c < t->head_dim_v; c++)
            merged[c] = merged[c] * keep + (double)out[c] * take;
    }
    decode_reset(t, f, first, count);
}

static void decode_take_merged(const gatun__attention_task *t, const decode_state *f, int32_t first, int32_t count) {
    for (int32_t i = first; i < first + count; i++) {
        f->maximum[i] = f->merged_maximum[i];
        f->sum[i] = (float)f->merged_sum[i];
        for (int32_t c = 0; c < t->head_dim_v; c++)
            f->out[(int64_t)i * t->head_dim_v + c] = (float)f->merged_out[(int64_t)i * t->head_dim_v + c];
    }
}

/* The keys key .. end - 1 of one split; keys of this task end at `last`. */
static void decode_split(const gatun__attention_task *t, const decode_state *f, int32_t first, int32_t count,
    int32_t key, int32_t end, int32_t last, int select_all) {
    const int32_t begin = f->first[first];
    for (; key < end; key += GATUN__TILE_KEYS) {
        int32_t keys = end - key < GATUN__TILE_KEYS ? end - key : GATUN__TILE_KEYS;
        if (key + keys <= begin)
            continue;
        /* Where there is no next tile, this one, which is in the cache already. */
        const float *next_k = t->k + (key + keys < last ? key + keys : key) * t->k_row;
        if (key + keys >= last && t->next_k != NULL)
            next_k = t->next_k;
        for (int32_t i = 0; i < count; i += 4) {
            int32_t some = count - i < 4 ? count - i : 4;
            (some == 1      ? decode_tile_1
                : some == 2 ? decode_tile_2
                            : decode_tile_4)(t, f, first + i, some, key, keys, next_k, select_all);
        }
    }
}

/* The task whose keys key .. end - 1 are floats: t, or a copy of it. */
static const gatun__attention_task *take_split(
    const gatun__attention_task *t, int32_t key, int32_t end, gatun__attention_task *copy) {
    if (t->widen == NULL)
        return t;
    const int32_t keys = end - key;
    float *k = t->widened, *v = k + (int64_t)keys * t->head_dim;
    t->widen(gatun__row_at(t, t->k, t->k_row, key), t->k_row, keys, t->head_dim, t->kv_dtype, k);
    t->widen(gatun__row_at(t, t->v, t->v_row, key), t->v_row, keys, t->head_dim_v, t->kv_dtype, v);
    *copy = *t;
    copy->k = k - (int64_t)key * t->head_dim;
    copy->k_row = t->head_dim;
    copy->v = v - (int64_t)key * t->head_dim_v;
    copy->v_row = t->head_dim_v;
    return copy;
}

/* All keys for queries first .. first + count - 1, which decode_reset has prepared. */
static void decode_keys(
    const gatun__attention_task *t, const decode_state *f, int32_t first, int32_t count, int select_all) {
    const int32_t most = f->limit[first + count - 1], begin = f->first[first] / GATUN__SPLIT_KEYS * GATUN__SPLIT_KEYS;
    int merged = most - begin > GATUN__SPLIT_KEYS;
    for (int32_t split = begin; split < most; split += GATUN__SPLIT_KEYS) {
        int32_t end = most - split < GATUN__SPLIT_KEYS ? most : split + GATUN__SPLIT_KEYS;
        gatun__attention_task copy;
        decode_split(take_split(t, split, end, &copy), f, first, count, split, end, most, select_all);
        if (merged)
            decode_merge(t, f, first, count, split == begin);
    }
    if (merged)
        decode_take_merged(t, f, first, count);
}

/* The same with the results of a split in the task's partials. */
static decode_state decode_partial(
    const gatun__attention_task *t, const decode_state *f, int32_t count, int64_t split) {
    decode_state partial = *f;
    partial.out = (float *)(void *)(t->partials + split * t->partial_bytes);
    partial.maximum = partial.out + (int64_t)count * t->head_dim_v;
    partial.sum = partial.maximum + count;
    return partial;
}

/* What decode_keys does for the splits of a part, up to their results. */
static void decode_part(const gatun__attention_task *t, const decode_state *f, int32_t count) {
    enum { SPLIT = GATUN__SPLIT_KEYS };
    const int64_t all = f->limit[count - 1], begin_split = f->first[0] / SPLIT;
    const int32_t last = (int32_t)(t->split_end * SPLIT < all ? t->split_end * SPLIT : all);
    for (int64_t split = t->split_begin < begin_split ? begin_split : t->split_begin; split * SPLIT < last; split++) {
        const decode_state partial = decode_partial(t, f, count, split);
        const int32_t begin = (int32_t)split * SPLIT, end = last - begin < SPLIT ? last : begin + SPLIT;
        decode_reset(t, &partial, 0, count);
        gatun__attention_task copy;
        decode_split(take_split(t, begin, end, &copy), &partial, 0, count, begin, end, last, 0);
    }
}

/* Merges the results of all parts, in the order of their keys. */
static void decode_parts(const gatun__attention_task *t, const decode_state *f, int32_t count) {
    const int32_t most = f->limit[count - 1], begin = f->first[0] / GATUN__SPLIT_KEYS,
                  splits = (most + GATUN__SPLIT_KEYS - 1) / GATUN__SPLIT_KEYS;
    for (int32_t split = begin; split < splits; split++) {
        const decode_state partial = decode_partial(t, f, count, split);
        if (splits - begin > 1)
            decode_merge(t, &partial, 0, count, split == begin);
        else {
            memcpy(f->out, partial.out, (size_t)count * (size_t)t->head_dim_v * sizeof(float));
            memcpy(f->maximum, partial.maximum, (size_t)count * sizeof(float));
            memcpy(f->sum, partial.sum, (size_t)count * sizeof(float));
        }
    }
    if (splits - begin > 1)
        decode_take_merged(t, f, 0, count);
}

/* As add_sinks of attention_block_f32.h, of one query. */
static void decode_add_sink(const gatun__attention_task *t, const decode_state *f, int32_t i) {
    const float ours = f->maximum[i], sink = sink_of(t, place_of(t, t->lane_begin + i).head);
    if (sink == -INFINITY)
        return;
    const float maximum = ours > sink || ours != ours ? ours : sink;
    float factors[VW] = {ours, sink};
    v_store(factors, v_exp2(v_sub(v_load(factors), v_set1(maximum))));
    const float keep = ours == -INFINITY ? 0 : factors[0];
    f->sum[i] = f->sum[i] * keep + factors[1];
    f->maximum[i] = maximum;
    for (int32_t c = 0; keep != 1 && c < t->head_dim_v; c++)
        f->out[(int64_t)i * t->head_dim_v + c] *= keep;
}

/* Rows out / sum. Returns nonzero if a result is not finite, or lost (has_lost). */
static int decode_write(const gatun__attention_task *t, const decode_state *f, int32_t i, int canonical_nan) {
    const place p = place_of(t, t->lane_begin + i);
    float *row = t->out + p.row * t->out_row + p.head * t->out_head;
    const float *out = f->out + (int64_t)i * t->head_dim_v;
    const vec inverse = f->sum[i] == 0 ? v_zero() : v_div(v_set1(1), v_set1(f->sum[i]));
    vec check = v_zero();
    for (int32_t c = 0; c < t->head_dim_v; c += VW) {
        int32_t some = t->head_dim_v - c < VW ? t->head_dim_v - c : VW;
        vec r = v_add(v_mul(some == VW ? v_load(out + c) : v_load_some(out + c, some), inverse), v_zero());
        check = v_fma(r, v_zero(), check);
        if (canonical_nan)
            r = v_select(v_equal(r, r), r, v_set1(NAN));
        if (some == VW)
            v_store(row + c, r);
        else
            v_store_some(row + c, r, some);
    }
    float checks[VW];
    v_store(checks, check);
    for (int32_t x = 0; x < VW; x++)
        if (checks[x] != 0)
            return 1;
    return f->sum[i] == 0 && f->limit[i] > f->first[i];
}

void KERNEL(attention_decode_f32)(gatun__attention_task *t) {
    enum { TILE = GATUN__TILE_KEYS, LIVE_BYTES = LANES * TILE * sizeof(float) };
    _Static_assert(LANES >= 8, "four rows of scores, biases and a mask fit the scratch of a block's");
    _Static_assert(LIVE_BYTES - 4 * TILE >= GATUN__MAX_BLOCKS * LANES * sizeof(int32_t), "and firsts behind live ones");
    char *scratch = t->scratch;
    decode_state f;
    f.scores = carve_floats(&scratch, LANES * GATUN__TILE_KEYS);
    f.biases = f.scores + 4 * TILE;
    f.seen = (uint8_t *)(f.scores + 6 * TILE);
    f.live = carve(&scratch, LIVE_BYTES);
    f.first = (int32_t *)(void *)(f.live + 4 * TILE);
    const int32_t count = (int32_t)(t->lane_end - t->lane_begin);
    const size_t lanes = (size_t)count;
    f.q = carve_floats(&scratch, lanes * (size_t)t->head_dim);
    f.out = carve_floats(&scratch, lanes * (size_t)t->head_dim_v);
    f.limit = carve(&scratch, lanes * sizeof(int32_t));
    f.maximum = carve_floats(&scratch, lanes);
    f.sum = carve_floats(&scratch, lanes);
    if (t->visible.keys > GATUN__SPLIT_KEYS) {
        f.merged_out = carve(&scratch, lanes * (size_t)t->head_dim_v * sizeof(double));
        f.merged_sum = carve(&scratch, lanes * sizeof(double));
        f.merged_maximum = carve_floats(&scratch, lanes);
    }
    for (int32_t i = 0; i < count; i++) {
        const place p = place_of(t, t->lane_begin + i);
        const gatun__keys keys = gatun__key_range(&t->visible, p.row);
        f.first[i] = (int32_t)keys.first;
        f.limit[i] = (int32_t)keys.end;
        const float *row = t->q + p.row * t->q_row + p.head * t->q_head;
        for (int32_t d = 0; d < t->head_dim; d++)
            f.q[(int64_t)i * t->head_dim + d] = row[d] * t->q_factor * t->q_power;
    }
    if (t->partials != NULL && t->split_begin < t->split_end) {
        decode_part(t, &f, count);
        return;
    }
    decode_reset(t, &f, 0, count);
    if (t->partials != NULL)
        decode_parts(t, &f, count);
    else
        decode_keys(t, &f, 0, count, 0);
    for (int32_t i = 0; i < count; i++) {
        /* Of keys alone, as in attention_f32.h. */
        float own = f.maximum[i];
        const int sinks = t->changes->sinks != NULL, lost = sinks && f.sum[i] == 0 && f.limit[i] > f.first[i];
        if (sinks)
            decode_add_sink(t, &f, i);
        const int again = decode_write(t, &f, i, 0) | lost;
        if (again) {
            t->redone++;
            decode_reset(t, &f, i, 1);
            decode_keys(t, &f, i, 1, 1);
            own = f.maximum[i];
            if (sinks)
                decode_add_sink(t, &f, i);
            decode_write(t, &f, i, 1);
        }
        if (t->lse != NULL) {
            const place p = place_of(t, t->lane_begin + i);
            float *to = t->lse + p.row * t->lse_row + p.head * t->lse_head, sum = f.sum[i];
            *to = sum == 0     ? -INFINITY
                  : sum != sum ? NAN
                               : (float)((double)f.maximum[i] * GATUN__LOG_2 + log((double)sum));
        }
        if (again)
            wide_rows(t, t->lane_begin + i, 1, &own, f.scores);
    }
}
