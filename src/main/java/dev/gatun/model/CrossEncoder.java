package dev.gatun.model;

import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import dev.gatun.nn.SequenceClassifier;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * A reranker: reads a query and a passage together and says how well they fit (Nogueira and Cho,
 * 2019), which is slower than comparing vectors, and better. It sorts what a search has found.
 *
 * {@snippet :
 * try (CrossEncoder model = CrossEncoder.load(runtime, Path.of("ms-marco-MiniLM-L6-v2"))) {
 *   for (CrossEncoder.Ranked passage : model.rank("how do plants eat?", passages)) {
 *     System.out.println(passage.score() + " " + passages.get(passage.index()));
 *   }
 * }
 * }
 *
 * <p>Read from a folder in Hugging Face's layout: BERT, DistilBERT, RoBERTa, XLM-RoBERTa,
 * CamemBERT, ALBERT, ELECTRA, Megatron-BERT, MPNet and ModernBERT with the head of sequence
 * classification, of one label. Scores are as sentence-transformers has them: those of the last
 * layer where config.json names the activation Identity, otherwise between 0 and 1, by 1 / (1 +
 * e⁻ˣ). A pair of more than {@link #maxTokens} is cut, the longer text first.
 *
 * <p>Any number of threads may share it. Bits of a score do not depend on the number of threads
 * and, unless the weights' format is {@link WeightFormat#VIEW}, not on the other passages. The
 * weights live in an arena of this object's: whoever loads it closes it, before the runtime or
 * after. The runtime stays the caller's. A call after {@link #close()} throws {@link
 * IllegalStateException}, as does a close during a call.
 */
public final class CrossEncoder implements AutoCloseable {

  /** In config.json: of sentence-transformers 4, and before. */
  private static final String SECTION = "sentence_transformers";

  private static final String ACTIVATION = "activation_fn";
  private static final String ACTIVATIONS =
      "\"torch.nn.modules.activation.Sigmoid\" or \"torch.nn.modules.linear.Identity\"";

  private static final String OLD_ACTIVATION = "sbert_ce_default_activation_function";

  /**
   * A passage's place.
   *
   * @param index of the passage in the list that was given, from 0 on
   * @param score of it; more is better
   */
  public record Ranked(int index, float score) {}

  private final ClassifierModel model;
  private final boolean sigmoid;

  private CrossEncoder(ClassifierModel model, boolean sigmoid) {
    this.model = model;
    this.sigmoid = sigmoid;
  }

  /**
   * Loads a model, whose matrices keep the precision of the file.
   *
   * @param runtime where it runs
   * @param folder as of {@link #load(GatunRuntime, Path, WeightFormat)}
   * @return a model that the caller closes
   * @throws IOException as of {@link #load(GatunRuntime, Path, WeightFormat)}
   */
  public static CrossEncoder load(GatunRuntime runtime, Path folder) throws IOException {
    return load(runtime, folder, WeightFormat.AUTO);
  }

  /**
   * Loads a model.
   *
   * @param runtime where it runs
   * @param folder with config.json, tokenizer.json and model.safetensors, whole or in shards, or
   *     packed by {@link ModelPacker}
   * @param format of the encoder's matrices
   * @return a model that the caller closes
   * @throws IOException naming the file that is missing, unreadable, or not what it should be; also
   *     if the model has more than one label
   * @throws IllegalArgumentException if the weights are packed in another format
   * @throws GatunException if the library of the tokenizer is missing or, for VIEW, OpenBLAS, or
   *     memory
   */
  public static CrossEncoder load(GatunRuntime runtime, Path folder, WeightFormat format)
      throws IOException {
    ClassifierModel model = ClassifierModel.load(runtime, folder, format);
    return model.make(checkpoint -> new CrossEncoder(model, check(model, checkpoint.config())));
  }

