package dev.gatun.bench.peer;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Attention by Java's Vector API, as well as a page of it can: the keys of a head transposed, four
 * query rows at a time, tiles of four rows by two vectors in registers, softmax by vectors. Arrays
 * are {@code [batch, heads, seq, dim]}; it allocates nothing when it runs.
 */
final class VectorAttention implements Runnable {
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();
  private static final int ROWS = 4;

  /** A pitch that is no power of two, against conflicts in the cache. */
  private static final int PITCH_GAP = 16;

  private final float[] q;
  private final float[] k;
  private final float[] v;
  private final float[] out;
  private final boolean causal;
  private final int first;
  private final int last;
  private final int group;
  private final int seqQ;
  private final int seqK;
  private final int dim;

  private final int pitch;
  private final float[] transposed;
  private final float[] scores;

  /**
   * Takes the arrays.
   *
   * @param q queries
   * @param k keys
   * @param v values
   * @param out receives the result
   * @param sizes batch, heads, kvHeads, seqQ, seqK, dim, the last a multiple of the vector's length
   * @param causal whether row i sees the keys up to i + seqK - seqQ only
   * @param first of the heads of all batch rows that are computed
   * @param last their end
   */
  VectorAttention(
      float[] q,
      float[] k,
      float[] v,
      float[] out,
      int[] sizes,
      boolean causal,
      int first,
      int last) {
    this.q = q;
    this.k = k;
    this.v = v;
    this.out = out;
    this.causal = causal;
    this.first = first;
    this.last = last;
    this.group = sizes[1] / sizes[2];
    this.seqQ = sizes[3];
    this.seqK = sizes[4];
    this.dim = sizes[5];
    if (dim % LANES != 0) {
      throw new IllegalArgumentException(
          "dim: expected a multiple of %d, got %d".formatted(LANES, dim));
    }
    this.pitch = padded(seqK) + PITCH_GAP;
    this.transposed = new float[seqQ < ROWS ? 0 : dim * pitch];
    this.scores = new float[ROWS * pitch];
  }

  /** Keys rounded up to two vectors. */
  private static int padded(int keys) {
    return (keys + 2 * LANES - 1) / (2 * LANES) * (2 * LANES);
  }

  /** How many keys a row sees. */
  private int visible(int row) {
    return causal ? Math.min(seqK, row + 1 + seqK - seqQ) : seqK;
  }

  @Override
  public void run() {
    for (int h = first; h < last; h++) {
      int keys = h / group * seqK * dim;
      int rows = h * seqQ * dim;
      int i = 0;
      if (seqQ >= ROWS) {
        transpose(keys);
        for (; i + ROWS <= seqQ; i += ROWS) {
          int end = visible(i + ROWS - 1);
          int padded = padded(end);
          scores(rows + i * dim, padded);
          for (int r = 0; r < ROWS; r++) {
            softmax(r * pitch, visible(i + r), padded);
          }
          for (int c = 0; c < dim; c += 2 * LANES) {
            if (c + 2 * LANES <= dim) {
              values2(keys + c, rows + i * dim + c, end);
            } else {
              values1(keys + c, rows + i * dim + c, end);
            }
          }
        }
      }
      for (; i < seqQ; i++) {
        row(keys, rows + i * dim, visible(i));
      }
    }
  }

  private void transpose(int keys) {
    for (int j = 0; j < seqK; j++) {
      for (int c = 0; c < dim; c++) {
        transposed[c * pitch + j] = k[keys + j * dim + c];
      }
    }
  }

  /** Scores of four rows. */
  private void scores(int at, int padded) {
    for (int j = 0; j < padded; j += 2 * LANES) {
      FloatVector a0 = FloatVector.zero(FLOATS);
      FloatVector a1 = a0;
      FloatVector b0 = a0;
      FloatVector b1 = a0;
      FloatVector c0 = a0;
      FloatVector c1 = a0;
      FloatVector d0 = a0;
      FloatVector d1 = a0;
      for (int c = 0; c < dim; c++) {
        FloatVector x0 = FloatVector.fromArray(FLOATS, transposed, c * pitch + j);
        FloatVector x1 = FloatVector.fromArray(FLOATS, transposed, c * pitch + j + LANES);
        FloatVector a = FloatVector.broadcast(FLOATS, q[at + c]);
        FloatVector b = FloatVector.broadcast(FLOATS, q[at + dim + c]);
        FloatVector cc = FloatVector.broadcast(FLOATS, q[at + 2 * dim + c]);
        FloatVector d = FloatVector.broadcast(FLOATS, q[at + 3 * dim + c]);
        a0 = a.fma(x0, a0);
        a1 = a.fma(x1, a1);
        b0 = b.fma(x0, b0);
        b1 = b.fma(x1, b1);
        c0 = cc.fma(x0, c0);
        c1 = cc.fma(x1, c1);
        d0 = d.fma(x0, d0);
        d1 = d.fma(x1, d1);
      }
      a0.intoArray(scores, j);
      a1.intoArray(scores, j + LANES);
      b0.intoArray(scores, pitch + j);
      b1.intoArray(scores, pitch + j + LANES);
      c0.intoArray(scores, 2 * pitch + j);
      c1.intoArray(scores, 2 * pitch + j + LANES);
      d0.intoArray(scores, 3 * pitch + j);
      d1.intoArray(scores, 3 * pitch + j + LANES);
    }
  }

