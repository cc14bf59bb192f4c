package dev.gatun.cli;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.nio.file.Path;
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

  GatunRuntime open() {
    return threads.open();
  }

  /** Loads the model, and checks what texts are to be cut to. */
  @Override
  TextEmbedder load(GatunRuntime runtime, EmbeddingModelSpec spec) {
    TextEmbedder embedder = super.load(runtime, spec);
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
