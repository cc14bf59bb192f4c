/* Descriptors, pointers and overlaps that gatun_selective_scan and gatun_causal_convolution refuse, and that nothing is written then. */
#include <stddef.h>
#include <string.h>

#include "rows.h"
#include "suites.h"

enum { BATCH = 2, SEQ = 3, ROWS = BATCH * SEQ, K = 6, N = 4, W = 3, WIDE = K + 2, SIZE = ROWS * WIDE };

static struct {
    _Alignas(64) char workspace[4 << 20];
    float x[SIZE], delta[SIZE], z[SIZE], b[SIZE], c[SIZE], a[K * N], d[K], bias[K], weight[K * W];
    int32_t offsets[BATCH + 1];
    float state[BATCH * K * N], y[SIZE];
} memory;

/* Arguments of both calls; those of the other function are not looked at. */
typedef struct arguments {
    gatun_selective_scan_desc scan;
    gatun_causal_convolution_desc convolution;
    void *workspace;
    int64_t workspace_bytes;
    const float *x, *delta, *a, *b, *c, *d, *bias, *z, *weight;
    const int32_t *offsets;
    float *state, *y;
} arguments;

static arguments good(void) {
    memset(&memory, 0, sizeof memory);
    memset(memory.y, 0x5a, sizeof memory.y);
    memset(memory.state, 0x5a, sizeof memory.state);
    return (arguments){.scan = {.struct_size = sizeof(gatun_selective_scan_desc),
                           .flags = GATUN_SCAN_SOFTPLUS,
                           .batch = BATCH,
                           .seq = SEQ,
                           .channels = K,
                           .states = N,
                           .x_row = WIDE,
                           .delta_row = WIDE,
                           .b_row = WIDE,
                           .c_row = WIDE,
                           .z_row = WIDE,
                           .y_row = WIDE,
                           .state_row = K * N},
        .convolution = {.struct_size = sizeof(gatun_causal_convolution_desc),
            .batch = BATCH,
            .seq = SEQ,
            .channels = K,
            .width = W,
            .x_row = WIDE,
            .out_row = WIDE,
            .state_row = (W - 1) * K},
        .workspace = memory.workspace,
        .workspace_bytes = sizeof memory.workspace,
        .x = memory.x,
        .delta = memory.delta,
        .a = memory.a,
        .b = memory.b,
        .c = memory.c,
        .d = memory.d,
        .bias = memory.bias,
        .z = memory.z,
        .weight = memory.weight,
        .state = memory.state,
        .y = memory.y};
}

static int32_t call(bool scan, const arguments *g) {
    gatun_context *context = shared_context(GATUN_TIER_AUTO);
    return scan ? gatun_selective_scan(context, &g->scan, g->workspace, g->workspace_bytes, g->x, g->delta, g->a, g->b,
                      g->c, g->d, g->bias, g->z, g->offsets, g->state, g->y)
                : gatun_causal_convolution(
                      context, &g->convolution, g->x, g->weight, g->bias, g->offsets, g->state, g->y);
}

static void expect(bool scan, const arguments *g, int32_t status, const char *what) {
    const int32_t got = call(scan, g);
    CHECK(got == status, "%s, %s: expected %s, got %s", scan ? "scan" : "convolution", what,
        gatun_status_string(status), gatun_status_string(got));
    bool written = false;
    for (size_t i = 0; i < sizeof memory.y; i++) {
        written |= ((const uint8_t *)memory.y)[i] != 0x5a;
    }
    for (size_t i = 0; i < sizeof memory.state; i++) {
        written |= ((const uint8_t *)memory.state)[i] != 0x5a;
    }
    CHECK(!written, "%s, %s: an output was written", scan ? "scan" : "convolution", what);
}

typedef struct bad_member {
    bool scan;
    const char *name;
    size_t offset, size;
    int64_t value;
    int32_t status;
} bad_member;

#define BAD_SCAN(member, value, status)                                                                                \
    {                                                                                                                  \
        true, #member, offsetof(gatun_selective_scan_desc, member), sizeof(((gatun_selective_scan_desc *)0)->member),  \
            value, status                                                                                              \
    }
#define BAD_CONVOLUTION(member, value, status)                                                                         \
    {                                                                                                                  \
        false, #member, offsetof(gatun_causal_convolution_desc, member),                                               \
            sizeof(((gatun_causal_convolution_desc *)0)->member), value, status                                        \
    }
#define BAD_BOTH(member, value, status) BAD_SCAN(member, value, status), BAD_CONVOLUTION(member, value, status)

