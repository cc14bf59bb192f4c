package dev.gatun.cli;

import dev.gatun.Causal;
import dev.gatun.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.LongStream;

/**
 * Attention by its definition, in doubles: all scores of a row, their maximum, the exponentials,
 * the weighted sum. It shares nothing with the library but the formula. Outputs are compared with
 * it row by row against the bound that {@code gatun.h} states:
 *
 * <pre>
 *   |out - exact| &lt;= (2e-6 + c * 2^-24 * S) * max|v|
 *   |lse - exact| &lt;= 1e-5 + 1e-6 * |lse| + c * 2^-24 * S
 *   S = |scale| * max_j sum_d |q_d * k_jd| + max_j |bias_j| + |sink|
 * </pre>
 *
 * with maxima over the keys that the row attends to. To each comes what float32 loses below its
 * smallest number, 2^-149 for each operation, which matters for denormal values only.
 */
final class ReferenceAttention {
  /**
   * Keys that are converted to doubles together; the loops over them have no dependency and become
   * vector code.
   */
  private static final int TILE = 64;

  /** Scores of one block of rows, at most, unless one row has more. */
  private static final int BLOCK_SCORES = 1 << 18;

  private static final int BLOCK_ROWS = 32;

  /**
   * Where float32 might overflow on the way, in products, in sums or times log2(e), nothing is
   * promised. A row in which a partial result could come near the largest number is not compared.
   */
  private static final double LIMIT = Float.MAX_VALUE / 4;

  private static final double ULP = 0x1p-24;

  /**
   * What to compute; shapes are {@code [batch, seq, heads, headDim]}.
   *
   * @param keyLengths one for each batch row, or null
   * @param queryLengths one for each batch row, or null
   * @param scale empty for 1/sqrt(headDim)
   * @param changes what else there is
   */
  record Problem(
      Tensor q,
      Tensor k,
      Tensor v,
      int[] keyLengths,
      int[] queryLengths,
      Causal causal,
      OptionalDouble scale,
      Changes changes) {
    Problem(
        Tensor q,
        Tensor k,
        Tensor v,
        int[] keyLengths,
        int[] queryLengths,
        Causal causal,
        OptionalDouble scale) {
      this(q, k, v, keyLengths, queryLengths, causal, scale, Changes.NONE);
    }

    double factor() {
      return scale.orElseGet(() -> 1 / Math.sqrt(q.size(3)));
    }

    long queries(long b) {
      return queryLengths == null ? q.size(1) : queryLengths[(int) b];
    }

    long keys(long b) {
      return keyLengths == null ? k.size(1) : keyLengths[(int) b];
    }

    /** How many keys, the first ones, causal mask and lengths leave to row i of batch row b. */
    long visible(long b, long i) {
      long keys = keys(b);
      if (i >= queries(b)) {
        return 0;
      }
      int[] prefixes = changes.prefixes();
      long prefix = prefixes == null ? 0 : Math.min(keys, prefixes[(int) b]);
      return switch (causal) {
        case NONE -> keys;
        case TOP_LEFT, BOTTOM_RIGHT -> Math.clamp(position(b, i) + 1, prefix, keys);
      };
    }

    private long position(long b, long i) {
      if (changes.positions() != null) {
        return changes.positions().getInt(b, i);
      }
      return causal == Causal.TOP_LEFT ? i : i + keys(b) - queries(b);
    }

    /** Whether key j, one of the visible ones, is left to row i. */
    boolean sees(long b, long h, long i, long j) {
      return !changes.hide()
          || changes.near(position(b, i), b, i, j) && changes.unmasked(b, h, i, j);
    }

    /** What is added to the score of key j. */
    double bias(long b, long h, long i, long j) {
      return changes.bias(position(b, i), b, h, i, j);
    }

    /** The score of the key without value, or minus infinity. */
    double sink(long b, long h, long i) {
      return changes.spec().sinks().isPresent() && i < queries(b)
          ? changes.spec().sinks().get().getFloat(h)
          : Double.NEGATIVE_INFINITY;
    }

    /**
     * Pairs of a query and a key that are multiplied, of one head or, where they differ by head,
     * the mean: those of a mask that tells single keys count.
     */
    double pairs() {
      double pairs = 0;
      for (long b = 0; b < q.size(0); b++) {
        long rows = queries(b);
        if (changes.hide()) {
          for (long i = 0; i < rows; i++) {
            long visible = visible(b, i);
            for (long j = 0; j < visible; j++) {
              pairs += changes.near(position(b, i), b, i, j) ? changes.shareOfBlocks(b, i, j) : 0;
            }
          }
        } else if (causal == Causal.NONE) {
          pairs += rows * keys(b);
        } else {
          for (long i = 0; i < rows; i++) {
            pairs += visible(b, i);
          }
        }
      }
      return pairs;
    }
  }

