/*
 * Products with packed int8 weights. Each row of x becomes uint8_t with a scale and a zero point of its own, then sums are of
 * integers and exact: no tier, block, batch or number of threads changes a bit of them.
 *
 * Axes: see linear_rows.h. Converted rows [R][K / 4][4], panel [K / 4][48][4]. The including file has
 *
 *   I8_VECTORS                 vectors of a panel that a tile has side by side
 *   I8_BYTES                   bytes of an element of x as the kernel reads it
 *   i8_w, i8_x                 weights of VW columns for 4 inputs; 4 inputs of a row for all lanes
 *   i8_weights(p), i8_inputs(p)
 *   i8_place(to, q)            4 vectors of integers, those above 255 as 255, in the order that i8_inputs reads
 *   i8_dot(sum, w, x)          the sum and the 4 products of every lane
 */
#include <math.h>
#include <string.h>

#include "linear_rows.h"

_Static_assert(TILE_ROWS == KERNEL(tile_rows_i8) && I8_BYTES == KERNEL(element_bytes_i8), "kernels.inc says otherwise");

/* So many fours of inputs between two requests for what comes next. */
enum { I8_STEP = 8 };

/* Rows whose elements differ by less are taken as zeros: the inverse of their scale would overflow. */
#define I8_LEAST_RANGE 1e-36

INLINE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/*
 * x = (q - zero) * scale, q = rint(x / scale) + zero in 0 .. 255, so that 0 is exact. Every step is rounded as written down, on
 * every tier: no fused operation, and rounding to nearest by adding 1.5 * 2^23. A row that is not finite has a scale of NaN.
 *
 * As integers floats have an order: the greatest is the greatest of them, the least the greatest of them without a sign, and what
 * is not finite is beyond 2^128 either way.
 */
static void i8_convert(const float *x, int64_t depth, float *scale, int32_t *zero, char *to) {
    vint most = i_zero(), least = i_zero(), more = i_zero(), less = i_zero();
    int64_t whole = 0;
    for (; whole + 2 * VW <= depth; whole += 2 * VW) {
        const vint a = v_load_int((const int32_t *)(const void *)(x + whole));
        const vint b = v_load_int((const int32_t *)(const void *)(x + whole + VW));
        most = i_max(most, a);
        more = i_max(more, b);
        least = i_max_unsigned(least, a);
        less = i_max_unsigned(less, b);
    }
    uint32_t high = (uint32_t)i_most(i_max(most, more)), low = i_most_unsigned(i_max_unsigned(least, less));
    for (; whole < depth; whole++) {
        uint32_t bits;
        memcpy(&bits, x + whole, sizeof bits);
        high = (int32_t)bits > (int32_t)high ? bits : high;
        low = bits > low ? bits : low;
    }
    const uint32_t sign = 0x80000000u, infinity = 0x7f800000u;
    low = (low & sign) != 0 ? low & ~sign : 0;
    const double range = (double)float_of(high) + (double)float_of(low);
    const int64_t fours = (depth + 3) / 4;
    const int finite = high < infinity && low < infinity;
    if (!finite || range < I8_LEAST_RANGE) {
        *scale = finite ? 0 : NAN;
        *zero = 0;
        memset(to, 0, (size_t)(fours * 4 * I8_BYTES));
        return;
    }
    *scale = (float)(range / 255);
    const float inverse = (float)(255 / range), magic = 0x1.8p23f;
    *zero = (int32_t)((float_of(low) * inverse + magic) - magic);
    const vec factor = v_set1(inverse), shift = v_set1(magic);
    /* The low bits of x / scale + magic are an integer; that of the magic number goes, the zero point comes. */
    const vint offset = i_set1(*zero - 0x4b400000);
    const int64_t step = 4 * VW;
    int64_t begin = 0;
    for (; begin + step <= depth; begin += step) {
        vint q[4];
        for (int i = 0; i < 4; i++)
            q[i] = i_add(i_from_bits(v_add(v_mul(v_load(x + begin + i * VW), factor), shift)), offset);
        i8_place(to + begin * I8_BYTES, q);
    }
    if (begin < depth) {
        float rest[4 * VW] = {0};
        char placed[4 * VW * I8_BYTES];
        memcpy(rest, x + begin, (size_t)(depth - begin) * sizeof(float));
        vint q[4];
        for (int i = 0; i < 4; i++)
            q[i] = i_add(i_from_bits(v_add(v_mul(v_load(rest + i * VW), factor), shift)), offset);
        i8_place(placed, q);
        memcpy(to + begin * I8_BYTES, placed, (size_t)((fours * 4 - begin) * I8_BYTES));
    }
}

