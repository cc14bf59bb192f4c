/*
 * AArch64 Advanced SIMD. Block of 16 queries = 4 vectors. Register budget of 32: scores 4 keys x 4 = 16 accumulators +
 * 4 queries + 1 key; values 4 columns x 4 = 16 accumulators + 4 probs + 1 value; 16 x 1 with 4 queries or fewer.
 * Score tile 128 keys x 16 lanes x 4 B = 8 KiB. Masks are vectors; selection is bsl. Tested for results under
 * emulation, never timed.
 */
#include "../vectors/vectors_neon.h"
#include "gatun.h"

#define TIER                  neon
#define QV                    4
#define ROWS_FULL             4
#define ROWS_SINGLE           16
#define COLUMNS_FULL          4
#define COLUMNS_SINGLE        16
#define INTERLEAVED           0
#define DECODE_COLUMNS        4
#define DECODE_COLUMNS_SINGLE 8
#define PEAK_CHAINS           16

#include "attention_f32.h"
/* after it: it uses its parts */
#include "attention_decode_f32.h"
#include "attention_map_f32.h"
