/* Entry points over rows: normalization, activation, embedding, pooling, softmax, rotation. */
#include "internal.h"

#include <math.h>

/* Work of one task, in elements: some ten microseconds, the least that is worth handing to another thread. */
enum { TASK_ELEMENTS = 32768, TASK_NS = 10000 };

int64_t gatun__rows_ns(int64_t rows, int64_t elements_per_row) {
    const double ns = (double)rows * (double)elements_per_row * ((double)TASK_NS / TASK_ELEMENTS);
    return ns < 1e15 ? (int64_t)ns : INT64_MAX / 2;
}

typedef struct rows_call {
    gatun__rows_task task;
    void (*function)(const gatun__rows_task *task);
    int64_t rows, rows_per_task;
} rows_call;

static void run_rows(void *argument, const gatun__turn *turn) {
    const rows_call *c = argument;
    gatun__rows_task task = c->task;
    task.begin = turn->index * c->rows_per_task;
    task.end = c->rows - task.begin < c->rows_per_task ? c->rows : task.begin + c->rows_per_task;
    c->function(&task);
}

static int32_t run(gatun_context *context, int32_t max_threads, int64_t rows, const gatun__rows_task *task,
    void (*function)(const gatun__rows_task *), int64_t elements_per_row) {
    if (rows == 0)
        return GATUN_OK;
    rows_call c = {.task = *task, .function = function, .rows = rows};
    c.rows_per_task = gatun__divide_up(TASK_ELEMENTS, elements_per_row);
    if (c.rows_per_task > rows)
        c.rows_per_task = rows;
    int64_t tasks = gatun__divide_up(rows, c.rows_per_task);
    gatun__context_run(context, max_threads, tasks, gatun__rows_ns(rows, elements_per_row), run_rows, &c);
    return GATUN_OK;
}

/* What all descriptors of rows have. */
static int32_t check_sizes(uint32_t unknown_flags, int64_t rows, int64_t dim, int32_t max_threads) {
    const int64_t most = INT32_MAX;
    return unknown_flags != 0 || max_threads < 0 || rows < 0 || rows > most || dim < 1 || dim > most ? GATUN_E_INVALID
                                                                                                     : GATUN_OK;
}

/* Returns from the calling function if the context or what all descriptors have is wrong. */
#define CHECK_DESC(context, d, row_count, known_flags)                                                                 \
    do {                                                                                                               \
        TRY(gatun__context_usable(context));                                                                           \
        if ((d) == NULL)                                                                                               \
            return GATUN_E_NULL;                                                                                       \
        TRY(gatun__struct_check((d), (d)->struct_size, sizeof *(d), "the descriptor", NULL, 0));                       \
        if (gatun__any_set((d)->reserved, sizeof(d)->reserved / sizeof(d)->reserved[0]))                               \
            return GATUN_E_VERSION;                                                                                    \
        TRY(check_sizes((d)->flags & ~(uint32_t)(known_flags), (row_count), (d)->dim, (d)->max_threads));              \
    } while (0)

static int32_t check_choice(int32_t choice, int32_t most) {
    return choice >= 0 && choice <= most ? GATUN_OK : GATUN_E_INVALID;
}

/* A row's stride, and an extent in which no later sum overflows. */
static int32_t check_row(int64_t stride, int64_t dim, int64_t rows) {
    return stride >= dim && stride <= INT32_MAX && gatun__fits(rows, stride) ? GATUN_OK : GATUN_E_INVALID;
}

static int32_t check_pointer(const void *pointer, int needed) {
    return gatun__pointer_check(pointer, needed, _Alignof(float)); /* an int32_t has the same */
}

/* An output may be an input as a whole (element by element the loops read before they write), or must keep clear of it. */
static int clash(
    const float *out, int64_t out_row, const float *in, int64_t in_row, int64_t rows, int64_t dim, int in_place) {
    if (in == NULL || out == NULL || (in_place && in == out && in_row == out_row))
        return 0;
    const gatun__view a = gatun__matrix_view(out, sizeof *out, rows, out_row, dim);
    const gatun__view b = gatun__matrix_view(in, sizeof *in, rows, in_row, dim);
    return gatun__views_overlap(&a, &b);
}

