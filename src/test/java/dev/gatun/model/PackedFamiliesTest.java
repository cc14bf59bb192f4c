package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.Transformer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each family with packed weights computes what it computes with views. */
class PackedFamiliesTest {

  /** Chains of other lengths than OpenBLAS's, on values of about 1. */
  private static final float CLOSE = 2e-5f;

  /** Some roundings to 8 bits of each number of a small model. */
  private static final float NEAR = 0.15f;

  /** Runs a model of some weights, in all formats. */
  private interface Model {
    float[] run(SmallModels models);
  }

  private static void check(Model model) {
    try (Arena arena = Arena.ofShared()) {
      float[] want = run(arena, model, WeightFormat.VIEW);
      for (WeightFormat format : WeightFormat.values()) {
        float bound =
            switch (format) {
              case VIEW -> 0;
              case AUTO, FP32 -> CLOSE;
              case FP16 -> 2e-3f;
              case BF16, INT8, Q8_0 -> NEAR;
              case Q4_0 -> 1;
            };
        assertArrayEquals(want, run(arena, model, format), bound, format::toString);
      }
    }
  }

  /** The same weights and ids each time, as they come from one seed. */
  private static float[] run(Arena arena, Model model, WeightFormat format) {
    SmallModels models = new SmallModels(arena);
    models.format = format;
    return model.run(models);
  }

  private static float[] hidden(SmallModels models, TextEncoder encoder) {
    Tensor out = models.zeros(2, 5, SmallModels.DIM);
    encoder.forward(models.ids(2, 5), out);
    return out.toFloatArray();
  }

  @Test
  void bert() {
    check(models -> hidden(models, models.bert(models.bert())));
  }

  @Test
  void distilBert() {
    check(models -> hidden(models, models.distilBert(models.distilBert())));
  }

  @Test
  void gpt2() {
    check(models -> logits(models, models.gpt2(models.gpt2())));
  }

  @Test
  void llama() {
    check(models -> logits(models, models.llama(models.llama())));
  }

  @Test
  void mistral() {
    check(models -> logits(models, models.mistral(models.llama())));
  }

  @Test
  void gemma2() {
    check(models -> logits(models, models.gemma2(models.gemma2())));
  }

  @Test
  void modernBert() {
    check(models -> hidden(models, models.modernBert(models.modernBert())));
  }

  private static float[] logits(SmallModels models, DecoderOnlyModel model) {
    Tensor out = models.zeros(2, 6, SmallModels.VOCABULARY);
    DecoderState state = model.newState(models.arena, 2, 6);
    model.forward(null, state, models.ids(2, 6), null, out);
    return out.toFloatArray();
  }

  @Test
  void t5() {
    check(models -> translate(models, models.t5(models.t5())));
  }

  @Test
  void paper() {
    check(
        models ->
            translate(
                models,
                new VaswaniTransformer(
                        SmallModels.LAYERS, SmallModels.HEADS, Activation.RELU, NormOrder.POST)
                    .of(
                        models.runtime,
                        Weights.of(models.paper()).packed(models.arena, models.format),
                        models.sinusoidal())));
  }

  private static float[] translate(SmallModels models, Transformer model) {
    Tensor source = models.ids(2, 5);
    Tensor target = models.ids(2, 4);
    for (Tensor ids : new Tensor[] {source, target}) {
      for (long n = 0; n < ids.elements(); n++) {
        ids.segment()
            .setAtIndex(
                ValueLayout.JAVA_INT, n, ids.segment().getAtIndex(ValueLayout.JAVA_INT, n) % 9);
      }
    }
    Tensor out = models.zeros(2, 4, SmallModels.VOCABULARY);
    Tensor memory = models.zeros(2, 5, SmallModels.DIM);
    model.encode(null, source, null, memory);
    DecoderState state = model.newState(models.arena, 2, 4, 5);
    model.remember(null, state, memory, null);
    model.forward(null, state, target, null, out);
    return out.toFloatArray();
  }

  @Test
  void vit() {
    check(
        models -> {
          Vit model = models.vit(models.vit());
          Tensor out = models.zeros(2, 7);
          model.forward(models.draw(2, 3, 8, 8), out);
          return out.toFloatArray();
        });
  }

