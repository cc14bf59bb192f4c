package dev.gatun.support;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.model.BertWeights;
import dev.gatun.model.Weights;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** Weights of a quantized model as the floats that they stand for. */
public final class Dequantized {

  private Dequantized() {}

  public static BertWeights of(BertWeights model, Arena arena) {
    Map<String, Tensor> floats = new LinkedHashMap<>();
    for (String name : model.weights().names()) {
      floats.put(name, floats(model.weights(), name, arena));
    }
    return new BertWeights(model.config(), Weights.of(floats));
  }

  /** The same, but for one that stays as it is. */
  public static BertWeights but(String kept, BertWeights model, Arena arena) {
    Weights weights = model.weights();
    Weights floats = of(model, arena).weights();
    return new BertWeights(
        model.config(),
        new Weights() {
          @Override
          public Tensor find(String name) {
            return name.equals(kept) ? weights.find(name) : floats.find(name);
          }

          @Override
          public Tensor scales(String name) {
            return name.equals(kept) ? weights.scales(name) : null;
          }

          @Override
          public int zeroPoint(String name) {
            return name.equals(kept) ? weights.zeroPoint(name) : 0;
          }

          @Override
          public Set<String> names() {
            return floats.names();
          }
        });
  }

  /** An element of an INT8 or UINT8 tensor of two dimensions. */
  public static int number(Tensor tensor, long row, long column) {
    long at = row * tensor.stride(0) + column * tensor.stride(1);
    byte number = tensor.segment().get(ValueLayout.JAVA_BYTE, at);
    return tensor.dtype() == DType.UINT8 ? Byte.toUnsignedInt(number) : number;
  }

  private static Tensor floats(Weights weights, String name, Arena arena) {
    Tensor tensor = weights.get(name);
    if (weights.scales(name) == null) {
      return tensor;
    }
    float[] scales = weights.scales(name).toFloatArray();
    int columns = (int) tensor.size(1);
    float[] floats = new float[(int) tensor.elements()];
    for (int i = 0; i < floats.length; i++) {
      int row = i / columns;
      int number = number(tensor, row, i % columns) - weights.zeroPoint(name);
      floats[i] = number * scales[tensor.dtype() == DType.INT8 ? row : 0];
    }
    return Tensor.copyOf(arena, floats, tensor.shape());
  }
}
