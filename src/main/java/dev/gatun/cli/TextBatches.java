package dev.gatun.cli;

import dev.gatun.model.Embeddings;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.TextTokens;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Embeds texts one batch after the other: however many there are, memory holds one batch. Counts
 * them, and says at the end how fast that was and what was cut.
 */
final class TextBatches {
  private static final int MOST_TEXTS = 256;

  /** Some thousand tokens. */
  private static final int MOST_CHARS = 1 << 14;

  private static final Pattern REFUSED_TEXT =
      Pattern.compile("texts\\[(\\d+)]: (.*)", Pattern.DOTALL);

  /** Gets the result of one text. */
  interface Receiver {
    /**
     * Takes a text.
     *
     * @param number from 1 on
     */
    void accept(long number, String text, TextTokens tokens, float... vector);
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

  /**
   * Embeds all texts of a source.
   *
   * @param kind what one of them is called
   * @param prompt what is put before each; null for what the model says
   * @param total -1 where it is unknown
   */
  void run(String kind, String prompt, Source source, long total, Receiver receiver) {
    long begin = System.nanoTime();
    List<String> batch = new ArrayList<>();
    String of = total < 0 ? " texts" : " of " + total + " texts";
    long done = 0;
    progress.set("0" + of);
    boolean more = true;
    // A reader that is gone (as "head") leaves nobody to compute for.
    while (more && !streams.out().checkError()) {
      batch.clear();
      long chars = 0;
      while (batch.size() < MOST_TEXTS && chars < MOST_CHARS) {
        String text = source.next();
        if (text == null) {
          more = false;
          break;
        }
        batch.add(text);
        chars += text.length();
      }
      long before = done;
      if (!batch.isEmpty()) {
        Embeddings found = embed(kind, prompt, before, batch);
        progress.beside(
            () -> {
              for (int n = 0; n < batch.size(); n++) {
                TextTokens read = found.texts().get(n);
                receiver.accept(before + n + 1, batch.get(n), read, found.vectors()[n]);
                countCut(kind, before + n + 1, read);
              }
            });
      }
      done += batch.size();
      progress.set(done + of);
    }
    texts += done;
    nanos += System.nanoTime() - begin;
  }

  private Embeddings embed(String kind, String prompt, long before, List<String> batch) {
    try {
      Embeddings found = embedder.embedAll(batch, options.embedding().prompt(prompt));
      for (TextTokens text : found.texts()) {
        tokens += text.count();
      }
      return found;
    } catch (IllegalArgumentException e) {
      Matcher refused = REFUSED_TEXT.matcher(e.getMessage());
      if (!refused.matches()) {
        throw new CliException(ModelOptions.optionNames(e.getMessage()), e);
      }
      throw new CliException(
          "%s %d: %s"
              .formatted(
                  kind,
                  before + Integer.parseInt(refused.group(1)) + 1,
                  ModelOptions.optionNames(refused.group(2))),
          e);
    }
  }

  private void countCut(String kind, long number, TextTokens text) {
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
