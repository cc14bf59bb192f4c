/*
 * Attention with products of bfloat16 (GATUN_ATTENTION_BF16), for AVX512_BF16. Axes and lanes as in attention_f32.h.
 *
 * q, k, v and probs are rounded to bf16 where they are multiplied; vdpbf16ps adds two such products to every float. So d, of
 * queries and keys, and keys, of probs and values, lie in pairs, a pair in the space of a float:
 *   queries [D / 2][LANES], k tile [TILE_KEYS][D / 2], v tile [TILE_KEYS / 2][D_v], probs [TILE_KEYS / 2][LANES], of pairs
 *   scores [TILE_KEYS][LANES], output [D_v][LANES], of floats
 * Scores, their maximum, exponentials, sums and the output are float32.
 *
 * Algorithm: a task packs each tile of keys and values once, for all its blocks of queries. An item is a tile and a block.
 *   begin_item   scores of an item and their maximum
 *   finish_item  its probs, pair by pair, and meanwhile the products of the item before with its values: a register block of
 *                8 columns x 2 vectors takes the pairs of keys one after the other, and between two steps of it lies a part of
 *                an exponential, whose instructions run on other pipes but for three. Volatile assembly keeps that order.
 * A score is one chain over d, an output one over the pairs of a tile, and tiles are added one after the other, so that nothing
 * but its own query, keys and values decides the bits of a row.
 *
 * What is not finite. A float that is too large for bf16 becomes the largest number that is not. A score of -inf, whose prob is 0,
 * is a mask. NaN and Inf in masked values reach other rows of a block, since 0 * NaN is NaN: a lane whose result is not finite
 * is computed again, alone, with values of 0 for the keys that it does not see. A lane whose scores are not numbers, or all
 * -inf, is one for attention_f32 of the tier: queries or scores may have left the range of float.
 *
 * Registers: 16 accumulators, 2 vectors of probs, a value, 2 sums, the order of words, the key, 2 probs to be packed, and what
 * is left of 32 for two exponentials on their way, whose constants are memory operands.
 */
#include "../vectors/vectors_avx512.h"
#include "gatun.h"
#include "kernels.h"

#define TIER avx512bf16
#define QV   2

#include "attention_lanes.h"

#include <string.h>

enum {
    TILE = GATUN__TILE_KEYS,
    ROWS = 8,         /* keys of a register block of scores, of both vectors */
    ROWS_SINGLE = 16, /* of one vector; a k tile is filled up with zeros to a multiple of it */
    COLUMNS = 8,
    COLUMNS_SINGLE = 16,
};

/* ---- bf16 ---- */

/* Words of an even and an odd vector, in turn. */
static const uint16_t in_turn[32] __attribute__((aligned(64))) = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
    23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

INLINE vec words_in_turn(void) {
    return _mm512_castsi512_ps(_mm512_load_si512(in_turn));
}

/* Rounded to bf16, one behind the other. */
INLINE vec round_two(vec low, vec high) {
    vec r;
    __asm__ volatile("vcvtne2ps2bf16 %1, %2, %0" : "=v"(r) : "v"(low), "v"(high));
    return r;
}

/* x, but no finite number that would be rounded to Inf. */
INLINE vec saturated(vec x) {
    const vec most = v_set1(0x1.fep127f), least = v_set1(-0x1.fep127f);
    const vmask finite = v_equal(v_sub(x, x), v_zero());
    return v_select(finite, _mm512_min_ps(most, v_max(least, x)), x);
}

INLINE vec in_turns(vec two, vec turn) {
    vec r;
    __asm__ volatile("vpermw %1, %2, %0" : "=v"(r) : "v"(two), "v"(turn));
    return r;
}

INLINE vec pair_up(vec even, vec odd, vec turn) {
    return in_turns(round_two(even, odd), turn);
}

