package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/** What is closed when, and by whom. */
@Timeout(120)
class LifetimeTest {

  /** A call that takes long enough to do things meanwhile, and its tensors. */
  private static final class LongCall {
    private static final int SEQ = 6000;
    private static final int DIM = 64;

    final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    final Arena arena = Arena.ofShared();
    final int heads = headsForOneSecond(runtime);
    final Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, heads, DIM);
    final Tensor k = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, 1, DIM);
    final Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, SEQ, heads, DIM);
    final Workspace workspace = runtime.newWorkspace();
    final AtomicReference<Throwable> failure = new AtomicReference<>();
    private Thread thread;

    LongCall() {
      q.fill(0.01f);
      k.fill(1);
    }

    private static int headsForOneSecond(GatunRuntime runtime) {
      double flopsOfAHead = 4.0 * SEQ * SEQ * DIM;
      return (int) Math.clamp(runtime.peakFlops(Duration.ofMillis(20)) / flopsOfAHead, 1, 64);
    }

    /** Returns while native code runs. */
    void start(boolean withWorkspace) {
      long before = runtime.counters().calls();
      thread =
          new Thread(
              () -> {
                try {
                  runtime
                      .attention(AttentionSpec.standard())
                      .forward(withWorkspace ? workspace : null, q, k, k, out);
                } catch (Throwable e) {
                  failure.set(e);
                }
              });
      thread.start();
      while (runtime.counters().calls() == before) {
        Thread.onSpinWait();
      }
      assertTrue(thread.isAlive());
    }

    /** Waits for the call, which must have gone on undisturbed. */
    void finish() throws InterruptedException {
      assertTrue(thread.isAlive(), "the call was too short for this test");
      thread.join();
      assertSame(null, failure.get());
      assertEquals(1, out.getFloat(0, 0, 0, 0), 1e-5);
      assertEquals(1, out.getFloat(0, SEQ - 1, heads - 1, DIM - 1), 1e-5);
    }
  }

  @Test
  void anArenaCannotBeClosedDuringACall() throws InterruptedException {
    LongCall call = new LongCall();
    call.start(false);
    assertThrows(IllegalStateException.class, call.arena::close);
    call.finish();
    call.arena.close();
    assertFalse(call.out.segment().scope().isAlive());
    call.runtime.close();
  }

  @Test
  void aRuntimeCannotBeClosedDuringACall() throws InterruptedException {
    for (boolean withWorkspace : new boolean[] {false, true}) {
      LongCall call = new LongCall();
      call.start(withWorkspace);
      String message = assertThrows(IllegalStateException.class, call.runtime::close).getMessage();
      assertTrue(message.contains("running"), message);
      // It stays usable, for other calls too.
      assertEquals(1, call.runtime.info().threads());
      call.finish();
      call.runtime.attention(AttentionSpec.standard()).forward(call.q, call.k, call.k, call.out);
      call.runtime.close();
      call.runtime.close();
      call.arena.close();
    }
  }

  @Test
  void aWorkspaceServesOneCallAtATime() throws InterruptedException {
    LongCall call = new LongCall();
    call.start(true);
    Attention attention = call.runtime.attention(AttentionSpec.standard());
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 2, 4, 64);
      Placement.Placed out = Placement.BSHD.empty(arena, 1, 2, 4, 64);
      String message =
          assertThrows(
                  IllegalStateException.class,
                  () -> attention.forward(call.workspace, q, q, q, out.tensor()))
              .getMessage();
      assertTrue(message.contains("in use"), message);
      out.checkUntouched();
      assertThrows(IllegalStateException.class, call.workspace::close);
      // Without it: the runtime lends another one.
      attention.forward(q, q, q, out.tensor());
    }
    call.finish();
    assertTrue(call.workspace.bytes() > 0);
    call.workspace.close();
    call.workspace.close();
    assertEquals(0, call.workspace.bytes());
    call.runtime.close();
    call.arena.close();
  }

  @Test
  @Tag("asan")
  void afterCloseEverythingThrows() {
    GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
    Attention attention = runtime.attention(AttentionSpec.standard());
    Workspace closed = runtime.newWorkspace();
    Workspace open = runtime.newWorkspace();
    MatMul product = runtime.matMul();
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 1, 4);
      Placement.Placed out = Placement.BSHD.empty(arena, 1, 3, 1, 4);
      attention.forward(closed, q, q, q, out.tensor());
      attention.forward(q, q, q, out.tensor());
      closed.close();
      out.spoil();
      closedMessage("workspace is closed", () -> attention.forward(closed, q, q, q, out.tensor()));
      runtime.close();
      runtime.close();
      closedMessage("closed", () -> attention.forward(q, q, q, out.tensor()));
      closedMessage("closed", () -> attention.forward(open, q, q, q, out.tensor()));
      out.checkUntouched();
      Tensor matrix = q.reshape(3, 4);
      closedMessage(
          "closed", () -> product.multiply(matrix, matrix.transpose(0, 1), matrix.slice(1, 0, 3)));
      closedMessage("closed", runtime::newWorkspace);
      closedMessage("closed", runtime::info);
      closedMessage("closed", runtime::counters);
      closedMessage("closed", () -> runtime.peakFlops(Duration.ofMillis(1)));
      assertTrue(runtime.toString().contains("closed"), runtime.toString());
      assertTrue(open.toString().contains("closed"), open.toString());
      open.close();
    }
  }

  @Test
  @Tag("asan")
  void aClosedArenaIsRefused() {
    Attention attention = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
    try (Arena arena = Arena.ofConfined()) {
      for (int n = 0; n < 4; n++) {
        Arena gone = Arena.ofConfined();
        Tensor[] tensors = new Tensor[4];
        for (int i = 0; i < 3; i++) {
          tensors[i] = Tensor.allocate(i == n ? gone : arena, DType.FLOAT32, 1, 3, 1, 4);
        }
        Placement.Placed out = Placement.BSHD.empty(n == 3 ? gone : arena, 1, 3, 1, 4);
        attention.forward(tensors[0], tensors[1], tensors[2], out.tensor());
        if (n < 3) {
          out.spoil();
        }
        gone.close();
        assertThrows(
            IllegalStateException.class,
            () -> attention.forward(tensors[0], tensors[1], tensors[2], out.tensor()));
        if (n < 3) {
          out.checkUntouched();
        }
      }
    }
  }

  @Test
  void aConfinedArenaOfAnotherThreadIsRefused() throws InterruptedException {
    Attention attention = Run.runtime(Run.bestTier(), 2).attention(AttentionSpec.standard());
    try (Arena confined = Arena.ofConfined();
        Arena shared = Arena.ofShared()) {
      Tensor q = Tensor.allocate(confined, DType.FLOAT32, 1, 3, 1, 4);
      Placement.Placed out = Placement.BSHD.empty(shared, 1, 3, 1, 4);
      AtomicReference<Throwable> thrown = new AtomicReference<>();
      Thread thread =
          new Thread(
              () -> {
                try {
                  attention.forward(q, q, q, out.tensor());
                } catch (Throwable e) {
                  thrown.set(e);
                }
              });
      thread.start();
      thread.join();
      assertSame(WrongThreadException.class, thrown.get().getClass());
      out.checkUntouched();
      attention.forward(q, q, q, out.tensor());
    }
  }

  @Test
  void theSharedRuntimeIsNotClosed() {
    GatunRuntime shared = GatunRuntime.shared();
    assertSame(shared, GatunRuntime.shared());
    String message = assertThrows(IllegalStateException.class, shared::close).getMessage();
    assertTrue(message.contains("as long as the process"), message);
    assertTrue(shared.threads() >= 1);
    try (GatunRuntime own = GatunRuntime.create()) {
      assertNotSame(shared, own);
      assertEquals(shared.tier(), own.tier());
    }
  }

  @Test
  void runtimesComeAndGo() {
    for (int n = 0; n < 50; n++) {
      try (GatunRuntime runtime = GatunRuntime.builder().threads(1 + n % 5).build();
          Arena arena = Arena.ofConfined()) {
        Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 20, 4, 16);
        runtime.newWorkspace(); // closed by the runtime
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 20, 4, 16);
        runtime.attention(AttentionSpec.standard()).forward(q, q, q, out);
      }
    }
  }

  @Test
  void infoAndCounters() {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(3).tier(Tier.PORTABLE).build();
        Arena arena = Arena.ofConfined()) {
      RuntimeInfo info = runtime.info();
      assertEquals(Tier.PORTABLE, info.tier());
      assertEquals(RuntimeInfo.TierSource.CONFIG, info.tierSource());
      assertTrue(info.tiers().contains(Tier.PORTABLE));
      assertEquals(3, info.threads());
      assertEquals(3, runtime.threads());
      assertTrue(info.cpus() >= 1 && info.l1dBytes() > 0 && info.l2Bytes() > 0);
      assertTrue(info.version().matches("\\d+\\.\\d+\\.\\d+"), info.version());
      assertTrue(info.library().endsWith(".so"), info.library());
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 200, 8, 16);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 200, 8, 16);
      runtime.attention(AttentionSpec.standard()).forward(q, q, q, out);
      Counters counters = runtime.counters();
      assertEquals(1, counters.calls());
      assertTrue(counters.tasks() >= 8, counters.toString());
      assertEquals(0, counters.blocksRedone());
      assertTrue(runtime.peakFlops(Duration.ofMillis(5)) > 1e8);
    }
  }

  private static void closedMessage(String part, Executable executable) {
    String message = assertThrows(IllegalStateException.class, executable).getMessage();
    assertTrue(message.contains(part), message);
  }
}
