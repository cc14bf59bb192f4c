/* Causal: chunk by chunk or row by row, over a state. Part of linear_attention_f32.h. */

/* ---- decays ---- */

/* The least that one row may have, of which the power of e is 0: sums of these stay exact in double. */
static const double least_decay = -700;

/* To base 2. Another thread's number may not have been checked. */
static double decay_of(const work *w, int64_t row) {
    const double x = (double)w->t->log_decay[row * w->t->decay_row];
    return (x < least_decay ? least_decay : x > 0 ? 0 : x) * GATUN__LOG2_E;
}

/* Sums of the decays from some row on, in two floats each. */
typedef struct decays {
    float high[GATUN__LINEAR_CHUNK], low[GATUN__LINEAR_CHUNK];
} decays;

static void set_decay(decays *d, int64_t row, double sum) {
    d->high[row] = (float)sum;
    d->low[row] = (float)(sum - (double)d->high[row]);
}

/* ---- sums and state ---- */

static void load_state(const work *w) {
    const int64_t row = w->v + 2;
    clear_sums(w, 0, w->mp);
    for (int64_t f = 0; f < w->m && w->t->state != NULL; f++) {
        const float *from = w->t->state + f * row;
        memcpy(w->s.values + f * w->vp, from, (size_t)w->v * sizeof *from);
        w->s.weights[f] = from[w->v];
        if (from[w->v] != 0) /* else nothing has been added yet */
            w->s.stabilizer[f] = from[w->v + 1];
    }
}

static void store_state(const work *w) {
    const int64_t row = w->v + 2;
    for (int64_t f = 0; f < w->m && w->t->state != NULL; f++) {
        float *to = w->t->state + f * row;
        memcpy(to, w->s.values + f * w->vp, (size_t)w->v * sizeof *to);
        to[w->v] = w->s.weights[f];
        to[w->v + 1] = w->random ? w->s.stabilizer[f] : 0;
    }
}

/* All sums times the factors of their features. */
static void scale_sums(const work *w) {
    for (int64_t f = 0; f < w->m; f++) {
        const vec factor = v_set1(w->factor[f]);
        for (int64_t c = f * w->vp; c < (f + 1) * w->vp; c += VW) {
            v_store(w->s.values + c, v_mul(v_load(w->s.values + c), factor));
            v_store(w->s.values_low + c, v_mul(v_load(w->s.values_low + c), factor));
        }
        w->s.weights[f] *= w->factor[f];
        w->s.weights_low[f] *= w->factor[f];
    }
}

/* ---- pairs ---- */

static void transpose_keys(const work *w, int64_t rows) {
    for (int64_t j = 0; j < rows; j += VW)
        for (int64_t f = 0; f < w->mp; f += VW) {
            vec r[VW];
            for (int64_t i = 0; i < VW; i++)
                r[i] = v_load(w->keys + (j + i) * w->ms + f);
            v_transpose(r);
            for (int64_t i = 0; i < VW; i++)
                v_store(w->transposed + (f + i) * GATUN__LINEAR_CHUNK + j, r[i]);
        }
}

/* Weights of pairs of rows first .. end - 1 and keys, from their features. `below`: of row first + r, keys up to r. */
static void make_scores(const work *w, int64_t first, int64_t end, int64_t keys, int below) {
    transpose_keys(w, keys);
    const product p = {.a = w->queries + first * w->ms,
        .a_row = w->ms,
        .a_step = 1,
        .b = w->transposed,
        .b_row = GATUN__LINEAR_CHUNK,
        .c = w->scores + first * GATUN__LINEAR_CHUNK,
        .c_row = GATUN__LINEAR_CHUNK};
    multiply(&p, end - first, below ? keys : (keys + VW - 1) / VW * VW, w->m, below ? BELOW : WHOLE);
}

/* Multiplies the scores of a row and keys 0 .. keys - 1 by a factor and by the decays between, and returns their sum. */
static float weaken(
    float *scores, int64_t row, int64_t keys, float factor, const decays *of_rows, const decays *of_keys) {
    vec total = v_zero();
    for (int64_t j = 0; j < keys; j += VW) {
        const int64_t count = keys - j;
        vec by = v_set1(factor);
        if (of_rows != NULL) {
            const vec far = v_sub(v_set1(of_rows->high[row]), load_up_to(of_keys->high + j, count));
            const vec near = v_sub(v_set1(of_rows->low[row]), load_up_to(of_keys->low + j, count));
            by = v_mul(by, v_exp2(v_min(v_zero(), v_add(far, near))));
        }
        const vec x = v_mul(load_up_to(scores + j, count), by);
        store_up_to(scores + j, x, count);
        total = v_add(total, count < VW ? load_up_to(scores + j, count) : x);
    }
    return lanes_total(total);
}

