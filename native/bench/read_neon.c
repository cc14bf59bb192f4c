#define READ gatunbench__read_neon
#include "read.h"
