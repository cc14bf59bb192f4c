/*
 * int8 products by AVX512_VNNI: part of linear_i8.h. Written down as assembly, since gcc 12 keeps the sums of the intrinsic in memory,
 * which halves the speed.
 */
#define I8_VECTORS 3
#define I8_BYTES   1

typedef __m512i i8_w, i8_x;

V i8_w i8_weights(const int8_t *p) {
    return _mm512_load_si512(p);
}
V i8_x i8_inputs(const char *p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
V int32_t i8_at(int32_t i) {
    return i;
}
/* Packing works within 128 bits, so that fours come out of order. */
V void i8_place(char *to, const vint q[4]) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(q[0], q[1]), _mm512_packus_epi32(q[2], q[3]));
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, bytes));
}
V vint i8_dot(vint sum, i8_w w, i8_x x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}
