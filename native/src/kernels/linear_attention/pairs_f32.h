/*
 * Every pair of a row and a key, in tiles of keys: part of linear_attention_f32.h. Each tile of random features has stabilizers of its
 * own, from its first key, so that no row's bits depend on a key that it does not see; results are moved to the largest exponent so far by exact
 * powers of two, as an online softmax does.
 */

/* Of a block of rows: what the results are shifted by, sums of weights, norms of queries, decays up to the rows from key 0 on. */
typedef struct pairs {
    float shift[GATUN__LINEAR_CHUNK], norms[GATUN__LINEAR_CHUNK], factor[GATUN__LINEAR_CHUNK];
    double weight[GATUN__LINEAR_CHUNK], decay[GATUN__LINEAR_CHUNK];
} pairs;

/* Rows first .. rows - 1 of the block and so many keys, of which row first + r sees r + 1, or all if it is not `below`. */
static void add_pairs(
    const work *w, pairs *p, int64_t first, int64_t rows, int64_t key, int64_t keys, double decay, int below) {
    enum { CHUNK = GATUN__LINEAR_CHUNK };
    decays of_keys, of_rows;
    const int decaying = w->t->log_decay != NULL;
    for (int64_t j = 0; j < keys && decaying; j++) {
        decay += decay_of(w, key + j);
        set_decay(&of_keys, j, decay);
    }
    float by[CHUNK];
    for (int64_t r = first; r < rows; r++) {
        by[r] = p->factor[r] = 1;
        if (decaying)
            set_decay(&of_rows, r, p->decay[r]);
        if (!w->random)
            continue;
        const float shift = shifted_features(w, w->exponents + r * w->ms, w->s.stabilizer, w->queries + r * w->ms);
        const float most = shift < p->shift[r] ? p->shift[r] : shift; /* a NaN stays */
        p->factor[r] = exp2f(p->shift[r] - most);
        by[r] = exp2f(shift - most);
        p->shift[r] = most;
    }
    make_scores(w, first, rows, keys, below);
    for (int64_t r = first; r < rows; r++) {
        const int64_t seen = below && r - first + 1 < keys ? r - first + 1 : keys;
        const float sum = weaken(w->scores + r * CHUNK, r, seen, by[r], decaying ? &of_rows : NULL, &of_keys);
        p->weight[r] = p->weight[r] * (double)p->factor[r] + (double)sum;
    }
    product add = {.a = w->scores + first * CHUNK,
        .a_row = CHUNK,
        .a_step = 1,
        .b = w->values,
        .b_row = w->vp,
        .c = w->result + first * w->vp,
        .low = w->result_low + first * w->vp,
        .c_row = w->vp,
        .factor = p->factor + first,
        .end = SUM_UP};
    const int64_t triangle = below ? gatun__least(rows - first, keys) : 0;
    multiply(&add, triangle, w->vp, keys, TRIANGLE);
    add.a += triangle * CHUNK;
    add.c += triangle * w->vp;
    add.low += triangle * w->vp;
    add.factor += triangle;
    multiply(&add, rows - first - triangle, w->vp, keys, WHOLE);
}

static void make_pairs(const work *w) {
    enum { CHUNK = GATUN__LINEAR_CHUNK };
    const gatun__linear_attention_task *t = w->t;
    const int64_t rows = t->end - t->begin, end = t->causal ? t->end : t->keys;
    float *queries = w->random ? w->exponents : w->queries;
    features_of(w, t->q + t->begin * t->q_row, t->q_row, rows, queries);
    pairs p;
    double decay = 0;
    for (int64_t j = 0; j < t->begin && t->log_decay != NULL; j++)
        decay += decay_of(w, j);
    for (int64_t r = 0; r < rows; r++) {
        if (t->log_decay != NULL)
            decay += decay_of(w, t->begin + r);
        p.decay[r] = decay;
        p.shift[r] = 2 * LEAST_STABILIZER;
        p.norms[r] = w->norms[r];
        p.weight[r] = 0;
    }
    clear(w->result, rows * w->vp);
    clear(w->result_low, rows * w->vp);
    decay = 0;
    for (int64_t j = 0, keys; j < end; j += keys) {
        const int below = t->causal && j >= t->begin;
        keys = gatun__least((t->causal && !below ? t->begin : end) - j, CHUNK);
        features_of(w, t->k + j * t->k_row, t->k_row, keys, w->keys);
        if (w->random) {
            for (int64_t f = 0; f < w->mp; f++)
                w->s.stabilizer[f] = LEAST_STABILIZER;
            int changed;
            keys = stabilized_by_first(w, w->keys, keys, w->s.stabilizer, &changed);
        }
        pack_values(w, t->v + j * t->v_row, keys);
        add_pairs(w, &p, below ? j - t->begin : 0, rows, j, keys, decay, below);
        for (int64_t n = j; n < j + keys && t->log_decay != NULL; n++)
            decay += decay_of(w, n);
    }
    for (int64_t r = 0; r < rows; r++) {
        float *to = t->out + (t->begin + r) * t->out_row;
        const float weight = (float)p.weight[r];
        if (end == 0)
            clear(to, w->v);
        else
            put_row(w, w->result + r * w->vp, weight, row_factor(w, weight, p.norms[r], p.shift[r]), to);
    }
}
