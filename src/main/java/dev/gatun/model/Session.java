package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.internal.Gate;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Generator;
import java.lang.foreign.Arena;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Predicate;

/**
 * A conversation with a {@link LanguageModel}: each text is computed once, and what comes later
 * goes on after it. Made by {@link LanguageModel#newSession()}.
 *
 * <p>One thread at a time: a call that finds another one under way throws {@link
 * IllegalStateException} and changes nothing. The keys and values lie in an arena of this object's;
 * the caller closes it.
 */
public final class Session implements AutoCloseable {

  private final LanguageModel model;
  private final Arena arena = Arena.ofShared();
  private final Gate gate = new Gate("the session");
  private final DecoderState state;
  private final Generator generator;

  Session(LanguageModel model, int capacity) {
    this.model = model;
    try {
      this.state = model.decoder().newState(arena, 1, capacity);
      this.generator = new Generator(model.decoder(), state, null, arena);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /** {@return the tokens that it remembers} */
  public int length() {
    gate.enter();
    try {
      return state.length(0);
    } finally {
      gate.leave();
    }
  }

  /** {@return the tokens that it can remember} */
  public int capacity() {
    return state.capacity();
  }

  /**
   * Goes on after a prompt.
   *
   * @param prompt appended to what was said and generated before
   * @param options how, and where the text ends
   * @return the text that goes on, and why it ended
   * @throws IllegalArgumentException as of {@link #generate(String, GenerationOptions, Predicate)}
   */
  public Generation generate(String prompt, GenerationOptions options) {
    return generate(prompt, options, _ -> true);
  }

  /**
   * Goes on after a prompt, and hands over pieces of text. All tokens of the turn are remembered,
   * those of an end or a stop string, too; of a turn that fills the session, all but the last.
   *
   * @param prompt appended to what was said and generated before
   * @param options how, and where the text ends
   * @param sink as of {@link LanguageModel#generate(String, GenerationOptions, Predicate)}
   * @return the text that goes on, and why it ended
   * @throws IllegalArgumentException if the prompt has no tokens, or more than there is room for;
   *     nothing was changed
   * @throws IllegalStateException if this, the model or the runtime is closed, or another call is
   *     under way
   */
  public Generation generate(String prompt, GenerationOptions options, Predicate<String> sink) {
    Objects.requireNonNull(options, "options");
    Objects.requireNonNull(sink, "sink");
    long began = System.nanoTime();
    gate.enter();
    try (Arena passing = Arena.ofConfined()) {
      int length = state.length(0);
      int[] ids = model.encode(prompt, length == 0, state.capacity() - length);
      Turn turn = model.newTurn(options, sink, ids, began);
      generator.generate(
          Tensor.copyOf(passing, ids, 1, ids.length),
          options.maxTokens(),
          options.sampling(),
          turn::add);
      return turn.finish();
    } finally {
      gate.leave();
    }
  }

  /**
   * Copies the conversation: both go on from here, each its own way.
   *
   * @return a session of the same capacity, which the caller closes
   * @throws IllegalStateException if this is closed, or a call is under way
   */
  public Session fork() {
    gate.enter();
    try {
      Session copy = model.newSession(state.capacity());
      try {
        copy.state.copyFrom(state);
      } catch (Throwable e) {
        copy.close();
        throw e;
      }
      return copy;
    } finally {
      gate.leave();
    }
  }

  /**
   * Forgets all texts.
   *
   * @throws IllegalStateException if this is closed, or a call is under way
   */
  public void reset() {
    gate.enter();
    try {
      state.reset();
    } finally {
      gate.leave();
    }
  }

  /**
   * Frees the memory. Closing a closed session does nothing.
   *
   * @throws IllegalStateException if a call is under way
   */
  @Override
  public void close() {
    gate.close(
        Duration.ZERO,
        () -> {
          arena.close();
          model.leave();
        });
  }
}
