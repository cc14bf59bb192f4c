package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.nn.Sequences;
import java.lang.foreign.Arena;
import java.util.List;

/**
 * The tokens of some texts, one text after the other, for one pass through a model.
 *
 * @param ids {@code [tokens]}
 * @param typeIds {@code [tokens]}
 * @param texts how they are divided
 */
record TokenRows(Tensor ids, Tensor typeIds, Sequences texts) {

  /** What one pass takes of a list of texts: enough for many threads, and bounded memory. */
  private static final int PASS_TOKENS = 4096;

  /** Copies tokens. */
  static TokenRows of(Arena arena, List<Tokenized> texts) {
    int tokens = texts.stream().mapToInt(Tokenized::count).sum();
    int[] ids = new int[tokens];
    int[] types = new int[tokens];
    int[] starts = new int[texts.size() + 1];
    for (int n = 0; n < texts.size(); n++) {
      Tokenized text = texts.get(n);
      System.arraycopy(text.ids(), 0, ids, starts[n], text.count());
      System.arraycopy(text.typeIds(), 0, types, starts[n], text.count());
      starts[n + 1] = starts[n] + text.count();
    }
    return new TokenRows(
        Tensor.copyOf(arena, ids, tokens),
        Tensor.copyOf(arena, types, tokens),
        Sequences.ragged(Tensor.copyOf(arena, starts, starts.length)));
  }

  /** Returns where the pass ends that begins with a text; a longer text is a pass of its own. */
  static int passEnd(List<Tokenized> texts, int first) {
    int end = first + 1;
    int tokens = texts.get(first).count();
    while (end < texts.size() && tokens + texts.get(end).count() <= PASS_TOKENS) {
      tokens += texts.get(end++).count();
    }
    return end;
  }
}
