/**
 * What is computed and how it is timed: shapes, inputs and flop formula (those of {@code
 * native/bench/workload.h}), two peers in alternation, the roofs of the machine, and whether
 * somebody else uses the core.
 */
package dev.gatun.bench.measure;
