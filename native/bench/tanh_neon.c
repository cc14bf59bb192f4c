#include "kernels/vectors/vectors_neon.h"
/* after them */
#include "bench_additive.h"
#define TANH gatunbench__tanh_neon
#define MIX  gatunbench__mix_neon
#include "tanh.h"
