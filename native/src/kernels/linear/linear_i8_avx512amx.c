/*
 * AMX_INT8: tdpbusd adds the products of up to 16 rows of 64 unsigned bytes with 16 columns of 64 signed ones to 16 x 16 sums of
 * 32 bits, without saturation: a tile of weights is 16 fours of 16 columns of a panel as it lies. Axes: see linear_rows.h.
 *
 * Block of 2 tiles of rows, equal ones but for the last, x the panel's 3 tiles of columns: each tile of weights is loaded once for
 * both. Inputs beyond the last whole 64 are multiplied first, by vpdpbusd; so are all of a few rows. The converted rows are filled
 * up to whole tiles, of which the last one's surplus is whatever lies there: sums that nobody reads.
 */
#include "../vectors/vectors_avx512.h"
/* after it */
#include "../vectors/integers_avx512.h"
#include "gelu_table_avx512.h"
#include "tiles_amx.h"

#define TIER          avx512amx
#define TILE_ROWS     8
#define TILE_VECTORS  3
#define FEW_ROWS      8
#define LINEAR_GELU   gelu_by_table
#define AHEAD_TILES   2
#define GATUN__AHEAD  3
#define I8_OWN_KERNEL 1

#include "linear_i8_vnni.h"
/* after it */
#include "linear_i8.h"

_Static_assert((int)KERNEL(tile_rows_i8) == TILE_MOST_ROWS, "kernels.inc says otherwise");

/* Fours of a tile of weights, and the bytes of 16 columns of them. */
enum { FOURS = 16, FOUR_BYTES = GATUN__PANEL_COLUMNS * 4, SUMS_BYTES = GATUN__PANEL_COLUMNS * 4, VNNI_MOST_ROWS = 4 };

/* One or two tiles of rows, of `tile` rows each, times the whole 64s of inputs of a panel; begun: there are sums already. */
INLINE void tiles_block(const int two, const int begun, int64_t tile, const char *x, int64_t x_row, const int8_t *w,
    int64_t fours, float *sums, const char *ahead, int64_t ahead_bytes) {
    float *second = sums + tile * GATUN__PANEL_COLUMNS;
    if (begun) {
        _tile_loadd(0, sums, SUMS_BYTES);
        _tile_loadd(1, sums + 16, SUMS_BYTES);
        _tile_loadd(2, sums + 32, SUMS_BYTES);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
    }
    if (two && begun) {
        _tile_loadd(3, second, SUMS_BYTES);
        _tile_loadd(4, second + 16, SUMS_BYTES);
        _tile_loadd(5, second + 32, SUMS_BYTES);
    } else if (two) {
        _tile_zero(3);
        _tile_zero(4);
        _tile_zero(5);
    }
    for (int64_t k = 0; k < fours; k += FOURS, x += FOURS * 4, w += FOURS * FOUR_BYTES, ahead += ahead_bytes) {
        for (int64_t line = 0; line < ahead_bytes; line += 64)
            __builtin_prefetch(ahead + line, 0, GATUN__AHEAD);
        _tile_loadd(X_TILE, x, x_row);
        _tile_loadd(W_TILE, w, FOUR_BYTES);
        _tile_dpbusd(0, X_TILE, W_TILE);
        if (two) {
            _tile_loadd(X_TILE, x + tile * x_row, x_row);
            _tile_dpbusd(3, X_TILE, W_TILE);
            _tile_loadd(W_TILE, w + 64, FOUR_BYTES);
            _tile_dpbusd(4, X_TILE, W_TILE);
            _tile_loadd(X_TILE, x, x_row);
            _tile_dpbusd(1, X_TILE, W_TILE);
            _tile_loadd(W_TILE, w + 128, FOUR_BYTES);
            _tile_dpbusd(2, X_TILE, W_TILE);
            _tile_loadd(X_TILE, x + tile * x_row, x_row);
            _tile_dpbusd(5, X_TILE, W_TILE);
        } else {
            _tile_loadd(W_TILE, w + 64, FOUR_BYTES);
            _tile_dpbusd(1, X_TILE, W_TILE);
            _tile_loadd(W_TILE, w + 128, FOUR_BYTES);
            _tile_dpbusd(2, X_TILE, W_TILE);
        }
    }
    _tile_stored(0, sums, SUMS_BYTES);
    _tile_stored(1, sums + 16, SUMS_BYTES);
    _tile_stored(2, sums + 32, SUMS_BYTES);
    if (two) {
        _tile_stored(3, second, SUMS_BYTES);
        _tile_stored(4, second + 16, SUMS_BYTES);
        _tile_stored(5, second + 32, SUMS_BYTES);
    }
}

