/*
 * Rows whose scores leave the range of float, in double, one by one: part of attention_f32.h.
 *
 * Axes: see attention_f32.h. q [D], k [S_k][D], v [S_k][D_v] and out [D_v] of one row and head.
 *
 * Scores are taken to base 2, of queries times scale * log2(e): a score that fits a float may overflow that way, and a query may
 * overflow whose scores would not. Then the largest score of the row is not finite, and if that comes from -inf alone
 * the result would be lost. A row that is run again and has no finite largest score comes here, unless its query is
 * not finite itself. Doubles hold every product of floats and every sum of them.
 */

/* A key or value as floats; the last one of 16-bit floats alone is there. */
static const float *wide_floats(
    const gatun__attention_task *t, const float *first, int64_t row, int64_t key, int32_t dim) {
    const float *at = gatun__row_at(t, first, row, key);
    if (t->widen == NULL)
        return at;
    t->widen(at, row, 1, dim, t->kv_dtype, t->widened);
    return t->widened;
}

/* The end of those of a row's keys from `key` on that lie in its tile, all biases of which wide_biases tells. */
static int64_t wide_tile_end(int64_t key, int64_t end) {
    const int64_t tile_end = key / GATUN__TILE_KEYS * GATUN__TILE_KEYS + GATUN__TILE_KEYS;
    return tile_end < end ? tile_end : end;
}

/* Of keys first .. end - 1 of one tile, to base 2: all biases, -inf where a mask hides the key. */
static void wide_biases(const gatun__attention_task *t, place p, int64_t first, int64_t end, double *biases) {
    uint8_t seen[GATUN__TILE_KEYS];
    const int masked = has_masks(t) && row_mask(t, p.row, p.head, first, (int32_t)(end - first), seen) != SEES_ALL;
    for (int64_t key = first; key < end; key++) {
        double *bias = &biases[key - first];
        *bias = -(double)INFINITY;
        if (masked && !seen[key - first])
            continue;
        *bias = key_bias(t, p.row, p.head, key);
        if (is_biased(t) && *bias != -(double)INFINITY)
            *bias += distance_bias(t, t->first_position + p.row, p.head, key);
        *bias *= GATUN__LOG2_E;
    }
}

/* Of key `key`, to base 2; -inf if its bias says so. */
static double wide_score(const gatun__attention_task *t, const float *q, int64_t key, double bias) {
    const double scale = (double)t->q_factor * (double)t->q_power, cap = (double)t->changes->softcap;
    double sum = 0;
    if (bias == -(double)INFINITY)
        return bias;
    const float *k = wide_floats(t, t->k, t->k_row, key, t->head_dim);
    for (int32_t d = 0; d < t->head_dim; d++)
        sum += (double)q[d] * (double)k[d];
    sum *= scale;
    return (cap > 0 ? cap * tanh(sum / cap) : sum) + bias;
}

/* The query of a row, or NULL if it is not finite. */
static const float *wide_query(const gatun__attention_task *t, place p) {
    const float *q = t->q + p.row * t->q_row + p.head * t->q_head;
    for (int32_t d = 0; d < t->head_dim; d++)
        if (!isfinite(q[d]))
            return NULL;
    return q;
}

/* The softmax of a row in double, largest score and sum being those of its sink before: adds its keys, and to out, `columns` of which
 * are zeros, their values. Returns 0 at a score that is not finite: such a row is NaN already. */
static int wide_softmax(const gatun__attention_task *t, place p, const float *q, gatun__keys keys, double *maximum,
    double *total, double *out, int32_t columns) {
    double biases[GATUN__TILE_KEYS];
    for (int64_t key = keys.first, tile = key, end = key; key < keys.end; key++) {
        if (key == end) {
            tile = key;
            end = wide_tile_end(key, keys.end);
            wide_biases(t, p, tile, end, biases);
        }
        const double score = wide_score(t, q, key, biases[key - tile]);
        if (score == -(double)INFINITY)
            continue;
        if (!isfinite(score))
            return 0;
        const double fresh = score > *maximum ? score : *maximum, old = *total > 0 ? exp2(*maximum - fresh) : 0;
        const double prob = exp2(score - fresh);
        if (columns > 0) {
            const float *v = wide_floats(t, t->v, t->v_row, key, columns);
            for (int32_t c = 0; c < columns; c++)
                out[c] = out[c] * old + prob * (double)v[c];
        }
        *total = *total * old + prob;
        *maximum = fresh;
    }
    return 1;
}

/* Row and LSE anew; out: scratch for head_dim_v doubles. */
static void wide_row(const gatun__attention_task *t, place p, gatun__keys keys, double *out) {
    float *to = t->out + p.row * t->out_row + p.head * t->out_head;
    double maximum = (double)sink_of(t, p.head), total = maximum == -(double)INFINITY ? 0 : maximum - maximum + 1;
    const float *q = wide_query(t, p);
    if (total != total || q == NULL)
        return;
    memset(out, 0, (size_t)t->head_dim_v * sizeof *out);
    if (!wide_softmax(t, p, q, keys, &maximum, &total, out, t->head_dim_v))
        return;
    for (int32_t c = 0; c < t->head_dim_v; c++) {
        const float result = total > 0 ? (float)(out[c] / total) + 0.0f : 0;
        to[c] = result == result ? result : NAN;
    }
    if (t->lse != NULL)
        t->lse[p.row * t->lse_row + p.head * t->lse_head] =
            total > 0 ? (float)(maximum * GATUN__LOG_2 + log(total)) : -INFINITY;
}

/* Of count lanes that have been run again, those that see keys and have no finite largest score. */
static void wide_rows(
    const gatun__attention_task *t, int64_t lane_begin, int32_t count, const float *maximum, float *scratch) {
    for (int32_t i = 0; i < count; i++) {
        const place p = place_of(t, lane_begin + i);
        const gatun__keys keys = gatun__key_range(&t->visible, p.row);
        if (keys.first < keys.end && !isfinite(maximum[i]))
            wide_row(t, p, keys, (double *)(void *)scratch);
    }
}
