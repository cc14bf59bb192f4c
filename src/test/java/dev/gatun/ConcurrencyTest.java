package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.Placement;
import dev.gatun.support.Problem;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Many callers of one operation at the same time; every result is bit-equal to that of one. */
@Timeout(120)
class ConcurrencyTest {

  private static final int ROUNDS = 8;

  private final Arena arena = Arena.ofShared();
  private final List<Problem> problems =
      List.of(
          new Problem(1, 2, 1, 9, 40, 16, 16).draw(1),
          new Problem(2, 4, 4, 33, 70, 32, 8).draw(2),
          new Problem(1, 3, 3, 1, 300, 20, 64).draw(3),
          new Problem(1, 1, 1, 90, 130, 64, 32).draw(4));
  private final List<Run> expected = new ArrayList<>();
  private final List<Tensor[]> inputs = new ArrayList<>();

  ConcurrencyTest() {
    for (Problem p : problems) {
      expected.add(Run.of(p));
      inputs.add(
          new Tensor[] {
            Placement.BSHD.of(arena, p.q, p.batch, p.seqQ, p.heads, p.headDim),
            Placement.BSHD.of(arena, p.k, p.batch, p.seqK, p.kvHeads, p.headDim),
            Placement.BSHD.of(arena, p.v, p.batch, p.seqK, p.kvHeads, p.headDimV)
          });
    }
  }

  @AfterEach
  void close() {
    arena.close();
  }

  private void callInTurn(Attention attention, int caller) {
    for (int round = 0; round < ROUNDS; round++) {
      int n = (caller + round) % problems.size();
      Problem p = problems.get(n);
      Tensor[] in = inputs.get(n);
      try (Arena own = Arena.ofConfined()) {
        Tensor out = Tensor.allocate(own, DType.FLOAT32, p.batch, p.seqQ, p.heads, p.headDimV);
        Tensor lse = Tensor.allocate(own, DType.FLOAT32, p.batch, p.heads, p.seqQ);
        attention.forward(in[0], in[1], in[2], out, new AttentionOptions().lse(lse));
        expected
            .get(n)
            .checkSameBits(new Run(out.toFloatArray(), lse.toFloatArray()), "caller " + caller);
      }
    }
  }

  private void callFrom(ExecutorService executor, int callers, GatunRuntime runtime)
      throws Exception {
    try (runtime;
        executor) {
      Attention attention = runtime.attention(AttentionSpec.standard());
      CountDownLatch start = new CountDownLatch(1);
      List<Future<?>> futures = new ArrayList<>();
      for (int n = 0; n < callers; n++) {
        int caller = n;
        futures.add(
            executor.submit(
                () -> {
                  start.await();
                  callInTurn(attention, caller);
                  return null;
                }));
      }
      start.countDown();
      for (Future<?> future : futures) {
        future.get();
      }
      assertEquals((long) callers * ROUNDS, runtime.counters().calls());
    }
  }

  @Test
  void platformThreads() throws Exception {
    callFrom(Executors.newFixedThreadPool(64), 64, GatunRuntime.builder().threads(3).build());
  }

  @Test
  void virtualThreads() throws Exception {
    callFrom(
        Executors.newVirtualThreadPerTaskExecutor(),
        1_000,
        GatunRuntime.builder().threads(3).build());
  }

  @Test
  void bothWaitForTheOnlyWorkspace() throws Exception {
    callFrom(
        Executors.newFixedThreadPool(16),
        64,
        GatunRuntime.builder().threads(2).workspaces(1).build());
    callFrom(
        Executors.newVirtualThreadPerTaskExecutor(),
        300,
        GatunRuntime.builder().threads(2).workspaces(1).build());
  }

  /** Closing races with calls: each call is done right or is refused, and close wins in the end. */
  @Test
  void closingRaces() throws Exception {
    for (int round = 0; round < 10; round++) {
      GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
      Attention attention = runtime.attention(AttentionSpec.standard());
      AtomicInteger done = new AtomicInteger();
      AtomicBoolean tired = new AtomicBoolean();
      try (ExecutorService executor = Executors.newFixedThreadPool(4)) {
        List<Future<?>> futures = new ArrayList<>();
        for (int n = 0; n < 4; n++) {
          int caller = n;
          futures.add(
              executor.submit(
                  () -> {
                    try {
                      while (!tired.get()) {
                        callInTurn(attention, caller);
                        done.incrementAndGet();
                      }
                    } catch (IllegalStateException e) {
                      assertTrue(e.getMessage().contains("closed"), e.getMessage());
                    }
                    return null;
                  }));
        }
        while (done.get() < 4) {
          Thread.onSpinWait();
        }
        for (int refused = 0; !closes(runtime); refused++) {
          tired.set(refused > 1_000);
        }
        for (Future<?> future : futures) {
          future.get();
        }
        assertThrows(IllegalStateException.class, () -> callInTurn(attention, 0));
      }
    }
  }

  private static boolean closes(GatunRuntime runtime) {
    try {
      runtime.close();
      return true;
    } catch (IllegalStateException e) {
      assertTrue(e.getMessage().contains("running"), e.getMessage());
      return false;
    }
  }
}
