/**
 * FlashAttention for the JVM: exact attention on off-heap tensors by the C library libgatun.
 *
 * <p>Start the JVM with {@code --enable-native-access=dev.gatun}, or with {@code
 * --enable-native-access=ALL-UNNAMED} where Gatun is on the class path.
 */
module dev.gatun {
  requires static com.fasterxml.jackson.core;
  requires static com.fasterxml.jackson.jr.ob;
  requires static info.picocli;
  requires static java.desktop;
  requires static java.xml;
  requires static jdk.management;
  requires static org.apache.xmlgraphics.batik.svggen;
  requires static org.jfree.jfreechart;
  requires jdk.jfr;

  exports dev.gatun;
  exports dev.gatun.io;
  exports dev.gatun.model;
  exports dev.gatun.nn;

  opens dev.gatun.cli to
      info.picocli;
}
