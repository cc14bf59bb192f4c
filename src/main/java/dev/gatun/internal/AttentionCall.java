package dev.gatun.internal;

import dev.gatun.AttentionMap;
import dev.gatun.AttentionPlan;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunException;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_attention_plan_info;
import dev.gatun.internal.gatun.gatun_h;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;
import java.util.OptionalDouble;
import java.util.function.ToIntFunction;

/**
 * The one way to an attention kernel: descriptor, scratch and optional inputs of one call after
 * another, for one thread at a time.
 *
 * <p>Describe the call ({@link #describe}, strides), {@link #prepare} it, give the optional inputs
 * it has, {@link #run} it. The description stays for further runs; optional inputs are those of one
 * run. Tensors are segments, which the linker keeps alive during the call; context, descriptor and
 * scratch are addresses that their owner keeps alive, so that the linker spends its two remembered
 * scopes on the caller's arenas.
 */
public final class AttentionCall implements AutoCloseable {

  private static final MemorySegment NONE = MemorySegment.NULL;
  private static final int MESSAGE_BYTES = 512;
  private static final long SIZE_BYTES = 64;
  private static final String[][] KERNELS = kernelNames();

  private static final class ForwardExtended {
    /** {@code gatun_attention_forward_extended}, called as {@link PlainAttention} says. */
    static final MethodHandle HANDLE = handle("gatun_attention_forward_extended", 4, 22);
  }

  static MethodType extendedType() {
    return ForwardExtended.HANDLE.type();
  }

  /** Of a function with so many numbers, which its first pointers are here, then pointers. */
  static MethodHandle handle(String name, int numbers, int pointers) {
    return Linker.nativeLinker()
        .downcallHandle(
            SymbolLookup.loaderLookup().findOrThrow(name), descriptor(numbers, pointers));
  }