static const bad_member bad_members[] = {
    BAD_BOTH(struct_size, 0, GATUN_E_VERSION),
    BAD_BOTH(struct_size, UINT32_MAX, GATUN_E_VERSION),
    BAD_SCAN(flags, 2, GATUN_E_INVALID),
    BAD_CONVOLUTION(flags, 1, GATUN_E_INVALID),
    BAD_BOTH(batch, -1, GATUN_E_INVALID),
    BAD_BOTH(batch, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD_BOTH(batch, INT32_MAX, GATUN_E_INVALID),
    BAD_BOTH(seq, -1, GATUN_E_INVALID),
    BAD_BOTH(seq, INT32_MAX, GATUN_E_INVALID),
    BAD_BOTH(seq, INT64_MAX, GATUN_E_INVALID),
    BAD_BOTH(channels, 0, GATUN_E_INVALID),
    BAD_BOTH(channels, INT64_MIN, GATUN_E_INVALID),
    BAD_BOTH(channels, WIDE + 1, GATUN_E_INVALID),
    BAD_SCAN(states, 0, GATUN_E_INVALID),
    BAD_SCAN(states, 257, GATUN_E_INVALID),
    BAD_SCAN(states, WIDE + 1, GATUN_E_INVALID),
    BAD_CONVOLUTION(width, 0, GATUN_E_INVALID),
    BAD_CONVOLUTION(width, 17, GATUN_E_INVALID),
    BAD_BOTH(x_row, K - 1, GATUN_E_INVALID),
    BAD_BOTH(x_row, INT64_MAX, GATUN_E_INVALID),
    BAD_SCAN(delta_row, K - 1, GATUN_E_INVALID),
    BAD_SCAN(delta_row, -WIDE, GATUN_E_INVALID),
    BAD_SCAN(b_row, N - 1, GATUN_E_INVALID),
    BAD_SCAN(c_row, N - 1, GATUN_E_INVALID),
    BAD_SCAN(z_row, K - 1, GATUN_E_INVALID),
    BAD_SCAN(z_row, INT64_C(1) << 31, GATUN_E_INVALID),
    BAD_SCAN(y_row, 0, GATUN_E_INVALID),
    BAD_CONVOLUTION(out_row, K - 1, GATUN_E_INVALID),
    BAD_CONVOLUTION(activation, -1, GATUN_E_INVALID),
    BAD_CONVOLUTION(activation, 6, GATUN_E_INVALID),
    BAD_SCAN(state_row, K *N - 1, GATUN_E_INVALID),
    BAD_CONVOLUTION(state_row, (W - 1) * K - 1, GATUN_E_INVALID),
    BAD_BOTH(state_row, INT64_MAX, GATUN_E_INVALID),
    BAD_BOTH(max_threads, -1, GATUN_E_INVALID),
    BAD_SCAN(reserved0, 1, GATUN_E_VERSION),
    BAD_BOTH(reserved, 1, GATUN_E_VERSION),
    BAD_SCAN(reserved[6], 1, GATUN_E_VERSION),
};

static void members(void) {
    for (size_t n = 0; n < sizeof bad_members / sizeof *bad_members; n++) {
        const bad_member *bad = &bad_members[n];
        arguments g = good();
        char *desc = bad->scan ? (char *)&g.scan : (char *)&g.convolution;
        const int32_t narrow = (int32_t)bad->value;
        memcpy(desc + bad->offset, bad->size == 4 ? (const void *)&narrow : (const void *)&bad->value,
            bad->size == 4 ? 4 : sizeof bad->value);
        expect(bad->scan, &g, bad->status, bad->name);
    }
    int64_t bytes;
    CHECK_STATUS(gatun_selective_scan_workspace_size(shared_context(GATUN_TIER_AUTO), NULL, &bytes), GATUN_E_NULL);
    const arguments g = good();
    CHECK_STATUS(gatun_selective_scan_workspace_size(shared_context(GATUN_TIER_AUTO), &g.scan, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_selective_scan_workspace_size(NULL, &g.scan, &bytes), GATUN_E_NULL);
    CHECK_STATUS(gatun_causal_convolution(NULL, &g.convolution, g.x, g.weight, NULL, NULL, NULL, g.y), GATUN_E_NULL);
    CHECK_STATUS(gatun_causal_convolution(shared_context(GATUN_TIER_AUTO), NULL, g.x, g.weight, NULL, NULL, NULL, g.y),
        GATUN_E_NULL);
}

/* Each pointer missing, where it is needed, and off its alignment. */
static void pointers(void) {
    static const struct {
        const char *name;
        size_t offset;
        bool scan, convolution, needed;
    } all[] = {
#define POINTER(member, scan, convolution, needed) {#member, offsetof(arguments, member), scan, convolution, needed}
        POINTER(x, true, true, true), POINTER(delta, true, false, true), POINTER(a, true, false, true),
        POINTER(b, true, false, true), POINTER(c, true, false, true), POINTER(d, true, false, false),
        POINTER(bias, true, true, false), POINTER(z, true, false, false), POINTER(weight, false, true, true),
        POINTER(state, true, true, false), POINTER(y, true, true, true), POINTER(workspace, true, false, true)};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        for (int scan = 0; scan < 2; scan++) {
            if (!(scan ? all[n].scan : all[n].convolution)) {
                continue;
            }
            arguments g = good();
            char *place = (char *)&g + all[n].offset, *pointer;
            memcpy(&pointer, place, sizeof pointer);
            char *const odd = pointer + 2, *const none = NULL;
            memcpy(place, &odd, sizeof odd);
            expect(scan, &g, GATUN_E_ALIGNMENT, all[n].name);
            memcpy(place, &none, sizeof none);
            if (all[n].needed) {
                expect(scan, &g, GATUN_E_NULL, all[n].name);
            }
        }
    }
    arguments g = good();
    int64_t bytes = 0;
    CHECK_STATUS(gatun_selective_scan_workspace_size(shared_context(GATUN_TIER_AUTO), &g.scan, &bytes), GATUN_OK);
    g.workspace_bytes = bytes - 1;
    expect(true, &g, GATUN_E_WORKSPACE, "workspace_size");
    /* Nothing to compute: nothing is read or written. */
    g = good();
    g.scan.batch = g.convolution.seq = 0;
    expect(true, &g, GATUN_OK, "no sequences");
    expect(false, &g, GATUN_OK, "no rows");
}

static void offsets(void) {
    for (int scan = 0; scan < 2; scan++) {
        arguments g = good();
        g.offsets = memory.offsets;
        expect(scan, &g, GATUN_E_INVALID, "seq beside cu_seqlens");
        g.scan.seq = g.convolution.seq = 0;
        memory.offsets[0] = -1;
        expect(scan, &g, GATUN_E_INDEX, "negative offsets");
        memory.offsets[0] = 1;
        memory.offsets[1] = 3;
        memory.offsets[2] = 2;
        expect(scan, &g, GATUN_E_INDEX, "falling offsets");
        g.offsets = (const int32_t *)(const void *)((const char *)memory.offsets + 2);
        expect(scan, &g, GATUN_E_ALIGNMENT, "offsets");
    }
}

static void overlaps(void) {
    arguments g;
#define OVERLAP(scan_, change)                                                                                         \
    g = good();                                                                                                        \
    change;                                                                                                            \
    expect(scan_, &g, GATUN_E_OVERLAP, #change)
    OVERLAP(true, g.x = memory.y + 1);
    OVERLAP(true, g.x = memory.y; g.scan.x_row = WIDE - 1);
    OVERLAP(true, g.delta = memory.y + WIDE);
    OVERLAP(true, g.z = memory.y + 2);
    OVERLAP(true, g.b = memory.y);
    OVERLAP(true, g.c = memory.y + 5);
    OVERLAP(true, g.a = memory.y);
    OVERLAP(true, g.d = memory.y + 1);
    OVERLAP(true, g.bias = memory.y);
    OVERLAP(true, g.state = memory.y + 3);
    OVERLAP(true, g.a = memory.state + 1);
    OVERLAP(true, g.x = memory.state);
    OVERLAP(true, g.d = memory.state + 8);
    OVERLAP(true, g.x = (const float *)(const void *)memory.workspace);
    OVERLAP(true, g.b = (const float *)(const void *)memory.workspace);
    OVERLAP(true, g.state = (float *)(void *)memory.workspace);
    OVERLAP(true, g.y = (float *)(void *)memory.workspace);
    OVERLAP(false, g.x = memory.y);
    OVERLAP(false, g.x = memory.y + 1);
    OVERLAP(false, g.weight = memory.y);
    OVERLAP(false, g.bias = memory.y + 2);
    OVERLAP(false, g.state = memory.y);
    OVERLAP(false, g.x = memory.state);
    OVERLAP(false, g.weight = memory.state + 2);
    /* The offsets may not be written either. */
    for (int scan = 0; scan < 2; scan++) {
        g = good();
        g.scan.seq = g.convolution.seq = 0;
        memory.offsets[2] = ROWS;
        g.offsets = memory.offsets;
        memset(memory.y, 0, 12);
        g.offsets = (const int32_t *)(const void *)memory.y;
        ((int32_t *)(void *)memory.y)[2] = ROWS;
        const int32_t got = call(scan, &g);
        CHECK(got == GATUN_E_OVERLAP, "offsets in y: got %s", gatun_status_string(got));
    }
    /* In one buffer, rows of x, z and y side by side. */
    g = good();
    static float fused[ROWS * 3 * K];
    g.x = fused;
    g.z = fused + K;
    g.y = fused + 2 * K;
    g.scan.x_row = g.scan.z_row = g.scan.y_row = 3 * K;
    CHECK_STATUS(call(true, &g), GATUN_OK);
}

const test_case scan_refused_tests[] = {
    {"members", members}, {"pointers", pointers}, {"offsets", offsets}, {"overlaps", overlaps}, {NULL, NULL}};
