package dev.gatun.internal;

import java.lang.invoke.MethodHandle;

/** The function of calls that {@link AttentionCall} does not have to extend. */
final class PlainAttention {
  /**
   * {@code gatun_attention_forward} with context, descriptor and scratch as plain addresses. In the
   * C calling conventions of x86-64 and AArch64 a pointer and an int64 are passed alike. With
   * segments there, a call with tensors in a shared arena would take 70 ns instead of 34: the
   * linker compares the scope of an argument with the first two only, before it acquires it.
   */
  static final MethodHandle FORWARD = AttentionCall.handle("gatun_attention_forward", 4, 7);

  private PlainAttention() {}
}
