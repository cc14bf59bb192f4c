package example;

import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.Float4Vector;
import org.apache.arrow.vector.complex.FixedSizeListVector;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.types.pojo.FieldType;

/** Attention over Arrow columns: one list of heads · headDim floats a token, and no nulls. */
public final class Arrow {

  private static final int SEQ = 50;
  private static final int HEADS = 4;
  private static final int DIM = 16;

  public static void main(String[] args) {
    try (BufferAllocator allocator = new RootAllocator();
        GatunRuntime runtime = GatunRuntime.create();
        FixedSizeListVector q = column(allocator, "q");
        FixedSizeListVector k = column(allocator, "k");
        FixedSizeListVector v = column(allocator, "v");
        FixedSizeListVector out = column(allocator, "out")) {
      // All keys are 0, so that each row of out is the mean of v: 0, 1, … give (SEQ - 1) / 2.
      Float4Vector values = (Float4Vector) v.getDataVector();
      for (int i = 0; i < values.getValueCount(); i++) {
        values.set(i, i / (HEADS * DIM));
      }
      try (Arena arena = Arena.ofConfined()) {
        runtime
            .attention(AttentionSpec.standard())
            .forward(tensor(q, arena), tensor(k, arena), tensor(v, arena), tensor(out, arena));
      }
      float mean = ((Float4Vector) out.getDataVector()).get(SEQ * HEADS * DIM - 1);
      System.out.printf("%d rows of Arrow memory, mean %s%n", out.getValueCount(), mean);
      if (mean != (SEQ - 1) / 2f) {
        throw new AssertionError("expected %s, got %s".formatted((SEQ - 1) / 2f, mean));
      }
    }
    // Closing the allocator throws if a buffer was not given back.
  }

  /** The column's memory as a tensor. The arena holds the buffer until it is closed. */
  private static Tensor tensor(FixedSizeListVector column, Arena arena) {
    ArrowBuf buffer = column.getDataVector().getDataBuffer();
    buffer.getReferenceManager().retain();
    MemorySegment memory =
        MemorySegment.ofAddress(buffer.memoryAddress())
            .reinterpret(
                (long) column.getValueCount() * column.getListSize() * Float.BYTES,
                arena,
                closed -> buffer.getReferenceManager().release());
    return Tensor.of(memory, DType.FLOAT32, 1, column.getValueCount(), HEADS, DIM);
  }

  private static FixedSizeListVector column(BufferAllocator allocator, String name) {
    FixedSizeListVector column = FixedSizeListVector.empty(name, HEADS * DIM, allocator);
    column.addOrGetVector(FieldType.notNullable(MinorType.FLOAT4.getType()));
    Float4Vector floats = (Float4Vector) column.getDataVector();
    floats.allocateNew(SEQ * HEADS * DIM);
    for (int i = 0; i < SEQ * HEADS * DIM; i++) {
      floats.set(i, 0);
    }
    for (int row = 0; row < SEQ; row++) {
      column.setNotNull(row);
    }
    column.setValueCount(SEQ);
    return column;
  }
}
