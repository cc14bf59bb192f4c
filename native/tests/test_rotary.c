/*
 * gatun_rotary against loops in double, on every tier, in guarded memory: both pairings, every width of a last vector,
 * layouts, in place, and what is refused.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "harness.h"
#include "suites.h"

typedef enum order { ROWS_HEADS, HEADS_ROWS, WITH_GAPS, ORDERS } order;

typedef struct shape {
    int64_t rows, heads, head_dim, rotary_dim, table_rows;
    uint32_t flags;
    order x_order, out_order;
    bool in_place;
    guarded_end end;
} shape;

typedef struct rotation {
    gatun_rotary_desc desc;
    guarded x, out, positions, cosines, sines; /* out.map is NULL where it is x */
    float *x_data, *out_data;
    float *x_before, *out_before;
} rotation;

static void set_strides(int64_t *row, int64_t *head, const shape *s, order kind) {
    *head = kind == HEADS_ROWS ? s->rows * s->head_dim : kind == WITH_GAPS ? s->head_dim + 3 : s->head_dim;
    *row = kind == HEADS_ROWS ? s->head_dim : kind == WITH_GAPS ? s->heads * *head + 5 : s->heads * s->head_dim;
}

static int64_t extent(const shape *s, int64_t row, int64_t head) {
    return s->rows == 0 ? 0 : (s->rows - 1) * row + (s->heads - 1) * head + s->head_dim;
}

static float *floats(guarded *memory, const char *name, int64_t count, guarded_end end) {
    guarded_create(memory, name, count * (int64_t)sizeof(float), 0, end);
    return (float *)(void *)memory->data;
}

static float *copy_of(const guarded *memory) {
    float *copy = test_allocate(memory->bytes);
    memcpy(copy, memory->data, (size_t)memory->bytes);
    return copy;
}

/* Angles as models have them: position p times 10000^(-2 i / rotary_dim); what no element lies in stays NaN. */
static rotation rotation_create(const shape *s) {
    rotation t = {.desc = {.struct_size = sizeof t.desc,
                      .flags = s->flags,
                      .rows = s->rows,
                      .heads = s->heads,
                      .head_dim = s->head_dim,
                      .rotary_dim = s->rotary_dim,
                      .table_rows = s->table_rows}};
    set_strides(&t.desc.x_row, &t.desc.x_head, s, s->x_order);
    set_strides(&t.desc.out_row, &t.desc.out_head, s, s->in_place ? s->x_order : s->out_order);
    rng random = rng_make(test_seed(), (uint64_t)(s->rows * 10007 + s->heads * 101 + s->head_dim));
    t.x_data = floats(&t.x, "x", extent(s, t.desc.x_row, t.desc.x_head), s->end);
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t h = 0; h < s->heads; h++) {
            for (int64_t d = 0; d < s->head_dim; d++) {
                t.x_data[r * t.desc.x_row + h * t.desc.x_head + d] = rng_normal(&random);
            }
        }
    }
    t.out_data = s->in_place ? t.x_data : floats(&t.out, "out", extent(s, t.desc.out_row, t.desc.out_head), s->end);
    int64_t half = s->rotary_dim / 2;
    float *cosines = floats(&t.cosines, "cosines", s->table_rows * half, s->end);
    float *sines = floats(&t.sines, "sines", s->table_rows * half, s->end);
    for (int64_t p = 0; p < s->table_rows; p++) {
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)p * pow(10000, -2 * (double)i / (double)s->rotary_dim);
            cosines[p * half + i] = (float)cos(angle);
            sines[p * half + i] = (float)sin(angle);
        }
    }
    int32_t *positions = (int32_t *)(void *)floats(&t.positions, "positions", s->rows, s->end);
    for (int64_t r = 0; r < s->rows; r++) {
        /* the first and the last entry of the table each */
        positions[r] = (int32_t)(r == 0 ? s->table_rows - 1 : r == 1 ? 0 : rng_below(&random, s->table_rows));
    }
    t.x_before = copy_of(&t.x);
    t.out_before = copy_of(s->in_place ? &t.x : &t.out);
    guarded_protect(&t.positions, true);
    guarded_protect(&t.cosines, true);
    guarded_protect(&t.sines, true);
    if (!s->in_place) {
        guarded_protect(&t.x, true);
    }
    return t;
}

