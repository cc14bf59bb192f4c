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

/* The descriptor of one function. */
typedef union any_desc {
    uint32_t struct_size;
    gatun_norm_desc norm;
    gatun_activation_desc activation;
    gatun_embedding_desc embedding;
    gatun_pool_desc pool;
    gatun_softmax_desc softmax;
} any_desc;

static any_desc refusal_desc(int function) {
    memset(&memory, 0, sizeof memory);
    memset(memory.sum, 0x5a, sizeof memory.sum);
    memset(memory.out, 0x5a, sizeof memory.out);
    enum { WIDE = DIM + 2 };
    any_desc d;
    memset(&d, 0, sizeof d);
    switch (function) {
    case NORM:
        d.norm = norm_desc(ROWS, DIM);
        d.norm.x_row = d.norm.residual_row = d.norm.sum_row = d.norm.out_row = WIDE;
        break;
    case ACTIVATION:
        d.activation = activation_desc(ROWS, DIM, GATUN_ACTIVATION_NONE);
        d.activation.x_row = d.activation.gate_row = d.activation.out_row = WIDE;
        break;
    case EMBEDDING:
        d.embedding = embedding_desc(ROWS, DIM);
        d.embedding.out_row = WIDE;
        d.embedding.table_rows[0] = 3;
        break;
    case POOL:
        d.pool = pool_desc(ROWS, DIM);
        d.pool.x_row = d.pool.out_row = WIDE;
        break;
    default:
        d.softmax = softmax_desc(ROWS, DIM);
        d.softmax.x_row = d.softmax.out_row = WIDE;
        break;
    }
    return d;
}

