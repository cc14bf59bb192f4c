package dev.gatun.support;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/**
 * Runs problems.
 *
 * @param out {@code [batch][seqQ][heads][headDimV]}
 * @param lse {@code [batch][heads][seqQ]}
 */
public record Run(float[] out, float[] lse) {

  /** One runtime for each tier and number of threads, for the life of the JVM. */
  private static final Map<String, GatunRuntime> RUNTIMES = new ConcurrentHashMap<>();

  /** The tiers that this CPU has. */
  public static List<Tier> tiers() {
    return Stream.of(Tier.values()).filter(GatunRuntime::isAvailable).toList();
  }

  public static Tier bestTier() {
    return tiers().getLast();
  }

  public static GatunRuntime runtime(Tier tier, int threads) {
    return RUNTIMES.computeIfAbsent(
        tier + "/" + threads, key -> GatunRuntime.builder().tier(tier).threads(threads).build());
  }

  /** Row-major, with the best tier. */
  public static Run of(Problem problem) {
    return of(runtime(bestTier(), 2), problem);
  }

  public static Run of(GatunRuntime runtime, Problem problem) {
    return of(runtime, problem, Placement.BSHD, Placement.BSHD);
  }

  /** Also checks that nothing around the outputs is written. */
  public static Run of(GatunRuntime runtime, Problem p, Placement inputs, Placement outputs) {
    try (Arena arena = Arena.ofConfined();
        Workspace workspace = runtime.newWorkspace()) {
      Tensor q = inputs.of(arena, p.q, p.batch, p.seqQ, p.heads, p.headDim);
      Tensor k = inputs.of(arena, p.k, p.batch, p.seqK, p.kvHeads, p.headDim);
      Tensor v = inputs.of(arena, p.v, p.batch, p.seqK, p.kvHeads, p.headDimV);
      Placement.Placed out = outputs.empty(arena, p.batch, p.seqQ, p.heads, p.headDimV);
      Placement.Placed lse = outputs.emptyLse(arena, p.batch, p.heads, p.seqQ);
      runtime
          .attention(p.spec(arena))
          .forward(workspace, q, k, v, out.tensor(), p.options(arena).lse(lse.tensor()));
      Run run = new Run(out.tensor().toFloatArray(), lse.tensor().toFloatArray());
      out.checkSurroundings();
      lse.checkSurroundings();
      return run;
    }
  }

  public static Tensor lengths(Arena arena, int[] lengths) {
    return lengths == null ? null : Tensor.copyOf(arena, lengths, lengths.length);
  }

  /** The results of one batch row. */
  public Run part(Problem p, int b) {
    int outs = out.length / p.batch;
    int lses = lse.length / p.batch;
    return new Run(
        Arrays.copyOfRange(out, b * outs, (b + 1) * outs),
        Arrays.copyOfRange(lse, b * lses, (b + 1) * lses));
  }

  /** Fails if a bit differs. NaNs count as equal. */
  public void checkSameBits(Run other, String what) {
    checkSameBits(out, other.out, what + ": out");
    checkSameBits(lse, other.lse, what + ": lse");
  }

  public static void checkSameBits(float[] want, float[] got, String what) {
    if (want.length != got.length) {
      throw new AssertionError("%s: %d and %d elements".formatted(what, want.length, got.length));
    }
    for (int i = 0; i < want.length; i++) {
      if (Float.floatToIntBits(want[i]) != Float.floatToIntBits(got[i])) {
        throw new AssertionError(
            "%s[%d]: %s (%08x) and %s (%08x)"
                .formatted(
                    what,
                    i,
                    want[i],
                    Float.floatToRawIntBits(want[i]),
                    got[i],
                    Float.floatToRawIntBits(got[i])));
      }
    }
  }
}
