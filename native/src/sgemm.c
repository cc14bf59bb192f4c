/*
 * Products by the caller's BLAS, cut into pieces over the pool. OpenBLAS copies its operands into its own order again for every
 * call: a piece of r rows and c columns copies depth (r + c) numbers for depth r c multiplications, so that pieces are large and
 * nearly square, up to 512 rows and 1024 columns, smaller only to make four of them. Up to 128 rows they are cut into columns
 * alone. Cut by shape alone, never by the number of threads.
 */
#include "internal.h"

#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 }; /* of cblas.h */
enum { PIECE_ROWS = 512, PIECE_COLUMNS = 1024, LEAST_PIECES = 4 };
enum { SHORT_ROWS = 128, SHORT_COLUMNS = 256, SMALL_PRODUCT = 1000000, SMALL_ROWS = 64 };

typedef void (*cblas_sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* What gatun_sgemm_desc and gatun_linear_desc have in common. */
typedef struct product_desc {
    uint32_t flags;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    int32_t max_threads, activation;
} product_desc;

#define PRODUCT_DESC(d, activation_)                                                                                   \
    {                                                                                                                  \
        (d)->flags, (d)->m, (d)->n, (d)->k, (d)->lda, (d)->ldb, (d)->ldc, (d)->alpha, (d)->beta, (d)->max_threads,     \
            activation_                                                                                                \
    }

typedef struct product {
    const product_desc *desc;
    cblas_sgemm_function sgemm;
    const float *a, *b, *bias;
    float *c;
    gatun__activation_kernel *activation;
    int64_t piece_rows, piece_columns, column_pieces;
} product;

static void run_piece(void *argument, const gatun__turn *turn) {
    const int64_t index = turn->index;
    const product *p = argument;
    const product_desc *d = p->desc;
    int64_t row = index / p->column_pieces * p->piece_rows, column = index % p->column_pieces * p->piece_columns;
    int64_t rows = d->m - row < p->piece_rows ? d->m - row : p->piece_rows;
    int64_t columns = d->n - column < p->piece_columns ? d->n - column : p->piece_columns;
    int transpose_a = (d->flags & GATUN_SGEMM_TRANSPOSE_A) != 0,
        transpose_b = (d->flags & GATUN_SGEMM_TRANSPOSE_B) != 0;
    p->sgemm(ROW_MAJOR, transpose_a ? TRANSPOSE : NO_TRANSPOSE, transpose_b ? TRANSPOSE : NO_TRANSPOSE, (int)rows,
        (int)columns, (int)d->k, d->alpha, p->a + (transpose_a ? row : row * d->lda), (int)d->lda,
        p->b + (transpose_b ? column * d->ldb : column), (int)d->ldb, d->beta, p->c + row * d->ldc + column,
        (int)d->ldc);
    if (p->bias == NULL && d->activation == GATUN_ACTIVATION_NONE)
        return;
    const gatun__rows_task task = {.x = p->c + row * d->ldc + column,
        .bias = p->bias == NULL ? NULL : p->bias + column,
        .out = p->c + row * d->ldc + column,
        .end = rows,
        .dim = columns,
        .x_row = d->ldc,
        .out_row = d->ldc,
        .activation = d->activation};
    p->activation(&task);
}

/* Equal parts of at most `most`, in steps of 16 so that the BLAS's own register blocks stay whole. */
static int64_t part(int64_t size, int64_t most) {
    return gatun__divide_up(gatun__divide_up(size, gatun__divide_up(size, most)), 16) * 16;
}

/*
 * Columns of a piece that has all m rows. Up to 100^3 multiplications OpenBLAS reads its operands where they lie instead
 * of copying them first, which takes most of the time where rows are few.
 */
static int64_t columns_of_piece(int64_t m, int64_t k) {
    double fit = SMALL_PRODUCT / ((double)m * (double)k);
    return m > SMALL_ROWS || fit < 16 || fit > SHORT_COLUMNS ? SHORT_COLUMNS : (int64_t)fit / 16 * 16;
}

static int64_t pieces(const product *p) {
    return gatun__divide_up(p->desc->m, p->piece_rows) * gatun__divide_up(p->desc->n, p->piece_columns);
}

static void cut(product *p) {
    int64_t m = p->desc->m, n = p->desc->n;
    if (m <= SHORT_ROWS) {
        if (n > SHORT_COLUMNS)
            p->piece_columns = part(n, columns_of_piece(m, p->desc->k));
        return;
    }
    p->piece_rows = part(m, PIECE_ROWS);
    p->piece_columns = part(n, PIECE_COLUMNS);
    while (pieces(p) < LEAST_PIECES && (p->piece_rows > 16 || p->piece_columns > 16)) {
        int64_t *larger = p->piece_columns >= p->piece_rows ? &p->piece_columns : &p->piece_rows;
        *larger = part(*larger, (*larger + 1) / 2);
    }
}

static int32_t multiply(gatun_context *context, const product_desc *d, const void *cblas_sgemm, const float *a,
    const float *b, const float *bias, float *c) {
    if (cblas_sgemm == NULL)
        return GATUN_E_NULL;
    int transpose_a = (d->flags & GATUN_SGEMM_TRANSPOSE_A) != 0,
        transpose_b = (d->flags & GATUN_SGEMM_TRANSPOSE_B) != 0;
    if ((d->flags & ~(GATUN_SGEMM_TRANSPOSE_A | GATUN_SGEMM_TRANSPOSE_B)) != 0 || d->max_threads < 0)
        return GATUN_E_INVALID;
    const int64_t most = INT32_MAX;
    if (d->m < 0 || d->m > most || d->n < 0 || d->n > most || d->k < 0 || d->k > most)
        return GATUN_E_INVALID;
    int64_t a_rows = transpose_a ? d->k : d->m, a_columns = transpose_a ? d->m : d->k;
    int64_t b_rows = transpose_b ? d->n : d->k, b_columns = transpose_b ? d->k : d->n;
    if (d->lda < a_columns || d->lda < 1 || d->lda > most || d->ldb < b_columns || d->ldb < 1 || d->ldb > most ||
        d->ldc < d->n || d->ldc < 1 || d->ldc > most)
        return GATUN_E_INVALID;
    if (!gatun__fits(a_rows, d->lda) || !gatun__fits(b_rows, d->ldb) || !gatun__fits(d->m, d->ldc))
        return GATUN_E_INVALID;
    if (d->m == 0 || d->n == 0)
        return GATUN_OK;
    if (c == NULL || (d->k > 0 && (a == NULL || b == NULL)))
        return GATUN_E_NULL;
    if ((((uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)bias) & (_Alignof(float) - 1)) != 0)
        return GATUN_E_ALIGNMENT;
    const gatun__view view_a = gatun__matrix_view(a, sizeof *a, a_rows, d->lda, a_columns);
    const gatun__view view_b = gatun__matrix_view(b, sizeof *b, b_rows, d->ldb, b_columns);
    const gatun__view view_c = gatun__matrix_view(c, sizeof *c, d->m, d->ldc, d->n);
    if (d->k > 0 && (gatun__views_overlap(&view_c, &view_a) || gatun__views_overlap(&view_c, &view_b)))
        return GATUN_E_OVERLAP;
    const gatun__view view_bias = gatun__matrix_view(bias, sizeof *bias, 1, 0, d->n);
    if (bias != NULL && gatun__views_overlap(&view_c, &view_bias))
        return GATUN_E_OVERLAP;

    product p = {.desc = d,
        .a = a,
        .b = b,
        .bias = bias,
        .c = c,
        .activation = context->kernels->activation_f32,
        .piece_rows = d->m,
        .piece_columns = d->n};
    /* C has no conversion between object and function pointers; POSIX gives them the same representation. */
    memcpy(&p.sgemm, &cblas_sgemm, sizeof p.sgemm);
    /* Below about 20 microseconds of work a second thread costs more than it brings. */
    const double m = (double)d->m, n = (double)d->n, k = (double)d->k, fmas = m * n * k;
    if (fmas > 2e6)
        cut(&p);
    p.column_pieces = gatun__divide_up(d->n, p.piece_columns);
    const double cycles = gatun__cycles(context->kernels->tier, fmas, (m * k + k * n + m * n) * sizeof *c);
    gatun__context_run(context, d->max_threads, pieces(&p), gatun__cycles_ns(cycles), run_piece, &p);
    return GATUN_OK;
}

int32_t gatun_sgemm(gatun_context *context, const gatun_sgemm_desc *d, const void *cblas_sgemm, const float *a,
    const float *b, float *c) {
    TRY(gatun__context_usable(context));
    if (d == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_sgemm_desc", NULL, 0));
    if (d->reserved0 != 0 || gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return GATUN_E_VERSION;
    const product_desc common = PRODUCT_DESC(d, GATUN_ACTIVATION_NONE);
    return multiply(context, &common, cblas_sgemm, a, b, NULL, c);
}

int32_t gatun_linear(gatun_context *context, const gatun_linear_desc *d, const void *cblas_sgemm, const float *a,
    const float *b, const float *bias, float *c) {
    TRY(gatun__context_usable(context));
    if (d == NULL)
        return GATUN_E_NULL;
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_linear_desc", NULL, 0));
    if (gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return GATUN_E_VERSION;
    if (d->activation < 0 || d->activation > GATUN_ACTIVATION_QUICK_GELU)
        return GATUN_E_INVALID;
    const product_desc common = PRODUCT_DESC(d, d->activation);
    return multiply(context, &common, cblas_sgemm, a, b, bias, c);
}
