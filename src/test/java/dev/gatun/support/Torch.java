package dev.gatun.support;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * PyTorch's functions on arrays, as an oracle: on one thread, without gradients, in float32 or in
 * float64.
 *
 * {@snippet :
 * try (Torch torch = Torch.float64()) {
 *   Torch.Array x = torch.array(numbers, 2, 3);
 *   double[] y = torch.softmax(torch.linear(x, weight, bias), -1).toDoubles();
 * }
 * }
 *
 * <p>What its thread makes with PyTorch while an object is the newest one open, it owns until it is
 * closed: arrays, the modules of {@link TorchTransformer}, and every temporary. Objects are closed
 * in the opposite order of their making, by the thread that made them. An array goes from one to
 * another of a different type by {@link #array(Tensor)} and {@link Array#tensor}.
 *
 * <p>Mistakes, such as shapes that do not fit, are RuntimeExceptions with PyTorch's message.
 *
 * <p>Loading PyTorch the first time unpacks 440 MB of libraries into the build's folder, which
 * takes seconds; later it takes about two.
 */
public final class Torch implements AutoCloseable {

  private static final boolean X86 = System.getProperty("os.arch").equals("amd64");
  private static final String ARM_LIBRARY = "org/bytedeco/pytorch/linux-arm64/libjnitorch.so";

  private final ScalarType type;
  private final PointerScope scope = new PointerScope();

  /** Initialized by the first object. */
  private static final class Library {
    static {
      // Else JavaCPP counts this JVM's mapped files as its own memory and refuses to go on.
      System.setProperty("org.bytedeco.javacpp.maxPhysicalBytes", "0");
      Loader.load(torch.class);
      torch.set_num_threads(1);
      torch.set_num_interop_threads(1);
    }

    static void load() {}
  }

  /** All copies of OpenBLAS in this process: Gatun's, PyTorch's, and that of JavaCPP's preset. */
  static List<SymbolLookup> openBlas() {
    try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.filter(line -> line.matches(".*/libopenblas[^/]*"))
          .map(line -> Path.of(line.substring(line.indexOf('/'))))
          .distinct()
          .map(file -> SymbolLookup.libraryLookup(file, Arena.global()))
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** OpenBLAS has threads of its own. Which copy PyTorch uses depends on the order of loading. */
  private static void oneThread() {
    for (SymbolLookup library : openBlas()) {
      try {
        MethodHandle set =
            Linker.nativeLinker()
                .downcallHandle(
                    library.findOrThrow("openblas_set_num_threads"),
                    FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT));
        set.invoke(1);
      } catch (Throwable e) {
        throw new AssertionError(e);
      }
    }
  }

  private Torch(ScalarType type) {
    this.type = type;
    GradMode.set_enabled(false);
  }

  /**
   * Computes in float32. Without natives for this platform the test is skipped; on x86-64 they have
   * to be there.
   */
  public static Torch float32() {
    load();
    return new Torch(ScalarType.Float);
  }

  /** Computes in float64. As {@link #float32} otherwise. */
  public static Torch float64() {
    load();
    return new Torch(ScalarType.Double);
  }

  private static void load() {
    assumeTrue(
        X86 || ClassLoader.getSystemResource(ARM_LIBRARY) != null,
        "no natives of PyTorch for " + System.getProperty("os.arch"));
    Library.load();
    oneThread();
  }

  /** Frees all that was made by this object. */
  @Override
  public void close() {
    scope.close();
  }

  /** An array of numbers, in the type of what made it. Valid until its owner is closed. */
  public static final class Array {
    final Tensor tensor;

    Array(Tensor tensor) {
      this.tensor = tensor;
    }

    /** Outermost dimension first. */
    public long[] shape() {
      return tensor.shape();
    }

    /** The numbers in row-major order, rounded to float32. */
    public float[] toFloats() {
      Tensor floats = tensor.to(ScalarType.Float).contiguous();
      float[] numbers = new float[(int) floats.numel()];
      if (numbers.length > 0) {
        floats.data_ptr_float().get(numbers);
      }
      return numbers;
    }

    /** The numbers in row-major order. */
    public double[] toDoubles() {
      Tensor doubles = tensor.to(ScalarType.Double).contiguous();
      double[] numbers = new double[(int) doubles.numel()];
      if (numbers.length > 0) {
        doubles.data_ptr_double().get(numbers);
      }
      return numbers;
    }

    /** PyTorch's own object, for what {@link Torch} does not offer. */
    public Tensor tensor() {
      return tensor;
    }

    @Override
    public String toString() {
      return "Torch.Array(%s %s)".formatted(Arrays.toString(shape()), tensor.scalar_type());
    }
  }

  // ---- arrays --------------------------------------------------------------------------------

  /** Copies numbers in row-major order; no shape means a single number. */
  public Array array(float[] numbers, long... shape) {
    check(numbers.length, shape);
    Tensor floats = empty(ScalarType.Float, numbers.length);
    if (numbers.length > 0) {
      floats.data_ptr_float().put(numbers);
    }
    return new Array(floats.to(type).reshape(shape));
  }

  /** Copies numbers in row-major order; no shape means a single number. */
  public Array array(double[] numbers, long... shape) {
    check(numbers.length, shape);
    Tensor doubles = empty(ScalarType.Double, numbers.length);
    if (numbers.length > 0) {
      doubles.data_ptr_double().put(numbers);
    }
    return new Array(doubles.to(type).reshape(shape));
  }

  /** Copies whole numbers, which stay such: ids for {@link #embedding}. */
  public Array ids(int[] numbers, long... shape) {
    check(numbers.length, shape);
    Tensor ints = empty(ScalarType.Int, numbers.length);
    if (numbers.length > 0) {
      ints.data_ptr_int().put(numbers);
    }
    return new Array(ints.to(ScalarType.Long).reshape(shape));
  }

  /** Copies truth values: a mask. */
  public Array booleans(boolean[] values, long... shape) {
    int[] ones = new int[values.length];
    for (int i = 0; i < ones.length; i++) {
      ones[i] = values[i] ? 1 : 0;
    }
    return new Array(ids(ones, shape).tensor.to(ScalarType.Bool));
  }

  /** Takes an object of PyTorch's own, converted to this object's type. */
  public Array array(Tensor tensor) {
    return new Array(tensor.to(type));
  }

  private static Tensor empty(ScalarType type, long size) {
    return torch.empty(new long[] {size}, new TensorOptions(type), new MemoryFormatOptional());
  }

  private static void check(int length, long[] shape) {
    long size = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    if (size != length) {
      throw new IllegalArgumentException(
          "shape: expected %d elements, got %s".formatted(length, Arrays.toString(shape)));
    }
  }

  ScalarType type() {
    return type;
  }

  // ---- functions, with PyTorch's rules of broadcasting and of negative dimensions --------------

  /** a + b. */
  public Array add(Array a, Array b) {
    return new Array(a.tensor.add(b.tensor));
  }

  /** a + b. */
  public Array add(Array a, double b) {
    return new Array(a.tensor.add(new Scalar(b)));
  }

  /** a · b, element by element. */
  public Array multiply(Array a, Array b) {
    return new Array(a.tensor.mul(b.tensor));
  }

  /** a · b. */
  public Array multiply(Array a, double b) {
    return new Array(a.tensor.mul(new Scalar(b)));
  }

  /** The matrix product over the last two dimensions. */
  public Array matmul(Array a, Array b) {
    return new Array(torch.matmul(a.tensor, b.tensor));
  }

  /**
   * x · Wᵀ + b.
   *
   * @param x […, in]
   * @param weight [out, in]
   * @param bias [out], or null
   * @return […, out]
   */
  public Array linear(Array x, Array weight, Array bias) {
    return new Array(torch.linear(x.tensor, weight.tensor, optional(bias)));
  }

  /** Softmax over one dimension. */
  public Array softmax(Array x, int dim) {
    return new Array(torch.softmax(x.tensor, dim));
  }

  /**
   * LayerNorm over the last dimension.
   *
   * @param weight [last], or null for ones
   * @param bias [last], or null for zeros
   */
  public Array layerNorm(Array x, Array weight, Array bias, double eps) {
    return new Array(
        torch.layer_norm(x.tensor, last(x), optional(weight), optional(bias), eps, false));
  }

  /**
   * RMSNorm over the last dimension.
   *
   * @param weight [last], or null for ones
   */
  public Array rmsNorm(Array x, Array weight, double eps) {
    return new Array(torch.rms_norm(x.tensor, last(x), optional(weight), new DoubleOptional(eps)));
  }

  /** max(x, 0). */
  public Array relu(Array x) {
    return new Array(torch.relu(x.tensor));
  }

  /** GELU by the error function. */
  public Array gelu(Array x) {
    return new Array(torch.gelu(x.tensor, "none"));
  }

  /** GELU approximated by tanh. */
  public Array geluTanh(Array x) {
    return new Array(torch.gelu(x.tensor, "tanh"));
  }

  /** x / (1 + e⁻ˣ). */
  public Array silu(Array x) {
    return new Array(torch.silu(x.tensor));
  }

  /** log(1 + eˣ). */
  public Array softplus(Array x) {
    return new Array(torch.softplus(x.tensor));
  }

  /** eˣ. */
  public Array exp(Array x) {
    return new Array(x.tensor.exp());
  }

  /** The hyperbolic tangent. */
  public Array tanh(Array x) {
    return new Array(x.tensor.tanh());
  }

  /** 1 / (1 + e⁻ˣ). */
  public Array sigmoid(Array x) {
    return new Array(x.tensor.sigmoid());
  }

  /**
   * Rows of a table.
   *
   * @param weight [rows, width]
   * @param ids of {@link #ids}, of any shape
   * @return [ids' shape, width]
   */
  public Array embedding(Array weight, Array ids) {
    return new Array(torch.embedding(weight.tensor, ids.tensor));
  }

  /**
   * Attention by PyTorch's own function.
   *
   * @param q [batch, heads, seqQ, headDim]
   * @param k [batch, kvHeads, seqK, headDim], whose heads are shared if they are fewer
   * @param v [batch, kvHeads, seqK, valueDim]
   * @param mask broadcasts to [batch, heads, seqQ, seqK]: numbers that are added to the scores, or
   *     booleans of which true takes part; or null
   * @param causal top-left: query i sees keys 0 … i; only without a mask
   * @param scale of the scores, NaN for 1 / √headDim
   * @return [batch, heads, seqQ, valueDim]
   */
  public Array attention(Array q, Array k, Array v, Array mask, boolean causal, double scale) {
    DoubleOptional factor = Double.isNaN(scale) ? new DoubleOptional() : new DoubleOptional(scale);
    boolean grouped = q.tensor.size(1) != k.tensor.size(1);
    return new Array(
        torch.scaled_dot_product_attention(
            q.tensor, k.tensor, v.tensor, optional(mask), 0, causal, factor, grouped));
  }

  /**
   * Convolution over two dimensions.
   *
   * @param x [batch, inChannels, height, width]
   * @param weight [outChannels, inChannels, kernelHeight, kernelWidth]
   * @param bias [outChannels], or null
   * @param stride in both dimensions
   * @param padding with zeros, on all sides
   * @return [batch, outChannels, outHeight, outWidth]
   */
  public Array conv2d(Array x, Array weight, Array bias, int stride, int padding) {
    return new Array(
        torch.conv2d(
            x.tensor,
            weight.tensor,
            optional(bias),
            new long[] {stride, stride},
            new long[] {padding, padding},
            new long[] {1, 1},
            1));
  }

  /**
   * Convolution over one dimension, each channel by itself.
   *
   * @param x [batch, channels, length]
   * @param weight [channels, 1, kernel]
   * @param bias [channels], or null
   * @param padding with zeros, on both sides
   * @return [batch, channels, length + 2 padding - kernel + 1]
   */
  public Array depthwise(Array x, Array weight, Array bias, int padding) {
    return new Array(
        torch.conv1d(
            x.tensor,
            weight.tensor,
            optional(bias),
            new long[] {1},
            new long[] {padding},
            new long[] {1},
            x.tensor.size(1)));
  }

  /** The mean over one dimension, which is no more. */
  public Array mean(Array x, int dim) {
    return new Array(x.tensor.mean(dim));
  }

  /** The same numbers in another shape; one size may be -1. */
  public Array reshape(Array x, long... shape) {
    return new Array(x.tensor.reshape(shape));
  }

  /** Two dimensions exchanged. */
  public Array transpose(Array x, int a, int b) {
    return new Array(x.tensor.transpose(a, b));
  }

  /** The dimensions in another order. */
  public Array permute(Array x, long... dims) {
    return new Array(x.tensor.permute(dims));
  }

  /** The indices from to before to of one dimension. */
  public Array slice(Array x, int dim, long from, long to) {
    return new Array(x.tensor.narrow(dim, from, to - from));
  }

  /** One index of one dimension, which is no more. */
  public Array select(Array x, int dim, long index) {
    return new Array(x.tensor.select(dim, index));
  }

  /** Arrays one behind the other in one dimension. */
  public Array concat(int dim, Array... arrays) {
    Tensor[] tensors = Arrays.stream(arrays).map(Array::tensor).toArray(Tensor[]::new);
    return new Array(torch.cat(new TensorVector(tensors), dim));
  }

  private static TensorOptional optional(Array array) {
    return array == null ? new TensorOptional() : new TensorOptional(array.tensor);
  }

  private static long[] last(Array x) {
    return new long[] {x.tensor.size(-1)};
  }
}
