package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.closed;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.ChildJvm;
import dev.gatun.support.Placement;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Layers whose weights, workspace or runtime are closed. */
@Timeout(120)
class LayersLifetimeTest {

  private static final int DIM = 8;

  private static MultiHeadAttention attention(GatunRuntime runtime, Tensor... weights) {
    return MultiHeadAttention.builder(runtime, 2)
        .query(weights[0], null)
        .key(weights[1], null)
        .value(weights[2], null)
        .output(weights[3], null)
        .build();
  }

  /**
   * A weight that is gone is an exception, not a crash; out and the workspace stay as they were.
   */
  @Test
  @Tag("asan")
  void aClosedWeightIsRefused() {
    GatunRuntime runtime = Layers.runtime(2);
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor x = Layers.normal(arena, random, 1, 5, DIM);
      for (int n = 0; n < 4; n++) {
        Placement.Placed placed = Placement.BSHD.empty(arena, 1, 5, 1, DIM);
        Tensor out = Layers.sequences(placed);
        MultiHeadAttention attention;
        FeedForward network;
        Linear linear;
        LayerNorm norm;
        try (Arena gone = Arena.ofConfined()) {
          Tensor[] weights = new Tensor[4];
          for (int i = 0; i < 4; i++) {
            weights[i] = Layers.weight(i == n ? gone : arena, random, DIM, DIM);
          }
          Tensor vector = Layers.normal(gone, random, DIM);
          attention = attention(runtime, weights);
          network =
              new FeedForward(
                  runtime,
                  Layers.weight(n == 0 ? gone : arena, random, DIM, DIM),
                  n == 1 ? vector : null,
                  Activation.GELU,
                  Layers.weight(n == 2 ? gone : arena, random, DIM, DIM),
                  n == 3 ? vector : null);
          linear = new Linear(runtime, weights[n], null, Activation.NONE);
          norm = new LayerNorm(runtime, vector, null, 1e-5f);
          attention.forward(workspace, x, null, out);
          network.forward(workspace, x, out);
          linear.forward(workspace, x, out);
          norm.forward(x, out);
        }
        placed.spoil();
        for (Workspace own : new Workspace[] {workspace, null}) {
          closed(() -> attention.forward(own, x, null, out));
          closed(() -> network.forward(own, x, out));
          closed(() -> linear.forward(own, x, out));
          closed(() -> norm.forward(own, x, null, null, out));
        }
        placed.checkUntouched();
      }
      // Tensors of the call itself, and lengths.
      Tensor weight = Layers.weight(arena, random, DIM, DIM);
      MultiHeadAttention attention = attention(runtime, weight, weight, weight, weight);
      Placement.Placed placed = Placement.BSHD.empty(arena, 1, 5, 1, DIM);
      Tensor out = Layers.sequences(placed);
      Tensor goneX;
      Tensor goneLengths;
      try (Arena gone = Arena.ofConfined()) {
        goneX = Layers.normal(gone, random, 1, 5, DIM);
        goneLengths = Tensor.copyOf(gone, new int[] {3}, 1);
      }
      closed(() -> attention.forward(goneX, out));
      closed(() -> attention.forward(null, x, null, goneX, null, out));
      closed(() -> attention.forward(null, x, null, x, Padded.by(goneLengths), out));
      closed(() -> attention.forward(null, x, Padded.by(goneLengths), x, null, out));
      placed.checkUntouched();
      closed(() -> attention.forward(x, goneX));
      attention.forward(workspace, x, null, out);
    }
  }

  @Test
  @Tag("asan")
  void afterCloseEverythingThrows() {
    Random random = new Random(SEED);
    GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
    Workspace gone = runtime.newWorkspace();
    Workspace workspace = runtime.newWorkspace();
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Layers.weight(arena, random, DIM, DIM);
      Tensor vector = Layers.normal(arena, random, DIM);
      MultiHeadAttention attention = attention(runtime, weight, weight, weight, weight);
      FeedForward network =
          new FeedForward(runtime, weight, vector, Activation.GELU, weight, vector);
      LayerNorm norm = new LayerNorm(runtime, vector, vector, 1e-5f);
      Tensor x = Layers.normal(arena, random, 1, 5, DIM);
      Placement.Placed placed = Placement.BSHD.empty(arena, 1, 5, 1, DIM);
      Tensor out = Layers.sequences(placed);
      attention.forward(gone, x, null, out);
      network.forward(workspace, x, out);
      assertTrue(gone.bytes() > 0 && workspace.bytes() > 0);
      placed.spoil();
      gone.close();
      assertEquals(0, gone.bytes());
      closed(() -> attention.forward(gone, x, null, out));
      closed(() -> network.forward(gone, x, out));
      closed(() -> norm.forward(gone, x, null, null, out));
      runtime.close();
      closed(() -> attention.forward(x, out));
      closed(() -> network.forward(workspace, x, out));
      closed(() -> network.forward(x, out));
      closed(() -> norm.forward(x, out));
      placed.checkUntouched();
    }
  }

  /** A call of about half a second on one thread. */
  private static final class LongCall {
    private static final int SEQ = 4000;
    private static final int HEAD = 64;

    final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    final Workspace workspace = runtime.newWorkspace();
    final Arena arena = Arena.ofShared();
    final Arena weights = Arena.ofShared();
    final Tensor x;
    final Tensor out;
    final MultiHeadAttention layer;
    final AtomicReference<Throwable> failure = new AtomicReference<>();
    private Thread thread;

    LongCall() {
      double flopsOfAHead = 4.0 * SEQ * SEQ * HEAD;
      int heads =
          (int) Math.clamp(runtime.peakFlops(Duration.ofMillis(20)) / 2 / flopsOfAHead, 1, 64);
      Random random = new Random(SEED);
      x = Layers.normal(arena, random, 1, SEQ, DIM);
      out = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, DIM);
      layer =
          MultiHeadAttention.builder(runtime, heads)
              .kvHeads(1)
              .query(Layers.weight(weights, random, DIM, heads * HEAD), null)
              .key(Layers.weight(weights, random, DIM, HEAD), null)
              .value(Layers.weight(weights, random, DIM, HEAD), null)
              .output(Layers.weight(weights, random, heads * HEAD, DIM), null)
              .build();
    }

    /** Returns while the attention within the call runs, which is the fourth of five. */
    void start(boolean withWorkspace) {
      long before = runtime.counters().calls();
      thread =
          new Thread(
              () -> {
                try {
                  layer.forward(withWorkspace ? workspace : null, x, null, out);
                } catch (Throwable e) {
                  failure.set(e);
                }
              });
      thread.start();
      while (runtime.counters().calls() < before + 4) {
        Thread.onSpinWait();
      }
      assertTrue(thread.isAlive());
    }

    Throwable finish() throws InterruptedException {
      assertTrue(thread.isAlive(), "the call was too short for this test");
      thread.join();
      return failure.get();
    }

    void close() {
      runtime.close();
      arena.close();
      if (weights.scope().isAlive()) {
        weights.close();
      }
    }
  }

  @Test
  void aRuntimeCannotBeClosedDuringACall() throws InterruptedException {
    for (boolean withWorkspace : new boolean[] {false, true}) {
      LongCall call = new LongCall();
      call.start(withWorkspace);
      String message = assertThrows(IllegalStateException.class, call.runtime::close).getMessage();
      assertTrue(message.contains("running"), message);
      if (withWorkspace) {
        assertThrows(IllegalStateException.class, call.workspace::close);
        Tensor other = Tensor.allocate(call.arena, DType.FLOAT32, 1, 1, DIM);
        message =
            assertThrows(
                    IllegalStateException.class,
                    () -> call.layer.forward(call.workspace, other, null, other))
                .getMessage();
        assertTrue(message.contains("in use"), message);
      }
      assertNull(call.finish());
      call.close();
    }
  }

  /**
   * Whoever closes the weights in the middle of a call does not crash it: they stay open, or the
   * call says that they are closed and leaves out alone.
   */
  @Test
  void weightsClosedDuringACall() throws InterruptedException {
    LongCall call = new LongCall();
    call.out.fill(7);
    call.start(false);
    boolean wasClosed = true;
    try {
      call.weights.close();
    } catch (IllegalStateException e) {
      wasClosed = false;
    }
    Throwable failure = call.finish();
    if (wasClosed) {
      closed(
          () -> {
            throw failure;
          });
      assertEquals(7, call.out.getFloat(0, 0, 0));
    } else {
      assertNull(failure);
    }
    call.close();
  }

  /** In a JVM where a layer is the first thing that runs. */
  @Test
  void aLayerMayComeFirst() throws IOException, InterruptedException {
    assertEquals("result=6.0", ChildJvm.onModulePath().run("first-layer").expectSuccess());
  }
}
