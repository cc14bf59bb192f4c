/*
 * gatun_recurrent_cell against its formulas in double, on every tier, in guarded memory: every width of a last vector, states in place
 * and apart, rows by their places, any number of threads; special values; what is refused.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "suites.h"

static const char *const names[] = {"", "LSTM", "GRU", "GRU reset", "GRU update"};
enum { FIRST = GATUN_CELL_LSTM, LAST = GATUN_CELL_GRU_UPDATE };

typedef struct cell_case {
    int32_t cell;
    int64_t rows, hidden, gap;
    bool in_place, placed, wanted; /* wanted: out is given */
    guarded_end end;
    float scale; /* of the sums that the gates see */
} cell_case;

typedef struct cell {
    matrix x, u, h, c, h_out, c_out, out, places;
    gatun_recurrent_cell_desc desc;
    bool in_place, placed, wanted;
} cell;

enum { SPARE = 3 }; /* places that no row has */

static int64_t blocks_of(int32_t kind) {
    return kind == GATUN_CELL_LSTM ? 4 : 3;
}

static cell cell_create(const cell_case *s) {
    rng random = rng_make(test_seed(), (uint64_t)(s->rows * 10007 + s->hidden * 5 + s->cell));
    const int64_t columns = blocks_of(s->cell) * s->hidden, placed = s->rows + (s->placed ? SPARE : 0);
    cell t = {.in_place = s->in_place, .placed = s->placed, .wanted = s->wanted};
    t.x = matrix_random("x_gates", placed, columns, s->gap, s->end, 0, &random);
    t.u = matrix_random("h_gates", s->rows, columns, 2 * s->gap, s->end, 0, &random);
    t.h = matrix_random("h", s->rows, s->hidden, s->gap, s->end, 0, &random);
    t.c = matrix_random("c", s->rows, s->hidden, s->gap, s->end, 0, &random);
    t.h_out = matrix_create("h_out", s->rows, s->hidden, 3 * s->gap, s->end);
    t.c_out = matrix_create("c_out", s->rows, s->hidden, s->gap, s->end);
    t.out = matrix_create("out", placed, s->hidden, s->gap, s->end);
    t.places = matrix_create("places", 1, s->rows, 0, s->end);
    for (int64_t r = 0; r < placed; r++) {
        for (int64_t i = 0; i < columns; i++) {
            *at(&t.x, r, i) *= s->scale;
        }
    }
    int32_t *places = (int32_t *)(void *)t.places.data;
    for (int64_t r = 0; r < s->rows; r++) { /* backwards, with gaps at both ends */
        places[r] = (int32_t)(s->rows - r);
    }
    const bool memory = s->cell == GATUN_CELL_LSTM;
    t.desc = (gatun_recurrent_cell_desc){.struct_size = sizeof t.desc,
        .cell = s->cell,
        .rows = s->rows,
        .hidden = s->hidden,
        .places = s->placed ? placed : 0,
        .x_row = t.x.row,
        .gates_row = t.u.row,
        .h_row = t.h.row,
        .c_row = memory ? t.c.row : 0,
        .h_out_row = s->in_place ? t.h.row : t.h_out.row,
        .c_out_row = !memory       ? 0
                     : s->in_place ? t.c.row
                                   : t.c_out.row,
        .out_row = s->wanted ? t.out.row : 0};
    return t;
}

static void cell_destroy(cell *t) {
    matrix *const all[] = {&t->x, &t->u, &t->h, &t->c, &t->h_out, &t->c_out, &t->out, &t->places};
    for (int n = 0; n < 8; n++) {
        guarded_destroy(&all[n]->memory);
    }
}

static int32_t run_cell(const cell *t, gatun_context *context) {
    const bool memory = t->desc.cell == GATUN_CELL_LSTM;
    return gatun_recurrent_cell(context, &t->desc, t->x.data, t->u.data, t->h.data, memory ? t->c.data : NULL,
        t->placed ? (const int32_t *)(const void *)t->places.data : NULL, t->in_place ? t->h.data : t->h_out.data,
        !memory       ? NULL
        : t->in_place ? t->c.data
                      : t->c_out.data,
        t->wanted ? t->out.data : NULL);
}

/* ---- the formulas of gatun_relatives.h ---- */

static double sigma(double a) {
    return 1 / (1 + exp(-a));
}

typedef struct expected_cell {
    double h, c, h_bound, c_bound;
} expected_cell;

