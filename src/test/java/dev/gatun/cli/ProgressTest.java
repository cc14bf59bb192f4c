package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is said on standard error: on a terminal, elsewhere, with --quiet and with --verbose. */
class ProgressTest {
  private static final String LONG = "word ".repeat(300);
  private static final String CLEAR = "\033[K";
  private static final String RATES =
      "gatun: \\d+ texts?, \\d+ tokens? in \\d+\\.\\d\\d s: \\d+\\.\\d texts/s, \\d+\\.\\d"
          + " tokens/s";

  @TempDir Path directory;

  private String file() throws IOException {
    return Files.writeString(directory.resolve("t"), "a\n" + LONG + "\nb\n" + LONG).toString();
  }

  private static CliRun run(Set<Integer> terminals, String... args) {
    return CliRun.run(InputStream.nullInputStream(), terminals, args);
  }

  /** The lines that are left on a terminal; what is drawn over is gone. */
  private static List<String> left(String err) {
    List<String> lines = new ArrayList<>();
    for (String line : err.split("\n")) {
      int cleared = line.lastIndexOf(CLEAR);
      lines.add(cleared < 0 ? line : line.substring(cleared + CLEAR.length()));
    }
    // Drawn behind the last line and cleared: nothing is left of it.
    if (lines.getLast().isEmpty()) {
      lines.removeLast();
    }
    return lines;
  }

  @Test
  void elsewhere_onlyWhatWasCut() throws IOException {
    assertEquals("", run(Set.of(0, 1), "embed", "a").err());
    assertEquals(
        "gatun: 2 texts cut to 128 tokens; --verbose lists them\n",
        run(Set.of(), "embed", "--file", file()).err());
    assertEquals(
        "gatun: 3 texts cut to 7 tokens; --verbose lists them\n",
        run(Set.of(), "similar", LONG, "--max-tokens", "7", "--file", file()).err());
    assertEquals("", run(Set.of(), "embed", "--json", "--file", file()).err()); // objects say it
  }

  @Test
  void terminal_endsWithRates() throws IOException {
    List<String> lines = left(run(Set.of(2), "embed", "--file", file()).err());
    assertEquals("gatun: 2 texts cut to 128 tokens; --verbose lists them", lines.get(0));
    assertTrue(lines.get(1).matches(RATES), lines.get(1));
    assertTrue(lines.get(1).startsWith("gatun: 4 texts, 262 tokens in "), lines.get(1));
    assertEquals(2, lines.size());
    lines = left(run(Set.of(2), "similar", "x", "--json", "--file", file()).err());
    assertTrue(lines.get(1).matches(RATES), lines.get(1));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  void quiet_saysNothing(int terminal) throws IOException {
    CliRun run = run(Set.of(terminal), "embed", "--quiet", "--file", file());
    assertEquals(4, run.lines().size());
    assertEquals("", run.err());
    run = run(Set.of(terminal), "similar", LONG, "--quiet", "--file", file());
    assertEquals(4, run.lines().size());
    assertEquals("", run.err());
    run = run(Set.of(terminal), "embed", "--quiet", "--file", "/none");
    assertEquals(new CliRun(2, "", "gatun: --file /none: no such file\n"), run);
  }

  @Test
  void verbose_listsCuts() throws IOException {
    List<String> lines =
        run(Set.of(), "similar", LONG, "--verbose", "--file", file()).err().lines().toList();
    assertEquals(
        List.of(
            "gatun: query 1 was cut from 302 to 128 tokens",
            "gatun: text 2 was cut from 302 to 128 tokens",
            "gatun: text 4 was cut from 302 to 128 tokens",
            "gatun: 3 texts cut to 128 tokens"),
        lines.subList(0, 4));
    assertTrue(lines.get(4).matches(RATES), lines.get(4));
    assertEquals(5, lines.size());
  }

  @Test
  void notBoth() {
    CliRun run = run(Set.of(), "embed", "--quiet", "--verbose", "a");
    assertEquals(2, run.code());
    assertEquals("", run.out());
    assertTrue(run.err().contains("--quiet"), run.err());
    assertEquals(1, run.err().lines().count());
  }

  /** One line that is drawn anew, cleared before lines that stay and before output. */
  @Test
  @Timeout(60)
  void terminal_redrawsOneLine() throws InterruptedException {
    StringWriter screen = new StringWriter(); // both streams, as a terminal shows them
    PrintWriter writer = new PrintWriter(screen);
    Streams streams = new Streams(InputStream.nullInputStream(), writer, writer, _ -> true);
    try (Progress progress = new Progress(streams, true, "reading a\nb")) {
      while (screen.toString().isEmpty()) {
        Thread.sleep(10);
      }
      progress.set("n".repeat(1000));
      while (!screen.toString().contains("nnn")) {
        Thread.sleep(10);
      }
      progress.beside(() -> writer.println("output"));
      progress.note("stays");
    }
    String text = screen.toString();
    assertTrue(text.startsWith("\r\033[Kgatun: reading a\\nb\r"), text);
    assertTrue(text.contains("\r\033[Koutput\n"), text);
    assertTrue(text.contains("gatun: stays\n"), text);
    assertTrue(text.endsWith("gatun: stays\n") || text.endsWith("\r\033[K"), text);
    for (String line : text.split("[\r\n]")) {
      assertTrue(line.length() < 80, line);
    }
  }

  @Test
  void notShown_drawsNothing() throws InterruptedException {
    StringWriter err = new StringWriter();
    PrintWriter writer = new PrintWriter(err);
    for (boolean terminal : new boolean[] {false, true}) {
      Streams streams = new Streams(InputStream.nullInputStream(), writer, writer, _ -> terminal);
      try (Progress _ = new Progress(streams, !terminal, "x")) {
        Thread.sleep(600); // twice as long as a terminal would wait for it
      }
    }
    assertFalse(err.toString().contains("gatun"), err.toString());
  }
}
