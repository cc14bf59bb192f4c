/*
 * AVX512_VNNI: vpdpbusd adds 4 products of an unsigned and a signed byte to every sum of 32 bits, without saturation. Tile of 8
 * rows x 3 zmm as in linear_avx512.c. Written down as assembly, since gcc 12 keeps the sums of the intrinsic in memory, which
 * halves the speed.
 */
#include "../vectors/vectors_avx512.h"
/* after it */
#include "../vectors/integers_avx512.h"
#include "gelu_table_avx512.h"

#define TIER         avx512vnni
#define TILE_ROWS    8
#define TILE_VECTORS 3
#define FEW_ROWS     8
#define LINEAR_GELU  gelu_by_table
#define AHEAD_TILES  2
#define GATUN__AHEAD 3
#define I8_VECTORS   3
#define I8_BYTES     1
#define PEAK_CHAINS  16

typedef __m512i i8_w, i8_x;

V i8_w i8_weights(const int8_t *p) {
    return _mm512_load_si512(p);
}
V i8_x i8_inputs(const char *p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
V int32_t i8_at(int32_t i) {
    return i;
}
/* Packing works within 128 bits, so that fours come out of order. */
V void i8_place(char *to, const vint q[4]) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(q[0], q[1]), _mm512_packus_epi32(q[2], q[3]));
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, bytes));
}
V vint i8_dot(vint sum, i8_w w, i8_x x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}

/* The same with the sign on the other side. */
#define BLOCKS_ROWS    4
#define BLOCKS_VECTORS 3
#define BLOCKS_BYTES   1

typedef __m512i u8_w, s8_x;

V u8_w u8_weights(vint w) {
    return w;
}
V s8_x s8_inputs(const char *p) {
    return i8_inputs(p);
}
V void s8_place(char *to, const int32_t q[32]) {
    for (int i = 0; i < 32; i += VW)
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm512_cvtepi32_epi8(v_load_int(q + i)));
}
V vint u8_dot(vint sum, u8_w w, s8_x x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
}

#include "linear_i8.h"
/* after it */
#include "linear_blocks.h"
