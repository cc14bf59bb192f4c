/*
 * Maps of probabilities in float32, for every tier: included by each attention_f32_<tier>.c after attention_f32.h, whose tiles it
 * runs without a column of values.
 *
 * Axes: R chosen rows of a head, each a lane; C columns of the map, bins of keys.
 *   scores, then probs to the largest score of the row [TILE_KEYS][LANES]; done [columns of a tile][LANES]; map [bins of R][C]
 *
 * Algorithm:
 *   Pass 1  run_keys: maximum and sum of each lane over all its keys, as attention has them; sinks.
 *   Pass 2  the tiles of the chosen keys again, with the maximum known from the beginning: prob = factor * 2^(score - maximum),
 *           the factor 1 / sum. add_columns_of_tile: of each lane and column the sum, or the largest, of its probs, vertically.
 *           A column that ends in the tile is done; one that goes on is kept in double.
 *   Pass 3  write_columns: done columns become cells, rows of a bin one after the other in double. What a bin of rows has of
 *           rows before this block is kept in `carried`.
 * A lane that attention would compute in double (attention_wide_f32.h), or whose sum is NaN, stands apart: its probs are put where
 * the tile has others.
 *
 * Bits: a lane's part of a cell is one sum over the keys of each tile from the column's first on, tiles added in double; a cell is
 * one sum over rows. Blocks, tasks and their order cannot change it.
 */

/* How a lane's probs are made: as those of attention; in double, key by key; all that it sees are NaN. */
enum { MAP_PLAIN, MAP_WIDE, MAP_NAN };

/* Of the lanes of one block, [LANES] each. */
typedef struct map_lanes {
    double *factor;
    double *wide_maximum;
    double *kept_sum; /* of a column that began in a tile before */
    float *kept_most;
    int32_t *how; /* MAP_* */
    int apart;    /* some lane is not MAP_PLAIN */
} map_lanes;

/* What a task keeps from tile to tile. */
typedef struct map_state {
    const gatun__attention_map_task *m;
    float *done;     /* [TILE_KEYS][LANES] */
    double *carried; /* [column_end - column_begin] */
    /* Columns that end in the tile: keys of the tile below which each lies, and 1 / its keys. */
    int32_t *ends;
    double *share;
    int32_t columns;
    int64_t column; /* the first of them */
    int kept;       /* it began in a tile before */
} map_state;

/* ---- pass 1 ---- */

/* Largest score and 1 / sum of a row whose scores leave the range of float. */
static __attribute__((noinline)) int wide_statistics(
    const gatun__attention_task *t, place p, gatun__keys keys, float sum, double *largest, double *factor) {
    double maximum = (double)sink_of(t, p.head), total = maximum == -(double)INFINITY ? 0 : maximum - maximum + 1;
    const float *q = wide_query(t, p);
    *factor = 0;
    if (total != total || q == NULL)
        return total == total && sum == sum ? MAP_PLAIN : MAP_NAN;
    if (!wide_softmax(t, p, q, keys, &maximum, &total, NULL, 0))
        return MAP_NAN;
    *largest = maximum;
    *factor = total > 0 ? 1 / total : 0;
    return total > 0 ? MAP_WIDE : MAP_PLAIN;
}

/* What pass 2 needs of a block whose maxima and sums are known. */
static void begin_lanes(const gatun__attention_task *t, const block_state *b, map_lanes *l) {
    float own[LANES];
    memcpy(own, b->maximum, sizeof own);
    if (t->changes->sinks != NULL)
        (void)add_sinks(t, b, own);
    l->apart = 0;
    memset(l->kept_sum, 0, LANES * sizeof *l->kept_sum);
    memset(l->kept_most, 0, LANES * sizeof *l->kept_most);
    for (int32_t i = 0; i < b->lanes; i++) {
        const place p = place_of(t, b->lane_begin + i);
        const gatun__keys keys = gatun__key_range(&t->visible, p.row);
        const float sum = b->sum[i];
        l->how[i] = MAP_PLAIN;
        l->factor[i] = 0;
        if (keys.first < keys.end && !isfinite(own[i]))
            l->how[i] = wide_statistics(t, p, keys, sum, &l->wide_maximum[i], &l->factor[i]);
        else if (sum != sum)
            l->how[i] = MAP_NAN;
        else if (keys.first < keys.end)
            l->factor[i] = exp2((double)own[i] - (double)b->maximum[i]) / (double)sum;
        if (l->how[i] == MAP_NAN)
            l->factor[i] = 1;
        l->apart |= l->how[i] != MAP_PLAIN;
        b->maximum[i] = isfinite(own[i]) ? own[i] : 0;
    }
}

/* ---- pass 2 ---- */

