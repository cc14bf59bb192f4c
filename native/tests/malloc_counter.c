/*
 * Every function goes on to glibc's own by its internal name, __libc_malloc and so on: no dlsym, which itself
 * allocates, and nothing to initialize, so that it works from the first call of the dynamic loader on.
 */
#define _GNU_SOURCE
#include "malloc_counter.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

enum { OFF, ALL, SELECTED };

static _Atomic int mode;
static _Atomic long caller; /* kernel's number of the thread that started counting */
static _Atomic int64_t count;
static const char *_Atomic first;
static _Atomic int64_t first_bytes;

static int is_selected(void) {
    if (syscall(SYS_gettid) == atomic_load(&caller)) {
        return 1;
    }
    char name[17] = "";
    return prctl(PR_GET_NAME, name) == 0 && strncmp(name, "gatun-", 6) == 0;
}

static void taken(const char *function, size_t bytes) {
    int now = atomic_load_explicit(&mode, memory_order_relaxed);
    if (now == OFF) {
        return;
    }
    int error = errno;
    if (now == ALL || is_selected()) {
        const char *none = NULL;
        if (atomic_compare_exchange_strong(&first, &none, function)) {
            atomic_store(&first_bytes, (int64_t)bytes);
        }
        atomic_fetch_add(&count, 1);
    }
    errno = error;
}

EXPORT void malloc_counter_start(int32_t all_threads) {
    atomic_store(&caller, syscall(SYS_gettid));
    atomic_store(&count, 0);
    atomic_store(&first, NULL);
    atomic_store(&first_bytes, 0);
    atomic_store(&mode, all_threads ? ALL : SELECTED);
}

EXPORT int64_t malloc_counter_stop(void) {
    atomic_store(&mode, OFF);
    return atomic_load(&count);
}

EXPORT const char *malloc_counter_first(int64_t *bytes) {
    if (bytes != NULL) {
        *bytes = atomic_load(&first_bytes);
    }
    return atomic_load(&first);
}

EXPORT void *malloc(size_t size) {
    taken("malloc", size);
    return __libc_malloc(size);
}

EXPORT void *calloc(size_t number, size_t size) {
    taken("calloc", number * size);
    return __libc_calloc(number, size);
}

EXPORT void *realloc(void *memory, size_t size) {
    taken("realloc", size);
    return __libc_realloc(memory, size);
}

EXPORT void *reallocarray(void *memory, size_t number, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(number, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    taken("reallocarray", bytes);
    return __libc_realloc(memory, bytes);
}

EXPORT void *memalign(size_t alignment, size_t size) {
    taken("memalign", size);
    return __libc_memalign(alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    taken("aligned_alloc", size);
    return __libc_memalign(alignment, size);
}

EXPORT int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    taken("posix_memalign", size);
    void *block = __libc_memalign(alignment, size);
    if (block == NULL) {
        return ENOMEM;
    }
    *memory = block;
    return 0;
}

EXPORT void *valloc(size_t size) {
    taken("valloc", size);
    return __libc_memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    taken("mmap", length);
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

EXPORT void *mmap64(void *address, size_t length, int protection, int flags, int file, off64_t offset) {
    taken("mmap", length);
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}
