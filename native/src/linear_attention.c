/*
 * Linear attention: checks, and how a call is cut up. No cut decides bits. Causal calls have a task for each head, or, where heads are few
 * and there is no state, for some columns of its values, whose weights are then made more than once. Without causality a task is a head as
 * well, with its sums in the thread's scratch; where heads are few, their sums are made first, each task some features of a head, then all rows.
 */
#include "internal.h"

#include <math.h>

enum { CHUNK = GATUN__LINEAR_CHUNK, PANEL = GATUN__LINEAR_PANEL };

/* Rows of a task that makes rows of sums; heads for each thread from which on a task is a head; columns of values of a task at least. */
enum { TASK_ROWS = 256, HEADS_PER_THREAD = 4, LEAST_COLUMNS = 16 };

/* ---- checks ---- */

int32_t gatun_linear_attention_check(
    const gatun_context *context, const gatun_linear_attention_desc *d, char *message, int64_t message_size) {
    static const char *const axes[] = {"batch", "seq", "head"};
    const int64_t most = INT32_MAX;
#define FAIL(status, ...) return gatun__fail(status, message, message_size, __VA_ARGS__)
#define RANGE(member, least, greatest)                                                                                 \
    TRY(gatun__range_check(#member, d->member, least, greatest, message, message_size))
    if (d == NULL)
        FAIL(GATUN_E_NULL, "desc: expected a descriptor, got NULL");
    TRY(gatun__struct_check(d, d->struct_size, sizeof *d, "gatun_linear_attention_desc", message, message_size));
    if (gatun__any_set(d->reserved, sizeof d->reserved / sizeof d->reserved[0]))
        FAIL(GATUN_E_VERSION, "reserved: expected zeros");
    const uint32_t known = GATUN_LINEAR_ATTENTION_CAUSAL | GATUN_LINEAR_ATTENTION_UNNORMALIZED |
                           GATUN_LINEAR_ATTENTION_RAGGED | GATUN_LINEAR_ATTENTION_SCALE;
    if ((d->flags & ~known) != 0)
        FAIL(GATUN_E_INVALID, "flags: expected GATUN_LINEAR_ATTENTION_* only, got 0x%x", (unsigned)d->flags);
    RANGE(feature_map, GATUN_FEATURES_NONE, GATUN_FEATURES_POSITIVE_RANDOM);
    RANGE(form, GATUN_LINEAR_FORM_AUTO, GATUN_LINEAR_FORM_RECURRENT);
    const int causal = (d->flags & GATUN_LINEAR_ATTENTION_CAUSAL) != 0,
              scaled = (d->flags & GATUN_LINEAR_ATTENTION_SCALE) != 0,
              random = d->feature_map == GATUN_FEATURES_POSITIVE_RANDOM;
    if (d->form == GATUN_LINEAR_FORM_RECURRENT && !causal)
        FAIL(GATUN_E_INVALID, "form: expected one that is not GATUN_LINEAR_FORM_RECURRENT, as the call is not causal");
    RANGE(max_threads, 0, most);
    if (scaled && !random)
        FAIL(GATUN_E_INVALID, "flags: expected no GATUN_LINEAR_ATTENTION_SCALE without GATUN_FEATURES_POSITIVE_RANDOM");
    if (scaled ? !(isfinite(d->scale) && d->scale > 0) : d->scale != 0)
        FAIL(GATUN_E_INVALID, "scale: expected %s, got %g",
            scaled ? "a finite number above 0" : "0 without GATUN_LINEAR_ATTENTION_SCALE", (double)d->scale);
    RANGE(batch, 0, most);
    RANGE(heads, 1, most);
    const struct {
        const char *name;
        int64_t heads;
    } own[] = {{"query_heads", d->query_heads}, {"key_heads", d->key_heads}, {"value_heads", d->value_heads}};
    for (int i = 0; i < 3; i++)
        if (own[i].heads < 1 || own[i].heads > most || d->heads % own[i].heads != 0)
            FAIL(GATUN_E_INVALID, "%s: expected a divisor of %lld heads, got %lld", own[i].name, (long long)d->heads,
                (long long)own[i].heads);
    RANGE(seq_q, 0, most);
    RANGE(seq_k, causal ? d->seq_q : 0, causal ? d->seq_q : most);
    RANGE(head_dim, 1, GATUN_MAX_HEAD_DIM);
    RANGE(head_dim_v, 1, GATUN_MAX_HEAD_DIM);
    RANGE(features, random ? 1 : d->head_dim, random ? GATUN_MAX_FEATURES : d->head_dim);
    const struct {
        const char *name;
        const int64_t *stride;
        int64_t seq, heads, dim;
    } tensors[] = {{"q_stride", d->q_stride, d->seq_q, d->query_heads, d->head_dim},
        {"k_stride", d->k_stride, d->seq_k, d->key_heads, d->head_dim},
        {"v_stride", d->v_stride, d->seq_k, d->value_heads, d->head_dim_v},
        {"out_stride", d->out_stride, d->seq_q, d->heads, d->head_dim_v},
        {"decay_stride", d->decay_stride, d->seq_q, d->heads, 1}};
    const int ragged = (d->flags & GATUN_LINEAR_ATTENTION_RAGGED) != 0;
    for (int i = 0; i < 5; i++) {
        const int64_t size[3] = {d->batch, tensors[i].seq, tensors[i].heads};
        TRY(gatun__stride_check(
            tensors[i].name, axes, 3, tensors[i].stride, size, tensors[i].dim, message, message_size));
        if (ragged && tensors[i].stride[0] != 0)
            FAIL(GATUN_E_INVALID, "%s[0] (batch): expected 0 for ragged sequences, got %lld", tensors[i].name,
                (long long)tensors[i].stride[0]);
    }
    /* A state's elements, and rows of all sequences, can be counted. */
    int64_t count;
    if (__builtin_mul_overflow(d->batch * d->heads, d->features * (d->head_dim_v + 2), &count) || count > (int64_t)1
                                                                                                              << 58)
        FAIL(GATUN_E_INVALID, "batch, heads: expected a state of at most 2^58 elements, got %lld * %lld * %lld * %lld",
            (long long)d->batch, (long long)d->heads, (long long)d->features, (long long)d->head_dim_v + 2);
    const gatun__view out = gatun__tensor_view(
        NULL, sizeof(float), ragged ? 0 : d->batch, d->seq_q, d->heads, d->head_dim_v, d->out_stride);
    if (gatun__view_overlaps_itself(&out))
        FAIL(GATUN_E_OVERLAP,
            "out_stride: expected nested strides that give every element its own address, got {%lld, %lld, %lld}",
            (long long)d->out_stride[0], (long long)d->out_stride[1], (long long)d->out_stride[2]);
#undef RANGE
#undef FAIL
    return context == NULL ? GATUN_OK : gatun__context_usable(context);
}

/* ---- the plan ---- */

typedef struct plan {
    int32_t threads;
    int64_t projection_floats; /* 0: none */
    int64_t scratch_floats;    /* of a thread */
    int64_t sums_floats;       /* of a head */
    int64_t shared_sums;       /* heads whose sums are made before all rows; 0: they are made by the tasks */
    int64_t bytes;
} plan;

static plan plan_of(const gatun_context *context, const gatun_linear_attention_desc *d) {
    plan p = {.threads = gatun__threads_of(context, d->max_threads)};
    if (d->feature_map == GATUN_FEATURES_POSITIVE_RANDOM)
        p.projection_floats = gatun__linear_projection_floats(d->features, d->head_dim);
    p.scratch_floats = gatun__linear_padded(gatun__linear_scratch_floats(d->features, d->head_dim, d->head_dim_v));
    p.sums_floats = gatun__linear_padded(gatun__linear_sums_floats(d->features, d->head_dim_v));
    const int causal = (d->flags & GATUN_LINEAR_ATTENTION_CAUSAL) != 0;
    if (!causal && d->form != GATUN_LINEAR_FORM_PARALLEL && p.threads > 1 && d->batch * d->heads > 0 &&
        d->batch < HEADS_PER_THREAD * (int64_t)p.threads && d->batch * d->heads < HEADS_PER_THREAD * (int64_t)p.threads)
        p.shared_sums = d->batch * d->heads;
    p.bytes =
        (p.projection_floats + p.threads * p.scratch_floats + p.shared_sums * p.sums_floats) * (int64_t)sizeof(float);
    return p;
}

int32_t gatun_linear_attention_workspace_size(
    const gatun_context *context, const gatun_linear_attention_desc *desc, int64_t *bytes) {
    if (bytes == NULL)
        return GATUN_E_NULL;
    TRY(gatun__context_usable(context));
    TRY(gatun_linear_attention_check(context, desc, NULL, 0));
    const plan p = plan_of(context, desc);
    *bytes = p.bytes;
    return GATUN_OK;
}

/* ---- tasks ---- */

typedef struct call {
    const gatun_linear_attention_desc *d;
    gatun__linear_attention_kernel *kernel;
    gatun__linear_attention_task task; /* but for what differs from head to head */
    int64_t total_q, total_k;          /* rows of ragged sequences */
    const int32_t *cu_seqlens_q, *cu_seqlens_k, *key_lengths;
    const float *log_decay;
    float *state, *scratch, *sums;
    plan plan;
    int64_t parts; /* tasks of a head */
    int64_t part;  /* rows, features or columns of one */
    int32_t form, phase;
} call;

static void span(
    const int32_t *offsets, int64_t sequence, int64_t longest, int64_t total, int64_t *first, int64_t *count) {
    *first = gatun__load_within(&offsets[sequence], 0, total);
    const int64_t end = gatun__load_within(&offsets[sequence + 1], *first, total);
    *count = gatun__least(end - *first, longest);
}

/* The task of head `place` of batch * heads. */
static gatun__linear_attention_task head_of(const call *c, int64_t place, int32_t slot) {
    const gatun_linear_attention_desc *d = c->d;
    const int64_t b = place / d->heads, h = place % d->heads;
    gatun__linear_attention_task t = c->task;
    int64_t row = 0, key = 0;
    t.rows = d->seq_q;
    t.keys = d->seq_k;
    if (c->cu_seqlens_q != NULL) {
        span(c->cu_seqlens_q, b, d->seq_q, c->total_q, &row, &t.rows);
        key = row;
        t.keys = t.rows;
        if (c->cu_seqlens_k != NULL)
            span(c->cu_seqlens_k, b, d->seq_k, c->total_k, &key, &t.keys);
    }
    if (c->key_lengths != NULL)
        t.keys = gatun__load_within(&c->key_lengths[b], 0, d->seq_k);
    t.q += b * d->q_stride[0] + row * d->q_stride[1] + h / (d->heads / d->query_heads) * d->q_stride[2];
    t.k += b * d->k_stride[0] + key * d->k_stride[1] + h / (d->heads / d->key_heads) * d->k_stride[2];
    t.v += b * d->v_stride[0] + key * d->v_stride[1] + h / (d->heads / d->value_heads) * d->v_stride[2];
    t.out += b * d->out_stride[0] + row * d->out_stride[1] + h * d->out_stride[2];
    if (c->log_decay != NULL)
        t.log_decay = c->log_decay + b * d->decay_stride[0] + row * d->decay_stride[1] + h * d->decay_stride[2];
    if (c->state != NULL)
        t.state = c->state + place * d->features * (d->head_dim_v + 2);
    t.scratch = c->scratch + slot * c->plan.scratch_floats;
    if (c->plan.shared_sums > 0)
        t.sums = c->sums + place * c->plan.sums_floats;
    return t;
}

static void run_task(void *argument, const gatun__turn *turn) {
    const call *c = argument;
    gatun__linear_attention_task t = head_of(c, turn->index / c->parts, turn->slot);
    const int64_t first = turn->index % c->parts * c->part;
    t.phase = c->phase;
    if (c->phase == GATUN__LINEAR_CHUNKS) {
        if (t.rows == 1 && c->form == GATUN_LINEAR_FORM_AUTO)
            t.phase = GATUN__LINEAR_STEPS;
        t.v += first;
        t.out += first;
        t.head_dim_v = gatun__least(c->part, t.head_dim_v - first);
    } else if (c->phase == GATUN__LINEAR_KEYS) {
        t.begin = first;
        t.end = gatun__least(first + c->part, t.features);
        c->kernel(&t);
        if (c->plan.shared_sums > 0)
            return;
        t.phase = GATUN__LINEAR_ROWS;
        t.begin = 0;
        t.end = t.rows;
    } else if (c->phase != GATUN__LINEAR_STEPS) {
        t.begin = first;
        t.end = gatun__least(first + c->part, t.rows);
        if (t.begin >= t.end)
            return;
    }
    c->kernel(&t);
}

static void run(
    gatun_context *context, call *c, int32_t phase, int64_t extent, int64_t part, double fmas, double bytes) {
    c->phase = phase;
    c->part = part;
    c->parts = gatun__divide_up(extent, part);
    gatun__context_run(context, c->plan.threads, c->d->batch * c->d->heads * c->parts,
        gatun__cycles_ns(gatun__cycles(context->kernels->tier, fmas, bytes)), run_task, c);
}

/* Columns of values of a task of a causal call. */
static int64_t columns_of(const call *c) {
    const int64_t tasks = c->d->batch * c->d->heads, v = c->d->head_dim_v;
    if (c->state != NULL || tasks >= 2 * (int64_t)c->plan.threads || c->d->seq_q <= CHUNK || c->plan.threads == 1)
        return v;
    const int64_t wanted = gatun__divide_up(c->plan.threads, tasks), columns = gatun__divide_up(v, wanted);
    return gatun__least(v, gatun__linear_padded(columns < LEAST_COLUMNS ? LEAST_COLUMNS : columns));
}

static void run_all(gatun_context *context, call *c) {
    const gatun_linear_attention_desc *d = c->d;
    const double heads = (double)d->batch * (double)d->heads, m = (double)d->features, v = (double)d->head_dim_v,
                 rows = c->cu_seqlens_q == NULL ? heads * (double)d->seq_q : (double)c->total_q * (double)d->heads,
                 keys = c->cu_seqlens_k == NULL ? heads * (double)d->seq_k : (double)c->total_k * (double)d->heads;
    const double mapped = d->feature_map == GATUN_FEATURES_POSITIVE_RANDOM ? m * (double)d->head_dim : 0;
    const double bytes = 4 * (rows * ((double)d->head_dim + v) + keys * ((double)d->head_dim + v));
    const double sums = keys * (mapped + m * v), products = rows * (mapped + m * v);
    if (c->plan.projection_floats > 0) {
        gatun__linear_attention_task t = c->task;
        t.phase = GATUN__LINEAR_PROJECTION;
        t.begin = 0;
        t.end = d->features;
        c->kernel(&t);
        c->task.projection = t.packed;
    }
    if (c->form == GATUN_LINEAR_FORM_PARALLEL) {
        const double pairs = rows * (double)d->seq_k * (m + v) / (c->task.causal ? 2 : 1);
        run(context, c, GATUN__LINEAR_PAIRS, d->seq_q, CHUNK, products + pairs, bytes);
    } else if (c->task.causal) {
        const double chunk = rows * (double)gatun__least(d->seq_q, CHUNK) / 2 * (m + v);
        if (c->form == GATUN_LINEAR_FORM_RECURRENT)
            run(context, c, GATUN__LINEAR_STEPS, 1, 1, sums + products, bytes);
        else
            run(context, c, GATUN__LINEAR_CHUNKS, d->head_dim_v, columns_of(c), sums + products + chunk, bytes);
    } else if (c->plan.shared_sums == 0) {
        run(context, c, GATUN__LINEAR_KEYS, d->features, d->features, sums + products, bytes);
    } else {
        /* Between the two no job is open that would keep the context. */
        atomic_fetch_add_explicit(&context->open_calls, 1, memory_order_relaxed);
        run(context, c, GATUN__LINEAR_KEYS, d->features, PANEL, sums, bytes);
        run(context, c, GATUN__LINEAR_ROWS, d->seq_q, TASK_ROWS, products, bytes);
        atomic_fetch_sub_explicit(&context->open_calls, 1, memory_order_release);
    }
}

/* ---- the call ---- */

/* Offsets that rise, of sequences that are not too long: *total is where the last one ends. */
static int32_t offsets_check(const int32_t *offsets, int64_t sequences, int64_t longest, int64_t *total) {
    int64_t end = gatun__load_index(&offsets[0]);
    if (end < 0)
        return GATUN_E_INDEX;
    for (int64_t b = 1; b <= sequences; b++) {
        const int64_t next = gatun__load_index(&offsets[b]);
        if (next < end)
            return GATUN_E_INDEX;
        if (next - end > longest)
            return GATUN_E_LENGTH;
        end = next;
    }
    *total = end;
    return GATUN_OK;
}

static int32_t decays_check(const call *c) {
    const gatun_linear_attention_desc *d = c->d;
    const int64_t *stride = d->decay_stride;
    const int ragged = c->cu_seqlens_q != NULL;
    const int64_t batch = ragged ? 1 : d->batch, rows = ragged ? c->total_q : d->seq_q;
    /* Those before the first sequence, too: whoever has them has no reason to let them grow. */
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r = ragged ? gatun__load_within(&c->cu_seqlens_q[0], 0, rows) : 0; r < rows; r++)
            for (int64_t h = 0; h < d->heads; h++)
                if (c->log_decay[b * stride[0] + r * stride[1] + h * stride[2]] > 0)
                    return GATUN_E_INVALID;
    return GATUN_OK;
}

static int shares(const gatun__view *out, const void *begin, int64_t bytes) {
    const gatun__range written = gatun__view_range(out), other = gatun__bytes_range(begin, bytes);
    return gatun__ranges_meet(&written, &other);
}

static int32_t memory_check(const call *c, const void *workspace, int64_t workspace_bytes, const float *projection) {
    const gatun_linear_attention_desc *d = c->d;
    const int ragged = c->cu_seqlens_q != NULL;
    const int64_t batch = ragged ? 1 : d->batch, rows = ragged ? c->total_q : d->seq_q,
                  keys = ragged ? c->total_k : d->seq_k, size = sizeof(float), ints = (d->batch + 1) * 4;
    const gatun__view out = gatun__tensor_view(c->task.out, size, batch, rows, d->heads, d->head_dim_v, d->out_stride);
    if (gatun__view_overlaps_itself(&out))
        return GATUN_E_OVERLAP;
    const gatun__view in[] = {
        gatun__tensor_view(c->task.q, size, batch, rows, d->query_heads, d->head_dim, d->q_stride),
        gatun__tensor_view(c->task.k, size, batch, keys, d->key_heads, d->head_dim, d->k_stride),
        gatun__tensor_view(c->task.v, size, batch, keys, d->value_heads, d->head_dim_v, d->v_stride),
        gatun__tensor_view(c->log_decay, size, batch, rows, d->heads, 1, d->decay_stride)};
    const int64_t state_bytes = d->batch * d->heads * d->features * (d->head_dim_v + 2) * size;
    const gatun__range state = gatun__bytes_range(c->state, state_bytes),
                       work = gatun__bytes_range(workspace, workspace_bytes);
    for (int i = 0; i < 4; i++) {
        const gatun__range range = gatun__view_range(&in[i]);
        if (gatun__views_overlap(&out, &in[i]) || gatun__ranges_meet(&state, &range) ||
            gatun__ranges_meet(&work, &range))
            return GATUN_E_OVERLAP;
    }
    const struct {
        const void *begin;
        int64_t bytes;
    } more[] = {{projection, projection == NULL ? 0 : d->features * d->head_dim * size}, {c->cu_seqlens_q, ints},
        {c->cu_seqlens_k, ints}, {c->key_lengths, ints - 4}};
    for (int i = 0; i < 4; i++) {
        const gatun__range range = gatun__bytes_range(more[i].begin, more[i].bytes);
        if (shares(&out, more[i].begin, more[i].bytes) || gatun__ranges_meet(&state, &range) ||
            gatun__ranges_meet(&work, &range))
            return GATUN_E_OVERLAP;
    }
    return shares(&out, c->state, state_bytes) || shares(&out, workspace, workspace_bytes) ||
                   gatun__ranges_meet(&state, &work)
               ? GATUN_E_OVERLAP
               : GATUN_OK;
}

/* Which arguments there are to be, and that they are aligned. */
static int32_t arguments_check(const gatun_linear_attention_desc *d, const void *workspace, const float *q,
    const float *k, const float *v, const float *projection, const float *log_decay, const float *state,
    const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k, const int32_t *key_lengths, const float *out) {
    const int causal = (d->flags & GATUN_LINEAR_ATTENTION_CAUSAL) != 0,
              ragged = (d->flags & GATUN_LINEAR_ATTENTION_RAGGED) != 0,
              random = d->feature_map == GATUN_FEATURES_POSITIVE_RANDOM;
    if ((!random && projection != NULL) || (!causal && (log_decay != NULL || state != NULL)) ||
        (d->form == GATUN_LINEAR_FORM_PARALLEL && state != NULL) || (!ragged && cu_seqlens_q != NULL) ||
        ((!ragged || causal) && cu_seqlens_k != NULL) || ((ragged || causal) && key_lengths != NULL))
        return GATUN_E_INVALID;
    const struct {
        const void *pointer;
        int needed;
    } arguments[] = {{projection, random}, {log_decay, 0}, {state, 0}, {cu_seqlens_q, ragged},
        {cu_seqlens_k, ragged && !causal}, {key_lengths, 0}, {q, d->batch > 0 && d->seq_q > 0},
        {k, d->batch > 0 && d->seq_k > 0}, {v, d->batch > 0 && d->seq_k > 0}, {out, d->batch > 0 && d->seq_q > 0}};
    TRY(gatun__pointer_check(workspace, 1, 64));
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        TRY(gatun__pointer_check(arguments[i].pointer, arguments[i].needed, _Alignof(float)));
    return GATUN_OK;
}

int32_t gatun_linear_attention(gatun_context *context, const gatun_linear_attention_desc *d, void *workspace,
    int64_t workspace_size, const float *q, const float *k, const float *v, const float *projection,
    const float *log_decay, float *state, const int32_t *cu_seqlens_q, const int32_t *cu_seqlens_k,
    const int32_t *key_lengths, float *out) {
    TRY(gatun__context_usable(context));
    TRY(gatun_linear_attention_check(context, d, NULL, 0));
    TRY(arguments_check(
        d, workspace, q, k, v, projection, log_decay, state, cu_seqlens_q, cu_seqlens_k, key_lengths, out));
    const double scale =
        (d->flags & GATUN_LINEAR_ATTENTION_SCALE) != 0 ? (double)d->scale : 1 / sqrt((double)d->head_dim);
    call c = {.d = d,
        .kernel = context->kernels->linear_attention_f32,
        .task = {.feature_map = d->feature_map,
            .causal = (d->flags & GATUN_LINEAR_ATTENTION_CAUSAL) != 0,
            .normalized = (d->flags & GATUN_LINEAR_ATTENTION_UNNORMALIZED) == 0,
            .head_dim = d->head_dim,
            .head_dim_v = d->head_dim_v,
            .features = d->features,
            .q = q,
            .k = k,
            .v = v,
            .out = out,
            .q_row = d->q_stride[1],
            .k_row = d->k_stride[1],
            .v_row = d->v_stride[1],
            .out_row = d->out_stride[1],
            .decay_row = d->decay_stride[1],
            .exponent_factor = (float)(sqrt(scale) * GATUN__LOG2_E),
            .norm_factor = (float)(scale * GATUN__LOG2_E / 2),
            .projection = projection,
            .packed = workspace},
        .cu_seqlens_q = cu_seqlens_q,
        .cu_seqlens_k = cu_seqlens_k,
        .key_lengths = key_lengths,
        .log_decay = log_decay,
        .state = state,
        .plan = plan_of(context, d),
        .form = d->form};
    if (workspace_size < c.plan.bytes)
        return GATUN_E_WORKSPACE;
    if (cu_seqlens_q != NULL) {
        TRY(offsets_check(cu_seqlens_q, d->batch, d->seq_q, &c.total_q));
        c.total_k = c.total_q;
        if (cu_seqlens_k != NULL)
            TRY(offsets_check(cu_seqlens_k, d->batch, d->seq_k, &c.total_k));
        const int64_t rows[] = {c.total_q, c.total_k, c.total_k, c.total_q, c.total_q};
        const int64_t stride[] = {d->q_stride[1], d->k_stride[1], d->v_stride[1], d->out_stride[1], d->decay_stride[1]};
        for (int i = 0; i < 5; i++)
            if (stride[i] > INT32_MAX || !gatun__fits(rows[i], stride[i]))
                return GATUN_E_INVALID;
    }
    for (int64_t b = 0; key_lengths != NULL && b < d->batch; b++) {
        const int64_t length = gatun__load_index(&key_lengths[b]);
        if (length < 0 || length > d->seq_k)
            return GATUN_E_LENGTH;
    }
    TRY(memory_check(&c, workspace, c.plan.bytes, projection));
    if (log_decay != NULL && d->batch > 0)
        TRY(decays_check(&c));
    c.scratch = (float *)workspace + c.plan.projection_floats;
    c.sums = c.scratch + c.plan.threads * c.plan.scratch_floats;
    if (d->batch > 0 && d->seq_q > 0)
        run_all(context, &c);
    return GATUN_OK;
}
