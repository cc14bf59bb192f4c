package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.openqa.selenium.Keys;
import org.openqa.selenium.WebElement;

/**
 * The pages of {@code gatun heatmap} as somebody sees them, in a real browser. Weights that the
 * page shows are compared with softmax in double, of queries and keys that a listener of the
 * encoder got.
 */
@Tag("browser")
class HeatmapBrowserTest {
  private static final int LAYERS = 6;
  private static final int HEADS = 12;

  /** More than 128 tokens, which minilm cuts to. */
  private static final String TEXT =
      """
      The animal didn't cross the street because it was too tired. The keeper of the small zoo near \
      the harbor had left the gate open, and nobody noticed until the morning, when the first \
      visitors came and found the old tortoise sitting in the middle of the road, looking at the \
      traffic lights as if it were waiting for them to turn green. "It does this every spring," said \
      the keeper, who had been called out of bed, "and every spring I tell the city that they should \
      build a tunnel under the street." The mayor, asked about it, promised to think it over, which \
      is what mayors do.\
      """;

  private static final Pattern PLACES = Pattern.compile("query (\\d+) “(.*)” → key (\\d+) “(.*)”");

  @TempDir static Path directory;

  private static Browser browser;
  private static Path page;
  private static List<String> tokens;

  /** {@code [layer][head][query][key]}. */
  private static double[][][][] reference;

