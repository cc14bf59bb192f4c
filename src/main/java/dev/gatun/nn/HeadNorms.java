package dev.gatun.nn;

import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;

/**
 * Norms of the heads of queries and of keys, each head a row of its own (Henry et al., 2020,
 * "Query- Key Normalization for Transformers", with a weight): Qwen3's and Gemma 3's.
 *
 * @param ofQueries or null, and then ofKeys is
 * @param ofKeys or null, and then ofQueries is
 */
record HeadNorms(Norm ofQueries, Norm ofKeys) {

  static final HeadNorms NONE = new HeadNorms(null, null);

  /** Refuses norms of another size than heads have. */
  void check(long headDim) {
    if (ofQueries != null) {
      check("ofQueries", ofQueries, headDim);
      check("ofKeys", ofKeys, headDim);
    }
  }

  private static void check(String name, Norm norm, long headDim) {
    if (norm.dim() != headDim) {
      throw new IllegalArgumentException(
          "headNorms: expected %s of %d elements (a head), got %d"
              .formatted(name, headDim, norm.dim()));
    }
  }

  void addTo(Parameters.Builder all) {
    if (ofQueries != null) {
      all.addAll(ofQueries.parameters()).addAll(ofKeys.parameters());
    }
  }

  /** Normalizes the heads of queries in place. */
  void queries(LayerCall call, Matrix x) {
    run(call, ofQueries, x);
  }

  /** Normalizes the heads of keys in place. */
  void keys(LayerCall call, Matrix x) {
    run(call, ofKeys, x);
  }

  private static void run(LayerCall call, Norm norm, Matrix x) {
    if (norm == null) {
      return;
    }
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    // Heads of all rows are evenly spaced only where nothing lies between the rows.
    boolean even = x.rows() == 1 || x.stride() == x.columns();
    Matrix all = even ? x : scratch.matrix(x.rows(), x.columns());
    if (!even) {
      x.copyRows(0, all, 0, x.rows());
    }
    long heads = x.rows() * (x.columns() / norm.dim());
    Matrix rows = scratch.view(all.segment(), heads, norm.dim(), norm.dim());
    norm.run(call, rows, null, null, rows);
    if (!even) {
      all.copyRows(0, x, 0, x.rows());
    }
    scratch.release(mark);
  }
}
