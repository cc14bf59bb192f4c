/* Vectors for kernel templates: AVX2 and FMA, 8 floats. vectors_portable.h says what each operation means. */
#ifndef GATUN_VECTORS_AVX2_H
#define GATUN_VECTORS_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define VW 8

typedef __m256 vec;
typedef __m256i vint;
typedef __m256 vmask;

#define V static inline __attribute__((always_inline))

V vec v_zero(void) {
    return _mm256_setzero_ps();
}
V vec v_set1(float x) {
    return _mm256_set1_ps(x);
}
V vec v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
V vec v_load_u8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
V __m256i v_first(int32_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
V vec v_load_some(const float *p, int32_t count) {
    return _mm256_maskload_ps(p, v_first(count));
}
V void v_store(float *p, vec a) {
    _mm256_storeu_ps(p, a);
}
V void v_store_some(float *p, vec a, int32_t count) {
    _mm256_maskstore_ps(p, v_first(count), a);
}
V vec v_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
V vec v_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}
V vec v_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
V vec v_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}
V vec v_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
V vec v_min(vec a, vec b) {
    return _mm256_min_ps(a, b);
}
V vec v_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
V vec v_select(vmask m, vec a, vec b) {
    return _mm256_blendv_ps(b, a, m);
}
V vec v_fma_where(vmask m, vec a, vec b, vec c) {
    return v_select(m, v_fma(a, b, c), c);
}
V vmask v_equal(vec a, vec b) {
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
V vmask v_and_not_equal(vmask m, vec a, vec b) {
    return _mm256_and_ps(m, _mm256_cmp_ps(a, b, _CMP_NEQ_UQ));
}
V vint v_load_int(const int32_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
V vint v_int_minus(vint a, int32_t b) {
    return _mm256_sub_epi32(a, _mm256_set1_epi32(b));
}
V int v_every(vmask m) {
    return _mm256_movemask_ps(m) == 0xff;
}
V vmask v_int_above(vint a, int32_t b) {
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, _mm256_set1_epi32(b)));
}
V vmask v_byte_is_set(vint a, const int n) {
    __m256i byte = _mm256_and_si256(a, _mm256_set1_epi32((int32_t)(0xffu << (8 * n))));
    return _mm256_castsi256_ps(
        _mm256_xor_si256(_mm256_cmpeq_epi32(byte, _mm256_setzero_si256()), _mm256_set1_epi32(-1)));
}
V void v_keep(vec a) {
    __asm__ volatile("" ::"x"(a));
}

#include "exp2.h"

/* 2^x for x <= 0, or NaN. The exponent is added as an integer, so what would be denormal becomes 0 (EXP2_LEAST). */
V vec v_exp2(vec x) {
    const vec least = v_set1(EXP2_LEAST);
    vec above = _mm256_cmp_ps(x, least, _CMP_NLT_UQ); /* true for NaN, which is passed on */
    x = _mm256_max_ps(least, x);
    vec n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec p = exp2_polynomial(v_sub(x, n));
    __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    vec scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
    /* Adding an exponent to a NaN could make a number of it. */
    scaled = v_select(_mm256_cmp_ps(p, p, _CMP_UNORD_Q), p, scaled);
    return _mm256_and_ps(above, scaled);
}

/* Lane i <- the 8 lanes of r[i] in one: halves, pairs, each time those of two vectors by one operation. Every result is
 * made in the same order. */
#define GATUN__ACROSS(name, operation)                                                                                 \
    V vec name(const vec r[8]) {                                                                                       \
        vec t[4], u[2];                                                                                                \
        for (int i = 0; i < 4; i++) {                                                                                  \
            static const int first[4] = {0, 2, 1, 3}; /* so that the results come in order */                          \
            vec a = r[first[i]], b = r[first[i] + 4];                                                                  \
            t[i] = operation(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));                  \
        }                                                                                                              \
        for (int i = 0; i < 2; i++)                                                                                    \
            u[i] = operation(_mm256_shuffle_ps(t[i], t[i + 2], 0x44), _mm256_shuffle_ps(t[i], t[i + 2], 0xEE));        \
        return operation(_mm256_shuffle_ps(u[0], u[1], 0x88), _mm256_shuffle_ps(u[0], u[1], 0xDD));                    \
    }
GATUN__ACROSS(v_sums, v_add)
GATUN__ACROSS(v_maxima, v_max)
#undef GATUN__ACROSS

/* 8 x 8 in registers: pairs, quads, then 128-bit halves. */
V void v_transpose(vec r[8]) {
    __m256 t[8], u[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[4 + i], 0x20);
        r[4 + i] = _mm256_permute2f128_ps(u[i], u[4 + i], 0x31);
    }
}

#endif
