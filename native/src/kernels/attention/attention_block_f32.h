/*
 * Begin, merge and end of a block, passes 1 and 5 of attention_f32.h, whose part this is: limits, transposed queries, splits
 * merged into doubles, rows and LSE written. What they share with the bf16 kernel is in attention_lanes.h.
 *
 * Axes: see attention_f32.h. q [S_q][H / G][D] becomes [D][LANES]; output [D_v][LANES] becomes out [S_q][H / G][D_v].
 */

/* Clears maximum and sum, and so many columns of the output: the first chain of a block does not read them. */
static void reset(const block_state *b, int32_t columns) {
    for (int32_t i = 0; i < LANES; i++) {
        b->maximum[i] = -INFINITY;
        b->sum[i] = 0;
    }
    if (columns > 0)
        memset(b->out, 0, (size_t)columns * LANES * sizeof(float));
}

static void begin_block(const gatun__attention_task *t, block_state *b, int64_t lane_begin) {
    int64_t lanes = t->lane_end - lane_begin;
    b->lane_begin = lane_begin;
    b->lanes = lanes < LANES ? (int32_t)lanes : LANES;
    b->vectors = (b->lanes + VW - 1) / VW;
    set_limits(t, b, b->limit, b->first, LANES);
    b->limit_least = b->limit[0];
    b->limit_most = b->limit[b->lanes - 1];
    b->first_least = b->first == NULL ? 0 : b->first[0];
    b->first_most = b->first == NULL ? 0 : b->first[b->lanes - 1];
    b->begun = t->changes->any;
    transpose_queries(t, b, LANES);
    reset(b, b->limit_most > 0 && !b->begun ? 0 : t->head_dim_v);
}

/* Adds the float result of one split to the doubles, and clears it for the next. A lane that was fully masked keeps
 * what it had. */
static void merge_split(const gatun__attention_task *t, const block_state *b, int first) {
    double keep[LANES], take[LANES];
    if (first) {
        for (int32_t i = 0; i < LANES; i++) {
            b->merged_maximum[i] = -INFINITY;
            b->merged_sum[i] = 0;
        }
        memset(b->merged_out, 0, (size_t)t->head_dim_v * LANES * sizeof(double));
    }
    for (int32_t x = 0; x < QV; x++) {
        const vec minus_inf = v_set1(-INFINITY);
        vec ours = v_load(b->maximum + x * VW), theirs = v_load(b->merged_maximum + x * VW);
        vec maximum = v_max(theirs, ours);
        vec reference = v_select(v_equal(maximum, minus_inf), v_zero(), maximum);
        float old[VW], fresh[VW];
        v_store(old, v_select(v_equal(theirs, minus_inf), v_zero(), v_exp2(v_sub(theirs, reference))));
        v_store(fresh, v_select(v_equal(ours, minus_inf), v_zero(), v_exp2(v_sub(ours, reference))));
        v_store(b->merged_maximum + x * VW, maximum);
        for (int32_t i = 0; i < VW; i++) {
            keep[x * VW + i] = (double)old[i];
            take[x * VW + i] = (double)fresh[i];
        }
    }
    for (int32_t i = 0; i < LANES; i++)
        b->merged_sum[i] = b->merged_sum[i] * keep[i] + (double)b->sum[i] * take[i];
    for (int32_t c = 0; c < t->head_dim_v; c++)
        for (int32_t i = 0; i < LANES; i++)
            b->merged_out[c * LANES + i] =
                b->merged_out[c * LANES + i] * keep[i] + (double)b->out[c * LANES + i] * take[i];
    reset(b, t->head_dim_v);
}

static void take_merged(const gatun__attention_task *t, const block_state *b) {
    for (int32_t i = 0; i < LANES; i++) {
        b->maximum[i] = b->merged_maximum[i];
        b->sum[i] = (float)b->merged_sum[i];
    }
    for (int32_t i = 0; i < t->head_dim_v * LANES; i++)
        b->out[i] = (float)b->merged_out[i];
}

/* Whether a lane that sees keys has a sum of 0: all its scores are -inf. */
INLINE int has_lost(vec sum, vmask sees) {
    const vec lost = v_select(v_equal(sum, v_zero()), v_set1(1.0f), v_zero());
    return !v_every(v_equal(v_select(sees, lost, v_zero()), v_zero()));
}

/* Rows out[lane][:] / sum. Returns nonzero if a result is not finite, or lost. */
static int write_rows(const gatun__attention_task *t, const block_state *b, int canonical_nan) {
    int bad = 0;
    for (int32_t x = 0; x < b->vectors; x++) {
        int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        int64_t at[VW];
        find_rows(t, t->out_row, t->out_head, b->lane_begin + x * VW, lanes, at);
        vec sum = v_load(b->sum + x * VW);
        vec inverse = v_select(v_equal(sum, v_zero()), v_zero(), v_div(v_set1(1.0f), sum));
        bad |= has_lost(sum, v_int_above(v_load_int(b->limit + x * VW), 0));
        /* 0, or NaN where a result is not finite; several, so that none waits for the one before. */
        vec check[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int32_t c = 0; c < t->head_dim_v; c += VW) {
            const float *from = b->out + c * LANES + x * VW;
            int32_t count = t->head_dim_v - c < VW ? t->head_dim_v - c : VW;
            vec r[VW];
            if (lanes == VW && count == VW && !canonical_nan) {
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++) {
                    /* + 0 turns -0 into 0: the sign of an exact zero would depend on masked places. */
                    r[i] = v_add(v_mul(v_load(from + i * LANES), inverse), v_zero());
                    check[i % 4] = v_add(check[i % 4], v_sub(r[i], r[i]));
                }
                v_transpose(r);
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    v_store(t->out + at[i] + c, r[i]);
                continue;
            }
            for (int32_t i = 0; i < VW; i++) {
                r[i] = i < count ? v_add(v_mul(v_load(from + i * LANES), inverse), v_zero()) : v_zero();
                check[i % 4] = v_add(check[i % 4], v_sub(r[i], r[i]));
                if (canonical_nan)
                    r[i] = v_select(v_equal(r[i], r[i]), r[i], v_set1(NAN));
            }
            v_transpose(r);
            for (int32_t i = 0; i < lanes; i++) {
                if (count == VW)
                    v_store(t->out + at[i] + c, r[i]);
                else
                    v_store_some(t->out + at[i] + c, r[i], count);
            }
        }
        const vec all = v_add(v_add(check[0], check[1]), v_add(check[2], check[3]));
        if (lanes == VW) {
            bad |= !v_every(v_equal(all, v_zero()));
            continue;
        }
        /* A lane that does not exist may be NaN where no other is: 0 times an infinite key. */
        float checks[VW];
        v_store(checks, all);
        for (int32_t i = 0; i < lanes; i++)
            bad |= checks[i] != 0;
    }
    return bad;
}
