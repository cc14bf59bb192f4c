/*
 * Every kernel of kernels.inc is run and gives the right result: each row of the list is a test, by the name of the kernel, of
 * the function test_<operation>_<dtype> below, so that this file does not compile while an operation has none. A row's kernel
 * is counted while its test runs, and the test fails if nothing has called it. The other suites test what kernels do in
 * detail. A tier's kernels are run without GATUN_FEATURE_*, whose own are rows, too.
 *
 * The folder src/kernels/ is found by GATUN_KERNELS (default src/kernels, relative to native/).
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/internal.h"
#include "linear_case.h"
#include "placement.h"
#include "rows.h"
#include "suites.h"

static int calls; /* of the kernel that is counted */

/* ---- a test of each operation, of a context with one thread ---- */

/* Where no tier of the architecture has the kernel. */
#define MAYBE_UNLISTED __attribute__((unused))

static void check_attention(gatun_context *context, problem p, int32_t kernel) {
    gatun_attention_desc desc = default_desc(&p);
    gatun_attention_plan_info plan = {.struct_size = sizeof plan};
    REQUIRE_STATUS(gatun_attention_plan(context, &desc, &plan), GATUN_OK);
    CHECK(plan.kernel == kernel, "expected kernel %d, got %d", (int)kernel, (int)plan.kernel);
    outcome result;
    outcome_create(&result, &p);
    rng random = rng_make(test_seed(), 1);
    placement place;
    placement_create(&place, &p, LAYOUT_BSHD, GUARD_AFTER, &random);
    if (placement_run(&place, context, 1, &result, "a kernel")) {
        expected want;
        expected_create(&want, &p);
        compare_outcome(&p, &want, &result, "a kernel");
        expected_destroy(&want);
    }
    placement_destroy(&place);
    outcome_free(&result);
    problem_free(&p);
}

static void test_attention_f32(gatun_context *context) {
    check_attention(context, new_problem(1, 4, 2, 60, 300, 40, GATUN_CAUSAL_BOTTOM_RIGHT), GATUN_KERNEL_GENERAL);
}

static void test_attention_decode_f32(gatun_context *context) {
    check_attention(context, new_problem(2, 4, 2, 3, 300, 40, GATUN_CAUSAL_BOTTOM_RIGHT), GATUN_KERNEL_DECODE);
}

