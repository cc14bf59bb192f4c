package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Peer;
import dev.gatun.model.BertWeights;
import dev.gatun.model.EmbeddingModelSpec;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * llama.cpp's library for the CPU, in the packing of node-llama-cpp, with the kernels that it
 * chooses for the machine, and the model in a GGUF file of {@link GgufBert}'s.
 */
final class LlamaCppEngine extends EmbeddingEngine {

  /** Where {@code make bench} unpacks it. */
  private static final String FOLDER = "llama.cpp";

  private static final int HIDDEN = 384;
  private static final int LOG_ERROR = 4;
  private static final int MOST_TOKENS = 4096;
  private static final int MOST_TEXTS = 32;

  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final AddressLayout ADDRESS = ValueLayout.ADDRESS;

  /**
   * Parameters go to it and come from it by value; all that matters here is that there is room for
   * them, as they are copied, and what the first of them are.
   */
  private static final StructLayout PARAMETERS =
      MemoryLayout.structLayout(MemoryLayout.sequenceLayout(64, LONG));

  private static final int PARAMETER_CONTEXT = 0;
  private static final int PARAMETER_BATCH = 4;
  private static final int PARAMETER_PHYSICAL_BATCH = 8;
  private static final int PARAMETER_SEQUENCES = 12;

  private static final StructLayout BATCH =
      MemoryLayout.structLayout(
          INT,
          MemoryLayout.paddingLayout(4),
          ADDRESS.withName("token"),
          ADDRESS.withName("embd"),
          ADDRESS.withName("pos"),
          ADDRESS.withName("n_seq_id"),
          ADDRESS.withName("seq_id"),
          ADDRESS.withName("logits"));

  private static final class Library {
    private static final Path HOME = home();
    private static final SymbolLookup GGML = lookup("libggml.");
    private static final SymbolLookup LLAMA = lookup("libllama.");

    static final MethodHandle LOAD_KERNELS =
        handle(GGML, "ggml_backend_load_all_from_path", FunctionDescriptor.ofVoid(ADDRESS));
    static final MethodHandle LOG =
        handle(LLAMA, "llama_log_set", FunctionDescriptor.ofVoid(ADDRESS, ADDRESS));
    static final MethodHandle INIT =
        handle(LLAMA, "llama_backend_init", FunctionDescriptor.ofVoid());
    static final MethodHandle MODEL_DEFAULTS =
        handle(LLAMA, "llama_model_default_params", FunctionDescriptor.of(PARAMETERS));
    static final MethodHandle CONTEXT_DEFAULTS =
        handle(LLAMA, "llama_context_default_params", FunctionDescriptor.of(PARAMETERS));
    static final MethodHandle MODEL =
        handle(
            LLAMA,
            "llama_model_load_from_file",
            FunctionDescriptor.of(ADDRESS, ADDRESS, PARAMETERS));
    static final MethodHandle CONTEXT =
        handle(LLAMA, "llama_init_from_model", FunctionDescriptor.of(ADDRESS, ADDRESS, PARAMETERS));
    static final MethodHandle THREADS =
        handle(LLAMA, "llama_set_n_threads", FunctionDescriptor.ofVoid(ADDRESS, INT, INT));
    static final MethodHandle EMBEDDINGS =
        handle(
            LLAMA,
            "llama_set_embeddings",
            FunctionDescriptor.ofVoid(ADDRESS, ValueLayout.JAVA_BOOLEAN));
    static final MethodHandle ENCODE =
        handle(LLAMA, "llama_encode", FunctionDescriptor.of(INT, ADDRESS, BATCH));
    static final MethodHandle VECTOR =
        handle(LLAMA, "llama_get_embeddings_seq", FunctionDescriptor.of(ADDRESS, ADDRESS, INT));
    static final MethodHandle FREE =
        handle(LLAMA, "llama_free", FunctionDescriptor.ofVoid(ADDRESS));
    static final MethodHandle FREE_MODEL =
        handle(LLAMA, "llama_model_free", FunctionDescriptor.ofVoid(ADDRESS));

