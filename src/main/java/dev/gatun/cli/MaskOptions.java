package dev.gatun.cli;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.cli.ReferenceAttention.Changes;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Map;
import picocli.CommandLine.Option;

/** What changes scores or hides keys, beside the causal mask and lengths. */
final class MaskOptions {
  /** Keys before and behind a row's position, or -1. */
  record Window(int left, int right) {}

  @Option(
      names = "--window",
      paramLabel = "L,R",
      description =
          "A row sees only keys from L before its position to R behind it, both included; -1: all"
              + " of that side. The last query stands at the last key, with --causal top-left row"
              + " i at key i.")
  private Window window;

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

  /** Refuses what can be refused without files. */
  void check(Causal causal) {
    if (prefix != null && causal == Causal.NONE) {
      throw new CliException("--prefix needs --causal");
    }
    if (segments != null && (segments.length < 1 || segments.length > 2)) {
      throw new CliException("--segments: expected one file or two, got " + segments.length);
    }
  }

  void addFiles(Map<String, Path> files) {
    files.put("--mask", mask);
    files.put("--bias", bias);
    files.put("--alibi", alibi);
    files.put("--sinks", sinks);
    files.put("--segments", segments == null ? null : segments[0]);
    files.put("--segments (keys)", segments == null ? null : segments[segments.length - 1]);
    files.put("--prefix", prefix);
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
      if (softcap != null) {
        builder.softcap(softcap);
      }
    } catch (IllegalArgumentException e) {
      throw new CliException("--" + e.getMessage(), e);
    }
    return builder
        .alibiSlopes(perHead("--alibi", alibi, q, heads, arena))
        .sinks(perHead("--sinks", sinks, q, heads, arena))
        .build();
  }

  private static Tensor perHead(String option, Path file, NpyInput q, int heads, Arena arena) {
    if (file == null) {
      return null;
    }
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(DType.FLOAT32);
    input.expectRank(1, "[heads]");
    if (input.tensor().size(0) != q.tensor().size(heads)) {
      throw input.refused(
          "heads " + q.tensor().size(heads) + " as in " + q,
          input.tensor().size(0) + " in shape " + input.shape());
    }
    return input.tensor();
  }

  /**
   * Maps what the call has.
   *
   * @param heads the dimension of heads in q
   * @param seq that of rows and keys
   */
  Changes changes(
      AttentionSpec spec, NpyInput q, NpyInput k, int heads, int seq, int[] prefixes, Arena arena) {
    long[] sizes = {
      q.tensor().size(0), q.tensor().size(heads), q.tensor().size(seq), k.tensor().size(seq)
    };
    Tensor queries = null;
    Tensor keys = null;
    if (segments != null) {
      queries = ids(segments[0], q, seq, arena);
      keys = ids(segments[segments.length - 1], k, seq, arena);
    }
    return new Changes(
        spec,
        map("--mask", mask, DType.UINT8, sizes, arena),
        map("--bias", bias, DType.FLOAT32, sizes, arena),
        queries,
        keys,
        prefixes);
  }

  private static Tensor map(String option, Path file, DType type, long[] sizes, Arena arena) {
    if (file == null) {
      return null;
    }
    NpyInput input = NpyInput.map(option, file, arena);
    input.expectType(type);
    input.expectRank(4, "[batch, heads, seq of Q, seq of K]");
    String[] names = {"batch", "heads", "seq of Q", "seq of K"};
    for (int dim = 0; dim < 4; dim++) {
      long size = input.tensor().size(dim);
      if (size != sizes[dim] && size != 1) {
        throw input.refused(
            names[dim] + " " + sizes[dim] + " or 1", size + " in shape " + input.shape());
      }
    }
    return input.tensor();
  }

  private static Tensor ids(Path file, NpyInput of, int seq, Arena arena) {
    NpyInput input = NpyInput.map("--segments", file, arena);
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
