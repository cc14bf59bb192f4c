#define _POSIX_C_SOURCE 199309L
#include "internal.h"

#include <time.h>

int64_t gatun__nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
