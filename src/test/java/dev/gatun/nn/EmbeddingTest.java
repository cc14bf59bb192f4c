package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.support.Placement;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

class EmbeddingTest {

  private static final int VOCABULARY = 7;
  private static final int DIM = 10;
  private static final int[] IDS = {3, 0, 6, 6, 1, 5, 2, 4};

  /** Sums of three floats of up to 20, or what a norm makes of them. */
  private static final double BOUND = 1e-5;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final Tensor table = parts.normal(VOCABULARY, DIM);
  private final Tensor ids = Tensor.copyOf(arena, IDS, 2, 4);

  @AfterEach
  void close() {
    arena.close();
  }

  private double[] expected(double factor, Tensor positions, Tensor types) {
    double[] rows = new double[IDS.length * DIM];
    for (int n = 0; n < IDS.length; n++) {
      for (int i = 0; i < DIM; i++) {
        rows[n * DIM + i] =
            factor * table.getFloat(IDS[n], i)
                + (positions == null ? 0 : positions.getFloat(n % 4, i))
                + (types == null ? 0 : types.getFloat(0, i));
      }
    }
    return rows;
  }

  private void check(Embedding embedding, double[] want) {
    Placement.Placed out = Placement.BSHD.empty(arena, 2, 4, 1, DIM);
    embedding.forward(null, ids, null, Layers.sequences(out));
    Layers.checkClose(want, out.tensor().toFloatArray(), BOUND);
    out.checkSurroundings();
    Tensor own = parts.zeros(2, 4, DIM);
    try (Workspace workspace = parts.runtime.newWorkspace()) {
      embedding.forward(workspace, ids, null, own);
    }
    Layers.checkClose(want, own.toFloatArray(), BOUND);
  }

  @Test
  void againstLoops() {
    float factor = (float) Math.sqrt(DIM);
    PositionalEncoding[] encodings = {
      PositionalEncoding.none(),
      PositionalEncoding.alibi(arena, 2),
      PositionalEncoding.sinusoidal(arena, 4, DIM),
      PositionalEncoding.learned(parts.normal(9, DIM))
    };
    Tensor gamma = parts.normal(DIM);
    Tensor beta = parts.normal(DIM);
    for (PositionalEncoding encoding : encodings) {
      Tensor positions = encoding.table();
      check(
          new Embedding(parts.runtime, table, factor, encoding), expected(factor, positions, null));
      for (Tensor types : new Tensor[] {null, parts.normal(2, DIM)}) {
        check(
            new Embedding(parts.runtime, table, -0.5f, encoding, types, null),
            expected(-0.5, positions, types));
        double[] want = expected(1, positions, types);
        Parts.normalize(want, gamma, beta, 1e-3);
        Norm norm = new LayerNorm(parts.runtime, gamma, beta, 1e-3f);
        check(new Embedding(parts.runtime, table, 1, encoding, types, norm), want);
      }
    }
  }

  /** Without a factor or a table there is nothing to round. */
  @Test
  void rowsAreCopied() {
    Embedding embedding = new Embedding(parts.runtime, table, 1, PositionalEncoding.none());
    Tensor out = parts.zeros(2, 4, DIM);
    embedding.forward(null, ids, null, out);
    for (int n = 0; n < IDS.length; n++) {
      Run.checkSameBits(
          table.select(0, IDS[n]).toFloatArray(),
          out.select(0, n / 4).select(0, n % 4).toFloatArray(),
          "row " + n);
    }
    assertEquals(VOCABULARY, embedding.vocabulary());
    assertEquals(DIM, embedding.dim());
    embedding.forward(
        null, Tensor.allocate(arena, DType.INT32, 0, 4), null, parts.zeros(0, 4, DIM));
  }

  /** Section 3.4: logits by the same table; its rows are not scaled there. */
  @Test
  void outputSharesTheTable() {
    Embedding embedding =
        new Embedding(parts.runtime, table, 3, PositionalEncoding.sinusoidal(arena, 4, DIM));
    Linear output = embedding.output();
    assertEquals(DIM, output.in());
    assertEquals(VOCABULARY, output.out());
    Tensor hidden = parts.normal(5, DIM);
    Tensor logits = parts.zeros(5, VOCABULARY);
    output.forward(hidden, logits);
    double[] want = new double[5 * VOCABULARY];
    for (int row = 0; row < 5; row++) {
      for (int token = 0; token < VOCABULARY; token++) {
        for (int i = 0; i < DIM; i++) {
          want[row * VOCABULARY + token] +=
              (double) hidden.getFloat(row, i) * table.getFloat(token, i);
        }
      }
    }
    Layers.checkClose(want, logits.toFloatArray(), BOUND);
    table.setFloat(100, 2, 0); // not copied
    hidden.fill(1);
    output.forward(hidden, logits);
    double sum = 0;
    for (int i = 0; i < DIM; i++) {
      sum += table.getFloat(2, i);
    }
    assertEquals(sum, logits.getFloat(4, 2), 1e-4);
  }

