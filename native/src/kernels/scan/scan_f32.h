/*
 * The selective scan in float32, for every tier. Included once by each scan_<tier>.c after its vectors.
 *
 * Axes: R rows of a sequence, K channels of a task, N states. x, delta, z and y [R][K] of wider rows, b and c [R][N], a and state
 * [K][N]; in scratch, of every vector of channels, a * log2(e) and h [N][VW], and delta', delta' * x and y [SCAN_ROWS][SCAN_BLOCK].
 *
 * Lanes are channels: nothing is reduced across a vector, and whatever runs beside a channel, its arithmetic is the same. Of SCAN_ROWS
 * rows all channels of the task are done before the next rows, so that pages of x, delta, z and y are used as a whole while they are
 * known; SCAN_BLOCK channels at a time, since what is made of them stays in L1. Of these first step sizes are made, whose logarithm and
 * division take long one by one; then, vector by vector, SCAN_STATES states go through the rows: one exponential, two products and two
 * multiply-adds each, with a and h in registers. What they give is added to y in L1, and y gets d and the gate at the end.
 *
 * One row is not worth turning a around, and h in and out: lanes are states until h is made and stored, then channels for y. Products
 * and sums are those of many rows, in their order.
 *
 * Registers: SCAN_STATES (of the tier) a and h, delta', delta' x, two sums of y, the constants of v_exp2, temporaries of as many states
 * as the core overlaps; of one row VW h. Tiles: gatun__scan_width channels, so that a and h have at most 256 KiB in L2, 2 N lines at a
 * time in L1.
 */
#include "gatun.h"
#include "kernels.h"

#include "../vectors/activations_f32.h"
#include "turn_f32.h"

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

INLINE void turn_out(const float *from, int64_t count, int64_t states, float *to) {
    for (int64_t n = 0; n < states; n += VW) {
        vec r[VW];
        for (int i = 0; i < VW; i++)
            r[i] = n + i < states ? v_load(from + (n + i) * VW) : v_zero();
        v_transpose(r);
        for (int i = 0; i < VW && i < count; i++)
            store_up_to(to + i * states + n, r[i], states - n);
    }
}

/* Rows row .. row + rows - 1 and channels begin .. end - 1; delta', delta' x and y of them, [rows][SCAN_BLOCK]; where the block after it
 * begins. */
typedef struct scan_block {
    int64_t row, rows, begin, end, next_row, next;
    float *delta, *input, *y;
} scan_block;

INLINE void step_sizes(const int softened, const gatun__scan_task *t, const scan_block *s) {
    for (int64_t r = 0; r < s->rows; r++) {
        const float *x = t->x + (s->row + r) * t->x_row, *delta = t->delta + (s->row + r) * t->delta_row;
        for (int64_t i = s->begin, o = r * GATUN__SCAN_BLOCK; i < s->end; i += VW, o += VW) {
            const int64_t count = s->end - i;
            vec step = load_up_to(delta + i, count);
            if (t->delta_bias != NULL)
                step = v_add(step, load_up_to(t->delta_bias + i, count));
            if (softened)
                step = softplus(step);
            v_store(s->delta + o, step);
            v_store(s->input + o, v_mul(step, load_up_to(x + i, count)));
        }
    }
}

/* y of a vector of channels from i on, with d and the gate. */
INLINE void finish(const gatun__scan_task *t, int64_t row, int64_t i, int64_t count, vec y) {
    if (t->d != NULL)
        y = v_fma(load_up_to(t->d + i, count), load_up_to(t->x + row * t->x_row + i, count), y);
    if (t->z != NULL) {
        vec z = load_up_to(t->z + row * t->z_row + i, count);
        y = v_mul(y, times_sigmoid(z, z));
    }
    store_up_to(t->y + row * t->y_row + i, y, count);
}

/* exp(delta' a). decays: no exponent is above 0. */
INLINE vec decay_of(const int decays, vec step, vec a) {
    vec exponent = v_mul(step, a);
    if (!decays)
        exponent = v_min(v_set1(128.0f), exponent); /* 2^128 is inf; this order passes a NaN on */
    return v_exp2(exponent);
}

/* What the next block will need, while there is much to compute: hardware does not look ahead in so many short pieces. */
INLINE void fetch(const gatun__scan_task *t, int64_t row, int64_t i) {
    __builtin_prefetch(t->x + row * t->x_row + i);
    __builtin_prefetch(t->delta + row * t->delta_row + i);
    if (t->z != NULL)
        __builtin_prefetch(t->z + row * t->z_row + i);
    __builtin_prefetch(t->y + row * t->y_row + i, 1);
}

