/*
 * gatun_selective_scan and gatun_causal_convolution against loops in double, written from gatun_relatives.h alone, on every tier, in
 * guarded memory. The bound on the scan's error is carried along with h: what each step adds by rounding, and what decays.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"
#include "rows.h"
#include "suites.h"

static const double EPS = 0x1p-24;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

enum { IN_NEW, IN_X, IN_DELTA, IN_Z, PLACES }; /* where y lies */

typedef struct scan_case {
    int64_t batch, seq, channels, states;
    bool softplus, skips, biased, gated, ragged, kept, growing;
    int place;
    int64_t gap;
    guarded_end end;
} scan_case;

typedef struct scan {
    gatun_selective_scan_desc desc;
    matrix x, delta, a, b, c, d, bias, z, state, y;
    int place;
    int32_t *offsets; /* of all cases */
    float *state_before;
    guarded workspace;
    bool has_d, has_bias, has_z, has_state, ragged;
} scan;

/* Some sequences are empty, and some rows lie before the first. */
static int32_t *some_offsets(int64_t batch, int64_t seq, bool ragged, rng *random) {
    int32_t *offsets = test_allocate((batch + 1) * (int64_t)sizeof(int32_t));
    offsets[0] = ragged ? 2 : 0;
    for (int64_t n = 0; n < batch; n++) {
        const int64_t length = !ragged ? seq : n % 3 == 1 ? 0 : rng_between(random, 1, 2 * seq);
        offsets[n + 1] = offsets[n] + (int32_t)length;
    }
    return offsets;
}

static scan scan_create(const scan_case *c, gatun_context *context) {
    rng random = rng_make(test_seed(), (uint64_t)(c->channels * 1009 + c->states * 7 + c->seq));
    scan s = {.has_d = c->skips, .has_bias = c->biased, .has_z = c->gated, .has_state = c->kept, .ragged = c->ragged};
    s.offsets = some_offsets(c->batch, c->seq, c->ragged, &random);
    const int64_t rows = s.offsets[c->batch], k = c->channels, n = c->states;
    s.x = matrix_random("x", rows, k, c->gap, c->end, 0, &random);
    s.delta = matrix_random("delta", rows, k, c->gap + 1, c->end, c->softplus ? -2 : 0, &random);
    s.z = matrix_random("z", rows, k, 2 * c->gap, c->end, 0, &random);
    s.b = matrix_random("b", rows, n, c->gap, c->end, 0, &random);
    s.c = matrix_random("c", rows, n, 3, c->end, 0, &random);
    s.a = matrix_random("a", k, n, 0, c->end, 0, &random);
    s.d = matrix_random("d", 1, k, 0, c->end, 0, &random);
    s.bias = matrix_random("delta_bias", 1, k, 0, c->end, 0, &random);
    s.state = matrix_random("state", c->batch, k * n, c->gap, c->end, 0, &random);
    s.y = matrix_create("y", rows, k, 1, c->end);
    for (int64_t i = 0; i < k * n && !c->growing; i++) {
        s.a.data[i] = -0.01f - 4 * fabsf(s.a.data[i]);
    }
    for (int64_t i = 0; i < rows && !c->softplus && !c->growing; i++) {
        for (int64_t j = 0; j < k; j++) {
            *at(&s.delta, i, j) = 0.2f * fabsf(*at(&s.delta, i, j));
        }
    }
    s.state_before = copy_of(&s.state);
    s.place = c->place;
    s.desc = (gatun_selective_scan_desc){.struct_size = sizeof s.desc,
        .flags = c->softplus ? GATUN_SCAN_SOFTPLUS : 0,
        .batch = c->batch,
        .seq = c->ragged ? 0 : c->seq,
        .channels = k,
        .states = n,
        .x_row = s.x.row,
        .delta_row = s.delta.row,
        .b_row = s.b.row,
        .c_row = s.c.row,
        .z_row = s.z.row,
        .state_row = s.state.row};
    int64_t bytes = 0;
    s.desc.y_row = k;
    CHECK_STATUS(gatun_selective_scan_workspace_size(context, &s.desc, &bytes), GATUN_OK);
    guarded_create(&s.workspace, "workspace", bytes, 0, GUARD_AFTER);
    return s;
}

