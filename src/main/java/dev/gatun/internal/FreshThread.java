package dev.gatun.internal;

import dev.gatun.GatunException;
import java.util.function.Supplier;

/**
 * Runs what happens once, such as loading a library and initialising classes, on a thread of its
 * own. A class whose static initialiser ends in a StackOverflowError or OutOfMemoryError cannot be
 * used any more in this JVM: here the whole stack is free, and the heap has been seen to have room.
 */
public final class FreshThread {

  private static final int ROOM_PIECES = 32;
  private static final int ROOM_PIECE_BYTES = 1 << 16;

  /** Where the room is looked for; a field, so that it is not optimised away. */
  private static volatile byte[][] room;

  private FreshThread() {}

  /**
   * Runs a task and waits for it, whether this thread is interrupted or not.
   *
   * @param <T> what it makes
   * @param name of the thread
   * @param task runs with the class loader that this thread has as its context
   * @return what the task returned
   * @throws GatunException if there is no thread
   * @throws OutOfMemoryError if the heap has no room; nothing has been run
   */
  public static <T> T call(String name, Supplier<T> task) {
    return start(name, task).result();
  }

  /**
   * Runs a task beside this thread.
   *
   * @param <T> what it makes
   * @param name of the thread
   * @param task runs with the class loader that this thread has as its context
   * @return the task, whose result has to be asked for
   * @throws GatunException if there is no thread
   */
  public static <T> Task<T> start(String name, Supplier<T> task) {
    Run<T> run = new Run<>(task);
    Thread thread =
        Thread.ofPlatform()
            .name(name)
            .daemon()
            .inheritInheritableThreadLocals(false)
            .unstarted(run);
    thread.setContextClassLoader(Thread.currentThread().getContextClassLoader());
    try {
      thread.start();
    } catch (OutOfMemoryError e) {
      throw new GatunException("no thread could be started to load with: " + e.getMessage(), e);
    }
    return new Task<>(thread, run);
  }

  /**
   * A task that runs.
   *
   * @param <T> what it makes
   */
  public static final class Task<T> {
    private final Thread thread;
    private final Run<T> run;

    private Task(Thread thread, Run<T> run) {
      this.thread = thread;
      this.run = run;
    }

    /** Waits for the end of the task, whether this thread is interrupted or not. */
    public void await() {
      boolean interrupted = false;
      while (true) {
        try {
          thread.join();
          break;
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }

    /**
     * Waits as {@link #await} does.
     *
     * @return what the task returned
     * @throws OutOfMemoryError if the heap has no room; nothing has been run
     */
    public T result() {
      await();
      return run.result();
    }
  }

  private static final class Run<T> implements Runnable {
    private final Supplier<T> task;
    private T value;
    private Throwable failure;

    Run(Supplier<T> task) {
      this.task = task;
    }

    @Override
    public void run() {
      try {
        takeRoom();
        value = task.get();
      } catch (Throwable e) {
        failure = e;
      }
    }

    private static void takeRoom() {
      try {
        byte[][] pieces = new byte[ROOM_PIECES][];
        room = pieces;
        for (int n = 0; n < ROOM_PIECES; n++) {
          pieces[n] = new byte[ROOM_PIECE_BYTES];
        }
      } finally {
        room = null;
      }
    }

    T result() {
      switch (failure) {
        case null -> {
          return value;
        }
        case RuntimeException e -> throw e;
        case Error e -> throw e;
        default -> throw new AssertionError("a supplier throws nothing checked", failure);
      }
    }
  }

  /** Initialises a class and the classes in it, some of which may be private. */
  static void initialize(Class<?> type) {
    try {
      Class.forName(type.getName(), true, type.getClassLoader());
      for (Class<?> inner : type.getDeclaredClasses()) {
        initialize(inner);
      }
    } catch (ClassNotFoundException e) {
      throw new AssertionError("it exists", e);
    }
  }
}
