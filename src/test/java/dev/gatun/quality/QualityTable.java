package dev.gatun.quality;

import dev.gatun.GatunRuntime;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Writes the tables of docs/family/quality.md: which share of the tokens gets the value that it
 * asks for, by mechanism and length.
 */
public final class QualityTable {

  static final Path PAGE = Path.of("docs/family/quality.md");
  static final int[] LENGTHS = {64, 128, 256, 512, 1024, 2048, 4096};

  /** Of the tasks in the table. */
  static final long SEED = 1;

  private QualityTable() {}

  static Task task(boolean copying, int tokens, int dim) {
    return copying ? Task.copying(tokens, dim, SEED) : Task.recall(tokens, dim, SEED);
  }

  /** The share, or NaN where a mechanism has no weights for the task. */
  static double measure(GatunRuntime runtime, Memory memory, boolean copying, int tokens) {
    Task task = task(copying, tokens, memory.dim());
    return memory.knows(task) ? task.accuracy(memory.recall(runtime, task)) : Double.NaN;
  }

  static String cell(double accuracy) {
    if (Double.isNaN(accuracy) || accuracy == 1) {
      return accuracy == 1 ? "100" : "–";
    }
    return String.format(Locale.ROOT, "%.1f", Math.min(100 * accuracy, 99.9)); // not all
  }

  /** Name of a mechanism → accuracies by length, as the page has them. */
  static Map<String, List<String>> read(boolean copying) throws IOException {
    String text = Files.readString(PAGE);
    Map<String, List<String>> rows = new LinkedHashMap<>();
    int from = text.indexOf(begin(copying));
    text.substring(from, text.indexOf(END, from))
        .lines()
        .skip(3)
        .forEach(
            line -> {
              List<String> cells = new ArrayList<>(List.of(line.split("\\|")));
              cells.replaceAll(String::strip);
              rows.put(cells.get(1), cells.subList(2, cells.size()));
            });
    return rows;
  }

  private static final String END = "<!-- end -->";

  private static String begin(boolean copying) {
    return "<!-- table: %s -->\n".formatted(copying ? "copying" : "recall");
  }

  private static String table(GatunRuntime runtime, boolean copying) {
    StringBuilder text = new StringBuilder(begin(copying)).append("| |");
    for (int n : LENGTHS) {
      text.append(" ").append(n).append(" |");
    }
    text.append("\n| --- |").append(" ---: |".repeat(LENGTHS.length)).append("\n");
    for (Memory memory : Memories.all()) {
      text.append("| ").append(memory.name()).append(" |");
      for (int n : LENGTHS) {
        double accuracy = measure(runtime, memory, copying, n);
        System.err.printf("%s, %d: %s%n", memory.name(), n, cell(accuracy));
        text.append(" ").append(cell(accuracy)).append(" |");
      }
      text.append("\n");
    }
    return text.toString();
  }

  /** Runs everything and changes the page. */
  public static void main(String[] arguments) throws IOException {
    String text = Files.readString(PAGE);
    try (GatunRuntime runtime = GatunRuntime.create()) {
      for (boolean copying : new boolean[] {false, true}) {
        int from = text.indexOf(begin(copying));
        int to = text.indexOf(END, from);
        text = text.substring(0, from) + table(runtime, copying) + text.substring(to);
      }
    }
    Files.writeString(PAGE, text);
  }
}
