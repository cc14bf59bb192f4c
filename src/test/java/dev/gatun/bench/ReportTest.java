package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Report and plots of a full run and of a quick one. */
class ReportTest {

  @Test
  void reportAndPlotsOfAFullRun(@TempDir Path folder) throws IOException {
    Map<String, Object> made = SyntheticResults.make();
    Path from = Files.createDirectories(folder.resolve("from"));
    Path to = folder.resolve("to");
    assertThrows(IllegalStateException.class, () -> Publish.publish(from, to, false));
    Json.write(from.resolve("results.json"), made);
    assertEquals(from.resolve("results.json"), Publish.publish(from, to, false));
    String report = Files.readString(to.resolve("README.md"));
    String points = Files.readString(to.resolve(Report.POINTS));
    for (Shape shape : Shape.PEERS) {
      assertTrue(report.contains("| " + shape.name() + " |"), shape.name());
      assertTrue(points.contains("| " + shape.name() + " |"), shape.name());
    }
    for (Contender contender : Contender.ALL) {
      assertTrue(report.contains("| " + contender.name() + " |"), contender.name());
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
    // the stored results give the same page, and nothing else is needed
    String json = Files.readString(to.resolve("results.json"));
    Files.delete(from.resolve("results.json"));
    Publish.publish(from, to, false);
    assertEquals(report, Files.readString(to.resolve("README.md")));
    assertEquals(json, Files.readString(to.resolve("results.json")));
    assumeTrue(Plots.hasFonts(), "the JDK finds no fonts");
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
      BufferedImage image = ImageIO.read(to.resolve(name + ".png").toFile());
      assertEquals(1200, image.getWidth(), name);
      assertEquals(800, image.getHeight(), name);
      String svg = Files.readString(to.resolve(name + ".svg"));
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

  @Test
  void resultsOfAQuickRunArePublishedOnRequest(@TempDir Path folder) throws IOException {
    Map<String, Object> results = new LinkedHashMap<>();
    results.put("mode", "quick");
    results.put("environment", Map.of("commit", "unknown"));
    Json.write(folder.resolve("results.json"), results);
    Path to = folder.resolve("to");
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> Publish.publish(folder, to, false));
    assertTrue(e.getMessage().endsWith("is of a quick run; QUICK=1 takes it all the same"));
    Publish.publish(folder, to, true);
    assertTrue(Files.readString(to.resolve("README.md")).startsWith("# Benchmarks\n"));
  }
}
