#include "gatunbench.h"

#include "workload.h"

#include <math.h>
#include <string.h>

GATUNBENCH_API const char *gatunbench_shape(int32_t index, int64_t sizes[6]) {
    if (index < 0 || index >= workload_shape_count)
        return NULL;
    const workload_shape *s = &workload_shapes[index];
    int64_t all[6] = {s->batch, s->heads, s->kv_heads, s->seq_q, s->seq_k, s->dim};
    memcpy(sizes, all, sizeof all);
    return s->name;
}

GATUNBENCH_API float gatunbench_value(uint64_t seed, uint64_t element) {
    return workload_value(seed, element);
}

GATUNBENCH_API double gatunbench_flops(const int64_t sizes[6]) {
    workload_shape shape = {NULL, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
    gatun_attention_desc desc;
    workload_describe(&desc, &shape, 0);
    return workload_flops(&desc);
}

GATUNBENCH_API int32_t gatunbench_repeat(gatunbench_forward *forward, gatun_context *context,
    const gatun_attention_desc *desc, void *workspace, int64_t workspace_size, const void *q, const void *k,
    const void *v, void *out, int64_t calls) {
    for (int64_t i = 0; i < calls; i++) {
        int32_t status = forward(context, desc, workspace, workspace_size, q, k, v, NULL, NULL, out, NULL);
        if (status != GATUN_OK)
            return status;
    }
    return GATUN_OK;
}

GATUNBENCH_API void gatunbench_empty(void) {
}

static gatunbench_softmax *softmax_of(int32_t tier) {
    switch (tier) {
#if defined(__x86_64__)
    case GATUN_TIER_AVX512:
        return gatunbench__softmax_avx512;
    case GATUN_TIER_AVX2:
        return gatunbench__softmax_avx2;
#elif defined(__aarch64__)
    case GATUN_TIER_NEON:
        return gatunbench__softmax_neon;
#endif
    default:
        return gatunbench__softmax_portable;
    }
}

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

GATUNBENCH_API int32_t gatunbench_naive(const void *cblas_sgemm, int32_t tier, const int64_t sizes[6], const float *q,
    const float *k, const float *v, float *scores, float *out) {
    sgemm_function *sgemm;
    memcpy(&sgemm, &cblas_sgemm, sizeof sgemm);
    gatunbench_softmax *softmax = softmax_of(tier);
    int64_t heads = sizes[0] * sizes[1], group = sizes[1] / sizes[2];
    int m = (int)sizes[3], n = (int)sizes[4], dim = (int)sizes[5];
    float scale = 1 / sqrtf((float)dim);
    for (int64_t h = 0; h < heads; h++) {
        const float *x = q + h * m * dim, *y = k + h / group * n * dim, *z = v + h / group * n * dim;
        sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, m, n, dim, 1, x, dim, y, dim, 0, scores, n);
        for (int64_t i = 0; i < m; i++)
            softmax(scores + i * n, n, scale);
        sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, dim, n, 1, scores, n, z, dim, 0, out + h * m * dim, dim);
    }
    return GATUN_OK;
}
