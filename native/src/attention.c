/* The attention entry points: check, plan, run. */
#include "internal.h"

#include <math.h>
#include <string.h>

static void make_plan(const gatun_context *context, const gatun_attention_desc *desc, gatun__attention_plan *plan) {
    gatun__attention_plan_to(plan, desc, context->kernels->tier, context->kernels->block_lanes, context->threads,
        &context->caches, context->choices);
}

int32_t gatun_attention_workspace_size(const gatun_context *context, const gatun_attention_desc *desc, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    TRY(gatun_attention_check(context, desc, NULL, 0));
    gatun__attention_plan plan;
    make_plan(context, desc, &plan);
    *bytes = plan.workspace_bytes;
    return GATUN_OK;
}

int32_t gatun_attention_plan(
    const gatun_context *context, const gatun_attention_desc *desc, gatun_attention_plan_info *info) {
    if (info == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    if (info->struct_size < offsetof(gatun_attention_plan_info, threads))
        return GATUN_E_VERSION;
    TRY(gatun_attention_check(context, desc, NULL, 0));
    const int32_t tier = context->kernels->tier;
    gatun__attention_plan plan;
    make_plan(context, desc, &plan);
    const gatun_attention_plan_info full = {
        .struct_size = info->struct_size,
        .tier = tier,
        .kernel = plan.kernel,
        .threads = plan.threads,
        .block_lanes = context->kernels->block_lanes,
        .task_blocks = plan.blocks,
        .tile_keys = GATUN__TILE_KEYS,
        .chain_keys = GATUN__CHAIN_KEYS,
        .split_keys = GATUN__SPLIT_KEYS,
        .keys_stay = plan.keys_stay,
        .copies = plan.copy,
        .key_splits = plan.key_splits,
        .task_lanes = plan.task_lanes,
        .tasks = plan.tasks,
        .scratch_bytes = plan.scratch_bytes,
        .workspace_bytes = plan.workspace_bytes,
        .flops = gatun__attention_flops(desc),
        .predicted_share = gatun__attention_predict(desc, &plan, tier),
    };
    memcpy(info, &full, info->struct_size < sizeof full ? info->struct_size : sizeof full);
    return GATUN_OK;
}

typedef struct call {
    const gatun_attention_desc *desc;
    const gatun__attention_plan *plan;
    const gatun__kernels *kernels;
    const float *q, *k, *v;
    float *out, *lse;
    const int32_t *key_lengths, *query_lengths;
    const int32_t *cu_seqlens_q, *cu_seqlens_k; /* offsets of ragged sequences, or NULL */
    /* What lengths and offsets were when they were checked; whoever reads them again keeps to it. Of ragged sequences: rows
     * or keys of all, of the longest; else of a batch row. */
    int64_t all_rows, all_keys, most_rows, most_keys;
    const float *slopes, *relative; /* biases, or NULL */
    char *workspace;
    _Atomic int32_t *parts_left; /* of each row task, where keys are cut into parts */
    char *partials;
    float q_factor, q_power;
    _Atomic uint64_t *redone; /* the context's count */
} call;

/* scale * log2(e) as a float and a power of two, which keeps scales that are nearly denormal from losing digits. */
static void split_scale(call *c) {
    const gatun_attention_desc *d = c->desc;
    double scale = (d->flags & GATUN_ATTENTION_SCALE) != 0 ? (double)d->scale : 1.0 / sqrt((double)d->head_dim);
    double factor = scale * 1.4426950408889634, magnitude = fabs(factor);
    double power = magnitude > 0x1p100 ? 0x1p40 : magnitude < 0x1p-100 && magnitude > 0 ? 0x1p-40 : 1;
    c->q_factor = (float)(power == 1 ? factor : factor / power);
    c->q_power = (float)power;
}

/* Rows past the query length, of one head. */
static void fill_dead_lanes(const gatun__attention_task *t, int64_t begin, int64_t end) {
    for (int64_t lane = begin; lane < end; lane++) {
        int64_t row = lane / t->group, head = lane % t->group;
        memset(t->out + row * t->out_row + head * t->out_head, 0, (size_t)t->head_dim_v * sizeof(float));
        if (t->lse != NULL)
            t->lse[row * t->lse_row + head * t->lse_head] = -INFINITY;
    }
}

/* The length of a ragged sequence, and its first row. */
static int64_t sequence(const int32_t *offsets, int64_t all, int64_t most, int64_t *first) {
    *first = gatun__load_within(&offsets[0], 0, all);
    const int64_t length = gatun__load_index(&offsets[1]) - *first;
    return gatun__within(length, 0, all - *first < most ? all - *first : most);
}

/* The task of an index: what it reads and writes. lane_begin == lane_end if it has no live lane; *end: of its lanes, those
 * past the query length included. */
static int64_t locate(const call *c, int64_t index, gatun__attention_task *t) {
    const gatun_attention_desc *d = c->desc;
    /* All parts of a head one after the other, since they read the same keys and values. */
    const gatun__attention_plan *plan = c->plan;
    int64_t row_task = index, key_part = 0;
    if (plan->key_splits > 1) {
        row_task = index / plan->key_splits;
        key_part = index % plan->key_splits;
    }
    int64_t unit = row_task, part = 0;
    if (plan->row_tasks > 1) {
        unit = row_task / plan->row_tasks;
        part = row_task % plan->row_tasks;
    }
    int64_t batch = 0, first = unit;
    if (d->batch > 1) {
        batch = unit / plan->head_tasks;
        first = unit % plan->head_tasks;
    }
    const int64_t kv_head = first * plan->task_heads, left = d->kv_heads - kv_head;
    /* Under a causal mask the last rows have most keys: they go first, so that no thread is left with a long task at
     * the end. */
    if (d->causal != GATUN_CAUSAL_NONE)
        part = plan->row_tasks - 1 - part;

    int64_t keys = c->most_keys, rows = c->most_rows, first_key = 0, first_row = 0;
    if (c->cu_seqlens_q != NULL) {
        rows = sequence(&c->cu_seqlens_q[batch], c->all_rows, c->most_rows, &first_row);
    }
    if (c->cu_seqlens_k != NULL) {
        keys = sequence(&c->cu_seqlens_k[batch], c->all_keys, c->most_keys, &first_key);
    }
    if (c->key_lengths != NULL)
        keys = gatun__load_within(&c->key_lengths[batch], 0, c->most_keys);
    if (c->query_lengths != NULL)
        rows = gatun__load_within(&c->query_lengths[batch], 0, c->most_rows);
    int64_t group = d->heads == d->kv_heads ? 1 : d->heads / d->kv_heads, head = kv_head * group;
    int64_t begin = part * plan->task_lanes, end = begin + plan->task_lanes;
    /* Past the end of a ragged sequence lies the next one. */
    int64_t all_rows = c->cu_seqlens_q != NULL ? rows : d->seq_q;
    if (end > all_rows * group)
        end = all_rows * group;
    if (begin > end)
        begin = end;
    int64_t live_end = end < rows * group ? end : rows * group;

    *t = (gatun__attention_task){
        .group = group,
        .lane_begin = begin,
        .lane_end = live_end < begin ? begin : live_end,
        .heads = left < plan->task_heads ? left : plan->task_heads,
        .q_next = group * d->q_stride[2],
        .k_next = d->k_stride[2],
        .v_next = d->v_stride[2],
        .out_next = group * d->out_stride[2],
        .lse_next = group * d->lse_stride[2],
        .out = c->out + batch * d->out_stride[0] + first_row * d->out_stride[1] + head * d->out_stride[2],
        .out_row = d->out_stride[1],
        .out_head = d->out_stride[2],
        .lse = c->lse == NULL
                   ? NULL
                   : c->lse + batch * d->lse_stride[0] + first_row * d->lse_stride[1] + head * d->lse_stride[2],
        .lse_row = d->lse_stride[1],
        .lse_head = d->lse_stride[2],
        .rows = rows,
        .keys = keys,
        .causal_limit = d->causal == GATUN_CAUSAL_NONE       ? INT64_MAX / 2
                        : d->causal == GATUN_CAUSAL_TOP_LEFT ? 1
                                                             : keys - rows + 1,
        .head_dim = (int32_t)d->head_dim,
        .head_dim_v = (int32_t)d->head_dim_v,
        .slopes = c->slopes == NULL ? NULL : c->slopes + head,
        .relative = c->relative == NULL ? NULL : c->relative + head * (2 * d->relative_span + 1),
        .relative_span = d->relative_span,
        .first_position = d->causal == GATUN_CAUSAL_TOP_LEFT ? 0 : keys - rows,
        .q_row = d->q_stride[1],
        .q_head = d->q_stride[2],
        .k_row = d->k_stride[1],
        .v_row = d->v_stride[1],
    };
    if (plan->key_splits > 1) {
        const int64_t splits = gatun__divide_up(d->seq_k, GATUN__SPLIT_KEYS), step = plan->part_splits;
        t->partial_bytes = plan->partial_bytes;
        t->partials = c->partials + row_task * splits * t->partial_bytes;
        t->split_begin = key_part * step;
        t->split_end = t->split_begin + step < splits ? t->split_begin + step : splits;
    }
    if (t->lane_end > t->lane_begin) {
        t->q = c->q + batch * d->q_stride[0] + first_row * d->q_stride[1] + head * d->q_stride[2];
        /* Without keys k and v may be NULL, and are not read. */
        if (keys > 0) {
            t->k = c->k + batch * d->k_stride[0] + first_key * d->k_stride[1] + kv_head * d->k_stride[2];
            t->v = c->v + batch * d->v_stride[0] + first_key * d->v_stride[1] + kv_head * d->v_stride[2];
        }
    }
    return end;
}

static void copy_rows(const float *from, int64_t row, int64_t rows, int32_t dim, float *to) {
    for (int64_t r = 0; r < rows; r++, from += row, to += dim)
        memcpy(to, from, (size_t)dim * sizeof(float));
}

/* The copy of a head in a thread's room. */
typedef struct head_copy {
    int64_t unit; /* batch row * kv_heads + kv_head, or -1 */
} head_copy;

/* Keys and values of the task are those of the thread's copy, which is made now unless it is of this head already. */
static void take_copy(const call *c, int64_t unit, char *room, gatun__attention_task *t) {
    head_copy *copy = (head_copy *)(void *)room;
    float *k = (float *)(void *)(room + GATUN__COPY_HEADER);
    float *v = k + gatun__divide_up(c->desc->seq_k * t->head_dim, 16) * 16;
    if (copy->unit != unit) {
        copy_rows(t->k, t->k_row, t->keys, t->head_dim, k);
        copy_rows(t->v, t->v_row, t->keys, t->head_dim_v, v);
        copy->unit = unit;
    }
    t->k = k;
    t->k_row = t->head_dim;
    t->v = v;
    t->v_row = t->head_dim_v;
}

static void run_kernel(call *c, gatun__attention_task *t, int few) {
    if (few && t->heads > 1) { /* tiny ones by the plan, of which this batch row has few rows */
        for (int64_t h = 0; h < t->heads; h++) {
            gatun__attention_task one = gatun__head_of(t, h);
            run_kernel(c, &one, 1);
        }
        return;
    }
    (few ? c->kernels->attention_few_f32 : c->kernels->attention_f32)(t);
    if (t->redone > 0)
        atomic_fetch_add_explicit(c->redone, t->redone, memory_order_relaxed);
}

static void run_task(void *argument, const gatun__turn *turn) {
    call *c = argument;
    const int64_t index = turn->index;
    const gatun__attention_plan *plan = c->plan;
    gatun__attention_task task, next;
    int64_t end = locate(c, index, &task);
    task.blocks = plan->blocks;
    task.q_factor = c->q_factor;
    task.q_power = c->q_power;
    task.copy_tiles = plan->copy == GATUN_COPY_TILES;
    task.collide = plan->copy != GATUN_COPY_NONE;
    char *room = c->workspace + turn->slot * plan->scratch_bytes;
    task.scratch = room + plan->copy_bytes;
    if (task.lane_end > task.lane_begin) {
        const int64_t parts = plan->row_tasks * plan->key_splits, unit = index / parts;
        const int few = task.rows <= GATUN__FEW_ROWS && task.slopes == NULL && task.relative == NULL;
        const int copied = plan->copy == GATUN_COPY_HEADS && !few && task.keys > 0;
        if (copied)
            take_copy(c, unit, room, &task);
        task.cold = turn->previous < 0 || turn->previous / parts != unit || !plan->keys_stay;
        if (turn->next >= 0 && task.keys * (task.lane_end - task.lane_begin) >= 2048) {
            locate(c, turn->next, &next);
            if (next.q != NULL) {
                int64_t row = next.lane_begin / next.group;
                task.next_q = next.q + row * next.q_row;
                task.next_out = next.out + row * next.out_row;
                task.next_rows = (next.lane_end - next.lane_begin) / next.group;
                const int same = turn->next / parts == unit;
                if (plan->key_splits > 1) {
                    const int64_t key = next.split_begin * GATUN__SPLIT_KEYS;
                    task.next_k = key < next.keys ? next.k + key * next.k_row : NULL;
                } else if (same ? !plan->keys_stay : !copied) {
                    task.next_k = same ? task.k : next.k;
                    task.next_v = same ? task.v : next.v;
                    task.next_keys = next.keys;
                }
            }
        }
        run_kernel(c, &task, few);
    }
    if (plan->key_splits > 1) {
        /* The last part of a row task sees what the others have stored. */
        if (atomic_fetch_sub_explicit(&c->parts_left[index / plan->key_splits], 1, memory_order_acq_rel) > 1)
            return;
        task.split_begin = task.split_end;
        task.next_k = NULL;
        if (task.lane_end > task.lane_begin)
            run_kernel(c, &task, 1);
    }
    for (int64_t h = 0; task.lane_end < end && h < task.heads; h++) {
        const gatun__attention_task one = gatun__head_of(&task, h);
        fill_dead_lanes(&one, one.lane_end, end);
    }
}

static int32_t check_lengths(const int32_t *lengths, int64_t batch, int64_t most) {
    for (int64_t b = 0; lengths != NULL && b < batch; b++) {
        const int64_t length = gatun__load_index(&lengths[b]);
        if (length < 0 || length > most)
            return GATUN_E_LENGTH;
    }
    return GATUN_OK;
}

typedef struct tensor_size {
    int64_t batch, rows, heads, dim;
    const int64_t *stride;
} tensor_size;

static gatun__view view_of(const void *tensor, const tensor_size *e) {
    return gatun__tensor_view(tensor, e->batch, e->rows, e->heads, e->dim, e->stride);
}

static gatun__range range_of(const void *tensor, const tensor_size *e) {
    const uintptr_t begin = (uintptr_t)tensor;
    if (tensor == NULL || e->batch == 0 || e->rows == 0)
        return (gatun__range){begin, begin};
    int64_t last =
        (e->batch - 1) * e->stride[0] + (e->rows - 1) * e->stride[1] + (e->heads - 1) * e->stride[2] + e->dim;
    return (gatun__range){begin, begin + (uintptr_t)last * sizeof(float)};
}

typedef struct placed {
    const void *data;
    const tensor_size *size;
    gatun__range range;
} placed;

static placed place(const void *data, const tensor_size *size) {
    return (placed){data, size, range_of(data, size)};
}

/* Mostly their ranges tell already. */
static inline int overlap(const placed *a, const placed *b) {
    if (!gatun__ranges_meet(&a->range, &b->range))
        return 0;
    const gatun__view a_view = view_of(a->data, a->size), b_view = view_of(b->data, b->size);
    return gatun__views_overlap(&a_view, &b_view);
}

static int32_t check_overlap(const gatun_attention_desc *d, const call *c) {
    /* Ragged sequences are one batch row of all rows: their batch strides are 0. */
    const int ragged_q = c->cu_seqlens_q != NULL, ragged_k = c->cu_seqlens_k != NULL;
    const int64_t q_batch = ragged_q ? d->batch > 0 : d->batch, k_batch = ragged_k ? d->batch > 0 : d->batch;
    const tensor_size q = {q_batch, c->all_rows, d->heads, d->head_dim, d->q_stride};
    const tensor_size k = {k_batch, c->all_keys, d->kv_heads, d->head_dim, d->k_stride};
    const tensor_size v = {k_batch, c->all_keys, d->kv_heads, d->head_dim_v, d->v_stride};
    const tensor_size out = {q_batch, c->all_rows, d->heads, d->head_dim_v, d->out_stride};
    const tensor_size lse = {q_batch, c->all_rows, d->heads, 1, d->lse_stride};
    static const int64_t none[3] = {0, 0, 0};
    const tensor_size lengths = {1, 1, 1, d->batch, none}, offsets = {1, 1, 1, d->batch + 1, none};
    const tensor_size slopes = {1, 1, 1, d->heads, none},
                      relative = {1, 1, 1, d->heads * (2 * d->relative_span + 1), none};
    const struct {
        const void *data;
        const tensor_size *size;
    } inputs[] = {{c->q, &q}, {c->k, &k}, {c->v, &v}, {c->key_lengths, &lengths}, {c->query_lengths, &lengths},
        {c->cu_seqlens_q, &offsets}, {c->cu_seqlens_k, &offsets}, {c->slopes, &slopes}, {c->relative, &relative}};
    const placed out_there = place(c->out, &out), lse_there = place(c->lse, &lse);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        if (inputs[i].data == NULL)
            continue;
        const placed input = place(inputs[i].data, inputs[i].size);
        if (overlap(&out_there, &input) || overlap(&lse_there, &input))
            return GATUN_E_OVERLAP;
    }
    if (ragged_q) { /* gatun_attention_check does not know their rows */
        const gatun__view view = view_of(c->out, &out);
        if (gatun__view_overlaps_itself(&view))
            return GATUN_E_OVERLAP;
    }
    if (c->lse != NULL) {
        const gatun__view view = view_of(c->lse, &lse);
        if (gatun__view_overlaps_itself(&view) || overlap(&out_there, &lse_there))
            return GATUN_E_OVERLAP;
    }
    return GATUN_OK;
}