/* One row of a map, whose mean is 1 / keys: test_map.c has the rest. */
static void test_attention_map_f32(gatun_context *context) {
    problem p = new_problem(1, 1, 1, 60, 300, 40, GATUN_CAUSAL_NONE);
    const gatun_attention_desc desc = default_desc(&p);
    const gatun_attention_map_desc map = {
        .struct_size = sizeof map, .rows = 60, .keys = 300, .map_rows = 1, .map_columns = 1, .map_stride = {1, 1, 1}};
    int64_t bytes = 0;
    CHECK_STATUS(gatun_attention_map_workspace_size(context, &desc, &map, &bytes), GATUN_OK);
    void *workspace = aligned_alloc(64, (size_t)bytes);
    float mean = 0;
    CHECK_STATUS(gatun_attention_map(context, &desc, &map, workspace, bytes, p.q, p.k, NULL, NULL, &mean, NULL, NULL,
                     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        GATUN_OK);
    CHECK(fabs((double)mean * 300 - 1) < 1e-6, "expected 1 / 300, got %.9g", (double)mean);
    free(workspace);
    problem_free(&p);
}

/* Energies 1 and a query of 0: one row of each of two keys is exp(tanh(k)) of their sum. test_additive.c has the rest. */
static void test_additive_f32(gatun_context *context) {
    const float energy = 1, q = 0, k[] = {0.5f, -1.25f}, v[] = {1, 0};
    const gatun_additive_attention_desc desc = {.struct_size = sizeof desc,
        .batch = 1,
        .heads = 1,
        .kv_heads = 1,
        .seq_q = 1,
        .seq_k = 2,
        .head_dim = 1,
        .head_dim_v = 1,
        .k_stride = {0, 1, 0},
        .v_stride = {0, 1, 0}};
    int64_t bytes = 0;
    CHECK_STATUS(gatun_additive_attention_workspace_size(context, &desc, &bytes), GATUN_OK);
    void *workspace = aligned_alloc(64, (size_t)bytes);
    float out = 0;
    CHECK_STATUS(gatun_additive_attention(
                     context, &desc, workspace, bytes, &energy, &q, k, v, NULL, NULL, NULL, NULL, &out, NULL),
        GATUN_OK);
    const double first = exp(tanh(0.5)), want = first / (first + exp(tanh(-1.25)));
    CHECK(fabs((double)out - want) < 1e-6, "expected %.9g, got %.9g", want, (double)out);
    free(workspace);
}

MAYBE_UNLISTED static void test_attention_tiny_f32(gatun_context *context) {
    check_attention(context, new_problem(2, 3, 3, 16, 16, 32, GATUN_CAUSAL_BOTTOM_RIGHT), GATUN_KERNEL_TINY);
}

MAYBE_UNLISTED static void test_attention_bf16(gatun_context *context) {
    reference_of_bf16 = true;
    check_attention(context, new_problem(1, 4, 2, 60, 300, 40, GATUN_CAUSAL_BOTTOM_RIGHT), GATUN_KERNEL_BF16);
    reference_of_bf16 = false;
}

enum { ROWS = 5, DIM = 53 };

typedef struct rows_case {
    matrix x, out;
} rows_case;

static rows_case new_rows(void) {
    rng random = rng_make(test_seed(), 2);
    return (rows_case){.x = matrix_random("x", ROWS, DIM, 3, GUARD_AFTER, 0.5f, &random),
        .out = matrix_create("out", ROWS, DIM, 1, GUARD_AFTER)};
}

static void free_rows(rows_case *c) {
    guarded_destroy(&c->x.memory);
    guarded_destroy(&c->out.memory);
}

static void check_element(const matrix *out, int64_t row, int64_t i, double want, double bound) {
    const double got = (double)*at(out, row, i);
    CHECK(fabs(got - want) <= bound, "out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", (long long)row, (long long)i,
        want, bound, got);
}

static void test_norm_f32(gatun_context *context) {
    rows_case c = new_rows();
    gatun_norm_desc desc = norm_desc(ROWS, DIM);
    desc.x_row = c.x.row;
    desc.out_row = c.out.row;
    desc.epsilon = 1e-5f;
    float gamma[DIM];
    for (int i = 0; i < DIM; i++) {
        gamma[i] = 1;
    }
    CHECK_STATUS(gatun_norm(context, &desc, c.x.data, NULL, NULL, gamma, NULL, NULL, c.out.data), GATUN_OK);
    for (int64_t r = 0; r < ROWS; r++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < DIM; i++) {
            mean += (double)*at(&c.x, r, i) / DIM;
        }
        for (int64_t i = 0; i < DIM; i++) {
            variance += ((double)*at(&c.x, r, i) - mean) * ((double)*at(&c.x, r, i) - mean) / DIM;
        }
        for (int64_t i = 0; i < DIM; i++) {
            check_element(&c.out, r, i, ((double)*at(&c.x, r, i) - mean) / sqrt(variance + 1e-5), 1e-5);
        }
    }
    free_rows(&c);
}

static void test_activation_f32(gatun_context *context) {
    rows_case c = new_rows();
    for (int32_t kind = GATUN_ACTIVATION_NONE; kind <= GATUN_ACTIVATION_QUICK_GELU; kind++) {
        gatun_activation_desc desc = activation_desc(ROWS, DIM, kind);
        desc.x_row = c.x.row;
        desc.out_row = c.out.row;
        CHECK_STATUS(gatun_activation(context, &desc, c.x.data, NULL, NULL, c.out.data), GATUN_OK);
        for (int64_t r = 0; r < ROWS; r++) {
            for (int64_t i = 0; i < DIM; i++) {
                const double x = (double)*at(&c.x, r, i);
                check_element(&c.out, r, i, activation_exact(kind, x), 5e-7 * fmax(1, fabs(x)));
            }
        }
    }
    free_rows(&c);
}

