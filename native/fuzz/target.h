/* What a fuzz target gives standalone.c, and how it reads an input. */
#ifndef GATUN_FUZZ_TARGET_H
#define GATUN_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A way of building a case, for the seed corpus: the first bytes of an input, which choose it. */
typedef struct fuzz_kind {
    const char *name;
    uint8_t first[2];
} fuzz_kind;

/* The target's; the last one has no name. */
extern const fuzz_kind fuzz_kinds[];

/* The input as a stream of numbers; 0 after its end. */
typedef struct stream {
    const uint8_t *data;
    size_t size, at;
} stream;

static inline uint64_t take(stream *s, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        uint64_t byte = s->at < s->size ? s->data[s->at++] : 0;
        value |= byte << (8 * i);
    }
    return value;
}

static inline int64_t below(stream *s, int64_t bound) {
    return (int64_t)(take(s, bound > 256 ? 2 : 1) % (uint64_t)bound);
}

/* A number that descriptors may have to refuse. */
static inline int64_t hostile(stream *s) {
    static const int64_t numbers[] = {0, -1, 1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, INT64_C(1) << 31,
        INT64_C(1) << 58, INT64_C(1) << 40, 512, 513, 3, INT64_MAX / 4};
    const int64_t kind = below(s, 16);
    return kind < 14 ? numbers[kind] : (int64_t)take(s, kind == 14 ? 8 : 1);
}

#endif
