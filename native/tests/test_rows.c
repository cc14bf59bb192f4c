/* gatun_norm, gatun_activation and gatun_softmax against loops in double, on every tier, with rows that end at a page that
 * may not be touched. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"
#include "rows.h"
#include "suites.h"

/* ---- activation ---- */

enum { ACTIVATIONS = GATUN_ACTIVATION_QUICK_GELU + 1 };

static const char *const activation_names[ACTIVATIONS] = {"none", "relu", "gelu", "gelu_tanh", "silu", "quick_gelu"};

/* What gatun.h promises; without activation, and for max(x, 0), nothing is rounded. */
static double activation_bound(int32_t kind, double x) {
    return kind <= GATUN_ACTIVATION_RELU ? 0 : 5e-7 * fmax(1, fabs(x));
}

enum { GRID = 1 << 19 };

static void check_grid(gatun_context *context, int32_t kind, const float *x, float *out, const char *what) {
    enum { ROW = 1 << 9 };
    gatun_activation_desc desc = activation_desc(GRID / ROW, ROW, kind);
    REQUIRE_STATUS(gatun_activation(context, &desc, x, NULL, NULL, out), GATUN_OK);
    for (int64_t i = 0; i < GRID; i++) {
        double want = activation_exact(kind, (double)x[i]);
        double bound = activation_bound(kind, (double)x[i]);
        if (!(fabs((double)out[i] - want) <= bound)) {
            test_fail(__FILE__, __LINE__, "%s of %.9g: expected %.12g +- %.3g, got %.9g", what, (double)x[i], want,
                bound, (double)out[i]);
            return;
        }
    }
}

/* Every place where the functions bend, and every exponent of a float. */
static void activation_values(void) {
    static const double reach[] = {1, 7, 30, 200};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    float *x = test_allocate(GRID * (int64_t)sizeof(float));
    float *out = test_allocate(GRID * (int64_t)sizeof(float));
    for (int r = 0; r < 5; r++) {
        for (int64_t i = 0; i < GRID; i++) {
            if (r < 4) {
                x[i] = (float)((2.0 * (double)i / (GRID - 1) - 1) * reach[r]);
            } else {
                uint32_t bits = (uint32_t)i * (UINT32_C(1) << 13);
                memcpy(&x[i], &bits, sizeof bits);
                x[i] = isfinite(x[i]) ? x[i] : 0;
            }
        }
        for (int t = 0; t < tier_count; t += test_light() && r > 0 ? tier_count : 1) {
            for (int32_t kind = 0; kind < ACTIVATIONS; kind++) {
                char what[64];
                snprintf(what, sizeof what, "%s, %s", activation_names[kind], gatun_tier_name(tiers[t]));
                check_grid(shared_context(tiers[t]), kind, x, out, what);
            }
        }
    }
    free(x);
    free(out);
}

/* A value that is not finite changes its own element alone. */
static void activation_special(void) {
    enum { DIM = 37 };
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int32_t kind = 0; kind < ACTIVATIONS; kind++) {
            static const float values[] = {NAN, INFINITY, -INFINITY};
            for (int v = 0; v < 3; v++) {
                float x[DIM];
                float out[DIM];
                float plain[DIM];
                rng random = rng_make(test_seed(), (uint64_t)kind);
                for (int i = 0; i < DIM; i++) {
                    x[i] = rng_normal(&random);
                }
                gatun_activation_desc desc = activation_desc(1, DIM, kind);
                CHECK_STATUS(gatun_activation(shared_context(tiers[t]), &desc, x, NULL, NULL, plain), GATUN_OK);
                for (int place = 0; place < DIM; place += 6) {
                    float kept = x[place];
                    x[place] = values[v];
                    CHECK_STATUS(gatun_activation(shared_context(tiers[t]), &desc, x, NULL, NULL, out), GATUN_OK);
                    x[place] = kept;
                    float got = out[place];
                    bool good;
                    if (v == 0) {
                        good = isnan(got);
                    } else if (v == 1) {
                        good = got == INFINITY;
                    } else if (kind == GATUN_ACTIVATION_NONE) {
                        good = got == -INFINITY;
                    } else if (kind == GATUN_ACTIVATION_RELU) {
                        good = got == 0;
                    } else {
                        good = isnan(got) || got == 0; /* the formula has -Inf * 0, the limit is 0 */
                    }
                    CHECK(good, "%s(%g), %s: got %g", activation_names[kind], (double)values[v],
                        gatun_tier_name(tiers[t]), (double)got);
                    out[place] = plain[place];
                    CHECK(memcmp(out, plain, sizeof out) == 0, "%s(%g), %s: it changes other elements than its own",
                        activation_names[kind], (double)values[v], gatun_tier_name(tiers[t]));
                }
            }
        }
    }
}

