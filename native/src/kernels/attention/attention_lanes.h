/*
 * Lanes of a block of queries, for kernels whose lanes are queries (attention_f32.h says what a lane is): where their rows are,
 * which keys they see, queries transposed, LSE written. After vectors_<tier>.h; QV is the number of vectors of a block.
 */
#ifndef GATUN_ATTENTION_LANES_H
#define GATUN_ATTENTION_LANES_H

#include "gatun.h"
#include "kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define LANES  (VW * QV)
#define INLINE static inline __attribute__((always_inline))

/* One copy of the code per number of vectors in use. */
#if QV == 1
#define EACH_VECTORS(code) code(1)
#elif QV == 2
#define EACH_VECTORS(code) code(1) code(2)
#elif QV == 3
#define EACH_VECTORS(code) code(1) code(2) code(3)
#else
#define EACH_VECTORS(code) code(1) code(2) code(3) code(4)
#endif

typedef struct block_state {
    float *q;       /* [head_dim][LANES] */
    float *out;     /* [head_dim_v][LANES] */
    float *maximum; /* [LANES], of scores */
    float *sum;     /* [LANES] */
    int32_t *limit; /* [LANES], the end of the lane's key_range */
    int32_t *first; /* [LANES], where it begins; NULL where that is 0 for all */
    double *merged_out, *merged_sum;
    float *merged_maximum;
    int64_t lane_begin;
    int32_t lanes;       /* of LANES */
    int32_t vectors;     /* that hold a lane */
    int32_t limit_least; /* over the lanes */
    int32_t limit_most;
    int32_t first_least, first_most;
    int begun; /* out is to be added to, whatever comes first */
} block_state;

/* Row and head of a lane, and of those after it without a division for each. */
typedef struct place {
    int64_t row, head;
} place;

static inline place place_of(const gatun__attention_task *t, int64_t lane) {
    return t->group == 1 ? (place){lane, 0} : (place){lane / t->group, lane % t->group};
}

static inline void step(const gatun__attention_task *t, place *p) {
    if (++p->head == t->group) {
        p->head = 0;
        p->row++;
    }
}

/* Where the rows of lanes first .. first + lanes - 1 are, as offsets in elements. */
INLINE void find_rows(
    const gatun__attention_task *t, int64_t row, int64_t head, int64_t first, int32_t lanes, int64_t at[VW]) {
    if (t->group == 1 && lanes == VW) {
        at[0] = first * row;
#pragma GCC unroll 16
        for (int32_t i = 1; i < VW; i++)
            at[i] = at[i - 1] + row;
        return;
    }
    place p = place_of(t, first);
    for (int32_t i = 0; i < lanes; i++, step(t, &p))
        at[i] = p.row * row + p.head * head;
}

/* to[d][lane] = q[at[lane] + d] * q_factor * q_power, for VW rows or, where `lanes` says so, for fewer: the others are 0. */
INLINE void transpose_rows(
    const gatun__attention_task *t, const int64_t at[VW], int32_t lanes, float *to, const int32_t stride) {
    const vec factor = v_set1(t->q_factor), power = v_set1(t->q_power);
    const int scaled = t->q_power != 1;
    for (int32_t d = 0; d < t->head_dim; d += VW) {
        int32_t count = t->head_dim - d < VW ? t->head_dim - d : VW;
        vec r[VW];
        if (lanes == VW && count == VW) {
#pragma GCC unroll 16
            for (int32_t i = 0; i < VW; i++)
                r[i] = v_load(t->q + at[i] + d);
            v_transpose(r);
            if (scaled)
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    r[i] = v_mul(r[i], power);
#pragma GCC unroll 16
            for (int32_t i = 0; i < VW; i++)
                v_store(to + (d + i) * stride, v_mul(r[i], factor));
            continue;
        }
        for (int32_t i = 0; i < VW; i++)
            r[i] = i >= lanes    ? v_zero()
                   : count == VW ? v_load(t->q + at[i] + d)
                                 : v_load_some(t->q + at[i] + d, count);
        v_transpose(r);
        for (int32_t i = 0; i < count; i++)
            v_store(to + (d + i) * stride, v_mul(v_mul(r[i], power), factor));
    }
}

static inline void transpose_queries(const gatun__attention_task *t, const block_state *b, const int32_t stride) {
    for (int32_t x = 0; x < b->vectors; x++) {
        int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        int64_t at[VW];
        find_rows(t, t->q_row, t->q_head, b->lane_begin + x * VW, lanes, at);
        transpose_rows(t, at, lanes, b->q + x * VW, stride);
    }
}

/* Where the keys begin and end that each lane sees; firsts may be NULL. */
static inline void set_limits(
    const gatun__attention_task *t, const block_state *b, int32_t *limits, int32_t *firsts, const int32_t count) {
    place p = place_of(t, b->lane_begin);
    if (gatun__all_visible(&t->visible, p.row, place_of(t, b->lane_begin + b->lanes - 1).row)) {
        for (int32_t i = 0; i < count; i++)
            limits[i] = (int32_t)t->visible.keys;
        if (firsts != NULL)
            memset(firsts, 0, (size_t)count * sizeof *firsts);
        return;
    }
    int32_t i = 0;
    for (; i < b->lanes; i++, step(t, &p)) {
        const gatun__keys keys = gatun__key_range(&t->visible, p.row);
        limits[i] = (int32_t)keys.end;
        if (firsts != NULL)
            firsts[i] = (int32_t)keys.first;
    }
    /* A lane that does not exist sees what the last one sees, so that it causes no masking. */
    for (; i < count; i++) {
        limits[i] = limits[b->lanes - 1];
        if (firsts != NULL)
            firsts[i] = firsts[b->lanes - 1];
    }
}

static void write_lse(const gatun__attention_task *t, const block_state *b) {
    place p = place_of(t, b->lane_begin);
    for (int32_t i = 0; i < b->lanes; i++, step(t, &p)) {
        float *to = t->lse + p.row * t->lse_row + p.head * t->lse_head;
        float sum = b->sum[i];
        if (sum == 0)
            *to = -INFINITY;
        else if (sum != sum)
            *to = NAN;
        else
            *to = (float)((double)b->maximum[i] * GATUN__LOG_2 + log((double)sum));
    }
}

#endif
