package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Poolings, LayerNorm and prompts of folders, against sentence-transformers' formulas in double
 * over the hidden states of the double reference.
 */
class PoolingFolderTest {
  private static final String TEXT = "the cat sat on a red mat";
  private static final String CONFIG = "config_sentence_transformers.json";

  /** Elements are about 1, and float32 hidden states of 2 layers are 2e-6 from those in double. */
  private static final double BOUND = 4e-6;

  @TempDir private Path path;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
  private SmallFolder folder;

  @BeforeEach
  void open() throws IOException {
    folder = new SmallFolder(path);
  }

  @AfterEach
  void close() {
    runtime.close();
  }

  /** By the formulas of Pooling.forward: rows with a mask, which a prompt's are left out of. */
  private static double[] pooled(String mode, double[][] rows, int prompt) {
    double[] result = new double[SmallFolder.WIDTH];
    for (int i = 0; i < result.length; i++) {
      double sum = 0;
      double weighted = 0;
      double weights = 0;
      double most = Double.NEGATIVE_INFINITY;
      for (int r = prompt; r < rows.length; r++) {
        sum += rows[r][i];
        weighted += (r + 1) * rows[r][i];
        weights += r + 1;
        most = Math.max(most, rows[r][i]);
      }
      int count = rows.length - prompt;
      result[i] =
          switch (mode) {
            case "cls" -> rows[0][i];
            case "max" -> most;
            case "mean" -> sum / count;
            case "mean_sqrt_len_tokens" -> sum / Math.sqrt(count);
            case "weightedmean" -> weighted / weights;
            case "lasttoken" -> rows[rows.length - 1][i];
            default -> throw new AssertionError(mode);
          };
    }
    return result;
  }

  private static double[] join(double[]... parts) {
    return Arrays.stream(parts).flatMapToDouble(Arrays::stream).toArray();
  }

  private static double[] unit(double... x) {
    double length = Math.sqrt(Arrays.stream(x).map(a -> a * a).sum());
    return Arrays.stream(x).map(a -> a / length).toArray();
  }

  private static void check(double[] want, float... got) {
    double[] doubles = new double[got.length];
    Arrays.setAll(doubles, i -> got[i]);
    assertArrayEquals(want, doubles, BOUND);
  }

  private void check(double... want) throws IOException {
    try (TextEmbedder model = folder.load(runtime)) {
      assertEquals(want.length, model.dimension());
      check(want, model.embed(TEXT));
    }
  }

