/* Checks of the arguments of one attention call. Descriptors: check.c. */
#include "attention.h"

static int32_t check_lengths(const int32_t *lengths, int64_t batch, int64_t max) {
    for (int64_t b = 0; lengths != NULL && b < batch; b++) {
        const int64_t length = gatun__load_index(&lengths[b]);
        if (length < 0 || length > max)
            return GATUN_E_LENGTH;
    }
    return GATUN_OK;
}

/* ---- ragged sequences ---- */

typedef struct sequences {
    int64_t first, end; /* rows of all of them so far */
    int64_t longest;
} sequences;

/* The sequence that ends at this offset follows those that s knows. */
static int32_t add_sequence(sequences *s, int64_t end, int64_t max, int64_t *length) {
    if (end < s->end)
        return GATUN_E_INDEX;
    *length = end - s->end;
    if (*length > max)
        return GATUN_E_LENGTH;
    s->end = end;
    s->longest = *length > s->longest ? *length : s->longest;
    return GATUN_OK;
}

/* Whether the strides reach so many rows without overflow. */
static int32_t check_reach(int64_t rows, const int64_t *strides[], int tensors) {
    for (int i = 0; i < tensors; i++) {
        int64_t extent;
        if (__builtin_mul_overflow(strides[i][1], rows, &extent) || extent > (int64_t)1 << 58)
            return GATUN_E_INVALID;
    }
    return GATUN_OK;
}

/* Offsets that do not fall, and sequences no longer than declared. */
static int32_t check_offsets(gatun__attention_call *c, gatun__ragged_sizes *sizes) {
    const gatun_attention_desc *d = c->desc;
    const int32_t *offsets_q = c->arguments->cu_seqlens_q, *offsets_k = c->arguments->cu_seqlens_k;
    const int ragged_q = offsets_q != NULL, ragged_k = offsets_k != NULL;
    sequences rows = {0}, keys = {0};
    rows.first = rows.end = ragged_q ? gatun__load_index(offsets_q) : 0;
    keys.first = keys.end = ragged_k ? gatun__load_index(offsets_k) : 0;
    if (rows.first < 0 || keys.first < 0)
        return GATUN_E_INDEX;
    double pairs = 0;
    for (int64_t b = 1; b <= d->batch; b++) {
        int64_t row_count = d->seq_q, key_count = d->seq_k;
        if (ragged_q)
            TRY(add_sequence(&rows, gatun__load_index(&offsets_q[b]), d->seq_q, &row_count));
        if (ragged_k)
            TRY(add_sequence(&keys, gatun__load_index(&offsets_k[b]), d->seq_k, &key_count));
        pairs += (double)row_count * (double)key_count;
    }
    const int64_t *row_tensors[] = {d->q_stride, d->out_stride, d->lse_stride};
    const int64_t *key_tensors[] = {d->k_stride, d->v_stride};
    TRY(check_reach(rows.end, row_tensors, 3));
    TRY(check_reach(keys.end, key_tensors, 2));
    if (ragged_q) {
        c->all_rows = rows.end;
        c->max_rows = rows.longest;
    }
    if (ragged_k) {
        c->all_keys = keys.end;
        c->max_keys = keys.longest;
    }
    *sizes = (gatun__ragged_sizes){.longest_rows = c->max_rows,
        .pairs = pairs,
        .keys = ragged_k ? (double)(keys.end - keys.first) : (double)d->batch * (double)d->seq_k};
    return GATUN_OK;
}

/* ---- arguments ---- */