static void rotation_destroy(rotation *t) {
    guarded *const all[] = {&t->x, &t->out, &t->positions, &t->cosines, &t->sines};
    for (int i = 0; i < 5; i++) {
        guarded_destroy(all[i]);
    }
    free(t->x_before);
    free(t->out_before);
}

static int32_t rotate(const rotation *t, gatun_context *context) {
    return gatun_rotary(context, &t->desc, t->x_data, (const int32_t *)(const void *)t->positions.data,
        (const float *)(const void *)t->cosines.data, (const float *)(const void *)t->sines.data, t->out_data);
}

/* Every element of out; what lies between them is compared by putting the old elements back. */
static void check_result(rotation *t, const char *what) {
    const gatun_rotary_desc *d = &t->desc;
    int64_t half = d->rotary_dim / 2;
    guarded *memory = t->out.map != NULL ? &t->out : &t->x;
    for (int64_t r = 0; r < d->rows; r++) {
        int64_t position = ((const int32_t *)(const void *)t->positions.data)[r];
        const float *cosines = (const float *)(const void *)t->cosines.data + position * half;
        const float *sines = (const float *)(const void *)t->sines.data + position * half;
        for (int64_t h = 0; h < d->heads; h++) {
            const float *x = t->x_before + r * d->x_row + h * d->x_head;
            float *out = t->out_data + r * d->out_row + h * d->out_head;
            for (int64_t e = 0; e < d->head_dim; e++) {
                double want = (double)x[e];
                double bound = 0;
                if (e < d->rotary_dim) {
                    bool neighbors = (d->flags & GATUN_ROTARY_INTERLEAVED) != 0;
                    int64_t pair = neighbors ? e / 2 : e % half;
                    bool second = neighbors ? e % 2 == 1 : e >= half;
                    double a = (double)x[neighbors ? 2 * pair : pair];
                    double b = (double)x[neighbors ? 2 * pair + 1 : pair + half];
                    double c = (double)cosines[pair];
                    double s = (double)sines[pair];
                    want = second ? b * c + a * s : a * c - b * s;
                    bound = 0x1p-23 * (second ? fabs(b * c) + fabs(a * s) : fabs(a * c) + fabs(b * s));
                }
                if (!(fabs((double)out[e] - want) <= bound)) {
                    test_fail(__FILE__, __LINE__, "%s: row %lld, head %lld, element %lld: expected %.9g, got %.9g",
                        what, (long long)r, (long long)h, (long long)e, want, (double)out[e]);
                    return;
                }
            }
        }
    }
    for (int64_t r = 0; r < d->rows; r++) {
        for (int64_t h = 0; h < d->heads; h++) {
            int64_t at = r * d->out_row + h * d->out_head;
            memcpy(t->out_data + at, t->out_before + at, (size_t)d->head_dim * sizeof(float));
        }
    }
    CHECK(guarded_intact(memory) && memcmp(memory->data, t->out_before, (size_t)memory->bytes) == 0,
        "%s: more than the elements of out was written", what);
}

