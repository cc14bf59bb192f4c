/* Sizes whose products cannot be represented are refused; declared sizes of ragged sequences beyond what their offsets hold
 * change nothing. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "rows.h"
#include "suites.h"

static gatun_context *best_context(void) {
    int32_t tiers[MAX_TIERS];
    return shared_context(tiers[test_tiers(tiers) - 1]);
}

static gatun_attention_desc ragged_desc(int64_t batch, int64_t heads, int64_t seq_q, int64_t seq_k) {
    return (gatun_attention_desc){.struct_size = sizeof(gatun_attention_desc),
        .flags = GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K,
        .dtype = GATUN_DTYPE_F32,
        .kv_dtype = GATUN_DTYPE_F32,
        .batch = batch,
        .heads = heads,
        .kv_heads = heads,
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = 4,
        .head_dim_v = 4,
        .q_stride = {0, heads * 4, 4},
        .k_stride = {0, heads * 4, 4},
        .v_stride = {0, heads * 4, 4},
        .out_stride = {0, heads * 4, 4},
        .lse_stride = {0, heads, 1}};
}

static void ragged_products(void) {
    gatun_context *context = best_context();
    static const int64_t huge[][3] = {{1 << 21, 1 << 21, INT32_MAX}, {INT32_MAX, 1 << 21, INT32_MAX},
        {INT32_MAX, INT32_MAX, 1}, {1 << 21, 1 << 21, (1 << 16) + 1}};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        gatun_attention_desc desc = ragged_desc(huge[i][0], huge[i][1], huge[i][2], 1);
        char message[200] = "";
        int64_t bytes = -1;
        CHECK_STATUS(gatun_attention_check(context, &desc, message, sizeof message), GATUN_E_INVALID);
        CHECK(strncmp(message, "batch, heads, seq_q: expected at most 2^58", 42) == 0, "message: %s", message);
        CHECK_STATUS(gatun_attention_workspace_size(context, &desc, &bytes), GATUN_E_INVALID);
        /* refused before anything is looked at */
        static _Alignas(64) uint8_t workspace[64];
        static float out[4] = {1, 1, 1, 1};
        static const int32_t offsets[2] = {0, 1};
        CHECK_STATUS(
            gatun_attention_forward_extended(context, &desc, workspace, INT64_MAX, out, out, out, NULL, NULL, out, NULL,
                offsets, offsets, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            GATUN_E_INVALID);
        CHECK(out[0] == 1, "written");
    }
    gatun_attention_desc most = ragged_desc(1 << 21, 1 << 21, 1 << 16, 1);
    int64_t bytes = -1;
    gatun_attention_plan_info info = {.struct_size = sizeof info};
    CHECK_STATUS(gatun_attention_workspace_size(context, &most, &bytes), GATUN_OK);
    CHECK_STATUS(gatun_attention_plan(context, &most, &info), GATUN_OK);
    CHECK(bytes >= 64 && info.tasks > 0 && info.flops > 0x1p59, "%lld bytes, %lld tasks, %g flops", (long long)bytes,
        (long long)info.tasks, info.flops);
}

