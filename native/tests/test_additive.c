/*
 * Additive attention against the definition of Bahdanau et al. (2015), sections 3.1 and A.1.2, in double, on every tier, with one
 * thread and with several: shapes, tails, layouts, lengths, ragged sequences, causal masks; special values; bits; what is refused.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "suites.h"

/* ---- a problem ---- */

typedef struct additive {
    gatun_additive_attention_desc d;
    guarded energy, q, k, v, out, lse;
    int32_t *key_lengths, *query_lengths, *offsets_q, *offsets_k; /* or NULL */
    int64_t q_rows, k_rows;                                       /* of one batch row, or of all ragged sequences */
} additive;

static float *floats(const guarded *g) {
    return (float *)(void *)g->data;
}

/* Rows of heads, [batch][seq][heads][dim] or [batch][heads][seq][dim]; returns the elements. */
static int64_t lay_out(int64_t stride[3], bool heads_first, int64_t batch, int64_t rows, int64_t heads, int64_t dim) {
    stride[0] = batch == 0 ? 0 : rows * heads * dim;
    stride[1] = heads_first ? dim : heads * dim;
    stride[2] = heads_first ? rows * dim : dim;
    return (batch == 0 ? 1 : batch) * rows * heads * dim;
}

static void fill(const guarded *g, float scale, rng *random) {
    for (int64_t i = 0; i < g->bytes / 4; i++) {
        floats(g)[i] = scale * rng_normal(random);
    }
}

/* Offsets of `batch` sequences of 0 to `most` rows; returns where the last ends. */
static int64_t draw_offsets(int32_t **offsets, int64_t batch, int64_t most, rng *random) {
    *offsets = test_allocate((batch + 1) * (int64_t)sizeof(int32_t));
    (*offsets)[0] = (int32_t)rng_below(random, 3);
    for (int64_t b = 0; b < batch; b++) {
        (*offsets)[b + 1] = (*offsets)[b] + (int32_t)rng_between(random, 0, most);
    }
    return (*offsets)[batch];
}

static int32_t *draw_lengths(int64_t batch, int64_t most, rng *random) {
    int32_t *lengths = test_allocate(batch * (int64_t)sizeof(int32_t));
    for (int64_t b = 0; b < batch; b++) {
        lengths[b] = (int32_t)(rng_below(random, 4) == 0 ? 0 : rng_between(random, 0, most));
    }
    return lengths;
}

/* Of plain rows; `flags` as in the descriptor, `lengths`: whether batch rows have lengths; scale: of queries and keys. */
static additive new_additive(int64_t batch, int64_t heads, int64_t kv_heads, int64_t seq_q, int64_t seq_k, int64_t dim,
    int64_t dim_v, int32_t causal, uint32_t flags, bool lengths, bool heads_first, float scale, rng *random) {
    additive a = {.d = {.struct_size = sizeof a.d,
                      .flags = flags,
                      .causal = causal,
                      .batch = batch,
                      .heads = heads,
                      .kv_heads = kv_heads,
                      .seq_q = seq_q,
                      .seq_k = seq_k,
                      .head_dim = dim,
                      .head_dim_v = dim_v},
        .q_rows = seq_q,
        .k_rows = seq_k};
    const bool ragged_q = (flags & GATUN_ADDITIVE_RAGGED_Q) != 0, ragged_k = (flags & GATUN_ADDITIVE_RAGGED_K) != 0;
    if (ragged_q) {
        a.q_rows = draw_offsets(&a.offsets_q, batch, seq_q, random);
    } else if (lengths) {
        a.query_lengths = draw_lengths(batch, seq_q, random);
    }
    if (ragged_k) {
        a.k_rows = draw_offsets(&a.offsets_k, batch, seq_k, random);
    } else if (lengths) {
        a.key_lengths = draw_lengths(batch, seq_k, random);
    }
    const int64_t q_batch = ragged_q ? 0 : batch, k_batch = ragged_k ? 0 : batch, f = sizeof(float);
    guarded_create(&a.energy, "energy", heads * dim * f, 0, GUARD_AFTER);
    guarded_create(&a.q, "q", lay_out(a.d.q_stride, heads_first, q_batch, a.q_rows, heads, dim) * f, 0, GUARD_AFTER);
    guarded_create(&a.k, "k", lay_out(a.d.k_stride, heads_first, k_batch, a.k_rows, kv_heads, dim) * f, 0, GUARD_AFTER);
    guarded_create(
        &a.v, "v", lay_out(a.d.v_stride, heads_first, k_batch, a.k_rows, kv_heads, dim_v) * f, 0, GUARD_AFTER);
    guarded_create(
        &a.out, "out", lay_out(a.d.out_stride, heads_first, q_batch, a.q_rows, heads, dim_v) * f, 0, GUARD_AFTER);
    guarded_create(
        &a.lse, "lse", lay_out(a.d.lse_stride, heads_first, q_batch, a.q_rows, heads, 1) * f, 0, GUARD_AFTER);
    fill(&a.energy, 1 / sqrtf((float)dim), random);
    fill(&a.q, scale, random);
    fill(&a.k, scale, random);
    fill(&a.v, 1, random);
    return a;
}

