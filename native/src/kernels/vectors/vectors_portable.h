/*
 * Vectors for kernel templates in plain C: the meaning of every operation, for the other vectors_<tier>.h as well.
 *
 *   v_load, v_store             VW floats at any 4-byte alignment; v_load_some, v_store_some touch the first count only
 *   v_load_u8                   VW bytes as floats 0 .. 255
 *   v_fma(a, b, c)              a * b + c, rounded once where the tier has it; here product and sum are rounded one by one
 *   v_fma_where(m, a, b, c)     the same where m, c elsewhere: what a or b hold there, NaN included, does not matter
 *   v_max(a, b), v_min(a, b)    NaN where b is; where a alone is, either of the two
 *   v_select(m, a, b)           a where m, b elsewhere
 *   v_and_not_equal(m, a, b)    m and not (a == b); true for NaN
 *   v_int_minus(a, b)           every lane less b
 *   v_int_above(a, b)           lanes of a greater than b
 *   v_byte_is_set(a, n)         lanes of a whose byte n, 0 the lowest, is not 0
 *   v_every(m)                  whether all lanes of a mask are set
 *   v_exp2(x)                   2^x for x <= 64, 0 for -inf, NaN for NaN
 *   v_keep(a)                   the compiler must have computed a here
 *   v_transpose(r)              r[i][j] <- r[j][i], VW x VW
 *   v_sums(r), v_maxima(r)      lane i: the sum, the maximum, of the lanes of r[i], each made in the same order
 */
#ifndef GATUN_VECTORS_PORTABLE_H
#define GATUN_VECTORS_PORTABLE_H

#include <stdint.h>
#include <string.h>

#define VW 4

typedef float vec __attribute__((vector_size(16)));
typedef int32_t vint __attribute__((vector_size(16)));
typedef int32_t vmask __attribute__((vector_size(16)));
typedef uint32_t vuint __attribute__((vector_size(16)));

#define V static inline __attribute__((always_inline))

V vec v_zero(void) {
    return (vec){0};
}
V vec v_set1(float x) {
    return (vec){x, x, x, x};
}
V vec v_load(const float *p) {
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
V vec v_load_u8(const uint8_t *p) {
    return (vec){p[0], p[1], p[2], p[3]};
}
V vec v_load_some(const float *p, int32_t count) {
    vec a = {0};
    for (int32_t i = 0; i < count; i++)
        a[i] = p[i];
    return a;
}
V void v_store(float *p, vec a) {
    memcpy(p, &a, sizeof a);
}
V void v_store_some(float *p, vec a, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        p[i] = a[i];
}
V vec v_add(vec a, vec b) {
    return a + b;
}
V vec v_sub(vec a, vec b) {
    return a - b;
}
V vec v_mul(vec a, vec b) {
    return a * b;
}
V vec v_div(vec a, vec b) {
    return a / b;
}
V vec v_fma(vec a, vec b, vec c) {
    return a * b + c;
}
V vec v_select(vmask m, vec a, vec b) {
    return (vec)(((vint)a & m) | ((vint)b & ~m));
}
/* b where the comparison does not hold since either is NaN: as the x86 instruction. */
V vec v_max(vec a, vec b) {
    return v_select(a > b, a, b);
}
V vec v_min(vec a, vec b) {
    return v_select(a < b, a, b);
}
V vec v_fma_where(vmask m, vec a, vec b, vec c) {
    return v_select(m, v_fma(a, b, c), c);
}
V vmask v_equal(vec a, vec b) {
    return a == b;
}
V vmask v_and_not_equal(vmask m, vec a, vec b) {
    return m & (a != b);
}
V vint v_load_int(const int32_t *p) {
    vint a;
    memcpy(&a, p, sizeof a);
    return a;
}
V vint v_int_minus(vint a, int32_t b) {
    return a - (vint){b, b, b, b};
}
V int v_every(vmask m) {
    return (m[0] & m[1] & m[2] & m[3]) != 0;
}
V vmask v_int_above(vint a, int32_t b) {
    return a > (vint){b, b, b, b};
}
V vmask v_byte_is_set(vint a, const int n) {
    const int32_t byte = (int32_t)(0xffu << (8 * n));
    return (a & (vint){byte, byte, byte, byte}) != (vint){0};
}
V void v_keep(vec a) {
#if defined(__x86_64__)
    __asm__ volatile("" ::"x"(a));
#elif defined(__aarch64__)
    __asm__ volatile("" ::"w"(a));
#else
    __asm__ volatile("" ::"m"(a));
#endif
}

#include "exp2.h"

/* 2^x for x <= 0, or NaN. Rounds by adding 1.5 * 2^23; the exponent is added as an integer, so what would be denormal
 * becomes 0. */
V vec v_exp2(vec x) {
    const vec least = v_set1(EXP2_LEAST), magic = v_set1(12582912.0f);
    vmask below = x < least; /* false for NaN, which is passed on */
    x = v_max(least, x);
    vec shifted = x + magic;
    vec n = shifted - magic;
    vec p = exp2_polynomial(x - n);
    /* Unsigned: a masked lane may hold any x, and wraps around. */
    vuint exponent = ((vuint)shifted - (vuint)magic) << 23;
    vec scaled = (vec)((vuint)p + exponent);
    scaled = v_select(p == p, scaled, p);
    return (vec)((vint)scaled & ~below);
}

V void v_transpose(vec r[4]) {
    vec a = __builtin_shuffle(r[0], r[1], (vint){0, 4, 1, 5}), b = __builtin_shuffle(r[0], r[1], (vint){2, 6, 3, 7});
    vec c = __builtin_shuffle(r[2], r[3], (vint){0, 4, 1, 5}), d = __builtin_shuffle(r[2], r[3], (vint){2, 6, 3, 7});
    r[0] = __builtin_shuffle(a, c, (vint){0, 1, 4, 5});
    r[1] = __builtin_shuffle(a, c, (vint){2, 3, 6, 7});
    r[2] = __builtin_shuffle(b, d, (vint){0, 1, 4, 5});
    r[3] = __builtin_shuffle(b, d, (vint){2, 3, 6, 7});
}

V vec v_sums(const vec r[4]) {
    vec t[4] = {r[0], r[1], r[2], r[3]};
    v_transpose(t);
    return v_add(v_add(t[0], t[2]), v_add(t[1], t[3]));
}
V vec v_maxima(const vec r[4]) {
    vec t[4] = {r[0], r[1], r[2], r[3]};
    v_transpose(t);
    return v_max(v_max(t[0], t[2]), v_max(t[1], t[3]));
}

#endif
