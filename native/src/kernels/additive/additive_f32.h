/*
 * Additive attention in float32 (Bahdanau et al. 2015), for every tier: included once by each additive_f32_<tier>.c after its vectors
 * and the sizes of its register blocks, which are those of attention_f32_<tier>.c.
 *
 * Axes: S_q query rows, S_k keys, D head_dim, D_v head_dim_v, of one query head; a lane is a query row. D rounded up to GROUP is the
 * depth.
 *   q [S_q][D], k [S_k][D], v [S_k][D_v], out [S_q][D_v], strided; energy [D]
 *   queries and their exps [depth][LANES], scores and probs [TILE_KEYS][LANES], exps of keys [TILE_KEYS][depth], in scratch
 *
 * Algorithm: score = sum_d energy_d tanh(q_d + k_d), n^2 D of them, is all that counts. With x = 1 + exp(2 q) exp(2 k)
 *
 *     tanh(q + k) = 1 - 2 / x        energy_0 / x_0 + energy_1 / x_1 = (energy_0 x_1 + energy_1 x_0) / (x_0 x_1)
 *
 * so that exponentials are made once for each element of a query and of a key, and GROUP = 4 elements share one division: 16
 * operations on the FMA pipes and a division for four, none of which depends on the one before.
 *   Pass 1  begin_rows: queries of a block are transposed; their exponentials; which lanes are usual.
 *   Pass 2  take_keys, for each tile of TILE_KEYS keys, once for all blocks of the task: their exponentials; which keys are usual.
 *   Pass 3  score_keys: scores[key][lane] = power (base + sum over groups), base = sum_d energy_d. Sums begin with base, which keeps
 *           every partial sum below sum |energy_d|. Energies are in units of a power of two, times log2(e), so that scores are
 *           base-2 logits and no product leaves the range of float.
 *           Of a task that has fewer rows than half a vector (a step of decoding) lanes are keys here, one row after the other.
 *   Pass 4  the online softmax and the products with values are those of attention_f32.h (attention_values_f32.h), keys that not
 *           all lanes of a chain see multiplied in by selection: NaN and Inf in masked places reach nobody.
 *   Pass 5  merge_split, write_rows as there (attention_block_f32.h).
 *
 * Usual: no element is beyond +-USUAL, so that x <= 1 + e^21 < 2^31 and a product of four of them is below 2^122. Another lane or key
 * (NaN and Inf included) takes its scores from direct_scores, tanh(q + k) by a rational function. A score is direct if its row or its
 * key asks for it, whatever lies beside them, so that bits do not depend on neighbors; a vector with such a lane computes both.
 *
 * Errors of a score, in units of 2^-24 sum |energy_d|: x is off by 2 roundings of each of the exponentials' arguments and results and
 * 2 of its own, of which 2 / x keeps a half at most; a group's ratio has 6 roundings, of at most 2; sums one for each group, D / 4. The
 * direct path has a rational function of 7 and D / 4 + 4. Tried: the approximate reciprocal with a Newton step in place of the division takes 0.88
 * of the time on avx512 and 1.1 on avx2, is off by more, and by different amounts on different makers' CPUs.
 *
 * Register budget: 4 x, 2 numerators, accumulators of QV vectors, 1; elements of keys and energies are broadcast from memory. The exps
 * of a tile of 128 keys and D = 64 have 32 KiB, those of a block's queries 8 (avx512), its scores 16: they stream from L2, 16 loads
 * for 64 operations.
 */
#include "gatun.h"
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../attention/attention_lanes.h"

#include "../vectors/softcap_f32.h"

#define INTERLEAVED 0
#include "../attention/attention_values_f32.h"

#include "../attention/attention_block_f32.h"

enum { GROUP = 4 };

static const float USUAL = 5.25f;

