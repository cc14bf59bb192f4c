package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.classfile.constantpool.PoolEntry;
import java.lang.classfile.constantpool.Utf8Entry;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Rules about which class may use what, read from the constant pools of the compiled classes. */
class ArchitectureTest {

  /** Class → the classes and descriptors that its constant pool names. */
  private static final TreeMap<String, TreeSet<String>> USES = new TreeMap<>();

  @BeforeAll
  static void readClasses() throws IOException, URISyntaxException {
    URI location = Tensor.class.getProtectionDomain().getCodeSource().getLocation().toURI();
    Path path = Path.of(location);
    if (Files.isDirectory(path)) {
      read(path);
    } else {
      try (FileSystem jar = FileSystems.newFileSystem(path)) {
        read(jar.getPath("/"));
      }
    }
    assertTrue(USES.containsKey("dev/gatun/Tensor"), USES.keySet().toString());
  }

  private static void read(Path root) throws IOException {
    try (Stream<Path> files = Files.walk(root.resolve("dev/gatun"))) {
      for (Path file : files.filter(f -> f.toString().endsWith(".class")).toList()) {
        try (InputStream in = Files.newInputStream(file)) {
          ClassModel model = ClassFile.of().parse(in.readAllBytes());
          TreeSet<String> names = new TreeSet<>();
          for (PoolEntry entry : model.constantPool()) {
            if (entry instanceof ClassEntry used) {
              names.add(used.asInternalName());
            } else if (entry instanceof Utf8Entry text) {
              names.add(text.stringValue());
            }
          }
          USES.put(model.thisClass().asInternalName(), names);
        }
      }
    }
  }

  /**
   * Room → the rooms that it may use. The public API and dev.gatun.internal use each other; there
   * is no other circle. Generated code uses nothing.
   */
  private static final Map<String, Set<String>> MAY_USE =
      Map.of(
          "dev/gatun/", Set.of("internal/"),
          "dev/gatun/internal/", Set.of("", "internal/gatun/", "internal/cblas/"),
          "dev/gatun/internal/gatun/", Set.of(),
          "dev/gatun/internal/cblas/", Set.of(),
          "dev/gatun/io/", Set.of("", "internal/"),
          "dev/gatun/nn/", Set.of("", "internal/"),
          "dev/gatun/model/", Set.of("", "internal/", "io/", "nn/"),
          "dev/gatun/cli/", Set.of("", "internal/", "io/", "nn/", "model/", "cli/compare/"),
          "dev/gatun/cli/compare/", Set.of("", "internal/", "nn/"),
          "dev/gatun/launcher/", Set.of());

  /** A class of ours, by its name or in a descriptor. */
  private static final Pattern OURS = Pattern.compile("(?:^|L)(dev/gatun/(?:[a-z]+/)*)[A-Z]");

  @Test
  void roomsUseOnlyTheRoomsBelow() {
    TreeSet<String> broken = new TreeSet<>();
    USES.forEach(
        (user, names) -> {
          String room = user.substring(0, user.lastIndexOf('/') + 1);
          Set<String> rooms = MAY_USE.get(room);
          assertNotNull(rooms, "a new room: " + room);
          for (String name : names) {
            Matcher ours = OURS.matcher(name);
            while (ours.find()) {
              String used = ours.group(1);
              if (!used.equals(room) && !rooms.contains(used.substring("dev/gatun/".length()))) {
                broken.add(user + " uses " + used);
              }
            }
          }
        });
    assertEquals("[]", broken.toString());
  }

  private static TreeSet<String> usersOf(String prefix) {
    TreeSet<String> users = new TreeSet<>();
    USES.forEach(
        (user, names) -> {
          if (!user.startsWith(prefix)
              && names.stream().anyMatch(n -> n.startsWith(prefix) || n.contains("L" + prefix))) {
            users.add(user.replaceAll("\\$.*", ""));
          }
        });
    return users;
  }

  @Test
  void fewClassesTouchEachHeader() {
    assertEquals(
        "[dev/gatun/internal/AdditiveCall, dev/gatun/internal/AttentionCall,"
            + " dev/gatun/internal/AttentionMapCall, dev/gatun/internal/CellOps,"
            + " dev/gatun/internal/Functions, dev/gatun/internal/LinearAttentionCall,"
            + " dev/gatun/internal/Native, dev/gatun/internal/PackedOps, dev/gatun/internal/RowOps,"
            + " dev/gatun/internal/RowSteps, dev/gatun/internal/ScanOps]",
        usersOf("dev/gatun/internal/gatun/").toString());
    assertEquals("[dev/gatun/internal/Blas]", usersOf("dev/gatun/internal/cblas/").toString());
  }

  @Test
  void onlyTheLoaderLoads() {
    TreeSet<String> users = new TreeSet<>();
    USES.forEach(
        (user, names) -> {
          if (names.contains("loadLibrary") || names.contains("libraryLookup")) {
            users.add(user);
          }
        });
    assertEquals("[]", users.toString());
  }

  /**
   * Weights and activations are never seen by a critical call, which would stop every safepoint.
   */
  @Test
  void noCallIsCritical() {
    TreeSet<String> users = new TreeSet<>();
    USES.forEach(
        (user, names) -> {
          if (names.contains("critical")) {
            users.add(user);
          }
        });
    assertEquals("[]", users.toString());
  }
}