static expected_cell expect(int32_t kind, const float *x, const float *u, double h, double c, int64_t hidden) {
    double a[4] = {0};
    for (int64_t b = 0; b < blocks_of(kind); b++) {
        a[b] = (double)x[b * hidden] + (double)u[b * hidden];
    }
    if (kind == GATUN_CELL_LSTM) {
        const double next = sigma(a[1]) * c + sigma(a[0]) * tanh(a[2]);
        return (expected_cell){sigma(a[3]) * tanh(next), next, 2e-6 * (1 + fabs(c)), 1e-6 * (1 + fabs(c))};
    }
    if (kind == GATUN_CELL_GRU) {
        const double un = (double)u[2 * hidden], n = tanh((double)x[2 * hidden] + sigma(a[0]) * un), z = sigma(a[1]);
        return (expected_cell){.h = (1 - z) * n + z * h, .h_bound = 1e-6 * (1 + fabs(un) + fabs(h))};
    }
    const double z = sigma(a[1]);
    return (expected_cell){.h = kind == GATUN_CELL_GRU_RESET ? sigma(a[0]) * h : (1 - z) * h + z * tanh(a[2]),
        .h_bound = 1e-6 * (1 + fabs(h))};
}

static void check_case(const cell_case *s, int32_t tier) {
    char what[160];
    snprintf(what, sizeof what, "%s, %lld x %lld, gap %lld, in place %d, places %d, out %d, %s", names[s->cell],
        (long long)s->rows, (long long)s->hidden, (long long)s->gap, s->in_place, s->placed, s->wanted,
        gatun_tier_name(tier));
    test_note("%s", what);
    cell t = cell_create(s);
    const bool memory = s->cell == GATUN_CELL_LSTM;
    const matrix *h_out = s->in_place ? &t.h : &t.h_out, *c_out = s->in_place ? &t.c : &t.c_out;
    float *h = copy_of(&t.h), *c = copy_of(&t.c), *h_before = copy_of(h_out), *c_before = copy_of(c_out),
          *out_before = copy_of(&t.out);
    const matrix *const inputs[] = {&t.x, &t.u, &t.places, s->in_place ? &t.places : &t.h, s->in_place ? &t.x : &t.c};
    for (int n = 0; n < 5; n++) {
        guarded_protect(&inputs[n]->memory, true);
    }
    matrix first = matrix_create("first result", s->rows, s->hidden, 0, GUARD_AFTER);
    for (int n = 0; n < 4; n++) {
        matrix_restore(h_out, h_before);
        matrix_restore(c_out, c_before);
        t.desc.max_threads = thread_counts[n];
        CHECK_STATUS(run_cell(&t, shared_context(tier)), GATUN_OK);
        CHECK(only_elements_written(h_out, h_before) && only_elements_written(c_out, c_before) &&
                  only_elements_written(&t.out, out_before) &&
                  (memory || s->in_place || guarded_unwritten(&t.c_out.memory)),
            "%s: more than the elements of outputs was written", what);
        if (n > 0) {
            CHECK(same_elements(h_out, &first), "%s: other bits with %d threads", what, (int)thread_counts[n]);
            continue;
        }
        for (int64_t r = 0; r < s->rows; r++) {
            const int64_t place = s->placed ? s->rows - r : r;
            memcpy(at(&first, r, 0), at(h_out, r, 0), (size_t)s->hidden * sizeof(float));
            CHECK(!s->wanted || memcmp(at(&t.out, place, 0), at(h_out, r, 0), (size_t)s->hidden * sizeof(float)) == 0,
                "%s: row %lld: out is not h_out", what, (long long)r);
            for (int64_t i = 0; i < s->hidden; i++) {
                const expected_cell want = expect(s->cell, at(&t.x, place, i), at(&t.u, r, i),
                    (double)h[r * t.h.row + i], (double)c[r * t.c.row + i], s->hidden);
                const double got = (double)*at(h_out, r, i), got_c = memory ? (double)*at(c_out, r, i) : 0;
                if (!(fabs(got - want.h) <= want.h_bound) || !(fabs(got_c - want.c) <= want.c_bound)) {
                    test_fail(__FILE__, __LINE__, "%s: [%lld][%lld]: expected %.9g +- %.3g, c %.9g, got %.9g, c %.9g",
                        what, (long long)r, (long long)i, want.h, want.h_bound, want.c, got, got_c);
                    r = s->rows;
                    break;
                }
            }
        }
        CHECK(s->wanted || guarded_unwritten(&t.out.memory), "%s: out was written", what);
        CHECK(!s->placed || !s->wanted || memcmp(at(&t.out, 0, 0), out_before, sizeof(float)) == 0,
            "%s: a place that no row has was written", what);
    }
    free(h);
    free(c);
    free(h_before);
    free(c_before);
    free(out_before);
    guarded_destroy(&first.memory);
    cell_destroy(&t);
}

