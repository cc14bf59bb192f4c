package dev.gatun.support;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Json;
import dev.gatun.io.Npy;
import dev.gatun.io.OnnxException;
import dev.gatun.io.OnnxFile;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsException;
import dev.gatun.io.SafetensorsFile;
import dev.gatun.model.Bert;
import dev.gatun.model.BertWeights;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.Llama;
import dev.gatun.model.Weights;
import dev.gatun.nn.Rotary;
import dev.gatun.nn.RotaryScaling;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.random.RandomGenerator;

/** What {@link Mutations} changes and reads: files of numbers, and descriptions of models. */
public final class ReaderSubjects {
  private static final long MOST_MEMORY_KIB = 1 << 20;

  /** A file system without a disk, as a file is written for each input. */
  private static final Path MEMORY = Path.of("/dev/shm");

  private ReaderSubjects() {}

  /** Reads files, and looks at the memory of the process. */
  abstract static class Reader implements Mutations.Subject {
    private final Path folder;
    private final Map<String, byte[]> written = new TreeMap<>();
    private int reads;

    Reader() {
      try {
        folder =
            Files.isWritable(MEMORY)
                ? Files.createTempDirectory(MEMORY, "gatun-reader")
                : Files.createTempDirectory("gatun-reader");
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      Runtime.getRuntime().addShutdownHook(new Thread(this::clean));
    }

    private void clean() {
      try (var files = Files.walk(folder)) {
        files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    final Path folder() {
      return folder;
    }

    final Path write(String name, byte[] bytes) throws IOException {
      Path file = folder.resolve(name);
      if (!Arrays.equals(bytes, written.put(name, bytes))) {
        Files.createDirectories(file.getParent());
        Files.write(file, bytes);
      }
      return file;
    }

    final void delete(String name) throws IOException {
      written.remove(name);
      Path file = folder.resolve(name);
      Files.deleteIfExists(file);
      if (!file.getParent().equals(folder)) {
        Files.deleteIfExists(file.getParent());
      }
    }

    @Override
    public final void read(byte[] bytes) throws Exception {
      if (++reads % 4096 == 0) {
        checkMemory();
      }
      try (Arena arena = Arena.ofConfined()) {
        read(bytes, arena);
      }
    }

    abstract void read(byte[] bytes, Arena arena) throws Exception;

    /** The greatest size that the process has had so far. */
    private static void checkMemory() throws IOException {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmHWM:")
            && Long.parseLong(line.replaceAll("\\D", "")) > MOST_MEMORY_KIB) {
          throw new AssertionError("expected at most 1 GiB of memory: " + line);
        }
      }
    }

    @Override
    public boolean allows(Throwable thrown) {
      return thrown instanceof IOException;
    }
  }

  // ---- npy -----------------------------------------------------------------------------------

  /** npy files, mapped and read. */
  public static final class NpyFiles extends Reader {
    @Override
    public List<byte[]> seeds() throws IOException {
      List<byte[]> seeds = new ArrayList<>();
      try (Arena arena = Arena.ofConfined()) {
        for (Tensor tensor :
            List.of(
                Tensor.copyOf(arena, new float[] {1, 2, 3, 4, 5, 6}, 2, 3),
                Tensor.copyOf(arena, new int[] {1, 2}, 1, 2, 1),
                Tensor.copyOf(arena, new float[] {7}),
                Tensor.allocate(arena, DType.INT64, 3))) {
          Path file = folder().resolve("seed.npy");
          Npy.write(file, tensor);
          seeds.add(Files.readAllBytes(file));
        }
      }
      // A version whose header has a length of four bytes.
      byte[] first = seeds.getFirst();
      byte[] start = Arrays.copyOf(first, 10);
      start[6] = 2;
      seeds.add(
          new OnnxWriter()
              .raw(start)
              .raw(new byte[2])
              .raw(Arrays.copyOfRange(first, 10, first.length))
              .toBytes());
      seeds.add(
          new String(seeds.getFirst(), StandardCharsets.ISO_8859_1)
              .replace("False, 'shape': (2, 3)", "True,  'shape': (6, 1)")
              .getBytes(StandardCharsets.ISO_8859_1));
      return seeds;
    }

    @Override
    void read(byte[] bytes, Arena arena) throws IOException {
      touch(Npy.map(write("a.npy", bytes), arena));
    }
  }

  /** Reads each number. */
  private static void touch(Tensor tensor) {
    if (tensor.elements() > 0) {
      tensor.segment().mismatch(tensor.segment().asSlice(0, tensor.segment().byteSize() - 1));
    }
  }

  // ---- safetensors ---------------------------------------------------------------------------

  /** safetensors files: all tensors, and a model of them. */
  public static final class SafetensorsFiles extends Reader {
    private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();

