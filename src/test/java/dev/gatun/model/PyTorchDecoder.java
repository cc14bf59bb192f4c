package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import java.util.function.IntFunction;
import java.util.function.IntUnaryOperator;

/**
 * LLaMA's descendants with PyTorch's functions, as their classes in Hugging Face's transformers
 * compute them, with weights that are drawn under the names of their files.
 */
final class PyTorchDecoder {
  private final PyTorchModels models;
  private final Torch torch;

  int layers = 3;
  int heads = 4;
  int kvHeads = 2;
  int size = 10;
  int width = 36; // less than heads · size
  int hidden = 50;
  int vocabulary = 59;
  double epsilon = 1e-6;
  boolean queryBiases;
  boolean outputBiases;
  boolean feedForwardBiases;
  boolean headNorms;

  /** Norms multiply by 1 + weight, and embeddings are times the root of the width. */
  boolean gemma;

  boolean sandwich;
  boolean fused;
  boolean tied;
  double scale;
  double softcap;
  double logitSoftcap;

  /** Keys that a row of a layer sees. */
  IntUnaryOperator window = n -> Integer.MAX_VALUE;

  /** Angles of the pairs of a layer; null: it has no positions. */
  IntFunction<double[]> angles;

  double magnitude = 1;

  PyTorchDecoder(PyTorchModels models) {
    this.models = models;
    this.torch = models.torch;
    this.angles = n -> geometric(size, 10_000);
  }

  /** base^(-2i / dim). */
  static double[] geometric(int dim, double base) {
    double[] angles = new double[dim / 2];
    for (int i = 0; i < angles.length; i++) {
      angles[i] = Math.exp(-Math.log(base) * 2 * i / dim);
    }
    return angles;
  }

  private Array norm(Array x, String name, double mean) {
    long dim = x.shape()[x.shape().length - 1];
    if (!gemma) {
      return torch.rmsNorm(x, models.draw(name, 0.2, mean, dim), epsilon);
    }
    Array weight = models.draw(name, 0.3, mean - 1, dim);
    return torch.multiply(torch.rmsNorm(x, null, epsilon), torch.add(weight, 1));
  }

  private Array linear(Array x, String name, long out, boolean biased) {
    return linear(x, name, out, biased, 1);
  }

  private Array linear(Array x, String name, long out, boolean biased, double steep) {
    long in = x.shape()[x.shape().length - 1];
    Array weight = models.draw(name + ".weight", steep / Math.sqrt(in), 0, out, in);
    return torch.linear(x, weight, biased ? models.bias(name + ".bias", out) : null);
  }

  /** Of the first part of each head, with halves as pairs; x is [batch, heads, seq, size]. */
  private Array turn(Array x, int seq, double[] angles) {
    if (angles == null) {
      return x;
    }
    int half = angles.length;
    float[] cos = new float[seq * half];
    float[] sin = new float[seq * half];
    for (int p = 0; p < seq; p++) {
      for (int i = 0; i < half; i++) {
        cos[p * half + i] = (float) (magnitude * Math.cos(p * angles[i]));
        sin[p * half + i] = (float) (magnitude * Math.sin(p * angles[i]));
      }
    }
    Array c = torch.array(cos, 1, 1, seq, half);
    Array s = torch.array(sin, 1, 1, seq, half);
    Array a = torch.slice(x, 3, 0, half);
    Array b = torch.slice(x, 3, half, 2L * half);
    Array first = torch.add(torch.multiply(a, c), torch.multiply(torch.multiply(b, s), -1));
    Array second = torch.add(torch.multiply(b, c), torch.multiply(a, s));
    return 2 * half == size
        ? torch.concat(3, first, second)
        : torch.concat(3, first, second, torch.slice(x, 3, 2L * half, size));
  }

