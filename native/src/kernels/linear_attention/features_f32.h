/*
 * Rows in scratch, and their features: part of linear_attention_f32.h.
 *
 * Of random features the exponents of a tile of rows are a product with the packed projection; then a pass over them makes powers of 2.
 * All stabilizers are whole numbers (of the exponent to base 2), so that changing one multiplies by an exact power of two.
 */

/* The least and the greatest stabilizer: rounding by adding 1.5 * 2^23 is right between. */
#define LEAST_STABILIZER (-0x1p21f)
#define MOST_STABILIZER  0x1p21f
/* Exponents of a chunk may exceed those of its first key by this before a new chunk begins. */
#define HEADROOM 32.0f

#define NO_FEATURE (-1e30f)

/* Down to it a divisor and its reciprocal have all their digits. */
#define LEAST_DIVISOR 0x1p-100f

/* The sums of a head, over features [m] and values [v]. */
typedef struct sums {
    float *values, *values_low;   /* [m][v] */
    float *weights, *weights_low; /* [m] */
    float *stabilizer;            /* [m] */
} sums;

/* The memory of a task: m features padded to mp in rows of ms floats, d of the head padded to dp, v of values to vp. */
typedef struct work {
    const gatun__linear_attention_task *t;
    int64_t m, mp, ms, d, dp, v, vp;
    int random;
    float *input;  /* [TILE][dp] */
    float *norms;  /* [TILE]: what the exponents of a row are less */
    float *values; /* [TILE][vp] */
    float *keys;   /* [TILE][ms], features or exponents */
    float *queries;
    float *exponents;           /* [CHUNK][ms] */
    float *transposed;          /* [mp][CHUNK]: features of keys */
    float *scores;              /* [CHUNK][CHUNK] */
    float *result, *result_low; /* [CHUNK][vp] */
    float *factor;              /* [mp], by which sums are multiplied */
    sums s;
} work;

static sums sums_at(float *at, int64_t mp, int64_t vp) {
    return (sums){at, at + mp * vp, at + 2 * mp * vp, at + 2 * mp * vp + mp, at + 2 * mp * vp + 2 * mp};
}

static work work_of(const gatun__linear_attention_task *t) {
    enum { TILE = GATUN__LINEAR_TILE, CHUNK = GATUN__LINEAR_CHUNK };
    work w = {.t = t,
        .m = t->features,
        .mp = gatun__linear_padded(t->features),
        .ms = gatun__linear_feature_row(t->features),
        .d = t->head_dim,
        .dp = gatun__linear_padded(t->head_dim),
        .v = t->head_dim_v,
        .vp = gatun__linear_padded(t->head_dim_v),
        .random = t->feature_map == GATUN_FEATURES_POSITIVE_RANDOM};
    float *at = t->scratch;
    w.input = at, at += TILE * w.dp;
    w.norms = at, at += TILE;
    w.values = at, at += TILE * w.vp;
    w.keys = at, at += TILE * w.ms;
    w.queries = at, at += CHUNK * w.ms;
    w.exponents = at, at += CHUNK * w.ms;
    w.transposed = at, at += w.mp * CHUNK;
    w.scores = at, at += CHUNK * CHUNK;
    w.result = at, at += CHUNK * w.vp;
    w.result_low = at, at += CHUNK * w.vp;
    w.factor = at, at += w.mp;
    w.s = sums_at(t->sums != NULL ? t->sums : at, w.mp, w.vp);
    return w;
}

static void clear(float *x, int64_t count) {
    memset(x, 0, (size_t)count * sizeof *x);
}

INLINE float lanes_total(vec x) {
    float lanes[VW], total = 0;
    v_store(lanes, x);
    for (int i = 0; i < VW; i++)
        total += lanes[i];
    return total;
}

INLINE float lanes_most(vec x) {
    float lanes[VW], most;
    v_store(lanes, x);
    most = lanes[0];
    for (int i = 1; i < VW; i++)
        most = lanes[i] > most ? lanes[i] : most;
    return most;
}

