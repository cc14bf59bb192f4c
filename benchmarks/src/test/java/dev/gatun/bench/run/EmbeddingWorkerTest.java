package dev.gatun.bench.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bench.measure.Json;
import dev.gatun.bench.peer.EmbeddingEngine;
import dev.gatun.bench.peer.EmbeddingTexts;
import dev.gatun.bench.peer.EmbeddingTexts.Text;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Batches, texts, accuracy, and that each engine on the class path embeds. */
class EmbeddingWorkerTest {

  @Test
  void lengthsAreWhatTheCaseSays() throws IOException {
    for (String name : EmbeddingTexts.CASES) {
      int[] lengths = EmbeddingTexts.lengths(name);
      List<Text> texts = EmbeddingTexts.of(name);
      assertArrayEquals(lengths, texts.stream().mapToInt(text -> text.ids().length).toArray());
      assertEquals(texts.size(), new HashSet<>(texts.stream().map(Text::text).toList()).size());
    }
    int[] mixed = EmbeddingTexts.lengths("32 mixed");
    assertEquals(4, Arrays.stream(mixed).min().orElseThrow());
    assertEquals(128, Arrays.stream(mixed).max().orElseThrow());
    assertEquals(32, Arrays.stream(mixed).distinct().count());
    assertThrows(IllegalArgumentException.class, () -> EmbeddingTexts.lengths("33"));
  }

  @Test
  void textsAreManyAndDifferent() throws IOException {
    List<String> texts = EmbeddingTexts.varied();
    assertTrue(texts.size() >= 1000, () -> texts.size() + " texts");
    assertEquals(texts.size(), new HashSet<>(texts).size());
    assertTrue(texts.stream().noneMatch(String::isBlank));
  }

  @Test
  void accuracyIsOfDirectionsAndNeighbors() {
    List<float[]> reference = List.of(new float[] {1, 0}, new float[] {0, 1}, new float[] {2, 1});
    Map<String, Object> same = Accuracy.of(reference, reference);
    assertEquals(3, same.get("texts"));
    assertEquals(1.0, same.get("topTen"));
    assertEquals(0, (double) same.get("distanceWorst"), 1e-12);
    List<float[]> other = List.of(new float[] {1, 0}, new float[] {1, 1}, new float[] {2, 1});
    Map<String, Object> map = Accuracy.of(other, reference);
    assertEquals(1 - Math.sqrt(0.5), (double) map.get("distanceWorst"), 1e-5);
    assertThrows(IllegalArgumentException.class, () -> Accuracy.of(other.subList(0, 2), reference));
  }

  @Test
  void enginesEmbedAloneAndInBatches(@TempDir Path folder) throws IOException {
    float[] expected = null;
    for (String name :
        List.of(
            "onnxruntime",
            "onnxruntime-q",
            "langchain4j",
            "langchain4j-q",
            "gatun VIEW",
            "gatun FP32",
            "gatun BF16",
            "gatun INT8",
            "gatun -q")) {
      try (EmbeddingEngine engine = EmbeddingWorker.engine(name, 1)) {
        EmbeddingWorker worker = new EmbeddingWorker(engine, 2);
        worker.prepare("16").peer().close();
        BlockServer.Ready batch = worker.prepare("32x16");
        assertEquals(name.startsWith("onnxruntime"), !batch.note().isEmpty());
        batch.peer().close();
        Path file = folder.resolve("vectors.json");
        worker.other(EmbeddingWorker.VECTORS + file);
        List<?> vectors = (List<?>) Json.read(file);
        assertEquals(2, vectors.size());
        assertEquals(384, ((List<?>) vectors.getFirst()).size());
        float[] vector = engine.vector(EmbeddingTexts.of("32").getFirst());
        expected = expected == null ? vector : expected;
        assertNotNull(expected);
        double cosine = Accuracy.cosine(vector, expected);
        assertTrue(
            cosine > (name.endsWith("-q") ? 0.95 : name.endsWith("INT8") ? 0.99 : 0.9999),
            name + ": " + cosine);
      }
    }
  }
}
