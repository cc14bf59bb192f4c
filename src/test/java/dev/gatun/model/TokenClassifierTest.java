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
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Labels of tokens from a folder, against BERT in PyTorch, and put together by hand. */
class TokenClassifierTest extends PyTorchModels {
  private static final int WIDTH = 24;
  private static final int POSITIONS = 24;
  private static final int VOCABULARY = 40;
  private static final List<String> LABELS = List.of("O", "B-PER", "I-PER", "LOC");
  private static final String TEXT = "the cat sat, a cat: the sat sat a the cat";

  private Path write(String keys) throws IOException {
    String config =
        """
        {"model_type": "bert", "hidden_size": 24, "num_attention_heads": 3,
         "num_hidden_layers": 2, "intermediate_size": 72, "vocab_size": 40,
         "max_position_embeddings": 24,
         "id2label": {"0": "O", "1": "B-PER", "2": "I-PER", "3": "LOC"}%s}
        """;
    return ModelFolders.of(config.formatted(keys), made)
        .named(name -> name.startsWith("classifier.") ? name : "bert." + name)
        .tokenizer(TokenizerFiles.bert())
        .write(folder.resolve("ner"));
  }

  /** Scores of each token as transformers' BertForTokenClassification computes them. */
  private float[] torch(int... ids) {
    int seq = ids.length;
    int[] positions = new int[seq];
    for (int n = 0; n < seq; n++) {
      positions[n] = n;
    }
    String e = "embeddings.";
    Array words = draw(e + "word_embeddings.weight", 1, 0, VOCABULARY, WIDTH);
    Array places = draw(e + "position_embeddings.weight", 1, 0, POSITIONS, WIDTH);
    Array types = draw(e + "token_type_embeddings.weight", 1, 0, 2, WIDTH);
    Array x =
        torch.add(
            torch.embedding(words, torch.ids(ids, 1, seq)),
            torch.embedding(places, torch.ids(positions, 1, seq)));
    x = torch.add(x, torch.embedding(types, torch.ids(new int[seq], 1, seq)));
    x = norm(x, e + "LayerNorm", 1e-12);
    for (int n = 0; n < 2; n++) {
      String[] names =
          ("attention.self.query attention.self.key attention.self.value attention.output.dense"
                  + " attention.output.LayerNorm intermediate.dense output.dense output.LayerNorm")
              .split(" ");
      for (int i = 0; i < names.length; i++) {
        names[i] = "encoder.layer." + n + "." + names[i];
      }
      x = block(x, 3, false, 1e-12, null, false, torch::gelu, names);
    }
    return dense(x, "classifier", LABELS.size()).toFloats();
  }

  private static Entity entity(String text, String label, int begin, int end) {
    return new Entity(label, 0, text.substring(begin, end), begin, end);
  }

  @Test
  void labelsAsPyTorch() throws IOException {
    torch(2, 3); // draws the weights
    try (TokenClassifier model = TokenClassifier.load(runtime, write(""), WeightFormat.FP32)) {
      TokenSpans spans = model.tokenize(TEXT);
      float[] scores = torch(spans.ids());
      List<Float> want = new ArrayList<>();
      List<Entity> tokens = new ArrayList<>();
      for (int n = 0; n < spans.count(); n++) {
        int best = 0;
        double sum = 0;
        for (int i = 0; i < LABELS.size(); i++) {
          best = scores[4 * n + i] > scores[4 * n + best] ? i : best;
        }
        for (int i = 0; i < LABELS.size(); i++) {
          sum += Math.exp(scores[4 * n + i] - scores[4 * n + best]);
        }
        if (spans.begins()[n] >= 0 && best > 0) {
          want.add((float) (1 / sum));
          tokens.add(entity(TEXT, LABELS.get(best), spans.begins()[n], spans.ends()[n]));
        }
      }
      List<Entity> got = model.tokenEntities(TEXT);
      assertTrue(tokens.size() > 3, tokens.toString());
      assertEquals(tokens.size(), got.size());
      float[] numbers = new float[want.size()];
      float[] found = new float[want.size()];
      for (int n = 0; n < numbers.length; n++) {
        Entity each = got.get(n);
        assertEquals(tokens.get(n), entity(TEXT, each.label(), each.begin(), each.end()));
        numbers[n] = want.get(n);
        found[n] = each.score();
      }
      close("token classification", numbers, found, FAMILY_BOUND);
      // As transformers' pipeline does it: one after the other, O in between ends an entity.
      assertEquals(
          List.of(model.entities(TEXT), model.entities("a"), List.of(), model.entities(TEXT)),
          model.entities(List.of(TEXT, "a", "", TEXT)));
    }
  }

  @Test
  void tokensOfOneNameAreOneEntityUntilOneBegins() {
    String text = "aa bb cc dd ee ff gg hh";
    List<String> labels = List.of("B-PER", "I-PER", "B-PER", "O", "I-PER", "LOC", "LOC", "B-LOC");
    List<Entity> tokens = new ArrayList<>();
    for (int n = 0; n < labels.size(); n++) {
      int begin = 3 * n;
      String part = text.substring(begin, begin + 2);
      tokens.add(new Entity(labels.get(n), (n + 1) / 10f, part, begin, begin + 2));
    }
    assertEquals(
        List.of(
            new Entity("PER", 0.15f, "aa bb", 0, 5),
            new Entity("PER", 0.3f, "cc", 6, 8),
            new Entity("PER", 0.5f, "ee", 12, 14),
            new Entity("LOC", 0.65f, "ff gg", 15, 20),
            new Entity("LOC", 0.8f, "hh", 21, 23)),
        TokenClassifier.together(text, tokens));
    assertEquals(List.of(), TokenClassifier.together(text, tokens.subList(3, 4)));
    assertEquals(List.of(), TokenClassifier.together("", List.of()));
  }

  @Test
  void refusesByName() throws IOException {
    torch(2, 3);
    refused(", \"architectures\": [\"BertForSequenceClassification\"]", "architectures: expected");
    refused(", \"num_labels\": 3", "num_labels: expected 4");
    Path path = write("");
    Files.writeString(path.resolve("modules.json"), "[]");
    assertTrue(
        assertThrows(IOException.class, () -> TokenClassifier.load(runtime, path))
            .getMessage()
            .contains("modules.json: the document: expected one Transformer"));
    Files.delete(path.resolve("modules.json"));
    Path config = path.resolve("config_sentence_transformers.json");
    Files.writeString(config, "{\"default_prompt_name\": \"query\"}");
    assertTrue(
        assertThrows(IOException.class, () -> TokenClassifier.load(runtime, path))
            .getMessage()
            .contains("default_prompt_name: expected null"));
    Files.delete(config);
    made.remove("classifier.weight");
    refused("", "classifier.weight");
  }

  private void refused(String keys, String reason) throws IOException {
    Path path = write(keys);
    String message =
        assertThrows(IOException.class, () -> TokenClassifier.load(runtime, path)).getMessage();
    assertTrue(message.contains(reason), message);
  }
}
