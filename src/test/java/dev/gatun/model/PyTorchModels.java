package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.DecoderModel;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.io.TempDir;

/**
 * Models whose weights PyTorch has as well. Each goes through a safetensors file on its way to
 * Gatun. Bounds are shares of the greatest element: float32 rounds on both sides.
 */
abstract class PyTorchModels {
  static final double MODULE_BOUND = 2e-5;
  static final double FAMILY_BOUND = 1e-4;

  /** What leaving out a window, a cap or a base changes, at least: a hundred times the bound. */
  static final double MATTERS = 100 * FAMILY_BOUND;

  final Arena arena = Arena.ofShared();
  final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  final Random random = new Random(7);
  final Torch torch = Torch.float32();

  /** What {@link #draw} has made, by name. */
  final Map<String, Tensor> made = new HashMap<>();

  /** Whether weights are drawn that files of 16-bit floats hold as they are. */
  boolean inAllTypes;

  @TempDir Path folder;

  @AfterEach
  void close() {
    torch.close();
    runtime.close();
    arena.close();
  }

  /** A padded batch of these texts has the bits of a ragged one, and zeros for padding. */
  final void paddedAsRagged(TextEncoder model, int[] padded, int[] lengths, float[] ragged) {
    int batch = lengths.length;
    int seq = padded.length / batch;
    int width = Math.toIntExact(model.dim());
    Tensor rows = Tensor.allocate(arena, DType.FLOAT32, batch, seq, width);
    rows.fill(Float.NaN);
    model.forward(
        Tensor.copyOf(arena, padded, batch, seq),
        Sequences.padded(Tensor.copyOf(arena, lengths, batch)),
        rows);
    for (int n = 0, row = 0; n < batch; n++) {
      for (int s = 0; s < seq; s++) {
        for (int i = 0; i < width; i++) {
          float expected = s < lengths[n] ? ragged[(row + s) * width + i] : 0;
          assertEquals(expected, rows.getFloat(n, s, i), "text %d, token %d".formatted(n, s));
        }
      }
      row += lengths[n];
    }
  }

  /** What a test computes with a model. */
  interface Run {
    float[] run(Checkpoint checkpoint) throws IOException;
  }

  /** A packed folder has the bits of the folder that it was packed from, loaded in its format. */
  final void packedAlike(FolderInspection.Kind kind, Path model, Run run, WeightFormat... formats)
      throws IOException {
    for (WeightFormat format : formats) {
      float[] want = run.run(Checkpoint.open(model, runtime, arena, format));
      Path packed = Files.createTempDirectory(folder, "packed");
      ModelPacker.write(runtime, model, kind, format, packed);
      for (WeightFormat asked : new WeightFormat[] {WeightFormat.AUTO, format}) {
        float[] got = run.run(Checkpoint.open(packed, runtime, arena, asked));
        assertArrayEquals(want, got, () -> kind + ", " + format);
      }
      for (float each : want) {
        assertTrue(Float.isFinite(each));
      }
    }
  }

  /** A file with all weights that were made. */
  final Path file() throws IOException {
    Path file = folder.resolve("model.safetensors");
    Safetensors.write(file, made, Map.of());
    return file;
  }

