/* Vectors for kernel templates: AVX-512, 16 floats. vectors_portable.h says what each operation means. */
#ifndef GATUN_VECTORS_AVX512_H
#define GATUN_VECTORS_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define VW 16

typedef __m512 vec;
typedef __m512i vint;
typedef __mmask16 vmask;

#define V static inline __attribute__((always_inline))

V vec v_zero(void) {
    return _mm512_setzero_ps();
}
V vec v_set1(float x) {
    return _mm512_set1_ps(x);
}
V vec v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
V vec v_load_some(const float *p, int32_t count) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}
V void v_store(float *p, vec a) {
    _mm512_storeu_ps(p, a);
}
V void v_store_some(float *p, vec a, int32_t count) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), a);
}
V vec v_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
V vec v_sub(vec a, vec b) {
    return _mm512_sub_ps(a, b);
}
V vec v_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
V vec v_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}
V vec v_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}
V vec v_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
V vec v_fma_where(vmask m, vec a, vec b, vec c) {
    return _mm512_mask3_fmadd_ps(a, b, c, m);
}
V vec v_select(vmask m, vec a, vec b) {
    return _mm512_mask_blend_ps(m, b, a);
}
V vmask v_equal(vec a, vec b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
V vmask v_and_not_equal(vmask m, vec a, vec b) {
    return _mm512_mask_cmp_ps_mask(m, a, b, _CMP_NEQ_UQ);
}
V vint v_load_int(const int32_t *p) {
    return _mm512_loadu_si512(p);
}
V vmask v_int_above(vint a, int32_t b) {
    return _mm512_cmpgt_epi32_mask(a, _mm512_set1_epi32(b));
}
V void v_keep(vec a) {
    __asm__ volatile("" ::"v"(a));
}

#include "exp2.h"

/* 2^x for x <= 0, or NaN: n = round(x), polynomial in x - n, vscalefps puts the exponent in and gives 0 below the
 * denormals. */
V vec v_exp2(vec x) {
    x = _mm512_max_ps(_mm512_set1_ps(EXP2_FLOOR), x); /* this order passes a NaN in x on */
    vec n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec p = exp2_polynomial(v_sub(x, n));
    return _mm512_scalef_ps(p, n);
}

/* 16 x 16 in registers: pairs, quads, then 128-bit quarters. */
V void v_transpose(vec r[16]) {
    __m512 t[16], u[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
        __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
        u[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        u[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        u[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        u[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512 a = _mm512_shuffle_f32x4(u[i], u[4 + i], 0x88), b = _mm512_shuffle_f32x4(u[8 + i], u[12 + i], 0x88);
        __m512 c = _mm512_shuffle_f32x4(u[i], u[4 + i], 0xDD), d = _mm512_shuffle_f32x4(u[8 + i], u[12 + i], 0xDD);
        r[i] = _mm512_shuffle_f32x4(a, b, 0x88);
        r[8 + i] = _mm512_shuffle_f32x4(a, b, 0xDD);
        r[4 + i] = _mm512_shuffle_f32x4(c, d, 0x88);
        r[12 + i] = _mm512_shuffle_f32x4(c, d, 0xDD);
    }
}

#endif
