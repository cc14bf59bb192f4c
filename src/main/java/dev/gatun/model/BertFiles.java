package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.TextEncoder;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * BERT, RoBERTa, XLM-RoBERTa, CamemBERT and DistilBERT as Hugging Face's files have them: the sizes
 * of config.json, and weights under the names that {@link BertWeights} has.
 */
final class BertFiles {

  /** Of those whose positions begin behind the id of padding, what names may begin with. */
  private static final Map<String, String> BEHIND_PADDING =
      Map.of("roberta", "roberta.", "xlm-roberta", "roberta.", "camembert", "roberta.");

  private static final String DISTILBERT = "distilbert";

  /** What {@link #weights} reads. */
  private static final Set<String> TYPES =
      new TreeSet<>(Set.of("bert", "camembert", DISTILBERT, "roberta", "xlm-roberta"));

  /** Of transformers, where config.json does not say. */
  private static final double EPSILON = 1e-12;

  private static final double EPSILON_OF_ROBERTA = 1e-5;
  private static final int PADDING_OF_ROBERTA = 1;

  /** Of pretraining, and of tasks: what a hidden state does without. */
  private static final Pattern HEADS =
      Pattern.compile("(cls|lm_head|classifier|pre_classifier|qa_outputs|vocab_\\w+)\\..*");

  private BertFiles() {}

  static TextEncoder load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    String type = config.text("model_type", "");
    String positions = config.text("position_embedding_type", "");
    if (!type.equals(DISTILBERT) && RelativeKeyBert.TYPES.contains(positions)) {
      return RelativeKeyBert.load(
          withoutHeads(checkpoint),
          BEHIND_PADDING.containsKey(type) ? EPSILON_OF_ROBERTA : EPSILON);
    }
    return Bert.of(
        checkpoint.folder().toString(),
        checkpoint.runtime(),
        sizesAndWeights(checkpoint),
        checkpoint.config().activation(activationKey(checkpoint), "gelu"),
        checkpoint.arena(),
        checkpoint.format());
  }

  static String activationKey(Checkpoint checkpoint) {
    String type = checkpoint.config().text("model_type", "");
    return type.equals(DISTILBERT) ? "activation" : "hidden_act";
  }

  /**
   * Sizes and weights, as {@link BertWeights#from} has them of an ONNX file, of a model with GELU:
   * nothing in them says another.
   */
  static BertWeights weights(Checkpoint checkpoint) {
    String key = activationKey(checkpoint);
    if (checkpoint.config().activation(key, "gelu") != Activation.GELU) {
      throw checkpoint.config().expected(key, "\"gelu\"");
    }
    return sizesAndWeights(checkpoint);
  }

  private static BertWeights sizesAndWeights(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    String type = config.text("model_type", "");
    if (!TYPES.contains(type)) {
      throw config.expected("model_type", "one of " + String.join(", ", TYPES));
    }
    boolean distilbert = type.equals(DISTILBERT);
    config.requireText("position_embedding_type", "absolute");
    config.requireFlag("is_decoder", false);
    config.requireFlag("add_cross_attention", false);
    Checkpoint scoped = withoutHeads(checkpoint);
    boolean behind = BEHIND_PADDING.containsKey(type);
    int padding = behind ? config.integer("pad_token_id", PADDING_OF_ROBERTA) : -1;
    int rows = config.size("max_position_embeddings", 512);
    if (rows <= padding + 1) {
      throw config.expected("max_position_embeddings", "more than pad_token_id + 1");
    }
    int hidden = config.size(distilbert ? "dim" : "hidden_size", 768);
    int heads = config.size(distilbert ? "n_heads" : "num_attention_heads", 12);
    if (hidden % heads != 0) {
      throw config.expected(
          distilbert ? "n_heads" : "num_attention_heads", "a divisor of %d".formatted(hidden));
    }
    BertConfig sizes =
        new BertConfig(
            config.size(distilbert ? "n_layers" : "num_hidden_layers", distilbert ? 6 : 12),
            hidden,
            heads,
            hidden / heads,
            config.size(distilbert ? "hidden_dim" : "intermediate_size", 3072),
            config.size("vocab_size"),
            rows - padding - 1,
            distilbert ? 0 : config.size("type_vocab_size", 2),
            epsilon(config),
            padding + 1,
            padding);
    String first =
        (distilbert ? DistilBert.NAMES : Bert.NAMES).name(WeightNames.Part.FIRST, 0, "weight");
    requireRows(
        scoped, first, distilbert ? "hidden_dim" : "intermediate_size", sizes.intermediate());
    requireRows(scoped, Bert.WORDS, "vocab_size", sizes.vocabulary());
    requireRows(scoped, Bert.POSITIONS, "max_position_embeddings", rows);
    String inner = distilbert ? "hidden_dim" : "intermediate_size";
    WeightNames names = distilbert ? DistilBert.NAMES : Bert.NAMES;
    requireRows(scoped, names.name(Part.FIRST, 0, "weight"), inner, sizes.intermediate());
    if (!distilbert) {
      requireRows(scoped, Bert.TYPES, "type_vocab_size", sizes.tokenTypes());
    }
    return new BertWeights(sizes, scoped.weights());
  }

  /** Added to the variance, by the encoder's norms and that of a head alike. */
  static float epsilon(FamilyConfig config) {
    String type = config.text("model_type", "");
    return type.equals(DISTILBERT)
        ? (float) EPSILON
        : config.epsilon(
            "layer_norm_eps", BEHIND_PADDING.containsKey(type) ? EPSILON_OF_ROBERTA : EPSILON);
  }

  /** What the encoder's names begin with beside a head. */
  static String scope(Checkpoint checkpoint) {
    String type = checkpoint.config().text("model_type", "");
    return type.equals(DISTILBERT) ? "distilbert." : BEHIND_PADDING.getOrDefault(type, "bert.");
  }

  private static Checkpoint withoutHeads(Checkpoint checkpoint) {
    return checkpoint
        .scoped(scope(checkpoint))
        .renamed(name -> HEADS.matcher(name).matches() ? null : name);
  }

  private static void requireRows(Checkpoint checkpoint, String name, String key, long rows) {
    Tensor table = LayerLoader.requireMatrix(checkpoint.weights(), name);
    if (table.size(0) != rows) {
      throw checkpoint.config().expected(key, "%d, the rows of %s".formatted(table.size(0), name));
    }
  }
}
