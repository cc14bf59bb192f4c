/* How a call is cut up. Only scheduling and the sharing of key tiles is decided here: no choice of this file changes a
 * bit of a result, but for bf16, which the descriptor and the context decide. */
#include "internal.h"

/* Whether a tensor is of 16-bit floats. */
static int has_16_bits(const gatun_attention_desc *desc) {
    return desc->dtype != GATUN_DTYPE_F32 || desc->kv_dtype != GATUN_DTYPE_F32;
}

/* As attention_task.c chooses for each batch row, which needs its own lengths, and for each task. `lanes`: of a key/value
 * head. */
static int32_t kernel_of(const gatun_attention_desc *desc, int32_t tier, int has_bf16, int64_t lanes) {
    if ((desc->flags & GATUN_ATTENTION_BIASED) != 0)
        return GATUN_KERNEL_GENERAL;
    if (desc->seq_q <= GATUN__DECODE_ROWS)
        return GATUN_KERNEL_DECODE;
    if (gatun__changes_scores(desc))
        return GATUN_KERNEL_GENERAL;
    if (has_bf16 && (desc->flags & GATUN_ATTENTION_BF16) != 0 && gatun__is_bf16(desc->seq_q, desc->seq_k))
        return GATUN_KERNEL_BF16;
    const int tiny = tier == GATUN_TIER_AVX512 && !has_16_bits(desc) &&
                     gatun__is_tiny(desc->seq_k, lanes, desc->head_dim, desc->head_dim_v);
    return tiny ? GATUN_KERNEL_TINY : GATUN_KERNEL_GENERAL;
}

static int64_t aligned(int64_t bytes) {
    return (bytes + 63) & ~(int64_t)63;
}

/* A head's keys and values are copied as a whole up to this size and length. */
enum { COPY_MOST_BYTES = 4 << 20, COPY_MOST_KEYS = 8192 };

/* Whether a tile of rows with this stride competes for a part of L1's sets, which the address modulo 4096 picks: strides
 * of many heads, powers of two above all. */
static int rows_collide(int64_t stride, int64_t dim, int64_t element_bytes) {
    const int64_t line = 64 / element_bytes, sets = 4096 / 64, ways = 8;
    if (stride % line != 0)
        return 0;
    int64_t step = sets, rest = stride / line % sets;
    while (rest != 0) {
        int64_t r = step % rest;
        step = rest;
        rest = r;
    }
    const int64_t lines = gatun__divide_up(dim, line), covered = sets / step * lines;
    return covered < sets && covered * ways < GATUN__TILE_KEYS * lines;
}

/* The minimum work per thread, in cycles: less is not worth the bookkeeping and the shared cache lines. */
static const double THREAD_CYCLES = 20000;

double gatun__cycles(int32_t tier, double fmas, double bytes) {
    const double fmas_a_cycle = tier == GATUN_TIER_AVX512 ? 32 : tier == GATUN_TIER_AVX2 ? 16 : 8, bytes_a_cycle = 8;
    const double by_fmas = fmas / fmas_a_cycle, by_bytes = bytes / bytes_a_cycle;
    return by_fmas > by_bytes ? by_fmas : by_bytes;
}

int64_t gatun__cycles_ns(double cycles) {
    const double cycles_a_ns = 3;
    return cycles < 1e15 ? (int64_t)(cycles / cycles_a_ns) : INT64_MAX / 2;
}

/* Of so many pairs of a query and a key, and so many keys. */
static double cycles_of(const gatun_attention_desc *desc, int32_t tier, double pairs, double keys) {
    const double elements = (double)(desc->head_dim + desc->head_dim_v);
    const double fmas = pairs * (double)desc->heads * elements;
    const double bytes = keys * (double)desc->kv_heads * elements * (double)gatun__dtype_bytes(desc->kv_dtype);
    return gatun__cycles(tier, fmas, bytes);
}

int32_t gatun__useful_threads(double cycles, int32_t most) {
    return cycles >= most * THREAD_CYCLES ? most : cycles < THREAD_CYCLES ? 1 : (int32_t)(cycles / THREAD_CYCLES);
}

