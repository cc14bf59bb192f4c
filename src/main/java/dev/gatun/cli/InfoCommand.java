package dev.gatun.cli;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.GatunException;
import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tier;
import dev.gatun.internal.Blas;
import dev.gatun.internal.Messages;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code gatun info}: what runs here, and why. */
@Command(
    name = "info",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    description =
        "Shows versions, the kernels in use and why, caches, threads, the libraries in use, and"
            + " what variables of the environment force on them.")
final class InfoCommand implements Callable<Integer> {
  @Option(names = "--json", description = "Print a JSON object.")
  private boolean json;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    Map<String, Object> facts;
    try (GatunRuntime runtime = new ThreadsOption().open()) {
      facts = facts(runtime.info());
    }
    print(spec.commandLine().getOut(), facts, json);
    return Main.OK;
  }

  private static Map<String, Object> facts(RuntimeInfo info) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("version", info.version());
    facts.put("abi", info.abi());
    facts.put("library", library(info.library(), info.libraryOrigin()));
    facts.put("java", info.java());
    facts.put("system", System.getProperty("os.name") + " " + System.getProperty("os.arch"));
    facts.put("cpu", info.cpu());
    facts.put("cpus", info.cpus());
    facts.put("threads", info.threads());
    facts.put("threadsReason", threadsReason(info));
    facts.put("tier", info.tier().toString());
    facts.put("tierReason", reason(info));
    facts.put("tiers", tiers(info));
    facts.put("features", List.copyOf(info.features()));
    facts.put("weights", WeightFacts.all(info));
    facts.put("cacheBytes", caches(info));
    facts.put("openblas", openBlas());
    return facts;
  }

  private static Map<String, Object> library(String file, String origin) {
    Map<String, Object> library = new LinkedHashMap<>();
    library.put("file", file);
    library.put("origin", origin);
    return library;
  }

  static String reason(RuntimeInfo info) {
    return switch (info.tierSource()) {
      case CPU -> "the best that this CPU has";
      case CONFIG -> "asked for by option";
      case ENVIRONMENT -> "asked for by GATUN_ISA=" + System.getenv("GATUN_ISA");
    };
  }

  private static String threadsReason(RuntimeInfo info) {
    return switch (info.threadsSource()) {
      case CPUS -> "the CPUs that this process may use (affinity and CPU quota)";
      case CONFIG -> "asked for by option";
      case JVM -> "the processors of the JVM (-XX:ActiveProcessorCount, CPU quota)";
    };
  }

  private static List<String> tiers(RuntimeInfo info) {
    return Arrays.stream(Tier.values()).filter(info.tiers()::contains).map(Tier::toString).toList();
  }

  private static Map<String, Object> caches(RuntimeInfo info) {
    Map<String, Object> caches = new LinkedHashMap<>();
    caches.put("l1d", info.l1dBytes());
    caches.put("l2", info.l2Bytes());
    caches.put("l3", info.l3Bytes());
    return caches;
  }

  /** Attention does not need OpenBLAS, so that its absence is a fact like others. */
  private static Map<String, Object> openBlas() {
    Map<String, Object> facts = new LinkedHashMap<>();
    try {
      Blas.load();
      facts.put("core", Blas.coreName());
      facts.put("forced", OpenBlasEnvironment.forced());
      facts.put("config", Blas.config());
      facts.put("threads", Blas.threads());
      facts.putAll(library(Blas.library(), Blas.libraryOrigin()));
    } catch (GatunException e) {
      facts.put("missing", e.getMessage());
    }
    return facts;
  }

  /**
   * Prints facts as a JSON object, or one a line with those of inner maps behind a dot. What is
   * null is unknown.
   */
  static void print(PrintWriter out, Map<String, Object> facts, boolean json) throws IOException {
    if (json) {
      out.println(
          JSON.std
              .with(JSON.Feature.PRETTY_PRINT_OUTPUT, JSON.Feature.WRITE_NULL_PROPERTIES)
              .asString(facts));
    } else {
      print(out, facts, "");
    }
  }

  private static void print(PrintWriter out, Map<?, ?> facts, String prefix) {
    facts.forEach(
        (name, value) -> {
          if (value instanceof Map<?, ?> inner) {
            print(out, inner, prefix + name + ".");
          } else {
            String text =
                value instanceof List<?> list
                    ? String.join(" ", list.stream().map(String::valueOf).toList())
                    : value == null ? "unknown" : String.valueOf(value);
            out.printf("%-17s %s%n", prefix + name, Messages.line(text));
          }
        });
  }
}
