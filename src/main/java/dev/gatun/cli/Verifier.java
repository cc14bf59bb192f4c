package dev.gatun.cli;

import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import dev.gatun.cli.ReferenceAttention.Comparison;
import dev.gatun.cli.ReferenceAttention.Output;
import dev.gatun.cli.ReferenceAttention.Problem;
import dev.gatun.cli.ReferenceAttention.Worst;
import dev.gatun.internal.Messages;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.SplittableRandom;

/**
 * Draws cases and runs each through all tiers: out and lse against the reference, the bits against
 * a run with one thread, and the memory around and between the rows of out, which must stay as it
 * was.
 */
final class Verifier {
  /** Attention with the kernels of one tier; a test puts a wrong one here. */
  interface Engine extends AutoCloseable {
    void forward(
        AttentionSpec attention,
        Tensor q,
        Tensor k,
        Tensor v,
        Tensor keyLengths,
        Tensor queryLengths,
        Tensor out,
        Tensor lse);

    @Override
    void close();
  }

  /** Opens the engine of a tier. */
  interface Engines {
    Engine open(Tier tier, Integer threads);
  }

  /** How large a case may become, in multiplications of one matrix product. */
  enum Size {
    SMALL(1_500_000, 400),
    LARGE(10_000_000, 3_000);

    final long products;
    final int seq;

    Size(long products, int seq) {
      this.products = products;
      this.seq = seq;
    }
  }

  private static final int SHOWN_FAILURES = 5;

  /** No result is this number. */
  private static final float UNTOUCHED = -1.2345679e30f;

  private final SplittableRandom random;
  private final long seed;
  private final int cases;
  private final Size size;
  private final Engines engines;
  private final Integer threads;
  private long rows;
  private long skippedRows;

  Verifier(long seed, int cases, Size size, Engines engines, Integer threads) {
    this.random = new SplittableRandom(seed);
    this.seed = seed;
    this.cases = cases;
    this.size = size;
    this.engines = engines;
    this.threads = threads;
  }

  /** One tier's engine and what it did. */
  private static final class Score {
    final Tier tier;
    final Engine engine;
    double out;
    double lse;
    int failures;

    Score(Tier tier, Engine engine) {
      this.tier = tier;
      this.engine = engine;
    }
  }

  /** Runs all cases, prints one line for each tier, and returns whether all passed. */
  boolean run(List<Tier> tiers, PrintWriter text) {
    List<Score> scores = new ArrayList<>();
    try {
      for (Tier tier : tiers) {
        scores.add(new Score(tier, engines.open(tier, threads)));
      }
      for (int i = 0; i < cases; i++) {
        try (Arena arena = Arena.ofShared()) {
          run(new Case(i, random.split(), size, arena), scores, arena, text);
        }
      }
    } finally {
      scores.forEach(score -> score.engine.close());
    }
    text.printf("%d random cases with %d rows, seed %d%n", cases, rows, seed);
    text.printf("not compared: %d rows in which float32 may overflow%n", skippedRows);
    text.printf("tier       out error/bound   lse error/bound%n");
    for (Tier tier : Tier.values()) {
      scores.stream()
          .filter(score -> score.tier == tier)
          .findFirst()
          .ifPresentOrElse(
              score ->
                  text.printf(
                      Locale.ROOT,
                      "%-10s          %6.3f            %6.3f   %s%n",
                      tier,
                      score.out,
                      score.lse,
                      score.failures == 0 ? "pass" : "FAIL (" + score.failures + " cases)"),
              () -> text.printf("%-10s not available on this CPU%n", tier));
    }
    return scores.stream().allMatch(score -> score.failures == 0);
  }

