/*
 * Rows through several layers. Where no step reads what another thread may write, which is nearly always, a task is a block of
 * rows and takes it through all steps; bits are those of one step after another. Otherwise, and where there are so few rows that
 * each thread would read all weights for next to nothing, that is what is done.
 */
#include "internal.h"

#include <string.h>

enum {
    /* Blocks for each thread, at most, where blocks could be larger. */
    BLOCKS_PER_THREAD = 4,
    /* What threads lose at the end of a call of one step: it is divided, they begin and are waited for. */
    BARRIER_NS = 3000,
    /* Of L3, that the weights of some steps may take for all of a model to stay there. */
    CACHED_SHARE = 8
};

/* Of weights that many threads read at the same time, in bytes a cycle: from L3, and from memory. */
static const double CACHED_BYTES = 16, MEMORY_BYTES = 8;

typedef struct step {
    int32_t kind;
    int scratch; /* out is not needed afterwards */
    int64_t weights_bytes;
    const void *weights;
    union {
        gatun__product product;
        gatun__rows_task norm;
    };
} step;

typedef struct call {
    gatun__norm_kernel *norm;
    char *workspace;
    int64_t rows, block_rows, blocks;
    int64_t scratch_bytes; /* of one thread */
    int reuse;             /* each thread keeps scratch matrices in rows of its own */
    /* Bits of the steps whose operand is such a matrix. */
    uint32_t scratch_out, scratch_x, scratch_residual, scratch_gate;
    int32_t count;
    step steps[GATUN_ROW_STEPS_MOST];
} call;

/* ---- checks ---- */

static const gatun_row_step *step_at(const gatun_row_step *steps, int32_t n) {
    return (const gatun_row_step *)(const void *)((const char *)steps + (size_t)n * steps->struct_size);
}

