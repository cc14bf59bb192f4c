package dev.gatun.internal;

import dev.gatun.GatunException;
import dev.gatun.internal.cblas.cblas_h;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The one class that touches the bindings generated from OpenBLAS's {@code cblas.h}.
 *
 * <h2>Buffers</h2>
 *
 * <p>A product writes into a buffer of OpenBLAS, the first of a table that no other thread uses;
 * one that is not there is made, and when the operating system gives no memory for it, OpenBLAS
 * calls {@code exit}. With more threads than the table has places it destroys the heap. Therefore
 * buffers are made here, where it can fail, before a thread needs one: for each thread of a
 * runtime's pool, and for each workspace, whose calls run on one thread at a time. Their memory is
 * only taken from the system when it is written.
 */
public final class Blas {

  /** Of a buffer; the largest that OpenBLAS's usual builds ask for. */
  private static final long BUFFER_BYTES = 128L << 20;

  /** What other threads may take between our looking for memory and OpenBLAS's asking for it. */
  private static final long SLACK_BYTES = 32L << 20;

  private static final long LOOK_AGAIN_NANOS = 20_000;

  /** OpenBLAS's table has two places for each of its threads, and this many at least. */
  private static final int LEAST_PLACES = 50;

  private static final Object LOCK = new Object();
  private static volatile LibraryLoader.Loaded loaded;

  /** Who has buffers. Under the lock, as is what follows. */
  private static final Set<User> USERS = new HashSet<>();

  private static MethodHandle takeBuffer;
  private static MethodHandle giveBuffer;
  private static int mostBuffers;
  private static int buffers;

  /** Nobody may begin to multiply. Written under the lock. */
  private static volatile boolean making;

  private Blas() {}

