package dev.gatun.internal;

import dev.gatun.AttentionSpec;
import dev.gatun.Counters;
import dev.gatun.GatunException;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tier;
import dev.gatun.internal.gatun.gatun_activation_desc;
import dev.gatun.internal.gatun.gatun_additive_attention_desc;
import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_attention_plan_info;
import dev.gatun.internal.gatun.gatun_config;
import dev.gatun.internal.gatun.gatun_embedding_desc;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_info;
import dev.gatun.internal.gatun.gatun_linear_attention_desc;
import dev.gatun.internal.gatun.gatun_linear_desc;
import dev.gatun.internal.gatun.gatun_pool_desc;
import dev.gatun.internal.gatun.gatun_recurrent_cell_desc;
import dev.gatun.internal.gatun.gatun_rotary_desc;
import dev.gatun.internal.gatun.gatun_row_step;
import dev.gatun.internal.gatun.gatun_row_steps_desc;
import dev.gatun.internal.gatun.gatun_sgemm_desc;
import dev.gatun.internal.gatun.gatun_softmax_desc;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
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

    public static final int MAX_FEATURES = gatun_h.GATUN_MAX_FEATURES();

    /** Largest span of a table of relative positions. */
    public static final int MAX_RELATIVE_SPAN = gatun_h.GATUN_MAX_RELATIVE_SPAN();

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

  private record WithoutLibrary() implements Supplier<Void> {
    @Override
    public Void get() {
      initializeWithoutLibrary();
      return null;
    }
  }

  private static LibraryLoader.Loaded loadHere() {
    synchronized (LOCK) {
      if (loaded == null) {
        FreshThread.Task<Void> apart =
            FreshThread.start("gatun-load-classes", new WithoutLibrary());
        try {
          loaded = loadBeside(apart);
        } finally {
          apart.await();
        }
      }
      return loaded;
    }
  }

  private static LibraryLoader.Loaded loadBeside(FreshThread.Task<Void> apart) {
    LibraryLoader.Loaded candidate = LibraryLoader.loadGatun();
    checkAbi(candidate);
    try {
      initialize();
      apart.result();
      runOnce();
    } catch (LinkageError e) {
      throw new GatunException(
          "%s: lacks what this version of Gatun needs: %s. It was found by %s; use the library that belongs to this version"
              .formatted(
                  candidate.file(), e.getCause() == null ? e : e.getCause(), candidate.origin()),
          e);
    }
    return candidate;
  }

  /**
   * Initialises all classes that calls use: what is left to a first call could end in a
   * StackOverflowError there, and would then be lost to this JVM. The calls with tensors are not
   * made here, since the compiler would remember other arenas than the caller's: 3 ns a call.
   */
  private static void initialize() {
    Functions.loadCalls();
    for (Class<?> type :
        List.of(
            Native.class,
            Functions.class,
            AttentionCall.class,
            RowOps.class,
            PackedOps.class,
            RowSteps.class,
            CellOps.class,
            AdditiveCall.class,
            ScanOps.class,
            LinearAttentionCall.class,
            LinearAttentionCall.Features.class,
            LinearAttentionCall.Form.class,
            Scratch.class,
            LayerCall.class,
            LayerCalls.class,
            FlightEvents.class,
            Blas.class)) {
      FreshThread.initialize(type);
    }
  }

  /** Of these the library knows nothing, so that they are initialised while it is looked for. */
  private static void initializeWithoutLibrary() {
    for (Class<?> type :
        List.of(
            gatun_config.class,
            gatun_info.class,
            gatun_attention_desc.class,
            gatun_attention_plan_info.class,
            gatun_sgemm_desc.class,
            gatun_linear_desc.class,
            gatun_activation_desc.class,
            gatun_embedding_desc.class,
            gatun_pool_desc.class,
            gatun_softmax_desc.class,
            gatun_rotary_desc.class,
            gatun_row_step.class,
            gatun_row_steps_desc.class,
            gatun_recurrent_cell_desc.class,
            gatun_additive_attention_desc.class,
            gatun_linear_attention_desc.class)) {
      FreshThread.initialize(type);
    }
  }

  private static void runOnce() {
    try (AttentionCall call = new AttentionCall(0);
        RowOps rows = new RowOps(0, null)) {
      call.describe(AttentionSpec.standard(), 0, 1, 1, 0, 0, 1, 1).prepare();
      rows.describeProduct(false, false, 0, 0, 0, 1, 1, 1, 1, 0);
      RowOps.initialize();
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

  public static String version() {
    load();
    return string(gatun_h.gatun_version());
  }

  /**
   * The structs as the library was compiled: one line {@code struct.member offset size} a member.
   */
  public static String abiLayout() {
    load();
    Functions.REPORTS.load();
    long length = gatun_h.gatun_abi_layout(MemorySegment.NULL, 0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(length + 1);
      gatun_h.gatun_abi_layout(text, length + 1);
      return text.getString(0);
    }
  }

  public static String statusString(int status) {
    return string(gatun_h.gatun_status_string(status));
  }

  private static String string(MemorySegment text) {
    return text.getString(0); // generated pointers reach to the end of memory
  }

  // ---- tiers ---------------------------------------------------------------------------------

  /** Whether this build has the tier and this CPU can run it. */
  public static boolean tierAvailable(Tier tier) {
    load();
    Functions.REPORTS.load();
    return gatun_h.gatun_tier_available(code(tier)) == Abi.OK;
  }

  /** GATUN_TIER_*. */
  public static int code(Tier tier) {
    return switch (tier) {
      case PORTABLE -> gatun_h.GATUN_TIER_PORTABLE();
      case NEON -> gatun_h.GATUN_TIER_NEON();
      case AVX2 -> gatun_h.GATUN_TIER_AVX2();
      case AVX512 -> gatun_h.GATUN_TIER_AVX512();
    };
  }

  static Tier tier(int code) {
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
   * Makes a context with so many threads (0: one for each CPU) and a tier (null: the library's
   * choice), and returns its address.
   *
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
   * The CPUs that this process may use: the least of its affinity and its control groups' quota.
   */
  public static int cpus() {
    long context = createContext(1, Tier.PORTABLE);
    try (Arena arena = Arena.ofConfined()) {
      return gatun_info.cpus(readInfo(context, arena));
    } finally {
      destroyContext(context);
    }
  }

  /** Stops the workers of a context and frees it. Returns OK, or STATE if calls run. */
  public static int destroyContext(long context) {
    return gatun_h.gatun_context_destroy(MemorySegment.ofAddress(context));
  }

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
          features(gatun_info.features(info)),
          gatun_info.threads(info),
          threadsSource,
          gatun_info.cpus(info),
          gatun_info.l1d_bytes(info),
          gatun_info.l2_bytes(info),
          gatun_info.l3_bytes(info),
          gatun_info.cpu(info).getString(0),
          library.file().toString(),
          library.origin(),
          System.getProperty("java.vendor") + " " + System.getProperty("java.runtime.version"));
    }
  }

  private static Set<String> features(long bits) {
    Set<String> features = new LinkedHashSet<>();
    if ((bits & gatun_h.GATUN_FEATURE_VNNI()) != 0) {
      features.add("avx512_vnni");
    }
    if ((bits & gatun_h.GATUN_FEATURE_BF16()) != 0) {
      features.add("avx512_bf16");
    }
    if ((bits & gatun_h.GATUN_FEATURE_AMX_INT8()) != 0) {
      features.add("amx_int8");
    }
    if ((bits & gatun_h.GATUN_FEATURE_AMX_BF16()) != 0) {
      features.add("amx_bf16");
    }
    if ((bits & gatun_h.GATUN_FEATURE_AVX_VNNI()) != 0) {
      features.add("avx_vnni");
    }
    if ((bits & gatun_h.GATUN_FEATURE_DOTPROD()) != 0) {
      features.add("asimddp");
    }
    if ((bits & gatun_h.GATUN_FEATURE_I8MM()) != 0) {
      features.add("i8mm");
    }
    return Collections.unmodifiableSet(features);
  }

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

  /** The roof of one core, measured for about so long: floating-point operations a second. */
  public static double peak(long context, long nanoseconds) {
    Functions.REPORTS.load();
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
   * Zeroed memory with huge pages, which the arena gives back when it is closed.
   *
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
   * Zeroed memory that nothing owns, for {@link #free}.
   *
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

  public static void free(MemorySegment memory) {
    gatun_h.gatun_memory_free(memory, memory.byteSize());
  }

  // ---- failures ----------------------------------------------------------------------------

  /**
   * The exception for a status that is no success: IllegalArgumentException for what a caller can
   * correct, GatunException otherwise; detail may be null.
   */
  public static RuntimeException failure(int status, String detail) {
    String text = detail == null || detail.isEmpty() ? statusString(status) : detail;
    return status == Abi.INVALID || status == Abi.UNSUPPORTED
        ? new IllegalArgumentException(text)
        : new GatunException(status, text);
  }
}
