package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Models of state-space layers from folders in Hugging Face's layout: what all of them have to do.
 */
abstract class StateSpaceFolders extends PyTorchModels {
  static final int BATCH = 2;
  static final int SEQ = 21;
  static final int LAYERS = 3;
  static final int VOCABULARY = 29;
  static final String NAMES = "backbone.";

  /** The family's config.json, with more keys: a text that ends in a comma, or none. */
  abstract String config(String more);

  /** [batch, seq, vocabulary], by PyTorch; makes the weights. */
  abstract Array logits(int[] tokens, int batch);

  final DecoderOnlyModel decoder(Path from, WeightFormat format) throws IOException {
    return Families.decoder(Checkpoint.open(from, runtime, arena, format));
  }

  final void stepsAreOnePass(String what, DecoderOnlyModel model, int[] tokens) {
    float[] pass = logits(model, tokens, BATCH);
    DecoderState state = model.newState(arena, BATCH, SEQ);
    Tensor next = Tensor.allocate(arena, DType.FLOAT32, BATCH, VOCABULARY);
    Tensor ids = Tensor.copyOf(arena, tokens, BATCH, SEQ);
    Tensor steps = Tensor.allocate(arena, DType.FLOAT32, BATCH, SEQ, VOCABULARY);
    Tensor token = Tensor.allocate(arena, DType.INT32, BATCH, 1);
    for (int s = 0; s < SEQ; s++) {
      token.copyFrom(ids.slice(1, s, s + 1));
      model.next(null, state, token, null, next);
      steps.select(1, s).copyFrom(next);
    }
    double share = Difference.share(pass, steps.toFloatArray());
    System.out.printf("%s, steps against one pass: %.1e of the greatest element%n", what, share);
    assertTrue(share <= 1e-5, "steps differ from one pass by " + share);
  }

  final void refused(String config, String text) throws IOException {
    ModelFolders.of(config, made).write(folder.resolve("other"));
    FileSystemException e =
        assertThrows(
            FileSystemException.class, () -> decoder(folder.resolve("other"), WeightFormat.VIEW));
    assertTrue(e.getMessage().contains(text), e.getMessage());
  }

  /** A text from a folder with a tokenizer: the same tokens with a state as without one. */
  @Test
  void languageModel() throws IOException {
    logits(ids(4, VOCABULARY), 2);
    String tokenizer =
        TokenizerFiles.modernBert()
            .replace(
                "\"decoder\":null",
                "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                    + "\"trim_offsets\":true,\"use_regex\":true}");
    ModelFolders.of(config(""), made).tokenizer(tokenizer).write(folder);
    try (LanguageModel model = LanguageModel.load(runtime, folder)) {
      Generation got = model.generate("the cat  sat", GenerationOptions.of(12));
      assertEquals(greedy(model.decoder(), model.tokenize("the cat  sat"), 12), got.tokens());
    }
  }

  /** The best of the scores that the whole text gets anew for each token. */
  private List<Integer> greedy(DecoderOnlyModel model, int[] prompt, int count) {
    List<Integer> tokens = new ArrayList<>();
    int[] ids = prompt;
    for (int n = 0; n < count; n++) {
      Tensor scores = Tensor.allocate(arena, DType.FLOAT32, 1, VOCABULARY);
      DecoderState state = model.newState(arena, 1, ids.length);
      model.next(null, state, Tensor.copyOf(arena, ids, 1, ids.length), null, scores);
      int best = 0;
      for (int i = 1; i < VOCABULARY; i++) {
        best = scores.getFloat(0, i) > scores.getFloat(0, best) ? i : best;
      }
      tokens.add(best);
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = best;
    }
    return tokens;
  }
}
