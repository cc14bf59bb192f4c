/**
 * Benchmarks: how much a call from Java costs over one from C (JMH), and how Gatun compares with
 * its peers (in one process, in alternation). Shapes, inputs and flop formula are those of {@code
 * native/bench/workload.h}. {@link dev.gatun.bench.Bench} runs them all.
 */
package dev.gatun.bench;
