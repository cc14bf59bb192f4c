package dev.gatun.support;

import dev.gatun.support.Torch.Array;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.bytedeco.pytorch.AnyModule;
import org.bytedeco.pytorch.LayerNormImpl;
import org.bytedeco.pytorch.LinearImpl;
import org.bytedeco.pytorch.LongVector;
import org.bytedeco.pytorch.Module;
import org.bytedeco.pytorch.MultiheadAttentionImpl;
import org.bytedeco.pytorch.StringTensorDict;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TransformerActivation;
import org.bytedeco.pytorch.TransformerDecoderImpl;
import org.bytedeco.pytorch.TransformerDecoderLayerOptions;
import org.bytedeco.pytorch.TransformerDecoderOptions;
import org.bytedeco.pytorch.TransformerEncoderImpl;
import org.bytedeco.pytorch.TransformerEncoderLayerOptions;
import org.bytedeco.pytorch.TransformerEncoderOptions;
import org.bytedeco.pytorch.TransformerImpl;
import org.bytedeco.pytorch.TransformerOptions;
import org.bytedeco.pytorch.kGELU;
import org.bytedeco.pytorch.kReLU;

/**
 * PyTorch's {@code nn.TransformerEncoder}, {@code nn.TransformerDecoder} and {@code
 * nn.Transformer}, with weights from a seed, names of parameters as in Python, and dropout off.
 * Sequences are [batch, seq, width], as with {@code batch_first=True}.
 *
 * <p>Layers that normalize behind each sum are the modules of PyTorch's C++ library. That one has
 * no {@code norm_first}, so layers that normalize before each part are composed here, of its {@code
 * MultiheadAttention}, {@code Linear} and {@code LayerNorm}.
 *
 * <p>Owned by the {@link Torch} that it is made with, and for its thread.
 */
public final class TorchTransformer {

  /**
   * What the layers have in common.
   *
   * @param width d_model
   * @param heads a divisor of width
   * @param hidden dim_feedforward
   * @param gelu GELU by the error function in place of ReLU
   * @param normFirst LayerNorm before attention and feed-forward, and not behind their sums
   * @param finalNorm a LayerNorm behind the last layer, {@code norm}; {@code nn.Transformer} has
   *     both of its own in any case
   */
  public record Config(
      int width, int heads, int hidden, boolean gelu, boolean normFirst, boolean finalNorm) {}

  /**
   * A parameter of the model.
   *
   * @param numbers in row-major order; a copy
   * @param shape outermost dimension first
   */
  public record Parameter(float[] numbers, long... shape) {}

  /**
   * Which keys self-attention sees.
   *
   * @param causal query i sees keys 0 … i
   * @param padding [batch, seq] in row-major order, true for a key that nobody sees; or null
   */
  public record Mask(boolean causal, boolean[] padding) {
    public static final Mask NONE = new Mask(false, null);
    public static final Mask CAUSAL = new Mask(true, null);

    /** Sequences of these lengths, filled up to seq behind their end. */
    public static boolean[] padding(int[] lengths, int seq) {
      boolean[] padding = new boolean[lengths.length * seq];
      for (int b = 0; b < lengths.length; b++) {
        Arrays.fill(padding, b * seq + lengths[b], (b + 1) * seq, true);
      }
      return padding;
    }
  }

  private final Torch torch;
  private final Map<String, Tensor> parameters = new LinkedHashMap<>();
  private Stack encoder;
  private Stack decoder;

  /** The forward function of nn.Transformer, or null. */
  private TransformerImpl whole;

  /** A number of layers, on sequences [seq, batch, width], as PyTorch's C++ library has them. */
  private interface Stack {
    /** For an encoder, memory and its mask are null. */
    Tensor forward(Tensor x, Tensor memory, Tensor mask, Tensor padding, Tensor memoryPadding);
  }

  private TorchTransformer(Torch torch) {
    this.torch = torch;
  }

  // ---- making ----------------------------------------------------------------------------------

  /** {@code nn.TransformerEncoder}; parameters are called {@code layers.0.self_attn…}. */
  public static TorchTransformer encoder(Torch torch, Config config, int layers, long seed) {
    return encoder(torch, config, layers, seed, config.normFirst);
  }

  /** {@code nn.TransformerDecoder}; parameters are called {@code layers.0.self_attn…}. */
  public static TorchTransformer decoder(Torch torch, Config config, int layers, long seed) {
    return decoder(torch, config, layers, seed, config.normFirst);
  }

  /** {@code nn.Transformer}; parameters are called {@code encoder.layers.0.self_attn…}. */
  public static TorchTransformer transformer(
      Torch torch, Config config, int encoderLayers, int decoderLayers, long seed) {
    return transformer(torch, config, encoderLayers, decoderLayers, seed, config.normFirst);
  }

