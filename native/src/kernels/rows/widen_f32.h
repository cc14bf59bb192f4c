/*
 * Rows of 16-bit floats as floats: part of rows_f32_<tier>.c, after integers_<tier>.h.
 *
 * Axes: from [rows][dim], strided; to [rows][dim], one row after the other.
 */

static void widen_bf16(const uint16_t *from, int64_t dim, uint32_t *bits) {
    for (int64_t i = 0; i < dim; i++)
        bits[i] = (uint32_t)from[i] << 16;
}

static void widen_f16(const uint16_t *from, int64_t dim, float *to) {
    int64_t i = 0;
    for (; i + VW <= dim; i += VW)
        v_store(to + i, v_from_f16(from + i));
    if (i < dim) {
        uint16_t rest[VW] = {0};
        memcpy(rest, from + i, (size_t)(dim - i) * sizeof *rest);
        v_store_some(to + i, v_from_f16(rest), (int32_t)(dim - i));
    }
}

void KERNEL(widen_f32)(const void *from, int64_t row, int64_t rows, int64_t dim, int32_t dtype, float *to) {
    const uint16_t *half = from;
    for (int64_t r = 0; r < rows; r++, half += row, to += dim) {
        if (dtype == GATUN_DTYPE_BF16)
            widen_bf16(half, dim, (uint32_t *)(void *)to);
        else
            widen_f16(half, dim, to);
    }
}
