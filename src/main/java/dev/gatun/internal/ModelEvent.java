package dev.gatun.internal;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/**
 * One call of a model that went well, for JFR. Costs without a recording what {@link
 * AttentionEvent} costs.
 *
 * <pre>{@code
 * ModelEvent event = ModelEvent.start();
 * ... // the call
 * ModelEvent.finish(event, name, sequences, tokens);
 * }</pre>
 */
public final class ModelEvent {

  /** What JFR sees, apart so that without JFR it is not even loaded. */
  @Name("dev.gatun.Model")
  @Label("Model")
  @Category("Gatun")
  @Description("A call of a model, from token ids to its result")
  @StackTrace(false)
  static final class Recorded extends Event {

    /** Tells whether a recording wants events of this type. */
    static final Recorded PROBE = new Recorded();

    @Label("Model")
    String model;

    @Label("Sequences")
    int sequences;

    @Label("Tokens")
    @Description("Of all sequences")
    long tokens;
  }

  private final Recorded recorded;

  private ModelEvent(Recorded recorded) {
    this.recorded = recorded;
  }

  /** Starts the clock; null if nobody records. */
  public static ModelEvent start() {
    if (!FlightEvents.possible() || !Recorded.PROBE.isEnabled()) {
      return null;
    }
    Recorded recorded = new Recorded();
    recorded.begin();
    return new ModelEvent(recorded);
  }

  /**
   * Stops the clock and records.
   *
   * @param event what {@link #start} returned, or null
   * @param model name of the model; a string that exists, not one made for this call
   * @param sequences texts of this call
   * @param tokens of all of them
   */
  public static void finish(ModelEvent event, String model, int sequences, long tokens) {
    if (event == null) {
      return;
    }
    Recorded recorded = event.recorded;
    recorded.end();
    if (recorded.shouldCommit()) {
      recorded.model = model;
      recorded.sequences = sequences;
      recorded.tokens = tokens;
      recorded.commit();
    }
  }
}