  private void run(Case drawn, List<Score> scores, Arena arena, PrintWriter text) {
    List<Output> outputs = new ArrayList<>();
    List<String> faults = new ArrayList<>();
    for (Score score : scores) {
      Run run = new Run(drawn, arena);
      Run single = new Run(drawn, arena);
      String fault = null;
      try {
        run.forward(score.engine, 0);
        single.forward(score.engine, 1);
        if (!run.sameBits(single)) {
          fault = "other bits with one thread";
        } else if (!single.untouchedAround()) {
          fault = "memory outside of out was written";
        }
      } catch (RuntimeException e) {
        fault = e.toString();
      }
      outputs.add(new Output(run.out, run.lse));
      faults.add(fault);
    }
    List<Comparison> comparisons = ReferenceAttention.compare(drawn.problem, drawn.c(), outputs);
    Tensor q = drawn.problem.q();
    rows += q.size(0) * q.size(1) * q.size(2);
    skippedRows += comparisons.isEmpty() ? 0 : comparisons.getFirst().skippedRows;
    for (int i = 0; i < scores.size(); i++) {
      Score score = scores.get(i);
      Comparison comparison = comparisons.get(i);
      score.out = Math.max(score.out, comparison.out.ratio);
      score.lse = Math.max(score.lse, comparison.lse.ratio);
      String fault = faults.get(i);
      if (fault == null && !comparison.passed()) {
        fault = fault(comparison);
      }
      if (fault != null && ++score.failures <= SHOWN_FAILURES) {
        text.printf("FAIL %s, %s: %s%n", score.tier, drawn, fault);
      }
    }
  }

  private static String fault(Comparison comparison) {
    boolean lse = comparison.lse.ratio > comparison.out.ratio;
    Worst worst = lse ? comparison.lse : comparison.out;
    return String.format(
        Locale.ROOT,
        "%s%s is %.9g, exact is %.9g, error over bound %.3g",
        lse ? "lse of row " : "out",
        Arrays.toString(worst.index),
        worst.got,
        worst.exact,
        worst.ratio);
  }

  /** The outputs of one call, out amid memory that must not be touched. */
  private static final class Run {
    final Case drawn;
    final Tensor around;
    final Tensor out;
    final Tensor lse;

    Run(Case drawn, Arena arena) {
      this.drawn = drawn;
      Problem problem = drawn.problem;
      long batch = problem.q().size(0);
      long seq = problem.q().size(1);
      long heads = problem.q().size(2);
      long dim = problem.v().size(3);
      // One element more on either side of every row, one row more before and behind all.
      this.around = Tensor.allocate(arena, DType.FLOAT32, batch * seq * heads + 2, dim + 2);
      this.around.fill(UNTOUCHED);
      Tensor rows = around.slice(0, 1, around.size(0) - 1).slice(1, 1, dim + 1);
      long row = dim + 2;
      long[] strides =
          drawn.outHeadsFirst
              ? new long[] {heads * seq * row, row, seq * row, 1}
              : new long[] {seq * heads * row, heads * row, row, 1};
      this.out =
          Tensor.ofStrided(
              rows.segment(), DType.FLOAT32, new long[] {batch, seq, heads, dim}, strides);
      this.lse = Tensor.allocate(arena, DType.FLOAT32, batch, heads, seq);
      this.lse.fill(UNTOUCHED);
    }

    void forward(Engine engine, int maxThreads) {
      engine.forward(
          drawn.spec(maxThreads),
          drawn.problem.q(),
          drawn.problem.k(),
          drawn.problem.v(),
          drawn.keyLengths,
          drawn.queryLengths,
          out,
          lse);
    }

    boolean sameBits(Run other) {
      return around.segment().mismatch(other.around.segment()) < 0
          && lse.segment().mismatch(other.lse.segment()) < 0;
    }

    /** Overwrites out. */
    boolean untouchedAround() {
      out.fill(UNTOUCHED);
      for (float number : around.toFloatArray()) {
        if (number != UNTOUCHED) {
          return false;
        }
      }
      return true;
    }
  }

  /** What the numbers of a case are like. */
  private enum Data {
    /** Uniform in -1 … 1: most errors cancel, as in life. */
    RANDOM,
    /** The same, all positive: they do not. */
    POSITIVE,
    /** Scores far apart: all weight on one key. */
    LARGE,
    /** Scores around 1e30. */
    HUGE,
    /** Values and keys below the smallest normal number. */
    DENORMAL,
    /** Queries and keys of any magnitude, with a scale that makes ordinary scores of them. */
    EXTREME,
    /** Few different numbers, zero among them: equal scores. */
    TIES,
    /** Random with NaN and infinity in live places. */
    SPECIAL
  }