static void test_pool_f32(gatun_context *context) {
    rows_case c = new_rows();
    gatun_pool_desc desc = pool_desc(1, DIM);
    desc.x_row = c.x.row;
    desc.out_row = c.out.row;
    const int32_t offsets[] = {0, ROWS};
    CHECK_STATUS(gatun_pool(context, &desc, c.x.data, offsets, c.out.data), GATUN_OK);
    for (int64_t i = 0; i < DIM; i++) {
        double mean = 0;
        for (int64_t r = 0; r < ROWS; r++) {
            mean += (double)*at(&c.x, r, i) / ROWS;
        }
        check_element(&c.out, 0, i, mean, 1e-6);
    }
    free_rows(&c);
}

static void test_softmax_f32(gatun_context *context) {
    rows_case c = new_rows();
    gatun_softmax_desc desc = softmax_desc(ROWS, DIM);
    desc.x_row = c.x.row;
    desc.out_row = c.out.row;
    CHECK_STATUS(gatun_softmax(context, &desc, c.x.data, c.out.data), GATUN_OK);
    for (int64_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int64_t i = 0; i < DIM; i++) {
            sum += exp((double)*at(&c.x, r, i));
        }
        for (int64_t i = 0; i < DIM; i++) {
            check_element(&c.out, r, i, exp((double)*at(&c.x, r, i)) / sum, 1e-6);
        }
    }
    free_rows(&c);
}

static void test_embedding_f32(gatun_context *context) {
    enum { ENTRIES = 4, ZERO = 119 };
    rows_case c = new_rows();
    gatun_embedding_desc desc = embedding_desc(ROWS, DIM);
    desc.out_row = c.out.row;
    desc.table_rows[0] = desc.table_rows[1] = ENTRIES;
    desc.table_dtype[1] = GATUN_DTYPE_U8;
    desc.table_scale[1] = 0.25f;
    desc.table_zero[1] = ZERO;
    float table[ENTRIES * DIM];
    uint8_t numbers[ENTRIES * DIM];
    for (int i = 0; i < ENTRIES * DIM; i++) {
        table[i] = 0.5f * (float)i;
        numbers[i] = (uint8_t)(7 * i);
    }
    static const int32_t ids[ROWS] = {3, 0, 1, 3, 2}, others[ROWS] = {0, 3, 3, 1, 2};
    CHECK_STATUS(gatun_embedding(context, &desc, ids, table, others, numbers, NULL, NULL, c.out.data), GATUN_OK);
    for (int64_t r = 0; r < ROWS; r++) {
        for (int64_t i = 0; i < DIM; i++) {
            const double number = numbers[others[r] * DIM + i];
            check_element(&c.out, r, i, (double)table[ids[r] * DIM + i] + (number - ZERO) * 0.25, 0);
        }
    }
    free_rows(&c);
}

static void test_linear_attention_f32(gatun_context *context) {
    const linear_shape s = {
        1, 1, 1, 1, 1, 70, 70, 12, 20, 40, GATUN_FEATURES_POSITIVE_RANDOM, .flags = GATUN_LINEAR_ATTENTION_CAUSAL};
    linear_case c = linear_create(&s, context, 1);
    CHECK_STATUS(linear_run(&c, context), GATUN_OK);
    linear_check(&c, 1e-5, "a kernel");
    linear_destroy(&c);
}