INLINE vec dot(vec sum, vec a, vec b) {
    __asm__ volatile("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

/* ---- exponentials ---- */

/*
 * 2^x as in vectors_avx512.h, by a shorter polynomial: ((r + a) r + b) c with c of the table, relative error 6.6e-7. One FMA and one
 * product take the place of dots, a permutation a part of one.
 */
typedef struct exp2_table {
    float whole[16], magic[16], a[16], b[16], floor[16];
} exp2_table;

#define SIXTEEN(x)                                                                                                     \
    { x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x }
/* 2^(i / 16) * 0.2402194624 */
static const exp2_table table __attribute__((aligned(64))) = {
    {0.2402194624f, 0.2508548866f, 0.2619611813f, 0.2735591936f, 0.2856706938f, 0.2983184160f, 0.3115261006f,
        0.3253185394f, 0.3397216217f, 0.3547623828f, 0.3704690554f, 0.3868711217f, 0.4039993696f, 0.4218859498f,
        0.4405644366f, 0.4600698906f},
    SIXTEEN(0x1.8p19f), SIXTEEN(2.885643921f), SIXTEEN(4.162860065f),
    SIXTEEN(-200.0f), /* 2^-200 is 0; keeps -inf - -inf from being NaN */
};
static const int32_t twos[16] __attribute__((aligned(64))) = SIXTEEN(2);

/* Of one item. */
typedef struct softmax {
    float reference[LANES];  /* what is subtracted: the maximum, or 0 */
    float sum[LANES];        /* of probs */
    int32_t limit[2][LANES]; /* even keys below the first are seen, odd ones whose even neighbor is below the second */
    const float *scores;
    float *probs;
    int32_t first_key, pairs;
} softmax;

#define WITH_MEMORY(name, instruction)                                                                                 \
    INLINE vec name(vec a, const float *b) {                                                                           \
        vec r;                                                                                                         \
        __asm__ volatile(instruction " %2, %1, %0" : "=v"(r) : "v"(a), "m"(*(const vec *)(const void *)b));            \
        return r;                                                                                                      \
    }
WITH_MEMORY(plus, "vaddps")
WITH_MEMORY(minus, "vsubps")
WITH_MEMORY(permuted, "vpermps")
#undef WITH_MEMORY

#define OF_VECTORS(name, instruction)                                                                                  \
    INLINE vec name(vec a, vec b) {                                                                                    \
        vec r;                                                                                                         \
        __asm__ volatile(instruction " %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));                                        \
        return r;                                                                                                      \
    }
OF_VECTORS(add, "vaddps")
OF_VECTORS(minus_vector, "vsubps")
OF_VECTORS(larger, "vmaxps") /* b if one of them is NaN */
OF_VECTORS(times, "vmulps")
OF_VECTORS(scaled, "vscalefps")
#undef OF_VECTORS

/* An exponential on its way. */
typedef struct exponential {
    vec x, t, n, w;
} exponential;

/* Step 0 .. 7 of the prob of a score, which is w in the end. masked: 0 unless key is below the limits. */
INLINE void prob_step(const int step, const int masked, exponential *e, const float *score, const float *reference,
    const int32_t *limit, vint key) {
    switch (step) {
    case 0:
        __asm__ volatile("vmovups %1, %0" : "=v"(e->x) : "m"(*(const vec *)(const void *)score));
        e->x = minus(e->x, reference);
        break;
    case 1:
        __asm__ volatile("vmovaps %1, %0" : "=v"(e->t) : "m"(*(const vec *)(const void *)table.floor));
        e->x = larger(e->t, e->x);
        break;
    case 2:
        e->t = plus(e->x, table.magic);
        break;
    case 3:
        e->n = minus(e->t, table.magic);
        break;
    case 4:
        e->t = permuted(e->t, table.whole);
        e->x = minus_vector(e->x, e->n);
        break;
    case 5:
        e->w = plus(e->x, table.a);
        break;
    case 6:
        __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(e->w) : "v"(e->x), "m"(*(const vec *)(const void *)table.b));
        break;
    default:
        e->w = times(e->w, e->t);
        if (masked) {
            vmask seen;
            __asm__ volatile("vpcmpd $1, %2, %1, %0" : "=Yk"(seen) : "v"(key), "m"(*(const vint *)(const void *)limit));
            __asm__ volatile("vscalefps %2, %1, %0%{%3%}%{z%}" : "=v"(e->w) : "v"(e->w), "v"(e->n), "Yk"(seen));
        } else {
            e->w = scaled(e->w, e->n);
        }
    }
}

/* Step 0 .. 15 of the probs of pair i of vector x: those of both keys in turn. */
INLINE void pair_step(
    const int step, const int masked, const softmax *s, const float *score, const int x, exponential e[2], vint key) {
    const int odd = step % 2;
    prob_step(
        step / 2, masked, &e[odd], score + odd * LANES + x * VW, s->reference + x * VW, s->limit[odd] + x * VW, key);
}

INLINE vint after_next(vint key) {
    __asm__ volatile("vpaddd %1, %0, %0" : "+v"(key) : "m"(*(const vint *)(const void *)twos));
    return key;
}

INLINE void store(float *to, vec a) {
    __asm__ volatile("vmovups %1, %0" : "=m"(*(vec *)(void *)to) : "v"(a));
}

INLINE void probs_from(const int masked, softmax *s, int32_t i, const int vectors) {
    const vec turn = words_in_turn();
    vec sum[QV];
    for (int x = 0; x < vectors; x++)
        sum[x] = v_load(s->sum + x * VW);
    vint key = _mm512_set1_epi32(s->first_key + 2 * i);
    for (; i < s->pairs; i++) {
        for (int x = 0; x < vectors; x++) {
            exponential e[2];
#pragma GCC unroll 16
            for (int step = 0; step < 16; step++)
                pair_step(step, masked, s, s->scores + 2 * i * LANES, x, e, key);
            sum[x] = add(add(sum[x], e[0].w), e[1].w);
            store(s->probs + i * LANES + x * VW, pair_up(e[0].w, e[1].w, turn));
        }
        key = after_next(key);
    }
    for (int x = 0; x < vectors; x++)
        v_store(s->sum + x * VW, sum[x]);
}

static __attribute__((noinline)) void probs_alone(softmax *s, int masked, int32_t i, int vectors) {
    if (masked && vectors == 2)
        probs_from(1, s, i, 2);
    else if (masked)
        probs_from(1, s, i, 1);
    else if (vectors == 2)
        probs_from(0, s, i, 2);
    else
        probs_from(0, s, i, 1);
}

/* ---- values ---- */

/* Probs of an item, to be multiplied with its values. */
typedef struct waiting_item {
    const float *v;     /* [pairs][D_v] */
    const float *p;     /* [pairs][LANES] */
    int32_t pairs;      /* 0: nothing */
    int32_t vectors;    /* of its block */
    float *out;         /* of its block */
    const float *alpha; /* [LANES], by which the old output is multiplied; NULL: there is none yet */
} waiting_item;

INLINE void load_probs(const int vectors, const float *p, vec prob[QV]) {
#pragma GCC unroll 2
    for (int x = 0; x < vectors; x++)
        __asm__ volatile("vmovups %1, %0" : "=v"(prob[x]) : "m"(*(const vec *)(const void *)(p + x * VW)));
}

INLINE void column_step(const int vectors, const float *v, const vec prob[QV], vec acc[QV]) {
    vec value;
    __asm__ volatile("vbroadcastss %1, %0" : "=v"(value) : "m"(*v));
#pragma GCC unroll 2
    for (int x = 0; x < vectors; x++)
        acc[x] = dot(acc[x], prob[x], value);
}

INLINE void add_columns(
    const int columns, const int vectors, vec (*acc)[QV], const waiting_item *w, int32_t first_column) {
    float *out = w->out + first_column * LANES;
    vec alpha[QV];
    for (int x = 0; x < vectors; x++)
        alpha[x] = w->alpha == NULL ? v_zero() : v_load(w->alpha + x * VW);
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 2
        for (int x = 0; x < vectors; x++) {
            float *to = out + c * LANES + x * VW;
            v_store(to, w->alpha == NULL ? acc[c][x] : v_fma(v_load(to), alpha[x], acc[c][x]));
        }
}

INLINE void value_columns(const int columns, const int vectors, const waiting_item *w, int64_t dim, int32_t c) {
    vec acc[COLUMNS_SINGLE][QV];
#pragma GCC unroll 16
    for (int n = 0; n < columns; n++)
#pragma GCC unroll 2
        for (int x = 0; x < vectors; x++)
            acc[n][x] = v_zero();
    const float *v = w->v + c, *p = w->p;
    for (int32_t j = 0; j < w->pairs; j++, v += dim, p += LANES) {
        vec prob[QV];
        load_probs(vectors, p, prob);
#pragma GCC unroll 16
        for (int n = 0; n < columns; n++)
            column_step(vectors, v + n, prob, acc[n]);
    }
    add_columns(columns, vectors, acc, w, c);
}

/* Columns c .. dim - 1. */
INLINE void values_from(const int vectors, const waiting_item *w, int32_t c, int32_t dim) {
    if (vectors == 1)
        for (; c + COLUMNS_SINGLE <= dim; c += COLUMNS_SINGLE)
            value_columns(COLUMNS_SINGLE, vectors, w, dim, c);
    for (; c + COLUMNS <= dim; c += COLUMNS)
        value_columns(COLUMNS, vectors, w, dim, c);
    if (c + 4 <= dim) {
        value_columns(4, vectors, w, dim, c);
        c += 4;
    }
    for (; c < dim; c++)
        value_columns(1, vectors, w, dim, c);
}

static __attribute__((noinline)) void values_alone(const waiting_item *w, int32_t c, int32_t dim) {
    if (w->vectors == 2)
        values_from(2, w, c, dim);
    else
        values_from(1, w, c, dim);
}

/* Both at once, of two vectors. */
INLINE void overlapped(const int masked, const waiting_item *w, int32_t dim, softmax *s) {
    int32_t i = 0, c = 0;
    for (; c + COLUMNS <= dim && i < s->pairs; c += COLUMNS) {
        const vec turn = words_in_turn();
        vec acc[COLUMNS][QV], sum[QV];
#pragma GCC unroll 2
        for (int x = 0; x < QV; x++)
            sum[x] = v_load(s->sum + x * VW);
#pragma GCC unroll 8
        for (int n = 0; n < COLUMNS; n++)
#pragma GCC unroll 2
            for (int x = 0; x < QV; x++)
                acc[n][x] = v_zero();
        const float *v = w->v + c, *p = w->p, *score = s->scores + 2 * i * LANES;
        float *to = s->probs + i * LANES, *before = to;
        vint key = _mm512_set1_epi32(s->first_key + 2 * i);
        /* Probs wait for the steps of the next pair to be packed; those of before are zeros, which the first pair replaces. */
        vec even = v_zero(), odd = v_zero();
        int32_t j = 0;
        for (; j + 4 <= w->pairs && i < s->pairs; j += 4, i++, score += 2 * LANES, to += LANES) {
#pragma GCC unroll 2
            for (int x = 0; x < QV; x++) {
                exponential e[2];
                vec prob[QV];
#pragma GCC unroll 16
                for (int step = 0; step < 16; step++) {
                    if (step % COLUMNS == 0)
                        load_probs(QV, p, prob);
                    column_step(QV, v + step % COLUMNS, prob, acc[step % COLUMNS]);
                    if (step == 3)
                        sum[1 - x] = add(sum[1 - x], even);
                    if (step == 5)
                        even = round_two(even, odd);
                    if (step == 7)
                        sum[1 - x] = add(sum[1 - x], odd);
                    if (step == 11)
                        even = in_turns(even, turn);
                    if (step == 13)
                        store(x == 0 ? before : to, even);
                    pair_step(step, masked, s, score, x, e, key);
                    if (step % COLUMNS == COLUMNS - 1) {
                        v += dim;
                        p += LANES;
                    }
                }
                even = e[0].w;
                odd = e[1].w;
            }
            before = to + VW;
            if (masked)
                key = after_next(key);
        }
        sum[1] = add(add(sum[1], even), odd);
        store(before, pair_up(even, odd, turn));
        for (; j < w->pairs; j++, v += dim, p += LANES) {
            vec prob[QV];
            load_probs(QV, p, prob);
#pragma GCC unroll 8
            for (int n = 0; n < COLUMNS; n++)
                column_step(QV, v + n, prob, acc[n]);
        }
#pragma GCC unroll 2
        for (int x = 0; x < QV; x++)
            v_store(s->sum + x * VW, sum[x]);
        add_columns(COLUMNS, QV, acc, w, c);
    }
    values_alone(w, c, dim);
    if (i < s->pairs)
        probs_alone(s, masked, i, QV);
}

static __attribute__((noinline)) void overlapped_any(const waiting_item *w, int32_t dim, softmax *s) {
    overlapped(0, w, dim, s);
}

static __attribute__((noinline)) void overlapped_masked(const waiting_item *w, int32_t dim, softmax *s) {
    overlapped(1, w, dim, s);
}

/* ---- scores ---- */

/* Scores of the keys key .. key + rows - 1, which k begins with, and the largest one that a lane sees. */
INLINE void score_rows(const int rows, const int vectors, const int masked, const float *k, int64_t pairs,
    const float *q, float *scores, const int32_t *limit, int32_t key, vec *most) {
    vec acc[ROWS_SINGLE][QV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int x = 0; x < vectors; x++)
            acc[r][x] = v_zero();
    for (int64_t d = 0; d < pairs; d++) {
        vec query[QV];
#pragma GCC unroll 2
        for (int x = 0; x < vectors; x++)
            query[x] = v_load(q + d * LANES + x * VW);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            column_step(vectors, k + r * pairs + d, query, acc[r]);
    }
    const vec minus_inf = v_set1(-INFINITY);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int x = 0; x < vectors; x++) {
            v_store(scores + r * LANES + x * VW, acc[r][x]);
            if (masked)
                acc[r][x] = v_select(v_int_above(v_load_int(limit + x * VW), key + r), acc[r][x], minus_inf);
            most[x] = v_max(most[x], acc[r][x]);
        }
}

/* ---- items ---- */

/* Scratch of a thread. */
typedef struct tile_scratch {
    float *k, *v[2], *scores, *probs[2];
    float *alpha[2];
    int which; /* of probs and alpha the next item takes */
    waiting_item waiting;
} tile_scratch;

INLINE void score_tile(const int vectors, const block_state *b, int32_t first_key, int32_t keys, int64_t pairs,
    const tile_scratch *tile, softmax *s, float *alpha) {
    const int rows = vectors == 1 ? ROWS_SINGLE : ROWS;
    vec most[QV], old[QV];
    for (int x = 0; x < vectors; x++)
        most[x] = old[x] = v_load(b->maximum + x * VW);
    for (int32_t key = 0; key < keys; key += rows) {
        const float *k = tile->k + key * pairs;
        float *scores = tile->scores + key * LANES;
        const int32_t at = first_key + key;
        if (at + rows <= b->limit_least)
            score_rows(rows, vectors, 0, k, pairs, b->q, scores, b->limit, at, most);
        else
            score_rows(rows, vectors, 1, k, pairs, b->q, scores, b->limit, at, most);
    }
    for (int x = 0; x < vectors; x++) {
        const vec none = v_set1(-INFINITY);
        const vec reference = v_select(v_equal(most[x], none), v_zero(), most[x]);
        v_store(s->reference + x * VW, reference);
        v_store(alpha + x * VW,
            v_select(v_equal(old[x], none), v_zero(), v_exp2(v_sub(old[x], reference)))); /* exactly 1 if it stays */
        v_store(s->sum + x * VW, v_zero());
        v_store(b->maximum + x * VW, most[x]);
    }
}

static __attribute__((noinline)) void score_tile_1(const block_state *b, int32_t first_key, int32_t keys, int64_t pairs,
    const tile_scratch *tile, softmax *s, float *alpha) {
    score_tile(1, b, first_key, keys, pairs, tile, s, alpha);
}

static __attribute__((noinline)) void score_tile_2(const block_state *b, int32_t first_key, int32_t keys, int64_t pairs,
    const tile_scratch *tile, softmax *s, float *alpha) {
    score_tile(2, b, first_key, keys, pairs, tile, s, alpha);
}

static void finish_waiting(tile_scratch *tile, int32_t dim) {
    if (tile->waiting.pairs > 0)
        values_alone(&tile->waiting, 0, dim);
    tile->waiting.pairs = 0;
}

/* Values of 0 for the keys of a tile that the first lane does not see, by their scores. */
static void clear_values(const float *scores, int32_t keys, int64_t dim, float *v) {
    for (int32_t j = 0; j < keys; j++)
        for (int64_t c = 0; scores[j * LANES] == -INFINITY && c < dim; c++)
            memset((char *)&v[j / 2 * dim + c] + j % 2 * 2, 0, 2);
}

/* The tile that begins at first_key, of which so many keys are packed, for one block; alone: of one lane. */
static void run_item(const gatun__attention_task *t, const block_state *b, int alone, int32_t first_key, int32_t keys,
    float *v, tile_scratch *tile) {
    if (keys > b->limit_most - first_key)
        keys = b->limit_most - first_key;
    const int64_t dim_pairs = (t->head_dim + 1) / 2;
    softmax s __attribute__((aligned(64)));
    s.scores = tile->scores;
    s.probs = tile->probs[tile->which];
    s.first_key = first_key;
    s.pairs = (keys + 1) / 2;
    for (int i = 0; i < LANES; i++) {
        s.limit[0][i] = b->limit[i];
        s.limit[1][i] = b->limit[i] - 1;
    }
    float *alpha = tile->alpha[tile->which];
    tile->which = !tile->which;
    const int masked = first_key + 2 * s.pairs > b->limit_least;
    if (b->vectors == 2)
        score_tile_2(b, first_key, keys, dim_pairs, tile, &s, alpha);
    else
        score_tile_1(b, first_key, keys, dim_pairs, tile, &s, alpha);
    if (alone)
        clear_values(tile->scores, keys, t->head_dim_v, v);
    if (tile->waiting.pairs > 0 && tile->waiting.vectors == 2 && b->vectors == 2) {
        if (masked)
            overlapped_masked(&tile->waiting, t->head_dim_v, &s);
        else
            overlapped_any(&tile->waiting, t->head_dim_v, &s);
    } else {
        finish_waiting(tile, t->head_dim_v);
        probs_alone(&s, masked, 0, b->vectors);
    }
    for (int x = 0; x < b->vectors; x++)
        v_store(b->sum + x * VW, v_fma(v_load(b->sum + x * VW), v_load(alpha + x * VW), v_load(s.sum + x * VW)));
    tile->waiting = (waiting_item){.v = v,
        .p = s.probs,
        .pairs = s.pairs,
        .vectors = b->vectors,
        .out = b->out,
        .alpha = first_key == 0 ? NULL : alpha};
}

/* ---- packing ---- */

/* Elements first .. first + VW - 1 of a row of dim, of which those from dim on are 0. */
INLINE vec load_elements(const int32_t dtype, const float *row, int64_t first, int64_t dim) {
    const int64_t left = dim - first;
    if (left <= 0)
        return v_zero();
    if (dtype == GATUN_DTYPE_F32)
        return left >= VW ? v_load(row + first) : v_load_some(row + first, (int32_t)left);
    const __mmask16 some = left >= VW ? 0xffff : (__mmask16)((1u << left) - 1);
    const __m256i half = _mm256_maskz_loadu_epi16(some, (const uint16_t *)(const void *)row + first);
    return dtype == GATUN_DTYPE_BF16 ? _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))
                                     : _mm512_cvtph_ps(half);
}

