/*
 * Maps of probabilities: against the double reference, whose output is the probabilities where values are unit vectors, for all that
 * changes scores, on every tier, with one thread and with several; bits; rows that are NaN or beyond float; what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changed.h"
#include "suites.h"

/* ---- a map in guarded memory ---- */

static int64_t cells_of(const problem *p, const gatun_attention_map_desc *m) {
    return p->batch * p->heads * m->map_rows * m->map_columns;
}

/* Of all rows and keys. */
static gatun_attention_map_desc whole_map(const problem *p, int32_t reduction, int64_t map_rows, int64_t map_columns) {
    return (gatun_attention_map_desc){.struct_size = sizeof(gatun_attention_map_desc),
        .reduction = reduction,
        .rows = p->seq_q,
        .keys = p->seq_k,
        .map_rows = map_rows,
        .map_columns = map_columns};
}

static gatun_attention_map_desc draw_map(const problem *p, rng *random) {
    gatun_attention_map_desc m = whole_map(p, (int32_t)rng_below(random, 2), 0, 0);
    if (rng_below(random, 3) != 0) {
        m.first_row = rng_below(random, p->seq_q);
        m.rows = rng_between(random, 1, p->seq_q - m.first_row);
        m.first_key = rng_below(random, p->seq_k);
        m.keys = rng_between(random, 1, p->seq_k - m.first_key);
    }
    m.map_rows = rng_below(random, 3) == 0 ? m.rows : rng_between(random, 1, m.rows);
    m.map_columns = rng_below(random, 3) == 0 ? m.keys : rng_between(random, 1, m.keys);
    return m;
}

static int32_t call_map(gatun_context *context, const gatun_attention_desc *desc, const gatun_attention_map_desc *m,
    void *workspace, int64_t bytes, const problem *p, const void *q, const void *k, float *map) {
    return gatun_attention_map(context, desc, m, workspace, bytes, q, k, p->key_lengths, p->query_lengths, map, p->mask,
        p->block_mask, p->bias, p->alibi_slopes, p->sinks, p->segments_q, p->segments_k, p->prefix, p->relative_table,
        p->positions);
}

/*
 * Stores [batch][heads][map_rows][map_columns] of a map whose rows are `gap` elements longer and which ends, like its workspace, at
 * a guard page; nothing else is written.
 */
static bool run_map(gatun_context *context, gatun_attention_desc desc, gatun_attention_map_desc m, int64_t gap,
    const problem *p, const void *q, const void *k, float *cells, const char *what) {
    const int64_t row = m.map_columns + gap, head = m.map_rows * row, batch = p->heads * head;
    m.map_stride[0] = batch;
    m.map_stride[1] = head;
    m.map_stride[2] = row;
    int64_t bytes = 0;
    int32_t status = gatun_attention_map_workspace_size(context, &desc, &m, &bytes);
    if (status != GATUN_OK) {
        char message[256] = "";
        (void)gatun_attention_map_check(context, &desc, &m, message, sizeof message);
        test_fail(__FILE__, __LINE__, "%s: workspace size: %s (%s)", what, gatun_status_string(status), message);
        return false;
    }
    guarded map, workspace;
    guarded_create(&map, "map", (p->batch * batch - gap) * (int64_t)sizeof(float), 0, GUARD_AFTER);
    guarded_create(&workspace, "workspace", bytes, 0, GUARD_AFTER);
    float *const from = (float *)(void *)map.data;
    status = call_map(context, &desc, &m, workspace.data, bytes, p, q, k, from);
    CHECK(status == GATUN_OK, "%s: gatun_attention_map: %s", what, gatun_status_string(status));
    CHECK(guarded_intact(&map) && guarded_intact(&workspace), "%s: written beyond map or workspace", what);
    bool clean = status == GATUN_OK;
    for (int64_t n = 0, at = 0; clean && n < p->batch * batch - gap; n++) {
        uint32_t word;
        memcpy(&word, &from[n], sizeof word);
        if (n % row < m.map_columns) {
            cells[at++] = from[n];
        } else if (word != GUARDED_FILL) {
            test_fail(__FILE__, __LINE__, "%s: element %lld, between rows, was written", what, (long long)n);
            clean = false;
        }
    }
    guarded_destroy(&map);
    guarded_destroy(&workspace);
    return clean;
}

/* ---- against the reference ---- */

