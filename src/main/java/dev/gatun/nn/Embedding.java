package dev.gatun.nn;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
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
  private final float factor;
  private final Tensor positions;
  private final Tensor types;
  private final Norm norm;
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
   * Makes an embedding that normalises, as BERT's does.
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
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(table, "table");
    Objects.requireNonNull(encoding, "encoding");
    if (table.dtype() != DType.FLOAT32
        || table.rank() != 2
        || table.size(0) < 1
        || table.size(0) > Integer.MAX_VALUE
        || table.size(1) < 1
        || !table.isContiguous()) {
      throw Rows.bad("table", "[vocabulary, dim] float32, contiguous", table);
    }
    if (!Float.isFinite(factor) || factor == 0) {
      throw new IllegalArgumentException(
          "factor: expected a finite number that is not 0, got " + factor);
    }
    this.table = table;
    this.factor = factor;
    this.positions = encoding.table();
    if (positions != null && positions.size(1) != table.size(1)) {
      throw Rows.bad("encoding", "[positions, %d] float32".formatted(table.size(1)), positions);
    }
    this.types = types;
    if (types != null
        && (types.dtype() != DType.FLOAT32
            || types.rank() != 2
            || types.size(0) < 1
            || types.size(1) != table.size(1)
            || !types.isContiguous())) {
      throw Rows.bad("types", "[types, %d] float32, contiguous".formatted(table.size(1)), types);
    }
    this.norm = norm;
    if (norm != null) {
      Rows.same("norm", table.size(1), norm.dim());
    }
    Parameters.Builder all = new Parameters.Builder().add("table", table);
    all.add("encoding", positions).add("types", types);
    if (norm != null) {
      all.add("norm", norm.parameters());
    }
    this.parameters = all.build();
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

  /** Positions that the table tells apart. */
  int positions() {
    return positions == null ? Integer.MAX_VALUE : (int) positions.size(0);
  }

  /**
   * Returns the number of tokens.
   *
   * @return rows of the table
   */
  public int vocabulary() {
    return (int) table.size(0);
  }

  /**
   * Returns the size of an embedding.
   *
   * @return columns of the table
   */
  public long dim() {
    return table.size(1);
  }

  /**
   * Returns the projection of hidden states to logits by the same table (Press and Wolf 2017).
   *
   * @return {@code logits = hidden · tableᵀ}
   */
  public Linear output() {
    return new Linear(runtime, table.transpose(0, 1), null, Activation.NONE);
  }

  /**
   * Embeds sequences that begin at position 0.
   *
   * @param workspace what the call writes besides out, or null to be lent one
   * @param ids {@code [batch, seq]} int32, contiguous
   * @param out receives {@code [batch, seq, dim]}, contiguous; shares no memory with ids or a table
   * @throws IllegalArgumentException naming the argument, an id outside the table included; nothing
   *     was written
   */
  public void forward(Workspace workspace, Tensor ids, Tensor out) {
    checkIds(ids, 0);
    TransformerDecoder.checkOut(out, ids.size(0), ids.size(1), dim());
    SharedMemory.refuse("out", out, "ids", ids);
    parameters.refuse("out", out);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      MemorySegment places = null;
      if (positions != null) {
        places = places(blocks, ids.size(0), ids.size(1), null);
      }
      run(blocks, ids.elements(), ids.segment(), places, out.segment());
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  /** Ids of known tokens at positions that exist; the first of a sequence is at {@code before}. */
  void checkIds(Tensor ids, long before) {
    checkIds("ids", ids, before);
  }

  void checkIds(String name, Tensor ids, long before) {
    Objects.requireNonNull(ids, name);
    if (ids.dtype() != DType.INT32 || ids.rank() != 2 || !ids.isContiguous()) {
      throw Rows.bad(name, "[batch, seq] int32, contiguous", ids);
    }
    if (positions != null && before + ids.size(1) > positions.size(0)) {
      throw new IllegalArgumentException(
          "%s: expected at most %d positions, got %d"
              .formatted(name, positions.size(0), before + ids.size(1)));
    }
    MemorySegment segment = ids.segment();
    long count = ids.elements();
    for (long i = 0; i < count; i++) {
      int id = segment.getAtIndex(ValueLayout.JAVA_INT, i);
      if (id < 0 || id >= vocabulary()) {
        throw new IllegalArgumentException(
            "%s[%d]: expected 0 .. %d, got %d".formatted(name, i, vocabulary() - 1, id));
      }
    }
  }

  /**
   * Positions of the rows of {@code [batch, seq]}, each sequence beginning where the state stands,
   * or at 0.
   */
  static MemorySegment places(Blocks blocks, long batch, long seq, DecoderState state) {
    MemorySegment places = blocks.take(batch * seq).segment();
    for (long b = 0, row = 0; b < batch; b++) {
      int begin = state == null ? 0 : state.length((int) b);
      for (long s = 0; s < seq; s++, row++) {
        places.setAtIndex(ValueLayout.JAVA_INT, row, begin + (int) s);
      }
    }
    return places;
  }

  /** To rows without gaps. */
  void run(Blocks blocks, long rows, MemorySegment ids, MemorySegment places, MemorySegment to) {
    int mark = blocks.mark();
    MemorySegment own = Indices.copy(blocks, "ids", ids, rows, 0, vocabulary() - 1);
    // The second table is skipped by giving the third its place.
    boolean placed = positions != null;
    Tensor second = placed ? positions : types;
    Tensor third = placed ? types : null;
    blocks.embedding(
        factor,
        rows,
        dim(),
        own,
        table.segment(),
        table.size(0),
        placed ? places : MemorySegment.NULL,
        second == null ? MemorySegment.NULL : second.segment(),
        second == null ? 0 : second.size(0),
        MemorySegment.NULL,
        third == null ? MemorySegment.NULL : third.segment(),
        third == null ? 0 : third.size(0),
        to,
        dim());
    if (norm != null) {
      norm.run(blocks, rows, to, MemorySegment.NULL, MemorySegment.NULL, to);
    }
    blocks.giveBackTo(mark);
  }
}
