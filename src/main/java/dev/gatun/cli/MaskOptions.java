package dev.gatun.cli;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Map;
import picocli.CommandLine.Option;

/** What changes scores or hides keys, beside the causal mask and lengths. */
final class MaskOptions {
  /** Keys before and behind a row's position, or -1. */
  record Window(int left, int right) {}

  /** Rows and keys of a block. */
  record Block(int rows, int keys) {}

  @Option(
      names = "--window",
      paramLabel = "L,R",
      description =
          "A row sees only keys from L before its position to R behind it, both included; -1: all"
              + " of that side. The last query stands at the last key, with --causal top-left row"
              + " i at key i.")
  private Window window;

  @Option(
      names = "--global",
      paramLabel = "N",
      converter = Converters.Tokens.class,
      description =
          "The keys 0 .. N - 1 are in every window, and rows at positions 0 .. N - 1 see all keys"
              + " of theirs; with --window.")
  private Integer global;

  @Option(
      names = "--softcap",
      paramLabel = "C",
      converter = Converters.Scale.class,
      description = "Scores become C * tanh(score / C).")
  private Float softcap;

  @Option(
      names = "--mask",
      paramLabel = "FILE",
      description =
          "Which keys each row sees, uint8 or bool [batch, heads, seq of Q, seq of K], where each"
              + " may be 1 instead: 0 hides a key.")
  private Path mask;

  @Option(
      names = "--block-mask",
      paramLabel = "FILE",
      description =
          "Which blocks of keys each block of rows sees, uint8 or bool [batch, heads, blocks of Q,"
              + " blocks of K], where each may be 1 instead: 0 hides a block, whose keys are not"
              + " read; with --block.")
  private Path blockMask;

  @Option(
      names = "--block",
      paramLabel = "Q,K",
      description = "The rows and keys of a block of --block-mask.")
  private Block block;

  @Option(
      names = "--bias",
      paramLabel = "FILE",
      description = "What is added to the scores, float32 of a shape as that of --mask.")
  private Path bias;

  @Option(
      names = "--alibi",
      paramLabel = "FILE",
      description =
          "Slopes, float32 [heads]: slope * |position - key| is taken off the scores. Positions"
              + " are those of --window.")
  private Path alibi;

  @Option(
      names = "--relative",
      paramLabel = "FILE",
      description =
          "Biases by distance, float32 [heads, 2 * span + 1]: element span + key - position of a"
              + " head is added to the score, the first or last one for distances beyond the"
              + " span.")
  private Path relative;

  @Option(
      names = "--sinks",
      paramLabel = "FILE",
      description = "The score of one more key for each head, without a value; float32 [heads].")
  private Path sinks;

  @Option(
      names = "--segments",
      paramLabel = "FILE[,FILE]",
      split = ",",
      description =
          "The segment of each row and of each key, int32 [batch, seq of Q] and [batch, seq of K];"
              + " one file for both: rows see the keys of their own segment only.")
  private Path[] segments;

  @Option(
      names = "--prefix",
      paramLabel = "FILE",
      description =
          "How many first keys all rows see in spite of --causal, int32 or int64 [batch], each 0 .."
              + " seq of K.")
  private Path prefix;

  @Option(
      names = "--positions",
      paramLabel = "FILE",
      description =
          "The position of each row among the keys, int32 [batch, seq of Q], in place of that of"
              + " --window: for --causal, --window, --alibi and --relative.")
  private Path positions;

  /** Refuses what can be refused without files. */
  void check(Causal causal) {
    if (prefix != null && causal == Causal.NONE) {
      throw new CliException("--prefix needs --causal");
    }
    if (global != null && window == null) {
      throw new CliException("--global needs --window");
    }
    if ((blockMask == null) != (block == null)) {
      throw new CliException(
          block == null ? "--block-mask needs --block" : "--block needs --block-mask");
    }
    if (segments != null && (segments.length < 1 || segments.length > 2)) {
      throw new CliException("--segments: expected one file or two, got " + segments.length);
    }
  }

  void addFiles(Map<String, Path> files) {
    files.put("--mask", mask);
    files.put("--block-mask", blockMask);
    files.put("--bias", bias);
    files.put("--alibi", alibi);
    files.put("--relative", relative);
    files.put("--sinks", sinks);
    files.put("--segments", segments == null ? null : segments[0]);
    files.put("--segments (keys)", segments == null ? null : segments[segments.length - 1]);
    files.put("--prefix", prefix);
    files.put("--positions", positions);
  }

  Path prefix() {
    return prefix;
  }

