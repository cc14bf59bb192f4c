#define SOFTMAX gatunbench__softmax_avx2
#include "softmax.h"
