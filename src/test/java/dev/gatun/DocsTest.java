package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
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
 * is the part of a test between {@code // example: NAME} and {@code // end}, each test that a page
 * names or links to exists, and a table of features says yes only where it links to a test.
 */
class DocsTest {

  private static final Pattern IN_PAGE =
      Pattern.compile("<!-- example: (\\S+) -->\\s*```java\\R(.*?)```", Pattern.DOTALL);
  private static final Pattern IN_TEST =
      Pattern.compile(" *// example: (\\S+)\\R(.*?) *// end\\R", Pattern.DOTALL);
  private static final Pattern TEST_NAME = Pattern.compile("`(\\w+Test)(?:\\.(\\w+))?`");
  private static final Pattern LINK = Pattern.compile("\\]\\(([^)#:]+)(?:#([^)]*))?\\)");

  /** A feature, our column, the peers'. */
  private static final Pattern FEATURE = Pattern.compile("\\| ([^|]+) \\| ([^|]+) \\| (.+) \\|");

  private static final Pattern TEST_LINK =
      Pattern.compile("\\[[^]]+\\]\\(\\S+/(src/test/java|native/tests)/\\S+#\\w+\\)");

  private static List<Path> files(String folder, String ending) {
    try (Stream<Path> files = Files.walk(Path.of(folder))) {
      return files.filter(file -> file.toString().endsWith(ending)).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
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
  void examplesAreWhatTestsRun() {
    Map<String, String> tests = examples(files("src/test/java", ".java"), IN_TEST);
    Map<String, String> pages = examples(files("docs", ".md"), IN_PAGE);
    assertEquals(new TreeSet<>(tests.keySet()), new TreeSet<>(pages.keySet()));
    pages.forEach((name, text) -> assertEquals(tests.get(name), text, name));
  }

  @TestFactory
  List<DynamicTest> testsAndLinksExist() {
    Map<String, String> tests =
        Stream.of("src/test/java", "src/browser/java")
            .flatMap(folder -> files(folder, "Test.java").stream())
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
                        checkFragment(target, links.group(2));
                      }
                    }))
        .toList();
  }

  /** Behind a test file stands a method, or a case of the tests in C. */
  private static void checkFragment(Path target, String fragment) {
    String file = target.toString();
    if (fragment != null && (file.endsWith(".java") || file.endsWith(".c"))) {
      String definition = file.endsWith(".c") ? "{\"" + fragment + "\", " : " " + fragment + "(";
      assertTrue(read(target).contains(definition), "no " + fragment + " in " + target);
    }
  }

  /** The first table of a page whose head begins with our column. */
  private static Map<String, List<String>> features(Path page) {
    String text = read(page);
    int from = text.indexOf("\n| | Gatun | FA |");
    Map<String, List<String>> features = new LinkedHashMap<>();
    for (String line : text.substring(from + 1).lines().skip(2).toList()) {
      Matcher row = FEATURE.matcher(line);
      if (!row.matches()) {
        break;
      }
      List<String> cells = new ArrayList<>(List.of(row.group(2)));
      cells.addAll(List.of(row.group(3).split(" \\| ")));
      features.put(row.group(1), cells);
    }
    return features;
  }

  @Test
  void featuresHaveTests() {
    Map<String, List<String>> all = features(Path.of("docs/features.md"));
    assertEquals(35, all.size());
    all.forEach(
        (feature, cells) -> {
          assertEquals(12, cells.size(), feature);
          String ours = cells.getFirst();
          assertTrue(
              ours.matches("n( \\(\\d\\))?|p: the caller merges") || TEST_LINK.matcher(ours).find(),
              feature + " links to no test: " + ours);
        });
  }

  /** The README's table is a part of the page's, each cell shortened to its beginning. */
  @Test
  void featuresOfTheReadmeAreThePages() {
    Map<String, List<String>> all = features(Path.of("docs/features.md"));
    Map<String, List<String>> some = features(Path.of("README.md"));
    assertTrue(some.size() > 15, some.keySet().toString());
    some.forEach(
        (feature, cells) -> {
          List<String> whole = all.get(feature);
          assertTrue(whole != null, "docs/features.md has no row " + feature);
          assertEquals(whole.size(), cells.size(), feature);
          for (int n = 0; n < cells.size(); n++) {
            String cell = whole.get(n).replaceAll("\\[([^]]+)]\\([^)]+\\)", "$1");
            assertTrue(
                cell.equals(cells.get(n)) || cell.matches(Pattern.quote(cells.get(n)) + "[: ,].*"),
                feature + ": " + cells.get(n) + " of " + cell);
          }
        });
  }
}
