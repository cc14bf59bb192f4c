package example;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.model.output.Response;
import dev.langchain4j.model.output.TokenUsage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * An embedding model of LangChain4j that runs on Gatun. Any number of threads may share it.
 *
 * <p>A text that was cut is reported: the response has {@link FinishReason#LENGTH}, and its
 * metadata have the indices of such texts as {@link #TRUNCATED}.
 */
public final class GatunEmbeddingModel implements EmbeddingModel, AutoCloseable {

  /** Key of the metadata of a response: a {@code List<Integer>}. */
  public static final String TRUNCATED = "truncated";

  /** {@code [CLS]} and {@code [SEP]}, which LangChain4j does not count. */
  private static final int TEMPLATE_TOKENS = 2;

  private final TextEmbedder embedder;

  /** all-MiniLM-L6-v2 on all cores. */
  public GatunEmbeddingModel() {
    this(GatunRuntime.shared(), EmbeddingModelSpec.MINILM);
  }

  /** A model on a runtime that the caller keeps open. */
  public GatunEmbeddingModel(GatunRuntime runtime, EmbeddingModelSpec spec) {
    try {
      embedder = TextEmbedder.load(runtime, spec);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public Response<List<Embedding>> embedAll(List<TextSegment> segments) {
    List<Tokenized> texts = segments.stream().map(s -> embedder.tokenize(s.text())).toList();
    List<Embedding> embeddings = new ArrayList<>();
    if (!texts.isEmpty()) {
      try (Arena arena = Arena.ofConfined()) {
        Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, texts.size(), dimension());
        embedder.embed(texts, vectors);
        for (int n = 0; n < texts.size(); n++) {
          embeddings.add(Embedding.from(vectors.select(0, n).toFloatArray()));
        }
      }
    }
    int tokens = texts.stream().mapToInt(text -> text.count() - TEMPLATE_TOKENS).sum();
    List<Integer> truncated =
        IntStream.range(0, texts.size()).filter(n -> texts.get(n).truncated()).boxed().toList();
    return truncated.isEmpty()
        ? Response.from(embeddings, new TokenUsage(tokens))
        : Response.from(
            embeddings, new TokenUsage(tokens), FinishReason.LENGTH, Map.of(TRUNCATED, truncated));
  }

  @Override
  public int dimension() {
    return embedder.dimension();
  }

  @Override
  public String modelName() {
    return embedder.spec().name();
  }

  /** Frees the weights. */
  @Override
  public void close() {
    embedder.close();
  }
}
