/*
 * Element loops over rows in float32, for every tier: normalization, activation, embedding, pooling, softmax, rotation. Included once by each
 * rows_f32_<tier>.c after its vectors. All are bound by memory or by the polynomials; registers do not run short.
 *
 * Axes: R rows, D dim. x, residual, gate, sum and out [R][D], bias, gamma and beta [D]; of rotation H heads and D head_dim, x and
 * out [R][H][D], cosines and sines [positions][rotary_dim / 2]; of pooling out [sequences][D].
 */
#include "gatun.h"
#include "kernels.h"

#include "../vectors/activations_f32.h"
#include "../vectors/softcap_f32.h"

#include <math.h>
#include <string.h>

INLINE void activation_rows(const int kind, const gatun__rows_task *t) {
    for (int64_t r = t->begin; r < t->end; r++) {
        const float *x = t->x + r * t->x_row, *gate = t->gate == NULL ? NULL : t->gate + r * t->gate_row;
        float *out = t->out + r * t->out_row;
        for (int64_t i = 0; i < t->dim; i += VW) {
            int64_t count = t->dim - i;
            vec a = load_up_to(x + i, count);
            if (t->bias != NULL)
                a = v_add(a, load_up_to(t->bias + i, count));
            if (t->softcap > 0)
                a = capped(a, t->softcap);
            a = activate(kind, a);
            if (gate != NULL)
                a = v_mul(a, load_up_to(gate + i, count));
            store_up_to(out + i, a, count);
        }
    }
}

void KERNEL(activation_f32)(const gatun__rows_task *t) {
    switch (t->activation) {
    case GATUN_ACTIVATION_RELU:
        activation_rows(GATUN_ACTIVATION_RELU, t);
        break;
    case GATUN_ACTIVATION_GELU:
        activation_rows(GATUN_ACTIVATION_GELU, t);
        break;
    case GATUN_ACTIVATION_GELU_TANH:
        activation_rows(GATUN_ACTIVATION_GELU_TANH, t);
        break;
    case GATUN_ACTIVATION_SILU:
        activation_rows(GATUN_ACTIVATION_SILU, t);
        break;
    case GATUN_ACTIVATION_QUICK_GELU:
        activation_rows(GATUN_ACTIVATION_QUICK_GELU, t);
        break;
    default:
        activation_rows(GATUN_ACTIVATION_NONE, t);
        break;
    }
}

INLINE float total_of(const vec part[4]) {
    float lanes[VW], total = 0;
    v_store(lanes, v_add(v_add(part[0], part[1]), v_add(part[2], part[3])));
    for (int i = 0; i < VW; i++)
        total += lanes[i];
    return total;
}

/* Lanes past the end of the row hold 0 when loaded; `offset` would make them count, so they are cleared again. */
INLINE vec centered(const float *p, int64_t count, vec offset) {
    vec a = v_sub(load_up_to(p, count), offset);
    if (count < VW) {
        float lanes[VW];
        v_store(lanes, a);
        a = v_load_some(lanes, (int32_t)count);
    }
    return a;
}

void KERNEL(norm_f32)(const gatun__rows_task *t) {
    for (int64_t r = t->begin; r < t->end; r++) {
        const float *x = t->x + r * t->x_row,
                    *residual = t->residual == NULL ? NULL : t->residual + r * t->residual_row;
        float *out = t->out + r * t->out_row, *sum = t->sum == NULL ? out : t->sum + r * t->sum_row;
        vec part[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int64_t i = 0, n = 0; i < t->dim; i += VW, n = (n + 1) & 3) {
            int64_t count = t->dim - i;
            vec a = load_up_to(x + i, count);
            if (t->bias != NULL)
                a = v_add(a, load_up_to(t->bias + i, count));
            if (residual != NULL)
                a = v_add(a, load_up_to(residual + i, count));
            store_up_to(sum + i, a, count);
            part[n] = v_add(part[n], a);
        }
        float mean = t->rms ? 0 : total_of(part) / (float)t->dim;
        const vec offset = v_set1(mean);
        part[0] = part[1] = part[2] = part[3] = v_zero();
        vec left[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int64_t i = 0, n = 0; i < t->dim; i += VW, n = (n + 1) & 3) {
            vec a = centered(sum + i, t->dim - i, offset);
            part[n] = v_fma(a, a, part[n]);
            left[n] = v_add(left[n], a);
        }
        /* What rounding left in the mean: all of the deviation, where a row is nearly constant. */
        float rest = t->rms ? 0 : total_of(left) / (float)t->dim;
        const vec further = v_set1(rest);
        float variance = total_of(part) / (float)t->dim - rest * rest;
        const vec factor = v_set1(1.0f / sqrtf((variance > 0 ? variance : 0) + t->epsilon));
        for (int64_t i = 0; i < t->dim; i += VW) {
            int64_t count = t->dim - i;
            vec a = v_mul(v_sub(v_sub(load_up_to(sum + i, count), offset), further), factor);
            vec gamma = load_up_to(t->gamma + i, count);
            a = t->beta != NULL ? v_fma(a, gamma, load_up_to(t->beta + i, count)) : v_mul(a, gamma);
            store_up_to(out + i, a, count);
        }
    }
}

