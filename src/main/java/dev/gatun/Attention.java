package dev.gatun;

import dev.gatun.internal.AttentionEvent;
import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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
 * <caption>Shapes; all are FLOAT32 but for the lengths</caption>
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
 * <p>Head dimensions are 1 to 512. Strides are free as long as the last dimension of q, k, v and
 * out is contiguous: pass {@code transpose(1, 2)} of {@code [batch, heads, seq, headDim]}, and
 * {@code select} of a packed buffer. Inputs may repeat memory by stride 0. An output must not share
 * memory with an input, with the other output or with itself; interleaved parts of one packed
 * buffer are fine.
 *
 * <p>Biases of the scores, ALiBi's or by a table of relative positions, belong to the {@link
 * AttentionSpec}.
 *
 * <p>Keys at and past the key length are not read. Rows at and past the query length are not read;
 * their out is 0 and their lse minus infinity, as for rows that may see no key at all. Right-padded
 * self-attention gives both lengths. NaN and infinities in places that a row may not see do not
 * reach it. The bits of a row depend on its own query, keys and biases, the scale and the tier, not
 * on threads, batch, heads or strides.
 *
 * <h2>Threads and lifetime</h2>
 *
 * <p>An operation is immutable and may be shared by any number of threads. It belongs to its
 * runtime and is not closed. It keeps no tensor but the biases of its specification. During a call
 * the linker keeps the arenas of the tensors open: closing one meanwhile throws {@link
 * IllegalStateException} in the thread that closes, and the call goes on.
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

  private static final String[] TENSORS = {
    "q", "k", "v", "keyLengths", "queryLengths", "out", "lse", "alibiSlopes", "relativePositions"
  };

  private static final long MAX_SIZE = Integer.MAX_VALUE;

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
    forward(null, q, k, v, null, null, out, null);
  }

  /**
   * Computes attention and the logarithm of the sum of exponentials.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param out receives {@code [batch, seqQ, heads, headDimV]}
   * @param lse receives {@code [batch, heads, seqQ]}, or null
   */
  public void forward(Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse) {
    forward(null, q, k, v, null, null, out, lse);
  }

  /**
   * Computes attention with a workspace of the caller's.
   *
   * @param workspace what this call writes besides out, or null to be lent one
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param out receives {@code [batch, seqQ, heads, headDimV]}
   */
  public void forward(Workspace workspace, Tensor q, Tensor k, Tensor v, Tensor out) {
    forward(workspace, q, k, v, null, null, out, null);
  }

  /**
   * Computes attention with lengths.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param keyLengths {@code [batch]} INT32, or null
   * @param queryLengths {@code [batch]} INT32, or null
   * @param out receives {@code [batch, seqQ, heads, headDimV]}
   * @param lse receives {@code [batch, heads, seqQ]}, or null
   */
  public void forward(
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor keyLengths,
      Tensor queryLengths,
      Tensor out,
      Tensor lse) {
    forward(null, q, k, v, keyLengths, queryLengths, out, lse);
  }

  /**
   * Computes attention: the form with everything.
   *
   * @param workspace what this call writes besides out and lse, or null to be lent one
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param keyLengths {@code [batch]} INT32, or null
   * @param queryLengths {@code [batch]} INT32, or null
   * @param out receives {@code [batch, seqQ, heads, headDimV]}
   * @param lse receives {@code [batch, heads, seqQ]}, or null
   */
  public void forward(
      Workspace workspace,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor keyLengths,
      Tensor queryLengths,
      Tensor out,
      Tensor lse) {
    Objects.requireNonNull(q, "q");
    Objects.requireNonNull(k, "k");
    Objects.requireNonNull(v, "v");
    Objects.requireNonNull(out, "out");
    Workspace taken = runtime.begin(workspace);
    try {
      run(taken, q, k, v, keyLengths, queryLengths, out, lse);
    } catch (IllegalStateException e) {
      throw ClosedArena.named(
          e,
          TENSORS,
          q,
          k,
          v,
          keyLengths,
          queryLengths,
          out,
          lse,
          spec.alibiSlopes,
          spec.relativePositions);
    } finally {
      runtime.end(workspace, taken);
    }
  }

  // ---- plan ----------------------------------------------------------------------------------

  /**
   * Tells how a call with these tensors is cut up. Nothing is computed, read or written.
   *
   * @param q queries {@code [batch, seqQ, heads, headDim]}
   * @param k keys {@code [batch, seqK, kvHeads, headDim]}
   * @param v values {@code [batch, seqK, kvHeads, headDimV]}
   * @param out {@code [batch, seqQ, heads, headDimV]}
   * @return the plan, for full lengths
   * @throws IllegalArgumentException if type, shape or strides are none that {@link
   *     #forward(Tensor, Tensor, Tensor, Tensor) forward} takes
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
   * @return the plan, for full lengths
   * @throws IllegalArgumentException if a size is none that {@link #forward(Tensor, Tensor, Tensor,
   *     Tensor) forward} takes
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
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment desc = arena.allocate(Native.Abi.ATTENTION_DESC_BYTES, Long.BYTES);
      MemorySegment info = arena.allocate(Native.Abi.ATTENTION_PLAN_BYTES, Long.BYTES);
      describe(desc, q, k, v, null, null, out, null);
      int status = runtime.plan(desc, info);
      if (status != Native.Abi.OK) {
        throw refusal(status, desc, out);
      }
      return Native.attentionPlan(info);
    }
  }

  // ---- the call ------------------------------------------------------------------------------

  /** Runs with a workspace that is this call's alone. */
  private void run(
      Workspace ws,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor keyLen,
      Tensor queryLen,
      Tensor out,
      Tensor lse) {
    TensorLayout keyLenLayout = keyLen == null ? null : keyLen.layout;
    TensorLayout queryLenLayout = queryLen == null ? null : queryLen.layout;
    TensorLayout lseLayout = lse == null ? null : lse.layout;
    if (ws.q != q.layout
        || ws.k != k.layout
        || ws.v != v.layout
        || ws.out != out.layout
        || ws.lse != lseLayout
        || ws.keyLengths != keyLenLayout
        || ws.queryLengths != queryLenLayout
        || ws.spec != spec) {
      describe(
          ws, q.layout, k.layout, v.layout, keyLenLayout, queryLenLayout, out.layout, lseLayout);
    }
    if (out.readOnly) {
      throw readOnly("out");
    }
    if (lse != null && lse.readOnly) {
      throw readOnly("lse");
    }
    AttentionEvent event = AttentionEvent.start();
    int status =
        spec.biased
            ? Native.attentionForwardBiased(
                runtime.context(),
                ws.attentionDescAddress,
                ws.scratchAddress,
                ws.scratchBytes,
                q.segment,
                k.segment,
                v.segment,
                segment(keyLen),
                segment(queryLen),
                out.segment,
                segment(lse),
                segment(spec.alibiSlopes),
                segment(spec.relativePositions))
            : Native.attentionForward(
                runtime.context(),
                ws.attentionDescAddress,
                ws.scratchAddress,
                ws.scratchBytes,
                q.segment,
                k.segment,
                v.segment,
                segment(keyLen),
                segment(queryLen),
                out.segment,
                segment(lse));
    if (status != Native.Abi.OK) {
      throw failure(ws, status, q, k, v, keyLen, queryLen, out, lse);
    }
    if (event != null) {
      Native.finish(event, ws.attentionDesc, runtime.tier(), runtime.threads());
    }
  }

  private static MemorySegment segment(Tensor tensor) {
    return tensor == null ? MemorySegment.NULL : tensor.segment;
  }

  // ---- checks, made when the shapes are not those of the workspace's previous call --------------

  private void describe(
      Workspace ws,
      TensorLayout q,
      TensorLayout k,
      TensorLayout v,
      TensorLayout keyLengths,
      TensorLayout queryLengths,
      TensorLayout out,
      TensorLayout lse) {
    ws.spec = null; // until everything below has succeeded
    describe(ws.attentionDesc, q, k, v, keyLengths, queryLengths, out, lse);
    int status = ws.prepareScratch();
    if (status != Native.Abi.OK) {
      throw refusal(status, ws.attentionDesc, out);
    }
    ws.q = q;
    ws.k = k;
    ws.v = v;
    ws.keyLengths = keyLengths;
    ws.queryLengths = queryLengths;
    ws.out = out;
    ws.lse = lse;
    ws.spec = spec;
  }

  /** For what C refuses of a descriptor that {@link #describe} has passed. */
  private RuntimeException refusal(int status, MemorySegment desc, TensorLayout out) {
    return status == Native.Abi.OVERLAP
        ? new IllegalArgumentException(Overlap.self("out", out))
        : Native.failure(status, Native.checkAttention(runtime.context(), desc));
  }

  private void describe(
      MemorySegment desc,
      TensorLayout q,
      TensorLayout k,
      TensorLayout v,
      TensorLayout keyLengths,
      TensorLayout queryLengths,
      TensorLayout out,
      TensorLayout lse) {
    if (!isFloats(q, 4)) {
      throw bad("q", "[batch, seqQ, heads, headDim]", q);
    }
    long batch = q.shape[0];
    long seqQ = q.shape[1];
    long heads = q.shape[2];
    long headDim = q.shape[3];
    if (batch > MAX_SIZE
        || seqQ > MAX_SIZE
        || heads < 1
        || heads > MAX_SIZE
        || !isHeadDim(headDim)) {
      throw bad("q", "[< 2^31, < 2^31, 1 or more, 1 .. " + Native.Abi.MAX_HEAD_DIM + "]", q);
    }
    if (!isFloats(k, 4)
        || k.shape[0] != batch
        || k.shape[1] > MAX_SIZE
        || k.shape[2] < 1
        || heads % k.shape[2] != 0
        || k.shape[3] != headDim) {
      String kvHeads = heads == 1 ? "1" : "divisor of " + heads;
      throw bad("k", "[%d, ?, %s, %d]".formatted(batch, kvHeads, headDim), k);
    }
    long seqK = k.shape[1];
    long kvHeads = k.shape[2];
    if (!isFloats(v, 4)
        || v.shape[0] != batch
        || v.shape[1] != seqK
        || v.shape[2] != kvHeads
        || !isHeadDim(v.shape[3])) {
      String shape = "[%d, %d, %d, 1 .. %d]";
      throw bad("v", shape.formatted(batch, seqK, kvHeads, Native.Abi.MAX_HEAD_DIM), v);
    }
    long headDimV = v.shape[3];
    if (!isFloats(out, 4)
        || out.shape[0] != batch
        || out.shape[1] != seqQ
        || out.shape[2] != heads
        || out.shape[3] != headDimV) {
      throw bad("out", "[%d, %d, %d, %d]".formatted(batch, seqQ, heads, headDimV), out);
    }
    if (lse != null
        && !(isFloats(lse, 3)
            && lse.shape[0] == batch
            && lse.shape[1] == heads
            && lse.shape[2] == seqQ)) {
      throw bad("lse", "[%d, %d, %d]".formatted(batch, heads, seqQ), lse);
    }
    checkHeads("alibiSlopes", spec.alibiSlopes, heads);
    checkHeads("relativePositions", spec.relativePositions, heads);
    checkLengths("keyLengths", keyLengths, batch);
    checkLengths("queryLengths", queryLengths, batch);
    checkUnitStride("q", q);
    checkUnitStride("k", k);
    checkUnitStride("v", v);
    checkUnitStride("out", out);

    Native.describeAttention(
        desc,
        spec.causal,
        spec.hasScale,
        spec.scale,
        spec.maxThreads,
        batch,
        heads,
        kvHeads,
        seqQ,
        seqK,
        headDim,
        headDimV);
    if (spec.biased) {
      Native.biased(desc, spec.relativeSpan());
    }
    Native.strideQ(desc, q.strides[0], q.strides[1], q.strides[2]);
    Native.strideK(desc, k.strides[0], k.strides[1], k.strides[2]);
    Native.strideV(desc, v.strides[0], v.strides[1], v.strides[2]);
    Native.strideOut(desc, out.strides[0], out.strides[1], out.strides[2]);
    if (lse == null) {
      Native.strideLse(desc, 0, 0, 0);
    } else {
      Native.strideLse(desc, lse.strides[0], lse.strides[2], lse.strides[1]);
    }
  }

  private static boolean isHeadDim(long size) {
    return size >= 1 && size <= Native.Abi.MAX_HEAD_DIM;
  }

  private static boolean isFloats(TensorLayout layout, int rank) {
    return layout.shape.length == rank && layout.dtype == DType.FLOAT32;
  }

  private static IllegalArgumentException bad(String name, String shape, TensorLayout layout) {
    return new IllegalArgumentException(
        "%s: expected %s float32, got %s".formatted(name, shape, layout));
  }

  private static void checkUnitStride(String name, TensorLayout layout) {
    if (layout.strides[3] != 1 && layout.shape[3] > 1 && layout.elements > 0) {
      throw new IllegalArgumentException(
          "%s: expected stride 1 in the last dimension, got strides %s for shape %s"
              .formatted(name, TensorLayout.text(layout.strides), TensorLayout.text(layout.shape)));
    }
  }

  private static void checkHeads(String name, Tensor biases, long heads) {
    if (biases != null && biases.layout.shape[0] != heads) {
      throw new IllegalArgumentException(
          "%s: expected %d heads as q has, got %s".formatted(name, heads, biases.layout));
    }
  }

  private static void checkLengths(String name, TensorLayout layout, long batch) {
    if (layout == null) {
      return;
    }
    if (layout.dtype != DType.INT32 || layout.shape.length != 1 || layout.shape[0] != batch) {
      throw new IllegalArgumentException(
          "%s: expected [%d] int32, got %s".formatted(name, batch, layout));
    }
    if (!layout.contiguous) {
      throw new IllegalArgumentException(
          "%s: expected stride 1, got stride %d".formatted(name, layout.strides[0]));
    }
  }

  // ---- failures ------------------------------------------------------------------------------

  private static IllegalArgumentException readOnly(String name) {
    return new IllegalArgumentException(
        name + ": expected memory that can be written, got a read-only segment");
  }

  /** Finds out which argument a status of the native call is about. Nothing has been written. */
  private RuntimeException failure(
      Workspace ws,
      int status,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor keyLengths,
      Tensor queryLengths,
      Tensor out,
      Tensor lse) {
    if (status == Native.Abi.LENGTH) {
      String text = badLength("keyLengths", keyLengths, k.layout.shape[1]);
      if (text == null) {
        text = badLength("queryLengths", queryLengths, q.layout.shape[1]);
      }
      return new IllegalArgumentException(
          text != null ? text : "keyLengths or queryLengths: a value was out of its range");
    }
    if (status == Native.Abi.OVERLAP) {
      return new IllegalArgumentException(
          Overlap.describe(spec, q, k, v, keyLengths, queryLengths, out, lse));
    }
    return Native.failure(status, Native.checkAttention(runtime.context(), ws.attentionDesc));
  }

  private static String badLength(String name, Tensor lengths, long max) {
    for (long i = 0; lengths != null && i < lengths.elements(); i++) {
      int length = lengths.segment.getAtIndex(ValueLayout.JAVA_INT, i);
      if (length < 0 || length > max) {
        return "%s[%d]: expected 0 .. %d, got %d".formatted(name, i, max, length);
      }
    }
    return null;
  }
}
