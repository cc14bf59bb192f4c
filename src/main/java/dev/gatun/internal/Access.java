package dev.gatun.internal;

import dev.gatun.GatunRuntime;
import dev.gatun.Workspace;
import java.lang.invoke.MethodHandles;

/**
 * What the packages of layers and models may do with runtimes and workspaces beyond their public
 * methods. The one instance is set by {@link Workspace}.
 */
public abstract class Access {

  private static Access instance;

  /** For {@link Workspace} only. */
  protected Access() {}

  /** For {@link Workspace} only. */
  public static void set(Access access) {
    instance = access;
  }

  public static Access get() {
    if (instance == null) { // the first layer of a process can come before the first workspace
      try {
        MethodHandles.lookup().ensureInitialized(Workspace.class);
      } catch (IllegalAccessException e) {
        throw new AssertionError("the class is public", e);
      }
    }
    return instance;
  }

  /** Takes the workspace for one call: the caller's, or for null one that the runtime lends. */
  public abstract LayerCall begin(GatunRuntime runtime, Workspace workspace);

  /** Ends what {@link #begin} began. */
  public abstract void end(Workspace taken, boolean borrowed);
}