    private static Path home() {
      try {
        return folder();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private static SymbolLookup lookup(String name) {
      try (Stream<Path> files = Files.list(HOME)) {
        Path file =
            files
                .filter(each -> each.getFileName().toString().startsWith(name))
                .findFirst()
                .orElseThrow();
        return SymbolLookup.libraryLookup(file, Arena.global());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private static MethodHandle handle(
        SymbolLookup lookup, String name, FunctionDescriptor function) {
      return Linker.nativeLinker().downcallHandle(lookup.findOrThrow(name), function);
    }

    /** The first of its errors; what it says besides is not shown. */
    static volatile String error = "";

    static void hear(int level, MemorySegment text, MemorySegment user) {
      if (level == LOG_ERROR && error.isEmpty()) {
        error = text.reinterpret(4096).getString(0).strip();
      }
    }

    static {
      try (Arena local = Arena.ofConfined()) {
        MemorySegment nothing =
            Linker.nativeLinker()
                .upcallStub(
                    MethodHandles.lookup()
                        .findStatic(
                            Library.class,
                            "hear",
                            MethodType.methodType(
                                void.class, int.class, MemorySegment.class, MemorySegment.class)),
                    FunctionDescriptor.ofVoid(INT, ADDRESS, ADDRESS),
                    Arena.global());
        LOG.invokeExact(nothing, MemorySegment.NULL);
        LOAD_KERNELS.invokeExact(local.allocateFrom(HOME.toString()));
        INIT.invokeExact();
      } catch (Throwable e) {
        throw Peer.unexpected(e);
      }
    }
  }

  /** The folder with its libraries. */
  private static Path folder() throws IOException {
    Path root = PeerJars.folder().resolve(FOLDER);
    if (Files.isDirectory(root)) {
      try (Stream<Path> files = Files.walk(root)) {
        Path found =
            files
                .filter(file -> file.getFileName().toString().startsWith("libllama."))
                .findFirst()
                .orElse(null);
        if (found != null) {
          return found.getParent();
        }
      }
    }
    throw new FileNotFoundException("llama.cpp: it is not there; make bench fetches it");
  }

  private final Arena arena = Arena.ofShared();
  private final MemorySegment model;
  private final MemorySegment context;
  private String note = "";

  LlamaCppEngine(boolean quantized, int threads) throws IOException {
    folder(); // or it is not there
    Path file = file(quantized);
    try {
      MemorySegment parameters =
          (MemorySegment) Library.MODEL_DEFAULTS.invokeExact((SegmentAllocator) arena);
      model =
          (MemorySegment)
              Library.MODEL.invokeExact(arena.allocateFrom(file.toString()), parameters);
      if (model.address() == 0) {
        throw new IOException(file + ": llama.cpp does not read it: " + Library.error);
      }
      parameters = (MemorySegment) Library.CONTEXT_DEFAULTS.invokeExact((SegmentAllocator) arena);
      if (parameters.get(INT, PARAMETER_CONTEXT) != 512
          || parameters.get(INT, PARAMETER_BATCH) != 2048
          || parameters.get(INT, PARAMETER_PHYSICAL_BATCH) != 512
          || parameters.get(INT, PARAMETER_SEQUENCES) != 1) {
        throw new IOException("llama.cpp: its parameters are others than those known");
      }
      parameters.set(INT, PARAMETER_CONTEXT, MOST_TEXTS * 512);
      parameters.set(INT, PARAMETER_BATCH, MOST_TOKENS);
      parameters.set(INT, PARAMETER_PHYSICAL_BATCH, MOST_TOKENS);
      parameters.set(INT, PARAMETER_SEQUENCES, MOST_TEXTS);
      context = (MemorySegment) Library.CONTEXT.invokeExact(model, parameters);
      if (context.address() == 0) {
        throw new IOException("llama.cpp: no context");
      }
      Library.THREADS.invokeExact(context, threads, threads);
      Library.EMBEDDINGS.invokeExact(context, true);
    } catch (IOException | RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
  }

  /** The model in its format, written at first. */
  private static Path file(boolean quantized) throws IOException {
    Path file = PeerJars.folder().resolve("minilm-" + (quantized ? "q8_0" : "f32") + ".gguf");
    if (!Files.isRegularFile(file)) {
      try (Arena reading = Arena.ofConfined()) {
        GgufBert.write(
            BertWeights.from(EmbeddingModelSpec.MINILM.openModel(reading), reading),
            quantized,
            file);
      }
    }
    return file;
  }

  /** Texts of one run. */
  private final class Pass {
    private final MemorySegment batch = arena.allocate(BATCH);
    private final int texts;
    private final float[][] vectors;

    Pass(List<int[]> ids, float[][] vectors) {
      this.texts = ids.size();
      this.vectors = vectors;
      int tokens = ids.stream().mapToInt(each -> each.length).sum();
      MemorySegment token = arena.allocate(INT, tokens);
      MemorySegment position = arena.allocate(INT, tokens);
      MemorySegment count = arena.allocate(INT, tokens);
      MemorySegment sequences = arena.allocate(ADDRESS, tokens);
      MemorySegment outputs = arena.allocate(tokens);
      int at = 0;
      for (int i = 0; i < texts; i++) {
        MemorySegment sequence = arena.allocateFrom(INT, i);
        for (int t = 0; t < ids.get(i).length; t++) {
          token.setAtIndex(INT, at, ids.get(i)[t]);
          position.setAtIndex(INT, at, t);
          count.setAtIndex(INT, at, 1);
          sequences.setAtIndex(ValueLayout.ADDRESS, at, sequence);
          outputs.set(ValueLayout.JAVA_BYTE, at, (byte) 1);
          at++;
        }
      }
      batch.set(INT, 0, tokens);
      MemorySegment[] members = {token, MemorySegment.NULL, position, count, sequences, outputs};
      for (int i = 0; i < members.length; i++) {
        batch.set(ValueLayout.ADDRESS, 8L + 8L * i, members[i]);
      }
    }

    void run() {
      try {
        Peer.expectZero((int) Library.ENCODE.invokeExact(context, batch));
        for (int i = 0; i < texts; i++) {
          MemorySegment found = (MemorySegment) Library.VECTOR.invokeExact(context, i);
          float[] vector = vectors[i];
          MemorySegment.copy(
              found.reinterpret(HIDDEN * 4L), ValueLayout.JAVA_FLOAT, 0, vector, 0, HIDDEN);
          double squares = 0;
          for (float each : vector) {
            squares += (double) each * each;
          }
          float scale = (float) (1 / Math.sqrt(squares));
          for (int c = 0; c < HIDDEN; c++) {
            vector[c] *= scale;
          }
        }
      } catch (RuntimeException | Error e) {
        throw e;
      } catch (Throwable e) {
        throw Peer.unexpected(e);
      }
    }
  }

  private EmbeddingPeer peer(List<int[]> ids, boolean together) {
    float[][] vectors = new float[ids.size()][HIDDEN];
    Pass[] passes =
        together
            ? new Pass[] {new Pass(ids, vectors)}
            : IntStream.range(0, ids.size())
                .mapToObj(i -> new Pass(ids.subList(i, i + 1), new float[][] {vectors[i]}))
                .toArray(Pass[]::new);
    return new EmbeddingPeer("llama.cpp") {
      @Override
      public void calls(long n) {
        for (long i = 0; i < n; i++) {
          for (Pass pass : passes) {
            pass.run();
          }
        }
      }

      @Override
      public float[] vector() {
        calls(1);
        return vectors[0].clone();
      }
    };
  }

  /** One batch or one text after the other, whichever is faster here. */
  @Override
  public EmbeddingPeer peer(List<EmbeddingTexts.Text> batch) {
    List<int[]> ids = batch.stream().map(EmbeddingTexts.Text::ids).toList();
    EmbeddingPeer single = peer(ids, false);
    note = "";
    if (ids.size() == 1) {
      return single;
    }
    EmbeddingPeer whole = peer(ids, true);
    boolean together = seconds(whole) < seconds(single);
    note = together ? "one batch" : "one by one";
    return together ? whole : single;
  }

  @Override
  public float[] vector(EmbeddingTexts.Text text) {
    return peer(List.of(text.ids()), false).vector();
  }

  @Override
  public String note() {
    return note;
  }

  @Override
  public void close() {
    try {
      Library.FREE.invokeExact(context);
      Library.FREE_MODEL.invokeExact(model);
    } catch (Throwable e) {
      throw Peer.unexpected(e);
    }
    arena.close();
  }
}
