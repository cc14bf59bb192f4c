package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Difference;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.ReferenceBert;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Families that encode, written here with PyTorch's functions. */
class EncoderParityTest extends PyTorchModels {

  @Test
  void bert() throws IOException {
    int width = 36;
    int batch = 2;
    int seq = 9;
    int[] tokens = ids(batch * seq, 50);
    Array x =
        torch.embedding(
            draw("embeddings.word_embeddings.weight", 1, 0, 50, width),
            torch.ids(tokens, batch, seq));
    Array places = draw("embeddings.position_embeddings.weight", 1, 0, 20, width);
    Array types = draw("embeddings.token_type_embeddings.weight", 1, 0, 2, width);
    x = torch.add(torch.add(x, torch.slice(places, 0, 0, seq)), torch.slice(types, 0, 0, 1));
    x = norm(x, "embeddings.LayerNorm", 1e-12);
    for (int n = 0; n < 2; n++) {
      String b = "encoder.layer." + n + ".";
      x =
          block(
              x,
              4,
              false,
              1e-12,
              null,
              false,
              torch::gelu,
              b + "attention.self.query",
              b + "attention.self.key",
              b + "attention.self.value",
              b + "attention.output.dense",
              b + "attention.output.LayerNorm",
              b + "intermediate.dense",
              b + "output.dense",
              b + "output.LayerNorm");
    }
    Path file = file();
    Tensor ids = Tensor.copyOf(arena, tokens, batch, seq);
    // example: bert
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    TextEncoder model = Bert.of(runtime, weights, 2, 4);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, batch, seq, 36);
    model.forward(ids, hidden);
    // end
    close("BERT", x.toFloats(), hidden.toFloatArray(), FAMILY_BOUND);
  }

  /** The names of a block of DistilBERT, in the order of {@link #block}. */
  private static String[] distilNames(int n) {
    String b = "transformer.layer." + n + ".";
    return new String[] {
      b + "attention.q_lin",
      b + "attention.k_lin",
      b + "attention.v_lin",
      b + "attention.out_lin",
      b + "sa_layer_norm",
      b + "ffn.lin1",
      b + "ffn.lin2",
      b + "output_layer_norm"
    };
  }

  /** What ReferenceBert takes, of what was drawn. */
  private BertWeights distilWeights(int width) {
    BertConfig config = new BertConfig(2, width, 4, width / 4, 3 * width, 50, 20, 0, 1e-12f);
    return new BertWeights(config, Weights.of(made));
  }

  /**
   * Against PyTorch, in which both sides round to float32, and against the definition in double,
   * where only ours does. A row of the output is a norm's, of size 1 or so: a bound of 2e-6 is some
   * 30 roundings of its elements, where two blocks have eight products and five norms one after the
   * other.
   */
  @Test
  void distilBert() throws IOException {
    int width = 36;
    int batch = 3;
    int seq = 9;
    int[] lengths = {9, 1, 6};
    int tokens = 16;
    int[] padded = ids(batch * seq, 50);
    Array x =
        torch.embedding(
            draw("embeddings.word_embeddings.weight", 1, 0, 50, width),
            torch.ids(padded, batch, seq));
    Array places = draw("embeddings.position_embeddings.weight", 1, 0, 20, width);
    x = norm(torch.add(x, torch.slice(places, 0, 0, seq)), "embeddings.LayerNorm", 1e-12);
    boolean[] live = new boolean[batch * seq];
    for (int n = 0; n < live.length; n++) {
      live[n] = n % seq < lengths[n / seq];
    }
    Array mask = torch.booleans(live, batch, 1, 1, seq);
    for (int n = 0; n < 2; n++) {
      x = block(x, 4, false, 1e-12, mask, false, torch::gelu, distilNames(n));
    }
    int[] ragged = new int[tokens];
    float[] want = new float[tokens * width];
    double[] exact = new double[tokens * width];
    ReferenceBert reference = new ReferenceBert(distilWeights(width));
    float[] all = x.toFloats();
    for (int n = 0, row = 0; n < batch; n++) {
      int[] text = Arrays.copyOfRange(padded, n * seq, n * seq + lengths[n]);
      double[][] states = reference.forward(text);
      for (int s = 0; s < text.length; s++, row++) {
        ragged[row] = text[s];
        System.arraycopy(all, (n * seq + s) * width, want, row * width, width);
        System.arraycopy(states[s], 0, exact, row * width, width);
      }
    }
    Path file = file();
    Tensor ids = Tensor.copyOf(arena, ragged, tokens);
    Tensor cuSeqlens = Tensor.copyOf(arena, new int[] {0, 9, 10, 16}, 4);
    // example: distilbert
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    TextEncoder model = DistilBert.of(runtime, weights, 2, 4);
    Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, tokens, 36);
    model.forward(ids, Sequences.ragged(cuSeqlens), hidden);
    // end
    float[] got = hidden.toFloatArray();
    close("DistilBERT", want, got, FAMILY_BOUND);
    double share = Difference.share(exact, got);
    System.out.printf("DistilBERT: differs from double by at most %.1e%n", share);
    assertTrue(share <= 2e-6, "differs from double by " + share);

    paddedAsRagged(model, padded, lengths, got);

    // The same bits under the names of a file with a head.
    Map<String, Tensor> scoped = new HashMap<>();
    made.forEach((name, tensor) -> scoped.put("distilbert." + name, tensor));
    scoped.put("vocab_projector.bias", normal(1, 50));
    Tensor same = Tensor.allocate(arena, DType.FLOAT32, tokens, width);
    DistilBert.of(runtime, Weights.of(scoped), 2, 4)
        .forward(ids, Sequences.ragged(cuSeqlens), same);
    assertArrayEquals(got, same.toFloatArray());
  }

  /** What vitLogits has drawn. */
  private Tensor images;

  /** Two random images, and their logits by a random model of patches of 4 x 4. */
  private Array vitLogits(int height, int imageWidth) {
    int width = 24;
    int batch = 2;
    long patches = height / 4 * (imageWidth / 4);
    images = normal(1, batch, 3, height, imageWidth);
    String e = "embeddings.";
    Array x =
        torch.conv2d(
            torch.array(images.toFloatArray(), images.shape()),
            draw(e + "patch_embeddings.projection.weight", 0.2, 0, width, 3, 4, 4),
            bias(e + "patch_embeddings.projection.bias", width),
            4,
            0);
    x = torch.transpose(torch.reshape(x, batch, width, patches), 1, 2);
    Array first = draw(e + "cls_token", 1, 0, 1, 1, width);
    x = torch.concat(1, torch.concat(0, first, first), x);
    x = torch.add(x, draw(e + "position_embeddings", 1, 0, 1, patches + 1, width));
    for (int n = 0; n < 2; n++) {
      String b = "encoder.layer." + n + ".";
      x =
          block(
              x,
              3,
              true,
              1e-12,
              null,
              false,
              torch::gelu,
              b + "attention.attention.query",
              b + "attention.attention.key",
              b + "attention.attention.value",
              b + "attention.output.dense",
              b + "layernorm_before",
              b + "intermediate.dense",
              b + "output.dense",
              b + "layernorm_after");
    }
    return dense(torch.select(norm(x, "layernorm", 1e-12), 1, 0), "classifier", 10);
  }

  @Test
  void vit() throws IOException {
    int batch = 2;
    Array x = vitLogits(12, 8);
    Path file = file();
    // example: vit
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Vit model = Vit.of(runtime, arena, weights, 2, 3, 12, 8); // 2 layers, 3 heads, images 12 x 8
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, batch, 10);
    model.forward(images, logits);
    // end
    close("ViT", x.toFloats(), logits.toFloatArray(), FAMILY_BOUND);
  }

  /** Square images, as config.json can say them. */
  @Test
  void vitFromFolder() throws IOException {
    Array x = vitLogits(8, 8);
    String config =
        """
        {"model_type": "vit", "hidden_act": "gelu", "hidden_size": 24, "image_size": 8, \
        "intermediate_size": 72, "layer_norm_eps": 1e-12, "num_attention_heads": 3, \
        "num_channels": 3, "num_hidden_layers": 2, "patch_size": 4, "qkv_bias": true}\
        """;
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 2, 10);
    Path plain = ModelFolders.of(config, made).write(folder.resolve("plain"));
    Vit.load(runtime, plain, arena, WeightFormat.VIEW).forward(images, logits);
    close("ViT, from a folder", x.toFloats(), logits.toFloatArray(), FAMILY_BOUND);
    Path prefixed =
        ModelFolders.of(config, made)
            .named(name -> name.startsWith("classifier.") ? name : "vit." + name)
            .write(folder.resolve("prefixed"));
    logits.fill(Float.NaN);
    Vit.load(runtime, prefixed, arena, WeightFormat.FP32).forward(images, logits);
    close("ViT, from a folder, packed", x.toFloats(), logits.toFloatArray(), FAMILY_BOUND);
  }

  @Test
  void clip() throws IOException {
    int width = 24;
    int texts = 3;
    int seq = 7;
    int[] tokens = ids(texts * seq, 40);
    int[] ends = {6, 2, 4};
    String e = "text_model.embeddings.";
    Array x =
        torch.embedding(
            draw(e + "token_embedding.weight", 1, 0, 40, width), torch.ids(tokens, texts, seq));
    x =
        torch.add(
            x, torch.slice(draw(e + "position_embedding.weight", 1, 0, 10, width), 0, 0, seq));
    UnaryOperator<Array> quick = h -> torch.multiply(h, torch.sigmoid(torch.multiply(h, 1.702)));
    x = norm(tower(x, "text_model", 4, true, quick), "text_model.final_layer_norm", 1e-5);
    Array[] last = new Array[texts];
    for (int n = 0; n < texts; n++) {
      last[n] = torch.slice(torch.select(torch.slice(x, 0, n, n + 1L), 1, ends[n]), 0, 0, 1);
    }
    Array t =
        torch.linear(torch.concat(0, last), matrix("text_projection.weight", 16, width), null);

    Tensor images = normal(1, 2, 3, 8, 8);
    e = "vision_model.embeddings.";
    Array y =
        torch.conv2d(
            torch.array(images.toFloatArray(), images.shape()),
            draw(e + "patch_embedding.weight", 0.2, 0, width, 3, 4, 4),
            null,
            4,
            0);
    y = torch.transpose(torch.reshape(y, 2, width, 4), 1, 2);
    Array first = torch.reshape(draw(e + "class_embedding", 1, 0, width), 1, 1, width);
    y = torch.concat(1, torch.concat(0, first, first), y);
    y = torch.add(y, draw(e + "position_embedding.weight", 1, 0, 5, width));
    y = norm(y, "vision_model.pre_layrnorm", 1e-5);
    y = tower(y, "vision_model", 3, false, quick);
    y = norm(torch.select(y, 1, 0), "vision_model.post_layernorm", 1e-5);
    Array v = torch.linear(y, matrix("visual_projection.weight", 16, width), null);
    draw("logit_scale", 0.1, 2, 1);
    float scale = made.get("logit_scale").toFloatArray()[0];
    made.put("logit_scale", Tensor.copyOf(arena, new float[] {scale}));
    float[] want = new float[6];
    float[] a = v.toFloats();
    float[] b = t.toFloats();
    for (int i = 0; i < 2; i++) {
      for (int j = 0; j < 3; j++) {
        double dot = 0;
        double left = 0;
        double right = 0;
        for (int d = 0; d < 16; d++) {
          dot += (double) a[i * 16 + d] * b[j * 16 + d];
          left += (double) a[i * 16 + d] * a[i * 16 + d];
          right += (double) b[j * 16 + d] * b[j * 16 + d];
        }
        want[i * 3 + j] = (float) (dot / Math.sqrt(left * right) * Math.exp(scale));
      }
    }
    Path file = file();
    Tensor ids = Tensor.copyOf(arena, tokens, texts, seq);
    // example: clip
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Clip model = Clip.of(runtime, arena, weights, 2, 4, 2, 3, 8); // layers, heads, 8 x 8 pixels
    Tensor textVectors = Tensor.allocate(arena, DType.FLOAT32, texts, 16);
    Tensor imageVectors = Tensor.allocate(arena, DType.FLOAT32, 2, 16);
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 2, texts);
    model.texts(ids, ends, textVectors);
    model.images(images, imageVectors);
    model.compare(imageVectors, textVectors, logits);
    // end
    close("CLIP", want, logits.toFloatArray(), FAMILY_BOUND);

    String config =
        """
        {"model_type": "clip", "projection_dim": 16, "text_config_dict": null, \
        "text_config": {"hidden_act": "quick_gelu", "hidden_size": 24, "layer_norm_eps": 1e-05, \
        "max_position_embeddings": 10, "num_attention_heads": 4, "num_hidden_layers": 2, \
        "vocab_size": 40}, \
        "vision_config": {"hidden_size": 7}, \
        "vision_config_dict": {"hidden_size": 24, "image_size": 8, "num_attention_heads": 3, \
        "num_hidden_layers": 2, "patch_size": 4}}\
        """;
    Path clip = ModelFolders.of(config, made).write(folder.resolve("clip"));
    Clip loaded = Clip.load(runtime, clip, arena, WeightFormat.FP32);
    loaded.texts(ids, ends, textVectors);
    loaded.images(images, imageVectors);
    loaded.compare(imageVectors, textVectors, logits);
    close("CLIP, from a folder", want, logits.toFloatArray(), FAMILY_BOUND);
  }

  private Array tower(
      Array x, String tower, int heads, boolean causal, UnaryOperator<Array> activation) {
    for (int n = 0; n < 2; n++) {
      String b = tower + ".encoder.layers." + n + ".";
      x =
          block(
              x,
              heads,
              true,
              1e-5,
              null,
              causal,
              activation,
              b + "self_attn.q_proj",
              b + "self_attn.k_proj",
              b + "self_attn.v_proj",
              b + "self_attn.out_proj",
              b + "layer_norm1",
              b + "mlp.fc1",
              b + "mlp.fc2",
              b + "layer_norm2");
    }
    return x;
  }
}
