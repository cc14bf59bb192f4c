package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.gatun.support.ChildJvm;
import dev.gatun.support.Mutations;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class TokenizerMutationsTest {
  private static final long COUNT = Long.getLong("gatun.mutations", 200_000);
  private static final long SECONDS = Long.getLong("gatun.mutations.seconds", 30);

  @Test
  void seedsAreTokenizers() {
    TokenizerSubject subject = new TokenizerSubject();
    subject.seeds().forEach(seed -> assertDoesNotThrow(() -> subject.read(seed)));
  }

  @Test
  void noChangedFileEndsTheJvm() throws Exception {
    Mutations.Outcome outcome =
        Mutations.inChild(
            ChildJvm.onClassPath()
                .withoutOpenBlas()
                .onClassPathToo("com/fasterxml/jackson/core/JsonFactory.class")
                .onClassPathToo("ai/djl/huggingface/tokenizers/jni/TokenizersLibrary.class"),
            TokenizerSubject.class,
            Long.getLong("gatun.mutations.seed", System.nanoTime()),
            COUNT,
            Duration.ofSeconds(SECONDS));
    System.out.println("tokenizer.json, " + outcome.out());
    outcome.expectNoProblem();
    assertFalse(outcome.out().contains(" 0 read"), outcome.out());
  }
}
