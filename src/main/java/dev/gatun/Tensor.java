package dev.gatun;

import dev.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;

/**
 * An immutable view of off-heap memory as an array of numbers with a shape and strides.
 *
 * <p>A tensor never owns memory: the arena of its segment does, and decides how long it lives and
 * which threads may use it. All views ({@link #slice}, {@link #transpose}, {@link #splitHeads} …)
 * share the memory of the tensor they come from; nothing is copied except by methods that are
 * called copy. The view itself is immutable and may be shared by any number of threads; writing its
 * elements from several threads needs the care that any memory needs.
 *
 * <p>Mapped files work like any other memory, and their pages are read when they are first touched.
 * If another process makes such a file shorter while native code reads it, the operating system
 * ends the JVM: map files that nobody changes.
 *
 * <p>Sizes and strides are counted in elements. The stride of a dimension is the distance between
 * two neighbours in it: a row-major array of shape {@code [2, 8, 64]} has the strides {@code [512,
 * 64, 1]}. Tensors may be larger than 2 GiB.
 *
 * <p>Two tensors are equal only if they are the same object. To look at one in a debugger there is
 * {@link #toString()}.
 *
 * {@snippet :
 * try (Arena arena = Arena.ofConfined()) {
 *   Tensor fused = Tensor.allocate(arena, DType.FLOAT32, 2, 128, 3, 512);
 *   Tensor q = fused.select(2, 0).splitHeads(8); // [2, 128, 8, 64], nothing copied
 * }
 * }
 */
public final class Tensor {

  /** Where huge pages begin to pay: a first touch of 4 KiB pages costs more than the arithmetic. */
  static final long HUGE_BYTES = 4L << 20;

  /** Of {@link #allocate}: a cache line, and a vector of the widest tier. */
  static final long ALIGNMENT = 64;

  private static final int SHOWN_VALUES = 6;

  final MemorySegment segment;
  final TensorLayout layout;
  final boolean readOnly;

  private Tensor(MemorySegment segment, TensorLayout layout) {
    this.segment = segment;
    this.layout = layout;
    this.readOnly = segment.isReadOnly();
  }

  // ---- creation ------------------------------------------------------------------------------

  /**
   * Allocates zeroed memory in an arena, aligned to 64 bytes, for a row-major tensor. From 4 MiB on
   * the memory comes from the operating system with huge pages asked for, and is given back when
   * the arena is closed; this loads the native library. Any implementation of {@link Arena} will
   * do: smaller memory is what its {@code allocate} gives, checked and set to 0.
   *
   * @param arena owns the memory
   * @param dtype type of the elements
   * @param shape sizes, outermost first; none for a single number
   * @return a tensor whose elements are 0
   * @throws IllegalArgumentException if a size is negative or the product too big, or if the arena
   *     gives memory that is too short, on the Java heap, read-only, not aligned or another
   *     thread's
   * @throws IllegalStateException if the arena is closed
   * @throws WrongThreadException if the arena is confined to another thread
   * @throws GatunException if there is no memory, or the native library cannot be loaded
   */
  public static Tensor allocate(Arena arena, DType dtype, long... shape) {
    Objects.requireNonNull(arena, "arena");
    TensorLayout layout = TensorLayout.rowMajor(Objects.requireNonNull(dtype, "dtype"), shape);
    long bytes = layout.extentBytes();
    return new Tensor(
        bytes >= HUGE_BYTES
            ? Native.allocateHuge(arena, bytes)
            : checked(arena, arena.allocate(bytes, ALIGNMENT), bytes),
        layout);
  }

