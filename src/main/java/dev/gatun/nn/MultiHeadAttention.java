package dev.gatun.nn;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.Native;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Multi-head attention with its projections, section 3.2.2 of "Attention Is All You Need":
 *
 * <pre>{@code
 * Q = x · W_Q + b_Q     K = memory · W_K + b_K     V = memory · W_V + b_V
 * out = concat(attention(Q_h, K_g, V_g) for each head h) · W_O + b_O
 * }</pre>
 *
 * <p>Self-attention if memory is x, cross-attention otherwise; grouped-query attention (Ainslie et
 * al., 2023) if keys and values have fewer heads. Heads are views: nothing is transposed. Weights
 * are as {@link Linear} takes them, separate or W_Q, W_K and W_V side by side in one matrix, which
 * makes one product of three.
 *
 * <p>Immutable; any number of threads may share it. Everything a call writes besides out lives in
 * the workspace; warm calls allocate nothing on either side. Lifetime, errors and virtual threads
 * are as for {@link dev.gatun.Attention}, with one difference: a call is several downcalls, and an
 * arena of weights or inputs that another thread closes between two of them makes the call throw
 * {@link IllegalStateException}, with out untouched.
 */
public final class MultiHeadAttention {

  private final GatunRuntime runtime;
  private final Linear packed;
  private final Linear query;
  private final Linear key;
  private final Linear value;
  private final Linear output;
  private final int heads;
  private final int kvHeads;
  private final long headDim;
  private final long headDimV;
  private final Causal causal;
  private final boolean hasScale;
  private final float scale;
  private final int maxThreads;
  private final PositionalEncoding positions;
  private final Parameters parameters;