enum { IN_NEW, IN_X, IN_OTHER, PLACES }; /* where out, or sum, lies */

typedef struct activation_case {
    int64_t rows, dim;
    int32_t kind;
    bool biased, gated;
    int place;
    int64_t gap;
    guarded_end end;
} activation_case;

static void check_activation(const activation_case *c, int32_t tier) {
    char what[160];
    snprintf(what, sizeof what, "%s, %lld x %lld, bias %d, gate %d, place %d, gap %lld, %s", activation_names[c->kind],
        (long long)c->rows, (long long)c->dim, c->biased, c->gated, c->place, (long long)c->gap, gatun_tier_name(tier));
    test_note("%s", what);
    rng random = rng_make(test_seed(), (uint64_t)(c->rows * 10007 + c->dim));
    matrix x = matrix_random("x", c->rows, c->dim, c->gap, c->end, 0, &random);
    matrix bias = matrix_random("bias", 1, c->dim, 0, c->end, 0, &random);
    matrix gate = matrix_random("gate", c->rows, c->dim, c->gap + (c->place == IN_OTHER ? 0 : 2), c->end, 0, &random);
    matrix own = matrix_create("out", c->rows, c->dim, c->gap * 2, c->end);
    matrix *out = c->place == IN_X ? &x : c->place == IN_OTHER ? &gate : &own;
    float *x_before = copy_of(&x);
    float *gate_before = copy_of(&gate);
    float *out_before = copy_of(out);
    guarded_protect(&bias.memory, true);
    if (c->place != IN_X) {
        guarded_protect(&x.memory, true);
    }
    if (c->place != IN_OTHER) {
        guarded_protect(&gate.memory, true);
    }
    gatun_activation_desc desc = activation_desc(c->rows, c->dim, c->kind);
    desc.x_row = x.row;
    desc.gate_row = c->gated ? gate.row : 0;
    desc.out_row = out->row;
    matrix first = matrix_create("first result", c->rows, c->dim, 0, GUARD_AFTER);
    for (int n = 0; n < 4; n++) {
        matrix_restore(out, out_before);
        desc.max_threads = thread_counts[n];
        int32_t status = gatun_activation(
            shared_context(tier), &desc, x.data, c->biased ? bias.data : NULL, c->gated ? gate.data : NULL, out->data);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        CHECK(only_elements_written(out, out_before), "%s: more than the elements of out was written", what);
        if (n > 0) {
            CHECK(same_elements(out, &first), "%s: other bits with %d threads", what, (int)thread_counts[n]);
            continue;
        }
        bool good = true;
        for (int64_t r = 0; r < c->rows; r++) {
            memcpy(at(&first, r, 0), at(out, r, 0), (size_t)c->dim * sizeof(float));
            for (int64_t i = 0; i < c->dim && good; i++) {
                float z = x_before[r * x.row + i] + (c->biased ? bias.data[i] : 0);
                double factor = c->gated ? (double)gate_before[r * gate.row + i] : 1;
                double want = activation_exact(c->kind, (double)z) * factor;
                /* and the product's rounding */
                double bound = activation_bound(c->kind, (double)z) * fabs(factor) + 0x1p-24 * fabs(want);
                good = fabs((double)*at(out, r, i) - want) <= bound;
                CHECK(good, "%s: out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)r, (long long)i,
                    want, bound, (double)*at(out, r, i));
            }
        }
    }
    free(x_before);
    free(gate_before);
    free(out_before);
    matrix *const all[] = {&x, &bias, &gate, &own, &first};
    for (int i = 0; i < 5; i++) {
        guarded_destroy(&all[i]->memory);
    }
}

static void activation_shapes(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    int64_t number = 0;
    for (int t = 0; t < tier_count; t++) {
        for (int d = 0; d < DIMS; d++) {
            for (int kind = 0; kind < ACTIVATIONS; kind++, number++) {
                if (test_light() && number % 10 != 0) {
                    continue;
                }
                activation_case c = {.rows = 1 + (d + kind) % 4,
                    .dim = dims[d],
                    .kind = kind,
                    .biased = (d + kind) % 2 == 0,
                    .gated = (d / 2 + kind) % 2 == 0,
                    .place = (d + kind / 2) % PLACES,
                    .gap = d % 3 * 3,
                    .end = d % 4 == 3 ? GUARD_BEFORE : GUARD_AFTER};
                if (c.place == IN_OTHER) {
                    c.gated = true;
                }
                check_activation(&c, tiers[t]);
            }
        }
        /* several tasks, the last one smaller */
        check_activation(
            &(activation_case){.rows = 613, .dim = 333, .kind = GATUN_ACTIVATION_GELU, .biased = true, .gap = 3},
            tiers[t]);
        check_activation(
            &(activation_case){.rows = 3, .dim = 40000, .kind = GATUN_ACTIVATION_SILU, .gated = true, .place = IN_X},
            tiers[t]);
    }
    test_note("%s", "");
}

