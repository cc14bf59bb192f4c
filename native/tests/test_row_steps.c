/*
 * gatun_row_steps against its steps one by one, to the bit: stacks as models have them and random ones, on every tier, with rows
 * for one thread and for many, in guarded memory; steps that rows cannot be divided for; and what is refused. What the steps
 * compute is tested in test_packed_linear.c and test_rows.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packed_layer.h"
#include "suites.h"

enum { MATRICES = 10, WEIGHTS = 8, VECTORS = 24 };

typedef struct stack {
    gatun_context *context;
    rng random;
    int64_t rows;
    matrix matrices[MATRICES];
    bool passing[MATRICES]; /* anything may be left in it */
    int matrix_count;
    char *packed[WEIGHTS];
    int64_t packed_bytes[WEIGHTS];
    int weight_count;
    float *vectors[VECTORS];
    int vector_count;
    gatun_row_step steps[GATUN_ROW_STEPS_MOST];
    int count;
    void *operands[GATUN_ROW_OPERANDS_MOST + 1];
    int used;
} stack;

static stack stack_of(const kernel_set *set, int64_t rows) {
    return (stack){.context = set->context, .random = rng_make(test_seed(), (uint64_t)rows), .rows = rows};
}

static void stack_destroy(stack *s) {
    for (int i = 0; i < s->matrix_count; i++) {
        guarded_destroy(&s->matrices[i].memory);
    }
    for (int i = 0; i < s->weight_count; i++) {
        gatun_memory_free(s->packed[i], s->packed_bytes[i]);
    }
    for (int i = 0; i < s->vector_count; i++) {
        free(s->vectors[i]);
    }
}

static int add_matrix(stack *s, int64_t dim, int64_t gap) {
    s->matrices[s->matrix_count] = matrix_random("a matrix", s->rows, dim, gap, GUARD_AFTER, 0, &s->random);
    return s->matrix_count++;
}

static int32_t operand(stack *s, void *memory) {
    for (int n = 1; n <= s->used; n++) {
        if (s->operands[n] == memory) {
            return n;
        }
    }
    s->operands[++s->used] = memory;
    return s->used;
}

static int32_t vector(stack *s, int64_t dim, float shift) {
    float *v = test_allocate(dim * (int64_t)sizeof *v);
    for (int64_t i = 0; i < dim; i++) {
        v[i] = shift + 0.1f * rng_normal(&s->random);
    }
    s->vectors[s->vector_count++] = v;
    return operand(s, v);
}

static int32_t weight(stack *s, int32_t format, int64_t in, int64_t out, int64_t *bytes) {
    float *source = test_allocate(in * out * (int64_t)sizeof *source);
    for (int64_t i = 0; i < in * out; i++) {
        source[i] = 0.2f * rng_normal(&s->random);
    }
    const gatun_pack_desc d = {.struct_size = sizeof d,
        .format = format,
        .dtype = GATUN_DTYPE_F32,
        .in_features = in,
        .out_features = out,
        .in_stride = out,
        .out_stride = 1};
    CHECK_STATUS(gatun_pack_size(&d, bytes, NULL, 0), GATUN_OK);
    char *packed = gatun_memory_allocate(*bytes);
    CHECK_STATUS(gatun_pack(s->context, &d, source, NULL, packed, *bytes, NULL, 0), GATUN_OK);
    free(source);
    s->packed[s->weight_count] = packed;
    s->packed_bytes[s->weight_count++] = *bytes;
    return operand(s, packed);
}

/* Columns first .. of a matrix. */
static int32_t place(stack *s, int m, int64_t first) {
    return operand(s, s->matrices[m].data + first);
}

/* out = x W + b, of all columns of x, into `columns` columns of out from `first` on; gate: a matrix or -1. */
static gatun_row_step *add_linear(
    stack *s, int32_t format, int x, int out, int64_t first, int64_t columns, int32_t activation, int gate) {
    gatun_row_step *step = &s->steps[s->count++];
    *step = (gatun_row_step){.struct_size = sizeof *step,
        .kind = GATUN_ROW_STEP_LINEAR,
        .format = format,
        .activation = activation,
        .in_features = s->matrices[x].dim,
        .out_features = columns,
        .x_row = s->matrices[x].row,
        .out_row = s->matrices[out].row,
        .x = place(s, x, 0),
        .bias = vector(s, columns, 0),
        .out = place(s, out, first)};
    step->packed = weight(s, format, step->in_features, columns, &step->packed_size);
    if (gate >= 0) {
        step->gate = place(s, gate, 0);
        step->gate_row = s->matrices[gate].row;
    }
    return step;
}