  @Test
  void clip() {
    check(
        models -> {
          Clip model = models.clip(models.clip());
          Tensor out = models.zeros(2, 6);
          model.images(models.draw(2, 3, 8, 8), out);
          return out.toFloatArray();
        });
  }

  // ---- files -----------------------------------------------------------------------------------

  /** A file of bfloat16 is packed as it is, and computes what its floats compute. */
  @Test
  void aFileOfBfloat16(@TempDir Path folder) throws IOException {
    try (Arena arena = Arena.ofShared()) {
      SmallModels models = new SmallModels(arena);
      Map<String, Tensor> weights = new TreeMap<>();
      models.bert().forEach((name, tensor) -> weights.put(name, as(DType.BFLOAT16, arena, tensor)));
      Path file = folder.resolve("model.safetensors");
      Safetensors.write(file, weights, Map.of());
      Weights mapped = Weights.of(Safetensors.map(file, arena), arena);
      assertEquals(DType.BFLOAT16, mapped.stored("encoder.layer.0.output.dense.weight").dtype());
      assertEquals(DType.FLOAT32, mapped.find("encoder.layer.0.output.dense.weight").dtype());
      TextEncoder auto =
          Bert.of(models.runtime, mapped.packed(arena, WeightFormat.AUTO), 2, SmallModels.HEADS);
      TextEncoder view = Bert.of(models.runtime, mapped, 2, SmallModels.HEADS);
      Tensor ids = models.ids(1, 7);
      Tensor want = models.zeros(1, 7, SmallModels.DIM);
      Tensor got = models.zeros(1, 7, SmallModels.DIM);
      view.forward(ids, want);
      auto.forward(ids, got);
      assertArrayEquals(want.toFloatArray(), got.toFloatArray(), NEAR);
    }
  }

  /**
   * Patches too, whose weight has four dimensions: as with the format that AUTO is for the file.
   */
  @ParameterizedTest
  @CsvSource({"BFLOAT16, BF16", "FLOAT16, FP16"})
  void patchesOfAFile(DType dtype, WeightFormat format, @TempDir Path folder) throws IOException {
    try (Arena arena = Arena.ofShared()) {
      SmallModels models = new SmallModels(arena);
      Map<String, Tensor> weights = new TreeMap<>();
      models.vit().forEach((name, tensor) -> weights.put(name, as(dtype, arena, tensor)));
      Path file = folder.resolve("model.safetensors");
      Safetensors.write(file, weights, Map.of());
      Weights mapped = Weights.of(Safetensors.map(file, arena), arena);
      Tensor images = models.draw(2, 3, 8, 8);
      List<float[]> results = new ArrayList<>();
      for (WeightFormat each : new WeightFormat[] {WeightFormat.AUTO, format, WeightFormat.INT8}) {
        Vit model =
            Vit.of(
                models.runtime,
                arena,
                mapped.packed(arena, each),
                SmallModels.LAYERS,
                SmallModels.HEADS,
                8,
                8);
        Tensor out = models.zeros(2, 7);
        model.forward(images, out);
        results.add(out.toFloatArray());
      }
      assertArrayEquals(results.get(1), results.get(0));
      assertFalse(Arrays.equals(results.get(2), results.get(0)), "int8 is another format");
    }
  }

  @Test
  void example(@TempDir Path folder) throws IOException {
    try (Arena arena = Arena.ofShared()) {
      SmallModels models = new SmallModels(arena);
      Path file = folder.resolve("model.safetensors");
      Safetensors.write(file, models.bert(), Map.of());
      GatunRuntime runtime = models.runtime;
      // example: packed-family
      Weights weights = Weights.of(Safetensors.map(file, arena), arena);
      TextEncoder model = Bert.of(runtime, weights.packed(arena, WeightFormat.BF16), 2, 2);
      // end
      assertEquals(SmallModels.DIM, model.dim());
    }
  }

