package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PackCommandTest {
  @TempDir Path directory;

  private static void refused(String text, String... args) {
    CliRun result = CliRun.run(args);
    assertEquals(2, result.code(), result.err());
    assertEquals("", result.out());
    assertTrue(result.err().contains(text), result.err());
  }

  @Test
  void aPackedModelIsAModel() {
    String folder = directory.resolve("packed").toString();
    CliRun packed = CliRun.run("pack", "--weights", "int8", "--out", folder, "--quiet");
    assertEquals(0, packed.code(), packed.err());
    assertEquals(folder + ": minilm as int8, 59.3 MB\n", packed.out());
    CliRun want = CliRun.run("embed", "--weights", "int8", "--quiet", "A cat.");
    CliRun got = CliRun.run("embed", "--model", folder, "--quiet", "A cat.");
    assertEquals(0, got.code(), got.err());
    assertEquals(want.out(), got.out());
    refused(
        "--weights: format: expected AUTO or INT8",
        "embed",
        "--model",
        folder,
        "--weights",
        "fp32",
        "x");
    refused("expected no folder or an empty one", "pack", "--out", folder);
  }

  @Test
  void mistakes() throws IOException {
    refused("--out", "pack");
    String folder = directory.resolve("new").toString();
    refused("expected auto, view, fp32", "pack", "--weights", "int4", "--out", folder);
    refused(
        "--weights: format: expected one that is packed",
        "pack",
        "--weights",
        "view",
        "--out",
        folder);
    refused("--model", "pack", "--model", directory.resolve("none").toString(), "--out", folder);
    Path file = Files.writeString(directory.resolve("file"), "x");
    refused("--out " + file + ": expected a folder, got a file", "pack", "--out", file.toString());
    refused("--out /proc/none", "pack", "--out", "/proc/none");
    Path broken = Files.createDirectory(directory.resolve("broken"));
    Files.writeString(broken.resolve("model.onnx"), "no model");
    Files.writeString(broken.resolve("tokenizer.json"), "{}");
    refused("--model " + broken, "pack", "--model", broken.toString(), "--out", folder);
  }
}
