package dev.gatun.internal;

import dev.gatun.GatunRuntime;
import dev.gatun.Workspace;

/**
 * How layers and models, which are in other packages, take a workspace for one call. {@link
 * GatunRuntime} says how before there is a first runtime.
 */
public abstract class LayerCalls {

  private static LayerCalls instance;

  /** For {@link GatunRuntime} only. */
  protected LayerCalls() {}

  /** For {@link GatunRuntime} only. */
  public static void set(LayerCalls calls) {
    instance = calls;
  }

  /**
   * Begins a call, to be closed by the same thread, in the caller's workspace or, for null, in a
   * borrowed one.
   */
  public static LayerCall begin(GatunRuntime runtime, Workspace workspace) {
    LayerCall call = instance.take(runtime, workspace);
    call.scratch().release(0); // what a call that failed had taken
    call.steps().clear();
    return call;
  }

  /** Takes the workspace. */
  protected abstract LayerCall take(GatunRuntime runtime, Workspace workspace);
}