  /** Returns whether scores go through the sigmoid. */
  private static boolean check(ClassifierModel model, FamilyConfig config) {
    if (model.classifier().scores() != 1) {
      throw new IllegalArgumentException(
          "expected a classifier with 1 label, the score, got %d: %s"
              .formatted(model.labels().size(), String.join(", ", model.labels())));
    }
    if (!model.readsPairs()) {
      throw new IllegalArgumentException(
          "tokenizer.json: expected a post_processor with a template for pairs, got none");
    }
    String said = model.described().activation();
    if (!said.isEmpty()) {
      return isSigmoid(said)
          .orElseThrow(
              () ->
                  new IllegalArgumentException(
                      "config_sentence_transformers.json: activation_fn: expected %s, got %s"
                          .formatted(ACTIVATIONS, Messages.quoted(said))));
    }
    FamilyConfig section = config.below(SECTION);
    return section.has(ACTIVATION)
        ? isSigmoid(section, ACTIVATION)
        : !config.has(OLD_ACTIVATION) || isSigmoid(config, OLD_ACTIVATION);
  }

  private static boolean isSigmoid(FamilyConfig config, String key) {
    return isSigmoid(config.text(key, "")).orElseThrow(() -> config.expected(key, ACTIVATIONS));
  }

  private static Optional<Boolean> isSigmoid(String name) {
    return switch (name) {
      case "torch.nn.modules.activation.Sigmoid" -> Optional.of(true);
      case "torch.nn.modules.linear.Identity" -> Optional.of(false);
      default -> Optional.empty();
    };
  }

  /** {@return what the model was loaded from} */
  public Path folder() {
    return model.folder();
  }

  /** {@return the part from ids to scores as they are computed; usable until this is closed} */
  public SequenceClassifier classifier() {
    return model.classifier();
  }

  /**
   * {@return what pairs are cut to, in tokens, those of the template included: what
   * sentence_bert_config.json, tokenizer_config.json or tokenizer.json says, and no more than the
   * model has positions}
   */
  public int maxTokens() {
    return model.maxTokens();
  }

  /**
   * Tokenizes a pair as it is scored, cut to {@link #maxTokens}.
   *
   * @param query any text
   * @param passage any text
   * @return its tokens, and whether it was cut
   */
  public Tokenized tokenize(String query, String passage) {
    Objects.requireNonNull(query, "query");
    Objects.requireNonNull(passage, "passage");
    return model.tokenize(query, passage);
  }

  /**
   * Scores one passage.
   *
   * @param query any text
   * @param passage any text
   * @return how well it fits; more is better
   */
  public float score(String query, String passage) {
    return scores(query, List.of(Objects.requireNonNull(passage, "passage")))[0];
  }

  /**
   * Scores passages, in passes of a few thousand tokens.
   *
   * @param query any text
   * @param passages any texts
   * @return a score of each, in the order of the passages
   */
  public float[] scores(String query, List<String> passages) {
    Objects.requireNonNull(query, "query");
    float[][] all = model.scores(model.tokenizeAll("passages", query, passages));
    float[] scores = new float[all.length];
    for (int n = 0; n < scores.length; n++) {
      scores[n] = sigmoid ? ClassifierModel.sigmoid(all[n][0]) : all[n][0];
    }
    return scores;
  }

  /**
   * Scores passages and sorts them.
   *
   * @param query any text
   * @param passages any texts
   * @return all of them, the best first; those of the same score in their order
   */
  public List<Ranked> rank(String query, List<String> passages) {
    float[] scores = scores(query, passages);
    List<Ranked> ranked = new ArrayList<>();
    for (int n = 0; n < scores.length; n++) {
      ranked.add(new Ranked(n, scores[n]));
    }
    ranked.sort(Comparator.comparing(Ranked::score).reversed());
    return ranked;
  }

  /**
   * Frees the weights. Closing a closed model does nothing.
   *
   * @throws IllegalStateException if a call is running, or another thread is closing it
   */
  @Override
  public void close() {
    model.close();
  }

  /**
   * Frees the weights as {@link #close()} does: from now on new calls throw {@link
   * IllegalStateException}, and those that run are waited for. If they take longer than the time,
   * or if this thread is interrupted, the model is open again.
   *
   * @param timeout how long to wait at most, 0 or more
   * @throws IllegalStateException if calls run still, or another thread is closing it
   */
  public void close(Duration timeout) {
    model.close(timeout);
  }

  /** Describes the model on one line. */
  @Override
  public String toString() {
    return "CrossEncoder(%s%s)".formatted(model, sigmoid ? ", sigmoid" : "");
  }
}
