package dev.gatun.nn;

import dev.gatun.BlockMasks;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.util.Random;

/** Linformer and BigBird for the programs of {@link dev.gatun.support.ChildMain}. */
public final class SparseCalls implements Runnable {

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Workspace workspace = runtime.newWorkspace();
  private final AttentionMechanism shared;
  private final AttentionMechanism each;
  private final AttentionMechanism blocks;
  private final Tensor q;
  private final Tensor out;
  private final Tensor single;
  private final Tensor singleOut;

  /** Makes projections for all heads and for each, and a mask. */
  public SparseCalls(Arena arena) {
    Random random = new Random(1);
    Tensor e = Layers.normal(arena, random, 4, 20);
    shared = new LinformerAttention(runtime, e, e);
    Tensor ofKeys = Layers.normal(arena, random, 2, 4, 20);
    each = new LinformerAttention(runtime, ofKeys, Layers.normal(arena, random, 2, 4, 20));
    blocks = new BlockSparseAttention(runtime, BlockMasks.bigBird(5, 1).build(arena), 4);
    q = Layers.normal(arena, random, 3, 17, 2, 8);
    out = Tensor.allocate(arena, DType.FLOAT32, 3, 17, 2, 8);
    single = Layers.normal(arena, random, 1, 20, 2, 8);
    singleOut = Tensor.allocate(arena, DType.FLOAT32, 1, 20, 2, 8);
  }

  /** Three sequences and one, a workspace lent and one of its own. */
  @Override
  public void run() {
    shared.forward(null, q, q, q, out);
    each.forward(workspace, q, q, q, out);
    blocks.forward(workspace, q, q, q, out);
    shared.forward(workspace, single, single, single, singleOut);
    each.forward(null, single, single, single, singleOut);
    blocks.forward(null, single, single, single, singleOut);
  }
}
