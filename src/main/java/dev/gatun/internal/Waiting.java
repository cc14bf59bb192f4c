package dev.gatun.internal;

import java.time.Duration;

/** A time limit for something that is looked at again and again. */
public final class Waiting {

  private static final long LONGEST_LOOK_MS = 5;

  private final Duration timeout;
  private final long begin = System.nanoTime();
  private final long nanos;
  private boolean interrupted;

  /**
   * Starts the clock.
   *
   * @param timeout 0 or more
   * @throws IllegalArgumentException if it is negative
   */
  public Waiting(Duration timeout) {
    if (timeout.isNegative()) {
      throw new IllegalArgumentException("timeout: expected 0 or more, got " + timeout);
    }
    this.timeout = timeout;
    long most = Long.MAX_VALUE;
    this.nanos = timeout.compareTo(Duration.ofNanos(most)) > 0 ? most : timeout.toNanos();
  }

  /**
   * Waits a little, or until someone notifies.
   *
   * @param monitor held by this thread
   * @return false if the time is over, or this thread is interrupted (it stays so)
   */
  public boolean on(Object monitor) {
    long left = nanos - (System.nanoTime() - begin);
    if (left <= 0 || interrupted) {
      return false;
    }
    try {
      monitor.wait(Math.clamp(left / 1_000_000, 1, LONGEST_LOOK_MS));
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      interrupted = true;
      return false;
    }
  }

  /**
   * Says how the waiting ended.
   *
   * @return the time, or an interrupt
   */
  public String text() {
    return interrupted ? "an interrupt" : timeout.toString();
  }
}