/* Some states, the first of which is n, of the vector of channels at o of the block: adds what they give to y. */
INLINE void scan_states(const int decays, const int count, const gatun__scan_task *t, const scan_block *s, int64_t n,
    int64_t o, const float *matrix, float *kept) {
    vec a[SCAN_STATES], h[SCAN_STATES];
#pragma GCC unroll 8
    for (int p = 0; p < count; p++) {
        a[p] = v_load(matrix + (n + p) * VW);
        h[p] = v_load(kept + (n + p) * VW);
    }
    const float *b = t->b + s->row * t->b_row + n, *c = t->c + s->row * t->c_row + n;
    for (int64_t r = 0; r < s->rows; r++, b += t->b_row, c += t->c_row) {
        const int64_t at = r * GATUN__SCAN_BLOCK + o;
        const vec step = v_load(s->delta + at), input = v_load(s->input + at);
        vec part[2] = {n == 0 ? v_zero() : v_load(s->y + at), v_zero()};
        if (n == 0)
            fetch(t, s->next_row + r, s->next + o);
#pragma GCC unroll 8
        for (int p = 0; p < count; p++) {
            h[p] = v_fma(decay_of(decays, step, a[p]), h[p], v_mul(v_set1(b[p]), input));
            part[p & 1] = v_fma(v_set1(c[p]), h[p], part[p & 1]);
        }
        v_store(s->y + at, count == 1 ? part[0] : v_add(part[0], part[1]));
    }
#pragma GCC unroll 8
    for (int p = 0; p < count; p++)
        v_store(kept + (n + p) * VW, h[p]);
}

/* The tile of a and h of channels from i on. */
INLINE float *tile_of(const gatun__scan_task *t, float *tiles, int64_t i) {
    return tiles + 2 * t->states * (i - t->channel_begin);
}

INLINE void scan_rows(const int decays, const gatun__scan_task *t, const scan_block *s, float *tiles) {
    for (int64_t i = s->begin, o = 0; i < s->end; i += VW, o += VW) {
        float *a = tile_of(t, tiles, i), *h = a + t->states * VW;
        int64_t n = 0;
        for (; n + SCAN_STATES <= t->states; n += SCAN_STATES)
            scan_states(decays, SCAN_STATES, t, s, n, o, a, h);
        for (; n < t->states; n++)
            scan_states(decays, 1, t, s, n, o, a, h);
        for (int64_t r = 0; r < s->rows; r++)
            finish(t, s->row + r, i, s->end - i, v_load(s->y + r * GATUN__SCAN_BLOCK + o));
    }
}

INLINE void block_steps(const gatun__scan_task *t, const scan_block *s) {
    if (t->softplus)
        step_sizes(1, t, s);
    else
        step_sizes(0, t, s);
}

/* What is not whole is not fetched. */
INLINE void look_ahead(const gatun__scan_task *t, scan_block *s, int64_t end) {
    const int in_row = s->begin + 2 * GATUN__SCAN_BLOCK <= t->channel_end;
    s->next = in_row ? s->begin + GATUN__SCAN_BLOCK : t->channel_begin;
    s->next_row = in_row || s->row + 2 * GATUN__SCAN_ROWS > end ? s->row : s->row + GATUN__SCAN_ROWS;
}

INLINE void scan_sequence(
    const int decays, const gatun__scan_task *t, scan_block s, float *tiles, int64_t begin, int64_t end) {
    for (s.row = begin; s.row < end; s.row += GATUN__SCAN_ROWS) {
        s.rows = gatun__least(GATUN__SCAN_ROWS, end - s.row);
        for (s.begin = t->channel_begin; s.begin < t->channel_end; s.begin += GATUN__SCAN_BLOCK) {
            s.end = gatun__least(t->channel_end, s.begin + GATUN__SCAN_BLOCK);
            look_ahead(t, &s, end);
            block_steps(t, &s);
            scan_rows(decays, t, &s, tiles);
        }
    }
}

/* h of a sequence into the tiles, and out of them. */
INLINE void take_state(const gatun__scan_task *t, const float *state, float *tiles) {
    for (int64_t i = t->channel_begin; i < t->channel_end; i += VW) {
        float *h = tile_of(t, tiles, i) + t->states * VW;
        if (state != NULL)
            turn_in(state + i * t->states, t->channel_end - i, t->states, v_set1(1.0f), h, v_zero());
        for (int64_t n = 0; state == NULL && n < t->states * VW; n += VW)
            v_store(h + n, v_zero());
    }
}

INLINE void give_state(const gatun__scan_task *t, float *state, float *tiles) {
    for (int64_t i = t->channel_begin; i < t->channel_end; i += VW)
        turn_out(tile_of(t, tiles, i) + t->states * VW, t->channel_end - i, t->states, state + i * t->states);
}