  static TorchTransformer encoder(
      Torch torch, Config config, int layers, long seed, boolean composed) {
    TorchTransformer model = new TorchTransformer(torch);
    if (composed) {
      model.encoder = model.compose("", config, layers, false, config.finalNorm);
    } else {
      TransformerEncoderLayerOptions layer =
          new TransformerEncoderLayerOptions(config.width, config.heads);
      layer.dim_feedforward().put(config.hidden);
      activate(layer.activation(), config);
      TransformerEncoderOptions options = new TransformerEncoderOptions(layer, layers);
      if (config.finalNorm) {
        options.norm().put(new AnyModule(layerNorm(config.width)));
      }
      TransformerEncoderImpl module = new TransformerEncoderImpl(options);
      model.adopt("", module);
      model.encoder = (x, memory, mask, padding, memoryPadding) -> module.forward(x, mask, padding);
    }
    model.draw(seed);
    return model;
  }

  static TorchTransformer decoder(
      Torch torch, Config config, int layers, long seed, boolean composed) {
    TorchTransformer model = new TorchTransformer(torch);
    if (composed) {
      model.decoder = model.compose("", config, layers, true, config.finalNorm);
    } else {
      TransformerDecoderLayerOptions layer =
          new TransformerDecoderLayerOptions(config.width, config.heads);
      layer.dim_feedforward().put(config.hidden);
      activate(layer.activation(), config);
      TransformerDecoderOptions options = new TransformerDecoderOptions(layer, layers);
      if (config.finalNorm) {
        options.norm().put(new AnyModule(layerNorm(config.width)));
      }
      TransformerDecoderImpl module = new TransformerDecoderImpl(options);
      model.adopt("", module);
      model.decoder =
          (x, memory, mask, padding, memoryPadding) ->
              module.forward(x, memory, mask, new Tensor(), padding, memoryPadding);
    }
    model.draw(seed);
    return model;
  }

  static TorchTransformer transformer(
      Torch torch,
      Config config,
      int encoderLayers,
      int decoderLayers,
      long seed,
      boolean composed) {
    TorchTransformer model = new TorchTransformer(torch);
    if (composed) {
      model.encoder = model.compose("encoder.", config, encoderLayers, false, true);
      model.decoder = model.compose("decoder.", config, decoderLayers, true, true);
    } else {
      TransformerOptions options =
          new TransformerOptions(config.width, config.heads, encoderLayers, decoderLayers);
      options.dim_feedforward().put(config.hidden);
      activate(options.activation(), config);
      model.whole = new TransformerImpl(options);
      model.adopt("", model.whole);
    }
    model.draw(seed);
    return model;
  }

  private static void activate(TransformerActivation activation, Config config) {
    if (config.gelu) {
      activation.put(new kGELU());
    } else {
      activation.put(new kReLU());
    }
  }

  private static LayerNormImpl layerNorm(int width) {
    return new LayerNormImpl(new LongVector(new long[] {width}));
  }

  /** Makes a module part of this model, under its name there. */
  private <M extends Module> M adopt(String prefix, M module) {
    module.to(torch.type(), false);
    module.eval();
    StringTensorDict own = module.named_parameters(true);
    for (long i = 0; i < own.size(); i++) {
      parameters.put(prefix + own.get(i).key().getString(), own.get(i).value());
    }
    return module;
  }

  /** Numbers that depend on seed and name alone, of a size that keeps activations near 1. */
  private void draw(long seed) {
    parameters.forEach(
        (name, parameter) -> {
          Random random = new Random(seed ^ (long) name.hashCode() << 20);
          long[] shape = parameter.shape();
          boolean norm = name.matches("(.*\\.)?norm\\d?\\.weight");
          double deviation = shape.length == 2 ? 1 / Math.sqrt(shape[1]) : 0.2;
          float[] numbers = new float[(int) parameter.numel()];
          for (int i = 0; i < numbers.length; i++) {
            numbers[i] = (float) (deviation * random.nextGaussian() + (norm ? 1 : 0));
          }
          set(name, numbers);
        });
  }

  // ---- layers of our own -----------------------------------------------------------------------

