#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"

static int64_t q_elements(const problem *p) {
    return p->batch * p->seq_q * p->heads * p->head_dim;
}

static int64_t k_elements(const problem *p) {
    return p->batch * p->seq_k * p->kv_heads * p->head_dim;
}

static int64_t v_elements(const problem *p) {
    return p->batch * p->seq_k * p->kv_heads * p->head_dim_v;
}

int64_t out_elements(const problem *p) {
    return p->batch * p->seq_q * p->heads * p->head_dim_v;
}

int64_t lse_elements(const problem *p) {
    return p->batch * p->seq_q * p->heads;
}

void problem_allocate(problem *p, int lengths) {
    p->q = test_allocate(q_elements(p) * (int64_t)sizeof(float));
    p->k = test_allocate(k_elements(p) * (int64_t)sizeof(float));
    p->v = test_allocate(v_elements(p) * (int64_t)sizeof(float));
    p->key_lengths = NULL;
    p->query_lengths = NULL;
    p->alibi_slopes = NULL;
    p->relative_table = NULL;
    p->relative_span = 0;
    if (lengths == LENGTHS_KEY || lengths == LENGTHS_BOTH) {
        p->key_lengths = test_allocate(p->batch * (int64_t)sizeof(int32_t));
    }
    if (lengths == LENGTHS_QUERY || lengths == LENGTHS_BOTH) {
        p->query_lengths = test_allocate(p->batch * (int64_t)sizeof(int32_t));
    }
}

void problem_free(problem *p) {
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->key_lengths);
    free(p->query_lengths);
    free(p->alibi_slopes);
    free(p->relative_table);
    free(p->sinks);
    free(p->mask);
    free(p->block_mask);
    free(p->bias);
    free(p->segments_q);
    free(p->segments_k);
    free(p->positions);
    free(p->prefix);
}

void problem_bias(problem *p, int kind, int64_t span, rng *random) {
    if (kind == BIAS_ALIBI || kind == BIAS_BOTH) {
        p->alibi_slopes = test_allocate(p->heads * (int64_t)sizeof(float));
        for (int64_t h = 0; h < p->heads; h++) {
            float slope = ldexpf(1, (int)rng_between(random, -8, -1));
            p->alibi_slopes[h] = rng_below(random, 8) == 0 ? -slope : slope;
        }
    }
    if (kind == BIAS_TABLE || kind == BIAS_BOTH) {
        int64_t entries = p->heads * (2 * span + 1);
        p->relative_span = span;
        p->relative_table = test_allocate(entries * (int64_t)sizeof(float));
        for (int64_t i = 0; i < entries; i++) {
            p->relative_table[i] = 2 * rng_normal(random);
        }
    }
}

problem new_problem(
    int64_t batch, int64_t heads, int64_t kv_heads, int64_t seq_q, int64_t seq_k, int64_t head_dim, int32_t causal) {
    problem p = {.batch = batch,
        .heads = heads,
        .kv_heads = kv_heads,
        .seq_q = seq_q,
        .seq_k = seq_k,
        .head_dim = head_dim,
        .head_dim_v = head_dim,
        .causal = causal};
    problem_allocate(&p, LENGTHS_NONE);
    rng random = rng_make(test_seed(), 77);
    problem_draw(&p, VALUES_NORMAL, &random);
    return p;
}

static void draw(float *to, int64_t count, distribution kind, float factor, rng *random) {
    for (int64_t i = 0; i < count; i++) {
        to[i] = factor * (kind == VALUES_UNIFORM ? rng_uniform(random) : rng_normal(random));
    }
}

static void draw_lengths(int32_t *lengths, int64_t batch, int64_t most, rng *random) {
    for (int64_t b = 0; lengths != NULL && b < batch; b++) {
        /* the ends of the range are the likeliest to go wrong */
        int64_t kind = rng_below(random, 6);
        lengths[b] = (int32_t)(kind == 0 ? 0 : kind == 1 ? most : rng_between(random, 0, most));
    }
}

void problem_draw(problem *p, distribution kind, rng *random) {
    draw(p->q, q_elements(p), kind, kind == VALUES_PEAKED ? 16 : 1, random);
    draw(p->k, k_elements(p), kind, 1, random);
    draw(p->v, v_elements(p), kind, 1, random);
    draw_lengths(p->key_lengths, p->batch, p->seq_k, random);
    draw_lengths(p->query_lengths, p->batch, p->seq_q, random);
    p->random_values = true;
}

