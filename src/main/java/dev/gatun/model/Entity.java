package dev.gatun.model;

import java.util.Objects;

/**
 * A part of a text that has a label: a name, a place, a date.
 *
 * @param label of the part, such as {@code PER}
 * @param score probability of the label, the mean of the part's tokens
 * @param text the part as it stands in the text
 * @param begin index of its first character in the text
 * @param end index behind its last character
 */
public record Entity(String label, float score, String text, int begin, int end) {

  /** Refuses what is missing. */
  public Entity {
    Objects.requireNonNull(label, "label");
    Objects.requireNonNull(text, "text");
  }
}