/* Values of p become unit vectors. */
static void unit_values(problem *p) {
    free(p->v);
    p->head_dim_v = p->seq_k;
    const int64_t rows = p->batch * p->seq_k * p->kv_heads;
    p->v = test_allocate(rows * p->seq_k * (int64_t)sizeof *p->v);
    memset(p->v, 0, (size_t)(rows * p->seq_k) * sizeof *p->v);
    for (int64_t r = 0; r < rows; r++) {
        p->v[r * p->seq_k + r / p->kv_heads % p->seq_k] = 1;
    }
}

/*
 * gatun.h's bound: that of an output of unit vectors, twice, since the sum and each score are rounded apart from each other, of the
 * cell itself, whose key may be the one with the largest bias; probabilities below 2^-125 of the largest may be 0.
 */
static bool check_cells(
    const problem *p, const expected *want, const gatun_attention_map_desc *m, const float *got, const char *what) {
    int64_t at = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->heads; h++) {
            for (int64_t n = 0; n < m->map_rows * m->map_columns; n++, at++) {
                const int64_t r = n / m->map_columns, c = n % m->map_columns;
                const int64_t row_end = m->first_row + (r + 1) * m->rows / m->map_rows,
                              key = m->first_key + c * m->keys / m->map_columns,
                              key_end = m->first_key + (c + 1) * m->keys / m->map_columns;
                double sum = 0, most = 0, bound = 0, count = 0;
                bool is_nan = false; /* some row; then what it sees is NaN, and the rest 0, which apart_rows tests */
                for (int64_t i = m->first_row + r * m->rows / m->map_rows; i < row_end; i++) {
                    const int64_t row = (b * p->seq_q + i) * p->heads + h;
                    is_nan = is_nan || isnan(want->row[row].lse);
                    bound = fmax(bound, 4e-6 + 2 * (8 + (double)p->head_dim / 2) * 0x1p-24 *
                                                   (want->row[row].score + want->row[row].bias));
                    for (int64_t j = key; j < key_end; j++, count++) {
                        const double prob = isnan(want->row[row].lse) ? 0 : want->out[row * p->seq_k + j];
                        sum += prob;
                        most = prob > most ? prob : most;
                    }
                }
                const double exact = m->reduction == GATUN_MAP_MAX ? most : sum / count;
                if (!(fabs((double)got[at] - exact) <= bound * exact + 0x1p-125) && !(is_nan && isnan(got[at]))) {
                    test_fail(__FILE__, __LINE__,
                        "%s: cell (%lld, %lld) of b %lld, h %lld: expected %.9g +- %.3g, got %.9g (%s of rows %lld + "
                        "%lld / %lld, keys %lld + %lld / %lld)",
                        what, (long long)r, (long long)c, (long long)b, (long long)h, exact, bound * exact,
                        (double)got[at], m->reduction == GATUN_MAP_MAX ? "max" : "mean", (long long)m->first_row,
                        (long long)m->rows, (long long)m->map_rows, (long long)m->first_key, (long long)m->keys,
                        (long long)m->map_columns);
                    return false;
                }
            }
        }
    }
    return true;
}

static void check_bits(const float *a, const float *b, int64_t count, const char *what) {
    for (int64_t n = 0; n < count; n++) {
        if (!same_bits(&a[n], &b[n], 1)) {
            test_fail(
                __FILE__, __LINE__, "%s: cell %lld: %.9g and %.9g", what, (long long)n, (double)a[n], (double)b[n]);
            return;
        }
    }
}

/* On every tier, with one thread and with five, in some layout. */
static void check_map(problem *p, const gatun_attention_map_desc *m, rng *random, const char *what) {
    unit_values(p);
    expected want;
    expected_create(&want, p);
    const int64_t cells = cells_of(p, m);
    float *first = test_allocate(cells * (int64_t)sizeof *first),
          *again = test_allocate(cells * (int64_t)sizeof *again);
    const layout kinds[] = {LAYOUT_BSHD, LAYOUT_BHSD, LAYOUT_PADDED, LAYOUT_UNALIGNED};
    placement place;
    placement_create(&place, p, kinds[rng_below(random, 4)], GUARD_AFTER, random);
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        char name[600];
        snprintf(name, sizeof name, "%s, %s", what, gatun_tier_name(tiers[t]));
        gatun_attention_desc desc = place.desc;
        desc.max_threads = 1;
        const float *q = place.data[TENSOR_Q], *k = place.data[TENSOR_K];
        if (run_map(shared_context(tiers[t]), desc, *m, rng_below(random, 4), p, q, k, first, name)) {
            check_cells(p, &want, m, first, name);
        }
        desc.max_threads = 0;
        if (run_map(shared_context(tiers[t]), desc, *m, rng_below(random, 4), p, q, k, again, name)) {
            check_bits(first, again, cells, name);
        }
    }
    placement_destroy(&place);
    expected_destroy(&want);
    free(first);
    free(again);
}

