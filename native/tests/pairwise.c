#include "pairwise.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

typedef struct cover {
    const factors *f;
    bool seen[MAX_FACTORS][MAX_VALUES][MAX_FACTORS][MAX_VALUES];
} cover;

/* Pairs that value of factor would add to what row holds. */
static int gain(const cover *c, const int row[MAX_FACTORS], int factor, int value) {
    int pairs = 0;
    for (int other = 0; other < c->f->count; other++) {
        if (other != factor && row[other] >= 0) {
            pairs += !c->seen[factor][value][other][row[other]];
        }
    }
    return pairs;
}

/* Gives the free factors of row, in random order, the values that cover most pairs within the budget. */
static void complete(const cover *c, int row[MAX_FACTORS], int64_t budget, rng *random) {
    int order[MAX_FACTORS];
    for (int i = 0; i < c->f->count; i++) {
        int at = (int)rng_below(random, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < c->f->count; i++) {
        int factor = order[i];
        if (row[factor] >= 0) {
            continue;
        }
        int best = -1;
        int best_gain = -1;
        int64_t best_cost = 0;
        int first = (int)rng_below(random, c->f->values[factor]);
        for (int n = 0; n < c->f->values[factor]; n++) {
            int value = (first + n) % c->f->values[factor];
            row[factor] = value;
            int64_t cost = c->f->cost(row);
            row[factor] = -1;
            int pairs = gain(c, row, factor, value);
            bool better =
                cost <= budget ? best < 0 || best_cost > budget || pairs > best_gain : best < 0 || cost < best_cost;
            if (better) {
                best = value;
                best_gain = pairs;
                best_cost = cost;
            }
        }
        row[factor] = best;
    }
}

static void mark(cover *c, const int row[MAX_FACTORS]) {
    for (int a = 0; a < c->f->count; a++) {
        for (int b = 0; b < c->f->count; b++) {
            c->seen[a][row[a]][b][row[b]] = true;
        }
    }
}

int64_t pairwise_rows(const factors *f, int (**rows)[MAX_FACTORS]) {
    cover *c = test_allocate((int64_t)sizeof *c);
    memset(c, 0, sizeof *c);
    c->f = f;
    rng random = rng_make(1, 0); /* not the test's seed: the array is to be the same in every run */
    int64_t count = 0;
    int64_t room = 256;
    *rows = test_allocate(room * (int64_t)sizeof **rows);
    for (int a = 0; a < f->count; a++) {
        for (int b = a + 1; b < f->count; b++) {
            for (int64_t pair = 0; pair < (int64_t)f->values[a] * f->values[b]; pair++) {
                int row[MAX_FACTORS];
                for (int i = 0; i < MAX_FACTORS; i++) {
                    row[i] = -1;
                }
                row[a] = (int)(pair / f->values[b]);
                row[b] = (int)(pair % f->values[b]);
                if (c->seen[a][row[a]][b][row[b]]) {
                    continue;
                }
                int64_t least = f->cost(row);
                complete(c, row, least > f->budget ? least : f->budget, &random);
                mark(c, row);
                if (count == room) {
                    room *= 2;
                    *rows = realloc(*rows, (size_t)room * sizeof **rows);
                    if (*rows == NULL) {
                        abort();
                    }
                }
                memcpy((*rows)[count++], row, sizeof row);
            }
        }
    }
    free(c);
    return count;
}
