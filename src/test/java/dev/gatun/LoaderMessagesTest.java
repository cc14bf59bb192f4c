package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What loading says, and does not say, in places that are not as usual. */
class LoaderMessagesTest {

  @TempDir Path folder;

  private ChildJvm child() {
    return ChildJvm.onModulePath()
        .flag("-XX:TieredStopAtLevel=1")
        .flag("-XX:+UseSerialGC")
        .environment("LC_ALL", "C");
  }

  private static String failure(ChildJvm child, String program) throws Exception {
    ChildJvm.Result result = child.run(program); // with the JVM's own warnings, if it has any
    assertEquals(0, result.exitCode(), result.toString());
    List<String> lines = result.out().lines().toList();
    assertEquals(2, lines.size(), lines.toString());
    assertEquals(lines.get(0), lines.get(1));
    assertTrue(lines.get(0).startsWith("failure="), lines.toString());
    return lines.get(0);
  }

  /** In the C locale the JVM reads such an entry as characters that it cannot turn into a file. */
  @Test
  void aLibraryPathThatIsNotAscii() throws Exception {
    String out =
        child()
            .property("gatun.cache", folder.resolve("cache"))
            .environment("LD_LIBRARY_PATH", "/tmp/b\u00e4h:/nowhere")
            .run("load")
            .expectSuccess();
    assertTrue(out.contains("result=1.0"), out);
    assertTrue(
        child()
            .property("gatun.cache", folder.resolve("cache"))
            .property("java.library.path", "/tmp/b\u00e4h:/nowhere")
            .run("load")
            .expectSuccess()
            .contains("result=1.0"));
  }

  @Test
  void foldersThatAreNotAscii() throws Exception {
    String message = failure(child().property("java.io.tmpdir", "/tmp/b\u00e4h"), "load");
    assertTrue(message.contains("-Djava.io.tmpdir=/tmp/b"), message);
    assertTrue(message.contains("Name another folder with -Dgatun.cache"), message);
    assertFalse(message.contains("null"), message);
    message = failure(child().property("gatun.cache", "/tmp/b\u00e4h"), "load");
    assertTrue(message.contains("-Dgatun.cache=/tmp/b"), message);
    message = failure(child().property("gatun.library", "/tmp/b\u00e4h.so"), "load");
    assertTrue(message.contains("-Dgatun.library=/tmp/b"), message);
  }

  /** A library that needs another one, from the cache: its folder is not the reason. */
  @Test
  void noHintAtNoexecForAnotherFault() throws Exception {
    Path root = Files.createDirectories(folder.resolve("resources/org/bytedeco/openblas"));
    for (String platform : List.of("linux-x86_64", "linux-arm64")) {
      Path library = Files.createDirectory(root.resolve(platform)).resolve("libopenblas.so.0");
      compile("int missing(void); int other(void) { return missing(); }", library);
    }
    String message =
        failure(
            child()
                .withoutOpenBlas()
                .property("gatun.cache", folder.resolve("cache"))
                .onClassPathToo(folder.resolve("resources")),
            "openblas");
    assertTrue(message.contains("undefined symbol: missing"), message);
    assertTrue(message.contains("-Dgatun.openblas"), message);
    assertFalse(message.contains("noexec"), message);
  }

  private void compile(String source, Path library) throws Exception {
    Path file = folder.resolve("other.c");
    Files.writeString(file, source + "\n", StandardCharsets.US_ASCII);
    String compiler = System.getenv().getOrDefault("CC", "gcc");
    Process process =
        new ProcessBuilder(
                compiler,
                "-shared",
                "-fPIC",
                "-Wl,-z,now",
                "-o",
                library.toString(),
                file.toString())
            .inheritIO()
            .start();
    assertEquals(0, process.waitFor());
  }
}
