/*
 * Plain C with the compiler's vector extension, for its baseline instruction set (SSE2 on x86-64). Block of 8 queries =
 * 2 vectors of 4; scores 4 keys x 2 = 8 accumulators + 2 + 1 of 16 registers, values the same. Products and sums are
 * rounded one by one (no fused operation).
 */
#include "../vectors/vectors_portable.h"
#include "gatun.h"

#define TIER                  portable
#define QV                    2
#define ROWS_FULL             4
#define ROWS_SINGLE           8
#define COLUMNS_FULL          4
#define COLUMNS_SINGLE        8
#define INTERLEAVED           0
#define DECODE_COLUMNS        2
#define DECODE_COLUMNS_SINGLE 4
#define PEAK_CHAINS           12

#include "attention_f32.h"
/* after it */
#include "attention_decode_f32.h"
#include "attention_map_f32.h"
