package dev.gatun.support;

/**
 * Attention in double, written from the formulas of {@code gatun.h} alone, with the bound that the
 * header puts on the error. Deliberately naive: three loops and an array of scores.
 */
public final class Reference {

  /** {@code [batch][seqQ][heads][headDimV]}. */
  public final double[] out;

  /** {@code [batch][heads][seqQ]}. */
  public final double[] lse;

  private final Problem problem;

  /**
   * Per row, indexed as lse: |scale| · max_j Σ|q_d k_jd| + max_j|bias| + |sink|, and max|v|, over
   * the keys it sees.
   */
  private final double[] magnitude;

  private final double[] maxValue;

  public Reference(Problem p) {
    this.problem = p;
    this.out = new double[p.batch * p.seqQ * p.heads * p.headDimV];
    this.lse = new double[p.batch * p.heads * p.seqQ];
    this.magnitude = new double[lse.length];
    this.maxValue = new double[lse.length];
    double[] score = new double[p.seqK];
    for (int b = 0; b < p.batch; b++) {
      for (int h = 0; h < p.heads; h++) {
        for (int i = 0; i < p.seqQ; i++) {
          row(b, h, i, score);
        }
      }
    }
  }

  private void row(int b, int h, int i, double[] score) {
    Problem p = problem;
    int g = h / (p.heads / p.kvHeads);
    int at = p.lseAt(b, h, i);
    double scale = Float.isNaN(p.scale) ? 1 / Math.sqrt(p.headDim) : p.scale;
    int keys = i < p.queryLength(b) ? p.keyLength(b) : 0;
    double max = Double.NEGATIVE_INFINITY;
    double maxBias = 0;
    boolean poisoned = false;
    for (int j = 0; j < keys; j++) {
      score[j] = Double.NEGATIVE_INFINITY;
      if (!p.sees(b, h, i, j)) {
        continue;
      }
      double dot = 0;
      double absolute = 0;
      for (int d = 0; d < p.headDim; d++) {
        double product = (double) p.q[p.qAt(b, i, h, d)] * p.k[p.kAt(b, j, g, d)];
        dot += product;
        absolute += Math.abs(product);
      }
      double bias = p.bias(b, h, i, j);
      double scaled = scale * dot;
      if (p.softcap > 0) {
        scaled = p.softcap * Math.tanh(scaled / p.softcap);
      }
      score[j] = bias == Double.NEGATIVE_INFINITY ? bias : scaled + bias;
      if (score[j] == Double.NEGATIVE_INFINITY) {
        continue; // masks its entry
      }
      poisoned |= Double.isNaN(score[j]) || score[j] == Double.POSITIVE_INFINITY;
      max = Math.max(max, score[j]);
      magnitude[at] = Math.max(magnitude[at], Math.abs(scale) * absolute);
      maxBias = Math.max(maxBias, Math.abs(bias));
      for (int d = 0; d < p.headDimV; d++) {
        maxValue[at] = Math.max(maxValue[at], Math.abs(p.v[p.vAt(b, j, g, d)]));
      }
    }
    double sink = p.sinks != null && i < p.queryLength(b) ? p.sinks[h] : Double.NEGATIVE_INFINITY;
    poisoned |= Double.isNaN(sink);
    magnitude[at] += maxBias + (sink == Double.NEGATIVE_INFINITY ? 0 : Math.abs(sink));
    if (poisoned) {
      lse[at] = Double.NaN;
      for (int d = 0; d < p.headDimV; d++) {
        out[p.outAt(b, i, h, d)] = Double.NaN;
      }
      return;
    }
    if (max == Double.NEGATIVE_INFINITY) {
      lse[at] = sink; // nothing to see; out is 0
      return;
    }
    max = Math.max(max, sink);
    double sum = Math.exp(sink - max);
    for (int j = 0; j < keys; j++) {
      sum += Math.exp(score[j] - max);
    }
    lse[at] = max + Math.log(sum);
    for (int j = 0; j < keys; j++) {
      if (score[j] == Double.NEGATIVE_INFINITY) {
        continue;
      }
      double weight = Math.exp(score[j] - max) / sum;
      for (int d = 0; d < p.headDimV; d++) {
        out[p.outAt(b, i, h, d)] += weight * p.v[p.vAt(b, j, g, d)];
      }
    }
  }

  /** What out may differ from the exact value in a row. */
  public double outBound(int b, int h, int i) {
    int at = problem.lseAt(b, h, i);
    return (2e-6 + roundings() * magnitude[at]) * maxValue[at];
  }

  /** What lse may differ from the exact value in a row. */
  public double lseBound(int b, int h, int i) {
    int at = problem.lseAt(b, h, i);
    return 1e-5 + 1e-6 * Math.abs(lse[at]) + roundings() * magnitude[at];
  }

  /** 8 roundings of a product on drawn values, a chain of headDim on any. */
  private double roundings() {
    return (problem.drawn ? 8 : 8 + problem.headDim / 2.0) * 0x1p-24;
  }

  /**
   * Compares results.
   *
   * @return the largest error over its bound
   * @throws AssertionError that names the first element outside its bound
   */
  public double check(float[] gotOut, float[] gotLse) {
    Problem p = problem;
    double worst = 0;
    for (int b = 0; b < p.batch; b++) {
      for (int h = 0; h < p.heads; h++) {
        for (int i = 0; i < p.seqQ; i++) {
          for (int d = 0; d < p.headDimV; d++) {
            int at = p.outAt(b, i, h, d);
            worst =
                Math.max(
                    worst,
                    ratio("out[%d,%d,%d,%d]", gotOut[at], out[at], outBound(b, h, i), b, i, h, d));
          }
          if (gotLse != null) {
            int at = p.lseAt(b, h, i);
            worst =
                Math.max(
                    worst, ratio("lse[%d,%d,%d]", gotLse[at], lse[at], lseBound(b, h, i), b, h, i));
          }
        }
      }
    }
    return worst;
  }

  private double ratio(String name, float got, double want, double bound, Object... index) {
    if (Double.isNaN(want) && Float.isNaN(got) || got == want) {
      return 0;
    }
    double ratio = Math.abs(got - want) / bound;
    if (!(ratio <= 1)) {
      throw new AssertionError(
          "%s of %s: expected %s, got %s, bound %s"
              .formatted(name.formatted(index), problem, want, got, bound));
    }
    return ratio;
  }
}
