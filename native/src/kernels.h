/* What a kernel file offers, and what it is given. */
#ifndef GATUN_KERNELS_H
#define GATUN_KERNELS_H

#include "key_range.h"
#include "packed.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Boundaries that decide the bits of a result (see docs/design.md, "Bits"): changing one changes results in the last
 * place. They are the same for every tier, and cut a row's keys at multiples from key 0.
 */
enum {
    /* Keys summed in registers before they are added to the output: bounds the bias of a long float sum. */
    GATUN__CHAIN_KEYS = 32,
    /* Keys per softmax step. */
    GATUN__TILE_KEYS = 128,
    /* Keys whose partial result is kept in float; splits are merged in double. */
    GATUN__SPLIT_KEYS = 2048,
};

/* A sequence of at most DECODE_ROWS query rows is computed by attention_decode_f32: that decides bits as well. */
enum { GATUN__DECODE_ROWS = 4 };

#define GATUN__LOG_2  0.69314718055994531
#define GATUN__LOG2_E 1.4426950408889634

/* What attention_tiny_f32 asks for: keys, lanes, head_dim at most; a multiple of columns of values. */
enum { GATUN__TINY_KEYS = 16, GATUN__TINY_LANES = 16, GATUN__TINY_DIM = 128, GATUN__TINY_COLUMNS = 32 };

/* Without biases. */
static inline int gatun__is_tiny(int64_t keys, int64_t lanes, int64_t head_dim, int64_t head_dim_v) {
    return keys > 0 && keys <= GATUN__TINY_KEYS && lanes <= GATUN__TINY_LANES && head_dim <= GATUN__TINY_DIM &&
           head_dim_v % GATUN__TINY_COLUMNS == 0;
}

/* Whether products of a sequence of so many rows and keys are made in bf16 where GATUN_ATTENTION_BF16 asks for it and nothing is
 * biased: this decides bits, so that only the sequence's own sizes may. */
static inline int gatun__is_bf16(int64_t rows, int64_t keys) {
    return rows > GATUN__DECODE_ROWS && keys > GATUN__TINY_KEYS;
}

static inline int64_t gatun__least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/*
 * Lengths, offsets, ids and positions are the caller's memory, and may change while a call runs. Each use reads them anew,
 * once and as a whole, and keeps to the range that was checked: whatever another thread writes, no address lies beyond it.
 */
static inline int64_t gatun__within(int64_t value, int64_t least, int64_t most) {
    const int64_t below = value < most ? value : most;
    return below > least ? below : least;
}

static inline int64_t gatun__load_index(const int32_t *index) {
    return __atomic_load_n(index, __ATOMIC_RELAXED);
}

static inline int64_t gatun__load_within(const int32_t *index, int64_t least, int64_t most) {
    return gatun__within(gatun__load_index(index), least, most);
}

/* What a thread's copy of a head begins with: which head it is. */
enum { GATUN__COPY_HEADER = 64 };

enum { GATUN__MAX_BLOCK_LANES = 32, GATUN__MAX_BLOCKS = 8, GATUN__MAX_VECTOR_LANES = 16 };

/* Rows of 16-bit floats (dtype), which are `row` elements apart, as floats, one row after the other. */
typedef void gatun__widen_kernel(const void *from, int64_t row, int64_t rows, int64_t dim, int32_t dtype, float *to);

/* A map [rows][heads][keys], or NULL; strides in elements, keys too. */
typedef struct gatun__map {
    const void *data;
    int64_t row, head, key;
} gatun__map;

/*
 * What happens to scores beside biases by distance, and masks that are no ranges of keys. Pointers are those of one batch row or
 * sequence and of the first head of a group; strides in elements.
 */
