/*
 * Integers and 16-bit floats for the templates of packed products: plain C, after vectors_portable.h.
 *
 *   i_add, i_sub, i_mul          lane by lane, wrapping around; i_set1, i_zero, i_store as the v_ ones
 *   i_max, i_max_unsigned        the greater of each lane, with a sign and without
 *   i_most, i_most_unsigned      the greatest lane
 *   i_from_bits(a), v_from_bits(a) the bits as they are
 *   i_low_nibbles, i_high_nibbles  the low, the high 4 bits of every byte, as a byte
 *   i_to_float(a)                every lane as a float, rounded to nearest
 *   v_from_low_half, _high_half  a bf16 in the low, the high 16 bits of every lane, as a float: exact
 *   v_from_f16(p)                VW half-precision floats from p on: exact
 */
#ifndef GATUN_INTEGERS_PORTABLE_H
#define GATUN_INTEGERS_PORTABLE_H

V vint i_zero(void) {
    return (vint){0};
}
V vint i_set1(int32_t x) {
    return (vint){x, x, x, x};
}
V void i_store(int32_t *p, vint a) {
    memcpy(p, &a, sizeof a);
}
/* Unsigned, since sums of what lies in a damaged file may wrap around. */
V vint i_add(vint a, vint b) {
    return (vint)((vuint)a + (vuint)b);
}
V vint i_sub(vint a, vint b) {
    return (vint)((vuint)a - (vuint)b);
}
V vint i_mul(vint a, vint b) {
    return (vint)((vuint)a * (vuint)b);
}
V vint i_max(vint a, vint b) {
    const vint above = a > b;
    return (a & above) | (b & ~above);
}
V vint i_max_unsigned(vint a, vint b) {
    const vint above = (vint)((vuint)a > (vuint)b);
    return (a & above) | (b & ~above);
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
    return (vint)a;
}
V vec v_from_bits(vint a) {
    return (vec)a;
}
V vint i_low_nibbles(vint a) {
    return a & 0x0f0f0f0f;
}
V vint i_high_nibbles(vint a) {
    return (vint)((vuint)a >> 4) & 0x0f0f0f0f;
}
V vec i_to_float(vint a) {
    return __builtin_convertvector(a, vec);
}
V vec v_from_low_half(vint a) {
    return (vec)((vuint)a << 16);
}
V vec v_from_high_half(vint a) {
    return (vec)(a & (vint){-65536, -65536, -65536, -65536});
}
/* The exponent is put right by a product, which makes normal numbers of denormal ones as well; infinities and NaN apart. */
V vec v_from_f16(const uint16_t *p) {
    const vint half = {p[0], p[1], p[2], p[3]};
    const vint magnitude = (half & 0x7fff) << 13, sign = (half & 0x8000) << 16;
    const vec finite = (vec)magnitude * 0x1p112f;
    const vmask special = (half & 0x7c00) == 0x7c00;
    const vint bits = ((vint)finite & ~special) | ((magnitude | 0x7f800000) & special);
    return (vec)(bits | sign);
}

#endif
