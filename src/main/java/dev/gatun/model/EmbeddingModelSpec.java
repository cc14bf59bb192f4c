package dev.gatun.model;

import dev.gatun.internal.Resources;
import dev.gatun.io.OnnxFile;
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
import java.util.regex.Pattern;

/**
 * An embedding model: where its files are, and what its authors do with the encoder's output. All
 * divide the pooled vector by its L2 norm.
 *
 * <p>The models with a name come in jars of LangChain4j, which only have to be on the class path.
 * Any other BERT-family model is a folder with {@code model.onnx} and {@code tokenizer.json}.
 */
public final class EmbeddingModelSpec {

  /** all-MiniLM-L6-v2: 6 layers, 384 wide; the tokeniser cuts at 128 tokens. */
  public static final EmbeddingModelSpec MINILM =
      inJar("minilm", "all-minilm-l6-v2", "all-minilm-l6-v2", Pooling.MEAN, "", "");

  /** bge-small-en-v1.5: 12 layers, 384 wide. */
  public static final EmbeddingModelSpec BGE_SMALL =
      inJar("bge-small", "bge-small-en-v1.5", "bge-small-en-v15", Pooling.CLS, "", "");

  /** e5-small-v2: 12 layers, 384 wide; texts need a prefix. */
  public static final EmbeddingModelSpec E5_SMALL =
      inJar("e5-small", "e5-small-v2", "e5-small-v2", Pooling.MEAN, "query: ", "passage: ");

  private static final List<EmbeddingModelSpec> NAMED = List.of(MINILM, BGE_SMALL, E5_SMALL);

  private static final String MODEL = "model.onnx";
  private static final String TOKENIZER = "tokenizer.json";

  /** Of sentence-transformers. A flat object of numbers and booleans needs no JSON library. */
  private static final String POOLING = "1_Pooling/config.json";

  private static final Pattern POOLING_MODE =
      Pattern.compile("\"pooling_mode_(\\w+)\"\\s*:\\s*true");

  private final String name;

  /** The folder, or null for resources. */
  private final Path folder;

  private final String model;
  private final String tokenizer;
  private final String artifact;
  private final Pooling pooling;
  private final String queryPrefix;
  private final String passagePrefix;

  private EmbeddingModelSpec(
      String name,
      Path folder,
      String model,
      String tokenizer,
      String artifact,
      Pooling pooling,
      String queryPrefix,
      String passagePrefix) {
    this.name = name;
    this.folder = folder;
    this.model = model;
    this.tokenizer = tokenizer;
    this.artifact = artifact;
    this.pooling = pooling;
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
        pooling,
        queryPrefix,
        passagePrefix);
  }

  /**
   * Describes the model in a folder. It pools by the mean, unless {@code 1_Pooling/config.json} (of
   * sentence-transformers) says CLS.
   *
   * @param folder with {@code model.onnx} and {@code tokenizer.json}
   * @return its description
   * @throws IOException if one of the two is missing, or the folder asks for another way of pooling
   */
  public static EmbeddingModelSpec folder(Path folder) throws IOException {
    for (String file : List.of(MODEL, TOKENIZER)) {
      if (!Files.exists(folder.resolve(file))) {
        throw new NoSuchFileException(
            folder.resolve(file).toString(), null, "a model's folder has to have it");
      }
    }
    return new EmbeddingModelSpec(
        folder.toString(), folder, MODEL, TOKENIZER, null, pooling(folder), "", "");
  }

  private static Pooling pooling(Path folder) throws IOException {
    Path config = folder.resolve(POOLING);
    if (!Files.exists(config)) {
      return Pooling.MEAN;
    }
    List<String> modes =
        POOLING_MODE.matcher(Files.readString(config)).results().map(m -> m.group(1)).toList();
    return switch (String.join("+", modes)) {
      case "mean_tokens" -> Pooling.MEAN;
      case "cls_token" -> Pooling.CLS;
      default ->
          throw new FileSystemException(
              config.toString(), null, "expected mean_tokens or cls_token, got " + modes);
    };
  }

  /**
   * Finds a model.
   *
   * @param nameOrFolder {@code minilm}, {@code bge-small}, {@code e5-small}, or a folder
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
      throw new NoSuchFileException(
          nameOrFolder, null, "expected a folder, or one of the models " + NAMED);
    }
    return folder(folder);
  }

  /**
   * Returns the models that have a name.
   *
   * @return unmodifiable
   */
  public static List<EmbeddingModelSpec> named() {
    return NAMED;
  }

  /**
   * Returns the name.
   *
   * @return what {@link #of} finds it by
   */
  public String name() {
    return name;
  }

  /**
   * Returns how the vector of a text is made.
   *
   * @return to be followed by a division by the L2 norm
   */
  public Pooling pooling() {
    return pooling;
  }

  /**
   * Returns what the user has to put before a text that is searched for.
   *
   * @return empty if nothing
   */
  public String queryPrefix() {
    return queryPrefix;
  }

  /**
   * Returns what the user has to put before a text that is found.
   *
   * @return empty if nothing
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

  /**
   * Loads the tokeniser.
   *
   * @return a new one
   * @throws IOException if the file is missing, unreadable or no tokeniser
   * @throws dev.gatun.GatunException as of {@link Tokenizer#load(Path)}
   */
  public Tokenizer loadTokenizer() throws IOException {
    if (folder != null) {
      return Tokenizer.load(folder.resolve(tokenizer));
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