typedef struct gatun__score_changes {
    int any;            /* whether there is something of it */
    int keys;           /* whether it differs from key to key: a window, or something below `sinks` */
    float softcap;      /* to base 2, as scores are; 0: none */
    const float *sinks; /* [group], or NULL */
    gatun__map mask;    /* of bytes */
    gatun__map bias;
    int32_t bias_dtype;
    gatun__map blocks; /* of bytes, for block_q rows and block_k keys each */
    int64_t block_q, block_k;
    const int32_t *segments_q, *segments_k; /* [rows], [keys] */
    const int32_t *positions;               /* [rows], or NULL: first_position + row */
    /* Where these are not in the task's key_rule: positions, or global_tokens > 0. */
    int causal;
    int64_t window_left, window_right; /* -1: all */
    int64_t global_tokens;
} gatun__score_changes;

/*
 * One task: the query rows lane_begin .. lane_end - 1 of one key/value head of one batch row, or of several such heads. A
 * lane is a pair (row, head of the group), lane = row * group + head: the heads of a group share every key and value that is
 * loaded.
 */
typedef struct gatun__attention_task {
    /* Of one batch row and the first head of the group; axes as in attention_f32.h. */
    const float *q;        /* [rows][group][head_dim] */
    const float *k;        /* [keys][head_dim] */
    const float *v;        /* [keys][head_dim_v] */
    float *out;            /* [rows][group][head_dim_v] */
    float *lse;            /* [rows][group], or NULL */
    int64_t q_row, q_head; /* strides in elements */
    int64_t k_row, v_row;
    int64_t out_row, out_head;
    int64_t lse_row, lse_head;
    int64_t group;
    int64_t lane_begin, lane_end;
    /* Key/value heads, without biases if there are several; from one to the next, in elements. */
    int64_t heads;
    int64_t q_next, k_next, v_next, out_next, lse_next;
    int64_t rows;            /* of this batch row */
    gatun__key_rule visible; /* how many keys it has, and which of them a row sees */
    int32_t head_dim, head_dim_v;
    /* Query blocks that share a pass over the keys; lane_end - lane_begin <= blocks * lanes of a block. */
    int32_t blocks;
    /* scale * log2(e), applied to q, so that scores are base-2 logits: a factor, and a power of two that is 1 for any
     * scale in use. */
    float q_factor, q_power;
    /* Biases of the group's heads, or NULL. */
    const float *alibi_slopes;            /* [group] */
    const float *relative_position_table; /* [group][2 * relative_span + 1] */
    int64_t relative_span;                /* 0 .. GATUN_MAX_RELATIVE_SPAN */
    int64_t first_position;               /* of row 0, on the scale of keys */
    const gatun__score_changes *changes;  /* of zeros, where there are none */
    int copy_tiles; /* each tile of keys and values is copied to rows one after the other before it is used */
    int collide;    /* rows of keys or values compete for a part of L1 */
    /* What comes next, to be prefetched: whether this thread has probably not read these keys and values lately; rows of
     * the queries and outputs of another task, or NULL; and of its keys and values, or NULL if they are the same. */
    int cold;
    const float *next_k, *next_v, *next_q, *next_out;
    int64_t next_keys, next_rows;
    /* attention_decode_f32 where parts of the keys are tasks of their own: the results of every split (all lanes of out, of
     * maxima, of sums), or NULL. A part makes those of its splits, and nothing else; the merge of all parts has
     * split_begin == split_end. */
    char *partials;
    int64_t partial_bytes; /* of one split */
    int64_t split_begin, split_end;
    /* NULL, or keys and values are 16-bit floats, at addresses that k and v hold all the same: it makes floats of them, a tile
     * (copy_tiles) or, for attention_decode_f32, a split of SPLIT_KEYS keys at a time, to `widened`. attention_bf16 reads them
     * where they are. */
    gatun__widen_kernel *widen;
    int32_t kv_dtype;
    float *widened;  /* [keys of a split][head_dim + head_dim_v] */
    char *scratch;   /* 64-byte aligned, as large as the plan says */
    uint64_t redone; /* out: query blocks run twice */
} gatun__attention_task;

