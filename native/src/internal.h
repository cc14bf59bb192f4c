/* Declarations shared by the files of src/. */
#ifndef GATUN_INTERNAL_H
#define GATUN_INTERNAL_H

#include "gatun.h"
#include "kernels.h"

#include <stdatomic.h>
#include <stddef.h>

/* Returns from the calling function with the status of a call that failed. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        int32_t status_ = (call);                                                                                      \
        if (status_ != GATUN_OK)                                                                                       \
            return status_;                                                                                            \
    } while (0)

/* a >= 0; division is slow, and most of these are of one or nothing. */
static inline int64_t gatun__divide_up(int64_t a, int64_t b) {
    return a <= b ? a > 0 : a / b + (a % b != 0);
}

/* ---- clock.c ---- */

/* Of a clock that never goes back; takes some 30 ns. */
int64_t gatun__nanoseconds(void);

/* ---- cpu.c ---- */

typedef struct gatun__caches {
    int64_t l1d, l2, l3;
} gatun__caches;

int gatun__cpu_has(int32_t tier);
/* GATUN_FEATURE_* that the CPU has beside this tier, which it has. */
uint32_t gatun__cpu_features(int32_t tier);
void gatun__cpu_name(char *name, size_t size);
gatun__caches gatun__cpu_caches(void);
/* CPUs that this process may use: the least of its affinity and its control groups' quota. */
int32_t gatun__cpu_count(void);

/* ---- quota.c ---- */

/* CPUs that the control groups of this process leave it, rounded up; 0 = no limit. root: what /proc and the mount points
 * are below, "" but for tests. */
int32_t gatun__cpu_quota(const char *root);

/* ---- dispatch.c ---- */

/* The kernels of a tier, or NULL if this build or this CPU has none. */
const gatun__kernels *gatun__kernels_of(int32_t tier);
const gatun__kernels *gatun__kernels_best(void);
/* Puts the kernels for these GATUN_FEATURE_* in the place of those of their tier. */
void gatun__kernels_extend(gatun__kernels *kernels, uint32_t features);
/* The tier of that name, or -1. */
int32_t gatun__tier_by_name(const char *name);

/* ---- pool.c ---- */

typedef struct gatun__pool gatun__pool;

/* A thread's turn in a call: which task, and what it runs before and, most probably, after it. */
typedef struct gatun__turn {
    int64_t index;
    int64_t previous, next; /* -1 = none */
    int32_t slot;           /* of the scratch: 0 = the caller, 1 .. threads - 1 = helpers */
} gatun__turn;

typedef void (*gatun__pool_function)(void *argument, const gatun__turn *turn);

int32_t gatun__pool_create(int32_t threads, gatun__pool **pool);
/* GATUN_E_STATE if a job is open. */
int32_t gatun__pool_destroy(gatun__pool *pool);
/* Runs `tasks` tasks on the caller and on at most threads - 1 idle workers, and returns when all are done. Returns
 * those that workers ran. work_ns: about how long one thread takes, by which workers that sleep are woken or not. */
int64_t gatun__pool_run(
    gatun__pool *pool, int32_t threads, int64_t tasks, int64_t work_ns, gatun__pool_function function, void *argument);
/* Tasks that workers have run in all calls that have ended; 0 without a pool. */
uint64_t gatun__pool_helped(const gatun__pool *pool);
/* As gatun__pool_run, where a thread takes `grain` tasks at a time; there may be INT32_MAX grains. */
int64_t gatun__pool_run_grains(gatun__pool *pool, int32_t threads, int64_t tasks, int64_t grain, int64_t work_ns,
    gatun__pool_function function, void *argument);

/* ---- context.c ---- */

struct gatun_context {
    const gatun__kernels *kernels;
    gatun__pool *pool;
    int32_t threads;
    int32_t tier_source;
    uint32_t features; /* GATUN_FEATURE_* */
    int32_t cpus;
    uint32_t tiers;
    gatun__caches caches;
    uint64_t fork_generation;
    const struct gatun__plan_choices *choices; /* NULL but for bench_plan */
    gatun__kernels extended;                   /* those of the context, if it has features */
    char cpu[64];
    /* Written by every call: on a line of their own. */
    _Alignas(64) _Atomic uint64_t calls;
    _Atomic uint64_t tasks;
    _Atomic uint64_t blocks_redone;
    _Atomic int32_t open_calls; /* of several jobs one after the other */
};

