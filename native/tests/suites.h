/* The tables of tests, one per file, that main.c lists. */
#ifndef GATUN_TESTS_SUITES_H
#define GATUN_TESTS_SUITES_H

#include "harness.h"

extern const test_case matrix_tests[];
extern const test_case full_tests[]; /* run with --full only */
extern const test_case numbers_tests[];
extern const test_case special_tests[];
extern const test_case bits_tests[];
extern const test_case errors_tests[];
extern const test_case overlap_tests[];
extern const test_case context_tests[];
extern const test_case pool_tests[];
extern const test_case threads_tests[];
extern const test_case races_tests[];
extern const test_case sizes_tests[];
extern const test_case wide_tests[];
extern const test_case sgemm_tests[];
extern const test_case linear_tests[];
extern const test_case packed_linear_tests[];
extern const test_case packed_weights_tests[];
extern const test_case row_steps_tests[];
extern const test_case rows_tests[];
extern const test_case rows_refused_tests[];
extern const test_case tables_tests[];
extern const test_case attention_bf16_tests[];
extern const test_case attention_halves_tests[];
extern const test_case ragged_tests[];
extern const test_case bias_tests[];
extern const test_case changes_tests[];
extern const test_case map_tests[];
extern const test_case additive_tests[];
extern const test_case rotary_tests[];
extern const test_case linear_attention_tests[];
extern const test_case cells_tests[];
extern const test_case scan_tests[];
extern const test_case scan_refused_tests[];
extern const test_case kernels_tests[];
extern const test_case plan_tests[];
extern const test_case abi_tests[];
extern const test_case quota_tests[];

#endif
