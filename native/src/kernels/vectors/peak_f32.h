/* The FMA peak of a tier: part of attention_f32.h, whose vectors it uses. */

/*
 * PEAK_CHAINS independent chains of FMAs: at least latency x throughput of them. io comes in as {1, 0}, which the compiler does not know, so that
 * x <- x * 1 + 0 is computed; io[0] is a result.
 */
double KERNEL(peak_f32)(int64_t steps, float io[2]) {
    vec acc[PEAK_CHAINS];
    const vec one = v_set1(io[0]), zero = v_set1(io[1]);
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = v_set1((float)i);
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 32
        for (int i = 0; i < PEAK_CHAINS; i++) {
            acc[i] = v_fma(acc[i], one, zero);
            v_keep(acc[i]);
        }
    }
    vec total = v_zero();
    for (int i = 0; i < PEAK_CHAINS; i++)
        total = v_add(total, acc[i]);
    float lanes[VW];
    v_store(lanes, total);
    io[0] = lanes[0];
    return 2.0 * VW * PEAK_CHAINS;
}
