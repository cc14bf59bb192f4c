package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.EmbeddingOptions;
import dev.gatun.model.OnTooLong;
import dev.gatun.model.TextEmbedder;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options of commands that run a model on texts. */
final class ModelOptions extends ModelChoice {
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

  /** A whole number from 0 on. */
  static final class CountOrNone implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (text.matches("[0-9]{1,9}")) {
        return Integer.parseInt(text);
      }
      throw new TypeConversionException("expected 0 .. 999999999, got '" + text + "'");
    }
  }

  @Mixin private ThreadsOption threads;

  @Option(
      names = "--file",
      paramLabel = "FILE",
      description =
          "Texts, one a line: UTF-8, a line ends at \\n and nowhere else, blank lines count; - for"
              + " standard input.")
  Path file;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      converter = Count.class,
      description =
          "What texts are cut to, [CLS] and [SEP] included; what tokenizer.json says without this"
              + " option (minilm: 128), or 512.")
  Integer maxTokens;

  @Option(
      names = "--on-too-long",
      paramLabel = "cut|fail|chunk",
      description =
          "What becomes of a text of more tokens: cut (without this option), fail (the command"
              + " ends there; lines of texts before it may be printed), or chunk (it is read in"
              + " parts that overlap, and its vector is the mean of theirs).")
  OnTooLong onTooLong;

  @Option(
      names = "--overlap",
      paramLabel = "N",
      converter = CountOrNone.class,
      description =
          "How many tokens a chunk shares with the one before; an eighth of a chunk without this"
              + " option.")
  Integer overlap;

  @Option(
      names = "--dimensions",
      paramLabel = "N",
      converter = Count.class,
      description =
          "How many numbers of a vector are kept, its first ones, of models that were trained for"
              + " that (Matryoshka).")
  Integer dimensions;

  GatunRuntime open() {
    return threads.open();
  }

  /** Refuses options that contradict each other. */
  void check() {
    if (overlap != null && onTooLong != OnTooLong.CHUNK) {
      throw new CliException("--overlap: expected --on-too-long chunk with it");
    }
  }

  /** Whether an option is given that says how texts become vectors. */
  boolean changesVectors() {
    return maxTokens != null || onTooLong != null || overlap != null || dimensions != null;
  }

  /** Loads the model, and checks the options against it. */
  @Override
  TextEmbedder load(GatunRuntime runtime, EmbeddingModelSpec spec) {
    TextEmbedder embedder = super.load(runtime, spec);
    try {
      embedder.tokenize("", maxTokens(embedder));
      embedder.embedAll(List.of(), embedding());
    } catch (IllegalArgumentException e) {
      embedder.close();
      throw new CliException(optionNames(e.getMessage()), e);
    }
    return embedder;
  }

  /** What texts are cut to. */
  int maxTokens(TextEmbedder embedder) {
    return maxTokens == null ? embedder.maxTokens() : maxTokens;
  }

  /** How long vectors are. */
  int dimensions(TextEmbedder embedder) {
    return dimensions == null ? embedder.dimension() : dimensions;
  }

  /** What the options say, with the model's own prompt. */
  EmbeddingOptions embedding() {
    EmbeddingOptions embedding = new EmbeddingOptions();
    if (maxTokens != null) {
      embedding.maxTokens(maxTokens);
    }
    if (onTooLong != null) {
      embedding.onTooLong(onTooLong);
    }
    if (overlap != null) {
      embedding.overlap(overlap);
    }
    if (dimensions != null) {
      embedding.dimensions(dimensions);
    }
    return embedding;
  }

  /** A message about arguments, as one about options. */
  static String optionNames(String message) {
    return message
        .replace("maxTokens", "--max-tokens")
        .replaceFirst("^overlap:", "--overlap:")
        .replaceFirst("^dimensions:", "--dimensions:");
  }
}
