package dev.gatun.internal;

import dev.gatun.GatunRuntime;
import dev.gatun.Workspace;

/**
 * One call of a layer or model: the workspace that it has to itself, with scratch, row operations
 * and attention. Closing it gives the workspace back. Belongs to the workspace, so that a call
 * makes no garbage.
 */
public final class LayerCall implements AutoCloseable {

  private final Workspace workspace;
  private final Scratch scratch = new Scratch();
  private final RowOps rows;
  private final AttentionCall attention;
  private boolean borrowed;

  /** For {@link Workspace} only. */
  public LayerCall(Workspace workspace, RowOps rows, AttentionCall attention) {
    this.workspace = workspace;
    this.rows = rows;
    this.attention = attention;
  }

  /**
   * Begins a call, to be closed by the same thread, in the caller's workspace or, for null, in a
   * borrowed one.
   */
  public static LayerCall begin(GatunRuntime runtime, Workspace workspace) {
    LayerCall call = Access.get().begin(runtime, workspace);
    call.borrowed = workspace == null;
    call.scratch.release(0); // what a call that failed had taken
    return call;
  }

  @Override
  public void close() {
    Access.get().end(workspace, borrowed);
  }

  /** Empty when the call begins. */
  public Scratch scratch() {
    return scratch;
  }

  public RowOps rows() {
    return rows;
  }

  public AttentionCall attention() {
    return attention;
  }

  public long bytes() {
    return scratch.bytes();
  }

  /** For {@link Workspace} only: frees the scratch. */
  public void free() {
    scratch.close();
  }
}
