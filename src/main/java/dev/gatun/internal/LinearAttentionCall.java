package dev.gatun.internal;

import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_linear_attention_desc;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Linear attention of {@code gatun_relatives.h}: descriptor and scratch of one call after another,
 * for one thread at a time.
 *
 * <p>{@link #describe} the call, then what it has of strides, options and optional inputs, then
 * {@link #run} it. Options and optional inputs are those of one run.
 */
public final class LinearAttentionCall implements AutoCloseable {

  /** What is made of queries and keys before they are multiplied. */
  public enum Features {
    /** They are features. */
    AS_GIVEN,
    /** elu(x) + 1. */
    ELU,
    /** FAVOR+, with a projection. */
    POSITIVE_RANDOM
  }

  /** How it is computed. */
  public enum Form {
    AUTO,
    PARALLEL,
    CHUNKED,
    RECURRENT
  }

  private static final MemorySegment NONE = MemorySegment.NULL;
  private static final int MESSAGE_BYTES = 512;
  private static final long SIZE_BYTES = 64;

  private final MemorySegment context;

  /** Room for a size, then the descriptor. */
  private final MemorySegment memory;

  private final MemorySegment desc;
  private MemorySegment scratch = NONE;

  // Of the next run alone.
  private MemorySegment projection = NONE;
  private MemorySegment logDecay = NONE;
  private MemorySegment state = NONE;
  private MemorySegment cuSeqlensQ = NONE;
  private MemorySegment cuSeqlensK = NONE;
  private MemorySegment keyLengths = NONE;

  /** Takes memory for the descriptor of calls on a context. */
  LinearAttentionCall(MemorySegment context) {
    this.context = context;
    this.memory = Native.allocate(SIZE_BYTES + gatun_linear_attention_desc.sizeof());
    this.desc = memory.asSlice(SIZE_BYTES, gatun_linear_attention_desc.sizeof());
    gatun_linear_attention_desc.struct_size(desc, (int) gatun_linear_attention_desc.sizeof());
  }

  /** As {@link Native#load} says. */
  static void initialize() {
    code(Features.ELU);
    code(Form.AUTO);
  }

  @Override
  public void close() {
    MemorySegment old = scratch;
    scratch = NONE;
    if (old.byteSize() > 0) {
      Native.free(old);
    }
    Native.free(memory);
  }

  /** Of scratch. */
  long bytes() {
    return scratch.byteSize();
  }

  private static int code(Features features) {
    return switch (features) {
      case AS_GIVEN -> gatun_h.GATUN_FEATURES_NONE();
      case ELU -> gatun_h.GATUN_FEATURES_ELU();
      case POSITIVE_RANDOM -> gatun_h.GATUN_FEATURES_POSITIVE_RANDOM();
    };
  }

  private static int code(Form form) {
    return switch (form) {
      case AUTO -> gatun_h.GATUN_LINEAR_FORM_AUTO();
      case PARALLEL -> gatun_h.GATUN_LINEAR_FORM_PARALLEL();
      case CHUNKED -> gatun_h.GATUN_LINEAR_FORM_CHUNKED();
      case RECURRENT -> gatun_h.GATUN_LINEAR_FORM_RECURRENT();
    };
  }

  /**
   * Describes a call but for its strides: normalized, of form AUTO, with as many query, key and
   * value heads as heads. Of ragged sequences batch is their number, seqQ and seqK are the lengths
   * of the longest.
   *
   * @param features made of head_dim elements; headDim but for POSITIVE_RANDOM
   */
  public LinearAttentionCall describe(
      Features map,
      boolean causal,
      long batch,
      long heads,
      long seqQ,
      long seqK,
      long headDim,
      long headDimV,
      long features) {
    forgetInputs(); // of a call that ended before its run
    gatun_linear_attention_desc.flags(desc, causal ? gatun_h.GATUN_LINEAR_ATTENTION_CAUSAL() : 0);
    gatun_linear_attention_desc.feature_map(desc, code(map));
    gatun_linear_attention_desc.scale(desc, 0);
    gatun_linear_attention_desc.batch(desc, batch);
    gatun_linear_attention_desc.heads(desc, heads);
    gatun_linear_attention_desc.seq_q(desc, seqQ);
    gatun_linear_attention_desc.seq_k(desc, seqK);
    gatun_linear_attention_desc.head_dim(desc, headDim);
    gatun_linear_attention_desc.head_dim_v(desc, headDimV);
    gatun_linear_attention_desc.features(desc, features);
    strideDecay(0, 0, 0);
    return form(Form.AUTO).heads(heads, heads, heads);
  }

  private void forgetInputs() {
    projection = NONE;
    logDecay = NONE;
    state = NONE;
    cuSeqlensQ = NONE;
    cuSeqlensK = NONE;
    keyLengths = NONE;
  }

  /** Divisors of heads: head h uses head h / (heads / queries) of the queries, and so on. */
  public LinearAttentionCall heads(long queries, long keys, long values) {
    gatun_linear_attention_desc.query_heads(desc, queries);
    gatun_linear_attention_desc.key_heads(desc, keys);
    gatun_linear_attention_desc.value_heads(desc, values);
    return this;
  }

  /** How it is computed. */
  public LinearAttentionCall form(Form form) {
    gatun_linear_attention_desc.form(desc, code(form));
    return this;
  }

  /** Sums are not divided by the sum of weights. */
  public LinearAttentionCall unnormalized() {
    addFlag(gatun_h.GATUN_LINEAR_ATTENTION_UNNORMALIZED());
    return this;
  }

  /** Of POSITIVE_RANDOM: {@code [features, headDim]}, contiguous. */
  public LinearAttentionCall projection(MemorySegment rows) {
    projection = rows;
    return this;
  }

  /** Of POSITIVE_RANDOM, instead of 1 / √headDim. */
  public LinearAttentionCall scale(float scale) {
    addFlag(gatun_h.GATUN_LINEAR_ATTENTION_SCALE());
    gatun_linear_attention_desc.scale(desc, scale);
    return this;
  }

  /** Causal: {@code [batch, seq, heads]}, 0 or less, by which what is before a row is weakened. */
  public LinearAttentionCall logDecay(MemorySegment decays, long batch, long seq, long head) {
    logDecay = decays;
    return strideDecay(batch, seq, head);
  }

  /**
   * Causal: {@code [batch, heads, features, headDimV + 2]}, contiguous, zeros before the first row.
   */
  public LinearAttentionCall state(MemorySegment sums) {
    state = sums;
    return this;
  }

  /**
   * Says that sequences lie one after the other, by offsets {@code [batch + 1]}, those of a causal
   * call's keys being those of its queries.
   */
  public LinearAttentionCall ragged(MemorySegment cuSeqlensQ, MemorySegment cuSeqlensK) {
    addFlag(gatun_h.GATUN_LINEAR_ATTENTION_RAGGED());
    this.cuSeqlensQ = cuSeqlensQ;
    this.cuSeqlensK = cuSeqlensK == null ? NONE : cuSeqlensK;
    return this;
  }

  /** Not causal: {@code [batch]} int32. */
  public LinearAttentionCall keyLengths(MemorySegment lengths) {
    keyLengths = lengths;
    return this;
  }

  private void addFlag(int flag) {
    gatun_linear_attention_desc.flags(desc, gatun_linear_attention_desc.flags(desc) | flag);
  }

  /** Sets the strides of queries, in elements; those of keys, values and output follow. */
  public LinearAttentionCall strideQ(long batch, long seq, long head) {
    return stride(gatun_linear_attention_desc.q_stride$offset(), batch, seq, head);
  }

  public LinearAttentionCall strideK(long batch, long seq, long head) {
    return stride(gatun_linear_attention_desc.k_stride$offset(), batch, seq, head);
  }

  public LinearAttentionCall strideV(long batch, long seq, long head) {
    return stride(gatun_linear_attention_desc.v_stride$offset(), batch, seq, head);
  }

  public LinearAttentionCall strideOut(long batch, long seq, long head) {
    return stride(gatun_linear_attention_desc.out_stride$offset(), batch, seq, head);
  }

  private LinearAttentionCall strideDecay(long batch, long seq, long head) {
    return stride(gatun_linear_attention_desc.decay_stride$offset(), batch, seq, head);
  }

  private LinearAttentionCall stride(long offset, long batch, long seq, long head) {
    desc.set(ValueLayout.JAVA_LONG, offset, batch);
    desc.set(ValueLayout.JAVA_LONG, offset + 8, seq);
    desc.set(ValueLayout.JAVA_LONG, offset + 16, head);
    return this;
  }

  /**
   * Runs the call and forgets its optional inputs.
   *
   * @throws IllegalArgumentException if out shares memory with an input, or the description does
   *     not fit; nothing was written
   */
  public void run(MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out) {
    try {
      int status = prepare();
      if (status == Native.Abi.OK) {
        status =
            gatun_h.gatun_linear_attention(
                context,
                desc,
                scratch,
                scratch.byteSize(),
                q,
                k,
                v,
                projection,
                logDecay,
                state,
                cuSeqlensQ,
                cuSeqlensK,
                keyLengths,
                out);
      }
      if (status == Native.Abi.OK) {
        return;
      }
      RowOps.check(status == Native.Abi.OVERLAP ? status : Native.Abi.OK);
      throw Native.failure(status, message());
    } finally {
      forgetInputs();
    }
  }

  /** Makes the scratch as large as the call needs. Returns a status. */
  private int prepare() {
    Functions.LINEAR_ATTENTION.load();
    int status = gatun_h.gatun_linear_attention_workspace_size(context, desc, memory);
    long needed = status == Native.Abi.OK ? memory.get(ValueLayout.JAVA_LONG, 0) : 0;
    if (needed > scratch.byteSize()) {
      MemorySegment smaller = scratch;
      scratch = Native.allocate(needed);
      if (smaller.byteSize() > 0) {
        Native.free(smaller); // last: it is not freed twice if this call ends early
      }
    }
    return status;
  }

  /** What is wrong with the description, by the name of its member, or null. */
  private String message() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(MESSAGE_BYTES);
      int status = gatun_h.gatun_linear_attention_check(context, desc, text, MESSAGE_BYTES);
      return status == Native.Abi.OK ? null : text.getString(0);
    }
  }
}
