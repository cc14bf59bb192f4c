#include "reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

bool reference_of_bf16;

static int64_t keys_of(const problem *p, int64_t b) {
    return p->key_lengths != NULL ? p->key_lengths[b] : p->seq_k;
}

static int64_t rows_of(const problem *p, int64_t b) {
    return p->query_lengths != NULL ? p->query_lengths[b] : p->seq_q;
}

/* Row i of its batch row stands at key i + keys - rows, or at key i, unless it has a position of its own. */
static int64_t position_of(const problem *p, int64_t b, int64_t i) {
    if (p->positions != NULL) {
        return p->positions[b * p->seq_q + i];
    }
    return p->causal == GATUN_CAUSAL_TOP_LEFT ? i : i + keys_of(p, b) - rows_of(p, b);
}

static int64_t element(const int64_t stride[4], int64_t b, int64_t h, int64_t i, int64_t j) {
    return b * stride[0] + h * stride[1] + i * stride[2] + j * stride[3];
}

/* Whether row i of b and h, below its length, sees key j. */
static bool sees(const problem *p, int64_t b, int64_t h, int64_t i, int64_t j) {
    int64_t at = position_of(p, b, i);
    if (p->causal != GATUN_CAUSAL_NONE && j > at && !(p->prefix != NULL && j < p->prefix[b])) {
        return false;
    }
    if (p->windowed && j >= p->global_tokens && (at < 0 || at >= p->global_tokens)) {
        if ((p->window_left >= 0 && j < at - p->window_left) || (p->window_right >= 0 && j > at + p->window_right)) {
            return false;
        }
    }
    if (p->segments_q != NULL && p->segments_q[b * p->seq_q + i] != p->segments_k[b * p->seq_k + j]) {
        return false;
    }
    if (p->mask != NULL && p->mask[element(p->mask_stride, b, h, i, j)] == 0) {
        return false;
    }
    return p->block_mask == NULL || p->block_mask[element(p->block_stride, b, h, i / p->block_q, j / p->block_k)] != 0;
}

static bool is_biased(const problem *p) {
    return p->alibi_slopes != NULL || p->relative_table != NULL || p->bias != NULL;
}

/* What is added to the scaled score of key j. */
static double bias_of(const problem *p, int64_t b, int64_t h, int64_t i, int64_t j) {
    int64_t distance = j - position_of(p, b, i);
    double bias = p->bias == NULL ? 0 : (double)p->bias[element(p->bias_stride, b, h, i, j)];
    if (bias == -HUGE_VAL) {
        return bias; /* masks its entry: other biases of that reach nobody */
    }
    if (p->alibi_slopes != NULL) {
        bias -= (double)p->alibi_slopes[h] * fabs((double)distance);
    }
    if (p->relative_table != NULL) {
        int64_t span = p->relative_span;
        int64_t clamped = distance < -span ? -span : distance > span ? span : distance;
        bias += (double)p->relative_table[h * (2 * span + 1) + span + clamped];
    }
    return bias;
}

