/* Additive attention: descriptor, entry points, and what a task does. Sizes, strides, lengths, offsets and memory are checked as those
 * of exact attention, of whose call this is one. */
#include "attention.h"

#include <string.h>

/* ---- checks ---- */

/* The call of exact attention that has the same tensors. */
static gatun_attention_desc attention_of(const gatun_additive_attention_desc *d) {
    gatun_attention_desc desc = {.struct_size = sizeof desc,
        .dtype = GATUN_DTYPE_F32,
        .kv_dtype = GATUN_DTYPE_F32,
        .causal = d->causal,
        .max_threads = d->max_threads,
        .batch = d->batch,
        .heads = d->heads,
        .kv_heads = d->kv_heads,
        .seq_q = d->seq_q,
        .seq_k = d->seq_k,
        .head_dim = d->head_dim,
        .head_dim_v = d->head_dim_v};
    if ((d->flags & GATUN_ADDITIVE_RAGGED_Q) != 0)
        desc.flags |= GATUN_ATTENTION_RAGGED_Q;
    if ((d->flags & GATUN_ADDITIVE_RAGGED_K) != 0)
        desc.flags |= GATUN_ATTENTION_RAGGED_K;
    memcpy(desc.q_stride, d->q_stride, sizeof desc.q_stride);
    memcpy(desc.k_stride, d->k_stride, sizeof desc.k_stride);
    memcpy(desc.v_stride, d->v_stride, sizeof desc.v_stride);
    memcpy(desc.out_stride, d->out_stride, sizeof desc.out_stride);
    memcpy(desc.lse_stride, d->lse_stride, sizeof desc.lse_stride);
    return desc;
}

int32_t gatun_additive_attention_check(
    const gatun_context *context, const gatun_additive_attention_desc *d, char *message, int64_t message_size) {
    if (d == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "desc: expected a descriptor, got NULL");
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_additive_attention_desc", message, message_size));
    if (gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        return gatun__fail(GATUN_E_VERSION, message, message_size, "reserved: expected zeros");
    if ((d->flags & ~(GATUN_ADDITIVE_RAGGED_Q | GATUN_ADDITIVE_RAGGED_K)) != 0)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "flags: expected GATUN_ADDITIVE_* only, got 0x%x",
            (unsigned)d->flags);
    const gatun_attention_desc desc = attention_of(d);
    return gatun__attention_check_desc(context, &desc, 1, message, message_size);
}

/* ---- the plan ---- */

/* Query blocks that share the exponentials of a tile of keys, at most. */
enum { MOST_BLOCKS = GATUN__MAX_BLOCKS };

static int64_t aligned(int64_t bytes) {
    return (bytes + 63) & ~(int64_t)63;
}

int64_t gatun__additive_scratch_bytes(
    int32_t block_lanes, int32_t blocks, int32_t head_dim, int32_t head_dim_v, int merged_splits) {
    const int64_t lanes = block_lanes, depth = gatun__divide_up(head_dim, 4) * 4, f = sizeof(float), d = sizeof(double);
    int64_t per_block = 2 * aligned(lanes * depth * f)    /* queries, their exponentials */
                        + aligned(lanes * head_dim_v * f) /* output */
                        + 4 * aligned(lanes * f);         /* usual lanes, limits, maxima, sums */
    if (merged_splits)
        per_block += aligned(lanes * head_dim_v * d) + aligned(lanes * d) + aligned(lanes * f);
    return 2 * aligned(lanes * GATUN__TILE_KEYS * f) /* scores, live lanes */
           + aligned(lanes * f)                      /* rescaling */
           + aligned(depth * GATUN__TILE_KEYS * f)   /* exponentials of keys */
           + aligned(GATUN__TILE_KEYS * f)           /* usual keys */
           + aligned(depth * f) + blocks * per_block;
}

typedef struct additive_plan {
    int32_t threads, blocks;
    int64_t work_ns, task_rows, scratch_bytes;
} additive_plan;

/* Of heads of so many rows in all batch rows together. */
static additive_plan make_plan(const gatun_context *context, const gatun_attention_desc *d) {
    const gatun__kernels *kernels = context->kernels;
    const int64_t heads = d->batch * d->heads, lanes = kernels->block_lanes;
    const double pairs = (double)heads * (double)d->seq_q * (double)d->seq_k;
    const double cycles =
        gatun__cycles(kernels->tier, pairs * (double)(5 * d->head_dim + d->head_dim_v), pairs * (double)sizeof(float));
    additive_plan plan = {.threads = gatun__useful_threads(cycles, gatun__threads_of(context, d->max_threads)),
        .blocks = MOST_BLOCKS,
        .work_ns = gatun__cycles_ns(cycles)};
    while (plan.blocks > 1 &&
           (plan.threads > 1 ? heads * gatun__divide_up(d->seq_q, plan.blocks * lanes) < 4 * (int64_t)plan.threads
                             : (plan.blocks - 1) * lanes >= d->seq_q))
        plan.blocks--;
    plan.task_rows = plan.blocks * lanes;
    plan.scratch_bytes = gatun__additive_scratch_bytes(
        (int32_t)lanes, plan.blocks, (int32_t)d->head_dim, (int32_t)d->head_dim_v, d->seq_k > GATUN__SPLIT_KEYS);
    return plan;
}

