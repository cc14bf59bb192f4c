/* One task of an attention call: what it reads and writes, copies of keys and values, the kernel. */
#include "attention.h"
#include "half.h"

#include <math.h>
#include <string.h>

void gatun__attention_fill_dead(const gatun__attention_task *t, int64_t begin, int64_t end, int64_t out_bytes) {
    for (int64_t lane = begin; lane < end; lane++) {
        int64_t row = lane / t->group, head = lane % t->group;
        memset((char *)t->out + (row * t->out_row + head * t->out_head) * out_bytes, 0,
            (size_t)(t->head_dim_v * out_bytes));
        if (t->lse != NULL)
            t->lse[row * t->lse_row + head * t->lse_head] = -INFINITY;
    }
}

/* The length of a ragged sequence, and its first row. */
static int64_t sequence(const int32_t *offsets, int64_t all, int64_t max, int64_t *first) {
    *first = gatun__load_within(&offsets[0], 0, all);
    const int64_t length = gatun__load_index(&offsets[1]) - *first;
    return gatun__within(length, 0, all - *first < max ? all - *first : max);
}

/* Where a task stands in its call. */
typedef struct task_place {
    int64_t batch, kv_head; /* its first key/value head */
    int64_t row_task;       /* of the call */
    int64_t row_part;       /* of its heads: which of row_tasks */
    int64_t key_part;       /* which of key_splits */
} task_place;

/* Divisions are slow: none by 1. */
static task_place place_of_task(const gatun__attention_call *c, int64_t index) {
    const gatun__attention_plan *plan = c->plan;
    task_place place = {.row_task = index};
    /* All parts of a head one after the other, since they read the same keys and values. */
    if (plan->key_splits > 1) {
        place.row_task = index / plan->key_splits;
        place.key_part = index % plan->key_splits;
    }
    int64_t unit = place.row_task;
    if (plan->row_tasks > 1) {
        unit = place.row_task / plan->row_tasks;
        place.row_part = place.row_task % plan->row_tasks;
    }
    int64_t first = unit;
    if (c->desc->batch > 1) {
        place.batch = unit / plan->head_tasks;
        first = unit % plan->head_tasks;
    }
    place.kv_head = first * plan->task_heads;
    /* Under a causal mask the last rows have most keys: they go first, so that no thread is left with a long task at
     * the end. */
    if (c->desc->causal != GATUN_CAUSAL_NONE)
        place.row_part = plan->row_tasks - 1 - place.row_part;
    return place;
}

/* Of the heads from `head` on; `to` is zeroed. */
static void find_map(
    const void *map, int64_t element_bytes, const int64_t stride[4], int64_t batch, int64_t head, gatun__map *to) {
    if (map == NULL)
        return;
    to->data = (const char *)map + (batch * stride[0] + head * stride[1]) * element_bytes;
    to->head = stride[1];
    to->row = stride[2];
    to->key = stride[3];
}

/* Of the heads of a group from `head` on. Rows and keys of ragged sequences lie one after the other; mask and bias are those of a
 * sequence. */
static void find_changes(const gatun__attention_call *c, int64_t batch, int64_t head, int64_t first_row,
    int64_t first_key, gatun__score_changes *to) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    memset(to, 0, sizeof *to);
    to->any = 1;
    to->keys = gatun__changes_keys(d);
    to->softcap = (float)((double)d->softcap * GATUN__LOG2_E);
    to->sinks = a->sinks == NULL ? NULL : a->sinks + head;
    find_map(a->mask, 1, d->mask_stride, batch, head, &to->mask);
    find_map(a->bias, gatun__dtype_bytes(d->bias_dtype), d->bias_stride, batch, head, &to->bias);
    to->bias_dtype = d->bias_dtype;
    find_map(a->block_mask, 1, d->block_stride, batch, head, &to->blocks);
    to->block_q = d->block_q;
    to->block_k = d->block_k;
    const int64_t row = a->cu_seqlens_q != NULL ? first_row : batch * d->seq_q,
                  key = a->cu_seqlens_k != NULL ? first_key : batch * d->seq_k;
    if (a->segment_ids_q != NULL) {
        to->segments_q = a->segment_ids_q + row;
        to->segments_k = a->segment_ids_k + key;
    }
    if (a->query_positions != NULL)
        to->positions = a->query_positions + row;
    to->causal = d->causal != GATUN_CAUSAL_NONE;
    to->window_left = to->window_right = -1;
    if ((d->flags & GATUN_ATTENTION_WINDOW) != 0) {
        to->window_left = d->window_left;
        to->window_right = d->window_right;
        to->global_tokens = d->global_tokens;
    }
}

