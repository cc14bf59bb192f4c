/* Checks of descriptors. Messages name the member, the expected and the actual value. */
#include "internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

int32_t gatun__fail(int32_t status, char *message, int64_t message_size, const char *format, ...) {
    if (message != NULL && message_size > 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(message, (size_t)message_size, format, arguments);
        va_end(arguments);
    }
    return status;
}

int32_t gatun__struct_check(
    const void *data, uint32_t struct_size, size_t known, const char *name, char *message, int64_t message_size) {
    const uint32_t most = 1 << 16;
    if (struct_size < known || struct_size > most)
        return gatun__fail(GATUN_E_VERSION, message, message_size, "struct_size: expected %zu, the size of %s, got %u",
            known, name, (unsigned)struct_size);
    const unsigned char *bytes = data;
    for (size_t i = known; i < struct_size; i++) {
        if (bytes[i] != 0)
            return gatun__fail(GATUN_E_VERSION, message, message_size,
                "%s: byte %zu is set, which this version (%zu bytes) does not know", name, i, known);
    }
    return GATUN_OK;
}

int32_t gatun__range_check(
    const char *name, int64_t value, int64_t least, int64_t most, char *message, int64_t message_size) {
    if (value >= least && value <= most)
        return GATUN_OK;
    return gatun__fail(GATUN_E_INVALID, message, message_size, "%s: expected %lld .. %lld, got %lld", name,
        (long long)least, (long long)most, (long long)value);
}

int32_t gatun__stride_check(const char *name, const char *const axes[], int dimensions, const int64_t stride[],
    const int64_t size[], int64_t extent, char *message, int64_t message_size) {
    for (int d = 0; d < dimensions; d++) {
        int64_t span;
        if (stride[d] < 0)
            return gatun__fail(GATUN_E_INVALID, message, message_size, "%s[%d] (%s): expected >= 0, got %lld", name, d,
                axes[d], (long long)stride[d]);
        if (size[d] > 1 && (__builtin_mul_overflow(stride[d], size[d] - 1, &span) ||
                               __builtin_add_overflow(extent, span, &extent) || extent > (int64_t)1 << 58))
            return gatun__fail(GATUN_E_INVALID, message, message_size,
                "%s[%d] (%s): expected an extent below 2^58 elements, got stride %lld for size %lld", name, d, axes[d],
                (long long)stride[d], (long long)size[d]);
    }
    return GATUN_OK;
}

typedef struct checker {
    char *message;
    int64_t message_size;
} checker;

static int32_t range(const checker *c, const char *name, int64_t value, int64_t least, int64_t most) {
    return gatun__range_check(name, value, least, most, c->message, c->message_size);
}

/* Of one tensor. */
static int32_t strides(
    const checker *c, const char *name, const int64_t stride[3], const int64_t size[3], int64_t dim) {
    static const char *const axes[] = {"batch", "seq", "head"};
    /* The common case: sizes are below 2^31, so that no product reaches 2^56. */
    if ((uint64_t)(stride[0] | stride[1] | stride[2]) < (uint64_t)1 << 25)
        return GATUN_OK;
    return gatun__stride_check(name, axes, 3, stride, size, dim, c->message, c->message_size);
}

static int32_t float_type(const checker *c, const char *name, int32_t dtype) {
    if (dtype == GATUN_DTYPE_F32 || dtype == GATUN_DTYPE_BF16 || dtype == GATUN_DTYPE_F16)
        return GATUN_OK;
    return gatun__fail(GATUN_E_UNSUPPORTED, c->message, c->message_size,
        "%s: expected GATUN_DTYPE_F32 (%d), GATUN_DTYPE_BF16 (%d) or GATUN_DTYPE_F16 (%d), got %d", name,
        GATUN_DTYPE_F32, GATUN_DTYPE_BF16, GATUN_DTYPE_F16, (int)dtype);
}

/* Of mask, bias or block_mask; none but 0 of one that is not `there`. */
static int32_t map_strides(
    const checker *c, const char *name, const int64_t stride[4], const int64_t size[4], int there) {
    static const char *const axes[] = {"batch", "head", "query", "key"};
    for (int d = 0; d < 4 && !there; d++)
        if (stride[d] != 0)
            return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
                "%s[%d] (%s): expected 0 without GATUN_ATTENTION_MASKED, bias_dtype or block_q, got %lld", name, d,
                axes[d], (long long)stride[d]);
    return gatun__stride_check(name, axes, 4, stride, size, 1, c->message, c->message_size);
}

