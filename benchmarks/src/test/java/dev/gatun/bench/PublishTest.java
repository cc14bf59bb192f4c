package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bench.measure.Json;
import dev.gatun.bench.report.SyntheticResults;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which results are published, and that the published ones give the same page again. */
class PublishTest {

  @Test
  void storedResultsGiveTheSamePage(@TempDir Path folder) throws IOException {
    Path from = Files.createDirectories(folder.resolve("from"));
    Path to = folder.resolve("to");
    assertThrows(IllegalStateException.class, () -> Publish.publish(from, to, false));
    Json.write(from.resolve("results.json"), SyntheticResults.make());
    assertEquals(from.resolve("results.json"), Publish.publish(from, to, false));
    String report = Files.readString(to.resolve("README.md"));
    String json = Files.readString(to.resolve("results.json"));
    Files.delete(from.resolve("results.json"));
    Publish.publish(from, to, false);
    assertEquals(report, Files.readString(to.resolve("README.md")));
    assertEquals(json, Files.readString(to.resolve("results.json")));
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
