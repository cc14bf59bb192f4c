/*
 * The element-wise part of a step of a recurrent cell in float32, for every tier. Included once by each cells_f32_<tier>.c after its vectors.
 *
 * Axes: R rows, H hidden. x_gates and h_gates [R][gates * H], h, c, h_out, c_out and out [R][H]; x_gates and out by the row's place.
 *
 * One pass over the columns of a row: VW of them of every block at a time, so that each element is read and written once; nothing
 * crosses a lane. What a cell costs are its polynomials: three sigmas and two tanh of an LSTM, with a division each, some 40
 * instructions. At most 8 vectors live beside the constants of one polynomial, so that registers do not run short on any tier.
 */
#include "gatun.h"
#include "kernels.h"

#include "../vectors/activations_f32.h"
#include "../vectors/softcap_f32.h"

INLINE vec sigma(vec a) {
    return times_sigmoid(v_set1(1.0f), a);
}

INLINE vec hyperbolic_tangent(vec a) {
    return capped(a, 1.0f);
}

/* The state of one row before, where VW columns are read, and after it. */
typedef struct cell_row {
    const float *x, *u, *h, *c;
    float *h_out, *c_out, *out;
    int64_t hidden;
} cell_row;

INLINE vec sum_of(const cell_row *row, int64_t block, int64_t i, int64_t count) {
    const int64_t at = block * row->hidden + i;
    return v_add(load_up_to(row->x + at, count), load_up_to(row->u + at, count));
}

INLINE vec lstm(const cell_row *row, int64_t i, int64_t count) {
    const vec input = sigma(sum_of(row, 0, i, count)), forget = sigma(sum_of(row, 1, i, count));
    const vec candidate = hyperbolic_tangent(sum_of(row, 2, i, count)), output = sigma(sum_of(row, 3, i, count));
    const vec c = v_fma(forget, load_up_to(row->c + i, count), v_mul(input, candidate));
    store_up_to(row->c_out + i, c, count);
    return v_mul(output, hyperbolic_tangent(c));
}

/* (1 - share) from + share to, so that both ends are exact. */
INLINE vec between(vec share, vec from, vec to) {
    return v_fma(share, to, v_mul(v_sub(v_set1(1.0f), share), from));
}

INLINE vec gru(const cell_row *row, int64_t i, int64_t count) {
    const int64_t n = 2 * row->hidden + i;
    const vec reset = sigma(sum_of(row, 0, i, count)), update = sigma(sum_of(row, 1, i, count));
    const vec candidate =
        hyperbolic_tangent(v_fma(reset, load_up_to(row->u + n, count), load_up_to(row->x + n, count)));
    return between(update, candidate, load_up_to(row->h + i, count));
}

INLINE vec step_of(const int32_t cell, const cell_row *row, int64_t i, int64_t count) {
    if (cell == GATUN_CELL_LSTM)
        return lstm(row, i, count);
    if (cell == GATUN_CELL_GRU)
        return gru(row, i, count);
    const vec h = load_up_to(row->h + i, count);
    if (cell == GATUN_CELL_GRU_RESET)
        return v_mul(sigma(sum_of(row, 0, i, count)), h);
    const vec update = sigma(sum_of(row, 1, i, count));
    return between(update, h, hyperbolic_tangent(sum_of(row, 2, i, count)));
}

INLINE void cell_rows(const int32_t cell, const gatun__cell_task *t) {
    for (int64_t r = t->begin; r < t->end; r++) {
        const int64_t place = t->places == NULL ? r : gatun__load_within(&t->places[r], 0, t->last_place);
        const cell_row row = {.x = t->x_gates + place * t->x_row,
            .u = t->h_gates + r * t->gates_row,
            .h = t->h + r * t->h_row,
            .c = cell == GATUN_CELL_LSTM ? t->c + r * t->c_row : NULL,
            .h_out = t->h_out + r * t->h_out_row,
            .c_out = cell == GATUN_CELL_LSTM ? t->c_out + r * t->c_out_row : NULL,
            .out = t->out == NULL ? NULL : t->out + place * t->out_row,
            .hidden = t->hidden};
        for (int64_t i = 0; i < row.hidden; i += VW) {
            const int64_t count = row.hidden - i;
            const vec h = step_of(cell, &row, i, count);
            store_up_to(row.h_out + i, h, count);
            if (row.out != NULL)
                store_up_to(row.out + i, h, count);
        }
    }
}

void KERNEL(cell_f32)(const gatun__cell_task *t) {
    switch (t->cell) {
    case GATUN_CELL_LSTM:
        cell_rows(GATUN_CELL_LSTM, t);
        break;
    case GATUN_CELL_GRU:
        cell_rows(GATUN_CELL_GRU, t);
        break;
    case GATUN_CELL_GRU_RESET:
        cell_rows(GATUN_CELL_GRU_RESET, t);
        break;
    default:
        cell_rows(GATUN_CELL_GRU_UPDATE, t);
        break;
    }
}
