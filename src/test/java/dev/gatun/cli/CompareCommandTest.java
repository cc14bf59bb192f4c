package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.cli.compare.CompareSystem;
import dev.gatun.cli.compare.Systems;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Document;

class CompareCommandTest {
  @TempDir Path directory;

  private static CliRun run(String... arguments) {
    List<String> all = new ArrayList<>(List.of("compare", "--threads", "2"));
    all.addAll(List.of(arguments));
    CliRun run = CliRun.piped("", all.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    assertEquals("", run.err());
    return run;
  }

  private static Map<String, Object> json(String... arguments) throws IOException {
    return JSON.std.mapFrom(
        run(Stream.concat(Stream.of("--json"), Stream.of(arguments)).toArray(String[]::new)).out());
  }

  @SuppressWarnings("unchecked")
  private static List<Map<String, Object>> rows(Map<String, Object> json) {
    return (List<Map<String, Object>>) json.get("rows");
  }

  private static Map<String, Object> row(Map<String, Object> json, String system, int length) {
    return rows(json).stream()
        .filter(row -> row.get("system").equals(system) && row.get("length").equals(length))
        .findFirst()
        .orElseThrow();
  }

  private static double number(Map<String, Object> row, String name) {
    return ((Number) row.get(name)).doubleValue();
  }

  @Test
  void allSystemsAtAllLengths() throws IOException {
    Path out = directory.resolve("new/folder");
    run("--lengths", "48,640", "--head-dim", "16", "--no-memory", "--out", out.toString());
    Map<String, Object> json = JSON.std.mapFrom(Files.readString(out.resolve("compare.json")));
    assertEquals(2 * Systems.all().size(), rows(json).size());
    for (CompareSystem system : Systems.all()) {
      for (int length : List.of(48, 640)) {
        Map<String, Object> row = row(json, system.word(), length);
        assertNull(row.get("missing"), row.toString());
        assertTrue(number(row, "medianNanos") > 0, row.toString());
        assertTrue(number(row, "firstQuartileNanos") <= number(row, "medianNanos"));
        assertTrue(number(row, "medianNanos") <= number(row, "thirdQuartileNanos"));
        assertTrue(number(row, "flops") > 0, row.toString());
        assertTrue(number(row, "serialSteps") >= 1 && number(row, "pathLength") >= 1);
        switch (system.kin()) {
          case EXACT -> assertEquals(0, number(row, "relativeError"), 2e-6, row.toString());
          case APPROXIMATION -> assertTrue(number(row, "relativeError") >= 0, row.toString());
          case OTHER -> assertNull(row.get("relativeError"), row.toString());
        }
      }
    }
    assertEquals(0, number(row(json, "exact", 48), "relativeError"));
    // a window of 256 keys on each side hides none of 48, and most of 640
    assertEquals(0, number(row(json, "window", 48), "relativeError"));
    assertTrue(number(row(json, "window", 640), "relativeError") > 0.1);
    assertTrue(number(row(json, "naive", 640), "relativeError") > 0);
    checkFiles(out);
  }

  private static void checkFiles(Path out) throws IOException {
    try (Stream<Path> files = Files.list(out)) {
      assertEquals(
          Set.of(
              "compare.md",
              "compare.json",
              "compare.png",
              "compare.svg",
              "saturation.png",
              "saturation.svg"),
          Set.copyOf(files.map(file -> file.getFileName().toString()).toList()));
    }
    String page = Files.readString(out.resolve("compare.md"));
    for (CompareSystem system : Systems.all()) {
      assertTrue(page.contains("\n| " + system.word() + " | "), system.word());
    }
    assertTrue(page.contains("](compare.svg)") && page.contains("](saturation.svg)"));
    assertFalse(page.contains(out.toString()), "a path of this machine");
    for (String name : List.of("compare", "saturation")) {
      BufferedImage image = ImageIO.read(out.resolve(name + ".png").toFile());
      assertEquals(1200, image.getWidth());
      assertTrue(colors(image) > 3, name);
      Document svg = parse(out.resolve(name + ".svg"));
      assertEquals("svg", svg.getDocumentElement().getTagName());
      assertTrue(svg.getElementsByTagName("line").getLength() > 10, name);
    }
  }

  private static long colors(BufferedImage image) {
    return java.util.Arrays.stream(
            image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth()))
        .distinct()
        .count();
  }

  private static Document parse(Path file) throws IOException {
    DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
    try (InputStream in = new ByteArrayInputStream(Files.readAllBytes(file))) {
      // the DTD that it names lies on a server
      factory.setFeature("http://apache.org/xml/features/nonvalidating/load-external-dtd", false);
      return factory.newDocumentBuilder().parse(in);
    } catch (javax.xml.parsers.ParserConfigurationException | org.xml.sax.SAXException e) {
      throw new IOException(file.toString(), e);
    }
  }

  @Test
  void naiveAttentionHoldsAllScoresAndTheCallByTilesDoesNot() throws IOException {
    Map<String, Object> json = json("--lengths", "1536", "--systems", "exact,naive");
    double scores = 4.0 * 1536 * 1536;
    double naive = number(row(json, "naive", 1536), "residentBytes");
    assertTrue(naive > 0.99 * scores && naive < 1.5 * scores, "naive: " + naive);
    double exact = number(row(json, "exact", 1536), "residentBytes");
    assertTrue(exact < 0.25 * scores, "exact: " + exact);
    Map<?, ?> both = (Map<?, ?>) json.get("naiveAgainstFlash");
    assertEquals(1536, both.get("length"));
    assertEquals(naive, ((Number) both.get("naiveResidentBytes")).doubleValue());
    assertTrue(((Number) both.get("timeFactor")).doubleValue() > 0);
  }

