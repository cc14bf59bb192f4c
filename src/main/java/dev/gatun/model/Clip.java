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
import dev.gatun.nn.Embedding;
import dev.gatun.nn.Linear;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PatchEmbedding;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerEncoder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;

/**
 * CLIP (Radford et al., 2021): a causal tower for texts and one for images, whose vectors are
 * compared by cosine; Hugging Face's names.
 *
 * @param tokens embedding of texts
 * @param text layers of texts, with the last norm
 * @param textProjection of the last token's state
 * @param patches embedding of images
 * @param vision layers of images, with the last norm
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

  private static final float EPSILON = 1e-5f;
  private static final String TEXT = "text_model";
  private static final String TEXT_NORM = "final_layer_norm";
  private static final String VISION = "vision_model";
  private static final String VISION_NORM = "post_layernorm";

  private static final Part[] BIASED = {
    Part.QUERY, Part.KEY, Part.VALUE, Part.OUTPUT, Part.FIRST, Part.SECOND
  };

  private static WeightNames names(String tower, String lastNorm) {
    String layer = tower + ".encoder.layers.{n}.";
    return WeightNames.outputMajor()
        .with(Part.SELF_NORM, layer + "layer_norm1.{p}")
        .with(Part.QUERY, layer + "self_attn.q_proj.{p}")
        .with(Part.KEY, layer + "self_attn.k_proj.{p}")
        .with(Part.VALUE, layer + "self_attn.v_proj.{p}")
        .with(Part.OUTPUT, layer + "self_attn.out_proj.{p}")
        .with(Part.FEED_FORWARD_NORM, layer + "layer_norm2.{p}")
        .with(Part.FIRST, layer + "mlp.fc1.{p}")
        .with(Part.SECOND, layer + "mlp.fc2.{p}")
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
   * @param textLayers how many for texts
   * @param textHeads heads of texts
   * @param visionLayers how many for images
   * @param visionHeads heads of images
   * @param size height and width of an image
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing or does not fit, under its
   *     name in the file
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
    return of(
        runtime,
        arena,
        weights,
        tower(textLayers, textHeads, Causal.BOTTOM_RIGHT, Activation.QUICK_GELU, EPSILON),
        tower(visionLayers, visionHeads, Causal.NONE, Activation.QUICK_GELU, EPSILON),
        size);
  }

  private static StackConfig tower(
      int layers, int heads, Causal causal, Activation activation, float epsilon) {
    return StackConfig.of(NormOrder.PRE, layers, heads, causal, activation, epsilon);
  }

  /**
   * Loads both towers from a folder of Hugging Face's: config.json, and model.safetensors or
   * several such files with their index.
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
  public static Clip load(GatunRuntime runtime, Path folder, Arena arena, WeightFormat format)
      throws IOException {
    return Families.clip(ImageFiles.open(runtime, folder, arena, format));
  }

  static Clip load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    FamilyConfig text = tower(config, "text_config");
    FamilyConfig vision = tower(config, "vision_config");
    int width = text.size("hidden_size", 512);
    ImageFiles images = ImageFiles.of(vision, 768, 224, 32);
    int textHeads = ImageFiles.heads(text, 8, width);
    int visionHeads = ImageFiles.heads(vision, 12, images.hidden());
    images.requirePatches(vision, checkpoint, "vision_model.embeddings.patch_embedding.weight");
    int vocabulary = text.size("vocab_size", 49_408);
    requireTable(checkpoint, text, "token_embedding", "vocab_size", vocabulary, width);
    int positions = text.size("max_position_embeddings", 77);
    requireTable(
        checkpoint, text, "position_embedding", "max_position_embeddings", positions, width);
    int projected = config.size("projection_dim", 512);
    for (String head : new String[] {"text_projection.weight", "visual_projection.weight"}) {
      GatedEncoders.requireRows(checkpoint, head, "projection_dim", projected);
    }
    StackConfig textStack = tower(text, textHeads, Causal.BOTTOM_RIGHT);
    StackConfig visionStack = tower(vision, visionHeads, Causal.NONE);
    GatedEncoders.requireInner(checkpoint, text, names(TEXT, TEXT_NORM), "intermediate_size");
    GatedEncoders.requireInner(checkpoint, vision, names(VISION, VISION_NORM), "intermediate_size");
    GatedEncoders.requireBiases(
        checkpoint, names(TEXT, TEXT_NORM), textStack.layers(), true, BIASED);
    GatedEncoders.requireBiases(
        checkpoint, names(VISION, VISION_NORM), visionStack.layers(), true, BIASED);
    return of(
        checkpoint.runtime(),
        checkpoint.arena(),
        checkpoint.packed(),
        textStack,
        visionStack,
        images.size());
  }

  /**
   * What a tower is like: files of 2022 have each twice, and transformers then takes the one whose
   * key ends in {@code _dict}.
   */
  private static FamilyConfig tower(FamilyConfig config, String key) {
    return config.below(config.has(key + "_dict") ? key + "_dict" : key);
  }

  private static StackConfig tower(FamilyConfig config, int heads, Causal causal) {
    return tower(
        config.size("num_hidden_layers", 12),
        heads,
        causal,
        config.activation("hidden_act", "quick_gelu"),
        config.epsilon("layer_norm_eps", EPSILON));
  }

  private static void requireTable(
      Checkpoint checkpoint, FamilyConfig text, String table, String key, int rows, int width) {
    String name = "text_model.embeddings." + table + ".weight";
    Tensor weight = LayerLoader.requireMatrix(checkpoint.weights(), name);
    if (weight.size(0) != rows) {
      throw text.expected(key, "%d, the rows of %s".formatted(weight.size(0), name));
    }
    if (weight.size(1) != width) {
      throw text.expected("hidden_size", "%d, the columns of %s".formatted(weight.size(1), name));
    }
  }

  private static Clip of(
      GatunRuntime runtime,
      Arena arena,
      Weights weights,
      StackConfig textConfig,
      StackConfig visionConfig,
      int size) {
    String textNames = "text_model.embeddings.";
    String visionNames = "vision_model.embeddings.";
    TransformerEncoder text =
        new LayerLoader(runtime, weights, names(TEXT, TEXT_NORM), textConfig).encoder();
    TransformerEncoder vision =
        new LayerLoader(runtime, weights, names(VISION, VISION_NORM), visionConfig).encoder();
    Tensor logitScale = LayerLoader.require(weights, "logit_scale");
    Arguments.check("logit_scale", logitScale, DType.FLOAT32);
    return new Clip(
        new Embedding(
            runtime,
            LayerLoader.table(weights, textNames + "token_embedding.weight", text.dim()),
            1,
            PositionalEncoding.learned(
                LayerLoader.table(weights, textNames + "position_embedding.weight", text.dim()))),
        text,
        LayerLoader.linear(runtime, weights, "text_projection.weight", null, text.dim()),
        LayerLoader.patches(
            runtime,
            arena,
            weights,
            size,
            size,
            vision.dim(),
            visionNames + "patch_embedding",
            visionNames + "class_embedding",
            visionNames + "position_embedding.weight",
            LayerLoader.layerNorm(
                runtime,
                weights,
                "vision_model.pre_layrnorm", // so spelt in the files
                vision.dim(),
                visionConfig.epsilon())),
        vision,
        LayerLoader.linear(runtime, weights, "visual_projection.weight", null, vision.dim()),
        (float) Math.exp(logitScale.getFloat()));
  }

  /**
   * Vectors of texts. Allocates what lies between in an arena of its own.
   *
   * @param ids {@code [batch, seq]} INT32
   * @param ends where each text ends: the position of its end token, whose state becomes the vector
   * @param vectors receives {@code [batch, dim]}, of length 1; shares no memory with ids and
   *     weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void texts(Tensor ids, int[] ends, Tensor vectors) {
    Arguments.check("ids", ids, DType.INT32, -1, -1);
    long batch = ids.size(0);
    long seq = ids.size(1);
    int[] endPositions = ends.clone();
    if (endPositions.length != batch) {
      throw new IllegalArgumentException(
          "ends: expected %d of them, got %d".formatted(batch, endPositions.length));
    }
    for (int b = 0; b < batch; b++) {
      if (endPositions[b] < 0 || endPositions[b] >= seq) {
        throw new IllegalArgumentException(
            "ends[%d]: expected 0 .. %d, got %d".formatted(b, seq - 1, endPositions[b]));
      }
    }
    Arguments.checkOutput("vectors", vectors, batch, textProjection.out());
    SharedMemory.refuse("vectors", vectors, "ids", ids);
    tokens.refuseShared("vectors", vectors);
    text.refuseShared("vectors", vectors);
    textProjection.refuseShared("vectors", vectors);
    ModelEvent event = ModelEvent.start();
    try (Arena arena = Arena.ofShared()) {
      Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, batch, seq, text.dim());
      tokens.forward(ids, hidden);
      text.forward(hidden, hidden);
      Tensor last = Tensor.allocate(arena, DType.FLOAT32, batch, text.dim());
      for (int b = 0; b < batch; b++) {
        last.select(0, b).copyFrom(hidden.select(0, b).select(0, endPositions[b]));
      }
      textProjection.forward(last, vectors);
      normalize(vectors);
    }
    ModelEvent.finish(event, "Clip.texts", (int) batch, batch * seq);
  }

  /**
   * Vectors of images. Allocates what lies between in an arena of its own.
   *
   * @param images {@code [batch, channels, size, size]}, contiguous
   * @param vectors receives {@code [batch, dim]}, of length 1; shares no memory with images and
   *     weights
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void images(Tensor images, Tensor vectors) {
    ModelEvent event = ModelEvent.start();
    Vit.run(patches, vision, visionProjection, images, "vectors", vectors);
    normalize(vectors);
    ModelEvent.finish(event, "Clip.images", (int) images.size(0), images.size(0) * patches.rows());
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
   * @param logits receives {@code [images, texts]}; shares no memory with either
   * @throws IllegalArgumentException naming the argument that does not fit; nothing was written
   */
  public void compare(Tensor images, Tensor texts, Tensor logits) {
    Arguments.check("images", images, DType.FLOAT32, -1, -1);
    Arguments.check("texts", texts, DType.FLOAT32, -1, images.size(1));
    Arguments.checkOutput("logits", logits, images.size(0), texts.size(0));
    SharedMemory.refuse("logits", logits, "images", images);
    SharedMemory.refuse("logits", logits, "texts", texts);
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