static void test_rotary_f32(gatun_context *context) {
    enum { HALF = DIM / 2 };
    rows_case c = new_rows();
    gatun_rotary_desc desc = {.struct_size = sizeof desc,
        .rows = ROWS,
        .heads = 1,
        .head_dim = DIM,
        .rotary_dim = 2 * HALF,
        .x_row = c.x.row,
        .out_row = c.out.row,
        .table_rows = ROWS};
    static float cosines[ROWS][HALF], sines[ROWS][HALF];
    int32_t positions[ROWS];
    for (int r = 0; r < ROWS; r++) {
        positions[r] = ROWS - 1 - r;
        for (int i = 0; i < HALF; i++) {
            cosines[r][i] = cosf((float)(r * (i + 1)));
            sines[r][i] = sinf((float)(r * (i + 1)));
        }
    }
    CHECK_STATUS(gatun_rotary(context, &desc, c.x.data, positions, &cosines[0][0], &sines[0][0], c.out.data), GATUN_OK);
    for (int64_t r = 0; r < ROWS; r++) {
        for (int64_t i = 0; i < HALF; i++) {
            const double a = (double)*at(&c.x, r, i), b = (double)*at(&c.x, r, i + HALF);
            const double co = (double)cosines[positions[r]][i], si = (double)sines[positions[r]][i];
            check_element(&c.out, r, i, a * co - b * si, 1e-6);
            check_element(&c.out, r, i + HALF, b * co + a * si, 1e-6);
        }
    }
    free_rows(&c);
}

/* A GRU from a state of x; test_cells.c has the rest. */
static void test_cell_f32(gatun_context *context) {
    rows_case c = new_rows();
    rng random = rng_make(test_seed(), 4);
    matrix gates = matrix_random("x_gates", ROWS, 3 * DIM, 1, GUARD_AFTER, 0, &random);
    matrix others = matrix_random("h_gates", ROWS, 3 * DIM, 0, GUARD_AFTER, 0, &random);
    const gatun_recurrent_cell_desc desc = {.struct_size = sizeof desc,
        .cell = GATUN_CELL_GRU,
        .rows = ROWS,
        .hidden = DIM,
        .x_row = gates.row,
        .gates_row = others.row,
        .h_row = c.x.row,
        .h_out_row = c.out.row};
    CHECK_STATUS(
        gatun_recurrent_cell(context, &desc, gates.data, others.data, c.x.data, NULL, NULL, c.out.data, NULL, NULL),
        GATUN_OK);
    for (int64_t r = 0; r < ROWS; r++) {
        for (int64_t i = 0; i < DIM; i++) {
            const double reset = 1 / (1 + exp(-(double)*at(&gates, r, i) - (double)*at(&others, r, i)));
            const double update = 1 / (1 + exp(-(double)*at(&gates, r, DIM + i) - (double)*at(&others, r, DIM + i)));
            const double u = (double)*at(&others, r, 2 * DIM + i), h = (double)*at(&c.x, r, i);
            const double n = tanh((double)*at(&gates, r, 2 * DIM + i) + reset * u);
            check_element(&c.out, r, i, (1 - update) * n + update * h, 1e-6 * (1 + fabs(u) + fabs(h)));
        }
    }
    guarded_destroy(&gates.memory);
    guarded_destroy(&others.memory);
    free_rows(&c);
}

/* One state, which halves and takes up x: test_scan.c has the rest. */
static void test_selective_scan_f32(gatun_context *context) {
    rows_case c = new_rows();
    float ones[ROWS * DIM], a[DIM];
    for (int i = 0; i < ROWS * DIM; i++) {
        ones[i] = 1;
        a[i % DIM] = -0.69314718f;
    }
    const gatun_selective_scan_desc desc = {.struct_size = sizeof desc,
        .batch = 1,
        .seq = ROWS,
        .channels = DIM,
        .states = 1,
        .x_row = c.x.row,
        .delta_row = DIM,
        .b_row = 1,
        .c_row = 1,
        .y_row = c.out.row};
    int64_t bytes = 0;
    CHECK_STATUS(gatun_selective_scan_workspace_size(context, &desc, &bytes), GATUN_OK);
    void *workspace = aligned_alloc(64, (size_t)bytes);
    CHECK_STATUS(gatun_selective_scan(context, &desc, workspace, bytes, c.x.data, ones, a, ones, ones, NULL, NULL, NULL,
                     NULL, NULL, c.out.data),
        GATUN_OK);
    free(workspace);
    for (int64_t i = 0; i < DIM; i++) {
        double h = 0;
        for (int64_t r = 0; r < ROWS; r++) {
            h = h / 2 + (double)*at(&c.x, r, i);
            check_element(&c.out, r, i, h, 2e-6);
        }
    }
    free_rows(&c);
}

