package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.SequenceClassifier;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import dev.gatun.support.MaskedFolder;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Heads of the families that are encoders of their own, with transformers' names and formulas in
 * PyTorch's functions, on the states of Gatun's encoders: those are held against PyTorch in {@link
 * EncoderFoldersTest} and {@link ModernEncodersTest}.
 */
class FamilyHeadsTest extends PyTorchModels {
  private static final int WIDTH = 24;
  private static final int NARROW = 16;
  private static final int WORDS = 50;
  private static final int LABELS = 3;
  private static final double EPSILON = 1e-2;
  private static final int[] LENGTHS = {7, 1, 4};
  private static final int[] STARTS = {0, 7, 8, 12};

  private static final WeightFormat[] PACKED = {
    WeightFormat.FP32, WeightFormat.BF16, WeightFormat.INT8
  };

  private final int[] ids = ids(STARTS[3], WORDS);

  // ---- folders -------------------------------------------------------------------------------

  private static String config(String type, String keys) {
    String own =
        switch (type) {
          case "albert" -> "\"embedding_size\": 16, \"num_hidden_groups\": 1";
          case "electra" -> "\"embedding_size\": 16";
          case "modernbert" -> "\"norm_eps\": 0.01, \"local_attention\": 4";
          default -> "\"x\": 1";
        };
    return """
    {"model_type": "%s", "hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2,
    "intermediate_size": 40, "vocab_size": 50, "max_position_embeddings": 20,
    "layer_norm_eps": 0.01, "hidden_act": "relu", %s%s}
    """
        .formatted(type, own, keys);
  }

  private static String scope(String type) {
    return switch (type) {
      case "megatron-bert" -> "bert.";
      case "modernbert" -> "model.";
      default -> type + ".";
    };
  }

  private static boolean narrows(String type) {
    return type.equals("albert") || type.equals("electra");
  }

  private void dense(String name, int out, int in) {
    matrix(name + ".weight", out, in);
    bias(name + ".bias", out);
  }

  private void norm(String name, int size) {
    gamma(name + ".weight", size);
    bias(name + ".bias", size);
  }

  /** Draws the weights of an encoder, without the scope. */
  private void encoder(String type) {
    if (type.equals("modernbert")) {
      modernBert();
      return;
    }
    int width = narrows(type) ? NARROW : WIDTH;
    String e = "embeddings.";
    draw(e + "word_embeddings.weight", 1, 0, WORDS, width);
    draw(e + "position_embeddings.weight", 1, 0, 20, width);
    if (!type.equals("mpnet")) {
      draw(e + "token_type_embeddings.weight", 1, 0, 2, width);
    }
    if (!type.equals("megatron-bert")) {
      norm(e + "LayerNorm", width);
    }
    for (int n = 0; n < (type.equals("albert") ? 1 : 2); n++) {
      String[] names = layer(type, n);
      for (int i = 0; i < 4; i++) {
        dense(names[i], WIDTH, WIDTH);
      }
      norm(names[4], WIDTH);
      dense(names[5], 40, WIDTH);
      dense(names[6], WIDTH, 40);
      norm(names[7], WIDTH);
    }
    switch (type) {
      case "albert" -> dense("encoder.embedding_hidden_mapping_in", WIDTH, NARROW);
      case "electra" -> dense("embeddings_project", WIDTH, NARROW);
      case "megatron-bert" -> norm("encoder.ln", WIDTH);
      default -> draw("encoder.relative_attention_bias.weight", 1, 0, 32, 3);
    }
  }

  private static String[] layer(String type, int n) {
    String layer = "encoder.layer." + n + ".";
    String names =
        "attention.self.query attention.self.key attention.self.value attention.output.dense"
            + " attention.output.LayerNorm intermediate.dense output.dense output.LayerNorm";
    switch (type) {
      case "albert" -> {
        layer = "encoder.albert_layer_groups.0.albert_layers.0.";
        names =
            "attention.query attention.key attention.value attention.dense attention.LayerNorm"
                + " ffn ffn_output full_layer_layer_norm";
      }
      case "mpnet" ->
          names =
              "attention.attn.q attention.attn.k attention.attn.v attention.attn.o"
                  + " attention.LayerNorm intermediate.dense output.dense output.LayerNorm";
      case "megatron-bert" ->
          names =
              names
                  .replace("attention.output.LayerNorm", "attention.ln")
                  .replace("output.LayerNorm", "ln");
      default -> {}
    }
    String[] all = names.split(" ");
    for (int i = 0; i < all.length; i++) {
      all[i] = layer + all[i];
    }
    return all;
  }

