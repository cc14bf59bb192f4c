package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.io.Npy;
import dev.gatun.nn.GatedCrossAttention;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.TensorCache;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Anyone may implement Arena: what it gives is checked as an argument is. */
class ArenaTest {

  /** Gives whatever a test wants, and has the scope of another arena. */
  private record Odd(Arena owner, BiFunction<Long, Long, MemorySegment> giver) implements Arena {
    @Override
    public MemorySegment allocate(long bytes, long alignment) {
      return giver.apply(bytes, alignment);
    }

    @Override
    public MemorySegment.Scope scope() {
      return owner.scope();
    }

    @Override
    public void close() {
      owner.close();
    }
  }

  @TempDir Path folder;

  private static MemorySegment ofAnotherThread(Arena[] other, long bytes) {
    Thread thread = new Thread(() -> other[0] = Arena.ofConfined());
    MemorySegment[] segment = new MemorySegment[1];
    thread =
        new Thread(
            () -> {
              other[0] = Arena.ofConfined();
              segment[0] = other[0].allocate(bytes, 64);
            });
    thread.start();
    try {
      thread.join();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
    return segment[0];
  }

  private static MemorySegment closed(long bytes) {
    try (Arena gone = Arena.ofConfined()) {
      return gone.allocate(bytes, 64);
    }
  }

  /** What is wrong with an arena, and how the message says so. */
  private static Map<String, BiFunction<Long, Long, MemorySegment>> faults(Arena arena) {
    Map<String, BiFunction<Long, Long, MemorySegment>> faults = new LinkedHashMap<>();
    faults.put("got null", (_, _) -> null);
    faults.put(
        "got memory of the Java heap", (n, _) -> MemorySegment.ofArray(new byte[n.intValue()]));
    faults.put("bytes", (n, _) -> arena.allocate(n - 1, 64));
    faults.put("got 0 bytes", (_, _) -> MemorySegment.NULL);
    faults.put("got a read-only segment", (n, _) -> arena.allocate(n, 64).asReadOnly());
    faults.put("got memory that is closed", (n, _) -> closed(n));
    faults.put("got memory of another thread", (n, _) -> ofAnotherThread(new Arena[1], n));
    faults.put("got the address 0x", (n, _) -> arena.allocate(n + 4, 64).asSlice(4));
    return faults;
  }

  private static void refused(Consumer<Arena> user) {
    try (Arena arena = Arena.ofConfined()) {
      faults(arena)
          .forEach(
              (end, giver) -> {
                String message =
                    assertThrows(
                            IllegalArgumentException.class,
                            () -> user.accept(new Odd(arena, giver)))
                        .getMessage();
                assertTrue(message.startsWith("arena: expected "), message);
                assertTrue(message.contains(end), end + ": " + message);
              });
    }
  }

  @Test
  void oddArenasAreRefused() {
    refused(arena -> Tensor.allocate(arena, DType.FLOAT32, 3, 5));
    refused(arena -> Tensor.copyOf(arena, new float[6], 2, 3));
    refused(arena -> Tensor.copyOf(arena, new int[6], 6));
    refused(arena -> new TensorCache(arena, 1, 2, 3, 1, 4, 4));
    refused(arena -> PositionalEncoding.sinusoidal(arena, 4, 6));
    refused(arena -> PositionalEncoding.alibi(arena, 4));
    refused(arena -> Rotary.of(arena, 4, 4, 10_000, Rotary.Pairing.HALVES, RotaryScaling.none()));
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Tensor.allocate(arena, DType.FLOAT32, 3, 3);
      refused(odd -> GatedCrossAttention.gated(odd, weight, 1));
    }
  }

  /** The data begins where a float cannot be, so that it is copied. */
  @Test
  void readersOfFilesCheckAsWell() throws IOException {
    String header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    byte[] text = header.getBytes(StandardCharsets.US_ASCII);
    byte[] bytes = new byte[10 + text.length + 12];
    System.arraycopy(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0}, 0, bytes, 0, 8);
    bytes[8] = (byte) text.length;
    System.arraycopy(text, 0, bytes, 10, text.length);
    assertTrue((10 + text.length) % 4 != 0);
    Path file = Files.write(folder.resolve("odd.npy"), bytes);
    try (Arena arena = Arena.ofConfined()) {
      assertArrayEquals(new float[3], Npy.map(file, arena).toFloatArray());
      faults(arena)
          .forEach(
              (end, giver) -> {
                String message =
                    assertThrows(IOException.class, () -> Npy.map(file, new Odd(arena, giver)))
                        .getMessage();
                assertTrue(message.contains("arena: expected ") && message.contains(end), message);
              });
    }
  }

  /** An arena that recycles memory gives zeroed tensors all the same, and a longer piece is cut. */
  @Test
  void recycledMemoryIsZeroed() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(256, 64);
      slab.fill((byte) 7);
      Tensor tensor = Tensor.allocate(new Odd(arena, (_, _) -> slab), DType.FLOAT32, 3, 5);
      assertArrayEquals(new float[15], tensor.toFloatArray());
      assertEquals(60, tensor.segment().byteSize());
      assertEquals(7, slab.get(java.lang.foreign.ValueLayout.JAVA_BYTE, 60), "not ours");
    }
  }

  /** Large memory is not the arena's, but its scope is. */
  @Test
  void largeMemoryWantsAScope() {
    Arena odd =
        new Arena() {
          @Override
          public MemorySegment allocate(long bytes, long alignment) {
            throw new AssertionError("not asked");
          }

          @Override
          public MemorySegment.Scope scope() {
            return null;
          }

          @Override
          public void close() {}
        };
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> Tensor.allocate(odd, DType.FLOAT32, 1 << 20))
            .getMessage();
    assertEquals("arena: expected one with a scope, got null", message);
    try (Arena arena = Arena.ofConfined()) {
      Tensor large =
          Tensor.allocate(
              new Odd(
                  arena,
                  (_, _) -> {
                    throw new AssertionError("not asked");
                  }),
              DType.FLOAT32,
              1 << 20);
      assertEquals(0, large.getFloat((1 << 20) - 1));
    }
  }
}
