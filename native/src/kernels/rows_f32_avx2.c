/* Element loops over rows with the vectors of this tier. */
#include "vectors_avx2.h"

#include "rows_f32.h"

const gatun__row_kernels gatun__row_kernels_avx2 = {activation_f32, norm_f32, pool_f32, softmax_f32, rotary_f32};