INLINE vec rounded(vec x) {
    const vec magic = v_set1(0x1.8p23f);
    return v_sub(v_add(x, magic), magic);
}

/* x + 1 above 0, exp(x) below: the power of 0 is exactly 1. */
INLINE vec elu_feature(vec x) {
    const vec below = v_exp2(v_mul(v_min(v_zero(), x), v_set1((float)GATUN__LOG2_E)));
    return v_add(below, v_max(v_zero(), x));
}

/* Rows with zeros behind them. */
static void pack_rows(const float *from, int64_t from_row, int64_t rows, int64_t dim, int64_t padded, const int elu,
    float *to, int64_t to_row) {
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        int64_t i = 0;
        for (; i + VW <= dim; i += VW)
            v_store(to + i, elu ? elu_feature(v_load(from + i)) : v_load(from + i));
        if (i < dim) {
            const int32_t left = (int32_t)(dim - i);
            const vec x = v_load_some(from + i, left);
            clear(to + i, padded - i);
            v_store_some(to + i, elu ? elu_feature(x) : x, left);
            i += VW;
        }
        for (; i < padded; i += VW)
            v_store(to + i, v_zero());
    }
}

static void pack_values(const work *w, const float *v, int64_t rows) {
    pack_rows(v, w->t->v_row, rows, w->v, w->vp, 0, w->values, w->vp);
}

/* Adds rows first .. first + rows - 1 of a tensor, `dim` floats of each, to what is prefetched. */
static void prefetch_rows(prefetcher *f, const float *x, int64_t x_row, int64_t first, int64_t rows, int64_t dim) {
    const int64_t size = sizeof *x;
    if (rows == 0)
        return;
    f->regions[f->count++] = (region){(const char *)(x + first * x_row), x_row * size, dim * size, rows};
    if (f->line == NULL)
        prefetch_row(f);
}

/* What all exponents of a row are less: |x'|^2 / 2, to base 2. */
static void squared_norms(const work *w, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
        const float *x = w->input + r * w->dp;
        vec part[2] = {v_zero(), v_zero()};
        for (int64_t i = 0; i < w->dp; i += VW) {
            const vec a = v_load(x + i);
            part[i / VW & 1] = v_fma(a, a, part[i / VW & 1]);
        }
        w->norms[r] = lanes_total(v_add(part[0], part[1])) * w->t->norm_factor;
    }
}

/* Exponents, without their norms, of packed rows and the features of a panel. */
static void panel_exponents(const work *w, int64_t first, int64_t rows, float *to, int64_t to_row) {
    enum { PANEL = GATUN__LINEAR_PANEL };
    const int64_t columns = w->mp - first < PANEL ? w->mp - first : PANEL;
    const product p = {.a = w->input,
        .a_row = w->dp,
        .a_step = 1,
        .b = w->t->projection + first * w->d,
        .b_row = PANEL,
        .c = to,
        .c_row = to_row};
    multiply(&p, rows, columns, w->d, WHOLE);
    for (int64_t r = 0; r < rows && first + columns > w->m; r++)
        for (int64_t f = w->m - first; f < columns; f++)
            to[r * to_row + f] = NO_FEATURE;
}

/* Features of rows of q or k; of random features exponents instead, and their norms. */
static void features_of(const work *w, const float *x, int64_t x_row, int64_t rows, float *to) {
    if (!w->random) {
        if (w->t->feature_map == GATUN_FEATURES_ELU)
            pack_rows(x, x_row, rows, w->d, w->dp, 1, to, w->ms);
        else
            pack_rows(x, x_row, rows, w->d, w->dp, 0, to, w->ms);
        return;
    }
    pack_rows(x, x_row, rows, w->d, w->dp, 0, w->input, w->dp);
    squared_norms(w, rows);
    for (int64_t f = 0; f < w->mp; f += GATUN__LINEAR_PANEL)
        panel_exponents(w, f, rows, to + f, w->ms);
}

