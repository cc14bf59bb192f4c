package dev.gatun.quality;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.GruLayer;
import dev.gatun.nn.LstmLayer;
import dev.gatun.nn.Mamba;
import dev.gatun.nn.RecurrentLayer;
import dev.gatun.nn.RecurrentWeights;
import java.lang.foreign.Arena;

/** Layers whose state after a row is all that later rows know of it, with weights by hand. */
final class StateMemories {

  private StateMemories() {}

  // ---- recurrent layers ----------------------------------------------------------------------

  /** Bits of a value. */
  private static final int BITS = 6;

  /** How far a sigmoid's argument makes it 0 or 1 to the last bit of a float. */
  private static final float CLOSED = 30;

  /**
   * By which a bit is multiplied before a tanh, so that it stays a bit whatever it went through.
   */
  private static final float SHARP = 4;

  /**
   * An LSTM or GRU as a line of delays: a value's bits enter the first places of the state, and go
   * on to the next ones with each step. Gates are always open or closed. It gives out the places
   * that are n/2 steps old, and the last ones if there are none so old. How to find a symbol among
   * many, nobody has told it: it knows copying only, and a recurrent network that was trained for
   * recall would need a state for all pairs as well.
   *
   * @param places tokens that the state has room for
   */
  record Delay(boolean lstm, int places) implements Memory {
    @Override
    public String name() {
      return "%s, state of %d".formatted(lstm ? "LSTM" : "GRU", places * BITS);
    }

    @Override
    public int dim() {
      return 2; // codes are not looked at
    }

    @Override
    public boolean knows(Task task) {
      return task.name().equals("copying");
    }

    private static float bit(int value, int bit) {
      return (value >> bit & 1) == 1 ? 1 : -1;
    }

    private RecurrentLayer layer(GatunRuntime runtime, Arena arena) {
      int hidden = places * BITS;
      int gates = lstm ? 4 : 3;
      int made = 2; // the block of weights that makes what is new: g of i, f, g, o; n of r, z, n
      Tensor ofInput = Tensor.allocate(arena, DType.FLOAT32, gates * hidden, BITS);
      Tensor ofState = Tensor.allocate(arena, DType.FLOAT32, gates * hidden, hidden);
      Tensor bias = Tensor.allocate(arena, DType.FLOAT32, gates * hidden);
      for (int i = 0; i < hidden; i++) {
        if (i < BITS) {
          ofInput.setFloat(SHARP, made * hidden + i, i);
        } else {
          ofState.setFloat(SHARP, made * hidden + i, i - BITS);
        }
        // i 1, f 0, o 1; r 1, z 0
        bias.setFloat(CLOSED, i);
        bias.setFloat(-CLOSED, hidden + i);
        if (lstm) {
          bias.setFloat(CLOSED, 3 * hidden + i);
        }
      }
      RecurrentWeights weights = new RecurrentWeights(ofInput, ofState, bias, null);
      RecurrentLayer.Direction forward = RecurrentLayer.Direction.FORWARD;
      return lstm
          ? new LstmLayer(runtime, forward, weights)
          : new GruLayer(runtime, forward, GruLayer.Reset.AFTER_PRODUCT, weights);
    }

    /** The places that are nearest to n/2 steps old. */
    private int place(Task task) {
      return Math.min(task.tokens() / 2, places - 1);
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      int n = task.tokens();
      int hidden = places * BITS;
      float[] bits = new float[n * BITS];
      for (int i = 0; i < bits.length; i++) {
        bits[i] = bit(task.values()[i / BITS], i % BITS);
      }
      try (Arena arena = Arena.ofShared()) {
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, n, hidden);
        layer(runtime, arena).forward(null, Tensor.copyOf(arena, bits, 1, n, BITS), null, out);
        float[] states = out.toFloatArray();
        float[] values = new float[n * Task.VALUES];
        for (int i = 0; i < values.length; i++) {
          int t = i / Task.VALUES;
          for (int b = 0; b < BITS; b++) {
            values[i] += bit(i % Task.VALUES, b) * states[t * hidden + place(task) * BITS + b];
          }
        }
        return values;
      }
    }

