/* The selective scan and the convolution before it with the vectors of this tier. */
#include "../vectors/vectors_avx512.h"

#define TIER avx512

/* Their a and h take 16 of 32 registers. */
enum { SCAN_STATES = 8 };

#include "convolution_f32.h"
#include "scan_f32.h"
