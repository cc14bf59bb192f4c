package dev.gatun.model;

import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.nn.SequenceClassifier;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;

/**
 * From a text, or a pair of texts, to the probabilities of labels: sentiment, topic, language,
 * whether one sentence follows from another.
 *
 * {@snippet :
 * try (TextClassifier model = TextClassifier.load(runtime, Path.of("distilbert-sst-2"))) {
 *   System.out.println(model.classify("What a film!").getFirst().name());
 * }
 * }
 *
 * <p>Read from a folder in Hugging Face's layout: BERT, DistilBERT, RoBERTa, XLM-RoBERTa,
 * CamemBERT, ALBERT, ELECTRA, Megatron-BERT, MPNet and ModernBERT with the head of sequence
 * classification. Labels are those of config.json's {@code id2label}. Their probabilities are the
 * softmax of the scores, so that they sum to 1; or, where {@code problem_type} is {@code
 * multi_label_classification} or there is only one label, each is 1 / (1 + e⁻ˣ). A regression is
 * refused. A text of more than {@link #maxTokens} is cut; of a pair, the longer one first.
 *
 * <p>Any number of threads may share it. Bits do not depend on the number of threads and, unless
 * the weights' format is {@link WeightFormat#VIEW}, not on the other texts. The weights live in an
 * arena of this object's: whoever loads it closes it, before the runtime or after. The runtime
 * stays the caller's. A call after {@link #close()} throws {@link IllegalStateException}, as does a
 * close during a call.
 */
public final class TextClassifier implements AutoCloseable {

  private static final String SINGLE = "single_label_classification";
  private static final String MULTIPLE = "multi_label_classification";

  /**
   * A label of a text.
   *
   * @param name as config.json has it
   * @param probability 0 .. 1
   */
  public record Label(String name, float probability) {}

  private final ClassifierModel model;
  private final boolean sigmoid;

  private TextClassifier(ClassifierModel model, boolean sigmoid) {
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
  public static TextClassifier load(GatunRuntime runtime, Path folder) throws IOException {
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
   * @throws IOException naming the file that is missing, unreadable, or not what it should be
   * @throws IllegalArgumentException if the weights are packed in another format
   * @throws GatunException if the library of the tokenizer is missing or, for VIEW, OpenBLAS, or
   *     memory
   */
  public static TextClassifier load(GatunRuntime runtime, Path folder, WeightFormat format)
      throws IOException {
    ClassifierModel model = ClassifierModel.load(runtime, folder, format);
    return model.make(
        checkpoint -> new TextClassifier(model, isSigmoid(model, checkpoint.config())));
  }

  /** As transformers' pipeline chooses. */
  private static boolean isSigmoid(ClassifierModel model, FamilyConfig config) {
    config.refuse("function_to_apply");
    return switch (config.text("problem_type", SINGLE)) {
      case SINGLE -> model.labels().size() == 1;
      case MULTIPLE -> true;
      default ->
          throw config.expected("problem_type", "\"%s\" or \"%s\"".formatted(SINGLE, MULTIPLE));
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

  /** {@return the names of the labels, in the order of the scores} */
  public List<String> labels() {
    return model.labels();
  }

  /**
   * {@return what texts are cut to, in tokens, those of the template included: what
   * sentence_bert_config.json, tokenizer_config.json or tokenizer.json says, and no more than the
   * model has positions}
   */
  public int maxTokens() {
    return model.maxTokens();
  }

  /**
   * Tokenizes a text as it is classified, cut to {@link #maxTokens}.
   *
   * @param text any text
   * @return its tokens, and whether it was cut
   */
  public Tokenized tokenize(String text) {
    return model.tokenize(Objects.requireNonNull(text, "text"), null);
  }

  /**
   * Tokenizes a pair as it is classified, cut to {@link #maxTokens}.
   *
   * @param first any text
   * @param second any text
   * @return its tokens, and whether one was cut
   * @throws IllegalArgumentException if tokenizer.json has no template for pairs
   */
  public Tokenized tokenize(String first, String second) {
    Objects.requireNonNull(first, "first");
    return model.tokenize(first, Objects.requireNonNull(second, "second"));
  }

  /**
   * Classifies a text.
   *
   * @param text any text
   * @return all labels, the most probable first; those of the same probability in their order
   */
  public List<Label> classify(String text) {
    return classified(List.of(tokenize(text))).getFirst();
  }

  /**
   * Classifies a pair of texts, such as a premise and a hypothesis.
   *
   * @param first any text
   * @param second any text
   * @return as of {@link #classify(String)}
   * @throws IllegalArgumentException if tokenizer.json has no template for pairs
   */
  public List<Label> classify(String first, String second) {
    return classified(List.of(tokenize(first, second))).getFirst();
  }

  /**
   * Classifies texts, in passes of a few thousand tokens.
   *
   * @param texts any texts
   * @return for each, in their order, what {@link #classify(String)} returns
   */
  public List<List<Label>> classifyAll(List<String> texts) {
    return classified(model.tokenizeAll("texts", null, texts));
  }

  private List<List<Label>> classified(List<Tokenized> texts) {
    List<List<Label>> all = new ArrayList<>();
    for (float[] scores : model.scores(texts)) {
      all.add(sorted(scores));
    }
    return all;
  }

  private List<Label> sorted(float[] scores) {
    double most = Double.NEGATIVE_INFINITY;
    for (float score : scores) {
      most = Math.max(most, score);
    }
    double sum = 0;
    for (float score : scores) {
      sum += Math.exp(score - most);
    }
    List<Label> labels = new ArrayList<>();
    for (int n = 0; n < scores.length; n++) {
      float probability =
          sigmoid ? ClassifierModel.sigmoid(scores[n]) : (float) (Math.exp(scores[n] - most) / sum);
      labels.add(new Label(model.labels().get(n), probability));
    }
    labels.sort(Comparator.comparing(Label::probability).reversed());
    return labels;
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
    return "TextClassifier(%s, %s)".formatted(model, sigmoid ? "sigmoid" : "softmax");
  }
}
