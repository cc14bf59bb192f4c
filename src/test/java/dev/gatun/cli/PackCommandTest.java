package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.MaskedFolder;
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
    assertEquals(folder + ": minilm as int8, embedder, 59.3 MB\n", packed.out());
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

  /** Of a folder with a head, which config.json does not name: as an embedder without --as. */
  @Test
  void folders() throws IOException {
    Path model = MaskedFolder.write(directory.resolve("model"));
    String masked = directory.resolve("masked").toString();
    CliRun run =
        CliRun.run(
            "pack",
            "--model",
            model.toString(),
            "--as",
            "masked-language-model",
            "--weights",
            "bf16",
            "--out",
            masked,
            "--quiet");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().startsWith(masked + ": " + model + " as bf16, masked-language-model, "));
    String text = "the [MASK] of france";
    assertEquals(
        CliRun.run("fill", "--model", model.toString(), "--weights", "bf16", text).out(),
        CliRun.run("fill", "--model", masked, text).out());
    CliRun inspected = CliRun.run("inspect", masked);
    assertEquals(0, inspected.code(), inspected.err());
    assertTrue(inspected.out().contains("loads as  a masked language model"), inspected.out());
    assertTrue(!inspected.out().contains("embedder"), inspected.out());
    String embedder = directory.resolve("embedder").toString();
    CliRun other = CliRun.run("pack", "--model", model.toString(), "--out", embedder, "--quiet");
    assertTrue(other.out().contains(" as auto, embedder, "), other.out());
    refused("gatun.kind: expected MASKED_LANGUAGE_MODEL", "fill", "--model", embedder, text);
    refused(
        "--weights: format: expected AUTO or BF16",
        "fill",
        "--model",
        masked,
        "--weights",
        "int8",
        text);
    String out = directory.resolve("out").toString();
    refused("--as", "pack", "--model", model.toString(), "--as", "vit", "--out", out);
    refused("--model: expected a folder", "pack", "--as", "language-model", "--out", out);
    refused(
        "--model: expected a folder, as --as says, got 'minilm'",
        "pack",
        "--model",
        "minilm",
        "--as",
        "language-model",
        "--out",
        out);
    Files.writeString(model.resolve("config.json"), "{\"model_type\": \"vit\"}");
    refused(
        "expected a model of texts, got image-classifier",
        "pack",
        "--model",
        model.toString(),
        "--out",
        out);
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
