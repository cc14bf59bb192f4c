package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Encoders from folders in Hugging Face's layout, with the weights' names, the keys and the
 * formulas of transformers, written here with PyTorch's functions.
 */
class EncoderFoldersTest extends PyTorchModels {
  private static final int WIDTH = 24;
  private static final int HEADS = 3;
  private static final int NARROW = 16;
  private static final int VOCABULARY = 50;

  /** What another configuration changes, at least: ten times the bound. */
  private static final double MATTERS = 10 * FAMILY_BOUND;

  /** Keys that all of the families have, but for their sizes. */
  private static final String SIZES =
      """
      "hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": %d,
      "intermediate_size": 72, "vocab_size": 50, "architectures": ["X"], "torch_dtype": "float32"
      """;

  private int[] lengths = {9, 1, 6};
  private int seq = 9;
  private int positions = 20;
  private int[] padded;

  /** Names that the file has beside the model's, and that it does without. */
  private String[] heads = {};

  private String prefix = "";

  @BeforeEach
  void draw() {
    inAllTypes = true;
  }

  // ---- parts ---------------------------------------------------------------------------------

  /** Rows of the table of positions: from 0, or as transformers' create_position_ids_… has it. */
  private int[] positionIds(int padding) {
    int[] rows = new int[padded.length];
    for (int n = 0; n < lengths.length; n++) {
      int count = 0;
      for (int s = 0; s < seq; s++) {
        boolean counts = padding < 0 || padded[n * seq + s] != padding;
        rows[n * seq + s] = padding < 0 ? s : counts ? padding + ++count : padding;
      }
    }
    return rows;
  }

  private Array embeddings(int width, int padding, int types, double epsilon) {
    int batch = lengths.length;
    padded = ids(batch * seq, VOCABULARY);
    if (padding >= 0) {
      for (int n = 0; n < batch; n++) { // behind the text, and once inside
        Arrays.fill(padded, n * seq + lengths[n], (n + 1) * seq, padding);
      }
      padded[2] = padding;
    }
    String e = "embeddings.";
    Array x =
        torch.embedding(
            draw(e + "word_embeddings.weight", 1, 0, VOCABULARY, width),
            torch.ids(padded, batch, seq));
    x =
        torch.add(
            x,
            torch.embedding(
                draw(e + "position_embeddings.weight", 1, 0, positions, width),
                torch.ids(positionIds(padding), batch, seq)));
    if (types > 0) {
      Array rows = draw(e + "token_type_embeddings.weight", 1, 0, types, width);
      x = torch.add(x, torch.slice(rows, 0, 0, 1));
    }
    return epsilon > 0 ? norm(x, e + "LayerNorm", epsilon) : x;
  }

  /** Added to the scores: −∞ for padding, and biases if there are any. */
  private Array mask(float[][] biases) {
    int batch = lengths.length;
    float[] mask = new float[batch * HEADS * seq * seq];
    for (int i = 0; i < mask.length; i++) {
      int key = i % seq;
      int query = i / seq % seq;
      int head = i / (seq * seq) % HEADS;
      boolean seen = key < lengths[i / (HEADS * seq * seq)];
      float bias = biases == null ? 0 : biases[bucket(key - query)][head];
      mask[i] = seen ? bias : Float.NEGATIVE_INFINITY;
    }
    return torch.array(mask, batch, HEADS, seq, seq);
  }

  /**
   * MPNet's relative_position_bucket of 32 buckets up to 128, in whole numbers: of those from 8 on,
   * two for each doubling of the distance.
   */
  private static int bucket(int distance) {
    int steps = Math.abs(distance);
    int bucket = steps;
    if (steps >= 8) {
      bucket = 8;
      while (bucket < 15 && (long) steps * steps >= 64L << (bucket - 7)) {
        bucket++;
      }
    }
    return distance > 0 ? 16 + bucket : bucket;
  }

  private Array layer(
      Array x, boolean pre, double epsilon, Array mask, UnaryOperator<Array> act, String... names) {
    return block(x, HEADS, pre, epsilon, mask, false, act, names);
  }

