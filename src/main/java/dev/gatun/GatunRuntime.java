package dev.gatun;

import dev.gatun.internal.Blas;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Native;
import dev.gatun.internal.Waiting;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.LongFunction;

/**
 * The kernels of one tier and a pool of native threads: where operations come from.
 *
 * <p>A runtime may be used by any number of threads at the same time. A call runs on the thread
 * that makes it and on those threads of the pool that are idle; it never waits for another call's
 * work. Most programs need one runtime: {@link #shared()}, which nobody closes, or one of their own
 * that lives as long as they do.
 *
 * {@snippet :
 * try (GatunRuntime runtime = GatunRuntime.builder().threads(4).build()) {
 *   Attention attention = runtime.attention(AttentionSpec.standard());
 *   attention.forward(q, k, v, out);
 * }
 * }
 *
 * <p>Calls write into a {@link Workspace}. Who passes none is lent one from a bounded list; when
 * all are lent, the call waits for one, and a virtual thread gives its carrier up meanwhile.
 */
public final class GatunRuntime implements AutoCloseable {

  /** After this time a call that waits for a workspace looks whether one has been lost. */
  private static final long LOOK_AGAIN_MS = 20;

  private static final Object SHARED_LOCK = new Object();
  private static volatile GatunRuntime shared;

  private final long context;
  private final Tier tier;
  private final int threads;
  private final RuntimeInfo.ThreadsSource threadsSource;
  private final boolean closeable;

  /**
   * Workspaces to lend, as many as have been needed at one time: the first {@link #lendableCount}.
   */
  private final AtomicReferenceArray<Workspace> lendable;

  /** Negative while no call may begin. Written under the lock. */
  private volatile int lendableCount;

  /** A monitor: the JVM leaves it whatever happens to the stack. */
  private final Object lock = new Object();

  /** Calls that wait for a workspace. Written under the lock. */
  private volatile int waiting;

  /** Workspaces that callers own. Under the lock. */
  private final Set<Workspace> owned = new LinkedHashSet<>();

  /** What the threads of the pool multiply with. */
  final Blas.User products;

  private volatile boolean closing;
  private volatile boolean closed;

  private GatunRuntime(Builder builder, boolean closeable) {
    Workspace.initialize();
    LayerCalls.set(new Calling());
    this.closeable = closeable;
    this.lendable = new AtomicReferenceArray<>(builder.workspaces);
    this.threadsSource = builder.threadsSource();
    this.context = Native.createContext(builder.threads(threadsSource), builder.tier);
    RuntimeInfo info = Native.info(context, threadsSource);
    this.tier = info.tier();
    this.threads = info.threads();
    this.products = new Blas.User(null, threads);
    System.getLogger("dev.gatun").log(System.Logger.Level.DEBUG, "created a runtime: {0}", info);
  }

  /**
   * Creates a runtime with all CPUs that this process may use and the best tier that the CPU has.
   * The CPUs are the least of the process's affinity, the CPU quota of its control groups (a
   * container's), and {@link Runtime#availableProcessors}.
   *
   * @return a runtime that the caller closes
   * @throws GatunException if the native library cannot be loaded, if {@code GATUN_ISA} names a
   *     tier that is not available, or if there is no memory or thread
   */
  public static GatunRuntime create() {
    return builder().build();
  }

  /**
   * Starts a runtime with every default.
   *
   * @return a new builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Tells whether this build has a tier and this CPU can run it. Loads the native library.
   *
   * @param tier the tier
   * @return true if a runtime with this tier can be created
   * @throws GatunException if the native library cannot be loaded
   */
  public static boolean isAvailable(Tier tier) {
    return Native.tierAvailable(Objects.requireNonNull(tier, "tier"));
  }

  /**
   * Returns the runtime of this process, which is created at the first call, as by {@link
   * #create()}. It lives as long as the process: {@link #close()} refuses to close it.
   *
   * @return always the same object
   * @throws GatunException as {@link #create()}; the next call tries anew
   */
  public static GatunRuntime shared() {
    GatunRuntime runtime = shared;
    if (runtime == null) {
      synchronized (SHARED_LOCK) {
        runtime = shared;
        if (runtime == null) {
          runtime = new GatunRuntime(builder(), false);
          shared = runtime;
        }
      }
    }
    return runtime;
  }

