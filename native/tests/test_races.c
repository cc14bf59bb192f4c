/*
 * Lengths, offsets, ids and positions that change during a call: it may be refused or compute anything, but touches nothing
 * beyond what was checked. Tensors end at memory that cannot be touched. Two ways: the first look at a tensor, which
 * comes after the check, changes all numbers (by a fault that is mended); and a thread that keeps writing.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "guarded.h"
#include "placement.h"
#include "suites.h"

enum { MOST_NUMBERS = 4096, MOST_TENSORS = 6, GUARD_BYTES = 64 << 20 };

/* A call, and the numbers that it is given. */
typedef struct race {
    int32_t (*run)(gatun_context *context, const struct race *r);
    guarded memory[MOST_TENSORS]; /* the last one is written */
    float *data[MOST_TENSORS];
    int tensors;
    int64_t count;
    int32_t valid[MOST_NUMBERS];
    guarded numbers_memory;
    _Atomic int32_t *numbers;
    _Atomic int over;
    /* for the calls */
    gatun_attention_desc desc;
    gatun_embedding_desc embedding;
    gatun_pool_desc pool;
    gatun_rotary_desc rotary;
    gatun_recurrent_cell_desc cell;
    const int32_t *key_lengths, *query_lengths, *cu_seqlens_q, *cu_seqlens_k;
    void *workspace;
    int64_t workspace_bytes;
} race;

static void add_tensor(race *r, const char *name, int64_t floats) {
    guarded *memory = &r->memory[r->tensors];
    guarded_create(memory, name, floats * (int64_t)sizeof(float), GUARD_BYTES, GUARD_AFTER);
    float *data = r->data[r->tensors++] = (float *)(void *)memory->data;
    rng random = rng_make(test_seed(), (uint64_t)r->tensors);
    for (int64_t i = 0; i < floats; i++) {
        data[i] = rng_normal(&random);
    }
}

static void set_numbers(race *r, int64_t count, int32_t first, int32_t step) {
    r->count = count;
    guarded_create(&r->numbers_memory, "numbers", count * (int64_t)sizeof(int32_t), 0, GUARD_AFTER);
    r->numbers = (_Atomic int32_t *)(void *)r->numbers_memory.data;
    for (int64_t i = 0; i < count; i++) {
        r->valid[i] = first + (int32_t)i * step;
        atomic_init(&r->numbers[i], r->valid[i]);
    }
}

static const int32_t *numbers_of(const race *r) {
    return (const int32_t *)(const void *)r->numbers_memory.data;
}

static void pause_some(uint64_t times) {
    for (volatile uint64_t i = 0; i < times; i++) {
    }
}

static const int32_t hostile[] = {-1, INT_MIN, INT_MAX, 1 << 24, 100000, 1 << 15, -70000, 0, 1};

enum { HOSTILE = sizeof hostile / sizeof *hostile };

static void set_valid(race *r) {
    for (int64_t i = 0; i < r->count; i++) {
        atomic_store_explicit(&r->numbers[i], r->valid[i], memory_order_relaxed);
    }
}

/* ---- the first look at a tensor ---- */

static race *watched;
static int32_t change_to;
static int64_t change_step; /* from one number that changes to the next */
static struct sigaction usual;

static void on_fault(int signal, siginfo_t *info, void *context) {
    const guarded *memory = &watched->memory[0];
    const uint8_t *address = info->si_addr;
    (void)signal;
    (void)context;
    if (address < memory->pages || address >= memory->pages + memory->page_bytes) {
        sigaction(SIGSEGV, &usual, NULL); /* who reports it, when it happens again */
        return;
    }
    for (int64_t i = watched->count - 1; i >= 0; i -= change_step) {
        atomic_store_explicit(&watched->numbers[i], change_to, memory_order_relaxed);
    }
    mprotect(memory->pages, (size_t)memory->page_bytes, PROT_READ | PROT_WRITE);
}

static void change_at_first_look(race *r, gatun_context *context) {
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    watched = r;
    for (int n = 0; n < 2 * HOSTILE; n += test_light() ? 3 : 1) {
        const guarded *memory = &r->memory[0];
        change_to = hostile[n / 2];
        change_step = 1 + n % 2;
        test_note("every number, or every second one (%d), becomes %d", (int)change_step, (int)change_to);
        sigaction(SIGSEGV, &ours, &usual);
        mprotect(memory->pages, (size_t)memory->page_bytes, PROT_NONE);
        int32_t status = r->run(context, r);
        sigaction(SIGSEGV, &usual, NULL);
        CHECK(status == GATUN_OK, "checked before: %s", gatun_status_string(status));
        CHECK(atomic_load(&r->numbers[r->count - 1]) == change_to, "no look at %s", memory->name);
        set_valid(r);
    }
    test_note("a thread writes");
}