static void check_combination(const bool wanted[FEATURES], int64_t number) {
    static const int64_t queries[] = {1, 2, 4, 5, 33, 70, 150, 300};
    static const int64_t keys[] = {1, 3, 40, 127, 128, 129, 200, 300, 400};
    static const int64_t dims[] = {1, 8, 16, 33, 64, 80};
    rng random = rng_make(test_seed(), 1100000 + (uint64_t)number);
    const int64_t seq_q = queries[rng_below(&random, 8)];
    problem p = changed_problem(wanted, seq_q, keys[rng_below(&random, 9)], dims[rng_below(&random, 6)], &random);
    const gatun_attention_map_desc m = draw_map(&p, &random);
    char text[500], what[560];
    problem_describe(&p, text, sizeof text);
    snprintf(what, sizeof what, "GATUN_TEST_CASE=%lld: %s", (long long)number, text);
    test_note("%s", what);
    check_map(&p, &m, &random, what);
    test_note("%s", "");
    problem_free(&p);
}

/* None of them, each alone, each two and three. */
static void combinations(void) {
    int64_t number = 0;
    for (int set = 0; set < 1 << FEATURES; set++) {
        bool wanted[FEATURES];
        int count = 0;
        for (int i = 0; i < FEATURES; i++) {
            wanted[i] = (set >> i & 1) != 0;
            count += wanted[i];
        }
        if (count > 3) {
            continue;
        }
        number++;
        if (!test_wants_case(number) || (test_light() && count > 1 && number % 37 != 0)) {
            continue;
        }
        for (int64_t again = 0; again < (test_light()    ? 2
                                            : count == 0 ? 30
                                            : count == 1 ? 8
                                            : count == 2 ? 2
                                                         : 1);
             again++) {
            check_combination(wanted, number + again * 100000);
        }
    }
}

/* Splits of the keys; bins longer than a tile; bins of more rows than a task takes at a time. */
static void long_bins(void) {
    static const struct {
        int64_t rows, keys, map_rows, map_columns;
    } sizes[] = {{7, 2300, 7, 5}, {3, 2200, 2, 2200}, {900, 150, 2, 7}, {600, 300, 1, 1}, {400, 600, 7, 4}};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n += test_light() ? 3 : 1) {
        for (int32_t reduction = GATUN_MAP_MEAN; reduction <= GATUN_MAP_MAX; reduction++) {
            if (test_light() && ((int32_t)n + reduction) % 2 != 0) {
                continue;
            }
            bool wanted[FEATURES] = {false};
            wanted[SINKS] = n % 2 == 0;
            wanted[RANDOM_CAUSAL] = n % 2 == 1;
            rng random = rng_make(test_seed(), 1200000 + n);
            problem p = changed_problem(wanted, sizes[n].rows, sizes[n].keys, 8, &random);
            gatun_attention_map_desc m = whole_map(&p, reduction, sizes[n].map_rows, sizes[n].map_columns);
            check_map(&p, &m, &random, "long bins");
            problem_free(&p);
        }
    }
}

/* ---- bits ---- */