/* Caps from the least to the greatest, numbers far beyond them; in place, with a bias, a gate and an activation. */
static void activation_softcap(void) {
    enum { ROWS = 3, DIM = 37, SIZE = ROWS * DIM };
    static const float caps[] = {0x1p-100f, 0.5f, 30, 50, 0x1p100f};
    static const float special[] = {INFINITY, -INFINITY, NAN};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int c = 0; c < 5; c++) {
            rng random = rng_make(test_seed(), (uint64_t)c);
            float x[SIZE], bias[DIM], gate[SIZE], out[SIZE];
            for (int i = 0; i < SIZE; i++) {
                x[i] = rng_normal(&random) * fminf(caps[c], 0x1p60f) * (i % 3 == 0 ? 9 : 0.7f);
                gate[i] = rng_normal(&random);
                bias[i % DIM] = rng_normal(&random);
            }
            gatun_activation_desc desc = activation_desc(ROWS, DIM, GATUN_ACTIVATION_NONE);
            desc.softcap = caps[c];
            memcpy(out, x, sizeof out);
            CHECK_STATUS(gatun_activation(shared_context(tiers[t]), &desc, out, NULL, NULL, out), GATUN_OK);
            for (int i = 0; i < SIZE; i++) {
                const double want = (double)caps[c] * tanh((double)x[i] / (double)caps[c]);
                CHECK(fabs((double)out[i] - want) <= 1e-6 * fabs(want), "cap %g of %g, %s: expected %g, got %g",
                    (double)caps[c], (double)x[i], gatun_tier_name(tiers[t]), want, (double)out[i]);
            }
            desc.activation = GATUN_ACTIVATION_SILU;
            desc.gate_row = DIM;
            CHECK_STATUS(gatun_activation(shared_context(tiers[t]), &desc, x, bias, gate, out), GATUN_OK);
            for (int i = 0; i < SIZE; i++) {
                const float z = x[i] + bias[i % DIM];
                const double capped = (double)caps[c] * tanh((double)z / (double)caps[c]);
                const double want = activation_exact(GATUN_ACTIVATION_SILU, capped) * (double)gate[i];
                /* SILU's slope is below 1.1. */
                const double bound =
                    (1.7e-6 * fabs(capped) + activation_bound(GATUN_ACTIVATION_SILU, capped)) * fabs((double)gate[i]);
                CHECK(fabs((double)out[i] - want) <= bound + 0x1p-24 * fabs(want),
                    "cap %g of %g, SILU, gate, %s: %g, %g", (double)caps[c], (double)z, gatun_tier_name(tiers[t]), want,
                    (double)out[i]);
            }
            desc = activation_desc(1, 3, GATUN_ACTIVATION_NONE);
            desc.softcap = caps[c];
            CHECK_STATUS(gatun_activation(shared_context(tiers[t]), &desc, special, NULL, NULL, out), GATUN_OK);
            CHECK(
                fabs((double)out[0] / (double)caps[c] - 1) < 1e-6 && fabs((double)out[1] / (double)caps[c] + 1) < 1e-6,
                "cap %g of infinity: got %g and %g", (double)caps[c], (double)out[0], (double)out[1]);
            CHECK(isnan(out[2]), "cap %g of NaN: got %g", (double)caps[c], (double)out[2]);
        }
    }
}

/* ---- norm ---- */

typedef struct norm_case {
    int64_t rows, dim;
    bool rms, biased, residual, beta, sum;
    int out_place, sum_place;
    int64_t gap;
    guarded_end end;
    float shift; /* mean of the rows, in units of their deviation */
    float epsilon;
} norm_case;

/*
 * One row. The formula is applied to t as float sums give it, and the library's error is measured against the greatest
 * element of the normalized row, as gatun.h has it, times gamma; the last sum rounds once more.
 */
static bool check_norm_row(const norm_case *c, const float *t, const float *gamma, const float *beta, const float *got,
    int64_t row, const char *what) {
    double mean = 0;
    double squares = 0;
    double most = 0;
    double most_gamma = 0;
    for (int64_t i = 0; i < c->dim && !c->rms; i++) {
        mean += (double)t[i] / (double)c->dim;
    }
    for (int64_t i = 0; i < c->dim; i++) {
        squares += ((double)t[i] - mean) * ((double)t[i] - mean);
        most = fmax(most, fabs((double)t[i] - mean));
        most_gamma = fmax(most_gamma, fabs((double)gamma[i]));
    }
    double factor = 1 / sqrt(squares / (double)c->dim + (double)c->epsilon);
    for (int64_t i = 0; i < c->dim; i++) {
        double offset = beta != NULL ? (double)beta[i] : 0;
        double want = ((double)t[i] - mean) * factor * (double)gamma[i] + offset;
        double bound = 2e-6 * most * factor * most_gamma + 0x1p-24 * fabs(want);
        if (!(fabs((double)got[i] - want) <= bound)) {
            test_fail(__FILE__, __LINE__, "%s: out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)row,
                (long long)i, want, bound, (double)got[i]);
            return false;
        }
    }
    return true;
}

