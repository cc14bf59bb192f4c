package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.Transformer;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Families that generate text, written here with PyTorch's functions. */
class DecoderParityTest extends PyTorchModels {

  @Test
  void gpt2() throws IOException {
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
    Array want = torch.linear(x, table, null);
    Path file = file();
    // example: gpt2
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    DecoderOnlyModel model = Gpt2.of(runtime, weights, 3, heads);
    DecoderState state = model.newState(arena, batch, 16); // 16 tokens of each sequence
    // end
    checkModel("GPT-2", model, state, tokens, batch, want);
  }

  @ParameterizedTest
  @CsvSource({"4, 2, true", "6, 1, false", "4, 4, false"})
  void llama(int heads, int kvHeads, boolean tied) throws IOException {
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
    Array want = torch.linear(x, head, null);
    Path file = file();
    // example: llama
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Rotary rotary = Rotary.of(arena, 16, size, base, Rotary.Pairing.HALVES, RotaryScaling.none());
    DecoderOnlyModel model = Llama.of(runtime, weights, 3, heads, kvHeads, rotary, 1e-5f);
    DecoderState state = model.newState(arena, batch, 16);
    // end
    checkModel("LLaMA %d/%d".formatted(heads, kvHeads), model, state, tokens, batch, want);
  }

  @ParameterizedTest
  @CsvSource({"false, true", "true, false"})
  void t5(boolean gated, boolean tied) throws IOException {
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
    Path file = file();
    Tensor texts = Tensor.copyOf(arena, sourceIds, batch, source);
    // example: t5
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Transformer model = T5.of(runtime, arena, weights, 2, heads);
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, batch, source, 32);
    model.encode(null, texts, null, memory);
    DecoderState state = model.newState(arena, batch, target, source);
    model.remember(null, state, memory, null);
    // end
    String what = "T5" + (gated ? " 1.1" : "");
    close(what + ", encoder", x.toFloats(), memory.toFloatArray(), FAMILY_BOUND);
    checkModel(what, model, state, targetIds, batch, want);
  }

  /**
   * [1, heads, seq, seq] that are added to scores, by buckets as T5's relative_position_bucket has
   * them for 8 and 128.
   */
  private Array biases(String name, int seq, int heads, boolean bidirectional) {
    float[] values = new float[heads * seq * seq];
    Tensor table = made.get(name);
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
    Array q = t5Heads(h, layer + kind + ".q.weight", heads, inner);
    Array k = t5Heads(from, layer + kind + ".k.weight", heads, inner);
    Array v = t5Heads(from, layer + kind + ".v.weight", heads, inner);
    Array context = merge(torch.attention(q, k, v, bias, false, 1), batch, x.shape()[1], inner);
    return torch.add(
        x, torch.linear(context, matrix(layer + kind + ".o.weight", width, inner), null));
  }

  private Array t5Heads(Array rows, String weight, int heads, int inner) {
    long[] shape = rows.shape();
    Array projected = torch.linear(rows, matrix(weight, inner, shape[2]), null);
    return split(projected, shape[0], shape[1], heads, inner / heads);
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
}
