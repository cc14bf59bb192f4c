#include "kernels/vectors/vectors_avx2.h"
/* after them */
#include "bench_additive.h"
#define TANH gatunbench__tanh_avx2
#define MIX  gatunbench__mix_avx2
#include "tanh.h"
