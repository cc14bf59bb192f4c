package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.EmbeddingOptions;
import dev.gatun.model.EmbeddingQuantizer;
import dev.gatun.model.OnTooLong;
import dev.gatun.model.Similarity;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Prompts, long texts, sizes and types of vectors, of a folder with an encoder 8 wide that has
 * prompts, whose vectors have other lengths than 1.
 */
class EmbedOptionsTest {
  private static final String TEXT = "the cat sat on a mat";
  private static final String LONG = "the cat sat on a mat ".repeat(20);
  private static final List<String> TEXTS = List.of(TEXT, "a mat", "the dog ran", "");

  @TempDir private Path directory;

  private Path folder;
  private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
  private TextEmbedder model;

  @BeforeEach
  void write() throws IOException {
    folder = Files.createDirectory(directory.resolve("model"));
    for (String name : List.of("bert.onnx", "tokenizer.json")) {
      try (InputStream in = EmbedOptionsTest.class.getResourceAsStream("/folders/" + name)) {
        Files.copy(in, folder.resolve(name.replace("bert.onnx", "model.onnx")));
      }
    }
    Files.writeString(
        folder.resolve("modules.json"),
        """
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
         {"idx": 1, "name": "1", "path": "1_Pooling",
          "type": "sentence_transformers.models.Pooling"}]
        """);
    Files.writeString(
        Files.createDirectory(folder.resolve("1_Pooling")).resolve("config.json"),
        "{\"embedding_dimension\": 8, \"pooling_mode\": \"mean\", \"include_prompt\": true}");
    use(Similarity.COSINE);
    model = TextEmbedder.load(runtime, EmbeddingModelSpec.folder(folder));
  }

  private void use(Similarity similarity) throws IOException {
    Files.writeString(
        folder.resolve("config_sentence_transformers.json"),
        """
        {"prompts": {"query": "the cat ", "passage": "a mat ", "usual": "dog "},
         "default_prompt_name": "usual", "similarity_fn_name": "%s"}
        """
            .formatted(similarity.name().toLowerCase(Locale.ROOT)));
  }

  @AfterEach
  void close() {
    model.close();
    runtime.close();
  }

  private CliRun run(String command, String... args) {
    List<String> all = new ArrayList<>(List.of(command, "--model", folder.toString()));
    all.addAll(List.of(args));
    return CliRun.piped("", all.toArray(String[]::new));
  }

  private static double[] numbers(String line) {
    return Arrays.stream(line.split(" ")).mapToDouble(Double::parseDouble).toArray();
  }

  private static void assertVector(float[] expected, String line) {
    double[] wanted = IntStream.range(0, expected.length).mapToDouble(i -> expected[i]).toArray();
    assertArrayEquals(wanted, numbers(line), 1e-6); // the batch decides the last places
  }

  private void assertVectors(EmbeddingOptions options, List<String> texts, CliRun run) {
    assertEquals(0, run.code(), run.err());
    float[][] wanted = model.embedAll(texts, options).vectors();
    assertEquals(wanted.length, run.lines().size());
    for (int n = 0; n < wanted.length; n++) {
      assertVector(wanted[n], run.lines().get(n));
    }
  }

  @Test
  void prompts() {
    EmbeddingModelSpec spec = model.spec();
    String[] texts = TEXTS.toArray(String[]::new);
    assertVectors(new EmbeddingOptions(), TEXTS, run("embed", texts));
    for (String prompt : List.of("query", "passage")) {
      String text = prompt.equals("query") ? spec.queryPrefix() : spec.passagePrefix();
      assertTrue(text.length() > 1);
      List<String> args = new ArrayList<>(TEXTS);
      args.add("--" + prompt);
      assertVectors(
          new EmbeddingOptions().prompt(text), TEXTS, run("embed", args.toArray(String[]::new)));
    }
  }

  @Test
  void dimensions() {
    assertVectors(
        new EmbeddingOptions().dimensions(3),
        List.of(TEXT),
        run("embed", "--dimensions", "3", TEXT));
    assertEquals(3, numbers(run("embed", "--dimensions", "3", TEXT).out()).length);
  }