/* Rows of keys, and zeros up to a multiple of ROWS_SINGLE. Each row is written beyond its end, where the next one follows. */
INLINE void pack_keys_of(
    const int32_t dtype, const gatun__attention_task *t, int32_t first_key, int32_t keys, float *to) {
    const int64_t dim = t->head_dim, pairs = (dim + 1) / 2;
    for (int32_t j = 0; j < keys; j++, to += pairs) {
        const float *row = gatun__row_at(t, t->k, t->k_row, first_key + j);
        for (int64_t d = 0; d < dim; d += 2 * VW) {
            const vec low = load_elements(dtype, row, d, dim), high = load_elements(dtype, row, d + VW, dim);
            v_store(to + d / 2, round_two(saturated(low), saturated(high)));
        }
    }
    memset(to, 0, (size_t)(-keys & (ROWS_SINGLE - 1)) * (size_t)pairs * sizeof *to);
}

INLINE void pack_values_of(
    const int32_t dtype, const gatun__attention_task *t, int32_t first_key, int32_t keys, float *to) {
    const int64_t dim = t->head_dim_v;
    const vec turn = words_in_turn();
    for (int32_t j = 0; j < keys; j += 2, to += dim) {
        const float *row = gatun__row_at(t, t->v, t->v_row, first_key + j);
        const float *next = j + 1 < keys ? gatun__row_at(t, t->v, t->v_row, first_key + j + 1) : NULL;
        for (int64_t c = 0; c < dim; c += VW) {
            const vec even = load_elements(dtype, row, c, dim);
            const vec odd = next != NULL ? load_elements(dtype, next, c, dim) : v_zero();
            v_store(to + c, pair_up(saturated(even), saturated(odd), turn));
        }
    }
}

