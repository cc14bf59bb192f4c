package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
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
import java.util.TreeMap;
import java.util.TreeSet;
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
        "[dev/gatun/internal/AttentionCall, dev/gatun/internal/Native, dev/gatun/internal/RowOps]",
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