  /** Every family, from a file of 16-bit floats. */
  @ParameterizedTest
  @ValueSource(strings = {"BFLOAT16", "FLOAT16"})
  void filesOf16Bits(DType dtype, @TempDir Path folder) throws IOException {
    try (Arena arena = Arena.ofShared()) {
      SmallModels models = new SmallModels(arena);
      Map<String, Map<String, Tensor>> families = new TreeMap<>();
      families.put("bert", models.bert());
      families.put("distilbert", models.distilBert());
      families.put("gpt2", models.gpt2());
      families.put("llama", models.llama());
      families.put("mistral", models.llama());
      families.put("gemma2", models.gemma2());
      families.put("modernbert", models.modernBert());
      families.put("t5", models.t5());
      families.put("vit", models.vit());
      families.put("clip", models.clip());
      for (Map.Entry<String, Map<String, Tensor>> family : families.entrySet()) {
        Map<String, Tensor> halves = new TreeMap<>();
        family.getValue().forEach((name, tensor) -> halves.put(name, as(dtype, arena, tensor)));
        Path file = folder.resolve(family.getKey());
        Safetensors.write(file, halves, Map.of());
        Weights mapped = Weights.of(Safetensors.map(file, arena), arena);
        for (WeightFormat format : WeightFormat.values()) {
          Weights weights = mapped.packed(arena, format);
          switch (family.getKey()) {
            case "bert" -> Bert.of(models.runtime, weights, 2, 2);
            case "distilbert" -> DistilBert.of(models.runtime, weights, 2, 2);
            case "gpt2" -> Gpt2.of(models.runtime, weights, 2, 2);
            case "llama" -> models.llama(weights);
            case "mistral" -> models.mistral(weights);
            case "gemma2" -> models.gemma2(weights);
            case "modernbert" -> models.modernBert(weights);
            case "t5" -> T5.of(models.runtime, arena, weights, 2, 2);
            case "vit" -> Vit.of(models.runtime, arena, weights, 2, 2, 8, 8);
            default -> Clip.of(models.runtime, arena, weights, 2, 2, 2, 2, 8);
          }
        }
      }
    }
  }

  private static Tensor as(DType dtype, Arena arena, Tensor tensor) {
    Tensor half = Tensor.allocate(arena, dtype, tensor.shape());
    for (long n = 0; n < tensor.elements(); n++) {
      float value = tensor.segment().getAtIndex(ValueLayout.JAVA_FLOAT, n);
      short bits =
          dtype == DType.FLOAT16
              ? Float.floatToFloat16(value)
              : (short) (Float.floatToRawIntBits(value) >>> 16);
      half.segment().setAtIndex(ValueLayout.JAVA_SHORT, n, bits);
    }
    return half;
  }

  @Test
  void packedTwice() {
    try (Arena arena = Arena.ofShared()) {
      Weights weights = Weights.of(new SmallModels(arena).bert()).packed(arena, WeightFormat.BF16);
      assertSame(weights, weights.packed(arena, WeightFormat.BF16));
      assertThrows(IllegalArgumentException.class, () -> weights.packed(arena, WeightFormat.INT8));
      assertThrows(NullPointerException.class, () -> weights.packed(arena, null));
    }
  }

  @Test
  void integersNeedScalesAndPacking() {
    try (Arena arena = Arena.ofShared()) {
      SmallModels models = new SmallModels(arena);
      Map<String, Tensor> weights = models.bert();
      String name = "encoder.layer.1.output.dense.weight";
      Tensor integers = Tensor.allocate(arena, DType.INT8, weights.get(name).shape());
      weights.put(name, integers);
      refused(name, models, Weights.of(weights));
      refused(
          name + ": expected scales of its outputs, as the weight is int8, got none",
          models,
          Weights.of(weights).packed(arena, WeightFormat.AUTO));
      refused(
          name + ": expected the format AUTO or INT8, as the weight is int8, got BF16",
          models,
          Weights.of(weights).packed(arena, WeightFormat.BF16));
    }
  }

  private static void refused(String text, SmallModels models, Weights weights) {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> Bert.of(models.runtime, weights, 2, SmallModels.HEADS))
            .getMessage();
    assertTrue(message.contains(text), message);
  }
}
