#include "placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *layout_name(layout kind) {
    static const char *const names[LAYOUT_KINDS] = {
        "bshd", "bhsd", "fused qkv", "fused qkv and out", "padded", "broadcast", "unaligned", "mixed"};
    return names[kind];
}

/* ---- views: shape and strides of a tensor, in the order batch, sequence, head, dim ---- */

typedef struct view {
    int64_t size[4];
    const int64_t *stride;
    float *dense;           /* the problem's or the outcome's array of these elements */
    const int32_t *lengths; /* rows of each batch row that may be read, or NULL */
} view;

static view view_of(const placement *place, int tensor) {
    const problem *p = place->problem;
    const gatun_attention_desc *d = &place->desc;
    switch (tensor) {
    case TENSOR_Q:
        return (view){{p->batch, p->seq_q, p->heads, p->head_dim}, d->q_stride, p->q, p->query_lengths};
    case TENSOR_K:
        return (view){{p->batch, p->seq_k, p->kv_heads, p->head_dim}, d->k_stride, p->k, p->key_lengths};
    case TENSOR_V:
        return (view){{p->batch, p->seq_k, p->kv_heads, p->head_dim_v}, d->v_stride, p->v, p->key_lengths};
    case TENSOR_OUT:
        return (view){{p->batch, p->seq_q, p->heads, p->head_dim_v}, d->out_stride, NULL, NULL};
    default:
        return (view){{p->batch, p->seq_q, p->heads, 1}, d->lse_stride, NULL, NULL};
    }
}

/* Elements from the first to the last one, or to the last one that may be read. */
static int64_t extent(const view *t, bool live) {
    int64_t end = 0;
    for (int64_t b = 0; b < t->size[0]; b++) {
        int64_t rows = live && t->lengths != NULL ? t->lengths[b] : t->size[1];
        if (rows > 0 && t->size[2] > 0 && t->size[3] > 0) {
            int64_t last = b * t->stride[0] + (rows - 1) * t->stride[1] + (t->size[2] - 1) * t->stride[2] + t->size[3];
            end = last > end ? last : end;
        }
    }
    return end;
}

typedef enum transfer { STORE, LOAD, ERASE } transfer;

/*
 * Copies elements below limit between the dense array and memory; from the last to the first, so that where
 * elements share an address the first, which is the least likely to be masked, stays.
 */
static void move_elements(const view *t, float *dense, float *memory, int64_t limit, transfer direction) {
    static const uint32_t fill = GUARDED_FILL;
    int64_t dim = t->size[3];
    for (int64_t b = t->size[0] - 1; b >= 0; b--) {
        for (int64_t i = t->size[1] - 1; i >= 0; i--) {
            for (int64_t h = t->size[2] - 1; h >= 0; h--) {
                int64_t offset = b * t->stride[0] + i * t->stride[1] + h * t->stride[2];
                int64_t row = ((b * t->size[1] + i) * t->size[2] + h) * dim;
                if (offset + dim > limit) {
                    continue;
                }
                if (direction == STORE) {
                    memcpy(memory + offset, dense + row, (size_t)dim * sizeof(float));
                } else if (direction == LOAD) {
                    memcpy(dense + row, memory + offset, (size_t)dim * sizeof(float));
                } else {
                    for (int64_t d = 0; d < dim; d++) {
                        memcpy(memory + offset + d, &fill, sizeof fill);
                    }
                }
            }
        }
    }
}

/* ---- strides ---- */

static void set_strides(int64_t stride[3], int64_t batch, int64_t seq, int64_t head) {
    stride[0] = batch;
    stride[1] = seq;
    stride[2] = head;
}

static void bshd(int64_t stride[3], int64_t seq, int64_t heads, int64_t dim) {
    set_strides(stride, seq * heads * dim, heads * dim, dim);
}

static void bhsd(int64_t stride[3], int64_t seq, int64_t heads, int64_t dim) {
    set_strides(stride, heads * seq * dim, dim, seq * dim);
}

static void padded(int64_t stride[3], int64_t seq, int64_t heads, int64_t dim, rng *random) {
    int64_t head = dim + rng_below(random, 5);
    int64_t row = heads * head + rng_below(random, 7);
    set_strides(stride, seq * row + rng_below(random, 9), row, head);
}

