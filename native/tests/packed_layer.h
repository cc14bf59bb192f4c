/* Layers with packed weights in guarded memory, and what they have to compute. */
#ifndef GATUN_TESTS_PACKED_LAYER_H
#define GATUN_TESTS_PACKED_LAYER_H

#include "gatun.h"
#include "guarded.h"
#include "harness.h"
#include "rows.h"

enum { LAST_WEIGHTS = GATUN_WEIGHTS_Q4_0 };

/* A tier, with what this CPU has beyond it or without. */
typedef struct kernel_set {
    int32_t tier;
    uint32_t flags; /* of gatun_config */
    gatun_context *context;
    char name[40];
} kernel_set;

enum { MAX_KERNEL_SETS = 2 * MAX_TIERS };

/* All that can run here; their contexts are shared, and destroyed at the end. */
int kernel_sets(kernel_set sets[MAX_KERNEL_SETS]);

typedef struct layer_shape {
    int32_t format;
    int64_t rows, in, out, gap; /* between rows of everything, and of the source */
    int32_t activation;
    bool biased, gated, residual;
    bool from_columns; /* the source is [out, in] */
    float special;     /* unless 0, the weight of special_in and special_out */
    int64_t special_in, special_out;
} layer_shape;

typedef struct layer {
    layer_shape shape;
    gatun_packed_linear_desc desc;
    gatun_context *context;
    guarded source, packed, workspace, bias;
    matrix x, gate, residual, out;
    const float *bias_data, *gate_data, *residual_data; /* NULL where there is none */
    char name[160];
} layer;

/* Rows of x become integers: NaN and Inf in them, or in a weight, are NaN in what depends on them. */
bool format_is_integer(int32_t format);
bool format_has_blocks(int32_t format);

/* The same values for the same sizes, whatever the strides. */
layer layer_create(const layer_shape *shape, const kernel_set *set);
void layer_destroy(layer *l);

gatun_pack_desc pack_desc(const layer *l);

/* The nearest float of so many bits of mantissa whose exponent is least_exponent at least; ties to even. */
float round_to(float x, int bits, int least_exponent);

/* out is filled with NaN before. */
int32_t layer_run(layer *l, int32_t max_threads);

/* The weight that is computed with, what the format makes of the source's: bf16 and f16 by other means than the library's, int8
 * by the bytes that it packed. */
float layer_weight(const layer *l, int64_t in, int64_t out);

/* Every element of out against the reference; the first one beyond its bound is a failure. */
void layer_check(const layer *l);

#endif