  /** How a tensor lies in memory. */
  private enum View {
    ROWS,
    HEADS_FIRST,
    PADDED,
    INTERLEAVED,
    BROADCAST
  }

  /** A problem drawn at random. */
  private static final class Case {
    private static final int[] HEAD_DIMS = {
      1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 96, 127, 128, 129, 192, 256,
      257, 511, 512
    };

    private final int number;
    private final SplittableRandom random;
    private final Data data;
    private final View[] views = new View[3];
    final Problem problem;
    final Tensor keyLengths;
    final Tensor queryLengths;
    final boolean outHeadsFirst;

    Case(int number, SplittableRandom random, Size size, Arena arena) {
      this.number = number;
      this.random = random;
      int batch = random.nextInt(1, 4);
      int kvHeads = random.nextInt(1, 4);
      int heads = kvHeads * random.nextInt(1, 4);
      int headDim = headDim();
      int headDimV = random.nextInt(4) == 0 ? headDim() : headDim;
      int seqQ = seq(size.seq);
      int seqK = random.nextInt(3) == 0 ? seqQ : seq(size.seq);
      while ((long) batch * heads * seqQ * seqK * Math.max(headDim, headDimV) > size.products) {
        // What is large shrinks first, so that long rows meet few heads and wide heads meet short
        // rows.
        if (batch > 1) {
          batch--;
        } else if (heads > kvHeads && random.nextBoolean()) {
          heads = kvHeads;
        } else if (kvHeads > 1) {
          heads = heads / kvHeads;
          kvHeads = 1;
        } else if (seqQ > seqK) {
          seqQ /= 2;
        } else {
          seqK = Math.max(1, random.nextBoolean() ? seqK * 3 / 4 : seqK - 1);
          seqQ = Math.max(1, random.nextBoolean() ? seqQ * 3 / 4 : seqQ);
        }
      }
      this.data =
          random.nextInt(2) == 0
              ? Data.RANDOM
              : Data.values()[random.nextInt(Data.values().length)];
      Causal causal = Causal.values()[random.nextInt(Causal.values().length)];
      int[] keys = lengths(batch, seqK);
      int[] queries = lengths(batch, seqQ);
      this.keyLengths = keys == null ? null : Tensor.copyOf(arena, keys, batch);
      this.queryLengths = queries == null ? null : Tensor.copyOf(arena, queries, batch);
      this.outHeadsFirst = random.nextBoolean();
      double magnitude =
          switch (data) {
            case LARGE -> 30;
            case HUGE -> 1e15;
            case DENORMAL -> 1e-20;
            case EXTREME -> Math.pow(10, random.nextInt(-44, 38));
            default -> 1;
          };
      double keyMagnitude = magnitude;
      OptionalDouble scale = OptionalDouble.empty();
      if (data == Data.EXTREME) {
        int product = random.nextInt(-35, 35);
        keyMagnitude = Math.clamp(Math.pow(10, product) / magnitude, 1e-44, 1e38);
        scale = OptionalDouble.of((float) Math.pow(10, -product));
      } else if (random.nextInt(3) == 0) {
        scale = OptionalDouble.of((float) (random.nextDouble() * 2 - 0.5));
      }
      Tensor q = tensor(0, arena, batch, seqQ, heads, headDim);
      Tensor k = tensor(1, arena, batch, seqK, kvHeads, headDim);
      Tensor v = tensor(2, arena, batch, seqK, kvHeads, headDimV);
      fill(q, (float) magnitude, queries);
      fill(k, (float) keyMagnitude, keys);
      fill(v, data == Data.DENORMAL ? 1e-39f : 1, keys);
      this.problem = new Problem(q, k, v, keys, queries, causal, scale);
    }

    double c() {
      return data == Data.RANDOM
          ? ReferenceAttention.randomData()
          : ReferenceAttention.anyData(problem);
    }

    AttentionSpec spec(int maxThreads) {
      AttentionSpec.Builder builder =
          AttentionSpec.builder().causal(problem.causal()).maxThreads(maxThreads);
      problem.scale().ifPresent(scale -> builder.scale((float) scale));
      return builder.build();
    }