/* All partial results of a call, at most. */
static const int64_t PARTIALS_MOST_BYTES = 16 << 20;

/* Parts of the keys, of whole splits: where there are too few tasks for the threads. */
static void cut_keys(const gatun_attention_desc *desc, gatun__attention_plan *plan) {
    const int64_t row_tasks = plan->tasks, splits = gatun__divide_up(desc->seq_k, GATUN__SPLIT_KEYS);
    const int64_t lanes = desc->seq_q * (desc->heads / desc->kv_heads), enough = 4 * (int64_t)plan->threads;
    plan->key_splits = 1;
    plan->part_splits = splits;
    plan->partial_bytes = 0;
    if (plan->kernel != GATUN_KERNEL_DECODE || plan->threads == 1 || row_tasks == 0 || row_tasks >= enough)
        return;
    const gatun__key_rule visible = gatun__key_rule_of(desc, desc->seq_q, desc->seq_k, 0, 0);
    if (gatun__key_range(&visible, desc->seq_q - 1).end <= GATUN__SPLIT_KEYS)
        return;
    const int64_t wanted = gatun__divide_up(enough, row_tasks);
    const int64_t part_splits = gatun__divide_up(splits, wanted < splits ? wanted : splits);
    const int64_t bytes =
        gatun__decode_partial_bytes(lanes < plan->task_lanes ? lanes : plan->task_lanes, desc->head_dim_v);
    if (row_tasks * splits * bytes > PARTIALS_MOST_BYTES)
        return;
    plan->part_splits = part_splits;
    plan->key_splits = (int32_t)gatun__divide_up(splits, part_splits);
    plan->partial_bytes = bytes;
    plan->workspace_bytes += aligned(row_tasks * (int64_t)sizeof(int32_t)) + row_tasks * splits * bytes;
    plan->tasks *= plan->key_splits;
}

