package dev.gatun.bench;

import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.peer.PeerSpec;
import dev.gatun.bench.report.Report;
import dev.gatun.bench.run.Comparison;
import dev.gatun.bench.run.EmbeddingComparison;
import dev.gatun.bench.run.EncoderComparison;
import dev.gatun.bench.run.Environment;
import dev.gatun.bench.run.GarbageLoad;
import dev.gatun.bench.run.JmhRun;
import dev.gatun.bench.run.MemoryRun;
import dev.gatun.bench.run.ProductComparison;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * Runs the benchmarks, each in processes of its own, and writes {@code results.json}, {@code
 * results.md} with {@code points.md}, and plots: {@code Bench FOLDER quick|full STEP,…}. {@code
 * make bench} calls it. Results are written after every process, so that a run that is ended early
 * is of use; steps that are not run keep what an earlier run of the same commit, without changes on
 * top, and the same mode found.
 */
public final class Bench {

  /** All steps, in their order. */
  static final List<String> STEPS =
      List.of("c", "peers", "memory", "embedding", "products", "encoder", "gc", "jmh");

  /** What {@code all} means: JMH takes as long as everything else, and has a target of its own. */
  static final List<String> DEFAULT_STEPS = STEPS.subList(0, STEPS.indexOf("jmh"));

  /** No object is smaller than 16 bytes; what JMH itself allocates is spread over the calls. */
  private static final double MAX_HEAP_BYTES = 8;

  private static final int MEMORY_RUNS = 3;

  private static final long FULL_LIMIT_SECONDS = 15 * 60;
  private static final long QUICK_LIMIT_SECONDS = 90;

  /** What those take that have ten contestants, against the limit of one. */
  private static final long IN_TURN = 4;

  private final Path folder;
  private final String mode;
  private final boolean quick;
  private final Map<String, Object> results = new LinkedHashMap<>();

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
   * @throws Exception if the results cannot be written, or a step other than a peer's fails
   */
  public static void main(String[] args) throws Exception {
    if (args.length != 3 || !Set.of("quick", "full").contains(args[1])) {
      System.err.println("usage: Bench FOLDER quick|full all|STEP,… of " + STEPS);
      System.exit(2);
    }
    Set<String> steps = new LinkedHashSet<>();
    for (String step : args[2].split(",", -1)) {
      steps.addAll(step.equals("all") ? DEFAULT_STEPS : List.of(step));
    }
    if (!STEPS.containsAll(steps)) {
      System.err.println("steps: expected some of %s, got %s".formatted(STEPS, steps));
      System.exit(2);
    }
    new Bench(Files.createDirectories(Path.of(args[0])), args[1]).run(steps);
  }

