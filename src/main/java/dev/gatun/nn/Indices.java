package dev.gatun.nn;

import dev.gatun.internal.Blocks;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Lengths and token ids of a call. They lie in the caller's memory, which another thread, or
 * another process through a mapped file, may write meanwhile: what a call uses more than once it
 * copies first, and checks the copy.
 */
final class Indices {

  private Indices() {}

  /**
   * Checks numbers.
   *
   * @param name of the argument
   * @param numbers {@code [count]} int32, or NULL
   * @param least the smallest allowed
   * @param most the largest allowed
   */
  static void check(String name, MemorySegment numbers, long count, long least, long most) {
    if (numbers.equals(MemorySegment.NULL)) {
      return;
    }
    for (long i = 0; i < count; i++) {
      int number = numbers.getAtIndex(ValueLayout.JAVA_INT, i);
      if (number < least || number > most) {
        throw new IllegalArgumentException(
            "%s[%d]: expected %d .. %d, got %d".formatted(name, i, least, most, number));
      }
    }
  }

  /**
   * Copies numbers, and checks the copy.
   *
   * @param blocks gives the memory
   * @param name of the argument
   * @param numbers {@code [count]} int32, or NULL
   * @param least the smallest allowed
   * @param most the largest allowed
   * @return what nobody else writes, or NULL
   */
  static MemorySegment copy(
      Blocks blocks, String name, MemorySegment numbers, long count, long least, long most) {
    if (numbers.equals(MemorySegment.NULL)) {
      return numbers;
    }
    MemorySegment copy = blocks.take(count).segment();
    MemorySegment.copy(numbers, 0, copy, 0, count * Integer.BYTES);
    check(name, copy, count, least, most);
    return copy;
  }
}
