package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.Sampling;
import dev.gatun.nn.Sequences;
import dev.gatun.support.ModelFolders;
import dev.gatun.support.TokenizerFiles;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Texts of random models in Hugging Face's layout, with tokenizers of the kinds that there are. */
class LanguageModelFoldersTest {
  private static final int WIDTH = 24;
  private static final int HEADS = 3;
  private static final int KV_HEADS = 1;
  private static final int HEAD_SIZE = 8;
  private static final int HIDDEN = 32;
  private static final int LAYERS = 2;
  private static final int POSITIONS = 64;

  private static final Sampling DRAWN = new Sampling(1.2, 0, 1, 11);

  /** What a folder says of its tokens, and a model that they fit. */
  private enum Kind {
    /** Byte-level BPE without a beginning, with added tokens that are no special ones. */
    BYTE_LEVEL(
        "qwen2", TokenizerFiles.modernBert(), 29, "{\"type\":\"ByteLevel\"%s}", "", "the cat  sat"),
    /** BPE with tokens of bytes, and a token of the beginning. */
    SENTENCE_PIECE(
        "llama",
        TokenizerFiles.llama2(),
        35,
        "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},"
            + "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
            + "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
        "\"bos_token_id\": 1,",
        "the bat"),
    /** Unigram between words. */
    METASPACE(
        "llama",
        TokenizerFiles.albert().replaceFirst("\"special\":false", "\"special\":true"),
        22,
        "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\","
            + "\"split\":true}",
        "\"bos_token_id\": 0,",
        "the cat a"),
    /** The same with a beginning that is no special token, and so text. */
    PLAIN_BEGINNING(
        "llama",
        TokenizerFiles.albert(),
        22,
        "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\","
            + "\"split\":true}",
        "\"bos_token_id\": 0,",
        "the cat a");

    final String type;
    final String tokenizer;
    final int vocabulary;
    final String more;
    final String prompt;

    Kind(
        String type, String tokenizer, int vocabulary, String decoder, String more, String prompt) {
      this.type = type;
      this.tokenizer =
          decoding(
              tokenizer,
              decoder.formatted(
                  ",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true"));
      this.vocabulary = vocabulary;
      this.more = more;
      this.prompt = prompt;
    }
  }

  @TempDir Path folder;

  private final GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void close() {
    runtime.close();
    arena.close();
  }

  private static String decoding(String tokenizer, String decoder) {
    return tokenizer.replace("\"decoder\":null", "\"decoder\":" + decoder);
  }

  // ---- folders ---------------------------------------------------------------------------------

  private Path write(Kind kind) throws IOException {
    return write(kind, kind.tokenizer, kind.more);
  }

  private Path write(Kind kind, String tokenizer, String more) throws IOException {
    Random random = new Random(3);
    Map<String, Tensor> weights = new HashMap<>();
    weights.put("model.embed_tokens.weight", normal(random, kind.vocabulary, WIDTH));
    weights.put("model.norm.weight", normal(random, WIDTH));
    for (int n = 0; n < LAYERS; n++) {
      String layer = "model.layers." + n + ".";
      weights.put(layer + "input_layernorm.weight", normal(random, WIDTH));
      weights.put(layer + "post_attention_layernorm.weight", normal(random, WIDTH));
      int queries = HEADS * HEAD_SIZE;
      int keys = KV_HEADS * HEAD_SIZE;
      projection(random, weights, kind, layer + "self_attn.q_proj", queries);
      projection(random, weights, kind, layer + "self_attn.k_proj", keys);
      projection(random, weights, kind, layer + "self_attn.v_proj", keys);
      weights.put(layer + "self_attn.o_proj.weight", normal(random, WIDTH, queries));
      weights.put(layer + "mlp.gate_proj.weight", normal(random, HIDDEN, WIDTH));
      weights.put(layer + "mlp.up_proj.weight", normal(random, HIDDEN, WIDTH));
      weights.put(layer + "mlp.down_proj.weight", normal(random, WIDTH, HIDDEN));
    }
    String config =
        ("{\"model_type\": \"%s\", %s \"hidden_size\": %d, \"num_hidden_layers\": %d,"
                + " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d,"
                + " \"intermediate_size\": %d, \"vocab_size\": %d, \"rms_norm_eps\": 1e-6,"
                + " \"tie_word_embeddings\": true, \"max_position_embeddings\": %d}")
            .formatted(
                kind.type,
                more,
                WIDTH,
                LAYERS,
                HEADS,
                KV_HEADS,
                HEAD_SIZE,
                HIDDEN,
                kind.vocabulary,
                POSITIONS);
    return ModelFolders.of(config, weights).tokenizer(tokenizer).write(folder);
  }