/* residual and sum: matrices or -1. */
static gatun_row_step *add_norm(stack *s, int x, int residual, int sum, int out, bool rms) {
    gatun_row_step *step = &s->steps[s->count++];
    const int64_t dim = s->matrices[x].dim;
    *step = (gatun_row_step){.struct_size = sizeof *step,
        .flags = rms ? GATUN_ROW_STEP_RMS : 0,
        .kind = GATUN_ROW_STEP_NORM,
        .epsilon = 1e-5f,
        .in_features = dim,
        .out_features = dim,
        .x_row = s->matrices[x].row,
        .out_row = s->matrices[out].row,
        .x = place(s, x, 0),
        .gamma = vector(s, dim, 1),
        .out = place(s, out, 0)};
    if (!rms) {
        step->beta = vector(s, dim, 0);
    }
    if (residual >= 0) {
        step->residual = place(s, residual, 0);
        step->residual_row = s->matrices[residual].row;
    }
    if (sum >= 0) {
        step->sum = place(s, sum, 0);
        step->sum_row = s->matrices[sum].row;
    }
    return step;
}

static void passing(stack *s, gatun_row_step *step, int m) {
    step->flags |= GATUN_ROW_STEP_SCRATCH;
    s->passing[m] = true;
}

static int32_t run_steps(stack *s, int32_t threads, void *workspace, int64_t bytes) {
    const gatun_row_steps_desc d = {
        .struct_size = sizeof d, .rows = s->rows, .steps = s->count, .max_threads = threads};
    void **o = s->operands;
    return gatun_row_steps(s->context, &d, s->steps, workspace, bytes, o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8],
        o[9], o[10], o[11], o[12], o[13], o[14], o[15], o[16], o[17], o[18], o[19], o[20], o[21], o[22], o[23], o[24],
        o[25], o[26], o[27], o[28], o[29], o[30], o[31], o[32]);
}

static int64_t workspace_of(const stack *s, int32_t threads) {
    const gatun_row_steps_desc d = {
        .struct_size = sizeof d, .rows = s->rows, .steps = s->count, .max_threads = threads};
    int64_t bytes = 0;
    CHECK_STATUS(gatun_row_steps_workspace_size(s->context, &d, s->steps, &bytes), GATUN_OK);
    return bytes;
}

static void run_one_by_one(stack *s) {
    for (int n = 0; n < s->count; n++) {
        const gatun_row_step *p = &s->steps[n];
        if (p->kind == GATUN_ROW_STEP_NORM) {
            const gatun_norm_desc d = {.struct_size = sizeof d,
                .flags = (p->flags & GATUN_ROW_STEP_RMS) != 0 ? GATUN_NORM_RMS : 0,
                .rows = s->rows,
                .dim = p->in_features,
                .x_row = p->x_row,
                .residual_row = p->residual_row,
                .sum_row = p->sum_row,
                .out_row = p->out_row,
                .epsilon = p->epsilon,
                .max_threads = 1};
            CHECK_STATUS(gatun_norm(s->context, &d, s->operands[p->x], s->operands[p->bias], s->operands[p->residual],
                             s->operands[p->gamma], s->operands[p->beta], s->operands[p->sum], s->operands[p->out]),
                GATUN_OK);
            continue;
        }
        const gatun_packed_linear_desc d = {.struct_size = sizeof d,
            .format = p->format,
            .activation = p->activation,
            .rows = s->rows,
            .in_features = p->in_features,
            .out_features = p->out_features,
            .x_row = p->x_row,
            .out_row = p->out_row,
            .gate_row = p->gate_row,
            .residual_row = p->residual_row,
            .max_threads = 1};
        int64_t bytes = 0;
        CHECK_STATUS(gatun_packed_linear_workspace_size(s->context, &d, &bytes), GATUN_OK);
        char *workspace = gatun_memory_allocate(bytes);
        CHECK_STATUS(gatun_packed_linear(s->context, &d, workspace, bytes, s->operands[p->packed], p->packed_size,
                         s->operands[p->x], s->operands[p->bias], s->operands[p->gate], s->operands[p->residual],
                         s->operands[p->out]),
            GATUN_OK);
        gatun_memory_free(workspace, bytes);
    }
}

