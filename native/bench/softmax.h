/*
 * The softmax of the naive peer, written for it alone: three passes over a row of scores, 16 lanes at a time, by the
 * compiler's vector types, so that a file that includes this one is as wide as its flags. SOFTMAX is the name of the
 * function. exp by 2^r, |r| <= 1/2 (degree 6), and the exponent added as an integer; below 2^-125 it gives 0.
 */
#include "gatunbench.h"

#include <math.h>
#include <string.h>

#define LANES 16
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

static inline __attribute__((always_inline)) lanes load(const float *x) {
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) lanes exp2_lanes(lanes x) {
    const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
    lanes shifted = x + round, r = x - (shifted - round);
    ints exponent;
    memcpy(&exponent, &shifted, sizeof exponent);
    lanes p = 0x1.416b60p-13f * r + 0x1.5f082ep-10f;
    p = p * r + 0x1.3b2de0p-7f;
    p = p * r + 0x1.c6af7cp-5f;
    p = p * r + 0x1.ebfbdcp-3f;
    p = p * r + 0x1.62e430p-1f;
    p = p * r + 1.0f;
    ints bits, live = x >= -125.0f;
    memcpy(&bits, &p, sizeof bits);
    bits = (bits + (exponent << 23)) & live;
    memcpy(&p, &bits, sizeof p);
    return p;
}

void SOFTMAX(float *row, int64_t keys, float scale) {
    const float factor = scale * 0x1.715476p+0f; /* log2(e) */
    int64_t whole = keys / LANES * LANES;
    float most = -INFINITY, most_of[2 * LANES]; /* two vectors of maxima, as a loop that compilers see through */
    for (int i = 0; i < 2 * LANES; i++)
        most_of[i] = most;
    int64_t pairs = keys / (2 * LANES) * (2 * LANES);
    for (int64_t j = 0; j < pairs; j += 2 * LANES)
        for (int i = 0; i < 2 * LANES; i++)
            most_of[i] = row[j + i] > most_of[i] ? row[j + i] : most_of[i];
    for (int i = 0; i < 2 * LANES; i++)
        most = most_of[i] > most ? most_of[i] : most;
    for (int64_t j = pairs; j < keys; j++)
        most = row[j] > most ? row[j] : most;

    lanes sums = {0};
    float sum = 0;
    for (int64_t j = 0; j < whole; j += LANES) {
        lanes e = exp2_lanes((load(row + j) - most) * factor);
        memcpy(row + j, &e, sizeof e);
        sums += e;
    }
    for (int i = 0; i < LANES; i++)
        sum += sums[i];
    for (int64_t j = whole; j < keys; j++)
        sum += row[j] = exp2f((row[j] - most) * factor);

    float share = 1 / sum;
    for (int64_t j = 0; j < whole; j += LANES) {
        lanes e = load(row + j) * share;
        memcpy(row + j, &e, sizeof e);
    }
    for (int64_t j = whole; j < keys; j++)
        row[j] *= share;
}