/* Key or value `key`, wherever elements are floats or 16-bit floats. */
static inline const float *gatun__row_at(const gatun__attention_task *t, const float *first, int64_t row, int64_t key) {
    const int64_t bytes = t->widen == NULL ? (int64_t)sizeof(float) : (int64_t)sizeof(uint16_t);
    return (const float *)(const void *)((const char *)first + key * row * bytes);
}

/* A head of a task by itself. */
static inline gatun__attention_task gatun__head_of(const gatun__attention_task *t, int64_t head) {
    gatun__attention_task one = *t;
    one.heads = 1;
    one.redone = 0;
    /* Those of a row without queries or keys are NULL. */
    if (t->q != NULL)
        one.q += head * t->q_next;
    if (t->k != NULL)
        one.k += head * t->k_next;
    if (t->v != NULL)
        one.v += head * t->v_next;
    one.out += head * t->out_next;
    if (t->lse != NULL)
        one.lse += head * t->lse_next;
    return one;
}

/*
 * Probabilities of some rows of one query head, as a map: cell (r, c) is the mean or the largest of those of rows bin r and keys bin
 * c, of which gatun__bin says where they begin.
 */
typedef struct gatun__attention_map_task {
    gatun__attention_task attention; /* lanes are rows; no values, no outputs */
    int32_t reduction;               /* GATUN_MAP_* */
    int64_t first_row, rows, map_rows;
    int64_t first_key, keys, map_columns;
    int64_t column_begin, column_end; /* those that are computed */
    float *map;                       /* of the head, [map_rows][map_columns] */
    int64_t map_row;
    char
        *scratch; /* 64-byte aligned, gatun__attention_map_scratch_bytes; between tasks that share a map row it stays */
} gatun__attention_map_task;

/* Additive attention of some rows of one query head; axes as in additive_f32.h. */
typedef struct gatun__additive_task {
    gatun__attention_task attention; /* lanes are rows; without biases and changes */
    const float *energy;             /* [head_dim] */
} gatun__additive_task;

/* Where bin `bin` of `bins` begins among `size` rows or keys: no bin is empty, since there are at most as many. */
static inline int64_t gatun__bin(int64_t bin, int64_t size, int64_t bins) {
    return bin * size / bins;
}

/* Rows begin .. end - 1 of one call over rows; what a function does not use is 0. */
typedef struct gatun__rows_task {
    const float *x, *bias, *gamma, *beta, *residual, *gate;
    float *sum, *out;
    const int32_t *offsets;
    int64_t begin, end, dim;
    int64_t total; /* rows of x that offsets may reach */
    int64_t x_row, residual_row, gate_row, sum_row, out_row;
    int32_t activation;
    float softcap; /* before the activation; 0: none */
    float epsilon;
    int rms, normalize, logarithm;
    int32_t pooling;
    int64_t skip; /* rows at the beginning of each sequence */
} gatun__rows_task;

/* Rows begin .. end - 1 of one call of gatun_embedding. Tables behind the last are NULL. */
typedef struct gatun__embedding_task {
    const int32_t *ids[3]; /* NULL: row 0 */
    const void *table[3];  /* float, or uint8_t where it is quantized */
    int64_t last[3];       /* rows of the tables */
    int quantized[3];
    float table_scale[3], table_zero[3];
    float scale; /* of the first table */
    float *out;
    int64_t begin, end, dim, out_row;
} gatun__embedding_task;

/* Rows begin .. end - 1 of one call of gatun_rotary. */
typedef struct gatun__rotary_task {
    const float *x, *cosines, *sines;
    const int32_t *positions;
    float *out;
    int64_t begin, end, heads, head_dim, rotary_dim, table_rows;
    int64_t x_row, x_head, out_row, out_head;
    int interleaved;
} gatun__rotary_task;

