#define _GNU_SOURCE
#include "gatunbench.h"

#include "core_contention.h"
#include "workload.h"

#include <math.h>
#include <string.h>
#include <time.h>

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

GATUNBENCH_API double gatunbench_flops(const int64_t sizes[6], int32_t causal) {
    workload_shape shape = {NULL, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
    gatun_attention_desc desc;
    workload_describe(&desc, &shape, 0);
    desc.causal = causal ? GATUN_CAUSAL_BOTTOM_RIGHT : GATUN_CAUSAL_NONE;
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

/* A peer is as wide as the tier it stands beside. */
static gatunbench_softmax *softmax_of(int32_t tier) {
    switch (tier) {
#define GATUN_TIER(TIER, tier_, lanes)                                                                                 \
    case GATUN_TIER_##TIER:                                                                                            \
        return gatunbench__softmax_##tier_;
#include "kernels.inc"
    default:
        return gatunbench__softmax_portable;
    }
}

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

GATUNBENCH_API int32_t gatunbench_naive(const void *cblas_sgemm, int32_t tier, const int64_t sizes[6], int32_t bshd,
    int32_t causal, int64_t first, int64_t last, const float *q, const float *k, const float *v, float *scores,
    float *out) {
    sgemm_function *sgemm;
    memcpy(&sgemm, &cblas_sgemm, sizeof sgemm);
    gatunbench_softmax *softmax = softmax_of(tier);
    int64_t heads = sizes[1], kv_heads = sizes[2];
    int m = (int)sizes[3], n = (int)sizes[4], dim = (int)sizes[5];
    int ldq = bshd ? (int)heads * dim : dim, ldk = bshd ? (int)kv_heads * dim : dim;
    float scale = 1 / sqrtf((float)dim);
    for (int64_t all = first; all < last; all++) {
        int64_t b = all / heads, h = all % heads, g = h / (heads / kv_heads);
        int64_t row = bshd ? (b * m * heads + h) * dim : all * m * dim;
        int64_t key = bshd ? (b * n * kv_heads + g) * dim : (b * kv_heads + g) * n * dim;
        sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, m, n, dim, 1, q + row, ldq, k + key, ldk, 0, scores, n);
        for (int64_t i = 0; i < m; i++) {
            int64_t keys = causal ? i + 1 + n - m : n;
            softmax(scores + i * n, keys, scale);
            memset(scores + i * n + keys, 0, (size_t)(n - keys) * sizeof *scores);
        }
        sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, dim, n, 1, scores, n, v + key, ldk, 0, out + row, ldq);
    }
    return GATUN_OK;
}

static gatunbench_reader *reader_of(int32_t tier) {
    switch (tier) {
#define GATUN_TIER(TIER, tier_, lanes)                                                                                 \
    case GATUN_TIER_##TIER:                                                                                            \
        return gatunbench__read_##tier_;
#include "kernels.inc"
    default:
        return gatunbench__read_portable;
    }
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

GATUNBENCH_API float gatunbench_read(
    int32_t tier, const float *x, int64_t floats, int64_t nanoseconds, double *bytes_per_second) {
    enum { PIECE = 1 << 19 }; /* 2 MiB between two looks at the clock */
    gatunbench_reader *read = reader_of(tier);
    float sum = 0;
    double bytes = 0;
    int64_t begin = now(), at = 0, time;
    do {
        int64_t piece = floats - at < PIECE ? floats - at : PIECE;
        sum += read(x + at, piece);
        bytes += (double)piece * 4;
        at = at + piece < floats ? at + piece : 0;
        time = now() - begin;
    } while (time < nanoseconds);
    *bytes_per_second = bytes / (double)(time > 0 ? time : 1) * 1e9;
    return sum;
}

GATUNBENCH_API double gatunbench_instructions_a_cycle(double seconds) {
    return contention_instructions_a_cycle(seconds);
}

GATUNBENCH_API double gatunbench_undisturbed(void) {
    return contention_threshold();
}

GATUNBENCH_API int32_t gatunbench_settle(double seconds) {
    return contention_settle(seconds);
}

GATUNBENCH_API int32_t gatunbench_pin(int32_t cpu) {
    return contention_pin(cpu);
}

GATUNBENCH_API void gatunbench_unpin(void) {
    contention_unpin();
}
