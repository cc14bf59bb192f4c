package dev.gatun.support;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * No file ends the JVM, takes memory without bounds or is refused by another exception than the
 * documented one. {@code -Dgatun.mutations} says how many inputs each reader gets, {@code
 * -Dgatun.mutations.seconds} for how long at most, {@code -Dgatun.mutations.seed} which.
 */
@Execution(ExecutionMode.SAME_THREAD)
class ReaderMutationsTest {
  private static final String JACKSON = "com/fasterxml/jackson/core/JsonFactory.class";

  @ParameterizedTest
  @ValueSource(
      classes = {
        ReaderSubjects.NpyFiles.class,
        ReaderSubjects.SafetensorsFiles.class,
        ReaderSubjects.OnnxFiles.class,
        ReaderSubjects.Folders.class
      })
  void noFileDoesHarm(Class<? extends Mutations.Subject> subject) throws Exception {
    Mutations.Outcome outcome =
        Mutations.inChild(
            ChildJvm.onClassPath().withoutOpenBlas().onClassPathToo(JACKSON),
            subject,
            Long.getLong("gatun.mutations.seed", System.nanoTime()),
            Long.getLong("gatun.mutations", 200_000),
            Duration.ofSeconds(Long.getLong("gatun.mutations.seconds", 15)));
    System.out.println(subject.getSimpleName() + ", " + outcome.out());
    outcome.expectNoProblem();
    assertTrue(outcome.out().endsWith(" 0 undocumented"), outcome.out());
    assertFalse(outcome.out().contains(" 0 read"), outcome.out());
    assertFalse(outcome.out().contains(" 0 refused"), outcome.out());
  }
}
