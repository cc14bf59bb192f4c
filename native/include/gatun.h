/*
 * gatun.h: exact multi-head flash attention on the CPU. This header is the manual of libgatun.
 *
 * What it computes, for every batch row b, query head h and query row i (Vaswani et al. 2017, section 3.2.1):
 *
 *     score[j] = scale * sum_d q[b][i][h][d] * k[b][j][g][d]        g = h / (heads / kv_heads)
 *     out[b][i][h][:] = sum_j softmax(score)[j] * v[b][j][g][:]     over the keys j that row i may attend to
 *     lse[b][h][i]    = log(sum_j exp(score[j]))                    natural logarithm
 *
 * by tiles of keys with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022), so that no matrix of seq_q
 * x seq_k scores ever exists. It is exact: nothing is approximated, dropped or quantized.
 *
 * Minimal use, one call of attention on tensors [1][n][8][64]:
 *
 *     gatun_context *ctx;
 *     if (gatun_context_create(NULL, &ctx, NULL, 0) != GATUN_OK) return 1;
 *     gatun_attention_desc desc = {.struct_size = sizeof desc, .dtype = GATUN_DTYPE_F32, .kv_dtype = GATUN_DTYPE_F32,
 *         .batch = 1, .heads = 8, .kv_heads = 8, .seq_q = n, .seq_k = n, .head_dim = 64, .head_dim_v = 64,
 *         .q_stride = {n * 512, 512, 64}, .k_stride = {n * 512, 512, 64}, .v_stride = {n * 512, 512, 64},
 *         .out_stride = {n * 512, 512, 64}};
 *     int64_t bytes;
 *     gatun_attention_workspace_size(ctx, &desc, &bytes);
 *     void *workspace = aligned_alloc(64, (size_t)bytes);
 *     int32_t status = gatun_attention_forward(ctx, &desc, workspace, bytes, q, k, v, NULL, NULL, out, NULL);
 *     free(workspace);
 *     gatun_context_destroy(ctx);
 *
 * This page goes from the simple call to the rest: attention, contexts and tiers, what a call will do (plan), attention with
 * every option, products, operations on rows, products with packed weights. gatun_relatives.h, which it includes, is the manual
 * of what stands beside exact attention.
 *
 * Conventions
 *   - Every function that can fail returns an int32_t status: GATUN_OK (0) or a negative GATUN_E_*. On a negative
 *     status nothing was written to any output tensor. Nothing aborts, exits, prints, or raises a signal.
 *   - Tensors are the caller's memory and are passed as pointer arguments. No struct of this interface holds a
 *     pointer.
 *   - Structs begin with struct_size (set it to sizeof the struct) and end in a reserved tail that must be zero; zero
 *     the whole struct first. An older caller's smaller struct is accepted from a newer library. A newer caller's
 *     larger struct is accepted while what this library does not know of it is zero, and is refused with
 *     GATUN_E_VERSION otherwise.
 *   - Sizes and strides are int64_t, strides in elements. Alignment: tensors need that of their element type,
 *     workspaces 64 bytes.
 *   - Threads: a context may be used by any number of threads at the same time. A workspace serves one call at a
 *     time.
 *   - Memory that changes during a call: elements of tensors, and lengths, offsets (cu_seqlens), ids and positions, may be
 *     written by others meanwhile, other processes included. Then results mean nothing, and a call may be refused; but no
 *     address is touched beyond what the call's first look at lengths, offsets, ids and positions, which checks them, allows
 *     with its descriptor. Offsets that may change at any time are copied by whoever has compared them with the size of
 *     a tensor: the call looks for itself. Descriptors, workspaces and messages must not be written by others.
 *   - The floating-point environment (rounding, FTZ, DAZ) is left as found.
 *   - A context is unusable in a child made by fork(): calls there return GATUN_E_STATE.
 */
#ifndef GATUN_H
#define GATUN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GATUN_BUILD) && defined(__GNUC__)
#define GATUN_API __attribute__((visibility("default")))
#else
#define GATUN_API
#endif

/* ---- status ---------------------------------------------------------------------------------------------------- */

#define GATUN_OK            0
#define GATUN_E_INVALID     (-1)  /* a size, stride, flag or scalar of a descriptor is out of its range */
#define GATUN_E_UNSUPPORTED (-2)  /* valid, but not built, or not available on this CPU */
#define GATUN_E_NULL        (-3)  /* a pointer that is needed is NULL */
#define GATUN_E_ALIGNMENT   (-4)  /* a pointer is not aligned as required */
#define GATUN_E_OVERLAP     (-5)  /* an output shares memory with an input, with another output, or with itself */
#define GATUN_E_LENGTH      (-6)  /* a key or query length lies outside 0 .. seq */
#define GATUN_E_WORKSPACE   (-7)  /* workspace_size is less than the call needs: see gatun_*_workspace_size */
#define GATUN_E_MEMORY      (-8)  /* the operating system gave no memory */
#define GATUN_E_THREAD      (-9)  /* the operating system gave no thread */
#define GATUN_E_STATE       (-10) /* the context was made before a fork(), or is destroyed while calls run */
#define GATUN_E_VERSION     (-11) /* struct_size is unknown, or a reserved tail is not zero */
#define GATUN_E_INDEX       (-12) /* an id lies outside its table, or sequence offsets fall or exceed their sizes */

/** A short English text for a status; static storage; never NULL, "unknown status" for any other number. */
GATUN_API const char *gatun_status_string(int32_t status);

/* ---- attention: the simple call -------------------------------------------------------------------------------- */

/* The context that a call runs on; see below. */
typedef struct gatun_context gatun_context;

#define GATUN_DTYPE_F32  1
#define GATUN_DTYPE_BF16 2 /* bfloat16, as uint16_t */
#define GATUN_DTYPE_F16  3 /* IEEE half precision, as uint16_t */

#define GATUN_CAUSAL_NONE 0
/*
 * Row i of a batch row with query length lq and key length lk sees the keys j <= i + lk - lq: its last valid query
 * sees its last valid key.
 */
#define GATUN_CAUSAL_BOTTOM_RIGHT 1
/* Row i sees the keys j <= i. */
#define GATUN_CAUSAL_TOP_LEFT 2

#define GATUN_ATTENTION_SCALE 1u /* flag: use gatun_attention_desc.scale; without it scale is 1 / sqrt(head_dim) */
#define GATUN_ATTENTION_RAGGED_Q                                                                                       \
    2u /* flag: sequences of query rows lie one after the other (see gatun_attention_forward_extended) */
#define GATUN_ATTENTION_RAGGED_K 8u /* flag: so do keys and values */
#define GATUN_ATTENTION_BIASED   4u /* flag: alibi_slopes or relative_position_table is given (see there as well) */
/*
 * flag: products may be those of bfloat16 numbers, which take about half the time: queries, keys, probabilities and values are
 * rounded to bfloat16 where they are multiplied; products are added up, and the softmax is computed, in float32. It has an effect
 * where the context has GATUN_FEATURE_BF16, on sequences (or batch rows) of more than 4 queries and more than 16 keys without biases,
 * window, softcap, sinks and what GATUN_ATTENTION_MASKED stands for; elsewhere it is ignored. What it costs is said at gatun_attention_forward.
 */
#define GATUN_ATTENTION_BF16 16u

#define GATUN_ATTENTION_WINDOW 32u /* flag: window_left and window_right of the descriptor are meant */
#define GATUN_ATTENTION_MASKED                                                                                         \
    64u /* flag: mask, block_mask, bias, segment_ids or query_positions are given (see gatun_attention_forward_extended) */
#define GATUN_ATTENTION_SINKS  128u /* flag: sinks are given */
#define GATUN_ATTENTION_PREFIX 256u /* flag: prefix_lengths are given; only with a causal mask */

#define GATUN_MAX_HEAD_DIM 512

#define GATUN_MAX_RELATIVE_SPAN 1048576

/*
 * Sizes, strides, scalars and flags of one attention call.
 *
 * Strides are in elements, >= 0, in the order batch, sequence, head; the head dimension itself is contiguous. So
 * [batch, seq, heads, dim] is {seq * heads * dim, heads * dim, dim} and [batch, heads, seq, dim] is {heads * seq *
 * dim, dim, seq * dim}. Inputs may use stride 0 (broadcast). No two elements of out, or of lse, may share an address.
 */
