package dev.gatun.bench.peer;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.WorkerGroup;
import dev.gatun.bench.measure.Workload;
import dev.gatun.internal.Blas;
import dev.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * OpenBLAS: scores of a head by sgemm, vectorized softmax in C, product with the values by sgemm.
 * Threads share the heads, and each has one matrix of scores that it uses again for each head.
 */
final class NaivePeer extends Peer {
  private final Workload workload;
  private final MemorySegment sgemm = Blas.sgemmAddress();
  private final int tier;
  private final MemorySegment sizes;
  private final MemorySegment q;
  private final MemorySegment k;
  private final MemorySegment v;
  private final Tensor out;
  private final MemorySegment outAddress;
  private final WorkerGroup workers;

  NaivePeer(Workload workload) {
    super("openblas");
    this.workload = workload;
    Point point = workload.point;
    Shape shape = point.shape();
    long[] longs = new long[6];
    for (int i = 0; i < longs.length; i++) {
      longs[i] = workload.sizes()[i];
    }
    sizes = shared(workload.arena.allocateFrom(ValueLayout.JAVA_LONG, longs));
    q = shared(workload.q.segment());
    k = shared(workload.k.segment());
    v = shared(workload.v.segment());
    out = workload.newOut();
    outAddress = shared(out.segment());
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
      tier = Native.code(runtime.tier());
    }
    Runnable[] parts = new Runnable[point.threads()];
    for (int i = 0; i < parts.length; i++) {
      long first = workload.firstHead(i);
      long last = workload.firstHead(i + 1);
      Tensor scores = Tensor.allocate(workload.arena, DType.FLOAT32, shape.seqQ(), shape.seqK());
      MemorySegment address = shared(scores.segment());
      parts[i] = () -> heads(first, last, address);
    }
    workers = new WorkerGroup(parts);
  }

  /** The same address without an arena: a confined one would keep other threads out. */
  private static MemorySegment shared(MemorySegment segment) {
    return MemorySegment.ofAddress(segment.address());
  }

  private void heads(long first, long last, MemorySegment scores) {
    Point point = workload.point;
    try {
      expectZero(
          (int)
              BenchLibrary.NAIVE.invokeExact(
                  sgemm,
                  tier,
                  sizes,
                  point.layout() == Point.Layout.BSHD ? 1 : 0,
                  point.causal() ? 1 : 0,
                  first,
                  last,
                  q,
                  k,
                  v,
                  scores,
                  outAddress));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      workers.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    workers.run();
    return workload.answerIn(out);
  }

  @Override
  public void close() {
    workers.close();
  }
}
