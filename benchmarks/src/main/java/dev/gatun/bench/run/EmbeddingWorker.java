package dev.gatun.bench.run;

import dev.gatun.WeightFormat;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.peer.EmbeddingEngine;
import dev.gatun.bench.peer.EmbeddingPeer;
import dev.gatun.bench.peer.EmbeddingTexts;
import dev.gatun.bench.peer.EmbeddingTexts.Text;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.Tokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * all-MiniLM-L6-v2 in one way: the contestants of {@link EmbeddingComparison}. A process of its
 * own: {@code EmbeddingWorker quick|full ENGINE THREADS}.
 */
public final class EmbeddingWorker implements BlockServer.Work {

  /** Text by text against the same in a batch: the scale of a whole batch moves int8 that far. */
  private static final double LEAST_COSINE = 0.9;

  /** Asks for the vectors of {@link EmbeddingTexts#varied}, one a text, in a file. */
  static final String VECTORS = "vectors ";

  private final EmbeddingEngine engine;
  private final int texts;

  EmbeddingWorker(EmbeddingEngine engine, int texts) {
    this.engine = engine;
    this.texts = texts;
  }

  static EmbeddingEngine engine(String name, int threads) throws IOException {
    return switch (name) {
      case "onnxruntime" -> new EmbeddingEngine.Onnx("all-minilm-l6-v2.onnx", threads);
      case "onnxruntime-q" -> new EmbeddingEngine.Onnx("all-minilm-l6-v2-q.onnx", threads);
      case "langchain4j" -> new EmbeddingEngine.LangChain4j("all-minilm-l6-v2", threads);
      case "langchain4j-q" -> new EmbeddingEngine.LangChain4j("all-minilm-l6-v2-q", threads);
      case "llama.cpp" -> EmbeddingEngine.llamaCpp(false, threads);
      case "llama.cpp Q8_0" -> EmbeddingEngine.llamaCpp(true, threads);
      case "gatun -q" ->
          new EmbeddingEngine.Gatun(EmbeddingModelSpec.MINILM_Q, WeightFormat.AUTO, threads);
      default ->
          new EmbeddingEngine.Gatun(
              EmbeddingModelSpec.MINILM,
              WeightFormat.valueOf(name.substring("gatun ".length())),
              threads);
    };
  }

  /** How many texts accuracy is measured with. */
  static int texts(boolean quick) {
    return quick ? 60 : EmbeddingTexts.MOST;
  }

  @Override
  public BlockServer.Ready prepare(String what) throws IOException {
    List<Text> batch = EmbeddingTexts.of(what);
    EmbeddingPeer peer;
    try {
      peer = engine.peer(batch);
    } catch (UnsupportedOperationException e) {
      throw new BlockServer.Absent(e.getMessage());
    }
    double cosine = Accuracy.cosine(peer.vector(), engine.vector(batch.getFirst()));
    if (!(cosine >= LEAST_COSINE)) {
      throw new IllegalStateException(
          "%s: expected the vector of a text alone, got one at a cosine of %s"
              .formatted(what, cosine));
    }
    return new BlockServer.Ready(peer, null, engine.note());
  }

  @Override
  public void other(String what) throws IOException {
    if (!what.startsWith(VECTORS)) {
      throw new IOException("expected %s, got %s".formatted(VECTORS, what));
    }
    Tokenizer tokenizer = EmbeddingModelSpec.MINILM.loadTokenizer();
    List<float[]> vectors = new ArrayList<>();
    List<String> all = EmbeddingTexts.varied();
    int count = Math.min(texts, all.size());
    for (int i = 0; i < count; i++) {
      String text = all.get((int) ((long) i * all.size() / count)); // of every language some
      vectors.add(engine.vector(new Text(text, tokenizer.encode(text).ids())));
    }
    Json.write(Path.of(what.substring(VECTORS.length())), vectors);
  }

  /**
   * Serves.
   *
   * @param args {@code quick} or {@code full}, the engine, and how many threads
   * @throws IOException if there is nobody to answer to
   */
  public static void main(String[] args) throws IOException {
    boolean quick = args[0].equals("quick");
    int threads = Integer.parseInt(args[2]);
    // the engine is made at the first question: its failure is an answer
    BlockServer.Work[] made = new BlockServer.Work[1];
    BlockServer.serve(
        new BlockServer.Work() {
          private BlockServer.Work work() throws IOException {
            if (made[0] == null) {
              made[0] = new EmbeddingWorker(engine(args[1], threads), texts(quick));
            }
            return made[0];
          }

          @Override
          public BlockServer.Ready prepare(String what) throws IOException {
            return work().prepare(what);
          }

          @Override
          public void other(String what) throws IOException {
            work().other(what);
          }
        },
        quick,
        threads);
  }
}
