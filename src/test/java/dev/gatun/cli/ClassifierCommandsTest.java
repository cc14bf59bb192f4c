package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.support.MaskedFolder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code gatun rerank} and {@code gatun classify} on a folder whose second label is likelier. */
class ClassifierCommandsTest {
  private static final int WIDTH = 24;

  @TempDir Path folder;

  /** A BERT of another test, with a head of as many labels. */
  private void write(int labels) throws IOException {
    MaskedFolder.write(folder);
    Path file = folder.resolve("model.safetensors");
    try (Arena arena = Arena.ofConfined()) {
      SafetensorsFile masked = Safetensors.map(file, arena);
      Map<String, Tensor> weights = new TreeMap<>();
      for (String name : masked.names()) {
        if (!name.startsWith("cls.")) {
          weights.put(name, masked.tensor(name, arena));
        }
      }
      float[] bias = new float[labels];
      bias[labels - 1] = 2;
      Tensor pooler = Tensor.copyOf(arena, new float[WIDTH * WIDTH], WIDTH, WIDTH);
      weights.put("bert.pooler.dense.weight", pooler);
      weights.put("bert.pooler.dense.bias", Tensor.copyOf(arena, new float[WIDTH], WIDTH));
      Tensor classifier = Tensor.copyOf(arena, new float[labels * WIDTH], labels, WIDTH);
      weights.put("classifier.weight", classifier);
      weights.put("classifier.bias", Tensor.copyOf(arena, bias, labels));
      Safetensors.write(file, weights, Map.of());
    }
    Path config = folder.resolve("config.json");
    String names =
        labels == 1 ? "\"num_labels\": 1" : "\"id2label\": {\"0\": \"bad\", \"1\": \"good\"}";
    Files.writeString(
        config, Files.readString(config).strip().replaceFirst("}$", ", " + names + "}"));
  }

  @Test
  void classify() throws IOException {
    write(2);
    CliRun run = CliRun.run("classify", "--model", folder.toString(), "the cat", "paris");
    assertEquals(0, run.code(), run.err());
    assertEquals(2, run.lines().size(), run.out());
    // 1 / (1 + e^-2)
    assertTrue(run.lines().getFirst().contains("good") && run.out().contains("0.88"), run.out());
  }

  @Test
  void inspect() throws IOException {
    write(2);
    Path config = folder.resolve("config.json");
    String said = Files.readString(config);
    Files.writeString(
        config,
        said.replaceFirst("}$", ", \"architectures\": [\"BertForSequenceClassification\"]}"));
    CliRun run = CliRun.run("inspect", folder.toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(
        run.out().contains("a classifier of texts: labels [bad, good], max 20 tokens"), run.out());
    Files.writeString(
        config, said.replaceFirst("}$", ", \"architectures\": [\"BertForMaskedLM\"]}"));
    CliRun other = CliRun.run("inspect", folder.toString());
    assertEquals(0, other.code(), other.err());
    assertTrue(other.out().contains("not       a masked language model: "), other.out());
    assertTrue(other.out().contains("cls.predictions"), other.out());
  }

  @Test
  void rerank() throws IOException {
    write(1);
    Path lines = Files.writeString(folder.resolve("lines.txt"), "paris\nlyon\nthe cat\n");
    String model = folder.toString();
    CliRun run = CliRun.run("rerank", "--model", model, "france", "--file", lines.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(3, run.lines().size(), run.out());
    assertTrue(run.lines().getFirst().contains("0.88"), run.out());
  }

  @Test
  void headsThatDoNotFitAreRefused() throws IOException {
    write(2);
    CliRun run = CliRun.run("rerank", "--model", folder.toString(), "france", "--file", "none");
    assertEquals(2, run.code(), run.out());
    assertTrue(run.complaints().lines().count() == 1, run.err());
  }
}
