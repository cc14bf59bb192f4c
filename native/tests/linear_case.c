#include "linear_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is(const linear_case *c, uint32_t flag) {
    return (c->desc.flags & flag) != 0;
}

static float *floats(guarded *memory, const char *name, int64_t count, guarded_end end) {
    guarded_create(memory, name, count * (int64_t)sizeof(float), 0, end);
    return (float *)(void *)memory->data;
}

static void set_strides(int64_t stride[3], const linear_case *c, int64_t seq, int64_t heads, int64_t dim) {
    const bool ragged = is(c, GATUN_LINEAR_ATTENTION_RAGGED);
    stride[0] = ragged ? 0 : seq * heads * dim;
    stride[1] = c->shape.heads_first && !ragged ? dim : heads * dim;
    stride[2] = c->shape.heads_first && !ragged ? seq * dim : dim;
}

void linear_span(const linear_case *c, int64_t b, int64_t *row, int64_t *rows, int64_t *key, int64_t *keys) {
    *row = *key = 0;
    *rows = c->shape.rows;
    *keys = c->shape.lengths ? c->lengths[b] : c->shape.keys;
    if (is(c, GATUN_LINEAR_ATTENTION_RAGGED)) {
        const int32_t *k = is(c, GATUN_LINEAR_ATTENTION_CAUSAL) ? c->cu_q : c->cu_k;
        *row = c->cu_q[b];
        *rows = c->cu_q[b + 1] - *row;
        *key = k[b];
        *keys = k[b + 1] - *key;
    }
}

static float *element(
    const linear_case *c, float *x, const int64_t stride[3], int64_t b, int64_t i, int64_t h, bool keys) {
    int64_t row, rows, key, count;
    linear_span(c, b, &row, &rows, &key, &count);
    return x + b * stride[0] + ((keys ? key : row) + i) * stride[1] + h * stride[2];
}

float *linear_out(const linear_case *c, int64_t b, int64_t i, int64_t h) {
    return element(c, c->out, c->desc.out_stride, b, i, h, false);
}
float *linear_q(const linear_case *c, int64_t b, int64_t i, int64_t g) {
    return element(c, c->q, c->desc.q_stride, b, i, g, false);
}
float *linear_k(const linear_case *c, int64_t b, int64_t j, int64_t g) {
    return element(c, c->k, c->desc.k_stride, b, j, g, true);
}
float *linear_v(const linear_case *c, int64_t b, int64_t j, int64_t g) {
    return element(c, c->v, c->desc.v_stride, b, j, g, true);
}