/* ---- powers of 2 ---- */

/*
 * Features of keys from exponents, columns f .. f + columns - 1 of rows of `row` floats, where later keys may be looked at: the
 * stabilizers become the largest exponent, which they were at least; sums are to be multiplied by the factors, and the weights are summed up.
 */
static void stabilized_by_all(const work *w, float *keys, int64_t row, int64_t rows, int64_t f, int64_t columns) {
    const vec one = v_set1(1);
    for (int64_t c = 0; c < columns; c += VW) {
        float *x = keys + c;
        const vec old = v_load(w->s.stabilizer + f + c);
        vec most = v_sub(old, one);
        for (int64_t j = 0; j < rows; j++)
            most = v_max(v_sub(v_load(x + j * row), v_set1(w->norms[j])), most);
        const vec stabilizer = v_add(rounded(v_min(most, v_set1(MOST_STABILIZER))), one);
        const vec factor = v_exp2(v_sub(old, stabilizer));
        vec total = v_zero();
        for (int64_t j = 0; j < rows; j++) {
            const vec p = v_exp2(v_sub(v_sub(v_load(x + j * row), v_set1(w->norms[j])), stabilizer));
            v_store(x + j * row, p);
            total = v_add(total, p);
        }
        v_store(w->s.stabilizer + f + c, stabilizer);
        v_store(w->factor + f + c, factor);
        vec lost = v_mul(v_load(w->s.weights_low + f + c), factor);
        v_store(w->s.weights + f + c, sum_up(v_mul(v_load(w->s.weights + f + c), factor), total, &lost));
        v_store(w->s.weights_low + f + c, lost);
    }
}

/*
 * Causal: stabilizers from the first of these keys and what they were, then features of the keys up to the first that exceeds one.
 * Returns how many; the factors tell what sums are to be multiplied by. *changed: whether there is one that is not 1.
 */
static int64_t stabilized_by_first(const work *w, float *keys, int64_t rows, float *stabilizer, int *changed) {
    const vec over = v_set1(HEADROOM + 1), one = v_set1(1), norm = v_set1(w->norms[0]);
    *changed = 0;
    for (int64_t f = 0; f < w->mp; f += VW) {
        const vec old = v_load(stabilizer + f);
        const vec first = v_min(v_sub(v_load(keys + f), norm), v_set1(MOST_STABILIZER));
        const vec next = v_max(v_add(rounded(v_max(first, v_set1(LEAST_STABILIZER))), over), old);
        const vec factor = v_exp2(v_sub(old, next));
        v_store(stabilizer + f, next);
        v_store(w->factor + f, factor);
        *changed |= !v_every(v_equal(factor, one));
    }
    for (int64_t j = 0; j < rows; j++) {
        const vec less = v_set1(w->norms[j]);
        vec most = v_zero();
        for (int64_t f = 0; f < w->mp; f += VW)
            most = v_max(v_sub(v_sub(v_load(keys + j * w->ms + f), less), v_load(stabilizer + f)), most);
        if (j > 0 && lanes_most(most) > 0)
            return j;
        for (int64_t f = 0; f < w->mp; f += VW) {
            float *x = keys + j * w->ms + f;
            v_store(x, v_exp2(v_sub(v_sub(v_load(x), less), v_load(stabilizer + f))));
        }
    }
    return rows;
}

/*
 * Features of queries from their exponents without norms, to `to`: shifted by the row's largest, which it returns. What a feature of a key
 * is less comes back here.
 */
static float shifted_features(const work *w, const float *x, const float *stabilizer, float *to) {
    vec most = v_set1(NO_FEATURE);
    for (int64_t f = 0; f < w->mp; f += VW)
        most = v_max(v_add(v_load(x + f), v_load(stabilizer + f)), most);
    const vec magic = v_set1(lanes_most(most));
    const vec shift = v_add(rounded(magic), v_set1(1));
    for (int64_t f = 0; f < w->mp; f += VW)
        v_store(to + f, v_exp2(v_add(v_load(x + f), v_sub(v_load(stabilizer + f), shift))));
    float lanes[VW];
    v_store(lanes, shift);
    return lanes[0];
}

