package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.AttentiveTranslator;
import dev.gatun.nn.BeamSearch;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Generator;
import dev.gatun.nn.Sampling;
import dev.gatun.nn.Sequences;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The model of Bahdanau, Cho and Bengio 2015 against the equations of its appendix in PyTorch's
 * functions: seeded random weights, every step's logits, the tokens of greedy decoding.
 */
class RnnSearchTest extends PyTorchModels {

  private static final int SOURCE_WORDS = 40;
  private static final int TARGET_WORDS = 35;
  private static final int STATE = 33; // n
  private static final int EMBEDDING = 20; // m
  private static final int ALIGNMENT = 27; // n'
  private static final int READOUT = 14; // l
  private static final int START = 1;

  @BeforeEach
  void weights() {
    draw("source_embedding.weight", 1, 0, SOURCE_WORDS, EMBEDDING);
    draw("target_embedding.weight", 1, 0, TARGET_WORDS, EMBEDDING);
    unit("encoder.", "_l0", EMBEDDING);
    unit("encoder.", "_l0_reverse", EMBEDDING);
    linear("attention.query", ALIGNMENT, STATE);
    linear("attention.key", ALIGNMENT, 2 * STATE);
    draw("attention.energy.weight", 0.6, 0, 1, ALIGNMENT);
    linear("decoder.initial", STATE, STATE);
    unit("decoder.", "", EMBEDDING + 2 * STATE);
    linear("readout", 2 * READOUT, STATE + EMBEDDING + 2 * STATE);
    linear("output", TARGET_WORDS, READOUT);
  }

  private void unit(String part, String end, int in) {
    draw(part + "weight_ih" + end, 1 / Math.sqrt(in), 0, 3 * STATE, in);
    draw(part + "weight_hh" + end, 1 / Math.sqrt(STATE), 0, 3 * STATE, STATE);
    draw(part + "bias_ih" + end, 0.5, 0, 3 * STATE);
    draw(part + "bias_hh" + end, 0.5, 0, 3 * STATE);
  }

  private void linear(String name, int out, int in) {
    draw(name + ".weight", 1.5 / Math.sqrt(in), 0, out, in);
    draw(name + ".bias", 0.5, 0, out);
  }

  // ---- the paper's equations -----------------------------------------------------------------

  private Array weight(String name) {
    Tensor tensor = made.get(name);
    return torch.array(tensor.toFloatArray(), tensor.shape());
  }

  private Array product(Array x, String name) {
    return torch.linear(x, weight(name + ".weight"), weight(name + ".bias"));
  }

  private Array rows(Array all, int block) {
    return torch.slice(all, 0, block * STATE, (block + 1) * STATE);
  }

  /** A.1.1: s' = (1 - z) ∘ s + z ∘ s~, s~ = tanh(W x + U [r ∘ s]). */
  private Array unit(String part, String end, Array x, Array s) {
    Array u = weight(part + "weight_hh" + end);
    Array bias = weight(part + "bias_hh" + end);
    Array inputs = torch.linear(x, weight(part + "weight_ih" + end), weight(part + "bias_ih" + end));
    Array[] gate = new Array[2];
    for (int n = 0; n < 2; n++) {
      Array input = torch.slice(inputs, 1, n * STATE, (n + 1) * STATE);
      gate[n] = torch.sigmoid(torch.add(input, torch.linear(s, rows(u, n), rows(bias, n))));
    }
    Array open = torch.multiply(gate[0], s);
    Array input = torch.slice(inputs, 1, 2 * STATE, 3 * STATE);
    Array next = torch.tanh(torch.add(input, torch.linear(open, rows(u, 2), rows(bias, 2))));
    Array closed = torch.add(torch.multiply(gate[1], -1), 1);
    return torch.add(torch.multiply(closed, s), torch.multiply(gate[1], next));
  }

  private Array zeros() {
    return torch.array(new float[STATE], 1, STATE);
  }

  /** A.2.1: [h→; h←] of every word, [words, 2n]. */
  private Array encode(int[] source) {
    Array x = torch.embedding(weight("source_embedding.weight"), torch.ids(source, source.length));
    Array[] forward = new Array[source.length];
    Array[] both = new Array[source.length];
    Array h = zeros();
    for (int n = 0; n < source.length; n++) {
      h = unit("encoder.", "_l0", torch.slice(x, 0, n, n + 1), h);
      forward[n] = h;
    }
    h = zeros();
    for (int n = source.length - 1; n >= 0; n--) {
      h = unit("encoder.", "_l0_reverse", torch.slice(x, 0, n, n + 1), h);
      both[n] = torch.concat(1, forward[n], h);
    }
    return torch.concat(0, both);
  }

