/* Element loops over rows with the vectors of this tier. */
#include "../vectors/vectors_portable.h"

#define TIER portable

#include "rows_f32.h"