static uint64_t calls_of(gatun_context *context) {
    gatun_info info = {.struct_size = sizeof info};
    CHECK_STATUS(gatun_context_info(context, &info), GATUN_OK);
    return info.calls;
}

/* The matrices after all steps, with so many threads; calls: into how many the context divided them, 0: not looked at. */
static void check_stack(const char *name, stack *s, uint64_t calls) {
    test_note("%s, %lld rows", name, (long long)s->rows);
    float *before[MATRICES], *want[MATRICES];
    for (int i = 0; i < s->matrix_count; i++) {
        before[i] = copy_of(&s->matrices[i]);
    }
    run_one_by_one(s);
    for (int i = 0; i < s->matrix_count; i++) {
        want[i] = copy_of(&s->matrices[i]);
    }
    static const int32_t threads[] = {1, 2, 3, 0};
    for (int t = 0; t < 4; t++) {
        for (int i = 0; i < s->matrix_count; i++) {
            matrix_restore(&s->matrices[i], before[i]);
        }
        guarded workspace;
        guarded_create(&workspace, "workspace", workspace_of(s, threads[t]), 0, GUARD_AFTER);
        const uint64_t first = calls_of(s->context);
        CHECK_STATUS(run_steps(s, threads[t], workspace.data, workspace.bytes), GATUN_OK);
        const uint64_t made = calls_of(s->context) - first;
        CHECK(calls == 0 || made == calls, "%s, %lld rows, %d threads: expected %llu calls of the pool, got %llu", name,
            (long long)s->rows, (int)threads[t], (unsigned long long)calls, (unsigned long long)made);
        CHECK(guarded_intact(&workspace), "%s: memory behind the workspace was written", name);
        guarded_destroy(&workspace);
        for (int i = 0; i < s->matrix_count; i++) {
            const matrix *m = &s->matrices[i];
            CHECK(only_elements_written(m, before[i]), "%s: something between the rows of matrix %d was written", name,
                i);
            CHECK(s->passing[i] || memcmp(m->data, want[i], (size_t)m->memory.bytes) == 0,
                "%s, %lld rows, %d threads: matrix %d has other bits than of the steps one by one", name,
                (long long)s->rows, (int)threads[t], i);
        }
    }
    for (int i = 0; i < s->matrix_count; i++) {
        free(before[i]);
        free(want[i]);
    }
    test_note("%s", "");
}

static const int64_t row_counts[] = {1, 2, 3, 7, 8, 9, 17, 31, 64, 65, 100, 129, 200, 333, 1000};

/* What stands between two attentions of BERT: the output's projection, the norms and the network, the next queries, keys and
 * values. */
static stack post_norm(const kernel_set *set, int32_t format, int64_t rows, int64_t gap) {
    stack s = stack_of(set, rows);
    const int context = add_matrix(&s, 40, gap), x = add_matrix(&s, 50, 2 * gap), out = add_matrix(&s, 50, gap),
              hidden = add_matrix(&s, 70, gap), all = add_matrix(&s, 120, gap);
    passing(&s, add_linear(&s, format, context, out, 0, 50, GATUN_ACTIVATION_NONE, -1), out);
    add_norm(&s, out, x, -1, x, false);
    passing(&s, add_linear(&s, format, x, hidden, 0, 70, GATUN_ACTIVATION_GELU, -1), hidden);
    passing(&s, add_linear(&s, format, hidden, out, 0, 50, GATUN_ACTIVATION_NONE, -1), out);
    add_norm(&s, out, x, -1, x, false);
    add_linear(&s, format, x, all, 0, 120, GATUN_ACTIVATION_NONE, -1);
    return s;
}

