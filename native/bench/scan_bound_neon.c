#include "../src/kernels/vectors/vectors_neon.h"
#define BOUND scan_bound_neon
#include "scan_bound.h"