static void any(int64_t stride[3], int64_t seq, int64_t heads, int64_t dim, rng *random) {
    int64_t kind = rng_below(random, 3);
    if (kind == 0) {
        bshd(stride, seq, heads, dim);
    } else if (kind == 1) {
        bhsd(stride, seq, heads, dim);
    } else {
        padded(stride, seq, heads, dim, random);
    }
}

static void broadcast(int64_t k_stride[3], int64_t v_stride[3], rng *random) {
    int64_t k_dims = rng_below(random, 8);
    int64_t v_dims = k_dims == 0 ? rng_between(random, 1, 7) : rng_below(random, 8);
    for (int d = 0; d < 3; d++) {
        k_stride[d] = (k_dims >> d & 1) != 0 ? 0 : k_stride[d];
        v_stride[d] = (v_dims >> d & 1) != 0 ? 0 : v_stride[d];
    }
}

void placement_strides(gatun_attention_desc *d, const problem *p, layout kind, rng *random) {
    int64_t seq = p->seq_q > p->seq_k ? p->seq_q : p->seq_k;
    int64_t dim = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    bshd(d->q_stride, p->seq_q, p->heads, p->head_dim);
    bshd(d->k_stride, p->seq_k, p->kv_heads, p->head_dim);
    bshd(d->v_stride, p->seq_k, p->kv_heads, p->head_dim_v);
    bshd(d->out_stride, p->seq_q, p->heads, p->head_dim_v);
    set_strides(d->lse_stride, p->heads * p->seq_q, 1, p->seq_q);
    switch (kind) {
    case LAYOUT_BHSD:
        bhsd(d->q_stride, p->seq_q, p->heads, p->head_dim);
        bhsd(d->k_stride, p->seq_k, p->kv_heads, p->head_dim);
        bhsd(d->v_stride, p->seq_k, p->kv_heads, p->head_dim_v);
        bhsd(d->out_stride, p->seq_q, p->heads, p->head_dim_v);
        break;
    case LAYOUT_FUSED: {
        int64_t row = (p->heads + p->kv_heads) * p->head_dim + p->kv_heads * p->head_dim_v;
        set_strides(d->q_stride, seq * row, row, p->head_dim);
        set_strides(d->k_stride, seq * row, row, p->head_dim);
        set_strides(d->v_stride, seq * row, row, p->head_dim_v);
        break;
    }
    case LAYOUT_FUSED_OUT: {
        /* one head stride for all four: only equal strides may interleave */
        int64_t row = 2 * (p->heads + p->kv_heads) * dim;
        set_strides(d->q_stride, seq * row, row, dim);
        set_strides(d->k_stride, seq * row, row, dim);
        set_strides(d->v_stride, seq * row, row, dim);
        set_strides(d->out_stride, seq * row, row, dim);
        break;
    }
    case LAYOUT_PADDED:
        padded(d->q_stride, p->seq_q, p->heads, p->head_dim, random);
        padded(d->k_stride, p->seq_k, p->kv_heads, p->head_dim, random);
        padded(d->v_stride, p->seq_k, p->kv_heads, p->head_dim_v, random);
        padded(d->out_stride, p->seq_q, p->heads, p->head_dim_v, random);
        set_strides(d->lse_stride, p->heads * (2 * p->seq_q + 3), 2, 2 * p->seq_q + 3);
        break;
    case LAYOUT_BROADCAST:
        broadcast(d->k_stride, d->v_stride, random);
        break;
    case LAYOUT_UNALIGNED:
        set_strides(d->lse_stride, p->seq_q * p->heads, p->heads, 1);
        break;
    case LAYOUT_MIXED:
        any(d->q_stride, p->seq_q, p->heads, p->head_dim, random);
        any(d->k_stride, p->seq_k, p->kv_heads, p->head_dim, random);
        any(d->v_stride, p->seq_k, p->kv_heads, p->head_dim_v, random);
        any(d->out_stride, p->seq_q, p->heads, p->head_dim_v, random);
        break;
    default:
        break;
    }
}

