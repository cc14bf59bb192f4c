#include "internal.h"

static int32_t measure(gatun__peak_kernel *peak, int64_t nanoseconds, double *flops_per_second) {
    if (flops_per_second == NULL)
        return GATUN_E_NULL;
    if (nanoseconds < 1000 || nanoseconds > 10000000000)
        return GATUN_E_INVALID;
    const int64_t steps = 100; /* below a microsecond on any CPU, above the clock's resolution */
    double flops = 0;
    int64_t begin = gatun__nanoseconds(), elapsed;
    do {
        for (int i = 0; i < 8; i++) {
            float io[2] = {1.0f, 0.0f};
            flops += (double)steps * peak(steps, io);
        }
        elapsed = gatun__nanoseconds() - begin;
    } while (elapsed < nanoseconds);
    *flops_per_second = flops / ((double)elapsed * 1e-9);
    return GATUN_OK;
}

int32_t gatun_peak_f32(const gatun_context *context, int64_t nanoseconds, double *flops_per_second) {
    TRY(gatun__context_usable(context));
    return measure(context->kernels->peak_f32, nanoseconds, flops_per_second);
}

int32_t gatun_packed_linear_peak(
    const gatun_context *context, int32_t format, int64_t nanoseconds, double *operations_per_second) {
    TRY(gatun__context_usable(context));
    if (!gatun__format_is_known(format))
        return GATUN_E_INVALID;
    const gatun__kernels *kernels = context->kernels, *tier = gatun__kernels_of(kernels->tier);
    gatun__peak_kernel *peak = kernels->peak_f32;
    if (format == GATUN_WEIGHTS_BF16 && kernels->peak_bf16 != NULL)
        peak = kernels->peak_bf16;
    if (format == GATUN_WEIGHTS_I8)
        peak = kernels->peak_i8;
    /* Not every feature with a kernel of int8 has one of blocks. */
    if (format == GATUN_WEIGHTS_Q8_0 || format == GATUN_WEIGHTS_Q4_0) {
        gatun__kernels blocks = *tier;
        gatun__kernels_extend(&blocks, context->features & ~(uint32_t)GATUN_FEATURE_AMX_INT8);
        peak = blocks.linear_q8_0 == tier->linear_q8_0 ? tier->peak_i8 : blocks.peak_i8;
    }
    return measure(peak, nanoseconds, operations_per_second);
}
