/* Recurrent cells with the vectors of this tier. */
#include "../vectors/vectors_neon.h"
#include "gatun.h"

#define TIER neon

#include "cells_f32.h"
