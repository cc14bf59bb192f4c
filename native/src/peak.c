#include "internal.h"

int32_t gatun_peak_f32(const gatun_context *context, int64_t nanoseconds, double *flops_per_second) {
    int32_t status = gatun__context_usable(context);
    if (status != GATUN_OK)
        return status;
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
            flops += (double)steps * context->kernels->peak_f32(steps, io);
        }
        elapsed = gatun__nanoseconds() - begin;
    } while (elapsed < nanoseconds);
    *flops_per_second = flops / ((double)elapsed * 1e-9);
    return GATUN_OK;
}
