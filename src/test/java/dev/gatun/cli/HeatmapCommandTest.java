package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import dev.gatun.support.Problem;
import dev.gatun.support.Reference;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.InflaterInputStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HeatmapCommandTest {
  @TempDir Path directory;

  private final List<String> options = new ArrayList<>();

  private Path file(String name) {
    return directory.resolve(name);
  }

  private CliRun run(String... arguments) {
    List<String> all = new ArrayList<>(List.of("heatmap"));
    all.addAll(List.of(arguments));
    all.addAll(options);
    return CliRun.piped("", all.toArray(String[]::new));
  }

  private Path draw(String name, String... arguments) {
    Path out = file(name);
    List<String> all = new ArrayList<>(List.of(arguments));
    all.addAll(List.of("--out", out.toString()));
    CliRun run = run(all.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    assertEquals("", run.err());
    assertTrue(run.out().startsWith(out + ": "), run.out());
    return out;
  }

  private void refused(String text, String... arguments) {
    CliRun run = run(arguments);
    assertEquals(2, run.code(), run.err());
    assertEquals("", run.out());
    assertTrue(run.err().contains(text), run.err());
    assertEquals(1, run.lines().size() + run.err().lines().count());
  }

  // ---- reading a page again ------------------------------------------------------------------

  private static String element(String page, String id) {
    Matcher element =
        Pattern.compile("<script type=\"[a-z/]+\" id=\"" + id + "\">([^<]*)</script>")
            .matcher(page);
    assertTrue(element.find(), "no element " + id);
    String content = element.group(1);
    assertFalse(element.find());
    return content;
  }

  private static Map<String, Object> data(Path page) throws IOException {
    return JSON.std.mapFrom(element(Files.readString(page), "data"));
  }

  /** All weights: codes whose share of 65534 is the square root. */
  private static double[] weights(Path page) throws IOException {
    byte[] deflated = Base64.getDecoder().decode(element(Files.readString(page), "weights"));
    byte[] bytes = new InflaterInputStream(new ByteArrayInputStream(deflated)).readAllBytes();
    double[] weights = new double[bytes.length / 2];
    for (int n = 0; n < weights.length; n++) {
      int code = (bytes[n] & 255) << 8 | bytes[weights.length + n] & 255;
      weights[n] = code == 65535 ? Double.NaN : Math.pow(code / 65534.0, 2);
    }
    return weights;
  }

  private static double encodingBound(double weight) {
    return Math.sqrt(weight) / 65534 + 6e-11;
  }

  // ---- queries and keys ----------------------------------------------------------------------

  /** Whose outputs are its weights, as the values are an identity matrix. */
  private static Problem problem() {
    Problem problem = new Problem(2, 4, 2, 9, 11, 8, 11).draw(17);
    Arrays.fill(problem.v, 0);
    for (int b = 0; b < problem.batch; b++) {
      for (int g = 0; g < problem.kvHeads; g++) {
        for (int j = 0; j < problem.seqK; j++) {
          problem.v[problem.vAt(b, j, g, j)] = 1;
        }
      }
    }
    return problem;
  }

  private void write(String option, Tensor tensor) throws IOException {
    Path npy = file(option.substring(2) + ".npy");
    Npy.write(npy, tensor);
    options.addAll(List.of(option, npy.toString()));
  }

  private void writeInputs(Problem p, Arena arena) throws IOException {
    write("--q", Tensor.copyOf(arena, p.q, p.batch, p.seqQ, p.heads, p.headDim));
    write("--k", Tensor.copyOf(arena, p.k, p.batch, p.seqK, p.kvHeads, p.headDim));
  }

  /** Everything that decides about scores, some of it or all of it at once. */
  private void writeOptions(Problem p, String which, Arena arena) throws IOException {
    Random random = new Random(which.hashCode());
    if (which.contains("causal")) {
      p.causal(Causal.BOTTOM_RIGHT);
      options.addAll(List.of("--causal", "bottom-right"));
    }
    if (which.contains("window")) {
      p.windowLeft = 4;
      p.windowRight = 2;
      options.addAll(List.of("--window", "4,2"));
    }
    if (which.contains("global")) {
      p.globalTokens = 2;
      options.addAll(List.of("--global", "2"));
    }
    if (which.contains("softcap")) {
      p.softcap = 0.75f;
      options.addAll(List.of("--softcap", "0.75"));
    }
    if (which.contains("scale")) {
      p.scale(0.5f);
      options.addAll(List.of("--scale", "0.5"));
    }
    if (which.contains("alibi")) {
      p.slopes(random);
      write("--alibi", Tensor.copyOf(arena, p.slopes, p.heads));
    }
    if (which.contains("relative")) {
      p.relative(random, 3);
      write("--relative", Tensor.copyOf(arena, p.relative, p.heads, 7));
    }
    if (which.contains("blocks")) {
      p.blockMask = Problem.Grid.of(2, 4, 3, 3);
      for (int n = 0; n < p.blockMask.values().length; n++) {
        p.blockMask.values()[n] = random.nextInt(3) == 0 ? 0 : 1;
      }
      p.blockQ = 3;
      p.blockK = 4;
      write("--block-mask", p.blockMask.tensor(arena, DType.UINT8));
      options.addAll(List.of("--block", "3,4"));
    }
    if (which.contains("positions")) {
      p.positions = new int[] {2, 3, 3, 4, 5, 5, 6, 7, 8, 0, 1, 2, 3, 4, 9, 9, 9, 10};
      write("--positions", Tensor.copyOf(arena, p.positions, 2, 9));
    }
    if (which.contains("sinks")) {
      p.sinks = new float[] {0.5f, -1, 2, 0};
      write("--sinks", Tensor.copyOf(arena, p.sinks, p.heads));
    }
    if (which.contains("mask")) {
      p.mask = Problem.Grid.of(2, 1, 9, 11);
      for (int n = 0; n < p.mask.values().length; n++) {
        p.mask.values()[n] = random.nextInt(3) == 0 ? 0 : 1;
      }
      write("--mask", p.mask.tensor(arena, DType.UINT8));
    }
    if (which.contains("bias")) {
      p.bias = Problem.Grid.of(1, 4, 9, 11);
      for (int n = 0; n < p.bias.values().length; n++) {
        p.bias.values()[n] = random.nextFloat() - 0.5f;
      }
      write("--bias", p.bias.tensor(arena, DType.FLOAT32));
    }
    if (which.contains("segments")) {
      p.segmentsQ = new int[] {0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2};
      p.segmentsK = new int[] {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3};
      write("--segments", Tensor.copyOf(arena, p.segmentsQ, 2, 9));
      Path keys = file("keys.npy");
      Npy.write(keys, Tensor.copyOf(arena, p.segmentsK, 2, 11));
      options.set(options.size() - 1, options.getLast() + "," + keys);
    }
    if (which.contains("prefix")) {
      p.prefixLengths = new int[] {3, 0};
      write("--prefix", Tensor.copyOf(arena, p.prefixLengths, 2));
    }
    if (which.contains("lengths")) {
      p.keyLengths(11, 7).queryLengths(9, 5);
      write("--lengths", Tensor.copyOf(arena, new int[] {11, 7}, 2));
      write("--query-lengths", Tensor.copyOf(arena, new int[] {9, 5}, 2));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "causal",
        "window softcap",
        "mask bias scale",
        "alibi sinks",
        "segments lengths",
        "causal prefix",
        "window global relative",
        "blocks causal positions",
        "causal window global relative blocks positions softcap scale alibi sinks mask bias"
            + " segments prefix lengths"
      })
  void anySpecificationIsDrawnAsItIs(String which) throws IOException {
    Problem p = problem();
    try (Arena arena = Arena.ofConfined()) {
      writeInputs(p, arena);
      writeOptions(p, which, arena);
    }
    Reference reference = new Reference(p);
    double[] all = weights(draw("all.html"));
    assertEquals(2 * 4 * 9 * 11, all.length);
    double[] one = weights(draw("one.html", "--batch", "1", "--head", "2"));
    assertEquals(9 * 11, one.length);
    int at = 0;
    for (int b = 0; b < 2; b++) {
      for (int h = 0; h < 4; h++) {
        for (int i = 0; i < 9; i++) {
          for (int j = 0; j < 11; j++) {
            double want = reference.out[p.outAt(b, i, h, j)];
            double bound = reference.outBound(b, h, i) + encodingBound(want);
            assertEquals(want, all[at++], bound, "at " + List.of(b, h, i, j));
            if (b == 1 && h == 2) {
              assertEquals(want, one[i * 11 + j], bound, "at " + List.of(i, j));
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"mean", "max"})
  void severalQueriesAndKeysBecomeOneCell(String reduce) throws IOException {
    Problem p = problem();
    try (Arena arena = Arena.ofConfined()) {
      writeInputs(p, arena);
    }
    Reference reference = new Reference(p);
    Path page = draw("small.html", "--size", "4", "--reduce", reduce, "--batch", "0");
    double[] weights = weights(page);
    int at = 0;
    for (int h = 0; h < 4; h++) {
      for (int r = 0; r < 4; r++) {
        for (int c = 0; c < 4; c++) {
          double sum = 0;
          double most = 0;
          int count = 0;
          for (int i = r * 9 / 4; i < (r + 1) * 9 / 4; i++) {
            for (int j = c * 11 / 4; j < (c + 1) * 11 / 4; j++) {
              double weight = reference.out[p.outAt(0, i, h, j)];
              sum += weight;
              most = Math.max(most, weight);
              count++;
            }
          }
          double want = reduce.equals("max") ? most : sum / count;
          assertEquals(want, weights[at++], encodingBound(want) + 5e-6);
        }
      }
    }
    Map<String, Object> data = data(page);
    assertEquals(4, data.get("mapRows"));
    assertEquals(4, data.get("mapColumns"));
    assertEquals(9, data.get("seqQ"));
    assertEquals(11, data.get("seqK"));
    assertTrue(
        data.get("facts").toString().contains("9 × 11 drawn as 4 × 4 by the " + reduce),
        data.get("facts").toString());
  }

  /** Of 16,384 queries and keys, whose weights would take a gigabyte; a row of cells in double. */
  @Test
  void aLongSequenceIsDrawnSmall() throws IOException {
    int seq = 16384;
    int cells = 64;
    Problem p = new Problem(1, 1, 1, seq, seq, 8, 1).draw(5).causal(Causal.TOP_LEFT);
    try (Arena arena = Arena.ofConfined()) {
      writeInputs(p, arena);
    }
    options.addAll(List.of("--causal", "top-left", "--size", "" + cells));
    double[] weights = weights(draw("long.html"));
    int bin = seq / cells;
    int row = 40;
    double[] want = new double[cells];
    double[] score = new double[seq];
    for (int i = row * bin; i < (row + 1) * bin; i++) {
      double sum = 0;
      for (int j = 0; j <= i; j++) {
        double dot = 0;
        for (int d = 0; d < 8; d++) {
          dot += (double) p.q[p.qAt(0, i, 0, d)] * p.k[p.kAt(0, j, 0, d)];
        }
        score[j] = Math.exp(dot / Math.sqrt(8));
        sum += score[j];
      }
      for (int j = 0; j <= i; j++) {
        want[j / bin] += score[j] / sum / bin / bin;
      }
    }
    for (int c = 0; c < cells; c++) {
      double got = weights[row * cells + c];
      assertEquals(want[c], got, encodingBound(want[c]) + 1e-4 * want[c], "cell " + c);
      assertEquals(c > row, got == 0, "cell " + c);
    }
  }

  @Test
  void aRowThatIsNoNumberIsDrawnAsOne() throws IOException {
    Problem p = problem();
    p.q[p.qAt(1, 3, 2, 0)] = Float.NaN;
    try (Arena arena = Arena.ofConfined()) {
      writeInputs(p, arena);
    }
    double[] weights = weights(draw("nan.html"));
    for (int n = 0; n < weights.length; n++) {
      boolean poisoned = n / 11 == (1 * 4 + 2) * 9 + 3;
      assertEquals(poisoned, Double.isNaN(weights[n]), "" + n);
    }
    BufferedImage image = ImageIO.read(draw("nan.png", "--batch", "1", "--head", "2").toFile());
    assertEquals(0xffff5fb0, image.getRGB(5, image.getHeight() * 7 / 18));
  }

  // ---- texts ---------------------------------------------------------------------------------

  @Test
  void aTextIsDrawnWithItsTokens() throws IOException {
    String text = "The cat sat. </script><!-- \ud83d\ude00 & \ud800 @weights@ \u2028";
    Path page = draw("text.html", "--text", text);
    String html = Files.readString(page);
    assertEquals(4, html.split("</script>", -1).length, "ends of elements, and one part more");
    Map<String, Object> data = data(page);
    assertEquals(text, data.get("text"));
    assertEquals("minilm", data.get("title"));
    assertEquals("layer", data.get("rowName"));
    List<?> tokens = (List<?>) data.get("queryTokens");
    assertEquals(List.of("[CLS]", "the", "cat", "sat", "."), tokens.subList(0, 5));
    assertEquals("[SEP]", tokens.getLast());
    assertEquals(tokens, data.get("keyTokens"));
    double[] weights = weights(page);
    int count = tokens.size();
    assertEquals(6 * 12 * count * count, weights.length);
    for (int row = 0; row < 6 * 12 * count; row++) {
      double sum = Arrays.stream(weights, row * count, (row + 1) * count).sum();
      assertEquals(1, sum, 1e-4, "row " + row);
    }
    double[] head = weights(draw("head.html", "--text", text, "--layer", "4", "--head", "7"));
    int from = (4 * 12 + 7) * count * count;
    assertEquals(
        Arrays.toString(Arrays.copyOfRange(weights, from, from + head.length)),
        Arrays.toString(head));
  }

  @Test
  void aCutTextSaysSo() throws IOException {
    Path out = file("cut.html");
    CliRun run =
        run("--text", "one two three four five", "--max-tokens", "5", "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals("the text was cut from 7 to 5 tokens", run.err().strip().replace("gatun: ", ""));
    assertTrue(data(out).get("facts").toString().contains("5 tokens, cut from 7"));
    assertEquals(List.of("[CLS]", "one", "two", "three", "[SEP]"), data(out).get("queryTokens"));
    CliRun quiet =
        run("--text", "one two three", "--max-tokens", "4", "--quiet", "--out", out.toString());
    assertEquals("", quiet.err());
  }

  @Test
  void aPageOf128TokensIsSmall() throws IOException {
    String text = Files.readString(Path.of("README.md")).substring(0, 2000);
    Path out = file("long.html");
    CliRun run = run("--text", text, "--quiet", "--weights", "int8", "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(128, data(out).get("seqQ"));
    assertTrue(Files.size(out) <= 3_000_000, "bytes: " + Files.size(out));
    assertFalse(Files.readString(out).matches("(?s).*\\b(src|href)=\"(?!data:,).*"));
  }

  // ---- images --------------------------------------------------------------------------------

  @Test
  void anImageHasTheColorsOfTheWeights() throws IOException {
    Problem p = problem().causal(Causal.TOP_LEFT);
    try (Arena arena = Arena.ofConfined()) {
      writeInputs(p, arena);
    }
    options.addAll(List.of("--causal", "top-left"));
    double[] weights = weights(draw("map.html", "--batch", "1"));
    double[] map = Arrays.copyOfRange(weights, 3 * 9 * 11, 4 * 9 * 11);
    double largest = Arrays.stream(map).max().orElseThrow();
    BufferedImage image = ImageIO.read(draw("map.png", "--batch", "1", "--head", "3").toFile());
    int side = image.getWidth() / 11;
    assertEquals(List.of(11 * side, 9 * side), List.of(image.getWidth(), image.getHeight()));
    for (int i = 0; i < 9; i++) {
      for (int j = 0; j < 11; j++) {
        int color = image.getRGB(j * side + side / 2, i * side + side - 1) & 0xffffff;
        int step = (int) Math.round(255 * Math.sqrt(map[i * 11 + j] / largest));
        // Codes of the page may fall on the other side of where one color ends.
        assertTrue(
            Stream.of(step - 1, step, step + 1)
                .anyMatch(s -> s >= 0 && s < 256 && ColorScale.DARK.rgb(s) == color),
            "at %d, %d: %06x".formatted(i, j, color));
        assertEquals(j > i, color == ColorScale.DARK.rgb(0), "at %d, %d".formatted(i, j));
      }
    }
    BufferedImage grid = ImageIO.read(draw("grid.png").toFile());
    assertEquals(4 * 121 + 3 * 6, grid.getWidth());
    assertEquals(2 * 99 + 6, grid.getHeight());
    assertEquals(0, grid.getRGB(122, 50) & 0xffffff);
  }

  /** In Oklab, whose lightness is the cube root of a luminance, steps are even but for rounding. */
  @ParameterizedTest
  @ValueSource(strings = {"LIGHT", "DARK"})
  void colorsAreEvenlyLight(String name) {
    ColorScale scale = ColorScale.valueOf(name);
    double step = (lightness(scale.rgb(255)) - lightness(scale.rgb(0))) / 255;
    assertTrue(Math.abs(step) > 0.6 / 255, "from dark to light");
    for (int n = 0; n < 256; n++) {
      assertEquals(lightness(scale.rgb(0)) + n * step, lightness(scale.rgb(n)), 0.004, "step " + n);
    }
    assertEquals(6 * 256, scale.hex().length());
  }

  private static double lightness(int rgb) {
    double[] c = new double[3];
    for (int n = 0; n < 3; n++) {
      double value = (rgb >> (16 - 8 * n) & 255) / 255.0;
      c[n] = value <= 0.04045 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4);
    }
    return 0.2104542553 * Math.cbrt(0.4122214708 * c[0] + 0.5363325363 * c[1] + 0.0514459929 * c[2])
        + 0.7936177850 * Math.cbrt(0.2119034982 * c[0] + 0.6806995451 * c[1] + 0.1073969566 * c[2])
        - 0.0040720468 * Math.cbrt(0.0883024619 * c[0] + 0.2817188376 * c[1] + 0.6299787005 * c[2]);
  }

  @Test
  void anImageWithoutJavaDesktopIsRefused() throws Exception {
    Path out = file("map.png");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--limit-modules",
            "java.base,jdk.jfr,java.sql,jdk.management",
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            String.join(File.pathSeparator, jars()),
            Main.class.getName(),
            "heatmap",
            "--text",
            "x",
            "--out",
            out.toString()));
    CliRun run = CliRun.run(command, Map.of(), directory);
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("needs the module java.desktop"), run.err());
    assertFalse(Files.exists(out));
  }

  private static List<String> jars() {
    List<String> jars = new ArrayList<>();
    for (Class<?> type :
        List.of(
            Main.class,
            picocli.CommandLine.class,
            JSON.class,
            com.fasterxml.jackson.core.JsonFactory.class)) {
      jars.add(type.getProtectionDomain().getCodeSource().getLocation().getPath());
    }
    return jars;
  }

  // ---- mistakes ------------------------------------------------------------------------------

  @Test
  void mistakes() throws IOException {
    String html = file("x.html").toString();
    refused("--out", "--text", "x");
    refused("expected a name that ends in .html or .png", "--text", "x", "--out", "x.svg");
    refused("expected a name that ends in .html or .png", "--text", "x", "--out", "x");
    refused("expected --text, or --q and --k, got neither", "--out", html);
    refused("got both", "--text", "x", "--q", "q.npy", "--out", html);
    refused("expected --q and --k, got only --k", "--k", "k.npy", "--out", html);
    refused("--causal: is for --q and --k", "--text", "x", "--causal", "top-left", "--out", html);
    refused("--layout: is for --q and --k", "--text", "x", "--layout", "bhsd", "--out", html);
    refused("--batch: is for --q and --k", "--text", "x", "--batch", "0", "--out", html);
    refused("--layer: expected 0 .. 5, got 6", "--text", "x", "--layer", "6", "--out", html);
    refused("--head: expected 0 .. 11, got 12", "--text", "x", "--head", "12", "--out", html);
    refused(
        "expected one of max, mean, got 'sum'", "--text", "x", "--reduce", "sum", "--out", html);
    refused("--size", "--text", "x", "--size", "0", "--out", html);
    refused("--max-tokens", "--text", "x", "--max-tokens", "1", "--out", html);
    refused("its directory does not exist", "--text", "x", "--out", file("no/x.html").toString());
    try (Arena arena = Arena.ofConfined()) {
      writeInputs(problem(), arena);
    }
    refused("--model: is for --text", "--model", "minilm", "--out", html);
    refused("--layer: is for --text", "--layer", "0", "--out", html);
    refused("--head: expected 0 .. 3, got 4", "--head", "4", "--out", html);
    refused("--batch: expected 0 .. 1, got 2", "--batch", "2", "--out", html);
    refused("--prefix needs --causal", "--prefix", "p.npy", "--out", html);
    refused("--lengths none.npy: no such file", "--lengths", "none.npy", "--out", html);
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(
          List.of("k.npy", "q.npy"), files.map(f -> f.getFileName().toString()).sorted().toList());
    }
  }

  @Test
  void whatWasThereStaysWhereDrawingFails() throws IOException {
    Path page = Files.writeString(file("page.html"), "before");
    refused("--model", "--text", "x", "--model", file("none").toString(), "--out", page.toString());
    Path broken = Files.createDirectory(file("broken"));
    Files.writeString(broken.resolve("model.onnx"), "no model");
    Files.writeString(broken.resolve("tokenizer.json"), "{}");
    refused("--model", "--text", "x", "--model", broken.toString(), "--out", page.toString());
    refused("--head", "--text", "x", "--head", "99", "--out", page.toString());
    assertEquals("before", Files.readString(page));
    draw("page.html", "--text", "x");
    assertTrue(Files.readString(page).startsWith("<!doctype html>"));
    Problem empty = new Problem(1, 1, 1, 1, 1, 4, 1).draw(1);
    try (Arena arena = Arena.ofConfined()) {
      write("--q", Tensor.copyOf(arena, empty.q, 1, 1, 1, 4));
      write("--k", Tensor.allocate(arena, DType.FLOAT32, 1, 0, 1, 4));
    }
    refused("something to draw", "--out", page.toString());
    Path linked = Files.createSymbolicLink(file("same.html"), file("q.npy"));
    refused("is the same file as --q", "--out", linked.toString());
  }
}