static void shapes(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    int64_t number = 0;
    for (int t = 0; t < tier_count; t++) {
        for (int d = 0; d < DIMS; d++) {
            for (int32_t kind = FIRST; kind <= LAST; kind++, number++) {
                if (test_light() && number % 10 != 0) {
                    continue;
                }
                check_case(&(cell_case){.cell = kind,
                               .rows = 1 + (d + kind) % 4,
                               .hidden = dims[d],
                               .gap = d % 3 * 2,
                               .in_place = (d / 2 + kind) % 2 == 0,
                               .placed = d % 2 == 0,
                               .wanted = (d / 4 + kind) % 3 != 0,
                               .end = d % 5 == 4 ? GUARD_BEFORE : GUARD_AFTER,
                               .scale = d % 4 == 1 ? 20 : 1},
                    tiers[t]);
            }
        }
        /* several tasks, the last one smaller */
        for (int32_t kind = FIRST; kind <= LAST; kind++) {
            check_case(&(cell_case){.cell = kind,
                           .rows = 67,
                           .hidden = 333,
                           .gap = 3,
                           .placed = true,
                           .wanted = true,
                           .in_place = kind % 2 == 0,
                           .scale = 1},
                tiers[t]);
        }
    }
    test_note("%s", "");
}

/* sigma and tanh alone, over what floats there are: a reset of h = 1, and a candidate with an open update gate. */
static void functions(void) {
    enum { GRID = 1 << 14 };
    static float x[3 * GRID], u[3 * GRID], h[GRID], out[GRID];
    static const float reach[] = {1, 10, 100};
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int r = 0; r < 4; r++) {
            for (int i = 0; i < GRID; i++) {
                uint32_t bits = (uint32_t)i << 18; /* every exponent */
                float a;
                memcpy(&a, &bits, sizeof a);
                a = r < 3 ? (float)(2.0 * i / (GRID - 1) - 1) * reach[r] : isfinite(a) ? a : 0;
                x[i] = x[2 * GRID + i] = a;
                x[GRID + i] = 200; /* sigma is 1 */
                h[i] = 1;
            }
            gatun_recurrent_cell_desc desc = {.struct_size = sizeof desc,
                .cell = GATUN_CELL_GRU_RESET,
                .rows = 1,
                .hidden = GRID,
                .x_row = 3 * GRID,
                .gates_row = 3 * GRID,
                .h_row = GRID,
                .h_out_row = GRID};
            for (int both = 0; both < 2; both++) {
                CHECK_STATUS(
                    gatun_recurrent_cell(shared_context(tiers[t]), &desc, x, u, h, NULL, NULL, out, NULL, NULL),
                    GATUN_OK);
                for (int i = 0; i < GRID; i++) {
                    const double want = both == 0 ? sigma((double)x[i]) : tanh((double)x[i]);
                    if (!(fabs((double)out[i] - want) <= 5e-7)) {
                        test_fail(__FILE__, __LINE__, "%s of %.9g, %s: expected %.9g, got %.9g",
                            both == 0 ? "sigma" : "tanh", (double)x[i], gatun_tier_name(tiers[t]), want,
                            (double)out[i]);
                        break;
                    }
                }
                desc.cell = GATUN_CELL_GRU_UPDATE;
            }
        }
    }
}