static void check_norm(const norm_case *c, int32_t tier) {
    char what[240];
    snprintf(what, sizeof what,
        "%lld x %lld, rms %d, bias %d, residual %d, beta %d, sum %d, out place %d, sum place %d, gap %lld, mean %g, "
        "%s",
        (long long)c->rows, (long long)c->dim, c->rms, c->biased, c->residual, c->beta, c->sum, c->out_place,
        c->sum_place, (long long)c->gap, (double)c->shift, gatun_tier_name(tier));
    test_note("%s", what);
    rng random = rng_make(test_seed(), (uint64_t)(c->rows * 10007 + c->dim * 3));
    matrix x = matrix_random("x", c->rows, c->dim, c->gap, c->end, c->shift, &random);
    matrix bias = matrix_random("bias", 1, c->dim, 0, c->end, 0, &random);
    matrix residual = matrix_random("residual", c->rows, c->dim, c->gap + 1, c->end, 0, &random);
    matrix gamma = matrix_random("gamma", 1, c->dim, 0, c->end, 1, &random);
    matrix beta = matrix_random("beta", 1, c->dim, 0, c->end, 0, &random);
    matrix own_sum = matrix_create("sum", c->rows, c->dim, c->gap + 2, c->end);
    matrix own_out = matrix_create("out", c->rows, c->dim, c->gap * 2, c->end);
    matrix *out = c->out_place == IN_X ? &x : c->out_place == IN_OTHER ? &residual : &own_out;
    matrix *sum = c->sum_place == IN_X ? &x : c->sum_place == IN_OTHER ? &residual : &own_sum;
    matrix *const all[] = {&x, &bias, &residual, &gamma, &beta, &own_sum, &own_out};
    float *before[7];
    for (int i = 0; i < 7; i++) {
        before[i] = copy_of(all[i]);
        if (all[i] != out && !(c->sum && all[i] == sum)) {
            guarded_protect(&all[i]->memory, true);
        }
    }
    gatun_norm_desc desc = norm_desc(c->rows, c->dim);
    desc.flags = c->rms ? GATUN_NORM_RMS : 0;
    desc.x_row = x.row;
    desc.residual_row = c->residual ? residual.row : 0;
    desc.sum_row = c->sum ? sum->row : 0;
    desc.out_row = out->row;
    desc.epsilon = c->epsilon;
    float *t = test_allocate(c->dim * (int64_t)sizeof(float));
    matrix first = matrix_create("first result", c->rows, c->dim, 0, GUARD_AFTER);
    for (int n = 0; n < 4; n++) {
        for (int i = 0; i < 7; i++) {
            if (all[i] == out || (c->sum && all[i] == sum)) {
                matrix_restore(all[i], before[i]);
            }
        }
        desc.max_threads = thread_counts[n];
        int32_t status = gatun_norm(shared_context(tier), &desc, x.data, c->biased ? bias.data : NULL,
            c->residual ? residual.data : NULL, gamma.data, c->beta ? beta.data : NULL, c->sum ? sum->data : NULL,
            out->data);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        for (int i = 0; i < 7; i++) {
            CHECK(only_elements_written(all[i], before[i]), "%s: more than elements was written to %s", what,
                all[i]->memory.name);
        }
        bool good = true;
        for (int64_t r = 0; r < c->rows && good; r++) {
            for (int64_t i = 0; i < c->dim; i++) {
                t[i] = before[0][r * x.row + i];
                if (c->biased) {
                    t[i] += bias.data[i];
                }
                if (c->residual) {
                    t[i] += before[2][r * residual.row + i];
                }
            }
            if (c->sum) {
                good = memcmp(t, at(sum, r, 0), (size_t)c->dim * sizeof(float)) == 0;
                CHECK(good, "%s: row %lld of sum is not x + bias + residual", what, (long long)r);
            }
            if (n == 0 && good) {
                good = check_norm_row(c, t, gamma.data, c->beta ? beta.data : NULL, at(out, r, 0), r, what);
                memcpy(at(&first, r, 0), at(out, r, 0), (size_t)c->dim * sizeof(float));
            }
        }
        CHECK(same_elements(out, &first), "%s: other bits with %d threads", what, (int)thread_counts[n]);
    }
    free(t);
    for (int i = 0; i < 7; i++) {
        free(before[i]);
        guarded_destroy(&all[i]->memory);
    }
    guarded_destroy(&first.memory);
}