  private void modernBert() {
    draw("embeddings.tok_embeddings.weight", 1, 0, WORDS, WIDTH);
    gamma("embeddings.norm.weight", WIDTH);
    for (int n = 0; n < 2; n++) {
      String layer = "layers." + n + ".";
      if (n > 0) {
        gamma(layer + "attn_norm.weight", WIDTH);
      }
      matrix(layer + "attn.Wqkv.weight", 3 * WIDTH, WIDTH);
      matrix(layer + "attn.Wo.weight", WIDTH, WIDTH);
      gamma(layer + "mlp_norm.weight", WIDTH);
      matrix(layer + "mlp.Wi.weight", 80, WIDTH);
      matrix(layer + "mlp.Wo.weight", WIDTH, 40);
    }
    gamma("final_norm.weight", WIDTH);
  }

  private static boolean isOfHead(String name) {
    return name.matches("(cls|classifier|predictions|generator_\\w+|lm_head|head|decoder)\\..*");
  }

  private ModelFolders files(String type, String keys, Map<String, Tensor> weights) {
    return ModelFolders.of(config(type, keys), weights)
        .named(name -> isOfHead(name) ? name : scope(type) + name);
  }

  private Checkpoint open(String type, String keys, WeightFormat format) throws IOException {
    return Checkpoint.open(
        files(type, keys, made).write(folder.resolve(type)), runtime, arena, format);
  }

