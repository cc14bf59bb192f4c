/*
 * Share of its type's peak that gatun_packed_linear reaches on the products of whole models: all weights of a set one after the
 * other, as a forward pass has them, so that they come from where they would come from there. Each sample is a pair: the
 * products, as often as fill a window, between two windows of the peak loop of the same tier and type; the share is products /
 * mean of the two. One row is bound by memory: its share is of a plain loop that reads the same bytes. With --openblas the
 * same products by cblas_sgemm follow, in float32. Which samples count is said in bench_attention.c.
 */
#define _GNU_SOURCE
#include "core_contention.h"
#include "gatun.h"
#include "gatunbench.h"
#include "times.h"

#include <dlfcn.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
    int64_t in, out;
    int32_t activation;
} shape;

typedef struct model {
    const char *name;
    int layers, products;
    shape product[5]; /* of a layer */
} model;

static const model models[] = {
    {"minilm", 6, 4, {{384, 1152, 0}, {384, 384, 0}, {384, 1536, 0}, {1536, 384, 0}}},
    {"llama1b", 2, 5, {{2048, 3072, 0}, {2048, 2048, 0}, {2048, 8192, 0}, {2048, 8192, 0}, {8192, 2048, 0}}},
};
enum { MODELS = sizeof models / sizeof *models, MOST_PRODUCTS = 32 };

static const struct {
    const char *name;
    int32_t format;
} formats[] = {{"f32", GATUN_WEIGHTS_F32}, {"bf16", GATUN_WEIGHTS_BF16}, {"f16", GATUN_WEIGHTS_F16},
    {"i8", GATUN_WEIGHTS_I8}, {"q8_0", GATUN_WEIGHTS_Q8_0}, {"q4_0", GATUN_WEIGHTS_Q4_0}};
enum { FORMATS = sizeof formats / sizeof *formats };

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

typedef struct options {
    const char *model, *format, *openblas, *json;
    int pairs, threads, pin, each, gelu;
    double window;
    int64_t rows[16];
    int row_count;
} options;

typedef struct bench {
    gatun_context *context;
    const options *options;
    int32_t tier, format;
    int64_t rows;
    int products;
    shape product[MOST_PRODUCTS];
    char *packed[MOST_PRODUCTS];
    int64_t packed_bytes[MOST_PRODUCTS];
    float *plain[MOST_PRODUCTS]; /* [in][out] */
    float *arena;                /* of all plain weights */
    int64_t plain_bytes, all_packed_bytes;
    float *bias, *x, *out;
    char *workspace;
    int64_t workspace_bytes;
    sgemm_function *sgemm; /* instead */
    FILE *json;
    int written;
} bench;

static void *memory(int64_t bytes) {
    void *x = gatun_memory_allocate(bytes);
    if (x == NULL) {
        fprintf(stderr, "bench: no memory for %lld bytes\n", (long long)bytes);
        exit(2);
    }
    return x;
}

static void need(int32_t status, const char *what) {
    if (status != GATUN_OK) {
        fprintf(stderr, "bench: %s: %s\n", what, gatun_status_string(status));
        exit(2);
    }
}

static uint64_t state = 1;

