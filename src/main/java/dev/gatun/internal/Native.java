package dev.gatun.internal;

import dev.gatun.AttentionPlan;
import dev.gatun.Causal;
import dev.gatun.Counters;
import dev.gatun.GatunException;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tier;
import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_attention_plan_info;
import dev.gatun.internal.gatun.gatun_config;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_info;
import dev.gatun.internal.gatun.gatun_sgemm_desc;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Supplier;

/**
 * The one class that touches the bindings generated from {@code gatun.h}. It turns statuses of rare
 * calls into exceptions and leaves those of attention and products to their callers.
 *
 * <p>Contexts, descriptors and workspaces are addresses, not segments: their owner ({@link
 * dev.gatun.Workspace}) keeps them alive by its own guard, so that the linker has nothing to
 * acquire for them and spends its two remembered scopes on the caller's arenas. Tensors are
 * segments.
 */
public final class Native {

  /** Constants of the header; apart from {@link Native} so that they need no platform to load. */
  public static final class Abi {
    /** Success. */
    public static final int OK = gatun_h.GATUN_OK();

    /** A size, stride, flag or scalar is out of its range. */
    public static final int INVALID = gatun_h.GATUN_E_INVALID();

    /** Not built, or not available on this CPU. */
    public static final int UNSUPPORTED = gatun_h.GATUN_E_UNSUPPORTED();

    /** An output shares memory with something else. */
    public static final int OVERLAP = gatun_h.GATUN_E_OVERLAP();

    /** A key or query length is out of its range. */
    public static final int LENGTH = gatun_h.GATUN_E_LENGTH();

    /** No memory. */
    public static final int MEMORY = gatun_h.GATUN_E_MEMORY();

    /** Largest head dimension. */
    public static final int MAX_HEAD_DIM = gatun_h.GATUN_MAX_HEAD_DIM();

    /** Largest span of a table of relative positions. */
    public static final int MAX_RELATIVE_SPAN = gatun_h.GATUN_MAX_RELATIVE_SPAN();

    /** Bytes of an attention descriptor. */
    public static final long ATTENTION_DESC_BYTES = gatun_attention_desc.sizeof();

    /** Bytes of a plan. */
    public static final long ATTENTION_PLAN_BYTES = gatun_attention_plan_info.sizeof();

    /** Bytes of a product descriptor. */
    public static final long SGEMM_DESC_BYTES = gatun_sgemm_desc.sizeof();

    private Abi() {}
  }

  private static final int MESSAGE_BYTES = 512;

  private static final Object LOCK = new Object();

  private static volatile LibraryLoader.Loaded loaded;

  private Native() {}

  // ---- loading -------------------------------------------------------------------------------

  /**
   * Loads the library, if that has not been done, and initialises what calls use. A failure is not
   * remembered: the next attempt starts anew.
   *
   * @throws GatunException which file was tried, why it failed, and what to set
   */
  public static void load() {
    if (loaded == null) {
      FreshThread.call("gatun-load", new Loading());
    }
  }

  /** No lambda: a call site that is linked where the stack ends may be lost to the JVM. */
  private record Loading() implements Supplier<LibraryLoader.Loaded> {
    @Override
    public LibraryLoader.Loaded get() {
      return loadHere();
    }
  }

  private static LibraryLoader.Loaded loadHere() {
    synchronized (LOCK) {
      if (loaded == null) {
        LibraryLoader.Loaded candidate = LibraryLoader.loadGatun();
        checkAbi(candidate);
        try {
          initialize();
        } catch (LinkageError e) {
          throw new GatunException(
              "%s: lacks what this version of Gatun needs: %s. It was found by %s; use the library that belongs to this version"
                  .formatted(
                      candidate.file(),
                      e.getCause() == null ? e : e.getCause(),
                      candidate.origin()),
              e);
        }
        loaded = candidate;
      }
      return loaded;
    }
  }

