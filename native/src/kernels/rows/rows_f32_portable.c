/* Element loops over rows with the vectors of this tier. */
#include "../vectors/vectors_portable.h"
#include "gatun.h"
#include <string.h>
/* after them */
#include "../vectors/integers_portable.h"

#define TIER portable

#include "rows_f32.h"
/* after it */
#include "widen_f32.h"
