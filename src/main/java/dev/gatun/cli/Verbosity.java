package dev.gatun.cli;

import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** How much a command says on standard error beside its results. */
final class Verbosity {
  private static final class Choice {
    @Option(
        names = "--quiet",
        description = "Say nothing but what went wrong: no progress, no rates, no cuts.")
    private boolean quiet;

    @Option(
        names = "--verbose",
        description =
            "List every text that is cut, and say how many texts and tokens a second, even where"
                + " standard error is no terminal.")
    private boolean verbose;
  }

  @ArgGroup(exclusive = true, multiplicity = "0..1")
  private Choice choice;

  boolean isQuiet() {
    return choice != null && choice.quiet;
  }

  boolean isVerbose() {
    return choice != null && choice.verbose;
  }
}
