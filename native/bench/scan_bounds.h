/* scan_bound.h of every tier. */
#ifndef SCAN_BOUNDS_H
#define SCAN_BOUNDS_H

#include <stdint.h>

typedef double scan_bound(int64_t steps, float io[2]);
scan_bound scan_bound_avx512, scan_bound_avx2, scan_bound_neon, scan_bound_portable;

#endif
