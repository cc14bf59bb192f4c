/* Vectors for kernel templates: AArch64 Advanced SIMD, 4 floats. vectors_portable.h says what each operation means. */
#ifndef GATUN_VECTORS_NEON_H
#define GATUN_VECTORS_NEON_H

#include <arm_neon.h>
#include <stdint.h>

#define VW 4

typedef float32x4_t vec;
typedef int32x4_t vint;
typedef uint32x4_t vmask;

#define V static inline __attribute__((always_inline))

V vec v_zero(void) {
    return vdupq_n_f32(0);
}
V vec v_set1(float x) {
    return vdupq_n_f32(x);
}
V vec v_load(const float *p) {
    return vld1q_f32(p);
}
V vec v_load_u8(const uint8_t *p) {
    const uint16x4_t a = {p[0], p[1], p[2], p[3]};
    return vcvtq_f32_u32(vmovl_u16(a));
}
V vec v_load_some(const float *p, int32_t count) {
    float t[4] = {0};
    for (int32_t i = 0; i < count; i++)
        t[i] = p[i];
    return vld1q_f32(t);
}
V void v_store(float *p, vec a) {
    vst1q_f32(p, a);
}
V void v_store_some(float *p, vec a, int32_t count) {
    float t[4];
    vst1q_f32(t, a);
    for (int32_t i = 0; i < count; i++)
        p[i] = t[i];
}
V vec v_add(vec a, vec b) {
    return vaddq_f32(a, b);
}
V vec v_sub(vec a, vec b) {
    return vsubq_f32(a, b);
}
V vec v_mul(vec a, vec b) {
    return vmulq_f32(a, b);
}
V vec v_div(vec a, vec b) {
    return vdivq_f32(a, b);
}
V vec v_max(vec a, vec b) {
    return vmaxq_f32(a, b);
}
V vec v_min(vec a, vec b) {
    return vminq_f32(a, b);
}
V vec v_fma(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}
V vec v_select(vmask m, vec a, vec b) {
    return vbslq_f32(m, a, b);
}
V vec v_fma_where(vmask m, vec a, vec b, vec c) {
    return v_select(m, v_fma(a, b, c), c);
}
V vmask v_equal(vec a, vec b) {
    return vceqq_f32(a, b);
}
V vmask v_and_not_equal(vmask m, vec a, vec b) {
    return vbicq_u32(m, vceqq_f32(a, b));
}
V vint v_load_int(const int32_t *p) {
    return vld1q_s32(p);
}
V vint v_int_minus(vint a, int32_t b) {
    return vsubq_s32(a, vdupq_n_s32(b));
}
V int v_every(vmask m) {
    return vminvq_u32(m) != 0;
}
V vmask v_int_above(vint a, int32_t b) {
    return vcgtq_s32(a, vdupq_n_s32(b));
}
V vmask v_byte_is_set(vint a, const int n) {
    return vtstq_s32(a, vdupq_n_s32((int32_t)(0xffu << (8 * n))));
}
V void v_keep(vec a) {
    __asm__ volatile("" ::"w"(a));
}

#include "exp2.h"

/* 2^x for x <= 0, or NaN. The exponent is added as an integer, so what would be denormal becomes 0 (EXP2_LEAST). */
V vec v_exp2(vec x) {
    const vec least = v_set1(EXP2_LEAST);
    vmask below = vcltq_f32(x, least); /* false for NaN, which is passed on */
    x = vmaxq_f32(least, x);
    vec n = vrndnq_f32(x);
    vec p = exp2_polynomial(v_sub(x, n));
    int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(n), 23);
    vec scaled = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), exponent));
    scaled = v_select(vceqq_f32(p, p), scaled, p);
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(scaled), below));
}

V void v_transpose(vec r[4]) {
    float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

V vec v_sums(const vec r[4]) {
    vec t[4] = {r[0], r[1], r[2], r[3]};
    v_transpose(t);
    return v_add(v_add(t[0], t[2]), v_add(t[1], t[3]));
}
V vec v_maxima(const vec r[4]) {
    vec t[4] = {r[0], r[1], r[2], r[3]};
    v_transpose(t);
    return v_max(v_max(t[0], t[2]), v_max(t[1], t[3]));
}

#endif
