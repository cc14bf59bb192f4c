package dev.gatun.nn;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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
   * One block.
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
      if (attention.positions() != PositionalEncoding.none()) {
        throw new IllegalArgumentException(
            "%s: expected positions none, got %s".formatted(name, attention.positions()));
      }
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
   * @param layers its blocks, 1 or more
   */
  public TableTransformer(GatunRuntime runtime, List<Layer> layers) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.layers = Stack.copy(layers, Layer[]::new);
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
   * @param workspace what the call writes besides out, or null to be lent one
   * @param x {@code [rows, columns, dim]}, contiguous: embedded cells
   * @param known how many of the rows, from the first, are attended to
   * @param out receives {@code [rows, columns, dim]}, contiguous; may be x itself, but no other
   *     part of its memory, and shares none with weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Workspace workspace, Tensor x, long known, Tensor out) {
    TransformerDecoder.checkRows("x", x, dim);
    long rows = x.size(0);
    long columns = x.size(1);
    TransformerDecoder.checkOut(out, rows, columns, dim);
    if (known < 0 || known > rows) {
      throw new IllegalArgumentException("known: expected 0 .. %d, got %d".formatted(rows, known));
    }
    SharedMemory.refuseUnlessSame("out", out, "x", x);
    parameters.refuse("out", out);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      ModelEvent event = ModelEvent.start();
      run(Access.get().blocks(taken), rows, columns, (int) known, x.segment(), out.segment());
      ModelEvent.finish(event, "TableTransformer", (int) rows, rows * columns);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  private void run(
      Blocks blocks, long rows, long columns, int known, MemorySegment in, MemorySegment out) {
    long cells = rows * columns;
    if (cells == 0) {
      return;
    }
    int mark = blocks.mark();
    MemorySegment none = MemorySegment.NULL;
    MemorySegment x = blocks.take(cells * dim).segment();
    MemorySegment change = blocks.take(cells * dim).segment();
    MemorySegment lengths = blocks.take(columns).segment();
    for (long c = 0; c < columns; c++) {
      lengths.setAtIndex(ValueLayout.JAVA_INT, c, known);
    }
    MemorySegment current = in;
    for (int n = 0; n < layers.length; n++) {
      Layer layer = layers[n];
      layer.features.self(blocks, rows, columns, columns, 1, current, none, none, change);
      layer.featuresNorm.run(blocks, cells, change, current, none, x);
      layer.items.self(blocks, columns, rows, 1, columns, x, lengths, none, change);
      layer.itemsNorm.run(blocks, cells, change, x, none, x);
      layer.feedForward.run(blocks, cells, x, dim, change, dim);
      MemorySegment to = n + 1 == layers.length ? out : x;
      layer.feedForwardNorm.run(blocks, cells, change, x, none, to);
      current = x;
    }
    blocks.giveBackTo(mark);
  }
}
