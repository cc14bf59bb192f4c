package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Products;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/**
 * oneDNN's matmul with weights in the format that it asks for, reordered before. Its int8 products
 * take quantized inputs and leave integer sums.
 */
final class OneDnnProducts extends ProductPeer {

  /** The folder with its libraries. */
  static final String FOLDER = "gatun.bench.onednn";

  private static final int CPU = 1;
  private static final int IN_ORDER = 1;
  private static final int ANY = 1;
  private static final int ROW_BY_ROW = 3;
  private static final int QUERY_WEIGHTS = 131;
  private static final int QUERY_KERNEL = 8;
  private static final int SOURCE = 1;
  private static final int DESTINATION = 17;
  private static final int WEIGHTS = 33;

  private static final int F32 = 3;
  private static final int BF16 = 2;
  private static final int S32 = 4;
  private static final int S8 = 5;
  private static final int U8 = 6;

  /** Made with the first peer. */
  private static final class Library {
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
    static final AddressLayout ADDRESS = ValueLayout.ADDRESS;

    private static final SymbolLookup LOOKUP = lookup();

    private static SymbolLookup lookup() {
      Path folder = Path.of(System.getProperty(FOLDER));
      SymbolLookup.libraryLookup(folder.resolve("libgomp.so.1"), Arena.global());
      return SymbolLookup.libraryLookup(folder.resolve("libdnnl.so.3"), Arena.global());
    }

