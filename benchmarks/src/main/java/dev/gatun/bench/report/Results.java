package dev.gatun.bench.report;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;

/** What a {@code results.json} says, for reports and plots. */
final class Results {

  /**
   * A peer at a point.
   *
   * @param peer its name
   * @param baseline the name of what it was compared with
   * @param point what was computed
   * @param missing why there are no times, null if there are
   * @param peerNs a call of the peer
   * @param baselineNs a call of the baseline
   * @param ratio peer / baseline of each pair
   * @param difference peer - baseline of each pair
   * @param peak flops a second of the FMA loop
   * @param read bytes a second of the read loop
   * @param error against double
   * @param pairs how many were timed
   * @param undisturbed how many of them were undisturbed; negative if nobody knows
   * @param instructionsPerCycle the median of the gauge, NaN if there is none
   * @param arena of a row about a call's cost the kind of its arena, null of all others
   */
  record Row(
      String peer,
      String baseline,
      Point point,
      String missing,
      Quartiles peerNs,
      Quartiles baselineNs,
      Quartiles ratio,
      Quartiles difference,
      double peak,
      double read,
      double error,
      int pairs,
      int undisturbed,
      double instructionsPerCycle,
      String arena) {

    private static Row of(Map<?, ?> map) {
      String peer = map.get("peer").toString();
      String baseline = map.get("baseline").toString();
      Point point = Point.in(map);
      if (map.get("missing") != null) {
        return new Row(
            peer,
            baseline,
            point,
            map.get("missing").toString(),
            null,
            null,
            null,
            null,
            0,
            0,
            0,
            0,
            -1,
            Double.NaN,
            null);
      }
      return new Row(
          peer,
          baseline,
          point,
          null,
          Quartiles.fromMap(map.get("peerNs")),
          Quartiles.fromMap(map.get("baselineNs")),
          Quartiles.fromMap(map.get("ratio")),
          Quartiles.fromMap(map.get("differenceNs")),
          number(map.get("peakFlopsPerSecond")),
          number(map.get("readBytesPerSecond")),
          number(map.get("error")),
          map.get("pairs") == null
              ? Quartiles.fromMap(map.get("ratio")).count()
              : (int) number(map.get("pairs")),
          map.get("undisturbed") == null ? -1 : (int) number(map.get("undisturbed")),
          map.get("instructionsPerCycle") == null
              ? Double.NaN
              : number(map.get("instructionsPerCycle")),
          map.get("arena") == null ? null : map.get("arena").toString());
    }

    /** Whether too few pairs were undisturbed, so that its medians are those of all. */
    boolean isDisturbed() {
      return Alternation.isDisturbed(ratio, undisturbed);
    }

    boolean isThere() {
      return missing == null;
    }

    /** Whether it compares Gatun from Java with Gatun from C. */
    boolean isJavaAndC() {
      return baseline.equals(PeerSpec.GATUN_C);
    }

    double flopsPerSecond() {
      return point.flops() / peerNs.median() * 1e9;
    }

    double shareOfPeak() {
      return flopsPerSecond() / peak;
    }

    /** Gatun called from Java. */
    Quartiles gatunNs() {
      return isJavaAndC() ? peerNs : baselineNs;
    }

    private double gatunShareOfPeak() {
      return point.flops() / gatunNs().median() * 1e9 / peak;
    }
  }

  private final Map<?, ?> map;
  private final List<Row> rows = new ArrayList<>();
  private final List<Row> calls = new ArrayList<>();

  Results(Map<?, ?> map) {
    this.map = map;
    for (Map<?, ?> each : rows("peers")) {
      Row row = Row.of(each);
      (row.arena == null ? rows : calls).add(row);
    }
  }

  // ---- peers ---------------------------------------------------------------------------------

  List<Row> peers() {
    return rows;
  }

  /** Rows about what a call costs, by kinds of arenas. */
  List<Row> calls() {
    return calls;
  }

