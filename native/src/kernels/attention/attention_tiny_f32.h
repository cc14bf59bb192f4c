/*
 * Forward attention in float32 for tiny tasks (gatun__is_tiny): part of attention_f32.h.
 *
 * Axes: see attention_f32.h. At most VW lanes and ROWS_SINGLE keys; scores and probs [keys][VW].
 *
 * Algorithm: scores (lanes are queries) stay in a register block of ROWS_SINGLE keys; their probs are stored once; values are
 * then taken as vectors, COLUMNS_FULL queries x 2 of them, so that rows of the result come as they are written, and no state
 * has to be kept for a next tile. The operations and their order are those of attention_f32.h, except that a masked key is not
 * left out but has prob 0.
 *
 * A task has several heads. Where each has VW rows and ROWS_SINGLE keys (16 and 16), exponentials of one head lie between
 * the products of the next one's scores, so that only those of the last head have no products of scores to overlap.
 */

/* One head. Returns 0 if a result is not finite, or lost (has_lost); its output is then invalid. */
static __attribute__((noinline)) int tiny_head(const gatun__attention_task *t) {
    enum { KEYS = ROWS_SINGLE, ROWS = COLUMNS_FULL, WIDE = 2 };
    const int32_t lanes = (int32_t)(t->lane_end - t->lane_begin), keys = (int32_t)t->visible.keys;
    const vec minus_inf = v_set1(-INFINITY);
    float *const q = (float *)(void *)t->scratch;
    int32_t limit[VW] __attribute__((aligned(64)));
    block_state b = {.q = q, .lanes = lanes, .vectors = 1, .lane_begin = t->lane_begin};
    set_limits(t, &b, limit, NULL, VW);
    transpose_queries(t, &b, VW);

    const float *k[KEYS];
    vec s[KEYS];
#pragma GCC unroll 16
    for (int j = 0; j < KEYS; j++) {
        k[j] = t->k + (j < keys ? j : keys - 1) * t->k_row;
        s[j] = v_zero();
    }
    for (int32_t d = 0; d < t->head_dim; d++) {
        const vec query = v_load(q + d * VW);
#pragma GCC unroll 16
        for (int j = 0; j < KEYS; j++)
            s[j] = v_fma(v_set1(k[j][d]), query, s[j]);
    }
    const vint seen = v_load_int(limit);
    const int masked = limit[0] < keys;
    vec maximum = minus_inf;
#pragma GCC unroll 16
    for (int j = 0; j < KEYS; j++)
        if (j < keys)
            maximum = v_max(maximum, masked ? v_select(v_int_above(seen, j), s[j], minus_inf) : s[j]);
    const vec reference = v_select(v_equal(maximum, minus_inf), v_zero(), maximum);
    vec sum = v_zero();
    float p[KEYS * VW] __attribute__((aligned(64)));
#pragma GCC unroll 16
    for (int j = 0; j < KEYS; j++)
        if (j < keys) {
            vec prob = v_exp2(v_sub(s[j], reference));
            if (masked)
                prob = v_select(v_int_above(seen, j), prob, v_zero());
            sum = v_add(sum, prob);
            v_store(p + j * VW, prob);
        }
    float inverse[VW] __attribute__((aligned(64)));
    /* What is lost becomes NaN. */
    v_store(inverse, v_select(v_int_above(seen, 0), v_div(v_set1(1.0f), sum), v_zero()));

    vec check = v_zero();
    place at = place_of(t, t->lane_begin);
    for (int32_t i = 0; i < lanes; i += ROWS) {
        float *row[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            row[r] = t->out + at.row * t->out_row + at.head * t->out_head;
            if (i + r + 1 < lanes)
                step(t, &at);
        }
        for (int32_t c = 0; c < t->head_dim_v; c += WIDE * VW) {
            vec acc[ROWS][WIDE];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
                for (int x = 0; x < WIDE; x++)
                    acc[r][x] = v_zero();
            for (int32_t j = 0; j < keys; j++) {
                vec value[WIDE];
#pragma GCC unroll 2
                for (int x = 0; x < WIDE; x++)
                    value[x] = v_load(t->v + j * t->v_row + c + x * VW);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; r++) {
                    const vec prob = v_set1(p[j * VW + i + r]);
#pragma GCC unroll 2
                    for (int x = 0; x < WIDE; x++)
                        acc[r][x] = v_fma(value[x], prob, acc[r][x]);
                }
            }
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                if (i + r < lanes)
#pragma GCC unroll 2
                    for (int x = 0; x < WIDE; x++) {
                        vec result = v_add(v_mul(acc[r][x], v_set1(inverse[i + r])), v_zero());
                        check = v_add(check, v_sub(result, result));
                        v_store(row[r] + c + x * VW, result);
                    }
        }
    }
    if (!v_every(v_equal(check, v_zero())))
        return 0;
    if (t->lse != NULL) {
        float maxima[VW], sums[VW];
        v_store(maxima, maximum);
        v_store(sums, sum);
        b.maximum = maxima;
        b.sum = sums;
        write_lse(t, &b);
    }
    return 1;
}

