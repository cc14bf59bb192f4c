package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import dev.gatun.support.LoadersMain;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Gatun in class loaders that are not the system's, as in web applications. */
class ClassLoadersTest {

  @TempDir Path cache;

  private ChildJvm child() {
    return ChildJvm.onClassPath()
        .withoutGatun()
        .main(LoadersMain.class)
        .flag("-XX:+UseSerialGC")
        .property("gatun.cache", cache.resolve("cache"));
  }

  /** What the child printed, as a map. */
  private static Map<String, String> run(ChildJvm child, String program) throws Exception {
    List<String> arguments = new ArrayList<>(List.of(program));
    for (Path path :
        List.of(
            ChildJvm.mainClasses(),
            ChildJvm.testClasses(),
            ChildJvm.jarOf("com/fasterxml/jackson/core/JsonFactory.class"),
            ChildJvm.openBlasJar(),
            ChildJvm.jarOf("all-minilm-l6-v2.onnx"),
            ChildJvm.jarOf("ai/djl/huggingface/tokenizers/jni/TokenizersLibrary.class"))) {
      arguments.add(path.toString());
    }
    Map<String, String> lines = new LinkedHashMap<>();
    for (String line :
        child.run(arguments.toArray(String[]::new)).expectSuccess().lines().toList()) {
      String[] parts = line.split("=", 2);
      lines.put(parts[0], parts[1]);
    }
    return lines;
  }

  private static String vector(String line) {
    assertTrue(line != null && line.contains(" | "), line);
    return line.substring(0, line.indexOf(" | "));
  }

  private void checkSideBySide(ChildJvm child) throws Exception {
    Map<String, String> lines = run(child, "side-by-side");
    String first = vector(lines.get("first"));
    for (String other : List.of("second", "first again", "second again", "third")) {
      assertEquals(first, vector(lines.get(other)), lines.toString());
    }
    assertFalse(lines.get("first").contains("copied"), lines.toString());
    assertTrue(lines.get("second").contains("copied for this class loader"), lines.toString());
    assertEquals("true", lines.get("gone"), "the first class loader is held by something");
    assertEquals("true", lines.get("no more mapped"), "libraries pile up");
  }

  @Test
  void twoSideBySideAndAgainAfterTheFirstIsGone() throws Exception {
    checkSideBySide(child());
    try (Stream<Path> files = Files.walk(cache)) {
      assertFalse(files.anyMatch(file -> file.toString().contains("copy-")), "a copy is left");
    }
  }

  @Test
  void twoSideBySideWithALibraryThatIsNamed() throws Exception {
    Path library;
    try (Stream<Path> files = Files.walk(ChildJvm.mainClasses().resolve("dev/gatun/native"))) {
      library = files.filter(file -> file.endsWith("libgatun.so")).findFirst().orElseThrow();
    }
    checkSideBySide(child().property("gatun.library", library));
  }

  @Test
  void theServerHasTheTokenizers() throws Exception {
    Map<String, String> lines = run(child(), "parent-has-tokenizers");
    assertEquals(vector(lines.get("first")), vector(lines.get("second")));
  }

  @Test
  void theContextClassLoaderHasTheJars() throws Exception {
    vector(run(child(), "context").get("first"));
  }
}
