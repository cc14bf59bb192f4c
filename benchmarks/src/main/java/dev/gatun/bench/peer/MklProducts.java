package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Products;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Intel's MKL with weights that it packed before. Its int8 products take quantized inputs and leave
 * integer sums. It chooses its kernels by the CPU, and may choose slower ones for another maker's.
 */
final class MklProducts extends ProductPeer {

  /** The folder with MKL's libraries; where the variables below say that it has one thread. */
  static final String FOLDER = "gatun.bench.mkl";

  private static final int PACKED = 151;
  private static final int B_MATRIX = 162;
  private static final int FIX_OFFSET = 173;

  /** Made with the first peer. */
  private static final class Library {
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
    static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;
    static final AddressLayout ADDRESS = ValueLayout.ADDRESS;

    private static final SymbolLookup LOOKUP =
        SymbolLookup.libraryLookup(
            Path.of(System.getProperty(FOLDER)).resolve("libmkl_rt.so.2"), Arena.global());

    static final MethodHandle VERSION =
        handle("mkl_get_version_string", FunctionDescriptor.ofVoid(ADDRESS, INT));

    static final MethodHandle[] SIZES = {
      size("cblas_sgemm"), size("cblas_gemm_bf16bf16f32"), size("cblas_gemm_s8u8s32")
    };

    /** Single precision has a factor more. */
    static final MethodHandle PACK_F32 =
        handle(
            "cblas_sgemm_pack",
            FunctionDescriptor.ofVoid(INT, INT, INT, INT, INT, INT, FLOAT, ADDRESS, INT, ADDRESS));

    static final MethodHandle PACK_BF16 = pack("cblas_gemm_bf16bf16f32_pack");
    static final MethodHandle PACK_INT8 = pack("cblas_gemm_s8u8s32_pack");

    static final MethodHandle F32 =
        handle(
            "cblas_sgemm_compute",
            FunctionDescriptor.ofVoid(
                INT, INT, INT, INT, INT, INT, ADDRESS, INT, ADDRESS, INT, FLOAT, ADDRESS, INT));

    static final MethodHandle BF16 =
        handle(
            "cblas_gemm_bf16bf16f32_compute",
            FunctionDescriptor.ofVoid(
                INT, INT, INT, INT, INT, INT, FLOAT, ADDRESS, INT, ADDRESS, INT, FLOAT, ADDRESS,
                INT));

    static final MethodHandle INT8 =
        handle(
            "cblas_gemm_s8u8s32_compute",
            FunctionDescriptor.ofVoid(
                INT,
                INT,
                INT,
                INT,
                INT,
                INT,
                INT,
                FLOAT,
                ADDRESS,
                INT,
                ValueLayout.JAVA_BYTE,
                ADDRESS,
                INT,
                ValueLayout.JAVA_BYTE,
                FLOAT,
                ADDRESS,
                INT,
                ADDRESS));

    private static MethodHandle handle(String name, FunctionDescriptor function) {
      return Linker.nativeLinker().downcallHandle(LOOKUP.findOrThrow(name), function);
    }

    private static MethodHandle size(String name) {
      return handle(name + "_pack_get_size", FunctionDescriptor.of(LONG, INT, INT, INT, INT));
    }

    private static MethodHandle pack(String name) {
      return handle(
          name, FunctionDescriptor.ofVoid(INT, INT, INT, INT, INT, INT, ADDRESS, INT, ADDRESS));
    }
  }

  private final MemorySegment zero = arena.allocate(ValueLayout.JAVA_INT);

  MklProducts(Products products, Type type, int rows) {
    super("mkl", products, type, rows);
    packAll();
  }

  @Override
  long packedBytes(int i) {
    int n = shapes.get(i).out();
    int k = shapes.get(i).in();
    try {
      return (long) Library.SIZES[type.ordinal()].invokeExact(B_MATRIX, rows, n, k);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  @Override
  void pack(int i, MemorySegment source, MemorySegment to) {
    int n = shapes.get(i).out();
    int k = shapes.get(i).in();
    try {
      switch (type) {
        case F32 ->
            Library.PACK_F32.invokeExact(
                ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, rows, n, k, 1f, source, n, to);
        case BF16 ->
            Library.PACK_BF16.invokeExact(
                ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, rows, n, k, source, n, to);
        case INT8 ->
            Library.PACK_INT8.invokeExact(
                ROW_MAJOR, B_MATRIX, NO_TRANSPOSE, rows, n, k, source, n, to);
      }
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  @Override
  void product(int i, MemorySegment packed) {
    int n = shapes.get(i).out();
    int k = shapes.get(i).in();
    try {
      switch (type) {
        case F32 ->
            Library.F32.invokeExact(
                ROW_MAJOR, NO_TRANSPOSE, PACKED, rows, n, k, x, k, packed, n, 0f, out, n);
        case BF16 ->
            Library.BF16.invokeExact(
                ROW_MAJOR, NO_TRANSPOSE, PACKED, rows, n, k, 1f, x, k, packed, n, 0f, out, n);
        case INT8 ->
            Library.INT8.invokeExact(
                ROW_MAJOR,
                NO_TRANSPOSE,
                PACKED,
                FIX_OFFSET,
                rows,
                n,
                k,
                1f,
                x,
                k,
                (byte) 0,
                packed,
                n,
                (byte) 0,
                0f,
                out,
                n,
                zero);
      }
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  private static final Pattern KERNELS =
      Pattern.compile(".*/(libmkl_(avx512|avx2|mc3|def))\\.so.*");

  /** Its version, and which of its libraries of kernels it has loaded. */
  @Override
  public String kernels() {
    TreeSet<String> loaded = new TreeSet<>();
    try (Arena reading = Arena.ofConfined();
        Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      maps.forEach(
          line -> {
            Matcher matcher = KERNELS.matcher(line);
            if (matcher.matches()) {
              loaded.add(matcher.group(1));
            }
          });
      MemorySegment text = reading.allocate(MemoryLayout.sequenceLayout(200, Library.ADDRESS));
      Library.VERSION.invokeExact(text, 200);
      Matcher version = Pattern.compile("Version (\\S+)").matcher(text.getString(0));
      return "%s, kernels of %s"
          .formatted(version.find() ? version.group(1) : "?", String.join(", ", loaded));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }
}
