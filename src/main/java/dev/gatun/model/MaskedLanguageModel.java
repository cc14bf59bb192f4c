package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Gate;
import dev.gatun.internal.Json;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * From a text with masks to the tokens that may stand there (Devlin et al., 2019): BERT, RoBERTa,
 * XLM-RoBERTa, CamemBERT, DistilBERT, ALBERT, ELECTRA's generators, Megatron-BERT, MPNet and
 * ModernBERT with the heads that they were trained with. {@link TokenScorer} is the part from ids
 * to scores.
 *
 * {@snippet :
 * try (GatunRuntime runtime = GatunRuntime.create();
 *     MaskedLanguageModel model =
 *         MaskedLanguageModel.load(runtime, Path.of("bert-base-uncased"))) {
 *   List<Fill> best = model.fill("The capital of France is [MASK].", 5).getFirst();
 * }
 * }
 *
 * <p>A model that was trained for search is asked for the weights of all tokens of its vocabulary
 * instead: {@link #splade}.
 *
 * <p>Any number of threads may share it. Scores are kept of a few tokens at a time, 8 MB, whatever
 * the length of the text. The weights live in an arena of this object's: whoever loads it closes
 * it, before the runtime or after. The runtime stays the caller's. A call after {@link #close()}
 * throws {@link IllegalStateException}, as does a close during a call.
 */
public final class MaskedLanguageModel implements AutoCloseable {

  /** Scores that are kept at a time, those of one token at least. */
  private static final int PASS_SCORES = 1 << 21;

  /** Where tokenizer_config.json does not say. */
  private static final List<String> MASKS = List.of("[MASK]", "<mask>");

  private final Path folder;
  private final Arena arena;
  private final Gate gate;
  private final TokenScorer scorer;
  private final Tokenizer tokenizer;
  private final int maxTokens;
  private final String mask;
  private final int maskId;
  private final Set<Integer> special;

  private MaskedLanguageModel(GatunRuntime runtime, Path path, WeightFormat format, Arena arena)
      throws IOException {
    this.folder = path;
    this.arena = arena;
    this.gate = new Gate("the model " + path);
    this.scorer = Families.masked(Checkpoint.open(path, runtime, arena, format));
    HeadDescription.requireSplade(path);
    ModelTokenizer found = ModelTokenizer.load(path, scorer.textEncoder());
    this.tokenizer = found.tokenizer();
    this.maxTokens = found.maxTokens();
    this.mask = mask(path, tokenizer);
    this.maskId = mask == null ? -1 : tokenizer.id(mask);
    if (maskId < 0) {
      throw new FileSystemException(
          path.resolve("tokenizer.json").toString(),
          null,
          "expected the mask %s, got no such token"
              .formatted(mask == null ? String.join(" or ", MASKS) : mask));
    }
    this.special = Set.copyOf(tokenizer.specialTokens().values());
  }

  /** What tokenizer_config.json names, or else the one that tokenizer.json declares. */
  private static String mask(Path folder, Tokenizer tokenizer) throws IOException {
    Path file = folder.resolve("tokenizer_config.json");
    if (Files.exists(file)) {
      String said =
          Descriptions.make(
              file,
              Json.read(file),
              json -> {
                Json token = json.find("mask_token");
                Json content = token.isObject() ? token.get("content") : token;
                return content.isNull() ? null : content.string();
              });
      if (said != null) {
        return said;
      }
    }
    return MASKS.stream().filter(tokenizer.specialTokens()::containsKey).findFirst().orElse(null);
  }

  /**
   * Loads a model, whose matrices keep the precision of the file.
   *
   * @param runtime where it runs
   * @param folder as of {@link #load(GatunRuntime, Path, WeightFormat)}
   * @return a model that the caller closes
   * @throws IOException as of {@link #load(GatunRuntime, Path, WeightFormat)}
   */
  public static MaskedLanguageModel load(GatunRuntime runtime, Path folder) throws IOException {
    return load(runtime, folder, WeightFormat.AUTO);
  }

  /**
   * Loads a model.
   *
   * @param runtime where it runs
   * @param folder in Hugging Face's layout (config.json, tokenizer.json, model.safetensors, whole
   *     or in shards, or packed by {@link ModelPacker}), with the head of masked language modeling
   * @param format of the matrices, the head's included
   * @return a model that the caller closes
   * @throws IOException naming the file that is missing, unreadable, or not what it should be, or
   *     the weight of the head that is missing
   * @throws IllegalArgumentException if the weights are packed in another format
   * @throws GatunException if the library of the tokenizer is missing or, for VIEW, OpenBLAS, or
   *     memory
   */
  public static MaskedLanguageModel load(GatunRuntime runtime, Path folder, WeightFormat format)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(folder, "folder");
    Objects.requireNonNull(format, "format");
    Arena arena = Arena.ofShared();
    try {
      return new MaskedLanguageModel(runtime, folder, format, arena);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /** {@return what the model was loaded from} */
  public Path folder() {
    return folder;
  }

  /** {@return the part from ids to scores; usable until this is closed} */
  public TokenScorer scorer() {
    return scorer;
  }

  /** {@return the token that stands for what is not known, such as {@code [MASK]}} */
  public String mask() {
    return mask;
  }

  /** {@return the longest text, in tokens, those of the template included} */
  public int maxTokens() {
    return maxTokens;
  }

  /**
   * Returns a token as the vocabulary has it.
   *
   * @param id of {@link SparseVector#ids}, for example
   * @return as of {@link Tokenizer#tokens}
   */
  public String token(int id) {
    return tokenizer.tokens(id).getFirst();
  }

  // ---- masks ---------------------------------------------------------------------------------

  /**
   * Finds the likeliest tokens for each mask of a text, each as if the others stayed masks.
   *
   * @param text with {@link #mask} once or more
   * @param k how many tokens, 1 .. the size of the vocabulary
   * @return for each mask, in the order of the text, k tokens, the likeliest first; of two that are
   *     as likely the one with the lower id
   * @throws IllegalArgumentException if the text has no mask, or more than {@link #maxTokens}, or k
   *     does not fit
   * @throws IllegalStateException if this or the runtime is closed, or scores are not finite
   */
  public List<List<Fill>> fill(String text, int k) {
    Objects.requireNonNull(text, "text");
    if (k < 1 || k > scorer.scores()) {
      throw new IllegalArgumentException(
          "k: expected 1 .. %d, the tokens of the vocabulary, got %d"
              .formatted(scorer.scores(), k));
    }
    Tokenized tokens = tokenizer.encode(text, maxTokens);
    if (tokens.truncated()) {
      throw new IllegalArgumentException(
          "text: expected at most %d tokens, got %d".formatted(maxTokens, tokens.originalCount()));
    }
    int[] ids = tokens.ids();
    int[] masks = IntStream.range(0, ids.length).filter(n -> ids[n] == maskId).toArray();
    if (masks.length == 0) {
      throw new IllegalArgumentException("text: expected the mask %s, got none".formatted(mask));
    }
    List<List<Fill>> fills = new ArrayList<>();
    score(ids, masks, passRows(), (n, scores) -> fills.add(best(scores, k, ids, masks[n])));
    return fills;
  }

  private List<Fill> best(float[] scores, int k, int[] ids, int place) {
    // The worst of the best comes first.
    Comparator<Integer> order =
        Comparator.<Integer>comparingDouble(id -> scores[id]).thenComparing(id -> -id);
    PriorityQueue<Integer> best = new PriorityQueue<>(k, order);
    double greatest = Double.NEGATIVE_INFINITY;
    for (int id = 0; id < scores.length; id++) {
      greatest = Math.max(greatest, scores[id]);
      if (best.size() < k) {
        best.add(id);
      } else if (scores[id] > scores[best.peek()]) {
        best.poll();
        best.add(id);
      }
    }
    double sum = 0;
    for (float score : scores) {
      sum += Math.exp(score - greatest);
    }
    List<Fill> fills = new ArrayList<>();
    while (!best.isEmpty()) {
      int id = best.poll();
      double probability = Math.exp(scores[id] - greatest) / sum;
      fills.add(new Fill(token(id), id, probability, filled(ids, place, id)));
    }
    return List.copyOf(fills.reversed());
  }

  private String filled(int[] ids, int place, int id) {
    int[] kept =
        IntStream.range(0, ids.length)
            .filter(n -> n == place || ids[n] == maskId || !special.contains(ids[n]))
            .map(n -> n == place ? id : ids[n])
            .toArray();
    return tokenizer.decode(kept, false);
  }

  // ---- weights of the vocabulary -------------------------------------------------------------

  /**
   * Computes the weights of the vocabulary's tokens for a text, as SPLADE does (Formal et al.,
   * 2021): for each the greatest {@code log(1 + max(0, score))} among the tokens of the text, those
   * of the template included. It is for models that were trained for it.
   *
   * @param text any text; cut to {@link #maxTokens}
   * @return the weights that are not 0
   * @throws IllegalStateException if this or the runtime is closed, or scores are not finite
   */
  public SparseVector splade(String text) {
    Objects.requireNonNull(text, "text");
    return splade(tokenizer.encode(text, maxTokens).ids(), passRows());
  }

  /** The same of tokens, with the scores of so many at a time. */
  SparseVector splade(int[] ids, int rows) {
    float[] greatest = new float[scorer.scores()];
    int[] all = IntStream.range(0, ids.length).toArray();
    score(
        ids,
        all,
        rows,
        (_, scores) -> {
          for (int id = 0; id < scores.length; id++) {
            greatest[id] = Math.max(greatest[id], scores[id]);
          }
        });
    float[] weights = new float[greatest.length];
    for (int id = 0; id < weights.length; id++) {
      weights[id] = (float) Math.log1p(greatest[id]);
    }
    int[] kept = IntStream.range(0, weights.length).filter(id -> weights[id] > 0).toArray();
    float[] elements = new float[kept.length];
    for (int n = 0; n < kept.length; n++) {
      elements[n] = weights[kept[n]];
    }
    return new SparseVector(kept, elements);
  }

  // ---- scores --------------------------------------------------------------------------------

  /** Takes the scores of one of the places; the array is used again. */
  @FunctionalInterface
  private interface Scores {
    void accept(int n, float[] scores);
  }

  private int passRows() {
    return Math.max(1, PASS_SCORES / scorer.scores());
  }

  /** Encodes a text once, and hands over the scores of places in it, so many of them in a pass. */
  private void score(int[] ids, int[] places, int most, Scores to) {
    TextEncoder encoder = scorer.textEncoder();
    int words = scorer.scores();
    gate.enter();
    try (Arena passing = Arena.ofConfined()) {
      Tensor hidden = Tensor.allocate(passing, DType.FLOAT32, ids.length, encoder.dim());
      encoder.forward(Tensor.copyOf(passing, ids, ids.length), hidden);
      int size = Math.min(most, places.length);
      Tensor rows = Tensor.allocate(passing, DType.FLOAT32, size, encoder.dim());
      Tensor scores = Tensor.allocate(passing, DType.FLOAT32, size, words);
      float[] each = new float[words];
      for (int from = 0; from < places.length; from += size) {
        int count = Math.min(size, places.length - from);
        for (int n = 0; n < count; n++) {
          rows.select(0, n).copyFrom(hidden.select(0, places[from + n]));
        }
        scorer.score(null, rows.slice(0, 0, count), scores.slice(0, 0, count));
        for (int n = 0; n < count; n++) {
          MemorySegment.copy(
              scores.segment(),
              ValueLayout.JAVA_FLOAT,
              (long) n * words * Float.BYTES,
              each,
              0,
              words);
          requireFinite(each);
          to.accept(from + n, each);
        }
      }
    } finally {
      gate.leave();
    }
  }

  private void requireFinite(float[] scores) {
    for (int id = 0; id < scores.length; id++) {
      if (!Float.isFinite(scores[id])) {
        throw new IllegalStateException(
            "%s: expected finite scores, got %f for token %d".formatted(folder, scores[id], id));
      }
    }
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
   * @throws IllegalArgumentException if the time is negative
   * @throws IllegalStateException if calls run still, or another thread is closing it
   */
  public void close(Duration timeout) {
    gate.close(timeout, arena);
  }

  /** Describes the model on one line. */
  @Override
  public String toString() {
    return "MaskedLanguageModel(%s, %s, max %d tokens%s)"
        .formatted(folder, scorer, maxTokens, gate.isClosed() ? ", closed" : "");
  }
}
