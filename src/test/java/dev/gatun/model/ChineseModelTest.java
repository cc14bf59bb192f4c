package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.internal.HuggingFace;
import dev.gatun.nn.Sequences;
import dev.gatun.nn.TextEncoder;
import dev.gatun.support.WordPiece;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** bge-small-zh-v1.5, Chinese: its own tokenizer, other sizes than the English models have. */
class ChineseModelTest {

  private static final String[] PARTS = {
    "一只猫正在阳光下睡觉。",
    "央行加息后，股价大幅下跌",
    "如何退还商品？",
    "《红楼梦》是清代作家曹雪芹创作的长篇小说，",
    "我们在 2024 年 3 月 15 日发布了 v1.5 版本；",
    "GPU 显存 24GB、CPU 8 核，",
    "Transformer 模型",
    "the quick brown fox",
    "MiXeD Case",
    "北京→上海（G7 次列车）¥553.5",
    "繁體中文：臺灣、香港",
    "こんにちは世界",
    "naïve café Ünïcödé",
    "🙂😀",
    "𠮷野家",
    "１２３ＡＢＣ",
    " \t\n",
    "[MASK]",
    "！？……——「」",
    "ａ̈ e\u0301"
  };

  private static GatunRuntime runtime;
  private static TextEmbedder model;
  private static byte[] json;

  @BeforeAll
  static void load() throws IOException {
    runtime = GatunRuntime.builder().threads(2).build();
    model = TextEmbedder.load(runtime, EmbeddingModelSpec.BGE_SMALL_ZH);
    try (InputStream in =
        ChineseModelTest.class
            .getClassLoader()
            .getResourceAsStream("bge-small-zh-v1.5-tokenizer.json")) {
      json = in.readAllBytes();
    }
  }

  @AfterAll
  static void close() {
    model.close();
    runtime.close();
  }

  private static List<String> texts(int count) {
    Random random = new Random(18);
    List<String> texts = new ArrayList<>(List.of(PARTS));
    texts.add("");
    while (texts.size() < count) {
      StringBuilder text = new StringBuilder();
      for (int n = random.nextInt(12); n >= 0; n--) {
        String part = PARTS[random.nextInt(PARTS.length)];
        int end = part.offsetByCodePoints(0, random.nextInt(part.codePointCount(0, part.length())));
        text.append(random.nextBoolean() ? part : part.substring(end)); // whole characters
        text.appendCodePoint(0x4e00 + random.nextInt(0x51a5));
      }
      texts.add(text.toString());
    }
    return texts;
  }

  /** Bounds between those of BertEncoderTest, which has random ids: both sides round in float. */
  @Test
  void isOnnxRuntime() throws IOException, OrtException {
    assertEquals(512, model.dimension());
    assertEquals(512, model.maxTokens());
    List<String> texts = texts(30);
    List<Tokenized> tokens = texts.stream().map(model::tokenize).toList();
    double most = 0;
    double squares = 0;
    long elements = 0;
    try (OnnxBert theirs = new OnnxBert(EmbeddingModelSpec.BGE_SMALL_ZH, 2);
        Arena arena = Arena.ofShared()) {
      TextEncoder encoder = model.encoder().textEncoder();
      Tensor vectors = Tensor.allocate(arena, DType.FLOAT32, texts.size(), 512);
      model.embed(tokens, vectors);
      for (int n = 0; n < texts.size(); n++) {
        int[] ids = tokens.get(n).ids();
        float[] want = theirs.hidden(ids)[0];
        Tensor hidden = Tensor.allocate(arena, DType.FLOAT32, ids.length, 512);
        encoder.forward(
            Tensor.copyOf(arena, ids, ids.length),
            Sequences.ragged(Tensor.copyOf(arena, new int[] {0, ids.length}, 2)),
            hidden);
        float[] got = hidden.toFloatArray();
        for (int i = 0; i < want.length; i++) {
          double error = (double) want[i] - got[i];
          most = Math.max(most, Math.abs(error));
          squares += error * error;
        }
        elements += want.length;
        float[] vector = vectors.select(0, n).toFloatArray();
        double cosine = cosine(vector, Arrays.copyOf(want, 512));
        assertTrue(cosine >= 0.999999, texts.get(n) + ": " + cosine);
      }
    }
    double mean = Math.sqrt(squares / elements);
    System.out.printf(
        "bge-small-zh, texts: differs from ONNX Runtime by at most %.1e, root mean square %.2e%n",
        most, mean);
    assertTrue(most <= 2e-5 && mean <= 1e-6, most + ", root mean square " + mean);
  }

  private static double cosine(float[] a, float[] b) {
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < a.length; i++) {
      dot += (double) a[i] * b[i];
      aa += (double) a[i] * a[i];
      bb += (double) b[i] * b[i];
    }
    return dot / Math.sqrt(aa * bb);
  }

  /** The file keeps letters and accents as they are, unlike those of the English models. */
  @Test
  void tokenizer() {
    WordPiece reference = new WordPiece(json);
    assertEquals(21128, reference.size());
    long library = HuggingFace.create(new String(json, StandardCharsets.UTF_8));
    try {
      for (String text : texts(500)) {
        int[] ids = model.tokenize(text).ids();
        assertArrayEquals(reference.encode(text), ids, text);
        long encoding = HuggingFace.encode(library, text);
        long[] theirs = HuggingFace.ids(encoding);
        HuggingFace.deleteEncoding(encoding);
        assertArrayEquals(theirs, Arrays.stream(ids).asLongStream().toArray(), text);
      }
    } finally {
      HuggingFace.delete(library);
    }
    // of BERT's Chinese vocabulary
    assertArrayEquals(new int[] {101, 671, 1372, 4344, 102}, model.tokenize("一只猫").ids());
  }

  @Test
  void meaning() {
    float[] question = model.embed("我想退货，应该怎么做？");
    double fits = cosine(question, model.embed("退换货流程：请在七天内联系客服申请退款。"));
    for (String other : List.of("今天的天气非常好。", "股市今日大幅下跌。", "这只猫喜欢睡觉。")) {
      double less = cosine(question, model.embed(other));
      assertTrue(fits > less + 0.1, other + ": " + less + ", not less than " + fits);
    }
  }
}
