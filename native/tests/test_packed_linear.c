/*
 * gatun_packed_linear against a double reference: every tier, format and tail, with everything in guarded memory; and its bits,
 * which depend on nothing but a row and a column. Checks of packed bytes: test_packed_weights.c.
 */
#include "packed_layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"
#include "suites.h"

static void check_shape(const layer_shape *s, const kernel_set *set) {
    layer l = layer_create(s, set);
    test_note("%s", l.name);
    static const int32_t threads[] = {1, 2, SHARED_THREADS, 0};
    float *first = NULL;
    for (int t = 0; t < 4; t++) {
        REQUIRE_STATUS(layer_run(&l, threads[t]), GATUN_OK);
        if (t == 0) {
            layer_check(&l);
            first = copy_of(&l.out);
        }
        CHECK(only_elements_written(&l.out, first) && memcmp(first, l.out.data, (size_t)l.out.memory.bytes) == 0,
            "%s: other bits with %d threads", l.name, (int)threads[t]);
        CHECK(guarded_intact(&l.out.memory) && guarded_intact(&l.workspace),
            "%s: memory was written that is not its own", l.name);
    }
    free(first);
    layer_destroy(&l);
    test_note("%s", "");
}

static void for_all(void (*run)(const kernel_set *set, int32_t format)) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    for (int n = 0; n < count; n++) {
        for (int32_t format = 1; format <= LAST_WEIGHTS; format++) {
            run(&sets[n], format);
        }
    }
}

/* Every number of rows of a last tile, every end of a panel and of a vector, depths around a chain and around pairs and fours. */
static void tails_of(const kernel_set *set, int32_t format) {
    static const int64_t ins[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 100};
    static const int64_t outs[] = {
        1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 150};
    int64_t number = 0;
    for (int64_t rows = 1; rows <= 19; rows++) {
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++) {
            const int64_t in = ins[(size_t)number % (sizeof ins / sizeof *ins)];
            if (number++ % (test_light() ? 17 : 1) != 0 || !test_wants_case(number)) {
                continue;
            }
            check_shape(&(layer_shape){.format = format,
                            .rows = rows,
                            .in = in,
                            .out = outs[o],
                            .gap = number % 3,
                            .activation = (int32_t)(number % 6),
                            .biased = number % 4 != 0,
                            .gated = number % 5 == 0,
                            .residual = number % 3 == 0,
                            .from_columns = number % 2 == 0},
                set);
        }
    }
}

static void tails(void) {
    for_all(tails_of);
}

static void depths_of(const kernel_set *set, int32_t format) {
    static const int64_t ins[] = {384, 511, 512, 513, 1023, 1024, 1025, 1536, 2051};
    for (size_t i = 0; i < sizeof ins / sizeof *ins; i += test_light() ? 3 : 1) {
        check_shape(&(layer_shape){.format = format,
                        .rows = 1 + (int64_t)i * 7 % 20,
                        .in = ins[i],
                        .out = 50,
                        .gap = (int64_t)i % 2,
                        .biased = true},
            set);
    }
    /* Several blocks of rows and groups of panels. */
    static const int64_t rows[] = {63, 64, 65, 127, 129, 200};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i += test_light() ? 4 : 1) {
        check_shape(
            &(layer_shape){.format = format, .rows = rows[i], .in = 70, .out = 200, .biased = true, .residual = true},
            set);
    }
    if (!test_light()) {
        check_shape(
            &(layer_shape){
                .format = format, .rows = 130, .in = 600, .out = 300, .gap = 3, .activation = GATUN_ACTIVATION_GELU},
            set);
        check_shape(&(layer_shape){.format = format,
                        .rows = 3,
                        .in = 1100,
                        .out = 1500,
                        .activation = GATUN_ACTIVATION_SILU,
                        .gated = true},
            set);
    }
}

static void depths(void) {
    for_all(depths_of);
}

/* ---- bits ---- */