static const gatun__score_changes no_changes;

/* Of one batch row or sequence. */
typedef struct sequence_of_call {
    int64_t rows, keys, first_row, first_key;
} sequence_of_call;

static inline sequence_of_call find_sequence(const gatun__attention_call *c, int64_t batch) {
    const gatun__attention_arguments *a = c->arguments;
    sequence_of_call s = {.rows = c->max_rows, .keys = c->max_keys};
    if (a->cu_seqlens_q != NULL)
        s.rows = sequence(&a->cu_seqlens_q[batch], c->all_rows, c->max_rows, &s.first_row);
    if (a->cu_seqlens_k != NULL)
        s.keys = sequence(&a->cu_seqlens_k[batch], c->all_keys, c->max_keys, &s.first_key);
    if (a->key_lengths != NULL)
        s.keys = gatun__load_within(&a->key_lengths[batch], 0, c->max_keys);
    if (a->query_lengths != NULL)
        s.rows = gatun__load_within(&a->query_lengths[batch], 0, c->max_rows);
    return s;
}

/* A task of `group` query heads from `head` on, which share key/value head kv_head, but for its lanes and where tensors are. */
static inline void describe(const gatun__attention_call *c, const sequence_of_call *s, int64_t batch, int64_t head,
    int64_t group, gatun__attention_task *t, gatun__score_changes *changes) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    *t = (gatun__attention_task){
        .group = group,
        .heads = 1,
        .rows = s->rows,
        .head_dim = (int32_t)d->head_dim,
        .alibi_slopes = a->alibi_slopes == NULL ? NULL : a->alibi_slopes + head,
        .relative_position_table =
            a->relative_position_table == NULL ? NULL : a->relative_position_table + head * (2 * d->relative_span + 1),
        .relative_span = d->relative_span,
        .first_position = gatun__first_position(d->causal, s->rows, s->keys),
        .q_row = d->q_stride[1],
        .q_head = d->q_stride[2],
        .k_row = d->k_stride[1],
    };
    const int64_t prefix = a->prefix_lengths == NULL ? 0 : gatun__load_within(&a->prefix_lengths[batch], 0, d->seq_k);
    t->visible = gatun__key_rule_of(d, s->rows, s->keys, prefix, a->query_positions != NULL);
    t->changes = &no_changes;
    if (changes != NULL && gatun__changes_scores(d)) {
        find_changes(c, batch, head, s->first_row, s->first_key, changes);
        t->changes = changes;
    }
}

/* The task of an index: what it reads and writes; changes is where its changes of scores are kept, or NULL if nobody asks for them.
 * lane_begin == lane_end if it has no live lane. Returns the end of its lanes, those past the query length included. */
