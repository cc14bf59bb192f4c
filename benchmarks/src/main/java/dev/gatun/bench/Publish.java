package dev.gatun.bench;

import dev.gatun.bench.measure.Json;
import dev.gatun.bench.report.Report;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * Puts the results of a run where the documentation has them, and writes its page and pictures
 * anew: {@code Publish FOLDER quick|full DOCUMENTATION}. Without results in the first folder those
 * of the documentation are used again. {@code make bench-report} calls it.
 */
public final class Publish {

  private Publish() {}

  /**
   * Publishes results.
   *
   * @param args the folder that {@link Bench} wrote, {@code quick} to take results of a quick run
   *     as well, and the folder to write
   * @throws IOException if a file cannot be read or written
   */
  public static void main(String[] args) throws IOException {
    try {
      Path file = publish(Path.of(args[0]), Path.of(args[2]), args[1].equals("quick"));
      System.err.printf("bench-report: wrote %s from %s%n", Path.of(args[2]), file);
    } catch (IllegalStateException e) {
      System.err.println("bench-report: " + e.getMessage());
      System.exit(1);
    }
  }

  /** Returns the file with the results that were published. */
  public static Path publish(Path from, Path to, boolean quickToo) throws IOException {
    Path measured = from.resolve("results.json");
    Path published = to.resolve("results.json");
    Path file = Files.isRegularFile(measured) ? measured : published;
    if (!Files.isRegularFile(file)) {
      throw new IllegalStateException("no results; make bench measures them");
    }
    Map<?, ?> results = (Map<?, ?>) Json.read(file);
    if (!"full".equals(results.get("mode")) && !quickToo) {
      throw new IllegalStateException(
          "%s is of a quick run; QUICK=1 takes it all the same".formatted(file));
    }
    Files.createDirectories(to);
    Json.write(published, results);
    Report.write(results, to, "README.md");
    return file;
  }
}