static int32_t run_rows(layer *l, int64_t first, int64_t rows, int32_t threads) {
    gatun_packed_linear_desc d = l->desc;
    d.rows = rows;
    d.max_threads = threads;
    return gatun_packed_linear(l->context, &d, l->workspace.data, l->workspace.bytes, l->packed.data, l->packed.bytes,
        at(&l->x, first, 0), l->bias_data, l->gate_data == NULL ? NULL : at(&l->gate, first, 0),
        l->residual_data == NULL ? NULL : at(&l->residual, first, 0), at(&l->out, first, 0));
}

/* A row alone, and in any batch of its neighbors. */
static void alone_of(const kernel_set *set, int32_t format) {
    static const int64_t sizes[][3] = {{70, 200, 100}, {140, 1100, 60}, {33, 65, 333}};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        layer l = layer_create(&(layer_shape){.format = format,
                                   .rows = sizes[n][0],
                                   .in = sizes[n][1],
                                   .out = sizes[n][2],
                                   .biased = true,
                                   .residual = n == 1,
                                   .activation = (int32_t)n},
            set);
        test_note("%s", l.name);
        REQUIRE_STATUS(layer_run(&l, 0), GATUN_OK);
        float *all = copy_of(&l.out);
        rng random = rng_make(test_seed(), n);
        for (int64_t i = 0; i < (test_light() ? 20 : 200); i++) {
            const int64_t first = rng_below(&random, sizes[n][0]);
            const int64_t most = sizes[n][0] - first;
            const int64_t rows = i < 100 ? 1 + (i > 60) : 1 + rng_below(&random, most);
            memset(l.out.data, 0xff, (size_t)l.out.memory.bytes);
            REQUIRE_STATUS(run_rows(&l, first, rows < most ? rows : most, (int32_t)(i % 4)), GATUN_OK);
            for (int64_t r = first; r < first + (rows < most ? rows : most); r++) {
                REQUIRE(memcmp(at(&l.out, r, 0), all + r * l.out.row, (size_t)sizes[n][2] * sizeof(float)) == 0,
                    "%s: row %lld has other bits in a batch of %lld rows", l.name, (long long)r, (long long)rows);
            }
        }
        free(all);
        layer_destroy(&l);
    }
    test_note("%s", "");
}

static void alone(void) {
    for_all(alone_of);
}

/* The same weights in another order in the source, other strides of everything: the same packed bytes, the same bits. */
static void strides_of(const kernel_set *set, int32_t format) {
    layer_shape s = {.format = format,
        .rows = 21,
        .in = 90,
        .out = 110,
        .biased = true,
        .residual = true,
        .gated = true,
        .activation = GATUN_ACTIVATION_GELU_TANH};
    layer a = layer_create(&s, set);
    s.from_columns = true;
    s.gap = 5;
    layer b = layer_create(&s, set);
    CHECK(a.packed.bytes == b.packed.bytes && memcmp(a.packed.data, b.packed.data, (size_t)a.packed.bytes) == 0,
        "%s: [in, out] and [out, in] are packed to other bytes", a.name);
    REQUIRE_STATUS(layer_run(&a, 0), GATUN_OK);
    REQUIRE_STATUS(layer_run(&b, 0), GATUN_OK);
    CHECK(same_elements(&a.out, &b.out), "%s: other bits with other strides", a.name);
    /* In place of the residual, and of the gate. */
    for (int which = 0; which < 2; which++) {
        gatun_packed_linear_desc d = b.desc;
        const matrix *place = which == 0 ? &b.residual : &b.gate;
        float *before = copy_of(place);
        guarded_protect(&place->memory, false);
        d.out_row = place->row;
        CHECK_STATUS(gatun_packed_linear(b.context, &d, b.workspace.data, b.workspace.bytes, b.packed.data,
                         b.packed.bytes, b.x.data, b.bias_data, b.gate_data, b.residual_data, place->data),
            GATUN_OK);
        CHECK(same_elements(place, &a.out), "%s: other bits in place", a.name);
        matrix_restore(place, before);
        guarded_protect(&place->memory, true);
        free(before);
    }
    layer_destroy(&a);
    layer_destroy(&b);
}

static void strides(void) {
    for_all(strides_of);
}

/* ---- numbers that are none ---- */

