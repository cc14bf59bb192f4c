/* Additive attention with the vectors of this tier; register blocks of values as in attention_f32_avx2.c. */
#include "../vectors/vectors_avx2.h"
#include "gatun.h"

#define TIER           avx2
#define QV             3
#define COLUMNS_FULL   4
#define COLUMNS_SINGLE 8

#include "additive_f32.h"
