package dev.gatun.internal;

import dev.gatun.internal.gatun.gatun_h;
import java.util.HashSet;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Functions of {@code gatun.h} that only some programs call. Making the method handle of one takes
 * milliseconds, and a first call waits for all that are made with {@link Native#load}: so these are
 * made when the first of a group is needed, on a thread of its own like all others, and before that
 * call has changed anything.
 */
enum Functions {
  /** Products by OpenBLAS. */
  PRODUCTS("gatun_sgemm", "gatun_linear"),

  /** Attention without what the extended function takes; a handle of {@link PlainAttention}'s. */
  PLAIN_ATTENTION,

  /** Layers of some models. */
  ACTIVATION("gatun_activation"),

  /** Scores as probabilities. */
  SOFTMAX("gatun_softmax"),

  /** Positions by rotation. */
  ROTARY("gatun_rotary"),

  /** Weights that were packed before. */
  PACKED_FILES("gatun_packed_check"),

  /** What came before exact attention. */
  ADDITIVE(
      "gatun_additive_attention",
      "gatun_additive_attention_check",
      "gatun_additive_attention_workspace_size"),

  /** Linear attention, with random features and decays as well. */
  LINEAR_ATTENTION(
      "gatun_linear_attention",
      "gatun_linear_attention_check",
      "gatun_linear_attention_workspace_size"),

  /** State-space models. */
  SCAN("gatun_selective_scan", "gatun_selective_scan_workspace_size", "gatun_causal_convolution"),

  /** Recurrent layers. */
  CELLS("gatun_recurrent_cell"),

  /** Maps of probabilities. */
  MAPS("gatun_attention_map", "gatun_attention_map_check", "gatun_attention_map_workspace_size"),

  /** What is measured or told, for people. */
  REPORTS("gatun_peak_f32", "gatun_abi_layout", "gatun_tier_available"),

  /**
   * Called by nobody here, or by handles of {@link AttentionCall} and {@link PlainAttention}, which
   * a test compares with the generated ones.
   */
  OTHERS(
      "gatun_attention_forward",
      "gatun_attention_forward_extended",
      "gatun_norm",
      "gatun_packed_linear",
      "gatun_packed_linear_check",
      "gatun_packed_linear_peak",
      "gatun_packed_linear_workspace_size",
      "gatun_tier_name");

  private final Set<String> names;
  private volatile boolean loaded;

  Functions(String... names) {
    this.names = Set.of(names);
  }

  Set<String> names() {
    return names;
  }

  /**
   * Makes the handles, if that has not been done.
   *
   * @throws dev.gatun.GatunException if the library cannot be loaded, or there is no thread
   */
  void load() {
    if (!loaded) {
      Native.load();
      loaded = FreshThread.call("gatun-load", new Loading(this));
    }
  }

  /** No lambda: a call site that is linked where the stack ends may be lost to the JVM. */
  private record Loading(Functions group) implements Supplier<Boolean> {
    @Override
    public Boolean get() {
      initialize(group.names, true);
      if (group == MAPS) {
        FreshThread.initialize(AttentionMapCall.class);
      }
      if (group == PLAIN_ATTENTION) {
        FreshThread.initialize(PlainAttention.class);
      }
      return true;
    }
  }

  /** Makes the handles of all functions that are in no group. */
  static void loadCalls() {
    Set<String> later = new HashSet<>();
    for (Functions group : values()) {
      later.addAll(group.names);
    }
    initialize(later, false);
  }

  private static void initialize(Set<String> names, boolean those) {
    for (Class<?> function : gatun_h.class.getDeclaredClasses()) {
      if (names.contains(function.getSimpleName()) == those) {
        FreshThread.initialize(function);
      }
    }
  }
}
