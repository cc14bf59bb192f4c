/*
 * AMX_BF16, packed weights in bf16; axes: see linear_rows.h, converted rows [R][K / 2][2], panel [K / 2][48][2].
 *
 * tdpbf16ps makes sums of the products of up to 16 rows of 32 bf16 with 16 columns of 32, and adds them to 16 x 16 floats. Block of 2
 * tiles of up to 16 rows x the panel's 3 tiles of columns (tiles_amx.h), also for a single row, since vdpbf16ps adds in another order.
 * Rows of x become bf16 first, rounded to nearest even, with zeros behind them up to a whole tile.
 */
#include "../vectors/vectors_avx512.h"
/* after it */
#include "../vectors/integers_avx512.h"
#include "gelu_table_avx512.h"

#define TIER               avx512amxbf16
#define TILE_ROWS          8
#define TILE_VECTORS       3
#define FEW_ROWS           8
#define LINEAR_GELU        gelu_by_table
#define TILES_DOT(s, x, w) _tile_dpbf16ps(s, x, w)

#include "linear_rows.h"
/* after it */
#include "bf16_rows_avx512.h"
#include "tiles_amx.h"

/* Inputs whose products are added up in a tile: 256 sums of 32, which is less than GATUN__CHAIN_DEPTH one by one. */
enum { CHAIN_STEPS = 256, BLOCK_ROWS = 2 * TILE_MOST_ROWS };

_Static_assert(2 * BLOCK_ROWS <= GATUN__MOST_BLOCK_ROWS, "there is room for the sums of two blocks");
_Static_assert(
    (int)KERNEL(tile_rows_bf16) == TILE_MOST_ROWS && KERNEL(element_bytes_bf16) == 2, "kernels.inc says otherwise");

static void add(const float *more, int64_t rows, float *sums) {
    for (int64_t i = 0; i < rows * GATUN__PANEL_COLUMNS; i += VW)
        v_store(sums + i, v_add(v_load(sums + i), v_load(more + i)));
}

void KERNEL(linear_bf16)(const gatun__linear_task *t) {
    float *sums = (float *)(void *)t->scratch, *more = sums + BLOCK_ROWS * GATUN__PANEL_COLUMNS;
    const int64_t rows = t->row_end - t->row_begin, pairs = (t->depth + 1) / 2, all_steps = pairs / TILE_MOST_ROWS;
    const tile_rows tile = tile_rows_of(rows);
    const int64_t x_row = gatun__converted_row(t->depth, 2);
    char *x = converted_rows(t);
    for (int64_t r = 0; r < rows && !t->converted; r++)
        convert_row(t->x + (t->row_begin + r) * t->x_row, t->depth, TILE_ROW / 2, x + r * x_row);
    char padded[STEP_BYTES];
    configure_tiles(tile.rows);
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *w = t->panels + panel * t->panel_bytes, *ahead = w + t->panel_bytes;
        const char *last = last_weights(w, pairs, padded);
        for (int64_t r = 0, n; r < rows; r += n) {
            n = gatun__least(rows - r, 2 * tile.rows);
            const char *from = x + r * x_row;
            int64_t begin = 0;
            do {
                const int64_t steps = gatun__least(all_steps - begin, CHAIN_STEPS);
                const int ends = begin + steps == all_steps;
                tiles_rows(n, tile.rows, from + begin * TILE_ROW, x_row, w + begin * STEP_BYTES, steps,
                    ends ? last : NULL, begin == 0 ? sums : more, ahead, tile.ahead_bytes);
                ahead += steps * tile.ahead_bytes;
                if (begin > 0)
                    add(more, n, sums);
                begin += steps;
            } while (begin < all_steps);
            finish_rows(t, sums, t->row_begin + r, n, panel * GATUN__PANEL_COLUMNS);
        }
    }
    _tile_release();
}

double KERNEL(peak_bf16)(int64_t steps, float io[2]) {
    return tiles_peak(steps, io, 16 * 16 * 32);
}
