/*
 * Forward attention in float32 for tiny tasks: part of attention_f32.h.
 *
 * Algorithm: at most VW lanes and ROWS_SINGLE keys. Scores (lanes are queries) stay in a register block of ROWS_SINGLE keys;
 * their weights are stored once; values are then taken as vectors, COLUMNS_FULL queries x 2 of them, so that rows of the
 * result come as they are written, and no state has to be kept for a next tile. The operations and their order are those of
 * attention_f32.h, except that what is masked is not left out but has the weight 0.
 */

/* Returns 0, what it wrote being worth nothing, if a result is not finite. `all`: there are ROWS_SINGLE keys, and that is
 * 16. */
INLINE int tiny_task(const gatun__attention_task *t, const int all) {
    enum { KEYS = ROWS_SINGLE, ROWS = COLUMNS_FULL, WIDE = 2 };
    const int32_t lanes = (int32_t)(t->lane_end - t->lane_begin), keys = all ? KEYS : (int32_t)t->keys;
    const vec minus_inf = v_set1(-INFINITY);
    float *const q = (float *)(void *)t->scratch;
    int32_t limit[VW] __attribute__((aligned(64)));
    block_state b = {.q = q, .lanes = lanes, .vectors = 1, .lane_begin = t->lane_begin};
    set_limits(t, &b, limit, VW);
    transpose_queries(t, &b, VW);

    const float *k[KEYS], *base[5] = BASES_OF_16(t->k, all ? t->k_row : 0);
    const int64_t row_bytes = t->k_row * (int64_t)sizeof(float);
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
            s[j] = v_fma(v_set1(all ? *row_of_16(base, row_bytes, j) : k[j][d]), query, s[j]);
        for (int i = 0; all && i < 5; i++)
            base[i]++;
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
            vec weight = v_exp2(v_sub(s[j], reference));
            if (masked)
                weight = v_select(v_int_above(seen, j), weight, v_zero());
            sum = v_add(sum, weight);
            v_store(p + j * VW, weight);
        }
    float inverse[VW] __attribute__((aligned(64)));
    v_store(inverse, v_select(v_equal(sum, v_zero()), v_zero(), v_div(v_set1(1.0f), sum)));

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
                    const vec weight = v_set1(p[j * VW + i + r]);
#pragma GCC unroll 2
                    for (int x = 0; x < WIDE; x++)
                        acc[r][x] = v_fma(value[x], weight, acc[r][x]);
                }
            }
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                if (i + r < lanes)
#pragma GCC unroll 2
                    for (int x = 0; x < WIDE; x++) {
                        vec result = v_add(v_mul(acc[r][x], v_set1(inverse[i + r])), v_zero());
                        check = v_fma(result, v_zero(), check);
                        v_store(row[r] + c + x * VW, result);
                    }
        }
    }
    float checks[VW];
    v_store(checks, check);
    for (int32_t x = 0; x < VW; x++)
        if (checks[x] != 0)
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

/* All keys, which are 16, or some. */
static __attribute__((noinline)) int tiny_all(const gatun__attention_task *t) {
    return tiny_task(t, 1);
}
static __attribute__((noinline)) int tiny_some(const gatun__attention_task *t) {
    return tiny_task(t, 0);
}

static int is_tiny(const gatun__attention_task *t) {
    return INTERLEAVED && t->keys > 0 && t->keys <= ROWS_SINGLE && t->lane_end - t->lane_begin <= VW && !is_biased(t) &&
           t->head_dim <= GATUN__TINY_DIM && t->head_dim_v % (2 * VW) == 0;
}
