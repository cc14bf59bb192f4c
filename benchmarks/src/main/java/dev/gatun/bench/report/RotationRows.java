package dev.gatun.bench.report;

import dev.gatun.bench.measure.Series;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/** Rows of contestants that were timed in turn, by cases. */
final class RotationRows {

  /**
   * A contestant in a case.
   *
   * @param peer its name
   * @param what the case
   * @param threads how many
   * @param series its samples, null if there are none
   * @param missing why there are none
   * @param map the row
   */
  record Row(String peer, String what, int threads, Series series, String missing, Map<?, ?> map) {}

  private final List<Row> rows = new ArrayList<>();

  /**
   * Reads rows.
   *
   * @param what a row's case
   */
  RotationRows(List<Map<?, ?>> maps, Function<Map<?, ?>, String> what) {
    for (Map<?, ?> map : maps) {
      Object missing = map.get("missing");
      rows.add(
          new Row(
              map.get("peer").toString(),
              what.apply(map),
              (int) Results.number(map.get("threads")),
              missing == null ? Series.fromMap(map) : null,
              missing == null ? null : missing.toString(),
              map));
    }
  }

  /** The version of a contestant that there is in several; nothing for others. */
  static String version(String peer) {
    int space = peer.lastIndexOf(' ');
    return space > 0 && Character.isDigit(peer.charAt(space + 1)) ? peer.substring(space + 1) : "";
  }

  /** The name without the version. */
  static String family(String peer) {
    String version = version(peer);
    return version.isEmpty()
        ? peer
        : peer.substring(0, peer.length() - version.length()).stripTrailing();
  }

  boolean isEmpty() {
    return rows.isEmpty();
  }

  int count() {
    return rows.size();
  }

  /** How many rows have too few undisturbed rounds. */
  long disturbed() {
    return rows.stream().filter(row -> row.series != null && row.series.isDisturbed()).count();
  }

  Set<String> families() {
    Set<String> names = new LinkedHashSet<>();
    rows.forEach(row -> names.add(family(row.peer)));
    return names;
  }

  Set<String> cases() {
    Set<String> names = new LinkedHashSet<>();
    rows.forEach(row -> names.add(row.what));
    return names;
  }

  /** Numbers of threads for which there are rows. */
  Set<Integer> threads() {
    Set<Integer> numbers = new LinkedHashSet<>();
    rows.forEach(row -> numbers.add(row.threads));
    return numbers;
  }

  /** Of all versions the fastest; if none was timed, one that says why; null if there is no row. */
  Row best(String family, String what, int threads) {
    return rows.stream()
        .filter(row -> family(row.peer).equals(family))
        .filter(row -> row.what.equals(what) && row.threads == threads)
        .min(
            Comparator.comparingDouble(
                row -> row.series == null ? Double.MAX_VALUE : row.series.nanos().median()))
        .orElse(null);
  }

  /** Why a contestant has no time at all with so many threads; null if it has one. */
  String absent(String family, int threads) {
    String reason = null;
    for (Row row : rows) {
      if (family(row.peer).equals(family) && row.threads == threads) {
        if (row.missing == null) {
          return null;
        }
        reason = reason == null ? row.missing : reason;
      }
    }
    return reason;
  }

  /** The cells of a contestant: its name, and what it did in each case, or why in none. */
  List<String> cells(String family, int threads, Function<Row, String> cell) {
    String reason = absent(family, threads);
    List<String> cells = new ArrayList<>(List.of(family));
    for (String what : cases()) {
      cells.add(reason == null ? cell.apply(best(family, what, threads)) : "–");
    }
    if (reason != null) {
      cells.set(1, "not timed: " + reason.replace('|', '/'));
    }
    return cells;
  }

  /** Why contestants that were timed in other cases were not in some, each reason once. */
  List<String> reasons() {
    Map<String, Set<String>> reasons = new LinkedHashMap<>();
    for (Row row : rows) {
      if (row.missing != null && absent(family(row.peer), row.threads) == null) {
        reasons
            .computeIfAbsent(row.peer + ": " + row.missing, each -> new LinkedHashSet<>())
            .add(row.what);
      }
    }
    Set<String> all = cases();
    List<String> lines = new ArrayList<>();
    reasons.forEach(
        (reason, cases) ->
            lines.add(cases.equals(all) ? reason : reason + " (" + String.join(", ", cases) + ")"));
    return lines;
  }
}
