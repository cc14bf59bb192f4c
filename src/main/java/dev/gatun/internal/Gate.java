package dev.gatun.internal;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.time.Duration;

/**
 * Counts the calls of an object that can be closed, and refuses new ones while it is being closed.
 */
public final class Gate {

  private static final VarHandle CALLS;

  static {
    try {
      CALLS = MethodHandles.lookup().findVarHandle(Gate.class, "calls", int.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final String name;
  private volatile int calls;
  private volatile boolean closing;
  private volatile boolean closed;

  /** Open, of the object that messages call by this name. */
  public Gate(String name) {
    this.name = name;
  }

  /**
   * Begins a call, which has to {@link #leave}.
   *
   * @throws IllegalStateException if the object is closed or closing
   */
  public void enter() {
    CALLS.getAndAdd(
        this, 1); // before the look: a closer sees the call, or the call sees the closer
    if (closing || closed) {
      leave();
      throw new IllegalStateException("%s is %s".formatted(name, closed ? "closed" : "closing"));
    }
  }

  /** Ends a call. */
  public void leave() {
    CALLS.getAndAdd(this, -1);
  }

  public boolean isClosed() {
    return closed;
  }

  /**
   * Closes the object, if nobody uses it at this moment. Closing a closed one does nothing.
   *
   * @param resource what is closed; it throws {@link IllegalStateException} if it is in use
   * @throws IllegalStateException naming the object, if it is in use
   */
  public synchronized void close(AutoCloseable resource) {
    refuseSecondClosing();
    if (!closed) {
      try {
        closeNow(resource);
      } catch (IllegalStateException e) {
        throw new IllegalStateException(
            "a call of %s is running; close(Duration) waits for it".formatted(name), e);
      }
    }
  }

  /**
   * Refuses new calls, waits for those that run, and closes the object. Closing a closed one does
   * nothing.
   *
   * @param timeout how long to wait at most
   * @param resource what is closed
   * @throws IllegalArgumentException if the time is negative
   * @throws IllegalStateException if calls run still, and the object stays open; or if another
   *     thread is closing it
   */
  public void close(Duration timeout, AutoCloseable resource) {
    Waiting wait = new Waiting(timeout);
    synchronized (this) {
      refuseSecondClosing();
      if (closed) {
        return;
      }
      closing = true;
      try {
        IllegalStateException inUse;
        do {
          inUse = null;
          if (calls == 0) {
            try {
              closeNow(resource);
              return;
            } catch (IllegalStateException e) {
              inUse = e; // by a call that went around the gate
            }
          }
        } while (wait.on(this));
        throw new IllegalStateException(
            "calls of %s are still running after %s; it stays open".formatted(name, wait.text()),
            inUse);
      } finally {
        closing = false;
      }
    }
  }

  private void refuseSecondClosing() {
    if (closing) {
      throw new IllegalStateException("another thread is closing " + name);
    }
  }

  private void closeNow(AutoCloseable resource) {
    try {
      resource.close();
    } catch (RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new AssertionError("an arena throws nothing checked", e);
    }
    closed = true;
  }
}
