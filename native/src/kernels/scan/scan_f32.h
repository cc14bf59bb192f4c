/*
 * The selective scan in float32, for every tier. Included once by each scan_<tier>.c after its vectors.
 *
 * Axes: R rows of a sequence, K channels of a task, N states. x, delta, z and y [R][K] of wider rows, b and c [R][N], a and state
 * [K][N]; in scratch a * log2(e) and h [N][K], delta', delta' * x and y [SCAN_ROWS][K].
 *
 * Lanes are channels: nothing is reduced across a vector, and whatever runs beside a channel, its arithmetic is the same. For each
 * SCAN_ROWS rows first step sizes are made, whose logarithm and division take long one by one; then, vector by vector, SCAN_STATES
 * states go through these rows: one exponential, two products and two multiply-adds each, with a and h in registers. What they give
 * is added to y in L1, and y gets d and the gate at the end.
 *
 * Registers: SCAN_STATES (of the tier) a and h, delta', delta' x, two sums of y, the constants of v_exp2, temporaries of as many states
 * as the core overlaps. Tiles: gatun__scan_width channels, so that a and h have at most 16 KiB each.
 */
#include "gatun.h"
#include "kernels.h"

#include "../vectors/activations_f32.h"

#include <stddef.h>

/*
 * log(1 + e^x) = max(x, 0) + log(1 + u), u = e^-|x| in 0 .. 1. log(1 + u) = 2 artanh(s) = 2 s P(s^2), s = u / (2 + u) <= 1/3; P has
 * degree 4, fitted for the least relative error with P(0) = 1 (weighted least squares, reweighted, coefficients rounded to float
 * from the lowest on): 4.5e-9.
 */
INLINE vec softplus(vec x) {
    vec u = v_exp2(v_mul(v_magnitude(x), v_set1(-1.44269504f)));
    vec s = v_div(u, v_add(v_set1(2.0f), u));
    vec q = v_mul(s, s);
    vec p = v_set1(0x1.1eca18p-3f);
    p = v_fma(p, q, v_set1(0x1.1ec040p-3f));
    p = v_fma(p, q, v_set1(0x1.99d1ccp-3f));
    p = v_fma(p, q, v_set1(0x1.555502p-2f));
    p = v_fma(p, q, v_set1(1.0f));
    return v_fma(v_add(s, s), p, v_max(v_zero(), x)); /* this order passes a NaN in x on */
}

/* Of a tile of the matrix [K][N]: channels from `rows` on, of which count are there, times factor, to [N][width]; lanes past them are 0. */
INLINE void turn_in(const float *from, int64_t count, int64_t states, vec factor, float *to, int64_t width) {
    for (int64_t n = 0; n < states; n += VW) {
        vec r[VW];
        for (int i = 0; i < VW; i++)
            r[i] = i < count ? v_mul(load_up_to(from + i * states + n, states - n), factor) : v_zero();
        v_transpose(r);
        for (int64_t i = 0; i < VW && n + i < states; i++)
            v_store(to + (n + i) * width, r[i]);
    }
}

INLINE void turn_out(const float *from, int64_t width, int64_t count, int64_t states, float *to) {
    for (int64_t n = 0; n < states; n += VW) {
        vec r[VW];
        for (int i = 0; i < VW; i++)
            r[i] = n + i < states ? v_load(from + (n + i) * width) : v_zero();
        v_transpose(r);
        for (int i = 0; i < VW && i < count; i++)
            store_up_to(to + i * states + n, r[i], states - n);
    }
}

typedef struct scan_block {
    float *a, *h, *delta, *input, *y;
    int64_t width; /* elements between rows of the above, a multiple of VW */
} scan_block;

/* Step sizes and delta' * x, and zeros for y, of rows row .. row + rows - 1. */
INLINE void step_sizes(const gatun__scan_task *t, const scan_block *s, int64_t row, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
        const float *x = t->x + (row + r) * t->x_row, *delta = t->delta + (row + r) * t->delta_row;
        for (int64_t i = t->channel_begin, o = r * s->width; i < t->channel_end; i += VW, o += VW) {
            const int64_t count = t->channel_end - i;
            vec step = load_up_to(delta + i, count);
            if (t->delta_bias != NULL)
                step = v_add(step, load_up_to(t->delta_bias + i, count));
            if (t->softplus)
                step = softplus(step);
            v_store(s->delta + o, step);
            v_store(s->input + o, v_mul(step, load_up_to(x + i, count)));
            v_store(s->y + o, v_zero());
        }
    }
}

/* What the next rows will need, while there is much to compute. */
INLINE void fetch(const gatun__scan_task *t, int64_t row, int64_t i) {
    __builtin_prefetch(t->x + row * t->x_row + i);
    __builtin_prefetch(t->delta + row * t->delta_row + i);
    if (t->z != NULL)
        __builtin_prefetch(t->z + row * t->z_row + i);
    __builtin_prefetch(t->y + row * t->y_row + i, 1);
}

/* exp(delta' a). decays: no exponent is above 0. */
INLINE vec decay_of(const int decays, vec step, vec a) {
    vec exponent = v_mul(step, a);
    if (!decays)
        exponent = v_min(v_set1(128.0f), exponent); /* 2^128 is inf; this order passes a NaN on */
    return v_exp2(exponent);
}

