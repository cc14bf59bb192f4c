package dev.gatun.bench.peer;

import dev.gatun.GatunRuntime;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Products;
import dev.gatun.bench.measure.Workload;
import dev.gatun.internal.Blas;
import dev.gatun.internal.Native;
import dev.gatun.internal.gatun.gatun_config;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_pack_desc;
import dev.gatun.internal.gatun.gatun_packed_linear_desc;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * The products of a model with rows of some number, one pass over all weights a call, one thread.
 * The weights lie one after the other in one piece of memory with huge pages, as each library packs
 * them.
 */
public abstract class ProductPeer extends Peer {

  /** The type of numbers that are multiplied. */
  public enum Type {
    F32(Float.BYTES, Float.BYTES),
    BF16(Short.BYTES, Short.BYTES),
    /** Inputs are unsigned bytes, weights signed ones. */
    INT8(1, 1);

    final int inputBytes;
    final int weightBytes;

    Type(int inputBytes, int weightBytes) {
      this.inputBytes = inputBytes;
      this.weightBytes = weightBytes;
    }

    int format() {
      return switch (this) {
        case F32 -> gatun_h.GATUN_WEIGHTS_F32();
        case BF16 -> gatun_h.GATUN_WEIGHTS_BF16();
        case INT8 -> gatun_h.GATUN_WEIGHTS_I8();
      };
    }
  }

  private static final long SEED_X = 7;
  private static final long SEED_W = 100;
  private static final int CHECKED = 50;
  private static final int ALIGNMENT = 64;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;

  final Arena arena = Arena.ofShared();
  final List<Products.Shape> shapes;
  final Type type;
  final int rows;

  /** Inputs of the type that the library wants, [rows][in] for each product from the beginning. */
  final MemorySegment x;

  /** Results, float32 or int32, [rows][out]. */
  final MemorySegment out;

  private final MemorySegment[] weights;

  /** A context for the peak loop. */
  final MemorySegment context;

  private final MemorySegment rate;

  ProductPeer(String name, Products products, Type type, int rows) {
    super(name);
    this.shapes = products.all();
    this.type = type;
    this.rows = rows;
    this.weights = new MemorySegment[shapes.size()];
    int in = shapes.stream().mapToInt(Products.Shape::in).max().orElseThrow();
    int columns = shapes.stream().mapToInt(Products.Shape::out).max().orElseThrow();
    x = Native.allocateHuge(arena, (long) rows * in * Float.BYTES);
    out = Native.allocateHuge(arena, (long) rows * columns * Float.BYTES);
    MemorySegment config = gatun_config.allocate(arena);
    gatun_config.struct_size(config, (int) gatun_config.sizeof());
    gatun_config.threads(config, 1);
    MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
    expectZero(gatun_h.gatun_context_create(config, result, MemorySegment.NULL, 0));
    context = result.get(ValueLayout.ADDRESS, 0);
    rate = arena.allocate(ValueLayout.JAVA_DOUBLE);
  }

  /** Whether inputs are float32 whatever the type is. */
  boolean takesFloats() {
    return false;
  }

  /** Bytes of a packed weight. */
  abstract long packedBytes(int i);

  /** Packs a weight, [in][out] of its type or float32 as {@link #takesFloats} says. */
  abstract void pack(int i, MemorySegment source, MemorySegment to);

  /** Multiplies by a weight. */
  abstract void product(int i, MemorySegment packed);

  /** What kernels it uses, on one line. */
  public abstract String kernels();

  /** Operations a second of the loop that is the roof of this type. */
  public double peak(double seconds) {
    expectZero(
        gatun_h.gatun_packed_linear_peak(context, type.format(), (long) (seconds * 1e9), rate));
    return rate.get(ValueLayout.JAVA_DOUBLE, 0);
  }

  // ---- data ----------------------------------------------------------------------------------

  private static float input(int in, int row, int k) {
    return Workload.value(SEED_X, (long) row * in + k);
  }

  private static float weight(int i, int out, int k, int column) {
    return Workload.value(SEED_W + i, (long) k * out + column);
  }