/* Runs three sequences, declared with these sizes; how many tasks that took. */
static int64_t run_declared(int64_t seq_q, int64_t seq_k, int64_t heads, const float *data, float *out, int32_t rows) {
    gatun_context *context = best_context();
    gatun_attention_desc desc = ragged_desc(3, heads, seq_q, seq_k);
    desc.causal = GATUN_CAUSAL_BOTTOM_RIGHT;
    const int32_t offsets[] = {0, rows, rows, 3 * rows};
    gatun_info before = {.struct_size = sizeof before}, after = before;
    int64_t bytes;
    void *workspace = new_workspace(context, &desc, &bytes);
    CHECK_STATUS(gatun_context_info(context, &before), GATUN_OK);
    CHECK_STATUS(
        gatun_attention_forward_extended(context, &desc, workspace, bytes, data, data, data, NULL, NULL, out, NULL,
            offsets, offsets, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        GATUN_OK);
    CHECK_STATUS(gatun_context_info(context, &after), GATUN_OK);
    free(workspace);
    return (int64_t)(after.tasks - before.tasks);
}

static void declared_sizes(void) {
    static const int32_t row_counts[] = {1, 2, 40, 300};
    for (size_t n = 0; n < sizeof row_counts / sizeof *row_counts; n++) {
        const int32_t rows = row_counts[n];
        const int64_t heads = 2, floats = 3 * rows * heads * 4;
        float *data = test_allocate(floats * 4), *tight = test_allocate(floats * 4), *loose = test_allocate(floats * 4);
        rng random = rng_make(test_seed(), n);
        for (int64_t i = 0; i < floats; i++) {
            data[i] = rng_normal(&random);
        }
        test_note("%d and %d rows", (int)rows, 2 * (int)rows);
        int64_t few = run_declared(2 * rows, 2 * rows, heads, data, tight, rows);
        int64_t many = run_declared(INT32_MAX, INT32_MAX, heads, data, loose, rows);
        CHECK(many <= few, "%lld tasks for declared sizes of 2^31 - 1, %lld for those of the offsets", (long long)many,
            (long long)few);
        CHECK(same_bits(tight, loose, floats), "declared sizes change bits");
        free(data);
        free(tight);
        free(loose);
    }
}

/* ---- matrices and rows ---- */

static void no_product(void) {
    CHECK(false, "a product was computed");
}

static void products_of_sgemm(void) {
    gatun_context *context = best_context();
    void (*function)(void) = no_product;
    void *sgemm;
    memcpy(&sgemm, &function, sizeof sgemm);
    static float tensor[4];
    const int64_t most = INT32_MAX;
    /* One of A, B and C reaches beyond 2^58 elements, the others hardly anywhere. */
    const gatun_sgemm_desc descs[] = {
        {.struct_size = sizeof descs[0], .m = most, .n = 1, .k = 1, .lda = most, .ldb = 1, .ldc = 1, .alpha = 1},
        {.struct_size = sizeof descs[0], .m = 1, .n = 1, .k = most, .lda = most, .ldb = most, .ldc = 1, .alpha = 1},
        {.struct_size = sizeof descs[0], .m = most, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = most, .alpha = 1}};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(gatun_sgemm(context, &descs[i], sgemm, tensor, tensor + 1, tensor + 2), GATUN_E_INVALID);
        const gatun_linear_desc linear = {.struct_size = sizeof linear,
            .m = descs[i].m,
            .n = descs[i].n,
            .k = descs[i].k,
            .lda = descs[i].lda,
            .ldb = descs[i].ldb,
            .ldc = descs[i].ldc,
            .alpha = 1};
        CHECK_STATUS(gatun_linear(context, &linear, sgemm, tensor, tensor + 1, NULL, tensor + 2), GATUN_E_INVALID);
    }
}

static void products_of_rows(void) {
    gatun_context *context = best_context();
    static float x[4], out[4], gamma[4];
    const int64_t most = INT32_MAX;
    gatun_norm_desc norm = norm_desc(most, 1);
    norm.out_row = most;
    CHECK_STATUS(gatun_norm(context, &norm, x, NULL, NULL, gamma, NULL, NULL, out), GATUN_E_INVALID);
    gatun_activation_desc activation = activation_desc(most, 1, GATUN_ACTIVATION_NONE);
    activation.out_row = most;
    CHECK_STATUS(gatun_activation(context, &activation, x, NULL, NULL, out), GATUN_E_INVALID);
    gatun_softmax_desc softmax = softmax_desc(most, 1);
    softmax.out_row = most;
    CHECK_STATUS(gatun_softmax(context, &softmax, x, out), GATUN_E_INVALID);
    gatun_embedding_desc embedding = embedding_desc(most, 1);
    embedding.out_row = most;
    embedding.table_rows[0] = 1;
    CHECK_STATUS(gatun_embedding(context, &embedding, NULL, x, NULL, NULL, NULL, NULL, out), GATUN_E_INVALID);
    embedding = embedding_desc(1, most);
    embedding.table_rows[0] = most;
    CHECK_STATUS(gatun_embedding(context, &embedding, NULL, x, NULL, NULL, NULL, NULL, out), GATUN_E_INVALID);
    static const int32_t offsets[] = {0, INT32_MAX};
    gatun_pool_desc pool = pool_desc(1, 1);
    pool.x_row = most;
    CHECK_STATUS(gatun_pool(context, &pool, x, offsets, out), GATUN_E_INVALID);
}

const test_case sizes_tests[] = {
    {"ragged_products", ragged_products},
    {"declared_sizes", declared_sizes},
    {"products_of_sgemm", products_of_sgemm},
    {"products_of_rows", products_of_rows},
    {NULL, NULL},
};
