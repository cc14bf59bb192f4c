package dev.gatun.bench.measure;

import java.io.FileNotFoundException;
import java.io.UncheckedIOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * {@code libgatunbench.so} of {@code native/bench}: the file that {@code -Dgatun.bench.library}
 * names, or the one that the build leaves in {@code target}.
 */
public final class BenchLibrary {
  public static final String PROPERTY = "gatun.bench.library";

  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final AddressLayout ADDRESS = ValueLayout.ADDRESS;

  static {
    Path file = file();
    if (!Files.isRegularFile(file)) {
      throw new UncheckedIOException(
          new FileNotFoundException(
              "%s is missing; make bench builds it, -D%s names another".formatted(file, PROPERTY)));
    }
    System.load(file.toString());
  }

  /** Address, address, address, address, address, address, address, address, address, count. */
  public static final MethodHandle REPEAT =
      handle(
          "gatunbench_repeat",
          FunctionDescriptor.of(
              INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
              LONG));

  public static final MethodHandle NAIVE =
      handle(
          "gatunbench_naive",
          FunctionDescriptor.of(
              INT, ADDRESS, INT, ADDRESS, INT, INT, LONG, LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
              ADDRESS));

  private static final MethodHandle READ =
      handle(
          "gatunbench_read",
          FunctionDescriptor.of(ValueLayout.JAVA_FLOAT, INT, ADDRESS, LONG, LONG, ADDRESS));

  public static final MethodHandle EMPTY = handle("gatunbench_empty", FunctionDescriptor.ofVoid());

  private static final MethodHandle VALUE =
      handle("gatunbench_value", FunctionDescriptor.of(ValueLayout.JAVA_FLOAT, LONG, LONG));

  private static final MethodHandle FLOPS =
      handle("gatunbench_flops", FunctionDescriptor.of(ValueLayout.JAVA_DOUBLE, ADDRESS, INT));

  private static final MethodHandle SHAPE =
      handle(
          "gatunbench_shape",
          FunctionDescriptor.of(
              ADDRESS.withTargetLayout(MemoryLayout.sequenceLayout(64, ValueLayout.JAVA_BYTE)),
              INT,
              ADDRESS));

  private static final FunctionDescriptor OF_SECONDS =
      FunctionDescriptor.of(ValueLayout.JAVA_DOUBLE, ValueLayout.JAVA_DOUBLE);

  private static final MethodHandle INSTRUCTIONS =
      handle("gatunbench_instructions_a_cycle", OF_SECONDS);

  private static final MethodHandle UNDISTURBED =
      handle("gatunbench_undisturbed", FunctionDescriptor.of(ValueLayout.JAVA_DOUBLE));

  private static final MethodHandle SETTLE =
      handle("gatunbench_settle", FunctionDescriptor.of(INT, ValueLayout.JAVA_DOUBLE));

  private static final MethodHandle PIN = handle("gatunbench_pin", FunctionDescriptor.of(INT, INT));

  private static final MethodHandle UNPIN = handle("gatunbench_unpin", FunctionDescriptor.ofVoid());

  private BenchLibrary() {}

  /** Makes sure that the library is loaded. */
  public static void load() {
    // the initializer does it
  }

  public static Path file() {
    String platform = System.getProperty("os.arch").equals("aarch64") ? "aarch64" : "x86_64";
    return Path.of(
            System.getProperty(
                PROPERTY, "target/native/linux-" + platform + "/bench/libgatunbench.so"))
        .toAbsolutePath();
  }

  private static MethodHandle handle(String name, FunctionDescriptor function) {
    return Linker.nativeLinker()
        .downcallHandle(SymbolLookup.loaderLookup().findOrThrow(name), function);
  }

  /** C's {@link Workload#value}. */
  static float value(long seed, long element) throws Throwable {
    return (float) VALUE.invokeExact(seed, element);
  }

  /** C's {@link Point#flops}. */
  static double flops(MemorySegment sizes, boolean causal) throws Throwable {
    return (double) FLOPS.invokeExact(sizes, causal ? 1 : 0);
  }

  /** Reads memory for some time and returns bytes a second. */
  static double read(int tier, MemorySegment memory, long nanoseconds) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment rate = arena.allocate(ValueLayout.JAVA_DOUBLE);
      float sum =
          (float)
              READ.invokeExact(tier, memory, memory.byteSize() / Float.BYTES, nanoseconds, rate);
      if (Float.isNaN(sum)) {
        throw new IllegalStateException("memory: expected numbers");
      }
      return rate.get(ValueLayout.JAVA_DOUBLE, 0);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
  }

  /** The name of a shape in C's list, or null past its end; sizes receives six int64. */
  static String shape(int index, MemorySegment sizes) throws Throwable {
    MemorySegment name = (MemorySegment) SHAPE.invokeExact(index, sizes);
    return name.address() == 0 ? null : name.reinterpret(64).getString(0);
  }

  /** A call that throws nothing of its own. */
  private interface Downcall<T> {
    T call() throws Throwable;
  }

  private static <T> T unchecked(Downcall<T> downcall) {
    try {
      return downcall.call();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
  }

  /** Instructions a cycle of a loop that wants the whole core, NaN where there is none. */
  public static double instructionsPerCycle(double seconds) {
    return unchecked(() -> (double) INSTRUCTIONS.invokeExact(seconds));
  }

  /** From how many of them on nobody else uses the core. */
  static double undisturbed() {
    return unchecked(() -> (double) UNDISTURBED.invokeExact());
  }

  /** Keeps the calling thread on its least disturbed CPU; whether that is another than before. */
  static boolean settle(double seconds) {
    return unchecked(() -> (int) SETTLE.invokeExact(seconds)) != 0;
  }

  /** Keeps the calling thread on a CPU; whether that is possible. */
  static boolean pin(int cpu) {
    return unchecked(() -> (int) PIN.invokeExact(cpu)) == 0;
  }

  /** Takes {@link #settle} back. */
  static void unpin() {
    unchecked(
        () -> {
          UNPIN.invokeExact();
          return null;
        });
  }
}
