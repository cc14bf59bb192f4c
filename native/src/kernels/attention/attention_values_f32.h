/*
 * Probs and values, passes 3 and 4 of attention_f32.h, whose part this is: a chain of CHAIN_KEYS keys is added to the
 * output; meanwhile, where the tier interleaves, the next chain's scores become probs (overlapped_avx512.h) and rows that are
 * read next are prefetched. Register block: up to COLUMNS_FULL columns x QV vectors (COLUMNS_SINGLE x 1).
 *
 * Axes: see attention_f32.h. v [S_k][D_v] of one key/value head, probs [CHAIN_KEYS][LANES] and output [D_v][LANES] of one block.
 */

/* ---- prefetches and probs ---- */

/* Rows to prefetch; sizes in bytes. */
typedef struct region {
    const char *at;
    int64_t row;
    int32_t rows, bytes;
} region;

/* Regions one after the other, `rows` rows in all, spread over the next `probs` vectors of probs: what a thread reads next
 * comes from memory while products keep the core busy. */
typedef struct prefetcher {
    region regions[4]; /* the current one, then those to come; rows == 0: none */
    int32_t rows, probs;
    int64_t due; /* rows times probs */
    int past_l1; /* to L2: rows that collide in L1 would drive each other out */
} prefetcher;

INLINE void prefetch_rows(prefetcher *f, int32_t vectors) {
    region *r = f->regions;
    if (r->rows == 0)
        return;
    for (f->due += (int64_t)vectors * f->rows; f->due >= f->probs && r->rows > 0; f->due -= f->probs) {
        for (int32_t b = 0; b < r->bytes; b += 64) {
            if (f->past_l1)
                __builtin_prefetch(r->at + b, 0, 2);
            else
                __builtin_prefetch(r->at + b);
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
    float chain_sum[LANES]; /* of the probs of one chain */
    int32_t limit[LANES];   /* keys below it are seen */
    float sum[LANES];       /* of the chains before */
    prefetcher *soon;
} softmax;

/* The score of key `key` and vector x becomes a prob, in place. `masked`: 0 unless the lane sees the key, by the limit
 * alone, since what -inf * 0 gives must count. */
INLINE vec prob_of_score(const int masked, const softmax *s, float *at, int32_t key, int32_t x) {
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
    vec prob[QV];
    vmask alive[QV];
#pragma GCC unroll 4
    for (int x = from; x < vectors; x++) {
        prob[x] = v_load(p + j * LANES + x * VW);
        if (selecting)
            alive[x] = live[j * QV + x];
    }
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++) {
        vec value = v_set1(v[j * v_row + c]);
#pragma GCC unroll 4
        for (int x = from; x < vectors; x++)
            acc[c][x] = selecting ? v_fma_where(alive[x], value, prob[x], acc[c][x]) : v_fma(value, prob[x], acc[c][x]);
    }
}

/* Probs of a chain of keys, to be multiplied with its values. */
typedef struct chain_of_keys {
    const float *v;
    float *p;           /* [keys][LANES] */
    const vmask *live;  /* the same of a block that is run again */
    int32_t keys;       /* 0: nothing */
    int32_t vectors;    /* of its block */
    int32_t end[QV];    /* vector x has probs for keys below it only; does not fall with x */
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
 * Pass 4 of a chain of both vectors, overlapped with pass 3 of another of CHAIN_KEYS keys, the first of them `key`: a
 * quarter of its scores during each of the first four register blocks of columns.
 */
static __attribute__((noinline)) void finish_overlapped(const chain_of_keys *chain, int64_t v_row, int32_t dim,
    const int masked, softmax *soft, float *scores, int32_t key) {
    enum { PART = GATUN__CHAIN_KEYS / 4, OVERLAPPED = 4 * COLUMNS_FULL };
    _Static_assert(QV == 2 && COLUMNS_FULL == 8 && LANES == 32, "the shape of products_overlapped");
    _Static_assert(offsetof(softmax, reference) == B_REFERENCE && offsetof(softmax, chain_sum) == B_SUM &&
                       offsetof(softmax, limit) == B_LIMIT,
        "its state");
    const int64_t row_bytes = v_row * KV_BYTES;
    /* On the diagonal the first vector sees one half of the keys. */
    const int32_t full = chain->end[0] <= GATUN__CHAIN_KEYS / 2 ? PART / 2 : PART;
    const int32_t how = chain->first ? B_FIRST : chain->rescale ? B_RESCALED : B_ADDED;
    for (int32_t c = 0, done = 0; c < OVERLAPPED; c += COLUMNS_FULL, done += PART) {
        float *at = scores + done * LANES, *out = chain->out + c * LANES;
        if (masked)
            products_overlapped_masked(
                chain->v + c, row_bytes, chain->p, at, key + done, full, PART - full, soft, out, chain->alpha, how);
        else
            products_overlapped(
                chain->v + c, row_bytes, chain->p, at, key + done, full, PART - full, soft, out, chain->alpha, how);
        prefetch_rows(soft->soon, PART * QV);
    }
    value_chain(QV, 0, chain, v_row, OVERLAPPED, dim);
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