typedef struct additive_scratch {
    float *scores;  /* [TILE_KEYS][LANES], probs later */
    vmask *live;    /* [TILE_KEYS][QV]: which lanes see a key */
    float *alpha;   /* [LANES] */
    float *exps;    /* [TILE_KEYS][depth], exp(2 k) */
    int32_t *usual; /* [TILE_KEYS] */
    float *weights; /* [depth]: -2 energy log2(e) / power */
    float base;     /* sum of energy log2(e) / power */
    float power;    /* NaN where scores are */
    int32_t dim, depth;
    int across; /* few rows: lanes of pass 3 are keys */
} additive_scratch;

typedef struct additive_block {
    block_state b;
    float *exps;  /* [depth][LANES], exp(2 q) */
    float *usual; /* [LANES]: 1, or 0 */
    int unusual;  /* whether there is a 0 */
} additive_block;

/* ---- exponentials ---- */

INLINE vec bounded(vec x) {
    return v_min(v_set1(USUAL), v_max(v_set1(-USUAL), x)); /* NaN stays */
}

/* exp(2 x), |x| <= USUAL: 2x = n log(2) + 2r, n log(2) / 2 in two parts of which the first has no more bits than n leaves it. */
INLINE vec exp_twice(vec x) {
    const vec magic = v_set1(0x1.8p23f), n = v_sub(v_add(v_mul(x, v_set1(0x1.715476p+1f)), magic), magic);
    const vec r = v_fma(n, v_set1(-0x1.0bfbe8p-16f), v_fma(n, v_set1(-0x1.62ep-2f), x));
    return v_mul(v_exp2(v_mul(r, v_set1(0x1.715476p+1f))), v_exp2(n));
}

/* Pass 2 for many rows. */
static void take_keys(const gatun__attention_task *t, int32_t first_key, int32_t keys, const additive_scratch *s) {
    for (int32_t j = 0; j < keys; j++) {
        const float *k = t->k + (first_key + j) * t->k_row;
        float *to = s->exps + j * s->depth;
        int usual = 1;
        for (int32_t d = 0; d < s->dim; d += VW) {
            const vec x = s->dim - d < VW ? v_load_some(k + d, s->dim - d) : v_load(k + d), kept = bounded(x);
            usual &= v_every(v_equal(x, kept));
            if (s->depth - d < VW)
                v_store_some(to + d, exp_twice(kept), s->depth - d);
            else
                v_store(to + d, exp_twice(kept));
        }
        s->usual[j] = usual;
    }
}

/* The rest of pass 1. */
static void take_queries(additive_block *a, const additive_scratch *s) {
    a->unusual = 0;
    for (int32_t x = 0; x < a->b.vectors; x++) {
        vec usual = v_set1(1);
        for (int32_t d = 0; d < s->depth; d++) {
            const vec q = d < s->dim ? v_load(a->b.q + d * LANES + x * VW) : v_zero(), kept = bounded(q);
            usual = v_select(v_equal(q, kept), usual, v_zero());
            v_store(a->exps + d * LANES + x * VW, exp_twice(kept));
        }
        v_store(a->usual + x * VW, usual);
        a->unusual |= !v_every(v_equal(usual, v_set1(1)));
    }
}

/* ---- pass 3 ---- */

/* sum_d energy_d tanh(q_d + k_d) for `vectors` vectors from q on. */
INLINE void direct_scores(const int vectors, const additive_scratch *s, const float *q, const float *k, vec *score) {
#pragma GCC unroll 4
    for (int x = 0; x < vectors; x++) {
        vec sum = v_zero();
        for (int32_t d = 0; d < s->dim; d += GROUP) {
            vec part = v_zero();
            for (int32_t i = d; i < d + GROUP && i < s->dim; i++) {
                const vec bent = capped(v_add(v_load(q + i * LANES + x * VW), v_set1(k[i])), 1);
                part = v_fma(v_set1(s->weights[i] * -0.5f), bent, part);
            }
            sum = v_add(sum, part);
        }
        score[x] = sum;
    }
}

/* sum of w / x over a group. */
INLINE vec group_of(const vec x0, const vec x1, const vec x2, const vec x3, const float *w) {
    const vec n = v_fma(v_set1(w[0]), x1, v_mul(v_set1(w[1]), x0)),
              m = v_fma(v_set1(w[2]), x3, v_mul(v_set1(w[3]), x2));
    const vec p = v_mul(x0, x1), r = v_mul(x2, x3);
    return v_div(v_fma(n, r, v_mul(m, p)), v_mul(p, r));
}

