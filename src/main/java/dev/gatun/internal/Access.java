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

  /**
   * Sets the instance.
   *
   * @param access the one that {@link Workspace} makes
   */
  public static void set(Access access) {
    instance = access;
  }

  /**
   * Returns the instance.
   *
   * @return never null
   */
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

  /**
   * Takes the workspace for one call: the caller's, or one that the runtime lends.
   *
   * @param runtime where the call runs
   * @param workspace the caller's, or null
   * @return a workspace that is this call's alone, to be given to {@link #end}
   */
  public abstract Workspace begin(GatunRuntime runtime, Workspace workspace);

  /**
   * Ends what {@link #begin} began.
   *
   * @param runtime where the call ran
   * @param workspace what begin was given
   * @param taken what begin returned
   */
  public abstract void end(GatunRuntime runtime, Workspace workspace, Workspace taken);

  /**
   * Returns the descriptors and buffers of a workspace that is taken.
   *
   * @param taken what {@link #begin} returned
   * @return made at the first call, freed with the workspace
   */
  public abstract Blocks blocks(Workspace taken);
}
