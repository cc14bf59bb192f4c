package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's example is a program: it compiles without a warning and prints what it says. */
class ReadmeTest {

  private static final Pattern EXAMPLE =
      Pattern.compile("<!-- example -->\\s*```java\\R(.*?)```", Pattern.DOTALL);

  /** What a reader takes in at a glance; imports do not count. */
  private static final int MOST_LINES = 15;

  @TempDir Path folder;
  private String source;
  private Path classes;

  @BeforeEach
  void compile() throws IOException {
    Matcher example = EXAMPLE.matcher(Files.readString(Path.of("README.md")));
    assertTrue(example.find(), "README.md has no java block after <!-- example -->");
    source = example.group(1);
    Path file = Files.writeString(folder.resolve("Example.java"), source);
    classes = Files.createDirectory(folder.resolve("classes"));
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter messages = new StringWriter();
    List<String> options =
        List.of(
            "-Xlint:all",
            "-Werror",
            "-proc:none",
            "-d",
            classes.toString(),
            "-cp",
            ChildJvm.mainClasses().toString());
    try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
      boolean compiled =
          compiler
              .getTask(messages, files, null, options, null, files.getJavaFileObjects(file))
              .call();
      assertTrue(compiled && messages.toString().isEmpty(), messages + source);
    }
  }

  @Test
  void isShort() {
    long lines =
        source
            .lines()
            .filter(line -> !line.isBlank() && !line.startsWith("import "))
            .peek(line -> assertTrue(line.length() <= 110, line))
            .count();
    assertTrue(lines <= MOST_LINES, lines + " lines");
  }

  @Test
  void runsOnTheClassPath() throws Exception {
    String gatun = ChildJvm.mainClasses().toString();
    run("--enable-native-access=ALL-UNNAMED", "-cp", gatun + ":" + classes, "Example");
  }

  @Test
  void runsOnTheModulePath() throws Exception {
    String gatun = ChildJvm.mainClasses().toString();
    run(
        "--enable-native-access=dev.gatun",
        "--module-path",
        gatun,
        "--add-modules",
        "dev.gatun",
        "-cp",
        classes.toString(),
        "Example");
  }

  private void run(String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--illegal-native-access=deny");
    command.addAll(List.of(arguments));
    Path out = folder.resolve("out");
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().remove("GATUN_ISA");
    builder.environment().remove("JAVA_TOOL_OPTIONS");
    Process process = builder.redirectErrorStream(true).redirectOutput(out.toFile()).start();
    if (!process.waitFor(60, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      throw new AssertionError("the example did not end");
    }
    assertEquals("2.0", ChildJvm.text(out));
    assertEquals(0, process.exitValue());
    assertTrue(source.contains("System.out.println(out.getFloat(0, 127, 7, 63)); // 2.0"), source);
  }
}
