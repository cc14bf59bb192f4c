package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * The kernel by the Vector API, in a JVM of its own: no other has the incubator module, and it
 * warns of it.
 */
class VectorAttentionTest {

  @Test
  void givesTheRightAnswer() throws IOException, InterruptedException {
    String classPath =
        String.join(
            File.pathSeparator,
            "target/bench-vector-classes",
            "target/classes",
            "target/test-classes");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules=jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                classPath,
                Child.class.getName())
            .redirectErrorStream(true)
            .start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), out);
  }

  /** Checks the kernel on some shapes. */
  static final class Child {
    public static void main(String[] args) {
      for (Shape shape :
          List.of(
              Shape.of("tiny16"),
              Shape.of("s128d64"),
              new Shape("odd", 2, 4, 2, 37, 53, 48),
              new Shape("square", 2, 4, 2, 37, 37, 48),
              new Shape("decode", 2, 8, 2, 1, 77, 64),
              new Shape("one", 1, 1, 1, 1, 1, 32))) {
        boolean square = shape.seqQ() == shape.seqK();
        for (boolean causal : square ? new boolean[] {false, true} : new boolean[] {false}) {
          for (int threads = 1; threads <= 2; threads++) {
            check(new Point(shape, causal, Point.Layout.BHSD, threads));
          }
        }
      }
    }

    private static void check(Point point) {
      try (Workload workload = new Workload(point, Arena.ofConfined());
          Peer peer = new VectorPeer(workload)) {
        workload.check(peer.name, peer.answer());
        peer.calls(2);
        workload.check(peer.name, peer.answer());
      }
    }
  }
}
