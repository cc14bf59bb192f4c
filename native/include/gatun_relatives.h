/*
 * gatun_relatives.h: the ancestor and the efficient relatives of exact attention. Part of gatun.h, which includes it and whose
 * conventions (statuses, descriptors, strides, threads, memory, overlap) are those of every function here.
 *
 *   additive attention     Bahdanau et al. 2015: scores by a tanh instead of a product
 *   linear attention       Katharopoulos et al. 2020, and with random features Choromanski et al. 2021 (Performer); with decays
 *                          the scalar form of state-space models, Dao and Gu 2024 (Mamba-2)
 *   selective scan         Gu and Dao 2023 (Mamba), with the convolution before it
 *   recurrent cells        LSTM (Hochreiter and Schmidhuber 1997), GRU (Cho et al. 2014): what recurrence costs
 */
#ifndef GATUN_RELATIVES_H
#define GATUN_RELATIVES_H

#include "gatun.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- additive attention ---------------------------------------------------------------------------------------- */

#define GATUN_ADDITIVE_RAGGED_Q 1u /* flag: sequences of query rows lie one after the other: cu_seqlens_q is given */
#define GATUN_ADDITIVE_RAGGED_K 2u /* flag: so do keys and values: cu_seqlens_k is given */

/* Sizes, strides and flags of one call of additive attention; members as those of gatun_attention_desc of the same names. */
typedef struct gatun_additive_attention_desc {
    uint32_t struct_size;
    uint32_t flags;        /* GATUN_ADDITIVE_* */
    int32_t causal;        /* GATUN_CAUSAL_* */
    int32_t max_threads;   /* threads for this call, the caller's included; 0 = the context's */
    int64_t batch;         /* >= 0 */
    int64_t heads;         /* of q, energy and out, >= 1, a multiple of kv_heads */
    int64_t kv_heads;      /* of k and v, >= 1 */
    int64_t seq_q;         /* 0 .. 2^31 - 1 */
    int64_t seq_k;         /* 0 .. 2^31 - 1 */
    int64_t head_dim;      /* of q, k and energy, 1 .. GATUN_MAX_HEAD_DIM */
    int64_t head_dim_v;    /* of v and out, 1 .. GATUN_MAX_HEAD_DIM */
    int64_t q_stride[3];   /* q:   [batch][seq_q][heads][head_dim] */
    int64_t k_stride[3];   /* k:   [batch][seq_k][kv_heads][head_dim] */
    int64_t v_stride[3];   /* v:   [batch][seq_k][kv_heads][head_dim_v] */
    int64_t out_stride[3]; /* out: [batch][seq_q][heads][head_dim_v] */
    int64_t lse_stride[3]; /* lse: [batch][seq_q][heads] */
    int64_t reserved[8];   /* 0 */
} gatun_additive_attention_desc;

/**
 * Checks a descriptor as gatun_additive_attention does, and writes an English message that names the member, what was expected and
 * what it is, into message (message_size bytes; may be NULL). context may be NULL.
 */
GATUN_API int32_t gatun_additive_attention_check(
    const gatun_context *context, const gatun_additive_attention_desc *desc, char *message, int64_t message_size);

/**
 * Stores in *bytes the size of the workspace that a call with this descriptor needs: O(threads * tile), whatever batch, heads,
 * seq_q and seq_k are. It is >= 64, and depends on nothing but the context and the descriptor.
 */
GATUN_API int32_t gatun_additive_attention_workspace_size(
    const gatun_context *context, const gatun_additive_attention_desc *desc, int64_t *bytes);

/**
 * Additive attention (Bahdanau, Cho and Bengio 2015, sections 3.1 and A.1.2, where energy is v_a, a query is W_a s and a key U_a h;
 * one head there), for every batch row b, query head h and query row i, with g = h / (heads / kv_heads):
 *
 *     score[j] = sum_d energy[h][d] * tanh(q[b][i][h][d] + k[b][j][g][d])
 *     out[b][i][h][:] = sum_j softmax(score)[j] * v[b][j][g][:]     over the keys j that row i may attend to
 *     lse[b][h][i]    = log(sum_j exp(score[j]))
 *
 * by tiles of keys with an online softmax: no matrix of seq_q x seq_k scores ever exists. It costs seq_q * seq_k * head_dim
 * hyperbolic tangents a head.
 *
 *   energy         [heads][head_dim], contiguous float32
 *   q, k, v, out   float32, shapes and strides as in desc; q, k, v and energy may be NULL where they have no element that is read
 *   key_lengths, query_lengths   [batch] or NULL, as in gatun_attention_forward
 *   cu_seqlens_q, cu_seqlens_k   [batch + 1] row offsets, with GATUN_ADDITIVE_RAGGED_Q and _K and only then, as in
 *                  gatun_attention_forward_extended: batch strides 0, no lengths beside them
 *   out, lse       as in gatun_attention_forward; lse may be NULL. Neither shares memory with another argument, except that out
 *                  may interleave with q, k and v in one buffer (equal strides, disjoint elements)
 *
 * Numbers
 *   - A row that may attend to no key gives out 0 and lse -inf. Masked keys are selected away: NaN and Inf in keys or values that a
 *     row may not attend to do not reach it.
 *   - tanh(+-Inf) is +-1. NaN in a query, and Inf that meets the opposite Inf in a key, make the row NaN; NaN in a key makes the
 *     rows NaN that attend to it. NaN in a live value makes its column of out NaN in the rows that attend to it; an Inf makes it
 *     Inf, or NaN where its probability has underflowed to 0 or Infs of both signs meet. A head with a NaN or an Inf among its
 *     energies, or whose sum of |energy| is beyond FLT_MAX / log2(e), gives NaN in every row that sees a key.
 *   - Error, E = sum_d |energy[h][d]|: a score is off by (16 + head_dim / 4) * 2^-24 * E at most, an error that is absolute, since
 *     tanh is; so |out - exact| <= (2e-6 + 2 * (16 + head_dim / 4) * 2^-24 * E) * max|v|, and |lse - exact| <= 1e-5 + 1e-6 *
 *     |lse| + (16 + head_dim / 4) * 2^-24 * E. To both come what a float cannot hold below 2^-126.
 *   - Time depends on data in one way: rows and keys with an element beyond +-5.25 take a slower path, three to four times as long.
 *   - Bits of a row depend on its own query, its own keys and values in its own range, energy, head_dim, head_dim_v and the tier;
 *     not on threads, batch, heads, strides, or on what lies in masked places.
 */
GATUN_API int32_t gatun_additive_attention(gatun_context *context, const gatun_additive_attention_desc *desc,
    void *workspace, int64_t workspace_size, const float *energy, const float *q, const float *k, const float *v,
    const int32_t *key_lengths, const int32_t *query_lengths, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    float *out, float *lse);

/* ---- linear attention ------------------------------------------------------------------------------------------ */

/* ---- selective scan -------------------------------------------------------------------------------------------- */

/* ---- recurrent cells ------------------------------------------------------------------------------------------- */

#ifdef __cplusplus
}
#endif

#endif /* GATUN_RELATIVES_H */