/* What is not finite stays in its column; infinite sums are the limits of the gates. */
static void special(void) {
    enum { HIDDEN = 21, COLUMNS = 4 * HIDDEN };
    static const float values[] = {NAN, INFINITY, -INFINITY};
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int32_t kind = FIRST; kind <= LAST; kind++) {
            for (int bad = 0; bad < blocks_of(kind) * HIDDEN; bad += 5) {
                for (int v = 0; v < 3; v++) {
                    cell r = cell_create(&(cell_case){.cell = kind, .rows = 2, .hidden = HIDDEN, .scale = 1});
                    matrix plain = matrix_create("plain", 2, HIDDEN, 0, GUARD_AFTER);
                    CHECK_STATUS(run_cell(&r, shared_context(tiers[t])), GATUN_OK);
                    memcpy(plain.data, r.h_out.data, 2 * HIDDEN * sizeof(float));
                    *at(&r.x, 1, bad) = values[v];
                    CHECK_STATUS(run_cell(&r, shared_context(tiers[t])), GATUN_OK);
                    const float got = *at(&r.h_out, 1, bad % HIDDEN);
                    const bool read = kind != GATUN_CELL_GRU_RESET || bad < HIDDEN;
                    const bool used = read && (kind != GATUN_CELL_GRU_UPDATE || bad >= HIDDEN);
                    CHECK(v == 0 ? isnan(got) == used : isfinite(got), "%s, block %d, %g, %s: got %g", names[kind],
                        bad / HIDDEN, (double)values[v], gatun_tier_name(tiers[t]), (double)got);
                    *at(&r.h_out, 1, bad % HIDDEN) = *at(&plain, 1, bad % HIDDEN);
                    CHECK(memcmp(plain.data, r.h_out.data, 2 * HIDDEN * sizeof(float)) == 0,
                        "%s, %g in column %d, %s: other columns change", names[kind], (double)values[v], bad % HIDDEN,
                        gatun_tier_name(tiers[t]));
                    guarded_destroy(&plain.memory);
                    cell_destroy(&r);
                }
            }
        }
    }
}

/* ---- refused ---- */

static const cell_case valid = {
    .cell = GATUN_CELL_LSTM, .rows = 4, .hidden = 10, .placed = true, .wanted = true, .scale = 1};

static void check_refused(const cell *t, int32_t wanted, const char *what) {
    const int32_t status = run_cell(t, shared_context(GATUN_TIER_PORTABLE));
    CHECK(status == wanted, "%s: expected \"%s\" (%d), got \"%s\" (%d)", what, gatun_status_string(wanted), (int)wanted,
        gatun_status_string(status), (int)status);
    CHECK(
        guarded_unwritten(&t->out.memory) && guarded_unwritten(&t->h_out.memory) && guarded_unwritten(&t->c_out.memory),
        "%s: an output was written", what);
}

typedef struct bad_member {
    const char *name;
    size_t offset, size;
    int64_t value;
    int32_t status;
} bad_member;

#define BAD(member, value, status)                                                                                     \
    {                                                                                                                  \
#member, offsetof(gatun_recurrent_cell_desc, member), sizeof(((gatun_recurrent_cell_desc *)0)->member), value, \
            status                                                                                                     \
    }

