/* Seeded random numbers for tests: xoshiro256** (Blackman and Vigna 2018), started by splitmix64. */
#ifndef GATUN_TESTS_RANDOM_H
#define GATUN_TESTS_RANDOM_H

#include <math.h>
#include <stdint.h>

typedef struct rng {
    uint64_t state[4];
} rng;

static inline uint64_t splitmix64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A generator of its own for each (seed, number), so that one case can be repeated without those before it. */
static inline rng rng_make(uint64_t seed, uint64_t number) {
    uint64_t state = seed ^ (number * 0xd1342543de82ef95u);
    rng random;
    for (int i = 0; i < 4; i++) {
        random.state[i] = splitmix64(&state);
    }
    return random;
}

static inline uint64_t rng_next(rng *random) {
    uint64_t *s = random->state;
    uint64_t product = s[1] * 5;
    uint64_t result = ((product << 7) | (product >> 57)) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* 0 .. bound - 1; the bias of the modulo is of no matter here */
static inline int64_t rng_below(rng *random, int64_t bound) {
    return (int64_t)(rng_next(random) % (uint64_t)bound);
}

static inline int64_t rng_between(rng *random, int64_t low, int64_t high) {
    return low + rng_below(random, high - low + 1);
}

/* 0 <= x < 1 */
static inline double rng_unit(rng *random) {
    return (double)(rng_next(random) >> 11) * 0x1p-53;
}

static inline float rng_uniform(rng *random) {
    return (float)(2 * rng_unit(random) - 1);
}

static inline float rng_normal(rng *random) {
    double radius = sqrt(-2 * log(1 - rng_unit(random)));
    return (float)(radius * cos(6.283185307179586 * rng_unit(random)));
}

#endif
