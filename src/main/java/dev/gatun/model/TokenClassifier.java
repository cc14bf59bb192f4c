package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Gate;
import dev.gatun.nn.TokenScorer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * From a text to the names, places and dates in it: a label for each token, and tokens of one label
 * put together.
 *
 * {@snippet :
 * try (TokenClassifier model = TokenClassifier.load(runtime, Path.of("bert-base-NER"))) {
 *   for (Entity entity : model.entities("Ada Lovelace lived in London.")) {
 *     System.out.println(entity.label() + " " + entity.text());
 *   }
 * }
 * }
 *
 * <p>Read from a folder in Hugging Face's layout: BERT, DistilBERT, RoBERTa, XLM-RoBERTa,
 * CamemBERT, ALBERT, ELECTRA, Megatron-BERT, MPNet and ModernBERT with the head of token
 * classification. Labels are those of config.json's {@code id2label}; {@code O} means none. A label
 * that begins with {@code B-} begins an entity, and one with {@code I-}, or with neither, goes on
 * with one of the same name: what transformers' pipeline calls the simple strategy. A text of more
 * than {@link #maxTokens} is cut, and has no entities where it was.
 *
 * <p>Any number of threads may share it. Bits do not depend on the number of threads and, unless
 * the weights' format is {@link WeightFormat#VIEW}, not on the other texts. The weights live in an
 * arena of this object's: whoever loads it closes it, before the runtime or after. The runtime
 * stays the caller's. A call after {@link #close()} throws {@link IllegalStateException}, as does a
 * close during a call.
 */
public final class TokenClassifier implements AutoCloseable {

  private static final String NONE = "O";

  private final Path folder;
  private final Arena arena;
  private final Gate gate;
  private final TokenScorer scorer;
  private final List<String> labels;
  private final Tokenizer tokenizer;
  private final int maxTokens;

  private TokenClassifier(GatunRuntime runtime, Path path, WeightFormat format, Arena arena)
      throws IOException {
    this.folder = path;
    this.arena = arena;
    this.gate = new Gate("the model " + path);
    HeadDescription.read(path);
    Checkpoint checkpoint = Checkpoint.open(path, runtime, arena, format);
    this.scorer = Families.tokenClassifier(checkpoint);
    this.labels = checkpoint.make(c -> ClassifierFiles.labels(c.config(), scorer.scores()));
    ModelTokenizer found = ModelTokenizer.load(path, scorer.textEncoder());
    this.tokenizer = found.tokenizer();
    this.maxTokens = found.maxTokens();
    ModelTokenizer.requireRoom(path.toString(), () -> tokenizer.encode("", maxTokens));
  }

  /**
   * Loads a model, whose matrices keep the precision of the file.
   *
   * @param runtime where it runs
   * @param folder as of {@link #load(GatunRuntime, Path, WeightFormat)}
   * @return a model that the caller closes
   * @throws IOException as of {@link #load(GatunRuntime, Path, WeightFormat)}
   */
  public static TokenClassifier load(GatunRuntime runtime, Path folder) throws IOException {
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
  public static TokenClassifier load(GatunRuntime runtime, Path folder, WeightFormat format)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(folder, "folder");
    Objects.requireNonNull(format, "format");
    Arena arena = Arena.ofShared();
    try {
      return new TokenClassifier(runtime, folder, format, arena);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /** {@return what the model was loaded from} */
  public Path folder() {
    return folder;
  }

  /** {@return the part from ids to scores as they are computed; usable until this is closed} */
  public TokenScorer scorer() {
    return scorer;
  }

  /** {@return the names of the scores, in their order} */
  public List<String> labels() {
    return labels;
  }

  /** {@return what texts are cut to, in tokens, those of the template included} */
  public int maxTokens() {
    return maxTokens;
  }

  /**
   * Tokenizes a text as it is classified, cut to {@link #maxTokens}.
   *
   * @param text any text
   * @return its tokens and their places, and whether it was cut
   */
  public TokenSpans tokenize(String text) {
    return tokenizer.encodeWithOffsets(Objects.requireNonNull(text, "text"), maxTokens);
  }

  // ---- entities ------------------------------------------------------------------------------

  /**
   * Finds the entities of a text.
   *
   * @param text any text
   * @return in the order of the text
   * @throws IllegalStateException if this or the runtime is closed, or scores are not finite
   */
  public List<Entity> entities(String text) {
    return entities(List.of(text)).getFirst();
  }

  /**
   * Finds the entities of texts, in passes of a few thousand tokens.
   *
   * @param texts any texts
   * @return for each those that {@link #entities(String)} returns
   * @throws IllegalStateException if this or the runtime is closed, or scores are not finite
   */
  public List<List<Entity>> entities(List<String> texts) {
    return classify(texts, true);
  }

  /**
   * Labels the tokens of a text.
   *
   * @param text any text
   * @return an entity for each token that is none of the template's and whose likeliest label is
   *     not {@code O}, with the label as config.json has it, {@code B-} and {@code I-} included
   * @throws IllegalStateException if this or the runtime is closed, or scores are not finite
   */
  public List<Entity> tokenEntities(String text) {
    return classify(List.of(text), false).getFirst();
  }

  private List<List<Entity>> classify(List<String> texts, boolean together) {
    String[] own = Objects.requireNonNull(texts, "texts").toArray(String[]::new);
    List<TokenSpans> spans = new ArrayList<>();
    for (String text : own) {
      spans.add(tokenize(Objects.requireNonNull(text, "texts[%d]".formatted(spans.size()))));
    }
    List<List<Entity>> all = new ArrayList<>();
    List<Tokenized> tokens = spans.stream().map(TokenSpans::tokens).toList();
    for (int first = 0; first < own.length; ) {
      int end = TokenRows.passEnd(tokens, first);
      float[] scores = scores(tokens.subList(first, end));
      int row = 0;
      for (int n = first; n < end; n++) {
        List<Entity> labeled = labeled(own[n], spans.get(n), scores, row);
        all.add(together ? together(own[n], labeled) : labeled.stream().filter(this::is).toList());
        row += spans.get(n).count();
      }
      first = end;
    }
    return all;
  }

  private boolean is(Entity entity) {
    return !entity.label().equals(NONE);
  }

  private float[] scores(List<Tokenized> texts) {
    if (texts.stream().allMatch(text -> text.count() == 0)) {
      return new float[0];
    }
    gate.enter();
    try (Arena passing = Arena.ofConfined()) {
      TokenRows rows = TokenRows.of(passing, texts);
      Tensor out = Tensor.allocate(passing, DType.FLOAT32, rows.ids().size(0), scorer.scores());
      scorer.forward(null, rows.ids(), null, rows.texts(), out);
      return out.toFloatArray();
    } finally {
      gate.leave();
    }
  }

  /** The likeliest label of each token that stands in the text. */
  private List<Entity> labeled(String text, TokenSpans spans, float[] scores, int row) {
    int width = labels.size();
    List<Entity> labeled = new ArrayList<>();
    for (int n = 0; n < spans.count(); n++) {
      int begin = spans.begins()[n];
      if (begin < 0) {
        continue;
      }
      int from = (row + n) * width;
      int best = 0;
      for (int i = 0; i < width; i++) {
        if (!Float.isFinite(scores[from + i])) {
          throw new IllegalStateException(
              "expected finite scores, got %s for %s".formatted(scores[from + i], labels.get(i)));
        }
        best = scores[from + i] > scores[from + best] ? i : best;
      }
      double sum = 0;
      for (int i = 0; i < width; i++) {
        sum += Math.exp(scores[from + i] - scores[from + best]);
      }
      int end = spans.ends()[n];
      labeled.add(
          new Entity(labels.get(best), (float) (1 / sum), text.substring(begin, end), begin, end));
    }
    return labeled;
  }

  /** Tokens of one name that follow one another, until one begins anew; those of none left out. */
  static List<Entity> together(String text, List<Entity> tokens) {
    List<Entity> entities = new ArrayList<>();
    for (int first = 0; first < tokens.size(); ) {
      String name = name(tokens.get(first));
      double sum = tokens.get(first).score();
      int end = first + 1;
      while (end < tokens.size()
          && name(tokens.get(end)).equals(name)
          && !tokens.get(end).label().startsWith("B-")) {
        sum += tokens.get(end++).score();
      }
      if (!name.equals(NONE)) {
        int begin = tokens.get(first).begin();
        int last = tokens.get(end - 1).end();
        float score = (float) (sum / (end - first));
        entities.add(new Entity(name, score, text.substring(begin, last), begin, last));
      }
      first = end;
    }
    return List.copyOf(entities);
  }

  private static String name(Entity token) {
    String label = token.label();
    return label.startsWith("B-") || label.startsWith("I-") ? label.substring(2) : label;
  }

  // ---- lifetime ------------------------------------------------------------------------------

  /**
   * Frees the weights. Closing a closed model does nothing.
   *
   * @throws IllegalStateException if a call is running, or another thread is closing it
   */
  @Override
  public void close() {
    gate.close(arena);
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
    gate.close(timeout, arena);
  }

  /** Describes the model on one line. */
  @Override
  public String toString() {
    return "TokenClassifier(%s, max %d tokens%s)"
        .formatted(scorer, maxTokens, gate.isClosed() ? ", closed" : "");
  }
}