  @Test
  void whatIsOverALimitIsARowThatSaysSo() throws IOException {
    Map<String, Object> json =
        json(
            "--lengths",
            "64,4096",
            "--systems",
            "exact,naive",
            "--most-memory",
            "17",
            "--no-memory");
    assertEquals("over 17 MiB: its shapes take 64 MiB", row(json, "naive", 4096).get("missing"));
    assertNull(row(json, "naive", 4096).get("medianNanos"));
    assertNull(row(json, "exact", 4096).get("missing"));
    json =
        json(
            "--lengths",
            "64,16384",
            "--systems",
            "exact",
            "--most-seconds",
            "0.002",
            "--no-memory");
    String why = (String) row(json, "exact", 16384).get("missing");
    assertTrue(why.matches("over 2 ms: about .*, by the length before"), why);
  }

  @Test
  void limitsInTheTables() {
    String table =
        run("--lengths", "16,2048", "--systems", "naive", "--most-memory", "15", "--no-memory")
            .out();
    assertTrue(table.contains("| over 15 MiB |"), table);
    assertTrue(table.contains("| naive | 2048 | over 15 MiB: its shapes take 16 MiB |"), table);
  }

  @Test
  void plotsNeedTheirLibraries() throws Exception {
    CliRun run =
        CliRun.process(
            jar -> false, Map.of(), directory, "compare", "--lengths", "16", "--out", "plots");
    assertEquals(2, run.code(), run.err());
    assertEquals(
        "gatun: --out plots: plots need org.jfree:jfreechart and"
            + " org.apache.xmlgraphics:batik-svggen on the class path",
        run.complaints());
    assertFalse(Files.exists(directory.resolve("plots")));
  }

  /** Without scale one key has it all, the more so the longer the heads are. */
  @Test
  @SuppressWarnings("unchecked")
  void saturation() throws IOException {
    Map<String, Object> json = json("--lengths", "16", "--systems", "exact", "--no-memory");
    List<Map<String, Object>> rows = (List<Map<String, Object>>) json.get("saturation");
    assertEquals(
        List.of(16, 32, 64, 128, 256, 512), rows.stream().map(row -> row.get("headDim")).toList());
    double before = 10;
    for (Map<String, Object> row : rows) {
      // scores are N(0, 1): entropy ln n - 1/2, up to what 256 keys are short of infinitely many
      assertEquals(Math.log(256) - 0.5, number(row, "entropy"), 0.05);
      assertEquals(0, number(row, "saturated"));
      assertTrue(number(row, "unscaledEntropy") < before);
      before = number(row, "unscaledEntropy");
    }
    Map<String, Object> last = rows.getLast();
    assertTrue(number(last, "unscaledEntropy") < 0.3, last.toString());
    assertTrue(number(last, "unscaledGradient") < number(last, "gradient") / 3, last.toString());
    assertTrue(number(last, "unscaledSaturated") > 0.4, last.toString());
  }

  @Test
  void markdownToStandardOutputAndProgressToATerminalAlone() {
    String[] arguments = {
      "compare", "--threads", "1", "--lengths", "700", "--systems", "exact,window", "--no-memory"
    };
    CliRun piped = CliRun.piped("", arguments);
    assertEquals("", piped.err());
    assertTrue(piped.out().startsWith("# Attention and its relatives"), piped.out());
    assertFalse(piped.out().contains("!["), piped.out());
    assertNotNull(piped.out());
    CliRun terminal = CliRun.run(InputStream.nullInputStream(), Set.of(2), arguments);
    assertEquals(0, terminal.code());
    assertTrue(terminal.out().startsWith("# Attention and its relatives"), terminal.out());
    assertFalse(terminal.out().contains("\033"), terminal.out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "--lengths; 128,64; --lengths",
        "--lengths; 0; --lengths",
        "--lengths; 128,,256; --lengths",
        "--lengths; 128,x; ascending lengths",
        "--lengths; 99999999; 1 .. 16777216",
        "--systems; exact,nosuch; some of exact, naive",
        "--systems; exact,exact; each once",
        "--systems; ''; --systems",
        "--head-dim; 513; expected 1 .. 512, got '513'",
        "--heads; 0; expected 1 .. 999999, got '0'",
        "--features; -1; --features",
        "--features; 4097; expected 1 .. 4096, got '4097'",
        "--window; 0; --window",
        "--most-memory; 0; --most-memory",
        "--most-seconds; -1; --most-seconds",
        "--threads; 0; expected 1 .. 1024, got '0'",
        "--nosuch; 1; --nosuch"
      })
  void refused(String option, String value, String text) {
    CliRun run = CliRun.piped("", "compare", option, value);
    assertEquals(2, run.code(), run.err());
    assertEquals("", run.out());
    assertEquals(1, run.err().lines().count(), run.err());
    assertTrue(run.err().contains(text), run.err());
  }

  @Test
  void aFolderThatCannotBeMadeIsRefused() throws IOException {
    Path file = Files.writeString(directory.resolve("file"), "");
    CliRun run =
        CliRun.piped("", "compare", "--lengths", "16", "--out", file.resolve("x").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("--out " + file), run.err());
  }
}