static int32_t call(int function, gatun_context *context, const any_desc *d) {
    switch (function) {
    case NORM:
        return gatun_norm(context, d == NULL ? NULL : &d->norm, memory.x, memory.bias, memory.other, memory.gamma,
            memory.beta, memory.sum, memory.out);
    case ACTIVATION:
        return gatun_activation(
            context, d == NULL ? NULL : &d->activation, memory.x, memory.bias, memory.other, memory.out);
    case EMBEDDING:
        return gatun_embedding(
            context, d == NULL ? NULL : &d->embedding, memory.ids, memory.table, NULL, NULL, NULL, NULL, memory.out);
    case POOL:
        return gatun_pool(context, d == NULL ? NULL : &d->pool, memory.x, memory.offsets, memory.out);
    default:
        return gatun_softmax(context, d == NULL ? NULL : &d->softmax, memory.x, memory.out);
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
    int function;
    const char *name;
    size_t offset;
    size_t size;
    int64_t value;
    int32_t status;
} bad_member;

#define BAD(function, type, member, value, status)                                                                     \
    { function, #member, offsetof(type, member), sizeof(((type *)0)->member), value, status }

/* Of scale: Inf and NaN by their bits. */
static const bad_member bad_members[] = {
    BAD(NORM, gatun_norm_desc, struct_size, 0, GATUN_E_VERSION),
    BAD(NORM, gatun_norm_desc, struct_size, sizeof(gatun_norm_desc) - 8, GATUN_E_VERSION),
    BAD(NORM, gatun_norm_desc, struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(NORM, gatun_norm_desc, flags, 2, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, rows, -1, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, rows, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, rows, INT64_MIN, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, dim, 0, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, dim, -6, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, dim, INT64_C(0x100000006), GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, out_row, DIM - 1, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, out_row, INT64_MAX, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, max_threads, -1, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, reserved, 1, GATUN_E_VERSION),
    BAD(NORM, gatun_norm_desc, x_row, DIM - 1, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, x_row, -8, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, x_row, INT64_MAX, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, residual_row, DIM - 1, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, residual_row, INT64_MAX, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, sum_row, 0, GATUN_E_INVALID),
    BAD(NORM, gatun_norm_desc, sum_row, INT64_MIN, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, struct_size, 0, GATUN_E_VERSION),
    BAD(ACTIVATION, gatun_activation_desc, struct_size, sizeof(gatun_activation_desc) - 8, GATUN_E_VERSION),
    BAD(ACTIVATION, gatun_activation_desc, struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(ACTIVATION, gatun_activation_desc, flags, 2, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, rows, -1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, rows, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, rows, INT64_MIN, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, dim, 0, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, dim, -6, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, dim, INT64_C(0x100000006), GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, out_row, DIM - 1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, out_row, INT64_MAX, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, max_threads, -1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, reserved, 1, GATUN_E_VERSION),
    BAD(ACTIVATION, gatun_activation_desc, reserved0, 1, GATUN_E_VERSION),
    /* As integers, since that is what this table has: -1 is a NaN, 1 below 2^-100, the last one 2^101. */
    BAD(ACTIVATION, gatun_activation_desc, softcap, -1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, softcap, 1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, softcap, INT64_C(0x72000000), GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, flags, 1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, x_row, DIM - 1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, x_row, -8, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, x_row, INT64_MAX, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, gate_row, DIM - 1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, gate_row, INT64_MAX, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, activation, -1, GATUN_E_INVALID),
    BAD(ACTIVATION, gatun_activation_desc, activation, GATUN_ACTIVATION_QUICK_GELU + 1, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, struct_size, 0, GATUN_E_VERSION),
    BAD(EMBEDDING, gatun_embedding_desc, struct_size, sizeof(gatun_embedding_desc) - 8, GATUN_E_VERSION),
    BAD(EMBEDDING, gatun_embedding_desc, struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(EMBEDDING, gatun_embedding_desc, flags, 2, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, rows, -1, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, rows, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, rows, INT64_MIN, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, dim, 0, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, dim, -6, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, dim, INT64_C(0x100000006), GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, out_row, DIM - 1, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, out_row, INT64_MAX, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, max_threads, -1, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, reserved, 1, GATUN_E_VERSION),
    BAD(EMBEDDING, gatun_embedding_desc, reserved0, 1, GATUN_E_VERSION),
    BAD(EMBEDDING, gatun_embedding_desc, table_dtype[0], GATUN_DTYPE_I8, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, table_dtype[0], GATUN_DTYPE_U8, GATUN_E_INVALID), /* without a scale */
    BAD(EMBEDDING, gatun_embedding_desc, table_scale[0], 0x3f800000, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, table_zero[0], 1, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, flags, 1, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, scale, 0x7f800000, GATUN_E_INVALID),
    BAD(EMBEDDING, gatun_embedding_desc, scale, 0x7fc00000, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, struct_size, 0, GATUN_E_VERSION),
    BAD(POOL, gatun_pool_desc, struct_size, sizeof(gatun_pool_desc) - 8, GATUN_E_VERSION),
    BAD(POOL, gatun_pool_desc, struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(POOL, gatun_pool_desc, flags, 2, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, sequences, -1, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, sequences, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, sequences, INT64_MIN, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, dim, 0, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, dim, -6, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, dim, INT64_C(0x100000006), GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, out_row, DIM - 1, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, out_row, INT64_MAX, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, max_threads, -1, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, reserved, 1, GATUN_E_VERSION),
    BAD(POOL, gatun_pool_desc, x_row, DIM - 1, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, x_row, -8, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, x_row, INT64_MAX, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, pooling, -1, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, pooling, 6, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, skip, -1, GATUN_E_INVALID),
    BAD(POOL, gatun_pool_desc, skip, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, struct_size, 0, GATUN_E_VERSION),
    BAD(SOFTMAX, gatun_softmax_desc, struct_size, sizeof(gatun_softmax_desc) - 8, GATUN_E_VERSION),
    BAD(SOFTMAX, gatun_softmax_desc, struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(SOFTMAX, gatun_softmax_desc, flags, 2, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, rows, -1, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, rows, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, rows, INT64_MIN, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, dim, 0, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, dim, -6, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, dim, INT64_C(0x100000006), GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, out_row, DIM - 1, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, out_row, INT64_MAX, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, max_threads, -1, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, reserved, 1, GATUN_E_VERSION),
    BAD(SOFTMAX, gatun_softmax_desc, x_row, DIM - 1, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, x_row, -8, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, x_row, INT64_MAX, GATUN_E_INVALID),
    BAD(SOFTMAX, gatun_softmax_desc, reserved0, 1, GATUN_E_VERSION),
};

static void members(void) {
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    for (int function = 0; function < FUNCTIONS; function++) {
        any_desc good = refusal_desc(function);
        CHECK_STATUS(call(function, context, &good), GATUN_OK);
        for (size_t n = 0; n < sizeof bad_members / sizeof *bad_members; n++) {
            const bad_member *bad = &bad_members[n];
            if (bad->function != function) {
                continue;
            }
            any_desc desc = refusal_desc(function);
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
        any_desc desc = refusal_desc(function);
        CHECK_STATUS(call(function, NULL, &desc), GATUN_E_NULL);
        CHECK_STATUS(call(function, context, NULL), GATUN_E_NULL);
        check_untouched(function_names[function]);
    }
    static const float epsilons[] = {NAN, INFINITY, -INFINITY, -1e-12f};
    for (int n = 0; n < 4; n++) {
        any_desc desc = refusal_desc(NORM);
        desc.norm.epsilon = epsilons[n];
        CHECK_STATUS(call(NORM, context, &desc), GATUN_E_INVALID);
        check_untouched("a bad epsilon");
    }
    struct {
        gatun_norm_desc desc;
        int64_t later[3];
    } newer = {.desc = refusal_desc(NORM).norm};
    newer.desc.struct_size = sizeof newer;
    newer.later[2] = 1;
    CHECK_STATUS(call(NORM, context, (const any_desc *)(const void *)&newer), GATUN_E_VERSION);
    check_untouched("a newer struct with something in its tail");
    newer.later[2] = 0;
    CHECK_STATUS(call(NORM, context, (const any_desc *)(const void *)&newer), GATUN_OK);
}

/* Each pointer NULL and not aligned, by its place among x, bias, residual or gate, gamma, beta, sum, out. */
static void pointers(void) {
    enum { X, BIAS, OTHER, GAMMA, BETA, SUM, OUT, POINTERS };
    static const bool needed[POINTERS] = {[X] = true, [GAMMA] = true, [OUT] = true};
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    for (int broken = 0; broken < POINTERS; broken++) {
        for (int offset = 0; offset < 4; offset++) {
            any_desc desc = refusal_desc(NORM);
            float *p[POINTERS] = {
                memory.x, memory.bias, memory.other, memory.gamma, memory.beta, memory.sum, memory.out};
            p[broken] = offset == 0 ? NULL : (float *)(void *)((uint8_t *)p[broken] + offset);
            int32_t wanted = offset > 0 ? GATUN_E_ALIGNMENT : needed[broken] ? GATUN_E_NULL : GATUN_OK;
            int32_t status =
                gatun_norm(context, &desc.norm, p[X], p[BIAS], p[OTHER], p[GAMMA], p[BETA], p[SUM], p[OUT]);
            CHECK(status == wanted, "gatun_norm, pointer %d + %d: expected %d, got %d", broken, offset, (int)wanted,
                (int)status);
            if (wanted != GATUN_OK) {
                check_untouched("gatun_norm");
            }
            if (broken >= GAMMA && broken != OUT) {
                continue;
            }
            desc = refusal_desc(ACTIVATION);
            status = gatun_activation(context, &desc.activation, p[X], p[BIAS], p[OTHER], p[OUT]);
            CHECK(status == wanted, "gatun_activation, pointer %d + %d: expected %d, got %d", broken, offset,
                (int)wanted, (int)status);
            if (wanted != GATUN_OK) {
                check_untouched("gatun_activation");
            }
        }
    }
    /* without rows nothing is needed */
    any_desc desc = refusal_desc(NORM);
    desc.norm.rows = 0;
    CHECK_STATUS(gatun_norm(context, &desc.norm, NULL, NULL, NULL, NULL, NULL, NULL, NULL), GATUN_OK);
    desc = refusal_desc(ACTIVATION);
    desc.activation.rows = 0;
    CHECK_STATUS(gatun_activation(context, &desc.activation, NULL, NULL, NULL, NULL), GATUN_OK);
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
    gatun_norm_desc desc = refusal_desc(NORM).norm;
    const gatun_norm_desc good = desc;
    gatun_activation_desc activation = refusal_desc(ACTIVATION).activation;
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
    CHECK_STATUS(gatun_activation(context, &activation, x, NULL, NULL, x + 1), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_activation(context, &activation, x, NULL, residual, residual + 2), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_activation(context, &activation, x, out + 2, NULL, out), GATUN_E_OVERLAP);
    activation.out_row = DIM + 1;
    CHECK_STATUS(gatun_activation(context, &activation, x, NULL, NULL, x), GATUN_E_OVERLAP);
    CHECK(memcmp(m, before, sizeof m) == 0, "refused calls: something was written");
    /* parameters have one row: what follows them, and what they follow, is another's */
    static float close[SIZE + 3 * DIM];
    desc = good;
    activation = refusal_desc(ACTIVATION).activation;
    float *between = close + DIM;
    CHECK_STATUS(gatun_norm(context, &desc, x, close, NULL, parameters, NULL, NULL, between), GATUN_OK);
    CHECK_STATUS(gatun_norm(context, &desc, x, NULL, NULL, close, between + SIZE, NULL, between), GATUN_OK);
    CHECK_STATUS(gatun_norm(context, &desc, x, NULL, NULL, parameters, close, between, out), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &activation, x, close, NULL, between), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &activation, x, between + SIZE, NULL, between), GATUN_OK);
    /* columns of one buffer share no element */
    static float wide[ROWS * 3 * DIM];
    desc = good;
    desc.x_row = desc.residual_row = desc.sum_row = desc.out_row = 3 * DIM;
    activation.x_row = activation.gate_row = activation.out_row = 3 * DIM;
    CHECK_STATUS(gatun_norm(context, &desc, wide, NULL, NULL, parameters, NULL, wide + DIM, wide + 2 * DIM), GATUN_OK);
    CHECK_STATUS(gatun_activation(context, &activation, wide, NULL, wide + DIM, wide + 2 * DIM), GATUN_OK);
}

const test_case rows_refused_tests[] = {
    {"members", members}, {"pointers", pointers}, {"overlaps", overlaps}, {NULL, NULL}};