static matrix *out_of(scan *s) {
    return s->place == IN_X ? &s->x : s->place == IN_DELTA ? &s->delta : s->place == IN_Z ? &s->z : &s->y;
}

static void scan_destroy(scan *s) {
    matrix *const all[] = {&s->x, &s->delta, &s->a, &s->b, &s->c, &s->d, &s->bias, &s->z, &s->state, &s->y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        guarded_destroy(&all[i]->memory);
    }
    guarded_destroy(&s->workspace);
    free(s->offsets);
    free(s->state_before);
}

/* Rows first .. of one even sequence, or all. */
static int32_t scan_call(scan *s, gatun_context *context, int32_t threads, int64_t first) {
    s->desc.max_threads = threads;
    s->desc.y_row = out_of(s)->row;
    return gatun_selective_scan(context, &s->desc, s->workspace.data, s->workspace.bytes, at(&s->x, first, 0),
        at(&s->delta, first, 0), s->a.data, at(&s->b, first, 0), at(&s->c, first, 0), s->has_d ? s->d.data : NULL,
        s->has_bias ? s->bias.data : NULL, s->has_z ? at(&s->z, first, 0) : NULL, s->ragged ? s->offsets : NULL,
        s->has_state ? s->state.data : NULL, at(out_of(s), first, 0));
}

