package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.support.MaskedFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FillCommandTest {
  private static final String TEXT = "the capital of france is [MASK] .";

  @TempDir static Path folder;

  @BeforeAll
  static void write() throws IOException {
    MaskedFolder.write(folder);
  }

  private static CliRun fill(String text, String... more) {
    String[] args = new String[more.length + 4];
    System.arraycopy(new String[] {"fill", "--model", folder.toString()}, 0, args, 0, 3);
    System.arraycopy(more, 0, args, 3, more.length);
    args[args.length - 1] = text;
    return CliRun.run(args);
  }

  @Test
  void printsLines() {
    CliRun run = fill(TEXT, "--threads", "1");
    assertEquals(0, run.code(), run.err());
    assertEquals(5, run.lines().size());
    String[] fields = run.lines().getFirst().split("\t");
    assertEquals(
        List.of("paris", "the capital of france is paris."), List.of(fields).subList(1, 3));
    assertTrue(Double.parseDouble(fields[0]) > 0.9, fields[0]);
    assertEquals(5, fill("[MASK] is [MASK]", "--top", "2").lines().size());
  }

  @Test
  void printsJson() throws IOException {
    List<String> lines = fill("[MASK] is [MASK]", "--json", "--top", "3").lines();
    assertEquals(2, lines.size());
    List<Object> fills = JSON.std.listFrom(lines.get(1));
    assertEquals(3, fills.size());
    Map<?, ?> first = (Map<?, ?>) fills.getFirst();
    assertEquals("paris", first.get("token"));
    assertEquals(MaskedFolder.id("paris"), first.get("id"));
    assertEquals("[MASK] is paris", first.get("text"));
    assertTrue((Double) first.get("probability") > 0.9);
  }

  @Test
  void mistakesAreOneLine() {
    refused("TEXT: expected the mask [MASK], got none", fill("the cat"));
    refused("--top: expected 1 .. 50", fill(TEXT, "--top", "51"));
    refused("nowhere/config.json", CliRun.run("fill", "--model", "nowhere", TEXT));
  }

  private static void refused(String message, CliRun run) {
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
    assertEquals(1, run.err().lines().count());
  }
}
