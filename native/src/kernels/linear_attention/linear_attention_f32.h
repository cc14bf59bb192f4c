/*
 * Linear attention in float32, for every tier: included once by each linear_attention_f32_<tier>.c after its vectors, the sizes of its
 * register block, BLOCK_ROWS and BLOCK_VECTORS, and FUSED, whether v_fma rounds once.
 *
 * Axes: R rows, K keys, D head_dim, M features, V head_dim_v of one head. q [R][D], k [K][D], v [K][V], out [R][V], projection [M][D],
 * packed in panels of 64 features [M / 64][D][64]; sums of values [M][V], of weights and stabilizers [M].
 *
 * Everything but q, k, v and out lies in scratch, in rows without gaps of whole vectors, so that products (products_f32.h) have no ends of
 * columns, and rows of heads that lie side by side do not compete for a part of the cache. Passes:
 *
 *   sums_f32.h    not causal. For 128 keys and 64 features: exponents k . w (lanes are features), their maxima, powers of 2, then
 *                 values * features, one chain of 128 keys, added to the sums with what floats lose. 32 KiB of features, 16 of the panel and V * 512 B
 *                 of values are in L1 and L2 meanwhile. Then for 64 rows: exponents of all features, shifted by the row's largest; features * sums.
 *   chunks_f32.h  causal. For 64 rows: features of keys and queries, weights of pairs (lanes are keys), of which only those up to the
 *                 diagonal are added up; features * sums of what was before; then the chunk's own sums. Or row by row, where one pass
 *                 over the sums changes them and multiplies the query with them.
 *   pairs_f32.h   64 rows with all keys, 64 at a time.
 *
 * The first two prefetch the next keys, values and queries, and where their rows are written, during their products: those take longer than
 * memory does, and packing waits for it.
 *
 * A key that a row does not see is never multiplied for it, so that what it holds, NaN included, does not matter.
 */
#include "gatun.h"
#include "kernels.h"

#include "../vectors/activations_f32.h"

#include <math.h>
#include <string.h>

#include "products_f32.h"
/* after it */
#include "features_f32.h"
/* after them */
#include "sums_f32.h"
/* after them */
#include "chunks_f32.h"
/* after them */
#include "pairs_f32.h"

void KERNEL(linear_attention_f32)(const gatun__linear_attention_task *t) {
    if (t->phase == GATUN__LINEAR_PROJECTION) {
        pack_projection(t);
        return;
    }
    const work w = work_of(t);
    switch (t->phase) {
    case GATUN__LINEAR_KEYS:
        sum_keys(&w);
        break;
    case GATUN__LINEAR_ROWS:
        make_rows(&w);
        break;
    case GATUN__LINEAR_CHUNKS:
        make_chunks(&w);
        break;
    case GATUN__LINEAR_STEPS:
        make_steps(&w);
        break;
    default:
        make_pairs(&w);
        break;
    }
}
