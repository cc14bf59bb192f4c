/*
 * Fuzz target for products with packed weights: the bytes of an input become sizes, a format, strides, what follows the
 * product, and hostile changes of descriptors and of packed bytes.
 *
 * A layer that is as it should be is within the bound of the reference on every set of kernels, with the same bits for
 * any number of threads and where out is the residual, and writes nothing but out's elements. A descriptor that is
 * refused is refused alike by all that take it, without a look at any memory. Packed weights whose bytes have changed
 * are refused, or multiplied without touching what is not theirs. Anything else ends the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/packed_layer.h"
#include "target.h"

/* The first byte's bits, and the format. */
enum { MANY_INPUTS = 1, MANY_OUTPUTS = 2, MANY_ROWS = 4, HOSTILE_DESC = 8, HOSTILE_BYTES = 16 };

const fuzz_kind fuzz_kinds[] = {{"f32", {0, GATUN_WEIGHTS_F32}}, {"bf16", {0, GATUN_WEIGHTS_BF16}},
    {"f16", {0, GATUN_WEIGHTS_F16}}, {"i8", {0, GATUN_WEIGHTS_I8}}, {"q8_0", {0, GATUN_WEIGHTS_Q8_0}},
    {"q4_0", {0, GATUN_WEIGHTS_Q4_0}}, {"long-f32", {MANY_INPUTS, GATUN_WEIGHTS_F32}},
    {"long-i8", {MANY_INPUTS, GATUN_WEIGHTS_I8}}, {"wide-bf16", {MANY_OUTPUTS, GATUN_WEIGHTS_BF16}},
    {"rows-i8", {MANY_ROWS, GATUN_WEIGHTS_I8}}, {"hostile-desc", {HOSTILE_DESC, GATUN_WEIGHTS_I8}},
    {"hostile-bytes", {HOSTILE_BYTES, GATUN_WEIGHTS_Q4_0}},
    {"hostile-both", {HOSTILE_DESC | HOSTILE_BYTES, GATUN_WEIGHTS_BF16}}, {NULL, {0, 0}}};

static void stop_if_failed(void) {
    if (test_failures() > 0) {
        abort();
    }
}

static layer_shape build(stream *s, uint64_t mode) {
    layer_shape shape = {.format = GATUN_WEIGHTS_F32 + (int32_t)((take(s, 1) + LAST_WEIGHTS - 1) % LAST_WEIGHTS)};
    shape.in = 1 + below(s, mode & MANY_INPUTS ? 1500 : 200);
    shape.out = 1 + below(s, mode & MANY_OUTPUTS ? 400 : 100);
    shape.rows = below(s, mode & MANY_ROWS ? 70 : 12);
    shape.gap = below(s, 4) == 0 ? below(s, 40) : 0;
    shape.activation = (int32_t)below(s, GATUN_ACTIVATION_SILU + 1);
    const uint64_t bits = take(s, 1);
    shape.biased = bits & 1;
    shape.gated = bits & 2;
    shape.residual = bits & 4;
    shape.from_columns = bits & 8;
    return shape;
}

/* The layer with its residual in out, which then has the bits that out has with the residual elsewhere. */
static void run_in_place(layer *l) {
    matrix want = l->out;
    const float *residual = l->residual_data;
    l->out = matrix_create("out, the residual", l->shape.rows, l->shape.out, l->shape.gap, GUARD_AFTER);
    for (int64_t r = 0; r < l->shape.rows; r++) {
        memcpy(at(&l->out, r, 0), at(&l->residual, r, 0), (size_t)l->shape.out * sizeof(float));
    }
    gatun_packed_linear_desc desc = l->desc;
    desc.residual_row = desc.out_row;
    CHECK_STATUS(gatun_packed_linear(l->context, &desc, l->workspace.data, l->workspace.bytes, l->packed.data,
                     l->packed.bytes, l->x.data, l->bias_data, l->gate_data, l->out.data, l->out.data),
        GATUN_OK);
    CHECK(same_elements(&l->out, &want), "%s: other bits where out is the residual", l->name);
    guarded_destroy(&l->out.memory);
    l->out = want;
    l->residual_data = residual;
}