static void pack_tile(const gatun__attention_task *t, int32_t first_key, int32_t keys, float *k, float *v) {
    if (t->widen == NULL) {
        pack_keys_of(GATUN_DTYPE_F32, t, first_key, keys, k);
        pack_values_of(GATUN_DTYPE_F32, t, first_key, keys, v);
    } else if (t->kv_dtype == GATUN_DTYPE_BF16) {
        pack_keys_of(GATUN_DTYPE_BF16, t, first_key, keys, k);
        pack_values_of(GATUN_DTYPE_BF16, t, first_key, keys, v);
    } else {
        pack_keys_of(GATUN_DTYPE_F16, t, first_key, keys, k);
        pack_values_of(GATUN_DTYPE_F16, t, first_key, keys, v);
    }
}

/* ---- blocks ---- */

static void begin_block(
    const gatun__attention_task *t, block_state *b, int64_t lane_begin, int64_t lane_end, float *wide) {
    const int64_t lanes = lane_end - lane_begin;
    b->lane_begin = lane_begin;
    b->lanes = lanes < LANES ? (int32_t)lanes : LANES;
    b->vectors = (b->lanes + VW - 1) / VW;
    set_limits(t, b, b->limit, NULL, LANES);
    b->limit_least = b->limit[0];
    b->limit_most = b->limit[b->lanes - 1];
    block_state floats = *b;
    floats.q = wide;
    transpose_queries(t, &floats, LANES);
    const vec turn = words_in_turn();
    for (int32_t d = 0; d < t->head_dim; d += 2)
        for (int x = 0; x < b->vectors; x++) {
            const float *from = wide + d * LANES + x * VW;
            const vec odd = d + 1 < t->head_dim ? v_load(from + LANES) : v_zero();
            v_store(b->q + d / 2 * LANES + x * VW, pair_up(saturated(v_load(from)), saturated(odd), turn));
        }
    for (int32_t i = 0; i < LANES; i++) {
        b->maximum[i] = -INFINITY;
        b->sum[i] = 0;
    }
    if (b->limit_most == 0)
        memset(b->out, 0, (size_t)t->head_dim_v * LANES * sizeof(float));
}