static double softplus_exact(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* Of one channel of one sequence: y and bounds of its rows, and h and its bounds behind them. */
static void scan_exact(
    const scan *s, int64_t sequence, int64_t i, double *y, double *y_bound, double *h, double *h_bound) {
    const int64_t states = s->desc.states, begin = s->offsets[sequence], end = s->offsets[sequence + 1];
    for (int64_t n = 0; n < states; n++) {
        h[n] = s->has_state ? (double)s->state_before[sequence * s->state.row + i * states + n] : 0;
        h_bound[n] = 0;
    }
    for (int64_t r = begin; r < end; r++) {
        const double x = (double)*at(&s->x, r, i), raw = (double)*at(&s->delta, r, i);
        const double bias = s->has_bias ? (double)s->bias.data[i] : 0;
        double step = raw + bias, step_error = EPS * (fabs(raw) + fabs(bias));
        if ((s->desc.flags & GATUN_SCAN_SOFTPLUS) != 0) {
            step_error += 5e-7 * softplus_exact(step) + 1.3e-7 * fabs(step) * exp(-fabs(step));
            step = softplus_exact(step);
        }
        double sum = 0, bound = 0, magnitude = 0;
        for (int64_t n = 0; n < states; n++) {
            const double a = (double)s->a.data[i * states + n];
            const double decay = exp(step * a), input = step * (double)*at(&s->b, r, n) * x;
            /* exp2's own error, that of its argument, and what it takes for 0. */
            const double decay_error =
                decay * (1.3e-7 + fabs(a) * step_error + 3 * EPS * fabs(step * a) * 1.4427) + 0x1p-124;
            h_bound[n] = decay * h_bound[n] + decay_error * (fabs(h[n]) + h_bound[n]) +
                         fabs((double)*at(&s->b, r, n) * x) * step_error + 4 * EPS * fabs(input) +
                         2 * EPS * fabs(decay * h[n]) + 0x1p-125;
            h[n] = decay * h[n] + input;
            const double c = (double)*at(&s->c, r, n);
            sum += c * h[n];
            bound += fabs(c) * h_bound[n];
            magnitude += fabs(c) * (fabs(h[n]) + h_bound[n]);
        }
        if (s->has_d) {
            sum += (double)s->d.data[i] * x;
            magnitude += fabs((double)s->d.data[i] * x);
        }
        bound += ((double)states / 4 + 6) * 2 * EPS * magnitude;
        if (s->has_z) {
            const double z = (double)*at(&s->z, r, i), gate = activation_exact(GATUN_ACTIVATION_SILU, z);
            const double gate_error = 5e-7 * fmax(1, fabs(z));
            bound = bound * (fabs(gate) + gate_error) + fabs(sum) * (gate_error + EPS * fabs(gate));
            sum *= gate;
        }
        y[r - begin] = sum;
        y_bound[r - begin] = bound + 0x1p-125;
    }
}

/* Largest error of all that was measured, of max|y| of its case. */
static double worst;

static void check_scan(const scan_case *c, int32_t tier, int32_t threads) {
    char what[200];
    snprintf(what, sizeof what,
        "scan %lld x %lld, %lld channels, %lld states, softplus %d, d %d, bias %d, z %d, ragged %d, state %d, growing "
        "%d, place %d, gap %lld, %s",
        (long long)c->batch, (long long)c->seq, (long long)c->channels, (long long)c->states, c->softplus, c->skips,
        c->biased, c->gated, c->ragged, c->kept, c->growing, c->place, (long long)c->gap, gatun_tier_name(tier));
    test_note("%s", what);
    gatun_context *context = shared_context(tier);
    scan s = scan_create(c, context);
    const int64_t rows = s.offsets[c->batch], k = c->channels, n = c->states;
    double *y = test_allocate((rows + 1) * (int64_t)sizeof(double)),
           *bound = test_allocate((rows + 1) * (int64_t)sizeof(double));
    double *h = test_allocate(2 * n * (int64_t)sizeof(double)), *h_bound = h + n;
    /* Before the call, which may write to what it reads. */
    double *all = test_allocate((rows * k + 1) * 2 * (int64_t)sizeof(double));
    double *states = test_allocate(c->batch * k * n * 2 * (int64_t)sizeof(double));
    for (int64_t b = 0; b < c->batch; b++) {
        for (int64_t i = 0; i < k; i++) {
            scan_exact(&s, b, i, y, bound, h, h_bound);
            for (int64_t r = s.offsets[b]; r < s.offsets[b + 1]; r++) {
                all[2 * (r * k + i)] = y[r - s.offsets[b]];
                all[2 * (r * k + i) + 1] = bound[r - s.offsets[b]];
            }
            for (int64_t m = 0; m < n; m++) {
                states[2 * ((b * k + i) * n + m)] = h[m];
                states[2 * ((b * k + i) * n + m) + 1] = h_bound[m];
            }
        }
    }
    const matrix *out = out_of(&s);
    float *before = copy_of(out);
    const matrix *const inputs[] = {&s.x, &s.delta, &s.z, &s.b, &s.c, &s.a, &s.d, &s.bias};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        if (inputs[i] != out) {
            guarded_protect(&inputs[i]->memory, true);
        }
    }
    CHECK_STATUS(scan_call(&s, context, threads, 0), GATUN_OK);
    CHECK(only_elements_written(out, before), "%s: something is written between rows", what);
    for (int64_t r = 0; r < s.offsets[0]; r++) {
        CHECK(memcmp(at(out, r, 0), before + r * out->row, (size_t)k * sizeof(float)) == 0,
            "%s: row %lld of no sequence is written", what, (long long)r);
    }
    int failures = 0;
    double most = 0, error = 0;
    for (int64_t i = 0; i < k && failures == 0; i++) {
        for (int64_t r = s.offsets[0]; r < rows && failures == 0; r++) {
            const double want = all[2 * (r * k + i)], allowed = all[2 * (r * k + i) + 1], got = (double)*at(out, r, i);
            if (!(fabs(got - want) <= allowed)) {
                failures++;
                test_fail(__FILE__, __LINE__, "%s: y[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)r,
                    (long long)i, want, allowed, got);
            }
            most = fmax(most, fabs(want));
            error = fmax(error, fabs(got - want));
        }
    }
    if (!c->growing && most > 0) {
        worst = fmax(worst, error / most);
    }
    for (int64_t e = 0; e < c->batch * k * n && failures == 0 && c->kept; e++) {
        if (!(fabs((double)*at(&s.state, e / (k * n), e % (k * n)) - states[2 * e]) <= states[2 * e + 1])) {
            failures++;
            test_fail(__FILE__, __LINE__, "%s: state[%lld]: expected %.9g +- %.3g, got %.9g", what, (long long)e,
                states[2 * e], states[2 * e + 1], (double)*at(&s.state, e / (k * n), e % (k * n)));
        }
    }
    CHECK(guarded_intact(&s.state.memory) && guarded_intact(&s.workspace), "%s: memory beside the state is written",
        what);
    free(before);
    free(all);
    free(states);
    free(y);
    free(bound);
    free(h);
    scan_destroy(&s);
}