linear_case linear_create(const linear_shape *s, gatun_context *context, uint64_t number) {
    linear_case c = {.shape = *s,
        .desc = {.struct_size = sizeof c.desc,
            .flags = s->flags,
            .feature_map = s->map,
            .form = s->form,
            .scale = (s->flags & GATUN_LINEAR_ATTENTION_SCALE) != 0 ? 0.3f : 0,
            .batch = s->batch,
            .heads = s->heads,
            .query_heads = s->query_heads,
            .key_heads = s->key_heads,
            .value_heads = s->value_heads,
            .seq_q = s->rows,
            .seq_k = s->keys,
            .head_dim = s->head_dim,
            .head_dim_v = s->head_dim_v,
            .features = s->features}};
    rng random = rng_make(test_seed(), number);
    int64_t all_rows = s->batch * s->rows, all_keys = s->batch * s->keys;
    if (is(&c, GATUN_LINEAR_ATTENTION_RAGGED)) {
        c.cu_q[0] = c.cu_k[0] = 2;               /* rows before the first sequence are nobody's */
        for (int64_t b = 0; b < s->batch; b++) { /* the longest, an empty one, others */
            c.cu_q[b + 1] = c.cu_q[b] + (int32_t)(b == 0 ? s->rows : b == 1 ? 0 : rng_between(&random, 1, s->rows));
            c.cu_k[b + 1] = c.cu_k[b] + (int32_t)(b == 0 ? s->keys : b == 2 ? 0 : rng_between(&random, 1, s->keys));
        }
        all_rows = c.cu_q[s->batch];
        all_keys = is(&c, GATUN_LINEAR_ATTENTION_CAUSAL) ? all_rows : c.cu_k[s->batch];
    }
    for (int64_t b = 0; b < s->batch; b++)
        c.lengths[b] = (int32_t)(b == 0 ? s->keys : b == 1 ? 0 : rng_between(&random, 1, s->keys));
    set_strides(c.desc.q_stride, &c, s->rows, s->query_heads, s->head_dim);
    set_strides(c.desc.k_stride, &c, s->keys, s->key_heads, s->head_dim);
    set_strides(c.desc.v_stride, &c, s->keys, s->value_heads, s->head_dim_v);
    set_strides(c.desc.out_stride, &c, s->rows, s->heads, s->head_dim_v);
    set_strides(c.desc.decay_stride, &c, s->rows, s->heads, 1);
    const float spread = s->spread > 0 ? s->spread : 1;
    const int64_t q_count = all_rows * s->query_heads * s->head_dim, k_count = all_keys * s->key_heads * s->head_dim,
                  v_count = all_keys * s->value_heads * s->head_dim_v;
    c.q = floats(&c.q_memory, "q", q_count, s->end);
    c.k = floats(&c.k_memory, "k", k_count, s->end);
    c.v = floats(&c.v_memory, "v", v_count, s->end);
    c.out = floats(&c.out_memory, "out", all_rows * s->heads * s->head_dim_v, s->end);
    /* Weights of features as they are may cancel, which no relative bound survives: those that are divided are positive. */
    const bool positive = s->map == GATUN_FEATURES_NONE && !is(&c, GATUN_LINEAR_ATTENTION_UNNORMALIZED);
    for (int64_t i = 0; i < q_count; i++)
        c.q[i] = positive ? 1.5f + rng_uniform(&random) : spread * rng_normal(&random);
    for (int64_t i = 0; i < k_count; i++)
        c.k[i] = positive ? 1.5f + rng_uniform(&random) : spread * rng_normal(&random);
    for (int64_t i = 0; i < v_count; i++)
        c.v[i] = rng_normal(&random);
    if (s->map == GATUN_FEATURES_POSITIVE_RANDOM) {
        c.projection = floats(&c.projection_memory, "projection", s->features * s->head_dim, s->end);
        for (int64_t i = 0; i < s->features * s->head_dim; i++)
            c.projection[i] = rng_normal(&random);
    }
    if (s->decays) {
        c.log_decay = floats(&c.decay_memory, "log_decay", all_rows * s->heads, s->end);
        for (int64_t i = 0; i < all_rows * s->heads; i++) /* now and then all that was before is forgotten */
            c.log_decay[i] = i % 97 == 96   ? -INFINITY
                             : i % 41 == 40 ? 0
                                            : -(float)rng_unit(&random) * (i % 7 == 6 ? 9 : 0.2f);
    }
    if (s->state) {
        const int64_t count = s->batch * s->heads * s->features * (s->head_dim_v + 2);
        c.state = floats(&c.state_memory, "state", count, s->end);
        memset(c.state, 0, (size_t)count * sizeof(float));
    }
    if (gatun_linear_attention_workspace_size(context, &c.desc, &c.workspace_bytes) != GATUN_OK) {
        char message[256] = "";
        gatun_linear_attention_check(context, &c.desc, message, sizeof message);
        test_fail(__FILE__, __LINE__, "workspace size: %s", message);
        c.workspace_bytes = 64;
    }
    guarded_create(&c.work_memory, "workspace", c.workspace_bytes, 0, GUARD_AFTER);
    c.workspace = (char *)c.work_memory.data;
    return c;
}

void linear_destroy(linear_case *c) {
    guarded *const all[] = {&c->q_memory, &c->k_memory, &c->v_memory, &c->out_memory, &c->projection_memory,
        &c->decay_memory, &c->state_memory, &c->work_memory};
    for (int i = 0; i < 8; i++) {
        CHECK(all[i]->map == NULL || guarded_intact(all[i]), "%s: written around", all[i]->name);
        guarded_destroy(all[i]);
    }
}

int32_t linear_run(linear_case *c, gatun_context *context) {
    const bool ragged = is(c, GATUN_LINEAR_ATTENTION_RAGGED), causal = is(c, GATUN_LINEAR_ATTENTION_CAUSAL);
    return gatun_linear_attention(context, &c->desc, c->workspace, c->workspace_bytes, c->q, c->k, c->v, c->projection,
        c->log_decay, c->state, ragged ? c->cu_q : NULL, ragged && !causal ? c->cu_k : NULL,
        c->shape.lengths ? c->lengths : NULL, c->out);
}