    @Override
    public List<byte[]> seeds() throws IOException {
      List<byte[]> seeds = new ArrayList<>();
      Path file = folder().resolve("seed.safetensors");
      try (Arena arena = Arena.ofConfined()) {
        Map<String, Tensor> llama = new TreeMap<>();
        llama.put("model.embed_tokens.weight", Tensor.allocate(arena, DType.FLOAT32, 3, 4));
        llama.put("model.norm.weight", Tensor.allocate(arena, DType.FLOAT32, 4));
        String block = "model.layers.0.";
        for (String name : new String[] {"input_layernorm", "post_attention_layernorm"}) {
          llama.put(block + name + ".weight", Tensor.allocate(arena, DType.FLOAT32, 4));
        }
        for (String name :
            new String[] {
              "self_attn.q_proj",
              "self_attn.k_proj",
              "self_attn.v_proj",
              "self_attn.o_proj",
              "mlp.gate_proj",
              "mlp.up_proj",
              "mlp.down_proj"
            }) {
          llama.put(block + name + ".weight", Tensor.allocate(arena, DType.FLOAT32, 4, 4));
        }
        Safetensors.write(file, llama, Map.of("format", "pt"));
        seeds.add(Files.readAllBytes(file));
        Safetensors.write(
            file,
            Map.of(
                "a", Tensor.copyOf(arena, new int[] {1, 2, 3}, 3),
                "b", Tensor.allocate(arena, DType.INT64, 2, 0),
                "c", Tensor.copyOf(arena, new float[] {7})),
            Map.of());
        seeds.add(Files.readAllBytes(file));
      }
      for (String type : new String[] {"F16", "BF16", "F64", "I64", "U8", "F4"}) {
        int bits = type.equals("U8") ? 8 : type.equals("F4") ? 4 : type.endsWith("64") ? 64 : 16;
        String header =
            "{\"x\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%d]}}"
                .formatted(type, bits);
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        seeds.add(
            new OnnxWriter()
                .raw(OnnxWriter.longs(text.length))
                .raw(text)
                .raw(new byte[bits])
                .toBytes());
      }
      seeds.add("{\"weight_map\":{\"a\":\"b\"}}".getBytes(StandardCharsets.UTF_8));
      return seeds;
    }

    @Override
    public byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
      if (bytes.length < 16 || random.nextInt(3) == 0) {
        return Mutations.changeBytes(bytes, seeds, random);
      }
      // The header as JSON, with its length put right.
      long length = bytes[0] & 0xffL | (bytes[1] & 0xffL) << 8 | (bytes[2] & 0xffL) << 16;
      if (length > bytes.length - 8) {
        return Mutations.changeBytes(bytes, seeds, random);
      }
      String text = new String(bytes, 8, (int) length, StandardCharsets.UTF_8).strip();
      byte[] header =
          JsonMutations.change(
              text.getBytes(StandardCharsets.UTF_8),
              List.of(text.getBytes(StandardCharsets.UTF_8), "{}".getBytes()),
              WORDS,
              random);
      byte[] data = Arrays.copyOfRange(bytes, 8 + (int) length, bytes.length);
      return new OnnxWriter().raw(OnnxWriter.longs(header.length)).raw(header).raw(data).toBytes();
    }

    private static final List<String> WORDS =
        List.of(
            "dtype",
            "shape",
            "data_offsets",
            "__metadata__",
            "F32",
            "I32",
            "F16",
            "F4",
            "model.layers.0.self_attn.q_proj.bias",
            "model.layers.1.mlp.up_proj.weight",
            "lm_head.weight");

    @Override
    void read(byte[] bytes, Arena arena) throws IOException {
      SafetensorsFile file = Safetensors.map(write("a.safetensors", bytes), arena);
      for (String name : file.names()) {
        try {
          touch(file.isView(name) ? file.tensor(name) : file.tensor(name, arena));
        } catch (SafetensorsException e) {
          // Types that are not converted.
        }
      }
      Rotary rotary = Rotary.of(arena, 8, 2, 1e4, Rotary.Pairing.HALVES, RotaryScaling.none());
      try {
        Llama.of(runtime, Weights.of(file, arena), 1, 2, 2, rotary, 1e-5f);
      } catch (IllegalArgumentException | UncheckedIOException e) {
        // Documented for weights that do not fit, and for types that are not converted.
      }
    }
  }

  // ---- ONNX ----------------------------------------------------------------------------------

  /**
   * ONNX files: all tensors, and an encoder of them, of which quantized matrices are made floats.
   */
  public static final class OnnxFiles extends Reader {
    private static final String WORDS = "embeddings.word_embeddings.weight";

    private final GatunRuntime runtime = GatunRuntime.builder().threads(1).build();

