package dev.gatun.internal;

/**
 * One call of a layer or model: scratch, row operations and attention of a workspace that it has to
 * itself. Closing it gives the workspace back. Belongs to the workspace, so that a call makes no
 * garbage.
 */
public abstract class LayerCall implements AutoCloseable {

  private final Scratch scratch = new Scratch();
  private final RowOps rows;
  private final AttentionCall attention;

  /** Of the workspace's operations. */
  protected LayerCall(RowOps rows, AttentionCall attention) {
    this.rows = rows;
    this.attention = attention;
  }

  /** Gives the workspace back. */
  @Override
  public abstract void close();

  /** Empty when the call begins. */
  public final Scratch scratch() {
    return scratch;
  }

  public final RowOps rows() {
    return rows;
  }

  /** Layers that wait until somebody needs their results; none when the call begins. */
  public final RowSteps steps() {
    return rows.steps();
  }

  public final AttentionCall attention() {
    return attention;
  }
}