  private Stack compose(String prefix, Config config, int count, boolean cross, boolean finalNorm) {
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      layers.add(new Layer(prefix + "layers." + i + ".", config, cross));
    }
    LayerNormImpl norm = finalNorm ? adopt(prefix + "norm.", layerNorm(config.width)) : null;
    return (x, memory, mask, padding, memoryPadding) -> {
      Tensor y = x;
      for (Layer layer : layers) {
        y = layer.forward(y, memory, mask, padding, memoryPadding);
      }
      return norm == null ? y : norm.forward(y);
    };
  }

  private final class Layer {
    private final Config config;
    private final MultiheadAttentionImpl selfAttention;
    private final MultiheadAttentionImpl crossAttention;
    private final LinearImpl linear1;
    private final LinearImpl linear2;
    private final LayerNormImpl[] norms;

    Layer(String prefix, Config config, boolean cross) {
      this.config = config;
      selfAttention =
          adopt(prefix + "self_attn.", new MultiheadAttentionImpl(config.width, config.heads));
      crossAttention =
          cross
              ? adopt(
                  prefix + "multihead_attn.",
                  new MultiheadAttentionImpl(config.width, config.heads))
              : null;
      linear1 = adopt(prefix + "linear1.", new LinearImpl(config.width, config.hidden));
      linear2 = adopt(prefix + "linear2.", new LinearImpl(config.hidden, config.width));
      norms = new LayerNormImpl[cross ? 3 : 2];
      for (int i = 0; i < norms.length; i++) {
        norms[i] = adopt(prefix + "norm" + (i + 1) + ".", layerNorm(config.width));
      }
    }

    Tensor forward(Tensor input, Tensor memory, Tensor mask, Tensor padding, Tensor memoryPadding) {
      int part = 0;
      Tensor x = input;
      Tensor y = before(part, x);
      x = behind(part++, x, attend(selfAttention, y, y, mask, padding));
      if (crossAttention != null) {
        y = before(part, x);
        x = behind(part++, x, attend(crossAttention, y, memory, new Tensor(), memoryPadding));
      }
      Tensor inner = linear1.forward(before(part, x));
      Tensor active = config.gelu ? torch.gelu(new Array(inner)).tensor : inner.relu();
      return behind(part, x, linear2.forward(active));
    }

    private Tensor before(int part, Tensor x) {
      return config.normFirst ? norms[part].forward(x) : x;
    }

    private Tensor behind(int part, Tensor x, Tensor y) {
      Tensor sum = x.add(y);
      return config.normFirst ? sum : norms[part].forward(sum);
    }
  }

  private static Tensor attend(
      MultiheadAttentionImpl attention, Tensor q, Tensor k, Tensor mask, Tensor padding) {
    return attention.forward(q, k, k, padding, false, mask, true).get0();
  }

  // ---- parameters ------------------------------------------------------------------------------

  /** All parameters by their names in Python's {@code state_dict()}. */
  public Map<String, Parameter> parameters() {
    Map<String, Parameter> copies = new LinkedHashMap<>();
    parameters.forEach(
        (name, value) ->
            copies.put(name, new Parameter(new Array(value).toFloats(), value.shape())));
    return copies;
  }

  /** Gives a parameter other numbers, in row-major order. */
  public void set(String name, float[] numbers) {
    Tensor parameter = parameters.get(name);
    if (parameter == null) {
      throw new IllegalArgumentException(
          "name: expected one of %s, got %s".formatted(parameters.keySet(), name));
    }
    parameter.copy_(torch.array(numbers, parameter.shape()).tensor);
  }

  // ---- running ---------------------------------------------------------------------------------

  /**
   * Runs an encoder.
   *
   * @param src [batch, seq, width]
   * @return [batch, seq, width]; NaN where a query sees no key
   */
  public Array encode(Array src, Mask mask) {
    return turn(encoder.forward(turn(src), null, causal(src, mask), padding(src, mask), null));
  }

  /**
   * Runs a decoder.
   *
   * @param tgt [batch, seqTgt, width]
   * @param memory [batch, seqSrc, width], what an encoder returned
   * @param memoryPadding [batch, seqSrc], true for a place that nobody sees; or null
   * @return [batch, seqTgt, width]
   */
  public Array decode(Array tgt, Array memory, Mask mask, boolean[] memoryPadding) {
    return turn(
        decoder.forward(
            turn(tgt),
            turn(memory),
            causal(tgt, mask),
            padding(tgt, mask),
            padding(memory, new Mask(false, memoryPadding))));
  }

  /**
   * Runs an encoder, and a decoder on its output, which does not see the padding of src.
   *
   * @param src [batch, seqSrc, width]
   * @param tgt [batch, seqTgt, width]
   * @return [batch, seqTgt, width]
   */
  public Array forward(Array src, Array tgt, Mask srcMask, Mask tgtMask) {
    if (whole == null) {
      return decode(tgt, encode(src, srcMask), tgtMask, srcMask.padding);
    }
    return turn(
        whole.forward(
            turn(src),
            turn(tgt),
            causal(src, srcMask),
            causal(tgt, tgtMask),
            new Tensor(),
            padding(src, srcMask),
            padding(tgt, tgtMask),
            padding(src, srcMask)));
  }

  private static Tensor turn(Array x) {
    return x.tensor.transpose(0, 1);
  }

  private static Array turn(Tensor x) {
    return new Array(x.transpose(0, 1).contiguous());
  }

  /** [seq, seq], -inf above the diagonal; or none. */
  private Tensor causal(Array x, Mask mask) {
    if (!mask.causal) {
      return new Tensor();
    }
    int seq = (int) x.tensor.size(1);
    float[] added = new float[seq * seq];
    for (int q = 0; q < seq; q++) {
      Arrays.fill(added, q * seq + q + 1, (q + 1) * seq, Float.NEGATIVE_INFINITY);
    }
    return torch.array(added, seq, seq).tensor;
  }

  /** [batch, seq]; or none. */
  private Tensor padding(Array x, Mask mask) {
    return mask.padding == null
        ? new Tensor()
        : torch.booleans(mask.padding, x.tensor.size(0), x.tensor.size(1)).tensor;
  }
}