/* Rows that the strides can reach without overflow. */
static int32_t check_reach(int64_t rows, const int64_t *row_strides[], int tensors) {
    for (int i = 0; i < tensors; i++) {
        int64_t extent;
        if (__builtin_mul_overflow(row_strides[i][1], rows, &extent) || extent > (int64_t)1 << 58)
            return GATUN_E_INVALID;
    }
    return GATUN_OK;
}

/* What ragged sequences hold. */
typedef struct sequences {
    int64_t first, end; /* rows */
    int64_t longest;
} sequences;

/* The sequence after those that s knows, which ends at this offset. */
static int32_t add_sequence(sequences *s, int64_t end, int64_t most, int64_t *length) {
    if (end < s->end)
        return GATUN_E_INDEX;
    *length = end - s->end;
    if (*length > most)
        return GATUN_E_LENGTH;
    s->end = end;
    s->longest = *length > s->longest ? *length : s->longest;
    return GATUN_OK;
}

/* Offsets that do not fall and sequences no longer than declared. *pairs: of a query and a key. */
static int32_t check_offsets(const call *c, sequences *rows, sequences *keys, double *pairs) {
    const gatun_attention_desc *d = c->desc;
    const int ragged_q = c->cu_seqlens_q != NULL, ragged_k = c->cu_seqlens_k != NULL;
    rows->first = rows->end = ragged_q ? gatun__load_index(c->cu_seqlens_q) : 0;
    keys->first = keys->end = ragged_k ? gatun__load_index(c->cu_seqlens_k) : 0;
    if (rows->first < 0 || keys->first < 0)
        return GATUN_E_INDEX;
    for (int64_t b = 1; b <= d->batch; b++) {
        int64_t row_count = d->seq_q, key_count = d->seq_k;
        if (ragged_q)
            TRY(add_sequence(rows, gatun__load_index(&c->cu_seqlens_q[b]), d->seq_q, &row_count));
        if (ragged_k)
            TRY(add_sequence(keys, gatun__load_index(&c->cu_seqlens_k[b]), d->seq_k, &key_count));
        *pairs += (double)row_count * (double)key_count;
    }
    const int64_t *row_tensors[] = {d->q_stride, d->out_stride, d->lse_stride};
    const int64_t *key_tensors[] = {d->k_stride, d->v_stride};
    TRY(check_reach(rows->end, row_tensors, 3));
    return check_reach(keys->end, key_tensors, 2);
}