/* a into the tiles, and whether no exponent can be above 0. */
static int take_decays(const gatun__scan_task *t, float *tiles) {
    vec most = v_zero();
    for (int64_t i = t->channel_begin; i < t->channel_end; i += VW)
        most = turn_in(
            t->a + i * t->states, t->channel_end - i, t->states, v_set1(1.44269504f), tile_of(t, tiles, i), most);
    float lanes[VW];
    v_store(lanes, most);
    int falling = t->softplus;
    for (int i = 0; i < VW; i++)
        falling &= lanes[i] <= 0; /* not where it is NaN */
    return falling;
}

/* ---- one row ---- */

/* h of states n .. n + VW - 1 of the channels of a vector after this row, lanes states, then turned: lanes channels. */
INLINE void step_states(const int whole, const gatun__scan_task *t, const float *a, const float *b, float *state,
    int64_t count, int64_t left, const float *delta, const float *input, vec r[VW]) {
    const vec from = whole ? v_load(b) : load_up_to(b, left);
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++) {
        r[i] = v_zero();
        if (!whole && i >= count)
            continue;
        const float *row = a + i * t->states;
        vec h = v_zero(), decay = v_mul(whole ? v_load(row) : load_up_to(row, left), v_set1(1.44269504f));
        if (state != NULL)
            h = whole ? v_load(state + i * t->states) : load_up_to(state + i * t->states, left);
        r[i] = v_fma(decay_of(0, v_set1(delta[i]), decay), h, v_mul(from, v_set1(input[i])));
        if (state != NULL)
            store_up_to(state + i * t->states, r[i], whole ? VW : left);
    }
    v_transpose(r);
}

/* As scan_rows, to the bit: sums of y are made in the same order. */
INLINE void step_vector(const gatun__scan_task *t, const scan_block *s, int64_t i, float *state) {
    const int64_t count = s->end - i, o = i - s->begin, grouped = t->states / SCAN_STATES * SCAN_STATES;
    const float *b = t->b + s->row * t->b_row, *c = t->c + s->row * t->c_row;
    vec part[2] = {v_zero(), v_zero()};
    for (int64_t n = 0; n < t->states; n += VW) {
        const int64_t left = t->states - n;
        const float *a = t->a + i * t->states + n;
        float *h = state == NULL ? NULL : state + i * t->states + n;
        vec r[VW];
        if (count >= VW && left >= VW)
            step_states(1, t, a, b + n, h, count, left, s->delta + o, s->input + o, r);
        else
            step_states(0, t, a, b + n, h, count, left, s->delta + o, s->input + o, r);
#pragma GCC unroll 16
        for (int p = 0; p < VW; p++) {
            if (p >= left)
                break;
            const int odd = n + p < grouped && p % 2 == 1;
            part[odd] = v_fma(v_set1(c[n + p]), r[p], part[odd]);
            if (n + p < grouped && (n + p) % SCAN_STATES == SCAN_STATES - 1) {
                part[0] = v_add(part[0], part[1]);
                part[1] = v_zero();
            }
        }
    }
    finish(t, s->row, i, count, part[0]);
}

static void step_row(const gatun__scan_task *t, scan_block s, float *state) {
    s.rows = 1;
    for (s.begin = t->channel_begin; s.begin < t->channel_end; s.begin += GATUN__SCAN_BLOCK) {
        s.end = gatun__least(t->channel_end, s.begin + GATUN__SCAN_BLOCK);
        block_steps(t, &s);
        for (int64_t i = s.begin; i < s.end; i += VW)
            step_vector(t, &s, i, state);
    }
}

void KERNEL(selective_scan_f32)(const gatun__scan_task *t) {
    scan_block s = {.delta = t->scratch};
    s.input = s.delta + GATUN__SCAN_ROWS * GATUN__SCAN_BLOCK;
    s.y = s.input + GATUN__SCAN_ROWS * GATUN__SCAN_BLOCK;
    float *tiles = s.y + GATUN__SCAN_ROWS * GATUN__SCAN_BLOCK;
    int taken = 0, falling = 0;
    for (int64_t n = t->begin; n < t->end; n++) {
        int64_t end;
        s.row = gatun__sequence_at(&t->sequences, n, &end);
        if (s.row == end)
            continue;
        float *state = t->state == NULL ? NULL : t->state + n * t->state_row;
        if (end - s.row == 1) {
            step_row(t, s, state);
            continue;
        }
        if (!taken)
            falling = take_decays(t, tiles);
        taken = 1;
        take_state(t, state, tiles);
        if (falling)
            scan_sequence(1, t, s, tiles, s.row, end);
        else
            scan_sequence(0, t, s, tiles, s.row, end);
        if (state != NULL)
            give_state(t, state, tiles);
    }
}