INLINE void shared_scores(const int vectors, const additive_scratch *s, const float *q, const float *k, vec *score) {
    const vec one = v_set1(1);
    const float *w = s->weights;
#pragma GCC unroll 4
    for (int x = 0; x < vectors; x++)
        score[x] = v_set1(s->base);
    for (int32_t d = 0; d < s->depth; d += GROUP, q += GROUP * LANES, k += GROUP, w += GROUP) {
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            const float *from = q + x * VW;
            const vec x0 = v_fma(v_set1(k[0]), v_load(from), one), x1 = v_fma(v_set1(k[1]), v_load(from + LANES), one),
                      x2 = v_fma(v_set1(k[2]), v_load(from + 2 * LANES), one),
                      x3 = v_fma(v_set1(k[3]), v_load(from + 3 * LANES), one);
            score[x] = v_add(score[x], group_of(x0, x1, x2, x3, w));
        }
    }
}

/* Scores of keys begin .. end - 1 of the tile for `vectors` vectors from x0 on, and their maximum of those that a lane sees. */
INLINE void score_keys(const int vectors, const gatun__attention_task *t, const additive_block *a,
    const additive_scratch *s, int32_t x0, int32_t first_key, int32_t begin, int32_t end, vec *maximum) {
    const vec minus_inf = v_set1(-INFINITY), power = v_set1(s->power);
    for (int32_t j = begin; j < end; j++) {
        const float *k = t->k + (first_key + j) * t->k_row;
        vec score[QV], direct[QV];
        if (s->usual[j]) {
            shared_scores(vectors, s, a->exps + x0 * VW, s->exps + j * s->depth, score);
            if (a->unusual) {
                direct_scores(vectors, s, a->b.q + x0 * VW, k, direct);
#pragma GCC unroll 4
                for (int x = 0; x < vectors; x++)
                    score[x] = v_select(v_equal(v_load(a->usual + (x0 + x) * VW), v_set1(1)), score[x], direct[x]);
            }
        } else {
            direct_scores(vectors, s, a->b.q + x0 * VW, k, score);
        }
#pragma GCC unroll 4
        for (int x = 0; x < vectors; x++) {
            const vec scaled = v_mul(score[x], power);
            v_store(s->scores + j * LANES + (x0 + x) * VW, scaled);
            const vmask sees = v_int_above(v_load_int(a->b.limit + (x0 + x) * VW), first_key + j);
            maximum[x] = v_max(maximum[x], v_select(sees, scaled, minus_inf));
        }
    }
}

typedef void score_function(const gatun__attention_task *t, const additive_block *a, const additive_scratch *s,
    int32_t x0, int32_t first_key, int32_t begin, int32_t end, float *maximum);

#define SCORE(n)                                                                                                       \
    static __attribute__((noinline)) void score_##n(const gatun__attention_task *t, const additive_block *a,           \
        const additive_scratch *s, int32_t x0, int32_t first_key, int32_t begin, int32_t end, float *maximum) {        \
        vec most[QV];                                                                                                  \
        for (int x = 0; x < n; x++)                                                                                    \
            most[x] = v_load(maximum + (x0 + x) * VW);                                                                 \
        score_keys(n, t, a, s, x0, first_key, begin, end, most);                                                       \
        for (int x = 0; x < n; x++)                                                                                    \
            v_store(maximum + (x0 + x) * VW, most[x]);                                                                 \
    }
EACH_VECTORS(SCORE)
#undef SCORE
#define SCORE(n) score_##n,
static score_function *const score_functions[QV] = {EACH_VECTORS(SCORE)};
#undef SCORE

/* ---- few rows ---- */

