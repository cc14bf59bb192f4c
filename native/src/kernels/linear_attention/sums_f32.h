/* Without causality: sums over all keys, then rows. Part of linear_attention_f32.h. */

/* Sums that are made at once: one alone waits for each addition. */
enum { SUM_VECTORS = 4 };

INLINE void sum_weight_vectors(
    const int vectors, const work *w, const float *keys, int64_t rows, int64_t f, float factor) {
    vec total[SUM_VECTORS];
#pragma GCC unroll 4
    for (int n = 0; n < vectors; n++)
        total[n] = v_zero();
    for (int64_t j = 0; j < rows; j++)
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++)
            total[n] = v_add(total[n], v_load(keys + j * w->ms + f + n * VW));
#pragma GCC unroll 4
    for (int n = 0; n < vectors; n++) {
        const int64_t at = f + n * VW;
        vec lost = v_mul(v_load(w->s.weights_low + at), v_set1(factor));
        v_store(w->s.weights + at, sum_up(v_mul(v_load(w->s.weights + at), v_set1(factor)), total[n], &lost));
        v_store(w->s.weights_low + at, lost);
    }
}

/* Sums of the weights of features that are none of random ones, f .. end - 1, times a factor, and of so many rows. */
static void sum_weights(const work *w, const float *keys, int64_t rows, int64_t f, int64_t end, float factor) {
    for (; f + SUM_VECTORS * VW <= end; f += SUM_VECTORS * VW)
        sum_weight_vectors(SUM_VECTORS, w, keys, rows, f, factor);
    for (; f < end; f += VW)
        sum_weight_vectors(1, w, keys, rows, f, factor);
}

static void clear_sums(const work *w, int64_t f, int64_t end) {
    clear(w->s.values + f * w->vp, (end - f) * w->vp);
    clear(w->s.values_low + f * w->vp, (end - f) * w->vp);
    clear(w->s.weights + f, end - f);
    clear(w->s.weights_low + f, end - f);
    for (; f < end; f++)
        w->s.stabilizer[f] = LEAST_STABILIZER;
}

/* sums of features f .. f + columns - 1, from their values for so many keys, [keys][row]. */
static void add_values(
    const work *w, const float *keys, int64_t row, int64_t rows, int64_t f, int64_t columns, prefetcher *soon) {
    const product p = {.a = keys,
        .a_row = 1,
        .a_step = row,
        .b = w->values,
        .b_row = w->vp,
        .c = w->s.values + f * w->vp,
        .low = w->s.values_low + f * w->vp,
        .c_row = w->vp,
        .factor = w->random ? w->factor + f : NULL,
        .end = SUM_UP,
        .soon = soon};
    multiply(&p, columns, w->vp, rows, WHOLE);
}

static void sum_keys(const work *w) {
    enum { TILE = GATUN__LINEAR_TILE, PANEL = GATUN__LINEAR_PANEL };
    const gatun__linear_attention_task *t = w->t;
    const int64_t end = t->end == w->m ? w->mp : t->end;
    clear_sums(w, t->begin, end);
    for (int64_t j = 0, rows; j < t->keys; j += rows) {
        rows = t->keys - j < TILE ? t->keys - j : TILE;
        const int64_t next = j + rows, more = gatun__least(t->keys - next, TILE);
        prefetcher soon = {0};
        prefetch_rows(&soon, t->k, t->k_row, next, more, w->d);
        prefetch_rows(&soon, t->v, t->v_row, next, more, w->v);
        pack_values(w, t->v + j * t->v_row, rows);
        const float *k = t->k + j * t->k_row;
        if (!w->random) {
            features_of(w, k, t->k_row, rows, w->keys);
        } else {
            pack_rows(k, t->k_row, rows, w->d, w->dp, 0, w->input, w->dp);
            squared_norms(w, rows);
        }
        for (int64_t f = t->begin; f < end; f += PANEL) {
            const int64_t columns = end - f < PANEL ? end - f : PANEL;
            if (w->random) {
                panel_exponents(w, f, rows, w->keys, PANEL);
                stabilized_by_all(w, w->keys, PANEL, rows, f, columns);
                add_values(w, w->keys, PANEL, rows, f, columns, &soon);
                continue;
            }
            sum_weights(w, w->keys, rows, f, f + columns, 1);
            add_values(w, w->keys + f, w->ms, rows, f, columns, &soon);
        }
    }
}

/* Rows of queries times the sums, each row of the result times a factor if there are any. */
static void times_sums(const work *w, const float *queries, int64_t rows, const float *factors, prefetcher *soon) {
    const product p = {.a = queries,
        .a_row = w->ms,
        .a_step = 1,
        .b = w->s.values,
        .b_row = w->vp,
        .c = w->result,
        .c_row = w->vp,
        .factor = factors,
        .end = factors == NULL ? SET : SCALE,
        .soon = soon};
    multiply(&p, rows, w->vp, w->m, WHOLE);
}

static void make_rows(const work *w) {
    enum { CHUNK = GATUN__LINEAR_CHUNK };
    const gatun__linear_attention_task *t = w->t;
    for (int64_t i = t->begin, rows; i < t->end; i += rows) {
        rows = t->end - i < CHUNK ? t->end - i : CHUNK;
        if (t->keys == 0) {
            for (int64_t r = 0; r < rows; r++)
                clear(t->out + (i + r) * t->out_row, w->v);
            continue;
        }
        float weight[CHUNK], shift[CHUNK];
        const int64_t next = i + rows, more = gatun__least(t->end - next, CHUNK);
        prefetcher soon = {0};
        prefetch_rows(&soon, t->q, t->q_row, next, more, w->d);
        prefetch_rows(&soon, t->out, t->out_row, next, more, w->v);
        features_of(w, t->q + i * t->q_row, t->q_row, rows, w->queries);
        for (int64_t r = 0; r < rows; r++) {
            float *x = w->queries + r * w->ms;
            shift[r] = w->random ? shifted_features(w, x, w->s.stabilizer, x) : 0;
        }
        weights_of(w, rows, weight);
        times_sums(w, w->queries, rows, NULL, &soon);
        for (int64_t r = 0; r < rows; r++)
            put_row(w, w->result + r * w->vp, weight[r], row_factor(w, weight[r], w->norms[r], shift[r]),
                t->out + (i + r) * t->out_row);
    }
}
