package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Which blocks a block sees, by the definitions of BigBird's section 2. */
class BlockMasksTest {

  private final Arena arena = Arena.ofConfined();

  @AfterEach
  void close() {
    arena.close();
  }

  private static byte[] bytes(Tensor mask) {
    return mask.segment().toArray(ValueLayout.JAVA_BYTE);
  }

  /** The blocks that a row of blocks sees. */
  private static int[] seen(Tensor mask, int head, int row) {
    int blocks = (int) mask.size(3);
    byte[] all = bytes(mask);
    return IntStream.range(0, blocks)
        .filter(key -> all[(head * blocks + row) * blocks + key] != 0)
        .toArray();
  }

  /** Each row has its window, the global blocks and as many others as were asked for. */
  private void check(
      BlockMasks.Builder builder, int blocks, int heads, int w, int[] global, int r) {
    Tensor mask = builder.build(arena);
    assertArrayEquals(new long[] {1, heads, blocks, blocks}, mask.shape());
    for (byte b : bytes(mask)) {
      assertTrue(b == 0 || b == 1);
    }
    for (int head = 0; head < heads; head++) {
      for (int row = 0; row < blocks; row++) {
        int[] seen = seen(mask, head, row);
        int here = row;
        boolean all = Arrays.stream(global).anyMatch(g -> g == here);
        if (all) {
          assertEquals(blocks, seen.length);
          continue;
        }
        int[] fixed =
            IntStream.range(0, blocks)
                .filter(key -> Math.abs(key - here) <= w || contains(global, key))
                .toArray();
        for (int key : fixed) {
          assertTrue(contains(seen, key), "row %d does not see %d".formatted(row, key));
        }
        assertEquals(Math.min(blocks, fixed.length + r), seen.length, "row " + row);
      }
    }
  }

  private static boolean contains(int[] all, int one) {
    return Arrays.stream(all).anyMatch(n -> n == one);
  }

  @Test
  void aRowHasItsWindowGlobalAndRandomBlocks() {
    for (int blocks : new int[] {1, 2, 3, 5, 8, 31, 64}) {
      for (int heads : new int[] {1, 3}) {
        check(
            BlockMasks.bigBird(blocks, 7).heads(heads),
            blocks,
            heads,
            1,
            new int[] {0, blocks - 1},
            3);
      }
    }
    check(
        BlockMasks.builder(40).window(2, 2).global(0).global(1).random(5, 1),
        40,
        1,
        2,
        new int[] {0, 1},
        5);
    check(BlockMasks.builder(9).window(0, 0), 9, 1, 0, new int[0], 0);
    Tensor lopsided = BlockMasks.builder(9).window(2, 0).build(arena);
    assertArrayEquals(new int[] {3, 4, 5}, seen(lopsided, 0, 5));
    Tensor wide = BlockMasks.builder(3).window(Integer.MAX_VALUE, Integer.MAX_VALUE).build(arena);
    assertArrayEquals(new int[] {0, 1, 2}, seen(wide, 0, 1));
    Tensor nothing = BlockMasks.builder(2).build(arena);
    assertArrayEquals(new byte[4], bytes(nothing));
  }

  /** By hand: extra tokens in front that all see, and no random blocks. */
  @Test
  void etcIsGlobalInFront() {
    Tensor mask = BlockMasks.builder(6).window(1, 1).global(0).build(arena);
    assertArrayEquals(
        new byte[] {
          1, 1, 1, 1, 1, 1, //
          1, 1, 1, 0, 0, 0, //
          1, 1, 1, 1, 0, 0, //
          1, 0, 1, 1, 1, 0, //
          1, 0, 0, 1, 1, 1, //
          1, 0, 0, 0, 1, 1
        },
        bytes(mask));
  }

  @Test
  void aSeedMakesOneMask() {
    byte[] one = bytes(BlockMasks.bigBird(64, 4711).build(arena));
    assertArrayEquals(one, bytes(BlockMasks.bigBird(64, 4711).build(arena)));
    assertFalse(Arrays.equals(one, bytes(BlockMasks.bigBird(64, 4712).build(arena))));
    // Worked out by java.util.Random's algorithm, as its documentation has it.
    assertArrayEquals(
        new int[] {0, 9, 10, 11, 15, 17, 33, 63},
        seen(BlockMasks.bigBird(64, 4711).build(arena), 0, 10));
    Tensor heads = BlockMasks.bigBird(64, 4711).heads(2).build(arena);
    assertFalse(Arrays.equals(seen(heads, 0, 10), seen(heads, 1, 10)));
  }

  /** Each of the other blocks is drawn about as often: 3 of 59, in 1000 rows. */
  @Test
  void randomBlocksAreUniform() {
    int[] count = new int[64];
    for (int seed = 0; seed < 1000; seed++) {
      for (int key :
          seen(
              BlockMasks.builder(64).window(1, 1).global(0).global(63).random(3, seed).build(arena),
              0,
              30)) {
        count[key]++;
      }
    }
    for (int key = 0; key < 64; key++) {
      boolean fixed = key == 0 || key == 63 || Math.abs(key - 30) <= 1;
      // 51 of a binomial distribution with a deviation of 7: six of them.
      assertTrue(
          fixed ? count[key] == 1000 : Math.abs(count[key] - 51) < 42, key + ": " + count[key]);
    }
  }

  private static void refused(String message, Runnable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call::run).getMessage());
  }

  @Test
  void whatMakesNoSenseIsRefused() {
    refused("blocks: expected 1 .. 32768, got 0", () -> BlockMasks.builder(0));
    refused("blocks: expected 1 .. 32768, got 32769", () -> BlockMasks.bigBird(32769, 1));
    BlockMasks.Builder builder = BlockMasks.builder(4);
    refused("window: expected left >= 0, got -1", () -> builder.window(-1, 0));
    refused("window: expected right >= 0, got -2", () -> builder.window(0, -2));
    refused("global: expected 0 .. 3, got 4", () -> builder.global(4));
    refused("global: expected 0 .. 3, got -1", () -> builder.global(-1));
    refused("random: expected a number >= 0, got -1", () -> builder.random(-1, 0));
    refused("heads: expected 1 or more, got 0", () -> builder.heads(0));
  }
}