static const bad_member bad_members[] = {
    BAD(struct_size, 0, GATUN_E_VERSION),
    BAD(struct_size, sizeof(gatun_recurrent_cell_desc) - 8, GATUN_E_VERSION),
    BAD(struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD(flags, 1, GATUN_E_INVALID),
    BAD(cell, 0, GATUN_E_INVALID),
    BAD(cell, 5, GATUN_E_INVALID),
    BAD(cell, -1, GATUN_E_INVALID),
    BAD(cell, GATUN_CELL_GRU, GATUN_E_INVALID), /* c has a stride and is there */
    BAD(max_threads, -1, GATUN_E_INVALID),
    BAD(rows, -1, GATUN_E_INVALID),
    BAD(rows, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(hidden, 0, GATUN_E_INVALID),
    BAD(hidden, 11, GATUN_E_INVALID), /* more than strides */
    BAD(hidden, INT64_C(0x10000000a), GATUN_E_INVALID),
    BAD(places, 0, GATUN_E_INVALID), /* places are given */
    BAD(places, -1, GATUN_E_INVALID),
    BAD(places, 4, GATUN_E_INDEX),
    BAD(places, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(x_row, 39, GATUN_E_INVALID),
    BAD(x_row, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD(gates_row, 39, GATUN_E_INVALID),
    BAD(gates_row, INT64_MIN, GATUN_E_INVALID),
    BAD(h_row, 9, GATUN_E_INVALID),
    BAD(c_row, 9, GATUN_E_INVALID),
    BAD(c_row, INT64_MAX, GATUN_E_INVALID),
    BAD(h_out_row, 9, GATUN_E_INVALID),
    BAD(c_out_row, 9, GATUN_E_INVALID),
    BAD(c_out_row, 0, GATUN_E_INVALID),
    BAD(out_row, 9, GATUN_E_INVALID),
    BAD(out_row, -10, GATUN_E_INVALID),
    BAD(reserved, 1, GATUN_E_VERSION),
};

static void members(void) {
    for (size_t n = 0; n < sizeof bad_members / sizeof *bad_members; n++) {
        const bad_member *bad = &bad_members[n];
        cell t = cell_create(&valid);
        const int32_t narrow = (int32_t)bad->value;
        memcpy((uint8_t *)&t.desc + bad->offset, bad->size == 4 ? (const void *)&narrow : &bad->value,
            bad->size == 4 ? 4 : 8);
        char what[96];
        snprintf(what, sizeof what, "%s = %lld", bad->name, (long long)bad->value);
        check_refused(&t, bad->status, what);
        cell_destroy(&t);
    }
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    cell t = cell_create(&valid);
    CHECK_STATUS(run_cell(&t, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_recurrent_cell(context, NULL, t.x.data, NULL, NULL, NULL, NULL, NULL, NULL, NULL), GATUN_E_NULL);
    t.desc.reserved[5] = 1;
    check_refused(&t, GATUN_E_VERSION, "reserved[5] = 1");
    t.desc.reserved[5] = 0;
    t.desc.out_row = 0; /* out is given */
    check_refused(&t, GATUN_E_INVALID, "out without a stride");
    t.desc.out_row = t.out.row;
    t.wanted = false;
    check_refused(&t, GATUN_E_INVALID, "a stride without out");
    t.desc.out_row = 0;
    t.placed = false;
    check_refused(&t, GATUN_E_INVALID, "a number of places without places");
    t.desc.places = 0;
    t.desc.rows = 0;
    CHECK_STATUS(gatun_recurrent_cell(context, &t.desc, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), GATUN_OK);
    cell_destroy(&t);
}

static void places(void) {
    static const int32_t bad[] = {-1, 7, INT32_MIN, INT32_MAX};
    for (int n = 0; n < 4; n++) {
        for (int row = 0; row < 4; row++) {
            cell t = cell_create(&valid);
            ((int32_t *)(void *)t.places.data)[row] = bad[n];
            check_refused(&t, GATUN_E_INDEX, "a place outside");
            cell_destroy(&t);
        }
    }
}

enum { X, U, H, C, PLACES, H_OUT, C_OUT, OUT, POINTERS };

static int32_t run_pointers(const cell *t, uint8_t *const p[POINTERS]) {
    return gatun_recurrent_cell(shared_context(GATUN_TIER_PORTABLE), &t->desc, (const float *)(void *)p[X],
        (const float *)(void *)p[U], (const float *)(void *)p[H], (const float *)(void *)p[C],
        (const int32_t *)(void *)p[PLACES], (float *)(void *)p[H_OUT], (float *)(void *)p[C_OUT],
        (float *)(void *)p[OUT]);
}

/* Null and crooked pointers; and every output in the memory of every other tensor. */
static void pointers(void) {
    cell t = cell_create(&valid);
    const matrix *const all[POINTERS] = {&t.x, &t.u, &t.h, &t.c, &t.places, &t.h_out, &t.c_out, &t.out};
    uint8_t *good[POINTERS], *p[POINTERS];
    for (int n = 0; n < POINTERS; n++) {
        good[n] = all[n]->memory.data;
    }
    for (int broken = 0; broken < POINTERS; broken++) {
        for (int offset = 0; offset < 4; offset++) {
            memcpy(p, good, sizeof p);
            p[broken] = offset == 0 ? NULL : p[broken] + offset;
            const int32_t wanted = offset != 0                         ? GATUN_E_ALIGNMENT
                                   : broken == PLACES || broken == OUT ? GATUN_E_INVALID
                                                                       : GATUN_E_NULL;
            const int32_t status = run_pointers(&t, p);
            CHECK(status == wanted, "pointer %d + %d: expected %d, got %d", broken, offset, (int)wanted, (int)status);
        }
    }
    for (int output = H_OUT; output < POINTERS; output++) {
        for (int other = 0; other < POINTERS; other++) {
            if (other == output) {
                continue;
            }
            memcpy(p, good, sizeof p);
            if (other == PLACES) { /* is checked first, and a row of zeros passes */
                p[PLACES] = p[output];
                memset(p[output], 0, 4 * sizeof(int32_t));
            } else {
                p[output] = p[other] + (output == H_OUT && other == H) * 4 + (output == C_OUT && other == C) * 4;
            }
            const int32_t status = run_pointers(&t, p);
            CHECK(status == GATUN_E_OVERLAP, "output %d over %d: expected %d, got %d", output, other, GATUN_E_OVERLAP,
                (int)status);
            memset(good[output], 0xa5, 4 * sizeof(int32_t));
        }
    }
    cell_destroy(&t);
}

const test_case cells_tests[] = {{"shapes", shapes}, {"functions", functions}, {"special", special},
    {"members", members}, {"places", places}, {"pointers", pointers}, {NULL, NULL}};