/* Rows begin .. end - 1 of one call of gatun_recurrent_cell. */
typedef struct gatun__cell_task {
    const float *x_gates, *h_gates, *h, *c;
    const int32_t *places; /* NULL: the row's own number */
    float *h_out, *c_out, *out;
    int64_t begin, end, hidden, last_place;
    int64_t x_row, gates_row, h_row, c_row, h_out_row, c_out_row, out_row;
    int32_t cell;
} gatun__cell_task;

/* Where sequences lie: even ones of `seq` rows, or by offsets, which may reach `total` rows. */
typedef struct gatun__sequences {
    const int32_t *offsets; /* or NULL */
    int64_t seq, total;
} gatun__sequences;

static inline int64_t gatun__sequence_at(const gatun__sequences *s, int64_t sequence, int64_t *end) {
    if (s->offsets == NULL) {
        *end = (sequence + 1) * s->seq;
        return sequence * s->seq;
    }
    const int64_t begin = gatun__load_within(&s->offsets[sequence], 0, s->total);
    *end = gatun__load_within(&s->offsets[sequence + 1], begin, s->total);
    return begin;
}

/* Sequences begin .. end - 1 and channels channel_begin .. channel_end - 1 of one call of gatun_selective_scan. */
typedef struct gatun__scan_task {
    const float *x, *delta, *a, *b, *c, *d, *delta_bias, *z;
    float *state, *y;
    gatun__sequences sequences;
    int64_t begin, end, channel_begin, channel_end, channels, states;
    int64_t x_row, delta_row, b_row, c_row, z_row, y_row, state_row;
    int softplus;
    float *scratch; /* of this thread, 64-byte aligned, gatun__scan_scratch_floats */
} gatun__scan_task;

/* Rows and channels that are scanned at a time, and what the width of a task is a multiple of, as every vector divides it. */
enum { GATUN__SCAN_ROWS = 16, GATUN__SCAN_BLOCK = 64, GATUN__SCAN_UNIT = 16 };

/* The most channels of a task, so that its a and h stay in L2: 256 KiB. */
static inline int64_t gatun__scan_width(int64_t states) {
    return (1 << 15) / states / GATUN__SCAN_BLOCK * GATUN__SCAN_BLOCK;
}

static inline int64_t gatun__scan_scratch_floats(int64_t states, int64_t width) {
    return 2 * states * width + 3 * GATUN__SCAN_ROWS * GATUN__SCAN_BLOCK;
}

/* The same of gatun_causal_convolution. */
typedef struct gatun__convolution_task {
    const float *x, *weight, *bias;
    float *state, *out;
    gatun__sequences sequences;
    int64_t begin, end, channel_begin, channel_end, channels, width;
    int64_t x_row, out_row, state_row;
    int32_t activation;
} gatun__convolution_task;

enum { GATUN__CONVOLUTION_CHANNELS = 32, GATUN__CONVOLUTION_MOST_WIDTH = 16 };

/* Rows row_begin .. row_end - 1 (at most GATUN__MOST_BLOCK_ROWS) and panels panel_begin .. panel_end - 1 of one product with
 * packed weights; axes as in packed.h. */
typedef struct gatun__linear_task {
    const float *x, *bias, *gate, *residual;
    float *out;
    const char *panels;
    int64_t panel_bytes;
    int64_t x_row, gate_row, residual_row, out_row;
    int64_t depth, columns;
    int64_t row_begin, row_end, panel_begin, panel_end;
    int32_t activation;
    /* Of this thread: sums float [GATUN__MOST_BLOCK_ROWS][GATUN__PANEL_COLUMNS], then scales float, zero points int32_t and
     * outliers [GATUN__MOST_BLOCK_ROWS], then the rows of x as the kernel wants them, which are there already if converted is set. */
    char *scratch;
    int converted;
} gatun__linear_task;

/* Elements of a row of x that are too large for the bytes of the others: see linear_i8.h. */
enum { GATUN__MOST_OUTLIERS = 8 };

