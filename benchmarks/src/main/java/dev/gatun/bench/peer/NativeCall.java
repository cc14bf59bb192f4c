package dev.gatun.bench.peer;

import dev.gatun.GatunRuntime;
import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_config;
import dev.gatun.internal.gatun.gatun_h;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The function {@code gatun_attention_forward} itself, without the library's Java around it: from a
 * loop in C, by a critical downcall from arrays on the heap, and by JNI.
 */
final class NativeCall implements AutoCloseable {

  private static final class Handles {
    static final MemorySegment FORWARD = gatun_h.gatun_attention_forward$address();

    /** As gatun_attention_forward; everything but the tensors is a plain address. */
    static final MethodHandle CRITICAL =
        Linker.nativeLinker()
            .downcallHandle(
                FORWARD,
                FunctionDescriptor.of(
                    ValueLayout.JAVA_INT,
                    ValueLayout.JAVA_LONG,
                    ValueLayout.JAVA_LONG,
                    ValueLayout.JAVA_LONG,
                    ValueLayout.JAVA_LONG,
                    ValueLayout.ADDRESS,
                    ValueLayout.ADDRESS,
                    ValueLayout.ADDRESS,
                    ValueLayout.JAVA_LONG,
                    ValueLayout.JAVA_LONG,
                    ValueLayout.ADDRESS,
                    ValueLayout.JAVA_LONG),
                Linker.Option.critical(true));

    static {
      JniTwin.bind(FORWARD.address());
    }
  }

  private final MemorySegment context;
  private final MemorySegment desc;
  private final MemorySegment workspace;
  private final Arena arena = Arena.ofShared();

  NativeCall(Point point) {
    Shape shape = point.shape();
    try (GatunRuntime runtime = GatunRuntime.create()) {
      runtime.threads(); // the library is loaded
    }
    desc = gatun_attention_desc.allocate(arena);
    gatun_attention_desc.struct_size(desc, (int) gatun_attention_desc.sizeof());
    gatun_attention_desc.dtype(desc, gatun_h.GATUN_DTYPE_F32());
    gatun_attention_desc.kv_dtype(desc, gatun_h.GATUN_DTYPE_F32());
    gatun_attention_desc.causal(
        desc, point.causal() ? gatun_h.GATUN_CAUSAL_BOTTOM_RIGHT() : gatun_h.GATUN_CAUSAL_NONE());
    gatun_attention_desc.batch(desc, shape.batch());
    gatun_attention_desc.heads(desc, shape.heads());
    gatun_attention_desc.kv_heads(desc, shape.kvHeads());
    gatun_attention_desc.seq_q(desc, shape.seqQ());
    gatun_attention_desc.seq_k(desc, shape.seqK());
    gatun_attention_desc.head_dim(desc, shape.dim());
    gatun_attention_desc.head_dim_v(desc, shape.dim());
    strides(gatun_attention_desc.q_stride(desc), point, shape.heads(), shape.seqQ());
    strides(gatun_attention_desc.k_stride(desc), point, shape.kvHeads(), shape.seqK());
    strides(gatun_attention_desc.v_stride(desc), point, shape.kvHeads(), shape.seqK());
    strides(gatun_attention_desc.out_stride(desc), point, shape.heads(), shape.seqQ());
    MemorySegment config = gatun_config.allocate(arena);
    gatun_config.struct_size(config, (int) gatun_config.sizeof());
    gatun_config.threads(config, point.threads());
    MemorySegment result = arena.allocate(16, 8);
    Peer.expectZero(gatun_h.gatun_context_create(config, result, MemorySegment.NULL, 0));
    context = result.get(ValueLayout.ADDRESS, 0);
    Peer.expectZero(gatun_h.gatun_attention_workspace_size(context, desc, result));
    workspace = arena.allocate(result.get(ValueLayout.JAVA_LONG, 0), 64);
  }

  /** Strides in the order batch, seq, head. */
  private static void strides(MemorySegment to, Point point, long heads, long seq) {
    long dim = point.shape().dim();
    boolean headsFirst = point.layout() == Point.Layout.BHSD;
    to.setAtIndex(ValueLayout.JAVA_LONG, 0, heads * seq * dim);
    to.setAtIndex(ValueLayout.JAVA_LONG, 1, headsFirst ? dim : heads * dim);
    to.setAtIndex(ValueLayout.JAVA_LONG, 2, headsFirst ? seq * dim : dim);
  }

  /** Calls it n times from C. */
  void repeat(MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out, long n) {
    try {
      Peer.expectZero(
          (int)
              BenchLibrary.REPEAT.invokeExact(
                  Handles.FORWARD,
                  context,
                  desc,
                  workspace,
                  workspace.byteSize(),
                  q,
                  k,
                  v,
                  out,
                  n));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
  }

  /** A critical downcall: the arrays are not copied, and the garbage collector waits. */
  void critical(MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out) {
    try {
      Peer.expectZero(
          (int)
              Handles.CRITICAL.invokeExact(
                  context.address(),
                  desc.address(),
                  workspace.address(),
                  workspace.byteSize(),
                  q,
                  k,
                  v,
                  0L,
                  0L,
                  out,
                  0L));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
  }

  /** JNI with addresses. */
  void jni(MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out) {
    Peer.expectZero(
        JniTwin.forward(
            context.address(),
            desc.address(),
            workspace.address(),
            workspace.byteSize(),
            q.address(),
            k.address(),
            v.address(),
            out.address()));
  }

  /** JNI with arrays, by GetPrimitiveArrayCritical. */
  void jniArrays(float[] q, float[] k, float[] v, float[] out) {
    Peer.expectZero(
        JniTwin.forwardArrays(
            context.address(),
            desc.address(),
            workspace.address(),
            workspace.byteSize(),
            q,
            k,
            v,
            out));
  }

  @Override
  public void close() {
    Peer.expectZero(gatun_h.gatun_context_destroy(context));
    arena.close();
  }
}
