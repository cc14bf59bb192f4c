package example;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.onnx.allminilml6v2.AllMiniLmL6V2EmbeddingModel;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.model.output.Response;
import dev.langchain4j.store.embedding.CosineSimilarity;
import java.util.List;
import java.util.stream.Stream;

/** Compares GatunEmbeddingModel with LangChain4j's own. */
public final class Compare {

  private static final double LEAST_COSINE = 0.999999;

  private static final List<TextSegment> TEXTS =
      Stream.of(
              "The cat sits on the mat.",
              "a",
              "Gatún ist der große See auf dem Weg durch den Panamakanal – 26 m über dem Meer.",
              "注意力就是你所需要的一切 🐈",
              "Attention is all you need. ".repeat(15),
              "A text that is longer than the model's 128 tokens. ".repeat(30))
          .map(TextSegment::from)
          .toList();

  private static final int LONG = TEXTS.size() - 1;

  public static void main(String[] args) {
    EmbeddingModel theirs = new AllMiniLmL6V2EmbeddingModel();
    try (GatunEmbeddingModel ours = new GatunEmbeddingModel()) {
      Response<List<Embedding>> expected = theirs.embedAll(TEXTS);
      Response<List<Embedding>> got = ours.embedAll(TEXTS);
      double least = 1;
      for (int n = 0; n < TEXTS.size(); n++) {
        Embedding embedding = expected.content().get(n);
        least = Math.min(least, cosine(embedding, got.content().get(n)));
        least = Math.min(least, cosine(embedding, ours.embed(TEXTS.get(n)).content()));
      }
      System.out.printf(
          "%s: %d texts, least cosine %.9f, %d tokens, too long: %s%n",
          ours.modelName(),
          TEXTS.size(),
          least,
          got.tokenUsage().inputTokenCount(),
          got.metadata().get(GatunEmbeddingModel.TRUNCATED));
      check(least >= LEAST_COSINE, "cosine at least " + LEAST_COSINE);
      check(ours.dimension() == theirs.dimension(), "dimension " + theirs.dimension());
      check(got.tokenUsage().equals(expected.tokenUsage()), expected.tokenUsage().toString());
      check(got.finishReason() == FinishReason.LENGTH, "a text that is too long");
      check(
          List.of(LONG).equals(got.metadata().get(GatunEmbeddingModel.TRUNCATED)),
          "text %d to be the one".formatted(LONG));
      Response<List<Embedding>> complete = ours.embedAll(TEXTS.subList(0, LONG));
      check(complete.finishReason() == null && complete.metadata().isEmpty(), "all others whole");
      check(ours.embedAll(List.of()).content().isEmpty(), "nothing for nothing");
    }
  }

  private static double cosine(Embedding a, Embedding b) {
    return CosineSimilarity.between(a, b);
  }

  private static void check(boolean right, String expected) {
    if (!right) {
      throw new AssertionError("expected " + expected);
    }
  }
}