  /**
   * The row with the lowest ratio of all peers that are meant, in whatever layout, one thread; null
   * if there is none.
   */
  Row best(Predicate<String> peers, Shape shape, boolean causal) {
    return rows.stream()
        .filter(row -> row.isThere() && !row.isJavaAndC() && peers.test(row.peer))
        .filter(row -> row.point.shape().equals(shape) && row.point.causal() == causal)
        .filter(row -> row.point.threads() == 1)
        .min(Comparator.comparingDouble(row -> row.ratio.median()))
        .orElse(null);
  }

  /** Names of the peers in the order of the rows; Gatun from Java is the first. */
  Set<String> names() {
    Set<String> names = new LinkedHashSet<>();
    if (!rows.isEmpty()) {
      names.add(PeerSpec.GATUN);
    }
    rows.forEach(row -> names.add(row.peer));
    return names;
  }

  /** The shapes for which there are rows with this mask and so many threads, lengths left out. */
  List<Shape> shapes(boolean causal, int threads) {
    return shapesOf(row -> row.point.causal() == causal && row.point.threads() == threads, false);
  }

  /** The lengths for which there are rows. */
  List<Shape> lengths() {
    return shapesOf(row -> true, true);
  }

  private List<Shape> shapesOf(Predicate<Row> wanted, boolean lengths) {
    Set<Shape> shapes = new LinkedHashSet<>();
    for (Row row : rows) {
      if (row.point.shape().isLength() == lengths && wanted.test(row)) {
        shapes.add(row.point.shape());
      }
    }
    return List.copyOf(shapes);
  }

  /** The row of a peer in the layout that suits it best, null if there is none. */
  Row row(String peer, Shape shape, boolean causal, int threads) {
    for (Row row : rows) {
      Point point = row.point;
      if (row.peer.equals(peer)
          && point.shape().equals(shape)
          && point.causal() == causal
          && point.threads() == threads) {
        return row;
      }
    }
    return null;
  }

  /**
   * Nanoseconds a call. Of Gatun it is the median over the processes of all peers; of a peer it is
   * that, in the peer's layout, times the ratio: processes run one after the other, and only what
   * was timed in turn can be compared.
   */
  OptionalDouble ns(String peer, Shape shape, boolean causal, int threads) {
    if (peer.equals(PeerSpec.GATUN)) {
      return gatunNs(new Point(shape, causal, Point.Layout.BHSD, threads));
    }
    Row row = row(peer, shape, causal, threads);
    return row != null && row.isThere()
        ? OptionalDouble.of(gatunNs(row.point).orElseThrow() * row.ratio.median())
        : OptionalDouble.empty();
  }

  /** Share of the FMA peak that was measured around; of peers as {@link #ns}. */
  OptionalDouble shareOfPeak(String peer, Shape shape, boolean causal, int threads) {
    if (peer.equals(PeerSpec.GATUN)) {
      return gatunShareOfPeak(new Point(shape, causal, Point.Layout.BHSD, threads));
    }
    Row row = row(peer, shape, causal, threads);
    return row != null && row.isThere()
        ? OptionalDouble.of(gatunShareOfPeak(row.point).orElseThrow() / row.ratio.median())
        : OptionalDouble.empty();
  }

  private OptionalDouble gatunShareOfPeak(Point point) {
    return gatun(point, Row::gatunShareOfPeak);
  }

  /** Gatun's time at a point, over the processes of all peers. */
  OptionalDouble gatunNs(Point point) {
    return gatun(point, row -> row.gatunNs().median());
  }

  /**
   * Gatun's time at a point in the process that has no other peer, whose idle threads might take a
   * CPU; where there is none, as {@link #gatunNs}.
   */
  OptionalDouble gatunAloneNs(Point point) {
    for (Row row : rows) {
      if (row.isJavaAndC() && row.isThere() && row.point.equals(point)) {
        return OptionalDouble.of(row.gatunNs().median());
      }
    }
    return gatunNs(point);
  }

