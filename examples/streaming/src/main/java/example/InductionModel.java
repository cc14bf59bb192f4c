package example;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.Linear;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RMSNorm;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerLayer;
import java.lang.foreign.Arena;
import java.util.List;

/**
 * A model of characters with weights written by hand: what came after the last few characters the
 * last time comes again.
 *
 * <p>A row is vectors side by side: the character, each of the {@link #CONTEXT} characters before
 * it, and the one that comes next. All but the last are one-hot, so that rows have a fixed number
 * of ones, and the gamma of a norm undoes what the norm does.
 */
final class InductionModel {

  /** Characters that are compared. */
  static final int CONTEXT = 6;

  /** T5's numbers; distances below 16 have a bucket of their own. */
  private static final int BUCKETS = 32;

  private static final int MAX_DISTANCE = 128;

  /** Distance of a score from a better one: it weighs e^-40. */
  private static final float NEVER = -40;

  /** What each equal character adds to the score of a place. */
  private static final float EQUAL = 8;

  /** Score of a next character that is certain. */
  private static final float CERTAIN = 10;

  private static final float EPSILON = 1e-6f;

  private final GatunRuntime runtime;
  private final Arena arena;
  private final int vocabulary;
  private final int width;

  private InductionModel(GatunRuntime runtime, Arena arena, int vocabulary) {
    this.runtime = runtime;
    this.arena = arena;
    this.vocabulary = vocabulary;
    this.width = vocabulary * (1 + CONTEXT + 1);
  }

  static DecoderOnlyModel of(GatunRuntime runtime, Arena arena, int vocabulary) {
    return new InductionModel(runtime, arena, vocabulary).model();
  }

  private DecoderOnlyModel model() {
    Tensor table = zeros(vocabulary, width);
    identity(table, 0, before(0), 1);
    List<TransformerLayer> layers =
        List.of(
            new TransformerLayer(looksBack(), norm(1), nothing(), norm(1 + CONTEXT)),
            new TransformerLayer(looksUp(), norm(1 + CONTEXT), nothing(), norm(1 + CONTEXT)));
    Tensor output = zeros(width, vocabulary);
    identity(output, next(), 0, CERTAIN);
    return new DecoderOnlyModel(
        runtime,
        new Embedding(runtime, table, 1, PositionalEncoding.none()),
        new TransformerDecoder(runtime, layers, NormOrder.PRE, null),
        new Linear(runtime, output, null, Activation.NONE));
  }

  /**
   * Head h sees the character h + 1 before and nothing else, by the bias of its distance: queries
   * and keys are 0. Where the text has not begun yet it sees its own. All heads share one value.
   */
  private MultiHeadAttention looksBack() {
    Tensor biases = zeros(BUCKETS, CONTEXT);
    biases.fill(2 * NEVER);
    Tensor value = zeros(width, vocabulary);
    identity(value, before(0), 0, 1);
    Tensor output = zeros(CONTEXT * vocabulary, width);
    for (int h = 0; h < CONTEXT; h++) {
      biases.setFloat(0, PositionalEncoding.bucket(-(h + 1), BUCKETS, MAX_DISTANCE, false), h);
      biases.setFloat(NEVER, PositionalEncoding.bucket(0, BUCKETS, MAX_DISTANCE, false), h);
      identity(output, h * vocabulary, before(h + 1), 1);
    }
    return MultiHeadAttention.builder(runtime, CONTEXT)
        .kvHeads(1)
        .spec(AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build())
        .positions(PositionalEncoding.relativePositions(arena, biases, MAX_DISTANCE, false))
        .query(zeros(width, CONTEXT), null)
        .key(zeros(width, 1), null)
        .value(value, null)
        .output(output, null)
        .build();
  }

  /**
   * The induction head. The query is the character and those before it, the key is the characters
   * before the key's, the value is the key's own: it came after the same characters.
   */
  private MultiHeadAttention looksUp() {
    Tensor query = zeros(width, CONTEXT * vocabulary);
    Tensor key = zeros(width, CONTEXT * vocabulary);
    for (int n = 0; n < CONTEXT; n++) {
      identity(query, before(n), n * vocabulary, EQUAL);
      identity(key, before(n + 1), n * vocabulary, 1);
    }
    Tensor value = zeros(width, vocabulary);
    identity(value, before(0), 0, 1);
    Tensor output = zeros(vocabulary, width);
    identity(output, 0, next(), 1);
    return MultiHeadAttention.builder(runtime, 1)
        .spec(AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).scale(1).build())
        .query(query, null)
        .key(key, null)
        .value(value, null)
        .output(output, null)
        .build();
  }

  /** A block has a feed-forward network; attention does all the work here. */
  private FeedForward nothing() {
    return new FeedForward(runtime, zeros(width, 1), null, Activation.RELU, zeros(1, width), null);
  }

  /** Does nothing to rows of so many ones. */
  private RMSNorm norm(int ones) {
    Tensor gamma = zeros(width);
    gamma.fill((float) Math.sqrt((double) ones / width + EPSILON));
    return new RMSNorm(runtime, gamma, EPSILON);
  }

  /** Where in a row the character is that came n before; 0: the character itself. */
  private int before(int n) {
    return n * vocabulary;
  }

  private int next() {
    return (1 + CONTEXT) * vocabulary;
  }

  private Tensor zeros(long... shape) {
    return Tensor.allocate(arena, DType.FLOAT32, shape);
  }

  private void identity(Tensor matrix, int row, int column, float factor) {
    for (int n = 0; n < vocabulary; n++) {
      matrix.setFloat(factor, row + n, column + n);
    }
  }
}
