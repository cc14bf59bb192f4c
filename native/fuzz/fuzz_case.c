#include "fuzz_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/half_float.h"
#include "../tests/harness.h"
#include "fuzz_changes.h"

tensor tensor_of(const gatun_attention_desc *d, int which) {
    switch (which) {
    case Q:
        return (tensor){{d->batch, d->seq_q, d->heads, d->head_dim}, d->q_stride};
    case K:
        return (tensor){{d->batch, d->seq_k, d->kv_heads, d->head_dim}, d->k_stride};
    case V:
        return (tensor){{d->batch, d->seq_k, d->kv_heads, d->head_dim_v}, d->v_stride};
    case OUT:
        return (tensor){{d->batch, d->seq_q, d->heads, d->head_dim_v}, d->out_stride};
    default:
        return (tensor){{d->batch, d->seq_q, d->heads, 1}, d->lse_stride};
    }
}

int32_t dtype_of(const gatun_attention_desc *d, int which) {
    switch (which) {
    case Q:
        return d->dtype;
    case K:
    case V:
        return d->kv_dtype;
    case OUT:
        return d->out_dtype != 0 ? d->out_dtype : d->dtype;
    default:
        return GATUN_DTYPE_F32;
    }
}

int64_t offset_of(const tensor *t, int64_t row) {
    int64_t h = row % t->size[2];
    int64_t i = row / t->size[2] % t->size[1];
    int64_t b = row / t->size[2] / t->size[1];
    return b * t->stride[0] + i * t->stride[1] + h * t->stride[2];
}

int64_t rows_of(const tensor *t) {
    return t->size[0] * t->size[1] * t->size[2];
}

int64_t extent_of(const tensor *t) {
    int64_t last = t->size[3];
    int64_t count = t->size[3];
    for (int d = 0; d < 3; d++) {
        if (t->size[d] == 0) {
            return 0;
        }
    }
    for (int d = 0; d < 3; d++) {
        if (t->size[d] > 1 && t->stride[d] > MAX_ELEMENTS) {
            return -1;
        }
        if (t->size[d] > MAX_ELEMENTS || (count *= t->size[d]) > MAX_ELEMENTS) {
            return -1;
        }
        last += (t->size[d] - 1) * (t->size[d] > 1 ? t->stride[d] : 0);
    }
    return last <= MAX_ELEMENTS ? last : -1;
}

static void plain_strides(fuzz_case *c, stream *s) {
    gatun_attention_desc *d = &c->desc;
    int64_t *const stride[] = {d->q_stride, d->k_stride, d->v_stride, d->out_stride, d->lse_stride};
    for (int which = 0; which < TENSORS; which++) {
        tensor t = tensor_of(d, which);
        int64_t kind = below(s, 8);
        int64_t pad = kind & 1 ? below(s, 8) : 0;
        if (kind & 2) { /* heads outside */
            stride[which][1] = t.size[3] + pad;
            stride[which][2] = t.size[1] * stride[which][1] + pad;
            stride[which][0] = t.size[2] * stride[which][2];
        } else {
            stride[which][2] = t.size[3] + pad;
            stride[which][1] = t.size[2] * stride[which][2] + pad;
            stride[which][0] = t.size[1] * stride[which][1];
        }
        if ((kind & 4) && (which == K || which == V)) {
            stride[which][below(s, 3)] = 0;
        }
    }
}

void fuzz_build(fuzz_case *c, stream *s) {
    memset(c, 0, sizeof *c);
    gatun_attention_desc *d = &c->desc;
    static const int32_t dtypes[] = {GATUN_DTYPE_F32, GATUN_DTYPE_F32, GATUN_DTYPE_BF16, GATUN_DTYPE_F16};
    uint64_t mode = take(s, 1), types = take(s, 1);
    d->struct_size = sizeof *d;
    d->dtype = dtypes[types & 3];
    d->kv_dtype = dtypes[types >> 2 & 3];
    d->out_dtype = types & 16 ? GATUN_DTYPE_F32 : 0;
    d->batch = below(s, 4);
    d->kv_heads = 1 + below(s, 3);
    d->heads = d->kv_heads * (1 + below(s, 4));
    d->seq_q = below(s, mode & 1 ? 300 : 40);
    d->seq_k = below(s, mode & 2 ? 2300 : 70);
    d->head_dim = 1 + below(s, mode & 4 ? GATUN_MAX_HEAD_DIM : 40);
    d->head_dim_v = 1 + below(s, mode & 4 ? GATUN_MAX_HEAD_DIM : 40);
    d->causal = (int32_t)below(s, 3);
    d->max_threads = (int32_t)below(s, 6);
    plain_strides(c, s);
    c->lse = below(s, 4) != 0;
    for (int n = 0; n < 2; n++) {
        int64_t kind = below(s, 4);
        c->has_lengths[n] = kind != 0;
        int64_t most = n == 0 ? d->seq_k : d->seq_q;
        for (int b = 0; b < 8; b++) {
            c->lengths[n][b] = kind == 3 ? (int32_t)(take(s, 2) - 100) : (int32_t)below(s, most + 1);
        }
    }
    if (types & 32) {
        d->flags |= GATUN_ATTENTION_BF16;
    }
    if (mode & 8) {
        uint32_t bits = (uint32_t)take(s, 4);
        d->flags |= GATUN_ATTENTION_SCALE;
        memcpy(&d->scale, &bits, sizeof bits);
    }
    if (mode & 16) {
        c->aliased = true;
        int64_t row = 1 + below(s, 2000);
        int64_t head = 1 + below(s, 100);
        int64_t *const stride[] = {d->q_stride, d->k_stride, d->v_stride, d->out_stride, d->lse_stride};
        for (int which = 0; which < TENSORS; which++) {
            c->offset[which] = below(s, 2000);
            if (mode & 32) { /* interleaved in rows of one fused buffer */
                stride[which][2] = head;
                stride[which][1] = row;
                stride[which][0] = row * (d->seq_q > d->seq_k ? d->seq_q : d->seq_k);
            }
        }
    }
    c->biases = 1;
    if (mode & 128) {
        c->biases = 1 + (int)below(s, 3);
        d->flags |= GATUN_ATTENTION_BIASED;
        d->relative_span = c->biases & 2 ? below(s, 100) : 0;
    }
    if (types & 64) {
        fuzz_changes_build(c, s);
    }
    if (mode & 64) { /* hostile words */
        for (int64_t n = 1 + below(s, 3); n > 0; n--) {
            int64_t value = hostile(s);
            if (below(s, 4) == 0) {
                int32_t word = (int32_t)value;
                memcpy((uint8_t *)d + 4 * below(s, (int64_t)sizeof *d / 4), &word, sizeof word);
            } else {
                /* behind the header of 4-byte members lie 8-byte ones */
                int64_t words = ((int64_t)sizeof *d - 32) / 8;
                memcpy((uint8_t *)d + 32 + 8 * below(s, words), &value, sizeof value);
            }
        }
    }
    c->rest = *s;
}

