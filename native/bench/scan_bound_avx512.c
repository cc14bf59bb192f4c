#include "../src/kernels/vectors/vectors_avx512.h"
#define BOUND scan_bound_avx512
#include "scan_bound.h"
