package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Messages;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Embeddings of tokens, section 3.4 of "Attention Is All You Need": rows of a table, times a
 * factor, plus the row of another table for each position. {@link #output} is the projection to
 * logits that shares the table.
 *
 * <p>Immutable; any number of threads may share it. The table is not copied, and its arena must
 * stay open.
 */
public final class Embedding {

  private final GatunRuntime runtime;
  private final Tensor table;

  /** Of a table of uint8; 0 if it is float32. */
  private final float scale;

  private final int zeroPoint;
  private final float factor;
  private final Tensor positions;
  private final int firstPosition;
  private final int paddingId;
  private final Tensor types;
  private final Norm norm;
  private final Matrix tableRows;
  private final Matrix positionRows;
  private final Matrix typeRows;
  private final Parameters parameters;

  /**
   * Makes an embedding.
   *
   * @param runtime where it runs
   * @param table {@code [vocabulary, dim]} float32, contiguous
   * @param factor of the table's rows: {@code sqrt(dim)} in the paper, 1 in most models; finite and
   *     not 0
   * @param encoding its table is added if it has one
   */
  public Embedding(GatunRuntime runtime, Tensor table, float factor, PositionalEncoding encoding) {
    this(runtime, table, factor, encoding, null, null);
  }

  /**
   * Makes an embedding that normalizes, as BERT's does.
   *
   * @param runtime where it runs
   * @param table {@code [vocabulary, dim]} float32, contiguous
   * @param factor of the table's rows, finite and not 0
   * @param encoding its table is added if it has one
   * @param types {@code [types, dim]} float32, contiguous, or null: row 0 is added to every token
   * @param norm applied last, or null
   */
  public Embedding(
      GatunRuntime runtime,
      Tensor table,
      float factor,
      PositionalEncoding encoding,
      Tensor types,
      Norm norm) {
    this(runtime, checked(table), 0, 0, factor, encoding, types, norm);
  }

  /**
   * Makes an embedding whose table is quantized, which has no {@link #output}.
   *
   * @param runtime where it runs
   * @param table a row for each token
   * @param factor of the table's rows, finite and not 0
   * @param encoding its table is added if it has one
   * @param types {@code [types, dim]} float32, contiguous, or null: row 0 is added to every token
   * @param norm applied last, or null
   */
  public Embedding(
      GatunRuntime runtime,
      QuantizedTable table,
      float factor,
      PositionalEncoding encoding,
      Tensor types,
      Norm norm) {
    this(runtime, table.numbers(), table.scale(), table.zeroPoint(), factor, encoding, types, norm);
  }

  private Embedding(
      GatunRuntime runtime,
      Tensor table,
      float scale,
      int zeroPoint,
      float factor,
      PositionalEncoding encoding,
      Tensor types,
      Norm norm) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(encoding, "encoding");
    if (!Float.isFinite(factor) || factor == 0) {
      throw new IllegalArgumentException(
          "factor: expected a finite number that is not 0, got " + factor);
    }
    this.table = table;
    this.scale = scale;
    this.zeroPoint = zeroPoint;
    this.factor = factor;
    this.positions = encoding.table();
    this.firstPosition = encoding.firstPosition();
    this.paddingId = encoding.paddingId();
    if (positions != null && positions.size(1) != table.size(1)) {
      throw Rows.bad("encoding", "[positions, %d] float32".formatted(table.size(1)), positions);
    }
    this.types = types;
    if (types != null) {
      long dim = table.size(1);
      Rows.checkTable("types", types, "[types, " + dim + "]", dim);
    }
    this.norm = norm;
    if (norm != null) {
      Rows.same("norm", table.size(1), norm.dim());
    }
    this.tableRows = matrix(table);
    this.positionRows = matrix(positions);
    this.typeRows = matrix(types);
    Parameters.Builder all = new Parameters.Builder();
    if (scale == 0) {
      all.add("table", table);
    } else {
      all.add("table", table.segment()); // whose elements are no floats
    }
    all.add("encoding", positions).add("types", types);
    this.parameters = all.add("norm", norm).build();
  }

  private static Tensor checked(Tensor table) {
    Rows.checkTable("table", table, "[vocabulary, dim]", -1);
    return table;
  }

  /**
   * Refuses a tensor that shares memory with a table or the norm: for models that are put together
   * from layers and write their result last.
   *
   * @param name of the argument, for the message
   * @param output what is going to be written
   * @throws IllegalArgumentException if it shares memory
   */
  public void refuseShared(String name, Tensor output) {
    parameters().refuse(name, output);
  }

  Parameters parameters() {
    return parameters;
  }

  private static Matrix matrix(Tensor table) {
    return table == null
        ? null
        : Matrix.of(table.segment(), table.size(0), table.size(1), table.size(1));
  }

  /** Positions that the table tells apart. */
  int positions() {
    return positions == null ? Integer.MAX_VALUE : (int) positions.size(0) - firstPosition;
  }

  /** {@return the number of tokens, rows of the table} */
  public int vocabulary() {
    return (int) table.size(0);
  }

  /** {@return the number of types of tokens, rows of their table; 0 if it has none} */
  public int types() {
    return types == null ? 0 : (int) types.size(0);
  }

  /** {@return the size of an embedding, columns of the table} */
  public long dim() {
    return table.size(1);
  }

  /**
   * {@return the projection of hidden states to logits by the same table (Press and Wolf 2017):
   * {@code logits = hidden · tableᵀ}}
   *
   * @throws UnsupportedOperationException if the table is quantized
   */
  public Linear output() {
    if (scale != 0) {
      throw new UnsupportedOperationException(
          "table: expected float32 for a projection to logits, got " + table.dtype());
    }
    return new Linear(runtime, table.transpose(0, 1), null, Activation.NONE);
  }

  /**
   * Embeds sequences of one length that begin at position 0, with borrowed scratch.
   *
   * @param ids as of {@link #forward(Workspace, Tensor, Sequences, Tensor)}
   * @param out as there
   */
  public void forward(Tensor ids, Tensor out) {
    forward(null, ids, null, out);
  }

  /**
   * Embeds sequences of different lengths that begin at position 0, with borrowed scratch.
   *
   * @param ids as of {@link #forward(Workspace, Tensor, Sequences, Tensor)}
   * @param sequences how the ids are divided
   * @param out as there
   */
  public void forward(Tensor ids, Sequences sequences, Tensor out) {
    forward(null, ids, Objects.requireNonNull(sequences, "sequences"), out);
  }

  /**
   * Embeds sequences that begin at position 0.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids {@code [batch, seq]} or {@code [tokens]} int32, contiguous; those of padding are not
   *     read
   * @param sequences how the ids are divided, or null: all of one length
   * @param out receives {@code [batch, seq, dim]} or {@code [tokens, dim]}, rows evenly spaced;
   *     shares no memory with ids or a table
   * @throws IllegalArgumentException naming the argument, an id outside the table included; nothing
   *     was written
   */
  public void forward(Workspace workspace, Tensor ids, Sequences sequences, Tensor out) {
    forward(workspace, ids, null, sequences, out);
  }

  /**
   * Embeds sequences of tokens of several types, as BERT's pairs of texts have them.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param ids as of {@link #forward(Workspace, Tensor, Sequences, Tensor)}
   * @param typeIds in the shape of ids, int32, contiguous, each below {@link #types}; or null: row
   *     0 of the types is added to every token
   * @param sequences how the ids are divided, or null: all of one length
   * @param out as there; shares no memory with typeIds either
   * @throws IllegalArgumentException naming the argument, an id outside its table included, or
   *     typeIds of an embedding without types; nothing was written
   */
  public void forward(
      Workspace workspace, Tensor ids, Tensor typeIds, Sequences sequences, Tensor out) {
    checkShape("ids", ids);
    checkTypes(typeIds, ids);
    SharedMemory.refuse("out", out, "typeIds", typeIds);
    Rows.checkLike("out", out, ids, dim());
    SharedMemory.refuse("out", out, "ids", ids);
    Sequences.refuseShared("out", out, sequences);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(call, sequences, "ids", ids, ids.rank(), MemorySegment.NULL);
      MemorySegment copy = copyIds(call, "ids", ids, rows, MemorySegment.NULL);
      Matrix to = Rows.view(call, "out", out);
      MemorySegment types = copyTypes(call, typeIds, rows);
      Matrix computed = Sequences.target(call, rows, to);
      run(call, rows, copy, types, computed);
      Sequences.scatter(rows, computed, to);
    }
  }

  /** Types of tokens in the shape of their ids, or null. */
  void checkTypes(Tensor typeIds, Tensor ids) {
    if (typeIds == null) {
      return;
    }
    if (types == null) {
      throw new IllegalArgumentException(
          "typeIds: expected null, as the embedding has no types, got %s"
              .formatted(Messages.sizes(typeIds.shape())));
    }
    if (typeIds.dtype() != DType.INT32 || !isLike(typeIds, ids) || !typeIds.isContiguous()) {
      throw Rows.bad("typeIds", Messages.sizes(ids.shape()) + " int32, contiguous", typeIds);
    }
  }

  /** Arrays of sizes would be garbage. */
  private static boolean isLike(Tensor one, Tensor other) {
    boolean same = one.rank() == other.rank();
    for (int n = 0; same && n < one.rank(); n++) {
      same = one.size(n) == other.size(n);
    }
    return same;
  }

  static void checkShape(String name, Tensor ids) {
    Objects.requireNonNull(ids, name);
    if (ids.dtype() != DType.INT32 || ids.rank() < 1 || ids.rank() > 2 || !ids.isContiguous()) {
      throw Rows.bad(name, "[batch, seq] or [tokens] int32, contiguous", ids);
    }
  }

  /**
   * The ids of the rows, read once into memory that nobody else changes; of known tokens at
   * positions that exist.
   *
   * @param first {@code [sequences]} int32, the position of each one's first row, or NULL: 0
   */
  MemorySegment copyIds(
      LayerCall call, String name, Tensor ids, SequenceRows rows, MemorySegment first) {
    Sequences.checkPositions(name, rows, first, positions());
    return copy(call, name, ids, vocabulary(), rows);
  }

  /** The types of the rows, as of {@link #copyIds}; NULL if there are none. */
  MemorySegment copyTypes(LayerCall call, Tensor typeIds, SequenceRows rows) {
    return typeIds == null ? MemorySegment.NULL : copy(call, "typeIds", typeIds, types(), rows);
  }

  private static MemorySegment copy(
      LayerCall call, String name, Tensor ids, int entries, SequenceRows rows) {
    MemorySegment copy = call.scratch().ints(rows.rows());
    long seq = ids.rank() == 2 ? ids.size(1) : 0;
    for (long n = 0; n < rows.count(); n++) {
      long from = rows.isPadded() ? n * seq : rows.start(n);
      MemorySegment.copy(
          ids.segment(),
          from * Integer.BYTES,
          copy,
          rows.start(n) * Integer.BYTES,
          rows.length(n) * Integer.BYTES);
      for (long s = 0; s < rows.length(n); s++) {
        int id = copy.getAtIndex(ValueLayout.JAVA_INT, rows.start(n) + s);
        if (id < 0 || id >= entries) {
          throw new IllegalArgumentException(
              "%s[%d]: expected 0 .. %d, got %d".formatted(name, from + s, entries - 1, id));
        }
      }
    }
    return copy;
  }

  /** Refuses unknown tokens of one of several texts, or of the only one (-1). */
  void requireKnown(int text, MemorySegment ids) {
    for (long n = 0; n < ids.byteSize() / Integer.BYTES; n++) {
      int id = ids.getAtIndex(ValueLayout.JAVA_INT, n);
      if (id < 0 || id >= vocabulary()) {
        String name = text < 0 ? "ids" : "texts[%d]".formatted(text);
        throw new IllegalArgumentException(
            "%s[%d]: expected 0 .. %d, got %d".formatted(name, n, vocabulary() - 1, id));
      }
    }
  }

  void run(LayerCall call, SequenceRows rows, MemorySegment ids, Matrix to) {
    run(call, rows, ids, MemorySegment.NULL, to);
  }

  /** The same with types of the tokens, checked as the ids are, or NULL. */
  void run(LayerCall call, SequenceRows rows, MemorySegment ids, MemorySegment typeIds, Matrix to) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    // The last operation alone writes the result.
    Matrix sum = norm == null ? to : scratch.matrix(to.rows(), to.columns());
    // The second table is skipped by giving the third its place.
    boolean placed = positions != null;
    call.rows()
        .embedding(
            factor,
            ids,
            tableRows,
            scale,
            zeroPoint,
            placed ? positionIds(call, rows, ids) : typeIds,
            placed ? positionRows : typeRows,
            placed ? typeIds : MemorySegment.NULL,
            placed ? typeRows : null,
            sum);
    if (norm != null) {
      norm.run(call, sum, null, null, to);
    }
    scratch.release(mark);
  }

  /**
   * RoBERTa counts from the row after that of padding, and gives padding inside a text that row
   * itself (fairseq's make_positions).
   */
  private MemorySegment positionIds(LayerCall call, SequenceRows rows, MemorySegment ids) {
    if (firstPosition == 0) {
      return rows.positionIds();
    }
    MemorySegment positionIds = call.scratch().ints(rows.rows());
    for (long n = 0; n < rows.count(); n++) {
      int next = firstPosition;
      for (long row = rows.start(n); row < rows.start(n) + rows.length(n); row++) {
        boolean counts = ids.getAtIndex(ValueLayout.JAVA_INT, row) != paddingId;
        positionIds.setAtIndex(ValueLayout.JAVA_INT, row, counts ? next++ : paddingId);
      }
    }
    return positionIds;
  }
}