  private static String[] bertNames(int n) {
    return names(
        "encoder.layer." + n + ".",
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm");
  }

  private static String[] names(String layer, String... names) {
    return Arrays.stream(names).map(name -> layer + name).toArray(String[]::new);
  }

  private Array bertLayers(Array x, double epsilon, UnaryOperator<Array> act) {
    for (int n = 0; n < 2; n++) {
      x = layer(x, false, epsilon, mask(null), act, bertNames(n));
    }
    return x;
  }

  // ---- running -------------------------------------------------------------------------------

  private static String config(String type, int layers, String keys) {
    return "{\"model_type\": \"%s\", %s, %s}".formatted(type, SIZES.formatted(layers), keys);
  }

  private TextEncoder load(Path folder, WeightFormat format) throws IOException {
    return Families.encoder(Checkpoint.open(folder, runtime, arena, format));
  }

  private float[] ragged(TextEncoder model) {
    int tokens = Arrays.stream(lengths).sum();
    int[] ids = new int[tokens];
    int[] starts = new int[lengths.length + 1];
    for (int n = 0; n < lengths.length; n++) {
      System.arraycopy(padded, n * seq, ids, starts[n], lengths[n]);
      starts[n + 1] = starts[n] + lengths[n];
    }
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, tokens, WIDTH);
    model.forward(
        Tensor.copyOf(arena, ids, tokens),
        Sequences.ragged(Tensor.copyOf(arena, starts, starts.length)),
        hidden);
    return hidden.toFloatArray();
  }

  private ModelFolders folder(String config) {
    return ModelFolders.of(config, made);
  }

  /** Plain, and as people have it on disk: with a prefix, heads, old names, 16 bits, shards. */
  private float[] check(String what, String config, Array states) throws IOException {
    float[] all = states.toFloats();
    float[] want = new float[Arrays.stream(lengths).sum() * WIDTH];
    for (int n = 0, row = 0; n < lengths.length; n++) {
      System.arraycopy(all, n * seq * WIDTH, want, row * WIDTH, lengths[n] * WIDTH);
      row += lengths[n];
    }
    Path plain = folder(config).write(folder.resolve("plain"));
    float[] view = ragged(load(plain, WeightFormat.VIEW));
    close(what, want, view, FAMILY_BOUND);
    TextEncoder model = load(plain, WeightFormat.FP32);
    float[] got = ragged(model);
    close(what + ", packed", want, got, FAMILY_BOUND);
    paddedAsRagged(model, padded, lengths, got);
    for (DType dtype : new DType[] {DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16}) {
      ModelFolders disk = folder(config).withOldNorms().prefixed(prefix).as(dtype).shards(2);
      for (String head : heads) {
        disk.with(head, normal(1, 3));
      }
      Path path = disk.write(folder.resolve(dtype.toString()));
      assertArrayEquals(got, ragged(load(path, WeightFormat.FP32)), dtype::toString);
      packedAlike(
          FolderInspection.Kind.EMBEDDER,
          path,
          checkpoint -> ragged(Families.encoder(checkpoint)),
          WeightFormat.AUTO,
          WeightFormat.FP32,
          WeightFormat.BF16,
          WeightFormat.INT8);
    }
    blamed(plain);
    return want;
  }

  /** Whichever weight is missing, has another shape or type, it is that one which is named. */
  private void blamed(Path plain) throws IOException {
    Checkpoint whole = Checkpoint.open(plain, runtime, arena, WeightFormat.FP32);
    for (String name : made.keySet()) {
      long[] longer = made.get(name).shape();
      longer[longer.length - 1]++;
      for (Tensor other :
          new Tensor[] {
            null,
            Tensor.allocate(arena, DType.FLOAT32, longer),
            Tensor.allocate(arena, DType.INT32, made.get(name).shape())
          }) {
        Map<String, Tensor> changed = new TreeMap<>(made);
        if (other == null) {
          changed.remove(name);
        } else {
          changed.put(name, other);
        }
        Checkpoint checkpoint =
            new Checkpoint(
                plain, runtime, whole.config(), Weights.of(changed), arena, WeightFormat.FP32);
        String message =
            assertThrows(IOException.class, () -> Families.encoder(checkpoint), name).getMessage();
        assertTrue(message.contains(name), () -> name + ": " + other + ": " + message);
      }
    }
  }

