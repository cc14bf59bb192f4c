package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * Texts on their way to vectors: tokenized, in chunks where that is asked for, embedded with those
 * that are about as long, and back in the caller's order. What a text's vector is does not depend
 * on its neighbors.
 */
final class TextBatch {

  /** Of a pass; a longer text is a pass of its own. */
  private static final int PASS_TOKENS = 4096;

  private static final int PASS_PIECES = 512;

  /** An eighth of a chunk is what it shares with the one before. */
  private static final int OVERLAP_SHARE = 8;

  /** Gets the vector of a text. */
  interface Receiver {
    void accept(int text, float... vector);
  }

  /** What is embedded as one sequence; content counts its tokens beside prompt and template. */
  private record Piece(int text, int[] ids, int content) {}

  private final TextEmbedder model;
  private final Tokenizer tokenizer;
  private final EmbeddingOptions options;
  private final String prompt;
  private final int maxTokens;
  private final int dimensions;
  private final boolean normalized;
  private final List<Piece> pieces = new ArrayList<>();
  private final List<TextTokens> counts = new ArrayList<>();

  /** Sums over the pieces of a text, weighted by their content; null before the first. */
  private final double[][] sums;

  private final long[] weights;

  /** Pieces of a text that have no vector yet. */
  private final int[] left;

  private final Tensor vectors;
  private int done;

