package dev.gatun.bench.run;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.CoreContention;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Series;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.function.DoubleUnaryOperator;

/**
 * The end of a {@link WorkerProcess} that computes. A contestant of its own process has the class
 * path, the native libraries and the environment that it needs, and waits without using a CPU while
 * others have their turn. It is asked by lines, and answers by lines that begin with {@link
 * #ANSWER}; whatever else a library prints is none.
 */
final class BlockServer {

  static final String ANSWER = "> ";

  /** A call so much longer than a block finds nothing of use in the caches. */
  private static final double LONG = 5;

  /** What part of a block is spent on calls that do not count. */
  private static final double UNCOUNTED = 0.25;

  /** What a worker can do. */
  interface Work {

    /**
     * Makes ready for a case and forgets the one before.
     *
     * @throws Absent if it has nothing to say about that case
     */
    Ready prepare(String what) throws IOException;

    /** Does something else that it was asked for. */
    default void other(String what) throws IOException {
      throw new IOException("expected prepare or block, got " + what);
    }
  }

  /**
   * A case that is ready.
   *
   * @param peer the calls
   * @param roof measures for so many seconds what the machine could do; null if nobody asks
   * @param note what is to be known about it, on one line, or nothing
   */
  record Ready(Peer peer, DoubleUnaryOperator roof, String note) {}

  /** Why there is nothing to time. */
  static final class Absent extends RuntimeException {
    private static final long serialVersionUID = 1;

    Absent(String message) {
      super(message);
    }
  }

  private final Work work;
  private final Alternation.Effort effort;
  private final CoreContention contention;
  private Ready ready;
  private double seconds;

  /**
   * Makes one.
   *
   * @param contention pins where the calls have one thread
   */
  BlockServer(Work work, Alternation.Effort effort, CoreContention contention) {
    this.work = work;
    this.effort = effort;
    this.contention = contention;
  }

  /** Answers until there are no more questions. */
  static void serve(Work work, boolean quick, int threads) throws IOException {
    PrintStream answers = System.out;
    System.setOut(System.err); // what libraries have to say
    try (CoreContention contention =
        threads == 1 ? CoreContention.pinning() : CoreContention.watching()) {
      new BlockServer(work, quick ? Alternation.Effort.QUICK : Alternation.Effort.FULL, contention)
          .serve(System.in, answers);
    }
  }

  void serve(InputStream in, PrintStream out) throws IOException {
    BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      out.println(ANSWER + answer(line));
      out.flush();
    }
  }

  private String answer(String line) {
    try {
      if (line.startsWith("prepare ")) {
        return prepare(line.substring("prepare ".length()));
      }
      if (line.startsWith("block ")) {
        Series.Sample sample = block(Double.parseDouble(line.substring("block ".length())));
        return "sample %s %s %s".formatted(sample.nanos(), sample.quiet(), sample.roof());
      }
      work.other(line);
      return "done";
    } catch (IOException | RuntimeException | LinkageError e) {
      String message = e.getMessage() == null ? e.toString() : e.getMessage();
      if (!(e instanceof Absent)) {
        e.printStackTrace();
      }
      return "missing " + message.lines().findFirst().orElse("unknown");
    }
  }

  private String prepare(String what) throws IOException {
    contention.move();
    if (ready != null) {
      ready.peer.close();
      ready = null;
    }
    ready = work.prepare(what);
    seconds = Alternation.warm(ready.peer, effort);
    return "ready %s %s".formatted(seconds, ready.note);
  }

  private Series.Sample block(double window) {
    if (ready == null) {
      throw new IllegalStateException("block: expected a case that is ready, got none");
    }
    contention.move();
    if (seconds < LONG * window) {
      ready.peer.calls((long) Math.ceil(UNCOUNTED * window / seconds));
    }
    long calls = Math.max(1, Math.round(window / seconds));
    double roof = roof(window);
    double first = contention.instructionsPerCycle();
    long begin = System.nanoTime();
    ready.peer.calls(calls);
    double nanos = (double) Math.max(1, System.nanoTime() - begin) / calls;
    double second = contention.instructionsPerCycle();
    roof = 0.5 * (roof + roof(window));
    seconds = nanos * 1e-9;
    Series.Quiet quiet =
        Double.isNaN(first) || Double.isNaN(second)
            ? Series.Quiet.UNKNOWN
            : Math.min(first, second) >= contention.undisturbed()
                ? Series.Quiet.YES
                : Series.Quiet.NO;
    return new Series.Sample(nanos, quiet, roof);
  }

  private double roof(double window) {
    return ready.roof == null ? 0 : ready.roof.applyAsDouble(Math.clamp(window, 1e-3, 0.1));
  }
}