  // ---- operations ----------------------------------------------------------------------------

  /**
   * Makes an attention operation.
   *
   * @param spec what it computes
   * @return an operation that any number of threads may share; it is not closed
   */
  public Attention attention(AttentionSpec spec) {
    return new Attention(this, Objects.requireNonNull(spec, "spec"));
  }

  /**
   * Makes a matrix product. The first one of a process loads OpenBLAS and switches its own threads
   * off for the whole process, as products are cut up over the threads of the runtime. OpenBLAS
   * gets 128 MiB of address space for each of them, and for each workspace at its first product.
   *
   * @return an operation that any number of threads may share; it is not closed
   * @throws IllegalStateException if the runtime is closed
   * @throws GatunException if OpenBLAS cannot be loaded, or there is no memory for its buffers
   */
  public MatMul matMul() {
    synchronized (lock) {
      checkOpen();
      products.prepare();
    }
    return new MatMul(this);
  }

  /**
   * Makes a workspace for one thread at a time.
   *
   * @return a workspace that the caller closes
   * @throws IllegalStateException if the runtime is closed
   * @throws GatunException if there is no memory
   */
  public Workspace newWorkspace() {
    synchronized (lock) {
      checkOpen();
      Workspace workspace = new Workspace(this);
      owned.add(workspace);
      workspace.release();
      return workspace;
    }
  }

  // ---- description ---------------------------------------------------------------------------

  /**
   * Returns the threads that work on one call.
   *
   * @return their number, the caller's included
   */
  public int threads() {
    return threads;
  }

  /**
   * Returns the tier.
   *
   * @return the kernels in use
   */
  public Tier tier() {
    return tier;
  }

  /**
   * Describes the runtime and the machine.
   *
   * @return what it runs on, and why
   * @throws IllegalStateException if the runtime is closed
   */
  public RuntimeInfo info() {
    return open(address -> Native.info(address, threadsSource));
  }

  /** Does something with the context while it cannot be closed. */
  <T> T open(LongFunction<T> body) {
    synchronized (lock) {
      checkOpen();
      return body.apply(context);
    }
  }

  /**
   * Reads the counters.
   *
   * @return what the runtime has done since it was created
   * @throws IllegalStateException if the runtime is closed
   */
  public Counters counters() {
    return open(Native::counters);
  }

  /**
   * Measures how fast one core can multiply and add in this runtime's tier: the roof that attention
   * can come near on one core. The calling thread computes for the given time.
   *
   * @param time 1 microsecond to 10 seconds
   * @return floating-point operations a second, a fused multiply-add being two
   * @throws IllegalArgumentException if the time is out of its range
   * @throws IllegalStateException if the runtime is closed
   */
  public double peakFlops(Duration time) {
    if (time.compareTo(Duration.ofNanos(1_000)) < 0 || time.compareTo(Duration.ofSeconds(10)) > 0) {
      throw new IllegalArgumentException("time: expected 1 µs to 10 s, got " + time);
    }
    Workspace workspace = lend(); // keeps the context open
    try {
      return Native.peak(context, time.toNanos());
    } finally {
      giveBack(workspace);
    }
  }

  /** Describes the runtime on one line. */
  @Override
  public String toString() {
    return "GatunRuntime(%s, %d threads%s)".formatted(tier, threads, closed ? ", closed" : "");
  }

  // ---- lifetime ------------------------------------------------------------------------------

  /**
   * Stops the threads and frees the memory, that of workspaces included. Closing a closed runtime
   * does nothing.
   *
   * @throws IllegalStateException if a call runs; the runtime then stays open, and where calls
   *     never cease {@link #close(Duration)} is the way. Also if this is the {@link #shared()}
   *     runtime
   */
  @Override
  public void close() {
    requireCloseable();
    synchronized (lock) {
      refuseSecondClosing();
      if (!closed && !tryClose()) {
        allWorkspaces().forEach(Workspace::reopen);
        throw new IllegalStateException(
            "calls of this runtime are running; close(Duration) waits for them");
      }
    }
  }

