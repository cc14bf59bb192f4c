/*
 * Products with packed weights in blocks of 32 inputs (Q8_0, Q4_0), for few rows: memory is the bound. Each block of a row of x
 * becomes int8_t with a scale of its own; sums of a block are exact integers, and are added up as floats, block after block.
 * Weights are unsigned, 128 or 8 too large, since the instruction wants one of each; the row's own sum takes that off again.
 *
 * Axes: see linear_rows.h. Converted rows [R][K / 32] blocks of 32 elements, scale and correction; panel [K / 32][48] scales and
 * [8][48][4] weights, of Q4_0 [4][48][4] bytes of two. The including file has
 *
 *   BLOCKS_ROWS, BLOCKS_VECTORS  rows and vectors of columns of a tile
 *   BLOCKS_BYTES                 bytes of an element of x as the kernel reads it, 1 or 2
 *   u8_w, s8_x                   weights of VW columns for 4 inputs; 4 inputs of a row for all lanes
 *   u8_weights(fours), s8_inputs(p), s8_place(to, q), u8_dot(sum, w, x)   as in linear_i8.h; s8_place takes 32 integers
 */
#include <math.h>
#include <string.h>

#include "linear_rows.h"

_Static_assert(BLOCKS_ROWS == KERNEL(tile_rows_q8_0) && BLOCKS_ROWS == KERNEL(tile_rows_q4_0) &&
                   2 * BLOCKS_BYTES == KERNEL(element_bytes_q8_0) && 2 * BLOCKS_BYTES == KERNEL(element_bytes_q4_0),
    "kernels.inc says otherwise");

/* A block of a row: its elements, then scale and correction. */
enum { BLOCK_STRIDE = 64 * BLOCKS_BYTES, BLOCK_SCALE = 32 * BLOCKS_BYTES, BLOCK_SUM = BLOCK_SCALE + 4 };

static void convert_block(const float *x, int64_t count, int32_t offset, char *to) {
    float lanes[GATUN__BLOCK] = {0}, magnitude[VW];
    memcpy(lanes, x, (size_t)count * sizeof(float));
    vint most = i_zero();
    for (int i = 0; i < GATUN__BLOCK; i += VW)
        most = i_max_unsigned(most, i_from_bits(v_magnitude(v_load(lanes + i)))); /* keeps a NaN, whatever its sign */
    v_store(magnitude, v_from_bits(most));
    float largest = 0, wrong = 0;
    for (int i = 0; i < VW; i++) {
        largest = magnitude[i] > largest ? magnitude[i] : largest;
        wrong += magnitude[i] - magnitude[i];
    }
    int32_t q[GATUN__BLOCK] = {0}, sum = 0;
    float scale = wrong != 0 ? NAN : 0;
    if (wrong == 0 && largest >= 1e-36f) {
        const float inverse = 127 / largest;
        const vec factor = v_set1(inverse), shift = v_set1(0x1.8p23f);
        scale = largest / 127;
        for (int i = 0; i < GATUN__BLOCK; i += VW)
            i_store(q + i, i_sub(i_from_bits(v_add(v_mul(v_load(lanes + i), factor), shift)), i_set1(0x4b400000)));
        for (int i = 0; i < GATUN__BLOCK; i++)
            sum += q[i];
    }
    sum *= -offset;
    s8_place(to, q);
    memcpy(to + BLOCK_SCALE, &scale, sizeof scale);
    memcpy(to + BLOCK_SUM, &sum, sizeof sum);
}

