#define SOFTMAX gatunbench__softmax_neon
#include "softmax.h"
