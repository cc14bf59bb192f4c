package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;

/**
 * Embeds texts one batch after the other: however many there are, memory holds one batch. Counts
 * them, and says at the end how fast that was and what was cut.
 */
final class TextBatches {
  private static final int MOST_TEXTS = 256;
  private static final int MOST_TOKENS = 4096;
  private static final int MOST_CHARS = 1 << 20;

  /** Gets the result of one text. */
  interface Receiver {
    /**
     * Takes a text.
     *
     * @param number from 1 on
     * @param vectors {@code [texts, dimension]}
     * @param row its row of vectors
     */
    void accept(long number, String text, Tokenized tokens, Tensor vectors, int row);
  }

  /** Texts given on the command line, or of a file: null comes after the last. */
  interface Source {
    String next();

    static Source of(List<String> texts) {
      Iterator<String> rest = texts.iterator();
      return () -> rest.hasNext() ? rest.next() : null;
    }
  }

  private final ModelOptions options;
  private final Verbosity verbosity;
  private final TextEmbedder embedder;
  private final Streams streams;
  private final Progress progress;
  private long texts;
  private long tokens;
  private long cuts;
  private long nanos;

  TextBatches(
      ModelOptions options,
      Verbosity verbosity,
      TextEmbedder embedder,
      Streams streams,
      Progress progress) {
    this.options = options;
    this.verbosity = verbosity;
    this.embedder = embedder;
    this.streams = streams;
    this.progress = progress;
  }

  /** Embeds all texts of a source, one of which is called so; total is -1 where it is unknown. */
  void run(String kind, Source source, long total, Receiver receiver) {
    long begin = System.nanoTime();
    try (Arena arena = Arena.ofShared()) {
      Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, MOST_TEXTS, embedder.dimension());
      List<String> batch = new ArrayList<>();
      List<Tokenized> tokenized = new ArrayList<>();
      String of = total < 0 ? " texts" : " of " + total + " texts";
      long done = 0;
      progress.set("0" + of);
      boolean more = true;
      // A reader that is gone (as "head") leaves nobody to compute for.
      while (more && !streams.out().checkError()) {
        batch.clear();
        tokenized.clear();
        long chars = 0;
        long count = 0;
        while (batch.size() < MOST_TEXTS && count < MOST_TOKENS && chars < MOST_CHARS) {
          String text = source.next();
          if (text == null) {
            more = false;
            break;
          }
          batch.add(text);
          tokenized.add(tokenize(kind, done + batch.size(), text));
          chars += text.length();
          count += tokenized.getLast().count();
        }
        if (!batch.isEmpty()) {
          Tensor rows = vectors.slice(0, 0, batch.size());
          embedder.embed(tokenized, rows);
          long first = done + 1;
          progress.beside(
              () -> {
                for (int n = 0; n < batch.size(); n++) {
                  receiver.accept(first + n, batch.get(n), tokenized.get(n), rows, n);
                  countCut(kind, first + n, tokenized.get(n));
                }
              });
        }
        done += batch.size();
        tokens += count;
        progress.set(done + of);
      }
      texts += done;
    }
    nanos += System.nanoTime() - begin;
  }

  private Tokenized tokenize(String kind, long number, String text) {
    try {
      return options.tokenize(embedder, text);
    } catch (IllegalArgumentException e) {
      throw new CliException("%s %d: %s".formatted(kind, number, e.getMessage()), e);
    }
  }

  private void countCut(String kind, long number, Tokenized text) {
    if (text.truncated()) {
      cuts++;
      if (verbosity.isVerbose()) {
        progress.note(
            "%s %d was cut from %d to %d tokens"
                .formatted(kind, number, text.originalCount(), text.count()));
      }
    }
  }

  /** Says on standard error what was cut: nothing is cut silently. */
  void reportCuts() {
    if (cuts > 0 && !verbosity.isQuiet()) {
      progress.note(
          "%s cut to %d tokens%s"
              .formatted(
                  counted(cuts, "text"),
                  options.maxTokens(embedder),
                  verbosity.isVerbose() ? "" : "; --verbose lists them"));
    }
  }

  /** Says on standard error how fast it went, to whoever watches. */
  void reportRates() {
    if (verbosity.isVerbose() || streams.errIsTerminal() && !verbosity.isQuiet()) {
      double seconds = nanos / 1e9;
      progress.note(
          String.format(
              Locale.ROOT,
              "%s, %s in %.2f s: %.1f texts/s, %.1f tokens/s",
              counted(texts, "text"),
              counted(tokens, "token"),
              seconds,
              texts / seconds,
              tokens / seconds));
    }
  }

  private static String counted(long count, String what) {
    return count + " " + what + (count == 1 ? "" : "s");
  }
}