INLINE void blocks_tile(const int four_bits, const int rows, const int vectors, const char *x, int64_t x_row,
    const char *panel, int column, int64_t blocks, float *sums) {
    const int64_t block_bytes = four_bits ? GATUN__Q4_BLOCK_BYTES : GATUN__Q8_BLOCK_BYTES,
                  four = GATUN__PANEL_COLUMNS * 4;
    vec total[BLOCKS_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            total[r][c] = v_zero();
    for (int64_t n = 0; n < blocks; n++, panel += block_bytes) {
        const char *w = panel + GATUN__BLOCK_SCALES + column * 4, *row = x + n * BLOCK_STRIDE;
        vint acc[BLOCKS_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            int32_t sum;
            memcpy(&sum, row + r * x_row + BLOCK_SUM, sizeof sum);
#pragma GCC unroll 12
            for (int c = 0; c < vectors; c++)
                acc[r][c] = i_set1(sum);
        }
        const int steps = four_bits ? 4 : 8;
#pragma GCC unroll 8
        for (int g = 0; g < steps; g++) {
            u8_w low[PANEL_VECTORS], high[PANEL_VECTORS];
#pragma GCC unroll 12
            for (int c = 0; c < vectors; c++) {
                const vint raw = v_load_int((const int32_t *)(const void *)(w + g * four + c * VW * 4));
                low[c] = u8_weights(four_bits ? i_low_nibbles(raw) : raw);
                high[c] = u8_weights(four_bits ? i_high_nibbles(raw) : raw);
            }
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const s8_x a = s8_inputs(row + r * x_row + g * 4 * BLOCKS_BYTES);
#pragma GCC unroll 12
                for (int c = 0; c < vectors; c++)
                    acc[r][c] = u8_dot(acc[r][c], low[c], a);
                if (!four_bits)
                    continue;
                const s8_x b = s8_inputs(row + r * x_row + (g + 4) * 4 * BLOCKS_BYTES);
#pragma GCC unroll 12
                for (int c = 0; c < vectors; c++)
                    acc[r][c] = u8_dot(acc[r][c], high[c], b);
            }
        }
        const uint16_t *scales = (const uint16_t *)(const void *)panel + column;
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++) {
            const vec scale = v_from_f16(scales + c * VW);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                float row_scale;
                memcpy(&row_scale, row + r * x_row + BLOCK_SCALE, sizeof row_scale);
                total[r][c] = v_fma(i_to_float(acc[r][c]), v_mul(scale, v_set1(row_scale)), total[r][c]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            v_store(sums + r * GATUN__PANEL_COLUMNS + c * VW, total[r][c]);
}

INLINE void linear_blocks(const int four_bits, const gatun__linear_task *t) {
    float *sums = (float *)(void *)t->scratch;
    const int64_t rows = t->row_end - t->row_begin, blocks = (t->depth + GATUN__BLOCK - 1) / GATUN__BLOCK;
    char *x = converted_rows(t);
    const int64_t x_row = gatun__converted_row(t->depth, 2 * BLOCKS_BYTES);
    for (int64_t r = 0; r < rows && !t->converted; r++)
        for (int64_t n = 0; n < blocks; n++) {
            const int64_t left = t->depth - n * GATUN__BLOCK;
            convert_block(t->x + (t->row_begin + r) * t->x_row + n * GATUN__BLOCK,
                left < GATUN__BLOCK ? left : GATUN__BLOCK, four_bits ? 8 : 128, x + r * x_row + n * BLOCK_STRIDE);
        }
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *w = t->panels + panel * t->panel_bytes;
        for (int64_t r = 0, n; r < rows; r += n) {
            n = next_tile(rows - r, BLOCKS_ROWS);
            for (int c = 0; c < GATUN__PANEL_COLUMNS; c += BLOCKS_VECTORS * VW) {
                if (n == 1)
                    blocks_tile(four_bits, 1, BLOCKS_VECTORS, x + r * x_row, x_row, w, c, blocks, sums + c);
                else if (n == 2)
                    blocks_tile(four_bits, 2, BLOCKS_VECTORS, x + r * x_row, x_row, w, c, blocks, sums + c);
                else if (n == 3)
                    blocks_tile(four_bits, 3, BLOCKS_VECTORS, x + r * x_row, x_row, w, c, blocks, sums + c);
                else
                    blocks_tile(four_bits, 4, BLOCKS_VECTORS, x + r * x_row, x_row, w, c, blocks, sums + c);
            }
            finish_rows(t, sums, t->row_begin + r, n, panel * GATUN__PANEL_COLUMNS);
        }
    }
}

void KERNEL(linear_q8_0)(const gatun__linear_task *t) {
    linear_blocks(0, t);
}

void KERNEL(linear_q4_0)(const gatun__linear_task *t) {
    linear_blocks(1, t);
}
