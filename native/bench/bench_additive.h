/* The loops of tanh.h, one of each for every tier of kernels.inc. */
#ifndef BENCH_ADDITIVE_H
#define BENCH_ADDITIVE_H

#include <stdint.h>

typedef double tanh_loop(int64_t rounds, float io[2]);

#define GATUN_TIER(TIER, tier, lanes) tanh_loop gatunbench__tanh_##tier, gatunbench__mix_##tier;
#include "kernels.inc"

#endif
