/*
 * One tile of TILE_KEYS keys for one block of queries, part of attention_f32.h: scores, their maximum, and the order in
 * which chains of probs are made and used; the last one waits for the scores of the next block.
 *
 * Axes: see attention_f32.h. k [S_k][D], v [S_k][D_v], scores and probs [TILE_KEYS][LANES].
 */

enum { SCORE_CHAINS = GATUN__TILE_KEYS / GATUN__CHAIN_KEYS + 1 };

/* Scratch that a thread keeps from tile to tile. */
typedef struct tile_scratch {
    float *scores;     /* [SCORE_CHAINS][CHAIN_KEYS][LANES], probs later; a ring of chains */
    int32_t next;      /* chain of the ring that the next tile begins with */
    vmask *live;       /* [TILE_KEYS][QV]: which are neither masked nor -inf */
    float *biases;     /* by distance, or NULL */
    float *key_biases; /* [TILE_KEYS][LANES], or NULL */
    float *seen;       /* of fill_masks: [TILE_KEYS / 4][LANES]; or NULL */
    void *rows;        /* what is transposed to these: [VW][TILE_KEYS] */
    int masked;        /* whether a mask of `seen` hides some key of this tile */
    /* The tile's keys and values, where they lie or in the copies, which are NULL unless tiles are copied. */
    const float *k, *v;
    int64_t k_row, v_row;
    float *k_copy, *v_copy;
    chain_of_keys waiting;
    float *alpha[2]; /* [LANES] each: of the waiting chain's tile, and of this one */
    prefetcher soon;
} tile_scratch;

/* Multiplies the waiting chain with its values. */
static void finish_waiting(const gatun__attention_task *t, tile_scratch *tile) {
    finish(&tile->waiting, tile->v_row, t->head_dim_v);
    tile->waiting.keys = 0;
    if (!INTERLEAVED)
        tile->next = 0;
}

/* -inf masks, whatever the score is. */
INLINE vec add_bias(vec score, vec bias) {
    const vec minus_inf = v_set1(-INFINITY);
    return v_select(v_equal(bias, minus_inf), minus_inf, v_add(score, bias));
}

/* Keys first .. first + keys - 1 of the tile whose first one is first_key, of vector x those below end[x] - first: products become
 * scores, and the maximum that of those that a lane sees. s->biases may be NULL; cap: to base 2, or 0; keys before first_edge may
 * lie before a lane's window. */
static __attribute__((noinline)) void change_scores(int vectors, const score_bias *s, const tile_scratch *tile,
    const block_state *b, float cap, int32_t first, int32_t keys, const int32_t *end, int32_t first_key,
    int32_t first_edge, float *scores, vec *maximum) {
    const vec minus_inf = v_set1(-INFINITY);
    const float *key_biases = tile->key_biases == NULL ? NULL : tile->key_biases + first * LANES;
    for (int x = 0; x < vectors; x++) {
        const vint limits = v_load_int(b->limit + x * VW);
        const int32_t count = end[x] - first < keys ? end[x] - first : keys, key = first_key + first;
        vec most = maximum[x];
        for (int32_t j = 0; j < count; j += 4) {
            vint seen = limits;
            if (tile->masked)
                seen = v_load_int((const int32_t *)(const void *)(tile->seen + (first + j) / 4 * LANES + x * VW));
#pragma GCC unroll 4
            for (int n = 0; n < 4; n++) {
                const int32_t i = j + n;
                if (i >= count)
                    break;
                float *at = scores + i * LANES + x * VW;
                vec score = v_load(at);
                if (cap > 0)
                    score = capped(score, cap);
                if (s->biases != NULL)
                    score = add_bias(score, v_load(s->biases - (first + i) * s->step + x * VW));
                if (key_biases != NULL)
                    score = add_bias(score, v_load(key_biases + i * LANES + x * VW));
                if (tile->masked)
                    score = v_select(v_byte_is_set(seen, n), score, minus_inf);
                if (first + i < first_edge)
                    score = v_select(v_int_above(v_load_int(b->first + x * VW), key + i), minus_inf, score);
                v_store(at, score);
                most = v_max(most, v_select(v_int_above(limits, key + i), score, minus_inf));
            }
        }
        maximum[x] = most;
    }
}

