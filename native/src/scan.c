/*
 * The selective scan and the convolution before it: checks, and how a call is cut up. A task has some channels of some sequences: rows
 * wait for each other, channels do not. Bits do not depend on the cut, so that it may look at the number of threads.
 */
#include "internal.h"

/* Tasks that a thread should have, so that one whose core others use as well does not hold up the call. */
enum { TASKS_PER_THREAD = 4, MOST_STATES = 256 };

/* Operations on a vector, of a state, and of a row without its states: by these the work is estimated. */
enum { STATE_OPERATIONS = 15, ROW_OPERATIONS = 60 };

static const int64_t most_elements = (int64_t)1 << 58;

typedef struct cut {
    int64_t width, channel_tasks, sequences, sequence_tasks;
} cut;

/* most: channels of a task; unit: what they are a multiple of. */
static cut cut_up(int64_t batch, int64_t channels, int64_t most, int64_t unit, int32_t threads) {
    const int64_t wanted = threads == 1 ? 1 : (int64_t)TASKS_PER_THREAD * threads;
    const int64_t even = gatun__divide_up(channels, batch == 0 ? 1 : gatun__divide_up(wanted, batch));
    cut c = {.width = gatun__least(most, gatun__divide_up(even, unit) * unit)};
    c.channel_tasks = gatun__divide_up(channels, c.width);
    c.sequence_tasks = gatun__least(batch, gatun__divide_up(wanted, c.channel_tasks));
    c.sequences = gatun__divide_up(batch, c.sequence_tasks);
    c.sequence_tasks = gatun__divide_up(batch, c.sequences);
    return c;
}

/* ---- checks ---- */

static int within(int64_t value, int64_t least, int64_t most) {
    return value >= least && value <= most;
}

/* What both descriptors have. */
static int32_t check_sizes(int64_t batch, int64_t seq, int64_t channels, int32_t max_threads) {
    const int64_t most = INT32_MAX;
    return within(batch, 0, most) && within(seq, 0, most) && batch * seq <= most && within(channels, 1, most) &&
                   max_threads >= 0
               ? GATUN_OK
               : GATUN_E_INVALID;
}

static int32_t check_row(int64_t row, int64_t least) {
    return within(row, least, INT32_MAX) ? GATUN_OK : GATUN_E_INVALID;
}

/* So much of every sequence, `row` apart, in an extent in which no later sum overflows. */
static int32_t check_state(const float *state, int64_t batch, int64_t row, int64_t size) {
    return state == NULL || (row >= size && (batch == 0 || row <= most_elements / batch)) ? GATUN_OK : GATUN_E_INVALID;
}

static int32_t check_pointer(const void *pointer, int needed) {
    return gatun__pointer_check(pointer, needed, _Alignof(float));
}

/* The rows of a call: the first behind all of them, by offsets that do not fall. */
static int32_t sequences_of(const int32_t *offsets, int64_t batch, int64_t seq, gatun__sequences *s) {
    *s = (gatun__sequences){.offsets = offsets, .seq = seq, .total = batch * seq};
    if (offsets == NULL)
        return GATUN_OK;
    if (seq != 0)
        return GATUN_E_INVALID;
    TRY(check_pointer(offsets, 1));
    for (int64_t n = 0; n <= batch; n++) {
        const int64_t end = gatun__load_index(&offsets[n]);
        if (end < s->total)
            return GATUN_E_INDEX;
        s->total = end;
    }
    return GATUN_OK;
}

/* A tensor of a call, and whether the output may be this one. */
typedef struct operand {
    gatun__view view;
    int64_t row;
    int in_place;
} operand;

static operand rows_of(const float *data, int64_t rows, int64_t row, int64_t columns, int in_place) {
    return (operand){gatun__matrix_view(data, sizeof *data, data == NULL ? 0 : rows, row, columns), row, in_place};
}

static operand elements_of(const void *data, int64_t count) {
    return rows_of(data, 1, 0, count, 0);
}

/* Whether what is written, out and state, meets anything else, or the workspace anything at all. */
static int any_overlap(
    const operand *out, const operand *state, const operand *inputs, int count, const gatun__range *work) {
    const gatun__range written = gatun__view_range(&out->view), kept = gatun__view_range(&state->view);
    if (gatun__views_overlap(&out->view, &state->view) || gatun__ranges_meet(&written, work) ||
        gatun__ranges_meet(&kept, work))
        return 1;
    for (int n = 0; n < count; n++) {
        const operand *in = &inputs[n];
        const gatun__range read = gatun__view_range(&in->view);
        const int same = in->in_place && in->view.base == out->view.base && in->row == out->row;
        if ((!same && gatun__views_overlap(&out->view, &in->view)) || gatun__views_overlap(&state->view, &in->view) ||
            gatun__ranges_meet(&read, work))
            return 1;
    }
    return 0;
}

/* ---- the selective scan ---- */

