/* The attention entry points: check, plan, run. What a task does is in attention_task.c. */
#include "attention.h"

#include <math.h>
#include <string.h>

static void make_plan(const gatun_context *context, const gatun_attention_desc *desc, gatun__attention_plan *plan) {
    const gatun__kernels *kernels = context->kernels;
    gatun__attention_plan_to(plan, desc, kernels->tier, kernels->attention_bf16 != NULL, kernels->block_lanes,
        context->threads, &context->caches, context->choices);
}

int32_t gatun_attention_workspace_size(const gatun_context *context, const gatun_attention_desc *desc, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    TRY(gatun_attention_check(context, desc, NULL, 0));
    gatun__attention_plan plan;
    make_plan(context, desc, &plan);
    *bytes = plan.workspace_bytes;
    return GATUN_OK;
}

int32_t gatun_attention_plan(
    const gatun_context *context, const gatun_attention_desc *desc, gatun_attention_plan_info *info) {
    if (info == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    if (info->struct_size < offsetof(gatun_attention_plan_info, threads))
        return GATUN_E_VERSION;
    TRY(gatun_attention_check(context, desc, NULL, 0));
    const int32_t tier = context->kernels->tier;
    gatun__attention_plan plan;
    make_plan(context, desc, &plan);
    const gatun_attention_plan_info full = {
        .struct_size = info->struct_size,
        .tier = tier,
        .kernel = plan.kernel,
        .threads = plan.threads,
        .block_lanes = context->kernels->block_lanes,
        .task_blocks = plan.blocks,
        .tile_keys = GATUN__TILE_KEYS,
        .chain_keys = GATUN__CHAIN_KEYS,
        .split_keys = GATUN__SPLIT_KEYS,
        .kv_fits_l2 = plan.kv_fits_l2,
        .copies = plan.copy,
        .key_splits = plan.key_splits,
        .task_lanes = plan.task_lanes,
        .tasks = plan.tasks,
        .scratch_bytes = plan.scratch_bytes,
        .workspace_bytes = plan.workspace_bytes,
        .flops = gatun__attention_flops(desc),
        .predicted_share = gatun__attention_predict(desc, &plan, tier),
    };
    memcpy(info, &full, info->struct_size < sizeof full ? info->struct_size : sizeof full);
    return GATUN_OK;
}

/* scale * log2(e) as a float and a power of two, which keeps scales that are nearly denormal from losing digits. */
void gatun__attention_split_scale(gatun__attention_call *c) {
    const gatun_attention_desc *d = c->desc;
    double scale = (d->flags & GATUN_ATTENTION_SCALE) != 0 ? (double)d->scale : 1.0 / sqrt((double)d->head_dim);
    double factor = scale * GATUN__LOG2_E, magnitude = fabs(factor);
    double power = magnitude > 0x1p100 ? 0x1p40 : magnitude < 0x1p-100 && magnitude > 0 ? 0x1p-40 : 1;
    c->q_factor = (float)(power == 1 ? factor : factor / power);
    c->q_power = (float)power;
}

static int32_t forward(gatun_context *context, const gatun_attention_desc *d, void *workspace, int64_t workspace_size,
    const gatun__attention_arguments *arguments) {
    TRY(gatun__context_usable(context));
    TRY(gatun_attention_check(context, d, NULL, 0));
    gatun__attention_plan plan;
    gatun__attention_call c; /* not zeroed, which would take longer than the plan */
    c.desc = d;
    c.arguments = arguments;
    c.plan = &plan;
    c.kernels = context->kernels;
    c.workspace = workspace;
    c.blocks_redone = &context->blocks_redone;
    gatun__attention_split_scale(&c); /* slow; meanwhile the rest is checked */
    gatun__ragged_sizes sizes;
    TRY(gatun__attention_check_arguments(&c, workspace, &sizes));
    make_plan(context, d, &plan);
    if (workspace_size < plan.workspace_bytes)
        return GATUN_E_WORKSPACE;
    if (arguments->cu_seqlens_q != NULL || arguments->cu_seqlens_k != NULL)
        gatun__attention_plan_bound(&plan, d, context->kernels->tier, context->kernels->block_lanes, sizes.longest_rows,
            sizes.pairs, sizes.keys);
    TRY(gatun__attention_check_memory(&c));
    gatun__attention_begin(&c);
    const int has_rows = d->batch > 0 && c.max_rows > 0;
    gatun__context_run(context, plan.threads, has_rows ? plan.tasks : 0, plan.work_ns, gatun__attention_run_task, &c);
    return GATUN_OK;
}

int32_t gatun_attention_forward(gatun_context *context, const gatun_attention_desc *desc, void *workspace,
    int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse) {
    const gatun__attention_arguments arguments = {
        .q = q, .k = k, .v = v, .out = out, .lse = lse, .key_lengths = key_lengths, .query_lengths = query_lengths};
    return forward(context, desc, workspace, workspace_size, &arguments);
}

int32_t gatun_attention_forward_extended(gatun_context *context, const gatun_attention_desc *desc, void *workspace,
    int64_t workspace_size, const void *q, const void *k, const void *v, const int32_t *key_lengths,
    const int32_t *query_lengths, void *out, float *lse, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    const int32_t *page_table, const uint8_t *mask, const uint8_t *block_mask, const float *bias,
    const float *alibi_slopes, const float *sinks, const int32_t *segment_ids_q, const int32_t *segment_ids_k,
    const int32_t *prefix_lengths, const float *relative_position_table, const int32_t *query_positions,
    const float *k_scales, const float *v_scales) {
    const void *unbuilt[] = {page_table, k_scales, v_scales};
    for (size_t i = 0; i < sizeof unbuilt / sizeof unbuilt[0]; i++) {
        if (unbuilt[i] != NULL)
            return GATUN_E_UNSUPPORTED;
    }
    const gatun__attention_arguments arguments = {.q = q,
        .k = k,
        .v = v,
        .out = out,
        .lse = lse,
        .key_lengths = key_lengths,
        .query_lengths = query_lengths,
        .cu_seqlens_q = cu_seqlens_q,
        .cu_seqlens_k = cu_seqlens_k,
        .alibi_slopes = alibi_slopes,
        .relative_position_table = relative_position_table,
        .mask = mask,
        .block_mask = block_mask,
        .bias = bias,
        .sinks = sinks,
        .segment_ids_q = segment_ids_q,
        .segment_ids_k = segment_ids_k,
        .prefix_lengths = prefix_lengths,
        .query_positions = query_positions};
    return forward(context, desc, workspace, workspace_size, &arguments);
}
