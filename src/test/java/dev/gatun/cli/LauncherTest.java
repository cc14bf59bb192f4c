package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.launcher.Launcher;
import dev.gatun.support.ChildJvm;
import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** {@code java -jar gatun.jar}, on this Java and on an older one. */
class LauncherTest {
  private static final int JAVA_8 = 52;

  @TempDir Path directory;
  private Path jar;

  /** As the build makes it, but for the descriptor of the module, which no java -jar reads. */
  @BeforeEach
  void makeJar() throws IOException {
    jar = directory.resolve("gatun.jar");
    Manifest manifest = new Manifest();
    Attributes attributes = manifest.getMainAttributes();
    attributes.put(Attributes.Name.MANIFEST_VERSION, "1.0");
    attributes.put(Attributes.Name.MAIN_CLASS, Launcher.class.getName());
    attributes.putValue("Enable-Native-Access", "ALL-UNNAMED");
    Path classes = ChildJvm.mainClasses();
    try (OutputStream file = Files.newOutputStream(jar);
        JarOutputStream out = new JarOutputStream(file, manifest);
        Stream<Path> files = Files.walk(classes)) {
      out.setLevel(0);
      for (Path content : files.filter(Files::isRegularFile).toList()) {
        out.putNextEntry(new JarEntry(classes.relativize(content).toString()));
        Files.copy(content, out);
      }
    }
  }

  private static Path java(Path home) {
    return home.resolve("bin").resolve("java");
  }

  private CliRun run(Path java, String... args) throws Exception {
    List<String> command = new ArrayList<>(List.of(java.toString(), "-jar", jar.toString()));
    command.addAll(List.of(args));
    return CliRun.run(command, Map.of(), directory);
  }

  private void putBeside(String folder, Class<?>... types) throws IOException {
    Path lib = Files.createDirectories(directory.resolve("lib").resolve(folder));
    for (Class<?> type : types) {
      Path found =
          Path.of(URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()));
      Files.copy(found, lib.resolve(found.getFileName()));
    }
  }

  @Test
  void everyClassOfIt_isForJava8() throws IOException {
    Path folder = ChildJvm.mainClasses().resolve("dev/gatun/launcher");
    try (Stream<Path> files = Files.list(folder)) {
      List<Path> classes = files.toList();
      assertTrue(classes.contains(folder.resolve("Launcher.class")), classes.toString());
      for (Path file : classes) {
        DataInputStream in =
            new DataInputStream(new ByteArrayInputStream(Files.readAllBytes(file)));
        assertEquals(0xcafebabe, in.readInt());
        in.readUnsignedShort();
        assertTrue(in.readUnsignedShort() <= JAVA_8, file.toString());
      }
    }
    assertTrue(
        Files.readString(Path.of("pom.xml"))
            .contains("--main-class=" + Launcher.class.getName() + " "));
  }

  @Test
  void olderJava_isToldWhatIsNeeded() throws Exception {
    List<Path> older = new ArrayList<>();
    try (Stream<Path> homes = Files.list(Path.of("/usr/lib/jvm"))) {
      for (Path home : homes.filter(home -> Files.exists(java(home))).toList()) {
        Properties release = new Properties();
        if (Files.exists(home.resolve("release"))) {
          try (InputStream in = Files.newInputStream(home.resolve("release"))) {
            release.load(in);
          }
          String version = release.getProperty("JAVA_VERSION", "99").replace("\"", "");
          if (Integer.parseInt(version.split("\\D")[0]) < 25) {
            older.add(home);
          }
        }
      }
    } catch (NoSuchFileException e) {
      // no such folder on this system
    }
    assumeTrue(!older.isEmpty(), "no older Java in /usr/lib/jvm");
    for (Path home : older) {
      CliRun run = run(java(home), "info");
      assertEquals(2, run.code());
      assertEquals("", run.out());
      assertEquals(1, run.err().lines().count(), run.err());
      assertTrue(run.err().startsWith("gatun: expected Java 25 or newer, this is Java "));
    }
  }

  @Test
  void dependenciesThatAreMissing_areNamed() throws Exception {
    Path java = java(Path.of(System.getProperty("java.home")));
    CliRun nothing = run(java, "info");
    assertEquals(2, nothing.code());
    assertEquals("", nothing.out());
    assertEquals(1, nothing.err().lines().count(), nothing.err());
    assertTrue(nothing.err().contains("info.picocli:picocli"), nothing.err());
    putBeside("modules", CommandLine.class);
    assertEquals(nothing, run(java, "info"));
  }

  @Test
  void dependenciesBesideTheJar_areFound() throws Exception {
    putBeside("modules", CommandLine.class, JSON.class);
    putBeside("classpath", JsonFactory.class);
    Path java = java(Path.of(System.getProperty("java.home")));
    CliRun run = run(java, "info", "--json");
    assertEquals(new CliRun(0, run.out(), ""), run);
    assertTrue(JSON.std.mapFrom(run.out()).containsKey("tier"));
    CliRun refused = run(java, "attend");
    assertEquals(2, refused.code());
    assertTrue(refused.err().startsWith("gatun: Missing required option"), refused.err());
  }
}
