package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Transformer;
import dev.gatun.support.Run;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** One model from weights in memory and in files. */
class WeightsTest {

  private static final int DIM = SmallModels.DIM;
  private static final int HIDDEN = SmallModels.HIDDEN;
  private static final int VOCABULARY = SmallModels.VOCABULARY;

  @TempDir private Path folder;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);
  private final PositionalEncoding positions = PositionalEncoding.sinusoidal(arena, 16, DIM);
  private final Map<String, Tensor> map = new SmallModels(arena).paper();

  @AfterEach
  void close() {
    arena.close();
  }

  private Transformer model(Weights weights, NormOrder order) {
    return new VaswaniTransformer(2, 2, Activation.GELU, order).of(runtime, weights, positions);
  }

  /** Logits of two steps after an encoded text. */
  private float[] run(Transformer model) {
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, 1, 5, DIM);
    model.encode(null, Tensor.copyOf(arena, new int[] {3, 1, 8, 0, 5}, 1, 5), null, memory);
    DecoderState state = model.newState(arena, 1, 8, 8);
    model.remember(null, state, memory, null);
    float[] logits = new float[2 * VOCABULARY];
    for (int step = 0; step < 2; step++) {
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, VOCABULARY);
      model.next(null, state, Tensor.copyOf(arena, new int[] {2, 7}, 1, 2), null, out);
      System.arraycopy(out.toFloatArray(), 0, logits, step * VOCABULARY, VOCABULARY);
    }
    for (float logit : logits) {
      assertTrue(Float.isFinite(logit));
    }
    return logits;
  }

  // ---- files ---------------------------------------------------------------------------------

  @ParameterizedTest
  @EnumSource(names = {"POST", "PRE"})
  void filesGiveTheBitsOfMemory(NormOrder order) throws IOException {
    Path file = folder.resolve("model.safetensors");
    Safetensors.write(file, map, Map.of("format", "pt"));
    for (Map.Entry<String, Tensor> entry : map.entrySet()) {
      Npy.write(folder.resolve(entry.getKey() + ".npy"), entry.getValue());
    }
    float[] want = run(model(Weights.of(map), order));
    SafetensorsFile mapped = Safetensors.map(file, arena);
    Run.checkSameBits(want, run(model(Weights.of(mapped, arena), order)), "safetensors");
    Run.checkSameBits(want, run(model(Weights.npy(folder, arena), order)), "npy");
    // Every weight takes part, and where it lies does not matter.
    for (String name : map.keySet()) {
      Map<String, Tensor> changed = new TreeMap<>(map);
      Tensor other = Tensor.allocate(arena, DType.FLOAT32, map.get(name).shape());
      other.copyFrom(map.get(name));
      changed.put(name, other);
      Transformer model = model(Weights.of(changed), order);
      Run.checkSameBits(want, run(model), "a copy");
      Tensor part = other.reshape(other.elements());
      part.slice(0, 0, part.elements() / 2).fill(0.5f);
      assertTrue(!Arrays.equals(want, run(model)), name);
    }
  }

  // ---- finding -------------------------------------------------------------------------------

  @Test
  void finding() {
    Weights weights = Weights.of(map);
    Tensor norm = map.get("encoder.norm.weight");
    assertSame(norm, weights.find("encoder.norm.weight"));
    assertSame(norm, weights.get("encoder.norm.weight"));
    assertNull(weights.find("encoder.norm.gamma"));
    map.remove("encoder.norm.weight");
    assertNull(weights.find("encoder.norm.weight"), "what the map holds when it is asked");
    assertThrows(NullPointerException.class, () -> Weights.of(null));
  }

  private String refusal(Weights weights) {
    return assertThrows(IllegalArgumentException.class, () -> model(weights, NormOrder.POST))
        .getMessage();
  }

  @Test
  void missingWeightsAreNamed() throws IOException {
    for (String name : map.keySet()) {
      Map<String, Tensor> fewer = new TreeMap<>(map);
      fewer.remove(name);
      // The last norms and a table of the source's own may be missing, and so may biases.
      boolean optional = name.contains(".norm.") || name.startsWith("source");
      if (name.endsWith("bias") || optional) {
        model(Weights.of(fewer), NormOrder.POST);
        continue;
      }
      assertEquals(
          "weights: expected " + name + ", got none of that name", refusal(Weights.of(fewer)));
    }
    Path file = folder.resolve("model.safetensors");
    String missing = "decoder.layers.1.multihead_attn.in_proj_weight";
    map.remove(missing);
    Safetensors.write(file, map, Map.of());
    String message = "weights: expected " + missing + ", got none of that name";
    assertEquals(message, refusal(Weights.of(Safetensors.map(file, arena), arena)));
    for (Map.Entry<String, Tensor> entry : map.entrySet()) {
      Npy.write(folder.resolve(entry.getKey() + ".npy"), entry.getValue());
    }
    assertEquals(message, refusal(Weights.npy(folder, arena)));
  }

  /** No bias is no bias, no table of the source is the target's, no last norm is none. */
  @Test
  void whatMayBeMissing() {
    float[] all = run(model(Weights.of(map), NormOrder.PRE));
    for (String name : new String[] {"decoder.layers.1.linear1.bias", "encoder.norm.bias"}) {
      Map<String, Tensor> zero = new TreeMap<>(map);
      zero.put(name, Tensor.allocate(arena, DType.FLOAT32, map.get(name).shape()));
      float[] want = run(model(Weights.of(zero), NormOrder.PRE));
      zero.remove(name);
      float[] got = run(model(Weights.of(zero), NormOrder.PRE));
      for (int i = 0; i < got.length; i++) {
        assertEquals(want[i], got[i], 1e-5);
      }
      assertTrue(!Arrays.equals(all, got));
    }
    Map<String, Tensor> shared = new TreeMap<>(map);
    shared.put("source_embedding.weight", map.get("target_embedding.weight"));
    float[] want = run(model(Weights.of(shared), NormOrder.PRE));
    shared.remove("source_embedding.weight");
    Run.checkSameBits(want, run(model(Weights.of(shared), NormOrder.PRE)), "one table");
    // An output of its own, with the numbers of the table it would share.
    shared.put("output.weight", map.get("target_embedding.weight"));
    Run.checkSameBits(want, run(model(Weights.of(shared), NormOrder.PRE)), "one output");
  }

  private void assertMisfit(String start, String name, long... shape) {
    Map<String, Tensor> changed = new TreeMap<>(map);
    changed.put(name, Tensor.allocate(arena, DType.FLOAT32, shape));
    String message = refusal(Weights.of(changed));
    assertTrue(message.startsWith(start), name + ": " + message);
  }

  /** The message names the part that a weight does not fit. */
  @Test
  void shapesThatDoNotFit() {
    String block = "decoder.layers.1.";
    String cross = block + "multihead_attn.in_proj_weight";
    String first = block + "linear1.weight";
    String second = block + "linear2.weight";
    String output = block + "self_attn.out_proj.weight";
    assertMisfit(second + ": expected [out, in] = [16, 24] float32, got [16, 25]", second, DIM, 25);
    assertMisfit(
        first + ": expected [out, in] = [24, 16] float32, got [24, 17]", first, HIDDEN, 17);
    assertMisfit(
        first + ": expected [out, in] = [24, 16] float32, got [25, 16]", first, HIDDEN + 1, DIM);
    assertMisfit(
        block + "linear1.bias: expected [24] float32, got [23]", block + "linear1.bias", 23);
    String norm = block + "norm2.";
    assertMisfit(norm + "weight: expected [16] float32, got [1, 16]", norm + "weight", 1, DIM);
    assertMisfit(norm + "bias: expected [16] float32, got [15]", norm + "bias", DIM - 1);
    assertMisfit(
        output + ": expected [out, in] = [16, 16] float32 (2 heads of 8), got [16, 17]",
        output,
        DIM,
        17);
    assertMisfit(
        block + "self_attn.in_proj_bias: expected [48] float32, got [16]",
        block + "self_attn.in_proj_bias",
        DIM);
    String fused = ": expected [out, in] = [48, 16] float32 (6 heads of 8), got ";
    assertMisfit(cross + fused + "[48, 18]", cross, 3 * DIM, 18);
    assertMisfit("encoder.norm.weight: expected [16] float32, got [17]", "encoder.norm.weight", 17);
    String table = "source_embedding.weight: expected [rows, 16] float32, got ";
    assertMisfit(table + "[9, 15]", "source_embedding.weight", 9, 15);
    assertMisfit(table + "[9]", "source_embedding.weight", 9);
    assertMisfit(
        "output.weight: expected [out, in] = [11, 16] float32, got [11, 15]",
        "output.weight",
        VOCABULARY,
        15);
    // Nothing of a matrix is left out.
    assertMisfit(cross + fused + "[49, 16]", cross, 3 * DIM + 1, DIM);
    assertMisfit(
        block + "multihead_attn.in_proj_bias: expected [48] float32, got [49]",
        block + "multihead_attn.in_proj_bias",
        3 * DIM + 1);
    assertMisfit("weights: expected a matrix " + cross + ", got shape [48]", cross, 3 * DIM);
    assertMisfit(
        "weights: expected a matrix output.weight, got shape [11]", "output.weight", VOCABULARY);
    // A matrix that lies the other way round is told so.
    assertMisfit(
        second
            + ": expected [out, in] = [16, 24] float32, got [24, 16] float32, which looks like"
            + " [in, out]",
        second,
        HIDDEN,
        DIM);
    assertMisfit(
        cross + fused + "[16, 48] float32, which looks like [in, out]", cross, DIM, 3 * DIM);
    assertMisfit(
        "output.weight: expected [out, in] = [11, 16] float32, got [16, 11] float32, which looks"
            + " like [in, out]",
        "output.weight",
        DIM,
        VOCABULARY);
    map.put("encoder.layers.0.norm1.bias", Tensor.allocate(arena, DType.INT32, DIM));
    assertEquals(
        "encoder.layers.0.norm1.bias: expected [16] float32, got [16] int32",
        refusal(Weights.of(map)));
  }
}