/* Some states, the first of which is n, of the vector of channels at o of the block, over rows of one chunk: adds what they give to y. */
INLINE void scan_states(const int decays, const int count, const gatun__scan_task *t, const scan_block *s, int64_t n,
    int64_t o, int64_t row, int64_t rows) {
    vec a[SCAN_STATES], h[SCAN_STATES];
#pragma GCC unroll 8
    for (int p = 0; p < count; p++) {
        a[p] = v_load(s->a + (n + p) * s->width + o);
        h[p] = v_load(s->h + (n + p) * s->width + o);
    }
    const float *b = t->b + row * t->b_row + n, *c = t->c + row * t->c_row + n;
    for (int64_t r = 0; r < rows; r++, b += t->b_row, c += t->c_row) {
        const int64_t at = r * s->width + o;
        const vec step = v_load(s->delta + at), input = v_load(s->input + at);
        vec part[2] = {v_load(s->y + at), v_zero()};
#pragma GCC unroll 8
        for (int p = 0; p < count; p++) {
            h[p] = v_fma(decay_of(decays, step, a[p]), h[p], v_mul(v_set1(b[p]), input));
            part[p & 1] = v_fma(v_set1(c[p]), h[p], part[p & 1]);
        }
        v_store(s->y + at, count == 1 ? part[0] : v_add(part[0], part[1]));
    }
#pragma GCC unroll 8
    for (int p = 0; p < count; p++)
        v_store(s->h + (n + p) * s->width + o, h[p]);
}

INLINE void scan_rows(
    const int decays, const gatun__scan_task *t, const scan_block *s, int64_t row, int64_t rows, int64_t end) {
    for (int64_t i = t->channel_begin, o = 0; i < t->channel_end; i += VW, o += VW) {
        const int64_t count = t->channel_end - i;
        int64_t n = 0;
        for (; n + SCAN_STATES <= t->states; n += SCAN_STATES)
            scan_states(decays, SCAN_STATES, t, s, n, o, row, rows);
        for (; n < t->states; n++)
            scan_states(decays, 1, t, s, n, o, row, rows);
        for (int64_t r = row; r < row + rows; r++) {
            vec y = v_load(s->y + (r - row) * s->width + o);
            if (r + GATUN__SCAN_ROWS < end)
                fetch(t, r + GATUN__SCAN_ROWS, i);
            if (t->d != NULL)
                y = v_fma(load_up_to(t->d + i, count), load_up_to(t->x + r * t->x_row + i, count), y);
            if (t->z != NULL) {
                vec z = load_up_to(t->z + r * t->z_row + i, count);
                y = v_mul(y, times_sigmoid(z, z));
            }
            store_up_to(t->y + r * t->y_row + i, y, count);
        }
    }
}

INLINE void scan_sequence(
    const int decays, const gatun__scan_task *t, const scan_block *s, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += GATUN__SCAN_ROWS) {
        const int64_t rows = gatun__least(GATUN__SCAN_ROWS, end - row);
        step_sizes(t, s, row, rows);
        scan_rows(decays, t, s, row, rows, end);
    }
}

/* Whether no exponent can be above 0. */
static int decays(const gatun__scan_task *t) {
    const float *a = t->a + t->channel_begin * t->states;
    float most = -1;
    for (int64_t i = 0; i < (t->channel_end - t->channel_begin) * t->states; i++)
        most = a[i] > most ? a[i] : most;
    return t->softplus && most <= 0;
}

void KERNEL(selective_scan_f32)(const gatun__scan_task *t) {
    scan_block s = {.width = (t->channel_end - t->channel_begin + VW - 1) / VW * VW};
    s.a = t->scratch;
    s.h = s.a + t->states * s.width;
    s.delta = s.h + t->states * s.width;
    s.input = s.delta + GATUN__SCAN_ROWS * s.width;
    s.y = s.input + GATUN__SCAN_ROWS * s.width;
    for (int64_t i = t->channel_begin; i < t->channel_end; i += VW)
        turn_in(t->a + i * t->states, t->channel_end - i, t->states, v_set1(1.44269504f), s.a + (i - t->channel_begin),
            s.width);
    const int falling = decays(t);
    for (int64_t n = t->begin; n < t->end; n++) {
        int64_t end;
        const int64_t begin = gatun__sequence_at(&t->sequences, n, &end);
        if (begin == end)
            continue;
        float *state = t->state == NULL ? NULL : t->state + n * t->state_row;
        for (int64_t i = 0; state == NULL && i < t->states * s.width; i += VW)
            v_store(s.h + i, v_zero());
        for (int64_t i = t->channel_begin; state != NULL && i < t->channel_end; i += VW)
            turn_in(state + i * t->states, t->channel_end - i, t->states, v_set1(1.0f), s.h + (i - t->channel_begin),
                s.width);
        if (falling)
            scan_sequence(1, t, &s, begin, end);
        else
            scan_sequence(0, t, &s, begin, end);
        for (int64_t i = t->channel_begin; state != NULL && i < t->channel_end; i += VW)
            turn_out(s.h + (i - t->channel_begin), s.width, t->channel_end - i, t->states, state + i * t->states);
    }
}