static void free_additive(additive *a) {
    const guarded *all[] = {&a->energy, &a->q, &a->k, &a->v, &a->out, &a->lse};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECK(guarded_intact(all[i]), "%s: written beyond", all[i]->name);
        guarded_destroy((guarded *)(uintptr_t)all[i]);
    }
    free(a->key_lengths);
    free(a->query_lengths);
    free(a->offsets_q);
    free(a->offsets_k);
}

static int32_t call_with(gatun_context *context, const additive *a, void *workspace, int64_t bytes) {
    return gatun_additive_attention(context, &a->d, workspace, bytes, floats(&a->energy), floats(&a->q), floats(&a->k),
        floats(&a->v), a->key_lengths, a->query_lengths, a->offsets_q, a->offsets_k, floats(&a->out), floats(&a->lse));
}

/* The status of a call in a workspace that ends at a guard page. */
static int32_t run(gatun_context *context, additive *a, int32_t max_threads) {
    a->d.max_threads = max_threads;
    char message[256] = "";
    int64_t bytes = 64;
    const int32_t status = gatun_additive_attention_workspace_size(context, &a->d, &bytes);
    if (status != GATUN_OK) {
        (void)gatun_additive_attention_check(context, &a->d, message, sizeof message);
        test_fail(__FILE__, __LINE__, "workspace size: %s (%s)", gatun_status_string(status), message);
        return status;
    }
    guarded workspace;
    guarded_create(&workspace, "workspace", bytes, 0, GUARD_AFTER);
    const int32_t result = call_with(context, a, workspace.data, bytes);
    CHECK(guarded_intact(&workspace), "written beyond the workspace");
    guarded_destroy(&workspace);
    return result;
}

/* ---- the definition ---- */

typedef struct place {
    int64_t batch, row, head;  /* row: of its sequence */
    int64_t rows, keys;        /* that are live */
    int64_t q, k, v, out, lse; /* elements: of the row, and of key 0 */
} place;

