/* May two strided views share memory? Written so that a "no" is always right. */
#include "internal.h"

enum { RANK = 4, MAX_STEPS = 4096 };

static int is_empty(const gatun__view *view) {
    for (int d = 0; d < RANK; d++) {
        if (view->size[d] == 0)
            return 1;
    }
    return 0;
}

/* Dimensions in order of falling stride, those of size 1 left out (their stride never counts). Returns how many. */
static int by_stride(const gatun__view *view, int order[RANK]) {
    int count = 0;
    for (int d = 0; d < RANK; d++) {
        if (view->size[d] == 1)
            continue;
        int at = count++;
        for (; at > 0 && view->stride[order[at - 1]] < view->stride[d]; at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
    return count;
}

/*
 * Are there integers n[d], -(size_b[d] - 1) <= n[d] <= size_a[d] - 1, with sum n[d] * stride[d] = difference? Depth
 * first from the largest stride: what the smaller ones can still reach leaves few candidates. Gives up, with "yes",
 * where that takes too many steps.
 */
static int reachable(
    int64_t difference, int count, const int64_t stride[], const int64_t most[], const int64_t least[], int *steps) {
    if (count == 0)
        return difference == 0;
    int64_t reach_up = 0, reach_down = 0;
    for (int d = 1; d < count; d++) {
        reach_up += most[d] * stride[d];
        reach_down += least[d] * stride[d];
    }
    if (stride[0] == 0)
        return reachable(difference, count - 1, stride + 1, most + 1, least + 1, steps);
    int64_t from = (difference - reach_up) / stride[0] - 1, to = (difference + reach_down) / stride[0] + 1;
    from = from < -least[0] ? -least[0] : from;
    to = to > most[0] ? most[0] : to;
    for (int64_t n = from; n <= to; n++) {
        int64_t rest = difference - n * stride[0];
        if (rest > reach_up || rest < -reach_down)
            continue;
        if (++*steps > MAX_STEPS || reachable(rest, count - 1, stride + 1, most + 1, least + 1, steps))
            return 1;
    }
    return 0;
}

/* Does each dimension step over all that lie within it, dimensions 1 and 2 being in this order from outside? */
static inline int is_nested(const gatun__view *view, int outer, int inner) {
    const int order[RANK] = {RANK - 1, inner, outer, 0};
    int64_t reach = 0;
    for (int i = 0; i < RANK; i++) {
        const int d = order[i];
        if (view->size[d] > 1 && view->stride[d] <= reach)
            return 0;
        reach += (view->size[d] - 1) * view->stride[d];
    }
    return 1;
}

int gatun__view_overlaps_itself(const gatun__view *view) {
    if (is_empty(view) || is_nested(view, 1, 2) || is_nested(view, 2, 1)) /* the common case */
        return 0;
    int order[RANK];
    int count = by_stride(view, order);
    int64_t inner = 0; /* the furthest that the dimensions of smaller stride reach */
    for (int i = count - 1; i >= 0; i--) {
        if (view->stride[order[i]] <= inner)
            return 1;
        inner += (view->size[order[i]] - 1) * view->stride[order[i]];
    }
    return 0;
}

int gatun__views_overlap(const gatun__view *a, const gatun__view *b) {
    const gatun__range a_range = gatun__view_range(a), b_range = gatun__view_range(b);
    if (!gatun__ranges_meet(&a_range, &b_range))
        return 0;
    /* Below, only elements of one size that do not straddle each other can be told apart. */
    const int64_t bytes = (int64_t)(b->base - a->base), element_bytes = a->element_bytes;
    if (b->element_bytes != element_bytes || bytes % element_bytes != 0)
        return 1;
    int64_t stride[RANK], most[RANK], least[RANK];
    gatun__view merged = {0};
    for (int d = 0; d < RANK; d++) {
        if (a->stride[d] != b->stride[d] && a->size[d] > 1 && b->size[d] > 1)
            return 1;
        merged.size[d] = a->size[d] > 1 || b->size[d] > 1 ? 2 : 1;
        merged.stride[d] = a->size[d] > 1 ? a->stride[d] : b->stride[d];
    }
    int order[RANK];
    int count = by_stride(&merged, order), steps = 0;
    for (int i = 0; i < count; i++) {
        stride[i] = merged.stride[order[i]];
        most[i] = a->size[order[i]] - 1;
        least[i] = b->size[order[i]] - 1;
    }
    return reachable(bytes / element_bytes, count, stride, most, least, &steps);
}
