/*
 * What the templates of packed linear layers have in common: what becomes of the sums, and a case for every number of rows.
 * Included by each of them after the vectors and integers of a tier and the constants TILE_ROWS, TILE_VECTORS and FEW_ROWS.
 *
 * Axes: R rows, K depth (in_features), N columns (out_features) in panels of 48 columns.
 *   x [R][K], strided; panels [N / 48][K][48], their order within a panel as packed.h says; bias [N]; gate, residual and out
 *   [R][N], strided
 *   converted rows [R][K] and sums [R][48]: of one task, in scratch
 *
 * Algorithm, of a task:
 *   Pass 1  rows of x become what the kernel reads, where that is not float: once for all panels that the thread computes of
 *           these rows.
 *   Pass 2  for each panel, for each tile of TILE_ROWS rows: sums[r][c] = sum_k x[r][k] * panel[k][c], a register block of
 *           TILE_ROWS rows x TILE_VECTORS vectors of columns (all of the panel's for FEW_ROWS or fewer); an element of x is
 *           broadcast, a vector of weights loaded once per register block.
 *   Pass 3  finish_rows: out = activation(sums + bias) * gate + residual, while sums are in L1.
 */
#ifndef GATUN_LINEAR_ROWS_H
#define GATUN_LINEAR_ROWS_H

#include "kernels.h"

#include "../vectors/activations_f32.h"

/* A tier may have a quicker one where a product is not exact to the last digits anyway. */
#ifndef LINEAR_GELU
#define LINEAR_GELU gelu
#endif

#define PANEL_VECTORS (GATUN__PANEL_COLUMNS / VW)

/* What integer sums of a tile mean: a sum over the inputs of (x - zero point) * w, and the scales of row and column. */
typedef struct i8_scales {
    const float *row_scale;
    const int32_t *zero_point; /* of the tile's first row */
    const float *column_scale;
    const int32_t *column_sum; /* of the panel's weights */
} i8_scales;

/* One vector of columns of a panel, or its first count of them; scales == NULL: of float sums. */
INLINE void finish_columns(const int kind, const int whole, const i8_scales *scales, const gatun__linear_task *t,
    const float *sums, int64_t row, int64_t rows, int64_t panel_column, int64_t i, int32_t count) {
    const int64_t column = panel_column + i;
#define LOAD(p) (whole ? v_load(p) : v_load_some(p, count))
    const vec bias = t->bias == NULL ? v_zero() : LOAD(t->bias + column);
    const vec column_scale = scales == NULL ? v_zero() : v_load(scales->column_scale + i);
    const vint column_sum = scales == NULL ? i_zero() : v_load_int(scales->column_sum + i);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = sums + r * GATUN__PANEL_COLUMNS + i;
        vec a;
        if (scales == NULL) {
            a = v_load(from);
        } else {
            /* Products and sum are rounded one by one, so that every tier gets the same bits. */
            const vint excess = i_mul(i_set1(scales->zero_point[r]), column_sum);
            const vint sum = i_sub(v_load_int((const int32_t *)(const void *)from), excess);
            a = v_mul(i_to_float(sum), v_mul(v_set1(scales->row_scale[r]), column_scale));
        }
        if (t->bias != NULL)
            a = v_add(a, bias);
        a = kind == GATUN_ACTIVATION_GELU ? LINEAR_GELU(a) : activate(kind, a);
        if (t->gate != NULL)
            a = v_mul(a, LOAD(t->gate + (row + r) * t->gate_row + column));
        if (t->residual != NULL)
            a = v_add(a, LOAD(t->residual + (row + r) * t->residual_row + column));
        float *out = t->out + (row + r) * t->out_row + column;
        if (whole)
            v_store(out, a);
        else
            v_store_some(out, a, count);
    }
#undef LOAD
}

/* Rows of sums of the panel's columns from `column` on, after the last product: out = activation(sums + bias) * gate + residual. */
INLINE void finish_rows_of(const int kind, const i8_scales *scales, const gatun__linear_task *t, const float *sums,
    int64_t row, int64_t rows, int64_t column) {
    for (int i = 0; i < GATUN__PANEL_COLUMNS; i += VW) {
        const int64_t count = t->columns - column - i;
        if (count >= VW)
            finish_columns(kind, 1, scales, t, sums, row, rows, column, i, VW);
        else if (count > 0)
            finish_columns(kind, 0, scales, t, sums, row, rows, column, i, (int32_t)count);
    }
}

