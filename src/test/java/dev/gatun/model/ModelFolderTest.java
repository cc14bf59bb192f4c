package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.TinyBert;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Folders as sentence-transformers lays them out, of an encoder with 2 layers, 8 wide, and a
 * tokenizer of 20 words. Expected vectors come from elsewhere, in double precision.
 */
class ModelFolderTest {
  private static final String TEXT = "the cat sat on a mat";
  private static final String MODULE =
      "{\"idx\": %d, \"name\": \"%d\", \"path\": \"%s\", \"type\":"
          + " \"sentence_transformers.models.%s\"}";
  private static final String POOLING =
      "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": %b,"
          + " \"pooling_mode_mean_tokens\": %b, \"pooling_mode_max_tokens\": false,"
          + " \"pooling_mode_mean_sqrt_len_tokens\": false,"
          + " \"pooling_mode_weightedmean_tokens\": false, \"pooling_mode_lasttoken\": false}";
  private static final String DENSE =
      "{\"in_features\": 8, \"out_features\": 6, \"bias\": true,"
          + " \"activation_function\": \"torch.nn.modules.%s\"}";

  private static final double[] PLAIN = {
    0.1413147933363156, 0.4826584308640199, -0.14677596833799236, -0.09809911552806336,
    0.09023492114063159, -0.44223808636928635, 0.5232399553157081, -0.48826983327218193
  };
  private static final double[] ROBERTA = {
    0.16291614516484632, 0.05832894064824379, 0.01545917416896432, -0.6775756682088051,
    0.3684737546961944, -0.33343597867895847, 0.49135121735630755, -0.14943163499692386
  };
  private static final double[] DENSE_TANH = {
    -0.18756306404123216,
    0.3490755548710583,
    -0.4395900276625171,
    -0.4546954530667231,
    -0.4702410013936077,
    0.471012109342615
  };
  private static final double[] SIX_TOKENS = {
    0.16365894780358695, 0.448080505247299, -0.15754975481595868, -0.09313819267216282,
    0.10155943871329982, -0.4941187672958839, 0.5403261099481427, -0.4387744073745478
  };
  private static final double[] FIVE_TOKENS = {
    0.1699099011574111, 0.43662312660848135, -0.15881379715483054, -0.08372851917624623,
    0.10604041550423521, -0.5024381665546406, 0.5409678377940995, -0.4380909737148293
  };

  /** The state of the first token. */
  private static final double[] CLS = {
    0.4697239546679935, 1.2986271230725124, -0.38078286552173873, -0.2462320893484039,
    0.20248708948579935, -1.2912015294993313, 1.4458300224020026, -1.3187912386549983
  };

  @TempDir private Path folder;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();

  @AfterEach
  void close() {
    runtime.close();
  }

  // ---- folders -------------------------------------------------------------------------------

  private void copy(String resource, String file) throws IOException {
    Path path = folder.resolve(file);
    Files.createDirectories(path.getParent());
    try (InputStream in = ModelFolderTest.class.getResourceAsStream("/folders/" + resource)) {
      Files.write(path, in.readAllBytes());
    }
  }

  private void bert() throws IOException {
    copy("bert.onnx", "model.onnx");
    copy("tokenizer.json", "tokenizer.json");
  }

  private void roberta() throws IOException {
    copy("roberta.onnx", "model.onnx");
    copy("tokenizer.json", "tokenizer.json");
  }

  private void write(String file, String text) throws IOException {
    Path path = folder.resolve(file);
    Files.createDirectories(path.getParent());
    Files.writeString(path, text);
  }

  /** Writes modules.json, and says that the first token's state is pooled. */
  private void modules(String... kinds) throws IOException {
    List<String> modules = new ArrayList<>();
    for (int i = 0; i < kinds.length; i++) {
      String path = i == 0 ? "" : i + "_" + kinds[i];
      modules.add(MODULE.formatted(i, i, path, kinds[i]));
    }
    write("modules.json", modules.toString());
    write("1_Pooling/config.json", POOLING.formatted(true, false));
  }

  private void dense(int place, String activation) throws IOException {
    write(place + "_Dense/config.json", DENSE.formatted(activation));
    copy("dense.safetensors", place + "_Dense/model.safetensors");
  }