  /** What an arena has given: anyone may implement that interface. */
  private static MemorySegment checked(Arena arena, MemorySegment segment, long bytes) {
    String got = null;
    if (segment == null) {
      got = "null";
    } else if (!segment.isNative()) {
      got = "memory of the Java heap";
    } else if (segment.byteSize() < bytes) {
      got = segment.byteSize() + " bytes";
    } else if (segment.isReadOnly()) {
      got = "a read-only segment";
    } else if (!segment.scope().isAlive()) {
      got = "memory that is closed";
    } else if (!segment.isAccessibleBy(Thread.currentThread())) {
      got = "memory of another thread";
    } else if (bytes > 0 && (segment.address() & (ALIGNMENT - 1)) != 0) {
      got = "the address 0x" + Long.toHexString(segment.address());
    }
    if (got != null) {
      throw new IllegalArgumentException(
          "arena: expected %d bytes of native memory that can be written, at a multiple of %d, got %s"
              .formatted(bytes, ALIGNMENT, got));
    }
    if (arena.getClass().getModule() != Arena.class.getModule()) {
      segment.asSlice(0, bytes).fill((byte) 0); // the JDK's own are zeroed; others recycle
    }
    return segment.byteSize() == bytes ? segment : segment.asSlice(0, bytes);
  }

  /**
   * Wraps memory as a row-major tensor. Nothing is copied; the segment may be longer than needed.
   *
   * @param segment native or mapped memory that starts with the first element, aligned to the size
   *     of an element
   * @param dtype type of the elements
   * @param shape sizes, outermost first
   * @return a view of the segment, read-only if the segment is
   * @throws IllegalArgumentException if the segment is too short, not aligned, or on the Java heap
   *     (use {@link #copyOf(Arena, float[], long...)} then), or if a size is negative
   */
  public static Tensor of(MemorySegment segment, DType dtype, long... shape) {
    return wrap(segment, TensorLayout.rowMajor(Objects.requireNonNull(dtype, "dtype"), shape));
  }

  /**
   * Wraps memory as a tensor with any strides. Nothing is copied.
   *
   * @param segment native or mapped memory whose offset 0 is element {@code [0, 0, …]}
   * @param dtype type of the elements
   * @param shape sizes, outermost first
   * @param strides distances in elements, one for each size, {@code >= 0}; 0 repeats an element
   * @return a view of the segment, read-only if the segment is
   * @throws IllegalArgumentException if an element lies outside the segment, and as for {@link #of}
   */
  public static Tensor ofStrided(MemorySegment segment, DType dtype, long[] shape, long[] strides) {
    Objects.requireNonNull(dtype, "dtype");
    return wrap(segment, TensorLayout.of(dtype, shape.clone(), strides.clone()));
  }

  /**
   * Copies numbers from the Java heap into memory that {@link #allocate} takes.
   *
   * @param arena owns the memory
   * @param data the elements in row-major order
   * @param shape sizes, outermost first; their product is the length of data
   * @return a FLOAT32 tensor
   * @throws IllegalArgumentException if the length does not fit the shape
   */
  public static Tensor copyOf(Arena arena, float[] data, long... shape) {
    Tensor tensor = allocate(arena, DType.FLOAT32, shape);
    tensor.copyFrom(data);
    return tensor;
  }

  /**
   * Copies numbers from the Java heap into memory that {@link #allocate} takes.
   *
   * @param arena owns the memory
   * @param data the elements in row-major order
   * @param shape sizes, outermost first; their product is the length of data
   * @return an INT32 tensor
   * @throws IllegalArgumentException if the length does not fit the shape
   */
  public static Tensor copyOf(Arena arena, int[] data, long... shape) {
    Tensor tensor = allocate(arena, DType.INT32, shape);
    tensor.checkLength(data.length);
    MemorySegment.copy(data, 0, tensor.segment, ValueLayout.JAVA_INT, 0, data.length);
    return tensor;
  }

