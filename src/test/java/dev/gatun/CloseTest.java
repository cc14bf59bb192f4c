package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Closing under traffic, with a time limit; and workspaces whose calls could not end. */
@Timeout(120)
class CloseTest {

  private static final Duration LONG = Duration.ofSeconds(60);

  /** Threads that call until they are refused. */
  private static final class Traffic {
    private final List<Thread> threads = new ArrayList<>();
    private final ConcurrentLinkedQueue<Throwable> ends = new ConcurrentLinkedQueue<>();
    private final CountDownLatch calling;

    Traffic(int count, Supplier<Runnable> calls) throws InterruptedException {
      calling = new CountDownLatch(count);
      for (int n = 0; n < count; n++) {
        Runnable call = calls.get();
        threads.add(Thread.ofPlatform().daemon().start(() -> run(call)));
      }
      calling.await();
    }

    private void run(Runnable call) {
      try {
        call.run();
        calling.countDown();
        while (true) {
          call.run();
        }
      } catch (Throwable e) {
        ends.add(e);
        calling.countDown();
      }
    }

    /** Every thread must have been refused, and by nothing else than the closing. */
    void finish(String... messages) throws InterruptedException {
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(threads.size(), ends.size());
      for (Throwable end : ends) {
        assertEquals(IllegalStateException.class, end.getClass(), end.toString());
        assertTrue(List.of(messages).contains(end.getMessage()), end.toString());
      }
    }
  }

