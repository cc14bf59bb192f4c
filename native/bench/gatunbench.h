/*
 * libgatunbench: what the Java benchmarks need in C, and nothing that libgatun has. It does not link libgatun, whose
 * functions come as pointers.
 */
#ifndef GATUNBENCH_H
#define GATUNBENCH_H

#include "gatun.h"

#define GATUNBENCH_API __attribute__((visibility("default")))

typedef int32_t gatunbench_forward(gatun_context *context, const gatun_attention_desc *desc, void *workspace,
    int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse);

/** Name and sizes (batch, heads, kv_heads, seq_q, seq_k, dim) of a shape; NULL past the last. */
GATUNBENCH_API const char *gatunbench_shape(int32_t index, int64_t sizes[6]);

/** An element of the input with this seed. */
GATUNBENCH_API float gatunbench_value(uint64_t seed, uint64_t element);

/** Flops of a shape, causal or without a mask. */
GATUNBENCH_API double gatunbench_flops(const int64_t sizes[6], int32_t causal);

/** Calls forward this often, without a Java frame in between, and returns the first status that is not 0. */
GATUNBENCH_API int32_t gatunbench_repeat(gatunbench_forward *forward, gatun_context *context,
    const gatun_attention_desc *desc, void *workspace, int64_t workspace_size, const void *q, const void *k,
    const void *v, void *out, int64_t calls);

/** Does nothing. */
GATUNBENCH_API void gatunbench_empty(void);

/**
 * Attention as one writes it first, of the heads first .. last - 1 of all batch rows' heads: scores = q k^T by sgemm,
 * softmax of each row, out = scores v by sgemm. Tensors are contiguous [batch][heads][seq][dim], with bshd
 * [batch][seq][heads][dim]; sizes as in gatunbench_shape; scores is scratch of [seq_q][seq_k] that is used again for
 * each head. causal computes the whole square and gives probabilities to the keys that a row sees. tier chooses the softmax.
 */
GATUNBENCH_API int32_t gatunbench_naive(const void *cblas_sgemm, int32_t tier, const int64_t sizes[6], int32_t bshd,
    int32_t causal, int64_t first, int64_t last, const float *q, const float *k, const float *v, float *scores,
    float *out);

/**
 * Reads memory over and over for about nanoseconds, and stores how many bytes a second that was; returns the sum of
 * what it read, so that nothing is left out.
 */
GATUNBENCH_API float gatunbench_read(
    int32_t tier, const float *x, int64_t floats, int64_t nanoseconds, double *bytes_per_second);

/** core_contention.h for Java: instructions a cycle of a loop that wants the whole core, NaN where there is none. */
GATUNBENCH_API double gatunbench_instructions_a_cycle(double seconds);

/** From how many instructions a cycle on a sample is undisturbed. */
GATUNBENCH_API double gatunbench_undisturbed(void);

/** Keeps the calling thread on the least disturbed CPU of those that it had at first; 1 if that is another than before. */
GATUNBENCH_API int32_t gatunbench_settle(double seconds);

/** Keeps the calling thread on a CPU; 0, or -1 if that is not possible. */
GATUNBENCH_API int32_t gatunbench_pin(int32_t cpu);

/** Takes gatunbench_settle back. */
GATUNBENCH_API void gatunbench_unpin(void);

typedef void gatunbench_softmax(float *row, int64_t keys, float scale);
gatunbench_softmax gatunbench__softmax_avx512, gatunbench__softmax_avx2, gatunbench__softmax_neon,
    gatunbench__softmax_portable;

typedef float gatunbench_reader(const float *x, int64_t floats);
gatunbench_reader gatunbench__read_avx512, gatunbench__read_avx2, gatunbench__read_neon, gatunbench__read_portable;

#endif /* GATUNBENCH_H */
