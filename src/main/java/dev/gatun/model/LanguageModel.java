package dev.gatun.model;

import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Gate;
import dev.gatun.internal.Json;
import dev.gatun.nn.BatchGenerator;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Sampling;
import dev.gatun.nn.Sequences;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;

/**
 * From text to the text that goes on: tokenizer, decoder and the loop that chooses tokens. {@link
 * DecoderOnlyModel} is the part from ids to scores.
 *
 * {@snippet :
 * try (GatunRuntime runtime = GatunRuntime.create();
 *     LanguageModel model = LanguageModel.load(runtime, Path.of("SmolLM2-135M"))) {
 *   System.out.println(model.generate("Once upon a time", GenerationOptions.of(100)).text());
 * }
 * }
 *
 * <p>A chat model's template is not applied: it is a program in Jinja, and the implementation for
 * the JVM that is kept up, Jinjava 2.8.4, comes with 27 other jars, 9.9 MB in all. A prompt is
 * taken as it is given, special tokens such as {@code <|im_start|>} included, so that a program can
 * write what its model expects.
 *
 * <p>Any number of threads may share it. A token costs no heap bytes in the decoder; its text is a
 * string. The weights live in an arena of this object's: whoever loads it closes it, before the
 * runtime or after. The runtime stays the caller's. A call after {@link #close()} throws {@link
 * IllegalStateException}, as does a close during a call, or while a {@link Session} is open.
 */
public final class LanguageModel implements AutoCloseable {

  /** Positions of a session that asks for none, if the model has so many. */
  private static final int SESSION_TOKENS = 2048;

  private final GatunRuntime runtime;
  private final Path folder;
  private final Arena arena;
  private final Gate gate;
  private final DecoderOnlyModel decoder;
  private final TextVocabulary vocabulary;
  private final List<Integer> endTokens;

  private LanguageModel(GatunRuntime runtime, Path path, WeightFormat format, Arena arena)
      throws IOException {
    this.runtime = runtime;
    this.folder = path;
    this.arena = arena;
    this.gate = new Gate("the model " + path);
    if (Llama2c.mayBe(path)) {
      Llama2c file = Llama2c.find(path);
      this.vocabulary = file.vocabularyFile();
      this.endTokens = List.of(Llama2cVocabulary.BEGIN, Llama2cVocabulary.END);
      this.decoder = file.load(runtime, arena, format);
    } else {
      Path config = path.resolve(Checkpoint.CONFIG);
      this.endTokens = tokens(path, config, "eos_token_id");
      List<Integer> begin = tokens(path, config, "bos_token_id");
      Checkpoint checkpoint = Checkpoint.open(path, runtime, arena, format);
      Families.requireDecoder(checkpoint);
      this.vocabulary =
          FileVocabulary.load(
              path.resolve("tokenizer.json"), begin.isEmpty() ? -1 : begin.getFirst());
      this.decoder = Families.decoder(checkpoint);
    }
    if (vocabulary.highestId() >= decoder.vocabulary()) {
      throw new FileSystemException(
          path.toString(),
          null,
          "tokenizer.json: expected token ids of 0 .. %d, the rows of the model's embeddings, got %d"
              .formatted(decoder.vocabulary() - 1, vocabulary.highestId()));
    }
  }

  /** What generation_config.json says, or else config.json. */
  private static List<Integer> tokens(Path folder, Path config, String key) throws IOException {
    Path generation = folder.resolve("generation_config.json");
    for (Path file : Files.exists(generation) ? List.of(generation, config) : List.of(config)) {
      try {
        List<Integer> found = FileVocabulary.numbers(Json.read(file), key);
        if (!found.isEmpty()) {
          return found;
        }
      } catch (IllegalArgumentException e) {
        throw Json.refused(file, e);
      }
    }
    return List.of();
  }

