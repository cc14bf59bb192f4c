/* AVX2. Register block of 6 rows x 2 ymm: of 16 registers 12 accumulators, 2 of B and 1 element of A. */
#include "../vectors/vectors_avx2.h"

#define TIER          avx2
#define BLOCK_ROWS    6
#define BLOCK_VECTORS 2
#define FUSED         1

#include "linear_attention_f32.h"