static void test_causal_convolution_f32(gatun_context *context) {
    rows_case c = new_rows();
    float weight[DIM][2];
    for (int i = 0; i < DIM; i++) {
        weight[i][0] = 2;
        weight[i][1] = (float)i;
    }
    const gatun_causal_convolution_desc desc = {.struct_size = sizeof desc,
        .batch = 1,
        .seq = ROWS,
        .channels = DIM,
        .width = 2,
        .x_row = c.x.row,
        .out_row = c.out.row};
    CHECK_STATUS(
        gatun_causal_convolution(context, &desc, c.x.data, &weight[0][0], NULL, NULL, NULL, c.out.data), GATUN_OK);
    for (int64_t r = 0; r < ROWS; r++) {
        for (int64_t i = 0; i < DIM; i++) {
            const double before = r == 0 ? 0 : (double)*at(&c.x, r - 1, i);
            check_element(&c.out, r, i, 2 * before + (double)i * (double)*at(&c.x, r, i), 1e-4);
        }
    }
    free_rows(&c);
}

/* Of queries; attention with 16-bit tensors is tested in test_attention_halves.c. */
static void test_widen_f32(gatun_context *context) {
    enum { N = 37 };
    for (int32_t dtype = GATUN_DTYPE_BF16; dtype <= GATUN_DTYPE_F16; dtype++) {
        uint16_t from[3 * N];
        float to[2 * N + 1], keep = 123;
        for (int i = 0; i < 3 * N; i++) {
            from[i] = (uint16_t)(dtype == GATUN_DTYPE_BF16 ? 0x3f80 + i : 0x3c00 + 8 * i); /* 1 + i / 128 */
        }
        to[2 * N] = keep;
        context->kernels->widen_f32(from, 2 * N, 2, N, dtype, to);
        for (int i = 0; i < 2 * N; i++) {
            const float want = 1 + (float)(i < N ? i : i + N) / 128;
            CHECK(
                to[i] == want, "dtype %d, element %d: expected %g, got %g", (int)dtype, i, (double)want, (double)to[i]);
        }
        CHECK(to[2 * N] == keep, "something is written behind the last row");
    }
}

/* out = silu(x W + bias) * gate + residual; rows for more than one tile, and for a part of one. allowed: error of x W for terms
 * of N(0, 1), whose squares are added up. */
static void check_linear(gatun_context *context, int32_t format, double allowed) {
    enum { IN = 70, OUT = 53, LINEAR_ROWS = 11 };
    rng random = rng_make(test_seed(), 3);
    matrix weights = matrix_random("weights", IN, OUT, 0, GUARD_AFTER, 0, &random);
    matrix x = matrix_random("x", LINEAR_ROWS, IN, 3, GUARD_AFTER, 0, &random);
    matrix gate = matrix_random("gate", LINEAR_ROWS, OUT, 0, GUARD_AFTER, 0, &random);
    matrix out = matrix_create("out", LINEAR_ROWS, OUT, 1, GUARD_AFTER);
    float bias[OUT];
    for (int o = 0; o < OUT; o++) {
        bias[o] = rng_normal(&random);
    }
    const gatun_pack_desc pack = {.struct_size = sizeof pack,
        .format = format,
        .dtype = GATUN_DTYPE_F32,
        .in_features = IN,
        .out_features = OUT,
        .in_stride = weights.row,
        .out_stride = 1};
    const gatun_packed_linear_desc desc = {.struct_size = sizeof desc,
        .format = format,
        .activation = GATUN_ACTIVATION_SILU,
        .rows = LINEAR_ROWS,
        .in_features = IN,
        .out_features = OUT,
        .x_row = x.row,
        .out_row = out.row,
        .gate_row = gate.row,
        .residual_row = gate.row};
    int64_t bytes = 0, workspace_bytes = 0;
    CHECK_STATUS(gatun_pack_size(&pack, &bytes, NULL, 0), GATUN_OK);
    CHECK_STATUS(gatun_packed_linear_workspace_size(context, &desc, &workspace_bytes), GATUN_OK);
    guarded packed, workspace;
    guarded_create(&packed, "packed weights", bytes, 0, GUARD_AFTER);
    guarded_create(&workspace, "workspace", workspace_bytes, 0, GUARD_AFTER);
    CHECK_STATUS(gatun_pack(context, &pack, weights.data, NULL, packed.data, bytes, NULL, 0), GATUN_OK);
    CHECK_STATUS(gatun_packed_linear(context, &desc, workspace.data, workspace_bytes, packed.data, bytes, x.data, bias,
                     gate.data, gate.data, out.data),
        GATUN_OK);
    for (int64_t r = 0; r < LINEAR_ROWS; r++) {
        for (int64_t o = 0; o < OUT; o++) {
            double sum = (double)bias[o], square = 0;
            for (int64_t k = 0; k < IN; k++) {
                const double term = (double)*at(&x, r, k) * (double)*at(&weights, k, o);
                sum += term;
                square += term * term;
            }
            const double other = (double)*at(&gate, r, o);
            /* No activation rises faster than 1.1; errors of the terms add up as their squares do. */
            check_element(&out, r, o, activation_exact(GATUN_ACTIVATION_SILU, sum) * other + other,
                1e-6 + 1.1 * fabs(other) * allowed * sqrt(square));
        }
    }
    guarded_destroy(&packed);
    guarded_destroy(&workspace);
    guarded_destroy(&weights.memory);
    guarded_destroy(&x.memory);
    guarded_destroy(&gate.memory);
    guarded_destroy(&out.memory);
}

