/*
 * Linear layers with packed weights: checks, and how a call is cut up. Bits do not depend on the cut, so that it may look at
 * the number of threads: blocks of at most 64 rows, which share each panel while it is in L2, and where threads need more tasks
 * than that makes, groups of panels. A thread keeps the rows that it has converted from one task to the next.
 */
#include "internal.h"

#include <string.h>

/* Tasks for each thread, so that one whose core others use as well does not hold up the call; and what each of them shall take
 * at least. */
enum { TASKS_PER_THREAD = 4, LEAST_TASK_NS = 5000 };

/* The kernel of weights of a format, which is a known one. */
static gatun__linear_kernel *kernel_of(const gatun__kernels *k, int32_t format, gatun__linear_traits *traits) {
    switch (format) {
    case GATUN_WEIGHTS_BF16:
        *traits = k->traits_bf16;
        return k->linear_bf16;
    case GATUN_WEIGHTS_F16:
        *traits = k->traits_f16;
        return k->linear_f16;
    case GATUN_WEIGHTS_I8:
        *traits = k->traits_i8;
        return k->linear_i8;
    case GATUN_WEIGHTS_Q8_0:
        *traits = k->traits_q8_0;
        return k->linear_q8_0;
    case GATUN_WEIGHTS_Q4_0:
        *traits = k->traits_q4_0;
        return k->linear_q4_0;
    default:
        *traits = k->traits_f32;
        return k->linear_f32;
    }
}

static gatun__linear_plan plan_of(const gatun_context *context, const gatun_packed_linear_desc *d) {
    gatun__linear_traits kernel;
    gatun__linear_plan p = {.kernel = kernel_of(context->kernels, d->format, &kernel)};
    p.threads = gatun__threads_of(context, d->max_threads);
    p.row_blocks = gatun__divide_up(d->rows, GATUN__MOST_BLOCK_ROWS);
    /* Equal blocks, of whole tiles. */
    const int64_t tiles =
        p.row_blocks == 0 ? 0 : gatun__divide_up(gatun__divide_up(d->rows, p.row_blocks), kernel.tile_rows);
    p.block_rows = gatun__least(tiles * kernel.tile_rows, GATUN__MOST_BLOCK_ROWS);
    if (p.row_blocks > 1)
        p.row_blocks = gatun__divide_up(d->rows, p.block_rows);
    p.panels = gatun__divide_up(d->out_features, GATUN__PANEL_COLUMNS);
    const double rows = (double)d->rows, in = (double)d->in_features, out = (double)d->out_features;
    p.weight_bytes = (double)p.panels * (double)gatun__panel_bytes(d->format, d->in_features);
    p.fmas = rows * in * out / kernel.speed;
    p.work_ns = gatun__cycles_ns(
        gatun__cycles(context->kernels->tier, p.fmas, rows * (in + out) * sizeof(float) + p.weight_bytes));
    p.groups = 1;
    if (p.threads > 1 && p.row_blocks > 0) {
        const int64_t wanted = gatun__least(gatun__divide_up(TASKS_PER_THREAD * (int64_t)p.threads, p.row_blocks),
            p.work_ns / p.row_blocks / LEAST_TASK_NS);
        p.groups = wanted < 1 ? 1 : gatun__least(wanted, p.panels);
    }
    p.group_panels = gatun__divide_up(p.panels, p.groups);
    p.groups = gatun__divide_up(p.panels, p.group_panels);
    /* Not of the blocks that this call has: more rows never need less. */
    const int64_t most_rows =
        gatun__least(gatun__divide_up(d->rows, kernel.tile_rows) * kernel.tile_rows, GATUN__MOST_BLOCK_ROWS);
    p.scratch_bytes = GATUN__LINEAR_SUMS;
    if (kernel.element_bytes > 0)
        p.scratch_bytes +=
            GATUN__LINEAR_SCALES + most_rows * gatun__converted_row(d->in_features, kernel.element_bytes);
    return p;
}

