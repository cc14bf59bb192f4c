/*
 * Packed weights: how they lie. What kernels that multiply by them are given is in kernels.h.
 *
 * A packed matrix is a header of HEADER bytes, then panels of PANEL_COLUMNS output columns each, the last one filled up with
 * zeros. The layout is one for all tiers: 48 columns are 3 vectors of 16 floats (with 8 rows 24 accumulators of 32 registers),
 * 3 times 2 vectors of 8 (with 6 rows 12 of 16) or 3 times 4 of 4 (24 of 32), and each of these tiles reads full cache lines.
 * Nothing is lost by it, so that a file of packed weights fits any machine of the same byte order. A panel is
 *
 *     F32    float    [in][48]
 *     BF16   uint16_t [in / 2, rounded up][48][2]   pairs, as vdpbf16ps takes them; the halves of 32 bits where it is missing
 *     F16    uint16_t [in][48]
 *     I8     float scale[48], int32_t sum[48], int8_t [in / 4, rounded up][48][4]   fours, as vpdpbusd takes them; sum: of a
 *            column's weights
 *     Q8_0   for each 32 inputs: half-precision scale[48], uint8_t [8][48][4], weights + 128
 *     Q4_0   for each 32 inputs: half-precision scale[48], [4][48][4] bytes, weights + 8: the low four bits of byte [g][c][i] are input
 *            4 g + i, the high ones 16 inputs further, as in GGUF
 *
 * and of the last two filled up to whole cache lines.
 */
#ifndef GATUN_PACKED_H
#define GATUN_PACKED_H

#include "gatun.h"

#include <stddef.h>
#include <stdint.h>

enum {
    GATUN__PANEL_COLUMNS = 48,
    GATUN__PACKED_HEADER = 64,
    GATUN__PACKED_LAYOUT = 1, /* what is described above */
    /* Products summed in registers before they are added to the sums so far: decides bits (see gatun_packed_linear). */
    GATUN__CHAIN_DEPTH = 512,
    /* Beyond it the sum of an int8 product may not fit into 32 bits. */
    GATUN__I8_MOST_DEPTH = 65536,
    /* Rows that share a panel while it is in L2. */
    GATUN__MOST_BLOCK_ROWS = 64,
    GATUN__FORMATS = 6,
    GATUN__BLOCK = 32, /* inputs of a block of Q8_0 and Q4_0 */
    GATUN__BLOCK_SCALES = GATUN__PANEL_COLUMNS * 2,
    GATUN__Q8_BLOCK_BYTES = GATUN__BLOCK_SCALES + GATUN__PANEL_COLUMNS * 32,
    GATUN__Q4_BLOCK_BYTES = GATUN__BLOCK_SCALES + GATUN__PANEL_COLUMNS * 16,
    GATUN__I8_PANEL_HEAD = GATUN__PANEL_COLUMNS * 8 /* scales and sums */
};

/* Of weights, and of rows with what lies between them: no sum of their bytes overflows. */
#define GATUN__MOST_ELEMENTS ((int64_t)1 << 58)

/* As in memory, and in a file: little-endian. */
typedef struct gatun__packed_header {
    uint64_t magic;
    uint32_t layout;
    int32_t format; /* GATUN_WEIGHTS_* */
    int64_t in_features, out_features;
    int64_t bytes; /* of all, this header included */
    uint32_t panel_columns, header_bytes;
    uint64_t reserved; /* 0 */
    uint64_t check;    /* of the bytes before it */
} gatun__packed_header;

int gatun__format_is_known(int32_t format);
/* What descriptors of packed weights have in common. unknown: whether a reserved member is set. */
int32_t gatun__packed_members_check(int unknown, uint32_t flags, int32_t format, char *message, int64_t message_size);
/* The bytes of one panel; in_features > 0. */
int64_t gatun__panel_bytes(int32_t format, int64_t in_features);
gatun__packed_header gatun__packed_header_of(int32_t format, int64_t in_features, int64_t out_features);
/* Copies the header of packed weights from memory that others may write to, and checks the copy: gatun_packed_check. */
int32_t gatun__packed_header_to(
    gatun__packed_header *header, const void *packed, int64_t packed_bytes, char *message, int64_t message_size);

/* Bytes from one converted row to the next: whole blocks, in whole cache lines, and an odd number of them, so that rows do not
 * compete for a part of L1. */
static inline int64_t gatun__converted_row(int64_t depth, int32_t element_bytes) {
    const int64_t blocks = (depth + GATUN__BLOCK - 1) / GATUN__BLOCK;
    const int64_t lines = (blocks * GATUN__BLOCK * element_bytes + 63) / 64;
    return (lines | 1) * 64;
}

#endif
