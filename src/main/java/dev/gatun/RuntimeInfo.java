package dev.gatun;

import java.util.Collections;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;

/**
 * What a runtime runs on, and why.
 *
 * @param version version of the native library, {@code major.minor.patch}
 * @param abi number of its binary interface
 * @param tier the kernels in use
 * @param tierSource who chose them
 * @param tiers all tiers that this machine can run
 * @param features instructions beyond the tier that kernels use, as Linux names them: {@code
 *     avx512_vnni}, {@code amx_int8}, {@code avx_vnni}, {@code asimddp} or {@code i8mm} for
 *     products of int8, {@code avx512_bf16} or {@code amx_bf16} for those of bfloat16
 * @param threads threads that work on one call, the caller's included
 * @param threadsSource where their number comes from
 * @param cpus CPUs that this process may use: the least of its affinity and the CPU quota of its
 *     control groups
 * @param l1dBytes level 1 data cache of one core, bytes
 * @param l2Bytes level 2 cache of one core, bytes
 * @param l3Bytes level 3 cache as tiling uses it, bytes: clamped to what one core can expect
 * @param cpu the CPU's name
 * @param library file name of the native library in use
 * @param libraryOrigin how it was found: {@code -Dgatun.library}, {@code java.library.path} or the
 *     resource it was extracted from; and whether it was copied, since another class loader has it
 * @param java version and vendor of the JVM
 */
public record RuntimeInfo(
    String version,
    int abi,
    Tier tier,
    TierSource tierSource,
    Set<Tier> tiers,
    Set<String> features,
    int threads,
    ThreadsSource threadsSource,
    int cpus,
    long l1dBytes,
    long l2Bytes,
    long l3Bytes,
    String cpu,
    String library,
    String libraryOrigin,
    String java) {

  /** Who chose the tier. */
  public enum TierSource {
    /** The best that the CPU has. */
    CPU,
    /** {@link GatunRuntime.Builder#tier}. */
    CONFIG,
    /** The environment variable {@code GATUN_ISA}. */
    ENVIRONMENT
  }

  /** Where the number of threads comes from. */
  public enum ThreadsSource {
    /** {@link GatunRuntime.Builder#threads}. */
    CONFIG,
    /** The CPUs that this process may use. */
    CPUS,
    /** {@link Runtime#availableProcessors}, which says less. */
    JVM
  }

  /** Checks that nothing is null and copies the set. */
  public RuntimeInfo {
    Objects.requireNonNull(version, "version");
    Objects.requireNonNull(tier, "tier");
    Objects.requireNonNull(tierSource, "tierSource");
    Objects.requireNonNull(threadsSource, "threadsSource");
    // In the order of the enumeration, so that the text is always the same.
    tiers = Collections.unmodifiableSet(new TreeSet<>(tiers));
    Objects.requireNonNull(cpu, "cpu");
    Objects.requireNonNull(library, "library");
    Objects.requireNonNull(libraryOrigin, "libraryOrigin");
    Objects.requireNonNull(java, "java");
  }
}