/* x . y over features, lane by lane. */
INLINE vec weight_lanes(const work *w, const float *x, const float *y) {
    vec part[2] = {v_zero(), v_zero()};
    for (int64_t f = 0; f < w->mp; f += VW)
        part[f / VW & 1] = v_fma(v_load(x + f), v_load(y + f), part[f / VW & 1]);
    return v_add(part[0], part[1]);
}

static float weight_of(const work *w, const float *x, const float *y) {
    return lanes_total(weight_lanes(w, x, y));
}

/* Of rows of queries: weights [CHUNK]. */
static void weights_of(const work *w, int64_t rows, float *weights) {
    for (int64_t r = 0; r < rows; r += VW) {
        vec of_row[VW];
        for (int64_t i = 0; i < VW; i++)
            of_row[i] = r + i < rows ? weight_lanes(w, w->queries + (r + i) * w->ms, w->s.weights) : v_zero();
        v_store(weights + r, v_sums(of_row));
    }
}

/* By what the result of a row is multiplied. norm: of the row, shift: of its features, both of random features alone. */
static float row_factor(const work *w, float weight, float norm, float shift) {
    if (w->t->normalized)
        return 1 / weight;
    return w->random ? (float)(exp2((double)shift - (double)norm) / (double)w->m) : 1;
}

/*
 * x / y, from 1 / y rounded: the product's error, exact with one rounding, corrects it (Markstein), in a tenth of the time that a division
 * takes. Where the product is infinite or no number there is no such error.
 */
INLINE vec quotient(vec x, vec y, vec reciprocal) {
    const vec near = v_mul(x, reciprocal), exact = v_fma(v_fma(v_sub(v_zero(), near), y, x), reciprocal, near);
    return v_select(v_equal(exact, exact), exact, near);
}

/* A row of results; divided where it is normalized, so that equal values come out as they are as nearly as division allows. */
static void put_row(const work *w, const float *from, float weight, float factor, float *to) {
    const vec by = v_set1(factor), under = v_set1(weight);
    const float magnitude = fabsf(weight);
    if (!w->t->normalized)
        for (int64_t c = 0; c < w->v; c += VW)
            store_up_to(to + c, v_mul(v_load(from + c), by), w->v - c);
    else if (FUSED && magnitude > LEAST_DIVISOR && magnitude < 1 / LEAST_DIVISOR)
        for (int64_t c = 0; c < w->v; c += VW)
            store_up_to(to + c, quotient(v_load(from + c), under, by), w->v - c);
    else
        for (int64_t c = 0; c < w->v; c += VW)
            store_up_to(to + c, v_div(v_load(from + c), under), w->v - c);
}

/* ---- the projection ---- */

/* Rows begin .. end - 1 of the projection as columns of panels, times exponent_factor. begin is the first of a panel. */
static void pack_projection(const gatun__linear_attention_task *t) {
    enum { PANEL = GATUN__LINEAR_PANEL };
    const vec factor = v_set1(t->exponent_factor);
    for (int64_t f = t->begin; f < t->end; f += VW) {
        float *panel = t->packed + f / PANEL * PANEL * t->head_dim + f % PANEL;
        const int64_t rows = t->features - f < VW ? t->features - f : VW;
        for (int64_t d = 0; d < t->head_dim; d += VW) {
            const int64_t left = t->head_dim - d;
            vec r[VW];
            for (int64_t i = 0; i < VW; i++)
                r[i] = i < rows ? v_mul(load_up_to(t->projection + (f + i) * t->head_dim + d, left), factor) : v_zero();
            v_transpose(r);
            for (int64_t i = 0; i < VW && i < left; i++)
                v_store(panel + (d + i) * PANEL, r[i]);
        }
    }
}
