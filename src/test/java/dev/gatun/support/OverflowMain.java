package dev.gatun.support;

import dev.gatun.Attention;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import java.lang.foreign.Arena;

/**
 * Calls at each of the last depths of a small stack, with code that is still cold, and after each
 * one without a deep stack. Argument: whether the workspace is the caller's (own) or lent.
 */
public final class OverflowMain {
  private static final int STACK_BYTES = 400 << 10;
  private static final int DEPTHS = 400;
  private static final int ROUNDS = 4;

  private static int depth;

  private OverflowMain() {}

  public static void main(String[] arguments) throws InterruptedException {
    Thread thread = new Thread(null, () -> calls(arguments[0]), "overflows", STACK_BYTES);
    thread.setDaemon(true);
    thread.start();
    thread.join();
  }

  private static void calls(String whose) {
    // Of no thread and never closed: a downcall that the stack ends in may keep the JDK's session.
    Arena arena = Arena.ofAuto();
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).workspaces(1).build()) {
      Workspace workspace = whose.equals("own") ? runtime.newWorkspace() : null;
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 7, 2, 8);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 7, 2, 8);
      Attention attention = runtime.attention(AttentionSpec.standard());
      Runnable call = () -> attention.forward(workspace, q, q, q, out);
      int overflows = 0;
      for (int n = 0; n < ROUNDS * DEPTHS; n++) {
        depth = 0;
        deep(Integer.MAX_VALUE, () -> {});
        overflows += deep(depth - n % DEPTHS, call) ? 0 : 1;
        call.run(); // a workspace that the overflow left in use would refuse it, or be waited for
      }
      System.out.println("overflows=" + (overflows > 0));
    }
    System.out.println("closed");
  }

  /** Runs something at a depth. Tells whether the stack was deep enough. */
  private static boolean deep(int frames, Runnable body) {
    try {
      descend(frames, body);
      return true;
    } catch (StackOverflowError e) {
      return false;
    }
  }

  private static int descend(int frames, Runnable body) {
    depth++;
    if (frames == 0) {
      body.run();
      return 0;
    }
    return 1 + descend(frames - 1, body);
  }
}