typedef struct gatun_attention_desc {
    uint32_t struct_size;
    uint32_t flags;        /* GATUN_ATTENTION_* */
    int32_t dtype;         /* of q: GATUN_DTYPE_F32, GATUN_DTYPE_BF16 or GATUN_DTYPE_F16 */
    int32_t kv_dtype;      /* of k and v: one of these, whatever q is */
    int32_t causal;        /* GATUN_CAUSAL_* */
    int32_t max_threads;   /* threads for this call, the caller's included; 0 = the context's */
    float scale;           /* finite; read only with GATUN_ATTENTION_SCALE */
    int32_t out_dtype;     /* of out: 0 or dtype, or GATUN_DTYPE_F32 */
    int64_t batch;         /* >= 0 */
    int64_t heads;         /* of q and out, >= 1, a multiple of kv_heads */
    int64_t kv_heads;      /* of k and v, >= 1: fewer than heads is grouped-query (Ainslie et al. 2023) */
    int64_t seq_q;         /* 0 .. 2^31 - 1 */
    int64_t seq_k;         /* 0 .. 2^31 - 1 */
    int64_t head_dim;      /* of q and k, 1 .. GATUN_MAX_HEAD_DIM */
    int64_t head_dim_v;    /* of v and out, 1 .. GATUN_MAX_HEAD_DIM */
    int64_t q_stride[3];   /* q:   [batch][seq_q][heads][head_dim] */
    int64_t k_stride[3];   /* k:   [batch][seq_k][kv_heads][head_dim] */
    int64_t v_stride[3];   /* v:   [batch][seq_k][kv_heads][head_dim_v] */
    int64_t out_stride[3]; /* out: [batch][seq_q][heads][head_dim_v] */
    int64_t lse_stride[3]; /* lse: [batch][seq_q][heads]; a [batch][heads][seq_q] array is {heads * seq_q, 1, seq_q} */
    int64_t relative_span; /* of relative_position_table: 0 .. GATUN_MAX_RELATIVE_SPAN; 0 without the table */
    float softcap;         /* > 0: scores become softcap * tanh(score / softcap); 0: they do not */
    int32_t bias_dtype;    /* of bias: GATUN_DTYPE_F32 or dtype; 0 without it */
    int64_t window_left;  /* with GATUN_ATTENTION_WINDOW: keys before a row's position that it sees, -1 = all; else 0 */
    int64_t window_right; /* the same of keys behind it */
    int64_t
        global_tokens; /* with GATUN_ATTENTION_WINDOW: keys below are in every window, rows at positions below see all */
    /* Strides of mask and bias in elements, in the order batch, head, query, key; 0 broadcasts; 0 without them. */
    int64_t mask_stride[4];
    int64_t bias_stride[4];
    int64_t block_stride[4]; /* of block_mask: batch, head, row of blocks, block */
    int64_t block_q;         /* query rows and keys of a block of block_mask; 0 without it */
    int64_t block_k;
    int64_t reserved[13]; /* 0 */
} gatun_attention_desc;

/**
 * Stores in *bytes the size of the workspace that a call with this descriptor needs: O(threads * tile), independent
 * of batch and heads, and of seq_q and seq_k beyond a few tiles; for each thread up to 4 MiB more where rows of keys or
 * values lie so that they compete for a part of the cache (GATUN_COPY_HEADS), and up to 16 MiB for what parts of the keys
 * leave (key_splits in gatun_attention_plan_info). It is >= 64, and depends on nothing but the context and the
 * descriptor.
 */
GATUN_API int32_t gatun_attention_workspace_size(
    const gatun_context *context, const gatun_attention_desc *desc, int64_t *bytes);

/**
 * Attention as at the top of this page.
 *
 *   workspace      workspace_size bytes, 64-byte aligned, for this call alone; its content before and after means
 *                  nothing
 *   q, k, v        inputs, shapes and strides as in desc; not written; may be NULL where they have no element
 *   key_lengths    [batch] or NULL = seq_k for all: keys at and past key_lengths[b] are not read
 *   query_lengths  [batch] or NULL = seq_q for all: rows at and past query_lengths[b] are not read; their out is 0
 *                  and their lse -inf
 *   out            output, written whole
 *   lse            output, float, or NULL
 *
 * Numbers
 *   - A row that may attend to no key (seq_k = 0, length 0, causal) gives out 0 and lse -inf. seq_q = 0 or batch = 0:
 *     nothing is written.
 *   - Masked keys are selected away, not added to: NaN and Inf in keys or values that a row may not attend to do not
 *     reach it. A score of -inf masks its entry in the same way. A score of +inf or NaN makes the row (out and lse)
 *     NaN. NaN in a live value makes its column of out NaN in the rows that attend to it.
 *   - Error of finite inputs, S = |scale| * max_j sum_d |q_d * k_jd|, maxima over the keys of the row, where S is below
 *     FLT_MAX / log2(e) = 2.3e38 and sums of values do not overflow: |out - exact| <= (2e-6 + (8 + head_dim / 2) * 2^-24 *
 *     S) * max|v|, |lse - exact| <= 1e-5 + 1e-6 * |lse| + (8 + head_dim / 2) * 2^-24 * S.
 *     To both come what a float cannot hold below 2^-126.
 *   - 16-bit floats are made float32 where they are read: results are those of float32 tensors of the same numbers, to the bit
 *     (with GATUN_ATTENTION_BF16 as well). An out of 16 bits has them rounded to nearest even; lse is float32 always.
 *   - With products of bfloat16 (GATUN_ATTENTION_BF16) the errors are larger: |out - exact| by (0.008 + 0.008 * S + seq_k * 2^-31) *
 *     max|v|, |lse - exact| by 0.008 * S + seq_k * 2^-31. Below 2^-126 elements of queries (times scale * log2(e)), keys and
 *     values, and products, may count as 0. All else that is said here holds, masks, NaN and Inf included.
 *   - No finite score is taken for a mask. A row of a finite query whose largest score, scale or bias would leave the
 *     range of float (which scores to base 2 do from 2.3e38 on, and scale * log2(e) * q_d may long before) is
 *     computed in double, slowly: it is right whatever S is, its lse infinite only where no float is as large. In a row whose
 *     largest score is a float, a key beyond that range counts as +inf or -inf, or NaN if its sum overflows both ways.
 *   - An Inf in a live value makes its column Inf, or NaN where its probability has underflowed to 0 or Infs of both signs
 *     meet. Sums that overflow on the way (about seq_k * max|v| beyond the float range) are Inf as well.
 *   - Bits of a row depend on its own query, its own keys and values in its own range, the number of query rows of its
 *     sequence, head_dim, head_dim_v, scale and the tier, with GATUN_ATTENTION_BF16 on that of keys and on GATUN_FEATURE_BF16;
 *     not on threads, batch, heads, strides, or on what lies in masked places.
 *
 * out may interleave with q, k and v in one fused buffer (equal strides, disjoint elements). Any other sharing of
 * memory is refused: exactly where strides agree, by the extents where they differ. A call runs on the calling thread
 * and on workers that are idle; it never waits for another call's work.
 */
GATUN_API int32_t gatun_attention_forward(gatun_context *context, const gatun_attention_desc *desc, void *workspace,
    int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse);

/* ---- tiers: one set of kernels per instruction set ------------------------------------------------------------- */

#define GATUN_TIER_AUTO     0 /* environment variable GATUN_ISA where set and not empty, else the best of the CPU */
#define GATUN_TIER_PORTABLE 1 /* plain C for the compiler's baseline */
#define GATUN_TIER_NEON     2 /* AArch64 Advanced SIMD */
#define GATUN_TIER_AVX2     3 /* AVX2, FMA and F16C; the operating system saves ymm registers */
#define GATUN_TIER_AVX512   4 /* AVX-512 F, DQ, BW, VL; the operating system saves zmm and mask registers */

/**
 * "auto", "portable", "neon", "avx2", "avx512" (the values that GATUN_ISA takes), or NULL if tier is not one of
 * them; static storage.
 */
GATUN_API const char *gatun_tier_name(int32_t tier);

