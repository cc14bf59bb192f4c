/* Packing weights, and checking packed ones: bytes from a file are not trusted. packed.h describes the layout. */
#include "internal.h"

#include <string.h>

static const uint64_t magic = 0x6b70006e75746167; /* "gatun", 0, "pk" */

enum { PANEL = GATUN__PANEL_COLUMNS };

/* As FNV-1a, but word by word, since every call looks at it: it finds damage, not malice. */
static uint64_t check_of(const gatun__packed_header *header) {
    const uint64_t words[] = {header->magic, (uint64_t)(uint32_t)header->format << 32 | header->layout,
        (uint64_t)header->in_features, (uint64_t)header->out_features, (uint64_t)header->bytes,
        (uint64_t)header->header_bytes << 32 | header->panel_columns, header->reserved};
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    return hash;
}

int64_t gatun__panel_bytes(int32_t format, int64_t in_features) {
    switch (format) {
    case GATUN_WEIGHTS_BF16:
        return (in_features + 1) / 2 * PANEL * 4;
    case GATUN_WEIGHTS_F16:
        /* Whole cache lines: 48 halves are one and a half. */
        return (in_features + 1) / 2 * PANEL * 4;
    case GATUN_WEIGHTS_I8:
        return GATUN__I8_PANEL_HEAD + (in_features + 3) / 4 * PANEL * 4;
    case GATUN_WEIGHTS_Q8_0:
        return (gatun__divide_up(in_features, GATUN__BLOCK) * GATUN__Q8_BLOCK_BYTES + 63) & ~(int64_t)63;
    case GATUN_WEIGHTS_Q4_0:
        return (gatun__divide_up(in_features, GATUN__BLOCK) * GATUN__Q4_BLOCK_BYTES + 63) & ~(int64_t)63;
    default:
        return in_features * PANEL * (int64_t)sizeof(float);
    }
}

int gatun__format_is_known(int32_t format) {
    return format >= GATUN_WEIGHTS_F32 && format <= GATUN__FORMATS;
}

static int64_t most_in_features(int32_t format) {
    return format == GATUN_WEIGHTS_I8 ? GATUN__I8_MOST_DEPTH : INT32_MAX;
}

/* At most GATUN__MOST_ELEMENTS weights, so that nothing overflows. */
static int64_t packed_bytes_of(int32_t format, int64_t in_features, int64_t out_features) {
    return GATUN__PACKED_HEADER + gatun__divide_up(out_features, PANEL) * gatun__panel_bytes(format, in_features);
}

gatun__packed_header gatun__packed_header_of(int32_t format, int64_t in_features, int64_t out_features) {
    gatun__packed_header header = {.magic = magic,
        .layout = GATUN__PACKED_LAYOUT,
        .format = format,
        .in_features = in_features,
        .out_features = out_features,
        .bytes = packed_bytes_of(format, in_features, out_features),
        .panel_columns = PANEL,
        .header_bytes = GATUN__PACKED_HEADER};
    header.check = check_of(&header);
    return header;
}

int32_t gatun__packed_header_to(
    gatun__packed_header *header, const void *packed, int64_t packed_bytes, char *message, int64_t message_size) {
    if (packed == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "packed: expected packed weights, got NULL");
    if (((uintptr_t)packed & 63) != 0)
        return gatun__fail(
            GATUN_E_ALIGNMENT, message, message_size, "packed: expected an address aligned to 64, got %p", packed);
    if (packed_bytes < GATUN__PACKED_HEADER)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "packed_size: expected at least the %d bytes of a header, got %lld", GATUN__PACKED_HEADER,
            (long long)packed_bytes);
    memcpy(header, packed, sizeof *header);
    if (header->magic != magic)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "packed: expected packed weights (magic %016llx), got %016llx", (unsigned long long)magic,
            (unsigned long long)header->magic);
    if (header->check != check_of(header))
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "packed: the header is damaged: expected the check %016llx, got %016llx",
            (unsigned long long)check_of(header), (unsigned long long)header->check);
    if (header->layout != GATUN__PACKED_LAYOUT)
        return gatun__fail(GATUN_E_UNSUPPORTED, message, message_size,
            "packed: expected layout %d, got %u: made by another version; pack the weights again", GATUN__PACKED_LAYOUT,
            (unsigned)header->layout);
    if (!gatun__format_is_known(header->format))
        return gatun__fail(GATUN_E_UNSUPPORTED, message, message_size,
            "packed: expected a format of GATUN_WEIGHTS_*, got %d", (int)header->format);
    const int64_t most = INT32_MAX;
    if (header->in_features < 1 || header->in_features > most_in_features(header->format) || header->out_features < 1 ||
        header->out_features > most || header->in_features > GATUN__MOST_ELEMENTS / header->out_features)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "packed: expected 1 .. 2^31 - 1 features in and out and at most 2^58 weights, got %lld and %lld features",
            (long long)header->in_features, (long long)header->out_features);
    const int64_t bytes = packed_bytes_of(header->format, header->in_features, header->out_features);
    if (header->bytes != bytes || header->panel_columns != PANEL || header->header_bytes != GATUN__PACKED_HEADER ||
        header->reserved != 0)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "packed: the header contradicts itself: expected %lld bytes for %lld x %lld weights, got %lld",
            (long long)bytes, (long long)header->in_features, (long long)header->out_features,
            (long long)header->bytes);
    if (packed_bytes < header->bytes)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "packed_size: expected at least %lld, as the header says, got %lld: the weights are cut off",
            (long long)header->bytes, (long long)packed_bytes);
    return GATUN_OK;
}