INLINE void finish_rows_from(const i8_scales *scales, const gatun__linear_task *t, const float *sums, int64_t row,
    int64_t rows, int64_t column) {
    switch (t->activation) {
    case GATUN_ACTIVATION_RELU:
        finish_rows_of(GATUN_ACTIVATION_RELU, scales, t, sums, row, rows, column);
        break;
    case GATUN_ACTIVATION_GELU:
        finish_rows_of(GATUN_ACTIVATION_GELU, scales, t, sums, row, rows, column);
        break;
    case GATUN_ACTIVATION_GELU_TANH:
        finish_rows_of(GATUN_ACTIVATION_GELU_TANH, scales, t, sums, row, rows, column);
        break;
    case GATUN_ACTIVATION_SILU:
        finish_rows_of(GATUN_ACTIVATION_SILU, scales, t, sums, row, rows, column);
        break;
    case GATUN_ACTIVATION_QUICK_GELU:
        finish_rows_of(GATUN_ACTIVATION_QUICK_GELU, scales, t, sums, row, rows, column);
        break;
    default:
        finish_rows_of(GATUN_ACTIVATION_NONE, scales, t, sums, row, rows, column);
        break;
    }
}

/* Of float sums. */
static inline void finish_rows(
    const gatun__linear_task *t, const float *sums, int64_t row, int64_t rows, int64_t column) {
    finish_rows_from(NULL, t, sums, row, rows, column);
}

/* Rows of the next tile of so many rows that are left: tiles are equal, since one of a single row reads as many weights as any. */
INLINE int64_t next_tile(int64_t rows, int64_t most) {
    const int64_t tiles = (rows + most - 1) / most;
    return (rows + tiles - 1) / tiles;
}

/* A case for each number of rows of a tile, which is a constant in it. */
#define GATUN__TILE_CASE(n, tile)                                                                                      \
    case n:                                                                                                            \
        tile(n);                                                                                                       \
        break;
#if TILE_ROWS == 8
#define GATUN__TILE_CASES(tile)                                                                                        \
    GATUN__TILE_CASE(1, tile)                                                                                          \
    GATUN__TILE_CASE(2, tile)                                                                                          \
    GATUN__TILE_CASE(3, tile)                                                                                          \
    GATUN__TILE_CASE(4, tile)                                                                                          \
    GATUN__TILE_CASE(5, tile)                                                                                          \
    GATUN__TILE_CASE(6, tile)                                                                                          \
    GATUN__TILE_CASE(7, tile)                                                                                          \
    GATUN__TILE_CASE(8, tile)
#elif TILE_ROWS == 6
#define GATUN__TILE_CASES(tile)                                                                                        \
    GATUN__TILE_CASE(1, tile)                                                                                          \
    GATUN__TILE_CASE(2, tile)                                                                                          \
    GATUN__TILE_CASE(3, tile)                                                                                          \
    GATUN__TILE_CASE(4, tile)                                                                                          \
    GATUN__TILE_CASE(5, tile)                                                                                          \
    GATUN__TILE_CASE(6, tile)
#elif TILE_ROWS == 4
#define GATUN__TILE_CASES(tile)                                                                                        \
    GATUN__TILE_CASE(1, tile)                                                                                          \
    GATUN__TILE_CASE(2, tile)                                                                                          \
    GATUN__TILE_CASE(3, tile)                                                                                          \
    GATUN__TILE_CASE(4, tile)
#else
#error "TILE_ROWS: 4, 6 or 8"
#endif

/* Where the rows of x lie that a kernel has converted, behind the sums: scales, zero points and outliers first. */
INLINE float *row_scales(const gatun__linear_task *t) {
    return (float *)(void *)(t->scratch + GATUN__LINEAR_SUMS);
}
INLINE int32_t *zero_points(const gatun__linear_task *t) {
    return (int32_t *)(void *)(row_scales(t) + GATUN__MOST_BLOCK_ROWS);
}
INLINE gatun__outliers *row_outliers(const gatun__linear_task *t) {
    return (gatun__outliers *)(void *)(zero_points(t) + GATUN__MOST_BLOCK_ROWS);
}
INLINE char *converted_rows(const gatun__linear_task *t) {
    return (char *)(row_outliers(t) + GATUN__MOST_BLOCK_ROWS);
}

#endif
