#define _GNU_SOURCE
#include "guarded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIVE 64

/* read by the crash handler; entries of tests' main threads only, so that no lock is needed */
static guarded live[LIVE];

static int64_t round_up(int64_t value, int64_t unit) {
    return (value + unit - 1) / unit * unit;
}

/* Byte n of memory filled with the pattern; whole words lie at addresses that are multiples of 4. */
static uint8_t fill_byte(const uint8_t *at) {
    return (uint8_t)(GUARDED_FILL >> (8 * ((uintptr_t)at & 3)));
}

static void fill(uint8_t *from, uint8_t *to) {
    for (uint8_t *byte = from; byte < to && byte < from + 4; byte++) {
        *byte = fill_byte(byte);
    }
    /* doubles what is there, which keeps its period of 4 */
    for (int64_t done = 4, all = to - from; done < all; done *= 2) {
        memcpy(from + done, from, (size_t)(done < all - done ? done : all - done));
    }
}

static bool filled(const uint8_t *from, const uint8_t *to) {
    for (const uint8_t *byte = from; byte < to && byte < from + 4; byte++) {
        if (*byte != fill_byte(byte)) {
            return false;
        }
    }
    return to - from <= 4 || memcmp(from, from + 4, (size_t)(to - from - 4)) == 0;
}

void guarded_create(guarded *memory, const char *name, int64_t bytes, int64_t unreadable, guarded_end end) {
    int64_t page = sysconf(_SC_PAGESIZE);
    int64_t page_bytes = round_up(bytes > 0 ? bytes : 1, page);
    int64_t map_bytes = page + page_bytes + page + round_up(unreadable, page);
    uint8_t *map = mmap(NULL, (size_t)map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map + page, (size_t)page_bytes, PROT_READ | PROT_WRITE) != 0) {
        perror("guarded memory");
        exit(1);
    }
    memory->name = name;
    memory->bytes = bytes;
    memory->map = map;
    memory->map_bytes = map_bytes;
    memory->pages = map + page;
    memory->page_bytes = page_bytes;
    memory->data = end == GUARD_AFTER ? memory->pages + page_bytes - bytes : memory->pages;
    fill(memory->pages, memory->pages + page_bytes);
    for (int i = 0; i < LIVE; i++) {
        if (live[i].map == NULL) {
            live[i] = *memory;
            break;
        }
    }
}

bool guarded_unwritten(const guarded *memory) {
    return filled(memory->pages, memory->pages + memory->page_bytes);
}

bool guarded_intact(const guarded *memory) {
    return filled(memory->pages, memory->data) &&
           filled(memory->data + memory->bytes, memory->pages + memory->page_bytes);
}

void guarded_protect(const guarded *memory, bool read_only) {
    if (mprotect(memory->pages, (size_t)memory->page_bytes, read_only ? PROT_READ : PROT_READ | PROT_WRITE) != 0) {
        perror("mprotect");
        exit(1);
    }
}

void guarded_destroy(guarded *memory) {
    if (memory->map == NULL) {
        return;
    }
    for (int i = 0; i < LIVE; i++) {
        if (live[i].map == memory->map) {
            live[i].map = NULL;
        }
    }
    munmap(memory->map, (size_t)memory->map_bytes);
    memset(memory, 0, sizeof *memory);
}

void guarded_describe(const void *address, char *text, size_t size) {
    const uint8_t *byte = address;
    text[0] = '\0';
    for (int i = 0; i < LIVE; i++) {
        const guarded *memory = &live[i];
        if (memory->map == NULL || byte < memory->map || byte >= memory->map + memory->map_bytes) {
            continue;
        }
        long long offset = (long long)(byte - memory->data);
        if (offset >= memory->bytes) {
            snprintf(text, size, "%lld bytes past the end of %s (%lld bytes)", offset - (long long)memory->bytes,
                memory->name, (long long)memory->bytes);
        } else if (offset < 0) {
            snprintf(text, size, "%lld bytes before the start of %s", -offset, memory->name);
        } else {
            snprintf(text, size, "byte %lld of %s, which may not be written", offset, memory->name);
        }
    }
}
