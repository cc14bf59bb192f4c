/*
 * Products with packed int8 weights. Each row of x becomes uint8_t with a scale and a zero point of its own, then sums are of
 * integers and exact: no tier, block, batch or number of threads changes a bit of them.
 *
 * A few elements that are much larger than the rest of their row would make its scale coarse for all others. The scale is the
 * rest's then, and such an outlier is q = 256 * high + low: the low byte lies among the others, 256 * high * w is added to the sums
 * of the tile afterwards, by the same instruction.
 *
 * Axes: see linear_rows.h. Converted rows [R][K / 4][4], panel [K / 4][48][4]. The including file has
 *
 *   I8_VECTORS                 vectors of a panel that a tile has side by side
 *   I8_BYTES                   bytes of an element of x as the kernel reads it
 *   i8_w, i8_x                 weights of VW columns for 4 inputs; 4 inputs of a row for all lanes
 *   i8_weights(p), i8_inputs(p)
 *   i8_place(to, q)            4 vectors of integers, those above 255 (+ I8_LEAST) as that, in the order that i8_inputs reads
 *   i8_at(i)                   where of these element i is
 *   i8_dot(sum, w, x)          the sum and the 4 products of every lane
 *
 * and may have
 *
 *   I8_LEAST                   0, or -128 where products are of signed bytes: bytes of x and its zero point are less by 128, which
 *                              their difference is not
 *   I8_VECTORS_OF(rows)        in place of I8_VECTORS, more of them for a tile of few rows: its chains are too few for the latency of
 *                              a product, and memory is read in order where a tile takes the whole panel
 *   I8_OWN_KERNEL              the kernel and its peak are written there, of i8_convert_rows, i8_finish_rows and, for few rows, i8_linear
 */
#include <math.h>
#include <string.h>

#include "linear_rows.h"

#ifndef I8_LEAST
#define I8_LEAST 0
#endif
#ifndef I8_VECTORS_OF
#define I8_VECTORS_OF(rows) I8_VECTORS
#endif

#ifndef I8_OWN_KERNEL
_Static_assert(TILE_ROWS == KERNEL(tile_rows_i8), "kernels.inc says otherwise");
#endif
_Static_assert(I8_BYTES == KERNEL(element_bytes_i8), "kernels.inc says otherwise");

/* So many fours of inputs between two requests for what comes next. */
enum { I8_STEP = 8 };

/* Rows whose elements differ by less are taken as zeros: the inverse of their scale would overflow. */
#define I8_LEAST_RANGE 1e-36

/* The largest outlier is at least so many times as large as the rest, and at most 2^7 times: what is left of it is a byte. */
#define I8_OUTLIER_RATIO      2
#define I8_MOST_RATIO_INVERSE 0x1p-7f

enum {
    /* Elements i of a row with the same i % I8_CLASSES are a class. */
    I8_CLASSES = 16,
    I8_CLASS_VECTORS = I8_CLASSES / VW,
    /* Beyond it the sum of products with outliers might not fit into 32 bits. */
    I8_OUTLIERS_MOST_DEPTH = 65000,
    /* Of an outlier, q is at most 2^7 * 255, and at least -(2^7 - 1) * 255, since the zero point is on that side: as 256 * high + low. */
    I8_MOST_HIGH = 127
};

_Static_assert(I8_OUTLIERS_MOST_DEPTH * 255LL * 127 + GATUN__MOST_OUTLIERS * (I8_MOST_HIGH * 256LL) * 127 <= INT32_MAX,
    "sums with outliers are of 32 bits");

INLINE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE uint32_t magnitude_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffffu;
}

/* What a row's elements are like; as integers, in whose order floats are but for the sign. */
typedef struct i8_range {
    uint32_t high, low;          /* the greatest element and the least without its sign, or 0 */
    int64_t whole;               /* elements that are in classes */
    uint32_t rest;               /* the third of the classes' largest magnitudes, of equal ones one; or that of all */
    int32_t largest[I8_CLASSES]; /* of each class, if rest is less */
} i8_range;