/* The first key of the tile whose chain has not been left out, which the probs begin with. */
static int32_t first_prob(const block_state *b, int64_t first_key) {
    return b->first_least > first_key ? (int32_t)(b->first_least - first_key) / GATUN__CHAIN_KEYS * GATUN__CHAIN_KEYS
                                      : 0;
}

/* Probs of the lanes that stand apart, of keys of a tile. */
static __attribute__((noinline)) void put_apart(const gatun__attention_task *t, const block_state *b,
    const map_lanes *l, int64_t first_key, int32_t keys, float *probs) {
    double biases[GATUN__TILE_KEYS];
    for (int32_t i = 0; i < b->lanes; i++) {
        if (l->how[i] == MAP_PLAIN)
            continue;
        const place p = place_of(t, b->lane_begin + i);
        const gatun__keys seen = gatun__key_range(&t->visible, p.row);
        const int64_t first = gatun__within(seen.first, first_key, first_key + keys),
                      end = gatun__within(seen.end, first, first_key + keys);
        const float *q = t->q + p.row * t->q_row + p.head * t->q_head;
        if (first < end)
            wide_biases(t, p, first, end, biases);
        for (int32_t j = first_prob(b, first_key), n = i; j < keys; j++, n += LANES) {
            const int64_t key = first_key + j;
            float *prob = &probs[n];
            *prob = 0;
            if (key < first || key >= end || biases[key - first] == -(double)INFINITY)
                continue;
            *prob = l->how[i] == MAP_NAN ? NAN
                                         : (float)exp2(wide_score(t, q, key, biases[key - first]) - l->wide_maximum[i]);
        }
    }
}

/* Which columns end in the tile of keys first_key .. first_key + keys - 1, the first of them being s->column. */
static void find_columns(map_state *s, int64_t first_key, int32_t keys) {
    const gatun__attention_map_task *m = s->m;
    const int64_t whole = m->keys / m->map_columns, rest = m->keys % m->map_columns;
    int64_t begin = gatun__bin(s->column, m->keys, m->map_columns), column = s->column;
    int64_t part = column * m->keys % m->map_columns;
    s->columns = 0;
    s->kept = m->first_key + begin < first_key;
    while (column < m->column_end) {
        int64_t end = begin + whole;
        if ((part += rest) >= m->map_columns) {
            part -= m->map_columns;
            end++;
        }
        if (m->first_key + end > first_key + keys)
            break;
        s->ends[s->columns] = (int32_t)(m->first_key + end - first_key);
        s->share[s->columns++] = 1 / (double)(end - begin);
        begin = end;
        column++;
    }
}

/* Sum and largest of the probs begin .. end - 1 of vector x. */
INLINE void column_of(const float *probs, int32_t x, int32_t begin, int32_t end, vec *sum, vec *most) {
    *sum = *most = v_zero();
    for (int32_t j = begin; j < end; j++) {
        const vec prob = v_load(probs + j * LANES + x * VW);
        *sum = v_add(*sum, prob);
        *most = v_max(*most, prob);
    }
}

/* Probs of a tile, keys begin .. end - 1 of which are chosen, to the columns that end in it, and to what goes on. computed: whether
 * the tile has any. */
static void add_columns_of_tile(const map_state *s, const block_state *b, const map_lanes *l, int computed,
    int64_t first_key, int32_t begin, int32_t end, const float *probs) {
    const int is_max = s->m->reduction == GATUN_MAP_MAX;
    const int32_t first = first_prob(b, first_key);
    for (int32_t x = 0; x < b->vectors; x++) {
        const int64_t limit = b->limit[(x + 1) * VW - 1] - first_key;
        const int32_t seen = computed ? (int32_t)gatun__within(limit, 0, end) : 0;
        int32_t from = begin;
        for (int32_t n = 0; n <= s->columns; n++) {
            const int32_t to = n < s->columns ? s->ends[n] : end;
            vec sum, most;
            column_of(probs, x, (from > first ? from : first) - first, (to < seen ? to : seen) - first, &sum, &most);
            from = to;
            const int is_kept = n == 0 && s->kept;
            if (n == s->columns || is_kept) {
                float sums[VW], mosts[VW];
                v_store(sums, sum);
                v_store(mosts, most);
                for (int32_t i = 0; i < VW; i++) {
                    double *kept_sum = &l->kept_sum[x * VW + i];
                    float *kept_most = &l->kept_most[x * VW + i];
                    *kept_sum += (double)sums[i];
                    *kept_most = mosts[i] > *kept_most ? mosts[i] : *kept_most;
                    sums[i] = (float)*kept_sum;
                    mosts[i] = *kept_most;
                    if (n < s->columns) {
                        *kept_sum = 0;
                        *kept_most = 0;
                    }
                }
                sum = v_load(sums);
                most = v_load(mosts);
            }
            if (n < s->columns)
                v_store(s->done + n * LANES + x * VW,
                    is_max ? v_select(v_equal(sum, sum), most, sum) : sum); /* NaN of any prob is in the sum */
        }
    }
}

