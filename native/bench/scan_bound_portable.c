#include "../src/kernels/vectors/vectors_portable.h"
#define BOUND scan_bound_portable
#include "scan_bound.h"
