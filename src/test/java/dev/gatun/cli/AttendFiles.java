package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.io.Npy;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** Files of a small attention in a directory, and command lines that name them. */
abstract class AttendFiles {
  static final int BATCH = 2;
  static final int SEQ_Q = 5;
  static final int SEQ_K = 7;
  static final int HEADS = 4;
  static final int KV_HEADS = 2;
  static final int DIM = 6;
  static final int DIM_V = 3;

  @TempDir Path directory;
  final Arena arena = Arena.ofShared();

  /** q, k, v, lengths, query lengths and files that fit none of these. */
  @BeforeEach
  void writeFiles() throws IOException {
    SplittableRandom random = new SplittableRandom(1);
    floats("q.npy", random, BATCH, SEQ_Q, HEADS, DIM);
    floats("k.npy", random, BATCH, SEQ_K, KV_HEADS, DIM);
    floats("v.npy", random, BATCH, SEQ_K, KV_HEADS, DIM_V);
    ints("n.npy", SEQ_K, 3);
    ints("m.npy", 2, SEQ_Q);
  }

  @AfterEach
  void closeArena() {
    arena.close();
  }

  float[] floats(String name, SplittableRandom random, long... shape) throws IOException {
    float[] numbers = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = (float) (2 * random.nextDouble() - 1);
    }
    Npy.write(directory.resolve(name), Tensor.copyOf(arena, numbers, shape));
    return numbers;
  }

  void ints(String name, int... numbers) throws IOException {
    Npy.write(directory.resolve(name), Tensor.copyOf(arena, numbers, numbers.length));
  }

  void longs(String name, int... numbers) throws IOException {
    Tensor tensor = Tensor.allocate(arena, DType.INT64, numbers.length);
    for (int i = 0; i < numbers.length; i++) {
      tensor.segment().setAtIndex(ValueLayout.JAVA_LONG, i, numbers[i]);
    }
    Npy.write(directory.resolve(name), tensor);
  }

  String path(String name) {
    return directory.resolve(name).toString();
  }

  Tensor read(String name) throws IOException {
    return Npy.map(directory.resolve(name), arena);
  }

  /**
   * attend on q, k and v into o, with more options; a name that ends in .npy becomes a file of the
   * directory.
   */
  String[] attend(String... options) {
    List<String> args = new ArrayList<>(List.of("attend"));
    List<String> given = List.of(options);
    for (String option : new String[] {"--q", "--k", "--v", "--out"}) {
      if (!given.contains(option)) {
        args.add(option);
        args.add(path((option.equals("--out") ? "o" : option.substring(2)) + ".npy"));
      }
    }
    for (String option : options) {
      args.add(option.endsWith(".npy") && !option.contains("/") ? path(option) : option);
    }
    return args.toArray(String[]::new);
  }

  Set<String> names() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return new TreeSet<>(files.map(file -> file.getFileName().toString()).toList());
    }
  }

  /** Of uint8, or of bool, which NumPy keeps in the same bytes. */
  void bytes(String name, boolean bool, byte[] numbers, long... shape) throws IOException {
    Tensor tensor = Tensor.allocate(arena, DType.UINT8, shape);
    MemorySegment.copy(numbers, 0, tensor.segment(), ValueLayout.JAVA_BYTE, 0, numbers.length);
    Npy.write(directory.resolve(name), tensor);
    if (bool) {
      byte[] file = Files.readAllBytes(directory.resolve(name));
      int at = new String(file, StandardCharsets.ISO_8859_1).indexOf("|u1");
      file[at + 1] = 'b';
      Files.write(directory.resolve(name), file);
    }
  }
}
