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
    int64_t causal_limit; /* row i sees the keys below causal_limit + i; GATUN__NO_LIMIT if not causal */
    int64_t prefix;       /* and those below it */
    int64_t window_first; /* of them those from window_first + i on; -GATUN__NO_LIMIT without a window */
    int64_t window_end;   /* below window_end + i */
} gatun__key_rule;

#define GATUN__NO_LIMIT (INT64_MAX / 4)

/* The position of row 0 on the scale of keys. */
static inline int64_t gatun__first_position(int32_t causal, int64_t rows, int64_t keys) {
    return causal == GATUN_CAUSAL_TOP_LEFT ? 0 : keys - rows;
}

/* positioned: rows have positions of their own, so that none can be told from its number. Then, and with global tokens, what a
 * window hides is not all here: attention_changes.h says it key by key. */
static inline gatun__key_rule gatun__key_rule_of(
    const gatun_attention_desc *d, int64_t rows, int64_t keys, int64_t prefix, int positioned) {
    const int64_t first = gatun__first_position(d->causal, rows, keys);
    gatun__key_rule rule = {.keys = keys,
        .causal_limit = d->causal == GATUN_CAUSAL_NONE || positioned ? GATUN__NO_LIMIT : first + 1,
        .prefix = prefix,
        .window_first = -GATUN__NO_LIMIT,
        .window_end = GATUN__NO_LIMIT};
    if ((d->flags & GATUN_ATTENTION_WINDOW) != 0 && d->global_tokens == 0 && !positioned) {
        if (d->window_left >= 0)
            rule.window_first = first - d->window_left;
        if (d->window_right >= 0)
            rule.window_end = first + d->window_right + 1;
    }
    return rule;
}

/* Of this row. Neither end falls from row to row, which kernels rely on. */
static inline gatun__keys gatun__key_range(const gatun__key_rule *rule, int64_t row) {
    int64_t end = rule->causal_limit + row, first = rule->window_first + row;
    end = end < rule->prefix ? rule->prefix : end;
    end = end < rule->window_end + row ? end : rule->window_end + row;
    end = end < rule->keys ? end : rule->keys;
    end = end < 0 ? 0 : end;
    first = first < 0 ? 0 : first;
    return (gatun__keys){.first = first < end ? first : end, .end = end};
}

/* Whether all rows from first_row to last_row see all keys. */
static inline int gatun__all_visible(const gatun__key_rule *rule, int64_t first_row, int64_t last_row) {
    return gatun__key_range(rule, last_row).first == 0 && gatun__key_range(rule, first_row).end == rule->keys;
}

#endif
