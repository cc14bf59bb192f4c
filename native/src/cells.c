/* Entry point of recurrent cells. */
#include "internal.h"

/* Rows of one task: some ten microseconds, about 3 ns for the gates of a column. */
enum { TASK_COLUMNS = 3000, TASK_NS = 10000, MOST_TENSORS = 8 };

typedef struct cell_call {
    gatun__cell_task task;
    void (*function)(const gatun__cell_task *task);
    int64_t rows, rows_per_task;
} cell_call;

static void run_cell(void *argument, const gatun__turn *turn) {
    const cell_call *c = argument;
    gatun__cell_task task = c->task;
    task.begin = turn->index * c->rows_per_task;
    task.end = c->rows - task.begin < c->rows_per_task ? c->rows : task.begin + c->rows_per_task;
    c->function(&task);
}

/* A tensor of the call, as it is given and as it has to be. */
typedef struct operand {
    const void *data;
    int64_t rows, row, columns;
    int state; /* 1, 2: an input and an output with the same number may be one tensor */
    int output;
} operand;

/* One that is not there has no stride, either; NULL without rows is allowed. */
static int32_t check_operand(const operand *o, int wanted, int optional, int64_t rows) {
    if (!wanted)
        return o->data == NULL && o->row == 0 ? GATUN_OK : GATUN_E_INVALID;
    TRY(gatun__pointer_check(o->data, !optional && rows > 0, _Alignof(float)));
    if (o->data == NULL && optional)
        return o->row == 0 ? GATUN_OK : GATUN_E_INVALID;
    return o->row >= o->columns && o->row <= INT32_MAX && gatun__fits(o->rows, o->row) ? GATUN_OK : GATUN_E_INVALID;
}

static int32_t check_overlap(const operand *tensors, int count) {
    for (int a = 0; a < count; a++) {
        const operand *o = &tensors[a];
        for (int b = 0; b < count && o->output && o->data != NULL; b++) {
            const operand *other = &tensors[b];
            if (a == b || other->data == NULL ||
                (o->state != 0 && o->state == other->state && o->data == other->data && o->row == other->row))
                continue;
            const gatun__view to = gatun__matrix_view(o->data, sizeof(float), o->rows, o->row, o->columns);
            const gatun__view from =
                gatun__matrix_view(other->data, sizeof(float), other->rows, other->row, other->columns);
            if (gatun__views_overlap(&to, &from))
                return GATUN_E_OVERLAP;
        }
    }
    return GATUN_OK;
}

static int32_t check_desc(const gatun_context *context, const gatun_recurrent_cell_desc *d) {
    TRY(gatun__context_usable(context));
    if (d == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_recurrent_cell_desc", NULL, 0));
    if (gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return GATUN_E_VERSION;
    const int64_t most = INT32_MAX;
    if (d->flags != 0 || d->max_threads < 0 || d->cell < GATUN_CELL_LSTM || d->cell > GATUN_CELL_GRU_UPDATE ||
        d->rows < 0 || d->rows > most || d->hidden < 1 || d->hidden > most || d->places < 0 || d->places > most)
        return GATUN_E_INVALID;
    return GATUN_OK;
}

int32_t gatun_recurrent_cell(gatun_context *context, const gatun_recurrent_cell_desc *d, const float *x_gates,
    const float *h_gates, const float *h, const float *c, const int32_t *places, float *h_out, float *c_out,
    float *out) {
    TRY(check_desc(context, d));
    const int memory = d->cell == GATUN_CELL_LSTM;
    const int64_t columns = d->hidden * (memory ? 4 : 3);
    if ((places == NULL) != (d->places == 0))
        return GATUN_E_INVALID;
    TRY(gatun__pointer_check(places, 0, _Alignof(int32_t)));
    const int64_t placed = places == NULL ? d->rows : d->places;
    const operand tensors[MOST_TENSORS] = {
        {.data = x_gates, .rows = placed, .row = d->x_row, .columns = columns},
        {.data = h_gates, .rows = d->rows, .row = d->gates_row, .columns = columns},
        {.data = h, .rows = d->rows, .row = d->h_row, .columns = d->hidden, .state = 1},
        {.data = c, .rows = d->rows, .row = d->c_row, .columns = d->hidden, .state = 2},
        {.data = h_out, .rows = d->rows, .row = d->h_out_row, .columns = d->hidden, .state = 1, .output = 1},
        {.data = c_out, .rows = d->rows, .row = d->c_out_row, .columns = d->hidden, .state = 2, .output = 1},
        {.data = out, .rows = placed, .row = d->out_row, .columns = d->hidden, .output = 1},
        {.data = places, .rows = 1, .row = d->rows, .columns = d->rows},
    };
    for (int n = 0; n + 1 < MOST_TENSORS; n++)
        TRY(check_operand(&tensors[n], memory || (n != 3 && n != 5), n == 6, d->rows));
    if (d->rows == 0)
        return GATUN_OK;
    for (int64_t r = 0; places != NULL && r < d->rows; r++) {
        const int64_t place = gatun__load_index(&places[r]);
        if (place < 0 || place >= d->places)
            return GATUN_E_INDEX;
    }
    TRY(check_overlap(tensors, MOST_TENSORS));
    cell_call call = {.task = {.x_gates = x_gates,
                          .h_gates = h_gates,
                          .h = h,
                          .c = c,
                          .places = places,
                          .h_out = h_out,
                          .c_out = c_out,
                          .out = out,
                          .hidden = d->hidden,
                          .last_place = placed - 1,
                          .x_row = d->x_row,
                          .gates_row = d->gates_row,
                          .h_row = d->h_row,
                          .c_row = d->c_row,
                          .h_out_row = d->h_out_row,
                          .c_out_row = d->c_out_row,
                          .out_row = d->out_row,
                          .cell = d->cell},
        .function = context->kernels->cell_f32,
        .rows = d->rows,
        .rows_per_task = gatun__divide_up(TASK_COLUMNS, d->hidden)};
    const int64_t tasks = gatun__divide_up(d->rows, call.rows_per_task);
    const double ns = (double)d->rows * (double)d->hidden * ((double)TASK_NS / TASK_COLUMNS);
    gatun__context_run(context, d->max_threads, tasks, ns < 1e15 ? (int64_t)ns : INT64_MAX / 2, run_cell, &call);
    return GATUN_OK;
}
