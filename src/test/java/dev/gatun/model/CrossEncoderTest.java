package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.WeightFormat;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Heads of sequence classification from folders, against transformers' formulas in PyTorch. */
class CrossEncoderTest extends PyTorchModels {
  private static final int WIDTH = 24;
  private static final int POSITIONS = 24;
  private static final int VOCABULARY = 40;
  private static final String IDENTITY =
      "\"sentence_transformers\": {\"activation_fn\": \"torch.nn.modules.linear.Identity\"}";
  private static final String QUERY = "the cat sat";
  private static final List<String> PASSAGES =
      List.of("a cat.", "sat sat the, aab the cat the cat the cat the cat sat the cat", "");

  private static String config(String type, String keys) {
    String sizes =
        type.equals("distilbert")
            ? "\"dim\": 24, \"n_heads\": 3, \"n_layers\": 2, \"hidden_dim\": 72"
            : "\"hidden_size\": 24, \"num_attention_heads\": 3, \"num_hidden_layers\": 2,"
                + " \"intermediate_size\": 72";
    return "{\"model_type\": \"%s\", %s, \"vocab_size\": 40, \"max_position_embeddings\": 24%s, %s}"
        .formatted(type, sizes, type.equals("roberta") ? ", \"type_vocab_size\": 1" : "", keys);
  }

  private Path write(String type, String keys) throws IOException {
    String scope = type + ".";
    String tokenizer = type.equals("roberta") ? TokenizerFiles.roberta() : TokenizerFiles.bert();
    Path path =
        ModelFolders.of(config(type, keys), made)
            .named(name -> name.matches("(pre_)?classifier.*") ? name : scope + name)
            .tokenizer(tokenizer)
            .write(folder.resolve(type));
    Files.writeString(path.resolve("tokenizer_config.json"), "{\"model_max_length\": 20}");
    return path;
  }

  /** Scores of one text as transformers computes them. */
  private float[] torch(String type, Tokenized text, int labels) {
    boolean distilbert = type.equals("distilbert");
    int seq = text.count();
    int[] positions = new int[seq];
    for (int n = 0; n < seq; n++) {
      positions[n] = type.equals("roberta") ? n + 2 : n;
    }
    String e = "embeddings.";
    Array words = draw(e + "word_embeddings.weight", 1, 0, VOCABULARY, WIDTH);
    Array places = draw(e + "position_embeddings.weight", 1, 0, POSITIONS, WIDTH);
    Array x =
        torch.add(
            torch.embedding(words, torch.ids(text.ids(), 1, seq)),
            torch.embedding(places, torch.ids(positions, 1, seq)));
    if (!distilbert) {
      boolean bert = type.equals("bert");
      Array types = draw(e + "token_type_embeddings.weight", 1, 0, bert ? 2 : 1, WIDTH);
      int[] ids = bert ? text.typeIds() : new int[seq];
      x = torch.add(x, torch.embedding(types, torch.ids(ids, 1, seq)));
    }
    double epsilon = type.equals("roberta") ? 1e-5 : 1e-12;
    x = norm(x, e + "LayerNorm", epsilon);
    for (int n = 0; n < 2; n++) {
      x = block(x, 3, false, epsilon, null, false, torch::gelu, names(distilbert, n));
    }
    Array first = torch.reshape(torch.slice(x, 1, 0, 1), 1, WIDTH);
    Array scores =
        switch (type) {
          case "bert" ->
              dense(torch.tanh(dense(first, "pooler.dense", WIDTH)), "classifier", labels);
          case "roberta" ->
              dense(
                  torch.tanh(dense(first, "classifier.dense", WIDTH)),
                  "classifier.out_proj",
                  labels);
          default -> dense(torch.relu(dense(first, "pre_classifier", WIDTH)), "classifier", labels);
        };
    return scores.toFloats();
  }