  private float[] embed() throws IOException {
    try (TextEmbedder model =
        TextEmbedder.load(runtime, EmbeddingModelSpec.of(folder.toString()))) {
      return model.embed(TEXT);
    }
  }

  private void check(double... want) throws IOException {
    float[] got = embed();
    assertEquals(want.length, got.length);
    for (int i = 0; i < want.length; i++) {
      assertEquals(want[i], got[i], 2e-6, "element " + i);
    }
  }

  private static double[] unit(double... x) {
    double sum = 0;
    for (double value : x) {
      sum += value * value;
    }
    double[] y = x.clone();
    for (int i = 0; i < y.length; i++) {
      y[i] /= Math.sqrt(sum);
    }
    return y;
  }

  private void assertRefused(String file, String... parts) {
    String message = assertThrows(IOException.class, this::embed).getMessage();
    assertTrue(message.startsWith(folder.resolve(file).toString()), message);
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  // ---- positions -----------------------------------------------------------------------------

  @Test
  void plain() throws IOException {
    bert();
    check(PLAIN);
    assertTrue(EmbeddingModelSpec.of(folder.toString()).isNormalized());
  }

  @Test
  void positionsOfRoberta() throws IOException {
    roberta();
    check(ROBERTA);
    write(
        "config.json",
        "{\"model_type\": \"xlm-roberta\", \"pad_token_id\": 1, \"max_position_embeddings\": 66}");
    check(ROBERTA);
    write("config.json", "{\"model_type\": \"roberta\"}");
    check(ROBERTA);
    try (TextEmbedder model =
        TextEmbedder.load(runtime, EmbeddingModelSpec.of(folder.toString()))) {
      // 66 rows, of which the first two are padding's.
      assertEquals(64, model.maxTokens());
      assertEquals(64, model.tokenize("a ".repeat(100)).count());
      model.embed("a ".repeat(100));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "model_type, '\"bert\"', counts positions from 2",
    "model_type, '\"distilbert\"', counts positions from 2",
    "model_type, '\"mpnet\"', 'expected one of bert, camembert, distilbert, roberta and"
        + " xlm-roberta'",
    "hidden_act, '\"gelu_new\"', 'expected \"gelu\"'",
    "position_embedding_type, '\"relative_key\"', 'expected \"absolute\"'",
    "layer_norm_eps, 1e-5, expected 1.0E-12",
    "num_hidden_layers, 3, expected 2",
    "num_attention_heads, 4, expected 2",
    "hidden_size, 16, expected 8",
    "intermediate_size, 8, expected 16",
    "vocab_size, 21, expected 20",
    "max_position_embeddings, 64, expected 66",
    "type_vocab_size, 2, expected 1",
    "is_decoder, true, expected false",
    "add_cross_attention, true, expected false"
  })
  void configsThatContradict(String key, String value, String reason) throws IOException {
    roberta();
    write("config.json", "{\"%s\": %s}".formatted(key, value));
    String message = assertThrows(IOException.class, this::embed).getMessage();
    assertTrue(message.contains("config.json") && message.contains(reason), message);
    assertTrue(message.contains(key) || key.equals("model_type"), message);
  }

  @Test
  void configsThatAgree() throws IOException {
    bert();
    write(
        "config.json",
        "{\"model_type\": \"bert\", \"pad_token_id\": 0, \"hidden_act\": \"gelu\","
            + " \"layer_norm_eps\": 1e-12, \"num_hidden_layers\": 2, \"vocab_size\": 20,"
            + " \"architectures\": [\"BertModel\"], \"position_embedding_type\": null}");
    check(PLAIN);
    write("config.json", "{\"model_type\": \"roberta\", \"pad_token_id\": 1}");
    assertRefused("model.onnx", "counts positions from 0", "config.json");
  }

  /** An encoder without token types, of which config.json has keys of its own. */
  private double[] distilBert() throws IOException {
    copy("tokenizer.json", "tokenizer.json");
    byte[] bytes = TinyBert.distilBert("", 20, 16).bytes();
    Path file = Files.write(folder.resolve("model.onnx"), bytes);
    Tokenizer tokenizer = Tokenizer.load(folder.resolve("tokenizer.json"));
    try (Arena arena = Arena.ofConfined()) {
      BertWeights weights = BertWeights.from(OnnxFile.map(file, arena), arena);
      double[][] states = new ReferenceBert(weights).forward(tokenizer.encode(TEXT).ids());
      double[] mean = new double[8];
      for (double[] state : states) {
        for (int i = 0; i < 8; i++) {
          mean[i] += state[i];
        }
      }
      return unit(mean);
    }
  }

  @Test
  void distilBertsConfig() throws IOException {
    double[] want = distilBert();
    check(want);
    write(
        "config.json",
        "{\"model_type\": \"distilbert\", \"dim\": 8, \"n_layers\": 2, \"n_heads\": 2,"
            + " \"hidden_dim\": 6, \"vocab_size\": 20, \"max_position_embeddings\": 16,"
            + " \"activation\": \"gelu\", \"sinusoidal_pos_embds\": false, \"dropout\": 0.1,"
            + " \"pad_token_id\": 0, \"architectures\": [\"DistilBertModel\"]}");
    check(want);
    write("config.json", "{\"model_type\": \"distilbert\", \"sinusoidal_pos_embds\": true}");
    check(want); // the table is in the file all the same
  }

  @ParameterizedTest
  @CsvSource({
    "model_type, '\"bert\"', 'expected \"distilbert\": the model has no token types'",
    "dim, 16, expected 8",
    "hidden_size, 16, expected 8",
    "n_layers, 3, expected 2",
    "n_heads, 4, expected 2",
    "hidden_dim, 8, expected 6",
    "vocab_size, 21, expected 20",
    "max_position_embeddings, 17, expected 16",
    "type_vocab_size, 2, expected 0",
    "activation, '\"relu\"', 'expected \"gelu\"'",
    "sinusoidal_pos_embds, 1, expected true or false"
  })
  void distilBertsConfigsThatContradict(String key, String value, String reason)
      throws IOException {
    distilBert();
    write("config.json", "{\"%s\": %s}".formatted(key, value));
    assertRefused("config.json", key, reason);
  }

  @Test
  void familiesAreNotConfused() throws IOException {
    bert();
    write("config.json", "{\"model_type\": \"distilbert\"}");
    assertRefused("config.json", "model_type", "expected a family with token types");
  }

  // ---- how long texts may be -----------------------------------------------------------------

  @Test
  void maxSequenceLength() throws IOException {
    bert();
    write("sentence_bert_config.json", "{\"max_seq_length\": 5, \"do_lower_case\": false}");
    check(FIVE_TOKENS);
    write("sentence_bert_config.json", "{\"max_seq_length\": 6, \"do_lower_case\": false}");
    check(SIX_TOKENS);
    // It counts whatever the tokenizer says.
    String tokenizer = Files.readString(folder.resolve("tokenizer.json"));
    write(
        "tokenizer.json",
        tokenizer.replace(
            "\"truncation\": null",
            "\"truncation\": {\"direction\": \"Right\", \"max_length\": 4,"
                + " \"strategy\": \"LongestFirst\", \"stride\": 0}"));
    check(SIX_TOKENS);
    write("tokenizer_config.json", "{\"model_max_length\": 5}");
    check(SIX_TOKENS);
    write("sentence_bert_config.json", "{\"max_seq_length\": null}");
    check(FIVE_TOKENS);
    Files.delete(folder.resolve("sentence_bert_config.json"));
    check(FIVE_TOKENS);
    write("tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
    assertEquals(4, maxTokens());
    write("sentence_xlm-roberta_config.json", "{\"max_seq_length\": 7}");
    assertEquals(7, maxTokens());
    write("sentence_bert_config.json", "{\"max_seq_length\": 512}");
    assertEquals(64, maxTokens(), "no more than there are positions");
  }

  private int maxTokens() throws IOException {
    try (TextEmbedder model =
        TextEmbedder.load(runtime, EmbeddingModelSpec.of(folder.toString()))) {
      return model.maxTokens();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"max_seq_length\": 0}",
        "{\"max_seq_length\": -1}",
        "{\"max_seq_length\": 4294967301}",
        "{\"max_seq_length\": 5.5}",
        "{\"max_seq_length\": \"5\"}",
        "{\"do_lower_case\": 1}",
        "{\"max_sequence_length\": 5}",
        "[]",
        "{"
      })
  void badSentenceConfigs(String text) throws IOException {
    bert();
    write("sentence_bert_config.json", text);
    assertRefused("sentence_bert_config.json", "expected");
  }

  @Test
  void noRoomForTheTemplate() throws IOException {
    bert();
    write("sentence_bert_config.json", "{\"max_seq_length\": 1}");
    String message = assertThrows(IOException.class, this::embed).getMessage();
    assertTrue(message.contains("max_seq_length"), message);
  }

  @Test
  void lowerCase() throws IOException {
    bert();
    write("sentence_bert_config.json", "{\"do_lower_case\": true}");
    check(PLAIN); // as the tokenizer does so itself
    String tokenizer = Files.readString(folder.resolve("tokenizer.json"));
    write("tokenizer.json", tokenizer.replace("\"lowercase\": true", "\"lowercase\": false"));
    assertRefused("sentence_bert_config.json", "do_lower_case: expected false");
  }

  @ParameterizedTest
  @CsvSource({
    "BertTokenizer, truncation_side, '\"left\"', 'expected \"right\", as tokenizer.json cuts'",
    "Other, truncation_side, '\"left\"', 'expected \"right\", as tokenizer.json cuts'",
    "BertTokenizer, truncation_side, 1, 'expected a string'",
    "BertTokenizer, do_lower_case, false, 'expected true, as tokenizer.json has it, got false'",
    "BertTokenizerFast, do_lower_case, false, 'expected true'",
    "BertTokenizer, strip_accents, false, 'expected true'",
    "BertTokenizer, tokenize_chinese_chars, false, 'expected true'",
    "BertTokenizer, do_lower_case, 1, 'expected true or false'"
  })
  void tokenizerConfigsThatContradict(String name, String key, String value, String reason)
      throws IOException {
    bert();
    write("tokenizer_config.json", "{\"tokenizer_class\":\"" + name + "\",\"" + key + "\":null}");
    check(PLAIN);
    write(
        "tokenizer_config.json",
        "{\"tokenizer_class\":\"%s\",\"%s\":%s}".formatted(name, key, value));
    assertRefused("tokenizer_config.json", key + ": ", reason);
    // Whoever says how long texts may be.
    write("sentence_bert_config.json", "{\"max_seq_length\": 64}");
    assertRefused("tokenizer_config.json", key + ": ", reason);
  }

  @ParameterizedTest
  @CsvSource({
    "RobertaTokenizer, ByteLevel, '\"add_prefix_space\":true,\"trim_offsets\":true'",
    "XLMRobertaTokenizer, Metaspace, '\"replacement\":\"▁\",\"add_prefix_space\":true'",
    "XLMRobertaTokenizer, Metaspace, '\"replacement\":\"▁\",\"prepend_scheme\":\"always\"'"
  })
  void spacesBeforeTexts(String name, String type, String keys) throws IOException {
    bert();
    String tokenizer = Files.readString(folder.resolve("tokenizer.json"));
    String splits = "{\"type\": \"%s\", %s}".formatted(type, keys);
    write("tokenizer.json", tokenizer.replace("{\"type\": \"BertPreTokenizer\"}", splits));
    String config = "{\"tokenizer_class\":\"%s\",\"add_prefix_space\":%b}";
    write("tokenizer_config.json", config.formatted(name, true));
    embed();
    write("tokenizer_config.json", config.formatted(name, false));
    assertRefused("tokenizer_config.json", "add_prefix_space: expected true, as tokenizer.json");
  }

  @Test
  void tokenizerConfigOfTheHub() throws IOException {
    bert();
    write(
        "tokenizer_config.json",
        "{\"do_lower_case\": true, \"unk_token\": \"[UNK]\", \"strip_accents\": null,"
            + " \"tokenize_chinese_chars\": true, \"model_max_length\": 512,"
            + " \"truncation_side\": \"right\", \"truncation_strategy\": \"longest_first\","
            + " \"tokenizer_class\": \"BertTokenizer\", \"special_tokens_map_file\": null}");
    check(PLAIN);
    write("tokenizer_config.json", "{\"tokenizer_class\": \"XLMRobertaTokenizer\"}");
    check(PLAIN);
  }

  @ParameterizedTest
  @ValueSource(strings = {"config.json", "tokenizer.json", "tokenizer_config.json"})
  void directoriesAreNoFiles(String file) throws IOException {
    bert();
    Files.deleteIfExists(folder.resolve(file));
    Files.createDirectory(folder.resolve(file));
    assertRefused(file, "expected a file, got a directory");
  }

  @Test
  void prompts() throws IOException {
    bert();
    String file = "config_sentence_transformers.json";
    write(
        file,
        "{\"__version__\": {\"pytorch\": \"2\"}, \"prompts\": {\"query\": \"q: \", \"none\": \"\"},"
            + " \"default_prompt_name\": null, \"similarity_fn_name\": \"cosine\"}");
    check(PLAIN);
    write(file, "{\"prompts\": {\"none\": \"\"}, \"default_prompt_name\": \"none\"}");
    check(PLAIN);
    write(file, "{\"similarity_fn_name\": \"maxsim\"}");
    assertRefused(file, "similarity_fn_name: expected \"cosine\", \"dot\", \"euclidean\" or");
    write(file, "{\"prompts\": {\"query\": 1}}");
    assertRefused(file, "prompts.query: expected a string");
    write(file, "{\"prompts\": {\"query\": \"q\"}, \"default_prompt_name\": \"passage\"}");
    assertRefused(file, "prompts.passage: expected a value");
    write(file, "{\"default_prompt_name\": \"query\"}");
    assertRefused(file, "prompts: expected");
    write(file, "{\"model_type\": \"SparseEncoder\"}");
    assertRefused(file, "model_type: expected \"SentenceTransformer\"");
    write(file, "{\"truncate_dim\": 4}");
    assertRefused(file, "\"truncate_dim\"");
  }

  @Test
  void tokensBeyondTheTable() throws IOException {
    bert();
    String tokenizer = Files.readString(folder.resolve("tokenizer.json"));
    write("tokenizer.json", tokenizer.replace("\"x\": 19", "\"x\": 20"));
    assertRefused("tokenizer.json", "expected token ids of 0 .. 19", "got 20");
    write("tokenizer.json", tokenizer.replace("{\"id\": 4,", "{\"id\": 40,"));
    assertRefused("tokenizer.json");
  }

  // ---- modules -------------------------------------------------------------------------------

  @Test
  void notNormalized() throws IOException {
    bert();
    modules("Transformer", "Pooling");
    check(CLS);
    assertFalse(EmbeddingModelSpec.of(folder.toString()).isNormalized());
    modules("Transformer", "Pooling", "Normalize");
    check(unit(CLS));
  }

  @Test
  void denseLayer() throws IOException {
    bert();
    modules("Transformer", "Pooling", "Dense", "Normalize");
    dense(2, "activation.Tanh");
    check(DENSE_TANH);
    assertTrue(EmbeddingModelSpec.of(folder.toString()).isNormalized());
    // From many texts at once, and from one that has no tokens.
    try (Arena arena = Arena.ofConfined();
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.of(folder.toString()))) {
      assertEquals(6, model.dimension());
      List<Tokenized> texts = new ArrayList<>();
      for (int n = 0; n < 9; n++) {
        texts.add(model.tokenize(n == 4 ? TEXT : "the dog ran " + "far ".repeat(n)));
      }
      texts.add(new Tokenized(new int[0], 0));
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 10, 8).slice(1, 0, 6);
      model.embed(texts, out);
      for (int i = 0; i < 6; i++) {
        assertEquals(DENSE_TANH[i], out.getFloat(4, i), 2e-6);
      }
      assertArrayEquals(model.embed("the dog ran "), out.select(0, 0).toFloatArray(), 1e-6f);
    }
  }

