#define READ gatunbench__read_avx2
#include "read.h"
