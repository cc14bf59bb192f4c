#define _GNU_SOURCE
#include "internal.h"

#include <sys/mman.h>
#include <unistd.h>

static const int64_t huge_page = 2 << 20;

/* mmap gives page alignment; a huge page needs its own, so the mapping is made larger by one and its ends are cut off
 * again. */
void *gatun_memory_allocate(int64_t bytes) {
    if (bytes <= 0 || bytes > INT64_MAX / 2)
        return NULL;
    int64_t slack = bytes >= huge_page ? huge_page : 0;
    char *memory = mmap(NULL, (size_t)(bytes + slack), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (slack > 0) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        char *begin = (char *)(((uintptr_t)memory + (uintptr_t)huge_page - 1) & ~(uintptr_t)(huge_page - 1));
        char *end = (char *)(((uintptr_t)begin + (uintptr_t)bytes + page - 1) & ~(page - 1));
        char *mapped_end = (char *)(((uintptr_t)memory + (uintptr_t)(bytes + slack) + page - 1) & ~(page - 1));
        if (begin > memory)
            munmap(memory, (size_t)(begin - memory));
        if (mapped_end > end)
            munmap(end, (size_t)(mapped_end - end));
        memory = begin;
#ifdef MADV_HUGEPAGE
        madvise(memory, (size_t)bytes, MADV_HUGEPAGE);
#endif
    }
    return memory;
}

void gatun_memory_free(void *memory, int64_t bytes) {
    if (memory != NULL && bytes > 0)
        munmap(memory, (size_t)bytes);
}
