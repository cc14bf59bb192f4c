package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** One after the other or with padding: the same rows, and offsets that are no such are refused. */
class SequencesTest {

  private static final int DIM = 16;
  private static final int SEQ = 6;
  private static final int[] LENGTHS = {4, 0, 6, 1};
  private static final int[] ENDS = {0, 4, 4, 10, 11};

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final Tensor x = parts.normal(11, DIM);
  private final Tensor out = parts.zeros(11, DIM);
  private final Sequences ragged = ragged(ENDS);
  private final Sequences padded = Sequences.padded(Run.lengths(arena, LENGTHS));

  @AfterEach
  void close() {
    arena.close();
  }

  private Sequences ragged(int... ends) {
    return Sequences.ragged(Tensor.copyOf(arena, ends, ends.length));
  }

  /** The rows with padding, which nobody may read. */
  private Tensor pad(Tensor rows) {
    Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, LENGTHS.length, SEQ, rows.size(1));
    tensor.fill(Float.NaN);
    for (int n = 0; n < LENGTHS.length; n++) {
      if (LENGTHS[n] > 0) {
        tensor.select(0, n).slice(0, 0, LENGTHS[n]).copyFrom(rows.slice(0, ENDS[n], ENDS[n + 1]));
      }
    }
    return tensor;
  }

  private void checkPadded(Tensor rows, Tensor got) {
    Tensor want = pad(rows);
    for (int n = 0; n < LENGTHS.length; n++) {
      if (LENGTHS[n] < SEQ) {
        want.select(0, n).slice(0, LENGTHS[n], SEQ).fill(0);
      }
    }
    Run.checkSameBits(want.toFloatArray(), got.toFloatArray(), "padded");
  }

  @Test
  void raggedAndPadded() {
    MultiHeadAttention attention = parts.attention(Causal.BOTTOM_RIGHT, DIM);
    Tensor got = parts.zeros(LENGTHS.length, SEQ, DIM);
    got.fill(7);
    attention.forward(x, ragged, out);
    attention.forward(pad(x), padded, got);
    checkPadded(out, got);
    for (int n = 0; n < LENGTHS.length; n++) {
      Tensor alone = parts.zeros(LENGTHS[n], DIM);
      attention.forward(x.slice(0, ENDS[n], ENDS[n + 1]), alone);
      Layers.checkClose(
          Layers.doubles(alone), out.slice(0, ENDS[n], ENDS[n + 1]).toFloatArray(), 3e-5);
    }

    MultiHeadAttention cross = parts.attention(Causal.NONE, DIM, 12, DIM).build();
    Tensor memory = parts.normal(9, 12);
    Sequences keys = ragged(0, 2, 5, 5, 9);
    cross.forward(null, x, ragged, memory, keys, out);
    cross.forward(null, pad(x), padded, memory, keys, got);
    checkPadded(out, got);

    TransformerEncoder encoder = parts.encoder(DIM);
    encoder.forward(x, ragged, out);
    encoder.forward(pad(x), padded, got);
    checkPadded(out, got);
    Tensor self = pad(x);
    encoder.forward(self, padded, self);
    checkPadded(out, self);
  }

  @Test
  void tokens() {
    DecoderOnlyModel model = parts.model(20);
    int[] all = parts.random.ints(11, 0, 20).toArray();
    Tensor ids = Tensor.copyOf(arena, all, 11);
    Tensor paddedIds = Tensor.copyOf(arena, new int[LENGTHS.length * SEQ], LENGTHS.length, SEQ);
    for (int n = 0; n < LENGTHS.length; n++) {
      for (int s = 0; s < SEQ; s++) {
        // Padding that is no token.
        int id = s < LENGTHS[n] ? all[ENDS[n] + s] : -1;
        paddedIds.segment().setAtIndex(ValueLayout.JAVA_INT, (long) n * SEQ + s, id);
      }
    }
    DecoderState state = model.newState(arena, LENGTHS.length, 8);
    Tensor logits = parts.zeros(11, 20);
    Tensor got = parts.zeros(LENGTHS.length, SEQ, 20);
    got.fill(7);
    model.forward(null, state, ids, ragged, logits);
    for (int n = 0; n < LENGTHS.length; n++) {
      assertEquals(LENGTHS[n], state.length(n));
    }
    state.reset();
    model.forward(null, state, paddedIds, padded, got);
    checkPadded(logits, got);
    state.reset();
    refused(
        "ids: expected 1 token or more of sequence 1, got none",
        () -> model.next(null, state, ids, ragged, parts.zeros(LENGTHS.length, 20)));

    // The scores after the last token of each.
    DecoderState three = model.newState(arena, 3, 8);
    Tensor last = parts.zeros(3, 20);
    model.next(null, three, ids, ragged(0, 4, 10, 11), last);
    for (int n = 0; n < 3; n++) {
      Layers.checkClose(
          Layers.doubles(logits.select(0, new int[] {3, 9, 10}[n])),
          last.select(0, n).toFloatArray(),
          3e-5);
    }
  }

  /** In a workspace that has computed nothing before. */
  @Test
  void noRows() {
    for (boolean text : new boolean[] {false, true}) {
      try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build()) {
        Tensor square = parts.matrix(32, 32);
        MultiHeadAttention attention =
            MultiHeadAttention.builder(runtime, 2)
                .query(square, null)
                .key(square, null)
                .value(square, null)
                .output(square, null)
                .build();
        if (text) {
          attention.forward(parts.zeros(0, 32), ragged(0), parts.zeros(0, 32));
        } else {
          Tensor rows = parts.normal(2, 3, 32);
          attention.forward(rows, Sequences.padded(Run.lengths(arena, new int[] {0, 0})), rows);
          assertArrayEquals(new float[2 * 3 * 32], rows.toFloatArray());
        }
      }
    }
  }

  @Test
  void offsetsThatAreRefused() {
    TransformerEncoder encoder = parts.encoder(DIM);
    float[] before = out.toFloatArray();
    for (String[] bad :
        new String[][] {
          {"1 11", "cuSeqlens[0]: expected 0, got 1"},
          {"-1 11", "cuSeqlens[0]: expected 0, got -1"},
          {"0", "cuSeqlens[0]: expected 11, the tokens there are, got 0"},
          {"0 10", "cuSeqlens[1]: expected 11, the tokens there are, got 10"},
          {"0 12", "cuSeqlens[1]: expected 11, the tokens there are, got 12"},
          {"0 12 11", "cuSeqlens[1]: expected 0 .. 11, got 12"},
          {"0 5 4 11", "cuSeqlens[2]: expected 5 .. 11, got 4"},
          {"0 -2147483648 11", "cuSeqlens[1]: expected 0 .. 11, got -2147483648"},
        }) {
      int[] ends = Arrays.stream(bad[0].split(" ")).mapToInt(Integer::parseInt).toArray();
      refused(bad[1], () -> encoder.forward(x, ragged(ends), out));
    }
    String shape = "cuSeqlens: expected [sequences + 1] int32, contiguous, got ";
    refused(
        shape + "[1, 5]",
        () ->
            encoder.forward(x, Sequences.ragged(Tensor.copyOf(arena, ENDS, 1, ENDS.length)), out));
    refused(
        shape + "[0]",
        () -> encoder.forward(x, Sequences.ragged(Tensor.allocate(arena, DType.INT32, 0)), out));
    refused(
        "cuSeqlens: expected [2] int32, contiguous, got [2] int64",
        () -> encoder.forward(x, Sequences.ragged(Tensor.allocate(arena, DType.INT64, 2)), out));
    refused(
        "x: expected [tokens, …] for ragged sequences, got [1, 11, 16]",
        () -> encoder.forward(x.reshape(1, 11, DIM), ragged, out.reshape(1, 11, DIM)));
    Tensor shared = Tensor.of(out.segment(), DType.INT32, 5);
    refused(
        "out: expected memory of its own, got memory shared with cuSeqlens",
        () -> encoder.forward(x, Sequences.ragged(shared), out));
    MultiHeadAttention cross = parts.attention(Causal.NONE, DIM, 12, DIM).build();
    refused(
        "memory: expected 4 sequences as x has, got 2",
        () -> cross.forward(null, x, ragged, parts.normal(9, 12), ragged(0, 4, 9), out));
    assertArrayEquals(before, out.toFloatArray(), "nothing was written");
    assertEquals(
        "lengths",
        assertThrows(NullPointerException.class, () -> Sequences.padded(null)).getMessage());
    assertEquals(
        "cuSeqlens",
        assertThrows(NullPointerException.class, () -> Sequences.ragged(null)).getMessage());
  }
}
