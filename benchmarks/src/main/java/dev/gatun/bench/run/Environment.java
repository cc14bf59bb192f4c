package dev.gatun.bench.run;

import ai.onnxruntime.OrtEnvironment;
import dev.gatun.GatunRuntime;
import dev.gatun.MatMul;
import dev.gatun.RuntimeInfo;
import dev.gatun.bench.measure.CoreContention;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** What a result depends on besides the code. */
public final class Environment {

  /** What the Makefile took out of the environment for the benchmarks alone. */
  private static final String UNSET = "GATUN_BENCH_UNSET";

  private static final String CHANGED = " and changes on top";

  private Environment() {}

  /** Whether a description is of a commit and nothing else, so that another can be of the same. */
  public static boolean isExact(Map<?, ?> description) {
    String commit = description.get("commit").toString();
    return !commit.startsWith("unknown") && !commit.endsWith(CHANGED);
  }

  public static Map<String, Object> describe() {
    Map<String, Object> map = new LinkedHashMap<>();
    // pages and published results are not what is measured
    String changes = output("git", "status", "--porcelain", "--", ".", ":!docs", ":!*.md");
    String commit = output("git", "rev-parse", "HEAD");
    boolean changed = !changes.isEmpty() && !changes.equals("unknown");
    map.put("commit", commit + (changed ? CHANGED : ""));
    map.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
      RuntimeInfo info = runtime.info();
      map.put("gatun", info.version());
      map.put("cpu", info.cpu());
      map.put("cpus", info.cpus());
      map.put("tier", info.tier().toString());
      map.put("threads", info.threads());
      MatMul.BlasInfo blas = runtime.matMul().info();
      map.put("openblasCore", blas.coreName());
      map.put("openblasConfig", blas.config());
      map.put("openblasThreads", blas.threads());
    }
    map.put("onnxruntime", OrtEnvironment.getEnvironment().getVersion());
    map.put("pytorch", onClassPath("pytorch"));
    map.put("djlPytorch", onClassPath("pytorch-native-cpu"));
    map.put(
        "jdk",
        "%s %s, %s"
            .formatted(
                System.getProperty("java.vendor"),
                Runtime.version(),
                System.getProperty("java.vm.name")));
    map.put(
        "os", "%s %s".formatted(System.getProperty("os.name"), System.getProperty("os.version")));
    map.put("hugePages", text("/sys/kernel/mm/transparent_hugepage/enabled"));
    map.put("governor", text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    map.put("undisturbedFrom", CoreContention.UNDISTURBED + " instructions a cycle");
    map.put("loadBefore", text("/proc/loadavg"));
    Map<String, String> variables = new TreeMap<>();
    System.getenv()
        .forEach(
            (name, value) -> {
              if (name.matches("(OPENBLAS|OMP|GOTO|MKL)_.*|GATUN_(ISA|BENCH_UNDISTURBED)")) {
                variables.put(name, value);
              }
            });
    map.put("variables", variables);
    map.put("variablesUnset", System.getenv().getOrDefault(UNSET, "").strip());
    return map;
  }

  /** Version and platform of a jar, as its name has them. */
  private static String onClassPath(String artifact) {
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
      String name = Path.of(entry).getFileName().toString();
      if (name.matches(Pattern.quote(artifact) + "-[0-9].*\\.jar")) {
        return name.substring(artifact.length() + 1, name.length() - ".jar".length());
      }
    }
    return "not on the class path";
  }

  private static String text(String file) {
    try {
      return Files.readString(Path.of(file)).strip();
    } catch (IOException e) {
      return "not readable";
    }
  }

  /** Standard output of a command, "unknown" if it fails. */
  private static String output(String... command) {
    try {
      Process process =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
      String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return process.waitFor() == 0 ? text.strip() : "unknown";
    } catch (IOException e) {
      return "unknown";
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "unknown";
    }
  }
}
