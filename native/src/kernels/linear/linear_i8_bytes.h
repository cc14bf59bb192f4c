/* int8 products in plain C: byte by byte. Part of linear_i8.h and linear_blocks.h for tiers without a better way. */
#include <string.h>

#define I8_BYTES 1

typedef struct i8_w {
    vint byte[4];
} i8_w;
typedef struct i8_x {
    int32_t value[4];
} i8_x;

INLINE i8_w i8_weights(const int8_t *p) {
    const vint w = v_load_int((const int32_t *)(const void *)p);
    return (i8_w){{(vint)((vuint)w << 24) >> 24, (vint)((vuint)w << 16) >> 24, (vint)((vuint)w << 8) >> 24, w >> 24}};
}

INLINE i8_x i8_inputs(const char *p) {
    uint8_t x[4];
    memcpy(x, p, sizeof x);
    return (i8_x){{x[0], x[1], x[2], x[3]}};
}

INLINE int32_t i8_at(int32_t i) {
    return i;
}

INLINE void i8_place(char *to, const vint q[4]) {
    int32_t x[4 * VW];
    for (int i = 0; i < 4; i++)
        i_store(x + i * VW, q[i]);
    for (int i = 0; i < 4 * VW; i++)
        to[i] = (char)(uint8_t)(x[i] > 255 ? 255 : x[i]);
}

INLINE vint i8_dot(vint sum, i8_w w, i8_x x) {
    for (int i = 0; i < 4; i++)
        sum = i_add(sum, i_mul(w.byte[i], i_set1(x.value[i])));
    return sum;
}

/* The same with the sign on the other side. */
#define BLOCKS_BYTES 1
typedef i8_w u8_w;
typedef i8_x s8_x;

INLINE u8_w u8_weights(vint w) {
    const vuint u = (vuint)w;
    return (u8_w){{(vint)(u & 255), (vint)(u >> 8 & 255), (vint)(u >> 16 & 255), (vint)(u >> 24)}};
}

INLINE s8_x s8_inputs(const char *p) {
    int8_t x[4];
    memcpy(x, p, sizeof x);
    return (s8_x){{x[0], x[1], x[2], x[3]}};
}

INLINE void s8_place(char *to, const int32_t q[32]) {
    for (int i = 0; i < 32; i++)
        to[i] = (char)(int8_t)q[i];
}

INLINE vint u8_dot(vint sum, u8_w w, s8_x x) {
    return i8_dot(sum, w, x);
}
