package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.FreshThread;
import dev.gatun.internal.Gate;
import dev.gatun.nn.AttentionListener;
import dev.gatun.nn.SentenceEncoder;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerLayer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;

/**
 * From text to a vector: tokenizer, encoder, pooling and what follows it, as the authors of a model
 * do it. Most divide by the L2 norm at the end ({@link EmbeddingModelSpec#isNormalized} tells), so
 * that the cosine of two texts is the dot product of their vectors.
 *
 * {@snippet :
 * try (GatunRuntime runtime = GatunRuntime.create();
 *     TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM)) {
 *   float[] vector = model.embed("The cat sits on the mat.");
 * }
 * }
 *
 * <h2>Long texts</h2>
 *
 * <p>A text of more than {@link #maxTokens} is cut, and {@link Tokenized#truncated} of what {@link
 * #tokenize(String)} returns says so. {@link #embedAll(List, EmbeddingOptions)} tells it beside the
 * vectors, and refuses such texts or reads them in parts if that is asked for.
 *
 * <h2>Prompts</h2>
 *
 * <p>Many models were trained with a prompt before texts, as e5 with {@code "query: "} before what
 * is searched for and {@code "passage: "} before what is found, and are worse without: {@link
 * #embedQuery} and {@link #embedPassage} put {@link EmbeddingModelSpec#queryPrefix} and {@link
 * EmbeddingModelSpec#passagePrefix} there, which are empty for models that want none. All other
 * methods that take text put {@link EmbeddingModelSpec#defaultPrompt} there, which few models have.
 *
 * <h2>Memory and threads</h2>
 *
 * <p>Any number of threads may share it, each call with a workspace of its own or a borrowed one.
 * From ids to vector nothing is allocated once the workspace has seen the longest batch; tokenizing
 * allocates on the Java heap. Bits do not depend on the number of threads and, unless the weights'
 * format is {@link WeightFormat#VIEW}, not on what else is in the batch.
 *
 * <p>The weights live in an arena of this object's: whoever loads it closes it, before the runtime
 * or after. The runtime stays the caller's. A call after {@link #close()} throws {@link
 * IllegalStateException}, as does a close during a call; {@link #close(Duration)} refuses new calls
 * and waits for those that run.
 */
public final class TextEmbedder implements AutoCloseable {

  private final GatunRuntime runtime;
  private final EmbeddingModelSpec spec;
  private final Arena arena;
  private final Gate gate;
  private final SentenceEncoder encoder;
  private final Tokenizer tokenizer;
  private final int maxTokens;

  /** Of the model's own prompt, if they are left out when tokens are pooled. */
  private final int defaultPromptTokens;

  private TextEmbedder(
      GatunRuntime runtime,
      EmbeddingModelSpec spec,
      WeightFormat format,
      FreshThread.Task<Tokenizer> tokenizing,
      Arena arena)
      throws IOException {
    this.runtime = runtime;
    this.spec = spec;
    this.arena = arena;
    this.gate = new Gate("the model " + spec.name());
    ModelFolder described = spec.described();
    TextEncoder text = spec.encoder(runtime, arena, format);
    this.tokenizer = loaded(tokenizing);
    ModelTokenizer.requireIds(tokenizer, spec.tokenizerName(), text.embedding().vocabulary());
    this.encoder = VectorHead.load(text, described, arena, format);
    this.maxTokens = ModelTokenizer.maxTokens(tokenizer, described.tokenizer(), positions());
    ModelTokenizer.requireRoom(spec.name(), () -> tokenizer.encode("", maxTokens));
    this.defaultPromptTokens = promptTokens(spec.defaultPrompt());
  }

  /**
   * Loads a model. This takes about half a second for each 100 MB that are compressed in a jar.
   *
   * @param runtime where it runs
   * @param spec which model
   * @return a model that the caller closes
   * @throws IOException if a file is missing, unreadable, or not what it should be
   * @throws GatunException if the library of the tokenizer is missing, or memory
   */
  public static TextEmbedder load(GatunRuntime runtime, EmbeddingModelSpec spec)
      throws IOException {
    return load(runtime, spec, WeightFormat.AUTO);
  }

