package dev.gatun;

import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Checks the arguments of attention calls, describes them, and names the one that is wrong. */
final class AttentionArguments {

  private static final long MAX_SIZE = Integer.MAX_VALUE;

  private AttentionArguments() {}

  // ---- shapes --------------------------------------------------------------------------------

  /** Describes a call of tensors {@code [batch, seq, heads, dim]}. */
  static void describe(AttentionCall call, AttentionSpec spec, AttentionLayouts a) {
    check(spec, a, 1);
    checkInts("keyLengths", a.keyLengths, a.q.shape[0]);
    checkInts("queryLengths", a.queryLengths, a.q.shape[0]);
    describe(call, spec, a, 1, a.q.shape[0], a.q.shape[1], a.k.shape[1]);
  }

  /** Describes a map of the probabilities of queries and keys {@code [batch, seq, heads, dim]}. */
  static void describeMap(
      AttentionCall call, AttentionSpec spec, AttentionLayouts a, AttentionMap selection) {
    checkQueriesAndKeys(a, 1);
    long batch = a.q.shape[0];
    long seqQ = a.q.shape[1];
    long heads = a.q.shape[2];
    long seqK = a.k.shape[1];
    long headDim = a.q.shape[3];
    long rows = count("rows", selection.firstRow(), selection.rows(), "seqQ", seqQ);
    long keys = count("keys", selection.firstKey(), selection.keys(), "seqK", seqK);
    TensorLayout map = a.out;
    if (!isFloats(map, 4)
        || map.shape[0] != batch
        || map.shape[1] != heads
        || !isBins(map.shape[2], rows)
        || !isBins(map.shape[3], keys)) {
      String shape = "[%d, %d, %s, %s]".formatted(batch, heads, bins(rows), bins(keys));
      throw bad("map", shape, DType.FLOAT32.toString(), map);
    }
    checkSpec(spec, heads);
    checkUnitStride("q", a.q);
    checkUnitStride("k", a.k);
    checkUnitStride("map", map);
    checkInts("keyLengths", a.keyLengths, batch);
    checkInts("queryLengths", a.queryLengths, batch);
    checkMasks(spec, a, false, batch, heads, seqQ, seqK);
    call.describe(spec, batch, heads, a.k.shape[2], seqQ, seqK, headDim, headDim)
        .types(a.q.dtype, a.k.dtype, DType.FLOAT32)
        .strideQ(a.q.strides[0], a.q.strides[1], a.q.strides[2])
        .strideK(a.k.strides[0], a.k.strides[1], a.k.strides[2])
        .map(
            selection.reduction(),
            selection.firstRow(),
            rows,
            selection.firstKey(),
            keys,
            map.shape[2],
            map.shape[3])
        .strideMap(map.strides[0], map.strides[1], map.strides[2]);
    describeMasks(call, a);
  }

  /** How many rows or keys of a map there are. */
  private static long count(String name, long first, long count, String sizeName, long size) {
    if (first > size || count > size - first) {
      throw new IllegalArgumentException(
          "selection: expected %s within 0 .. %d (%s), got %d from %d on"
              .formatted(name, size, sizeName, Math.max(count, 0), first));
    }
    return count == AttentionMap.ALL ? size - first : count;
  }

  private static boolean isBins(long bins, long size) {
    return size == 0 ? bins == 0 : bins >= 1 && bins <= size;
  }

  private static String bins(long size) {
    return size <= 1 ? String.valueOf(size) : "1 .. " + size;
  }

  /** Checks ragged tensors {@code [total, heads, dim]}. */
  static void checkRagged(AttentionSpec spec, AttentionLayouts a) {
    check(spec, a, 0);
    if (a.keyLengths != null || a.queryLengths != null) {
      throw new IllegalArgumentException(
          "%s: expected none beside cuSeqlens, got %s"
              .formatted(
                  a.keyLengths != null ? "keyLengths" : "queryLengths",
                  a.keyLengths != null ? a.keyLengths : a.queryLengths));
    }
  }

  /** Describes a call of ragged tensors, whose longest sequences are so long. */
  static void describeRagged(
      AttentionCall call, AttentionSpec spec, AttentionLayouts a, long longestQ, long longestK) {
    describe(call, spec, a, 0, a.cuSeqlensQ.shape[0] - 1, longestQ, longestK);
  }

