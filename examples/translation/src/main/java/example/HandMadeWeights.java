package example;

import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;

/**
 * Weights of an encoder and a decoder of one block and one head, under the names of PyTorch.
 *
 * <p>A row is five vectors side by side: token, position, context, meaning, and the pair of meaning
 * and gender. Each of them is 0 until its sublayer has written it, and one-hot from then on. So all
 * rows that a norm sees have the same number of ones, hence the same mean and the same variance,
 * and the norm's own parameters undo what it does.
 */
final class HandMadeWeights {

  static final int POSITIONS = 12;

  private static final int TOKEN = 0;

  /** Distance of the best score of attention from all others: the rest weighs e^-50. */
  private static final float CERTAIN = 50;

  /** Stands for the logarithm of 0. */
  private static final float IMPOSSIBLE = -40;

  /** Of PyTorch's layer norm, which Gatun takes as well. */
  private static final double EPSILON = 1e-5;

  private final Language language;
  private final Arena arena;
  private final Map<String, Tensor> tensors = new HashMap<>();

  private final int position;
  private final int context;
  private final int meaning;
  private final int pair;
  private final int width;

  /** Cancels the 1 / sqrt(width) of attention, or the sqrt(width) of an embedding. */
  private final float root;

  private HandMadeWeights(Language language, Arena arena) {
    this.language = language;
    this.arena = arena;
    position = TOKEN + Math.max(language.english.size(), language.french.size());
    context = position + POSITIONS;
    meaning = context + Language.GENDERS;
    pair = meaning + language.meanings.size();
    width = pair + language.meanings.size() * Language.GENDERS;
    root = (float) Math.sqrt(width);
  }

  static Map<String, Tensor> of(Language language, Arena arena) {
    HandMadeWeights weights = new HandMadeWeights(language, arena);
    weights.embeddings();
    weights.encoder();
    weights.decoder();
    weights.output();
    return weights.tensors;
  }

  private void embeddings() {
    Tensor source = tensor("source_embedding.weight", language.english.size(), width);
    Tensor target = tensor("target_embedding.weight", language.french.size(), width);
    identity(source, 0, TOKEN, language.english.size(), 1 / root);
    identity(target, 0, TOKEN, language.french.size(), 1 / root);
    Tensor places = tensor("position_embedding.weight", POSITIONS, width);
    identity(places, 0, position, POSITIONS, 1);
  }

  /** Each word learns whether a noun may follow the word before it, and gets its meaning. */
  private void encoder() {
    String layer = "encoder.layers.0.";
    norm(layer + "norm1", 2);
    Tensor in = attention(layer + "self_attn", context, Language.GENDERS);
    for (int n = 0; n < POSITIONS; n++) {
      in.setFloat(CERTAIN * root, query(position + Math.max(n - 1, 0)), position + n);
    }
    identity(in, key(position), position, POSITIONS, 1);
    for (String word : language.english) {
      int token = TOKEN + language.english.indexOf(word);
      in.setFloat(1, value(context(Language.isBeforeNouns(word))), token);
    }
    norm(layer + "norm2", 3);
    int count = language.meanings.size();
    Tensor first = linear(layer + "linear1", count, width);
    for (int n = 0; n < count; n++) {
      String text = language.meanings.get(n);
      first.setFloat(1, n, TOKEN + language.english.indexOf(Language.wordOf(text)));
      if (Language.isAmbiguous(text)) { // 1 only if both are
        first.setFloat(1, n, context(Language.isNoun(text)));
        tensors.get(layer + "linear1.bias").setFloat(-1, n);
      }
    }
    identity(linear(layer + "linear2", width, count), meaning, 0, count, 1);
    norm("encoder.norm", 4);
  }

  private int context(boolean noun) {
    return context + (noun ? 0 : 1);
  }

  /**
   * Each word gets the gender of the last article from the words before it, and the meaning of the
   * word at its place from the encoder.
   */
  private void decoder() {
    String layer = "decoder.layers.0.";
    norm(layer + "norm1", 2);
    Tensor in = attention(layer + "self_attn", context, Language.GENDERS);
    tensors.get(layer + "self_attn.in_proj_bias").setFloat(root, query(0));
    for (int n = 0; n < POSITIONS; n++) { // of two articles the later one
      in.setFloat(CERTAIN * n, key(0), position + n);
    }
    for (String word : language.french) {
      if (Language.genderOf(word) != null) { // before all words that are none
        int token = TOKEN + language.french.indexOf(word);
        in.setFloat(CERTAIN * POSITIONS, key(0), token);
        in.setFloat(1, value(context + Language.genderOf(word)), token);
      }
    }
    norm(layer + "norm2", 3);
    int count = language.meanings.size();
    Tensor cross = attention(layer + "multihead_attn", meaning, count);
    identity(cross, query(position), position, POSITIONS, CERTAIN * root);
    identity(cross, key(position), position, POSITIONS, 1);
    identity(cross, value(meaning), meaning, count, 1);
    norm(layer + "norm3", 4);
    int pairs = count * Language.GENDERS;
    Tensor first = linear(layer + "linear1", pairs, width);
    tensors.get(layer + "linear1.bias").fill(-1); // 1 only if meaning and gender are
    for (int n = 0; n < pairs; n++) {
      first.setFloat(1, n, meaning + n / Language.GENDERS);
      first.setFloat(1, n, context + n % Language.GENDERS);
    }
    identity(linear(layer + "linear2", width, pairs), pair, 0, pairs, 1);
    norm("decoder.norm", 5);
  }

  /** The dictionary: the logarithm of each word's probability for each pair. */
  private void output() {
    Tensor output = tensor("output.weight", language.french.size(), width);
    for (int n = 0; n < width - pair; n++) {
      Map<String, Double> words = language.words(n / Language.GENDERS, n % Language.GENDERS);
      for (int token = 0; token < language.french.size(); token++) {
        Double probability = words.get(language.french.get(token));
        float logarithm = probability == null ? IMPOSSIBLE : (float) Math.log(probability);
        output.setFloat(logarithm, token, pair + n);
      }
    }
  }

  // Rows of the matrix that holds W_Q, W_K and W_V.

  private int query(int column) {
    return column;
  }

  private int key(int column) {
    return width + column;
  }

  private int value(int column) {
    return 2 * width + column;
  }

  /** Attention whose output is one part of a row; returns W_Q, W_K and W_V, which are 0. */
  private Tensor attention(String name, int part, int size) {
    Tensor in = tensor(name + ".in_proj_weight", 3L * width, width);
    tensor(name + ".in_proj_bias", 3L * width);
    identity(linear(name + ".out_proj", width, width), part, part, size, 1);
    return in;
  }

  /** Does nothing to rows of so many ones. */
  private void norm(String name, int ones) {
    double mean = (double) ones / width;
    double variance = mean - mean * mean;
    tensor(name + ".weight", width).fill((float) Math.sqrt(variance + EPSILON));
    tensor(name + ".bias", width).fill((float) mean);
  }

  private Tensor linear(String name, int out, int in) {
    tensor(name + ".bias", out);
    return tensor(name + ".weight", out, in);
  }

  private Tensor tensor(String name, long... shape) {
    Tensor tensor = Tensor.allocate(arena, DType.FLOAT32, shape);
    tensors.put(name, tensor);
    return tensor;
  }

  private static void identity(Tensor matrix, int row, int column, int size, float factor) {
    for (int n = 0; n < size; n++) {
      matrix.setFloat(factor, row + n, column + n);
    }
  }
}
