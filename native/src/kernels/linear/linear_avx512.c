/*
 * AVX-512. Tile of 8 rows x 3 zmm, a whole panel: of 32 registers 24 accumulators, 3 weights and 1 element of x. Without VNNI
 * int8 takes 8 rows x 1 zmm: 8 accumulators, 2 weights, 2 of x and the products.
 */
#include "../vectors/vectors_avx512.h"
/* after it */
#include "../vectors/integers_avx512.h"

#define TIER         avx512
#define TILE_ROWS    8
#define TILE_VECTORS 3
#define FEW_ROWS     8
#define AHEAD_TILES  2
#define GATUN__AHEAD 2

#include "linear_float.h"

V vint w_low_bytes(vint a) {
    return _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8);
}
V vint w_high_bytes(vint a) {
    return _mm512_srai_epi16(a, 8);
}
V vint w_low_unsigned(vint a) {
    return _mm512_and_si512(a, _mm512_set1_epi16(255));
}
V vint w_high_unsigned(vint a) {
    return _mm512_srli_epi16(a, 8);
}
V vint w_pairs(vint a, vint b) {
    return _mm512_madd_epi16(a, b);
}
#define I8_VECTORS  1
#define PEAK_CHAINS 16
#include "linear_i8_words.h"
/* after it */
#include "linear_i8.h"

#define BLOCKS_ROWS    4
#define BLOCKS_VECTORS 1
#include "linear_blocks.h"
