package dev.gatun.model;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Access;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.Messages;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import dev.gatun.nn.Activation;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * A BERT-family encoder (Devlin et al., 2018): from token ids to the last hidden state.
 *
 * <p>Texts lie packed, one after the other: {@code tokenIds} are those of all texts, and {@code
 * cuSeqlens} says where each begins, and at its end how many tokens there are. There is no padding,
 * and so no work on it: a batch of lengths 3 and 500 costs 503 rows.
 *
 * {@snippet :
 * Tensor tokenIds = Tensor.copyOf(arena, new int[] {101, 7592, 102, 101, 2088, 999, 102}, 7);
 * Tensor cuSeqlens = Tensor.copyOf(arena, new int[] {0, 3, 7}, 3);
 * Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, 7, encoder.config().hidden());
 * encoder.forward(null, tokenIds, cuSeqlens, hidden);
 * }
 *
 * <p>Immutable; any number of threads may share it, each call with a workspace of its own or lent.
 * Everything a call writes besides {@code hidden} lives in the workspace, which grows to the
 * longest batch seen and stays: warm calls allocate nothing on either side, whatever their lengths.
 * Bits do not depend on the number of threads. Virtual threads and lifetime are as for {@link
 * dev.gatun.Attention}.
 */
public final class BertEncoder {

  /** The weights of one layer, with those of query, key and value side by side. */
  private record Layer(
      MemorySegment inputWeight,
      MemorySegment inputBias,
      MemorySegment attentionWeight,
      MemorySegment attentionBias,
      MemorySegment attentionGamma,
      MemorySegment attentionBeta,
      MemorySegment intermediateWeight,
      MemorySegment intermediateBias,
      MemorySegment outputWeight,
      MemorySegment outputBias,
      MemorySegment outputGamma,
      MemorySegment outputBeta) {}

  private final GatunRuntime runtime;
  private final BertConfig config;
  private final long width;
  private final long intermediate;
  private final MemorySegment words;
  private final MemorySegment positions;
  private final MemorySegment tokenType;
  private final MemorySegment gamma;
  private final MemorySegment beta;
  private final Layer[] layers;

  /** All weights, for outputs to keep clear of. */
  private final Tensor memory;

  /**
   * Makes an encoder with a copy of the weights, in one piece of memory with huge pages.
   *
   * @param runtime where it runs
   * @param weights are read here and not kept: their arena may be closed afterwards
   * @param arena gets the copy, and has to stay open as long as the encoder is used; a shared one
   *     if several threads use it
   * @throws IllegalArgumentException naming the weight that does not fit the configuration
   */
  public BertEncoder(GatunRuntime runtime, BertWeights weights, Arena arena) {
    this.runtime = Objects.requireNonNull(runtime, "runtime");
    this.config = weights.config();
    this.width = config.hidden();
    this.intermediate = config.intermediate();
    if (config.layers() != weights.layers().size()) {
      throw new IllegalArgumentException(
          "weights: expected %d layers, got %d"
              .formatted(config.layers(), weights.layers().size()));
    }
    PackedWeights sizes = new PackedWeights(null);
    embeddings(weights, sizes);
    layers(weights, sizes);
    this.memory = Tensor.allocate(arena, DType.FLOAT32, sizes.used());
    PackedWeights packed = new PackedWeights(memory.segment());
    MemorySegment[] embeddings = embeddings(weights, packed);
    this.words = embeddings[0];
    this.positions = embeddings[1];
    this.tokenType = embeddings[2];
    this.gamma = embeddings[3];
    this.beta = embeddings[4];
    this.layers = layers(weights, packed);
  }

  /** Refuses an output that has memory of the weights or of what is read. */
  void refuseShared(String name, Tensor output, Tensor tokenIds, Tensor cuSeqlens) {
    SharedMemory.refuse(name, output, "tokenIds", tokenIds);
    SharedMemory.refuse(name, output, "cuSeqlens", cuSeqlens);
    SharedMemory.refuse(name, output, "the weights", memory);
  }

