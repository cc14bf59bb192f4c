package dev.gatun.bench.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.openjdk.jmh.annotations.Benchmark;

/** Every JMH method runs once, so that none is found broken on the day. */
class JmhBenchmarksTest {

  @TestFactory
  Stream<DynamicTest> jmhMethods() {
    List<DynamicTest> tests = new ArrayList<>();
    for (Method method : benchmarks(CallBenchmark.class)) {
      for (String shape : List.of("tiny16", "tiny16q0")) {
        tests.add(
            dynamicTest(
                "CallBenchmark." + method.getName() + " " + shape,
                () -> {
                  CallBenchmark benchmark = new CallBenchmark();
                  benchmark.shape = shape;
                  benchmark.open();
                  check(method, method.invoke(benchmark), shape);
                  benchmark.close();
                }));
      }
    }
    for (Method method : benchmarks(AttentionBenchmark.class)) {
      tests.add(
          dynamicTest(
              "AttentionBenchmark." + method.getName(),
              () -> {
                AttentionBenchmark benchmark = new AttentionBenchmark();
                benchmark.shape = "s128d64";
                benchmark.open();
                check(method, method.invoke(benchmark), benchmark.shape);
                benchmark.close();
              }));
    }
    return tests.stream();
  }

  private static List<Method> benchmarks(Class<?> type) {
    List<Method> methods = new ArrayList<>();
    for (Method method : type.getDeclaredMethods()) {
      if (method.isAnnotationPresent(Benchmark.class)) {
        methods.add(method);
      }
    }
    assertTrue(methods.size() > 1, methods.toString());
    return methods;
  }

  private static void check(Method method, Object result, String shape) {
    if (result instanceof Float first) {
      assertEquals(shape.equals("tiny16q0"), first == 0, method + ": " + first);
    }
  }
}