/* The next row of out, dead ones included; begin with batch = -1. */
static bool next_place(const additive *a, place *p) {
    const gatun_additive_attention_desc *d = &a->d;
    bool first = p->batch < 0;
    if (first) {
        *p = (place){0};
        p->head = -1;
    }
    for (;;) {
        int64_t all_rows = a->offsets_q != NULL && p->batch < d->batch
                               ? a->offsets_q[p->batch + 1] - a->offsets_q[p->batch]
                               : d->seq_q;
        if (p->batch >= d->batch) {
            return false;
        }
        if (all_rows > 0 && ++p->head < d->heads) {
            break;
        }
        p->head = -1;
        if (all_rows == 0 || ++p->row >= all_rows) {
            p->row = 0;
            p->batch++;
        }
    }
    const int64_t b = p->batch, kv = p->head / (d->heads / d->kv_heads);
    const int64_t row = p->row + (a->offsets_q != NULL ? a->offsets_q[b] : 0);
    const int64_t key = a->offsets_k != NULL ? a->offsets_k[b] : 0;
    p->rows = a->offsets_q != NULL       ? a->offsets_q[b + 1] - a->offsets_q[b]
              : a->query_lengths != NULL ? a->query_lengths[b]
                                         : d->seq_q;
    p->keys = a->offsets_k != NULL     ? a->offsets_k[b + 1] - a->offsets_k[b]
              : a->key_lengths != NULL ? a->key_lengths[b]
                                       : d->seq_k;
    p->q = b * d->q_stride[0] + row * d->q_stride[1] + p->head * d->q_stride[2];
    p->k = b * d->k_stride[0] + key * d->k_stride[1] + kv * d->k_stride[2];
    p->v = b * d->v_stride[0] + key * d->v_stride[1] + kv * d->v_stride[2];
    p->out = b * d->out_stride[0] + row * d->out_stride[1] + p->head * d->out_stride[2];
    p->lse = b * d->lse_stride[0] + row * d->lse_stride[1] + p->head * d->lse_stride[2];
    return true;
}

static int64_t keys_seen(const additive *a, const place *p) {
    if (p->row >= p->rows) {
        return 0;
    }
    int64_t end = a->d.causal == GATUN_CAUSAL_NONE       ? p->keys
                  : a->d.causal == GATUN_CAUSAL_TOP_LEFT ? p->row + 1
                                                         : p->row + 1 + p->keys - p->rows;
    end = end < p->keys ? end : p->keys;
    return end < 0 ? 0 : end;
}

static double score_of(const additive *a, const place *p, int64_t key) {
    const float *q = floats(&a->q) + p->q, *k = floats(&a->k) + p->k + key * a->d.k_stride[1],
                *energy = floats(&a->energy) + p->head * a->d.head_dim;
    double score = 0;
    for (int64_t i = 0; i < a->d.head_dim; i++) {
        score += (double)energy[i] * tanh((double)q[i] + (double)k[i]);
    }
    return score;
}

/* Of a score, as gatun_relatives.h has it. */
static double score_bound(const additive *a, const place *p) {
    double energies = 0;
    for (int64_t i = 0; i < a->d.head_dim; i++) {
        energies += fabs((double)floats(&a->energy)[p->head * a->d.head_dim + i]);
    }
    return (16 + (double)a->d.head_dim / 4) * 0x1p-24 * energies + 0x1p-126;
}

static double worst_share; /* of the bound of a score, seen with one key */

/* out and lse of all rows against the definition. */
static void compare(const additive *a, const char *what) {
    place p = {.batch = -1};
    double *scores = test_allocate((a->d.seq_k + 1) * (int64_t)sizeof(double));
    const int failures = test_failures();
    while (next_place(a, &p) && test_failures() < failures + 3) {
        const int64_t seen = keys_seen(a, &p);
        const float *v = floats(&a->v) + p.v, *out = floats(&a->out) + p.out;
        double most = -(double)INFINITY, sum = 0, largest = 0;
        for (int64_t j = 0; j < seen; j++) {
            scores[j] = score_of(a, &p, j);
            most = scores[j] > most ? scores[j] : most;
            for (int64_t c = 0; c < a->d.head_dim_v; c++) {
                const double magnitude = fabs((double)v[j * a->d.v_stride[1] + c]);
                largest = magnitude > largest ? magnitude : largest;
            }
        }
        for (int64_t j = 0; j < seen; j++) {
            sum += exp(scores[j] - most);
        }
        const double off = score_bound(a, &p), lse = seen == 0 ? -(double)INFINITY : most + log(sum);
        const double bound = seen == 1 ? off + 0x1p-23 * fabs(lse) : 1e-5 + 1e-6 * fabs(lse) + off;
        const double got_lse = (double)floats(&a->lse)[p.lse];
        if (seen == 1 && fabs(got_lse - lse) / off > worst_share) {
            worst_share = fabs(got_lse - lse) / off;
        }
        CHECK(seen == 0 ? got_lse == lse : fabs(got_lse - lse) <= bound,
            "%s: lse of batch %lld, row %lld, head %lld: expected %.9g +- %.3g, got %.9g", what, (long long)p.batch,
            (long long)p.row, (long long)p.head, lse, bound, got_lse);
        for (int64_t c = 0; c < a->d.head_dim_v; c++) {
            double want = 0;
            for (int64_t j = 0; j < seen; j++) {
                want += exp(scores[j] - most) / sum * (double)v[j * a->d.v_stride[1] + c];
            }
            const double error = fabs((double)out[c] - want), allowed = (2e-6 + 2 * off) * largest;
            CHECK(seen == 0 ? out[c] == 0 : error <= allowed,
                "%s: out of batch %lld, row %lld, head %lld, column %lld: expected %.9g +- %.3g, got %.9g", what,
                (long long)p.batch, (long long)p.row, (long long)p.head, (long long)c, want, allowed, (double)out[c]);
        }
    }
    free(scores);
}