static void check_shape(const shape *s, int32_t tier) {
    char what[200];
    snprintf(what, sizeof what, "%lld rows, %lld heads of %lld, %lld rotated, flags %u, order %d > %d, in place %d, %s",
        (long long)s->rows, (long long)s->heads, (long long)s->head_dim, (long long)s->rotary_dim, (unsigned)s->flags,
        (int)s->x_order, (int)s->out_order, s->in_place, gatun_tier_name(tier));
    test_note("%s", what);
    rotation t = rotation_create(s);
    const guarded *memory = s->in_place ? &t.x : &t.out;
    float *first = NULL;
    static const int32_t threads[] = {1, 2, 5, 0};
    for (int n = 0; n < 4; n++) {
        memcpy(memory->data, t.out_before, (size_t)memory->bytes);
        t.desc.max_threads = threads[n];
        CHECK_STATUS(rotate(&t, shared_context(tier)), GATUN_OK);
        if (n == 0) {
            first = copy_of(memory);
            check_result(&t, what);
        } else {
            CHECK(memcmp(first, memory->data, (size_t)memory->bytes) == 0, "%s: other bits with %d threads", what,
                (int)threads[n]);
        }
    }
    free(first);
    rotation_destroy(&t);
    test_note("%s", "");
}

static void shapes(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    int number = 0;
    for (int t = 0; t < tier_count; t++) {
        for (int64_t rotary_dim = 2; rotary_dim <= 140; rotary_dim += 2) {
            for (uint32_t flags = 0; flags <= GATUN_ROTARY_INTERLEAVED; flags++, number++) {
                if (test_light() && number % 7 != 0) {
                    continue;
                }
                check_shape(&(shape){.rows = 1 + number % 5,
                                .heads = 1 + number % 3,
                                .head_dim = rotary_dim + (number % 4 == 1 ? number % 23 : 0),
                                .rotary_dim = rotary_dim,
                                .table_rows = 1 + number % 70,
                                .flags = flags,
                                .x_order = (order)(number / 2 % ORDERS),
                                .out_order = (order)(number / 5 % ORDERS),
                                .in_place = number % 3 == 1,
                                .end = number % 5 == 4 ? GUARD_BEFORE : GUARD_AFTER},
                    tiers[t]);
            }
        }
        for (uint32_t flags = 0; flags <= GATUN_ROTARY_INTERLEAVED; flags++) {
            /* several tasks, the last one smaller; a head that is longer than any model's; no rows */
            check_shape(
                &(shape){.rows = 333, .heads = 12, .head_dim = 64, .rotary_dim = 64, .table_rows = 512, .flags = flags},
                tiers[t]);
            check_shape(&(shape){.rows = 100,
                            .heads = 16,
                            .head_dim = 80,
                            .rotary_dim = 20,
                            .table_rows = 100,
                            .flags = flags,
                            .in_place = true},
                tiers[t]);
            check_shape(
                &(shape){.rows = 3, .heads = 1, .head_dim = 5001, .rotary_dim = 5000, .table_rows = 9, .flags = flags},
                tiers[t]);
            check_shape(
                &(shape){.heads = 2, .head_dim = 8, .rotary_dim = 8, .table_rows = 3, .flags = flags}, tiers[t]);
        }
    }
}

/* The two pairings are one rotation of elements in another order. */
static void pairings(void) {
    enum { DIM = 38, HALF = DIM / 2 };
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        float halves[DIM], neighbors[DIM], cosines[HALF], sines[HALF];
        const int32_t position = 0;
        for (int i = 0; i < HALF; i++) {
            halves[i] = neighbors[2 * i] = (float)(i + 1);
            halves[HALF + i] = neighbors[2 * i + 1] = (float)(100 - i);
            cosines[i] = cosf((float)i);
            sines[i] = sinf((float)i);
        }
        gatun_rotary_desc desc = {.struct_size = sizeof desc,
            .rows = 1,
            .heads = 1,
            .head_dim = DIM,
            .rotary_dim = DIM,
            .x_row = DIM,
            .x_head = DIM,
            .out_row = DIM,
            .out_head = DIM,
            .table_rows = 1};
        gatun_context *context = shared_context(tiers[t]);
        CHECK_STATUS(gatun_rotary(context, &desc, halves, &position, cosines, sines, halves), GATUN_OK);
        desc.flags = GATUN_ROTARY_INTERLEAVED;
        CHECK_STATUS(gatun_rotary(context, &desc, neighbors, &position, cosines, sines, neighbors), GATUN_OK);
        for (int i = 0; i < HALF; i++) {
            CHECK(halves[i] == neighbors[2 * i] && halves[HALF + i] == neighbors[2 * i + 1],
                "pair %d, %s: %.9g, %.9g and %.9g, %.9g", i, gatun_tier_name(tiers[t]), (double)halves[i],
                (double)halves[HALF + i], (double)neighbors[2 * i], (double)neighbors[2 * i + 1]);
        }
    }
}