  @Test
  void chunks() throws IOException {
    EmbeddingOptions options =
        new EmbeddingOptions().onTooLong(OnTooLong.CHUNK).maxTokens(12).overlap(4);
    String[] args = {"--on-too-long", "chunk", "--max-tokens", "12", "--overlap", "4", LONG, TEXT};
    CliRun run = run("embed", args);
    assertVectors(options, List.of(LONG, TEXT), run);
    assertEquals("", run.err());
    assertVectors(
        new EmbeddingOptions().onTooLong(OnTooLong.CHUNK).maxTokens(12),
        List.of(LONG),
        run("embed", "--on-too-long", "chunk", "--max-tokens", "12", LONG));
    String[] withJson = Arrays.copyOf(args, args.length + 1);
    withJson[args.length] = "--json";
    Map<String, Object> object = JSON.std.mapFrom(run("embed", withJson).lines().getFirst());
    assertEquals(
        List.of("text", "tokens", "truncated", "chunks", "vector"), List.copyOf(object.keySet()));
    assertEquals(false, object.get("truncated"));
    assertEquals(
        model.embedAll(List.of(LONG), options).texts().getFirst().chunks(), object.get("chunks"));
  }

  @Test
  void cutIsWhatIsDoneAnyway() {
    CliRun cut = run("embed", "--on-too-long", "cut", "--max-tokens", "5", TEXT);
    assertEquals(run("embed", "--max-tokens", "5", TEXT), cut);
    assertEquals("gatun: 1 text cut to 5 tokens; --verbose lists them", cut.complaints());
  }

  /** The number of the text counts through batches. */
  @Test
  void tooLong_isRefusedByItsNumber() {
    List<String> args = new ArrayList<>(List.of("--on-too-long", "fail", "--max-tokens", "12"));
    for (int n = 0; n < 300; n++) {
      args.add("a");
    }
    args.add(LONG);
    CliRun run = run("embed", args.toArray(String[]::new));
    assertEquals(2, run.code());
    assertTrue(run.complaints().startsWith("gatun: text 301: expected at most 12 tokens, got "));
    CliRun query = run("similar", "--on-too-long", "fail", LONG + LONG);
    assertEquals(2, query.code());
    assertTrue(query.complaints().startsWith("gatun: query 1: expected at most "), query.err());
  }

  // ---- types

  @ParameterizedTest
  @ValueSource(strings = {"int8", "uint8", "binary", "ubinary"})
  void types(String type) throws IOException {
    float[][] vectors = model.embedAll(TEXTS).clone();
    EmbeddingQuantizer quantizer =
        switch (type) {
          case "int8" -> EmbeddingQuantizer.int8(vectors);
          case "uint8" -> EmbeddingQuantizer.uint8(vectors);
          case "binary" -> EmbeddingQuantizer.binary();
          default -> EmbeddingQuantizer.ubinary();
        };
    List<String> args = new ArrayList<>(List.of("--output-type", type));
    args.addAll(TEXTS);
    CliRun plain = run("embed", args.toArray(String[]::new));
    assertEquals(new CliRun(0, plain.out(), ""), plain);
    args.add("--json");
    List<String> objects = run("embed", args.toArray(String[]::new)).lines();
    assertEquals(TEXTS.size(), plain.lines().size());
    for (int n = 0; n < vectors.length; n++) {
      byte[] bytes = quantizer.quantize(vectors[n]);
      List<Integer> wanted = new ArrayList<>();
      for (byte b : bytes) {
        wanted.add(type.startsWith("u") ? Byte.toUnsignedInt(b) : b);
      }
      assertEquals(
          wanted, Arrays.stream(plain.lines().get(n).split(" ")).map(Integer::valueOf).toList());
      Map<String, Object> object = JSON.std.mapFrom(objects.get(n));
      assertEquals(TEXTS.get(n), object.get("text"));
      assertEquals(wanted, object.get("vector"));
    }
  }

  @Test
  void float32IsPrintedAnyway() {
    assertEquals(run("embed", TEXT), run("embed", "--output-type", "float32", TEXT));
    assertEquals(new CliRun(0, "", ""), run("embed", "--output-type", "int8", "--file", "-"));
  }

