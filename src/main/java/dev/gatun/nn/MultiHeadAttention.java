package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
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
 * makes one product of three. Heads of queries and keys may have norms of their own ({@link
 * Builder#headNorms}), before their positions.
 *
 * <p>Where the weight of the queries is packed as {@link WeightFormat#BF16} or {@link
 * WeightFormat#INT8}, attention multiplies bfloat16 as well ({@link
 * AttentionSpec#bfloat16Products}): its error is below theirs.
 *
 * <p>Immutable; any number of threads may share it. Everything a call writes besides out lives in
 * the workspace; warm calls allocate nothing on either side. Lifetime, errors and virtual threads
 * are as for {@link dev.gatun.Attention}, with one difference: a call is several downcalls, and an
 * arena of weights or inputs that another thread closes between two of them makes the call throw
 * {@link IllegalStateException}, with out untouched.
 */
public final class MultiHeadAttention extends SequenceMixer {

  private final GatunRuntime runtime;
  private final Linear fused;

  /** These three are null where fused is packed, which has no columns to take a part of. */
  private final Linear query;

  private final Linear key;
  private final Linear value;
  private final Linear output;
  private final long in;
  private final long memoryDim;
  private final int heads;
  private final int kvHeads;
  private final long headDim;
  private final long headDimV;
  private final AttentionMechanism mechanism;

  /** The mechanism, or null where it is another one. */
  private final ExactAttention exact;

  private final PositionalEncoding positions;
  private final HeadNorms headNorms;
  private final Parameters parameters;

  private MultiHeadAttention(Builder b) {
    this.runtime = b.runtime;
    this.heads = b.heads;
    this.kvHeads = b.kvHeads == 0 ? b.heads : b.kvHeads;
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "kvHeads: expected a divisor of %d heads, got %d".formatted(heads, kvHeads));
    }
    if (b.output == null) {
      throw new IllegalArgumentException("output: expected a weight, got none");
    }
    this.output = b.output;
    this.positions = b.positions;
    if (b.fused != null) {
      if (b.query != null || b.key != null || b.value != null) {
        throw new IllegalArgumentException(
            "fused: expected fused or separate weights, got both kinds");
      }
      this.fused = b.fused;
      this.headDim = divide("fused", fused.out(), heads + 2L * kvHeads);
      this.headDimV = headDim;
      long keys = heads * headDim;
      long values = keys + kvHeads * headDim;
      boolean packed = fused.isPacked();
      this.query = packed ? null : fused.columns(0, keys);
      this.key = packed ? null : fused.columns(keys, values);
      this.value = packed ? null : fused.columns(values, fused.out());
      this.in = fused.in();
      this.memoryDim = fused.in();
    } else {
      if (b.query == null || b.key == null || b.value == null) {
        throw new IllegalArgumentException(
            "query, key, value: expected three weights, or one fused, got fewer");
      }
      this.fused = null;
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
                    transposed(key, kvHeads * headDim)));
      }
      if (key.in() != value.in()) {
        throw new IllegalArgumentException(
            "value: expected %d rows as the key weight has, got %d%s"
                .formatted(key.in(), value.in(), value.out() == key.in() ? TRANSPOSED : ""));
      }
      this.in = query.in();
      this.memoryDim = key.in();
    }
    if (output.in() != heads * headDimV) {
      throw new IllegalArgumentException(
          "output: expected %d rows (%d heads of %d), got %d%s"
              .formatted(
                  heads * headDimV,
                  heads,
                  headDimV,
                  output.in(),
                  output.out() == heads * headDimV ? TRANSPOSED : ""));
    }
    checkPositions();
    this.headNorms = b.headNorms;
    headNorms.check(headDim);
    this.mechanism = mechanism(b);
    this.exact = mechanism instanceof ExactAttention e ? e : null;
    mechanism.check(heads, kvHeads, headDim, headDimV);
    this.parameters = collectParameters();
  }

  /** The builder's, or exact attention as its specification and positions say. */
  private AttentionMechanism mechanism(Builder b) {
    if (b.mechanism != null) {
      if (b.spec != AttentionSpec.standard()) {
        throw new IllegalArgumentException("spec: expected none beside a mechanism, got " + b.spec);
      }
      if (positions.biasesScores() || positions.relativeKeys() != null) {
        throw new IllegalArgumentException(
            "positions: expected none that change scores beside the mechanism %s, got %s"
                .formatted(b.mechanism.name(), positions));
      }
      return b.mechanism;
    }
    if (positions.relativeKeys() != null) {
      checkRelativeKeys(b.spec);
    }
    new ExactAttention(runtime, b.spec).check(heads, kvHeads, headDim, headDimV);
    return new ExactAttention(runtime, completed(b.spec, positions, fused != null ? fused : query));
  }

  /** The specification, with the biases that an encoding adds to scores, and bfloat16 products. */
  private static AttentionSpec completed(
      AttentionSpec spec, PositionalEncoding positions, Linear queries) {
    boolean bfloat16 =
        queries.format() == WeightFormat.BF16 || queries.format() == WeightFormat.INT8;
    boolean biased = positions.biasesScores();
    if (biased && (spec.alibiSlopes().isPresent() || spec.relativePositions().isPresent())) {
      throw new IllegalArgumentException(
          "spec: expected one without biases, as positions are %s, got %s"
              .formatted(positions, spec));
    }
    if (!biased && (!bfloat16 || spec.bfloat16Products())) {
      return spec;
    }
    AttentionSpec.Builder builder =
        spec.toBuilder().bfloat16Products(bfloat16 || spec.bfloat16Products());
    if (biased) {
      builder.alibiSlopes(positions.slopes()).relativePositions(positions.distances());
    }
    return builder.build();
  }

  private static final String TRANSPOSED =
      "; the weight looks like [out, in]: give its transpose(0, 1), or say the builder's order";

  private static String transposed(Linear weight, long columns) {
    return weight.in() == columns ? TRANSPOSED : "";
  }

  private Parameters collectParameters() {
    Parameters.Builder all = new Parameters.Builder();
    if (fused != null) {
      all.addAll(fused.parameters());
    } else {
      all.addAll(query.parameters()).addAll(key.parameters()).addAll(value.parameters());
    }
    all.addAll(output.parameters());
    headNorms.addTo(all);
    if (positions.rotary() != null) {
      all.add("positions", positions.rotary().cos()).add("positions", positions.rotary().sin());
    }
    if (positions.relativeKeys() != null) {
      all.add("positions", positions.relativeKeys().table());
    }
    return all.add(positions.biasesScores() ? "positions" : "spec", mechanism.parameters()).build();
  }

  @Override
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
    RelativeKeys keys = positions.relativeKeys();
    if (keys != null && keys.headDim() != headDim) {
      throw new IllegalArgumentException(
          "positions: expected relative keys of %d elements (a head), got %d"
              .formatted(headDim, keys.headDim()));
    }
    if (keys != null && keys.ofKeys() && kvHeads != heads) {
      throw new IllegalArgumentException(
          "kvHeads: expected %d, as positions are relative keys of keys as well, got %d"
              .formatted(heads, kvHeads));
    }
  }

  /** Their keys are scaled already, and join the scores behind a softcap. */
  private static void checkRelativeKeys(AttentionSpec spec) {
    if (spec.scale().isPresent() || spec.softcap().isPresent()) {
      throw new IllegalArgumentException(
          "spec: expected neither scale nor softcap, as positions are relative keys, got " + spec);
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
   * Self-attention of sequences of one length.
   *
   * @param x {@code [batch, seq, dim]} or, as one sequence, {@code [tokens, dim]}, rows evenly
   *     spaced
   * @param out receives {@code [batch, seq, outDim]} or {@code [tokens, outDim]}, rows evenly
   *     spaced; may be x itself
   */
  public void forward(Tensor x, Tensor out) {
    forward(null, x, null, out);
  }

  /**
   * Self-attention of sequences of different lengths.
   *
   * @param x {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   * @param sequences how the rows are divided
   * @param out receives {@code [batch, seq, outDim]} or {@code [tokens, outDim]}, rows evenly
   *     spaced; may be x itself
   */
  public void forward(Tensor x, Sequences sequences, Tensor out) {
    forward(null, x, Objects.requireNonNull(sequences, "sequences"), out);
  }

  /**
   * Self-attention.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced
   * @param sequences how the rows are divided, or null: all of one length
   * @param out receives {@code [batch, seq, outDim]} or {@code [tokens, outDim]}, rows evenly
   *     spaced; may be x itself, but no other part of its memory, and shares none with sequences
   *     and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  @Override
  public void forward(Workspace workspace, Tensor x, Sequences sequences, Tensor out) {
    checkX(x);
    if (memoryDim != in) {
      throw new IllegalArgumentException(
          "memory: expected rows of %d, as the key weight has, got x of %d"
              .formatted(memoryDim, in));
    }
    checkOut(x, sequences, out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(call, sequences, "x", x, x.rank() - 1, MemorySegment.NULL);
      checkPositions("x", rows);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      self(call, rows, in, computed);
      Sequences.scatter(rows, computed, to);
    }
  }

  /**
   * Attention of the rows of x over the rows of memory. For encodings that add to scores (ALiBi,
   * relative) the last row of a sequence of x has the position of the last key of its memory; for
   * rotary ones rows and keys both count from 0.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [batch, seqQ, dim]} or {@code [tokens, dim]}, rows evenly spaced
   * @param queries how the rows of x are divided, or null: all of one length
   * @param memory {@code [batch, seqK, memoryDim]} or {@code [tokens, memoryDim]}, rows evenly
   *     spaced; may be x
   * @param keys how the rows of memory are divided, into as many sequences, or null: all of one
   *     length
   * @param out receives {@code [batch, seqQ, outDim]} or {@code [tokens, outDim]}, rows evenly
   *     spaced; may be x itself, but no other part of its memory, and shares none with memory,
   *     sequences and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor x, Sequences queries, Tensor memory, Sequences keys, Tensor out) {
    checkX(x);
    Objects.requireNonNull(memory, "memory");
    if (key != null) {
      key.checkRow("memory", "key", memory);
    }
    Rows.checkTokens("memory", memory, memoryDim);
    checkOut(x, queries, out);
    if (!SharedMemory.same(memory, x)) {
      SharedMemory.refuse("out", out, "memory", memory);
    }
    Sequences.refuseShared("out", out, keys);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows = Sequences.divide(call, queries, "x", x, x.rank() - 1, MemorySegment.NULL);
      SequenceRows keyRows =
          Sequences.divide(call, keys, "memory", memory, memory.rank() - 1, MemorySegment.NULL);
      if (keyRows.count() != rows.count()) {
        throw new IllegalArgumentException(
            "memory: expected %d sequences as x has, got %d"
                .formatted(rows.count(), keyRows.count()));
      }
      checkPositions("x", rows);
      checkPositions("memory", keyRows);
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "x", x));
      Matrix remembered = Sequences.gather(call, keyRows, Rows.view(call, "memory", memory));
      Matrix to = Rows.view(call, "out", out);
      Matrix computed = Sequences.target(call, rows, to);
      Matrix k = call.scratch().matrix(keyRows.rows(), kvHeads * headDim);
      Matrix v = call.scratch().matrix(keyRows.rows(), kvHeads * headDimV);
      project(call, remembered, k, v);
      rotate(call, k, keyRows);
      Matrix q = appendQueries(call, in, call.scratch().matrix(in.rows(), projected()));
      call.steps().run();
      headNorms.queries(call, q);
      rotate(call, q, rows);
      Matrix context = call.scratch().matrix(in.rows(), contextColumns());
      attend(call, rows, q, keyRows, k, v, context);
      output.run(call, context, computed);
      Sequences.scatter(rows, computed, to);
    }
  }

  private void checkX(Tensor x) {
    Linear source = fused != null ? fused : query;
    Objects.requireNonNull(x, "x");
    source.checkRow("x", fused != null ? "fused" : "query", x);
    Rows.checkTokens("x", x, source.in());
  }

  private void checkOut(Tensor x, Sequences sequences, Tensor out) {
    Rows.checkLike("out", out, x, output.out());
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    Sequences.refuseShared("out", out, sequences);
    parameters.refuse("out", out);
  }

  private void checkPositions(String name, SequenceRows rows) {
    Sequences.checkPositions(name, rows, MemorySegment.NULL, positions.positions());
  }

  // ---- sizes ---------------------------------------------------------------------------------

  @Override
  public long in() {
    return in;
  }

  @Override
  public long out() {
    return output.out();
  }

  /**
   * Returns the size of a row of memory.
   *
   * @return columns that keys and values are projected from
   */
  public long memoryDim() {
    return memoryDim;
  }

  @Override
  Causal causal() {
    return mechanism.causal();
  }

  /** {@return what its heads do with queries, keys and values} */
  public AttentionMechanism mechanism() {
    return mechanism;
  }

  /** Refuses positions, those of the specification included, where rows have none. */
  void refusePositions(String name, String why) {
    if (positions != PositionalEncoding.none()) {
      throw new IllegalArgumentException(
          "%s: expected positions none%s, got %s".formatted(name, why, positions));
    }
    if (exact == null) {
      return;
    }
    AttentionSpec spec = exact.spec();
    if (spec.alibiSlopes().isPresent() || spec.relativePositions().isPresent()) {
      throw new IllegalArgumentException(
          "%s: expected a specification without biases%s, got %s".formatted(name, why, spec));
    }
    if (spec.windowLeft().isPresent() || spec.windowRight().isPresent()) {
      throw new IllegalArgumentException(
          "%s: expected a specification without window%s, got %s".formatted(name, why, spec));
    }
  }

  @Override
  PositionalEncoding positions() {
    return positions;
  }

  @Override
  public int heads() {
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

  private boolean cachesKeys() {
    return stateFloats() == 0;
  }

  @Override
  int cachedHeads() {
    return cachesKeys() ? kvHeads : 0;
  }

  @Override
  long cachedKeyDim() {
    return cachesKeys() ? headDim : 0;
  }

  @Override
  long cachedValueDim() {
    return cachesKeys() ? headDimV : 0;
  }

  @Override
  long stateFloats() {
    return mechanism.causal() == Causal.NONE
        ? 0
        : mechanism.stateFloats(heads, kvHeads, headDim, headDimV);
  }

  // ---- computing -----------------------------------------------------------------------------

  /** Columns of queries, keys and values side by side. */
  @Override
  long projected() {
    return heads * headDim + kvHeads * (headDim + headDimV);
  }

  /** Columns of what the output's weight multiplies. */
  @Override
  long contextColumns() {
    return heads * headDimV;
  }

  /** Queries, keys and values of the same rows, side by side: parts 0, 1 and 2. */
  private void appendProjections(LayerCall call, Matrix x, Matrix all) {
    long keys = heads * headDim;
    long values = keys + kvHeads * headDim;
    Matrix q = all.part(0, 0, keys);
    Matrix k = all.part(1, keys, values - keys);
    Matrix v = all.part(2, values, kvHeads * headDimV);
    if (fused != null) {
      fused.append(call, x, all, false);
    } else {
      query.append(call, x, q, false);
      key.append(call, x, k, false);
      value.append(call, x, v, false);
    }
  }

  private Matrix projectAll(LayerCall call, Matrix x) {
    Matrix all = call.scratch().matrix(x.rows(), projected());
    appendProjections(call, x, all);
    call.steps().run();
    return all;
  }

  /** With the steps that wait; queries and keys have norms and positions afterwards. */
  private void projectRotated(LayerCall call, SequenceRows rows, Matrix x, Matrix all) {
    appendProjections(call, x, all);
    call.steps().run();
    headNorms.queries(call, all.part(0));
    headNorms.keys(call, all.part(1));
    rotate(call, all.part(0), rows);
    rotate(call, all.part(1), rows);
  }

  /** Self-attention. */
  void self(LayerCall call, SequenceRows rows, Matrix x, Matrix out) {
    self(call, rows, rows, x, out);
  }

  /** Self-attention over some of the rows of x. */
  void self(LayerCall call, SequenceRows rows, SequenceRows keys, Matrix x, Matrix out) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix all = scratch.matrix(x.rows(), projected());
    Matrix context = scratch.matrix(x.rows(), contextColumns());
    append(call, rows, keys, x, all, context, MemorySegment.NULL, out, false);
    call.steps().run();
    scratch.release(mark);
  }

  @Override
  void append(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      Matrix all,
      Matrix context,
      MemorySegment state,
      Matrix out,
      boolean passing) {
    append(call, rows, rows, x, all, context, state, out, passing);
  }

  /**
   * Self-attention, whose projections are some of the call's steps: those of x are done with the
   * ones that wait, that of the output waits.
   *
   * @param keys how the rows are divided as keys
   */
  private void append(
      LayerCall call,
      SequenceRows rows,
      SequenceRows keys,
      Matrix x,
      Matrix all,
      Matrix context,
      MemorySegment state,
      Matrix out,
      boolean passing) {
    projectRotated(call, rows, x, all);
    Matrix q = all.part(0);
    if (state.address() != 0) {
      mechanism.attendState(
          call, heads, kvHeads, rows, q, all.part(1), all.part(2), state, context);
    } else if (positions.relativeKeys() == null || rows.rows() == 0) {
      attend(call, rows, q, keys, all.part(1), all.part(2), context);
    } else {
      attendByDistance(call, rows, q, all.part(1), all.part(2), context);
    }
    output.append(call, context, out, passing);
  }

  @Override
  void show(AttentionListener listener, int layer, Matrix all) {
    if (exact == null) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) { // a tensor that the listener keeps ends with it
      listener.attention(
          layer,
          exact.spec(),
          heads(all.part(0), heads, arena),
          heads(all.part(1), kvHeads, arena));
    }
  }

  private Tensor heads(Matrix x, int heads, Arena arena) {
    long bytes = ((x.rows() - 1) * x.stride() + x.columns()) * Float.BYTES;
    return Tensor.ofStrided(
        x.segment().reinterpret(bytes, arena, null).asReadOnly(),
        DType.FLOAT32,
        new long[] {x.rows(), heads, headDim},
        new long[] {x.stride(), headDim, 1});
  }

  @Override
  void appendCached(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      DecoderState state,
      int layer,
      Matrix all,
      Matrix context,
      Matrix out,
      boolean passing) {
    if (!cachesKeys()) {
      super.appendCached(call, rows, x, state, layer, all, context, out, passing);
      return;
    }
    projectRotated(call, rows, x, all);
    Tensor keys = state.keys(layer);
    Tensor values = state.values(layer);
    append(rows, all.part(1), state, keys);
    append(rows, all.part(2), state, values);
    mechanism.attendCached(
        call, heads, kvHeads, rows, all.part(0), keys, values, state.ends(), context);
    output.append(call, context, out, passing);
  }

  /** Copies the new rows of each sequence behind those that its cache holds. */
  private static void append(SequenceRows rows, Matrix from, DecoderState state, Tensor cache) {
    long bytes = from.columns() * Float.BYTES;
    for (long n = 0; n < rows.count(); n++) {
      long begin = state.length((int) n);
      for (long s = 0; s < rows.length(n); s++) {
        MemorySegment.copy(
            from.segment(),
            (rows.start(n) + s) * from.stride() * Float.BYTES,
            cache.segment(),
            (n * cache.stride(0) + (begin + s) * cache.stride(1)) * Float.BYTES,
            bytes);
      }
    }
  }

  /** Keys and values of memory. */
  void project(LayerCall call, Matrix memory, Matrix k, Matrix v) {
    if (key != null) {
      key.run(call, memory, k);
      value.run(call, memory, v);
      headNorms.keys(call, k);
      return;
    }
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix all = projectAll(call, memory);
    all.part(1).copyRows(0, k, 0, memory.rows());
    all.part(2).copyRows(0, v, 0, memory.rows());
    scratch.release(mark);
    headNorms.keys(call, k);
  }

  /** Queries of x alone; all is as wide as all projections. */
  private Matrix appendQueries(LayerCall call, Matrix x, Matrix all) {
    if (query == null) {
      appendProjections(call, x, all);
      return all.part(0);
    }
    Matrix q = all.part(0, 0, query.out());
    query.append(call, x, q, false);
    return q;
  }

  /** Attention over keys and values that {@link #project} has made, without positions. */
  void cross(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix out) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix all = scratch.matrix(x.rows(), projected());
    Matrix context = scratch.matrix(x.rows(), contextColumns());
    appendCross(call, rows, x, keys, k, v, all, context, out, false);
    call.steps().run();
    scratch.release(mark);
  }

  /** The same as {@link #append}. */
  void appendCross(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix all,
      Matrix context,
      Matrix out,
      boolean passing) {
    Matrix q = appendQueries(call, x, all);
    call.steps().run();
    headNorms.queries(call, q);
    attend(call, rows, q, keys, k, v, context);
    output.append(call, context, out, passing);
  }

  private void attend(
      LayerCall call,
      SequenceRows rows,
      Matrix q,
      SequenceRows keys,
      Matrix k,
      Matrix v,
      Matrix context) {
    mechanism.checkSequences("x", rows, keys);
    mechanism.attend(call, heads, kvHeads, rows, q, keys, k, v, context);
  }

  private void attendByDistance(
      LayerCall call, SequenceRows rows, Matrix q, Matrix k, Matrix v, Matrix context) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    exact.describe(call, heads, kvHeads, rows, q, rows, k, v, context);
    positions.relativeKeys().describe(call, rows, q, k, heads);
    ExactAttention.run(call, q, k.segment(), v.segment(), context);
    scratch.release(mark);
  }

  private void rotate(LayerCall call, Matrix x, SequenceRows rows) {
    if (positions.rotary() != null) {
      positions.rotary().run(call, x, headDim, rows.positionIds());
    }
  }

  /** Collects the weights of an attention layer. Not thread-safe. */
  public static final class Builder {
    private final GatunRuntime runtime;
    private final int heads;
    private int kvHeads;
    private AttentionSpec spec = AttentionSpec.standard();
    private AttentionMechanism mechanism;
    private Linear fused;
    private Linear query;
    private Linear key;
    private Linear value;
    private Linear output;
    private PositionalEncoding positions = PositionalEncoding.none();
    private HeadNorms headNorms = HeadNorms.NONE;
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
     * Sets masks, scale, softcap, sinks and the threads of the attention itself (projections use
     * the runtime's); the default is no mask, 1 / sqrt(headDim), all threads.
     *
     * @param value the specification; its biases, [heads] and [heads, …], only where positions adds
     *     none; its sinks are [heads]
     * @return this builder
     */
    public Builder spec(AttentionSpec value) {
      this.spec = Objects.requireNonNull(value, "spec");
      return this;
    }

    /**
     * Sets what the heads do in place of exact attention: additive or linear attention, for
     * example. Neither a specification nor positions that change scores go with it.
     *
     * @param value the mechanism, whose own settings say what a row sees
     * @return this builder
     */
    public Builder mechanism(AttentionMechanism value) {
      this.mechanism = Objects.requireNonNull(value, "mechanism");
      return this;
    }

    /**
     * Sets an encoding that rotates queries and keys or adds to scores; one that is added to
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
     * Sets norms of each head of the queries and of each head of the keys, after their projection
     * and before their positions, as Qwen3 and Gemma 3 have them. The default is none.
     *
     * @param ofQueries of rows of headDim
     * @param ofKeys of rows of headDim
     * @return this builder
     */
    public Builder headNorms(Norm ofQueries, Norm ofKeys) {
      headNorms =
          new HeadNorms(
              Objects.requireNonNull(ofQueries, "ofQueries"),
              Objects.requireNonNull(ofKeys, "ofKeys"));
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
    public Builder fused(Tensor weight, Tensor bias) {
      fused = linear("fused", weight, bias);
      return this;
    }

    /**
     * Sets W_Q, W_K and W_V side by side, packed for example. A packed one is made for
     * self-attention: over another memory it computes all three of both, and more than it uses.
     *
     * @param layer of {@code (heads + 2 · kvHeads) · headDim} columns, without activation
     * @return this builder
     */
    public Builder fused(Linear layer) {
      fused = plain("fused", layer);
      return this;
    }

    /**
     * Sets W_Q, packed for example.
     *
     * @param layer of {@code heads · headDim} columns, without activation
     * @return this builder
     */
    public Builder query(Linear layer) {
      query = plain("query", layer);
      return this;
    }

    /**
     * Sets W_K, packed for example.
     *
     * @param layer of {@code kvHeads · headDim} columns, without activation
     * @return this builder
     */
    public Builder key(Linear layer) {
      key = plain("key", layer);
      return this;
    }

    /**
     * Sets W_V, packed for example.
     *
     * @param layer of {@code kvHeads · headDimV} columns, without activation
     * @return this builder
     */
    public Builder value(Linear layer) {
      value = plain("value", layer);
      return this;
    }

    /**
     * Sets W_O, packed for example.
     *
     * @param layer of {@code heads · headDimV} rows, without activation
     * @return this builder
     */
    public Builder output(Linear layer) {
      output = plain("output", layer);
      return this;
    }

    private static Linear plain(String name, Linear layer) {
      Objects.requireNonNull(layer, name);
      if (layer.activation() != Activation.NONE) {
        throw new IllegalArgumentException(
            "%s: expected the activation NONE, got %s".formatted(name, layer.activation()));
      }
      return layer;
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