void KERNEL(linear_i8)(const gatun__linear_task *t) {
    const int64_t rows = t->row_end - t->row_begin;
    if (rows <= VNNI_MOST_ROWS || t->depth < TILE_BYTES) {
        i8_linear(t);
        return;
    }
    float *sums = (float *)(void *)t->scratch;
    const int64_t tiles = (rows + TILE_MOST_ROWS - 1) / TILE_MOST_ROWS, tile = (rows + tiles - 1) / tiles;
    const int64_t fours = (t->depth + 3) / 4, whole = t->depth / TILE_BYTES * FOURS, rest = fours - whole;
    const int64_t x_row = gatun__converted_row(t->depth, I8_BYTES);
    const char *x = i8_convert_rows(t, x_row);
    const int64_t blocks = (tiles + 1) / 2, line = 64;
    const int64_t ahead_bytes = (FOURS * FOUR_BYTES / line + blocks - 1) / blocks * line;
    configure_tiles(tile);
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *head = t->panels + panel * t->panel_bytes, *ahead = head + t->panel_bytes;
        const int8_t *w = (const int8_t *)head + GATUN__I8_PANEL_HEAD;
        for (int64_t r = 0, n; r < rows; r += n) {
            n = gatun__least(rows - r, 2 * tile);
            for (int64_t i = 0, some; rest > 0 && i < n; i += some) {
                some = next_tile(n - i, TILE_ROWS);
                i8_rows(some, x + (r + i) * x_row + whole * 4, x_row, w + whole * FOUR_BYTES, rest,
                    sums + i * GATUN__PANEL_COLUMNS, NULL, 0);
            }
            const char *from = x + r * x_row;
            if (n > tile && rest > 0)
                tiles_block(1, 1, tile, from, x_row, w, whole, sums, ahead, ahead_bytes);
            else if (n > tile)
                tiles_block(1, 0, tile, from, x_row, w, whole, sums, ahead, ahead_bytes);
            else if (rest > 0)
                tiles_block(0, 1, tile, from, x_row, w, whole, sums, ahead, ahead_bytes);
            else
                tiles_block(0, 0, tile, from, x_row, w, whole, sums, ahead, ahead_bytes);
            ahead += whole / FOURS * ahead_bytes;
            i8_finish_rows(t, panel, sums, r, n);
        }
    }
    _tile_release();
}

/* The rate of the instruction by itself: as gatun__kernels.peak_f32. */
double KERNEL(peak_i8)(int64_t steps, float io[2]) {
    enum { MACS = 16 * 16 * 64, CHAINS = 6 };
    int8_t ones[TILE_MOST_ROWS * TILE_BYTES];
    int32_t lanes[TILE_MOST_ROWS * 16];
    memset(ones, io[0] != 0, sizeof ones);
    configure_tiles(TILE_MOST_ROWS);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_loadd(X_TILE, ones, TILE_BYTES);
    _tile_loadd(W_TILE, ones, TILE_BYTES);
    for (int64_t s = 0; s < steps; s++) {
        _tile_dpbusd(0, X_TILE, W_TILE);
        _tile_dpbusd(1, X_TILE, W_TILE);
        _tile_dpbusd(2, X_TILE, W_TILE);
        _tile_dpbusd(3, X_TILE, W_TILE);
        _tile_dpbusd(4, X_TILE, W_TILE);
        _tile_dpbusd(5, X_TILE, W_TILE);
    }
    _tile_stored(0, lanes, TILE_BYTES);
    _tile_release();
    io[0] = (float)lanes[0];
    return 2.0 * MACS * CHAINS;
}
