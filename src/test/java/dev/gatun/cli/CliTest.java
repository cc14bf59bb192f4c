package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.Tier;
import dev.gatun.io.Npy;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** What all commands refuse, and the small ones. */
class CliTest extends AttendFiles {
  // ---- attend

  static Stream<Arguments> refusals() {
    return Stream.of(
        refusal("no command", "no command given"),
        refusal("unknown command", "nosuch", "nosuch"),
        refusal("unknown option", "--nosuch", "--nosuch"),
        refusal("unknown command for help", "nosuch", "help", "nosuch"),
        refusal("info: unknown option", "--nosuch", "info", "--nosuch"),
        refusal("info: an argument", "more", "info", "more"),
        refusal("verify: seed", "--seed", "verify", "--seed", "x"),
        refusal("verify: threads 0", "expected 1 .. 1024, got '0'", "verify", "--threads", "0"),
        refusal("verify: an argument", "more", "verify", "more"),
        refusal("attend: no options", "--q", "attend"),
        attendRefusal("option without value", "--scale", "--scale"),
        attendRefusal("option twice", "--causal", "--causal", "top-left", "--causal", "top-left"),
        attendRefusal("an argument", "'more'", "more"),
        attendRefusal("unknown option", "--nosuch", "--nosuch"),
        attendRefusal(
            "causal: none of two words", "bottom-right, top-left, got 'left'", "--causal", "left"),
        attendRefusal("causal: capitals", "got 'TOP_LEFT'", "--causal", "TOP_LEFT"),
        attendRefusal("layout", "bhsd, bshd, got 'sbhd'", "--layout", "sbhd"),
        attendRefusal("tier", "avx2, avx512, neon, portable, got 'sse2'", "--tier", "sse2"),
        attendRefusal("scale: text", "finite decimal number, got 'x'", "--scale", "x"),
        attendRefusal("scale: empty", "finite decimal number, got ''", "--scale", ""),
        attendRefusal("scale: NaN", "finite decimal number, got 'NaN'", "--scale", "NaN"),
        attendRefusal("scale: infinite", "finite decimal number, got 'inf'", "--scale", "inf"),
        attendRefusal(
            "scale: Infinity", "finite decimal number, got '-Infinity'", "--scale", "-Infinity"),
        attendRefusal("scale: Java suffix", "finite decimal number, got '1f'", "--scale", "1f"),
        attendRefusal(
            "scale: hexadecimal", "finite decimal number, got '0x1p3'", "--scale", "0x1p3"),
        attendRefusal(
            "scale: over float32", "within the range of float32, got '1e39'", "--scale", "1e39"),
        attendRefusal(
            "scale: over double", "within the range of float32, got '1e999'", "--scale", "1e999"),
        attendRefusal(
            "scale: under float32", "within the range of float32, got '1e-50'", "--scale", "1e-50"),
        attendRefusal("threads: 0", "expected 1 .. 1024, got '0'", "--threads", "0"),
        attendRefusal("threads: negative", "expected 1 .. 1024, got '-1'", "--threads", "-1"),
        attendRefusal("threads: too many", "expected 1 .. 1024, got '1025'", "--threads", "1025"),
        attendRefusal("threads: text", "expected 1 .. 1024, got '2.0'", "--threads", "2.0"),
        attendRefusal("threads: overflow", "got '4294967297'", "--threads", "4294967297"),
        attendRefusal("tolerance: negative", "got '-1'", "--expect", "q.npy", "--tolerance", "-1"),
        attendRefusal("tolerance: text", "got 'x'", "--expect", "q.npy", "--tolerance", "x"),
        attendRefusal(
            "tolerance: infinite", "got '1e999'", "--expect", "q.npy", "--tolerance", "1e999"),
        attendRefusal("tolerance alone", "--tolerance needs --expect", "--tolerance", "1"),
        attendRefusal("q: missing", "none.npy: no such file", "--q", "none.npy"),
        attendRefusal("q: empty name", "expected a file name", "--q", ""),
        attendRefusal("q: a line break in its name", "a\\nb: no such file", "--q", "a\nb"),
        attendRefusal("q: directory", "expected a regular file, it is a directory", "--q", "."),
        attendRefusal(
            "q: device", "expected a regular file, it is a pipe or device", "--q", "/dev/zero"),
        attendRefusal("q: no npy file", "not an npy file", "--q", "text.npy"),
        attendRefusal("q: cut short", "cut short: expected 960 bytes of data", "--q", "short.npy"),
        attendRefusal("q: int32", "expected float32, got int32", "--q", "n.npy"),
        attendRefusal(
            "q: 3-D",
            "expected shape [batch, seq, heads, headDim], got [2, 5, 4]",
            "--q",
            "three.npy"),
        attendRefusal(
            "q: no heads", "expected heads in 1 .. 2147483647, got 0", "--q", "noheads.npy"),
        attendRefusal("q: headDim 513", "expected headDim in 1 .. 512, got 513", "--q", "wide.npy"),
        attendRefusal("k: missing", "--k ", "--k", "none.npy"),
        attendRefusal("k: other batch", "expected batch 2 as in --q", "--k", "batch3.npy"),
        attendRefusal("k: other headDim", "expected headDim 6 as in --q", "--k", "v.npy"),
        attendRefusal(
            "k: heads 3 of 4",
            "expected heads that divide the 4 heads",
            "--k",
            "heads3.npy",
            "--v",
            "heads3.npy"),
        attendRefusal("k: other layout", "heads that divide the 5 heads", "--layout", "bhsd"),
        attendRefusal("v: missing", "--v ", "--v", "none.npy"),
        attendRefusal("v: other seq", "expected seq 7 as in --k", "--v", "seq8.npy"),
        attendRefusal("v: other heads", "expected heads 2 as in --k", "--v", "heads4.npy"),
        attendRefusal("v: other batch", "expected batch 2 as in --k", "--v", "batch3.npy"),
        attendRefusal("lengths: missing", "--lengths ", "--lengths", "none.npy"),
        attendRefusal(
            "lengths: float32", "expected int32 or int64, got float32", "--lengths", "q.npy"),
        attendRefusal(
            "lengths: 2-D", "expected shape [batch], got [2, 1]", "--lengths", "lengths2d.npy"),
        attendRefusal(
            "lengths: other batch", "expected batch 2 as in --k", "--lengths", "three-lengths.npy"),
        attendRefusal("lengths: negative", "0 .. 7, the seq of --k", "--lengths", "negative.npy"),
        attendRefusal("lengths: negative, where", "got -1 at index 1", "--lengths", "negative.npy"),
        attendRefusal("lengths: beyond", "got 8 at index 0", "--lengths", "beyond.npy"),
        attendRefusal(
            "lengths: beyond 2^32", "got 4294967296 at index 1", "--lengths", "beyond32.npy"),
        attendRefusal(
            "query lengths: beyond", "0 .. 5, the seq of --q", "--query-lengths", "n.npy"),
        attendRefusal("query lengths: missing", "--query-lengths ", "--query-lengths", "none.npy"),
        attendRefusal(
            "window: one number", "--window': expected two whole numbers", "--window", "3"),
        attendRefusal("window: less than -1", "got '-2,3'", "--window", "-2,3"),
        attendRefusal("global: alone", "--global needs --window", "--global", "2"),
        attendRefusal(
            "global: negative", "0 .. 999999999, got '-1'", "--global", "-1", "--window", "1,1"),
        attendRefusal("positions: missing", "--positions ", "--positions", "none.npy"),
        attendRefusal("positions: 1-D", "expected shape [batch, seq]", "--positions", "n.npy"),
        attendRefusal("positions: float32", "expected int32, got float32", "--positions", "q.npy"),
        attendRefusal("positions: of keys", "expected seq 5 as in --q", "--positions", "sk.npy"),
        attendRefusal("relative: 4-D", "expected shape [heads, 2 * span", "--relative", "q.npy"),
        attendRefusal("relative: even", "2 * span + 1 distances, span", "--relative", "even.npy"),
        attendRefusal("relative: heads", "expected heads 4 as in --q", "--relative", "three2.npy"),
        attendRefusal("relative: int32", "expected float32, got int32", "--relative", "n.npy"),
        attendRefusal("blocks: no size", "--block-mask needs --block", "--block-mask", "mask6.npy"),
        attendRefusal("blocks: no mask", "--block needs --block-mask", "--block", "2,2"),
        attendRefusal("blocks: of 0", "each 1 .. 999999999", "--block", "2,0"),
        attendRefusal(
            "blocks: too many",
            "expected blocks of K 3 or 1, got 6 in shape [1, 1, 1, 6]",
            "--block-mask",
            "mask6.npy",
            "--block",
            "2,3"),
        attendRefusal(
            "blocks: float32",
            "expected uint8, got float32",
            "--block-mask",
            "q.npy",
            "--block",
            "2,3"),
        attendRefusal(
            "out: is positions",
            "is the same file as --positions",
            "--out",
            "s.npy",
            "--positions",
            "s.npy"),
        attendRefusal("softcap: text", "finite decimal number, got 'x'", "--softcap", "x"),
        attendRefusal(
            "softcap: negative", "--softcap: expected 0 or 2^-100 .. 2^100", "--softcap", "-1"),
        attendRefusal("mask: missing", "--mask ", "--mask", "none.npy"),
        attendRefusal("mask: float32", "expected uint8, got float32", "--mask", "q.npy"),
        attendRefusal("mask: 2-D", "expected shape [batch, heads, seq of Q", "--mask", "bytes.npy"),
        attendRefusal("mask: other seq", "expected seq of K 7 or 1, got 6", "--mask", "mask6.npy"),
        attendRefusal("bias: int32", "--bias ", "--bias", "n.npy"),
        attendRefusal("bias: other heads", "expected heads 4 or 1, got 5", "--bias", "q.npy"),
        attendRefusal("alibi: 4-D", "expected shape [heads], got", "--alibi", "q.npy"),
        attendRefusal("alibi: other heads", "expected heads 4 as in --q", "--alibi", "five.npy"),
        attendRefusal("sinks: int32", "--sinks ", "--sinks", "n.npy"),
        attendRefusal("sinks: other heads", "got 5 in shape [5]", "--sinks", "five.npy"),
        attendRefusal("segments: float32", "expected int32, got float32", "--segments", "q.npy"),
        attendRefusal("segments: 1-D", "expected shape [batch, seq]", "--segments", "n.npy"),
        attendRefusal("segments: of other rows", "expected seq 7 as in --k", "--segments", "s.npy"),
        attendRefusal("segments: a comma", "--segments", "--segments", ","),
        attendRefusal("segments: three", "expected one file or two, got 3", "--segments", "a,b,c"),
        attendRefusal("prefix: not causal", "--prefix needs --causal", "--prefix", "n.npy"),
        attendRefusal(
            "prefix: beyond", "--prefix", "--causal", "top-left", "--prefix", "beyond.npy"),
        attendRefusal(
            "out: is mask", "is the same file as --mask", "--out", "m6.npy", "--mask", "m6.npy"),
        attendRefusal("expect: missing", "--expect ", "--expect", "none.npy"),
        attendRefusal("expect: other shape", "--expect", "--expect", "q.npy"),
        attendRefusal("out: directory missing", "its directory does not exist", "--out", "none/o"),
        attendRefusal(
            "out: directory", "expected a regular file or none, it is a directory", "--out", "."),
        attendRefusal(
            "out: device",
            "expected a regular file or none, it is a pipe or device",
            "--out",
            "/dev/full"),
        attendRefusal("out: empty name", "expected a file name", "--out", ""),
        attendRefusal("out: nobody may write", "cannot create a file", "--out", "/proc/self/o"),
        attendRefusal("out: under a file", "its directory does not exist", "--out", "q.npy/o"),
        attendRefusal("out: is q", "is the same file as --q", "--out", "q.npy"),
        attendRefusal(
            "out: is q by another name",
            "is the same file as --q",
            "--out",
            "./q.npy",
            "--lse",
            "lse.npy"),
        attendRefusal("out: is k by a link", "is the same file as --k", "--out", "link.npy"),
        attendRefusal(
            "out: is lengths",
            "is the same file as --lengths",
            "--out",
            "n.npy",
            "--lengths",
            "n.npy"),
        attendRefusal(
            "out: is expect",
            "is the same file as --expect",
            "--out",
            "e.npy",
            "--expect",
            "e.npy"),
        attendRefusal(
            "lse: is out", "is the same file as --out", "--out", "o.npy", "--lse", "o.npy"),
        attendRefusal(
            "lse: is out by another name", "is the same file as --out", "--lse", "./o.npy"),
        attendRefusal("lse: is v", "--lse", "--lse", "v.npy"),
        attendRefusal(
            "lse: directory missing", "--lse none/lse: its directory", "--lse", "none/lse"),
        attendRefusal("lse: directory", "--lse .: expected a regular file", "--lse", "."));
  }