/* Probs that are being made of the scores of a head. */
typedef struct tiny_probs {
    float p[16 * VW]; /* [key][lane]: scores, probs later */
    float reference[VW];
    float sum[VW];     /* of the probs made so far */
    int32_t limit[VW]; /* keys below it are seen */
} tiny_probs;

/* Key `key` of them; their sum so far. */
INLINE void tiny_prob(const int masked, tiny_probs *w, int32_t key, vec *sum) {
    vec p = v_exp2(v_sub(v_load(w->p + key * VW), v_load(w->reference)));
    if (masked)
        p = v_select(v_int_above(v_load_int(w->limit), key), p, v_zero());
    v_store(w->p + key * VW, p);
    *sum = v_add(*sum, p);
}

/* All keys from this one on. */
INLINE void tiny_probs_rest(const int masked, tiny_probs *w, int32_t key, vec sum) {
    for (; key < 16; key++)
        tiny_prob(masked, w, key, &sum);
    v_store(w->sum, sum);
}

/* Scores of 16 queries and 16 keys, and the reference of their probs; meanwhile scores of `overlapped`, if not NULL, become probs. */
INLINE void tiny_scores(const gatun__attention_task *t, const int masked, const float *queries, const float *k,
    tiny_probs *to, tiny_probs *overlapped) {
    float *const q = (float *)(void *)t->scratch;
    const int64_t q_row = t->q_row;
    int64_t at[VW];
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++)
        at[i] = (queries - t->q) + i * q_row;
    transpose_rows(t, at, VW, q, VW);
    vec s[16];
    const float *base[5] = BASES_OF_16(k, t->k_row);
    const int64_t row_bytes = t->k_row * KV_BYTES;
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++)
        s[j] = v_zero();
    vec sum = v_zero();
    const int32_t dim = t->head_dim;
    int32_t done = 0;
    enum { STEPS = 2 };
    for (int32_t d = 0; d < dim; d += STEPS) {
#pragma GCC unroll 4
        for (int u = 0; u < STEPS; u++) {
            const vec query = v_load(q + (d + u) * VW);
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++)
                s[j] = v_fma(v_set1(row_of_16(base, row_bytes, j)[u]), query, s[j]);
        }
#pragma GCC unroll 5
        for (int i = 0; i < 5; i++)
            base[i] += STEPS;
        if (overlapped != NULL && done < 16)
            tiny_prob(masked, overlapped, done++, &sum);
    }
    const vec minus_inf = v_set1(-INFINITY);
    const vint seen = v_load_int(to->limit);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) {
        v_store(to->p + j * VW, s[j]);
        if (masked)
            s[j] = v_select(v_int_above(seen, j), s[j], minus_inf);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        s[j] = v_max(s[j], s[j + 8]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        s[j] = v_max(s[j], s[j + 4]);
    s[0] = v_max(v_max(s[0], s[2]), v_max(s[1], s[3]));
    v_store(to->reference, v_select(v_equal(s[0], minus_inf), v_zero(), s[0]));
    if (overlapped != NULL)
        tiny_probs_rest(masked, overlapped, done, sum);
}

/* Rows of a head's result, meanwhile the same. Returns whether all are finite and none is lost. */
INLINE int tiny_values(const gatun__attention_task *t, const int masked, const float *v, const tiny_probs *w,
    float *out, tiny_probs *overlapped) {
    enum { ROWS = COLUMNS_FULL, WIDE = 2 };
    const vec total = v_load(w->sum);
    float inverse[VW] __attribute__((aligned(64)));
    const vec quotient = v_div(v_set1(1.0f), total);
    v_store(inverse, masked ? v_select(v_int_above(v_load_int(w->limit), 0), quotient, v_zero()) : quotient);
    vec check[WIDE] = {v_zero(), v_zero()}, sum = v_zero();
    int32_t done = 0;
    for (int32_t i = 0; i < VW; i += ROWS)
        for (int32_t c = 0; c < t->head_dim_v; c += WIDE * VW) {
            vec acc[ROWS][WIDE];
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
                for (int x = 0; x < WIDE; x++)
                    acc[r][x] = v_zero();
            const float *value_row = v + c, *p = w->p + i;
            for (int32_t four = 0; four < 4; four++) {
                for (int32_t j = 0; j < 4; j++, value_row += t->v_row, p += VW) {
                    const vec value[WIDE] = {v_load(value_row), v_load(value_row + VW)};
#pragma GCC unroll 8
                    for (int r = 0; r < ROWS; r++) {
                        const vec prob = v_set1(p[r]);
#pragma GCC unroll 2
                        for (int x = 0; x < WIDE; x++)
                            acc[r][x] = v_fma(value[x], prob, acc[r][x]);
                    }
                }
                if (overlapped != NULL && done < 16) {
                    tiny_prob(masked, overlapped, done, &sum);
                    tiny_prob(masked, overlapped, done + 1, &sum);
                    done += 2;
                }
            }
            float *row = out + i * t->out_row + c;
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++, row += t->out_row) {
                const vec scale = v_set1(inverse[i + r]);
#pragma GCC unroll 2
                for (int x = 0; x < WIDE; x++) {
                    /* + 0 as in write_rows */
                    vec result = v_add(v_mul(acc[r][x], scale), v_zero());
                    check[x] = v_add(check[x], v_sub(result, result));
                    v_store(row + x * VW, result);
                }
            }
        }
    if (overlapped != NULL)
        tiny_probs_rest(masked, overlapped, done, sum);
    return v_every(v_equal(v_add(check[0], check[1]), v_zero()));
}