void gatun__attention_plan_to(gatun__attention_plan *restrict plan, const gatun_attention_desc *desc, int32_t tier,
    int has_bf16, int32_t block_lanes, int32_t threads, const gatun__caches *caches,
    const gatun__plan_choices *choices) {
    plan->threads = threads;
    plan->copy = GATUN_COPY_NONE;
    plan->copy_bytes = 0;
    if (desc->max_threads > 0 && desc->max_threads < plan->threads)
        plan->threads = desc->max_threads;
    const double keys = (double)desc->batch * (double)desc->seq_k;
    const double cycles = cycles_of(desc, tier, keys * (double)desc->seq_q, keys);
    plan->threads = gatun__useful_threads(cycles, plan->threads);
    plan->work_ns = gatun__cycles_ns(cycles);
    int64_t group = desc->heads == desc->kv_heads ? 1 : desc->heads / desc->kv_heads; /* division is slow */
    int64_t lanes = desc->seq_q * group;
    int64_t row_blocks = gatun__divide_up(lanes, block_lanes);

    /* Blocks of one task share each key/value tile from L2: as many as keep their transposed queries and outputs within
     * a third of it. */
    const int64_t kv_bytes = gatun__dtype_bytes(desc->kv_dtype);
    const int64_t block_bytes = block_lanes * (desc->head_dim + desc->head_dim_v) * (int64_t)sizeof(float);
    const int64_t head_bytes = desc->seq_k * (desc->head_dim + desc->head_dim_v) * kv_bytes;
    plan->kernel = kernel_of(desc, tier, has_bf16, lanes);
    const int packs = plan->kernel == GATUN_KERNEL_BF16; /* each task all keys and values that it needs */
    const int widens = desc->kv_dtype != GATUN_DTYPE_F32;
    /* Not worth it for few queries, which read all once or twice, the first ones under a causal mask less of it. */
    const int square_causal = desc->causal != GATUN_CAUSAL_NONE && desc->seq_k <= desc->seq_q;
    if (plan->kernel == GATUN_KERNEL_GENERAL && !widens && row_blocks >= (square_causal ? 32 : 8) &&
        desc->seq_k >= GATUN__TILE_KEYS &&
        (rows_collide(desc->k_stride[1], desc->head_dim, kv_bytes) ||
            rows_collide(desc->v_stride[1], desc->head_dim_v, kv_bytes)))
        plan->copy =
            head_bytes <= COPY_MOST_BYTES && desc->seq_k <= COPY_MOST_KEYS ? GATUN_COPY_HEADS : GATUN_COPY_TILES;
    if (plan->kernel == GATUN_KERNEL_GENERAL && widens)
        plan->copy = GATUN_COPY_TILES; /* which widens them */
    /* With twice as many each tile comes half as often; not where too few tasks would be left. */
    int64_t most = row_blocks >= 16 || plan->copy == GATUN_COPY_TILES ? 8 : 4;
    /* Under a causal mask blocks of a short sequence have little in common; one alone stays in L1 with what it writes, and
     * its task has time to prefetch for the next one where keys and values of the call exceed L2. */
    const int exceeds_l2 = (double)desc->batch * (double)desc->kv_heads * (double)head_bytes > (double)caches->l2 / 2;
    if (!packs && square_causal && group == 1 && exceeds_l2 && row_blocks <= 4 &&
        row_blocks * block_bytes > caches->l1d * 3 / 4)
        most = 1;
    int64_t blocks = most < row_blocks ? most : row_blocks;
    if (blocks * block_bytes > caches->l2 / 3)
        blocks = caches->l2 / 3 / block_bytes;
    blocks = blocks < 1 ? 1 : blocks;
    /* Enough tasks for the threads come first, since threads idle while the last tasks run, and one that shares its core is
     * slow: four tasks for each, and sixteen while smaller ones cost little, as keys and values fit L2. */
    const int64_t heads = desc->batch * desc->kv_heads;
    const int fits_l2 = head_bytes <= caches->l2 / 2;
    while (plan->threads > 1 && blocks > 1 &&
           heads * gatun__divide_up(row_blocks, blocks) <
               (fits_l2 && blocks > 2 && !packs ? 16 : 4) * (int64_t)plan->threads)
        blocks--;
    if (choices != NULL) {
        blocks = choices->blocks;
        plan->copy = choices->copy;
    }
    if (blocks > row_blocks)
        blocks = row_blocks > 0 ? row_blocks : 1;

    plan->blocks = (int32_t)blocks;
    plan->task_lanes = blocks * block_lanes;
    plan->row_tasks = gatun__divide_up(row_blocks, blocks);
    /* What lies between tiny heads takes as long as a head. */
    plan->task_heads = 1;
    if (plan->kernel == GATUN_KERNEL_TINY)
        plan->task_heads =
            plan->threads > 1 ? gatun__divide_up(desc->kv_heads, 4 * (int64_t)plan->threads) : desc->kv_heads;
    plan->head_tasks = gatun__divide_up(desc->kv_heads, plan->task_heads);
    plan->tasks = desc->batch * plan->head_tasks * plan->row_tasks;
    plan->kv_fits_l2 = plan->copy != GATUN_COPY_TILES && fits_l2;
    if (plan->copy == GATUN_COPY_HEADS)
        plan->copy_bytes = GATUN__COPY_HEADER + aligned(desc->seq_k * desc->head_dim * kv_bytes) +
                           aligned(desc->seq_k * desc->head_dim_v * kv_bytes);
    int biased = (desc->flags & GATUN_ATTENTION_BIASED) != 0;
    plan->scratch_bytes =
        plan->copy_bytes + gatun__attention_scratch_bytes(block_lanes, plan->blocks, (int32_t)desc->head_dim,
                               (int32_t)desc->head_dim_v, desc->seq_k > GATUN__SPLIT_KEYS, biased ? group : 0,
                               gatun__changes_keys(desc),
                               plan->copy == GATUN_COPY_TILES || widens ? (int64_t)sizeof(float) : 0);
    if (packs) {
        const int64_t bytes = gatun__attention_bf16_scratch_bytes(
            block_lanes, plan->blocks, (int32_t)desc->head_dim, (int32_t)desc->head_dim_v);
        plan->scratch_bytes = bytes > plan->scratch_bytes ? bytes : plan->scratch_bytes;
    }
    /* Behind the kernel's: floats of 16-bit queries, outputs, and keys and values of a split. */
    const int64_t f = sizeof(float), split = desc->seq_k < GATUN__SPLIT_KEYS ? desc->seq_k : GATUN__SPLIT_KEYS;
    plan->queries_offset = plan->scratch_bytes;
    plan->out_offset =
        plan->queries_offset + (desc->dtype == GATUN_DTYPE_F32 ? 0 : aligned(plan->task_lanes * desc->head_dim * f));
    plan->split_offset =
        plan->out_offset +
        (gatun__out_dtype(desc) == GATUN_DTYPE_F32 ? 0 : aligned(plan->task_lanes * desc->head_dim_v * f));
    plan->scratch_bytes = plan->split_offset + (widens ? aligned(split * (desc->head_dim + desc->head_dim_v) * f) : 0);
    plan->parts_offset = plan->workspace_bytes = plan->scratch_bytes * plan->threads;
    cut_keys(desc, plan);
}

