package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * Families whose layers differ from each other or see a window of the tokens, written here with
 * PyTorch's functions and explicit masks. Scores reach several times the cap and sequences several
 * windows, so that each of these leaves the bound far behind where it is left out.
 */
class LayerwiseParityTest extends PyTorchModels {

  // ---- Mistral ---------------------------------------------------------------------------------

  @Test
  void mistral() throws IOException {
    int heads = 4;
    int kvHeads = 2;
    int size = 12;
    int width = 40; // less than heads · size
    int vocabulary = 53;
    int batch = 2;
    int seq = 17;
    int window = 4;
    double base = 10_000;
    int[] tokens = ids(batch * seq, vocabulary);
    Array x =
        torch.embedding(
            draw("model.embed_tokens.weight", 0.5, 0, vocabulary, width),
            torch.ids(tokens, batch, seq));
    Array mask = causal(seq, window);
    for (int n = 0; n < 3; n++) {
      String block = "model.layers." + n + ".";
      String self = block + "self_attn.";
      Array h = torch.rmsNorm(x, gamma(block + "input_layernorm.weight", width), 1e-5);
      Array q = torch.linear(h, matrix(self + "q_proj.weight", heads * size, width), null);
      Array k = torch.linear(h, matrix(self + "k_proj.weight", kvHeads * size, width), null);
      Array v = torch.linear(h, matrix(self + "v_proj.weight", kvHeads * size, width), null);
      Array context =
          attend(
              turn(split(q, batch, seq, heads, size), seq, size, base),
              turn(split(k, batch, seq, kvHeads, size), seq, size, base),
              split(v, batch, seq, kvHeads, size),
              1 / Math.sqrt(size),
              0,
              mask);
      Array out =
          torch.linear(
              merge(context, batch, seq, heads * size),
              matrix(self + "o_proj.weight", width, heads * size),
              null);
      x = torch.add(x, out);
      h = torch.rmsNorm(x, gamma(block + "post_attention_layernorm.weight", width), 1e-5);
      Array gate =
          torch.silu(torch.linear(h, matrix(block + "mlp.gate_proj.weight", 90, width), null));
      Array up = torch.linear(h, matrix(block + "mlp.up_proj.weight", 90, width), null);
      Array down = matrix(block + "mlp.down_proj.weight", width, 90);
      x = torch.add(x, torch.linear(torch.multiply(gate, up), down, null));
    }
    x = torch.rmsNorm(x, gamma("model.norm.weight", width), 1e-5);
    Array want = torch.linear(x, matrix("lm_head.weight", vocabulary, width), null);
    Path file = file();
    // example: mistral
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Rotary rotary = Rotary.of(arena, 32, size, base, Rotary.Pairing.HALVES, RotaryScaling.none());
    DecoderOnlyModel model = Mistral.of(runtime, weights, 3, heads, kvHeads, window, rotary, 1e-5f);
    DecoderState state = model.newState(arena, batch, 32); // 32 tokens of each sequence
    // end
    checkModel("Mistral", model, state, tokens, batch, want);
    checkPrompts(model, tokens, seq, new int[] {9, 2}, want);
    Weights packed = weights.packed(arena, WeightFormat.FP32);
    DecoderOnlyModel other = Mistral.of(runtime, packed, 3, heads, kvHeads, window, rotary, 1e-5f);
    checkModel("Mistral, packed", other, other.newState(arena, 2, seq), tokens, batch, want);

    float[] all = want.toFloats();
    for (int wrong : new int[] {0, window - 1, window + 1}) {
      matters(
          "Mistral, a window of %d instead of %d".formatted(wrong, window),
          all,
          logits(
              Mistral.of(runtime, weights, 3, heads, kvHeads, wrong, rotary, 1e-5f),
              tokens,
              batch));
    }
  }

  // ---- Gemma 2 ---------------------------------------------------------------------------------

