package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import java.util.Arrays;
import picocli.CommandLine.Option;

/** The options of commands that are about one attention call. */
final class KernelOptions extends ThreadsOption {
  enum Layout {
    BSHD("batch", "seq", "heads", "headDim"),
    BHSD("batch", "heads", "seq", "headDim");

    final String text;
    final int seq;
    final int heads;

    Layout(String... dims) {
      this.text = "[" + String.join(", ", dims) + "]";
      this.seq = Arrays.asList(dims).indexOf("seq");
      this.heads = Arrays.asList(dims).indexOf("heads");
    }

    /** The tensor as [batch, seq, heads, headDim]. */
    Tensor bshd(Tensor tensor) {
      return this == BSHD ? tensor : tensor.transpose(1, 2);
    }

    long[] shape(long batch, long seq, long heads, long dim) {
      return this == BSHD
          ? new long[] {batch, seq, heads, dim}
          : new long[] {batch, heads, seq, dim};
    }
  }

  @Option(
      names = "--layout",
      paramLabel = "bshd|bhsd",
      description =
          "The order of the dimensions of Q, K, V and the result in memory; bshd without this"
              + " option.")
  Layout layout = Layout.BSHD;

  @Option(
      names = "--tier",
      paramLabel = "TIER",
      description =
          "The kernels: portable, neon, avx2 or avx512; the best that the CPU has without this"
              + " option.")
  private Tier tier;

  @Override
  GatunRuntime open() {
    return open(threads, tier);
  }

  /** Why the runtime has its kernels. */
  String reason(RuntimeInfo info) {
    return tier != null ? "--tier" : InfoCommand.reason(info);
  }
}