/* ---- pass 3 ---- */

/* Columns that are done, of the lanes of a block. */
static void write_columns(
    const map_state *s, const gatun__attention_task *t, const block_state *b, const map_lanes *l) {
    const gatun__attention_map_task *m = s->m;
    const int is_max = m->reduction == GATUN_MAP_MAX;
    const int64_t first = b->lane_begin - m->first_row, live = gatun__least(t->rows - m->first_row, m->rows);
    double *carried = s->carried + (s->column - m->column_begin);
    for (int32_t lane = 0; lane < b->lanes;) {
        const int64_t row = first + lane, bin = ((row + 1) * m->map_rows - 1) / m->rows;
        const int64_t begin = gatun__bin(bin, m->rows, m->map_rows), end = gatun__bin(bin + 1, m->rows, m->map_rows);
        const int32_t lane_end = (int32_t)gatun__least(end - first, b->lanes);
        const int begins = begin == row, ends = gatun__least(end, live) <= first + lane_end;
        const double rows = is_max ? 1 : 1 / (double)(end - begin);
        float *to = m->map + bin * m->map_row + s->column;
        for (int32_t n = 0; n < s->columns; n++) {
            const float *done = s->done + n * LANES;
            double cell = begins ? 0 : carried[n];
            for (int32_t i = lane; i < lane_end; i++) {
                const double part = (double)done[i] * l->factor[i];
                if (!is_max)
                    cell += part;
                else if (part > cell || part != part)
                    cell = part;
            }
            if (ends)
                to[n] = (float)(is_max ? cell : cell * rows * s->share[n]);
            else
                carried[n] = cell;
        }
        lane = lane_end;
    }
}

/* ---- the task ---- */

void KERNEL(attention_map_f32)(gatun__attention_map_task *m) {
    const gatun__attention_task *t = &m->attention;
    char *scratch = m->scratch;
    map_state s = {.m = m, .done = carve_floats(&scratch, GATUN__TILE_KEYS * LANES), .column = m->column_begin};
    map_lanes lanes[GATUN__MAX_BLOCKS];
    tile_scratch tile;
    block_state blocks[GATUN__MAX_BLOCKS];
    s.ends = carve(&scratch, GATUN__TILE_KEYS * sizeof *s.ends);
    s.share = carve(&scratch, GATUN__TILE_KEYS * sizeof *s.share);
    s.carried = carve(&scratch, (size_t)(m->column_end - m->column_begin) * sizeof(double));
    const int32_t count = begin_blocks(t, &tile, blocks);
    run_keys(t, blocks, count, 0, &tile);
    int64_t most = 0;
    for (int32_t i = 0; i < count; i++) {
        map_lanes *l = &lanes[i];
        l->factor = carve(&scratch, LANES * sizeof(double));
        l->wide_maximum = carve(&scratch, LANES * sizeof(double));
        l->kept_sum = carve(&scratch, LANES * sizeof(double));
        l->kept_most = carve_floats(&scratch, LANES);
        l->how = carve(&scratch, LANES * sizeof(int32_t));
        begin_lanes(t, &blocks[i], l);
        most = blocks[i].limit_most > most ? blocks[i].limit_most : most;
    }
    const int64_t key_begin = m->first_key + gatun__bin(m->column_begin, m->keys, m->map_columns),
                  key_end = m->first_key + gatun__bin(m->column_end, m->keys, m->map_columns);
    for (int64_t key = key_begin / GATUN__TILE_KEYS * GATUN__TILE_KEYS; key < key_end; key += GATUN__TILE_KEYS) {
        const int32_t begin = key < key_begin ? (int32_t)(key_begin - key) : 0,
                      end = (int32_t)gatun__least(key_end - key, GATUN__TILE_KEYS),
                      live = (int32_t)gatun__within(most - key, 0, end);
        int masks[GATUN__MAX_BLOCKS];
        const int seen = live > 0 && look_at_tile(t, blocks, count, (int32_t)key, live, masks);
        if (seen)
            begin_tile(t, blocks, count, (int32_t)key, live, &tile);
        find_columns(&s, key, end);
        for (int32_t i = 0; i < count; i++) {
            tile.next = 0; /* probs from the beginning of the ring */
            const int computed = seen && run_block(t, &blocks[i], i, (int32_t)key, live, masks[i], 0, &tile);
            finish_waiting(t, &tile);
            if (computed && lanes[i].apart)
                put_apart(t, &blocks[i], &lanes[i], key, live, tile.scores);
            add_columns_of_tile(&s, &blocks[i], &lanes[i], computed, key, begin, end, tile.scores);
            write_columns(&s, t, &blocks[i], &lanes[i]);
        }
        s.column += s.columns;
    }
}
