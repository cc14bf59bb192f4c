/*
 * Activations of a vector of floats, and loads and stores at the end of a row: for templates that come after their tier's vectors.
 *
 * GELU: x * Phi(x). With y = |x| and t = 1 / (1 + 0.35 y), Phi(-y) = exp(-y^2 / 2) * t * P(t), P of degree 8 fitted to erfcx(y / sqrt(2)) / 2 for the
 * least relative error on 0 <= y <= 14 (linear programming, coefficients rounded to float from the lowest on): 3.2e-8, with float
 * arithmetic below 2e-7 of |x|. The form in t follows Abramowitz and Stegun 7.1.26. The relative error stays small in the
 * left tail, where 1 + erf would cancel.
 */
#ifndef GATUN_ACTIVATIONS_F32_H
#define GATUN_ACTIVATIONS_F32_H

#include "gatun.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vec v_magnitude(vec x) {
    return v_max(v_sub(v_zero(), x), x);
}

INLINE vec gelu(vec x) {
    vec y = v_magnitude(x);
    vec t = v_div(v_set1(1.0f), v_fma(y, v_set1(0.35f), v_set1(1.0f)));
    vec p = v_set1(-0x1.dd84e4p-6f);
    p = v_fma(p, t, v_set1(0x1.26d966p-3f));
    p = v_fma(p, t, v_set1(-0x1.05d8acp-2f));
    p = v_fma(p, t, v_set1(0x1.45fa2cp-3f));
    p = v_fma(p, t, v_set1(-0x1.7a91cep-6f));
    p = v_fma(p, t, v_set1(0x1.b0278ap-4f));
    p = v_fma(p, t, v_set1(0x1.ead642p-4f));
    p = v_fma(p, t, v_set1(0x1.1e6fe0p-3f));
    p = v_fma(p, t, v_set1(0x1.1df1d4p-3f));
    const float half_log2e = 0.72134752f;
    vec below = v_mul(v_mul(p, t), v_exp2(v_mul(v_mul(y, y), v_set1(-half_log2e))));
    vec phi = v_select(v_equal(y, x), v_sub(v_set1(1.0f), below), below);
    return v_mul(x, phi);
}

/* x / (1 + exp(-z)), through exp(-|z|) so that nothing overflows. */
INLINE vec times_sigmoid(vec x, vec z) {
    vec y = v_magnitude(z);
    vec e = v_exp2(v_mul(y, v_set1(-1.44269504f)));
    vec positive = v_div(v_set1(1.0f), v_add(v_set1(1.0f), e));
    return v_mul(x, v_select(v_equal(y, z), positive, v_mul(e, positive)));
}

INLINE vec activate(const int kind, vec x) {
    if (kind == GATUN_ACTIVATION_RELU) {
        vec positive = v_max(x, v_zero());
        return v_select(v_equal(x, x), positive, x);
    }
    if (kind == GATUN_ACTIVATION_GELU)
        return gelu(x);
    if (kind == GATUN_ACTIVATION_GELU_TANH) {
        const float twice_root = 1.5957691f; /* 2 * sqrt(2 / pi) */
        vec cubic = v_fma(v_mul(v_mul(x, x), v_set1(0.044715f)), x, x);
        return times_sigmoid(x, v_mul(cubic, v_set1(twice_root)));
    }
    if (kind == GATUN_ACTIVATION_SILU)
        return times_sigmoid(x, x);
    if (kind == GATUN_ACTIVATION_QUICK_GELU)
        return times_sigmoid(x, v_mul(x, v_set1(1.702f)));
    return x;
}

INLINE vec load_up_to(const float *p, int64_t count) {
    return count >= VW ? v_load(p) : v_load_some(p, (int32_t)count);
}

INLINE void store_up_to(float *p, vec a, int64_t count) {
    if (count >= VW)
        v_store(p, a);
    else
        v_store_some(p, a, (int32_t)count);
}

#endif
