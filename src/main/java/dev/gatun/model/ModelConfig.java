package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.io.OnnxException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * What {@code config.json} of Hugging Face says about a BERT-family encoder. The graph is what is
 * computed; this is held against it. Keys that say nothing about the computation, of which there is
 * no end, are left alone.
 */
final class ModelConfig {
  private static final String FILE = "config.json";

  /** Of RobertaConfig, where a file does not say. */
  private static final int ROBERTA_PADDING = 1;

  /** What onnxconverter-common makes of positive numbers below it, such as BERT's 1e-12. */
  private static final double LEAST_HALF = 1e-7;

  /** Families by what their positions begin behind: -1, or the id of padding. */
  private static final Map<String, Boolean> BEHIND_PADDING =
      Map.of(
          "bert",
          false,
          "distilbert",
          false,
          "roberta",
          true,
          "xlm-roberta",
          true,
          "camembert",
          true);

  private static final String DISTILBERT = "distilbert";

  /** What DistilBERT calls them; transformers takes BERT's keys for it as well. */
  private static final Map<String, String> OF_DISTILBERT =
      Map.of(
          "num_hidden_layers", "n_layers",
          "hidden_size", "dim",
          "num_attention_heads", "n_heads",
          "intermediate_size", "hidden_dim");

  private final Path file;
  private final Json json;
  private final Integer paddingId;

  private ModelConfig(Path file, Json json) {
    this.file = file;
    this.json = json;
    this.paddingId = readFamily();
    requireText("hidden_act", "gelu");
    requireText("position_embedding_type", "absolute");
    for (String key : new String[] {"is_decoder", "add_cross_attention"}) {
      if (!json.find(key).isNull() && json.find(key).bool()) {
        throw json.find(key).expected("false");
      }
    }
  }

  /**
   * Reads a folder's.
   *
   * @return null if the folder has none
   */
  static ModelConfig read(Path folder) throws IOException {
    Path file = folder.resolve(FILE);
    if (!Files.exists(file)) {
      return null;
    }
    return Descriptions.read(file, json -> new ModelConfig(file, json));
  }

  private Integer readFamily() {
    Json type = json.find("model_type");
    if (type.isNull()) {
      return null;
    }
    Boolean behindPadding = BEHIND_PADDING.get(type.string());
    if (behindPadding == null) {
      throw type.expected("one of bert, camembert, distilbert, roberta and xlm-roberta");
    }
    if (!behindPadding) {
      return -1;
    }
    Json padding = json.find("pad_token_id");
    return padding.isNull() ? ROBERTA_PADDING : (int) padding.integer(0, Integer.MAX_VALUE - 1);
  }

  private void requireText(String key, String expected) {
    Json value = json.find(key);
    if (!value.isNull() && !value.string().equals(expected)) {
      throw value.expected('"' + expected + '"');
    }
  }

  /** What messages call it. */
  String source() {
    return file.toString();
  }

  /** What positions begin behind, -1 where they begin at 0; null if the file does not say. */
  Integer paddingId() {
    return paddingId;
  }

  /**
   * Refuses sizes that are not those of the file.
   *
   * @param positionRows of the table of positions
   * @param half whether the file was converted to half precision: its epsilon is the one that
   *     counts, and may be what a converter made of this one
   */
  void require(BertConfig sizes, long positionRows, boolean half) throws OnnxException {
    boolean distilbert = sizes.tokenTypes() == 0;
    try {
      requireFamily(distilbert);
      requireSize("num_hidden_layers", sizes.layers(), distilbert);
      requireSize("hidden_size", sizes.hidden(), distilbert);
      requireSize("num_attention_heads", sizes.heads(), distilbert);
      requireSize("intermediate_size", sizes.intermediate(), distilbert);
      requireSize("vocab_size", sizes.vocabulary(), distilbert);
      requireSize("max_position_embeddings", positionRows, distilbert);
      requireSize("type_vocab_size", sizes.tokenTypes(), distilbert);
      Json epsilon = json.find("layer_norm_eps");
      if (!epsilon.isNull()
          && (float) epsilon.number() != sizes.layerNormEps()
          && !(half && halved(epsilon.number()) == sizes.layerNormEps())) {
        throw epsilon.expected("%s as the model has it".formatted(sizes.layerNormEps()));
      }
    } catch (IllegalArgumentException e) {
      throw new OnnxException(source(), e.getMessage());
    }
  }

  /** An epsilon as converters write it, which put {@link #LEAST_HALF} for what would become 0. */
  private static float halved(double epsilon) {
    float nearest = (float) Math.max(epsilon, LEAST_HALF);
    return Float.float16ToFloat(Float.floatToFloat16(nearest));
  }

  private void requireFamily(boolean distilbert) {
    Json type = json.find("model_type");
    if (!type.isNull() && type.string().equals(DISTILBERT) != distilbert) {
      throw type.expected(
          distilbert
              ? "\"distilbert\": the model has no token types"
              : "a family with token types, which the model has");
    }
    if (distilbert) {
      requireText("activation", "gelu");
      Json sinusoidal = json.find("sinusoidal_pos_embds");
      if (!sinusoidal.isNull()) {
        sinusoidal.bool(); // how the table was made; it is in the file either way
      }
    }
  }

  private void requireSize(String key, long expected, boolean distilbert) {
    requireSize(key, expected);
    if (distilbert && OF_DISTILBERT.containsKey(key)) {
      requireSize(OF_DISTILBERT.get(key), expected);
    }
  }

  private void requireSize(String key, long expected) {
    Json size = json.find(key);
    if (!size.isNull() && size.integer(Long.MIN_VALUE, Long.MAX_VALUE) != expected) {
      throw size.expected("%d as the model has it".formatted(expected));
    }
  }
}
