/* Tensors of rows in guarded memory, for tests of calls over rows. */
#ifndef GATUN_TESTS_ROWS_H
#define GATUN_TESTS_ROWS_H

#include "gatun.h"
#include "guarded.h"
#include "harness.h"

typedef struct matrix {
    guarded memory;
    float *data;
    int64_t rows, dim, row;
} matrix;

/* Rows of dim elements, gap more from one to the next. */
matrix matrix_create(const char *name, int64_t rows, int64_t dim, int64_t gap, guarded_end end);

/* N(shift, 1); what lies between rows stays NaN. */
matrix matrix_random(
    const char *name, int64_t rows, int64_t dim, int64_t gap, guarded_end end, float shift, rng *random);

float *at(const matrix *m, int64_t row, int64_t column);

/* Of all its memory; to be freed. */
float *copy_of(const matrix *m);

void matrix_restore(const matrix *m, const float *copy);

/* Whether nothing but elements differs from what the memory held. */
bool only_elements_written(const matrix *m, const float *before);

bool same_elements(const matrix *a, const matrix *b);

/* Descriptors of contiguous rows, without residual, gate and sum. */
gatun_norm_desc norm_desc(int64_t rows, int64_t dim);
gatun_activation_desc activation_desc(int64_t rows, int64_t dim, int32_t activation);
gatun_embedding_desc embedding_desc(int64_t rows, int64_t dim);
gatun_pool_desc pool_desc(int64_t sequences, int64_t dim);
gatun_softmax_desc softmax_desc(int64_t rows, int64_t dim);

/* Every width of a last vector on every tier, and what real models have. */
static const int64_t dims[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
    25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53,
    54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 384, 1536};

enum { DIMS = sizeof dims / sizeof *dims };

static const int32_t thread_counts[] = {1, 2, 5, 0};

#endif
