/*
 * Products of small matrices in scratch: part of linear_attention_f32.h. C [rows][columns] = A B, lanes are columns: a register
 * block is BLOCK_ROWS rows x BLOCK_VECTORS vectors of columns; an element of A is broadcast, a vector of B serves all rows. A sum is
 * one chain of multiply-adds over the depth in order, whatever the block, of at most CHAIN steps; chains are added up in order.
 *
 * B and C have whole vectors of columns. A may be stored either way: a_row elements from one row to the next, a_step from one
 * step of the depth to the next.
 */

enum { CHAIN = 256 };

enum { MOST_REGIONS = 4, LINE = 64 /* bytes of a line */ };

/* What becomes of a finished sum. */
enum {
    SET,
    ADD,    /* to what C has */
    SCALE,  /* times the factor of its row */
    SUM_UP, /* C, times the factor of its row if there is one, and this: with what the float sum loses in `low` */
};

/* Rows to prefetch; row: bytes from one to the next. */
typedef struct region {
    const char *at;
    int64_t row, bytes, rows;
} region;

/*
 * Regions one after the other, a line with each step of a product's depth: what a task reads and writes next comes from memory while it
 * multiplies. The rows of a head are short, and those of others lie between them, so that the processor does not foresee them. To L2: L1 is
 * full of the product's own.
 */
typedef struct prefetcher {
    const char *line, *end; /* of the current row; NULL: nothing is left */
    region regions[MOST_REGIONS];
    int current, count;
} prefetcher;

/* Begins the next row. */
INLINE void prefetch_row(prefetcher *f) {
    f->line = NULL;
    if (f->current == f->count)
        return;
    region *r = &f->regions[f->current];
    f->line = r->at;
    f->end = r->at + r->bytes;
    if (--r->rows == 0)
        f->current++;
    else
        r->at += r->row;
}

typedef struct product {
    const float *a, *b;
    int64_t a_row, a_step, b_row;
    float *c, *low;
    int64_t c_row;
    const float *factor;
    int end;
    prefetcher *soon; /* or NULL */
} product;

/*
 * The sum of a and b, with what has been lost so far: the nearest float of all that was ever added (Knuth's two-sum, then the
 * error of the new sum). So a sum over any number of chains is as exact as one chain.
 */
INLINE vec sum_up(vec a, vec b, vec *low) {
    const vec s = v_add(a, b), part = v_sub(s, a);
    const vec lost = v_add(*low, v_add(v_sub(a, v_sub(s, part)), v_sub(b, part)));
    const vec sum = v_add(s, lost);
    *low = v_sub(lost, v_sub(sum, s));
    return sum;
}

/* Sums and what they lose, times the factors of their rows where they are scaled, and the block. */
INLINE void sum_up_block(const int rows, const int vectors, const int scaled, float *c, float *low, int64_t c_row,
    const float *factor, vec acc[BLOCK_ROWS][BLOCK_VECTORS]) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        const vec by = scaled ? v_set1(factor[r]) : v_zero();
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++) {
            vec old = v_load(c + r * c_row + n * VW), lost = v_load(low + r * c_row + n * VW);
            if (scaled) {
                old = v_mul(old, by);
                lost = v_mul(lost, by);
            }
            v_store(c + r * c_row + n * VW, sum_up(old, acc[r][n], &lost));
            v_store(low + r * c_row + n * VW, lost);
        }
    }
}

INLINE void end_block(const int rows, const int vectors, const product *p, int64_t row, int64_t column,
    vec acc[BLOCK_ROWS][BLOCK_VECTORS]) {
    const int64_t c_row = p->c_row;
    const int end = p->end;
    const float *factor = p->factor == NULL ? NULL : p->factor + row;
    float *c = p->c + row * c_row + column;
    if (end == SUM_UP) {
        float *low = p->low + row * c_row + column;
        if (factor != NULL)
            sum_up_block(rows, vectors, 1, c, low, c_row, factor, acc);
        else
            sum_up_block(rows, vectors, 0, c, low, c_row, NULL, acc);
        return;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++, c += c_row) {
        if (end == ADD) {
#pragma GCC unroll 4
            for (int n = 0; n < vectors; n++)
                acc[r][n] = v_add(v_load(c + n * VW), acc[r][n]);
        } else if (end == SCALE) {
            const vec by = v_set1(factor[r]);
#pragma GCC unroll 4
            for (int n = 0; n < vectors; n++)
                acc[r][n] = v_mul(acc[r][n], by);
        }
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++)
            v_store(c + n * VW, acc[r][n]);
    }
}

/* One step of the depth. */
INLINE void block_step(const int rows, const int vectors, const float *a, int64_t a_row, const float *b,
    vec acc[BLOCK_ROWS][BLOCK_VECTORS]) {
    vec x[BLOCK_VECTORS];
#pragma GCC unroll 4
    for (int n = 0; n < vectors; n++)
        x[n] = v_load(b + n * VW);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        const vec y = v_set1(a[r * a_row]);
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++)
            acc[r][n] = v_fma(y, x[n], acc[r][n]);
    }
}