static void test_linear_f32(gatun_context *context) {
    check_linear(context, GATUN_WEIGHTS_F32, 1e-5);
}

static void test_linear_bf16(gatun_context *context) {
    check_linear(context, GATUN_WEIGHTS_BF16, 0.01);
}

static void test_linear_f16(gatun_context *context) {
    check_linear(context, GATUN_WEIGHTS_F16, 1e-3);
}

static void test_linear_i8(gatun_context *context) {
    check_linear(context, GATUN_WEIGHTS_I8, 0.04);
}

static void test_linear_q8_0(gatun_context *context) {
    check_linear(context, GATUN_WEIGHTS_Q8_0, 0.04);
}

static void test_linear_q4_0(gatun_context *context) {
    check_linear(context, GATUN_WEIGHTS_Q4_0, 0.45);
}

static void check_peak(gatun_context *context, int32_t format) {
    double rate = 0;
    CHECK_STATUS(gatun_packed_linear_peak(context, format, 10000, &rate), GATUN_OK);
    CHECK(rate > 1e6, "%g operations a second", rate);
}

MAYBE_UNLISTED static void test_peak_bf16(gatun_context *context) {
    check_peak(context, GATUN_WEIGHTS_BF16);
}

static void test_peak_i8(gatun_context *context) {
    check_peak(context, GATUN_WEIGHTS_I8);
}

static void test_peak_f32(gatun_context *context) {
    double flops = 0;
    CHECK_STATUS(gatun_peak_f32(context, 10000, &flops), GATUN_OK);
    CHECK(flops > 1e6, "%g floating-point operations a second", flops);
}

/* ---- the rows of the list ---- */

/* A context of the tier, with these GATUN_FEATURE_* or without any, whose kernels are a copy, of which one is counted; NULL where
 * the tier is not to be tested, or the CPU has no such feature. */
static gatun_context *counted_context(int32_t tier, uint64_t features, gatun__kernels *copy) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    bool wanted = false;
    for (int t = 0; t < count; t++) {
        wanted |= tiers[t] == tier;
    }
    if (!wanted) {
        return NULL;
    }
    const gatun_config config = {
        .struct_size = sizeof config, .threads = 1, .tier = tier, .flags = features == 0 ? GATUN_CONFIG_TIER_ALONE : 0};
    gatun_context *context = NULL;
    CHECK_STATUS(gatun_context_create(&config, &context, NULL, 0), GATUN_OK);
    if (context != NULL && (context->features & features) != features) {
        CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
        return NULL;
    }
    if (context != NULL) {
        CHECK(features != 0 || context->features == 0, "features %llu", (unsigned long long)context->features);
        *copy = *context->kernels;
        context->kernels = copy;
        calls = 0;
    }
    return context;
}