/* Scores of rotated queries and keys depend on the difference of their positions. */
static void relative(void) {
    enum { DIM = 64 };
    shape s = {.rows = 2, .heads = 1, .head_dim = DIM, .rotary_dim = DIM, .table_rows = 100};
    for (s.flags = 0; s.flags <= GATUN_ROTARY_INTERLEAVED; s.flags++) {
        rotation t = rotation_create(&s);
        guarded_protect(&t.positions, false);
        int32_t *positions = (int32_t *)(void *)t.positions.data;
        double wanted = 0;
        for (int32_t shift = 0; shift < 90; shift += 13) {
            positions[0] = shift + 7;
            positions[1] = shift;
            CHECK_STATUS(rotate(&t, shared_context(GATUN_TIER_PORTABLE)), GATUN_OK);
            double product = 0;
            for (int i = 0; i < DIM; i++) {
                product += (double)t.out_data[i] * (double)t.out_data[DIM + i];
            }
            wanted = shift == 0 ? product : wanted;
            CHECK(fabs(product - wanted) < 1e-4, "positions %d and %d: the product is %.9g, at 7 and 0 it was %.9g",
                (int)positions[0], (int)positions[1], product, wanted);
        }
        rotation_destroy(&t);
    }
}

/* NaN in an element reaches its pair, and no other element. */
static void not_finite(void) {
    enum { DIM = 46, ROTATED = 42 };
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (uint32_t flags = 0; flags <= GATUN_ROTARY_INTERLEAVED; flags++) {
            for (int bad = 0; bad < DIM; bad++) {
                shape s = {.rows = 3, .heads = 2, .head_dim = DIM, .rotary_dim = ROTATED, .table_rows = 5};
                s.flags = flags;
                rotation r = rotation_create(&s);
                guarded_protect(&r.x, false);
                int64_t at = r.desc.x_row + r.desc.x_head;
                r.x_data[at + bad] = NAN;
                CHECK_STATUS(rotate(&r, shared_context(tiers[t])), GATUN_OK);
                int other = bad >= ROTATED                            ? bad
                            : (flags & GATUN_ROTARY_INTERLEAVED) != 0 ? bad ^ 1
                                                                      : (bad + ROTATED / 2) % ROTATED;
                for (int64_t i = 0; i < s.rows * s.heads * DIM; i++) {
                    bool wanted = i == at + bad || i == at + other;
                    if (isnan(r.out_data[i]) != wanted) {
                        test_fail(__FILE__, __LINE__, "NaN in element %d, flags %u, %s: element %d is %g", bad,
                            (unsigned)flags, gatun_tier_name(tiers[t]), (int)(i - at), (double)r.out_data[i]);
                        break;
                    }
                }
                rotation_destroy(&r);
            }
        }
    }
}

/* ---- refused ---- */

static const shape valid = {.rows = 4, .heads = 3, .head_dim = 10, .rotary_dim = 8, .table_rows = 6};

static void check_refused(const rotation *t, int32_t wanted, const char *what) {
    int32_t status = rotate(t, shared_context(GATUN_TIER_PORTABLE));
    CHECK(status == wanted, "%s: expected \"%s\" (%d), got \"%s\" (%d)", what, gatun_status_string(wanted), (int)wanted,
        gatun_status_string(status), (int)status);
    CHECK(guarded_unwritten(&t->out), "%s: out was written", what);
}

typedef struct bad_member {
    const char *name;
    size_t offset, size;
    int64_t value;
    int32_t status;
} bad_member;

