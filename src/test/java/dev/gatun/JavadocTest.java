package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the javadoc tool would make of the comments, beyond what it complains about itself. */
class JavadocTest {

  private static final Path SOURCES = Path.of("src/main/java");
  private static final Pattern COMMENT = Pattern.compile("/\\*\\*(.*?)\\*/", Pattern.DOTALL);

  /** A summary is the text up to a period and a space, or to the first block tag or paragraph. */
  private static final Pattern SUMMARY_END = Pattern.compile("\\.\\s|<p>|<pre>|<ul>|(?m)^@");

  private static final Pattern RECORD =
      Pattern.compile(
          "/\\*\\*((?:(?!\\*/).)*)\\*/\\s*(?:@\\w+\\s+)*(?:public\\s+|static\\s+)*record\\s+(\\w+)\\s*"
              + "\\(([^)]*)\\)",
          Pattern.DOTALL);

  /** A comment without its stars. */
  private static String text(String comment) {
    return comment.replaceAll("(?m)^\\s*\\*? ?", "").strip();
  }

  static String summary(String text) {
    Matcher end = SUMMARY_END.matcher(text);
    return (end.find() ? text.substring(0, end.start()) : text).strip();
  }

  private static boolean isWhole(String summary) {
    int open = 0;
    for (char c : summary.toCharArray()) {
      open += c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    return open == 0 && !summary.matches("(?s).*\\b(al|cf|vs|e\\.g|i\\.e|etc|approx|No|Fig)");
  }

  private interface Check {
    void of(Path file, String source);
  }

  private static void sources(Check check) throws IOException {
    try (Stream<Path> files = Files.walk(SOURCES)) {
      for (Path file : files.filter(f -> f.toString().endsWith(".java")).toList()) {
        check.of(SOURCES.relativize(file), Files.readString(file));
      }
    }
  }

  @Test
  void summariesAreWholeSentences() throws IOException {
    assertEquals("BERT (Devlin et al", summary("BERT (Devlin et al. 2019) as a stack. More."));
    assertTrue(!isWhole("BERT (Devlin et al") && isWhole("BERT (Devlin et al., 2019) as a stack"));
    List<String> broken = new ArrayList<>();
    int[] count = {0};
    sources(
        (file, source) -> {
          Matcher comments = COMMENT.matcher(source);
          while (comments.find()) {
            String summary = summary(text(comments.group(1)));
            count[0]++;
            if (!isWhole(summary)) {
              broken.add(file + ": " + summary);
            }
          }
        });
    assertTrue(count[0] > 500, count[0] + " comments");
    assertEquals(List.of(), broken);
  }

  /**
   * Also of records that are not exported but documented: a name without a word explains nothing.
   */
  @Test
  void publicRecordsDescribeTheirComponents() throws IOException {
    List<String> undescribed = new ArrayList<>();
    int[] count = {0};
    sources(
        (file, source) -> {
          Matcher records = RECORD.matcher(source);
          while (records.find()) {
            if (!records.group().contains("public ")
                && !source.contains("public sealed interface")) {
              continue;
            }
            String text = text(records.group(1));
            for (String component : records.group(3).split(",(?![^<]*>)")) {
              String[] words = component.strip().split("\\s+");
              String name = words[words.length - 1];
              if (name.isEmpty()) {
                continue;
              }
              count[0]++;
              if (!Pattern.compile("@param\\s+" + name + "\\s+\\S").matcher(text).find()) {
                undescribed.add(file + ": " + records.group(2) + "." + name);
              }
            }
          }
        });
    assertTrue(count[0] > 80, count[0] + " components");
    assertEquals(List.of(), undescribed);
  }
}
