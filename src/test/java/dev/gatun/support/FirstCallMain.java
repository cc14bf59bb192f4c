package dev.gatun.support;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.MatMul;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenizer;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes the first calls of a JVM where the stack, or the heap, is about to end, with a little more
 * room each time until they succeed; then calls with enough room, and closes everything.
 */
public final class FirstCallMain {

  /** What a program calls, and what it closes. */
  private interface Calls extends AutoCloseable {
    void call();

    void check();

    @Override
    void close();
  }

  private FirstCallMain() {}

  /** Arguments: {@code stack}, {@code heap} or {@code plain}, and what is called. */
  public static void main(String[] arguments) throws IOException {
    try (Arena arena = Arena.ofShared();
        Calls calls = calls(arguments[1], arena)) {
      int failures =
          switch (arguments[0]) {
            case "stack" -> atTheEndOfTheStack(calls);
            case "heap" -> withoutHeap(calls);
            default -> 0;
          };
      System.out.println("next call");
      System.out.println("failures=" + (failures > 0));
      calls.check();
      List<Throwable> thrown = new ArrayList<>();
      Thread thread = new Thread(calls::check);
      thread.setUncaughtExceptionHandler((who, e) -> thrown.add(e));
      thread.start();
      thread.join();
      if (!thrown.isEmpty()) {
        throw new AssertionError("in another thread", thrown.getFirst());
      }
      calls.check();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
    System.out.println("closed");
  }

  private static Calls calls(String name, Arena arena) throws IOException {
    // One workspace to lend: it must not be lost.
    GatunRuntime runtime = GatunRuntime.builder().threads(2).workspaces(1).build();
    Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, 8, 2, 16);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 8, 2, 16);
    x.fill(1);
    Tensor matrix = x.reshape(16, 16);
    Tensor result = out.reshape(16, 16);
    return switch (name) {
      case "attention" -> {
        var attention = runtime.attention(AttentionSpec.standard());
        yield calls(runtime, () -> attention.forward(x, x, x, out), out, 1, runtime);
      }
      case "biased" -> {
        Tensor slopes = Tensor.copyOf(arena, new float[] {0.5f, 0.25f}, 2);
        var attention = runtime.attention(AttentionSpec.builder().alibiSlopes(slopes).build());
        Workspace workspace = runtime.newWorkspace();
        yield calls(
            runtime, () -> attention.forward(workspace, x, x, x, out), out, 1, workspace, runtime);
      }
      case "matmul" -> {
        MatMul product = runtime.matMul();
        yield calls(runtime, () -> product.multiply(matrix, matrix, result), out, 16, runtime);
      }
      case "linear" -> {
        Linear linear = new Linear(runtime, matrix, null, Activation.RELU);
        yield calls(runtime, () -> linear.forward(null, matrix, result), out, 16, runtime);
      }
      case "norm" -> {
        Tensor ones = Tensor.allocate(arena, DType.FLOAT32, 16);
        ones.fill(1);
        LayerNorm norm = new LayerNorm(runtime, ones, ones, 1e-5f);
        yield calls(runtime, () -> norm.forward(matrix, result), out, 1, runtime);
      }
      case "tokenizer" -> {
        byte[][] json = new byte[1][];
        try (var in =
            FirstCallMain.class
                .getClassLoader()
                .getResourceAsStream("all-minilm-l6-v2-tokenizer.json")) {
          json[0] = in.readAllBytes();
        }
        yield calls(runtime, () -> Tokenizer.load(json[0]).encode("some text"), x, 1, runtime);
      }
      case "embed" -> {
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
        float[] expected = new float[1];
        yield calls(
            runtime,
            () -> {
              float value = model.embed("A first text.")[0];
              if (expected[0] != 0 && expected[0] != value) {
                throw new AssertionError(expected[0] + " " + value);
              }
              expected[0] = value;
            },
            x,
            1,
            model,
            runtime);
      }
      default -> throw new IllegalArgumentException(name);
    };
  }

  private static Calls calls(
      GatunRuntime runtime, Runnable call, Tensor out, float expected, AutoCloseable... closed) {
    return new Calls() {
      @Override
      public void call() {
        call.run();
      }

      @Override
      public void check() {
        call.run();
        for (float value : out.toFloatArray()) {
          if (Math.abs(value - expected) > 1e-5f) {
            throw new AssertionError("expected " + expected + ", got " + value);
          }
        }
      }

      @Override
      public void close() {
        try {
          for (AutoCloseable each : closed) {
            each.close();
          }
        } catch (Exception e) {
          throw new AssertionError(runtime + " cannot be closed", e);
        }
      }
    };
  }

  private static int failures;
  private static boolean done;

  private static int atTheEndOfTheStack(Calls calls) throws InterruptedException {
    Thread thread = new Thread(null, () -> dive(calls), "dive", 400 << 10);
    List<Throwable> thrown = new ArrayList<>();
    thread.setUncaughtExceptionHandler((who, e) -> thrown.add(e));
    thread.start();
    thread.join();
    if (!thrown.isEmpty()) {
      throw new AssertionError("not a StackOverflowError", thrown.getFirst());
    }
    return failures;
  }

  /** On the way back from the end of the stack each frame calls, with a little more room each. */
  private static void dive(Calls calls) {
    try {
      dive(calls);
    } catch (StackOverflowError e) {
      // the end
    }
    if (!done) {
      try {
        calls.call();
        done = true;
      } catch (StackOverflowError e) {
        failures++;
      }
    }
  }

  /** Fills the heap, then calls with a little more of it each time. */
  private static int withoutHeap(Calls calls) {
    Object[] chain = null;
    try {
      for (int size = 1 << 16; size >= 4; ) {
        try {
          Object[] next = new Object[size];
          next[0] = chain;
          chain = next;
        } catch (OutOfMemoryError e) {
          size /= 2;
        }
      }
      while (true) {
        try {
          calls.call();
          return failures;
        } catch (OutOfMemoryError e) {
          failures++;
          for (int n = 0; n < 4 && chain != null; n++) {
            chain = (Object[]) chain[0];
          }
        }
      }
    } finally {
      chain = null;
    }
  }
}
