package dev.gatun;

/**
 * What a runtime has done since it was created. The numbers only grow.
 *
 * @param calls attention calls and matrix products
 * @param tasks pieces that those calls were cut into
 * @param tasksHelped of these, run by a worker thread and not by the caller's
 * @param blocksRedone query blocks that ran a second time because a result was not finite
 */
public record Counters(long calls, long tasks, long tasksHelped, long blocksRedone) {}
