package dev.gatun.model;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** One text that is being generated: takes tokens, and says when it ends. */
final class Turn {

  private final TextVocabulary vocabulary;
  private final List<Integer> endTokens;
  private final GenerationOptions options;
  private final Predicate<String> sink;
  private final TextPieces pieces;
  private final StringBuilder text = new StringBuilder();
  private final List<Integer> tokens = new ArrayList<>();
  private final int promptTokens;
  private final long began;
  private int previous;
  private long first;
  private long last;
  private Generation.Reason reason;

  Turn(
      TextVocabulary vocabulary,
      List<Integer> endTokens,
      GenerationOptions options,
      Predicate<String> sink,
      int[] prompt,
      long began) {
    this.vocabulary = vocabulary;
    this.endTokens = endTokens;
    this.options = options;
    this.sink = sink;
    this.pieces = new TextPieces(options.stops());
    this.promptTokens = prompt.length;
    this.previous = prompt[prompt.length - 1];
    this.began = began;
    this.first = began;
    this.last = began;
  }

  /** Takes the next token, and returns whether the text goes on. */
  boolean add(int token) {
    last = System.nanoTime();
    first = tokens.isEmpty() ? last : first;
    tokens.add(token);
    if (endTokens.contains(token) || options.stopTokens().contains(token)) {
      reason = Generation.Reason.END_TOKEN;
      return false;
    }
    byte[] bytes = vocabulary.bytes(token, previous);
    previous = -1;
    boolean goesOn = hand(pieces.add(bytes));
    if (pieces.stopped()) {
      reason = Generation.Reason.STOP_STRING;
    } else if (!goesOn) {
      reason = Generation.Reason.CALLER;
    }
    return reason == null;
  }

  private boolean hand(String piece) {
    text.append(piece);
    return piece.isEmpty() || sink.test(piece);
  }

  /** Hands over what was held back, unless the caller would have no more. */
  Generation finish() {
    if (reason == null) {
      reason = Generation.Reason.LENGTH;
    }
    if (reason == Generation.Reason.LENGTH || reason == Generation.Reason.END_TOKEN) {
      hand(pieces.finish());
      if (pieces.stopped()) { // by a character that was never completed
        reason = Generation.Reason.STOP_STRING;
      }
    }
    return new Generation(
        text.toString(),
        List.copyOf(tokens),
        promptTokens,
        reason,
        Duration.ofNanos(first - began),
        Duration.ofNanos(last - first));
  }
}