/* Cells of a part of a map, whose bins are the same, are those of the whole, and more columns than a task takes are no other. */
static void parts(void) {
    static const struct {
        int64_t rows, keys, row, key, part_rows, part_keys;
    } sizes[] = {{90, 300, 31, 77, 40, 200}, {2, 70000, 0, 65500, 2, 4500}, {40, 70000, 39, 0, 1, 66000}};
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        problem p = new_problem(1, 2, 1, sizes[n].rows, sizes[n].keys, 3, GATUN_CAUSAL_BOTTOM_RIGHT);
        const gatun_attention_desc desc = default_desc(&p);
        gatun_attention_map_desc whole = whole_map(&p, GATUN_MAP_MEAN, p.seq_q, p.seq_k), part = whole;
        part.first_row = sizes[n].row;
        part.rows = part.map_rows = sizes[n].part_rows;
        part.first_key = sizes[n].key;
        part.keys = part.map_columns = sizes[n].part_keys;
        float *all = test_allocate(cells_of(&p, &whole) * (int64_t)sizeof *all),
              *some = test_allocate(cells_of(&p, &part) * (int64_t)sizeof *some);
        for (int t = 0; t < count; t++) {
            gatun_context *context = shared_context(tiers[t]);
            (void)run_map(context, desc, whole, 0, &p, p.q, p.k, all, "a whole map");
            (void)run_map(context, desc, part, 1, &p, p.q, p.k, some, "a part of it");
            for (int64_t r = 0; r < p.heads * part.rows; r++) {
                const int64_t from = r / part.rows * p.seq_q + part.first_row + r % part.rows;
                check_bits(
                    all + from * p.seq_k + part.first_key, some + r * part.keys, part.keys, gatun_tier_name(tiers[t]));
            }
        }
        free(all);
        free(some);
        problem_free(&p);
    }
}

/* 16-bit queries and keys are floats of the same numbers. */
static void halves(void) {
    problem p = new_problem(1, 2, 1, 150, 300, 24, GATUN_CAUSAL_BOTTOM_RIGHT);
    const int64_t q_count = p.seq_q * p.heads * p.head_dim, k_count = p.seq_k * p.kv_heads * p.head_dim;
    guarded q, k;
    guarded_create(&q, "q", q_count * 2, 0, GUARD_AFTER);
    guarded_create(&k, "k", k_count * 2, 0, GUARD_AFTER);
    for (int64_t i = 0; i < q_count; i++) {
        uint32_t word;
        memcpy(&word, &p.q[i], sizeof word);
        ((uint16_t *)(void *)q.data)[i] = (uint16_t)(word >> 16);
        word &= 0xffff0000u;
        memcpy(&p.q[i], &word, sizeof word);
    }
    for (int64_t i = 0; i < k_count; i++) {
        uint32_t word;
        memcpy(&word, &p.k[i], sizeof word);
        ((uint16_t *)(void *)k.data)[i] = (uint16_t)(word >> 16);
        word &= 0xffff0000u;
        memcpy(&p.k[i], &word, sizeof word);
    }
    const gatun_attention_map_desc m = whole_map(&p, GATUN_MAP_MAX, 40, 77);
    float *want = test_allocate(cells_of(&p, &m) * (int64_t)sizeof *want),
          *got = test_allocate(cells_of(&p, &m) * (int64_t)sizeof *got);
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        gatun_attention_desc desc = default_desc(&p);
        (void)run_map(shared_context(tiers[t]), desc, m, 0, &p, p.q, p.k, want, "floats");
        desc.dtype = desc.kv_dtype = GATUN_DTYPE_BF16;
        desc.flags |= GATUN_ATTENTION_BF16; /* without an effect */
        (void)run_map(shared_context(tiers[t]), desc, m, 3, &p, q.data, k.data, got, "halves");
        check_bits(want, got, cells_of(&p, &m), gatun_tier_name(tiers[t]));
    }
    free(want);
    free(got);
    guarded_destroy(&q);
    guarded_destroy(&k);
    problem_free(&p);
}

/* ---- rows that stand apart ---- */

enum { APART_ROWS = 5, APART_KEYS = 40, APART_DIM = 8 };

/* Row 1 is made special by `change`; want[key] is its probabilities, all other rows are those of before. Keys from 30 on are
 * masked, and NaN. */
