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
 *   - Time depends on data in one way: rows and keys with an element beyond +-5.25 take a slower path, three to five times as long.
 *   - Bits of a row depend on its own query, its own keys and values in its own range, energy, head_dim, head_dim_v and the tier;
 *     not on threads, batch, heads, strides, or on what lies in masked places.
 */
GATUN_API int32_t gatun_additive_attention(gatun_context *context, const gatun_additive_attention_desc *desc,
    void *workspace, int64_t workspace_size, const float *energy, const float *q, const float *k, const float *v,
    const int32_t *key_lengths, const int32_t *query_lengths, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    float *out, float *lse);

/* ---- linear attention ------------------------------------------------------------------------------------------ */

/*
 * Attention whose weights are products of features (Katharopoulos et al. 2020, "Transformers are RNNs", equations 4 to 6 and 9 to 12):
 *
 *     out[i] = sum_j w[i][j] v[j] / sum_j w[i][j]        w[i][j] = phi(q[i]) . phi(k[j])
 *
 * over all keys j, or the keys j <= i of a causal call. Sums over j do not depend on i: S = sum_j phi(k[j]) v[j]^T and
 * z = sum_j phi(k[j]) are made once, and out[i] = phi(q[i]) S / (phi(q[i]) . z), so that time grows with the number of rows and not with
 * its square. A causal call has S and z as a state, from which it goes on at any row.
 */

#define GATUN_FEATURES_NONE 0 /* phi(x) = x: q and k are features already; no softmax is meant, weights have any sign */
#define GATUN_FEATURES_ELU                                                                                             \
    1 /* phi(x) = elu(x) + 1: x + 1 above 0, exp(x) below (Katharopoulos et al. 2020, equation 7) */
/*
 * FAVOR+, positive random features (Choromanski et al. 2021, "Rethinking attention with Performers", Lemma 1 and section 2.4):
 *
 *     phi(x)[f] = exp(w[f] . x' - |x'|^2 / 2) / sqrt(features)        x' = sqrt(scale) * x
 *
 * for rows w[f] of the projection, of which the caller has drawn features: phi(q) . phi(k) is exp(scale * q . k) in expectation, where
 * they are normal or, with less variance, orthogonal with norms as normal ones have.
 */
#define GATUN_FEATURES_POSITIVE_RANDOM 2

/* How it is computed, which decides nothing but time and bits. */
#define GATUN_LINEAR_FORM_AUTO 0 /* RECURRENT for one row of a causal call, otherwise CHUNKED */
/* Every pair of a row and a key, in tiles: time n^2, but no memory of n^2. Without a state. */
#define GATUN_LINEAR_FORM_PARALLEL 1
/* Causal: pairs within chunks of 64 rows, sums from one to the next (Hua et al. 2022, section 3.2; Dao and Gu 2024, section 6).
 * Not causal: sums over all keys, then rows. */
#define GATUN_LINEAR_FORM_CHUNKED   2
#define GATUN_LINEAR_FORM_RECURRENT 3 /* row by row, causal only */

#define GATUN_LINEAR_ATTENTION_CAUSAL       1u /* flag: row i sees the keys j <= i; seq_k is seq_q */
#define GATUN_LINEAR_ATTENTION_UNNORMALIZED 2u /* flag: the sum over j is not divided */
#define GATUN_LINEAR_ATTENTION_RAGGED       4u /* flag: sequences lie one after the other, see cu_seqlens_q */
#define GATUN_LINEAR_ATTENTION_SCALE        8u /* flag: use scale; without it it is 1 / sqrt(head_dim) */

#define GATUN_MAX_FEATURES 4096

/*
 * Sizes, strides and flags of one call. Head h uses head h / (heads / query_heads) of q, and likewise of k and v: grouped queries have
 * fewer key_heads and value_heads, the groups of Mamba-2 fewer query_heads and key_heads. Strides as in gatun_attention_desc.
 */
