/*
 * AVX512_VNNI: vpdpbusd adds 4 products of an unsigned and a signed byte to every sum of 32 bits, without saturation. Tile of 8
 * rows x 3 zmm as in linear_avx512.c.
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
#define PEAK_CHAINS  16

#include "linear_i8_vnni.h"

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