  private void matters(float[] want, String config) throws IOException {
    Path path = folder(config).write(folder.resolve("other"));
    double share = Difference.share(want, ragged(load(path, WeightFormat.FP32)));
    assertTrue(share > MATTERS, config + " changes only " + share);
  }

  private void refused(String config, String reason) throws IOException {
    refused(folder(config), reason);
  }

  private void refused(ModelFolders disk, String reason) throws IOException {
    Path path = disk.write(folder.resolve("refused"));
    String message =
        assertThrows(IOException.class, () -> load(path, WeightFormat.FP32), reason).getMessage();
    assertTrue(message.contains("refused") && message.contains(reason), message);
  }

  /** A weight that nothing reads. */
  private void leftover(String config, String name) throws IOException {
    refused(folder(config).with(name, normal(1, WIDTH)), name);
  }

  // ---- families ------------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource({"gelu", "gelu_new", "relu", "silu"})
  void bert(String name) throws IOException {
    prefix = "bert.";
    heads = new String[] {"cls.predictions.bias", "bert.pooler.dense.bias"};
    UnaryOperator<Array> act =
        switch (name) {
          case "gelu" -> torch::gelu;
          case "gelu_new" -> torch::geluTanh;
          case "relu" -> torch::relu;
          default -> torch::silu;
        };
    Array x = bertLayers(embeddings(WIDTH, -1, 2, 1e-12), 1e-12, act);
    String keys = "\"max_position_embeddings\": 20, \"hidden_act\": \"%s\"";
    String config = config("bert", 2, keys.formatted(name));
    float[] want = check("BERT, " + name, config, x);
    if (!name.startsWith("gelu")) {
      matters(want, config("bert", 2, keys.formatted("gelu")));
    }
    leftover(config, "encoder.layer.2.output.dense.bias");
    leftover(config, "encoder.layer.0.attention.self.distance_embedding.weight");
    refused(config("bert", 2, keys.formatted("mish")), "hidden_act: expected one of gelu");
    refused(
        config.replace("{", "{\"position_embedding_type\": \"rotary\", "),
        "position_embedding_type: expected \"absolute\"");
    refused(config.replace("\"hidden_size\": 24", "\"hidden_size\": 48"), "expected");
    refused(config.replace(": 72", ": 71"), "intermediate_size: expected 72");
    refused(config.replace("\"bert\"", "\"bart\""), "model_type: expected one of albert, bert");
  }