static void special_of(const kernel_set *set, int32_t format) {
    layer l = layer_create(&(layer_shape){.format = format, .rows = 19, .in = 70, .out = 100, .biased = true}, set);
    static const float specials[] = {NAN, INFINITY, -INFINITY};
    REQUIRE_STATUS(layer_run(&l, 0), GATUN_OK);
    float *plain = copy_of(&l.out);
    guarded_protect(&l.x.memory, false);
    for (int i = 0; i < 3; i++) {
        for (int64_t r = 0; r < l.x.rows; r += 3) {
            float *x = at(&l.x, r, (r * 5 + i) % 70);
            const float kept = *x;
            *x = specials[i];
            REQUIRE_STATUS(layer_run(&l, 0), GATUN_OK);
            for (int64_t q = 0; q < l.x.rows; q++) {
                for (int64_t c = 0; c < l.out.dim; c++) {
                    const float got = *at(&l.out, q, c), w = layer_weight(&l, (r * 5 + i) % 70, c);
                    const float want =
                        i == 0 || format_is_integer(format) ? NAN : specials[i] * w; /* NaN where w is 0 */
                    if (q != r) {
                        REQUIRE(memcmp(&got, &plain[q * l.out.row + c], sizeof got) == 0, "%s: %g reaches another row",
                            l.name, (double)specials[i]);
                    } else if (isnan(want)) {
                        REQUIRE(isnan(got), "%s: %g in a row, weight %g: expected NaN, got %g", l.name,
                            (double)specials[i], (double)w, (double)got);
                    } else {
                        REQUIRE(got == want, "%s: %g in a row, weight %g: expected %g, got %g", l.name,
                            (double)specials[i], (double)w, (double)want, (double)got);
                    }
                }
            }
            *x = kept;
        }
    }
    free(plain);
    layer_destroy(&l);
    /* In a weight: its column. */
    for (int i = 0; i < 3; i++) {
        layer m = layer_create(&(layer_shape){.format = format,
                                   .rows = 11,
                                   .in = 40,
                                   .out = 60,
                                   .special = specials[i],
                                   .special_in = 17,
                                   .special_out = 50},
            set);
        REQUIRE_STATUS(layer_run(&m, 0), GATUN_OK);
        for (int64_t r = 0; r < m.out.rows; r++) {
            for (int64_t c = 0; c < m.out.dim; c++) {
                const float got = *at(&m.out, r, c), x = *at(&m.x, r, 17);
                const float want = i == 0 || format_is_integer(format) ? NAN : specials[i] * x;
                if (c != 50) {
                    REQUIRE(isfinite(got), "%s: %g in a weight reaches another column", m.name, (double)specials[i]);
                } else {
                    REQUIRE(isnan(want) ? isnan(got) : got == want, "%s: %g in a weight: expected %g, got %g", m.name,
                        (double)specials[i], (double)want, (double)got);
                }
            }
        }
        layer_destroy(&m);
    }
}

static void special(void) {
    for_all(special_of);
}

/* ---- integers are exact ---- */

/* Without an activation the bits are the same on every tier, at the extremes of both as well. */
static void same_on_all_tiers(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    static const int64_t sizes[][3] = {{20, 100, 70}, {9, 4000, 50}, {1, 3, 1}, {70, 65, 100}};
    for (size_t n = 0; n < 2 * sizeof sizes / sizeof *sizes; n++) {
        const int64_t *size = sizes[n / 2];
        const layer_shape s = {.format = GATUN_WEIGHTS_I8,
            .rows = size[0],
            .in = size[1],
            .out = size[2],
            .biased = true,
            .gated = n % 2 == 0,
            .residual = true};
        float *first = NULL;
        for (int i = 0; i < count; i++) {
            layer l = layer_create(&s, &sets[i]);
            if (n % 2 ==
                1) { /* all bytes 255 and weights of 127, whose pairs do not fit into 16 bits; every other row all 0 */
                guarded_protect(&l.x.memory, false);
                guarded_protect(&l.packed, false);
                const int64_t fours = (s.in + 3) / 4, panel = 48 * 8 + fours * 48 * 4;
                for (int64_t p = 0; p < (s.out + 47) / 48; p++) {
                    uint8_t *head = l.packed.data + 64 + p * panel;
                    const int32_t w = p == 0 ? 127 : -128, sum = w * (int32_t)fours * 4;
                    for (int c = 0; c < 48; c++) {
                        memcpy(head + (48 + c) * 4, &sum, sizeof sum);
                    }
                    memset(head + 48 * 8, w, (size_t)fours * 48 * 4);
                }
                for (int64_t r = 0; r < s.rows; r++) {
                    for (int64_t k = 0; k < s.in; k++) {
                        *at(&l.x, r, k) = r % 2 == 0 ? 1 : k == 0 ? -1.0f : 0.5f;
                    }
                }
            }
            REQUIRE_STATUS(layer_run(&l, 0), GATUN_OK);
            if (first == NULL) {
                first = copy_of(&l.out);
            }
            CHECK(memcmp(first, l.out.data, (size_t)l.out.memory.bytes) == 0, "%s: other bits than %s", l.name,
                sets[0].name);
            layer_destroy(&l);
        }
        free(first);
    }
}

