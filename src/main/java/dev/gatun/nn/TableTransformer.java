package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import dev.gatun.internal.SharedMemory;
import java.util.List;
import java.util.Objects;

/**
 * Attention over both dimensions of a table, as TabPFN has it (Hollmann et al., 2025): the cells of
 * a row attend to each other, then the cells of a column; all rows, those to be predicted included,
 * attend only to the rows whose labels are known. Post-norm:
 *
 * <pre>{@code
 * x = norm(x + attention over features(x))
 * x = norm(x + attention over rows(x, keys of known rows))
 * x = norm(x + feedForward(x))
 * }</pre>
 *
 * <p>Neither dimension is transposed: the second attention strides over the rows. There is no
 * positional encoding: rows have no order, and the columns are told apart by what was added to
 * their cells before.
 *
 * <p>Immutable; any number of threads may share it. Warm calls allocate nothing.
 */
public final class TableTransformer {

  /**
   * One layer.
   *
   * @param features attention among the cells of a row
   * @param featuresNorm after it
   * @param items attention among the cells of a column
   * @param itemsNorm after it
   * @param feedForward the last sublayer
   * @param feedForwardNorm after it
   */
  public record Layer(
      MultiHeadAttention features,
      Norm featuresNorm,
      MultiHeadAttention items,
      Norm itemsNorm,
      FeedForward feedForward,
      Norm feedForwardNorm) {

    /** Checks that the sizes of the parts fit, and that positions are not encoded. */
    public Layer {
      Objects.requireNonNull(features, "features");
      Objects.requireNonNull(featuresNorm, "featuresNorm");
      Objects.requireNonNull(items, "items");
      Objects.requireNonNull(itemsNorm, "itemsNorm");
      Objects.requireNonNull(feedForward, "feedForward");
      Objects.requireNonNull(feedForwardNorm, "feedForwardNorm");
      long dim = features.in();
      check("features", dim, features);
      Rows.same("featuresNorm", dim, featuresNorm.dim());
      check("items", dim, items);
      Rows.same("itemsNorm", dim, itemsNorm.dim());
      Rows.same("feedForward.in", dim, feedForward.in());
      Rows.same("feedForward.out", dim, feedForward.out());
      Rows.same("feedForwardNorm", dim, feedForwardNorm.dim());
    }

    private static void check(String name, long dim, MultiHeadAttention attention) {
      Rows.same(name + ".in", dim, attention.in());
      Rows.same(name + ".memoryDim", dim, attention.memoryDim());
      Rows.same(name + ".out", dim, attention.out());
      attention.refusePositions(name, "");
    }
  }

  private final GatunRuntime runtime;
  private final Layer[] layers;
  private final long dim;
  private final Parameters parameters;

  /**
   * Makes a model.
   *
   * @param runtime where it runs
   * @param layers in the order in which they run, 1 or more
   */
  public TableTransformer(GatunRuntime runtime, List<Layer> layers) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.layers = Rows.copy("layers", layers, Layer[]::new);
    if (this.layers.length == 0) {
      throw new IllegalArgumentException("layers: expected 1 or more, got none");
    }
    this.dim = this.layers[0].features.in();
    for (int n = 0; n < this.layers.length; n++) {
      if (this.layers[n].features.in() != dim) {
        throw new IllegalArgumentException(
            "layers[%d]: expected rows of %d, got %d"
                .formatted(n, dim, this.layers[n].features.in()));
      }
    }
    Parameters.Builder all = new Parameters.Builder();
    for (int n = 0; n < this.layers.length; n++) {
      Layer layer = this.layers[n];
      String name = "layers[%d].".formatted(n);
      all.add(name + "features", layer.features.parameters())
          .add(name + "featuresNorm", layer.featuresNorm.parameters())
          .add(name + "items", layer.items.parameters())
          .add(name + "itemsNorm", layer.itemsNorm.parameters())
          .add(name + "feedForward", layer.feedForward.parameters())
          .add(name + "feedForwardNorm", layer.feedForwardNorm.parameters());
    }
    this.parameters = all.build();
  }

  /**
   * Runs the model.
   *
   * @param workspace scratch for this call, or null to borrow one
   * @param x {@code [rows, columns, dim]}, contiguous: embedded cells
   * @param known how many of the rows, from the first, are attended to
   * @param out receives {@code [rows, columns, dim]}, contiguous; may be x itself, but no other
   *     part of its memory, and shares none with weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, long known, Tensor out) {
    Objects.requireNonNull(x, "x");
    if (x.rank() != 3) {
      throw Rows.bad("x", "[rows, columns, %d] float32, contiguous".formatted(dim), x);
    }
    Rows.checkTokens("x", x, dim);
    Rows.checkLike("out", out, x, dim);
    long rows = x.size(0);
    if (known < 0 || known > rows) {
      throw new IllegalArgumentException("known: expected 0 .. %d, got %d".formatted(rows, known));
    }
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    parameters.refuse("out", out);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      ModelEvent event = ModelEvent.start();
      run(call, rows, x.size(1), known, Rows.view(call, "x", x), Rows.view(call, "out", out));
      ModelEvent.finish(event, "TableTransformer", (int) rows, rows * x.size(1));
    }
  }

  private void run(LayerCall call, long rows, long columns, long known, Matrix in, Matrix out) {
    if (in.rows() == 0) {
      return;
    }
    Scratch scratch = call.scratch();
    Matrix x = scratch.matrix(in.rows(), dim);
    Matrix sublayerOut = scratch.matrix(in.rows(), dim);
    SequenceRows acrossFeatures = SequenceRows.strided(scratch, rows, columns, columns, 1);
    SequenceRows acrossItems = SequenceRows.strided(scratch, columns, rows, 1, columns);
    SequenceRows knownItems = SequenceRows.strided(scratch, columns, known, 1, columns);
    Matrix current = in;
    for (int n = 0; n < layers.length; n++) {
      Layer layer = layers[n];
      layer.features.self(call, acrossFeatures, current, sublayerOut);
      layer.featuresNorm.run(call, sublayerOut, current, null, x);
      layer.items.self(call, acrossItems, knownItems, x, sublayerOut);
      layer.itemsNorm.run(call, sublayerOut, x, null, x);
      layer.feedForward.run(call, x, sublayerOut);
      layer.feedForwardNorm.run(call, sublayerOut, x, null, n + 1 == layers.length ? out : x);
      current = x;
    }
  }
}