static void apart(const char *what, void (*change)(problem *p), double (*want)(int64_t key)) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        problem p = new_problem(1, 1, 1, APART_ROWS, APART_KEYS, APART_DIM, GATUN_CAUSAL_NONE);
        uint8_t mask[APART_KEYS];
        for (int64_t j = 0; j < APART_KEYS; j++) {
            mask[j] = j < 30;
            for (int64_t d = 0; j >= 30 && d < APART_DIM; d++) {
                p.k[j * APART_DIM + d] = NAN;
            }
        }
        p.mask = mask;
        p.mask_stride[3] = 1;
        const gatun_attention_map_desc m = whole_map(&p, GATUN_MAP_MEAN, APART_ROWS, APART_KEYS),
                                       pairs = whole_map(&p, GATUN_MAP_MAX, APART_ROWS, APART_KEYS / 2);
        float before[APART_ROWS * APART_KEYS], after[APART_ROWS * APART_KEYS], most[APART_ROWS * APART_KEYS / 2];
        gatun_context *context = shared_context(tiers[t]);
        (void)run_map(context, default_desc(&p), m, 0, &p, p.q, p.k, before, what);
        change(&p);
        (void)run_map(context, default_desc(&p), m, 0, &p, p.q, p.k, after, what);
        (void)run_map(context, default_desc(&p), pairs, 0, &p, p.q, p.k, most, what);
        memcpy(before + APART_KEYS, after + APART_KEYS, APART_KEYS * sizeof *after);
        check_bits(before, after, p.sinks == NULL ? APART_ROWS * APART_KEYS : 0, what);
        for (int64_t j = 0; j < APART_KEYS; j++) {
            const double exact = j < 30 ? want(j) : 0, got = (double)after[APART_KEYS + j];
            CHECK(isnan(exact) ? isnan(got) : fabs(got - exact) <= 1e-5, "%s, %s: key %lld: expected %g, got %g", what,
                gatun_tier_name(tiers[t]), (long long)j, exact, got);
            const double pair = (double)most[APART_KEYS / 2 + j / 2];
            CHECK(isnan(exact) ? isnan(pair) : !(pair < got), "%s, %s: pair of key %lld: got %g beside %g", what,
                gatun_tier_name(tiers[t]), (long long)j, pair, got);
        }
        p.mask = NULL;
        problem_free(&p);
    }
}

static void query_of_nan(problem *p) {
    p->q[APART_DIM + 3] = NAN;
}
static double all_nan(int64_t key) {
    (void)key;
    return (double)NAN;
}
static void query_of_zero(problem *p) {
    memset(p->q + APART_DIM, 0, APART_DIM * sizeof *p->q);
}
static double equal(int64_t key) {
    (void)key;
    return 1.0 / 30;
}
/* Scores of 1e38 * 1e3, beyond float: the largest wins. Those of other rows stay ordinary: their queries are 0 there. */
static void query_beyond_float(problem *p) {
    for (int64_t i = 0; i < APART_ROWS; i++) {
        p->q[i * APART_DIM] = i == 1 ? 3e38f : 0;
        for (int64_t d = 1; d < APART_DIM && i == 1; d++) {
            p->q[i * APART_DIM + d] = 0;
        }
    }
    for (int64_t j = 0; j < 30; j++) {
        p->k[j * APART_DIM] = j == 4 || j == 17 ? 1e3f : j == 5 ? -1e3f : 0.5f;
    }
}
static double two_keys(int64_t key) {
    return key == 4 || key == 17 ? 0.5 : 0;
}

static void apart_rows(void) {
    apart("a query of NaN", query_of_nan, all_nan);
    apart("a query of 0", query_of_zero, equal);
}

static void beyond_float(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        problem p = new_problem(1, 1, 1, APART_ROWS, APART_KEYS, APART_DIM, GATUN_CAUSAL_NONE);
        query_beyond_float(&p);
        for (int64_t j = 30; j < APART_KEYS; j++) {
            p.k[j * APART_DIM] = 0.25f;
        }
        const gatun_attention_map_desc m = whole_map(&p, GATUN_MAP_MEAN, APART_ROWS, APART_KEYS);
        float got[APART_ROWS * APART_KEYS];
        (void)run_map(shared_context(tiers[t]), default_desc(&p), m, 0, &p, p.q, p.k, got, "beyond float");
        for (int64_t i = 0; i < APART_ROWS; i++) {
            double sum = 0;
            for (int64_t j = 0; j < APART_KEYS; j++) {
                sum += (double)got[i * APART_KEYS + j];
                CHECK(i != 1 || (double)got[i * APART_KEYS + j] == two_keys(j), "%s: key %lld: got %g",
                    gatun_tier_name(tiers[t]), (long long)j, (double)got[i * APART_KEYS + j]);
            }
            CHECK(fabs(sum - 1) < 1e-6, "%s: row %lld adds up to %g", gatun_tier_name(tiers[t]), (long long)i, sum);
        }
        problem_free(&p);
    }
}

