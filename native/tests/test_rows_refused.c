/* Descriptors, pointers and overlaps that calls over rows refuse, and that nothing is written then. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "suites.h"

enum { NORM, ACTIVATION, EMBEDDING, POOL, SOFTMAX, FUNCTIONS };

static const char *const function_names[FUNCTIONS] = {
    "gatun_norm", "gatun_activation", "gatun_embedding", "gatun_pool", "gatun_softmax"};

enum { ROWS = 4, DIM = 6, SIZE = ROWS * (DIM + 2) };

static struct {
    float x[SIZE], other[SIZE], bias[DIM], gamma[DIM], beta[DIM], table[3 * DIM];
    int32_t ids[ROWS], offsets[ROWS + 1];
    float sum[SIZE], out[SIZE];
} memory;

static gatun_rows_desc refusal_desc(int function) {
    memset(&memory, 0, sizeof memory);
    memset(memory.sum, 0x5a, sizeof memory.sum);
    memset(memory.out, 0x5a, sizeof memory.out);
    gatun_rows_desc desc = rows_desc(ROWS, DIM);
    desc.x_row = function == EMBEDDING ? 0 : DIM + 2;
    desc.out_row = DIM + 2;
    desc.other_row = function == NORM || function == ACTIVATION ? DIM + 2 : 0;
    desc.sum_row = function == NORM ? DIM + 2 : 0;
    desc.table_rows[0] = function == EMBEDDING ? 3 : 0;
    return desc;
}

static int32_t call(int function, gatun_context *context, const gatun_rows_desc *desc) {
    switch (function) {
    case NORM:
        return gatun_norm(
            context, desc, memory.x, memory.bias, memory.other, memory.gamma, memory.beta, memory.sum, memory.out);
    case ACTIVATION:
        return gatun_activation(context, desc, memory.x, memory.bias, memory.other, memory.out);
    case EMBEDDING:
        return gatun_embedding(context, desc, memory.ids, memory.table, NULL, NULL, NULL, NULL, memory.out);
    case POOL:
        return gatun_pool(context, desc, memory.x, memory.offsets, memory.out);
    default:
        return gatun_softmax(context, desc, memory.x, memory.out);
    }
}

static void check_untouched(const char *what) {
    const uint8_t *const outputs[] = {(const uint8_t *)memory.sum, (const uint8_t *)memory.out};
    for (int n = 0; n < 2; n++) {
        for (size_t i = 0; i < sizeof memory.out; i++) {
            if (outputs[n][i] != 0x5a) {
                test_fail(__FILE__, __LINE__, "%s: %s was written", what, n == 0 ? "sum" : "out");
                return;
            }
        }
    }
}

typedef struct bad_member {
    const char *name;
    size_t offset;
    size_t size;
    int64_t value;
    int32_t status;
    unsigned functions; /* bit 1 << function */
} bad_member;

