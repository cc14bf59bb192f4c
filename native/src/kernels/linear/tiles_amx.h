/*
 * AMX: 8 tiles of up to 16 rows x 64 bytes. 6 of them are sums here, 2 x 3 tiles of 16 rows x 16 columns, a panel wide; one has rows of
 * x, one has weights, 16 rows of 16 columns of a panel as it lies, which serve both tiles of rows. A kernel configures them once a
 * task and gives them back at its end: the system saves what a thread has of them at each switch. The including file has vectors,
 * and TILES_DOT(sums, x, w), the instruction.
 */
#ifndef GATUN_TILES_AMX_H
#define GATUN_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Numbers of tiles become part of an instruction's text. */
#define X_TILE 6
#define W_TILE 7

enum {
    TILE_ROW = 64,
    TILE_MOST_ROWS = 16,
    PANEL_ROW = GATUN__PANEL_COLUMNS * 4,
    STEP_BYTES = TILE_MOST_ROWS * PANEL_ROW
};

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles of so many rows of x and of their sums; those of weights are whole. */
INLINE void configure_tiles(int64_t rows) {
    tile_config config = {.palette = 1};
    for (int i = 0; i <= W_TILE; i++) {
        config.row_bytes[i] = TILE_ROW;
        config.rows[i] = i == W_TILE ? TILE_MOST_ROWS : (uint8_t)rows;
    }
    _tile_loadconfig(&config);
}

/* How a task's rows become equal tiles, the last of which may have less: that one's surplus is whatever lies in scratch. */
typedef struct tile_rows {
    int64_t rows;        /* of a tile */
    int64_t ahead_bytes; /* of what comes next, requested with each step of a block: of two tiles */
} tile_rows;

INLINE tile_rows tile_rows_of(int64_t rows) {
    const int64_t tiles = (rows + TILE_MOST_ROWS - 1) / TILE_MOST_ROWS, blocks = (tiles + 1) / 2, line = 64;
    return (tile_rows){
        .rows = (rows + tiles - 1) / tiles, .ahead_bytes = (STEP_BYTES / line + blocks - 1) / blocks * line};
}

/* The last rows of a panel that do not fill a tile, with zeros behind them; NULL if there are none. */
INLINE const char *last_weights(const char *w, int64_t panel_rows, char to[STEP_BYTES]) {
    const int64_t rest = panel_rows % TILE_MOST_ROWS;
    if (rest == 0)
        return NULL;
    memcpy(to, w + (panel_rows - rest) * PANEL_ROW, (size_t)(rest * PANEL_ROW));
    memset(to + rest * PANEL_ROW, 0, (size_t)((TILE_MOST_ROWS - rest) * PANEL_ROW));
    return to;
}

INLINE void tiles_step(const int two, const char *first, const char *second, int64_t x_row, const char *w) {
    _tile_loadd(X_TILE, first, x_row);
    _tile_loadd(W_TILE, w, PANEL_ROW);
    TILES_DOT(0, X_TILE, W_TILE);
    if (two) {
        _tile_loadd(X_TILE, second, x_row);
        TILES_DOT(3, X_TILE, W_TILE);
        _tile_loadd(W_TILE, w + TILE_ROW, PANEL_ROW);
        TILES_DOT(4, X_TILE, W_TILE);
        _tile_loadd(X_TILE, first, x_row);
        TILES_DOT(1, X_TILE, W_TILE);
        _tile_loadd(W_TILE, w + 2 * TILE_ROW, PANEL_ROW);
        TILES_DOT(2, X_TILE, W_TILE);
        _tile_loadd(X_TILE, second, x_row);
        TILES_DOT(5, X_TILE, W_TILE);
    } else {
        _tile_loadd(W_TILE, w + TILE_ROW, PANEL_ROW);
        TILES_DOT(1, X_TILE, W_TILE);
        _tile_loadd(W_TILE, w + 2 * TILE_ROW, PANEL_ROW);
        TILES_DOT(2, X_TILE, W_TILE);
    }
}

/* Sums [two tiles of `tile` rows, or one][48] of so many steps of 64 bytes of x, and of one more with the weights of `last`. */
INLINE void tiles_block(const int two, int64_t tile, const char *x, int64_t x_row, const char *w, int64_t steps,
    const char *last, void *sums, const char *ahead, int64_t ahead_bytes) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    if (two) {
        _tile_zero(3);
        _tile_zero(4);
        _tile_zero(5);
    }
    const char *second = x + tile * x_row;
    for (int64_t s = 0; s < steps; s++, x += TILE_ROW, second += TILE_ROW, w += STEP_BYTES, ahead += ahead_bytes) {
        for (int64_t line = 0; line < ahead_bytes; line += 64)
            __builtin_prefetch(ahead + line, 0, 3);
        tiles_step(two, x, second, x_row, w);
    }
    if (last != NULL)
        tiles_step(two, x, second, x_row, last);
    char *to = sums, *below = to + tile * PANEL_ROW;
    _tile_stored(0, to, PANEL_ROW);
    _tile_stored(1, to + TILE_ROW, PANEL_ROW);
    _tile_stored(2, to + 2 * TILE_ROW, PANEL_ROW);
    if (two) {
        _tile_stored(3, below, PANEL_ROW);
        _tile_stored(4, below + TILE_ROW, PANEL_ROW);
        _tile_stored(5, below + 2 * TILE_ROW, PANEL_ROW);
    }
}

/* The same for rows of a task that are left: of one block of it. */
static void tiles_rows(int64_t rows, int64_t tile, const char *x, int64_t x_row, const char *w, int64_t steps,
    const char *last, void *sums, const char *ahead, int64_t ahead_bytes) {
    if (rows > tile)
        tiles_block(1, tile, x, x_row, w, steps, last, sums, ahead, ahead_bytes);
    else
        tiles_block(0, tile, x, x_row, w, steps, last, sums, ahead, ahead_bytes);
}

/* The rate of the instruction by itself: as gatun__kernels.peak_f32, of so many products an instruction. */
INLINE double tiles_peak(int64_t steps, float io[2], int64_t products) {
    char bytes[TILE_MOST_ROWS * TILE_ROW], lanes[TILE_MOST_ROWS * TILE_ROW];
    memset(bytes, io[0] != 0, sizeof bytes);
    configure_tiles(TILE_MOST_ROWS);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_loadd(X_TILE, bytes, TILE_ROW);
    _tile_loadd(W_TILE, bytes, TILE_ROW);
    for (int64_t s = 0; s < steps; s++) {
        TILES_DOT(0, X_TILE, W_TILE);
        TILES_DOT(1, X_TILE, W_TILE);
        TILES_DOT(2, X_TILE, W_TILE);
        TILES_DOT(3, X_TILE, W_TILE);
        TILES_DOT(4, X_TILE, W_TILE);
        TILES_DOT(5, X_TILE, W_TILE);
    }
    _tile_stored(0, lanes, TILE_ROW);
    _tile_release();
    io[0] = (float)lanes[0];
    return 2.0 * 6 * (double)products;
}

#endif
