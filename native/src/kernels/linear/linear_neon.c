/*
 * AArch64. Tile of 6 rows x 4 vectors, a third of a panel: of 32 registers 24 accumulators, 4 weights and 1 element of x. One or
 * two rows take the whole panel, so that memory is read in order.
 */
#include "../vectors/vectors_neon.h"
/* after it */
#include "../vectors/integers_neon.h"

#define TIER         neon
#define TILE_ROWS    6
#define TILE_VECTORS 4
#define FEW_ROWS     2
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
