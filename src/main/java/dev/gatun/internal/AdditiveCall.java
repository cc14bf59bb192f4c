package dev.gatun.internal;

import dev.gatun.Causal;
import dev.gatun.internal.gatun.gatun_additive_attention_desc;
import dev.gatun.internal.gatun.gatun_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Additive attention of {@code gatun_relatives.h}: descriptor and scratch of one call after
 * another, for one thread at a time.
 *
 * <p>{@link #describe} the call, then its strides, each once, then {@link #run} it.
 */
public final class AdditiveCall implements AutoCloseable {

  private static final MemorySegment NONE = MemorySegment.NULL;
  private static final int MESSAGE_BYTES = 512;
  private static final long SIZE_BYTES = 64;

  private final MemorySegment context;

  /** Room for a size, then the descriptor. */
  private final MemorySegment memory;

  private final MemorySegment desc;
  private MemorySegment scratch = NONE;

  // Of the next run alone.
  private MemorySegment keyLengths = NONE;
  private MemorySegment cuSeqlensQ = NONE;
  private MemorySegment cuSeqlensK = NONE;

  /** Takes memory for the descriptor of calls on a context. */
  AdditiveCall(MemorySegment context) {
    this.context = context;
    this.memory = Native.allocate(SIZE_BYTES + gatun_additive_attention_desc.sizeof());
    this.desc = memory.asSlice(SIZE_BYTES, gatun_additive_attention_desc.sizeof());
    gatun_additive_attention_desc.struct_size(desc, (int) gatun_additive_attention_desc.sizeof());
  }

  /** As {@link Native#load} says. */
  static void initialize() {
    code(Causal.NONE);
  }

  @Override
  public void close() {
    releaseScratch();
    Native.free(memory);
  }

  private void releaseScratch() {
    MemorySegment old = scratch;
    scratch = NONE;
    if (old.byteSize() > 0) {
      Native.free(old);
    }
  }

  /** Of scratch. */
  long bytes() {
    return scratch.byteSize();
  }

  private static int code(Causal causal) {
    return switch (causal) {
      case NONE -> gatun_h.GATUN_CAUSAL_NONE();
      case BOTTOM_RIGHT -> gatun_h.GATUN_CAUSAL_BOTTOM_RIGHT();
      case TOP_LEFT -> gatun_h.GATUN_CAUSAL_TOP_LEFT();
    };
  }

  /**
   * Describes a call but for its strides. Of ragged sequences batch is their number, seqQ and seqK
   * are the lengths of the longest.
   */
  public AdditiveCall describe(
      Causal causal,
      long batch,
      long heads,
      long kvHeads,
      long seqQ,
      long seqK,
      long headDim,
      long headDimV) {
    forgetInputs(); // of a call that ended before its run
    gatun_additive_attention_desc.flags(desc, 0);
    gatun_additive_attention_desc.causal(desc, code(causal));
    gatun_additive_attention_desc.batch(desc, batch);
    gatun_additive_attention_desc.heads(desc, heads);
    gatun_additive_attention_desc.kv_heads(desc, kvHeads);
    gatun_additive_attention_desc.seq_q(desc, seqQ);
    gatun_additive_attention_desc.seq_k(desc, seqK);
    gatun_additive_attention_desc.head_dim(desc, headDim);
    gatun_additive_attention_desc.head_dim_v(desc, headDimV);
    return this;
  }

  private void forgetInputs() {
    keyLengths = NONE;
    cuSeqlensQ = NONE;
    cuSeqlensK = NONE;
  }

  /** Says that query rows are ragged by these offsets {@code [batch + 1]}; null: they are not. */
  public AdditiveCall raggedQueries(MemorySegment cuSeqlens) {
    if (cuSeqlens != null) {
      cuSeqlensQ = cuSeqlens;
      addFlag(gatun_h.GATUN_ADDITIVE_RAGGED_Q());
    }
    return this;
  }

  /** Says the same of keys and values. */
  public AdditiveCall raggedKeys(MemorySegment cuSeqlens) {
    if (cuSeqlens != null) {
      cuSeqlensK = cuSeqlens;
      addFlag(gatun_h.GATUN_ADDITIVE_RAGGED_K());
    }
    return this;
  }

  private void addFlag(int flag) {
    gatun_additive_attention_desc.flags(desc, gatun_additive_attention_desc.flags(desc) | flag);
  }

  /** Gives the next run lengths of keys {@code [batch]} int32. */
  public AdditiveCall keyLengths(MemorySegment lengths) {
    keyLengths = lengths;
    return this;
  }

  /** Sets the strides of queries, in elements; those of keys, values and output follow. */
  public AdditiveCall strideQ(long batch, long seq, long head) {
    return stride(gatun_additive_attention_desc.q_stride$offset(), batch, seq, head);
  }

  public AdditiveCall strideK(long batch, long seq, long head) {
    return stride(gatun_additive_attention_desc.k_stride$offset(), batch, seq, head);
  }

  public AdditiveCall strideV(long batch, long seq, long head) {
    return stride(gatun_additive_attention_desc.v_stride$offset(), batch, seq, head);
  }

  public AdditiveCall strideOut(long batch, long seq, long head) {
    return stride(gatun_additive_attention_desc.out_stride$offset(), batch, seq, head);
  }

  private AdditiveCall stride(long offset, long batch, long seq, long head) {
    desc.set(ValueLayout.JAVA_LONG, offset, batch);
    desc.set(ValueLayout.JAVA_LONG, offset + 8, seq);
    desc.set(ValueLayout.JAVA_LONG, offset + 16, head);
    return this;
  }

  /**
   * Runs the call and forgets its optional inputs.
   *
   * @param energy {@code [heads, headDim]}
   * @throws IllegalArgumentException if out shares memory with an input, or the description does
   *     not fit; nothing was written
   */
  public void run(
      MemorySegment energy, MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out) {
    try {
      int status = prepare();
      if (status == Native.Abi.OK) {
        status =
            gatun_h.gatun_additive_attention(
                context,
                desc,
                scratch,
                scratch.byteSize(),
                energy,
                q,
                k,
                v,
                keyLengths,
                NONE,
                cuSeqlensQ,
                cuSeqlensK,
                out,
                NONE);
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
    Functions.ADDITIVE.load();
    int status = gatun_h.gatun_additive_attention_workspace_size(context, desc, memory);
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
      int status = gatun_h.gatun_additive_attention_check(context, desc, text, MESSAGE_BYTES);
      return status == Native.Abi.OK ? null : text.getString(0);
    }
  }
}
