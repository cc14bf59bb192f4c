package dev.gatun.nn;

import dev.gatun.Causal;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.MemorySegment;

/**
 * A layer that lets the rows of a sequence see each other: self-attention, or what stands in its
 * place. {@link TransformerLayer} takes any of them as its first sublayer.
 *
 * <p>Immutable; any number of threads may share it. Lifetime and errors are as for {@link
 * MultiHeadAttention}.
 */
public abstract class SequenceMixer {

  SequenceMixer() {}

  /** {@return the size of a row of x} */
  public abstract long in();

  /** {@return the size of a row of out} */
  public abstract long out();

  /**
   * Mixes the rows of each sequence.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [batch, seq, in]} or {@code [tokens, in]}, rows evenly spaced
   * @param sequences how the rows are divided, or null: all of one length
   * @param out receives {@code [batch, seq, out]} or {@code [tokens, out]}, rows evenly spaced; may
   *     be x itself, but no other part of its memory, and shares none with sequences and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public abstract void forward(Workspace workspace, Tensor x, Sequences sequences, Tensor out);

  /** {@return its heads of queries; 0 where there are none} */
  public int heads() {
    return 0;
  }

  abstract Parameters parameters();

  /** Which rows a row sees. */
  abstract Causal causal();

  /** Encodings that it has itself. */
  PositionalEncoding positions() {
    return PositionalEncoding.none();
  }

  /** Columns of all that it computes of each row by itself. */
  abstract long projected();

  /** Columns of what its last product multiplies. */
  abstract long contextColumns();

  /** Floats that a sequence's state has, whatever its length; 0: there is none. */
  abstract long stateFloats();

  /**
   * How many of these lie apart: a state is {@code [sequences, apartFloats()]}, and behind it what
   * is left of each sequence, {@code [sequences, stateFloats() - apartFloats()]}.
   */
  long apartFloats() {
    return 0;
  }

  /** Heads of keys that are cached; 0: none are. */
  int cachedHeads() {
    return 0;
  }

  /** Elements of a key that is cached. */
  long cachedKeyDim() {
    return 0;
  }

  /** Elements of a value that is cached. */
  long cachedValueDim() {
    return 0;
  }

  /**
   * Mixes rows. What is waiting among the call's steps is done; the last product waits.
   *
   * @param all {@code [rows, projected()]}
   * @param context {@code [rows, contextColumns()]}
   * @param state {@code [sequences, stateFloats()]} of the rows before these, which becomes that
   *     after them; zeros before the first row; see {@link #apartFloats}. NULL: nothing comes
   *     before, nothing is kept
   * @param passing whether nobody needs out after the steps
   */
  abstract void append(
      LayerCall call,
      SequenceRows rows,
      Matrix x,
      Matrix all,
      Matrix context,
      MemorySegment state,
      Matrix out,
      boolean passing);

  /** The same of new rows of a decoder's sequences, which the state has afterwards. */
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
    append(call, rows, x, all, context, state.sums(layer), out, passing);
  }

  /** Shows a listener the queries and keys of what {@link #append} has made, if it has some. */
  void show(AttentionListener listener, int layer, Matrix all) {}
}
