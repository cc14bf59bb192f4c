package dev.gatun.cli;

import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.cli.KernelOptions.Layout;
import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Map;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What decides about scores, beside queries and keys. */
final class ScoreOptions {
  @Option(
      names = "--causal",
      paramLabel = "ALIGNMENT",
      description =
          "Row i sees no later key: bottom-right lets the last query see the last key, top-left"
              + " lets row i see keys 0 .. i. Without this option every row sees all keys.")
  private Causal causal = Causal.NONE;

  @Option(
      names = "--scale",
      paramLabel = "S",
      converter = Converters.Scale.class,
      description = "The factor of the scores; 1/sqrt(headDim) without this option.")
  private Float scale;

  @Option(
      names = "--lengths",
      paramLabel = "FILE",
      description =
          "Key lengths, int32 or int64 [batch], each 0 .. seq of K: later keys do not exist.")
  private Path lengths;

  @Option(
      names = "--query-lengths",
      paramLabel = "FILE",
      description =
          "Query lengths, int32 or int64 [batch], each 0 .. seq of Q: later rows give 0 and an LSE"
              + " of -inf.")
  private Path queryLengths;

  @Mixin private MaskOptions masks;

  /** What the options say about a call; lengths are null where there are none. */
  record Scores(int[] keyLengths, int[] queryLengths, Causal causal, Changes changes) {

    AttentionSpec spec() {
      return changes.spec();
    }

    AttentionOptions options(Arena arena) {
      return changes
          .options()
          .keyLengths(int32(keyLengths, arena))
          .queryLengths(int32(queryLengths, arena))
          .prefixLengths(int32(changes.prefixes(), arena));
    }

    /** What counts for one row of the batch. */
    Scores ofBatch(int b) {
      return new Scores(
          Changes.at(keyLengths, b), Changes.at(queryLengths, b), causal, changes.ofBatch(b));
    }

    /** What counts for one head. */
    Scores ofHead(int head) {
      return new Scores(keyLengths, queryLengths, causal, changes.ofHead(head));
    }
  }

  private static Tensor int32(int[] lengths, Arena arena) {
    return lengths == null ? null : Tensor.copyOf(arena, lengths, lengths.length);
  }

  /** Refuses what can be refused without files. */
  void check() {
    masks.check(causal);
  }

  void addFiles(Map<String, Path> files) {
    files.put("--lengths", lengths);
    files.put("--query-lengths", queryLengths);
    masks.addFiles(files);
  }

  /** Maps queries or keys. */
  static NpyInput map(String option, Path file, Layout layout, Arena arena) {
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(DType.FLOAT32);
    input.expectRank(4, layout.text);
    input.expectSize(layout.seq, "seq", 0, Integer.MAX_VALUE);
    input.expectSize(layout.heads, "heads", 1, Integer.MAX_VALUE);
    input.expectSize(3, "headDim", 1, Native.Abi.MAX_HEAD_DIM);
    return input;
  }

  /** Refuses keys that do not fit queries. */
  static void expectFit(NpyInput queries, NpyInput keys, Layout layout) {
    keys.expectSame(0, "batch", queries);
    keys.expectSame(3, "headDim", queries);
    long heads = queries.tensor().size(layout.heads);
    if (heads % keys.tensor().size(layout.heads) != 0) {
      throw keys.refused(
          "heads that divide the " + heads + " heads of " + queries,
          keys.tensor().size(layout.heads) + " in shape " + keys.shape());
    }
  }

  /** Maps what the options name, for these queries and keys. */
  Scores scores(NpyInput queries, NpyInput keys, Layout layout, Arena arena) {
    int[] prefixes = lengths("--prefix", masks.prefix(), keys, layout, arena);
    AttentionSpec spec = masks.spec(causal, scale, queries, layout.heads, arena);
    return new Scores(
        lengths("--lengths", lengths, keys, layout, arena),
        lengths("--query-lengths", queryLengths, queries, layout, arena),
        causal,
        masks.changes(spec, queries, keys, layout.heads, layout.seq, prefixes, arena));
  }

  /** Reads lengths into memory of our own, where nobody changes them after they were checked. */
  private static int[] lengths(String option, Path file, NpyInput of, Layout layout, Arena arena) {
    if (file == null) {
      return null;
    }
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(DType.INT32, DType.INT64);
    input.expectRank(1, "[batch]");
    input.expectSame(0, "batch", of);
    long seq = of.tensor().size(layout.seq);
    int[] lengths = new int[Math.toIntExact(input.tensor().size(0))];
    for (int b = 0; b < lengths.length; b++) {
      long length =
          input.tensor().dtype() == DType.INT32
              ? input.tensor().getInt(b)
              : input.tensor().getLong(b);
      if (length < 0 || length > seq) {
        throw input.refused(
            "lengths in 0 .. " + seq + ", the seq of " + of, length + " at index " + b);
      }
      lengths[b] = (int) length;
    }
    return lengths;
  }
}
