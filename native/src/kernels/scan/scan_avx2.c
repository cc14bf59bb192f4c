/* The selective scan and the convolution before it with the vectors of this tier. */
#include "../vectors/vectors_avx2.h"

#define TIER avx2

/* Their a and h take 8 of 16 registers. */
enum { SCAN_STATES = 4 };

#include "convolution_f32.h"
#include "scan_f32.h"
