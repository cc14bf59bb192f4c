/*
 * Two loops that additive attention is compared with, by the vectors of a tier: included once by each tanh_<tier>.c.
 *   TANH  the plain way: the hyperbolic tangent of a sum, by the rational function of softcap_f32.h, of independent vectors in registers
 *   MIX   the instructions of the kernel's inner loop, which share a division between four elements, on 16 elements in L1
 * io comes in as {0, 1}, which the compiler does not know; io[0] is a result. Each returns how many hyperbolic tangents a round has.
 */
#include "kernels/vectors/softcap_f32.h"

double TANH(int64_t rounds, float io[2]) {
    enum { CHAINS = 8 };
    const vec step = v_set1(io[0]);
    vec x[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        x[i] = v_set1((float)i * 0.25f - 1);
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < CHAINS; i++) {
            x[i] = v_add(x[i], step);
            v_keep(capped(x[i], 1));
        }
    }
    float lanes[VW];
    v_store(lanes, x[0]);
    io[0] = lanes[0];
    return CHAINS * VW;
}

double MIX(int64_t rounds, float io[2]) {
    enum { GROUPS = 4, ELEMENTS = 4 * GROUPS };
    float q[ELEMENTS * VW], k[ELEMENTS], w[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) {
        k[i] = io[1] * (float)(i + 1) * 0.125f;
        w[i] = io[1] * (float)(i - 7);
        for (int x = 0; x < VW; x++)
            q[i * VW + x] = io[1] * (0.25f + (float)((i + x) % 5));
    }
    const vec one = v_set1(io[1]);
    vec sum[GROUPS];
    for (int g = 0; g < GROUPS; g++)
        sum[g] = v_zero();
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : : "r"(q), "r"(k), "r"(w) : "memory");
#pragma GCC unroll 4
        for (int g = 0; g < GROUPS; g++) {
            const float *from = q + 4 * g * VW, *by = k + 4 * g, *of = w + 4 * g;
            const vec x0 = v_fma(v_set1(by[0]), v_load(from), one), x1 = v_fma(v_set1(by[1]), v_load(from + VW), one),
                      x2 = v_fma(v_set1(by[2]), v_load(from + 2 * VW), one),
                      x3 = v_fma(v_set1(by[3]), v_load(from + 3 * VW), one);
            const vec n = v_fma(v_set1(of[0]), x1, v_mul(v_set1(of[1]), x0)),
                      m = v_fma(v_set1(of[2]), x3, v_mul(v_set1(of[3]), x2));
            const vec p = v_mul(x0, x1), s = v_mul(x2, x3);
            sum[g] = v_add(sum[g], v_div(v_fma(n, s, v_mul(m, p)), v_mul(p, s)));
        }
    }
    vec total = v_zero();
    for (int g = 0; g < GROUPS; g++)
        total = v_add(total, sum[g]);
    float lanes[VW];
    v_store(lanes, total);
    io[0] = lanes[0];
    return ELEMENTS * VW;
}
