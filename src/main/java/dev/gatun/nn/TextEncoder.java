package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;

/**
 * From token ids to the last hidden state: an embedding and an encoder, with a linear layer between
 * them where embeddings are narrower than hidden states.
 *
 * {@snippet :
 * Tensor ids = Tensor.copyOf(arena, new int[] {101, 7592, 102, 101, 2088, 999, 102}, 7);
 * Sequences texts = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 3, 7}, 3));
 * Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, 7, encoder.dim());
 * encoder.forward(ids, texts, hidden);
 * }
 *
 * <p>Texts of lengths 3 and 500 cost 503 rows. Immutable; any number of threads may share it. Warm
 * calls allocate nothing on either side, whatever their lengths. Bits do not depend on the number
 * of threads. Lifetime and virtual threads are as for {@link dev.gatun.Attention}.
 */
public final class TextEncoder {

  private final String name;
  private final GatunRuntime runtime;
  private final Embedding embedding;

  /** From the size of an embedding to that of a hidden state; null if they are one. */
  private final Linear projection;

  private final TransformerEncoder encoder;
  private final Parameters parameters;

  /**
   * Puts an encoder together.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param embedding of its tokens
   * @param encoder its layers
   */
  public TextEncoder(
      String name, GatunRuntime runtime, Embedding embedding, TransformerEncoder encoder) {
    this(name, runtime, "embedding", embedding, null, encoder);
  }

  /**
   * Puts an encoder together whose embeddings have another size than its hidden states, as ALBERT
   * (Lan et al., 2020) factorizes them.
   *
   * @param name of the model in Flight Recorder's events
   * @param runtime where it runs
   * @param embedding of its tokens, of rows of the projection's input
   * @param projection of embeddings to hidden states, or null: they are of one size
   * @param encoder its layers
   * @throws IllegalArgumentException naming the part whose rows do not fit the others
   */
  public TextEncoder(
      String name,
      GatunRuntime runtime,
      Embedding embedding,
      Linear projection,
      TransformerEncoder encoder) {
    this(name, runtime, "embedding", embedding, projection, encoder);
  }

  /** With the name that the embedding has in messages. */
  TextEncoder(
      String name,
      GatunRuntime runtime,
      String embeddingName,
      Embedding embedding,
      Linear projection,
      TransformerEncoder encoder) {
    this.name = Objects.requireNonNull(name, "name");
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.embedding = Objects.requireNonNull(embedding, embeddingName);
    this.projection = projection;
    this.encoder = Objects.requireNonNull(encoder, "encoder");
    if (projection != null && projection.out() != encoder.dim()) {
      throw new IllegalArgumentException(
          "projection: expected rows of %d, got %d".formatted(encoder.dim(), projection.out()));
    }
    long width = projection == null ? encoder.dim() : projection.in();
    if (embedding.dim() != width) {
      throw new IllegalArgumentException(
          "%s: expected rows of %d, got %d".formatted(embeddingName, width, embedding.dim()));
    }
    Parameters.Builder all = new Parameters.Builder().add(embeddingName, embedding.parameters());
    if (projection != null) {
      all.add("projection", projection.parameters());
    }
    this.parameters = all.add("encoder", encoder.parameters()).build();
  }

  /** {@return the name of the model in Flight Recorder's events} */
  public String name() {
    return name;
  }

  /** {@return where it runs} */
  public GatunRuntime runtime() {
    return runtime;
  }

  /** {@return the embedding of the tokens} */
  public Embedding embedding() {
    return embedding;
  }

  /**
   * {@return the layers that follow the embedding, in the order in which they run; cannot be
   * changed}
   */
  public List<TransformerLayer> layers() {
    return encoder.layers();
  }

  /** {@return the size of a hidden state, columns} */
  public long dim() {
    return encoder.dim();
  }

  /** {@return the longest text, in tokens; 2<sup>31</sup> − 1 if there is no limit} */
  public int positions() {
    return Math.min(embedding.positions(), encoder.positions());
  }

  Parameters parameters() {
    return parameters;
  }

  /**
   * Encodes texts of one length.
   *
   * @param ids {@code [batch, seq]} or, of one text, {@code [tokens]} INT32, contiguous
   * @param hidden receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   */
  public void forward(Tensor ids, Tensor hidden) {
    forward(null, ids, null, hidden);
  }

  /**
   * Encodes texts of different lengths.
   *
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param texts how the ids are divided
   * @param hidden receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   */
  public void forward(Tensor ids, Sequences texts, Tensor hidden) {
    forward(null, ids, Objects.requireNonNull(texts, "texts"), hidden);
  }

