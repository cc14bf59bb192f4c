package dev.gatun.bench.measure;

import java.util.List;
import java.util.stream.Stream;

/**
 * The sizes of one attention call. The list is that of {@code native/bench/workload.c}.
 *
 * @param name how reports call it
 * @param batch batch rows
 * @param heads query heads
 * @param kvHeads key and value heads
 * @param seqQ query rows
 * @param seqK keys
 * @param dim size of a query, a key and a value
 */
public record Shape(String name, int batch, int heads, int kvHeads, int seqQ, int seqK, int dim) {

  /** Every shape that is timed. */
  public static final List<Shape> ALL =
      List.of(
          new Shape("tiny16", 1, 4, 4, 16, 16, 32),
          new Shape("tiny16q0", 1, 4, 4, 0, 16, 32), // no work: what a call itself costs
          new Shape("pre128", 1, 12, 12, 128, 128, 64),
          new Shape("pre512", 1, 12, 12, 512, 512, 64),
          new Shape("minilm", 32, 12, 12, 128, 128, 32),
          new Shape("pre2048", 1, 16, 16, 2048, 2048, 64),
          new Shape("pre4096", 1, 8, 8, 4096, 4096, 128),
          new Shape("gqa1024", 1, 32, 8, 1024, 1024, 128),
          new Shape("dec4096", 1, 32, 8, 1, 4096, 128),
          new Shape("dec2048x16", 16, 32, 8, 1, 2048, 128),
          new Shape("s128d32", 1, 1, 1, 128, 128, 32),
          new Shape("s128d64", 1, 1, 1, 128, 128, 64),
          new Shape("s128d128", 1, 1, 1, 128, 128, 128),
          new Shape("s512d32", 1, 1, 1, 512, 512, 32),
          new Shape("s512d64", 1, 1, 1, 512, 512, 64),
          new Shape("s512d128", 1, 1, 1, 512, 512, 128),
          new Shape("s2048d32", 1, 1, 1, 2048, 2048, 32),
          new Shape("s2048d64", 1, 1, 1, 2048, 2048, 64),
          new Shape("s2048d128", 1, 1, 1, 2048, 2048, 128),
          new Shape("s4096d32", 1, 1, 1, 4096, 4096, 32),
          new Shape("s4096d64", 1, 1, 1, 4096, 4096, 64),
          new Shape("s4096d128", 1, 1, 1, 4096, 4096, 128));

  /** The shapes that peers are compared on. */
  public static final List<Shape> PEERS =
      Stream.of(
              "tiny16",
              "pre128",
              "pre512",
              "minilm",
              "pre2048",
              "pre4096",
              "gqa1024",
              "dec4096",
              "dec2048x16")
          .map(Shape::of)
          .toList();

  private static final String LENGTH = "len";

  /** Shapes that differ in nothing but their length. */
  public static final List<Shape> LENGTHS =
      Stream.of(128, 256, 512, 1024, 2048, 4096, 8192).map(Shape::ofLength).toList();

  /** As many keys as queries, 4 heads of 64. */
  public static Shape ofLength(int length) {
    return new Shape(LENGTH + length, 1, 4, 4, length, length, 64);
  }

  /** Whether it is one of {@link #ofLength}. */
  public boolean isLength() {
    return name.startsWith(LENGTH);
  }

  /**
   * Finds a shape.
   *
   * @param name that of one in {@link #ALL} or of {@link #LENGTHS}
   * @return the shape
   */
  public static Shape of(String name) {
    if (name.startsWith(LENGTH)) {
      return ofLength(Integer.parseInt(name.substring(LENGTH.length())));
    }
    for (Shape shape : ALL) {
      if (shape.name.equals(name)) {
        return shape;
      }
    }
    throw new IllegalArgumentException("shape: expected one of the list, got " + name);
  }

  /** Returns 2 · pairs · (headDim + headDimV) · heads · batch, without a mask. */
  public double flops() {
    return 2.0 * seqQ * seqK * (dim + dim) * heads * batch;
  }

  /** Returns how many elements q and out have. */
  public long queryElements() {
    return (long) batch * heads * seqQ * dim;
  }

  /** Returns how many elements k has, and v. */
  public long keyElements() {
    return (long) batch * kvHeads * seqK * dim;
  }

  /** Returns whether no work is to be done. */
  public boolean isEmpty() {
    return queryElements() == 0;
  }

  /** Returns the sizes in words: {@code 1 × 12 heads, 128 × 128, d 64}. */
  public String text() {
    String heads = this.heads == kvHeads ? "" + this.heads : this.heads + "/" + kvHeads;
    return "%d × %s heads, %d × %d, d %d".formatted(batch, heads, seqQ, seqK, dim);
  }
}
