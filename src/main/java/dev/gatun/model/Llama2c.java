package dev.gatun.model;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * A LLaMA in llama2.c's first format: seven numbers of int32, then the tensors as float32, each
 * kind of all layers together. It says nothing of itself; a file is one if its size is what the
 * numbers make of it.
 *
 * @param file the tensors
 * @param dim of a row
 * @param hidden rows of the feed-forward network
 * @param layers how many
 * @param heads of queries
 * @param kvHeads of keys and values
 * @param vocabulary tokens
 * @param tied whether the output is the embedding
 * @param positions of a sequence
 */
record Llama2c(
    Path file,
    int dim,
    int hidden,
    int layers,
    int heads,
    int kvHeads,
    int vocabulary,
    boolean tied,
    int positions) {

  private static final int HEADER = 7 * Integer.BYTES;
  private static final float EPSILON = 1e-5f;
  private static final double BASE = 10_000;

  /** Whether a path is none of Hugging Face's folders. */
  static boolean mayBe(Path path) {
    return !Files.exists(path.resolve(Checkpoint.CONFIG));
  }

  /**
   * Finds the model.
   *
   * @param path the file, or a folder with one
   * @throws IOException naming the path if there is none, or several
   */
  static Llama2c find(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new NoSuchFileException(path.toString(), null, "no such file or folder");
    }
    if (!Files.isDirectory(path)) {
      Llama2c found = read(path);
      if (found == null) {
        throw new FileSystemException(
            path.toString(),
            null,
            "expected a folder with config.json, or llama2.c's format: seven numbers of int32 that"
                + " its size agrees with");
      }
      return found;
    }
    List<Llama2c> found = new ArrayList<>();
    for (Path each : binaries(path)) {
      Llama2c one = read(each);
      if (one != null) {
        found.add(one);
      }
    }
    if (found.size() != 1) {
      throw new FileSystemException(
          path.toString(),
          null,
          "expected config.json, or one file *.bin in llama2.c's format, got neither config.json"
              + " nor"
              + (found.isEmpty() ? " such a file" : " one file but " + found.size()));
    }
    return found.getFirst();
  }

  private static List<Path> binaries(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> file.toString().endsWith(".bin") && Files.isRegularFile(file))
          .sorted()
          .toList();
    }
  }

  /** Reads the numbers; null if the file's size is another. */
  private static Llama2c read(Path file) throws IOException {
    long size = Files.size(file);
    if (size < HEADER) {
      return null;
    }
    try (Arena passing = Arena.ofConfined();
        FileChannel channel = FileChannel.open(file)) {
      MemorySegment header = channel.map(FileChannel.MapMode.READ_ONLY, 0, HEADER, passing);
      int[] n = header.toArray(ValueLayout.JAVA_INT);
      if (n[5] == Integer.MIN_VALUE) {
        return null;
      }
      Llama2c read =
          new Llama2c(file, n[0], n[1], n[2], n[3], n[4], Math.abs(n[5]), n[5] > 0, n[6]);
      return read.isSound() && read.bytes() == size ? read : null;
    }
  }

  private boolean isSound() {
    return dim > 0
        && dim <= 1 << 20
        && hidden > 0
        && hidden <= 1 << 22
        && layers > 0
        && layers <= 1 << 12
        && heads > 0
        && dim % heads == 0
        && dim / heads % 2 == 0
        && kvHeads > 0
        && heads % kvHeads == 0
        && vocabulary > 0
        && positions > 0;
  }

  private long kvDim() {
    return (long) dim / heads * kvHeads;
  }

  private double bytes() {
    double layer = 2.0 * dim + 2.0 * dim * dim + 2.0 * dim * kvDim() + 3.0 * dim * hidden;
    double tables = (double) vocabulary * dim * (tied ? 1 : 2);
    // sines and cosines, which are computed here
    double rotary = (double) positions * (dim / heads);
    return HEADER + Float.BYTES * (tables + layers * layer + dim + rotary);
  }

  /** Maps the file, whose matrices are packed as the format says. */
  DecoderOnlyModel load(GatunRuntime runtime, Arena arena, WeightFormat format) throws IOException {
    MemorySegment all;
    try (FileChannel channel = FileChannel.open(file)) {
      all = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
    }
    Rotary rotary =
        Rotary.of(
            arena, positions, dim / heads, BASE, Rotary.Pairing.ADJACENT, new RotaryScaling.None());
    Weights weights = Weights.of(tensors(all)).packed(arena, format);
    try {
      return Llama.of(runtime, weights, layers, heads, kvHeads, rotary, EPSILON);
    } catch (IllegalArgumentException e) {
      throw new FileSystemException(file.toString(), null, e.getMessage());
    }
  }

  /** Where each tensor lies, under Hugging Face's names. */
  private Map<String, Tensor> tensors(MemorySegment all) {
    Map<String, Tensor> tensors = new HashMap<>();
    Cursor cursor = new Cursor(all, tensors);
    cursor.take("model.embed_tokens.weight", vocabulary, dim);
    cursor.takeLayers("input_layernorm", dim);
    cursor.takeLayers("self_attn.q_proj", dim, dim);
    cursor.takeLayers("self_attn.k_proj", kvDim(), dim);
    cursor.takeLayers("self_attn.v_proj", kvDim(), dim);
    cursor.takeLayers("self_attn.o_proj", dim, dim);
    cursor.takeLayers("post_attention_layernorm", dim);
    cursor.takeLayers("mlp.gate_proj", hidden, dim);
    cursor.takeLayers("mlp.down_proj", dim, hidden);
    cursor.takeLayers("mlp.up_proj", hidden, dim);
    cursor.take("model.norm.weight", dim);
    if (!tied) {
      cursor.skip((long) positions * (dim / heads));
      cursor.take("lm_head.weight", vocabulary, dim);
    }
    return tensors;
  }

  private final class Cursor {
    private final MemorySegment all;
    private final Map<String, Tensor> tensors;
    private long at = HEADER;

    Cursor(MemorySegment all, Map<String, Tensor> tensors) {
      this.all = all;
      this.tensors = tensors;
    }

    void takeLayers(String name, long... shape) {
      for (int n = 0; n < layers; n++) {
        take("model.layers.%d.%s.weight".formatted(n, name), shape);
      }
    }

    void take(String name, long... shape) {
      long size = Float.BYTES;
      for (long each : shape) {
        size *= each;
      }
      tensors.put(name, Tensor.of(all.asSlice(at, size), DType.FLOAT32, shape));
      at += size;
    }

    void skip(long floats) {
      at += floats * Float.BYTES;
    }
  }

  /**
   * Reads the vocabulary: the file of the same folder whose name begins with {@code tok}, or the
   * only other one.
   *
   * @throws IOException naming the folder or the file that does not fit
   */
  Llama2cVocabulary vocabularyFile() throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    List<Path> others =
        binaries(folder).stream()
            .filter(each -> !each.getFileName().equals(file.getFileName()))
            .toList();
    List<Path> named =
        others.stream().filter(each -> each.getFileName().toString().startsWith("tok")).toList();
    List<Path> chosen = named.isEmpty() ? others : named;
    if (chosen.size() != 1) {
      throw new FileSystemException(
          folder.toString(),
          null,
          "expected one vocabulary tok*.bin beside %s, got %d"
              .formatted(file.getFileName(), chosen.size()));
    }
    return Llama2cVocabulary.read(chosen.getFirst(), vocabulary);
  }
}