/* Every tier, one thread and several to the bit, against the definition. */
static void check(additive *a, const char *what) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    float *one = test_allocate(a->out.bytes + a->lse.bytes);
    for (int i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s on %s", what, gatun_tier_name(tiers[i]));
        memset(a->out.data, 0xff, (size_t)a->out.bytes);
        memset(a->lse.data, 0xff, (size_t)a->lse.bytes);
        CHECK_STATUS(run(shared_context(tiers[i]), a, 1), GATUN_OK);
        compare(a, name);
        memcpy(one, a->out.data, (size_t)a->out.bytes);
        memcpy((char *)one + a->out.bytes, a->lse.data, (size_t)a->lse.bytes);
        CHECK_STATUS(run(shared_context(tiers[i]), a, 0), GATUN_OK);
        CHECK(memcmp(one, a->out.data, (size_t)a->out.bytes) == 0 &&
                  memcmp((char *)one + a->out.bytes, a->lse.data, (size_t)a->lse.bytes) == 0,
            "%s: bits depend on threads", name);
    }
    free(one);
}

/* ---- tests ---- */

static void random_problems(void) {
    const int cases = test_light() ? 24 : 160;
    for (int n = 0; n < cases; n++) {
        if (!test_wants_case(n)) {
            continue;
        }
        rng random = rng_make(test_seed(), (uint64_t)n);
        const int64_t kv_heads = rng_between(&random, 1, 2), heads = kv_heads * rng_between(&random, 1, 2);
        const int64_t seq_q = rng_between(&random, 1, 70), seq_k = rng_between(&random, 1, n % 4 == 0 ? 300 : 70);
        const int64_t dim = rng_between(&random, 1, n % 5 == 0 ? 130 : 36), dim_v = rng_between(&random, 1, 40);
        additive a = new_additive(rng_between(&random, 1, 2), heads, kv_heads, seq_q, seq_k, dim, dim_v,
            (int32_t)rng_below(&random, 3), (uint32_t)rng_below(&random, 4), rng_below(&random, 2) == 0,
            rng_below(&random, 2) == 0, n % 3 == 0 ? 3 : 1, &random);
        check(&a, "a random problem");
        free_additive(&a);
    }
}

/* Every remainder of lanes, keys and columns. */
static void tails(void) {
    rng random = rng_make(test_seed(), 1000);
    for (int64_t n = 1; n <= 67; n += test_light() ? 5 : 1) {
        additive a = new_additive(1, 1, 1, n, 5, n, 3, GATUN_CAUSAL_NONE, 0, false, false, 1, &random);
        check(&a, "rows and head_dim");
        free_additive(&a);
        a = new_additive(1, 1, 1, 6, n + 100, 5, n, GATUN_CAUSAL_BOTTOM_RIGHT, 0, false, false, 1, &random);
        check(&a, "keys and head_dim_v");
        free_additive(&a);
    }
}