INLINE void tile_of(const int vectors, const int biased, const gatun__attention_task *t, const block_state *b,
    int32_t first_key, int32_t keys, int select_all, tile_scratch *tile, const float *biases) {
    enum { CHAIN = GATUN__CHAIN_KEYS };
    vmask *live = tile->live;
    const float *k = tile->k, *v = tile->v;
    const int64_t k_row = tile->k_row, v_row = tile->v_row;
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
    /* Chains before the first key that a lane sees are left out: they would add zeros. */
    const int32_t begin = biased == CHANGED && b->first_least > first_key ? (b->first_least - first_key) / CHAIN : 0;
    int32_t chains = begin;
    for (; chains * CHAIN < keys; chains++) {
        scores[chains] = tile->scores + tile->next * CHAIN * LANES;
        tile->next = tile->next + 1 == SCORE_CHAINS ? 0 : tile->next + 1;
    }

    vec maximum[QV], old_maximum[QV];
    for (int x = 0; x < vectors; x++)
        maximum[x] = old_maximum[x] = v_load(b->maximum + x * VW);
    score_bias s = {0};
    if (biased != PLAIN) {
        s.biases = biases;
        s.step = bias_step(t);
    }
    /* That of products is not looked at where scores change. */
    vec products[QV];
    for (int x = 0; x < vectors; x++)
        products[x] = minus_inf;
    const float cap = t->changes->softcap;
    const int32_t first_edge = b->first_most - first_key;
    const int32_t changed = biased != CHANGED                                                       ? 0
                            : cap > 0 || biases != NULL || tile->key_biases != NULL || tile->masked ? keys
                                                                                                    : first_edge;
    /* Pass 2. */
    for (int32_t n = begin; n < chains; n++) {
        int32_t j = n * CHAIN, chain = keys - j < CHAIN ? keys - j : CHAIN;
        vec *const largest = biased == CHANGED && j < changed ? products : maximum;
        if (j < masked_from) {
            score_keys(vectors, biased == BIASED, k + j * k_row, k_row, b->q, t->head_dim, j, chain, scores[n], &s,
                OF_ALL, NULL, 0, largest);
            if (biased == CHANGED && j < changed)
                change_scores(vectors, &s, tile, b, cap, j, chain, seen, first_key, first_edge, scores[n], maximum);
            if (vectors == 1) /* memory is the bound: half of what is due */
                prefetch_rows(&tile->soon, (chain + 1) / 2);
            continue;
        }
        int32_t key = 0;
#define SCORES(x)                                                                                                      \
    if (vectors > x && key < seen[x] - j && key < chain) {                                                             \
        score_bias part = {.biases = biased == BIASED ? s.biases + x * VW : NULL, .step = s.step};                     \
        int32_t end = seen[x] - j < chain ? seen[x] - j : chain;                                                       \
        score_keys(vectors > x ? vectors - x : 1, biased == BIASED, k + (j + key) * k_row, k_row, b->q + x * VW,       \
            t->head_dim, j + key, end - key, scores[n] + key * LANES + x * VW, &part, OF_SEEN, b->limit + x * VW,      \
            first_key, largest + x);                                                                                   \
        key = end;                                                                                                     \
    }
        SCORES(0)
        SCORES(1)
        SCORES(2)
        SCORES(3)
#undef SCORES
        if (biased == CHANGED && j < changed)
            change_scores(vectors, &s, tile, b, cap, j, chain, seen, first_key, first_edge, scores[n], maximum);
        for (int x = 0; select_all && x < vectors; x++) {
            vint limit = v_load_int(b->limit + x * VW);
            for (int32_t i = 0; i < chain && j + i < seen[x]; i++)
                live[(j + i) * QV + x] = v_and_not_equal(
                    v_int_above(limit, first_key + j + i), v_load(scores[n] + i * LANES + x * VW), minus_inf);
        }
    }

    softmax soft __attribute__((aligned(64)));
    memcpy(soft.limit, b->limit, sizeof soft.limit);
    soft.soon = &tile->soon;
    /* The waiting chain still needs its own. */
    float *const alpha = tile->alpha[tile->waiting.alpha == tile->alpha[0]];
    for (int x = 0; x < vectors; x++) {
        /* A lane whose scores have all been -inf keeps the maximum -inf; its scores are then taken against 0, which
         * leaves them -inf. */
        vec reference = v_select(v_equal(maximum[x], minus_inf), v_zero(), maximum[x]);
        vec rescaled = v_exp2(v_sub(old_maximum[x], reference));
        v_store(alpha + x * VW, v_select(v_equal(old_maximum[x], minus_inf), v_zero(), rescaled));
        v_store(soft.reference + x * VW, reference);
        v_store(soft.sum + x * VW, v_zero());
        v_store(soft.chain_sum + x * VW, v_zero());
    }

    /* Passes 3 and 4: probs of a chain, while the one before is multiplied. */
    for (int32_t n = begin; n < chains; n++) {
        const int32_t j = n * CHAIN, chain = keys - j < CHAIN ? keys - j : CHAIN;
        const int masked = j >= masked_from;
        const int together = INTERLEAVED && vectors == 2 && t->head_dim_v >= 4 * COLUMNS_FULL && !select_all &&
                             chain == CHAIN && tile->waiting.keys == CHAIN && tile->waiting.vectors == 2 &&
                             tile->waiting.end[1] == CHAIN;
        chain_of_keys next = {.v = v + j * v_row,
            .p = scores[n],
            .live = select_all ? live + j * QV : NULL,
            .keys = chain,
            .vectors = vectors,
            .out = b->out,
            .first = first_key == 0 && n == 0 && !b->begun,
            .rescale = n == begin,
            .alpha = alpha};
        for (int x = 0; x < vectors; x++)
            next.end[x] = seen[x] < j ? 0 : seen[x] - j < chain ? seen[x] - j : chain;
        if (together) {
#if INTERLEAVED
            finish_overlapped(&tile->waiting, v_row, t->head_dim_v, masked, &soft, scores[n], first_key + j);
#endif
        } else {
            for (int x = 0; x < vectors; x++) {
                vec sum = v_zero();
                float *at = scores[n] + x * VW;
                /* finish_overlapped multiplies whole halves: what a vector does not see has to be 0. */
                const int32_t end = INTERLEAVED && chain == CHAIN ? CHAIN : next.end[x];
                if (masked)
                    for (int32_t i = 0; i < end; i++, at += LANES)
                        sum = v_add(sum, prob_of_score(1, &soft, at, first_key + j + i, x));
                else
                    for (int32_t i = 0; i < chain; i++, at += LANES)
                        sum = v_add(sum, prob_of_score(0, &soft, at, first_key + j + i, x));
                v_store(soft.chain_sum + x * VW, sum);
            }
            prefetch_rows(soft.soon, vectors == 1 ? chain / 2 : chain * vectors);
            finish(&tile->waiting, v_row, t->head_dim_v);
        }
        for (int x = 0; x < vectors; x++) {
            v_store(soft.sum + x * VW, v_add(v_load(soft.sum + x * VW), v_load(soft.chain_sum + x * VW)));
            v_store(soft.chain_sum + x * VW, v_zero());
        }
        tile->waiting = next;
        if (!INTERLEAVED || select_all)
            finish_waiting(t, tile);
    }

    for (int x = 0; x < vectors; x++) {
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), v_load(alpha + x * VW), v_load(soft.sum + x * VW)));
        v_store(b->maximum + x * VW, maximum[x]);
    }
}