typedef struct gatun__outlier {
    int32_t four; /* of inputs, which it belongs to */
    char x[8];    /* this four as the kernel reads it, with what is left of the outlier and three zeros */
} gatun__outlier;

typedef struct gatun__outliers {
    int32_t above, below; /* those above the range of the others, the first ones, and those below it, the last ones */
    gatun__outlier each[GATUN__MOST_OUTLIERS];
    int32_t unused[6]; /* whole cache lines */
} gatun__outliers;

enum {
    GATUN__LINEAR_SUMS = GATUN__MOST_BLOCK_ROWS * GATUN__PANEL_COLUMNS * (int)sizeof(float),
    GATUN__LINEAR_SCALES = GATUN__MOST_BLOCK_ROWS * (2 * (int)sizeof(float) + (int)sizeof(gatun__outliers))
};

/* What a task of gatun_linear_attention does. */
enum {
    GATUN__LINEAR_PROJECTION, /* packs rows begin .. end - 1 of the projection */
    GATUN__LINEAR_KEYS,       /* not causal: sums of features begin .. end - 1 over all keys */
    GATUN__LINEAR_ROWS,       /* not causal: rows begin .. end - 1, of sums that are there */
    GATUN__LINEAR_CHUNKS,     /* causal: all rows, GATUN__LINEAR_CHUNK at a time */
    GATUN__LINEAR_STEPS,      /* causal: all rows, one by one */
    GATUN__LINEAR_PAIRS,      /* rows begin .. end - 1, at most GATUN__LINEAR_CHUNK of them, key by key */
};

enum {
    GATUN__LINEAR_CHUNK = 64, /* rows of a chunk */
    GATUN__LINEAR_TILE = 128, /* keys that are summed in registers */
    GATUN__LINEAR_PANEL = 64, /* features of a panel of the packed projection, [head_dim][LINEAR_PANEL] */
};

/* One batch row or sequence, and one head: axes as in linear_attention_f32.h; row strides in elements. */
typedef struct gatun__linear_attention_task {
    int32_t phase;       /* GATUN__LINEAR_* */
    int32_t feature_map; /* GATUN_FEATURES_* */
    int causal, normalized;
    int64_t head_dim, head_dim_v, features;
    const float *q, *k, *v;
    float *out;
    int64_t q_row, k_row, v_row, out_row;
    int64_t rows, keys;
    int64_t begin, end;
    const float *projection; /* packed, times exponent_factor; of LINEAR_PROJECTION as given */
    float *packed;           /* what LINEAR_PROJECTION writes */
    float exponent_factor;   /* sqrt(scale) * log2(e): exponents are those of powers of 2 */
    float norm_factor;       /* scale * log2(e) / 2, of a squared norm */
    const float *log_decay;  /* or NULL */
    int64_t decay_row;
    float *state;   /* [features][head_dim_v + 2], or NULL */
    float *sums;    /* of the head, where it is not causal */
    float *scratch; /* 64-byte aligned */
} gatun__linear_attention_task;

/* Rows of features, of values and of inputs in scratch have whole vectors of every tier. */
static inline int64_t gatun__linear_padded(int64_t count) {
    return (count + 15) & ~(int64_t)15;
}

/* Floats from one row of features to the next: not a multiple of what competes for a part of L1. */
static inline int64_t gatun__linear_feature_row(int64_t features) {
    return gatun__linear_padded(features) + 16;
}

/* Sums of a head: of values, what their floats lose, of weights, what those lose, stabilizers. */
static inline int64_t gatun__linear_sums_floats(int64_t features, int64_t head_dim_v) {
    return gatun__linear_padded(features) * (2 * gatun__linear_padded(head_dim_v) + 3);
}

static inline int64_t gatun__linear_projection_floats(int64_t features, int64_t head_dim) {
    return (features + GATUN__LINEAR_PANEL - 1) / GATUN__LINEAR_PANEL * GATUN__LINEAR_PANEL * head_dim;
}

