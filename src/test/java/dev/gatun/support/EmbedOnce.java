package dev.gatun.support;

import dev.gatun.GatunRuntime;
import dev.gatun.RuntimeInfo;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;

/** Embeds a text with the Gatun of its own class loader; {@link LoadersMain} calls it by name. */
public final class EmbedOnce {

  private EmbedOnce() {}

  /** Returns a digest of the vector, and how the libraries were found. */
  public static String embed() throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM)) {
      float[] vector = model.embed("Two web applications in one server.");
      RuntimeInfo info = runtime.info();
      return "%.6f %.6f | %s | %s"
          .formatted(
              vector[0],
              vector[vector.length - 1],
              info.libraryOrigin(),
              runtime.matMul().info().libraryOrigin());
    }
  }
}
