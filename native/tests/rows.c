#include "rows.h"

#include <string.h>

matrix matrix_create(const char *name, int64_t rows, int64_t dim, int64_t gap, guarded_end end) {
    matrix m = {.rows = rows, .dim = dim, .row = dim + gap};
    guarded_create(&m.memory, name, (rows > 0 ? (rows - 1) * m.row + dim : 0) * (int64_t)sizeof(float), 0, end);
    m.data = (float *)(void *)m.memory.data;
    return m;
}

float *at(const matrix *m, int64_t row, int64_t column) {
    return &m->data[row * m->row + column];
}

matrix matrix_random(
    const char *name, int64_t rows, int64_t dim, int64_t gap, guarded_end end, float shift, rng *random) {
    matrix m = matrix_create(name, rows, dim, gap, end);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < dim; i++) {
            *at(&m, r, i) = shift + rng_normal(random);
        }
    }
    return m;
}

float *copy_of(const matrix *m) {
    float *copy = test_allocate(m->memory.bytes);
    memcpy(copy, m->data, (size_t)m->memory.bytes);
    return copy;
}

void matrix_restore(const matrix *m, const float *copy) {
    memcpy(m->data, copy, (size_t)m->memory.bytes);
}

bool only_elements_written(const matrix *m, const float *before) {
    for (int64_t r = 0; r + 1 < m->rows; r++) {
        if (memcmp(at(m, r, m->dim), before + r * m->row + m->dim, (size_t)(m->row - m->dim) * sizeof(float)) != 0) {
            return false;
        }
    }
    return guarded_intact(&m->memory);
}

bool same_elements(const matrix *a, const matrix *b) {
    for (int64_t r = 0; r < a->rows; r++) {
        if (memcmp(at(a, r, 0), at(b, r, 0), (size_t)a->dim * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

gatun_norm_desc norm_desc(int64_t rows, int64_t dim) {
    return (gatun_norm_desc){
        .struct_size = sizeof(gatun_norm_desc), .rows = rows, .dim = dim, .x_row = dim, .out_row = dim};
}

gatun_activation_desc activation_desc(int64_t rows, int64_t dim, int32_t activation) {
    return (gatun_activation_desc){.struct_size = sizeof(gatun_activation_desc),
        .rows = rows,
        .dim = dim,
        .x_row = dim,
        .out_row = dim,
        .activation = activation};
}

gatun_embedding_desc embedding_desc(int64_t rows, int64_t dim) {
    return (gatun_embedding_desc){
        .struct_size = sizeof(gatun_embedding_desc), .rows = rows, .dim = dim, .out_row = dim};
}

gatun_pool_desc pool_desc(int64_t sequences, int64_t dim) {
    return (gatun_pool_desc){
        .struct_size = sizeof(gatun_pool_desc), .sequences = sequences, .dim = dim, .x_row = dim, .out_row = dim};
}

gatun_softmax_desc softmax_desc(int64_t rows, int64_t dim) {
    return (gatun_softmax_desc){
        .struct_size = sizeof(gatun_softmax_desc), .rows = rows, .dim = dim, .x_row = dim, .out_row = dim};
}
