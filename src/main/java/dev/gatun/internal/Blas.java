package dev.gatun.internal;

import dev.gatun.GatunException;
import dev.gatun.internal.cblas.cblas_h;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;

/** The one class that touches the bindings generated from OpenBLAS's {@code cblas.h}. */
public final class Blas {

  private static final Object LOCK = new Object();
  private static volatile LibraryLoader.Loaded loaded;

  private Blas() {}

  /**
   * Loads OpenBLAS, if that has not been done, and switches its own threads off for this process. A
   * failure is not remembered: the next attempt starts anew.
   *
   * @throws GatunException which file was tried, why it failed, and what to set
   */
  public static void load() {
    if (loaded != null) {
      return;
    }
    synchronized (LOCK) {
      if (loaded == null) {
        LibraryLoader.Loaded candidate = LibraryLoader.loadOpenBlas();
        for (String function : new String[] {"cblas_sgemm", "openblas_set_num_threads"}) {
          if (SymbolLookup.loaderLookup().find(function).isEmpty()) {
            throw new GatunException(
                "%s: is not OpenBLAS with CBLAS (it has no function %s). Name the right file with -D%s"
                    .formatted(candidate.file(), function, LibraryLoader.OPENBLAS_PROPERTY),
                null);
          }
        }
        cblas_h.openblas_set_num_threads(1);
        loaded = candidate;
      }
    }
  }

  /**
   * Returns the function that {@code gatun_sgemm} calls.
   *
   * @return address of {@code cblas_sgemm}
   */
  public static MemorySegment sgemmAddress() {
    load();
    return cblas_h.cblas_sgemm$address();
  }

  /**
   * Returns the file in use.
   *
   * @return its name
   */
  public static String library() {
    load();
    return loaded.file().toString();
  }

  /**
   * Returns how the file was found.
   *
   * @return {@code -Dgatun.openblas} or the resource it was extracted from
   */
  public static String libraryOrigin() {
    load();
    return loaded.origin();
  }

  /**
   * Returns the kernels that OpenBLAS chose.
   *
   * @return a name such as {@code Haswell}
   */
  public static String coreName() {
    load();
    return cblas_h.openblas_get_corename().getString(0);
  }

  /**
   * Returns how OpenBLAS was built.
   *
   * @return its version and options
   */
  public static String config() {
    load();
    return cblas_h.openblas_get_config().getString(0);
  }

  /**
   * Returns the threads that one call of OpenBLAS uses.
   *
   * @return 1, unless someone else changed it
   */
  public static int threads() {
    load();
    return cblas_h.openblas_get_num_threads();
  }
}