/**
 * GATUN_OK if this build has the tier and this CPU can run it; GATUN_E_UNSUPPORTED, or GATUN_E_INVALID if tier
 * is not one of them.
 */
GATUN_API int32_t gatun_tier_available(int32_t tier);

/* ---- context: a tier and a pool of threads --------------------------------------------------------------------- */

/* Instructions that a CPU of a tier may have or not: used where they are there. Sums of int8 products are the same integers with
 * them and without. */
#define GATUN_FEATURE_VNNI 1u /* avx512, AVX512_VNNI: int8, Q8_0 and Q4_0 products with packed weights */
/* avx512, AVX512_BF16 on a CPU without AMX_BF16: bf16 products with packed weights, and of attention with GATUN_ATTENTION_BF16. Where
 * AMX_BF16 is, float32 makes more products. */
#define GATUN_FEATURE_BF16     2u
#define GATUN_FEATURE_AVX_VNNI 4u  /* avx2, AVX_VNNI: as VNNI */
#define GATUN_FEATURE_DOTPROD  8u  /* neon, DotProd, where I8MM is not there: int8 products with packed weights */
#define GATUN_FEATURE_I8MM     16u /* neon, I8MM: as VNNI */
/* avx512, AMX where the system lets this process use tiles: int8 and bf16 products with packed weights. */
#define GATUN_FEATURE_AMX_INT8 32u
#define GATUN_FEATURE_AMX_BF16 64u

#define GATUN_CONFIG_TIER_ALONE 1u /* flag: without GATUN_FEATURE_* that the CPU has beyond the tier */

typedef struct gatun_config {
    uint32_t struct_size;
    int32_t threads; /* that work on one call, the caller's included: 1 .. 1024, or 0 = CPUs of this process */
    int32_t tier;    /* GATUN_TIER_*; one that is not available is refused, never replaced */
    uint32_t flags;  /* GATUN_CONFIG_* */
    uint64_t reserved[6];
} gatun_config;

/**
 * Makes a context and starts config->threads - 1 worker threads (named "gatun-N", with all asynchronous signals
 * blocked). config may be NULL: all CPUs, tier AUTO. On success *context is the caller's, to be given to
 * gatun_context_destroy. On failure *context is NULL and, if message_size > 0, message holds one line with the
 * expected and the actual value.
 */
GATUN_API int32_t gatun_context_create(
    const gatun_config *config, gatun_context **context, char *message, int64_t message_size);

/**
 * Stops the workers, waits for them and frees the context. NULL is accepted. GATUN_E_STATE, with the context left
 * usable, if a call that uses the pool is running. The caller must see to it that no new call starts meanwhile.
 */
GATUN_API int32_t gatun_context_destroy(gatun_context *context);

#define GATUN_TIER_FROM_CPU         0 /* the best that the CPU has */
#define GATUN_TIER_FROM_CONFIG      1 /* gatun_config.tier */
#define GATUN_TIER_FROM_ENVIRONMENT 2 /* GATUN_ISA */

typedef struct gatun_info {
    uint32_t struct_size;
    int32_t tier;        /* the context's */
    int32_t tier_source; /* GATUN_TIER_FROM_* */
    int32_t threads;     /* that work on one call, the caller's included */
    uint32_t tiers;      /* bit 1 << tier is set for each tier that is available */
    int32_t cpus;        /* CPUs that this process may use */
    int64_t l1d_bytes;   /* caches as the plan uses them: per core, L3 clamped to what one core can expect (virtual */
    int64_t l2_bytes;    /* machines report whole sockets); a default where the system does not tell */
    int64_t l3_bytes;
    uint64_t calls;         /* calls that computed something since creation: attention, products, layers */
    uint64_t tasks;         /* pieces that those calls were cut into */
    uint64_t tasks_helped;  /* of these, run by a worker thread and not by the caller's */
    uint64_t blocks_redone; /* query blocks run a second time because a result was not finite (see Numbers) */
    char cpu[64];           /* the CPU's name, NUL-terminated */
    uint64_t features;      /* GATUN_FEATURE_* that the context uses */
    uint64_t reserved[7];
} gatun_info;

/** Fills *info, whose struct_size the caller has set (a smaller size gets the members that fit). */
GATUN_API int32_t gatun_context_info(const gatun_context *context, gatun_info *info);

/**
 * Runs independent FMAs of the context's tier on the calling thread for about nanoseconds (1,000 .. 10,000,000,000)
 * and stores the rate reached, in floating-point operations a second: the roof that attention can come near on one
 * core.
 */
GATUN_API int32_t gatun_peak_f32(const gatun_context *context, int64_t nanoseconds, double *flops_per_second);

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/**
 * bytes (> 0) of zeroed memory from the operating system, aligned to 2 MiB where bytes is at least that and to a page
 * otherwise, with huge pages asked for. NULL if there is none. Give it back with gatun_memory_free and the same
 * bytes.
 */
GATUN_API void *gatun_memory_allocate(int64_t bytes);

/** Gives back what gatun_memory_allocate returned. NULL is accepted. */
GATUN_API void gatun_memory_free(void *memory, int64_t bytes);

/* ---- attention: what a call will do ---------------------------------------------------------------------------- */

/**
 * Checks a descriptor as gatun_attention_forward does (its own members only, no tensors). On failure, and if
 * message_size > 0, message holds one line that names the member, the expected and the actual value. context
 * may be NULL.
 */
GATUN_API int32_t gatun_attention_check(
    const gatun_context *context, const gatun_attention_desc *desc, char *message, int64_t message_size);

#define GATUN_KERNEL_GENERAL 0 /* lanes of a vector are queries */
#define GATUN_KERNEL_DECODE  1 /* at most 4 query rows, as when decoding: lanes are elements of a head */
#define GATUN_KERNEL_TINY    2 /* a task is some heads, each one vector of queries and a few keys, in registers */
#define GATUN_KERNEL_BF16    3 /* as GENERAL, with products of bfloat16 (GATUN_ATTENTION_BF16) */

#define GATUN_COPY_NONE  0 /* keys and values are read where they lie */
#define GATUN_COPY_TILES 1 /* each task copies a tile of them to rows one after the other before it uses it */
#define GATUN_COPY_HEADS 2 /* a thread copies those of a head once for all its tasks of that head */

/*
 * How a call is cut up, and how fast it should be. A lane is a pair (query row, head of a group): heads that share a
 * key/value head stand side by side.
 */
typedef struct gatun_attention_plan_info {
    uint32_t struct_size;
    int32_t tier;        /* GATUN_TIER_* */
    int32_t kernel;      /* GATUN_KERNEL_* of a batch row with full lengths (see gatun_attention_plan) */
    int32_t threads;     /* that may work on the call, the caller's included */
    int32_t block_lanes; /* lanes of one block */
    int32_t task_blocks; /* blocks of one task: they share each tile of keys and values while it is in L2 */
    int32_t tile_keys;   /* keys of one softmax step */
    int32_t chain_keys;  /* keys that are summed in registers */
    int32_t split_keys;  /* keys whose result is kept in float; beyond, splits are merged in double */
    int32_t kv_fits_l2;  /* 1: keys and values of a head stay in L2 from one task to the next */
    int32_t copies;      /* GATUN_COPY_*: of keys and values whose rows compete for a part of the cache */
    int32_t key_splits;  /* parts of the keys that are tasks of their own: 1 unless GATUN_KERNEL_DECODE and few tasks */
    int64_t task_lanes;  /* lanes of one task, task_blocks * block_lanes: the last one of a head may have fewer */
    int64_t tasks;       /* of the call */
    int64_t scratch_bytes;   /* of one thread */
    int64_t workspace_bytes; /* of all threads and parts: what gatun_attention_workspace_size says */
    double flops;            /* of the products that causal mask and window leave, 2 for each multiplication */
    double
        predicted_share; /* of the tier's FMA peak (gatun_peak_f32), 0 .. 1; NaN if unknown, and for GATUN_KERNEL_BF16 */
    uint64_t reserved[8];
} gatun_attention_plan_info;

