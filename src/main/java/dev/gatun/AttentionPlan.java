package dev.gatun;

import java.util.Locale;
import java.util.Objects;
import java.util.OptionalDouble;

/**
 * How a call of attention is cut up, and how fast it should be: see {@link Attention#plan}. It
 * depends on the runtime, the specification and the shapes alone.
 *
 * <p>A lane is a pair of a query row and a head; the heads that share a key/value head stand side
 * by side. Key and query lengths are not known here: every batch row counts in full.
 *
 * @param tier the kernels in use
 * @param kernel which of them computes a batch row with full lengths. A call chooses for each batch
 *     row by its own lengths
 * @param threads threads that may work on the call, the caller's included
 * @param blockLanes lanes of one block
 * @param taskBlocks blocks of one task, which share each tile of keys and values while it is in the
 *     level 2 cache
 * @param taskLanes lanes of one task; the last task of a head may have fewer
 * @param tasks pieces that the call is cut into
 * @param tileKeys keys of one softmax step
 * @param chainKeys keys that are summed in registers
 * @param splitKeys keys whose result is kept in float; beyond, splits are merged in double
 * @param kvFitsL2 whether keys and values of a head fit the level 2 cache, and stay there from one
 *     task to the next
 * @param copies which keys and values are copied to rows one after the other before they are used
 * @param keySplits parts of the keys, of whole splits, that are tasks of their own: more than 1
 *     where few query rows ({@link Kernel#DECODE}) would leave threads without work
 * @param scratchBytes scratch of one thread, bytes
 * @param workspaceBytes scratch of all threads and results of parts of the keys, bytes
 * @param flops floating-point operations of the products that the causal mask leaves, 2 for each
 *     multiplication
 * @param predictedShare the share of the tier's FMA peak ({@link GatunRuntime#peakFlops}) that one
 *     thread should reach, above 0 and at most 1. By a small model of the kernels that knows no
 *     biases: within a few percent where heads are long, rougher for calls of a few microseconds.
 *     Keys and values are in caches, with {@link Kernel#DECODE} in memory. Empty if nobody has
 *     measured the tier, or if there is nothing to compute
 */
public record AttentionPlan(
    Tier tier,
    Kernel kernel,
    int threads,
    int blockLanes,
    int taskBlocks,
    long taskLanes,
    long tasks,
    int tileKeys,
    int chainKeys,
    int splitKeys,
    boolean kvFitsL2,
    Copies copies,
    int keySplits,
    long scratchBytes,
    long workspaceBytes,
    double flops,
    OptionalDouble predictedShare) {

  /** A kernel of a tier. */
  public enum Kernel {
    /** Lanes of a vector are queries. */
    GENERAL,
    /** At most four query rows, as in decoding: lanes of a vector are elements of a head. */
    DECODE,
    /** A task is one vector of queries and a few keys, in registers. */
    TINY,
    /** As {@link #GENERAL}, with products of bfloat16 ({@link AttentionSpec#bfloat16Products}). */
    BF16;

    private final String text = name().toLowerCase(Locale.ROOT).replace('_', '-');

    /** Returns the name as {@code gatun explain} spells it: {@code decode}. */
    @Override
    public String toString() {
      return text;
    }
  }

  /**
   * Copies of keys and values whose rows compete for a part of the cache, as those of 16 heads of
   * 64 do when heads lie side by side: read where they lie they would be fetched again and again.
   */
  public enum Copies {
    /** They are read where they lie. */
    NONE,
    /** Each task copies a tile of them before it uses it. */
    TILES,
    /** A thread copies those of a head once for all its tasks of that head: up to 4 MiB. */
    HEADS;

    private final String text = name().toLowerCase(Locale.ROOT);

    /** Returns the name as {@code gatun explain} spells it: {@code heads}. */
    @Override
    public String toString() {
      return text;
    }
  }

  /** Checks that nothing is null. */
  public AttentionPlan {
    Objects.requireNonNull(tier, "tier");
    Objects.requireNonNull(kernel, "kernel");
    Objects.requireNonNull(copies, "copies");
    Objects.requireNonNull(predictedShare, "predictedShare");
  }
}