  /**
   * Loads a model with weights in a format: BF16 or INT8 for more speed at a known loss, which the
   * documentation tells.
   *
   * @param runtime where it runs
   * @param spec which model
   * @param format of the encoder's matrices; AUTO keeps the precision of the file, and is what
   *     {@link #load(GatunRuntime, EmbeddingModelSpec)} takes
   * @return a model that the caller closes
   * @throws IOException if a file is missing, unreadable, or not what it should be
   * @throws IllegalArgumentException if the file has integers, or packed weights, and the format is
   *     another
   * @throws GatunException if the library of the tokenizer is missing or, for VIEW, OpenBLAS, or
   *     memory
   */
  public static TextEmbedder load(
      GatunRuntime runtime, EmbeddingModelSpec spec, WeightFormat format) throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(format, "format");
    // The tokenizer takes as long as the weights.
    FreshThread.Task<Tokenizer> tokenizer =
        FreshThread.start("gatun-tokenizer", new LoadingTokenizer(spec));
    Arena arena = Arena.ofShared();
    try {
      return new TextEmbedder(runtime, spec, format, tokenizer, arena);
    } catch (Throwable e) {
      arena.close();
      loaded(tokenizer); // whose own failure is told first
      throw e;
    }
  }

  private record LoadingTokenizer(EmbeddingModelSpec spec) implements Supplier<Tokenizer> {
    @Override
    public Tokenizer get() {
      try {
        return spec.loadTokenizer();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static Tokenizer loaded(FreshThread.Task<Tokenizer> tokenizer) throws IOException {
    try {
      return tokenizer.result();
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /**
   * Writes a model with packed weights into a folder of its own, as {@link ModelPacker} does: with
   * tokenizer.json, and what the model's folder says about pooling and lengths. It is loaded by
   * {@link EmbeddingModelSpec#folder}.
   *
   * @param runtime whose threads pack
   * @param spec which model
   * @param format of its matrices; not VIEW
   * @param folder does not exist yet, or is empty
   * @throws IOException if something cannot be read or written, or the folder is not empty; then
   *     nothing is in its place
   * @throws IllegalArgumentException if the format does not fit the model
   */
  public static void pack(
      GatunRuntime runtime, EmbeddingModelSpec spec, WeightFormat format, Path folder)
      throws IOException {
    Objects.requireNonNull(spec, "spec");
    ModelPacker.pack(runtime, spec, format, folder);
  }

  /** {@return what the model was loaded from} */
  public EmbeddingModelSpec spec() {
    return spec;
  }

  /** {@return the part from ids to vectors; usable until this is closed} */
  public SentenceEncoder encoder() {
    return encoder;
  }

  /** {@return the size of a vector, elements} */
  public int dimension() {
    return encoder.dimension();
  }

  /**
   * {@return what texts are cut to, in tokens, those of the template ({@code [CLS]}, {@code [SEP]})
   * included: what a folder's sentence_bert_config.json or tokenizer_config.json says, else
   * tokenizer.json, or 512 where none says anything; and no more than the model has positions}
   */
  public int maxTokens() {
    return maxTokens;
  }

  // ---- text to ids ---------------------------------------------------------------------------

  /**
   * Tokenizes a text behind the model's default prompt, cut to {@link #maxTokens}.
   *
   * @param text any text
   * @return its tokens, and whether it was cut
   * @throws IllegalArgumentException as of {@link Tokenizer#encode(String, int)}
   */
  public Tokenized tokenize(String text) {
    return tokenize(text, maxTokens);
  }

  /**
   * Tokenizes a text behind the model's default prompt.
   *
   * @param text any text
   * @param maxTokens what to cut it to, up to the model's positions whatever tokenizer.json says
   * @return its tokens, and whether it was cut
   * @throws IllegalArgumentException if maxTokens is greater, or leaves no room for the template
   */
  public Tokenized tokenize(String text, int maxTokens) {
    return tokenize(spec.defaultPrompt(), text, maxTokens);
  }

  /** Tokenizes a text behind a prompt. */
  Tokenized tokenize(String prompt, String text, int maxTokens) {
    Objects.requireNonNull(text, "text");
    int positions = positions();
    if (maxTokens > positions) {
      throw new IllegalArgumentException(
          "maxTokens: expected at most %d, the positions of %s, got %d"
              .formatted(positions, spec, maxTokens));
    }
    return tokenizer.encode(prompt + text, maxTokens);
  }

  /**
   * How many tokens at the beginning of a text are left out when it is pooled: as
   * sentence-transformers counts them, those of the prompt as a text without the last, special one.
   */
  int promptTokens(String prompt) {
    if (prompt.isEmpty() || spec.described().pooling().includePrompt()) {
      return 0;
    }
    int last = Math.min(tokenizer.template().after().length, 1);
    return tokenizer.encode(prompt, Integer.MAX_VALUE).count() - last;
  }

  // ---- ids to vectors ------------------------------------------------------------------------

  /**
   * Embeds texts whose ids lie in native memory, the default prompt's among them. Warm calls
   * allocate nothing on either side.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [tokens]} or {@code [texts, seq]} INT32
   * @param texts how they are divided, or null: all of one length. A text without tokens is pooled
   *     to zeros
   * @param out receives {@code [texts, dimension]}
   * @throws IllegalArgumentException naming the argument, the expected and the actual value;
   *     nothing was written
   * @throws IllegalStateException if this, an arena, the workspace or the runtime is closed, or the
   *     workspace is in use
   */
  public void embed(Workspace workspace, Tensor ids, Sequences texts, Tensor out) {
    gate.enter();
    try {
      encoder.forward(workspace, ids, texts, defaultPromptTokens, out);
    } finally {
      gate.leave();
    }
  }

  /**
   * Embeds texts of any lengths, in passes of a few thousand tokens.
   *
   * @param texts what {@link #tokenize(String)} returned
   * @param out receives {@code [texts, dimension]}
   * @throws IllegalArgumentException if out does not fit, or the ids are not this model's. Texts of
   *     earlier passes may have been written
   */
  public void embed(List<Tokenized> texts, Tensor out) {
    Objects.requireNonNull(texts, "texts");
    // The caller's list may change meanwhile, and answer differently when it is asked again.
    Tokenized[] own = texts.toArray(Tokenized[]::new).clone();
    embed(
        Arrays.stream(own).map(text -> text == null ? null : text.ids()).toList(),
        defaultPromptTokens,
        out);
  }

  /** Embeds texts that begin with so many tokens which are not pooled. */
  void embed(List<int[]> ids, int promptTokens, Tensor out) {
    gate.enter();
    try {
      encoder.forward(ids, promptTokens, out);
    } finally {
      gate.leave();
    }
  }

  /**
   * Embeds one text behind the model's default prompt, cut to {@link #maxTokens}: the convenient
   * way, with an array on the Java heap.
   *
   * @param text any text
   * @return its vector
   */
  public float[] embed(String text) {
    return embed(spec.defaultPrompt(), text);
  }

  /**
   * Embeds what is searched for, behind {@link EmbeddingModelSpec#queryPrefix}.
   *
   * @param text any text
   * @return its vector
   */
  public float[] embedQuery(String text) {
    return embed(spec.queryPrefix(), text);
  }

  /**
   * Embeds what is found, behind {@link EmbeddingModelSpec#passagePrefix}.
   *
   * @param text any text
   * @return its vector
   */
  public float[] embedPassage(String text) {
    return embed(spec.passagePrefix(), text);
  }

  private float[] embed(String prompt, String text) {
    int[] ids = tokenize(prompt, text, maxTokens).ids();
    int skipped = promptTokens(prompt);
    gate.enter();
    try {
      return encoder.forward(ids, skipped);
    } finally {
      gate.leave();
    }
  }

  // ---- many texts ----------------------------------------------------------------------------

  /**
   * Embeds any number of texts, each as {@link #embed(String)} does, those of about one length
   * together.
   *
   * @param texts any texts
   * @return their vectors, in the order of the texts
   */
  public float[][] embedAll(List<String> texts) {
    return embedAll(texts, new EmbeddingOptions()).vectors();
  }

  /**
   * Embeds what is searched for, each text as {@link #embedQuery} does.
   *
   * @param texts any texts
   * @return their vectors, in the order of the texts
   */
  public float[][] embedQueries(List<String> texts) {
    return embedAll(texts, new EmbeddingOptions().prompt(spec.queryPrefix())).vectors();
  }

  /**
   * Embeds what is found, each text as {@link #embedPassage} does.
   *
   * @param texts any texts
   * @return their vectors, in the order of the texts
   */
  public float[][] embedPassages(List<String> texts) {
    return embedAll(texts, new EmbeddingOptions().prompt(spec.passagePrefix())).vectors();
  }

  /**
   * Embeds any number of texts in a way that options describe.
   *
   * @param texts any texts
   * @param options prompt, long texts, size of the vectors, progress
   * @return their vectors, and how much of each text was read, in the order of the texts
   * @throws IllegalArgumentException if options do not fit the model, or a text is refused; it
   *     names the text, and nothing was computed
   */
  public Embeddings embedAll(List<String> texts, EmbeddingOptions options) {
    String[] own = copy(texts);
    float[][] vectors = new float[own.length][];
    List<TextTokens> read =
        TextBatch.embed(this, tokenizer, options, own, (n, vector) -> vectors[n] = vector);
    return new Embeddings(vectors, read);
  }

  /**
   * Embeds any number of texts into a tensor.
   *
   * @param texts any texts
   * @param options prompt, long texts, size of the vectors, progress
   * @param out {@code [texts, dimensions]} float32, each row without gaps; shares no memory with
   *     weights
   * @return how much of each text was read, in the order of the texts
   * @throws IllegalArgumentException if out or options do not fit, or a text is refused; it names
   *     the text, and nothing was written
   */
  public List<TextTokens> embedAll(List<String> texts, EmbeddingOptions options, Tensor out) {
    String[] own = copy(texts);
    TextBatch.requireOutput(out, own.length, TextBatch.dimensions(this, options));
    return TextBatch.embed(
        this, tokenizer, options, own, (n, vector) -> TextBatch.write(vector, out, n));
  }

  /** The caller's list may change meanwhile, and answer differently when it is asked again. */
  private static String[] copy(List<String> texts) {
    String[] own = texts.toArray(String[]::new).clone();
    for (int n = 0; n < own.length; n++) {
      Objects.requireNonNull(own[n], "texts[" + n + "]");
    }
    return own;
  }

  // ---- attention -----------------------------------------------------------------------------

  /**
   * Computes what the tokens of a text, cut to {@link #maxTokens}, attend to in each layer and
   * head: for looking at, and nothing that embedding needs.
   *
   * @param text any text
   * @param arena where the weights will be; the caller's
   * @return tokens and weights
   * @throws IllegalArgumentException as of {@link Tokenizer#encode(String, int)}
   * @throws IllegalStateException if this, the arena or the runtime is closed
   * @throws WrongThreadException if the arena is confined to another thread
   * @throws GatunException if there is no memory: it takes 4 bytes for each layer, head, and pair
   *     of tokens
   */
  public TextAttention attention(String text, Arena arena) {
    return attention(tokenize(text), arena);
  }

  /**
   * Computes what the tokens of a text attend to.
   *
   * @param text what {@link #tokenize(String, int)} returned
   * @param arena as of {@link #attention(String, Arena)}
   * @return tokens and weights
   * @throws IllegalArgumentException if the ids are not this model's, or too many
   */
  public TextAttention attention(Tokenized text, Arena arena) {
    Objects.requireNonNull(text, "text");
    Objects.requireNonNull(arena, "arena");
    List<TransformerLayer> layers = encoder.textEncoder().layers();
    int heads = layers.getFirst().selfAttention().heads();
    long count = text.count();
    Tensor weights = Tensor.allocate(arena, DType.FLOAT32, layers.size(), heads, count, count);
    attention(
        text,
        (layer, spec, q, k) ->
            runtime
                .attention(spec)
                .map(
                    q.reshape(1, q.size(0), q.size(1), q.size(2)),
                    k.reshape(1, k.size(0), k.size(1), k.size(2)),
                    weights.slice(0, layer, layer + 1)));
    return new TextAttention(text, tokens(text), weights);
  }

  /**
   * Runs the encoder on a text before a listener.
   *
   * @param text what {@link #tokenize(String, int)} returned
   * @param listener called for each layer; not at all if there are no tokens
   * @throws IllegalArgumentException if the ids are not this model's, or too many
   * @throws IllegalStateException if this or the runtime is closed
   */
  public void attention(Tokenized text, AttentionListener listener) {
    int[] ids = text.ids().clone();
    Objects.requireNonNull(listener, "listener");
    TextEncoder layers = encoder.textEncoder();
    gate.enter();
    // A workspace of its own, not one that is lent: the listener may borrow one while it is in use.
    try (Workspace own = runtime.newWorkspace();
        Arena passing = Arena.ofConfined()) {
      layers.forward(
          own,
          Tensor.copyOf(passing, ids, ids.length),
          null,
          Tensor.allocate(passing, DType.FLOAT32, ids.length, layers.dim()),
          listener);
    } finally {
      gate.leave();
    }
  }

  /**
   * Returns the tokens of a text as the vocabulary has them.
   *
   * @param text what {@link #tokenize(String)} returned
   * @return as of {@link Tokenizer#tokens}
   */
  public List<String> tokens(Tokenized text) {
    return tokenizer.tokens(text.ids());
  }

  /** What the model has positions for, whatever texts are cut to. */
  private int positions() {
    return encoder.textEncoder().positions();
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
   * Frees the weights as {@link #close()} does, under traffic: from now on new calls throw {@link
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
    return "TextEmbedder(%s, %s, max %d tokens%s)"
        .formatted(spec, encoder, maxTokens, gate.isClosed() ? ", closed" : "");
  }
}
