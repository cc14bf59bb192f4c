#define READ gatunbench__read_avx512
#include "read.h"