/* The greatest lane below `than`, or `than` if there is none. No lane is negative, so that among differences as unsigned integers
 * the negative ones are beyond all others. */
INLINE uint32_t i8_next(const vint lanes[I8_CLASS_VECTORS], uint32_t than) {
    vint most = i_zero();
    for (int v = 0; v < I8_CLASS_VECTORS; v++)
        most = i_max_unsigned(most, i_sub(lanes[v], i_set1((int32_t)than)));
    const uint32_t below = i_most_unsigned(most);
    return (int32_t)below < 0 ? than + below : than;
}

/*
 * As integers floats have an order: the greatest is the greatest of them, the least the greatest of them without a sign, and what
 * is not finite is beyond 2^128 either way.
 */
INLINE void i8_measure(const float *x, int64_t depth, i8_range *range) {
    vint most[I8_CLASS_VECTORS], least[I8_CLASS_VECTORS], magnitude[I8_CLASS_VECTORS];
    for (int v = 0; v < I8_CLASS_VECTORS; v++)
        most[v] = least[v] = i_zero();
    int64_t whole = 0;
    for (; whole + I8_CLASSES <= depth; whole += I8_CLASSES) {
#pragma GCC unroll 4
        for (int v = 0; v < I8_CLASS_VECTORS; v++) {
            const vint a = v_load_int((const int32_t *)(const void *)(x + whole + v * VW));
            most[v] = i_max(most[v], a);
            least[v] = i_max_unsigned(least[v], a);
        }
    }
    vint all_most = i_zero(), all_least = i_zero();
    for (int v = 0; v < I8_CLASS_VECTORS; v++) {
        all_most = i_max(all_most, most[v]);
        all_least = i_max_unsigned(all_least, least[v]);
        magnitude[v] = i_max(most[v], i_from_bits(v_magnitude(v_from_bits(least[v]))));
    }
    const uint32_t sign = 0x80000000u;
    uint32_t high = (uint32_t)i_most(all_most), low = i_most_unsigned(all_least);
    const uint32_t first = high > (low & ~sign) ? high : low & ~sign;
    for (int64_t i = whole; i < depth; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        high = (int32_t)bits > (int32_t)high ? bits : high;
        low = bits > low ? bits : low;
    }
    low = (low & sign) != 0 ? low & ~sign : 0;
    *range = (i8_range){.high = high, .low = low, .whole = whole, .rest = high > low ? high : low};
    const uint32_t second = i8_next(magnitude, first), third = i8_next(magnitude, second);
    if (third == second)
        return;
    range->rest = third;
    for (int v = 0; v < I8_CLASS_VECTORS; v++)
        i_store(range->largest + v * VW, magnitude[v]);
}

/* The elements beyond `rest`: where they are, and how many; of more than GATUN__MOST_OUTLIERS none. */
static int i8_find_outliers(
    const float *x, int64_t depth, const i8_range *range, uint32_t rest, int32_t at[GATUN__MOST_OUTLIERS]) {
    int count = 0;
    for (int c = 0; c <= I8_CLASSES; c++) {
        const int in_class = c < I8_CLASSES;
        if (in_class && (uint32_t)range->largest[c] <= rest)
            continue;
        const int64_t end = in_class ? range->whole : depth, step = in_class ? I8_CLASSES : 1;
        for (int64_t i = in_class ? c : range->whole; i < end; i += step) {
            if (magnitude_bits(x[i]) <= rest)
                continue;
            if (count == GATUN__MOST_OUTLIERS)
                return 0;
            at[count++] = (int32_t)i;
        }
    }
    return count;
}

/* Puts the low byte of an outlier in its place, and what is left where i8_add_outliers finds it: at most I8_MOST_HIGH, so that it
 * is the same as a signed byte. */
