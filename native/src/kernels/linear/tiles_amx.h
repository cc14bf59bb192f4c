/*
 * AMX: 8 tiles of up to 16 rows x 64 bytes. Here 6 of them are sums, 2 x 3 tiles of 16 rows x 16 columns, a panel wide; one has rows of
 * x, one has weights. A kernel configures them once a task and gives them back at its end: the system saves what a thread has of them
 * at each switch.
 */
#ifndef GATUN_TILES_AMX_H
#define GATUN_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

/* Numbers of tiles become part of an instruction's text. */
#define X_TILE 6
#define W_TILE 7

enum { TILE_BYTES = 64, TILE_MOST_ROWS = 16 };

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles of so many rows of x and of their sums; those of weights are whole. */
static inline void configure_tiles(int64_t rows) {
    tile_config config = {.palette = 1};
    for (int i = 0; i <= W_TILE; i++) {
        config.row_bytes[i] = TILE_BYTES;
        config.rows[i] = i == W_TILE ? TILE_MOST_ROWS : (uint8_t)rows;
    }
    _tile_loadconfig(&config);
}

#endif