/* Every width of a last vector and of a last group, every kind of states. */
static void scan_values(void) {
    static const int64_t state_counts[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 129, 256};
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    worst = 0;
    for (int t = 0; t < tier_count; t++) {
        for (int n = 0; n < 72; n += test_light() ? 5 : 1) {
            const int64_t states = state_counts[n % 16], channels = states > 64 ? 1 + n % 23 : n < 68 ? n + 1 : 130;
            const scan_case c = {.batch = 1 + n % 4,
                .seq = n % 5 == 0 ? 1 : 3 + n % 19,
                .channels = channels,
                .states = states,
                .softplus = n % 4 != 3,
                .skips = n % 3 != 0,
                .biased = n % 2 == 0,
                .gated = n % 5 < 3 || n % PLACES == IN_Z,
                .ragged = n % 7 > 3,
                .kept = n % 3 != 1,
                .place = n % PLACES,
                .gap = n % 6,
                .end = n % 8 == 0 ? GUARD_BEFORE : GUARD_AFTER};
            check_scan(&c, tiers[t], n % 3);
        }
        /* A step may grow as well. */
        check_scan(&(scan_case){.batch = 2, .seq = 9, .channels = 21, .states = 6, .kept = true, .growing = true},
            tiers[t], 1);
        check_scan(&(scan_case){.batch = 1, .seq = 9, .channels = 5, .states = 3, .softplus = true, .growing = true},
            tiers[t], 1);
    }
    test_note("largest error %.3g of max|y|", worst);
    CHECK(worst < 1e-5, "an error is %.3g of max|y|", worst);
}

/* Long enough that rounding would show, were it not to decay. */
static void scan_long(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        check_scan(&(scan_case){.batch = 1,
                       .seq = test_light() ? 500 : 4000,
                       .channels = 17,
                       .states = 16,
                       .softplus = true,
                       .gated = true,
                       .skips = true,
                       .biased = true},
            tiers[t], 1);
    }
}

/* y = log(1 + exp(delta)) where a is 0 and the rest 1; that of the exponential of -|delta| grows with its argument. */
static void scan_softplus(void) {
    enum { GRID = 4099 };
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    float *delta = test_allocate(GRID * 4), *ones = test_allocate(GRID * 4), *a = test_allocate(GRID * 4),
          *y = test_allocate(GRID * 4);
    for (int i = 0; i < GRID; i++) {
        delta[i] = -86 + 173 * (float)i / GRID;
        ones[i] = 1;
        a[i] = 0;
    }
    for (int t = 0; t < tier_count; t++) {
        gatun_selective_scan_desc d = {.struct_size = sizeof d,
            .flags = GATUN_SCAN_SOFTPLUS,
            .batch = 1,
            .seq = 1,
            .channels = GRID,
            .states = 1,
            .x_row = GRID,
            .delta_row = GRID,
            .b_row = 1,
            .c_row = 1,
            .y_row = GRID};
        int64_t bytes = 0;
        CHECK_STATUS(gatun_selective_scan_workspace_size(shared_context(tiers[t]), &d, &bytes), GATUN_OK);
        void *workspace = aligned_alloc(64, (size_t)bytes);
        CHECK_STATUS(gatun_selective_scan(shared_context(tiers[t]), &d, workspace, bytes, ones, delta, a, ones, ones,
                         NULL, NULL, NULL, NULL, NULL, y),
            GATUN_OK);
        free(workspace);
        for (int i = 0; i < GRID; i++) {
            const double want = softplus_exact((double)delta[i]);
            if (!(fabs((double)y[i] - want) <=
                    5e-7 * want + 1.3e-7 * fabs((double)delta[i]) * exp(-fabs((double)delta[i])))) {
                test_fail(__FILE__, __LINE__, "%s: softplus(%.9g): expected %.9g, got %.9g", gatun_tier_name(tiers[t]),
                    (double)delta[i], want, (double)y[i]);
                break;
            }
        }
    }
    free(delta);
    free(ones);
    free(a);
    free(y);
}