  /**
   * Makes the weights of the scores of one row; what lies beyond the keys it sees becomes 2^-126,
   * which is nothing beside the others.
   */
  private void softmax(int at, int visible, int padded) {
    for (int j = visible; j < padded; j++) {
      scores[at + j] = Float.NEGATIVE_INFINITY;
    }
    FloatVector most = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
    for (int j = 0; j < padded; j += LANES) {
      most = most.max(FloatVector.fromArray(FLOATS, scores, at + j));
    }
    float max = most.reduceLanes(VectorOperators.MAX);
    float factor = (float) (1 / (Math.sqrt(dim) * Math.log(2)));
    FloatVector sum = FloatVector.zero(FLOATS);
    for (int j = 0; j < padded; j += LANES) {
      FloatVector e =
          exp2(FloatVector.fromArray(FLOATS, scores, at + j).sub(max).mul(factor).max(-126f));
      e.intoArray(scores, at + j);
      sum = sum.add(e);
    }
    float share = 1 / sum.reduceLanes(VectorOperators.ADD);
    for (int j = 0; j < padded; j += LANES) {
      FloatVector.fromArray(FLOATS, scores, at + j).mul(share).intoArray(scores, at + j);
    }
  }

  /** 2^x for x in -126 … 0: a polynomial on [-1/2, 1/2], the exponent added as an integer. */
  private static FloatVector exp2(FloatVector x) {
    float round = 0x1.8p23f; // adding it leaves the nearest integer in the low bits
    FloatVector shifted = x.add(round);
    FloatVector r = x.sub(shifted.sub(round));
    FloatVector p = FloatVector.broadcast(FLOATS, 0x1.416b60p-13f);
    p = p.fma(r, FloatVector.broadcast(FLOATS, 0x1.5f082ep-10f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 0x1.3b2de0p-7f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 0x1.c6af7cp-5f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 0x1.ebfbdcp-3f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 0x1.62e430p-1f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 1f));
    IntVector exponent = shifted.viewAsIntegralLanes().lanewise(VectorOperators.LSHL, 23);
    return p.viewAsIntegralLanes().add(exponent).viewAsFloatingLanes();
  }

  /** Four rows by two vectors of the output. */
  private void values2(int at, int to, int end) {
    FloatVector a0 = FloatVector.zero(FLOATS);
    FloatVector a1 = a0;
    FloatVector b0 = a0;
    FloatVector b1 = a0;
    FloatVector c0 = a0;
    FloatVector c1 = a0;
    FloatVector d0 = a0;
    FloatVector d1 = a0;
    for (int j = 0; j < end; j++) {
      FloatVector x0 = FloatVector.fromArray(FLOATS, v, at + j * dim);
      FloatVector x1 = FloatVector.fromArray(FLOATS, v, at + j * dim + LANES);
      FloatVector a = FloatVector.broadcast(FLOATS, scores[j]);
      FloatVector b = FloatVector.broadcast(FLOATS, scores[pitch + j]);
      FloatVector c = FloatVector.broadcast(FLOATS, scores[2 * pitch + j]);
      FloatVector d = FloatVector.broadcast(FLOATS, scores[3 * pitch + j]);
      a0 = a.fma(x0, a0);
      a1 = a.fma(x1, a1);
      b0 = b.fma(x0, b0);
      b1 = b.fma(x1, b1);
      c0 = c.fma(x0, c0);
      c1 = c.fma(x1, c1);
      d0 = d.fma(x0, d0);
      d1 = d.fma(x1, d1);
    }
    a0.intoArray(out, to);
    a1.intoArray(out, to + LANES);
    b0.intoArray(out, to + dim);
    b1.intoArray(out, to + dim + LANES);
    c0.intoArray(out, to + 2 * dim);
    c1.intoArray(out, to + 2 * dim + LANES);
    d0.intoArray(out, to + 3 * dim);
    d1.intoArray(out, to + 3 * dim + LANES);
  }

  /** Four rows by one vector: the rest of an odd number of vectors. */
  private void values1(int at, int to, int end) {
    for (int r = 0; r < ROWS; r++) {
      weightedSum(r * pitch, at, to + r * dim, end);
    }
  }

  /** One row by one vector. */
  private void weightedSum(int weights, int at, int to, int end) {
    FloatVector sum = FloatVector.zero(FLOATS);
    FloatVector other = sum;
    int j = 0;
    for (; j + 2 <= end; j += 2) {
      sum =
          FloatVector.fromArray(FLOATS, v, at + j * dim)
              .lanewise(
                  VectorOperators.FMA, FloatVector.broadcast(FLOATS, scores[weights + j]), sum);
      other =
          FloatVector.fromArray(FLOATS, v, at + (j + 1) * dim)
              .lanewise(
                  VectorOperators.FMA,
                  FloatVector.broadcast(FLOATS, scores[weights + j + 1]),
                  other);
    }
    if (j < end) {
      sum =
          FloatVector.fromArray(FLOATS, v, at + j * dim)
              .lanewise(
                  VectorOperators.FMA, FloatVector.broadcast(FLOATS, scores[weights + j]), sum);
    }
    sum.add(other).intoArray(out, to);
  }

  /** One row on its own, as in decoding: keys are read as they lie. */
  private void row(int keys, int at, int visible) {
    for (int j = 0; j < visible; j++) {
      FloatVector sum = FloatVector.zero(FLOATS);
      for (int c = 0; c < dim; c += LANES) {
        FloatVector x = FloatVector.fromArray(FLOATS, q, at + c);
        sum = x.fma(FloatVector.fromArray(FLOATS, k, keys + j * dim + c), sum);
      }
      scores[j] = sum.reduceLanes(VectorOperators.ADD);
    }
    softmax(0, visible, padded(visible));
    for (int c = 0; c < dim; c += LANES) {
      weightedSum(0, keys + c, at + c, visible);
    }
  }
}
