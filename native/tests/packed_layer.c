#include "packed_layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

static const char *const format_names[] = {"", "f32", "bf16", "f16", "i8", "q8_0", "q4_0"};

bool format_is_integer(int32_t format) {
    return format >= GATUN_WEIGHTS_I8;
}

bool format_has_blocks(int32_t format) {
    return format == GATUN_WEIGHTS_Q8_0 || format == GATUN_WEIGHTS_Q4_0;
}

static gatun_context *alone[MAX_TIERS + 1];

static void destroy_alone(void) {
    for (int t = 0; t <= MAX_TIERS; t++) {
        gatun_context_destroy(alone[t]);
        alone[t] = NULL;
    }
}

int kernel_sets(kernel_set sets[MAX_KERNEL_SETS]) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    int count = 0;
    for (int t = 0; t < tier_count; t++) {
        kernel_set *set = &sets[count++];
        *set = (kernel_set){.tier = tiers[t], .context = shared_context(tiers[t])};
        gatun_info info = {.struct_size = sizeof info};
        gatun_context_info(set->context, &info);
        snprintf(set->name, sizeof set->name, "%s, features %llu", gatun_tier_name(tiers[t]),
            (unsigned long long)info.features);
        if (info.features == 0) {
            continue;
        }
        if (alone[tiers[t]] == NULL) {
            const gatun_config config = {.struct_size = sizeof config,
                .threads = SHARED_THREADS,
                .tier = tiers[t],
                .flags = GATUN_CONFIG_TIER_ALONE};
            CHECK_STATUS(gatun_context_create(&config, &alone[tiers[t]], NULL, 0), GATUN_OK);
            atexit(destroy_alone);
        }
        sets[count] = (kernel_set){.tier = tiers[t], .flags = GATUN_CONFIG_TIER_ALONE, .context = alone[tiers[t]]};
        snprintf(sets[count].name, sizeof sets[count].name, "%s alone", gatun_tier_name(tiers[t]));
        count++;
    }
    return count;
}

gatun_pack_desc pack_desc(const layer *l) {
    const layer_shape *s = &l->shape;
    return (gatun_pack_desc){.struct_size = sizeof(gatun_pack_desc),
        .format = s->format,
        .dtype = GATUN_DTYPE_F32,
        .in_features = s->in,
        .out_features = s->out,
        .in_stride = s->from_columns ? 1 : s->out + s->gap,
        .out_stride = s->from_columns ? s->in + s->gap : 1};
}

static float *source_at(const layer *l, int64_t in, int64_t out) {
    const gatun_pack_desc d = pack_desc(l);
    return (float *)(void *)l->source.data + in * d.in_stride + out * d.out_stride;
}

static void make_weights(layer *l, rng *random) {
    const layer_shape *s = &l->shape;
    const gatun_pack_desc d = pack_desc(l);
    guarded_create(&l->source, "weights",
        ((s->in - 1) * d.in_stride + (s->out - 1) * d.out_stride + 1) * (int64_t)sizeof(float), 0, GUARD_AFTER);
    /* results of about N(0, 1), where activations bend */
    const float scale = 1 / sqrtf((float)s->in);
    for (int64_t i = 0; i < s->in; i++) {
        for (int64_t o = 0; o < s->out; o++) {
            *source_at(l, i, o) = scale * rng_normal(random);
        }
    }
    if (s->special != 0) {
        *source_at(l, s->special_in, s->special_out) = s->special;
    }
    guarded_protect(&l->source, true);
    int64_t bytes = 0;
    CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
    guarded_create(&l->packed, "packed weights", bytes, 0, GUARD_AFTER);
    char message[200] = "";
    const int32_t status =
        gatun_pack(l->context, &d, l->source.data, NULL, l->packed.data, bytes, message, sizeof message);
    CHECK(status == GATUN_OK && guarded_intact(&l->packed), "%s: gatun_pack: %s", l->name, message);
    guarded_protect(&l->packed, true);
}

