package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import dev.gatun.nn.AttentiveGruDecoder;
import dev.gatun.nn.AttentiveTranslator;
import dev.gatun.nn.Embedding;
import dev.gatun.nn.GruLayer;
import dev.gatun.nn.GruLayer.Reset;
import dev.gatun.nn.Linear;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.RecurrentWeights;

/**
 * RNNsearch, the translation model of Bahdanau, Cho and Bengio 2015. Sizes come from the weights:
 * states of n, embeddings of m, an alignment model of n', readouts of l. The paper's have n = n' =
 * 1000, m = 620, l = 500 and vocabularies of 30,000.
 *
 * <p>Weights, rows for outputs as PyTorch stores them; each {@code bias} may be missing:
 *
 * <pre>
 *   source_embedding.weight    [source words, m]
 *   encoder.weight_ih_l0       [3n, m]              encoder.weight_hh_l0      [3n, n]
 *   encoder.bias_ih_l0         [3n]                 encoder.bias_hh_l0        [3n]
 *   and the same four with _reverse
 *   target_embedding.weight    [target words, m]
 *   attention.query.weight     [n', n]     W_a      attention.query.bias      [n']
 *   attention.key.weight       [n', 2n]    U_a      attention.key.bias        [n']
 *   attention.energy.weight    [1, n']     v_a
 *   decoder.initial.weight     [n, n]      W_s      decoder.initial.bias      [n]
 *   decoder.weight_ih          [3n, m + 2n]         decoder.weight_hh         [3n, n]
 *   decoder.bias_ih            [3n]                 decoder.bias_hh           [3n]
 *   readout.weight             [2l, n + m + 2n]     readout.bias              [2l]
 *   output.weight              [target words, l]  W_o   output.bias           [target words]
 * </pre>
 *
 * Blocks of 3n are the gates r, z and n of {@link Reset#BEFORE_PRODUCT}. The columns of
 * decoder.weight_ih are those of the word before, then those of the context: W and C of the paper.
 * Those of readout.weight are U_o, V_o and C_o. There are two embeddings; their sizes may differ.
 */
public final class RnnSearch {

  private static final String[] NAMES = {
    "source_embedding.weight",
    "target_embedding.weight",
    "encoder.weight_ih_l0",
    "encoder.weight_hh_l0",
    "encoder.bias_ih_l0",
    "encoder.bias_hh_l0",
    "encoder.weight_ih_l0_reverse",
    "encoder.weight_hh_l0_reverse",
    "encoder.bias_ih_l0_reverse",
    "encoder.bias_hh_l0_reverse",
    "attention.query.weight",
    "attention.query.bias",
    "attention.key.weight",
    "attention.key.bias",
    "attention.energy.weight",
    "decoder.initial.weight",
    "decoder.initial.bias",
    "decoder.weight_ih",
    "decoder.weight_hh",
    "decoder.bias_ih",
    "decoder.bias_hh",
    "readout.weight",
    "readout.bias",
    "output.weight",
    "output.bias"
  };

  private RnnSearch() {}

  /**
   * Puts a model together. Weights are used where they lie; {@link AttentiveTranslator#packed}
   * packs them.
   *
   * @param runtime where it runs
   * @param weights must stay open as long as the model is used
   * @return the model
   * @throws IllegalArgumentException naming the weight that is missing, does not fit or is not read
   */
  public static AttentiveTranslator of(GatunRuntime runtime, Weights weights) {
    if (weights instanceof PackedWeights packed) {
      return of(runtime, packed.weights()).packed(packed.memory(), packed.format());
    }
    UnreadWeights.refuseOthers(weights, NAMES);
    long hidden = weights.matrix("decoder.weight_hh").size(1);
    GruLayer encoder =
        new GruLayer(
            runtime,
            Reset.BEFORE_PRODUCT,
            unit(weights, "encoder.", "_l0", hidden),
            unit(weights, "encoder.", "_l0_reverse", hidden));
    RecurrentWeights unit = unit(weights, "decoder.", "", hidden);
    long dim = unit.weightIh().size(1) - 2 * hidden;
    if (dim < 1) {
      throw misfit(
          "decoder.weight_ih", "[3n, m + 2n], n = %d".formatted(hidden), unit.weightIh());
    }
    Linear query = linear(runtime, weights, "attention.query", hidden, -1);
    Linear key = linear(runtime, weights, "attention.key", 2 * hidden, query.out());
    Tensor energy = weights.get("attention.energy.weight");
    if (energy.elements() != query.out() || !energy.isContiguous()) {
      throw misfit(
          "attention.energy.weight", "[1, %d], contiguous".formatted(query.out()), energy);
    }
    AttentiveGruDecoder decoder =
        new AttentiveGruDecoder(
            runtime,
            linear(runtime, weights, "decoder.initial", hidden, hidden),
            query,
            key,
            energy.reshape(query.out()),
            unit,
            linear(runtime, weights, "readout", hidden + dim + 2 * hidden, -1));
    return new AttentiveTranslator(
        "RnnSearch",
        runtime,
        embedding(runtime, weights, "source_embedding.weight", encoder.in()),
        encoder,
        embedding(runtime, weights, "target_embedding.weight", dim),
        decoder,
        linear(runtime, weights, "output", decoder.outDim(), -1));
  }

  private static Embedding embedding(
      GatunRuntime runtime, Weights weights, String name, long dim) {
    Tensor table = LayerLoader.table(weights, name, dim);
    return new Embedding(runtime, table, 1, PositionalEncoding.none());
  }

  /** Outputs of -1 are as many as the matrix has. */
  private static Linear linear(
      GatunRuntime runtime, Weights weights, String name, long in, long out) {
    Tensor matrix = weights.matrix(name + ".weight");
    if (matrix.size(1) != in || out >= 0 && matrix.size(0) != out) {
      throw misfit(
          name + ".weight", "[%s, %d]".formatted(out < 0 ? "outputs" : out + "", in), matrix);
    }
    return LayerLoader.linear(runtime, weights, name + ".weight", name + ".bias", in);
  }

  private static RecurrentWeights unit(
      Weights weights, String part, String end, long hidden) {
    String ihName = part + "weight_ih" + end;
    String hhName = part + "weight_hh" + end;
    Tensor ih = weights.matrix(ihName);
    Tensor hh = weights.matrix(hhName);
    if (hh.size(0) != 3 * hidden || hh.size(1) != hidden) {
      throw misfit(hhName, "[%d, %d]".formatted(3 * hidden, hidden), hh);
    }
    if (ih.size(0) != 3 * hidden) {
      throw misfit(ihName, "[%d, inputs]".formatted(3 * hidden), ih);
    }
    return new RecurrentWeights(
        ih,
        hh,
        bias(weights, part + "bias_ih" + end, 3 * hidden),
        bias(weights, part + "bias_hh" + end, 3 * hidden));
  }

  private static IllegalArgumentException misfit(String name, String expected, Tensor tensor) {
    return new IllegalArgumentException(
        "%s: expected %s float32, got %s %s"
            .formatted(name, expected, Messages.sizes(tensor.shape()), tensor.dtype()));
  }

  private static Tensor bias(Weights weights, String name, long size) {
    Tensor bias = weights.find(name);
    if (bias != null) {
      LayerShapes.checkVector(name, bias, size);
    }
    return bias;
  }
}
