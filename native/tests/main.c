#include <stddef.h>

#include "suites.h"

int main(int argc, char **argv) {
    static const test_suite suites[] = {{"abi", abi_tests}, {"context", context_tests}, {"quota", quota_tests},
        {"errors", errors_tests}, {"kernels", kernels_tests}, {"plan", plan_tests}, {"overlap", overlap_tests},
        {"numbers", numbers_tests}, {"wide", wide_tests}, {"special", special_tests}, {"bits", bits_tests},
        {"sgemm", sgemm_tests}, {"linear", linear_tests}, {"packed_weights", packed_weights_tests},
        {"packed_linear", packed_linear_tests}, {"row_steps", row_steps_tests}, {"rows", rows_tests},
        {"rows_refused", rows_refused_tests}, {"tables", tables_tests}, {"ragged", ragged_tests}, {"bias", bias_tests},
        {"changes", changes_tests}, {"map", map_tests}, {"additive", additive_tests}, {"rotary", rotary_tests},
        {"scan", scan_tests}, {"scan_refused", scan_refused_tests}, {"cells", cells_tests},
        {"linear_attention", linear_attention_tests}, {"pool", pool_tests}, {"threads", threads_tests},
        {"races", races_tests}, {"sizes", sizes_tests}, {"matrix", matrix_tests},
        {"attention_bf16", attention_bf16_tests}, {"attention_halves", attention_halves_tests}, {"full", full_tests},
        {NULL, NULL}};
    return test_main(argc, argv, suites);
}