  private static Tensor wrap(MemorySegment segment, TensorLayout layout) {
    if (!segment.isNative()) {
      throw new IllegalArgumentException(
          "segment: expected native memory, got memory of the Java heap (copy it with"
              + " Tensor.copyOf)");
    }
    int align = layout.dtype.byteSize();
    if ((segment.address() & (align - 1)) != 0) {
      throw new IllegalArgumentException(
          "segment: expected an address that is a multiple of %d for %s, got 0x%x"
              .formatted(align, layout.dtype, segment.address()));
    }
    long bytes = layout.extentBytes();
    if (segment.byteSize() < bytes) {
      throw new IllegalArgumentException(
          "segment: %s with strides %s needs %d bytes, got %d"
              .formatted(layout, TensorLayout.text(layout.strides), bytes, segment.byteSize()));
    }
    return new Tensor(segment.asSlice(0, bytes), layout);
  }

  // ---- description ---------------------------------------------------------------------------

  /**
   * Returns the type of the elements.
   *
   * @return the element type
   */
  public DType dtype() {
    return layout.dtype;
  }

  /**
   * Returns the number of dimensions.
   *
   * @return the rank, 0 for a single number
   */
  public int rank() {
    return layout.shape.length;
  }

  /**
   * Returns the sizes.
   *
   * @return a copy of the shape, outermost dimension first
   */
  public long[] shape() {
    return layout.shape.clone();
  }

  /**
   * Returns the strides.
   *
   * @return a copy of the strides, in elements
   */
  public long[] strides() {
    return layout.strides.clone();
  }

  /**
   * Returns the size of one dimension.
   *
   * @param dim 0 is the outermost
   * @return its size
   * @throws IndexOutOfBoundsException if there is no such dimension
   */
  public long size(int dim) {
    return layout.shape[Objects.checkIndex(dim, rank())];
  }

  /**
   * Returns the stride of one dimension.
   *
   * @param dim 0 is the outermost
   * @return its stride in elements
   * @throws IndexOutOfBoundsException if there is no such dimension
   */
  public long stride(int dim) {
    return layout.strides[Objects.checkIndex(dim, rank())];
  }

  /**
   * Returns the number of elements.
   *
   * @return the product of the sizes; 1 for a single number
   */
  public long elements() {
    return layout.elements;
  }

  /**
   * Returns the memory.
   *
   * @return the segment from element {@code [0, 0, …]} to the end of the last element; with strides
   *     it may hold bytes that are none of this tensor's
   */
  public MemorySegment segment() {
    return segment;
  }

  /**
   * Tells whether the elements lie in row-major order without gaps.
   *
   * @return true if the segment is exactly the elements in order
   */
  public boolean isContiguous() {
    return layout.contiguous;
  }

  /**
   * Tells whether the elements may not be written.
   *
   * @return true if the segment is read-only
   */
  public boolean isReadOnly() {
    return readOnly;
  }

  // ---- views ---------------------------------------------------------------------------------

  /**
   * Returns a view through which nothing can be written.
   *
   * @return the same elements, read-only
   */
  public Tensor asReadOnly() {
    return readOnly ? this : new Tensor(segment.asReadOnly(), layout);
  }

  /**
   * Returns a view of a range of one dimension.
   *
   * @param dim the dimension, 0 is the outermost
   * @param from first index
   * @param to behind the last index
   * @return a view whose size in {@code dim} is {@code to - from}
   * @throws IndexOutOfBoundsException if there is no such dimension, or the range does not lie
   *     within it
   */
  public Tensor slice(int dim, long from, long to) {
    Objects.checkFromToIndex(from, to, size(dim));
    long[] shape = layout.shape.clone();
    shape[dim] = to - from;
    return view(from * layout.strides[dim], shape, layout.strides);
  }

  /**
   * Returns a view at one index of one dimension.
   *
   * @param dim the dimension, 0 is the outermost
   * @param index index in this dimension
   * @return a view without this dimension
   * @throws IndexOutOfBoundsException if there is no such dimension or index
   */
  public Tensor select(int dim, long index) {
    Objects.checkIndex(index, size(dim));
    return view(
        index * layout.strides[dim], without(layout.shape, dim), without(layout.strides, dim));
  }