int32_t linear_run_rows(linear_case *c, gatun_context *context, int64_t first, int64_t rows) {
    gatun_linear_attention_desc d = c->desc;
    d.seq_q = d.seq_k = rows;
    return gatun_linear_attention(context, &d, c->workspace, c->workspace_bytes, c->q + first * d.q_stride[1],
        c->k + first * d.k_stride[1], c->v + first * d.v_stride[1], c->projection,
        c->log_decay == NULL ? NULL : c->log_decay + first * d.decay_stride[1], c->state, NULL, NULL, NULL,
        c->out + first * d.out_stride[1]);
}

static double feature(const linear_case *c, const float *x, int64_t f) {
    if (c->shape.map == GATUN_FEATURES_NONE)
        return (double)x[f];
    if (c->shape.map == GATUN_FEATURES_ELU)
        return x[f] > 0 ? (double)x[f] + 1 : exp((double)x[f]);
    const double scale =
        is(c, GATUN_LINEAR_ATTENTION_SCALE) ? (double)c->desc.scale : 1 / sqrt((double)c->shape.head_dim);
    double product = 0, square = 0;
    for (int64_t d = 0; d < c->shape.head_dim; d++) {
        product += (double)c->projection[f * c->shape.head_dim + d] * (double)x[d];
        square += (double)x[d] * (double)x[d];
    }
    return exp(sqrt(scale) * product - scale * square / 2) / sqrt((double)c->shape.features);
}

/* Features of so many rows, [rows][features]. */
static double *features_of(const linear_case *c, float *(*row)(const linear_case *, int64_t, int64_t, int64_t),
    int64_t b, int64_t rows, int64_t g) {
    double *features = test_allocate((rows * c->shape.features + 1) * (int64_t)sizeof(double));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t f = 0; f < c->shape.features; f++)
            features[i * c->shape.features + f] = feature(c, row(c, b, i, g), f);
    return features;
}

/* Row i of sequence b and head h by the definition. */
static void want_row(const linear_case *c, int64_t b, int64_t h, int64_t i, int64_t keys, const double *queries,
    const double *features, double *want) {
    const linear_shape *s = &c->shape;
    const int64_t seen = is(c, GATUN_LINEAR_ATTENTION_CAUSAL) ? i + 1 : keys;
    double total = 0, decay = 0;
    for (int64_t v = 0; v < s->head_dim_v; v++)
        want[v] = 0;
    for (int64_t j = seen - 1; j >= 0; j--) {
        const float *value = linear_v(c, b, j, h / (s->heads / s->value_heads));
        double weight = 0;
        for (int64_t f = 0; f < s->features; f++)
            weight += queries[i * s->features + f] * features[j * s->features + f];
        weight *= exp(decay);
        if (s->decays)
            decay += (double)*element(c, c->log_decay, c->desc.decay_stride, b, j, h, false);
        total += weight;
        for (int64_t v = 0; v < s->head_dim_v; v++)
            want[v] += weight * (double)value[v];
    }
    for (int64_t v = 0; v < s->head_dim_v && seen > 0 && !is(c, GATUN_LINEAR_ATTENTION_UNNORMALIZED); v++)
        want[v] /= total;
}

void linear_check(const linear_case *c, double bound, const char *what) {
    const linear_shape *s = &c->shape;
    double *want = test_allocate(s->head_dim_v * (int64_t)sizeof(double)), largest = 0, error = 0;
    int64_t at[4] = {0};
    for (int64_t b = 0; b < s->batch; b++) {
        int64_t row, rows, key, keys;
        linear_span(c, b, &row, &rows, &key, &keys);
        for (int64_t h = 0; h < s->heads; h++) {
            double *queries = features_of(c, linear_q, b, rows, h / (s->heads / s->query_heads)),
                   *features = features_of(c, linear_k, b, keys, h / (s->heads / s->key_heads));
            for (int64_t i = 0; i < rows; i++) {
                want_row(c, b, h, i, keys, queries, features, want);
                const float *out = linear_out(c, b, i, h);
                for (int64_t v = 0; v < s->head_dim_v; v++) {
                    largest = fmax(largest, fabs(want[v]));
                    const double off = fabs((double)out[v] - want[v]);
                    if (!(off <= error)) {
                        error = off;
                        memcpy(at, (int64_t[]){b, h, i, v}, sizeof at);
                    }
                }
            }
            free(queries);
            free(features);
        }
    }
    CHECK(error <= bound * largest,
        "%s: out[%lld][%lld][%lld][%lld] is off by %.3g, %.3g of the largest, %.3g; expected at most %.3g", what,
        (long long)at[0], (long long)at[2], (long long)at[1], (long long)at[3], error, error / largest, largest, bound);
    free(want);
}
