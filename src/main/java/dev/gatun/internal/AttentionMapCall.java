package dev.gatun.internal;

import dev.gatun.AttentionMap;
import dev.gatun.internal.gatun.gatun_attention_map_desc;
import dev.gatun.internal.gatun.gatun_h;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** What a map of probabilities has beside the attention call whose probabilities they are. */
final class AttentionMapCall {

  private static final class Map {
    /** {@code gatun_attention_map}, with the descriptors, context and scratch as addresses. */
    static final MethodHandle HANDLE = AttentionCall.handle("gatun_attention_map", 5, 15);
  }

  private final MemorySegment desc;

  /** Describes maps in this memory, of {@link #descBytes}. */
  AttentionMapCall(MemorySegment desc) {
    this.desc = desc;
  }

  static long descBytes() {
    return gatun_attention_map_desc.sizeof();
  }

  static MethodHandle handle() {
    return Map.HANDLE;
  }

  MemorySegment desc() {
    return desc;
  }

  void describe(
      AttentionMap.Reduction reduction,
      long firstRow,
      long rows,
      long firstKey,
      long keys,
      long mapRows,
      long mapColumns) {
    gatun_attention_map_desc.struct_size(desc, (int) descBytes());
    gatun_attention_map_desc.reduction(desc, code(reduction));
    gatun_attention_map_desc.first_row(desc, firstRow);
    gatun_attention_map_desc.rows(desc, rows);
    gatun_attention_map_desc.first_key(desc, firstKey);
    gatun_attention_map_desc.keys(desc, keys);
    gatun_attention_map_desc.map_rows(desc, mapRows);
    gatun_attention_map_desc.map_columns(desc, mapColumns);
  }

  void stride(long batch, long head, long row) {
    long offset = gatun_attention_map_desc.map_stride$offset();
    desc.set(ValueLayout.JAVA_LONG, offset, batch);
    desc.set(ValueLayout.JAVA_LONG, offset + 8, head);
    desc.set(ValueLayout.JAVA_LONG, offset + 16, row);
  }

  private static int code(AttentionMap.Reduction reduction) {
    return switch (reduction) {
      case MEAN -> gatun_h.GATUN_MAP_MEAN();
      case MAX -> gatun_h.GATUN_MAP_MAX();
    };
  }
}
