package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * The pages under docs/ say what tests run: each block of Java after {@code <!-- example: NAME -->}
 * is the part of a test between {@code // example: NAME} and {@code // end}, and each test that a
 * page names exists.
 */
class DocsTest {

  private static final Pattern IN_PAGE =
      Pattern.compile("<!-- example: (\\S+) -->\\s*```java\\R(.*?)```", Pattern.DOTALL);
  private static final Pattern IN_TEST =
      Pattern.compile(" *// example: (\\S+)\\R(.*?) *// end\\R", Pattern.DOTALL);
  private static final Pattern TEST_NAME = Pattern.compile("`(\\w+Test)(?:\\.(\\w+))?`");
  private static final Pattern LINK = Pattern.compile("\\]\\(([^)#:]+)(?:#[^)]*)?\\)");

  private static List<Path> files(String folder, String ending) throws IOException {
    try (Stream<Path> files = Files.walk(Path.of(folder))) {
      return files.filter(file -> file.toString().endsWith(ending)).sorted().toList();
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Map<String, String> examples(List<Path> files, Pattern pattern) {
    Map<String, String> examples = new HashMap<>();
    for (Path file : files) {
      Matcher matcher = pattern.matcher(read(file));
      while (matcher.find()) {
        String before =
            examples.put(matcher.group(1), matcher.group(2).stripTrailing().stripIndent());
        assertEquals(null, before, file + ": a second example " + matcher.group(1));
      }
    }
    return examples;
  }

  @Test
  void examplesAreWhatTestsRun() throws IOException {
    Map<String, String> tests = examples(files("src/test/java", ".java"), IN_TEST);
    Map<String, String> pages = examples(files("docs", ".md"), IN_PAGE);
    assertEquals(new TreeSet<>(tests.keySet()), new TreeSet<>(pages.keySet()));
    pages.forEach((name, text) -> assertEquals(tests.get(name), text, name));
  }

  @TestFactory
  List<DynamicTest> testsAndLinksExist() throws IOException {
    Map<String, String> tests =
        files("src/test/java", "Test.java").stream()
            .collect(
                Collectors.toMap(
                    file -> file.getFileName().toString().replace(".java", ""), DocsTest::read));
    List<Path> pages = new ArrayList<>(files("docs", ".md"));
    pages.add(Path.of("README.md"));
    return pages.stream()
        .map(
            page ->
                DynamicTest.dynamicTest(
                    page.toString(),
                    () -> {
                      String text = read(page);
                      Matcher names = TEST_NAME.matcher(text);
                      while (names.find()) {
                        String source = tests.get(names.group(1));
                        assertTrue(source != null, "no test " + names.group(1));
                        String method = names.group(2);
                        assertTrue(
                            method == null || source.contains(" " + method + "("),
                            "no method " + names.group());
                      }
                      Matcher links = LINK.matcher(text);
                      while (links.find()) {
                        Path target = page.resolveSibling(links.group(1)).normalize();
                        assertTrue(Files.exists(target), "no " + target);
                      }
                    }))
        .toList();
  }
}
