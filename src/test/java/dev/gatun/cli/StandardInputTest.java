package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class StandardInputTest {
  @TempDir Path directory;

  /** What would hang a command that asks a terminal. */
  private static final class Untouched extends InputStream {
    private boolean touched;

    @Override
    public int read() {
      touched = true;
      return -1;
    }
  }

  @Test
  void embed_readsWhatIsPiped() throws IOException {
    CliRun given = CliRun.piped("", "embed", "--json", "--file", write("A cat.\n\nA dog."));
    assertEquals(3, given.lines().size());
    assertEquals(given, CliRun.piped("A cat.\n\nA dog.", "embed", "--json"));
    assertEquals(given, CliRun.piped("A cat.\n\nA dog.\n", "embed", "--json", "--file", "-"));
    assertEquals(new CliRun(0, "", ""), CliRun.piped("", "embed"));
  }

  /** At a terminal too: that is what the dash asks for. */
  @Test
  void dash_readsATerminal() {
    InputStream typed = new ByteArrayInputStream("A cat.\n".getBytes(StandardCharsets.UTF_8));
    CliRun run = CliRun.run(typed, Set.of(0), "embed", "--json", "--file", "-");
    assertEquals(CliRun.piped("", "embed", "--json", "A cat."), run);
  }

  @Test
  void similar_readsWhatIsPiped() throws IOException {
    String lines = "Bread.\nA kitten is asleep.\n";
    CliRun given = CliRun.piped("", "similar", "a cat", "--file", write(lines));
    assertEquals(2, given.lines().size());
    assertEquals(given, CliRun.piped(lines, "similar", "a cat"));
    assertEquals(given, CliRun.piped(lines, "similar", "a cat", "--file", "-"));
  }

  @Test
  void terminal_isNotWaitedFor() {
    for (List<String> args :
        List.of(List.of("embed"), List.of("similar", "query"), List.of("embed", "--json"))) {
      Untouched in = new Untouched();
      CliRun run = CliRun.run(in, Set.of(0), args.toArray(String[]::new));
      assertEquals(2, run.code());
      assertEquals("", run.out());
      assertEquals(1, run.err().lines().count(), run.err());
      assertTrue(run.err().contains("--file"), run.err());
      assertTrue(run.err().contains("for example gatun " + args.getFirst()), run.err());
      assertFalse(in.touched);
    }
  }

  @Test
  void mistakesNameIt() {
    CliRun run = CliRun.piped(new byte[] {'a', '\n', (byte) 0xc3, '('}, "embed");
    assertEquals(
        new CliRun(2, "", "gatun: standard input: line 2: byte 1 (0xc3) is not UTF-8\n"), run);
    InputStream broken =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw new IOException("Input/output error");
          }
        };
    assertEquals(
        new CliRun(2, "", "gatun: standard input: Input/output error\n"),
        CliRun.run(broken, Set.of(), "embed"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "similar --queries - --file -",
        "similar --queries -",
        "similar query --queries - --file x",
        "embed --file - text"
      })
  void notForTwo(String args) {
    CliRun run = CliRun.piped("a\n", args.split(" "));
    assertEquals(2, run.code(), run.out());
    assertEquals("", run.out());
    assertTrue(run.err().contains("got both"), run.err());
  }

  /** The shell's own streams. */
  @Test
  void process() throws Exception {
    CliRun nothing = CliRun.process(_ -> true, Map.of(), directory, "embed");
    assertEquals(new CliRun(0, "", ""), nothing); // /dev/null is no terminal, and has no texts
  }

  private String write(String text) throws IOException {
    return Files.writeString(directory.resolve("texts"), text).toString();
  }
}
