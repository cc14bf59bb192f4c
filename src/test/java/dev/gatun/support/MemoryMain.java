package dev.gatun.support;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.MatMul;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.Linear;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** Products where the operating system gives no more memory, or on very many threads. */
public final class MemoryMain {

  private static final int RLIMIT_AS = 9;
  private static final int SIZE = 256;

  /** Of products that take longer than the system's scheduler gives a thread at a time. */
  private static final int LARGE_SIZE = 700;

  private MemoryMain() {}

  /** The argument says which program. */
  public static void main(String[] arguments) throws Throwable {
    switch (arguments[0]) {
      case "creation" -> creation(arguments[1].equals("linear"));
      case "workspaces" -> workspaces();
      case "threads" -> threads(Integer.parseInt(arguments[1]));
      default -> throw new IllegalArgumentException(arguments[0]);
    }
  }

  /** The first product, or layer, without memory, twice; then with memory. */
  private static void creation(boolean layer) throws Throwable {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        Arena arena = Arena.ofConfined()) {
      Tensor a = Tensor.allocate(arena, DType.FLOAT32, SIZE, SIZE);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, SIZE, SIZE);
      a.fill(1);
      for (long megabytes : new long[] {20, 100, 200, 100_000}) {
        limitAddressSpace(megabytes);
        try {
          if (layer) {
            new Linear(runtime, a, null, Activation.NONE).forward(a, out);
          } else {
            runtime.matMul().multiply(a, a, out);
          }
          System.out.println("result=" + out.getFloat(SIZE - 1, SIZE - 1));
        } catch (GatunException e) {
          System.out.println("failure=" + e.getMessage());
        }
      }
    }
  }

  /** An operation that has its memory, and threads with workspaces of their own that find none. */
  private static void workspaces() throws Throwable {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        Arena arena = Arena.ofShared()) {
      MatMul product = runtime.matMul();
      Tensor a = Tensor.allocate(arena, DType.FLOAT32, SIZE, SIZE);
      a.fill(1);
      limitAddressSpace(240);
      System.out.println("limited=" + multiply(runtime, product, a, arena, 6));
      limitAddressSpace(100_000);
      System.out.println("free=" + multiply(runtime, product, a, arena, 6));
    }
  }

  /** Threads that all multiply at the same time, each with a workspace of its own. */
  private static void threads(int count) throws Throwable {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        Arena arena = Arena.ofShared()) {
      MatMul product = runtime.matMul();
      Tensor a = Tensor.allocate(arena, DType.FLOAT32, LARGE_SIZE, LARGE_SIZE);
      a.fill(1);
      System.out.println("result=" + multiply(runtime, product, a, arena, count));
    }
  }

  /** Returns how many threads computed, and what the others said. */
  private static String multiply(
      GatunRuntime runtime, MatMul product, Tensor a, Arena arena, int count)
      throws InterruptedException {
    AtomicInteger right = new AtomicInteger();
    List<String> messages = new ArrayList<>();
    CountDownLatch ready = new CountDownLatch(count);
    long size = a.size(0);
    List<Thread> threads = new ArrayList<>();
    List<Workspace> workspaces = new ArrayList<>();
    for (int n = 0; n < count; n++) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, size, size);
      Workspace workspace = runtime.newWorkspace();
      workspaces.add(workspace);
      threads.add(
          new Thread(
              null,
              () -> {
                ready.countDown();
                try {
                  ready.await();
                  product.multiply(workspace, 1, a, a, 0, out);
                  right.addAndGet(out.getFloat(size - 1, 0) == size ? 1 : 1000);
                } catch (GatunException e) {
                  synchronized (messages) {
                    messages.add(e.getMessage());
                  }
                } catch (InterruptedException e) {
                  throw new AssertionError(e);
                }
              },
              "multiplies",
              1 << 18));
    }
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      thread.join();
    }
    workspaces.forEach(Workspace::close);
    return right
        + " right, "
        + messages.size()
        + " refused: "
        + messages.stream().distinct().limit(1).toList();
  }

  /** Leaves this process so much more address space than it has now. */
  private static void limitAddressSpace(long megabytes) throws Throwable {
    MethodHandle set =
        Linker.nativeLinker()
            .downcallHandle(
                Linker.nativeLinker().defaultLookup().findOrThrow("setrlimit"),
                FunctionDescriptor.of(
                    ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS));
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment limit = arena.allocate(2 * Long.BYTES, Long.BYTES);
      limit.set(ValueLayout.JAVA_LONG, 0, used() + (megabytes << 20));
      limit.set(ValueLayout.JAVA_LONG, Long.BYTES, -1); // the hard limit stays infinite
      if ((int) set.invokeExact(RLIMIT_AS, limit) != 0) {
        throw new AssertionError("setrlimit");
      }
    }
  }

  private static long used() throws IOException {
    return Long.parseLong(Files.readString(Path.of("/proc/self/statm")).split(" ")[0]) << 12;
  }
}
