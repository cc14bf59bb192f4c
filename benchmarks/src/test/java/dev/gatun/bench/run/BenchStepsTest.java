package dev.gatun.bench.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.bench.measure.Alternation;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The steps of {@code Bench} beside the comparison of peers run once: memory, models, garbage. */
class BenchStepsTest {

  @TestFactory
  Stream<DynamicTest> memory() {
    return MemoryRun.PEERS.stream()
        .map(
            peer ->
                dynamicTest(
                    peer,
                    () -> {
                      boolean causal = MemoryRun.cases(peer, true).getFirst().causal();
                      Map<String, Object> row = MemoryRun.run(peer, 96, causal, 0);
                      assertEquals(MemoryRun.reasonAgainst(peer, 96, causal), row.get("missing"));
                      if (row.get("missing") == null) {
                        assertTrue((long) row.get("growthBytes") >= 0, row.toString());
                      }
                    }));
  }

  /** Which includes that Gatun's rows are PyTorch's. */
  @Test
  void encoders() {
    List<Map<String, Object>> rows = EncoderComparison.run(5, Alternation.Effort.ONCE);
    assertEquals(
        List.of("pytorch nn.TransformerEncoder", "pytorch functions"),
        rows.stream().map(row -> row.get("peer")).toList());
  }

  @Test
  void garbageLoad() {
    List<Map<String, Object>> rows = GarbageLoad.run(7, 1, 0.05, 0);
    assertEquals(4, rows.size());
    for (Map<String, Object> row : rows) {
      boolean load = (boolean) row.get("load");
      double rate = (double) row.get("loadMegabytesPerSecond");
      assertEquals(load, rate > 0, row.toString());
      assertTrue((double) row.get("p999Ns") >= (double) row.get("p50Ns"), row.toString());
    }
  }
}