/**
 * Fills *plan, whose struct_size the caller has set (a smaller size gets the members that fit), with the plan of a call
 * with this descriptor. It depends on nothing but the context and the descriptor, and nothing is computed.
 *
 * Lengths and ragged sequences are not known here: all batch rows count as seq_q queries and seq_k keys. A call chooses
 * the kernel for each batch row, or sequence, by its own lengths, GATUN_KERNEL_TINY for each task; of ragged sequences that
 * hold less than seq_q and seq_k say it makes fewer tasks, and fewer threads work on it; all else is as the plan says.
 *
 * predicted_share is for one thread whose keys and values are in its caches, or in memory for GATUN_KERNEL_DECODE. It
 * comes from a small model of the kernels, which knows no biases: within a few percent of measurements where heads are
 * long, rougher for calls of a few microseconds. NaN if nobody has measured the tier (portable, neon) or the kernel
 * (GATUN_KERNEL_BF16), or if there is nothing to compute.
 */
GATUN_API int32_t gatun_attention_plan(
    const gatun_context *context, const gatun_attention_desc *desc, gatun_attention_plan_info *plan);

/* ---- attention: with every option ------------------------------------------------------------------------------ */

/**
 * The same with every optional tensor by name. Those that this version does not have (page_table, k_scales, v_scales) must be
 * NULL, any other value is refused with GATUN_E_UNSUPPORTED. They stand here so that the interface need not change when they
 * are built.
 *
 *   cu_seqlens_q                [batch + 1] row offsets, with GATUN_ATTENTION_RAGGED_Q and only then: sequence b is the
 *                               rows cu_seqlens_q[b] .. cu_seqlens_q[b + 1] - 1 of q and out, and of lse. Offsets start
 *                               at >= 0 and do not fall; no sequence is longer than seq_q, which may be larger than any
 *                               (batch * heads * seq_q at most 2^58): the call is cut up by what the offsets hold. The
 *                               batch strides (index 0) of q, out and lse must be 0, query_lengths NULL.
 *   cu_seqlens_k                the same for k and v, with GATUN_ATTENTION_RAGGED_K: no sequence is longer than seq_k, the
 *                               batch strides of k and v must be 0, key_lengths NULL. Ragged queries may go with keys
 *                               that are not (a cache, with key_lengths), and the other way round.
 *   page_table                  [batch][pages] of a paged key/value cache
 *   mask                        [batch][heads][seq_q][seq_k], strides in mask_stride: a row sees no key whose byte is 0
 *   block_mask                  the same, a byte for block_q rows and block_k keys: strides in block_stride
 *   bias                        [batch][heads][seq_q][seq_k] of bias_dtype, strides in bias_stride: added to the score
 *   alibi_slopes                [heads], contiguous: -alibi_slopes[h] * |position - j| is added to the scaled score of
 *                               key j (Press et al. 2022; they give the slopes, too)
 *   sinks                       [heads], with GATUN_ATTENTION_SINKS: scores, after all that is done to scores, of one more key
 *                               that every row sees and that has no value (a learned logit, as of gpt-oss): exp(sink) more in
 *                               the denominator. Magnitudes below 2^127.
 *   segment_ids_q, segment_ids_k [batch][seq_q] and [batch][seq_k], contiguous, together: a row sees the keys of its own
 *                               segment (documents packed in one row). Of ragged sequences one for each row that offsets reach
 *   prefix_lengths              [batch], with GATUN_ATTENTION_PREFIX: keys below it are not behind any row for the causal mask
 *                               (prefix language models); 0 .. seq_k
 *   relative_position_table     [heads][2 * relative_span + 1], contiguous: relative_position_table[h][relative_span +
 *                               clamp(j - position, -relative_span, relative_span)] is added to the scaled score. A
 *                               bias by buckets of distances, as T5's (Raffel et al. 2020), is expanded to such a table
 *                               by the caller, once for each set of weights.
 *   query_positions             [batch][seq_q], contiguous: the positions of query rows on the scale of keys, in place of what is
 *                               said below. For rows that do not follow each other (verification of a tree of tokens). Of
 *                               ragged sequences one for each row that offsets reach
 *   k_scales, v_scales          scales of quantized keys and values
 *
 * Order: a score is scale * (q . k); then softcap * tanh(score / softcap); then biases are added (alibi_slopes and
 * relative_position_table summed in double); then masks select; then sinks join the softmax.
 *
 * Masks. With p the position of a row, it sees key j if j is below the key length, and
 *   - under a causal mask j <= p or j < prefix_lengths[b];
 *   - with a window p - window_left <= j <= p + window_right, or j < global_tokens, or 0 <= p < global_tokens;
 *   - mask, block_mask and segment ids allow it.
 * A row that sees no key gives out 0 and lse -inf, with a sink lse = sink. Masked keys and values reach nobody, whatever they hold;
 * neither do biases of masked keys. Tiles of keys that no row of a block sees are not read. A window, a prefix and a causal mask are
 * intervals of keys and take no memory.
 *
 * Biases
 *   - alibi_slopes and relative_position_table may be given together, and to ragged sequences. GATUN_ATTENTION_BIASED
 *     is set exactly where one of them is given: the workspace is larger then.
 *   - Without query_positions the position of query row i is i + (key length - query length) of its own batch row or sequence, so that the
 *     last query has the position of the last key; under GATUN_CAUSAL_TOP_LEFT it is i.
 *   - A bias of -inf masks its entry whatever its score is, NaN and +inf included; one of +inf or NaN makes the row NaN. Biases of masked keys reach nobody. A scale of 0 leaves the biases alone.
 *   - The error bound holds with S = |scale| * max_j sum_d |q_d * k_jd| + max_j |bias_j| + |sink|, over the keys of the row that
 *     nothing masks. Bits of a row depend on its biases and its position as well.
 */
GATUN_API int32_t gatun_attention_forward_extended(gatun_context *context, const gatun_attention_desc *desc,
    void *workspace, int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    const int32_t *page_table, const uint8_t *mask, const uint8_t *block_mask, const float *bias,
    const float *alibi_slopes, const float *sinks, const int32_t *segment_ids_q, const int32_t *segment_ids_k,
    const int32_t *prefix_lengths, const float *relative_position_table, const int32_t *query_positions,
    const float *k_scales, const float *v_scales);

/* ---- attention: probabilities as a map ------------------------------------------------------------------------- */

#define GATUN_MAP_MEAN 0 /* a cell is the mean of its probabilities */
#define GATUN_MAP_MAX  1 /* the largest of them */

/*
 * Which probabilities a map shows, and how small it is: query rows first_row .. first_row + rows - 1 of each head in map_rows bins,
 * keys first_key .. first_key + keys - 1 in map_columns bins. Bin r of the rows holds those from first_row + r * rows / map_rows
 * (rounded down) up to where the next one begins; bins of keys likewise. With map_rows == rows and map_columns == keys a cell is one
 * probability. For pictures, not for training: nothing else needs them, and a matrix of them has seq_q * seq_k elements.
 */
typedef struct gatun_attention_map_desc {
    uint32_t struct_size;
    int32_t reduction;   /* GATUN_MAP_* */
    int64_t first_row;   /* 0 .. seq_q */
    int64_t rows;        /* 0 .. seq_q - first_row */
    int64_t first_key;   /* 0 .. seq_k */
    int64_t keys;        /* 0 .. seq_k - first_key */
    int64_t map_rows;    /* 1 .. rows; 0 where rows is 0 */
    int64_t map_columns; /* 1 .. keys; 0 where keys is 0 */
    int64_t map_stride
        [3]; /* map: [batch][heads][map_rows][map_columns], columns contiguous; as those of out in other respects */
    int64_t reserved[8]; /* 0 */
} gatun_attention_map_desc;

/**
 * Checks both descriptors as gatun_attention_map does, and writes messages as gatun_attention_check does, under which members of
 * the map are called by their names. context may be NULL. Of desc the members of v, out and lse (head_dim_v, out_dtype and
 * strides) are not looked at.
 */
GATUN_API int32_t gatun_attention_map_check(const gatun_context *context, const gatun_attention_desc *desc,
    const gatun_attention_map_desc *map_desc, char *message, int64_t message_size);