  /** RMSNorm whose weight is near 0 in the file and near mean in effect. */
  private Array gemmaNorm(Array x, String name, double mean) {
    long width = x.shape()[x.shape().length - 1];
    Array weight = draw(name, 0.3, mean - 1, width);
    return torch.multiply(torch.rmsNorm(x, null, 1e-6), torch.add(weight, 1));
  }

  @Test
  void gemma2() throws IOException {
    int layers = 4;
    int heads = 4;
    int kvHeads = 2;
    int size = 14;
    int width = 36; // less than heads · size, and not a square
    int vocabulary = 59;
    int batch = 2;
    int seq = 19;
    int window = 5;
    double scalar = 9; // not size
    int[] tokens = ids(batch * seq, vocabulary);
    Array table = draw("model.embed_tokens.weight", 1, 0, vocabulary, width);
    Array x =
        torch.multiply(
            torch.embedding(table, torch.ids(tokens, batch, seq)), (float) Math.sqrt(width));
    for (int n = 0; n < layers; n++) {
      String block = "model.layers." + n + ".";
      String self = block + "self_attn.";
      Array h = gemmaNorm(x, block + "input_layernorm.weight", 1);
      double steep = 4 / Math.sqrt(width); // scores of 16 · √14 / 3 = 20, as often as not more
      Array wq = draw(self + "q_proj.weight", steep, 0, heads * size, width);
      Array wk = draw(self + "k_proj.weight", steep, 0, kvHeads * size, width);
      Array q = split(torch.linear(h, wq, null), batch, seq, heads, size);
      Array k = split(torch.linear(h, wk, null), batch, seq, kvHeads, size);
      Array v = torch.linear(h, matrix(self + "v_proj.weight", kvHeads * size, width), null);
      Array context =
          attend(
              turn(q, seq, size, 10_000),
              turn(k, seq, size, 10_000),
              split(v, batch, seq, kvHeads, size),
              1 / Math.sqrt(scalar),
              50,
              causal(seq, n % 2 == 0 ? window : seq));
      h =
          torch.linear(
              merge(context, batch, seq, heads * size),
              matrix(self + "o_proj.weight", width, heads * size),
              null);
      x = torch.add(x, gemmaNorm(h, block + "post_attention_layernorm.weight", 4));
      h = gemmaNorm(x, block + "pre_feedforward_layernorm.weight", 1);
      Array gate =
          torch.geluTanh(torch.linear(h, matrix(block + "mlp.gate_proj.weight", 70, width), null));
      Array up = torch.linear(h, matrix(block + "mlp.up_proj.weight", 70, width), null);
      h =
          torch.linear(
              torch.multiply(gate, up), matrix(block + "mlp.down_proj.weight", width, 70), null);
      x = torch.add(x, gemmaNorm(h, block + "post_feedforward_layernorm.weight", 4));
    }
    x = gemmaNorm(x, "model.norm.weight", 4);
    Array plain = torch.linear(x, table, null);
    Array want = torch.multiply(torch.tanh(torch.multiply(plain, 1 / 30.0)), 30);
    Path file = file();
    // example: gemma2
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Gemma2 family = new Gemma2(layers, heads, kvHeads, window, 9, 50, 30, 1e-6f); // caps 50 and 30
    Rotary rotary = Rotary.of(arena, 32, size, 10_000, Rotary.Pairing.HALVES, RotaryScaling.none());
    DecoderOnlyModel model = family.of(runtime, arena, weights, rotary);
    DecoderState state = model.newState(arena, batch, 32);
    // end
    checkModel("Gemma 2", model, state, tokens, batch, want);
    checkPrompts(model, tokens, seq, new int[] {12, 3}, want);
    Weights packed = weights.packed(arena, WeightFormat.FP32);
    DecoderOnlyModel other = family.of(runtime, arena, packed, rotary);
    checkModel("Gemma 2, packed", other, other.newState(arena, 2, seq), tokens, batch, want);

    float[] all = want.toFloats();
    Map<String, Gemma2> wrong = new HashMap<>();
    wrong.put("no window", new Gemma2(layers, heads, kvHeads, seq, 9, 50, 30, 1e-6f));
    wrong.put("a window of 6", new Gemma2(layers, heads, kvHeads, 6, 9, 50, 30, 1e-6f));
    wrong.put("no cap of scores", new Gemma2(layers, heads, kvHeads, window, 9, 0, 30, 1e-6f));
    wrong.put("no cap of logits", new Gemma2(layers, heads, kvHeads, window, 9, 50, 0, 1e-6f));
    wrong.put("scale by size", new Gemma2(layers, heads, kvHeads, window, size, 50, 30, 1e-6f));
    wrong.forEach(
        (what, config) ->
            matters(
                "Gemma 2, " + what,
                all,
                logits(config.of(runtime, arena, weights, rotary), tokens, batch)));

    // A tied output that the file has as well, and one that is another.
    made.put("lm_head.weight", made.get("model.embed_tokens.weight"));
    assertArrayEquals(
        logits(model, tokens, batch),
        logits(family.of(runtime, arena, Weights.of(made), rotary), tokens, batch));
  }