  private static short bfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) (bits + 0x7fff + (bits >> 16 & 1) >> 16);
  }

  private static int unsigned(float value) {
    return (int) ((value + 1) * 127.5f);
  }

  private static int signed(float value) {
    return Math.round(value * 127);
  }

  private void store(MemorySegment to, long index, float value, boolean isInput) {
    if (takesFloats() || type == Type.F32) {
      to.setAtIndex(FLOAT, index, value);
    } else if (type == Type.BF16) {
      to.setAtIndex(ValueLayout.JAVA_SHORT, index, bfloat16(value));
    } else {
      to.set(ValueLayout.JAVA_BYTE, index, (byte) (isInput ? unsigned(value) : signed(value)));
    }
  }

  /** Packs all weights; subclasses call it when they are made. */
  final void packAll() {
    long bytes = 0;
    long most = 0;
    for (int i = 0; i < shapes.size(); i++) {
      bytes += aligned(packedBytes(i));
      most = Math.max(most, (long) shapes.get(i).in() * shapes.get(i).out());
    }
    MemorySegment region = Native.allocateHuge(arena, bytes);
    long next = 0;
    try (Arena reading = Arena.ofConfined()) {
      MemorySegment source = reading.allocate(most * Float.BYTES, ALIGNMENT);
      for (int i = 0; i < shapes.size(); i++) {
        Products.Shape shape = shapes.get(i);
        long elements = (long) shape.in() * shape.out();
        for (long n = 0; n < elements; n++) {
          store(source, n, Workload.value(SEED_W + i, n), false);
        }
        weights[i] = region.asSlice(next, packedBytes(i));
        next += aligned(packedBytes(i));
        pack(i, source, weights[i]);
      }
    }
    int in = shapes.stream().mapToInt(Products.Shape::in).max().orElseThrow();
    for (long n = 0; n < (long) rows * in; n++) {
      store(x, n, Workload.value(SEED_X, n), true);
    }
  }

  private static long aligned(long bytes) {
    return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
  }

  /** Multiplies once and compares some elements of the last product with double precision. */
  public void check() {
    calls(1);
    int last = shapes.size() - 1;
    int in = shapes.get(last).in();
    int columns = shapes.get(last).out();
    boolean quantized = type == Type.INT8 && !takesFloats();
    for (int n = 0; n < CHECKED; n++) {
      int row = n * 7919 % rows;
      int column = n * 104729 % columns;
      double sum = 0;
      double size = 0;
      for (int k = 0; k < in; k++) {
        float a = input(in, row, k);
        float b = weight(last, columns, k, column);
        double term = quantized ? (double) unsigned(a) * signed(b) : (double) a * b;
        sum += term;
        size += Math.abs(term);
      }
      long at = (long) row * columns + column;
      double got = quantized ? out.getAtIndex(INT, at) : out.getAtIndex(FLOAT, at);
      if (!(Math.abs(got - sum) <= (quantized ? 0 : 0.01 * size))) {
        throw new IllegalStateException(
            "%s, out[%d][%d]: expected %s, got %s".formatted(name, row, column, sum, got));
      }
    }
  }

  // ---- Peer ----------------------------------------------------------------------------------

  @Override
  public final void calls(long n) {
    for (long call = 0; call < n; call++) {
      for (int i = 0; i < weights.length; i++) {
        product(i, weights[i]);
      }
    }
  }

  @Override
  public Workload.Answer answer() {
    check();
    return (b, h, i, c) -> out.getAtIndex(FLOAT, c);
  }

  @Override
  public void close() {
    expectZero(gatun_h.gatun_context_destroy(context));
    arena.close();
  }

  // ---- Gatun ---------------------------------------------------------------------------------

  /** {@code gatun_packed_linear}: from floats to floats, whatever the type of the weights is. */
  static final class Gatun extends ProductPeer {
    private final MemorySegment[] packing = new MemorySegment[shapes.size()];
    private final MemorySegment[] descs = new MemorySegment[shapes.size()];
    private final MemorySegment bias;
    private final MemorySegment workspace;

    Gatun(Products products, Type type, int rows) {
      super("gatun", products, type, rows);
      long most = 0;
      MemorySegment bytes = arena.allocate(LONG);
      for (int i = 0; i < descs.length; i++) {
        Products.Shape shape = shapes.get(i);
        MemorySegment pack = gatun_pack_desc.allocate(arena);
        gatun_pack_desc.struct_size(pack, (int) gatun_pack_desc.sizeof());
        gatun_pack_desc.format(pack, type.format());
        gatun_pack_desc.dtype(pack, gatun_h.GATUN_DTYPE_F32());
        gatun_pack_desc.in_features(pack, shape.in());
        gatun_pack_desc.out_features(pack, shape.out());
        gatun_pack_desc.in_stride(pack, shape.out());
        gatun_pack_desc.out_stride(pack, 1);
        packing[i] = pack;
        MemorySegment desc = gatun_packed_linear_desc.allocate(arena);
        gatun_packed_linear_desc.struct_size(desc, (int) gatun_packed_linear_desc.sizeof());
        gatun_packed_linear_desc.format(desc, type.format());
        gatun_packed_linear_desc.rows(desc, rows);
        gatun_packed_linear_desc.in_features(desc, shape.in());
        gatun_packed_linear_desc.out_features(desc, shape.out());
        gatun_packed_linear_desc.x_row(desc, shape.in());
        gatun_packed_linear_desc.out_row(desc, shape.out());
        descs[i] = desc;
        expectZero(gatun_h.gatun_packed_linear_workspace_size(context, desc, bytes));
        most = Math.max(most, bytes.get(LONG, 0));
      }
      workspace = Native.allocateHuge(arena, most);
      bias =
          arena.allocate(FLOAT, shapes.stream().mapToInt(Products.Shape::out).max().orElseThrow());
      packAll();
    }

    @Override
    boolean takesFloats() {
      return true;
    }

    @Override
    long packedBytes(int i) {
      MemorySegment bytes = arena.allocate(LONG);
      expectZero(gatun_h.gatun_pack_size(packing[i], bytes, MemorySegment.NULL, 0));
      return bytes.get(LONG, 0);
    }

    @Override
    void pack(int i, MemorySegment source, MemorySegment to) {
      expectZero(
          gatun_h.gatun_pack(
              context,
              packing[i],
              source,
              MemorySegment.NULL,
              to,
              to.byteSize(),
              MemorySegment.NULL,
              0));
    }

    @Override
    void product(int i, MemorySegment packed) {
      expectZero(
          gatun_h.gatun_packed_linear(
              context,
              descs[i],
              workspace,
              workspace.byteSize(),
              packed,
              packed.byteSize(),
              x,
              bias,
              MemorySegment.NULL,
              MemorySegment.NULL,
              out));
    }

    @Override
    public String kernels() {
      try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
        return "tier " + runtime.tier();
      }
    }
  }

  // ---- OpenBLAS ------------------------------------------------------------------------------

  static final int ROW_MAJOR = 101;
  static final int NO_TRANSPOSE = 111;

  /** {@code cblas_sgemm} on weights as they lie: it has no way to pack them before. */
  static final class OpenBlas extends ProductPeer {
    private static final MethodHandle SGEMM =
        Linker.nativeLinker()
            .downcallHandle(
                Blas.sgemmAddress(),
                FunctionDescriptor.ofVoid(
                    INT,
                    INT,
                    INT,
                    INT,
                    INT,
                    INT,
                    FLOAT,
                    ValueLayout.ADDRESS,
                    INT,
                    ValueLayout.ADDRESS,
                    INT,
                    FLOAT,
                    ValueLayout.ADDRESS,
                    INT));

    OpenBlas(Products products, int rows) {
      super("openblas", products, Type.F32, rows);
      packAll();
    }

    @Override
    long packedBytes(int i) {
      return (long) shapes.get(i).in() * shapes.get(i).out() * Float.BYTES;
    }

    @Override
    void pack(int i, MemorySegment source, MemorySegment to) {
      to.copyFrom(source.asSlice(0, to.byteSize()));
    }

    @Override
    void product(int i, MemorySegment packed) {
      int n = shapes.get(i).out();
      int k = shapes.get(i).in();
      try {
        SGEMM.invokeExact(
            ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, rows, n, k, 1f, x, k, packed, n, 0f, out, n);
      } catch (Throwable e) {
        throw unexpected(e);
      }
    }

    @Override
    public String kernels() {
      try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
        return runtime.matMul().info().coreName();
      }
    }
  }
}
