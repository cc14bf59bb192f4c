package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import java.io.IOException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Loading, each time in a JVM of its own. Every failure says what to do, and says it twice. */
class LoaderTest {

  @TempDir Path folder;

  /** The right library, under a name of the test's. */
  private Path copy;

  private Path cache;

  @BeforeEach
  void prepare() throws IOException {
    cache = folder.resolve("cache");
    copy = folder.resolve("copy.so");
    try (Stream<Path> files = Files.walk(ChildJvm.mainClasses().resolve("dev/gatun/native"))) {
      Files.copy(files.filter(f -> f.endsWith("libgatun.so")).findFirst().orElseThrow(), copy);
    }
  }

  private ChildJvm child() {
    return quick(ChildJvm.onModulePath());
  }

  private ChildJvm classPathChild() {
    return quick(ChildJvm.onClassPath());
  }

  private ChildJvm quick(ChildJvm child) {
    return child
        .property("gatun.cache", cache)
        .flag("-XX:TieredStopAtLevel=1")
        .flag("-XX:+UseSerialGC");
  }

  /** Runs a child that must fail the same way twice, and checks the parts of its message. */
  private static void fails(ChildJvm child, String program, Object... parts) throws Exception {
    ChildJvm.Result result = child.run(program);
    List<String> lines = result.expectSuccess().lines().toList();
    assertEquals(2, lines.size(), result.toString());
    assertEquals(lines.get(0), lines.get(1));
    assertTrue(lines.get(0).startsWith("failure="), result.toString());
    for (Object part : parts) {
      assertTrue(lines.get(0).contains(part.toString()), part + " in " + result);
    }
  }

  private static void loads(ChildJvm child, Object... parts) throws Exception {
    String out = child.run("load").expectSuccess();
    assertTrue(out.contains("result=1.0"), out);
    for (Object part : parts) {
      assertTrue(out.contains(part.toString()), part + " in " + out);
    }
  }

  // ---- -Dgatun.library -----------------------------------------------------------------------

  @Test
  void anExactFile() throws Exception {
    loads(child().property("gatun.library", copy), "library=" + copy, "origin=-Dgatun.library");
    assertFalse(Files.exists(cache));
  }

  @Test
  void noSuchFile() throws Exception {
    Path missing = folder.resolve("missing.so");
    fails(
        child().property("gatun.library", missing),
        "load",
        "-Dgatun.library=" + missing,
        "no such file",
        "unset it");
    fails(child().property("gatun.library", folder), "load", folder, "not a file");
    assertFalse(Files.exists(cache), "there is no fallback");
  }

  @Test
  void corruptFile() throws Exception {
    for (String content : List.of("", "this is no library")) {
      Files.writeString(copy, content);
      fails(
          child().property("gatun.library", copy),
          "load",
          copy + ": not a shared library",
          "Correct -Dgatun.library");
    }
  }

  @Test
  void anotherLibrary() throws Exception {
    compile("int other(void) { return 1; }");
    fails(
        child().property("gatun.library", copy),
        "load",
        copy,
        "is not libgatun",
        "found by -Dgatun.library");
  }

  @Test
  void anotherAbi() throws Exception {
    compile("int gatun_abi(void) { return 77; }");
    fails(
        child().property("gatun.library", copy),
        "load",
        copy,
        "number 77",
        "needs 1",
        "-Dgatun.library");
  }

  private void compile(String source) throws IOException, InterruptedException {
    Path file = folder.resolve("other.c");
    Files.writeString(file, source + "\n");
    String compiler = System.getenv().getOrDefault("CC", "gcc");
    Process process =
        new ProcessBuilder(compiler, "-shared", "-fPIC", "-o", copy.toString(), file.toString())
            .inheritIO()
            .start();
    assertEquals(0, process.waitFor());
  }

  // ---- java.library.path ---------------------------------------------------------------------

  @Test
  void theLibraryPath() throws Exception {
    Path library = Files.createDirectory(folder.resolve("path")).resolve("libgatun.so");
    Files.move(copy, library);
    loads(
        child().property("java.library.path", "/nowhere::" + library.getParent()),
        "library=" + library,
        "origin=java.library.path");
    assertFalse(Files.exists(cache));
    Files.writeString(library, "broken");
    fails(
        child().property("java.library.path", library.getParent()),
        "load",
        library,
        "java.library.path",
        "-Dgatun.library");
  }

  // ---- native access -------------------------------------------------------------------------

  @Test
  void nativeAccessIsNamedForTheWayOfStarting() throws Exception {
    fails(child().withoutNativeAccess(), "load", "--enable-native-access=dev.gatun");
    fails(classPathChild().withoutNativeAccess(), "load", "--enable-native-access=ALL-UNNAMED");
  }

  @Test
  void theClassPath() throws Exception {
    loads(classPathChild(), "module=false");
    loads(child(), "module=true");
  }

  // ---- extraction ----------------------------------------------------------------------------

