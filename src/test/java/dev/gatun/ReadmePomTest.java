package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/**
 * The pom in the README says what ours says: the same versions and exclusions, and the flag. Maven
 * builds and runs it with the README's example in .ci/run, where Gatun is installed.
 */
class ReadmePomTest {
  private static final Pattern POM =
      Pattern.compile("<!-- pom -->\\s*```xml\\R(.*?)```", Pattern.DOTALL);

  private static Element readme;
  private static Element ours;

  @BeforeAll
  static void parse() throws Exception {
    Matcher pom = POM.matcher(Files.readString(Path.of("README.md")));
    assertTrue(pom.find(), "README.md has no xml block after <!-- pom -->");
    readme = parse(pom.group(1).getBytes(StandardCharsets.UTF_8));
    ours = parse(Files.readAllBytes(Path.of("pom.xml")));
  }

  private static Element parse(byte[] xml) throws Exception {
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new ByteArrayInputStream(xml))
        .getDocumentElement();
  }

  private static List<Element> all(Element in, String tag) {
    NodeList nodes = in.getElementsByTagName(tag);
    List<Element> elements = new ArrayList<>();
    for (int n = 0; n < nodes.getLength(); n++) {
      elements.add((Element) nodes.item(n));
    }
    return elements;
  }

  /** The text of a child, with properties of our pom put in. */
  private static String text(Element of, String child) {
    for (Element element : all(of, child)) {
      if (element.getParentNode() == of) {
        String text = element.getTextContent();
        return text.startsWith("${")
            ? all(ours, text.substring(2, text.length() - 1)).getFirst().getTextContent()
            : text;
      }
    }
    return null;
  }

  private static Element ours(String tag, String artifact) {
    return all(ours, tag).stream()
        .filter(element -> artifact.equals(text(element, "artifactId")))
        .findFirst()
        .orElse(null);
  }

  @Test
  void dependencies() {
    List<Element> dependencies = all(readme, "dependency");
    assertEquals("gatun", text(dependencies.getFirst(), "artifactId"));
    assertEquals(text(ours, "groupId"), text(dependencies.getFirst(), "groupId"));
    assertEquals(text(ours, "version"), text(dependencies.getFirst(), "version"));
    assertEquals(3, dependencies.size());
    for (Element dependency : dependencies.subList(1, 3)) {
      String artifact = text(dependency, "artifactId");
      Element own = ours("dependency", artifact);
      assertNotNull(own, artifact);
      assertEquals(text(own, "groupId"), text(dependency, "groupId"));
      assertEquals(text(own, "version"), text(dependency, "version"));
      assertEquals(exclusions(own), exclusions(dependency));
    }
  }

  private static List<String> exclusions(Element dependency) {
    return all(dependency, "exclusion").stream()
        .map(e -> text(e, "groupId") + ":" + text(e, "artifactId"))
        .toList();
  }

  /** What a project that pastes it gets without asking: no javacpp, but a JSON parser. */
  @Test
  void whatComesAlong() {
    assertEquals(List.of("org.bytedeco:javacpp"), exclusions(ours("dependency", "openblas")));
    assertEquals(null, text(ours("dependency", "jackson-core"), "optional"));
  }

  @Test
  void plugins() {
    for (Element plugin : all(readme, "plugin")) {
      String artifact = text(plugin, "artifactId");
      assertEquals(text(ours("plugin", artifact), "version"), text(plugin, "version"), artifact);
    }
    assertEquals(
        text(all(ours, "properties").getFirst(), "maven.compiler.release"),
        text(all(readme, "properties").getFirst(), "maven.compiler.release"));
    List<String> arguments = all(readme, "argument").stream().map(Element::getTextContent).toList();
    assertTrue(arguments.contains("--enable-native-access=ALL-UNNAMED"), arguments.toString());
    assertTrue(arguments.contains("Example"), arguments.toString());
  }
}
