/*
 * GELU by a table, for products whose own rounding is far above its error: x * Phi(x) = max(x, 0) - G(|x|), G(y) = y * Phi(-y). On 15
 * pieces of [0, 5) a polynomial of degree 4 in r, the distance from a piece's middle in pieces (reweighted least squares), beyond
 * them 0: |error| <= 3e-7 * max(1, |x|), tried on 4,000,001 points of [-8, 8]. 16 operations instead of 32 and a division. Close to 0 it
 * has no small relative error, as gelu() of activations_f32.h has. After vectors_avx512.h.
 */
#ifndef GATUN_GELU_TABLE_AVX512_H
#define GATUN_GELU_TABLE_AVX512_H

static const float gatun__gelu_table[5][16] __attribute__((aligned(64))) = {
    {0x1.2826dcp-4f, 0x1.3bf144p-3f, 0x1.594eap-3f, 0x1.22b758p-3f, 0x1.9a76a6p-4f, 0x1.f5454ap-5f, 0x1.0c8cc6p-5f,
        0x1.fcb21ap-7f, 0x1.abaecp-8f, 0x1.400182p-9f, 0x1.aae052p-11f, 0x1.fc250ap-13f, 0x1.0e1586p-14f,
        0x1.008462p-16f, 0x1.b38208p-19f, 0},
    {0x1.f6c706p-4f, 0x1.69d762p-5f, -0x1.6400e2p-7f, -0x1.374502p-5f, -0x1.5c13dep-5f, -0x1.18e24p-5f, -0x1.70d5e4p-6f,
        -0x1.9ad31ap-7f, -0x1.8bb648p-8f, -0x1.4d14eep-9f, -0x1.ed1a52p-11f, -0x1.424abp-12f, -0x1.750a0ep-14f,
        -0x1.7f136ap-16f, -0x1.5d8598p-18f, 0},
    {-0x1.61237ap-5f, -0x1.186614p-5f, -0x1.4f0362p-6f, -0x1.d5e7ap-8f, 0x1.d778a6p-10f, 0x1.70416p-8f, 0x1.764a5cp-8f,
        0x1.0f3ce6p-8f, 0x1.3c4edcp-9f, 0x1.35f0d6p-10f, 0x1.048a44p-11f, 0x1.7c2fb4p-13f, 0x1.e5080ap-15f,
        0x1.0fd0bcp-16f, 0x1.0c9196p-18f, 0},
    {0x1.a23f78p-10f, 0x1.0929cep-8f, 0x1.385ec6p-8f, 0x1.f58d54p-9f, 0x1.1386eep-9f, 0x1.1f8962p-11f, -0x1.68d18ep-12f,
        -0x1.3c3698p-11f, -0x1.09774cp-11f, -0x1.484ba6p-12f, -0x1.487c2ap-13f, -0x1.140e64p-14f, -0x1.8d392p-16f,
        -0x1.eedb0cp-18f, -0x1.0cd07p-19f, 0},
    {0x1.910c02p-11f, 0x1.b53b3ap-12f, -0x1.b93aap-15f, -0x1.8c2992p-12f, -0x1.d023e2p-12f, -0x1.4936ccp-12f,
        -0x1.1aab42p-13f, -0x1.ee4196p-18f, 0x1.76c7f8p-15f, 0x1.8714bp-15f, 0x1.01815cp-15f, 0x1.0553d2p-16f,
        0x1.b2fb78p-18f, 0x1.31741ap-19f, 0x1.6fb7a4p-21f, 0},
};

V vec gelu_by_table(vec x) {
    const vec magic = v_set1(0x1.8p23f);
    const vec u = _mm512_min_ps(v_fma(_mm512_abs_ps(x), v_set1(3.0f), v_set1(-0.5f)), v_set1(15.0f));
    const vec s = v_add(u, magic), r = v_sub(u, v_sub(s, magic));
    const __m512i piece = _mm512_castps_si512(s); /* its low 4 bits */
    vec g = _mm512_permutexvar_ps(piece, _mm512_load_ps(gatun__gelu_table[4]));
    for (int i = 3; i >= 0; i--)
        g = v_fma(g, r, _mm512_permutexvar_ps(piece, _mm512_load_ps(gatun__gelu_table[i])));
    return v_sub(_mm512_max_ps(v_zero(), x), g); /* this order of the two passes a NaN in x on */
}

#endif
