package dev.gatun.bench.measure;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Queries, keys and values of a point, contiguous in its layout off-heap, and the check of an
 * answer. The tensors are views {@code [batch, heads, seq, dim]} whatever the layout.
 *
 * <p>Element n of a tensor, counted row-major in that order, is the n-th output of splitmix64
 * (Steele et al. 2014) as a float in [-1, 1), whatever the layout in memory; q, k and v have the
 * seeds 1, 2 and 3. {@code native/bench/workload.c} makes the same numbers.
 */
public final class Workload implements AutoCloseable {
  public static final long SEED_Q = 1;
  static final long SEED_K = 2;
  static final long SEED_V = 3;

  /** Largest error of a right answer in float32. */
  public static final double TOLERANCE = 2e-6;

  private static final int CHECKED_ROWS = 8;

  /** What was computed for row i of head h in batch row b. */
  public interface Answer {
    float at(int b, int h, int i, int c);
  }

  public final Point point;
  public final Shape shape;
  public final Arena arena;
  public final Tensor q;
  public final Tensor k;
  public final Tensor v;
  private float[][] onHeap;

  /**
   * Makes the inputs.
   *
   * @param point what is to be computed
   * @param arena owns the memory, and is closed by {@link #close}
   */
  public Workload(Point point, Arena arena) {
    this.point = point;
    this.shape = point.shape();
    this.arena = arena;
    this.q = tensor(shape.heads(), shape.seqQ(), SEED_Q);
    this.k = tensor(shape.kvHeads(), shape.seqK(), SEED_K);
    this.v = tensor(shape.kvHeads(), shape.seqK(), SEED_V);
  }

  /**
   * Makes the inputs without a mask, contiguous {@code [batch, heads, seq, dim]}, for one thread.
   *
   * @param shape the sizes
   * @param arena owns the memory, and is closed by {@link #close}
   */
  public Workload(Shape shape, Arena arena) {
    this(Point.of(shape), arena);
  }

  private Tensor allocate(int heads, int seq) {
    return point.layout() == Point.Layout.BHSD
        ? Tensor.allocate(arena, DType.FLOAT32, shape.batch(), heads, seq, shape.dim())
        : Tensor.allocate(arena, DType.FLOAT32, shape.batch(), seq, heads, shape.dim())
            .transpose(1, 2);
  }

  private Tensor tensor(int heads, int seq, long seed) {
    Tensor tensor = allocate(heads, seq);
    MemorySegment segment = tensor.segment();
    long element = 0;
    for (int b = 0; b < shape.batch(); b++) {
      for (int h = 0; h < heads; h++) {
        for (int i = 0; i < seq; i++) {
          long at = rowAt(heads, seq, b, h, i);
          for (int c = 0; c < shape.dim(); c++) {
            segment.setAtIndex(ValueLayout.JAVA_FLOAT, at + c, value(seed, element++));
          }
        }
      }
    }
    return tensor;
  }

  /** Where a row of so many heads and rows begins, in elements. */
  private long rowAt(int heads, int seq, int b, int h, int i) {
    long row =
        point.layout() == Point.Layout.BHSD
            ? ((long) b * heads + h) * seq + i
            : ((long) b * seq + i) * heads + h;
    return row * shape.dim();
  }

  /** Copies of q, k and v on the Java heap, made once, in the order of the layout. */
  public float[][] onHeap() {
    if (onHeap == null) {
      onHeap = new float[][] {array(q), array(k), array(v)};
    }
    return onHeap;
  }

  private static float[] array(Tensor tensor) {
    return tensor.segment().toArray(ValueLayout.JAVA_FLOAT);
  }

  /** Sizes as libgatunbench and the kernels in Java take them. */
  public int[] sizes() {
    return new int[] {
      shape.batch(), shape.heads(), shape.kvHeads(), shape.seqQ(), shape.seqK(), shape.dim()
    };
  }

  /**
   * The first of the heads of all batch rows that a thread of so many gets; the last is its end.
   */
  public int firstHead(int thread) {
    return shape.batch() * shape.heads() * thread / point.threads();
  }

  /** An element of the input with this seed. */
  public static float value(long seed, long element) {
    long z = seed + (element + 1) * 0x9e3779b97f4a7c15L;
    z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
    z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
    z ^= z >>> 31;
    return (z >>> 40) * 0x1p-23f - 1.0f;
  }

  /** Memory for an answer, a view {@code [batch, heads, seq, dim]} of the layout. */
  public Tensor newOut() {
    return allocate(shape.heads(), shape.seqQ());
  }

  /** An answer in off-heap memory as {@link #newOut} gives it. */
  public Answer answerIn(Tensor out) {
    MemorySegment segment = out.segment();
    return (b, h, i, c) -> segment.getAtIndex(ValueLayout.JAVA_FLOAT, outAt(b, h, i) + c);
  }

  /** An answer in an array, in the order of the layout. */
  public Answer answerIn(float[] out) {
    return (b, h, i, c) -> out[Math.toIntExact(outAt(b, h, i) + c)];
  }

  private long outAt(int b, int h, int i) {
    return rowAt(shape.heads(), shape.seqQ(), b, h, i);
  }

  /**
   * Compares some rows of the first and the last head with double arithmetic.
   *
   * @param who whose answer it is
   * @param answer what was computed
   * @throws IllegalStateException if an error is beyond {@link #TOLERANCE}
   */
  public void check(String who, Answer answer) {
    double error = error(answer);
    if (!(error <= TOLERANCE)) {
      throw new IllegalStateException(
          "%s, %s: wrong answer, error %s, expected at most %s"
              .formatted(who, point, error, TOLERANCE));
    }
  }

  public double error(Answer answer) {
    double worst = 0;
    for (int sample = 0; sample < CHECKED_ROWS && !shape.isEmpty(); sample++) {
      int b = sample % 2 * (shape.batch() - 1);
      int h = sample % 2 * (shape.heads() - 1);
      int row = sample * (shape.seqQ() - 1) / (CHECKED_ROWS - 1);
      double[] exact = row(b, h, row);
      for (int c = 0; c < exact.length; c++) {
        double error = Math.abs(exact[c] - answer.at(b, h, row, c));
        worst = Double.isNaN(error) ? Double.POSITIVE_INFINITY : Math.max(worst, error);
      }
    }
    return worst;
  }

  private double[] row(int b, int h, int i) {
    int g = h / (shape.heads() / shape.kvHeads());
    int dim = shape.dim();
    double[] weight = new double[point.visibleKeys(i)];
    double max = Double.NEGATIVE_INFINITY;
    for (int j = 0; j < weight.length; j++) {
      double dot = 0;
      for (int c = 0; c < dim; c++) {
        dot += (double) q.getFloat(b, h, i, c) * k.getFloat(b, g, j, c);
      }
      weight[j] = dot / Math.sqrt(dim);
      max = Math.max(max, weight[j]);
    }
    double sum = 0;
    for (int j = 0; j < weight.length; j++) {
      weight[j] = Math.exp(weight[j] - max);
      sum += weight[j];
    }
    double[] out = new double[dim];
    for (int j = 0; j < weight.length; j++) {
      for (int c = 0; c < dim; c++) {
        out[c] += weight[j] / sum * v.getFloat(b, g, j, c);
      }
    }
    return out;
  }

  @Override
  public void close() {
    arena.close();
  }
}