  /** transformers' BertSelfAttention with relative_key, whose table of positions is not read. */
  @ParameterizedTest
  @CsvSource({"bert, relative_key", "roberta, relative_key_query"})
  void relativeKeys(String type, String kind) throws IOException {
    prefix = type + ".";
    heads = new String[] {prefix + "pooler.dense.bias", "classifier.bias"};
    int size = WIDTH / HEADS;
    int batch = lengths.length;
    padded = ids(batch * seq, VOCABULARY);
    String e = "embeddings.";
    Array x =
        torch.embedding(
            draw(e + "word_embeddings.weight", 1, 0, VOCABULARY, WIDTH),
            torch.ids(padded, batch, seq));
    x =
        torch.add(
            x, torch.slice(draw(e + "token_type_embeddings.weight", 1, 0, 2, WIDTH), 0, 0, 1));
    x = norm(x, e + "LayerNorm", 1e-3);
    int[] distances = new int[seq * seq];
    for (int i = 0; i < distances.length; i++) {
      distances[i] = i / seq - i % seq + positions - 1;
    }
    for (int n = 0; n < 2; n++) {
      String[] names = bertNames(n);
      Array[] parts = new Array[3];
      for (int i = 0; i < parts.length; i++) {
        parts[i] = split(dense(x, names[i], WIDTH), batch, seq, HEADS, size);
      }
      String layer = "encoder.layer.%d.attention.self.".formatted(n);
      Array table = draw(layer + "distance_embedding.weight", 1, 0, 2L * positions - 1, size);
      Array each = torch.embedding(table, torch.ids(distances, seq, seq)); // [l, r, d]
      // einsum("bhld,lrd->bhlr"): [l, b·h, d] times [l, d, r]
      Array q = torch.reshape(torch.permute(parts[0], 2, 0, 1, 3), seq, batch * HEADS, size);
      Array scores = torch.matmul(q, torch.transpose(each, 1, 2));
      scores = torch.reshape(torch.permute(scores, 1, 0, 2), batch, HEADS, seq, seq);
      if (kind.equals("relative_key_query")) {
        // einsum("bhrd,lrd->bhlr"): [r, b·h, d] times [r, d, l]
        Array k = torch.reshape(torch.permute(parts[1], 2, 0, 1, 3), seq, batch * HEADS, size);
        Array other = torch.matmul(k, torch.permute(each, 1, 2, 0));
        other = torch.reshape(torch.permute(other, 1, 2, 0), batch, HEADS, seq, seq);
        scores = torch.add(scores, other);
      }
      scores = torch.add(torch.matmul(parts[0], torch.transpose(parts[1], 2, 3)), scores);
      scores = torch.add(torch.multiply(scores, 1 / Math.sqrt(size)), mask(null));
      Array context = torch.matmul(torch.softmax(scores, 3), parts[2]);
      context = dense(merge(context, batch, seq, WIDTH), names[3], WIDTH);
      x = norm(torch.add(x, context), names[4], 1e-3);
      Array h = dense(torch.gelu(dense(x, names[5], 3 * WIDTH)), names[6], WIDTH);
      x = norm(torch.add(x, h), names[7], 1e-3);
    }
    String config =
        config(
            type,
            2,
            "\"position_embedding_type\": \""
                + kind
                + "\", \"max_position_embeddings\": 20,"
                + " \"layer_norm_eps\": 1e-3");
    float[] want = check(kind + ", " + type, config, x);
    matters(
        want,
        config.replace(kind, kind.equals("relative_key") ? "relative_key_query" : "relative_key"));
    refused(
        config.replace("gs\": 20", "gs\": 21"), "max_position_embeddings: expected half of 1 + 39");
    Path files =
        folder(config)
            .with(e + "position_embeddings.weight", normal(1, 20, WIDTH))
            .write(folder.resolve("table"));
    TextEncoder model = load(files, WeightFormat.VIEW);
    assertEquals(20, model.positions());
    Tensor ids = Tensor.allocate(arena, DType.INT32, 1, 21);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, 1, 21, WIDTH);
    assertThrows(IllegalArgumentException.class, () -> model.forward(ids, hidden));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            model.forward(
                null, ids.slice(1, 0, 3), null, hidden.slice(1, 0, 3), (n, s, q, k) -> {}));
  }

  /** Epsilon is large, so that a default of 1e-12 in its place would show. */
  @ParameterizedTest
  @CsvSource({"roberta", "xlm-roberta", "camembert"})
  void roberta(String type) throws IOException {
    prefix = "roberta.";
    heads = new String[] {"lm_head.layer_norm.bias", "roberta.pooler.dense.bias"};
    Array x = bertLayers(embeddings(WIDTH, 1, 1, 1e-2), 1e-2, torch::gelu);
    String keys =
        "\"max_position_embeddings\": 20, \"type_vocab_size\": 1, \"layer_norm_eps\": %s%s";
    float[] want = check(type, config(type, 2, keys.formatted("1e-2", "")), x);
    matters(want, config(type, 2, keys.formatted("1e-5", "")));
    matters(want, config(type, 2, keys.formatted("1e-2", ", \"pad_token_id\": 2")));
  }

  @Test
  void distilBert() throws IOException {
    prefix = "distilbert.";
    heads = new String[] {"vocab_transform.bias", "pre_classifier.bias"};
    Array x = embeddings(WIDTH, -1, 0, 1e-12);
    for (int n = 0; n < 2; n++) {
      x =
          layer(
              x,
              false,
              1e-12,
              mask(null),
              torch::relu,
              names(
                  "transformer.layer." + n + ".",
                  "attention.q_lin",
                  "attention.k_lin",
                  "attention.v_lin",
                  "attention.out_lin",
                  "sa_layer_norm",
                  "ffn.lin1",
                  "ffn.lin2",
                  "output_layer_norm"));
    }
    String config =
        """
        {"model_type": "distilbert", "dim": 24, "n_heads": 3, "n_layers": 2, "hidden_dim": 72,
        "vocab_size": 50, "max_position_embeddings": 20, "activation": "relu"}
        """;
    float[] want = check("DistilBERT", config, x);
    matters(want, config.replace("relu", "gelu"));
  }

  /** Texts that are longer than the distance from which on all share a bucket. */
  @Test
  void mpnet() throws IOException {
    prefix = "mpnet.";
    heads = new String[] {"lm_head.dense.bias", "mpnet.pooler.dense.bias"};
    seq = 140;
    lengths = new int[] {140, 1, 37};
    positions = 150;
    Array x = embeddings(WIDTH, 1, 0, 1e-5);
    String bias = "encoder.relative_attention_bias.weight";
    float[] table = draw(bias, 1, 0, 32, HEADS).toFloats();
    float[][] biases = new float[32][];
    for (int n = 0; n < biases.length; n++) {
      biases[n] = Arrays.copyOfRange(table, n * HEADS, (n + 1) * HEADS);
    }
    for (int n = 0; n < 2; n++) {
      x =
          layer(
              x,
              false,
              1e-5,
              mask(biases),
              torch::gelu,
              names(
                  "encoder.layer." + n + ".",
                  "attention.attn.q",
                  "attention.attn.k",
                  "attention.attn.v",
                  "attention.attn.o",
                  "attention.LayerNorm",
                  "intermediate.dense",
                  "output.dense",
                  "output.LayerNorm"));
    }
    String config =
        config(
            "mpnet",
            2,
            "\"max_position_embeddings\": 150, \"layer_norm_eps\": 1e-5,"
                + " \"relative_attention_num_buckets\": 32");
    check("MPNet", config, x);
    refused(
        config.replace("buckets\": 32", "buckets\": 16"),
        "relative_attention_num_buckets: expected 32");
    refused(config.replace("{", "{\"pad_token_id\": 0, "), "pad_token_id: expected 1");
    refused(config.replace(": 150", ": 151"), "max_position_embeddings: expected 150");
    leftover(config, "embeddings.token_type_embeddings.weight");
    Map<String, Tensor> fewer = new TreeMap<>(made);
    fewer.remove("encoder.layer.1.attention.attn.k.bias");
    refused(ModelFolders.of(config, fewer), "encoder.layer.1.attention.attn.k.bias");
  }

  /** Four layers of two groups; one group of all layers. */
  @ParameterizedTest
  @CsvSource({"1", "2"})
  void albert(int groups) throws IOException {
    prefix = "albert.";
    heads = new String[] {"predictions.bias", "sop_classifier.classifier.bias"};
    Array x = embeddings(NARROW, -1, 2, 1e-12);
    x = dense(x, "encoder.embedding_hidden_mapping_in", WIDTH);
    for (int n = 0; n < 4; n++) {
      x =
          layer(
              x,
              false,
              1e-12,
              mask(null),
              torch::geluTanh,
              names(
                  "encoder.albert_layer_groups.%d.albert_layers.0.".formatted(n * groups / 4),
                  "attention.query",
                  "attention.key",
                  "attention.value",
                  "attention.dense",
                  "attention.LayerNorm",
                  "ffn",
                  "ffn_output",
                  "full_layer_layer_norm"));
    }
    String keys =
        "\"max_position_embeddings\": 20, \"embedding_size\": 16, \"inner_group_num\": 1,"
            + " \"num_hidden_groups\": %d";
    String config = config("albert", 4, keys.formatted(groups));
    float[] want = check("ALBERT, groups: " + groups, config, x);
    matters(want, config("albert", 3 * groups, keys.formatted(groups)));
    refused(config.replace("num\": 1", "num\": 2"), "inner_group_num: expected 1");
    refused(config("albert", 4, keys.formatted(3)), "num_hidden_groups: expected a divisor of 4");
    refused(config.replace("size\": 16", "size\": 12"), "expected");
    leftover(config, "encoder.albert_layer_groups.%d.albert_layers.0.ffn.bias".formatted(groups));
    leftover(config, "encoder.albert_layer_groups.0.albert_layers.1.ffn.bias");
  }

  @ParameterizedTest
  @CsvSource({"24", "16"})
  void electra(int width) throws IOException {
    prefix = "electra.";
    heads = new String[] {"discriminator_predictions.dense.bias", "generator_lm_head.bias"};
    Array x = embeddings(width, -1, 2, 1e-12);
    if (width != WIDTH) {
      x = dense(x, "embeddings_project", WIDTH);
    }
    x = bertLayers(x, 1e-12, torch::gelu);
    String keys = "\"max_position_embeddings\": 20, \"embedding_size\": " + width;
    String config = config("electra", 2, keys);
    check("ELECTRA, embeddings of " + width, config, x);
    refused(config.replace("_size\": " + width, "_size\": 12"), "expected");
    leftover(config, "embeddings_project.other");
    if (width == WIDTH) {
      leftover(config, "embeddings_project.bias");
    } else {
      Map<String, Tensor> fewer = new TreeMap<>(made);
      fewer.remove("embeddings_project.bias");
      refused(ModelFolders.of(config, fewer), "embeddings_project.bias");
    }
  }

  @Test
  void megatronBert() throws IOException {
    prefix = "bert.";
    heads = new String[] {"cls.predictions.bias", "bert.pooler.dense.bias"};
    Array x = embeddings(WIDTH, -1, 2, 0);
    for (int n = 0; n < 2; n++) {
      String[] names = bertNames(n);
      names[4] = "encoder.layer.%d.attention.ln".formatted(n);
      names[7] = "encoder.layer.%d.ln".formatted(n);
      x = layer(x, true, 1e-12, mask(null), torch::gelu, names);
    }
    x = norm(x, "encoder.ln", 1e-12);
    String config = config("megatron-bert", 2, "\"max_position_embeddings\": 20");
    check("Megatron-BERT", config, x);
    leftover(config, "embeddings.LayerNorm.weight");
    Map<String, Tensor> fewer = new TreeMap<>(made);
    fewer.remove("encoder.ln.bias");
    refused(ModelFolders.of(config, fewer), "encoder.ln.bias");
  }

  /** From a text to its vector, through the tokenizer and the projection. */
  @Test
  void textEmbedder() throws IOException {
    albert(1);
    String config =
        config(
            "albert",
            4,
            "\"max_position_embeddings\": 20, \"embedding_size\": 16, \"num_hidden_groups\": 1");
    Path path = folder(config).tokenizer(TokenizerFiles.bert()).write(folder.resolve("texts"));
    try (TextEmbedder model =
        TextEmbedder.load(runtime, EmbeddingModelSpec.folder(path), WeightFormat.FP32)) {
      float[] vector = model.embed("the cat sat");
      padded = model.tokenize("the cat sat").ids();
      lengths = new int[] {padded.length};
      seq = padded.length;
      float[] hidden = ragged(load(path, WeightFormat.FP32));
      double[] mean = new double[WIDTH];
      for (int i = 0; i < hidden.length; i++) {
        mean[i % WIDTH] += hidden[i] / seq;
      }
      double length = Math.sqrt(Arrays.stream(mean).map(value -> value * value).sum());
      for (int i = 0; i < WIDTH; i++) {
        assertEquals(mean[i] / length, vector[i], 1e-5);
      }
    }
  }
}
