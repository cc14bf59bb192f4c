/*
 * How fast a call should be: a model of the kernels in cycles of one core, for one thread and warm caches. It has as few
 * parameters as measurements need, and is meant to be read: where a call is far below its prediction, something is
 * wrong with the call, the machine or the kernel.
 *
 * A "vector" is one register of lanes, that is of queries. A vector of scores is one key for one vector of queries.
 */
#include "internal.h"

#include <math.h>

/* Two FMAs of a vector a cycle on every tier here. */
static const double FMAS_A_CYCLE = 2;
/* Check, plan and job: about 150 ns. */
static const double CALL_CYCLES = 500;
/* Masked keys on the diagonal that a lane costs all the same: 7.5 since another lane of its vector sees them, the rest for
 * register blocks of one vector. */
static const double DIAGONAL_KEYS = 13.5;
/* What one core reads from memory, and the clock at which it was measured: the bound of decoding. */
static const double MEMORY_BYTES_A_SECOND = 30e9, CLOCK_HZ = 3.5e9;
/* Columns of values below which there are too few register blocks to hide exponentials between. */
enum { HIDING_DIM = 32 };

typedef struct costs {
    int32_t tier, lanes; /* of a vector */
    /* Cycles per vector of scores: the exponential between products, and on its own. */
    double hidden, exposed;
    /* Cycles per vector of scores: loads, stores and latency at both ends of the register blocks. */
    double ends;
    /* Cycles per vector of queries: transposing them and their outputs, limits, division. */
    double transposes;
    /* Cycles per vector of scores and element of key and value, where a head of these exceeds L2. */
    double exceeds_l2;
} costs;

/* Fitted to one head, head_dim 32 .. 128, seq 128 .. 2048 and full as well as causal (avx2: 512 and 2048, full): within 3
 * points. tests/test_plan.c has the measurements. */
static const costs measured[] = {
    {GATUN_TIER_AVX512, 16, 2, 4.2, 0.3, 180, 0.004},
    {GATUN_TIER_AVX2, 8, 6, 6, 1, 300, 0},
};

static const costs *costs_of(int32_t tier) {
    for (size_t i = 0; i < sizeof measured / sizeof measured[0]; i++) {
        if (measured[i].tier == tier)
            return &measured[i];
    }
    return NULL;
}

static double keys_of(const gatun__key_rule *rule, int64_t row) {
    const gatun__keys keys = gatun__key_range(rule, row);
    return (double)(keys.end - keys.first);
}

/* Lengths of ranges are a few straight lines, one after the other: rows are halved until each part is one of them. */
double gatun__visible_pairs(const gatun__key_rule *rule, int64_t first, int64_t rows) {
    double sum = 0;
    if (rows <= 8) {
        for (int64_t row = first; row < first + rows; row++)
            sum += keys_of(rule, row);
        return sum;
    }
    const int64_t last = first + rows - 1;
    const double begin = keys_of(rule, first), slope = (keys_of(rule, last) - begin) / (double)(rows - 1);
    int straight = slope == 0 || slope == 1 || slope == -1;
    for (int64_t part = 1; part < 8 && straight; part++) {
        const int64_t row = first + (rows - 1) * part / 8;
        straight = keys_of(rule, row) == begin + slope * (double)(row - first);
    }
    if (straight)
        return (double)rows * (begin + keys_of(rule, last)) / 2;
    return gatun__visible_pairs(rule, first, rows / 2) + gatun__visible_pairs(rule, first + rows / 2, rows - rows / 2);
}

/* Pairs of a row and a key that it sees, of one head; what masks hide key by key is not known. */
static double pairs_of(const gatun_attention_desc *d) {
    const gatun__key_rule visible = gatun__key_rule_of(d, d->seq_q, d->seq_k, 0, 0);
    return gatun__visible_pairs(&visible, 0, d->seq_q);
}

double gatun__attention_flops(const gatun_attention_desc *d) {
    return 2 * pairs_of(d) * (double)d->batch * (double)d->heads * (double)(d->head_dim + d->head_dim_v);
}

/* Of one key/value head. */
static double general_cycles(const gatun_attention_desc *d, const gatun__attention_plan *plan, const costs *c) {
    const double chain = GATUN__CHAIN_KEYS;
    const int64_t group = d->heads / d->kv_heads, lanes = d->seq_q * group;
    const int causal = d->causal != GATUN_CAUSAL_NONE;
    /* Lanes of the last vector that hold no query cost the same. */
    const double vectors = (double)gatun__divide_up(lanes, c->lanes);
    double keys = pairs_of(d) / (double)d->seq_q; /* of a vector, on average */
    if (causal) {
        const double diagonal = d->seq_q < d->seq_k ? 1 : (double)d->seq_k / (double)d->seq_q;
        keys += diagonal * DIAGONAL_KEYS;
    }
    /* The first chain of a task has no products to hide between. */
    double exposed = chain / plan->blocks;
    if (exposed > keys || d->head_dim_v < HIDING_DIM)
        exposed = keys;
    const double elements = (double)(d->head_dim + d->head_dim_v), products = elements / FMAS_A_CYCLE;
    const double exceeds_l2 = plan->kv_fits_l2 ? 0 : elements * c->exceeds_l2;
    return vectors * (keys * (products + c->ends + exceeds_l2) + exposed * c->exposed + (keys - exposed) * c->hidden +
                         c->transposes);
}

/* Of one key/value head: keys and values are read once, whatever is computed meanwhile is hidden. */
static double decode_cycles(const gatun_attention_desc *d, double products) {
    const gatun__key_rule visible = gatun__key_rule_of(d, d->seq_q, d->seq_k, 0, 0);
    const int64_t keys = gatun__key_range(&visible, d->seq_q - 1).end;
    const int64_t queries = d->seq_q * (d->heads / d->kv_heads); /* and as many outputs */
    const double row_bytes = (double)(keys * gatun__dtype_bytes(d->kv_dtype) + queries * gatun__dtype_bytes(d->dtype));
    const double bytes = row_bytes * (double)(d->head_dim + d->head_dim_v);
    double memory = bytes / MEMORY_BYTES_A_SECOND * CLOCK_HZ;
    return memory > products ? memory : products;
}

double gatun__attention_predict(const gatun_attention_desc *d, const gatun__attention_plan *plan, int32_t tier) {
    const costs *c = costs_of(tier);
    const double flops = gatun__attention_flops(d);
    if (c == NULL || flops == 0 || plan->kernel == GATUN_KERNEL_BF16 || gatun__changes_scores(d))
        return NAN;
    const double heads = (double)d->batch * (double)d->kv_heads;
    const double useful = flops / (2 * FMAS_A_CYCLE * c->lanes);
    const double cycles =
        plan->kernel == GATUN_KERNEL_DECODE ? decode_cycles(d, useful / heads) : general_cycles(d, plan, c);
    return useful / (heads * cycles + CALL_CYCLES);
}
