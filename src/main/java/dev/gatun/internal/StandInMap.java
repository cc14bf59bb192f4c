package dev.gatun.internal;

import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;

/** Until there is an entry of its own. */
public final class StandInMap {
  private StandInMap() {}

  public static void map(
      GatunRuntime runtime,
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor map,
      boolean max,
      AttentionOptions options) {
    try (Arena arena = Arena.ofConfined()) {
      long keys = k.size(1);
      Tensor v = Tensor.allocate(arena, DType.FLOAT32, k.size(0), keys, k.size(2), keys);
      for (long b = 0; b < k.size(0); b++) {
        for (long j = 0; j < keys; j++) {
          for (long h = 0; h < k.size(2); h++) {
            v.setFloat(1, b, j, h, j);
          }
        }
      }
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, q.size(0), q.size(1), q.size(2), keys);
      AttentionSpec plain = spec.toBuilder().bfloat16Products(false).build();
      runtime.attention(plain).forward(q, k, v, out, options);
      Tensor full = out.transpose(1, 2);
      long rows = map.size(2);
      long columns = map.size(3);
      for (long b = 0; b < map.size(0); b++) {
        for (long h = 0; h < map.size(1); h++) {
          for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c++) {
              double sum = 0;
              double most = 0;
              long count = 0;
              for (long i = r * q.size(1) / rows; i < (r + 1) * q.size(1) / rows; i++) {
                for (long j = c * keys / columns; j < (c + 1) * keys / columns; j++) {
                  float w = full.getFloat(b, h, i, j);
                  sum += w;
                  most = Math.max(most, w);
                  count++;
                }
              }
              map.setFloat((float) (max ? most : sum / count), b, h, r, c);
            }
          }
        }
      }
    }
  }
}