int32_t gatun__norm_of(const gatun_context *context, const gatun_norm_desc *d, const float *x, const float *bias,
    const float *residual, const float *gamma, const float *beta, float *sum, float *out, gatun__rows_task *task) {
    CHECK_DESC(context, d, d->rows, GATUN_NORM_RMS);
    if (!(d->epsilon >= 0) || isinf(d->epsilon))
        return GATUN_E_INVALID;
    TRY(check_row(d->x_row, d->dim, d->rows));
    TRY(check_row(d->out_row, d->dim, d->rows));
    if (residual != NULL)
        TRY(check_row(d->residual_row, d->dim, d->rows));
    if (sum != NULL)
        TRY(check_row(d->sum_row, d->dim, d->rows));
    int needed = d->rows > 0;
    TRY(check_pointer(x, needed));
    TRY(check_pointer(bias, 0));
    TRY(check_pointer(residual, 0));
    TRY(check_pointer(gamma, needed));
    TRY(check_pointer(beta, 0));
    TRY(check_pointer(sum, 0));
    TRY(check_pointer(out, needed));
    const float *parameters[] = {bias, gamma, beta};
    for (int i = 0; i < 3; i++)
        if (parameters[i] != NULL && (clash(out, d->out_row, parameters[i], 0, d->rows, d->dim, 0) ||
                                         clash(sum, d->sum_row, parameters[i], 0, d->rows, d->dim, 0)))
            return GATUN_E_OVERLAP;
    if (clash(out, d->out_row, x, d->x_row, d->rows, d->dim, 1) ||
        clash(out, d->out_row, residual, d->residual_row, d->rows, d->dim, 1) ||
        clash(sum, d->sum_row, x, d->x_row, d->rows, d->dim, 1) ||
        clash(sum, d->sum_row, residual, d->residual_row, d->rows, d->dim, 1) ||
        clash(out, d->out_row, sum, d->sum_row, d->rows, d->dim, 0))
        return GATUN_E_OVERLAP;
    *task = (gatun__rows_task){.x = x,
        .residual = residual,
        .bias = bias,
        .gamma = gamma,
        .beta = beta,
        .sum = sum,
        .out = out,
        .dim = d->dim,
        .x_row = d->x_row,
        .residual_row = d->residual_row,
        .sum_row = d->sum_row,
        .out_row = d->out_row,
        .epsilon = d->epsilon,
        .rms = (d->flags & GATUN_NORM_RMS) != 0};
    return GATUN_OK;
}

int32_t gatun__norm_run(gatun_context *context, int32_t max_threads, int64_t rows, const gatun__rows_task *task) {
    return run(context, max_threads, rows, task, context->kernels->norm_f32, task->dim);
}

int32_t gatun_norm(gatun_context *context, const gatun_norm_desc *d, const float *x, const float *bias,
    const float *residual, const float *gamma, const float *beta, float *sum, float *out) {
    gatun__rows_task task;
    TRY(gatun__norm_of(context, d, x, bias, residual, gamma, beta, sum, out, &task));
    return gatun__norm_run(context, d->max_threads, d->rows, &task);
}

int32_t gatun_activation(gatun_context *context, const gatun_activation_desc *d, const float *x, const float *bias,
    const float *gate, float *out) {
    CHECK_DESC(context, d, d->rows, 0);
    if (d->reserved0 != 0)
        return GATUN_E_VERSION;
    TRY(check_choice(d->activation, GATUN_ACTIVATION_QUICK_GELU));
    if (!gatun__softcap_fits(d->softcap))
        return GATUN_E_INVALID;
    TRY(check_row(d->x_row, d->dim, d->rows));
    TRY(check_row(d->out_row, d->dim, d->rows));
    if (gate != NULL)
        TRY(check_row(d->gate_row, d->dim, d->rows));
    int needed = d->rows > 0;
    TRY(check_pointer(x, needed));
    TRY(check_pointer(bias, 0));
    TRY(check_pointer(gate, 0));
    TRY(check_pointer(out, needed));
    if (clash(out, d->out_row, x, d->x_row, d->rows, d->dim, 1) ||
        clash(out, d->out_row, gate, d->gate_row, d->rows, d->dim, 1) ||
        clash(out, d->out_row, bias, 0, d->rows, d->dim, 0))
        return GATUN_E_OVERLAP;
    const gatun__rows_task task = {.x = x,
        .gate = gate,
        .bias = bias,
        .out = out,
        .dim = d->dim,
        .x_row = d->x_row,
        .gate_row = d->gate_row,
        .out_row = d->out_row,
        .activation = d->activation,
        .softcap = d->softcap};
    return run(context, d->max_threads, d->rows, &task, context->kernels->activation_f32, d->dim);
}

