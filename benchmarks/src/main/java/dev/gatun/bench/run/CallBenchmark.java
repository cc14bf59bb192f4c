package dev.gatun.bench.run;

import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Peer;
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
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What a call costs, by the ways there are to make it: a tiny attention, and one without query rows
 * that computes nothing. The difference between {@code javaCall} and {@code cCall} is what Java
 * adds.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(value = 3, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
public class CallBenchmark {

  private static final int IN_C = 1000;

  /** Name of a shape. */
  @Param({"tiny16", "tiny16q0"})
  public String shape;

  private Workload confined;
  private Workload shared;
  private GatunPeer.FromJava java;
  private GatunPeer.FromJava javaShared;
  private GatunPeer.FromC c;
  private GatunPeer.Copying copying;
  private GatunPeer.Critical critical;
  private GatunPeer.Jni jni;
  private GatunPeer.JniArrays jniArrays;

  /** Makes all peers and checks their answers. */
  @Setup
  public void open() {
    confined = new Workload(Shape.of(shape), Arena.ofConfined());
    shared = new Workload(Shape.of(shape), Arena.ofShared());
    java = checked(new GatunPeer.FromJava(confined));
    javaShared = checked(new GatunPeer.FromJava(shared));
    c = checked(new GatunPeer.FromC(confined));
    copying = checked(new GatunPeer.Copying(shared));
    critical = checked(new GatunPeer.Critical(confined));
    jni = checked(new GatunPeer.Jni(confined));
    jniArrays = checked(new GatunPeer.JniArrays(confined));
  }

  private static <P extends GatunPeer> P checked(P peer) {
    peer.workload.check(peer.name, peer.answer());
    return peer;
  }

  /** Gives the memory back. */
  @TearDown
  public void close() {
    for (Peer peer : new Peer[] {java, javaShared, c, copying, critical, jni, jniArrays}) {
      peer.close();
    }
    confined.close();
    shared.close();
  }

  /** From a loop in C. */
  @Benchmark
  @OperationsPerInvocation(IN_C)
  public int cCall() {
    c.calls(IN_C);
    return IN_C;
  }

  /** From Java, tensors in a confined arena. */
  @Benchmark
  public float javaCall() {
    java.calls(1);
    return java.first();
  }

  /** From Java, tensors in one shared arena. */
  @Benchmark
  public float javaCallSharedArena() {
    javaShared.calls(1);
    return javaShared.first();
  }

  /** From arrays: copy in, call, copy out. */
  @Benchmark
  public float copyingCall() {
    copying.calls(1);
    return copying.first();
  }

  /** From arrays by a critical downcall. */
  @Benchmark
  public float criticalCall() {
    critical.calls(1);
    return critical.first();
  }

  /** By JNI with addresses. */
  @Benchmark
  public float jniCall() {
    jni.calls(1);
    return jni.first();
  }

  /** By JNI from arrays. */
  @Benchmark
  public float jniArraysCall() {
    jniArrays.calls(1);
    return jniArrays.first();
  }

  /** A downcall to a function that does nothing. */
  @Benchmark
  public void emptyDowncall() {
    try {
      BenchLibrary.EMPTY.invokeExact();
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
  }
}