  private static void describe(
      AttentionCall call,
      AttentionSpec spec,
      AttentionLayouts a,
      int rows,
      long batch,
      long seqQ,
      long seqK) {
    long heads = a.q.shape[rows + 1];
    long kvHeads = a.k.shape[rows + 1];
    checkMasks(spec, a, rows == 0, batch, heads, seqQ, seqK);
    call.describe(
        spec, batch, heads, kvHeads, seqQ, seqK, a.q.shape[rows + 2], a.v.shape[rows + 2]);
    call.types(a.q.dtype, a.k.dtype, a.out.dtype)
        .strideQ(batchStride(a.q, rows), a.q.strides[rows], a.q.strides[rows + 1])
        .strideK(batchStride(a.k, rows), a.k.strides[rows], a.k.strides[rows + 1])
        .strideV(batchStride(a.v, rows), a.v.strides[rows], a.v.strides[rows + 1])
        .strideOut(batchStride(a.out, rows), a.out.strides[rows], a.out.strides[rows + 1]);
    if (a.lse != null) {
      call.strideLse(batchStride(a.lse, rows), a.lse.strides[rows + 1], a.lse.strides[rows]);
    }
    describeMasks(call, a);
  }

  /** One without elements has nothing to say, and perhaps no address. */
  static boolean isGiven(TensorLayout layout) {
    return layout != null && layout.elements > 0;
  }

  private static void describeMasks(AttentionCall call, AttentionLayouts a) {
    if (isGiven(a.mask)) {
      call.mask(stride(a.mask, 0), stride(a.mask, 1), stride(a.mask, 2), stride(a.mask, 3));
    }
    if (isGiven(a.bias)) {
      call.bias(
          a.bias.dtype, stride(a.bias, 0), stride(a.bias, 1), stride(a.bias, 2), stride(a.bias, 3));
    }
    if (isGiven(a.blockMask)) {
      call.blockMask(
          a.blockQ,
          a.blockK,
          stride(a.blockMask, 0),
          stride(a.blockMask, 1),
          stride(a.blockMask, 2),
          stride(a.blockMask, 3));
    }
    if (isGiven(a.queryPositions) || isGiven(a.segmentsQ) && isGiven(a.segmentsK)) {
      call.masked();
    }
    if (isGiven(a.prefixLengths)) {
      call.prefixed();
    }
  }

  /** 0 where the only element counts for all. */
  private static long stride(TensorLayout layout, int dim) {
    return layout.shape[dim] == 1 ? 0 : layout.strides[dim];
  }

  // ---- masks ---------------------------------------------------------------------------------

  private static void checkMasks(
      AttentionSpec spec,
      AttentionLayouts a,
      boolean ragged,
      long batch,
      long heads,
      long seqQ,
      long seqK) {
    checkMap("mask", a.mask, DType.UINT8, DType.UINT8, ragged, batch, heads, seqQ, seqK);
    checkMap("bias", a.bias, DType.FLOAT32, a.q.dtype, ragged, batch, heads, seqQ, seqK);
    if (a.blockMask != null) {
      long rows = Math.ceilDiv(seqQ, a.blockQ);
      long blocks = Math.ceilDiv(seqK, a.blockK);
      checkMap(
          "blockMask", a.blockMask, DType.UINT8, DType.UINT8, ragged, batch, heads, rows, blocks);
    }
    checkIds("segments of queries", a.segmentsQ, a.q, ragged);
    checkIds("segments of keys", a.segmentsK, a.k, ragged);
    checkIds("queryPositions", a.queryPositions, a.q, ragged);
    checkInts("prefixLengths", a.prefixLengths, batch);
    if (a.prefixLengths != null && spec.causal() == Causal.NONE) {
      throw new IllegalArgumentException(
          "prefixLengths: expected none without a causal mask, got " + a.prefixLengths);
    }
  }

  private static void checkMap(
      String name,
      TensorLayout layout,
      DType type,
      DType otherType,
      boolean ragged,
      long batch,
      long heads,
      long rows,
      long keys) {
    if (layout == null) {
      return;
    }
    if (layout.shape.length != 4
        || (layout.dtype != type && layout.dtype != otherType)
        || !isOneOr(batch, layout.shape[0])
        || !isOneOr(heads, layout.shape[1])
        || !(isOneOr(rows, layout.shape[2]) || ragged && layout.shape[2] > rows)
        || !(isOneOr(keys, layout.shape[3]) || ragged && layout.shape[3] > keys)) {
      String shape =
          (ragged
                  ? "[%d or 1, %d or 1, >= %d or 1, >= %d or 1]"
                  : "[%d or 1, %d or 1, %d or 1, %d or 1]")
              .formatted(batch, heads, rows, keys);
      throw bad(name, shape, type + (otherType == type ? "" : " or " + otherType), layout);
    }
  }

  private static boolean isOneOr(long size, long given) {
    return given == size || given == 1;
  }

