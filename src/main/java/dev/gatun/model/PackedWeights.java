package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.PackedWeight;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * Weights whose matrices become packed ones where layers are made of them; vectors and tables are
 * used as they are. Matrices are found in the type that they are stored in.
 */
final class PackedWeights implements WeightView {
  private static final Set<DType> STORED =
      Set.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16, DType.INT8);

  private final Weights weights;
  private final WeightSlab memory;
  private final WeightFormat format;

  PackedWeights(Weights weights, WeightSlab memory, WeightFormat format) {
    this.weights = weights;
    this.memory = memory;
    this.format = format;
  }

  /** The same with other weights. */
  PackedWeights with(Weights others) {
    return new PackedWeights(others, memory, format);
  }

  /** {@return what is packed here} */
  @Override
  public Weights weights() {
    return weights;
  }

  WeightFormat format() {
    return format;
  }

  WeightSlab memory() {
    return memory;
  }

  @Override
  public Tensor find(String name) {
    Tensor stored = weights.stored(name);
    return stored != null && stored.rank() == 2 && STORED.contains(stored.dtype())
        ? stored
        : weights.find(name);
  }

  @Override
  public Weights packed(Arena arena, WeightFormat other) {
    if (Objects.requireNonNull(other, "format") != format) {
      throw new IllegalArgumentException(
          "format: expected %s, as the weights are packed already, got %s"
              .formatted(format, other));
    }
    return this;
  }

  /** Packs matrices {@code [in, …]} of one type, side by side; or finds them packed. */
  PackedWeight pack(GatunRuntime runtime, String[] names, Tensor[] matrices) {
    return pack(runtime, names, "", matrices);
  }

  /**
   * The same of some columns.
   *
   * @param names of the matrices; of INT8 ones scales are found by them
   * @param columns which of them, as a file of packed weights calls them; empty: all
   */
  PackedWeight pack(GatunRuntime runtime, String[] names, String columns, Tensor[] matrices) {
    List<String> own =
        Arrays.stream(names).map(name -> WeightView.sourceName(weights, name)).toList();
    String key = String.join("+", own) + columns;
    PackedFile file = WeightView.find(weights, PackedFile.class);
    PackedWeight weight =
        file == null ? packAnew(runtime, names, matrices) : found(file, key, matrices);
    RecordedWeights recorded = WeightView.find(weights, RecordedWeights.class);
    if (recorded != null) {
      recorded.packed(key, own, weight);
    }
    return weight;
  }

  private PackedWeight found(PackedFile file, String key, Tensor[] matrices) {
    long out = Arrays.stream(matrices).mapToLong(matrix -> matrix.size(1)).sum();
    PackedWeight weight = file.packed(key, matrices[0].size(0), out);
    if (format != WeightFormat.AUTO && format != weight.format()) {
      throw new IllegalArgumentException(
          "expected the format AUTO or %s, which it is packed in, got %s"
              .formatted(weight.format(), format));
    }
    return weight;
  }

  private PackedWeight packAnew(GatunRuntime runtime, String[] names, Tensor[] matrices) {
    try (Arena arena = Arena.ofConfined()) {
      WeightSlab copies = new WeightSlab(arena);
      Tensor matrix = matrices.length == 1 ? matrices[0] : sideBySide(copies, names, matrices);
      if (matrix.dtype() != DType.INT8) {
        return PackedWeight.pack(runtime, memory, format, matrix);
      }
      if (format != WeightFormat.AUTO && format != WeightFormat.INT8) {
        throw new IllegalArgumentException(
            "expected the format AUTO or INT8, as the weight is int8, got " + format);
      }
      Tensor[] scales = Arrays.stream(names).map(this::requireScales).toArray(Tensor[]::new);
      return PackedWeight.pack(runtime, memory, matrix, copies.sideBySide(scales));
    }
  }

  private Tensor requireScales(String name) {
    Tensor scales = weights.scales(name);
    if (scales == null) {
      throw new IllegalArgumentException(
          "expected scales of its outputs, as the weight is int8, got none");
    }
    return scales;
  }

  /** Columns side by side, copied along the rows of memory whichever order they are stored in. */
  private static Tensor sideBySide(WeightSlab copies, String[] names, Tensor[] matrices) {
    boolean transposed = matrices[0].stride(1) != 1;
    for (int i = 1; i < matrices.length; i++) {
      if (matrices[i].dtype() != matrices[0].dtype()) {
        throw new IllegalArgumentException(
            "weights: expected queries, keys and values of one type, got %s, and of %s %s"
                .formatted(matrices[0].dtype(), names[i], matrices[i].dtype()));
      }
    }
    if (!transposed) {
      return copies.sideBySide(matrices);
    }
    Tensor[] rows = Arrays.stream(matrices).map(m -> m.transpose(0, 1)).toArray(Tensor[]::new);
    return copies.oneAfterTheOther(rows).transpose(0, 1);
  }
}
