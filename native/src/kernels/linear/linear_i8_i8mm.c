/*
 * AArch64 with I8MM: sudot adds 4 products of a signed and an unsigned byte to every sum of 32 bits, without saturation. Axes, tile and
 * registers as in linear_i8_dotprod.c. Q8_0 and Q4_0: 4 rows x 2 vectors, that is 8 accumulators, 8 totals, 4 weights and 2 of x.
 *
 * Not smmla and its like, which make twice the products: they want 8 inputs of a column side by side, a panel has 4.
 */
#include "../vectors/vectors_neon.h"
/* after it */
#include "../vectors/integers_neon.h"

#define TIER                i8mm
#define TILE_ROWS           6
#define AHEAD_TILES         2
#define GATUN__AHEAD        2
#define I8_VECTORS_OF(rows) ((rows) == 1 ? 12 : (rows) <= 3 ? 6 : 4)
#define I8_BYTES            1
#define PEAK_CHAINS         16

typedef int8x16_t i8_w;
typedef uint8x8_t i8_x;

V i8_w i8_weights(const int8_t *p) {
    return vld1q_s8(p);
}
V i8_x i8_inputs(const char *p) {
    uint32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vcreate_u8(four);
}
V int32_t i8_at(int32_t i) {
    return i;
}
V void i8_place(char *to, const vint q[4]) {
    const uint16x8_t low = vcombine_u16(vqmovun_s32(q[0]), vqmovun_s32(q[1])),
                     high = vcombine_u16(vqmovun_s32(q[2]), vqmovun_s32(q[3]));
    vst1q_u8((uint8_t *)to, vcombine_u8(vqmovn_u16(low), vqmovn_u16(high)));
}
V vint i8_dot(vint sum, i8_w w, i8_x x) {
    __asm__ volatile("sudot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(w), "w"(x));
    return sum;
}

/* The same with the sign on the other side. */
#define BLOCKS_ROWS    4
#define BLOCKS_VECTORS 2
#define BLOCKS_BYTES   1

typedef uint8x16_t u8_w;
typedef int8x8_t s8_x;

V u8_w u8_weights(vint w) {
    return vreinterpretq_u8_s32(w);
}
V s8_x s8_inputs(const char *p) {
    uint32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vcreate_s8(four);
}
V void s8_place(char *to, const int32_t q[32]) {
    for (int i = 0; i < 32; i += 8)
        vst1_s8(
            (int8_t *)to + i, vmovn_s16(vcombine_s16(vmovn_s32(vld1q_s32(q + i)), vmovn_s32(vld1q_s32(q + i + 4)))));
}
V vint u8_dot(vint sum, u8_w w, s8_x x) {
    __asm__ volatile("usdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(w), "w"(x));
    return sum;
}

#include "linear_i8.h"
/* after it */
#include "linear_blocks.h"