static int64_t locate(
    const gatun__attention_call *c, int64_t index, gatun__attention_task *t, gatun__score_changes *changes) {
    const gatun_attention_desc *d = c->desc;
    const gatun__attention_arguments *a = c->arguments;
    const gatun__attention_plan *plan = c->plan;
    const task_place place = place_of_task(c, index);
    const int64_t batch = place.batch, kv_head = place.kv_head, left = d->kv_heads - kv_head;
    const sequence_of_call s = find_sequence(c, batch);
    int64_t group = d->heads == d->kv_heads ? 1 : d->heads / d->kv_heads, head = kv_head * group;
    int64_t begin = place.row_part * plan->task_lanes, end = begin + plan->task_lanes;
    /* Past the end of a ragged sequence lies the next one. */
    int64_t all_rows = a->cu_seqlens_q != NULL ? s.rows : d->seq_q;
    if (end > all_rows * group)
        end = all_rows * group;
    if (begin > end)
        begin = end;
    int64_t live_end = end < s.rows * group ? end : s.rows * group;

    describe(c, &s, batch, head, group, t, changes);
    t->lane_begin = begin;
    t->lane_end = live_end < begin ? begin : live_end;
    t->heads = left < plan->task_heads ? left : plan->task_heads;
    t->q_next = group * d->q_stride[2];
    t->k_next = d->k_stride[2];
    t->v_next = d->v_stride[2];
    t->out_next = group * d->out_stride[2];
    t->lse_next = group * d->lse_stride[2];
    t->out = gatun__view_at(&c->out, batch, s.first_row, head);
    t->out_row = d->out_stride[1];
    t->out_head = d->out_stride[2];
    t->lse = a->lse == NULL ? NULL : gatun__view_at(&c->lse, batch, s.first_row, head);
    t->lse_row = d->lse_stride[1];
    t->lse_head = d->lse_stride[2];
    t->head_dim_v = (int32_t)d->head_dim_v;
    t->v_row = d->v_stride[1];
    if (plan->key_splits > 1) {
        const int64_t splits = gatun__divide_up(d->seq_k, GATUN__SPLIT_KEYS), step = plan->part_splits;
        t->partial_bytes = plan->partial_bytes;
        t->partials = c->partials + place.row_task * splits * t->partial_bytes;
        t->split_begin = place.key_part * step;
        t->split_end = t->split_begin + step < splits ? t->split_begin + step : splits;
    }
    if (t->lane_end > t->lane_begin) {
        t->q = gatun__view_at(&c->q, batch, s.first_row, head);
        /* Without keys k and v may be NULL, and are not read. */
        if (s.keys > 0) {
            t->k = gatun__view_at(&c->k, batch, s.first_key, kv_head);
            t->v = gatun__view_at(&c->v, batch, s.first_key, kv_head);
        }
    }
    return end;
}

static void describe_head(const gatun__attention_call *c, const sequence_of_call *s, int64_t batch, int64_t head,
    gatun__attention_task *t, gatun__score_changes *changes) {
    const gatun_attention_desc *d = c->desc;
    describe(c, s, batch, head, 1, t, changes);
    t->q_factor = c->q_factor;
    t->q_power = c->q_power;
    if (s->rows > 0)
        t->q = gatun__view_at(&c->q, batch, s->first_row, head);
    if (s->keys > 0)
        t->k = gatun__view_at(&c->k, batch, s->first_key, head / (d->heads / d->kv_heads));
}

void gatun__attention_describe_head(const gatun__attention_call *c, int64_t batch, int64_t head,
    gatun__attention_task *t, gatun__score_changes *changes) {
    const sequence_of_call s = find_sequence(c, batch);
    describe_head(c, &s, batch, head, t, changes);
    /* No column of values is read: any address will do. */
    t->v = t->k;
    t->v_row = t->k_row;
}

int64_t gatun__attention_describe_outputs(
    const gatun__attention_call *c, int64_t batch, int64_t head, gatun__attention_task *t) {
    const gatun_attention_desc *d = c->desc;
    const sequence_of_call s = find_sequence(c, batch);
    describe_head(c, &s, batch, head, t, NULL);
    if (s.keys > 0)
        t->v = gatun__view_at(&c->v, batch, s.first_key, head / (d->heads / d->kv_heads));
    t->v_row = d->v_stride[1];
    t->head_dim_v = (int32_t)d->head_dim_v;
    t->out = gatun__view_at(&c->out, batch, s.first_row, head);
    t->out_row = d->out_stride[1];
    t->out_head = d->out_stride[2];
    t->lse = c->arguments->lse == NULL ? NULL : gatun__view_at(&c->lse, batch, s.first_row, head);
    t->lse_row = d->lse_stride[1];
    t->lse_head = d->lse_stride[2];
    return c->arguments->cu_seqlens_q != NULL ? s.rows : d->seq_q;
}

static void copy_rows(const float *from, int64_t row, int64_t rows, int32_t dim, float *to) {
    for (int64_t r = 0; r < rows; r++, from += row, to += dim)
        memcpy(to, from, (size_t)dim * sizeof *to);
}

/* What a thread's scratch slot begins with where it has a copy of a head. */
typedef struct head_copy {
    int64_t unit; /* batch row * kv_heads + kv_head, or -1 */
} head_copy;

