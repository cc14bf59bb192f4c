package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Point;
import dev.gatun.bench.measure.Shape;
import dev.gatun.bench.measure.WorkerGroup;
import dev.gatun.bench.measure.Workload;

/**
 * Three loops over arrays in plain Java, the scores of one row at a time. Threads share the heads.
 */
final class ScalarPeer extends Peer {
  private final Workload workload;
  private final float[] out;
  private final WorkerGroup workers;

  ScalarPeer(Workload workload) {
    super("java-scalar");
    this.workload = workload;
    out = new float[Math.toIntExact(workload.shape.queryElements())];
    Runnable[] parts = new Runnable[workload.point.threads()];
    for (int i = 0; i < parts.length; i++) {
      parts[i] = new Part(workload, out, workload.firstHead(i), workload.firstHead(i + 1));
    }
    workers = new WorkerGroup(parts);
  }

  private static final class Part implements Runnable {
    private final Point point;
    private final Shape shape;
    private final int first;
    private final int last;
    private final float[] q;
    private final float[] k;
    private final float[] v;
    private final float[] out;
    private final float[] scores;

    Part(Workload workload, float[] out, int first, int last) {
      this.point = workload.point;
      this.shape = workload.shape;
      this.first = first;
      this.last = last;
      this.q = workload.onHeap()[0];
      this.k = workload.onHeap()[1];
      this.v = workload.onHeap()[2];
      this.out = out;
      this.scores = new float[shape.seqK()];
    }

    @Override
    public void run() {
      int group = shape.heads() / shape.kvHeads();
      for (int h = first; h < last; h++) {
        int keys = h / group * shape.seqK() * shape.dim();
        for (int i = 0; i < shape.seqQ(); i++) {
          row((h * shape.seqQ() + i) * shape.dim(), keys, point.visibleKeys(i));
        }
      }
    }

    private void row(int at, int keys, int visible) {
      int dim = shape.dim();
      float scale = (float) (1 / Math.sqrt(dim));
      float max = Float.NEGATIVE_INFINITY;
      for (int j = 0; j < visible; j++) {
        int key = keys + j * dim;
        float dot = 0;
        for (int c = 0; c < dim; c++) {
          dot += q[at + c] * k[key + c];
        }
        scores[j] = dot * scale;
        max = Math.max(max, scores[j]);
      }
      float sum = 0;
      for (int j = 0; j < visible; j++) {
        scores[j] = (float) Math.exp(scores[j] - max);
        sum += scores[j];
      }
      for (int c = 0; c < dim; c++) {
        out[at + c] = 0;
      }
      for (int j = 0; j < visible; j++) {
        float weight = scores[j] / sum;
        int value = keys + j * dim;
        for (int c = 0; c < dim; c++) {
          out[at + c] += weight * v[value + c];
        }
      }
    }
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      workers.run();
    }
  }

  @Override
  public Workload.Answer answer() {
    workers.run();
    return workload.answerIn(out);
  }

  @Override
  public boolean warmsUpSlowly() {
    return true;
  }

  @Override
  public boolean isTimedOnce() {
    return true;
  }

  @Override
  public void close() {
    workers.close();
  }
}