    private int headDim() {
      return random.nextInt(4) == 0
          ? random.nextInt(1, 513)
          : HEAD_DIMS[random.nextInt(HEAD_DIMS.length)];
    }

    /** Short ones as often as long ones. */
    private int seq(int most) {
      return random.nextInt(12) == 0
          ? random.nextInt(2)
          : random.nextInt(1, random.nextInt(2, most));
    }

    private int[] lengths(int batch, int seq) {
      if (random.nextBoolean()) {
        return null;
      }
      int[] lengths = new int[batch];
      for (int b = 0; b < batch; b++) {
        lengths[b] = random.nextInt(4) == 0 ? random.nextInt(2) * seq : random.nextInt(seq + 1);
      }
      return lengths;
    }

    private Tensor tensor(int which, Arena arena, long batch, long seq, long heads, long dim) {
      View view = View.values()[random.nextInt(View.values().length)];
      views[which] = view;
      return switch (view) {
        case ROWS -> Tensor.allocate(arena, DType.FLOAT32, batch, seq, heads, dim);
        case HEADS_FIRST ->
            Tensor.allocate(arena, DType.FLOAT32, batch, heads, seq, dim).transpose(1, 2);
        case PADDED ->
            Tensor.allocate(arena, DType.FLOAT32, batch, seq, heads, dim + 3).slice(3, 1, dim + 1);
        case INTERLEAVED ->
            Tensor.allocate(arena, DType.FLOAT32, batch, seq, 3, heads, dim).select(2, which);
        case BROADCAST -> {
          MemorySegment one = Tensor.allocate(arena, DType.FLOAT32, seq, heads, dim).segment();
          yield Tensor.ofStrided(
              one,
              DType.FLOAT32,
              new long[] {batch, seq, heads, dim},
              new long[] {0, heads * dim, dim, 1});
        }
      };
    }

    /**
     * Draws the numbers. Rows past their length, which nobody may read, become NaN and infinity.
     */
    private void fill(Tensor tensor, float amplitude, int[] lengths) {
      float[] row = new float[(int) tensor.size(3)];
      boolean broadcast = tensor.size(0) > 1 && tensor.stride(0) == 0;
      for (long b = 0; b < (broadcast ? 1 : tensor.size(0)); b++) {
        int length = (int) tensor.size(1);
        if (lengths != null) {
          length = broadcast ? Arrays.stream(lengths).max().orElse(0) : lengths[(int) b];
        }
        for (long i = 0; i < tensor.size(1); i++) {
          for (long h = 0; h < tensor.size(2); h++) {
            for (int d = 0; d < row.length; d++) {
              row[d] =
                  i < length
                      ? number(amplitude, tensor.elements())
                      : random.nextBoolean() ? Float.NaN : Float.POSITIVE_INFINITY;
            }
            tensor.select(0, b).select(0, i).select(0, h).copyFrom(row);
          }
        }
      }
    }

    private float number(float amplitude, long elements) {
      float number = (random.nextInt(1 << 24) - (1 << 23)) * 0x1p-23f * amplitude;
      return switch (data) {
        case POSITIVE -> Math.abs(number);
        case TIES -> Math.round(number);
        case SPECIAL ->
            switch (random.nextInt((int) Math.min(Integer.MAX_VALUE, 2 * elements))) {
              case 0 -> Float.NaN;
              case 1 -> Float.POSITIVE_INFINITY;
              case 2 -> Float.NEGATIVE_INFINITY;
              default -> number;
            };
        default -> number;
      };
    }

    @Override
    public String toString() {
      return "case %d: q %s k %s v %s, %s, scale %s, key lengths %s, query lengths %s, %s numbers in %s views"
          .formatted(
              number,
              Messages.sizes(problem.q().shape()),
              Messages.sizes(problem.k().shape()),
              Messages.sizes(problem.v().shape()),
              problem.causal(),
              problem.scale().isPresent() ? problem.scale().getAsDouble() : "standard",
              Arrays.toString(problem.keyLengths()),
              Arrays.toString(problem.queryLengths()),
              data,
              Arrays.toString(views))
          .toLowerCase(Locale.ROOT);
    }
  }
}