/* Threads that may work on a call with this max_threads (0 = all). */
static inline int32_t gatun__threads_of(const gatun_context *context, int32_t max_threads) {
    return max_threads > 0 && max_threads < context->threads ? max_threads : context->threads;
}
/* Counts a call and runs its tasks on the caller and on idle workers, at most max_threads together (0 = all). */
void gatun__context_run(gatun_context *context, int32_t max_threads, int64_t tasks, int64_t work_ns,
    gatun__pool_function function, void *argument);
/* GATUN_E_NULL, GATUN_E_STATE (after a fork) or GATUN_OK. */
int32_t gatun__context_usable(const gatun_context *context);

/* ---- check.c ---- */

/* Formats into message, if there is one, and returns status. */
__attribute__((format(printf, 4, 5))) int32_t gatun__fail(
    int32_t status, char *message, int64_t message_size, const char *format, ...);
/* GATUN_E_NULL for a pointer that is needed and missing, GATUN_E_ALIGNMENT for one off its alignment. */
static inline int32_t gatun__pointer_check(const void *pointer, int needed, uintptr_t alignment) {
    if (pointer == NULL)
        return needed ? GATUN_E_NULL : GATUN_OK;
    return ((uintptr_t)pointer & (alignment - 1)) != 0 ? GATUN_E_ALIGNMENT : GATUN_OK;
}
/* Whether rows of this stride end below 2^58 elements, so that no later sum, in elements or bytes, overflows. Both are in
 * 0 .. 2^31 - 1. */
static inline int gatun__fits(int64_t rows, int64_t stride) {
    return rows * stride <= (int64_t)1 << 58;
}
/* Whether a reserved member is set. */
static inline int gatun__softcap_fits(float softcap) {
    return softcap == 0 || (softcap >= 0x1p-100f && softcap <= 0x1p100f);
}

static inline int gatun__any_set(const int64_t *reserved, size_t count) {
    int64_t set = 0;
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        set |= reserved[i] | reserved[i + 1] | reserved[i + 2] | reserved[i + 3];
    for (; i < count; i++)
        set |= reserved[i];
    return set != 0;
}
/* A struct of the caller: known members, and nothing set that this library does not know. */
int32_t gatun__struct_check(
    const void *data, uint32_t struct_size, size_t known, const char *name, char *message, int64_t message_size);
/* gatun_attention_check; without outputs members of v, out and lse are not looked at. */
int32_t gatun__attention_check_desc(
    const gatun_context *context, const gatun_attention_desc *desc, int outputs, char *message, int64_t message_size);
int32_t gatun__range_check(
    const char *name, int64_t value, int64_t least, int64_t most, char *message, int64_t message_size);
/* Strides of so many dimensions, over `extent` elements in a row: none negative, and the whole extent below 2^60 bytes so that no
 * later sum overflows. */
int32_t gatun__stride_check(const char *name, const char *const axes[], int dimensions, const int64_t stride[],
    const int64_t size[], int64_t extent, char *message, int64_t message_size);

/* ---- overlap.c ---- */

/* Bytes of an element of a GATUN_DTYPE_* that gatun_attention_check lets pass. */
static inline int64_t gatun__dtype_bytes(int32_t dtype) {
    return dtype == GATUN_DTYPE_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(uint16_t);
}

static inline int32_t gatun__out_dtype(const gatun_attention_desc *desc) {
    return desc->out_dtype == 0 ? desc->dtype : desc->out_dtype;
}

/* Elements base + element_bytes * sum(i[d] * stride[d]), 0 <= i[d] < size[d]. */
typedef struct gatun__view {
    uintptr_t base;
    int64_t element_bytes;
    int64_t size[4];
    int64_t stride[4];
} gatun__view;

/* A tensor [batch][rows][heads][dim] with the strides of a descriptor. */
static inline gatun__view gatun__tensor_view(const void *tensor, int64_t element_bytes, int64_t batch, int64_t rows,
    int64_t heads, int64_t dim, const int64_t stride[3]) {
    return (gatun__view){
        (uintptr_t)tensor, element_bytes, {batch, rows, heads, dim}, {stride[0], stride[1], stride[2], 1}};
}

