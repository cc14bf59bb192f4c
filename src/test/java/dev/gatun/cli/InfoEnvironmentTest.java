package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** "gatun info" says what the environment forces. */
class InfoEnvironmentTest {
  @TempDir Path directory;

  private CliRun info(Map<String, String> environment, String... args) throws Exception {
    String[] all = new String[args.length + 1];
    all[0] = "info";
    System.arraycopy(args, 0, all, 1, args.length);
    CliRun run = CliRun.process(_ -> true, environment, directory, all);
    assertEquals(new CliRun(0, run.out(), ""), run);
    return run;
  }

  @Test
  void openBlas() throws Exception {
    Map<String, String> set =
        Map.of("OPENBLAS_CORETYPE", "Nehalem", "OPENBLAS_L2_SIZE", "256", "GATUN_ISA", "portable");
    String text = info(set).out();
    assertTrue(
        text.contains(
            "openblas.forced.OPENBLAS_CORETYPE Nehalem (forces its kernels; without it OpenBLAS"
                + " chooses them by the CPU)\n"),
        text);
    assertTrue(text.contains("openblas.forced.OPENBLAS_L2_SIZE 256 (forces its sizes of"), text);
    assertTrue(text.contains("asked for by GATUN_ISA=portable"), text);
    Map<?, ?> openBlas = (Map<?, ?>) JSON.std.mapFrom(info(set, "--json").out()).get("openblas");
    assertEquals(2, ((Map<?, ?>) openBlas.get("forced")).size());
  }

  @Test
  void nothingForced() throws Exception {
    String text = info(Map.of()).out();
    assertFalse(text.contains("forced"), text);
    assertTrue(text.contains("the best that this CPU has"), text);
    Map<?, ?> openBlas =
        (Map<?, ?>) JSON.std.mapFrom(info(Map.of(), "--json").out()).get("openblas");
    assertEquals(Map.of(), openBlas.get("forced"));
  }

  @Test
  void onlyWhatIsSet() {
    assertEquals(
        "{OPENBLAS_BLOCK_FACTOR=2 (forces its sizes of blocks; without it OpenBLAS chooses them by"
            + " the CPU)}",
        OpenBlasEnvironment.forced(Map.of("OPENBLAS_BLOCK_FACTOR", "2", "PATH", "x")).toString());
  }
}