typedef struct gatun_linear_attention_desc {
    uint32_t struct_size;
    uint32_t flags;      /* GATUN_LINEAR_ATTENTION_* */
    int32_t feature_map; /* GATUN_FEATURES_* */
    int32_t form;        /* GATUN_LINEAR_FORM_* */
    int32_t max_threads; /* as in gatun_attention_desc */
    float scale;         /* finite and > 0, of GATUN_FEATURES_POSITIVE_RANDOM; 0 without GATUN_LINEAR_ATTENTION_SCALE */
    int64_t batch;       /* sequences; 0 .. 2^31 - 1 */
    int64_t heads;       /* of out, 1 .. 2^31 - 1 */
    int64_t query_heads; /* divisors of heads */
    int64_t key_heads;
    int64_t value_heads;
    int64_t seq_q;           /* 0 .. 2^31 - 1; of ragged sequences at least the longest */
    int64_t seq_k;           /* likewise; seq_q of a causal call */
    int64_t head_dim;        /* of q and k, 1 .. GATUN_MAX_HEAD_DIM */
    int64_t head_dim_v;      /* of v and out, 1 .. GATUN_MAX_HEAD_DIM */
    int64_t features;        /* 1 .. GATUN_MAX_FEATURES; head_dim but for GATUN_FEATURES_POSITIVE_RANDOM */
    int64_t q_stride[3];     /* q:   [batch][seq_q][query_heads][head_dim] */
    int64_t k_stride[3];     /* k:   [batch][seq_k][key_heads][head_dim] */
    int64_t v_stride[3];     /* v:   [batch][seq_k][value_heads][head_dim_v] */
    int64_t out_stride[3];   /* out: [batch][seq_q][heads][head_dim_v] */
    int64_t decay_stride[3]; /* log_decay: [batch][seq_q][heads]; not looked at without it */
    int64_t reserved[8];     /* 0 */
} gatun_linear_attention_desc;

/**
 * Checks a descriptor as gatun_linear_attention does (its own members only, no tensors). On failure, and if message_size > 0,
 * message holds one line that names the member, the expected and the actual value. context may be NULL.
 */
GATUN_API int32_t gatun_linear_attention_check(
    const gatun_context *context, const gatun_linear_attention_desc *desc, char *message, int64_t message_size);

/**
 * Stores in *bytes the size of the workspace that a call with this descriptor needs: for each thread some tiles and the sums of four
 * heads at most, [features][head_dim_v] each, and the packed projection; independent of the number of rows, keys and heads.
 */
GATUN_API int32_t gatun_linear_attention_workspace_size(
    const gatun_context *context, const gatun_linear_attention_desc *desc, int64_t *bytes);

