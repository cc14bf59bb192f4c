/*
 * Every tier, with 1, 2 and 5 threads and both guard pages, against the double reference: all pairs of shapes,
 * masks, layouts and sizes; random shapes; with --full products of them. Within a case all runs of a tier must give
 * the same bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pairwise.h"
#include "placement.h"
#include "suites.h"

static const int64_t lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65, 127, 128, 129,
    255, 256, 257, 509, 1021, 2047, 2048, 2049, 2100, 4099};
static const int64_t dims[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 40, 59, 64, 65, 80, 96, 111, 127, 128, 129,
    192, 255, 256, 257, 320, 511, 512};
static const int64_t heads[][2] = {{1, 1}, {2, 1}, {4, 2}, {6, 2}, {8, 1}, {12, 12}};
static const int64_t batches[] = {1, 2, 3};
/* head_dim_v, of head_dim: the same, others of the list, the ends of the range */
enum { DIM_V_SAME, DIM_V_NEXT, DIM_V_HALF, DIM_V_ONE, DIM_V_FIFTY, DIM_V_KINDS };

enum { SEQ_Q, SEQ_K, HEADS, CAUSAL, LENGTHS, LAYOUT, DIM, DIM_V, BATCH, VALUES, FACTORS };

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static const int factor_values[FACTORS] = {COUNT(lengths), COUNT(lengths), COUNT(heads), 3, LENGTHS_KINDS, LAYOUT_KINDS,
    COUNT(dims), DIM_V_KINDS, COUNT(batches), VALUES_KINDS};

static int64_t dim_v(int64_t dim, int kind) {
    switch (kind) {
    case DIM_V_NEXT:
        return dim < GATUN_MAX_HEAD_DIM ? dim + 1 : 511;
    case DIM_V_HALF:
        return (dim + 1) / 2;
    case DIM_V_ONE:
        return 1;
    case DIM_V_FIFTY:
        return 50;
    default:
        return dim;
    }
}

static void problem_from_row(problem *p, const int row[MAX_FACTORS]) {
    memset(p, 0, sizeof *p);
    p->seq_q = lengths[row[SEQ_Q]];
    p->seq_k = lengths[row[SEQ_K]];
    p->heads = heads[row[HEADS]][0];
    p->kv_heads = heads[row[HEADS]][1];
    p->causal = row[CAUSAL];
    p->head_dim = dims[row[DIM]];
    p->head_dim_v = dim_v(dims[row[DIM]], row[DIM_V]);
    p->batch = batches[row[BATCH]];
}

static int64_t row_cost(const int row[MAX_FACTORS]) {
    int cheapest[MAX_FACTORS];
    for (int i = 0; i < FACTORS; i++) {
        cheapest[i] = row[i] >= 0 ? row[i] : 0;
    }
    problem p;
    problem_from_row(&p, cheapest);
    return problem_cost(&p);
}

static double worst_part; /* of the bound, over the running test */

/* Draws values, lays the problem out, and runs it everywhere. */
static void run_case(problem *p, int length_kind, layout kind, distribution drawn, rng *random) {
    problem_allocate(p, length_kind);
    problem_draw(p, drawn, random);
    if (rng_below(random, 2) == 0) {
        problem_poison(p, random);
    }
    if (rng_below(random, 8) == 0) {
        p->scaled = true;
        p->scale = 2 * rng_uniform(random);
    }
    char text[400];
    problem_describe(p, text, sizeof text);
    char what[64];
    test_note("%s, %s", text, layout_name(kind));

    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    outcome first[MAX_TIERS];
    outcome again;
    outcome_create(&again, p);
    expected want;
    bool wanted = false;
    const rng layout_random = *random;
    for (guarded_end end = GUARD_AFTER; end <= GUARD_BEFORE; end++) {
        placement place;
        rng same_layout = layout_random;
        placement_create(&place, p, kind, end, &same_layout);
        if (!wanted) {
            expected_create(&want, p); /* after the placement: broadcasting changes the problem */
            wanted = true;
        }
        for (int t = 0; t < tier_count; t++) {
            static const int32_t threads[] = {1, 2, SHARED_THREADS};
            for (int i = 0; i < (end == GUARD_AFTER ? 3 : 1); i++) {
                bool is_first = end == GUARD_AFTER && i == 0;
                int32_t count = end == GUARD_AFTER ? threads[i] : 0;
                if (is_first) {
                    outcome_create(&first[t], p);
                }
                outcome *result = is_first ? &first[t] : &again;
                snprintf(what, sizeof what, "%s, %d threads%s", gatun_tier_name(tiers[t]), (int)count,
                    end == GUARD_AFTER ? "" : ", guard page before");
                place.no_lse = end == GUARD_BEFORE && t % 2 == 0;
                if (!placement_run(&place, shared_context(tiers[t]), count, result, what)) {
                    memset(first[t].out, 0, (size_t)out_elements(p) * sizeof(float));
                    memset(first[t].lse, 0, (size_t)lse_elements(p) * sizeof(float));
                } else if (is_first) {
                    double part = compare_outcome(p, &want, result, what);
                    worst_part = part > worst_part ? part : worst_part;
                } else {
                    outcome looked_at = {again.out, place.no_lse ? NULL : again.lse};
                    check_same_bits(p, &first[t], &looked_at, what);
                }
            }
        }
        placement_destroy(&place);
    }
    for (int t = 0; t < tier_count; t++) {
        outcome_free(&first[t]);
    }
    outcome_free(&again);
    expected_destroy(&want);
    problem_free(p);
    test_note("%s", "");
}

