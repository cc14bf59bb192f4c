package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.model.WeightNames.Part;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Products of one kind in a model: rows of activations times a weight.
 *
 * @param name {@code queryKeyValue} (one product for all three), {@code output} (of attention),
 *     {@code first} and {@code second} (of the feed-forward part), or {@code dense} (behind the
 *     pooling, one row a text)
 * @param count how many there are: one a layer, as a rule
 * @param in rows of the weight
 * @param out columns of the weight
 * @param stored what the file has: a {@link dev.gatun.DType} in its words, or {@code packed}
 * @param format what it is multiplied as; not AUTO
 */
public record ModelProduct(
    String name, int count, long in, long out, String stored, WeightFormat format) {

  private static final List<Part> QUERY_KEY_VALUE = List.of(Part.QUERY, Part.KEY, Part.VALUE);

  /** Lists the products of a model, alike ones counted. */
  static List<ModelProduct> of(
      BertWeights weights, List<ModelFolder.Step> steps, Arena arena, WeightFormat asked)
      throws IOException {
    BertConfig sizes = weights.config();
    long hidden = sizes.hidden();
    long inner = sizes.intermediate();
    List<ModelProduct> products = new ArrayList<>();
    for (int n = 0; n < sizes.layers(); n++) {
      Layer layer = new Layer(weights, arena, asked, n);
      add(products, layer.product("queryKeyValue", QUERY_KEY_VALUE, hidden, 3 * hidden));
      add(products, layer.product("output", List.of(Part.OUTPUT), hidden, hidden));
      add(products, layer.product("first", List.of(Part.FIRST), hidden, inner));
      add(products, layer.product("second", List.of(Part.SECOND), inner, hidden));
    }
    for (ModelFolder.Step step : steps) {
      if (step instanceof ModelFolder.Dense dense) {
        add(products, dense(dense, arena, asked));
      }
    }
    return List.copyOf(products);
  }

  private static void add(List<ModelProduct> products, ModelProduct one) {
    for (int i = 0; i < products.size(); i++) {
      ModelProduct each = products.get(i);
      if (each.equals(one.times(each.count))) {
        products.set(i, one.times(each.count + 1));
        return;
      }
    }
    products.add(one);
  }

  private ModelProduct times(int other) {
    return new ModelProduct(name, other, in, out, stored, format);
  }

  private record Layer(BertWeights weights, Arena arena, WeightFormat asked, int n) {
    ModelProduct product(String name, List<Part> parts, long in, long out) {
      WeightNames names = weights.config().tokenTypes() == 0 ? DistilBert.NAMES : Bert.NAMES;
      List<String> matrices = parts.stream().map(part -> names.name(part, n, "weight")).toList();
      PackedFile file = WeightView.find(weights.weights(), PackedFile.class);
      if (file != null) {
        String key =
            matrices.stream()
                .map(matrix -> WeightView.sourceName(weights.weights(), matrix))
                .collect(Collectors.joining("+"));
        WeightFormat own = file.packed(key, in, out).format();
        return new ModelProduct(name, 1, in, out, "packed", own);
      }
      Tensor stored = weights.weights().packed(arena, WeightFormat.AUTO).get(matrices.getFirst());
      WeightFormat format = asked == WeightFormat.AUTO ? WeightFormat.of(stored.dtype()) : asked;
      return new ModelProduct(name, 1, in, out, stored.dtype().toString(), format);
    }
  }

  /** Its weight is made floats where it is read, and keeps them whatever is asked for. */
  private static ModelProduct dense(ModelFolder.Dense dense, Arena arena, WeightFormat asked)
      throws IOException {
    String dtype =
        Safetensors.map(dense.folder().resolve(VectorHead.WEIGHTS), arena).dtype(VectorHead.WEIGHT);
    String stored =
        switch (dtype) {
          case "F16" -> "float16";
          case "BF16" -> "bfloat16";
          case "F32" -> "float32";
          default -> dtype;
        };
    WeightFormat format = asked == WeightFormat.VIEW ? asked : WeightFormat.FP32;
    return new ModelProduct("dense", 1, dense.config().in(), dense.config().out(), stored, format);
  }
}