/* quantized: whether any table is. VW elements of a row of a table, from i on, of which count are there: (u - zero) * scale, which is exact but for the product. */
INLINE vec entry(
    const int quantized, const gatun__embedding_task *t, int table, int64_t row, int64_t i, int64_t count) {
    const int64_t at = row * t->dim + i;
    if (!quantized || !t->quantized[table])
        return load_up_to((const float *)t->table[table] + at, count);
    const uint8_t *p = (const uint8_t *)t->table[table] + at;
    uint8_t some[VW] = {0};
    if (count < VW)
        p = memcpy(some, p, (size_t)count);
    return v_mul(v_sub(v_load_u8(p), v_set1(t->table_zero[table])), v_set1(t->table_scale[table]));
}

INLINE void embedding_rows(const int quantized, const gatun__embedding_task *t) {
    for (int64_t r = t->begin; r < t->end; r++) {
        float *out = t->out + r * t->out_row;
        int64_t row[3] = {0};
        for (int n = 0; n < 3 && t->table[n] != NULL; n++)
            row[n] = t->ids[n] == NULL ? 0 : gatun__load_within(&t->ids[n][r], 0, t->last[n]);
        for (int64_t i = 0; i < t->dim; i += VW) {
            const int64_t count = t->dim - i;
            vec a = entry(quantized, t, 0, row[0], i, count);
            if (t->scale != 1)
                a = v_mul(v_set1(t->scale), a);
            for (int n = 1; n < 3 && t->table[n] != NULL; n++)
                a = v_add(a, entry(quantized, t, n, row[n], i, count));
            store_up_to(out + i, a, count);
        }
    }
}

void KERNEL(embedding_f32)(const gatun__embedding_task *t) {
    if (t->quantized[0] || t->quantized[1] || t->quantized[2])
        embedding_rows(1, t);
    else
        embedding_rows(0, t);
}

enum { POOL_GROUP = 32 };

/* What is divided by, where rows first .. end - 1 of a sequence are summed. */
static double pool_divisor(int32_t pooling, int64_t first, int64_t end) {
    const double rows = (double)(end - first);
    if (first >= end || pooling == GATUN_POOL_MAX)
        return 1;
    if (pooling == GATUN_POOL_MEAN_SQRT_LENGTH)
        return sqrt(rows);
    return pooling == GATUN_POOL_WEIGHTED_MEAN ? rows * (double)(first + 1 + end) / 2 : rows;
}

INLINE void pool_row(const int32_t pooling, const float *x, double weight, int64_t count, double *total) {
    for (int64_t c = 0; c < count; c++) {
        const double value = (double)x[c];
        if (pooling == GATUN_POOL_MAX)
            total[c] = value > total[c] || value != value ? value : total[c];
        else
            total[c] += pooling == GATUN_POOL_WEIGHTED_MEAN ? weight * value : value;
    }
}