/* Pass 2 for few rows: exps [depth][TILE_KEYS]. */
static void take_keys_across(
    const gatun__attention_task *t, int32_t first_key, int32_t keys, const additive_scratch *s) {
    for (int32_t j = 0; j < keys; j += VW) {
        const float *k = t->k + (first_key + j) * t->k_row;
        const int32_t count = keys - j < VW ? keys - j : VW;
        vec usual = v_set1(1);
        for (int32_t d = 0; d < s->dim; d += VW) {
            vec r[VW];
            for (int32_t i = 0; i < VW; i++)
                r[i] = i >= count         ? v_zero()
                       : s->dim - d >= VW ? v_load(k + i * t->k_row + d)
                                          : v_load_some(k + i * t->k_row + d, s->dim - d);
            v_transpose(r);
            for (int32_t i = 0; i < VW && d + i < s->depth; i++) {
                const vec kept = bounded(r[i]);
                usual = v_select(v_equal(r[i], kept), usual, v_zero());
                v_store(s->exps + (d + i) * GATUN__TILE_KEYS + j, exp_twice(kept));
            }
        }
        float flags[VW];
        v_store(flags, usual);
        for (int32_t i = 0; i < count; i++)
            s->usual[j + i] = flags[i] == 1;
    }
}

/* Pass 3 for few rows: lanes are keys, one row after the other. The same operations on the same numbers, hence the same bits. */
static void score_across(const gatun__attention_task *t, const additive_block *a, const additive_scratch *s,
    int32_t first_key, int32_t keys, float *maximum) {
    const vec one = v_set1(1), power = v_set1(s->power), minus_inf = v_set1(-INFINITY);
    for (int32_t j = 0; j < keys; j++)
        v_store(s->scores + j * LANES, v_zero());
    for (int32_t lane = 0; lane < a->b.lanes; lane++)
        for (int32_t j = 0; j < keys; j += VW) {
            const float *q = a->exps + lane, *k = s->exps + j;
            vec score = v_set1(s->base);
            for (int32_t d = 0; d < s->depth; d += GROUP, q += GROUP * LANES, k += GROUP * GATUN__TILE_KEYS) {
                const vec x0 = v_fma(v_load(k), v_set1(q[0]), one),
                          x1 = v_fma(v_load(k + GATUN__TILE_KEYS), v_set1(q[LANES]), one),
                          x2 = v_fma(v_load(k + 2 * GATUN__TILE_KEYS), v_set1(q[2 * LANES]), one),
                          x3 = v_fma(v_load(k + 3 * GATUN__TILE_KEYS), v_set1(q[3 * LANES]), one);
                score = v_add(score, group_of(x0, x1, x2, x3, s->weights + d));
            }
            float scores[VW];
            v_store(scores, v_mul(score, power));
            for (int32_t i = 0; i < VW && j + i < keys; i++)
                s->scores[(j + i) * LANES + lane] = scores[i];
        }
    vec most = v_load(maximum);
    for (int32_t j = 0; j < keys; j++) {
        float *at = s->scores + j * LANES;
        if (a->unusual || !s->usual[j]) {
            const vec usual = v_load(a->usual);
            vec direct[QV];
            direct_scores(1, s, a->b.q, t->k + (first_key + j) * t->k_row, direct);
            direct[0] = v_mul(direct[0], power);
            v_store(at, s->usual[j] ? v_select(v_equal(usual, one), v_load(at), direct[0]) : direct[0]);
        }
        most = v_max(most, v_select(v_int_above(v_load_int(a->b.limit), first_key + j), v_load(at), minus_inf));
    }
    v_store(maximum, most);
}

/* ---- the task ---- */

