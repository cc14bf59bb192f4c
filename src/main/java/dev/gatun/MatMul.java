package dev.gatun;

import dev.gatun.internal.Blas;
import dev.gatun.internal.Native;
import java.util.Objects;

/**
 * Product of FLOAT32 matrices by OpenBLAS, cut into blocks over the threads of the runtime: {@code
 * out = alpha * a * b + beta * out}.
 *
 * <p>The blocks depend on the shapes only, so that the bits of the result do not depend on the
 * number of threads. OpenBLAS's own threads are switched off for the whole process.
 *
 * <p>Matrices are 2-D with one unit stride: row-major, or the {@code transpose(0, 1)} of that. The
 * rows may lie apart, as those of a {@link Tensor#slice} do. Sizes and strides are below 2^31.
 *
 * <p>An operation is immutable and may be shared by any number of threads; it belongs to its
 * runtime and is not closed. Errors are as those of {@link Attention}: on any exception nothing was
 * written. OpenBLAS needs 128 MiB of address space for each thread that multiplies, which is looked
 * for when the operation is made, and at the first product of a workspace: {@link GatunException}
 * if there is none.
 */
public final class MatMul {

  private static final String[] TENSORS = {"a", "b", "out"};

  private final GatunRuntime runtime;

  MatMul(GatunRuntime runtime) {
    this.runtime = runtime;
  }

  /**
   * The OpenBLAS in use.
   *
   * @param library its file name
   * @param libraryOrigin how it was found: {@code -Dgatun.openblas} or the resource it was
   *     extracted from
   * @param coreName the kernels that it chose for this CPU, such as {@code Haswell}
   * @param config its version and build options
   * @param threads threads of its own that a call uses: 1
   */
  public record BlasInfo(
      String library, String libraryOrigin, String coreName, String config, int threads) {}

  /**
   * Describes the OpenBLAS in use.
   *
   * @return which file it is and what it chose
   */
  public BlasInfo info() {
    return new BlasInfo(
        Blas.library(), Blas.libraryOrigin(), Blas.coreName(), Blas.config(), Blas.threads());
  }

  /**
   * Computes {@code out = a * b}. What out held before is not read.
   *
   * @param a {@code [m, k]}
   * @param b {@code [k, n]}
   * @param out receives {@code [m, n]}; it must not share memory with a or b
   */
  public void multiply(Tensor a, Tensor b, Tensor out) {
    multiply(null, 1, a, b, 0, out);
  }

  /**
   * Computes {@code out = alpha * a * b + beta * out}.
   *
   * @param alpha factor of the product
   * @param a {@code [m, k]}
   * @param b {@code [k, n]}
   * @param beta factor of what out holds; with 0 that is not read
   * @param out receives {@code [m, n]}; it must not share memory with a or b
   */
  public void multiply(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    multiply(null, alpha, a, b, beta, out);
  }

  /**
   * Computes {@code out = alpha * a * b + beta * out} with a workspace of the caller's.
   *
   * @param workspace what this call writes besides out, or null to be lent one
   * @param alpha factor of the product
   * @param a {@code [m, k]}
   * @param b {@code [k, n]}
   * @param beta factor of what out holds; with 0 that is not read
   * @param out receives {@code [m, n]}; it must not share memory with a or b
   */
  public void multiply(
      Workspace workspace, float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    Objects.requireNonNull(a, "a");
    Objects.requireNonNull(b, "b");
    Objects.requireNonNull(out, "out");
    Workspace taken = runtime.begin(workspace);
    try {
      run(taken, alpha, a, b, beta, out);
    } catch (IllegalStateException e) {
      throw ClosedArena.named(e, TENSORS, a, b, out);
    } finally {
      runtime.end(workspace, taken);
    }
  }

  private void run(Workspace ws, float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    if (ws.c != out.layout
        || ws.a != a.layout
        || ws.b != b.layout
        || ws.alpha != alpha
        || ws.beta != beta) {
      describe(ws, alpha, a.layout, b.layout, beta, out.layout);
    }
    if (out.readOnly) {
      throw new IllegalArgumentException(
          "out: expected memory that can be written, got a read-only segment");
    }
    int status =
        ws.rows.multiply(
            ws.swapped ? b.segment : a.segment, ws.swapped ? a.segment : b.segment, out.segment);
    if (status != Native.Abi.OK) {
      if (status == Native.Abi.OVERLAP) {
        throw new IllegalArgumentException(
            "out: expected memory of its own, got memory shared with a or b");
      }
      throw Native.failure(status, null);
    }
  }

