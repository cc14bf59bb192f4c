package dev.gatun.model;

import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.Gate;
import dev.gatun.internal.ModelEvent;
import dev.gatun.io.OnnxFile;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.FileSystemException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * From text to a vector: tokeniser, encoder, pooling and what follows it, as the authors of a model
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
 * #tokenize(String)} returns says so. Ask it before embedding, as {@link #embed(String)} cannot
 * tell.
 *
 * <h2>Prefixes</h2>
 *
 * <p>Texts are embedded as they are given. e5 models were trained with {@code "query: "} before
 * what is searched for and {@code "passage: "} before what is found, and are worse without: put
 * {@link EmbeddingModelSpec#queryPrefix} and {@link EmbeddingModelSpec#passagePrefix} there, which
 * are empty for models that want none.
 *
 * <h2>Memory and threads</h2>
 *
 * <p>Any number of threads may share it, each call with a workspace of its own or lent. From ids to
 * vector nothing is allocated once the workspace has seen the longest batch; tokenising allocates
 * on the Java heap. Bits do not depend on the number of threads. A vector's last places may depend
 * on what else is in the batch, whose size decides how OpenBLAS cuts its products.
 *
 * <p>The weights live in an arena of this object's: whoever loads it closes it, before the runtime
 * or after. The runtime stays the caller's. A call after {@link #close()} throws {@link
 * IllegalStateException}, as does a close during a call; {@link #close(Duration)} refuses new calls
 * and waits for those that run.
 */
public final class TextEmbedder implements AutoCloseable {

  /** What one pass takes of a list of texts: enough for many threads, and bounded memory. */
  static final int PASS_TOKENS = 4096;

  private final GatunRuntime runtime;
  private final EmbeddingModelSpec spec;
  private final Arena arena;
  private final Gate gate;
  private final BertEncoder encoder;
  private final VectorHead head;
  private final Tokenizer tokenizer;
  private final int maxTokens;

  private TextEmbedder(
      GatunRuntime runtime, EmbeddingModelSpec spec, Tokenizer tokenizer, Arena arena)
      throws IOException {
    this.runtime = runtime;
    this.spec = spec;
    this.tokenizer = tokenizer;
    this.arena = arena;
    this.gate = new Gate("the model " + spec.name());
    ModelFolder described = spec.described();
    try (Arena reading = Arena.ofConfined()) {
      OnnxFile file = spec.openModel(reading);
      BertWeights weights = BertWeights.from(file, reading, described.config());
      TokenIds.requireWithin(spec, weights.config().vocabulary());
      this.encoder = new BertEncoder(runtime, weights, arena);
    }
    this.head = new VectorHead(spec.name(), described, encoder.config().hidden(), arena);
    int length = described.maxTokens() < 0 ? tokenizer.maxTokens() : described.maxTokens();
    this.maxTokens = Math.min(length, encoder.config().positions());
    try {
      tokenizer.encode("", maxTokens);
    } catch (IllegalArgumentException e) {
      throw new FileSystemException(
          spec.name(), null, "max_seq_length or positions: " + e.getMessage());
    }
  }

  /**
   * Loads a model. This takes about half a second for each 100 MB that are compressed in a jar.
   *
   * @param runtime where it runs
   * @param spec which model
   * @return a model that the caller closes
   * @throws IOException if a file is missing, unreadable, or not what it should be
   * @throws GatunException if the library of the tokeniser or OpenBLAS is missing, or memory
   */
  public static TextEmbedder load(GatunRuntime runtime, EmbeddingModelSpec spec)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Tokenizer tokenizer = spec.loadTokenizer();
    Arena arena = Arena.ofShared();
    try {
      return new TextEmbedder(runtime, spec, tokenizer, arena);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /**
   * Returns the model.
   *
   * @return what it was loaded from
   */
  public EmbeddingModelSpec spec() {
    return spec;
  }

  /**
   * Returns the encoder.
   *
   * @return the part from ids to the last hidden state; usable until this is closed
   */
  public BertEncoder encoder() {
    return encoder;
  }

  /**
   * Returns the size of a vector.
   *
   * @return elements
   */
  public int dimension() {
    return head.dimension();
  }

  /**
   * Returns what texts are cut to: what a folder's sentence_bert_config.json or
   * tokenizer_config.json says, else tokenizer.json, or 512 where none says anything; and no more
   * than the model has positions.
   *
   * @return tokens, those of the template ({@code [CLS]}, {@code [SEP]}) included
   */
  public int maxTokens() {
    return maxTokens;
  }

  // ---- text to ids ---------------------------------------------------------------------------

  /**
   * Tokenises a text, cut to {@link #maxTokens}.
   *
   * @param text any text
   * @return its tokens, and whether it was cut
   * @throws IllegalArgumentException as of {@link Tokenizer#encode(String, int)}
   */
  public Tokenized tokenize(String text) {
    return tokenizer.encode(text, maxTokens);
  }

  /**
   * Tokenises a text.
   *
   * @param text any text
   * @param maxTokens what to cut it to, up to the model's positions whatever tokenizer.json says
   * @return its tokens, and whether it was cut
   * @throws IllegalArgumentException if maxTokens is greater, or leaves no room for the template
   */
  public Tokenized tokenize(String text, int maxTokens) {
    int positions = encoder.config().positions();
    if (maxTokens > positions) {
      throw new IllegalArgumentException(
          "maxTokens: expected at most %d, the positions of %s, got %d"
              .formatted(positions, spec, maxTokens));
    }
    return tokenizer.encode(text, maxTokens);
  }

  // ---- ids to vectors ------------------------------------------------------------------------

  /**
   * Embeds texts whose ids lie in native memory. Warm calls allocate nothing on either side.
   *
   * @param workspace what the call writes besides out, or null to be lent one
   * @param tokenIds {@code [total]} int32, the tokens of all texts
   * @param cuSeqlens {@code [texts + 1]} int32: 0, then where each text ends; the last is total. A
   *     text without tokens is pooled to zeros
   * @param out receives {@code [texts, dimension]}; shares no memory with the other two
   * @throws IllegalArgumentException naming the argument, what was expected and what came; nothing
   *     was written
   * @throws IllegalStateException if this, an arena, the workspace or the runtime is closed, or the
   *     workspace is in use
   */
  public void embed(Workspace workspace, Tensor tokenIds, Tensor cuSeqlens, Tensor out) {
    long total = BertEncoder.ids("tokenIds", tokenIds, 0);
    long texts = BertEncoder.ids("cuSeqlens", cuSeqlens, 1) - 1;
    long row = BertEncoder.rows("out", out, texts, dimension());
    encoder.refuseShared("out", out, tokenIds, cuSeqlens);
    gate.enter();
    try {
      embedIn(workspace, tokenIds, total, cuSeqlens, texts, out, row);
    } finally {
      gate.leave();
    }
  }

  private void embedIn(
      Workspace workspace,
      Tensor tokenIds,
      long total,
      Tensor cuSeqlens,
      long texts,
      Tensor out,
      long row) {
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      MemorySegment ids = blocks.take(total).segment();
      MemorySegment offsets = blocks.take(texts + 1).segment();
      MemorySegment.copy(tokenIds.segment(), 0, ids, 0, total * Integer.BYTES);
      MemorySegment.copy(cuSeqlens.segment(), 0, offsets, 0, (texts + 1) * Integer.BYTES);
      run(blocks, ids, total, offsets, texts, out.segment(), row);
    } finally {
      Access.get().end(runtime, workspace, taken);
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
    // The caller's list may change meanwhile, and answer differently when it is asked again.
    List<Tokenized> own = Arrays.asList(texts.toArray(Tokenized[]::new).clone());
    long row = BertEncoder.rows("out", out, own.size(), dimension());
    encoder.refuseShared("out", out, null, null);
    for (int n = 0; n < own.size(); n++) {
      if (own.get(n) == null) {
        throw new NullPointerException("texts[%d]".formatted(n));
      }
      if (own.get(n).count() > encoder.config().positions()) {
        throw new IllegalArgumentException(
            "texts[%d]: expected at most %d tokens, got %d"
                .formatted(n, encoder.config().positions(), own.get(n).count()));
      }
    }
    gate.enter();
    try {
      embedAll(own, out, row);
    } finally {
      gate.leave();
    }
  }

  private void embedAll(List<Tokenized> texts, Tensor out, long row) {
    Workspace taken = Access.get().begin(runtime, null);
    try {
      Blocks blocks = Access.get().blocks(taken);
      for (int first = 0; first < texts.size(); ) {
        int end = first + 1;
        int total = texts.get(first).count();
        while (end < texts.size() && total + texts.get(end).count() <= PASS_TOKENS) {
          total += texts.get(end++).count();
        }
        MemorySegment to = out.segment().asSlice(first * row * Float.BYTES);
        embed(blocks, texts.subList(first, end), total, to, row);
        first = end;
      }
    } finally {
      Access.get().end(runtime, null, taken);
    }
  }

  /**
   * Embeds one text, cut to {@link #maxTokens}: the convenient way, with an array on the Java heap.
   *
   * @param text any text
   * @return its vector
   */
  public float[] embed(String text) {
    Tokenized tokens = tokenize(text);
    float[] vector = new float[dimension()];
    gate.enter();
    try {
      embedOne(tokens, vector);
    } finally {
      gate.leave();
    }
    return vector;
  }

  private void embedOne(Tokenized tokens, float[] vector) {
    Workspace taken = Access.get().begin(runtime, null);
    try {
      Blocks blocks = Access.get().blocks(taken);
      MemorySegment out = blocks.take(dimension()).segment();
      embed(blocks, List.of(tokens), tokens.count(), out, dimension());
      MemorySegment.copy(out, ValueLayout.JAVA_FLOAT, 0, vector, 0, vector.length);
    } finally {
      Access.get().end(runtime, null, taken);
    }
  }

  private void embed(
      Blocks blocks, List<Tokenized> texts, long total, MemorySegment out, long row) {
    int mark = blocks.mark();
    MemorySegment ids = blocks.take(total).segment();
    MemorySegment offsets = blocks.take(texts.size() + 1).segment();
    int count = 0;
    offsets.setAtIndex(ValueLayout.JAVA_INT, 0, 0);
    for (int n = 0; n < texts.size(); n++) {
      int[] tokens = texts.get(n).ids();
      MemorySegment.copy(
          tokens, 0, ids, ValueLayout.JAVA_INT, (long) count * Integer.BYTES, tokens.length);
      count += tokens.length;
      offsets.setAtIndex(ValueLayout.JAVA_INT, n + 1, count);
    }
    run(blocks, ids, total, offsets, texts.size(), out, row);
    blocks.giveBackTo(mark);
  }

  private void run(
      Blocks blocks,
      MemorySegment ids,
      long total,
      MemorySegment offsets,
      long texts,
      MemorySegment out,
      long row) {
    ModelEvent event = ModelEvent.start();
    int mark = blocks.mark();
    long width = encoder.config().hidden();
    MemorySegment hidden = blocks.take(total * width).segment();
    encoder.run(blocks, ids, total, offsets, texts, hidden, width);
    head.run(blocks, hidden, offsets, texts, out, row);
    blocks.giveBackTo(mark);
    ModelEvent.finish(event, spec.name(), (int) texts, total);
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