  private MemorySegment[] embeddings(BertWeights weights, PackedWeights to) {
    return new MemorySegment[] {
      to.copy("wordEmbeddings", weights.wordEmbeddings(), config.vocabulary(), width),
      to.copy("positionEmbeddings", positions(weights), config.positionRows(), width),
      to.copy("tokenTypeEmbeddings", weights.tokenTypeEmbeddings(), config.tokenTypes(), width),
      to.copy("embeddingNorm.weight", weights.embeddingNorm().weight(), width),
      to.copy("embeddingNorm.bias", weights.embeddingNorm().bias(), width)
    };
  }

  /** The rows that a text can have; a table may have more. */
  private Tensor positions(BertWeights weights) {
    Tensor table = weights.positionEmbeddings();
    return table.rank() == 2 && table.size(0) > config.positionRows()
        ? table.slice(0, 0, config.positionRows())
        : table;
  }

  private Layer[] layers(BertWeights weights, PackedWeights to) {
    Layer[] layers = new Layer[config.layers()];
    for (int n = 0; n < layers.length; n++) {
      layers[n] = layer("layers[%d].".formatted(n), weights.layers().get(n), to);
    }
    return layers;
  }

  private Layer layer(String name, BertWeights.Layer layer, PackedWeights to) {
    return new Layer(
        to.sideBySide(
            name + "query, key, value",
            width,
            layer.query().weight(),
            layer.key().weight(),
            layer.value().weight()),
        to.sideBySide(
            name + "query, key, value bias",
            width,
            layer.query().bias(),
            layer.key().bias(),
            layer.value().bias()),
        to.copy(name + "attentionOutput", layer.attentionOutput().weight(), width, width),
        to.copy(name + "attentionOutput.bias", layer.attentionOutput().bias(), width),
        to.copy(name + "attentionNorm.weight", layer.attentionNorm().weight(), width),
        to.copy(name + "attentionNorm.bias", layer.attentionNorm().bias(), width),
        to.copy(name + "intermediate", layer.intermediate().weight(), width, intermediate),
        to.copy(name + "intermediate.bias", layer.intermediate().bias(), intermediate),
        to.copy(name + "output", layer.output().weight(), intermediate, width),
        to.copy(name + "output.bias", layer.output().bias(), width),
        to.copy(name + "outputNorm.weight", layer.outputNorm().weight(), width),
        to.copy(name + "outputNorm.bias", layer.outputNorm().bias(), width));
  }

  /**
   * Returns the sizes.
   *
   * @return the configuration of the weights
   */
  public BertConfig config() {
    return config;
  }

  /**
   * Returns the runtime.
   *
   * @return where the encoder runs
   */
  public GatunRuntime runtime() {
    return runtime;
  }

  /**
   * Computes the last hidden state of texts.
   *
   * @param workspace what the call writes besides hidden, or null to be lent one
   * @param tokenIds {@code [total]} int32, the tokens of all texts
   * @param cuSeqlens {@code [texts + 1]} int32: 0, then where each text ends; the last is total. A
   *     text has at most {@link BertConfig#positions} tokens, and may have none
   * @param hidden receives {@code [total, hidden]}; shares no memory with the other two or the
   *     weights
   * @throws IllegalArgumentException naming the argument, what was expected and what came; nothing
   *     was written
   * @throws IllegalStateException if an arena, the workspace or the runtime is closed, or the
   *     workspace is in use
   */
  public void forward(Workspace workspace, Tensor tokenIds, Tensor cuSeqlens, Tensor hidden) {
    long total = ids("tokenIds", tokenIds, 0);
    long texts = ids("cuSeqlens", cuSeqlens, 1) - 1;
    long row = rows("hidden", hidden, total, width);
    refuseShared("hidden", hidden, tokenIds, cuSeqlens);
    Workspace taken = Access.get().begin(runtime, workspace);
    try {
      Blocks blocks = Access.get().blocks(taken);
      Blocks.Buffer ids = blocks.take(total);
      Blocks.Buffer offsets = blocks.take(texts + 1);
      MemorySegment.copy(tokenIds.segment(), 0, ids.segment(), 0, total * Integer.BYTES);
      MemorySegment.copy(cuSeqlens.segment(), 0, offsets.segment(), 0, (texts + 1) * Integer.BYTES);
      ModelEvent event = ModelEvent.start();
      run(blocks, ids.segment(), total, offsets.segment(), texts, hidden.segment(), row);
      ModelEvent.finish(event, "BertEncoder", (int) texts, total);
    } finally {
      Access.get().end(runtime, workspace, taken);
    }
  }

