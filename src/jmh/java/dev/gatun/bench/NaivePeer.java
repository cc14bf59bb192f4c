package dev.gatun.bench;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.Blas;
import dev.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * OpenBLAS, one thread: scores of a head by sgemm, vectorised softmax in C, product with the values
 * by sgemm. One matrix of scores, used again for each head.
 */
final class NaivePeer extends Peer {
  private final Workload workload;
  private final MemorySegment sgemm = Blas.sgemmAddress();
  private final int tier;
  private final MemorySegment sizes;
  private final Tensor scores;
  private final Tensor out;

  NaivePeer(Workload workload) {
    super("openblas");
    this.workload = workload;
    Shape shape = workload.shape;
    sizes =
        workload.arena.allocateFrom(
            ValueLayout.JAVA_LONG,
            shape.batch(),
            shape.heads(),
            shape.kvHeads(),
            shape.seqQ(),
            shape.seqK(),
            shape.dim());
    scores = Tensor.allocate(workload.arena, DType.FLOAT32, shape.seqQ(), shape.seqK());
    out = workload.newOut();
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
      tier = Native.code(runtime.tier());
    }
  }

  private void call() {
    try {
      expectZero(
          (int)
              BenchLibrary.NAIVE.invokeExact(
                  sgemm,
                  tier,
                  sizes,
                  workload.q.segment(),
                  workload.k.segment(),
                  workload.v.segment(),
                  scores.segment(),
                  out.segment()));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      call();
    }
  }

  @Override
  public Workload.Answer answer() {
    call();
    return workload.answerIn(out);
  }
}