/* ---- a thread that writes ---- */

/* One hostile number at a time, and the right one again: most calls pass the check. */
static void *write_numbers(void *argument) {
    race *r = argument;
    rng random = rng_make(test_seed(), 77);
    int64_t written = 0;
    while (!atomic_load_explicit(&r->over, memory_order_relaxed)) {
        int64_t at = rng_between(&random, 0, r->count - 1);
        int32_t value = hostile[rng_between(&random, 0, HOSTILE - 1)];
        atomic_store_explicit(&r->numbers[at], value, memory_order_relaxed);
        pause_some((uint64_t)rng_between(&random, 0, 1000));
        atomic_store_explicit(&r->numbers[at], r->valid[at], memory_order_relaxed);
        pause_some((uint64_t)rng_between(&random, 0, 3000));
        if (++written % 16 == 0) { /* a call finds all numbers right, however slow it is */
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        }
    }
    set_valid(r);
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_best(race *r) {
    int32_t tiers[MAX_TIERS];
    const int32_t tier = tiers[test_tiers(tiers) - 1];
    const double seconds = test_light() ? 0.05 : 0.3;
    gatun_context *context = shared_context(tier);
    if (r->desc.struct_size > 0) {
        r->workspace = new_workspace(context, &r->desc, &r->workspace_bytes);
        REQUIRE(r->workspace != NULL, "no workspace");
    }
    const guarded *out = &r->memory[r->tensors - 1];
    CHECK_STATUS(r->run(context, r), GATUN_OK);
    void *before = test_allocate(out->bytes);
    memcpy(before, out->data, (size_t)out->bytes);
    change_at_first_look(r, context);
    pthread_t writer;
    atomic_store(&r->over, 0);
    REQUIRE(pthread_create(&writer, NULL, write_numbers, r) == 0, "no thread");
    int64_t calls = 0, refused = 0;
    const double end = now() + seconds, patience = end + 30;
    for (; now() < end || (refused == calls && now() < patience); calls++) {
        int32_t status = r->run(context, r);
        refused += status != GATUN_OK;
        CHECK(status == GATUN_OK || status == GATUN_E_LENGTH || status == GATUN_E_INDEX, "%s: %s",
            gatun_tier_name(tier), gatun_status_string(status));
    }
    atomic_store(&r->over, 1);
    pthread_join(writer, NULL);
    for (int i = 0; i < r->tensors; i++) {
        CHECK(guarded_intact(&r->memory[i]), "%s: written before %s", gatun_tier_name(tier), r->memory[i].name);
    }
    CHECK(refused < calls, "all of %lld calls were refused", (long long)calls);
    CHECK_STATUS(r->run(context, r), GATUN_OK);
    CHECK(memcmp(before, out->data, (size_t)out->bytes) == 0, "%s: another result than before the race",
        gatun_tier_name(tier));
    free(before);
    free(r->workspace);
    r->workspace = NULL;
}

static void run_and_destroy(race *r) {
    run_best(r);
    for (int i = 0; i < r->tensors; i++) {
        guarded_destroy(&r->memory[i]);
    }
    guarded_destroy(&r->numbers_memory);
    free(r);
}

static race *new_race(int32_t (*run)(gatun_context *context, const race *r)) {
    race *r = test_allocate(sizeof *r);
    memset(r, 0, sizeof *r);
    r->run = run;
    return r;
}

/* ---- attention ---- */

static int32_t run_attention(gatun_context *context, const race *r) {
    return gatun_attention_forward_extended(context, &r->desc, r->workspace, r->workspace_bytes, r->data[0], r->data[1],
        r->data[2], r->key_lengths, r->query_lengths, r->data[3], NULL, r->cu_seqlens_q, r->cu_seqlens_k, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
}

static race *attention_race(int64_t batch, int64_t heads, int64_t seq_q, int64_t seq_k, int64_t dim, int32_t causal) {
    race *r = new_race(run_attention);
    problem p = {.batch = batch,
        .heads = heads,
        .kv_heads = heads,
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = dim,
        .head_dim_v = dim,
        .causal = causal};
    r->desc = default_desc(&p);
    r->desc.max_threads = 1; /* beside the one that writes */
    add_tensor(r, "q", batch * seq_q * heads * dim);
    add_tensor(r, "k", batch * seq_k * heads * dim);
    add_tensor(r, "v", batch * seq_k * heads * dim);
    add_tensor(r, "out", batch * seq_q * heads * dim);
    return r;
}

static void key_lengths_of(race *r) {
    set_numbers(r, r->desc.batch, (int32_t)r->desc.seq_k, 0);
    r->key_lengths = numbers_of(r);
    run_and_destroy(r);
}

static void query_lengths_of(race *r) {
    set_numbers(r, r->desc.batch, (int32_t)r->desc.seq_q, 0);
    r->query_lengths = numbers_of(r);
    run_and_destroy(r);
}

static void key_lengths(void) {
    key_lengths_of(attention_race(4, 4, 1024, 40, 32, GATUN_CAUSAL_NONE));
}

static void query_lengths(void) {
    query_lengths_of(attention_race(4, 4, 1024, 40, 32, GATUN_CAUSAL_BOTTOM_RIGHT));
}

/* Heads of which a thread makes a copy: rows compete for a part of the cache. */
static void copied_keys(void) {
    race *r = attention_race(2, 16, 512, 160, 64, GATUN_CAUSAL_NONE);
    gatun_attention_plan_info info = {.struct_size = sizeof info};
    int32_t tiers[MAX_TIERS];
    int count = test_tiers(tiers);
    CHECK_STATUS(gatun_attention_plan(shared_context(tiers[count - 1]), &r->desc, &info), GATUN_OK);
    CHECK(info.copies == GATUN_COPY_HEADS, "expected a copy of each head, got %d", info.copies);
    key_lengths_of(r);
}

/* Tasks of one query, each of which looks at the lengths. */
static void parts_of_keys(void) {
    race *r = attention_race(2, 1, 1, 8 * 2048, 64, GATUN_CAUSAL_NONE);
    r->desc.max_threads = 2; /* one is never cut */
    key_lengths_of(r);
}

static void decode_rows(void) {
    key_lengths_of(attention_race(4, 64, 3, 100, 32, GATUN_CAUSAL_BOTTOM_RIGHT));
}

static void tiny_heads(void) {
    key_lengths_of(attention_race(8, 128, 16, 16, 32, GATUN_CAUSAL_NONE));
}

static void offsets_of(int of_queries) {
    enum { SEQUENCES = 8, ROWS = 100 };
    race *r = attention_race(1, 8, SEQUENCES * ROWS, SEQUENCES * ROWS, 32, GATUN_CAUSAL_NONE);
    r->desc.flags |= GATUN_ATTENTION_RAGGED_Q | GATUN_ATTENTION_RAGGED_K;
    r->desc.batch = SEQUENCES;
    r->desc.q_stride[0] = r->desc.k_stride[0] = r->desc.v_stride[0] = r->desc.out_stride[0] = 0;
    r->desc.lse_stride[0] = 0;
    r->desc.seq_q = r->desc.seq_k = ROWS * 4;
    static int32_t steady[SEQUENCES + 1];
    for (int i = 0; i <= SEQUENCES; i++) {
        steady[i] = i * ROWS;
    }
    set_numbers(r, SEQUENCES + 1, 0, ROWS);
    r->cu_seqlens_q = of_queries ? numbers_of(r) : steady;
    r->cu_seqlens_k = of_queries ? steady : numbers_of(r);
    run_and_destroy(r);
}

static void query_offsets(void) {
    offsets_of(1);
}

static void key_offsets(void) {
    offsets_of(0);
}

/* ---- rows ---- */

static int32_t run_embedding(gatun_context *context, const race *r) {
    return gatun_embedding(
        context, &r->embedding, numbers_of(r), r->data[0], numbers_of(r), r->data[1], NULL, NULL, r->data[2]);
}

static void embedding_ids(void) {
    enum { ROWS = MOST_NUMBERS, DIM = 24, ENTRIES = 10 };
    race *r = new_race(run_embedding);
    r->embedding = (gatun_embedding_desc){.struct_size = sizeof r->embedding,
        .rows = ROWS,
        .dim = DIM,
        .out_row = DIM,
        .max_threads = 1,
        .table_rows = {ENTRIES, ENTRIES}};
    add_tensor(r, "table", ENTRIES * DIM);
    add_tensor(r, "second table", ENTRIES * DIM);
    add_tensor(r, "out", ROWS * DIM);
    set_numbers(r, ROWS, ENTRIES - 1, 0);
    run_and_destroy(r);
}

static int32_t run_pool(gatun_context *context, const race *r) {
    return gatun_pool(context, &r->pool, r->data[0], numbers_of(r), r->data[1]);
}

static void pool_offsets(void) {
    enum { SEQUENCES = 512, ROWS = 4, DIM = 40 };
    race *r = new_race(run_pool);
    r->pool = (gatun_pool_desc){.struct_size = sizeof r->pool,
        .sequences = SEQUENCES,
        .dim = DIM,
        .x_row = DIM,
        .out_row = DIM,
        .max_threads = 1};
    add_tensor(r, "x", SEQUENCES * ROWS * DIM);
    add_tensor(r, "out", SEQUENCES * DIM);
    set_numbers(r, SEQUENCES + 1, 0, ROWS);
    run_and_destroy(r);
}

static int32_t run_rotary(gatun_context *context, const race *r) {
    return gatun_rotary(context, &r->rotary, r->data[0], numbers_of(r), r->data[1], r->data[2], r->data[3]);
}

static void rotary_positions(void) {
    enum { ROWS = MOST_NUMBERS, DIM = 16, ENTRIES = 12 };
    race *r = new_race(run_rotary);
    r->rotary = (gatun_rotary_desc){.struct_size = sizeof r->rotary,
        .rows = ROWS,
        .heads = 2,
        .head_dim = DIM,
        .rotary_dim = DIM,
        .x_row = 2 * DIM,
        .x_head = DIM,
        .out_row = 2 * DIM,
        .out_head = DIM,
        .table_rows = ENTRIES,
        .max_threads = 1};
    add_tensor(r, "x", ROWS * 2 * DIM);
    add_tensor(r, "cosines", ENTRIES * DIM / 2);
    add_tensor(r, "sines", ENTRIES * DIM / 2);
    add_tensor(r, "out", ROWS * 2 * DIM);
    set_numbers(r, ROWS, ENTRIES - 1, 0);
    run_and_destroy(r);
}

static int32_t run_cell(gatun_context *context, const race *r) {
    return gatun_recurrent_cell(
        context, &r->cell, r->data[0], r->data[1], r->data[2], NULL, numbers_of(r), r->data[4], NULL, r->data[3]);
}

static void cell_places(void) {
    enum { ROWS = MOST_NUMBERS, HIDDEN = 16, PLACES = 12 };
    race *r = new_race(run_cell);
    r->cell = (gatun_recurrent_cell_desc){.struct_size = sizeof r->cell,
        .cell = GATUN_CELL_GRU,
        .rows = ROWS,
        .hidden = HIDDEN,
        .places = PLACES,
        .x_row = 3 * HIDDEN,
        .gates_row = 3 * HIDDEN,
        .h_row = HIDDEN,
        .h_out_row = HIDDEN,
        .out_row = HIDDEN,
        .max_threads = 1};
    add_tensor(r, "x_gates", PLACES * 3 * HIDDEN);
    add_tensor(r, "h_gates", ROWS * 3 * HIDDEN);
    add_tensor(r, "h", ROWS * HIDDEN);
    add_tensor(r, "out", PLACES * HIDDEN); /* what lies at other places stays */
    add_tensor(r, "h_out", ROWS * HIDDEN);
    set_numbers(r, ROWS, PLACES - 1, 0);
    run_and_destroy(r);
}

const test_case races_tests[] = {
    {"key_lengths", key_lengths},
    {"query_lengths", query_lengths},
    {"copied_keys", copied_keys},
    {"parts_of_keys", parts_of_keys},
    {"decode_rows", decode_rows},
    {"tiny_heads", tiny_heads},
    {"query_offsets", query_offsets},
    {"key_offsets", key_offsets},
    {"embedding_ids", embedding_ids},
    {"pool_offsets", pool_offsets},
    {"rotary_positions", rotary_positions},
    {"cell_places", cell_places},
    {NULL, NULL},
};
