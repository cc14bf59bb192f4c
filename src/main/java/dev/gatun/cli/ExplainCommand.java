package dev.gatun.cli;

import dev.gatun.AttentionPlan;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tier;
import java.io.IOException;
import java.math.BigDecimal;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code gatun explain}: the plan of an attention call, without the call. */
@Command(
    name = "explain",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Shows how attention of a shape would be computed on this machine.",
    sortOptions = false,
    description = {
      "",
      "Prints the kernel, how the call is cut into tasks, blocks and tiles, its scratch memory, its"
          + " floating-point operations (2 for each multiplication that the mask leaves) and the"
          + " share of the FMA peak that one thread should reach, in 0 .. 1, where that is known."
          + " Nothing is computed.",
      ""
    })
final class ExplainCommand implements Callable<Integer> {
  /** Sizes of one call; values have the dimension of keys. */
  record Shape(long batch, long heads, long kvHeads, long seqQ, long seqK, long headDim) {
    Map<String, Object> facts() {
      Map<String, Object> facts = new LinkedHashMap<>();
      facts.put("batch", batch);
      facts.put("heads", heads);
      facts.put("kvHeads", kvHeads);
      facts.put("seqQ", seqQ);
      facts.put("seqK", seqK);
      facts.put("headDim", headDim);
      return facts;
    }

    @Override
    public String toString() {
      return "%d,%d,%d,%d,%d,%d".formatted(batch, heads, kvHeads, seqQ, seqK, headDim);
    }
  }

  @Option(
      names = "--shape",
      required = true,
      paramLabel = "B,H,KV,SQ,SK,D",
      converter = Converters.AttentionShape.class,
      description =
          "Batch, heads of Q, heads of K and V (a divisor), seq of Q, seq of K and V, headDim (1 .."
              + " 512).")
  private Shape shape;

  @Option(
      names = "--causal",
      arity = "0..1",
      fallbackValue = "bottom-right",
      paramLabel = "ALIGNMENT",
      converter = Converters.CausalWord.class,
      description =
          "Row i sees no later key: bottom-right (also without a word) lets the last query see the"
              + " last key, top-left lets row i see keys 0 .. i. Without this option every row sees"
              + " all keys.")
  private Causal causal = Causal.NONE;

  @Option(
      names = "--layout",
      paramLabel = "bshd|bhsd",
      converter = Converters.LayoutWord.class,
      description = "The order of the dimensions in memory; bshd without this option.")
  private AttendCommand.Layout layout = AttendCommand.Layout.BSHD;

  @Option(
      names = "--threads",
      paramLabel = "N",
      converter = Converters.Threads.class,
      description = "Threads, 1 .. 1024; all CPUs without this option.")
  private Integer threads;

  @Option(
      names = "--tier",
      paramLabel = "TIER",
      converter = Converters.TierWord.class,
      description =
          "The kernels: portable, neon, avx2 or avx512; the best that the CPU has without this"
              + " option.")
  private Tier tier;

  @Option(names = "--json", description = "Print a JSON object.")
  private boolean json;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    Map<String, Object> facts;
    try (GatunRuntime runtime = Runtimes.open(threads, tier)) {
      String reason = tier != null ? "--tier" : InfoCommand.reason(runtime.info());
      facts = facts(plan(runtime), reason);
    }
    InfoCommand.print(spec.commandLine().getOut(), facts, json);
    return Main.OK;
  }

  private AttentionPlan plan(GatunRuntime runtime) {
    try {
      return runtime
          .attention(AttentionSpec.builder().causal(causal).build())
          .plan(
              shape.batch,
              shape.heads,
              shape.kvHeads,
              shape.seqQ,
              shape.seqK,
              shape.headDim,
              layout == AttendCommand.Layout.BHSD);
    } catch (IllegalArgumentException e) {
      throw new CliException("--shape " + shape + ": " + e.getMessage(), e);
    }
  }

  private Map<String, Object> facts(AttentionPlan plan, String reason) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("shape", shape.facts());
    facts.put("causal", word(causal));
    facts.put("layout", word(layout));
    facts.put("tier", plan.tier().toString());
    facts.put("tierReason", reason);
    facts.put("kernel", plan.kernel().toString());
    facts.put("threads", plan.threads());
    facts.put("tasks", plan.tasks());
    facts.put("taskBlocks", plan.taskBlocks());
    facts.put("taskLanes", plan.taskLanes());
    facts.put("blockLanes", plan.blockLanes());
    facts.put("tileKeys", plan.tileKeys());
    facts.put("chainKeys", plan.chainKeys());
    facts.put("splitKeys", plan.splitKeys());
    facts.put("keysStay", plan.keysStay());
    facts.put("copies", plan.copies().toString());
    facts.put("keySplits", plan.keySplits());
    facts.put("scratchBytes", plan.scratchBytes());
    facts.put("workspaceBytes", plan.workspaceBytes());
    facts.put("flops", new BigDecimal(plan.flops()).toBigInteger());
    facts.put("predictedShare", share(plan));
    return facts;
  }

  /** As its option spells it. */
  private static String word(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /** To three places, which is more than the model knows; null if unknown. */
  private static Double share(AttentionPlan plan) {
    return plan.predictedShare().isEmpty()
        ? null
        : Double.valueOf(Math.rint(plan.predictedShare().getAsDouble() * 1000) / 1000);
  }
}
