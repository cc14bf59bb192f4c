package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.ModelEvent;
import dev.gatun.internal.SharedMemory;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PatchEmbedding;
import dev.gatun.nn.TransformerEncoder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;

/**
 * The Vision Transformer (Dosovitskiy et al., 2021): patches, a class token, pre-norm layers, a
 * classifier on the class token's last state; Hugging Face's names.
 *
 * @param embedding of images
 * @param encoder its layers and the last norm
 * @param classifier of the class token
 */
public record Vit(PatchEmbedding embedding, TransformerEncoder encoder, Linear classifier) {

  private static final String LAYER = "encoder.layer.{n}.";

  private static final WeightNames NAMES =
      WeightNames.outputMajor()
          .with(Part.SELF_NORM, LAYER + "layernorm_before.{p}")
          .with(Part.QUERY, LAYER + "attention.attention.query.{p}")
          .with(Part.KEY, LAYER + "attention.attention.key.{p}")
          .with(Part.VALUE, LAYER + "attention.attention.value.{p}")
          .with(Part.OUTPUT, LAYER + "attention.output.dense.{p}")
          .with(Part.FEED_FORWARD_NORM, LAYER + "layernorm_after.{p}")
          .with(Part.FIRST, LAYER + "intermediate.dense.{p}")
          .with(Part.SECOND, LAYER + "output.dense.{p}")
          .with(Part.FINAL_NORM, "layernorm.{p}")
          .beside("embeddings.patch_embeddings.projection.weight")
          .beside("embeddings.patch_embeddings.projection.bias")
          .beside("embeddings.cls_token", "embeddings.position_embeddings")
          .beside("classifier.weight", "classifier.bias")
          // of pretraining by masked patches; a layer that the classifier does without
          .beside("embeddings.mask_token", "pooler.*");

  private static final float EPSILON = 1e-12f;

  /**
   * Puts a model together.
   *
   * @param runtime where it runs
   * @param arena where a table of positions is made
   * @param weights must stay open as long as the model is used
   * @param layers how many
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
    StackConfig config =
        StackConfig.of(NormOrder.PRE, layers, heads, Causal.NONE, Activation.GELU, EPSILON);
    return of(runtime, arena, weights, config, height, width);
  }

  private static Vit of(
      GatunRuntime runtime,
      Arena arena,
      Weights weights,
      StackConfig config,
      int height,
      int width) {
    TransformerEncoder encoder = new LayerLoader(runtime, weights, NAMES, config).encoder();
    String name = "embeddings.";
    return new Vit(
        LayerLoader.patches(
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
        LayerLoader.linear(
            runtime, weights, "classifier.weight", "classifier.bias", encoder.dim()));
  }

  /**
   * Loads a classifier from a folder of Hugging Face's: config.json, and model.safetensors or
   * several such files with their index. Names may begin with {@code vit.}.
   *
   * @param runtime where it runs
   * @param folder with these files
   * @param arena gets the mapped files and what is packed, and must stay open as long as the model
   *     is used
   * @param format of the matrices
   * @return the model
   * @throws IOException if a file is missing, or says what the model does not do; the message names
   *     the file and its key, or the weight
   */
  public static Vit load(GatunRuntime runtime, Path folder, Arena arena, WeightFormat format)
      throws IOException {
    return Families.vit(ImageFiles.open(runtime, folder, arena, format));
  }

  static Vit load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    ImageFiles images = ImageFiles.of(config, 768, 224, 16);
    int layers = config.size("num_hidden_layers", 12);
    int heads = ImageFiles.heads(config, 12, images.hidden());
    Checkpoint scoped = checkpoint.scoped("vit.");
    images.requirePatches(config, scoped, "embeddings.patch_embeddings.projection.weight");
    boolean biased = config.flag("qkv_bias", true);
    GatedEncoders.requireBiases(scoped, NAMES, layers, biased, Part.QUERY, Part.KEY, Part.VALUE);
    GatedEncoders.requireBiases(scoped, NAMES, layers, true, Part.OUTPUT, Part.FIRST, Part.SECOND);
    GatedEncoders.requireInner(scoped, config, NAMES, "intermediate_size");
    if (!scoped.has("classifier.weight")) {
      throw new IllegalArgumentException(
          "classifier.weight: expected a model with a classifier, got none");
    }
    StackConfig stack =
        StackConfig.of(
            NormOrder.PRE,
            layers,
            heads,
            Causal.NONE,
            config.activation("hidden_act", "gelu"),
            config.epsilon("layer_norm_eps", EPSILON));
    return of(
        checkpoint.runtime(),
        checkpoint.arena(),
        scoped.packed(),
        stack,
        images.size(),
        images.size());
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
    ModelEvent event = ModelEvent.start();
    run(embedding, encoder, classifier, images, "logits", logits);
    ModelEvent.finish(event, "Vit", (int) images.size(0), images.size(0) * embedding.rows());
  }

  /** Checked images, and what a last layer makes of the state of each one's class token. */
  static void run(
      PatchEmbedding patches,
      TransformerEncoder encoder,
      Linear head,
      Tensor images,
      String outName,
      Tensor out) {
    patches.checkImages(images);
    long batch = images.size(0);
    Arguments.checkOutput(outName, out, batch, head.out());
    SharedMemory.refuse(outName, out, "images", images);
    patches.refuseShared(outName, out);
    encoder.refuseShared(outName, out);
    head.refuseShared(outName, out);
    try (Arena arena = Arena.ofShared()) {
      Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, batch, patches.rows(), encoder.dim());
      patches.forward(null, images, hidden);
      encoder.forward(hidden, hidden);
      head.forward(hidden.select(1, 0), out);
    }
  }
}
