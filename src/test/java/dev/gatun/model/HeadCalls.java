package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.PackedWeight;
import dev.gatun.nn.Pooling;
import dev.gatun.nn.SequenceClassifier;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;

/**
 * What classifiers of texts, rerankers, classifiers of tokens and masked language models call from
 * ids to scores, for the programs of {@link dev.gatun.support.ChildMain}: lengths vary, ragged and
 * not, with token types and without.
 */
public final class HeadCalls implements Runnable {
  private static final int WIDTH = 24;
  private static final int WORDS = 50;
  private static final int LABELS = 3;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Workspace workspace = runtime.newWorkspace();
  private final Random random = new Random(4);
  private final Arena arena;
  private final SequenceClassifier[] classifiers;
  private final TokenScorer[] scorers;
  private final Tensor[] ids = new Tensor[4];
  private final Tensor[] types = new Tensor[4];
  private final Sequences[] texts = new Sequences[4];
  private final Tensor[] scores = new Tensor[4];
  private final Tensor[][] tokens = new Tensor[4][];
  private final Tensor[] hidden = new Tensor[4];
  private final Tensor[] single = new Tensor[4];
  private int calls;

  /** Makes an encoder, and each kind of head on it. */
  public HeadCalls(Arena arena) {
    this.arena = arena;
    Weights weights = Weights.of(bert());
    TextEncoder encoder = Bert.of(runtime, weights.packed(arena, WeightFormat.FP32), 2, 3);
    LayerNorm norm = new LayerNorm(runtime, normal(WIDTH), normal(WIDTH), 1e-5f);
    Linear dense = linear(WIDTH, Activation.GELU);
    classifiers =
        new SequenceClassifier[] {
          new SequenceClassifier(encoder, linear(WIDTH, Activation.NONE), true, linear(1)),
          new SequenceClassifier(encoder, dense, false, linear(LABELS)),
          new SequenceClassifier(encoder, Pooling.MEAN, dense, false, norm, linear(LABELS))
        };
    scorers =
        new TokenScorer[] {
          new TokenScorer(encoder, null, null, linear(LABELS)),
          new TokenScorer(encoder, dense, norm, linear(WORDS))
        };
    for (int n = 0; n < ids.length; n++) {
      int length = 3 + 5 * n;
      int[] ends = {0, 2, length};
      ids[n] = Tensor.copyOf(arena, random.ints(length, 0, WORDS).toArray(), length);
      types[n] = Tensor.copyOf(arena, random.ints(length, 0, 2).toArray(), length);
      texts[n] = Sequences.ragged(Tensor.copyOf(arena, ends, ends.length));
      single[n] = Tensor.allocate(arena, DType.FLOAT32, 2, 1);
      scores[n] = Tensor.allocate(arena, DType.FLOAT32, 2, LABELS);
      tokens[n] =
          new Tensor[] {
            Tensor.allocate(arena, DType.FLOAT32, length, LABELS),
            Tensor.allocate(arena, DType.FLOAT32, length, WORDS)
          };
      hidden[n] = Tensor.allocate(arena, DType.FLOAT32, length, WIDTH);
    }
  }

  private Map<String, Tensor> bert() {
    Map<String, Tensor> all = new HashMap<>();
    all.put("embeddings.word_embeddings.weight", normal(WORDS, WIDTH));
    all.put("embeddings.position_embeddings.weight", normal(20, WIDTH));
    all.put("embeddings.token_type_embeddings.weight", normal(2, WIDTH));
    norm(all, "embeddings.LayerNorm");
    for (int n = 0; n < 2; n++) {
      String layer = "encoder.layer." + n + ".";
      for (String name : new String[] {"self.query", "self.key", "self.value", "output.dense"}) {
        dense(all, layer + "attention." + name, WIDTH, WIDTH);
      }
      norm(all, layer + "attention.output.LayerNorm");
      dense(all, layer + "intermediate.dense", 2 * WIDTH, WIDTH);
      dense(all, layer + "output.dense", WIDTH, 2 * WIDTH);
      norm(all, layer + "output.LayerNorm");
    }
    return all;
  }

  private void dense(Map<String, Tensor> all, String name, int out, int in) {
    all.put(name + ".weight", normal(out, in));
    all.put(name + ".bias", normal(out));
  }

  private void norm(Map<String, Tensor> all, String name) {
    all.put(name + ".weight", normal(WIDTH));
    all.put(name + ".bias", normal(WIDTH));
  }

  private Tensor normal(long... shape) {
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    float[] values = new float[(int) count];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (0.2 * random.nextGaussian());
    }
    return Tensor.copyOf(arena, values, shape);
  }

  private Linear linear(int out) {
    return linear(out, Activation.NONE);
  }

  private Linear linear(int out, Activation activation) {
    PackedWeight weight = PackedWeight.pack(runtime, arena, WeightFormat.FP32, normal(WIDTH, out));
    return new Linear(runtime, weight, normal(out), activation);
  }

  @Override
  public void run() {
    int n = calls++ % ids.length;
    Workspace lent = calls % 3 == 0 ? null : workspace;
    for (SequenceClassifier classifier : classifiers) {
      Tensor out = classifier.scores() == 1 ? single[n] : scores[n];
      classifier.forward(lent, ids[n], calls % 2 == 0 ? types[n] : null, texts[n], out);
    }
    for (int k = 0; k < scorers.length; k++) {
      scorers[k].forward(lent, ids[n], calls % 2 == 0 ? types[n] : null, texts[n], tokens[n][k]);
    }
    scorers[1].score(lent, hidden[n], tokens[n][1]);
  }
}
