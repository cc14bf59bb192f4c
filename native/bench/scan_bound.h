/*
 * The bound of the selective scan by instructions, for every tier: what no state of a vector of channels can do without, one exponential
 * and three of what the FMA units do (delta' a, h, y; that b * delta' x is a fourth is the kernel's own affair), on numbers that stay in
 * registers and do not wait for each other. Included once by each scan_bound_<tier>.c after its vectors; BOUND is the name of the
 * function.
 */
#include "scan_bounds.h"

enum { BOUND_CHAINS = 4 };

/* io comes in as {1, 0.001}, which the compiler does not know; io[0] is a result. Returns how many states of a channel were computed. */
double BOUND(int64_t steps, float io[2]) {
    vec exponent[BOUND_CHAINS], h[BOUND_CHAINS], y[BOUND_CHAINS];
    const vec one = v_set1(io[0]), input = v_set1(io[1]);
    for (int i = 0; i < BOUND_CHAINS; i++) {
        exponent[i] = v_set1(-0.1f * (float)(i + 1));
        h[i] = y[i] = v_zero();
    }
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 4
        for (int i = 0; i < BOUND_CHAINS; i++) {
            exponent[i] = v_mul(exponent[i], one);
            h[i] = v_fma(v_exp2(exponent[i]), h[i], input);
            y[i] = v_fma(one, h[i], y[i]);
        }
    }
    vec total = v_zero();
    for (int i = 0; i < BOUND_CHAINS; i++)
        total = v_add(total, y[i]);
    float lanes[VW];
    v_store(lanes, total);
    io[0] = lanes[0];
    return (double)steps * BOUND_CHAINS * VW;
}