static int32_t forward(gatun_context *context, const gatun_attention_desc *d, void *workspace, int64_t workspace_size,
    const void *q, const void *k, const void *v, const int32_t *key_lengths, const int32_t *query_lengths, void *out,
    float *lse, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k, const float *slopes, const float *relative) {
    TRY(gatun__context_usable(context));
    TRY(gatun_attention_check(context, d, NULL, 0));
    gatun__attention_plan plan;
    call c = {
        .desc = d,
        .plan = &plan,
        .kernels = context->kernels,
        .q = q,
        .k = k,
        .v = v,
        .out = out,
        .lse = lse,
        .key_lengths = key_lengths,
        .query_lengths = query_lengths,
        .cu_seqlens_q = cu_seqlens_q,
        .cu_seqlens_k = cu_seqlens_k,
        .all_rows = d->seq_q,
        .all_keys = d->seq_k,
        .most_rows = d->seq_q,
        .most_keys = d->seq_k,
        .slopes = slopes,
        .relative = relative,
        .workspace = workspace,
        .redone = &context->blocks_redone,
    };
    split_scale(&c); /* takes a while, meanwhile the rest is checked */
    int has_rows = d->batch > 0 && d->seq_q > 0, has_keys = d->batch > 0 && d->seq_k > 0;
    const int ragged_q = (d->flags & GATUN_ATTENTION_RAGGED_Q) != 0,
              ragged_k = (d->flags & GATUN_ATTENTION_RAGGED_K) != 0;
    if (ragged_q != (cu_seqlens_q != NULL))
        return ragged_q ? GATUN_E_NULL : GATUN_E_INVALID;
    if (ragged_k != (cu_seqlens_k != NULL))
        return ragged_k ? GATUN_E_NULL : GATUN_E_INVALID;
    if ((ragged_q && query_lengths != NULL) || (ragged_k && key_lengths != NULL))
        return GATUN_E_INVALID;
    sequences rows = {0}, keys = {0};
    double pairs = 0;
    if (ragged_q || ragged_k) {
        TRY(gatun__pointer_check(cu_seqlens_q, ragged_q, _Alignof(int32_t)));
        TRY(gatun__pointer_check(cu_seqlens_k, ragged_k, _Alignof(int32_t)));
        TRY(check_offsets(&c, &rows, &keys, &pairs));
    }
    if (ragged_q) {
        c.all_rows = rows.end;
        c.most_rows = rows.longest;
        has_rows = rows.longest > 0;
    }
    if (ragged_k) {
        c.all_keys = keys.end;
        c.most_keys = keys.longest;
        has_keys = keys.longest > 0;
    }
    int biased = (d->flags & GATUN_ATTENTION_BIASED) != 0;
    if (biased != (slopes != NULL || relative != NULL))
        return biased ? GATUN_E_NULL : GATUN_E_INVALID;
    if (relative == NULL && d->relative_span != 0)
        return GATUN_E_INVALID;
    TRY(gatun__pointer_check(workspace, 1, 64));
    TRY(gatun__pointer_check(q, has_rows, _Alignof(float)));
    TRY(gatun__pointer_check(k, has_keys, _Alignof(float)));
    TRY(gatun__pointer_check(v, has_keys, _Alignof(float)));
    TRY(gatun__pointer_check(out, has_rows, _Alignof(float)));
    TRY(gatun__pointer_check(lse, 0, _Alignof(float)));
    TRY(gatun__pointer_check(key_lengths, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(query_lengths, 0, _Alignof(int32_t)));
    TRY(gatun__pointer_check(slopes, 0, _Alignof(float)));
    TRY(gatun__pointer_check(relative, 0, _Alignof(float)));
    make_plan(context, d, &plan);
    if (workspace_size < plan.workspace_bytes)
        return GATUN_E_WORKSPACE;
    if (ragged_q || ragged_k) {
        const double all_keys = ragged_k ? (double)(keys.end - keys.first) : (double)d->batch * (double)d->seq_k;
        gatun__attention_plan_bound(&plan, d, context->kernels->tier, context->kernels->block_lanes,
            ragged_q ? rows.longest : d->seq_q, pairs, all_keys);
    }
    TRY(check_lengths(key_lengths, d->batch, d->seq_k));
    TRY(check_lengths(query_lengths, d->batch, d->seq_q));
    TRY(check_overlap(d, &c));
    for (int32_t slot = 0; plan.copy == GATUN_COPY_HEADS && slot < plan.threads; slot++)
        ((head_copy *)(void *)(c.workspace + slot * plan.scratch_bytes))->unit = -1;
    if (plan.key_splits > 1) {
        const int64_t row_tasks = plan.tasks / plan.key_splits;
        c.parts_left = (_Atomic int32_t *)(void *)(c.workspace + plan.parts_offset);
        c.partials = c.workspace + plan.workspace_bytes -
                     row_tasks * gatun__divide_up(d->seq_k, GATUN__SPLIT_KEYS) * plan.partial_bytes;
        for (int64_t i = 0; i < row_tasks; i++)
            atomic_init(&c.parts_left[i], plan.key_splits);
    }
    gatun__context_run(context, plan.threads, has_rows ? plan.tasks : 0, plan.work_ns, run_task, &c);
    return GATUN_OK;
}

int32_t gatun_attention_forward(gatun_context *context, const gatun_attention_desc *desc, void *workspace,
    int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse) {
    return forward(context, desc, workspace, workspace_size, q, k, v, key_lengths, query_lengths, out, lse, NULL, NULL,
        NULL, NULL);
}

int32_t gatun_attention_forward_extended(gatun_context *context, const gatun_attention_desc *desc, void *workspace,
    int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    const int32_t *page_table, const uint8_t *mask, const uint8_t *block_mask, const float *bias,
    const float *alibi_slopes, const float *sinks, const int32_t *segment_ids_q, const int32_t *segment_ids_k,
    const int32_t *prefix_lengths, const float *relative_position_table, const int32_t *query_positions,
    const float *k_scales, const float *v_scales) {
    const void *unbuilt[] = {page_table, mask, block_mask, bias, sinks, segment_ids_q, segment_ids_k, prefix_lengths,
        query_positions, k_scales, v_scales};
    for (size_t i = 0; i < sizeof unbuilt / sizeof unbuilt[0]; i++) {
        if (unbuilt[i] != NULL)
            return GATUN_E_UNSUPPORTED;
    }
    return forward(context, desc, workspace, workspace_size, q, k, v, key_lengths, query_lengths, out, lse,
        cu_seqlens_q, cu_seqlens_k, alibi_slopes, relative_position_table);
}
