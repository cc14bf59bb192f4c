package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Images as sequences (Dosovitskiy et al., 2021, ViT): square patches side by side, each projected
 * to an embedding, a trained class token before them, and a trained position added to each. The
 * projection is the convolution whose stride is its size.
 *
 * <p>Immutable; any number of threads may share it. Warm calls allocate nothing.
 */
public final class PatchEmbedding {

  private final GatunRuntime runtime;
  private final int channels;
  private final int patch;
  private final int across;
  private final int down;
  private final Linear projection;
  private final Tensor table;
  private final Matrix tableRows;
  private final Norm norm;
  private final Parameters parameters;

  /**
   * Makes an embedding.
   *
   * @param runtime where it runs
   * @param arena where a table of positions, class token and bias together is made
   * @param height of an image, a multiple of the patch's
   * @param width of an image, a multiple of the patch's
   * @param weight {@code [dim, channels, patch, patch]}, contiguous; not copied
   * @param bias {@code [dim]}, or null
   * @param classToken {@code dim} elements
   * @param positions {@code patches + 1} rows of dim elements, that of the class token first
   * @param norm applied last, as CLIP does, or null
   */
  public PatchEmbedding(
      GatunRuntime runtime,
      Arena arena,
      int height,
      int width,
      Tensor weight,
      Tensor bias,
      Tensor classToken,
      Tensor positions,
      Norm norm) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(weight, "weight");
    Objects.requireNonNull(classToken, "classToken");
    Objects.requireNonNull(positions, "positions");
    if (weight.dtype() != DType.FLOAT32
        || weight.rank() != 4
        || weight.size(2) != weight.size(3)
        || weight.elements() == 0
        || !weight.isContiguous()) {
      throw Rows.bad("weight", "[dim, channels, patch, patch] float32, contiguous", weight);
    }
    int dim = Math.toIntExact(weight.size(0));
    this.channels = Math.toIntExact(weight.size(1));
    this.patch = Math.toIntExact(weight.size(2));
    if (height < patch || width < patch || height % patch != 0 || width % patch != 0) {
      throw new IllegalArgumentException(
          "height, width: expected multiples of %d, got %d and %d".formatted(patch, height, width));
    }
    this.down = height / patch;
    this.across = width / patch;
    this.projection =
        new Linear(
            runtime,
            weight.reshape(dim, (long) channels * patch * patch).transpose(0, 1),
            null,
            Activation.NONE);
    int rows = down * across + 1;
    if (classToken.dtype() != DType.FLOAT32 || classToken.elements() != dim) {
      throw Rows.bad("classToken", dim + " elements float32", classToken);
    }
    if (positions.dtype() != DType.FLOAT32 || positions.elements() != (long) rows * dim) {
      throw Rows.bad("positions", "[%d, %d] float32".formatted(rows, dim), positions);
    }
    if (bias != null && (bias.dtype() != DType.FLOAT32 || bias.elements() != dim)) {
      throw Rows.bad("bias", dim + " elements float32", bias);
    }
    if (norm != null) {
      Rows.same("norm", dim, norm.dim());
    }
    float[] sums = positions.toFloatArray();
    float[] first = classToken.toFloatArray();
    float[] shift = bias == null ? new float[dim] : bias.toFloatArray();
    for (int row = 0; row < rows; row++) {
      for (int i = 0; i < dim; i++) {
        sums[row * dim + i] += row == 0 ? first[i] : shift[i];
      }
    }
    this.table = Tensor.copyOf(arena, sums, rows, dim);
    this.tableRows = Matrix.of(table.segment(), rows, dim, dim);
    this.norm = norm;
    Parameters.Builder all = new Parameters.Builder();
    all.add("projection", projection.parameters()).add("table", table);
    this.parameters = all.add("norm", norm).build();
  }

  private PatchEmbedding(PatchEmbedding other, Linear projection) {
    this.runtime = other.runtime;
    this.channels = other.channels;
    this.patch = other.patch;
    this.across = other.across;
    this.down = other.down;
    this.projection = projection;
    this.table = other.table;
    this.tableRows = other.tableRows;
    this.norm = other.norm;
    Parameters.Builder all = new Parameters.Builder();
    all.add("projection", projection.parameters()).add("table", table);
    this.parameters = all.add("norm", norm).build();
  }

  /**
   * The same embedding with its weight packed.
   *
   * @param memory gives the memory of the packed weight
   * @param format what the weight becomes
   * @return a new embedding
   */
  public PatchEmbedding packed(SegmentAllocator memory, WeightFormat format) {
    return new PatchEmbedding(this, projection.packed(memory, format));
  }

  /**
   * Refuses a tensor that shares memory with a weight or a table: for models that are put together
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

  /** {@return the rows of an image: patches and the class token} */
  public int rows() {
    return down * across + 1;
  }

  /**
   * Embeds images.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param images {@code [batch, channels, height, width]}, contiguous
   * @param out receives {@code [batch, rows, dim]}, contiguous: the class token, then patches row
   *     by row; shares no memory with images or a weight
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor images, Tensor out) {
    checkImages(images);
    long batch = images.size(0);
    long dim = projection.out();
    Objects.requireNonNull(out, "out");
    if (out.rank() != 3 || out.size(0) != batch || out.size(1) != rows()) {
      throw Rows.bad("out", "[%d, %d, %d] float32, contiguous".formatted(batch, rows(), dim), out);
    }
    Rows.checkTokens("out", out, dim);
    Rows.checkOutput("out", out, batch * rows(), dim);
    SharedMemory.refuse("out", out, "images", images);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      run(call, batch, images.segment(), Rows.view(call, "out", out));
    }
  }

  /**
   * Checks images as {@link #forward} does.
   *
   * @param images {@code [batch, channels, height, width]}, contiguous
   * @throws IllegalArgumentException if they do not fit
   */
  public void checkImages(Tensor images) {
    Objects.requireNonNull(images, "images");
    if (images.dtype() != DType.FLOAT32
        || images.rank() != 4
        || images.size(1) != channels
        || images.size(2) != (long) down * patch
        || images.size(3) != (long) across * patch
        || !images.isContiguous()) {
      throw Rows.bad(
          "images",
          "[batch, %d, %d, %d] float32, contiguous"
              .formatted(channels, down * patch, across * patch),
          images);
    }
  }

  private void run(LayerCall call, long batch, MemorySegment images, Matrix out) {
    long rows = batch * rows();
    if (rows == 0) {
      return;
    }
    Scratch scratch = call.scratch();
    Matrix patches = scratch.matrix(rows, projection.in());
    MemorySegment numbers = scratch.ints(rows);
    MemorySegment positionIds = scratch.ints(rows);
    Matrix projected = scratch.matrix(rows, projection.out());
    for (long b = 0, row = 0; b < batch; b++) {
      for (int n = 0; n < rows(); n++, row++) {
        numbers.setAtIndex(ValueLayout.JAVA_INT, row, (int) row);
        positionIds.setAtIndex(ValueLayout.JAVA_INT, row, n);
        gather(images, b, n - 1, patches.segment(), row * projection.in());
      }
    }
    projection.run(call, patches, projected);
    Matrix sum = norm == null ? out : scratch.matrix(rows, out.columns());
    call.rows()
        .embedding(1, numbers, projected, positionIds, tableRows, MemorySegment.NULL, null, sum);
    if (norm != null) {
      norm.run(call, sum, null, null, out);
    }
  }

  /** A patch as a row, channel by channel; the class token's is 0. */
  private void gather(MemorySegment images, long image, int n, MemorySegment to, long at) {
    if (n < 0) {
      for (long i = 0; i < projection.in(); i++) {
        to.setAtIndex(ValueLayout.JAVA_FLOAT, at + i, 0);
      }
      return;
    }
    long width = (long) across * patch;
    long height = (long) down * patch;
    long top = (long) (n / across) * patch;
    long left = (long) (n % across) * patch;
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < patch; y++) {
        long from = ((image * channels + c) * height + top + y) * width + left;
        long line = at + ((long) c * patch + y) * patch;
        MemorySegment.copy(
            images, from * Float.BYTES, to, line * Float.BYTES, (long) patch * Float.BYTES);
      }
    }
  }
}
