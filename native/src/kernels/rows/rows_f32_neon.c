/* Element loops over rows with the vectors of this tier. */
#include "../vectors/vectors_neon.h"
#include "gatun.h"
#include <string.h>
/* after them */
#include "../vectors/integers_neon.h"

#define TIER neon

#include "rows_f32.h"
/* after it */
#include "widen_f32.h"