/**
 * Linear attention as above.
 *
 *   workspace    as for gatun_attention_forward
 *   q, k, v      inputs; not written; may be NULL where they have no element
 *   projection   [features][head_dim], contiguous: with GATUN_FEATURES_POSITIVE_RANDOM, and only then; NULL otherwise
 *   log_decay    causal only, or NULL: <= 0, by which everything before a row is weakened,
 *                S_t = exp(log_decay[t]) S_(t-1) + phi(k_t) v_t^T, and z likewise (the scalar form of state-space models: Dao and Gu 2024,
 *                equation 16). exp of less than -700 counts as 0
 *   state        in and out, causal only, or NULL: [batch][heads][features][head_dim_v + 2], contiguous; of each feature its sums of
 *                values, its sum of weights and its stabilizer (below). Zeros before the first row; a call goes on from there, and leaves
 *                what a later call goes on from, for any number of rows: with one row a call this is the recurrent step, whose time does
 *                not depend on how many there were. A state belongs to the sizes and the feature map of its calls
 *   cu_seqlens_q [batch + 1] row offsets, with GATUN_LINEAR_ATTENTION_RAGGED and only then: sequence b is the rows cu_seqlens_q[b] ..
 *                cu_seqlens_q[b + 1] - 1 of q and out (of a causal call of k, v and log_decay as well), whose batch strides are 0. They
 *                start at >= 0 and do not fall; no sequence is longer than seq_q
 *   cu_seqlens_k the same of k and v, with GATUN_LINEAR_ATTENTION_RAGGED where the call is not causal, and only then
 *   key_lengths  [batch] or NULL = all keys; not causal and not ragged only: keys at and past key_lengths[b] are not read
 *   out          output, written whole; shares no memory with an input or the state
 *
 * A log_decay above 0 is GATUN_E_INVALID.
 *
 * Numbers
 *   - A row that sees no key gives 0. A row whose sum of weights is 0 is not a number; with GATUN_FEATURES_POSITIVE_RANDOM there is none.
 *   - |out - exact| is of the order of 1e-6 * sum_j |w[i][j]| |v[j]| / |sum_j w[i][j]|, whatever the number of keys: sums in registers are
 *     of at most 256 terms, and what the floats of longer sums lose is kept beside them. Of a state no more than its floats is
 *     kept: it is rounded once in each call. With GATUN_FEATURES_POSITIVE_RANDOM exponents have the error of a product in float32: to
 *     it comes a factor of 1 +- 2^-23 * (|w||x'| + |x'|^2) of each feature.
 *   - Exponents of random features do not overflow, and the largest of them do not underflow: each feature's sums are those of
 *     exp(exponent - stabilizer), a power of two, and rows are shifted by their own largest exponent; both cancel in the
 *     division. Without causality the stabilizer is at least the largest exponent so far. Causal calls update it where a chunk begins, by its first
 *     key, which all its rows see, and begin a new chunk at a key that exceeds it by 2^32: no row's bits depend on a later key. Decays do
 *     not lower it: with them a key counts as 0 where it is 2^-90 of an earlier one before its decay. All
 *     this holds for |x'|^2 <= 2^20.
 *   - NaN and Inf in queries, keys, values and decays reach the rows that see them, and no others, and the state. A row that sees one
 *     is not finite where exact arithmetic has no finite result; it may be NaN where that is infinite.
 *   - Bits of a row depend on its own query, the keys and values that it sees, and how many of them there are, the form, the feature
 *     map, head_dim, features, the place in the call (of a state) and the tier; not on threads, batch, heads, strides, later rows or values of
 *     another column.
 */
GATUN_API int32_t gatun_linear_attention(gatun_context *context, const gatun_linear_attention_desc *desc,
    void *workspace, int64_t workspace_size, const float *q, const float *k, const float *v, const float *projection,
    const float *log_decay, float *state, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    const int32_t *key_lengths, float *out);

/* ---- selective scan -------------------------------------------------------------------------------------------- */

/*
 * The selective state-space layer of Gu and Dao 2023 (Mamba, section 3, algorithm 2) between its products: a depthwise causal
 * convolution, and the recurrence, whose step sizes and projections depend on the input. Tensors are float32 of less than 2^58
 * elements. Rows lie in sequences: `batch` of `seq` rows each, one after the other, or ragged, by cu_seqlens [batch + 1], where
 * sequence i has the rows cu_seqlens[i] .. cu_seqlens[i + 1] - 1, which do not fall (GATUN_E_INDEX), and seq is 0. No sequence sees
 * anything of another.
 */

#define GATUN_SCAN_SOFTPLUS 1u /* flag: step sizes are log(1 + exp(delta + delta_bias)) */

typedef struct gatun_selective_scan_desc {
    uint32_t struct_size;
    uint32_t flags;   /* GATUN_SCAN_* */
    int64_t batch;    /* sequences, 0 .. 2^31 - 1 */
    int64_t seq;      /* rows of each, 0 with cu_seqlens; batch * seq <= 2^31 - 1 */
    int64_t channels; /* 1 .. 2^31 - 1 */
    int64_t states;   /* of a channel, 1 .. 256 */
    /* Elements from row to row, at least channels or, of b and c, states. z_row is read where there is a z. */
    int64_t x_row;
    int64_t delta_row;
    int64_t b_row;
    int64_t c_row;
    int64_t z_row;
    int64_t y_row;
    int64_t state_row;   /* elements from the state of a sequence to the next; read where there is a state */
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[7]; /* 0 */
} gatun_selective_scan_desc;

/** Stores in *bytes the size of the workspace that a call with this descriptor needs: O(threads), at most 40 KiB for each. */
GATUN_API int32_t gatun_selective_scan_workspace_size(
    const gatun_context *context, const gatun_selective_scan_desc *desc, int64_t *bytes);

