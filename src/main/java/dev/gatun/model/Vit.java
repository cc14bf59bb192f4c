package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PatchEmbedding;
import dev.gatun.nn.TransformerEncoder;
import java.lang.foreign.Arena;

/**
 * The Vision Transformer (Dosovitskiy et al., 2021): patches, a class token, pre-norm blocks, a
 * classifier on the class token's last state; Hugging Face's names.
 *
 * @param embedding of images
 * @param encoder its blocks and the last norm
 * @param classifier of the class token
 */
public record Vit(PatchEmbedding embedding, TransformerEncoder encoder, Linear classifier) {

  private static final String BLOCK = "encoder.layer.{n}.";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.SELF_NORM, BLOCK + "layernorm_before.{p}")
          .with(Part.QUERY, BLOCK + "attention.attention.query.{p}")
          .with(Part.KEY, BLOCK + "attention.attention.key.{p}")
          .with(Part.VALUE, BLOCK + "attention.attention.value.{p}")
          .with(Part.OUTPUT, BLOCK + "attention.output.dense.{p}")
          .with(Part.FEED_FORWARD_NORM, BLOCK + "layernorm_after.{p}")
          .with(Part.FIRST, BLOCK + "intermediate.dense.{p}")
          .with(Part.SECOND, BLOCK + "output.dense.{p}")
          .with(Part.FINAL_NORM, "layernorm.{p}")
          .beside("embeddings.patch_embeddings.projection.weight")
          .beside("embeddings.patch_embeddings.projection.bias")
          .beside("embeddings.cls_token", "embeddings.position_embeddings")
          .beside("classifier.weight", "classifier.bias")
          // of pretraining by masked patches; a layer that the classifier does without
          .beside("embeddings.mask_token", "pooler.*");

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param arena where a table of positions is made
   * @param weights must stay open as long as the model is used
   * @param layers blocks
   * @param heads of attention
   * @param height of an image
   * @param width of an image
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
   */
  public static Vit of(
      GatunRuntime runtime,
      Arena arena,
      Weights weights,
      int layers,
      int heads,
      int height,
      int width) {
    BlockConfig config =
        BlockConfig.of(NormOrder.PRE, layers, heads, Causal.NONE, Activation.GELU, 1e-12f);
    TransformerEncoder encoder = new BlockLoader(runtime, weights, NAMES, config).encoder();
    String name = "embeddings.";
    return new Vit(
        BlockLoader.patches(
            runtime,
            arena,
            weights,
            height,
            width,
            encoder.dim(),
            name + "patch_embeddings.projection",
            name + "cls_token",
            name + "position_embeddings",
            null),
        encoder,
        BlockLoader.linear(
            runtime, weights, "classifier.weight", "classifier.bias", encoder.dim()));
  }

  /**
   * Classifies images. Allocates what lies between in an arena of its own; the parts can be run on
   * the caller's tensors.
   *
   * @param images {@code [batch, channels, height, width]}, contiguous
   * @param logits receives {@code [batch, classes]}; shares no memory with images and weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void forward(Tensor images, Tensor logits) {
    embedding.checkImages(images);
    Arguments.checkOutput("logits", logits, images.size(0), classifier.out());
    SharedMemory.refuse("logits", logits, "images", images);
    embedding.refuseShared("logits", logits);
    encoder.refuseShared("logits", logits);
    classifier.refuseShared("logits", logits);
    ModelEvent event = ModelEvent.start();
    try (Arena arena = Arena.ofShared()) {
      Tensor hidden =
          Tensor.allocate(arena, DType.FLOAT32, images.size(0), embedding.rows(), encoder.dim());
      Workspace lent = null;
      embedding.forward(lent, images, hidden);
      encoder.forward(lent, hidden, null, hidden);
      classifier.forward(lent, hidden.select(1, 0), logits);
      ModelEvent.finish(event, "Vit", (int) images.size(0), images.size(0) * embedding.rows());
    }
  }
}
