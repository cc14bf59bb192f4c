/* Plain C. Register block of 4 rows x 2 vectors: of 16 registers 8 accumulators, 2 of B, 1 element of A and a product. */
#include "../vectors/vectors_portable.h"

#define TIER          portable
#define BLOCK_ROWS    4
#define BLOCK_VECTORS 2
#define FUSED         0

#include "linear_attention_f32.h"
