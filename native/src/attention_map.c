/* Maps of probabilities: their descriptor, their entry points, and what a task does. */
#include "attention.h"

#include <string.h>

/* ---- checks ---- */

static gatun__view map_view(const gatun_attention_desc *d, const gatun_attention_map_desc *m, const float *map) {
    return (gatun__view){(uintptr_t)map, sizeof *map, {d->batch, d->heads, m->map_rows, m->map_columns},
        {m->map_stride[0], m->map_stride[1], m->map_stride[2], 1}};
}

int32_t gatun_attention_map_check(const gatun_context *context, const gatun_attention_desc *d,
    const gatun_attention_map_desc *m, char *message, int64_t message_size) {
    TRY(gatun__attention_check_desc(context, d, 0, message, message_size));
    if ((d->flags & (GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K)) != 0)
        return gatun__fail(GATUN_E_UNSUPPORTED, message, message_size,
            "flags: expected no ragged sequences, which have no map, got 0x%x", (unsigned)d->flags);
    if (m == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "map_desc: expected a descriptor, got NULL");
    TRY(gatun__struct_check(m, m->struct_size, sizeof *m, "gatun_attention_map_desc", message, message_size));
    if (gatun__any_set(m->reserved, sizeof m->reserved / sizeof m->reserved[0]))
        return gatun__fail(GATUN_E_VERSION, message, message_size, "reserved of map_desc: expected zeros");
    TRY(gatun__range_check("reduction", m->reduction, GATUN_MAP_MEAN, GATUN_MAP_MAX, message, message_size));
    TRY(gatun__range_check("first_row", m->first_row, 0, d->seq_q, message, message_size));
    TRY(gatun__range_check("rows", m->rows, 0, d->seq_q - m->first_row, message, message_size));
    TRY(gatun__range_check("first_key", m->first_key, 0, d->seq_k, message, message_size));
    TRY(gatun__range_check("keys", m->keys, 0, d->seq_k - m->first_key, message, message_size));
    TRY(gatun__range_check("map_rows", m->map_rows, m->rows > 0, m->rows, message, message_size));
    TRY(gatun__range_check("map_columns", m->map_columns, m->keys > 0, m->keys, message, message_size));
    static const char *const axes[] = {"batch", "head", "row"};
    const int64_t size[3] = {d->batch, d->heads, m->map_rows};
    TRY(gatun__stride_check("map_stride", axes, 3, m->map_stride, size, m->map_columns, message, message_size));
    const gatun__view map = map_view(d, m, NULL);
    if (gatun__view_overlaps_itself(&map))
        return gatun__fail(GATUN_E_OVERLAP, message, message_size,
            "map_stride: expected nested strides that give every element its own address, got {%lld, %lld, %lld}",
            (long long)m->map_stride[0], (long long)m->map_stride[1], (long long)m->map_stride[2]);
    return GATUN_OK;
}

static void make_plan(const gatun_context *context, const gatun_attention_desc *d, const gatun_attention_map_desc *m,
    gatun__map_plan *plan) {
    gatun__map_plan_to(plan, d, m, context->kernels->tier, context->kernels->block_lanes, context->threads);
}

int32_t gatun_attention_map_workspace_size(const gatun_context *context, const gatun_attention_desc *desc,
    const gatun_attention_map_desc *map_desc, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    TRY(gatun_attention_map_check(context, desc, map_desc, NULL, 0));
    gatun__map_plan plan;
    make_plan(context, desc, map_desc, &plan);
    *bytes = plan.attention.workspace_bytes;
    return GATUN_OK;
}

/* ---- a task ---- */

typedef struct map_call {
    gatun__attention_call call;
    const gatun_attention_map_desc *desc;
    const gatun__map_plan *plan;
} map_call;

