/* Numbers bent into a range, scores and logits: for templates that come after their tier's vectors. */
#ifndef GATUN_SOFTCAP_F32_H
#define GATUN_SOFTCAP_F32_H

#define INLINE static inline __attribute__((always_inline))

/*
 * cap * tanh(x / cap): y P(y^2) / Q(y^2), of degree 4 both, fitted to tanh(y) / y on 0 < y <= 9, where it is 1 as a float, for the
 * least relative error (iterated weighted least squares): 2e-8, with float arithmetic below 4e-7.
 */
INLINE vec capped(vec x, const float cap) {
    const vec y = v_min(v_set1(9), v_max(v_set1(-9), v_mul(x, v_set1(1 / cap)))), z = v_mul(y, y); /* NaN stays */
    vec p = v_set1(0x1.cad87ap-27f), q = v_set1(0x1.a17dc0p-21f);
    p = v_fma(p, z, v_set1(0x1.59c22ep-16f));
    q = v_fma(q, z, v_set1(0x1.58857cp-12f));
    p = v_fma(p, z, v_set1(0x1.ca2c16p-9f));
    q = v_fma(q, z, v_set1(0x1.a7f7c4p-6f));
    p = v_fma(p, z, v_set1(0x1.120b12p-3f));
    q = v_fma(q, z, v_set1(0x1.de5ad2p-2f));
    p = v_fma(p, z, v_set1(1));
    q = v_fma(q, z, v_set1(1));
    return v_mul(v_mul(y, v_set1(cap)), v_div(p, q));
}

#endif
