package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.mark;

import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.measure.Series;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A model in every format of its weights, and by its peers: speed and accuracy in one table. */
final class EmbeddingSection {

  private final Markdown page;
  private final RotationRows rows;
  private final EmbeddingRows embedding;
  private final List<Plots.Picture> pictures;

  EmbeddingSection(EmbeddingRows embedding, List<Plots.Picture> pictures, Markdown page) {
    this.page = page;
    this.pictures = pictures;
    this.embedding = embedding;
    rows = embedding.times();
  }

  void formats() {
    if (rows.isEmpty()) {
      return;
    }
    page.heading(
        "all-MiniLM-L6-v2 in each format",
        "From token ids to normalized vectors; langchain4j is its class, from texts, so that its"
            + " time has its tokenizer's in it, with a session of ONNX Runtime 1.26.0 of so many"
            + " threads. Numbers are tokens, or texts × tokens; mixed are 4 to 128. Every"
            + " contestant is a process of its own, and they are timed in turn, block by block of"
            + " calls. Gatun takes a batch as it is; ONNX Runtime gets it padded or text by text,"
            + " whichever is faster in that case, and writes into memory that is used again. -q is"
            + " LangChain4j's int8 file. Of ONNX Runtime 1.26.0 and 1.28.0 a cell is of the faster,"
            + " which it names. Accuracy is that of %s, each text alone: cosine to the vector of"
            + " ONNX Runtime 1.26.0 on the fp32 file (median, worst), and how many of the ten"
            + " nearest texts are the same. The texts: sentences of twelve languages, alone and two"
            + " or three together, and paragraphs of this project's documents.",
        embedding.texts().isEmpty() ? "no texts" : embedding.texts().getAsInt() + " texts");
    page.picture(pictures, RotationPlots.EMBEDDING_TIMES);
    page.picture(pictures, RotationPlots.EMBEDDING_ACCURACY);
    for (int threads : rows.threads()) {
      page.line("### %s", threads == 1 ? "One thread" : threads + " threads");
      page.line("");
      times(threads);
      page.line("");
      page.line(
          "How many times as fast as ONNX Runtime's faster version (medians and quartiles of the"
              + " ratios within a round):");
      page.line("");
      ratios(threads);
      page.line("");
    }
    for (int threads : rows.threads()) {
      if (threads > 1) {
        page.line("### %d threads over one", threads);
        page.line("");
        page.line(
            "How many times as fast as on one thread: medians of the two tables, of processes that"
                + " ran one after the other.");
        page.line("");
        gain(threads);
        page.line("");
      }
    }
    if (!rows.reasons().isEmpty()) {
      page.line("%s", "Not timed: " + String.join("; ", rows.reasons()) + ".");
    }
  }

  private void head(List<String> more) {
    List<String> titles = new ArrayList<>(more.subList(0, 1));
    titles.addAll(rows.cases());
    titles.addAll(more.subList(1, more.size()));
    page.tableHead(titles.toArray(String[]::new));
  }

  private void times(int threads) {
    head(List.of("", "cosine", "top-10"));
    for (String family : rows.families()) {
      List<String> cells = rows.cells(family, threads, EmbeddingSection::time);
      cells.addAll(accuracy(family));
      page.line("| %s |", String.join(" | ", cells));
    }
  }

  private void gain(int threads) {
    head(List.of(""));
    for (String family : rows.families()) {
      List<String> cells = new ArrayList<>(List.of(family));
      for (String what : rows.cases()) {
        cells.add(gain(rows.best(family, what, 1), rows.best(family, what, threads)));
      }
      page.line("| %s |", String.join(" | ", cells));
    }
  }

  private static String gain(RotationRows.Row one, RotationRows.Row more) {
    if (one == null || more == null || one.series() == null || more.series() == null) {
      return "–";
    }
    double ratio = one.series().nanos().median() / more.series().nanos().median();
    String text = String.format(Locale.ROOT, "%.2f", ratio);
    return (ratio < 1 ? "**" + text + "**" : text)
        + mark(one.series().isDisturbed() || more.series().isDisturbed());
  }

  private static String time(RotationRows.Row row) {
    if (row == null || row.series() == null) {
      return "–";
    }
    Quartiles nanos = row.series().nanos();
    String version = RotationRows.version(row.peer());
    return "%s%s%s"
        .formatted(
            Cells.time(nanos),
            mark(row.series().isDisturbed()),
            version.isEmpty() ? "" : " [" + version + "]");
  }

  private List<String> accuracy(String family) {
    EmbeddingRows.Accuracy of = embedding.accuracy(family);
    return of == null
        ? List.of("–", "–")
        : List.of(
            "%s / %s".formatted(cosine(of.median()), cosine(of.worst())),
            String.format(Locale.ROOT, "%.3f", of.topTen()));
  }

  /** So many digits that two of them are not nines. */
  private static String cosine(double distance) {
    int digits = distance < 1e-9 ? 7 : Math.max(3, (int) Math.ceil(-Math.log10(distance)) + 1);
    return String.format(Locale.ROOT, "%." + Math.min(digits, 7) + "f", 1 - distance);
  }

  private void ratios(int threads) {
    List<String> others = rows.families().stream().filter(each -> each.startsWith("onnx")).toList();
    head(List.of("", "than"));
    for (String family : rows.families()) {
      if (!family.startsWith("gatun")) {
        continue;
      }
      for (String other : others) {
        List<String> cells = new ArrayList<>(List.of(family));
        for (String what : rows.cases()) {
          cells.add(ratio(rows.best(other, what, threads), rows.best(family, what, threads)));
        }
        cells.add(other);
        page.line("| %s |", String.join(" | ", cells));
      }
    }
  }

  private static String ratio(RotationRows.Row other, RotationRows.Row own) {
    if (other == null || own == null || other.series() == null || own.series() == null) {
      return "–";
    }
    Series peer = other.series();
    Quartiles ratio = peer.over(own.series());
    return Cells.fasterThan(ratio) + mark(peer.isDisturbed() || own.series().isDisturbed());
  }
}