/**
 * For every sequence, channel i and state n, t the rows of the sequence in their order, h = state or 0 before the first:
 *
 *     delta'[t][i] = delta[t][i] + delta_bias[i], or softplus of it (GATUN_SCAN_SOFTPLUS)
 *     h[i][n]      = exp(delta'[t][i] * a[i][n]) * h[i][n] + delta'[t][i] * b[t][n] * x[t][i]
 *     y[t][i]      = (sum_n c[t][n] * h[i][n] + d[i] * x[t][i]) * silu(z[t][i])
 *
 *   x, delta     [rows][channels]
 *   a            [channels][states], contiguous; below 0 in models, where h decays
 *   b, c         [rows][states]
 *   d            [channels] or NULL = 0
 *   delta_bias   [channels] or NULL = 0
 *   z            [rows][channels] or NULL = no gate
 *   cu_seqlens   [batch + 1] or NULL
 *   state        [batch][channels][states], the last two contiguous: read before, written behind each sequence; or NULL: begins with zeros, and
 *                is lost
 *   y            output [rows][channels]; may be x, delta or z itself (same pointer and stride), and must not overlap other inputs
 *
 * Numbers: where products stay in the range of float, a step adds at most (4e-7 + 7e-7 * |delta' a|) * |h| + 7e-7 * |delta' b x| to the error of h, which
 * decays as h does. A sequence cut into calls that hand on the state has the bits of one call, down to calls of one row. Bits of
 * a sequence do not depend on threads, batch, strides and other sequences. Threads share channels, then sequences.
 */
GATUN_API int32_t gatun_selective_scan(gatun_context *context, const gatun_selective_scan_desc *desc, void *workspace,
    int64_t workspace_size, const float *x, const float *delta, const float *a, const float *b, const float *c,
    const float *d, const float *delta_bias, const float *z, const int32_t *cu_seqlens, float *state, float *y);

typedef struct gatun_causal_convolution_desc {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    int64_t batch;  /* as in gatun_selective_scan_desc */
    int64_t seq;
    int64_t channels;
    int64_t width; /* rows that an output sees, its own the last of them, 1 .. 16 */
    int64_t x_row;
    int64_t out_row;
    int64_t state_row;   /* as in gatun_selective_scan_desc */
    int32_t activation;  /* GATUN_ACTIVATION_* */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t reserved[7]; /* 0 */
} gatun_causal_convolution_desc;

/**
 * out[t][i] = activation(bias[i] + sum_w weight[i][w] * x[t - width + 1 + w][i]), t and the rows of x those of a sequence: each channel by
 * itself. Before the first row x is what state holds, or 0.
 *
 *   x            [rows][channels]
 *   weight       [channels][width], contiguous, as PyTorch has conv1d.weight [channels][1][width]
 *   bias         [channels] or NULL = 0
 *   cu_seqlens   [batch + 1] or NULL
 *   state        [batch][width - 1][channels], the last two contiguous, the oldest row first: read before, and written behind each sequence with
 *                its last width - 1 rows; or NULL: zeros, and lost
 *   out          output [rows][channels], which must not overlap an input
 *
 * Bits are as those of gatun_selective_scan: chunks that hand on the state have the bits of one call. Error before the activation: width + 1
 * roundings of the sum of magnitudes.
 */
GATUN_API int32_t gatun_causal_convolution(gatun_context *context, const gatun_causal_convolution_desc *desc,
    const float *x, const float *weight, const float *bias, const int32_t *cu_seqlens, float *state, float *out);

/* ---- recurrent cells ------------------------------------------------------------------------------------------- */

/*
 * One step of a recurrent layer over rows, a row being a sequence that is still running: what is left of it when the two products, of
 * the input and of the state, have been made (by gatun_packed_linear or gatun_linear, their biases included). sigma(a) is
 * 1 / (1 + exp(-a)); x_i is block i of hidden columns of a row of x_gates, u_i that of h_gates; o is the product of elements.
 */
#define GATUN_CELL_LSTM 1
/*
 * Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), blocks i, f, g, o as PyTorch orders them:
 *
 *     c_out = sigma(x_f + u_f) o c + sigma(x_i + u_i) o tanh(x_g + u_g)
 *     h_out = sigma(x_o + u_o) o tanh(c_out)
 *
 * x_gates and h_gates have 4 * hidden columns.
 */
