/*
 * Which keys a query row may see. This is the one place that says it: whatever masks keys by their position (causality, the
 * length of a sequence) is a member of gatun__key_rule, and kernels, plan and model ask gatun__key_range(rule, row).
 */
#ifndef GATUN_KEY_RANGE_H
#define GATUN_KEY_RANGE_H

#include "gatun.h"

#include <stdint.h>

/* Keys first .. end - 1. */
typedef struct gatun__keys {
    int64_t first, end;
} gatun__keys;

/* Of one batch row or sequence. */
typedef struct gatun__key_rule {
    int64_t keys;         /* its length */
    int64_t causal_limit; /* row i sees the keys below causal_limit + i; INT64_MAX / 2 if not causal */
} gatun__key_rule;

/* The position of row 0 on the scale of keys. */
static inline int64_t gatun__first_position(int32_t causal, int64_t rows, int64_t keys) {
    return causal == GATUN_CAUSAL_TOP_LEFT ? 0 : keys - rows;
}

static inline gatun__key_rule gatun__key_rule_of(int32_t causal, int64_t rows, int64_t keys) {
    return (gatun__key_rule){.keys = keys,
        .causal_limit = causal == GATUN_CAUSAL_NONE ? INT64_MAX / 2 : gatun__first_position(causal, rows, keys) + 1};
}

/* Of this row. Neither end falls from row to row, which kernels rely on. */
static inline gatun__keys gatun__key_range(const gatun__key_rule *rule, int64_t row) {
    const int64_t limit = rule->causal_limit + row, end = limit < rule->keys ? limit : rule->keys;
    return (gatun__keys){.first = 0, .end = end < 0 ? 0 : end};
}

/* Whether all rows from first_row to last_row see all keys. */
static inline int gatun__all_visible(const gatun__key_rule *rule, int64_t first_row, int64_t last_row) {
    return gatun__key_range(rule, last_row).first == 0 && gatun__key_range(rule, first_row).end == rule->keys;
}

/* Pairs of one of so many rows and a key that it sees: the sum of their ranges. */
static inline double gatun__visible_pairs(const gatun__key_rule *rule, int64_t rows) {
    const int64_t limit = rule->causal_limit;
    /* Rows begin .. full - 1 see some keys, each one more than the row before; those from there on all. */
    const int64_t begin = limit > 0 ? 0 : 1 - limit < rows ? 1 - limit : rows;
    const int64_t to_full = rule->keys - limit > 0 ? rule->keys - limit : 0;
    const int64_t full = to_full < begin ? begin : to_full < rows ? to_full : rows;
    const double some = (double)(full - begin), mean = (double)(2 * limit + begin + full - 1) / 2;
    return (some > 0 ? some * mean : 0) + (double)(rows - full) * (double)rule->keys;
}

#endif