/* One state of one channel grows past the largest float, in its first row or later: it is infinite, and the others are as they are. */
static void scan_overflow(void) {
    enum { K = 37, N = 5, ROWS = 3, GROWING = 20 };
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    float ones[ROWS * K], delta[ROWS * K], a[K * N], y[ROWS * K], state[K * N];
    for (int i = 0; i < ROWS * K; i++) {
        ones[i] = 1;
        delta[i] = 10;
    }
    for (int i = 0; i < K * N; i++) {
        a[i] = i == GROWING * N + 3 ? 20.0f : -1.0f;
    }
    for (int n = 0; n < 4 * tier_count; n++) {
        const int32_t tier = tiers[n / 4];
        gatun_selective_scan_desc d = {.struct_size = sizeof d,
            .flags = n % 2 == 0 ? GATUN_SCAN_SOFTPLUS : 0,
            .batch = 1,
            .seq = n % 4 < 2 ? 1 : ROWS,
            .channels = K,
            .states = N,
            .x_row = K,
            .delta_row = K,
            .b_row = N,
            .c_row = N,
            .y_row = K,
            .state_row = K * N};
        for (int i = 0; i < K * N; i++) {
            state[i] = 1;
        }
        int64_t bytes = 0;
        CHECK_STATUS(gatun_selective_scan_workspace_size(shared_context(tier), &d, &bytes), GATUN_OK);
        void *workspace = aligned_alloc(64, (size_t)bytes);
        CHECK_STATUS(gatun_selective_scan(shared_context(tier), &d, workspace, bytes, ones, delta, a, ones, ones, NULL,
                         NULL, NULL, NULL, state, y),
            GATUN_OK);
        free(workspace);
        for (int64_t i = 0; i < d.seq * K; i++) {
            CHECK(i % K == GROWING ? isinf(y[i]) && y[i] > 0 : y[i] > 49 && y[i] < 51, "%s: %d rows: y[%d] is %g",
                gatun_tier_name(tier), (int)d.seq, (int)i, (double)y[i]);
        }
    }
}

/* Threads, and calls that hand on the state, have the bits of one call of one thread; states that fill vectors and groups, and others. */
static void scan_bits(void) {
    static const int64_t state_counts[] = {16, 21, 3};
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < 3 * tier_count; t++) {
        const int32_t tier = tiers[t / 3];
        gatun_context *context = shared_context(tier);
        scan_case c = {.batch = 1,
            .seq = 70,
            .channels = 150,
            .states = state_counts[t % 3],
            .softplus = t % 3 != 1,
            .skips = true,
            .biased = true,
            .gated = true,
            .kept = true,
            .gap = 2};
        scan one = scan_create(&c, context);
        CHECK_STATUS(scan_call(&one, context, 1, 0), GATUN_OK);
        for (int n = 0; n < 4; n++) {
            scan other = scan_create(&c, context);
            CHECK_STATUS(scan_call(&other, context, thread_counts[n], 0), GATUN_OK);
            CHECK(same_elements(&one.y, &other.y) && same_elements(&one.state, &other.state),
                "%s: %lld states, %d threads", gatun_tier_name(tier), (long long)c.states, (int)thread_counts[n]);
            scan_destroy(&other);
        }
        for (int64_t most = 1; most <= 40; most += 13) {
            rng random = rng_make(test_seed(), (uint64_t)most);
            scan chunks = scan_create(&c, context);
            for (int64_t row = 0; row < c.seq; row += chunks.desc.seq) {
                chunks.desc.seq = least(rng_between(&random, 1, most), c.seq - row);
                CHECK_STATUS(scan_call(&chunks, context, 0, row), GATUN_OK);
            }
            CHECK(same_elements(&one.y, &chunks.y) && same_elements(&one.state, &chunks.state),
                "%s: %lld states, chunks of up to %lld rows", gatun_tier_name(tier), (long long)c.states,
                (long long)most);
            scan_destroy(&chunks);
        }
        scan_destroy(&one);
    }
}