static int any_member_of_changes(const gatun_attention_desc *d) {
    int64_t set = d->window_left | d->window_right | d->global_tokens | d->bias_dtype | d->block_q | d->block_k;
    for (int i = 0; i < 4; i++)
        set |= d->mask_stride[i] | d->bias_stride[i] | d->block_stride[i];
    return set != 0;
}

/* The members that change scores. */
static int32_t changes(const checker *c, const gatun_attention_desc *d) {
    if (!gatun__softcap_fits(d->softcap))
        return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
            "softcap: expected 0 or 2^-100 .. 2^100, got %g", (double)d->softcap);
    const int64_t any = INT32_MAX;
    const int windowed = (d->flags & GATUN_ATTENTION_WINDOW) != 0, masked = (d->flags & GATUN_ATTENTION_MASKED) != 0;
    TRY(range(c, "window_left", d->window_left, windowed ? -1 : 0, windowed ? any : 0));
    TRY(range(c, "window_right", d->window_right, windowed ? -1 : 0, windowed ? any : 0));
    TRY(range(c, "global_tokens", d->global_tokens, 0, windowed ? any : 0));
    if ((d->flags & GATUN_ATTENTION_PREFIX) != 0 && d->causal == GATUN_CAUSAL_NONE)
        return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
            "causal: expected a causal mask, as flags have GATUN_ATTENTION_PREFIX, got GATUN_CAUSAL_NONE");
    if (d->bias_dtype != 0 && d->bias_dtype != GATUN_DTYPE_F32 && d->bias_dtype != d->dtype)
        return gatun__fail(GATUN_E_UNSUPPORTED, c->message, c->message_size,
            "bias_dtype: expected 0, dtype (%d) or GATUN_DTYPE_F32 (%d), got %d", (int)d->dtype, GATUN_DTYPE_F32,
            (int)d->bias_dtype);
    if (d->bias_dtype != 0 && !masked)
        return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
            "bias_dtype: expected 0 without GATUN_ATTENTION_MASKED, got %d", (int)d->bias_dtype);
    TRY(range(c, "block_q", d->block_q, 0, masked ? any : 0));
    TRY(range(c, "block_k", d->block_k, d->block_q > 0, d->block_q > 0 ? any : 0));
    const int64_t mask_size[4] = {d->batch, d->heads, d->seq_q, d->seq_k};
    TRY(map_strides(c, "mask_stride", d->mask_stride, mask_size, masked));
    TRY(map_strides(c, "bias_stride", d->bias_stride, mask_size, d->bias_dtype != 0));
    const int64_t block_size[4] = {d->batch, d->heads, gatun__divide_up(d->seq_q, d->block_q > 0 ? d->block_q : 1),
        gatun__divide_up(d->seq_k, d->block_k > 0 ? d->block_k : 1)};
    return map_strides(c, "block_stride", d->block_stride, block_size, d->block_q > 0);
}

/* Of ragged sequences what concerns all tensors; every element of out has its own address. */
static int32_t addresses(const checker *c, const gatun_attention_desc *d) {
    const int ragged_q = (d->flags & GATUN_ATTENTION_RAGGED_Q) != 0,
              ragged_k = (d->flags & GATUN_ATTENTION_RAGGED_K) != 0;
    if (ragged_q && (d->q_stride[0] | d->out_stride[0] | d->lse_stride[0]) != 0)
        return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
            "batch strides: expected 0 for ragged queries, got q %lld, out %lld, lse %lld", (long long)d->q_stride[0],
            (long long)d->out_stride[0], (long long)d->lse_stride[0]);
    if (ragged_k && (d->k_stride[0] | d->v_stride[0]) != 0)
        return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
            "batch strides: expected 0 for ragged keys, got k %lld, v %lld", (long long)d->k_stride[0],
            (long long)d->v_stride[0]);
    /* Strides of sequences in rows of their own bound this product. */
    int64_t lanes;
    if (ragged_q && (__builtin_mul_overflow(d->batch * d->heads, d->seq_q, &lanes) || lanes > (int64_t)1 << 58))
        return gatun__fail(GATUN_E_INVALID, c->message, c->message_size,
            "batch, heads, seq_q: expected at most 2^58 rows of all heads and sequences together, got %lld * %lld * "
            "%lld",
            (long long)d->batch, (long long)d->heads, (long long)d->seq_q);
    /* How many rows ragged sequences have together, only their offsets tell. */
    const gatun__view out = gatun__tensor_view(NULL, gatun__dtype_bytes(gatun__out_dtype(d)), ragged_q ? 0 : d->batch,
        d->seq_q, d->heads, d->head_dim_v, d->out_stride);
    if (gatun__view_overlaps_itself(&out))
        return gatun__fail(GATUN_E_OVERLAP, c->message, c->message_size,
            "out_stride: expected nested strides that give every element its own address, got {%lld, %lld, %lld}",
            (long long)d->out_stride[0], (long long)d->out_stride[1], (long long)d->out_stride[2]);
    return GATUN_OK;
}

