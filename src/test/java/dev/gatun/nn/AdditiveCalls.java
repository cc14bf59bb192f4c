package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;

/** Additive attention for the programs of {@link dev.gatun.support.ChildMain}. */
public final class AdditiveCalls implements Runnable {

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Workspace workspace = runtime.newWorkspace();
  private final AdditiveAttention mechanism;
  private final Tensor q;
  private final Tensor k;
  private final Tensor out;
  private final Tensor lengths;
  private final Matrix rows;
  private final Matrix context;

  /** Makes a mechanism of two heads, and two sequences. */
  public AdditiveCalls(Arena arena) {
    Random random = new Random(1);
    mechanism =
        new AdditiveAttention(runtime, Layers.normal(arena, random, 2, 8), Causal.BOTTOM_RIGHT);
    q = Layers.normal(arena, random, 2, 3, 2, 8);
    k = Layers.normal(arena, random, 2, 9, 2, 8);
    out = Tensor.allocate(arena, DType.FLOAT32, 2, 3, 2, 8);
    lengths = Tensor.copyOf(arena, new int[] {9, 4}, 2);
    rows = Matrix.of(q.segment(), 6, 16, 16);
    context = Matrix.of(out.segment(), 6, 16, 16);
  }

  /** A call in a borrowed workspace, one in a workspace of its own, and one over cached keys. */
  @Override
  public void run() {
    mechanism.forward(null, q, k, k, out);
    mechanism.forward(workspace, q, k, k, out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows even = SequenceRows.even(call.scratch(), 2, 3, MemorySegment.NULL);
      mechanism.attendCached(call, 2, 2, even, rows, k, k, lengths.segment(), context);
    }
  }
}