/* Keys and values of the task are those of the thread's copy, which is made now unless it is of this head already. */
static void take_copy(const gatun__attention_call *c, int64_t unit, char *slot, gatun__attention_task *t) {
    head_copy *copy = (head_copy *)(void *)slot;
    float *k = (float *)(void *)(slot + GATUN__COPY_HEADER);
    float *v = k + gatun__divide_up(c->desc->seq_k * t->head_dim * (int64_t)sizeof *k, 64) * (64 / (int64_t)sizeof *k);
    if (copy->unit != unit) {
        copy_rows(t->k, t->k_row, t->visible.keys, t->head_dim, k);
        copy_rows(t->v, t->v_row, t->visible.keys, t->head_dim_v, v);
        copy->unit = unit;
    }
    t->k = k;
    t->k_row = t->head_dim;
    t->v = v;
    t->v_row = t->head_dim_v;
}

void gatun__attention_widen(const gatun__attention_call *c, char *slot, gatun__attention_task *t) {
    const gatun_attention_desc *d = c->desc;
    if (d->kv_dtype != GATUN_DTYPE_F32) {
        t->widen = c->kernels->widen_f32;
        t->kv_dtype = d->kv_dtype;
        t->widened = (float *)(void *)(slot + c->plan->split_offset);
        t->copy_tiles = 1;
    }
    if (d->dtype == GATUN_DTYPE_F32)
        return;
    float *q = (float *)(void *)(slot + c->plan->queries_offset);
    const int64_t dim = t->head_dim;
    for (int64_t lane = t->lane_begin; lane < t->lane_end; lane++) {
        const int64_t element = lane / t->group * t->q_row + lane % t->group * t->q_head;
        c->kernels->widen_f32(
            (const uint16_t *)(const void *)t->q + element, 0, 1, dim, d->dtype, q + (lane - t->lane_begin) * dim);
    }
    t->q = q - t->lane_begin * dim;
    t->q_row = t->group * dim;
    t->q_head = dim;
}

/* Where the outputs of a task are float, before they are rounded to where `real` has them. */
static void take_outputs(const gatun__attention_call *c, char *slot, gatun__attention_task *t) {
    t->out = (float *)(void *)(slot + c->plan->out_offset) - t->lane_begin * t->head_dim_v;
    t->out_row = t->group * t->head_dim_v;
    t->out_head = t->head_dim_v;
}

static void round_outputs(const gatun__attention_task *t, int32_t dtype, const gatun__attention_task *real) {
    for (int64_t lane = t->lane_begin; lane < t->lane_end; lane++) {
        const float *from = t->out + lane * t->head_dim_v;
        uint16_t *to =
            (uint16_t *)(void *)real->out + lane / t->group * real->out_row + lane % t->group * real->out_head;
        for (int32_t i = 0; i < t->head_dim_v; i++)
            to[i] = dtype == GATUN_DTYPE_BF16 ? gatun__to_bf16(from[i]) : gatun__to_f16(from[i]);
    }
}

void gatun__attention_begin(gatun__attention_call *c) {
    const gatun__attention_plan *plan = c->plan;
    for (int32_t slot = 0; plan->copy == GATUN_COPY_HEADS && slot < plan->threads; slot++)
        ((head_copy *)(void *)(c->workspace + slot * plan->scratch_bytes))->unit = -1;
    if (plan->key_splits > 1) {
        const int64_t row_tasks = plan->tasks / plan->key_splits;
        c->parts_left = (_Atomic int32_t *)(void *)(c->workspace + plan->parts_offset);
        c->partials = c->workspace + plan->workspace_bytes -
                      row_tasks * gatun__divide_up(c->desc->seq_k, GATUN__SPLIT_KEYS) * plan->partial_bytes;
        for (int64_t i = 0; i < row_tasks; i++)
            atomic_init(&c->parts_left[i], plan->key_splits);
    }
}