  /** A decoder of one text, one word after the other. */
  private final class Reference {
    private final Array annotations;
    private final Array keys;
    private Array s;

    Reference(int[] source) {
      annotations = encode(source);
      keys = product(annotations, "attention.key");
      Array first = torch.slice(torch.slice(annotations, 0, 0, 1), 1, STATE, 2 * STATE);
      s = torch.tanh(product(first, "decoder.initial")); // A.2.2
    }

    float[] next(int word) {
      Array y = torch.embedding(weight("target_embedding.weight"), torch.ids(new int[] {word}, 1));
      Array bent = torch.tanh(torch.add(keys, product(s, "attention.query"))); // A.1.2
      Array energies = torch.linear(bent, weight("attention.energy.weight"), null);
      Array alignment = torch.softmax(energies, 0);
      Array context = torch.matmul(torch.transpose(alignment, 0, 1), annotations);
      Array pairs =
          torch.reshape(product(torch.concat(1, s, y, context), "readout"), READOUT, 2); // A.2.2
      Array odd = torch.select(pairs, 1, 0);
      Array even = torch.select(pairs, 1, 1);
      Array maxima =
          torch.add(torch.relu(torch.add(odd, torch.multiply(even, -1))), even);
      s = unit("decoder.", "", torch.concat(1, y, context), s);
      return product(torch.reshape(maxima, 1, READOUT), "output").toFloats();
    }
  }

  // ---- tests ---------------------------------------------------------------------------------

  private AttentiveTranslator model() throws IOException {
    return RnnSearch.of(runtime, Weights.of(Safetensors.map(file(), arena), arena));
  }

  private static void within(String what, float[] want, float[] got, double bound) {
    double share = Difference.share(want, got);
    System.out.printf("%s: differs by at most %.1e of the greatest logit%n", what, share);
    assertTrue(share <= bound, what + ": " + share);
  }