  final Tensor normal(double deviation, long... shape) {
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (deviation * random.nextGaussian());
    }
    return Tensor.copyOf(arena, values, shape);
  }

  /** A weight; one that is there already, as layers may share it, is the same again. */
  final Array draw(String name, double deviation, double mean, long... shape) {
    if (made.containsKey(name)) {
      return torch.array(made.get(name).toFloatArray(), shape);
    }
    Tensor tensor = normal(deviation, shape);
    float[] values = tensor.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] += (float) mean;
      values[i] = inAllTypes ? ModelFolders.inAllTypes(values[i]) : values[i];
    }
    tensor.copyFrom(values);
    made.put(name, tensor);
    return torch.array(values, shape);
  }

  final Array matrix(String name, long out, long in) {
    return draw(name, 1 / Math.sqrt(in), 0, out, in);
  }

  final Array gamma(String name, long size) {
    return draw(name, 0.2, 1, size);
  }

  final Array bias(String name, long size) {
    return draw(name, 0.2, 0, size);
  }

  static void close(String what, float[] want, float[] got, double bound) {
    double share = Difference.share(want, got);
    System.out.printf(
        "%s: differs from PyTorch by at most %.1e of the greatest element%n", what, share);
    assertTrue(share <= bound, what + ": " + share + " of the greatest element");
  }

  /** All tokens in one pass, and then one by one: both must be what PyTorch says. */
  final void checkModel(
      String what, DecoderModel model, DecoderState state, int[] ids, int batch, Array want) {
    int seq = ids.length / batch;
    Tensor tokens = Tensor.copyOf(arena, ids, batch, seq);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, batch, seq, model.vocabulary());
    model.forward(null, state, tokens, null, logits);
    close(what, want.toFloats(), logits.toFloatArray(), FAMILY_BOUND);
    state.reset();
    Tensor token = Tensor.allocate(arena, DType.INT32, batch, 1);
    Tensor next = Tensor.allocate(arena, DType.FLOAT32, batch, model.vocabulary());
    Tensor steps = Tensor.allocate(arena, DType.FLOAT32, batch, seq, model.vocabulary());
    for (int s = 0; s < seq; s++) {
      token.copyFrom(tokens.slice(1, s, s + 1));
      model.next(null, state, token, null, next);
      steps.select(1, s).copyFrom(next);
    }
    close(what + ", step by step", want.toFloats(), steps.toFloatArray(), FAMILY_BOUND);
  }

  /** A block of BERT, ViT or CLIP: projections with biases under names of their own. */
  final Array block(
      Array x,
      int heads,
      boolean pre,
      double epsilon,
      Array mask,
      boolean causal,
      UnaryOperator<Array> activation,
      String... names) {
    long batch = x.shape()[0];
    long seq = x.shape()[1];
    long width = x.shape()[2];
    Array h = pre ? norm(x, names[4], epsilon) : x;
    Array context =
        merge(
            torch.attention(
                split(dense(h, names[0], width), batch, seq, heads, width / heads),
                split(dense(h, names[1], width), batch, seq, heads, width / heads),
                split(dense(h, names[2], width), batch, seq, heads, width / heads),
                mask,
                causal,
                Double.NaN),
            batch,
            seq,
            width);
    x = torch.add(x, dense(context, names[3], width));
    x = pre ? x : norm(x, names[4], epsilon);
    h = pre ? norm(x, names[7], epsilon) : x;
    x = torch.add(x, dense(activation.apply(dense(h, names[5], 3 * width)), names[6], width));
    return pre ? x : norm(x, names[7], epsilon);
  }

  final Array dense(Array x, String name, long out) {
    long in = x.shape()[x.shape().length - 1];
    return torch.linear(x, matrix(name + ".weight", out, in), bias(name + ".bias", out));
  }

  final Array norm(Array x, String name, double epsilon) {
    long width = x.shape()[x.shape().length - 1];
    return torch.layerNorm(x, gamma(name + ".weight", width), bias(name + ".bias", width), epsilon);
  }

  final int[] ids(int count, int vocabulary) {
    return random.ints(count, 0, vocabulary).toArray();
  }

  final Array split(Array x, long batch, long seq, long heads, long size) {
    return torch.transpose(torch.reshape(x, batch, seq, heads, size), 1, 2);
  }

  final Array merge(Array x, long batch, long seq, long width) {
    return torch.reshape(torch.transpose(x, 1, 2), batch, seq, width);
  }

  /** rotate_half of Hugging Face's LLaMA: x cos + (-x2, x1) sin. */
  final Array turn(Array x, int seq, int size, double base) {
    float[] cos = new float[seq * size];
    float[] sin = new float[seq * size];
    for (int p = 0; p < seq; p++) {
      for (int i = 0; i < size; i++) {
        double angle = p * Math.exp(-Math.log(base) * 2 * (i % (size / 2)) / size);
        cos[p * size + i] = (float) Math.cos(angle);
        sin[p * size + i] = (float) Math.sin(angle);
      }
    }
    long half = size / 2;
    Array turned =
        torch.concat(
            3, torch.multiply(torch.slice(x, 3, half, size), -1), torch.slice(x, 3, 0, half));
    return torch.add(
        torch.multiply(x, torch.array(cos, 1, 1, seq, size)),
        torch.multiply(turned, torch.array(sin, 1, 1, seq, size)));
  }

  /**
   * Softmax of capped, masked scores times values, from its parts.
   *
   * @param q [batch, heads, seq, size]
   * @param k [batch, kvHeads, seq, size]
   * @param v as k
   * @param cap of the scores, or 0
   * @param mask broadcasts to [batch, heads, seq, seq], is added
   */
  final Array attend(Array q, Array k, Array v, double scale, double cap, Array mask) {
    long[] shape = q.shape();
    long kvHeads = k.shape()[1];
    long group = shape[1] / kvHeads;
    Array grouped = torch.reshape(q, shape[0], kvHeads, group * shape[2], shape[3]);
    Array scores = torch.multiply(torch.matmul(grouped, torch.transpose(k, 2, 3)), scale);
    if (cap > 0) {
      scores = torch.multiply(torch.tanh(torch.multiply(scores, 1 / cap)), cap);
    }
    scores = torch.add(torch.reshape(scores, shape[0], shape[1], shape[2], shape[2]), mask);
    Array weights =
        torch.reshape(torch.softmax(scores, -1), shape[0], kvHeads, group * shape[2], shape[2]);
    return torch.reshape(torch.matmul(weights, v), shape);
  }

  /**
   * [1, 1, seq, seq]: 0 where j is one of the window's keys up to i, as Hugging Face counts them.
   */
  final Array causal(int seq, int window) {
    float[] mask = new float[seq * seq];
    for (int i = 0; i < seq; i++) {
      for (int j = 0; j < seq; j++) {
        mask[i * seq + j] = j <= i && j > i - window ? 0 : Float.NEGATIVE_INFINITY;
      }
    }
    return torch.array(mask, 1, 1, seq, seq);
  }

  static void matters(String what, float[] want, float[] got) {
    double share = Difference.share(want, got);
    System.out.printf("%s: %.1e of the greatest element%n", what, share);
    assertTrue(share > MATTERS, what + " changes only " + share);
  }

  final float[] logits(DecoderOnlyModel model, int[] ids, int batch) {
    int seq = ids.length / batch;
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, batch, seq, model.vocabulary());
    DecoderState state = model.newState(arena, batch, seq);
    model.forward(null, state, Tensor.copyOf(arena, ids, batch, seq), null, out);
    return out.toFloatArray();
  }

  /** A prompt of each length, then the rest token by token for both: rows of the one pass. */
  final void checkPrompts(DecoderOnlyModel model, int[] ids, int seq, int[] prompts, Array want) {
    float[] rows = want.toFloats();
    int words = model.vocabulary();
    int[] ragged = new int[prompts[0] + prompts[1]];
    System.arraycopy(ids, 0, ragged, 0, prompts[0]);
    System.arraycopy(ids, seq, ragged, prompts[0], prompts[1]);
    Tensor offsets = Tensor.copyOf(arena, new int[] {0, prompts[0], ragged.length}, 3);
    DecoderState state = model.newState(arena, 2, seq);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, words);
    Tensor prompt = Tensor.copyOf(arena, ragged, ragged.length);
    model.next(null, state, prompt, Sequences.ragged(offsets), out);
    for (int step = 0; ; step++) {
      int[] at = {prompts[0] + step, seq + prompts[1] + step};
      float[] expected = Arrays.copyOfRange(rows, (at[0] - 1) * words, at[0] * words);
      float[] other = Arrays.copyOfRange(rows, (at[1] - 1) * words, at[1] * words);
      float[] got = out.toFloatArray();
      assertTrue(Difference.share(expected, Arrays.copyOf(got, words)) <= FAMILY_BOUND);
      assertTrue(
          Difference.share(other, Arrays.copyOfRange(got, words, 2 * words)) <= FAMILY_BOUND);
      if (at[0] == seq) {
        return;
      }
      Tensor token = Tensor.copyOf(arena, new int[] {ids[at[0]], ids[at[1]]}, 2, 1);
      model.next(null, state, token, null, out);
    }
  }
}