  // ---- checks --------------------------------------------------------------------------------

  /** Elements of a vector of numbers, at least so many. */
  static long ids(String name, Tensor tensor, long least) {
    if (tensor.dtype() != DType.INT32
        || tensor.rank() != 1
        || tensor.size(0) < least
        || tensor.size(0) > Integer.MAX_VALUE
        || !tensor.isContiguous()) {
      throw new IllegalArgumentException(
          "%s: expected [%s] int32 without gaps, got %s %s with strides %s"
              .formatted(
                  name,
                  least == 0 ? "total" : "texts + 1",
                  Messages.sizes(tensor.shape()),
                  tensor.dtype(),
                  Messages.sizes(tensor.strides())));
    }
    return tensor.size(0);
  }

  /** Elements between the rows of an output. */
  static long rows(String name, Tensor tensor, long rows, long columns) {
    if (tensor.dtype() != DType.FLOAT32
        || tensor.rank() != 2
        || tensor.size(0) != rows
        || tensor.size(1) != columns) {
      throw new IllegalArgumentException(
          "%s: expected [%d, %d] float32, got %s %s"
              .formatted(name, rows, columns, Messages.sizes(tensor.shape()), tensor.dtype()));
    }
    if (columns > 1 && tensor.stride(1) != 1 || rows > 1 && tensor.stride(0) < columns) {
      throw new IllegalArgumentException(
          "%s: expected rows that are contiguous and do not overlap, got strides %s"
              .formatted(name, Messages.sizes(tensor.strides())));
    }
    if (tensor.isReadOnly()) {
      throw new IllegalArgumentException(
          name + ": expected memory that can be written, got a read-only segment");
    }
    return rows > 1 ? tensor.stride(0) : columns;
  }

  /** The tokens of the longest text. */
  private long checkOffsets(MemorySegment offsets, long texts, long total) {
    long longest = 0;
    int last = offsets.getAtIndex(ValueLayout.JAVA_INT, 0);
    if (last != 0) {
      throw new IllegalArgumentException("cuSeqlens[0]: expected 0, got " + last);
    }
    for (long n = 1; n <= texts; n++) {
      int end = offsets.getAtIndex(ValueLayout.JAVA_INT, n);
      long most = Math.min(total, last + (long) config.positions());
      if (end < last || end > most) {
        throw new IllegalArgumentException(
            "cuSeqlens[%d]: expected %d .. %d (%d tokens in all, at most %d of a text), got %d"
                .formatted(n, last, most, total, config.positions(), end));
      }
      longest = Math.max(longest, end - last);
      last = end;
    }
    if (last != total) {
      throw new IllegalArgumentException(
          "cuSeqlens[%d]: expected %d as there are token ids, got %d"
              .formatted(texts, total, last));
    }
    return longest;
  }

  private void checkIds(MemorySegment ids, long total) {
    for (long n = 0; n < total; n++) {
      int id = ids.getAtIndex(ValueLayout.JAVA_INT, n);
      if (id < 0 || id >= config.vocabulary()) {
        throw new IllegalArgumentException(
            "tokenIds[%d]: expected 0 .. %d, got %d".formatted(n, config.vocabulary() - 1, id));
      }
    }
  }

  // ---- computation ---------------------------------------------------------------------------