/**
 * Stores in *bytes the size of the workspace of gatun_attention_map: O(threads * (tile + map_columns)), of map_columns not more
 * than 65,536 (8 bytes each), whatever batch, heads, seq_q and seq_k are. It depends on nothing but the context and the descriptors.
 */
GATUN_API int32_t gatun_attention_map_workspace_size(const gatun_context *context, const gatun_attention_desc *desc,
    const gatun_attention_map_desc *map_desc, int64_t *bytes);

/**
 * The probabilities by which gatun_attention_forward_extended weighs values, as a map: p[i][j] = exp(score[i][j] - lse[i]), lse
 * over all keys of the row, not the chosen ones alone; every mask, bias, softcap and sink is that of the call which desc and the
 * tensors describe. No matrix of seq_q x seq_k exists: scores are computed tile by tile, twice (for the sum of each row, then for
 * the map), and once more for every 65,536 columns of the map beyond the first.
 *
 *   workspace, q, k, key_lengths, query_lengths, and mask to query_positions: as in gatun_attention_forward_extended
 *   map                  float [batch][heads][map_rows][map_columns], strides in map_desc, written whole; it shares no memory with
 *                        itself or with an input; may be NULL where it has no element
 *
 * Ragged sequences (GATUN_ATTENTION_RAGGED_Q, GATUN_ATTENTION_RAGGED_K) are refused with GATUN_E_UNSUPPORTED: give their rows one
 * by one. GATUN_ATTENTION_BF16 has no effect: products are those of floats.
 *
 * Numbers
 *   - A key that the row may not attend to has probability 0, as has each one of a row past its query length, or that sees no key;
 *     they count in the mean: its denominator is rows times keys of the cell. With a sink the probabilities of a row add up to less
 *     than 1. A score of -inf has probability 0.
 *   - In a row whose lse is NaN every key has NaN but those that a mask or a bias of -inf hides. A cell with a NaN is NaN, whatever
 *     the reduction.
 *   - Error of a cell: (4e-6 + 2 * (8 + head_dim / 2) * 2^-24 * S) of itself, S the largest of its rows (gatun_attention_forward,
 *     with biases and sinks as there), and probabilities below 2^-125 of the largest of their row may count as 0. Rows whose scores
 *     leave the range of float are computed in double, as there.
 *   - Bits of a cell depend on its own rows and keys, on where its bin of keys begins and ends, the scale and the tier; not on
 *     threads, batch, heads, strides, on the other cells, or on what lies in masked places.
 */
GATUN_API int32_t gatun_attention_map(gatun_context *context, const gatun_attention_desc *desc,
    const gatun_attention_map_desc *map_desc, void *workspace, int64_t workspace_size, const void *q, const void *k,
    const int32_t *key_lengths, const int32_t *query_lengths, float *map, const uint8_t *mask,
    const uint8_t *block_mask, const void *bias, const float *alibi_slopes, const float *sinks,
    const int32_t *segment_ids_q, const int32_t *segment_ids_k, const int32_t *prefix_lengths,
    const float *relative_position_table, const int32_t *query_positions);

/* ---- matrix product over the pool, by the caller's BLAS -------------------------------------------------------- */

#define GATUN_SGEMM_TRANSPOSE_A 1u
#define GATUN_SGEMM_TRANSPOSE_B 2u

typedef struct gatun_sgemm_desc {
    uint32_t struct_size;
    uint32_t flags; /* GATUN_SGEMM_* */
    int64_t m;      /* rows of C, 0 .. 2^31 - 1 */
    int64_t n;      /* columns of C, 0 .. 2^31 - 1 */
    int64_t k;      /* depth, 0 .. 2^31 - 1 */
    int64_t lda;    /* elements between rows of A as stored: >= k, or >= m if transposed; < 2^31 */
    int64_t ldb;    /* elements between rows of B as stored: >= n, or >= k if transposed; < 2^31 */
    int64_t ldc;    /* elements between rows of C, >= n; < 2^31; no matrix reaches beyond 2^58 elements */
    float alpha;
    float beta;          /* 0: C is written without being read */
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[8]; /* 0 */
} gatun_sgemm_desc;

/**
 * C = alpha * op(A) * op(B) + beta * C, row-major float32, cut into pieces, of rows and columns, that the caller's thread
 * and idle workers compute by calling cblas_sgemm, the address of that function in a BLAS with 32-bit integers (LP64)
 * that may be called from several threads and has its own threads switched off. The pieces depend on m, n and k only,
 * so the bits of C do not depend on threads. c must not share memory with a or b.
 */
GATUN_API int32_t gatun_sgemm(gatun_context *context, const gatun_sgemm_desc *desc, const void *cblas_sgemm,
    const float *a, const float *b, float *c);

#define GATUN_ACTIVATION_NONE       0
#define GATUN_ACTIVATION_RELU       1 /* max(x, 0); NaN stays NaN */
#define GATUN_ACTIVATION_GELU       2 /* x * Phi(x), Phi by the error function (Hendrycks and Gimpel 2016) */
#define GATUN_ACTIVATION_GELU_TANH  3 /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) */
#define GATUN_ACTIVATION_SILU       4 /* x / (1 + exp(-x)) */
#define GATUN_ACTIVATION_QUICK_GELU 5 /* x / (1 + exp(-1.702 x)): GELU by a sigmoid, as CLIP has it */

/* As gatun_sgemm_desc, with an activation. */
typedef struct gatun_linear_desc {
    uint32_t struct_size;
    uint32_t flags; /* GATUN_SGEMM_* */
    int64_t m;      /* sizes and strides as in gatun_sgemm_desc */
    int64_t n;
    int64_t k;
    int64_t lda;
    int64_t ldb;
    int64_t ldc;
    float alpha;
    float beta;          /* 0: C is written without being read */
    int32_t activation;  /* GATUN_ACTIVATION_* */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t reserved[8]; /* 0 */
} gatun_linear_desc;

/**
 * A linear layer: C = activation(alpha * op(A) * op(B) + beta * C + bias), bias [n] or NULL added to every row. As
 * gatun_sgemm, and each piece gets its bias and activation while it is still in the cache.
 */
GATUN_API int32_t gatun_linear(gatun_context *context, const gatun_linear_desc *desc, const void *cblas_sgemm,
    const float *a, const float *b, const float *bias, float *c);

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/*
 * What stands between the products of a Transformer layer. Each operation has a descriptor of its own. Row strides are in
 * elements and >= dim, which is 1 .. 2^31 - 1; tensors are [rows][dim], float32, of less than 2^58 elements. An output may be
 * the same tensor (same pointer and stride) as x, residual or gate, but must not overlap them otherwise. Rows are split over
 * the pool; bits do not depend on threads.
 */

#define GATUN_NORM_RMS                                                                                                 \
    1u /* flag: divide by the root mean square, without subtracting the mean (Zhang, Sennrich 2019) */

typedef struct gatun_norm_desc {
    uint32_t struct_size;
    uint32_t flags; /* GATUN_NORM_RMS */
    int64_t rows;   /* 0 .. 2^31 - 1 */
    int64_t dim;
    int64_t x_row;
    int64_t residual_row; /* read where there is a residual */
    int64_t sum_row;      /* read where there is a sum */
    int64_t out_row;
    float epsilon;       /* >= 0, added to the variance or mean square */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t reserved[8]; /* 0 */
} gatun_norm_desc;

/**
 * Layer normalization (Ba et al. 2016) with what usually comes before it: t = x + bias + residual;
 * out = (t - mean(t)) / sqrt(variance(t) + epsilon) * gamma + beta, each row on its own, the variance over dim
 * elements (not dim - 1).
 * bias [dim], residual [rows][dim], beta [dim] and sum may be NULL; sum [rows][dim] receives t (the residual stream of
 * pre-norm layers). Relative to max|t - mean| of a row and max|gamma| the error is below 2e-6.
 */
GATUN_API int32_t gatun_norm(gatun_context *context, const gatun_norm_desc *desc, const float *x, const float *bias,
    const float *residual, const float *gamma, const float *beta, float *sum, float *out);

typedef struct gatun_activation_desc {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    int64_t rows;   /* 0 .. 2^31 - 1 */
    int64_t dim;
    int64_t x_row;
    int64_t gate_row; /* read where there is a gate */
    int64_t out_row;
    int32_t activation;  /* GATUN_ACTIVATION_* */
    int32_t max_threads; /* as in gatun_attention_desc */
    float softcap;       /* 2^-100 .. 2^100, or 0: none */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[7]; /* 0 */
} gatun_activation_desc;