/* The same of LLaMA: sums that go on, a gate, three projections side by side. */
static stack pre_norm(const kernel_set *set, int32_t format, int64_t rows, int64_t gap) {
    stack s = stack_of(set, rows);
    const int context = add_matrix(&s, 40, gap), in = add_matrix(&s, 50, gap), x = add_matrix(&s, 50, 2 * gap),
              out = add_matrix(&s, 50, gap), normed = add_matrix(&s, 50, 0), hidden = add_matrix(&s, 70, gap),
              all = add_matrix(&s, 100, gap);
    passing(&s, add_linear(&s, format, context, out, 0, 50, GATUN_ACTIVATION_NONE, -1), out);
    passing(&s, add_norm(&s, out, in, x, normed, true), normed);
    passing(&s, add_linear(&s, format, normed, hidden, 0, 70, GATUN_ACTIVATION_NONE, -1), hidden);
    passing(&s, add_linear(&s, format, normed, hidden, 0, 70, GATUN_ACTIVATION_SILU, hidden), hidden);
    passing(&s, add_linear(&s, format, hidden, out, 0, 50, GATUN_ACTIVATION_NONE, -1), out);
    passing(&s, add_norm(&s, out, x, x, normed, true), normed);
    add_linear(&s, format, normed, all, 0, 60, GATUN_ACTIVATION_NONE, -1);
    add_linear(&s, format, normed, all, 60, 20, GATUN_ACTIVATION_NONE, -1);
    add_linear(&s, format, normed, all, 80, 20, GATUN_ACTIVATION_NONE, -1);
    return s;
}

static void models(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    int64_t number = 0;
    for (int n = 0; n < count; n++) {
        for (int32_t format = 1; format <= LAST_WEIGHTS; format++) {
            for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
                if (number++ % (test_light() ? 13 : 1) != 0 || !test_wants_case(number)) {
                    continue;
                }
                stack s = post_norm(&sets[n], format, row_counts[r], (int64_t)(r % 3));
                check_stack("post-norm", &s, 0);
                stack_destroy(&s);
                s = pre_norm(&sets[n], format, row_counts[r], (int64_t)(r % 3));
                check_stack("pre-norm", &s, 0);
                stack_destroy(&s);
            }
        }
    }
}

/* Steps on matrices of one width, chosen at random: written twice, read before they are written, needed afterwards and not. */
static void random_stacks(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    for (int64_t number = 0; number < (test_light() ? 30 : 400); number++) {
        if (!test_wants_case(number)) {
            continue;
        }
        rng random = rng_make(test_seed(), (uint64_t)number);
        stack s = stack_of(&sets[rng_below(&random, count)], 1 + rng_below(&random, 400));
        for (int i = 0; i < 5; i++) {
            add_matrix(&s, 33, rng_below(&random, 3));
        }
        bool written[5] = {false}, kept[5] = {false};
        const int64_t steps = 2 + rng_below(&random, 6);
        for (int64_t n = 0; n < steps; n++) {
            const int x = (int)rng_below(&random, 5), other = (int)rng_below(&random, 5);
            int out = (int)rng_below(&random, 5);
            gatun_row_step *step;
            if (rng_below(&random, 2) == 0) {
                out = out == x ? (out + 1) % 5 : out;
                const int gate = rng_below(&random, 2) == 0 ? other : -1;
                step = add_linear(&s, GATUN_WEIGHTS_I8, x, out, 0, 33, (int32_t)rng_below(&random, 3), gate);
            } else {
                step = add_norm(&s, x, other, -1, out, false);
            }
            written[out] = true;
            if (rng_below(&random, 2) == 0) {
                step->flags |= GATUN_ROW_STEP_SCRATCH;
            } else {
                kept[out] = true;
            }
        }
        for (int i = 0; i < 5; i++) {
            s.passing[i] = written[i] && !kept[i];
        }
        check_stack("random steps", &s, 0);
        stack_destroy(&s);
    }
}