/* Four sums at a time, for speed; in double their order is of no account. */
static double dot(const float *a, const float *b, int64_t n, double *magnitude) {
    double sum[4] = {0};
    double size[4] = {0};
    int64_t d = 0;
    for (; d + 4 <= n; d += 4) {
        for (int lane = 0; lane < 4; lane++) {
            double product = (double)a[d + lane] * (double)b[d + lane];
            sum[lane] += product;
            size[lane] += fabs(product);
        }
    }
    for (; d < n; d++) {
        double product = (double)a[d] * (double)b[d];
        sum[0] += product;
        size[0] += fabs(product);
    }
    *magnitude = (size[0] + size[1]) + (size[2] + size[3]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/*
 * The same sum without the products that are infinite: they may overflow in float, and then the score is not -inf
 * there.
 */
static double finite_magnitude(const float *a, const float *b, int64_t n) {
    double size = 0;
    for (int64_t d = 0; d < n; d++) {
        double product = fabs((double)a[d] * (double)b[d]);
        size += isfinite(product) ? product : 0;
    }
    return size;
}

static void row_is_nan(double *out, int64_t n, row_bound *row) {
    for (int64_t d = 0; d < n; d++) {
        out[d] = NAN;
    }
    row->lse = NAN;
}

/* One row, i of b and h: all scores, then the softmax in two passes. score has room for keys elements. */
static void reference_row(const problem *p, int64_t b, int64_t h, int64_t i, const float *q, const float *k,
    const float *v, double *score, double *out, row_bound *row) {
    int64_t keys = i < rows_of(p, b) ? keys_of(p, b) : 0;
    bool biased = is_biased(p);
    int64_t k_stride = p->kv_heads * p->head_dim;
    int64_t v_stride = p->kv_heads * p->head_dim_v;
    double scale = p->scaled ? (double)p->scale : 1 / sqrt((double)p->head_dim);
    double greatest = -HUGE_VAL;
    double greatest_bias = 0;
    memset(out, 0, sizeof *out * (size_t)p->head_dim_v);
    *row = (row_bound){.lse = -INFINITY};
    for (int64_t j = 0; j < keys; j++) {
        double magnitude;
        if (!sees(p, b, h, i, j)) {
            score[j] = -HUGE_VAL;
            continue;
        }
        score[j] = scale * dot(q, k + j * k_stride, p->head_dim, &magnitude);
        if (p->softcap > 0) {
            score[j] = (double)p->softcap * tanh(score[j] / (double)p->softcap);
        }
        double bias = biased ? bias_of(p, b, h, i, j) : 0;
        score[j] = bias == -HUGE_VAL ? bias : score[j] + bias;
        if (isnan(score[j]) || score[j] == HUGE_VAL) {
            row_is_nan(out, p->head_dim_v, row);
            return;
        }
        if (score[j] != -HUGE_VAL) {
            row->keys++;
            row->score = fmax(row->score, fabs(scale) * magnitude);
            row->product = fmax(row->product, fmax(magnitude, fabs(bias)));
            greatest_bias = fmax(greatest_bias, fabs(bias));
            greatest = fmax(greatest, score[j]);
        } else {
            double magnitude_there = finite_magnitude(q, k + j * k_stride, p->head_dim);
            row->product = fmax(row->product, fmax(1, fabs(scale)) * magnitude_there);
        }
    }
    double sink = p->sinks != NULL && i < rows_of(p, b) ? (double)p->sinks[h] : -HUGE_VAL;
    if (isnan(sink) || sink == HUGE_VAL) {
        row_is_nan(out, p->head_dim_v, row);
        return;
    }
    if (row->keys == 0) {
        row->lse = sink;
        return;
    }
    greatest = fmax(greatest, sink);
    double sum = sink == -HUGE_VAL ? 0 : exp(sink - greatest);
    double bias_sum = sink == -HUGE_VAL ? 0 : sum * fabs(sink);
    greatest_bias += sink == -HUGE_VAL ? 0 : fabs(sink);
    for (int64_t j = 0; j < keys; j++) {
        if (score[j] == -HUGE_VAL) {
            continue;
        }
        double prob = exp(score[j] - greatest);
        bias_sum += biased ? prob * fabs(bias_of(p, b, h, i, j)) : 0;
        const float *value = v + j * v_stride;
        double largest = 0;
        sum += prob;
        for (int64_t d = 0; d < p->head_dim_v; d++) {
            /* Inf times a probability of 0 may be Inf: it was more than 0 beside the keys before it */
            out[d] += prob == 0 && isinf(value[d]) ? (double)value[d] : prob * (double)value[d];
            double size = fabs((double)value[d]);
            largest = size > largest && size <= (double)FLT_MAX ? size : largest;
        }
        row->value = fmax(row->value, largest);
    }
    for (int64_t d = 0; d < p->head_dim_v; d++) {
        out[d] /= sum;
    }
    row->lse = greatest + log(sum);
    /* gatun.h has the greatest |bias|; an error of a score counts by the prob of its key, twice where the value
     * differs in sign from the result */
    row->score += fmin(greatest_bias, 2 * bias_sum / sum);
    row->bias = greatest_bias;
}

void expected_create(expected *want, const problem *p) {
    int64_t rows = p->batch * p->heads * p->seq_q;
    want->out = test_allocate(rows * p->head_dim_v * (int64_t)sizeof *want->out);
    want->row = test_allocate(rows * (int64_t)sizeof *want->row);
    double *score = test_allocate(p->seq_k * (int64_t)sizeof *score);
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->heads; h++) {
            int64_t g = h / (p->heads / p->kv_heads);
            const float *k = p->k + (b * p->seq_k * p->kv_heads + g) * p->head_dim;
            const float *v = p->v + (b * p->seq_k * p->kv_heads + g) * p->head_dim_v;
            for (int64_t i = 0; i < p->seq_q; i++) {
                int64_t at = (b * p->seq_q + i) * p->heads + h;
                reference_row(
                    p, b, h, i, p->q + at * p->head_dim, k, v, score, want->out + at * p->head_dim_v, &want->row[at]);
            }
        }
    }
    free(score);
}

void expected_destroy(expected *want) {
    free(want->out);
    free(want->row);
}

/*
 * A score is a chain of at most head_dim float roundings, each of at most 2^-24 of a partial sum that is itself at
 * most S: head_dim / 2 * 2^-24 * S is the mean of a chain whose partial sums grow evenly, and 8 covers scale, the
 * exponential's argument and the lanes' tree. On values drawn from a distribution the roundings have random signs
 * and most of them cancel, so that 8 alone is enough. An error e of a score moves its prob by the factor exp(e),
 * and so the output by at most e * max|v|; the constant 2e-6 (17 units in the last place) is for the exponential,
 * the sum of the probs and the sum of values times probs, whose bias must not grow with the number of keys. Below
 * the least normal number float has absolute steps of 2^-149, one half for each addition.
 */
