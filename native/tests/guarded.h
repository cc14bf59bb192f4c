/* Memory between two pages that may not be touched, so that one element too many is a crash with a name. */
#ifndef GATUN_TESTS_GUARDED_H
#define GATUN_TESTS_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum guarded_end {
    GUARD_AFTER, /* the last byte is followed by the guard page */
    GUARD_BEFORE /* the first byte is preceded by the guard page */
} guarded_end;

typedef struct guarded {
    const char *name;
    uint8_t *data; /* bytes of memory to use */
    int64_t bytes;
    uint8_t *map; /* all that is reserved, guard pages included */
    int64_t map_bytes;
    uint8_t *pages; /* the accessible pages within map */
    int64_t page_bytes;
} guarded;

/*
 * Makes *memory: bytes to use, filled with GUARDED_FILL, aligned to 4 at least, and to a page with GUARD_BEFORE.
 * Behind them address space for a further unreadable bytes is reserved without access (a tensor of which a part
 * must not be read).
 */
void guarded_create(guarded *memory, const char *name, int64_t bytes, int64_t unreadable, guarded_end end);

/* Whether the canary between the memory and the page's other end is as it was. */
bool guarded_intact(const guarded *memory);

/* Whether the memory itself, too, holds nothing but GUARDED_FILL. */
bool guarded_unwritten(const guarded *memory);

void guarded_protect(const guarded *memory, bool read_only);
void guarded_destroy(guarded *memory);

/* For a crash report: "4 bytes past the end of k (1024 bytes)", or "" if address is near no guarded memory. */
void guarded_describe(const void *address, char *text, size_t size);

/* A float of this pattern is NaN, so an element that was not written does not pass for a result. */
#define GUARDED_FILL 0xffa5a5a5u

#endif
