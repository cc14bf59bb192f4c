package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Resources;
import dev.gatun.io.OnnxFile;
import dev.gatun.nn.Pooling;
import dev.gatun.nn.TextEncoder;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * An embedding model: where its files are, and what its authors do with the encoder's output.
 *
 * <p>The models with a name come in jars of LangChain4j, which only have to be on the class path.
 * Any other model is a folder, of one of the families of encoders that docs/families.md lists;
 * {@link #folder} says what is read of it.
 */
public final class EmbeddingModelSpec {

  /** all-MiniLM-L6-v2: 6 layers, 384 wide; the tokenizer cuts at 128 tokens. */
  public static final EmbeddingModelSpec MINILM =
      inJar("minilm", "all-minilm-l6-v2", "all-minilm-l6-v2:1.20.0-beta30", Pooling.MEAN, "", "");

  /** bge-small-en-v1.5: 12 layers, 384 wide. */
  public static final EmbeddingModelSpec BGE_SMALL =
      inJar("bge-small", "bge-small-en-v1.5", "bge-small-en-v15:0.36.2", Pooling.CLS, "", "");

  /** e5-small-v2: 12 layers, 384 wide; texts need a prefix. */
  public static final EmbeddingModelSpec E5_SMALL =
      inJar("e5-small", "e5-small-v2", "e5-small-v2:0.36.2", Pooling.MEAN, "query: ", "passage: ");

  /** bge-small-zh-v1.5, for Chinese: 4 layers, 512 wide. */
  public static final EmbeddingModelSpec BGE_SMALL_ZH =
      inJar("bge-small-zh", "bge-small-zh-v1.5", "bge-small-zh-v15:0.36.2", Pooling.CLS, "", "");

  /** {@link #MINILM} with weights of 8 bits, by ONNX Runtime's dynamic quantization: 23 MB. */
  public static final EmbeddingModelSpec MINILM_Q =
      inJar(
          "minilm-q",
          "all-minilm-l6-v2-q",
          "all-minilm-l6-v2-q:1.20.0-beta30",
          Pooling.MEAN,
          "",
          "");

  /** {@link #BGE_SMALL} with weights of 8 bits: 34 MB. */
  public static final EmbeddingModelSpec BGE_SMALL_Q =
      inJar("bge-small-q", "bge-small-en-v1.5-q", "bge-small-en-v15-q:0.36.2", Pooling.CLS, "", "");

  /** {@link #E5_SMALL} with weights of 8 bits: 34 MB; texts need a prefix. */
  public static final EmbeddingModelSpec E5_SMALL_Q =
      inJar(
          "e5-small-q",
          "e5-small-v2-q",
          "e5-small-v2-q:0.36.2",
          Pooling.MEAN,
          "query: ",
          "passage: ");

  private static final List<EmbeddingModelSpec> NAMED =
      List.of(MINILM, BGE_SMALL, E5_SMALL, BGE_SMALL_ZH, MINILM_Q, BGE_SMALL_Q, E5_SMALL_Q);

  private static final String MODEL = "model.onnx";
  private static final String TOKENIZER = "tokenizer.json";

  private static final List<String> OTHER_MODELS =
      List.of(PackedFile.NAME, Checkpoint.WEIGHTS, Checkpoint.INDEX, "onnx/" + MODEL);

  private final String name;

  /** The folder, or null for resources. */
  private final Path folder;

  private final String model;
  private final String tokenizer;
  private final String artifact;
  private final ModelFolder described;
  private final String queryPrefix;
  private final String passagePrefix;

  private EmbeddingModelSpec(
      String name,
      Path folder,
      String model,
      String tokenizer,
      String artifact,
      ModelFolder described,
      String queryPrefix,
      String passagePrefix) {
    this.name = name;
    this.folder = folder;
    this.model = model;
    this.tokenizer = tokenizer;
    this.artifact = artifact;
    this.described = described;
    this.queryPrefix = queryPrefix;
    this.passagePrefix = passagePrefix;
  }

  private static EmbeddingModelSpec inJar(
      String name,
      String file,
      String artifact,
      Pooling pooling,
      String queryPrefix,
      String passagePrefix) {
    return new EmbeddingModelSpec(
        name,
        null,
        file + ".onnx",
        file + "-tokenizer.json",
        "dev.langchain4j:langchain4j-embeddings-" + artifact,
        ModelFolder.known(pooling),
        queryPrefix,
        passagePrefix);
  }

  /**
   * Describes the model in a folder, as sentence-transformers (up to version 6, which writes other
   * names of modules and other keys) lays it out. Needed are {@code tokenizer.json} and the
   * weights, in the first of these files that is there:
   *
   * <ol>
   *   <li>{@code model.gatun.safetensors}, which {@link TextEmbedder#pack} has written; {@code
   *       config.json} beside it, of a model that came with one.
   *   <li>{@code model.safetensors}, or {@code model.safetensors.index.json} and the files that it
   *       names, in float32, float16 or bfloat16. {@code config.json} is needed beside them: its
   *       {@code model_type} is one of the families of encoders that docs/families.md lists.
   *   <li>{@code model.onnx} or {@code onnx/model.onnx}: a graph of BERT, RoBERTa, XLM-RoBERTa,
   *       CamemBERT or DistilBERT, in float32 or with the weights of 8 bits that ONNX Runtime's
   *       dynamic quantization makes.
   * </ol>
   *
   * <p>Read as well, where they are, and followed or refused:
   *
   * <ul>
   *   <li>{@code modules.json}: a Transformer whose files are beside it, a Pooling of one or
   *       several modes, then any number of Dense (Tanh, Sigmoid, Identity, ReLU, GELU or SiLU) and
   *       LayerNorm (both with {@code model.safetensors}) and Normalize. <b>Without it</b> the
   *       pooling is what {@code 1_Pooling/config.json} says, or the mean, and the vector is
   *       divided by its L2 norm.
   *   <li>{@code sentence_bert_config.json} (or its siblings for other families): {@code
   *       max_seq_length}, what texts are cut to whatever tokenizer.json says. Where it says
   *       nothing, {@code model_max_length} of {@code tokenizer_config.json}.
   *   <li>{@code tokenizer_config.json}: {@code truncation_side} and, for BERT, DistilBERT, RoBERTa
   *       and XLM-RoBERTa, {@code do_lower_case}, {@code strip_accents}, {@code
   *       tokenize_chinese_chars} and {@code add_prefix_space}, which have to say what
   *       tokenizer.json does. It is read, and compared with them, when it is loaded.
   *   <li>{@code config.json}: the family and sizes, which have to be those of the weights.
   *   <li>{@code config_sentence_transformers.json}: the prompt that the authors put before each
   *       text is {@link #defaultPrompt}; those named query, and document, passage or corpus, are
   *       {@link #queryPrefix} and {@link #passagePrefix}. Where the Pooling says {@code
   *       include_prompt: false}, their tokens are not pooled. How vectors are compared is {@link
   *       #similarity}.
   * </ul>
   *
   * @param folder with weights and {@code tokenizer.json}
   * @return its description
   * @throws IOException if one of the two is missing, or a file asks for what Gatun does not do;
   *     the message names file and key
   */
  public static EmbeddingModelSpec folder(Path folder) throws IOException {
    String model = modelFile(folder);
    for (String file : List.of(model, TOKENIZER)) {
      if (!Files.exists(folder.resolve(file))) {
        throw new NoSuchFileException(
            folder.resolve(file).toString(),
            null,
            file.equals(MODEL)
                ? "a model's folder has to have it, or one of " + OTHER_MODELS
                : "a model's folder has to have it");
      }
    }
    ModelFolder described = ModelFolder.read(folder);
    return new EmbeddingModelSpec(
        folder.toString(),
        folder,
        model,
        TOKENIZER,
        null,
        described,
        described.use().prompt("query"),
        described.use().prompt("document", "passage", "corpus"));
  }

  /** The file with the weights: the first that is there, or model.onnx if none is. */
  private static String modelFile(Path folder) {
    for (String file :
        List.of(PackedFile.NAME, Checkpoint.WEIGHTS, Checkpoint.INDEX, MODEL, "onnx/" + MODEL)) {
      if (Files.exists(folder.resolve(file))) {
        return file;
      }
    }
    return MODEL;
  }

  /**
   * Finds a model. Its name on Hugging Face's Hub does as well, in any case of letters and with or
   * without who has put it there ({@code sentence-transformers/all-MiniLM-L6-v2}, {@code
   * bge-small-en-v1.5}), where no folder is called so; those that are quantized have none.
   *
   * @param nameOrFolder {@code minilm}, {@code bge-small}, {@code e5-small}, each also with {@code
   *     -q}, {@code bge-small-zh}, or a folder
   * @return its description
   * @throws IOException as of {@link #folder}, or if it is neither
   */
  public static EmbeddingModelSpec of(String nameOrFolder) throws IOException {
    for (EmbeddingModelSpec spec : NAMED) {
      if (spec.name.equals(nameOrFolder)) {
        return spec;
      }
    }
    Path folder = Path.of(nameOrFolder);
    if (!Files.isDirectory(folder)) {
      for (EmbeddingModelSpec spec : NAMED) {
        String hub = spec.hubName();
        if (hub != null
            && (nameOrFolder.equalsIgnoreCase(hub)
                || nameOrFolder.equalsIgnoreCase(hub.substring(hub.indexOf('/') + 1)))) {
          return spec;
        }
      }
      throw new NoSuchFileException(
          nameOrFolder,
          null,
          "expected a folder, or one of the models "
              + NAMED
              + " (on the Hub "
              + NAMED.stream().map(EmbeddingModelSpec::hubName).filter(Objects::nonNull).toList()
              + ")");
    }
    return folder(folder);
  }

  /** Null of a quantized model. */
  private String hubName() {
    return switch (name) {
      case "minilm" -> "sentence-transformers/all-MiniLM-L6-v2";
      case "bge-small" -> "BAAI/bge-small-en-v1.5";
      case "bge-small-zh" -> "BAAI/bge-small-zh-v1.5";
      case "e5-small" -> "intfloat/e5-small-v2";
      default -> null;
    };
  }

  /**
   * {@return the Maven coordinates of a jar with the model, of a version that is known to have it;
   * null for a folder}
   */
  public String artifact() {
    return artifact;
  }

  /** {@return the models that have a name, unmodifiable} */
  public static List<EmbeddingModelSpec> named() {
    return NAMED;
  }

  /** {@return the name that {@link #of} finds it by} */
  public String name() {
    return name;
  }

  /**
   * {@return how the vectors of a text's tokens become one, before Dense layers and the division by
   * the L2 norm, where there are any; the results of several stand side by side}
   */
  public List<Pooling> poolings() {
    return described.pooling().poolings();
  }

  /**
   * {@return whether vectors have the length 1, so that the dot product of two is their cosine: the
   * last thing done is to divide by the L2 norm}
   */
  public boolean isNormalized() {
    List<ModelFolder.Step> steps = described.steps();
    return !steps.isEmpty() && steps.getLast() instanceof ModelFolder.Normalize;
  }

  /** What the folder says, apart from weights. */
  ModelFolder described() {
    return described;
  }

  /** {@return how the model's authors compare its vectors} */
  public Similarity similarity() {
    return described.use().similarity();
  }

  /**
   * {@return what {@link TextEmbedder} puts before a text of which nothing else is said; empty if
   * nothing}
   */
  public String defaultPrompt() {
    return described.use().defaultPrompt();
  }

  /**
   * {@return what belongs before a text that is searched for, and what {@link
   * TextEmbedder#embedQuery} puts there; empty if nothing}
   */
  public String queryPrefix() {
    return queryPrefix;
  }

  /**
   * {@return what belongs before a text that is found, and what {@link TextEmbedder#embedPassage}
   * puts there; empty if nothing}
   */
  public String passagePrefix() {
    return passagePrefix;
  }

  /**
   * Opens the ONNX file: a folder's is mapped, one in a jar, being compressed, is unpacked into the
   * arena's memory. No file is written.
   *
   * @param arena gets the memory
   * @return the model
   * @throws IOException if the file is missing, unreadable or no ONNX model
   */
  public OnnxFile openModel(Arena arena) throws IOException {
    Objects.requireNonNull(arena, "arena");
    if (isPacked() || isCheckpoint()) {
      throw new NoSuchFileException(
          folder.resolve(MODEL).toString(),
          null,
          isPacked()
              ? "the folder has packed weights instead"
              : "the folder has %s instead".formatted(model));
    }
    if (folder != null) {
      return OnnxFile.map(folder.resolve(model), arena);
    }
    URL url = resource(model);
    URLConnection connection = Resources.open(url);
    try (InputStream in = connection.getInputStream()) {
      long size = connection.getContentLengthLong();
      return OnnxFile.read(in, size >= 0 ? size : count(url), url.toString(), arena);
    }
  }

  private boolean isPacked() {
    return model.equals(PackedFile.NAME);
  }

  /** Whether config.json says what the weights are of; else a graph does, or has before packing. */
  boolean isCheckpoint() {
    return model.equals(Checkpoint.WEIGHTS)
        || model.equals(Checkpoint.INDEX)
        || isPacked() && Files.exists(folder.resolve(Checkpoint.CONFIG));
  }

  /**
   * Loads the encoder.
   *
   * @param arena gets its weights
   */
  TextEncoder encoder(GatunRuntime runtime, Arena arena, WeightFormat format) throws IOException {
    if (isCheckpoint()) {
      return Families.encoder(Checkpoint.open(folder, runtime, arena, format));
    }
    try (Arena reading = Arena.ofConfined()) {
      BertWeights weights = weights(arena, reading, format);
      if (weights.weights() instanceof PackedFile packed) {
        return encoder(runtime, weights, packed, arena, format);
      }
      return Bert.of(name, runtime, weights, arena, format);
    }
  }

  private TextEncoder encoder(
      GatunRuntime runtime,
      BertWeights weights,
      PackedFile packed,
      Arena arena,
      WeightFormat format)
      throws IOException {
    try {
      packed.requireKind(FolderInspection.Kind.EMBEDDER);
      TextEncoder encoder = Bert.of(name, runtime, weights, arena, format);
      packed.refuseUntaken();
      return encoder;
    } catch (IllegalArgumentException e) {
      throw new FileSystemException(packedFile().toString(), null, e.getMessage());
    }
  }

  /**
   * Reads sizes and weights of BERT and its like, as views where they can be.
   *
   * @param arena gets what is mapped and used where it lies
   * @param reading gets what is copied, and may be closed after that
   * @param format that they are to be had in
   */
  BertWeights weights(Arena arena, Arena reading, WeightFormat format) throws IOException {
    if (isCheckpoint()) {
      return Checkpoint.open(folder, null, arena, format).make(BertFiles::weights);
    }
    BertWeights weights =
        isPacked()
            ? PackedFile.map(folder.resolve(model), arena).encoder()
            : BertWeights.from(openModel(reading), reading, described.config());
    PackedFile.requireFormat(weights.weights(), format);
    return weights;
  }

  /**
   * Lists the products of the model, without packing or computing anything.
   *
   * @param format as of {@link TextEmbedder#load}: what weights were to become
   * @return the products of its layers and behind them, alike ones counted
   * @throws IOException if a file is missing, unreadable, or not what it should be
   * @throws IllegalArgumentException if the weights cannot be had in that format
   */
  public List<ModelProduct> products(WeightFormat format) throws IOException {
    Objects.requireNonNull(format, "format");
    try (Arena arena = Arena.ofConfined()) {
      return ModelProduct.of(weights(arena, arena, format), described.steps(), arena, format);
    }
  }

  /** The file with packed weights, or null if they are not. */
  Path packedFile() {
    return isPacked() ? folder.resolve(model) : null;
  }

  /** The folder of the model; null if it is in a jar. */
  Path folder() {
    return folder;
  }

  /** Copies tokenizer.json. */
  void copyTokenizer(Path to) throws IOException {
    try (InputStream in = Resources.open(resource(tokenizer)).getInputStream()) {
      Files.copy(in, to);
    }
  }

  /** What messages call tokenizer.json. */
  String tokenizerName() {
    return folder != null ? folder.resolve(tokenizer).toString() : tokenizer;
  }

  /**
   * Loads the tokenizer.
   *
   * @return a new one
   * @throws IOException if the file is missing, unreadable or no tokenizer, or if other files of
   *     the folder contradict it; the message names the file and its key
   * @throws dev.gatun.GatunException as of {@link Tokenizer#load(Path)}
   */
  public Tokenizer loadTokenizer() throws IOException {
    if (folder != null) {
      return Tokenizer.load(folder.resolve(tokenizer), described.tokenizer());
    }
    try (InputStream in = Resources.open(resource(tokenizer)).getInputStream()) {
      return Tokenizer.load(in.readAllBytes());
    }
  }

  private URL resource(String resource) throws IOException {
    URL url = Resources.find(resource);
    if (url == null) {
      throw new NoSuchFileException(
          resource, null, "not on the class path; add the jar %s to it".formatted(artifact));
    }
    return url;
  }

  /** For class loaders that do not tell the size. */
  private static long count(URL url) throws IOException {
    try (InputStream in = Resources.open(url).getInputStream()) {
      return in.transferTo(OutputStream.nullOutputStream());
    }
  }

  /** Returns the name. */
  @Override
  public String toString() {
    return name;
  }
}