void fuzz_values(const fuzz_case *c, uint8_t *const data[TENSORS], const int64_t extent[TENSORS]) {
    stream s = c->rest;
    uint64_t seed = take(&s, 4);
    for (int which = Q; which <= V; which++) {
        rng random = rng_make(seed, (uint64_t)which);
        const int32_t dtype = dtype_of(&c->desc, which);
        for (int64_t i = 0; i < extent[which]; i++) {
            store_float(dtype, data[which] + i * bytes_of(dtype), rng_normal(&random));
        }
    }
    static const uint32_t specials[] = {
        0x7fc00000, 0x7f800000, 0xff800000, 0x00000001, 0x80000000, 0x7f7fffff, 0xff7fffff, 0x7149f2ca};
    for (int64_t n = below(&s, 24); n > 0; n--) {
        int which = (int)below(&s, 3);
        int64_t at = (int64_t)take(&s, 3);
        uint64_t kind = take(&s, 1);
        uint32_t bits = kind < 200 ? specials[kind % 8] : (uint32_t)take(&s, 4);
        if (extent[which] > 0) {
            const int32_t dtype = dtype_of(&c->desc, which);
            float x;
            memcpy(&x, &bits, sizeof x);
            store_float(dtype, data[which] + at % extent[which] * bytes_of(dtype), x);
        }
    }
}

void fuzz_biases(const fuzz_case *c, float *biases, int64_t count, uint64_t number) {
    stream s = c->rest;
    rng random = rng_make(take(&s, 4), number);
    /* what -inf of one bias and +inf of another give is not promised */
    bool masking = rng_below(&random, 4) == 0 && c->desc.bias_dtype == 0;
    for (int64_t i = 0; i < count; i++) {
        biases[i] = masking && rng_below(&random, 8) == 0 ? -HUGE_VALF : rng_normal(&random);
    }
}

bool shares_elements(const fuzz_case *c, int64_t total) {
    uint8_t *marks = test_allocate(total);
    memset(marks, 0, (size_t)total);
    bool shared = false;
    for (int which = 0; which < TENSORS - !c->lse; which++) {
        tensor t = tensor_of(&c->desc, which);
        const int64_t bytes = bytes_of(dtype_of(&c->desc, which));
        for (int64_t row = 0; row < rows_of(&t); row++) {
            for (int64_t d = 0; d < t.size[3] * bytes; d++) {
                uint8_t *mark = &marks[c->offset[which] * (int64_t)sizeof(float) + offset_of(&t, row) * bytes + d];
                shared = shared || (which >= OUT && *mark != 0);
                *mark = which >= OUT ? 2 : *mark == 2 ? 2 : 1;
            }
        }
    }
    free(marks);
    return shared;
}

bool nested(const gatun_attention_desc *d, int which) {
    tensor t = tensor_of(d, which);
    int64_t reach = t.size[3] - 1;
    bool done[3] = {t.size[0] <= 1, t.size[1] <= 1, t.size[2] <= 1};
    for (;;) {
        int least = -1;
        for (int n = 0; n < 3; n++) {
            if (!done[n] && (least < 0 || t.stride[n] < t.stride[least])) {
                least = n;
            }
        }
        if (least < 0) {
            return true;
        }
        if (t.stride[least] <= reach) {
            return false;
        }
        reach += (t.size[least] - 1) * t.stride[least];
        done[least] = true;
    }
}

bool equal_strides(const gatun_attention_desc *d) {
    size_t bytes = sizeof d->q_stride;
    for (int which = 0; which < TENSORS; which++) {
        if (dtype_of(d, which) != GATUN_DTYPE_F32) {
            return false;
        }
    }
    return memcmp(d->q_stride, d->k_stride, bytes) == 0 && memcmp(d->q_stride, d->v_stride, bytes) == 0 &&
           memcmp(d->q_stride, d->out_stride, bytes) == 0 && memcmp(d->q_stride, d->lse_stride, bytes) == 0;
}
