package dev.gatun.cli;

import com.sun.management.ThreadMXBean;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.nn.TextEncoder;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Locale;

/** {@code gatun embed --demo}: real sentences, real weights, and what they cost beside others. */
final class EmbedDemo {
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

  /** Calls of each sentence in one round of the proof, and rounds until the JVM is warm. */
  private static final int CALLS = 50;

  private static final int MOST_ROUNDS = 8;

  private static final List<WeightFormat> FORMATS =
      List.of(WeightFormat.FP32, WeightFormat.BF16, WeightFormat.INT8);

  private final Streams streams;
  private final PrintWriter out;
  private final boolean quiet;

  EmbedDemo(Streams streams, boolean quiet) {
    this.streams = streams;
    this.out = streams.out();
    this.quiet = quiet;
  }

  /** Returns whether the proof succeeded. */
  boolean run(ModelOptions options) {
    EmbeddingModelSpec spec = EmbeddingModelSpec.MINILM;
    try (Progress progress = new Progress(streams, !quiet, "loading " + spec);
        GatunRuntime runtime = options.open();
        Arena arena = Arena.ofShared()) {
      long begin = System.nanoTime();
      try (TextEmbedder model = options.load(runtime, spec);
          Workspace workspace = runtime.newWorkspace()) {
        long loadNanos = System.nanoTime() - begin;
        progress.beside(() -> describe(runtime.info(), model, loadNanos));
        List<int[]> texts =
            SENTENCES.stream().map(sentence -> model.tokenize(sentence).ids()).toList();
        for (int threads : runtime.threads() == 1 ? new int[] {1} : counts(runtime.threads())) {
          progress.set("timing on %d thread%s".formatted(threads, threads == 1 ? "" : "s"));
          EmbedTimes times;
          try (ModelJars _ = options.jars()) {
            times = EmbedTimes.measure(texts, FORMATS, threads);
          } catch (IOException e) {
            throw ModelChoice.refused(e);
          }
          progress.beside(() -> print(times, texts, threads));
        }
        progress.stop(); // what it draws would count
        Tensor[] ids = new Tensor[texts.size()];
        Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, ids.length, model.dimension());
        for (int n = 0; n < ids.length; n++) {
          ids[n] = Tensor.copyOf(arena, texts.get(n), texts.get(n).length);
          model.embed(workspace, ids[n], null, vectors.slice(0, n, n + 1));
        }
        printSimilarities(vectors);
        return prove(model, workspace, ids, vectors);
      }
    }
  }

  private static int[] counts(int threads) {
    return new int[] {1, threads};
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
        "runs on    %s, kernels %s%s%n%n",
        info.cpu(),
        info.tier(),
        info.features().isEmpty() ? "" : " with " + String.join(", ", info.features()));
    out.flush();
  }

  // ---- times -----------------------------------------------------------------------------------

  private void print(EmbedTimes times, List<int[]> texts, int threads) {
    out.printf(
        "%-18s %26s %22s   onnxruntime's time / gatun's%n",
        threads == 1 ? "1 thread, ms" : threads + " threads, ms", "gatun", "onnxruntime");
    out.printf(
        "%-10s %7s %8s %8s %8s %10s %10s %8s %8s %10s%n",
        "sentence", "tokens", "fp32", "bf16", "int8", "fp32", "int8", "fp32", "int8", "bf16/int8");
    for (int n = 0; n < texts.size(); n++) {
      double[] ours = times.ours(n);
      double[] theirs = times.theirs(n);
      out.printf(Locale.ROOT, "%-10s %7d", label(n), texts.get(n).length);
      for (double millis : ours) {
        out.printf(Locale.ROOT, " %8.3f", millis);
      }
      for (double millis : theirs) {
        out.printf(" %10s", number("%.3f", millis));
      }
      out.printf(
          " %8s %8s %10s%n",
          number("%.2f", theirs[0] / ours[0]),
          number("%.2f", theirs[1] / ours[2]),
          number("%.2f", theirs[1] / ours[1]));
    }
    for (String missing : times.missing()) {
      out.println("           " + missing);
    }
    out.printf("           %s%n%n", times.how());
    out.flush();
  }

  private static String number(String format, double value) {
    return Double.isNaN(value) ? "-" : format.formatted(value);
  }

  private void printSimilarities(Tensor vectors) {
    int count = SENTENCES.size();
    for (int n = 0; n < count; n++) {
      String text = SENTENCES.get(n);
      out.printf("%-3s %s%n", label(n), text.length() > 76 ? text.substring(0, 73) + "..." : text);
    }
    out.printf("%n%-4s", "");
    for (int n = 0; n < count; n++) {
      out.printf("%6s", label(n));
    }
    out.println();
    for (int n = 0; n < count; n++) {
      out.printf("%-4s", label(n));
      for (int other = 0; other < count; other++) {
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

  private boolean prove(TextEmbedder model, Workspace workspace, Tensor[] ids, Tensor vectors) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    Tensor[] rows = new Tensor[ids.length];
    for (int n = 0; n < rows.length; n++) {
      rows[n] = vectors.slice(0, n, n + 1);
    }
    int calls = CALLS * ids.length;
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
        for (int i = 0; i < ids.length; i++) {
          model.embed(workspace, ids[i], null, rows[i]);
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
