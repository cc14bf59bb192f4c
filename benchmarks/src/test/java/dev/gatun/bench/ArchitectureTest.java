package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.classfile.constantpool.PoolEntry;
import java.lang.classfile.constantpool.Utf8Entry;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Packages use those before them in a list, and no others: read from the compiled classes. */
class ArchitectureTest {

  private static final String ROOT = "dev/gatun/bench/";

  private static final List<String> ORDER = List.of("measure", "peer", "run", "report", "");

  /** A class of the benchmarks, by itself or in a descriptor. */
  private static final Pattern CLASS =
      Pattern.compile(
          "(?:^|[L;])" + ROOT + "(?:([a-z_]+)/)?(?:[a-z_]+/)*(?:[A-Z]\\w*|package-info)");

  private static List<Path> classes() throws IOException, URISyntaxException {
    Path root = Path.of(Bench.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    try (Stream<Path> files = Files.walk(root.resolve(ROOT))) {
      return files.filter(file -> file.toString().endsWith(".class")).toList();
    }
  }

  private static String packageOf(Matcher name) {
    return name.group(1) == null ? "" : name.group(1);
  }

  @Test
  void packagesUseEarlierOnesOnly() throws IOException, URISyntaxException {
    TreeSet<String> seen = new TreeSet<>();
    TreeSet<String> upward = new TreeSet<>();
    for (Path file : classes()) {
      try (InputStream in = Files.newInputStream(file)) {
        ClassModel model = ClassFile.of().parse(in.readAllBytes());
        String user = model.thisClass().asInternalName();
        Matcher own = CLASS.matcher(user);
        assertTrue(own.lookingAt(), user);
        seen.add(packageOf(own));
        for (PoolEntry entry : model.constantPool()) {
          String text =
              switch (entry) {
                case ClassEntry used -> used.asInternalName();
                case Utf8Entry utf8 -> utf8.stringValue();
                default -> "";
              };
          Matcher used = CLASS.matcher(text);
          while (used.find()) {
            if (ORDER.indexOf(packageOf(used)) > ORDER.indexOf(packageOf(own))) {
              upward.add(user + " uses " + used.group());
            }
          }
        }
      }
    }
    assertEquals(new TreeSet<>(ORDER), seen);
    assertEquals("[]", upward.toString());
  }
}
