/* Additive attention with the vectors of this tier; register blocks of values as in attention_f32_avx512.c. */
#include "../vectors/vectors_avx512.h"
#include "gatun.h"

#define TIER           avx512
#define QV             2
#define COLUMNS_FULL   8
#define COLUMNS_SINGLE 16

#include "additive_f32.h"
