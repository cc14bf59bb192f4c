/*
 * AVX-512. Block of 32 queries = 2 zmm. Register budget of 32: scores 8 keys x 2 = 16 accumulators + 2 queries + 1 key;
 * values 8 columns x 2 = 16 accumulators + 2 probs + 1 value. With 16 queries or fewer 16 x 1 accumulators, so that
 * two FMAs a cycle of latency 4 stay covered. An exponential overlapped with 8 columns takes 5 registers more; its constants and
 * sums are memory operands. Score tile 128 keys x 32 lanes x 4 B = 16 KiB: in L1 (32 KiB or more)
 * beside a chain of value rows. Masks are k registers: selection is free.
 */
#include "../vectors/vectors_avx512.h"
#include "gatun.h"
/* after it */
#include "overlapped_avx512.h"

#define TIER                  avx512
#define QV                    2
#define ROWS_FULL             8
#define ROWS_SINGLE           16
#define COLUMNS_FULL          8
#define COLUMNS_SINGLE        16
#define INTERLEAVED           1
#define DECODE_COLUMNS        4
#define DECODE_COLUMNS_SINGLE 8
#define PEAK_CHAINS           16

#include "attention_f32.h"
/* after it: it uses its parts */
#include "attention_decode_f32.h"
#include "attention_map_f32.h"