  private MultiHeadAttention(Builder b) {
    this.runtime = b.runtime;
    this.heads = b.heads;
    this.kvHeads = b.kvHeads == 0 ? b.heads : b.kvHeads;
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "kvHeads: expected a divisor of %d heads, got %d".formatted(heads, kvHeads));
    }
    AttentionSpec spec = b.spec;
    if (spec.alibiSlopes().isPresent() || spec.relativePositions().isPresent()) {
      throw new IllegalArgumentException("spec: expected one without biases, got " + spec);
    }
    this.causal = spec.causal();
    this.maxThreads = spec.maxThreads();
    this.hasScale = spec.scale().isPresent();
    this.scale = hasScale ? (float) spec.scale().getAsDouble() : 0;
    if (b.output == null) {
      throw new IllegalArgumentException("output: expected a weight, got none");
    }
    this.output = b.output;
    this.positions = b.positions;
    if (b.packed != null) {
      if (b.query != null || b.key != null || b.value != null) {
        throw new IllegalArgumentException(
            "packed: expected packed or separate weights, got both kinds");
      }
      this.packed = b.packed;
      this.query = null;
      this.key = null;
      this.value = null;
      long headsInRow = heads + 2L * kvHeads;
      this.headDim = divide("packed", packed.out(), headsInRow);
      this.headDimV = headDim;
    } else {
      if (b.query == null || b.key == null || b.value == null) {
        throw new IllegalArgumentException(
            "query, key, value: expected three weights, or one packed, got fewer");
      }
      this.packed = null;
      this.query = b.query;
      this.key = b.key;
      this.value = b.value;
      this.headDim = divide("query", query.out(), heads);
      this.headDimV = divide("value", value.out(), kvHeads);
      if (divide("key", key.out(), kvHeads) != headDim) {
        throw new IllegalArgumentException(
            "key: expected %d columns (%d heads of %d), got %d%s"
                .formatted(
                    kvHeads * headDim,
                    kvHeads,
                    headDim,
                    key.out(),
                    turned(key, kvHeads * headDim)));
      }
      if (key.in() != value.in()) {
        throw new IllegalArgumentException(
            "value: expected %d rows as the key weight has, got %d%s"
                .formatted(key.in(), value.in(), value.out() == key.in() ? TURNED : ""));
      }
    }
    if (headDim > Native.Abi.MAX_HEAD_DIM || headDimV > Native.Abi.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "head dimension: expected 1 .. %d, got %d and %d"
              .formatted(Native.Abi.MAX_HEAD_DIM, headDim, headDimV));
    }
    if (output.in() != heads * headDimV) {
      throw new IllegalArgumentException(
          "output: expected %d rows (%d heads of %d), got %d%s"
              .formatted(
                  heads * headDimV,
                  heads,
                  headDimV,
                  output.in(),
                  output.out() == heads * headDimV ? TURNED : ""));
    }
    checkPositions();
    this.parameters = collectParameters();
  }

  private static final String TURNED =
      "; the weight looks like [out, in]: give its transpose(0, 1), or say the builder's order";

  private static String turned(Linear weight, long columns) {
    return weight.in() == columns ? TURNED : "";
  }

  private Parameters collectParameters() {
    Parameters.Builder all = new Parameters.Builder();
    for (Linear linear : new Linear[] {packed, query, key, value, output}) {
      if (linear != null) {
        all.addAll(linear.parameters());
      }
    }
    if (positions.rotary() != null) {
      all.add("positions", positions.rotary().cos()).add("positions", positions.rotary().sin());
    }
    return all.add("positions", positions.slopes()).add("positions", positions.distances()).build();
  }

  Parameters parameters() {
    return parameters;
  }

  private void checkPositions() {
    Tensor perHead = positions.slopes() != null ? positions.slopes() : positions.distances();
    if (perHead != null && perHead.size(0) != heads) {
      throw new IllegalArgumentException(
          "positions: expected %s with %d heads, got %d"
              .formatted(positions, heads, perHead.size(0)));
    }
    if (positions.rotary() != null && positions.rotary().dim() > headDim) {
      throw new IllegalArgumentException(
          "positions: expected rotary of at most %d elements (a head), got %d"
              .formatted(headDim, positions.rotary().dim()));
    }
  }

  private static long divide(String name, long columns, long heads) {
    if (columns % heads != 0) {
      throw new IllegalArgumentException(
          "%s: expected a multiple of %d columns, got %d".formatted(name, heads, columns));
    }
    return columns / heads;
  }

  /**
   * Starts an attention layer.
   *
   * @param runtime where it runs
   * @param heads query heads, 1 or more
   * @return a new builder
   */
  public static Builder builder(GatunRuntime runtime, int heads) {
    return new Builder(runtime, heads);
  }

  /**
   * Self-attention with a workspace lent by the runtime.
   *
   * @param x {@code [batch, seq, dim]}, contiguous
   * @param out receives {@code [batch, seq, outDim]}, contiguous; may be x itself, but no other
   *     part of its memory, and shares none with weights and biases
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, x, null, null, out);
  }

  /**
   * Attention of the rows of x over the rows of memory. For encodings that add to scores (ALiBi,
   * relative) the last row of x within its length stands at the last key within its length, so that
   * padded self-attention wants both lengths; for rotary ones rows and keys both count from 0.
   *
   * @param workspace what the call writes besides out, or null to be lent one
   * @param x {@code [batch, seqQ, dim]}, contiguous
   * @param memory {@code [batch, seqK, memoryDim]}, contiguous; x itself for self-attention
   * @param keyLengths {@code [batch]} INT32, or null: keys at and past them are not attended to
   * @param queryLengths {@code [batch]} INT32, or null: rows at and past them attend to nothing,
   *     and their out is b_O
   * @param out receives {@code [batch, seqQ, outDim]}, contiguous; may be x itself, but no other
   *     part of its memory, and shares none with memory (where that is not x), lengths, weights and
   *     biases
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace,
      Tensor x,
      Tensor memory,
      Tensor keyLengths,
      Tensor queryLengths,
      Tensor out) {
    Linear source = packed != null ? packed : query;
    source.checkRow("x", packed != null ? "packed" : "query", x);
    check("x", x, source.in());
    Objects.requireNonNull(memory, "memory");
    long batch = x.size(0);
    long seqQ = x.size(1);
    boolean self = memory == x;
    if (!self) {
      if (packed != null) {
        throw new IllegalArgumentException(
            "memory: expected x itself, as the weights are packed, got another tensor");
      }
      key.checkRow("memory", "key", memory);
      check("memory", memory, key.in());
      if (memory.size(0) != batch) {
        throw Rows.bad("memory", "[%d, seq, %d] float32".formatted(batch, key.in()), memory);
      }
    } else if (packed == null && key.in() != x.size(2)) {
      throw Rows.bad("memory", "[batch, seq, %d] float32".formatted(key.in()), memory);
    }
    long seqK = memory.size(1);
    check("out", out, output.out());
    if (out.size(0) != batch || out.size(1) != seqQ) {
      throw Rows.bad("out", "[%d, %d, %d] float32".formatted(batch, seqQ, output.out()), out);
    }
    Rows.checkOutput("out", out, batch * seqQ, output.out());
    if (positions.rotary() != null && Math.max(seqQ, seqK) > positions.positions()) {
      throw new IllegalArgumentException(
          "x: expected at most %d positions, got %d"
              .formatted(positions.positions(), Math.max(seqQ, seqK)));
    }
    MemorySegment keyLens = lengths("keyLengths", keyLengths, batch, seqK);
    MemorySegment queryLens = lengths("queryLengths", queryLengths, batch, seqQ);
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    if (!self && !SharedMemory.same(memory, x)) {
      SharedMemory.refuse("out", out, "memory", memory);
    }
    SharedMemory.refuse("out", out, "keyLengths", keyLengths);
    SharedMemory.refuse("out", out, "queryLengths", queryLengths);
    parameters.refuse("out", out);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      int mark = blocks.mark();
      keyLens = Indices.copy(blocks, "keyLengths", keyLens, batch, 0, seqK);
      queryLens = Indices.copy(blocks, "queryLengths", queryLens, batch, 0, seqQ);
      if (self) {
        self(blocks, batch, seqQ, seqQ, 1, x.segment(), keyLens, queryLens, out.segment());
      } else {
        MemorySegment k = blocks.take(batch * seqK * key.out()).segment();
        MemorySegment v = blocks.take(batch * seqK * value.out()).segment();
        project(blocks, batch * seqK, memory.segment(), k, v);
        if (positions.rotary() != null) {
          MemorySegment places = Embedding.places(blocks, batch, seqK, null);
          turn(blocks, batch * seqK, kvHeads, k, key.out(), places);
        }
        cross(
            blocks, batch, seqQ, x.segment(), k, v, batch, seqK, keyLens, queryLens, out.segment());
      }
      blocks.giveBackTo(mark);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  private static void check(String name, Tensor tensor, long columns) {
    Objects.requireNonNull(tensor, name);
    if (tensor.dtype() != DType.FLOAT32
        || tensor.rank() != 3
        || tensor.size(2) != columns
        || !tensor.isContiguous()) {
      throw Rows.bad(name, "[batch, seq, %d] float32, contiguous".formatted(columns), tensor);
    }
  }

  /**
   * Lengths are checked before anything is computed, since projections come before attention. They
   * are still the caller's: a call copies them before it uses them.
   */
  static MemorySegment lengths(String name, Tensor lengths, long batch, long most) {
    if (lengths == null) {
      return MemorySegment.NULL;
    }
    if (lengths.dtype() != DType.INT32
        || lengths.rank() != 1
        || lengths.size(0) != batch
        || !lengths.isContiguous()) {
      throw Rows.bad(name, "[%d] int32, contiguous".formatted(batch), lengths);
    }
    Indices.check(name, lengths.segment(), batch, 0, most);
    return lengths.segment();
  }

  // ---- stages, also for the blocks of a Transformer -------------------------------------------

  /**
   * Returns the size of a row of x.
   *
   * @return columns
   */
  public long in() {
    return packed != null ? packed.in() : query.in();
  }

  /**
   * Returns the size of a row of out.
   *
   * @return columns
   */
  public long out() {
    return output.out();
  }

  /**
   * Returns the size of a row of memory.
   *
   * @return columns that keys and values are projected from
   */
  public long memoryDim() {
    return packed != null ? packed.in() : key.in();
  }

  Causal causal() {
    return causal;
  }

  boolean hasPackedWeights() {
    return packed != null;
  }

  PositionalEncoding positions() {
    return positions;
  }

  int heads() {
    return heads;
  }

  int kvHeads() {
    return kvHeads;
  }

  long headDim() {
    return headDim;
  }

  long headDimV() {
    return headDimV;
  }

  /**
   * Self-attention. Row (b, s) of x and out is {@code b * batchStep + s * seqStep}, so that a
   * sequence may run along either dimension of a table.
   */
  void self(
      Blocks blocks,
      long batch,
      long seq,
      long batchStep,
      long seqStep,
      MemorySegment x,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment out) {
    long rows = batch * seq;
    int mark = blocks.mark();
    MemorySegment q;
    MemorySegment k;
    MemorySegment v;
    long qRow;
    long kRow;
    long vRow;
    if (packed != null) {
      qRow = packed.out();
      kRow = qRow;
      vRow = qRow;
      Blocks.Buffer all = blocks.take(rows * qRow);
      q = all.segment();
      packed.run(blocks, rows, x, packed.in(), q, qRow);
      k = all.from(heads * headDim, (heads + kvHeads) * headDim);
      v = all.second();
    } else {
      qRow = query.out();
      kRow = key.out();
      vRow = value.out();
      q = blocks.take(rows * qRow).segment();
      k = blocks.take(rows * kRow).segment();
      v = blocks.take(rows * vRow).segment();
      query.run(blocks, rows, x, query.in(), q, qRow);
      key.run(blocks, rows, x, key.in(), k, kRow);
      value.run(blocks, rows, x, value.in(), v, vRow);
    }
    if (positions.rotary() != null) {
      MemorySegment places = Embedding.places(blocks, batch, seq, null);
      turn(blocks, rows, heads, q, qRow, places);
      turn(blocks, rows, kvHeads, k, kRow, places);
    }
    long contextRow = heads * headDimV;
    MemorySegment context = blocks.take(rows * contextRow).segment();
    describe(blocks, batch, seq, seq)
        .queryStrides(
            batchStep * qRow,
            seqStep * qRow,
            headDim,
            batchStep * contextRow,
            seqStep * contextRow,
            headDimV)
        .keyStrides(
            batchStep * kRow, seqStep * kRow, headDim, batchStep * vRow, seqStep * vRow, headDimV);
    attend(blocks, q, k, v, keyLengths, queryLengths, context);
    output.run(blocks, rows, context, contextRow, out, output.out());
    blocks.giveBackTo(mark);
  }

  /**
   * Self-attention of new rows over a cache that they are appended to.
   *
   * @param places positions of the new rows
   * @param lengths {@code [batch]} int32: rows of the cache with the new ones
   * @param queryLengths {@code [batch]} int32: new rows of each sequence, or NULL: all
   */
  void cached(
      Blocks blocks,
      long batch,
      long seq,
      MemorySegment x,
      MemorySegment places,
      DecoderState state,
      int layer,
      MemorySegment lengths,
      MemorySegment queryLengths,
      MemorySegment out) {
    long rows = batch * seq;
    int mark = blocks.mark();
    Tensor keys = state.keys(layer);
    Tensor values = state.values(layer);
    long keySize = kvHeads * headDim;
    long valueSize = kvHeads * headDimV;
    MemorySegment q;
    MemorySegment k;
    MemorySegment v;
    long qRow;
    long kRow;
    long vRow;
    if (packed != null) {
      qRow = packed.out();
      kRow = qRow;
      vRow = qRow;
      Blocks.Buffer all = blocks.take(rows * qRow);
      q = all.segment();
      packed.run(blocks, rows, x, packed.in(), q, qRow);
      k = all.from(heads * headDim, (heads + kvHeads) * headDim);
      v = all.second();
    } else {
      qRow = query.out();
      kRow = keySize;
      vRow = valueSize;
      q = blocks.take(rows * qRow).segment();
      k = blocks.take(rows * kRow).segment();
      v = blocks.take(rows * vRow).segment();
      query.run(blocks, rows, x, query.in(), q, qRow);
      key.run(blocks, rows, x, key.in(), k, kRow);
      value.run(blocks, rows, x, value.in(), v, vRow);
    }
    if (positions.rotary() != null) {
      turn(blocks, rows, heads, q, qRow, places);
      turn(blocks, rows, kvHeads, k, kRow, places);
    }
    append(batch, seq, k, kRow, keySize, keys, lengths, queryLengths, places);
    append(batch, seq, v, vRow, valueSize, values, lengths, queryLengths, places);
    long contextRow = heads * headDimV;
    MemorySegment context = blocks.take(rows * contextRow).segment();
    describe(blocks, batch, seq, keys.size(1))
        .queryStrides(seq * qRow, qRow, headDim, seq * contextRow, contextRow, headDimV)
        .keyStrides(
            keys.stride(0),
            keys.stride(1),
            keys.stride(2),
            values.stride(0),
            values.stride(1),
            values.stride(2));
    attend(blocks, q, keys.segment(), values.segment(), lengths, queryLengths, context);
    output.run(blocks, rows, context, contextRow, out, output.out());
    blocks.giveBackTo(mark);
  }

  /** Copies the new rows of each sequence behind those that its cache holds. */
  private static void append(
      long batch,
      long seq,
      MemorySegment rows,
      long row,
      long size,
      Tensor cache,
      MemorySegment lengths,
      MemorySegment queryLengths,
      MemorySegment places) {
    boolean ragged = !queryLengths.equals(MemorySegment.NULL);
    for (long b = 0; b < batch; b++) {
      long count = ragged ? queryLengths.getAtIndex(ValueLayout.JAVA_INT, b) : seq;
      long begin = lengths.getAtIndex(ValueLayout.JAVA_INT, b) - count;
      for (long s = 0; s < count; s++) {
        MemorySegment.copy(
            rows,
            (b * seq + s) * row * Float.BYTES,
            cache.segment(),
            (b * cache.stride(0) + (begin + s) * cache.stride(1)) * Float.BYTES,
            size * Float.BYTES);
      }
    }
  }

  /** Keys and values of memory, rows without gaps. */
  void project(Blocks blocks, long rows, MemorySegment memory, MemorySegment k, MemorySegment v) {
    key.run(blocks, rows, memory, key.in(), k, key.out());
    value.run(blocks, rows, memory, value.in(), v, value.out());
  }

  /**
   * Attention of rows over keys and values that {@link #project} has made.
   *
   * @param memories batch, or 1: all sequences share them
   * @param seqK rows of each memory
   */
  void cross(
      Blocks blocks,
      long batch,
      long seq,
      MemorySegment x,
      MemorySegment k,
      MemorySegment v,
      long memories,
      long seqK,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment out) {
    long rows = batch * seq;
    int mark = blocks.mark();
    long qRow = query.out();
    long kRow = key.out();
    long vRow = value.out();
    long contextRow = heads * headDimV;
    long step = memories == 1 ? 0 : seqK;
    MemorySegment q = blocks.take(rows * qRow).segment();
    query.run(blocks, rows, x, query.in(), q, qRow);
    if (positions.rotary() != null) {
      turn(blocks, rows, heads, q, qRow, Embedding.places(blocks, batch, seq, null));
    }
    MemorySegment context = blocks.take(rows * contextRow).segment();
    describe(blocks, batch, seq, seqK)
        .queryStrides(seq * qRow, qRow, headDim, seq * contextRow, contextRow, headDimV)
        .keyStrides(step * kRow, kRow, headDim, step * vRow, vRow, headDimV);
    attend(blocks, q, k, v, keyLengths, queryLengths, context);
    output.run(blocks, rows, context, contextRow, out, output.out());
    blocks.giveBackTo(mark);
  }

  private Blocks describe(Blocks blocks, long batch, long seqQ, long seqK) {
    return blocks
        .describe(causal, hasScale, scale, batch, heads, kvHeads, seqQ, seqK, headDim, headDimV)
        .maxThreads(maxThreads);
  }

  private void attend(
      Blocks blocks,
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment context) {
    int status =
        positions.biasesScores()
            ? blocks.attentionBiased(
                q,
                k,
                v,
                keyLengths,
                queryLengths,
                positions.slopes() == null ? MemorySegment.NULL : positions.slopes().segment(),
                positions.distances() == null
                    ? MemorySegment.NULL
                    : positions.distances().segment(),
                positions.distances() == null ? 0 : positions.distances().size(1) / 2,
                context)
            : blocks.attention(q, k, v, keyLengths, queryLengths, context);
    if (status != Native.Abi.OK) {
      throw Native.failure(status, null);
    }
  }

  private void turn(
      Blocks blocks, long rows, long count, MemorySegment x, long row, MemorySegment places) {
    Rotary rotary = positions.rotary();
    blocks.rotary(
        rotary.pairing() == Rotary.Pairing.ADJACENT,
        rows,
        count,
        headDim,
        rotary.dim(),
        x,
        row,
        places,
        rotary.cos().segment(),
        rotary.sin().segment(),
        rotary.positions());
  }

  /** Collects the weights of an attention layer. Not thread-safe. */
  public static final class Builder {
    private final GatunRuntime runtime;
    private final int heads;
    private int kvHeads;
    private AttentionSpec spec = AttentionSpec.standard();
    private Linear packed;
    private Linear query;
    private Linear key;
    private Linear value;
    private Linear output;
    private PositionalEncoding positions = PositionalEncoding.none();
    private WeightOrder order = WeightOrder.IN_OUT;

    private Builder(GatunRuntime runtime, int heads) {
      this.runtime = Objects.requireNonNull(runtime, "runtime");
      if (heads < 1) {
        throw new IllegalArgumentException("heads: expected 1 or more, got " + heads);
      }
      this.heads = heads;
    }

    /**
     * Sets the heads of keys and values; the default is as many as query heads.
     *
     * @param value a divisor of the query heads
     * @return this builder
     */
    public Builder kvHeads(int value) {
      if (value < 1) {
        throw new IllegalArgumentException("kvHeads: expected 1 or more, got " + value);
      }
      this.kvHeads = value;
      return this;
    }

    /**
     * Sets mask, scale and the threads of the attention itself (projections use the runtime's); the
     * default is no mask, 1 / sqrt(headDim), all threads.
     *
     * @param value the specification, without biases
     * @return this builder
     */
    public Builder spec(AttentionSpec value) {
      this.spec = Objects.requireNonNull(value, "spec");
      return this;
    }

    /**
     * Sets an encoding that turns queries and keys or adds to scores; one that is added to
     * embeddings does nothing here. The default is none. In cross-attention the positions of x and
     * of memory both begin at 0 for a rotary encoding.
     *
     * @param value the encoding
     * @return this builder
     */
    public Builder positions(PositionalEncoding value) {
      this.positions = Objects.requireNonNull(value, "positions");
      return this;
    }

    /**
     * Sets the order of the weights that are given after it; the default is {@link
     * WeightOrder#IN_OUT}, as the setters' shapes say. A file of PyTorch's has {@link
     * WeightOrder#OUT_IN}, and a square weight in the wrong order cannot be told from a right one.
     *
     * @param value the order
     * @return this builder
     */
    public Builder order(WeightOrder value) {
      this.order = Objects.requireNonNull(value, "order");
      return this;
    }

    private Linear linear(String name, Tensor weight, Tensor bias) {
      return new Linear(
          runtime, name, order.toInOut(name, weight), name + " bias", bias, Activation.NONE);
    }

    /**
     * Sets W_Q, W_K and W_V side by side.
     *
     * @param weight {@code [dim, (heads + 2 · kvHeads) · headDim]}
     * @param bias {@code [(heads + 2 · kvHeads) · headDim]}, or null
     * @return this builder
     */
    public Builder packed(Tensor weight, Tensor bias) {
      packed = linear("packed", weight, bias);
      return this;
    }

    /**
     * Sets W_Q.
     *
     * @param weight {@code [dim, heads · headDim]}
     * @param bias {@code [heads · headDim]}, or null
     * @return this builder
     */
    public Builder query(Tensor weight, Tensor bias) {
      query = linear("query", weight, bias);
      return this;
    }

    /**
     * Sets W_K.
     *
     * @param weight {@code [memoryDim, kvHeads · headDim]}
     * @param bias {@code [kvHeads · headDim]}, or null
     * @return this builder
     */
    public Builder key(Tensor weight, Tensor bias) {
      key = linear("key", weight, bias);
      return this;
    }

    /**
     * Sets W_V.
     *
     * @param weight {@code [memoryDim, kvHeads · headDimV]}
     * @param bias {@code [kvHeads · headDimV]}, or null
     * @return this builder
     */
    public Builder value(Tensor weight, Tensor bias) {
      value = linear("value", weight, bias);
      return this;
    }

    /**
     * Sets W_O.
     *
     * @param weight {@code [heads · headDimV, outDim]}
     * @param bias {@code [outDim]}, or null
     * @return this builder
     */
    public Builder output(Tensor weight, Tensor bias) {
      output = linear("output", weight, bias);
      return this;
    }

    /**
     * Makes the layer.
     *
     * @return an immutable layer
     * @throws IllegalArgumentException naming the weight that is missing or does not fit
     */
    public MultiHeadAttention build() {
      return new MultiHeadAttention(this);
    }
  }
}
