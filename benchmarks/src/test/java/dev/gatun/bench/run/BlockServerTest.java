package dev.gatun.bench.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.CoreContention;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Rotation;
import dev.gatun.bench.measure.Series;
import dev.gatun.bench.measure.Workload;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What is said between a measurement and a contestant in another process. */
class BlockServerTest {

  private long calls;

  private final BlockServer.Work work =
      what -> {
        if (what.equals("none")) {
          throw new BlockServer.Absent("no text has so few tokens\nand so on");
        }
        return new BlockServer.Ready(
            new Peer("counts") {
              @Override
              public void calls(long n) {
                calls += n;
              }

              @Override
              public Workload.Answer answer() {
                return null;
              }
            },
            seconds -> 4e9,
            "one by one");
      };

  private List<String> answers(String... questions) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (CoreContention contention = CoreContention.watching()) {
      new BlockServer(work, Alternation.Effort.ONCE, contention)
          .serve(
              new ByteArrayInputStream(
                  String.join("\n", questions).getBytes(StandardCharsets.UTF_8)),
              new PrintStream(out, true, StandardCharsets.UTF_8));
    }
    return out.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @Test
  void answersAreLines() throws IOException {
    List<String> answers = answers("block 0", "prepare none", "prepare 16", "block 0", "what");
    assertEquals("> missing block: expected a case that is ready, got none", answers.get(0));
    assertEquals("> missing no text has so few tokens", answers.get(1));
    assertTrue(answers.get(2).matches("> ready \\S+ one by one"), answers.get(2));
    assertTrue(answers.get(3).matches("> sample \\S+ (NO|YES|UNKNOWN) 4.0E9"), answers.get(3));
    assertEquals("> missing expected prepare or block, got what", answers.get(4));
    assertTrue(calls >= 2, "warm, and a block");
  }

  /** Answers, and then ends as nobody should. */
  public static final class Dies {
    private Dies() {}

    public static void main(String[] args) throws IOException {
      System.out.println("a library says something");
      System.out.println("> ready 0.5 a note");
      System.out.println("> sample 7.5 YES 0.0");
      System.out.flush();
      System.err.println("terminate called");
      while (System.in.read() != '!') {}
      System.exit(134);
    }
  }

  @Test
  void aProcessThatEndsSaysHow() throws IOException {
    try (WorkerProcess worker =
        WorkerProcess.start("dies", Dies.class, List.of("-Xmx64m"), null, Map.of())) {
      worker.prepare("16");
      assertEquals(0.5, worker.seconds());
      assertEquals("a note", worker.note());
      assertEquals(new Series.Sample(7.5, Series.Quiet.YES, 0), worker.block(0.02));
      Rotation.Failure e = assertThrows(Rotation.Failure.class, () -> worker.other("end!"));
      assertEquals("its process ended with exit code 134: terminate called", e.getMessage());
      assertThrows(Rotation.Failure.class, () -> worker.block(0.02));
    }
  }

  @Test
  void oneThatIsNotThereSaysWhy() {
    try (WorkerProcess worker = WorkerProcess.absent("mkl", "its jar is not there")) {
      Rotation.Failure e = assertThrows(Rotation.Failure.class, () -> worker.prepare("16"));
      assertEquals("its jar is not there", e.getMessage());
    }
  }
}