static void run_task(void *argument, const gatun__turn *turn) {
    const gatun__product *p = argument;
    gatun__linear_task task = p->task;
    const int64_t block = turn->index / p->plan.groups, group = turn->index % p->plan.groups;
    task.row_begin = block * p->plan.block_rows;
    task.row_end = gatun__least(task.row_end, task.row_begin + p->plan.block_rows);
    task.panel_begin = group * p->plan.group_panels;
    task.panel_end = gatun__least(p->plan.panels, task.panel_begin + p->plan.group_panels);
    task.converted = turn->previous >= 0 && turn->previous / p->plan.groups == block;
    task.scratch = p->workspace + turn->slot * p->plan.scratch_bytes;
    p->plan.kernel(&task);
}

int32_t gatun_packed_linear_check(
    const gatun_context *context, const gatun_packed_linear_desc *d, char *message, int64_t message_size) {
    if (d == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "desc: expected a descriptor, got NULL");
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_packed_linear_desc", message, message_size));
    const int unknown = d->reserved0 != 0 || gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]);
    TRY(gatun__packed_members_check(unknown, d->flags, d->format, message, message_size));
    if (d->activation < GATUN_ACTIVATION_NONE || d->activation > GATUN_ACTIVATION_QUICK_GELU)
        return gatun__fail(GATUN_E_INVALID, message, message_size,
            "activation: expected a GATUN_ACTIVATION_* constant, got %d", (int)d->activation);
    const int64_t most = INT32_MAX;
    TRY(gatun__range_check("max_threads", d->max_threads, 0, most, message, message_size));
    TRY(gatun__range_check("rows", d->rows, 0, most, message, message_size));
    TRY(gatun__range_check("in_features", d->in_features, 1, most, message, message_size));
    TRY(gatun__range_check("out_features", d->out_features, 1,
        gatun__least(most, GATUN__MOST_ELEMENTS / d->in_features), message, message_size));
    TRY(gatun__range_check("x_row", d->x_row, d->in_features, most, message, message_size));
    TRY(gatun__range_check("out_row", d->out_row, d->out_features, most, message, message_size));
    if (d->gate_row != 0)
        TRY(gatun__range_check("gate_row", d->gate_row, d->out_features, most, message, message_size));
    if (d->residual_row != 0)
        TRY(gatun__range_check("residual_row", d->residual_row, d->out_features, most, message, message_size));
    const int64_t row[] = {d->x_row, d->out_row, d->gate_row, d->residual_row};
    for (int i = 0; i < 4; i++)
        if (!gatun__fits(d->rows, row[i]))
            return gatun__fail(GATUN_E_INVALID, message, message_size,
                "rows: expected at most 2^58 elements from first to last, got %lld rows %lld apart", (long long)d->rows,
                (long long)row[i]);
    if (context != NULL) {
        const int32_t status = gatun__context_usable(context);
        if (status != GATUN_OK)
            return gatun__fail(status, message, message_size, "context: %s", gatun_status_string(status));
    }
    return GATUN_OK;
}

static int64_t workspace_bytes(const gatun__linear_plan *p) {
    return p->threads * p->scratch_bytes < 64 ? 64 : p->threads * p->scratch_bytes;
}

int32_t gatun_packed_linear_workspace_size(
    const gatun_context *context, const gatun_packed_linear_desc *d, int64_t *bytes) {
    if (context == NULL || bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun_packed_linear_check(context, d, NULL, 0));
    const gatun__linear_plan p = plan_of(context, d);
    *bytes = workspace_bytes(&p);
    return GATUN_OK;
}

static int clash(const gatun__view *out, const float *in, int64_t rows, int64_t row, int64_t columns) {
    const gatun__view other = gatun__matrix_view(in, sizeof *in, rows, row, columns);
    return in != NULL && gatun__views_overlap(out, &other);
}