  /**
   * Encodes texts.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous; those of padding are not
   *     read
   * @param texts how the ids are divided, or null: all of one length
   * @param hidden receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced;
   *     shares no memory with ids, texts and weights
   * @throws IllegalArgumentException naming the argument that does not fit, an unknown token
   *     included; nothing was written
   */
  public void forward(Workspace workspace, Tensor ids, Sequences texts, Tensor hidden) {
    forward("hidden", workspace, ids, null, texts, hidden, null);
  }

  /**
   * Encodes texts of tokens of several types, as BERT's pairs have them.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous
   * @param typeIds as of {@link Embedding#forward(Workspace, Tensor, Tensor, Sequences, Tensor)},
   *     or null
   * @param texts how the ids are divided, or null: all of one length
   * @param hidden receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced;
   *     shares no memory with ids, typeIds, texts and weights
   * @throws IllegalArgumentException naming the argument that does not fit, an unknown token or
   *     type included; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor ids, Tensor typeIds, Sequences texts, Tensor hidden) {
    forward("hidden", workspace, ids, typeIds, texts, hidden, null);
  }

  /**
   * Encodes texts before a listener, which looks at the queries and keys of each layer. The result
   * has the same bits as without it.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} INT32, contiguous; those of padding are not
   *     read
   * @param texts how the ids are divided, or null: all of one length
   * @param hidden receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced;
   *     shares no memory with ids, texts and weights
   * @param listener called for each layer; not at all where there are no tokens
   * @throws IllegalArgumentException naming the argument that does not fit, an unknown token
   *     included; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor ids, Sequences texts, Tensor hidden, AttentionListener listener) {
    Objects.requireNonNull(listener, "listener");
    for (TransformerLayer layer : encoder.layers()) {
      if (layer.selfAttention().positions().relativeKeys() != null) {
        throw new IllegalArgumentException(
            "listener: expected none, as queries and keys are not all of the scores of relative"
                + " keys, got one");
      }
    }
    forward("hidden", workspace, ids, null, texts, hidden, listener);
  }

  void forward(String outName, Workspace workspace, Tensor ids, Sequences texts, Tensor hidden) {
    forward(outName, workspace, ids, null, texts, hidden, null);
  }

  private void forward(
      String outName,
      Workspace workspace,
      Tensor ids,
      Tensor typeIds,
      Sequences texts,
      Tensor hidden,
      AttentionListener listener) {
    Embedding.checkShape("ids", ids);
    embedding.checkTypes(typeIds, ids);
    Rows.checkLike(outName, hidden, ids, dim());
    SharedMemory.refuse(outName, hidden, "ids", ids);
    SharedMemory.refuse(outName, hidden, "typeIds", typeIds);
    Sequences.refuseShared(outName, hidden, texts);
    parameters.refuse(outName, hidden);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      ModelEvent event = ModelEvent.start();
      SequenceRows rows = Sequences.divide(call, texts, "ids", ids, ids.rank(), MemorySegment.NULL);
      MemorySegment copy = copyIds(call, ids, rows);
      MemorySegment types = embedding.copyTypes(call, typeIds, rows);
      Matrix to = Rows.view(call, outName, hidden);
      Matrix computed = Sequences.target(call, rows, to);
      run(call, rows, copy, types, listener, computed);
      Sequences.scatter(rows, computed, to);
      ModelEvent.finish(event, name, (int) rows.count(), rows.rows());
    }
  }

  /** Checked ids in memory that nobody else changes. */
  MemorySegment copyIds(LayerCall call, Tensor ids, SequenceRows rows) {
    encoder.checkPositions("ids", rows);
    return embedding.copyIds(call, "ids", ids, rows, MemorySegment.NULL);
  }

  /** The last hidden state of checked ids. */
  void run(LayerCall call, SequenceRows rows, MemorySegment ids, Matrix hidden) {
    run(call, rows, ids, MemorySegment.NULL, null, hidden);
  }

  /** The same with types of the tokens, checked, or NULL. */
  void run(
      LayerCall call, SequenceRows rows, MemorySegment ids, MemorySegment typeIds, Matrix hidden) {
    run(call, rows, ids, typeIds, null, hidden);
  }

  private void run(
      LayerCall call,
      SequenceRows rows,
      MemorySegment ids,
      MemorySegment typeIds,
      AttentionListener listener,
      Matrix hidden) {
    // Not into hidden, which only the last operation may write.
    Matrix embedded = call.scratch().matrix(rows.rows(), embedding.dim());
    embedding.run(call, rows, ids, typeIds, embedded);
    Matrix input = embedded;
    if (projection != null) {
      input = call.scratch().matrix(rows.rows(), encoder.dim());
      projection.run(call, embedded, input);
    }
    encoder.run(call, rows, input, listener, hidden);
  }

  /** Describes the encoder on one line. */
  @Override
  public String toString() {
    return "TextEncoder(%s, %s)".formatted(name, encoder);
  }
}
