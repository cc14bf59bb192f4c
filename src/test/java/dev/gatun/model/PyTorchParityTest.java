package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.Activation;
import dev.gatun.nn.DecoderModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.Transformer;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import dev.gatun.support.TorchTransformer;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The same weights in PyTorch: {@code nn.Transformer} as it is, and families written here with
 * PyTorch's functions. Bounds are shares of the greatest element: float32 rounds on both sides.
 */
class PyTorchParityTest {
  private static final double MODULE_BOUND = 2e-5;
  private static final double FAMILY_BOUND = 1e-4;

  private final Arena arena = Arena.ofShared();
  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Random random = new Random(7);
  private final Torch torch = Torch.float32();
  private final Map<String, Tensor> weights = new HashMap<>();

  @AfterEach
  void close() {
    torch.close();
    runtime.close();
    arena.close();
  }

  // ---- helpers

  private Tensor normal(double deviation, long... shape) {
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

  private Array draw(String name, double deviation, double mean, long... shape) {
    Tensor tensor = normal(deviation, shape);
    float[] values = tensor.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] += (float) mean;
    }
    tensor.copyFrom(values);
    weights.put(name, tensor);
    return torch.array(values, shape);
  }

  private Array matrix(String name, long out, long in) {
    return draw(name, 1 / Math.sqrt(in), 0, out, in);
  }

  private Array gamma(String name, long size) {
    return draw(name, 0.2, 1, size);
  }

  private Array bias(String name, long size) {
    return draw(name, 0.2, 0, size);
  }

  private static double close(String what, float[] want, float[] got, double bound) {
    assertEquals(want.length, got.length);
    double most = 0;
    double error = 0;
    for (int i = 0; i < want.length; i++) {
      most = Math.max(most, Math.abs(want[i]));
      double difference = Math.abs((double) want[i] - got[i]);
      error = difference <= error ? error : difference; // NaN stays
    }
    assertTrue(error <= bound * most, what + ": " + error / most + " of the greatest element");
    System.out.printf(
        "%s: differs from PyTorch by at most %.1e of the greatest element%n", what, error / most);
    return error / most;
  }

  /** All tokens in one pass, and then one by one: both must be what PyTorch says. */
  private void checkModel(
      String what, DecoderModel model, DecoderState state, int[] ids, int batch, Array want) {
    int seq = ids.length / batch;
    Tensor tokens = Tensor.copyOf(arena, ids, batch, seq);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, batch, seq, model.vocabulary());
    model.forward(null, state, tokens, logits);
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

  private int[] ids(int count, int vocabulary) {
    return random.ints(count, 0, vocabulary).toArray();
  }

  private Array split(Array x, long batch, long seq, long heads, long size) {
    return torch.transpose(torch.reshape(x, batch, seq, heads, size), 1, 2);
  }

  private Array merge(Array x, long batch, long seq, long width) {
    return torch.reshape(torch.transpose(x, 1, 2), batch, seq, width);
  }

  // ---- nn.Transformer

  @ParameterizedTest
  @CsvSource({
    "64, 4, 160, 3, false, false",
    "64, 4, 160, 2, true, true",
    "48, 3, 100, 2, true, false",
    "32, 8, 64, 2, false, true",
    "512, 8, 2048, 6, false, false" // the paper's base model
  })
  void nnTransformer(
      int width, int heads, int hidden, int layers, boolean gelu, boolean normFirst) {
    TorchTransformer theirs =
        TorchTransformer.transformer(
            torch,
            new TorchTransformer.Config(width, heads, hidden, gelu, normFirst, true),
            layers,
            layers,
            11);
    theirs
        .parameters()
        .forEach((name, p) -> weights.put(name, Tensor.copyOf(arena, p.numbers(), p.shape())));
    PaperTransformer paper =
        new PaperTransformer(
            layers,
            heads,
            gelu ? Activation.GELU : Activation.RELU,
            normFirst ? NormOrder.PRE : NormOrder.POST);
    Weights all = Weights.of(weights);
    TransformerEncoder encoder = paper.encoder(runtime, all, PositionalEncoding.none());
    TransformerDecoder decoder = paper.decoder(runtime, all, PositionalEncoding.none());
    int batch = 2;
    int source = 13;
    int target = 9;
    int[] lengths = {13, 6};
    Tensor x = normal(1, batch, source, width);
    Tensor y = normal(1, batch, target, width);
    boolean[] padding = TorchTransformer.Mask.padding(lengths, source);
    Array want =
        theirs.forward(
            torch.array(x.toFloatArray(), x.shape()),
            torch.array(y.toFloatArray(), y.shape()),
            new TorchTransformer.Mask(false, padding),
            TorchTransformer.Mask.CAUSAL);
    String what =
        "nn.Transformer %d x %d%s".formatted(layers, width, normFirst ? ", pre-norm" : "");
    Tensor lens = Tensor.copyOf(arena, lengths, batch);
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, batch, source, width);
    encoder.forward(null, x, lens, memory);
    DecoderState state = decoder.newState(arena, batch, target, source);
    decoder.remember(null, state, memory, lens);
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, batch, target, width);
    decoder.step(null, state, y, null, out);
    close(what, want.toFloats(), out.toFloatArray(), MODULE_BOUND);
    state.reset();
    Tensor row = Tensor.allocate(arena, DType.FLOAT32, batch, 1, width);
    Tensor steps = Tensor.allocate(arena, DType.FLOAT32, batch, target, width);
    for (int s = 0; s < target; s++) {
      row.copyFrom(y.slice(1, s, s + 1));
      decoder.step(null, state, row, null, row);
      steps.slice(1, s, s + 1).copyFrom(row);
    }
    close(what + ", step by step", want.toFloats(), steps.toFloatArray(), MODULE_BOUND);
  }

  // ---- families

  @Test
  void gpt2() {
    int width = 48;
    int heads = 4;
    int vocabulary = 61;
    int batch = 2;
    int seq = 11;
    int[] tokens = ids(batch * seq, vocabulary);
    int[] places = new int[batch * seq];
    for (int i = 0; i < places.length; i++) {
      places[i] = i % seq;
    }
    Array table = draw("wte.weight", 0.5, 0, vocabulary, width);
    Array x =
        torch.add(
            torch.embedding(table, torch.ids(tokens, batch, seq)),
            torch.embedding(draw("wpe.weight", 0.5, 0, 16, width), torch.ids(places, batch, seq)));
    for (int n = 0; n < 3; n++) {
      String block = "h." + n + ".";
      Array h =
          torch.layerNorm(
              x, gamma(block + "ln_1.weight", width), bias(block + "ln_1.bias", width), 1e-5);
      // Conv1D stores [in, out]
      Array qkv =
          torch.add(
              torch.matmul(h, draw(block + "attn.c_attn.weight", 0.2, 0, width, 3 * width)),
              bias(block + "attn.c_attn.bias", 3 * width));
      Array[] part = new Array[3];
      for (int i = 0; i < 3; i++) {
        part[i] =
            split(
                torch.slice(qkv, 2, (long) i * width, (i + 1L) * width),
                batch,
                seq,
                heads,
                width / heads);
      }
      Array context =
          merge(
              torch.attention(part[0], part[1], part[2], null, true, Double.NaN),
              batch,
              seq,
              width);
      x =
          torch.add(
              x,
              torch.add(
                  torch.matmul(context, draw(block + "attn.c_proj.weight", 0.2, 0, width, width)),
                  bias(block + "attn.c_proj.bias", width)));
      h =
          torch.layerNorm(
              x, gamma(block + "ln_2.weight", width), bias(block + "ln_2.bias", width), 1e-5);
      h =
          torch.geluTanh(
              torch.add(
                  torch.matmul(h, draw(block + "mlp.c_fc.weight", 0.2, 0, width, 100)),
                  bias(block + "mlp.c_fc.bias", 100)));
      x =
          torch.add(
              x,
              torch.add(
                  torch.matmul(h, draw(block + "mlp.c_proj.weight", 0.2, 0, 100, width)),
                  bias(block + "mlp.c_proj.bias", width)));
    }
    x = torch.layerNorm(x, gamma("ln_f.weight", width), bias("ln_f.bias", width), 1e-5);
    DecoderModel model = Gpt2.of(runtime, Weights.of(weights), 3, heads);
    checkModel(
        "GPT-2",
        model,
        model.newState(arena, batch, 16, 0),
        tokens,
        batch,
        torch.linear(x, table, null));
  }

  @ParameterizedTest
  @CsvSource({"4, 2, true", "6, 1, false", "4, 4, false"})
  void llama(int heads, int kvHeads, boolean tied) {
    int size = 12;
    int width = heads * size;
    int vocabulary = 53;
    int batch = 2;
    int seq = 10;
    double base = 500;
    int[] tokens = ids(batch * seq, vocabulary);
    Array table = draw("model.embed_tokens.weight", 0.5, 0, vocabulary, width);
    Array x = torch.embedding(table, torch.ids(tokens, batch, seq));
    for (int n = 0; n < 3; n++) {
      String block = "model.layers." + n + ".";
      Array h = torch.rmsNorm(x, gamma(block + "input_layernorm.weight", width), 1e-5);
      Array q = torch.linear(h, matrix(block + "self_attn.q_proj.weight", width, width), null);
      long kv = (long) kvHeads * size;
      Array k = torch.linear(h, matrix(block + "self_attn.k_proj.weight", kv, width), null);
      Array v = torch.linear(h, matrix(block + "self_attn.v_proj.weight", kv, width), null);
      Array context =
          torch.attention(
              turn(split(q, batch, seq, heads, size), seq, size, base),
              turn(split(k, batch, seq, kvHeads, size), seq, size, base),
              split(v, batch, seq, kvHeads, size),
              null,
              true,
              Double.NaN);
      x =
          torch.add(
              x,
              torch.linear(
                  merge(context, batch, seq, width),
                  matrix(block + "self_attn.o_proj.weight", width, width),
                  null));
      h = torch.rmsNorm(x, gamma(block + "post_attention_layernorm.weight", width), 1e-5);
      Array gate =
          torch.silu(torch.linear(h, matrix(block + "mlp.gate_proj.weight", 90, width), null));
      Array up = torch.linear(h, matrix(block + "mlp.up_proj.weight", 90, width), null);
      x =
          torch.add(
              x,
              torch.linear(
                  torch.multiply(gate, up),
                  matrix(block + "mlp.down_proj.weight", width, 90),
                  null));
    }
    x = torch.rmsNorm(x, gamma("model.norm.weight", width), 1e-5);
    Array head = tied ? table : matrix("lm_head.weight", vocabulary, width);
    Rotary rotary = Rotary.of(arena, 16, size, base, Rotary.Pairing.HALVES, RotaryScaling.none());
    DecoderModel model = Llama.of(runtime, Weights.of(weights), 3, heads, kvHeads, rotary, 1e-5f);
    checkModel(
        "LLaMA %d/%d".formatted(heads, kvHeads),
        model,
        model.newState(arena, batch, 16, 0),
        tokens,
        batch,
        torch.linear(x, head, null));
  }

  /** rotate_half of Hugging Face's LLaMA: x cos + (-x2, x1) sin. */
  private Array turn(Array x, int seq, int size, double base) {
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

  @ParameterizedTest
  @CsvSource({"false, true", "true, false"})
  void t5(boolean gated, boolean tied) {
    int heads = 4;
    int width = 32;
    int inner = 40; // heads · 10, not the width
    int vocabulary = 47;
    int batch = 2;
    int source = 12;
    int target = 30;
    int[] sourceIds = ids(batch * source, vocabulary);
    int[] targetIds = ids(batch * target, vocabulary);
    Array table = draw("shared.weight", 1, 0, vocabulary, width);
    Array x = torch.embedding(table, torch.ids(sourceIds, batch, source));
    Array y = torch.embedding(table, torch.ids(targetIds, batch, target));
    String name = ".block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    draw("encoder" + name, 0.5, 0, 8, heads);
    draw("decoder" + name, 0.5, 0, 8, heads);
    Array open = biases("encoder" + name, source, heads, true);
    Array causal = biases("decoder" + name, target, heads, false);
    for (int n = 0; n < 2; n++) {
      String block = "encoder.block." + n + ".layer.";
      x = t5Attention(block + "0.", "SelfAttention", x, null, batch, heads, width, inner, open);
      x = t5FeedForward(block + "1.", x, width, gated);
    }
    x = torch.rmsNorm(x, gamma("encoder.final_layer_norm.weight", width), 1e-6);
    for (int n = 0; n < 2; n++) {
      String block = "decoder.block." + n + ".layer.";
      y = t5Attention(block + "0.", "SelfAttention", y, null, batch, heads, width, inner, causal);
      y = t5Attention(block + "1.", "EncDecAttention", y, x, batch, heads, width, inner, null);
      y = t5FeedForward(block + "2.", y, width, gated);
    }
    y = torch.rmsNorm(y, gamma("decoder.final_layer_norm.weight", width), 1e-6);
    Array want =
        tied
            ? torch.linear(torch.multiply(y, 1 / Math.sqrt(width)), table, null)
            : torch.linear(y, matrix("lm_head.weight", vocabulary, width), null);
    Transformer model = T5.of(runtime, arena, Weights.of(weights), 2, heads);
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, batch, source, width);
    model.encode(null, Tensor.copyOf(arena, sourceIds, batch, source), null, memory);
    close("T5 encoder", x.toFloats(), memory.toFloatArray(), FAMILY_BOUND);
    DecoderState state = model.newState(arena, batch, target, source);
    model.remember(null, state, memory, null);
    checkModel("T5" + (gated ? " 1.1" : ""), model, state, targetIds, batch, want);
  }

  /**
   * [1, heads, seq, seq] that are added to scores, by buckets as T5's relative_position_bucket has
   * them for 8 and 128.
   */
  private Array biases(String name, int seq, int heads, boolean bidirectional) {
    float[] values = new float[heads * seq * seq];
    Tensor table = weights.get(name);
    int count = bidirectional ? 4 : 8;
    int exact = count / 2;
    for (int h = 0; h < heads; h++) {
      for (int i = 0; i < seq; i++) {
        for (int j = 0; j < seq; j++) {
          int steps = bidirectional ? Math.abs(j - i) : Math.max(i - j, 0);
          int bucket = steps;
          if (steps >= exact) {
            // exact · (128 / exact)^(n / (count - exact)) is where the n-th logarithmic bucket
            // begins
            bucket = exact;
            while (bucket + 1 < count
                && steps + 1e-9
                    >= exact * Math.pow(128.0 / exact, (bucket + 1.0 - exact) / (count - exact))) {
              bucket++;
            }
          }
          if (bidirectional && j > i) {
            bucket += count;
          }
          values[(h * seq + i) * seq + j] =
              !bidirectional && j > i ? Float.NEGATIVE_INFINITY : table.getFloat(bucket, h);
        }
      }
    }
    return torch.array(values, 1, heads, seq, seq);
  }

  private Array t5Attention(
      String layer,
      String kind,
      Array x,
      Array memory,
      int batch,
      int heads,
      int width,
      int inner,
      Array bias) {
    Array h = torch.rmsNorm(x, gamma(layer + "layer_norm.weight", width), 1e-6);
    Array from = memory == null ? h : memory;
    long seq = x.shape()[1];
    long keys = from.shape()[1];
    int size = inner / heads;
    Array q =
        split(
            torch.linear(h, matrix(layer + kind + ".q.weight", inner, width), null),
            batch,
            seq,
            heads,
            size);
    Array k =
        split(
            torch.linear(from, matrix(layer + kind + ".k.weight", inner, width), null),
            batch,
            keys,
            heads,
            size);
    Array v =
        split(
            torch.linear(from, matrix(layer + kind + ".v.weight", inner, width), null),
            batch,
            keys,
            heads,
            size);
    Array context = merge(torch.attention(q, k, v, bias, false, 1), batch, seq, inner);
    return torch.add(
        x, torch.linear(context, matrix(layer + kind + ".o.weight", width, inner), null));
  }

  private Array t5FeedForward(String layer, Array x, int width, boolean gated) {
    Array h = torch.rmsNorm(x, gamma(layer + "layer_norm.weight", width), 1e-6);
    String dense = layer + "DenseReluDense.";
    Array inner =
        gated
            ? torch.multiply(
                torch.geluTanh(torch.linear(h, matrix(dense + "wi_0.weight", 70, width), null)),
                torch.linear(h, matrix(dense + "wi_1.weight", 70, width), null))
            : torch.relu(torch.linear(h, matrix(dense + "wi.weight", 70, width), null));
    return torch.add(x, torch.linear(inner, matrix(dense + "wo.weight", width, 70), null));
  }

  /** A block of BERT, ViT or CLIP: projections with biases under names of their own. */
  private Array block(
      Array x,
      int heads,
      boolean pre,
      double epsilon,
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
                null,
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

  private Array dense(Array x, String name, long out) {
    long in = x.shape()[x.shape().length - 1];
    return torch.linear(x, matrix(name + ".weight", out, in), bias(name + ".bias", out));
  }

  private Array norm(Array x, String name, double epsilon) {
    long width = x.shape()[x.shape().length - 1];
    return torch.layerNorm(x, gamma(name + ".weight", width), bias(name + ".bias", width), epsilon);
  }

  @Test
  void bert() {
    int width = 36;
    int batch = 2;
    int seq = 9;
    int[] tokens = ids(batch * seq, 50);
    Array x =
        torch.embedding(
            draw("embeddings.word_embeddings.weight", 1, 0, 50, width),
            torch.ids(tokens, batch, seq));
    Array places = draw("embeddings.position_embeddings.weight", 1, 0, 20, width);
    Array types = draw("embeddings.token_type_embeddings.weight", 1, 0, 2, width);
    x = torch.add(torch.add(x, torch.slice(places, 0, 0, seq)), torch.slice(types, 0, 0, 1));
    x = norm(x, "embeddings.LayerNorm", 1e-12);
    for (int n = 0; n < 2; n++) {
      String b = "encoder.layer." + n + ".";
      x =
          block(
              x,
              4,
              false,
              1e-12,
              false,
              torch::gelu,
              b + "attention.self.query",
              b + "attention.self.key",
              b + "attention.self.value",
              b + "attention.output.dense",
              b + "attention.output.LayerNorm",
              b + "intermediate.dense",
              b + "output.dense",
              b + "output.LayerNorm");
    }
    Bert model = Bert.of(runtime, Weights.of(weights), 2, 4);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, batch, seq, width);
    model.embedding().forward(null, Tensor.copyOf(arena, tokens, batch, seq), hidden);
    model.encoder().forward(null, hidden, null, hidden);
    close("BERT", x.toFloats(), hidden.toFloatArray(), FAMILY_BOUND);
  }

  @Test
  void vit() {
    int width = 24;
    int batch = 2;
    Tensor images = normal(1, batch, 3, 12, 8);
    String e = "embeddings.";
    Array x =
        torch.conv2d(
            torch.array(images.toFloatArray(), images.shape()),
            draw(e + "patch_embeddings.projection.weight", 0.2, 0, width, 3, 4, 4),
            bias(e + "patch_embeddings.projection.bias", width),
            4,
            0);
    x = torch.transpose(torch.reshape(x, batch, width, 6), 1, 2);
    Array first = draw(e + "cls_token", 1, 0, 1, 1, width);
    x = torch.concat(1, torch.concat(0, first, first), x);
    x = torch.add(x, draw(e + "position_embeddings", 1, 0, 1, 7, width));
    for (int n = 0; n < 2; n++) {
      String b = "encoder.layer." + n + ".";
      x =
          block(
              x,
              3,
              true,
              1e-12,
              false,
              torch::gelu,
              b + "attention.attention.query",
              b + "attention.attention.key",
              b + "attention.attention.value",
              b + "attention.output.dense",
              b + "layernorm_before",
              b + "intermediate.dense",
              b + "output.dense",
              b + "layernorm_after");
    }
    x = dense(torch.select(norm(x, "layernorm", 1e-12), 1, 0), "classifier", 10);
    Vit model = Vit.of(runtime, arena, Weights.of(weights), 2, 3, 12, 8);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, batch, 10);
    model.forward(images, logits);
    close("ViT", x.toFloats(), logits.toFloatArray(), FAMILY_BOUND);
  }

  @Test
  void clip() {
    int width = 24;
    int texts = 3;
    int seq = 7;
    int[] tokens = ids(texts * seq, 40);
    int[] ends = {6, 2, 4};
    String e = "text_model.embeddings.";
    Array x =
        torch.embedding(
            draw(e + "token_embedding.weight", 1, 0, 40, width), torch.ids(tokens, texts, seq));
    x =
        torch.add(
            x, torch.slice(draw(e + "position_embedding.weight", 1, 0, 10, width), 0, 0, seq));
    UnaryOperator<Array> quick = h -> torch.multiply(h, torch.sigmoid(torch.multiply(h, 1.702)));
    x = norm(tower(x, "text_model", 4, true, quick), "text_model.final_layer_norm", 1e-5);
    Array[] last = new Array[texts];
    for (int n = 0; n < texts; n++) {
      last[n] = torch.slice(torch.select(torch.slice(x, 0, n, n + 1L), 1, ends[n]), 0, 0, 1);
    }
    Array t =
        torch.linear(torch.concat(0, last), matrix("text_projection.weight", 16, width), null);

    Tensor images = normal(1, 2, 3, 8, 8);
    e = "vision_model.embeddings.";
    Array y =
        torch.conv2d(
            torch.array(images.toFloatArray(), images.shape()),
            draw(e + "patch_embedding.weight", 0.2, 0, width, 3, 4, 4),
            null,
            4,
            0);
    y = torch.transpose(torch.reshape(y, 2, width, 4), 1, 2);
    Array first = torch.reshape(draw(e + "class_embedding", 1, 0, width), 1, 1, width);
    y = torch.concat(1, torch.concat(0, first, first), y);
    y = torch.add(y, draw(e + "position_embedding.weight", 1, 0, 5, width));
    y = norm(y, "vision_model.pre_layrnorm", 1e-5);
    y = tower(y, "vision_model", 3, false, quick);
    y = norm(torch.select(y, 1, 0), "vision_model.post_layernorm", 1e-5);
    Array v = torch.linear(y, matrix("visual_projection.weight", 16, width), null);
    draw("logit_scale", 0.1, 2, 1);
    float scale = weights.get("logit_scale").toFloatArray()[0];
    weights.put("logit_scale", Tensor.copyOf(arena, new float[] {scale}));
    float[] want = new float[6];
    float[] a = v.toFloats();
    float[] b = t.toFloats();
    for (int i = 0; i < 2; i++) {
      for (int j = 0; j < 3; j++) {
        double dot = 0;
        double left = 0;
        double right = 0;
        for (int d = 0; d < 16; d++) {
          dot += (double) a[i * 16 + d] * b[j * 16 + d];
          left += (double) a[i * 16 + d] * a[i * 16 + d];
          right += (double) b[j * 16 + d] * b[j * 16 + d];
        }
        want[i * 3 + j] = (float) (dot / Math.sqrt(left * right) * Math.exp(scale));
      }
    }
    Clip model = Clip.of(runtime, arena, Weights.of(weights), 2, 4, 2, 3, 8);
    Tensor textVectors = Tensor.allocate(arena, DType.FLOAT32, texts, 16);
    Tensor imageVectors = Tensor.allocate(arena, DType.FLOAT32, 2, 16);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 2, texts);
    model.texts(Tensor.copyOf(arena, tokens, texts, seq), ends, textVectors);
    model.images(images, imageVectors);
    model.compare(imageVectors, textVectors, logits);
    close("CLIP", want, logits.toFloatArray(), FAMILY_BOUND);
  }

  private Array tower(
      Array x, String tower, int heads, boolean causal, UnaryOperator<Array> activation) {
    for (int n = 0; n < 2; n++) {
      String b = tower + ".encoder.layers." + n + ".";
      x =
          block(
              x,
              heads,
              true,
              1e-5,
              causal,
              activation,
              b + "self_attn.q_proj",
              b + "self_attn.k_proj",
              b + "self_attn.v_proj",
              b + "self_attn.out_proj",
              b + "layer_norm1",
              b + "mlp.fc1",
              b + "mlp.fc2",
              b + "layer_norm2");
    }
    return x;
  }
}
