package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.Torch.Array;
import java.io.IOException;
import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Families that encode, written here with PyTorch's functions. */
class EncoderParityTest extends PyTorchModels {

  /** A block of BERT, ViT or CLIP: projections with biases under names of their own. */
  private Array block(
      Array x,
      int heads,
      boolean pre,
      double epsilon,
      boolean causal,
      UnaryOperator<Array> activation,
      String... names) {
    long batch = x.shape()[0];
    long seq = x.shape()[1];
    long width = x.shape()[2];
    Array h = pre ? norm(x, names[4], epsilon) : x;
    Array context =
        merge(
            torch.attention(
                split(dense(h, names[0], width), batch, seq, heads, width / heads),
                split(dense(h, names[1], width), batch, seq, heads, width / heads),
                split(dense(h, names[2], width), batch, seq, heads, width / heads),
                null,
                causal,
                Double.NaN),
            batch,
            seq,
            width);
    x = torch.add(x, dense(context, names[3], width));
    x = pre ? x : norm(x, names[4], epsilon);
    h = pre ? norm(x, names[7], epsilon) : x;
    x = torch.add(x, dense(activation.apply(dense(h, names[5], 3 * width)), names[6], width));
    return pre ? x : norm(x, names[7], epsilon);
  }

  private Array dense(Array x, String name, long out) {
    long in = x.shape()[x.shape().length - 1];
    return torch.linear(x, matrix(name + ".weight", out, in), bias(name + ".bias", out));
  }

  private Array norm(Array x, String name, double epsilon) {
    long width = x.shape()[x.shape().length - 1];
    return torch.layerNorm(x, gamma(name + ".weight", width), bias(name + ".bias", width), epsilon);
  }

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

  @Test
  void vit() throws IOException {
    int width = 24;
    int batch = 2;
    Tensor images = normal(1, batch, 3, 12, 8);
    String e = "embeddings.";
    Array x =
        torch.conv2d(
            torch.array(images.toFloatArray(), images.shape()),
            draw(e + "patch_embeddings.projection.weight", 0.2, 0, width, 3, 4, 4),
            bias(e + "patch_embeddings.projection.bias", width),
            4,
            0);
    x = torch.transpose(torch.reshape(x, batch, width, 6), 1, 2);
    Array first = draw(e + "cls_token", 1, 0, 1, 1, width);
    x = torch.concat(1, torch.concat(0, first, first), x);
    x = torch.add(x, draw(e + "position_embeddings", 1, 0, 1, 7, width));
    for (int n = 0; n < 2; n++) {
      String b = "encoder.layer." + n + ".";
      x =
          block(
              x,
              3,
              true,
              1e-12,
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
    x = dense(torch.select(norm(x, "layernorm", 1e-12), 1, 0), "classifier", 10);
    Path file = file();
    // example: vit
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Vit model = Vit.of(runtime, arena, weights, 2, 3, 12, 8); // 2 layers, 3 heads, images 12 x 8
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, batch, 10);
    model.forward(images, logits);
    // end
    close("ViT", x.toFloats(), logits.toFloatArray(), FAMILY_BOUND);
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