  private static String[] names(boolean distilbert, int n) {
    String prefix = (distilbert ? "transformer.layer." : "encoder.layer.") + n + ".";
    String[] names =
        (distilbert
                ? "attention.q_lin attention.k_lin attention.v_lin attention.out_lin sa_layer_norm"
                    + " ffn.lin1 ffn.lin2 output_layer_norm"
                : "attention.self.query attention.self.key attention.self.value"
                    + " attention.output.dense attention.output.LayerNorm intermediate.dense"
                    + " output.dense output.LayerNorm")
            .split(" ");
    for (int i = 0; i < names.length; i++) {
      names[i] = prefix + names[i];
    }
    return names;
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert", "roberta", "distilbert"})
  void scoresPairsAsPyTorch(String type) throws IOException {
    torch(type, new Tokenized(new int[] {2, 3}, 2), 1); // draws the weights
    Path path = write(type, IDENTITY);
    try (CrossEncoder model = CrossEncoder.load(runtime, path, WeightFormat.FP32)) {
      assertEquals(20, model.maxTokens());
      assertTrue(model.tokenize(QUERY, PASSAGES.get(1)).truncated());
      float[] want = new float[PASSAGES.size()];
      float[] got = model.scores(QUERY, PASSAGES);
      for (int n = 0; n < want.length; n++) {
        want[n] = torch(type, model.tokenize(QUERY, PASSAGES.get(n)), 1)[0];
        assertEquals(model.score(QUERY, PASSAGES.get(n)), got[n]); // the bits do not depend on it
      }
      close(type + ", pairs", want, got, FAMILY_BOUND);
      List<CrossEncoder.Ranked> ranked = model.rank(QUERY, PASSAGES);
      for (int n = 0; n < want.length; n++) {
        assertEquals(got[ranked.get(n).index()], ranked.get(n).score());
        assertTrue(n == 0 || ranked.get(n - 1).score() >= ranked.get(n).score());
      }
      write(type, "\"num_labels\": 1");
      try (CrossEncoder other = CrossEncoder.load(runtime, path, WeightFormat.FP32)) {
        assertEquals(1 / (1 + Math.exp(-got[0])), other.score(QUERY, PASSAGES.getFirst()), 1e-6);
      }
    }
  }

  /** What sentence-transformers writes since version 5.4. */
  @Test
  void newerFolders() throws IOException {
    torch("bert", new Tokenized(new int[] {2, 3}, 2), 1);
    Path path = write("bert", "\"num_labels\": 1");
    float before;
    try (CrossEncoder model = CrossEncoder.load(runtime, path)) {
      before = model.score(QUERY, "a cat.");
    }
    String transformer =
        "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\":"
            + " \"sentence_transformers.base.modules.transformer.Transformer\"}%s]";
    Files.writeString(path.resolve("modules.json"), transformer.formatted(""));
    String task =
        "{\"transformer_task\": \"%s\", \"modality_config\": {\"text\": {\"method\":"
            + " \"forward\", \"method_output_name\": \"%s\"}}, \"module_output_name\": \"%s\"}";
    Path own = path.resolve("sentence_bert_config.json");
    Files.writeString(own, task.formatted("sequence-classification", "logits", "scores"));
    Files.writeString(
        path.resolve("config_sentence_transformers.json"),
        "{\"model_type\": \"CrossEncoder\", \"prompts\": {}, \"activation_fn\":"
            + " \"torch.nn.modules.activation.Sigmoid\"}");
    try (CrossEncoder model = CrossEncoder.load(runtime, path)) {
      assertEquals(before, model.score(QUERY, "a cat."));
    }
    for (String[] bad :
        new String[][] {
          {"text-generation", "logits", "causal_logits", "transformer_task: expected \"feature"},
          {
            "sequence-classification", "last_hidden_state", "scores", "method_output_name: expected"
          },
          {"sequence-classification", "logits", "token_embeddings", "module_output_name: expected"}
        }) {
      Files.writeString(own, task.formatted(bad[0], bad[1], bad[2]));
      String message =
          assertThrows(IOException.class, () -> CrossEncoder.load(runtime, path)).getMessage();
      assertTrue(
          message.contains("sentence_bert_config.json") && message.contains(bad[3]), message);
    }
    Files.delete(own);
    Files.writeString(
        path.resolve("modules.json"),
        transformer.formatted(
            ", {\"idx\": 1, \"name\": \"1\", \"path\": \"1_LogitScore\", \"type\":"
                + " \"sentence_transformers.cross_encoder.modules.logit_score.LogitScore\"}"));
    String message =
        assertThrows(IOException.class, () -> CrossEncoder.load(runtime, path)).getMessage();
    assertTrue(message.contains("modules.json: the document: expected one Transformer"), message);
  }

  @Test
  void rerankPage() throws IOException {
    torch("bert", new Tokenized(new int[] {2, 3}, 2), 1);
    Path folder = write("bert", IDENTITY);
    String question = QUERY;
    List<String> passages = PASSAGES;
    // example: task-rerank
    try (CrossEncoder model = CrossEncoder.load(runtime, folder)) {
      for (CrossEncoder.Ranked best : model.rank(question, passages)) {
        System.out.printf("%.3f  %s%n", best.score(), passages.get(best.index()));
      }
    }
    // end
  }

  @Test
  void classifyPage() throws IOException {
    torch("bert", new Tokenized(new int[] {2, 3}, 2), 2);
    Path folder = write("bert", "\"id2label\": {\"0\": \"good\", \"1\": \"bad\"}");
    // example: task-classify
    try (TextClassifier model = TextClassifier.load(runtime, folder)) {
      List<TextClassifier.Label> labels = model.classify("what a day");
      System.out.println(labels.getFirst());
    }
    // end
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert", "roberta", "distilbert"})
  void classifiesAsPyTorch(String type) throws IOException {
    torch(type, new Tokenized(new int[] {2, 3}, 2), 3);
    String labels = "\"id2label\": {\"0\": \"x\", \"1\": \"y\", \"2\": \"z\"}";
    Path path = write(type, labels);
    try (TextClassifier model = TextClassifier.load(runtime, path, WeightFormat.FP32)) {
      float[] scores = torch(type, model.tokenize(QUERY, "a"), 3);
      float[] softmax = torch.softmax(torch.array(scores, 1, 3), 1).toFloats();
      close(type + ", softmax", softmax, inOrder(model, model.classify(QUERY, "a")), FAMILY_BOUND);
      assertEquals(
          List.of(model.classify(QUERY), model.classify("a")),
          model.classifyAll(List.of(QUERY, "a")));
      write(type, labels + ", \"problem_type\": \"multi_label_classification\"");
      try (TextClassifier other = TextClassifier.load(runtime, path, WeightFormat.FP32)) {
        float[] sigmoid = torch.sigmoid(torch.array(scores, 1, 3)).toFloats();
        close(type + ", sigmoid", sigmoid, inOrder(other, other.classify(QUERY, "a")), 1e-4);
      }
    }
  }

  private static float[] inOrder(TextClassifier model, List<TextClassifier.Label> labels) {
    float[] values = new float[labels.size()];
    for (TextClassifier.Label label : labels) {
      values[model.labels().indexOf(label.name())] = label.probability();
    }
    return values;
  }

  @Test
  void refusesByName() throws IOException {
    torch("bert", new Tokenized(new int[] {2, 3}, 2), 2);
    refused("\"x\": 1", "expected a classifier with 1 label, the score, got 2: LABEL_0, LABEL_1");
    refused("\"id2label\": {\"0\": \"a\"}", "id2label: expected an object with 2");
    refused("\"num_labels\": 3", "num_labels: expected 2");
    refused("\"architectures\": [\"BertForMultipleChoice\"]", "architectures: expected one that");
    made.remove("classifier.weight");
    refused("\"x\": 1", "expected classifier.weight, got none of that name");
    made.put("classifier.weight", normal(1, 1, WIDTH));
    made.put("classifier.bias", normal(1, 1));
    made.put("classifier.more", normal(1, 1));
    refused("\"x\": 1", "classifier.more");
    made.remove("classifier.more");
    refused(IDENTITY.replace("Identity", "Tanh"), "activation_fn: expected");
    refused("\"sbert_ce_default_activation_function\": \"x\"", "activation_function: expected");
    Path path = write("bert", "\"problem_type\": \"regression\"");
    assertTrue(
        assertThrows(IOException.class, () -> TextClassifier.load(runtime, path))
            .getMessage()
            .contains("problem_type: expected"));
    Files.writeString(path.resolve("config.json"), "{\"model_type\": \"t5\"}");
    assertTrue(
        assertThrows(IOException.class, () -> CrossEncoder.load(runtime, path))
            .getMessage()
            .contains(
                "one of albert, bert, camembert, distilbert, electra, megatron-bert, modernbert,"));
  }

  private void refused(String keys, String reason) throws IOException {
    Path path = write("bert", keys);
    String message =
        assertThrows(IOException.class, () -> CrossEncoder.load(runtime, path)).getMessage();
    assertTrue(message.contains(reason), message);
  }
}