int32_t gatun__attention_check_desc(
    const gatun_context *context, const gatun_attention_desc *d, int outputs, char *message, int64_t message_size) {
    checker c = {message, message_size};
    if (d == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "desc: expected a descriptor, got NULL");
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_attention_desc", message, message_size));
    if (gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return gatun__fail(GATUN_E_VERSION, message, message_size, "reserved: expected zeros");
    const uint32_t known = GATUN_ATTENTION_SCALE | GATUN_ATTENTION_BIASED | GATUN_ATTENTION_RAGGED_Q |
                           GATUN_ATTENTION_RAGGED_K | GATUN_ATTENTION_BF16 | GATUN_ATTENTION_WINDOW |
                           GATUN_ATTENTION_MASKED | GATUN_ATTENTION_SINKS | GATUN_ATTENTION_PREFIX;
    if ((d->flags & ~known) != 0)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "flags: expected GATUN_ATTENTION_* only, got 0x%x",
            (unsigned)d->flags);
    TRY(float_type(&c, "dtype", d->dtype));
    TRY(float_type(&c, "kv_dtype", d->kv_dtype));
    if (outputs && d->out_dtype != 0 && d->out_dtype != d->dtype && d->out_dtype != GATUN_DTYPE_F32)
        return gatun__fail(GATUN_E_UNSUPPORTED, message, message_size,
            "out_dtype: expected 0, dtype (%d) or GATUN_DTYPE_F32 (%d), got %d", (int)d->dtype, GATUN_DTYPE_F32,
            (int)d->out_dtype);
    if (d->causal < GATUN_CAUSAL_NONE || d->causal > GATUN_CAUSAL_TOP_LEFT)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "causal: expected a GATUN_CAUSAL_* constant, got %d",
            (int)d->causal);
    if ((d->flags & GATUN_ATTENTION_SCALE) != 0 && !isfinite(d->scale))
        return gatun__fail(
            GATUN_E_INVALID, message, message_size, "scale: expected a finite number, got %g", (double)d->scale);
    const int64_t int32_most = INT32_MAX;
    TRY(range(&c, "max_threads", d->max_threads, 0, int32_most));
    TRY(range(&c, "batch", d->batch, 0, int32_most));
    TRY(range(&c, "kv_heads", d->kv_heads, 1, int32_most));
    TRY(range(&c, "heads", d->heads, 1, int32_most));
    if (d->heads % d->kv_heads != 0)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "heads: expected a multiple of kv_heads (%lld), got %lld", (long long)d->kv_heads, (long long)d->heads);
    TRY(range(&c, "seq_q", d->seq_q, 0, int32_most));
    TRY(range(&c, "seq_k", d->seq_k, 0, int32_most));
    TRY(range(&c, "head_dim", d->head_dim, 1, GATUN_MAX_HEAD_DIM));
    if (outputs)
        TRY(range(&c, "head_dim_v", d->head_dim_v, 1, GATUN_MAX_HEAD_DIM));
    const int64_t query_size[3] = {d->batch, d->seq_q, d->heads}, key_size[3] = {d->batch, d->seq_k, d->kv_heads};
    TRY(strides(&c, "q_stride", d->q_stride, query_size, d->head_dim));
    TRY(strides(&c, "k_stride", d->k_stride, key_size, d->head_dim));
    if (outputs) {
        TRY(strides(&c, "v_stride", d->v_stride, key_size, d->head_dim_v));
        TRY(strides(&c, "out_stride", d->out_stride, query_size, d->head_dim_v));
        TRY(strides(&c, "lse_stride", d->lse_stride, query_size, 1));
    }
    TRY(range(&c, "relative_span", d->relative_span, 0,
        (d->flags & GATUN_ATTENTION_BIASED) != 0 ? GATUN_MAX_RELATIVE_SPAN : 0));
    if (gatun__changes_scores(d) || (d->flags & GATUN_ATTENTION_PREFIX) != 0 || any_member_of_changes(d))
        TRY(changes(&c, d));
    if (outputs)
        TRY(addresses(&c, d));
    if (context != NULL)
        TRY(gatun__context_usable(context));
    return GATUN_OK;
}

int32_t gatun_attention_check(
    const gatun_context *context, const gatun_attention_desc *desc, char *message, int64_t message_size) {
    return gatun__attention_check_desc(context, desc, 1, message, message_size);
}