  /**
   * Returns a view with two dimensions exchanged. {@code transpose(1, 2)} turns {@code [batch,
   * heads, seq, headDim]} into {@code [batch, seq, heads, headDim]} and back.
   *
   * @param a a dimension
   * @param b a dimension
   * @return a view of the same elements
   * @throws IndexOutOfBoundsException if there is no such dimension
   */
  public Tensor transpose(int a, int b) {
    Objects.checkIndex(a, rank());
    Objects.checkIndex(b, rank());
    long[] shape = layout.shape.clone();
    long[] strides = layout.strides.clone();
    shape[a] = layout.shape[b];
    shape[b] = layout.shape[a];
    strides[a] = layout.strides[b];
    strides[b] = layout.strides[a];
    return view(0, shape, strides);
  }

  /**
   * Returns a view of another shape with the same elements in the same row-major order.
   *
   * @param shape the new sizes
   * @return a view of the same elements
   * @throws IllegalArgumentException if the number of elements differs, or if the strides do not
   *     allow a view
   */
  public Tensor reshape(long... shape) {
    TensorLayout target = TensorLayout.rowMajor(layout.dtype, shape);
    if (target.elements != layout.elements) {
      throw new IllegalArgumentException(
          "shape: expected %d elements as in %s, got %s with %d"
              .formatted(
                  layout.elements,
                  TensorLayout.text(layout.shape),
                  TensorLayout.text(shape),
                  target.elements));
    }
    if (layout.contiguous) {
      return new Tensor(segment, target);
    }
    return view(0, target.shape, reshapedStrides(target.shape));
  }

  /**
   * Returns a view in which the last dimension is split into heads: {@code [batch, seq, heads *
   * headDim]} becomes {@code [batch, seq, heads, headDim]}.
   *
   * @param heads number of heads, a divisor of the last size
   * @return a view with one dimension more
   * @throws IllegalArgumentException if heads does not divide the last size
   */
  public Tensor splitHeads(int heads) {
    int last = lastDim("splitHeads", 1);
    long width = layout.shape[last];
    if (heads <= 0 || width % heads != 0) {
      throw new IllegalArgumentException(
          "heads: expected a divisor of %d, the last size of %s, got %d"
              .formatted(width, TensorLayout.text(layout.shape), heads));
    }
    long[] shape = Arrays.copyOf(layout.shape, last + 2);
    long[] strides = Arrays.copyOf(layout.strides, last + 2);
    shape[last] = heads;
    shape[last + 1] = width / heads;
    strides[last] = layout.strides[last] * shape[last + 1];
    strides[last + 1] = layout.strides[last];
    return view(0, shape, strides);
  }

  /**
   * Returns a view in which the last two dimensions are one: the inverse of {@link #splitHeads}.
   *
   * @return a view with one dimension less
   * @throws IllegalArgumentException if the heads do not lie side by side
   */
  public Tensor mergeHeads() {
    int last = lastDim("mergeHeads", 2);
    long heads = layout.shape[last - 1];
    long width = layout.shape[last];
    if (heads > 1 && width > 0 && layout.strides[last - 1] != width * layout.strides[last]) {
      throw new IllegalArgumentException(
          "mergeHeads: expected heads side by side, got shape %s with strides %s"
              .formatted(TensorLayout.text(layout.shape), TensorLayout.text(layout.strides)));
    }
    long[] shape = Arrays.copyOf(layout.shape, last);
    long[] strides = Arrays.copyOf(layout.strides, last);
    shape[last - 1] = heads * width;
    strides[last - 1] = layout.strides[last];
    return view(0, shape, strides);
  }

  private Tensor view(long offset, long[] shape, long[] strides) {
    TensorLayout view = TensorLayout.of(layout.dtype, shape, strides);
    if (view.elements == 0) {
      return new Tensor(segment.asSlice(0, 0), view);
    }
    return new Tensor(segment.asSlice(offset * layout.dtype.byteSize(), view.extentBytes()), view);
  }

