package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import dev.gatun.support.FirstCallMain;
import dev.gatun.support.OverflowMain;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A StackOverflowError or OutOfMemoryError in a first call is over with that call: no class is lost
 * to the JVM, and no workspace stays in use.
 */
class FirstCallTest {

  private static ChildJvm child(String what) {
    ChildJvm child =
        ChildJvm.onClassPath()
            .main(FirstCallMain.class)
            .flag("-XX:+UseSerialGC")
            .flag("-XX:MaxJavaStackTraceDepth=30");
    if (what.equals("embed") || what.equals("tokenizer")) {
      child
          .onClassPathToo("all-minilm-l6-v2.onnx")
          .onClassPathToo("ai/djl/huggingface/tokenizers/jni/TokenizersLibrary.class")
          .onClassPathToo("com/fasterxml/jackson/core/JsonFactory.class");
    }
    return child;
  }

  private static void survives(ChildJvm child, String... arguments) throws Exception {
    String out = child.run(arguments).expectSuccess();
    assertTrue(out.contains("failures=true") && out.endsWith("closed"), out);
  }

  @ParameterizedTest
  @ValueSource(strings = {"attention", "biased", "matmul", "linear", "norm", "tokenizer", "embed"})
  void atTheEndOfTheStack(String what) throws Exception {
    survives(child(what), "stack", what);
  }

  /** Frames of the interpreter are larger, and fail elsewhere. */
  @ParameterizedTest
  @ValueSource(strings = {"attention", "norm"})
  void atTheEndOfTheStackInterpreted(String what) throws Exception {
    survives(child(what).flag("-Xint"), "stack", what);
  }

  /** Wherever a call of cold code runs out of stack, its workspace is free for the next one. */
  @ParameterizedTest
  @CsvSource({"own, -Xmixed", "own, -Xint", "lent, -Xmixed", "lent, -Xint"})
  void overflowsLeaveNoWorkspaceInUse(String whose, String mode) throws Exception {
    String out =
        ChildJvm.onClassPath()
            .main(OverflowMain.class)
            .flag(mode)
            .flag("-XX:MaxJavaStackTraceDepth=30")
            .run(whose)
            .expectSuccess();
    assertEquals("overflows=true\nclosed", out);
  }

  @ParameterizedTest
  @ValueSource(strings = {"attention", "biased", "matmul", "linear", "norm"})
  void withoutHeap(String what) throws Exception {
    survives(child(what).flag("-Xmx40m"), "heap", what);
  }

  /** No static initialiser of the library is left to the thread that calls. */
  @ParameterizedTest
  @ValueSource(strings = {"attention", "biased", "matmul", "linear", "norm"})
  void nothingIsInitialisedInACall(String what) throws Exception {
    String out = child(what).flag("-Xlog:class+init=info").run("plain", what).expectSuccess();
    List<String> initialised =
        out.substring(out.indexOf("next call"))
            .lines()
            .filter(line -> line.contains("Initializing 'dev/gatun"))
            .filter(line -> !line.contains("(no method)") && !line.contains("/support/"))
            .filter(line -> line.contains("by thread \"main\""))
            .toList();
    assertEquals(List.of(), initialised);
  }
}
