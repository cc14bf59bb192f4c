package dev.gatun;

import java.util.Locale;

/**
 * A set of kernels for one instruction set. A runtime takes the best that the CPU has, unless the
 * environment variable {@code GATUN_ISA} or {@link GatunRuntime.Builder#tier} says otherwise.
 */
public enum Tier {
  /** Plain C for the compiler's baseline: runs everywhere. */
  PORTABLE,
  /** AArch64 Advanced SIMD. */
  NEON,
  /** x86-64 with AVX2, FMA and F16C. */
  AVX2,
  /** x86-64 with AVX-512 F, DQ, BW and VL. */
  AVX512;

  private final String text = name().toLowerCase(Locale.ROOT);

  /** Returns the name as {@code GATUN_ISA} spells it: {@code avx512}. */
  @Override
  public String toString() {
    return text;
  }
}
