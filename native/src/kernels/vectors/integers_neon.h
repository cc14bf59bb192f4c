/*
 * Integers and 16-bit floats for the templates of packed products: AArch64 Advanced SIMD, after vectors_neon.h.
 */
#ifndef GATUN_INTEGERS_NEON_H
#define GATUN_INTEGERS_NEON_H

typedef uint32x4_t vuint;

V vint i_zero(void) {
    return vdupq_n_s32(0);
}
V vint i_set1(int32_t x) {
    return vdupq_n_s32(x);
}
V void i_store(int32_t *p, vint a) {
    vst1q_s32(p, a);
}
V vint i_add(vint a, vint b) {
    return vaddq_s32(a, b);
}
V vint i_sub(vint a, vint b) {
    return vsubq_s32(a, b);
}
V vint i_mul(vint a, vint b) {
    return vmulq_s32(a, b);
}
V vint i_max(vint a, vint b) {
    return vmaxq_s32(a, b);
}
V vint i_max_unsigned(vint a, vint b) {
    return vreinterpretq_s32_u32(vmaxq_u32(vreinterpretq_u32_s32(a), vreinterpretq_u32_s32(b)));
}
V int32_t i_most(vint a) {
    int32_t lanes[VW], most;
    i_store(lanes, a);
    most = lanes[0];
    for (int i = 1; i < VW; i++)
        most = lanes[i] > most ? lanes[i] : most;
    return most;
}
V uint32_t i_most_unsigned(vint a) {
    const int32_t sign = INT32_MIN;
    return (uint32_t)i_most(i_add(a, i_set1(sign))) + 0x80000000u;
}
V vint i_from_bits(vec a) {
    return vreinterpretq_s32_f32(a);
}
V vec v_from_bits(vint a) {
    return vreinterpretq_f32_s32(a);
}
V vint i_low_nibbles(vint a) {
    return vandq_s32(a, vdupq_n_s32(0x0f0f0f0f));
}
V vint i_high_nibbles(vint a) {
    return vandq_s32(vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), 4)), vdupq_n_s32(0x0f0f0f0f));
}
V vec i_to_float(vint a) {
    return vcvtq_f32_s32(a);
}
V vec v_from_low_half(vint a) {
    return vreinterpretq_f32_s32(vshlq_n_s32(a, 16));
}
V vec v_from_high_half(vint a) {
    return vreinterpretq_f32_s32(vandq_s32(a, vdupq_n_s32(-65536)));
}
V vec v_from_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

#endif
