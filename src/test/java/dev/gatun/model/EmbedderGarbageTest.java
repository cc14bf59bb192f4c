package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.Sequences;
import dev.gatun.support.Allocations;
import dev.gatun.support.ChildJvm;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * From ids to vector, with lengths that vary, nothing is allocated on the Java heap or off it, by
 * any thread, OpenBLAS included. Counted in a JVM of its own.
 */
class EmbedderGarbageTest {
  private static final int HEAP_CALLS = 10_000;
  private static final int NATIVE_CALLS = 1_000;

  @TempDir Path folder;

  @Test
  void noBytesOnTheHeap() throws IOException, InterruptedException {
    long bytes = Long.parseLong(run(null, "heap"));
    assertTrue(bytes < 0.01 * HEAP_CALLS, bytes + " bytes in " + HEAP_CALLS + " calls");
  }

  @Test
  void noNativeAllocation() throws IOException, InterruptedException {
    String[] out = run(Allocations.counter(), "native").split(" ");
    assertEquals("0", out[0], "allocations in " + NATIVE_CALLS + " calls");
    assertTrue(Long.parseLong(out[1]) > 0, "the counter counts nothing");
  }

  private String run(Path preload, String what) throws IOException, InterruptedException {
    Path out = folder.resolve("out");
    Path err = folder.resolve("err");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED", "-cp"));
    command.add(
        String.join(
            File.pathSeparator,
            ChildJvm.mainClasses().toString(),
            testClasses(),
            ChildJvm.jarOf("com/fasterxml/jackson/core/JsonFactory.class").toString(),
            System.getProperty("java.class.path")));
    command.add(Child.class.getName());
    command.add(what);
    command.add(String.valueOf(preload));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().remove("JAVA_TOOL_OPTIONS");
    builder.environment().remove("OPENBLAS_CORETYPE"); // its best kernels, and the test is shorter
    builder.environment().remove("OPENBLAS_L2_SIZE");
    if (preload != null) {
      builder.environment().put("LD_PRELOAD", preload.toString());
    }
    Process process = builder.redirectOutput(out.toFile()).redirectError(err.toFile()).start();
    if (!process.waitFor(10, TimeUnit.MINUTES)) {
      process.destroyForcibly();
      throw new AssertionError("the child did not end");
    }
    assertEquals(0, process.exitValue(), () -> text(err));
    return text(out);
  }

  private static String text(Path file) {
    try {
      return ChildJvm.text(file);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** As a resource, since the code source of a patched module is not that of its tests. */
  private static String testClasses() {
    String name = "/dev/gatun/model/EmbedderGarbageTest.class";
    String file = EmbedderGarbageTest.class.getResource(name).getPath();
    return file.substring(0, file.length() - name.length());
  }

  /** What the child runs. */
  static final class Child {
    private final TextEmbedder model;
    private final Workspace workspace;
    private final Tensor[] ids;
    private final Sequences[] texts;
    private final Tensor[] vectors;

    private Child(Arena arena, int threads, int longest) throws IOException {
      GatunRuntime runtime = GatunRuntime.builder().threads(threads).build();
      model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
      workspace = runtime.newWorkspace();
      int count = 32;
      ids = new Tensor[count];
      texts = new Sequences[count];
      vectors = new Tensor[count];
      Random random = new Random(1);
      for (int n = 0; n < count; n++) {
        int many = n % 4 == 3 ? 2 : 1;
        int length = many * (n == 0 ? longest : 1 + random.nextInt(longest / many));
        ids[n] = Tensor.copyOf(arena, random.ints(length, 0, 30522).toArray(), length);
        int[] ends = many == 1 ? new int[] {0, length} : new int[] {0, length / 3, length};
        texts[n] = Sequences.ragged(Tensor.copyOf(arena, ends, ends.length));
        vectors[n] = Tensor.allocate(arena, DType.FLOAT32, many, model.dimension());
      }
    }

    private void calls(int count) {
      for (int n = 0; n < count; n++) {
        int i = n % ids.length;
        // One in three with a workspace that is lent.
        model.embed(n % 3 == 0 ? null : workspace, ids[i], texts[i], vectors[i]);
      }
    }

    public static void main(String[] arguments) throws Throwable {
      try (Arena arena = Arena.ofShared()) {
        System.out.println(arguments[0].equals("heap") ? heap(arena) : off(arena, arguments[1]));
      }
    }

    /**
     * Bytes of all threads in 10,000 calls one after the other, of which the JVM's own are few: it
     * allocates where it gives up optimized code, and its threads do so once a minute.
     */
    private static long heap(Arena arena) throws IOException {
      Child child = new Child(arena, 1, 6);
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      long[] rounds = new long[30];
      long least = Long.MAX_VALUE;
      for (int round = 0; round < rounds.length && least >= 0.01 * HEAP_CALLS; round++) {
        // The first of two readings allocates what reading itself needs.
        threads.getTotalThreadAllocatedBytes();
        long before = threads.getTotalThreadAllocatedBytes();
        child.calls(HEAP_CALLS / 10);
        rounds[round] = threads.getTotalThreadAllocatedBytes() - before;
        if (round >= 9) {
          least = Math.min(least, Arrays.stream(rounds, round - 9, round + 1).sum());
        }
      }
      return least;
    }

    /** The least of some rounds: the JVM itself allocates now and then on the calling thread. */
    private static String off(Arena arena, String counter) throws Throwable {
      System.load(counter);
      MethodHandle start =
          function("malloc_counter_start", FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT));
      MethodHandle stop =
          function("malloc_counter_stop", FunctionDescriptor.of(ValueLayout.JAVA_LONG));
      MethodHandle malloc =
          function("malloc", FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
      Child child = new Child(arena, 2, 40);
      child.calls(1_500);
      long least = Long.MAX_VALUE;
      for (int round = 0; round < 20 && least > 0; round++) {
        start.invoke(0);
        child.calls(NATIVE_CALLS);
        least = Math.min(least, (long) stop.invoke());
      }
      start.invoke(0);
      MemorySegment memory = (MemorySegment) malloc.invoke(100L);
      long seen = (long) stop.invoke();
      return least + " " + (memory.address() != 0 ? seen : 0);
    }

    private static MethodHandle function(String name, FunctionDescriptor descriptor) {
      return Linker.nativeLinker()
          .downcallHandle(SymbolLookup.loaderLookup().findOrThrow(name), descriptor);
    }
  }
}
