/* Recurrent cells with the vectors of this tier. */
#include "../vectors/vectors_avx2.h"
#include "gatun.h"

#define TIER avx2

#include "cells_f32.h"
