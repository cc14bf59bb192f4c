/*
 * 2^r for |r| <= 1/2, degree 6: minimax in relative error with c0 = 1, coefficients rounded to float one after the
 * other from the lowest, the rest fitted again each time (weighted least squares, reweighted). Largest relative error
 * in float arithmetic 6.4e-8, tried on 200,001 points.
 */
#define EXP2_FLOOR (-200.0f) /* 2^-200 is 0 in float32; keeps -inf - round(-inf) from being NaN */
#define EXP2_LEAST                                                                                                     \
    (-125.0f) /* where the exponent is added as an integer: 2^x is a normal number from here on, and taken as 0 below  \
               */

static inline __attribute__((always_inline)) vec exp2_polynomial(vec r) {
    vec p = v_set1(0x1.416b60p-13f);
    p = v_fma(p, r, v_set1(0x1.5f082ep-10f));
    p = v_fma(p, r, v_set1(0x1.3b2de0p-7f));
    p = v_fma(p, r, v_set1(0x1.c6af7cp-5f));
    p = v_fma(p, r, v_set1(0x1.ebfbdcp-3f));
    p = v_fma(p, r, v_set1(0x1.62e430p-1f));
    return v_fma(p, r, v_set1(1.0f));
}
