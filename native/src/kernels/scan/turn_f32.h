/* A matrix of channels turned around, so that lanes are channels: for templates that come after their tier's vectors. */
#ifndef GATUN_TURN_F32_H
#define GATUN_TURN_F32_H

#include "../vectors/activations_f32.h"

/* Of `count` channels the rows of [K][N], times factor, to [N][VW], lanes past them 0. The greatest of these and of most, lane by lane. */
INLINE vec turn_in(const float *from, int64_t count, int64_t states, vec factor, float *to, vec most) {
    for (int64_t n = 0; n < states; n += VW) {
        vec r[VW];
        for (int i = 0; i < VW; i++)
            r[i] = i < count ? v_mul(load_up_to(from + i * states + n, states - n), factor) : v_zero();
        v_transpose(r);
        for (int64_t i = 0; i < VW && n + i < states; i++) {
            v_store(to + (n + i) * VW, r[i]);
            most = v_max(r[i], most);
        }
    }
    return most;
}

#endif
