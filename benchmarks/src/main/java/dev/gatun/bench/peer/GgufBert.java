package dev.gatun.bench.peer;

import dev.gatun.Tensor;
import dev.gatun.model.BertConfig;
import dev.gatun.model.BertWeights;
import dev.gatun.model.Weights;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;

/**
 * Writes a BERT encoder as llama.cpp reads it (GGUF 3), with its matrices in float32 or Q8_0, and
 * without a vocabulary: ids come from elsewhere.
 */
final class GgufBert {
  private static final int UINT32 = 4;
  private static final int FLOAT32 = 6;
  private static final int BOOL = 7;
  private static final int STRING = 8;
  private static final int ALIGNMENT = 32;
  private static final int BLOCK = 32;

  private static final int TYPE_F32 = 0;
  private static final int TYPE_Q8_0 = 8;

  private final boolean quantized;
  private final ByteArrayOutputStream pairs = new ByteArrayOutputStream();
  private int pairCount;
  private final List<Entry> entries = new ArrayList<>();

  /**
   * A tensor.
   *
   * @param tensor {@code [out, in]} of a matrix
   * @param isQuantized whether it is stored as Q8_0
   */
  private record Entry(String name, Tensor tensor, boolean isQuantized) {

    long bytes() {
      return isQuantized ? tensor.elements() / BLOCK * (BLOCK + 2) : tensor.elements() * 4;
    }
  }

  private GgufBert(boolean quantized) {
    this.quantized = quantized;
  }

  // ---- little-endian -------------------------------------------------------------------------

  private static void put(OutputStream out, long value, int bytes) throws IOException {
    for (int i = 0; i < bytes; i++) {
      out.write((int) (value >> 8 * i));
    }
  }

  private static void put(OutputStream out, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    put(out, bytes.length, 8);
    out.write(bytes);
  }

  private void key(String key, int type) throws IOException {
    put(pairs, key);
    put(pairs, type, 4);
    pairCount++;
  }

  private void pair(String key, String value) throws IOException {
    key(key, STRING);
    put(pairs, value);
  }

  private void pair(String key, long value) throws IOException {
    key(key, UINT32);
    put(pairs, value, 4);
  }

  // ---- the model -----------------------------------------------------------------------------

  /** Writes a file, whole or not at all. */
  static void write(BertWeights model, boolean quantized, Path file) throws IOException {
    GgufBert gguf = new GgufBert(quantized);
    gguf.describe(model.config());
    gguf.tensors(model);
    Path part = file.resolveSibling(file.getFileName() + ".part");
    try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(part), 1 << 20)) {
      gguf.write(out);
    }
    Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
  }

  private void describe(BertConfig config) throws IOException {
    pair("general.architecture", "bert");
    pair("bert.context_length", config.positions());
    pair("bert.embedding_length", config.hidden());
    pair("bert.feed_forward_length", config.intermediate());
    pair("bert.block_count", config.layers());
    pair("bert.attention.head_count", config.heads());
    key("bert.attention.layer_norm_epsilon", FLOAT32);
    put(pairs, Float.floatToRawIntBits(config.layerNormEps()), 4);
    key("bert.attention.causal", BOOL);
    put(pairs, 0, 1);
    pair("bert.pooling_type", 1); // the mean
    pair("bert.vocab_size", config.vocabulary());
    pair("tokenizer.ggml.model", "no_vocab");
    pair("tokenizer.ggml.token_type_count", config.tokenTypes());
  }

  private void matrix(String name, Tensor tensor) {
    entries.add(new Entry(name + ".weight", tensor, quantized));
  }

  private void floats(String name, Tensor tensor) {
    entries.add(new Entry(name, tensor, false));
  }

  private void linear(String name, Weights weights, String from) {
    matrix(name, weights.get(from + ".weight"));
    floats(name + ".bias", weights.get(from + ".bias"));
  }

  private void norm(String name, Weights weights, String from) {
    floats(name + ".weight", weights.get(from + ".weight"));
    floats(name + ".bias", weights.get(from + ".bias"));
  }

  private void tensors(BertWeights model) {
    Weights weights = model.weights();
    matrix("token_embd", weights.get("embeddings.word_embeddings.weight"));
    floats("position_embd.weight", weights.get("embeddings.position_embeddings.weight"));
    floats("token_types.weight", weights.get("embeddings.token_type_embeddings.weight"));
    norm("token_embd_norm", weights, "embeddings.LayerNorm");
    for (int n = 0; n < model.config().layers(); n++) {
      String layer = "encoder.layer." + n + ".";
      String block = "blk." + n + ".";
      linear(block + "attn_q", weights, layer + "attention.self.query");
      linear(block + "attn_k", weights, layer + "attention.self.key");
      linear(block + "attn_v", weights, layer + "attention.self.value");
      linear(block + "attn_output", weights, layer + "attention.output.dense");
      norm(block + "attn_output_norm", weights, layer + "attention.output.LayerNorm");
      linear(block + "ffn_up", weights, layer + "intermediate.dense");
      linear(block + "ffn_down", weights, layer + "output.dense");
      norm(block + "layer_output_norm", weights, layer + "output.LayerNorm");
    }
  }

  private static long aligned(long bytes) {
    return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
  }

  private void write(OutputStream out) throws IOException {
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    head.write("GGUF".getBytes(StandardCharsets.US_ASCII));
    put(head, 3, 4);
    put(head, entries.size(), 8);
    put(head, pairCount, 8);
    pairs.writeTo(head);
    long offset = 0;
    for (Entry entry : entries) {
      put(head, entry.name);
      long[] shape = entry.tensor.shape();
      put(head, shape.length, 4);
      for (int i = shape.length - 1; i >= 0; i--) { // the innermost first
        put(head, shape[i], 8);
      }
      put(head, entry.isQuantized ? TYPE_Q8_0 : TYPE_F32, 4);
      put(head, offset, 8);
      offset += aligned(entry.bytes());
    }
    head.writeTo(out);
    out.write(new byte[(int) (aligned(head.size()) - head.size())]);
    for (Entry entry : entries) {
      out.write(entry.isQuantized ? quantized(entry.tensor) : floats(entry.tensor));
      out.write(new byte[(int) (aligned(entry.bytes()) - entry.bytes())]);
    }
  }

  private static byte[] floats(Tensor tensor) {
    float[] values = tensor.toFloatArray();
    ByteBuffer buffer = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    buffer.asFloatBuffer().put(values);
    return buffer.array();
  }

  /** Blocks of 32: a scale in half precision and as many signed bytes. */
  static byte[] quantized(Tensor tensor) {
    float[] values = tensor.toFloatArray();
    ByteBuffer buffer =
        ByteBuffer.allocate(values.length / BLOCK * (BLOCK + 2)).order(ByteOrder.LITTLE_ENDIAN);
    for (int begin = 0; begin < values.length; begin += BLOCK) {
      float most = 0;
      for (int i = 0; i < BLOCK; i++) {
        most = Math.max(most, Math.abs(values[begin + i]));
      }
      float scale = most / 127;
      buffer.putShort(Float.floatToFloat16(scale));
      for (int i = 0; i < BLOCK; i++) {
        buffer.put((byte) (scale == 0 ? 0 : Math.round(values[begin + i] / scale)));
      }
    }
    return buffer.array();
  }
}