  /** Checks numbers of the rows of a tensor. */
  private static void checkIds(String name, TensorLayout layout, TensorLayout of, boolean ragged) {
    if (ragged) {
      checkInts(name, layout, of.shape[0]);
      return;
    }
    if (layout != null
        && (layout.dtype != DType.INT32
            || layout.shape.length != 2
            || layout.shape[0] != of.shape[0]
            || layout.shape[1] != of.shape[1]
            || !layout.contiguous)) {
      String shape = "[%d, %d]".formatted(of.shape[0], of.shape[1]);
      throw bad(name, shape, "int32, contiguous", layout);
    }
  }

  private static long batchStride(TensorLayout layout, int rows) {
    return rows == 0 ? 0 : layout.strides[0];
  }

  /**
   * Checks all tensors but lengths and offsets.
   *
   * @param rows the dimension of rows: 1 behind that of the batch, or 0 where they are ragged
   */
  private static void check(AttentionSpec spec, AttentionLayouts a, int rows) {
    checkQueriesAndKeys(a, rows);
    checkValuesAndOutputs(a, rows);
    checkSpec(spec, a.q.shape[rows + 1]);
    checkUnitStride("q", a.q);
    checkUnitStride("k", a.k);
    checkUnitStride("v", a.v);
    checkUnitStride("out", a.out);
  }

  private static void checkQueriesAndKeys(AttentionLayouts a, int rows) {
    boolean ragged = rows == 0;
    String typeQ = typeOf(a.q.dtype);
    if (a.q.shape.length != rows + 3 || !isFloat(a.q.dtype)) {
      String shape = ragged ? "[totalQ, heads, headDim]" : "[batch, seqQ, heads, headDim]";
      throw bad("q", shape, typeQ, a.q);
    }
    long seqQ = a.q.shape[rows];
    long heads = a.q.shape[rows + 1];
    long headDim = a.q.shape[rows + 2];
    if (a.q.shape[0] > MAX_SIZE
        || seqQ > MAX_SIZE
        || heads < 1
        || heads > MAX_SIZE
        || !isHeadDim(headDim)) {
      String sizes = ragged ? "[< 2^31, " : "[< 2^31, < 2^31, ";
      throw bad("q", sizes + "1 or more, 1 .. " + Native.Abi.MAX_HEAD_DIM + "]", typeQ, a.q);
    }
    if (a.k.shape.length != rows + 3
        || !isFloat(a.k.dtype)
        || !sameBatch(a.k, a.q, rows)
        || a.k.shape[rows] > MAX_SIZE
        || a.k.shape[rows + 1] < 1
        || heads % a.k.shape[rows + 1] != 0
        || a.k.shape[rows + 2] != headDim) {
      Object seq = ragged ? "totalK" : a.q.shape[0] + ", ?";
      throw bad(
          "k", "[%s, %s, %d]".formatted(seq, divisor(heads), headDim), typeOf(a.k.dtype), a.k);
    }
  }

  private static void checkValuesAndOutputs(AttentionLayouts a, int rows) {
    long seqQ = a.q.shape[rows];
    long heads = a.q.shape[rows + 1];
    long seqK = a.k.shape[rows];
    long kvHeads = a.k.shape[rows + 1];
    if (!has(a.v, a.q, rows, seqK, kvHeads)
        || a.v.dtype != a.k.dtype
        || !isHeadDim(a.v.shape[rows + 2])) {
      String dim = "1 .. " + Native.Abi.MAX_HEAD_DIM;
      String shape = "[%s%d, %d, %s]".formatted(batch(a.q, rows), seqK, kvHeads, dim);
      throw bad("v", shape, a.k.dtype.toString(), a.v);
    }
    long headDimV = a.v.shape[rows + 2];
    if (!has(a.out, a.q, rows, seqQ, heads)
        || (a.out.dtype != DType.FLOAT32 && a.out.dtype != a.q.dtype)
        || a.out.shape[rows + 2] != headDimV) {
      String shape = "[%s%d, %d, %d]".formatted(batch(a.q, rows), seqQ, heads, headDimV);
      String other = a.q.dtype == DType.FLOAT32 ? "" : " or " + a.q.dtype;
      throw bad("out", shape, DType.FLOAT32 + other, a.out);
    }
    if (a.lse != null
        && !(isFloats(a.lse, rows + 2)
            && sameBatch(a.lse, a.q, rows)
            && a.lse.shape[rows] == heads
            && a.lse.shape[rows + 1] == seqQ)) {
      String shape = "[%s%d, %d]".formatted(batch(a.q, rows), heads, seqQ);
      throw bad("lse", shape, DType.FLOAT32.toString(), a.lse);
    }
  }

