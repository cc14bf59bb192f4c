package dev.gatun.bench.measure;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * Threads that each do a part of the same work whenever they are told to, for peers that have none
 * of their own. They wait actively for some microseconds, then sleep.
 */
public final class WorkerGroup implements AutoCloseable {
  private static final long SPIN_NANOS = 50_000;

  private final Runnable[] parts;
  private final Thread[] threads;
  private final AtomicInteger pending = new AtomicInteger();
  private final AtomicReference<Throwable> failure = new AtomicReference<>();
  private volatile long round;
  private volatile boolean ended;

  /** The first part is done by whoever calls {@link #run}, each other one by a thread. */
  public WorkerGroup(Runnable... parts) {
    this.parts = parts.clone();
    this.threads = new Thread[parts.length - 1];
    for (int i = 0; i < threads.length; i++) {
      Runnable part = parts[i + 1];
      threads[i] = new Thread(() -> work(part), "worker-" + (i + 1));
      threads[i].setDaemon(true);
      threads[i].start();
    }
  }

  private void work(Runnable part) {
    long done = 0;
    while (true) {
      long since = System.nanoTime();
      while (round == done && !ended) {
        if (System.nanoTime() - since < SPIN_NANOS) {
          Thread.onSpinWait();
        } else {
          LockSupport.park(this);
        }
      }
      if (ended) {
        return;
      }
      done++;
      try {
        part.run();
      } catch (RuntimeException | Error e) {
        failure.compareAndSet(null, e);
      }
      pending.decrementAndGet();
    }
  }

  /** Does all parts once. */
  public void run() {
    if (threads.length == 0) {
      parts[0].run();
      return;
    }
    pending.set(threads.length);
    round++; // only this thread writes it
    for (Thread thread : threads) {
      LockSupport.unpark(thread);
    }
    try {
      parts[0].run();
    } finally {
      while (pending.get() > 0) {
        Thread.onSpinWait();
      }
    }
    Throwable e = failure.getAndSet(null);
    if (e != null) {
      throw new IllegalStateException("a worker failed", e);
    }
  }

  @Override
  public void close() {
    ended = true;
    for (Thread thread : threads) {
      LockSupport.unpark(thread);
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
