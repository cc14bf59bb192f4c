package dev.gatun;

/** Says which tensor it is whose arena is closed: the JVM's own message names none. */
final class ClosedArena {

  private ClosedArena() {}

  /**
   * Names a tensor.
   *
   * @param thrown in a call with these tensors
   * @param names of the tensors
   * @param tensors null where the call had none
   * @return an exception that names the first whose arena is closed, or what was thrown
   */
  static IllegalStateException named(
      IllegalStateException thrown, String[] names, Tensor... tensors) {
    for (int n = 0; n < tensors.length; n++) {
      if (tensors[n] != null && !tensors[n].segment.scope().isAlive()) {
        return new IllegalStateException(names[n] + ": its arena is closed", thrown);
      }
    }
    return thrown;
  }
}
