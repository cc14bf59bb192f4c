package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.nn.BeamSearch.Hypothesis;
import org.junit.jupiter.api.Test;

/** Records with arrays compare what the arrays hold. */
class TokenizedTest {

  @Test
  void contentsCount() {
    Tokenized one = new Tokenized(new int[] {101, 7, 102}, 5);
    Tokenized same = new Tokenized(new int[] {101, 7, 102}, 5);
    assertEquals(one, same);
    assertEquals(one.hashCode(), same.hashCode());
    assertEquals("Tokenized[ids=[101, 7, 102], originalCount=5]", one.toString());
    assertNotEquals(one, new Tokenized(new int[] {101, 7, 102}, 3));
    assertNotEquals(one, new Tokenized(new int[] {101, 8, 102}, 5));
    assertNotEquals(one, new Tokenized(new int[] {101, 7}, 5));
    assertNotEquals(one, null);
    assertNotEquals(one, "Tokenized");
    assertThrows(NullPointerException.class, () -> new Tokenized(null, 0));
  }

  @Test
  void typesCount() {
    int[] ids = {101, 7, 102};
    Tokenized zeros = new Tokenized(ids, 3);
    Tokenized typed = new Tokenized(ids, new int[] {0, 1, 1}, 3);
    assertArrayEquals(new int[3], zeros.typeIds());
    assertEquals(zeros, new Tokenized(ids, new int[3], 3));
    assertEquals(zeros.hashCode(), new Tokenized(ids, new int[3], 3).hashCode());
    assertEquals(typed, new Tokenized(ids.clone(), new int[] {0, 1, 1}, 3));
    assertNotEquals(typed, zeros);
    assertNotEquals(zeros, typed);
    assertEquals(
        "Tokenized[ids=[101, 7, 102], typeIds=[0, 1, 1], originalCount=3]", typed.toString());
    assertEquals(
        "typeIds: expected one for each of 3 tokens, got 2",
        assertThrows(IllegalArgumentException.class, () -> new Tokenized(ids, new int[2], 3))
            .getMessage());
  }

  @Test
  void hypotheses() {
    Hypothesis one = new Hypothesis(new int[] {4, 2}, -1.5, -0.75);
    Hypothesis same = new Hypothesis(new int[] {4, 2}, -1.5, -0.75);
    assertEquals(one, same);
    assertEquals(one.hashCode(), same.hashCode());
    assertEquals("Hypothesis[tokens=[4, 2], logProbability=-1.5, score=-0.75]", one.toString());
    assertNotEquals(one, new Hypothesis(new int[] {4, 3}, -1.5, -0.75));
    assertNotEquals(one, new Hypothesis(new int[] {4, 2}, -1.6, -0.75));
    assertNotEquals(one, new Hypothesis(new int[] {4, 2}, -1.5, -0.7));
    assertNotEquals(one, null);
  }
}