/* ---- a chunk ---- */

/* Rows `first` .. first + rows - 1, or as many as the stabilizer lets be one chunk: how many. */
static int64_t make_chunk(const work *w, int64_t first, int64_t rows, int empty, int last) {
    enum { CHUNK = GATUN__LINEAR_CHUNK };
    const gatun__linear_attention_task *t = w->t;
    features_of(w, t->k + first * t->k_row, t->k_row, rows, w->keys);
    int changed = 0;
    if (w->random)
        rows = stabilized_by_first(w, w->keys, rows, w->s.stabilizer, &changed);
    if (changed && !empty)
        scale_sums(w);
    pack_values(w, t->v + first * t->v_row, rows);
    features_of(w, t->q + first * t->q_row, t->q_row, rows, w->queries);

    decays d;
    float before[CHUNK], weight[CHUNK], past[CHUNK], shift[CHUNK];
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        before[r] = 1;
        if (t->log_decay != NULL) {
            sum += decay_of(w, first + r);
            set_decay(&d, r, sum);
            before[r] = (float)exp2(sum);
        }
        float *x = w->queries + r * w->ms;
        shift[r] = w->random ? shifted_features(w, x, w->s.stabilizer, x) : 0;
    }
    const int64_t next = first + rows, more = gatun__least(t->rows - next, CHUNK);
    prefetcher soon = {0};
    prefetch_rows(&soon, t->k, t->k_row, next, more, w->d);
    prefetch_rows(&soon, t->v, t->v_row, next, more, w->v);
    prefetch_rows(&soon, t->q, t->q_row, next, more, w->d);
    prefetch_rows(&soon, t->out, t->out_row, next, more, w->v);
    make_scores(w, 0, rows, rows, 1);
    if (!empty) {
        times_sums(w, w->queries, rows, t->log_decay != NULL ? before : NULL, &soon);
        weights_of(w, rows, past);
    } else {
        clear(w->result, rows * w->vp);
    }
    for (int64_t r = 0; r < rows; r++) {
        weight[r] = weaken(w->scores + r * CHUNK, r, r + 1, 1, t->log_decay != NULL ? &d : NULL, &d);
        if (!empty)
            weight[r] += past[r] * before[r];
    }
    const product p = {.a = w->scores,
        .a_row = CHUNK,
        .a_step = 1,
        .b = w->values,
        .b_row = w->vp,
        .c = w->result,
        .c_row = w->vp,
        .end = ADD};
    multiply(&p, rows, w->vp, rows, TRIANGLE);
    for (int64_t r = 0; r < rows; r++)
        put_row(w, w->result + r * w->vp, weight[r], row_factor(w, weight[r], w->norms[r], shift[r]),
            t->out + (first + r) * t->out_row);
    if (last && t->state == NULL && first + rows == t->rows)
        return rows;

    /* What later rows see of these. */
    const float decay = t->log_decay != NULL ? (float)exp2(sum) : 1;
    for (int64_t r = 0; r < rows && t->log_decay != NULL; r++) {
        const vec by = v_set1((float)exp2(sum - ((double)d.high[r] + (double)d.low[r])));
        for (int64_t f = 0; f < w->mp; f += VW)
            v_store(w->keys + r * w->ms + f, v_mul(v_load(w->keys + r * w->ms + f), by));
    }
    for (int64_t f = 0; f < w->mp; f++)
        w->factor[f] = decay;
    sum_weights(w, w->keys, rows, 0, w->mp, decay);
    const product add = {.a = w->keys,
        .a_row = 1,
        .a_step = w->ms,
        .b = w->values,
        .b_row = w->vp,
        .c = w->s.values,
        .low = w->s.values_low,
        .c_row = w->vp,
        .factor = w->factor,
        .end = SUM_UP,
        .soon = &soon};
    multiply(&add, w->m, w->vp, rows, WHOLE);
    return rows;
}

static void make_chunks(const work *w) {
    const gatun__linear_attention_task *t = w->t;
    load_state(w);
    for (int64_t first = 0; first < t->rows;) {
        const int64_t left = t->rows - first, rows = left < GATUN__LINEAR_CHUNK ? left : GATUN__LINEAR_CHUNK;
        first += make_chunk(w, first, rows, first == 0 && t->state == NULL, rows == left);
    }
    store_state(w);
}

/* ---- row by row ---- */

