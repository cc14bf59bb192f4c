package dev.gatun.model;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A model in llama2.c's format in double, token by token, written from llama2.c's description. */
final class Llama2cReference {
  private final int dim;
  private final int hidden;
  private final int layers;
  private final int heads;
  private final int kvHeads;
  private final int vocabulary;
  private final int headDim;
  private final float[] all;
  private final List<double[][]> keys = new ArrayList<>();
  private final List<double[][]> values = new ArrayList<>();

  Llama2cReference(Path file) throws IOException {
    ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    dim = in.getInt();
    hidden = in.getInt();
    layers = in.getInt();
    heads = in.getInt();
    kvHeads = in.getInt();
    vocabulary = in.getInt(); // above 0: tied
    in.getInt();
    headDim = dim / heads;
    FloatBuffer floats = in.asFloatBuffer();
    all = new float[floats.remaining()];
    floats.get(all);
  }

  int vocabulary() {
    return vocabulary;
  }

  /** The scores after one more token. */
  double[] next(int token) {
    int position = keys.size();
    int kv = headDim * kvHeads;
    double[][] newKeys = new double[layers][kv];
    double[][] newValues = new double[layers][kv];
    keys.add(newKeys);
    values.add(newValues);
    int attentionNorm = vocabulary * dim;
    int q = attentionNorm + layers * dim;
    int k = q + layers * dim * dim;
    int v = k + layers * dim * kv;
    int o = v + layers * dim * kv;
    int feedNorm = o + layers * dim * dim;
    int w1 = feedNorm + layers * dim;
    int w2 = w1 + layers * hidden * dim;
    int w3 = w2 + layers * hidden * dim;
    int finalNorm = w3 + layers * hidden * dim;
    double[] x = new double[dim];
    for (int i = 0; i < dim; i++) {
      x[i] = all[token * dim + i];
    }
    for (int n = 0; n < layers; n++) {
      double[] normed = norm(x, attentionNorm + n * dim);
      double[] query = times(q + n * dim * dim, dim, normed);
      newKeys[n] = times(k + n * dim * kv, kv, normed);
      newValues[n] = times(v + n * dim * kv, kv, normed);
      rotate(query, position);
      rotate(newKeys[n], position);
      add(x, times(o + n * dim * dim, dim, attend(query, n)));
      normed = norm(x, feedNorm + n * dim);
      double[] gate = times(w1 + n * hidden * dim, hidden, normed);
      double[] up = times(w3 + n * hidden * dim, hidden, normed);
      for (int i = 0; i < hidden; i++) {
        gate[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
      }
      add(x, times(w2 + n * hidden * dim, dim, gate));
    }
    return times(0, vocabulary, norm(x, finalNorm));
  }

  private double[] attend(double[] query, int layer) {
    double[] out = new double[dim];
    for (int head = 0; head < heads; head++) {
      int from = head / (heads / kvHeads) * headDim;
      double[] weights = new double[keys.size()];
      double sum = 0;
      for (int t = 0; t < weights.length; t++) {
        double dot = 0;
        for (int i = 0; i < headDim; i++) {
          dot += query[head * headDim + i] * keys.get(t)[layer][from + i];
        }
        weights[t] = Math.exp(dot / Math.sqrt(headDim));
        sum += weights[t];
      }
      for (int t = 0; t < weights.length; t++) {
        for (int i = 0; i < headDim; i++) {
          out[head * headDim + i] += weights[t] / sum * values.get(t)[layer][from + i];
        }
      }
    }
    return out;
  }

  private void rotate(double[] row, int position) {
    for (int i = 0; i < row.length; i += 2) {
      double angle = position * Math.pow(10_000, -(double) (i % headDim) / headDim);
      double a = row[i];
      double b = row[i + 1];
      row[i] = a * Math.cos(angle) - b * Math.sin(angle);
      row[i + 1] = a * Math.sin(angle) + b * Math.cos(angle);
    }
  }

  private double[] norm(double[] x, int weight) {
    double squares = 0;
    for (double each : x) {
      squares += each * each;
    }
    double scale = 1 / Math.sqrt(squares / x.length + 1e-5);
    double[] out = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      out[i] = x[i] * scale * all[weight + i];
    }
    return out;
  }

  private double[] times(int from, int rows, double[] x) {
    double[] out = new double[rows];
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < x.length; i++) {
        out[r] += all[from + r * x.length + i] * x[i];
      }
    }
    return out;
  }

  private static void add(double[] x, double[] more) {
    for (int i = 0; i < x.length; i++) {
      x[i] += more[i];
    }
  }

  static int best(double[] scores) {
    int best = 0;
    for (int n = 1; n < scores.length; n++) {
      best = scores[n] > scores[best] ? n : best;
    }
    return best;
  }
}
