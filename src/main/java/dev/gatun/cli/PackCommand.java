package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
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
      "The new folder is a MODEL like others: gatun embed --model FOLDER. It loads in milliseconds,"
          + " on any CPU, and its pages are shared by all processes that have it open.",
      ""
    })
final class PackCommand implements Callable<Integer> {
  @Mixin private ModelChoice model;

  @Mixin private ThreadsOption threads;

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
    EmbeddingModelSpec chosen = model.spec();
    try (Progress progress = new Progress(streams, !verbosity.isQuiet(), "packing " + chosen);
        GatunRuntime runtime = threads.open();
        ModelJars _ = model.jars()) {
      TextEmbedder.pack(runtime, chosen, model.weights, out);
      progress.beside(
          () ->
              streams
                  .out()
                  .printf(
                      Locale.ROOT,
                      "%s: %s as %s, %.1f MB%n",
                      out,
                      chosen,
                      WeightFacts.word(model.weights),
                      bytes() / 1e6));
    } catch (IllegalArgumentException e) {
      throw new CliException("--weights: " + e.getMessage(), e);
    } catch (IOException e) {
      throw failure(chosen, e);
    }
    return Main.OK;
  }

  /** Says whether the model or the new folder is at fault. */
  private CliException failure(EmbeddingModelSpec chosen, IOException e) {
    if (e instanceof FileSystemException f && out.toString().equals(f.getFile())) {
      return CliException.of("--out " + out, e);
    }
    return e instanceof NoSuchFileException && chosen.artifact() != null
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
