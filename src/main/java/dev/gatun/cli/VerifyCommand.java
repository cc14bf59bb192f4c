package dev.gatun.cli;

import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ThreadLocalRandom;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code gatun verify}: proof on this machine. */
@Command(
    name = "verify",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Proves on this machine that every tier of kernels is exact.",
    sortOptions = false,
    description = {
      "",
      "Runs random cases through the kernels of every tier that this CPU has and compares each with"
          + " attention computed by its definition in double precision: causal masks, grouped"
          + " heads, lengths, strided views, odd sizes, NaN and infinity in masked and in live"
          + " places, huge and denormal numbers. Prints the worst error over the bound that gatun.h"
          + " promises; exit code 1 if one is above 1.",
      ""
    })
final class VerifyCommand implements Callable<Integer> {
  private static final int QUICK_CASES = 200;
  private static final int CASES = 2000;

  @Option(names = "--quick", description = "Fewer and smaller cases: seconds.")
  private boolean quick;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description =
          "The seed of the cases, a whole number; a new one each time without this option.")
  private Long seed;

  @Mixin private ThreadsOption threads;

  @Spec private CommandSpec spec;

  private final Verifier.Engines engines;

  VerifyCommand() {
    this(VerifyCommand::open);
  }

  VerifyCommand(Verifier.Engines engines) {
    this.engines = engines;
  }

  private static Verifier.Engine open(Tier tier, Integer threads) {
    GatunRuntime runtime = ThreadsOption.open(threads, tier);
    return new Verifier.Engine() {
      @Override
      public void forward(
          AttentionSpec attention,
          Tensor q,
          Tensor k,
          Tensor v,
          Tensor keyLengths,
          Tensor queryLengths,
          Tensor out,
          Tensor lse) {
        AttentionOptions options =
            new AttentionOptions().keyLengths(keyLengths).queryLengths(queryLengths).lse(lse);
        runtime.attention(attention).forward(q, k, v, out, options);
      }

      @Override
      public void close() {
        runtime.close();
      }
    };
  }

  @Override
  public Integer call() {
    List<Tier> available = Arrays.stream(Tier.values()).filter(GatunRuntime::isAvailable).toList();
    long drawn = seed != null ? seed : ThreadLocalRandom.current().nextInt(Integer.MAX_VALUE);
    Verifier verifier =
        new Verifier(
            drawn,
            quick ? QUICK_CASES : CASES,
            quick ? Verifier.Size.SMALL : Verifier.Size.LARGE,
            engines,
            threads.threads);
    return verifier.run(available, spec.commandLine().getOut()) ? Main.OK : Main.FAILED;
  }
}