/* Of count columns from i on: the sum over the rows first .. end - 1 of a sequence, or their maximum. */
INLINE void pool_rows(const int32_t pooling, const gatun__rows_task *t, int64_t start, int64_t first, int64_t end,
    int64_t i, int64_t count, double *total) {
    if (pooling == GATUN_POOL_MAX && first < end)
        for (int64_t c = 0; c < count; c++)
            total[c] = -INFINITY;
    for (int64_t r = first; r < end; r++) {
        const float *x = t->x + (start + r) * t->x_row + i;
        if (count == POOL_GROUP)
            pool_row(pooling, x, (double)(r + 1), POOL_GROUP, total);
        else
            pool_row(pooling, x, (double)(r + 1), count, total);
    }
}

/* Column by column in groups that stay in registers; doubles, so that long sequences lose nothing. */
void KERNEL(pool_f32)(const gatun__rows_task *t) {
    for (int64_t b = t->begin; b < t->end; b++) {
        const int64_t start = gatun__load_within(&t->offsets[b], 0, t->total);
        const int64_t length = gatun__load_within(&t->offsets[b + 1], start, t->total) - start;
        int64_t first = t->pooling == GATUN_POOL_FIRST ? 0 : t->skip, end = length;
        if (t->pooling == GATUN_POOL_FIRST && length > 0)
            end = 1;
        if (t->pooling == GATUN_POOL_LAST && first < length)
            first = length - 1;
        const double divisor = pool_divisor(t->pooling, first, end);
        float *out = t->out + b * t->out_row;
        double squares = 0;
        for (int64_t i = 0; i < t->dim; i += POOL_GROUP) {
            double total[POOL_GROUP] = {0};
            int64_t count = t->dim - i < POOL_GROUP ? t->dim - i : POOL_GROUP;
            if (t->pooling == GATUN_POOL_MAX)
                pool_rows(GATUN_POOL_MAX, t, start, first, end, i, count, total);
            else if (t->pooling == GATUN_POOL_WEIGHTED_MEAN)
                pool_rows(GATUN_POOL_WEIGHTED_MEAN, t, start, first, end, i, count, total);
            else
                pool_rows(GATUN_POOL_MEAN, t, start, first, end, i, count, total);
            for (int64_t c = 0; c < count; c++) {
                double pooled = total[c] / divisor;
                squares += pooled * pooled;
                out[i + c] = (float)pooled;
            }
        }
        if (t->normalize && squares > 0) {
            double inverse = 1.0 / sqrt(squares);
            for (int64_t i = 0; i < t->dim; i++)
                out[i] = (float)((double)out[i] * inverse);
        }
    }
}

/* Lanes past the end of the row are -inf when loaded: no maximum, and nothing to a sum. */
INLINE vec load_or_least(const float *p, int64_t count) {
    if (count >= VW)
        return v_load(p);
    float lanes[VW];
    v_store(lanes, v_set1(-INFINITY));
    for (int64_t i = 0; i < count; i++)
        lanes[i] = p[i];
    return v_load(lanes);
}

/* Float sums of CHUNK vectors, eight to each part, go on in double: no sum grows biased with the length of the row. */
static double exponentials(const float *x, float *out, int64_t dim, float reference) {
    enum { CHUNK = 32 };
    const vec offset = v_set1(reference), log2e = v_set1(1.44269504f);
    double totals[VW] = {0};
    for (int64_t begin = 0; begin < dim; begin += CHUNK * VW) {
        int64_t end = dim - begin < CHUNK * VW ? dim : begin + CHUNK * VW;
        vec part[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int64_t i = begin, n = 0; i < end; i += VW, n = (n + 1) & 3) {
            vec p = v_exp2(v_mul(v_sub(load_or_least(x + i, end - i), offset), log2e));
            part[n] = v_add(part[n], p);
            if (out != NULL)
                store_up_to(out + i, p, end - i);
        }
        float lanes[VW];
        v_store(lanes, v_add(v_add(part[0], part[1]), v_add(part[2], part[3])));
        for (int i = 0; i < VW; i++)
            totals[i] += (double)lanes[i];
    }
    double total = 0;
    for (int i = 0; i < VW; i++)
        total += totals[i];
    return total;
}

