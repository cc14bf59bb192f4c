package dev.gatun.model;

import java.time.Duration;
import java.util.List;

/**
 * A text that was generated.
 *
 * @param text without the prompt, the stop string and special tokens
 * @param tokens all that were generated, those of an end or a stop string included
 * @param promptTokens tokens of the prompt, that of the beginning included
 * @param reason why it ended
 * @param prefill time from the call to the first token: the prompt's. Of texts that are generated
 *     together, that of all prompts
 * @param decoding time from the first token to the last
 */
public record Generation(
    String text,
    List<Integer> tokens,
    int promptTokens,
    Reason reason,
    Duration prefill,
    Duration decoding) {

  /** Why a text ended. */
  public enum Reason {
    /** The model's end token came, or a stop token. */
    END_TOKEN,
    /** A stop string came. */
    STOP_STRING,
    /** As many tokens as were asked for, or as there is room for. */
    LENGTH,
    /** The caller's callback would not go on. */
    CALLER
  }
}