#define ALL (1u << NORM | 1u << ACTIVATION | 1u << EMBEDDING | 1u << POOL | 1u << SOFTMAX)
#define BAD(member, value, status, functions)                                                                          \
    { #member, offsetof(gatun_rows_desc, member), sizeof(((gatun_rows_desc *)0)->member), value, status, functions }

static const bad_member bad_members[] = {
    BAD(struct_size, 0, GATUN_E_VERSION, ALL),
    BAD(struct_size, sizeof(gatun_rows_desc) - 8, GATUN_E_VERSION, ALL),
    BAD(struct_size, UINT32_MAX, GATUN_E_VERSION, ALL),
    BAD(flags, 2, GATUN_E_INVALID, ALL),
    BAD(flags, 1, GATUN_E_INVALID, 1u << ACTIVATION | 1u << EMBEDDING),
    BAD(rows, -1, GATUN_E_INVALID, ALL),
    BAD(rows, INT64_C(1) << 31, GATUN_E_INVALID, ALL),
    BAD(rows, INT64_MIN, GATUN_E_INVALID, ALL),
    BAD(dim, 0, GATUN_E_INVALID, ALL),
    BAD(dim, -6, GATUN_E_INVALID, ALL),
    BAD(dim, INT64_C(0x100000006), GATUN_E_INVALID, ALL),
    BAD(x_row, DIM - 1, GATUN_E_INVALID, ALL & ~(1u << EMBEDDING)),
    BAD(x_row, -8, GATUN_E_INVALID, ALL & ~(1u << EMBEDDING)),
    BAD(x_row, INT64_MAX, GATUN_E_INVALID, ALL & ~(1u << EMBEDDING)),
    BAD(other_row, DIM - 1, GATUN_E_INVALID, 1u << NORM | 1u << ACTIVATION),
    BAD(other_row, INT64_MAX, GATUN_E_INVALID, 1u << NORM | 1u << ACTIVATION),
    BAD(sum_row, 0, GATUN_E_INVALID, 1u << NORM),
    BAD(sum_row, INT64_MIN, GATUN_E_INVALID, 1u << NORM),
    BAD(out_row, DIM - 1, GATUN_E_INVALID, ALL),
    BAD(out_row, INT64_MAX, GATUN_E_INVALID, ALL),
    BAD(activation, -1, GATUN_E_INVALID, ALL),
    BAD(activation, GATUN_ACTIVATION_QUICK_GELU + 1, GATUN_E_INVALID, ALL),
    BAD(activation, 1, GATUN_E_INVALID, 1u << NORM | 1u << EMBEDDING | 1u << SOFTMAX),
    BAD(activation, 2, GATUN_E_INVALID, 1u << POOL),
    BAD(max_threads, -1, GATUN_E_INVALID, ALL),
    BAD(scale, 0x3f800000, GATUN_E_INVALID, ALL & ~(1u << EMBEDDING)), /* 1 */
    BAD(scale, 0x7f800000, GATUN_E_INVALID, ALL),                      /* Inf */
    BAD(scale, 0x7fc00000, GATUN_E_INVALID, ALL),                      /* NaN */
    BAD(reserved, 1, GATUN_E_VERSION, ALL),
};

static void members(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    for (int function = 0; function < FUNCTIONS; function++) {
        gatun_rows_desc good = refusal_desc(function);
        CHECK_STATUS(call(function, context, &good), GATUN_OK);
        for (size_t n = 0; n < sizeof bad_members / sizeof *bad_members; n++) {
            const bad_member *bad = &bad_members[n];
            if ((bad->functions >> function & 1) == 0) {
                continue;
            }
            gatun_rows_desc desc = refusal_desc(function);
            int32_t narrow = (int32_t)bad->value;
            memcpy((uint8_t *)&desc + bad->offset, bad->size == 4 ? (const void *)&narrow : &bad->value,
                bad->size == 4 ? 4 : 8);
            char what[96];
            snprintf(what, sizeof what, "%s, %s = %lld", function_names[function], bad->name, (long long)bad->value);
            int32_t status = call(function, context, &desc);
            CHECK(status == bad->status, "%s: expected %d, got %d (%s)", what, (int)bad->status, (int)status,
                gatun_status_string(status));
            check_untouched(what);
        }
        gatun_rows_desc desc = refusal_desc(function);
        CHECK_STATUS(call(function, NULL, &desc), GATUN_E_NULL);
        CHECK_STATUS(call(function, context, NULL), GATUN_E_NULL);
        check_untouched(function_names[function]);
    }
    static const float epsilons[] = {NAN, INFINITY, -INFINITY, -1e-12f};
    for (int n = 0; n < 4; n++) {
        gatun_rows_desc desc = refusal_desc(NORM);
        desc.epsilon = epsilons[n];
        CHECK_STATUS(call(NORM, context, &desc), GATUN_E_INVALID);
        check_untouched("a bad epsilon");
    }
    struct {
        gatun_rows_desc desc;
        int64_t later[3];
    } newer = {.desc = refusal_desc(NORM)};
    newer.desc.struct_size = sizeof newer;
    newer.later[2] = 1;
    CHECK_STATUS(call(NORM, context, &newer.desc), GATUN_E_VERSION);
    check_untouched("a newer struct with something in its tail");
    newer.later[2] = 0;
    CHECK_STATUS(call(NORM, context, &newer.desc), GATUN_OK);
}

/* Each pointer NULL and not aligned, by its place among x, bias, residual or gate, gamma, beta, sum, out. */
static void pointers(void) {
    enum { X, BIAS, OTHER, GAMMA, BETA, SUM, OUT, POINTERS };
    static const bool needed[POINTERS] = {[X] = true, [GAMMA] = true, [OUT] = true};
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    for (int broken = 0; broken < POINTERS; broken++) {
        for (int offset = 0; offset < 4; offset++) {
            gatun_rows_desc desc = refusal_desc(NORM);
            float *p[POINTERS] = {
                memory.x, memory.bias, memory.other, memory.gamma, memory.beta, memory.sum, memory.out};
            p[broken] = offset == 0 ? NULL : (float *)(void *)((uint8_t *)p[broken] + offset);
            int32_t wanted = offset > 0 ? GATUN_E_ALIGNMENT : needed[broken] ? GATUN_E_NULL : GATUN_OK;
            int32_t status = gatun_norm(context, &desc, p[X], p[BIAS], p[OTHER], p[GAMMA], p[BETA], p[SUM], p[OUT]);
            CHECK(status == wanted, "gatun_norm, pointer %d + %d: expected %d, got %d", broken, offset, (int)wanted,
                (int)status);
            if (wanted != GATUN_OK) {
                check_untouched("gatun_norm");
            }
            if (broken >= GAMMA && broken != OUT) {
                continue;
            }
            desc = refusal_desc(ACTIVATION);
            status = gatun_activation(context, &desc, p[X], p[BIAS], p[OTHER], p[OUT]);
            CHECK(status == wanted, "gatun_activation, pointer %d + %d: expected %d, got %d", broken, offset,
                (int)wanted, (int)status);
            if (wanted != GATUN_OK) {
                check_untouched("gatun_activation");
            }
        }
    }
    /* without rows nothing is needed */
    gatun_rows_desc desc = refusal_desc(NORM);
    desc.rows = 0;
    CHECK_STATUS(gatun_norm(context, &desc, NULL, NULL, NULL, NULL, NULL, NULL, NULL), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &desc, NULL, NULL, NULL, NULL), GATUN_OK);
}