    @Override
    public List<byte[]> seeds() {
      TinyBert shared = TinyBert.bert("/bert", 7, 6);
      String merged = "bert.encoder.layer.1.output.LayerNorm.weight";
      shared.weights.remove(merged);
      shared.nodes.put(
          "i",
          OnnxWriter.node(
              "i",
              "Identity",
              List.of("bert.encoder.layer.0.output.LayerNorm.weight"),
              List.of(merged)));
      // A matrix as PyTorch has it, turned when the graph runs.
      shared.anonymous("turned", 6, TinyBert.HIDDEN);
      shared.add(
          "/encoder/layer.1/intermediate/dense/MatMul",
          "MatMul",
          "/bert/encoder/layer.1/attention/output/LayerNorm/Add_1_output_0",
          shared.add("/turn", "Transpose", "turned"));
      shared.weights.remove("onnx::MatMul_32"); // which it is in place of
      byte[] lists =
          OnnxWriter.model(
              new OnnxWriter()
                  .message(5, OnnxWriter.tensor("list", 1, 3).bytes(4, OnnxWriter.floats(1, 2, 3)))
                  .message(5, OnnxWriter.tensor("ints", 6, 2).number(5, -1).number(5, 1))
                  .message(5, OnnxWriter.tensor("bytes", 3, 2).number(5, -1).number(5, 1))
                  .message(5, OnnxWriter.tensor("raw", 2, 2).bytes(9, new byte[] {-1, 1}))
                  .message(5, OnnxWriter.tensor("longs", 7, 2).bytes(7, new byte[] {1, 2})));
      return List.of(
          TinyBert.bert("", 7, 6).bytes(),
          TinyBert.roberta(7, 6).bytes(),
          TinyBert.distilBert("", 7, 6).bytes(),
          TinyBert.quantizedBert("", 7, 6).bytes(),
          TinyBert.quantizedDistilBert("/distilbert", 7, 6).bytes(),
          shared.bytes(),
          lists);
    }

    @Override
    public byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
      return random.nextInt(4) == 0
          ? Mutations.changeBytes(bytes, seeds, random)
          : WireMutations.change(bytes, seeds, random);
    }

    @Override
    void read(byte[] bytes, Arena arena) throws OnnxException {
      MemorySegment memory = arena.allocate(bytes.length + 1).asSlice(0, bytes.length);
      OnnxFile file =
          OnnxFile.of(memory.copyFrom(MemorySegment.ofArray(bytes)), "bytes.onnx", arena);
      for (OnnxFile.Initializer initializer : file.initializers()) {
        try {
          touch(file.initializer(initializer.name()));
        } catch (OnnxException e) {
          // Types that are not read, data that do not fit.
        }
      }
      BertWeights weights = BertWeights.from(file, arena);
      Bert.of("mutated", runtime, weights, arena, WeightFormat.AUTO);
    }
  }

  // ---- descriptions --------------------------------------------------------------------------

  /** The descriptions in a folder: an object of file names and what is in them. */
  public static final class Folders extends Reader {
    private static final List<String> FILES =
        List.of(
            "config.json",
            "modules.json",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "sentence_bert_config.json",
            "tokenizer_config.json",
            "config_sentence_transformers.json",
            "tokenizer.json");

    private static final String SEED =
        """
        {"config.json": {"model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": 2,
          "layer_norm_eps": 1e-6, "pad_token_id": 0, "is_decoder": false},
         "modules.json": [
          {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
          {"idx": 1, "name": "1", "path": "1_Pooling",
           "type": "sentence_transformers.models.Pooling"},
          {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
          {"idx": 3, "name": "3", "path": "3_Normalize",
           "type": "sentence_transformers.models.Normalize"}],
         "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_cls_token": true,
          "pooling_mode_mean_tokens": false, "include_prompt": true},
         "2_Dense/config.json": {"in_features": 8, "out_features": 6, "bias": true,
          "activation_function": "torch.nn.modules.activation.Tanh"},
         "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": true},
         "tokenizer_config.json": {"model_max_length": 512},
         "config_sentence_transformers.json": {"prompts": {"query": ""},
          "default_prompt_name": "query", "similarity_fn_name": "cosine"},
         "tokenizer.json": {"normalizer": {"type": "BertNormalizer", "lowercase": true}}}
        """;

    @Override
    public List<byte[]> seeds() throws IOException {
      write("model.onnx", new byte[0]);
      String roberta =
          SEED.replace("\"bert\"", "\"xlm-roberta\"")
              .replace("\"modules.json\"", "\"none\"")
              .replace("\"2_Dense", "\"none");
      return List.of(
          SEED.getBytes(StandardCharsets.UTF_8), roberta.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
      return random.nextInt(16) == 0
          ? Mutations.changeBytes(bytes, seeds, random)
          : JsonMutations.change(bytes, seeds, FILES, random);
    }

    @Override
    void read(byte[] bytes, Arena arena) throws IOException {
      Json all = null;
      try {
        all = Json.parse(bytes);
      } catch (IllegalArgumentException e) {
        // Then it is what each file has.
      }
      for (String file : FILES) {
        if (all == null || !all.isObject()) {
          write(file, bytes);
        } else if (all.names().contains(file)) {
          write(file, all.find(file).toString().getBytes(StandardCharsets.UTF_8));
        } else {
          delete(file);
        }
      }
      EmbeddingModelSpec.folder(folder()).isNormalized();
    }
  }
}