/* A matrix [rows][columns] whose rows are `row` elements apart. */
static inline gatun__view gatun__matrix_view(
    const void *matrix, int64_t element_bytes, int64_t rows, int64_t row, int64_t columns) {
    return (gatun__view){(uintptr_t)matrix, element_bytes, {1, 1, rows, columns}, {0, 0, row, 1}};
}

/* The address of the first element of a row of a head. */
static inline void *gatun__view_at(const gatun__view *view, int64_t batch, int64_t row, int64_t head) {
    const int64_t element = batch * view->stride[0] + row * view->stride[1] + head * view->stride[2];
    return (void *)(view->base + (uintptr_t)(element * view->element_bytes));
}

/* The addresses from the first element to the end of the last; none if the view is empty or its base is NULL. */
typedef struct gatun__range {
    uintptr_t begin, end;
} gatun__range;

static inline gatun__range gatun__view_range(const gatun__view *view) {
    const int64_t *size = view->size, *stride = view->stride;
    if (view->base == 0 || size[0] == 0 || size[1] == 0 || size[2] == 0 || size[3] == 0)
        return (gatun__range){view->base, view->base};
    const int64_t elements = (size[0] - 1) * stride[0] + (size[1] - 1) * stride[1] + (size[2] - 1) * stride[2] +
                             (size[3] - 1) * stride[3] + 1;
    return (gatun__range){view->base, view->base + (uintptr_t)(elements * view->element_bytes)};
}

static inline gatun__range gatun__bytes_range(const void *base, int64_t bytes) {
    return (gatun__range){(uintptr_t)base, (uintptr_t)base + (base == NULL ? 0 : (uintptr_t)bytes)};
}

static inline int gatun__ranges_meet(const gatun__range *a, const gatun__range *b) {
    return a->begin < b->end && b->begin < a->end && a->begin < a->end && b->begin < b->end;
}

/* Two elements of the view may share an address (never a wrong "no"). */
int gatun__view_overlaps_itself(const gatun__view *view);
/* The views may share an address: exact where strides agree, by their ranges elsewhere. */
int gatun__views_overlap(const gatun__view *a, const gatun__view *b);

/* ---- plan.c ---- */

/* Whether something happens to scores that only attention_f32 and attention_decode_f32 know; and whether there may be an array
 * of it for each tile. */
static inline int gatun__changes_scores(const gatun_attention_desc *d) {
    return d->softcap != 0 ||
           (d->flags & (GATUN_ATTENTION_WINDOW | GATUN_ATTENTION_MASKED | GATUN_ATTENTION_SINKS)) != 0;
}
static inline int gatun__changes_keys(const gatun_attention_desc *d) {
    return (d->flags & (GATUN_ATTENTION_WINDOW | GATUN_ATTENTION_MASKED)) != 0;
}

typedef struct gatun__attention_plan {
    int32_t kernel;     /* GATUN_KERNEL_*, for full lengths: a call chooses for each batch row by its own */
    int32_t threads;    /* that may work on the call */
    int64_t work_ns;    /* of one thread, about */
    int32_t blocks;     /* query blocks of one task */
    int64_t task_lanes; /* lanes of one task */
    int64_t row_tasks;  /* tasks per key/value head */
    int64_t task_heads; /* key/value heads of one task; more than one where they are tiny */
    int64_t head_tasks; /* tasks, or row_tasks of them, per batch row */
    int64_t tasks;
    int kv_fits_l2;        /* keys and values of a head stay in L2 from one task to the next */
    int32_t copy;          /* GATUN_COPY_* */
    int64_t copy_bytes;    /* of a thread's copy of a head, before its scratch */
    int32_t key_splits;    /* parts of the keys that are tasks of their own; 1 unless GATUN_KERNEL_DECODE */
    int64_t part_splits;   /* splits of SPLIT_KEYS keys in one part, but for the last */
    int64_t partial_bytes; /* results of one split of one row task; without parts 0 */
    int64_t scratch_bytes; /* of one thread, copy_bytes included */
    /* In it: queries, outputs, and keys and values of a split, of 16-bit floats made float. */
    int64_t queries_offset, out_offset, split_offset;
    int64_t
        parts_offset; /* in the workspace, behind all scratch: parts left of each row task, then all partial results */
    int64_t workspace_bytes;
} gatun__attention_plan;

/* What bench/bench_plan.c tries instead of what the plan would choose. */
typedef struct gatun__plan_choices {
    int32_t blocks; /* 1 .. GATUN__MAX_BLOCKS */
    int32_t copy;   /* GATUN_COPY_* */
} gatun__plan_choices;

