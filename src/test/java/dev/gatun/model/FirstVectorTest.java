package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Tensor;
import dev.gatun.support.ChildJvm;
import dev.gatun.support.FirstVectorMain;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a program does until it has its first vector, counted in classes: those that are loaded, and
 * those that the JVM makes for method handles and lambdas, which cost most.
 */
class FirstVectorTest {
  private static final int WIDTH = 24;
  private static final int INNER = 72;
  private static final int LAYERS = 2;

  /** 2231 and 469 on JDK 25.0.3; 2754 and 684 before there was this test. */
  private static final long MOST_CLASSES = 2400;

  private static final long MOST_SPUN = 520;

  /** One for each signature of a function that is bound: 15; 28 before. */
  private static final long MOST_STUBS = 18;

  @TempDir Path folder;

  private final Random random = new Random(8);
  private final Map<String, Tensor> weights = new TreeMap<>();

  private void put(Arena arena, String name, int... shape) {
    int count = 1;
    long[] sizes = new long[shape.length];
    for (int n = 0; n < shape.length; n++) {
      sizes[n] = shape[n];
      count *= shape[n];
    }
    float[] values = new float[count];
    for (int n = 0; n < count; n++) {
      values[n] = random.nextFloat() - 0.5f;
    }
    weights.put(name, Tensor.copyOf(arena, values, sizes));
  }

  private void linear(Arena arena, String name, int out, int in) {
    put(arena, name + ".weight", out, in);
    put(arena, name + ".bias", out);
  }

  private void norm(Arena arena, String name) {
    put(arena, name + ".weight", WIDTH);
    put(arena, name + ".bias", WIDTH);
  }

  private Path model() throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      put(arena, "embeddings.word_embeddings.weight", 40, WIDTH);
      put(arena, "embeddings.position_embeddings.weight", 24, WIDTH);
      put(arena, "embeddings.token_type_embeddings.weight", 2, WIDTH);
      norm(arena, "embeddings.LayerNorm");
      for (int n = 0; n < LAYERS; n++) {
        String block = "encoder.layer." + n + ".";
        linear(arena, block + "attention.self.query", WIDTH, WIDTH);
        linear(arena, block + "attention.self.key", WIDTH, WIDTH);
        linear(arena, block + "attention.self.value", WIDTH, WIDTH);
        linear(arena, block + "attention.output.dense", WIDTH, WIDTH);
        norm(arena, block + "attention.output.LayerNorm");
        linear(arena, block + "intermediate.dense", INNER, WIDTH);
        linear(arena, block + "output.dense", WIDTH, INNER);
        norm(arena, block + "output.LayerNorm");
      }
      String config =
          """
          {"model_type": "bert", "hidden_size": 24, "num_attention_heads": 3,
           "num_hidden_layers": 2, "intermediate_size": 72, "vocab_size": 40,
           "max_position_embeddings": 24, "layer_norm_eps": 1e-12}
          """;
      return ModelFolders.of(config, weights)
          .tokenizer(TokenizerFiles.bert())
          .write(folder.resolve("model"));
    }
  }

  private static ChildJvm child() {
    return ChildJvm.onClassPath()
        .main(FirstVectorMain.class)
        .onClassPathToo("ai/djl/huggingface/tokenizers/jni/TokenizersLibrary.class")
        .onClassPathToo("com/fasterxml/jackson/core/JsonFactory.class");
  }

  private static void atMost(long most, List<String> classes, Predicate<String> which) {
    List<String> counted = classes.stream().filter(which).toList();
    assertTrue(counted.size() <= most, () -> counted.size() + ": " + String.join("\n", counted));
  }

  @Test
  void nothingIsMadeThatIsNotNeeded() throws Exception {
    Path log = folder.resolve("classes.txt");
    String out =
        child()
            .flag("-Xlog:class+load=info:file=" + log + ":none")
            .run(model().toString())
            .expectSuccess();
    assertEquals("24", out);
    List<String> classes =
        Files.readAllLines(log).stream().map(line -> line.substring(0, line.indexOf(' '))).toList();
    atMost(MOST_CLASSES, classes, name -> true);
    atMost(MOST_SPUN, classes, name -> name.contains("/0x"));
    atMost(MOST_STUBS, classes, name -> name.startsWith("jdk.internal.foreign.abi.DowncallStub"));
    // JFR, where nobody records; formats and locales, where nothing is wrong.
    atMost(1, classes, name -> name.startsWith("jdk.jfr."));
    atMost(0, classes, name -> name.endsWith("Event$Recorded"));
    atMost(0, classes, name -> name.equals("java.util.Formatter"));
  }

  @Test
  void aRecordingThatBeginsLaterHasTheEvents() throws Exception {
    String out =
        child().run(model().toString(), folder.resolve("r.jfr").toString()).expectSuccess();
    List<String> lines = out.lines().toList();
    assertEquals("24", lines.getFirst());
    assertEquals(LAYERS, lines.stream().filter("dev.gatun.Attention"::equals).count(), out);
    assertEquals(1, lines.stream().filter("dev.gatun.Model"::equals).count(), out);
  }
}
