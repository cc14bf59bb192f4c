package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Decoders from folders in Hugging Face's layout, against PyTorch. */
class DecoderFoldersTest extends PyTorchModels {

  private static final int BATCH = 2;
  private static final int SEQ = 19;

  /** Some roundings to 8 bits of each number: of an int8 weight, and of a bfloat16 one. */
  private static final double INT8_BOUND = 0.25;

  private static final double BF16_BOUND = 0.1;

  private static final WeightFormat[] PACKED = {
    WeightFormat.FP32, WeightFormat.BF16, WeightFormat.INT8, WeightFormat.Q8_0
  };

  private final PyTorchDecoder torchDecoder = new PyTorchDecoder(this);

  private DecoderOnlyModel decoder(Path from, WeightFormat format) throws IOException {
    return Families.decoder(Checkpoint.open(from, runtime, arena, format));
  }

  /** One pass, step by step, ragged prompts; unpacked, packed, and packed small. */
  private DecoderOnlyModel check(String what, String config) throws IOException {
    int[] tokens = ids(BATCH * SEQ, torchDecoder.vocabulary);
    Array want = torchDecoder.logits(tokens, BATCH);
    ModelFolders.of(config, made).shards(2).write(folder);
    DecoderOnlyModel model = decoder(folder, WeightFormat.VIEW);
    assertEquals(torchDecoder.vocabulary, model.vocabulary());
    checkModel(what, model, model.newState(arena, BATCH, SEQ), tokens, BATCH, want);
    checkPrompts(model, tokens, SEQ, new int[] {12, 3}, want);
    DecoderOnlyModel packed = decoder(folder, WeightFormat.FP32);
    checkModel(what + ", packed", packed, packed.newState(arena, BATCH, SEQ), tokens, BATCH, want);
    checkPrompts(packed, tokens, SEQ, new int[] {9, 2}, want);
    near(what, want, logits(decoder(folder, WeightFormat.BF16), tokens, BATCH), BF16_BOUND);
    near(what, want, logits(decoder(folder, WeightFormat.INT8), tokens, BATCH), INT8_BOUND);
    packedAlike(
        FolderInspection.Kind.LANGUAGE_MODEL,
        folder,
        checkpoint -> logits(Families.decoder(checkpoint), tokens, BATCH),
        PACKED);
    return model;
  }

  private static void near(String what, Array want, float[] got, double bound) {
    double share = Difference.share(want.toFloats(), got);
    System.out.printf("%s, rounded: %.1e of the greatest element%n", what, share);
    assertTrue(share <= bound, what + ": " + share);
  }

  private FileSystemException refused(String config, String... texts) throws IOException {
    ModelFolders.of(config, made).write(folder.resolve("other"));
    FileSystemException e =
        assertThrows(
            FileSystemException.class, () -> decoder(folder.resolve("other"), WeightFormat.VIEW));
    for (String text : texts) {
      assertTrue(e.getMessage().contains(text), e.getMessage());
    }
    return e;
  }

  // ---- LLaMA and Mistral -----------------------------------------------------------------------

