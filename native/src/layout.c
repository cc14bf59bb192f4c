#include "internal.h"

#include <stdio.h>

typedef struct writer {
    char *text;
    int64_t size, length;
} writer;

static void line(writer *w, const char *name, int64_t offset, int64_t size) {
    char buffer[96];
    int n = offset < 0 ? snprintf(buffer, sizeof buffer, "%s - %lld\n", name, (long long)size)
                       : snprintf(buffer, sizeof buffer, "%s %lld %lld\n", name, (long long)offset, (long long)size);
    for (int i = 0; i < n; i++, w->length++) {
        if (w->length + 1 < w->size)
            w->text[w->length] = buffer[i];
    }
}

#define STRUCT(s)    line(&w, #s, -1, (int64_t)sizeof(s))
#define MEMBER(s, m) line(&w, #s "." #m, (int64_t)offsetof(s, m), (int64_t)sizeof(((s *)0)->m))

int64_t gatun_abi_layout(char *text, int64_t size) {
    writer w = {text, text == NULL ? 0 : size, 0};
    STRUCT(gatun_config);
    MEMBER(gatun_config, struct_size);
    MEMBER(gatun_config, threads);
    MEMBER(gatun_config, tier);
    MEMBER(gatun_config, flags);
    MEMBER(gatun_config, reserved);
    STRUCT(gatun_info);
    MEMBER(gatun_info, struct_size);
    MEMBER(gatun_info, tier);
    MEMBER(gatun_info, tier_source);
    MEMBER(gatun_info, threads);
    MEMBER(gatun_info, tiers);
    MEMBER(gatun_info, cpus);
    MEMBER(gatun_info, l1d_bytes);
    MEMBER(gatun_info, l2_bytes);
    MEMBER(gatun_info, l3_bytes);
    MEMBER(gatun_info, calls);
    MEMBER(gatun_info, tasks);
    MEMBER(gatun_info, tasks_helped);
    MEMBER(gatun_info, blocks_redone);
    MEMBER(gatun_info, cpu);
    MEMBER(gatun_info, reserved);
    STRUCT(gatun_attention_desc);
    MEMBER(gatun_attention_desc, struct_size);
    MEMBER(gatun_attention_desc, flags);
    MEMBER(gatun_attention_desc, dtype);
    MEMBER(gatun_attention_desc, kv_dtype);
    MEMBER(gatun_attention_desc, causal);
    MEMBER(gatun_attention_desc, max_threads);
    MEMBER(gatun_attention_desc, scale);
    MEMBER(gatun_attention_desc, reserved0);
    MEMBER(gatun_attention_desc, batch);
    MEMBER(gatun_attention_desc, heads);
    MEMBER(gatun_attention_desc, kv_heads);
    MEMBER(gatun_attention_desc, seq_q);
    MEMBER(gatun_attention_desc, seq_k);
    MEMBER(gatun_attention_desc, head_dim);
    MEMBER(gatun_attention_desc, head_dim_v);
    MEMBER(gatun_attention_desc, q_stride);
    MEMBER(gatun_attention_desc, k_stride);
    MEMBER(gatun_attention_desc, v_stride);
    MEMBER(gatun_attention_desc, out_stride);
    MEMBER(gatun_attention_desc, lse_stride);
    MEMBER(gatun_attention_desc, relative_span);
    MEMBER(gatun_attention_desc, reserved);
    STRUCT(gatun_attention_plan_info);
    MEMBER(gatun_attention_plan_info, struct_size);
    MEMBER(gatun_attention_plan_info, tier);
    MEMBER(gatun_attention_plan_info, kernel);
    MEMBER(gatun_attention_plan_info, threads);
    MEMBER(gatun_attention_plan_info, block_lanes);
    MEMBER(gatun_attention_plan_info, task_blocks);
    MEMBER(gatun_attention_plan_info, tile_keys);
    MEMBER(gatun_attention_plan_info, chain_keys);
    MEMBER(gatun_attention_plan_info, split_keys);
    MEMBER(gatun_attention_plan_info, keys_stay);
    MEMBER(gatun_attention_plan_info, copies);
    MEMBER(gatun_attention_plan_info, key_splits);
    MEMBER(gatun_attention_plan_info, task_lanes);
    MEMBER(gatun_attention_plan_info, tasks);
    MEMBER(gatun_attention_plan_info, scratch_bytes);
    MEMBER(gatun_attention_plan_info, workspace_bytes);
    MEMBER(gatun_attention_plan_info, flops);
    MEMBER(gatun_attention_plan_info, predicted_share);
    MEMBER(gatun_attention_plan_info, reserved);
    STRUCT(gatun_sgemm_desc);
    MEMBER(gatun_sgemm_desc, struct_size);
    MEMBER(gatun_sgemm_desc, flags);
    MEMBER(gatun_sgemm_desc, m);
    MEMBER(gatun_sgemm_desc, n);
    MEMBER(gatun_sgemm_desc, k);
    MEMBER(gatun_sgemm_desc, lda);
    MEMBER(gatun_sgemm_desc, ldb);
    MEMBER(gatun_sgemm_desc, ldc);
    MEMBER(gatun_sgemm_desc, alpha);
    MEMBER(gatun_sgemm_desc, beta);
    MEMBER(gatun_sgemm_desc, max_threads);
    MEMBER(gatun_sgemm_desc, activation);
    MEMBER(gatun_sgemm_desc, reserved);
    STRUCT(gatun_rows_desc);
    MEMBER(gatun_rows_desc, struct_size);
    MEMBER(gatun_rows_desc, flags);
    MEMBER(gatun_rows_desc, rows);
    MEMBER(gatun_rows_desc, dim);
    MEMBER(gatun_rows_desc, x_row);
    MEMBER(gatun_rows_desc, other_row);
    MEMBER(gatun_rows_desc, sum_row);
    MEMBER(gatun_rows_desc, out_row);
    MEMBER(gatun_rows_desc, activation);
    MEMBER(gatun_rows_desc, max_threads);
    MEMBER(gatun_rows_desc, epsilon);
    MEMBER(gatun_rows_desc, scale);
    MEMBER(gatun_rows_desc, table_rows);
    MEMBER(gatun_rows_desc, reserved);
    STRUCT(gatun_rotary_desc);
    MEMBER(gatun_rotary_desc, struct_size);
    MEMBER(gatun_rotary_desc, flags);
    MEMBER(gatun_rotary_desc, rows);
    MEMBER(gatun_rotary_desc, heads);
    MEMBER(gatun_rotary_desc, head_dim);
    MEMBER(gatun_rotary_desc, rotary_dim);
    MEMBER(gatun_rotary_desc, x_row);
    MEMBER(gatun_rotary_desc, x_head);
    MEMBER(gatun_rotary_desc, out_row);
    MEMBER(gatun_rotary_desc, out_head);
    MEMBER(gatun_rotary_desc, table_rows);
    MEMBER(gatun_rotary_desc, max_threads);
    MEMBER(gatun_rotary_desc, reserved0);
    MEMBER(gatun_rotary_desc, reserved);
    if (w.size > 0)
        w.text[w.length < w.size ? w.length : w.size - 1] = '\0';
    return w.length;
}