  /** Runs on ids and offsets that nobody else writes, and that are checked here. */
  void run(
      Blocks blocks,
      MemorySegment ids,
      long total,
      MemorySegment offsets,
      long texts,
      MemorySegment hidden,
      long hiddenRow) {
    long longest = checkOffsets(offsets, texts, total);
    checkIds(ids, total);
    if (total == 0) {
      return;
    }
    int mark = blocks.mark();
    MemorySegment places = blocks.take(total).segment();
    long row = 0;
    for (long n = 1; n <= texts; n++) {
      int end = offsets.getAtIndex(ValueLayout.JAVA_INT, n);
      for (int place = config.firstPosition(); row < end; row++) {
        boolean counts = ids.getAtIndex(ValueLayout.JAVA_INT, row) != config.paddingId();
        places.setAtIndex(ValueLayout.JAVA_INT, row, counts ? place++ : config.paddingId());
      }
    }
    MemorySegment x = blocks.take(total * width).segment();
    MemorySegment context = blocks.take(total * width).segment();
    MemorySegment change = blocks.take(total * width).segment();
    // The packed projections and the feed-forward's rows are never alive at the same time.
    Blocks.Buffer wide = blocks.take(total * Math.max(3 * width, intermediate));
    blocks.embedding(
        1,
        total,
        width,
        ids,
        words,
        config.vocabulary(),
        places,
        positions,
        config.positionRows(),
        MemorySegment.NULL,
        tokenType,
        config.tokenTypes(),
        x,
        width);
    norm(blocks, total, x, MemorySegment.NULL, MemorySegment.NULL, gamma, beta, x, width);
    for (int n = 0; n < layers.length; n++) {
      Layer layer = layers[n];
      attention(blocks, layer, total, longest, offsets, texts, x, wide, context);
      linear(
          blocks,
          total,
          width,
          width,
          context,
          layer.attentionWeight,
          null,
          Activation.NONE,
          change);
      norm(
          blocks,
          total,
          change,
          layer.attentionBias,
          x,
          layer.attentionGamma,
          layer.attentionBeta,
          x,
          width);
      linear(
          blocks,
          total,
          width,
          intermediate,
          x,
          layer.intermediateWeight,
          layer.intermediateBias,
          Activation.GELU,
          wide.segment());
      linear(
          blocks,
          total,
          intermediate,
          width,
          wide.segment(),
          layer.outputWeight,
          null,
          Activation.NONE,
          change);
      boolean last = n + 1 == layers.length;
      norm(
          blocks,
          total,
          change,
          layer.outputBias,
          x,
          layer.outputGamma,
          layer.outputBeta,
          last ? hidden : x,
          last ? hiddenRow : width);
    }
    blocks.giveBackTo(mark);
  }

  private void attention(
      Blocks blocks,
      Layer layer,
      long total,
      long longest,
      MemorySegment offsets,
      long texts,
      MemorySegment x,
      Blocks.Buffer wide,
      MemorySegment context) {
    linear(
        blocks,
        total,
        width,
        3 * width,
        x,
        layer.inputWeight,
        layer.inputBias,
        Activation.NONE,
        wide.segment());
    int headDim = config.headDim();
    MemorySegment keys = wide.from(width, 2 * width);
    blocks
        .describe(
            Causal.NONE,
            false,
            0,
            texts,
            config.heads(),
            config.heads(),
            longest,
            longest,
            headDim,
            headDim)
        .queryStrides(0, 3 * width, headDim, 0, width, headDim)
        .keyStrides(0, 3 * width, headDim, 0, 3 * width, headDim)
        .attentionPacked(wide.segment(), keys, wide.second(), offsets, offsets, context);
  }

  private static void linear(
      Blocks blocks,
      long rows,
      long in,
      long out,
      MemorySegment x,
      MemorySegment weight,
      MemorySegment bias,
      Activation activation,
      MemorySegment to) {
    blocks.linear(
        rows,
        in,
        out,
        x,
        in,
        weight,
        out,
        false,
        bias == null ? MemorySegment.NULL : bias,
        activation,
        to,
        out);
  }

  /** Of x + bias + residual, whose rows have no gaps. */
  private void norm(
      Blocks blocks,
      long rows,
      MemorySegment x,
      MemorySegment bias,
      MemorySegment residual,
      MemorySegment gamma,
      MemorySegment beta,
      MemorySegment to,
      long toRow) {
    blocks.norm(
        false,
        config.layerNormEps(),
        rows,
        width,
        x,
        width,
        bias,
        residual,
        width,
        gamma,
        beta,
        MemorySegment.NULL,
        0,
        to,
        toRow);
  }

  /** Describes the encoder on one line. */
  @Override
  public String toString() {
    return "BertEncoder(%d layers of %d, %d heads)"
        .formatted(config.layers(), config.hidden(), config.heads());
  }
}
