package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Products;
import dev.gatun.bench.peer.ProductPeers;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The products of whole models by Gatun's packed weights and by libraries, one thread, all in turn,
 * each in a process of its own and each between two windows of the peak loop of its type. A process
 * of its own: {@code ProductComparison FILE quick|full} writes a JSON array of rows, anew after
 * every case.
 */
public final class ProductComparison {

  private static final List<Integer> QUICK_ROWS = List.of(1, 16, 128);

  /** Seconds that may be spent on rounds beyond those that are wanted. */
  private static final double MOST_MORE_SECONDS = 60;

  private static double moreSeconds = MOST_MORE_SECONDS;

  private ProductComparison() {}

  private static boolean spend(double seconds) {
    moreSeconds -= seconds;
    return moreSeconds >= 0;
  }

  private static WorkerProcess start(String name, String mode) throws IOException {
    try {
      List<String> flags = new ArrayList<>(ProductPeers.flags(name));
      flags.add("-Xmx256m");
      return WorkerProcess.start(
          name, ProductWorker.class, flags, null, ProductPeers.variables(name), mode, name);
    } catch (FileNotFoundException e) {
      return WorkerProcess.absent(name, e.getMessage());
    }
  }

  /**
   * Runs the comparison.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    Locale.setDefault(Locale.ROOT);
    Path file = Path.of(args[0]);
    boolean quick = args[1].equals("quick");
    Alternation.Effort effort = quick ? Alternation.Effort.QUICK : Alternation.Effort.FULL;
    List<Map<String, Object>> rows = new ArrayList<>();
    List<WorkerProcess> workers = new ArrayList<>();
    try {
      for (String name : ProductPeers.NAMES) {
        workers.add(start(name, args[1]));
      }
      for (Products products : quick ? Products.ALL.subList(0, 1) : Products.ALL) {
        for (int count : quick ? QUICK_ROWS : Products.ROWS) {
          for (Map<String, Object> each :
              ModelComparison.rotate(
                  workers, products.name() + " " + count, effort, 1, ProductComparison::spend)) {
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("products", products.name());
            row.put("rows", count);
            row.put("operations", products.operations(count));
            row.putAll(each);
            rows.add(row);
          }
          Json.write(file, rows);
        }
      }
    } finally {
      workers.forEach(WorkerProcess::close);
    }
  }
}
