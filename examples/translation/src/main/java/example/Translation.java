package example;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import dev.gatun.model.VaswaniTransformer;
import dev.gatun.model.Weights;
import dev.gatun.nn.BeamSearch;
import dev.gatun.nn.BeamSearch.Hypothesis;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Generator;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Sampling;
import dev.gatun.nn.Transformer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Translates sentences greedily and by beam search. */
public final class Translation {

  private static final int BEAMS = 4;
  private static final double ALPHA = 0.6;

  /** Of logarithms: the weights are exact but for the rounding of float32. */
  private static final double TOLERANCE = 1e-4;

  /** A sentence and what both ways of decoding must make of it. */
  private record Sentence(String english, String greedy, String beam) {}

  private static final List<Sentence> SENTENCES =
      List.of(
          new Sentence("the cat sleeps", "le chat dort", "le chat dort"),
          new Sentence("the moon sleeps", "le satellite dort", "la lune dort"),
          new Sentence("he saw the saw", "il vit le dicton", "il vit la scie"),
          new Sentence(
              "the small cat sees the big moon and sleeps",
              "le petit chat voit le grand satellite et dort",
              "le petit chat voit la grande lune et dort"));

  private static final Language LANGUAGE = new Language();

  private final Arena arena;
  private final Transformer model;
  private final DecoderState one;
  private final Generator generator;
  private final DecoderState beams;
  private final BeamSearch search;
  private final Tensor begin;
  private final int end = LANGUAGE.french.indexOf(Language.END);

  private Translation(GatunRuntime runtime, Arena arena, Path file) throws IOException {
    this.arena = arena;
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Tensor places = weights.get("position_embedding.weight");
    Weights blocks = weights::find; // without names: nobody looks for weights that are not read
    model =
        new VaswaniTransformer(1, 1, Activation.RELU, NormOrder.PRE)
            .of(runtime, blocks, PositionalEncoding.learned(places));
    int most = Math.toIntExact(places.size(0));
    one = model.newState(arena, 1, most, most);
    generator = new Generator(model, one, null, arena);
    beams = model.newState(arena, BEAMS, most, most);
    search = new BeamSearch(model, beams, null, arena, ALPHA);
    begin = ids(LANGUAGE.french, List.of(Language.BEGIN));
  }

  public static void main(String[] args) throws IOException {
    Path file = Files.createTempFile("translation", ".safetensors");
    try (GatunRuntime runtime = GatunRuntime.create();
        Arena arena = Arena.ofConfined()) {
      try (Arena made = Arena.ofConfined()) {
        Safetensors.write(file, HandMadeWeights.of(LANGUAGE, made), Map.of("format", "pt"));
      }
      Translation translation = new Translation(runtime, arena, file);
      int better = 0;
      for (Sentence sentence : SENTENCES) {
        better += translation.translate(sentence) ? 1 : 0;
      }
      System.out.printf(
          "%d sentences translated as expected, %d of them better by beam search%n",
          SENTENCES.size(), better);
    } finally {
      Files.delete(file);
    }
  }

  /** Tells whether beam search found a more probable text. */
  private boolean translate(Sentence sentence) {
    List<String> source = words(sentence.english + " " + Language.END);
    Tensor memory = encode(source);

    model.remember(null, one, memory, null);
    List<String> greedy = french(generator.generate(begin, most(), end, Sampling.greedy()));
    double greedyScore = logProbability(greedy);

    model.remember(null, beams, memory, null);
    Hypothesis best = search.search(begin, most(), end).getFirst();
    List<String> beam = french(best.tokens());

    System.out.println(sentence.english);
    print("greedy", greedy, greedyScore);
    print("beam", beam, best.logProbability());

    same("greedy", words(sentence.greedy + " " + Language.END), greedy);
    same("beam", words(sentence.beam + " " + Language.END), beam);
    same("greedy's logarithm", LANGUAGE.logProbability(source, greedy), greedyScore);
    same("beam's logarithm", LANGUAGE.logProbability(source, beam), best.logProbability());
    same("beam's score", best.logProbability() / penalty(beam.size()), best.score());
    same("logarithm of the best of all", LANGUAGE.best(source), best.logProbability());

    memory.fill(0); // the decoder alone knows the language, but not the sentence
    model.remember(null, one, memory, null);
    List<String> blind = french(generator.generate(begin, most(), end, Sampling.greedy()));
    if (blind.equals(greedy)) {
      throw new AssertionError("expected another text without the encoder, got " + blind);
    }
    return best.logProbability() > greedyScore + TOLERANCE;
  }

  private Tensor encode(List<String> source) {
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, 1, source.size(), model.decoder().dim());
    model.encode(null, ids(LANGUAGE.english, source), null, memory);
    return memory;
  }

  private int most() {
    return one.capacity();
  }

  /** What the model gives a text after the memory of the state, in one pass over it. */
  private double logProbability(List<String> target) {
    one.reset();
    int size = target.size();
    List<String> input = words(Language.BEGIN + " " + String.join(" ", target)).subList(0, size);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 1, size, model.vocabulary());
    model.forward(null, one, ids(LANGUAGE.french, input), null, logits);
    double sum = 0;
    for (int n = 0; n < size; n++) {
      float[] scores = logits.select(0, 0).select(0, n).toFloatArray();
      double all = IntStream.range(0, scores.length).mapToDouble(i -> Math.exp(scores[i])).sum();
      sum += scores[LANGUAGE.french.indexOf(target.get(n))] - Math.log(all);
    }
    return sum;
  }

  private Tensor ids(List<String> vocabulary, List<String> words) {
    int[] ids = words.stream().mapToInt(vocabulary::indexOf).toArray();
    return Tensor.copyOf(arena, ids, 1, ids.length);
  }

  private List<String> french(int[] tokens) {
    return Arrays.stream(tokens).mapToObj(LANGUAGE.french::get).toList();
  }

  private static List<String> words(String text) {
    return List.of(text.split(" "));
  }

  /** Of Wu et al. 2016. */
  private static double penalty(int length) {
    return Math.pow((5 + length) / 6.0, ALPHA);
  }

  private static void print(String how, List<String> words, double logarithm) {
    String text =
        words.stream().filter(w -> !w.equals(Language.END)).collect(Collectors.joining(" "));
    System.out.printf("  %-6s  %.3f  %s%n", how, logarithm, text);
  }

  private static void same(String what, List<String> expected, List<String> got) {
    if (!got.equals(expected)) {
      throw new AssertionError("%s: expected %s, got %s".formatted(what, expected, got));
    }
  }

  private static void same(String what, double expected, double got) {
    if (!(Math.abs(got - expected) <= TOLERANCE)) {
      throw new AssertionError("%s: expected %f, got %f".formatted(what, expected, got));
    }
  }
}