/* Passes 3 and 4 of a tile whose first keys some lane sees. */
static void run_tile(const gatun__attention_task *t, const additive_block *a, const additive_scratch *s,
    int32_t first_key, int32_t keys) {
    enum { CHAIN = GATUN__CHAIN_KEYS };
    const block_state *b = &a->b;
    const int32_t vectors = b->vectors;
    const vec minus_inf = v_set1(-INFINITY);
    keys = keys < b->limit_most - first_key ? keys : b->limit_most - first_key;
    const int32_t dense = b->limit_least - first_key;
    /* Keys that some lane of a vector sees: limits do not fall from lane to lane. */
    int32_t seen[QV];
    float maximum[LANES];
    memcpy(maximum, b->maximum, sizeof maximum);
    for (int32_t x = 0, begin = 0; x < vectors; x++) {
        const int32_t most = b->limit[(x + 1) * VW - 1] - first_key;
        seen[x] = most < 0 ? 0 : most > keys ? keys : most;
        if (s->across)
            score_across(t, a, s, first_key, seen[x], maximum);
        else if (begin < seen[x])
            score_functions[vectors - x - 1](t, a, s, x, first_key, begin, seen[x], maximum);
        begin = seen[x] > begin ? seen[x] : begin;
    }
    softmax soft;
    memcpy(soft.limit, b->limit, sizeof soft.limit);
    for (int32_t x = 0; x < vectors; x++) {
        const vec most = v_load(maximum + x * VW), old = v_load(b->maximum + x * VW);
        const vec reference = v_select(v_equal(most, minus_inf), v_zero(), most);
        v_store(s->alpha + x * VW, v_select(v_equal(old, minus_inf), v_zero(), v_exp2(v_sub(old, reference))));
        v_store(soft.reference + x * VW, reference);
        v_store(soft.sum + x * VW, v_zero());
    }
    for (int32_t j = 0; j < keys; j += CHAIN) {
        const int32_t chain = keys - j < CHAIN ? keys - j : CHAIN;
        const int masked = j + chain > dense;
        chain_of_keys next = {.v = t->v + (first_key + j) * t->v_row,
            .p = s->scores + j * LANES,
            .live = masked ? s->live + j * QV : NULL,
            .keys = chain,
            .vectors = vectors,
            .out = b->out,
            .first = first_key == 0 && j == 0,
            .rescale = j == 0,
            .alpha = s->alpha};
        for (int32_t x = 0; x < vectors; x++) {
            next.end[x] = seen[x] < j ? 0 : seen[x] - j < chain ? seen[x] - j : chain;
            vec sum = v_zero();
            float *at = s->scores + j * LANES + x * VW;
            for (int32_t i = 0; i < next.end[x]; i++, at += LANES) {
                sum = v_add(sum, prob_of_score(masked, &soft, at, first_key + j + i, x));
                if (masked)
                    s->live[(j + i) * QV + x] = v_int_above(v_load_int(b->limit + x * VW), first_key + j + i);
            }
            v_store(soft.sum + x * VW, v_add(v_load(soft.sum + x * VW), sum));
        }
        finish(&next, t->v_row, t->head_dim_v);
    }
    for (int32_t x = 0; x < vectors; x++) {
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), v_load(s->alpha + x * VW), v_load(soft.sum + x * VW)));
        v_store(b->maximum + x * VW, v_load(maximum + x * VW));
    }
}

static void *carve(char **scratch, size_t bytes) {
    char *part = *scratch;
    *scratch += (bytes + 63) & ~(size_t)63;
    return part;
}

static float *carve_floats(char **scratch, size_t count) {
    return carve(scratch, count * sizeof(float));
}

/* Energies in units of a power of two: the largest is 1 or more, times log2(e) below 4. */
static void take_energy(const float *energy, additive_scratch *s) {
    double sum = 0, magnitudes = 0;
    float most = 0;
    for (int32_t d = 0; d < s->dim; d++) {
        sum += (double)energy[d];
        magnitudes += fabs((double)energy[d]);
        most = fabsf(energy[d]) > most ? fabsf(energy[d]) : most;
    }
    int exponent = 0;
    (void)frexp((double)most, &exponent);
    const double unit = ldexp(1, exponent - 1), factor = GATUN__LOG2_E / unit;
    const int defined = magnitudes * GATUN__LOG2_E < (double)FLT_MAX; /* false for NaN */
    s->power = defined ? (float)unit : NAN;
    s->base = defined ? (float)(sum * factor) : 0;
    for (int32_t d = 0; d < s->depth; d++)
        s->weights[d] = d < s->dim && defined ? (float)((double)energy[d] * factor * -2) : 0;
}

