package dev.gatun.support;

import com.sun.management.ThreadMXBean;
import dev.gatun.Attention;
import dev.gatun.AttentionMap;
import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.io.Safetensors;
import dev.gatun.model.HeadCalls;
import dev.gatun.nn.AdditiveCalls;
import dev.gatun.nn.LayersCalls;
import dev.gatun.nn.RaceCalls;
import dev.gatun.nn.RecurrentCalls;
import dev.gatun.nn.SparseCalls;
import dev.gatun.nn.TransformerCalls;
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
import java.util.Arrays;
import java.util.function.Function;

/** What a {@link ChildJvm} runs: the first argument says which. */
public final class ChildMain {

  private ChildMain() {}

  /** Runs one of the programs below. */
  public static void main(String[] arguments) throws Throwable {
    switch (arguments[0]) {
      case "load" -> load();
      case "openblas" -> openBlas();
      case "garbage" -> garbage(arena -> new Calls(arena)::call, 100_000, 20_000);
      case "malloc" -> malloc(arguments[1], arena -> new Calls(arena)::call, 20_000);
      case "layers-garbage" -> garbage(LayersCalls::new, 8_000, 2_500);
      case "layers-malloc" -> malloc(arguments[1], LayersCalls::new, 4_000);
      case "recurrent-garbage" -> garbage(RecurrentCalls::new, 600, 300);
      case "sparse-garbage" -> garbage(SparseCalls::new, 4_000, 1_500);
      case "sparse-malloc" -> malloc(arguments[1], SparseCalls::new, 2_000);
      case "additive-garbage" -> garbage(AdditiveCalls::new, 8_000, 2_500);
      case "transformer-garbage" -> garbage(TransformerCalls::new, 6_000, 1_000);
      case "transformer-malloc" -> malloc(arguments[1], TransformerCalls::new, 3_000);
      case "heads-garbage" -> garbage(HeadCalls::new, 1_500, 400);
      case "heads-malloc" -> malloc(arguments[1], HeadCalls::new, 500);
      case "generator-garbage" -> garbage(arena -> new TransformerCalls(arena)::generate, 600, 300);
      case "batch-generator-garbage" ->
          garbage(arena -> new TransformerCalls(arena)::generateTogether, 600, 300);
      case "first-layer" -> LayersCalls.first();
      case "race" -> RaceCalls.run(arguments[1], Double.parseDouble(arguments[2]));
      case "safetensors" -> safetensors(Path.of(arguments[1]));
      case "mutations" -> Mutations.main(Arrays.copyOfRange(arguments, 1, arguments.length));
      default -> throw new IllegalArgumentException(arguments[0]);
    }
  }

