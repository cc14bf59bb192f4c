package example;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import dev.gatun.model.Tokenized;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** Ranks the lines of a file by their cosine with a query: SemanticSearch FILE [QUERY…]. */
public final class SemanticSearch {

  private static final int SHOWN = 3;

  /** What is searched for without a query, and a word of the line that must be found. */
  private static final Map<String, String> EXPECTED = new LinkedHashMap<>();

  static {
    EXPECTED.put("How do I bake bread?", "dough");
    EXPECTED.put("Is there life on other worlds?", "telescope");
    EXPECTED.put("concurrency on the JVM", "virtual thread");
    EXPECTED.put("my dog wants to go out", "Puppies");
    EXPECTED.put("climate change in the mountains", "Glaciers");
  }

  public static void main(String[] args) throws IOException {
    List<String> lines = Files.readAllLines(Path.of(args[0]));
    try (GatunRuntime runtime = GatunRuntime.create();
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
        Arena arena = Arena.ofConfined()) {
      List<Tokenized> texts = lines.stream().map(model::tokenize).toList();
      for (int n = 0; n < texts.size(); n++) {
        if (texts.get(n).truncated()) {
          System.err.printf("line %d is longer than %d tokens%n", n + 1, model.maxTokens());
        }
      }
      Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, lines.size(), model.dimension());
      model.embed(texts, vectors);

      if (args.length > 1) {
        search(String.join(" ", Arrays.copyOfRange(args, 1, args.length)), lines, model, vectors);
        return;
      }
      for (Map.Entry<String, String> expected : EXPECTED.entrySet()) {
        String best = search(expected.getKey(), lines, model, vectors);
        if (!best.contains(expected.getValue())) {
          throw new AssertionError("expected the line with: " + expected.getValue());
        }
      }
      System.out.printf("%d queries found their lines%n", EXPECTED.size());
    }
  }

  /** Prints the best lines and returns the first. */
  private static String search(
      String query, List<String> lines, TextEmbedder model, Tensor vectors) {
    float[] wanted = model.embed(query);
    double[] cosines =
        IntStream.range(0, lines.size())
            .mapToDouble(line -> dot(wanted, vectors.select(0, line).toFloatArray()))
            .toArray();
    List<Integer> ranked =
        IntStream.range(0, lines.size())
            .boxed()
            .sorted(Comparator.comparingDouble(line -> -cosines[line]))
            .toList();
    System.out.println(query);
    for (int line : ranked.subList(0, Math.min(SHOWN, ranked.size()))) {
      System.out.printf("  %.3f  %s%n", cosines[line], lines.get(line));
    }
    return lines.get(ranked.getFirst());
  }

  /** The vectors have length 1, so that this is their cosine. */
  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