static void finish(gatun_context *context, const char *name) {
    CHECK(calls > 0, "%s: its test has not called it", name);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
}

/* Stands in for a kernel of the operation. */
#define TASK_OF(operation, task_type)                                                                                  \
    static gatun__##operation##_kernel *real_##operation;                                                              \
    MAYBE_UNLISTED static void counted_##operation(task_type *task) {                                                  \
        calls++;                                                                                                       \
        real_##operation(task);                                                                                        \
    }
TASK_OF(attention, gatun__attention_task)
TASK_OF(attention_decode, gatun__attention_task)
TASK_OF(attention_tiny, gatun__attention_task)
TASK_OF(attention_map, gatun__attention_map_task)
TASK_OF(additive, gatun__additive_task)
TASK_OF(norm, const gatun__rows_task)
TASK_OF(activation, const gatun__rows_task)
TASK_OF(pool, const gatun__rows_task)
TASK_OF(softmax, const gatun__rows_task)
TASK_OF(embedding, const gatun__embedding_task)
TASK_OF(rotary, const gatun__rotary_task)
TASK_OF(linear_attention, const gatun__linear_attention_task)
TASK_OF(cell, const gatun__cell_task)
TASK_OF(selective_scan, const gatun__scan_task)
TASK_OF(causal_convolution, const gatun__convolution_task)
TASK_OF(linear, const gatun__linear_task)
static gatun__widen_kernel *real_widen;
static void counted_widen(const void *from, int64_t row, int64_t rows, int64_t dim, int32_t dtype, float *to) {
    calls++;
    real_widen(from, row, rows, dim, dtype, to);
}
static gatun__peak_kernel *real_peak;
static double counted_peak(int64_t steps, float io[2]) {
    calls++;
    return real_peak(steps, io);
}

