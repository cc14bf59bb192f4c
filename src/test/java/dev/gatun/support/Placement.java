package dev.gatun.support;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Ways to lay a {@code [batch, seq, heads, dim]} array into memory. Every tensor lies in a slab
 * that is longer than it at both ends; what is none of its elements holds {@link #CANARY}.
 */
public enum Placement {
  /** Row-major. */
  BSHD,
  /** Row-major as {@code [batch, heads, seq, dim]}. */
  BHSD,
  /** Row-major as {@code [seq, batch, heads, dim]}. */
  SBHD,
  /** The middle third of a fused {@code [batch, seq, 3, heads, dim]}. */
  FUSED,
  /** Gaps of odd length behind every dimension, and an address that is only 4-byte aligned. */
  PADDED;

  /** A value that no result has. */
  public static final float CANARY = Float.intBitsToFloat(0x7fc0_dead);

  private static final int MARGIN = 64;

  /** A tensor, and the memory around it. */
  public record Placed(Tensor tensor, MemorySegment slab) {

    /** Fills everything with the canary. */
    public Placed spoil() {
      for (long i = 0; i < slab.byteSize() / 4; i++) {
        slab.setAtIndex(ValueLayout.JAVA_FLOAT, i, CANARY);
      }
      return this;
    }

    /** Fails if something that is no element was written; destroys the elements. */
    public void checkSurroundings() {
      tensor.fill(CANARY);
      checkUntouched();
    }

    /** Fails if anything was written. */
    public void checkUntouched() {
      int canary = Float.floatToRawIntBits(CANARY);
      for (long i = 0; i < slab.byteSize() / 4; i++) {
        int found = slab.getAtIndex(ValueLayout.JAVA_INT, i);
        if (found != canary) {
          throw new AssertionError(
              "word %d of the slab of %s was written: %08x".formatted(i, tensor, found));
        }
      }
    }
  }

  /** A tensor of the given logical shape, surrounded by canaries. */
  public Placed empty(Arena arena, int batch, int seq, int heads, int dim) {
    return switch (this) {
      case BSHD -> place(arena, 16, batch, seq, heads, dim, seq * heads * dim, heads * dim, dim);
      case BHSD -> place(arena, 16, batch, seq, heads, dim, heads * seq * dim, dim, seq * dim);
      case SBHD -> place(arena, 16, batch, seq, heads, dim, heads * dim, batch * heads * dim, dim);
      case FUSED -> {
        int row = 3 * heads * dim;
        yield place(arena, 16 + heads * dim, batch, seq, heads, dim, seq * row, row, dim);
      }
      case PADDED -> {
        int head = dim + 3;
        int row = heads * head + 5;
        yield place(arena, 17, batch, seq, heads, dim, seq * row + 7, row, head);
      }
    };
  }

  /** The same, holding the data. */
  public Tensor of(Arena arena, float[] data, int batch, int seq, int heads, int dim) {
    Tensor tensor = empty(arena, batch, seq, heads, dim).spoil().tensor;
    tensor.copyFrom(data);
    return tensor;
  }

  /** A {@code [batch, heads, seq]} tensor for lse. */
  public Placed emptyLse(Arena arena, int batch, int heads, int seq) {
    Placed wide =
        switch (this) {
          case BSHD, FUSED -> Placement.BSHD.empty(arena, batch, heads, seq, 1);
          case BHSD -> Placement.BHSD.empty(arena, batch, heads, seq, 1);
          case SBHD -> Placement.SBHD.empty(arena, batch, heads, seq, 1);
          case PADDED -> Placement.PADDED.empty(arena, batch, heads, seq, 1);
        };
    return new Placed(wide.tensor.select(3, 0), wide.slab);
  }

  private static Placed place(
      Arena arena, long offset, int batch, int seq, int heads, int dim, long... outer) {
    long elements = (long) batch * seq * heads * dim;
    long extent =
        elements == 0
            ? 0
            : (batch - 1) * outer[0] + (seq - 1) * outer[1] + (heads - 1) * outer[2] + dim;
    MemorySegment slab = arena.allocate((offset + extent + MARGIN) * 4, 64);
    Tensor tensor =
        Tensor.ofStrided(
            slab.asSlice(offset * 4),
            DType.FLOAT32,
            new long[] {batch, seq, heads, dim},
            new long[] {outer[0], outer[1], outer[2], 1});
    return new Placed(tensor, slab).spoil();
  }
}
