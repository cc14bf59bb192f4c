/* Element loops over rows with the vectors of this tier. */
#include "../vectors/vectors_avx512.h"
#include "gatun.h"
#include <string.h>
/* after them */
#include "../vectors/integers_avx512.h"

#define TIER avx512

#include "rows_f32.h"
/* after it */
#include "widen_f32.h"