  private int lastDim(String method, int rank) {
    if (rank() < rank) {
      throw new IllegalArgumentException(
          "%s: expected at least %d dimensions, got %s"
              .formatted(method, rank, TensorLayout.text(layout.shape)));
    }
    return rank() - 1;
  }

  private static long[] without(long[] numbers, int dim) {
    long[] fewer = new long[numbers.length - 1];
    System.arraycopy(numbers, 0, fewer, 0, dim);
    System.arraycopy(numbers, dim + 1, fewer, dim, fewer.length - dim);
    return fewer;
  }

  /**
   * Strides for another shape of a tensor that has elements. Neighbouring old dimensions without a
   * gap between them are one block, and the new sizes must fill each block exactly.
   */
  private long[] reshapedStrides(long[] shape) {
    long[] strides = new long[shape.length];
    int target = shape.length - 1;
    int dim = rank() - 1;
    while (dim >= 0) {
      long size = layout.shape[dim];
      long stride = layout.strides[dim--];
      if (size == 1) {
        continue;
      }
      while (dim >= 0 && (layout.shape[dim] == 1 || layout.strides[dim] == size * stride)) {
        size *= layout.shape[dim--];
      }
      long filled = 1;
      while (filled < size) {
        if (size % (filled * shape[target]) != 0) {
          throw notAView(shape);
        }
        strides[target] = stride * filled;
        filled *= shape[target--];
      }
    }
    for (; target >= 0; target--) {
      strides[target] = 1; // of size 1
    }
    return strides;
  }

  private IllegalArgumentException notAView(long[] shape) {
    return new IllegalArgumentException(
        "shape: %s is no view of %s with strides %s; copy into a new tensor with copyFrom"
            .formatted(
                TensorLayout.text(shape),
                TensorLayout.text(layout.shape),
                TensorLayout.text(layout.strides)));
  }

  // ---- elements, for tests and debugging -----------------------------------------------------

  /**
   * Reads one element.
   *
   * @param index one index for each dimension
   * @return its value
   * @throws IllegalArgumentException if the elements are not FLOAT32
   * @throws IndexOutOfBoundsException if there is no such element
   */
  public float getFloat(long... index) {
    checkDType(DType.FLOAT32);
    return segment.get(ValueLayout.JAVA_FLOAT, byteOffset(index));
  }

  /**
   * Writes one element.
   *
   * @param value the new value
   * @param index one index for each dimension
   * @throws IllegalArgumentException if the elements are not FLOAT32, or are read-only
   * @throws IndexOutOfBoundsException if there is no such element
   */
  public void setFloat(float value, long... index) {
    checkDType(DType.FLOAT32);
    segment.set(ValueLayout.JAVA_FLOAT, byteOffset(index), value);
  }

  /**
   * Reads one element.
   *
   * @param index one index for each dimension
   * @return its value
   * @throws IllegalArgumentException if the elements are not INT32
   * @throws IndexOutOfBoundsException if there is no such element
   */
  public int getInt(long... index) {
    checkDType(DType.INT32);
    return segment.get(ValueLayout.JAVA_INT, byteOffset(index));
  }

  /**
   * Reads one element.
   *
   * @param index one index for each dimension
   * @return its value
   * @throws IllegalArgumentException if the elements are not INT64
   * @throws IndexOutOfBoundsException if there is no such element
   */
  public long getLong(long... index) {
    checkDType(DType.INT64);
    return segment.get(ValueLayout.JAVA_LONG, byteOffset(index));
  }

