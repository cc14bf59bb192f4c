package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.GatunRuntime;
import dev.gatun.model.Generation;
import dev.gatun.model.GenerationOptions;
import dev.gatun.model.LanguageModel;
import dev.gatun.nn.Sampling;
import dev.gatun.support.Llama2cFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GenerateCommandTest {
  @TempDir static Path folder;

  private static Generation wanted;
  private static Generation drawn;

  @BeforeAll
  static void write() throws IOException {
    Llama2cFiles.write(folder);
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        LanguageModel model = LanguageModel.load(runtime, folder)) {
      GenerationOptions options = GenerationOptions.of(12);
      wanted = model.generate("a cat", options);
      drawn = model.generate("a cat", options.withSampling(new Sampling(1.5, 20, 0.9, 3)));
    }
  }

  private static CliRun generate(String... more) {
    String[] args = new String[more.length + 5];
    List<String> first = List.of("generate", "--model", folder.toString(), "--max-tokens", "12");
    for (int n = 0; n < args.length; n++) {
      args[n] = n < 5 ? first.get(n) : more[n - 5];
    }
    return CliRun.run(args);
  }

  @Test
  void printsTheText() {
    CliRun run = generate("a cat");
    assertEquals(0, run.code(), run.err());
    assertEquals(wanted.text(), run.out().substring(0, run.out().length() - 1));
    assertTrue(run.err().matches("prompt: \\d+ tokens, .*; text: \\d+ tokens, .*\\n"), run.err());
    CliRun quiet =
        generate(
            "--quiet",
            "--temperature",
            "1.5",
            "--top-k",
            "20",
            "--top-p",
            "0.9",
            "--seed",
            "3",
            "a cat");
    assertEquals(drawn.text() + "\n", quiet.out());
    assertEquals("", quiet.err());
  }

  @Test
  void printsJson() throws IOException {
    Path file = Files.writeString(folder.resolve("prompts"), "b\na cat\n");
    List<String> lines = generate("--json", "--file", file.toString()).lines();
    assertEquals(2, lines.size());
    Map<String, Object> object = JSON.std.mapFrom(lines.get(1));
    assertEquals("a cat", object.get("prompt"));
    assertEquals(wanted.text(), object.get("text"));
    assertEquals(wanted.tokens().size(), object.get("tokens"));
    assertEquals(wanted.promptTokens(), object.get("promptTokens"));
    assertEquals(wanted.reason().name(), object.get("reason"));
    assertEquals(2, generate("--file", file.toString()).lines().size());
  }

  @Test
  void stops() {
    String stop = wanted.text().substring(1, 2);
    CliRun run = generate("--stop", stop, "a cat");
    assertEquals(
        wanted.text().substring(0, wanted.text().indexOf(stop)),
        run.out().substring(0, run.out().length() - 1));
  }

  @Test
  void mistakesAreOneLine() {
    refused("expected PROMPT or --file, got neither", generate());
    refused("--temperature: expected a finite number", generate("--temperature", "-1", "a"));
    refused("PROMPT: expected at most 48 tokens", generate("q".repeat(60)));
    refused("expected config.json", CliRun.run("generate", "--model", "src", "a"));
    refused("no such file", CliRun.run("generate", "--model", "nowhere", "a"));
  }

  private static void refused(String message, CliRun run) {
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
    assertEquals(1, run.err().lines().count());
  }
}
