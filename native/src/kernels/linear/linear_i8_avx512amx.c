/*
 * AMX_INT8: tdpbusd adds the products of up to 16 rows of 64 unsigned bytes with 16 columns of 64 signed ones to 16 x 16 sums of
 * 32 bits, without saturation. Axes: see linear_rows.h. Block of 2 tiles of up to 16 rows x the panel's 3 tiles of columns (tiles_amx.h);
 * a few rows, for which memory is the bound, by vpdpbusd (linear_i8.h).
 */
#include "../vectors/vectors_avx512.h"
/* after it */
#include "../vectors/integers_avx512.h"
#include "gelu_table_avx512.h"

#define TIER               avx512amx
#define TILE_ROWS          8
#define TILE_VECTORS       3
#define FEW_ROWS           8
#define LINEAR_GELU        gelu_by_table
#define AHEAD_TILES        2
#define GATUN__AHEAD       3
#define I8_OWN_KERNEL      1
#define VNNI_MOST_ROWS     4
#define TILES_DOT(s, x, w) _tile_dpbusd(s, x, w)

#include "linear_i8_vnni.h"
/* after it */
#include "linear_i8.h"
/* after it */
#include "tiles_amx.h"

_Static_assert((int)KERNEL(tile_rows_i8) == TILE_MOST_ROWS, "kernels.inc says otherwise");

void KERNEL(linear_i8)(const gatun__linear_task *t) {
    const int64_t rows = t->row_end - t->row_begin;
    if (rows <= VNNI_MOST_ROWS) {
        i8_linear(t);
        return;
    }
    float *sums = (float *)(void *)t->scratch;
    const tile_rows tile = tile_rows_of(rows);
    const int64_t fours = (t->depth + 3) / 4, steps = fours / TILE_MOST_ROWS;
    const int64_t x_row = gatun__converted_row(t->depth, I8_BYTES);
    const char *x = i8_convert_rows(t, x_row);
    char padded[STEP_BYTES];
    configure_tiles(tile.rows);
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *head = t->panels + panel * t->panel_bytes, *ahead = head + t->panel_bytes;
        const char *w = head + GATUN__I8_PANEL_HEAD, *last = last_weights(w, fours, padded);
        for (int64_t r = 0, n; r < rows; r += n) {
            n = gatun__least(rows - r, 2 * tile.rows);
            tiles_rows(n, tile.rows, x + r * x_row, x_row, w, steps, last, sums, ahead, tile.ahead_bytes);
            ahead += steps * tile.ahead_bytes;
            i8_finish_rows(t, panel, sums, r, n);
        }
    }
    _tile_release();
}

double KERNEL(peak_i8)(int64_t steps, float io[2]) {
    return tiles_peak(steps, io, 16 * 16 * 64);
}
