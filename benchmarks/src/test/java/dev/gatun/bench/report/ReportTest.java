package dev.gatun.bench.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.bench.measure.Products;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.peer.PeerSpec;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Report and plots of a full run. */
class ReportTest {

  @Test
  void reportAndPlotsOfAFullRun(@TempDir Path folder) throws IOException {
    Map<String, Object> made = SyntheticResults.make();
    Report.write(made, folder, "README.md");
    String report = Files.readString(folder.resolve("README.md"));
    String points = Files.readString(folder.resolve(Report.POINTS));
    for (Shape shape : Shape.PEERS) {
      assertTrue(report.contains("| " + shape.name() + " |"), shape.name());
      assertTrue(points.contains("| " + shape.name() + " |"), shape.name());
    }
    for (PeerSpec spec : PeerSpec.ALL) {
      assertTrue(report.contains("| " + spec.name() + " |"), spec.name());
    }
    for (String part :
        List.of(
            "## Java against C",
            "### Causal, two threads",
            "### Where a peer is faster",
            "### Against the best peer",
            // the fastest of those that may: 93 % of the peak against their 70 %
            "| pre4096 | none | 1.33 onnxruntime-mha | 1.86 | 2.51 |",
            // it has no shared heads for others, and this row was disturbed
            "| gqa1024 | none | 1.50~ onnxruntime-attention | 1.86 | 2.51 |",
            "### Undisturbed pairs",
            "and **~** marks the number",
            "| undisturbedFrom | ",
            "| gauge, one thread | 5.90 instructions a cycle (median of rows), ",
            "### What a call costs",
            "| tiny16q0 | shared | ",
            "### C, [B,S,H,D], causal",
            "| s512d64 | 1 × 1 heads, 512 × 512, d 64 | 400.00 µs (396.00 µs … 404.00 µs) | 167.8 |"
                + " 80.0 %~ (79.2 % … 80.8 %) | 2 of 22 | 9.0e-08 |",
            "| onnxruntime-gqa | is always causal |",
            "| djl-pytorch | its process ended with exit code 134: terminate called |",
            " | 6.32 ms (6.31 ms … 6.33 ms) [1.28.0] | ",
            "| gatun INT8 | 1.80 (1.80 … 1.80) | 1.80 (1.80 … 1.80) | ",
            " | 0.99902 / 0.9951 | 0.900 |",
            " | 1.0000000 / 1.0000000 | 0.900 |",
            "| llama.cpp Q8_0 | not timed: its jar is not there | – | – | – | – | – | – |",
            "Not timed: langchain4j: no text has so few tokens (1); langchain4j-q: no text has so"
                + " few tokens (1).",
            "### 2 threads",
            "### 2 threads over one",
            "| gatun INT8 | – | – | 2.00 | – | – |",
            "| llama.cpp Q8_0 | – | – | – | – | – |",
            "### llama1b, rows",
            "| gatun INT8 | 105.17 µs, 101 GB/s | 420.69 µs, 90 % (90 … 90) | ",
            "| gatun F32 | 1.20 (1.20 … 1.20) openblas | ",
            "| gatun BF16 | 1.20 (1.20 … 1.20) onednn | ",
            "- openblas F32: Cooperlake",
            "| mkl BF16 | not timed: mkl-: its jar is not there; make bench fetches it | – | ",
            "| 16384 |",
            "java-scalar: not measured, its process was ended after 900 s (8192, 16384, 16384"
                + " causal).")) {
      assertTrue(report.contains(part), part);
    }
    for (String name :
        List.of("commit", "date", "cpu", "tier", "threads", "openblasCore", "openblasConfig")) {
      assertTrue(report.contains("| " + name + " | "), name);
    }
    assertTrue(points.contains("~ |"), "marked");
    assertTrue(points.contains(" | 3 of 22 | 4.60 |"), "counted");
    assertTrue(points.contains(" | 15 of 15 | 5.90 |"), "counted");
    assertFalse(report.contains("Not timed: mkl"), "said in its row");
    assumeTrue(Plots.hasFonts(), "the JDK finds no fonts");
    for (String name : List.of("gatun VIEW", "gatun -q", "onnxruntime-q", "llama.cpp")) {
      for (String plot : List.of(RotationPlots.EMBEDDING_TIMES, RotationPlots.EMBEDDING_ACCURACY)) {
        String svg = Files.readString(folder.resolve(plot + ".svg"));
        assertTrue(svg.contains(">" + name + "<"), plot + " " + name);
        assertFalse(svg.contains(">llama.cpp Q8_0<"), plot);
        assertFalse(svg.contains("rows disturbed"), "those of another step");
      }
    }
    for (Products products : Products.ALL) {
      String plot = RotationPlots.PRODUCTS + products.name();
      String svg = Files.readString(folder.resolve(plot + ".svg"));
      assertTrue(svg.contains(">onednn INT8<"), plot);
      assertFalse(svg.contains(">mkl INT8<"), plot);
    }
    // each in its section
    List<String> order =
        List.of(
            "(memory.svg)",
            "## all-MiniLM-L6-v2 in each format",
            "(embedding-time.svg)",
            "(embedding-accuracy.svg)",
            "### One thread",
            "### minilm, rows",
            "(products-minilm.svg)",
            "### llama1b, rows",
            "(products-llama1b.svg)");
    int at = 0;
    for (String part : order) {
      assertTrue(report.indexOf(part, at) >= 0, part);
      at = report.indexOf(part, at);
    }
    for (String name :
        List.of(
            "roofline",
            "share",
            "share-causal",
            "share-2-threads",
            "share-causal-2-threads",
            "time",
            "time-causal",
            "causal",
            "memory")) {
      BufferedImage image = ImageIO.read(folder.resolve(name + ".png").toFile());
      assertEquals(1200, image.getWidth(), name);
      assertEquals(800, image.getHeight(), name);
      String svg = Files.readString(folder.resolve(name + ".svg"));
      assertTrue(svg.contains(">gatun<"), name);
      assertEquals(!name.contains("2"), report.contains("(" + name + ".svg)"), name);
      if (name.equals("roofline") || name.startsWith("share")) {
        for (Shape shape : Shape.PEERS) {
          boolean shown = shape.seqQ() > 1 || !name.contains("causal");
          assertEquals(shown, svg.contains(">" + shape.name() + "<"), name + " " + shape.name());
        }
      }
    }
  }
}