/* Sinks of all kinds; keys of infinity. */
static void sinks(void) {
    static const float kinds[] = {0, -INFINITY, 40, INFINITY, NAN, -300};
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int t = 0; t < count; t++) {
        for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
            problem p = new_problem(1, 1, 1, 6, 10, 4, GATUN_CAUSAL_TOP_LEFT);
            float sink = kinds[n], got[60];
            memset(p.q, 0, 6 * 4 * sizeof *p.q);
            p.sinks = &sink;
            const gatun_attention_map_desc m = whole_map(&p, GATUN_MAP_MEAN, 6, 10);
            (void)run_map(shared_context(tiers[t]), default_desc(&p), m, 0, &p, p.q, p.k, got, "sinks");
            for (int64_t i = 0; i < 60; i++) {
                const double keys = (double)(i / 10 + 1), exact = i % 10 > i / 10 ? 0 : 1 / (keys + exp((double)sink));
                const int is_nan = !(sink < INFINITY) && i % 10 <= i / 10;
                CHECK(is_nan ? isnan(got[i]) : fabs((double)got[i] - exact) <= 1e-5 * exact,
                    "%s, sink %g: cell %lld: expected %g, got %g", gatun_tier_name(tiers[t]), (double)sink,
                    (long long)i, is_nan ? (double)NAN : exact, (double)got[i]);
            }
            p.sinks = NULL;
            problem_free(&p);
        }
    }
}

/* ---- what is refused ---- */

static void refused(const char *what, const char *message, int32_t wanted,
    void (*spoil)(gatun_attention_desc *d, gatun_attention_map_desc *m)) {
    problem p = new_problem(2, 2, 1, 9, 40, 8, GATUN_CAUSAL_NONE);
    gatun_attention_desc d = default_desc(&p);
    gatun_attention_map_desc m = whole_map(&p, GATUN_MAP_MEAN, 3, 5);
    m.map_stride[0] = 30;
    m.map_stride[1] = 15;
    m.map_stride[2] = 5;
    gatun_context *context = shared_context(0);
    int64_t bytes = 0;
    CHECK_STATUS(gatun_attention_map_workspace_size(context, &d, &m, &bytes), GATUN_OK);
    void *workspace = aligned_alloc(64, (size_t)bytes);
    float map[60];
    memset(map, 0x5a, sizeof map);
    spoil(&d, &m);
    char text[256] = "";
    CHECK_STATUS(gatun_attention_map_check(context, &d, &m, text, sizeof text), wanted);
    CHECK(strncmp(text, message, strlen(message)) == 0, "%s: expected \"%s...\", got \"%s\"", what, message, text);
    const int32_t status = call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, map);
    CHECK(status == wanted, "%s: expected \"%s\", got \"%s\"", what, gatun_status_string(wanted),
        gatun_status_string(status));
    int64_t none = -1;
    CHECK_STATUS(gatun_attention_map_workspace_size(context, &d, &m, &none), wanted);
    for (size_t i = 0; i < sizeof map; i++) {
        CHECK(((const uint8_t *)map)[i] == 0x5a, "%s: byte %zu of the map was written", what, i);
    }
    free(workspace);
    problem_free(&p);
}

#define SPOIL(name, statement)                                                                                         \
    static void name(gatun_attention_desc *d, gatun_attention_map_desc *m) {                                           \
        (void)d;                                                                                                       \
        (void)m;                                                                                                       \
        statement;                                                                                                     \
    }
SPOIL(ragged, d->flags |= GATUN_ATTENTION_RAGGED_Q)
SPOIL(old_size, m->struct_size = 8)
SPOIL(reserved_set, m->reserved[7] = 1)
SPOIL(other_reduction, m->reduction = 2)
SPOIL(no_row, m->first_row = 10)
SPOIL(too_many_rows, m->rows = 10)
SPOIL(behind_keys, m->first_key = 1)
SPOIL(negative_keys, m->keys = -1)
SPOIL(too_fine, m->map_rows = 10)
SPOIL(no_columns, m->map_columns = 0)
SPOIL(negative_stride, m->map_stride[1] = -15)
SPOIL(one_head, m->map_stride[1] = 0)
SPOIL(bad_dim, d->head_dim = 0)