  /**
   * What is compared: out {@code [batch, seq, heads, headDimV]}, lse {@code [batch, heads, seq]}.
   */
  record Output(Tensor out, Tensor lse) {}

  /** The worst of one output, out or lse. */
  static final class Worst {
    /** The greatest difference. Infinite where one is NaN and the other is not, and so on. */
    double error;

    /** The greatest difference over its bound, which is kept when it is at most 1. */
    double ratio;

    /** Where the greatest ratio is: batch, row, head, element; empty if nothing was compared. */
    long[] index = {};

    double exact;
    double got;

    private void add(double error, double bound, double exact, double got, long... index) {
      this.error = Math.max(this.error, error);
      double ratio = error == 0 ? 0 : error / bound;
      if (this.index.length == 0 || ratio > this.ratio) {
        this.ratio = ratio;
        this.index = index.clone();
        this.exact = exact;
        this.got = got;
      }
    }

    private void add(Worst other) {
      error = Math.max(error, other.error);
      // The lower index where ratios are the same, so that the threads' order does not show.
      if (other.index.length > 0
          && (index.length == 0
              || other.ratio > ratio
              || (other.ratio == ratio && Arrays.compare(other.index, index) < 0))) {
        ratio = other.ratio;
        index = other.index;
        exact = other.exact;
        got = other.got;
      }
    }
  }

  /** What came out of comparing one output with the reference. */
  static final class Comparison {
    final Worst out = new Worst();
    final Worst lse = new Worst();

    /** Rows that nothing is promised for. */
    long skippedRows;

    private void add(Comparison other) {
      out.add(other.out);
      lse.add(other.lse);
      skippedRows += other.skippedRows;
    }

    boolean passed() {
      return out.ratio <= 1 && lse.ratio <= 1;
    }

    double ratio() {
      return Math.max(out.ratio, lse.ratio);
    }
  }

  private final Problem problem;
  private final List<Output> outputs;
  private final double c;
  private final double scale;
  private final double softcap;
  private final int headDim;
  private final int headDimV;

  private ReferenceAttention(Problem problem, List<Output> outputs, double c) {
    this.problem = problem;
    this.outputs = outputs;
    this.c = c;
    this.scale = problem.factor();
    this.softcap = problem.changes.spec().softcap().orElse(0);
    this.headDim = Math.toIntExact(problem.q.size(3));
    this.headDimV = Math.toIntExact(problem.v.size(3));
  }

  /** The c of the bound for randomly drawn numbers, whose rounding errors mostly cancel. */
  static double randomData() {
    return 8;
  }

  /** The c of the bound for any numbers: a chain of headDim roundings. */
  static double anyData(Problem problem) {
    return 8 + problem.q.size(3) / 2.0;
  }

  /** Computes the reference once, with all CPUs, and compares each of the outputs with it. */
  static List<Comparison> compare(Problem problem, double c, List<Output> outputs) {
    ReferenceAttention reference = new ReferenceAttention(problem, outputs, c);
    long rows = problem.q.size(1);
    long block = Math.clamp(BLOCK_SCORES / Math.max(1, problem.k.size(1)), 1, BLOCK_ROWS);
    long blocks = Math.ceilDiv(rows, block);
    long heads = problem.q.size(2);
    return LongStream.range(0, problem.q.size(0) * heads * blocks)
        .parallel()
        .mapToObj(
            task -> {
              long from = task % blocks * block;
              long b = task / blocks / heads;
              return reference.block(b, task / blocks % heads, from, Math.min(rows, from + block));
            })
        .collect(reference::none, ReferenceAttention::add, ReferenceAttention::add);
  }

  private List<Comparison> none() {
    return outputs.stream().map(_ -> new Comparison()).toList();
  }

  private static void add(List<Comparison> sums, List<Comparison> more) {
    for (int i = 0; i < sums.size(); i++) {
      sums.get(i).add(more.get(i));
    }
  }

