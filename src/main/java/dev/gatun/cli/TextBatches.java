package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/** Embeds texts one batch after the other: however many there are, memory holds one batch. */
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

  private TextBatches() {}

  /** Texts given on the command line, or of a file: null comes after the last. */
  interface Source {
    String next();

    static Source of(List<String> texts) {
      Iterator<String> rest = texts.iterator();
      return () -> rest.hasNext() ? rest.next() : null;
    }
  }

  /**
   * Embeds all texts.
   *
   * @param total how many there are, or -1
   */
  static void run(
      ModelOptions options,
      TextEmbedder embedder,
      Source source,
      long total,
      Progress progress,
      PrintWriter out,
      Receiver receiver) {
    try (Arena arena = Arena.ofShared()) {
      Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, MOST_TEXTS, embedder.dimension());
      List<String> texts = new ArrayList<>();
      List<Tokenized> tokens = new ArrayList<>();
      String of = total < 0 ? " texts" : " of " + total + " texts";
      long done = 0;
      progress.set("0" + of);
      boolean more = true;
      // A reader that is gone (as "head") leaves nobody to compute for.
      while (more && !out.checkError()) {
        texts.clear();
        tokens.clear();
        long chars = 0;
        long count = 0;
        while (texts.size() < MOST_TEXTS && count < MOST_TOKENS && chars < MOST_CHARS) {
          String text = source.next();
          if (text == null) {
            more = false;
            break;
          }
          texts.add(text);
          tokens.add(options.tokenize(embedder, text));
          chars += text.length();
          count += tokens.getLast().count();
        }
        if (!texts.isEmpty()) {
          Tensor rows = vectors.slice(0, 0, texts.size());
          embedder.embed(tokens, rows);
          for (int n = 0; n < texts.size(); n++) {
            receiver.accept(done + n + 1, texts.get(n), tokens.get(n), rows, n);
          }
        }
        done += texts.size();
        progress.set(done + of);
      }
    }
  }
}
