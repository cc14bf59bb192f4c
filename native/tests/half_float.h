/* 16-bit floats, by other means than the library's. */
#ifndef GATUN_TESTS_HALF_FLOAT_H
#define GATUN_TESTS_HALF_FLOAT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "gatun.h"

/* Bytes of an element of GATUN_DTYPE_F32, BF16 or F16. */
static inline int64_t bytes_of(int32_t dtype) {
    return dtype == GATUN_DTYPE_F32 ? 4 : 2;
}

/* Rounded to nearest even. */
static inline uint16_t half_of(int32_t dtype, float x) {
    uint16_t half;
    if (dtype == GATUN_DTYPE_F16) {
        const _Float16 h = (_Float16)x;
        memcpy(&half, &h, sizeof half);
        return half;
    }
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    const uint32_t low = bits & 0xffff, high = bits >> 16;
    return (uint16_t)(low > 0x8000 || (low == 0x8000 && high % 2 == 1) ? high + 1 : high);
}

static inline float float_of(int32_t dtype, uint16_t half) {
    if (dtype == GATUN_DTYPE_F16) {
        _Float16 h;
        memcpy(&h, &half, sizeof h);
        return (float)h;
    }
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* An element of memory that has this type. */
static inline float load_float(int32_t dtype, const void *memory) {
    if (dtype == GATUN_DTYPE_F32) {
        float x;
        memcpy(&x, memory, sizeof x);
        return x;
    }
    uint16_t half;
    memcpy(&half, memory, sizeof half);
    return float_of(dtype, half);
}

static inline void store_float(int32_t dtype, void *memory, float x) {
    const uint16_t half = dtype == GATUN_DTYPE_F32 ? 0 : half_of(dtype, x);
    if (dtype == GATUN_DTYPE_F32) {
        memcpy(memory, &x, sizeof x);
    } else {
        memcpy(memory, &half, sizeof half);
    }
}

/* The same bits, or both NaN. */
static inline int same_number(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

#endif
