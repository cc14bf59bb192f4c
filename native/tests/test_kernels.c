/*
 * Every kernel of kernels.inc is run and gives the right result: each row of the list is a test, by the name of the kernel, of
 * the function test_<operation>_<dtype> below, so that this file does not compile while an operation has none. A row's kernel
 * is counted while its test runs, and the test fails if nothing has called it. The other suites test what kernels do in
 * detail.
 *
 * The folder src/kernels/ is found by GATUN_KERNELS (default src/kernels, relative to native/).
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/internal.h"
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

MAYBE_UNLISTED static void test_attention_tiny_f32(gatun_context *context) {
    check_attention(context, new_problem(2, 3, 3, 16, 16, 32, GATUN_CAUSAL_BOTTOM_RIGHT), GATUN_KERNEL_TINY);
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

static void test_peak_f32(gatun_context *context) {
    double flops = 0;
    CHECK_STATUS(gatun_peak_f32(context, 10000, &flops), GATUN_OK);
    CHECK(flops > 1e6, "%g floating-point operations a second", flops);
}

/* ---- the rows of the list ---- */

/* A context of the tier whose kernels are a copy, of which one is counted; NULL where the tier is not to be tested. */
static gatun_context *counted_context(int32_t tier, gatun__kernels *copy) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    bool wanted = false;
    for (int t = 0; t < count; t++) {
        wanted |= tiers[t] == tier;
    }
    gatun_context *context = wanted ? new_context(tier, 1) : NULL;
    if (context != NULL) {
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
TASK_OF(norm, const gatun__rows_task)
TASK_OF(activation, const gatun__rows_task)
TASK_OF(pool, const gatun__rows_task)
TASK_OF(softmax, const gatun__rows_task)
TASK_OF(rotary, const gatun__rotary_task)
static gatun__peak_kernel *real_peak;
static double counted_peak(int64_t steps, float io[2]) {
    calls++;
    return real_peak(steps, io);
}

#define GATUN_KERNEL(operation, dtype, TIER, tier)                                                                     \
    static void run_##operation##_##dtype##_##tier(void) {                                                             \
        gatun__kernels kernels;                                                                                        \
        gatun_context *context = counted_context(GATUN_TIER_##TIER, &kernels);                                         \
        if (context == NULL)                                                                                           \
            return;                                                                                                    \
        real_##operation = kernels.operation##_##dtype;                                                                \
        REQUIRE(real_##operation != NULL, "the tier has no kernel " #operation "_" #dtype);                            \
        kernels.operation##_##dtype = counted_##operation;                                                             \
        test_##operation##_##dtype(context);                                                                           \
        finish(context, #operation "_" #dtype "_" #tier);                                                              \
    }
#include "../src/kernels.inc"

/* ---- the list itself ---- */

/* Every tier has every kernel but the tiny one, which the plan chooses where it is. */
static void complete(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        const gatun__kernels *k = shared_context(tiers[t])->kernels;
        CHECK(k->tier == tiers[t] && k->attention_f32 && k->attention_decode_f32 && k->norm_f32 && k->activation_f32 &&
                  k->pool_f32 && k->softmax_f32 && k->rotary_f32 && k->peak_f32,
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

static bool is_tier(const char *text) {
    for (int32_t tier = GATUN_TIER_PORTABLE; gatun_tier_name(tier) != NULL; tier++) {
        if (strcmp(text, gatun_tier_name(tier)) == 0) {
            return true;
        }
    }
    return false;
}

/* A file of src/kernels/ that no tier's name ends would never be compiled. */
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
            CHECK(
                last != NULL && is_tier(last + 1), "%s/%s: expected a name that ends in _<tier>.c", path, file->d_name);
            sources++;
        }
        if (files != NULL) {
            closedir(files);
        }
    }
    closedir(folders);
    CHECK(sources > 0, "no kernel found in %s", root);
}

const test_case kernels_tests[] = {{"complete", complete}, {"files", files},
#define GATUN_KERNEL(operation, dtype, TIER, tier)                                                                     \
    {#operation "_" #dtype "_" #tier, run_##operation##_##dtype##_##tier},
#include "../src/kernels.inc"
    {NULL, NULL}};
