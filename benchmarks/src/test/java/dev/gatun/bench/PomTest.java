package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.xml.sax.SAXException;

/** What both projects depend on or are built with has one version. */
class PomTest {

  private static String text(Element parent, String name) {
    for (Node node = parent.getFirstChild(); node != null; node = node.getNextSibling()) {
      if (node.getNodeName().equals(name)) {
        return node.getTextContent();
      }
    }
    return "";
  }

  /** Artifact → version, of all dependencies and plugins, those of profiles included. */
  private static Map<String, String> versions(String pom)
      throws IOException, ParserConfigurationException, SAXException {
    Document document =
        DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(Path.of(pom).toFile());
    Element properties = (Element) document.getElementsByTagName("properties").item(0);
    Map<String, String> versions = new TreeMap<>();
    versions.put("the library", text(document.getDocumentElement(), "version"));
    for (String kind : new String[] {"dependency", "plugin"}) {
      for (int i = 0; i < document.getElementsByTagName(kind).getLength(); i++) {
        Element element = (Element) document.getElementsByTagName(kind).item(i);
        String version = text(element, "version");
        if (version.startsWith("${")) {
          version = text(properties, version.substring(2, version.length() - 1));
        }
        if (!version.isEmpty()) {
          versions.put(text(element, "artifactId"), version);
        }
      }
    }
    return versions;
  }

  @Test
  void versionsAreThoseOfTheLibrary()
      throws IOException, ParserConfigurationException, SAXException {
    Map<String, String> library = versions("pom.xml");
    Map<String, String> benchmarks = versions("benchmarks/pom.xml");
    assertEquals(library.get("the library"), benchmarks.get("gatun"));
    benchmarks.keySet().retainAll(library.keySet());
    assertTrue(benchmarks.keySet().contains("onnxruntime"), benchmarks.toString());
    library.keySet().retainAll(benchmarks.keySet());
    assertEquals(library, benchmarks);
  }
}
