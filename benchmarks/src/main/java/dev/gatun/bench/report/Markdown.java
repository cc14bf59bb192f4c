package dev.gatun.bench.report;

import java.util.List;
import java.util.Locale;

/** A page of Markdown, written from its top to its foot. */
final class Markdown {

  private final StringBuilder text = new StringBuilder();

  void line(String format, Object... args) {
    text.append(args.length == 0 ? format : String.format(Locale.ROOT, format, args)).append('\n');
  }

  void heading(String title, String explanation, Object... args) {
    line("");
    line("## %s", title);
    line("");
    if (!explanation.isEmpty()) {
      line(explanation, args);
      line("");
    }
  }

  /** Shows a picture, if it was drawn. */
  void picture(List<Plots.Picture> pictures, String name) {
    for (Plots.Picture picture : pictures) {
      if (picture.name().equals(name)) {
        line("![%s](%s.svg)", picture.title(), name);
        line("");
      }
    }
  }

  void tableHead(String... titles) {
    line("| %s |", String.join(" | ", titles));
    line("|%s", " --- |".repeat(titles.length));
  }

  @Override
  public String toString() {
    return text.toString();
  }
}