  private double[] linear(double[] x, String activation) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      SafetensorsFile file = Safetensors.map(folder.resolve("2_Dense/model.safetensors"), arena);
      Tensor weight = file.tensor("linear.weight", arena);
      double[] y = new double[6];
      for (int o = 0; o < 6; o++) {
        double sum =
            file.names().contains("linear.bias")
                ? file.tensor("linear.bias", arena).getFloat(o)
                : 0;
        for (int i = 0; i < 8; i++) {
          sum += x[i] * weight.getFloat(o, i);
        }
        y[o] =
            switch (activation) {
              case "activation.Tanh" -> Math.tanh(sum);
              case "activation.Sigmoid" -> 1 / (1 + Math.exp(-sum));
              case "linear.Identity" -> sum;
              case "activation.ReLU" -> Math.max(sum, 0);
              case "activation.SiLU" -> sum / (1 + Math.exp(-sum));
              default -> throw new AssertionError(activation);
            };
      }
      return y;
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "activation.Tanh",
        "activation.Sigmoid",
        "linear.Identity",
        "activation.ReLU",
        "activation.SiLU"
      })
  void activationsAndOrders(String activation) throws IOException {
    bert();
    modules("Transformer", "Pooling", "Dense");
    dense(2, activation);
    check(linear(CLS, activation));
    assertFalse(EmbeddingModelSpec.of(folder.toString()).isNormalized());
    // The folder keeps its name whatever its place.
    write(
        "modules.json",
        List.of(
                MODULE.formatted(0, 0, "", "Transformer"),
                MODULE.formatted(1, 1, "1_Pooling", "Pooling"),
                MODULE.formatted(2, 2, "2_Normalize", "Normalize"),
                MODULE.formatted(3, 3, "2_Dense", "Dense"),
                MODULE.formatted(4, 4, "4_Normalize", "Normalize"))
            .toString());
    check(unit(linear(unit(CLS), activation)));
    write("1_Pooling/config.json", POOLING.formatted(false, true));
    double[] pooled = linear(PLAIN, activation);
    check(unit(pooled));
  }

  @Test
  void twoDenseLayersAndNoBias() throws IOException {
    bert();
    modules("Transformer", "Pooling", "Dense", "Dense");
    dense(2, "activation.Tanh");
    write(
        "3_Dense/config.json",
        "{\"in_features\": 6, \"out_features\": 2, \"bias\": false,"
            + " \"activation_function\": \"torch.nn.modules.linear.Identity\"}");
    try (Arena arena = Arena.ofConfined()) {
      float[] weight = new float[12];
      weight[1] = 2; // twice the second
      weight[11] = -1; // the last one's negative
      Safetensors.write(
          folder.resolve("3_Dense/model.safetensors"),
          Map.of("linear.weight", Tensor.copyOf(arena, weight, 2, 6)),
          Map.of());
    }
    double[] first = linear(CLS, "activation.Tanh");
    check(2 * first[1], -first[5]);
  }

  @Test
  void denseLayersThatDoNotFit() throws IOException {
    bert();
    modules("Transformer", "Pooling", "Dense");
    String config = "2_Dense/config.json";
    String weights = "2_Dense/model.safetensors";
    dense(2, "activation.Softmax");
    assertRefused(config, "activation_function: expected Tanh", "Softmax");
    dense(2, "activation.Tanh");
    String good = Files.readString(folder.resolve(config));
    for (String[] wrong :
        new String[][] {
          {"\"in_features\": 8", "\"in_features\": 7", "in_features: expected 8"},
          {"\"in_features\": 8", "\"in_features\": 0", "in_features: expected"},
          {"\"bias\": true", "\"use_residual\": true", "\"use_residual\""},
          {"\"bias\": true", "\"module_input_name\": \"token_embeddings\"", "module_input_name"}
        }) {
      write(config, good.replace(wrong[0], wrong[1]));
      assertRefused(config, wrong[2]);
    }
    write(config, good.replace("\"out_features\": 6", "\"out_features\": 5"));
    assertRefused(weights, "linear.weight: expected [5, 8]");
    write(config, good.replace("\"bias\": true", "\"bias\": false"));
    assertRefused(weights, "expected the tensors [linear.weight]");
    write(config, good);
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = new TreeMap<>();
      tensors.put("linear.weight", Tensor.allocate(arena, DType.INT32, 6, 8));
      Safetensors.write(folder.resolve(weights), tensors, Map.of());
      assertRefused(weights, "linear.bias");
      tensors.put("linear.bias", Tensor.allocate(arena, DType.FLOAT32, 6));
      Safetensors.write(folder.resolve(weights), tensors, Map.of());
      assertRefused(weights, "linear.weight: expected [6, 8] floats, got [6, 8] I32");
    }
    Files.delete(folder.resolve(weights));
    assertRefused(weights);
    write("2_Dense/pytorch_model.bin", "");
    assertRefused("2_Dense/pytorch_model.bin", "expected model.safetensors instead");
    Files.delete(folder.resolve(config));
    assertRefused(config);
  }

  @ParameterizedTest
  @ValueSource(strings = {"CNN", "LSTM", "WordWeights", "Dropout", "BoW", "Pooling", "Router"})
  void otherModules(String kind) throws IOException {
    bert();
    modules("Transformer", "Pooling", kind, "Normalize");
    assertRefused("modules.json", "[2].type: expected", "Dense, LayerNorm or Normalize", kind);
  }

  @Test
  void modulesThatAreNone() throws IOException {
    bert();
    modules("Pooling", "Transformer");
    assertRefused("modules.json", "[0].type: expected");
    modules("Transformer", "Normalize");
    assertRefused("modules.json", "[1].type: expected");
    modules("Transformer");
    assertRefused("modules.json", "a Transformer and a Pooling");
    for (String text : new String[] {"[]", "{}", "null", "[1]", "[{}]"}) {
      write("modules.json", text);
      assertRefused("modules.json", "expected");
    }
    modules("Transformer", "Pooling", "Normalize");
    String good = Files.readString(folder.resolve("modules.json"));
    for (String[] wrong :
        new String[][] {
          {"\"idx\": 2", "\"idx\": 1", "[2].idx: expected 2, its place"},
          {"\"path\": \"\"", "\"path\": \"0_Transformer\"", "[0].path: expected \"\""},
          {"\"1_Pooling\"", "\"../1_Pooling\"", "[1].path: expected"},
          {"\"1_Pooling\"", "\"/1_Pooling\"", "[1].path: expected"},
          {"\"idx\": 2", "\"kwargs\": []", "\"kwargs\""},
          {"sentence_transformers.models.Normalize", "my.Normalize", "[2].type: expected"}
        }) {
      write("modules.json", good.replace(wrong[0], wrong[1]));
      assertRefused("modules.json", wrong[2]);
    }
    Files.delete(folder.resolve("1_Pooling/config.json"));
    write("modules.json", good);
    assertRefused("1_Pooling/config.json");
  }

  @Test
  void pooling() throws IOException {
    bert();
    String file = "1_Pooling/config.json";
    modules("Transformer", "Pooling", "Normalize");
    write(file, POOLING.formatted(false, true));
    check(PLAIN);
    write(file, "{\"word_embedding_dimension\": 8}");
    check(PLAIN); // what sentence-transformers takes where nothing is said
    write(file, POOLING.formatted(false, false));
    assertRefused(file, "pooling_mode_*: expected one that is true, got none");
    // Up to version 5 this is two poolings, since then one.
    write(file, "{\"pooling_mode_cls_token\": true}");
    assertRefused(file, "pooling_mode_mean_tokens: expected a value");
    write(file, "{\"pooling_mode_mean_tokens\": true, \"include_prompt\": 1}");
    assertRefused(file, "include_prompt: expected true or false");
    write(file, "{\"pooling_mode_median\": true}");
    assertRefused(file, "pooling_mode_median");
    write(file, "{\"pooling_mode_mean_tokens\": \"true\"}");
    assertRefused(file, "pooling_mode_mean_tokens: expected true or false");
    write(file, POOLING.formatted(true, false).replace(": 8", ": 16"));
    String message = assertThrows(IOException.class, this::embed).getMessage();
    assertTrue(message.contains("word_embedding_dimension"), message);
  }

  @Test
  void foldersWithoutModules() throws IOException {
    bert();
    write("1_Pooling/config.json", POOLING.formatted(true, false));
    check(unit(CLS));
    Files.createDirectories(folder.resolve("2_Normalize"));
    check(unit(CLS));
    dense(2, "activation.Tanh");
    assertRefused("2_Dense", "expected a modules.json");
  }

  // ---- as sentence-transformers writes folders since version 6 ---------------------------------

  private void newerModules(String... types) throws IOException {
    List<String> modules = new ArrayList<>();
    for (int i = 0; i < types.length; i++) {
      String path =
          i == 0 ? "" : i + types[i].substring(types[i].lastIndexOf('.')).replace(".", "_");
      modules.add(
          MODULE
              .formatted(i, i, path, "")
              .replace("sentence_transformers.models.", "sentence_transformers." + types[i]));
    }
    write("modules.json", modules.toString());
  }

  @Test
  void newerFolders() throws IOException {
    bert();
    String pooling = "1_Pooling/config.json";
    write(
        pooling,
        "{\"embedding_dimension\": 8, \"pooling_mode\": \"cls\", \"include_prompt\": true}");
    write(
        "sentence_bert_config.json",
        "{\"transformer_task\": \"feature-extraction\", \"modality_config\": {\"text\":"
            + " {\"method\": \"forward\", \"method_output_name\": \"last_hidden_state\"}},"
            + " \"module_output_name\": \"token_embeddings\", \"processing_kwargs\": {},"
            + " \"unpad_inputs\": false}");
    String transformer = "base.modules.transformer.Transformer";
    String pool = "sentence_transformer.modules.pooling.Pooling";
    newerModules(transformer, pool);
    check(CLS);
    for (String unit :
        new String[] {
          "base.modules.normalize.Normalize", "sentence_transformer.modules.normalize.Normalize"
        }) {
      newerModules(transformer, pool, unit);
      check(unit(CLS));
    }
    write(pooling, "{\"embedding_dimension\": 8, \"pooling_mode\": \"mean\"}");
    check(PLAIN);
    newerModules(transformer, pool, "base.modules.dense.Dense");
    write(pooling, "{\"pooling_mode\": \"cls\"}");
    dense(2, "activation.Tanh");
    check(linear(CLS, "activation.Tanh"));
    newerModules(transformer, pool, "sentence_transformer.modules.word_weights.WordWeights");
    assertRefused("modules.json", "[2].type: expected");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "{\"pooling_mode\": \"median\"}; pooling_mode: expected one of [cls, max, mean,",
        "{\"pooling_mode\": [\"cls\", \"median\"]}; pooling_mode[1]: expected one of",
        "{\"pooling_mode\": []}; pooling_mode: expected at least one of",
        "{\"pooling_mode\": 1}; pooling_mode: expected an array",
        "{\"pooling_mode\": null}; pooling_mode: expected",
        "{\"pooling_mode\": \"cls\", \"pooling_mode_mean_tokens\": true}; pooling_mode_mean_tokens",
        "{\"pooling_mode\": \"cls\", \"word_embedding_dimension\": 8}; word_embedding_dimension",
        "{\"pooling_mode\": \"cls\", \"embedding_dimension\": 0}; embedding_dimension: expected",
        "{\"embedding_dimension\": 8}; embedding_dimension"
      })
  void newerPoolingThatIsRefused(String config, String reason) throws IOException {
    bert();
    modules("Transformer", "Pooling");
    write("1_Pooling/config.json", config);
    assertRefused("1_Pooling/config.json", reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "{\"transformer_task\": \"fill-mask\"}; transformer_task: expected \"feature-extraction\"",
        "{\"module_output_name\": \"x\"}; module_output_name: expected \"token_embeddings\"",
        "{\"modality_config\": {\"image\": {}}}; modality_config",
        "{\"modality_config\": {\"text\": {\"method\": \"get_text_features\"}}}; method: expected",
        "{\"modality_config\": {\"text\": {\"method_output_name\": \"pooler_output\"}}};"
            + " method_output_name: expected \"last_hidden_state\"",
        "{\"processing_kwargs\": {\"padding\": true}}; processing_kwargs",
        "{\"unpad_inputs\": 1}; unpad_inputs: expected true or false"
      })
  void newerSentenceConfigsThatAreRefused(String config, String reason) throws IOException {
    bert();
    write("sentence_bert_config.json", config);
    assertRefused("sentence_bert_config.json", reason);
  }
}
