package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/**
 * Encoders with rotary positions, ALiBi or relative biases, and gated networks, from folders as
 * their authors have them, against the same formulas in PyTorch. Scores are steep, so that a base,
 * a slope or a window that is not followed leaves the bound far behind.
 */
class ModernEncodersTest extends PyTorchModels {

  private static final int VOCABULARY = 50;
  private static final int HEADS = 3;
  private static final int SIZE = 12;
  private static final int WIDTH = HEADS * SIZE;
  private static final int HIDDEN = 40;
  private static final int BATCH = 3;
  private static final int SEQ = 15;
  private static final int[] LENGTHS = {15, 1, 8};
  private static final int LAYERS = 3;

  /** What another configuration changes, at least: a hundred times the bound. */
  private static final double MATTERS = 100 * FAMILY_BOUND;

  private final int[] padded = ids(BATCH * SEQ, VOCABULARY);

  // ---- formulas --------------------------------------------------------------------------------

  private Array layerNorm(Array x, String name, double epsilon) {
    return torch.layerNorm(x, gamma(name + ".weight", WIDTH), bias(name + ".bias", WIDTH), epsilon);
  }

  private Array dense(Array x, String name, long out, boolean biased) {
    long in = x.shape()[x.shape().length - 1];
    return torch.linear(
        x, matrix(name + ".weight", out, in), biased ? bias(name + ".bias", out) : null);
  }

  /** Steeper than usual, so that it matters which keys are seen, and from where. */
  private Array steep(Array x, String name, long out, boolean biased) {
    Array weight = draw(name + ".weight", 2 / Math.sqrt(WIDTH), 0, out, WIDTH);
    return torch.linear(x, weight, biased ? bias(name + ".bias", out) : null);
  }

  /** Queries, keys and values of [batch, seq, 3 · width], each [batch, heads, seq, size]. */
  private Array[] parts(Array fused) {
    Array all = torch.reshape(fused, BATCH, SEQ, 3, HEADS, SIZE);
    Array[] parts = new Array[3];
    for (int i = 0; i < 3; i++) {
      parts[i] = torch.transpose(torch.select(all, 2, i), 1, 2);
    }
    return parts;
  }

  private Array heads(Array x) {
    return split(x, BATCH, SEQ, HEADS, SIZE);
  }

  /** softmax(q·kᵀ·scale + bias)·v with a mask of padding, merged. */
  private Array attend(Array q, Array k, Array v, double scale, Array bias) {
    Array scores = torch.multiply(torch.matmul(q, torch.transpose(k, 2, 3)), scale);
    Array masked = torch.add(scores, bias);
    return merge(torch.matmul(torch.softmax(masked, -1), v), BATCH, SEQ, WIDTH);
  }

  /** Of a query, a key and a head. */
  private interface Bias {
    float of(int head, int i, int j);
  }

  /** [batch, heads, seq, seq]: -inf where j is padding; rows of padding see all. */
  private Array mask(Bias bias) {
    float[] mask = new float[BATCH * HEADS * SEQ * SEQ];
    int at = 0;
    for (int length : LENGTHS) {
      for (int h = 0; h < HEADS; h++) {
        for (int i = 0; i < SEQ; i++) {
          for (int j = 0; j < SEQ; j++) {
            boolean seen = j < length || i >= length;
            mask[at++] = seen ? bias.of(h, i, j) : Float.NEGATIVE_INFINITY;
          }
        }
      }
    }
    return torch.array(mask, BATCH, HEADS, SEQ, SEQ);
  }

  private Array padding() {
    return mask((_, _, _) -> 0);
  }

  private Array embedded(String words, String types) {
    Array x = torch.embedding(draw(words, 1, 0, VOCABULARY, WIDTH), torch.ids(padded, BATCH, SEQ));
    return types == null ? x : torch.add(x, torch.slice(draw(types, 1, 0, 2, WIDTH), 0, 0, 1));
  }

  // ---- folders ---------------------------------------------------------------------------------

  /** Rows of the texts, without those of padding. */
  private float[] ragged(float[] states) {
    float[] rows = new float[Arrays.stream(LENGTHS).sum() * WIDTH];
    int row = 0;
    for (int n = 0; n < BATCH; n++) {
      System.arraycopy(states, n * SEQ * WIDTH, rows, row * WIDTH, LENGTHS[n] * WIDTH);
      row += LENGTHS[n];
    }
    return rows;
  }

