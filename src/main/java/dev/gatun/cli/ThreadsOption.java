package dev.gatun.cli;

import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.Tier;
import dev.gatun.internal.Native;
import picocli.CommandLine.Option;

/** The option of commands that compute. */
class ThreadsOption {
  @Option(
      names = "--threads",
      paramLabel = "N",
      converter = Converters.Threads.class,
      description = "Threads, 1 .. 1024; all CPUs without this option.")
  Integer threads;

  /** Opens the runtime that options and environment ask for. */
  GatunRuntime open() {
    return open(threads, null);
  }

  /** The same of options that may be null. */
  static GatunRuntime open(Integer threads, Tier tier) {
    GatunRuntime.Builder builder = GatunRuntime.builder();
    if (threads != null) {
      builder.threads(threads);
    }
    if (tier != null) {
      builder.tier(tier);
    }
    try {
      return builder.build();
    } catch (IllegalArgumentException e) {
      throw new CliException(e.getMessage(), e);
    } catch (GatunException e) {
      // Without --tier it is GATUN_ISA that asks for one: a mistake of the caller's all the same.
      if (e.status() == Native.Abi.INVALID || e.status() == Native.Abi.UNSUPPORTED) {
        throw new CliException(e.getMessage(), e);
      }
      throw e;
    }
  }
}