/* Scratch of one thread in floats; linear_attention_f32.h carves it up in the same order. */
static inline int64_t gatun__linear_scratch_floats(int64_t features, int64_t head_dim, int64_t head_dim_v) {
    const int64_t tile = GATUN__LINEAR_TILE, chunk = GATUN__LINEAR_CHUNK, f = gatun__linear_padded(features),
                  row = gatun__linear_feature_row(features), d = gatun__linear_padded(head_dim),
                  v = gatun__linear_padded(head_dim_v);
    return tile * d + tile + tile * v + tile * row + 2 * chunk * row + f * chunk + chunk * chunk + 2 * chunk * v + f +
           gatun__linear_sums_floats(features, head_dim_v);
}

/* What a kernel of each operation is. */
typedef void gatun__attention_kernel(gatun__attention_task *task);
typedef void gatun__attention_decode_kernel(gatun__attention_task *task);
typedef void gatun__attention_tiny_kernel(gatun__attention_task *task);
typedef void gatun__attention_map_kernel(gatun__attention_map_task *task);
typedef void gatun__additive_kernel(gatun__additive_task *task);
typedef void gatun__norm_kernel(const gatun__rows_task *task);
typedef void gatun__activation_kernel(const gatun__rows_task *task);
typedef void gatun__embedding_kernel(const gatun__embedding_task *task);
typedef void gatun__pool_kernel(const gatun__rows_task *task);
typedef void gatun__softmax_kernel(const gatun__rows_task *task);
typedef void gatun__rotary_kernel(const gatun__rotary_task *task);
typedef void gatun__cell_kernel(const gatun__cell_task *task);
typedef void gatun__selective_scan_kernel(const gatun__scan_task *task);
typedef void gatun__causal_convolution_kernel(const gatun__convolution_task *task);
typedef void gatun__linear_kernel(const gatun__linear_task *task);
typedef void gatun__linear_attention_kernel(const gatun__linear_attention_task *task);
/* Runs `steps` rounds of independent multiply-adds of its dtype on io = {1, 0}; returns the operations of one round, two for each
 * product. */
typedef double gatun__peak_kernel(int64_t steps, float io[2]);

#define GATUN_KERNEL(operation, dtype, TIER, tier) gatun__##operation##_kernel gatun__##operation##_##dtype##_##tier;
#define GATUN_FEATURE_KERNEL(operation, dtype, TIER, FEATURE, extension)                                               \
    gatun__##operation##_kernel gatun__##operation##_##dtype##_##extension;
#include "kernels.inc"

/* Queries of a block: gatun__block_lanes_<tier>. Of packed linear layers gatun__tile_rows_<dtype>_<tier>, and
 * gatun__element_bytes_<dtype>_<tier>. */
