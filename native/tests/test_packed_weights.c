/* gatun_pack and gatun_packed_check: sizes, bytes, what is refused and why, and hostile headers. */
#include "packed_layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suites.h"

enum { HEADER = 64 };

static const gatun_pack_desc small = {.struct_size = sizeof small,
    .format = GATUN_WEIGHTS_F32,
    .dtype = GATUN_DTYPE_F32,
    .in_features = 5,
    .out_features = 50,
    .in_stride = 50,
    .out_stride = 1};

static char *aligned(int64_t bytes) {
    char *memory = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static char *pack_small(gatun_pack_desc d, int64_t *bytes) {
    static float source[5 * 50];
    for (int i = 0; i < 250; i++) {
        source[i] = (float)i;
    }
    CHECK_STATUS(gatun_pack_size(&d, bytes, NULL, 0), GATUN_OK);
    char *packed = aligned(*bytes);
    memset(packed, 0xa5, (size_t)*bytes);
    char message[200] = "";
    CHECK(gatun_pack(shared_context(GATUN_TIER_PORTABLE), &d, source, NULL, packed, *bytes, message, sizeof message) ==
              GATUN_OK,
        "%s", message);
    return packed;
}

/* Panels of 48 columns, the rest zeros; another library's packed weights can be read. */
static void layout(void) {
    int64_t bytes = 0;
    char *packed = pack_small(small, &bytes);
    CHECK(bytes == HEADER + 2 * 5 * 48 * 4, "%lld bytes", (long long)bytes);
    const float *panels = (const float *)(const void *)(packed + HEADER);
    for (int k = 0; k < 5; k++) {
        for (int c = 0; c < 96; c++) {
            const float got = panels[(c / 48 * 5 + k) * 48 + c % 48], want = c < 50 ? (float)(k * 50 + c) : 0;
            CHECK(got == want, "weight %d of column %d: expected %g, got %g", k, c, (double)want, (double)got);
        }
    }
    gatun_packed_info info = {.struct_size = sizeof info};
    CHECK_STATUS(gatun_packed_check(packed, bytes, &info, NULL, 0), GATUN_OK);
    CHECK(info.format == GATUN_WEIGHTS_F32 && info.in_features == 5 && info.out_features == 50 && info.bytes == bytes,
        "info differs");
    CHECK_STATUS(gatun_packed_check(packed, bytes + 1000, NULL, NULL, 0), GATUN_OK);
    info.struct_size = 8;
    CHECK_STATUS(gatun_packed_check(packed, bytes, &info, NULL, 0), GATUN_E_VERSION);
    free(packed);
}

static void expect_refused(const gatun_pack_desc *d, int32_t status, const char *begin) {
    char message[200] = "";
    int64_t bytes = -7;
    const int32_t got = gatun_pack_size(d, &bytes, message, sizeof message);
    CHECK(got == status && strncmp(message, begin, strlen(begin)) == 0 && bytes == -7,
        "expected %s ..., status %d; got \"%s\", %d", begin, (int)status, message, (int)got);
}

static void refused(void) {
    expect_refused(NULL, GATUN_E_NULL, "desc: ");
#define REFUSED(member, value, status)                                                                                 \
    do {                                                                                                               \
        gatun_pack_desc d = small;                                                                                     \
        d.member = value;                                                                                              \
        expect_refused(&d, status, #member);                                                                           \
    } while (0)
    REFUSED(struct_size, 8, GATUN_E_VERSION);
    REFUSED(flags, 1, GATUN_E_INVALID);
    REFUSED(format, 0, GATUN_E_INVALID);
    REFUSED(format, 99, GATUN_E_INVALID);
    REFUSED(dtype, 0, GATUN_E_INVALID);
    REFUSED(dtype, 99, GATUN_E_INVALID);
    REFUSED(in_features, 0, GATUN_E_INVALID);
    REFUSED(in_features, (int64_t)1 << 31, GATUN_E_INVALID);
    REFUSED(out_features, 0, GATUN_E_INVALID);
    REFUSED(out_features, -1, GATUN_E_INVALID);
    REFUSED(in_stride, -1, GATUN_E_INVALID);
    gatun_pack_desc huge = small; /* 2^62 weights, whose bytes no int64_t holds */
    huge.in_features = huge.out_features = INT32_MAX;
    huge.in_stride = huge.out_stride = 0;
    expect_refused(&huge, GATUN_E_INVALID, "out_features");
    REFUSED(out_stride, INT64_MAX, GATUN_E_INVALID);
    REFUSED(max_threads, -1, GATUN_E_INVALID);
#undef REFUSED
    gatun_pack_desc d = small;
    d.reserved[7] = 1;
    expect_refused(&d, GATUN_E_VERSION, "reserved");

    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    int64_t bytes = 0;
    char *packed = pack_small(small, &bytes), *before = aligned(bytes);
    memcpy(before, packed, (size_t)bytes);
    float source[250] = {0};
    CHECK_STATUS(gatun_pack_size(&small, NULL, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_pack(NULL, &small, source, NULL, packed, bytes, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_pack(context, NULL, source, NULL, packed, bytes, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_pack(context, &small, NULL, NULL, packed, bytes, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_pack(context, &small, source, NULL, NULL, bytes, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(
        gatun_pack(context, &small, (const char *)source + 2, NULL, packed, bytes, NULL, 0), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_pack(context, &small, source, NULL, packed + 4, bytes, NULL, 0), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_pack(context, &small, source, NULL, packed, bytes - 1, NULL, 0), GATUN_E_INVALID);
    CHECK_STATUS(gatun_pack(context, &small, packed + 128, NULL, packed, bytes, NULL, 0), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_pack(context, &small, source, source, packed, bytes, NULL, 0), GATUN_E_INVALID);
    d = small;
    d.dtype = GATUN_DTYPE_I8;
    CHECK_STATUS(gatun_pack(context, &d, source, source, packed, bytes, NULL, 0), GATUN_E_INVALID); /* as float32 */
    d.format = GATUN_WEIGHTS_I8;
    CHECK_STATUS(gatun_pack(context, &d, source, NULL, packed, bytes, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_pack(context, &d, source, (const float *)(const void *)(packed + 64), packed, bytes, NULL, 0),
        GATUN_E_OVERLAP);
    d.in_features = 65537;
    expect_refused(&d, GATUN_E_INVALID, "in_features");
    CHECK(memcmp(before, packed, (size_t)bytes) == 0, "a refused call wrote");
    free(before);
    free(packed);
}

/* Every byte of the header changed in every way of its bits, every length that is too short. */
static void hostile(void) {
    int64_t bytes = 0;
    char *packed = pack_small(small, &bytes);
    guarded file;
    for (int64_t size = 0; size < bytes; size += size < HEADER ? 1 : 64) {
        guarded_create(&file, "a file", (size + 63) / 64 * 64, 0, GUARD_AFTER);
        memcpy(file.data, packed, (size_t)size);
        char message[200] = "";
        const int32_t status = gatun_packed_check(file.data, size, NULL, message, sizeof message);
        CHECK(status == GATUN_E_INVALID && message[0] != '\0', "%lld bytes of %lld: %d, \"%s\"", (long long)size,
            (long long)bytes, (int)status, message);
        guarded_destroy(&file);
    }
    guarded_create(&file, "a file", bytes, 0, GUARD_AFTER);
    for (int byte = 0; byte < HEADER; byte++) {
        for (int change = 1; change < 256; change++) {
            memcpy(file.data, packed, (size_t)bytes);
            file.data[byte] ^= (uint8_t)change;
            const int32_t status = gatun_packed_check(file.data, bytes, NULL, NULL, 0);
            CHECK(status == GATUN_E_INVALID || status == GATUN_E_UNSUPPORTED, "byte %d changed by %d: %d", byte, change,
                (int)status);
        }
    }
    guarded_destroy(&file);
    CHECK_STATUS(gatun_packed_check(NULL, bytes, NULL, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_packed_check(packed + 4, bytes, NULL, NULL, 0), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_packed_check(packed, -1, NULL, NULL, 0), GATUN_E_INVALID);
    free(packed);
}

static uint64_t check_of(const char *header) {
    uint64_t hash = 0xcbf29ce484222325;
    for (int i = 0; i < HEADER - 8; i += 8) {
        uint64_t word;
        memcpy(&word, header + i, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    return hash;
}

/* Headers that somebody made on purpose: with the check that belongs to them. */
static void forged(void) {
    int64_t bytes = 0;
    char *packed = pack_small(small, &bytes), *file = aligned(bytes);
    static const int64_t values[] = {0, 1, 2, -1, 4, 5, 6, 47, 49, 50, 51, 96, 97, 64, 4000, INT32_MAX, INT32_MIN,
        INT64_MAX, INT64_MIN, (int64_t)1 << 32, ((int64_t)1 << 32) + 5, (int64_t)1 << 62};
    rng random = rng_make(test_seed(), 1);
    int accepted = 0;
    for (int i = 0; i < (test_light() ? 20000 : 200000); i++) {
        memcpy(file, packed, (size_t)bytes);
        for (int n = (int)rng_below(&random, 3); n >= 0; n--) {
            const int wide = (int)rng_below(&random, 2);
            const int64_t value = values[rng_below(&random, sizeof values / sizeof *values)];
            memcpy(file + 8 + rng_below(&random, wide ? 6 : 12) * (wide ? 8 : 4), &value, wide ? 8 : 4);
        }
        const uint64_t check = check_of(file);
        memcpy(file + HEADER - 8, &check, sizeof check);
        gatun_packed_info info = {.struct_size = sizeof info};
        const int32_t status = gatun_packed_check(file, bytes, &info, NULL, 0);
        if (status != GATUN_OK) {
            CHECK(status == GATUN_E_INVALID || status == GATUN_E_UNSUPPORTED, "forged header %d: %d", i, (int)status);
            continue;
        }
        /* Then what it says is true of the bytes that are there. */
        accepted++;
        gatun_pack_desc d = small;
        d.format = info.format;
        d.in_features = info.in_features;
        d.out_features = info.out_features;
        d.in_stride = d.out_stride = 0;
        int64_t needed = 0;
        CHECK_STATUS(gatun_pack_size(&d, &needed, NULL, 0), GATUN_OK);
        CHECK(needed <= bytes && info.bytes == needed, "forged header %d: %lld bytes of %lld", i, (long long)needed,
            (long long)bytes);
    }
    CHECK(accepted > 0, "no header was accepted");
    /* Sizes whose bytes wrap around, with the bytes that come of it. */
    for (int64_t in = INT32_MAX; in > INT32_MAX - 200; in--) {
        const uint64_t wrapped = HEADER + (uint64_t)((INT32_MAX + (int64_t)47) / 48) * ((uint64_t)in * 48 * 4);
        const int64_t out = INT32_MAX;
        memcpy(file, packed, (size_t)bytes);
        memcpy(file + 16, &in, sizeof in);
        memcpy(file + 24, &out, sizeof out);
        memcpy(file + 32, &wrapped, sizeof wrapped);
        const uint64_t right = check_of(file);
        memcpy(file + HEADER - 8, &right, sizeof right);
        CHECK_STATUS(gatun_packed_check(file, INT64_MAX, NULL, NULL, 0), GATUN_E_INVALID);
    }
    /* Another version's layout says so. */
    memcpy(file, packed, (size_t)bytes);
    file[8] = 2;
    const uint64_t check = check_of(file);
    memcpy(file + HEADER - 8, &check, sizeof check);
    char message[200] = "";
    CHECK(gatun_packed_check(file, bytes, NULL, message, sizeof message) == GATUN_E_UNSUPPORTED &&
              strstr(message, "layout 1, got 2") != NULL,
        "\"%s\"", message);
    free(file);
    free(packed);
}

/* A call with weights of other sizes than the descriptor's, cut off weights, missing and overlapping tensors. */
static void refused_calls(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    layer l = layer_create(&(layer_shape){.format = GATUN_WEIGHTS_F32,
                               .rows = 7,
                               .in = 20,
                               .out = 60,
                               .gap = 4,
                               .biased = true,
                               .gated = true,
                               .residual = true},
        &sets[count - 1]);
    memset(l.out.data, 0xff, (size_t)l.out.memory.bytes);
    float *before = copy_of(&l.out);
    const gatun_packed_linear_desc good = l.desc;
    gatun_packed_linear_desc d = good;
    gatun_context *context = l.context;
    void *w = l.workspace.data, *p = l.packed.data;
    const int64_t ws = l.workspace.bytes, ps = l.packed.bytes;
    const float *x = l.x.data, *bias = l.bias_data, *gate = l.gate_data, *residual = l.residual_data;
    float *out = l.out.data;
#define CALL(status, ...) CHECK_STATUS(gatun_packed_linear(__VA_ARGS__), status)
    CALL(GATUN_E_NULL, NULL, &d, w, ws, p, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_NULL, context, NULL, w, ws, p, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_NULL, context, &d, NULL, ws, p, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_NULL, context, &d, w, ws, NULL, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_NULL, context, &d, w, ws, p, ps, NULL, bias, gate, residual, out);
    CALL(GATUN_E_NULL, context, &d, w, ws, p, ps, x, bias, gate, residual, NULL);
    CALL(GATUN_E_WORKSPACE, context, &d, w, ws - 1, p, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_WORKSPACE, context, &d, w, -1, p, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_INVALID, context, &d, w, ws, p, ps - 1, x, bias, gate, residual, out);
    CALL(GATUN_E_INVALID, context, &d, w, ws, w, ws, x, bias, gate, residual, out);
    CALL(GATUN_E_ALIGNMENT, context, &d, (char *)w + 32, ws, p, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_ALIGNMENT, context, &d, w, ws, (char *)p + 32, ps, x, bias, gate, residual, out);
    CALL(GATUN_E_ALIGNMENT, context, &d, w, ws, p, ps, (const float *)(const void *)((const char *)x + 2), bias, gate,
        residual, out);
    CALL(GATUN_E_ALIGNMENT, context, &d, w, ws, p, ps, x, (const float *)(const void *)((const char *)bias + 1), gate,
        residual, out);
    CALL(GATUN_E_OVERLAP, context, &d, w, ws, p, ps, out, bias, gate, residual, out);
    CALL(GATUN_E_OVERLAP, context, &d, w, ws, p, ps, x, out + 5, gate, residual, out);
    CALL(GATUN_E_OVERLAP, context, &d, w, ws, p, ps, x, bias, out, residual, out); /* another stride */
    CALL(GATUN_E_OVERLAP, context, &d, w, ws, p, ps, x, bias, gate, out + 1, out);
    CALL(GATUN_E_OVERLAP, context, &d, w, ws, p, ps, x, bias, gate, residual, (float *)w);
    CALL(GATUN_E_OVERLAP, context, &d, w, ws, p, ps, x, bias, gate, residual, (float *)p);
#define MEMBER(member, value, status)                                                                                  \
    do {                                                                                                               \
        d = good;                                                                                                      \
        d.member = value;                                                                                              \
        char message[200] = "";                                                                                        \
        CHECK_STATUS(gatun_packed_linear(context, &d, w, ws, p, ps, x, bias, gate, residual, out), status);            \
        CHECK_STATUS(gatun_packed_linear_check(NULL, &d, message, sizeof message), status);                            \
        CHECK(strstr(message, #member) == message, "%s: \"%s\"", #member, message);                                    \
    } while (0)
    MEMBER(struct_size, 4, GATUN_E_VERSION);
    MEMBER(flags, 2, GATUN_E_INVALID);
    MEMBER(format, 0, GATUN_E_INVALID);
    MEMBER(format, 77, GATUN_E_INVALID);
    MEMBER(activation, -1, GATUN_E_INVALID);
    MEMBER(activation, 6, GATUN_E_INVALID);
    MEMBER(max_threads, -1, GATUN_E_INVALID);
    MEMBER(rows, -1, GATUN_E_INVALID);
    MEMBER(in_features, 0, GATUN_E_INVALID);
    MEMBER(out_features, 0, GATUN_E_INVALID);
    MEMBER(x_row, 19, GATUN_E_INVALID);
    /* Extents that overflow. */
    d = good;
    d.rows = d.x_row = INT32_MAX;
    CALL(GATUN_E_INVALID, context, &d, w, ws, p, ps, x, bias, gate, residual, out);
    d = good;
    d.rows = d.residual_row = INT32_MAX;
    CALL(GATUN_E_INVALID, context, &d, w, ws, p, ps, x, bias, gate, residual, out);
    int64_t needed = -1;
    CHECK_STATUS(gatun_packed_linear_workspace_size(context, &d, &needed), GATUN_E_INVALID);
    d = good;
    d.in_features = d.out_features = d.x_row = d.out_row = d.gate_row = d.residual_row = INT32_MAX;
    CHECK_STATUS(gatun_packed_linear_workspace_size(context, &d, &needed), GATUN_E_INVALID);
    MEMBER(out_row, 59, GATUN_E_INVALID);
    MEMBER(gate_row, 59, GATUN_E_INVALID);
    MEMBER(residual_row, -1, GATUN_E_INVALID);
#undef MEMBER
    /* Right in itself, but not for these weights or tensors. */
    static const int64_t others[][3] = {{0, 19, 60}, {0, 20, 59}, {0, 20, 12}, {1, 20, 60}, {2, 20, 60}};
    for (size_t n = 0; n < sizeof others / sizeof *others; n++) {
        d = good;
        d.in_features = others[n][1];
        d.out_features = others[n][2];
        d.gate_row = others[n][0] == 1 ? 0 : d.gate_row;
        d.residual_row = others[n][0] == 2 ? 0 : d.residual_row;
        CALL(GATUN_E_INVALID, context, &d, w, ws, p, ps, x, bias, gate, residual, out);
    }
    d = good;
    d.reserved[0] = 1;
    CALL(GATUN_E_VERSION, context, &d, w, ws, p, ps, x, bias, gate, residual, out);
    int64_t bytes = -1;
    CHECK_STATUS(gatun_packed_linear_workspace_size(context, &d, &bytes), GATUN_E_VERSION);
    CHECK_STATUS(gatun_packed_linear_workspace_size(NULL, &good, &bytes), GATUN_E_NULL);
    CHECK_STATUS(gatun_packed_linear_workspace_size(context, &good, NULL), GATUN_E_NULL);
    CHECK(bytes == -1, "a refused call wrote a size");
    CHECK(memcmp(before, out, (size_t)l.out.memory.bytes) == 0, "refused calls wrote to out");
    /* Without rows there is nothing to do, nor to need. */
    d = good;
    d.rows = 0;
    CALL(GATUN_OK, context, &d, NULL, 0, p, ps, NULL, NULL, NULL, NULL, NULL);
#undef CALL
    free(before);
    layer_destroy(&l);
}

/* Every 16-bit float survives; floats become the nearest one. */
static void halves(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    enum { ALL = 65536 };
    uint16_t *source = test_allocate(ALL * 2);
    for (int i = 0; i < ALL; i++) {
        source[i] = (uint16_t)i;
    }
    for (int32_t dtype = GATUN_DTYPE_BF16; dtype <= GATUN_DTYPE_F16; dtype++) {
        const bool bf16 = dtype == GATUN_DTYPE_BF16;
        gatun_pack_desc d = {.struct_size = sizeof d,
            .format = bf16 ? GATUN_WEIGHTS_BF16 : GATUN_WEIGHTS_F16,
            .dtype = dtype,
            .in_features = ALL / 32,
            .out_features = 32,
            .in_stride = 32,
            .out_stride = 1};
        for (int widen = 0; widen < 2; widen++) {
            d.format = widen ? GATUN_WEIGHTS_F32 : d.format;
            int64_t bytes = 0;
            CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
            char *packed = aligned(bytes);
            CHECK_STATUS(gatun_pack(context, &d, source, NULL, packed, bytes, NULL, 0), GATUN_OK);
            for (int i = 0; i < ALL; i++) {
                const int k = i / 32, c = i % 32;
                /* by arithmetic, from sign, exponent and mantissa */
                const int mantissa_bits = bf16 ? 7 : 10, bias = bf16 ? 127 : 15, special = bf16 ? 255 : 31;
                const int mantissa = i & ((1 << mantissa_bits) - 1), exponent = i >> mantissa_bits & special;
                double value = ldexp((exponent > 0 ? 1 << mantissa_bits : 0) + mantissa,
                    (exponent > 0 ? exponent : 1) - bias - mantissa_bits);
                value = exponent == special ? mantissa == 0 ? (double)INFINITY : (double)NAN : value;
                value = i >> 15 ? -value : value;
                if (widen) {
                    const double got = (double)((const float *)(const void *)(packed + HEADER))[k * 48 + c];
                    REQUIRE(got == value || (isnan(got) && isnan(value)), "dtype %d, 0x%04x: expected %g, got %g",
                        (int)dtype, i, value, got);
                } else {
                    const uint16_t got =
                        ((const uint16_t *)(const void *)(packed +
                                                          HEADER))[bf16 ? k / 2 * 96 + 2 * c + k % 2 : k * 48 + c];
                    REQUIRE(got == i || isnan(value), "dtype %d, 0x%04x: packed as 0x%04x", (int)dtype, i, got);
                    REQUIRE(!isnan(value) || ((got & (special << mantissa_bits)) == special << mantissa_bits &&
                                                 (got & ((1 << mantissa_bits) - 1)) != 0),
                        "dtype %d: a NaN of 0x%04x became 0x%04x", (int)dtype, i, got);
                }
            }
            free(packed);
        }
    }
    free(source);
    /* Rounding: between two neighbors, ties, and at both ends of the range. */
    rng random = rng_make(test_seed(), 3);
    enum { IN = 64 };
    static float floats[IN * 48];
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < IN * 48; i++) {
            const uint32_t bits = (uint32_t)rng_next(&random) & (round % 2 == 0 ? 0xffffffffu : 0xfffff000u);
            memcpy(&floats[i], &bits, sizeof bits);
            floats[i] = round > 10 ? ldexpf(frexpf(isfinite(floats[i]) ? floats[i] : 1, &(int){0}),
                                         (int)rng_between(&random, -30, 18))
                                   : floats[i];
        }
        for (int32_t format = GATUN_WEIGHTS_BF16; format <= GATUN_WEIGHTS_F16; format++) {
            const bool bf16 = format == GATUN_WEIGHTS_BF16;
            const gatun_pack_desc d = {.struct_size = sizeof d,
                .format = format,
                .dtype = GATUN_DTYPE_F32,
                .in_features = IN,
                .out_features = 48,
                .in_stride = 48,
                .out_stride = 1};
            int64_t bytes = 0;
            CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
            char *packed = aligned(bytes);
            CHECK_STATUS(gatun_pack(context, &d, floats, NULL, packed, bytes, NULL, 0), GATUN_OK);
            for (int i = 0; i < IN * 48; i++) {
                const int k = i / 48, c = i % 48;
                const uint16_t got =
                    ((const uint16_t *)(const void *)(packed + HEADER))[bf16 ? k / 2 * 96 + 2 * c + k % 2 : k * 48 + c];
                const int mantissa_bits = bf16 ? 7 : 10, bias = bf16 ? 127 : 15, special = bf16 ? 255 : 31;
                const int mantissa = got & ((1 << mantissa_bits) - 1), exponent = got >> mantissa_bits & special;
                double value = ldexp((exponent > 0 ? 1 << mantissa_bits : 0) + mantissa,
                    (exponent > 0 ? exponent : 1) - bias - mantissa_bits);
                value = exponent == special ? mantissa == 0 ? (double)INFINITY : (double)NAN : value;
                value = got >> 15 ? -value : value;
                double want = (double)round_to(floats[i], mantissa_bits, 1 - bias);
                want = fabs(want) >= ldexp(2, bias) ? copysign((double)INFINITY, want) : want;
                REQUIRE(value == want || (isnan(value) && isnan(want)),
                    "format %d, %.9g: expected %.9g, packed as %.9g", (int)format, (double)floats[i], want, value);
            }
            free(packed);
        }
    }
}

/* int8 weights that come with their scales are kept as they are. */
static void int8_source(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    enum { IN = 7, OUT = 60 };
    int8_t source[OUT][IN + 2];
    float scales[OUT];
    rng random = rng_make(test_seed(), 5);
    for (int o = 0; o < OUT; o++) {
        scales[o] = rng_normal(&random);
        for (int i = 0; i < IN; i++) {
            source[o][i] = (int8_t)rng_between(&random, -128, 127);
        }
    }
    const gatun_pack_desc d = {.struct_size = sizeof d,
        .format = GATUN_WEIGHTS_I8,
        .dtype = GATUN_DTYPE_I8,
        .in_features = IN,
        .out_features = OUT,
        .in_stride = 1,
        .out_stride = IN + 2};
    int64_t bytes = 0;
    CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
    CHECK(bytes == HEADER + 2 * (48 * 8 + 2 * 48 * 4), "%lld bytes", (long long)bytes);
    char *packed = aligned(bytes);
    CHECK_STATUS(gatun_pack(context, &d, source, scales, packed, bytes, NULL, 0), GATUN_OK);
    for (int o = 0; o < 96; o++) {
        const char *panel = packed + HEADER + o / 48 * (48 * 8 + 2 * 48 * 4);
        int sum = 0;
        for (int i = 0; i < 8; i++) {
            const int want = o < OUT && i < IN ? source[o][i] : 0,
                      got = ((const int8_t *)panel)[48 * 8 + i / 4 * 192 + o % 48 * 4 + i % 4];
            CHECK(got == want, "weight %d of output %d: expected %d, got %d", i, o, want, got);
            sum += want;
        }
        CHECK(((const int32_t *)(const void *)panel)[48 + o % 48] == sum, "output %d: sum %d", o, sum);
        const float scale = ((const float *)(const void *)panel)[o % 48];
        CHECK(scale == (o < OUT ? scales[o] : 0), "output %d: scale %g", o, (double)scale);
    }
    free(packed);
}

/* Blocks of GGUF: kept bit by bit in their own format, floats for another one. */
static void gguf_blocks(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    enum { IN = 96, OUT = 50, ROW_BLOCKS = 4 }; /* one block between rows */
    for (int four = 0; four < 2; four++) {
        const int size = four ? 18 : 34;
        uint8_t *source = test_allocate(OUT * ROW_BLOCKS * size);
        rng random = rng_make(test_seed(), 11);
        for (int i = 0; i < OUT * ROW_BLOCKS * size; i++) {
            source[i] = (uint8_t)rng_next(&random);
        }
        for (int b = 0; b < OUT * ROW_BLOCKS; b++) { /* scales of 2^-n, so that products are exact in float32 */
            const uint16_t half = (uint16_t)((1 + rng_below(&random, 15)) << 10);
            memcpy(source + b * size, &half, sizeof half);
        }
        gatun_pack_desc d = {.struct_size = sizeof d,
            .format = four ? GATUN_WEIGHTS_Q4_0 : GATUN_WEIGHTS_Q8_0,
            .dtype = four ? GATUN_DTYPE_Q4_0 : GATUN_DTYPE_Q8_0,
            .in_features = IN,
            .out_features = OUT,
            .in_stride = 1,
            .out_stride = ROW_BLOCKS * 32};
        for (int widen = 0; widen < 2; widen++) {
            d.format = widen ? GATUN_WEIGHTS_F32 : d.format;
            int64_t bytes = 0;
            CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
            char *packed = aligned(bytes);
            CHECK_STATUS(gatun_pack(context, &d, source, NULL, packed, bytes, NULL, 0), GATUN_OK);
            for (int o = 0; o < OUT; o++) {
                for (int k = 0; k < IN; k++) {
                    const uint8_t *block = source + (o * ROW_BLOCKS + k / 32) * size;
                    const int i = k % 32, q = !four ? (int8_t)block[2 + i]
                                                    : (i < 16 ? block[2 + i] & 15 : block[2 + i - 16] >> 4) - 8;
                    uint16_t half;
                    memcpy(&half, block, sizeof half);
                    if (widen) {
                        const float got =
                            ((const float *)(const void *)(packed + HEADER))[(o / 48 * IN + k) * 48 + o % 48];
                        CHECK(got == ldexpf((float)q, (half >> 10) - 15), "weight %d of output %d: %g", k, o,
                            (double)got);
                        continue;
                    }
                    const int64_t block_bytes = 96 + (four ? 16 : 32) * 48,
                                  panel_bytes = (IN / 32 * block_bytes + 63) / 64 * 64;
                    const uint8_t *to = (const uint8_t *)packed + HEADER + o / 48 * panel_bytes + k / 32 * block_bytes;
                    uint16_t scale;
                    memcpy(&scale, to + o % 48 * 2, sizeof scale);
                    const uint8_t byte = to[96 + i % (four ? 16 : 32) / 4 * 192 + o % 48 * 4 + i % 4];
                    const int got = !four ? byte - 128 : (i < 16 ? byte & 15 : byte >> 4) - 8;
                    CHECK(got == q && scale == half, "weight %d of output %d: expected %d * 0x%04x, got %d * 0x%04x", k,
                        o, q, half, got, scale);
                }
            }
            free(packed);
        }
        d.in_features = IN - 1;
        expect_refused(&d, GATUN_E_INVALID, "in_features");
        d.in_features = IN;
        d.in_stride = 2;
        expect_refused(&d, GATUN_E_INVALID, "in_stride");
        d.in_stride = 1;
        d.out_stride = 100;
        expect_refused(&d, GATUN_E_INVALID, "out_stride");
        free(source);
    }
}

static void peak(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    for (int n = 0; n < count; n++) {
        for (int32_t format = 1; format <= LAST_WEIGHTS; format++) {
            double rate = 0;
            CHECK_STATUS(gatun_packed_linear_peak(sets[n].context, format, 20000, &rate), GATUN_OK);
            CHECK(rate > 1e6 && rate < 1e14, "%s, format %d: %g", sets[n].name, (int)format, rate);
            CHECK_STATUS(gatun_packed_linear_peak(sets[n].context, format, 999, &rate), GATUN_E_INVALID);
            CHECK_STATUS(gatun_packed_linear_peak(sets[n].context, format, 20000, NULL), GATUN_E_NULL);
        }
        double rate = 0;
        CHECK_STATUS(gatun_packed_linear_peak(sets[n].context, 0, 20000, &rate), GATUN_E_INVALID);
        CHECK_STATUS(gatun_packed_linear_peak(NULL, GATUN_WEIGHTS_F32, 20000, &rate), GATUN_E_NULL);
    }
    /* More rows never need a smaller workspace. */
    for (int n = 0; n < count; n++) {
        for (int32_t format = 1; format <= LAST_WEIGHTS; format++) {
            int64_t last = 0;
            for (int64_t rows = 0; rows < 300; rows++) {
                const gatun_packed_linear_desc d = {.struct_size = sizeof d,
                    .format = format,
                    .rows = rows,
                    .in_features = 100,
                    .out_features = 500,
                    .x_row = 100,
                    .out_row = 500};
                int64_t bytes = 0;
                CHECK_STATUS(gatun_packed_linear_workspace_size(sets[n].context, &d, &bytes), GATUN_OK);
                CHECK(bytes >= last && bytes >= 64 && bytes % 64 == 0 && (rows <= 64 || bytes == last),
                    "%s, format %d: %lld bytes for %lld rows, then %lld", sets[n].name, (int)format, (long long)last,
                    (long long)rows, (long long)bytes);
                last = bytes;
            }
        }
    }
}

const test_case packed_weights_tests[] = {{"layout", layout}, {"refused", refused}, {"hostile", hostile},
    {"forged", forged}, {"refused_calls", refused_calls}, {"halves", halves}, {"int8_source", int8_source},
    {"gguf_blocks", gguf_blocks}, {"peak", peak}, {NULL, NULL}};
