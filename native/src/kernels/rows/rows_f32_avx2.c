/* Element loops over rows with the vectors of this tier. */
#include "../vectors/vectors_avx2.h"

#define TIER avx2

#include "rows_f32.h"
