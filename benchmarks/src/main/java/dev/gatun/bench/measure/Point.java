package dev.gatun.bench.measure;

import java.util.Locale;
import java.util.Map;

/**
 * One thing to time.
 *
 * @param shape the sizes
 * @param causal whether query i sees the keys up to i + seqK - seqQ only
 * @param layout how the tensors lie in memory
 * @param threads how many work on a call
 */
public record Point(Shape shape, boolean causal, Layout layout, int threads) {

  /** The order of a tensor's dimensions in memory, outermost first. */
  public enum Layout {
    /** Batch, heads, sequence, dimension. */
    BHSD("[B,H,S,D]"),
    /** Batch, sequence, heads, dimension. */
    BSHD("[B,S,H,D]");

    /** How reports write it. */
    public final String text;

    Layout(String text) {
      this.text = text;
    }

    public static Layout of(Object text) {
      return text.equals(BSHD.text) ? BSHD : BHSD;
    }
  }

  /** A shape without a mask, heads before the sequence, one thread. */
  public static Point of(Shape shape) {
    return new Point(shape, false, Layout.BHSD, 1);
  }

  /** How many keys a query row sees. */
  public int visibleKeys(int row) {
    return causal
        ? Math.clamp(row + 1L + shape.seqK() - shape.seqQ(), 0, shape.seqK())
        : shape.seqK();
  }

  /** Returns 2 · pairs that are seen · (headDim + headDimV) · heads · batch. */
  public double flops() {
    double pairs = 0;
    for (int row = 0; row < shape.seqQ(); row++) {
      pairs += visibleKeys(row);
    }
    return 2 * pairs * (shape.dim() + shape.dim()) * shape.heads() * shape.batch();
  }

  /** Returns the bytes of q, k, v and the result: what has to be read or written once. */
  public double bytes() {
    return 4.0 * (2 * shape.queryElements() + 2 * shape.keyElements());
  }

  /** Puts what this is into a JSON object. */
  public void describeIn(Map<String, Object> row) {
    row.put("shape", shape.name());
    row.put("causal", causal);
    row.put("layout", layout.text);
    row.put("threads", threads);
    row.put("flops", flops());
    row.put("bytes", bytes());
  }

  /** Returns the point of such an object. */
  public static Point in(Map<?, ?> row) {
    return new Point(
        Shape.of(row.get("shape").toString()),
        Boolean.TRUE.equals(row.get("causal")),
        Layout.of(row.get("layout")),
        ((Number) row.get("threads")).intValue());
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%s %s %s ×%d",
        shape.name(),
        causal ? "causal" : "full",
        layout.text,
        threads);
  }
}