/* Statuses of tensors; none of them writes anything. */
static void refused_tensors(void) {
    problem p = new_problem(1, 1, 1, 9, 40, 8, GATUN_CAUSAL_NONE);
    const gatun_attention_desc d = default_desc(&p);
    gatun_attention_map_desc m = whole_map(&p, GATUN_MAP_MEAN, 3, 5);
    m.map_stride[0] = m.map_stride[1] = 15;
    m.map_stride[2] = 5;
    gatun_context *context = shared_context(0);
    int64_t bytes = 0;
    CHECK_STATUS(gatun_attention_map_workspace_size(context, &d, &m, &bytes), GATUN_OK);
    CHECK_STATUS(gatun_attention_map_workspace_size(context, &d, &m, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_attention_map_workspace_size(NULL, &d, &m, &bytes), GATUN_E_NULL);
    char *workspace = aligned_alloc(64, (size_t)bytes + 64);
    float map[16];
    CHECK_STATUS(call_map(context, &d, NULL, workspace, bytes, &p, p.q, p.k, map), GATUN_E_NULL);
    CHECK_STATUS(call_map(context, NULL, &m, workspace, bytes, &p, p.q, p.k, map), GATUN_E_NULL);
    CHECK_STATUS(call_map(context, &d, &m, NULL, bytes, &p, p.q, p.k, map), GATUN_E_NULL);
    CHECK_STATUS(call_map(context, &d, &m, workspace + 4, bytes, &p, p.q, p.k, map), GATUN_E_ALIGNMENT);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes - 1, &p, p.q, p.k, map), GATUN_E_WORKSPACE);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, NULL, p.k, map), GATUN_E_NULL);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, NULL, map), GATUN_E_NULL);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, NULL), GATUN_E_NULL);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, (float *)(void *)((char *)map + 2)),
        GATUN_E_ALIGNMENT);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, p.q + 60), GATUN_E_OVERLAP);
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, p.k), GATUN_E_OVERLAP);
    int32_t length = 41;
    p.key_lengths = &length;
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, map), GATUN_E_LENGTH);
    length = 10;
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, (float *)(void *)&length), GATUN_E_OVERLAP);
    p.query_lengths = &length;
    p.key_lengths = NULL;
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, map), GATUN_E_LENGTH);
    p.query_lengths = NULL;
    uint8_t mask = 1;
    p.mask = &mask;
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, map), GATUN_E_INVALID);
    p.mask = NULL;
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, map), GATUN_OK);
    /* Nothing to show. */
    m.rows = m.map_rows = 0;
    CHECK_STATUS(call_map(context, &d, &m, workspace, bytes, &p, p.q, p.k, NULL), GATUN_OK);
    free(workspace);
    problem_free(&p);
}

static void refusals(void) {
    refused("ragged sequences", "flags: expected no ragged sequences", GATUN_E_UNSUPPORTED, ragged);
    refused("a small struct", "struct_size: expected", GATUN_E_VERSION, old_size);
    refused("a reserved member", "reserved", GATUN_E_VERSION, reserved_set);
    refused("another reduction", "reduction: expected 0 .. 1, got 2", GATUN_E_INVALID, other_reduction);
    refused("a row behind the last", "first_row: expected 0 .. 9, got 10", GATUN_E_INVALID, no_row);
    refused("too many rows", "rows: expected 0 .. 9, got 10", GATUN_E_INVALID, too_many_rows);
    refused("keys behind the last", "keys: expected 0 .. 39, got 40", GATUN_E_INVALID, behind_keys);
    refused("keys below 0", "keys: expected 0 .. 40, got -1", GATUN_E_INVALID, negative_keys);
    refused("more map rows than rows", "map_rows: expected 1 .. 9, got 10", GATUN_E_INVALID, too_fine);
    refused("no columns", "map_columns: expected 1 .. 40, got 0", GATUN_E_INVALID, no_columns);
    refused("a negative stride", "map_stride[1] (head): expected >= 0", GATUN_E_INVALID, negative_stride);
    refused("heads that share memory", "map_stride: expected nested", GATUN_E_OVERLAP, one_head);
    refused("a head of nothing", "head_dim: expected", GATUN_E_INVALID, bad_dim);
    refused_tensors();
}

const test_case map_tests[] = {{"combinations", combinations}, {"long_bins", long_bins}, {"parts", parts},
    {"halves", halves}, {"apart_rows", apart_rows}, {"beyond_float", beyond_float}, {"sinks", sinks},
    {"refusals", refusals}, {NULL, NULL}};