static void poison(float *row, int64_t count, rng *random) {
    static const float poisons[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (int64_t i = 0; i < count; i++) {
        row[i] = poisons[rng_below(random, 4)];
    }
}

void problem_poison(problem *p, rng *random) {
    for (int64_t b = 0; b < p->batch; b++) {
        int64_t keys = p->key_lengths != NULL ? p->key_lengths[b] : p->seq_k;
        int64_t rows = p->query_lengths != NULL ? p->query_lengths[b] : p->seq_q;
        if (rows == 0) {
            keys = 0;
        } else if (p->causal == GATUN_CAUSAL_TOP_LEFT && rows < keys) {
            keys = rows;
        }
        int64_t k_row = p->kv_heads * p->head_dim;
        int64_t v_row = p->kv_heads * p->head_dim_v;
        int64_t q_row = p->heads * p->head_dim;
        poison(p->k + (b * p->seq_k + keys) * k_row, (p->seq_k - keys) * k_row, random);
        poison(p->v + (b * p->seq_k + keys) * v_row, (p->seq_k - keys) * v_row, random);
        poison(p->q + (b * p->seq_q + rows) * q_row, (p->seq_q - rows) * q_row, random);
    }
}

int64_t problem_cost(const problem *p) {
    int64_t dim = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    /* drawing, placing and comparing an element takes about as long as 20 products of the reference */
    int64_t elements = q_elements(p) + k_elements(p) + v_elements(p) + out_elements(p);
    return p->batch * p->heads * p->seq_q * p->seq_k * dim + 20 * elements;
}

static void append_lengths(const char *name, const int32_t *lengths, int64_t batch, char *text, size_t size) {
    for (int64_t b = 0; lengths != NULL && b < batch; b++) {
        size_t length = strlen(text);
        snprintf(text + length, size - length, "%s%d", b == 0 ? name : ",", (int)lengths[b]);
    }
}

void problem_describe(const problem *p, char *text, size_t size) {
    static const char *const causal[] = {"none", "bottom-right", "top-left"};
    snprintf(text, size, "batch %lld, heads %lld/%lld, seq %lld x %lld, dim %lld/%lld, causal %s, scale %g",
        (long long)p->batch, (long long)p->heads, (long long)p->kv_heads, (long long)p->seq_q, (long long)p->seq_k,
        (long long)p->head_dim, (long long)p->head_dim_v, causal[p->causal],
        p->scaled ? (double)p->scale : 1 / sqrt((double)p->head_dim));
    append_lengths(", key lengths ", p->key_lengths, p->batch, text, size);
    append_lengths(", query lengths ", p->query_lengths, p->batch, text, size);
    size_t length = strlen(text);
    if (p->alibi_slopes != NULL || p->relative_table != NULL) {
        snprintf(text + length, size - length, ", biased by%s%s, span %lld", p->alibi_slopes != NULL ? " slopes" : "",
            p->relative_table != NULL ? " a table" : "", (long long)p->relative_span);
    }
    length = strlen(text);
    snprintf(text + length, size - length, "%s%s%s%s%s%s%s%s", p->softcap > 0 ? ", softcap" : "",
        p->sinks != NULL ? ", sinks" : "", p->mask != NULL ? ", mask" : "", p->bias != NULL ? ", bias" : "",
        p->block_mask != NULL ? ", blocks" : "", p->segments_q != NULL ? ", segments" : "",
        p->positions != NULL ? ", positions" : "", p->prefix != NULL ? ", prefix" : "");
    if (p->windowed) {
        length = strlen(text);
        snprintf(text + length, size - length, ", window %lld, %lld, global %lld", (long long)p->window_left,
            (long long)p->window_right, (long long)p->global_tokens);
    }
}

void outcome_create(outcome *result, const problem *p) {
    result->out = test_allocate(out_elements(p) * (int64_t)sizeof(float));
    result->lse = test_allocate(lse_elements(p) * (int64_t)sizeof(float));
}

void outcome_free(outcome *result) {
    free(result->out);
    free(result->lse);
}

bool same_bits(const float *a, const float *b, int64_t count) {
    return count == 0 || memcmp(a, b, (size_t)count * sizeof(float)) == 0;
}

static void find_difference(const char *what, const char *tensor, const float *a, const float *b, int64_t count) {
    int64_t differing = 0;
    int64_t first = -1;
    for (int64_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof(float)) != 0) {
            first = first < 0 ? i : first;
            differing++;
        }
    }
    if (differing > 0) {
        test_fail(__FILE__, __LINE__, "%s: %lld of %lld elements of %s differ in bits, first [%lld]: %.9g and %.9g",
            what, (long long)differing, (long long)count, tensor, (long long)first, (double)a[first], (double)b[first]);
    }
}

void check_same_bits(const problem *p, const outcome *a, const outcome *b, const char *what) {
    find_difference(what, "out", a->out, b->out, out_elements(p));
    if (a->lse != NULL && b->lse != NULL) {
        find_difference(what, "lse", a->lse, b->lse, lse_elements(p));
    }
}
