package dev.gatun.cli;

import com.sun.management.ThreadMXBean;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.Blas;
import dev.gatun.internal.Messages;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** {@code gatun embed --demo}: real sentences, real weights, and what they cost. */
final class EmbedDemo {
  private static final String MODEL = "all-minilm-l6-v2.onnx";

  private static final List<String> SENTENCES =
      List.of(
          "A cat is sleeping in the sun.",
          "The kitten dozes on a warm windowsill.",
          "Shares fell sharply after the central bank raised interest rates.",
          "Stock markets dropped when borrowing became more expensive.",
          "How do I bake a loaf of bread without yeast?",
          "Soda bread needs no yeast: bicarbonate of soda and buttermilk make it rise.",
          "The train to Hamburg is delayed.",
          "Attention computes, for every query, a weighted mean of the values: the weights are the"
              + " softmax of the scaled dot products of that query with all keys. Done naively, the"
              + " matrix of scores is written to memory and read again; done in tiles with a"
              + " running maximum and a running sum, it never exists, and the time is that of the"
              + " arithmetic rather than that of the memory.");

  private static final int ROUNDS = 15;

  /** Before the timing, so that it does not meet the JVM's compiler at work. */
  private static final long WARM_NANOS = 2_000_000_000L;

  /** Longer than idle threads of either side look for work before they sleep. */
  private static final long PAUSE_MILLIS = 20;

  /** Calls of each sentence in one round of the proof, and rounds until the JVM is warm. */
  private static final int CALLS = 50;

  private static final int MOST_ROUNDS = 8;

  private final Streams streams;
  private final PrintWriter out;
  private final boolean quiet;

  EmbedDemo(Streams streams, boolean quiet) {
    this.streams = streams;
    this.out = streams.out();
    this.quiet = quiet;
  }

  private static final class Sentence {
    final Tensor ids;
    final Sequences text;
    final Tensor vector;
    final double[] ours = new double[ROUNDS];
    final double[] theirs = new double[ROUNDS];
    Map<String, Object> inputs;

