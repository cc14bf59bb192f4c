package dev.gatun;

import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.Native;
import dev.gatun.internal.Scratch;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Exact scaled dot-product attention (Vaswani et al., 2017, section 3.2.1), computed by tiles of
 * keys with an online softmax (Milakov and Gimelshein 2018; Dao et al., 2022), so that the matrix
 * of scores never exists. For every batch row {@code b}, query head {@code h} and query row {@code
 * i}:
 *
 * <pre>{@code
 * score[j]     = scale * sum_d q[b][i][h][d] * k[b][j][g][d]      g = h / (heads / kvHeads)
 * out[b][i][h] = sum_j softmax(score)[j] * v[b][j][g]             over the keys j that row i may see
 * lse[b][h][i] = log(sum_j exp(score[j]))                         natural logarithm
 * }</pre>
 *
 * <h2>Tensors</h2>
 *
 * <table>
 * <caption>Shapes; all are FLOAT32 but for the lengths, and for 16-bit floats, see below</caption>
 * <tr><th>argument</th><th>shape</th></tr>
 * <tr><td>q</td><td>[batch, seqQ, heads, headDim]</td></tr>
 * <tr><td>k</td><td>[batch, seqK, kvHeads, headDim]; kvHeads divides heads (grouped-query
 *     attention, Ainslie et al., 2023)</td></tr>
 * <tr><td>v</td><td>[batch, seqK, kvHeads, headDimV]</td></tr>
 * <tr><td>keyLengths</td><td>[batch] INT32, contiguous, each 0 … seqK; null: all are seqK</td></tr>
 * <tr><td>queryLengths</td><td>[batch] INT32, contiguous, each 0 … seqQ; null: all are seqQ</td></tr>
 * <tr><td>out</td><td>[batch, seqQ, heads, headDimV], written whole</td></tr>
 * <tr><td>lse</td><td>[batch, heads, seqQ], any strides; null: not wanted</td></tr>
 * </table>
 *
 * <p>Lengths and lse are {@link AttentionOptions}. So are {@code cuSeqlens}, which make the call
 * one of ragged sequences, one after the other without padding: q is {@code [totalQ, heads,
 * headDim]}, k {@code [totalK, kvHeads, headDim]}, v {@code [totalK, kvHeads, headDimV]}, out
 * {@code [totalQ, heads, headDimV]}, lse {@code [heads, totalQ]}, and sequence {@code b} has the
 * rows {@code cuSeqlens[b]} to {@code cuSeqlens[b + 1] - 1}. Sequences of many rows and of one
 * (prefill and decoding) may stand side by side. Rows before the first sequence and behind the last
 * are left alone. Each row has the bits that it has alone.
 *
 * <p>Head dimensions are 1 to 512. Strides are free as long as the last dimension of q, k, v and
 * out is contiguous: pass {@code transpose(1, 2)} of {@code [batch, heads, seq, headDim]}, and
 * {@code select} of a fused buffer. Inputs may repeat memory by stride 0. An output must not share
 * memory with an input, with the other output or with itself; interleaved parts of one fused buffer
 * are fine.
 *
 * <p>q may also be BFLOAT16 or FLOAT16, and so may k and v, whatever q is; out is FLOAT32 or has
 * the type of q. They are made FLOAT32 where they are read: results are those of FLOAT32 tensors of
 * the same numbers, to the bit, or their nearest 16-bit numbers. {@link
 * AttentionSpec.Builder#bfloat16Products} is about another thing, in what type products are made.
 *
 * <p>Biases of the scores (ALiBi's or by a table of relative positions), windows, a softcap and
 * sinks belong to the {@link AttentionSpec}; biases and masks key by key or by blocks, segments,
 * prefixes and positions are {@link AttentionOptions}. Masks add up: a row sees a key that none of
 * them hides. With {@code p} the position of a row, it sees key j if j is below the key length, and
 *
 * <ul>
 *   <li>under a causal mask {@code j <= p} or {@code j < prefixLengths[b]},
 *   <li>with a window {@code p - left <= j <= p + right}, or {@code j < globalTokens}, or {@code 0
 *       <= p < globalTokens},
 *   <li>mask, block mask and segments let it.
 * </ul>
 *
 * <p>Keys at and past the key length are not read. Rows at and past the query length are not read;
 * their out is 0 and their lse minus infinity, as for rows that may see no key at all (without a
 * sink). Right-padded self-attention gives both lengths. NaN and infinities in places that a row
 * may not see do not reach it. The bits of a row depend on its own query, keys and biases, the
 * scale and the tier (with bfloat16 products on what else the CPU has), not on threads, batch,
 * heads or strides.
 *
 * <h2>Threads and lifetime</h2>
 *
 * <p>An operation is immutable and may be shared by any number of threads. It belongs to its
 * runtime and is not closed. It keeps no tensor but the biases and sinks of its specification.
 * During a call the linker keeps the arenas of the tensors open: closing one meanwhile throws
 * {@link IllegalStateException} in the thread that closes, and the call goes on.
 *
 * <p>A call allocates nothing on the Java heap once it is warm. It cannot be interrupted, and it
 * pins the carrier of a virtual thread while native code runs. Where many virtual threads compute,
 * hand the calls to as many platform threads as there are cores, so that carriers stay free for
 * others. The tensors lie in shared arenas then, as another thread uses them:
 *
 * {@snippet :
 * ExecutorService cores = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
 * // in a virtual thread: it unmounts while it waits
 * cores.submit(() -> attention.forward(q, k, v, out)).get();
 * }
 *
 * <h2>Errors</h2>
 *
 * <p>On any exception nothing was written to out or lse. Every {@code forward} throws
 *
 * <ul>
 *   <li>{@link NullPointerException} if a tensor is null that may not be,
 *   <li>{@link IllegalArgumentException} that names the argument, what was expected and what came:
 *       type, shape, strides, a length, a read-only output, memory that is shared,
 *   <li>{@link IllegalStateException} if the arena of a tensor, the workspace or the runtime is
 *       closed, or if the workspace is in use,
 *   <li>{@link WrongThreadException} if the arena of a tensor is confined to another thread,
 *   <li>{@link GatunException} if the operating system gives no memory.
 * </ul>
 *
 * <p>Elements and lengths that another thread, or another process through a mapped file, changes
 * during a call make its result meaningless, or the call is refused; nothing beyond the tensors is
 * read or written.
 */
public final class Attention {

  private static final String[] TENSORS = {"q", "k", "v", "out"};

  private final GatunRuntime runtime;
  private final AttentionSpec spec;

  Attention(GatunRuntime runtime, AttentionSpec spec) {
    this.runtime = runtime;
    this.spec = spec;
  }

  /**
   * Returns the specification.
   *
   * @return what this operation computes
   */
  public AttentionSpec spec() {
    return spec;
  }

  /**
   * Returns the runtime.
   *
   * @return where this operation runs
   */
  public GatunRuntime runtime() {
    return runtime;
  }

  /** Describes the operation on one line. */
  @Override
  public String toString() {
    return "Attention(%s, %s)".formatted(spec, runtime);
  }

  /**
   * Computes attention.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param out receives {@code [batch, seqQ, heads, headDimV]}
   */
  public void forward(Tensor q, Tensor k, Tensor v, Tensor out) {
    run(null, q, k, v, out, AttentionOptions.NONE);
  }

  /**
   * Computes attention with lengths, of ragged sequences, or with the LSE.
   *
   * @param q queries
   * @param k keys
   * @param v values
   * @param out receives the output
   * @param options what else the call has
   */
  public void forward(Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    run(null, q, k, v, out, options);
  }

  /**
   * Computes attention with a workspace of the caller's.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param out receives {@code [batch, seqQ, heads, headDimV]}
   */
  public void forward(Workspace workspace, Tensor q, Tensor k, Tensor v, Tensor out) {
    run(workspace, q, k, v, out, AttentionOptions.NONE);
  }

  /**
   * Computes attention with a workspace of the caller's and options.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param q queries
   * @param k keys
   * @param v values
   * @param out receives the output
   * @param options what else the call has
   */
  public void forward(
      Workspace workspace, Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    run(workspace, q, k, v, out, options);
  }

  /**
   * Draws the probabilities of attention: as {@link #map(Workspace, Tensor, Tensor, Tensor,
   * AttentionMap, AttentionOptions)}, means of all rows and keys, without options.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param map receives {@code [batch, heads, mapRows, mapColumns]}
   */
  public void map(Tensor q, Tensor k, Tensor map) {
    map(null, q, k, map, AttentionMap.mean(), AttentionOptions.NONE);
  }

  /**
   * Draws the probabilities of attention: as {@link #map(Workspace, Tensor, Tensor, Tensor,
   * AttentionMap, AttentionOptions)} with a workspace that is borrowed.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param map receives {@code [batch, heads, mapRows, mapColumns]}
   * @param selection which rows and keys, and what a cell is
   * @param options lengths and masks of the call
   */
  public void map(
      Tensor q, Tensor k, Tensor map, AttentionMap selection, AttentionOptions options) {
    map(null, q, k, map, selection, options);
  }

  /**
   * Draws the probabilities of attention, as {@link #forward(Tensor, Tensor, Tensor, Tensor,
   * AttentionOptions) forward} with the same specification and options weighs values: {@code p[i,
   * j] = exp(score[i, j] - lse[i])}, the LSE over all keys of the row, of which the map shows the
   * chosen ones. Cells are those of {@link AttentionMap}: one probability, or the mean or the
   * largest of many. Scores are computed tile by tile, twice; no matrix {@code [seqQ, seqK]} is
   * made, so that maps of long sequences may be small.
   *
   * <p>Masked keys have probability 0, as have rows past the query length and those that see no
   * key; they count in means. In a row whose LSE is NaN all keys that no mask hides have NaN. With
   * sinks the probabilities of a row add up to less than 1. Bfloat16 products of the specification
   * play no part. The bits of a cell depend on its own rows and keys, the bounds of its bin of
   * keys, the scale and the tier. What is refused is refused as by {@code forward}; {@code map}
   * shares no memory with an input.
   *
   * @param workspace scratch for this call, or null to borrow one; 8 bytes for each column of the
   *     map and thread besides what tiles take, for 65,536 columns at most
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param map receives {@code [batch, heads, mapRows, mapColumns]}, FLOAT32, contiguous in the
   *     last dimension; mapRows is 1 up to the chosen rows, mapColumns 1 up to the chosen keys, 0
   *     where there are none
   * @param selection which rows and keys, and what a cell is
   * @param options lengths and masks of the call; neither offsets nor an LSE
   * @throws IllegalArgumentException as {@code forward}, and if sequences are ragged
   */
  public void map(
      Workspace workspace,
      Tensor q,
      Tensor k,
      Tensor map,
      AttentionMap selection,
      AttentionOptions options) {
    AttentionMaps.run(this, workspace, q, k, map, selection, options);
  }

  // ---- the call ------------------------------------------------------------------------------

  private void run(
      Workspace workspace, Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions given) {
    Objects.requireNonNull(q, "q");
    Objects.requireNonNull(k, "k");
    Objects.requireNonNull(v, "v");
    Objects.requireNonNull(out, "out");
    Objects.requireNonNull(given, "options");
    Workspace taken = runtime.begin(workspace);
    AttentionOptions options = AttentionOptions.NONE;
    try {
      if (given != AttentionOptions.NONE) {
        options = taken.options.set(given);
      }
      int status =
          options.cuSeqlensQ == null
              ? forwardBatch(taken, q, k, v, out, options)
              : forwardRagged(taken, q, k, v, out, options);
      if (status != Native.Abi.OK) {
        throw failure(taken.attention, status, q, k, v, out, options);
      }
    } catch (IllegalStateException e) {
      throw ClosedArena.named(e, spec, options, TENSORS, q, k, v, out);
    } finally {
      if (options != AttentionOptions.NONE) {
        taken.options.set(AttentionOptions.NONE); // keeps nobody's memory
      }
      runtime.end(workspace, taken);
    }
  }

  private int forwardBatch(
      Workspace ws, Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    if (!ws.layouts.hold(spec, q, k, v, out, options)) {
      AttentionArguments.describe(ws.attention, spec, ws.layouts.take(q, k, v, out, options));
      prepare(ws.attention, out.layout);
      ws.layouts.described(spec);
    }
    checkWritable(out, options.lse);
    giveMasks(ws.attention, options);
    return ws.attention
        .lengths(segment(options.keyLengths), segment(options.queryLengths))
        .run(q.segment, k.segment, v.segment, out.segment, segment(options.lse));
  }

  private int forwardRagged(
      Workspace ws, Tensor q, Tensor k, Tensor v, Tensor out, AttentionOptions options) {
    Tensor queries = options.cuSeqlensQ;
    Tensor keys = options.cuSeqlensK;
    AttentionArguments.checkOffsets(queries.layout, keys.layout);
    checkWritable(out, options.lse);
    Overlap.refuse("out", out, "cuSeqlens of queries", queries);
    Overlap.refuse("out", out, "cuSeqlens of keys", keys);
    if (options.lse != null) {
      Overlap.refuse("lse", options.lse, "cuSeqlens of queries", queries);
      Overlap.refuse("lse", options.lse, "cuSeqlens of keys", keys);
    }
    AttentionLayouts layouts = ws.layouts.take(q, k, v, out, options);
    AttentionArguments.checkRagged(spec, layouts);
    // The offsets decide what is read and written: they are copied, checked and used from there.
    Scratch scratch = ws.scratch();
    scratch.release(0);
    MemorySegment queryOffsets = scratch.ints(queries.elements());
    MemorySegment keyOffsets = scratch.ints(keys.elements());
    long longestQ =
        AttentionArguments.copyOffsets("cuSeqlens of queries", queries, q.size(0), queryOffsets);
    long longestK =
        AttentionArguments.copyOffsets("cuSeqlens of keys", keys, k.size(0), keyOffsets);
    AttentionArguments.describeRagged(ws.attention, spec, layouts, longestQ, longestK);
    ws.attention.raggedQueries(queryOffsets).raggedKeys(keyOffsets);
    prepare(ws.attention, out.layout);
    giveMasks(ws.attention, options);
    return ws.attention.run(q.segment, k.segment, v.segment, out.segment, segment(options.lse));
  }

  static void giveMasks(AttentionCall call, AttentionOptions options) {
    if (options.masked) {
      call.masks(given(options.mask), given(options.bias), given(options.blockMask))
          .prefixLengths(given(options.prefixLengths))
          .queryPositions(given(options.queryPositions));
      MemorySegment queries = given(options.segmentsQ);
      MemorySegment keys = given(options.segmentsK);
      if (queries != MemorySegment.NULL && keys != MemorySegment.NULL) {
        call.segments(queries, keys);
      }
    }
  }

  private static MemorySegment given(Tensor tensor) {
    return tensor != null && AttentionArguments.isGiven(tensor.layout)
        ? tensor.segment
        : MemorySegment.NULL;
  }

  static MemorySegment segment(Tensor tensor) {
    return tensor == null ? MemorySegment.NULL : tensor.segment;
  }

  private static void checkWritable(Tensor out, Tensor lse) {
    if (out.readOnly) {
      throw AttentionArguments.readOnly("out");
    }
    if (lse != null && lse.readOnly) {
      throw AttentionArguments.readOnly("lse");
    }
  }

  private static void prepare(AttentionCall call, TensorLayout out) {
    int status = call.prepare();
    if (status != Native.Abi.OK) {
      throw refusal(status, call, out);
    }
  }

  private static RuntimeException refusal(int status, AttentionCall call, TensorLayout out) {
    return status == Native.Abi.OVERLAP
        ? new IllegalArgumentException(Overlap.self("out", out))
        : Native.failure(status, call.check());
  }

  /** Finds out which argument a status of the native call is about. Nothing has been written. */
  private RuntimeException failure(
      AttentionCall call,
      int status,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      AttentionOptions options) {
    if (status == Native.Abi.LENGTH
        && (options.cuSeqlensQ == null || options.prefixLengths != null)) {
      return AttentionArguments.badLengths(call, options);
    }
    if (status == Native.Abi.OVERLAP) {
      return new IllegalArgumentException(Overlap.describe("out", spec, q, k, v, out, options));
    }
    return Native.failure(status, call.check());
  }

  // ---- plan ----------------------------------------------------------------------------------

  /**
   * Tells how a call with these tensors is cut up. Nothing is computed, read or written.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param out {@code [batch, seqQ, heads, headDimV]}
   * @return the plan, for full lengths and without options
   * @throws IllegalArgumentException if {@link #forward(Tensor, Tensor, Tensor, Tensor) forward}
   *     would reject a type, shape or stride
   * @throws IllegalStateException if the runtime is closed
   */
  public AttentionPlan plan(Tensor q, Tensor k, Tensor v, Tensor out) {
    return plan(q.layout, k.layout, v.layout, out.layout);
  }

  /**
   * Tells how a call with contiguous tensors of this shape is cut up, without having them.
   *
   * @param batch batch rows
   * @param heads query heads
   * @param kvHeads key/value heads, a divisor of heads
   * @param seqQ query rows
   * @param seqK keys
   * @param headDim size of a query, a key and a value
   * @param headsFirst whether they lie as {@code [batch, heads, seq, headDim]}, not as {@code
   *     [batch, seq, heads, headDim]}
   * @return the plan, for full lengths and without options
   * @throws IllegalArgumentException if a size is one that {@link #forward(Tensor, Tensor, Tensor,
   *     Tensor) forward} would reject
   * @throws IllegalStateException if the runtime is closed
   */
  public AttentionPlan plan(
      long batch,
      long heads,
      long kvHeads,
      long seqQ,
      long seqK,
      long headDim,
      boolean headsFirst) {
    TensorLayout q = contiguous(batch, seqQ, heads, headDim, headsFirst);
    TensorLayout k = contiguous(batch, seqK, kvHeads, headDim, headsFirst);
    return plan(q, k, k, q);
  }

  /** The layout of {@code [batch, seq, heads, dim]}. */
  private static TensorLayout contiguous(
      long batch, long seq, long heads, long dim, boolean headsFirst) {
    if (!headsFirst) {
      return TensorLayout.rowMajor(DType.FLOAT32, batch, seq, heads, dim);
    }
    long[] strides = TensorLayout.rowMajor(DType.FLOAT32, batch, heads, seq, dim).strides;
    return TensorLayout.of(
        DType.FLOAT32,
        new long[] {batch, seq, heads, dim},
        new long[] {strides[0], strides[2], strides[1], strides[3]});
  }

  private AttentionPlan plan(TensorLayout q, TensorLayout k, TensorLayout v, TensorLayout out) {
    return runtime.open(
        context -> {
          AttentionLayouts layouts = new AttentionLayouts();
          layouts.q = q;
          layouts.k = k;
          layouts.v = v;
          layouts.out = out;
          try (AttentionCall call = new AttentionCall(context)) {
            AttentionArguments.describe(call, spec, layouts);
            AttentionPlan plan = call.plan();
            if (plan == null) {
              throw refusal(call.prepare(), call, out);
            }
            return plan;
          }
        });
  }
}
