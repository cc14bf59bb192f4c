package dev.gatun.internal;

import java.io.IOException;

/** What is done at the end of the JVM, by a signal too, unless this is closed before. */
public final class ExitHook implements AutoCloseable {
  private final Thread thread;

  private ExitHook(Thread thread) {
    this.thread = thread;
  }

  /**
   * Adds one.
   *
   * @param name of the thread
   * @param action may run while what it undoes is going on
   * @throws IOException if the JVM is ending already
   */
  public static ExitHook add(String name, Runnable action) throws IOException {
    Thread thread = new Thread(action, name);
    try {
      Runtime.getRuntime().addShutdownHook(thread);
    } catch (IllegalStateException e) {
      throw new IOException("the JVM is shutting down", e);
    }
    return new ExitHook(thread);
  }

  /** Closing it again does nothing. */
  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(thread);
    } catch (IllegalStateException e) {
      // The JVM is shutting down, and the hook finds nothing left to do.
    }
  }
}
