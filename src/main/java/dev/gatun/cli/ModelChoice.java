package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.ModelProduct;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options of commands that load a model. */
class ModelChoice {
  private static final String DEFAULT_MODEL = "minilm";

  /** A format by its name in lower case. */
  static final class Format implements ITypeConverter<WeightFormat> {
    @Override
    public WeightFormat convert(String text) {
      for (WeightFormat format : WeightFormat.values()) {
        if (format.name().toLowerCase(Locale.ROOT).equals(text)) {
          return format;
        }
      }
      throw new TypeConversionException(
          "expected auto, view, fp32, bf16, fp16, int8, q8_0 or q4_0, got '" + text + "'");
    }
  }

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "minilm, bge-small, e5-small or bge-small-zh, or what they are called on the Hub"
              + " (all-MiniLM-L6-v2, BAAI/bge-small-en-v1.5, intfloat/e5-small-v2,"
              + " BAAI/bge-small-zh-v1.5), or a folder with tokenizer.json and model.safetensors"
              + " (whole or in shards, with config.json) or model.onnx, which gatun inspect looks"
              + " at; minilm without this option. With -q behind one of the first three (minilm-q)"
              + " it is the model with weights of 8 bits. The jars of all but minilm are not built"
              + " in: --class-path says where they are.")
  String model;

  @Option(
      names = ModelJars.OPTION,
      paramLabel = "JARS",
      description =
          "Where jars of models are: jars, or folders of jars, with ':' between them; what the"
              + " environment variable GATUN_CLASS_PATH holds without this option.")
  private String classPath;

  @Option(
      names = "--weights",
      paramLabel = "FORMAT",
      defaultValue = "auto",
      converter = Format.class,
      description =
          "How weights are stored and multiplied: auto (the model file's precision), fp32, bf16,"
              + " fp16, int8, q8_0, q4_0, or view (not packed, by OpenBLAS). bf16 and int8 are"
              + " faster at a small loss.")
  WeightFormat weights = WeightFormat.AUTO;

  EmbeddingModelSpec spec() {
    String name = model == null ? DEFAULT_MODEL : model;
    try {
      if (name.isEmpty()) {
        throw new CliException("--model: expected a model or a folder, got an empty name");
      }
      return EmbeddingModelSpec.of(name);
    } catch (IOException e) {
      throw refused(e);
    } catch (InvalidPathException e) {
      throw new CliException("--model: '" + name + "' is no file name here: " + e.getReason(), e);
    }
  }

  /** The folder that is named; null if none of that name is there. */
  Path folder() {
    try {
      return model != null && Files.isDirectory(Path.of(model)) ? Path.of(model) : null;
    } catch (InvalidPathException e) {
      return null; // spec() says what is wrong
    }
  }

  /** Loads the model. */
  TextEmbedder load(GatunRuntime runtime, EmbeddingModelSpec spec) {
    return read(spec, () -> TextEmbedder.load(runtime, spec, weights));
  }

  /** What a model would multiply; nothing is loaded for it. */
  List<ModelProduct> products(EmbeddingModelSpec spec) {
    return read(spec, () -> spec.products(weights));
  }

  private interface Reading<T> {
    T read() throws IOException;
  }

  private <T> T read(EmbeddingModelSpec spec, Reading<T> reading) {
    try (ModelJars _ = jars()) {
      return reading.read();
    } catch (NoSuchFileException e) {
      throw missing(spec, e);
    } catch (IOException e) {
      throw refused(e);
    } catch (IllegalArgumentException e) {
      throw new CliException("--weights: " + e.getMessage(), e);
    }
  }

  /** A jar that --class-path may name, or a file of a folder. */
  static CliException missing(EmbeddingModelSpec spec, NoSuchFileException e) {
    return spec.artifact() == null ? refused(e) : ModelJars.missing(spec, e);
  }

  static CliException refused(IOException e) {
    return new CliException("--model " + reason(e), e);
  }

  /** What is wrong, behind the file that it is wrong with. */
  static String reason(IOException e) {
    String reason = String.valueOf(e.getMessage());
    if (e instanceof FileSystemException f) {
      String file = f.getFile() == null ? "" : f.getFile() + ": ";
      reason = file + (f.getReason() == null ? "cannot be read" : f.getReason());
    }
    return reason;
  }

  /** Has the jars of models found, as long as it is open. */
  ModelJars jars() {
    return ModelJars.open(classPath);
  }
}
