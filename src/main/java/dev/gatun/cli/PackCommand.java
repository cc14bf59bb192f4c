package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.FolderInspection;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.model.ModelPacker;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code gatun pack}: a model whose weights are packed already. */
@Command(
    name = "pack",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Writes a model with packed weights, which processes map and share.",
    sortOptions = false,
    description = {
      "",
      "The new folder is a MODEL like others: gatun embed --model FOLDER, or gatun generate, fill,"
          + " classify or rerank. It loads in milliseconds, on any CPU, and its pages are shared by"
          + " all processes that have it open.",
      ""
    })
final class PackCommand implements Callable<Integer> {
  @Mixin private ModelChoice model;

  @Mixin private ThreadsOption threads;

  @Option(
      names = "--as",
      paramLabel = "KIND",
      description =
          "What it will be loaded as: embedder, language-model, text-classifier (rerankers too),"
              + " token-classifier or masked-language-model. Without this option: an embedder if it"
              + " has modules.json or a graph, else what config.json says.")
  private Kind kind;

  @Option(
      names = "--out",
      paramLabel = "FOLDER",
      required = true,
      description = "Where to; it does not exist yet, or is empty.")
  private Path out;

  @Mixin private Verbosity verbosity;

  @ParentCommand private Main main;

  @Override
  public Integer call() {
    Streams streams = main.streams();
    Kind chosenKind = kind();
    EmbeddingModelSpec embedder = chosenKind == Kind.EMBEDDER ? model.spec() : null;
    String chosen = embedder == null ? model.model : embedder.toString();
    try (Progress progress = new Progress(streams, !verbosity.isQuiet(), "packing " + chosen);
        GatunRuntime runtime = threads.open();
        ModelJars _ = model.jars()) {
      if (embedder != null) {
        TextEmbedder.pack(runtime, embedder, model.weights, out);
      } else {
        ModelPacker.pack(runtime, Path.of(chosen), chosenKind, model.weights, out);
      }
      progress.beside(
          () ->
              streams
                  .out()
                  .printf(
                      Locale.ROOT,
                      "%s: %s as %s, %s, %.1f MB%n",
                      out,
                      chosen,
                      WeightFacts.word(model.weights),
                      InspectCommand.word(chosenKind),
                      bytes() / 1e6));
    } catch (IllegalArgumentException e) {
      throw new CliException("--weights: " + e.getMessage(), e);
    } catch (IOException e) {
      throw failure(embedder, e);
    }
    return Main.OK;
  }

  /** What was asked for, or what the folder is made for. */
  private Kind kind() {
    if (kind != null) {
      if (kind != Kind.EMBEDDER && model.folder() == null) {
        throw new CliException(
            "--model: expected a folder, as --as says, got "
                + (model.model == null ? "none" : "'" + model.model + "'"));
      }
      return kind;
    }
    Path folder = model.folder();
    if (folder == null || !Files.exists(folder.resolve("config.json"))) {
      return Kind.EMBEDDER;
    }
    try {
      Kind purpose = FolderInspection.of(folder).purpose();
      if (purpose.ofImages()) {
        throw new CliException(
            "--model %s: expected a model of texts, got %s"
                .formatted(folder, InspectCommand.word(purpose)));
      }
      return purpose;
    } catch (IOException e) {
      throw ModelChoice.refused(e);
    }
  }

  /** Says whether the model or the new folder is at fault. */
  private CliException failure(EmbeddingModelSpec chosen, IOException e) {
    if (e instanceof FileSystemException f && out.toString().equals(f.getFile())) {
      return CliException.of("--out " + out, e);
    }
    return e instanceof NoSuchFileException && chosen != null && chosen.artifact() != null
        ? ModelJars.missing(chosen, e)
        : ModelChoice.refused(e);
  }

  private long bytes() {
    try (Stream<Path> files = Files.walk(out)) {
      return files.filter(Files::isRegularFile).mapToLong(file -> file.toFile().length()).sum();
    } catch (IOException e) {
      throw CliException.of("--out " + out, e);
    }
  }
}
