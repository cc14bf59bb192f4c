package dev.gatun.cli;

import java.io.PrintWriter;

/** Says once a second on standard error what is being done, from the first second on. */
final class Progress implements AutoCloseable {
  private static final long INTERVAL_MILLIS = 1000;

  private final PrintWriter err;
  private String what;
  private boolean closed;

  Progress(PrintWriter err, String what) {
    this.err = err;
    this.what = what;
    Thread.ofPlatform().daemon().name("gatun-progress").start(this::run);
  }

  /** Says what is being done from now on. */
  synchronized void set(String what) {
    this.what = what;
  }

  private synchronized void run() {
    try {
      long begin = System.nanoTime();
      for (long n = 1; !closed; ) {
        long left = n * INTERVAL_MILLIS - (System.nanoTime() - begin) / 1_000_000;
        if (left > 0) {
          wait(left);
        } else {
          err.println("gatun: " + what);
          err.flush();
          n++;
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Nothing is said afterwards. */
  synchronized void stop() {
    closed = true;
    notifyAll();
  }

  @Override
  public void close() {
    stop();
  }
}
