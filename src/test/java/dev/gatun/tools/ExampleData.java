package dev.gatun.tools;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Makes the files of {@code examples/data}: the queries, keys and values that layer {@value #LAYER}
 * of all-MiniLM-L6-v2 computes for a paragraph of English, and the attention output (context) that
 * ONNX Runtime computes from them.
 *
 * <p>Run it with {@code make example-data}, which puts the jar that carries the model on the class
 * path. The only argument is the directory to write to. Before anything is written, the context is
 * compared with {@code softmax(q·kᵀ/√32)·v} in double precision. Exit code 1 means that they differ
 * by more than {@value #TOLERANCE}, 2 a wrong command line or no model on the class path.
 *
 * <p>One machine gives the same bytes on every run. A CPU with other vector instructions may round
 * differently, because ONNX Runtime chooses its kernels by CPU.
 */
public final class ExampleData {

  private static final String MODEL = "all-minilm-l6-v2.onnx";
  private static final String TOKENIZER = "all-minilm-l6-v2-tokenizer.json";

  private static final int LAYER = 3;
  private static final int HEADS = 12;
  private static final int HEAD_DIM = 32;
  private static final int WIDTH = HEADS * HEAD_DIM;
  private static final double TOLERANCE = 1e-5;

  /** File name → graph tensor. Reshape_3 is what the output projection reads. */
  private static final Map<String, String> TENSORS = tensors();

  private static final String PARAGRAPH =
      """
      The Gatun Locks stand at the Atlantic end of the Panama Canal. Three steps of concrete
      chambers lift a vessel about twenty-six metres to Gatun Lake. The lake was made by an
      earth dam across the Chagres River, and its water fills every chamber by gravity, without
      pumps. Workers poured the first concrete in August 1909; in September 1913 the tugboat
      Gatun became the first vessel to climb the steps. Within a year the steamship Ancon
      opened the canal.
      """;

  private ExampleData() {}

  /**
   * Runs the model, checks what it gives and writes the files.
   *
   * @param args the directory to write to
   * @throws IOException if a resource cannot be read or a file cannot be written
   * @throws OrtException if ONNX Runtime refuses the model
   */
  public static void main(String[] args) throws IOException, OrtException {
    if (args.length != 1) {
      System.err.println("usage: ExampleData DIRECTORY");
      System.exit(2);
    }
    for (String resource : List.of(MODEL, TOKENIZER)) {
      if (ClassLoader.getSystemResource(resource) == null) {
        System.err.println(resource + " is not on the class path: run this with make example-data");
        System.exit(2);
      }
    }

    Map<String, Integer> vocabulary =
        readVocabulary(new String(readResource(TOKENIZER), StandardCharsets.UTF_8));
    long[] ids = tokenize(PARAGRAPH, vocabulary);
    System.out.printf(
        Locale.ROOT, "%d tokens, [CLS] and [SEP] included: %s%n", ids.length, Arrays.toString(ids));

    Map<String, float[]> data = run(readResource(MODEL), ids);
    double worst =
        worstDifference(
            ids.length, data.get("q"), data.get("k"), data.get("v"), data.get("context"));
    System.out.printf(
        Locale.ROOT,
        "context against the double reference: worst difference %.3e (limit %.0e)%n",
        worst,
        TOLERANCE);
    // Negated, so that a NaN fails.
    if (!(worst <= TOLERANCE)) {
      System.exit(1);
    }

    Path directory = Files.createDirectories(Path.of(args[0]));
    for (Map.Entry<String, float[]> entry : data.entrySet()) {
      Path file = directory.resolve(entry.getKey() + ".npy");
      Files.write(file, npy(entry.getValue(), 1, ids.length, HEADS, HEAD_DIM));
      System.out.printf(Locale.ROOT, "%s (1, %d, %d, %d)%n", file, ids.length, HEADS, HEAD_DIM);
    }
    Files.writeString(directory.resolve("paragraph.txt"), PARAGRAPH);
  }

  private static Map<String, String> tensors() {
    String prefix = "/encoder/layer." + LAYER + "/attention/self/";
    Map<String, String> names = new LinkedHashMap<>();
    names.put("q", prefix + "query/Add_output_0");
    names.put("k", prefix + "key/Add_output_0");
    names.put("v", prefix + "value/Add_output_0");
    names.put("context", prefix + "Reshape_3_output_0");
    return names;
  }

  private static byte[] readResource(String name) throws IOException {
    try (InputStream in = ClassLoader.getSystemResourceAsStream(name)) {
      return in.readAllBytes();
    }
  }

  // Tokenizer

  private static Map<String, Integer> readVocabulary(String json) {
    Matcher start = Pattern.compile("\"vocab\"\\s*:\\s*\\{").matcher(json);
    if (!start.find()) {
      throw new IllegalStateException(TOKENIZER + ": no vocabulary");
    }
    Matcher entry =
        Pattern.compile("\\s*\"((?:[^\"\\\\]|\\\\.)*+)\"\\s*:\\s*(\\d+)\\s*,?").matcher(json);
    Map<String, Integer> vocabulary = new HashMap<>();
    int at = start.end();
    while (entry.region(at, json.length()).lookingAt()) {
      // \" and \\ are the only escapes an ASCII token can contain.
      String token = entry.group(1).replaceAll("\\\\([\"\\\\])", "$1");
      vocabulary.put(token, Integer.valueOf(entry.group(2)));
      at = entry.end();
    }
    return vocabulary;
  }

  /**
   * WordPiece as the model's tokenizer.json describes it, for plain ASCII only: lower case, split
   * at white space and around punctuation, then the longest known piece first.
   */
  private static long[] tokenize(String text, Map<String, Integer> vocabulary) {
    List<Integer> ids = new ArrayList<>();
    ids.add(vocabulary.get("[CLS]"));
    Matcher word =
        Pattern.compile("\\p{Punct}|[^\\s\\p{Punct}]+").matcher(text.toLowerCase(Locale.ROOT));
    while (word.find()) {
      ids.addAll(pieces(word.group(), vocabulary));
    }
    ids.add(vocabulary.get("[SEP]"));
    return ids.stream().mapToLong(Integer::longValue).toArray();
  }

  private static List<Integer> pieces(String word, Map<String, Integer> vocabulary) {
    List<Integer> ids = new ArrayList<>();
    int start = 0;
    while (start < word.length()) {
      int end = word.length();
      Integer id = null;
      while (end > start) {
        id = vocabulary.get((start == 0 ? "" : "##") + word.substring(start, end));
        if (id != null) {
          break;
        }
        end--;
      }
      if (id == null) {
        return List.of(vocabulary.get("[UNK]"));
      }
      ids.add(id);
      start = end;
    }
    return ids;
  }

  // Model

  private static Map<String, float[]> run(byte[] model, long[] ids) throws OrtException {
    byte[] extended = withOutputs(model, TENSORS.values());
    long[] ones = new long[ids.length];
    Arrays.fill(ones, 1);
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      // One thread for the same bits every time; no optimization, so that the tensors are those of
      // the published graph and not of one with fused nodes.
      options.setIntraOpNumThreads(1);
      options.setInterOpNumThreads(1);
      options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.NO_OPT);
      try (OrtSession session = environment.createSession(extended, options);
          OnnxTensor tokens = OnnxTensor.createTensor(environment, new long[][] {ids});
          OnnxTensor mask = OnnxTensor.createTensor(environment, new long[][] {ones});
          OnnxTensor types = OnnxTensor.createTensor(environment, new long[1][ids.length]);
          OrtSession.Result result =
              session.run(
                  Map.of("input_ids", tokens, "attention_mask", mask, "token_type_ids", types),
                  Set.copyOf(TENSORS.values()))) {
        Map<String, float[]> data = new LinkedHashMap<>();
        for (Map.Entry<String, String> entry : TENSORS.entrySet()) {
          OnnxTensor tensor = (OnnxTensor) result.get(entry.getValue()).orElseThrow();
          // [1, n, 384] and [1, n, 12, 32] are the same numbers in the same order.
          long[] expected = {1, ids.length, WIDTH};
          if (!Arrays.equals(tensor.getInfo().getShape(), expected)) {
            throw new IllegalStateException(
                "%s: expected %s, got %s"
                    .formatted(
                        entry.getValue(),
                        Arrays.toString(expected),
                        Arrays.toString(tensor.getInfo().getShape())));
          }
          FloatBuffer buffer = tensor.getFloatBuffer();
          float[] values = new float[buffer.remaining()];
          buffer.get(values);
          data.put(entry.getKey(), values);
        }
        return data;
      }
    }
  }

  /**
   * Declares more graph outputs. Protobuf merges concatenated messages, and repeated fields append,
   * so a ModelProto fragment of {@code graph { output { name } }} behind the model is enough.
   */
  private static byte[] withOutputs(byte[] model, Iterable<String> names) {
    ByteArrayOutputStream outputs = new ByteArrayOutputStream();
    for (String name : names) {
      byte[] nameField = field(1, name.getBytes(StandardCharsets.UTF_8));
      outputs.writeBytes(field(12, nameField));
    }
    byte[] fragment = field(7, outputs.toByteArray());
    byte[] extended = Arrays.copyOf(model, model.length + fragment.length);
    System.arraycopy(fragment, 0, extended, model.length, fragment.length);
    return extended;
  }

  /** A length-delimited protobuf field: key, length as a varint, bytes. */
  private static byte[] field(int number, byte[] value) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write((number << 3) | 2);
    int length = value.length;
    while (length > 0x7f) {
      out.write((length & 0x7f) | 0x80);
      length >>>= 7;
    }
    out.write(length);
    out.writeBytes(value);
    return out.toByteArray();
  }

  // Check

  private static double worstDifference(int n, float[] q, float[] k, float[] v, float[] context) {
    double worst = 0;
    double[] weights = new double[n];
    for (int head = 0; head < HEADS; head++) {
      for (int row = 0; row < n; row++) {
        int query = row * WIDTH + head * HEAD_DIM;
        double max = Double.NEGATIVE_INFINITY;
        for (int column = 0; column < n; column++) {
          int key = column * WIDTH + head * HEAD_DIM;
          double score = 0;
          for (int d = 0; d < HEAD_DIM; d++) {
            score += (double) q[query + d] * k[key + d];
          }
          weights[column] = score / Math.sqrt(HEAD_DIM);
          max = Math.max(max, weights[column]);
        }
        double sum = 0;
        for (int column = 0; column < n; column++) {
          weights[column] = Math.exp(weights[column] - max);
          sum += weights[column];
        }
        for (int d = 0; d < HEAD_DIM; d++) {
          double expected = 0;
          for (int column = 0; column < n; column++) {
            expected += weights[column] / sum * v[column * WIDTH + head * HEAD_DIM + d];
          }
          worst = Math.max(worst, Math.abs(expected - context[query + d]));
        }
      }
    }
    return worst;
  }

  // NumPy

  /** A NumPy 1.0 file; the header is padded so that the data starts at a multiple of 64 bytes. */
  private static byte[] npy(float[] values, int... shape) {
    String dimensions = Arrays.toString(shape).replace('[', '(').replace(']', ')');
    String header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + dimensions + ", }";
    // Magic and version (8), header length (2), and the line feed that ends the header.
    int start = (10 + header.length() + 1 + 63) / 64 * 64;
    ByteBuffer out =
        ByteBuffer.allocate(start + values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    out.put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0});
    out.putShort((short) (start - 10));
    out.put(header.getBytes(StandardCharsets.US_ASCII));
    while (out.position() < start - 1) {
      out.put((byte) ' ');
    }
    out.put((byte) '\n');
    out.asFloatBuffer().put(values);
    return out.array();
  }
}
