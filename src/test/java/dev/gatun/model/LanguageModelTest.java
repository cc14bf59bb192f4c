package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.nn.Sampling;
import dev.gatun.support.Llama2cFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Texts of a random model: what ends them, and what does not change them. */
class LanguageModelTest {
  private static final Sampling DRAWN = new Sampling(1, 0, 1, 5);

  @TempDir static Path folder;

  private static GatunRuntime runtime;
  private static LanguageModel model;

  @BeforeAll
  static void load() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    model = LanguageModel.load(runtime, Llama2cFiles.write(folder));
  }

  @AfterAll
  static void close() {
    model.close();
    runtime.close();
  }

  private static GenerationOptions options(int maxTokens) {
    return GenerationOptions.of(maxTokens).withSampling(DRAWN);
  }

  @Test
  void equalsTheReference() throws IOException {
    for (String prompt : List.of("", "the cat sat", "Éé\n€😀")) {
      Llama2cReference reference = new Llama2cReference(folder.resolve("small.bin"));
      double[] scores = null;
      for (int token : model.tokenize(prompt)) {
        scores = reference.next(token);
      }
      Generation got = model.generate(prompt, GenerationOptions.of(12));
      for (int token : got.tokens()) {
        assertEquals(Llama2cReference.best(scores), token, prompt);
        scores = reference.next(token);
      }
    }
  }

  /** A space, then letters, of which the pair " c" is a token, and bytes of what is none. */
  @Test
  void tokenizesAsLlama2c() {
    assertArrayEquals(new int[] {1}, model.tokenize(""));
    assertArrayEquals(new int[] {1, 288, 260, 279}, model.tokenize("cat"));
    assertArrayEquals(new int[] {1, 259, 3 + 0xC3, 3 + 0x89, 288}, model.tokenize("É c"));
  }

  @Test
  void promptsTogetherAreAsAlone() {
    List<String> prompts = List.of("a", "the quick brown fox", "", "É", "a");
    for (GenerationOptions options : List.of(GenerationOptions.of(30), options(60))) {
      List<Generation> together = model.generate(prompts, options.withStops("e", "q"));
      for (int n = 0; n < prompts.size(); n++) {
        Generation alone = model.generate(prompts.get(n), options.withStops("e", "q"));
        assertEquals(alone.tokens(), together.get(n).tokens(), prompts.get(n));
        assertEquals(alone.text(), together.get(n).text());
        assertEquals(alone.reason(), together.get(n).reason());
        assertEquals(alone.promptTokens(), together.get(n).promptTokens());
      }
    }
    assertEquals(List.of(), model.generate(List.of(), options(3)));
  }

  @Test
  void stopStringsAndTokensEnd() {
    Generation all = model.generate("b", options(40));
    String text = all.text();
    for (int from = 0; from + 3 < text.length(); from += 3) {
      String stop = text.substring(from, from + 3);
      List<String> pieces = new ArrayList<>();
      Generation got = model.generate("b", options(40).withStops("nowhere", stop), pieces::add);
      assertEquals(text.substring(0, text.indexOf(stop)), got.text());
      assertEquals(got.text(), String.join("", pieces));
      assertEquals(Generation.Reason.STOP_STRING, got.reason());
    }
    int token = all.tokens().get(4);
    int at = all.tokens().indexOf(token);
    Generation got = model.generate("b", options(40).withStopTokens(token));
    assertEquals(all.tokens().subList(0, at + 1), got.tokens());
    assertEquals(Generation.Reason.END_TOKEN, got.reason());
  }

  @Test
  void callerEnds() {
    String all = model.generate("b", options(40)).text();
    StringBuilder heard = new StringBuilder();
    Generation got = model.generate("b", options(40), piece -> heard.append(piece).length() < 5);
    assertEquals(Generation.Reason.CALLER, got.reason());
    assertEquals(heard.toString(), got.text());
    assertTrue(all.startsWith(got.text()) && got.text().length() < all.length());
    assertThrows(
        ArithmeticException.class,
        () ->
            model.generate(
                "b",
                options(40),
                _ -> {
                  throw new ArithmeticException();
                }));
  }

  @Test
  void sessionsGoOnAndFork() {
    try (Session session = model.newSession()) {
      assertEquals(Llama2cFiles.POSITIONS, session.capacity());
      session.generate("one", options(5));
      int length = session.length();
      try (Session fork = session.fork();
          Session other = session.fork()) {
        assertEquals(length, fork.length());
        other.generate("zzz", options(3));
        Generation want = session.generate(" two", options(6));
        assertEquals(want.tokens(), fork.generate(" two", options(6)).tokens());
        assertEquals(session.length(), fork.length());
        assertFalse(want.tokens().equals(model.generate(" two", options(6)).tokens()));
      }
      assertEquals(
          "prompt: expected at most %d tokens, got".formatted(48 - session.length()),
          assertThrows(
                  IllegalArgumentException.class,
                  () -> session.generate("x y z ".repeat(9), options(1)))
              .getMessage()
              .replaceAll("got.*", "got"));
      session.reset();
      assertEquals(
          model.generate("one", options(5)).tokens(), session.generate("one", options(5)).tokens());
      assertThrows(IllegalStateException.class, model::close, "a session is open");
    }
  }

  @Test
  void whatIsNoModelIsRefused(@TempDir Path other) throws IOException {
    Llama2cFiles.write(other);
    Path file = other.resolve("small.bin");
    LanguageModel.load(runtime, file).close();
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(bytes, bytes.length - 4));
    refused("expected a folder with config.json, or llama2.c's format", file);
    refused("expected config.json, or one file *.bin in llama2.c's format", other);
    Files.write(file, bytes);
    byte[] tokens = Files.readAllBytes(other.resolve("tok.bin"));
    Files.write(other.resolve("tok.bin"), Arrays.copyOf(tokens, tokens.length + 1));
    refused("tok.bin: no vocabulary of llama2.c: expected 300 tokens", other);
    Files.write(other.resolve("tok.bin"), Arrays.copyOf(tokens, tokens.length - 1));
    refused("tok.bin: no vocabulary of llama2.c: expected token 299", other);
    Files.delete(other.resolve("tok.bin"));
    refused("expected one vocabulary tok*.bin beside small.bin, got 0", other);
  }

  private static void refused(String message, Path path) {
    IOException e =
        assertThrows(IOException.class, () -> LanguageModel.load(runtime, path).close());
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void optionsAreChecked() {
    assertThrows(IllegalArgumentException.class, () -> GenerationOptions.of(0));
    assertThrows(IllegalArgumentException.class, () -> options(1).withStops(""));
    assertThrows(IllegalArgumentException.class, () -> options(1).withStopTokens(-1));
    assertThrows(IllegalArgumentException.class, () -> model.newSession(49));
    assertThrows(IllegalArgumentException.class, () -> model.generate("a".repeat(99), options(1)));
  }
}