static void norm_shapes(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    int64_t number = 0;
    for (int t = 0; t < tier_count; t++) {
        for (int d = 0; d < DIMS; d++) {
            for (int variant = 0; variant < 16; variant += 1 + d % 3, number++) {
                if (test_light() && number % 10 != 0) {
                    continue;
                }
                norm_case c = {.rows = 1 + (d + variant) % 3,
                    .dim = dims[d],
                    .rms = (variant & 1) != 0,
                    .biased = (variant & 2) != 0,
                    .residual = (variant & 4) != 0,
                    .beta = (variant & 8) == 0,
                    .sum = (d + variant) % 3 != 0,
                    .out_place = (d / 2 + variant) % PLACES,
                    .sum_place = (d / 3 + variant / 2) % PLACES,
                    .gap = d % 3 * 2,
                    .end = d % 4 == 2 ? GUARD_BEFORE : GUARD_AFTER,
                    .epsilon = d % 2 == 0 ? 1e-5f : 1e-12f};
                if (c.sum && c.out_place == c.sum_place && c.out_place != IN_NEW) {
                    c.out_place = IN_NEW; /* sum and out may not be one tensor */
                }
                c.residual = c.residual || c.out_place == IN_OTHER || (c.sum && c.sum_place == IN_OTHER);
                check_norm(&c, tiers[t]);
            }
        }
        check_norm(&(norm_case){.rows = 500,
                       .dim = 384,
                       .biased = true,
                       .residual = true,
                       .beta = true,
                       .sum = true,
                       .gap = 5,
                       .epsilon = 1e-12f},
            tiers[t]);
        check_norm(&(norm_case){.rows = 5, .dim = 33333, .rms = true, .out_place = IN_X, .epsilon = 1e-6f}, tiers[t]);
    }
    test_note("%s", "");
}

/* Rows far from zero, where a mean that is rounded to float is off by much of what is left. */
static void norm_of_large_means(void) {
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    static const float shifts[] = {1, 10, -100, 1000, 1e5f};
    for (int t = 0; t < tier_count; t++) {
        for (int d = 1; d < DIMS; d += d < 8 ? 1 : 9) {
            for (int s = 0; s < 5; s++) {
                check_norm(
                    &(norm_case){.rows = 4, .dim = dims[d], .beta = s % 2 == 0, .shift = shifts[s], .epsilon = 1e-5f},
                    tiers[t]);
                check_norm(
                    &(norm_case){.rows = 4, .dim = dims[d], .rms = true, .shift = shifts[s], .epsilon = 0}, tiers[t]);
            }
        }
    }
    test_note("%s", "");
}

/* A row of one value normalizes to beta, whatever the value. */
static void norm_of_constant_rows(void) {
    static const float values[] = {0, 1, 0.1f, -100.3f, 3e5f};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int d = 0; d < DIMS; d++) {
            for (int v = 0; v < 5; v++) {
                matrix x = matrix_create("x", 1, dims[d], 0, GUARD_AFTER);
                matrix gamma = matrix_create("gamma", 1, dims[d], 0, GUARD_AFTER);
                matrix beta = matrix_create("beta", 1, dims[d], 0, GUARD_AFTER);
                matrix out = matrix_create("out", 1, dims[d], 0, GUARD_AFTER);
                for (int64_t i = 0; i < dims[d]; i++) {
                    x.data[i] = values[v];
                    gamma.data[i] = 2;
                    beta.data[i] = 0.25f;
                }
                gatun_norm_desc desc = norm_desc(1, dims[d]);
                desc.epsilon = 1e-12f;
                CHECK_STATUS(gatun_norm(shared_context(tiers[t]), &desc, x.data, NULL, NULL, gamma.data, beta.data,
                                 NULL, out.data),
                    GATUN_OK);
                for (int64_t i = 0; i < dims[d]; i++) {
                    if (out.data[i] != 0.25f) {
                        test_fail(__FILE__, __LINE__, "%lld times %g, %s: out[%lld]: expected 0.25, got %.9g",
                            (long long)dims[d], (double)values[v], gatun_tier_name(tiers[t]), (long long)i,
                            (double)out.data[i]);
                        break;
                    }
                }
                matrix *const all[] = {&x, &gamma, &beta, &out};
                for (int i = 0; i < 4; i++) {
                    guarded_destroy(&all[i]->memory);
                }
            }
        }
    }
}