  @Test
  void aRuntimeUnderTraffic() throws InterruptedException {
    for (boolean owned : new boolean[] {false, true}) {
      GatunRuntime runtime = GatunRuntime.builder().threads(2).workspaces(2).build();
      Attention attention = runtime.attention(AttentionSpec.standard());
      try (Arena arena = Arena.ofShared()) {
        Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, 64, 4, 64);
        Traffic traffic =
            new Traffic(
                4,
                () -> {
                  Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 64, 4, 64);
                  Workspace workspace = owned ? runtime.newWorkspace() : null;
                  return () -> attention.forward(workspace, x, x, x, out);
                });
        runtime.close(LONG);
        traffic.finish(
            "the runtime is closing", "the runtime is closed", "the workspace is closed");
      }
      runtime.close(LONG);
      runtime.close();
      assertTrue(runtime.toString().contains("closed"), runtime.toString());
    }
  }

  @Test
  void aModelUnderTraffic() throws IOException, InterruptedException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build()) {
      TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
      Traffic traffic = new Traffic(3, () -> () -> model.embed("Some text that is embedded."));
      model.close(LONG);
      traffic.finish("the model minilm is closing", "the model minilm is closed");
      model.close(LONG);
      model.close();
      assertTrue(model.toString().contains("closed"), model.toString());
    }
  }

  @Test
  void aModelInUseIsNamed() throws IOException, InterruptedException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM)) {
      String text = "word ".repeat(100);
      Thread thread = Thread.ofPlatform().daemon().start(() -> embedUntilClosed(model, text));
      IllegalStateException refused = null;
      while (refused == null && !model.toString().contains("closed")) {
        try {
          model.close(Duration.ZERO);
        } catch (IllegalStateException e) {
          refused = e;
        }
      }
      if (refused != null) {
        assertTrue(
            refused.getMessage().contains("calls of the model minilm are still running after PT0S"),
            refused.toString());
      }
      model.close(LONG);
      thread.join();
      assertEquals(
          "the model minilm is closed",
          assertThrows(IllegalStateException.class, () -> model.embed("x")).getMessage());
    }
  }

  private static void embedUntilClosed(TextEmbedder model, String text) {
    try {
      while (true) {
        model.embed(text);
      }
    } catch (IllegalStateException e) {
      assertTrue(e.getMessage().startsWith("the model minilm is clos"), e.toString());
    }
  }

  @Test
  void whenTheTimeIsOverItStaysOpen() throws InterruptedException {
    GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    Workspace held = runtime.newWorkspace();
    held.acquire();
    String message =
        assertThrows(IllegalStateException.class, () -> runtime.close(Duration.ofMillis(20)))
            .getMessage();
    assertTrue(message.contains("still running after PT0.02S; it stays open"), message);
    callOnce(runtime, null);
    Thread.currentThread().interrupt();
    message = assertThrows(IllegalStateException.class, () -> runtime.close(LONG)).getMessage();
    assertTrue(message.contains("still running after an interrupt"), message);
    assertTrue(Thread.interrupted());
    assertThrows(IllegalArgumentException.class, () -> runtime.close(Duration.ofNanos(-1)));
    held.release();
    callOnce(runtime, held);
    runtime.close(Duration.ofSeconds(Long.MAX_VALUE));
    assertThrows(IllegalStateException.class, () -> GatunRuntime.shared().close(LONG));
  }

  private static void callOnce(GatunRuntime runtime, Workspace workspace) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 1, 4);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 1, 4);
      runtime.attention(AttentionSpec.standard()).forward(workspace, x, x, x, out);
    }
  }

  // ---- workspaces whose call is over, and that are still in use ---------------------------------

  @Test
  void aWorkspaceOfAThreadThatHasEnded() throws InterruptedException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).workspaces(1).build()) {
      Workspace own = runtime.newWorkspace();
      Thread thread =
          new Thread(
              () -> {
                own.acquire();
                runtime.begin(null);
              });
      thread.start();
      thread.join();
      callOnce(runtime, own);
      callOnce(runtime, null);
    }
  }

  @Test
  void aWorkspaceOfAThreadThatDoesSomethingElse() throws Exception {
    ExecutorService thread = Executors.newSingleThreadExecutor();
    GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    Workspace own = runtime.newWorkspace();
    thread.submit(own::acquire).get();
    thread.submit(() -> runtime.begin(null)).get();
    while (!isParked(thread)) {
      Thread.onSpinWait();
    }
    runtime.close();
    thread.close();
  }

  /** The executor's thread has left our task when it waits for the next one. */
  private static boolean isParked(ExecutorService thread) {
    return Thread.getAllStackTraces().entrySet().stream()
        .filter(entry -> entry.getKey().getName().startsWith("pool-"))
        .noneMatch(
            entry ->
                List.of(entry.getValue()).stream()
                    .anyMatch(frame -> frame.getClassName().startsWith("dev.gatun.")));
  }

  @Test
  void aWorkspaceOfThisThread() {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
      Workspace own = runtime.newWorkspace();
      own.acquire(); // its call has not come to its end: nothing of it is on the stack
      callOnce(runtime, own);
      own.acquire();
      own.close();
    }
  }

  /** A call within a call, through the code of a caller, is no such thing. */
  @Test
  void aCallWithinACallIsRefused() {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
      Workspace own = runtime.newWorkspace();
      own.acquire();
      List.of(1)
          .forEach(
              once -> {
                assertThrows(IllegalStateException.class, () -> callOnce(runtime, own));
                assertThrows(IllegalStateException.class, own::close);
                assertThrows(IllegalStateException.class, runtime::close);
              });
      own.release();
      assertFalse(own.toString().contains("in use"), own.toString());
    }
  }

  // ---- names ----------------------------------------------------------------------------------

  @Test
  void aTensorWhoseArenaIsClosedIsNamed() {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        Arena arena = Arena.ofConfined()) {
      Arena gone = Arena.ofConfined();
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 1, 4);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 1, 4);
      Tensor closed = Tensor.allocate(gone, DType.FLOAT32, 1, 3, 1, 4);
      Tensor square = Tensor.allocate(arena, DType.FLOAT32, 4, 4);
      Tensor closedSquare = Tensor.allocate(gone, DType.FLOAT32, 4, 4);
      gone.close();
      Attention attention = runtime.attention(AttentionSpec.standard());
      named("k: its arena is closed", () -> attention.forward(x, closed, x, out));
      named("out: its arena is closed", () -> attention.forward(x, x, x, closed));
      MatMul product = runtime.matMul();
      Tensor result = Tensor.allocate(arena, DType.FLOAT32, 4, 4);
      named("b: its arena is closed", () -> product.multiply(square, closedSquare, result));
    }
  }

  private static void named(String message, Runnable call) {
    assertEquals(message, assertThrows(IllegalStateException.class, call::run).getMessage());
  }
}