  /**
   * Stops the threads and frees the memory as {@link #close()} does, under traffic: from now on new
   * calls throw {@link IllegalStateException}, and those that run are waited for. If they take
   * longer than the time, or if this thread is interrupted, the runtime is open again.
   *
   * @param timeout how long to wait at most, 0 or more
   * @throws IllegalArgumentException if the time is negative
   * @throws IllegalStateException if calls run still; also if this is the {@link #shared()}
   *     runtime, or another thread is closing it
   */
  public void close(Duration timeout) {
    Waiting wait = new Waiting(timeout);
    requireCloseable();
    synchronized (lock) {
      refuseSecondClosing();
      if (closed) {
        return;
      }
      int count = lendableCount;
      closing = true;
      lendableCount = -1 - count;
      lock.notifyAll();
      boolean done = false;
      try {
        while (!(done = tryClose()) && wait.on(lock)) {}
        if (!done) {
          throw new IllegalStateException(
              "calls of this runtime are still running after %s; it stays open"
                  .formatted(wait.text()));
        }
      } finally {
        if (!done) {
          lendableCount = count;
          allWorkspaces().forEach(Workspace::reopen);
        }
        closing = false;
      }
    }
  }

  private void requireCloseable() {
    if (!closeable) {
      throw new IllegalStateException("the shared runtime lives as long as the process");
    }
  }

  private void refuseSecondClosing() {
    if (closing) {
      throw new IllegalStateException("another thread is closing the runtime");
    }
  }

  /**
   * Closes the runtime if no call runs. Every call holds a workspace, so that with all of them held
   * here no call can run or start. Under the lock; if it fails, workspaces have to be reopened.
   */
  private boolean tryClose() {
    Set<Workspace> all = allWorkspaces();
    boolean idle = true;
    for (Workspace workspace : all) {
      idle &= workspace.tryClosing();
    }
    if (!idle || Native.destroyContext(context) != Native.Abi.OK) {
      return false;
    }
    closed = true;
    all.forEach(Workspace::finishClosing);
    owned.clear();
    products.close();
    lock.notifyAll();
    return true;
  }

  /** For a call whose workspace the closing runtime holds. */
  void awaitDecision() {
    checkOpen();
    Thread.yield();
  }

  private Set<Workspace> allWorkspaces() {
    Set<Workspace> all = new LinkedHashSet<>(owned);
    int count = lendableCount;
    for (int i = 0; i < (count < 0 ? -1 - count : count); i++) {
      all.add(lendable.get(i));
    }
    return all;
  }

  void forget(Workspace workspace) {
    synchronized (lock) {
      owned.remove(workspace);
    }
  }

  long context() {
    return context;
  }

  private void checkOpen() {
    if (closed || closing) {
      throw new IllegalStateException("the runtime is " + (closed ? "closed" : "closing"));
    }
  }

  // ---- lending -------------------------------------------------------------------------------

  /** Takes a workspace for one call: the caller's, or a lent one where that is null. */
  Workspace begin(Workspace workspace) {
    if (workspace == null) {
      return lend();
    }
    if (workspace.runtime != this || lendableCount < 0) {
      refuse(workspace);
    }
    workspace.acquire();
    return workspace;
  }

  private void refuse(Workspace workspace) {
    if (workspace.runtime != this) {
      throw new IllegalArgumentException(
          "workspace: expected one of %s, got one of %s".formatted(this, workspace.runtime));
    }
    checkOpen();
  }

  /** How layers and models begin a call. */
  private static final class Calling extends LayerCalls {
    @Override
    protected LayerCall take(GatunRuntime runtime, Workspace workspace) {
      return runtime.begin(workspace).layerCall(workspace == null);
    }
  }

  /** Ends what {@link #begin} began with the same workspace. */
  void end(Workspace workspace, Workspace taken) {
    if (workspace == null) {
      giveBack(taken);
    } else {
      taken.release();
    }
  }

  /** Lends an idle workspace, or waits for one. */
  private Workspace lend() {
    int count = lendableCount;
    if (count > 0) {
      Workspace workspace = lendable.getAcquire(home(count));
      if (workspace.tryAcquire()) {
        return workspace;
      }
    }
    return lendOther();
  }

  /** Where a thread looks first, so that it finds its last shapes again. Ids are spread evenly. */
  private static int home(int count) {
    long hash = Thread.currentThread().threadId() * 0x9E3779B9L & 0xFFFFFFFFL;
    return (int) (hash * count >>> 32);
  }