  static FunctionDescriptor descriptor(int numbers, int pointers) {
    MemoryLayout[] arguments = new MemoryLayout[numbers + pointers];
    for (int n = 0; n < arguments.length; n++) {
      arguments[n] = n < numbers ? ValueLayout.JAVA_LONG : ValueLayout.ADDRESS;
    }
    return FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments);
  }

  private final long context;
  private final MemorySegment contextSegment;

  /** Room for a size, then the descriptor, then a plan, then the descriptor of a map. */
  private final MemorySegment memory;

  private final MemorySegment desc;
  private final long descAddress;

  /** The plan, where an event or somebody asks for it. */
  private final MemorySegment info;

  private final AttentionMapCall map;

  private MemorySegment scratch = NONE;
  private long scratchAddress;
  private long scratchBytes;

  private MemorySegment alibiSlopes = NONE;
  private MemorySegment relativePositions = NONE;
  private MemorySegment sinks = NONE;

  // Of the next run alone.
  private MemorySegment keyLengths = NONE;
  private MemorySegment queryLengths = NONE;
  private MemorySegment cuSeqlensQ = NONE;
  private MemorySegment cuSeqlensK = NONE;
  private MemorySegment mask = NONE;
  private MemorySegment bias = NONE;
  private MemorySegment blockMask = NONE;
  private MemorySegment segmentsQ = NONE;
  private MemorySegment segmentsK = NONE;
  private MemorySegment prefixLengths = NONE;
  private MemorySegment queryPositions = NONE;

  /** Whether one from mask on may be there. */
  private boolean given;

  /** Whether the descriptor has what belongs to a mask, bias or block mask. */
  private boolean mapped;

  /** Whether the call has inputs that only the extended function takes. */
  private boolean extended;

  /** Takes memory for the descriptor of calls on a context, which stays open as long as this is. */
  public AttentionCall(long context) {
    this.context = context;
    this.contextSegment = MemorySegment.ofAddress(context);
    long bytes = gatun_attention_desc.sizeof();
    long infoBytes = gatun_attention_plan_info.sizeof();
    long mapBytes = AttentionMapCall.descBytes();
    this.memory = Native.allocate(SIZE_BYTES + bytes + infoBytes + mapBytes);
    this.desc = memory.asSlice(SIZE_BYTES, bytes);
    this.info = memory.asSlice(SIZE_BYTES + bytes, infoBytes);
    this.map = new AttentionMapCall(memory.asSlice(SIZE_BYTES + bytes + infoBytes, mapBytes));
    this.descAddress = desc.address();
  }

  @Override
  public void close() {
    releaseScratch();
    Native.free(memory);
  }

  private void releaseScratch() {
    MemorySegment old = scratch;
    scratch = NONE;
    scratchAddress = 0;
    scratchBytes = 0;
    if (old.byteSize() > 0) {
      Native.free(old);
    }
  }

  /** Of scratch. */
  public long bytes() {
    return scratchBytes;
  }

  // ---- the description -----------------------------------------------------------------------

  /**
   * Describes a call but for its strides. Of ragged sequences batch is their number, seqQ and seqK
   * are the lengths of the longest.
   */
  public AttentionCall describe(
      AttentionSpec spec,
      long batch,
      long heads,
      long kvHeads,
      long seqQ,
      long seqK,
      long headDim,
      long headDimV) {
    OptionalDouble scale = spec.scale();
    Tensor slopes = spec.alibiSlopes().orElse(null);
    Tensor relative = spec.relativePositions().orElse(null);
    alibiSlopes = slopes == null ? NONE : slopes.segment();
    relativePositions = relative == null ? NONE : relative.segment();
    Tensor sinkScores = spec.sinks().orElse(null);
    sinks = sinkScores == null ? NONE : sinkScores.segment();
    boolean biased = slopes != null || relative != null;
    int left = spec.windowLeft().orElse(-1);
    int right = spec.windowRight().orElse(-1);
    boolean windowed = left >= 0 || right >= 0;
    extended = biased || windowed || sinkScores != null || spec.softcap().isPresent();
    forgetInputs(); // of a call that ended before its run
    gatun_attention_desc.struct_size(desc, (int) gatun_attention_desc.sizeof());
    gatun_attention_desc.flags(
        desc,
        (scale.isPresent() ? gatun_h.GATUN_ATTENTION_SCALE() : 0)
            | (biased ? gatun_h.GATUN_ATTENTION_BIASED() : 0)
            | (windowed ? gatun_h.GATUN_ATTENTION_WINDOW() : 0)
            | (sinkScores != null ? gatun_h.GATUN_ATTENTION_SINKS() : 0)
            | (spec.bfloat16Products() ? gatun_h.GATUN_ATTENTION_BF16() : 0));
    types(DType.FLOAT32, DType.FLOAT32, DType.FLOAT32);
    gatun_attention_desc.causal(desc, code(spec.causal()));
    gatun_attention_desc.max_threads(desc, spec.maxThreads());
    gatun_attention_desc.scale(desc, scale.isPresent() ? (float) scale.getAsDouble() : 0);
    gatun_attention_desc.batch(desc, batch);
    gatun_attention_desc.heads(desc, heads);
    gatun_attention_desc.kv_heads(desc, kvHeads);
    gatun_attention_desc.seq_q(desc, seqQ);
    gatun_attention_desc.seq_k(desc, seqK);
    gatun_attention_desc.head_dim(desc, headDim);
    gatun_attention_desc.head_dim_v(desc, headDimV);
    gatun_attention_desc.relative_span(desc, relative == null ? 0 : relative.size(1) / 2);
    gatun_attention_desc.softcap(desc, (float) spec.softcap().orElse(0));
    gatun_attention_desc.window_left(desc, windowed ? left : 0);
    gatun_attention_desc.window_right(desc, windowed ? right : 0);
    gatun_attention_desc.global_tokens(desc, spec.globalTokens());
    if (mapped) {
      mapped = false;
      gatun_attention_desc.bias_dtype(desc, 0);
      gatun_attention_desc.block_q(desc, 0);
      gatun_attention_desc.block_k(desc, 0);
      stride(gatun_attention_desc.mask_stride$offset(), 0, 0, 0, 0);
      stride(gatun_attention_desc.bias_stride$offset(), 0, 0, 0, 0);
      stride(gatun_attention_desc.block_stride$offset(), 0, 0, 0, 0);
    }
    return strideLse(0, 0, 0);
  }

  /**
   * Says that the next runs have a mask, and its strides, 0 where an element counts for all; the
   * mask itself is of one run.
   */
  public AttentionCall mask(long batch, long head, long query, long key) {
    mapped = true;
    stride(gatun_attention_desc.mask_stride$offset(), batch, head, query, key);
    return masked();
  }

  /** The same of biases key by key. */
  public AttentionCall bias(DType type, long batch, long head, long query, long key) {
    mapped = true;
    gatun_attention_desc.bias_dtype(desc, code(type));
    stride(gatun_attention_desc.bias_stride$offset(), batch, head, query, key);
    return masked();
  }

  /** The same of a mask of blocks. */
  public AttentionCall blockMask(
      long blockQ, long blockK, long batch, long head, long rows, long block) {
    mapped = true;
    gatun_attention_desc.block_q(desc, blockQ);
    gatun_attention_desc.block_k(desc, blockK);
    stride(gatun_attention_desc.block_stride$offset(), batch, head, rows, block);
    return masked();
  }

  private void stride(long offset, long batch, long head, long query, long key) {
    desc.set(ValueLayout.JAVA_LONG, offset, batch);
    desc.set(ValueLayout.JAVA_LONG, offset + 8, head);
    desc.set(ValueLayout.JAVA_LONG, offset + 16, query);
    desc.set(ValueLayout.JAVA_LONG, offset + 24, key);
  }

  /** Says that the next runs have segments, query positions or one of the above. */
  public AttentionCall masked() {
    extend(gatun_h.GATUN_ATTENTION_MASKED());
    return this;
  }

  /** Says that the next runs have prefix lengths. */
  public AttentionCall prefixed() {
    extend(gatun_h.GATUN_ATTENTION_PREFIX());
    return this;
  }

  public long seqQ() {
    return gatun_attention_desc.seq_q(desc);
  }

  public long seqK() {
    return gatun_attention_desc.seq_k(desc);
  }

  /**
   * Sets the types of queries, of keys and values, and of the output: all are FLOAT32 otherwise.
   */
  public AttentionCall types(DType q, DType kv, DType out) {
    gatun_attention_desc.dtype(desc, code(q));
    gatun_attention_desc.kv_dtype(desc, code(kv));
    gatun_attention_desc.out_dtype(desc, code(out));
    return this;
  }

  private static int code(DType type) {
    return switch (type) {
      case FLOAT32 -> gatun_h.GATUN_DTYPE_F32();
      case BFLOAT16 -> gatun_h.GATUN_DTYPE_BF16();
      case FLOAT16 -> gatun_h.GATUN_DTYPE_F16();
      default -> throw new AssertionError("not a type of attention: " + type);
    };
  }

  private static int code(Causal causal) {
    return switch (causal) {
      case NONE -> gatun_h.GATUN_CAUSAL_NONE();
      case BOTTOM_RIGHT -> gatun_h.GATUN_CAUSAL_BOTTOM_RIGHT();
      case TOP_LEFT -> gatun_h.GATUN_CAUSAL_TOP_LEFT();
    };
  }

  /**
   * Says that query rows are sequences of different lengths, one after the other; null: they are
   * not. Their batch strides are 0. The offsets {@code [batch + 1]} int32 are those of the next
   * run.
   */
  public AttentionCall raggedQueries(MemorySegment cuSeqlens) {
    if (cuSeqlens != null) {
      cuSeqlensQ = cuSeqlens;
      extend(gatun_h.GATUN_ATTENTION_RAGGED_Q());
    }
    return this;
  }

  /** Says the same of keys and values. */
  public AttentionCall raggedKeys(MemorySegment cuSeqlens) {
    if (cuSeqlens != null) {
      cuSeqlensK = cuSeqlens;
      extend(gatun_h.GATUN_ATTENTION_RAGGED_K());
    }
    return this;
  }

  private void extend(int flag) {
    extended = true;
    addFlag(flag);
  }

  /**
   * Lets products be those of bfloat16, as {@link AttentionSpec#bfloat16Products} does, where the
   * caller's other products are no more exact.
   */
  public AttentionCall bfloat16Products() {
    addFlag(gatun_h.GATUN_ATTENTION_BF16());
    return this;
  }

  private void addFlag(int flag) {
    gatun_attention_desc.flags(desc, gatun_attention_desc.flags(desc) | flag);
  }

  /** Sets the strides of queries, in elements; those of keys, values, output and LSE follow. */
  public AttentionCall strideQ(long batch, long seq, long head) {
    return stride(gatun_attention_desc.q_stride$offset(), batch, seq, head);
  }

  public AttentionCall strideK(long batch, long seq, long head) {
    return stride(gatun_attention_desc.k_stride$offset(), batch, seq, head);
  }

  public AttentionCall strideV(long batch, long seq, long head) {
    return stride(gatun_attention_desc.v_stride$offset(), batch, seq, head);
  }

  public AttentionCall strideOut(long batch, long seq, long head) {
    return stride(gatun_attention_desc.out_stride$offset(), batch, seq, head);
  }

  public AttentionCall strideLse(long batch, long seq, long head) {
    return stride(gatun_attention_desc.lse_stride$offset(), batch, seq, head);
  }

  private AttentionCall stride(long offset, long batch, long seq, long head) {
    desc.set(ValueLayout.JAVA_LONG, offset, batch);
    desc.set(ValueLayout.JAVA_LONG, offset + 8, seq);
    desc.set(ValueLayout.JAVA_LONG, offset + 16, head);
    return this;
  }

  /** Checks the description and makes the scratch as large as it needs. Returns a status. */
  public int prepare() {
    return grow(gatun_h.gatun_attention_workspace_size(contextSegment, desc, memory));
  }

  /** After a question for the size, which had this status. */
  private int grow(int status) {
    if (status != Native.Abi.OK) {
      return status;
    }
    long needed = memory.get(ValueLayout.JAVA_LONG, 0);
    if (needed > scratchBytes) {
      MemorySegment smaller = scratch;
      MemorySegment larger = Native.allocate(needed);
      scratchAddress = larger.address();
      scratchBytes = needed;
      scratch = larger;
      if (smaller.byteSize() > 0) {
        Native.free(smaller); // last: it is not freed twice if this call ends early
      }
    }
    return status;
  }

  /** What is wrong with the description, by the name of its member, or null. */
  public String check() {
    return message(
        text -> gatun_h.gatun_attention_check(contextSegment, desc, text, MESSAGE_BYTES));
  }

  private static String message(ToIntFunction<MemorySegment> check) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(MESSAGE_BYTES);
      return check.applyAsInt(text) == Native.Abi.OK ? null : text.getString(0);
    }
  }

  // ---- the run -------------------------------------------------------------------------------

  /** Gives the next run lengths {@code [batch]} int32, each or NULL. */
  public AttentionCall lengths(MemorySegment keys, MemorySegment queries) {
    keyLengths = keys;
    queryLengths = queries;
    return this;
  }

  /** Gives the next run what its description says it has, each or NULL. */
  public AttentionCall masks(MemorySegment mask, MemorySegment bias, MemorySegment blockMask) {
    given = true;
    this.mask = mask;
    this.bias = bias;
    this.blockMask = blockMask;
    return this;
  }

  /** Gives the next run segments of queries and keys. */
  public AttentionCall segments(MemorySegment queries, MemorySegment keys) {
    given = true;
    segmentsQ = queries;
    segmentsK = keys;
    return this;
  }

  /** Gives the next run lengths of prefixes, or NULL. */
  public AttentionCall prefixLengths(MemorySegment lengths) {
    given = true;
    prefixLengths = lengths;
    return this;
  }

  /** Gives the next run positions of queries, or NULL. */
  public AttentionCall queryPositions(MemorySegment positions) {
    given = true;
    queryPositions = positions;
    return this;
  }

  /**
   * Runs the call, with an LSE or NULL, and forgets its optional inputs. Returns a status; unless
   * it is OK nothing was written.
   */
  public int run(
      MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out, MemorySegment lse) {
    if (!extended) {
      Functions.PLAIN_ATTENTION.load();
    }
    AttentionEvent.Recorded event = AttentionEvent.start();
    int status;
    try {
      status = extended ? forwardExtended(q, k, v, out, lse) : forward(q, k, v, out, lse);
    } catch (Error | RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError("a downcall throws nothing checked", e);
    } finally {
      forgetInputs();
    }
    if (event != null && status == Native.Abi.OK) {
      finish(event);
    }
    return status;
  }

  private int forward(
      MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out, MemorySegment lse)
      throws Throwable {
    return (int)
        PlainAttention.FORWARD.invokeExact(
            context,
            descAddress,
            scratchAddress,
            scratchBytes,
            q,
            k,
            v,
            keyLengths,
            queryLengths,
            out,
            lse);
  }

  private int forwardExtended(
      MemorySegment q, MemorySegment k, MemorySegment v, MemorySegment out, MemorySegment lse)
      throws Throwable {
    return (int)
        ForwardExtended.HANDLE.invokeExact(
            context,
            descAddress,
            scratchAddress,
            scratchBytes,
            q,
            k,
            v,
            keyLengths,
            queryLengths,
            out,
            lse,
            cuSeqlensQ,
            cuSeqlensK,
            NONE, // page_table
            mask,
            blockMask,
            bias,
            alibiSlopes,
            sinks,
            segmentsQ,
            segmentsK,
            prefixLengths,
            relativePositions,
            queryPositions,
            NONE, // k_scales
            NONE); // v_scales
  }

  // ---- a map of probabilities ----------------------------------------------------------------

  /**
   * Says that the described call is a map of its probabilities, of these rows and keys, instead;
   * then {@link #prepareMap} takes the place of {@link #prepare}, and {@link #runMap} that of
   * {@link #run}. Strides of values and outputs play no part.
   */
  public AttentionCall map(
      AttentionMap.Reduction reduction,
      long firstRow,
      long rows,
      long firstKey,
      long keys,
      long mapRows,
      long mapColumns) {
    map.describe(reduction, firstRow, rows, firstKey, keys, mapRows, mapColumns);
    return this;
  }

  /** Sets the strides of the map, in elements. */
  public AttentionCall strideMap(long batch, long head, long row) {
    map.stride(batch, head, row);
    return this;
  }

  /** {@link #prepare} for a map. */
  public int prepareMap() {
    Functions.MAPS.load();
    return grow(
        gatun_h.gatun_attention_map_workspace_size(contextSegment, desc, map.desc(), memory));
  }

  /** {@link #check} for a map. */
  public String checkMap() {
    Functions.MAPS.load();
    return message(
        text ->
            gatun_h.gatun_attention_map_check(
                contextSegment, desc, map.desc(), text, MESSAGE_BYTES));
  }

  /** {@link #run} for a map. */
  public int runMap(MemorySegment q, MemorySegment k, MemorySegment out) {
    try {
      return (int)
          AttentionMapCall.handle()
              .invokeExact(
                  context,
                  descAddress,
                  map.desc().address(),
                  scratchAddress,
                  scratchBytes,
                  q,
                  k,
                  keyLengths,
                  queryLengths,
                  out,
                  mask,
                  blockMask,
                  bias,
                  alibiSlopes,
                  sinks,
                  segmentsQ,
                  segmentsK,
                  prefixLengths,
                  relativePositions,
                  queryPositions);
    } catch (Error | RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError("a downcall throws nothing checked", e);
    } finally {
      forgetInputs();
    }
  }

  /** Only what was given is written, since a write costs more than a look. */
  private void forgetInputs() {
    if (keyLengths != NONE || queryLengths != NONE) {
      keyLengths = NONE;
      queryLengths = NONE;
    }
    if (cuSeqlensQ != NONE || cuSeqlensK != NONE) {
      cuSeqlensQ = NONE;
      cuSeqlensK = NONE;
    }
    if (given) {
      given = false;
      mask = NONE;
      bias = NONE;
      blockMask = NONE;
      segmentsQ = NONE;
      segmentsK = NONE;
      prefixLengths = NONE;
      queryPositions = NONE;
    }
  }

  private void finish(AttentionEvent.Recorded event) {
    event.end();
    if (!event.shouldCommit()) {
      return;
    }
    int flags = gatun_attention_desc.flags(desc);
    event.batch = gatun_attention_desc.batch(desc);
    event.heads = gatun_attention_desc.heads(desc);
    event.kvHeads = gatun_attention_desc.kv_heads(desc);
    event.seqQ = gatun_attention_desc.seq_q(desc);
    event.seqK = gatun_attention_desc.seq_k(desc);
    event.headDim = (int) gatun_attention_desc.head_dim(desc);
    event.headDimV = (int) gatun_attention_desc.head_dim_v(desc);
    event.causal = causal(gatun_attention_desc.causal(desc)).name();
    event.ragged =
        (flags & (gatun_h.GATUN_ATTENTION_RAGGED_Q() | gatun_h.GATUN_ATTENTION_RAGGED_K())) != 0;
    if (readPlan()) {
      Tier tier = Native.tier(gatun_attention_plan_info.tier(info));
      int kernel = planKernel(gatun_attention_plan_info.kernel(info)).ordinal();
      event.kernel = KERNELS[kernel][tier.ordinal()];
      event.threads = gatun_attention_plan_info.threads(info);
    }
    event.commit();
  }

  private static Causal causal(int code) {
    for (Causal causal : Causal.values()) {
      if (code(causal) == code) {
        return causal;
      }
    }
    throw new AssertionError("causal: " + code);
  }

  /** Names of kernels by tier: an event costs no string. */
  private static String[][] kernelNames() {
    String[] operations = {
      "attention_f32_", "attention_decode_f32_", "attention_tiny_f32_", "attention_bf16_"
    };
    String[][] names = new String[operations.length][Tier.values().length];
    for (Tier tier : Tier.values()) {
      for (AttentionPlan.Kernel kernel : AttentionPlan.Kernel.values()) {
        names[kernel.ordinal()][tier.ordinal()] =
            operations[kernel.ordinal()]
                .concat(tier.toString())
                .concat(kernel == AttentionPlan.Kernel.BF16 ? "bf16" : "");
      }
    }
    return names;
  }

  // ---- the plan ------------------------------------------------------------------------------

  /** How the described call is cut up, for full lengths; null if the description is refused. */
  public AttentionPlan plan() {
    return readPlan() ? plan(info) : null;
  }

  private boolean readPlan() {
    gatun_attention_plan_info.struct_size(info, (int) gatun_attention_plan_info.sizeof());
    return gatun_h.gatun_attention_plan(contextSegment, desc, info) == Native.Abi.OK;
  }

  private static AttentionPlan plan(MemorySegment info) {
    double share = gatun_attention_plan_info.predicted_share(info);
    return new AttentionPlan(
        Native.tier(gatun_attention_plan_info.tier(info)),
        planKernel(gatun_attention_plan_info.kernel(info)),
        gatun_attention_plan_info.threads(info),
        gatun_attention_plan_info.block_lanes(info),
        gatun_attention_plan_info.task_blocks(info),
        gatun_attention_plan_info.task_lanes(info),
        gatun_attention_plan_info.tasks(info),
        gatun_attention_plan_info.tile_keys(info),
        gatun_attention_plan_info.chain_keys(info),
        gatun_attention_plan_info.split_keys(info),
        gatun_attention_plan_info.kv_fits_l2(info) != 0,
        planCopies(gatun_attention_plan_info.copies(info)),
        gatun_attention_plan_info.key_splits(info),
        gatun_attention_plan_info.scratch_bytes(info),
        gatun_attention_plan_info.workspace_bytes(info),
        gatun_attention_plan_info.flops(info),
        Double.isNaN(share) ? OptionalDouble.empty() : OptionalDouble.of(share));
  }

  private static AttentionPlan.Copies planCopies(int code) {
    if (code == gatun_h.GATUN_COPY_NONE()) {
      return AttentionPlan.Copies.NONE;
    }
    if (code == gatun_h.GATUN_COPY_TILES()) {
      return AttentionPlan.Copies.TILES;
    }
    if (code == gatun_h.GATUN_COPY_HEADS()) {
      return AttentionPlan.Copies.HEADS;
    }
    throw new GatunException("libgatun plans unknown copies, number " + code, null);
  }

  private static AttentionPlan.Kernel planKernel(int code) {
    if (code == gatun_h.GATUN_KERNEL_GENERAL()) {
      return AttentionPlan.Kernel.GENERAL;
    }
    if (code == gatun_h.GATUN_KERNEL_DECODE()) {
      return AttentionPlan.Kernel.DECODE;
    }
    if (code == gatun_h.GATUN_KERNEL_TINY()) {
      return AttentionPlan.Kernel.TINY;
    }
    if (code == gatun_h.GATUN_KERNEL_BF16()) {
      return AttentionPlan.Kernel.BF16;
    }
    throw new GatunException("libgatun plans an unknown kernel, number " + code, null);
  }
}
