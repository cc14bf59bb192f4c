/* 16-bit floats, one by one. */
#ifndef GATUN_HALF_H
#define GATUN_HALF_H

#include <stdint.h>
#include <string.h>

static inline float gatun__float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t gatun__bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float gatun__from_f16(uint16_t half) {
    const uint32_t magnitude = half & 0x7fffu, sign = (uint32_t)(half & 0x8000u) << 16;
    if (magnitude >= 0x7c00)
        return gatun__float_of(sign | 0x7f800000 | (magnitude << 13));
    return gatun__float_of(gatun__bits_of(gatun__float_of(magnitude << 13) * 0x1p112f) | sign);
}

/* To the nearest, of two the even one; a NaN keeps what fits, and stays one. */
static inline uint16_t gatun__to_bf16(float x) {
    const uint32_t bits = gatun__bits_of(x);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline uint16_t gatun__to_f16(float x) {
    const uint32_t bits = gatun__bits_of(x), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
    if (magnitude >= 0x477ff000) /* 65520: what rounds to 2^16 is infinite */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) /* 2^-14: denormal, in steps of 2^-24, to which adding 1/2 rounds */
        return (uint16_t)(sign | (gatun__bits_of(gatun__float_of(magnitude) + 0.5f) - gatun__bits_of(0.5f)));
    return (uint16_t)(sign | ((magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13));
}

#endif