layer layer_create(const layer_shape *s, const kernel_set *set) {
    layer l = {.shape = *s, .context = set->context};
    rng random = rng_make(test_seed(), (uint64_t)(s->rows * 1000003 + s->in * 1009 + s->out));
    snprintf(l.name, sizeof l.name,
        "%s, %lld rows, %lld > %lld, gap %lld, activation %d, bias %d, gate %d, residual %d, %s",
        format_names[s->format], (long long)s->rows, (long long)s->in, (long long)s->out, (long long)s->gap,
        (int)s->activation, s->biased, s->gated, s->residual, set->name);
    make_weights(&l, &random);
    l.x = matrix_random("x", s->rows, s->in, s->gap, GUARD_AFTER, 0, &random);
    l.out = matrix_create("out", s->rows, s->out, s->gap, GUARD_AFTER);
    l.gate = matrix_random("gate", s->rows, s->out, 2 * s->gap, GUARD_AFTER, 0, &random);
    l.residual = matrix_random("residual", s->rows, s->out, 3 * s->gap, GUARD_AFTER, 0, &random);
    guarded_create(&l.bias, "bias", s->out * (int64_t)sizeof(float), 0, GUARD_AFTER);
    for (int64_t o = 0; o < s->out; o++) {
        ((float *)(void *)l.bias.data)[o] = rng_normal(&random);
    }
    guarded_protect(&l.x.memory, true);
    guarded_protect(&l.gate.memory, true);
    guarded_protect(&l.residual.memory, true);
    guarded_protect(&l.bias, true);
    l.bias_data = s->biased ? (const float *)(void *)l.bias.data : NULL;
    l.gate_data = s->gated ? l.gate.data : NULL;
    l.residual_data = s->residual ? l.residual.data : NULL;
    l.desc = (gatun_packed_linear_desc){.struct_size = sizeof l.desc,
        .format = s->format,
        .activation = s->activation,
        .rows = s->rows,
        .in_features = s->in,
        .out_features = s->out,
        .x_row = l.x.row,
        .out_row = l.out.row,
        .gate_row = s->gated ? l.gate.row : 0,
        .residual_row = s->residual ? l.residual.row : 0};
    int64_t bytes = 0;
    CHECK_STATUS(gatun_packed_linear_workspace_size(l.context, &l.desc, &bytes), GATUN_OK);
    guarded_create(&l.workspace, "workspace", bytes, 0, GUARD_AFTER);
    return l;
}

void layer_destroy(layer *l) {
    guarded_destroy(&l->source);
    guarded_destroy(&l->packed);
    guarded_destroy(&l->workspace);
    guarded_destroy(&l->bias);
    guarded_destroy(&l->x.memory);
    guarded_destroy(&l->gate.memory);
    guarded_destroy(&l->residual.memory);
    guarded_destroy(&l->out.memory);
}

int32_t layer_run(layer *l, int32_t max_threads) {
    memset(l->out.data, 0xff, (size_t)l->out.memory.bytes);
    l->desc.max_threads = max_threads;
    return gatun_packed_linear(l->context, &l->desc, l->workspace.data, l->workspace.bytes, l->packed.data,
        l->packed.bytes, l->x.data, l->bias_data, l->gate_data, l->residual_data, l->out.data);
}

float round_to(float x, int bits, int least_exponent) {
    if (x == 0 || !isfinite(x)) {
        return x;
    }
    int exponent;
    frexpf(x, &exponent);
    exponent = exponent - 1 < least_exponent ? least_exponent : exponent - 1;
    const double step = ldexp(1, exponent - bits);
    return (float)(nearbyint((double)x / step) * step);
}

/* Panels of 48 columns: 48 scales, 48 sums, then bytes [in / 4][48][4]. */
static const char *i8_panel(const layer *l, int64_t out) {
    const int64_t panel_bytes = 48 * 8 + (l->shape.in + 3) / 4 * 48 * 4;
    return (const char *)l->packed.data + 64 + out / 48 * panel_bytes;
}

static float i8_scale(const layer *l, int64_t out) {
    return ((const float *)(const void *)i8_panel(l, out))[out % 48];
}

static int i8_weight(const layer *l, int64_t in, int64_t out) {
    return ((const int8_t *)i8_panel(l, out))[48 * 8 + in / 4 * 48 * 4 + out % 48 * 4 + in % 4];
}

static float from_half(uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const float value = exponent == 31
                            ? mantissa == 0 ? INFINITY : NAN
                            : ldexpf((float)((exponent > 0 ? 1024 : 0) + mantissa), (exponent > 0 ? exponent : 1) - 25);
    return half >> 15 ? -value : value;
}

/* A block's scale and one of its weights, as the layout has them. */
static float block_weight(const layer *l, int64_t in, int64_t out, float *scale) {
    const bool four = l->shape.format == GATUN_WEIGHTS_Q4_0;
    const int64_t block_bytes = 96 + (four ? 16 : 32) * 48,
                  panel_bytes = ((l->shape.in + 31) / 32 * block_bytes + 63) / 64 * 64;
    const uint8_t *block = l->packed.data + 64 + out / 48 * panel_bytes + in / 32 * block_bytes;
    uint16_t half;
    memcpy(&half, block + out % 48 * 2, sizeof half);
    *scale = from_half(half);
    const int64_t i = in % 32;
    if (!four) {
        return (float)(block[96 + i / 4 * 192 + out % 48 * 4 + i % 4] - 128);
    }
    const uint8_t both = block[96 + i % 16 / 4 * 192 + out % 48 * 4 + i % 4];
    return (float)((i < 16 ? both & 15 : both >> 4) - 8);
}

