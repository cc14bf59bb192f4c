/* Additive attention with the vectors of this tier; register blocks of values as in attention_f32_neon.c. */
#include "../vectors/vectors_neon.h"
#include "gatun.h"

#define TIER           neon
#define QV             4
#define COLUMNS_FULL   4
#define COLUMNS_SINGLE 16

#include "additive_f32.h"
