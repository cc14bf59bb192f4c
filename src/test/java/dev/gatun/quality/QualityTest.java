package dev.gatun.quality;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.support.Run;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What each mechanism remembers, at lengths that take no time; {@link QualityTable} has more. */
class QualityTest {

  private final GatunRuntime runtime = Run.runtime(Run.bestTier(), 2);

  private double accuracy(Memory memory, boolean copying, int tokens) {
    Task task = QualityTable.task(copying, tokens, memory.dim());
    double accuracy = task.accuracy(memory.recall(runtime, task));
    System.out.printf("%s, %s of %d: %.3f%n", memory.name(), task.name(), tokens, accuracy);
    return accuracy;
  }

  @Test
  void exactAttentionRemembersAll() {
    for (int n = 64; n <= 2048; n *= 2) {
      assertEquals(1, accuracy(Memories.exact(), false, n));
      assertEquals(1, accuracy(Memories.exact(), true, n));
    }
  }

  /** Outside of it nothing is left but luck: 1 of 64, plus six deviations of it. */
  @Test
  void aWindowRemembersWhatItReaches() {
    Memory window = Memories.window(128);
    Task task = QualityTable.task(false, 1024, Memories.DIM);
    float[] out = window.recall(runtime, task);
    assertEquals(1, task.accuracy(out, t -> Math.abs(task.targets()[t] - t) <= 128));
    assertTrue(task.accuracy(out, t -> Math.abs(task.targets()[t] - t) > 128) < 0.045);
    assertEquals(1, accuracy(window, true, 256));
    assertTrue(accuracy(window, true, 512) < 0.07);
  }

  @Test
  void bigBirdRemembersWhatItSees() {
    Memory bigBird = new Memories.BigBird();
    Task task = QualityTable.task(false, 2048, Memories.DIM);
    float[] out = bigBird.recall(runtime, task);
    Doubles.Sight sight = Memories.BigBird.sight(2048);
    assertEquals(1, task.accuracy(out, t -> sight.sees(t, task.targets()[t])));
    assertTrue(task.accuracy(out, t -> !sight.sees(t, task.targets()[t])) < 0.045);
  }

  @Test
  void linformerRemembersAsManyTokensAsItHasRows() {
    Memory sums = new Memories.Linformer(128, false);
    assertEquals(1, accuracy(sums, false, 128));
    double half = accuracy(sums, false, 256);
    double quarter = accuracy(sums, false, 512);
    double eighth = accuracy(sums, false, 1024);
    assertTrue(half > 0.4 && half < 0.6, "" + half);
    assertTrue(quarter > 0.15 && quarter < 0.35, "" + quarter);
    assertTrue(eighth < 0.2, "" + eighth);
    assertTrue(accuracy(new Memories.Linformer(128, true), false, 1024) < 0.1);
  }

  @Test
  void aPerformerRemembersMoreWithMoreFeatures() {
    double few = accuracy(new FeatureMemories.Performer(64), false, 256);
    double some = accuracy(new FeatureMemories.Performer(256), false, 256);
    double many = accuracy(new FeatureMemories.Performer(1024), false, 256);
    assertTrue(few < some - 0.05 && some < many - 0.05, few + ", " + some + ", " + many);
  }

  @Test
  void linearAttentionForgetsWhatItsFeaturesCannotHold() {
    Memory linear = new FeatureMemories.Linear();
    double near = accuracy(linear, false, 64);
    double far = accuracy(linear, false, 1024);
    assertTrue(near > far + 0.2, near + ", " + far);
  }

  /** The errors of the library's floats decide no more than ties. */
  @Test
  void doublesRememberTheSame() {
    List<Memory> memories =
        Stream.of(
                Memories.exact(),
                Memories.window(64),
                new Memories.BigBird(),
                new Memories.Linformer(64, false),
                new Memories.Linformer(64, true),
                new FeatureMemories.Linear(),
                new FeatureMemories.Performer(256))
            .toList();
    for (Memory memory : memories) {
      for (boolean copying : new boolean[] {false, true}) {
        Task task = QualityTable.task(copying, 256, memory.dim());
        float[] out = memory.recall(runtime, task);
        double[] want = memory.reference(runtime, task);
        double most = 0;
        double error = 0;
        for (int t = 0; t < task.tokens(); t++) {
          for (int v = 0; task.targets()[t] >= 0 && v < Task.VALUES; v++) {
            int at = t * Task.VALUES + v;
            most = Math.max(most, Math.abs(want[at]));
            error = Math.max(error, Math.abs(want[at] - out[at]));
          }
        }
        System.out.printf(
            "%s, %s: differs from doubles by at most %.1e of the greatest%n",
            memory.name(), task.name(), error / most);
        assertTrue(error <= 1e-4 * most, memory.name() + ": " + error / most);
      }
    }
  }

  /** Within 2 %: tiers round differently, and some tokens are undecided. */
  @Test
  void thePageSaysWhatIsMeasured() throws IOException {
    for (boolean copying : new boolean[] {false, true}) {
      Map<String, List<String>> page = QualityTable.read(copying);
      assertEquals(Memories.all().stream().map(Memory::name).toList(), List.copyOf(page.keySet()));
      for (Memory memory : Memories.all()) {
        for (int n = 0; n < 3; n++) {
          double got = QualityTable.measure(runtime, memory, copying, QualityTable.LENGTHS[n]);
          String cell = page.get(memory.name()).get(n);
          if (Double.isNaN(got)) {
            assertEquals("–", cell, memory.name());
          } else {
            assertEquals(100 * got, Double.parseDouble(cell), 2, memory.name());
          }
        }
      }
    }
  }
}