gatun_attention_desc default_desc(const problem *p) {
    bool biased = p->alibi_slopes != NULL || p->relative_table != NULL;
    bool masked =
        p->mask != NULL || p->block_mask != NULL || p->bias != NULL || p->segments_q != NULL || p->positions != NULL;
    gatun_attention_desc d = {.struct_size = sizeof d,
        .flags = (p->scaled ? GATUN_ATTENTION_SCALE : 0) | (biased ? GATUN_ATTENTION_BIASED : 0) |
                 (reference_of_bf16 ? GATUN_ATTENTION_BF16 : 0) | (p->windowed ? GATUN_ATTENTION_WINDOW : 0) |
                 (masked ? GATUN_ATTENTION_MASKED : 0) | (p->sinks != NULL ? GATUN_ATTENTION_SINKS : 0) |
                 (p->prefix != NULL ? GATUN_ATTENTION_PREFIX : 0),
        .dtype = GATUN_DTYPE_F32,
        .kv_dtype = GATUN_DTYPE_F32,
        .causal = p->causal,
        .scale = p->scaled ? p->scale : 0,
        .batch = p->batch,
        .heads = p->heads,
        .kv_heads = p->kv_heads,
        .seq_q = p->seq_q,
        .seq_k = p->seq_k,
        .head_dim = p->head_dim,
        .head_dim_v = p->head_dim_v,
        .relative_span = p->relative_span,
        .softcap = p->softcap,
        .bias_dtype = p->bias != NULL ? GATUN_DTYPE_F32 : 0,
        .window_left = p->window_left,
        .window_right = p->window_right,
        .global_tokens = p->global_tokens,
        .block_q = p->block_q,
        .block_k = p->block_k};
    memcpy(d.mask_stride, p->mask_stride, sizeof d.mask_stride);
    memcpy(d.bias_stride, p->bias_stride, sizeof d.bias_stride);
    memcpy(d.block_stride, p->block_stride, sizeof d.block_stride);
    placement_strides(&d, p, LAYOUT_BSHD, NULL);
    return d;
}

/* ---- memory ---- */

static const char *const tensor_names[TENSORS] = {"q", "k", "v", "out", "lse"};

static void place_alone(placement *place, int tensor, layout kind, guarded_end end, rng *random) {
    view t = view_of(place, tensor);
    bool live = end == GUARD_AFTER;
    int64_t elements = extent(&t, live);
    int64_t lead = kind == LAYOUT_UNALIGNED && end == GUARD_BEFORE ? rng_between(random, 1, 15) : 0;
    int64_t unreadable = (extent(&t, false) - elements) * (int64_t)sizeof(float);
    guarded_create(
        &place->memory[tensor], tensor_names[tensor], (elements + lead) * (int64_t)sizeof(float), unreadable, end);
    place->data[tensor] = (float *)place->memory[tensor].data + lead;
    if (t.dense != NULL) {
        move_elements(&t, t.dense, place->data[tensor], elements, STORE);
        if (kind == LAYOUT_BROADCAST) {
            move_elements(&t, t.dense, place->data[tensor], elements, LOAD);
        }
    }
}

static void place_fused(placement *place, layout kind, guarded_end end) {
    const problem *p = place->problem;
    int64_t dim = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    int64_t offset[4] = {0, p->heads * p->head_dim, (p->heads + p->kv_heads) * p->head_dim, 0};
    int tensors = 3;
    if (kind == LAYOUT_FUSED_OUT) {
        offset[TENSOR_K] = p->heads * dim;
        offset[TENSOR_V] = (p->heads + p->kv_heads) * dim;
        offset[TENSOR_OUT] = (p->heads + 2 * p->kv_heads) * dim;
        tensors = 4;
    }
    int64_t elements = 0;
    for (int tensor = 0; tensor < tensors; tensor++) {
        view t = view_of(place, tensor);
        int64_t reach = extent(&t, false);
        elements = reach > 0 && offset[tensor] + reach > elements ? offset[tensor] + reach : elements;
    }
    guarded *memory = &place->memory[TENSOR_Q];
    guarded_create(memory, "the fused buffer", elements * (int64_t)sizeof(float), 0, end);
    for (int tensor = 0; tensor < tensors; tensor++) {
        view t = view_of(place, tensor);
        /* where a tensor is empty any pointer will do, but it has to point somewhere */
        place->data[tensor] = (float *)memory->data + (extent(&t, false) > 0 ? offset[tensor] : 0);
        if (t.dense != NULL) {
            move_elements(&t, t.dense, place->data[tensor], INT64_MAX, STORE);
        }
    }
    if (kind == LAYOUT_FUSED_OUT) {
        place->fused_copy = test_allocate(memory->bytes);
        memcpy(place->fused_copy, memory->data, (size_t)memory->bytes);
    }
}

