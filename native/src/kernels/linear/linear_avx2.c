/*
 * AVX2 + FMA. Tile of 6 rows x 2 ymm, a third of a panel: of 16 registers 12 accumulators, 2 weights and 1 element of x. One or
 * two rows take the whole panel, so that memory is read in order. int8: 6 rows x 1 ymm, that is 6 accumulators, 2 weights, 2 of x
 * and the products.
 */
#include "../vectors/vectors_avx2.h"
/* after it */
#include "../vectors/integers_avx2.h"

#define TIER         avx2
#define TILE_ROWS    6
#define TILE_VECTORS 2
#define FEW_ROWS     2
#define AHEAD_TILES  2
#define GATUN__AHEAD 2

#include "linear_float.h"

V vint w_low_bytes(vint a) {
    return _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8);
}
V vint w_high_bytes(vint a) {
    return _mm256_srai_epi16(a, 8);
}
V vint w_low_unsigned(vint a) {
    return _mm256_and_si256(a, _mm256_set1_epi16(255));
}
V vint w_high_unsigned(vint a) {
    return _mm256_srli_epi16(a, 8);
}
V vint w_pairs(vint a, vint b) {
    return _mm256_madd_epi16(a, b);
}
#define I8_VECTORS  1
#define PEAK_CHAINS 8
#include "linear_i8_words.h"
/* after it */
#include "linear_i8.h"

#define BLOCKS_ROWS    4
#define BLOCKS_VECTORS 1
#include "linear_blocks.h"