    Sentence(Arena arena, int[] tokens, Tensor vector) {
      ids = Tensor.copyOf(arena, tokens, tokens.length);
      text = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, tokens.length}, 2));
      this.vector = vector;
    }
  }

  /** Returns whether the proof succeeded. */
  boolean run(ModelOptions options) {
    EmbeddingModelSpec spec = EmbeddingModelSpec.MINILM;
    try (Progress progress = new Progress(streams, !quiet, "loading " + spec);
        GatunRuntime runtime = options.open()) {
      long begin = System.nanoTime();
      try (TextEmbedder model = options.load(runtime, spec);
          Workspace workspace = runtime.newWorkspace();
          Arena arena = Arena.ofShared()) {
        long loadNanos = System.nanoTime() - begin;
        progress.beside(() -> describe(runtime.info(), model, loadNanos));
        Sentence[] sentences = new Sentence[SENTENCES.size()];
        Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, sentences.length, model.dimension());
        for (int n = 0; n < sentences.length; n++) {
          Tokenized tokens = model.tokenize(SENTENCES.get(n));
          sentences[n] = new Sentence(arena, tokens.ids(), vectors.slice(0, n, n + 1));
        }
        progress.set("timing");
        String missing = time(model, workspace, sentences, runtime.threads());
        progress.stop(); // what it draws would count
        print(sentences, vectors, missing, runtime.threads());
        return prove(model, workspace, sentences);
      }
    }
  }

  private void describe(RuntimeInfo info, TextEmbedder model, long loadNanos) {
    TextEncoder encoder = model.encoder().textEncoder();
    out.printf(
        Locale.ROOT,
        "model      all-MiniLM-L6-v2: %d layers, %d wide, %d heads, loaded in %.2f s%n",
        encoder.layers().size(),
        encoder.dim(),
        encoder.layers().getFirst().selfAttention().heads(),
        loadNanos / 1e9);
    out.printf(
        "runs on    %s, kernels %s, OpenBLAS %s, %d thread%s%n",
        info.cpu(), info.tier(), Blas.coreName(), info.threads(), info.threads() == 1 ? "" : "s");
    OpenBlasEnvironment.forced()
        .forEach(
            (variable, effect) ->
                out.printf("note       %s=%s%n", variable, Messages.line(effect)));
    out.println();
    out.flush();
  }

  /**
   * Times ours and theirs in turn, so that both meet the same machine. After a change of sides
   * there is a pause, since the other's threads may still spin, and a call that is not counted.
   *
   * @return why ONNX Runtime was not timed, or null
   */
  private String time(TextEmbedder model, Workspace workspace, Sentence[] sentences, int threads) {
    String missing = null;
    OnnxRuntimePeer peer = null;
    if (OnnxRuntimePeer.isPresent()) {
      try {
        peer = OnnxRuntimePeer.load(MODEL, threads);
        for (Sentence sentence : sentences) {
          sentence.inputs = peer.inputs(toArray(sentence.ids));
        }
      } catch (Throwable e) {
        missing = "onnxruntime cannot be used: " + e;
        close(peer);
        peer = null;
      }
    } else {
      missing = "onnxruntime is absent: put its jar into target/lib/classpath";
    }
    try {
      warm(model, workspace, sentences, peer);
      for (int round = 0; round < ROUNDS; round++) {
        Thread.sleep(PAUSE_MILLIS);
        model.embed(workspace, sentences[0].ids, sentences[0].text, sentences[0].vector);
        for (Sentence sentence : sentences) {
          long begin = System.nanoTime();
          model.embed(workspace, sentence.ids, sentence.text, sentence.vector);
          sentence.ours[round] = System.nanoTime() - begin;
        }
        if (peer != null) {
          Thread.sleep(PAUSE_MILLIS);
          peer.run(sentences[0].inputs);
          for (Sentence sentence : sentences) {
            long begin = System.nanoTime();
            peer.run(sentence.inputs);
            sentence.theirs[round] = System.nanoTime() - begin;
          }
        }
      }
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      missing = "interrupted";
    } catch (Throwable e) {
      missing = "onnxruntime failed: " + e;
    } finally {
      close(peer);
    }
    return missing;
  }

  private static void warm(
      TextEmbedder model, Workspace workspace, Sentence[] sentences, OnnxRuntimePeer peer)
      throws Throwable {
    long begin = System.nanoTime();
    do {
      for (Sentence sentence : sentences) {
        model.embed(workspace, sentence.ids, sentence.text, sentence.vector);
        if (peer != null) {
          peer.run(sentence.inputs);
        }
      }
    } while (System.nanoTime() - begin < WARM_NANOS);
  }

  private static void close(OnnxRuntimePeer peer) {
    if (peer != null) {
      peer.close();
    }
  }

  private static int[] toArray(Tensor ids) {
    return ids.segment().toArray(ValueLayout.JAVA_INT);
  }

  private static double medianMillis(double... nanos) {
    double[] sorted = nanos.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2] / 1e6;
  }

  private void print(Sentence[] sentences, Tensor vectors, String missing, int threads) {
    out.printf(
        "%-3s %-52s %6s %9s %12s %6s%n", "", "sentence", "tokens", "gatun", "onnxruntime", "ratio");
    for (int n = 0; n < sentences.length; n++) {
      String text = SENTENCES.get(n);
      double ours = medianMillis(sentences[n].ours);
      out.printf(
          Locale.ROOT,
          "%-3s %-52s %6d %6.2f ms",
          label(n),
          text.length() > 52 ? text.substring(0, 49) + "..." : text,
          sentences[n].ids.elements(),
          ours);
      if (missing == null) {
        double theirs = medianMillis(sentences[n].theirs);
        out.printf(Locale.ROOT, " %9.2f ms %6.2f", theirs, ours / theirs);
      }
      out.println();
    }
    if (missing != null) {
      out.println("    " + missing);
    }
    out.printf(
        "    median of %d calls on %d thread%s; gatun: ids to vector, onnxruntime: ids to last"
            + " hidden state%n%n",
        ROUNDS, threads, threads == 1 ? "" : "s");
    out.printf("%-4s", "");
    for (int n = 0; n < sentences.length; n++) {
      out.printf("%6s", label(n));
    }
    out.println();
    for (int n = 0; n < sentences.length; n++) {
      out.printf("%-4s", label(n));
      for (int other = 0; other < sentences.length; other++) {
        out.printf(Locale.ROOT, "%6.2f", dot(vectors, n, other));
      }
      out.println();
    }
    out.println();
    out.flush();
  }

  private static String label(int n) {
    return String.valueOf((char) ('A' + n));
  }

  private static double dot(Tensor vectors, int a, int b) {
    double sum = 0;
    for (int i = 0; i < vectors.size(1); i++) {
      sum += (double) vectors.getFloat(a, i) * vectors.getFloat(b, i);
    }
    return sum;
  }

  // ---- the proof -----------------------------------------------------------------------------

  private boolean prove(TextEmbedder model, Workspace workspace, Sentence[] sentences) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    int calls = CALLS * sentences.length;
    long bytes = 0;
    long collections = 0;
    long warmBytes = 0;
    int round = 0;
    while (true) {
      collections = collections();
      // The first of two readings allocates what reading itself needs.
      threads.getTotalThreadAllocatedBytes();
      long before = threads.getTotalThreadAllocatedBytes();
      for (int n = 0; n < CALLS; n++) {
        for (Sentence sentence : sentences) {
          model.embed(workspace, sentence.ids, sentence.text, sentence.vector);
        }
      }
      bytes = threads.getTotalThreadAllocatedBytes() - before;
      collections = collections() - collections;
      if (bytes == 0 && collections == 0 || ++round == MOST_ROUNDS) {
        break;
      }
      warmBytes += bytes;
    }
    int warmCalls = Math.min(round, MOST_ROUNDS - 1) * calls;
    out.printf(
        "proof      %d heap bytes by all threads and %d garbage collections in %d calls from ids to"
            + " vector,%n           after %d calls with %d bytes while the JVM was still"
            + " compiling%n",
        bytes, collections, calls, warmCalls, warmBytes);
    long id = Thread.currentThread().threadId();
    long before = threads.getThreadAllocatedBytes(id);
    for (int n = 0; n < CALLS; n++) {
      for (String sentence : SENTENCES) {
        model.tokenize(sentence);
      }
    }
    out.printf(
        "tokenizer  %d heap bytes a sentence, before that%n",
        (threads.getThreadAllocatedBytes(id) - before) / (CALLS * SENTENCES.size()));
    return bytes == 0 && collections == 0;
  }

  private static long collections() {
    return ManagementFactory.getGarbageCollectorMXBeans().stream()
        .mapToLong(bean -> Math.max(0, bean.getCollectionCount()))
        .sum();
  }
}
