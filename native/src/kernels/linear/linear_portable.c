/*
 * Plain C. Tile of 4 rows x 2 vectors of 4 floats, a sixth of a panel: of 16 registers 8 accumulators, 2 weights, 1 element of x
 * and 1 product. One row takes the whole panel, so that memory is read in order.
 */
#include "../vectors/vectors_portable.h"
/* after it */
#include "../vectors/integers_portable.h"

#define TIER         portable
#define TILE_ROWS    4
#define TILE_VECTORS 2
#define FEW_ROWS     1
#define AHEAD_TILES  2
#define GATUN__AHEAD 2

#include "linear_float.h"

#define I8_VECTORS  1
#define PEAK_CHAINS 8
#include "linear_i8_bytes.h"
/* after it */
#include "linear_i8.h"

#define BLOCKS_ROWS    4
#define BLOCKS_VECTORS 1
#include "linear_blocks.h"