/**
 * out = activation(z) * gate, z = x + bias or, with a softcap c, c * tanh((x + bias) / c): with GATUN_ACTIVATION_NONE that is
 * how Gemma 2 caps its logits. bias [dim] and gate [rows][dim] may be NULL; with gate, SILU is SwiGLU and GELU is GEGLU
 * (Shazeer 2020). Error of an activation <= 5e-7 * max(1, |z|), of a capped z <= 1e-6 * |z|.
 */
GATUN_API int32_t gatun_activation(gatun_context *context, const gatun_activation_desc *desc, const float *x,
    const float *bias, const float *gate, float *out);

#define GATUN_DTYPE_U8 7 /* uint8_t: of tables, with a scale and a zero point */

typedef struct gatun_embedding_desc {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    int64_t rows;   /* 0 .. 2^31 - 1 */
    int64_t dim;
    int64_t out_row;
    int64_t table_rows[3];  /* 1 .. 2^31 - 1, read where there is a table, as are the other members of tables */
    float scale;            /* of the rows of table0, finite; 0 means 1 */
    int32_t max_threads;    /* as in gatun_attention_desc */
    int32_t table_dtype[3]; /* GATUN_DTYPE_F32, which 0 means as well, or GATUN_DTYPE_U8 */
    float table_scale[3];   /* of a table of U8: finite, > 0; otherwise 0 */
    int32_t table_zero[3];  /* of a table of U8: which number is 0.0, 0 .. 255; otherwise 0 */
    int32_t reserved0;      /* 0 */
    int64_t reserved[3];    /* 0 */
} gatun_embedding_desc;

/**
 * out[r] = scale * table0[ids0[r]] + table1[ids1[r]] + table2[ids2[r]], rounded and added in that order. table_t is
 * [table_rows[t]][dim], contiguous; table1 and table2 may be NULL; ids_t NULL means row 0 of its table for every r. An
 * id outside its table is GATUN_E_INDEX, and nothing is written. scale is for models that multiply embeddings by
 * sqrt(dim) before they add positions (Vaswani et al. 2017, section 3.4).
 * A table is of float, or of uint8_t: a number u of that is the float (u - table_zero[t]) * table_scale[t], rounded
 * once, as ONNX's DequantizeLinear has it. Results have the same bits on every tier.
 */
GATUN_API int32_t gatun_embedding(gatun_context *context, const gatun_embedding_desc *desc, const int32_t *ids0,
    const void *table0, const int32_t *ids1, const void *table1, const int32_t *ids2, const void *table2, float *out);

#define GATUN_POOL_MEAN             0
#define GATUN_POOL_FIRST            1  /* the row of the first token */
#define GATUN_POOL_MAX              2  /* of each column; NaN if one is */
#define GATUN_POOL_MEAN_SQRT_LENGTH 3  /* the sum divided by the square root of the number of rows */
#define GATUN_POOL_WEIGHTED_MEAN    4  /* row r of a sequence, from 1 on, has the weight r (Muennighoff 2022) */
#define GATUN_POOL_LAST             5  /* the row of the last token */
#define GATUN_POOL_NORMALIZE        1u /* flag: divide by the Euclidean norm; a zero vector stays zero */

typedef struct gatun_pool_desc {
    uint32_t struct_size;
    uint32_t flags;    /* GATUN_POOL_NORMALIZE */
    int64_t sequences; /* rows of out, 0 .. 2^31 - 1 */
    int64_t dim;
    int64_t x_row;
    int64_t out_row;
    int32_t pooling;     /* GATUN_POOL_*, not a flag */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t skip;        /* rows at the beginning of each sequence that are left out, 0 .. 2^31 - 1: a prompt's */
    int64_t reserved[7]; /* 0 */
} gatun_pool_desc;

/**
 * One vector per sequence: out[b] = mean, maximum, … of the rows cu_seqlens[b] .. cu_seqlens[b + 1] - 1 of x, without the
 * first skip of them. GATUN_POOL_FIRST skips none, and a row's weight is its place in the sequence whatever is skipped.
 * cu_seqlens [sequences + 1] does not fall. Sums are in double, in the order of rows. A sequence without rows that count
 * gives 0.
 */
GATUN_API int32_t gatun_pool(
    gatun_context *context, const gatun_pool_desc *desc, const float *x, const int32_t *cu_seqlens, float *out);

#define GATUN_SOFTMAX_LOG 1u /* flag: the logarithm of the softmax */

typedef struct gatun_softmax_desc {
    uint32_t struct_size;
    uint32_t flags; /* GATUN_SOFTMAX_LOG */
    int64_t rows;   /* 0 .. 2^31 - 1 */
    int64_t dim;
    int64_t x_row;
    int64_t out_row;
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[8]; /* 0 */
} gatun_softmax_desc;

/**
 * out = exp(x - max(x)) / sum(exp(x - max(x))) of each row on its own, or with GATUN_SOFTMAX_LOG its natural logarithm
 * x - max(x) - log(sum(exp(x - max(x)))). Rows may be as long as a vocabulary: sums are kept in double beyond a few
 * hundred elements.
 *   - An element of -inf gives 0, or -inf. A row of nothing but -inf gives 0 throughout, or -inf. NaN or +inf in a row
 *     makes all of the row NaN.
 *   - |out - exact| <= (2e-6 + 2^-22 * (max(x) - x)) * exact, and what lies below 2^-120 may be 0; of the logarithm
 *     <= 2e-6 + 2^-22 * |exact|.
 */
GATUN_API int32_t gatun_softmax(gatun_context *context, const gatun_softmax_desc *desc, const float *x, float *out);

#define GATUN_ROTARY_INTERLEAVED 1u /* flag: pairs are neighbors, 2i and 2i + 1 (Su et al. 2021, GPT-J) */

/* Sizes of one call of gatun_rotary. Strides are in elements, >= 0; the elements of a head are contiguous. */
typedef struct gatun_rotary_desc {
    uint32_t struct_size;
    uint32_t flags;     /* GATUN_ROTARY_INTERLEAVED */
    int64_t rows;       /* 0 .. 2^31 - 1 */
    int64_t heads;      /* 1 .. 2^31 - 1 */
    int64_t head_dim;   /* 1 .. 2^31 - 1 */
    int64_t rotary_dim; /* elements of a head that are rotated: even, 2 .. head_dim */
    int64_t x_row;      /* x: [rows][heads][head_dim] */
    int64_t x_head;
    int64_t out_row; /* out: [rows][heads][head_dim] */
    int64_t out_head;
    int64_t table_rows;  /* of cosines and sines, 1 .. 2^31 - 1 */
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[8]; /* 0 */
} gatun_rotary_desc;

/**
 * Rotary position embedding (Su et al. 2021): each pair (a, b) of the first rotary_dim elements of a head becomes
 *
 *     (a * cosines[p][i] - b * sines[p][i], b * cosines[p][i] + a * sines[p][i])        p = positions[row]
 *
 * where pair i is the elements i and i + rotary_dim / 2 (as GPT-NeoX and Hugging Face's LLaMA have it), or 2i and 2i + 1
 * with GATUN_ROTARY_INTERLEAVED. What lies past rotary_dim is copied.
 *
 *   positions       [rows]
 *   cosines, sines  [table_rows][rotary_dim / 2], contiguous: cos and sin of p * theta_i. They are the caller's, as
 *                   models differ in theta and how it grows with the context.
 *   out             may be x itself (same pointer and strides), or shares no memory with an input
 *
 * A position outside the tables is GATUN_E_INDEX, and nothing is written. |out - exact| <= 2^-23 * (|a| * |cosine or
 * sine| + |b| * |the other|). Rows are split over the pool; bits do not depend on threads.
 */
GATUN_API int32_t gatun_rotary(gatun_context *context, const gatun_rotary_desc *desc, const float *x,
    const int32_t *positions, const float *cosines, const float *sines, float *out);

/* ---- packed weights: products with a matrix that stays the same -------------------------------------------------- */