/* NaN and Inf in a row stay in that row. */
static void norm_special(void) {
    enum { ROWS = 5, DIM = 53 };
    static const float values[] = {NAN, INFINITY, -INFINITY};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    float x[ROWS * DIM];
    float plain[ROWS * DIM];
    float out[ROWS * DIM];
    float gamma[DIM];
    rng random = rng_make(test_seed(), 3);
    for (int i = 0; i < ROWS * DIM; i++) {
        x[i] = rng_normal(&random);
    }
    for (int i = 0; i < DIM; i++) {
        gamma[i] = 1;
    }
    gatun_norm_desc desc = norm_desc(ROWS, DIM);
    desc.epsilon = 1e-5f;
    for (int t = 0; t < tier_count; t++) {
        gatun_context *context = shared_context(tiers[t]);
        CHECK_STATUS(gatun_norm(context, &desc, x, NULL, NULL, gamma, NULL, NULL, plain), GATUN_OK);
        for (int v = 0; v < 3; v++) {
            for (int row = 0; row < ROWS; row++) {
                float kept = x[row * DIM + 7 * row];
                x[row * DIM + 7 * row] = values[v];
                CHECK_STATUS(gatun_norm(context, &desc, x, NULL, NULL, gamma, NULL, NULL, out), GATUN_OK);
                x[row * DIM + 7 * row] = kept;
                CHECK(isnan(out[row * DIM + 7 * row]), "%g in row %d, %s: got %g", (double)values[v], row,
                    gatun_tier_name(tiers[t]), (double)out[row * DIM + 7 * row]);
                memcpy(&out[row * DIM], &plain[row * DIM], DIM * sizeof(float));
                CHECK(memcmp(out, plain, sizeof out) == 0, "%g in row %d, %s: it changes other rows", (double)values[v],
                    row, gatun_tier_name(tiers[t]));
            }
        }
    }
}

/* ---- softmax ---- */

/* What gatun.h promises for one element of a row whose greatest is most. */
static double softmax_bound(double want, double x, double most, bool logarithm) {
    return logarithm ? 2e-6 + 0x1p-22 * fabs(want) : (2e-6 + 0x1p-22 * (most - x)) * want + 0x1p-120;
}

static void check_softmax_row(
    const float *x, const float *got, int64_t dim, bool logarithm, int64_t row, const char *what) {
    double most = -HUGE_VAL;
    for (int64_t i = 0; i < dim; i++) {
        most = fmax(most, (double)x[i]);
    }
    double sum = 0;
    for (int64_t i = 0; i < dim; i++) {
        sum += exp((double)x[i] - most);
    }
    for (int64_t i = 0; i < dim; i++) {
        double exact = (double)x[i] - most - log(sum);
        double want = logarithm ? exact : exp(exact);
        double bound = softmax_bound(want, (double)x[i], most, logarithm);
        if (!(fabs((double)got[i] - want) <= bound) && want != (double)got[i]) {
            test_fail(__FILE__, __LINE__, "%s: out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)row,
                (long long)i, want, bound, (double)got[i]);
            return;
        }
    }
}

static void check_softmax(int32_t tier, int64_t rows, int64_t dim, int64_t gap, bool logarithm, bool in_place,
    float spread, guarded_end end) {
    char what[160];
    snprintf(what, sizeof what, "%lld x %lld, gap %lld, log %d, in place %d, spread %g, %s", (long long)rows,
        (long long)dim, (long long)gap, logarithm, in_place, (double)spread, gatun_tier_name(tier));
    test_note("%s", what);
    rng random = rng_make(test_seed(), (uint64_t)(rows * 1009 + dim));
    matrix x = matrix_random("x", rows, dim, gap, end, 0, &random);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < dim; i++) {
            *at(&x, r, i) = spread * *at(&x, r, i) + (float)r;
            if ((r + i) % 11 == 3 && i > 0) {
                *at(&x, r, i) = -INFINITY;
            }
        }
    }
    float *x_before = copy_of(&x);
    matrix own = matrix_create("out", rows, dim, gap + 2, end);
    matrix *out = in_place ? &x : &own;
    float *before = copy_of(out);
    if (!in_place) {
        guarded_protect(&x.memory, true);
    }
    matrix first = matrix_create("first result", rows, dim, 0, GUARD_AFTER);
    gatun_softmax_desc desc = softmax_desc(rows, dim);
    desc.flags = logarithm ? GATUN_SOFTMAX_LOG : 0;
    desc.x_row = x.row;
    desc.out_row = out->row;
    for (int n = 0; n < 4; n++) {
        matrix_restore(out, before);
        desc.max_threads = thread_counts[n];
        int32_t status = gatun_softmax(shared_context(tier), &desc, x.data, out->data);
        CHECK(status == GATUN_OK, "%s: %s", what, gatun_status_string(status));
        CHECK(only_elements_written(out, before), "%s: more than the elements of out was written", what);
        if (n > 0) {
            CHECK(same_elements(out, &first), "%s: other bits with %d threads", what, (int)thread_counts[n]);
            continue;
        }
        for (int64_t r = 0; r < rows; r++) {
            memcpy(at(&first, r, 0), at(out, r, 0), (size_t)dim * sizeof(float));
            check_softmax_row(x_before + r * x.row, at(out, r, 0), dim, logarithm, r, what);
        }
    }
    free(before);
    free(x_before);
    guarded_destroy(&x.memory);
    guarded_destroy(&own.memory);
    guarded_destroy(&first.memory);
}

