/*
 * The depthwise causal convolution in float32, for every tier. Included once by each scan_<tier>.c after its vectors.
 *
 * Axes: R rows of a sequence, K channels of a task, W width. x and out [R][K] of wider rows, weight [K][W], state [W - 1][K] of wider
 * rows. Lanes are channels; a sum is one chain over W, the oldest row first. Bound by memory: rows of x are read from L1 W times. Registers: a
 * sum. Tiles: CONVOLUTION_CHANNELS channels, two lines of a row, with their weights turned, of every vector [W][VW], on the stack (2 KiB).
 */
#include "gatun.h"
#include "kernels.h"

#include "../vectors/activations_f32.h"
#include "turn_f32.h"

#include <stddef.h>

INLINE vec activated(int32_t activation, vec x) {
    switch (activation) {
    case GATUN_ACTIVATION_RELU:
        return activate(GATUN_ACTIVATION_RELU, x);
    case GATUN_ACTIVATION_GELU:
        return activate(GATUN_ACTIVATION_GELU, x);
    case GATUN_ACTIVATION_GELU_TANH:
        return activate(GATUN_ACTIVATION_GELU_TANH, x);
    case GATUN_ACTIVATION_SILU:
        return activate(GATUN_ACTIVATION_SILU, x);
    case GATUN_ACTIVATION_QUICK_GELU:
        return activate(GATUN_ACTIVATION_QUICK_GELU, x);
    default:
        return x;
    }
}

/* Row `row` of a sequence whose x begins at x; below 0 that of the state, or NULL = zeros. */
INLINE const float *row_of(const gatun__convolution_task *t, const float *x, const float *state, int64_t row) {
    if (row >= 0)
        return x + row * t->x_row;
    return state == NULL ? NULL : state + (t->width - 1 + row) * t->channels;
}

static void convolve(const gatun__convolution_task *t, const float *weight, const float *x, const float *state,
    int64_t rows, float *out) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = t->channel_begin, o = 0; i < t->channel_end; i += VW, o += VW) {
            const int64_t count = t->channel_end - i;
            vec sum = t->bias == NULL ? v_zero() : load_up_to(t->bias + i, count);
            for (int64_t w = 0; w < t->width; w++) {
                const float *in = row_of(t, x, state, r - t->width + 1 + w);
                const vec value = in == NULL ? v_zero() : load_up_to(in + i, count);
                sum = v_fma(v_load(weight + o * t->width + w * VW), value, sum);
            }
            store_up_to(out + r * t->out_row + i, activated(t->activation, sum), count);
        }
    }
}

/* The last width - 1 rows of the state and the sequence behind it, from the oldest on, so that a row is read before it is written. */
static void keep_rows(const gatun__convolution_task *t, const float *x, int64_t rows, float *state) {
    for (int64_t n = 0; n < t->width - 1; n++) {
        const float *from = row_of(t, x, state, rows - (t->width - 1) + n);
        for (int64_t i = t->channel_begin; i < t->channel_end; i += VW)
            store_up_to(state + n * t->channels + i, load_up_to(from + i, t->channel_end - i), t->channel_end - i);
    }
}

void KERNEL(causal_convolution_f32)(const gatun__convolution_task *t) {
    float weight[GATUN__CONVOLUTION_MOST_WIDTH * GATUN__CONVOLUTION_CHANNELS];
    for (int64_t i = t->channel_begin; i < t->channel_end; i += VW)
        turn_in(t->weight + i * t->width, t->channel_end - i, t->width, v_set1(1.0f),
            weight + (i - t->channel_begin) * t->width, v_zero());
    for (int64_t n = t->begin; n < t->end; n++) {
        int64_t end;
        const int64_t begin = gatun__sequence_at(&t->sequences, n, &end);
        float *state = t->state == NULL ? NULL : t->state + n * t->state_row;
        if (begin == end)
            continue;
        const float *x = t->x + begin * t->x_row;
        convolve(t, weight, x, state, end - begin, t->out + begin * t->out_row);
        if (state != NULL)
            keep_rows(t, x, end - begin, state);
    }
}
