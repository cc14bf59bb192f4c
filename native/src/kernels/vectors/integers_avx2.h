/*
 * Integers and 16-bit floats for the templates of packed products: AVX2, after vectors_avx2.h.
 */
#ifndef GATUN_INTEGERS_AVX2_H
#define GATUN_INTEGERS_AVX2_H

V vint i_zero(void) {
    return _mm256_setzero_si256();
}
V vint i_set1(int32_t x) {
    return _mm256_set1_epi32(x);
}
V void i_store(int32_t *p, vint a) {
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}
V vint i_add(vint a, vint b) {
    return _mm256_add_epi32(a, b);
}
V vint i_sub(vint a, vint b) {
    return _mm256_sub_epi32(a, b);
}
V vint i_mul(vint a, vint b) {
    return _mm256_mullo_epi32(a, b);
}
V vint i_max(vint a, vint b) {
    return _mm256_max_epi32(a, b);
}
V vint i_max_unsigned(vint a, vint b) {
    return _mm256_max_epu32(a, b);
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
    return _mm256_castps_si256(a);
}
V vec v_from_bits(vint a) {
    return _mm256_castsi256_ps(a);
}
V vint i_low_nibbles(vint a) {
    return _mm256_and_si256(a, _mm256_set1_epi32(0x0f0f0f0f));
}
V vint i_high_nibbles(vint a) {
    return _mm256_and_si256(_mm256_srli_epi32(a, 4), _mm256_set1_epi32(0x0f0f0f0f));
}
V vec i_to_float(vint a) {
    return _mm256_cvtepi32_ps(a);
}
V vec v_from_low_half(vint a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16));
}
V vec v_from_high_half(vint a) {
    return _mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32(-65536)));
}
V vec v_from_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

#endif
