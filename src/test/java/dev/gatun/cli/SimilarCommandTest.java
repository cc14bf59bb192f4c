package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SimilarCommandTest {
  private static final List<String> TEXTS =
      List.of("A kitten is asleep.", "Interest rates rose.", "\"Bread\"\tand\\butter", "");

  @TempDir Path directory;
  private String file;

  @BeforeEach
  void writeTexts() throws IOException {
    file =
        Files.writeString(directory.resolve("texts"), String.join("\n", TEXTS) + "\n").toString();
  }

  private static CliRun similar(String... args) {
    List<String> all = new ArrayList<>(List.of("similar"));
    all.addAll(List.of(args));
    CliRun run = CliRun.piped("", all.toArray(String[]::new));
    assertEquals(new CliRun(0, run.out(), ""), run);
    return run;
  }

  @Test
  void severalQueries_areNumbered() throws IOException {
    CliRun cat = similar("a cat", "--file", file, "-k", "2");
    CliRun money = similar("money", "--file", file, "-k", "2");
    assertTrue(cat.out().contains("\t1\tA kitten"), cat.out());
    assertTrue(money.out().contains("\t2\tInterest"), money.out());
    String both = numbered(1, cat) + numbered(2, money);
    assertEquals(both, similar("a cat", "money", "--file", file, "-k", "2").out());
    Path queries = Files.writeString(directory.resolve("queries"), "a cat\nmoney\n");
    assertEquals(both, similar("--queries", queries.toString(), "--file", file, "-k", "2").out());
    assertEquals(
        both,
        CliRun.piped("a cat\nmoney", "similar", "--queries", "-", "--file", file, "-k2").out());
    Files.writeString(queries, "a cat"); // what is in it does not decide the form
    assertEquals(
        numbered(1, cat),
        similar("--queries", queries.toString(), "--file", file, "-k", "2").out());
    Files.writeString(queries, "");
    assertEquals("", similar("--queries", queries.toString(), "--file", file).out());
  }

  private static String numbered(int query, CliRun run) {
    return run.out().replaceAll("(?m)^(?=.)", query + "\t");
  }

  /** The lines are read and embedded once, whatever the number of queries. */
  @Test
  void severalQueries_readLinesOnce() {
    List<String> args = new ArrayList<>(List.of("similar", "--verbose", "-k", "1"));
    for (int n = 0; n < 300; n++) { // more than a batch
      args.add("query " + n);
    }
    CliRun run = CliRun.piped("query 299\nquery 7\n", args.toArray(String[]::new));
    assertEquals(300, run.lines().size());
    assertEquals("8\t1.0000\t2\tquery 7", run.lines().get(7));
    assertEquals("300\t1.0000\t1\tquery 299", run.lines().get(299));
    assertTrue(run.err().startsWith("gatun: 302 texts, "), run.err());
  }

  @Test
  @SuppressWarnings("unchecked")
  void json_isAnObjectAQuery() throws IOException {
    String longQuery = "word ".repeat(300);
    CliRun run =
        CliRun.piped("", "similar", "--json", "a \"cat\"", longQuery, "--file", file, "-k", "3");
    assertEquals(0, run.code(), run.err());
    assertEquals(2, run.lines().size());
    for (int n = 0; n < 2; n++) {
      Map<String, Object> object = JSON.std.mapFrom(run.lines().get(n));
      assertEquals(List.of("query", "truncated", "results"), List.copyOf(object.keySet()));
      assertEquals(n == 0 ? "a \"cat\"" : longQuery, object.get("query"));
      assertEquals(n == 1, object.get("truncated"));
      List<Map<String, Object>> results = (List<Map<String, Object>>) object.get("results");
      assertEquals(3, results.size());
      double last = 1;
      for (Map<String, Object> result : results) {
        assertEquals(List.of("cosine", "line", "text"), List.copyOf(result.keySet()));
        assertEquals(TEXTS.get((int) result.get("line") - 1), result.get("text"));
        assertTrue((double) result.get("cosine") <= last);
        last = (double) result.get("cosine");
      }
    }
    assertFalse(run.out().contains("\t"));
    CliRun none = CliRun.piped("", "similar", "--json", "a");
    assertEquals(new CliRun(0, "{\"query\":\"a\",\"truncated\":false,\"results\":[]}\n", ""), none);
  }
}