static void i8_place_outlier(gatun__outliers *outliers, int32_t at, int32_t q, char *to) {
    char *place = to + i8_at(at) * I8_BYTES;
    memset(place, 0, I8_BYTES);
    const int32_t low = ((q - I8_LEAST) & 255) + I8_LEAST, high = (q - low) / 256;
    *place = (char)low;
    if (high == 0)
        return;
    gatun__outlier *o =
        high > 0 ? &outliers->each[outliers->above++] : &outliers->each[GATUN__MOST_OUTLIERS - ++outliers->below];
    *o = (gatun__outlier){.four = at / 4};
    o->x[i8_at(at % 4) * I8_BYTES] = (char)(high > 0 ? high : -high);
}

/*
 * x = (q - zero) * scale, q = rint(x / scale) + zero in 0 .. 255 (+ I8_LEAST) but for outliers, so that 0 is exact. Every step is rounded as
 * written down, on every tier: no fused operation, and rounding to nearest by adding 1.5 * 2^23. A row that is not finite has a
 * scale of NaN.
 */
static void i8_convert(
    const float *x, int64_t depth, float *scale, int32_t *zero, gatun__outliers *outliers, char *to) {
    i8_range measured;
    i8_measure(x, depth, &measured);
    const uint32_t high = measured.high, low = measured.low, most = high > low ? high : low, infinity = 0x7f800000u;
    const int64_t fours = (depth + 3) / 4;
    const int finite = most < infinity;
    float above = float_of(high), below = float_of(low);
    int32_t at[GATUN__MOST_OUTLIERS];
    int count = 0;
    outliers->above = outliers->below = 0;
    if (finite && (double)float_of(most) >= I8_OUTLIER_RATIO * (double)float_of(measured.rest) &&
        depth <= I8_OUTLIERS_MOST_DEPTH) {
        const float least = float_of(most) * I8_MOST_RATIO_INVERSE,
                    rest = float_of(measured.rest) > least ? float_of(measured.rest) : least;
        if ((double)rest >= I8_LEAST_RANGE)
            count = i8_find_outliers(x, depth, &measured, magnitude_bits(rest), at);
        if (count > 0) {
            above = above < rest ? above : rest;
            below = below < rest ? below : rest;
        }
    }
    const double range = (double)above + (double)below;
    if (!finite || range < I8_LEAST_RANGE) {
        *scale = finite ? 0 : NAN;
        *zero = 0;
        memset(to, 0, (size_t)(fours * 4 * I8_BYTES));
        return;
    }
    *scale = (float)(range / 255);
    const float inverse = (float)(255 / range), magic = 0x1.8p23f;
    *zero = (int32_t)((below * inverse + magic) - magic) + I8_LEAST;
    const vec factor = v_set1(inverse), shift = v_set1(magic);
    /* The low bits of x / scale + magic are an integer; that of the magic number goes, the zero point comes. */
    const int32_t shifted_zero = *zero - 0x4b400000;
    const vint offset = i_set1(shifted_zero);
    const int64_t step = 4 * VW;
    int64_t begin = 0;
    for (; begin + step <= depth; begin += step) {
        vint q[4];
        for (int i = 0; i < 4; i++)
            q[i] = i_add(i_from_bits(v_add(v_mul(v_load(x + begin + i * VW), factor), shift)), offset);
        i8_place(to + begin * I8_BYTES, q);
    }
    if (begin < depth) {
        float rest[4 * VW] = {0};
        char placed[4 * VW * I8_BYTES];
        memcpy(rest, x + begin, (size_t)(depth - begin) * sizeof(float));
        vint q[4];
        for (int i = 0; i < 4; i++)
            q[i] = i_add(i_from_bits(v_add(v_mul(v_load(rest + i * VW), factor), shift)), offset);
        i8_place(placed, q);
        memcpy(to + begin * I8_BYTES, placed, (size_t)((fours * 4 - begin) * I8_BYTES));
    }
    for (int i = 0; i < count; i++) {
        const float shifted = x[at[i]] * inverse + magic;
        int32_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        i8_place_outlier(outliers, at[i], bits + shifted_zero, to);
    }
}

