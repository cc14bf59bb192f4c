/* Recurrent cells with the vectors of this tier. */
#include "../vectors/vectors_avx512.h"
#include "gatun.h"

#define TIER avx512

#include "cells_f32.h"
