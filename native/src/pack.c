/* gatun_pack: weights from the caller's memory to panels. packed.h describes the layout, packed.c the header. */
#include "half.h"
#include "internal.h"

#include <math.h>
#include <string.h>

enum { PANEL = GATUN__PANEL_COLUMNS };

typedef struct packing {
    const gatun_pack_desc *desc;
    const char *source;
    const float *scales;
    char *packed;
    int64_t panel_bytes;
} packing;

/* Bytes of so many elements; those in blocks are whole blocks. */
static int64_t bytes_of(int32_t dtype, int64_t elements) {
    switch (dtype) {
    case GATUN_DTYPE_F32:
        return elements * 4;
    case GATUN_DTYPE_I8:
        return elements;
    case GATUN_DTYPE_Q8_0:
        return gatun__divide_up(elements, GATUN__BLOCK) * 34;
    case GATUN_DTYPE_Q4_0:
        return gatun__divide_up(elements, GATUN__BLOCK) * 18;
    default:
        return elements * 2;
    }
}

static uintptr_t alignment_of(int32_t dtype) {
    return dtype == GATUN_DTYPE_F32 ? 4 : dtype == GATUN_DTYPE_BF16 || dtype == GATUN_DTYPE_F16 ? 2 : 1;
}

/* ---- elements ---- */

/* The block of GGUF that holds an element, and what it says of it. */
static const char *block_at(const packing *p, int64_t at) {
    return p->source + bytes_of(p->desc->dtype, at / GATUN__BLOCK * GATUN__BLOCK);
}

static uint16_t block_scale(const char *block) {
    uint16_t half;
    memcpy(&half, block, sizeof half);
    return half;
}

static int block_weight(int32_t dtype, const char *block, int64_t i) {
    if (dtype == GATUN_DTYPE_Q8_0)
        return (int8_t)block[2 + i];
    const uint8_t both = (uint8_t)block[2 + i % 16];
    return (i < 16 ? both & 15 : both >> 4) - 8;
}

static float element(const packing *p, int64_t in, int64_t out) {
    const gatun_pack_desc *d = p->desc;
    const int64_t at = in * d->in_stride + out * d->out_stride;
    if (d->dtype == GATUN_DTYPE_F32)
        return ((const float *)(const void *)p->source)[at];
    if (d->dtype == GATUN_DTYPE_Q8_0 || d->dtype == GATUN_DTYPE_Q4_0) {
        const char *block = block_at(p, at);
        return gatun__from_f16(block_scale(block)) * (float)block_weight(d->dtype, block, at % GATUN__BLOCK);
    }
    const uint16_t half = ((const uint16_t *)(const void *)p->source)[at];
    return d->dtype == GATUN_DTYPE_BF16 ? gatun__float_of((uint32_t)half << 16) : gatun__from_f16(half);
}

/* ---- panels ---- */

/* So many inputs of one column after the other: where columns are contiguous in the source, whole cache lines of it. */
enum { STEP = 16 };

typedef float (*rows_of_panel)[PANEL];

/* STEP inputs of PANEL columns that are contiguous, as Linear of PyTorch has them: the bulk of a model that is loaded. */
static void transpose(const float *from, int64_t stride, rows_of_panel to) {
    for (int c = 0; c < PANEL; c += 4) {
        const float *a = from + c * stride, *b = a + stride, *d = b + stride, *e = d + stride;
        for (int i = 0; i < STEP; i++) {
            to[i][c] = a[i];
            to[i][c + 1] = b[i];
            to[i][c + 2] = d[i];
            to[i][c + 3] = e[i];
        }
    }
}

/* Inputs k .. k + STEP - 1 of a panel's columns as floats, 0 past the end of either. */
static void load(const packing *p, int64_t k, int64_t column, rows_of_panel to) {
    const gatun_pack_desc *d = p->desc;
    const int64_t rows = d->in_features - k < STEP ? d->in_features - k : STEP;
    const int64_t columns = d->out_features - column < PANEL ? d->out_features - column : PANEL;
    if (rows < STEP || columns < PANEL)
        memset(to, 0, STEP * sizeof *to);
    if (d->dtype == GATUN_DTYPE_F32 && d->out_stride == 1) {
        const float *from = (const float *)(const void *)p->source + k * d->in_stride + column;
        for (int64_t i = 0; i < rows; i++)
            memcpy(to[i], from + i * d->in_stride, (size_t)columns * sizeof(float));
        return;
    }
    if (d->dtype == GATUN_DTYPE_F32 && d->in_stride == 1 && rows == STEP && columns == PANEL) {
        transpose((const float *)(const void *)p->source + k + column * d->out_stride, d->out_stride, to);
        return;
    }
    for (int64_t c = 0; c < columns; c++)
        for (int64_t i = 0; i < rows; i++)
            to[i][c] = element(p, k + i, column + c);
}