/* Lengths or biases: elements of 4 bytes, contiguous and read-only. */
static void place_vector(guarded *memory, const char *name, const void *data, int64_t elements, guarded_end end) {
    if (data != NULL) {
        guarded_create(memory, name, elements * (int64_t)sizeof(int32_t), 0, end);
        memcpy(memory->data, data, (size_t)memory->bytes);
        guarded_protect(memory, true);
    }
}

void placement_create(placement *place, problem *p, layout kind, guarded_end end, rng *random) {
    memset(place, 0, sizeof *place);
    place->problem = p;
    place->desc = default_desc(p);
    placement_strides(&place->desc, p, kind, random);
    bool fused = kind == LAYOUT_FUSED || kind == LAYOUT_FUSED_OUT;
    if (fused) {
        place_fused(place, kind, end);
    }
    for (int tensor = 0; tensor < TENSORS; tensor++) {
        if (place->data[tensor] == NULL) {
            place_alone(place, tensor, kind, end, random);
        }
        if (place->memory[tensor].map != NULL && tensor <= TENSOR_V && kind != LAYOUT_FUSED_OUT) {
            guarded_protect(&place->memory[tensor], true);
        }
    }
    place_vector(&place->key_lengths, "key_lengths", p->key_lengths, p->batch, end);
    place_vector(&place->query_lengths, "query_lengths", p->query_lengths, p->batch, end);
    place_vector(&place->slopes, "alibi_slopes", p->alibi_slopes, p->heads, end);
    place_vector(
        &place->table, "relative_position_table", p->relative_table, p->heads * (2 * p->relative_span + 1), end);
}

void placement_destroy(placement *place) {
    for (int tensor = 0; tensor < TENSORS; tensor++) {
        guarded_destroy(&place->memory[tensor]);
    }
    guarded_destroy(&place->key_lengths);
    guarded_destroy(&place->query_lengths);
    guarded_destroy(&place->slopes);
    guarded_destroy(&place->table);
    free(place->fused_copy);
}

/* ---- calls ---- */

int32_t forward_problem(gatun_context *context, const gatun_attention_desc *desc, void *workspace, int64_t bytes,
    const problem *p, const float *q, const float *k, const float *v, float *out, float *lse,
    const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k) {
    const bool masked = (desc->flags & (GATUN_ATTENTION_MASKED | GATUN_ATTENTION_SINKS | GATUN_ATTENTION_PREFIX)) != 0;
    if (p->alibi_slopes == NULL && p->relative_table == NULL && cu_seqlens_q == NULL && !masked) {
        return gatun_attention_forward(
            context, desc, workspace, bytes, q, k, v, p->key_lengths, p->query_lengths, out, lse);
    }
    return gatun_attention_forward_extended(context, desc, workspace, bytes, q, k, v, p->key_lengths, p->query_lengths,
        out, lse, cu_seqlens_q, cu_seqlens_k, NULL, p->mask, p->block_mask, p->bias, p->alibi_slopes, p->sinks,
        p->segments_q, p->segments_k, p->prefix, p->relative_table, p->positions, NULL, NULL);
}

void *new_workspace(const gatun_context *context, const gatun_attention_desc *desc, int64_t *bytes) {
    *bytes = -1;
    int32_t status = gatun_attention_workspace_size(context, desc, bytes);
    if (status != GATUN_OK || *bytes < 64) {
        char message[256] = "";
        gatun_attention_check(context, desc, message, sizeof message);
        test_fail(__FILE__, __LINE__, "gatun_attention_workspace_size: %s, %lld bytes (%s)",
            gatun_status_string(status), (long long)*bytes, message);
        return NULL;
    }
    void *workspace = aligned_alloc(64, (size_t)(*bytes + 63) / 64 * 64);
    if (workspace == NULL) {
        test_fail(__FILE__, __LINE__, "no memory for a workspace of %lld bytes", (long long)*bytes);
    } else {
        memset(workspace, 0xff, (size_t)*bytes);
    }
    return workspace;
}