/* One vector or some of columns of all features: sums times their factors, plus key times value; the query's sum of them. */
INLINE void step_columns(const int vectors, const int exact, const work *w, const float *query, const float *key,
    float *sum, float *low, int64_t row, const float *value, int32_t last, float *result) {
    vec v[BLOCK_VECTORS], total[BLOCK_VECTORS];
#pragma GCC unroll 4
    for (int n = 0; n < vectors; n++) {
        v[n] = n == vectors - 1 ? load_up_to(value + n * VW, last) : v_load(value + n * VW);
        total[n] = v_zero();
    }
    for (int64_t f = 0; f < w->m; f++, sum += row, low += exact ? row : 0) {
        const vec q = v_set1(query[f]), k = v_set1(key[f]), factor = v_set1(w->factor[f]);
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++) {
            const int64_t count = n == vectors - 1 ? last : VW;
            vec s = v_mul(load_up_to(sum + n * VW, count), factor);
            if (exact) {
                vec lost = v_mul(v_load(low + n * VW), factor);
                s = sum_up(s, v_mul(k, v[n]), &lost);
                v_store(low + n * VW, lost);
            } else {
                s = v_fma(k, v[n], s);
            }
            store_up_to(sum + n * VW, s, count);
            total[n] = v_fma(q, s, total[n]);
        }
    }
#pragma GCC unroll 4
    for (int n = 0; n < vectors; n++)
        v_store(result + n * VW, total[n]);
}

/* One row, whose features are there. sum: [m][row], of which columns are used. */
static void step(const work *w, const float *value, float *sum, float *low, int64_t row, int64_t columns) {
    for (int64_t c = 0; c < columns; c += BLOCK_VECTORS * VW) {
        const int64_t left = columns - c;
        float *to = w->result + c;
        if (left >= BLOCK_VECTORS * VW) {
            if (low != NULL)
                step_columns(BLOCK_VECTORS, 1, w, w->queries, w->keys, sum + c, low + c, row, value + c, VW, to);
            else
                step_columns(BLOCK_VECTORS, 0, w, w->queries, w->keys, sum + c, NULL, row, value + c, VW, to);
            continue;
        }
        for (int64_t n = 0; n < left; n += VW) {
            const int32_t some = (int32_t)(left - n < VW ? left - n : VW);
            if (low != NULL)
                step_columns(1, 1, w, w->queries, w->keys, sum + c + n, low + c + n, row, value + c + n, some, to + n);
            else
                step_columns(1, 0, w, w->queries, w->keys, sum + c + n, NULL, row, value + c + n, some, to + n);
        }
    }
}

/* Sums of weights and stabilizers are in w; those of values there, or, of a single row, in the state. */
static void make_steps(const work *w) {
    const gatun__linear_attention_task *t = w->t;
    const int direct = t->state != NULL && t->rows == 1;
    const int64_t state_row = w->v + 2;
    if (!direct) {
        load_state(w);
    } else {
        clear(w->s.weights, w->mp);
        clear(w->s.weights_low, w->mp);
        for (int64_t f = 0; f < w->mp; f++) {
            const float *from = f < w->m ? t->state + f * state_row + w->v : NULL;
            w->s.weights[f] = from != NULL ? from[0] : 0;
            w->s.stabilizer[f] = from != NULL && from[0] != 0 ? from[1] : LEAST_STABILIZER;
        }
    }
    for (int64_t i = 0; i < t->rows; i++) {
        const double sum = t->log_decay != NULL ? decay_of(w, i) : 0;
        const vec decay = v_set1((float)exp2(sum));
        int changed = 0;
        features_of(w, t->k + i * t->k_row, t->k_row, 1, w->keys);
        if (w->random)
            (void)stabilized_by_first(w, w->keys, 1, w->s.stabilizer, &changed);
        for (int64_t f = 0; f < w->mp; f += VW) {
            const vec factor = w->random ? v_mul(v_load(w->factor + f), decay) : decay;
            vec lost = v_mul(v_load(w->s.weights_low + f), factor);
            v_store(w->factor + f, factor);
            v_store(w->s.weights + f, sum_up(v_mul(v_load(w->s.weights + f), factor), v_load(w->keys + f), &lost));
            v_store(w->s.weights_low + f, lost);
        }
        features_of(w, t->q + i * t->q_row, t->q_row, 1, w->queries);
        const float shift = w->random ? shifted_features(w, w->queries, w->s.stabilizer, w->queries) : 0;
        const float weight = weight_of(w, w->queries, w->s.weights);
        if (direct) {
            step(w, t->v + i * t->v_row, t->state, NULL, state_row, w->v);
        } else {
            pack_values(w, t->v + i * t->v_row, 1);
            step(w, w->values, w->s.values, w->s.values_low, w->vp, w->vp);
        }
        put_row(w, w->result, weight, row_factor(w, weight, w->norms[0], shift), t->out + i * t->out_row);
    }
    if (!direct) {
        store_state(w);
        return;
    }
    for (int64_t f = 0; f < w->m; f++) {
        float *to = t->state + f * state_row + w->v;
        to[0] = w->s.weights[f];
        to[1] = w->random ? w->s.stabilizer[f] : 0;
    }
}
