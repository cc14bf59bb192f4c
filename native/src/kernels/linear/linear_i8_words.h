/*
 * int8 products without an instruction for them: weights become 16-bit integers in registers, those of inputs 0 and 2 in one
 * vector and those of 1 and 3 in another, and pairs of products are added up in 32 bits, where nothing saturates (the
 * product of unsigned and signed bytes, vpmaddubsw, adds its pairs in 16). Part of linear_i8.h and linear_blocks.h for AVX2 and AVX-512; the
 * including file has w_low_bytes, w_high_bytes (of every 16 bits, with their sign), w_low_unsigned, w_high_unsigned (without) and w_pairs (two products and their sum).
 */
#include <string.h>

#define I8_BYTES 2

typedef struct i8_w {
    vint even, odd;
} i8_w;
typedef struct i8_x {
    vint even, odd;
} i8_x;

INLINE i8_w i8_weights(const int8_t *p) {
    const vint w = v_load_int((const int32_t *)(const void *)p);
    return (i8_w){w_low_bytes(w), w_high_bytes(w)};
}

INLINE i8_x i8_inputs(const char *p) {
    int32_t pairs[2];
    memcpy(pairs, p, sizeof pairs);
    return (i8_x){i_set1(pairs[0]), i_set1(pairs[1])};
}

INLINE int32_t i8_at(int32_t i) {
    return i / 4 * 4 + i % 2 * 2 + i / 2 % 2;
}

/* 0, 2, 1, 3 of every four. */
INLINE void i8_place(char *to, const vint q[4]) {
    int32_t x[4 * VW];
    uint16_t words[4 * VW];
    for (int i = 0; i < 4; i++)
        i_store(x + i * VW, q[i]);
    for (int i = 0; i < 4 * VW; i++)
        words[i / 4 * 4 + (i % 4 % 2 * 2 + i % 4 / 2)] = (uint16_t)(x[i] > 255 ? 255 : x[i]);
    memcpy(to, words, sizeof words);
}

INLINE vint i8_dot(vint sum, i8_w w, i8_x x) {
    return i_add(sum, i_add(w_pairs(w.even, x.even), w_pairs(w.odd, x.odd)));
}

/* The same with the sign on the other side. */
#define BLOCKS_BYTES 2
typedef i8_w u8_w;
typedef i8_x s8_x;

INLINE u8_w u8_weights(vint w) {
    return (u8_w){w_low_unsigned(w), w_high_unsigned(w)};
}

INLINE s8_x s8_inputs(const char *p) {
    return i8_inputs(p);
}

INLINE void s8_place(char *to, const int32_t q[32]) {
    int16_t words[32];
    for (int i = 0; i < 32; i++)
        words[i / 4 * 4 + (i % 4 % 2 * 2 + i % 4 / 2)] = (int16_t)q[i];
    memcpy(to, words, sizeof words);
}

INLINE vint u8_dot(vint sum, u8_w w, s8_x x) {
    return i8_dot(sum, w, x);
}
