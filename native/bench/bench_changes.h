/* What masks and changes of scores cost: make bench BENCH_ARGS=--changes. */
#ifndef BENCH_CHANGES_H
#define BENCH_CHANGES_H

#include "gatun.h"

typedef struct changes_options {
    const char *only; /* a part of the names of changes, or NULL for all */
    int rounds, pin;
    int64_t seq;   /* queries, and keys */
    double window; /* seconds of calls in a row */
} changes_options;

/*
 * Times attention of 4 heads of dimension 64 with each change in turn with a call without any, whose rate on the same useful
 * operations is what it is compared with. Pairs that causal mask, window, prefix, segments and blocks leave are useful; a mask that
 * tells single keys leaves all, as its keys are multiplied. Each result is compared with a double reference on some rows
 * first. Returns 0, or 1 if a result is wrong, or 2 if there is no memory or a call is refused.
 */
int bench_changes(gatun_context *context, const changes_options *options);

#endif /* BENCH_CHANGES_H */
