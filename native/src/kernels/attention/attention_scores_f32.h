/*
 * Scores of a tile, pass 2 of attention_f32.h, whose part this is: products of keys and queries, and what is added to them
 * (biases). Register block: up to ROWS_FULL keys x QV vectors of queries (ROWS_SINGLE x 1), each key element broadcast from
 * memory, each vector of queries loaded once per block.
 *
 * Axes: see attention_f32.h. k [S_k][D] of one key/value head, q [D][LANES] and scores [TILE_KEYS][LANES] of one block.
 */

/* ---- biases ---- */

/* By distance, in steps of 1: with positions of their own rows have it key by key, in attention_changes.h. */
static int is_biased(const gatun__attention_task *t) {
    return (t->alibi_slopes != NULL || t->relative_position_table != NULL) && t->changes->positions == NULL;
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
    const int64_t step = bias_step(t);
    for (int64_t x = 0; x < (step < width ? step : width); x++) {
        int64_t lane = lane_begin + x, head = lane % t->group;
        int64_t count = (width - 1 - x) / step + keys;
        /* position - key of the first element; each step adds 1 */
        int64_t first = lane / t->group + t->first_position - (first_key + keys - 1);
        float *to = biases + x;
        const double slope = t->alibi_slopes != NULL ? -(double)t->alibi_slopes[head] : 0, start = (double)first;
        if (t->relative_position_table == NULL) {
            for (int32_t n = 0; n < (int32_t)count; n++)
                to[n * step] = (float)(slope * fabs(start + n) * GATUN__LOG2_E);
            continue;
        }
        const int64_t span = t->relative_span;
        const float *middle = t->relative_position_table + head * (2 * span + 1) + span;
        for (int64_t n = 0; n < count; n++) {
            int64_t distance = first + n, entry = distance < -span ? span : distance > span ? -span : -distance;
            double bias = (double)middle[entry];
            if (t->alibi_slopes != NULL)
                bias += slope * (double)(distance < 0 ? -distance : distance);
            to[n * step] = (float)(bias * GATUN__LOG2_E);
        }
    }
}

/* ---- changes key by key ---- */

/* Rows of a vector's lanes, `count` elements of each, become to [count][LANES]. in_place: nothing behind a row may be read, and what is read
 * is to be a base-2 bias. */
static void to_lanes(const float *const rows[VW], int32_t count, const int in_place, float *to) {
    for (int32_t j = 0; j < count; j += VW) {
        vec r[VW];
        if (in_place && count - j < VW)
            for (int32_t i = 0; i < VW; i++)
                r[i] = v_load_some(rows[i] + j, count - j);
        else
#pragma GCC unroll 16
            for (int32_t i = 0; i < VW; i++)
                r[i] = v_load(rows[i] + j);
        v_transpose(r);
#pragma GCC unroll 16
        for (int32_t i = 0; i < VW; i++)
            v_store(to + (j + i) * LANES, in_place ? to_base_2(r[i]) : r[i]);
    }
}

/* Lanes that do not exist are as the last one. */
static void repeat_last(const float *rows[VW], int32_t lanes) {
    for (int32_t i = lanes; i < VW; i++)
        rows[i] = rows[lanes - 1];
}

/* Of a tile's keys: biases [keys][LANES], from where they lie or by way of rows [VW][TILE_KEYS]. */
static void fill_key_biases(
    const gatun__attention_task *t, const block_state *b, int32_t first_key, int32_t keys, float *rows, float *biases) {
    const int in_place = biases_lie_in_place(t);
    for (int32_t x = 0; x < b->vectors; x++) {
        const int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        const float *from[VW];
        place p = place_of(t, b->lane_begin + x * VW);
        for (int32_t i = 0; i < lanes; i++, step(t, &p)) {
            from[i] = in_place ? biases_of_row(t, p.row, p.head, first_key) : rows + i * GATUN__TILE_KEYS;
            if (!in_place)
                row_biases(t, p.row, p.head, first_key, keys, rows + i * GATUN__TILE_KEYS);
        }
        repeat_last(from, lanes);
        to_lanes(from, keys, in_place, biases + x * VW);
    }
}

/* What the block's lanes see of a tile's keys: seen [keys / 4][LANES], a byte of each element for each of four keys, by way of rows
 * [VW][TILE_KEYS]. */
static int fill_masks(
    const gatun__attention_task *t, const block_state *b, int32_t first_key, int32_t keys, uint8_t *rows, float *seen) {
    int some = 0, all = 1;
    for (int32_t x = 0; x < b->vectors; x++) {
        const int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        const float *from[VW];
        place p = place_of(t, b->lane_begin + x * VW);
        for (int32_t i = 0; i < lanes; i++, step(t, &p)) {
            uint8_t *row = rows + i * GATUN__TILE_KEYS;
            const int state = row_mask(t, p.row, p.head, first_key, keys, row);
            some |= state != SEES_NONE;
            all &= state == SEES_ALL;
            from[i] = (const float *)(const void *)row;
        }
        repeat_last(from, lanes);
        to_lanes(from, (keys + 3) / 4, 0, seen + x * VW);
    }
    return all ? SEES_ALL : some ? SEES_SOME : SEES_NONE;
}

/* ---- products ---- */

/* What becomes of products: nothing; biases by distance are added; whatever else a call asks for, by change_scores. */
enum { PLAIN, BIASED, CHANGED };

/* What is added to a product; nothing without biases. */
typedef struct score_bias {
    const float *biases; /* of the block's first lane and the tile's first key */
    int64_t step;        /* from one key to the one before it */
} score_bias;

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
    const float *q, int32_t dim, float *scores, const score_bias *s, int64_t first, const int of, const int32_t *limit,
    int32_t key, vec *maximum) {
    vec acc[ROWS_SINGLE][QV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++)
            acc[r][x] = v_zero();
    const float *base[5] = BASES_OF_16(k, rows == 16 ? k_row : 0);
    const int64_t row_bytes = k_row * KV_BYTES;
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
            if (biased) {
                /* -inf masks, whatever the score is. */
                const vec bias = v_load(s->biases - (first + r) * s->step + x * VW);
                acc[r][x] = v_select(v_equal(bias, minus_inf), minus_inf, v_add(acc[r][x], bias));
            }
            v_store(scores + r * LANES + x * VW, acc[r][x]);
            if (of == OF_SEEN)
                acc[r][x] = v_select(v_int_above(left[x], r), acc[r][x], minus_inf);
            maximum[x] = v_max(maximum[x], acc[r][x]);
        }
}

/* Keys first .. first + keys - 1 of the tile, which k and scores begin with; q, scores, s, limit and maximum begin with the
 * first of the vectors. tile_key: the tile's first on the scale of limits. */
INLINE void score_keys(const int vectors, const int biased, const float *k, int64_t k_row, const float *q, int32_t dim,
    int32_t first, int32_t keys, float *scores, const score_bias *s, const int of, const int32_t *limit,
    int32_t tile_key, vec *maximum) {
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
