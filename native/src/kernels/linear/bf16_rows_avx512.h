/* Rows of float as bf16, by AVX512_BF16: rounded to nearest even, with zeros up to a multiple of `whole` (16 or 32). */
INLINE void convert_row(const float *x, int64_t depth, int64_t whole, char *to) {
    for (int64_t i = 0; i < (depth + whole - 1) / whole * whole; i += VW, to += 2 * VW) {
        const vec a = i < depth ? load_up_to(x + i, depth - i) : v_zero();
        __m256i half;
        __asm__("vcvtneps2bf16 %1, %0" : "=v"(half) : "v"(a));
        _mm256_storeu_si256((__m256i *)(void *)to, half);
    }
}
