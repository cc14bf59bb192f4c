package dev.gatun.internal;

import java.util.function.Supplier;
import jdk.jfr.FlightRecorder;

/**
 * Whether JFR may want events. Their classes are made when JFR is there, since making them starts a
 * large part of it, which takes a third of the time to a first call: with {@link Native#load}, or
 * at the first call after a recording has been started.
 */
final class FlightEvents {
  private static volatile boolean made;

  private FlightEvents() {}

  /**
   * Returns whether JFR is there, and with it the classes of events.
   *
   * @throws dev.gatun.GatunException if there is no thread to make them with
   */
  static boolean possible() {
    return FlightRecorder.isInitialized() && (made || make());
  }

  private static boolean make() {
    made = FreshThread.call("gatun-events", new Making());
    return made;
  }

  /** No lambda: a call site that is linked where the stack ends may be lost to the JVM. */
  private record Making() implements Supplier<Boolean> {
    @Override
    public Boolean get() {
      FreshThread.initialize(AttentionEvent.class);
      FreshThread.initialize(ModelEvent.class);
      return true;
    }
  }
}