void gatun__attention_plan_bound(gatun__attention_plan *plan, const gatun_attention_desc *desc, int32_t tier,
    int32_t block_lanes, int64_t longest, double pairs, double keys) {
    const double cycles = cycles_of(desc, tier, pairs, keys);
    plan->threads = gatun__useful_threads(cycles, plan->threads);
    plan->work_ns = gatun__cycles_ns(cycles);
    const int64_t row_blocks = gatun__divide_up(longest * (desc->heads / desc->kv_heads), block_lanes);
    plan->row_tasks = gatun__divide_up(row_blocks, plan->blocks);
    plan->tasks = desc->batch * plan->head_tasks * plan->row_tasks * plan->key_splits;
}

/* Map columns of one task: what rows that go on in the next block have is kept in double. */
enum { MAP_TASK_COLUMNS = 65536, MAP_BLOCKS = 4 };

void gatun__map_plan_to(gatun__map_plan *plan, const gatun_attention_desc *desc, const gatun_attention_map_desc *map,
    int32_t tier, int32_t block_lanes, int32_t threads) {
    gatun__attention_plan *a = &plan->attention;
    *plan = (gatun__map_plan){.task_columns = gatun__least(map->map_columns, MAP_TASK_COLUMNS)};
    const int64_t heads = desc->batch * desc->heads, f = sizeof(float);
    plan->column_tasks = gatun__divide_up(map->map_columns, MAP_TASK_COLUMNS);
    /* Scores are computed twice, once for the sum over all keys and once for the map. */
    const double keys = (double)desc->seq_k * (double)plan->column_tasks + (double)map->keys,
                 rows = (double)heads * (double)map->rows;
    const double cycles = gatun__cycles(tier, rows * keys * (double)desc->head_dim, rows * keys);
    if (desc->max_threads > 0 && desc->max_threads < threads)
        threads = desc->max_threads;
    a->threads = gatun__useful_threads(cycles, threads);
    a->work_ns = gatun__cycles_ns(cycles);
    const int64_t most_rows = map->map_rows == 0 ? 1 : gatun__divide_up(map->rows, map->map_rows);
    for (int32_t blocks = MAP_BLOCKS; blocks > 0; blocks--) {
        a->blocks = blocks;
        a->task_lanes = (int64_t)blocks * block_lanes;
        plan->task_rows = a->task_lanes > most_rows ? a->task_lanes / most_rows : 1;
        plan->row_tasks = gatun__divide_up(map->map_rows, plan->task_rows);
        a->tasks = heads * plan->row_tasks * plan->column_tasks;
        if (a->threads == 1 || a->tasks >= 4 * (int64_t)a->threads)
            break;
    }
    const int widens = desc->kv_dtype != GATUN_DTYPE_F32;
    const int32_t dim = (int32_t)desc->head_dim;
    plan->own_offset = gatun__attention_scratch_bytes(block_lanes, a->blocks, dim, 0, desc->seq_k > GATUN__SPLIT_KEYS,
        (desc->flags & GATUN_ATTENTION_BIASED) != 0, gatun__changes_keys(desc), widens ? f : 0);
    a->queries_offset =
        plan->own_offset + gatun__attention_map_scratch_bytes(block_lanes, a->blocks, plan->task_columns);
    /* Floats of 16-bit queries, and of one key. */
    a->split_offset = a->queries_offset + (desc->dtype == GATUN_DTYPE_F32 ? 0 : aligned(a->task_lanes * dim * f));
    a->scratch_bytes = a->split_offset + (widens ? aligned(dim * f) : 0);
    a->workspace_bytes = a->scratch_bytes * a->threads;
}