/*
 * Memory for one workspace, kept from call to call (and with it what the last one left there), that ends at a guard
 * page.
 */
static void *guarded_workspace(const gatun_context *context, const gatun_attention_desc *desc, int64_t *bytes) {
    static guarded arena;
    *bytes = -1;
    int32_t status = gatun_attention_workspace_size(context, desc, bytes);
    if (status != GATUN_OK || *bytes < 64) {
        free(new_workspace(context, desc, bytes)); /* for its message */
        return NULL;
    }
    int64_t rounded = (*bytes + 63) / 64 * 64;
    if (arena.bytes < rounded) {
        guarded_destroy(&arena);
        guarded_create(&arena, "the workspace", 2 * rounded, 0, GUARD_AFTER);
    }
    return arena.data + arena.bytes - rounded;
}

/* Takes the results out of memory, and checks that all else is as it was before the call. */
static bool collect(placement *place, int tensor, float *dense, const char *what) {
    view t = view_of(place, tensor);
    bool in_fused = place->memory[tensor].map == NULL;
    guarded *memory = &place->memory[in_fused ? TENSOR_Q : tensor];
    move_elements(&t, dense, place->data[tensor], INT64_MAX, LOAD);
    move_elements(&t, dense, place->data[tensor], INT64_MAX, ERASE);
    bool clean;
    if (in_fused) {
        clean = guarded_intact(memory) && memcmp(memory->data, place->fused_copy, (size_t)memory->bytes) == 0;
    } else {
        clean = guarded_unwritten(memory);
    }
    CHECK(clean, "%s: the call wrote to memory between or beside the elements of %s", what, tensor_names[tensor]);
    return clean;
}

bool placement_run(placement *place, gatun_context *context, int32_t max_threads, outcome *result, const char *what) {
    gatun_attention_desc desc = place->desc;
    desc.max_threads = max_threads;
    int64_t bytes;
    void *workspace = guarded_workspace(context, &desc, &bytes);
    if (workspace == NULL) {
        return false;
    }
    float *lse = place->no_lse ? NULL : place->data[TENSOR_LSE];
    problem placed = *place->problem; /* with what is read besides q, k and v in guarded memory */
    placed.key_lengths = (int32_t *)(void *)place->key_lengths.data;
    placed.query_lengths = (int32_t *)(void *)place->query_lengths.data;
    placed.alibi_slopes = (float *)(void *)place->slopes.data;
    placed.relative_table = (float *)(void *)place->table.data;
    int32_t status = forward_problem(context, &desc, workspace, bytes, &placed, place->data[TENSOR_Q],
        place->data[TENSOR_K], place->data[TENSOR_V], place->data[TENSOR_OUT], lse, NULL, NULL);
    if (status != GATUN_OK) {
        test_fail(__FILE__, __LINE__, "%s: gatun_attention_forward: %s", what, gatun_status_string(status));
        return false;
    }
    bool clean = collect(place, TENSOR_OUT, result->out, what);
    if (lse != NULL) {
        clean = collect(place, TENSOR_LSE, result->lse, what) && clean;
    }
    return clean;
}

bool run_problem(problem *p, int32_t tier, int32_t max_threads, outcome *result, const char *what) {
    placement place;
    rng random = rng_make(test_seed(), 0);
    placement_create(&place, p, LAYOUT_BSHD, GUARD_AFTER, &random);
    bool ok = placement_run(&place, shared_context(tier), max_threads, result, what);
    placement_destroy(&place);
    return ok;
}

void check_problem(problem *p, outcome *result, const char *what) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    expected want;
    expected_create(&want, p);
    outcome first;
    outcome again;
    outcome_create(&first, p);
    outcome_create(&again, p);
    for (int t = 0; t < tier_count; t++) {
        char name[256];
        snprintf(name, sizeof name, "%s, %s", what, gatun_tier_name(tiers[t]));
        if (run_problem(p, tiers[t], 1, &first, name)) {
            compare_outcome(p, &want, &first, name);
        }
        if (run_problem(p, tiers[t], SHARED_THREADS, &again, name)) {
            check_same_bits(p, &first, &again, name);
        }
    }
    expected_destroy(&want);
    outcome_free(&again);
    if (result != NULL) {
        *result = first;
    } else {
        outcome_free(&first);
    }
}
