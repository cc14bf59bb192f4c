package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.support.ChildJvm;
import org.junit.jupiter.api.Test;

/** How many threads a runtime has that was not told. */
class DefaultThreadsTest {

  private static String threads(ChildJvm child) throws Exception {
    return child
        .flag("-XX:+UseSerialGC")
        .run("load")
        .expectSuccess()
        .lines()
        .filter(line -> line.startsWith("threads="))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void whatTheJvmSays() throws Exception {
    int cpus;
    try (GatunRuntime runtime = GatunRuntime.create()) {
      cpus = runtime.info().cpus();
      assertTrue(runtime.threads() <= cpus);
    }
    String one = threads(ChildJvm.onModulePath().flag("-XX:ActiveProcessorCount=1"));
    assertEquals("threads=1 by " + (cpus == 1 ? "CPUS" : "JVM"), one);
    // More than there are is no reason for more threads.
    assertEquals(
        "threads=" + cpus + " by CPUS",
        threads(ChildJvm.onModulePath().flag("-XX:ActiveProcessorCount=64")));
  }

  @Test
  void whatTheCallerSays() {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(3).build()) {
      assertEquals(3, runtime.threads());
      assertEquals(RuntimeInfo.ThreadsSource.CONFIG, runtime.info().threadsSource());
    }
  }
}
