package dev.gatun.bench.run;

import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.Workload;
import dev.gatun.bench.peer.GatunPeer;
import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** Attention from Java and from C, where a call is long against what it costs to make. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(value = 3, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
public class AttentionBenchmark {

  /** Name of a shape. */
  @Param({
    "pre128",
    "pre512",
    "minilm",
    "pre2048",
    "pre4096",
    "gqa1024",
    "dec4096",
    "dec2048x16",
    "s128d64",
    "s512d32",
    "s512d64",
    "s512d128",
    "s2048d64",
    "s2048d128"
  })
  public String shape;

  private Workload workload;
  private GatunPeer.FromJava java;
  private GatunPeer.FromC c;

  /** Makes both and checks their answers. */
  @Setup
  public void open() {
    workload = new Workload(Shape.of(shape), Arena.ofConfined());
    java = new GatunPeer.FromJava(workload);
    workload.check(java.name, java.answer());
    c = new GatunPeer.FromC(workload);
    workload.check(c.name, c.answer());
  }

  /** Gives the memory back. */
  @TearDown
  public void close() {
    java.close();
    c.close();
    workload.close();
  }

  /** From Java. */
  @Benchmark
  public float javaCall() {
    java.calls(1);
    return java.first();
  }

  /** From C; one downcall without a Gatun object around it. */
  @Benchmark
  public float cCall() {
    c.calls(1);
    return c.first();
  }
}
