package dev.gatun;

import java.lang.foreign.ValueLayout;
import java.util.Locale;

/** The type of a tensor's elements. All are stored in the byte order of the machine. */
public enum DType {
  /** IEEE 754 single precision: queries, keys, values, outputs. */
  FLOAT32(ValueLayout.JAVA_FLOAT),
  /** 32-bit signed integer: key and query lengths. */
  INT32(ValueLayout.JAVA_INT),
  /** 64-bit signed integer: what files hold; no operation computes with it. */
  INT64(ValueLayout.JAVA_LONG),
  /** The upper half of a FLOAT32, as 16 bits: weights, and queries, keys and values. */
  BFLOAT16(ValueLayout.JAVA_SHORT),
  /** IEEE 754 half precision, as 16 bits: weights, and queries, keys and values. */
  FLOAT16(ValueLayout.JAVA_SHORT),
  /** 8-bit signed integer: quantized weights, which have a scale for each output. */
  INT8(ValueLayout.JAVA_BYTE),
  /** 8-bit unsigned integer: masks and quantized tables. */
  UINT8(ValueLayout.JAVA_BYTE);

  private final ValueLayout layout;
  private final String text = name().toLowerCase(Locale.ROOT);

  DType(ValueLayout layout) {
    this.layout = layout;
  }

  /**
   * Returns the size of one element.
   *
   * @return bytes per element
   */
  public int byteSize() {
    return (int) layout.byteSize();
  }

  /**
   * Returns the layout by which a memory segment is read and written.
   *
   * @return the layout of one element, aligned to its size
   */
  public ValueLayout layout() {
    return layout;
  }

  /** Returns the name in lower case, as NumPy spells it: {@code float32}. */
  @Override
  public String toString() {
    return text;
  }
}