  private static void checkSpec(AttentionSpec spec, long heads) {
    checkHeads("alibiSlopes", spec.alibiSlopes().orElse(null), heads);
    checkHeads("relativePositions", spec.relativePositions().orElse(null), heads);
    checkHeads("sinks", spec.sinks().orElse(null), heads);
  }

  /** Whether a tensor has the batch of q, and these rows and heads. */
  private static boolean has(TensorLayout a, TensorLayout q, int rows, long seq, long heads) {
    return a.shape.length == rows + 3
        && sameBatch(a, q, rows)
        && a.shape[rows] == seq
        && a.shape[rows + 1] == heads;
  }

  private static boolean sameBatch(TensorLayout a, TensorLayout q, int rows) {
    return rows == 0 || a.shape[0] == q.shape[0];
  }

  private static String batch(TensorLayout q, int rows) {
    return rows == 0 ? "" : q.shape[0] + ", ";
  }

  private static String divisor(long heads) {
    return heads == 1 ? "1" : "divisor of " + heads;
  }

  private static boolean isHeadDim(long size) {
    return size >= 1 && size <= Native.Abi.MAX_HEAD_DIM;
  }

  private static boolean isFloats(TensorLayout layout, int rank) {
    return layout.shape.length == rank && layout.dtype == DType.FLOAT32;
  }

  private static boolean isFloat(DType type) {
    return type == DType.FLOAT32 || type == DType.BFLOAT16 || type == DType.FLOAT16;
  }

  /** What is expected where this is there. */
  private static String typeOf(DType type) {
    return isFloat(type) ? type.toString() : "float32, bfloat16 or float16";
  }

  private static IllegalArgumentException bad(
      String name, String shape, String type, TensorLayout layout) {
    return new IllegalArgumentException(
        "%s: expected %s %s, got %s".formatted(name, shape, type, layout));
  }

  private static void checkUnitStride(String name, TensorLayout layout) {
    int last = layout.shape.length - 1;
    if (layout.strides[last] != 1 && layout.shape[last] > 1 && layout.elements > 0) {
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

  private static void checkInts(String name, TensorLayout layout, long count) {
    if (layout == null) {
      return;
    }
    if (layout.dtype != DType.INT32 || layout.shape.length != 1 || layout.shape[0] != count) {
      throw new IllegalArgumentException(
          "%s: expected [%d] int32, got %s".formatted(name, count, layout));
    }
    if (!layout.contiguous) {
      throw new IllegalArgumentException(
          "%s: expected stride 1, got stride %d".formatted(name, layout.strides[0]));
    }
  }

  // ---- offsets of ragged sequences -----------------------------------------------------------

  /** Checks that these are offsets of as many sequences, before they are read. */
  static void checkOffsets(TensorLayout queries, TensorLayout keys) {
    long least = Math.max(1, queries.shape.length == 1 ? queries.shape[0] : 1);
    checkInts("cuSeqlens of queries", queries, least);
    checkInts("cuSeqlens of keys", keys, least);
    if (least > MAX_SIZE) {
      throw new IllegalArgumentException(
          "cuSeqlens: expected less than 2^31 offsets, got " + least);
    }
  }

  /**
   * Copies offsets to memory that nobody else changes, and checks the copy.
   *
   * @param total the rows there are
   * @return the longest sequence
   */
  static long copyOffsets(String name, Tensor offsets, long total, MemorySegment to) {
    long count = offsets.elements();
    MemorySegment.copy(offsets.segment, 0, to, 0, count * Integer.BYTES);
    long longest = 0;
    int last = 0;
    for (long n = 0; n < count; n++) {
      int end = to.getAtIndex(ValueLayout.JAVA_INT, n);
      if (end < last || end > total) {
        throw new IllegalArgumentException(
            "%s[%d]: expected %d .. %d (rows there are), got %d"
                .formatted(name, n, last, total, end));
      }
      if (n > 0) {
        longest = Math.max(longest, end - last);
      }
      last = end;
    }
    return longest;
  }

  // ---- failures ------------------------------------------------------------------------------

  static IllegalArgumentException readOnly(String name) {
    return new IllegalArgumentException(
        name + ": expected memory that can be written, got a read-only segment");
  }

  /** Which length it is that is out of its range. */
  static IllegalArgumentException badLengths(AttentionCall call, AttentionOptions options) {
    String text = badLength("keyLengths", options.keyLengths, call.seqK());
    if (text == null) {
      text = badLength("queryLengths", options.queryLengths, call.seqQ());
    }
    if (text == null) {
      text = badLength("prefixLengths", options.prefixLengths, call.seqK());
    }
    return new IllegalArgumentException(
        text != null
            ? text
            : "keyLengths, queryLengths or prefixLengths: a value was out of its range");
  }

  /** The first length that is out of its range, or null. */
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
