package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import dev.gatun.support.MemoryMain;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** OpenBLAS ends the process when it gets no memory for a buffer; a product must fail before. */
class OpenBlasMemoryTest {

  private static final Pattern COUNTS = Pattern.compile("(\\d+) right, (\\d+) refused: (.*)");

  private static List<String> run(String... arguments) throws Exception {
    return ChildJvm.onClassPath()
        .main(MemoryMain.class)
        .flag("-XX:+UseSerialGC")
        .flag("-Xmx128m")
        .flag("-XX:+AlwaysPreTouch")
        .run(arguments)
        .expectSuccess()
        .lines()
        .toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"matmul", "linear"})
  void theFirstProductWithoutMemory(String what) throws Exception {
    List<String> lines = run("creation", what);
    assertEquals(4, lines.size(), lines.toString());
    for (String line : lines.subList(0, 2)) {
      assertTrue(line.startsWith("failure="), lines.toString());
    }
    assertTrue(lines.get(2).contains("128 MiB of address space"), lines.toString());
    assertEquals("result=256.0", lines.get(3));
  }

  @Test
  void furtherWorkspacesWithoutMemory() throws Exception {
    List<String> lines = run("workspaces");
    Matcher limited = matcher(lines.get(0));
    assertEquals(6, Integer.parseInt(limited.group(1)) + Integer.parseInt(limited.group(2)));
    assertTrue(Integer.parseInt(limited.group(2)) >= 4, lines.toString());
    assertTrue(limited.group(3).contains("128 MiB of address space"), lines.toString());
    assertTrue(lines.get(1).contains("=6 right, 0 refused"), lines.toString());
  }

  /** With more threads than OpenBLAS's table has places it would destroy the heap. */
  @Test
  void moreThreadsThanOpenBlasTakes() throws Exception {
    List<String> lines = run("threads", "300");
    Matcher counts = matcher(lines.getLast());
    int right = Integer.parseInt(counts.group(1));
    assertEquals(300, right + Integer.parseInt(counts.group(2)), lines.toString());
    assertTrue(right >= 40, lines.toString());
    assertTrue(
        right == 300 || counts.group(3).contains("OpenBLAS multiplies on"), lines.toString());
  }

  private static Matcher matcher(String line) {
    Matcher matcher = COUNTS.matcher(line);
    assertTrue(matcher.find(), line);
    return matcher;
  }
}