float layer_weight(const layer *l, int64_t in, int64_t out) {
    const float w = *source_at(l, in, out);
    switch (l->shape.format) {
    case GATUN_WEIGHTS_BF16:
        return round_to(w, 7, -126);
    case GATUN_WEIGHTS_F16:
        return round_to(w, 10, -14);
    case GATUN_WEIGHTS_I8:
        return i8_scale(l, out) * (float)i8_weight(l, in, out);
    case GATUN_WEIGHTS_Q8_0:
    case GATUN_WEIGHTS_Q4_0: {
        float scale;
        const float q = block_weight(l, in, out, &scale);
        return q * scale;
    }
    default:
        return w;
    }
}

typedef struct expected_sum {
    double sum, bound;
} expected_sum;

static expected_sum float_sum(const layer *l, const double *column, int64_t r) {
    double sum = 0, magnitude = 0;
    for (int64_t k = 0; k < l->shape.in; k++) {
        const double term = (double)*at(&l->x, r, k) * column[k];
        sum += term;
        magnitude += fabs(term);
    }
    /* What the header promises; on the portable tier products are rounded, too. */
    const double chain = l->shape.in < 512 ? (double)l->shape.in : 512;
    double bound = (2 * chain + (double)l->shape.in / 512 + 1) * 0x1p-24 * magnitude;
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(l->context, &info);
    if (l->shape.format == GATUN_WEIGHTS_BF16 && (info.features & (GATUN_FEATURE_BF16 | GATUN_FEATURE_AMX_BF16)) != 0) {
        bound += 0x1p-8 * magnitude;
    }
    return (expected_sum){sum, bound};
}

/* A row as the header describes it: integers, scale and zero point. */
typedef struct bytes_of_row {
    double scale;
    int zero;
    int q[4096];
} bytes_of_row;

static int descending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* What outliers are larger than, or the largest magnitude. */
static float rest_of(const layer *l, int64_t r) {
    float class[16] = {0}, most = 0;
    for (int64_t k = 0; k < l->shape.in; k++) {
        const float magnitude = fabsf(*at(&l->x, r, k));
        most = fmaxf(most, magnitude);
        if (k < l->shape.in / 16 * 16) {
            class[k % 16] = fmaxf(class[k % 16], magnitude);
        }
    }
    qsort(class, 16, sizeof class[0], descending);
    int different = 0, third = 0;
    for (int i = 1; i < 16 && different < 2; i++) {
        different += class[i] < class[i - 1];
        third = i;
    }
    if (different < 2 || most < 2 * class[third]) {
        return most;
    }
    const float rest = fmaxf(class[third], most / 128);
    int outliers = 0;
    for (int64_t k = 0; k < l->shape.in; k++) {
        outliers += fabsf(*at(&l->x, r, k)) > rest;
    }
    return outliers <= 8 ? rest : most;
}

static void quantize(const layer *l, int64_t r, bytes_of_row *row) {
    const float rest = rest_of(l, r);
    float low = 0, high = 0;
    for (int64_t k = 0; k < l->shape.in; k++) {
        low = fminf(low, fmaxf(*at(&l->x, r, k), -rest));
        high = fmaxf(high, fminf(*at(&l->x, r, k), rest));
    }
    const double range = (double)high - (double)low;
    if (range < 1e-36) {
        memset(row, 0, sizeof *row);
        return;
    }
    const float inverse = (float)(255 / range);
    row->scale = (double)(float)(range / 255);
    row->zero = (int)rintf(-low * inverse);
    for (int64_t k = 0; k < l->shape.in; k++) {
        const float x = *at(&l->x, r, k);
        const int q = (int)rintf(x * inverse) + row->zero;
        const bool outlier = fabsf(x) > rest;
        row->q[k] = q > 255 && !outlier ? 255 : q;
        const double back = (row->q[k] - row->zero) * row->scale;
        CHECK((outlier || q >= 0) && fabs(back - (double)x) <= 1.001 * row->scale, "%s: x[%lld][%lld] = %g became %d",
            l->name, (long long)r, (long long)k, (double)x, q);
    }
}