  @Test
  @Tag("asan")
  void argumentsThatAreRefused() {
    Embedding embedding =
        new Embedding(parts.runtime, table, 1, PositionalEncoding.sinusoidal(arena, 4, DIM));
    Placement.Placed placed = Placement.BSHD.empty(arena, 2, 4, 1, DIM);
    Tensor out = Layers.sequences(placed);
    for (int bad : new int[] {7, -1, Integer.MIN_VALUE, Integer.MAX_VALUE}) {
      int[] some = IDS.clone();
      some[6] = bad;
      refused(
          "ids[6]: expected 0 .. 6, got " + bad,
          () -> embedding.forward(null, Tensor.copyOf(arena, some, 2, 4), null, out));
    }
    refused(
        "out: expected [8, 10] float32, got [2, 4, 10]",
        () -> embedding.forward(null, ids.reshape(8), null, out));
    refused(
        "ids: expected at most 4 positions, got 8",
        () -> embedding.forward(null, ids.reshape(8), null, out.reshape(8, DIM)));
    refused(
        "ids: expected [batch, seq] or [tokens] int32, contiguous, got [2, 2, 2] int32",
        () -> embedding.forward(null, ids.reshape(2, 2, 2), null, out));
    refused("ids:", () -> embedding.forward(null, ids.transpose(0, 1), null, out));
    refused(
        "ids: expected [batch, seq] or [tokens] int32, contiguous, got [2, 4] int64",
        () -> embedding.forward(null, Tensor.allocate(arena, DType.INT64, 2, 4), null, out));
    refused(
        "ids: expected at most 4 positions, got 5",
        () ->
            embedding.forward(
                null, Tensor.allocate(arena, DType.INT32, 1, 5), null, parts.zeros(1, 5, DIM)));
    refused("out:", () -> embedding.forward(null, ids, null, out.slice(0, 0, 1)));
    refused("out:", () -> embedding.forward(null, ids, null, out.reshape(8, DIM)));
    refused("out:", () -> embedding.forward(null, ids, null, out.reshape(4, 2, DIM)));
    refused("out:", () -> embedding.forward(null, ids, null, out.asReadOnly()));
    refused("out:", () -> embedding.forward(null, ids, null, parts.zeros(2, 4, DIM - 1)));
    try (Workspace foreign = Layers.runtime(1).newWorkspace()) {
      refused("workspace:", () -> embedding.forward(foreign, ids, null, out));
    }
    assertThrows(NullPointerException.class, () -> embedding.forward(null, null, null, out));
    assertThrows(NullPointerException.class, () -> embedding.forward(null, ids, null, null));
    placed.checkUntouched();
    embedding.forward(null, ids, null, out);
    Tensor alone = parts.zeros(4, DIM);
    embedding.forward(null, ids.select(0, 1), null, alone);
    Run.checkSameBits(out.select(0, 1).toFloatArray(), alone.toFloatArray(), "[tokens]");
  }

  private Tensor numbers() {
    Tensor numbers = Tensor.allocate(arena, DType.UINT8, VOCABULARY, DIM);
    for (int i = 0; i < VOCABULARY * DIM; i++) {
      numbers.segment().set(ValueLayout.JAVA_BYTE, i, (byte) (i * 37));
    }
    return numbers;
  }