  private TextBatch(
      TextEmbedder model,
      Tokenizer tokenizer,
      EmbeddingOptions options,
      String[] texts,
      Arena arena) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.options = options;
    this.prompt = options.prompt == null ? model.spec().defaultPrompt() : options.prompt;
    this.maxTokens = options.maxTokens == 0 ? model.maxTokens() : options.maxTokens;
    this.dimensions = dimensions(model, options);
    this.normalized = model.encoder().isNormalized();
    for (int n = 0; n < texts.length; n++) {
      try {
        read(n, texts[n]);
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException("texts[%d]: %s".formatted(n, e.getMessage()), e);
      }
    }
    pieces.sort(Comparator.comparingInt((Piece piece) -> piece.ids.length).reversed());
    this.sums = new double[texts.length][];
    this.weights = new long[texts.length];
    this.left = new int[texts.length];
    for (Piece piece : pieces) {
      left[piece.text]++;
    }
    int most = Math.min(pieces.size(), PASS_PIECES);
    this.vectors = Tensor.allocate(arena, DType.FLOAT32, most, model.dimension());
  }

  /** Embeds texts, and returns how much of each was read. */
  static List<TextTokens> embed(
      TextEmbedder model,
      Tokenizer tokenizer,
      EmbeddingOptions options,
      String[] texts,
      Receiver receiver) {
    if (texts.length == 0) {
      dimensions(model, options);
      return List.of();
    }
    try (Arena arena = Arena.ofShared()) {
      TextBatch batch = new TextBatch(model, tokenizer, options, texts, arena);
      batch.run(receiver);
      return List.copyOf(batch.counts);
    }
  }

  /** How long vectors will be. */
  static int dimensions(TextEmbedder model, EmbeddingOptions options) {
    if (options.dimensions > model.dimension()) {
      throw new IllegalArgumentException(
          "dimensions: expected at most %d, the size of a vector of %s, got %d"
              .formatted(model.dimension(), model.spec(), options.dimensions));
    }
    return options.dimensions == 0 ? model.dimension() : options.dimensions;
  }

  /** Refuses a tensor that does not take the vectors. */
  static void requireOutput(Tensor out, int texts, int dimensions) {
    if (out.dtype() != DType.FLOAT32
        || out.rank() != 2
        || out.size(0) != texts
        || out.size(1) != dimensions
        || dimensions > 1 && out.stride(1) != 1
        || out.isReadOnly()) {
      throw new IllegalArgumentException(
          "out: expected [%d, %d] float32 that can be written, rows without gaps, got %s"
              .formatted(texts, dimensions, out));
    }
  }

  /** Writes the vector of a text into its row. */
  static void write(float[] vector, Tensor out, int row) {
    MemorySegment.copy(
        vector,
        0,
        out.segment(),
        ValueLayout.JAVA_FLOAT,
        row * out.stride(0) * Float.BYTES,
        vector.length);
  }

  // ---- text to ids ---------------------------------------------------------------------------

  private void read(int number, String text) {
    Tokenized tokens = model.tokenize(prompt, text, maxTokens);
    if (!tokens.truncated() || options.onTooLong == OnTooLong.CUT) {
      pieces.add(new Piece(number, tokens.ids(), 1));
      counts.add(new TextTokens(tokens.count(), tokens.originalCount(), 1));
    } else if (options.onTooLong == OnTooLong.CHUNK) {
      chunk(number, text);
    } else {
      throw new IllegalArgumentException(
          "expected at most %d tokens, got %d".formatted(maxTokens, tokens.originalCount()));
    }
  }

  private void chunk(int number, String text) {
    int[] before = tokenizer.template().before();
    int[] after = tokenizer.template().after();
    int[] all = tokenizer.encode(prompt + text, Integer.MAX_VALUE).ids();
    int[] content = Arrays.copyOfRange(all, before.length, all.length - after.length);
    int[] asked = tokenizer.encode(prompt, maxTokens).ids();
    int[] prefix = Arrays.copyOfRange(asked, before.length, asked.length - after.length);
    // Its last token may be another one where the text goes on without a space.
    int shared = Arrays.mismatch(prefix, content);
    int head = before.length + (shared < 0 ? prefix.length : shared);
    int window = maxTokens - head - after.length;
    int overlap = options.overlap < 0 ? window / OVERLAP_SHARE : options.overlap;
    if (overlap >= window) {
      throw new IllegalArgumentException(
          window < 1
              ? "expected maxTokens that leave room behind the prompt, got " + maxTokens
              : "overlap: expected fewer than the %d tokens of a chunk, got %d"
                  .formatted(window, overlap));
    }
    int chunks = 0;
    int end;
    int begin = head;
    do {
      end = Math.min(begin + window, all.length - after.length);
      int[] ids = new int[head + end - begin + after.length];
      System.arraycopy(all, 0, ids, 0, head);
      System.arraycopy(all, begin, ids, head, end - begin);
      System.arraycopy(after, 0, ids, head + end - begin, after.length);
      pieces.add(new Piece(number, ids, end - begin));
      begin += window - overlap;
      chunks++;
    } while (end < all.length - after.length);
    counts.add(new TextTokens(all.length, all.length, chunks));
  }

  // ---- ids to vectors ------------------------------------------------------------------------

  private void run(Receiver receiver) {
    int promptTokens = model.promptTokens(prompt);
    for (int first = 0; first < pieces.size(); ) {
      int end = first;
      for (int tokens = 0; end < pieces.size() && end - first < PASS_PIECES; end++) {
        tokens += pieces.get(end).ids.length;
        if (end > first && tokens > PASS_TOKENS) {
          break;
        }
      }
      List<int[]> ids = pieces.subList(first, end).stream().map(Piece::ids).toList();
      model.embed(ids, promptTokens, vectors.slice(0, 0, end - first));
      for (int n = first; n < end; n++) {
        finish(pieces.get(n), vectors.select(0, n - first).toFloatArray(), receiver);
      }
      options.progress.embedded(done, left.length);
      first = end;
    }
  }

  /** Takes the vector of a piece; the last one of a text completes the text's. */
  private void finish(Piece piece, float[] vector, Receiver receiver) {
    int text = piece.text;
    boolean whole = counts.get(text).chunks() == 1;
    left[text]--;
    if (whole && dimensions == vector.length) {
      receiver.accept(text, vector);
      done++;
      return;
    }
    if (sums[text] == null) {
      sums[text] = new double[dimensions];
    }
    double[] sum = sums[text];
    for (int i = 0; i < dimensions; i++) {
      sum[i] += (double) piece.content * vector[i];
    }
    weights[text] += piece.content;
    if (left[text] == 0) {
      receiver.accept(text, mean(sum, weights[text]));
      sums[text] = null;
      done++;
    }
  }

  private float[] mean(double[] sum, long weight) {
    double divisor = weight;
    if (normalized) {
      double squares = 0;
      for (double x : sum) {
        squares += x * x;
      }
      divisor = squares == 0 ? 1 : Math.sqrt(squares);
    }
    float[] vector = new float[sum.length];
    for (int i = 0; i < vector.length; i++) {
      vector[i] = (float) (sum[i] / divisor);
    }
    return vector;
  }
}