  /** Over the rows that are not disturbed, if there is one. */
  private OptionalDouble gatun(Point point, ToDoubleFunction<Row> value) {
    boolean all = isDisturbed(point);
    return median(
        rows.stream()
            .filter(row -> row.isThere() && row.point.equals(point))
            .filter(row -> all || !row.isDisturbed())
            .mapToDouble(value)
            .toArray());
  }

  /** Whether no row of a point has enough undisturbed pairs. */
  boolean isDisturbed(Point point) {
    return rows.stream()
        .filter(row -> row.isThere() && row.point.equals(point))
        .allMatch(Row::isDisturbed);
  }

  /** The median of the rows' gauges. */
  OptionalDouble instructionsPerCycle(int threads) {
    return median(
        rows.stream()
            .filter(row -> row.isThere() && row.point.threads() == threads)
            .mapToDouble(Row::instructionsPerCycle)
            .filter(each -> !Double.isNaN(each))
            .toArray());
  }

  /** Flops a second of the FMA loop with so many threads. */
  OptionalDouble peak(int threads) {
    return over(threads, Row::peak);
  }

  /** Bytes a second of the read loop with so many threads. */
  OptionalDouble read(int threads) {
    return over(threads, Row::read);
  }

  private OptionalDouble over(int threads, ToDoubleFunction<Row> value) {
    return median(
        rows.stream()
            .filter(row -> row.isThere() && row.point.threads() == threads)
            .mapToDouble(value)
            .toArray());
  }

  private static OptionalDouble median(double[] values) {
    Arrays.sort(values);
    return values.length == 0
        ? OptionalDouble.empty()
        : OptionalDouble.of(Quartiles.quantile(values, 0.5));
  }

  // ---- memory --------------------------------------------------------------------------------

  /** Bytes by which a call made the process grow; empty if that was not measured. */
  OptionalDouble growth(String peer, int length, boolean causal) {
    for (Map<?, ?> row : rows("memory")) {
      if (row.get("peer").equals(peer)
          && number(row.get("length")) == length
          && row.get("causal").equals(causal)
          && row.get("growthBytes") != null) {
        return OptionalDouble.of(number(row.get("growthBytes")));
      }
    }
    return OptionalDouble.empty();
  }

  /** Peers whose memory was asked for, in the order of the rows. */
  Set<String> memoryPeers() {
    Set<String> names = new LinkedHashSet<>();
    rows("memory").forEach(row -> names.add(row.get("peer").toString()));
    return names;
  }

  /** Lengths at which memory was asked for. */
  Set<Integer> memoryLengths() {
    Set<Integer> lengths = new LinkedHashSet<>();
    rows("memory").forEach(row -> lengths.add((int) number(row.get("length"))));
    return lengths;
  }

  /** Whether a peer's rows by length are causal ones, as it has no others. */
  boolean isAlwaysCausal(String peer) {
    return rows("memory").stream()
        .filter(row -> row.get("peer").equals(peer))
        .allMatch(row -> row.get("causal").equals(true));
  }

  // ---- JSON ----------------------------------------------------------------------------------

  Object get(String key) {
    return map.get(key);
  }

  /** The rows of a step; none if it was not run. */
  List<Map<?, ?>> rows(String step) {
    List<Map<?, ?>> maps = new ArrayList<>();
    if (map.get(step) instanceof List<?> list) {
      list.forEach(row -> maps.add((Map<?, ?>) row));
    }
    return maps;
  }

  /** The first row with two such values, null if there is none. */
  static Map<?, ?> find(
      List<Map<?, ?>> rows, String key, Object value, String otherKey, Object otherValue) {
    for (Map<?, ?> row : rows) {
      if (value.equals(row.get(key)) && otherValue.equals(row.get(otherKey))) {
        return row;
      }
    }
    return null;
  }

  static double number(Object value) {
    return ((Number) value).doubleValue();
  }
}
