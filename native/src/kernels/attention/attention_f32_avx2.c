/*
 * AVX2 + FMA. Block of 24 queries = 3 ymm. Register budget of 16: scores 4 keys x 3 = 12 accumulators + 3 queries + 1
 * key; values 4 columns x 3 = 12 accumulators + 3 probs + 1 value. With 8 queries or fewer 8 x 1 accumulators
 * (latency 4, two FMAs a cycle). Score tile 128 keys x 24 lanes x 4 B = 12 KiB: in L1 beside a chain of value rows.
 * Masks are vectors; selection is a blend.
 */
#include "../vectors/vectors_avx2.h"
#include "gatun.h"

#define TIER                  avx2
#define QV                    3
#define ROWS_FULL             4
#define ROWS_SINGLE           8
#define COLUMNS_FULL          4
#define COLUMNS_SINGLE        8
#define INTERLEAVED           0
#define DECODE_COLUMNS        2
#define DECODE_COLUMNS_SINGLE 8
#define PEAK_CHAINS           12

#include "attention_f32.h"
/* after it: it uses its parts */
#include "attention_decode_f32.h"
#include "attention_map_f32.h"
