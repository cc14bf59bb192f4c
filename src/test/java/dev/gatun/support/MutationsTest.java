package dev.gatun.support;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.Test;

class MutationsTest {
  private static final String JACKSON = "com/fasterxml/jackson/core/JsonFactory.class";
  private static final byte[] SEED =
      "{\"numbers\":[1,2.5,true,null],\"text\":\"é\"}".getBytes(StandardCharsets.UTF_8);

  /** Reads bytes well if their first is a brace, and dies of what the subclasses die of. */
  static class Braces implements Mutations.Subject {
    @Override
    public List<byte[]> seeds() {
      return List.of(SEED);
    }

    @Override
    public void read(byte[] bytes) throws Exception {
      if (bytes.length == 0 || bytes[0] != '{') {
        throw new IllegalArgumentException("no brace");
      }
    }

    @Override
    public boolean allows(Throwable thrown) {
      return thrown instanceof IllegalArgumentException;
    }

    @Override
    public byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
      return random.nextBoolean()
          ? JsonMutations.change(bytes, seeds, List.of("numbers", "text"), random)
          : Mutations.changeBytes(bytes, seeds, random);
    }
  }

  static final class Surprises extends Braces {
    @Override
    public void read(byte[] bytes) {
      if (bytes.length < SEED.length / 2) {
        throw new IndexOutOfBoundsException("short");
      }
    }
  }

  static final class Ends extends Braces {
    @Override
    public void read(byte[] bytes) {
      if (bytes.length < SEED.length / 2) {
        Runtime.getRuntime().halt(134);
      }
    }
  }

  private static Mutations.Outcome run(Class<? extends Mutations.Subject> subject)
      throws Exception {
    return Mutations.inChild(
        ChildJvm.onClassPath().withoutOpenBlas().onClassPathToo(JACKSON),
        subject,
        5,
        2000,
        Duration.ofSeconds(60));
  }

  @Test
  void documentedRefusalsAreNoProblem() throws Exception {
    Mutations.Outcome outcome = run(Braces.class);
    outcome.expectNoProblem();
    assertTrue(outcome.out().startsWith("seed 5: 2,000 inputs, "), outcome.out());
    assertTrue(outcome.out().endsWith(" refused, 0 undocumented"), outcome.out());
    assertFalse(outcome.out().contains(" 0 read"), outcome.out());
    assertFalse(outcome.out().contains(" 0 refused"), outcome.out());
  }

  @Test
  void undocumentedExceptionsAreFound() throws Exception {
    Mutations.Outcome outcome = run(Surprises.class);
    assertTrue(outcome.problem().contains("exit code 1"), outcome.problem());
    assertTrue(outcome.out().contains("IndexOutOfBoundsException: short"), outcome.out());
  }

  @Test
  void inputThatEndsTheJvmCanBeMadeAgain() throws Exception {
    Mutations.Outcome outcome = run(Ends.class);
    assertTrue(outcome.problem().contains("exit code 134"), outcome.problem());
    long n = Long.parseLong(outcome.problem().replaceAll("(?s).* was ", ""));
    List<byte[]> seeds = List.of(SEED);
    assertTrue(Mutations.input(new Ends(), seeds, 5, n).length < SEED.length / 2);
    for (long i = 0; i < n; i++) {
      assertTrue(Mutations.input(new Ends(), seeds, 5, i).length >= SEED.length / 2);
    }
  }

  @Test
  void inputsDifferAndRepeat() {
    List<byte[]> seeds = List.of(SEED);
    int equal = 0;
    for (long n = 0; n < 1000; n++) {
      byte[] input = Mutations.input(new Braces(), seeds, 7, n);
      assertArrayEquals(input, Mutations.input(new Braces(), seeds, 7, n));
      equal += Arrays.equals(input, SEED) ? 1 : 0;
    }
    assertTrue(equal < 100, equal + " unchanged");
  }
}