  /**
   * Copies all elements of another tensor, row by row where both have rows.
   *
   * @param source a tensor of the same type and shape with any strides; it must not share memory
   *     with this one, or be the same elements
   * @throws IllegalArgumentException if type or shape differ, memory is shared, or this tensor is
   *     read-only
   */
  public void copyFrom(Tensor source) {
    if (source.layout.dtype != layout.dtype || !Arrays.equals(source.layout.shape, layout.shape)) {
      throw new IllegalArgumentException(
          "source: expected %s, got %s".formatted(layout, source.layout));
    }
    boolean same =
        source.segment.address() == segment.address()
            && Arrays.equals(source.layout.strides, layout.strides);
    if (!same && Overlap.overlaps(this, source)) {
      throw new IllegalArgumentException(
          "source: expected memory of its own or the same elements, got memory shared with others"
              + " of this tensor");
    }
    Rows rows = new Rows(layout, source.layout.strides);
    long bytes = rows.length * layout.dtype.byteSize();
    for (long row = 0; row < rows.count; row++) {
      MemorySegment.copy(
          source.segment,
          rows.otherOffset * layout.dtype.byteSize(),
          segment,
          rows.offset * layout.dtype.byteSize(),
          bytes);
      rows.next();
    }
  }

  /**
   * Copies all elements from the Java heap.
   *
   * @param source the elements in row-major order
   * @throws IllegalArgumentException if the length does not fit, the elements are not FLOAT32, or
   *     this tensor is read-only
   */
  public void copyFrom(float[] source) {
    checkDType(DType.FLOAT32);
    checkLength(source.length);
    Rows rows = new Rows(layout, TensorLayout.rowMajor(layout.dtype, layout.shape).strides);
    for (long row = 0; row < rows.count; row++) {
      MemorySegment.copy(
          source,
          (int) rows.otherOffset,
          segment,
          ValueLayout.JAVA_FLOAT,
          rows.offset * Float.BYTES,
          (int) rows.length);
      rows.next();
    }
  }

