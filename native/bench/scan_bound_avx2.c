#include "../src/kernels/vectors/vectors_avx2.h"
#define BOUND scan_bound_avx2
#include "scan_bound.h"
