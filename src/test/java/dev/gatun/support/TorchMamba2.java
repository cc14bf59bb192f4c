package dev.gatun.support;

import dev.gatun.support.Torch.Array;

/**
 * A mixer of Mamba-2 with PyTorch's functions, as {@code torch_forward} of Mamba2Mixer in Hugging
 * Face's transformers computes one chunk: all pairs of rows, with the decays between them (Dao and
 * Gu 2024, equation 16), no recurrence.
 */
public final class TorchMamba2 {
  private final Torch torch;
  public final int dim;
  public final int heads;
  public final int headDim;
  public final int groups;
  public final int states;
  public final int width;

  /** What steps are held to. */
  public double least;

  public double most = Double.POSITIVE_INFINITY;

  /** Sizes as in the paper. */
  public TorchMamba2(
      Torch torch, int dim, int heads, int headDim, int groups, int states, int width) {
    this.torch = torch;
    this.dim = dim;
    this.heads = heads;
    this.headDim = headDim;
    this.groups = groups;
    this.states = states;
    this.width = width;
  }

  /**
   * The layer.
   *
   * @param from gives weights
   * @param x [batch, seq, dim]
   * @param biased whether in_proj and out_proj have biases
   * @param convolutionBiased whether conv1d has one
   * @return [batch, seq, dim]
   */
  public Array mix(TorchMamba.Source from, Array x, boolean biased, boolean convolutionBiased) {
    long batch = x.shape()[0];
    long seq = x.shape()[1];
    long channels = (long) heads * headDim;
    long shared = (long) groups * states;
    long convolved = channels + 2 * shared;
    long all = channels + convolved + heads;
    Array projected =
        torch.linear(
            x,
            from.weight("in_proj.weight", 1 / Math.sqrt(dim), 0, all, dim),
            biased ? from.weight("in_proj.bias", 0.2, 0, all) : null);
    Array gate = torch.slice(projected, 2, 0, channels);
    Array u = torch.transpose(torch.slice(projected, 2, channels, channels + convolved), 1, 2);
    u =
        torch.depthwise(
            u,
            from.weight("conv1d.weight", 0.5, 0, convolved, 1, width),
            convolutionBiased ? from.weight("conv1d.bias", 0.2, 0, convolved) : null,
            width - 1);
    u = torch.transpose(torch.silu(torch.slice(u, 2, 0, seq)), 1, 2);
    Array delta =
        torch.softplus(
            torch.add(
                torch.slice(projected, 2, channels + convolved, all),
                from.weight("dt_bias", 0.5, -1, heads)));
    delta = clamped(delta);
    Array a = torch.multiply(torch.exp(from.weight("A_log", 0.7, 0.5, heads)), -1);
    // [batch, heads, seq] of decays, and of each pair of rows their sum behind the earlier one.
    Array decays = torch.transpose(torch.multiply(delta, a), 1, 2);
    Array sums =
        torch.matmul(
            torch.reshape(decays, batch, heads, 1, seq), torch.array(between(seq), seq, seq * seq));
    Array weaker =
        torch.exp(torch.add(torch.reshape(sums, batch, groups, -1, seq, seq), later(seq)));
    Array b = grouped(torch.slice(u, 2, channels, channels + shared), batch, seq);
    Array c = grouped(torch.slice(u, 2, channels + shared, convolved), batch, seq);
    Array scores =
        torch.reshape(torch.matmul(c, torch.transpose(b, 2, 3)), batch, groups, 1, seq, seq);
    Array weights = torch.reshape(torch.multiply(scores, weaker), batch, heads, seq, seq);
    Array values = torch.reshape(torch.slice(u, 2, 0, channels), batch, seq, heads, headDim);
    Array moved = torch.multiply(values, torch.reshape(delta, batch, seq, heads, 1));
    Array y = torch.transpose(torch.matmul(weights, torch.transpose(moved, 1, 2)), 1, 2);
    y =
        torch.add(
            y, torch.multiply(values, torch.reshape(from.weight("D", 0.3, 1, heads), heads, 1)));
    y = torch.multiply(torch.reshape(y, batch, seq, channels), torch.silu(gate));
    y = torch.rmsNorm(y, from.weight("norm.weight", 0.2, 1, channels), 1e-5);
    return torch.linear(
        y,
        from.weight("out_proj.weight", 1 / Math.sqrt(channels), 0, dim, channels),
        biased ? from.weight("out_proj.bias", 0.2, 0, dim) : null);
  }

  private Array clamped(Array x) {
    if (least > 0) {
      x = torch.add(torch.relu(torch.add(x, -least)), least);
    }
    if (most < Double.POSITIVE_INFINITY) {
      x = torch.multiply(torch.relu(torch.add(torch.multiply(x, -1), most)), -1);
      x = torch.add(x, most);
    }
    return x;
  }

  private Array grouped(Array x, long batch, long seq) {
    return torch.transpose(torch.reshape(x, batch, seq, groups, states), 1, 2);
  }

  /** [k][i · seq + j]: 1 where k is behind j and not behind i. */
  private static float[] between(long seq) {
    int n = Math.toIntExact(seq);
    float[] ones = new float[n * n * n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < i; j++) {
        for (int k = j + 1; k <= i; k++) {
          ones[(k * n + i) * n + j] = 1;
        }
      }
    }
    return ones;
  }

  /** [seq, seq]: minus infinity where j is behind i. */
  private Array later(long seq) {
    int n = Math.toIntExact(seq);
    float[] mask = new float[n * n];
    for (int i = 0; i < n; i++) {
      for (int j = i + 1; j < n; j++) {
        mask[i * n + j] = Float.NEGATIVE_INFINITY;
      }
    }
    return torch.array(mask, seq, seq);
  }
}