  // ---- ModernBERT ------------------------------------------------------------------------------

  private Array plainNorm(Array x, String name) {
    long width = x.shape()[x.shape().length - 1];
    return torch.layerNorm(x, gamma(name, width), null, 1e-5);
  }

  @Test
  void modernBert() throws IOException {
    int layers = 5; // 0 and 3 see all tokens
    int heads = 3;
    int size = 12;
    int width = heads * size;
    int batch = 3;
    int seq = 15;
    int[] lengths = {15, 1, 8};
    int tokens = 24;
    int[] padded = ids(batch * seq, 50);
    Array x =
        torch.embedding(
            draw("embeddings.tok_embeddings.weight", 1, 0, 50, width),
            torch.ids(padded, batch, seq));
    x = plainNorm(x, "embeddings.norm.weight");
    for (int n = 0; n < layers; n++) {
      String block = "layers." + n + ".";
      boolean all = n % 3 == 0;
      Array h = n == 0 ? x : plainNorm(x, block + "attn_norm.weight");
      // Steeper than usual, so that it matters which keys are seen, and from where.
      Array qkv = draw(block + "attn.Wqkv.weight", 2 / Math.sqrt(width), 0, 3 * width, width);
      Array parts = torch.reshape(torch.linear(h, qkv, null), batch, seq, 3, heads, size);
      Array[] part = new Array[3];
      for (int i = 0; i < 3; i++) {
        part[i] = torch.transpose(torch.select(parts, 2, i), 1, 2);
      }
      double base = all ? 160_000 : 10_000;
      Array context =
          attend(
              turn(part[0], seq, size, base),
              turn(part[1], seq, size, base),
              part[2],
              1 / Math.sqrt(size),
              0,
              around(lengths, seq, all ? seq : 2));
      Array wo = matrix(block + "attn.Wo.weight", width, width);
      x = torch.add(x, torch.linear(merge(context, batch, seq, width), wo, null));
      h = plainNorm(x, block + "mlp_norm.weight");
      h = torch.linear(h, matrix(block + "mlp.Wi.weight", 2 * 50, width), null);
      h = torch.multiply(torch.gelu(torch.slice(h, 2, 0, 50)), torch.slice(h, 2, 50, 100));
      x = torch.add(x, torch.linear(h, matrix(block + "mlp.Wo.weight", width, 50), null));
    }
    float[] states = plainNorm(x, "final_norm.weight").toFloats();
    int[] ragged = new int[tokens];
    float[] want = new float[tokens * width];
    for (int n = 0, row = 0; n < batch; n++) {
      System.arraycopy(padded, n * seq, ragged, row, lengths[n]);
      System.arraycopy(states, n * seq * width, want, row * width, lengths[n] * width);
      row += lengths[n];
    }
    Path file = file();
    Tensor ids = Tensor.copyOf(arena, ragged, tokens);
    Tensor cuSeqlens = Tensor.copyOf(arena, new int[] {0, 15, 16, 24}, 4);
    // example: modernbert
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    ModernBert family = new ModernBert(layers, heads, 3, 4, 1e-5f); // 2 tokens on each side
    Rotary.Pairing halves = Rotary.Pairing.HALVES;
    Rotary global = Rotary.of(arena, 64, size, 160_000, halves, RotaryScaling.none());
    Rotary local = Rotary.of(arena, 64, size, 10_000, halves, RotaryScaling.none());
    TextEncoder model = family.of(runtime, weights, global, local);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, tokens, 36);
    model.forward(ids, Sequences.ragged(cuSeqlens), hidden);
    // end
    float[] got = hidden.toFloatArray();
    close("ModernBERT", want, got, FAMILY_BOUND);