/* Rows with a few elements that are far larger than the rest, of which every eighth is of another kind. */
static void put_outliers(layer *l, int64_t r) {
    const int64_t in = l->shape.in, tail = in / 16 * 16;
    const float sign = r / 8 % 2 == 0 ? 1 : -1;
    switch (r % 8) {
    case 0: /* one */
        *at(&l->x, r, (5 * r + 2) % in) = sign * 300;
        break;
    case 1: /* the most there may be, of either sign, in two classes of 16 and behind the last whole one */
        for (int64_t i = 0; i < 8; i++) {
            const int64_t k = i < 6 ? (i / 2 * 16 + i % 2 * 9) % in : (2 * in - 1 - i % 2) % in;
            *at(&l->x, r, k) = (i % 3 == 0 ? -sign : sign) * (float)(20 + i);
        }
        break;
    case 2: /* one too many */
        for (int64_t i = 0; i < 9; i++) {
            *at(&l->x, r, (r + i * 16) % in) = sign * (float)(30 + i);
        }
        break;
    case 3: /* the rest is next to nothing beside it, and beside the second nearly so */
        *at(&l->x, r, r % in) = sign * 1e6f;
        *at(&l->x, r, (r + 3) % in) = -sign * 1e5f;
        break;
    case 4: /* behind the last whole class alone */
        *at(&l->x, r, tail < in ? tail : 0) = sign * 50;
        break;
    case 5: /* one side has outliers only */
        for (int64_t k = 0; k < in; k++) {
            *at(&l->x, r, k) = sign * (k == 7 % in ? -90.0f : fabsf(*at(&l->x, r, k)));
        }
        break;
    case 6: /* all but one are equal, or 0 */
        for (int64_t k = 0; k < in; k++) {
            *at(&l->x, r, k) = k == 3 % in ? sign * 40 : r / 8 % 3 == 0 ? 0.5f : 0;
        }
        break;
    default: /* none */
        break;
    }
}

static void outliers(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    static const int64_t sizes[][2] = {{384, 100}, {1536, 50}, {93, 49}, {150, 7}, {16, 48}, {15, 5}, {1, 2}};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        float *first = NULL;
        for (int i = 0; i < count; i++) {
            layer l = layer_create(&(layer_shape){.format = GATUN_WEIGHTS_I8,
                                       .rows = 83,
                                       .in = sizes[n][0],
                                       .out = sizes[n][1],
                                       .biased = true,
                                       .residual = true},
                &sets[i]);
            guarded_protect(&l.x.memory, false);
            for (int64_t r = 0; r < l.x.rows; r++) {
                put_outliers(&l, r);
            }
            REQUIRE_STATUS(layer_run(&l, 0), GATUN_OK);
            layer_check(&l);
            if (first == NULL) {
                first = copy_of(&l.out);
            }
            CHECK(memcmp(first, l.out.data, (size_t)l.out.memory.bytes) == 0, "%s: other bits than %s", l.name,
                sets[0].name);
            for (int64_t r = 0; r < l.x.rows; r += 7) {
                memset(l.out.data, 0xff, (size_t)l.out.memory.bytes);
                REQUIRE_STATUS(run_rows(&l, r, 1, 1), GATUN_OK);
                REQUIRE(memcmp(at(&l.out, r, 0), first + r * l.out.row, (size_t)sizes[n][1] * sizeof(float)) == 0,
                    "%s: row %lld has other bits alone", l.name, (long long)r);
            }
            layer_destroy(&l);
        }
        free(first);
    }
}

