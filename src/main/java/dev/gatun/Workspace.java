package dev.gatun;

import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.Blas;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.RowOps;
import dev.gatun.internal.Scratch;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * What one call writes besides its outputs: the descriptor of its shapes, and scratch memory.
 *
 * <p>A workspace serves one call at a time. A second call that uses it meanwhile throws {@link
 * IllegalStateException}; threads that take turns may share it. Scratch grows when a shape needs
 * more and never shrinks; its size depends on head dimensions and threads, not on batch, heads or
 * lengths beyond a few tiles, but for copies of a head and for keys that few rows see in parts
 * (gatun.h has the limits), so that a smaller shape may need more than a larger one. A call of the
 * same shapes as the one before it allocates nothing and is checked fastest.
 *
 * <p>Callers who pass no workspace are lent one by their runtime. To have one of your own pays
 * where a thread repeats the same call among many others.
 *
 * <p>The one who creates a workspace closes it; {@link GatunRuntime#close()} closes those that are
 * left. The memory is native and not freed by the garbage collector.
 */
public final class Workspace implements AutoCloseable {

  private static final int IDLE = 0;
  private static final int BUSY = 1;

  /** The runtime is deciding whether it can close. */
  private static final int CLOSING = 2;

  private static final int CLOSED = 3;

  private static final VarHandle STATE;
  private static final VarHandle TURN;
  private static final VarHandle PROBE;

  static {
    try {
      STATE = MethodHandles.lookup().findVarHandle(Workspace.class, "state", int.class);
      TURN = MethodHandles.lookup().findVarHandle(Workspace.class, "turn", int.class);
      PROBE = MethodHandles.lookup().findVarHandle(Workspace.class, "probe", int.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  /** Has static initializers run, this class's and what calls use, before the first workspace. */
  static AttentionOptions initialize() {
    return AttentionOptions.NONE;
  }

  /** What a layer or model has of the workspace while it calls. */
  private static final class Call extends LayerCall {
    private final Workspace workspace;
    private boolean borrowed;

    Call(Workspace workspace, RowOps rows, AttentionCall attention) {
      super(rows, attention);
      this.workspace = workspace;
    }

    @Override
    public void close() {
      workspace.runtime.end(borrowed ? null : workspace, workspace);
    }
  }

  final GatunRuntime runtime;

  final AttentionCall attention;
  final RowOps rows;
  private final Call layerCall;

  /** What the descriptor of attention holds. */
  final AttentionLayouts layouts = new AttentionLayouts();

  /** The options of the call that runs, which the caller's may no longer be. */
  final AttentionOptions options = new AttentionOptions();

  // What the descriptor of a product holds. Null where that is nothing valid.
  TensorLayout a;
  TensorLayout b;
  TensorLayout c;
  boolean swapped;
  float alpha;
  float beta;

  private volatile int state;

  /** Counts beginnings and ends: odd from where the owner is known to where it gives back. */
  private int turn = 1;

  /** Written as a turn is, by anybody, to see whether the stack has room for that. */
  private int probe;

  /** The thread of this turn, or of the one before. */
  private Thread owner;

  /** What its thread multiplies with. */
  final Blas.User products;

  /** A new workspace is busy until it is released. */
  Workspace(GatunRuntime runtime) {
    this.runtime = runtime;
    this.products = new Blas.User(runtime.products, 1);
    this.owner = Thread.currentThread();
    this.state = BUSY;
    this.attention = new AttentionCall(runtime.context());
    try {
      this.rows = new RowOps(runtime.context(), products);
      this.layerCall = new Call(this, rows, attention);
    } catch (Throwable e) {
      attention.close();
      throw e;
    }
  }

  /** Begins the call of a layer, for who has the workspace. */
  LayerCall layerCall(boolean borrowed) {
    layouts.invalidate(); // layers describe other calls
    c = null;
    layerCall.borrowed = borrowed;
    return layerCall;
  }

  /** For who has the workspace. */
  Scratch scratch() {
    return layerCall.scratch();
  }

  // ---- the guard: everything else in this class is touched only between acquire and release ----

  boolean tryAcquire() {
    // Whatever needs stack comes first: a workspace that is busy has an odd turn soon.
    Thread thread = Thread.currentThread();
    PROBE.setRelease(this, 0);
    if (!STATE.compareAndSet(this, IDLE, BUSY)) {
      return false;
    }
    if (owner != thread) {
      owner = thread;
    }
    TURN.setRelease(this, turn + 1);
    return true;
  }

  void acquire() {
    if (!tryAcquire()) {
      acquireOrRefuse();
    }
  }

  private void acquireOrRefuse() {
    do {
      switch (state) {
        case BUSY -> {
          if (!takeBack()) {
            throw new IllegalStateException(
                "the workspace is in use by another call; give each thread its own");
          }
        }
        case CLOSED -> throw new IllegalStateException("the workspace is closed");
        default -> runtime.awaitDecision();
      }
    } while (!tryAcquire());
  }

  /**
   * Frees a workspace whose call is over without having released it: its thread has ended, or had
   * no stack left to release it on. If the thread is in no call while a turn lasts, the turn is
   * such a one; nobody else can begin the next.
   *
   * @return false if a call uses it
   */
  boolean takeBack() {
    int seen = (int) TURN.getAcquire(this);
    Thread thread = owner;
    if (state != BUSY) {
      return state == IDLE;
    }
    if ((seen & 1) == 0 || Calls.mayRun(thread) || !TURN.compareAndSet(this, seen, seen + 1)) {
      return false;
    }
    state = IDLE;
    return true;
  }

  /** Ends the turn only where the stack has room for the rest. */
  void release() {
    PROBE.setRelease(this, 0);
    turn++;
    STATE.setRelease(this, IDLE);
  }

  /** A release after which the releaser reads whether someone waits. */
  void releaseThenFence() {
    turn++;
    state = IDLE;
  }

  /** First step of the runtime's close. False if a call runs. */
  boolean tryClosing() {
    while (true) {
      int seen = state;
      if (seen == BUSY && !takeBack()) {
        return false;
      }
      if (seen >= CLOSING || seen == IDLE && STATE.compareAndSet(this, IDLE, CLOSING)) {
        return true;
      }
    }
  }

  /** Undoes {@link #tryClosing}. */
  void reopen() {
    STATE.compareAndSet(this, CLOSING, IDLE);
  }

  /** Last step of the runtime's close. */
  void finishClosing() {
    if (STATE.compareAndSet(this, CLOSING, CLOSED)) {
      freeMemory();
    }
  }

  // ---- public --------------------------------------------------------------------------------

  /**
   * Returns the size of the scratch memory.
   *
   * @return bytes that are allocated now, 0 before the first call and after close
   */
  public long bytes() {
    return attention.bytes() + scratch().bytes() + rows.bytes();
  }

  /**
   * Frees the memory. Closing a closed workspace does nothing.
   *
   * @throws IllegalStateException if a call is using it
   */
  @Override
  public void close() {
    while (true) {
      switch (state) {
        case CLOSED -> {
          return;
        }
        case BUSY -> {
          if (!takeBack()) {
            throw new IllegalStateException("the workspace is in use by a call");
          }
        }
        case IDLE -> {
          if (STATE.compareAndSet(this, IDLE, CLOSED)) {
            freeMemory();
            runtime.forget(this);
            return;
          }
        }
        default -> runtime.awaitDecision();
      }
    }
  }

  /** Tells whether it is idle, in use or closed, and how much it holds. */
  @Override
  public String toString() {
    String text =
        switch (state) {
          case IDLE -> "idle";
          case BUSY -> "in use";
          default -> "closed";
        };
    return "Workspace(%s, %d bytes)".formatted(text, bytes());
  }

  private void freeMemory() {
    products.close();
    scratch().close();
    attention.close();
    rows.close();
  }
}
