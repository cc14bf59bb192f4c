/*
 * AVX512_BF16, packed weights in bf16; axes: see linear_rows.h, converted rows [R][K / 2][2], panel [K / 2][48][2].
 *
 * vdpbf16ps adds 2 products of bf16 to every float. Rows of x become bf16 first, rounded to nearest even. Tile of 8
 * rows x 3 zmm as in linear_avx512.c, chains of GATUN__CHAIN_DEPTH inputs, two by two. Assembly for the reason given in
 * linear_i8_vnni.h.
 */
#include "../vectors/vectors_avx512.h"
/* after it */
#include "../vectors/integers_avx512.h"
#include "gelu_table_avx512.h"

#define TIER         avx512bf16
#define TILE_ROWS    8
#define TILE_VECTORS 3
#define FEW_ROWS     8
#define LINEAR_GELU  gelu_by_table

#include "linear_rows.h"
/* after it */
#include "bf16_rows_avx512.h"

_Static_assert(TILE_ROWS == KERNEL(tile_rows_bf16) && KERNEL(element_bytes_bf16) == 2, "kernels.inc says otherwise");

/* So many pairs of inputs between two requests for what comes next. */
enum { STEP = 16 };

INLINE vec bf16_dot(vec sum, vec w, vec x) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}

INLINE void bf16_tile(const int rows, const char *x, int64_t x_row, const char *w, int64_t pairs, float *sums,
    int first, const char *ahead, int64_t ahead_bytes) {
    vec acc[TILE_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int c = 0; c < PANEL_VECTORS; c++)
            acc[r][c] = v_zero();
    for (int64_t k = 0; k < pairs;) {
        const int64_t end = pairs - k < STEP ? pairs : k + STEP;
        for (int64_t line = 0; line < ahead_bytes; line += 64)
            __builtin_prefetch(ahead + line, 0, 2);
        ahead += ahead_bytes;
        for (; k < end; k++, w += GATUN__PANEL_COLUMNS * 4) {
            vec b[PANEL_VECTORS];
#pragma GCC unroll 3
            for (int c = 0; c < PANEL_VECTORS; c++)
                b[c] = _mm512_load_ps(w + c * VW * 4);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                float pair;
                __builtin_memcpy(&pair, x + r * x_row + k * 4, sizeof pair);
                const vec a = v_set1(pair);
#pragma GCC unroll 3
                for (int c = 0; c < PANEL_VECTORS; c++)
                    acc[r][c] = bf16_dot(acc[r][c], b[c], a);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int c = 0; c < PANEL_VECTORS; c++) {
            float *to = sums + r * GATUN__PANEL_COLUMNS + c * VW;
            v_store(to, first ? acc[r][c] : v_add(v_load(to), acc[r][c]));
        }
}

static void bf16_rows(int64_t rows, const char *x, int64_t x_row, const char *w, int64_t pairs, float *sums, int first,
    const char *ahead, int64_t ahead_bytes) {
    switch (rows) {
#define TILE(n) bf16_tile(n, x, x_row, w, pairs, sums, first, ahead, ahead_bytes)
        GATUN__TILE_CASES(TILE)
#undef TILE
    }
}

void KERNEL(linear_bf16)(const gatun__linear_task *t) {
    float *sums = (float *)(void *)t->scratch;
    const int64_t rows = t->row_end - t->row_begin, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const int64_t all_pairs = (t->depth + 1) / 2, chain = GATUN__CHAIN_DEPTH / 2, pair_bytes = GATUN__PANEL_COLUMNS * 4;
    const int64_t line = 64, step_lines = STEP * pair_bytes / line;
    const int64_t ahead_bytes = tiles < 2 ? 0 : (step_lines + tiles - 1) / tiles * line;
    char *x = converted_rows(t);
    const int64_t x_row = gatun__converted_row(t->depth, 2);
    for (int64_t r = 0; r < rows && !t->converted; r++)
        convert_row(t->x + (t->row_begin + r) * t->x_row, t->depth, VW, x + r * x_row);
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *w = t->panels + panel * t->panel_bytes;
        for (int64_t k = 0; k < all_pairs; k += chain) {
            const int64_t pairs = all_pairs - k < chain ? all_pairs - k : chain;
            const char *ahead = w + (k + pairs) * pair_bytes;
            for (int64_t r = 0, n; r < rows; r += n) {
                n = next_tile(rows - r, TILE_ROWS);
                float *to = sums + r * GATUN__PANEL_COLUMNS;
                bf16_rows(n, x + r * x_row + k * 4, x_row, w + k * pair_bytes, pairs, to, k == 0, ahead, ahead_bytes);
                ahead += (pairs + STEP - 1) / STEP * ahead_bytes;
                if (k + pairs == all_pairs)
                    finish_rows(t, to, t->row_begin + r, n, panel * GATUN__PANEL_COLUMNS);
            }
        }
    }
}

double KERNEL(peak_bf16)(int64_t steps, float io[2]) {
    enum { PEAK_CHAINS = 16 };
    vec acc[PEAK_CHAINS];
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = v_set1((float)i);
    const vec one = v_set1(io[0]), zero = v_set1(io[1]);
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 16
        for (int i = 0; i < PEAK_CHAINS; i++) {
            acc[i] = bf16_dot(acc[i], one, zero);
            v_keep(acc[i]);
        }
    }
    vec total = v_zero();
    for (int i = 0; i < PEAK_CHAINS; i++)
        total = v_add(total, acc[i]);
    float lanes[VW];
    v_store(lanes, total);
    io[0] = lanes[0];
    return 2.0 * 2 * VW * PEAK_CHAINS;
}