/*
 * A weight matrix W [in_features][out_features] is packed once, into memory of the caller's, and multiplied by often. Packed
 * weights are bytes without pointers, aligned to 64, that may be written to a file and mapped from it, by any process and any
 * number of them at once. They begin with a header that says what they are; their layout is the same for all tiers, so that a
 * file fits any machine of the same byte order (little-endian). No BLAS is needed.
 */
#define GATUN_WEIGHTS_F32  1 /* 4 bytes a weight */
#define GATUN_WEIGHTS_BF16 2 /* 2 bytes: bfloat16 */
#define GATUN_WEIGHTS_F16  3 /* 2 bytes: IEEE half precision, made float where it is used */
#define GATUN_WEIGHTS_I8                                                                                               \
    4 /* 1 byte: int8 with a scale for each output, x as uint8_t with a scale for each row; in_features <= 65536 */
#define GATUN_WEIGHTS_Q8_0                                                                                             \
    5 /* 8.5 bits: int8 with a half-precision scale for each 32 inputs of an output, as GGUF's; for few rows */
#define GATUN_WEIGHTS_Q4_0 6 /* 4.5 bits: the same with 4 bits, -8 .. 7; for few rows */

/* Types of a source, beside GATUN_DTYPE_F32, GATUN_DTYPE_BF16 and GATUN_DTYPE_F16. */
#define GATUN_DTYPE_I8   4 /* int8_t */
#define GATUN_DTYPE_Q8_0 5 /* blocks of 32 as GGUF has them: scale (half precision), 32 int8_t */
#define GATUN_DTYPE_Q4_0 6 /* blocks of 32 as GGUF has them: scale (half precision), 16 bytes of two weights + 8 each */

/* What is packed, and how. */
typedef struct gatun_pack_desc {
    uint32_t struct_size;
    uint32_t flags;       /* 0 */
    int32_t format;       /* GATUN_WEIGHTS_* */
    int32_t dtype;        /* of the source: GATUN_DTYPE_* */
    int64_t in_features;  /* 1 .. 2^31 - 1 */
    int64_t out_features; /* 1 .. 2^31 - 1, and at most 2^58 weights in all */
    int64_t in_stride;    /* elements between W[i][o] and W[i + 1][o] in the source, >= 0 */
    int64_t
        out_stride; /* and between W[i][o] and W[i][o + 1]: [in][out] is {out_features, 1}, [out][in] {1, in_features} */
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[8]; /* 0 */
} gatun_pack_desc;

/**
 * Stores in *bytes the size of packed weights of this descriptor, a multiple of 64. On failure, and if message_size > 0,
 * message holds one line that names the member, what was expected and what came.
 */
GATUN_API int32_t gatun_pack_size(const gatun_pack_desc *desc, int64_t *bytes, char *message, int64_t message_size);

/**
 * Packs source into packed, packed_size bytes of at least what gatun_pack_size says, aligned to 64, which are written whole
 * (padding included, so that equal weights give equal bytes) and share no memory with source. Messages as in gatun_pack_size.
 *
 *   - scales [out_features] belongs to GATUN_DTYPE_I8 and is NULL otherwise: a weight is q * scales[o] with q = source[i][o], as
 *     they are kept (GATUN_WEIGHTS_I8 only).
 *   - GATUN_WEIGHTS_I8 of floats: scale = max|w| / 127 of each output, q = w / scale, rounded to nearest, so that a weight is off by
 *     at most half of its scale. A weight of NaN or Inf makes all results of its output NaN; an output whose weights are all
 *     below 2^-100 counts as zeros.
 *   - GATUN_DTYPE_Q8_0 and Q4_0 are [out][in / 32] blocks: in_features and out_stride are multiples of 32, in_stride is 1. Packed to the
 *     format of the same name they are kept bit by bit, to another one they are floats first.
 *   - GATUN_WEIGHTS_Q8_0 and Q4_0 of floats: scale = max|w| / 127 of each block, or the weight of the largest magnitude / -8, rounded
 *     to half precision, whose range is theirs. A weight of NaN or Inf makes all results of its output NaN.
 *   - 16-bit floats are rounded to nearest even; beyond the range of half precision they are Inf.
 */
GATUN_API int32_t gatun_pack(gatun_context *context, const gatun_pack_desc *desc, const void *source,
    const float *scales, void *packed, int64_t packed_size, char *message, int64_t message_size);

typedef struct gatun_packed_info {
    uint32_t struct_size;
    int32_t format; /* GATUN_WEIGHTS_* */
    int64_t in_features;
    int64_t out_features;
    int64_t bytes; /* of the header and all that follows it */
    uint64_t reserved[8];
} gatun_packed_info;

/**
 * Whether packed_size bytes at packed begin with packed weights that this library can use: GATUN_OK, and *info is filled
 * where info is not NULL (set its struct_size). Meant for bytes from a file: nothing in them is trusted, but a weight of
 * theirs is a number whatever its bits are, and is not looked at. GATUN_E_INVALID for what is no packed matrix, is shorter than
 * its header says or has a damaged header, GATUN_E_UNSUPPORTED for a layout or format that this version does not know.
 * Messages as in gatun_pack_size. Every function that takes packed weights checks them in the same way.
 */
GATUN_API int32_t gatun_packed_check(
    const void *packed, int64_t packed_size, gatun_packed_info *info, char *message, int64_t message_size);

/* Sizes of one call of gatun_packed_linear. Row strides are in elements; a member of a tensor that is not given is 0. */
typedef struct gatun_packed_linear_desc {
    uint32_t struct_size;
    uint32_t flags;       /* 0 */
    int32_t format;       /* of the weights, GATUN_WEIGHTS_* */
    int32_t activation;   /* GATUN_ACTIVATION_* */
    int64_t rows;         /* of x and out, 0 .. 2^31 - 1; rows times any row stride at most 2^58 */
    int64_t in_features;  /* of the weights and x */
    int64_t out_features; /* of the weights and out */
    int64_t x_row;        /* >= in_features, < 2^31 */
    int64_t out_row;      /* >= out_features, < 2^31, like the next two */
    int64_t gate_row;
    int64_t residual_row;
    int32_t max_threads; /* as in gatun_attention_desc */
    uint32_t reserved0;  /* 0 */
    int64_t reserved[8]; /* 0 */
} gatun_packed_linear_desc;

/**
 * Checks a descriptor as gatun_packed_linear does (its members only, no tensors), with messages as in gatun_pack_size. context
 * may be NULL.
 */
GATUN_API int32_t gatun_packed_linear_check(
    const gatun_context *context, const gatun_packed_linear_desc *desc, char *message, int64_t message_size);

/**
 * Stores in *bytes the size of the workspace that a call with this descriptor needs: >= 64, for each thread some 12 KiB and,
 * but for formats that read x where it lies, 9 KiB more and space for at most 64 rows of it in the format's own type. More
 * rows never need less, and more than 64 no more.
 */
GATUN_API int32_t gatun_packed_linear_workspace_size(
    const gatun_context *context, const gatun_packed_linear_desc *desc, int64_t *bytes);