/* Copies of both without and with a mask, and with nothing and something to overlap. */
#define TINY(masked)                                                                                                   \
    static __attribute__((noinline)) void tiny_scores_##masked(const gatun__attention_task *t, const float *queries,   \
        const float *k, tiny_probs *to, tiny_probs *overlapped) {                                                      \
        if (overlapped == NULL)                                                                                        \
            tiny_scores(t, masked, queries, k, to, NULL);                                                              \
        else                                                                                                           \
            tiny_scores(t, masked, queries, k, to, overlapped);                                                        \
    }                                                                                                                  \
    static __attribute__((noinline)) int tiny_values_##masked(                                                         \
        const gatun__attention_task *t, const float *v, const tiny_probs *w, float *out, tiny_probs *overlapped) {     \
        return overlapped == NULL ? tiny_values(t, masked, v, w, out, NULL)                                            \
                                  : tiny_values(t, masked, v, w, out, overlapped);                                     \
    }
TINY(0)
TINY(1)
#undef TINY

/*
 * All heads of a task, of 16 rows and 16 keys each. While scores of a head are made, those of the one before become probs; those
 * of the last head while the values of the one before are multiplied.
 */
INLINE void tiny_heads_of(gatun__attention_task *t, const int masked) {
    tiny_probs probs[2] __attribute__((aligned(64)));
    block_state b = {.lanes = VW, .vectors = 1, .lane_begin = t->lane_begin};
    if (masked) {
        set_limits(t, &b, probs[0].limit, NULL, VW);
        memcpy(probs[1].limit, probs[0].limit, sizeof probs[1].limit);
    }
    const float *const queries = t->q + t->lane_begin * t->q_row;
    for (int64_t head = -1; head < t->heads; head++) {
        const int64_t next = head + 1;
        tiny_probs *const w = &probs[head & 1], *const other = &probs[next & 1];
        if (next < t->heads) {
            (masked ? tiny_scores_1 : tiny_scores_0)(
                t, queries + next * t->q_next, t->k + next * t->k_next, other, head < 0 ? NULL : w);
            if (head < 0) {
                if (t->heads == 1)
                    tiny_probs_rest(masked, other, 0, v_zero());
                continue;
            }
        }
        const int good = (masked ? tiny_values_1 : tiny_values_0)(t, t->v + head * t->v_next, w,
            t->out + head * t->out_next + t->lane_begin * t->out_row, next + 1 == t->heads ? other : NULL);
        if (good && t->lse == NULL)
            continue;
        gatun__attention_task one = gatun__head_of(t, head);
        if (good) {
            b.maximum = w->reference;
            b.sum = w->sum;
            write_lse(&one, &b);
        } else { /* nothing that is needed lies in its scratch */
            attention_head(&one);
            t->redone += one.redone;
        }
    }
}

/* The heads of a tiny task. */
void KERNEL(attention_tiny_f32)(gatun__attention_task *t) {
    _Static_assert(VW == 16 && ROWS_SINGLE == 16 && COLUMNS_FULL == 8, "the shape of tiny_heads_of");
    _Static_assert(GATUN__TINY_LANES == VW && GATUN__TINY_KEYS == ROWS_SINGLE && GATUN__TINY_COLUMNS == 2 * VW,
        "what gatun__is_tiny asks for");
    if (t->visible.keys == 16 && t->lane_end - t->lane_begin == VW && t->group == 1 && t->head_dim % 2 == 0) {
        if (gatun__all_visible(&t->visible, t->lane_begin, t->lane_end - 1))
            tiny_heads_of(t, 0);
        else
            tiny_heads_of(t, 1);
        return;
    }
    for (int64_t head = 0; head < t->heads; head++) {
        gatun__attention_task one = gatun__head_of(t, head);
        if (!tiny_head(&one))
            attention_head(&one);
        t->redone += one.redone;
    }
}