  private void refused(String file, String... parts) {
    String message =
        assertThrows(IOException.class, () -> folder.load(runtime).close()).getMessage();
    assertTrue(message.startsWith(path.resolve(file).toString()), message);
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  private double[][] rows() throws IOException {
    return folder.states(folder.ids(TEXT));
  }

  // ---- poolings ------------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource({
    "cls, cls_token, CLS",
    "max, max_tokens, MAX",
    "mean, mean_tokens, MEAN",
    "mean_sqrt_len_tokens, mean_sqrt_len_tokens, MEAN_SQRT_LENGTH",
    "weightedmean, weightedmean_tokens, WEIGHTED_MEAN",
    "lasttoken, lasttoken, LAST_TOKEN"
  })
  void oneMode(String name, String key, Pooling pooling) throws IOException {
    folder.modules("Pooling");
    folder.pooling("\"" + name + "\"", true);
    assertEquals(List.of(pooling), folder.spec().poolings());
    double[] want = pooled(name, rows(), 0);
    check(want);
    String mean = key.equals("mean_tokens") ? "" : "\"pooling_mode_mean_tokens\": false, ";
    folder.write("1_Pooling/config.json", "{%s\"pooling_mode_%s\": true}".formatted(mean, key));
    assertEquals(List.of(pooling), folder.spec().poolings());
    check(want);
    folder.modules("Pooling", "Normalize");
    check(unit(want));
  }

  /** The older form has an order of its own, the newer one that of its list. */
  @Test
  void severalModesSideBySide() throws IOException {
    folder.modules("Pooling");
    folder.write(
        "1_Pooling/config.json",
        "{\"pooling_mode_lasttoken\": true, \"pooling_mode_weightedmean_tokens\": true,"
            + " \"pooling_mode_mean_sqrt_len_tokens\": true, \"pooling_mode_mean_tokens\": true,"
            + " \"pooling_mode_max_tokens\": true, \"pooling_mode_cls_token\": true,"
            + " \"word_embedding_dimension\": 8}");
    double[][] rows = rows();
    double[] all =
        join(
            pooled("cls", rows, 0),
            pooled("max", rows, 0),
            pooled("mean", rows, 0),
            pooled("mean_sqrt_len_tokens", rows, 0),
            pooled("weightedmean", rows, 0),
            pooled("lasttoken", rows, 0));
    check(all);
    folder.modules("Pooling", "Normalize");
    check(unit(all));
    folder.pooling("[\"lasttoken\", \"cls\", \"lasttoken\"]", true);
    check(
        unit(
            join(
                pooled("lasttoken", rows, 0),
                pooled("cls", rows, 0),
                pooled("lasttoken", rows, 0))));
    folder.pooling("[\"max\"]", true);
    check(unit(pooled("max", rows, 0)));
  }

  /** Many texts at once, into a part of a larger tensor; one has no tokens. */
  @Test
  void severalModesOfManyTexts() throws IOException {
    folder.modules("Pooling");
    folder.pooling("[\"max\", \"mean\"]", true);
    try (Arena arena = Arena.ofConfined();
        TextEmbedder model = folder.load(runtime)) {
      List<Tokenized> texts =
          List.of(model.tokenize("a"), new Tokenized(new int[0], 0), model.tokenize(TEXT));
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 3, 20);
      model.embed(texts, out.slice(1, 2, 18));
      assertArrayEquals(new float[20], out.select(0, 1).toFloatArray());
      for (int n = 0; n < 3; n += 2) {
        float[] row = out.select(0, n).toFloatArray();
        assertArrayEquals(
            model.embed(n == 0 ? "a" : TEXT), Arrays.copyOfRange(row, 2, 18), "text " + n);
        assertEquals(0, row[1]);
        assertEquals(0, row[18]);
      }
      model.embed(List.of(), Tensor.allocate(arena, DType.FLOAT32, 0, 16));
    }
  }

  @Test
  void denseTakesAllModes() throws IOException {
    folder.modules("Pooling", "Dense");
    folder.pooling("[\"cls\", \"mean\"]", true);
    folder.write(
        "2_Dense/config.json",
        "{\"in_features\": 16, \"out_features\": 1, \"bias\": false,"
            + " \"activation_function\": \"torch.nn.modules.linear.Identity\"}");
    float[] weight = new float[16];
    weight[15] = 2;
    weight[0] = -1;
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = Map.of("linear.weight", Tensor.copyOf(arena, weight, 1, 16));
      Safetensors.write(path.resolve("2_Dense/model.safetensors"), tensors, Map.of());
    }
    double[][] rows = rows();
    check(2 * pooled("mean", rows, 0)[7] - rows[0][0]);
    folder.pooling("\"cls\"", true);
    refused("2_Dense/config.json", "in_features: expected 8, what is before it, got 16");
  }

  // ---- LayerNorm -----------------------------------------------------------------------------

  private void norm(int size, String... names) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      float[] gamma = new float[size];
      float[] beta = new float[size];
      for (int i = 0; i < size; i++) {
        gamma[i] = 1 + i / 4f;
        beta[i] = i / 8f - 0.5f;
      }
      Map<String, Tensor> tensors =
          Map.of(
              names[0],
              Tensor.copyOf(arena, gamma, size),
              names[1],
              Tensor.copyOf(arena, beta, size));
      Files.createDirectories(path.resolve("2_LayerNorm"));
      Safetensors.write(path.resolve("2_LayerNorm/model.safetensors"), tensors, Map.of());
    }
  }

  private static double[] normed(double... x) {
    double mean = Arrays.stream(x).average().orElseThrow();
    double variance = Arrays.stream(x).map(a -> (a - mean) * (a - mean)).average().orElseThrow();
    double[] y = new double[x.length];
    Arrays.setAll(
        y, i -> (x[i] - mean) / Math.sqrt(variance + 1e-5) * (1 + i / 4.0) + i / 8.0 - 0.5);
    return y;
  }

  @Test
  void layerNorm() throws IOException {
    folder.modules("Pooling", "LayerNorm");
    folder.pooling("\"mean\"", true);
    folder.write("2_LayerNorm/config.json", "{\"dimension\": 8}");
    norm(8, "norm.weight", "norm.bias");
    double[] want = normed(pooled("mean", rows(), 0));
    check(want);
    assertFalse(folder.spec().isNormalized());
    folder.modules("Pooling", "LayerNorm", "Normalize");
    check(unit(want));
    // Packed, with all that the folders of its modules have.
    Path packed = path.resolveSibling(path.getFileName() + "-packed");
    TextEmbedder.pack(runtime, folder.spec(), WeightFormat.FP32, packed);
    try (TextEmbedder plain = folder.load(runtime);
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.folder(packed))) {
      assertArrayEquals(plain.embed(TEXT), model.embed(TEXT));
    }
  }

  @Test
  void layerNormsThatAreRefused() throws IOException {
    folder.modules("Pooling", "LayerNorm");
    folder.pooling("\"mean\"", true);
    refused("2_LayerNorm/config.json");
    folder.write("2_LayerNorm/config.json", "{\"dimension\": 16}");
    norm(8, "norm.weight", "norm.bias");
    refused("2_LayerNorm/config.json", "dimension: expected 8, what is before it, got 16");
    folder.write("2_LayerNorm/config.json", "{\"dimension\": 8, \"eps\": 1e-6}");
    refused("2_LayerNorm/config.json", "\"eps\"");
    folder.write("2_LayerNorm/config.json", "{\"dimension\": 8}");
    norm(8, "weight", "bias");
    refused("2_LayerNorm/model.safetensors", "norm.weight");
    norm(6, "norm.weight", "norm.bias");
    refused("2_LayerNorm/model.safetensors", "norm.weight: expected [8] floats");
    Files.delete(path.resolve("2_LayerNorm/model.safetensors"));
    folder.write("2_LayerNorm/pytorch_model.bin", "");
    refused("2_LayerNorm/pytorch_model.bin", "a pickle is a program");
  }

  // ---- prompts -------------------------------------------------------------------------------

  private static final String PROMPTS =
      "{\"prompts\": {\"query\": \"red dog \", \"document\": \"blue \", \"passage\": \"far \"},"
          + " \"default_prompt_name\": %s, \"similarity_fn_name\": \"%s\"}";

  @Test
  void promptsAreFollowed() throws IOException {
    folder.modules("Pooling");
    folder.pooling("\"mean\"", true);
    double[] plain = pooled("mean", rows(), 0);
    double[] query = pooled("mean", folder.states(folder.ids("red dog " + TEXT)), 0);
    double[] passage = pooled("mean", folder.states(folder.ids("blue " + TEXT)), 0);
    folder.write(CONFIG, PROMPTS.formatted("null", "dot"));
    assertEquals(Similarity.DOT, folder.spec().similarity());
    assertEquals("", folder.spec().defaultPrompt());
    try (TextEmbedder model = folder.load(runtime)) {
      check(plain, model.embed(TEXT));
      check(query, model.embedQuery(TEXT));
      check(passage, model.embedPassage(TEXT));
      check(query, model.embedQueries(List.of("a", TEXT))[1]);
      check(passage, model.embedPassages(List.of(TEXT))[0]);
      check(plain, model.embedAll(List.of(TEXT))[0]);
    }
    folder.write(CONFIG, PROMPTS.formatted("\"query\"", "manhattan"));
    assertEquals("red dog ", folder.spec().defaultPrompt());
    try (TextEmbedder model = folder.load(runtime)) {
      check(query, model.embed(TEXT));
      check(query, model.embedAll(List.of(TEXT))[0]);
      check(passage, model.embedPassage(TEXT));
      assertArrayEquals(folder.ids("red dog " + TEXT), model.tokenize(TEXT).ids());
      EmbeddingOptions none = new EmbeddingOptions().prompt("");
      check(plain, model.embedAll(List.of(TEXT), none).vectors()[0]);
    }
    // Where a prompt has no name of those, the default one is put there; null is none.
    folder.write(
        CONFIG,
        "{\"prompts\": {\"query\": null, \"all\": \"blue \"}, \"default_prompt_name\": \"all\"}");
    try (TextEmbedder model = folder.load(runtime)) {
      check(plain, model.embedQuery(TEXT));
      check(passage, model.embedPassage(TEXT));
      check(passage, model.embed(TEXT));
    }
    assertEquals(Similarity.COSINE, folder.spec().similarity());
  }

  /** [CLS] and the words of the prompt are left out of everything but the first token's mode. */
  @Test
  void promptsThatAreNotPooled() throws IOException {
    folder.modules("Pooling");
    String modes = "[\"max\", \"mean\", \"weightedmean\", \"lasttoken\", \"cls\"]";
    folder.pooling(modes, false);
    folder.write(CONFIG, PROMPTS.formatted("\"passage\"", "cosine"));
    double[][] wants = new double[2][];
    for (int n = 0; n < 2; n++) {
      double[][] rows = folder.states(folder.ids((n == 0 ? "red dog " : "far ") + TEXT));
      int prompt = n == 0 ? 3 : 2;
      wants[n] =
          join(
              pooled("max", rows, prompt),
              pooled("mean", rows, prompt),
              pooled("weightedmean", rows, prompt),
              pooled("lasttoken", rows, prompt),
              pooled("cls", rows, prompt));
    }
    try (Arena arena = Arena.ofConfined();
        TextEmbedder model = folder.load(runtime)) {
      check(wants[0], model.embedQuery(TEXT));
      check(wants[0], model.embedQueries(List.of("cat", TEXT))[1]);
      check(wants[1], model.embed(TEXT));
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 40);
      model.embed(List.of(model.tokenize(TEXT)), out);
      check(wants[1], out.toFloatArray());
      int[] ids = model.tokenize(TEXT).ids();
      model.embed(null, Tensor.copyOf(arena, ids, 1, ids.length), null, out);
      check(wants[1], out.toFloatArray());
      assertThrows(
          IllegalArgumentException.class, () -> model.encoder().forward(new int[] {2, 3}, -1));
    }
    folder.pooling(modes, true);
    try (TextEmbedder model = folder.load(runtime)) {
      assertFalse(
          Math.abs(wants[0][8] - model.embedQuery(TEXT)[8]) < 1e-3, "it makes a difference");
    }
  }
}