static int32_t check_indices(const int32_t *indices, int64_t rows, int64_t entries) {
    for (int64_t r = 0; r < rows; r++) {
        const int64_t index = gatun__load_index(&indices[r]);
        if (index < 0 || index >= entries)
            return GATUN_E_INDEX;
    }
    return GATUN_OK;
}

typedef struct embedding_call {
    gatun__embedding_task task;
    void (*function)(const gatun__embedding_task *task);
    int64_t rows, rows_per_task;
} embedding_call;

static void run_embedding(void *argument, const gatun__turn *turn) {
    const embedding_call *c = argument;
    gatun__embedding_task task = c->task;
    task.begin = turn->index * c->rows_per_task;
    task.end = c->rows - task.begin < c->rows_per_task ? c->rows : task.begin + c->rows_per_task;
    c->function(&task);
}

/* Of a table that is there. */
static int32_t check_table_type(const gatun_embedding_desc *d, int t) {
    const float scale = d->table_scale[t];
    const int32_t zero = d->table_zero[t];
    switch (d->table_dtype[t]) {
    case 0:
    case GATUN_DTYPE_F32:
        return scale == 0 && zero == 0 ? GATUN_OK : GATUN_E_INVALID;
    case GATUN_DTYPE_U8:
        return isfinite(scale) && scale > 0 && zero >= 0 && zero <= UINT8_MAX ? GATUN_OK : GATUN_E_INVALID;
    default:
        return GATUN_E_INVALID;
    }
}

int32_t gatun_embedding(gatun_context *context, const gatun_embedding_desc *d, const int32_t *ids0, const void *table0,
    const int32_t *ids1, const void *table1, const int32_t *ids2, const void *table2, float *out) {
    CHECK_DESC(context, d, d->rows, 0);
    if (d->reserved0 != 0)
        return GATUN_E_VERSION;
    if (!isfinite(d->scale))
        return GATUN_E_INVALID;
    TRY(check_row(d->out_row, d->dim, d->rows));
    embedding_call c = {.task = {.ids = {ids0, ids1, ids2},
                            .table = {table0, table1, table2},
                            .out = out,
                            .scale = d->scale == 0 ? 1 : d->scale,
                            .dim = d->dim,
                            .out_row = d->out_row},
        .function = context->kernels->embedding_f32,
        .rows = d->rows,
        .rows_per_task = gatun__divide_up(TASK_ELEMENTS, d->dim)};
    gatun__embedding_task *e = &c.task;
    TRY(check_pointer(out, d->rows > 0));
    TRY(gatun__pointer_check(table0, d->rows > 0, 1));
    for (int t = 0; t < 3; t++) {
        TRY(check_pointer(e->ids[t], 0));
        if (e->table[t] == NULL) {
            if (e->ids[t] != NULL || (t == 1 && table2 != NULL))
                return GATUN_E_NULL;
            continue;
        }
        TRY(check_table_type(d, t));
        e->quantized[t] = d->table_dtype[t] == GATUN_DTYPE_U8;
        e->table_scale[t] = d->table_scale[t];
        e->table_zero[t] = (float)d->table_zero[t];
        const int64_t element_bytes = e->quantized[t] ? 1 : sizeof(float);
        TRY(gatun__pointer_check(e->table[t], 0, (size_t)element_bytes));
        int64_t entries = d->table_rows[t];
        if (entries < 1 || entries > INT32_MAX || !gatun__fits(entries, d->dim))
            return GATUN_E_INVALID;
        e->last[t] = entries - 1;
        if (e->ids[t] != NULL)
            TRY(check_indices(e->ids[t], d->rows, entries));
        const gatun__view to = gatun__matrix_view(out, sizeof *out, d->rows, d->out_row, d->dim);
        const gatun__view from = gatun__matrix_view(e->table[t], element_bytes, entries, d->dim, d->dim);
        const gatun__view ids = gatun__matrix_view(e->ids[t], sizeof *ids0, 1, d->rows, d->rows);
        if (gatun__views_overlap(&to, &from) || (e->ids[t] != NULL && gatun__views_overlap(&to, &ids)))
            return GATUN_E_OVERLAP;
    }
    if (d->rows == 0)
        return GATUN_OK;
    int64_t tasks = gatun__divide_up(d->rows, c.rows_per_task);
    gatun__context_run(context, d->max_threads, tasks, gatun__rows_ns(d->rows, d->dim), run_embedding, &c);
    return GATUN_OK;
}

