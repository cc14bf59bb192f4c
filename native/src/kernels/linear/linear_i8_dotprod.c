/*
 * AArch64 with DotProd: sdot adds 4 products of signed bytes to every sum of 32 bits, without saturation. Bytes of x lie 128 lower,
 * and so does the zero point. Axes: see linear_i8.h. Tile of 6 rows x 4 vectors: of 32 registers 24 accumulators, 4 weights and 1 of
 * x, whose four is a lane, so that loading it takes no instruction of the vector unit. Of few rows 3 x 6 or 1 x 12, the whole panel.
 *
 * Volatile assembly keeps the order of rows: of the intrinsic gcc 12 makes a loop that loads all rows' x first and has no register
 * left for one of the sums.
 */
#include "../vectors/vectors_neon.h"
/* after it */
#include "../vectors/integers_neon.h"

#define TIER                dotprod
#define TILE_ROWS           6
#define AHEAD_TILES         2
#define GATUN__AHEAD        2
#define I8_VECTORS_OF(rows) ((rows) == 1 ? 12 : (rows) <= 3 ? 6 : 4)
#define I8_BYTES            1
#define I8_LEAST            -128
#define PEAK_CHAINS         16

typedef int8x16_t i8_w;
typedef int8x8_t i8_x;

V i8_w i8_weights(const int8_t *p) {
    return vld1q_s8(p);
}
V i8_x i8_inputs(const char *p) {
    uint32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vcreate_s8(four);
}
V int32_t i8_at(int32_t i) {
    return i;
}
V void i8_place(char *to, const vint q[4]) {
    const int16x8_t low = vcombine_s16(vqmovn_s32(q[0]), vqmovn_s32(q[1])),
                    high = vcombine_s16(vqmovn_s32(q[2]), vqmovn_s32(q[3]));
    vst1q_s8((int8_t *)to, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}
V vint i8_dot(vint sum, i8_w w, i8_x x) {
    __asm__ volatile("sdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(w), "w"(x));
    return sum;
}

#include "linear_i8.h"
