package dev.gatun.model;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Activation;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.PatchEmbedding;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerEncoder;
import java.lang.foreign.Arena;

/**
 * CLIP (Radford et al. 2021): a causal tower for texts and one for images, whose vectors are
 * compared by cosine; Hugging Face's names.
 *
 * @param tokens embedding of texts
 * @param text blocks of texts, with the last norm
 * @param textProjection of the last token's state
 * @param patches embedding of images
 * @param vision blocks of images, with the last norm
 * @param visionProjection of the class token's state
 * @param logitScale factor of the cosines, {@code exp(logit_scale)}
 */
public record Clip(
    Embedding tokens,
    TransformerEncoder text,
    Linear textProjection,
    PatchEmbedding patches,
    TransformerEncoder vision,
    Linear visionProjection,
    float logitScale) {

  private static WeightNames names(String tower, String lastNorm) {
    String block = tower + ".encoder.layers.{n}.";
    return WeightNames.outputMajor()
        .with(Part.SELF_NORM, block + "layer_norm1.{p}")
        .with(Part.QUERY, block + "self_attn.q_proj.{p}")
        .with(Part.KEY, block + "self_attn.k_proj.{p}")
        .with(Part.VALUE, block + "self_attn.v_proj.{p}")
        .with(Part.OUTPUT, block + "self_attn.out_proj.{p}")
        .with(Part.FEED_FORWARD_NORM, block + "layer_norm2.{p}")
        .with(Part.FIRST, block + "mlp.fc1.{p}")
        .with(Part.SECOND, block + "mlp.fc2.{p}")
        .with(Part.FINAL_NORM, tower + "." + lastNorm + ".{p}")
        .beside("text_projection.weight", "visual_projection.weight", "logit_scale")
        .beside((tower.startsWith("text") ? "vision" : "text") + "_model.*")
        .beside("text_model.embeddings.token_embedding.weight")
        .beside("text_model.embeddings.position_embedding.weight")
        .beside("vision_model.embeddings.patch_embedding.weight")
        .beside("vision_model.embeddings.patch_embedding.bias")
        .beside("vision_model.embeddings.class_embedding")
        .beside("vision_model.embeddings.position_embedding.weight")
        .beside("vision_model.pre_layrnorm.weight", "vision_model.pre_layrnorm.bias")
        // a buffer of 0, 1, 2, …
        .beside(tower + ".embeddings.position_ids");
  }

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param arena where a table of positions is made
   * @param weights must stay open as long as the model is used
   * @param textLayers blocks of texts
   * @param textHeads heads of texts
   * @param visionLayers blocks of images
   * @param visionHeads heads of images
   * @param size height and width of an image
   * @return the model
   */
  public static Clip of(
      GatunRuntime runtime,
      Arena arena,
      Weights weights,
      int textLayers,
      int textHeads,
      int visionLayers,
      int visionHeads,
      int size) {
    float epsilon = 1e-5f;
    Activation activation = Activation.QUICK_GELU;
    String text = "text_model.embeddings.";
    String vision = "vision_model.embeddings.";
    return new Clip(
        new Embedding(
            runtime,
            weights.get(text + "token_embedding.weight"),
            1,
            PositionalEncoding.learned(weights.get(text + "position_embedding.weight"))),
        new BlockLoader(
                runtime,
                weights,
                names("text_model", "final_layer_norm"),
                BlockConfig.preNorm(
                    textLayers, textHeads, Causal.BOTTOM_RIGHT, activation, epsilon))
            .encoder(),
        BlockLoader.linear(runtime, weights, "text_projection.weight", null),
        new PatchEmbedding(
            runtime,
            arena,
            size,
            size,
            weights.get(vision + "patch_embedding.weight"),
            weights.find(vision + "patch_embedding.bias"),
            weights.get(vision + "class_embedding"),
            weights.get(vision + "position_embedding.weight"),
            new LayerNorm(
                runtime,
                weights.get("vision_model.pre_layrnorm.weight"), // so spelt in the files
                weights.get("vision_model.pre_layrnorm.bias"),
                epsilon)),
        new BlockLoader(
                runtime,
                weights,
                names("vision_model", "post_layernorm"),
                BlockConfig.preNorm(visionLayers, visionHeads, Causal.NONE, activation, epsilon))
            .encoder(),
        BlockLoader.linear(runtime, weights, "visual_projection.weight", null),
        (float) Math.exp(weights.get("logit_scale").getFloat()));
  }

  /**
   * Vectors of texts. Allocates what lies between in an arena of its own.
   *
   * @param ids {@code [batch, seq]} INT32
   * @param ends where each text ends: the place of its end token, whose state becomes the vector
   * @param vectors receives {@code [batch, dim]}, of length 1
   */
  public void texts(Tensor ids, int[] ends, Tensor vectors) {
    try (Arena arena = Arena.ofShared()) {
      long batch = ids.size(0);
      long seq = ids.size(1);
      Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, batch, seq, text.dim());
      tokens.forward(null, ids, hidden);
      text.forward(null, hidden, null, hidden);
      Tensor last = Tensor.allocate(arena, DType.FLOAT32, batch, text.dim());
      for (int b = 0; b < batch; b++) {
        last.select(0, b).copyFrom(hidden.select(0, b).select(0, ends[b]));
      }
      textProjection.forward(null, last, vectors);
      normalize(vectors);
    }
  }

  /**
   * Vectors of images. Allocates what lies between in an arena of its own.
   *
   * @param images {@code [batch, channels, size, size]}, contiguous
   * @param vectors receives {@code [batch, dim]}, of length 1
   */
  public void images(Tensor images, Tensor vectors) {
    try (Arena arena = Arena.ofShared()) {
      Tensor hidden =
          Tensor.allocate(arena, DType.FLOAT32, images.size(0), patches.rows(), vision.dim());
      patches.forward(null, images, hidden);
      vision.forward(null, hidden, null, hidden);
      visionProjection.forward(null, hidden.select(1, 0), vectors);
      normalize(vectors);
    }
  }

  private static void normalize(Tensor vectors) {
    for (long b = 0; b < vectors.size(0); b++) {
      double squares = 0;
      for (long i = 0; i < vectors.size(1); i++) {
        double value = vectors.getFloat(b, i);
        squares += value * value;
      }
      double norm = Math.sqrt(squares);
      for (long i = 0; i < vectors.size(1); i++) {
        vectors.setFloat((float) (vectors.getFloat(b, i) / norm), b, i);
      }
    }
  }

  /**
   * Contrastive scores: cosines times the factor.
   *
   * @param images {@code [images, dim]} vectors
   * @param texts {@code [texts, dim]} vectors
   * @param logits receives {@code [images, texts]}
   */
  public void compare(Tensor images, Tensor texts, Tensor logits) {
    for (long i = 0; i < images.size(0); i++) {
      for (long t = 0; t < texts.size(0); t++) {
        double sum = 0;
        for (long d = 0; d < images.size(1); d++) {
          sum += (double) images.getFloat(i, d) * texts.getFloat(t, d);
        }
        logits.setFloat((float) (sum * logitScale), i, t);
      }
    }
  }
}