int32_t gatun_pool(
    gatun_context *context, const gatun_pool_desc *d, const float *x, const int32_t *cu_seqlens, float *out) {
    CHECK_DESC(context, d, d->sequences, GATUN_POOL_NORMALIZE);
    TRY(check_choice(d->pooling, GATUN_POOL_LAST));
    if (d->skip < 0 || d->skip > INT32_MAX)
        return GATUN_E_INVALID;
    TRY(check_row(d->x_row, d->dim, 0));
    TRY(check_row(d->out_row, d->dim, d->sequences));
    TRY(check_pointer(cu_seqlens, 1));
    TRY(check_pointer(out, d->sequences > 0));
    const int64_t first = gatun__load_index(cu_seqlens);
    int64_t total = first;
    if (first < 0)
        return GATUN_E_INDEX;
    for (int64_t b = 1; b <= d->sequences; b++) {
        const int64_t end = gatun__load_index(&cu_seqlens[b]);
        if (end < total)
            return GATUN_E_INDEX;
        total = end;
    }
    if (!gatun__fits(total, d->x_row))
        return GATUN_E_INVALID;
    TRY(check_pointer(x, total > 0));
    const gatun__view to = gatun__matrix_view(out, sizeof *out, d->sequences, d->out_row, d->dim);
    const gatun__view from = gatun__matrix_view(x, sizeof *x, total, d->x_row, d->dim);
    const gatun__view offsets =
        gatun__matrix_view(cu_seqlens, sizeof *cu_seqlens, 1, d->sequences + 1, d->sequences + 1);
    if ((total > 0 && gatun__views_overlap(&to, &from)) || gatun__views_overlap(&to, &offsets))
        return GATUN_E_OVERLAP;
    const gatun__rows_task task = {.x = x,
        .out = out,
        .offsets = cu_seqlens,
        .total = total,
        .dim = d->dim,
        .x_row = d->x_row,
        .out_row = d->out_row,
        .pooling = d->pooling,
        .skip = d->skip,
        .normalize = (d->flags & GATUN_POOL_NORMALIZE) != 0};
    int64_t average = d->sequences > 0 ? (total - first) / d->sequences + 1 : 1;
    return run(context, d->max_threads, d->sequences, &task, context->kernels->pool_f32, average * d->dim);
}

int32_t gatun_softmax(gatun_context *context, const gatun_softmax_desc *d, const float *x, float *out) {
    CHECK_DESC(context, d, d->rows, GATUN_SOFTMAX_LOG);
    if (d->reserved0 != 0)
        return GATUN_E_VERSION;
    TRY(check_row(d->x_row, d->dim, d->rows));
    TRY(check_row(d->out_row, d->dim, d->rows));
    TRY(check_pointer(x, d->rows > 0));
    TRY(check_pointer(out, d->rows > 0));
    if (clash(out, d->out_row, x, d->x_row, d->rows, d->dim, 1))
        return GATUN_E_OVERLAP;
    const gatun__rows_task task = {.x = x,
        .out = out,
        .dim = d->dim,
        .x_row = d->x_row,
        .out_row = d->out_row,
        .logarithm = (d->flags & GATUN_SOFTMAX_LOG) != 0};
    return run(context, d->max_threads, d->rows, &task, context->kernels->softmax_f32, d->dim);
}

typedef struct rotary_call {
    gatun__rotary_task task;
    void (*function)(const gatun__rotary_task *task);
    int64_t rows, rows_per_task;
} rotary_call;

static void run_rotary(void *argument, const gatun__turn *turn) {
    const rotary_call *c = argument;
    gatun__rotary_task task = c->task;
    task.begin = turn->index * c->rows_per_task;
    task.end = c->rows - task.begin < c->rows_per_task ? c->rows : task.begin + c->rows_per_task;
    c->function(&task);
}

/* A stride >= 0 whose tensor stays below 2^58 elements, so that no later sum overflows. */
static int32_t check_extent(int64_t rows, int64_t row, int64_t heads, int64_t head, int64_t head_dim) {
    int64_t by_rows, by_heads;
    const int64_t most = (int64_t)1 << 57;
    if (row < 0 || head < 0 || __builtin_mul_overflow(row, rows > 0 ? rows - 1 : 0, &by_rows) ||
        __builtin_mul_overflow(head, heads - 1, &by_heads) || by_rows > most || by_heads > most - head_dim)
        return GATUN_E_INVALID;
    return GATUN_OK;
}