static void run_row(const int row[MAX_FACTORS], int64_t number) {
    problem p;
    problem_from_row(&p, row);
    rng random = rng_make(test_seed(), (uint64_t)number);
    int before = test_failures();
    run_case(&p, row[LENGTHS], (layout)row[LAYOUT], (distribution)row[VALUES], &random);
    CHECK(test_failures() == before, "the failures above are GATUN_TEST_CASE=%lld", (long long)number);
}

static void report(int64_t cases) {
    printf("     %lld cases, greatest error %.3f of its bound\n", (long long)cases, worst_part);
}

static void pairwise(void) {
    factors f = {.count = FACTORS, .cost = row_cost, .budget = 2500000};
    memcpy(f.values, factor_values, sizeof factor_values);
    int(*rows)[MAX_FACTORS];
    int64_t count = pairwise_rows(&f, &rows);
    int64_t cases = 0;
    worst_part = 0;
    for (int64_t i = 0; i < count; i += test_light() ? 10 : 1) {
        if (test_wants_case(i) && !(test_light() && row_cost(rows[i]) > 400000)) {
            run_row(rows[i], i);
            cases++;
        }
    }
    free(rows);
    report(cases);
}

/* Mostly small numbers, now and then large ones. */
static int64_t skewed(rng *random, int64_t most) {
    int64_t limit = most;
    for (int64_t halvings = rng_below(random, 5); halvings > 0; halvings--) {
        limit = limit / 3 + 1;
    }
    return rng_between(random, 0, limit);
}

static void random_shapes(void) {
    int64_t count = test_light() ? 200 : 2000;
    int64_t budget = test_light() ? 100000 : 2500000;
    int64_t cases = 0;
    worst_part = 0;
    for (int64_t i = 0; i < count; i++) {
        rng random = rng_make(test_seed(), 1000000 + (uint64_t)i);
        problem p = {0};
        do {
            p.batch = rng_below(&random, 20) == 0 ? 0 : rng_between(&random, 1, 4);
            p.kv_heads = rng_between(&random, 1, 4);
            p.heads = p.kv_heads * rng_between(&random, 1, 5);
            p.seq_q = skewed(&random, 700);
            p.seq_k = rng_below(&random, 4) == 0 ? p.seq_q : skewed(&random, rng_below(&random, 8) == 0 ? 5000 : 700);
            p.head_dim = 1 + skewed(&random, GATUN_MAX_HEAD_DIM - 1);
            p.head_dim_v = rng_below(&random, 2) == 0 ? p.head_dim : 1 + skewed(&random, GATUN_MAX_HEAD_DIM - 1);
        } while (problem_cost(&p) > budget);
        p.causal = (int32_t)rng_below(&random, 3);
        int length_kind = (int)rng_below(&random, LENGTHS_KINDS);
        layout kind = (layout)rng_below(&random, LAYOUT_KINDS);
        distribution drawn = (distribution)rng_below(&random, VALUES_KINDS);
        if (test_wants_case(i)) {
            int before = test_failures();
            run_case(&p, length_kind, kind, drawn, &random);
            CHECK(test_failures() == before, "the failures above are GATUN_TEST_CASE=%lld", (long long)i);
            cases++;
        }
    }
    report(cases);
}

/* Shortens the longer of the two sequences until the case is affordable; --full would take weeks otherwise. */
static void shorten(int row[MAX_FACTORS], int64_t budget) {
    while (row_cost(row) > budget && (row[SEQ_Q] > 1 || row[SEQ_K] > 1)) {
        row[row[SEQ_Q] >= row[SEQ_K] ? SEQ_Q : SEQ_K]--;
    }
}

/*
 * Two products, each of all its factors' values, while those of the others pass by in turn:
 * lengths x lengths x heads x causal x length kinds, and dims x dim_v x heads x causal x length kinds x layouts.
 */
static void full_product(bool of_lengths) {
    static const int by_lengths[] = {SEQ_Q, SEQ_K, HEADS, CAUSAL, LENGTHS};
    static const int by_dims[] = {DIM, DIM_V, HEADS, CAUSAL, LENGTHS, LAYOUT};
    const int *chosen = of_lengths ? by_lengths : by_dims;
    int count = of_lengths ? COUNT(by_lengths) : COUNT(by_dims);
    int64_t total = 1;
    for (int i = 0; i < count; i++) {
        total *= factor_values[chosen[i]];
    }
    worst_part = 0;
    for (int64_t number = 0; number < total; number++) {
        int row[MAX_FACTORS];
        rng random = rng_make(7, (uint64_t)number);
        for (int i = 0; i < FACTORS; i++) {
            row[i] = (int)rng_below(&random, factor_values[i]);
        }
        row[of_lengths ? DIM : SEQ_Q] %= 16; /* small partners, or shorten() would undo the product */
        row[SEQ_K] %= of_lengths ? COUNT(lengths) : 22;
        int64_t rest = number;
        for (int i = 0; i < count; i++) {
            row[chosen[i]] = (int)(rest % factor_values[chosen[i]]);
            rest /= factor_values[chosen[i]];
        }
        shorten(row, 1000000);
        if (test_wants_case(number)) {
            run_row(row, number);
        }
    }
    report(total);
}

static void full_lengths(void) {
    full_product(true);
}

static void full_dims(void) {
    full_product(false);
}

const test_case matrix_tests[] = {{"pairwise", pairwise}, {"random_shapes", random_shapes}, {NULL, NULL}};

const test_case full_tests[] = {{"lengths", full_lengths}, {"dims", full_dims}, {NULL, NULL}};