/* What is not a number in one sequence, in its rows or its state, leaves the others as they are. */
static void scan_isolation(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        gatun_context *context = shared_context(tiers[t]);
        const scan_case c = {.batch = 5,
            .seq = 6,
            .channels = 35,
            .states = 5,
            .softplus = true,
            .gated = true,
            .ragged = true,
            .kept = true};
        scan clean = scan_create(&c, context), dirty = scan_create(&c, context);
        CHECK_STATUS(scan_call(&clean, context, 1, 0), GATUN_OK);
        const int64_t from = dirty.offsets[2], to = dirty.offsets[3], size = c.channels * c.states;
        for (int64_t r = from; r < to; r++) {
            *at(&dirty.x, r, r % c.channels) = NAN;
            *at(&dirty.delta, r, 3) = INFINITY;
            *at(&dirty.b, r, 0) = NAN;
        }
        *at(&dirty.state, 2, 7) = NAN;
        CHECK_STATUS(scan_call(&dirty, context, 0, 0), GATUN_OK);
        CHECK(isnan(*at(&dirty.y, from, 0)), "NaN is lost");
        for (int64_t r = dirty.offsets[0]; r < dirty.offsets[5]; r++) {
            CHECK((r >= from && r < to) ||
                      memcmp(at(&clean.y, r, 0), at(&dirty.y, r, 0), (size_t)c.channels * sizeof(float)) == 0,
                "%s: NaN of sequence 2 reaches row %lld", gatun_tier_name(tiers[t]), (long long)r);
        }
        for (int64_t b = 0; b < c.batch; b++) {
            CHECK(b == 2 || memcmp(at(&clean.state, b, 0), at(&dirty.state, b, 0), (size_t)size * sizeof(float)) == 0,
                "%s: NaN of sequence 2 reaches state %lld", gatun_tier_name(tiers[t]), (long long)b);
        }
        scan_destroy(&clean);
        scan_destroy(&dirty);
    }
}

/* ---- convolution ---- */

typedef struct convolution_case {
    int64_t batch, seq, channels, width;
    int32_t activation;
    bool biased, ragged, kept;
    int64_t gap;
} convolution_case;

static double *convolution_exact(const convolution_case *c, const int32_t *offsets, const matrix *x,
    const matrix *weight, const float *bias, const float *state, int64_t state_row) {
    const int64_t rows = offsets[c->batch], k = c->channels;
    double *want = test_allocate((rows * k + 1) * 2 * (int64_t)sizeof(double));
    for (int64_t b = 0; b < c->batch; b++) {
        for (int64_t r = offsets[b]; r < offsets[b + 1]; r++) {
            for (int64_t i = 0; i < k; i++) {
                double sum = bias == NULL ? 0 : (double)bias[i], magnitude = fabs(sum);
                for (int64_t w = 0; w < c->width; w++) {
                    const int64_t from = r - c->width + 1 + w;
                    const double value =
                        from >= offsets[b] ? (double)*at(x, from, i)
                        : state == NULL    ? 0
                                           : (double)state[b * state_row + (from - offsets[b] + c->width - 1) * k + i];
                    sum += (double)weight->data[i * c->width + w] * value;
                    magnitude += fabs((double)weight->data[i * c->width + w] * value);
                }
                /* No activation rises faster than 1.2. */
                want[2 * (r * k + i)] = activation_exact(c->activation, sum);
                want[2 * (r * k + i) + 1] =
                    1.2 * 2 * EPS * (double)(c->width + 1) * magnitude + 5e-7 * fmax(1, fabs(sum));
            }
        }
    }
    return want;
}

static gatun_causal_convolution_desc convolution_desc(const convolution_case *c, const matrix *x, const matrix *out) {
    return (gatun_causal_convolution_desc){.struct_size = sizeof(gatun_causal_convolution_desc),
        .batch = c->batch,
        .seq = c->ragged ? 0 : c->seq,
        .channels = c->channels,
        .width = c->width,
        .x_row = x->row,
        .out_row = out->row,
        .activation = c->activation};
}

