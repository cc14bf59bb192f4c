#define SOFTMAX gatunbench__softmax_avx512
#include "softmax.h"
