/* One call of attention: shared by attention.c and attention_map.c (entries), attention_check.c and attention_task.c. */
#ifndef GATUN_ATTENTION_H
#define GATUN_ATTENTION_H

#include "internal.h"

/* What the caller gives beside descriptor and workspace, each as in gatun.h; optional ones may be NULL. */
typedef struct gatun__attention_arguments {
    const void *q, *k, *v;
    void *out;
    float *lse;
    const int32_t *key_lengths, *query_lengths;
    const int32_t *cu_seqlens_q, *cu_seqlens_k; /* offsets of ragged sequences */
    const float *alibi_slopes, *relative_position_table;
    const uint8_t *mask, *block_mask;
    const void *bias;
    const float *sinks;
    const int32_t *segment_ids_q, *segment_ids_k, *prefix_lengths, *query_positions;
} gatun__attention_arguments;

typedef struct gatun__attention_call {
    const gatun_attention_desc *desc;
    const gatun__attention_arguments *arguments;
    const gatun__attention_plan *plan;
    const gatun__kernels *kernels;
    /* [B][S][H][D], out of a map of probabilities [B][H][row][column]; of ragged sequences S is the rows that their offsets reach. */
    gatun__view q, k, v, out, lse;
    /* What lengths and offsets were when they were checked; whoever reads them again keeps to it. Of ragged sequences: rows
     * or keys that offsets reach, and of the longest; else seq_q or seq_k. */
    int64_t all_rows, all_keys, max_rows, max_keys;
    int changed; /* arguments that change scores are given */
    char *workspace;
    _Atomic int32_t *parts_left; /* of each row task, where keys are cut into parts */
    char *partials;
    float q_factor, q_power;         /* as in a task */
    _Atomic uint64_t *blocks_redone; /* the context's count */
} gatun__attention_call;

/* What the offsets of ragged sequences hold: row_count of the longest, pairs of a query and a key, keys of all. */
typedef struct gatun__ragged_sizes {
    int64_t longest_rows;
    double pairs, keys;
} gatun__ragged_sizes;

/* ---- attention.c ---- */

/* Sets q_factor and q_power. */
void gatun__attention_split_scale(gatun__attention_call *call);

/* ---- attention_check.c ---- */

/* Whether arguments go with flags and are there and aligned; offsets; sets the call's sizes and views. *sizes is written
 * where sequences are ragged. */
int32_t gatun__attention_check_arguments(
    gatun__attention_call *call, const void *workspace, gatun__ragged_sizes *sizes);
/* The same of all but v, out and lse, whose views are not set. */
int32_t gatun__attention_check_inputs(gatun__attention_call *call, const void *workspace, gatun__ragged_sizes *sizes);
/* Lengths, and memory that outputs share. */
int32_t gatun__attention_check_memory(const gatun__attention_call *call);

/* ---- attention_task.c ---- */

/* Prepares the scratch of a call whose plan is known. */
void gatun__attention_begin(gatun__attention_call *call);
/* A gatun__pool_function of a call. */
void gatun__attention_run_task(void *call, const gatun__turn *turn);
/* A task of one query head without values and outputs, whose lanes are rows: all but lane_begin, lane_end, blocks and scratch.
 * changes is where its changes of scores are kept. */
void gatun__attention_describe_head(const gatun__attention_call *call, int64_t batch, int64_t head,
    gatun__attention_task *task, gatun__score_changes *changes);
/* The same with values and outputs; returns how many rows out has for this sequence, those past its query length included. */
int64_t gatun__attention_describe_outputs(
    const gatun__attention_call *call, int64_t batch, int64_t head, gatun__attention_task *task);
/* out 0 and lse -inf for lanes begin .. end - 1 of one head, which lie past the query length. */
void gatun__attention_fill_dead(const gatun__attention_task *task, int64_t begin, int64_t end, int64_t out_bytes);
/* Queries, keys and values of 16 bits: queries of the task's lanes are made float now, in a thread's scratch slot, the others
 * where they are used. */
void gatun__attention_widen(const gatun__attention_call *call, char *slot, gatun__attention_task *task);

#endif
