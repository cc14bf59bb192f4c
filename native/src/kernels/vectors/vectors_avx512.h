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
V vec v_load_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
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
V vec v_min(vec a, vec b) {
    return _mm512_min_ps(a, b);
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
V vint v_int_minus(vint a, int32_t b) {
    return _mm512_sub_epi32(a, _mm512_set1_epi32(b));
}
V int v_every(vmask m) {
    return m == 0xffff;
}
V vmask v_int_above(vint a, int32_t b) {
    return _mm512_cmpgt_epi32_mask(a, _mm512_set1_epi32(b));
}
V vmask v_byte_is_set(vint a, const int n) {
    return _mm512_test_epi32_mask(a, _mm512_set1_epi32((int32_t)(0xffu << (8 * n))));
}
V void v_keep(vec a) {
    __asm__ volatile("" ::"v"(a));
}

/*
 * 2^x for x <= 0, or NaN. x = n + r with n a multiple of 1/16: the fraction of n picks 2^fraction from a table, which
 * vpermps does by the low bits that adding 1.5 * 2^19 leaves in the sum, and vscalefps puts the rest of n in and gives 0
 * below the denormals. 2^r - 1 = r (b1 + b2 r + b3 r^2) = b3 r ((r + A) r + B), minimax in relative error of 2^x on
 * [-1/32, 1/32] (weighted least squares, reweighted); b3 is in the second table. 2^0 is exactly 1; the largest relative
 * error in float arithmetic is 1.1e-7, tried on 2,500,000 points. On the FMA pipes: two FMAs, one product and two
 * permutations; the rest runs beside them.
 */
typedef struct v_exp2_table {
    float whole[16], cubic[16], floor[16], magic[16], a[16], b[16];
} v_exp2_table;

static const v_exp2_table gatun__exp2 __attribute__((aligned(64))) = {
    {0x1.000000p+0f, 0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f, 0x1.306fe0p+0f, 0x1.3dea64p+0f, 0x1.4bfdaep+0f,
        0x1.5ab07ep+0f, 0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f, 0x1.ae89fap+0f, 0x1.c199bep+0f,
        0x1.d5818ep+0f, 0x1.ea4afap+0f},
    {0x1.c6ac6ap-5f, 0x1.dacdbap-5f, 0x1.efd330p-5f, 0x1.02e376p-4f, 0x1.0e59b8p-4f, 0x1.1a51e6p-4f, 0x1.26d1bcp-4f,
        0x1.33df3ep-4f, 0x1.4180b2p-4f, 0x1.4fbca2p-4f, 0x1.5e99e8p-4f, 0x1.6e1fa6p-4f, 0x1.7e5554p-4f, 0x1.8f42bap-4f,
        0x1.a0effcp-4f, 0x1.b36596p-4f},
#define GATUN__16(x)                                                                                                   \
    { x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x }
    GATUN__16(-200.0f), /* 2^-200 is 0; keeps -inf - -inf from being NaN */
    GATUN__16(0x1.8p19f),
    GATUN__16(0x1.15042ap+2f),
    GATUN__16(0x1.8fa316p+3f),
#undef GATUN__16
};

V vec v_exp2(vec x) {
    x = _mm512_max_ps(_mm512_load_ps(gatun__exp2.floor), x); /* this order passes a NaN in x on */
    vec t = v_add(x, _mm512_load_ps(gatun__exp2.magic));
    vec n = v_sub(t, _mm512_load_ps(gatun__exp2.magic));
    vec r = v_sub(x, n);
    vec w = v_fma(v_add(r, _mm512_load_ps(gatun__exp2.a)), r, _mm512_load_ps(gatun__exp2.b));
    vec whole = _mm512_permutexvar_ps(_mm512_castps_si512(t), _mm512_load_ps(gatun__exp2.whole));
    vec cubic = _mm512_permutexvar_ps(_mm512_castps_si512(t), _mm512_load_ps(gatun__exp2.cubic));
    return _mm512_scalef_ps(v_fma(v_mul(r, w), cubic, whole), n);
}

/*
 * Lane i <- the 16 lanes of r[i] in one: halves, quarters, pairs, each time those of two vectors by one operation. Every
 * result is made in the same order.
 */
#define GATUN__ACROSS(name, operation)                                                                                 \
    V vec name(const vec r[16]) {                                                                                      \
        vec t[8], u[4], v[2];                                                                                          \
        for (int i = 0; i < 8; i++) {                                                                                  \
            /* So that the results come in order. */                                                                   \
            static const int first[8] = {0, 2, 1, 3, 8, 10, 9, 11};                                                    \
            vec a = r[first[i]], b = r[first[i] + 4];                                                                  \
            t[i] = operation(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));                      \
        }                                                                                                              \
        for (int i = 0; i < 4; i++)                                                                                    \
            u[i] = operation(_mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD));  \
        for (int i = 0; i < 2; i++) {                                                                                  \
            __m512d a = _mm512_castps_pd(u[i]), b = _mm512_castps_pd(u[i + 2]);                                        \
            v[i] = operation(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));  \
        }                                                                                                              \
        return operation(_mm512_shuffle_ps(v[0], v[1], 0x88), _mm512_shuffle_ps(v[0], v[1], 0xDD));                    \
    }
GATUN__ACROSS(v_sums, v_add)
GATUN__ACROSS(v_maxima, v_max)
#undef GATUN__ACROSS

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
