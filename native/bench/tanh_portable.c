#include "kernels/vectors/vectors_portable.h"
/* after them */
#include "bench_additive.h"
#define TANH gatunbench__tanh_portable
#define MIX  gatunbench__mix_portable
#include "tanh.h"
