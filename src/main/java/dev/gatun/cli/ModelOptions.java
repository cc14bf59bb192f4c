package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options of commands that run a model on texts. */
final class ModelOptions extends ThreadsOption {
  private static final String DEFAULT_MODEL = "minilm";

  /** A whole number from 1 on. */
  static final class Count implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (text.matches("[0-9]{1,9}") && Integer.parseInt(text) > 0) {
        return Integer.parseInt(text);
      }
      throw new TypeConversionException("expected 1 .. 999999999, got '" + text + "'");
    }
  }

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
      names = "--file",
      paramLabel = "FILE",
      description =
          "Texts, one a line: UTF-8, a line ends at \\n and nowhere else, blank lines count; - for"
              + " standard input.")
  Path file;

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "minilm, bge-small or e5-small, or what they are called on the Hub (all-MiniLM-L6-v2,"
              + " BAAI/bge-small-en-v1.5, intfloat/e5-small-v2), or a folder with model.onnx and"
              + " tokenizer.json of a BERT-family encoder; minilm without this option. With -q"
              + " behind a name (minilm-q) it is the model with weights of 8 bits. The jars of all"
              + " but minilm are not built in: --class-path says where they are.")
  String model;

  @Option(
      names = ModelJars.OPTION,
      paramLabel = "JARS",
      description =
          "Where jars of models are: jars, or folders of jars, with ':' between them; what the"
              + " environment variable GATUN_CLASS_PATH holds without this option.")
  private String classPath;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      converter = Count.class,
      description =
          "What texts are cut to, [CLS] and [SEP] included; what tokenizer.json says without this"
              + " option (minilm: 128), or 512.")
  Integer maxTokens;

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

  static CliException refused(IOException e) {
    String reason = String.valueOf(e.getMessage());
    if (e instanceof FileSystemException f) {
      String file = f.getFile() == null ? "" : f.getFile() + ": ";
      reason = file + (f.getReason() == null ? "cannot be read" : f.getReason());
    }
    return new CliException("--model " + reason, e);
  }

  /** Loads the model, and checks what texts are to be cut to. */
  TextEmbedder load(GatunRuntime runtime, EmbeddingModelSpec spec) {
    TextEmbedder embedder;
    try (ModelJars _ = ModelJars.open(classPath)) {
      embedder = TextEmbedder.load(runtime, spec, weights);
    } catch (NoSuchFileException e) {
      throw spec.artifact() == null ? refused(e) : ModelJars.missing(spec, e);
    } catch (IOException e) {
      throw refused(e);
    } catch (IllegalArgumentException e) {
      throw new CliException("--weights: " + e.getMessage(), e);
    }
    try {
      tokenize(embedder, "");
    } catch (IllegalArgumentException e) {
      embedder.close();
      throw new CliException(e.getMessage().replace("maxTokens", "--max-tokens"), e);
    }
    return embedder;
  }

  /** What texts are cut to. */
  int maxTokens(TextEmbedder embedder) {
    return maxTokens == null ? embedder.maxTokens() : maxTokens;
  }

  Tokenized tokenize(TextEmbedder embedder, String text) {
    return embedder.tokenize(text, maxTokens(embedder));
  }
}