#define GATUN_TIER(TIER, tier, block_lanes) enum { gatun__block_lanes_##tier = block_lanes };
#define GATUN_LINEAR(dtype, TIER, tier, tile_rows, element_bytes, speed)                                               \
    enum { gatun__tile_rows_##dtype##_##tier = tile_rows, gatun__element_bytes_##dtype##_##tier = element_bytes };
#define GATUN_FEATURE_LINEAR(dtype, TIER, FEATURE, extension, tile_rows, element_bytes, speed)                         \
    GATUN_LINEAR(dtype, TIER, extension, tile_rows, element_bytes, speed)
#include "kernels.inc"

/* The name of a function, or of a constant above, in a file that defines TIER as the tier's suffix. */
#define GATUN__JOINED(name, tier)  gatun__##name##_##tier
#define GATUN__OF_TIER(name, tier) GATUN__JOINED(name, tier)
#define KERNEL(name)               GATUN__OF_TIER(name, TIER)

/* What kernels.inc says of a kernel of packed linear layers. */
typedef struct gatun__linear_traits {
    int32_t tile_rows, element_bytes, speed;
} gatun__linear_traits;

/* The kernels of one tier, or of a tier and GATUN_FEATURE_*. */
typedef struct gatun__kernels {
    int32_t tier;        /* GATUN_TIER_*; 0: this build does not have it */
    int32_t block_lanes; /* queries of one block of attention */
    gatun__attention_kernel *attention_f32;
    gatun__attention_decode_kernel *attention_decode_f32;
    gatun__attention_tiny_kernel *attention_tiny_f32; /* NULL but on avx512 */
    gatun__attention_map_kernel *attention_map_f32;
    gatun__additive_kernel *additive_f32;
    gatun__attention_kernel *attention_bf16; /* NULL without GATUN_FEATURE_BF16 */
    gatun__norm_kernel *norm_f32;
    gatun__activation_kernel *activation_f32;
    gatun__pool_kernel *pool_f32;
    gatun__softmax_kernel *softmax_f32;
    gatun__embedding_kernel *embedding_f32;
    gatun__rotary_kernel *rotary_f32;
    gatun__linear_attention_kernel *linear_attention_f32;
    gatun__cell_kernel *cell_f32;
    gatun__widen_kernel *widen_f32;
    gatun__selective_scan_kernel *selective_scan_f32;
    gatun__causal_convolution_kernel *causal_convolution_f32;
    gatun__peak_kernel *peak_f32;
    gatun__peak_kernel *peak_bf16; /* NULL without GATUN_FEATURE_BF16: products of bf16 are those of floats */
    gatun__peak_kernel *peak_i8;
    gatun__linear_kernel *linear_f32, *linear_bf16, *linear_f16, *linear_i8, *linear_q8_0, *linear_q4_0;
    gatun__linear_traits traits_f32, traits_bf16, traits_f16, traits_i8, traits_q8_0,
        traits_q4_0; /* of the kernels above */
} gatun__kernels;

/*
 * Biases depend on row - key and head, and lanes are (row, head) in that order: the biases of all lanes of a task and
 * all keys of a tile lie in one array, those of the next key this many elements before. They overlap where a task holds
 * several rows; heads that it does not hold take no space.
 */
static inline int64_t gatun__bias_step(int64_t group, int64_t task_lanes) {
    return group < task_lanes ? group : task_lanes;
}

static inline int64_t gatun__bias_floats(int64_t group, int64_t task_lanes) {
    return task_lanes + (GATUN__TILE_KEYS - 1) * gatun__bias_step(group, task_lanes);
}

/* Float results of one split: lanes of out, maxima and sums. */
static inline int64_t gatun__decode_partial_bytes(int64_t lanes, int64_t head_dim_v) {
    return (lanes * (head_dim_v + 2) * (int64_t)sizeof(float) + 63) & ~(int64_t)63;
}

/* Scratch of one thread, in bytes, a multiple of 64. The kernel template carves it up in the same order. bias_group: 0
 * without biases. changes_keys: whether scores change from key to key. copy_element_bytes: of keys and values whose tiles are
 * copied; 0: they are not. */
int64_t gatun__attention_scratch_bytes(int32_t block_lanes, int32_t blocks, int32_t head_dim, int32_t head_dim_v,
    int merged_splits, int64_t bias_group, int changes_keys, int64_t copy_element_bytes);
/* What attention_map_f32 has beside that of attention_f32. */
int64_t gatun__attention_map_scratch_bytes(int32_t block_lanes, int32_t blocks, int64_t columns);
/* The same of additive_f32. */
int64_t gatun__additive_scratch_bytes(
    int32_t block_lanes, int32_t blocks, int32_t head_dim, int32_t head_dim_v, int merged_splits);
/* The same of attention_bf16. */
int64_t gatun__attention_bf16_scratch_bytes(int32_t block_lanes, int32_t blocks, int32_t head_dim, int32_t head_dim_v);

#endif
