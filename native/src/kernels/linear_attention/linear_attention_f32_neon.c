/* Advanced SIMD. Register block of 6 rows x 4 vectors: of 32 registers 24 accumulators, 4 of B and 1 element of A. */
#include "../vectors/vectors_neon.h"

#define TIER          neon
#define BLOCK_ROWS    6
#define BLOCK_VECTORS 4
#define FUSED         1

#include "linear_attention_f32.h"