static void run_layer(layer *l) {
    static const int32_t threads[] = {1, 3, 0};
    float *first = NULL, *before = test_allocate(l->out.memory.bytes);
    memset(before, 0xff, (size_t)l->out.memory.bytes); /* as layer_run() leaves what is no element */
    for (int n = 0; n < 3; n++) {
        CHECK_STATUS(layer_run(l, threads[n]), GATUN_OK);
        CHECK(only_elements_written(&l->out, before) && guarded_intact(&l->workspace),
            "%s: memory that is no output was written", l->name);
        stop_if_failed();
        if (first == NULL) {
            layer_check(l);
            first = copy_of(&l->out);
        }
        CHECK(memcmp(first, l->out.data, (size_t)l->out.memory.bytes) == 0, "%s: other bits with %d threads", l->name,
            (int)threads[n]);
    }
    if (l->shape.residual && l->shape.rows > 0) {
        run_in_place(l);
    }
    free(first);
    free(before);
}

/* All that take a descriptor say the same of it; refused ones are refused before any tensor is looked at. */
static void run_hostile_desc(layer *l, stream *s) {
    gatun_packed_linear_desc desc = l->desc;
    for (int64_t n = 1 + below(s, 2); n > 0; n--) {
        const int64_t value = hostile(s);
        const bool small = below(s, 3) == 0;
        const int64_t width = small ? 4 : 8, at = below(s, (int64_t)sizeof desc / width);
        memcpy((uint8_t *)&desc + at * width, &value, (size_t)width);
    }
    if (desc.struct_size > sizeof desc) { /* that says that there is more of it */
        desc.struct_size = sizeof desc;
    }
    char message[200] = "";
    int64_t bytes = 0;
    const int32_t status = gatun_packed_linear_check(l->context, &desc, message, sizeof message);
    if (status == GATUN_OK) {
        return;
    }
    CHECK(strlen(message) >= 5, "no message for status %d", (int)status);
    CHECK_STATUS(gatun_packed_linear_workspace_size(l->context, &desc, &bytes), status);
    static guarded nothing;
    if (nothing.map == NULL) {
        guarded_create(&nothing, "a tensor of a refused call", 0, 1 << 20, GUARD_AFTER);
    }
    float *tensor = (float *)(void *)nothing.data;
    static _Alignas(64) uint8_t workspace[64];
    CHECK_STATUS(gatun_packed_linear(l->context, &desc, workspace, INT64_MAX, l->packed.data, l->packed.bytes, tensor,
                     NULL, NULL, NULL, tensor),
        status);
}

/* Bytes of a file that somebody has damaged: most of the changes are in the header. */
static void run_hostile_bytes(layer *l, stream *s) {
    guarded_protect(&l->packed, false);
    for (int64_t n = 1 + below(s, 4); n > 0; n--) {
        const int64_t at = below(s, 4) != 0 ? below(s, 64) : (int64_t)take(s, 4) % l->packed.bytes;
        l->packed.data[at] = (uint8_t)take(s, 1);
    }
    guarded_protect(&l->packed, true);
    char message[200] = "";
    gatun_packed_info info = {.struct_size = sizeof info};
    const int32_t status = gatun_packed_check(l->packed.data, l->packed.bytes, &info, message, sizeof message);
    CHECK(status == GATUN_OK || status == GATUN_E_INVALID || status == GATUN_E_UNSUPPORTED, "status %d", (int)status);
    CHECK(status == GATUN_OK || strlen(message) >= 5, "no message for status %d", (int)status);
    const int32_t ran = layer_run(l, 1);
    const bool same =
        info.format == l->shape.format && info.in_features == l->shape.in && info.out_features == l->shape.out;
    if (status == GATUN_OK && same) {
        CHECK_STATUS(ran, GATUN_OK);
    } else {
        CHECK(ran != GATUN_OK && (status == GATUN_OK || ran == status), "%s: status %d of weights with status %d",
            l->name, (int)ran, (int)status);
    }
    CHECK(guarded_intact(&l->out.memory) && guarded_intact(&l->workspace), "%s: memory beside was written", l->name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    stream s = {data, size, 0};
    const uint64_t mode = take(&s, 1);
    const layer_shape shape = build(&s, mode);
    static kernel_set sets[MAX_KERNEL_SETS];
    static int count;
    if (count == 0) {
        count = kernel_sets(sets);
    }
    for (int k = 0; k < count; k++) {
        stream rest = s;
        layer l = layer_create(&shape, &sets[k]);
        stop_if_failed();
        run_layer(&l);
        if (mode & HOSTILE_DESC) {
            run_hostile_desc(&l, &rest);
        }
        if (mode & HOSTILE_BYTES) {
            run_hostile_bytes(&l, &rest);
        }
        stop_if_failed();
        layer_destroy(&l);
    }
    return 0;
}