static void pack_floats(const packing *p, int64_t column, char *panel) {
    const int32_t format = p->desc->format;
    for (int64_t k = 0; k < p->desc->in_features; k += STEP) {
        float part[STEP][PANEL];
        const int64_t rows = p->desc->in_features - k < STEP ? p->desc->in_features - k : STEP;
        if (format == GATUN_WEIGHTS_F32 && rows == STEP) {
            load(p, k, column, (rows_of_panel)(void *)(panel + k * PANEL * 4));
            continue;
        }
        load(p, k, column, part);
        if (format == GATUN_WEIGHTS_F32) {
            memcpy(panel + k * PANEL * 4, part, (size_t)(rows * PANEL) * sizeof(float));
            continue;
        }
        uint16_t *to = (uint16_t *)(void *)panel + k * PANEL;
        for (int64_t i = 0; i < (rows + 1) / 2 * 2; i++)
            for (int64_t c = 0; c < PANEL; c++) {
                if (format == GATUN_WEIGHTS_F16)
                    to[i * PANEL + c] = gatun__to_f16(part[i][c]);
                else
                    to[i / 2 * 2 * PANEL + 2 * c + i % 2] = gatun__to_bf16(part[i][c]);
            }
    }
}

/* A column whose weights are all smaller is taken as zeros: the inverse of its scale would overflow. */
static const float least_magnitude = 0x1p-100f;