static int32_t desc_check(const gatun_row_steps_desc *d, const gatun_row_step *steps) {
    if (d == NULL || steps == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_row_steps_desc", NULL, 0));
    if (d->flags != 0 || gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return GATUN_E_VERSION;
    if (d->steps < 1 || d->steps > GATUN_ROW_STEPS_MOST || d->max_threads < 0 || d->rows < 0 || d->rows > INT32_MAX)
        return GATUN_E_INVALID;
    if (steps->struct_size % _Alignof(gatun_row_step) != 0)
        return GATUN_E_VERSION;
    for (int32_t n = 0; n < d->steps; n++) {
        const gatun_row_step *s = step_at(steps, n);
        if (s->struct_size != steps->struct_size)
            return GATUN_E_INVALID;
        TRY(gatun__struct_check(s, s->struct_size, sizeof *s, "gatun_row_step", NULL, 0));
        if (s->reserved0 != 0 || gatun__any_set(s->reserved, sizeof s->reserved / sizeof s->reserved[0]))
            return GATUN_E_VERSION;
        const uint32_t known = GATUN_ROW_STEP_SCRATCH | (s->kind == GATUN_ROW_STEP_NORM ? GATUN_ROW_STEP_RMS : 0);
        if ((s->flags & ~known) != 0)
            return GATUN_E_INVALID;
        const int32_t operands[] = {s->x, s->packed, s->bias, s->gate, s->residual, s->gamma, s->beta, s->sum, s->out};
        for (size_t i = 0; i < sizeof operands / sizeof operands[0]; i++)
            if (operands[i] < 0 || operands[i] > GATUN_ROW_OPERANDS_MOST)
                return GATUN_E_INVALID;
        if (s->kind == GATUN_ROW_STEP_LINEAR) {
            if (s->gamma != 0 || s->beta != 0 || s->sum != 0 || s->sum_row != 0 || s->epsilon != 0)
                return GATUN_E_INVALID;
        } else if (s->kind == GATUN_ROW_STEP_NORM) {
            if (s->packed != 0 || s->gate != 0 || s->gate_row != 0 || s->packed_size != 0 || s->format != 0 ||
                s->activation != 0 || s->in_features != s->out_features)
                return GATUN_E_INVALID;
        } else {
            return GATUN_E_INVALID;
        }
    }
    return GATUN_OK;
}

static gatun_packed_linear_desc linear_of(const gatun_row_steps_desc *d, const gatun_row_step *s) {
    return (gatun_packed_linear_desc){.struct_size = sizeof(gatun_packed_linear_desc),
        .format = s->format,
        .activation = s->activation,
        .rows = d->rows,
        .in_features = s->in_features,
        .out_features = s->out_features,
        .x_row = s->x_row,
        .out_row = s->out_row,
        .gate_row = s->gate_row,
        .residual_row = s->residual_row,
        .max_threads = d->max_threads};
}

static gatun_norm_desc norm_of(const gatun_row_steps_desc *d, const gatun_row_step *s) {
    return (gatun_norm_desc){.struct_size = sizeof(gatun_norm_desc),
        .flags = (s->flags & GATUN_ROW_STEP_RMS) != 0 ? GATUN_NORM_RMS : 0,
        .rows = d->rows,
        .dim = s->in_features,
        .x_row = s->x_row,
        .residual_row = s->residual_row,
        .sum_row = s->sum_row,
        .out_row = s->out_row,
        .epsilon = s->epsilon,
        .max_threads = d->max_threads};
}

/* ---- what steps share ---- */

enum { OUT, SUM, X, RESIDUAL, GATE, BIAS, GAMMA, BETA, WEIGHTS, OPERANDS };

/* Where a tensor of a step lies. row: of one with rows, in elements, 0 of others. */
typedef struct operand {
    gatun__range at;
    int64_t row;
} operand;

static operand rows_at(const float *base, int64_t rows, int64_t row, int64_t columns) {
    const gatun__view view = gatun__matrix_view(base, sizeof *base, rows, row, columns);
    return (operand){gatun__view_range(&view), base == NULL ? 0 : row};
}

static operand bytes_at(const void *base, int64_t bytes) {
    return (operand){gatun__bytes_range(base, bytes), 0};
}

static void operands_of(const step *s, int64_t rows, operand to[OPERANDS]) {
    memset(to, 0, OPERANDS * sizeof *to);
    if (s->kind == GATUN_ROW_STEP_LINEAR) {
        const gatun__linear_task *t = &s->product.task;
        to[OUT] = rows_at(t->out, rows, t->out_row, t->columns);
        to[X] = rows_at(t->x, rows, t->x_row, t->depth);
        to[RESIDUAL] = rows_at(t->residual, rows, t->residual_row, t->columns);
        to[GATE] = rows_at(t->gate, rows, t->gate_row, t->columns);
        to[BIAS] = bytes_at(t->bias, t->columns * (int64_t)sizeof(float));
        to[WEIGHTS] = bytes_at(s->weights, s->weights_bytes);
        return;
    }
    const gatun__rows_task *t = &s->norm;
    const int64_t bytes = t->dim * (int64_t)sizeof(float);
    to[OUT] = rows_at(t->out, rows, t->out_row, t->dim);
    to[SUM] = rows_at(t->sum, rows, t->sum_row, t->dim);
    to[X] = rows_at(t->x, rows, t->x_row, t->dim);
    to[RESIDUAL] = rows_at(t->residual, rows, t->residual_row, t->dim);
    to[BIAS] = bytes_at(t->bias, bytes);
    to[GAMMA] = bytes_at(t->gamma, bytes);
    to[BETA] = bytes_at(t->beta, bytes);
}

static gatun__view rows_view(const operand *o, int64_t rows) {
    const int64_t bytes = sizeof(float), elements = (int64_t)(o->at.end - o->at.begin) / bytes;
    return gatun__matrix_view((const void *)o->at.begin, bytes, rows, o->row, elements - (rows - 1) * o->row);
}

/* Whether they share memory otherwise than row by row. */
static int tangled(const operand *a, const operand *b, int64_t rows) {
    if (!gatun__ranges_meet(&a->at, &b->at) || (a->at.begin == b->at.begin && a->row == b->row && a->row > 0))
        return 0;
    if (a->row != b->row)
        return 1;
    const gatun__view first = rows_view(a, rows), second = rows_view(b, rows);
    return gatun__views_overlap(&first, &second);
}

/* Whether a block of rows may run ahead of the others: nothing that a step writes is anything but the same rows to another. */
static int independent(const operand all[][OPERANDS], int32_t count, int64_t rows) {
    for (int32_t w = 0; w < count; w++)
        for (int o = OUT; o <= SUM; o++)
            for (int32_t n = 0; all[w][o].row > 0 && n < count; n++)
                for (int i = 0; i < OPERANDS; i++)
                    if (tangled(&all[w][o], &all[n][i], rows))
                        return 0;
    return 1;
}

/* Matrices that a thread may keep in rows of its own: whatever writes them says so, and what reads them comes later and reads no
 * more columns than are written. */
static void find_scratch(call *c, const operand all[GATUN_ROW_STEPS_MOST][OPERANDS]) {
    for (int32_t w = 0; w < c->count; w++) {
        const uintptr_t at = all[w][OUT].at.begin;
        uintptr_t written = 0; /* where what all of them write ends */
        int scratch = c->steps[w].scratch;
        for (int32_t n = 0; n < c->count && scratch; n++) {
            for (int i = X; i <= GATE; i++)
                scratch = scratch && (all[n][i].at.begin != at || all[n][i].at.end <= written);
            if (all[n][OUT].at.begin == at) {
                written = written == 0 || all[n][OUT].at.end < written ? all[n][OUT].at.end : written;
                scratch = scratch && c->steps[n].scratch;
            }
            scratch = scratch && all[n][SUM].at.begin != at;
        }
        if (!scratch)
            continue;
        c->scratch_out |= 1u << w;
        for (int32_t n = 0; n < c->count; n++) {
            const uint32_t bit = 1u << n;
            c->scratch_x |= all[n][X].at.begin == at ? bit : 0;
            c->scratch_residual |= all[n][RESIDUAL].at.begin == at ? bit : 0;
            c->scratch_gate |= all[n][GATE].at.begin == at ? bit : 0;
        }
    }
}

/* Whether the workspace is clear of all tensors; sets the bits of scratch and whether rows may be divided. Its table is not to lie in
 * the caller's frame. */
static __attribute__((noinline)) int look_at_memory(call *c, const void *workspace, int64_t bytes, int *divisible) {
    operand all[GATUN_ROW_STEPS_MOST][OPERANDS];
    const gatun__range work = gatun__bytes_range(workspace, bytes);
    for (int32_t n = 0; n < c->count; n++) {
        operands_of(&c->steps[n], c->rows, all[n]);
        for (int i = 0; i < OPERANDS; i++)
            if (gatun__ranges_meet(&all[n][i].at, &work))
                return 0;
    }
    *divisible = independent(all, c->count, c->rows);
    if (*divisible)
        find_scratch(c, all);
    return 1;
}

/* ---- a block of rows ---- */

static const float *moved(const float *base, int64_t row, int64_t first) {
    return base == NULL ? NULL : base + row * first;
}

static void run_block(void *argument, const gatun__turn *turn) {
    const call *c = argument;
    const int64_t begin = turn->index * c->block_rows;
    const int64_t rows = c->rows - begin < c->block_rows ? c->rows - begin : c->block_rows;
    /* Where scratch matrices have the rows of this block. */
    const int64_t own = c->reuse ? turn->slot * c->block_rows : begin;
    for (int32_t n = 0; n < c->count; n++) {
        const step *s = &c->steps[n];
        const uint32_t bit = 1u << n;
        const int64_t x = (c->scratch_x & bit) != 0 ? own : begin, out = (c->scratch_out & bit) != 0 ? own : begin,
                      residual = (c->scratch_residual & bit) != 0 ? own : begin,
                      gate = (c->scratch_gate & bit) != 0 ? own : begin;
        if (s->kind == GATUN_ROW_STEP_LINEAR) {
            gatun__linear_task task = s->product.task;
            task.x = moved(task.x, task.x_row, x);
            task.residual = moved(task.residual, task.residual_row, residual);
            task.gate = moved(task.gate, task.gate_row, gate);
            task.out += task.out_row * out;
            task.row_end = rows;
            task.panel_end = s->product.plan.panels;
            task.scratch = c->workspace + turn->slot * c->scratch_bytes;
            s->product.plan.kernel(&task);
        } else {
            gatun__rows_task task = s->norm;
            task.x = moved(task.x, task.x_row, x);
            task.residual = moved(task.residual, task.residual_row, residual);
            task.sum = task.sum == NULL ? NULL : task.sum + task.sum_row * begin;
            task.out += task.out_row * out;
            task.end = rows;
            c->norm(&task);
        }
    }
}

/* Equal blocks of rows for so many threads. */
static void cut_rows(call *c, int32_t threads) {
    int64_t blocks = gatun__divide_up(c->rows, GATUN__MOST_BLOCK_ROWS);
    if (blocks < (int64_t)BLOCKS_PER_THREAD * threads)
        blocks = gatun__divide_up(blocks, threads) * threads;
    c->block_rows = gatun__divide_up(c->rows, blocks);
    c->blocks = gatun__divide_up(c->rows, c->block_rows);
}

/* Whether blocks of rows take less time than steps that are divided one by one, by a rough model of both. */
static int blocks_are_quicker(const call *c, const gatun_context *context, int32_t threads) {
    if (threads == 1)
        return 1;
    double weight_bytes = 0;
    for (int32_t n = 0; n < c->count; n++)
        if (c->steps[n].kind == GATUN_ROW_STEP_LINEAR)
            weight_bytes += c->steps[n].product.plan.weight_bytes;
    const double bytes_a_cycle = weight_bytes * CACHED_SHARE < (double)context->caches.l3 ? CACHED_BYTES : MEMORY_BYTES;
    const double rounds = (double)gatun__divide_up(c->blocks, threads), share = (double)c->block_rows / (double)c->rows;
    double together = BARRIER_NS, apart = 0;
    for (int32_t n = 0; n < c->count; n++) {
        const step *s = &c->steps[n];
        if (s->kind == GATUN_ROW_STEP_NORM) {
            const double ns = (double)gatun__rows_ns(c->rows, s->norm.dim);
            together += rounds * share * ns;
            apart += ns;
            continue;
        }
        const gatun__linear_plan *p = &s->product.plan;
        const double bytes = p->weight_bytes * 8 / bytes_a_cycle; /* as many of 8 a cycle take as long */
        together += rounds * (double)gatun__cycles_ns(gatun__cycles(context->kernels->tier, p->fmas * share, bytes));
        const double tasks = (double)gatun__least(threads, p->row_blocks * p->groups);
        apart += (double)gatun__cycles_ns(gatun__cycles(context->kernels->tier, p->fmas, bytes)) / tasks +
                 (tasks > 1 ? BARRIER_NS : 0);
    }
    return together <= apart;
}

/* ---- entry points ---- */

int32_t gatun_row_steps_workspace_size(
    const gatun_context *context, const gatun_row_steps_desc *d, const gatun_row_step *steps, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    TRY(desc_check(d, steps));
    int64_t most = 64;
    for (int32_t n = 0; n < d->steps; n++) {
        const gatun_row_step *s = step_at(steps, n);
        if (s->kind != GATUN_ROW_STEP_LINEAR)
            continue;
        const gatun_packed_linear_desc linear = linear_of(d, s);
        int64_t size = 0;
        TRY(gatun_packed_linear_workspace_size(context, &linear, &size));
        if (size > most)
            most = size;
    }
    *bytes = most;
    return GATUN_OK;
}

static int32_t prepare(const gatun_context *context, const gatun_row_steps_desc *d, const gatun_row_step *steps,
    void *workspace, int64_t workspace_size, void *const *operands, call *c) {
    for (int32_t n = 0; n < d->steps; n++) {
        const gatun_row_step *s = step_at(steps, n);
        step *to = &c->steps[n];
        to->kind = s->kind;
        to->scratch = (s->flags & GATUN_ROW_STEP_SCRATCH) != 0;
        to->weights = operands[s->packed];
        to->weights_bytes = s->packed_size;
        const float *x = operands[s->x], *bias = operands[s->bias], *residual = operands[s->residual];
        if (s->kind == GATUN_ROW_STEP_LINEAR) {
            const gatun_packed_linear_desc linear = linear_of(d, s);
            TRY(gatun__product_of(context, &linear, workspace, workspace_size, to->weights, s->packed_size, x, bias,
                operands[s->gate], residual, operands[s->out], &to->product));
            if (to->product.plan.scratch_bytes > c->scratch_bytes)
                c->scratch_bytes = to->product.plan.scratch_bytes;
        } else {
            const gatun_norm_desc norm = norm_of(d, s);
            TRY(gatun__norm_of(context, &norm, x, bias, residual, operands[s->gamma], operands[s->beta],
                operands[s->sum], operands[s->out], &to->norm));
        }
    }
    return GATUN_OK;
}

static int64_t work_ns(const call *c) {
    int64_t ns = 0;
    for (int32_t n = 0; n < c->count; n++)
        ns += c->steps[n].kind == GATUN_ROW_STEP_LINEAR ? c->steps[n].product.plan.work_ns
                                                        : gatun__rows_ns(c->rows, c->steps[n].norm.dim);
    return ns;
}

static int32_t run(gatun_context *context, const gatun_row_steps_desc *d, const gatun_row_step *steps, void *workspace,
    int64_t workspace_size, void *const *operands) {
    TRY(gatun__context_usable(context));
    TRY(desc_check(d, steps));
    TRY(gatun__pointer_check(workspace, 1, 64));
    if (workspace_size < 64)
        return GATUN_E_WORKSPACE;
    call c;
    memset(&c, 0, offsetof(call, steps));
    c.norm = context->kernels->norm_f32;
    c.count = d->steps;
    c.rows = d->rows;
    c.workspace = workspace;
    TRY(prepare(context, d, steps, workspace, workspace_size, operands, &c));
    if (d->rows == 0)
        return GATUN_OK;
    const int32_t threads = gatun__threads_of(context, d->max_threads);
    int divisible;
    if (!look_at_memory(&c, workspace, threads * c.scratch_bytes, &divisible))
        return GATUN_E_OVERLAP;
    if (c.count > 1 && divisible) {
        cut_rows(&c, threads);
        if (blocks_are_quicker(&c, context, threads)) {
            /* With more blocks than threads the rows of the last thread are there, however short the last block is. */
            c.reuse = c.blocks > threads;
            gatun__context_run(context, d->max_threads, c.blocks, work_ns(&c), run_block, &c);
            return GATUN_OK;
        }
    }
    /* Between two steps no job is open that would keep the context. */
    atomic_fetch_add_explicit(&context->open_calls, 1, memory_order_relaxed);
    for (int32_t n = 0; n < c.count; n++) {
        step *s = &c.steps[n];
        if (s->kind == GATUN_ROW_STEP_LINEAR)
            gatun__product_run(context, &s->product, workspace);
        else
            (void)gatun__norm_run(context, d->max_threads, c.rows, &s->norm);
    }
    atomic_fetch_sub_explicit(&context->open_calls, 1, memory_order_release);
    return GATUN_OK;
}

int32_t gatun_row_steps(gatun_context *context, const gatun_row_steps_desc *d, const gatun_row_step *steps,
    void *workspace, int64_t workspace_size, void *operand1, void *operand2, void *operand3, void *operand4,
    void *operand5, void *operand6, void *operand7, void *operand8, void *operand9, void *operand10, void *operand11,
    void *operand12, void *operand13, void *operand14, void *operand15, void *operand16, void *operand17,
    void *operand18, void *operand19, void *operand20, void *operand21, void *operand22, void *operand23,
    void *operand24, void *operand25, void *operand26, void *operand27, void *operand28, void *operand29,
    void *operand30, void *operand31, void *operand32) {
    void *const operands[] = {NULL, operand1, operand2, operand3, operand4, operand5, operand6, operand7, operand8,
        operand9, operand10, operand11, operand12, operand13, operand14, operand15, operand16, operand17, operand18,
        operand19, operand20, operand21, operand22, operand23, operand24, operand25, operand26, operand27, operand28,
        operand29, operand30, operand31, operand32};
    _Static_assert(sizeof operands / sizeof operands[0] == GATUN_ROW_OPERANDS_MOST + 1, "operand 0 is none");
    return run(context, d, steps, workspace, workspace_size, operands);
}