int32_t gatun_packed_check(
    const void *packed, int64_t packed_size, gatun_packed_info *info, char *message, int64_t message_size) {
    gatun__packed_header header;
    TRY(gatun__packed_header_to(&header, packed, packed_size, message, message_size));
    if (info == NULL)
        return GATUN_OK;
    if (info->struct_size < offsetof(gatun_packed_info, reserved))
        return gatun__fail(GATUN_E_VERSION, message, message_size,
            "struct_size: expected %zu, the size of gatun_packed_info, got %u", sizeof *info,
            (unsigned)info->struct_size);
    const gatun_packed_info full = {.struct_size = info->struct_size,
        .format = header.format,
        .in_features = header.in_features,
        .out_features = header.out_features,
        .bytes = header.bytes};
    memcpy(info, &full, info->struct_size < sizeof full ? info->struct_size : sizeof full);
    return GATUN_OK;
}

int32_t gatun__packed_members_check(int unknown, uint32_t flags, int32_t format, char *message, int64_t message_size) {
    if (unknown)
        return gatun__fail(GATUN_E_VERSION, message, message_size, "reserved: expected zeros");
    if (flags != 0)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "flags: expected 0, got 0x%x", (unsigned)flags);
    if (!gatun__format_is_known(format))
        return gatun__fail(
            GATUN_E_INVALID, message, message_size, "format: expected a GATUN_WEIGHTS_* constant, got %d", (int)format);
    return GATUN_OK;
}

static int32_t check_desc(const gatun_pack_desc *d, char *message, int64_t message_size) {
    if (d == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "desc: expected a descriptor, got NULL");
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_pack_desc", message, message_size));
    const int unknown = d->reserved0 != 0 || gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]);
    TRY(gatun__packed_members_check(unknown, d->flags, d->format, message, message_size));
    if (d->dtype < GATUN_DTYPE_F32 || d->dtype > GATUN_DTYPE_Q4_0)
        return gatun__fail(
            GATUN_E_INVALID, message, message_size, "dtype: expected a GATUN_DTYPE_* constant, got %d", (int)d->dtype);
    if (d->dtype == GATUN_DTYPE_I8 && d->format != GATUN_WEIGHTS_I8)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "format: expected GATUN_WEIGHTS_I8 (%d) for weights that are int8, got %d", GATUN_WEIGHTS_I8,
            (int)d->format);
    TRY(gatun__range_check("max_threads", d->max_threads, 0, INT32_MAX, message, message_size));
    TRY(gatun__range_check("in_features", d->in_features, 1, most_in_features(d->format), message, message_size));
    const int64_t most_out = GATUN__MOST_ELEMENTS / d->in_features;
    TRY(gatun__range_check(
        "out_features", d->out_features, 1, most_out < INT32_MAX ? most_out : INT32_MAX, message, message_size));
    if (d->dtype == GATUN_DTYPE_Q8_0 || d->dtype == GATUN_DTYPE_Q4_0) {
        const struct {
            const char *name;
            int64_t value;
        } wholes[] = {{"in_features", d->in_features}, {"out_stride", d->out_stride}};
        for (int i = 0; i < 2; i++)
            if (wholes[i].value % GATUN__BLOCK != 0)
                return gatun__fail(GATUN_E_INVALID, message, message_size,
                    "%s: expected a multiple of %d for weights in blocks, got %lld", wholes[i].name, GATUN__BLOCK,
                    (long long)wholes[i].value);
        TRY(gatun__range_check("in_stride", d->in_stride, 1, 1, message, message_size));
    }
    const int64_t most = GATUN__MOST_ELEMENTS;
    TRY(gatun__range_check("in_stride", d->in_stride, 0, most / d->in_features, message, message_size));
    return gatun__range_check("out_stride", d->out_stride, 0, most / d->out_features, message, message_size);
}

int32_t gatun_pack_size(const gatun_pack_desc *desc, int64_t *bytes, char *message, int64_t message_size) {
    TRY(check_desc(desc, message, message_size));
    if (bytes == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "bytes: expected a place to store it, got NULL");
    *bytes = packed_bytes_of(desc->format, desc->in_features, desc->out_features);
    return GATUN_OK;
}
