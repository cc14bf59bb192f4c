package dev.gatun.cli.compare;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** Runs systems at all lengths, shortest first: at each length in turn, in rounds. */
public final class Comparison {
  /** Shorter calls are timed several at a time. */
  private static final double LEAST_NANOS = 1e6;

  /** Of all runs of a system at a length; a system that needs more has fewer runs. */
  private static final double ROUND_NANOS = 1.5e9;

  private static final int LEAST_RUNS = 3;
  private static final int MOST_RUNS = 21;

  /** From here on one run has to do. */
  private static final double SLOW_NANOS = 5e9;

  /** Where a first length is foretold from. */
  private static final long PROBE = 512;

  private final GatunRuntime runtime;
  private final List<CompareSystem> systems;
  private final Limits limits;
  private final Consumer<String> progress;
  private final MemoryProcess memory;
  private final Map<CompareSystem, Row> before = new HashMap<>();

  /**
   * Prepares the runs.
   *
   * @param runtime where all run
   * @param systems what is run
   * @param limits what a system may take
   * @param withMemory whether memory is measured, by a process for each length and system
   * @param progress is told what is being done
   */
  public Comparison(
      GatunRuntime runtime,
      List<CompareSystem> systems,
      Limits limits,
      boolean withMemory,
      Consumer<String> progress) {
    this.runtime = runtime;
    this.systems = List.copyOf(systems);
    this.limits = limits;
    this.progress = progress;
    this.memory =
        withMemory ? new MemoryProcess(runtime.threads(), 4 * limits.seconds() + 60) : null;
  }

  /**
   * Measures all.
   *
   * @param lengths ascending
   * @param setting what holds for all lengths
   * @return a row for each length and system
   */
  public List<Row> run(List<Integer> lengths, Setting setting) {
    List<Row> rows = new ArrayList<>();
    for (int length : lengths) {
      rows.addAll(run(setting.withLength(length)));
    }
    return rows;
  }

  private List<Row> run(Setting setting) {
    List<Row> rows = new ArrayList<>();
    List<Contestant> contestants = new ArrayList<>();
    try (Arena arena = Arena.ofConfined()) {
      Inputs inputs = new Inputs(setting, arena);
      Tensor exact = exact(inputs, arena);
      for (CompareSystem system : systems) {
        progress.accept("%s at %d".formatted(system.word(), setting.length()));
        String why = limits.against(system.bytes(setting), predictedSeconds(system, setting));
        if (why != null) {
          rows.add(Row.missing(system, setting, why));
          continue;
        }
        Contestant contestant = new Contestant(system, inputs, exact, arena);
        why = limits.after(contestant.firstNanos * 1e-9);
        if (why != null) {
          rows.add(Row.missing(system, setting, why));
          continue;
        }
        rows.add(null); // measured below
        contestants.add(contestant);
      }
      for (int round = 0; round < MOST_RUNS; round++) {
        for (Contestant contestant : contestants) {
          progress.accept(
              "%s at %d, run %d".formatted(contestant.system.word(), setting.length(), round + 1));
          contestant.runAgain();
        }
      }
    }
    for (Contestant contestant : contestants) {
      progress.accept("memory of %s at %d".formatted(contestant.system.word(), setting.length()));
      Row row =
          contestant.row(memory == null ? Double.NaN : memory.resident(contestant.system, setting));
      rows.set(rows.indexOf(null), row);
      before.put(contestant.system, row);
    }
    return rows;
  }

  /** Seconds, by the length before; for a first long one by a short one. 0: nothing is known. */
  private double predictedSeconds(CompareSystem system, Setting setting) {
    Row last = before.get(system);
    if (last != null) {
      return last.time().median() * 1e-9 * system.flops(setting) / system.flops(last.setting());
    }
    if (setting.length() <= PROBE) {
      return 0;
    }
    Setting probe = setting.withLength(PROBE);
    try (Arena arena = Arena.ofConfined()) {
      Runnable call = system.prepare(runtime, new Inputs(probe, arena), arena);
      double least = Double.POSITIVE_INFINITY;
      for (int n = 0; n < LEAST_RUNS; n++) {
        least = Math.min(least, nanos(call, 1));
      }
      return least * 1e-9 * system.flops(setting) / system.flops(probe);
    }
  }

  /** What errors refer to; null where exact attention itself is over a limit. */
  private Tensor exact(Inputs inputs, Arena arena) {
    if (systems.stream().noneMatch(Comparison::hasError)
        || limits.against(
                ExactSystem.EXACT.bytes(inputs.setting),
                predictedSeconds(ExactSystem.EXACT, inputs.setting))
            != null) {
      return null;
    }
    ExactSystem.EXACT.prepare(runtime, inputs, arena).run();
    Tensor copy = Tensor.allocate(arena, DType.FLOAT32, inputs.out.shape());
    copy.copyFrom(inputs.out);
    return copy;
  }

  private static boolean hasError(CompareSystem system) {
    return system.kin() != CompareSystem.Kin.OTHER;
  }

  private static double nanos(Runnable call, int calls) {
    long start = System.nanoTime();
    for (int n = 0; n < calls; n++) {
      call.run();
    }
    return (System.nanoTime() - start) / (double) calls;
  }

  /** A system at a length. */
  private final class Contestant {
    private final CompareSystem system;
    private final Inputs inputs;
    private final Runnable call;
    private final double firstNanos;
    private final double error;
    private final int calls;
    private final double[] times = new double[MOST_RUNS];
    private int runs;
    private double spent;

    Contestant(CompareSystem system, Inputs inputs, Tensor exact, Arena arena) {
      this.system = system;
      this.inputs = inputs;
      call = system.prepare(runtime, inputs, arena);
      firstNanos = nanos(call, 1);
      error =
          exact == null || !hasError(system) ? Double.NaN : Inputs.relativeError(inputs.out, exact);
      double again = firstNanos < LEAST_NANOS ? nanos(call, 1) : firstNanos; // the first is cold
      calls = (int) Math.ceil(Math.max(1, LEAST_NANOS / Math.max(1, again)));
    }

    void runAgain() {
      if (runs >= (firstNanos > SLOW_NANOS ? 1 : LEAST_RUNS) && spent >= ROUND_NANOS) {
        return;
      }
      double nanos = nanos(call, calls);
      times[runs++] = nanos;
      spent += nanos * calls;
    }

    Row row(double resident) {
      Quartiles time = Quartiles.of(Arrays.copyOf(times, runs));
      return new Row(system, inputs.setting, null, time, resident, error);
    }
  }
}