  @Test
  void llama() throws IOException {
    torchDecoder.size = 9 * 2;
    torchDecoder.width = 72;
    torchDecoder.epsilon = 1e-5;
    check("LLaMA, folder", torchDecoder.config("llama", "\"hidden_act\": \"silu\""));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void llama3(boolean newer) throws IOException {
    torchDecoder.queryBiases = true;
    torchDecoder.outputBiases = true;
    torchDecoder.feedForwardBiases = true;
    torchDecoder.tied = true;
    double[] angles = PyTorchDecoder.geometric(10, 500);
    for (int i = 0; i < angles.length; i++) {
      double wavelength = 2 * Math.PI / angles[i];
      double smooth = (40 / wavelength - 1) / (4 - 1);
      double share = Math.clamp(smooth, 0, 1);
      angles[i] = (1 - share) * angles[i] / 8 + share * angles[i];
    }
    torchDecoder.angles = n -> angles;
    String scaling =
        "\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0,"
            + " \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 40";
    check(
        "LLaMA 3",
        torchDecoder.config(
            "llama",
            "\"attention_bias\": true, \"mlp_bias\": true, "
                + (newer
                    ? "\"rope_parameters\": {\"rope_theta\": 500, " + scaling + "}"
                    : "\"rope_theta\": 500, \"rope_scaling\": {" + scaling + "}")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"linear", "dynamic", "yarn"})
  void scaled(String type) throws IOException {
    double[] angles = PyTorchDecoder.geometric(10, 10_000);
    if (type.equals("linear")) {
      for (int i = 0; i < angles.length; i++) {
        angles[i] /= 4;
      }
    } else if (type.equals("yarn")) {
      // 32 and 1 turns in 16 positions: pairs below floor(-1.37) and from ceil(0.51) on.
      for (int i = 1; i < angles.length; i++) {
        angles[i] /= 4;
      }
      torchDecoder.magnitude = 0.1 * Math.log(4) + 1;
    }
    torchDecoder.angles = n -> angles;
    String original = type.equals("yarn") ? ", \"original_max_position_embeddings\": 16" : "";
    check(
        "LLaMA, " + type,
        torchDecoder.config(
            "llama",
            "\"rope_scaling\": {\"type\": \"%s\", \"factor\": 4.0%s}".formatted(type, original)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"null", "5"})
  void mistral(String window) throws IOException {
    if (!window.equals("null")) {
      torchDecoder.window = n -> 5;
    }
    check(
        "Mistral, folder",
        torchDecoder.config("mistral", "\"sliding_window\": %s".formatted(window)));
  }

  // ---- Qwen and SmolLM -------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void qwen2(boolean windows) throws IOException {
    torchDecoder.queryBiases = true;
    torchDecoder.tied = windows;
    torchDecoder.angles = n -> PyTorchDecoder.geometric(10, 1_000_000);
    if (windows) {
      torchDecoder.window = n -> n >= 1 ? 4 : SEQ;
    }
    check(
        "Qwen2",
        torchDecoder.config(
            "qwen2",
            "\"rope_theta\": 1000000.0, \"sliding_window\": 4, \"max_window_layers\": 1,"
                + " \"use_sliding_window\": "
                + windows));
  }

  @Test
  void qwen3() throws IOException {
    torchDecoder.headNorms = true;
    check("Qwen3", torchDecoder.config("qwen3", "\"rope_theta\": 10000, \"sliding_window\": null"));
    int[] tokens = ids(BATCH * SEQ, torchDecoder.vocabulary);
    float[] want = logits(decoder(folder, WeightFormat.VIEW), tokens, BATCH);
    made.compute("model.layers.1.self_attn.k_norm.weight", (name, old) -> normal(1, 10));
    ModelFolders.of(torchDecoder.config("qwen3", ""), made).write(folder.resolve("other"));
    float[] got = logits(decoder(folder.resolve("other"), WeightFormat.VIEW), tokens, BATCH);
    matters("Qwen3, other norms of keys", want, got);
    made.put("model.layers.1.self_attn.k_norm.weight", normal(1, 9));
    refused(
        torchDecoder.config("qwen3", ""),
        "model.layers.1.self_attn.k_norm.weight: expected [10] float32, got [9] float32");
    made.remove("model.layers.1.self_attn.k_norm.weight");
    refused(torchDecoder.config("qwen3", ""), "model.layers.1.self_attn.k_norm.weight");
  }

  /** As an embedder, of a file with the prefix and of one without; causal, ragged and padded. */
  @ParameterizedTest
  @CsvSource({"qwen3, true", "qwen3, false", "llama, false"})
  void embedder(String type, boolean prefixed) throws IOException {
    torchDecoder.headNorms = type.equals("qwen3");
    int[] tokens = ids(BATCH * SEQ, torchDecoder.vocabulary);
    float[] states = torchDecoder.states(tokens, BATCH).toFloats();
    ModelFolders.of(torchDecoder.config(type, ""), made)
        .named(name -> prefixed ? name : name.substring("model.".length()))
        .write(folder);
    for (WeightFormat format : new WeightFormat[] {WeightFormat.VIEW, WeightFormat.FP32}) {
      TextEncoder model = Families.encoder(Checkpoint.open(folder, runtime, arena, format));
      int width = torchDecoder.width;
      int[] lengths = {SEQ, 7};
      int[] ragged = new int[SEQ + 7];
      System.arraycopy(tokens, 0, ragged, 0, ragged.length); // the second text begins at SEQ
      float[] want = new float[ragged.length * width];
      System.arraycopy(states, 0, want, 0, want.length);
      Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, ragged.length, width);
      model.forward(
          Tensor.copyOf(arena, ragged, ragged.length),
          Sequences.ragged(Tensor.copyOf(arena, new int[] {0, SEQ, SEQ + 7}, 3)),
          hidden);
      close(type + ", hidden states", want, hidden.toFloatArray(), FAMILY_BOUND);
      paddedAsRagged(model, tokens, lengths, hidden.toFloatArray());
    }
    packedAlike(
        FolderInspection.Kind.EMBEDDER,
        folder,
        checkpoint -> {
          TextEncoder model = Families.encoder(checkpoint);
          Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, SEQ, model.dim());
          model.forward(Tensor.copyOf(arena, Arrays.copyOf(tokens, SEQ), SEQ), hidden);
          return hidden.toFloatArray();
        },
        PACKED);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\"no_rope_layers\": [1, 0, 1],"})
  void smolLm3(String said) throws IOException {
    torchDecoder.tied = true;
    boolean first = said.isEmpty();
    torchDecoder.angles =
        n -> (first ? n == 2 : n == 1) ? null : PyTorchDecoder.geometric(10, 2_000_000);
    check(
        "SmolLM3",
        torchDecoder.config(
            "smollm3", said + "\"no_rope_layer_interval\": 3, \"mlp_bias\": false"));
  }

  // ---- Gemma -----------------------------------------------------------------------------------

  @Test
  void gemma() throws IOException {
    torchDecoder.gemma = true;
    torchDecoder.tied = true;
    check("Gemma", torchDecoder.config("gemma", "\"hidden_act\": \"gelu\""));
  }

  @Test
  void gemma2() throws IOException {
    torchDecoder.gemma = true;
    torchDecoder.tied = true;
    torchDecoder.sandwich = true;
    torchDecoder.window = n -> n % 2 == 0 ? 5 : SEQ;
    torchDecoder.scale = 1 / 3.0;
    torchDecoder.softcap = 50;
    torchDecoder.logitSoftcap = 30;
    check(
        "Gemma 2, folder",
        torchDecoder.config(
            "gemma2",
            "\"sliding_window\": 5, \"query_pre_attn_scalar\": 9, \"hidden_activation\":"
                + " \"gelu_pytorch_tanh\""));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void gemma3(boolean newer) throws IOException {
    torchDecoder.gemma = true;
    torchDecoder.tied = true;
    torchDecoder.sandwich = true;
    torchDecoder.headNorms = true;
    torchDecoder.scale = 1 / 3.0;
    torchDecoder.window = n -> n == 1 ? SEQ : 5;
    double[] global = PyTorchDecoder.geometric(10, 1_000_000);
    for (int i = 0; i < global.length; i++) {
      global[i] /= 8;
    }
    double[] local = PyTorchDecoder.geometric(10, 20_000);
    torchDecoder.angles = n -> n == 1 ? global : local;
    check(
        "Gemma 3",
        torchDecoder.config(
            "gemma3_text",
            "\"sliding_window\": 5, \"query_pre_attn_scalar\": 9, "
                + (newer
                    ? "\"layer_types\": [\"sliding_attention\", \"full_attention\","
                        + " \"sliding_attention\"], \"rope_parameters\": {\"full_attention\":"
                        + " {\"rope_type\": \"linear\", \"factor\": 8, \"rope_theta\": 1000000},"
                        + " \"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\":"
                        + " 20000}}"
                    : "\"sliding_window_pattern\": 2, \"rope_local_base_freq\": 20000,"
                        + " \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}")));
  }

  /** The text part of a model that sees images, whose config.json leaves out what is usual. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void gemma3OfTextAndImages(boolean newer) throws IOException {
    gemma3(false);
    int[] tokens = ids(BATCH * SEQ, torchDecoder.vocabulary);
    Array want = torchDecoder.logits(tokens, BATCH);
    String text =
        torchDecoder
            .config(
                "gemma3_text",
                "\"sliding_window\": 5, \"query_pre_attn_scalar\": 9, \"sliding_window_pattern\":"
                    + " 2, \"rope_local_base_freq\": 20000, \"rope_scaling\": {\"rope_type\":"
                    + " \"linear\", \"factor\": 8}")
            .replace("\"max_position_embeddings\": 64", "\"use_cache\": true");
    String config =
        "{\"model_type\": \"gemma3\", \"vision_config\": {}, \"text_config\": %s}".formatted(text);
    ModelFolders files =
        ModelFolders.of(config, made)
            .named(
                name ->
                    newer
                        ? name.replaceFirst("^model\\.", "model.language_model.")
                        : "language_model." + name)
            .with((newer ? "model." : "") + "vision_tower.vision_model.x", normal(1, 3))
            .with((newer ? "model." : "") + "multi_modal_projector.y", normal(1, 3));
    Path path = files.write(folder.resolve("images"));
    close(
        "Gemma 3 of texts and images",
        want.toFloats(),
        logits(decoder(path, WeightFormat.FP32), tokens, BATCH),
        FAMILY_BOUND);
    packedAlike(
        FolderInspection.Kind.LANGUAGE_MODEL,
        path,
        checkpoint -> logits(Families.decoder(checkpoint), tokens, BATCH),
        PACKED);
    files.with("language_model.model.layers.0.mlp.x", normal(1, 3)).write(path);
    String message =
        assertThrows(FileSystemException.class, () -> decoder(path, WeightFormat.FP32))
            .getMessage();
    assertTrue(message.contains("model.layers.0.mlp.x"), message);
    refused(config.replace("gemma3_text", "gemma2"), "text_config.model_type");
    refused("{\"model_type\": \"gemma3\"}", "text_config: expected an object");
    refused(config.replaceFirst("\\{", "{\"tie_word_embeddings\": false, "), "tie_word_embeddings");
    // As in the files of 4B: the defaults are those of transformers.
    refused(config.replaceAll("\"num_attention_heads\": \\d+, ", ""), "heads");
    refused(config.replaceAll("\"vocab_size\": \\d+, ", ""), "vocab_size");
  }

  // ---- Phi -------------------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource({"1, 10, null", "0.4, 4, 6"})
  void phi3(String fraction, int rotated, String window) throws IOException {
    torchDecoder.fused = true;
    torchDecoder.epsilon = 1e-5;
    torchDecoder.angles = n -> PyTorchDecoder.geometric(rotated, 10_000);
    if (!window.equals("null")) {
      torchDecoder.window = n -> Integer.parseInt(window);
    }
    check(
        "Phi-3",
        torchDecoder.config(
            "phi3",
            "\"partial_rotary_factor\": %s, \"sliding_window\": %s".formatted(fraction, window)));
  }

  // ---- refusals --------------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "llama | \"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2} | rope_scaling.type",
        "llama | \"rope_scaling\": {\"type\": \"linear\"} | rope_scaling.factor",
        "llama | \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"x\": 1} | rope_scaling",
        "llama | \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"attention_factor\": 1} |"
            + " rope_scaling.attention_factor",
        "llama | \"partial_rotary_factor\": 0.4 | partial_rotary_factor",
        "llama | \"attention_bias\": true | q_proj.bias",
        "llama | \"mlp_bias\": true | gate_proj.bias",
        "llama | \"hidden_act\": \"mish\" | hidden_act",
        "llama | \"quantization_config\": {} | quantization_config",
        "mistral | \"sliding_window\": 0 | sliding_window",
        "qwen2 | \"rope_theta\": 0.5 | q_proj.bias",
        "qwen3 | \"layer_types\": [\"full_attention\"] | layer_types",
        "gemma | \"rope_theta\": 1 | rope_theta",
        "gemma3_text | \"model_type\": \"gemma4_text\" | model_type",
      })
  void keysAreFollowedOrRefused(String type, String more, String text) throws IOException {
    torchDecoder.logits(ids(4, 59), 2);
    refused(torchDecoder.config(type, more), text);
  }

  @Test
  void sizesAndWeightsMustFit() throws IOException {
    torchDecoder.logits(ids(4, 59), 2);
    String config = torchDecoder.config("llama", "");
    ModelFolders.of(config, made).write(folder);
    decoder(folder, WeightFormat.VIEW);
    refused(config.replace("\"vocab_size\": 59", "\"vocab_size\": 60"), "vocab_size");
    refused(config.replace("\"hidden_size\": 36", "\"hidden_size\": 40"), "hidden_size");
    refused(config.replace("\"head_dim\": 10", "\"head_dim\": 12"), "head_dim");
    refused(
        config.replace("\"intermediate_size\": 50", "\"intermediate_size\": 48"),
        "intermediate_size");
    refused(
        config.replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
        "num_key_value_heads");
    refused(
        config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"), "model.layers.2.");
    refused(
        config.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"),
        "lm_head.weight");
    made.put("model.layers.0.self_attn.k_proj.bias", normal(1, 20));
    refused(config, "model.layers.0.self_attn.k_proj.bias");
    made.remove("model.layers.0.self_attn.k_proj.bias");
    made.put("model.layers.0.self_attn.q_norm.weight", normal(1, 10));
    refused(config, "model.layers.0.self_attn.q_norm.weight");
    made.remove("model.layers.0.self_attn.q_norm.weight");
    made.remove("lm_head.weight");
    refused(config, "lm_head.weight");
  }

  /** Tables have the positions of config.json, up to a bound that may be moved. */
  @Test
  void positions() throws IOException {
    torchDecoder.logits(ids(4, 59), 2);
    String config =
        torchDecoder
            .config("llama", "")
            .replace("\"max_position_embeddings\": 64", "\"max_position_embeddings\": 131072");
    ModelFolders.of(config, made).write(folder);
    Checkpoint checkpoint = Checkpoint.open(folder, runtime, arena, WeightFormat.VIEW);
    assertEquals(8192, Families.encoder(checkpoint).positions());
    assertEquals(10_000, Families.encoder(checkpoint.withPositions(10_000)).positions());
    assertEquals(131_072, Families.encoder(checkpoint.withPositions(1 << 30)).positions());
  }

  // ---- GPT-2 -----------------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(strings = {"", "transformer."})
  void gpt2(String prefix) throws IOException {
    SmallModels small = new SmallModels(arena);
    made.putAll(small.gpt2());
    int[] tokens = ids(10, SmallModels.VOCABULARY);
    float[] want = logits(small.gpt2(made), tokens, 2);
    String config =
        "{\"model_type\": \"gpt2\", \"n_embd\": %d, \"n_head\": %d, \"n_layer\": %d, \"n_inner\":"
            + " %d, \"n_positions\": 16, \"vocab_size\": %d, \"layer_norm_epsilon\": 1e-5,"
            + " \"activation_function\": \"gelu_new\"}";
    config =
        config.formatted(
            SmallModels.DIM,
            SmallModels.HEADS,
            SmallModels.LAYERS,
            SmallModels.HIDDEN,
            SmallModels.VOCABULARY);
    ModelFolders.of(config, made).prefixed(prefix).write(folder);
    assertArrayEquals(want, logits(decoder(folder, WeightFormat.VIEW), tokens, 2));
    packedAlike(
        FolderInspection.Kind.LANGUAGE_MODEL,
        folder,
        checkpoint -> logits(Families.decoder(checkpoint), tokens, 2),
        PACKED);
    refused(config.replace("\"n_inner\": 24", "\"n_inner\": 25"), "n_inner");
    refused(
        config.replace("}", ", \"scale_attn_by_inverse_layer_idx\": true}"),
        "scale_attn_by_inverse_layer_idx");
  }
}
