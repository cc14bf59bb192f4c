/* The selective scan and the convolution before it with the vectors of this tier. */
#include "../vectors/vectors_neon.h"

#define TIER neon

#include "convolution_f32.h"
#include "scan_f32.h"
