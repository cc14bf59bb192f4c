#define SOFTMAX gatunbench__softmax_portable
#include "softmax.h"