  /** The last hidden states, [tokens, width]. */
  private Array states(Checkpoint checkpoint) throws IOException {
    TextEncoder encoder = Families.encoder(checkpoint);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, ids.length, WIDTH);
    encoder.forward(Tensor.copyOf(arena, ids, ids.length), texts(), hidden);
    return torch.array(hidden.toFloatArray(), ids.length, WIDTH);
  }

  private Sequences texts() {
    return Sequences.ragged(Tensor.copyOf(arena, STARTS, STARTS.length));
  }

  private float[] scores(TokenScorer scorer) {
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, ids.length, scorer.scores());
    scorer.forward(null, Tensor.copyOf(arena, ids, ids.length), null, texts(), out);
    return out.toFloatArray();
  }

  private float[] scores(SequenceClassifier classifier) {
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, LENGTHS.length, classifier.scores());
    classifier.forward(null, Tensor.copyOf(arena, ids, ids.length), null, texts(), out);
    return out.toFloatArray();
  }

  // ---- heads ---------------------------------------------------------------------------------

  /** ModernBertPredictionHead: no biases unless config.json says so. */
  private Array modernHead(Array x, boolean biased, UnaryOperator<Array> act) {
    Array dense =
        torch.linear(
            x,
            matrix("head.dense.weight", WIDTH, WIDTH),
            biased ? bias("head.dense.bias", WIDTH) : null);
    return torch.layerNorm(act.apply(dense), gamma("head.norm.weight", WIDTH), null, EPSILON);
  }

  /** Draws the head first, so that it is in the file whose encoder makes the states. */
  private Array masked(String type, Array x) {
    int width = narrows(type) ? NARROW : WIDTH;
    return switch (type) {
      case "albert" ->
          words(
              type,
              norm(torch.relu(dense(x, "predictions.dense", width)), "predictions."),
              "predictions.bias");
      case "electra" ->
          words(
              type,
              norm(
                  torch.gelu(dense(x, "generator_predictions.dense", width)),
                  "generator_predictions."),
              "generator_lm_head.bias");
      case "megatron-bert" ->
          words(
              type,
              norm(
                  torch.relu(dense(x, "cls.predictions.transform.dense", width)),
                  "cls.predictions.transform."),
              "cls.predictions.bias");
      case "mpnet" ->
          words(
              type,
              norm(torch.gelu(dense(x, "lm_head.dense", width)), "lm_head.layer_norm", EPSILON),
              "lm_head.bias");
      default -> words(type, modernHead(x, false, torch::gelu), "decoder.bias");
    };
  }

  private Array norm(Array x, String head) {
    return norm(x, head + "LayerNorm", EPSILON);
  }

  private Array words(String type, Array x, String bias) {
    String table =
        type.equals("modernbert")
            ? "embeddings.tok_embeddings.weight"
            : "embeddings.word_embeddings.weight";
    long width = x.shape()[x.shape().length - 1];
    return torch.linear(x, draw(table, 1, 0, WORDS, width), bias(bias, WORDS));
  }

  private Array texts(String type, Array x, boolean mean) {
    Array[] rows = new Array[LENGTHS.length];
    for (int n = 0; n < rows.length; n++) {
      Array all = torch.slice(x, 0, STARTS[n], mean ? STARTS[n + 1] : STARTS[n] + 1);
      rows[n] = torch.reshape(torch.mean(all, 0), 1, WIDTH);
    }
    Array pooled = torch.concat(0, rows);
    return switch (type) {
      case "albert" -> dense(torch.tanh(dense(pooled, "pooler", WIDTH)), "classifier", LABELS);
      case "electra" ->
          dense(
              torch.gelu(dense(pooled, "classifier.dense", WIDTH)), "classifier.out_proj", LABELS);
      case "megatron-bert" ->
          dense(torch.tanh(dense(pooled, "pooler.dense", WIDTH)), "classifier", LABELS);
      case "mpnet" ->
          dense(
              torch.tanh(dense(pooled, "classifier.dense", WIDTH)), "classifier.out_proj", LABELS);
      default -> dense(modernHead(pooled, false, torch::gelu), "classifier", LABELS);
    };
  }

  private Array zeros() {
    return torch.array(new float[ids.length * WIDTH], ids.length, WIDTH);
  }

  // ---- tests ---------------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(strings = {"albert", "electra", "megatron-bert", "mpnet", "modernbert"})
  void maskedLanguageModels(String type) throws IOException {
    encoder(type);
    masked(type, zeros());
    for (WeightFormat format : List.of(WeightFormat.VIEW, WeightFormat.FP32)) {
      Checkpoint checkpoint = open(type, "", format);
      float[] want = masked(type, states(checkpoint)).toFloats();
      close(type + ", masked, " + format, want, scores(Families.masked(checkpoint)), FAMILY_BOUND);
    }
    packedAlike(
        FolderInspection.Kind.MASKED_LANGUAGE_MODEL,
        folder.resolve(type),
        checkpoint -> scores(Families.masked(checkpoint)),
        PACKED);
    blamed(
        type, "", "(cls|predictions|generator_\\w+|lm_head|head|decoder)\\..*", Families::masked);
  }

  @ParameterizedTest
  @ValueSource(strings = {"albert", "electra", "megatron-bert", "mpnet", "modernbert"})
  void classifiersOfTokens(String type) throws IOException {
    encoder(type);
    String keys = ", \"architectures\": [\"XForTokenClassification\"]";
    UnaryOperator<Array> head =
        x ->
            dense(
                type.equals("modernbert") ? modernHead(x, false, torch::gelu) : x,
                "classifier",
                LABELS);
    head.apply(zeros());
    Checkpoint checkpoint = open(type, keys, WeightFormat.FP32);
    float[] want = head.apply(states(checkpoint)).toFloats();
    TokenScorer scorer = Families.tokenClassifier(checkpoint);
    close(type + ", tokens", want, scores(scorer), FAMILY_BOUND);
    packedAlike(
        FolderInspection.Kind.TOKEN_CLASSIFIER,
        folder.resolve(type),
        each -> scores(Families.tokenClassifier(each)),
        PACKED);
    blamed(type, keys, "(classifier|head)\\..*", Families::tokenClassifier);
  }

  @ParameterizedTest
  @CsvSource({
    "albert, false",
    "electra, false",
    "megatron-bert, false",
    "mpnet, false",
    "modernbert, false",
    "modernbert, true"
  })
  void classifiersOfTexts(String type, boolean mean) throws IOException {
    encoder(type);
    texts(type, zeros(), mean);
    String keys = mean ? ", \"classifier_pooling\": \"mean\"" : "";
    for (WeightFormat format : List.of(WeightFormat.VIEW, WeightFormat.FP32)) {
      Checkpoint checkpoint = open(type, keys, format);
      float[] want = texts(type, states(checkpoint), mean).toFloats();
      SequenceClassifier classifier = Families.classifier(checkpoint);
      close(type + ", texts, " + format, want, scores(classifier), FAMILY_BOUND);
      if (type.equals("modernbert")) {
        float[] other = texts(type, states(checkpoint), !mean).toFloats();
        matters(type + ", the other pooling", other, scores(classifier));
      }
    }
    packedAlike(
        FolderInspection.Kind.TEXT_CLASSIFIER,
        folder.resolve(type),
        checkpoint -> scores(Families.classifier(checkpoint)),
        PACKED);
    blamed(type, keys, "(classifier|head|pooler)\\..*", Families::classifier);
  }

  @Test
  void modernBertsKeys() throws IOException {
    encoder("modernbert");
    UnaryOperator<Array> head = x -> words("modernbert", modernHead(x, true, torch::silu), "none");
    head.apply(zeros());
    made.get("none").fill(0);
    Tensor none = made.remove("none");
    String keys =
        ", \"classifier_bias\": true, \"classifier_activation\": \"silu\", \"decoder_bias\": false";
    Checkpoint checkpoint = open("modernbert", keys, WeightFormat.FP32);
    Array states = states(checkpoint);
    made.put("none", none);
    float[] want = head.apply(states).toFloats();
    made.remove("none");
    close("ModernBERT's keys", want, scores(Families.masked(checkpoint)), FAMILY_BOUND);
    refused("modernbert", keys.replace("silu", "mish"), "classifier_activation: expected one of");
    refused("modernbert", "", "head.dense.bias");
    texts("modernbert", zeros(), false);
    made.remove("head.dense.bias");
    Path path =
        files("modernbert", ", \"classifier_pooling\": \"max\"", made)
            .write(folder.resolve("other"));
    Checkpoint other = Checkpoint.open(path, runtime, arena, WeightFormat.FP32);
    String message = assertThrows(IOException.class, () -> Families.classifier(other)).getMessage();
    assertTrue(message.contains("classifier_pooling: expected \"cls\" or \"mean\""), message);
  }

  private void refused(String type, String keys, String reason) throws IOException {
    Checkpoint checkpoint = open(type, keys, WeightFormat.FP32);
    String message =
        assertThrows(IOException.class, () -> Families.masked(checkpoint)).getMessage();
    assertTrue(message.contains(reason), message);
  }

  private interface Loading {
    Object load(Checkpoint checkpoint) throws IOException;
  }

  /** Whichever weight of the head is missing, longer or too many, it is that one which is named. */
  private void blamed(String type, String keys, String head, Loading loading) throws IOException {
    for (String name : made.keySet().stream().filter(each -> each.matches(head)).toList()) {
      Map<String, Tensor> fewer = new TreeMap<>(made);
      fewer.remove(name);
      blamed(type, keys, fewer, name, loading);
      long[] longer = made.get(name).shape();
      longer[longer.length - 1]++;
      fewer.put(name, Tensor.allocate(arena, DType.FLOAT32, longer));
      blamed(type, keys, fewer, name, loading);
    }
    if (made.keySet().stream().anyMatch(name -> name.startsWith("classifier."))) {
      Map<String, Tensor> more = new TreeMap<>(made);
      more.put("classifier.more", normal(1, 3));
      blamed(type, keys, more, "classifier.more", loading);
    }
  }

  private void blamed(
      String type, String keys, Map<String, Tensor> weights, String name, Loading loading)
      throws IOException {
    Path path = files(type, keys, weights).write(folder.resolve("blamed"));
    Checkpoint checkpoint = Checkpoint.open(path, runtime, arena, WeightFormat.FP32);
    String message =
        assertThrows(IOException.class, () -> loading.load(checkpoint), name).getMessage();
    assertTrue(message.contains(name), () -> name + ": " + message);
  }

  /** From texts, by the classes that people use; types of pairs as transformers' tokenizers. */
  @Test
  void fromTexts() throws IOException {
    encoder("electra");
    texts("electra", zeros(), false);
    Path path =
        files("electra", "", made).tokenizer(TokenizerFiles.bert()).write(folder.resolve("texts"));
    try (TextClassifier model = TextClassifier.load(runtime, path, WeightFormat.FP32)) {
      Tokenized pair = model.tokenize("the cat", "sat");
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, LABELS);
      int count = pair.count();
      model
          .classifier()
          .forward(
              null,
              Tensor.copyOf(arena, pair.ids(), 1, count),
              Tensor.copyOf(arena, pair.typeIds(), 1, count),
              null,
              out);
      float[] want = torch.softmax(torch.array(out.toFloatArray(), 1, LABELS), 1).toFloats();
      for (TextClassifier.Label label : model.classify("the cat", "sat")) {
        assertEquals(want[model.labels().indexOf(label.name())], label.probability(), 1e-6);
      }
    }
    Path packed = folder.resolve("packed");
    ModelPacker.pack(
        runtime, path, FolderInspection.Kind.TEXT_CLASSIFIER, WeightFormat.INT8, packed);
    try (TextClassifier first = TextClassifier.load(runtime, path, WeightFormat.INT8);
        TextClassifier second = TextClassifier.load(runtime, packed)) {
      assertEquals(first.classify("the cat", "sat"), second.classify("the cat", "sat"));
    }
    made.clear();
    encoder("mpnet");
    masked("mpnet", zeros());
    path =
        files("mpnet", "", made)
            .tokenizer(MaskedFolder.tokenizer("<mask>"))
            .write(folder.resolve("fill"));
    try (MaskedLanguageModel model = MaskedLanguageModel.load(runtime, path)) {
      assertEquals(4, model.fill("the <mask> of france", 4).getFirst().size());
    }
  }
}