  private void projection(
      Random random, Map<String, Tensor> weights, Kind kind, String name, int rows) {
    weights.put(name + ".weight", normal(random, rows, WIDTH));
    if (kind.type.equals("qwen2")) {
      weights.put(name + ".bias", normal(random, rows));
    }
  }

  private Tensor normal(Random random, long... shape) {
    long count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    float[] values = new float[(int) count];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() * 0.5f;
    }
    return Tensor.copyOf(arena, values, shape);
  }

  private LanguageModel load() throws IOException {
    return LanguageModel.load(runtime, folder);
  }

  private Tokenizer tokenizer() throws IOException {
    return Tokenizer.load(folder.resolve("tokenizer.json"));
  }

  // ---- texts -----------------------------------------------------------------------------------

  /** The best of the scores that the whole text gets anew for each token. */
  private List<Integer> greedy(LanguageModel model, int[] prompt, int count) {
    List<Integer> tokens = new ArrayList<>();
    int[] ids = prompt;
    for (int n = 0; n < count; n++) {
      float[] scores = scores(model, ids);
      int best = 0;
      for (int i = 1; i < scores.length; i++) {
        best = scores[i] > scores[best] ? i : best;
      }
      tokens.add(best);
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = best;
    }
    return tokens;
  }

  private float[] scores(LanguageModel model, int[] ids) {
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, 1, model.decoder().vocabulary());
    DecoderState state = model.decoder().newState(arena, 1, ids.length);
    model.decoder().next(null, state, Tensor.copyOf(arena, ids, 1, ids.length), null, logits);
    return logits.toFloatArray();
  }

  @ParameterizedTest
  @EnumSource
  void equalsGreedyByHand(Kind kind) throws IOException {
    write(kind);
    try (LanguageModel model = load()) {
      int[] prompt = tokenizer().encode(kind.prompt).ids();
      assertArrayEquals(prompt, model.tokenize(kind.prompt));
      Generation got = model.generate(kind.prompt, GenerationOptions.of(12));
      assertEquals(greedy(model, prompt, 12), got.tokens());
      assertEquals(Generation.Reason.LENGTH, got.reason());
      assertEquals(prompt.length, got.promptTokens());
    }
  }

  /** As the library decodes prompt and text, without the prompt; and a beginning as a whole. */
  @ParameterizedTest
  @EnumSource
  void piecesAreTheDecodedText(Kind kind) throws IOException {
    write(kind);
    try (LanguageModel model = load()) {
      for (String prompt : kind.more.isEmpty() ? List.of(kind.prompt) : List.of(kind.prompt, "")) {
        for (int seed = 0; seed < 40; seed++) {
          GenerationOptions options =
              GenerationOptions.of(30).withSampling(new Sampling(1.5, 0, 1, seed));
          List<String> pieces = new ArrayList<>();
          Generation got = model.generate(prompt, options, pieces::add);
          int[] before = model.tokenize(prompt);
          int[] all = Arrays.copyOf(before, before.length + got.tokens().size());
          for (int n = 0; n < got.tokens().size(); n++) {
            all[before.length + n] = got.tokens().get(n);
          }
          String start = tokenizer().decode(before, true);
          String whole = tokenizer().decode(all, true);
          assertTrue(whole.startsWith(start), whole);
          assertEquals(whole.substring(start.length()), got.text(), got.tokens().toString());
          assertEquals(got.text(), String.join("", pieces));
          assertTrue(pieces.stream().noneMatch(String::isEmpty));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void stopStringsEnd(Kind kind) throws IOException {
    write(kind);
    try (LanguageModel model = load()) {
      GenerationOptions options = GenerationOptions.of(40).withSampling(DRAWN);
      String text = model.generate(kind.prompt, options).text();
      assertTrue(text.length() > 10, text);
      for (int from = 0; from + 3 < text.length(); from += 4) {
        String stop = text.substring(from, from + 3);
        List<String> pieces = new ArrayList<>();
        Generation got = model.generate(kind.prompt, options.withStops(stop), pieces::add);
        assertEquals(text.substring(0, text.indexOf(stop)), got.text());
        assertEquals(got.text(), String.join("", pieces));
        assertEquals(Generation.Reason.STOP_STRING, got.reason());
      }
    }
  }

  /** Token for token, and bit for bit where weights are packed. */
  @ParameterizedTest
  @EnumSource
  void promptsTogetherAreAsAlone(Kind kind) throws IOException {
    write(kind);
    List<String> prompts = List.of("a", kind.prompt, "b a the", kind.prompt + " b", "a");
    for (WeightFormat format : List.of(WeightFormat.FP32, WeightFormat.BF16, WeightFormat.INT8)) {
      try (LanguageModel model = LanguageModel.load(runtime, folder, format)) {
        for (Sampling sampling : List.of(Sampling.greedy(), DRAWN)) {
          GenerationOptions options =
              GenerationOptions.of(20).withSampling(sampling).withStops("e", "s");
          List<Generation> together = model.generate(prompts, options);
          for (int n = 0; n < prompts.size(); n++) {
            Generation alone = model.generate(prompts.get(n), options);
            assertEquals(alone.tokens(), together.get(n).tokens(), prompts.get(n));
            assertEquals(alone.text(), together.get(n).text());
            assertEquals(alone.reason(), together.get(n).reason());
          }
        }
        scoresTogetherAreAsAlone(model, prompts);
      }
    }
  }

  private void scoresTogetherAreAsAlone(LanguageModel model, List<String> prompts) {
    int[] ends = new int[prompts.size() + 1];
    int[] all = {};
    for (int n = 0; n < prompts.size(); n++) {
      int[] ids = model.tokenize(prompts.get(n));
      ends[n + 1] = ends[n] + ids.length;
      all = Arrays.copyOf(all, ends[n + 1]);
      System.arraycopy(ids, 0, all, ends[n], ids.length);
    }
    int width = model.decoder().vocabulary();
    Tensor logits = Tensor.allocate(arena, DType.FLOAT32, prompts.size(), width);
    model
        .decoder()
        .next(
            null,
            model.decoder().newState(arena, prompts.size(), POSITIONS),
            Tensor.copyOf(arena, all, all.length),
            Sequences.ragged(Tensor.copyOf(arena, ends, ends.length)),
            logits);
    float[] together = logits.toFloatArray();
    for (int n = 0; n < prompts.size(); n++) {
      assertArrayEquals(
          scores(model, model.tokenize(prompts.get(n))),
          Arrays.copyOfRange(together, n * width, (n + 1) * width),
          prompts.get(n));
    }
  }

  /** A fork goes on as the whole text does, and so does what it was forked from. */
  @ParameterizedTest
  @EnumSource
  void sessionsFork(Kind kind) throws IOException {
    write(kind);
    try (LanguageModel model = load();
        Session session = model.newSession()) {
      Generation first = session.generate(kind.prompt, GenerationOptions.of(6));
      List<Integer> ids = new ArrayList<>();
      Arrays.stream(model.tokenize(kind.prompt)).forEach(ids::add);
      ids.addAll(first.tokens());
      assertEquals(ids.size(), session.length());
      try (Session fork = session.fork();
          Session other = session.fork()) {
        other.generate("b b b", GenerationOptions.of(5));
        Generation second = fork.generate(" a", GenerationOptions.of(6));
        assertEquals(second.tokens(), session.generate(" a", GenerationOptions.of(6)).tokens());
        int[] more = model.encode(" a", false, POSITIONS);
        assertEquals(second.promptTokens(), more.length);
        Arrays.stream(more).forEach(ids::add);
        int[] whole = ids.stream().mapToInt(Integer::intValue).toArray();
        assertEquals(greedy(model, whole, 6), second.tokens());
      }
    }
  }

  // ---- ends ------------------------------------------------------------------------------------

  /** generation_config.json, or else config.json; a number, or a list of some. */
  @Test
  void endTokens() throws IOException {
    Kind kind = Kind.BYTE_LEVEL;
    write(kind);
    List<Integer> all;
    try (LanguageModel model = load()) {
      assertEquals(List.of(), model.endTokens());
      all = model.generate(kind.prompt, drawn()).tokens();
    }
    int end = all.get(5);
    int other = all.get(9);
    write(kind, kind.tokenizer, "\"eos_token_id\": %d,".formatted(end));
    ends(all, end);
    write(kind, kind.tokenizer, "\"eos_token_id\": [%d, %d],".formatted(other, end));
    ends(all, other, end);
    Path generation = folder.resolve("generation_config.json");
    Files.writeString(generation, "{\"eos_token_id\": %d, \"top_k\": 3}".formatted(other));
    ends(all, other);
    Files.writeString(generation, "{\"eos_token_id\": [%d, %d]}".formatted(end, other));
    ends(all, end, other);
    Files.writeString(generation, "{\"eos_token_id\": null}");
    ends(all, other, end);
    for (String wrong : List.of("-1", "\"2\"", "[1.5]", "[[1]]", "{}")) {
      Files.writeString(generation, "{\"eos_token_id\": %s}".formatted(wrong));
      refused("generation_config.json: eos_token_id");
    }
  }

  private static GenerationOptions drawn() {
    return GenerationOptions.of(30).withSampling(DRAWN);
  }

  private void ends(List<Integer> all, Integer... ends) throws IOException {
    try (LanguageModel model = load()) {
      assertEquals(List.of(ends), model.endTokens());
      int first = all.size();
      for (int end : ends) {
        first = Math.min(first, all.indexOf(end));
      }
      Generation got = model.generate(Kind.BYTE_LEVEL.prompt, drawn());
      assertEquals(all.subList(0, first + 1), got.tokens());
      assertEquals(Generation.Reason.END_TOKEN, got.reason());
      int[] before = got.tokens().stream().limit(first).mapToInt(Integer::intValue).toArray();
      assertEquals(tokenizer().decode(before, true), got.text(), "not the end token's text");
    }
  }

  // ---- refusals --------------------------------------------------------------------------------

  private void refused(String message) {
    IOException e = assertThrows(IOException.class, () -> load().close());
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void whatIsNotUnderstoodIsRefused() throws IOException {
    Kind kind = Kind.SENTENCE_PIECE;
    write(kind);
    Path file = folder.resolve("tokenizer.json");
    for (String[] wrong :
        new String[][] {
          {
            "null", "decoder: expected ByteLevel, Metaspace, or Replace with ByteFallback, got none"
          },
          {"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "got [WordPiece]"},
          {"{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "got [BPEDecoder]"},
          {
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}",
            "▁ replaced by a space"
          },
          {
            "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
                + "\"▁\"},\"content\":\" \"},{\"type\":\"Strip\",\"content\":\" \",\"start\":2,"
                + "\"stop\":0}]}",
            "one space taken away at the start"
          },
          {
            "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\","
                + "\"split\":true}",
            "replacement: expected ▁"
          }
        }) {
      Files.writeString(file, decoding(TokenizerFiles.llama2(), wrong[0]));
      refused("tokenizer.json: ");
      refused(wrong[1]);
    }
    Files.delete(file);
    refused("tokenizer.json");
    write(Kind.METASPACE, Kind.BYTE_LEVEL.tokenizer, "");
    refused("expected token ids of 0 .. 21, the rows of the model's embeddings, got 28");
  }

  @Test
  void encodersAreRefused() throws IOException {
    write(Kind.BYTE_LEVEL);
    Path config = folder.resolve("config.json");
    Files.writeString(config, Files.readString(config).replace("qwen2", "bert"));
    refused("config.json: model_type: expected one of gemma, gemma2");
    Files.delete(folder.resolve("tokenizer.json"));
    refused("config.json: model_type: expected one of gemma, gemma2");
  }

  // ---- chat models -----------------------------------------------------------------------------

  /** A template is not applied, and does not stand in the way of prompts. */
  @Test
  void chatTemplatesAreLeftAlone() throws IOException {
    Kind kind = Kind.BYTE_LEVEL;
    write(kind);
    Generation plain;
    try (LanguageModel model = load()) {
      plain = model.generate(kind.prompt, drawn());
    }
    String template = "{% for message in messages %}<|im_start|>{{ message.role }}{% endfor %}";
    Files.writeString(
        folder.resolve("tokenizer_config.json"), "{\"chat_template\": \"" + template + "\"}");
    Files.writeString(folder.resolve("chat_template.jinja"), template);
    try (LanguageModel model = load()) {
      assertEquals(plain.tokens(), model.generate(kind.prompt, drawn()).tokens());
      // What a template would have written is a special token, not its letters.
      assertArrayEquals(new int[] {26, 9, 26}, model.tokenize("[MASK]a[MASK]"));
    }
  }
}