/* The row's kernel is the one that is counted, and the tier's own not that of the row of a feature. */
#define RUN(operation, dtype, TIER, tier, features)                                                                    \
    static void run_##operation##_##dtype##_##tier(void) {                                                             \
        gatun__kernels kernels;                                                                                        \
        gatun_context *context = counted_context(GATUN_TIER_##TIER, features, &kernels);                               \
        if (context == NULL)                                                                                           \
            return;                                                                                                    \
        real_##operation = kernels.operation##_##dtype;                                                                \
        REQUIRE(real_##operation != NULL, "there is no kernel " #operation "_" #dtype);                                \
        gatun__kernels alone;                                                                                          \
        gatun_context *tier_alone = features == 0 ? NULL : counted_context(GATUN_TIER_##TIER, 0, &alone);              \
        if (tier_alone != NULL) {                                                                                      \
            CHECK(alone.operation##_##dtype != real_##operation, "the tier's kernel is not replaced");                 \
            CHECK_STATUS(gatun_context_destroy(tier_alone), GATUN_OK);                                                 \
        }                                                                                                              \
        kernels.operation##_##dtype = counted_##operation;                                                             \
        test_##operation##_##dtype(context);                                                                           \
        finish(context, #operation "_" #dtype "_" #tier);                                                              \
    }
#define GATUN_KERNEL(operation, dtype, TIER, tier) RUN(operation, dtype, TIER, tier, 0)
#define GATUN_FEATURE_KERNEL(operation, dtype, TIER, FEATURE, extension)                                               \
    RUN(operation, dtype, TIER, extension, GATUN_FEATURE_##FEATURE)
#include "../src/kernels.inc"

/* ---- the list itself ---- */

/* Every tier has every kernel but those of bf16 and the tiny one, which the plan chooses where it is. */
static void complete(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        const gatun__kernels *k = shared_context(tiers[t])->kernels;
        CHECK(k->tier == tiers[t] && k->attention_f32 && k->attention_decode_f32 && k->norm_f32 && k->activation_f32 &&
                  k->pool_f32 && k->softmax_f32 && k->embedding_f32 && k->rotary_f32 && k->linear_attention_f32 &&
                  k->widen_f32 && k->peak_f32 && k->peak_i8 && k->linear_f32 && k->linear_bf16 && k->linear_f16 &&
                  k->linear_i8 && k->linear_q8_0 && k->cell_f32 && k->selective_scan_f32 && k->causal_convolution_f32 &&
                  k->linear_q4_0,
            "%s lacks a kernel", gatun_tier_name(tiers[t]));
        problem p = new_problem(1, 1, 1, 16, 16, 32, GATUN_CAUSAL_NONE);
        const gatun_attention_desc desc = default_desc(&p);
        gatun_attention_plan_info plan = {.struct_size = sizeof plan};
        CHECK_STATUS(gatun_attention_plan(shared_context(tiers[t]), &desc, &plan), GATUN_OK);
        CHECK((plan.kernel == GATUN_KERNEL_TINY) == (k->attention_tiny_f32 != NULL),
            "%s: the plan's kernel of a tiny call is %d", gatun_tier_name(tiers[t]), (int)plan.kernel);
        problem_free(&p);
    }
}

/* GATUN_TEST_FEATURES, a number: these GATUN_FEATURE_* are there, without which a row of the list tests nothing. */
static void features(void) {
    const char *set = getenv("GATUN_TEST_FEATURES");
    const uint64_t want = set != NULL ? strtoull(set, NULL, 10) : 0;
    uint64_t found = 0;
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        found |= shared_context(tiers[t])->features;
    }
    CHECK((found & want) == want, "expected features %llu, got %llu", (unsigned long long)want,
        (unsigned long long)found);
}

static bool is_tier_or_extension(const char *text) {
    for (int32_t tier = GATUN_TIER_PORTABLE; gatun_tier_name(tier) != NULL; tier++) {
        if (strcmp(text, gatun_tier_name(tier)) == 0) {
            return true;
        }
    }
    /* Of the Makefile, of all architectures. */
    static const char *const extensions[] = {
        "avx512vnni", "avx512bf16", "avx512amx", "avx512amxbf16", "avxvnni", "dotprod", "i8mm"};
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        if (strcmp(text, extensions[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A file of src/kernels/ that no name of a tier or an extension ends would never be compiled. */
static void files(void) {
    const char *set = getenv("GATUN_KERNELS"), *root = set != NULL && *set != '\0' ? set : "src/kernels";
    DIR *folders = opendir(root);
    REQUIRE(folders != NULL, "%s cannot be read; run in native/, or set GATUN_KERNELS", root);
    int sources = 0;
    for (struct dirent *folder; (folder = readdir(folders)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", root, folder->d_name);
        const size_t length = strlen(folder->d_name);
        CHECK(length < 2 || folder->d_name[length - 2] != '.' || folder->d_name[0] == '.',
            "%s: expected in the folder of its operation", path);
        DIR *files = folder->d_name[0] == '.' ? NULL : opendir(path);
        for (struct dirent *file; files != NULL && (file = readdir(files)) != NULL;) {
            char name[256];
            snprintf(name, sizeof name, "%s", file->d_name);
            char *end = strrchr(name, '.');
            if (end == NULL || strcmp(end, ".c") != 0) {
                continue;
            }
            *end = '\0';
            const char *last = strrchr(name, '_');
            CHECK(last != NULL && is_tier_or_extension(last + 1),
                "%s/%s: expected a name that ends in _<tier>.c or _<extension>.c", path, file->d_name);
            sources++;
        }
        if (files != NULL) {
            closedir(files);
        }
    }
    closedir(folders);
    CHECK(sources > 0, "no kernel found in %s", root);
}

const test_case kernels_tests[] = {{"complete", complete}, {"features", features}, {"files", files},
#define GATUN_KERNEL(operation, dtype, TIER, tier)                                                                     \
    {#operation "_" #dtype "_" #tier, run_##operation##_##dtype##_##tier},
#define GATUN_FEATURE_KERNEL(operation, dtype, TIER, FEATURE, extension) GATUN_KERNEL(operation, dtype, TIER, extension)
#include "../src/kernels.inc"
    {NULL, NULL}};
