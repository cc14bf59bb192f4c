/*
 * A shared object for LD_PRELOAD that counts what takes memory: calls of malloc, calloc, realloc, aligned_alloc,
 * posix_memalign, memalign, valloc and mmap. A program that was started with it finds these functions by dlsym, a
 * JVM by its linker's default lookup.
 */
#ifndef GATUN_TESTS_MALLOC_COUNTER_H
#define GATUN_TESTS_MALLOC_COUNTER_H

#include <stdint.h>

/*
 * Begins to count, from 0: all threads' calls, or with 0 those of the calling thread and of threads named
 * "gatun-...".
 */
void malloc_counter_start(int32_t all_threads);

/* Ends counting, and returns the number of calls since malloc_counter_start. */
int64_t malloc_counter_stop(void);

/*
 * The function that was called first since malloc_counter_start, with its bytes: to find out who it was. NULL if
 * none.
 */
const char *malloc_counter_first(int64_t *bytes);

#endif
