package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.support.ModelFolders;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What config.json says of ViT and CLIP is followed, or refused with its key. */
class ImageFoldersTest {

  private static final String VIT =
      """
      {"model_type": "vit", "hidden_act": "gelu", "hidden_size": 16, "image_size": 8, \
      "layer_norm_eps": 1e-12, "num_attention_heads": 2, "num_channels": 3, \
      "num_hidden_layers": 2, "patch_size": 4, "qkv_bias": true}\
      """;

  private static final String CLIP =
      """
      {"model_type": "clip", "projection_dim": 6, "text_config": {"hidden_size": 16, \
      "max_position_embeddings": 8, "num_attention_heads": 2, "num_hidden_layers": 2, \
      "vocab_size": 11}, "vision_config": {"hidden_size": 16, "image_size": 8, \
      "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 4}}\
      """;

  private final Arena arena = Arena.ofShared();
  private final SmallModels models = new SmallModels(arena);

  @TempDir Path folder;

  @AfterEach
  void close() {
    arena.close();
  }

  private Vit vit(String config, Map<String, Tensor> weights) throws IOException {
    Path files = ModelFolders.of(config, weights).write(folder);
    return Vit.load(models.runtime, files, arena, WeightFormat.VIEW);
  }

  private Clip clip(String config, Map<String, Tensor> weights) throws IOException {
    Path files = ModelFolders.of(config, weights).write(folder);
    return Clip.load(models.runtime, files, arena, WeightFormat.VIEW);
  }

  private float[] logits(Vit model) {
    Tensor images = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 8, 8);
    images.fill(0.5f);
    Tensor logits = models.zeros(1, 7);
    model.forward(images, logits);
    return logits.toFloatArray();
  }

  private static void assertNames(String part, IOException e) {
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          model_type          | "vit"  | "deit"
          hidden_act          | "gelu" | "tanh"
          hidden_size         | 16     | 24
          image_size          | 8      | 10
          num_attention_heads | 2      | 3
          num_channels        | 3      | 1
          patch_size          | 4      | 2
          layer_norm_eps      | 1e-12  | 0
          """)
  void vitRefuses(String key, String value, String other) {
    String config =
        VIT.replace("\"%s\": %s".formatted(key, value), "\"%s\": %s".formatted(key, other));
    assertFalse(config.equals(VIT));
    assertNames(key, assertThrows(IOException.class, () -> vit(config, models.vit())));
  }

  @Test
  void vitFollows() throws IOException {
    Map<String, Tensor> weights = models.vit();
    float[] want = logits(vit(VIT, weights));
    for (String other : new String[] {"relu", "gelu_new"}) {
      float[] got = logits(vit(VIT.replace("\"gelu\"", '"' + other + '"'), weights));
      assertFalse(Arrays.equals(want, got), other);
    }
    assertFalse(Arrays.equals(want, logits(vit(VIT.replace("1e-12", "0.1"), weights))));
    assertFalse(Arrays.equals(want, logits(vit(VIT.replace("heads\": 2", "heads\": 4"), weights))));
  }

  @Test
  void vitNamesWeights() {
    Map<String, Tensor> weights = models.vit();
    String flag = VIT.replace("\"qkv_bias\": true", "\"qkv_bias\": false");
    String bias = "encoder.layer.0.attention.attention.query.bias";
    assertNames(bias, assertThrows(IOException.class, () -> vit(flag, weights)));
    for (String name :
        new String[] {bias, "encoder.layer.1.output.dense.bias", "classifier.weight"}) {
      Map<String, Tensor> others = new HashMap<>(weights);
      others.remove(name);
      assertNames(name, assertThrows(IOException.class, () -> vit(VIT, others)));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          model_type                          | "clip" | "siglip"
          projection_dim                      | 6      | 8
          text_config.max_position_embeddings | 8      | 77
          text_config.vocab_size              | 11     | 12
          text_config.hidden_size             | 16     | 24
          vision_config.patch_size            | 4      | 2
          vision_config.image_size            | 8      | 6
          """)
  void clipRefuses(String path, String value, String other) {
    String key = path.substring(path.indexOf('.') + 1);
    int from = CLIP.indexOf('"' + path.split("\\.")[0]);
    String changed =
        CLIP.substring(0, from)
            + CLIP.substring(from)
                .replaceFirst(
                    "\"%s\": %s".formatted(key, value), "\"%s\": %s".formatted(key, other));
    assertFalse(changed.equals(CLIP));
    assertNames(path, assertThrows(IOException.class, () -> clip(changed, models.clip())));
  }

  @Test
  void clipNamesWeights() {
    Map<String, Tensor> weights = models.clip();
    String name = "vision_model.encoder.layers.1.mlp.fc2.bias";
    weights.remove(name);
    assertNames(name, assertThrows(IOException.class, () -> clip(CLIP, weights)));
  }
}
