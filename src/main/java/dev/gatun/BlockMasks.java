package dev.gatun;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.Random;

/**
 * Masks of blocks for {@link AttentionOptions#blockMask}: which blocks of keys the rows of a block
 * attend to.
 *
 * {@snippet :
 * Tensor mask = BlockMasks.bigBird(64, 4711).build(arena); // 4096 tokens in blocks of 64
 * AttentionOptions options = new AttentionOptions().blockMask(mask, 64, 64);
 * }
 *
 * <p>Those of BigBird, "Big Bird: Transformers for Longer Sequences" (Zaheer et al., 2020, section
 * 2), are the union of three: a window of neighboring blocks, random blocks, and global blocks,
 * which see all blocks and which all see. In the paper's ITC the global blocks are some of the
 * sequence's own; in its ETC they are tokens of their own in front of the sequence, so that its
 * mask is that of the longer sequence with the first blocks global and no random ones.
 */
public final class BlockMasks {

  private BlockMasks() {}

  /**
   * Starts a mask of a sequence by itself, in which nothing sees anything yet.
   *
   * @param blocks of rows and of keys, {@code ceil(seq / block)}, 1 to 32,768
   * @return a new builder
   * @throws IllegalArgumentException if the number is another
   */
  public static Builder builder(int blocks) {
    return new Builder(blocks);
  }

  /**
   * Starts BigBird's mask with the sizes of the paper's base models, in ITC (its table 8): a window
   * of 3 blocks, 3 random ones, and the first and the last as global ones.
   *
   * @param blocks as for {@link #builder}; the paper's have 64 tokens
   * @param seed of the random blocks
   * @return a new builder
   * @throws IllegalArgumentException if the number of blocks is another
   */
  public static Builder bigBird(int blocks, long seed) {
    return builder(blocks).window(1, 1).global(0).global(blocks - 1).random(3, seed);
  }

  /** Collects what the blocks of a sequence see. Not thread-safe. */
  public static final class Builder {
    private static final int MOST_BLOCKS = 32_768;

    private final int blocks;
    private final boolean[] global;
    private int left = -1;
    private int right = -1;
    private int random;
    private long seed;
    private int heads = 1;

    private Builder(int blocks) {
      if (blocks < 1 || blocks > MOST_BLOCKS) {
        throw new IllegalArgumentException(
            "blocks: expected 1 .. %d, got %d".formatted(MOST_BLOCKS, blocks));
      }
      this.blocks = blocks;
      this.global = new boolean[blocks];
    }

    /**
     * Lets a block see itself and its neighbors, as far as there are any: a window does not begin
     * anew at the other end of the sequence.
     *
     * @param left blocks before it, 0 or more
     * @param right blocks behind it, 0 or more
     * @return this builder
     * @throws IllegalArgumentException if a number is negative
     */
    public Builder window(int left, int right) {
      if (left < 0 || right < 0) {
        throw new IllegalArgumentException(
            "window: expected %s >= 0, got %d"
                .formatted(left < 0 ? "left" : "right", left < 0 ? left : right));
      }
      this.left = left;
      this.right = right;
      return this;
    }

    /**
     * Lets a block see all blocks, and all see it.
     *
     * @param block 0 … blocks - 1
     * @return this builder
     * @throws IllegalArgumentException if there is no such block
     */
    public Builder global(int block) {
      if (block < 0 || block >= blocks) {
        throw new IllegalArgumentException(
            "global: expected 0 .. %d, got %d".formatted(blocks - 1, block));
      }
      global[block] = true;
      return this;
    }

    /**
     * Lets each block that is not global see as many others besides, drawn without repetition among
     * those that are neither global nor in its window; all of them where there are fewer.
     *
     * @param count how many, 0 or more
     * @param value the seed: the same one gives the same mask, everywhere
     * @return this builder
     * @throws IllegalArgumentException if the number is negative
     */
    public Builder random(int count, long value) {
      if (count < 0) {
        throw new IllegalArgumentException("random: expected a number >= 0, got " + count);
      }
      this.random = count;
      this.seed = value;
      return this;
    }

    /**
     * Gives each head random blocks of its own, as the paper's implementation does. The default is
     * one mask for all heads.
     *
     * @param value heads of queries, 1 or more
     * @return this builder
     * @throws IllegalArgumentException if the number is smaller
     */
    public Builder heads(int value) {
      if (value < 1) {
        throw new IllegalArgumentException("heads: expected 1 or more, got " + value);
      }
      this.heads = value;
      return this;
    }

    /**
     * Makes the mask.
     *
     * @param arena owns the memory, {@code heads · blocks²} bytes
     * @return {@code [1, heads, blocks, blocks]} UINT8, row-major: 1 where the rows of a block see
     *     a block of keys, else 0
     */
    public Tensor build(Arena arena) {
      Objects.requireNonNull(arena, "arena");
      Tensor mask = Tensor.allocate(arena, DType.UINT8, 1, heads, blocks, blocks);
      Random generator = new Random(seed);
      int[] others = new int[blocks];
      boolean[] sees = new boolean[blocks];
      for (long row = 0; row < (long) heads * blocks; row++) {
        see((int) (row % blocks), sees, others, generator);
        for (int key = 0; key < blocks; key++) {
          mask.segment().set(ValueLayout.JAVA_BYTE, row * blocks + key, (byte) (sees[key] ? 1 : 0));
        }
      }
      return mask;
    }

    private void see(int row, boolean[] sees, int[] others, Random generator) {
      int count = 0;
      for (int key = 0; key < blocks; key++) {
        boolean near = left >= 0 && key >= row - (long) left && key <= row + (long) right;
        sees[key] = global[row] || global[key] || near;
        if (!sees[key]) {
          others[count++] = key;
        }
      }
      for (int drawn = 0; drawn < Math.min(random, count); drawn++) {
        int place = drawn + generator.nextInt(count - drawn);
        sees[others[place]] = true;
        others[place] = others[drawn];
      }
    }
  }
}
