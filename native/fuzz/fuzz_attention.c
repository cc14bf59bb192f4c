/*
 * Fuzz target for the attention entry points: the bytes of an input become a descriptor, tensors, and hostile
 * changes of both.
 *
 * Either the call is refused, and then memory is as it was and the tensors were not looked at where the descriptor
 * alone is wrong; or it succeeds on every tier, within the error bound of the double reference (and so of the
 * portable tier), with the same bits for any number of threads, and writes nothing but the outputs' elements, which
 * share no address with anything. Anything else ends the program.
 *
 * For libFuzzer: clang -fsanitize=fuzzer,address ... fuzz_attention.c fuzz_case.c fuzz_changes.c
 * ../tests/reference.c ../tests/guarded.c and
 * the library. standalone.c replays inputs without it.
 */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/guarded.h"
#include "../tests/half_float.h"
#include "../tests/harness.h"
#include "../tests/reference.h"
#include "fuzz_case.h"
#include "fuzz_changes.h"

/* The bits of fuzz_build()'s first two bytes. */
const fuzz_kind fuzz_kinds[] = {{"plain", {0, 0}}, {"many-rows", {1, 0}}, {"many-keys", {2, 0}}, {"wide", {4, 0}},
    {"scaled", {8, 0}}, {"aliased", {16, 0}}, {"fused", {16 | 32, 0}}, {"hostile", {64, 0}}, {"biased", {128, 0}},
    {"biased-hostile", {128 | 64 | 8, 0}}, {"bf16", {0, 2 | 2 << 2}}, {"f16", {4, 3 | 3 << 2}},
    {"f16-to-float", {1, 3 | 3 << 2 | 16}}, {"float-q-bf16-kv", {2, 2 << 2}}, {"halves-aliased", {16, 2 | 3 << 2}},
    {"halves-fused", {16 | 32, 3 | 3 << 2}}, {"halves-hostile", {64, 3 | 2 << 2}}, {"bf16-products", {1 | 2, 32}},
    {"bf16-products-of-bf16", {2, 32 | 2 | 2 << 2}}, {"bf16-products-wide", {4 | 8, 32}}, {"changed", {0, 64}},
    {"changed-many-rows", {1, 64}}, {"changed-many-keys", {2, 64}}, {"changed-wide-scaled", {4 | 8, 64}},
    {"changed-biased", {1 | 128, 64}}, {"changed-hostile", {64, 64}}, {"changed-aliased", {16, 64}},
    {"changed-halves", {1, 64 | 3 | 2 << 2}}, {"changed-bf16", {2, 64 | 2 | 2 << 2}}, {NULL, {0, 0}}};

/* ---- what reference.c needs of a harness: here a failure is the end ---- */

void test_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

