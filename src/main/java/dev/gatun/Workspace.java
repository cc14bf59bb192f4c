package dev.gatun;

import dev.gatun.internal.Access;
import dev.gatun.internal.Blas;
import dev.gatun.internal.Blocks;
import dev.gatun.internal.Native;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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

  static {
    try {
      STATE = MethodHandles.lookup().findVarHandle(Workspace.class, "state", int.class);
      TURN = MethodHandles.lookup().findVarHandle(Workspace.class, "turn", long.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
    Access.set(new LayerAccess());
  }

  /** Has the static initialiser run, before the first workspace is made. */
  static void initialize() {}

  /** How layers and models take a workspace. */
  private static final class LayerAccess extends Access {
    @Override
    public Workspace begin(GatunRuntime runtime, Workspace workspace) {
      return runtime.begin(workspace);
    }

    @Override
    public void end(GatunRuntime runtime, Workspace workspace, Workspace taken) {
      runtime.end(workspace, taken);
    }

    @Override
    public Blocks blocks(Workspace taken) {
      if (taken.blocks == null) {
        taken.blocks = new Blocks(taken.runtime.context(), taken.products);
      }
      taken.blocks.giveBackTo(0); // what a call that failed had taken
      return taken.blocks;
    }
  }

  /** Where a size is stored by native code. */
  private static final long BYTES_OFFSET = 0;

  private static final long ATTENTION_OFFSET = 64;

  final GatunRuntime runtime;

  /** Descriptors of attention and product. */
  final MemorySegment attentionDesc;

  final MemorySegment sgemmDesc;
  final long attentionDescAddress;
  private final MemorySegment fixed;

  /** What layers and models write; null until one of them runs. */
  private Blocks blocks;

  private MemorySegment scratch;
  long scratchAddress;
  long scratchBytes;

  // What the descriptors hold. Null where that is nothing valid.
  AttentionSpec spec;
  TensorLayout q;
  TensorLayout k;
  TensorLayout v;
  TensorLayout keyLengths;
  TensorLayout queryLengths;
  TensorLayout out;
  TensorLayout lse;

  TensorLayout a;
  TensorLayout b;
  TensorLayout c;
  boolean swapped;
  float alpha;
  float beta;

  private volatile int state;

  /** Counts beginnings and ends: odd from where the owner is known to where it gives back. */
  private long turn = 1;

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
    long attentionBytes = align(Native.Abi.ATTENTION_DESC_BYTES);
    long sgemmBytes = align(Native.Abi.SGEMM_DESC_BYTES);
    MemorySegment memory = Native.allocate(ATTENTION_OFFSET + attentionBytes + sgemmBytes);
    try {
      this.attentionDesc = memory.asSlice(ATTENTION_OFFSET, attentionBytes);
      this.sgemmDesc = memory.asSlice(ATTENTION_OFFSET + attentionBytes, sgemmBytes);
      this.attentionDescAddress = attentionDesc.address();
    } catch (Throwable e) {
      Native.free(memory);
      throw e;
    }
    this.fixed = memory;
  }

  private static long align(long bytes) {
    return (bytes + 63) & -64;
  }

  // ---- the guard: everything else in this class is touched only between acquire and release ----

  boolean tryAcquire() {
    if (!STATE.compareAndSet(this, IDLE, BUSY)) {
      return false;
    }
    Thread thread = Thread.currentThread();
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
    long seen = (long) TURN.getAcquire(this);
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

  /** Needs no stack: a call that has begun can end. */
  void release() {
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
    Blocks layers = blocks;
    return scratchBytes + (layers == null ? 0 : layers.bytes());
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
    return "Workspace(%s, %d bytes)".formatted(text, scratchBytes);
  }

  // ---- memory --------------------------------------------------------------------------------

  /** Takes the scratch that the attention descriptor needs, and returns a status. */
  int prepareScratch() {
    int status = Native.attentionWorkspaceSize(runtime.context(), attentionDesc, fixed);
    if (status != Native.Abi.OK) {
      return status;
    }
    long needed = fixed.get(ValueLayout.JAVA_LONG, BYTES_OFFSET);
    if (needed > scratchBytes) {
      MemorySegment smaller = scratch;
      MemorySegment larger = Native.allocate(needed);
      scratchAddress = larger.address();
      scratchBytes = needed;
      scratch = larger;
      if (smaller != null) {
        Native.free(smaller); // last: it is not freed twice if this call ends early
      }
    }
    return status;
  }

  private void freeMemory() {
    products.close();
    MemorySegment old = scratch;
    scratch = null;
    scratchAddress = 0;
    scratchBytes = 0;
    if (old != null) {
      Native.free(old);
    }
    Blocks layers = blocks;
    blocks = null;
    if (layers != null) {
      layers.close();
    }
    Native.free(fixed);
  }
}
