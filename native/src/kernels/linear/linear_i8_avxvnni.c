/*
 * AVX_VNNI, of CPUs with AVX2 and without AVX-512: vpdpbusd as in linear_i8_avx512vnni.c, with 8 sums, in its VEX encoding. Axes: see
 * linear_i8.h. Tile of 6 rows x 2 ymm: of 16 registers 12 accumulators, 2 weights and 1 of x. Of few rows 4 x 3 or 2 x 6, the whole
 * panel: 12 accumulators as well, and weights as they come. Assembly for the reason given there. Q8_0 and Q4_0: 4 rows x 1 ymm, that is 4 accumulators, 4 totals, 2 weights and 1 of x.
 *
 * GATUN_EVEX_VNNI: see test-avxvnni in tests/tests.mk.
 */
#include "../vectors/vectors_avx2.h"
/* after it */
#include "../vectors/integers_avx2.h"

#define TIER                avxvnni
#define TILE_ROWS           6
#define AHEAD_TILES         2
#define GATUN__AHEAD        2
#define I8_VECTORS_OF(rows) ((rows) <= 2 ? 6 : (rows) <= 4 ? 3 : 2)
#define I8_BYTES            1
#define PEAK_CHAINS         12

#ifdef GATUN_EVEX_VNNI
#define VPDPBUSD "vpdpbusd"
#else
#define VPDPBUSD "%{vex%} vpdpbusd"
#endif

typedef __m256i i8_w, i8_x;

V i8_w i8_weights(const int8_t *p) {
    return _mm256_load_si256((const __m256i *)(const void *)p);
}
V i8_x i8_inputs(const char *p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}
V int32_t i8_at(int32_t i) {
    return i;
}
/* Packing works within 128 bits, so that fours come out of order. */
V void i8_place(char *to, const vint q[4]) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_permutevar8x32_epi32(bytes, order));
}
V vint i8_dot(vint sum, i8_w w, i8_x x) {
    __asm__(VPDPBUSD " %2, %1, %0" : "+x"(sum) : "x"(x), "xm"(w));
    return sum;
}

/* The same with the sign on the other side. */
#define BLOCKS_ROWS    4
#define BLOCKS_VECTORS 1
#define BLOCKS_BYTES   1

typedef __m256i u8_w, s8_x;

V u8_w u8_weights(vint w) {
    return w;
}
V s8_x s8_inputs(const char *p) {
    return i8_inputs(p);
}
V void s8_place(char *to, const int32_t q[32]) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v_load_int(q), v_load_int(q + 8)),
        _mm256_packs_epi32(v_load_int(q + 16), v_load_int(q + 24)));
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_permutevar8x32_epi32(bytes, order));
}
V vint u8_dot(vint sum, u8_w w, s8_x x) {
    __asm__(VPDPBUSD " %2, %1, %0" : "+x"(sum) : "x"(w), "x"(x));
    return sum;
}

#include "linear_i8.h"
/* after it */
#include "linear_blocks.h"
