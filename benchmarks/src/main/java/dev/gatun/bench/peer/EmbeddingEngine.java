package dev.gatun.bench.peer;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.bench.measure.Peer;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.onnx.AbstractInProcessEmbeddingModel;
import dev.langchain4j.model.embedding.onnx.OnnxBertBiEncoder;
import dev.langchain4j.model.embedding.onnx.PoolingMode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** all-MiniLM-L6-v2 loaded in one way: it makes the peers of batches, and vectors of texts. */
public abstract class EmbeddingEngine implements AutoCloseable {
  private static final double SHORT_SECONDS = 0.3;

  /** llama.cpp with the model's matrices in float32 or Q8_0. */
  public static EmbeddingEngine llamaCpp(boolean quantized, int threads) throws IOException {
    return new LlamaCppEngine(quantized, threads);
  }

  /** Calls that embed a batch once each. */
  public abstract EmbeddingPeer peer(List<EmbeddingTexts.Text> batch) throws IOException;

  /** The vector of a text that is embedded alone. */
  public abstract float[] vector(EmbeddingTexts.Text text);

  /** How the last batch is computed, where there is a choice. */
  public String note() {
    return "";
  }

  @Override
  public void close() {}

  /** The shortest of a few calls. */
  static double seconds(Peer peer) {
    peer.calls(1);
    long least = Long.MAX_VALUE;
    long begin = System.nanoTime();
    do {
      long since = System.nanoTime();
      peer.calls(1);
      least = Math.min(least, System.nanoTime() - since);
    } while (System.nanoTime() - begin < SHORT_SECONDS * 1e9);
    return least * 1e-9;
  }

  private static List<int[]> ids(List<EmbeddingTexts.Text> batch) {
    return batch.stream().map(EmbeddingTexts.Text::ids).toList();
  }

  // ---- Gatun ---------------------------------------------------------------------------------

  /** Gatun with its weights in a format. */
  public static final class Gatun extends EmbeddingEngine {
    private final GatunRuntime runtime;
    private final TextEmbedder embedder;

    public Gatun(EmbeddingModelSpec spec, WeightFormat format, int threads) throws IOException {
      runtime = GatunRuntime.builder().threads(threads).build();
      try {
        embedder = TextEmbedder.load(runtime, spec, format);
      } catch (IOException | RuntimeException e) {
        runtime.close();
        throw e;
      }
    }

    @Override
    public EmbeddingPeer peer(List<EmbeddingTexts.Text> batch) {
      return new EmbeddingPeer.FromTensors(runtime, embedder, ids(batch));
    }

    @Override
    public float[] vector(EmbeddingTexts.Text text) {
      try (EmbeddingPeer one = peer(List.of(text))) {
        return one.vector();
      }
    }

    @Override
    public void close() {
      embedder.close();
      runtime.close();
    }
  }

  // ---- ONNX Runtime --------------------------------------------------------------------------

  /** ONNX Runtime of whatever version is on the class path. */
  public static final class Onnx extends EmbeddingEngine {
    private final OrtSession session;
    private String note = "";

    public Onnx(String file, int threads) throws IOException {
      session = open(file, threads);
    }

    static OrtSession open(String file, int threads) throws IOException {
      try (InputStream in = ClassLoader.getSystemResourceAsStream(file);
          OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
        if (in == null) {
          throw new FileNotFoundException(file + ": not on the class path");
        }
        options.setIntraOpNumThreads(threads);
        options.setInterOpNumThreads(1);
        return OrtEnvironment.getEnvironment().createSession(in.readAllBytes(), options);
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }

    /** A padded batch or one text after the other, whichever is faster here. */
    @Override
    public EmbeddingPeer peer(List<EmbeddingTexts.Text> batch) {
      List<int[]> ids = ids(batch);
      EmbeddingPeer single = new EmbeddingPeer.Onnx(session, ids, false);
      note = "";
      if (ids.size() == 1) {
        return single;
      }
      EmbeddingPeer padded = new EmbeddingPeer.Onnx(session, ids, true);
      boolean together = seconds(padded) < seconds(single);
      note = together ? "one padded batch" : "one by one";
      (together ? single : padded).close();
      return together ? padded : single;
    }

    @Override
    public float[] vector(EmbeddingTexts.Text text) {
      try (EmbeddingPeer one = new EmbeddingPeer.Onnx(session, List.of(text.ids()), false)) {
        return one.vector();
      }
    }

    @Override
    public String note() {
      return note;
    }

    @Override
    public void close() {
      try {
        session.close();
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }
  }

  // ---- LangChain4j ---------------------------------------------------------------------------

  /**
   * LangChain4j's class, from texts: its tokenizer is part of every call. By itself it leaves the
   * number of ONNX Runtime's threads to that; here it gets sessions that have as many as all others
   * have: one text is computed by all of them, texts of a batch side by side, as it does.
   */
  public static final class LangChain4j extends EmbeddingEngine {
    /** Its tokenizer's file says so, and nothing changes it. */
    private static final int MOST_TOKENS = 128;

    private final ExecutorService executor;
    private final Model single;
    private final Model batches;

    private static final class Model extends AbstractInProcessEmbeddingModel {
      private final OrtSession session;
      private final OnnxBertBiEncoder encoder;

      Model(String name, int threads, Executor executor) throws IOException {
        super(executor);
        session = Onnx.open(name + ".onnx", threads);
        try (InputStream tokenizer =
            ClassLoader.getSystemResourceAsStream(name + "-tokenizer.json")) {
          encoder =
              new OnnxBertBiEncoder(
                  OrtEnvironment.getEnvironment(), session, tokenizer, PoolingMode.MEAN);
        }
      }

      @Override
      protected OnnxBertBiEncoder model() {
        return encoder;
      }
    }

    public LangChain4j(String name, int threads) throws IOException {
      executor = threads == 1 ? null : Executors.newFixedThreadPool(threads);
      single = new Model(name, threads, Runnable::run);
      batches = threads == 1 ? single : new Model(name, 1, executor);
    }

    private static List<TextSegment> segments(List<EmbeddingTexts.Text> batch) {
      List<TextSegment> segments = new ArrayList<>();
      for (EmbeddingTexts.Text text : batch) {
        if (text.text() == null) {
          throw new UnsupportedOperationException("no text has so few tokens");
        }
        if (text.ids().length > MOST_TOKENS) {
          throw new UnsupportedOperationException(
              "it cuts every text at %d tokens".formatted(MOST_TOKENS));
        }
        segments.add(TextSegment.from(text.text()));
      }
      return segments;
    }

    @Override
    public EmbeddingPeer peer(List<EmbeddingTexts.Text> batch) {
      List<TextSegment> segments = segments(batch);
      Model model = segments.size() == 1 ? single : batches;
      return new EmbeddingPeer("langchain4j") {
        @Override
        public void calls(long n) {
          for (long i = 0; i < n; i++) {
            model.embedAll(segments);
          }
        }

        @Override
        public float[] vector() {
          return model.embedAll(segments).content().getFirst().vector();
        }
      };
    }

    /** A text that is too long is cut as by the others. */
    @Override
    public float[] vector(EmbeddingTexts.Text text) {
      return single.embed(text.text()).content().vector();
    }

    @Override
    public void close() {
      if (executor != null) {
        executor.shutdown();
      }
      try {
        single.session.close();
        if (batches != single) {
          batches.session.close();
        }
      } catch (OrtException e) {
        throw OnnxPeer.failed(e);
      }
    }
  }
}