  private static Arguments refusal(String name, String expected, String... args) {
    return Arguments.of(name, expected, args);
  }

  private static Arguments attendRefusal(String name, String expected, String... options) {
    return Arguments.of(
        "attend: " + name,
        expected,
        Stream.concat(Stream.of("attend"), Arrays.stream(options)).toArray(String[]::new));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("refusals")
  void refusal_isOneLine_andLeavesNothing(String name, String expected, String[] args)
      throws IOException {
    SplittableRandom random = new SplittableRandom(1);
    Files.writeString(directory.resolve("text.npy"), "no npy file");
    byte[] good = Files.readAllBytes(directory.resolve("q.npy"));
    Files.write(directory.resolve("short.npy"), Arrays.copyOf(good, good.length - 1));
    floats("three.npy", random, 2, 5, 4);
    floats("noheads.npy", random, 2, 5, 0, 6);
    floats("wide.npy", random, 1, 1, 1, 513);
    floats("batch3.npy", random, 3, SEQ_K, KV_HEADS, DIM);
    floats("heads3.npy", random, 2, SEQ_K, 3, DIM);
    floats("heads4.npy", random, 2, SEQ_K, 4, DIM);
    floats("seq8.npy", random, 2, 8, KV_HEADS, DIM);
    floats("e.npy", random, BATCH, SEQ_Q, HEADS, DIM_V);
    Npy.write(directory.resolve("lengths2d.npy"), Tensor.copyOf(arena, new int[2], 2, 1));
    bytes("bytes.npy", false, new byte[6], 2, 3);
    bytes("mask6.npy", true, new byte[6], 1, 1, 1, 6);
    floats("five.npy", random, 5);
    floats("even.npy", random, HEADS, 6);
    floats("three2.npy", random, 3, 5);
    Npy.write(directory.resolve("sk.npy"), Tensor.copyOf(arena, new int[14], 2, 7));
    Npy.write(directory.resolve("s.npy"), Tensor.copyOf(arena, new int[10], 2, 5));
    ints("three-lengths.npy", 1, 2, 3);
    ints("negative.npy", 1, -1);
    longs("beyond.npy", 8, 1);
    Tensor beyond = Tensor.allocate(arena, DType.INT64, 2);
    beyond.segment().setAtIndex(ValueLayout.JAVA_LONG, 1, 1L << 32);
    Npy.write(directory.resolve("beyond32.npy"), beyond);
    Files.createSymbolicLink(directory.resolve("link.npy"), directory.resolve("k.npy"));
    Set<String> before = names();

    boolean own = name.startsWith("attend: ") && args.length > 1;
    String[] options = Arrays.copyOfRange(args, own ? 1 : 0, args.length);
    for (int i = 0; i < options.length; i++) {
      if (options[i].startsWith("./")) {
        options[i] = directory + "/" + options[i];
      }
    }
    CliRun result = CliRun.run(own ? attend(options) : options);
    assertEquals(2, result.code());
    assertEquals("", result.out());
    assertEquals(1, result.err().lines().count(), result.err());
    assertTrue(result.err().startsWith("gatun: "), result.err());
    assertTrue(result.err().contains(expected), result.err());
    assertEquals(before, names());
  }

  @Test
  void refusal_tierThatTheCpuLacks() {
    for (Tier tier : Tier.values()) {
      if (!GatunRuntime.isAvailable(tier)) {
        CliRun result = CliRun.run(attend("--tier", tier.toString()));
        assertEquals(2, result.code());
        assertEquals("", result.out());
        assertEquals(1, result.err().lines().count(), result.err());
        assertTrue(result.err().contains(tier.toString()), result.err());
      }
    }
  }

  // ---- info, help

  @Test
  void info_jsonIsParsed_andSaysTheSameAsText() throws IOException {
    CliRun result = CliRun.run("info", "--json");
    assertEquals(0, result.code(), result.err());
    Map<String, Object> facts = JSON.std.mapFrom(result.out());
    try (GatunRuntime runtime = GatunRuntime.create()) {
      assertEquals(runtime.info().version(), facts.get("version"));
      assertEquals(runtime.info().abi(), facts.get("abi"));
      assertEquals(runtime.tier().toString(), facts.get("tier"));
      assertEquals(runtime.threads(), facts.get("threads"));
      assertEquals(runtime.info().cpu(), facts.get("cpu"));
    }
    assertEquals(
        Set.of(
            "version",
            "abi",
            "library",
            "java",
            "system",
            "cpu",
            "cpus",
            "threads",
            "threadsReason",
            "tier",
            "tierReason",
            "tiers",
            "features",
            "weights",
            "cacheBytes",
            "openblas"),
        facts.keySet());
    assertTrue(((Map<?, ?>) facts.get("openblas")).containsKey("core"), result.out());
    CliRun text = CliRun.run("info");
    assertEquals(0, text.code());
    for (String line : text.out().lines().toList()) {
      Object value = facts;
      for (String key : line.split(" ")[0].split("\\.")) {
        value = ((Map<?, ?>) value).get(key);
      }
      String shown =
          value instanceof List<?> list
              ? String.join(" ", list.stream().map(String::valueOf).toList())
              : String.valueOf(value);
      assertEquals(shown, line.replaceFirst("^\\S+ +", ""));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--help",
        "-h",
        "help",
        "help info",
        "help attend",
        "help explain",
        "help verify",
        "info --help",
        "attend --help",
        "explain --help",
        "verify --help",
        "attend -h"
      })
  void help_everywhere(String args) {
    CliRun result = CliRun.run(args.split(" "));
    assertEquals(0, result.code());
    assertEquals("", result.err());
    assertTrue(result.out().contains("Usage: gatun"), result.out());
  }

  @Test
  void version() {
    for (String[] args : new String[][] {{"--version"}, {"attend", "--version"}}) {
      CliRun result = CliRun.run(args);
      assertEquals(0, result.code(), result.err());
      assertTrue(result.out().matches("gatun \\d+\\.\\d+\\.\\d+\n"), result.out());
    }
  }

  // ---- verify

  @Test
  void verify_quick_passes() {
    CliRun result = CliRun.run("verify", "--quick", "--seed", "7", "--threads", "2");
    assertEquals(new CliRun(0, result.out(), ""), result);
    assertTrue(result.out().contains(" rows, seed 7\n"), result.out());
    for (Tier tier : Tier.values()) {
      String line =
          result.out().lines().filter(l -> l.startsWith(tier + " ")).findFirst().orElseThrow();
      assertTrue(
          line.endsWith(GatunRuntime.isAvailable(tier) ? "   pass" : "not available on this CPU"),
          line);
    }
  }

  /** Errors that a kernel might make, each of which has to be seen. */
  enum Fault {
    /** One element in one case off by a little more than rounding explains. */
    ONE_ELEMENT,
    LSE,
    NAN_LOST,
    DEPENDS_ON_THREADS,
    WRITES_BESIDE_A_ROW,
    LEAVES_A_ROW,
    THROWS
  }

  @ParameterizedTest
  @EnumSource
  void verify_seesPlantedFaults(Fault fault) {
    Verifier.Engines engines =
        (tier, threads) -> {
          GatunRuntime runtime = GatunRuntime.builder().threads(1).tier(tier).build();
          return new Verifier.Engine() {
            private boolean planted = tier != Tier.PORTABLE;

            @Override
            public void forward(
                AttentionSpec spec,
                Tensor q,
                Tensor k,
                Tensor v,
                Tensor keyLengths,
                Tensor queryLengths,
                Tensor out,
                Tensor lse) {
              AttentionOptions options =
                  new AttentionOptions().keyLengths(keyLengths).queryLengths(queryLengths).lse(lse);
              runtime.attention(spec).forward(q, k, v, out, options);
              if (planted || out.elements() == 0) {
                return;
              }
              boolean once = spec.maxThreads() == 1;
              long[] last = Arrays.stream(out.shape()).map(size -> size - 1).toArray();
              float number = out.getFloat(last);
              switch (fault) {
                case ONE_ELEMENT -> {
                  boolean tame = Math.abs(q.getFloat(0, 0, 0, 0)) <= 1 && q.size(3) < 100;
                  if (tame && Math.abs(number) > 1e-6 && Math.abs(number) < 1) {
                    out.setFloat(number + 1e-4f, last);
                    planted = once;
                  }
                }
                case LSE -> {
                  float sum = lse.getFloat(0, 0, 0);
                  if (Float.isFinite(sum) && Math.abs(sum) < 10) {
                    lse.setFloat(sum + 1e-3f, 0, 0, 0);
                    planted = once;
                  }
                }
                case NAN_LOST -> {
                  for (long i = 0; i < out.size(3); i++) {
                    last[3] = i;
                    if (Float.isNaN(out.getFloat(last))) {
                      out.setFloat(0, last);
                      planted = once;
                    }
                  }
                }
                case DEPENDS_ON_THREADS -> {
                  if (once && Float.isFinite(number) && number != 0) {
                    out.setFloat(Math.nextUp(number), last);
                    planted = true;
                  }
                }
                case WRITES_BESIDE_A_ROW -> {
                  // Every row has an element that is none of its own behind it.
                  out.segment()
                      .reinterpret(out.segment().byteSize() + Float.BYTES)
                      .set(ValueLayout.JAVA_FLOAT, out.segment().byteSize(), 1);
                  planted = once;
                }
                case LEAVES_A_ROW -> {
                  last[3] = 0;
                  out.setFloat(-1.2345679e30f, last);
                  planted = once;
                }
                case THROWS -> {
                  planted = true;
                  throw new IllegalStateException("planted");
                }
              }
            }

            @Override
            public void close() {
              runtime.close();
            }
          };
        };
    StringWriter out = new StringWriter();
    int code =
        new CommandLine(new VerifyCommand(engines))
            .setOut(new PrintWriter(out))
            .execute("--quick", "--seed", "7");
    assertEquals(1, code, out.toString());
    assertTrue(out.toString().startsWith("FAIL portable, case "), out.toString());
    assertTrue(out.toString().contains("   FAIL (1 cases)"), out.toString());
    long failed = out.toString().lines().filter(line -> line.contains("FAIL")).count();
    assertEquals(2, failed, out.toString());
  }
}
