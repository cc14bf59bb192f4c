#include "kernels/vectors/vectors_avx512.h"
/* after them */
#include "bench_additive.h"
#define TANH gatunbench__tanh_avx512
#define MIX  gatunbench__mix_avx512
#include "tanh.h"
