/* The selective scan and the convolution before it with the vectors of this tier. */
#include "../vectors/vectors_portable.h"

#define TIER portable

/* Their a and h take 8 of 16 registers of the baseline. */
enum { SCAN_STATES = 4 };

#include "convolution_f32.h"
#include "scan_f32.h"
