package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.AttentionSpec;
import dev.gatun.GatunRuntime;
import dev.gatun.model.WeightNames.Part;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TransformerEncoder;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;

/**
 * ModernBERT (Warner et al., 2024): pre-norm layers without biases, the first one without a norm
 * before its attention, since embeddings are normalized; a window around each token in all but
 * every third layer, rotary positions of another base there, gated GELU; Hugging Face's names.
 *
 * @param layers how many, {@code num_hidden_layers} of config.json: 22 in the base model
 * @param heads of attention, {@code num_attention_heads}
 * @param globalEvery layers 0, that, twice that, … see all tokens, {@code
 *     global_attn_every_n_layers}: 3
 * @param localAttention the window of the others, {@code local_attention}: 128, which are the 64
 *     tokens on each side, and the token itself
 * @param epsilon of the norms, {@code norm_eps}: 1e-5
 */
public record ModernBert(
    int layers, int heads, int globalEvery, int localAttention, float epsilon) {

  static final String SCOPE = "model.";
  static final String TABLE = "embeddings.tok_embeddings.weight";
  static final double EPSILON = 1e-5;
  private static final String NORM = "embeddings.norm";
  private static final String LOCAL_BASE = "local_rope_theta";
  private static final String TYPES = "layer_types";

  /** As in a file of the encoder alone. */
  private static final WeightNames NAMES = names("");

  /** Checks what neither weights nor layers check. */
  public ModernBert {
    if (globalEvery < 1) {
      throw new IllegalArgumentException("globalEvery: expected 1 or more, got " + globalEvery);
    }
    if (localAttention < 1) {
      throw new IllegalArgumentException(
          "localAttention: expected 1 or more, got " + localAttention);
    }
  }

  /** Reads a folder of Hugging Face's, of the older and the newer form of config.json. */
  static TextEncoder load(Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    for (String key : new String[] {"norm_bias", "attention_bias", "mlp_bias"}) {
      config.requireFlag(key, false);
    }
    if (config.has("rope_scaling")) {
      throw config.expected("rope_scaling", "null");
    }
    int hidden = config.size("hidden_size", 768);
    int heads = config.size("num_attention_heads", 12);
    int headSize = GatedEncoders.headSize(config, hidden, "num_attention_heads", heads);
    if (headSize % 2 != 0) {
      throw config.expected("num_attention_heads", "heads of an even size, not " + headSize);
    }
    double globalBase = base(config, "full_attention", "global_rope_theta", 160_000);
    // Of the older form, null means the other base.
    boolean none = config.json().names().contains(LOCAL_BASE) && !config.has(LOCAL_BASE);
    double localBase = base(config, "sliding_attention", LOCAL_BASE, none ? globalBase : 10_000);
    int layers = config.size("num_hidden_layers", 22);
    ModernBert family =
        new ModernBert(
            layers,
            heads,
            config.size("global_attn_every_n_layers", 3),
            config.size("local_attention", 128),
            config.epsilon("norm_eps", EPSILON));
    // Of a folder with a task's head, which a hidden state does without.
    Checkpoint scoped =
        checkpoint.scoped(SCOPE).renamed(name -> name.startsWith("classifier.") ? null : name);
    GatedEncoders.requireRows(scoped, TABLE, "vocab_size", config.size("vocab_size", 50_368));
    GatedEncoders.requireInner(scoped, config, NAMES, "intermediate_size");
    int positions = config.size("max_position_embeddings", 8192);
    return family.of(
        checkpoint.runtime(),
        scoped.packed(),
        "",
        rotary(checkpoint, positions, headSize, globalBase),
        rotary(checkpoint, positions, headSize, localBase),
        family.global(config),
        config.activation("hidden_activation", "gelu"));
  }

  /** The newer form lists what each layer sees. */
  private IntPredicate global(FamilyConfig config) {
    if (!config.has(TYPES)) {
      return this::global;
    }
    List<Boolean> all = new ArrayList<>();
    for (String type : config.texts(TYPES)) {
      if (!type.equals("full_attention") && !type.equals("sliding_attention")) {
        throw config.expected(TYPES, "full_attention and sliding_attention");
      }
      all.add(type.equals("full_attention"));
    }
    if (all.size() != layers) {
      throw config.expected(TYPES, "num_hidden_layers of them, " + layers);
    }
    return all::get;
  }

  private boolean global(int n) {
    return n % globalEvery == 0;
  }

  private static double base(FamilyConfig config, String type, String key, double otherwise) {
    FamilyConfig newer = config.below("rope_parameters").below(type);
    newer.requireText("rope_type", "default");
    double base = newer.number("rope_theta", config.number(key, otherwise));
    if (!(base > 1) || Double.isInfinite(base)) {
      throw newer.has("rope_theta")
          ? newer.expected("rope_theta", "a finite number above 1")
          : config.expected(key, "a finite number above 1");
    }
    return base;
  }

  private static Rotary rotary(Checkpoint checkpoint, int positions, int headSize, double base) {
    Rotary.Pairing halves = Rotary.Pairing.HALVES;
    return Rotary.of(checkpoint.arena(), positions, headSize, base, halves, RotaryScaling.none());
  }

  private static WeightNames names(String scope) {
    String layer = scope + "layers.{n}.";
    return WeightNames.outputMajor()
        .with(Part.SELF_NORM, layer + "attn_norm.{p}")
        .with(Part.FUSED, layer + "attn.Wqkv.{p}")
        .with(Part.OUTPUT, layer + "attn.Wo.{p}")
        .with(Part.FEED_FORWARD_NORM, layer + "mlp_norm.{p}")
        .with(Part.FIRST_AND_GATE, layer + "mlp.Wi.{p}")
        .with(Part.SECOND, layer + "mlp.Wo.{p}")
        .with(Part.FINAL_NORM, scope + "final_norm.{p}")
        .beside(scope + TABLE, scope + NORM + ".weight")
        // the head of pretraining, which predicts masked words; never inside the scope
        .beside("head.*", "decoder.*");
  }

  /**
   * Puts a model together from its weights by name, which are used where they lie. The names may
   * begin with {@code model.}, as those of a file with a head do.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @param global sines and cosines of layers that see all tokens, {@link Rotary.Pairing#HALVES},
   *     of the base 160,000
   * @param local of the other layers, of the base 10,000
   * @return embedding and encoder
   * @throws IllegalArgumentException naming the weight that is missing, does not fit, or is read by
   *     nothing, under its name in the file
   */
  public TextEncoder of(GatunRuntime runtime, Weights weights, Rotary global, Rotary local) {
    String scope = weights.find(SCOPE + TABLE) == null ? "" : SCOPE;
    return of(runtime, weights, scope, global, local, this::global, Activation.GELU);
  }

  private TextEncoder of(
      GatunRuntime runtime,
      Weights weights,
      String scope,
      Rotary global,
      Rotary local,
      IntPredicate all,
      Activation activation) {
    WeightNames names = scope.isEmpty() ? NAMES : names(scope);
    StackConfig config =
        new StackConfig(
            layers,
            NormOrder.PRE,
            false,
            epsilon,
            n -> layer(n, all.test(n), all.test(n) ? global : local, activation));
    LayerLoader loader = new LayerLoader(runtime, weights, names, config);
    TransformerEncoder encoder = loader.encoder();
    Embedding embedding =
        new Embedding(
            runtime,
            loader.table(scope + TABLE, encoder.dim()),
            1,
            PositionalEncoding.none(),
            null,
            loader.layerNormWithoutBias(scope + NORM, encoder.dim()));
    return new TextEncoder("ModernBert", runtime, embedding, encoder);
  }

  private LayerConfig layer(int n, boolean all, Rotary positions, Activation activation) {
    int side = all ? -1 : localAttention / 2;
    return new LayerConfig(
        heads,
        heads,
        AttentionSpec.builder().window(side, side).build(),
        PositionalEncoding.rotary(positions),
        activation,
        n > 0);
  }
}
