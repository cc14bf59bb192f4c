package dev.gatun.bench.run;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Workspace;
import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Workload;
import dev.gatun.model.VaswaniTransformer;
import dev.gatun.model.Weights;
import dev.gatun.nn.PositionalEncoding;
import dev.gatun.nn.TransformerEncoder;
import dev.gatun.support.Difference;
import dev.gatun.support.Torch;
import dev.gatun.support.Torch.Array;
import dev.gatun.support.TorchTransformer;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;

/**
 * The encoder of the paper's base model (6 layers, rows of 512, 8 heads, 2048 between) by Gatun and
 * by PyTorch on the same weights, one sequence, one thread, in alternation. A process of its own:
 * {@code EncoderComparison FILE quick|full} writes a JSON array of rows.
 */
public final class EncoderComparison {

  private static final int[] TOKENS = {16, 128, 512};
  private static final int LAYERS = 6;
  private static final TorchTransformer.Config BASE =
      new TorchTransformer.Config(512, 8, 2048, false, false, true);

  /** A share of the greatest element: float32 rounds on both sides. */
  private static final double BOUND = 2e-5;

  private EncoderComparison() {}

  /** An encoder on one sequence. */
  private abstract static class Encoder extends Peer {
    Encoder(String name) {
      super(name);
    }

    abstract float[] run();

    @Override
    public void calls(long n) {
      for (long i = 0; i < n; i++) {
        once();
      }
    }

    abstract void once();

    @Override
    public Workload.Answer answer() {
      float[] rows = run();
      return (b, h, i, c) -> rows[i * BASE.width() + c];
    }
  }

  private static final class Gatun extends Encoder {
    private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
    private final Workspace workspace = runtime.newWorkspace();
    private final TransformerEncoder encoder;
    private final Tensor x;
    private final Tensor out;

    Gatun(Arena arena, Map<String, TorchTransformer.Parameter> parameters, float[] rows) {
      super("gatun");
      Map<String, Tensor> weights = new HashMap<>();
      parameters.forEach(
          (name, p) ->
              weights.put("encoder." + name, Tensor.copyOf(arena, p.numbers(), p.shape())));
      encoder =
          VaswaniTransformer.BASE.encoder(runtime, Weights.of(weights), PositionalEncoding.none());
      x = Tensor.copyOf(arena, rows, 1, rows.length / BASE.width(), BASE.width());
      out = Tensor.allocate(arena, DType.FLOAT32, x.shape());
    }

    @Override
    void once() {
      encoder.forward(workspace, x, null, out);
    }

    @Override
    float[] run() {
      once();
      return out.toFloatArray();
    }

    @Override
    public void close() {
      runtime.close();
    }
  }

  /** PyTorch's {@code nn.TransformerEncoder} as its C++ library has it. */
  private static final class Module extends Encoder {
    private final TorchTransformer model;
    private final Torch torch = Torch.float32();
    private final Array x;

    Module(TorchTransformer model, float[] rows) {
      super("pytorch nn.TransformerEncoder");
      this.model = model;
      this.x = torch.array(rows, 1, rows.length / BASE.width(), BASE.width());
    }

    @Override
    void once() {
      try (PointerScope _ = new PointerScope()) {
        model.encode(x, TorchTransformer.Mask.NONE);
      }
    }

    @Override
    float[] run() {
      try (PointerScope _ = new PointerScope()) {
        return model.encode(x, TorchTransformer.Mask.NONE).toFloats();
      }
    }

    @Override
    public void close() {
      torch.close();
    }
  }

  /** The same of PyTorch's functions, with its fused attention: what a hand-written model calls. */
  private static final class Functions extends Encoder {
    private final Torch torch = Torch.float32();
    private final Map<String, Array> weights = new HashMap<>();
    private final Array x;
    private final long seq;

    Functions(Map<String, TorchTransformer.Parameter> parameters, float[] rows) {
      super("pytorch functions");
      parameters.forEach((name, p) -> weights.put(name, torch.array(p.numbers(), p.shape())));
      seq = rows.length / BASE.width();
      x = torch.array(rows, 1, seq, BASE.width());
    }

    private Array linear(Array rows, String name) {
      return torch.linear(rows, weights.get(name + "weight"), weights.get(name + "bias"));
    }

    private Array norm(Array rows, String name) {
      return torch.layerNorm(
          rows, weights.get(name + ".weight"), weights.get(name + ".bias"), 1e-5);
    }

    private Array heads(Array fused, int n) {
      int width = BASE.width();
      Array part = torch.slice(fused, 2, (long) n * width, (n + 1L) * width);
      Array split = torch.reshape(part, 1, seq, BASE.heads(), width / BASE.heads());
      return torch.transpose(split, 1, 2);
    }

    private Array encode() {
      Array rows = x;
      for (int n = 0; n < LAYERS; n++) {
        String layer = "layers." + n + ".";
        Array fused = linear(rows, layer + "self_attn.in_proj_");
        Array context =
            torch.attention(
                heads(fused, 0), heads(fused, 1), heads(fused, 2), null, false, Double.NaN);
        context = torch.reshape(torch.transpose(context, 1, 2), 1, seq, BASE.width());
        context = linear(context, layer + "self_attn.out_proj.");
        rows = norm(torch.add(rows, context), layer + "norm1");
        Array inner = torch.relu(linear(rows, layer + "linear1."));
        rows = norm(torch.add(rows, linear(inner, layer + "linear2.")), layer + "norm2");
      }
      return norm(rows, "norm");
    }

    @Override
    void once() {
      try (PointerScope _ = new PointerScope()) {
        encode();
      }
    }

    @Override
    float[] run() {
      try (PointerScope _ = new PointerScope()) {
        return encode().toFloats();
      }
    }

    @Override
    public void close() {
      torch.close();
    }
  }

  static List<Map<String, Object>> run(int tokens, Alternation.Effort effort) {
    float[] rows = new float[tokens * BASE.width()];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = 2 * Workload.value(Workload.SEED_Q, i);
    }
    List<Map<String, Object>> results = new ArrayList<>();
    try (Torch torch = Torch.float32();
        Arena arena = Arena.ofShared()) {
      TorchTransformer model = TorchTransformer.encoder(torch, BASE, LAYERS, 11);
      Map<String, TorchTransformer.Parameter> parameters = model.parameters();
      try (Gatun gatun = new Gatun(arena, parameters, rows);
          Functions functions = new Functions(parameters, rows);
          Module module = new Module(model, rows)) {
        for (Encoder peer : List.of(module, functions)) {
          double share = Difference.share(peer.run(), gatun.run());
          if (!(share <= BOUND)) {
            throw new IllegalStateException(
                "%s: differs by %.1e of the greatest element".formatted(peer.name, share));
          }
          results.add(ModelComparison.row("base encoder", tokens, gatun, peer, effort));
        }
      }
    }
    return results;
  }

  /**
   * Runs the comparison.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    ModelComparison.write(args, TOKENS, EncoderComparison::run);
  }
}