/* alone: of one lane, see run_item. */
static void run_keys(
    const gatun__attention_task *t, const block_state *blocks, int32_t count, int alone, tile_scratch *tile) {
    int32_t most = 0;
    for (int32_t i = 0; i < count; i++)
        most = blocks[i].limit_most > most ? blocks[i].limit_most : most;
    for (int32_t key = 0; key < most; key += TILE) {
        const int32_t keys = most - key < TILE ? most - key : TILE;
        float *v = tile->v[key / TILE % 2]; /* the waiting item needs the other one */
        pack_tile(t, key, keys, tile->k, v);
        for (int32_t i = 0; i < count; i++)
            if (key < blocks[i].limit_most)
                run_item(t, &blocks[i], alone, key, keys, v, tile);
    }
    finish_waiting(tile, t->head_dim_v);
}

/* A bit for each lane. */
typedef struct bad_lanes {
    uint32_t scores; /* that are no numbers, or all -inf */
    uint32_t values; /* a result is not finite */
} bad_lanes;

/* Rows out[lane][:] / sum. */
static bad_lanes write_rows(const gatun__attention_task *t, const block_state *b, int canonical_nan) {
    bad_lanes bad = {0};
    for (int32_t x = 0; x < b->vectors; x++) {
        const int32_t lanes = b->lanes - x * VW < VW ? b->lanes - x * VW : VW;
        int64_t at[VW];
        find_rows(t, t->out_row, t->out_head, b->lane_begin + x * VW, lanes, at);
        const vec sum = v_load(b->sum + x * VW);
        const vmask empty = v_equal(sum, v_zero());
        const vec inverse = v_select(empty, v_zero(), v_div(v_set1(1.0f), sum));
        /* 0, or NaN where a result is not finite; several, so that none waits for the one before. */
        vec check[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int32_t c = 0; c < t->head_dim_v; c += VW) {
            const float *from = b->out + c * LANES + x * VW;
            const int32_t count = t->head_dim_v - c < VW ? t->head_dim_v - c : VW;
            vec r[VW];
#pragma GCC unroll 16
            for (int32_t i = 0; i < VW; i++) {
                /* + 0 turns -0 into 0: the sign of an exact zero would depend on masked places. */
                r[i] = i < count ? v_add(v_mul(v_load(from + i * LANES), inverse), v_zero()) : v_zero();
                check[i % 4] = v_add(check[i % 4], v_sub(r[i], r[i]));
                if (canonical_nan)
                    r[i] = v_select(v_equal(r[i], r[i]), r[i], v_set1(NAN));
            }
            v_transpose(r);
            if (lanes == VW && count == VW) {
#pragma GCC unroll 16
                for (int32_t i = 0; i < VW; i++)
                    v_store(t->out + at[i] + c, r[i]);
                continue;
            }
            for (int32_t i = 0; i < lanes; i++)
                v_store_some(t->out + at[i] + c, r[i], count);
        }
        const vec all = v_add(v_add(check[0], check[1]), v_add(check[2], check[3]));
        const uint32_t exist = (1u << lanes) - 1; /* others may be anything */
        const vmask lost = empty & v_int_above(v_load_int(b->limit + x * VW), 0);
        bad.scores |= ((~(uint32_t)v_equal(v_sub(sum, sum), v_zero()) | lost) & exist) << x * VW;
        bad.values |= (~(uint32_t)v_equal(all, v_zero()) & exist) << x * VW;
    }
    bad.values &= ~bad.scores;
    return bad;
}