/* Several splits of keys, and the largest heads. */
static void long_rows(void) {
    rng random = rng_make(test_seed(), 1001);
    const int64_t keys = test_light() ? 2100 : 4500;
    additive a = new_additive(1, 1, 1, 9, keys, 4, 5, GATUN_CAUSAL_BOTTOM_RIGHT, 0, false, false, 1, &random);
    check(&a, "several splits");
    free_additive(&a);
    a = new_additive(
        1, 1, 1, 4, 5, GATUN_MAX_HEAD_DIM, GATUN_MAX_HEAD_DIM, GATUN_CAUSAL_NONE, 0, false, false, 1, &random);
    check(&a, "the largest heads");
    free_additive(&a);
}

/* lse of one key is its score: the bound of a score by itself, for inputs near the limit of the usual and beyond, and energies of all
 * magnitudes. */
static void error_of_scores(void) {
    const float scales[] = {0.01f, 0.5f, 1, 2, 2.6f, 4, 30, 1e30f}, energies[] = {1, 1e-30f, 1e-44f, 300, 1e36f};
    worst_share = 0;
    for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        for (size_t e = 0; e < sizeof energies / sizeof energies[0]; e++) {
            if (test_light() && (s + e) % 3 != 0) {
                continue;
            }
            rng random = rng_make(test_seed(), 1002 + s);
            additive a =
                new_additive(test_light() ? 20 : 200, 1, 1, 1, 1, 64, 1, 0, 0, false, false, scales[s], &random);
            for (int64_t i = 0; i < 64; i++) {
                floats(&a.energy)[i] *= energies[e];
            }
            if (s == 3) { /* elements that nearly cancel */
                for (int64_t i = 0; i < a.q.bytes / 4; i++) {
                    floats(&a.k)[i] = -floats(&a.q)[i] * (1 + 0.01f * rng_normal(&random));
                }
            }
            check(&a, "one key");
            free_additive(&a);
        }
    }
    CHECK(worst_share < 0.2, "usual errors are far below the bound, got %.3g of it", worst_share);
}

static void stride_of_zero(void) {
    rng random = rng_make(test_seed(), 1010);
    additive a = new_additive(3, 2, 2, 7, 40, 8, 8, GATUN_CAUSAL_NONE, 0, false, false, 1, &random);
    a.d.q_stride[0] = a.d.k_stride[0] = a.d.v_stride[0] = 0;
    a.d.k_stride[2] = a.d.v_stride[2] = 0;
    check(&a, "inputs of stride 0");
    free_additive(&a);
}

static bool row_is_nan(const additive *a, const place *p) {
    bool nan = isnan(floats(&a->lse)[p->lse]);
    for (int64_t c = 0; c < a->d.head_dim_v; c++) {
        nan = nan && isnan(floats(&a->out)[p->out + c]);
    }
    return nan;
}

/* One row beside many, of which some are NaN or take the other path: the same bits as by itself. Places that are masked hold NaN. */
static void neighbors(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    rng random = rng_make(test_seed(), 1020);
    enum { ROWS = 45, KEYS = 140, DIM = 11, DIM_V = 7 };
    additive a = new_additive(1, 1, 1, ROWS, KEYS, DIM, DIM_V, GATUN_CAUSAL_BOTTOM_RIGHT, 0, false, false, 1, &random);
    floats(&a.q)[3 * DIM + 2] = NAN;
    floats(&a.q)[5 * DIM] = 7;
    floats(&a.q)[8 * DIM + 10] = INFINITY;
    floats(&a.q)[40 * DIM + 1] = -40;
    floats(&a.k)[20 * DIM + 4] = -6;
    floats(&a.k)[70 * DIM + 4] = -INFINITY;
    for (int64_t i = 0; i < DIM; i++) {
        floats(&a.k)[(KEYS - 1) * DIM + i] = NAN; /* the last row alone sees it */
        floats(&a.k)[(KEYS - 2) * DIM + i] = 100;
    }
    floats(&a.v)[(KEYS - 3) * DIM_V + 1] = NAN; /* the last three rows */
    for (int i = 0; i < count; i++) {
        test_note("neighbors on %s", gatun_tier_name(tiers[i]));
        CHECK_STATUS(run(shared_context(tiers[i]), &a, 0), GATUN_OK);
        place p = {.batch = -1};
        while (next_place(&a, &p)) {
            const bool nan = p.row == 3 || p.row == ROWS - 1, poisoned = p.row >= ROWS - 3;
            CHECK(row_is_nan(&a, &p) == nan, "row %lld is%s NaN", (long long)p.row, nan ? " not" : "");
            CHECK(nan || isnan(floats(&a.out)[p.out + 1]) == poisoned, "row %lld, column of a NaN", (long long)p.row);
            for (int64_t c = 0; !nan && c < DIM_V; c += 2) {
                CHECK(isfinite(floats(&a.out)[p.out + c]), "row %lld: not finite", (long long)p.row);
            }
            if (nan || p.row % 5 != 0) {
                continue;
            }
            additive one = a;
            float out[DIM_V], lse;
            one.d.seq_q = 1;
            one.d.seq_k = p.row + 1 + KEYS - ROWS;
            one.q.data += p.q * 4;
            one.out.data = (uint8_t *)out;
            one.lse.data = (uint8_t *)&lse;
            CHECK_STATUS(run(shared_context(tiers[i]), &one, 1), GATUN_OK);
            CHECK(memcmp(out, floats(&a.out) + p.out, sizeof out) == 0 && lse == floats(&a.lse)[p.lse],
                "row %lld: bits depend on neighbors", (long long)p.row);
        }
    }
    free_additive(&a);
}