  private List<Comparison> block(long b, long h, long from, long to) {
    List<Row> rows = new ArrayList<>();
    for (long i = from; i < to; i++) {
      rows.add(new Row(b, h, i));
    }
    long group = h / (problem.q.size(2) / problem.k.size(2));
    int keys = rows.stream().mapToInt(row -> row.scores.length).max().orElse(0);
    score(rows, b, group, keys);
    rows.forEach(Row::softmax);
    sum(rows, b, group, keys);
    List<Comparison> comparisons = none();
    for (Row row : rows) {
      for (int i = 0; i < outputs.size(); i++) {
        row.compare(outputs.get(i), comparisons.get(i));
      }
    }
    return comparisons;
  }

  private void score(List<Row> rows, long b, long group, int keys) {
    float[] key = new float[headDim];
    double[] tile = new double[headDim * TILE];
    double[] sums = new double[TILE];
    double[] absolutes = new double[TILE];
    for (int first = 0; first < keys; first += TILE) {
      int count = Math.min(TILE, keys - first);
      for (int j = 0; j < count; j++) {
        load(problem.k, b, first + j, group, key);
        for (int d = 0; d < headDim; d++) {
          tile[d * TILE + j] = key[d];
        }
      }
      for (Row row : rows) {
        if (row.scores.length <= first) {
          continue;
        }
        Arrays.fill(sums, 0);
        Arrays.fill(absolutes, 0);
        for (int d = 0; d < headDim; d++) {
          double q = row.query[d];
          for (int j = 0; j < TILE; j++) {
            double product = q * tile[d * TILE + j];
            sums[j] += product;
            absolutes[j] += Math.abs(product);
          }
        }
        for (int j = 0; j < Math.min(count, row.scores.length - first); j++) {
          row.scored(first + j, sums[j], absolutes[j]);
        }
      }
    }
  }

  private void sum(List<Row> rows, long b, long group, int keys) {
    float[][] values = new float[TILE][headDimV];
    double[] greatest = new double[TILE];
    boolean[] finite = new boolean[TILE];
    for (int first = 0; first < keys; first += TILE) {
      int count = Math.min(TILE, keys - first);
      for (int j = 0; j < count; j++) {
        load(problem.v, b, first + j, group, values[j]);
        greatest[j] = 0;
        finite[j] = true;
        for (float value : values[j]) {
          if (Float.isFinite(value)) {
            greatest[j] = Math.max(greatest[j], Math.abs(value));
          } else {
            finite[j] = false;
          }
        }
      }
      for (Row row : rows) {
        for (int j = 0; j < Math.min(count, row.scores.length - first); j++) {
          if (!row.masked[first + j]) {
            row.weighed(row.scores[first + j], values[j], greatest[j], finite[j]);
          }
        }
      }
    }
  }

  private static void load(Tensor tensor, long b, long i, long h, float[] target) {
    long offset = b * tensor.stride(0) + i * tensor.stride(1) + h * tensor.stride(2);
    MemorySegment.copy(
        tensor.segment(), ValueLayout.JAVA_FLOAT, offset * Float.BYTES, target, 0, target.length);
  }

  /** One row of the output on its way: scores, then weights, then the weighted sum. */
  private final class Row {
    final long b;
    final long h;
    final long i;
    final float[] query = new float[headDim];

    /** The scores of the keys that position and lengths allow, later their exponentials. */
    final double[] scores;

    /** Keys that are hidden, or have a score or bias of minus infinity. */
    final boolean[] masked;

    /** A score is NaN or plus infinity. */
    boolean poisoned;

    /** Not masked. */
    long attended;

    double greatestQuery;
    double greatestProducts;
    double greatestBias;
    final double sink;
    double maximum = Double.NEGATIVE_INFINITY;
    double total;
    double greatestValue;
    final double[] out = new double[headDimV];

    /** Columns with a NaN among the values that the row attends to; null if there is none. */
    boolean[] nanColumns;

    Row(long b, long h, long i) {
      this.b = b;
      this.h = h;
      this.i = i;
      this.scores = new double[Math.toIntExact(problem.visible(b, i))];
      this.masked = new boolean[scores.length];
      this.sink = problem.sink(b, h, i);
      this.poisoned = Double.isNaN(sink) || sink == Double.POSITIVE_INFINITY;
      if (scores.length > 0) {
        load(problem.q, b, i, h, query);
        for (float q : query) {
          greatestQuery = Math.max(greatestQuery, Math.abs(q));
        }
      }
    }