#define GATUN_CELL_GRU 2
/*
 * Gated recurrent unit as PyTorch and cuDNN have it, blocks r, z, n; the reset gate comes after the product:
 *
 *     n = tanh(x_n + sigma(x_r + u_r) o u_n)        z = sigma(x_z + u_z)
 *     h_out = (1 - z) o n + z o h
 *
 * x_gates and h_gates have 3 * hidden columns, u_n its own bias.
 */
#define GATUN_CELL_GRU_RESET 3
/*
 * The unit of Cho et al. 2014 and of Bahdanau et al. 2015 (appendix A.1.1), whose reset gate comes before the product, in two calls. The
 * first one, of the blocks r, z, n of x_gates and r, z of h_gates, reads the blocks r alone:
 *
 *     h_out = sigma(x_r + u_r) o h
 *
 * The caller multiplies h_out into block n of h_gates; then the second call, with the state h of before:
 */
#define GATUN_CELL_GRU_UPDATE 4
/*
 *     n = tanh(x_n + u_n)        z = sigma(x_z + u_z)
 *     h_out = (1 - z) o h + z o n
 *
 * as Bahdanau et al. have z (in Cho et al. it is 1 - z). x_gates and h_gates have 3 * hidden columns in both calls.
 */

typedef struct gatun_recurrent_cell_desc {
    uint32_t struct_size;
    uint32_t flags;      /* 0 */
    int32_t cell;        /* GATUN_CELL_* */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t rows;        /* 0 .. 2^31 - 1 */
    int64_t hidden;      /* 1 .. 2^31 - 1 */
    int64_t places;      /* rows of x_gates and out, if places are given: 1 .. 2^31 - 1; else 0 */
    int64_t x_row;       /* strides of rows, at least their columns */
    int64_t gates_row;   /* of h_gates */
    int64_t h_row;
    int64_t c_row; /* LSTM only, as c_out_row: else 0 */
    int64_t h_out_row;
    int64_t c_out_row;
    int64_t out_row;     /* without out 0 */
    int64_t reserved[6]; /* 0 */
} gatun_recurrent_cell_desc;

/**
 * The element-wise part of one step of a recurrent cell.
 *
 *   x_gates   [rows][gates * hidden], or [places][gates * hidden] of which row r uses row places[r]
 *   h_gates   [rows][gates * hidden]
 *   h         [rows][hidden], the state before
 *   c         [rows][hidden] of an LSTM, else NULL
 *   places    [rows], each one in 0 .. places - 1: where the row's sequence has this step in x_gates and out, so that sequences of
 *             different lengths need no copy: rows of those that are still running, with the states of those that are not behind them. NULL:
 *             row r. Where two rows have the same place, which of them out has there is not defined
 *   h_out     [rows][hidden], may be h itself (same pointer and stride)
 *   c_out     [rows][hidden] of an LSTM, may be c itself; else NULL
 *   out       as x_gates, hidden columns: receives h_out once more, at the row's place; NULL: it is not wanted
 *
 * Outputs share no memory with each other or, but for the state, with an input. A place outside is GATUN_E_INDEX, and nothing is written.
 *
 * sigma and tanh of floats are off by less than 5e-7; with exact ones of the same inputs
 *
 *     |c_out - exact| <= 1e-6 * (1 + |c|)        |h_out - exact| <= 2e-6 * (1 + |c|) (LSTM)
 *     |h_out - exact| <= 1e-6 * (1 + |u_n| + |h|) (GRU), 1e-6 * (1 + |h|) (the other two)
 *
 * An element that is not finite reaches its own column of its row alone. Rows are split over the pool; bits do not depend on threads,
 * places or other rows.
 */
GATUN_API int32_t gatun_recurrent_cell(gatun_context *context, const gatun_recurrent_cell_desc *desc,
    const float *x_gates, const float *h_gates, const float *h, const float *c, const int32_t *places, float *h_out,
    float *c_out, float *out);

#ifdef __cplusplus
}
#endif

#endif /* GATUN_RELATIVES_H */
