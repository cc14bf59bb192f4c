package dev.gatun.cli;

import dev.gatun.internal.Messages;

/**
 * What is being done, on one line of standard error that is drawn anew again and again if it is a
 * terminal, and not at all elsewhere. Lines that stay go through {@link #note}, so that they do not
 * run into that line; so does the output, by {@link #beside}.
 */
final class Progress implements AutoCloseable {
  private static final long FIRST_MILLIS = 300;
  private static final long INTERVAL_MILLIS = 100;

  /** Narrower than a terminal: a line that wraps could not be drawn anew. */
  private static final int MOST_CHARACTERS = 72;

  private static final String CLEAR = "\r\033[K";

  private final Streams streams;
  private String what;

  /** What stands on the terminal, or null. */
  private String drawn;

  private boolean closed;

  /** Begins; shown if whoever typed the command wants to see it. */
  Progress(Streams streams, boolean shown, String what) {
    this.streams = streams;
    this.what = what;
    if (shown && streams.errIsTerminal()) {
      Thread.ofPlatform().daemon().name("gatun-progress").start(this::run);
    }
  }

  /** Says what is being done from now on. */
  synchronized void set(String what) {
    this.what = what;
  }

  private synchronized void run() {
    try {
      wait(FIRST_MILLIS);
      while (!closed) {
        draw();
        wait(INTERVAL_MILLIS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void draw() {
    String line = Messages.line(what);
    if (line.length() > MOST_CHARACTERS) {
      line = line.substring(0, line.offsetByCodePoints(0, MOST_CHARACTERS / 2)) + "…";
    }
    if (!line.equals(drawn)) {
      streams.err().print(CLEAR + "gatun: " + line);
      streams.err().flush();
      drawn = line;
    }
  }

  private void clear() {
    if (drawn != null) {
      streams.err().print(CLEAR);
      streams.err().flush();
      drawn = null;
    }
  }

  /** Prints a line that stays. */
  synchronized void note(String line) {
    clear();
    streams.err().println("gatun: " + Messages.line(line));
    streams.err().flush();
  }

  /** Writes to standard output, which may be the same terminal. */
  synchronized void beside(Runnable writer) {
    if (streams.outIsTerminal()) {
      clear();
    }
    writer.run();
    if (streams.outIsTerminal()) {
      streams.out().flush();
    }
  }

  /** Nothing is drawn afterwards. */
  synchronized void stop() {
    closed = true;
    clear();
    notifyAll();
  }

  @Override
  public void close() {
    stop();
  }
}
