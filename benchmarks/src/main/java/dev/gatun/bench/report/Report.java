package dev.gatun.bench.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Writes results as Markdown: a page of sections, and one with every point. */
public final class Report {

  /** The file with every single point. */
  static final String POINTS = "points.md";

  private Report() {}

  /**
   * Writes the report, every point, and the plots. Plots are left out, which is said, where the JDK
   * finds no fonts.
   *
   * @param map what {@code Bench} collected
   * @param folder where to
   * @param name of the report's file
   * @throws IOException if a file cannot be written
   */
  public static void write(Map<?, ?> map, Path folder, String name) throws IOException {
    Results results = new Results(map);
    List<Plots.Picture> pictures = Plots.write(results, folder);
    Files.writeString(folder.resolve(name), markdown(results, pictures));
    Files.writeString(folder.resolve(POINTS), points(results));
  }

  /** Returns the report; steps that were not run are left out. */
  static String markdown(Results results, List<Plots.Picture> pictures) {
    Markdown page = new Markdown();
    page.line("# Benchmarks");
    page.line("");
    page.line(
        "Mode %s. Times are medians, with quartiles in brackets. `make bench` measures,"
            + " `make bench-report` writes this page from [results.json](results.json).",
        results.get("mode"));
    for (Plots.Picture picture : pictures) {
      if (picture.atTop()) {
        page.line("");
        page.line("![%s](%s.svg)", picture.title(), picture.name());
      }
    }
    GatunSections gatun = new GatunSections(results, page);
    PeerSections peers = new PeerSections(results, page);
    ModelSections models = new ModelSections(page);
    new EnvironmentSection(results, page).environment();
    peers.peers();
    gatun.gatun();
    peers.lengths();
    peers.memory();
    gatun.javaAndC();
    gatun.c(results.rows("c"));
    new EmbeddingSection(new EmbeddingRows(results.rows("embedding")), pictures, page).formats();
    new ProductSection(results.rows("products"), pictures, page).products();
    models.model(
        results.rows("encoder"),
        "The base encoder of \"Attention Is All You Need\"",
        "6 layers, rows of 512, 8 heads, 2048 between; one sequence, the same weights. pytorch"
            + " functions: written by hand with its fused attention.");
    models.garbage(results.rows("gc"));
    gatun.jmh(results.rows("jmh"));
    return page.toString();
  }

  /** Returns the list of every point of every peer. */
  static String points(Results results) {
    Markdown page = new Markdown();
    new PointTable(results, page).everyPoint();
    return page.toString();
  }
}
