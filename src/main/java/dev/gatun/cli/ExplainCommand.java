package dev.gatun.cli;

import dev.gatun.AttentionPlan;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.WeightFormat;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.ModelProduct;
import java.io.IOException;
import java.math.BigDecimal;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * {@code gatun explain}: the plan of an attention call, or the products of a model, without
 * computing them.
 */
@Command(
    name = "explain",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Shows how attention of a shape, or a model, would be computed on this machine.",
    sortOptions = false,
    description = {
      "",
      "With --shape: prints the kernel, how the call is cut into tasks, blocks and tiles, its"
          + " scratch memory, its floating-point operations (2 for each multiplication that the"
          + " mask leaves) and the share of the FMA peak that one thread should reach, in 0 .. 1,"
          + " where that is known. Without it: prints in which format a model's weights would be"
          + " multiplied, and why, and which instructions would do it. Nothing is computed. What"
          + " the words mean stands below.",
      ""
    },
    footerHeading = "%nWhat is printed:%n",
    footer = {
      "  shape           batch, heads of Q, heads of K and V, seq of Q, seq of K and V, headDim,",
      "                  as --shape has them",
      "  causal          which keys a query sees: none (all), bottom-right or top-left, as",
      "                  --causal has it",
      "  layout          the order of the dimensions in memory, as --layout has it",
      "  tier            the kernels' instruction set, and tierReason: who has chosen it",
      "  kernel          general: a vector holds queries; decode: at most 4 queries, a vector",
      "                  holds elements of a head; tiny: one vector of queries",
      "                  and a few keys, in registers; bf16: as general, with products of",
      "                  bfloat16",
      "  threads         threads that may work on the call, the caller's included",
      "  tasks           a task is a piece of the call that one thread computes from beginning to",
      "                  end: some queries of one key/value head, or several tiny heads; threads",
      "                  take tasks until there are none left",
      "  taskBlocks      blocks of a task: they use each tile of keys and values while it is in",
      "                  the level 2 cache",
      "  taskLanes       a lane is one query of one head; heads that share keys and values stand",
      "                  side by side; this is how many lanes a task has",
      "  blockLanes      a block is the lanes that are computed together, in the registers; this",
      "                  is how many it has",
      "  tileKeys        a tile is the keys and values of one step of the softmax; scores exist",
      "                  for one tile at a time, never for all keys; this is how many keys it has",
      "  chainKeys       a chain is the keys whose weighted values are summed in registers, one",
      "                  after the other",
      "  splitKeys       a split is the keys whose result is kept in float; results of splits are",
      "                  merged in double",
      "  kvFitsL2        whether keys and values of a head fit the level 2 cache, and stay there",
      "                  from one task to the next",
      "  copies          keys and values whose rows compete for a part of the cache are copied",
      "                  side by side before use: none; tiles: each task copies a tile at a time;",
      "                  heads: a thread copies a whole head once",
      "  keySplits       with few queries the keys are cut into so many parts, each a task, so",
      "                  that no thread is idle",
      "  scratchBytes    memory beside the tensors that one thread writes to",
      "  workspaceBytes  that of all threads, and the results of parts of the keys",
      "  flops           floating-point operations: 2 for each multiplication that the causal",
      "                  mask leaves",
      "  predictedShare  the part of the FMA peak (the most that independent multiply-adds reach",
      "                  on one core) that one thread should reach, in 0 .. 1; unknown where",
      "                  nobody has measured the tier",
      "",
      "  model           as --model has it",
      "  weights         as --weights has it, and weightsReason: the rule by which formats follow",
      "  attention       what multiplies queries, keys and values",
      "  products        by what they are: queryKeyValue (one product makes all three), output (of",
      "                  attention), first and second (of the feed-forward part), dense (behind"
          + " the",
      "                  pooling, one row a text). Of each: count, how many the model has; in and",
      "                  out, the sizes of the weight; stored, its type in the file; format, what"
          + " it",
      "                  is multiplied as (see --weights); kernel, what multiplies it"
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
      paramLabel = "B,H,KV,SQ,SK,D",
      description =
          "Attention of this shape: batch, heads of Q, heads of K and V (a divisor), seq of Q, seq"
              + " of K and V, headDim (1 .. 512).")
  private Shape shape;

  @Option(
      names = "--causal",
      arity = "0..1",
      fallbackValue = "bottom-right",
      paramLabel = "ALIGNMENT",
      description =
          "Row i sees no later key: bottom-right (also without a word) lets the last query see the"
              + " last key, top-left lets row i see keys 0 .. i. Without this option every row sees"
              + " all keys.")
  private Causal causal = Causal.NONE;

  @Mixin private KernelOptions kernels;

  @Mixin private ModelChoice model;

  @Option(names = "--json", description = "Print a JSON object.")
  private boolean json;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    if (shape == null) {
      refuse("without --shape", "--causal", "--layout");
    } else {
      refuse("with --shape", "--model", "--weights", ModelJars.OPTION);
    }
    Map<String, Object> facts;
    try (GatunRuntime runtime = kernels.open()) {
      facts =
          shape == null
              ? facts(runtime.info())
              : facts(plan(runtime), kernels.reason(runtime.info()));
    }
    InfoCommand.print(spec.commandLine().getOut(), facts, json);
    return Main.OK;
  }

  private void refuse(String when, String... options) {
    for (String option : options) {
      if (spec.commandLine().getParseResult().hasMatchedOption(option)) {
        throw new CliException("%s: expected none %s".formatted(option, when));
      }
    }
  }

  private Map<String, Object> facts(RuntimeInfo info) {
    EmbeddingModelSpec chosen = model.spec();
    List<ModelProduct> products = model.products(chosen);
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("model", chosen.name());
    facts.put("weights", WeightFacts.word(model.weights));
    facts.put(
        "weightsReason",
        model.weights == WeightFormat.AUTO ? WeightFacts.auto() : "asked for by --weights");
    facts.put("tier", info.tier().toString());
    facts.put("tierReason", kernels.reason(info));
    facts.put("threads", info.threads());
    facts.put("attention", WeightFacts.attention(products.getFirst().format(), info));
    Map<String, Object> each = new LinkedHashMap<>();
    for (ModelProduct product : products) {
      String name = product.name();
      for (int n = 2; each.containsKey(name); n++) { // layers that are not all alike
        name = product.name() + n;
      }
      each.put(name, facts(product, info));
    }
    facts.put("products", each);
    return facts;
  }

  private static Map<String, Object> facts(ModelProduct product, RuntimeInfo info) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("count", product.count());
    facts.put("in", product.in());
    facts.put("out", product.out());
    facts.put("stored", product.stored());
    facts.put("format", WeightFacts.word(product.format()));
    facts.put("kernel", WeightFacts.products(product.format(), info));
    return facts;
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
              kernels.layout == KernelOptions.Layout.BHSD);
    } catch (IllegalArgumentException e) {
      throw new CliException("--shape " + shape + ": " + e.getMessage(), e);
    }
  }

  private Map<String, Object> facts(AttentionPlan plan, String reason) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("shape", shape.facts());
    facts.put("causal", word(causal));
    facts.put("layout", word(kernels.layout));
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
    facts.put("kvFitsL2", plan.kvFitsL2());
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