/* How steps are divided is seen by how often the pool was called. */
static void one_call(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    for (int n = 0; n < count; n++) {
        stack s = post_norm(&sets[n], GATUN_WEIGHTS_I8, 640, 1);
        check_stack("many rows", &s, 1);
        stack_destroy(&s);
        /* x is read a row further down than it is written: rows may not go ahead of others. */
        s = stack_of(&sets[n], 300);
        const int x = add_matrix(&s, 33, 0), out = add_matrix(&s, 33, 0);
        add_linear(&s, GATUN_WEIGHTS_F32, x, out, 0, 33, GATUN_ACTIVATION_NONE, -1);
        gatun_row_step *step = add_norm(&s, out, -1, -1, x, false);
        step->out = operand(&s, s.matrices[x].data);
        s.rows = 299;
        s.steps[0].x = operand(&s, s.matrices[x].data + 33);
        check_stack("rows of others", &s, 2);
        stack_destroy(&s);
        /* A matrix of which some columns alone are written, and all are read. */
        s = stack_of(&sets[n], 65);
        const int in = add_matrix(&s, 40, 0), wide = add_matrix(&s, 64, 0), result = add_matrix(&s, 33, 0);
        passing(&s, add_linear(&s, GATUN_WEIGHTS_F32, in, wide, 0, 32, GATUN_ACTIVATION_NONE, -1), wide);
        add_linear(&s, GATUN_WEIGHTS_F32, wide, result, 0, 33, GATUN_ACTIVATION_NONE, -1);
        check_stack("columns that nobody writes", &s, 1);
        stack_destroy(&s);
        /* What one step writes is the bias of another. */
        s = stack_of(&sets[n], 300);
        const int a = add_matrix(&s, 33, 0), b = add_matrix(&s, 33, 0), c = add_matrix(&s, 33, 0);
        add_norm(&s, a, -1, -1, b, false);
        step = add_linear(&s, GATUN_WEIGHTS_F32, a, c, 0, 33, GATUN_ACTIVATION_NONE, -1);
        step->bias = place(&s, b, 0);
        check_stack("a bias that is written", &s, 2);
        stack_destroy(&s);
    }
}

/* ---- refusals ---- */

static void refuse(const char *what, stack *s, int32_t expected) {
    float *before[MATRICES];
    for (int i = 0; i < s->matrix_count; i++) {
        before[i] = copy_of(&s->matrices[i]);
    }
    char *workspace = gatun_memory_allocate(1 << 20);
    const int32_t status = run_steps(s, 0, workspace, 1 << 20);
    CHECK(status == expected, "%s: expected %s, got %s", what, gatun_status_string(expected),
        gatun_status_string(status));
    gatun_memory_free(workspace, 1 << 20);
    for (int i = 0; i < s->matrix_count; i++) {
        CHECK(memcmp(before[i], s->matrices[i].data, (size_t)s->matrices[i].memory.bytes) == 0,
            "%s: matrix %d was written", what, i);
        free(before[i]);
    }
}