    paddedAsRagged(model, padded, lengths, got);
    Weights packed = weights.packed(arena, WeightFormat.FP32);
    close("ModernBERT, packed", want, hidden(family, packed, global, local, ids, cuSeqlens));
    Weights whole = Weights.of(made);
    matters(
        "ModernBERT, no window",
        want,
        hidden(new ModernBert(layers, heads, 3, 64, 1e-5f), whole, global, local, ids, cuSeqlens));
    matters(
        "ModernBERT, a window of 3 on each side",
        want,
        hidden(new ModernBert(layers, heads, 3, 6, 1e-5f), whole, global, local, ids, cuSeqlens));
    matters(
        "ModernBERT, every other layer global",
        want,
        hidden(new ModernBert(layers, heads, 2, 4, 1e-5f), whole, global, local, ids, cuSeqlens));
    matters(
        "ModernBERT, the global base in all layers",
        want,
        hidden(family, whole, global, global, ids, cuSeqlens));
    matters(
        "ModernBERT, the local base in all layers",
        want,
        hidden(family, whole, local, local, ids, cuSeqlens));

    // The same bits under the names of a file with a head.
    Map<String, Tensor> scoped = new HashMap<>();
    made.forEach((name, tensor) -> scoped.put("model." + name, tensor));
    scoped.put("head.dense.weight", normal(1, width, width));
    scoped.put("head.norm.weight", normal(1, width));
    scoped.put("decoder.bias", normal(1, 50));
    assertArrayEquals(got, hidden(family, Weights.of(scoped), global, local, ids, cuSeqlens));
  }

  private static void close(String what, float[] want, float[] got) {
    close(what, want, got, FAMILY_BOUND);
  }

  private float[] hidden(
      ModernBert family,
      Weights weights,
      Rotary global,
      Rotary local,
      Tensor ids,
      Tensor cuSeqlens) {
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, ids.size(0), 36);
    family.of(runtime, weights, global, local).forward(ids, Sequences.ragged(cuSeqlens), hidden);
    return hidden.toFloatArray();
  }

  /** [batch, 1, seq, seq]: 0 where j is one of the text's tokens and at most so far from i. */
  private Array around(int[] lengths, int seq, int side) {
    float[] mask = new float[lengths.length * seq * seq];
    for (int n = 0; n < lengths.length; n++) {
      for (int i = 0; i < seq; i++) {
        for (int j = 0; j < seq; j++) {
          // Rows of padding see some key, as a softmax of none would be NaN.
          boolean seen = (j < lengths[n] || i >= lengths[n]) && Math.abs(i - j) <= side;
          mask[(n * seq + i) * seq + j] = seen ? 0 : Float.NEGATIVE_INFINITY;
        }
      }
    }
    return torch.array(mask, lengths.length, 1, seq, seq);
  }
}