  /** The same bits as with the floats that its numbers stand for. */
  @Test
  void quantizedTable() {
    Tensor numbers = numbers();
    float scale = 0.0173f;
    int zero = 119;
    Tensor floats = parts.zeros(VOCABULARY, DIM);
    for (int i = 0; i < VOCABULARY * DIM; i++) {
      int number = Byte.toUnsignedInt(numbers.segment().get(ValueLayout.JAVA_BYTE, i));
      floats.setFloat((number - zero) * scale, i / DIM, i % DIM);
    }
    QuantizedTable quantized = new QuantizedTable(numbers, scale, zero);
    PositionalEncoding positions = PositionalEncoding.sinusoidal(arena, 4, DIM);
    Tensor types = parts.normal(2, DIM);
    Norm norm = parts.norm(DIM);
    for (float factor : new float[] {1, -2.5f}) {
      Embedding bytes = new Embedding(parts.runtime, quantized, factor, positions, types, norm);
      Tensor want = parts.zeros(2, 4, DIM);
      new Embedding(parts.runtime, floats, factor, positions, types, norm)
          .forward(null, ids, null, want);
      Tensor got = parts.zeros(2, 4, DIM);
      bytes.forward(null, ids, null, got);
      Run.checkSameBits(want.toFloatArray(), got.toFloatArray(), "quantized");
      assertEquals(VOCABULARY, bytes.vocabulary());
      assertEquals(DIM, bytes.dim());
      assertEquals(
          "table: expected float32 for a projection to logits, got uint8",
          assertThrows(UnsupportedOperationException.class, bytes::output).getMessage());
    }
  }

  @Test
  void quantizedTablesThatAreRefused() {
    Tensor numbers = numbers();
    refused(
        "numbers: expected [vocabulary, dim] uint8, contiguous, got [7, 10] float32",
        () -> new QuantizedTable(table, 1, 0));
    refused("numbers:", () -> new QuantizedTable(numbers.transpose(0, 1), 1, 0));
    refused("numbers:", () -> new QuantizedTable(numbers.reshape(70), 1, 0));
    refused(
        "numbers:",
        () -> new QuantizedTable(Tensor.allocate(arena, DType.INT8, VOCABULARY, DIM), 1, 0));
    for (float bad : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
      refused("scale: expected", () -> new QuantizedTable(numbers, bad, 0));
    }
    refused("zeroPoint: expected 0 .. 255, got -1", () -> new QuantizedTable(numbers, 1, -1));
    refused("zeroPoint: expected 0 .. 255, got 256", () -> new QuantizedTable(numbers, 1, 256));
    QuantizedTable quantized = new QuantizedTable(numbers, 1, 0);
    PositionalEncoding none = PositionalEncoding.none();
    refused(
        "norm: expected 10, got 4",
        () -> new Embedding(parts.runtime, quantized, 1, none, null, parts.norm(4)));
    Tensor out = Tensor.of(numbers.segment(), DType.FLOAT32, 1, DIM);
    refused(
        "out:",
        () ->
            new Embedding(parts.runtime, quantized, 1, none, null, null)
                .forward(null, ids.select(0, 0).slice(0, 0, 1), null, out));
  }

  private void refusedTable(String start, Tensor bad) {
    refused(start, () -> new Embedding(parts.runtime, bad, 1, PositionalEncoding.none()));
  }

  private void refusedTypes(String start, Tensor bad) {
    refused(
        start, () -> new Embedding(parts.runtime, table, 1, PositionalEncoding.none(), bad, null));
  }

  @Test
  void parametersThatAreRefused() {
    refusedTable("table:", parts.zeros(10));
    refusedTable("table:", parts.zeros(0, 10));
    refusedTable("table:", parts.zeros(7, 0));
    refusedTable("table:", parts.zeros(10, 7).transpose(0, 1));
    refusedTable(
        "table: expected [vocabulary, dim] float32, contiguous, got [7, 10] int32",
        Tensor.allocate(arena, DType.INT32, 7, 10));
    refusedTypes("types:", parts.zeros(DIM));
    refusedTypes("types:", parts.zeros(0, DIM));
    refusedTypes("types: expected [types, 10] float32", parts.zeros(2, 9));
    refusedTypes("types:", parts.zeros(DIM, 2).transpose(0, 1));
    refusedTypes("types:", Tensor.allocate(arena, DType.INT32, 2, DIM));
    PositionalEncoding none = PositionalEncoding.none();
    for (float bad : new float[] {0, -0f, Float.NaN, Float.NEGATIVE_INFINITY}) {
      refused("factor:", () -> new Embedding(parts.runtime, table, bad, none));
    }
    PositionalEncoding narrow = PositionalEncoding.sinusoidal(arena, 4, 9);
    refused(
        "encoding: expected [positions, 10] float32, got [4, 9]",
        () -> new Embedding(parts.runtime, table, 1, narrow));
    refused(
        "norm: expected 10, got 4",
        () -> new Embedding(parts.runtime, table, 1, none, null, parts.norm(4)));
    assertThrows(NullPointerException.class, () -> new Embedding(null, table, 1, none));
    assertThrows(NullPointerException.class, () -> new Embedding(parts.runtime, null, 1, none));
    assertThrows(NullPointerException.class, () -> new Embedding(parts.runtime, table, 1, null));
  }
}