/* What changes scores, and the flags and members that go with it. */
static int32_t check_changes(const gatun_attention_desc *d, const gatun__attention_arguments *a) {
    const int masked = a->mask != NULL || a->block_mask != NULL || a->bias != NULL || a->segment_ids_q != NULL ||
                       a->segment_ids_k != NULL || a->query_positions != NULL;
    const int wants[] = {(d->flags & GATUN_ATTENTION_MASKED) != 0, (d->flags & GATUN_ATTENTION_SINKS) != 0,
        (d->flags & GATUN_ATTENTION_PREFIX) != 0, a->segment_ids_q != NULL, d->bias_dtype != 0, d->block_q != 0};
    const int has[] = {masked, a->sinks != NULL, a->prefix_lengths != NULL, a->segment_ids_k != NULL, a->bias != NULL,
        a->block_mask != NULL};
    for (size_t i = 0; i < sizeof wants / sizeof wants[0]; i++)
        if (wants[i] != has[i])
            return wants[i] ? GATUN_E_NULL : GATUN_E_INVALID;
    const int64_t strides = d->mask_stride[0] | d->mask_stride[1] | d->mask_stride[2] | d->mask_stride[3];
    if (a->mask == NULL && strides != 0)
        return GATUN_E_INVALID;
    TRY(gatun__pointer_check(a->bias, 0, a->bias == NULL ? 1 : (uintptr_t)gatun__dtype_bytes(d->bias_dtype)));
    TRY(gatun__pointer_check(a->sinks, 0, _Alignof(float)));
    TRY(gatun__pointer_check(a->segment_ids_q, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(a->segment_ids_k, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(a->prefix_lengths, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(a->query_positions, 0, _Alignof(int32_t)));
    return GATUN_OK;
}

int32_t gatun__attention_check_inputs(gatun__attention_call *c, const void *workspace, gatun__ragged_sizes *sizes) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    const int ragged_q = (d->flags & GATUN_ATTENTION_RAGGED_Q) != 0,
              ragged_k = (d->flags & GATUN_ATTENTION_RAGGED_K) != 0;
    if (ragged_q != (a->cu_seqlens_q != NULL))
        return ragged_q ? GATUN_E_NULL : GATUN_E_INVALID;
    if (ragged_k != (a->cu_seqlens_k != NULL))
        return ragged_k ? GATUN_E_NULL : GATUN_E_INVALID;
    if ((ragged_q && a->query_lengths != NULL) || (ragged_k && a->key_lengths != NULL))
        return GATUN_E_INVALID;
    c->all_rows = c->max_rows = d->seq_q;
    c->all_keys = c->max_keys = d->seq_k;
    if (ragged_q || ragged_k) {
        TRY(gatun__pointer_check(a->cu_seqlens_q, ragged_q, _Alignof(int32_t)));
        TRY(gatun__pointer_check(a->cu_seqlens_k, ragged_k, _Alignof(int32_t)));
        TRY(check_offsets(c, sizes));
    }
    const int biased = (d->flags & GATUN_ATTENTION_BIASED) != 0;
    if (biased != (a->alibi_slopes != NULL || a->relative_position_table != NULL))
        return biased ? GATUN_E_NULL : GATUN_E_INVALID;
    if (a->relative_position_table == NULL && d->relative_span != 0)
        return GATUN_E_INVALID;

    /* Nearly always nothing of it is there. */
    const uintptr_t given = (uintptr_t)a->mask | (uintptr_t)a->block_mask | (uintptr_t)a->bias | (uintptr_t)a->sinks |
                            (uintptr_t)a->segment_ids_q | (uintptr_t)a->segment_ids_k | (uintptr_t)a->prefix_lengths |
                            (uintptr_t)a->query_positions;
    c->changed =
        given != 0 || (d->flags & (GATUN_ATTENTION_MASKED | GATUN_ATTENTION_SINKS | GATUN_ATTENTION_PREFIX)) != 0;
    if (c->changed)
        TRY(check_changes(d, a));

    const int has_rows = d->batch > 0 && c->max_rows > 0, has_keys = d->batch > 0 && c->max_keys > 0;
    const int64_t bytes = gatun__dtype_bytes(d->dtype), kv_bytes = gatun__dtype_bytes(d->kv_dtype);
    TRY(gatun__pointer_check(workspace, 1, 64));
    TRY(gatun__pointer_check(a->q, has_rows, (uintptr_t)bytes));
    TRY(gatun__pointer_check(a->k, has_keys, (uintptr_t)kv_bytes));
    TRY(gatun__pointer_check(a->key_lengths, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(a->query_lengths, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(a->alibi_slopes, 0, _Alignof(float)));
    TRY(gatun__pointer_check(a->relative_position_table, 0, _Alignof(float)));
    /* Ragged sequences are one batch row of all their rows: their batch strides are 0. */
    const int64_t q_batch = ragged_q ? d->batch > 0 : d->batch, k_batch = ragged_k ? d->batch > 0 : d->batch;
    c->q = gatun__tensor_view(a->q, bytes, q_batch, c->all_rows, d->heads, d->head_dim, d->q_stride);
    c->k = gatun__tensor_view(a->k, kv_bytes, k_batch, c->all_keys, d->kv_heads, d->head_dim, d->k_stride);
    return GATUN_OK;
}

int32_t gatun__attention_check_arguments(gatun__attention_call *c, const void *workspace, gatun__ragged_sizes *sizes) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    TRY(gatun__attention_check_inputs(c, workspace, sizes));
    const int has_rows = d->batch > 0 && c->max_rows > 0, has_keys = d->batch > 0 && c->max_keys > 0;
    const int64_t kv_bytes = gatun__dtype_bytes(d->kv_dtype), out_bytes = gatun__dtype_bytes(gatun__out_dtype(d));
    TRY(gatun__pointer_check(a->v, has_keys, (uintptr_t)kv_bytes));
    TRY(gatun__pointer_check(a->out, has_rows, (uintptr_t)out_bytes));
    TRY(gatun__pointer_check(a->lse, 0, _Alignof(float)));
    /* As those of q and k. */
    const int64_t q_batch = c->q.size[0], k_batch = c->k.size[0];
    c->v = gatun__tensor_view(a->v, kv_bytes, k_batch, c->all_keys, d->kv_heads, d->head_dim_v, d->v_stride);
    c->out = gatun__tensor_view(a->out, out_bytes, q_batch, c->all_rows, d->heads, d->head_dim_v, d->out_stride);
    c->lse = gatun__tensor_view(a->lse, sizeof *a->lse, q_batch, c->all_rows, d->heads, 1, d->lse_stride);
    return GATUN_OK;
}

/* ---- memory ---- */

/* Contiguous elements. */
typedef struct array {
    const void *data;
    int64_t element_bytes, elements;
} array;

static int array_overlaps(const gatun__attention_call *c, const array *a) {
    if (a->data == NULL)
        return 0;
    const gatun__view view = gatun__matrix_view(a->data, a->element_bytes, 1, a->elements, a->elements);
    return gatun__views_overlap(&c->out, &view) || gatun__views_overlap(&c->lse, &view);
}

/* A mask, a bias or a map of blocks, which is empty if it is NULL. */
static gatun__view map_view(const gatun_attention_desc *d, const void *data, int64_t element_bytes, int64_t rows,
    int64_t keys, const int64_t stride[4]) {
    return (gatun__view){
        (uintptr_t)data, element_bytes, {d->batch, d->heads, rows, keys}, {stride[0], stride[1], stride[2], stride[3]}};
}

/* Outputs and what changes scores. */
static int32_t check_changed_overlap(const gatun__attention_call *c) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    const int64_t rows = a->cu_seqlens_q != NULL ? c->all_rows : d->batch * d->seq_q,
                  keys = a->cu_seqlens_k != NULL ? c->all_keys : d->batch * d->seq_k;
    const array arrays[] = {{a->sinks, sizeof(float), d->heads}, {a->prefix_lengths, sizeof(int32_t), d->batch},
        {a->segment_ids_q, sizeof(int32_t), rows}, {a->query_positions, sizeof(int32_t), rows},
        {a->segment_ids_k, sizeof(int32_t), keys}};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        if (array_overlaps(c, &arrays[i]))
            return GATUN_E_OVERLAP;
    const gatun__range out = gatun__view_range(&c->out), lse = gatun__view_range(&c->lse);
    const gatun__view maps[] = {map_view(d, a->mask, 1, d->seq_q, d->seq_k, d->mask_stride),
        map_view(d, a->bias, gatun__dtype_bytes(d->bias_dtype), d->seq_q, d->seq_k, d->bias_stride),
        map_view(d, a->block_mask, 1, gatun__divide_up(d->seq_q, d->block_q == 0 ? 1 : d->block_q),
            gatun__divide_up(d->seq_k, d->block_k == 0 ? 1 : d->block_k), d->block_stride)};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        /* By ranges: keys need not be next to each other, as the last elements of two views that are compared are. */
        const gatun__range range = gatun__view_range(&maps[i]);
        if (gatun__ranges_meet(&out, &range) || gatun__ranges_meet(&lse, &range))
            return GATUN_E_OVERLAP;
    }
    return GATUN_OK;
}

static int32_t check_overlap(const gatun__attention_call *c) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    const gatun__range out = gatun__view_range(&c->out), lse = gatun__view_range(&c->lse);
    const gatun__view *const tensors[] = {&c->q, &c->k, &c->v};
    for (int i = 0; i < 3; i++) {
        /* In the common case their ranges tell already. */
        const gatun__range range = gatun__view_range(tensors[i]);
        if ((gatun__ranges_meet(&out, &range) && gatun__views_overlap(&c->out, tensors[i])) ||
            (gatun__ranges_meet(&lse, &range) && gatun__views_overlap(&c->lse, tensors[i])))
            return GATUN_E_OVERLAP;
    }
    const array arrays[] = {{a->key_lengths, sizeof(int32_t), d->batch}, {a->query_lengths, sizeof(int32_t), d->batch},
        {a->cu_seqlens_q, sizeof(int32_t), d->batch + 1}, {a->cu_seqlens_k, sizeof(int32_t), d->batch + 1},
        {a->alibi_slopes, sizeof(float), d->heads},
        {a->relative_position_table, sizeof(float), d->heads * (2 * d->relative_span + 1)}};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        if (array_overlaps(c, &arrays[i]))
            return GATUN_E_OVERLAP;
    if (c->changed)
        TRY(check_changed_overlap(c));
    /* gatun_attention_check does not know how many rows ragged sequences have. */
    if (a->cu_seqlens_q != NULL && gatun__view_overlaps_itself(&c->out))
        return GATUN_E_OVERLAP;
    if (a->lse != NULL && (gatun__view_overlaps_itself(&c->lse) ||
                              (gatun__ranges_meet(&out, &lse) && gatun__views_overlap(&c->out, &c->lse))))
        return GATUN_E_OVERLAP;
    return GATUN_OK;
}

int32_t gatun__attention_check_memory(const gatun__attention_call *c) {
    TRY(check_lengths(c->arguments->key_lengths, c->desc->batch, c->desc->seq_k));
    TRY(check_lengths(c->arguments->query_lengths, c->desc->batch, c->desc->seq_q));
    TRY(check_lengths(c->arguments->prefix_lengths, c->desc->batch, c->desc->seq_k));
    return check_overlap(c);
}