  @BeforeAll
  static void open() throws IOException {
    page = draw("page.html", "--text", TEXT);
    try (GatunRuntime runtime = GatunRuntime.create();
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM)) {
      Tokenized text = model.tokenize(TEXT);
      assertEquals(128, text.count());
      tokens = model.tokens(text);
      reference = new double[LAYERS][][][];
      model.attention(text, (layer, spec, q, k) -> reference[layer] = weights(q, k));
    }
    browser = new Browser();
  }

  @AfterAll
  static void close() {
    if (browser != null) {
      browser.close();
    }
  }

  @AfterEach
  void nobodyComplains() {
    assertEquals(List.of(), browser.complaints());
  }

  private static Path draw(String name, String... arguments) {
    Path out = directory.resolve(name);
    List<String> all = new ArrayList<>(List.of("heatmap", "--quiet", "--out", out.toString()));
    all.addAll(List.of(arguments));
    StringWriter err = new StringWriter();
    int code =
        Main.run(
            all.toArray(String[]::new), new PrintWriter(new StringWriter()), new PrintWriter(err));
    assertEquals(0, code, err.toString());
    return out;
  }

  /** Softmax of the scores of {@code [tokens, heads, headDim]}. */
  private static double[][][] weights(Tensor q, Tensor k) {
    int count = (int) q.size(0);
    double[][][] all = new double[(int) q.size(1)][count][count];
    for (int h = 0; h < all.length; h++) {
      for (int i = 0; i < count; i++) {
        double[] row = all[h][i];
        double sum = 0;
        for (int j = 0; j < count; j++) {
          double dot = 0;
          for (int d = 0; d < q.size(2); d++) {
            dot += (double) q.getFloat(i, h, d) * k.getFloat(j, h, d);
          }
          row[j] = Math.exp(dot / Math.sqrt(q.size(2)));
          sum += row[j];
        }
        for (int j = 0; j < count; j++) {
          row[j] /= sum;
        }
      }
    }
    return all;
  }

  /**
   * Four digits are off by half of one in the last place, codes of 16 bits by sqrt(w) / 65534, and
   * float32 by the bound of attention.
   */
  private static void assertWeight(double expected, String shown, String where) {
    double bound = 5e-4 * expected + Math.sqrt(expected) / 65534 + 5e-6;
    assertEquals(expected, Double.parseDouble(shown), bound, where);
  }

  /** Looks at what stands beside the pointer; returns query and key. */
  private static int[] assertTip(int layer, int head) {
    String where = browser.text("tip-where");
    Matcher places = PLACES.matcher(where);
    assertTrue(places.matches(), where);
    int query = Integer.parseInt(places.group(1));
    int key = Integer.parseInt(places.group(3));
    assertEquals(tokens.get(query), places.group(2));
    assertEquals(tokens.get(key), places.group(4));
    assertWeight(reference[layer][head][query][key], browser.text("tip-weight"), where);
    return new int[] {query, key};
  }

  private static long linesFrom(double least, int layer, int head) {
    long count = 0;
    for (double[] row : reference[layer][head]) {
      for (double weight : row) {
        count += weight >= least ? 1 : 0;
      }
    }
    return count;
  }

  @Test
  void aPageIsSmallAndAlone() throws Exception {
    assertTrue(Files.size(page) <= 3_000_000, "bytes: " + Files.size(page));
    browser.open(page, "");
    assertEquals(0L, browser.run("return performance.getEntriesByType('resource').length"));
    System.out.printf(
        "ready after %s ms%n",
        browser.run("return Math.round(performance.getEntriesByName('ready')[0].startTime)"));
    assertEquals(TEXT, browser.text("text"));
    assertTrue(browser.text("facts").contains("128 tokens, cut from 132"), browser.text("facts"));
    assertEquals(LAYERS * HEADS, browser.all("#grid button").size());
    assertEquals("Layer 0, head 0", browser.text("head-title"));
    assertFalse(browser.element("failure").isDisplayed());
  }

  @Test
  void weightsUnderThePointer() throws Exception {
    browser.open(page, "#layer=2&head=4");
    WebElement canvas = browser.element("map-canvas");
    int different = 0;
    for (double[] place :
        new double[][] {{.5, .5}, {.4, .7}, {.6, .3}, {.35, .9}, {.7, .95}, {.45, .46}}) {
      browser.pointAt(canvas, place[0], place[1]);
      int[] cell = assertTip(2, 4);
      different += cell[0] == cell[1] ? 0 : 1;
      assertTrue(browser.text("readout").contains(browser.text("tip-where")));
    }
    assertTrue(different > 3, "cells beside the diagonal: " + different);
    browser.click("zoom-in");
    browser.click("zoom-in");
    browser.pointAt(canvas, .6, .6);
    int[] enlarged = assertTip(2, 4);
    browser.click("zoom-fit");
    browser.pointAt(canvas, .6, .6);
    int[] fitted = assertTip(2, 4);
    assertNotEquals(List.of(enlarged[0], enlarged[1]), List.of(fitted[0], fitted[1]));
  }

  @Test
  void keysMoveFromHeadToHeadAndFromCellToCell() throws Exception {
    browser.open(page, "");
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN);
    assertEquals("Layer 1, head 2", browser.text("head-title"));
    assertEquals("true", browser.element("map-1-2").getAttribute("aria-pressed"));
    assertEquals("false", browser.element("map-0-0").getAttribute("aria-pressed"));
    browser.click("map-5-11");
    assertEquals("Layer 5, head 11", browser.text("head-title"));
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN);
    assertEquals("Layer 5, head 11", browser.text("head-title"));
    browser.run("document.getElementById('map').focus()");
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT);
    String readout = browser.text("readout");
    Matcher parts =
        Pattern.compile("weight (\\S+): query 2 “(.*)” → key 1 “(.*)”").matcher(readout);
    assertTrue(parts.matches(), readout);
    assertWeight(reference[5][11][2][1], parts.group(1), readout);
    List<WebElement> strongest = browser.all("#strongest .number");
    double[] row = reference[5][11][2].clone();
    java.util.Arrays.sort(row);
    for (int n = 0; n < strongest.size(); n++) {
      assertWeight(row[row.length - 1 - n], strongest.get(n).getText(), "strongest " + n);
    }
    assertEquals(8, strongest.size());
  }

  @Test
  void linesAreThoseOfTheLargeWeights() throws Exception {
    browser.open(page, "");
    browser.click("map-3-8");
    browser.click("lines-tab");
    assertFalse(browser.element("map-view").isDisplayed());
    // A weight beside 0.05 may fall on either side.
    long lines = browser.all("#line-paths path").size();
    assertTrue(lines >= linesFrom(0.05002, 3, 8) && lines <= linesFrom(0.04998, 3, 8), "" + lines);
    assertEquals(lines + " lines", browser.text("line-count"));
    WebElement token = browser.all("#lines .token[data-axis=query]").get(12);
    browser.pointAt(token, .5, .5);
    assertEquals(128, browser.all("#focused-paths path").size());
    browser.all("#line-heads button").get(9).click();
    long both = browser.all("#line-paths path").size();
    long least = linesFrom(0.05002, 3, 8) + linesFrom(0.05002, 3, 9);
    long most = linesFrom(0.04998, 3, 8) + linesFrom(0.04998, 3, 9);
    assertTrue(both >= least && both <= most, "" + both);
    browser.run(
        "const least = document.getElementById('least'); least.value = 100;"
            + " least.dispatchEvent(new Event('input'))");
    assertEquals(0, browser.all("#line-paths path").size());
  }

  @Test
  void lightAndDark() throws Exception {
    browser.prefer("light");
    browser.open(page, "");
    String light = look();
    browser.prefer("dark");
    String dark = look();
    assertNotEquals(light, dark);
    browser.all("[data-theme=light]").getFirst().click();
    assertEquals(light, look());
    browser.prefer("light");
    browser.all("[data-theme=dark]").getFirst().click();
    assertEquals(dark, look());
    browser.all("[data-theme=system]").getFirst().click();
    assertEquals(light, look());
    browser.open(page, "#theme=dark");
    assertEquals(dark, look());
  }

  /**
   * Paper, ink, and a map, some frames later: a page hears of another preference in its own time.
   */
  private static String look() {
    return (String)
        browser.run(
            "return new Promise(done => setTimeout(() => requestAnimationFrame(() => {"
                + " const style = getComputedStyle(document.body);"
                + " const map = document.querySelector('#map-0-0 canvas');"
                + " done(style.backgroundColor + style.color + map.toDataURL()) }), 300))");
  }

  @Test
  void anyTextIsShownAsItIs() throws Exception {
    String text =
        "</script><script>document.title = 'x'</script> <!-- <b>&amp;\u2028 \"\\ \ud83d\ude00"
            + " @data@";
    Path hostile = draw("hostile.html", "--text", text);
    browser.open(hostile, "");
    assertEquals(text, browser.run("return document.getElementById('text').textContent"));
    assertEquals("Layer 0, head 0 – minilm", browser.run("return document.title"));
    assertEquals(0, browser.all("#text *").size());
  }

  @Test
  void manyQueriesAreDrawnTogether() throws Exception {
    Path q = directory.resolve("q.npy");
    try (Arena arena = Arena.ofConfined()) {
      float[] numbers = new float[300 * 2 * 16];
      for (int n = 0; n < numbers.length; n++) {
        numbers[n] = (n * 7919 % 997) / 997f - 0.5f;
      }
      Npy.write(q, Tensor.copyOf(arena, numbers, 1, 300, 2, 16));
    }
    Path causal =
        draw(
            "causal.html",
            "--q",
            q.toString(),
            "--k",
            q.toString(),
            "--causal",
            "top-left",
            "--size",
            "100");
    browser.open(causal, "#head=1");
    assertEquals("Batch 0, head 1", browser.text("head-title"));
    assertTrue(browser.text("facts").contains("300 × 300 drawn as 100 × 100 by the mean"));
    browser.pointAt(browser.element("map-canvas"), .65, .25);
    assertEquals("0", browser.text("tip-weight"));
    assertTrue(
        browser.text("tip-where").matches("query \\d+–\\d+ → key \\d+–\\d+"),
        browser.text("tip-where"));
  }
}