static void softmax_shapes(void) {
    static const float spreads[] = {1, 0, 10, 60, 1e30f};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int d = 0; d < DIMS; d += test_light() ? 9 : 1) {
            for (int kind = 0; kind < 4; kind++) {
                check_softmax(tiers[t], 1 + (d + kind) % 4, dims[d], d % 3, (kind & 1) != 0, (kind & 2) != 0,
                    spreads[(d + kind) % 5], d % 4 == 3 ? GUARD_BEFORE : GUARD_AFTER);
            }
        }
        /* several tasks, the last one smaller */
        check_softmax(tiers[t], 613, 333, 3, false, false, 3, GUARD_AFTER);
        check_softmax(tiers[t], 300, 500, 0, true, true, 3, GUARD_AFTER);
    }
    test_note("%s", "");
}

/* Vocabularies, and longer: equal elements, whose sum a float would get wrong, and drawn ones. */
static void softmax_of_long_rows(void) {
    static const int64_t lengths[] = {32000, 250000, 3000001};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int n = 0; n < (test_light() ? 1 : 3); n++) {
            matrix x = matrix_create("x", 1, lengths[n], 0, GUARD_AFTER);
            matrix out = matrix_create("out", 1, lengths[n], 0, GUARD_AFTER);
            for (int kind = 0; kind < 4; kind++) {
                rng random = rng_make(test_seed(), (uint64_t)n);
                for (int64_t i = 0; i < lengths[n]; i++) {
                    /* equal ones; one far above; one below so that each adds 0.1 of a unit; drawn */
                    float value = kind == 3 ? 4 * rng_normal(&random) : -2.3025851f * (float)(kind == 2);
                    x.data[i] = kind == 1 && i == lengths[n] / 2 ? 12 : kind == 2 && i == 0 ? 0 : value;
                }
                for (int logarithm = 0; logarithm < 2; logarithm++) {
                    gatun_softmax_desc desc = softmax_desc(1, lengths[n]);
                    desc.flags = logarithm ? GATUN_SOFTMAX_LOG : 0;
                    char what[96];
                    snprintf(what, sizeof what, "%lld elements, kind %d, log %d, %s", (long long)lengths[n], kind,
                        logarithm, gatun_tier_name(tiers[t]));
                    CHECK_STATUS(gatun_softmax(shared_context(tiers[t]), &desc, x.data, out.data), GATUN_OK);
                    check_softmax_row(x.data, out.data, lengths[n], logarithm != 0, 0, what);
                }
            }
            guarded_destroy(&x.memory);
            guarded_destroy(&out.memory);
        }
    }
}