/* The largest integers that a sum may have, where outliers are allowed and where they are not. */
static void deepest_sums(void) {
    kernel_set sets[MAX_KERNEL_SETS];
    const int count = kernel_sets(sets);
    static const int64_t depths[] = {65000, 65001, 65536};
    float *x = test_allocate(65536 * (int64_t)sizeof(float)), *w = test_allocate(65536 * (int64_t)sizeof(float));
    for (size_t n = 0; n < 2 * sizeof depths / sizeof *depths; n++) {
        const int64_t in = depths[n / 2];
        const float sign = n % 2 == 0 ? 1 : -1;
        for (int64_t k = 0; k < in; k++) {
            x[k] = sign * (k < 7 ? 128 : k == 7 ? 127 : 1);
            w[k] = 1;
        }
        const gatun_pack_desc d = {.struct_size = sizeof d,
            .format = GATUN_WEIGHTS_I8,
            .dtype = GATUN_DTYPE_F32,
            .in_features = in,
            .out_features = 1,
            .in_stride = 1,
            .out_stride = in};
        const gatun_packed_linear_desc l = {.struct_size = sizeof l,
            .format = GATUN_WEIGHTS_I8,
            .rows = 1,
            .in_features = in,
            .out_features = 1,
            .x_row = in,
            .out_row = 1};
        int64_t bytes = 0;
        CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
        for (int i = 0; i < count; i++) {
            int64_t workspace_bytes = 0;
            CHECK_STATUS(gatun_packed_linear_workspace_size(sets[i].context, &l, &workspace_bytes), GATUN_OK);
            char *packed = gatun_memory_allocate(bytes), *workspace = gatun_memory_allocate(workspace_bytes);
            float out = 0;
            CHECK_STATUS(gatun_pack(sets[i].context, &d, w, NULL, packed, bytes, NULL, 0), GATUN_OK);
            CHECK_STATUS(gatun_packed_linear(
                             sets[i].context, &l, workspace, workspace_bytes, packed, bytes, x, NULL, NULL, NULL, &out),
                GATUN_OK);
            const double want = (double)(in - 8) + 7 * 128 + 127;
            /* With outliers the scale is 1 / 255, otherwise 128 / 255. */
            CHECK(fabs((double)(sign * out) - want) <= (in <= 65000 ? 1e-6 : 0.005) * want, "%s, %lld inputs: %g",
                sets[i].name, (long long)in, (double)out);
            gatun_memory_free(packed, bytes);
            gatun_memory_free(workspace, workspace_bytes);
        }
    }
    free(x);
    free(w);
}

/* A constant row, zeros, rows too small to have a scale, rows next to the largest float. */
static void extreme_rows_of(const kernel_set *set, int32_t format) {
    layer l = layer_create(&(layer_shape){.format = format, .rows = 12, .in = 40, .out = 50}, set);
    guarded_protect(&l.x.memory, false);
    static const float value[12] = {0, -0.0f, 1, -1, 1e-38f, -1e-40f, 1e30f, -1e30f, 1e-30f, 3e-36f, 1e-20f, 5};
    for (int64_t r = 0; r < 12; r++) {
        for (int64_t k = 0; k < 40; k++) {
            *at(&l.x, r, k) = value[r];
        }
    }
    REQUIRE_STATUS(layer_run(&l, 0), GATUN_OK);
    for (int64_t r = 0; r < 12; r++) {
        for (int64_t c = 0; c < 50; c++) {
            double sum = 0, magnitude = 0;
            for (int64_t k = 0; k < 40; k++) {
                sum += (double)value[r] * (double)layer_weight(&l, k, c);
                magnitude += fabs((double)value[r] * (double)layer_weight(&l, k, c));
            }
            const double got = (double)*at(&l.out, r, c);
            CHECK(fabs(got - sum) <= 0x1p-7 * magnitude + 4e-36, "%s: a row of %g: expected %g, got %g", l.name,
                (double)value[r], sum, got);
        }
    }
    layer_destroy(&l);
}

