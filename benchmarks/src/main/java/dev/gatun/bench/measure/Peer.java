package dev.gatun.bench.measure;

/** One way to compute attention, or an embedding. Used by one thread. */
public abstract class Peer implements AutoCloseable {

  /** How reports call it. */
  public final String name;

  protected Peer(String name) {
    this.name = name;
  }

  /** Computes the same n times; the loop is each peer's own, so that the JIT sees one callee. */
  public abstract void calls(long n);

  /** Computes once and tells what came out. */
  public abstract Workload.Answer answer();

  /** Whether it is Java code that the JIT has to compile first. */
  public boolean warmsUpSlowly() {
    return false;
  }

  /** Whether it is so slow, and so little in question, that one sample is enough. */
  public boolean isTimedOnce() {
    return false;
  }

  @Override
  public void close() {}

  public static void expectZero(int status) {
    if (status != 0) {
      throw new IllegalStateException("status " + status);
    }
  }

  public static AssertionError unexpected(Throwable e) {
    return new AssertionError("a downcall throws nothing", e);
  }
}