  private void run(Set<String> steps) throws IOException, InterruptedException {
    long begin = System.nanoTime();
    Map<String, Object> environment = Environment.describe();
    Map<String, Object> times = keepEarlier(steps, environment);
    results.put("mode", mode);
    results.put("restMillis", Comparison.REST_MILLIS);
    results.put("environment", environment);
    results.put("steps", times);
    Map<String, Object> failures = new LinkedHashMap<>();
    results.put("failures", failures);
    System.err.printf(
        "%s, tier %s, OpenBLAS %s%n",
        environment.get("cpu"), environment.get("tier"), environment.get("openblasCore"));
    for (String step : STEPS) {
      if (!steps.contains(step)) {
        continue;
      }
      say("%s", step);
      long since = System.nanoTime();
      results.remove(step);
      try {
        run(step);
      } catch (IOException e) {
        say("%s failed: %s", step, e.getMessage());
        failures.put(step, e.getMessage());
      }
      Map<String, Object> time = new LinkedHashMap<>();
      time.put("ended", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
      time.put("seconds", seconds(since));
      times.put(step, time);
      write();
    }
    Report.write(results, folder, "results.md");
    say("wrote %s after %s s", folder.resolve("results.md"), seconds(begin));
    checkGarbage(results);
    if (!failures.isEmpty()) {
      throw new IOException("failed: " + failures);
    }
  }

  private static long seconds(long since) {
    return (System.nanoTime() - since) / 1_000_000_000;
  }

  /** Takes over the steps of an earlier run that belong to this one. */
  private Map<String, Object> keepEarlier(Set<String> steps, Map<String, Object> environment)
      throws IOException {
    Map<String, Object> times = new LinkedHashMap<>();
    Path file = folder.resolve("results.json");
    if (Files.isRegularFile(file)) {
      Map<?, ?> earlier = (Map<?, ?>) Json.read(file);
      Object commit = ((Map<?, ?>) earlier.get("environment")).get("commit");
      if (Environment.isExact(environment)
          && mode.equals(earlier.get("mode"))
          && environment.get("commit").equals(commit)
          && earlier.get("steps") instanceof Map<?, ?> earlierTimes) {
        for (String step : STEPS) {
          if (!steps.contains(step) && earlier.containsKey(step)) {
            say("%s: kept from an earlier run", step);
            results.put(step, earlier.get(step));
            times.put(step, earlierTimes.get(step));
          }
        }
      }
    }
    return times;
  }

  private static void say(String format, Object... args) {
    System.err.printf(Locale.ROOT, "bench: " + format + "%n", args);
  }

  private void write() throws IOException {
    Json.write(folder.resolve("results.json"), results);
  }

  // ---- steps ---------------------------------------------------------------------------------

  private void run(String step) throws IOException, InterruptedException {
    switch (step) {
      case "c" -> results.put(step, c());
      case "peers" -> peers();
      case "memory" -> memory();
      case "embedding" -> results.put(step, inTurn(EmbeddingComparison.class));
      case "products" -> results.put(step, inTurn(ProductComparison.class));
      case "encoder" -> results.put(step, java(EncoderComparison.class, "-Xmx1g"));
      case "gc" -> results.put(step, java(GarbageLoad.class, "-Xms1g", "-Xmx1g"));
      default ->
          results.put(step, java(JmhRun.class, "-Xmx1g", "--sun-misc-unsafe-memory-access=allow"));
    }
  }

  private Object c() throws IOException, InterruptedException {
    Path json = fresh("c.json");
    List<String> command =
        new ArrayList<>(
            List.of(
                BenchLibrary.file().resolveSibling("bench_attention").toString(),
                "--all",
                "--json",
                json.toString()));
    command.addAll(
        quick
            ? List.of("--pairs", "5", "--window", "0.002", "--max-flops", "3e9")
            : List.of("--pairs", "11"));
    finish(start(command, Map.of()));
    return Json.read(json);
  }

  /** Runs a class with FILE and the mode as arguments, and returns what it wrote. */
  private Object java(Class<?> main, String... flags) throws IOException, InterruptedException {
    Path json = fresh(main.getSimpleName() + ".json");
    finish(start(command(main, List.of(flags), json.toString(), mode), Map.of()));
    return Json.read(json);
  }

  /** As java, of a class that has many contestants in turn and so may take longer. */
  private Object inTurn(Class<?> main) throws IOException, InterruptedException {
    Path json = fresh(main.getSimpleName() + ".json");
    String end =
        start(
            command(main, List.of("-Xmx1g"), json.toString(), mode),
            Map.of(),
            IN_TURN * limitSeconds());
    if (end != null && Files.isRegularFile(json)) {
      say("%s: %s; what it measured before is kept", main.getSimpleName(), end);
      return Json.read(json);
    }
    finish(end);
    return Json.read(json);
  }

  private void peers() throws IOException, InterruptedException {
    List<Object> all = new ArrayList<>();
    results.put("peers", all);
    for (PeerSpec spec : PeerSpec.ALL) {
      Path json = fresh("peers-" + spec.name() + ".json");
      String end =
          start(
              command(
                  Comparison.class,
                  flags(TIMING_FLAGS, spec.name()),
                  json.toString(),
                  mode,
                  spec.name()),
              spec.wantsKeepingMalloc() ? PeerSpec.KEEPING_MALLOC : Map.of());
      List<?> rows = Files.isRegularFile(json) ? (List<?>) Json.read(json) : List.of();
      all.addAll(complete(spec, quick, rows, end));
      write();
    }
  }

  /**
   * The rows of a peer, with one for every point that its process did not come to.
   *
   * @param end how the process ended, null if well
   */
  public static List<Object> complete(PeerSpec spec, boolean quick, List<?> rows, String end) {
    List<Object> all = new ArrayList<>(rows);
    List<Point> points = spec.points(quick);
    for (Point point : points.subList(Math.min(rows.size(), points.size()), points.size())) {
      all.add(Comparison.missing(spec, point, end == null ? "its process left it out" : end));
    }
    return all;
  }

  private void memory() throws IOException, InterruptedException {
    List<Object> all = new ArrayList<>();
    results.put("memory", all);
    for (String peer : MemoryRun.PEERS) {
      for (MemoryRun.Case each : MemoryRun.cases(peer, quick)) {
        all.add(memory(peer, each));
      }
      write();
    }
  }

  /**
   * Less than the result takes cannot be: the system may take pages away meanwhile. Then it is
   * measured again, and the most counts.
   */
  private Map<?, ?> memory(String peer, MemoryRun.Case each)
      throws IOException, InterruptedException {
    Map<?, ?> most = null;
    for (int run = 0; run < MEMORY_RUNS; run++) {
      Path json = fresh("memory.json");
      List<String> command =
          command(
              MemoryRun.class,
              flags(MemoryRun.FLAGS, peer),
              json.toString(),
              peer,
              Integer.toString(each.length()),
              each.causal() ? "causal" : "full");
      String end = start(command, Map.of());
      if (end != null) {
        Map<String, Object> row = MemoryRun.row(peer, each.length(), each.causal());
        row.put("missing", end);
        return most == null ? row : most;
      }
      Map<?, ?> row = (Map<?, ?>) Json.read(json);
      if (row.get("missing") != null) {
        return row;
      }
      if (most == null || growth(row) > growth(most)) {
        most = row;
      }
      if (growth(most) >= MemoryRun.resultBytes(each.length())) {
        return most;
      }
    }
    return most;
  }

  private static long growth(Map<?, ?> row) {
    return ((Number) row.get("growthBytes")).longValue();
  }

  /** One collector and one heap for all, so that neither moves while a call is measured. */
  private static final List<String> TIMING_FLAGS = List.of("-Xms1g", "-Xmx3g", "-XX:+UseSerialGC");

  private static List<String> flags(List<String> heap, String peer) {
    List<String> flags = new ArrayList<>(heap);
    switch (peer) {
      case "java-vector" -> flags.add("--add-modules=jdk.incubator.vector");
      case "djl-pytorch" ->
          flags.addAll(List.of("-Dai.djl.offline=true", "-Dslf4j.internal.verbosity=ERROR"));
      default -> {}
    }
    return flags;
  }

  // ---- processes -----------------------------------------------------------------------------

  private Path fresh(String name) throws IOException {
    Path file = folder.resolve(name);
    Files.deleteIfExists(file);
    return file;
  }

  private List<String> command(Class<?> main, List<String> flags, String... arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(flags);
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "-XX:ErrorFile=" + folder.toAbsolutePath().resolve("crash-%p.log"),
            "-D%s=%s".formatted(BenchLibrary.PROPERTY, BenchLibrary.file())));
    for (String name : List.of("org.bytedeco.javacpp.cachedir", "DJL_CACHE_DIR")) {
      if (System.getProperty(name) != null) {
        command.add("-D%s=%s".formatted(name, System.getProperty(name)));
      }
    }
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
    command.addAll(List.of(arguments));
    return command;
  }

  private static void finish(String end) throws IOException {
    if (end != null) {
      throw new IOException(end);
    }
  }

  /** Runs a command and shows what it says. Returns how it ended, null if well. */
  private String start(List<String> command, Map<String, String> environment)
      throws IOException, InterruptedException {
    return start(command, environment, limitSeconds());
  }

  private long limitSeconds() {
    return quick ? QUICK_LIMIT_SECONDS : FULL_LIMIT_SECONDS;
  }

  private static String start(List<String> command, Map<String, String> environment, long limit)
      throws IOException, InterruptedException {
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().putAll(environment);
    Process process = builder.start();
    String[] last = {""};
    Thread reader = new Thread(() -> show(process, last), "output");
    reader.start();
    boolean ended = process.waitFor(limit, TimeUnit.SECONDS);
    if (!ended) {
      process.destroyForcibly().waitFor();
    }
    reader.join(TimeUnit.SECONDS.toMillis(5));
    if (!ended) {
      return "its process was ended after %d s".formatted(limit);
    }
    int code = process.exitValue();
    return code == 0
        ? null
        : "its process ended with exit code %d: %s".formatted(code, last[0].strip());
  }

  private static void show(Process process, String[] last) {
    try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        System.err.println(line);
        // of a stack trace, and of the JVM's own report of a crash, the first line says most
        if (!line.isBlank() && !line.startsWith("\t") && !line.startsWith("#")) {
          last[0] = line;
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
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