int64_t gatun__attention_map_scratch_bytes(int32_t block_lanes, int32_t blocks, int64_t columns) {
    const int64_t lanes = block_lanes, f = sizeof(float), d = sizeof(double);
    return GATUN__TILE_KEYS * ((int64_t)sizeof(int32_t) + d)            /* where columns end, and their share */
           + aligned(lanes * GATUN__TILE_KEYS * f)                      /* columns of a tile */
           + blocks * (3 * aligned(lanes * d) + 2 * aligned(lanes * f)) /* of lanes */
           + aligned(columns * d);
}

int64_t gatun__attention_scratch_bytes(int32_t block_lanes, int32_t blocks, int32_t head_dim, int32_t head_dim_v,
    int merged_splits, int64_t bias_group, int changes_keys, int64_t copy_element_bytes) {
    int64_t lanes = block_lanes, f = sizeof(float), d = sizeof(double);
    int64_t per_block = aligned(lanes * head_dim * f)                  /* transposed queries */
                        + aligned(lanes * head_dim_v * f)              /* transposed output */
                        + (changes_keys ? 4 : 3) * aligned(lanes * f); /* limits, maxima, sums; firsts */
    if (merged_splits)
        per_block += aligned(lanes * head_dim_v * d) + aligned(lanes * d) + aligned(lanes * f);
    int64_t biases = bias_group > 0 ? aligned(gatun__bias_floats(bias_group, lanes * blocks) * f) : 0;
    /* Biases and masks of a tile, and of as many lanes as a vector has at most, before they are transposed. */
    int64_t changes = !changes_keys ? 0
                                    : aligned(lanes * GATUN__TILE_KEYS * f) + aligned(lanes * GATUN__TILE_KEYS) +
                                          aligned(GATUN__MAX_VECTOR_LANES * GATUN__TILE_KEYS * f);
    int64_t copies = aligned(GATUN__TILE_KEYS * head_dim * copy_element_bytes) +
                     aligned(GATUN__TILE_KEYS * head_dim_v * copy_element_bytes);
    return aligned(lanes * (GATUN__TILE_KEYS + GATUN__CHAIN_KEYS) * f) /* scores of a tile and a chain that waits */
           + 2 * aligned(lanes * f)                                    /* their rescaling */
           + aligned(lanes * GATUN__TILE_KEYS * f)                     /* which scores are live */
           + biases + changes + copies + blocks * per_block;
}

int64_t gatun__attention_bf16_scratch_bytes(int32_t block_lanes, int32_t blocks, int32_t head_dim, int32_t head_dim_v) {
    const int64_t lanes = block_lanes, pairs = (head_dim + 1) / 2, f = sizeof(float), beyond = 16;
    const int64_t per_block = aligned(lanes * pairs * f) + aligned(lanes * head_dim_v * f) /* queries, output */
                              + 3 * aligned(lanes * f);                                    /* limits, maxima, sums */
    return aligned(lanes * GATUN__TILE_KEYS * f)                                           /* scores */
           + 2 * aligned(lanes * GATUN__TILE_KEYS / 2 * f)                                 /* probs of two items */
           + 2 * aligned(lanes * f)                                                        /* their rescaling */
           + 2 * aligned((GATUN__TILE_KEYS / 2 * (int64_t)head_dim_v + beyond) * f)        /* values of two tiles */
           + aligned((GATUN__TILE_KEYS * pairs + beyond) * f)                              /* keys */
           + aligned(lanes * head_dim * f) /* queries that become pairs */
           + blocks * per_block;
}
