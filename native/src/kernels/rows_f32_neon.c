/* Element loops over rows with the vectors of this tier. */
#include "vectors_neon.h"

#include "rows_f32.h"

const gatun__row_kernels gatun__row_kernels_neon = {activation_f32, norm_f32, pool_f32, softmax_f32, rotary_f32};