  private Workspace lendOther() {
    Workspace workspace = lendIdle();
    if (workspace != null) {
      return workspace;
    }
    boolean interrupted = false;
    synchronized (lock) {
      checkOpen();
      int count = lendableCount;
      if (count < lendable.length()) {
        workspace = new Workspace(this);
        lendable.setRelease(count, workspace);
        lendableCount = count + 1;
        return workspace;
      }
      waiting++;
      try {
        // A releaser writes the workspace's state, then reads waiting; here it is the other way
        // round, so that one of the two sees the other.
        while ((workspace = lendIdle()) == null) {
          try {
            lock.wait(LOOK_AGAIN_MS);
          } catch (InterruptedException e) {
            interrupted = true;
          }
          takeBack();
        }
      } finally {
        waiting--;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    return workspace;
  }

  /** Frees workspaces whose calls did not come to their end, and could not say so. */
  private void takeBack() {
    for (int i = 0; i < lendableCount; i++) {
      lendable.get(i).takeBack();
    }
  }

  private Workspace lendIdle() {
    checkOpen();
    int count = lendableCount;
    if (count <= 0) {
      return null;
    }
    int place = home(count);
    for (int i = 0; i < count; i++) {
      Workspace workspace = lendable.getAcquire(place);
      if (workspace.tryAcquire()) {
        return workspace;
      }
      place = place + 1 < count ? place + 1 : 0;
    }
    return null;
  }

  private void giveBack(Workspace workspace) {
    workspace.releaseThenFence();
    if (waiting > 0) {
      wake();
    }
  }

  private void wake() {
    synchronized (lock) {
      lock.notify();
    }
  }

  /** Collects the values of a runtime. Not thread-safe. */
  public static final class Builder {
    private static final int MAX_THREADS = 1024;
    private static final int MAX_WORKSPACES = 1 << 16;

    private int threads;
    private Tier tier;
    private int workspaces = 2 * Runtime.getRuntime().availableProcessors();

    private Builder() {}

    /** What to ask the library for. */
    private int threads(RuntimeInfo.ThreadsSource source) {
      return source == RuntimeInfo.ThreadsSource.JVM
          ? Runtime.getRuntime().availableProcessors()
          : threads;
    }

    private RuntimeInfo.ThreadsSource threadsSource() {
      if (threads > 0) {
        return RuntimeInfo.ThreadsSource.CONFIG;
      }
      return Runtime.getRuntime().availableProcessors() < Native.cpus()
          ? RuntimeInfo.ThreadsSource.JVM
          : RuntimeInfo.ThreadsSource.CPUS;
    }

    /**
     * Sets the threads that work on one call; the default is the CPUs that this process may use
     * (see {@link GatunRuntime#create}).
     *
     * @param value 1 to 1024, the caller's thread included, or 0 for the default
     * @return this builder
     * @throws IllegalArgumentException if the value is out of its range
     */
    public Builder threads(int value) {
      if (value < 0 || value > MAX_THREADS) {
        throw new IllegalArgumentException(
            "threads: expected 0 .. %d, got %d".formatted(MAX_THREADS, value));
      }
      this.threads = value;
      return this;
    }

    /**
     * Forces a tier. The default is what the environment variable {@code GATUN_ISA} names, or else
     * the best that the CPU has.
     *
     * @param value the kernels; {@link #build()} fails if they are not available
     * @return this builder
     */
    public Builder tier(Tier value) {
      this.tier = Objects.requireNonNull(value, "tier");
      return this;
    }

    /**
     * Sets how many workspaces are lent at most, which is how many calls without a workspace of
     * their own run at the same time; the default is twice the number of CPUs.
     *
     * @param max 1 or more
     * @return this builder
     * @throws IllegalArgumentException if the value is out of its range
     */
    public Builder workspaces(int max) {
      if (max < 1 || max > MAX_WORKSPACES) {
        throw new IllegalArgumentException(
            "workspaces: expected 1 .. %d, got %d".formatted(MAX_WORKSPACES, max));
      }
      this.workspaces = max;
      return this;
    }

    /**
     * Creates the runtime.
     *
     * @return a runtime that the caller closes
     * @throws IllegalArgumentException if {@link #tier} is not available
     * @throws GatunException as {@link GatunRuntime#create()}
     */
    public GatunRuntime build() {
      return new GatunRuntime(this, true);
    }
  }
}