static int8_t to_i8(float w, float inverse) {
    const float q = rintf(w * inverse);
    return (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
}

/* A weight is w = q * scale, with the greatest of a column at +-127. One that is not finite makes a scale of NaN. */
static void pack_i8(const packing *p, int64_t column, char *panel) {
    float *scale = (float *)(void *)panel, inverse[PANEL];
    int32_t *sum = (int32_t *)(void *)(scale + PANEL);
    int8_t *weights = (int8_t *)panel + GATUN__I8_PANEL_HEAD;
    const int64_t in = p->desc->in_features, columns = p->desc->out_features - column;
    memset(panel, 0, GATUN__I8_PANEL_HEAD);
    if (p->desc->dtype == GATUN_DTYPE_I8) {
        const int64_t in_stride = p->desc->in_stride, out_stride = p->desc->out_stride;
        memset(weights, 0, (size_t)(p->panel_bytes - GATUN__I8_PANEL_HEAD));
        for (int64_t c = 0; c < PANEL && c < columns; c++) {
            const int8_t *from = (const int8_t *)p->source + (column + c) * out_stride;
            scale[c] = p->scales[column + c];
            for (int64_t k = 0; k < in; k++) {
                weights[k / 4 * PANEL * 4 + c * 4 + k % 4] = from[k * in_stride];
                sum[c] += from[k * in_stride];
            }
        }
        return;
    }
    float most[PANEL] = {0}, part[STEP][PANEL];
    for (int64_t k = 0; k < in; k += STEP) {
        load(p, k, column, part);
        for (int i = 0; i < STEP; i++)
            for (int c = 0; c < PANEL; c++) {
                const float magnitude = fabsf(part[i][c]);
                /* NaN stays: no comparison with it holds. */
                most[c] = magnitude <= most[c] || most[c] != most[c] ? most[c] : magnitude;
            }
    }
    for (int c = 0; c < PANEL; c++) {
        const int usable = most[c] >= least_magnitude && isfinite(most[c]);
        scale[c] = usable ? most[c] / 127 : isfinite(most[c]) ? 0 : NAN;
        inverse[c] = usable ? 127 / most[c] : 0;
    }
    for (int64_t k = 0; k < in; k += STEP) {
        load(p, k, column, part);
        const int64_t rows = in - k < STEP ? (in - k + 3) / 4 * 4 : STEP;
        for (int64_t i = 0; i < rows; i++)
            for (int c = 0; c < PANEL; c++) {
                const int8_t w = inverse[c] == 0 ? 0 : to_i8(part[i][c], inverse[c]);
                weights[(k + i) / 4 * PANEL * 4 + c * 4 + i % 4] = w;
                sum[c] += w;
            }
    }
}

/* One block of one column as its scale and weights: those of GGUF as they are, others with the largest magnitude at +-127, or at
 * the -8 that four bits have, as GGUF does it. */
static uint16_t make_block(const packing *p, int64_t k, int64_t column, int8_t q[GATUN__BLOCK]) {
    const gatun_pack_desc *d = p->desc;
    const int four_bits = d->format == GATUN_WEIGHTS_Q4_0;
    if ((four_bits && d->dtype == GATUN_DTYPE_Q4_0) || (!four_bits && d->dtype == GATUN_DTYPE_Q8_0)) {
        const char *block = block_at(p, k + column * d->out_stride);
        for (int i = 0; i < GATUN__BLOCK; i++)
            q[i] = (int8_t)block_weight(d->dtype, block, i);
        return block_scale(block);
    }
    float w[GATUN__BLOCK], most = 0;
    for (int i = 0; i < GATUN__BLOCK; i++) {
        w[i] = k + i < d->in_features ? element(p, k + i, column) : 0;
        most = fabsf(w[i]) <= fabsf(most) || most != most ? most : w[i];
    }
    const uint16_t half = gatun__to_f16(four_bits ? most / -8 : fabsf(most) / 127);
    const float scale = gatun__from_f16(half), inverse = scale != 0 && isfinite(scale) ? 1 / scale : 0;
    for (int i = 0; i < GATUN__BLOCK; i++) {
        const float x = inverse == 0 ? 0 : rintf(w[i] * inverse), high = four_bits ? 7 : 127,
                    low = four_bits ? -8 : -127;
        q[i] = (int8_t)(x > high ? high : x < low ? low : x);
    }
    return half;
}

static void pack_blocks(const packing *p, int64_t column, char *panel) {
    const int four_bits = p->desc->format == GATUN_WEIGHTS_Q4_0;
    const int64_t columns = p->desc->out_features - column;
    memset(panel, 0, (size_t)p->panel_bytes);
    for (int64_t k = 0; k < p->desc->in_features; k += GATUN__BLOCK) {
        uint16_t *scales = (uint16_t *)(void *)panel;
        uint8_t *to = (uint8_t *)panel + GATUN__BLOCK_SCALES;
        for (int64_t c = 0; c < PANEL && c < columns; c++) {
            int8_t q[GATUN__BLOCK];
            scales[c] = make_block(p, k, column + c, q);
            for (int i = 0; i < GATUN__BLOCK; i++) {
                if (!four_bits)
                    to[i / 4 * PANEL * 4 + c * 4 + i % 4] = (uint8_t)(q[i] + 128);
                else
                    to[i % 16 / 4 * PANEL * 4 + c * 4 + i % 4] |= (uint8_t)((q[i] + 8) << (i < 16 ? 0 : 4));
            }
        }
        panel += four_bits ? GATUN__Q4_BLOCK_BYTES : GATUN__Q8_BLOCK_BYTES;
    }
}

static void pack_panel(void *argument, const gatun__turn *turn) {
    const packing *p = argument;
    char *panel = p->packed + GATUN__PACKED_HEADER + turn->index * p->panel_bytes;
    if (p->desc->format == GATUN_WEIGHTS_I8)
        pack_i8(p, turn->index * PANEL, panel);
    else if (p->desc->format == GATUN_WEIGHTS_Q8_0 || p->desc->format == GATUN_WEIGHTS_Q4_0)
        pack_blocks(p, turn->index * PANEL, panel);
    else
        pack_floats(p, turn->index * PANEL, panel);
}

int32_t gatun_pack(gatun_context *context, const gatun_pack_desc *d, const void *source, const float *scales,
    void *packed, int64_t packed_size, char *message, int64_t message_size) {
    int32_t status = gatun__context_usable(context);
    if (status != GATUN_OK)
        return gatun__fail(status, message, message_size, "context: %s", gatun_status_string(status));
    int64_t bytes;
    TRY(gatun_pack_size(d, &bytes, message, message_size));
    const uintptr_t alignment = alignment_of(d->dtype);
    status = gatun__pointer_check(source, 1, alignment);
    if (status != GATUN_OK)
        return gatun__fail(
            status, message, message_size, "source: expected weights aligned to %d, got %p", (int)alignment, source);
    if ((scales != NULL) != (d->dtype == GATUN_DTYPE_I8))
        return gatun__fail(scales == NULL ? GATUN_E_NULL : GATUN_E_INVALID, message, message_size,
            "scales: expected them with GATUN_DTYPE_I8 and only then, got %p", (const void *)scales);
    status = gatun__pointer_check(scales, 0, _Alignof(float));
    if (status != GATUN_OK)
        return gatun__fail(status, message, message_size, "scales: expected floats, got %p", (const void *)scales);
    status = gatun__pointer_check(packed, 1, 64);
    if (status != GATUN_OK)
        return gatun__fail(status, message, message_size, "packed: expected memory aligned to 64, got %p", packed);
    if (packed_size < bytes)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "packed_size: expected at least %lld, got %lld",
            (long long)bytes, (long long)packed_size);
    const int64_t last = (d->in_features - 1) * d->in_stride + (d->out_features - 1) * d->out_stride;
    const gatun__range from = {(uintptr_t)source, (uintptr_t)source + (uintptr_t)bytes_of(d->dtype, last + 1)};
    const gatun__range with = {(uintptr_t)scales, (uintptr_t)(scales == NULL ? NULL : scales + d->out_features)};
    const gatun__range to = {(uintptr_t)packed, (uintptr_t)packed + (uintptr_t)bytes};
    if (gatun__ranges_meet(&from, &to) || gatun__ranges_meet(&with, &to))
        return gatun__fail(
            GATUN_E_OVERLAP, message, message_size, "packed: expected memory that source and scales do not share");
    packing p = {.desc = d,
        .source = source,
        .scales = scales,
        .packed = packed,
        .panel_bytes = gatun__panel_bytes(d->format, d->in_features)};
    const gatun__packed_header header = gatun__packed_header_of(d->format, d->in_features, d->out_features);
    memcpy(packed, &header, sizeof header);
    const double weights = (double)d->in_features * (double)d->out_features; /* about a nanosecond each */
    gatun__context_run(context, d->max_threads, gatun__divide_up(d->out_features, PANEL),
        weights < 1e15 ? (int64_t)weights : INT64_MAX / 2, pack_panel, &p);
    return GATUN_OK;
}