/* tanh of Inf is 1; Infs that meet make NaN; so do energies that are not finite, in rows that see a key. */
static void special_values(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    const float infinity = INFINITY;
    const struct {
        float q, k, energy, want;
    } cases[] = {{infinity, 1, 2, 2}, {-infinity, 1, 2, -2}, {1, infinity, 2, 2}, {infinity, infinity, 3, 3},
        {infinity, -infinity, 2, NAN}, {NAN, 0, 1, NAN}, {0, NAN, 1, NAN}, {50, -50, 1, 0},
        {50, -49.5f, 1, 0.46211716f}, {FLT_MAX, FLT_MAX, 1, 1}, {FLT_MAX, -FLT_MAX, 1, 0}, {5.25f, -5.25f, 1, 0},
        {1, 0, NAN, NAN}, {1, 0, infinity, NAN}, {1, 0, -infinity, NAN}, {1, 0, FLT_MAX, NAN},
        {20, 0, FLT_MAX / 2, FLT_MAX / 2}, {1, 0, 0, 0}};
    for (int i = 0; i < count; i++) {
        for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
            rng random = rng_make(1, n);
            additive a = new_additive(1, 1, 1, 1, 1, 1, 1, 0, 0, false, false, 1, &random);
            *floats(&a.q) = cases[n].q;
            *floats(&a.k) = cases[n].k;
            *floats(&a.energy) = cases[n].energy;
            *floats(&a.v) = 4;
            CHECK_STATUS(run(shared_context(tiers[i]), &a, 1), GATUN_OK);
            const float lse = *floats(&a.lse), out = *floats(&a.out), want = cases[n].want;
            const bool right =
                isnan(want) ? isnan(lse) && isnan(out) : fabsf(lse - want) <= 1e-6f * fabsf(want) && out == 4;
            CHECK(right, "%s: %g * tanh(%g + %g): got %.9g, out %g", gatun_tier_name(tiers[i]), (double)cases[n].energy,
                (double)cases[n].q, (double)cases[n].k, (double)lse, (double)out);
            free_additive(&a);
        }
    }
}

/* Keys and rows past lengths are never read: they lie behind the guard page. */
static void nothing_to_see(void) {
    int32_t tiers[MAX_TIERS];
    const int count = test_tiers(tiers);
    for (int i = 0; i < count; i++) {
        gatun_context *context = shared_context(tiers[i]);
        rng random = rng_make(1, 1);
        additive a = new_additive(2, 1, 1, 3, 0, 4, 5, 0, 0, false, false, 1, &random);
        int64_t bytes = 0;
        CHECK_STATUS(gatun_additive_attention_workspace_size(context, &a.d, &bytes), GATUN_OK);
        void *workspace = aligned_alloc(64, (size_t)bytes);
        CHECK_STATUS(gatun_additive_attention(context, &a.d, workspace, bytes, NULL, floats(&a.q), NULL, NULL, NULL,
                         NULL, NULL, NULL, floats(&a.out), floats(&a.lse)),
            GATUN_OK);
        compare(&a, "no keys");
        a.d.seq_q = 0;
        CHECK_STATUS(gatun_additive_attention(
                         context, &a.d, workspace, bytes, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            GATUN_OK);
        a.d.batch = 0;
        CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_OK);
        free(workspace);
        free_additive(&a);
    }
}