static void refusals(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    (void)kernel_sets(sets);
    stack s = post_norm(&sets[0], GATUN_WEIGHTS_I8, 20, 1);
    /* Of the last step, and of the norm before it: those before them must not run. */
    gatun_row_step *linear = &s.steps[5], *norm = &s.steps[4];
#define REFUSED(step, member, value, status)                                                                           \
    do {                                                                                                               \
        const gatun_row_step kept = *(step);                                                                           \
        (step)->member = (value);                                                                                      \
        refuse(#step "->" #member " = " #value, &s, status);                                                           \
        *(step) = kept;                                                                                                \
    } while (0)
    REFUSED(linear, struct_size, sizeof *linear - 8, GATUN_E_INVALID);
    REFUSED(linear, flags, 4, GATUN_E_INVALID);
    REFUSED(linear, flags, GATUN_ROW_STEP_RMS, GATUN_E_INVALID);
    REFUSED(linear, kind, 0, GATUN_E_INVALID);
    REFUSED(linear, kind, 3, GATUN_E_INVALID);
    REFUSED(linear, format, 0, GATUN_E_INVALID);
    REFUSED(linear, format, GATUN_WEIGHTS_BF16, GATUN_E_INVALID);
    REFUSED(linear, activation, -1, GATUN_E_INVALID);
    REFUSED(linear, epsilon, 1, GATUN_E_INVALID);
    REFUSED(linear, in_features, 49, GATUN_E_INVALID);
    REFUSED(linear, out_features, 119, GATUN_E_INVALID);
    REFUSED(linear, packed_size, 63, GATUN_E_INVALID);
    REFUSED(linear, x_row, 49, GATUN_E_INVALID);
    REFUSED(linear, out_row, 119, GATUN_E_INVALID);
    REFUSED(linear, sum_row, 50, GATUN_E_INVALID);
    REFUSED(linear, x, 0, GATUN_E_NULL);
    REFUSED(linear, packed, 0, GATUN_E_NULL);
    REFUSED(linear, out, 0, GATUN_E_NULL);
    REFUSED(linear, out, linear->x, GATUN_E_OVERLAP);
    REFUSED(linear, x, -1, GATUN_E_INVALID);
    REFUSED(linear, out, 33, GATUN_E_INVALID);
    REFUSED(linear, gate, linear->x, GATUN_E_INVALID);
    REFUSED(linear, residual, linear->x, GATUN_E_INVALID);
    REFUSED(linear, gamma, 1, GATUN_E_INVALID);
    REFUSED(linear, beta, 1, GATUN_E_INVALID);
    REFUSED(linear, sum, 1, GATUN_E_INVALID);
    REFUSED(linear, reserved0, 1, GATUN_E_VERSION);
    REFUSED(linear, reserved[3], 1, GATUN_E_VERSION);
    REFUSED(norm, flags, 8, GATUN_E_INVALID);
    REFUSED(norm, epsilon, -1, GATUN_E_INVALID);
    REFUSED(norm, out_features, 51, GATUN_E_INVALID);
    REFUSED(norm, x_row, 49, GATUN_E_INVALID);
    REFUSED(norm, gamma, 0, GATUN_E_NULL);
    REFUSED(norm, packed, 1, GATUN_E_INVALID);
    REFUSED(norm, gate, 1, GATUN_E_INVALID);
    REFUSED(norm, gate_row, 50, GATUN_E_INVALID);
    REFUSED(norm, packed_size, 64, GATUN_E_INVALID);
    REFUSED(norm, format, GATUN_WEIGHTS_I8, GATUN_E_INVALID);
    REFUSED(norm, activation, GATUN_ACTIVATION_GELU, GATUN_E_INVALID);
    REFUSED(norm, reserved[0], 1, GATUN_E_VERSION);
#undef REFUSED
    /* Of the call. */
    s.rows = -1;
    refuse("rows = -1", &s, GATUN_E_INVALID);
    s.rows = 20;
    const int steps = s.count;
    s.count = 0;
    refuse("steps = 0", &s, GATUN_E_INVALID);
    s.count = GATUN_ROW_STEPS_MOST + 1;
    refuse("steps = 13", &s, GATUN_E_INVALID);
    s.count = steps;
    char *packed = s.operands[linear->packed];
    packed[20]++;
    refuse("a damaged header", &s, GATUN_E_INVALID);
    packed[20]--;
    const int64_t bytes = workspace_of(&s, 0);
    CHECK_STATUS(run_steps(&s, 0, NULL, bytes), GATUN_E_NULL);
    char *workspace = gatun_memory_allocate(bytes + 64);
    CHECK_STATUS(run_steps(&s, 0, workspace + 4, bytes), GATUN_E_ALIGNMENT);
    CHECK_STATUS(run_steps(&s, 0, workspace, bytes - 1), GATUN_E_WORKSPACE);
    /* The workspace in what an earlier step reads. */
    void *kept = s.operands[s.steps[0].x];
    const int64_t row = s.steps[0].x_row;
    s.operands[s.steps[0].x] = workspace;
    s.steps[0].x_row = s.steps[0].in_features;
    CHECK_STATUS(run_steps(&s, 0, workspace, bytes), GATUN_E_OVERLAP);
    s.operands[s.steps[0].x] = kept;
    s.steps[0].x_row = row;
    s.rows = 0;
    CHECK_STATUS(run_steps(&s, 0, workspace, bytes), GATUN_OK);
    CHECK_STATUS(gatun_row_steps_workspace_size(s.context, NULL, s.steps, &s.packed_bytes[0]), GATUN_E_NULL);
    gatun_memory_free(workspace, bytes + 64);
    stack_destroy(&s);
}

const test_case row_steps_tests[] = {
    {"models", models}, {"random", random_stacks}, {"one_call", one_call}, {"refusals", refusals}, {NULL, NULL}};