static int32_t check_rotary_desc(const gatun_context *context, const gatun_rotary_desc *d) {
    TRY(gatun__context_usable(context));
    if (d == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_rotary_desc", NULL, 0));
    int64_t reserved = d->reserved0;
    for (size_t i = 0; i < sizeof d->reserved / sizeof d->reserved[0]; i++)
        reserved |= d->reserved[i];
    if (reserved != 0)
        return GATUN_E_VERSION;
    const int64_t most = INT32_MAX;
    if ((d->flags & ~GATUN_ROTARY_INTERLEAVED) != 0 || d->max_threads < 0 || d->rows < 0 || d->rows > most ||
        d->heads < 1 || d->heads > most || d->head_dim < 1 || d->head_dim > most || d->rotary_dim < 2 ||
        d->rotary_dim % 2 != 0 || d->rotary_dim > d->head_dim || d->table_rows < 1 || d->table_rows > most ||
        d->table_rows * d->rotary_dim > (int64_t)1 << 58)
        return GATUN_E_INVALID;
    TRY(check_extent(d->rows, d->x_row, d->heads, d->x_head, d->head_dim));
    return check_extent(d->rows, d->out_row, d->heads, d->out_head, d->head_dim);
}

int32_t gatun_rotary(gatun_context *context, const gatun_rotary_desc *d, const float *x, const int32_t *positions,
    const float *cosines, const float *sines, float *out) {
    TRY(check_rotary_desc(context, d));
    int needed = d->rows > 0;
    TRY(check_pointer(x, needed));
    TRY(check_pointer(positions, needed));
    TRY(check_pointer(cosines, needed));
    TRY(check_pointer(sines, needed));
    TRY(check_pointer(out, needed));
    if (d->rows == 0)
        return GATUN_OK;
    TRY(check_indices(positions, d->rows, d->table_rows));
    const int64_t x_stride[3] = {0, d->x_row, d->x_head}, out_stride[3] = {0, d->out_row, d->out_head};
    const gatun__view from = gatun__tensor_view(x, sizeof *x, 1, d->rows, d->heads, d->head_dim, x_stride);
    const gatun__view to = gatun__tensor_view(out, sizeof *out, 1, d->rows, d->heads, d->head_dim, out_stride);
    const int64_t half = d->rotary_dim / 2;
    const gatun__view position_view = gatun__matrix_view(positions, sizeof *positions, 1, d->rows, d->rows);
    const gatun__view cosine_view = gatun__matrix_view(cosines, sizeof *cosines, d->table_rows, half, half);
    const gatun__view sine_view = gatun__matrix_view(sines, sizeof *sines, d->table_rows, half, half);
    int in_place = x == out && d->x_row == d->out_row && d->x_head == d->out_head;
    if (gatun__view_overlaps_itself(&to) || (!in_place && gatun__views_overlap(&to, &from)) ||
        gatun__views_overlap(&to, &position_view) || gatun__views_overlap(&to, &cosine_view) ||
        gatun__views_overlap(&to, &sine_view))
        return GATUN_E_OVERLAP;
    rotary_call c = {.task = {.x = x,
                         .cosines = cosines,
                         .sines = sines,
                         .positions = positions,
                         .out = out,
                         .heads = d->heads,
                         .head_dim = d->head_dim,
                         .rotary_dim = d->rotary_dim,
                         .table_rows = d->table_rows,
                         .x_row = d->x_row,
                         .x_head = d->x_head,
                         .out_row = d->out_row,
                         .out_head = d->out_head,
                         .interleaved = (d->flags & GATUN_ROTARY_INTERLEAVED) != 0},
        .function = context->kernels->rotary_f32,
        .rows = d->rows,
        .rows_per_task = gatun__divide_up(TASK_ELEMENTS, d->heads * d->head_dim)};
    int64_t tasks = gatun__divide_up(d->rows, c.rows_per_task);
    gatun__context_run(context, d->max_threads, tasks, gatun__rows_ns(d->rows, d->heads * d->head_dim), run_rotary, &c);
    return GATUN_OK;
}
