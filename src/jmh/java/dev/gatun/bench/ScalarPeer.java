package dev.gatun.bench;

/** Three loops over arrays in plain Java, the scores of one row at a time. */
final class ScalarPeer extends Peer {
  private final Workload workload;
  private final Shape shape;
  private final float[] q;
  private final float[] k;
  private final float[] v;
  private final float[] out;
  private final float[] scores;

  ScalarPeer(Workload workload) {
    super("java-scalar");
    this.workload = workload;
    shape = workload.shape;
    q = workload.q.toFloatArray();
    k = workload.k.toFloatArray();
    v = workload.v.toFloatArray();
    out = new float[q.length];
    scores = new float[shape.seqK()];
  }

  private void call() {
    int heads = shape.batch() * shape.heads();
    int group = shape.heads() / shape.kvHeads();
    for (int h = 0; h < heads; h++) {
      int keys = h / group * shape.seqK() * shape.dim();
      for (int i = 0; i < shape.seqQ(); i++) {
        row((h * shape.seqQ() + i) * shape.dim(), keys);
      }
    }
  }

  private void row(int at, int keys) {
    int dim = shape.dim();
    float scale = (float) (1 / Math.sqrt(dim));
    float max = Float.NEGATIVE_INFINITY;
    for (int j = 0; j < scores.length; j++) {
      int key = keys + j * dim;
      float dot = 0;
      for (int c = 0; c < dim; c++) {
        dot += q[at + c] * k[key + c];
      }
      scores[j] = dot * scale;
      max = Math.max(max, scores[j]);
    }
    float sum = 0;
    for (int j = 0; j < scores.length; j++) {
      scores[j] = (float) Math.exp(scores[j] - max);
      sum += scores[j];
    }
    for (int c = 0; c < dim; c++) {
      out[at + c] = 0;
    }
    for (int j = 0; j < scores.length; j++) {
      float weight = scores[j] / sum;
      int value = keys + j * dim;
      for (int c = 0; c < dim; c++) {
        out[at + c] += weight * v[value + c];
      }
    }
  }

  @Override
  public void calls(long n) {
    for (long i = 0; i < n; i++) {
      call();
    }
  }

  @Override
  public Workload.Answer answer() {
    call();
    return workload.answerIn(out);
  }

  @Override
  public boolean warmsUpSlowly() {
    return true;
  }
}