static void extreme_rows(void) {
    for_all(extreme_rows_of);
}

/* ---- activations where they are fused: every kernel, a fine grid, and the ends ---- */

static void activations_of(const kernel_set *set, int32_t format) {
    enum { ROWS = 201, OUT = 131 };
    static float x[ROWS], out[ROWS * OUT], bias[OUT];
    static const float w = 127 * 0x1p-7f; /* exact in all of them, its scale too */
    for (int r = 0; r < ROWS; r++) {
        x[r] = (float)(r - ROWS / 2) / 8; /* -12.5 .. 12.5, exact in bf16 as well; biases fill the steps */
    }
    for (int c = 0; c < OUT; c++) {
        bias[c] = (float)c * 0x1p-10f;
    }
    bias[128] = NAN;
    bias[129] = INFINITY;
    bias[130] = -INFINITY;
    const gatun_pack_desc d = {
        .struct_size = sizeof d, .format = format, .dtype = GATUN_DTYPE_F32, .in_features = 1, .out_features = OUT};
    gatun_packed_linear_desc l = {.struct_size = sizeof l,
        .format = format,
        .rows = ROWS,
        .in_features = 1,
        .out_features = OUT,
        .x_row = 1,
        .out_row = OUT};
    int64_t bytes = 0, workspace_bytes = 0;
    CHECK_STATUS(gatun_pack_size(&d, &bytes, NULL, 0), GATUN_OK);
    CHECK_STATUS(gatun_packed_linear_workspace_size(set->context, &l, &workspace_bytes), GATUN_OK);
    char *packed = gatun_memory_allocate(bytes), *workspace = gatun_memory_allocate(workspace_bytes);
    CHECK_STATUS(gatun_pack(set->context, &d, &w, NULL, packed, bytes, NULL, 0), GATUN_OK);
    for (int32_t kind = 0; kind <= GATUN_ACTIVATION_QUICK_GELU; kind++) {
        l.activation = kind;
        CHECK_STATUS(
            gatun_packed_linear(set->context, &l, workspace, workspace_bytes, packed, bytes, x, bias, NULL, NULL, out),
            GATUN_OK);
        for (int r = 0; r < ROWS; r++) {
            for (int c = 0; c < OUT; c++) {
                const double z = (double)x[r] * (double)w + (double)bias[c], got = (double)out[r * OUT + c];
                /* x itself is off by some roundings in int8. */
                const double want = activation_exact(kind, z),
                             bound =
                                 5e-7 * fmax(1, fabs(z)) + (format_is_integer(format) ? 3e-7 * fabs((double)x[r]) : 0);
                if (c == 128) {
                    REQUIRE(
                        isnan(got), "%s, format %d, activation %d of NaN: %g", set->name, (int)format, (int)kind, got);
                } else if (c == 129) {
                    REQUIRE(got == (double)INFINITY, "%s, format %d, activation %d of Inf: %g", set->name, (int)format,
                        (int)kind, got);
                } else if (c == 130) {
                    REQUIRE(kind == 0 ? got == -(double)INFINITY : isnan(got) || got == 0,
                        "%s, format %d, activation %d of -Inf: %g", set->name, (int)format, (int)kind, got);
                } else {
                    REQUIRE(fabs(got - want) <= bound,
                        "%s, format %d, activation %d of %.9g: expected %.9g +- %.3g, got %.9g", set->name, (int)format,
                        (int)kind, z, want, bound, got);
                }
            }
        }
    }
    gatun_memory_free(packed, bytes);
    gatun_memory_free(workspace, workspace_bytes);
}

static void activations(void) {
    for_all(activations_of);
}

const test_case packed_linear_tests[] = {{"tails", tails}, {"depths", depths}, {"alone", alone}, {"strides", strides},
    {"special", special}, {"same_on_all_tiers", same_on_all_tiers}, {"outliers", outliers},
    {"deepest_sums", deepest_sums}, {"extreme_rows", extreme_rows}, {"activations", activations}, {NULL, NULL}};
