/** Gatun and what it is compared with, each as a {@link dev.gatun.bench.measure.Peer}. */
package dev.gatun.bench.peer;
