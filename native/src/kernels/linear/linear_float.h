/*
 * Products with packed weights that are floats, or are made floats in registers: every sum is chains of GATUN__CHAIN_DEPTH fused
 * multiply-adds over the inputs in order, the chains added up in order. Nothing else decides its bits, neither the rows beside
 * it nor the blocks they are cut into.
 *
 * Axes: see linear_rows.h. x [R][K], panel [K][48], of bf16 [K / 2][48][2].
 *
 * A panel is read once for all rows of the task, CHAIN_DEPTH inputs at a time, so that what is read of it (96 KiB of float32) and of the
 * rows (at most 128 KiB) stays in L2, and meanwhile the next inputs, or the next panel's first, are asked for: by each tile of
 * rows its part, and not where there is but one, whose own loads follow each other as fast.
 */
#include "linear_rows.h"

_Static_assert(TILE_ROWS == KERNEL(tile_rows_f32) && TILE_ROWS == KERNEL(tile_rows_bf16) &&
                   TILE_ROWS == KERNEL(tile_rows_f16) && KERNEL(element_bytes_f32) == 0 &&
                   KERNEL(element_bytes_bf16) == 0 && KERNEL(element_bytes_f16) == 0,
    "kernels.inc says otherwise");

/* So many inputs between two requests for what comes next. */
enum { FLOAT_STEP = 16 };

/* Bytes of a panel's weights for one input. */
INLINE int64_t float_bytes(const int format) {
    return GATUN__PANEL_COLUMNS * (format == GATUN_WEIGHTS_F32 ? 4 : 2);
}

/* One vector of weights of an input; of a pair of bf16, the even one or the odd one. */
INLINE vec float_weights(const int format, const int odd, const char *w, int column) {
    if (format == GATUN_WEIGHTS_F32)
        return v_load((const float *)(const void *)w + column);
    if (format == GATUN_WEIGHTS_F16)
        return v_from_f16((const uint16_t *)(const void *)w + column);
    const vint pair = v_load_int((const int32_t *)(const void *)w + column);
    return odd ? v_from_high_half(pair) : v_from_low_half(pair);
}

/* x and w of one input, or w of the pair that it belongs to. */
INLINE void float_step(const int format, const int odd, const int rows, const int vectors, const float *x,
    int64_t x_row, const char *w, vec acc[TILE_ROWS][PANEL_VECTORS]) {
    vec b[PANEL_VECTORS];
#pragma GCC unroll 12
    for (int c = 0; c < vectors; c++)
        b[c] = float_weights(format, odd, w, c * VW);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        const vec a = v_set1(x[r * x_row]);
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            acc[r][c] = v_fma(a, b[c], acc[r][c]);
    }
}

/* `rows` rows of x and `vectors` vectors of the panel, `depth` inputs of both: sums = or sums +=. */
INLINE void float_tile(const int format, const int rows, const int vectors, const float *x, int64_t x_row,
    const char *w, int64_t depth, float *sums, int first, const char *ahead, int64_t ahead_bytes) {
    vec acc[TILE_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            acc[r][c] = v_zero();
    for (int64_t k = 0; k < depth;) {
        const int64_t end = depth - k < FLOAT_STEP ? depth : k + FLOAT_STEP;
        for (int64_t line = 0; line < ahead_bytes; line += 64)
            __builtin_prefetch(ahead + line, 0, GATUN__AHEAD);
        ahead += ahead_bytes;
        if (format == GATUN_WEIGHTS_BF16) {
            for (; k + 1 < end; k += 2, w += 2 * float_bytes(format)) {
                float_step(format, 0, rows, vectors, x + k, x_row, w, acc);
                float_step(format, 1, rows, vectors, x + k + 1, x_row, w, acc);
            }
        }
        for (; k < end; k++, w += float_bytes(format))
            float_step(format, 0, rows, vectors, x + k, x_row, w, acc);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++) {
            float *to = sums + r * GATUN__PANEL_COLUMNS + c * VW;
            v_store(to, first ? acc[r][c] : v_add(v_load(to), acc[r][c]));
        }
}

/* Any number of rows up to TILE_ROWS, all columns of the panel. */
INLINE void float_rows(const int format, int64_t rows, const float *x, int64_t x_row, const char *w, int64_t depth,
    float *sums, int first, const char *ahead, int64_t ahead_bytes) {
    const int weight = format == GATUN_WEIGHTS_F16 ? 2 : 4; /* from one column to the next */
    switch (rows) {
#define TILE(n)                                                                                                        \
    if (n <= FEW_ROWS) {                                                                                               \
        float_tile(format, n, PANEL_VECTORS, x, x_row, w, depth, sums, first, ahead, ahead_bytes);                     \
    } else {                                                                                                           \
        for (int c = 0; c < GATUN__PANEL_COLUMNS; c += TILE_VECTORS * VW)                                              \
            float_tile(format, n, TILE_VECTORS, x, x_row, w + c * weight, depth, sums + c, first, ahead,               \
                c == 0 ? ahead_bytes : 0);                                                                             \
    }
        GATUN__TILE_CASES(TILE)
#undef TILE
    }
}

INLINE void linear_float(const int format, const gatun__linear_task *t) {
    float *sums = (float *)(void *)t->scratch;
    const int64_t rows = t->row_end - t->row_begin, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    /* Each tile asks for its part of as much as all of them read together. */
    const int64_t line = 64, step_lines = FLOAT_STEP * float_bytes(format) / line;
    const int64_t ahead_bytes = tiles < AHEAD_TILES ? 0 : (step_lines + tiles - 1) / tiles * line;
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *w = t->panels + panel * t->panel_bytes;
        for (int64_t k = 0; k < t->depth; k += GATUN__CHAIN_DEPTH) {
            const int64_t depth = t->depth - k < GATUN__CHAIN_DEPTH ? t->depth - k : GATUN__CHAIN_DEPTH;
            const char *ahead = w + (k + depth) * float_bytes(format);
            for (int64_t r = 0, n; r < rows; r += n) {
                n = next_tile(rows - r, TILE_ROWS);
                const int64_t row = t->row_begin + r;
                float *to = sums + r * GATUN__PANEL_COLUMNS;
                float_rows(format, n, t->x + row * t->x_row + k, t->x_row, w + k * float_bytes(format), depth, to,
                    k == 0, ahead, ahead_bytes);
                ahead += (depth + FLOAT_STEP - 1) / FLOAT_STEP * ahead_bytes;
                if (k + depth == t->depth)
                    finish_rows(t, to, row, n, panel * GATUN__PANEL_COLUMNS);
            }
        }
    }
}

void KERNEL(linear_f32)(const gatun__linear_task *t) {
    linear_float(GATUN_WEIGHTS_F32, t);
}

void KERNEL(linear_bf16)(const gatun__linear_task *t) {
    linear_float(GATUN_WEIGHTS_BF16, t);
}

void KERNEL(linear_f16)(const gatun__linear_task *t) {
    linear_float(GATUN_WEIGHTS_F16, t);
}
