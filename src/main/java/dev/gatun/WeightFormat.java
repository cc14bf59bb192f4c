package dev.gatun;

/**
 * How the weight of a product is stored, and with it how exactly and how fast the product is
 * computed. What is packed is copied once, when a model is loaded, into the order in which the
 * kernels read it; products with it need no OpenBLAS, and a row of their result has the same bits
 * alone and in any batch.
 */
public enum WeightFormat {
  /**
   * Packed in the precision that the weight has where it comes from, never in less: FLOAT32 as
   * {@link #FP32}, BFLOAT16 as {@link #BF16}, FLOAT16 as {@link #FP16}, INT8 as {@link #INT8}.
   */
  AUTO,

  /** Not packed: used where it lies, and multiplied by OpenBLAS. FLOAT32 only. */
  VIEW,

  /** Packed as float32: 4 bytes a weight. */
  FP32,

  /**
   * Packed as bfloat16: 2 bytes a weight. Where the CPU multiplies bfloat16 (AMX_BF16, or
   * AVX512_BF16 alone) the rows are rounded to it as well, which is twice as fast as FP32 or more;
   * elsewhere products are of floats.
   */
  BF16,

  /** Packed as IEEE half precision, and made float where it is used: 2 bytes a weight. */
  FP16,

  /**
   * Packed as int8 with a scale for each output; rows become 8-bit numbers with a scale and a zero
   * point of their own, but for a few elements of a row that are far larger than the rest and have
   * more bits, and sums are exact integers: 1 byte a weight. Inputs: at most 65536.
   */
  INT8,

  /**
   * Packed as int8 with a scale for each 32 inputs of an output, as GGUF's: 8.5 bits a weight. For
   * products of few rows, as decoding has them.
   */
  Q8_0,

  /** The same with 4 bits and 16 levels: 4.5 bits a weight. */
  Q4_0;

  /**
   * Returns what {@link #AUTO} is for a weight.
   *
   * @param dtype the type that the weight has where it comes from
   * @return the format of the same precision
   * @throws IllegalArgumentException if products have no weights of that type
   */
  public static WeightFormat of(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> FP32;
      case BFLOAT16 -> BF16;
      case FLOAT16 -> FP16;
      case INT8 -> INT8;
      default ->
          throw new IllegalArgumentException(
              "dtype: expected float32, bfloat16, float16 or int8, got " + dtype);
    };
  }
}