/* 256 * high * w of a row's outliers, into the sums of a panel. */
static void i8_add_outliers(const gatun__outliers *outliers, const int8_t *w, int32_t *sums) {
    vint acc[PANEL_VECTORS];
    for (int c = 0; c < PANEL_VECTORS; c++)
        acc[c] = i_zero();
    const int first = GATUN__MOST_OUTLIERS - outliers->below;
    for (int i = first; i < GATUN__MOST_OUTLIERS; i++) {
        const i8_x x = i8_inputs(outliers->each[i].x);
        const int8_t *four = w + (int64_t)outliers->each[i].four * GATUN__PANEL_COLUMNS * 4;
        for (int c = 0; c < PANEL_VECTORS; c++)
            acc[c] = i8_dot(acc[c], i8_weights(four + c * VW * 4), x);
    }
    if (outliers->below > 0)
        for (int c = 0; c < PANEL_VECTORS; c++)
            acc[c] = i_sub(i_zero(), acc[c]);
    for (int i = 0; i < outliers->above; i++) {
        const i8_x x = i8_inputs(outliers->each[i].x);
        const int8_t *four = w + (int64_t)outliers->each[i].four * GATUN__PANEL_COLUMNS * 4;
        for (int c = 0; c < PANEL_VECTORS; c++)
            acc[c] = i8_dot(acc[c], i8_weights(four + c * VW * 4), x);
    }
    const vint byte = i_set1(256);
    for (int c = 0; c < PANEL_VECTORS; c++)
        i_store(sums + c * VW, i_add(v_load_int(sums + c * VW), i_mul(acc[c], byte)));
}

