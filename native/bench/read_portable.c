#define READ gatunbench__read_portable
#include "read.h"
