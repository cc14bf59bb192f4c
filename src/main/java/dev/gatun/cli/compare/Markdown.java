package dev.gatun.cli.compare;

import java.util.Locale;
import java.util.OptionalLong;
import java.util.function.Function;

/** A report as Markdown. */
public final class Markdown {
  private final Report report;
  private final boolean pictures;
  private final StringBuilder text = new StringBuilder();

  private Markdown(Report report, boolean pictures) {
    this.report = report;
    this.pictures = pictures;
  }

  /**
   * Writes the report.
   *
   * @param report what was measured
   * @param pictures whether plots lie beside the text
   * @return the text
   */
  public static String of(Report report, boolean pictures) {
    Markdown markdown = new Markdown(report, pictures);
    markdown.write();
    return markdown.text.toString();
  }

  private void line(String format, Object... arguments) {
    text.append(arguments.length == 0 ? format : String.format(Locale.ROOT, format, arguments))
        .append('\n');
  }

  private void write() {
    Setting setting = report.setting;
    line("# Attention and its relatives: `gatun compare`");
    line("");
    line(
        "%s; self-attention of one sequence, %d head%s of %d, no causal mask, float32, q, k, v ~"
            + " N(0, 1); a window of %d keys on each side, %d features. Written by `%s`.",
        report.machine(),
        setting.heads(),
        setting.heads() == 1 ? "" : "s",
        setting.headDim(),
        setting.window(),
        setting.features(),
        report.command);
    line("");
    if (pictures) {
      line("![Time, memory and error against length](%s.svg)", Report.COMPARISON);
      line("");
    }
    systems();
    times();
    table(
        "Memory",
        "By how much one call makes a process grow that has inputs and outputs already: a process"
            + " for each cell, the peak of its resident memory (VmHWM of /proc/self/status, set"
            + " back before the call) less what was resident before. Parameters that a system has"
            + " count, pages are whole. A cell of 0.1 MiB or less is noise.",
        row -> Double.isNaN(row.resident()) ? "not measured" : Limits.memory(row.resident()));
    table(
        "Relative error against exact attention",
        "Root mean square of the difference, over that of exact attention's output. Random inputs"
            + " are the worst case of every approximation, as all keys weigh about the same:"
            + " the column says how far apart two formulas are, not how well a trained model"
            + " does. A dash: the system computes something else.",
        row -> error(row));
    missing();
    naive();
    saturation();
  }

  private void systems() {
    line("## The systems");
    line("");
    line(
        "Of n = %d: serial steps have to wait for each other; the path is the most steps or layers"
            + " between an output and an input that it depends on; operations are those of the"
            + " system's own formula. *Pays from*: the least of these lengths from which on it is"
            + " faster than exact attention on this machine.",
        report.setting.length());
    line("");
    line("| system | what it computes | serial steps | path | operations | pays from |");
    line("| --- | --- | --- | --- | --- | --- |");
    for (CompareSystem system : report.systems) {
      line(
          "| %s | %s | %d | %d | %s | %s |",
          system.word(),
          system.what(),
          system.serialSteps(report.setting),
          system.pathLength(report.setting),
          operations(system.flops(report.setting)),
          pays(system));
    }
    line("");
  }

  private static String operations(double flops) {
    return flops >= 1e12 ? Limits.digits(flops / 1e12) + " T" : Limits.digits(flops / 1e9) + " G";
  }

  private String pays(CompareSystem system) {
    if (!Report.mayPay(system)
        || report.row(ExactSystem.EXACT, report.lengths().getLast()) == null) {
      return "–";
    }
    OptionalLong from = report.paysFrom(system);
    return from.isPresent() ? Long.toString(from.getAsLong()) : "not here";
  }

  private void times() {
    table(
        "Time",
        "Median of runs in turn, quartiles behind it; one call of one sequence.",
        row ->
            "%s (%s–%s)"
                .formatted(
                    Limits.seconds(row.time().median() * 1e-9),
                    Limits.seconds(row.time().first() * 1e-9),
                    Limits.seconds(row.time().third() * 1e-9)));
  }

