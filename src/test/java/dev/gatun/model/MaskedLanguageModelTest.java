package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.support.MaskedFolder;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Logits against PyTorch; what is made of them against double. */
class MaskedLanguageModelTest extends PyTorchModels {
  private static final int WIDTH = 24;
  private static final int WORDS = MaskedFolder.VOCABULARY;

  /** [CLS] the capital of france is [MASK] . [SEP] */
  private static final int[] IDS = {2, 5, 6, 7, 8, 9, 4, 12, 3};

  private static final int MASK_AT = 6;

  private static final String BERT =
      """
      {"model_type": "bert", "hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1,
      "intermediate_size": 72, "vocab_size": 50, "max_position_embeddings": 20,
      "hidden_act": "relu", "layer_norm_eps": 1e-2}
      """;

  private static final String ROBERTA =
      """
      {"model_type": "roberta", "hidden_size": 24, "num_attention_heads": 3,
      "num_hidden_layers": 1, "intermediate_size": 72, "vocab_size": 50, "type_vocab_size": 1,
      "max_position_embeddings": 20, "hidden_act": "relu", "layer_norm_eps": 1e-2}
      """;

  private static final String DISTILBERT =
      """
      {"model_type": "distilbert", "dim": 24, "n_heads": 3, "n_layers": 1, "hidden_dim": 72,
      "vocab_size": 50, "max_position_embeddings": 20, "activation": "relu"}
      """;

  // ---- transformers' models ------------------------------------------------------------------

  private Array states(
      String scope, String layer, int first, int types, double eps, String... parts) {
    String e = scope + "embeddings.";
    int[] places = IntStream.range(first, first + IDS.length).toArray();
    Array words = draw(e + "word_embeddings.weight", 1, 0, WORDS, WIDTH);
    Array rows = draw(e + "position_embeddings.weight", 1, 0, 20, WIDTH);
    Array x =
        torch.add(
            torch.embedding(words, torch.ids(IDS, 1, IDS.length)),
            torch.embedding(rows, torch.ids(places, 1, IDS.length)));
    if (types > 0) {
      Array type = draw(e + "token_type_embeddings.weight", 1, 0, types, WIDTH);
      x = torch.add(x, torch.slice(type, 0, 0, 1));
    }
    String[] names = new String[parts.length];
    for (int n = 0; n < names.length; n++) {
      names[n] = scope + layer + parts[n];
    }
    int n = IDS.length;
    Array mask = torch.array(new float[3 * n * n], 1, 3, n, n);
    return block(norm(x, e + "LayerNorm", eps), 3, false, eps, mask, false, torch::relu, names);
  }

  private Array bertStates(String scope, int first, int types) {
    return states(
        scope,
        "encoder.layer.0.",
        first,
        types,
        1e-2,
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm");
  }

  private Array head(
      Array x,
      String scope,
      String dense,
      UnaryOperator<Array> act,
      String norm,
      double eps,
      String bias) {
    Array h = norm(act.apply(dense(x, dense, WIDTH)), norm, eps);
    Array table = draw(scope + "embeddings.word_embeddings.weight", 1, 0, WORDS, WIDTH);
    return torch.linear(h, table, bias(bias, WORDS));
  }

  private Array bert() {
    String p = "cls.predictions.";
    return head(
        bertStates("bert.", 0, 2),
        "bert.",
        p + "transform.dense",
        torch::relu,
        p + "transform.LayerNorm",
        1e-2,
        p + "bias");
  }

  private Array logits(String type) {
    return switch (type) {
      case "bert" -> bert();
      case "roberta" ->
          head(
              bertStates("roberta.", 2, 1),
              "roberta.",
              "lm_head.dense",
              torch::gelu,
              "lm_head.layer_norm",
              1e-2,
              "lm_head.bias");
      default ->
          head(
              states(
                  "distilbert.",
                  "transformer.layer.0.",
                  0,
                  0,
                  1e-12,
                  "attention.q_lin",
                  "attention.k_lin",
                  "attention.v_lin",
                  "attention.out_lin",
                  "sa_layer_norm",
                  "ffn.lin1",
                  "ffn.lin2",
                  "output_layer_norm"),
              "distilbert.",
              "vocab_transform",
              torch::relu,
              "vocab_layer_norm",
              1e-12,
              "vocab_projector.bias");
    };
  }

  private static String config(String type) {
    return switch (type) {
      case "bert" -> BERT;
      case "roberta" -> ROBERTA;
      default -> DISTILBERT;
    };
  }

  // ---- tests ---------------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource({"bert, [MASK]", "roberta, <mask>", "distilbert, [MASK]"})
  void isPyTorchs(String type, String mask) throws IOException {
    float[] want = logits(type).toFloats();
    Path path =
        ModelFolders.of(config(type), made)
            .tokenizer(MaskedFolder.tokenizer(mask))
            .write(folder.resolve(type));
    for (WeightFormat format : List.of(WeightFormat.FP32, WeightFormat.VIEW)) {
      try (MaskedLanguageModel model = MaskedLanguageModel.load(runtime, path, format)) {
        assertEquals(mask, model.mask());
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, IDS.length, WORDS);
        Tensor ids = Tensor.copyOf(arena, IDS, IDS.length);
        model.scorer().forward(null, ids, null, null, out);
        close(type + ", " + format, want, out.toFloatArray(), FAMILY_BOUND);
        checkFill(model, mask, want);
        checkSplade(model, mask, want);
      }
    }
  }

