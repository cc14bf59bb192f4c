package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Weights of a map as they are stored; those in half precision are converted once, when found. */
final class StoredWeights implements Weights {
  private final Map<String, Tensor> tensors;
  private final Arena arena;
  private final Map<String, Tensor> converted = new ConcurrentHashMap<>();

  /**
   * Weights that nothing adds to.
   *
   * @param tensors FLOAT32 or FLOAT16, matrices of rows or of columns that lie together
   * @param arena gets what is converted
   */
  StoredWeights(Map<String, Tensor> tensors, Arena arena) {
    this.tensors = Map.copyOf(tensors);
    this.arena = arena;
  }

  @Override
  public Tensor find(String name) {
    Tensor stored = tensors.get(name);
    return stored == null || stored.dtype() != DType.FLOAT16
        ? stored
        : converted.computeIfAbsent(name, key -> convert(stored));
  }

  private Tensor convert(Tensor stored) {
    boolean turned = stored.rank() == 2 && stored.stride(1) != 1;
    Tensor rows = turned ? stored.transpose(0, 1) : stored;
    Tensor half = Tensor.allocate(arena, DType.FLOAT16, rows.shape());
    half.copyFrom(rows);
    Tensor floats = Tensor.allocate(arena, DType.FLOAT32, rows.shape());
    for (long i = 0; i < rows.elements(); i++) {
      short bits = half.segment().getAtIndex(ValueLayout.JAVA_SHORT, i);
      floats.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, Float.float16ToFloat(bits));
    }
    Tensor found = turned ? floats.transpose(0, 1) : floats;
    return found.asReadOnly();
  }

  @Override
  public Tensor stored(String name) {
    return tensors.get(name);
  }

  @Override
  public Set<String> names() {
    return tensors.keySet();
  }
}