  private TextEncoder load(ModelFolders files, WeightFormat format) throws IOException {
    return Families.encoder(Checkpoint.open(files.write(folder), runtime, arena, format));
  }

  private float[] hidden(TextEncoder model) {
    int tokens = Arrays.stream(LENGTHS).sum();
    int[] ids = new int[tokens];
    int[] ends = new int[BATCH + 1];
    for (int n = 0; n < BATCH; n++) {
      System.arraycopy(padded, n * SEQ, ids, ends[n], LENGTHS[n]);
      ends[n + 1] = ends[n] + LENGTHS[n];
    }
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, tokens, WIDTH);
    model.forward(
        Tensor.copyOf(arena, ids, tokens),
        Sequences.ragged(Tensor.copyOf(arena, ends, BATCH + 1)),
        hidden);
    return hidden.toFloatArray();
  }

  /** With and without a prefix, ragged and padded, as the file has it and packed. */
  private void check(String what, String config, String prefix, float[] states) throws IOException {
    float[] want = ragged(states);
    TextEncoder model = load(ModelFolders.of(config, made), WeightFormat.VIEW);
    float[] got = hidden(model);
    close(what, want, got, FAMILY_BOUND);
    paddedAsRagged(model, padded, LENGTHS, got);
    ModelFolders other = ModelFolders.of(config, made);
    if (prefix != null) {
      other.prefixed(prefix);
    }
    float[] packed = hidden(load(other, WeightFormat.FP32));
    close(what + ", packed", want, packed, FAMILY_BOUND);
    packedAlike(
        FolderInspection.Kind.EMBEDDER,
        folder,
        checkpoint -> hidden(Families.encoder(checkpoint)),
        WeightFormat.FP32,
        WeightFormat.BF16,
        WeightFormat.INT8);
  }

  private void matters(String what, String config, float[] states) throws IOException {
    float[] got = hidden(load(ModelFolders.of(config, made), WeightFormat.VIEW));
    double share = Difference.share(ragged(states), got);
    assertTrue(share >= MATTERS, what + ": changes only " + share);
  }

  /** Each is a key of the file with another value, which has to be refused under its name. */
  private void refusedKeys(String config, String... values) {
    for (String value : values) {
      String key = value.substring(1, value.indexOf('"', 1));
      refused(key, changed(config, value), made);
    }
  }

  private void refused(String part, String config, Map<String, Tensor> weights) {
    IOException e =
        assertThrows(
            IOException.class,
            () -> load(ModelFolders.of(config, weights), WeightFormat.VIEW),
            () -> part + " in " + config);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  /** The same with a key in front; where it is there already, with this value. */
  private static String changed(String config, String value) {
    String key = value.substring(0, value.indexOf(':'));
    String rest = config.replaceAll(key + ": (\"[^\"]*\"|\\{[^}]*\\}|[^,}]*),? ?", "");
    String text = rest.replaceFirst("\\{", "{" + value + ", ");
    return text.replace(", }", "}");
  }

  private Map<String, Tensor> without(String name) {
    Map<String, Tensor> weights = new HashMap<>(made);
    weights.remove(name);
    return weights;
  }

  private Map<String, Tensor> with(String name, Tensor tensor) {
    Map<String, Tensor> weights = new HashMap<>(made);
    weights.put(name, tensor);
    return weights;
  }

  // ---- NomicBERT -------------------------------------------------------------------------------

  private static final String NOMIC =
      """
      {"model_type": "nomic_bert", "activation_function": "swiglu", "causal": false, \
      "layer_norm_epsilon": 1e-12, "mlp_fc1_bias": false, "mlp_fc2_bias": false, \
      "n_embd": 36, "n_head": 3, "n_layer": 3, "n_positions": 64, \
      "pad_vocab_size_multiple": 10, "parallel_block": false, "prenorm": false, \
      "qkv_proj_bias": false, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, \
      "rotary_emb_interleaved": false, "rotary_emb_scale_base": null, \
      "rotary_scaling_factor": null, "type_vocab_size": 2, "use_rms_norm": false, \
      "vocab_size": 48}\
      """;

  private float[] nomic() {
    Array x =
        layerNorm(
            embedded(
                "embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight"),
            "emb_ln",
            1e-12);
    Array mask = padding();
    for (int n = 0; n < LAYERS; n++) {
      String b = "encoder.layers." + n + ".";
      Array[] qkv = parts(steep(x, b + "attn.Wqkv", 3 * WIDTH, false));
      Array q = turn(qkv[0], SEQ, SIZE, 1000);
      Array k = turn(qkv[1], SEQ, SIZE, 1000);
      Array context = attend(q, k, qkv[2], 1 / Math.sqrt(SIZE), mask);
      Array a = dense(context, b + "attn.out_proj", WIDTH, false);
      x = layerNorm(torch.add(a, x), b + "norm1", 1e-12);
      Array value = dense(x, b + "mlp.fc11", HIDDEN, false);
      Array gate = dense(x, b + "mlp.fc12", HIDDEN, false);
      Array y = dense(torch.multiply(value, torch.silu(gate)), b + "mlp.fc2", WIDTH, false);
      x = layerNorm(torch.add(y, x), b + "norm2", 1e-12);
    }
    return x.toFloats();
  }

  @Test
  void nomicBert() throws IOException {
    float[] states = nomic();
    check("NomicBERT", NOMIC, "bert.", states);
    for (String other :
        new String[] {
          "\"rotary_emb_base\": 10000",
          "\"rotary_emb_fraction\": 0.5",
          "\"rotary_emb_interleaved\": true",
          "\"activation_function\": \"geglu\""
        }) {
      matters("NomicBERT, " + other, changed(NOMIC, other), states);
    }
    asEmbedder();
    String scaled = changed(NOMIC, "\"rotary_scaling_factor\": 2");
    String limited = changed(scaled, "\"max_trained_positions\": 20");
    assertEquals(20, load(ModelFolders.of(limited, made), WeightFormat.VIEW).positions());
    refusedKeys(
        NOMIC,
        "\"prenorm\": true",
        "\"causal\": true",
        "\"parallel_block\": true",
        "\"use_rms_norm\": true",
        "\"scale_attn_weights\": false",
        "\"moe_every_n_layers\": 2",
        "\"num_heads_kv\": 1",
        "\"n_head\": 5",
        "\"vocab_size\": 51",
        "\"type_vocab_size\": 3",
        "\"rotary_emb_scale_base\": 512",
        "\"rotary_emb_fraction\": 0.0",
        "\"rotary_emb_base\": 1",
        "\"activation_function\": \"gelu\"");
    refused("attn.Wqkv.bias", changed(NOMIC, "\"qkv_proj_bias\": true"), made);
    refused("mlp.fc12.bias", changed(NOMIC, "\"mlp_fc1_bias\": true"), made);
    String bias = "encoder.layers.1.mlp.fc2.bias";
    refused(bias, NOMIC, with(bias, normal(1, WIDTH)));
  }

  /** From texts to vectors, as the folder's files say it: means of the rows, of length 1. */
  private void asEmbedder() throws IOException {
    Path files =
        ModelFolders.of(NOMIC, made).tokenizer(TokenizerFiles.bert()).write(folder.resolve("text"));
    try (TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.folder(files))) {
      int[] ids = model.tokenize("the cat sat.").ids();
      Tensor rows = Tensor.allocate(arena, DType.FLOAT32, ids.length, WIDTH);
      load(ModelFolders.of(NOMIC, made), WeightFormat.VIEW)
          .forward(Tensor.copyOf(arena, ids, ids.length), rows);
      float[] mean = new float[WIDTH];
      double squares = 0;
      for (int i = 0; i < WIDTH; i++) {
        for (int n = 0; n < ids.length; n++) {
          mean[i] += rows.getFloat(n, i);
        }
        squares += (double) mean[i] * mean[i];
      }
      for (int i = 0; i < WIDTH; i++) {
        mean[i] /= (float) Math.sqrt(squares);
      }
      close("NomicBERT, embedded", mean, model.embed("the cat sat."), FAMILY_BOUND);
    }
  }

  // ---- GTE -------------------------------------------------------------------------------------

  private static final String GTE =
      """
      {"model_type": "new", "hidden_act": "gelu", "hidden_size": 36, "intermediate_size": 40, \
      "layer_norm_eps": 1e-12, "layer_norm_type": "layer_norm", "logn_attention_clip1": false, \
      "logn_attention_scale": false, "max_position_embeddings": 64, "num_attention_heads": 3, \
      "num_hidden_layers": 3, "pack_qkv": true, "position_embedding_type": "rope", \
      "rope_scaling": {"factor": 8.0, "type": "ntk"}, "rope_theta": 500, "type_vocab_size": 2, \
      "vocab_size": 50}\
      """;

  /** NTKScalingRotaryEmbedding of the model's own code: base · factor, and all by factor^(2/d). */
  private Array turnScaled(Array x, double base, double factor) {
    float[] cos = new float[SEQ * SIZE];
    float[] sin = new float[SEQ * SIZE];
    for (int p = 0; p < SEQ; p++) {
      for (int i = 0; i < SIZE; i++) {
        double exponent = 2.0 * (i % (SIZE / 2)) / SIZE;
        double frequency = 1 / Math.pow(base * factor, exponent) / Math.pow(factor, 2.0 / SIZE);
        cos[p * SIZE + i] = (float) Math.cos(p * frequency);
        sin[p * SIZE + i] = (float) Math.sin(p * frequency);
      }
    }
    long half = SIZE / 2;
    Array turned =
        torch.concat(
            3, torch.multiply(torch.slice(x, 3, half, SIZE), -1), torch.slice(x, 3, 0, half));
    return torch.add(
        torch.multiply(x, torch.array(cos, 1, 1, SEQ, SIZE)),
        torch.multiply(turned, torch.array(sin, 1, 1, SEQ, SIZE)));
  }

  private float[] gte(boolean types, boolean packed, UnaryOperator<Array> turn) {
    Array x =
        layerNorm(
            embedded(
                "embeddings.word_embeddings.weight",
                types ? "embeddings.token_type_embeddings.weight" : null),
            "embeddings.LayerNorm",
            1e-12);
    Array mask = padding();
    for (int n = 0; n < LAYERS; n++) {
      String b = "encoder.layer." + n + ".";
      Array[] qkv =
          packed
              ? parts(steep(x, b + "attention.qkv_proj", 3 * WIDTH, true))
              : new Array[] {
                heads(steep(x, b + "attention.q_proj", WIDTH, true)),
                heads(steep(x, b + "attention.k_proj", WIDTH, true)),
                heads(steep(x, b + "attention.v_proj", WIDTH, true))
              };
      Array context =
          attend(turn.apply(qkv[0]), turn.apply(qkv[1]), qkv[2], 1 / Math.sqrt(SIZE), mask);
      Array a = dense(context, b + "attention.o_proj", WIDTH, true);
      x = layerNorm(torch.add(x, a), b + "attn_ln", 1e-12);
      Array both = dense(x, b + "mlp.up_gate_proj", 2 * HIDDEN, false);
      Array up = torch.slice(both, 2, 0, HIDDEN);
      Array gate = torch.gelu(torch.slice(both, 2, HIDDEN, 2 * HIDDEN));
      Array y = dense(torch.multiply(gate, up), b + "mlp.down_proj", WIDTH, true);
      x = layerNorm(torch.add(x, y), b + "mlp_ln", 1e-12);
    }
    return x.toFloats();
  }

  @Test
  void gte() throws IOException {
    float[] states = gte(true, true, x -> turnScaled(x, 500, 8));
    check("GTE", GTE, "new.", states);
    matters("GTE, no scaling", changed(GTE, "\"rope_scaling\": null"), states);
    matters("GTE, another base", changed(GTE, "\"rope_theta\": 10000"), states);
    matters("GTE, ReLU", changed(GTE, "\"hidden_act\": \"relu\""), states);
    matters(
        "GTE, mixed",
        changed(GTE, "\"rope_scaling\": {\"factor\": 8.0, \"type\": \"ntk\", \"mixed_b\": 0.3}"),
        states);
    refusedKeys(
        GTE,
        "\"position_embedding_type\": \"absolute\"",
        "\"layer_norm_type\": \"rms_norm\"",
        "\"logn_attention_scale\": true",
        "\"num_attention_heads\": 5",
        "\"vocab_size\": 49",
        "\"intermediate_size\": 41",
        "\"type_vocab_size\": 1",
        "\"rope_theta\": 0.5",
        "\"rope_scaling\": {\"factor\": 8.0, \"type\": \"dynamic\"}",
        "\"rope_scaling\": {\"factor\": 0.5, \"type\": \"ntk\"}");
    refused("type_vocab_size", changed(GTE, "\"type_vocab_size\": 0"), made);
    String bias = "encoder.layer.1.mlp.down_proj.bias";
    refused(bias, GTE, without(bias));
    String gate = "encoder.layer.2.mlp.up_gate_proj.bias";
    refused(gate, GTE, with(gate, normal(1, 2 * HIDDEN)));
  }

  @Test
  void arcticEmbed() throws IOException {
    float[] states = gte(false, false, x -> turn(x, SEQ, SIZE, 160_000));
    made.remove("embeddings.token_type_embeddings.weight");
    String config = GTE.replace("\"new\"", "\"gte\"");
    for (String value :
        new String[] {
          "\"rope_scaling\": null",
          "\"rope_theta\": 160000",
          "\"type_vocab_size\": 0",
          "\"pack_qkv\": false"
        }) {
      config = changed(config, value);
    }
    check("arctic-embed", config, "gte.", states);
    refused("type", changed(config, "\"type_vocab_size\": 1"), made);
  }

  // ---- JinaBERT --------------------------------------------------------------------------------

  private static final String JINA =
      """
      {"model_type": "bert", "architectures": ["JinaBertForMaskedLM"], "hidden_act": "gelu", \
      "feed_forward_type": "geglu", "hidden_size": 36, "intermediate_size": 40, \
      "layer_norm_eps": 1e-12, "max_position_embeddings": 64, "num_attention_heads": 3, \
      "num_hidden_layers": 3, "position_embedding_type": "alibi", "type_vocab_size": 2, \
      "vocab_size": 50}\
      """;

  /** For 3 heads: those of 2, and the first of 4. */
  private static final double[] SLOPES = {1 / 16.0, 1 / 256.0, 1 / 4.0};

  @Test
  void jinaBert() throws IOException {
    Array x =
        layerNorm(
            embedded(
                "embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight"),
            "embeddings.LayerNorm",
            1e-12);
    Array mask = mask((h, i, j) -> (float) (-SLOPES[h] * Math.abs(i - j)));
    for (int n = 0; n < LAYERS; n++) {
      String b = "encoder.layer." + n + ".";
      Array q = heads(steep(x, b + "attention.self.query", WIDTH, true));
      Array k = heads(steep(x, b + "attention.self.key", WIDTH, true));
      Array v = heads(steep(x, b + "attention.self.value", WIDTH, true));
      Array context = attend(q, k, v, 1 / Math.sqrt(SIZE), mask);
      Array a = dense(context, b + "attention.output.dense", WIDTH, true);
      x = layerNorm(torch.add(a, x), b + "attention.output.LayerNorm", 1e-12);
      Array both = dense(x, b + "mlp.gated_layers", 2 * HIDDEN, false);
      Array gated = torch.gelu(torch.slice(both, 2, 0, HIDDEN));
      Array y = torch.multiply(gated, torch.slice(both, 2, HIDDEN, 2 * HIDDEN));
      y = dense(y, b + "mlp.wo", WIDTH, true);
      x = layerNorm(torch.add(y, x), b + "mlp.layernorm", 1e-12);
    }
    float[] states = x.toFloats();
    check("JinaBERT", JINA, "bert.", states);
    matters("JinaBERT, ReLU", changed(JINA, "\"feed_forward_type\": \"reglu\""), states);
    refusedKeys(
        JINA,
        "\"position_embedding_type\": \"absolute\"",
        "\"feed_forward_type\": \"original\"",
        "\"is_decoder\": true",
        "\"num_attention_heads\": 5",
        "\"vocab_size\": 49",
        "\"intermediate_size\": 41",
        "\"type_vocab_size\": 1");
    String bias = "encoder.layer.1.mlp.wo.bias";
    refused(bias, JINA, without(bias));
    String query = "encoder.layer.0.attention.self.layer_norm_q.weight";
    refused("layer_norm_q", JINA, with(query, normal(1, WIDTH)));
  }

  // ---- ModernBERT ------------------------------------------------------------------------------

  private static final String MODERN =
      """
      {"model_type": "modernbert", "attention_bias": false, "global_attn_every_n_layers": 3, \
      "global_rope_theta": 160000.0, "hidden_activation": "gelu", "hidden_size": 36, \
      "intermediate_size": 40, "local_attention": 4, "local_rope_theta": 1000.0, \
      "max_position_embeddings": 64, "mlp_bias": false, "norm_bias": false, "norm_eps": 1e-05, \
      "num_attention_heads": 3, "num_hidden_layers": 3, "vocab_size": 50}\
      """;

  private static final String NEWER =
      """
      {"model_type": "modernbert", "attention_bias": false, \
      "hidden_activation": "gelu", "hidden_size": 36, \
      "intermediate_size": 40, "local_attention": 4, \
      "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], \
      "max_position_embeddings": 64, "mlp_bias": false, "norm_bias": false, "norm_eps": 1e-05, \
      "num_attention_heads": 3, "num_hidden_layers": 3, "rope_parameters": \
      {"full_attention": {"rope_theta": 160000.0, "rope_type": "default"}, \
      "sliding_attention": {"rope_theta": 1000.0, "rope_type": "default"}}, "vocab_size": 50}\
      """;

  private Array plainNorm(Array x, String name) {
    return torch.layerNorm(x, gamma(name + ".weight", WIDTH), null, 1e-5);
  }

  private float[] modern(boolean... global) {
    Array x = plainNorm(embedded("embeddings.tok_embeddings.weight", null), "embeddings.norm");
    Array all = padding();
    Array near = mask((_, i, j) -> Math.abs(i - j) <= 2 ? 0 : Float.NEGATIVE_INFINITY);
    for (int n = 0; n < LAYERS; n++) {
      String b = "layers." + n + ".";
      Array h = n == 0 ? x : plainNorm(x, b + "attn_norm");
      Array[] qkv = parts(steep(h, b + "attn.Wqkv", 3 * WIDTH, false));
      double base = global[n] ? 160_000 : 1000;
      Array q = turn(qkv[0], SEQ, SIZE, base);
      Array k = turn(qkv[1], SEQ, SIZE, base);
      Array context = attend(q, k, qkv[2], 1 / Math.sqrt(SIZE), global[n] ? all : near);
      x = torch.add(x, dense(context, b + "attn.Wo", WIDTH, false));
      h = dense(plainNorm(x, b + "mlp_norm"), b + "mlp.Wi", 2 * HIDDEN, false);
      Array input = torch.gelu(torch.slice(h, 2, 0, HIDDEN));
      Array gate = torch.slice(h, 2, HIDDEN, 2 * HIDDEN);
      x = torch.add(x, dense(torch.multiply(input, gate), b + "mlp.Wo", WIDTH, false));
    }
    return plainNorm(x, "final_norm").toFloats();
  }

  @Test
  void modernBert() throws IOException {
    float[] states = modern(true, false, false);
    check("ModernBERT", MODERN, "model.", states);
    for (String other :
        new String[] {
          "\"global_attn_every_n_layers\": 2",
          "\"local_attention\": 6",
          "\"global_rope_theta\": 1000",
          "\"local_rope_theta\": null",
          "\"hidden_activation\": \"relu\""
        }) {
      matters("ModernBERT, " + other, changed(MODERN, other), states);
    }
    refusedKeys(
        MODERN,
        "\"norm_bias\": true",
        "\"attention_bias\": true",
        "\"mlp_bias\": true",
        "\"rope_scaling\": {\"type\": \"linear\"}",
        "\"num_attention_heads\": 5",
        "\"vocab_size\": 49",
        "\"intermediate_size\": 41",
        "\"global_rope_theta\": 1",
        "\"layer_types\": [\"full_attention\"]",
        "\"layer_types\": [\"full_attention\", \"full_attention\", \"chunked_attention\"]");
  }

  @Test
  void modernBertOfTheNewerForm() throws IOException {
    float[] states = modern(false, true, false);
    made.put("classifier.weight", normal(1, 2, WIDTH)); // of a task, which is left out
    check("ModernBERT, newer form", NEWER, null, states);
    refused("rope_type", NEWER.replaceFirst("\"default\"", "\"yarn\""), made);
    refused("rope_theta", NEWER.replaceFirst("160000.0", "1"), made);
  }

  // ---- T5 --------------------------------------------------------------------------------------

  private static final String T5 =
      """
      {"model_type": "t5", "architectures": ["T5EncoderModel"], "d_ff": 40, "d_kv": 12, \
      "d_model": 36, "feed_forward_proj": "relu", "layer_norm_epsilon": 1e-06, "num_heads": 3, \
      "num_layers": 3, "relative_attention_max_distance": 10, \
      "relative_attention_num_buckets": 8, "vocab_size": 50}\
      """;

  private Array rmsNorm(Array x, String name) {
    return torch.rmsNorm(x, gamma(name + ".weight", WIDTH), 1e-6);
  }

  private float[] t5(boolean gated) {
    Array x = embedded("shared.weight", null);
    draw("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 1, 0, 8, HEADS);
    Tensor table = made.get("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    Array mask =
        mask((h, i, j) -> table.getFloat(PositionalEncoding.bucket(j - i, 8, 10, true), h));
    for (int n = 0; n < LAYERS; n++) {
      String b = "encoder.block." + n + ".layer.";
      Array h = rmsNorm(x, b + "0.layer_norm");
      String a = b + "0.SelfAttention.";
      Array q = heads(dense(h, a + "q", WIDTH, false));
      Array k = heads(dense(h, a + "k", WIDTH, false));
      Array v = heads(dense(h, a + "v", WIDTH, false));
      x = torch.add(x, dense(attend(q, k, v, 1, mask), a + "o", WIDTH, false));
      h = rmsNorm(x, b + "1.layer_norm");
      String d = b + "1.DenseReluDense.";
      if (gated) {
        Array gate = torch.geluTanh(dense(h, d + "wi_0", HIDDEN, false));
        h = torch.multiply(gate, dense(h, d + "wi_1", HIDDEN, false));
      } else {
        h = torch.relu(dense(h, d + "wi", HIDDEN, false));
      }
      x = torch.add(x, dense(h, d + "wo", WIDTH, false));
    }
    return rmsNorm(x, "encoder.final_layer_norm").toFloats();
  }

  @Test
  void t5() throws IOException {
    float[] states = t5(false);
    check("T5's encoder", T5, null, states);
    String more = changed(T5, "\"relative_attention_max_distance\": 40");
    matters("T5's encoder, another distance", more, states);
    matters("T5's encoder, GELU", changed(T5, "\"feed_forward_proj\": \"gelu\""), states);
    refusedKeys(
        T5,
        "\"num_heads\": 4",
        "\"d_model\": 32",
        "\"d_ff\": 41",
        "\"vocab_size\": 49",
        "\"relative_attention_num_buckets\": 32",
        "\"feed_forward_proj\": \"tanh\"");
    refused("wi_0", changed(T5, "\"feed_forward_proj\": \"gated-gelu\""), made);
    String bias = "encoder.block.2.layer.0.SelfAttention.relative_attention_bias.weight";
    refused(bias, T5, with(bias, normal(1, 8, HEADS)));
  }

  @Test
  void t5OfVersion11() throws IOException {
    float[] states = t5(true);
    // A whole model's file has a decoder too, which an encoder does without.
    made.put("decoder.final_layer_norm.weight", normal(1, WIDTH));
    made.put("encoder.embed_tokens.weight", made.get("shared.weight"));
    String config = changed(T5, "\"feed_forward_proj\": \"gated-gelu\"");
    check("T5 1.1's encoder", config, null, states);
    matters("T5 1.1's encoder, SiLU", changed(T5, "\"feed_forward_proj\": \"gated-silu\""), states);
    refused("embed_tokens", config, with("encoder.embed_tokens.weight", normal(1, 50, WIDTH)));
  }
}
