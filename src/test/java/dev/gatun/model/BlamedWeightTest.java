package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.nn.PositionalEncoding;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Whichever weight of a family does not fit, it is that one which the message names. */
class BlamedWeightTest {

  private final Arena arena = Arena.ofShared();
  private final SmallModels models = new SmallModels(arena);

  @AfterEach
  void close() {
    arena.close();
  }

  /** Numbers that no weight has to be asked for. */
  @Test
  void sizesOfTheConfiguration() {
    for (int[] heads : new int[][] {{0, 0}, {-1, 1}, {2, 0}, {2, -1}, {2, 3}, {4, 3}}) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      new LayerConfig(
                          heads[0],
                          heads[1],
                          AttentionSpec.standard(),
                          PositionalEncoding.none(),
                          Activation.RELU))
              .getMessage();
      assertTrue(
          message.startsWith(heads[0] < 1 ? "heads: expected 1" : "kvHeads: expected a divisor"),
          message);
    }
  }

  /** Blocks that are not there are found before all that they would have are named. */
  @Test
  void blocksThatAreMissing() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> Bert.of(models.runtime, Weights.of(Map.of()), 50_000_000, 2))
            .getMessage();
    assertTrue(message.contains("layer.0."), message);
  }

  private static String refusal(Consumer<Map<String, Tensor>> family, Map<String, Tensor> map) {
    return assertThrows(IllegalArgumentException.class, () -> family.accept(map), map::toString)
        .getMessage();
  }

  /**
   * Each weight in turn with each of its sizes changed, transposed, of another type, or missing.
   */
  private void checkAll(Consumer<Map<String, Tensor>> family, Map<String, Tensor> map) {
    family.accept(map);
    for (String name : map.keySet()) {
      Map<String, Tensor> changed = new TreeMap<>(map);
      long[] shape = map.get(name).shape();
      for (int dim = 0; dim < shape.length; dim++) {
        if (isFree(name, dim)) {
          continue;
        }
        for (int by : new int[] {-1, 1, 16}) {
          long[] other = shape.clone();
          other[dim] = Math.max(other[dim] + by, 1);
          if (Arrays.equals(other, shape)) {
            continue;
          }
          changed.put(name, models.zeros(other));
          String message = refusal(family, changed);
          assertTrue(message.contains(name), () -> name + Arrays.toString(other) + ": " + message);
          assertTrue(message.contains("expected") && message.contains("got"), message);
        }
      }
      if (shape.length == 2 && shape[0] != shape[1] && !name.contains("embed")) {
        changed.put(name, models.zeros(shape[1], shape[0]));
        String message = refusal(family, changed);
        assertTrue(message.contains(name), () -> name + " turned: " + message);
      }
      changed.put(name, Tensor.allocate(arena, DType.INT32, shape));
      String message = refusal(family, changed);
      assertTrue(message.contains(name), () -> name + " of integers: " + message);
      if (!name.endsWith("bias") && !name.equals("lm_head.weight")) {
        changed.remove(name);
        assertEquals(
            "weights: expected " + name + ", got none of that name", refusal(family, changed));
      }
    }
  }

  /**
   * Sizes that nothing else in the file has a say in: vocabularies, positions, classes, buckets.
   */
  private static boolean isFree(String name, int dim) {
    boolean table =
        name.contains("embedding")
            || name.contains("embed_tokens")
            || name.contains("tok_embeddings")
            || name.startsWith("wte")
            || name.startsWith("wpe")
            || name.startsWith("shared")
            || name.startsWith("lm_head")
            || name.startsWith("classifier.")
            || name.contains("projection.weight")
            || name.contains("relative_attention_bias");
    return table
            && dim == 0
            && !name.contains("LayerNorm")
            && !name.equals("embeddings.norm.weight")
            && !name.contains("class_embedding")
            && !name.contains("patch_embedding")
        || name.contains("patch_embedding") && dim > 0
        || name.contains("position_embedding") && dim < 2
        || name.contains("cls_token");
  }

  @Test
  void llama() {
    checkAll(models::llama, models.llama());
  }

  @Test
  void mistral() {
    checkAll(models::mistral, models.llama());
  }

  @Test
  void gemma2() {
    checkAll(models::gemma2, models.gemma2());
  }

  @Test
  void modernBert() {
    checkAll(models::modernBert, models.modernBert());
  }

  @Test
  void gpt2() {
    checkAll(models::gpt2, models.gpt2());
  }

  @Test
  void t5() {
    checkAll(models::t5, models.t5());
  }

  @Test
  void bert() {
    checkAll(models::bert, models.bert());
  }

  @Test
  void distilBert() {
    checkAll(models::distilBert, models.distilBert());
    // Under the names of a file with a head, which messages have.
    Map<String, Tensor> scoped = new TreeMap<>();
    models.distilBert().forEach((name, tensor) -> scoped.put("distilbert." + name, tensor));
    checkAll(
        map -> {
          // Without this table nothing says that the names have a scope.
          if (map.containsKey("distilbert." + Bert.WORDS)) {
            models.distilBert(map);
          } else {
            throw new IllegalArgumentException(
                "weights: expected distilbert." + Bert.WORDS + ", got none of that name");
          }
        },
        scoped);
  }

  @Test
  void vit() {
    checkAll(models::vit, models.vit());
  }

  @Test
  void clip() {
    checkAll(models::clip, models.clip());
  }

  /** The messages of issue and documentation, word for word. */
  @Test
  void messages() {
    Map<String, Tensor> map = models.llama();
    String k = "model.layers.1.self_attn.k_proj.weight";
    map.put(k, models.zeros(16, 8));
    assertEquals(
        k
            + ": expected [out, in] = [8, 16] float32 (1 heads of 8), got [16, 8] float32, which"
            + " looks like [in, out]",
        refusal(models::llama, map));
    map.put(k, models.zeros(8, 15));
    assertEquals(
        k + ": expected [out, in] = [8, 16] float32 (1 heads of 8), got [8, 15] float32",
        refusal(models::llama, map));
    Map<String, Tensor> gpt2 = models.gpt2();
    String c = "h.0.attn.c_attn.weight";
    gpt2.put(c, models.zeros(48, 16));
    assertEquals(
        c
            + ": expected [in, out] = [16, 48] float32 (6 heads of 8), got [48, 16] float32, which"
            + " looks like [out, in]",
        refusal(models::gpt2, gpt2));
    Map<String, Tensor> head = models.llama();
    head.put("lm_head.weight", models.zeros(16, 11));
    assertEquals(
        "lm_head.weight: expected [out, in] = [11, 16] float32, got [16, 11] float32, which looks"
            + " like [in, out]",
        refusal(models::llama, head));
  }

  /** A user's own Weights may answer as it likes: what it gives is checked. */
  @Test
  void weightsOfSomebody() {
    Map<String, Tensor> map = models.llama();
    Weights odd =
        new Weights() {
          @Override
          public Tensor find(String name) {
            return map.get(name);
          }

          @Override
          public Tensor get(String name) {
            return null;
          }

          @Override
          public Tensor matrix(String name) {
            return models.zeros(3);
          }
        };
    assertEquals(
        SmallModels.VOCABULARY,
        Gpt2.of(models.runtime, wrap(odd, models.gpt2()), 2, 2).vocabulary());
  }

  private static Weights wrap(Weights odd, Map<String, Tensor> map) {
    return new Weights() {
      @Override
      public Tensor find(String name) {
        return map.get(name);
      }

      @Override
      public Tensor get(String name) {
        return odd.get(name);
      }

      @Override
      public Tensor matrix(String name) {
        return odd.matrix(name);
      }
    };
  }
}