/* Outputs that share memory in any other way than as a whole. */
static void overlaps(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    static float m[4 * SIZE];
    static float before[4 * SIZE];
    memset(m, 0x5a, sizeof m);
    memcpy(before, m, sizeof m);
    float *x = m;
    float *residual = m + SIZE;
    float *parameters = m + 2 * SIZE;
    float *out = m + 3 * SIZE;
    gatun_rows_desc desc = refusal_desc(NORM);
    const gatun_rows_desc good = desc;
#define NORM_OVERLAPS(x_, bias_, residual_, gamma_, beta_, sum_, out_)                                                 \
    CHECK_STATUS(gatun_norm(context, &desc, x_, bias_, residual_, gamma_, beta_, sum_, out_), GATUN_E_OVERLAP)
    NORM_OVERLAPS(x, NULL, NULL, parameters, NULL, NULL, x + 1);
    NORM_OVERLAPS(x, NULL, NULL, parameters, NULL, NULL, x + DIM + 2);
    NORM_OVERLAPS(x, NULL, residual, parameters, NULL, NULL, residual + 1);
    NORM_OVERLAPS(x, NULL, residual, parameters, NULL, x + 1, out);
    NORM_OVERLAPS(x, NULL, residual, parameters, NULL, residual + 3, out);
    NORM_OVERLAPS(x, NULL, residual, parameters, NULL, out, out);
    NORM_OVERLAPS(x, NULL, residual, parameters, NULL, out + 1, out);
    NORM_OVERLAPS(x, NULL, NULL, out, NULL, NULL, out);
    NORM_OVERLAPS(x, NULL, NULL, parameters, out + DIM + 3, NULL, out);
    NORM_OVERLAPS(x, out, NULL, parameters, NULL, NULL, out);
    NORM_OVERLAPS(x, NULL, NULL, parameters, parameters + DIM, parameters, out);
    desc.out_row = DIM; /* the same pointer, another stride */
    NORM_OVERLAPS(x, NULL, NULL, parameters, NULL, NULL, x);
    desc = good;
    desc.sum_row = DIM + 1;
    NORM_OVERLAPS(x, NULL, NULL, parameters, NULL, x, out);
    desc = good;
#undef NORM_OVERLAPS
    CHECK_STATUS(gatun_activation(context, &desc, x, NULL, NULL, x + 1), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_activation(context, &desc, x, NULL, residual, residual + 2), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_activation(context, &desc, x, out + 2, NULL, out), GATUN_E_OVERLAP);
    desc.out_row = DIM + 1;
    CHECK_STATUS(gatun_activation(context, &desc, x, NULL, NULL, x), GATUN_E_OVERLAP);
    CHECK(memcmp(m, before, sizeof m) == 0, "refused calls: something was written");
    /* parameters have one row: what follows them, and what they follow, is another's */
    static float close[SIZE + 3 * DIM];
    desc = good;
    float *between = close + DIM;
    CHECK_STATUS(gatun_norm(context, &desc, x, close, NULL, parameters, NULL, NULL, between), GATUN_OK);
    CHECK_STATUS(gatun_norm(context, &desc, x, NULL, NULL, close, between + SIZE, NULL, between), GATUN_OK);
    CHECK_STATUS(gatun_norm(context, &desc, x, NULL, NULL, parameters, close, between, out), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &desc, x, close, NULL, between), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &desc, x, between + SIZE, NULL, between), GATUN_OK);
    /* columns of one buffer share no element */
    static float wide[ROWS * 3 * DIM];
    desc = good;
    desc.x_row = desc.other_row = desc.sum_row = desc.out_row = 3 * DIM;
    CHECK_STATUS(gatun_norm(context, &desc, wide, NULL, NULL, parameters, NULL, wide + DIM, wide + 2 * DIM), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &desc, wide, NULL, wide + DIM, wide + 2 * DIM), GATUN_OK);
}

const test_case rows_refused_tests[] = {
    {"members", members}, {"pointers", pointers}, {"overlaps", overlaps}, {NULL, NULL}};