  /** Probabilities are exponentials of logits, whose absolute errors become relative ones. */
  private static double tolerance(float[] logits) {
    double greatest = 0;
    for (float logit : logits) {
      greatest = Math.max(greatest, Math.abs(logit));
    }
    return 2 * FAMILY_BOUND * greatest;
  }

  private static void checkFill(MaskedLanguageModel model, String mask, float[] logits) {
    List<List<Fill>> fills = model.fill("the capital of France is " + mask + ".", 7);
    assertEquals(1, fills.size());
    int row = MASK_AT * WORDS;
    double sum = IntStream.range(0, WORDS).mapToDouble(n -> Math.exp(logits[row + n])).sum();
    List<Integer> best =
        IntStream.range(0, WORDS)
            .boxed()
            .sorted(Comparator.comparingDouble(n -> -logits[row + n]))
            .toList();
    for (int n = 0; n < 7; n++) {
      Fill fill = fills.getFirst().get(n);
      assertEquals(best.get(n), fill.id());
      double wanted = Math.exp(logits[row + fill.id()]) / sum;
      assertEquals(wanted, fill.probability(), wanted * 2 * tolerance(logits));
      assertEquals(model.token(fill.id()), fill.token());
    }
  }

  private static void checkSplade(MaskedLanguageModel model, String mask, float[] logits) {
    SparseVector got = model.splade("the capital of france is " + mask + ".");
    for (int id = 0; id < WORDS; id++) {
      double greatest = 0;
      for (int n = 0; n < IDS.length; n++) {
        greatest = Math.max(greatest, logits[n * WORDS + id]);
      }
      assertEquals(Math.log1p(greatest), got.weight(id), tolerance(logits));
    }
    for (float weight : got.weights()) {
      assertTrue(weight > 0);
    }
    assertEquals(got, model.splade(IDS, IDS.length));
    SparseVector passes = model.splade(IDS, 2);
    for (int id = 0; id < WORDS; id++) {
      assertEquals(got.weight(id), passes.weight(id), tolerance(logits));
    }
  }

  @Test
  void fillsTheText() throws IOException {
    Path path = MaskedFolder.write(folder.resolve("small"));
    try (MaskedLanguageModel model = MaskedLanguageModel.load(runtime, path)) {
      List<List<Fill>> fills = model.fill("The capital of [MASK] is [MASK] .", WORDS);
      assertEquals(2, fills.size());
      Fill first = fills.get(1).getFirst();
      assertEquals("paris", first.token());
      assertEquals(MaskedFolder.id("paris"), first.id());
      assertEquals("the capital of [MASK] is paris.", first.text());
      assertEquals("the capital of paris is [MASK].", fills.getFirst().getFirst().text());
      double sum = fills.getFirst().stream().mapToDouble(Fill::probability).sum();
      assertEquals(1, sum, 1e-12); // rounding of 50 numbers in double
      SparseVector vector = model.splade("the cat");
      assertTrue(vector.dot(vector) > vector.dot(new SparseVector(new int[0], new float[0])));
      refused("text: expected the mask [MASK], got none", () -> model.fill("the cat", 1));
      refused("k: expected 1 .. 50", () -> model.fill("[MASK]", 0));
      refused("k: expected 1 .. 50", () -> model.fill("[MASK]", 51));
      refused(
          "text: expected at most 20 tokens, got 33", () -> model.fill("[MASK] ".repeat(31), 1));
    }
    MaskedLanguageModel closed = MaskedLanguageModel.load(runtime, path);
    closed.close();
    assertThrows(IllegalStateException.class, () -> closed.fill("[MASK]", 1));
  }

