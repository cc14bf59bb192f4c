package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Gate;
import dev.gatun.nn.SequenceClassifier;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** Tokenizer, classifier and their memory: from texts and pairs to scores as they are computed. */
final class ClassifierModel {

  private static final String TOKENIZER = "tokenizer.json";

  private final Path folder;
  private final Arena arena;
  private final Gate gate;
  private final HeadDescription described;
  private final Checkpoint checkpoint;
  private final SequenceClassifier classifier;
  private final Tokenizer tokenizer;
  private final boolean readsTypes;
  private final List<String> labels;
  private final int maxTokens;

  private ClassifierModel(GatunRuntime runtime, Path folder, WeightFormat format, Arena arena)
      throws IOException {
    this.folder = folder;
    this.arena = arena;
    this.gate = new Gate("the model " + folder);
    this.described = HeadDescription.read(folder);
    this.checkpoint = Checkpoint.open(folder, runtime, arena, format);
    this.classifier = Families.classifier(checkpoint);
    this.labels = checkpoint.make(c -> ClassifierFiles.labels(c.config(), classifier.scores()));
    ModelTokenizer found = ModelTokenizer.load(folder, classifier.textEncoder());
    this.tokenizer = found.tokenizer();
    this.maxTokens = found.maxTokens();
    this.readsTypes = ClassifierFiles.readsTypes(checkpoint.config());
    requireTypes();
    ModelTokenizer.requireRoom(
        folder.toString(),
        () -> {
          tokenize("", null);
          if (readsPairs()) {
            tokenize("", "");
          }
        });
  }

  /** Otherwise every pair would fail. */
  private void requireTypes() throws FileSystemException {
    int rows = checkpoint.config().size("type_vocab_size", 2);
    if (readsTypes && tokenizer.template().pair() != null) {
      int highest = Arrays.stream(tokenizer.template().pair().typeIds()).max().orElse(0);
      if (highest >= rows) {
        throw refused(
            "expected type ids of 0 .. %d, type_vocab_size of config.json, got %d"
                .formatted(rows - 1, highest));
      }
    }
  }

  private FileSystemException refused(String reason) {
    return new FileSystemException(folder.resolve(TOKENIZER).toString(), null, reason);
  }

  static ClassifierModel load(GatunRuntime runtime, Path folder, WeightFormat format)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(folder, "folder");
    Objects.requireNonNull(format, "format");
    Arena arena = Arena.ofShared();
    try {
      return new ClassifierModel(runtime, folder, format, arena);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /** Has a model made of this one, which is closed if that fails. */
  <T> T make(Checkpoint.Maker<T> maker) throws IOException {
    try {
      return checkpoint.make(maker);
    } catch (Throwable e) {
      close();
      throw e;
    }
  }

  Path folder() {
    return folder;
  }

  SequenceClassifier classifier() {
    return classifier;
  }

  HeadDescription described() {
    return described;
  }

  List<String> labels() {
    return labels;
  }

  int maxTokens() {
    return maxTokens;
  }

  boolean readsPairs() {
    return tokenizer.template().pair() != null;
  }

  /** Tokenizes a text, or a pair of which the longer one is cut first. */
  Tokenized tokenize(String first, String second) {
    if (second == null) {
      return tokenizer.encode(first, maxTokens);
    }
    return readsPairs()
        ? tokenizer.encode(first, second, maxTokens, PairCutting.LONGEST_FIRST)
        : tokenizer.encode(first, second, maxTokens); // which says why not
  }

  /** Computes the scores of each text, in passes. */
  float[][] scores(List<Tokenized> texts) {
    float[][] scores = new float[texts.size()][];
    gate.enter();
    try {
      for (int first = 0; first < scores.length; ) {
        int end = TokenRows.passEnd(texts, first);
        pass(texts.subList(first, end), scores, first);
        first = end;
      }
    } finally {
      gate.leave();
    }
    return scores;
  }

  private void pass(List<Tokenized> texts, float[][] scores, int first) {
    try (Arena memory = Arena.ofConfined()) {
      TokenRows rows = TokenRows.of(memory, texts);
      int width = classifier.scores();
      Tensor out = Tensor.allocate(memory, DType.FLOAT32, texts.size(), width);
      classifier.forward(null, rows.ids(), readsTypes ? rows.typeIds() : null, rows.texts(), out);
      float[] all = out.toFloatArray();
      for (int n = 0; n < texts.size(); n++) {
        scores[first + n] = Arrays.copyOfRange(all, n * width, (n + 1) * width);
      }
    }
  }

  /** Tokenizes texts of a list that the caller may change meanwhile. */
  List<Tokenized> tokenizeAll(String name, String query, List<String> texts) {
    List<Tokenized> tokens = new ArrayList<>();
    for (String text : Objects.requireNonNull(texts, name).toArray(String[]::new)) {
      Objects.requireNonNull(text, name + "[" + tokens.size() + "]");
      tokens.add(query == null ? tokenize(text, null) : tokenize(query, text));
    }
    return tokens;
  }

  static float sigmoid(float score) {
    return (float) (1 / (1 + Math.exp(-score)));
  }

  void close() {
    gate.close(arena);
  }

  void close(Duration timeout) {
    gate.close(timeout, arena);
  }

  @Override
  public String toString() {
    return "%s, max %d tokens%s"
        .formatted(classifier, maxTokens, gate.isClosed() ? ", closed" : "");
  }
}