  /**
   * Loads a model, whose matrices keep the precision of the file.
   *
   * @param runtime where it runs
   * @param folder as of {@link #load(GatunRuntime, Path, WeightFormat)}
   * @return a model that the caller closes
   * @throws IOException as of {@link #load(GatunRuntime, Path, WeightFormat)}
   */
  public static LanguageModel load(GatunRuntime runtime, Path folder) throws IOException {
    return load(runtime, folder, WeightFormat.AUTO);
  }

  /**
   * Loads a model.
   *
   * @param runtime where it runs
   * @param folder in Hugging Face's layout (config.json, tokenizer.json, model.safetensors, whole
   *     or in shards, or packed by {@link ModelPacker}), or with a model and its vocabulary in
   *     llama2.c's first format, or that model's file
   * @param format of the matrices
   * @return a model that the caller closes
   * @throws IOException naming the file that is missing, unreadable, or not what it should be
   * @throws IllegalArgumentException if the weights are packed in another format
   * @throws GatunException if the library of the tokenizer is missing or, for VIEW, OpenBLAS, or
   *     memory
   */
  public static LanguageModel load(GatunRuntime runtime, Path folder, WeightFormat format)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(folder, "folder");
    Objects.requireNonNull(format, "format");
    Arena arena = Arena.ofShared();
    try {
      return new LanguageModel(runtime, folder, format, arena);
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
  public DecoderOnlyModel decoder() {
    return decoder;
  }

  /** {@return the tokens that end a text; none if the folder names none} */
  public List<Integer> endTokens() {
    return endTokens;
  }

  /**
   * Tokenizes a prompt as {@link #generate(String, GenerationOptions)} does.
   *
   * @param prompt any text
   * @return its tokens, that of the beginning included
   * @throws IllegalArgumentException if the model has fewer positions
   */
  public int[] tokenize(String prompt) {
    return encode(prompt, true, positions());
  }

  // ---- text to text --------------------------------------------------------------------------

  /**
   * Generates the best text of at most 256 tokens, or draws one.
   *
   * @param prompt as of {@link #generate(String, GenerationOptions, Predicate)}
   * @param sampling how tokens are chosen
   * @return the text that goes on, without the prompt
   */
  public String generate(String prompt, Sampling sampling) {
    return generate(prompt, GenerationOptions.of(256).withSampling(sampling)).text();
  }

  /**
   * Generates a text.
   *
   * @param prompt as of {@link #generate(String, GenerationOptions, Predicate)}
   * @param options how, and where it ends
   * @return the text that goes on, and why it ended
   */
  public Generation generate(String prompt, GenerationOptions options) {
    return generate(prompt, options, _ -> true);
  }

  /**
   * Generates a text, and hands over its pieces as they become certain: no half characters, and
   * nothing of a stop string.
   *
   * @param prompt any text; an empty one is the beginning of a text, where the model has a token
   *     for that
   * @param options how, and where it ends
   * @param sink gets each piece, which is not empty, and returns whether to go on; what it throws
   *     comes to the caller
   * @return the text that goes on, and why it ended
   * @throws IllegalArgumentException if the prompt has no tokens, or more than the model has
   *     positions
   * @throws IllegalStateException if this or the runtime is closed, or scores are not finite
   */
  public Generation generate(String prompt, GenerationOptions options, Predicate<String> sink) {
    Objects.requireNonNull(options, "options");
    int room = tokenize(prompt).length;
    try (Session session = newSession(capacity(room, options))) {
      return session.generate(prompt, options, sink);
    }
  }

  /**
   * Continues several prompts of any lengths in one loop, which reads the weights once for all of
   * them. Each gets the text that it gets alone, unless the format is {@link WeightFormat#VIEW};
   * one that has ended is not computed any more.
   *
   * @param prompts 1 or more, each as of {@link #generate(String, GenerationOptions, Predicate)}
   * @param options how, and where they end
   * @return a text for each, in the order given
   * @throws IllegalArgumentException if a prompt has no tokens, or more than the model has
   *     positions
   */
  public List<Generation> generate(List<String> prompts, GenerationOptions options) {
    Objects.requireNonNull(options, "options");
    List<String> own = List.copyOf(Objects.requireNonNull(prompts, "prompts"));
    if (own.isEmpty()) {
      return List.of();
    }
    long began = System.nanoTime();
    List<Turn> turns = new ArrayList<>();
    List<int[]> ids = new ArrayList<>();
    int[] ends = new int[own.size() + 1];
    int longest = 0;
    for (int n = 0; n < own.size(); n++) {
      int[] each = tokenize(own.get(n));
      ids.add(each);
      ends[n + 1] = Math.addExact(ends[n], each.length);
      longest = Math.max(longest, each.length);
      turns.add(new Turn(vocabulary, endTokens, options, _ -> true, each, began));
    }
    int[] all = new int[ends[own.size()]];
    for (int n = 0; n < own.size(); n++) {
      System.arraycopy(ids.get(n), 0, all, ends[n], ids.get(n).length);
    }
    gate.enter();
    try (Arena passing = Arena.ofConfined()) {
      DecoderState state = decoder.newState(passing, own.size(), capacity(longest, options));
      new BatchGenerator(decoder, state, null, passing)
          .generate(
              Tensor.copyOf(passing, all, all.length),
              Sequences.ragged(Tensor.copyOf(passing, ends, ends.length)),
              options.maxTokens(),
              options.sampling(),
              (sequence, token) -> turns.get(sequence).add(token));
    } finally {
      gate.leave();
    }
    return turns.stream().map(Turn::finish).toList();
  }

  /** Room for a prompt and what comes after it. */
  private int capacity(int prompt, GenerationOptions options) {
    return (int) Math.min((long) prompt + options.maxTokens(), positions());
  }

  // ---- sessions ------------------------------------------------------------------------------

  /**
   * Begins a conversation that remembers 2048 tokens, or as many as the model has positions.
   *
   * @return a session that the caller closes, before this
   */
  public Session newSession() {
    return newSession(Math.min(positions(), SESSION_TOKENS));
  }

  /**
   * Begins a conversation.
   *
   * @param capacity tokens that it remembers at most, prompts and texts together
   * @return a session that the caller closes, before this
   * @throws IllegalArgumentException if the model has fewer positions
   */
  public Session newSession(int capacity) {
    if (capacity < 1 || capacity > positions()) {
      throw new IllegalArgumentException(
          "capacity: expected 1 .. %d, the model's positions, got %d"
              .formatted(positions(), capacity));
    }
    gate.enter();
    try {
      return new Session(this, capacity);
    } catch (Throwable e) {
      gate.leave();
      throw e;
    }
  }

  /** A session that {@link #newSession} began is closed. */
  void leave() {
    gate.leave();
  }

  int positions() {
    return decoder.positions();
  }

  int[] encode(String prompt, boolean first, int most) {
    Objects.requireNonNull(prompt, "prompt");
    int[] ids = vocabulary.encode(prompt, first, most);
    if (ids.length == 0) {
      throw new IllegalArgumentException("prompt: expected 1 token or more, got none");
    }
    return ids;
  }

  Turn newTurn(GenerationOptions options, Predicate<String> sink, int[] prompt, long began) {
    return new Turn(vocabulary, endTokens, options, sink, prompt, began);
  }

  // ---- lifetime ------------------------------------------------------------------------------

  /**
   * Frees the weights. Closing a closed model does nothing.
   *
   * @throws IllegalStateException if a call is running, a session is open, or another thread is
   *     closing it
   */
  @Override
  public void close() {
    gate.close(Duration.ZERO, arena); // an open session counts as a call
  }

  /**
   * Frees the weights as {@link #close()} does: from now on new calls throw {@link
   * IllegalStateException}, and those that run and sessions are waited for. If they take longer
   * than the time, or if this thread is interrupted, the model is open again.
   *
   * @param timeout how long to wait at most, 0 or more
   * @throws IllegalStateException if calls are still running then, or another thread is closing it
   */
  public void close(Duration timeout) {
    gate.close(timeout, arena);
  }

  /** {@return the folder, and where it runs} */
  @Override
  public String toString() {
    return "LanguageModel[%s, %s]".formatted(folder, runtime);
  }
}