  // ---- similar

  @ParameterizedTest
  @EnumSource(Similarity.class)
  void similar_ranksAsTheModelDoes(Similarity similarity) throws IOException {
    use(similarity);
    String file = Files.write(directory.resolve("texts"), TEXTS).toString();
    List<String> plain =
        run("similar", "--query", "--passage", "--dimensions", "5", "--file", file, "dog").lines();
    List<String> json =
        run("similar", "--query", "--passage", "--dimensions", "5", "--json", "--file", file, "dog")
            .lines();
    EmbeddingOptions options = new EmbeddingOptions().dimensions(5);
    float[] wanted =
        model.embedAll(List.of("dog"), options.prompt(model.spec().queryPrefix())).vectors()[0];
    float[][] found = model.embedAll(TEXTS, options.prompt(model.spec().passagePrefix())).vectors();
    List<Integer> order =
        IntStream.range(0, found.length)
            .boxed()
            .sorted(
                (a, b) ->
                    Double.compare(
                        similarity.score(wanted, found[b]), similarity.score(wanted, found[a])))
            .toList();
    assertEquals(found.length, plain.size());
    for (int n = 0; n < found.length; n++) {
      String[] parts = plain.get(n).split("\t", -1);
      assertEquals(order.get(n) + 1, Integer.parseInt(parts[1]), plain.toString());
      double score = similarity.score(wanted, found[order.get(n)]);
      assertEquals(score, Double.parseDouble(parts[0]), 1e-4);
      Map<?, ?> result =
          (Map<?, ?>) ((List<?>) JSON.std.mapFrom(json.getFirst()).get("results")).get(n);
      String key = similarity.name().toLowerCase(Locale.ROOT);
      assertEquals(List.of(key, "line", "text"), List.copyOf(result.keySet()));
      assertEquals(score, ((Number) result.get(key)).doubleValue(), 1e-5);
    }
  }

  // ---- mistakes

  static Stream<List<String>> mistakes() {
    return Stream.of(
        List.of("--passage", "embed", "--query", "--passage", "a"),
        List.of("expected one of chunk, cut, fail", "embed", "--on-too-long", "drop", "a"),
        List.of("--overlap: expected --on-too-long chunk", "embed", "--overlap", "3", "a"),
        List.of(
            "--overlap: expected --on-too-long chunk",
            "similar",
            "--overlap",
            "3",
            "--on-too-long",
            "cut",
            "a"),
        List.of("0 .. 999999999", "embed", "--on-too-long", "chunk", "--overlap", "-1", "a"),
        List.of(
            "text 2: --overlap: expected fewer than",
            "embed",
            "--on-too-long",
            "chunk",
            "--max-tokens",
            "9",
            "--overlap",
            "9",
            "a",
            LONG),
        List.of("1 .. 999999999", "embed", "--dimensions", "0", "a"),
        List.of("--dimensions: expected at most 8", "embed", "--dimensions", "9", "a"),
        List.of("--dimensions: expected at most 8", "similar", "--dimensions", "9", "a"),
        List.of("expected one of binary, float32", "embed", "--output-type", "int4", "a"),
        List.of(
            "--output-type binary: expected vectors of a multiple of 8 numbers, got 4",
            "embed",
            "--output-type",
            "binary",
            "--dimensions",
            "4",
            "a"),
        List.of("--output-type", "similar", "--output-type", "int8", "a"));
  }

  /** One line, and nothing on standard output. */
  @ParameterizedTest
  @MethodSource
  void mistakes(List<String> args) {
    refused(args.getFirst(), run(args.get(1), args.subList(2, args.size()).toArray(String[]::new)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--query",
        "--passage",
        "--dimensions=3",
        "--on-too-long=cut",
        "--output-type=int8"
      })
  void demo_takesNoneOfThem(String option) {
    refused("--demo: expected no other options", CliRun.run("embed", "--demo", option));
  }

  private static void refused(String text, CliRun result) {
    assertEquals(2, result.code(), result.err());
    assertEquals("", result.out());
    assertEquals(1, result.complaints().lines().count(), result.err());
    assertTrue(result.complaints().contains(text), result.err());
  }
}
