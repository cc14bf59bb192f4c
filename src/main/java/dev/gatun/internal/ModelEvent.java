package dev.gatun.internal;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/**
 * A JFR event: one call of a model that went well. Costs without a recording what {@link
 * AttentionEvent} costs.
 *
 * <pre>{@code
 * ModelEvent event = ModelEvent.start();
 * ... // the call
 * ModelEvent.finish(event, name, sequences, tokens);
 * }</pre>
 */
@Name("dev.gatun.Model")
@Label("Model")
@Category("Gatun")
@Description("A call of a model, from token ids to its result")
@StackTrace(false)
public final class ModelEvent extends Event {

  /** Tells whether a recording wants events of this type. */
  private static final ModelEvent PROBE = new ModelEvent();

  @Label("Model")
  String model;

  @Label("Sequences")
  int sequences;

  @Label("Tokens")
  @Description("Of all sequences")
  long tokens;

  private ModelEvent() {}

  /** Starts the clock; null if nobody records. */
  public static ModelEvent start() {
    if (!PROBE.isEnabled()) {
      return null;
    }
    ModelEvent event = new ModelEvent();
    event.begin();
    return event;
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
    event.end();
    if (event.shouldCommit()) {
      event.model = model;
      event.sequences = sequences;
      event.tokens = tokens;
      event.commit();
    }
  }
}
