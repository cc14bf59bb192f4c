package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.closed;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.support.Placement;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Layers of packed weights against products in double, and against themselves. */
class PackedWeightTest {
  private static final int[] SIZES = {1, 2, 7, 16, 31, 48, 49, 64, 97, 200};

  private static final List<WeightFormat> PACKED =
      Arrays.stream(WeightFormat.values())
          .filter(f -> f != WeightFormat.AUTO && f != WeightFormat.VIEW)
          .toList();

  // ---- bounds, from gatun.h --------------------------------------------------------------------

  /**
   * What a sum of products may be off by: what rounding the weights and the row may change, and
   * 2⁻²⁴ for each addition. In the integer formats a row is off by one scale of its own at most, a
   * weight by half a scale (Q4_0: one) and the rounding of that to half precision.
   */
  private static double bound(WeightFormat format, double[] x, double[][] w, int out) {
    int in = x.length;
    double size = 0;
    double sumX = 0;
    double sumW = 0;
    double least = 0;
    double most = 0;
    double largest = 0;
    for (int i = 0; i < in; i++) {
      size += Math.abs(x[i] * w[i][out]);
      sumX += Math.abs(x[i]);
      sumW += Math.abs(w[i][out]);
      least = Math.min(least, x[i]);
      most = Math.max(most, x[i]);
      largest = Math.max(largest, Math.abs(w[i][out]));
    }
    double chain = (in + 5) * 0x1p-24 * size;
    return switch (format) {
      case FP32 -> chain;
      case BF16 -> chain + 1.01 * 0x1p-8 * size;
      case FP16 -> 1.01 * (chain + 0x1p-11 * size + 0x1p-25 * sumX);
      case INT8 -> {
        double row = (most - least) / 255;
        yield 1.01 * (chain + row * sumW + largest / 127 / 2 * (sumX + in * row));
      }
      case Q8_0, Q4_0 -> {
        double sum = chain;
        for (int begin = 0; begin < in; begin += 32) {
          double blockX = 0;
          double blockW = 0;
          double allX = 0;
          double allW = 0;
          for (int i = begin; i < Math.min(begin + 32, in); i++) {
            blockX = Math.max(blockX, Math.abs(x[i]));
            blockW = Math.max(blockW, Math.abs(w[i][out]));
            allX += Math.abs(x[i]);
            allW += Math.abs(w[i][out]);
          }
          double weight = format == WeightFormat.Q8_0 ? blockW * 0.6 / 127 : blockW * 1.01 / 8;
          double row = blockX / 127 / 2;
          sum += 1.01 * (row * allW + weight * (allX + 32 * row)) + 0x1p-24 * allX;
        }
        yield sum;
      }
      case AUTO, VIEW -> throw new AssertionError(format);
    };
  }

  private static double[][] matrix(Tensor weight) {
    double[][] w = new double[(int) weight.size(0)][(int) weight.size(1)];
    for (int i = 0; i < w.length; i++) {
      for (int o = 0; o < w[i].length; o++) {
        w[i][o] = weight.getFloat(i, o);
      }
    }
    return w;
  }

  private static void check(
      WeightFormat format,
      Tensor x,
      Tensor weight,
      Tensor bias,
      Activation activation,
      Tensor out) {
    double[][] w = matrix(weight);
    int outs = w[0].length;
    double[] all = Layers.doubles(x);
    float[] got = out.toFloatArray();
    for (int row = 0; row < all.length / w.length; row++) {
      double[] input = Arrays.copyOfRange(all, row * w.length, (row + 1) * w.length);
      for (int o = 0; o < outs; o++) {
        double sum = bias == null ? 0 : bias.getFloat(o);
        for (int i = 0; i < input.length; i++) {
          sum += input[i] * w[i][o];
        }
        double want = Layers.activation(activation, sum);
        // An activation is no steeper than 1.13, and has an error of its own.
        double bound = 1.13 * bound(format, input, w, o) + 1e-6 * Math.max(1, Math.abs(sum));
        assertEquals(want, got[row * outs + o], bound, "row %d, output %d".formatted(row, o));
      }
    }
  }

