package dev.gatun.bench.report;

import dev.gatun.bench.measure.Json;
import java.awt.Font;
import java.awt.font.FontRenderContext;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jfree.chart.text.TextUtils;

/** Draws results, each picture as PNG and as SVG: {@code Plots RESULTS FOLDER}. */
public final class Plots {

  /**
   * A picture that was written.
   *
   * @param name of its files, without .png and .svg
   * @param title what it shows
   * @param atTop whether the report begins with it; otherwise its section shows it, or nobody
   */
  record Picture(String name, String title, boolean atTop) {}

  private final Results results;
  private final PlotFiles files;

  private Plots(Results results, Path folder) {
    this.results = results;
    this.files = new PlotFiles(results, folder);
  }

  /**
   * Draws results.
   *
   * @param args the JSON file, and the folder for the pictures
   * @throws IOException if a file cannot be read or written
   */
  public static void main(String[] args) throws IOException {
    Path folder = Files.createDirectories(Path.of(args[1]));
    List<Picture> pictures = write(new Results((Map<?, ?>) Json.read(Path.of(args[0]))), folder);
    pictures.forEach(picture -> System.err.println(folder.resolve(picture.name + ".svg")));
    if (pictures.isEmpty()) {
      System.exit(1);
    }
  }

  /** Draws all that the results have numbers for; nothing where the JDK finds no fonts. */
  static List<Picture> write(Results results, Path folder) throws IOException {
    System.setProperty("java.awt.headless", "true");
    TextUtils.setUseDrawRotatedStringWorkaround(false); // it turns letters into paths
    if (!hasFonts()) {
      System.err.println("plots: none, as the JDK finds no fonts; install fontconfig and a font");
      return List.of();
    }
    Plots plots = new Plots(results, folder);
    plots.draw();
    return plots.files.pictures();
  }

  /** Whether text can be drawn: without fontconfig, or without a font, the JDK throws. */
  static boolean hasFonts() {
    try {
      FontRenderContext context = new FontRenderContext(null, true, true);
      return PlotStyle.font(Font.PLAIN, 14).getStringBounds("M", context).getWidth() > 0;
    } catch (RuntimeException | Error e) {
      return false;
    }
  }

  private void draw() throws IOException {
    BarPlots bars = new BarPlots(results, files);
    LengthPlots lengths = new LengthPlots(results, files);
    for (int causal = 0; causal < 2; causal++) {
      for (int threads = 1; threads <= 2; threads++) {
        if (!results.shapes(causal == 1, threads).isEmpty()) {
          if (causal == 0 && threads == 1) {
            new RooflinePlot(results, files).roofline();
          }
          bars.shares(causal == 1, threads);
        }
      }
    }
    if (!results.lengths().isEmpty()) {
      lengths.times(false);
      lengths.times(true);
    }
    if (!results.shapes(true, 1).isEmpty()) {
      bars.causalAgainstFull();
    }
    if (!results.memoryLengths().isEmpty()) {
      lengths.memory();
    }
    RotationPlots rotations = new RotationPlots(files);
    rotations.embedding(new EmbeddingRows(results.rows("embedding")));
    for (Map.Entry<String, RotationRows> model :
        ProductSection.models(results.rows("products")).entrySet()) {
      rotations.products(model.getKey(), model.getValue());
    }
  }
}
