package dev.gatun.support;

import dev.gatun.Tensor;
import dev.gatun.model.BertConfig;
import dev.gatun.model.BertWeights;
import dev.gatun.model.Weights;
import java.util.ArrayList;
import java.util.List;

/**
 * A BERT encoder in plain Java and double precision, for one text; DistilBERT where the weights
 * have no token types.
 */
public final class ReferenceBert {
  private final BertConfig config;
  private final Weights weights;

  /** Names of a layer's parts: query, key, value, output, its norm, two linear ones, their norm. */
  private final String[] parts;

  private final String stack;

  /** Where attention puts its weights, or null. */
  private List<double[][][]> seen;

  public ReferenceBert(BertWeights model) {
    this.config = model.config();
    this.weights = model.weights();
    boolean distil = weights.find("transformer.layer.0.attention.q_lin.weight") != null;
    this.stack = distil ? "transformer.layer." : "encoder.layer.";
    this.parts =
        (distil
                ? "attention.q_lin attention.k_lin attention.v_lin attention.out_lin sa_layer_norm"
                    + " ffn.lin1 ffn.lin2 output_layer_norm"
                : "attention.self.query attention.self.key attention.self.value"
                    + " attention.output.dense attention.output.LayerNorm intermediate.dense"
                    + " output.dense output.LayerNorm")
            .split(" ");
  }

  /** Returns the last hidden state, [tokens][hidden]. */
  public double[][] forward(int... ids) {
    int hidden = config.hidden();
    double[][] x = new double[ids.length][hidden];
    Tensor words = weights.get("embeddings.word_embeddings.weight");
    Tensor positions = weights.get("embeddings.position_embeddings.weight");
    Tensor types = weights.find("embeddings.token_type_embeddings.weight");
    int place = config.firstPosition();
    for (int t = 0; t < ids.length; t++) {
      int row = ids[t] == config.paddingId() ? ids[t] : place++;
      for (int i = 0; i < hidden; i++) {
        x[t][i] =
            (double) words.getFloat(ids[t], i)
                + positions.getFloat(row, i)
                + (types == null ? 0 : types.getFloat(0, i));
      }
    }
    norm(x, "embeddings.LayerNorm");
    for (int n = 0; n < config.layers(); n++) {
      String layer = stack + n + ".";
      add(x, linear(attention(x, layer), layer + parts[3]));
      norm(x, layer + parts[4]);
      double[][] inner = linear(x, layer + parts[5]);
      for (double[] row : inner) {
        for (int i = 0; i < row.length; i++) {
          row[i] = 0.5 * row[i] * (1 + erf(row[i] / Math.sqrt(2)));
        }
      }
      add(x, linear(inner, layer + parts[6]));
      norm(x, layer + parts[7]);
    }
    return x;
  }

  /** Returns what attends to what, [layers][heads][tokens][tokens]. */
  public double[][][][] weights(int... ids) {
    seen = new ArrayList<>();
    forward(ids);
    double[][][][] weights = seen.toArray(double[][][][]::new);
    seen = null;
    return weights;
  }

  private double[][] attention(double[][] x, String layer) {
    int dim = config.headDim();
    double[][] q = linear(x, layer + parts[0]);
    double[][] k = linear(x, layer + parts[1]);
    double[][] v = linear(x, layer + parts[2]);
    double[][] context = new double[x.length][config.hidden()];
    double[][][] weights = new double[config.hidden() / dim][x.length][];
    for (int start = 0; start < config.hidden(); start += dim) {
      for (int row = 0; row < x.length; row++) {
        double[] p = new double[x.length];
        double most = Double.NEGATIVE_INFINITY;
        for (int col = 0; col < x.length; col++) {
          double score = 0;
          for (int i = start; i < start + dim; i++) {
            score += q[row][i] * k[col][i];
          }
          p[col] = score / Math.sqrt(dim);
          most = Math.max(most, p[col]);
        }
        double sum = 0;
        for (int col = 0; col < x.length; col++) {
          p[col] = Math.exp(p[col] - most); // e5's scores are beyond 709
          sum += p[col];
        }
        for (int col = 0; col < x.length; col++) {
          p[col] /= sum;
          for (int i = start; i < start + dim; i++) {
            context[row][i] += p[col] * v[col][i];
          }
        }
        weights[start / dim][row] = p;
      }
    }
    if (seen != null) {
      seen.add(weights);
    }
    return context;
  }

  /** The matrix is [out, in]. */
  private double[][] linear(double[][] x, String name) {
    Tensor weight = weights.get(name + ".weight").transpose(0, 1);
    int in = (int) weight.size(0);
    int out = (int) weight.size(1);
    float[] w = weight.toFloatArray();
    float[] bias = weights.get(name + ".bias").toFloatArray();
    double[][] y = new double[x.length][out];
    for (int row = 0; row < x.length; row++) {
      for (int o = 0; o < out; o++) {
        y[row][o] = bias[o];
      }
      for (int i = 0; i < in; i++) {
        for (int o = 0; o < out; o++) {
          y[row][o] += x[row][i] * w[i * out + o];
        }
      }
    }
    return y;
  }

  private static void add(double[][] x, double[][] y) {
    for (int row = 0; row < x.length; row++) {
      for (int i = 0; i < x[row].length; i++) {
        x[row][i] += y[row][i];
      }
    }
  }

  private void norm(double[][] x, String name) {
    float[] weight = weights.get(name + ".weight").toFloatArray();
    float[] bias = weights.get(name + ".bias").toFloatArray();
    for (double[] row : x) {
      double mean = 0;
      for (double value : row) {
        mean += value / row.length;
      }
      double variance = 0;
      for (double value : row) {
        variance += (value - mean) * (value - mean) / row.length;
      }
      double scale = 1 / Math.sqrt(variance + config.layerNormEps());
      for (int i = 0; i < row.length; i++) {
        row[i] = (row[i] - mean) * scale * weight[i] + bias[i];
      }
    }
  }

  /** The series near 0, the continued fraction of erfc beyond: both to double precision. */
  private static double erf(double x) {
    double a = Math.abs(x);
    double result;
    if (a < 2.5) {
      double term = a;
      double sum = a;
      for (int n = 1; n < 100 && Math.abs(term) > 1e-18 * sum; n++) {
        term *= -a * a / n;
        sum += term / (2 * n + 1);
      }
      result = 2 / Math.sqrt(Math.PI) * sum;
    } else {
      double fraction = a;
      for (int n = 60; n > 0; n--) {
        fraction = a + n / 2.0 / fraction;
      }
      result = 1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / fraction;
    }
    return x < 0 ? -result : result;
  }
}