  /**
   * Initialises all classes that calls use: what is left to a first call could end in a
   * StackOverflowError there, and would then be lost to this JVM. The calls with tensors are not
   * made here, since the compiler would remember other arenas than the caller's: 3 ns a call.
   */
  private static void initialize() {
    for (Class<?> type :
        List.of(
            gatun_h.class,
            gatun_config.class,
            gatun_info.class,
            gatun_attention_desc.class,
            gatun_attention_plan_info.class,
            gatun_sgemm_desc.class,
            Native.class,
            Blas.class,
            AttentionEvent.class,
            ModelEvent.class)) {
      FreshThread.initialize(type);
    }
    NativeBlocks.initialize();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment desc = arena.allocate(Abi.ATTENTION_DESC_BYTES, Long.BYTES);
      describeAttention(desc, Causal.NONE, false, 0, 0, 0, 1, 1, 0, 0, 1, 1);
      attentionWorkspaceSize(0, desc, MemorySegment.NULL);
      describeSgemm(
          arena.allocate(Abi.SGEMM_DESC_BYTES, Long.BYTES), false, false, 0, 0, 0, 1, 1, 1, 1, 0);
      free(allocate(1));
    }
    AttentionEvent.start();
    ModelEvent.finish(ModelEvent.start(), null, 0, 0);
  }

  private static void checkAbi(LibraryLoader.Loaded candidate) {
    if (SymbolLookup.loaderLookup().find("gatun_abi").isEmpty()) {
      throw new GatunException(
          "%s: is not libgatun (it has no function gatun_abi). It was found by %s; name the right file with -D%s"
              .formatted(candidate.file(), candidate.origin(), LibraryLoader.LIBRARY_PROPERTY),
          null);
    }
    int abi = gatun_h.gatun_abi();
    if (abi != gatun_h.GATUN_ABI()) {
      throw new GatunException(
          ("%s: its binary interface is number %d, this version of Gatun needs %d. It was found by"
                  + " %s; use the library that belongs to this version, or name it with -D%s")
              .formatted(
                  candidate.file(),
                  abi,
                  gatun_h.GATUN_ABI(),
                  candidate.origin(),
                  LibraryLoader.LIBRARY_PROPERTY),
          null);
    }
  }

  /**
   * Returns the version of the library.
   *
   * @return {@code major.minor.patch}
   */
  public static String version() {
    load();
    return string(gatun_h.gatun_version());
  }

  /**
   * Returns the layout of the structs as the library was compiled.
   *
   * @return one line {@code struct.member offset size} for each member
   */
  public static String abiLayout() {
    load();
    long length = gatun_h.gatun_abi_layout(MemorySegment.NULL, 0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(length + 1);
      gatun_h.gatun_abi_layout(text, length + 1);
      return text.getString(0);
    }
  }

  /**
   * Returns the text of a status.
   *
   * @param status a number that the library returned
   * @return a short English text
   */
  public static String statusString(int status) {
    return string(gatun_h.gatun_status_string(status));
  }

  private static String string(MemorySegment text) {
    return text.getString(0); // generated pointers reach to the end of memory
  }

  // ---- tiers ---------------------------------------------------------------------------------

  /**
   * Tells whether a tier can run.
   *
   * @param tier the tier
   * @return true if this build has it and this CPU can run it
   */
  public static boolean tierAvailable(Tier tier) {
    load();
    return gatun_h.gatun_tier_available(code(tier)) == Abi.OK;
  }

  /**
   * Returns the number of a tier in the C interface.
   *
   * @param tier the tier
   * @return GATUN_TIER_*
   */
  public static int code(Tier tier) {
    return switch (tier) {
      case PORTABLE -> gatun_h.GATUN_TIER_PORTABLE();
      case NEON -> gatun_h.GATUN_TIER_NEON();
      case AVX2 -> gatun_h.GATUN_TIER_AVX2();
      case AVX512 -> gatun_h.GATUN_TIER_AVX512();
    };
  }

  private static Tier tier(int code) {
    for (Tier tier : Tier.values()) {
      if (code(tier) == code) {
        return tier;
      }
    }
    throw new GatunException("libgatun runs an unknown tier, number " + code, null);
  }

  private static RuntimeInfo.TierSource tierSource(int code) {
    if (code == gatun_h.GATUN_TIER_FROM_CONFIG()) {
      return RuntimeInfo.TierSource.CONFIG;
    }
    return code == gatun_h.GATUN_TIER_FROM_ENVIRONMENT()
        ? RuntimeInfo.TierSource.ENVIRONMENT
        : RuntimeInfo.TierSource.CPU;
  }

  // ---- context -------------------------------------------------------------------------------

  /**
   * Makes a context.
   *
   * @param threads threads that work on one call, or 0 for all CPUs
   * @param tier the kernels, or null for the library's choice
   * @return its address, to be given to {@link #destroyContext}
   * @throws IllegalArgumentException if a value is refused
   * @throws GatunException if there is no memory or no thread
   */
  public static long createContext(int threads, Tier tier) {
    load();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment config = gatun_config.allocate(arena);
      gatun_config.struct_size(config, (int) gatun_config.sizeof());
      gatun_config.threads(config, threads);
      gatun_config.tier(config, tier == null ? gatun_h.GATUN_TIER_AUTO() : code(tier));
      MemorySegment context = arena.allocate(ValueLayout.ADDRESS);
      MemorySegment message = arena.allocate(MESSAGE_BYTES);
      int status = gatun_h.gatun_context_create(config, context, message, MESSAGE_BYTES);
      if (status != Abi.OK) {
        String detail = message.getString(0);
        throw tier == null ? new GatunException(status, detail) : failure(status, detail);
      }
      return context.get(ValueLayout.ADDRESS, 0).address();
    }
  }

  /**
   * Returns the CPUs that this process may use.
   *
   * @return the least of its affinity and its control groups' quota
   */
  public static int cpus() {
    long context = createContext(1, Tier.PORTABLE);
    try (Arena arena = Arena.ofConfined()) {
      return gatun_info.cpus(readInfo(context, arena));
    } finally {
      destroyContext(context);
    }
  }

  /**
   * Stops the workers of a context and frees it.
   *
   * @param context its address
   * @return OK, or STATE if calls run
   */
  public static int destroyContext(long context) {
    return gatun_h.gatun_context_destroy(MemorySegment.ofAddress(context));
  }

  /**
   * Describes a context.
   *
   * @param context its address
   * @param threadsSource where the number of its threads comes from
   * @return what it runs on
   */
  public static RuntimeInfo info(long context, RuntimeInfo.ThreadsSource threadsSource) {
    LibraryLoader.Loaded library = loaded;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = readInfo(context, arena);
      Set<Tier> tiers = EnumSet.noneOf(Tier.class);
      for (Tier tier : Tier.values()) {
        if ((gatun_info.tiers(info) >>> code(tier) & 1) != 0) {
          tiers.add(tier);
        }
      }
      return new RuntimeInfo(
          version(),
          gatun_h.gatun_abi(),
          tier(gatun_info.tier(info)),
          tierSource(gatun_info.tier_source(info)),
          tiers,
          gatun_info.threads(info),
          threadsSource,
          gatun_info.cpus(info),
          gatun_info.l1d_bytes(info),
          gatun_info.l2_bytes(info),
          gatun_info.l3_bytes(info),
          gatun_info.cpu(info).getString(0),
          library.file().toString(),
          library.origin(),
          System.getProperty("java.vendor") + " " + Runtime.version());
    }
  }

  /**
   * Reads the counters of a context.
   *
   * @param context its address
   * @return what it has done
   */
  public static Counters counters(long context) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = readInfo(context, arena);
      return new Counters(
          gatun_info.calls(info),
          gatun_info.tasks(info),
          gatun_info.tasks_helped(info),
          gatun_info.blocks_redone(info));
    }
  }

  private static MemorySegment readInfo(long context, Arena arena) {
    MemorySegment info = gatun_info.allocate(arena);
    gatun_info.struct_size(info, (int) gatun_info.sizeof());
    int status = gatun_h.gatun_context_info(MemorySegment.ofAddress(context), info);
    if (status != Abi.OK) {
      throw failure(status, null);
    }
    return info;
  }

  /**
   * Measures the roof of one core.
   *
   * @param context address of a context
   * @param nanoseconds about how long
   * @return floating-point operations a second
   */
  public static double peak(long context, long nanoseconds) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment rate = arena.allocate(ValueLayout.JAVA_DOUBLE);
      int status = gatun_h.gatun_peak_f32(MemorySegment.ofAddress(context), nanoseconds, rate);
      if (status != Abi.OK) {
        throw failure(status, null);
      }
      return rate.get(ValueLayout.JAVA_DOUBLE, 0);
    }
  }

  // ---- memory --------------------------------------------------------------------------------

  /**
   * Allocates zeroed memory with huge pages, owned by an arena.
   *
   * @param arena gives it back when it is closed
   * @param bytes more than 0
   * @return the memory, aligned to a page at least
   * @throws GatunException if there is none
   */
  public static MemorySegment allocateHuge(Arena arena, long bytes) {
    if (arena.scope() == null) { // an implementation of somebody's
      throw new IllegalArgumentException("arena: expected one with a scope, got null");
    }
    load();
    MemorySegment memory = allocate(bytes);
    boolean owned = false;
    try {
      MemorySegment segment =
          memory.reinterpret(bytes, arena, same -> gatun_h.gatun_memory_free(same, bytes));
      owned = true;
      return segment;
    } finally {
      if (!owned) { // the arena is closed, or another thread's
        gatun_h.gatun_memory_free(memory, bytes);
      }
    }
  }

  /**
   * Allocates zeroed memory that nothing owns.
   *
   * @param bytes more than 0
   * @return the memory, to be given to {@link #free}
   * @throws GatunException if there is none
   */
  public static MemorySegment allocate(long bytes) {
    MemorySegment memory = gatun_h.gatun_memory_allocate(bytes);
    if (memory.address() == 0) {
      throw new GatunException(
          Abi.MEMORY, "the operating system gave no memory: %d bytes".formatted(bytes));
    }
    return memory.reinterpret(bytes);
  }

  /**
   * Gives back what {@link #allocate} returned.
   *
   * @param memory the memory, not used any more
   */
  public static void free(MemorySegment memory) {
    gatun_h.gatun_memory_free(memory, memory.byteSize());
  }

  // ---- attention -----------------------------------------------------------------------------

  private static final class Forward {
    /**
     * {@code gatun_attention_forward} with context, descriptor and workspace as plain addresses. In
     * the C calling conventions of x86-64 and AArch64 a pointer and an int64 are passed alike. With
     * segments there, a call with tensors in a shared arena would take 70 ns instead of 34: the
     * linker compares the scope of an argument with the first two only, before it acquires it.
     */
    static final MethodHandle HANDLE =
        Linker.nativeLinker()
            .downcallHandle(
                gatun_h.gatun_attention_forward$address(),
                withAddresses(gatun_h.gatun_attention_forward$descriptor()));
  }

  private static final class ForwardExtended {
    /** {@code gatun_attention_forward_extended}, in the same way. */
    static final MethodHandle HANDLE =
        Linker.nativeLinker()
            .downcallHandle(
                gatun_h.gatun_attention_forward_extended$address(),
                withAddresses(gatun_h.gatun_attention_forward_extended$descriptor()));
  }

  /** Context, descriptor and workspace as addresses. */
  private static FunctionDescriptor withAddresses(FunctionDescriptor function) {
    List<MemoryLayout> layouts = new ArrayList<>(function.argumentLayouts());
    for (int argument = 0; argument < 3; argument++) {
      layouts.set(argument, ValueLayout.JAVA_LONG);
    }
    return FunctionDescriptor.of(
        function.returnLayout().orElseThrow(), layouts.toArray(MemoryLayout[]::new));
  }

  /**
   * Fills an attention descriptor but for its strides; without biases.
   *
   * @param desc zeroed memory of {@link Abi#ATTENTION_DESC_BYTES}
   * @param causal the mask
   * @param hasScale whether scale is given
   * @param scale the factor of the scores
   * @param maxThreads threads for one call, or 0
   * @param batch batch rows
   * @param heads query heads
   * @param kvHeads key heads
   * @param seqQ query rows
   * @param seqK keys
   * @param headDim size of a query and a key
   * @param headDimV size of a value
   */
  public static void describeAttention(
      MemorySegment desc,
      Causal causal,
      boolean hasScale,
      float scale,
      int maxThreads,
      long batch,
      long heads,
      long kvHeads,
      long seqQ,
      long seqK,
      long headDim,
      long headDimV) {
    gatun_attention_desc.struct_size(desc, (int) Abi.ATTENTION_DESC_BYTES);
    gatun_attention_desc.flags(desc, hasScale ? gatun_h.GATUN_ATTENTION_SCALE() : 0);
    gatun_attention_desc.dtype(desc, gatun_h.GATUN_DTYPE_F32());
    gatun_attention_desc.kv_dtype(desc, gatun_h.GATUN_DTYPE_F32());
    gatun_attention_desc.causal(desc, code(causal));
    gatun_attention_desc.max_threads(desc, maxThreads);
    gatun_attention_desc.scale(desc, scale);
    gatun_attention_desc.batch(desc, batch);
    gatun_attention_desc.heads(desc, heads);
    gatun_attention_desc.kv_heads(desc, kvHeads);
    gatun_attention_desc.seq_q(desc, seqQ);
    gatun_attention_desc.seq_k(desc, seqK);
    gatun_attention_desc.head_dim(desc, headDim);
    gatun_attention_desc.head_dim_v(desc, headDimV);
    gatun_attention_desc.relative_span(desc, 0);
  }

  /**
   * Says in a descriptor that slopes or a table of relative positions will be given.
   *
   * @param desc the descriptor, filled
   * @param span of the table, 0 without one
   */
  public static void biased(MemorySegment desc, long span) {
    gatun_attention_desc.flags(
        desc, gatun_attention_desc.flags(desc) | gatun_h.GATUN_ATTENTION_BIASED());
    gatun_attention_desc.relative_span(desc, span);
  }

  /**
   * Records a call.
   *
   * @param event started before the call
   * @param desc the descriptor of the call
   * @param tier the kernels that ran
   * @param threads threads of the context
   */
  public static void finish(AttentionEvent event, MemorySegment desc, Tier tier, int threads) {
    event.end();
    if (!event.shouldCommit()) {
      return;
    }
    int maxThreads = gatun_attention_desc.max_threads(desc);
    event.batch = gatun_attention_desc.batch(desc);
    event.heads = gatun_attention_desc.heads(desc);
    event.kvHeads = gatun_attention_desc.kv_heads(desc);
    event.seqQ = gatun_attention_desc.seq_q(desc);
    event.seqK = gatun_attention_desc.seq_k(desc);
    event.headDim = (int) gatun_attention_desc.head_dim(desc);
    event.headDimV = (int) gatun_attention_desc.head_dim_v(desc);
    event.causal = causal(gatun_attention_desc.causal(desc)).name();
    event.packed = (gatun_attention_desc.flags(desc) & gatun_h.GATUN_ATTENTION_PACKED()) != 0;
    event.kernel = kernel(tier);
    event.threads = maxThreads > 0 ? Math.min(maxThreads, threads) : threads;
    event.commit();
  }

  private static String kernel(Tier tier) {
    return switch (tier) {
      case PORTABLE -> "attention_f32_portable";
      case NEON -> "attention_f32_neon";
      case AVX2 -> "attention_f32_avx2";
      case AVX512 -> "attention_f32_avx512";
    };
  }

  private static Causal causal(int code) {
    for (Causal causal : Causal.values()) {
      if (code(causal) == code) {
        return causal;
      }
    }
    throw new IllegalArgumentException("causal: " + code);
  }

  private static int code(Causal causal) {
    return switch (causal) {
      case NONE -> gatun_h.GATUN_CAUSAL_NONE();
      case BOTTOM_RIGHT -> gatun_h.GATUN_CAUSAL_BOTTOM_RIGHT();
      case TOP_LEFT -> gatun_h.GATUN_CAUSAL_TOP_LEFT();
    };
  }

  /**
   * Writes the strides of q.
   *
   * @param desc the descriptor
   * @param batch stride in elements
   * @param seq stride in elements
   * @param head stride in elements
   */
  public static void strideQ(MemorySegment desc, long batch, long seq, long head) {
    stride(desc, gatun_attention_desc.q_stride$offset(), batch, seq, head);
  }

  /**
   * Writes the strides of k.
   *
   * @param desc the descriptor
   * @param batch stride in elements
   * @param seq stride in elements
   * @param head stride in elements
   */
  public static void strideK(MemorySegment desc, long batch, long seq, long head) {
    stride(desc, gatun_attention_desc.k_stride$offset(), batch, seq, head);
  }

  /**
   * Writes the strides of v.
   *
   * @param desc the descriptor
   * @param batch stride in elements
   * @param seq stride in elements
   * @param head stride in elements
   */
  public static void strideV(MemorySegment desc, long batch, long seq, long head) {
    stride(desc, gatun_attention_desc.v_stride$offset(), batch, seq, head);
  }

  /**
   * Writes the strides of out.
   *
   * @param desc the descriptor
   * @param batch stride in elements
   * @param seq stride in elements
   * @param head stride in elements
   */
  public static void strideOut(MemorySegment desc, long batch, long seq, long head) {
    stride(desc, gatun_attention_desc.out_stride$offset(), batch, seq, head);
  }

  /**
   * Writes the strides of lse.
   *
   * @param desc the descriptor
   * @param batch stride in elements
   * @param seq stride in elements
   * @param head stride in elements
   */
  public static void strideLse(MemorySegment desc, long batch, long seq, long head) {
    stride(desc, gatun_attention_desc.lse_stride$offset(), batch, seq, head);
  }

  private static void stride(MemorySegment desc, long offset, long batch, long seq, long head) {
    desc.set(ValueLayout.JAVA_LONG, offset, batch);
    desc.set(ValueLayout.JAVA_LONG, offset + 8, seq);
    desc.set(ValueLayout.JAVA_LONG, offset + 16, head);
  }

  /**
   * Checks a descriptor.
   *
   * @param context address of a context
   * @param desc the descriptor
   * @return what is wrong with it, or null
   */
  public static String checkAttention(long context, MemorySegment desc) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment message = arena.allocate(MESSAGE_BYTES);
      int status =
          gatun_h.gatun_attention_check(
              MemorySegment.ofAddress(context), desc, message, MESSAGE_BYTES);
      return status == Abi.OK ? null : message.getString(0);
    }
  }

  /**
   * Asks for the size of the workspace.
   *
   * @param context address of a context
   * @param desc the descriptor
   * @param bytes receives the size
   * @return a status
   */
  public static int attentionWorkspaceSize(long context, MemorySegment desc, MemorySegment bytes) {
    return gatun_h.gatun_attention_workspace_size(MemorySegment.ofAddress(context), desc, bytes);
  }

  /**
   * Asks for the plan of a call.
   *
   * @param context address of a context
   * @param desc the descriptor
   * @param info memory of {@link Abi#ATTENTION_PLAN_BYTES}, receives the plan
   * @return a status
   */
  public static int planAttention(long context, MemorySegment desc, MemorySegment info) {
    gatun_attention_plan_info.struct_size(info, (int) Abi.ATTENTION_PLAN_BYTES);
    return gatun_h.gatun_attention_plan(MemorySegment.ofAddress(context), desc, info);
  }

  /**
   * Reads a plan.
   *
   * @param info what {@link #planAttention} has filled
   * @return the plan
   */
  public static AttentionPlan attentionPlan(MemorySegment info) {
    double share = gatun_attention_plan_info.predicted_share(info);
    return new AttentionPlan(
        tier(gatun_attention_plan_info.tier(info)),
        planKernel(gatun_attention_plan_info.kernel(info)),
        gatun_attention_plan_info.threads(info),
        gatun_attention_plan_info.block_lanes(info),
        gatun_attention_plan_info.task_blocks(info),
        gatun_attention_plan_info.task_lanes(info),
        gatun_attention_plan_info.tasks(info),
        gatun_attention_plan_info.tile_keys(info),
        gatun_attention_plan_info.chain_keys(info),
        gatun_attention_plan_info.split_keys(info),
        gatun_attention_plan_info.keys_stay(info) != 0,
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
    if (code == gatun_h.GATUN_KERNEL_FEW_ROWS()) {
      return AttentionPlan.Kernel.FEW_ROWS;
    }
    if (code == gatun_h.GATUN_KERNEL_TINY()) {
      return AttentionPlan.Kernel.TINY;
    }
    throw new GatunException("libgatun plans an unknown kernel, number " + code, null);
  }

  /**
   * Computes attention.
   *
   * @param context address of a context
   * @param desc address of a descriptor
   * @param workspace address of a workspace
   * @param workspaceSize its bytes
   * @param q queries
   * @param k keys
   * @param v values
   * @param keyLengths key lengths, or NULL
   * @param queryLengths query lengths, or NULL
   * @param out output
   * @param lse output, or NULL
   * @return a status
   */
  public static int attentionForward(
      long context,
      long desc,
      long workspace,
      long workspaceSize,
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment out,
      MemorySegment lse) {
    try {
      return (int)
          Forward.HANDLE.invokeExact(
              context, desc, workspace, workspaceSize, q, k, v, keyLengths, queryLengths, out, lse);
    } catch (Error | RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError("a downcall throws nothing checked", e);
    }
  }

  /**
   * Computes attention with biases of the scores.
   *
   * @param context address of a context
   * @param desc address of a descriptor that {@link #biased} has marked
   * @param workspace address of a workspace
   * @param workspaceSize its bytes
   * @param q queries
   * @param k keys
   * @param v values
   * @param keyLengths key lengths, or NULL
   * @param queryLengths query lengths, or NULL
   * @param out output
   * @param lse output, or NULL
   * @param slopes {@code [heads]}, or NULL
   * @param relative {@code [heads, 2 * span + 1]}, or NULL
   * @return a status
   */
  public static int attentionForwardBiased(
      long context,
      long desc,
      long workspace,
      long workspaceSize,
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment out,
      MemorySegment lse,
      MemorySegment slopes,
      MemorySegment relative) {
    MemorySegment none = MemorySegment.NULL;
    try {
      return (int)
          ForwardExtended.HANDLE.invokeExact(
              context,
              desc,
              workspace,
              workspaceSize,
              q,
              k,
              v,
              keyLengths,
              queryLengths,
              out,
              lse,
              none,
              none,
              none,
              none,
              none,
              none,
              slopes,
              none,
              none,
              none,
              none,
              relative,
              none,
              none,
              none);
    } catch (Error | RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError("a downcall throws nothing checked", e);
    }
  }

  // ---- product -------------------------------------------------------------------------------

  /**
   * Fills a product descriptor.
   *
   * @param desc zeroed memory of {@link Abi#SGEMM_DESC_BYTES}
   * @param transposeA whether A is stored transposed
   * @param transposeB whether B is stored transposed
   * @param m rows of C
   * @param n columns of C
   * @param k depth
   * @param lda elements between stored rows of A
   * @param ldb elements between stored rows of B
   * @param ldc elements between rows of C
   * @param alpha factor of the product
   * @param beta factor of C
   */
  public static void describeSgemm(
      MemorySegment desc,
      boolean transposeA,
      boolean transposeB,
      long m,
      long n,
      long k,
      long lda,
      long ldb,
      long ldc,
      float alpha,
      float beta) {
    gatun_sgemm_desc.struct_size(desc, (int) Abi.SGEMM_DESC_BYTES);
    gatun_sgemm_desc.flags(
        desc,
        (transposeA ? gatun_h.GATUN_SGEMM_TRANSPOSE_A() : 0)
            | (transposeB ? gatun_h.GATUN_SGEMM_TRANSPOSE_B() : 0));
    gatun_sgemm_desc.m(desc, m);
    gatun_sgemm_desc.n(desc, n);
    gatun_sgemm_desc.k(desc, k);
    gatun_sgemm_desc.lda(desc, lda);
    gatun_sgemm_desc.ldb(desc, ldb);
    gatun_sgemm_desc.ldc(desc, ldc);
    gatun_sgemm_desc.alpha(desc, alpha);
    gatun_sgemm_desc.beta(desc, beta);
  }

  /**
   * Computes a product.
   *
   * @param context address of a context
   * @param desc the descriptor
   * @param sgemm address of {@code cblas_sgemm}
   * @param a left factor
   * @param b right factor
   * @param c result
   * @return a status
   */
  public static int sgemm(
      long context,
      MemorySegment desc,
      MemorySegment sgemm,
      MemorySegment a,
      MemorySegment b,
      MemorySegment c) {
    return gatun_h.gatun_sgemm(MemorySegment.ofAddress(context), desc, sgemm, a, b, c);
  }

  /**
   * Makes the exception for a status that is no success.
   *
   * @param status the status
   * @param detail a line that says more, or null
   * @return IllegalArgumentException for what a caller can correct, GatunException otherwise
   */
  public static RuntimeException failure(int status, String detail) {
    String text = detail == null || detail.isEmpty() ? statusString(status) : detail;
    return status == Abi.INVALID || status == Abi.UNSUPPORTED
        ? new IllegalArgumentException(text)
        : new GatunException(status, text);
  }
}