static int32_t scan_check(const gatun_context *context, const gatun_selective_scan_desc *d) {
    TRY(gatun__context_usable(context));
    if (d == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "the descriptor", NULL, 0));
    if (d->reserved0 != 0 || gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return GATUN_E_VERSION;
    if ((d->flags & ~GATUN_SCAN_SOFTPLUS) != 0)
        return GATUN_E_INVALID;
    TRY(check_sizes(d->batch, d->seq, d->channels, d->max_threads));
    if (!within(d->states, 1, MOST_STATES))
        return GATUN_E_INVALID;
    TRY(check_row(d->x_row, d->channels));
    TRY(check_row(d->delta_row, d->channels));
    TRY(check_row(d->b_row, d->states));
    TRY(check_row(d->c_row, d->states));
    return check_row(d->y_row, d->channels);
}

static cut scan_cut(const gatun_context *context, const gatun_selective_scan_desc *d) {
    return cut_up(d->batch, d->channels, gatun__scan_width(d->states), GATUN__SCAN_UNIT,
        gatun__threads_of(context, d->max_threads));
}

/* Of one thread. */
static int64_t scan_scratch_bytes(const gatun_selective_scan_desc *d, const cut *c) {
    return gatun__scan_scratch_floats(d->states, c->width) * (int64_t)sizeof(float);
}

static int64_t scan_bytes(const gatun_context *context, const gatun_selective_scan_desc *d, const cut *c) {
    return gatun__threads_of(context, d->max_threads) * scan_scratch_bytes(d, c);
}

int32_t gatun_selective_scan_workspace_size(
    const gatun_context *context, const gatun_selective_scan_desc *d, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(scan_check(context, d));
    const cut c = scan_cut(context, d);
    *bytes = scan_bytes(context, d, &c);
    return GATUN_OK;
}

typedef struct scan_call {
    gatun__scan_task task;
    gatun__selective_scan_kernel *kernel;
    cut cut;
    int64_t batch, scratch_floats;
} scan_call;

static void run_scan(void *argument, const gatun__turn *turn) {
    const scan_call *call = argument;
    const cut *c = &call->cut;
    gatun__scan_task task = call->task;
    const int64_t group = turn->index % c->channel_tasks, part = turn->index / c->channel_tasks;
    task.channel_begin = group * c->width;
    task.channel_end = gatun__least(task.channels, task.channel_begin + c->width);
    task.begin = part * c->sequences;
    task.end = gatun__least(call->batch, task.begin + c->sequences);
    task.scratch += turn->slot * call->scratch_floats;
    call->kernel(&task);
}

int32_t gatun_selective_scan(gatun_context *context, const gatun_selective_scan_desc *d, void *workspace,
    int64_t workspace_size, const float *x, const float *delta, const float *a, const float *b, const float *c,
    const float *skip, const float *delta_bias, const float *z, const int32_t *cu_seqlens, float *state, float *y) {
    TRY(scan_check(context, d));
    if (z != NULL)
        TRY(check_row(d->z_row, d->channels));
    scan_call call = {.kernel = context->kernels->selective_scan_f32, .cut = scan_cut(context, d), .batch = d->batch};
    gatun__scan_task *t = &call.task;
    *t = (gatun__scan_task){.x = x,
        .delta = delta,
        .a = a,
        .b = b,
        .c = c,
        .d = skip,
        .delta_bias = delta_bias,
        .z = z,
        .state = state,
        .y = y,
        .channels = d->channels,
        .states = d->states,
        .x_row = d->x_row,
        .delta_row = d->delta_row,
        .b_row = d->b_row,
        .c_row = d->c_row,
        .z_row = d->z_row,
        .y_row = d->y_row,
        .state_row = d->state_row,
        .softplus = (d->flags & GATUN_SCAN_SOFTPLUS) != 0,
        .scratch = workspace};
    TRY(sequences_of(cu_seqlens, d->batch, d->seq, &t->sequences));
    const int64_t rows = t->sequences.total, matrix = d->channels * d->states;
    const int64_t strides[] = {d->x_row, d->delta_row, d->b_row, d->c_row, d->y_row, z == NULL ? 0 : d->z_row};
    for (int n = 0; n < 6; n++)
        if (!gatun__fits(rows, strides[n]))
            return GATUN_E_INVALID;
    TRY(check_state(state, d->batch, d->state_row, matrix));
    const float *const needed[] = {x, delta, b, c, y, a}, *const others[] = {skip, delta_bias, z, state};
    for (int n = 0; n < 6; n++)
        TRY(check_pointer(needed[n], rows > 0));
    for (int n = 0; n < 4; n++)
        TRY(check_pointer(others[n], 0));
    TRY(gatun__pointer_check(workspace, 1, 64));
    const int64_t bytes = scan_bytes(context, d, &call.cut);
    if (workspace_size < bytes)
        return GATUN_E_WORKSPACE;
    if (rows == 0)
        return GATUN_OK;
    const operand inputs[] = {rows_of(x, rows, d->x_row, d->channels, 1),
        rows_of(delta, rows, d->delta_row, d->channels, 1), rows_of(z, rows, d->z_row, d->channels, 1),
        rows_of(b, rows, d->b_row, d->states, 0), rows_of(c, rows, d->c_row, d->states, 0), elements_of(a, matrix),
        elements_of(skip, d->channels), elements_of(delta_bias, d->channels), elements_of(cu_seqlens, d->batch + 1)};
    const operand out = rows_of(y, rows, d->y_row, d->channels, 0),
                  kept = rows_of(state, d->batch, d->state_row, matrix, 0);
    const gatun__range work = gatun__bytes_range(workspace, bytes);
    if (any_overlap(&out, &kept, inputs, sizeof inputs / sizeof inputs[0], &work))
        return GATUN_E_OVERLAP;
    call.scratch_floats = scan_scratch_bytes(d, &call.cut) / (int64_t)sizeof(float);
    const double elements = (double)rows * (double)d->channels;
    const double operations = elements * (double)(STATE_OPERATIONS * d->states + ROW_OPERATIONS);
    const int64_t ns =
        gatun__cycles_ns(gatun__cycles(context->kernels->tier, operations, elements * 4 * sizeof(float)));
    gatun__context_run(context, d->max_threads, call.cut.channel_tasks * call.cut.sequence_tasks, ns, run_scan, &call);
    return GATUN_OK;
}