static void check_convolution(const convolution_case *c, int32_t tier, int number) {
    char what[160];
    snprintf(what, sizeof what,
        "convolution %lld x %lld, %lld channels, width %lld, activation %d, bias %d, ragged %d, state %d, %s",
        (long long)c->batch, (long long)c->seq, (long long)c->channels, (long long)c->width, (int)c->activation,
        c->biased, c->ragged, c->kept, gatun_tier_name(tier));
    test_note("%s", what);
    gatun_context *context = shared_context(tier);
    rng random = rng_make(test_seed(), (uint64_t)(c->channels * 131 + c->width));
    int32_t *offsets = some_offsets(c->batch, c->seq, c->ragged, &random);
    const int64_t rows = offsets[c->batch], k = c->channels, kept = (c->width - 1) * k;
    const guarded_end end = number % 4 == 0 ? GUARD_BEFORE : GUARD_AFTER;
    matrix x = matrix_random("x", rows, k, c->gap, end, 0, &random),
           weight = matrix_random("weight", k, c->width, 0, end, 0, &random);
    matrix bias = matrix_random("bias", 1, k, 0, end, 0, &random),
           state = matrix_random("state", c->batch, kept, c->gap, end, 0, &random);
    matrix out = matrix_create("out", rows, k, 2, end), again = matrix_create("again", rows, k, 0, end);
    float *state_before = copy_of(&state), *out_before = copy_of(&out);
    double *want = convolution_exact(
        c, offsets, &x, &weight, c->biased ? bias.data : NULL, c->kept ? state.data : NULL, state.row);
    guarded_protect(&x.memory, true);
    guarded_protect(&weight.memory, true);
    guarded_protect(&bias.memory, true);
    gatun_causal_convolution_desc d = convolution_desc(c, &x, &out);
    d.state_row = state.row;
    d.max_threads = number % 3;
    float *const biased = c->biased ? bias.data : NULL;
    CHECK_STATUS(gatun_causal_convolution(context, &d, x.data, weight.data, biased, c->ragged ? offsets : NULL,
                     c->kept ? state.data : NULL, out.data),
        GATUN_OK);
    CHECK(only_elements_written(&out, out_before) && guarded_intact(&state.memory), "%s: something else is written",
        what);
    for (int64_t e = offsets[0] * k; e < rows * k; e++) {
        const double got = (double)*at(&out, e / k, e % k);
        if (!(fabs(got - want[2 * e]) <= want[2 * e + 1])) {
            test_fail(__FILE__, __LINE__, "%s: out[%lld][%lld]: expected %.9g +- %.3g, got %.9g", what,
                (long long)(e / k), (long long)(e % k), want[2 * e], want[2 * e + 1], got);
            break;
        }
    }
    for (int64_t b = 0; b < c->batch && c->kept; b++) {
        for (int64_t n = 0; n < c->width - 1; n++) {
            const int64_t from = offsets[b + 1] - (c->width - 1) + n;
            const float *row = from >= offsets[b]
                                   ? at(&x, from, 0)
                                   : state_before + b * state.row + (n + offsets[b + 1] - offsets[b]) * k;
            CHECK(memcmp(state.data + b * state.row + n * k, row, (size_t)k * sizeof(float)) == 0,
                "%s: row %lld of state %lld", what, (long long)n, (long long)b);
        }
    }
    /* Chunks that hand on the state. */
    if (!c->ragged && c->kept && c->batch == 1) {
        float *state_after = copy_of(&state);
        matrix_restore(&state, state_before);
        d.out_row = again.row;
        for (int64_t row = 0; row < c->seq; row += d.seq) {
            d.seq = least(rng_between(&random, 1, 5), c->seq - row);
            CHECK_STATUS(gatun_causal_convolution(
                             context, &d, at(&x, row, 0), weight.data, biased, NULL, state.data, at(&again, row, 0)),
                GATUN_OK);
        }
        CHECK(same_elements(&out, &again) && memcmp(state.data, state_after, (size_t)state.memory.bytes) == 0,
            "%s: chunks", what);
        free(state_after);
    }
    free(want);
    free(state_before);
    free(out_before);
    free(offsets);
    matrix *const all[] = {&x, &weight, &bias, &state, &out, &again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        guarded_destroy(&all[i]->memory);
    }
}

static void convolution_values(void) {
    int32_t tiers[MAX_TIERS];
    const int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        for (int n = 0; n < 96; n += test_light() ? 5 : 1) {
            const convolution_case c = {.batch = n % 2 == 0 ? 1 : 4,
                .seq = 1 + n % 23,
                .channels = 1 + n * 7 % 71,
                .width = 1 + n % 16,
                .activation = n % (GATUN_ACTIVATION_QUICK_GELU + 1),
                .biased = n % 3 != 0,
                .ragged = n % 4 == 3,
                .kept = n % 5 != 0,
                .gap = n % 4};
            check_convolution(&c, tiers[t], n);
        }
    }
}

const test_case scan_tests[] = {{"values", scan_values}, {"long", scan_long}, {"softplus", scan_softplus},
    {"overflow", scan_overflow}, {"bits", scan_bits}, {"isolation", scan_isolation},
    {"convolution", convolution_values}, {NULL, NULL}};
