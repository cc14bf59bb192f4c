package dev.gatun;

import java.lang.StackWalker.StackFrame;

/** Whether a thread is in a call of this library, by the frames on its stack. */
final class Calls {

  private static final String ROOT = "dev.gatun.";

  private Calls() {}

  /**
   * Tells whether a thread may be in a call that it made before the current one.
   *
   * @param thread any
   * @return false if it has ended or has no other call on its stack
   */
  static boolean mayRun(Thread thread) {
    if (thread != Thread.currentThread()) {
      if (!thread.isAlive()) {
        return false;
      }
      for (StackTraceElement frame : thread.getStackTrace()) {
        if (isOurs(frame.getClassName())) {
          return true;
        }
      }
      return false;
    }
    // The frames on top are the current call. Others lie behind code that such a call has called.
    return StackWalker.getInstance()
        .walk(
            frames ->
                frames
                    .map(StackFrame::getClassName)
                    .dropWhile(Calls::isOurs)
                    .anyMatch(Calls::isOurs));
  }

  /** Classes that hold a workspace while they call others. */
  private static boolean isOurs(String name) {
    return name.startsWith(ROOT)
        && (name.indexOf('.', ROOT.length()) < 0
            || name.startsWith("nn.", ROOT.length())
            || name.startsWith("model.", ROOT.length())
            || name.startsWith("internal.", ROOT.length()));
  }
}
