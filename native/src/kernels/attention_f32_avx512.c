/*
 * AVX-512. Block of 32 queries = 2 zmm. Register budget of 32: scores 8 keys x 2 = 16 accumulators + 2 queries + 1 key;
 * values 8 columns x 2 = 16 accumulators + 2 weights + 1 value. With 16 queries or fewer 16 x 1 accumulators, so that
 * two FMAs a cycle of latency 4 stay covered. An exponential beside 8 columns takes 5 registers more; its constants and
 * sums are memory operands. Score tile 128 keys x 32 lanes x 4 B = 16 KiB: in L1 (32 KiB or more)
 * beside a chain of value rows. Masks are k registers: selection is free.
 */
#include "gatun.h"
#include "vectors_avx512.h"
/* after it */
#include "beside_avx512.h"

#define QV                 2
#define ROWS_FULL          8
#define ROWS_SINGLE        16
#define COLUMNS_FULL       8
#define COLUMNS_SINGLE     16
#define INTERLEAVED        1
#define FEW_COLUMNS        4
#define FEW_COLUMNS_SINGLE 8
#define PEAK_CHAINS        16

#include "attention_f32.h"
/* after it */
#include "attention_few_f32.h"

const gatun__kernels gatun__kernels_avx512 = {
    GATUN_TIER_AVX512, LANES, attention_f32, attention_few_f32, peak_f32, &gatun__row_kernels_avx512};
