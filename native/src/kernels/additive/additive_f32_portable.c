/* Additive attention with the vectors of this tier; register blocks of values as in attention_f32_portable.c. */
#include "../vectors/vectors_portable.h"
#include "gatun.h"

#define TIER           portable
#define QV             2
#define COLUMNS_FULL   4
#define COLUMNS_SINGLE 8

#include "additive_f32.h"