  /**
   * Copies all elements to the Java heap.
   *
   * @return the elements in row-major order
   * @throws IllegalArgumentException if the elements are not FLOAT32, or too many for an array
   */
  public float[] toFloatArray() {
    checkDType(DType.FLOAT32);
    if (layout.elements > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "toFloatArray: expected at most 2^31 - 9 elements, got " + layout.elements);
    }
    float[] target = new float[(int) layout.elements];
    Rows rows = new Rows(layout, TensorLayout.rowMajor(layout.dtype, layout.shape).strides);
    for (long row = 0; row < rows.count; row++) {
      MemorySegment.copy(
          segment,
          ValueLayout.JAVA_FLOAT,
          rows.offset * Float.BYTES,
          target,
          (int) rows.otherOffset,
          (int) rows.length);
      rows.next();
    }
    return target;
  }

  /**
   * Writes the same value to all elements.
   *
   * @param value the new value
   * @throws IllegalArgumentException if the elements are not FLOAT32, or are read-only
   */
  public void fill(float value) {
    checkDType(DType.FLOAT32);
    Rows rows = new Rows(layout, layout.strides);
    for (long row = 0; row < rows.count; row++) {
      for (long i = 0; i < rows.length; i++) {
        segment.setAtIndex(ValueLayout.JAVA_FLOAT, rows.offset + i, value);
      }
      rows.next();
    }
  }

  /**
   * Describes the tensor: type, shape, strides, address, whether its arena is open, and the first
   * values. Never throws, whatever has become of the memory.
   *
   * @return one line for a log or a debugger
   */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder("Tensor(").append(layout);
    if (!layout.contiguous) {
      text.append(", strides ").append(TensorLayout.text(layout.strides));
    }
    text.append(", 0x").append(Long.toHexString(segment.address()));
    if (readOnly) {
      text.append(", read-only");
    }
    if (!segment.scope().isAlive()) {
      return text.append(", arena closed)").toString();
    }
    if (!segment.isAccessibleBy(Thread.currentThread())) {
      return text.append(", arena of another thread)").toString();
    }
    int length = text.length();
    try {
      appendValues(text.append(": "));
    } catch (RuntimeException | InternalError e) {
      // closed since, or a mapped file that has become shorter
      text.setLength(length);
      text.append(", unreadable: ").append(e.getMessage());
    }
    return text.append(')').toString();
  }

  private void appendValues(StringBuilder text) {
    long[] index = new long[rank()];
    long shown = Math.min(layout.elements, SHOWN_VALUES);
    for (long i = 0; i < shown; i++) {
      long rest = i;
      for (int dim = index.length - 1; dim >= 0; dim--) {
        index[dim] = rest % layout.shape[dim];
        rest /= layout.shape[dim];
      }
      text.append(i == 0 ? "" : " ");
      switch (layout.dtype) {
        case FLOAT32 -> text.append(getFloat(index));
        case INT32 -> text.append(getInt(index));
        case INT64 -> text.append(getLong(index));
        case BFLOAT16 -> text.append(Float.intBitsToFloat(getShort(index) << Short.SIZE));
        case FLOAT16 -> text.append(Float.float16ToFloat(getShort(index)));
        case INT8 -> text.append(getByte(index));
        case UINT8 -> text.append(Byte.toUnsignedInt(getByte(index)));
      }
    }
    text.append(layout.elements > shown ? " …" : layout.elements == 0 ? "empty" : "");
  }

  private short getShort(long[] index) {
    return segment.get(ValueLayout.JAVA_SHORT, byteOffset(index));
  }

  private byte getByte(long[] index) {
    return segment.get(ValueLayout.JAVA_BYTE, byteOffset(index));
  }

  private long byteOffset(long[] index) {
    if (index.length != rank()) {
      throw new IndexOutOfBoundsException(
          "expected %d indices for %s, got %s"
              .formatted(rank(), TensorLayout.text(layout.shape), TensorLayout.text(index)));
    }
    long offset = 0;
    for (int dim = 0; dim < index.length; dim++) {
      offset += Objects.checkIndex(index[dim], layout.shape[dim]) * layout.strides[dim];
    }
    return offset * layout.dtype.byteSize();
  }

  private void checkDType(DType expected) {
    if (layout.dtype != expected) {
      throw new IllegalArgumentException(
          "dtype: expected %s, got %s".formatted(expected, layout.dtype));
    }
  }

  private void checkLength(int length) {
    if (length != layout.elements) {
      throw new IllegalArgumentException(
          "data: expected %d elements for %s, got %d"
              .formatted(layout.elements, TensorLayout.text(layout.shape), length));
    }
  }

  /**
   * Walks two arrays of one shape in runs of elements that lie side by side in both. Offsets are in
   * elements.
   */
  private static final class Rows {
    /** Elements of one run. */
    final long length;

    final long count;
    long offset;
    long otherOffset;

    private final TensorLayout layout;
    private final long[] otherStrides;
    private final int outerDims;
    private final long[] index;

    Rows(TensorLayout layout, long[] otherStrides) {
      this.layout = layout;
      this.otherStrides = otherStrides;
      int dims = layout.shape.length;
      long length = 1;
      while (dims > 0
          && (layout.shape[dims - 1] == 1
              || layout.strides[dims - 1] == length && otherStrides[dims - 1] == length)) {
        length *= layout.shape[--dims];
      }
      this.outerDims = dims;
      this.index = new long[dims];
      this.length = length;
      this.count = layout.elements == 0 ? 0 : layout.elements / length;
    }

    void next() {
      for (int dim = outerDims - 1; dim >= 0; dim--) {
        offset += layout.strides[dim];
        otherOffset += otherStrides[dim];
        if (++index[dim] < layout.shape[dim]) {
          return;
        }
        index[dim] = 0;
        offset -= layout.shape[dim] * layout.strides[dim];
        otherOffset -= layout.shape[dim] * otherStrides[dim];
      }
    }
  }
}
