package dev.gatun.bench.peer;

import dev.gatun.Attention;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Workload;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Gatun, called in the way that each subclass says. */
public abstract class GatunPeer extends Peer {
  public final Workload workload;

  GatunPeer(String name, Workload workload) {
    super(name);
    this.workload = workload;
  }

  /** Reads the first number of the output, 0 if it has none. */
  public abstract float first();

  static float first(Tensor out) {
    return out.elements() == 0 ? 0 : out.segment().get(ValueLayout.JAVA_FLOAT, 0);
  }

  static float first(float[] out) {
    return out.length == 0 ? 0 : out[0];
  }

  /** From Java, off-heap tensors: what an application does. */
  public static final class FromJava extends GatunPeer {
    private final GatunRuntime runtime;
    private final Attention attention;
    private final Workspace workspace;
    private final Tensor q;
    private final Tensor k;
    private final Tensor v;
    private final Tensor result;
    private final Tensor out;

    public FromJava(Workload workload) {
      super("gatun", workload);
      Point point = workload.point;
      Causal causal = point.causal() ? Causal.BOTTOM_RIGHT : Causal.NONE;
      runtime = GatunRuntime.builder().threads(point.threads()).build();
      attention = runtime.attention(AttentionSpec.builder().causal(causal).build());
      workspace = runtime.newWorkspace();
      q = workload.q.transpose(1, 2);
      k = workload.k.transpose(1, 2);
      v = workload.v.transpose(1, 2);
      result = workload.newOut();
      out = result.transpose(1, 2);
    }

    void call() {
      attention.forward(workspace, q, k, v, out);
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        call();
      }
    }

    @Override
    public float first() {
      return first(result);
    }

    @Override
    public Workload.Answer answer() {
      call();
      return workload.answerIn(result);
    }

    @Override
    public void close() {
      runtime.close();
    }
  }

  /** From a loop in C: the same function without a Java frame. */
  public static final class FromC extends GatunPeer {
    private final NativeCall call;
    private final Tensor out;

    public FromC(Workload workload) {
      super("gatun-c", workload);
      call = new NativeCall(workload.point);
      out = workload.newOut();
    }

    @Override
    public void calls(long n) {
      call.repeat(
          workload.q.segment(), workload.k.segment(), workload.v.segment(), out.segment(), n);
    }

    @Override
    public float first() {
      return first(out);
    }

    @Override
    public Workload.Answer answer() {
      calls(1);
      return workload.answerIn(out);
    }

    @Override
    public void close() {
      call.close();
    }
  }

  /** From arrays on the heap: copied off-heap, computed, copied back. */
  public static final class Copying extends GatunPeer {
    private final FromJava inner;
    private final float[] q;
    private final float[] k;
    private final float[] v;
    private final float[] out;
    private final Workload copies;

    public Copying(Workload workload) {
      super("gatun-copying", workload);
      q = workload.q.toFloatArray();
      k = workload.k.toFloatArray();
      v = workload.v.toFloatArray();
      out = new float[Math.toIntExact(workload.shape.queryElements())];
      copies = workload;
      inner = new FromJava(workload);
    }

    void call() {
      copy(q, copies.q);
      copy(k, copies.k);
      copy(v, copies.v);
      inner.call();
      MemorySegment.copy(inner.result.segment(), ValueLayout.JAVA_FLOAT, 0, out, 0, out.length);
    }

    private static void copy(float[] from, Tensor to) {
      MemorySegment.copy(from, 0, to.segment(), ValueLayout.JAVA_FLOAT, 0, from.length);
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        call();
      }
    }

    @Override
    public float first() {
      return first(out);
    }

    @Override
    public Workload.Answer answer() {
      call();
      return workload.answerIn(out);
    }

    @Override
    public void close() {
      inner.close();
    }
  }

  /** From arrays on the heap by a critical downcall. */
  public static final class Critical extends GatunPeer {
    private final NativeCall call;
    private final MemorySegment q;
    private final MemorySegment k;
    private final MemorySegment v;
    private final float[] result;
    private final MemorySegment out;

    public Critical(Workload workload) {
      super("gatun-critical", workload);
      call = new NativeCall(workload.point);
      q = MemorySegment.ofArray(workload.q.toFloatArray());
      k = MemorySegment.ofArray(workload.k.toFloatArray());
      v = MemorySegment.ofArray(workload.v.toFloatArray());
      result = new float[Math.toIntExact(workload.shape.queryElements())];
      out = MemorySegment.ofArray(result);
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        call.critical(q, k, v, out);
      }
    }

    @Override
    public float first() {
      return first(result);
    }

    @Override
    public Workload.Answer answer() {
      calls(1);
      return workload.answerIn(result);
    }

    @Override
    public void close() {
      call.close();
    }
  }

  /** By JNI, off-heap tensors. */
  public static final class Jni extends GatunPeer {
    private final NativeCall call;
    private final Tensor out;

    public Jni(Workload workload) {
      super("gatun-jni", workload);
      call = new NativeCall(workload.point);
      out = workload.newOut();
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        call.jni(workload.q.segment(), workload.k.segment(), workload.v.segment(), out.segment());
      }
    }

    @Override
    public float first() {
      return first(out);
    }

    @Override
    public Workload.Answer answer() {
      calls(1);
      return workload.answerIn(out);
    }

    @Override
    public void close() {
      call.close();
    }
  }

  /** By JNI, arrays on the heap. */
  public static final class JniArrays extends GatunPeer {
    private final NativeCall call;
    private final float[] q;
    private final float[] k;
    private final float[] v;
    private final float[] out;

    public JniArrays(Workload workload) {
      super("gatun-jni-arrays", workload);
      call = new NativeCall(workload.point);
      q = workload.q.toFloatArray();
      k = workload.k.toFloatArray();
      v = workload.v.toFloatArray();
      out = new float[Math.toIntExact(workload.shape.queryElements())];
    }

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        call.jniArrays(q, k, v, out);
      }
    }

    @Override
    public float first() {
      return first(out);
    }

    @Override
    public Workload.Answer answer() {
      calls(1);
      return workload.answerIn(out);
    }

    @Override
    public void close() {
      call.close();
    }
  }
}