  @Test
  void aJar() throws Exception {
    Path jar = folder.resolve("gatun with space.jar");
    Path classes = ChildJvm.mainClasses();
    try (FileSystem zip = FileSystems.newFileSystem(jar, Map.of("create", "true"));
        Stream<Path> files = Files.walk(classes)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Path target = zip.getPath("/" + classes.relativize(file));
        Files.createDirectories(target.getParent());
        Files.copy(file, target);
      }
    }
    loads(child().gatun(jar), "module=true", "origin=jar:");
    loads(classPathChild().gatun(jar), "module=false", "origin=jar:");
    assertEquals(1, extracted().size());
  }

  private List<Path> extracted() throws IOException {
    try (Stream<Path> files = Files.walk(cache)) {
      return files.filter(Files::isRegularFile).toList();
    }
  }

  @Test
  void severalProcessesExtractAtOnce() throws Exception {
    List<Process> processes = new ArrayList<>();
    for (int n = 0; n < 4; n++) {
      processes.add(child().start(folder.resolve(n + ".out"), folder.resolve(n + ".err"), "load"));
    }
    for (int n = 0; n < 4; n++) {
      assertEquals(0, processes.get(n).waitFor());
      String out = ChildJvm.text(folder.resolve(n + ".out"));
      assertTrue(out.contains("result=1.0"), out);
      assertEquals("", ChildJvm.text(folder.resolve(n + ".err")));
    }
    List<Path> files = extracted();
    assertEquals(1, files.size(), files.toString());
    assertEquals(-1, Files.mismatch(copy, files.getFirst()));
    for (Path folder : List.of(cache, files.getFirst().getParent())) {
      assertEquals(
          "rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(folder)));
    }
  }

  @Test
  void aSpoiledExtractionIsReplaced() throws Exception {
    loads(child());
    Path file = extracted().getFirst();
    Object inode = Files.getAttribute(file, "unix:ino");
    loads(child());
    assertEquals(inode, Files.getAttribute(file, "unix:ino"), "a right one is kept");
    byte[] content = Files.readAllBytes(file);
    content[content.length / 2] ^= 1;
    Files.write(file, content);
    loads(child());
    assertEquals(-1, Files.mismatch(copy, file));
    Files.write(file, new byte[10]);
    loads(child());
    assertEquals(-1, Files.mismatch(copy, file));
    Files.delete(file);
    Files.createSymbolicLink(file, copy);
    loads(child());
    assertFalse(Files.isSymbolicLink(file));
  }

  @ParameterizedTest
  @ValueSource(strings = {"rwxr-xr-x", "rwxrwxrwx", "rwx--x---"})
  void aFolderThatIsNotPrivateIsRefused(String permissions) throws Exception {
    Files.createDirectory(cache);
    Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString(permissions));
    fails(child(), "load", cache, permissions, "expected rwx------", "-Dgatun.cache");
  }

  @Test
  void aFolderOfAnotherUserIsRefused() throws Exception {
    if (Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0)) {
      Files.createDirectory(
          cache,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      Files.setAttribute(cache, "unix:uid", 65_534, LinkOption.NOFOLLOW_LINKS);
    } else {
      cache = Path.of("/");
    }
    fails(child(), "load", cache, "it belongs to user", "-Dgatun.cache");
  }

  @Test
  void aLinkOrAFileIsRefused() throws Exception {
    Path real =
        Files.createDirectory(
            folder.resolve("real"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    Files.createSymbolicLink(cache, real);
    fails(child(), "load", cache, "it is not a folder", "-Dgatun.cache");
    cache = copy;
    fails(child(), "load", cache, "it is not a folder", "-Dgatun.cache");
    cache = folder.resolve("missing/cache");
    fails(child(), "load", cache, "cannot extract", "-Dgatun.cache");
  }

  // ---- platform, tier ------------------------------------------------------------------------

  @Test
  void anUnsupportedPlatformIsNamed() throws Exception {
    fails(
        child().property("os.name", "Mac OS X"),
        "load",
        "Gatun runs on Linux x86_64 and Linux aarch64",
        "Mac OS X");
    fails(child().property("os.arch", "riscv64"), "load", "Linux riscv64");
  }

  @Test
  void theEnvironmentChoosesTheTier() throws Exception {
    loads(child().environment("GATUN_ISA", "portable"), "tier=portable by ENVIRONMENT");
    loads(child().environment("GATUN_ISA", ""), " by CPU");
    fails(child().environment("GATUN_ISA", "avx1024"), "load", "GATUN_ISA", "avx1024");
    boolean x86 = GatunRuntime.isAvailable(Tier.AVX2);
    String other = x86 ? "neon" : "avx2";
    fails(child().environment("GATUN_ISA", other), "load", "GATUN_ISA", other);
  }

  // ---- OpenBLAS ------------------------------------------------------------------------------

  @Test
  void openBlasFromTheClassPath() throws Exception {
    for (ChildJvm child : List.of(child(), classPathChild())) {
      String out = child.run("openblas").expectSuccess();
      assertTrue(out.startsWith("info="), out);
      assertTrue(out.contains("libopenblas.so.0"), out);
    }
    Path file =
        extracted().stream().filter(f -> f.endsWith("libopenblas.so.0")).findFirst().orElseThrow();
    // The same file, named: its neighbours are found beside it.
    String out = child().property("gatun.openblas", file).run("openblas").expectSuccess();
    assertTrue(out.contains("-Dgatun.openblas"), out);
  }

  @Test
  void openBlasThatIsNotThere() throws Exception {
    fails(
        child().withoutOpenBlas(),
        "openblas",
        "org.bytedeco:openblas",
        "class path",
        "-Dgatun.openblas");
    Path missing = folder.resolve("missing.so");
    fails(
        child().property("gatun.openblas", missing),
        "openblas",
        "-Dgatun.openblas=" + missing,
        "no such file");
    compile("int other(void) { return 1; }");
    fails(
        child().property("gatun.openblas", copy),
        "openblas",
        copy,
        "is not OpenBLAS",
        "-Dgatun.openblas");
  }
}