/* With the sizes that the descriptor has, already checked. */
static int32_t check_tensors(const gatun_packed_linear_desc *d, const void *workspace, int64_t workspace_size,
    const void *packed, int64_t packed_bytes, const float *x, const float *bias, const float *gate,
    const float *residual, const float *out) {
    if ((gate != NULL && d->gate_row == 0) || (residual != NULL && d->residual_row == 0))
        return GATUN_E_INVALID;
    const uintptr_t alignment = _Alignof(float);
    TRY(gatun__pointer_check(workspace, 1, 64));
    TRY(gatun__pointer_check(x, 1, alignment));
    TRY(gatun__pointer_check(bias, 0, alignment));
    TRY(gatun__pointer_check(gate, 0, alignment));
    TRY(gatun__pointer_check(residual, 0, alignment));
    TRY(gatun__pointer_check(out, 1, alignment));
    const gatun__view to = gatun__matrix_view(out, sizeof *out, d->rows, d->out_row, d->out_features);
    const int in_gate = gate == out && d->gate_row == d->out_row;
    const int in_residual = residual == out && d->residual_row == d->out_row;
    if (clash(&to, x, d->rows, d->x_row, d->in_features) || clash(&to, bias, 1, d->out_features, d->out_features) ||
        (!in_gate && clash(&to, gate, d->rows, d->gate_row, d->out_features)) ||
        (!in_residual && clash(&to, residual, d->rows, d->residual_row, d->out_features)))
        return GATUN_E_OVERLAP;
    /* These may not lie between the rows of out either. */
    const gatun__range written = gatun__view_range(&to), weights = gatun__bytes_range(packed, packed_bytes),
                       work = gatun__bytes_range(workspace, workspace_size);
    return gatun__ranges_meet(&written, &weights) || gatun__ranges_meet(&written, &work) ||
                   gatun__ranges_meet(&weights, &work)
               ? GATUN_E_OVERLAP
               : GATUN_OK;
}

int32_t gatun__product_of(const gatun_context *context, const gatun_packed_linear_desc *d, const void *workspace,
    int64_t workspace_size, const void *packed, int64_t packed_size, const float *x, const float *bias,
    const float *gate, const float *residual, float *out, gatun__product *p) {
    TRY(gatun_packed_linear_check(context, d, NULL, 0));
    gatun__packed_header header;
    TRY(gatun__packed_header_to(&header, packed, packed_size, NULL, 0));
    if (header.format != d->format || header.in_features != d->in_features || header.out_features != d->out_features)
        return GATUN_E_INVALID;
    p->plan = plan_of(context, d);
    p->task = (gatun__linear_task){.x = x,
        .bias = bias,
        .gate = gate,
        .residual = residual,
        .out = out,
        .panels = (const char *)packed + GATUN__PACKED_HEADER,
        .panel_bytes = gatun__panel_bytes(d->format, d->in_features),
        .x_row = d->x_row,
        .gate_row = d->gate_row,
        .residual_row = d->residual_row,
        .out_row = d->out_row,
        .depth = d->in_features,
        .columns = d->out_features,
        .row_end = d->rows,
        .activation = d->activation};
    if (d->rows == 0)
        return GATUN_OK;
    const int64_t bytes = workspace_bytes(&p->plan);
    TRY(check_tensors(d, workspace, bytes, packed, header.bytes, x, bias, gate, residual, out));
    return workspace_size < bytes ? GATUN_E_WORKSPACE : GATUN_OK;
}

void gatun__product_run(gatun_context *context, gatun__product *p, void *workspace) {
    if (p->task.row_end == 0)
        return;
    p->workspace = workspace;
    gatun__context_run(context, p->plan.threads, p->plan.row_blocks * p->plan.groups, p->plan.work_ns, run_task, p);
}

int32_t gatun_packed_linear(gatun_context *context, const gatun_packed_linear_desc *d, void *workspace,
    int64_t workspace_size, const void *packed, int64_t packed_size, const float *x, const float *bias,
    const float *gate, const float *residual, float *out) {
    TRY(gatun__context_usable(context));
    gatun__product p;
    TRY(gatun__product_of(
        context, d, workspace, workspace_size, packed, packed_size, x, bias, gate, residual, out, &p));
    gatun__product_run(context, &p, workspace);
    return GATUN_OK;
}
