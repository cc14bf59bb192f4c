/*
 * The read loop of the roofline: eight sums of one vector each. READ is the name of the function; a vector is as wide
 * as the flags of the file that includes this one allow, as wider ones would go through memory.
 */
#include "gatunbench.h"

#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define SUMS 8
typedef float lanes __attribute__((vector_size(4 * LANES)));

float READ(const float *x, int64_t floats) {
    lanes sums[SUMS] = {{0}};
    for (int64_t i = 0; i + SUMS * LANES <= floats; i += SUMS * LANES)
        for (int c = 0; c < SUMS; c++) {
            lanes v;
            memcpy(&v, x + i + c * LANES, sizeof v);
            sums[c] += v;
        }
    float sum = 0;
    for (int c = 0; c < SUMS; c++)
        for (int i = 0; i < LANES; i++)
            sum += sums[c][i];
    return sum;
}
