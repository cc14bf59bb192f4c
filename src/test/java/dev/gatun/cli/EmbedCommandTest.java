package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class EmbedCommandTest {
  private static final String LONG = "word ".repeat(300);

  @TempDir Path directory;

  private static GatunRuntime runtime;
  private static TextEmbedder minilm;

  @BeforeAll
  static void load() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    minilm = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
  }

  @AfterAll
  static void close() {
    minilm.close();
    runtime.close();
  }

  private String write(byte... bytes) throws IOException {
    return Files.write(directory.resolve("texts"), bytes).toString();
  }

  private String write(String text) throws IOException {
    return write(text.getBytes(StandardCharsets.UTF_8));
  }

  private static void assertVector(float[] expected, List<Double> vector) {
    assertEquals(expected.length, vector.size());
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], vector.get(i), 1e-6); // the batch decides the last places
    }
  }

  private static List<Double> numbers(String line) {
    return Arrays.stream(line.split(" ")).map(Double::valueOf).toList();
  }

  @SuppressWarnings("unchecked")
  private static void assertJson(String line, String text, int tokens, boolean cut)
      throws IOException {
    Map<String, Object> object = JSON.std.mapFrom(line);
    assertEquals(List.of("text", "tokens", "truncated", "vector"), List.copyOf(object.keySet()));
    assertEquals(text, object.get("text"));
    assertEquals(tokens, object.get("tokens"));
    assertEquals(cut, object.get("truncated"));
    assertVector(minilm.embed(text), (List<Double>) object.get("vector"));
  }

  // ---- embed

  @Test
  void arguments() {
    CliRun result = CliRun.run("embed", "A cat sleeps.", "", LONG);
    assertEquals(0, result.code(), result.err());
    assertEquals(3, result.lines().size());
    assertVector(minilm.embed("A cat sleeps."), numbers(result.lines().get(0)));
    assertVector(minilm.embed(""), numbers(result.lines().get(1)));
    assertVector(minilm.embed(LONG), numbers(result.lines().get(2)));
    assertEquals("gatun: 1 text cut to 128 tokens; --verbose lists them", result.complaints());
  }

  /** It was refused, and the lines around it were lost. */
  @Test
  void endlessLines() throws IOException {
    String endless = "привет мир ".repeat(100_000);
    CliRun result = CliRun.run("embed", "--file", write("a\n" + endless + "\nb\n"));
    assertEquals(0, result.code(), result.err());
    assertEquals(3, result.lines().size());
    assertVector(minilm.embed("привет мир ".repeat(200)), numbers(result.lines().get(1)));
    assertVector(minilm.embed("b"), numbers(result.lines().get(2)));
    assertEquals("gatun: 1 text cut to 128 tokens; --verbose lists them", result.complaints());
  }

  /** Only \n ends a line, and the last one adds no text. */
  @Test
  void fileAsJson() throws IOException {
    List<String> texts =
        List.of(
            "first",
            "",
            "carriage return\r",
            "tab\t\"quoted\" \\ and \u0001, \u007f, \u0085, \u2028, \u000b, \f",
            " naïve 東京 🙂",
            LONG,
            "");
    String file = write(String.join("\n", texts) + "\n");
    CliRun result = CliRun.run("embed", "--json", "--file", file, "--threads", "1");
    assertEquals(0, result.code(), result.err());
    assertEquals("", result.complaints());
    String[] lines = result.out().split("\n");
    assertEquals(texts.size(), lines.length);
    for (int n = 0; n < lines.length; n++) {
      int tokens = Math.min(128, minilm.tokenize(texts.get(n)).originalCount());
      assertJson(lines[n], texts.get(n), tokens, n == 5);
    }
    assertTrue(
        lines[0].startsWith("{\"text\":\"first\",\"tokens\":3,\"truncated\":false,\"vector\":["));
  }

  @ParameterizedTest
  @CsvSource({"'', 0", "'\n', 1", "'a', 1", "'a\n', 1", "'a\nb', 2", "'\n\n', 2", "'a\n\n', 2"})
  void countOfLines(String text, int count) throws IOException {
    CliRun result = CliRun.run("embed", "--file", write(text));
    assertEquals(0, result.code(), result.err());
    assertEquals(count, result.lines().size());
  }

  /** More than one batch, in input order. */
  @Test
  void manyLines() throws IOException {
    List<String> texts = new ArrayList<>();
    for (int n = 0; n < 600; n++) {
      texts.add("number " + n);
    }
    CliRun result = CliRun.run("embed", "--json", "--file", write(String.join("\n", texts)));
    assertEquals(0, result.code(), result.err());
    assertEquals(texts.size(), result.lines().size());
    for (int n = 0; n < texts.size(); n += 85) {
      int tokens = minilm.tokenize(texts.get(n)).count();
      assertJson(result.lines().get(n), texts.get(n), tokens, false);
    }
    for (int n = 0; n < texts.size(); n++) {
      assertTrue(result.lines().get(n).startsWith("{\"text\":\"number %d\",".formatted(n)));
    }
  }

  @Test
  void maxTokens() throws IOException {
    CliRun cut = CliRun.run("embed", "--json", "--max-tokens", "3", "one two three");
    assertTrue(cut.out().contains("\"tokens\":3,\"truncated\":true"), cut.out());
    CliRun whole = CliRun.run("embed", "--json", "--max-tokens", "512", LONG);
    assertTrue(whole.out().contains("\"tokens\":302,\"truncated\":false"), whole.err());
    refused("expected at least 2, got 1", CliRun.run("embed", "--max-tokens", "1", "a"));
    refused("expected at most 512", CliRun.run("embed", "--max-tokens", "513", "a"));
  }

  @Test
  void otherModels() {
    CliRun result = CliRun.run("embed", "--json", "--model", "bge-small", LONG);
    assertEquals(0, result.code(), result.err());
    assertTrue(result.out().contains("\"tokens\":302,\"truncated\":false"), result.err());
  }

  // ---- mistakes

  static Stream<List<String>> mistakes() {
    return Stream.of(
        List.of("neither", "embed"),
        List.of("both", "embed", "--file", "x", "text"),
        List.of("no such file", "embed", "--file", "/no/such/file"),
        List.of("directory", "embed", "--file", "/"),
        List.of("minilm, bge-small, e5-small", "embed", "--model", "nothing", "a"),
        List.of("empty", "embed", "--model", "", "a"),
        List.of("1 .. 999999999", "embed", "--max-tokens", "0", "a"),
        List.of("1 .. 999999999", "embed", "--max-tokens", "x", "a"),
        List.of("1 .. 1024", "embed", "--threads", "0", "a"),
        List.of("--nothing", "embed", "--nothing", "a"),
        List.of("--demo", "embed", "--demo", "a"),
        List.of("--demo", "embed", "--demo", "--json"),
        List.of("--demo", "embed", "--demo", "--model", "minilm"),
        List.of("--demo", "embed", "--demo", "--max-tokens", "7"),
        List.of("--file", "similar", "query"),
        List.of("QUERY", "similar", "--file", "x"),
        List.of("both", "similar", "query", "--queries", "x", "--file", "x"),
        List.of("no such file", "similar", "--queries", "/no/such/file", "--file", "pom.xml"),
        List.of("1 .. 999999999", "similar", "query", "--file", "x", "-k", "0"),
        List.of("no such file", "similar", "query", "--file", "/no/such/file"));
  }

  /** One line, and nothing on standard output. */
  @ParameterizedTest
  @MethodSource
  void mistakes(List<String> args) {
    refused(args.getFirst(), CliRun.run(args.subList(1, args.size()).toArray(String[]::new)));
  }

  private static void refused(String text, CliRun result) {
    assertEquals(2, result.code(), result.err());
    assertEquals("", result.out());
    assertEquals(1, result.complaints().lines().count(), result.err());
    assertTrue(result.complaints().contains(text), result.err());
  }

  @Test
  void folderWithoutModel() {
    refused("model.onnx", CliRun.run("embed", "--model", directory.toString(), "a"));
  }

  @Test
  void folderWithAnotherFile() throws IOException {
    Files.writeString(directory.resolve("model.onnx"), "no model");
    Files.writeString(directory.resolve("tokenizer.json"), "{}");
    refused("tokenizer.json", CliRun.run("embed", "--model", directory.toString(), "a"));
  }

  @ParameterizedTest
  @CsvSource({
    "'61,0a,62,c3,28', 2, 2, c3",
    "'ff', 1, 1, ff",
    "'61,0a,0a,c3', 3, 1, c3",
    "'ed,a0,80', 1, 1, ed"
  })
  void notUtf8(String hex, int line, int at, String value) throws IOException {
    String[] digits = hex.split(",");
    byte[] bytes = new byte[digits.length];
    for (int n = 0; n < bytes.length; n++) {
      bytes[n] = (byte) Integer.parseInt(digits[n], 16);
    }
    String message = "line %d: byte %d (0x%s) is not UTF-8".formatted(line, at, value);
    refused(message, CliRun.run("embed", "--file", write(bytes)));
    refused(message, CliRun.run("similar", "a", "--file", write(bytes)));
  }

  // ---- similar

  @Test
  void similar() throws IOException {
    String file =
        write(
            "Interest rates rose again.\n\nA kitten is sleeping.\nA kitten is sleeping.\nBread.\n");
    CliRun result = CliRun.run("similar", "The cat is asleep", "--file", file, "-k", "3");
    assertEquals(0, result.code(), result.err());
    assertEquals("", result.complaints());
    List<String> lines = result.lines();
    assertEquals(3, lines.size());
    assertTrue(lines.get(0).matches("0\\.\\d{4}\t3\tA kitten is sleeping\\."), result.out());
    assertTrue(lines.get(1).matches("0\\.\\d{4}\t4\tA kitten is sleeping\\."), result.out());
    assertEquals(5, CliRun.run("similar", "x", "--file", file).lines().size());
    double[] scores =
        CliRun.run("similar", "x", "--file", file).lines().stream()
            .mapToDouble(l -> Double.parseDouble(l.split("\t")[0]))
            .toArray();
    for (int n = 1; n < scores.length; n++) {
      assertTrue(scores[n] <= scores[n - 1]);
    }
  }

  @Test
  void similar_saysWhatWasCut() throws IOException {
    CliRun result = CliRun.run("similar", LONG, "--file", write("a\n" + LONG));
    assertEquals(0, result.code(), result.err());
    assertTrue(result.lines().getFirst().startsWith("1.0000\t2\t"), result.out());
    assertEquals("gatun: 2 texts cut to 128 tokens; --verbose lists them", result.complaints());
    assertEquals(0, CliRun.run("similar", "a", "--file", write("")).lines().size());
  }

  @Test
  void help() {
    for (String command : List.of("embed", "similar")) {
      CliRun result = CliRun.run(command, "--help");
      assertEquals(0, result.code());
      assertTrue(result.out().contains("--max-tokens"), result.out());
      assertFalse(result.out().isBlank());
    }
  }
}