  // ---- numbers ---------------------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> againstDoubles() {
    return IntStream.range(0, 120)
        .mapToObj(
            n -> {
              Random random = new Random(SEED + n);
              WeightFormat format = PACKED.get(n % PACKED.size());
              int rows = SIZES[random.nextInt(SIZES.length)];
              int in = SIZES[random.nextInt(SIZES.length)];
              int outs = SIZES[random.nextInt(SIZES.length)];
              boolean transposed = random.nextBoolean();
              boolean biased = random.nextInt(4) > 0;
              Activation activation =
                  Activation.values()[n / PACKED.size() % Activation.values().length];
              int gap = random.nextInt(3);
              return dynamicTest(
                  "%s, %d rows, %d to %d, transposed %s, gap %d, bias %s, %s (seed %d)"
                      .formatted(
                          format, rows, in, outs, transposed, gap, biased, activation, SEED + n),
                  () -> {
                    try (Arena arena = Arena.ofConfined()) {
                      Tensor weight = Layers.weight(arena, random, in, outs, transposed, gap);
                      Tensor bias = biased ? Layers.normal(arena, random, outs) : null;
                      Placement.Placed x = Layers.rows(arena, rows, in, gap > 0);
                      x.tensor().copyFrom(Layers.draw(random, rows * in, 1));
                      Placement.Placed out = Layers.rows(arena, rows, outs, gap > 1);
                      Linear layer =
                          new Linear(Layers.runtime(2), weight, bias, activation)
                              .packed(arena, format);
                      assertEquals(format, layer.format());
                      assertEquals(in, layer.in());
                      assertEquals(outs, layer.out());
                      layer.forward(x.tensor(), out.tensor());
                      check(format, x.tensor(), weight, bias, activation, out.tensor());
                      out.checkSurroundings();
                    }
                  });
            });
  }

  /** A row alone, in a batch of any size, on one thread or two: the same bits. */
  @ParameterizedTest
  @EnumSource(names = {"FP32", "BF16", "FP16", "INT8", "Q8_0", "Q4_0"})
  void aRowHasTheSameBitsInAnyBatch(WeightFormat format) {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      for (int n = 0; n < 20; n++) {
        int in = SIZES[random.nextInt(SIZES.length)];
        int outs = SIZES[random.nextInt(SIZES.length)];
        int rows = 1 + random.nextInt(300);
        Tensor weight = Layers.weight(arena, random, in, outs);
        PackedWeight packed = PackedWeight.pack(Layers.runtime(1), arena, format, weight);
        Linear one = new Linear(Layers.runtime(1), packed, null, Activation.GELU);
        Linear two = new Linear(Layers.runtime(2), packed, null, Activation.GELU);
        Tensor x = Layers.normal(arena, random, rows, in);
        Tensor all = Tensor.allocate(arena, DType.FLOAT32, rows, outs);
        two.forward(x, all);
        Tensor alone = Tensor.allocate(arena, DType.FLOAT32, 1, outs);
        for (int i = 0; i < 10; i++) {
          int row = random.nextInt(rows);
          one.forward(x.slice(0, row, row + 1), alone);
          assertArrayEquals(all.select(0, row).toFloatArray(), alone.toFloatArray());
        }
      }
    }
  }

  /** 16-bit sources are what they are as floats, and AUTO keeps their type. */
  @Test
  void sourcesOf16Bits() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Tensor floats = Tensor.allocate(arena, DType.FLOAT32, 40, 70);
      Tensor halves = Tensor.allocate(arena, DType.FLOAT16, 70, 40);
      Tensor brains = Tensor.allocate(arena, DType.BFLOAT16, 40, 70);
      for (int i = 0; i < 40; i++) {
        for (int o = 0; o < 70; o++) {
          float value = random.nextInt(-128, 129) / 64f; // exact in either
          floats.setFloat(value, i, o);
          halves
              .segment()
              .setAtIndex(ValueLayout.JAVA_SHORT, o * 40L + i, Float.floatToFloat16(value));
          brains
              .segment()
              .setAtIndex(
                  ValueLayout.JAVA_SHORT,
                  i * 70L + o,
                  (short) (Float.floatToRawIntBits(value) >>> 16));
        }
      }
      GatunRuntime runtime = Layers.runtime(1);
      PackedWeight half =
          PackedWeight.pack(runtime, arena, WeightFormat.AUTO, halves.transpose(0, 1));
      PackedWeight brain = PackedWeight.pack(runtime, arena, WeightFormat.AUTO, brains);
      assertEquals(WeightFormat.FP16, half.format());
      assertEquals(WeightFormat.BF16, brain.format());
      assertEquals(
          WeightFormat.FP32, PackedWeight.pack(runtime, arena, WeightFormat.AUTO, floats).format());
      assertEquals(
          -1,
          half.segment()
              .mismatch(PackedWeight.pack(runtime, arena, WeightFormat.FP16, floats).segment()));
      assertEquals(
          -1,
          brain
              .segment()
              .mismatch(PackedWeight.pack(runtime, arena, WeightFormat.BF16, floats).segment()));
    }
  }

  /** Integers and scales of a file stay what they are: rows of whole numbers have exact results. */
  @Test
  void integersAreKept() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      Tensor weight = Tensor.allocate(arena, DType.INT8, 96, 50);
      byte[] bytes = new byte[96 * 50];
      random.nextBytes(bytes);
      weight.segment().copyFrom(MemorySegment.ofArray(bytes));
      float[] scale = new float[50];
      for (int o = 0; o < scale.length; o++) {
        scale[o] = Math.scalb(1f, random.nextInt(-9, 3));
      }
      Tensor scales = Tensor.copyOf(arena, scale, 50);
      GatunRuntime runtime = Layers.runtime(2);
      Linear layer =
          new Linear(
              runtime, PackedWeight.pack(runtime, arena, weight, scales), null, Activation.NONE);
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 5, 96);
      for (int row = 0; row < 5; row++) {
        for (int i = 0; i < 96; i++) {
          x.setFloat(i == 0 ? 0 : i == 1 ? 255 : random.nextInt(256), row, i);
        }
      }
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 5, 50);
      layer.forward(x, out);
      for (int row = 0; row < 5; row++) {
        for (int o = 0; o < 50; o++) {
          double sum = 0;
          for (int i = 0; i < 96; i++) {
            sum += x.getFloat(row, i) * bytes[i * 50 + o];
          }
          assertEquals((float) (sum * scale[o]), out.getFloat(row, o));
        }
      }
      refused(
          "scales: expected [50] float32",
          () -> PackedWeight.pack(runtime, arena, weight, scales.slice(0, 0, 49)));
      refused(
          "weight: expected [in, out] float32, bfloat16 or float16",
          () -> PackedWeight.pack(runtime, arena, WeightFormat.INT8, weight));
    }
  }

  // ---- layers of several -----------------------------------------------------------------------

  @Test
  void aGateIsFused() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      GatunRuntime runtime = Layers.runtime(2);
      Linear first =
          new Linear(
              runtime,
              Layers.weight(arena, random, 40, 100),
              Layers.normal(arena, random, 100),
              Activation.SILU);
      Linear gate =
          new Linear(runtime, Layers.weight(arena, random, 40, 100), null, Activation.NONE);
      Linear second =
          new Linear(runtime, Layers.weight(arena, random, 100, 30), null, Activation.NONE);
      Tensor x = Layers.normal(arena, random, 17, 40);
      Tensor want = Tensor.allocate(arena, DType.FLOAT32, 17, 30);
      Tensor got = Tensor.allocate(arena, DType.FLOAT32, 17, 30);
      new FeedForward(runtime, first, gate, second).forward(x, want);
      WeightFormat format = WeightFormat.FP32;
      new FeedForward(
              runtime,
              first.packed(arena, format),
              gate.packed(arena, format),
              second.packed(arena, format))
          .forward(x, got);
      assertArrayEquals(want.toFloatArray(), got.toFloatArray(), 2e-5f);
      refused("gate.out: expected 100, got 40", () -> badGate(arena, random, first, second));
      refused("second.in: expected 100, got 40", () -> badSecond(first, gate));
    }
  }

  private static void badGate(Arena arena, Random random, Linear first, Linear second) {
    Linear gate =
        new Linear(Layers.runtime(2), Layers.weight(arena, random, 40, 40), null, Activation.NONE);
    new FeedForward(Layers.runtime(2), first, gate, second);
  }

  private static void badSecond(Linear first, Linear gate) {
    new FeedForward(Layers.runtime(2), first, null, gate);
  }

  /** Fused or separate, of itself or another memory: what views compute. */
  @Test
  void attentionOfPackedWeights() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      GatunRuntime runtime = Layers.runtime(2);
      int dim = 24;
      Linear fused = linear(arena, random, runtime, dim, 2 * dim); // 4 heads share 2
      Linear output = linear(arena, random, runtime, dim, dim);
      MultiHeadAttention views = attention(runtime).fused(fused).output(output).build();
      MultiHeadAttention packed =
          attention(runtime)
              .fused(fused.packed(arena, WeightFormat.FP32))
              .output(output.packed(arena, WeightFormat.FP32))
              .build();
      MultiHeadAttention separate =
          attention(runtime)
              .query(fused.columns(0, dim).packed(arena, WeightFormat.FP32))
              .key(fused.columns(dim, dim + 12).packed(arena, WeightFormat.FP32))
              .value(fused.columns(dim + 12, 2 * dim).packed(arena, WeightFormat.FP32))
              .output(output)
              .build();
      Tensor x = Layers.normal(arena, random, 2, 9, dim);
      Tensor memory = Layers.normal(arena, random, 2, 5, dim);
      Sequences lengths = Sequences.padded(Tensor.copyOf(arena, new int[] {9, 4}, 2));
      for (boolean self : new boolean[] {true, false}) {
        float[] want = run(arena, views, x, lengths, self ? null : memory);
        assertArrayEquals(want, run(arena, packed, x, lengths, self ? null : memory), 2e-6f);
        assertArrayEquals(want, run(arena, separate, x, lengths, self ? null : memory), 2e-6f);
      }
      refused(
          "query: expected the activation NONE",
          () ->
              attention(runtime)
                  .query(
                      new Linear(
                          runtime, Layers.weight(arena, random, 4, 4), null, Activation.RELU)));
      assertEquals(dim, packed.in());
      assertEquals(dim, packed.memoryDim());
    }
  }

  private static MultiHeadAttention.Builder attention(GatunRuntime runtime) {
    return MultiHeadAttention.builder(runtime, 4).kvHeads(2);
  }

  private static Linear linear(Arena arena, Random random, GatunRuntime runtime, int in, int out) {
    return new Linear(
        runtime,
        Layers.weight(arena, random, in, out),
        Layers.normal(arena, random, out),
        Activation.NONE);
  }

  private static float[] run(
      Arena arena, MultiHeadAttention attention, Tensor x, Sequences lengths, Tensor memory) {
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, x.shape());
    if (memory == null) {
      attention.forward(x, lengths, out);
    } else {
      attention.forward(null, x, lengths, memory, null, out);
    }
    return out.toFloatArray();
  }

  // ---- bytes and mistakes ----------------------------------------------------------------------

  @Test
  void bytesCanBeMovedAndAreChecked() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      GatunRuntime runtime = Layers.runtime(1);
      Tensor weight = Layers.weight(arena, random, 33, 50);
      PackedWeight packed = PackedWeight.pack(runtime, arena, WeightFormat.INT8, weight);
      MemorySegment copy = arena.allocate(packed.segment().byteSize() + 100, 64);
      copy.copyFrom(packed.segment());
      PackedWeight read = PackedWeight.of(copy);
      assertEquals(packed.toString(), read.toString());
      Tensor x = Layers.normal(arena, random, 3, 33);
      Tensor want = Tensor.allocate(arena, DType.FLOAT32, 3, 50);
      Tensor got = Tensor.allocate(arena, DType.FLOAT32, 3, 50);
      new Linear(runtime, packed, null, Activation.NONE).forward(x, want);
      new Linear(runtime, read, null, Activation.NONE).forward(x, got);
      assertArrayEquals(want.toFloatArray(), got.toFloatArray());
      refused("packed: expected native memory", () -> PackedWeight.of(copy.asSlice(1)));
      refused(
          "packed: expected native memory",
          () -> PackedWeight.of(MemorySegment.ofArray(new long[100])));
      refused("packed", () -> PackedWeight.of(copy.asSlice(0, 64)));
      refused("packed", () -> PackedWeight.of(arena.allocate(4096, 64)));
      for (int n = 0; n < 200; n++) {
        MemorySegment damaged = arena.allocate(copy.byteSize(), 64);
        damaged.copyFrom(copy);
        long at = random.nextInt(64);
        damaged.set(
            ValueLayout.JAVA_BYTE,
            at,
            (byte) (damaged.get(ValueLayout.JAVA_BYTE, at) ^ 1 << random.nextInt(8)));
        refused("packed", () -> PackedWeight.of(damaged));
      }
    }
  }

  @Test
  void mistakes() {
    Random random = new Random(SEED);
    try (Arena arena = Arena.ofConfined()) {
      GatunRuntime runtime = Layers.runtime(1);
      Tensor weight = Layers.weight(arena, random, 8, 6);
      Linear view = new Linear(runtime, weight, null, Activation.NONE);
      assertSame(view, view.packed(arena, WeightFormat.VIEW));
      assertEquals(WeightFormat.VIEW, view.format());
      Linear packed = view.packed(arena, WeightFormat.BF16);
      assertSame(packed, packed.packed(arena, WeightFormat.BF16));
      assertSame(packed, packed.packed(arena, WeightFormat.AUTO));
      refused(
          "format: expected BF16, as the weight is packed already, got INT8",
          () -> packed.packed(arena, WeightFormat.INT8));
      refused(
          "format: expected one that is packed, got VIEW",
          () -> PackedWeight.pack(runtime, arena, WeightFormat.VIEW, weight));
      refused(
          "weight: expected [in, out], got [8]",
          () -> PackedWeight.pack(runtime, arena, WeightFormat.FP32, weight.select(1, 0)));
      refused(
          "bias: expected [6] float32",
          () ->
              new Linear(
                  runtime,
                  PackedWeight.pack(runtime, arena, WeightFormat.FP32, weight),
                  Layers.normal(arena, random, 8),
                  Activation.NONE));
      MemorySegment bytes = arena.allocate(8192, 64);
      PackedWeight fp32 =
          PackedWeight.pack(
              runtime, (size, _) -> bytes.asSlice(0, size), WeightFormat.FP32, weight);
      Tensor inside = Tensor.of(bytes.asSlice(128, 24), DType.FLOAT32, 1, 6);
      Tensor x = Layers.normal(arena, random, 1, 8);
      refused(
          "out: expected memory of its own, got memory shared with weight",
          () -> new Linear(runtime, fp32, null, Activation.NONE).forward(x, inside));
      assertTrue(fp32.segment().isReadOnly());
      MemorySegment readOnly = arena.allocate(8192, 64).asReadOnly();
      for (SegmentAllocator bad :
          List.<SegmentAllocator>of(
              (_, _) -> readOnly,
              (_, _) -> arena.allocate(64, 64),
              (_, _) -> arena.allocate(8192, 64).asSlice(4),
              (_, _) -> MemorySegment.ofArray(new long[1024]))) {
        refused(
            "memory: expected", () -> PackedWeight.pack(runtime, bad, WeightFormat.FP32, weight));
      }
      assertEquals(
          fp32.segment().byteSize(),
          PackedWeight.pack(runtime, (_, _) -> arena.allocate(9000, 64), WeightFormat.FP32, weight)
              .segment()
              .byteSize());
      refused(
          "weight: expected at most 65536 inputs for INT8",
          () ->
              PackedWeight.pack(
                  runtime,
                  arena,
                  WeightFormat.INT8,
                  Tensor.allocate(arena, DType.FLOAT32, 65537, 1)));
      refused(
          "gate: expected the activation NONE, got RELU",
          () ->
              new FeedForward(
                  runtime, view, new Linear(runtime, weight, null, Activation.RELU), view));
    }
  }

  @Test
  void aClosedArenaIsNoticed() {
    GatunRuntime runtime = Layers.runtime(1);
    Arena weights = Arena.ofConfined();
    try (Arena arena = Arena.ofConfined()) {
      Linear layer =
          new Linear(runtime, Layers.weight(arena, new Random(1), 8, 6), null, Activation.NONE)
              .packed(weights, WeightFormat.INT8);
      Tensor x = Layers.normal(arena, new Random(2), 1, 8);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 6);
      layer.forward(x, out);
      weights.close();
      closed(() -> layer.forward(x, out));
    }
  }
}
