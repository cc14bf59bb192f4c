package dev.gatun.support;

import dev.gatun.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.StringJoiner;
import java.util.TreeMap;

/** BERT of one layer with the head of masked language modeling, random but for its favorite. */
public final class MaskedFolder {
  public static final int VOCABULARY = 50;
  private static final int WIDTH = 24;

  private static final List<String> WORDS =
      List.of("the", "capital", "of", "france", "is", "paris", "lyon", ".", "##s", "cat");

  private MaskedFolder() {}

  /** The id of a word. */
  public static int id(String word) {
    return 5 + WORDS.indexOf(word);
  }

  /** WordPiece, with a token for masks. */
  public static String tokenizer(String mask) {
    StringJoiner entries = new StringJoiner(",", "{", "}");
    List<String> special = List.of("[PAD]", "[UNK]", "[CLS]", "[SEP]", mask);
    StringJoiner added = new StringJoiner(",");
    for (int n = 0; n < special.size(); n++) {
      entries.add("\"%s\":%d".formatted(special.get(n), n));
      added.add(TokenizerFiles.added(n, special.get(n), "s"));
    }
    for (String word : WORDS) {
      entries.add("\"%s\":%d".formatted(word, id(word)));
    }
    return TokenizerFiles.document(
            "null",
            added.toString(),
            """
            {"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,\
            "strip_accents":null,"lowercase":true}\
            """,
            "{\"type\":\"BertPreTokenizer\"}",
            "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}",
            """
            {"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",\
            "max_input_chars_per_word":100,"vocab":%s}\
            """
                .formatted(entries))
        .replace(
            "\"decoder\":null",
            "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
  }

  /** Writes a folder whose model finds "paris" likeliest everywhere. */
  public static Path write(Path folder) throws IOException {
    Random random = new Random(5);
    Map<String, Tensor> weights = new TreeMap<>();
    try (Arena arena = Arena.ofConfined()) {
      add(weights, arena, random, "bert.embeddings.word_embeddings.weight", VOCABULARY, WIDTH);
      add(weights, arena, random, "bert.embeddings.position_embeddings.weight", 20, WIDTH);
      add(weights, arena, random, "bert.embeddings.token_type_embeddings.weight", 2, WIDTH);
      norm(weights, arena, "bert.embeddings.LayerNorm");
      String layer = "bert.encoder.layer.0.";
      for (String part : List.of("query", "key", "value")) {
        dense(weights, arena, random, layer + "attention.self." + part, WIDTH, WIDTH);
      }
      dense(weights, arena, random, layer + "attention.output.dense", WIDTH, WIDTH);
      norm(weights, arena, layer + "attention.output.LayerNorm");
      dense(weights, arena, random, layer + "intermediate.dense", 2 * WIDTH, WIDTH);
      dense(weights, arena, random, layer + "output.dense", WIDTH, 2 * WIDTH);
      norm(weights, arena, layer + "output.LayerNorm");
      dense(weights, arena, random, "cls.predictions.transform.dense", WIDTH, WIDTH);
      norm(weights, arena, "cls.predictions.transform.LayerNorm");
      float[] bias = new float[VOCABULARY];
      bias[id("paris")] = 40;
      weights.put("cls.predictions.bias", Tensor.copyOf(arena, bias, VOCABULARY));
      return ModelFolders.of(
              """
              {"model_type": "bert", "hidden_size": 24, "num_attention_heads": 3,
              "num_hidden_layers": 1, "intermediate_size": 48, "vocab_size": 50,
              "max_position_embeddings": 20}
              """,
              weights)
          .tokenizer(tokenizer("[MASK]"))
          .write(folder);
    }
  }

  private static void dense(
      Map<String, Tensor> weights, Arena arena, Random random, String name, int out, int in) {
    add(weights, arena, random, name + ".weight", out, in);
    add(weights, arena, random, name + ".bias", out);
  }

  private static void norm(Map<String, Tensor> weights, Arena arena, String name) {
    float[] ones = new float[WIDTH];
    Arrays.fill(ones, 1);
    weights.put(name + ".weight", Tensor.copyOf(arena, ones, WIDTH));
    weights.put(name + ".bias", Tensor.copyOf(arena, new float[WIDTH], WIDTH));
  }

  private static void add(
      Map<String, Tensor> weights, Arena arena, Random random, String name, long... shape) {
    float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (0.3 * random.nextGaussian());
    }
    weights.put(name, Tensor.copyOf(arena, values, shape));
  }
}