    void scored(int j, double sum, double absolutes) {
      double bias = problem.bias(b, h, i, j);
      double score = scale * sum;
      if (softcap > 0) {
        score = softcap * Math.tanh(score / softcap);
      }
      score += bias;
      scores[j] = score;
      if (score == Double.NEGATIVE_INFINITY
          || bias == Double.NEGATIVE_INFINITY
          || !problem.sees(b, h, i, j)) {
        masked[j] = true;
        return;
      }
      greatestBias = Math.max(greatestBias, Math.abs(bias));
      attended++;
      poisoned |= Double.isNaN(score) || score == Double.POSITIVE_INFINITY;
      maximum = Math.max(maximum, score);
      greatestProducts = Math.max(greatestProducts, absolutes);
    }

    void softmax() {
      maximum = Math.max(maximum, sink);
      if (sink > Double.NEGATIVE_INFINITY) {
        total = Math.exp(sink - maximum);
      }
      for (int j = 0; j < scores.length; j++) {
        if (!masked[j]) {
          scores[j] = Math.exp(scores[j] - maximum);
          total += scores[j];
        }
      }
    }

    void weighed(double weight, float[] values, double greatest, boolean finite) {
      greatestValue = Math.max(greatestValue, greatest);
      for (int d = 0; d < out.length; d++) {
        out[d] += weight * values[d];
      }
      if (!finite) {
        nanColumns = nanColumns == null ? new boolean[out.length] : nanColumns;
        for (int d = 0; d < out.length; d++) {
          nanColumns[d] |= Float.isNaN(values[d]);
        }
      }
    }

    void compare(Output output, Comparison comparison) {
      float[] got = new float[headDimV];
      load(output.out, b, i, h, got);
      double gotLse = output.lse == null ? 0 : output.lse.getFloat(b, h, i);
      if (poisoned) {
        for (int d = 0; d < got.length; d++) {
          comparison.out.add(
              Float.isNaN(got[d]) ? 0 : Double.POSITIVE_INFINITY,
              0,
              Double.NaN,
              got[d],
              b,
              i,
              h,
              d);
        }
        if (output.lse != null) {
          comparison.lse.add(
              Double.isNaN(gotLse) ? 0 : Double.POSITIVE_INFINITY, 0, Double.NaN, gotLse, b, i, h);
        }
        return;
      }
      if (greatestProducts * Math.max(1, Math.abs(scale)) > LIMIT
          || greatestQuery * Math.abs(scale) > LIMIT
          || attended * greatestValue > LIMIT) {
        comparison.skippedRows++;
        return;
      }
      double s = Math.abs(scale) * greatestProducts + greatestBias;
      if (sink > Double.NEGATIVE_INFINITY) {
        s += Math.abs(sink);
      }
      double lost = Math.abs(scale) * headDim * Float.MIN_VALUE;
      double bound =
          (2e-6 + c * ULP * s + 2 * lost) * greatestValue
              + (attended + 1) * (double) Float.MIN_VALUE;
      for (int d = 0; d < got.length; d++) {
        double exact = attended == 0 ? 0 : out[d] / total;
        double error;
        if (Double.isFinite(exact)) {
          error = Math.abs(got[d] - exact);
        } else {
          // An infinite value times a weight that float32 rounds to 0 is NaN and not infinite.
          boolean same = nanColumns[d] ? Float.isNaN(got[d]) : !Float.isFinite(got[d]);
          error = same ? 0 : Double.POSITIVE_INFINITY;
        }
        comparison.out.add(
            Double.isNaN(error) ? Double.POSITIVE_INFINITY : error,
            bound,
            exact,
            got[d],
            b,
            i,
            h,
            d);
      }
      if (output.lse != null) {
        double exact = attended == 0 ? sink : maximum + Math.log(total);
        double error = exact == gotLse ? 0 : Math.abs(gotLse - exact);
        double lseBound = 1e-5 + 1e-6 * Math.abs(exact) + c * ULP * s + lost;
        comparison.lse.add(
            Double.isNaN(error) ? Double.POSITIVE_INFINITY : error,
            Double.isFinite(exact) ? lseBound : 0,
            exact,
            gotLse,
            b,
            i,
            h);
      }
    }
  }
}