static void run_task(void *argument, const gatun__turn *turn) {
    map_call *m = argument;
    const gatun_attention_map_desc *d = m->desc;
    const gatun__map_plan *plan = m->plan;
    const int64_t heads = m->call.desc->heads, column_task = turn->index % plan->column_tasks,
                  place = turn->index / plan->column_tasks, head = place / plan->row_tasks;
    const int64_t first = place % plan->row_tasks * plan->task_rows,
                  end = gatun__least(first + plan->task_rows, d->map_rows);
    char *slot = m->call.workspace + turn->slot * plan->attention.scratch_bytes;
    gatun__score_changes changes;
    gatun__attention_map_task task = {.reduction = d->reduction,
        .first_row = d->first_row,
        .rows = d->rows,
        .map_rows = d->map_rows,
        .first_key = d->first_key,
        .keys = d->keys,
        .map_columns = d->map_columns,
        .column_begin = column_task * plan->task_columns,
        .column_end = gatun__least((column_task + 1) * plan->task_columns, d->map_columns),
        .map = (float *)m->call.out.base + head / heads * d->map_stride[0] + head % heads * d->map_stride[1],
        .map_row = d->map_stride[2],
        .scratch = slot + plan->own_offset};
    gatun__attention_task *t = &task.attention;
    gatun__attention_describe_head(&m->call, head / heads, head % heads, t, &changes);
    t->blocks = plan->attention.blocks;
    t->scratch = slot;
    const gatun__attention_task described = *t;

    const int64_t row_begin = d->first_row + gatun__bin(first, d->rows, d->map_rows),
                  row_end = d->first_row + gatun__bin(end, d->rows, d->map_rows),
                  live_end = gatun__least(row_end, t->rows);
    for (int64_t row = row_begin; row < live_end; row += plan->attention.task_lanes) {
        *t = described; /* without the floats of other queries */
        t->lane_begin = row;
        t->lane_end = gatun__least(row + plan->attention.task_lanes, live_end);
        gatun__attention_widen(&m->call, slot, t);
        m->call.kernels->attention_map_f32(&task);
    }
    for (int64_t r = end; r-- > first && d->first_row + gatun__bin(r, d->rows, d->map_rows) >= live_end;)
        memset(task.map + r * task.map_row + task.column_begin, 0,
            (size_t)(task.column_end - task.column_begin) * sizeof *task.map);
}

/* ---- the call ---- */

int32_t gatun_attention_map(gatun_context *context, const gatun_attention_desc *desc,
    const gatun_attention_map_desc *map_desc, void *workspace, int64_t workspace_size, const void *q, const void *k,
    const int32_t *key_lengths, const int32_t *query_lengths, float *map, const uint8_t *mask,
    const uint8_t *block_mask, const void *bias, const float *alibi_slopes, const float *sinks,
    const int32_t *segment_ids_q, const int32_t *segment_ids_k, const int32_t *prefix_lengths,
    const float *relative_position_table, const int32_t *query_positions) {
    const gatun__attention_arguments arguments = {.q = q,
        .k = k,
        .out = map,
        .key_lengths = key_lengths,
        .query_lengths = query_lengths,
        .alibi_slopes = alibi_slopes,
        .relative_position_table = relative_position_table,
        .mask = mask,
        .block_mask = block_mask,
        .bias = bias,
        .sinks = sinks,
        .segment_ids_q = segment_ids_q,
        .segment_ids_k = segment_ids_k,
        .prefix_lengths = prefix_lengths,
        .query_positions = query_positions};
    TRY(gatun__context_usable(context));
    TRY(gatun_attention_map_check(context, desc, map_desc, NULL, 0));
    gatun__map_plan plan;
    make_plan(context, desc, map_desc, &plan);
    map_call m = {.call = {.desc = desc,
                      .arguments = &arguments,
                      .plan = &plan.attention,
                      .kernels = context->kernels,
                      .workspace = workspace,
                      .blocks_redone = &context->blocks_redone},
        .desc = map_desc,
        .plan = &plan};
    gatun__attention_split_scale(&m.call);
    TRY(gatun__attention_check_inputs(&m.call, workspace, NULL));
    const int has_cells = desc->batch > 0 && map_desc->map_rows > 0 && map_desc->map_columns > 0;
    TRY(gatun__pointer_check(map, has_cells, _Alignof(float)));
    m.call.out = map_view(desc, map_desc, map);
    if (workspace_size < plan.attention.workspace_bytes)
        return GATUN_E_WORKSPACE;
    TRY(gatun__attention_check_memory(&m.call));
    gatun__context_run(
        context, plan.attention.threads, has_cells ? plan.attention.tasks : 0, plan.attention.work_ns, run_task, &m);
    return GATUN_OK;
}