INLINE void i8_tile(const int rows, const int vectors, const char *x, int64_t x_row, const int8_t *w, int64_t fours,
    float *sums, const char *ahead, int64_t ahead_bytes) {
    vint acc[TILE_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            acc[r][c] = i_zero();
    for (int64_t k = 0; k < fours;) {
        const int64_t end = fours - k < I8_STEP ? fours : k + I8_STEP;
        for (int64_t line = 0; line < ahead_bytes; line += 64)
            __builtin_prefetch(ahead + line, 0, GATUN__AHEAD);
        ahead += ahead_bytes;
        for (; k < end; k++, w += GATUN__PANEL_COLUMNS * 4) {
            i8_w b[PANEL_VECTORS];
#pragma GCC unroll 12
            for (int c = 0; c < vectors; c++)
                b[c] = i8_weights(w + c * VW * 4);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const i8_x a = i8_inputs(x + r * x_row + k * 4 * I8_BYTES);
#pragma GCC unroll 12
                for (int c = 0; c < vectors; c++)
                    acc[r][c] = i8_dot(acc[r][c], b[c], a);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int c = 0; c < vectors; c++)
            i_store((int32_t *)(void *)(sums + r * GATUN__PANEL_COLUMNS + c * VW), acc[r][c]);
}

static void i8_rows(int64_t rows, const char *x, int64_t x_row, const int8_t *w, int64_t fours, float *sums,
    const char *ahead, int64_t ahead_bytes) {
    switch (rows) {
#define TILE(n)                                                                                                        \
    for (int c = 0; c < GATUN__PANEL_COLUMNS; c += I8_VECTORS_OF(n) * VW)                                              \
        i8_tile(n, I8_VECTORS_OF(n), x, x_row, w + c * 4, fours, sums + c, ahead, c == 0 ? ahead_bytes : 0);
        GATUN__TILE_CASES(TILE)
#undef TILE
    }
}

INLINE char *i8_convert_rows(const gatun__linear_task *t, int64_t x_row) {
    char *x = converted_rows(t);
    for (int64_t r = 0; r < t->row_end - t->row_begin && !t->converted; r++)
        i8_convert(t->x + (t->row_begin + r) * t->x_row, t->depth, row_scales(t) + r, zero_points(t) + r,
            row_outliers(t) + r, x + r * x_row);
    return x;
}

/* Of the task's rows from r on, whose sums of the panel are complete but for outliers. */
INLINE void i8_finish_rows(const gatun__linear_task *t, int64_t panel, float *sums, int64_t r, int64_t rows) {
    const char *head = t->panels + panel * t->panel_bytes;
    for (int64_t i = 0; i < rows; i++) {
        const gatun__outliers *outliers = row_outliers(t) + r + i;
        if (outliers->above + outliers->below > 0)
            i8_add_outliers(outliers, (const int8_t *)head + GATUN__I8_PANEL_HEAD,
                (int32_t *)(void *)(sums + i * GATUN__PANEL_COLUMNS));
    }
    const i8_scales scales = {.row_scale = row_scales(t) + r,
        .zero_point = zero_points(t) + r,
        .column_scale = (const float *)(const void *)head,
        .column_sum = (const int32_t *)(const void *)head + GATUN__PANEL_COLUMNS};
    finish_rows_from(&scales, t, sums, t->row_begin + r, rows, panel * GATUN__PANEL_COLUMNS);
}

static void i8_linear(const gatun__linear_task *t) {
    float *sums = (float *)(void *)t->scratch;
    const int64_t rows = t->row_end - t->row_begin, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS,
                  fours = (t->depth + 3) / 4;
    const int64_t line = 64, step_lines = I8_STEP * GATUN__PANEL_COLUMNS * 4 / line;
    const int64_t ahead_bytes = tiles < AHEAD_TILES ? 0 : (step_lines + tiles - 1) / tiles * line;
    const int64_t x_row = gatun__converted_row(t->depth, I8_BYTES);
    const char *x = i8_convert_rows(t, x_row);
    for (int64_t panel = t->panel_begin; panel < t->panel_end; panel++) {
        const char *head = t->panels + panel * t->panel_bytes, *ahead = head + t->panel_bytes;
        const int8_t *w = (const int8_t *)head + GATUN__I8_PANEL_HEAD;
        for (int64_t r = 0, n; r < rows; r += n) {
            n = next_tile(rows - r, TILE_ROWS);
            i8_rows(n, x + r * x_row, x_row, w, fours, sums, ahead, ahead_bytes);
            ahead += (fours + I8_STEP - 1) / I8_STEP * ahead_bytes;
            i8_finish_rows(t, panel, sums, r, n);
        }
    }
}

#ifndef I8_OWN_KERNEL
void KERNEL(linear_i8)(const gatun__linear_task *t) {
    i8_linear(t);
}

/* The rate of the instructions by themselves: as gatun__kernels.peak_f32. */
double KERNEL(peak_i8)(int64_t steps, float io[2]) {
    vint acc[PEAK_CHAINS];
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = i_set1(i);
    int8_t ones[VW * 4] __attribute__((aligned(64)));
    char inputs[4 * I8_BYTES];
    memset(ones, io[0] != 0, sizeof ones);
    memset(inputs, 0, sizeof inputs);
    const i8_w w = i8_weights(ones);
    const i8_x x = i8_inputs(inputs);
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 32
        for (int i = 0; i < PEAK_CHAINS; i++) {
            acc[i] = i8_dot(acc[i], w, x);
            v_keep(v_from_bits(acc[i]));
        }
    }
    vint total = i_zero();
    for (int i = 0; i < PEAK_CHAINS; i++)
        total = i_add(total, acc[i]);
    int32_t lanes[VW];
    i_store(lanes, total);
    io[0] = (float)lanes[0];
    return 2.0 * 4 * VW * PEAK_CHAINS;
}
#endif