/* ---- the task ---- */

static float *carve(char **scratch, int64_t bytes) {
    char *part = *scratch;
    *scratch += (bytes + 63) & ~(int64_t)63;
    return (float *)(void *)part;
}

/* Lanes that are bad; see above. Takes the scratch of all blocks. */
static __attribute__((noinline)) void run_again(gatun__attention_task *t, const block_state *blocks,
    const bad_lanes *bad, int32_t count, tile_scratch *tile, float *wide) {
    for (int32_t i = 0; i < count; i++) {
        t->redone += (bad[i].scores | bad[i].values) != 0;
        for (int32_t lane = 0; lane < LANES; lane++) {
            if ((bad[i].values >> lane & 1) == 0)
                continue;
            block_state one = blocks[i];
            begin_block(t, &one, blocks[i].lane_begin + lane, blocks[i].lane_begin + lane + 1, wide);
            run_keys(t, &one, 1, 1, tile);
            write_rows(t, &one, 1);
        }
    }
    int64_t begin = -1; /* of a run of lanes */
    for (int64_t lane = t->lane_begin; lane <= t->lane_end; lane++) {
        const int64_t at = lane - t->lane_begin;
        const int is_bad = lane < t->lane_end && (bad[at / LANES].scores >> at % LANES & 1) != 0;
        if (is_bad && begin < 0)
            begin = lane;
        if (is_bad || begin < 0)
            continue;
        gatun__attention_task floats = *t;
        floats.lane_begin = begin;
        floats.lane_end = lane;
        floats.cold = 0;
        floats.next_q = NULL;
        gatun__attention_f32_avx512(&floats);
        begin = -1;
    }
}

