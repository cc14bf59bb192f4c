package dev.gatun;

/**
 * What a runtime has done since it was created. The numbers only grow.
 *
 * <p>A layer of {@code dev.gatun.nn} or a model counts once for each step that it takes: a linear
 * layer is one call, multi-head attention is its projections and one attention.
 *
 * @param calls calls of native code that had something to compute: attention, matrix products,
 *     linear layers, normalisations, activations, sums of embeddings, pooling
 * @param tasks pieces that those calls were cut into
 * @param tasksHelped of these, run by a worker thread and not by the caller's
 * @param blocksRedone query blocks that ran a second time because a result was not finite
 */
public record Counters(long calls, long tasks, long tasksHelped, long blocksRedone) {}