  /** [batch, seq, width] behind the last norm. */
  Array states(int[] tokens, int batch) {
    int seq = tokens.length / batch;
    Array x =
        torch.embedding(
            models.draw("model.embed_tokens.weight", 0.5, 0, vocabulary, width),
            torch.ids(tokens, batch, seq));
    if (gemma) {
      x = torch.multiply(x, (float) Math.sqrt(width));
    }
    for (int n = 0; n < layers; n++) {
      String block = "model.layers." + n + ".";
      Array h = attention(n, norm(x, block + "input_layernorm.weight", 1), batch, seq);
      if (sandwich) {
        h = norm(h, block + "post_attention_layernorm.weight", 2);
      }
      x = torch.add(x, h);
      String before = sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm";
      h = feedForward(block + "mlp.", norm(x, block + before + ".weight", 1));
      if (sandwich) {
        h = norm(h, block + "post_feedforward_layernorm.weight", 2);
      }
      x = torch.add(x, h);
    }
    return norm(x, "model.norm.weight", 1);
  }

  private Array attention(int n, Array h, int batch, int seq) {
    String self = "model.layers." + n + ".self_attn.";
    Array q;
    Array k;
    Array v;
    long queries = (long) heads * size;
    long keys = (long) kvHeads * size;
    // Steeper than usual, so that it matters which keys are seen, and from where.
    if (fused) {
      Array all = linear(h, self + "qkv_proj", queries + 2 * keys, false, 2);
      q = torch.slice(all, 2, 0, queries);
      k = torch.slice(all, 2, queries, queries + keys);
      v = torch.slice(all, 2, queries + keys, queries + 2 * keys);
    } else {
      q = linear(h, self + "q_proj", queries, queryBiases, 2);
      k = linear(h, self + "k_proj", keys, queryBiases, 2);
      v = linear(h, self + "v_proj", keys, queryBiases);
    }
    q = models.split(q, batch, seq, heads, size);
    k = models.split(k, batch, seq, kvHeads, size);
    if (headNorms) {
      q = norm(q, self + "q_norm.weight", 2);
      k = norm(k, self + "k_norm.weight", 2);
    }
    double[] turns = angles.apply(n);
    Array context =
        models.attend(
            turn(q, seq, turns),
            turn(k, seq, turns),
            models.split(v, batch, seq, kvHeads, size),
            scale == 0 ? 1 / Math.sqrt(size) : scale,
            softcap,
            models.causal(seq, Math.min(window.applyAsInt(n), seq)));
    return linear(models.merge(context, batch, seq, queries), self + "o_proj", width, outputBiases);
  }

  private Array feedForward(String mlp, Array h) {
    Array gate;
    Array up;
    if (fused) {
      Array both = linear(h, mlp + "gate_up_proj", 2L * hidden, false);
      gate = torch.slice(both, 2, 0, hidden);
      up = torch.slice(both, 2, hidden, 2L * hidden);
    } else {
      gate = linear(h, mlp + "gate_proj", hidden, feedForwardBiases);
      up = linear(h, mlp + "up_proj", hidden, feedForwardBiases);
    }
    Array active = gemma ? torch.geluTanh(gate) : torch.silu(gate);
    return linear(torch.multiply(active, up), mlp + "down_proj", width, feedForwardBiases);
  }

  /** [batch, seq, vocabulary]. */
  Array logits(int[] tokens, int batch) {
    Array x = states(tokens, batch);
    Array head = tied ? table() : models.matrix("lm_head.weight", vocabulary, width);
    Array logits = torch.linear(x, head, null);
    return logitSoftcap == 0
        ? logits
        : torch.multiply(torch.tanh(torch.multiply(logits, 1 / logitSoftcap)), logitSoftcap);
  }

  private Array table() {
    Tensor table = models.made.get("model.embed_tokens.weight");
    return torch.array(table.toFloatArray(), table.shape());
  }

  /** config.json, with what its family has besides in front. */
  String config(String type, String more) {
    return ("{\"model_type\": \"%s\", %s \"hidden_size\": %d, \"num_hidden_layers\": %d,"
            + " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d,"
            + " \"intermediate_size\": %d, \"vocab_size\": %d, \"rms_norm_eps\": %s,"
            + " \"tie_word_embeddings\": %b, \"max_position_embeddings\": 64}")
        .formatted(
            type,
            more.isEmpty() ? "" : more + ",",
            width,
            layers,
            heads,
            kvHeads,
            size,
            hidden,
            vocabulary,
            epsilon,
            tied);
  }
}