    static final MethodHandle ENGINE = handle("engine_create", ADDRESS, INT, LONG);
    static final MethodHandle STREAM = handle("stream_create", ADDRESS, ADDRESS, INT);
    static final MethodHandle DESC =
        handle("memory_desc_create_with_tag", ADDRESS, INT, ADDRESS, INT, INT);
    static final MethodHandle MATMUL =
        handle(
            "matmul_primitive_desc_create",
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS);
    static final MethodHandle REORDER =
        handle(
            "reorder_primitive_desc_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle QUERY = handle("primitive_desc_query", ADDRESS, INT, INT, ADDRESS);
    static final MethodHandle PRIMITIVE = handle("primitive_create", ADDRESS, ADDRESS);
    static final MethodHandle MEMORY = handle("memory_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle EXECUTE = handle("primitive_execute", ADDRESS, ADDRESS, INT, ADDRESS);
    static final MethodHandle WAIT = handle("stream_wait", ADDRESS);
    static final MethodHandle DESTROY_PRIMITIVE = handle("primitive_destroy", ADDRESS);
    static final MethodHandle DESTROY_PRIMITIVE_DESC = handle("primitive_desc_destroy", ADDRESS);
    static final MethodHandle DESTROY_MEMORY = handle("memory_destroy", ADDRESS);
    static final MethodHandle DESTROY_DESC = handle("memory_desc_destroy", ADDRESS);

    static final MethodHandle DESC_BYTES =
        Linker.nativeLinker()
            .downcallHandle(
                LOOKUP.findOrThrow("dnnl_memory_desc_get_size"),
                FunctionDescriptor.of(LONG, ADDRESS));

    static final MethodHandle QUERY_DESC =
        Linker.nativeLinker()
            .downcallHandle(
                LOOKUP.findOrThrow("dnnl_primitive_desc_query_md"),
                FunctionDescriptor.of(ADDRESS, ADDRESS, INT, INT));

    private static MethodHandle handle(String name, ValueLayout... arguments) {
      return Linker.nativeLinker()
          .downcallHandle(
              LOOKUP.findOrThrow("dnnl_" + name), FunctionDescriptor.of(INT, arguments));
    }
  }

  /** A product that is ready but for its weights. */
  private record Ready(
      MemorySegment primitiveDesc, MemorySegment primitive, MemorySegment weightsDesc) {}

  private final MemorySegment result = arena.allocate(Library.ADDRESS);
  private final MemorySegment engine;
  private final MemorySegment stream;
  private final List<Ready> ready = new ArrayList<>();
  private final MemorySegment[] arguments = new MemorySegment[shapes.size()];
  private final List<Runnable> endings = new ArrayList<>();

  OneDnnProducts(Products products, Type type, int rows) {
    super("onednn", products, type, rows);
    try {
      expectZero((int) Library.ENGINE.invokeExact(result, CPU, 0L));
      engine = made();
      expectZero((int) Library.STREAM.invokeExact(result, engine, IN_ORDER));
      stream = made();
      for (Products.Shape shape : shapes) {
        ready.add(ready(shape));
      }
    } catch (Throwable e) {
      throw unchecked(e);
    }
    packAll();
  }

  private static RuntimeException unchecked(Throwable e) {
    if (e instanceof RuntimeException runtime) {
      return runtime;
    }
    if (e instanceof Error error) {
      throw error;
    }
    throw unexpected(e);
  }

  private MemorySegment made() {
    return result.get(Library.ADDRESS, 0);
  }

  private int sourceType() {
    return switch (type) {
      case F32 -> F32;
      case BF16 -> BF16;
      case INT8 -> U8;
    };
  }

  private int weightType() {
    return type == Type.INT8 ? S8 : sourceType();
  }

  private MemorySegment desc(long first, long second, int dataType, int tag) throws Throwable {
    try (Arena local = Arena.ofConfined()) {
      MemorySegment dims =
          local.allocateFrom(Library.LONG, first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      expectZero((int) Library.DESC.invokeExact(result, 2, dims, dataType, tag));
    }
    MemorySegment desc = made();
    endings.add(() -> destroy(Library.DESTROY_DESC, desc));
    return desc;
  }

  private MemorySegment memory(MemorySegment desc, MemorySegment at) throws Throwable {
    expectZero((int) Library.MEMORY.invokeExact(result, desc, engine, at));
    MemorySegment memory = made();
    endings.add(() -> destroy(Library.DESTROY_MEMORY, memory));
    return memory;
  }

  private static void destroy(MethodHandle how, MemorySegment what) {
    try {
      expectZero((int) how.invokeExact(what));
    } catch (Throwable e) {
      throw unchecked(e);
    }
  }

  private Ready ready(Products.Shape shape) throws Throwable {
    MemorySegment source = desc(rows, shape.in(), sourceType(), ROW_BY_ROW);
    MemorySegment weights = desc(shape.in(), shape.out(), weightType(), ANY);
    MemorySegment destination = desc(rows, shape.out(), type == Type.INT8 ? S32 : F32, ROW_BY_ROW);
    expectZero(
        (int)
            Library.MATMUL.invokeExact(
                result,
                engine,
                source,
                weights,
                MemorySegment.NULL,
                destination,
                MemorySegment.NULL));
    MemorySegment primitiveDesc = made();
    endings.add(() -> destroy(Library.DESTROY_PRIMITIVE_DESC, primitiveDesc));
    expectZero((int) Library.PRIMITIVE.invokeExact(result, primitiveDesc));
    MemorySegment primitive = made();
    endings.add(() -> destroy(Library.DESTROY_PRIMITIVE, primitive));
    MemorySegment wanted =
        (MemorySegment) Library.QUERY_DESC.invokeExact(primitiveDesc, QUERY_WEIGHTS, 0);
    return new Ready(primitiveDesc, primitive, wanted);
  }

  @Override
  long packedBytes(int i) {
    try {
      return (long) Library.DESC_BYTES.invokeExact(ready.get(i).weightsDesc);
    } catch (Throwable e) {
      throw unchecked(e);
    }
  }

  /** Arguments of an execution: pairs of a number and a memory. */
  private MemorySegment arguments(Object... pairs) {
    MemorySegment list = arena.allocate(pairs.length / 2 * 16L, 8);
    for (int i = 0; i < pairs.length; i += 2) {
      list.set(Library.INT, i * 8L, (int) pairs[i]);
      list.set(Library.ADDRESS, i * 8L + 8, (MemorySegment) pairs[i + 1]);
    }
    return list;
  }

  @Override
  void pack(int i, MemorySegment source, MemorySegment to) {
    Products.Shape shape = shapes.get(i);
    try {
      MemorySegment plain = desc(shape.in(), shape.out(), weightType(), ROW_BY_ROW);
      MemorySegment wanted = ready.get(i).weightsDesc;
      expectZero(
          (int)
              Library.REORDER.invokeExact(
                  result, plain, engine, wanted, engine, MemorySegment.NULL));
      MemorySegment primitiveDesc = made();
      endings.add(() -> destroy(Library.DESTROY_PRIMITIVE_DESC, primitiveDesc));
      expectZero((int) Library.PRIMITIVE.invokeExact(result, primitiveDesc));
      MemorySegment primitive = made();
      endings.add(() -> destroy(Library.DESTROY_PRIMITIVE, primitive));
      MemorySegment packed = memory(wanted, to);
      MemorySegment list = arguments(SOURCE, memory(plain, source), DESTINATION, packed);
      expectZero((int) Library.EXECUTE.invokeExact(primitive, stream, 2, list));
      expectZero((int) Library.WAIT.invokeExact(stream));
      MemorySegment input = memory(desc(rows, shape.in(), sourceType(), ROW_BY_ROW), x);
      MemorySegment output =
          memory(desc(rows, shape.out(), type == Type.INT8 ? S32 : F32, ROW_BY_ROW), out);
      arguments[i] = arguments(SOURCE, input, WEIGHTS, packed, DESTINATION, output);
    } catch (Throwable e) {
      throw unchecked(e);
    }
  }

  @Override
  void product(int i, MemorySegment packed) {
    try {
      MemorySegment primitive = ready.get(i).primitive;
      expectZero((int) Library.EXECUTE.invokeExact(primitive, stream, 3, arguments[i]));
    } catch (Throwable e) {
      throw unchecked(e);
    }
  }

  /** The names that it gives to its kernels. */
  @Override
  public String kernels() {
    TreeSet<String> names = new TreeSet<>();
    try {
      for (Ready each : ready) {
        expectZero((int) Library.QUERY.invokeExact(each.primitiveDesc, QUERY_KERNEL, 0, result));
        names.add(made().reinterpret(200).getString(0));
      }
    } catch (Throwable e) {
      throw unchecked(e);
    }
    return String.join(", ", names);
  }

  @Override
  public void close() {
    for (Runnable each : endings.reversed()) {
      each.run();
    }
    super.close();
  }
}
