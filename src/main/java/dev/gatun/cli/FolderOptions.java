package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of commands that load a model's folder, beside that of the folder itself. */
final class FolderOptions {
  @Option(
      names = "--weights",
      paramLabel = "FORMAT",
      defaultValue = "auto",
      converter = ModelChoice.Format.class,
      description =
          "How weights are stored and multiplied: auto (the file's precision), fp32, bf16, fp16,"
              + " int8, q8_0, q4_0, or view.")
  private WeightFormat weights;

  @Mixin private ThreadsOption threads;

  /** How a class loads a model. */
  interface Loader<T> {
    T load(GatunRuntime runtime, Path folder, WeightFormat format) throws IOException;
  }

  GatunRuntime open() {
    return threads.open();
  }

  <T> T load(GatunRuntime runtime, Path folder, Loader<T> loader) {
    try {
      return loader.load(runtime, folder, weights);
    } catch (IOException e) {
      throw ModelChoice.refused(e);
    } catch (IllegalArgumentException e) {
      throw new CliException("--weights: " + e.getMessage(), e);
    }
  }
}
