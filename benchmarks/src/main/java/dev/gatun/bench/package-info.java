/**
 * Benchmarks: how much a call from Java costs over one from C, and how Gatun compares with its
 * peers. {@link dev.gatun.bench.Bench} runs them all, {@link dev.gatun.bench.Publish} puts their
 * results into the documentation.
 *
 * <p>Packages use those before them: {@code measure}, {@code peer}, {@code run}, {@code report},
 * and this one.
 */
package dev.gatun.bench;