INLINE void i8_tile(const int rows, const int vectors, const char *x, int64_t x_row, const int8_t *w, int64_t fours,
    float *sums, const char *ahead, int64_t ahead_bytes) {
    vint acc[TILE_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            acc[r][c] = i_zero();
    for (int64_t k = 0; k < fours;) {
        const int64_t end = fours - k < I8_STEP ? fours : k + I8_STEP;
        for (int64_t line = 0; line < ahead_bytes; line += 64)
            __builtin_prefetch(ahead + line, 0, GATUN__AHEAD);
        ahead += ahead_bytes;
        for (; k < end; k++, w += GATUN__PANEL_COLUMNS * 4) {
            i8_w b[PANEL_VECTORS];
#pragma GCC unroll 12
            for (int c = 0; c < vectors; c++)
                b[c] = i8_weights(w + c * VW * 4);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const i8_x a = i8_inputs(x + r * x_row + k * 4 * I8_BYTES);
#pragma GCC unroll 12
                for (int c = 0; c < vectors; c++)
                    acc[r][c] = i8_dot(acc[r][c], b[c], a);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            i_store((int32_t *)(void *)(sums + r * GATUN__PANEL_COLUMNS + c * VW), acc[r][c]);
}

static void i8_rows(int64_t rows, const char *x, int64_t x_row, const int8_t *w, int64_t fours, float *sums,
    const char *ahead, int64_t ahead_bytes) {
    switch (rows) {
#define TILE(n)                                                                                                        \
    for (int c = 0; c < GATUN__PANEL_COLUMNS; c += I8_VECTORS * VW)                                                    \
        i8_tile(n, I8_VECTORS, x, x_row, w + c * 4, fours, sums + c, ahead, c == 0 ? ahead_bytes : 0);
        GATUN__TILE_CASES(TILE)
#undef TILE
    }
}

void KERNEL(linear_i8)(const gatun__linear_task *t) {
    float *sums = (float *)(void *)t->scratch;
    const int64_t rows = t->row_end - t->row_begin, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS,
                  fours = (t->depth + 3) / 4;
    const int64_t line = 64, step_lines = I8_STEP * GATUN__PANEL_COLUMNS * 4 / line;
    const int64_t ahead_bytes = tiles < AHEAD_TILES ? 0 : (step_lines + tiles - 1) / tiles * line;
    char *x = converted_rows(t);
    const int64_t x_row = gatun__converted_row(t->depth, I8_BYTES);
    for (int64_t r = 0; r < rows && !t->converted; r++)
        i8_convert(
            t->x + (t->row_begin + r) * t->x_row, t->depth, row_scales(t) + r, zero_points(t) + r, x + r * x_row);
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *head = t->panels + panel * t->panel_bytes, *ahead = head + t->panel_bytes;
        const int8_t *w = (const int8_t *)head + GATUN__I8_PANEL_HEAD;
        for (int64_t r = 0; r < rows; r += TILE_ROWS) {
            const int64_t n = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
            i8_rows(n, x + r * x_row, x_row, w, fours, sums, ahead, ahead_bytes);
            ahead += (fours + I8_STEP - 1) / I8_STEP * ahead_bytes;
            const i8_scales scales = {.row_scale = row_scales(t) + r,
                .zero_point = zero_points(t) + r,
                .column_scale = (const float *)(const void *)head,
                .column_sum = (const int32_t *)(const void *)head + GATUN__PANEL_COLUMNS};
            finish_rows_from(&scales, t, sums, t->row_begin + r, n, panel * GATUN__PANEL_COLUMNS);
        }
    }
}

/* The rate of the instructions by themselves: as gatun__kernels.peak_f32. */
double KERNEL(peak_i8)(int64_t steps, float io[2]) {
    vint acc[PEAK_CHAINS];
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = i_set1(i);
    int8_t ones[VW * 4] __attribute__((aligned(64)));
    char inputs[4 * I8_BYTES];
    memset(ones, io[0] != 0, sizeof ones);
    memset(inputs, 0, sizeof inputs);
    const i8_w w = i8_weights(ones);
    const i8_x x = i8_inputs(inputs);
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 32
        for (int i = 0; i < PEAK_CHAINS; i++) {
            acc[i] = i8_dot(acc[i], w, x);
            v_keep(v_from_bits(acc[i]));
        }
    }
    vint total = i_zero();
    for (int i = 0; i < PEAK_CHAINS; i++)
        total = i_add(total, acc[i]);
    int32_t lanes[VW];
    i_store(lanes, total);
    io[0] = (float)lanes[0];
    return 2.0 * 4 * VW * PEAK_CHAINS;
}
