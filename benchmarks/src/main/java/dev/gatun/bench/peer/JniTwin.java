package dev.gatun.bench.peer;

import dev.gatun.bench.measure.BenchLibrary;

/** {@code gatun_attention_forward} through JNI, see {@code native/bench/jni_twin.c}. */
final class JniTwin {
  static {
    BenchLibrary.load();
  }

  private JniTwin() {}

  /** Says where the function is. */
  static native void bind(long function);

  static native int forward(
      long context,
      long desc,
      long workspace,
      long workspaceSize,
      long q,
      long k,
      long v,
      long out);

  static native int forwardArrays(
      long context,
      long desc,
      long workspace,
      long workspaceSize,
      float[] q,
      float[] k,
      float[] v,
      float[] out);
}
