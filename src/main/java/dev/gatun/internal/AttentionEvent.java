package dev.gatun.internal;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/**
 * One attention call that went well, for JFR. Its duration is that of the native code.
 *
 * <p>Without a recording {@link #start} costs a test of a static field. No object is made, not even
 * by the interpreter.
 */
public final class AttentionEvent {

  /** What JFR sees, apart so that without JFR it is not even loaded. */
  @Name("dev.gatun.Attention")
  @Label("Attention")
  @Category("Gatun")
  @Description("A call of an attention kernel")
  @StackTrace(false)
  static final class Recorded extends Event {

    /** Tells whether a recording wants events of this type. */
    static final Recorded PROBE = new Recorded();

    @Label("Batch")
    @Description("Sequences")
    long batch;

    @Label("Query Heads")
    long heads;

    @Label("Key/Value Heads")
    long kvHeads;

    @Label("Query Rows")
    @Description("Of one sequence; of ragged sequences: of the longest")
    long seqQ;

    @Label("Keys")
    @Description("Of one sequence; of ragged sequences: of the longest")
    long seqK;

    @Label("Head Dimension")
    @Description("Of queries and keys")
    int headDim;

    @Label("Head Dimension of Values")
    int headDimV;

    @Label("Causal")
    @Description("The mask: NONE, BOTTOM_RIGHT or TOP_LEFT")
    String causal;

    @Label("Ragged")
    @Description("Sequences of different lengths lie one after the other")
    boolean ragged;

    @Label("Kernel")
    String kernel;

    @Label("Threads")
    @Description("That may work on the call, the caller's included")
    int threads;
  }

  private AttentionEvent() {}

  /**
   * Starts the clock, if someone records.
   *
   * @return null if nobody does
   */
  public static Recorded start() {
    if (!FlightEvents.possible() || !Recorded.PROBE.isEnabled()) {
      return null;
    }
    Recorded event = new Recorded();
    event.begin();
    return event;
  }
}