static void run_kernel(gatun__attention_call *c, gatun__attention_task *t, int decode) {
    if (decode && t->heads > 1) { /* tiny ones by the plan, of which this batch row is for decode */
        for (int64_t h = 0; h < t->heads; h++) {
            gatun__attention_task one = gatun__head_of(t, h);
            run_kernel(c, &one, 1);
        }
        return;
    }
    const gatun__kernels *kernels = c->kernels;
    if (decode)
        kernels->attention_decode_f32(t);
    else if (t->changes->any)
        kernels->attention_f32(t);
    else if (c->plan->kernel == GATUN_KERNEL_BF16 && gatun__is_bf16(t->rows, t->visible.keys))
        kernels->attention_bf16(t);
    else if (kernels->attention_tiny_f32 != NULL && t->widen == NULL && t->alibi_slopes == NULL &&
             t->relative_position_table == NULL &&
             gatun__is_tiny(t->visible.keys, t->lane_end - t->lane_begin, t->head_dim, t->head_dim_v))
        kernels->attention_tiny_f32(t);
    else
        kernels->attention_f32(t);
    if (t->redone > 0)
        atomic_fetch_add_explicit(c->blocks_redone, t->redone, memory_order_relaxed);
}

/* What this thread reads next, for the task to prefetch. same_head: the next task has the keys and values of this one; copied:
 * this one's are those of the thread's copy. */
static void add_next(
    const gatun__attention_call *c, gatun__attention_task *t, int64_t next_index, int same_head, int copied) {
    const gatun__attention_plan *plan = c->plan;
    gatun__attention_task next;
    locate(c, next_index, &next, NULL);
    if (next.q == NULL)
        return;
    const int64_t row = next.lane_begin / next.group;
    t->next_q = next.q + row * next.q_row;
    t->next_out = next.out + row * next.out_row;
    t->next_rows = (next.lane_end - next.lane_begin) / next.group;
    if (plan->key_splits > 1) {
        const int64_t key = next.split_begin * GATUN__SPLIT_KEYS;
        t->next_k = key < next.visible.keys ? next.k + key * next.k_row : NULL;
    } else if (same_head ? !plan->kv_fits_l2 : !copied) {
        t->next_k = same_head ? t->k : next.k;
        t->next_v = same_head ? t->v : next.v;
        t->next_keys = next.visible.keys;
    }
}

void gatun__attention_run_task(void *argument, const gatun__turn *turn) {
    gatun__attention_call *c = argument;
    const int64_t index = turn->index;
    const gatun__attention_plan *plan = c->plan;
    gatun__attention_task task;
    gatun__score_changes changes;
    int64_t end = locate(c, index, &task, &changes);
    task.blocks = plan->blocks;
    task.q_factor = c->q_factor;
    task.q_power = c->q_power;
    task.copy_tiles = plan->copy == GATUN_COPY_TILES;
    task.collide = plan->copy != GATUN_COPY_NONE;
    char *slot = c->workspace + turn->slot * plan->scratch_bytes;
    task.scratch = slot + plan->copy_bytes;
    const int32_t out_dtype = gatun__out_dtype(c->desc);
    const int halves = c->desc->dtype != GATUN_DTYPE_F32 || c->desc->kv_dtype != GATUN_DTYPE_F32;
    gatun__attention_task real; /* where the outputs are of 16 bits */
    if (halves && task.lane_end > task.lane_begin) {
        real = task;
        gatun__attention_widen(c, slot, &task);
        if (out_dtype != GATUN_DTYPE_F32)
            take_outputs(c, slot, &task);
    }
    if (task.lane_end > task.lane_begin) {
        const int64_t parts = plan->row_tasks * plan->key_splits, unit = index / parts;
        const int decode =
            task.rows <= GATUN__DECODE_ROWS && task.alibi_slopes == NULL && task.relative_position_table == NULL;
        const int copied = plan->copy == GATUN_COPY_HEADS && !decode && task.visible.keys > 0;
        if (copied)
            take_copy(c, unit, slot, &task);
        task.cold = !halves && (turn->previous < 0 || turn->previous / parts != unit || !plan->kv_fits_l2);
        if (turn->next >= 0 && !halves && task.visible.keys * (task.lane_end - task.lane_begin) >= 2048)
            add_next(c, &task, turn->next, turn->next / parts == unit, copied);
        run_kernel(c, &task, decode);
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
    if (out_dtype != GATUN_DTYPE_F32 && task.lane_end > task.lane_begin) {
        round_outputs(&task, out_dtype, &real);
        task = real;
    }
    for (int64_t h = 0; task.lane_end < end && h < task.heads; h++) {
        const gatun__attention_task one = gatun__head_of(&task, h);
        gatun__attention_fill_dead(&one, one.lane_end, end, c->out.element_bytes);
    }
}
