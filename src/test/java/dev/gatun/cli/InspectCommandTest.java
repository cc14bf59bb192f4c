package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.model.FolderInspection;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.support.ModelFolders;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InspectCommandTest {
  private static final int WIDTH = 8;
  private static final int VOCABULARY = 32;

  @TempDir private Path folder;

  private final Arena arena = Arena.ofConfined();
  private final Map<String, Tensor> weights = new TreeMap<>();

  @AfterEach
  void close() {
    arena.close();
  }

  private void copy(String resource, String file) throws IOException {
    try (InputStream in = InspectCommandTest.class.getResourceAsStream("/folders/" + resource)) {
      Files.copy(in, folder.resolve(file));
    }
  }

  private static String tokenizer() throws IOException {
    try (InputStream in = InspectCommandTest.class.getResourceAsStream("/folders/tokenizer.json")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private CliRun inspect(String... more) {
    String[] args = new String[more.length + 2];
    args[0] = "inspect";
    args[1] = folder.toString();
    System.arraycopy(more, 0, args, 2, more.length);
    return CliRun.run(args);
  }

  private Map<String, Object> object(int code) throws IOException {
    CliRun run = inspect("--json");
    assertEquals(code, run.code(), run.err());
    return JSON.std.mapFrom(run.out());
  }

  private void onnx() throws IOException {
    copy("bert.onnx", "model.onnx");
    copy("tokenizer.json", "tokenizer.json");
  }

  private void weight(String name, long... shape) {
    weights.put(name, Tensor.allocate(arena, DType.FLOAT32, shape));
  }

  private static final String BYTES =
      "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true,"
          + " \"use_regex\": true}";

  /** A decoder's: tokens are bytes. */
  private static String byteTokenizer() {
    return """
    {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
     "normalizer": null, "pre_tokenizer": %1$s, "post_processor": null, "decoder": %1$s,
     "model": {"type": "BPE", "dropout": null, "unk_token": null,
       "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
       "byte_fallback": false, "vocab": {"a": 0, "b": 1, "c": 2, "d": 3}, "merges": []}}
    """
        .formatted(BYTES);
  }

  /** A LLaMA of one layer, all of whose weights are 0. */
  private void llama(String... more) throws IOException {
    weight("model.embed_tokens.weight", VOCABULARY, WIDTH);
    weight("model.norm.weight", WIDTH);
    String layer = "model.layers.0.";
    for (String norm : List.of("input_layernorm", "post_attention_layernorm")) {
      weight(layer + norm + ".weight", WIDTH);
    }
    for (String part : List.of("q_proj", "k_proj", "v_proj", "o_proj")) {
      weight(layer + "self_attn." + part + ".weight", WIDTH, WIDTH);
    }
    weight(layer + "mlp.gate_proj.weight", 16, WIDTH);
    weight(layer + "mlp.up_proj.weight", 16, WIDTH);
    weight(layer + "mlp.down_proj.weight", WIDTH, 16);
    weight("lm_head.weight", VOCABULARY, WIDTH);
    for (String name : more) {
      weight(name, WIDTH);
    }
    ModelFolders.of(
            """
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8,
             "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
             "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 64,
             "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false,
             "eos_token_id": 3}
            """,
            weights)
        .shards(2)
        .tokenizer(byteTokenizer())
        .write(folder);
  }

  // ---- what loads

  @Test
  void onnxFolder() throws IOException {
    onnx();
    Files.writeString(folder.resolve("README.md"), "# A model");
    CliRun run = inspect();
    assertEquals(new CliRun(0, run.out(), ""), run);
    assertEquals(
        List.of(
            "family    unknown",
            "file      README.md           0.00 MB  not read",
            "file      model.onnx          0.0X MB  weights",
            "file      tokenizer.json      0.00 MB  tokenizer",
            "loads as  an embedder: 8 dimensions, max 64 tokens, pooling mean, similarity cosine,"
                + " length 1"),
        run.lines().stream().map(line -> line.replaceAll("0\\.0[1-9]", "0.0X")).toList());
    assertEquals(Set.of(Kind.EMBEDDER), FolderInspection.of(folder).kinds());
  }

  @Test
  @SuppressWarnings("unchecked")
  void decoderInShards() throws IOException {
    llama();
    Map<String, Object> object = object(0);
    assertEquals(
        List.of("folder", "family", "architectures", "files", "missing", "loads", "refusals"),
        List.copyOf(object.keySet()));
    assertEquals("llama", object.get("family"));
    assertEquals(List.of("LlamaForCausalLM"), object.get("architectures"));
    assertEquals(List.of(), object.get("missing"));
    Map<String, Object> loads = (Map<String, Object>) object.get("loads");
    assertEquals(
        Map.of("vocabulary", VOCABULARY, "positions", 64, "endTokens", List.of(3)),
        loads.get("language-model"));
    long elements = 0;
    for (Map<String, Object> file : (List<Map<String, Object>>) object.get("files")) {
      String name = (String) file.get("name");
      assertEquals(Files.size(folder.resolve(name)), ((Number) file.get("bytes")).longValue());
      if (name.endsWith(".safetensors")) {
        assertEquals("weights", file.get("use"));
        elements += ((Map<String, Integer>) file.get("tensors")).get("F32");
      }
    }
    assertEquals(weights.values().stream().mapToLong(Tensor::elements).sum(), elements);
    CliRun run = inspect();
    assertTrue(run.out().contains("family    llama (LlamaForCausalLM)\n"), run.out());
    assertTrue(
        run.out()
            .contains(
                "loads as  a language model: 32 tokens in the vocabulary, 64 positions, ends at"
                    + " [3]"),
        run.out());
    String packed = folder.resolve("packed").toString();
    CliRun packing = CliRun.run("pack", "--model", folder.toString(), "--out", packed, "--quiet");
    assertTrue(packing.out().contains(" as auto, language-model, "), packing.err());
    CliRun other = CliRun.run("inspect", packed);
    assertTrue(other.out().contains("model.gatun.safetensors      0.0"), other.out());
    assertTrue(other.out().contains("loads as  a language model: 32 tokens"), other.out());
  }

  // ---- what does not

  @Test
  void emptyFolder() throws IOException {
    CliRun run = inspect();
    assertEquals(2, run.code());
    assertEquals(1, run.complaints().lines().count());
    assertTrue(run.complaints().startsWith("gatun: not an embedder: " + folder), run.err());
    assertTrue(run.complaints().contains("; not a language model: "), run.err());
    assertTrue(run.out().contains("missing   weights: one of model.gatun.safetensors"), run.out());
    assertTrue(run.out().contains("missing   tokenizer.json: "), run.out());
    assertEquals(
        Set.of("embedder", "language-model"), ((Map<?, ?>) object(2).get("refusals")).keySet());
  }

  @Test
  void leftoverWeight() throws IOException {
    llama("model.layers.0.self_attn.q_norm.weight");
    CliRun run = inspect();
    assertEquals(2, run.code(), run.out());
    assertTrue(run.err().contains("q_norm"), run.err());
    assertTrue(!run.out().contains("loads as"), run.out());
  }

  @Test
  void unknownFamily() throws IOException {
    ModelFolders.of("{\"model_type\": \"perceiver\"}", Map.of())
        .with("a", Tensor.allocate(arena, DType.FLOAT32, 2))
        .tokenizer(tokenizer())
        .write(folder);
    CliRun run = inspect();
    assertEquals(2, run.code());
    assertTrue(run.out().startsWith("family    perceiver\n"), run.out());
    assertTrue(run.out().contains("weights, F32 x 2"), run.out());
    assertTrue(run.err().contains("model_type"), run.err());
    assertTrue(run.err().contains("albert"), run.err());
  }

  /** What the folder has is printed all the same. */
  @Test
  void unknownModule() throws IOException {
    onnx();
    Files.writeString(
        folder.resolve("modules.json"),
        "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"my.Transformer\"}]");
    CliRun run = inspect();
    assertEquals(2, run.code());
    assertTrue(run.out().contains("model.onnx"), run.out());
    assertTrue(run.err().contains("modules.json"), run.err());
    assertTrue(run.err().contains("my.Transformer"), run.err());
  }

  @Test
  void imagesNeedNoTokenizer() throws IOException {
    ModelFolders.of("{\"model_type\": \"vit\"}", Map.of())
        .with("a", Tensor.allocate(arena, DType.FLOAT32, 2))
        .write(folder);
    FolderInspection found = FolderInspection.of(folder);
    assertEquals(Set.of(Kind.IMAGE_CLASSIFIER), found.kinds());
    assertEquals(List.of(), found.missing());
    CliRun run = inspect();
    assertEquals(2, run.code());
    assertTrue(run.err().startsWith("gatun: not a classifier of images: "), run.err());
  }

  @Test
  void noFolder() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "");
    for (Path path : List.of(file, folder.resolve("none"))) {
      CliRun run = CliRun.run("inspect", path.toString());
      assertEquals(new CliRun(2, "", "gatun: DIR " + path + ": expected a folder\n"), run);
    }
    Files.writeString(folder.resolve("config.json"), "{");
    CliRun damaged = inspect();
    assertEquals(new CliRun(2, "", damaged.err()), damaged);
    assertTrue(damaged.err().contains("config.json"), damaged.err());
    assertEquals(2, CliRun.run("inspect").code());
  }
}