void *test_allocate(int64_t bytes) {
    void *memory = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ---- contexts ---- */

static gatun_context *contexts[8];

static gatun_context *context_of(int32_t tier) {
    if (contexts[tier] == NULL && gatun_tier_available(tier) == GATUN_OK) {
        gatun_config config = {.struct_size = sizeof config, .threads = 3, .tier = tier};
        if (gatun_context_create(&config, &contexts[tier], NULL, 0) != GATUN_OK) {
            abort();
        }
    }
    return contexts[tier];
}

typedef struct memory {
    guarded block[TENSORS];
    uint8_t *before[TENSORS]; /* of the blocks */
    uint8_t *data[TENSORS];
    guarded slopes, table; /* map is NULL where there are none */
    fuzz_arrays arrays;
    bool float_biases; /* of a twin whose tensors are all float32 */
} memory;

static int32_t forward(gatun_context *context, const fuzz_case *c, int32_t max_threads, const memory *m) {
    float *data[TENSORS];
    for (int which = 0; which < TENSORS; which++) {
        data[which] = (float *)(void *)m->data[which]; /* whatever its type is */
    }
    gatun_attention_desc desc = c->desc;
    if (max_threads > 0) {
        desc.max_threads = max_threads;
    }
    int64_t bytes = 0;
    if (gatun_attention_workspace_size(context, &desc, &bytes) != GATUN_OK || bytes < 64 || bytes > INT64_C(1) << 30) {
        test_fail(__FILE__, __LINE__, "an accepted descriptor has a workspace of %lld bytes", (long long)bytes);
    }
    void *workspace = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (workspace == NULL) {
        abort();
    }
    const int32_t *key_lengths = c->has_lengths[0] ? c->lengths[0] : NULL;
    const int32_t *query_lengths = c->has_lengths[1] ? c->lengths[1] : NULL;
    const fuzz_arrays *a = &m->arrays;
    const uint32_t extended =
        GATUN_ATTENTION_BIASED | GATUN_ATTENTION_MASKED | GATUN_ATTENTION_SINKS | GATUN_ATTENTION_PREFIX;
    int32_t status;
    if ((desc.flags & extended) == 0) {
        status = gatun_attention_forward(context, &desc, workspace, bytes, data[Q], data[K], data[V], key_lengths,
            query_lengths, data[OUT], data[LSE]);
    } else {
        const float *bias = m->float_biases ? a->bias_floats : (const float *)(void *)a->bias.data;
        status = gatun_attention_forward_extended(context, &desc, workspace, bytes, data[Q], data[K], data[V],
            key_lengths, query_lengths, data[OUT], data[LSE], NULL, NULL, NULL, a->mask.data, a->block_mask.data, bias,
            (const float *)(void *)m->slopes.data, (const float *)(void *)a->sinks.data,
            (const int32_t *)(void *)a->segments_q.data, (const int32_t *)(void *)a->segments_k.data,
            (const int32_t *)(void *)a->prefix.data, (const float *)(void *)m->table.data,
            (const int32_t *)(void *)a->positions.data, NULL, NULL);
    }
    free(workspace);
    return status;
}

/* A descriptor that is refused by itself is refused before any tensor is looked at: these cannot be. */
static void run_refused(const fuzz_case *c, int32_t status) {
    static guarded nothing;
    if (nothing.map == NULL) {
        guarded_create(&nothing, "a tensor of a refused call", 0, 1 << 20, GUARD_AFTER);
    }
    void *tensors = nothing.data;
    static _Alignas(64) uint8_t workspace[64];
    for (int32_t tier = 0; tier < 8; tier++) {
        gatun_context *context = context_of(tier);
        if (context == NULL) {
            continue;
        }
        int64_t bytes = 0;
        char message[200];
        int32_t got[] = {gatun_attention_check(context, &c->desc, message, sizeof message),
            gatun_attention_workspace_size(context, &c->desc, &bytes),
            gatun_attention_forward(
                context, &c->desc, workspace, INT64_MAX, tensors, tensors, tensors, NULL, NULL, tensors, NULL)};
        for (int n = 0; n < 3; n++) {
            if (got[n] != status) {
                test_fail(__FILE__, __LINE__, "entry %d: status %d, gatun_attention_check said %d", n, (int)got[n],
                    (int)status);
            }
        }
        if (strlen(message) < 5) {
            test_fail(__FILE__, __LINE__, "no message for status %d", (int)status);
        }
    }
}

static float *gather(const fuzz_case *c, int which, const uint8_t *data) {
    tensor t = tensor_of(&c->desc, which);
    const int32_t dtype = dtype_of(&c->desc, which);
    float *dense = test_allocate(rows_of(&t) * t.size[3] * (int64_t)sizeof(float));
    for (int64_t row = 0; row < rows_of(&t); row++) {
        for (int64_t d = 0; d < t.size[3]; d++) {
            dense[row * t.size[3] + d] = load_float(dtype, data + (offset_of(&t, row) + d) * bytes_of(dtype));
        }
    }
    return dense;
}

/* Gives the outputs' elements what they held before, so that all memory can be compared. */
static void restore(const fuzz_case *c, int which, uint8_t *data, const uint8_t *before) {
    tensor t = tensor_of(&c->desc, which);
    const int64_t bytes = bytes_of(dtype_of(&c->desc, which));
    for (int64_t row = 0; row < rows_of(&t); row++) {
        int64_t at = offset_of(&t, row) * bytes;
        memcpy(data + at, before + at, (size_t)(t.size[3] * bytes));
    }
}

static void check_memory(const memory *m, const char *what) {
    for (int which = 0; which < TENSORS; which++) {
        const guarded *g = &m->block[which];
        if (g->map != NULL &&
            (!guarded_intact(g) || (g->bytes > 0 && memcmp(g->data, m->before[which], (size_t)g->bytes) != 0))) {
            test_fail(__FILE__, __LINE__, "%s: memory of tensor %d that is no output was written", what, which);
        }
    }
}

static bool good_lengths(const fuzz_case *c) {
    for (int64_t b = 0; b < c->desc.batch; b++) {
        if ((c->has_lengths[0] && (c->lengths[0][b] < 0 || c->lengths[0][b] > c->desc.seq_k)) ||
            (c->has_lengths[1] && (c->lengths[1][b] < 0 || c->lengths[1][b] > c->desc.seq_q))) {
            return false;
        }
        if ((c->desc.flags & GATUN_ATTENTION_PREFIX) != 0 && (c->prefix[b] < 0 || c->prefix[b] > c->desc.seq_k)) {
            return false;
        }
    }
    return true;
}

static bool all_floats(const gatun_attention_desc *d) {
    return d->dtype == GATUN_DTYPE_F32 && d->kv_dtype == GATUN_DTYPE_F32;
}

static void plain(int64_t *stride, int64_t seq, int64_t heads, int64_t dim) {
    stride[2] = dim;
    stride[1] = heads * dim;
    stride[0] = seq * heads * dim;
}

/*
 * 16-bit floats: results have the bits that dense float32 tensors with the same numbers have, rounded to the type of
 * out; and those are compared with the reference.
 */
static void check_halves(
    gatun_context *context, const fuzz_case *c, const memory *m, problem *p, expected *want, const outcome *got) {
    fuzz_case twin = *c;
    gatun_attention_desc *d = &twin.desc;
    d->dtype = d->kv_dtype = GATUN_DTYPE_F32;
    d->bias_dtype = d->bias_dtype != 0 ? GATUN_DTYPE_F32 : 0;
    d->out_dtype = 0;
    plain(d->q_stride, d->seq_q, d->heads, d->head_dim);
    plain(d->k_stride, d->seq_k, d->kv_heads, d->head_dim);
    plain(d->v_stride, d->seq_k, d->kv_heads, d->head_dim_v);
    plain(d->out_stride, d->seq_q, d->heads, d->head_dim_v);
    plain(d->lse_stride, d->seq_q, d->heads, 1);
    const int64_t rows = p->batch * p->seq_q * p->heads;
    outcome result = {test_allocate(rows * p->head_dim_v * (int64_t)sizeof(float)),
        c->lse ? test_allocate(rows * (int64_t)sizeof(float)) : NULL};
    memory floats = *m;
    floats.float_biases = true;
    floats.data[Q] = (uint8_t *)p->q;
    floats.data[K] = (uint8_t *)p->k;
    floats.data[V] = (uint8_t *)p->v;
    floats.data[OUT] = (uint8_t *)result.out;
    floats.data[LSE] = (uint8_t *)result.lse;
    const int32_t status = forward(context, &twin, 1, &floats);
    if (status != GATUN_OK) {
        test_fail(__FILE__, __LINE__, "the same numbers in float32 are refused: %s", gatun_status_string(status));
    }
    compare_outcome(p, want, &result, "float32 twin of 16-bit tensors");
    const int32_t type = dtype_of(&c->desc, OUT);
    for (int64_t i = 0; i < rows * p->head_dim_v; i++) {
        float rounded = 0;
        uint8_t bytes[sizeof rounded];
        store_float(type, bytes, result.out[i]);
        rounded = load_float(type, bytes);
        if (!same_number(rounded, got->out[i])) {
            test_fail(__FILE__, __LINE__, "out[%lld]: expected %.9g as of float32 tensors, got %.9g", (long long)i,
                (double)rounded, (double)got->out[i]);
        }
    }
    for (int64_t i = 0; c->lse && i < rows; i++) {
        if (!same_number(result.lse[i], got->lse[i])) {
            test_fail(__FILE__, __LINE__, "lse[%lld]: expected %.9g as of float32 tensors, got %.9g", (long long)i,
                (double)result.lse[i], (double)got->lse[i]);
        }
    }
    free(result.out);
    free(result.lse);
}

static void run_tier(const fuzz_case *c, const memory *m, int32_t tier, problem *p, expected *want, bool may_overlap) {
    gatun_context *context = context_of(tier);
    if (context == NULL) {
        return;
    }
    outcome first = {NULL, NULL};
    static const int32_t threads[] = {1, 3, 0};
    for (int n = 0; n < 3; n++) {
        int32_t status = forward(context, c, threads[n], m);
        if (status != GATUN_OK) {
            check_memory(m, "a refused call");
            bool right = status == GATUN_E_LENGTH ? !good_lengths(c) : status == GATUN_E_OVERLAP && may_overlap;
            if (!right) {
                test_fail(
                    __FILE__, __LINE__, "tier %d: a valid call is refused: %s", (int)tier, gatun_status_string(status));
            }
            return;
        }
        if (!good_lengths(c)) {
            test_fail(__FILE__, __LINE__, "tier %d: lengths out of range are accepted", (int)tier);
        }
        if (want->out == NULL) {
            expected_create(want, p);
        }
        outcome got = {gather(c, OUT, m->data[OUT]), c->lse ? gather(c, LSE, m->data[LSE]) : NULL};
        for (int which = OUT; which < TENSORS - !c->lse; which++) {
            restore(c, which, m->data[which],
                c->aliased ? m->before[0] + c->offset[which] * (int64_t)sizeof(float) : m->before[which]);
        }
        check_memory(m, "a call");
        if (n == 0) {
            if (all_floats(&c->desc)) {
                compare_outcome(p, want, &got, gatun_tier_name(tier));
            } else {
                check_halves(context, c, m, p, want, &got);
            }
            first = got;
            continue;
        }
        int64_t rows = p->batch * p->seq_q * p->heads;
        if ((rows > 0 && memcmp(first.out, got.out, sizeof(float) * (size_t)(rows * p->head_dim_v)) != 0) ||
            (rows > 0 && c->lse && memcmp(first.lse, got.lse, sizeof(float) * (size_t)rows) != 0)) {
            test_fail(__FILE__, __LINE__, "tier %d: other bits with other numbers of threads", (int)tier);
        }
        free(got.out);
        free(got.lse);
    }
    free(first.out);
    free(first.lse);
}

static void make_biases(guarded *biases, const fuzz_case *c, const char *name, int64_t count) {
    guarded_create(biases, name, count * (int64_t)sizeof(float), 0, GUARD_AFTER);
    fuzz_biases(c, (float *)(void *)biases->data, count, (uint64_t)count);
    guarded_protect(biases, true);
}

static void run_accepted(fuzz_case *c) {
    const gatun_attention_desc *d = &c->desc;
    int64_t extent[TENSORS];
    int64_t total = 0;
    for (int which = 0; which < TENSORS; which++) {
        tensor t = tensor_of(d, which);
        extent[which] = extent_of(&t);
        if (extent[which] < 0 || d->batch > 8) {
            return;
        }
        const int64_t bytes = extent[which] * bytes_of(dtype_of(d, which)),
                      end = c->offset[which] * (int64_t)sizeof(float) + bytes;
        total = end > total ? end : total;
    }
    total = (total + 3) / 4 * 4; /* so that floats are aligned, wherever the block ends */
    double work = (double)d->batch * (double)d->heads * (double)d->seq_q * (double)d->seq_k *
                  (double)(d->head_dim + d->head_dim_v);
    bool biased = (d->flags & GATUN_ATTENTION_BIASED) != 0;
    if (work > MAX_WORK || (biased && d->heads * (2 * d->relative_span + 1) > MAX_ELEMENTS) || !fuzz_changes_fit(d)) {
        return;
    }
    memory m;
    memset(&m, 0, sizeof m);
    if (biased && ((c->biases & 2) != 0 || d->relative_span > 0)) {
        make_biases(&m.table, c, "a table of biases", d->heads * (2 * d->relative_span + 1));
    }
    if (biased && ((c->biases & 1) != 0 || m.table.map == NULL)) {
        make_biases(&m.slopes, c, "slopes", d->heads);
    }
    fuzz_changes_create(&m.arrays, c);
    for (int which = 0; which < TENSORS; which++) {
        if (!c->aliased || which == 0) {
            guarded_create(&m.block[which], "a tensor",
                c->aliased ? total : extent[which] * bytes_of(dtype_of(d, which)), 0, GUARD_AFTER);
        }
        m.data[which] = c->aliased ? m.block[0].data + c->offset[which] * (int64_t)sizeof(float) : m.block[which].data;
    }
    fuzz_values(c, m.data, extent);
    if (!c->lse) {
        m.data[LSE] = NULL;
    }
    for (int which = 0; which < TENSORS; which++) {
        if (m.block[which].map != NULL) {
            m.before[which] = test_allocate(m.block[which].bytes);
            memcpy(m.before[which], m.block[which].data, (size_t)m.block[which].bytes);
        }
    }
    problem p = {.batch = d->batch,
        .heads = d->heads,
        .kv_heads = d->kv_heads,
        .seq_q = d->seq_q,
        .seq_k = d->seq_k,
        .head_dim = d->head_dim,
        .head_dim_v = d->head_dim_v,
        .causal = d->causal,
        .scaled = (d->flags & GATUN_ATTENTION_SCALE) != 0,
        .scale = d->scale,
        .q = gather(c, Q, m.data[Q]),
        .k = gather(c, K, m.data[K]),
        .v = gather(c, V, m.data[V]),
        .key_lengths = c->has_lengths[0] ? c->lengths[0] : NULL,
        .query_lengths = c->has_lengths[1] ? c->lengths[1] : NULL,
        .alibi_slopes = (float *)(void *)m.slopes.data,
        .relative_table = (float *)(void *)m.table.data,
        .relative_span = d->relative_span};
    fuzz_changes_describe(&p, &m.arrays, d);
    /* alone, only lse can share addresses, with itself; out was looked at with the descriptor */
    bool shared = false;
    if (c->aliased) {
        shared = shares_elements(c, total);
    } else if (c->lse) {
        fuzz_case only_lse = *c;
        only_lse.offset[Q] = only_lse.offset[K] = only_lse.offset[V] = only_lse.offset[OUT] = 0;
        only_lse.desc.head_dim = 0;
        only_lse.desc.head_dim_v = 0;
        shared = shares_elements(&only_lse, (extent[LSE] > 0 ? extent[LSE] : 1) * (int64_t)sizeof(float));
    }
    expected want = {NULL, NULL};
    reference_of_bf16 = (d->flags & GATUN_ATTENTION_BF16) != 0;
    bool may_overlap = shared || (c->aliased && !equal_strides(d)) || (c->lse && !nested(d, LSE));
    for (int32_t tier = 0; tier < 8; tier++) {
        run_tier(c, &m, tier, &p, &want, may_overlap);
    }
    if (want.out != NULL && shared) {
        test_fail(__FILE__, __LINE__, "a call whose outputs share addresses was accepted");
    }
    if (want.out != NULL) {
        expected_destroy(&want);
    }
    free(p.q);
    free(p.k);
    free(p.v);
    guarded_destroy(&m.slopes);
    guarded_destroy(&m.table);
    fuzz_changes_destroy(&m.arrays);
    for (int which = 0; which < TENSORS; which++) {
        guarded_destroy(&m.block[which]);
        free(m.before[which]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    stream s = {data, size, 0};
    fuzz_case c;
    fuzz_build(&c, &s);
    char message[200] = "";
    /* a struct_size beyond the struct says that there is more of it: not here */
    if (c.desc.struct_size > sizeof c.desc) {
        c.desc.struct_size = sizeof c.desc;
    }
    int32_t status = gatun_attention_check(NULL, &c.desc, message, sizeof message);
    if (status != GATUN_OK) {
        run_refused(&c, status);
    } else {
        run_accepted(&c);
    }
    return 0;
}