void KERNEL(softmax_f32)(const gatun__rows_task *t) {
    for (int64_t r = t->begin; r < t->end; r++) {
        const float *x = t->x + r * t->x_row;
        float *out = t->out + r * t->out_row;
        vec most[4];
        most[0] = most[1] = most[2] = most[3] = v_set1(-INFINITY);
        for (int64_t i = 0, n = 0; i < t->dim; i += VW, n = (n + 1) & 3)
            most[n] = v_max(most[n], load_or_least(x + i, t->dim - i));
        float lanes[VW], maximum = -INFINITY;
        v_store(lanes, v_max(v_max(most[0], most[1]), v_max(most[2], most[3])));
        for (int i = 0; i < VW; i++)
            maximum = lanes[i] > maximum ? lanes[i] : maximum;
        /* A NaN may be lost here, but not in the sum. Where nothing but -inf has been seen, -inf - 0 stays what it is. */
        float reference = maximum == -INFINITY ? 0 : maximum;
        double sum = exponentials(x, t->logarithm ? NULL : out, t->dim, reference);
        const vec offset = v_set1(reference);
        const vec logarithm = v_set1(sum == 0 ? 0 : (float)log(sum));
        const vec inverse = v_set1(sum == 0 ? 0 : (float)(1.0 / sum));
        for (int64_t i = 0; i < t->dim; i += VW) {
            int64_t count = t->dim - i;
            vec a = t->logarithm ? v_sub(v_sub(load_up_to(x + i, count), offset), logarithm)
                                 : v_mul(load_up_to(out + i, count), inverse);
            store_up_to(out + i, a, count);
        }
    }
}

/* Pairs a[n], b[n]; both are read before either is written, so that out may be x. */
INLINE void rotate_halves(const float *x, const float *cosines, const float *sines, float *out, int64_t half) {
    for (int64_t i = 0; i < half; i += VW) {
        int64_t count = half - i;
        vec a = load_up_to(x + i, count), b = load_up_to(x + half + i, count);
        vec c = load_up_to(cosines + i, count), s = load_up_to(sines + i, count);
        store_up_to(out + i, v_sub(v_mul(a, c), v_mul(b, s)), count);
        store_up_to(out + half + i, v_add(v_mul(b, c), v_mul(a, s)), count);
    }
}

/* By way of arrays of its own, so that the compiler may use vectors where out is x. */
INLINE void rotate_neighbors(const float *x, const float *cosines, const float *sines, float *out, int64_t half) {
    enum { PART = 32 };
    for (int64_t begin = 0; begin < half; begin += PART) {
        int64_t count = half - begin < PART ? half - begin : PART;
        float in[2 * PART] = {0}, rotated[2 * PART], c[PART] = {0}, s[PART] = {0};
        memcpy(in, x + 2 * begin, (size_t)count * 2 * sizeof(float));
        memcpy(c, cosines + begin, (size_t)count * sizeof(float));
        memcpy(s, sines + begin, (size_t)count * sizeof(float));
        for (int i = 0; i < PART; i++) {
            rotated[2 * i] = in[2 * i] * c[i] - in[2 * i + 1] * s[i];
            rotated[2 * i + 1] = in[2 * i + 1] * c[i] + in[2 * i] * s[i];
        }
        memcpy(out + 2 * begin, rotated, (size_t)count * 2 * sizeof(float));
    }
}

void KERNEL(rotary_f32)(const gatun__rotary_task *t) {
    const int64_t half = t->rotary_dim / 2;
    for (int64_t r = t->begin; r < t->end; r++) {
        const int64_t entry = gatun__load_within(&t->positions[r], 0, t->table_rows - 1) * half;
        const float *cosines = t->cosines + entry, *sines = t->sines + entry;
        for (int64_t h = 0; h < t->heads; h++) {
            const float *x = t->x + r * t->x_row + h * t->x_head;
            float *out = t->out + r * t->out_row + h * t->out_head;
            if (t->interleaved)
                rotate_neighbors(x, cosines, sines, out, half);
            else
                rotate_halves(x, cosines, sines, out, half);
            if (out != x)
                memcpy(out + t->rotary_dim, x + t->rotary_dim, (size_t)(t->head_dim - t->rotary_dim) * sizeof(float));
        }
    }
}
