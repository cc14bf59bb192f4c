package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TensorTest {

  private static Tensor iota(Arena arena, long... shape) {
    int elements = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    float[] data = new float[elements];
    for (int i = 0; i < elements; i++) {
      data[i] = i;
    }
    return Tensor.copyOf(arena, data, shape);
  }

  private static void assertMessage(String part, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.contains(part), message);
  }

  // ---- creation ------------------------------------------------------------------------------

  @Test
  void allocateGivesAlignedZeros() {
    try (Arena arena = Arena.ofConfined()) {
      for (DType dtype : DType.values()) {
        Tensor tensor = Tensor.allocate(arena, dtype, 3, 5, 7);
        assertEquals(0, tensor.segment().address() % 64);
        assertEquals(105L * dtype.byteSize(), tensor.segment().byteSize());
        assertEquals(-1, tensor.segment().mismatch(tensor.segment().asSlice(0)));
        for (byte b : tensor.segment().toArray(ValueLayout.JAVA_BYTE)) {
          assertEquals(0, b);
        }
        assertSame(dtype, tensor.dtype());
        assertTrue(tensor.isContiguous());
        assertArrayEquals(new long[] {3, 5, 7}, tensor.shape());
        assertArrayEquals(new long[] {35, 7, 1}, tensor.strides());
      }
    }
  }

  @Test
  void bigTensorsComeFromTheOperatingSystem() {
    MemorySegment segment;
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, 1 << 20);
      segment = tensor.segment();
      assertEquals(0, segment.address() % (2 << 20), "huge pages");
      assertEquals(4L << 20, segment.byteSize());
      assertEquals(0, tensor.getFloat(1 << 19));
      tensor.setFloat(3, (1 << 20) - 1);
    }
    assertFalse(segment.scope().isAlive());
    assertThrows(IllegalStateException.class, () -> segment.get(ValueLayout.JAVA_FLOAT, 0));
    Arena closed = Arena.ofConfined();
    closed.close();
    assertThrows(
        IllegalStateException.class, () -> Tensor.allocate(closed, DType.FLOAT32, 1 << 20));
    // Any kind of arena.
    Tensor.allocate(Arena.ofAuto(), DType.FLOAT32, 1 << 20).fill(1);
    Tensor.allocate(Arena.global(), DType.INT64, 1 << 19);
  }

  @Test
  void ofWrapsWhatIsThere() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment segment = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4, 5, 6, 7);
      Tensor tensor = Tensor.of(segment, DType.FLOAT32, 2, 3);
      assertEquals(6, tensor.getFloat(1, 2));
      assertEquals(24, tensor.segment().byteSize());
      tensor.setFloat(-1, 0, 1);
      assertEquals(-1, segment.getAtIndex(ValueLayout.JAVA_FLOAT, 1));
      Tensor strided =
          Tensor.ofStrided(segment, DType.FLOAT32, new long[] {3, 2}, new long[] {3, 0});
      assertArrayEquals(new float[] {1, 1, 4, 4, 7, 7}, strided.toFloatArray());
      assertFalse(strided.isContiguous());
      assertEquals(5, Tensor.of(segment.asSlice(16), DType.FLOAT32).getFloat());
      assertEquals(0, Tensor.of(MemorySegment.NULL, DType.FLOAT32, 0, 3).elements());
    }
  }

  @Test
  void creationRefusesWithNumbers() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment segment = arena.allocate(100, 8);
      assertMessage(
          "[2, 13] float32 with strides [13, 1] needs 104 bytes, got 100",
          () -> Tensor.of(segment, DType.FLOAT32, 2, 13));
      assertMessage(
          "needs 104 bytes, got 100",
          () -> Tensor.ofStrided(segment, DType.FLOAT32, new long[] {2, 6}, new long[] {20, 1}));
      assertMessage(
          "multiple of 4 for float32", () -> Tensor.of(segment.asSlice(2), DType.FLOAT32, 2));
      assertMessage("multiple of 8 for int64", () -> Tensor.of(segment.asSlice(4), DType.INT64, 2));
      assertMessage(
          "Tensor.copyOf", () -> Tensor.of(MemorySegment.ofArray(new float[4]), DType.FLOAT32, 4));
      assertMessage("sizes >= 0, got [-1, 4]", () -> Tensor.of(segment, DType.FLOAT32, -1, 4));
      assertMessage(
          "values >= 0, got [-4]",
          () -> Tensor.ofStrided(segment, DType.FLOAT32, new long[] {2}, new long[] {-4}));
      assertMessage(
          "expected 2 of them",
          () -> Tensor.ofStrided(segment, DType.FLOAT32, new long[] {2, 2}, new long[] {1}));
      assertMessage(
          "beyond 2^63 bytes",
          () -> Tensor.of(segment, DType.FLOAT32, 1L << 31, 1L << 31, 1L << 31));
      assertMessage("beyond 2^63 bytes", () -> Tensor.of(segment, DType.INT64, 1L << 30, 1L << 31));
      assertMessage(
          "beyond 2^63 bytes",
          () ->
              Tensor.ofStrided(
                  segment,
                  DType.FLOAT32,
                  new long[] {2, 2},
                  new long[] {Long.MAX_VALUE - 1, Long.MAX_VALUE - 1}));
      assertMessage(
          "expected 6 elements for [2, 3], got 5", () -> Tensor.copyOf(arena, new float[5], 2, 3));
      assertMessage(
          "expected 1 elements for [1], got 2", () -> Tensor.copyOf(arena, new int[2], 1));
    }
  }

  @Test
  void arraysGivenAndReturnedAreCopies() {
    try (Arena arena = Arena.ofConfined()) {
      long[] shape = {2, 3};
      long[] strides = {3, 1};
      Tensor tensor = Tensor.ofStrided(arena.allocate(24), DType.FLOAT32, shape, strides);
      shape[0] = 100;
      strides[0] = 100;
      tensor.shape()[1] = 100;
      tensor.strides()[1] = 100;
      assertEquals(2, tensor.size(0));
      assertEquals(3, tensor.size(1));
      assertEquals(3, tensor.stride(0));
      assertEquals(1, tensor.stride(1));
    }
  }

  // ---- views ---------------------------------------------------------------------------------

  @Test
  void viewsShareMemory() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = iota(arena, 2, 4, 6);
      Tensor slice = tensor.slice(1, 1, 3);
      assertArrayEquals(new long[] {2, 2, 6}, slice.shape());
      assertEquals(tensor.getFloat(1, 2, 5), slice.getFloat(1, 1, 5));
      Tensor select = tensor.select(1, 3);
      assertArrayEquals(new long[] {2, 6}, select.shape());
      assertEquals(tensor.getFloat(1, 3, 2), select.getFloat(1, 2));
      Tensor transposed = tensor.transpose(0, 2);
      assertArrayEquals(new long[] {6, 4, 2}, transposed.shape());
      assertEquals(tensor.getFloat(1, 2, 3), transposed.getFloat(3, 2, 1));
      Tensor heads = tensor.splitHeads(3);
      assertArrayEquals(new long[] {2, 4, 3, 2}, heads.shape());
      assertEquals(tensor.getFloat(1, 2, 5), heads.getFloat(1, 2, 2, 1));
      assertArrayEquals(tensor.shape(), heads.mergeHeads().shape());
      heads.setFloat(-7, 0, 0, 1, 1);
      assertEquals(-7, tensor.getFloat(0, 0, 3));
      // The fused projections of one product.
      Tensor fused = iota(arena, 1, 5, 3 * 8);
      Tensor k = fused.reshape(1, 5, 3, 8).select(2, 1).splitHeads(2);
      assertArrayEquals(new long[] {1, 5, 2, 4}, k.shape());
      assertArrayEquals(new long[] {120, 24, 4, 1}, k.strides());
      assertEquals(24 * 3 + 8 + 5, k.getFloat(0, 3, 1, 1));
    }
  }

  @Test
  void emptyViews() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = iota(arena, 2, 4);
      assertEquals(0, tensor.slice(1, 4, 4).elements());
      assertEquals(0, tensor.slice(0, 2, 2).toFloatArray().length);
      assertEquals(0, tensor.slice(0, 1, 1).transpose(0, 1).reshape(0, 7).elements());
      assertEquals(0, Tensor.allocate(arena, DType.FLOAT32, 3, 0).slice(0, 1, 2).elements());
    }
  }

  @Test
  void viewsRefuseWhatIsNotThere() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = iota(arena, 2, 4, 6);
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.slice(3, 0, 1));
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.slice(1, 3, 5));
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.slice(1, 3, 2));
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.select(0, 2));
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.select(-1, 0));
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.transpose(0, 3));
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.size(3));
      assertMessage("divisor of 6, the last size of [2, 4, 6], got 4", () -> tensor.splitHeads(4));
      assertMessage("got 0", () -> tensor.splitHeads(0));
      assertMessage("side by side", () -> tensor.transpose(1, 2).mergeHeads());
      assertMessage("at least 2 dimensions", () -> tensor.select(0, 0).select(0, 0).mergeHeads());
      assertMessage("expected 48 elements as in [2, 4, 6]", () -> tensor.reshape(7, 7));
    }
  }

  /** A reshape is a view exactly if some strides give the same elements in the same order. */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void reshapeKeepsTheOrder(long seed) {
    Random random = new Random(seed);
    try (Arena arena = Arena.ofConfined()) {
      int views = 0;
      for (int n = 0; n < 300; n++) {
        long[] shape = new long[1 + random.nextInt(4)];
        Arrays.setAll(shape, dim -> 1 + random.nextInt(4));
        Tensor tensor = iota(arena, shape);
        if (random.nextBoolean()) {
          tensor = tensor.transpose(random.nextInt(shape.length), random.nextInt(shape.length));
        }
        if (random.nextBoolean()) {
          int dim = random.nextInt(shape.length);
          tensor = tensor.slice(dim, random.nextInt((int) tensor.size(dim)), tensor.size(dim));
        }
        long[] target = factors(random, tensor.elements());
        try {
          Tensor view = tensor.reshape(target);
          assertArrayEquals(target, view.shape());
          assertArrayEquals(tensor.toFloatArray(), view.toFloatArray());
          views++;
        } catch (IllegalArgumentException e) {
          assertFalse(tensor.isContiguous(), e.getMessage());
          assertTrue(e.getMessage().contains("is no view of"), e.getMessage());
          assertFalse(hasStrides(tensor, target), e.getMessage());
        }
      }
      assertTrue(views > 100, "views: " + views);
    }
  }

  private static long[] factors(Random random, long product) {
    long[] factors = new long[1 + random.nextInt(4)];
    Arrays.fill(factors, 1);
    for (long rest = product, p = 2; rest > 1; ) {
      if (rest % p == 0) {
        factors[random.nextInt(factors.length)] *= p;
        rest /= p;
      } else {
        p++;
      }
    }
    return factors;
  }

  /** Whether the elements of tensor, as iota numbers, advance regularly in the target's shape. */
  private static boolean hasStrides(Tensor tensor, long[] target) {
    float[] data = tensor.toFloatArray();
    long inner = 1;
    long[] steps = new long[target.length];
    for (int dim = target.length - 1; dim >= 0; dim--) {
      steps[dim] = target[dim] > 1 ? (long) (data[(int) inner] - data[0]) : 0;
      inner *= target[dim];
    }
    for (int i = 0; i < data.length; i++) {
      long want = (long) data[0];
      int rest = i;
      for (int dim = target.length - 1; dim >= 0; dim--) {
        want += rest % target[dim] * steps[dim];
        rest /= (int) target[dim];
      }
      if (data[i] != want) {
        return false;
      }
    }
    return true;
  }

  // ---- elements ------------------------------------------------------------------------------

  @Test
  void elementsAreChecked() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor floats = iota(arena, 2, 3);
      assertThrows(IndexOutOfBoundsException.class, () -> floats.getFloat(2, 0));
      assertThrows(IndexOutOfBoundsException.class, () -> floats.getFloat(0, -1));
      assertThrows(IndexOutOfBoundsException.class, () -> floats.getFloat(0));
      assertThrows(IndexOutOfBoundsException.class, () -> floats.setFloat(1, 0, 3));
      assertMessage("expected int32, got float32", () -> floats.getInt(0, 0));
      assertMessage("expected int64, got float32", () -> floats.getLong(0, 0));
      Tensor ints = Tensor.copyOf(arena, new int[] {7, 8}, 2);
      assertEquals(8, ints.getInt(1));
      assertMessage("expected float32, got int32", () -> ints.getFloat(0));
      assertMessage("expected float32, got int32", () -> ints.fill(0));
      assertMessage("expected float32, got int32", () -> ints.toFloatArray());
      Tensor longs = Tensor.of(arena.allocateFrom(ValueLayout.JAVA_LONG, 1L << 40), DType.INT64);
      assertEquals(1L << 40, longs.getLong());
    }
  }

  @Test
  void copyFromTakesAnyStrides() {
    Random random = new Random(5);
    try (Arena arena = Arena.ofConfined()) {
      for (int n = 0; n < 100; n++) {
        long[] shape = {1 + random.nextInt(4), 1 + random.nextInt(5), 1 + random.nextInt(6)};
        Tensor source = iota(arena, shape[2], shape[1], shape[0]).transpose(0, 2);
        Tensor target =
            Tensor.allocate(arena, DType.FLOAT32, shape[0], shape[1] + 2, shape[2] + 1)
                .slice(1, 1, shape[1] + 1)
                .slice(2, 0, shape[2]);
        target.copyFrom(source);
        assertArrayEquals(source.toFloatArray(), target.toFloatArray());
        target.fill(9);
        target.copyFrom(source.toFloatArray());
        assertArrayEquals(source.toFloatArray(), target.toFloatArray());
      }
      Tensor a = iota(arena, 2, 3);
      assertMessage(
          "source: expected [2, 3] float32, got [3, 2] float32",
          () -> a.copyFrom(iota(arena, 3, 2)));
      assertMessage("got [6] int32", () -> a.copyFrom(Tensor.allocate(arena, DType.INT32, 6)));
      assertMessage("expected 6 elements", () -> a.copyFrom(new float[7]));
      assertMessage("read-only", () -> a.asReadOnly().fill(1));
      assertMessage("read-only", () -> a.asReadOnly().copyFrom(new float[6]));
      assertTrue(a.asReadOnly().isReadOnly());
      assertTrue(a.asReadOnly().transpose(0, 1).isReadOnly());
      assertFalse(a.isReadOnly());
    }
  }

  // ---- identity, text ------------------------------------------------------------------------

  @Test
  void tensorsAreComparedByIdentity() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = iota(arena, 2);
      assertNotEquals(tensor, Tensor.of(tensor.segment(), DType.FLOAT32, 2));
    }
  }

  /** A row that is read after it was written gives something else than the source was. */
  @Test
  void copiesOfItsOwnMemoryAreRefused() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor tensor = iota(arena, 4, 4);
      float[] before = tensor.toFloatArray();
      String part = "source: expected memory of its own or the same elements";
      assertMessage(part, () -> tensor.copyFrom(tensor.transpose(0, 1)));
      Tensor lower = tensor.slice(0, 1, 4);
      assertMessage(part, () -> lower.copyFrom(tensor.slice(0, 0, 3)));
      assertArrayEquals(before, tensor.toFloatArray());
      tensor.copyFrom(Tensor.of(tensor.segment(), DType.FLOAT32, 4, 4));
      assertArrayEquals(before, tensor.toFloatArray());
      tensor.slice(1, 0, 2).copyFrom(tensor.slice(1, 2, 4)); // side by side
      assertEquals(2, tensor.getFloat(0, 0));
      tensor.slice(0, 0, 2).copyFrom(tensor.slice(0, 2, 4));
      assertEquals(10, tensor.getFloat(0, 0));
    }
  }

  @Test
  @Timeout(20)
  void toStringNeverThrows() throws InterruptedException {
    Tensor tensor;
    try (Arena arena = Arena.ofConfined()) {
      tensor = iota(arena, 2, 5);
      assertEquals(
          "Tensor([2, 5] float32, 0x%x: 0.0 1.0 2.0 3.0 4.0 5.0 …)"
              .formatted(tensor.segment().address()),
          tensor.toString());
      assertTrue(tensor.transpose(0, 1).toString().contains("strides [1, 5]"));
      assertTrue(tensor.asReadOnly().toString().contains("read-only"));
      assertTrue(tensor.slice(0, 0, 0).toString().contains("empty"));
      assertTrue(Tensor.copyOf(arena, new int[] {4}, 1).toString().endsWith(": 4)"));
      String[] other = new String[1];
      Thread thread = new Thread(() -> other[0] = tensor.toString());
      thread.start();
      thread.join();
      assertTrue(other[0].contains("arena of another thread"), other[0]);
    }
    assertTrue(tensor.toString().contains("arena closed"), tensor.toString());
    assertTrue(tensor.toString().contains("[2, 5] float32"), tensor.toString());
  }
}
