package dev.gatun;

import dev.gatun.internal.SharedMemory;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Names the tensors that share memory, after native code has refused a call for it. Exact where the
 * strides of two tensors agree, by their extents elsewhere, as native code decides.
 */
final class Overlap {

  private Overlap() {}

  /** The output is called by this name; v is null where the call has none. */
  static String describe(
      String output,
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      AttentionOptions options) {
    Tensor lse = options.lse;
    if (selfOverlaps(out.layout)) {
      return self(output, out.layout);
    }
    if (lse != null && selfOverlaps(lse.layout)) {
      return self("lse", lse.layout);
    }
    Map<String, Tensor> others = new LinkedHashMap<>();
    others.put("q", q);
    others.put("k", k);
    others.put("v", v);
    others.put("keyLengths", options.keyLengths);
    others.put("queryLengths", options.queryLengths);
    others.put("cuSeqlens of queries", options.cuSeqlensQ);
    others.put("cuSeqlens of keys", options.cuSeqlensK);
    others.put("alibiSlopes", spec.alibiSlopes().orElse(null));
    others.put("relativePositions", spec.relativePositions().orElse(null));
    others.put("sinks", spec.sinks().orElse(null));
    others.put("mask", options.mask);
    others.put("bias", options.bias);
    others.put("blockMask", options.blockMask);
    others.put("segments of queries", options.segmentsQ);
    others.put("segments of keys", options.segmentsK);
    others.put("prefixLengths", options.prefixLengths);
    others.put("queryPositions", options.queryPositions);
    others.put("lse", lse);
    for (Map.Entry<String, Tensor> other : others.entrySet()) {
      if (other.getValue() != null && overlaps(out, other.getValue())) {
        return pair(output, other.getKey());
      }
    }
    others.remove("lse");
    for (Map.Entry<String, Tensor> other : others.entrySet()) {
      if (lse != null && other.getValue() != null && overlaps(lse, other.getValue())) {
        return pair("lse", other.getKey());
      }
    }
    return lse == null
        ? output + ": expected memory of its own, got memory shared with an input"
        : "out, lse: expected memory of their own, got memory shared with another tensor";
  }

  /** For inputs that native code gets a copy of. */
  static void refuse(String name, Tensor output, String inputName, Tensor input) {
    if (overlaps(output, input)) {
      throw SharedMemory.shared(name, inputName);
    }
  }

  private static String pair(String output, String other) {
    return SharedMemory.shared(output, other).getMessage();
  }

  static String self(String name, TensorLayout layout) {
    return "%s: expected an address for each element, got strides %s for shape %s"
        .formatted(name, TensorLayout.text(layout.strides), TensorLayout.text(layout.shape));
  }

  /** True unless each stride reaches beyond all dimensions with smaller strides. */
  private static boolean selfOverlaps(TensorLayout layout) {
    long extent = 1;
    for (int dim : byStride(layout)) {
      long stride = layout.strides[dim];
      if (layout.shape[dim] > 1) {
        if (stride < extent) {
          return true;
        }
        extent += (layout.shape[dim] - 1) * stride;
      }
    }
    return false;
  }

  /** Dimensions, smallest stride first. */
  private static int[] byStride(TensorLayout layout) {
    Integer[] dims = new Integer[layout.shape.length];
    Arrays.setAll(dims, dim -> dim);
    Arrays.sort(dims, (a, b) -> Long.compare(layout.strides[a], layout.strides[b]));
    return Arrays.stream(dims).mapToInt(Integer::intValue).toArray();
  }

  /** Whether an element of one is an element of the other. */
  static boolean overlaps(Tensor a, Tensor b) {
    long distance = b.segment.address() - a.segment.address();
    if (a.elements() == 0
        || b.elements() == 0
        || distance >= a.segment.byteSize()
        || -distance >= b.segment.byteSize()) {
      return false;
    }
    if (a.layout.dtype.byteSize() != b.layout.dtype.byteSize()
        || !sameStrides(a.layout, b.layout)) {
      return true;
    }
    int bytes = a.layout.dtype.byteSize();
    if (distance % bytes != 0) {
      return true;
    }
    int[] dims = byStride(a.layout);
    return meet(distance / bytes, dims, dims.length - 1, a.layout, b.layout);
  }

  private static boolean sameStrides(TensorLayout a, TensorLayout b) {
    boolean same = a.shape.length == b.shape.length;
    for (int dim = 0; same && dim < a.shape.length; dim++) {
      same = a.strides[dim] == b.strides[dim] || a.shape[dim] == 1 && b.shape[dim] == 1;
    }
    return same;
  }

  /**
   * Tells whether {@code distance = sum_dim (i_dim - j_dim) * stride_dim} has a solution with an
   * element i of a and j of b, trying the two nearest multiples of the largest stride first.
   */
  private static boolean meet(long distance, int[] dims, int next, TensorLayout a, TensorLayout b) {
    if (next < 0) {
      return distance == 0;
    }
    int dim = dims[next];
    long stride = a.strides[dim];
    if (stride == 0) {
      return meet(distance, dims, next - 1, a, b);
    }
    long steps = Math.floorDiv(distance, stride);
    for (long step = steps; step <= steps + 1; step++) {
      if (step < a.shape[dim]
          && -step < b.shape[dim]
          && meet(distance - step * stride, dims, next - 1, a, b)) {
        return true;
      }
    }
    return false;
  }
}