  private static void describe(
      Workspace ws, float alpha, TensorLayout a, TensorLayout b, float beta, TensorLayout out) {
    ws.c = null; // until everything below has succeeded
    if (!isFloats(a)) {
      throw bad("a", "[m, k]", a);
    }
    long m = a.shape[0];
    long k = a.shape[1];
    if (!isFloats(b) || b.shape[0] != k) {
      throw bad("b", "[%d, n]".formatted(k), b);
    }
    long n = b.shape[1];
    if (!isFloats(out) || out.shape[0] != m || out.shape[1] != n) {
      throw bad("out", "[%d, %d]".formatted(m, n), out);
    }
    boolean swapped = !isRowMajor(out);
    if (swapped && !isColumnMajor(out)) {
      throw strides("out", out);
    }
    if (swapped) { // a column-major result is the row-major result of the transposed product
      describe(ws, n, m, k, alpha, "b", b, "a", a, beta, out, true);
    } else {
      describe(ws, m, n, k, alpha, "a", a, "b", b, beta, out, false);
    }
    ws.swapped = swapped;
    ws.alpha = alpha;
    ws.beta = beta;
    ws.a = a;
    ws.b = b;
    ws.c = out;
  }

  private static void describe(
      Workspace ws,
      long m,
      long n,
      long k,
      float alpha,
      String leftName,
      TensorLayout left,
      String rightName,
      TensorLayout right,
      float beta,
      TensorLayout out,
      boolean swapped) {
    boolean transposeLeft = isTransposed(leftName, left, swapped);
    boolean transposeRight = isTransposed(rightName, right, swapped);
    ws.rows.describeProduct(
        transposeLeft,
        transposeRight,
        m,
        n,
        k,
        leading(left, transposeLeft != swapped),
        leading(right, transposeRight != swapped),
        leading(out, swapped),
        alpha,
        beta);
  }

  /** Whether BLAS has to take the matrix, or its transpose if swapped, as stored transposed. */
  private static boolean isTransposed(String name, TensorLayout matrix, boolean swapped) {
    if (isRowMajor(matrix)) {
      return swapped;
    }
    if (isColumnMajor(matrix)) {
      return !swapped;
    }
    throw strides(name, matrix);
  }

  private static boolean isRowMajor(TensorLayout matrix) {
    return hasUnitStride(matrix, 1, 0);
  }

  private static boolean isColumnMajor(TensorLayout matrix) {
    return hasUnitStride(matrix, 0, 1);
  }

  /** Whether inner has stride 1 and outer steps over all of it; a size of 1 fits any stride. */
  private static boolean hasUnitStride(TensorLayout matrix, int inner, int outer) {
    return matrix.elements == 0
        || (matrix.shape[inner] == 1 || matrix.strides[inner] == 1)
            && (matrix.shape[outer] == 1 || matrix.strides[outer] >= matrix.shape[inner]);
  }

  /** Elements between stored rows. */
  private static long leading(TensorLayout matrix, boolean columnMajor) {
    int inner = columnMajor ? 0 : 1;
    int outer = columnMajor ? 1 : 0;
    long least = Math.max(1, matrix.shape[inner]);
    return matrix.elements == 0 || matrix.shape[outer] == 1 ? least : matrix.strides[outer];
  }

  private static boolean isFloats(TensorLayout matrix) {
    return matrix.shape.length == 2 && matrix.dtype == DType.FLOAT32;
  }

  private static IllegalArgumentException bad(String name, String shape, TensorLayout layout) {
    return new IllegalArgumentException(
        "%s: expected %s float32, got %s".formatted(name, shape, layout));
  }

  private static IllegalArgumentException strides(String name, TensorLayout matrix) {
    return new IllegalArgumentException(
        "%s: expected a row-major matrix or the transpose of one, got strides %s for shape %s"
            .formatted(name, TensorLayout.text(matrix.strides), TensorLayout.text(matrix.shape)));
  }
}