/* One register block; `triangle`: of row r only the steps up to the depth and r more, which are never multiplied elsewhere. */
INLINE void block(const int rows, const int vectors, const int triangle, const product *p, int64_t row, int64_t column,
    int64_t depth) {
    vec acc[BLOCK_ROWS][BLOCK_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++)
            acc[r][n] = v_zero();
    const float *a = p->a + row * p->a_row, *b = p->b + column;
    const int64_t a_row = p->a_row, a_step = p->a_step, b_row = p->b_row;
    int64_t k = 0;
    if (p->soon != NULL) {
        prefetcher *soon = p->soon;
        const char *line = soon->line, *end = soon->end;
        for (; line != NULL && k < depth; k++, a += a_step, b += b_row) {
            __builtin_prefetch(line, 0, 2);
            line += LINE;
            if (line >= end) {
                prefetch_row(soon);
                line = soon->line;
                end = soon->end;
            }
            block_step(rows, vectors, a, a_row, b, acc);
        }
        soon->line = line;
    }
    for (; k < depth; k++, a += a_step, b += b_row)
        block_step(rows, vectors, a, a_row, b, acc);
    if (triangle) {
#pragma GCC unroll 8
        for (int s = 0; s < rows; s++) {
#pragma GCC unroll 8
            for (int r = s; r < rows; r++) {
                const vec y = v_set1(a[r * a_row + s * a_step]);
#pragma GCC unroll 4
                for (int n = 0; n < vectors; n++)
                    acc[r][n] = v_fma(y, v_load(b + s * b_row + n * VW), acc[r][n]);
            }
        }
    }
    end_block(rows, vectors, p, row, column, acc);
}

typedef void block_function(const product *p, int64_t row, int64_t column, int64_t depth);

#define BLOCK(rows, vectors)                                                                                           \
    static __attribute__((noinline)) void block_##rows##_##vectors(                                                    \
        const product *p, int64_t row, int64_t column, int64_t depth) {                                                \
        block(rows, vectors, 0, p, row, column, depth);                                                                \
    }                                                                                                                  \
    static __attribute__((noinline)) void triangle_##rows##_##vectors(                                                 \
        const product *p, int64_t row, int64_t column, int64_t depth) {                                                \
        block(rows, vectors, 1, p, row, column, depth);                                                                \
    }
#define BLOCKS(vectors) BLOCK(1, vectors) BLOCK(2, vectors) BLOCK(4, vectors)
BLOCKS(1)
BLOCKS(2)
#if BLOCK_VECTORS == 4
BLOCKS(4)
#endif
#if BLOCK_ROWS == 6
BLOCK(6, 1)
BLOCK(6, 2)
#if BLOCK_VECTORS == 4
BLOCK(6, 4)
#endif
#endif
#undef BLOCK

/* The block of so many rows (1, 2, 4 or BLOCK_ROWS) and vectors (1, 2 or BLOCK_VECTORS). */
static block_function *block_of(int triangle, int64_t rows, int64_t vectors) {
#if BLOCK_VECTORS == 4
#define ROW(kind, r)                                                                                                   \
    { kind##_##r##_1, kind##_##r##_2, kind##_##r##_4 }
#else
#define ROW(kind, r)                                                                                                   \
    { kind##_##r##_1, kind##_##r##_2, NULL }
#endif
#if BLOCK_ROWS == 6
#define TABLE(kind)                                                                                                    \
    { ROW(kind, 1), ROW(kind, 2), ROW(kind, 4), ROW(kind, 6) }
#else
#define TABLE(kind)                                                                                                    \
    {                                                                                                                  \
        ROW(kind, 1), ROW(kind, 2), ROW(kind, 4), {                                                                    \
            NULL, NULL, NULL                                                                                           \
        }                                                                                                              \
    }
#endif
    static block_function *const functions[2][4][3] = {TABLE(block), TABLE(triangle)};
#undef ROW
#undef TABLE
    return functions[triangle][rows == 6 ? 3 : rows / 2][vectors / 2];
}

/* The largest block that is not larger than what is left. */
static int64_t block_size(int64_t left, int64_t most) {
    return left >= most ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* Which elements there are: of TRIANGLE row r of A has r + 1 steps; of BELOW only columns up to r matter, others are not written. */
enum { WHOLE, TRIANGLE, BELOW };

static void multiply_chain(const product *p, int64_t rows, int64_t columns, int64_t depth, int shape) {
    for (int64_t row = 0, n; row < rows; row += n) {
        n = block_size(rows - row, BLOCK_ROWS);
        const int64_t end = shape == BELOW && row + n < columns ? row + n : columns;
        for (int64_t column = 0, vectors; column < end; column += vectors * VW) {
            vectors = block_size((end - column + VW - 1) / VW, BLOCK_VECTORS);
            block_of(shape == TRIANGLE, n, vectors)(p, row, column, shape == TRIANGLE ? row : depth);
        }
    }
}

/* Columns are whole vectors, but for BELOW. Only SET and SCALE may be deeper than a chain. */
static void multiply(const product *p, int64_t rows, int64_t columns, int64_t depth, int shape) {
    if (depth <= CHAIN || shape == TRIANGLE) {
        multiply_chain(p, rows, columns, depth, shape);
        return;
    }
    product part = *p;
    part.end = SET;
    for (int64_t k = 0; k < depth; k += CHAIN) {
        part.a = p->a + k * p->a_step;
        part.b = p->b + k * p->b_row;
        multiply_chain(&part, rows, columns, depth - k < CHAIN ? depth - k : CHAIN, shape);
        part.end = ADD;
    }
    if (p->end == SCALE)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c += VW)
                v_store(p->c + r * p->c_row + c, v_mul(v_load(p->c + r * p->c_row + c), v_set1(p->factor[r])));
}