static void softmax_special(void) {
    enum { SHORT = 1, MIDDLE = 37, LONG = 3000 };
    static const int64_t widths[] = {SHORT, MIDDLE, LONG};
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int logarithm = 0; logarithm < 2; logarithm++) {
            for (int w = 0; w < 3; w++) {
                int64_t dim = widths[w];
                matrix x = matrix_create("x", 3, dim, 0, GUARD_AFTER);
                matrix out = matrix_create("out", 3, dim, 0, GUARD_AFTER);
                gatun_softmax_desc desc = softmax_desc(3, dim);
                desc.flags = logarithm ? GATUN_SOFTMAX_LOG : 0;
                gatun_context *context = shared_context(tiers[t]);
                /* rows of -inf alone, of huge numbers of both signs, and of one number beside nothing but -inf */
                for (int64_t i = 0; i < dim; i++) {
                    *at(&x, 0, i) = -INFINITY;
                    *at(&x, 1, i) = i == dim / 2 ? 3e38f : -3e38f;
                    *at(&x, 2, i) = i == dim - 1 ? -700 : -INFINITY;
                }
                CHECK_STATUS(gatun_softmax(context, &desc, x.data, out.data), GATUN_OK);
                const float none = logarithm ? -INFINITY : 0;
                const float all = logarithm ? 0 : 1;
                for (int64_t i = 0; i < dim; i++) {
                    bool good = *at(&out, 0, i) == none && *at(&out, 1, i) == (i == dim / 2 ? all : none) &&
                                *at(&out, 2, i) == (i == dim - 1 ? all : none);
                    if (!good) {
                        test_fail(__FILE__, __LINE__, "log %d, %s, element %lld of %lld: %g, %g, %g", logarithm,
                            gatun_tier_name(tiers[t]), (long long)i, (long long)dim, (double)*at(&out, 0, i),
                            (double)*at(&out, 1, i), (double)*at(&out, 2, i));
                        break;
                    }
                }
                /* NaN or +inf in one row, wherever it stands, beside numbers or -inf */
                static const float values[] = {NAN, INFINITY};
                for (int n = 0; n < 4; n++) {
                    for (int64_t place = 0; place < dim; place += 1 + dim / 9) {
                        for (int64_t i = 0; i < dim; i++) {
                            *at(&x, 0, i) = *at(&x, 2, i) = 0.5f;
                            *at(&x, 1, i) = i == place ? values[n % 2] : n < 2 ? 1 : -INFINITY;
                        }
                        CHECK_STATUS(gatun_softmax(context, &desc, x.data, out.data), GATUN_OK);
                        for (int64_t i = 0; i < dim; i++) {
                            if (!isnan(*at(&out, 1, i)) || !isfinite(*at(&out, 0, i)) || !isfinite(*at(&out, 2, i))) {
                                test_fail(__FILE__, __LINE__, "%g at %lld of %lld, log %d, %s: element %lld is %g",
                                    (double)values[n % 2], (long long)place, (long long)dim, logarithm,
                                    gatun_tier_name(tiers[t]), (long long)i, (double)*at(&out, 1, i));
                                break;
                            }
                        }
                    }
                }
                guarded_destroy(&x.memory);
                guarded_destroy(&out.memory);
            }
        }
    }
}

static void softmax_refused(void) {
    enum { DIM = 6 };
    gatun_context *context = shared_context(GATUN_TIER_PORTABLE);
    matrix x = matrix_create("x", 4, DIM, 0, GUARD_AFTER);
    gatun_softmax_desc desc = softmax_desc(3, DIM);
    CHECK_STATUS(gatun_softmax(context, &desc, x.data, x.data + 1), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_softmax(context, &desc, x.data + DIM, x.data), GATUN_E_OVERLAP);
    CHECK_STATUS(gatun_softmax(context, &desc, NULL, x.data), GATUN_E_NULL);
    CHECK_STATUS(gatun_softmax(context, &desc, x.data, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_softmax(context, &desc, x.data, (float *)(void *)(x.memory.data + 2)), GATUN_E_ALIGNMENT);
    CHECK_STATUS(gatun_softmax(context, &desc, (float *)(void *)(x.memory.data + 2), x.data), GATUN_E_ALIGNMENT);
    desc.out_row = DIM + 1;
    desc.rows = 2;
    CHECK_STATUS(gatun_softmax(context, &desc, x.data, x.data), GATUN_E_OVERLAP);
    CHECK(guarded_unwritten(&x.memory), "refused softmaxes: something was written");
    desc.rows = 0;
    CHECK_STATUS(gatun_softmax(context, &desc, NULL, NULL), GATUN_OK);
    guarded_destroy(&x.memory);
}

/* Workers take part, and the counters tell. */
static void helped(void) {
    enum { MANY = 4000, WIDTH = 256 };
    gatun_context *context = new_context(GATUN_TIER_AUTO, 3);
    REQUIRE(context != NULL, "no context");
    float *x = test_allocate(MANY * WIDTH * (int64_t)sizeof(float));
    memset(x, 0, MANY * WIDTH * sizeof(float));
    gatun_activation_desc desc = activation_desc(MANY, WIDTH, GATUN_ACTIVATION_GELU);
    gatun_info info = {.struct_size = sizeof info};
    for (int n = 0; n < 100 && info.tasks_helped == 0; n++) {
        CHECK_STATUS(gatun_activation(context, &desc, x, NULL, NULL, x), GATUN_OK);
        CHECK_STATUS(gatun_context_info(context, &info), GATUN_OK);
    }
    CHECK(info.tasks_helped > 0, "no worker has helped with any of 100 calls");
    free(x);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
}

const test_case rows_tests[] = {{"activation_values", activation_values}, {"activation_special", activation_special},
    {"activation_shapes", activation_shapes}, {"activation_softcap", activation_softcap}, {"norm_shapes", norm_shapes},
    {"norm_of_large_means", norm_of_large_means}, {"norm_of_constant_rows", norm_of_constant_rows},
    {"norm_special", norm_special}, {"softmax_shapes", softmax_shapes}, {"softmax_of_long_rows", softmax_of_long_rows},
    {"softmax_special", softmax_special}, {"softmax_refused", softmax_refused}, {"helped", helped}, {NULL, NULL}};