#define BAD(member, value, status)                                                                                     \
    { #member, offsetof(gatun_rotary_desc, member), sizeof(((gatun_rotary_desc *)0)->member), value, status }

static const bad_member bad_members[] = {
    BAD(struct_size, 0, GATUN_E_VERSION),
    BAD(struct_size, sizeof(gatun_rotary_desc) - 8, GATUN_E_VERSION),
    BAD(struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(flags, 2, GATUN_E_INVALID),
    BAD(flags, UINT32_MAX, GATUN_E_INVALID),
    BAD(rows, -1, GATUN_E_INVALID),
    BAD(rows, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(heads, 0, GATUN_E_INVALID),
    BAD(heads, -3, GATUN_E_INVALID),
    BAD(heads, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(head_dim, 0, GATUN_E_INVALID),
    BAD(head_dim, 7, GATUN_E_INVALID), /* less than rotary_dim */
    BAD(head_dim, INT64_C(0x10000000a), GATUN_E_INVALID),
    BAD(rotary_dim, 0, GATUN_E_INVALID),
    BAD(rotary_dim, -8, GATUN_E_INVALID),
    BAD(rotary_dim, 7, GATUN_E_INVALID),
    BAD(rotary_dim, 12, GATUN_E_INVALID),
    BAD(x_row, -1, GATUN_E_INVALID),
    BAD(x_row, INT64_MAX, GATUN_E_INVALID),
    BAD(x_head, -1, GATUN_E_INVALID),
    BAD(x_head, INT64_MAX / 2, GATUN_E_INVALID),
    BAD(out_row, INT64_MIN, GATUN_E_INVALID),
    BAD(out_row, INT64_C(1) << 58, GATUN_E_INVALID),
    BAD(out_row, 29, GATUN_E_OVERLAP), /* rows over each other */
    BAD(out_row, 0, GATUN_E_OVERLAP),
    BAD(out_head, -10, GATUN_E_INVALID),
    BAD(out_head, INT64_MAX, GATUN_E_INVALID),
    BAD(out_head, 9, GATUN_E_OVERLAP),
    BAD(table_rows, 0, GATUN_E_INVALID),
    BAD(table_rows, -1, GATUN_E_INVALID),
    BAD(table_rows, INT64_C(0x100000006), GATUN_E_INVALID),
    BAD(table_rows, 5, GATUN_E_INDEX), /* the first position is the last of 6 */
    BAD(max_threads, -1, GATUN_E_INVALID),
    BAD(reserved0, 1, GATUN_E_VERSION),
    BAD(reserved, 1, GATUN_E_VERSION),
};

static void members(void) {
    for (size_t n = 0; n < sizeof bad_members / sizeof *bad_members; n++) {
        const bad_member *bad = &bad_members[n];
        rotation t = rotation_create(&valid);
        int32_t narrow = (int32_t)bad->value;
        memcpy((uint8_t *)&t.desc + bad->offset, bad->size == 4 ? (const void *)&narrow : &bad->value,
            bad->size == 4 ? 4 : 8);
        char what[96];
        snprintf(what, sizeof what, "%s = %lld", bad->name, (long long)bad->value);
        check_refused(&t, bad->status, what);
        rotation_destroy(&t);
    }
    rotation t = rotation_create(&valid);
    CHECK_STATUS(rotate(&t, NULL), GATUN_E_NULL);
    CHECK_STATUS(
        gatun_rotary(shared_context(GATUN_TIER_PORTABLE), NULL, t.x_data, NULL, NULL, NULL, t.out_data), GATUN_E_NULL);
    t.desc.reserved[7] = 1;
    check_refused(&t, GATUN_E_VERSION, "reserved[7] = 1");
    t.desc.reserved[7] = 0;
    t.desc.rows = 0;
    CHECK_STATUS(gatun_rotary(shared_context(GATUN_TIER_PORTABLE), &t.desc, NULL, NULL, NULL, NULL, NULL), GATUN_OK);
    rotation_destroy(&t);
}

static void positions(void) {
    static const int32_t bad[] = {-1, 6, INT32_MIN, INT32_MAX};
    for (int n = 0; n < 4; n++) {
        for (int row = 0; row < 4; row++) {
            rotation t = rotation_create(&valid);
            guarded_protect(&t.positions, false);
            ((int32_t *)(void *)t.positions.data)[row] = bad[n];
            check_refused(&t, GATUN_E_INDEX, "a position outside the tables");
            rotation_destroy(&t);
        }
    }
}

static void pointers(void) {
    enum { X, POSITIONS, COSINES, SINES, OUT, POINTERS };
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    rotation t = rotation_create(&valid);
    for (int broken = 0; broken < POINTERS; broken++) {
        for (int offset = 0; offset < 4; offset++) {
            uint8_t *p[POINTERS] = {
                (uint8_t *)t.x_data, t.positions.data, t.cosines.data, t.sines.data, (uint8_t *)t.out_data};
            p[broken] = offset == 0 ? NULL : p[broken] + offset;
            int32_t status =
                gatun_rotary(context, &t.desc, (const float *)(void *)p[X], (const int32_t *)(void *)p[POSITIONS],
                    (const float *)(void *)p[COSINES], (const float *)(void *)p[SINES], (float *)(void *)p[OUT]);
            int32_t wanted = offset == 0 ? GATUN_E_NULL : GATUN_E_ALIGNMENT;
            CHECK(status == wanted, "pointer %d + %d: expected %d, got %d", broken, offset, (int)wanted, (int)status);
        }
    }
    CHECK(guarded_unwritten(&t.out), "refused calls: out was written");
    rotation_destroy(&t);
}

/* out is x as a whole, or apart from all inputs; parts of one fused row are apart. */
static void overlaps(void) {
    enum { ROWS = 4, HEADS = 3, DIM = 10, HALF = 4, WIDTH = 3 * HEADS * DIM, SIZE = ROWS * WIDTH };
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    static float m[SIZE];
    static float before[SIZE];
    static float tables[2 * 6 * HALF];
    const int32_t places[ROWS] = {5, 0, 1, 2};
    gatun_rotary_desc desc = {.struct_size = sizeof desc,
        .rows = ROWS,
        .heads = HEADS,
        .head_dim = DIM,
        .rotary_dim = 2 * HALF,
        .x_row = WIDTH,
        .x_head = DIM,
        .out_row = WIDTH,
        .out_head = DIM,
        .table_rows = 6};
    const float *sines = tables + 6 * HALF;
    const gatun_rotary_desc good = desc;
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, sines, m + HEADS * DIM), GATUN_OK);
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, sines, m), GATUN_OK);
    memset(m, 0x5a, sizeof m);
    memcpy(before, m, sizeof m);
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, sines, m + 1), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, sines, m + DIM), GATUN_E_OVERLAP);
    desc.out_row = WIDTH - DIM;
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, sines, m), GATUN_E_OVERLAP);
    desc = good;
    desc.x_row = 0; /* every row the same: not in place */
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, sines, m), GATUN_E_OVERLAP);
    desc = good;
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, m + SIZE / 2, sines, m + HEADS * DIM), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_rotary(context, &desc, m, places, tables, m + HEADS * DIM, m + HEADS * DIM), GATUN_E_OVERLAP);
    CHECK(memcmp(m, before, sizeof m) == 0, "refused calls: something was written");
    memset(m, 0, sizeof m);
    CHECK_STATUS(gatun_rotary(context, &desc, m, (const int32_t *)(const void *)(m + HEADS * DIM), tables, sines,
                     m + HEADS * DIM),
        GATUN_E_OVERLAP);
}

const test_case rotary_tests[] = {{"shapes", shapes}, {"pairings", pairings}, {"relative", relative},
    {"not_finite", not_finite}, {"members", members}, {"positions", positions}, {"pointers", pointers},
    {"overlaps", overlaps}, {NULL, NULL}};
