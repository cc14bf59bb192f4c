package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.RuntimeInfo;
import dev.gatun.WeightFormat;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What formats of weights mean on a machine, in the words of all commands. */
final class WeightFacts {

  private static final String TILES = "amx_int8";
  private static final List<String> BFLOAT16 = List.of("amx_bf16", "avx512_bf16");

  private WeightFacts() {}

  /** Which format is taken unless one is asked for. */
  static String auto() {
    return "never less precise than the file: "
        + Stream.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16, DType.INT8)
            .map(dtype -> dtype + " as " + word(WeightFormat.of(dtype)))
            .collect(Collectors.joining(", "));
  }

  /** The rule of AUTO, and the formats whose products depend on what the CPU has. */
  static Map<String, Object> all(RuntimeInfo info) {
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("auto", auto());
    facts.put("bf16", products(WeightFormat.BF16, info));
    facts.put("int8", products(WeightFormat.INT8, info));
    return facts;
  }

  /** What multiplies rows by weights of a format; not AUTO. */
  static String products(WeightFormat format, RuntimeInfo info) {
    return switch (format) {
      case VIEW -> "products of floats by OpenBLAS";
      case BF16 -> bfloat16(info, BFLOAT16);
      case INT8 -> "products of integers by " + integers(info, List.of());
      case Q8_0, Q4_0 -> "products of integers by " + integers(info, List.of("asimddp", TILES));
      case AUTO, FP32, FP16 -> floats(info);
    };
  }

  /** What multiplies queries, keys and values that weights of a format have made. */
  static String attention(WeightFormat format, RuntimeInfo info) {
    return format == WeightFormat.BF16 || format == WeightFormat.INT8
        ? bfloat16(info, List.of(BFLOAT16.getLast()))
        : floats(info);
  }

  /** What a CPU has beyond its tier is for integers, but for bfloat16; and but for some of them. */
  private static String integers(RuntimeInfo info, List<String> without) {
    List<String> all = new ArrayList<>(info.features());
    all.removeAll(BFLOAT16);
    all.removeAll(without);
    if (all.contains(TILES)) {
      return TILES;
    }
    return all.isEmpty() ? info.tier().toString() : all.getFirst();
  }

  private static String bfloat16(RuntimeInfo info, List<String> by) {
    return by.stream()
        .filter(info.features()::contains)
        .findFirst()
        .map(feature -> "products of bfloat16 by " + feature)
        .orElseGet(() -> floats(info));
  }

  private static String floats(RuntimeInfo info) {
    return "products of floats by " + info.tier();
  }

  /** As its option spells it. */
  static String word(WeightFormat format) {
    return format.name().toLowerCase(Locale.ROOT);
  }
}
