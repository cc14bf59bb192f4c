package dev.gatun.bench.measure;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;

/**
 * What the machine can do at the moment: multiply-adds a second, and bytes read a second from
 * memory that no cache holds. On several threads it is the sum of what each reaches while all run.
 */
public final class Roofs implements AutoCloseable {
  private static final long READ_BYTES = 256L << 20;
  private static final double SHORTEST_SECONDS = 0.001;
  private static final double LONGEST_SECONDS = 0.1;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
  private final int tier = Native.code(runtime.tier());
  private final Arena arena = Arena.ofShared();
  private final MemorySegment memory;

  public Roofs() {
    Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, READ_BYTES / Float.BYTES);
    memory =
        tensor.segment().fill((byte) 0); // a page that nobody wrote may be the shared zero page
  }

  /** One measurement of both, each about as long as asked for. */
  public record Height(double flopsPerSecond, double bytesPerSecond) {}

  /** Something that one of several threads measures. */
  private interface Rate {
    double of(int thread);
  }

  public Height measure(int threads, double seconds) {
    double length = Math.clamp(seconds, SHORTEST_SECONDS, LONGEST_SECONDS);
    long nanos = (long) (length * 1e9);
    double flops = sum(threads, thread -> runtime.peakFlops(Duration.ofNanos(nanos)));
    long share = READ_BYTES / threads / 64 * 64;
    double bytes =
        sum(
            threads,
            thread -> BenchLibrary.read(tier, memory.asSlice(thread * share, share), nanos));
    return new Height(flops, bytes);
  }

  private static double sum(int threads, Rate rate) {
    double[] rates = new double[threads];
    Runnable[] parts = new Runnable[threads];
    for (int i = 0; i < threads; i++) {
      int thread = i;
      parts[i] = () -> rates[thread] = rate.of(thread);
    }
    try (WorkerGroup workers = new WorkerGroup(parts)) {
      workers.run();
    }
    double sum = 0;
    for (double each : rates) {
      sum += each;
    }
    return sum;
  }

  @Override
  public void close() {
    runtime.close();
    arena.close();
  }
}