/**
 * A linear layer with packed weights: out = activation(x W + bias) * gate + residual, float32, each block of out finished while
 * it is in the cache.
 *
 *   workspace  at least gatun_packed_linear_workspace_size bytes, aligned to 64
 *   packed     weights of desc's format and features, packed_size bytes of memory, aligned to 64
 *   x          [rows][in_features]
 *   bias       [out_features] or NULL
 *   gate       [rows][out_features] or NULL: with x V + c in it, SILU is SwiGLU and GELU is GEGLU (Shazeer 2020)
 *   residual   [rows][out_features] or NULL
 *   out        [rows][out_features]; it may be gate or residual (same pointer and stride), and shares no other memory with an
 *              input, the workspace or the weights
 *
 * Numbers
 *   - GATUN_WEIGHTS_F32: an element of x W is chains of 512 multiply-adds, inputs in order, added up in order; its error is at
 *     most (min(in_features, 512) + in_features / 512 + 1) * 2^-24 * sum |x w|, a little more on the portable tier, which
 *     rounds products as well. NaN and Inf go where plain mathematics takes them.
 *   - GATUN_WEIGHTS_F16: the same with the weights as they were rounded.
 *   - GATUN_WEIGHTS_BF16: the same, and with GATUN_FEATURE_BF16 or GATUN_FEATURE_AMX_BF16 x is rounded to bfloat16 as well (2^-8 *
 *     sum |x w| more), 2 or 32 multiply-adds are one instruction, and what is below 2^-126 may be 0.
 *   - GATUN_WEIGHTS_I8: each row of x is (q - zero) * scale with scale = (max(x, 0) - min(x, 0)) / 255 and q 0 .. 255, off by at most
 *     one scale (half of one but for the ends); sums of (q - zero) * w are exact integers, and sum * (scale * scale of the output) is
 *     rounded once and once again. x W has the same bits on every tier. A row with NaN or Inf in it is NaN throughout; a
 *     row whose elements differ by less than 1e-36 counts as zeros.
 *     Outliers of a row, at most 8 elements, stay out of its scale: x in the formula for scale is limited to +-rest, and q of an
 *     element beyond +-rest is any integer. The elements i < in_features / 16 * 16 with the same i % 16 are a class; rest is
 *     the third-largest of the 16 classes' max|x|, where equal ones count once, but not less than max|x| / 128. A row has
 *     outliers if max|x| >= 2 * rest, no more than 8 elements are beyond +-rest, and in_features <= 65000.
 *   - GATUN_WEIGHTS_Q8_0 and Q4_0: each 32 inputs of a row of x are q * scale with scale = max|x| / 127 and q -127 .. 127, off by at most
 *     half a scale; the sum of a block is an exact integer, and the blocks' sums, times both scales, are one chain of multiply-adds.
 *     NaN and Inf as for int8.
 *   - Bias, gate and residual are rounded one by one, activations have the error of gatun_activation's.
 *   - Bits of an element of out depend on its own row of x, its own column of W, its own bias, gate and residual, the format and
 *     the tier (with its GATUN_FEATURE_*), and on nothing else: not on the rows beside it, threads, strides, or on where and how
 *     often it is computed.
 *
 * A call is cut into blocks of rows and columns for the calling thread and idle workers. It takes no memory.
 */
GATUN_API int32_t gatun_packed_linear(gatun_context *context, const gatun_packed_linear_desc *desc, void *workspace,
    int64_t workspace_size, const void *packed, int64_t packed_size, const float *x, const float *bias,
    const float *gate, const float *residual, float *out);

/**
 * As gatun_peak_f32 for the products of a format: the multiply-adds that its kernel is made of (of floats, pairs of bfloat16 or
 * fours of bytes), two operations for each number multiplied. The roof that gatun_packed_linear can come near on one core with
 * many rows; with one row it is bound by memory.
 */
GATUN_API int32_t gatun_packed_linear_peak(
    const gatun_context *context, int32_t format, int64_t nanoseconds, double *operations_per_second);

/* ---- rows through several layers ------------------------------------------------------------------------------- */

/*
 * Linear layers with packed weights and norms that follow each other, as one call. Their rows do not depend on each other, so
 * that a thread takes some of them through all steps: no barrier between two layers, and what lies between them stays in its
 * cache.
 */

#define GATUN_ROW_STEP_LINEAR 1 /* gatun_packed_linear */
#define GATUN_ROW_STEP_NORM   2 /* gatun_norm */

#define GATUN_ROW_STEP_SCRATCH                                                                                         \
    1u /* flag: what this step writes to out is not needed after the call, which may leave anything there */
#define GATUN_ROW_STEP_RMS 2u /* flag of a norm: GATUN_NORM_RMS */

#define GATUN_ROW_STEPS_MOST    12
#define GATUN_ROW_OPERANDS_MOST 32

/*
 * One step. Its tensors are operands of the call: n is operand<n>, 0 is none. Row strides are in elements. What a step of its
 * kind does not have is 0.
 */
typedef struct gatun_row_step {
    uint32_t struct_size; /* the same in all steps */
    uint32_t flags;       /* GATUN_ROW_STEP_SCRATCH, GATUN_ROW_STEP_RMS */
    int32_t kind;         /* GATUN_ROW_STEP_LINEAR or GATUN_ROW_STEP_NORM */
    int32_t format;       /* of the weights, GATUN_WEIGHTS_* */
    int32_t activation;   /* GATUN_ACTIVATION_* */
    float epsilon;        /* as in gatun_norm_desc */
    int64_t in_features;  /* of the weights and x */
    int64_t out_features; /* of the weights and out; of a norm in_features */
    int64_t packed_size;  /* bytes */
    int64_t x_row;
    int64_t gate_row;
    int64_t residual_row;
    int64_t sum_row;
    int64_t out_row;
    int32_t x;
    int32_t packed;
    int32_t bias;
    int32_t gate;
    int32_t residual;
    int32_t gamma;
    int32_t beta;
    int32_t sum;
    int32_t out;
    uint32_t reserved0;  /* 0 */
    int64_t reserved[4]; /* 0 */
} gatun_row_step;

typedef struct gatun_row_steps_desc {
    uint32_t struct_size;
    uint32_t flags;      /* 0 */
    int64_t rows;        /* of all tensors with rows, 0 .. 2^31 - 1 */
    int32_t steps;       /* 1 .. GATUN_ROW_STEPS_MOST */
    int32_t max_threads; /* as in gatun_attention_desc */
    int64_t reserved[8]; /* 0 */
} gatun_row_steps_desc;

/**
 * Stores in *bytes the size of the workspace that a call with these steps needs, at least 64. GATUN_E_* for products that
 * gatun_row_steps refuses whatever its operands are, and for members that no step may have.
 */
GATUN_API int32_t gatun_row_steps_workspace_size(
    const gatun_context *context, const gatun_row_steps_desc *desc, const gatun_row_step *steps, int64_t *bytes);

/**
 * Does what one call of gatun_packed_linear or gatun_norm for each step would, in their order and with the same bits. Nothing is
 * written if any of them refused its arguments, with the same status; GATUN_E_INVALID for a member that its kind does not
 * have and an operand that does not exist.
 *
 *   workspace  at least gatun_row_steps_workspace_size bytes, aligned to 64; shares no memory with an operand
 *   operand1 ...  tensors and weights of the steps, or NULL. They are arguments, not members of a struct, so that who calls from a
 *              managed language keeps their memory alive during the call
 *
 * Rows are divided among the threads where steps overlap in nothing but whole rows and there are enough rows; otherwise each step
 * is divided by itself.
 */
GATUN_API int32_t gatun_row_steps(gatun_context *context, const gatun_row_steps_desc *desc, const gatun_row_step *steps,
    void *workspace, int64_t workspace_size, void *operand1, void *operand2, void *operand3, void *operand4,
    void *operand5, void *operand6, void *operand7, void *operand8, void *operand9, void *operand10, void *operand11,
    void *operand12, void *operand13, void *operand14, void *operand15, void *operand16, void *operand17,
    void *operand18, void *operand19, void *operand20, void *operand21, void *operand22, void *operand23,
    void *operand24, void *operand25, void *operand26, void *operand27, void *operand28, void *operand29,
    void *operand30, void *operand31, void *operand32);

/* ---- version --------------------------------------------------------------------------------------------------- */

#define GATUN_VERSION_MAJOR 0
#define GATUN_VERSION_MINOR 1
#define GATUN_VERSION_PATCH 0

/*
 * Number of the binary interface: raised when an existing function or struct changes its meaning. The SONAME carries
 * it.
 */
#define GATUN_ABI 1

/** The library's version, "major.minor.patch"; static storage. */
GATUN_API const char *gatun_version(void);

/** GATUN_ABI of the library that is loaded; compare it with the header's. */
GATUN_API int32_t gatun_abi(void);

/**
 * Writes one line "struct.member offset size" per member and "struct - size" per struct of this interface, as the
 * library was compiled, so that generated bindings can be checked against it. At most size bytes are written to text,
 * always with a terminating NUL (text may be NULL if size is 0). Returns the length of the whole text without its
 * NUL.
 */
GATUN_API int64_t gatun_abi_layout(char *text, int64_t size);

#ifdef __cplusplus
}
#endif

#include "gatun_relatives.h"

#endif /* GATUN_H */
