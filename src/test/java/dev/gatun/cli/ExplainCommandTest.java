package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.AttentionPlan;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.GatunRuntime;
import dev.gatun.Tier;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class ExplainCommandTest {
  private static final String SHAPE = "2,8,4,300,500,64";

  private static CliRun explain(String shape, String... options) {
    List<String> args = new ArrayList<>(List.of("explain", "--shape", shape));
    args.addAll(List.of(options));
    CliRun result = CliRun.run(args.toArray(String[]::new));
    assertEquals(new CliRun(0, result.out(), ""), result);
    return result;
  }

  private static Map<String, Object> json(String shape, String... options) throws IOException {
    List<String> all = new ArrayList<>(List.of(options));
    all.add("--json");
    return JSON.std.mapFrom(explain(shape, all.toArray(String[]::new)).out());
  }

  @Test
  void text_hasAFactALine() {
    CliRun result = explain(SHAPE, "--tier", "portable", "--threads", "1", "--causal");
    assertEquals(
        """
        shape.batch       2
        shape.heads       8
        shape.kvHeads     4
        shape.seqQ        300
        shape.seqK        500
        shape.headDim     64
        causal            bottom-right
        layout            bshd
        tier              portable
        tierReason        --tier
        kernel            general
        threads           1
        """,
        result.out().lines().limit(12).map(line -> line + "\n").reduce("", String::concat));
    // 300 rows of which the first sees 201 keys and the last all 500
    assertTrue(
        result
            .out()
            .endsWith(
                "flops             %d%npredictedShare    unknown%n"
                    .formatted(2L * 2 * 8 * 128 * 300 * (201 + 500) / 2)),
        result.out());
  }

  @Test
  void json_saysTheSameAsText() throws IOException {
    Map<String, Object> facts = json(SHAPE, "--threads", "2");
    List<String> lines = explain(SHAPE, "--threads", "2").out().lines().toList();
    assertEquals(facts.size() - 1 + 6, lines.size());
    for (String line : lines) {
      Object value = facts;
      for (String key : line.split(" ")[0].split("\\.")) {
        value = ((Map<?, ?>) value).get(key);
      }
      assertEquals(
          value == null ? "unknown" : String.valueOf(value), line.replaceFirst("^\\S+ +", ""));
    }
  }

  /** Every word that is printed is explained, on lines that a terminal does not wrap. */
  @Test
  @SuppressWarnings("unchecked")
  void help_explainsWhatIsPrinted() throws IOException {
    String help = CliRun.run("explain", "--help").out();
    String glossary = help.substring(help.indexOf("What is printed:"));
    Set<String> facts = new LinkedHashSet<>(json(SHAPE).keySet());
    Map<String, Object> model = model();
    facts.addAll(model.keySet());
    facts.addAll(((Map<String, ?>) model.get("products")).keySet());
    facts.addAll(product(model, "first").keySet());
    for (String fact : facts) {
      assertTrue(glossary.matches("(?s).*\\b" + fact + "\\b.*"), fact);
    }
    for (AttentionPlan.Kernel kernel : AttentionPlan.Kernel.values()) {
      assertTrue(glossary.contains(kernel.toString()), kernel.toString());
    }
    for (AttentionPlan.Copies copies : AttentionPlan.Copies.values()) {
      assertTrue(glossary.contains(copies.toString()), copies.toString());
    }
    for (String word :
        List.of("task is", "block is", "tile is", "chain is", "split is", "lane is")) {
      assertTrue(glossary.contains(" a " + word) || glossary.contains("A " + word), word);
    }
    help.lines().forEach(line -> assertTrue(line.length() <= 110, line));
    assertTrue(help.endsWith("\n"));
  }

  @Test
  void json_isThePlan() throws IOException {
    for (Tier tier : Tier.values()) {
      if (!GatunRuntime.isAvailable(tier)) {
        continue;
      }
      Map<String, Object> facts =
          json(
              SHAPE,
              "--tier",
              tier.toString(),
              "--threads",
              "3",
              "--causal",
              "top-left",
              "--layout",
              "bhsd");
      AttentionPlan plan;
      try (GatunRuntime runtime = GatunRuntime.builder().threads(3).tier(tier).build()) {
        AttentionSpec spec = AttentionSpec.builder().causal(Causal.TOP_LEFT).build();
        plan = runtime.attention(spec).plan(2, 8, 4, 300, 500, 64, true);
      }
      assertEquals("top-left", facts.get("causal"));
      assertEquals("bhsd", facts.get("layout"));
      assertEquals(tier.toString(), facts.get("tier"));
      assertEquals(plan.kernel().toString(), facts.get("kernel"));
      assertEquals(3, facts.get("threads"));
      assertEquals(plan.tasks(), number(facts, "tasks"));
      assertEquals(plan.taskBlocks(), number(facts, "taskBlocks"));
      assertEquals(plan.taskLanes(), number(facts, "taskLanes"));
      assertEquals(plan.blockLanes(), number(facts, "blockLanes"));
      assertEquals(plan.tileKeys(), number(facts, "tileKeys"));
      assertEquals(plan.chainKeys(), number(facts, "chainKeys"));
      assertEquals(plan.splitKeys(), number(facts, "splitKeys"));
      assertEquals(plan.kvFitsL2(), facts.get("kvFitsL2"));
      assertEquals(plan.copies().toString(), facts.get("copies"));
      assertEquals(plan.keySplits(), number(facts, "keySplits"));
      assertEquals(plan.scratchBytes(), number(facts, "scratchBytes"));
      assertEquals(plan.workspaceBytes(), number(facts, "workspaceBytes"));
      assertEquals(plan.flops(), number(facts, "flops"));
      assertTrue(facts.containsKey("predictedShare"));
      if (plan.predictedShare().isPresent()) {
        double share = ((Number) facts.get("predictedShare")).doubleValue();
        assertEquals(plan.predictedShare().getAsDouble(), share, 0.0005);
      } else {
        assertNull(facts.get("predictedShare"));
      }
    }
  }

  // ---- models --------------------------------------------------------------------------------

  private static Map<String, Object> model(String... options) throws IOException {
    List<String> args = new ArrayList<>(List.of("explain", "--json"));
    args.addAll(List.of(options));
    CliRun result = CliRun.run(args.toArray(String[]::new));
    assertEquals(new CliRun(0, result.out(), ""), result);
    return JSON.std.mapFrom(result.out());
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> product(Map<String, Object> model, String name) {
    return (Map<String, Object>) ((Map<String, Object>) model.get("products")).get(name);
  }

  @Test
  void model_text() {
    CliRun result = CliRun.run("explain", "--tier", "portable", "--threads", "1");
    assertEquals(
        """
        model             minilm
        weights           auto
        weightsReason     never less precise than the file: float32 as fp32, bfloat16 as bf16,\
         float16 as fp16, int8 as int8
        tier              portable
        tierReason        --tier
        threads           1
        attention         products of floats by portable
        products.queryKeyValue.count 6
        products.queryKeyValue.in 384
        products.queryKeyValue.out 1152
        products.queryKeyValue.stored float32
        products.queryKeyValue.format fp32
        products.queryKeyValue.kernel products of floats by portable
        """,
        result.out().lines().limit(13).map(line -> line + "\n").reduce("", String::concat));
    assertEquals(7 + 4 * 6, result.out().lines().count(), result.out());
  }

  /** The model's own format, and one that is asked for. */
  @ParameterizedTest
  @CsvSource({
    "minilm, auto, float32, fp32",
    "minilm, view, float32, view",
    "minilm, bf16, float32, bf16",
    "minilm, int8, float32, int8",
    "minilm, q4_0, float32, q4_0",
    "minilm-q, auto, int8, int8",
    "minilm-q, int8, int8, int8"
  })
  void model_formats(String name, String weights, String stored, String format) throws IOException {
    Map<String, Object> model = model("--model", name, "--weights", weights);
    assertEquals(
        List.of("queryKeyValue", "output", "first", "second"),
        List.copyOf(((Map<?, ?>) model.get("products")).keySet()));
    for (String each : List.of("queryKeyValue", "output", "first", "second")) {
      Map<String, Object> product = product(model, each);
      assertEquals(stored, product.get("stored"));
      assertEquals(format, product.get("format"));
      assertEquals(6, product.get("count"));
    }
    assertEquals(1536, product(model, "second").get("in"));
    assertEquals(
        weights.equals("auto"), model.get("weightsReason").toString().contains("than the file"));
  }

  /** The words are those of info, and follow the CPU. */
  @Test
  void model_kernels() throws IOException {
    Map<String, Object> all = JSON.std.mapFrom(CliRun.run("info", "--json").out());
    Map<?, ?> info = (Map<?, ?>) all.get("weights");
    String attention =
        ((List<?>) all.get("features")).contains("avx512_bf16")
            ? "products of bfloat16 by avx512_bf16"
            : "products of floats by " + all.get("tier");
    Map<String, Object> auto = model();
    assertEquals(info.get("auto"), auto.get("weightsReason"));
    Map<String, Object> bf16 = model("--weights", "bf16");
    assertEquals(info.get("bf16"), product(bf16, "first").get("kernel"));
    assertEquals(attention, bf16.get("attention"));
    Map<String, Object> int8 = model("--weights", "int8");
    assertEquals(info.get("int8"), product(int8, "first").get("kernel"));
    assertEquals(attention, int8.get("attention"));
    assertEquals(
        "products of floats by OpenBLAS",
        product(model("--weights", "view"), "output").get("kernel"));
    Map<String, Object> portable = model("--weights", "int8", "--tier", "portable");
    assertEquals("products of integers by portable", product(portable, "first").get("kernel"));
  }

  /** What packing made of a file is what is said of it before. */
  @Test
  void model_packed(@TempDir Path folder) throws IOException {
    Path packed = folder.resolve("packed");
    assertEquals(
        0, CliRun.run("pack", "--weights", "bf16", "--out", packed.toString(), "--quiet").code());
    Map<String, Object> model = model("--model", packed.toString());
    assertEquals("packed", product(model, "first").get("stored"));
    for (String each : List.of("queryKeyValue", "output", "first", "second")) {
      Map<String, Object> before = product(model("--weights", "bf16"), each);
      before.put("stored", "packed");
      assertEquals(before, product(model, each));
    }
  }

  private static long number(Map<String, Object> facts, String name) {
    return ((Number) facts.get(name)).longValue();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ' ',
      value = {"1,32,8,1,4096,128 decode", "1,32,8,5,4096,128 general", "1,4,4,5,17,48 general"})
  void kernel(String shape, String kernel) throws IOException {
    assertEquals(kernel, json(shape).get("kernel"));
  }

  @Test
  void sizesAtTheirBounds() throws IOException {
    double most = Integer.MAX_VALUE;
    for (String layout : List.of("bshd", "bhsd")) {
      Map<String, Object> none = json("0,1,1,0,0,1", "--threads", "1", "--layout", layout);
      assertEquals(0, number(none, "tasks"));
      assertEquals(0, number(none, "flops"));
      assertNull(none.get("predictedShare"));
      Map<String, Object> all =
          json("1,1,1,2147483647,2147483647,512", "--threads", "1", "--layout", layout);
      assertEquals(4 * most * most * 512, ((Number) all.get("flops")).doubleValue());
    }
  }

  static Stream<Arguments> refusals() {
    String option = "'--shape': ";
    return Stream.of(
        refusal("--causal: expected none without --shape", "--causal"),
        refusal("--layout: expected none without --shape", "--layout", "bhsd"),
        refusal("--model: expected none with --shape", "--shape", SHAPE, "--model", "minilm"),
        refusal("--weights: expected none with --shape", "--shape", SHAPE, "--weights", "auto"),
        refusal(
            "--class-path: expected none with --shape", "--shape", SHAPE, "--class-path", "models"),
        refusal(
            "--weights: format: expected AUTO or INT8", "--model", "minilm-q", "--weights", "bf16"),
        refusal("--model /nowhere", "--model", "/nowhere"),
        refusal("got 'int7'", "--weights", "int7"),
        refusal("--shape", "--shape"),
        refusal(option + "expected six whole numbers", "--shape", ""),
        refusal("got '1,2,3'", "--shape", "1,2,3"),
        refusal("got '1,1,1,8,8,8,8'", "--shape", "1,1,1,8,8,8,8"),
        refusal("got '1,1,1,8,8,-8'", "--shape", "1,1,1,8,8,-8"),
        refusal("got '1,1,1,8,8,8.0'", "--shape", "1,1,1,8,8,8.0"),
        refusal("got '1, 1,1,8,8,8'", "--shape", "1, 1,1,8,8,8"),
        refusal("got '1,1,1,8,8,9999999999999999999'", "--shape", "1,1,1,8,8,9999999999999999999"),
        refusal(option + "expected heads in 1 .. 2147483647, got 0", "--shape", "1,0,1,8,8,8"),
        refusal("expected kvHeads in 1 .. 2147483647, got 0", "--shape", "1,1,0,8,8,8"),
        refusal(
            "expected seqK in 0 .. 2147483647, got 2147483648", "--shape", "1,1,1,8,2147483648,8"),
        refusal("expected headDim in 1 .. 512, got 513", "--shape", "1,1,1,8,8,513"),
        refusal("expected kvHeads that divide the 8 heads, got 3", "--shape", "1,8,3,8,8,8"),
        refusal(
            "--shape 2147483647,1,1,2147483647,1,512: ",
            "--shape",
            "2147483647,1,1,2147483647,1,512"),
        refusal(
            "--shape 2147483647,1,1,1073741824,1,1: ", "--shape", "2147483647,1,1,1073741824,1,1"),
        refusal(
            "expected one of bottom-right, top-left, got 'left'",
            "--shape",
            SHAPE,
            "--causal",
            "left"),
        refusal("expected one of bhsd, bshd, got 'x'", "--shape", SHAPE, "--layout", "x"),
        refusal("expected 1 .. 1024, got '0'", "--shape", SHAPE, "--threads", "0"),
        refusal("got 'sse2'", "--shape", SHAPE, "--tier", "sse2"),
        refusal("--jsonx", "--shape", SHAPE, "--jsonx"));
  }

  private static Arguments refusal(String expected, String... options) {
    return Arguments.of(expected, options);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("refusals")
  void refusal_isOneLine(String expected, String[] options) {
    CliRun result =
        CliRun.run(Stream.concat(Stream.of("explain"), Stream.of(options)).toArray(String[]::new));
    assertEquals(2, result.code(), result.out());
    assertEquals("", result.out());
    assertEquals(1, result.err().lines().count(), result.err());
    assertTrue(result.err().startsWith("gatun: "), result.err());
    assertTrue(result.err().contains(expected), result.err());
  }

  @Test
  void refusal_tierThatTheCpuLacks() {
    for (Tier tier : Tier.values()) {
      if (!GatunRuntime.isAvailable(tier)) {
        CliRun result = CliRun.run("explain", "--shape", SHAPE, "--tier", tier.toString());
        assertEquals(2, result.code());
        assertEquals("", result.out());
        assertTrue(result.err().contains(tier.toString()), result.err());
      }
    }
  }
}