/* ---- what is refused ---- */

typedef struct change {
    const char *name;
    size_t offset;
    int64_t bytes, value;
    int32_t status;
} change;

#define MEMBER(member, value, status)                                                                                  \
    {                                                                                                                  \
#member, offsetof(gatun_additive_attention_desc, member), sizeof((gatun_additive_attention_desc *)0)->member,  \
            value, status                                                                                              \
    }
#define ELEMENT(member, index, value, status)                                                                          \
    { #member, offsetof(gatun_additive_attention_desc, member) + (index)*8, 8, value, status }

static void refused_members(void) {
    static const change changes[] = {MEMBER(struct_size, 8, GATUN_E_VERSION),
        MEMBER(struct_size, 1 << 20, GATUN_E_VERSION), MEMBER(flags, 4, GATUN_E_INVALID),
        MEMBER(flags, 1, GATUN_E_INVALID), MEMBER(flags, 2, GATUN_E_INVALID), MEMBER(causal, 3, GATUN_E_INVALID),
        MEMBER(causal, -1, GATUN_E_INVALID), MEMBER(max_threads, -1, GATUN_E_INVALID),
        MEMBER(batch, -1, GATUN_E_INVALID), MEMBER(batch, 1ll << 31, GATUN_E_INVALID),
        MEMBER(heads, 0, GATUN_E_INVALID), MEMBER(heads, 3, GATUN_E_INVALID), MEMBER(kv_heads, 0, GATUN_E_INVALID),
        MEMBER(seq_q, -1, GATUN_E_INVALID), MEMBER(seq_q, 1ll << 31, GATUN_E_INVALID),
        MEMBER(seq_k, -1, GATUN_E_INVALID), MEMBER(seq_k, 1ll << 31, GATUN_E_INVALID),
        MEMBER(head_dim, 0, GATUN_E_INVALID), MEMBER(head_dim, GATUN_MAX_HEAD_DIM + 1, GATUN_E_INVALID),
        MEMBER(head_dim_v, 0, GATUN_E_INVALID), MEMBER(head_dim_v, GATUN_MAX_HEAD_DIM + 1, GATUN_E_INVALID),
        ELEMENT(q_stride, 1, -1, GATUN_E_INVALID), ELEMENT(k_stride, 0, -1, GATUN_E_INVALID),
        ELEMENT(v_stride, 2, -1, GATUN_E_INVALID), ELEMENT(out_stride, 1, -1, GATUN_E_INVALID),
        ELEMENT(lse_stride, 0, -1, GATUN_E_INVALID), ELEMENT(q_stride, 1, 1ll << 60, GATUN_E_INVALID),
        ELEMENT(out_stride, 1, 0, GATUN_E_OVERLAP), ELEMENT(lse_stride, 1, 0, GATUN_E_OVERLAP),
        ELEMENT(reserved, 0, 1, GATUN_E_VERSION), ELEMENT(reserved, 7, 1, GATUN_E_VERSION)};
    int32_t tiers[MAX_TIERS];
    gatun_context *context = shared_context(tiers[test_tiers(tiers) - 1]);
    rng random = rng_make(1, 1);
    additive a = new_additive(2, 2, 2, 3, 4, 4, 5, 0, 0, false, false, 1, &random);
    memset(a.out.data, 0x5a, (size_t)a.out.bytes);
    memset(a.lse.data, 0x5a, (size_t)a.lse.bytes);
    char workspace[1 << 20] __attribute__((aligned(64)));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        additive changed = a;
        memcpy((char *)&changed.d + changes[i].offset, &changes[i].value, (size_t)changes[i].bytes);
        const int32_t status = call_with(context, &changed, workspace, sizeof workspace);
        CHECK(status == changes[i].status, "%s = %lld: expected %d, got %d (%s)", changes[i].name,
            (long long)changes[i].value, (int)changes[i].status, (int)status, gatun_status_string(status));
    }
    for (int64_t i = 0; i < a.out.bytes; i++) {
        CHECK(a.out.data[i] == 0x5a, "a refused call has written out");
    }
    char message[128] = "";
    a.d.head_dim = 0;
    CHECK_STATUS(gatun_additive_attention_check(NULL, &a.d, message, sizeof message), GATUN_E_INVALID);
    CHECK(strcmp(message, "head_dim: expected 1 .. 512, got 0") == 0, "got \"%s\"", message);
    a.d.head_dim = 4;
    CHECK_STATUS(gatun_additive_attention_check(NULL, NULL, NULL, 0), GATUN_E_NULL);
    CHECK_STATUS(gatun_additive_attention_workspace_size(context, &a.d, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_additive_attention_workspace_size(NULL, &a.d, &(int64_t){0}), GATUN_E_NULL);
    free_additive(&a);
}

static void refused_pointers(void) {
    int32_t tiers[MAX_TIERS];
    gatun_context *context = shared_context(tiers[test_tiers(tiers) - 1]);
    rng random = rng_make(1, 1);
    additive a = new_additive(2, 2, 2, 3, 4, 4, 5, 0, 0, false, false, 1, &random);
    char workspace[1 << 20] __attribute__((aligned(64)));
    int64_t bytes = 0;
    CHECK_STATUS(gatun_additive_attention_workspace_size(context, &a.d, &bytes), GATUN_OK);
    CHECK_STATUS(call_with(NULL, &a, workspace, bytes), GATUN_E_NULL);
    CHECK_STATUS(call_with(context, &a, NULL, bytes), GATUN_E_NULL);
    CHECK_STATUS(call_with(context, &a, workspace + 4, bytes), GATUN_E_ALIGNMENT);
    CHECK_STATUS(call_with(context, &a, workspace, bytes - 1), GATUN_E_WORKSPACE);
    guarded *const needed[] = {&a.energy, &a.q, &a.k, &a.v, &a.out};
    for (int i = 0; i < 5; i++) {
        uint8_t *const data = needed[i]->data;
        needed[i]->data = NULL;
        CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_NULL);
        needed[i]->data = data + 2;
        CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_ALIGNMENT);
        needed[i]->data = data;
        if (i < 4) { /* an output that begins where this input ends */
            uint8_t *const out = a.out.data, *const lse = a.lse.data;
            a.out.data = data + needed[i]->bytes - 4;
            CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_OVERLAP);
            a.out.data = out;
            a.lse.data = data;
            CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_OVERLAP);
            a.lse.data = lse;
        }
    }
    int32_t lengths[2] = {4, 5}, offsets[3] = {0, 2, 1};
    a.key_lengths = lengths;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_LENGTH);
    a.key_lengths = NULL;
    a.query_lengths = lengths;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_LENGTH);
    a.query_lengths = NULL;
    a.offsets_k = offsets;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_INVALID); /* without the flag */
    a.d.flags = GATUN_ADDITIVE_RAGGED_K;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_INVALID); /* batch strides */
    a.d.k_stride[0] = a.d.v_stride[0] = 0;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_INDEX);
    offsets[1] = offsets[2] = 5;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_LENGTH);
    a.offsets_k = NULL;
    CHECK_STATUS(call_with(context, &a, workspace, bytes), GATUN_E_NULL);
    free_additive(&a);
}

const test_case additive_tests[] = {{"random_problems", random_problems}, {"tails", tails}, {"long_rows", long_rows},
    {"error_of_scores", error_of_scores}, {"stride_of_zero", stride_of_zero}, {"neighbors", neighbors},
    {"special_values", special_values}, {"nothing_to_see", nothing_to_see}, {"refused_members", refused_members},
    {"refused_pointers", refused_pointers}, {NULL, NULL}};
