package dev.gatun.support;

import dev.gatun.support.Torch.Array;

/**
 * A mixer of Mamba with PyTorch's functions, as {@code slow_forward} of MambaMixer in Hugging
 * Face's transformers computes it, one row after the other.
 */
public final class TorchMamba {
  private final Torch torch;

  /** Where its weights come from, by the end of their names in the files. */
  @FunctionalInterface
  public interface Source {
    /** A weight, drawn with this deviation and mean if it is not there yet. */
    Array weight(String name, double deviation, double mean, long... shape);
  }

  public final int dim;
  public final int channels;
  public final int states;
  public final int rank;
  public final int width;

  /** Sizes as in the paper. */
  public TorchMamba(Torch torch, int dim, int channels, int states, int rank, int width) {
    this.torch = torch;
    this.dim = dim;
    this.channels = channels;
    this.states = states;
    this.rank = rank;
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
  public Array mix(Source from, Array x, boolean biased, boolean convolutionBiased) {
    long batch = x.shape()[0];
    long seq = x.shape()[1];
    Array both =
        torch.linear(
            x,
            from.weight("in_proj.weight", 1 / Math.sqrt(dim), 0, 2L * channels, dim),
            biased ? from.weight("in_proj.bias", 0.2, 0, 2L * channels) : null);
    Array gate = torch.slice(both, 2, channels, 2L * channels);
    Array u = torch.transpose(torch.slice(both, 2, 0, channels), 1, 2);
    u =
        torch.depthwise(
            u,
            from.weight("conv1d.weight", 0.5, 0, channels, 1, width),
            convolutionBiased ? from.weight("conv1d.bias", 0.2, 0, channels) : null,
            width - 1);
    u = torch.transpose(torch.silu(torch.slice(u, 2, 0, seq)), 1, 2);
    long columns = rank + 2L * states;
    Array projected =
        torch.linear(
            u, from.weight("x_proj.weight", 1 / Math.sqrt(channels), 0, columns, channels), null);
    Array delta =
        torch.softplus(
            torch.linear(
                torch.slice(projected, 2, 0, rank),
                from.weight("dt_proj.weight", 1 / Math.sqrt(rank), 0, channels, rank),
                from.weight("dt_proj.bias", 0.5, -1, channels)));
    Array a =
        torch.multiply(
            torch.exp(
                torch.reshape(from.weight("A_log", 0.7, 0.5, channels, states), 1, channels, states)),
            -1);
    Array h = torch.array(new float[Math.toIntExact(batch * channels * states)], batch, channels, states);
    Array[] rows = new Array[Math.toIntExact(seq)];
    for (int t = 0; t < seq; t++) {
      Array step = torch.reshape(torch.select(delta, 1, t), batch, channels, 1);
      Array in = torch.reshape(torch.select(u, 1, t), batch, channels, 1);
      Array b = torch.reshape(torch.slice(torch.select(projected, 1, t), 1, rank, rank + states), batch, 1, states);
      Array c = torch.reshape(torch.slice(torch.select(projected, 1, t), 1, rank + states, columns), batch, states, 1);
      h =
          torch.add(
              torch.multiply(torch.exp(torch.multiply(step, a)), h),
              torch.multiply(torch.multiply(step, b), in));
      rows[t] = torch.reshape(torch.matmul(h, c), batch, 1, channels);
    }
    Array y = torch.add(torch.concat(1, rows), torch.multiply(u, from.weight("D", 0.3, 1, channels)));
    return torch.linear(
        torch.multiply(y, torch.silu(gate)),
        from.weight("out_proj.weight", 1 / Math.sqrt(channels), 0, dim, channels),
        biased ? from.weight("out_proj.bias", 0.2, 0, dim) : null);
  }
}
