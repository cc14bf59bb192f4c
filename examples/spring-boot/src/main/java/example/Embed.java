package example;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.time.Duration;

/** What a bean of a Spring Boot application does, from the jar that its Maven plugin makes. */
public final class Embed {

  private Embed() {}

  /** Embeds three texts and compares them. */
  public static void main(String[] args) throws IOException {
    String loader = Embed.class.getClassLoader().getClass().getName();
    if (!loader.startsWith("org.springframework.boot.loader")) {
      throw new IllegalStateException("expected Spring Boot's class loader, got " + loader);
    }
    GatunRuntime runtime = GatunRuntime.create();
    TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
    float[] cat = model.embed("A cat is sleeping in the sun.");
    float[] kitten = model.embed("The kitten naps on a warm windowsill.");
    float[] bonds = model.embed("Bond yields fell after the announcement.");
    double near = dot(cat, kitten);
    double far = dot(cat, bonds);
    // As a bean's destroy method: calls that still run are waited for.
    model.close(Duration.ofSeconds(10));
    runtime.close(Duration.ofSeconds(10));
    if (!(near > 0.5 && far < 0.2)) {
      throw new IllegalStateException("expected > 0.5 and < 0.2, got " + near + " and " + far);
    }
    System.out.printf(
        "from a Spring Boot jar: cat and kitten %.2f, cat and bonds %.2f%n", near, far);
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