  /**
   * Loads OpenBLAS, if that has not been done, and switches its own threads off for this process. A
   * failure is not remembered: the next attempt starts anew.
   *
   * @throws GatunException which file was tried, why it failed, and what to set
   */
  public static void load() {
    if (loaded == null) {
      Native.load();
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
      if (loaded != null) {
        return loaded;
      }
      LibraryLoader.Loaded candidate = LibraryLoader.loadOpenBlas(Blas::prepareLoading);
      for (String function :
          new String[] {
            "cblas_sgemm", "openblas_set_num_threads", "blas_memory_alloc", "blas_memory_free"
          }) {
        if (SymbolLookup.loaderLookup().find(function).isEmpty()) {
          throw new GatunException(
              "%s: is not OpenBLAS with CBLAS (it has no function %s). Name the right file with -D%s"
                  .formatted(candidate.file(), function, LibraryLoader.OPENBLAS_PROPERTY),
              null);
        }
      }
      FreshThread.initialize(cblas_h.class);
      Functions.PRODUCTS.load();
      takeBuffer =
          function(
              "blas_memory_alloc",
              FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
      giveBuffer = function("blas_memory_free", FunctionDescriptor.ofVoid(ValueLayout.ADDRESS));
      int own = Math.max(1, cblas_h.openblas_get_num_threads());
      cblas_h.openblas_set_num_threads(1);
      mostBuffers = places(cblas_h.openblas_get_config().getString(0)) - own;
      loaded = candidate;
      return candidate;
    }
  }

  /**
   * While it is loaded, OpenBLAS makes a thread and a buffer for each CPU that it may use, and
   * where it cannot, it ends the process. This thread, which ends soon, leaves it one CPU.
   */
  private static void prepareLoading() {
    requireMemory(BUFFER_BYTES + SLACK_BYTES);
    Affinity.narrow();
  }

  private static MethodHandle function(String name, FunctionDescriptor descriptor) {
    return Linker.nativeLinker()
        .downcallHandle(SymbolLookup.loaderLookup().findOrThrow(name), descriptor);
  }

  private static int places(String config) {
    Matcher matcher = Pattern.compile("MAX_THREADS=(\\d+)").matcher(config);
    return Math.max(LEAST_PLACES, matcher.find() ? 2 * Integer.parseInt(matcher.group(1)) : 0);
  }

  private static void requireMemory(long bytes) {
    try {
      Native.free(Native.allocate(bytes));
    } catch (GatunException e) {
      throw new GatunException(
          Native.Abi.MEMORY,
          ("OpenBLAS needs %d MiB of address space for each thread that multiplies, and the"
                  + " operating system gives no %d MiB. See ulimit -v, vm.overcommit_memory and"
                  + " vm.max_map_count")
              .formatted(BUFFER_BYTES >> 20, bytes >> 20));
    }
  }

  // ---- buffers -------------------------------------------------------------------------------

  /**
   * Who multiplies, on some threads at a time: the pool of a runtime, or a workspace. While buffers
   * are made nobody does, since whoever makes them has all the others in hand.
   */
  public static final class User {
    private final User pool;
    private final int threads;

    /** Address of {@code cblas_sgemm}; null until buffers have been made. */
    private MemorySegment sgemm;

    /**
     * A product of it runs. To be set to false at its end, whatever happens; not by a method, for
     * which there may be no stack.
     */
    public volatile boolean multiplying;

    /**
     * Makes a user, who has no buffers yet.
     *
     * @param pool who helps, or null
     * @param threads on how many threads at a time
     */
    public User(User pool, int threads) {
      this.pool = pool;
      this.threads = threads;
    }

    /**
     * Loads OpenBLAS and makes buffers, if that has not been done.
     *
     * @throws GatunException if OpenBLAS cannot be loaded, has no place for so many threads, or
     *     there is no memory; nothing has been taken
     */
    public void prepare() {
      if (sgemm == null) {
        if (pool != null) {
          pool.prepare();
        }
        load();
        sgemm = FreshThread.call("gatun-buffers", new Taking(this));
      }
    }

    /**
     * Begins a product, at whose end {@link #multiplying} has to be set to false.
     *
     * @return address of {@code cblas_sgemm}, the function that {@code gatun_sgemm} calls
     * @throws GatunException as of {@link #prepare}
     */
    public MemorySegment begin() {
      prepare();
      multiplying = true;
      while (making) {
        multiplying = false;
        synchronized (LOCK) {
          multiplying = true;
        }
      }
      return sgemm;
    }

    /** Gives back what {@link #prepare} took, if anything. The buffers stay, for others. */
    public void close() {
      synchronized (LOCK) {
        USERS.remove(this);
      }
      sgemm = null;
    }
  }

  private record Taking(User user) implements Supplier<MemorySegment> {
    @Override
    public MemorySegment get() {
      synchronized (LOCK) {
        if (USERS.contains(user)) {
          return cblas_h.cblas_sgemm$address();
        }
        int needed = user.threads;
        for (User other : USERS) {
          needed += other.threads;
        }
        if (needed > mostBuffers) {
          throw new GatunException(
              Native.Abi.MEMORY,
              ("OpenBLAS multiplies on %d threads at most (%s); the pools of runtimes and the"
                      + " workspaces in use would be %d. Make fewer threads or workspaces")
                  .formatted(mostBuffers, loaded.file(), needed));
        }
        if (needed > buffers) {
          making = true;
          try {
            makeBuffers(needed);
          } finally {
            making = false;
          }
        }
        USERS.add(user);
        return cblas_h.cblas_sgemm$address();
      }
    }
  }

  /** A table that has given so many buffers at a time has them all. */
  private static void makeBuffers(int needed) {
    requireMemory((needed - buffers) * BUFFER_BYTES + SLACK_BYTES);
    for (User user : USERS) {
      while (user.multiplying) {
        LockSupport.parkNanos(LOOK_AGAIN_NANOS);
      }
    }
    MemorySegment[] held = new MemorySegment[needed];
    int count = 0;
    try {
      while (count < needed) {
        held[count++] = (MemorySegment) takeBuffer.invokeExact(0);
      }
    } catch (Error | RuntimeException e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError("a downcall throws nothing checked", e);
    } finally {
      for (int n = 0; n < count; n++) {
        try {
          giveBuffer.invokeExact(held[n]);
        } catch (Throwable e) {
          throw new AssertionError("a downcall throws nothing checked", e);
        }
      }
    }
    buffers = needed;
  }

  /** The CPUs that the calling thread may use. */
  private static final class Affinity {
    /** As glibc's {@code cpu_set_t}. */
    private static final long SET_BYTES = 128;

    /** Leaves this thread one of them, if the system has such a thing. */
    static void narrow() {
      SymbolLookup system = Linker.nativeLinker().defaultLookup();
      MemorySegment get = system.find("sched_getaffinity").orElse(null);
      MemorySegment set = system.find("sched_setaffinity").orElse(null);
      if (get == null || set == null) {
        return;
      }
      FunctionDescriptor descriptor =
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.ADDRESS);
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment cpus = arena.allocate(SET_BYTES, Long.BYTES);
        if ((int)
                Linker.nativeLinker()
                    .downcallHandle(get, descriptor)
                    .invokeExact(0, SET_BYTES, cpus)
            != 0) {
          return;
        }
        boolean found = false;
        for (long n = 0; n < SET_BYTES / Long.BYTES; n++) {
          long bits = cpus.getAtIndex(ValueLayout.JAVA_LONG, n);
          cpus.setAtIndex(ValueLayout.JAVA_LONG, n, found ? 0 : Long.lowestOneBit(bits));
          found |= bits != 0;
        }
        int ignored =
            (int)
                Linker.nativeLinker()
                    .downcallHandle(set, descriptor)
                    .invokeExact(0, SET_BYTES, cpus);
      } catch (Error | RuntimeException e) {
        throw e;
      } catch (Throwable e) {
        throw new AssertionError("a downcall throws nothing checked", e);
      }
    }
  }

  /**
   * Returns the address of {@code cblas_sgemm}, for one thread at a time.
   *
   * @return the function that {@code gatun_sgemm} calls
   */
  public static MemorySegment sgemmAddress() {
    User user = new User(null, 1);
    user.prepare();
    return user.sgemm;
  }

  /** The name of the file in use. */
  public static String library() {
    load();
    return loaded.file().toString();
  }

  /** How the file was found: {@code -Dgatun.openblas}, or the resource it was extracted from. */
  public static String libraryOrigin() {
    load();
    return loaded.origin();
  }

  /** The kernels that OpenBLAS chose, such as {@code Haswell}. */
  public static String coreName() {
    load();
    return cblas_h.openblas_get_corename().getString(0);
  }

  /** Its version and how it was built. */
  public static String config() {
    load();
    return cblas_h.openblas_get_config().getString(0);
  }

  /** Of one of its calls: 1, unless someone else changed it. */
  public static int threads() {
    load();
    return cblas_h.openblas_get_num_threads();
  }
}