  private static String error(Row row) {
    return Double.isNaN(row.error())
        ? "–"
        : row.error() == 0 ? "0" : String.format(Locale.ROOT, "%.2g", row.error());
  }

  private void table(String title, String how, Function<Row, String> cell) {
    line("## %s", title);
    line("");
    line(how.replace("%", "%%"));
    line("");
    StringBuilder head = new StringBuilder("| system |");
    StringBuilder rule = new StringBuilder("| --- |");
    for (long length : report.lengths()) {
      head.append(' ').append(length).append(" |");
      rule.append(" --- |");
    }
    text.append(head).append('\n').append(rule).append('\n');
    for (CompareSystem system : report.systems) {
      text.append("| ").append(system.word()).append(" |");
      for (long length : report.lengths()) {
        Row row = report.row(system, length);
        text.append(' ').append(row.isThere() ? cell.apply(row) : over(row)).append(" |");
      }
      text.append('\n');
    }
    line("");
  }

  /** Which limit. */
  private static String over(Row row) {
    return row.missing().replaceAll(":.*", "");
  }

  private void missing() {
    if (report.rows.stream().allMatch(Row::isThere)) {
      return;
    }
    line("## Not run");
    line("");
    line("| system | length | why |");
    line("| --- | --- | --- |");
    for (Row row : report.rows) {
      if (!row.isThere()) {
        line("| %s | %d | %s |", row.system().word(), row.setting().length(), row.missing());
      }
    }
    line("");
  }

  private void naive() {
    long length = report.naiveLength();
    if (length == 0) {
      return;
    }
    Row naive = report.row(Systems.of("naive"), length);
    Row exact = report.row(ExactSystem.EXACT, length);
    line("## Naive against FlashAttention");
    line("");
    line(
        "At %d tokens the matrix of scores of a head has %s; resident were %s of naive attention"
            + " and %s of exact attention by tiles. Times: %s and %s, a factor of %s (the paper,"
            + " Dao et al., 2022, has 2 to 4 on a GPU). Both do %s operations.",
        length,
        Limits.memory(naive.system().bytes(naive.setting())),
        Double.isNaN(naive.resident()) ? "(not measured)" : Limits.memory(naive.resident()),
        Double.isNaN(exact.resident()) ? "(not measured)" : Limits.memory(exact.resident()),
        Limits.seconds(naive.time().median() * 1e-9),
        Limits.seconds(exact.time().median() * 1e-9),
        Limits.digits(naive.time().median() / exact.time().median()),
        operations(exact.setting().exactFlops()));
    line("");
  }

  private void saturation() {
    line("## The softmax with and without 1/√d");
    line("");
    line(
        "q, k ~ N(0, 1), %d keys, %d queries, in double. Entropy of the probabilities in nats, mean"
            + " (at most ln %d = %.2f); Frobenius norm of the softmax's derivative diag(p) − ppᵀ,"
            + " median; share of queries for which one key has more than 0.99.",
        Saturation.KEYS, Saturation.QUERIES, Saturation.KEYS, Math.log(Saturation.KEYS));
    line("");
    if (pictures) {
      line("![Entropy and gradient against head dimension](%s.svg)", Report.SATURATION);
      line("");
    }
    line(
        "| head dim | entropy | without scale | gradient | without scale | one key has it all |"
            + " without scale |");
    line("| --- | --- | --- | --- | --- | --- | --- |");
    for (Saturation row : report.saturation) {
      line(
          "| %d | %.2f | %.2f | %.3g | %.3g | %.0f %% | %.0f %% |",
          row.headDim(),
          row.entropy(),
          row.unscaledEntropy(),
          row.gradient(),
          row.unscaledGradient(),
          100 * row.saturated(),
          100 * row.unscaledSaturated());
    }
  }
}