/* Blocks of 32, each with a scale; as one after the other is added. */
static void quantize_blocks(const layer *l, int64_t r, float *back) {
    for (int64_t begin = 0; begin < l->shape.in; begin += 32) {
        const int64_t end = begin + 32 < l->shape.in ? begin + 32 : l->shape.in;
        float most = 0;
        for (int64_t k = begin; k < end; k++) {
            most = fmaxf(most, fabsf(*at(&l->x, r, k)));
        }
        for (int64_t k = begin; k < end; k++) {
            back[k] = rintf(*at(&l->x, r, k) * (127 / most)) * (most / 127);
            CHECK(fabsf(back[k] - *at(&l->x, r, k)) <= 0.51f * most / 127, "%s: x[%lld][%lld]", l->name, (long long)r,
                (long long)k);
        }
    }
}

static void check_block_weights(const layer *l, int64_t c) {
    for (int64_t k = 0; k < l->shape.in; k++) {
        float scale;
        const float q = block_weight(l, k, c, &scale), w = *source_at(l, k, c);
        /* A scale below 2^-14 is off by up to 2^-25. Four bits have no +8: what lies opposite the largest may be off by a whole scale. */
        const float allowed = l->shape.format == GATUN_WEIGHTS_Q4_0 ? 1.01f : 0.56f;
        CHECK(fabsf(q * scale - w) <= allowed * fabsf(scale) + 127 * 0x1p-25f,
            "%s: weight %lld of column %lld, %g, became %g * %g", l->name, (long long)k, (long long)c, (double)w,
            (double)q, (double)scale);
    }
}

static expected_sum block_sum(const layer *l, const double *column, const float *back) {
    double sum = 0, magnitude = 0;
    for (int64_t k = 0; k < l->shape.in; k++) {
        sum += (double)back[k] * column[k];
        magnitude += fabs((double)back[k] * column[k]);
    }
    return (expected_sum){sum, ((double)l->shape.in / 32 + 6) * 0x1p-23 * magnitude};
}

/* The exact integers, then two roundings. */
static expected_sum i8_sum(const layer *l, const double *column, const bytes_of_row *row, int64_t c) {
    int64_t sum = 0;
    const double scale = (double)i8_scale(l, c);
    for (int64_t k = 0; k < l->shape.in; k++) {
        sum += (row->q[k] - row->zero) * (int64_t)i8_weight(l, k, c);
        CHECK(fabs((double)*source_at(l, k, c) - column[k]) <= 0.501 * scale,
            "%s: weight %lld of column %lld became %g", l->name, (long long)k, (long long)c, column[k]);
    }
    const double exact = (double)sum * row->scale * scale;
    return (expected_sum){exact, 3 * 0x1p-24 * fabs(exact)};
}

void layer_check(const layer *l) {
    const layer_shape *s = &l->shape;
    static double column[4096];
    static bytes_of_row rows[256];
    REQUIRE(s->in <= 4096 && s->rows <= 256, "%s: too large for this test", l->name);
    float *back = test_allocate(s->rows * s->in * (int64_t)sizeof(float));
    for (int64_t r = 0; r < s->rows; r++) {
        if (s->format == GATUN_WEIGHTS_I8) {
            quantize(l, r, &rows[r]);
        } else if (format_has_blocks(s->format)) {
            quantize_blocks(l, r, back + r * s->in);
        }
    }
    for (int64_t c = 0; c < s->out; c++) {
        for (int64_t k = 0; k < s->in; k++) {
            column[k] = (double)layer_weight(l, k, c);
        }
        if (format_has_blocks(s->format)) {
            check_block_weights(l, c);
        }
        for (int64_t r = 0; r < s->rows; r++) {
            const expected_sum product = s->format == GATUN_WEIGHTS_I8  ? i8_sum(l, column, &rows[r], c)
                                         : format_has_blocks(s->format) ? block_sum(l, column, back + r * s->in)
                                                                        : float_sum(l, column, r);
            const double bias = s->biased ? (double)l->bias_data[c] : 0;
            const double gate = s->gated ? (double)*at(&l->gate, r, c) : 1,
                         residual = s->residual ? (double)*at(&l->residual, r, c) : 0;
            const double z = product.sum + bias, activated = activation_exact(s->activation, z),
                         want = activated * gate + residual;
            /* No activation is steeper than 1.13 (GELU at the square root of 2), and four roundings follow. */
            double bound = 1.13 * (product.bound + 0x1p-24 * fabs(z));
            bound += s->activation > GATUN_ACTIVATION_RELU ? 5e-7 * fmax(1, fabs(z)) : 0;
            bound = bound * fabs(gate) + 0x1p-23 * (fabs(activated * gate) + fabs(want)) + 0x1p-140;
            const double got = (double)*at(&l->out, r, c);
            if (!(fabs(got - want) <= bound)) {
                test_fail(__FILE__, __LINE__, "%s: out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", l->name,
                    (long long)r, (long long)c, want, bound, got);
                return;
            }
        }
    }
    free(back);
}