  AttentionSpec spec(Causal causal, Float scale, NpyInput q, int heads, Arena arena) {
    AttentionSpec.Builder builder = AttentionSpec.builder().causal(causal);
    if (scale != null) {
      builder.scale(scale);
    }
    try {
      if (window != null) {
        builder.window(window.left(), window.right());
      }
      if (global != null && (window.left() >= 0 || window.right() >= 0)) {
        builder.globalTokens(global); // in a window of all keys they change nothing
      }
      if (softcap != null) {
        builder.softcap(softcap);
      }
    } catch (IllegalArgumentException e) {
      throw new CliException("--" + e.getMessage(), e);
    }
    return builder
        .alibiSlopes(perHead("--alibi", alibi, q, heads, arena))
        .relativePositions(distances(q, heads, arena))
        .sinks(perHead("--sinks", sinks, q, heads, arena))
        .build();
  }

  private Tensor distances(NpyInput q, int heads, Arena arena) {
    if (relative == null) {
      return null;
    }
    NpyInput input = NpyInput.map("--relative", relative, arena);
    input.expectType(DType.FLOAT32);
    input.expectRank(2, "[heads, 2 * span + 1]");
    expectHeads(input, q, heads);
    long width = input.tensor().size(1);
    if (width % 2 == 0 || width / 2 > Native.Abi.MAX_RELATIVE_SPAN) {
      throw input.refused(
          "2 * span + 1 distances, span 0 .. " + Native.Abi.MAX_RELATIVE_SPAN,
          width + " in shape " + input.shape());
    }
    return input.tensor();
  }

  private static Tensor perHead(String option, Path file, NpyInput q, int heads, Arena arena) {
    if (file == null) {
      return null;
    }
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(DType.FLOAT32);
    input.expectRank(1, "[heads]");
    expectHeads(input, q, heads);
    return input.tensor();
  }

  private static void expectHeads(NpyInput input, NpyInput q, int heads) {
    if (input.tensor().size(0) != q.tensor().size(heads)) {
      throw input.refused(
          "heads " + q.tensor().size(heads) + " as in " + q,
          input.tensor().size(0) + " in shape " + input.shape());
    }
  }

  /**
   * Maps what the call has.
   *
   * @param heads the dimension of heads in q
   * @param seq that of rows and keys
   */
  Changes changes(
      AttentionSpec spec, NpyInput q, NpyInput k, int heads, int seq, int[] prefixes, Arena arena) {
    long batch = q.tensor().size(0);
    long count = q.tensor().size(heads);
    long rows = q.tensor().size(seq);
    long columns = k.tensor().size(seq);
    Tensor queries = null;
    Tensor keys = null;
    if (segments != null) {
      queries = ids("--segments", segments[0], q, seq, arena);
      keys = ids("--segments", segments[segments.length - 1], k, seq, arena);
    }
    String[] single = {"batch", "heads", "seq of Q", "seq of K"};
    String[] blocks = {"batch", "heads", "blocks of Q", "blocks of K"};
    Tensor masked = null;
    if (blockMask != null) {
      long rowBlocks = Math.ceilDiv(rows, block.rows());
      long keyBlocks = Math.ceilDiv(columns, block.keys());
      masked =
          map(
              "--block-mask",
              blockMask,
              DType.UINT8,
              blocks,
              arena,
              batch,
              count,
              rowBlocks,
              keyBlocks);
    }
    return new Changes(
        spec,
        map("--mask", mask, DType.UINT8, single, arena, batch, count, rows, columns),
        masked,
        block,
        map("--bias", bias, DType.FLOAT32, single, arena, batch, count, rows, columns),
        queries,
        keys,
        prefixes,
        positions == null ? null : ids("--positions", positions, q, seq, arena));
  }

  private static Tensor map(
      String option, Path file, DType type, String[] names, Arena arena, long... sizes) {
    if (file == null) {
      return null;
    }
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(type);
    input.expectRank(4, "[" + String.join(", ", names) + "]");
    for (int dim = 0; dim < 4; dim++) {
      long size = input.tensor().size(dim);
      if (size != sizes[dim] && size != 1) {
        throw input.refused(
            names[dim] + " " + sizes[dim] + " or 1", size + " in shape " + input.shape());
      }
    }
    return input.tensor();
  }

  private static Tensor ids(String option, Path file, NpyInput of, int seq, Arena arena) {
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(DType.INT32);
    input.expectRank(2, "[batch, seq]");
    input.expectSame(0, "batch", of);
    if (input.tensor().size(1) != of.tensor().size(seq)) {
      throw input.refused(
          "seq " + of.tensor().size(seq) + " as in " + of,
          input.tensor().size(1) + " in shape " + input.shape());
    }
    return input.tensor();
  }
}