  /** Creates a runtime and computes; on failure prints the messages of two attempts. */
  private static void load() {
    for (int attempt = 0; attempt < 2; attempt++) {
      try (GatunRuntime runtime = GatunRuntime.create();
          Arena arena = Arena.ofConfined()) {
        Tensor one = Tensor.copyOf(arena, new float[] {1}, 1, 1, 1, 1);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 1, 1);
        runtime.attention(AttentionSpec.standard()).forward(one, one, one, out);
        RuntimeInfo info = runtime.info();
        System.out.println("library=" + info.library());
        System.out.println("origin=" + info.libraryOrigin());
        System.out.println("tier=" + info.tier() + " by " + info.tierSource());
        System.out.println("threads=" + info.threads() + " by " + info.threadsSource());
        System.out.println("module=" + Tensor.class.getModule().isNamed());
        System.out.println("result=" + out.getFloat(0, 0, 0, 0));
        return;
      } catch (GatunException e) {
        System.out.println("failure=" + e.getMessage());
      }
    }
  }

  private static void openBlas() {
    for (int attempt = 0; attempt < 2; attempt++) {
      try (GatunRuntime runtime = GatunRuntime.create()) {
        System.out.println("info=" + runtime.matMul().info());
        return;
      } catch (GatunException e) {
        System.out.println("failure=" + e.getMessage());
      }
    }
  }

  private static void safetensors(Path file) throws IOException {
    for (int attempt = 0; attempt < 2; attempt++) {
      try (Arena arena = Arena.ofConfined()) {
        System.out.println("names=" + Safetensors.map(file, arena).names());
        return;
      } catch (GatunException e) {
        System.out.println("failure=" + e.getMessage());
      }
    }
  }

  // ---- garbage -------------------------------------------------------------------------------

  /** Calls that must make none, warm. Each call makes some of them, so that they alternate. */
  private static final class Calls {
    private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
    private final Attention plain = runtime.attention(AttentionSpec.standard());
    private final Attention scaled = runtime.attention(AttentionSpec.builder().scale(0.5f).build());
    private final Attention biased;
    private final Workspace workspace = runtime.newWorkspace();
    private final Tensor q;
    private final Tensor k;
    private final Tensor lengths;
    private final Tensor out;
    private final Tensor lse;
    private final Tensor shortQ;
    private final Tensor shortOut;
    private final Tensor raggedQ;
    private final Tensor raggedQ2;
    private final Tensor raggedK;
    private final AttentionOptions all;
    private final AttentionOptions lseOnly;
    private final AttentionOptions keysToo;
    private final AttentionOptions ragged;
    private final Attention windowed;
    private final AttentionOptions masked;
    private final AttentionOptions segmented;
    private final Tensor map;

    Calls(Arena arena) {
      q = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 4, 8);
      k = Tensor.allocate(arena, DType.FLOAT32, 1, 9, 2, 8);
      lengths = Tensor.copyOf(arena, new int[] {2}, 1);
      out = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 4, 8);
      lse = Tensor.allocate(arena, DType.FLOAT32, 1, 4, 3);
      biased =
          runtime.attention(
              AttentionSpec.builder()
                  .alibiSlopes(Tensor.copyOf(arena, new float[] {1, 0.5f, 0.25f, 0.125f}, 4))
                  .relativePositions(Tensor.allocate(arena, DType.FLOAT32, 4, 7))
                  .build());
      shortQ = q.slice(1, 0, 2);
      shortOut = out.slice(1, 0, 2);
      raggedQ = q.select(0, 0);
      raggedQ2 = out.select(0, 0);
      raggedK = k.select(0, 0);
      map = Tensor.allocate(arena, DType.FLOAT32, 1, 4, 3, 5);
      all = new AttentionOptions().keyLengths(lengths).queryLengths(lengths).lse(lse);
      lseOnly = new AttentionOptions().lse(lse);
      keysToo = new AttentionOptions().keyLengths(lengths).lse(lse);
      ragged =
          new AttentionOptions()
              .cuSeqlens(
                  Tensor.copyOf(arena, new int[] {0, 1, 3}, 3),
                  Tensor.copyOf(arena, new int[] {0, 5, 9}, 3));
      windowed =
          runtime.attention(
              AttentionSpec.builder()
                  .causal(Causal.BOTTOM_RIGHT)
                  .window(2, -1)
                  .globalTokens(1)
                  .softcap(5)
                  .sinks(Tensor.allocate(arena, DType.FLOAT32, 4))
                  .build());
      masked =
          new AttentionOptions()
              .mask(Tensor.allocate(arena, DType.UINT8, 1, 1, 3, 9))
              .bias(Tensor.allocate(arena, DType.FLOAT32, 1, 4, 1, 9))
              .blockMask(Tensor.allocate(arena, DType.UINT8, 1, 1, 1, 2), 3, 5);
      segmented =
          new AttentionOptions()
              .segments(
                  Tensor.allocate(arena, DType.INT32, 1, 3),
                  Tensor.allocate(arena, DType.INT32, 1, 9))
              .prefixLengths(lengths)
              .queryPositions(Tensor.allocate(arena, DType.INT32, 1, 3));
    }

    /** Eleven calls. */
    void call() {
      plain.forward(q, k, k, out);
      plain.forward(workspace, q, k, k, out, all);
      scaled.forward(workspace, shortQ, k, k, shortOut);
      scaled.forward(q, k, k, out, lseOnly);
      biased.forward(q, k, k, out, keysToo);
      plain.forward(raggedQ, raggedK, raggedK, raggedQ2, ragged);
      windowed.forward(q, k, k, out);
      plain.forward(q, k, k, out, masked);
      plain.map(q, k, map);
      windowed.map(workspace, q, k, map, AttentionMap.max(), segmented);
      windowed.forward(workspace, q, k, k, out, segmented);
    }
  }

  /**
   * Prints the bytes that all threads allocated in each of some rounds of warm calls.
   *
   * @param kind makes what is called
   * @param warm how often it is called before
   * @param counted how often in a round
   */
  private static void garbage(Function<Arena, Runnable> kind, int warm, int counted) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Arena arena = Arena.ofShared()) {
      Runnable calls = kind.apply(arena);
      for (int n = 0; n < warm; n++) {
        calls.run();
      }
      StringBuilder text = new StringBuilder();
      // Until one allocates nothing: on a busy machine the JVM still compiles for many rounds.
      long allocated = 1;
      for (int round = 0; round < 10 && allocated > 0; round++) {
        // The first of two readings allocates what reading itself needs.
        threads.getTotalThreadAllocatedBytes();
        long before = threads.getTotalThreadAllocatedBytes();
        for (int n = 0; n < counted; n++) {
          calls.run();
        }
        allocated = threads.getTotalThreadAllocatedBytes() - before;
        text.append(allocated).append(' ');
      }
      System.out.println(text);
    }
  }

  /**
   * Prints the native allocations of this thread and of the pool in each of some rounds of 1,000
   * warm calls and more.
   *
   * @param counter the library of {@code malloc_counter.h}; it is preloaded, and loading it once
   *     more makes its functions known here
   * @param kind makes what is called; four calls or more each time
   * @param warm how often it is called before
   */
  private static void malloc(String counter, Function<Arena, Runnable> kind, int warm)
      throws Throwable {
    System.load(counter);
    MethodHandle start =
        function("malloc_counter_start", FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT));
    MethodHandle stop =
        function("malloc_counter_stop", FunctionDescriptor.of(ValueLayout.JAVA_LONG));
    MethodHandle malloc =
        function("malloc", FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
    try (Arena arena = Arena.ofShared()) {
      Runnable calls = kind.apply(arena);
      for (int n = 0; n < warm; n++) {
        calls.run();
      }
      StringBuilder text = new StringBuilder();
      // Until one allocates nothing: on a busy machine the JVM still compiles for many rounds.
      long allocations = 1;
      for (int round = 0; round < 60 && allocations > 0; round++) {
        start.invoke(0);
        for (int n = 0; n < 250; n++) {
          calls.run();
        }
        allocations = (long) stop.invoke();
        text.append(allocations).append(' ');
      }
      System.out.println(text);
      // And one that is seen, to know that the counter counts.
      start.invoke(0);
      MemorySegment memory = (MemorySegment) malloc.invoke(100L);
      long seen = (long) stop.invoke();
      System.out.println(memory.address() != 0 && seen > 0 ? "counts" : "counts nothing");
    }
  }

  private static MethodHandle function(String name, FunctionDescriptor descriptor) {
    SymbolLookup lookup = SymbolLookup.loaderLookup();
    return Linker.nativeLinker().downcallHandle(lookup.findOrThrow(name), descriptor);
  }
}