/* A pure function of its arguments; desc has been checked. has_bf16: there is a kernel attention_bf16. choices: NULL but for bench_plan. Written where it is wanted: to
 * return it would be a copy of what has just been stored, which takes longer than the plan. */
void gatun__attention_plan_to(gatun__attention_plan *restrict plan, const gatun_attention_desc *desc, int32_t tier,
    int has_bf16, int32_t block_lanes, int32_t threads, const gatun__caches *caches,
    const gatun__plan_choices *choices);

/* The plan of a call whose ragged sequences hold less than desc says: the longest so many rows, all together so many pairs of
 * a query and a key, and so many keys. Fewer tasks, work and threads; the workspace is as before. */
void gatun__attention_plan_bound(gatun__attention_plan *plan, const gatun_attention_desc *desc, int32_t tier,
    int32_t block_lanes, int64_t longest, double pairs, double keys);

/* A map of attention: tasks of some map rows, and of their columns where there are very many. */
typedef struct gatun__map_plan {
    gatun__attention_plan attention; /* threads, work, blocks, lanes of a pass, tasks, scratch */
    int64_t task_rows;               /* map rows of one task */
    int64_t row_tasks;               /* tasks per query head and columns */
    int64_t task_columns;            /* map columns of one task */
    int64_t column_tasks;
    int64_t own_offset; /* in the scratch of a thread: what attention_map_f32 has beside that of attention_f32 */
} gatun__map_plan;

/* Both have been checked. */
void gatun__map_plan_to(gatun__map_plan *plan, const gatun_attention_desc *desc, const gatun_attention_map_desc *map,
    int32_t tier, int32_t block_lanes, int32_t threads);

/* About how many cycles one thread takes for so many FMAs and for so many bytes that it reads, whichever is more; and for
 * how long that is. */
double gatun__cycles(int32_t tier, double fmas, double bytes);
int64_t gatun__cycles_ns(double cycles);
/* How many threads find work in so many cycles. */
int32_t gatun__useful_threads(double cycles, int32_t most);

/* ---- packed_linear.c ---- */

/* How a product with packed weights is cut up. */
typedef struct gatun__linear_plan {
    gatun__linear_kernel *kernel;
    int32_t threads;
    int64_t block_rows, row_blocks;
    int64_t panels, group_panels, groups;
    int64_t scratch_bytes; /* of one thread */
    double fmas, weight_bytes;
    int64_t work_ns;
} gatun__linear_plan;

typedef struct gatun__product {
    gatun__linear_task task;
    gatun__linear_plan plan;
    char *workspace;
} gatun__product;

/* Checks a call of gatun_packed_linear and describes it, without its workspace. */
int32_t gatun__product_of(const gatun_context *context, const gatun_packed_linear_desc *d, const void *workspace,
    int64_t workspace_size, const void *packed, int64_t packed_size, const float *x, const float *bias,
    const float *gate, const float *residual, float *out, gatun__product *product);
void gatun__product_run(gatun_context *context, gatun__product *product, void *workspace);

/* ---- rows.c ---- */

/* Checks a call of gatun_norm and describes it, without its rows. */
int32_t gatun__norm_of(const gatun_context *context, const gatun_norm_desc *d, const float *x, const float *bias,
    const float *residual, const float *gamma, const float *beta, float *sum, float *out, gatun__rows_task *task);
int32_t gatun__norm_run(gatun_context *context, int32_t max_threads, int64_t rows, const gatun__rows_task *task);
/* How long one thread takes for so many elements, about. */
int64_t gatun__rows_ns(int64_t rows, int64_t elements_per_row);

/* ---- predict.c ---- */

/* Floating-point operations of the products that the causal mask leaves, 2 for each multiplication; desc has been
 * checked. */
double gatun__attention_flops(const gatun_attention_desc *desc);
/* Pairs of one of so many rows, from `first` on, and a key that it sees: the sum of their ranges. */
double gatun__visible_pairs(const gatun__key_rule *rule, int64_t first, int64_t rows);
/* The share of the tier's FMA peak that one thread reaches, in (0, 1]; NaN for a tier that nobody measured, and where
 * there is nothing to compute. A pure function of its arguments; desc has been checked. */
double gatun__attention_predict(const gatun_attention_desc *desc, const gatun__attention_plan *plan, int32_t tier);

#endif