int32_t gatun_additive_attention_workspace_size(
    const gatun_context *context, const gatun_additive_attention_desc *desc, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    TRY(gatun_additive_attention_check(context, desc, NULL, 0));
    const gatun_attention_desc d = attention_of(desc);
    const additive_plan plan = make_plan(context, &d);
    *bytes = plan.threads * plan.scratch_bytes;
    return GATUN_OK;
}

/* ---- a task ---- */

typedef struct additive_call {
    gatun__attention_call call;
    const float *energy;
    additive_plan plan;
    int64_t row_tasks; /* of a head */
} additive_call;

static void run_task(void *argument, const gatun__turn *turn) {
    const additive_call *a = argument;
    const gatun_attention_desc *d = a->call.desc;
    const int64_t unit = turn->index / a->row_tasks, batch = unit / d->heads, head = unit % d->heads;
    int64_t part = turn->index % a->row_tasks;
    /* Under a causal mask the last rows have most keys: they go first. */
    if (d->causal != GATUN_CAUSAL_NONE)
        part = a->row_tasks - 1 - part;
    gatun__additive_task task = {.energy = a->energy == NULL ? NULL : a->energy + head * d->head_dim};
    gatun__attention_task *t = &task.attention;
    const int64_t all_rows = gatun__attention_describe_outputs(&a->call, batch, head, t);
    const int64_t begin = gatun__least(part * a->plan.task_rows, all_rows),
                  end = gatun__least(begin + a->plan.task_rows, all_rows), live_end = gatun__least(end, t->rows);
    t->blocks = a->plan.blocks;
    t->scratch = a->call.workspace + turn->slot * a->plan.scratch_bytes;
    t->lane_begin = begin;
    t->lane_end = live_end < begin ? begin : live_end;
    if (t->lane_begin < t->lane_end)
        a->call.kernels->additive_f32(&task);
    gatun__attention_fill_dead(t, t->lane_end, end, sizeof(float));
}

/* ---- the call ---- */

int32_t gatun_additive_attention(gatun_context *context, const gatun_additive_attention_desc *desc, void *workspace,
    int64_t workspace_size, const float *energy, const float *q, const float *k, const float *v,
    const int32_t *key_lengths, const int32_t *query_lengths, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    float *out, float *lse) {
    const gatun__attention_arguments arguments = {.q = q,
        .k = k,
        .v = v,
        .out = out,
        .lse = lse,
        .key_lengths = key_lengths,
        .query_lengths = query_lengths,
        .cu_seqlens_q = cu_seqlens_q,
        .cu_seqlens_k = cu_seqlens_k};
    TRY(gatun__context_usable(context));
    TRY(gatun_additive_attention_check(context, desc, NULL, 0));
    const gatun_attention_desc d = attention_of(desc);
    additive_call a = {.call = {.desc = &d,
                           .arguments = &arguments,
                           .kernels = context->kernels,
                           .workspace = workspace,
                           .q_factor = 1,
                           .q_power = 1},
        .energy = energy,
        .plan = make_plan(context, &d)};
    gatun__attention_call *c = &a.call;
    gatun__ragged_sizes sizes;
    TRY(gatun__attention_check_arguments(c, workspace, &sizes));
    const int has_rows = d.batch > 0 && c->max_rows > 0;
    TRY(gatun__pointer_check(energy, has_rows && c->max_keys > 0, _Alignof(float)));
    if (workspace_size < a.plan.threads * a.plan.scratch_bytes)
        return GATUN_E_WORKSPACE;
    TRY(gatun__attention_check_memory(c));
    const gatun__view energies =
        gatun__matrix_view(energy, sizeof *energy, 1, d.heads * d.head_dim, d.heads * d.head_dim);
    if (energy != NULL && (gatun__views_overlap(&c->out, &energies) || gatun__views_overlap(&c->lse, &energies)))
        return GATUN_E_OVERLAP;
    a.row_tasks = gatun__divide_up(c->max_rows, a.plan.task_rows);
    gatun__context_run(
        context, a.plan.threads, has_rows ? d.batch * d.heads * a.row_tasks : 0, a.plan.work_ns, run_task, &a);
    return GATUN_OK;
}
