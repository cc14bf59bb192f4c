package dev.gatun.nn;

import dev.gatun.support.ChildJvm;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Memory that changes between its check and its use does not end the JVM. */
class RaceTest {

  static List<String> names() {
    return RaceCalls.names();
  }

  @ParameterizedTest
  @MethodSource("names")
  void survives(String name) throws IOException, InterruptedException {
    ChildJvm.onModulePath().run("race", name, "1.5").expectSuccess();
  }
}
