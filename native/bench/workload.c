#include "workload.h"

#include <math.h>
#include <stdlib.h>

const workload_shape workload_shapes[] = {
    {"tiny16", 1, 4, 4, 16, 16, 32},
    {"tiny16q0", 1, 4, 4, 0, 16, 32}, /* no work: what a call itself costs */
    {"pre128", 1, 12, 12, 128, 128, 64},
    {"pre512", 1, 12, 12, 512, 512, 64},
    {"minilm", 32, 12, 12, 128, 128, 32},
    {"pre2048", 1, 16, 16, 2048, 2048, 64},
    {"pre4096", 1, 8, 8, 4096, 4096, 128},
    {"gqa1024", 1, 32, 8, 1024, 1024, 128},
    {"dec4096", 1, 32, 8, 1, 4096, 128},
    {"dec2048x16", 16, 32, 8, 1, 2048, 128},
    {"s128d32", 1, 1, 1, 128, 128, 32},
    {"s128d64", 1, 1, 1, 128, 128, 64},
    {"s128d128", 1, 1, 1, 128, 128, 128},
    {"s512d32", 1, 1, 1, 512, 512, 32},
    {"s512d64", 1, 1, 1, 512, 512, 64},
    {"s512d128", 1, 1, 1, 512, 512, 128},
    {"s2048d32", 1, 1, 1, 2048, 2048, 32},
    {"s2048d64", 1, 1, 1, 2048, 2048, 64},
    {"s2048d128", 1, 1, 1, 2048, 2048, 128},
    {"s4096d32", 1, 1, 1, 4096, 4096, 32},
    {"s4096d64", 1, 1, 1, 4096, 4096, 64},
    {"s4096d128", 1, 1, 1, 4096, 4096, 128},
};

const int workload_shape_count = (int)(sizeof workload_shapes / sizeof workload_shapes[0]);

float workload_value(uint64_t seed, uint64_t element) {
    uint64_t z = seed + (element + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-23f - 1.0f;
}

void workload_fill(float *x, uint64_t seed, int64_t batch, int64_t heads, int64_t seq, int64_t dim, int bshd) {
    uint64_t element = 0;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < seq; i++) {
                float *row = x + (bshd ? (b * seq + i) * heads + h : (b * heads + h) * seq + i) * dim;
                for (int64_t c = 0; c < dim; c++)
                    row[c] = workload_value(seed, element++);
            }
}

static void strides(int64_t to[3], int bshd, int64_t seq, int64_t heads, int64_t dim) {
    to[0] = seq * heads * dim;
    to[1] = bshd ? heads * dim : dim;
    to[2] = bshd ? dim : seq * dim;
}

void workload_describe(gatun_attention_desc *d, const workload_shape *shape, int bshd) {
    *d = (gatun_attention_desc){.struct_size = sizeof *d,
        .dtype = GATUN_DTYPE_F32,
        .kv_dtype = GATUN_DTYPE_F32,
        .causal = GATUN_CAUSAL_NONE,
        .batch = shape->batch,
        .heads = shape->heads,
        .kv_heads = shape->kv_heads,
        .seq_q = shape->seq_q,
        .seq_k = shape->seq_k,
        .head_dim = shape->dim,
        .head_dim_v = shape->dim};
    strides(d->q_stride, bshd, shape->seq_q, shape->heads, shape->dim);
    strides(d->k_stride, bshd, shape->seq_k, shape->kv_heads, shape->dim);
    strides(d->v_stride, bshd, shape->seq_k, shape->kv_heads, shape->dim);
    strides(d->out_stride, bshd, shape->seq_q, shape->heads, shape->dim);
}

static int64_t visible(const gatun_attention_desc *d, int64_t row) {
    int64_t limit = d->causal == GATUN_CAUSAL_NONE       ? d->seq_k
                    : d->causal == GATUN_CAUSAL_TOP_LEFT ? row + 1
                                                         : row + 1 + d->seq_k - d->seq_q;
    return limit < 0 ? 0 : limit > d->seq_k ? d->seq_k : limit;
}

double workload_flops(const gatun_attention_desc *d) {
    double pairs = 0;
    for (int64_t row = 0; row < d->seq_q; row++)
        pairs += (double)visible(d, row);
    return 2 * pairs * (double)(d->head_dim + d->head_dim_v) * (double)(d->heads * d->batch);
}

double workload_error(const gatun_attention_desc *d, const float *q, const float *k, const float *v, const float *out) {
    if (d->batch == 0 || d->seq_q == 0)
        return 0;
    double worst = 0, *prob = malloc((size_t)d->seq_k * sizeof *prob + 1);
    if (prob == NULL)
        return (double)INFINITY;
    for (int64_t sample = 0; sample < 8; sample++) {
        int64_t b = sample % 2 * (d->batch - 1), h = sample % 2 * (d->heads - 1), g = h / (d->heads / d->kv_heads);
        int64_t row = sample * (d->seq_q - 1) / 7, keys = visible(d, row);
        const float *x = q + b * d->q_stride[0] + row * d->q_stride[1] + h * d->q_stride[2];
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < keys; j++) {
            const float *y = k + b * d->k_stride[0] + j * d->k_stride[1] + g * d->k_stride[2];
            prob[j] = 0;
            for (int64_t c = 0; c < d->head_dim; c++)
                prob[j] += (double)x[c] * (double)y[c];
            prob[j] /= sqrt((double)d->head_dim);
            most = prob[j] > most ? prob[j] : most;
        }
        for (int64_t j = 0; j < keys; j++)
            sum += prob[j] = exp(prob[j] - most);
        for (int64_t c = 0; c < d->head_dim_v; c++) {
            double exact = 0;
            for (int64_t j = 0; j < keys; j++)
                exact += prob[j] / sum * (double)v[b * d->v_stride[0] + j * d->v_stride[1] + g * d->v_stride[2] + c];
            double error =
                fabs(exact - (double)out[b * d->out_stride[0] + row * d->out_stride[1] + h * d->out_stride[2] + c]);
            worst = error <= worst ? worst : isnan(error) ? (double)INFINITY : error;
        }
    }
    free(prob);
    return worst;
}
