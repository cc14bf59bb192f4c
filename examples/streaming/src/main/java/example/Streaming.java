package example;

import com.sun.management.ThreadMXBean;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Generator;
import dev.gatun.nn.Sampling;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.function.IntConsumer;
import java.util.function.IntPredicate;

/** Continues a verse that begins again, and prints each character as it comes. */
public final class Streaming {

  /** William Blake, The Tyger. */
  private static final String VERSE =
      """
      Tyger Tyger, burning bright,
      In the forests of the night;
      What immortal hand or eye,
      Could frame thy fearful symmetry?
      """;

  private static final String BEGINNING = "Tyger Tyger,";
  private static final String PROMPT = VERSE + "\n" + BEGINNING;
  private static final String EXPECTED = VERSE.substring(BEGINNING.length());

  /** Hot enough for slips of the pen. */
  private static final double TEMPERATURE = 1.5;

  private static final int WARM_UP = 20;

  /** Each character once, in order: a token is an index into it. */
  private static final int[] ALPHABET = VERSE.chars().sorted().distinct().toArray();

  private final DecoderOnlyModel model;
  private final DecoderState state;
  private final Generator generator;
  private final Tensor prompt;

  private Streaming(DecoderOnlyModel model, Workspace workspace, Arena arena) {
    this.model = model;
    this.state = model.newState(arena, 1, PROMPT.length() + EXPECTED.length());
    this.generator = new Generator(model, state, workspace, arena);
    this.prompt = tokens(arena, PROMPT);
  }

  public static void main(String[] args) {
    try (GatunRuntime runtime = GatunRuntime.create();
        Workspace workspace = runtime.newWorkspace();
        Arena arena = Arena.ofConfined()) {
      DecoderOnlyModel model = InductionModel.of(runtime, arena, ALPHABET.length);
      Streaming streaming = new Streaming(model, workspace, arena);

      System.out.print(PROMPT);
      String greedy = streaming.text(Sampling.greedy(), Streaming::print);
      check("the verse", EXPECTED, greedy);
      check("one pass over the text", EXPECTED, streaming.onePass(arena));

      System.out.printf("%nAt temperature %s:%n%n%s", TEMPERATURE, BEGINNING);
      String drawn = streaming.text(new Sampling(TEMPERATURE, 0, 1, 1), Streaming::print);
      check("the same seed", drawn, streaming.text(new Sampling(TEMPERATURE, 0, 1, 1), c -> {}));
      if (drawn.equals(streaming.text(new Sampling(TEMPERATURE, 0, 1, 2), c -> {}))) {
        throw new AssertionError("another seed: expected another text, got the same");
      }

      System.out.printf("%n%n%s%n", streaming.measure());
      System.out.printf(
          "%d characters streamed, all as in the verse; same seed, same text%n", greedy.length());
    }
  }

  private static void print(int character) {
    System.out.print((char) character);
    System.out.flush();
  }

  /** Generates a text, and hands each character over as it comes. */
  private String text(Sampling sampling, IntConsumer each) {
    StringBuilder text = new StringBuilder();
    generate(
        sampling,
        token -> {
          each.accept(ALPHABET[token]);
          text.append((char) ALPHABET[token]);
          return true;
        });
    return text.toString();
  }

  private void generate(Sampling sampling, IntPredicate sink) {
    state.reset();
    generator.generate(prompt, EXPECTED.length(), sampling, sink);
  }

  /** The best characters after those of the whole text, computed at once. */
  private String onePass(Arena arena) {
    String all = PROMPT + EXPECTED;
    Tensor ids = tokens(arena, all.substring(0, all.length() - 1));
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 1, ids.size(1), model.vocabulary());
    state.reset();
    model.forward(null, state, ids, null, logits);
    StringBuilder text = new StringBuilder();
    for (long n = PROMPT.length() - 1; n < ids.size(1); n++) {
      float[] scores = logits.select(0, 0).select(0, n).toFloatArray();
      int best = 0;
      for (int token = 1; token < scores.length; token++) {
        best = scores[token] > scores[best] ? token : best;
      }
      text.append((char) ALPHABET[best]);
    }
    return text.toString();
  }

  private String measure() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    Stopwatch stopwatch = new Stopwatch();
    Sampling sampling = Sampling.greedy();
    for (int n = 0; n < WARM_UP; n++) {
      stopwatch.count = 0;
      generate(sampling, stopwatch);
    }
    stopwatch.count = 0;
    long before = threads.getCurrentThreadAllocatedBytes();
    generate(sampling, stopwatch);
    long bytes = threads.getCurrentThreadAllocatedBytes() - before;
    return "%.0f µs a token; %d heap bytes for all %d of them"
        .formatted(stopwatch.nanos() / 1e3, bytes, stopwatch.count);
  }

  /** The time from the first token to the last, without that of the prompt. */
  private static final class Stopwatch implements IntPredicate {
    private int count;
    private long first;
    private long last;

    @Override
    public boolean test(int token) {
      last = System.nanoTime();
      first = count == 0 ? last : first;
      count++;
      return true;
    }

    double nanos() {
      return (double) (last - first) / (count - 1);
    }
  }

  private static Tensor tokens(Arena arena, String text) {
    int[] ids = text.chars().map(c -> Arrays.binarySearch(ALPHABET, c)).toArray();
    return Tensor.copyOf(arena, ids, 1, ids.length);
  }

  private static void check(String what, String expected, String got) {
    if (!got.equals(expected)) {
      throw new AssertionError("%s: expected %s, got %s".formatted(what, expected, got));
    }
  }
}
