/* Recurrent cells with the vectors of this tier. */
#include "../vectors/vectors_portable.h"
#include "gatun.h"

#define TIER portable

#include "cells_f32.h"
