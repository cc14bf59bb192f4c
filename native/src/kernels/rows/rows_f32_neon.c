/* Element loops over rows with the vectors of this tier. */
#include "../vectors/vectors_neon.h"

#define TIER neon

#include "rows_f32.h"
