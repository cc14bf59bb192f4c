package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Times of a model beside ONNX Runtime's, in milliseconds a text: each system in blocks of calls,
 * as a service runs, and the subjects' blocks in turn, so that all meet the same machine.
 */
final class EmbedTimes {
  private static final List<String> THEIR_MODELS =
      List.of("all-minilm-l6-v2.onnx", "all-minilm-l6-v2-q.onnx");

  private static final int ROUNDS = 9;
  private static final long BLOCK_NANOS = 8_000_000;

  /** Before the timing, so that it does not meet the JVM's compiler at work. */
  private static final long WARM_NANOS = 600_000_000;

  /** Longer than idle threads of either side look for work before they sleep. */
  private static final long PAUSE_MILLIS = 50;

  /** What is timed: a model that embeds one text after the other. */
  private interface Subject extends AutoCloseable {
    void run(int text) throws Throwable;

    @Override
    void close();
  }

  private final List<String> missing = new ArrayList<>();
  private final double[][] millis;
  private final int ours;
  private final int threads;

  private EmbedTimes(int texts, int ours, int threads) {
    this.ours = ours;
    this.threads = threads;
    this.millis = new double[texts][ours + THEIR_MODELS.size()];
    for (double[] row : millis) {
      Arrays.fill(row, Double.NaN);
    }
  }

  /**
   * Measures.
   *
   * @param texts token ids of each
   * @param formats of Gatun's weights
   * @param threads of each system
   */
  static EmbedTimes measure(List<int[]> texts, List<WeightFormat> formats, int threads)
      throws IOException {
    EmbedTimes times = new EmbedTimes(texts.size(), formats.size(), threads);
    Subject[] subjects = new Subject[formats.size() + THEIR_MODELS.size()];
    try {
      for (int n = 0; n < formats.size(); n++) {
        subjects[n] = new Ours(texts, formats.get(n), threads);
      }
      for (int n = 0; n < THEIR_MODELS.size(); n++) {
        subjects[formats.size() + n] = times.theirs(THEIR_MODELS.get(n), texts, threads);
      }
      times.measure(subjects);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      times.missing.add("interrupted");
    } finally {
      for (Subject system : subjects) {
        if (system != null) {
          system.close();
        }
      }
    }
    return times;
  }

  private Subject theirs(String model, List<int[]> texts, int threads) {
    if (!OnnxRuntimePeer.isPresent()) {
      missing.add("onnxruntime is absent: put its jar into target/lib/classpath");
      return null;
    }
    try {
      return new Theirs(model, texts, threads);
    } catch (Throwable e) {
      missing.add("onnxruntime does not run %s: %s".formatted(model, e));
      return null;
    }
  }

  /** In each round every subject has a turn, in which it embeds all texts. */
  private void measure(Subject[] subjects) throws InterruptedException {
    int texts = millis.length;
    int[][] calls = new int[subjects.length][texts];
    double[][][] rounds = new double[subjects.length][texts][ROUNDS];
    for (int round = -1; round < ROUNDS; round++) {
      for (int n = 0; n < subjects.length; n++) {
        Thread.sleep(threads > 1 ? PAUSE_MILLIS : 1);
        for (int text = 0; text < texts && subjects[n] != null; text++) {
          if (round < 0) {
            calls[n][text] = warm(subjects, n, text);
          } else {
            rounds[n][text][round] = block(subjects, n, text, calls[n][text]);
          }
        }
      }
    }
    for (int n = 0; n < subjects.length; n++) {
      for (int text = 0; text < texts && subjects[n] != null; text++) {
        Arrays.sort(rounds[n][text]);
        millis[text][n] = rounds[n][text][ROUNDS / 2];
      }
    }
  }

  /** Returns how many calls make a block. */
  private int warm(Subject[] subjects, int n, int text) {
    long begin = System.nanoTime();
    long nanos = text == 0 ? WARM_NANOS : BLOCK_NANOS;
    int count = 0;
    do {
      block(subjects, n, text, 1);
      count++;
    } while (subjects[n] != null && System.nanoTime() - begin < nanos);
    long each = Math.max(1, (System.nanoTime() - begin) / count);
    return (int) Math.max(2, BLOCK_NANOS / each);
  }

  /** Milliseconds a call. A first call, after the other subjects', is not counted. */
  private double block(Subject[] subjects, int n, int text, int calls) {
    try {
      subjects[n].run(text);
      long begin = System.nanoTime();
      for (int call = 0; call < calls; call++) {
        subjects[n].run(text);
      }
      return (System.nanoTime() - begin) / 1e6 / calls;
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      missing.add("onnxruntime failed: " + e);
      subjects[n].close();
      subjects[n] = null;
      return Double.NaN;
    }
  }

  // ---- results ---------------------------------------------------------------------------------

  /** Of Gatun, a number for each format. */
  double[] ours(int text) {
    return Arrays.copyOf(millis[text], ours);
  }

  /** Of ONNX Runtime, in fp32 and int8; NaN for what is missing. */
  double[] theirs(int text) {
    return Arrays.copyOfRange(millis[text], ours, millis[text].length);
  }

  /** Why something was not timed. */
  List<String> missing() {
    return missing.stream().distinct().toList();
  }

  /** How it was measured, on one line. */
  String how() {
    return String.format(
        Locale.ROOT,
        "medians of %d blocks of %d ms in turn, %d thread%s each; gatun: ids to vector,"
            + " onnxruntime: ids to last hidden state",
        ROUNDS,
        BLOCK_NANOS / 1_000_000,
        threads,
        threads == 1 ? "" : "s");
  }

  // ---- subjects ---------------------------------------------------------------------------------

  private static final class Ours implements Subject {
    private final Arena arena = Arena.ofShared();
    private final GatunRuntime runtime;
    private final TextEmbedder model;
    private final Workspace workspace;
    private final Tensor[] ids;
    private final Tensor vector;

    Ours(List<int[]> texts, WeightFormat format, int threads) throws IOException {
      runtime = GatunRuntime.builder().threads(threads).build();
      try {
        model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM, format);
      } catch (IOException | RuntimeException e) {
        runtime.close();
        arena.close();
        throw e;
      }
      workspace = runtime.newWorkspace();
      vector = Tensor.allocate(arena, DType.FLOAT32, 1, model.dimension());
      ids =
          texts.stream()
              .map(text -> Tensor.copyOf(arena, text, 1, text.length))
              .toArray(Tensor[]::new);
    }

    @Override
    public void run(int text) {
      model.embed(workspace, ids[text], null, vector);
    }

    @Override
    public void close() {
      model.close();
      runtime.close();
      arena.close();
    }
  }

  private static final class Theirs implements Subject {
    private final OnnxRuntimePeer peer;
    private final List<Map<String, Object>> inputs = new ArrayList<>();

    Theirs(String model, List<int[]> texts, int threads) throws Throwable {
      peer = OnnxRuntimePeer.load(model, threads);
      for (int[] text : texts) {
        inputs.add(peer.inputs(text));
      }
    }

    @Override
    public void run(int text) throws Throwable {
      peer.run(inputs.get(text));
    }

    @Override
    public void close() {
      peer.close();
    }
  }
}
