package dev.gatun.bench;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Runs the benchmarks, each in processes of its own, and writes {@code results.json} and {@code
 * results.md}: {@code Bench FOLDER quick|full STEP,…}. {@code make bench} calls it.
 */
public final class Bench {

  /** The folders with what JMH generated and with the kernel by the Vector API. */
  static final String CLASSES_PROPERTY = "gatun.bench.classes";

  /** All steps, in their order. */
  static final List<String> STEPS = List.of("c", "peers", "embedding", "encoder", "gc", "jmh");

  /** No object is smaller than 16 bytes; what JMH itself allocates is spread over the calls. */
  private static final double MAX_HEAP_BYTES = 8;

  private final Path folder;
  private final String mode;
  private final boolean quick;

  private Bench(Path folder, String mode) {
    this.folder = folder;
    this.mode = mode;
    this.quick = mode.equals("quick");
  }

  /**
   * Runs the benchmarks.
   *
   * @param args folder, {@code quick} or {@code full}, and steps separated by commas, or {@code
   *     all}
   * @throws Exception if a step fails
   */
  public static void main(String[] args) throws Exception {
    if (args.length != 3 || !Set.of("quick", "full").contains(args[1])) {
      System.err.println("usage: Bench FOLDER quick|full all|STEP,… of " + STEPS);
      System.exit(2);
    }
    Set<String> steps =
        new TreeSet<>(args[2].equals("all") ? STEPS : List.of(args[2].split(",", -1)));
    if (!STEPS.containsAll(steps)) {
      System.err.println("steps: expected some of %s, got %s".formatted(STEPS, steps));
      System.exit(2);
    }
    new Bench(Files.createDirectories(Path.of(args[0])), args[1]).run(steps);
  }

  private void run(Set<String> steps) throws Exception {
    long begin = System.nanoTime();
    Map<String, Object> results = new LinkedHashMap<>();
    Map<String, Object> environment = Environment.describe();
    results.put("mode", mode);
    results.put("environment", environment);
    System.err.printf(
        "%s, tier %s, OpenBLAS %s%n",
        environment.get("cpu"), environment.get("tier"), environment.get("openblasCore"));
    for (String step : STEPS) {
      if (!steps.contains(step)) {
        continue;
      }
      say("%s", step);
      switch (step) {
        case "c" -> results.put("c", c());
        case "peers" ->
            results.put(
                "peers", java(Comparison.class, "-Xmx3g", "--add-modules=jdk.incubator.vector"));
        case "embedding" -> results.put("embedding", java(EmbeddingComparison.class, "-Xmx1g"));
        case "encoder" -> results.put("encoder", java(EncoderComparison.class, "-Xmx1g"));
        case "gc" -> results.put("gc", java(GarbageLoad.class, "-Xms1g", "-Xmx1g"));
        default ->
            results.put(
                "jmh", java(JmhRun.class, "-Xmx1g", "--sun-misc-unsafe-memory-access=allow"));
      }
    }
    results.put("seconds", (System.nanoTime() - begin) / 1_000_000_000);
    Json.write(folder.resolve("results.json"), results);
    Path report = folder.resolve("results.md");
    Files.writeString(report, Report.markdown(results));
    say("wrote %s and results.json after %s s", report, results.get("seconds"));
    checkGarbage(results);
  }

  private static void say(String format, Object... args) {
    System.err.printf(Locale.ROOT, "bench: " + format + "%n", args);
  }

  // ---- processes -----------------------------------------------------------------------------

  private Object c() throws IOException, InterruptedException {
    Path json = folder.resolve("c.json");
    List<String> command =
        new ArrayList<>(
            List.of(
                BenchLibrary.file().resolveSibling("bench_attention").toString(),
                "--json",
                json.toString()));
    if (quick) {
      command.addAll(List.of("--pairs", "5", "--window", "0.005", "--max-flops", "2e10"));
    }
    start(command);
    return Json.read(json);
  }

  /** Runs a class with FILE and the mode as arguments, and returns what it wrote. */
  private Object java(Class<?> main, String... flags) throws IOException, InterruptedException {
    Path json = folder.resolve(main.getSimpleName() + ".json");
    List<String> command =
        new ArrayList<>(
            List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
    command.addAll(List.of(flags));
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "-D%s=%s".formatted(BenchLibrary.PROPERTY, BenchLibrary.file()),
            "-cp",
            System.getProperty(CLASSES_PROPERTY)
                + File.pathSeparator
                + System.getProperty("java.class.path"),
            main.getName(),
            json.toString(),
            mode));
    start(command);
    return Json.read(json);
  }

  private static void start(List<String> command) throws IOException, InterruptedException {
    int code = new ProcessBuilder(command).inheritIO().start().waitFor();
    if (code != 0) {
      throw new IOException("exit code %d: %s".formatted(code, command.getFirst()));
    }
  }

  /** Fails where a call from Java made garbage; the reports are written by then. */
  private static void checkGarbage(Map<String, Object> results) throws IOException {
    for (Object each : (List<?>) results.getOrDefault("jmh", List.of())) {
      Map<?, ?> row = (Map<?, ?>) each;
      boolean tiny = row.get("shape").toString().startsWith("tiny");
      Object bytes = row.get("heapBytesPerCall");
      if (tiny
          && row.get("benchmark").toString().startsWith("javaCall")
          && !(bytes instanceof Double number && number <= MAX_HEAP_BYTES)) {
        throw new IOException(
            "%s, %s: expected at most %s heap bytes a call, got %s"
                .formatted(row.get("benchmark"), row.get("shape"), MAX_HEAP_BYTES, bytes));
      }
    }
  }
}