void KERNEL(attention_bf16)(gatun__attention_task *t) {
    _Static_assert(LANES == gatun__block_lanes_avx512, "blocks are those of the plan");
    const int64_t pairs = (t->head_dim + 1) / 2, f = sizeof(float);
    char *scratch = t->scratch;
    tile_scratch tile = {.scores = carve(&scratch, TILE * LANES * f)};
    for (int i = 0; i < 2; i++) {
        tile.probs[i] = carve(&scratch, TILE / 2 * LANES * f);
        tile.alpha[i] = carve(&scratch, LANES * f);
        tile.v[i] = carve(&scratch, (TILE / 2 * t->head_dim_v + VW) * f);
    }
    tile.k = carve(&scratch, (TILE * pairs + VW) * f);
    float *wide = carve(&scratch, t->head_dim * LANES * f);
    block_state blocks[GATUN__MAX_BLOCKS];
    int32_t count = 0;
    for (int64_t lane = t->lane_begin; lane < t->lane_end; lane += LANES, count++) {
        block_state *b = &blocks[count];
        *b = (block_state){.q = carve(&scratch, pairs * LANES * f)};
        b->out = carve(&scratch, t->head_dim_v * LANES * f);
        b->limit = (int32_t *)(void *)carve(&scratch, LANES * f);
        b->maximum = carve(&scratch, LANES * f);
        b->sum = carve(&scratch, LANES * f);
        begin_block(t, b, lane, t->lane_end, wide);
    }
    run_keys(t, blocks, count, 0, &tile);
    bad_lanes bad[GATUN__MAX_BLOCKS];
    uint32_t any = 0;
    for (int32_t i = 0; i < count; i++) {
        bad[i] = write_rows(t, &blocks[i], 0);
        if (t->lse != NULL)
            write_lse(t, &blocks[i]);
        any |= bad[i].scores | bad[i].values;
    }
    if (any != 0)
        run_again(t, blocks, bad, count, &tile, wide);
}
