/*
 * Integers and 16-bit floats for the templates of packed products: AVX-512, after vectors_avx512.h.
 */
#ifndef GATUN_INTEGERS_AVX512_H
#define GATUN_INTEGERS_AVX512_H

V vint i_zero(void) {
    return _mm512_setzero_si512();
}
V vint i_set1(int32_t x) {
    return _mm512_set1_epi32(x);
}
V void i_store(int32_t *p, vint a) {
    _mm512_storeu_si512(p, a);
}
V vint i_add(vint a, vint b) {
    return _mm512_add_epi32(a, b);
}
V vint i_sub(vint a, vint b) {
    return _mm512_sub_epi32(a, b);
}
V vint i_mul(vint a, vint b) {
    return _mm512_mullo_epi32(a, b);
}
V vint i_max(vint a, vint b) {
    return _mm512_max_epi32(a, b);
}
V vint i_max_unsigned(vint a, vint b) {
    return _mm512_max_epu32(a, b);
}
V int32_t i_most(vint a) {
    return _mm512_reduce_max_epi32(a);
}
V uint32_t i_most_unsigned(vint a) {
    return _mm512_reduce_max_epu32(a);
}
V vint i_from_bits(vec a) {
    return _mm512_castps_si512(a);
}
V vec v_from_bits(vint a) {
    return _mm512_castsi512_ps(a);
}
V vint i_low_nibbles(vint a) {
    return _mm512_and_si512(a, _mm512_set1_epi32(0x0f0f0f0f));
}
V vint i_high_nibbles(vint a) {
    return _mm512_and_si512(_mm512_srli_epi32(a, 4), _mm512_set1_epi32(0x0f0f0f0f));
}
V vec i_to_float(vint a) {
    return _mm512_cvtepi32_ps(a);
}
V vec v_from_low_half(vint a) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
}
V vec v_from_high_half(vint a) {
    return _mm512_castsi512_ps(_mm512_and_si512(a, _mm512_set1_epi32(-65536)));
}
V vec v_from_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

#endif
