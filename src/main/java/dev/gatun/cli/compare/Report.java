package dev.gatun.cli.compare;

import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.cli.compare.CompareSystem.Kin;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;

/** All that was measured, and where. */
public final class Report {
  /** Names of pictures. */
  static final String COMPARISON = "compare";

  static final String SATURATION = "saturation";

  final List<CompareSystem> systems;
  final List<Row> rows;
  final Saturation[] saturation;
  final Setting setting;
  final Limits limits;
  final String command;
  private final RuntimeInfo info;

  /**
   * Keeps what was measured.
   *
   * @param command how to run it again
   * @param runtime where it ran
   * @param systems in the order of the tables
   * @param setting of the longest length
   * @param limits what a system might take
   * @param rows of all systems and lengths
   * @param saturation with and without scale
   */
  public Report(
      String command,
      GatunRuntime runtime,
      List<CompareSystem> systems,
      Setting setting,
      Limits limits,
      List<Row> rows,
      Saturation[] saturation) {
    this.command = command;
    this.info = runtime.info();
    this.systems = List.copyOf(systems);
    this.setting = setting;
    this.limits = limits;
    this.rows = List.copyOf(rows);
    this.saturation = saturation.clone();
  }

  /** Ascending. */
  List<Long> lengths() {
    return rows.stream().map(row -> row.setting().length()).distinct().sorted().toList();
  }

  /** Null: not run at all. */
  Row row(CompareSystem system, long length) {
    return rows.stream()
        .filter(row -> row.system() == system && row.setting().length() == length)
        .findFirst()
        .orElse(null);
  }

  /** Where it was measured. */
  List<Row> there(CompareSystem system) {
    return rows.stream().filter(row -> row.system() == system && row.isThere()).toList();
  }

  /** The CPU, its kernels, and how many threads. */
  String machine() {
    return "%s, kernels %s, %d thread%s"
        .formatted(info.cpu(), info.tier(), info.threads(), info.threads() == 1 ? "" : "s");
  }

  /**
   * The least length from which on the system is faster than exact attention, wherever both were
   * measured or exact attention alone was over a limit; empty: not within these lengths.
   */
  OptionalLong paysFrom(CompareSystem system) {
    OptionalLong from = OptionalLong.empty();
    for (long length : lengths().reversed()) {
      Row own = row(system, length);
      Row exact = row(ExactSystem.EXACT, length);
      if (exact == null || !own.isThere() && !exact.isThere()) {
        continue;
      }
      boolean faster =
          own.isThere() && (!exact.isThere() || own.time().median() < exact.time().median());
      if (!faster) {
        return from;
      }
      from = OptionalLong.of(length);
    }
    return from;
  }

  /** Whether the table says from where on it pays. */
  static boolean mayPay(CompareSystem system) {
    return system.kin() != Kin.EXACT && system != ExactSystem.UNSCALED;
  }

  /**
   * The length for naive against flash: 16,384 if both were measured there, else the longest of
   * both; 0: none.
   */
  long naiveLength() {
    CompareSystem naive = Systems.of("naive");
    long longest = 0;
    for (Row row : there(naive)) {
      long length = row.setting().length();
      Row exact = row(ExactSystem.EXACT, length);
      if (exact != null && exact.isThere()) {
        if (length == 16384) {
          return length;
        }
        longest = length;
      }
    }
    return longest;
  }

  // ---- as JSON ---------------------------------------------------------------------------------

  /** {@return all of it, as JSON has it} */
  public Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("command", command);
    json.put("cpu", info.cpu());
    json.put("tier", info.tier().toString());
    json.put("threads", info.threads());
    json.put("java", info.java());
    json.put("version", info.version());
    json.put("heads", setting.heads());
    json.put("headDim", setting.headDim());
    json.put("features", setting.features());
    json.put("window", setting.window());
    json.put("memoryLimitBytes", limits.bytes());
    json.put("timeLimitSeconds", limits.seconds());
    json.put("systems", systems.stream().map(this::json).toList());
    json.put("rows", rows.stream().map(Report::json).toList());
    json.put("naiveAgainstFlash", naiveJson());
    json.put("saturation", saturationJson());
    return json;
  }

  private Map<String, Object> json(CompareSystem system) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("system", system.word());
    json.put("kin", system.kin().name().toLowerCase(Locale.ROOT));
    json.put("what", system.what());
    OptionalLong pays = paysFrom(system);
    json.put("fasterThanExactFrom", mayPay(system) && pays.isPresent() ? pays.getAsLong() : null);
    return json;
  }

  private static Map<String, Object> json(Row row) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("system", row.system().word());
    json.put("length", row.setting().length());
    json.put("serialSteps", row.system().serialSteps(row.setting()));
    json.put("pathLength", row.system().pathLength(row.setting()));
    json.put("flops", row.system().flops(row.setting()));
    json.put("predictedBytes", row.system().bytes(row.setting()));
    json.put("missing", row.missing());
    if (row.isThere()) {
      json.put("medianNanos", row.time().median());
      json.put("firstQuartileNanos", row.time().first());
      json.put("thirdQuartileNanos", row.time().third());
      json.put("runs", row.time().runs());
      json.put("gigaflopsPerSecond", row.system().flops(row.setting()) / row.time().median());
      json.put("residentBytes", number(row.resident()));
      json.put("relativeError", number(row.error()));
    }
    return json;
  }

  /** Null: not both were measured. */
  private Map<String, Object> naiveJson() {
    long length = naiveLength();
    if (length == 0) {
      return null;
    }
    Row naive = row(Systems.of("naive"), length);
    Row exact = row(ExactSystem.EXACT, length);
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("length", length);
    json.put("naiveResidentBytes", number(naive.resident()));
    json.put("flashResidentBytes", number(exact.resident()));
    json.put("timeFactor", naive.time().median() / exact.time().median());
    return json;
  }

  private static Double number(double value) {
    return Double.isNaN(value) ? null : Double.valueOf(value);
  }

  private List<Map<String, Object>> saturationJson() {
    List<Map<String, Object>> all = new ArrayList<>();
    for (Saturation row : saturation) {
      Map<String, Object> json = new LinkedHashMap<>();
      json.put("headDim", row.headDim());
      json.put("keys", Saturation.KEYS);
      json.put("queries", Saturation.QUERIES);
      json.put("entropy", row.entropy());
      json.put("gradient", row.gradient());
      json.put("saturated", row.saturated());
      json.put("unscaledEntropy", row.unscaledEntropy());
      json.put("unscaledGradient", row.unscaledGradient());
      json.put("unscaledSaturated", row.unscaledSaturated());
      all.add(json);
    }
    return all;
  }
}
