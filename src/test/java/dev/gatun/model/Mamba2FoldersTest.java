package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.Torch.Array;
import dev.gatun.support.TorchMamba2;
import java.io.IOException;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Mamba-2 from folders in Hugging Face's layout, against PyTorch. */
class Mamba2FoldersTest extends StateSpaceFolders {

  private static final int DIM = 30;

  private boolean biased;
  private boolean convolutionBiased = true;
  private boolean tied;
  private TorchMamba2 mixer = new TorchMamba2(torch, DIM, 4, 15, 2, 5, 4);

  /** [batch, seq, vocabulary], as Mamba2ForCausalLM. */
  @Override
  Array logits(int[] tokens, int batch) {
    Array table = draw(NAMES + "embeddings.weight", 0.5, 0, VOCABULARY, DIM);
    Array x = torch.embedding(table, torch.ids(tokens, batch, tokens.length / batch));
    for (int n = 0; n < LAYERS; n++) {
      String layer = NAMES + "layers." + n + ".";
      Array h = torch.rmsNorm(x, draw(layer + "norm.weight", 0.2, 1, DIM), 1e-5);
      h =
          mixer.mix(
              (name, deviation, mean, shape) ->
                  draw(layer + "mixer." + name, deviation, mean, shape),
              h,
              biased,
              convolutionBiased);
      x = torch.add(x, h);
    }
    x = torch.rmsNorm(x, draw(NAMES + "norm_f.weight", 0.2, 1, DIM), 1e-5);
    return torch.linear(x, tied ? table : matrix("lm_head.weight", VOCABULARY, DIM), null);
  }

  @Override
  String config(String more) {
    return ("{\"model_type\": \"mamba2\", %s \"hidden_size\": %d, \"state_size\": 5,"
            + " \"num_heads\": %d, \"head_dim\": 15, \"n_groups\": %d, \"num_hidden_layers\": %d,"
            + " \"expand\": 2, \"conv_kernel\": 4, \"use_bias\": %b, \"use_conv_bias\": %b,"
            + " \"layer_norm_epsilon\": 1e-5, \"vocab_size\": %d, \"hidden_act\": \"silu\","
            + " \"residual_in_fp32\": true, \"rms_norm\": true, \"norm_before_gate\": true,"
            + " \"chunk_size\": 256, \"time_step_rank\": 256, \"tie_word_embeddings\": %b}")
        .formatted(
            more,
            DIM,
            mixer.heads,
            mixer.groups,
            LAYERS,
            biased,
            convolutionBiased,
            VOCABULARY,
            tied);
  }

  @ParameterizedTest
  @CsvSource({"1, false, true, true", "2, false, true, false", "4, true, false, false"})
  void model(int groups, boolean biases, boolean convolutionBiases, boolean tiedOutput)
      throws IOException {
    mixer = new TorchMamba2(torch, DIM, 4, 15, groups, 5, 4);
    biased = biases;
    convolutionBiased = convolutionBiases;
    tied = tiedOutput;
    int[] tokens = ids(BATCH * SEQ, VOCABULARY);
    Array want = logits(tokens, BATCH);
    ModelFolders.of(config(""), made).shards(2).write(folder);
    DecoderOnlyModel model = decoder(folder, WeightFormat.VIEW);
    assertEquals(VOCABULARY, model.vocabulary());
    checkModel("Mamba-2", model, model.newState(arena, BATCH, SEQ), tokens, BATCH, want);
    checkPrompts(model, tokens, SEQ, new int[] {12, 3}, want);
    DecoderOnlyModel packed = decoder(folder, WeightFormat.FP32);
    checkModel("Mamba-2, packed", packed, packed.newState(arena, BATCH, SEQ), tokens, BATCH, want);
    checkPrompts(packed, tokens, SEQ, new int[] {9, 2}, want);
    stepsAreOnePass("Mamba-2", packed, tokens);
    float[] rounded = logits(decoder(folder, WeightFormat.BF16), tokens, BATCH);
    assertTrue(Difference.share(want.toFloats(), rounded) <= 0.1);
    rounded = logits(decoder(folder, WeightFormat.INT8), tokens, BATCH);
    assertTrue(Difference.share(want.toFloats(), rounded) <= 0.25);
    packedAlike(
        FolderInspection.Kind.LANGUAGE_MODEL,
        folder,
        checkpoint -> logits(Families.decoder(checkpoint), tokens, BATCH),
        WeightFormat.FP32,
        WeightFormat.BF16,
        WeightFormat.INT8,
        WeightFormat.Q8_0);
  }