/* ---- the convolution ---- */

typedef struct convolution_call {
    gatun__convolution_task task;
    gatun__causal_convolution_kernel *kernel;
    cut cut;
    int64_t batch;
} convolution_call;

static void run_convolution(void *argument, const gatun__turn *turn) {
    const convolution_call *call = argument;
    const cut *c = &call->cut;
    gatun__convolution_task task = call->task;
    const int64_t group = turn->index % c->channel_tasks, part = turn->index / c->channel_tasks;
    task.channel_begin = group * c->width;
    task.channel_end = gatun__least(task.channels, task.channel_begin + c->width);
    task.begin = part * c->sequences;
    task.end = gatun__least(call->batch, task.begin + c->sequences);
    call->kernel(&task);
}

static int32_t convolution_check(const gatun_context *context, const gatun_causal_convolution_desc *d) {
    TRY(gatun__context_usable(context));
    if (d == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "the descriptor", NULL, 0));
    if (gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return GATUN_E_VERSION;
    TRY(check_sizes(d->batch, d->seq, d->channels, d->max_threads));
    if (d->flags != 0 || !within(d->width, 1, GATUN__CONVOLUTION_MOST_WIDTH) ||
        !within(d->activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_QUICK_GELU))
        return GATUN_E_INVALID;
    TRY(check_row(d->x_row, d->channels));
    return check_row(d->out_row, d->channels);
}

int32_t gatun_causal_convolution(gatun_context *context, const gatun_causal_convolution_desc *d, const float *x,
    const float *weight, const float *bias, const int32_t *cu_seqlens, float *state, float *out) {
    TRY(convolution_check(context, d));
    const int32_t threads = gatun__threads_of(context, d->max_threads);
    convolution_call call = {.kernel = context->kernels->causal_convolution_f32,
        .cut = cut_up(d->batch, d->channels, GATUN__CONVOLUTION_CHANNELS, GATUN__CONVOLUTION_CHANNELS, threads),
        .batch = d->batch};
    gatun__convolution_task *t = &call.task;
    *t = (gatun__convolution_task){.x = x,
        .weight = weight,
        .bias = bias,
        .state = state,
        .out = out,
        .channels = d->channels,
        .width = d->width,
        .x_row = d->x_row,
        .out_row = d->out_row,
        .state_row = d->state_row,
        .activation = d->activation};
    TRY(sequences_of(cu_seqlens, d->batch, d->seq, &t->sequences));
    const int64_t rows = t->sequences.total, kept_rows = (d->width - 1) * d->channels;
    if (!gatun__fits(rows, d->x_row) || !gatun__fits(rows, d->out_row))
        return GATUN_E_INVALID;
    TRY(check_state(state, d->batch, d->state_row, kept_rows));
    TRY(check_pointer(x, rows > 0));
    TRY(check_pointer(weight, rows > 0));
    TRY(check_pointer(out, rows > 0));
    TRY(check_pointer(bias, 0));
    TRY(check_pointer(state, 0));
    if (rows == 0)
        return GATUN_OK;
    const operand inputs[] = {rows_of(x, rows, d->x_row, d->channels, 0), elements_of(weight, d->channels * d->width),
        elements_of(bias, d->channels), elements_of(cu_seqlens, d->batch + 1)};
    const operand to = rows_of(out, rows, d->out_row, d->channels, 0),
                  kept = rows_of(state, d->batch, d->state_row, kept_rows, 0);
    const gatun__range work = gatun__bytes_range(NULL, 0);
    if (any_overlap(&to, &kept, inputs, sizeof inputs / sizeof inputs[0], &work))
        return GATUN_E_OVERLAP;
    const double elements = (double)rows * (double)d->channels;
    const int64_t ns = gatun__cycles_ns(gatun__cycles(
        context->kernels->tier, elements * (double)(d->width + ROW_OPERATIONS / 2), elements * 2 * sizeof(float)));
    gatun__context_run(
        context, d->max_threads, call.cut.channel_tasks * call.cut.sequence_tasks, ns, run_convolution, &call);
    return GATUN_OK;
}