static double score_error(const problem *p, const row_bound *row) {
    double constant = p->random_values ? 8 : 8 + (double)p->head_dim / 2;
    return constant * 0x1p-24 * row->score;
}

/*
 * With products of bf16 an element is rounded by at most 2^-8 of itself: two of them, and what is left to 0.008, for scores
 * (queries and keys) and for the output (probs and values); and tiles are added up in float.
 */
static double bf16_error(const row_bound *row, double times_score) {
    return reference_of_bf16 ? 0.008 * times_score + (double)row->keys * 0x1p-31 : 0;
}

double bound_out(const problem *p, const row_bound *row) {
    const double of_bf16 =
        bf16_error(row, 1 + row->score) * row->value + (reference_of_bf16 ? (double)row->keys * 0x1p-126 : 0);
    return of_bf16 + (2e-6 + score_error(p, row)) * row->value + (double)row->keys * 0x1p-150 + 0x1p-149;
}

double bound_lse(const problem *p, const row_bound *row) {
    return 1e-5 + 1e-6 * fabs(row->lse) + score_error(p, row) + bf16_error(row, row->score);
}

bool row_overflows(const row_bound *row) {
    double limit = (double)FLT_MAX / 4;
    return row->score > limit || row->product > limit || row->value * (double)row->keys > limit;
}

static bool matches(double got, double want, double bound, double *worst) {
    if (isnan(want)) {
        return isnan(got);
    }
    if (isinf(want)) {
        return !isfinite(got); /* an infinite value: whether Inf or NaN comes out is not promised */
    }
    double error = fabs(got - want);
    if (!(error <= bound)) {
        *worst = INFINITY;
        return false;
    }
    *worst = fmax(*worst, error / bound);
    return true;
}

double compare_outcome(const problem *p, const expected *want, const outcome *got, const char *what) {
    double worst = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->heads; h++) {
            for (int64_t i = 0; i < p->seq_q; i++) {
                int64_t at = (b * p->seq_q + i) * p->heads + h;
                const row_bound *row = &want->row[at];
                if (row_overflows(row)) {
                    continue;
                }
                if (got->lse != NULL) {
                    double lse = (double)got->lse[at];
                    bool same = isinf(row->lse) ? lse == row->lse : matches(lse, row->lse, bound_lse(p, row), &worst);
                    if (!same) {
                        test_fail(__FILE__, __LINE__,
                            "%s: lse[b=%lld][i=%lld][h=%lld]: expected %.9g +- %.3g, got %.9g (row has %lld keys, S = "
                            "%g)",
                            what, (long long)b, (long long)i, (long long)h, row->lse, bound_lse(p, row), lse,
                            (long long)row->keys, row->score);
                        return INFINITY;
                    }
                }
                double bound = row->keys == 0 ? 0 : bound_out(p, row);
                for (int64_t d = 0; d < p->head_dim_v; d++) {
                    double out = (double)got->out[at * p->head_dim_v + d];
                    if (!matches(out, want->out[at * p->head_dim_v + d], bound, &worst)) {
                        test_fail(__FILE__, __LINE__,
                            "%s: out[b=%lld][i=%lld][h=%lld][d=%lld]: expected %.9g +- %.3g, got %.9g "
                            "(row has %lld keys, S = %g, max|v| = %g)",
                            what, (long long)b, (long long)i, (long long)h, (long long)d,
                            want->out[at * p->head_dim_v + d], bound, out, (long long)row->keys, row->score,
                            row->value);
                        return INFINITY;
                    }
                }
            }
        }
    }
    return worst;
}

double product_exact(
    const gatun_sgemm_desc *desc, const float *a, const float *b, int64_t i, int64_t j, double *magnitude) {
    bool ta = (desc->flags & GATUN_SGEMM_TRANSPOSE_A) != 0;
    bool tb = (desc->flags & GATUN_SGEMM_TRANSPOSE_B) != 0;
    double sum = 0;
    *magnitude = 0;
    for (int64_t x = 0; x < desc->k; x++) {
        double term = (double)a[ta ? x * desc->lda + i : i * desc->lda + x] *
                      (double)b[tb ? j * desc->ldb + x : x * desc->ldb + j];
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

double activation_exact(int32_t kind, double x) {
    switch (kind) {
    case GATUN_ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case GATUN_ACTIVATION_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case GATUN_ACTIVATION_GELU_TANH:
        /* 1 + tanh(y) is 2 / (1 + exp(-2 y)) */
        return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case GATUN_ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case GATUN_ACTIVATION_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    default:
        return x;
    }
}