    /** A bit after that many steps, of which each multiplies it and makes it small again. */
    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      int n = task.tokens();
      int place = place(task);
      double[] values = new double[n * Task.VALUES];
      for (int t = place; t < n; t++) {
        double size = 1;
        for (int step = 0; step <= place; step++) {
          size = Math.tanh(SHARP * size);
          size = lstm ? Math.tanh(size) : size;
        }
        for (int v = 0; v < Task.VALUES; v++) {
          for (int b = 0; b < BITS; b++) {
            values[t * Task.VALUES + v] += size * bit(v, b) * bit(task.values()[t - place], b);
          }
        }
      }
      return values;
    }
  }

  // ---- Mamba ---------------------------------------------------------------------------------

  /**
   * A whole layer of Mamba whose state is a matrix of sums: B is the key, x the value, C the query,
   * steps are 1 and nothing decays, so that a row gives out Σ_j (C · B_j) x_j over those before it.
   * Its silu is made linear by channels in pairs, as silu(u) − silu(−u) = u; the convolution sees
   * the newest row, the gate is a constant. A row of the layer is a key, a query and a value. In
   * recall rows that ask come behind all pairs, so that a state has all of them.
   *
   * @param dim states of a channel
   */
  record Scan(int dim) implements Memory {
    /** The gate's argument, and what silu makes of it. */
    private static final float GATE = 30;

    @Override
    public String name() {
      return "Mamba, state of %d".formatted(dim);
    }

    private int width() {
      return 2 * dim + Task.VALUES;
    }

    private Mamba layer(GatunRuntime runtime, Arena arena) {
      int in = width();
      int channels = 2 * in;
      Tensor input = Tensor.allocate(arena, DType.FLOAT32, 2 * channels, in);
      Tensor inputBias = Tensor.allocate(arena, DType.FLOAT32, 2 * channels);
      Tensor convolution = Tensor.allocate(arena, DType.FLOAT32, channels, 1, 4);
      Tensor projection = Tensor.allocate(arena, DType.FLOAT32, 1 + 2 * dim, channels);
      Tensor step = Tensor.allocate(arena, DType.FLOAT32, channels, 1);
      Tensor stepBias = Tensor.allocate(arena, DType.FLOAT32, channels);
      Tensor decay = Tensor.allocate(arena, DType.FLOAT32, channels, dim);
      Tensor skip = Tensor.allocate(arena, DType.FLOAT32, channels);
      Tensor output = Tensor.allocate(arena, DType.FLOAT32, in, channels);
      decay.fill(-40); // of which the exponential is nothing
      stepBias.fill((float) Math.log(Math.E - 1)); // of which softplus is 1
      for (int c = 0; c < in; c++) {
        for (int sign = 0; sign < 2; sign++) {
          int channel = 2 * c + sign;
          float factor = sign == 0 ? 1 : -1;
          input.setFloat(factor, channel, c);
          inputBias.setFloat(GATE, channels + channel);
          convolution.setFloat(1, channel, 0, 3);
          if (c < 2 * dim) {
            projection.setFloat(factor, 1 + c, channel);
          } else {
            output.setFloat(factor / GATE, c, channel);
          }
        }
      }
      return Mamba.builder(runtime, arena)
          .input(input, inputBias)
          .convolution(convolution, null)
          .projection(projection)
          .step(step, stepBias)
          .decay(decay)
          .skip(skip)
          .output(output, null)
          .build();
    }

    private boolean asksBehind(Task task) {
      return task.name().equals("recall");
    }

    @Override
    public float[] recall(GatunRuntime runtime, Task task) {
      int n = task.tokens();
      int in = width();
      int first = asksBehind(task) ? n : 0; // row of the first query
      float[] rows = new float[(first + n) * in];
      for (int t = 0; t < n; t++) {
        System.arraycopy(task.keys(), t * dim, rows, t * in, dim);
        System.arraycopy(task.queries(), t * dim, rows, (first + t) * in + dim, dim);
        rows[t * in + 2 * dim + task.values()[t]] = 1;
      }
      try (Arena arena = Arena.ofShared()) {
        Tensor x = Tensor.copyOf(arena, rows, 1, first + n, in);
        Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, first + n, in);
        layer(runtime, arena).forward(null, x, null, out);
        return out.slice(2, 2 * dim, in).slice(1, first, first + n).toFloatArray();
      }
    }

    @Override
    public double[] reference(GatunRuntime runtime, Task task) {
      Doubles.Features plain = (codes, row) -> plain(codes, row);
      return Doubles.features(task, plain, plain, false, !asksBehind(task));
    }

    private double[] plain(float[] codes, int row) {
      double[] features = new double[dim];
      for (int i = 0; i < dim; i++) {
        features[i] = codes[row * dim + i];
      }
      return features;
    }
  }
}