typedef void tile_function(const gatun__attention_task *t, const block_state *b, int32_t first_key, int32_t keys,
    int select_all, tile_scratch *tile, const float *biases);

#define TILE(n)                                                                                                        \
    static __attribute__((noinline)) void tile_##n(const gatun__attention_task *t, const block_state *b,               \
        int32_t first_key, int32_t keys, int select_all, tile_scratch *tile, const float *biases) {                    \
        (void)biases;                                                                                                  \
        tile_of(n, PLAIN, t, b, first_key, keys, select_all, tile, NULL);                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void biased_tile_##n(const gatun__attention_task *t, const block_state *b,        \
        int32_t first_key, int32_t keys, int select_all, tile_scratch *tile, const float *biases) {                    \
        tile_of(n, BIASED, t, b, first_key, keys, select_all, tile, biases);                                           \
    }                                                                                                                  \
    static __attribute__((noinline)) void changed_tile_##n(const gatun__attention_task *t, const block_state *b,       \
        int32_t first_key, int32_t keys, int select_all, tile_scratch *tile, const float *biases) {                    \
        tile_of(n, CHANGED, t, b, first_key, keys, select_all, tile, biases);                                          \
    }
EACH_VECTORS(TILE)
#undef TILE

#define TILE(n)         tile_##n,
#define BIASED_TILE(n)  biased_tile_##n,
#define CHANGED_TILE(n) changed_tile_##n,
static tile_function *const tiles[3][QV] = {
    {EACH_VECTORS(TILE)}, {EACH_VECTORS(BIASED_TILE)}, {EACH_VECTORS(CHANGED_TILE)}};
#undef TILE
#undef BIASED_TILE
#undef CHANGED_TILE