  /**
   * Bounds are shares of the greatest logit: float32 on both sides, through some twenty steps; with
   * BF16 weights that have 8 bits. Texts of different lengths, each word's logits, in one pass and word by word. */
  @ParameterizedTest
  @CsvSource({"VIEW, 1e-5", "FP32, 1e-5", "BF16, 0.05"})
  void logits(WeightFormat format, double bound) throws IOException {
    int[] lengths = {9, 4, 1};
    int words = 8;
    int[] source = ids(14, SOURCE_WORDS);
    int[] target = ids(3 * words, TARGET_WORDS);
    float[] want = new float[3 * words * TARGET_WORDS];
    int at = 0;
    for (int n = 0; n < 3; n++) {
      int from = at;
      at += lengths[n];
      Reference reference = new Reference(Arrays.copyOfRange(source, from, at));
      for (int word = 0; word < words; word++) {
        int row = n * words + word;
        System.arraycopy(
            reference.next(target[row]), 0, want, row * TARGET_WORDS, TARGET_WORDS);
      }
    }
    AttentiveTranslator model = model().packed(arena, format);
    Sequences texts = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 9, 13, 14}, 4));
    Tensor annotations = Tensor.allocate(arena, DType.FLOAT32, 14, model.annotationDim());
    model.encode(null, Tensor.copyOf(arena, source, 14), texts, annotations);
    DecoderState state = model.newState(arena, 3, words, 9);
    model.remember(null, state, annotations, texts);
    Tensor ids = Tensor.copyOf(arena, target, 3, words);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 3, words, TARGET_WORDS);
    model.forward(null, state, ids, null, logits);
    within("RNNsearch, " + format, want, logits.toFloatArray(), bound);
    state.reset();
    Tensor token = Tensor.allocate(arena, DType.INT32, 3, 1);
    Tensor next = Tensor.allocate(arena, DType.FLOAT32, 3, TARGET_WORDS);
    Tensor steps = Tensor.allocate(arena, DType.FLOAT32, 3, words, TARGET_WORDS);
    for (int word = 0; word < words; word++) {
      token.copyFrom(ids.slice(1, word, word + 1));
      model.next(null, state, token, null, next);
      steps.select(1, word).copyFrom(next);
    }
    within("RNNsearch, " + format + ", word by word", want, steps.toFloatArray(), bound);
  }

  /** Greedy decoding, and a search with one beam and with several. */
  @Test
  void generation() throws IOException {
    int end = TARGET_WORDS - 1;
    made.get("output.bias").setFloat(-50, end); // no text ends before it is full
    int[] source = ids(11, SOURCE_WORDS);
    Reference reference = new Reference(source);
    int[] want = new int[12];
    int word = START;
    for (int n = 0; n < want.length; n++) {
      float[] logits = reference.next(word);
      word = 0;
      for (int i = 1; i < TARGET_WORDS; i++) {
        word = logits[i] > logits[word] ? i : word;
      }
      want[n] = word;
    }
    Path file = file();
    Tensor sourceIds = Tensor.copyOf(arena, source, 1, 11);
    Tensor start = Tensor.copyOf(arena, new int[] {START}, 1, 1);
    // example: bahdanau
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    AttentiveTranslator model = RnnSearch.of(runtime, weights).packed(arena, WeightFormat.FP32);
    Tensor annotations = Tensor.allocate(arena, DType.FLOAT32, 1, 11, model.annotationDim());
    model.encode(null, sourceIds, null, annotations); // once for each source text
    DecoderState state = model.newState(arena, 1, 100, 11); // 100 words, a source of 11
    model.remember(null, state, annotations, null); // U_a h of every word, once
    Generator generator = new Generator(model, state, null, arena);
    int[] words = generator.generate(start, 12, -1, Sampling.greedy());
    // end
    assertArrayEquals(want, words);
    state.reset();
    assertArrayEquals(want, generator.generate(start, 12, -1, Sampling.greedy()));

    List<BeamSearch.Hypothesis> one = search(model, annotations, 1, start);
    assertArrayEquals(want, one.getFirst().tokens());
    List<BeamSearch.Hypothesis> four = search(model, annotations, 4, start);
    assertTrue(
        four.getFirst().score() >= one.getFirst().score(), "more beams find nothing worse here");
  }

  private List<BeamSearch.Hypothesis> search(
      AttentiveTranslator model, Tensor annotations, int beams, Tensor start) {
    DecoderState state = model.newState(arena, beams, 100, 11);
    model.remember(null, state, annotations, null);
    return new BeamSearch(model, state, null, arena, 0).search(start, 12, TARGET_WORDS - 1);
  }

  @Test
  void refused() throws IOException {
    AttentiveTranslator model = model();
    DecoderState state = model.newState(arena, 2, 4, 3);
    Tensor ids = Tensor.copyOf(arena, new int[2], 2, 1);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 2, TARGET_WORDS);
    assertThrows(
        IllegalStateException.class, () -> model.next(null, state, ids, null, logits)); // no memory
    Tensor two = Tensor.allocate(arena, DType.FLOAT32, 3, 2 * STATE);
    Sequences empty = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 3, 3}, 3));
    says("memory: expected 1 row or more of sequence 1", () -> model.remember(null, state, two, empty));
    says(
        "annotations: expected",
        () -> model.encode(null, ids, null, Tensor.allocate(arena, DType.FLOAT32, 2, 1, STATE)));
    for (String name : List.copyOf(made.keySet())) {
      Tensor kept = made.remove(name);
      if (!name.contains("bias")) {
        says(name, () -> RnnSearch.of(runtime, Weights.of(made)));
      }
      long[] shape = kept.shape();
      shape[0]++;
      if (!name.endsWith("embedding.weight") && !name.equals("output.weight") && !name.equals("readout.weight")
          && !name.equals("attention.query.weight")) {
        made.put(name, Tensor.allocate(arena, DType.FLOAT32, shape));
        says(name.contains("_reverse") ? "" : name, () -> RnnSearch.of(runtime, Weights.of(made)));
      }
      made.put(name, kept);
    }
    made.put("decoder.other", ids);
    says("decoder.other", () -> RnnSearch.of(runtime, Weights.of(made)));
    assertEquals(2 * STATE, model.annotationDim());
  }

  private static void says(String message, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(message), message + ": " + e.getMessage());
  }
}