static float value(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static void fill(float *x, int64_t count, float scale) {
    for (int64_t i = 0; i < count; i++)
        x[i] = value() * scale;
}

static gatun_packed_linear_desc desc_of(const bench *b, const shape *s) {
    return (gatun_packed_linear_desc){.struct_size = sizeof(gatun_packed_linear_desc),
        .format = b->format,
        .activation = s->activation,
        .rows = b->rows,
        .in_features = s->in,
        .out_features = s->out,
        .x_row = s->in,
        .out_row = s->out};
}

static void run_all(const bench *b) {
    for (int i = 0; i < b->products; i++) {
        const shape *s = &b->product[i];
        if (b->sgemm != NULL) {
            b->sgemm(101, 111, 111, (int)b->rows, (int)s->out, (int)s->in, 1, b->x, (int)s->in, b->plain[i],
                (int)s->out, 0, b->out, (int)s->out);
            continue;
        }
        const gatun_packed_linear_desc d = desc_of(b, s);
        need(gatun_packed_linear(b->context, &d, b->workspace, b->workspace_bytes, b->packed[i], b->packed_bytes[i],
                 b->x, b->bias, NULL, NULL, b->out),
            "gatun_packed_linear");
    }
}

static double flops_of(const bench *b) {
    double sum = 0;
    for (int i = 0; i < b->products; i++)
        sum += 2.0 * (double)b->rows * (double)b->product[i].in * (double)b->product[i].out;
    return sum;
}

static double bytes_of(const bench *b) {
    double sum = 0;
    for (int i = 0; i < b->products; i++)
        sum += b->sgemm != NULL ? (double)b->product[i].in * (double)b->product[i].out * 4 : (double)b->packed_bytes[i];
    return sum;
}

static gatunbench_reader *reader_of(int32_t tier) {
    switch (tier) {
#if defined(__x86_64__)
    case GATUN_TIER_AVX512:
        return gatunbench__read_avx512;
    case GATUN_TIER_AVX2:
        return gatunbench__read_avx2;
#elif defined(__aarch64__)
    case GATUN_TIER_NEON:
        return gatunbench__read_neon;
#endif
    default:
        return gatunbench__read_portable;
    }
}

/* The weights, as they lie, in the order in which the products read them. */
static double read_rate(const bench *b, double seconds) {
    gatunbench_reader *read = reader_of(b->tier);
    volatile float sum = 0; /* must be computed */
    double bytes = 0, begin = now(), time;
    do {
        for (int i = 0; i < b->products; i++) {
            sum = sum + (b->sgemm != NULL ? read(b->plain[i], b->product[i].in * b->product[i].out)
                                          : read((const float *)(const void *)b->packed[i], b->packed_bytes[i] / 4));
        }
        bytes += bytes_of(b);
        time = now() - begin;
    } while (time < seconds);
    return bytes / time;
}

static double peak_rate(const bench *b, double seconds) {
    double rate = 0;
    seconds = fmin(fmax(seconds, 1e-3), 0.1);
    need(b->sgemm != NULL ? gatun_peak_f32(b->context, (int64_t)(seconds * 1e9), &rate)
                          : gatun_packed_linear_peak(b->context, b->format, (int64_t)(seconds * 1e9), &rate),
        "peak");
    return rate;
}

/* As many calls as a double reference of some elements finds right. */
static void check(const bench *b) {
    if (b->sgemm != NULL)
        return;
    const shape *s = &b->product[b->products - 1];
    for (int n = 0; n < 50; n++) {
        const int64_t r = n * 7919 % b->rows, c = n * 104729 % s->out;
        double sum = (double)b->bias[c], magnitude = 0;
        for (int64_t k = 0; k < s->in; k++) {
            const double term = (double)b->x[r * s->in + k] * (double)b->plain[b->products - 1][k * s->out + c];
            sum += term;
            magnitude += fabs(term);
        }
        const double got = (double)b->out[r * s->out + c];
        if (s->activation == 0 && !(fabs(got - sum) <= 0.01 * magnitude)) {
            fprintf(stderr, "bench: out[%lld][%lld]: expected %g, got %g\n", (long long)r, (long long)c, sum, got);
            exit(2);
        }
    }
}

static void sample(bench *b, const char *what, const char *shape_name) {
    const options *o = b->options;
    const int most = 2 * o->pairs, by_bytes = b->rows == 1;
    double *share = malloc((size_t)most * 2 * sizeof *share + (size_t)most);
    if (share == NULL)
        exit(2);
    double *time = share + most, fastest = INFINITY, highest = 0;
    unsigned char *undisturbed = (unsigned char *)(time + most);
    if (o->pin)
        contention_settle(CONTENTION_SECONDS);
    run_all(b);
    check(b);
    double begin = now();
    run_all(b);
    const double once = now() - begin;
    const int64_t repeat = (int64_t)(o->window / once) + 1;
    const double threshold = contention_threshold(), window = (double)repeat * once;
    const double amount = by_bytes ? bytes_of(b) : flops_of(b);
    double (*const roof)(const bench *, double) = by_bytes ? read_rate : peak_rate;
    double before = roof(b, window);
    int pairs = 0;
    for (; pairs < most && contention_wants_more(undisturbed, pairs, o->pairs); pairs++) {
        const double first = contention_instructions_a_cycle(CONTENTION_SECONDS);
        begin = now();
        for (int64_t i = 0; i < repeat; i++)
            run_all(b);
        time[pairs] = (now() - begin) / (double)repeat;
        const double second = contention_instructions_a_cycle(CONTENTION_SECONDS);
        undisturbed[pairs] = first >= threshold && second >= threshold;
        const double after = roof(b, window);
        share[pairs] = amount / time[pairs] / (0.5 * (before + after)) / (by_bytes ? 1 : o->threads);
        before = after;
        fastest = fmin(fastest, time[pairs]);
        highest = fmax(highest, after);
    }
    if (o->pin)
        contention_unpin();
    const int quiet = contention_count(undisturbed, pairs);
    const int used = contention_select(time, undisturbed, pairs, o->pairs);
    contention_select(share, undisturbed, pairs, o->pairs);
    qsort(time, (size_t)used, sizeof *time, by_value);
    qsort(share, (size_t)used, sizeof *share, by_value);
    printf("%-10s %5lld rows %-12s %9.4f ms (best %9.4f)  %7.1f GOP/s %6.1f GB/s  %5.1f %% of the %s (quartiles %.1f "
           ".. %.1f; best of best %.1f)%s\n",
        what, (long long)b->rows, shape_name, time[used / 2] * 1e3, fastest * 1e3, flops_of(b) / time[used / 2] * 1e-9,
        bytes_of(b) / time[used / 2] * 1e-9, 100 * share[used / 2], by_bytes ? "read loop" : "peak",
        100 * share[used / 4], 100 * share[used - 1 - used / 4],
        100 * amount / fastest / highest / (by_bytes ? 1 : o->threads), used == quiet ? "" : " ~");
    fflush(stdout);
    if (b->json != NULL)
        fprintf(b->json,
            "%s\n{\"what\": \"%s\", \"rows\": %lld, \"products\": \"%s\", \"threads\": %d, \"time\": %.9g, \"best\": "
            "%.9g, "
            "\"operations\": %.17g, \"bytes\": %.17g, \"of\": \"%s\", \"share\": %.6g, \"q1\": %.6g, \"q3\": %.6g, "
            "\"count\": %d, "
            "\"undisturbed\": %d}",
            b->written++ == 0 ? "" : ",", what, (long long)b->rows, shape_name, o->threads, time[used / 2], time[0],
            flops_of(b), bytes_of(b), by_bytes ? "read" : "peak", share[used / 2], share[used / 4],
            share[used - 1 - used / 4], used, quiet);
    free(share);
}

static void prepare(bench *b, const model *m) {
    b->products = 0;
    b->plain_bytes = 0;
    for (int i = 0; i < m->products; i++)
        b->plain_bytes += m->layers * m->product[i].in * m->product[i].out * 4;
    /* One arena, as a model has it: huge pages, also where a matrix is smaller than one. */
    float *next = b->arena = memory(b->plain_bytes);
    int64_t most_in = 1, most_out = 1;
    for (int layer = 0; layer < m->layers; layer++) {
        for (int i = 0; i < m->products; i++) {
            const shape *s = &m->product[i];
            const int n = b->products++;
            b->product[n] = *s;
            if (b->options->gelu && s->out > s->in)
                b->product[n].activation = GATUN_ACTIVATION_GELU;
            b->plain[n] = next;
            next += s->in * s->out;
            fill(b->plain[n], s->in * s->out, 1 / sqrtf((float)s->in));
            most_in = s->in > most_in ? s->in : most_in;
            most_out = s->out > most_out ? s->out : most_out;
        }
    }
    int64_t most_rows = 1;
    for (int i = 0; i < b->options->row_count; i++)
        most_rows = b->options->rows[i] > most_rows ? b->options->rows[i] : most_rows;
    b->x = memory(most_rows * most_in * 4);
    fill(b->x, most_rows * most_in, 1);
    b->out = memory(most_rows * most_out * 4);
    b->bias = memory(most_out * 4);
    fill(b->bias, most_out, 1);
}

static gatun_pack_desc pack_desc(const bench *b, const shape *s) {
    return (gatun_pack_desc){.struct_size = sizeof(gatun_pack_desc),
        .format = b->format,
        .dtype = GATUN_DTYPE_F32,
        .in_features = s->in,
        .out_features = s->out,
        .in_stride = s->out,
        .out_stride = 1};
}

static void pack(bench *b) {
    b->workspace_bytes = 64;
    b->all_packed_bytes = 0;
    for (int i = 0; i < b->products; i++) {
        const gatun_pack_desc d = pack_desc(b, &b->product[i]);
        need(gatun_pack_size(&d, &b->packed_bytes[i], NULL, 0), "gatun_pack_size");
        b->all_packed_bytes += b->packed_bytes[i];
        gatun_packed_linear_desc l = desc_of(b, &b->product[i]);
        l.rows = 1 << 20;
        int64_t bytes;
        need(gatun_packed_linear_workspace_size(b->context, &l, &bytes), "gatun_packed_linear_workspace_size");
        b->workspace_bytes = bytes > b->workspace_bytes ? bytes : b->workspace_bytes;
    }
    char *next = memory(b->all_packed_bytes);
    for (int i = 0; i < b->products; i++) {
        const gatun_pack_desc d = pack_desc(b, &b->product[i]);
        b->packed[i] = next;
        next += b->packed_bytes[i];
        need(gatun_pack(b->context, &d, b->plain[i], NULL, b->packed[i], b->packed_bytes[i], NULL, 0), "gatun_pack");
    }
    b->workspace = memory(b->workspace_bytes);
}

static void unpack(bench *b) {
    gatun_memory_free(b->packed[0], b->all_packed_bytes);
    gatun_memory_free(b->workspace, b->workspace_bytes);
}

static void run_rows(bench *b, const char *what) {
    for (int i = 0; i < b->options->row_count; i++) {
        b->rows = b->options->rows[i];
        sample(b, what, "all");
        if (!b->options->each)
            continue;
        /* One product of every layer. */
        bench some = *b;
        for (int first = 0; first < b->products; first++) {
            const shape *s = &b->product[first];
            int seen = 0;
            for (int n = 0; n < first; n++)
                seen |= b->product[n].in == s->in && b->product[n].out == s->out;
            if (seen)
                continue;
            some.products = 0;
            for (int n = first; n < b->products; n++) {
                if (b->product[n].in != s->in || b->product[n].out != s->out)
                    continue;
                some.product[some.products] = *s;
                some.plain[some.products] = b->plain[n];
                some.packed[some.products] = b->packed[n];
                some.packed_bytes[some.products++] = b->packed_bytes[n];
            }
            char name[48];
            snprintf(name, sizeof name, "%lld>%lld", (long long)s->in, (long long)s->out);
            sample(&some, what, name);
            b->written = some.written;
        }
    }
}

static void open_blas(bench *b, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *sgemm = library == NULL ? NULL : dlsym(library, "cblas_sgemm");
    void *set_threads = library == NULL ? NULL : dlsym(library, "openblas_set_num_threads");
    void *name = library == NULL ? NULL : dlsym(library, "openblas_get_corename");
    if (sgemm == NULL || set_threads == NULL || name == NULL) {
        fprintf(stderr, "bench: no OpenBLAS: %s\n", dlerror());
        exit(2);
    }
    memcpy(&b->sgemm, &sgemm, sizeof sgemm);
    void (*threads)(int);
    memcpy(&threads, &set_threads, sizeof threads);
    threads(b->options->threads);
    const char *(*core)(void);
    memcpy(&core, &name, sizeof core);
    printf("OpenBLAS, kernels for %s\n", core());
}

static int usage(int status) {
    printf("bench_linear [--model minilm|llama1b] [--format f32|...] [--rows 1,8,16,...] [--each] [--gelu] [--pairs N] "
           "[--window "
           "SECONDS]\n[--threads N] [--no-pin] [--openblas LIBRARY] [--json FILE]\n"
           "--each: every shape by itself as well. --gelu: on products that have more outputs than inputs. ~ after a "
           "row: too few\n"
           "undisturbed pairs, so all count. GATUN_ISA chooses the tier. --openblas: unset OPENBLAS_CORETYPE first.\n");
    return status;
}

int main(int argc, char **argv) {
    options o = {.pairs = 9, .threads = 1, .pin = 1, .window = 0.02, .rows = {1, 8, 16, 32, 128, 512}, .row_count = 6};
    static const struct option names[] = {{"model", 1, 0, 'm'}, {"format", 1, 0, 'f'}, {"rows", 1, 0, 'r'},
        {"each", 0, 0, 'e'}, {"gelu", 0, 0, 'g'}, {"pairs", 1, 0, 'p'}, {"window", 1, 0, 'w'}, {"threads", 1, 0, 't'},
        {"no-pin", 0, 0, 'n'}, {"openblas", 1, 0, 'o'}, {"json", 1, 0, 'j'}, {"help", 0, 0, 'h'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'm')
            o.model = optarg;
        else if (c == 'f')
            o.format = optarg;
        else if (c == 'r') {
            o.row_count = 0;
            for (char *part = strtok(optarg, ","); part != NULL && o.row_count < 16; part = strtok(NULL, ","))
                if (atoll(part) > 0)
                    o.rows[o.row_count++] = atoll(part);
        } else if (c == 'e')
            o.each = 1;
        else if (c == 'g')
            o.gelu = 1;
        else if (c == 'p')
            o.pairs = atoi(optarg) > 0 && atoi(optarg) <= 1000 ? atoi(optarg) : 1;
        else if (c == 'w')
            o.window = atof(optarg) > 1e-5 ? atof(optarg) : 0.02;
        else if (c == 't')
            o.threads = atoi(optarg) > 0 ? atoi(optarg) : 1;
        else if (c == 'n')
            o.pin = 0;
        else if (c == 'o')
            o.openblas = optarg;
        else if (c == 'j')
            o.json = optarg;
        else
            return usage(c == 'h' ? 0 : 2);
    }
    o.pin = o.pin && o.threads == 1;
    gatun_config config = {.struct_size = sizeof config, .threads = o.threads};
    bench b = {.options = &o};
    char message[256];
    if (gatun_context_create(&config, &b.context, message, sizeof message) != GATUN_OK) {
        fprintf(stderr, "bench: %s\n", message);
        return 2;
    }
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(b.context, &info);
    b.tier = info.tier;
    printf("libgatun %s, %s, tier %s, features %llu, %d threads, %d pairs a row\n", gatun_version(), info.cpu,
        gatun_tier_name(info.tier), (unsigned long long)info.features, o.threads, o.pairs);
    if (o.json != NULL && (b.json = fopen(o.json, "w")) == NULL) {
        fprintf(stderr, "bench: cannot write %s\n", o.json);
        return 2;
    }
    if (b.json != NULL)
        fputs("[", b.json);
    for (int i = 0; i < MODELS; i++) {
        if (o.model != NULL && strcmp(o.model, models[i].name) != 0)
            continue;
        prepare(&b, &models[i]);
        for (int f = 0; f < FORMATS; f++) {
            if (o.format != NULL && strcmp(o.format, formats[f].name) != 0)
                continue;
            b.format = formats[f].format;
            pack(&b);
            char what[64];
            snprintf(what, sizeof what, "%s %s", models[i].name, formats[f].name);
            run_rows(&b, what);
            unpack(&b);
        }
        if (o.openblas != NULL) {
            if (b.sgemm == NULL)
                open_blas(&b, o.openblas);
            run_rows(&b, "OpenBLAS");
            b.sgemm = NULL;
        }
        gatun_memory_free(b.arena, b.plain_bytes);
    }
    if (b.json != NULL) {
        fputs("\n]\n", b.json);
        fclose(b.json);
    }
    gatun_context_destroy(b.context);
    return 0;
}