  /** A number that is no JSON, as Python writes it; its newer form; and limits that are reached. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[0.0, Infinity] | 0 | Infinity",
        "[0.0, {\"__float__\": \"Infinity\"}] | 0 | Infinity",
        "[0.25, 0.5] | 0.25 | 0.5",
      })
  void timeStepLimit(String said, double least, double most) throws IOException {
    int[] tokens = ids(2 * 5, VOCABULARY);
    float[] unlimited = logits(tokens, 2).toFloats();
    mixer.least = least;
    mixer.most = most;
    float[] want = logits(tokens, 2).toFloats();
    ModelFolders.of(config("\"time_step_limit\": " + said + ","), made)
        .named(name -> name.startsWith(NAMES) ? name.substring(NAMES.length()) : name)
        .write(folder);
    close("Mamba-2, " + said, want, logits(decoder(folder, WeightFormat.VIEW), tokens, 2), 1e-4);
    if (least > 0) {
      matters("limits of steps", want, unlimited);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"quantization_config\": {}, | quantization_config",
        "\"time_step_limit\": [0.5], | time_step_limit",
        "\"time_step_limit\": 0.5, | time_step_limit",
        "\"time_step_limit\": [0.5, 0.25], | time_step_limit",
        "\"time_step_limit\": [-0.5, 0.25], | time_step_limit",
        "\"time_step_limit\": [0.0, NaN], | config.json",
        "\"time_step_limit\": [0.0, \"inf\"], | time_step_limit",
      })
  void keysAreFollowedOrRefused(String more, String text) throws IOException {
    logits(ids(4, VOCABULARY), 2);
    refused(config(more), text);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"hidden_act\": \"silu\" | \"hidden_act\": \"gelu\" | hidden_act",
        "\"rms_norm\": true | \"rms_norm\": false | rms_norm",
        "\"state_size\": 5 | \"state_size\": 6 | in_proj.weight",
        "\"num_heads\": 4 | \"num_heads\": 5 | num_heads",
        "\"head_dim\": 15 | \"head_dim\": 30 | num_heads",
        "\"num_heads\": 4, \"head_dim\": 15 | \"num_heads\": 2, \"head_dim\": 30 | in_proj.weight",
        "\"n_groups\": 2 | \"n_groups\": 1 | in_proj.weight",
        "\"n_groups\": 2 | \"n_groups\": 3 | n_groups",
        "\"expand\": 2 | \"expand\": 3 | num_heads",
        "\"conv_kernel\": 4 | \"conv_kernel\": 3 | conv1d.weight",
        "\"use_bias\": false | \"use_bias\": true | in_proj.bias",
        "\"use_conv_bias\": true | \"use_conv_bias\": false | conv1d.bias",
        "\"vocab_size\": 29 | \"vocab_size\": 30 | vocab_size",
        "\"hidden_size\": 30 | \"hidden_size\": 36 | num_heads",
        "\"num_hidden_layers\": 3 | \"num_hidden_layers\": 2 | layers.2",
        "\"num_hidden_layers\": 3 | \"num_hidden_layers\": 4 | layers.3",
        "\"layer_norm_epsilon\": 1e-5 | \"layer_norm_epsilon\": 0 | layer_norm_epsilon",
        "\"tie_word_embeddings\": false | \"tie_word_embeddings\": true | lm_head.weight",
      })
  void whatConfigSaysIsInTheFile(String said, String instead, String text) throws IOException {
    logits(ids(4, VOCABULARY), 2);
    String config = config("");
    assertTrue(config.contains(said));
    refused(config.replace(said, instead), text);
  }

  /** Each weight is missing, and of another shape; one more is refused. */
  @Test
  void weightsMustFit() throws IOException {
    logits(ids(4, VOCABULARY), 2);
    List<String> names = List.copyOf(new TreeSet<>(made.keySet()));
    for (String name : names) {
      if (name.contains("layers.1.") || !name.contains("layers.")) {
        Tensor good = made.remove(name);
        String end = name.substring(NAMES.length());
        refused(config(""), end);
        long[] shape = good.shape();
        shape[0]++;
        made.put(name, normal(1, shape));
        boolean table = name.endsWith("embeddings.weight") || name.equals("lm_head.weight");
        refused(config(""), table ? "vocab_size" : end);
        made.put(name, good);
      }
    }
    made.put(NAMES + "layers.0.mixer.x_proj.weight", normal(1, DIM));
    refused(config(""), "layers.0.mixer.x_proj.weight");
  }
}
