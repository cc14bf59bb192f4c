package dev.gatun.model;

import dev.gatun.Activation;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.NormOrder;
import dev.gatun.nn.Padded;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.Transformer;
import dev.gatun.nn.TransformerDecoder;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.support.Torch.Array;
import dev.gatun.support.TorchTransformer;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** PyTorch's {@code nn.Transformer} as it is. */
class TransformerParityTest extends PyTorchModels {

  @ParameterizedTest
  @CsvSource({
    "64, 4, 160, 3, false, false",
    "64, 4, 160, 2, true, true",
    "48, 3, 100, 2, true, false",
    "32, 8, 64, 2, false, true",
    "512, 8, 2048, 6, false, false" // the paper's base model
  })
  void nnTransformer(
      int width, int heads, int hidden, int layers, boolean gelu, boolean normFirst) {
    TorchTransformer theirs =
        TorchTransformer.transformer(
            torch,
            new TorchTransformer.Config(width, heads, hidden, gelu, normFirst, true),
            layers,
            layers,
            11);
    theirs
        .parameters()
        .forEach((name, p) -> made.put(name, Tensor.copyOf(arena, p.numbers(), p.shape())));
    VaswaniTransformer paper =
        new VaswaniTransformer(
            layers,
            heads,
            gelu ? Activation.GELU : Activation.RELU,
            normFirst ? NormOrder.PRE : NormOrder.POST);
    Weights all = Weights.of(made);
    TransformerEncoder encoder = paper.encoder(runtime, all, PositionalEncoding.none());
    TransformerDecoder decoder = paper.decoder(runtime, all, PositionalEncoding.none());
    int batch = 2;
    int source = 13;
    int target = 9;
    int[] lengths = {13, 6};
    Tensor x = normal(1, batch, source, width);
    Tensor y = normal(1, batch, target, width);
    boolean[] padding = TorchTransformer.Mask.padding(lengths, source);
    Array want =
        theirs.forward(
            torch.array(x.toFloatArray(), x.shape()),
            torch.array(y.toFloatArray(), y.shape()),
            new TorchTransformer.Mask(false, padding),
            TorchTransformer.Mask.CAUSAL);
    String what =
        "nn.Transformer %d x %d%s".formatted(layers, width, normFirst ? ", pre-norm" : "");
    Tensor lens = Tensor.copyOf(arena, lengths, batch);
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, batch, source, width);
    encoder.forward(null, x, Padded.by(lens), memory);
    DecoderState state = decoder.newState(arena, batch, target, source);
    decoder.remember(null, state, memory, Padded.by(lens));
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, batch, target, width);
    decoder.step(null, state, y, null, out);
    close(what, want.toFloats(), out.toFloatArray(), MODULE_BOUND);
    state.reset();
    Tensor row = Tensor.allocate(arena, DType.FLOAT32, batch, 1, width);
    Tensor steps = Tensor.allocate(arena, DType.FLOAT32, batch, target, width);
    for (int s = 0; s < target; s++) {
      row.copyFrom(y.slice(1, s, s + 1));
      decoder.step(null, state, row, null, row);
      steps.slice(1, s, s + 1).copyFrom(row);
    }
    close(what + ", step by step", want.toFloats(), steps.toFloatArray(), MODULE_BOUND);
  }

  /**
   * From tokens to logits, with the paper's embeddings, positions and tied output (section 3.4).
   */
  @Test
  void tokens() throws IOException {
    int width = 64;
    int vocabulary = 50;
    int batch = 2;
    TorchTransformer theirs =
        TorchTransformer.transformer(
            torch, new TorchTransformer.Config(width, 4, 160, false, false, true), 2, 2, 11);
    theirs
        .parameters()
        .forEach((name, p) -> made.put(name, Tensor.copyOf(arena, p.numbers(), p.shape())));
    int[] source = ids(batch * 12, vocabulary);
    int[] target = ids(batch * 9, vocabulary);
    Array table = draw("target_embedding.weight", 0.1, 0, vocabulary, width);
    Array want =
        torch.linear(
            theirs.forward(
                embed(table, source, batch),
                embed(table, target, batch),
                TorchTransformer.Mask.NONE,
                TorchTransformer.Mask.CAUSAL),
            table,
            null);
    Path file = file();
    Tensor sourceIds = Tensor.copyOf(arena, source, batch, 12);
    // example: transformer
    Weights weights = Weights.of(Safetensors.map(file, arena), arena);
    Transformer model =
        new VaswaniTransformer(2, 4, Activation.RELU, NormOrder.POST)
            .of(runtime, weights, PositionalEncoding.sinusoidal(arena, 512, 64));
    Tensor memory = Tensor.allocate(arena, DType.FLOAT32, batch, 12, 64);
    model.encode(null, sourceIds, null, memory); // once for each source text
    DecoderState state = model.newState(arena, batch, 100, 12); // 100 tokens, memory of 12 rows
    model.remember(null, state, memory, null); // keys and values of cross-attention, once
    // end
    checkModel("Transformer", model, state, target, batch, want);
  }

  private Array embed(Array table, int[] ids, int batch) {
    int seq = ids.length / batch;
    int width = (int) table.shape()[1];
    double[] positions = new double[seq * width];
    for (int p = 0; p < seq; p++) {
      for (int i = 0; i < width / 2; i++) {
        double angle = p * Math.exp(-2.0 * i / width * Math.log(10000));
        positions[p * width + 2 * i] = Math.sin(angle);
        positions[p * width + 2 * i + 1] = Math.cos(angle);
      }
    }
    Array rows = torch.embedding(table, torch.ids(ids, batch, seq));
    return torch.add(torch.multiply(rows, Math.sqrt(width)), torch.array(positions, 1, seq, width));
  }
}