  /** A sparse encoder of sentence-transformers: its modules say how weights are made of scores. */
  @Test
  void sparseEncoders() throws IOException {
    Path path = MaskedFolder.write(folder.resolve("sparse"));
    Files.writeString(
        path.resolve("modules.json"),
        "[{\"path\": \"\", \"type\":"
            + " \"sentence_transformers.sparse_encoder.models.MLMTransformer\"}, {\"path\":"
            + " \"1_SpladePooling\", \"type\":"
            + " \"sentence_transformers.sparse_encoder.models.SpladePooling\"}]");
    Files.writeString(
        path.resolve("sentence_bert_config.json"), "{\"transformer_task\": \"fill-mask\"}");
    Path config = Files.createDirectory(path.resolve("1_SpladePooling")).resolve("config.json");
    Files.writeString(
        config,
        "{\"pooling_strategy\": \"max\", \"activation_function\": \"relu\","
            + " \"word_embedding_dimension\": 50}");
    MaskedLanguageModel.load(runtime, path).close();
    for (String key : List.of("pooling_strategy", "activation_function")) {
      Files.writeString(config, "{\"%s\": \"sum\"}".formatted(key));
      String message =
          assertThrows(IOException.class, () -> MaskedLanguageModel.load(runtime, path))
              .getMessage();
      assertTrue(
          message.contains("1_SpladePooling") && message.contains(key + ": expected"), message);
    }
  }

  private static void refused(String message, Runnable call) {
    String said = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(said.contains(message), said);
  }

  // ---- refusals ------------------------------------------------------------------------------

  @Test
  void refusesByName() throws IOException {
    bert();
    for (String part :
        List.of(
            "transform.dense.weight",
            "transform.dense.bias",
            "transform.LayerNorm.weight",
            "transform.LayerNorm.bias",
            "bias")) {
      Map<String, Tensor> fewer = new TreeMap<>(made);
      fewer.remove("cls.predictions." + part);
      refused(BERT, fewer, "expected cls.predictions." + part + ", got none");
    }
    refused(
        BERT.replace("\"bert\"", "\"t5\""),
        made,
        "model_type: expected one of albert, bert, camembert, distilbert, electra, megatron-bert");
    String own = "cls.predictions.decoder.weight";
    String untied = BERT.replace("{", "{\"tie_word_embeddings\": false, ");
    refused(untied, made, own);
    Map<String, Tensor> more = new TreeMap<>(made);
    more.put(own, made.get("bert.embeddings.word_embeddings.weight"));
    more.put("cls.predictions.decoder.bias", made.get("cls.predictions.bias"));
    load(BERT, more, "[MASK]").close();
    more.put(own, normal(1, WORDS, WIDTH));
    refused(BERT, more, own + ": expected the numbers of embeddings.word_embeddings.weight");
    load(untied, more, "[MASK]").close();
    more.put("cls.predictions.transform.scale", made.get("cls.predictions.bias"));
    refused(
        untied, more, "expected weights that the model reads, got cls.predictions.transform.scale");
    String message = assertThrows(IOException.class, () -> load(BERT, made, "[NONE]")).getMessage();
    assertTrue(message.contains("expected the mask [MASK] or <mask>"), message);
    assertFalse(message.contains("null"), message);
  }

  private MaskedLanguageModel load(String config, Map<String, Tensor> weights, String mask)
      throws IOException {
    Path path =
        ModelFolders.of(config, weights)
            .tokenizer(MaskedFolder.tokenizer(mask))
            .write(folder.resolve("other"));
    return MaskedLanguageModel.load(runtime, path);
  }

  private void refused(String config, Map<String, Tensor> weights, String reason) {
    String message =
        assertThrows(IOException.class, () -> load(config, weights, "[MASK]")).getMessage();
    assertTrue(message.contains(reason), message);
  }
}
