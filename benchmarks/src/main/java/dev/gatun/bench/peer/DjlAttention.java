package dev.gatun.bench.peer;

import ai.djl.Device;
import ai.djl.MalformedModelException;
import ai.djl.Model;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.pytorch.engine.PtModel;
import ai.djl.pytorch.jni.JniUtils;
import ai.djl.training.ParameterStore;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.function.Supplier;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Attention by DJL's PyTorch (the official build, with MKL): a TorchScript module of one line,
 * called through DJL's block.
 */
final class DjlAttention implements Runnable, Supplier<float[]>, AutoCloseable {
  private static final String ENGINE = "PyTorch";

  private final NDManager manager = NDManager.newBaseManager(Device.cpu(), ENGINE);
  private final Model model = Model.newInstance("attention", Device.cpu(), ENGINE);
  private final ParameterStore parameters = new ParameterStore(manager, false);
  private final Block block;
  private final NDList inputs = new NDList();

  /**
   * Takes the inputs, whose memory it uses.
   *
   * @param buffers direct buffers of q, k and v
   * @param sizes of each as they lie in memory
   * @param seqFirst whether that is [batch, seq, heads, dim] and not [batch, heads, seq, dim]
   * @param causal whether row i sees the keys up to i only
   * @param grouped whether query heads share key heads
   * @param threads of one call
   * @throws IOException never: it reads from memory
   * @throws MalformedModelException if PyTorch refuses the module
   */
  DjlAttention(
      ByteBuffer[] buffers,
      long[][] sizes,
      boolean seqFirst,
      boolean causal,
      boolean grouped,
      int threads)
      throws IOException, MalformedModelException {
    JniUtils.setNumThreads(threads);
    ((PtModel) model).load(new ByteArrayInputStream(module(causal, grouped)), Map.of());
    block = model.getBlock();
    for (int i = 0; i < buffers.length; i++) {
      NDArray array = manager.create(buffers[i], new Shape(sizes[i]), DataType.FLOAT32);
      inputs.add(seqFirst ? array.transpose(0, 2, 1, 3) : array);
    }
  }

  /** A module as {@code torch.jit.save} writes it, without parameters. */
  private static byte[] module(boolean causal, boolean grouped) throws IOException {
    String code =
        """
        class M(Module):
          __parameters__ = []
          __buffers__ = []
          def forward(self: __torch__.M,
            q: Tensor,
            k: Tensor,
            v: Tensor) -> Tensor:
            return torch.scaled_dot_product_attention(q, k, v, None, 0., %s, scale=None, enable_gqa=%s)
        """
            .formatted(causal ? "True" : "False", grouped ? "True" : "False");
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      // pickles: an object of class M with no state, and an empty tuple
      entry(zip, "data.pkl", "\u0080\u0002c__torch__\nM\n)\u0081}b.");
      entry(zip, "constants.pkl", "\u0080\u0002).");
      entry(zip, "version", "3\n");
      entry(zip, "code/__torch__.py", code);
    }
    return bytes.toByteArray();
  }

  /** Not compressed, as PyTorch has it. */
  private static void entry(ZipOutputStream zip, String name, String content) throws IOException {
    byte[] bytes = content.getBytes(StandardCharsets.ISO_8859_1);
    CRC32 sum = new CRC32();
    sum.update(bytes);
    ZipEntry entry = new ZipEntry("attention/" + name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(bytes.length);
    entry.setCrc(sum.getValue());
    zip.putNextEntry(entry);
    zip.write(bytes);
    zip.closeEntry();
  }

  private NDArray call() {
    return block.forward(parameters, inputs, false).singletonOrThrow();
  }

  @Override
  public void run() {
    call().close();
  }

  /** Computes once and returns [batch, heads, seq, dim]. */
  @Override
  public float[] get() {
    try (NDArray out = call()) {
      return out.toFloatArray();
    }
  }

  @Override
  public void close() {
    model.close();
    manager.close();
  }
}
