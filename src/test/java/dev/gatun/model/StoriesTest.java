package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Sampling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** A trained model tells its story, where the data that lie beside the project are. */
class StoriesTest {
  private static final Path FOLDER =
      Path.of(System.getProperty("gatun.shared", "../shared"), "data", "stories260K");

  private static final String STORY =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
          + " One day, she saw a big, red ball.";

  private static final int TOKENS = 200;

  /**
   * Of logits up to 22, whose float32 has steps of 2e-6, half a step for each rounding: five layers
   * of ten roundings each, if all went one way, would be 5e-5, and the sums behind them round too.
   * Measured: 1.7e-5.
   */
  private static final double BOUND = 1e-4;

  @Test
  void tellsItsStory() throws IOException {
    Assumptions.assumeTrue(Files.isDirectory(FOLDER), "needs " + FOLDER);
    Llama2cReference reference = new Llama2cReference(FOLDER.resolve("stories260K.bin"));
    List<Integer> wanted = new ArrayList<>();
    List<double[]> scores = new ArrayList<>();
    int token = 1;
    for (int n = 0; n < TOKENS; n++) {
      scores.add(reference.next(token));
      token = Llama2cReference.best(scores.getLast());
      wanted.add(token);
    }
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        LanguageModel model = LanguageModel.load(runtime, FOLDER);
        Arena arena = Arena.ofConfined()) {
      List<String> pieces = new ArrayList<>();
      Generation story = model.generate("", GenerationOptions.of(TOKENS), pieces::add);
      assertEquals(wanted, story.tokens(), "step by step");
      assertEquals(Generation.Reason.LENGTH, story.reason());
      assertEquals(story.text(), String.join("", pieces));
      assertTrue(story.text().startsWith(STORY), story.text());
      assertTrue(model.generate("Once upon a time", Sampling.greedy()).startsWith(", there was"));

      int[] ids = new int[TOKENS];
      ids[0] = 1;
      for (int n = 1; n < TOKENS; n++) {
        ids[n] = wanted.get(n - 1);
      }
      int width = reference.vocabulary();
      Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 1, TOKENS, width);
      DecoderState state = model.decoder().newState(arena, 1, TOKENS);
      model.decoder().forward(null, state, Tensor.copyOf(arena, ids, 1, TOKENS), null, logits);
      double greatest = 0;
      double difference = 0;
      for (int n = 0; n < TOKENS; n++) {
        double[] row = new double[width];
        for (int i = 0; i < width; i++) {
          row[i] = logits.segment().getAtIndex(ValueLayout.JAVA_FLOAT, (long) n * width + i);
          greatest = Math.max(greatest, Math.abs(scores.get(n)[i]));
          difference = Math.max(difference, Math.abs(scores.get(n)[i] - row[i]));
        }
        assertEquals(wanted.get(n), Llama2cReference.best(row), "in one pass, position " + n);
      }
      System.out.printf("stories260K, logits: %.1e, of at most %.1f%n", difference, greatest);
      assertTrue(difference <= BOUND, difference + " > " + BOUND);
    }
  }
}