/* Divides the scratch of a task as gatun__additive_scratch_bytes adds it up; returns the number of blocks. */
static int32_t begin_task(
    const gatun__additive_task *task, additive_scratch *s, additive_block blocks[GATUN__MAX_BLOCKS]) {
    _Static_assert(LANES == KERNEL(block_lanes), "kernels.inc says how many queries a block has");
    _Static_assert(QV * sizeof(vmask) <= LANES * sizeof(float), "masks fit the scratch that they are given");
    const gatun__attention_task *t = &task->attention;
    const size_t depth = (size_t)(t->head_dim + GROUP - 1) / GROUP * GROUP, dim_v = (size_t)t->head_dim_v;
    char *scratch = t->scratch;
    *s = (additive_scratch){.scores = carve_floats(&scratch, GATUN__TILE_KEYS * LANES),
        .live = carve(&scratch, GATUN__TILE_KEYS * LANES * sizeof(float)),
        .alpha = carve_floats(&scratch, LANES),
        .dim = t->head_dim,
        .depth = (int32_t)depth,
        .across = 2 * (t->lane_end - t->lane_begin) <= VW};
    s->exps = carve_floats(&scratch, GATUN__TILE_KEYS * depth);
    s->usual = carve(&scratch, GATUN__TILE_KEYS * sizeof(int32_t));
    s->weights = carve_floats(&scratch, depth);
    if (t->visible.keys > 0) /* else it may be NULL */
        take_energy(task->energy, s);
    int32_t count = 0;
    for (int64_t lane = t->lane_begin; lane < t->lane_end; lane += LANES) {
        additive_block *a = &blocks[count++];
        block_state *b = &a->b;
        b->q = carve_floats(&scratch, depth * LANES);
        a->exps = carve_floats(&scratch, depth * LANES);
        a->usual = carve_floats(&scratch, LANES);
        b->out = carve_floats(&scratch, dim_v * LANES);
        b->limit = carve(&scratch, LANES * sizeof(int32_t));
        b->first = NULL;
        b->maximum = carve_floats(&scratch, LANES);
        b->sum = carve_floats(&scratch, LANES);
        if (t->visible.keys > GATUN__SPLIT_KEYS) {
            b->merged_out = carve(&scratch, dim_v * LANES * sizeof(double));
            b->merged_sum = carve(&scratch, LANES * sizeof(double));
            b->merged_maximum = carve_floats(&scratch, LANES);
        }
        begin_block(t, b, lane);
        take_queries(a, s);
    }
    return count;
}

void KERNEL(additive_f32)(gatun__additive_task *task) {
    const gatun__attention_task *t = &task->attention;
    additive_scratch s;
    additive_block blocks[GATUN__MAX_BLOCKS];
    const int32_t count = begin_task(task, &s, blocks);
    int32_t most = 0;
    for (int32_t i = 0; i < count; i++)
        most = blocks[i].b.limit_most > most ? blocks[i].b.limit_most : most;
    const int merged = most > GATUN__SPLIT_KEYS;
    for (int32_t split = 0; split < most; split += GATUN__SPLIT_KEYS) {
        const int32_t end = most - split < GATUN__SPLIT_KEYS ? most : split + GATUN__SPLIT_KEYS;
        for (int32_t key = split; key < end; key += GATUN__TILE_KEYS) {
            const int32_t keys = end - key < GATUN__TILE_KEYS ? end - key : GATUN__TILE_KEYS;
            if (s.across)
                take_keys_across(t, key, keys, &s);
            else
                take_keys(t, key, keys, &s);
            for (int32_t i = 0; i < count; i++)
                if (blocks[i].b.limit_most > key)
                    run_tile(t, &blocks[i], &s, key, keys);
        }
        for (int32_t i = 0; merged && i < count; i++)
            merge_split(t, &blocks[i].b, split == 0);
    }
    for (int32_t i = 0; i < count; i++) {
        if (merged)
            take_merged(t, &blocks[i].b);
        /* Scores are never -inf, and masked keys have been selected away: no row is to be computed again. */
        (void)write_rows(t, &blocks[i].b, 1);
        if (t->lse != NULL)
            write_lse(t, &blocks[i].b);
    }
}
